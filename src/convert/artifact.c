/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/artifact.h"

#include "base/fsx.h"
#include "base/mem.h"
#include "convert/form.h"
#include "graph/graph.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MANIFEST_MAX ((size_t)64 << 20)

/* The absolute real path of one weight file: the snapshot's, or the placed one. */
static hangar_code resolve_file(hg_artifact *a, const hg_snapshot *snap, const hg_jval *weight,
                                hangar_err *err)
{
    const char *path = hg_json_text_or(hg_json_get(weight, "path"), "");
    const char *placed = a->mapped ? NULL : hg_json_text_or(hg_json_get(weight, "placed"), "");
    uint64_t bytes = 0;
    struct stat st;
    hangar_code code = hg_path_check(hg_str_of(placed ? placed : path), err);
    if (code != HANGAR_OK) return code;
    if (!placed && !hg_snapshot_file_get(snap, path))
        return hg_fail(err, HANGAR_E_NOT_FOUND, "%s is gone from %s", path, snap->ref.repo);
    HG_AUTO(hg_auto_free)
    char *linked = placed ? hg_path_join(a->dir, placed) : hg_snapshot_file_path(snap, path);
    if (!linked) return hg_fail_memory(err);
    char *real = realpath(linked, NULL);
    if (!real) return hg_fail_errno(err, errno, "%s", placed ? placed : path);
    a->files[a->file_count] = real;
    if (stat(real, &st) != 0) return hg_fail_errno(err, errno, "%s", placed ? placed : path);
    if (!S_ISREG(st.st_mode) || !hg_json_u64(hg_json_get(weight, "bytes"), &bytes) ||
        (uint64_t)st.st_size != bytes) {
        return hg_fail(err, HANGAR_E_INVALID, "%s has %lld bytes, %llu when it was converted",
                       placed ? placed : path, (long long)st.st_size, (unsigned long long)bytes);
    }
    a->sizes[a->file_count++] = bytes;
    return HANGAR_OK;
}

/* The bytes that F32 of that shape takes; false when it overflows. */
static bool weight_bytes(const hg_onnx_weight *w, uint64_t *out)
{
    bool fits = true;
    *out = 4;
    for (size_t i = 0; i < w->rank; i++)
        fits = fits && w->dims[i] >= 0 && hg_mul(*out, (uint64_t)w->dims[i], out);
    return fits;
}

/* The number of the file that the graph's next weight lies in; file_count when the manifest does not say. */
static size_t file_of(const hg_artifact *a, const hg_artifact_graph *g, hg_json_iter *files)
{
    uint64_t file = 0;
    if (!g->files) return 0; /* one file for all */
    if (!hg_json_next(files) || !hg_json_u64(files->val, &file) || file >= a->file_count)
        return a->file_count;
    return (size_t)file;
}

/* Every weight lies inside its file. */
static hangar_code check_mapped(const hg_artifact *a, const hg_artifact_graph *g, hangar_err *err)
{
    hg_onnx_weight w;
    hg_json_iter files = hg_json_iter_of(g->files);
    for (size_t at = 0; hg_onnx_weight_next(g->model, &at, &w);) {
        uint64_t bytes = 0, end = 0;
        size_t file = file_of(a, g, &files);
        bool ok = w.type == HG_ONNX_FLOAT && weight_bytes(&w, &bytes) && bytes == w.length &&
                  hg_add(w.offset, bytes, &end) && file < a->file_count && end <= a->sizes[file];
        if (!ok) return hg_fail(err, HANGAR_E_INVALID, "%s does not lie in a weight file", w.name);
    }
    return HANGAR_OK;
}

/* The size of the file beside the graph that a location names; false when it is none of ours. */
static bool beside(const hg_artifact *a, const hg_artifact_graph *g, const char *location, uint64_t *size)
{
    if (g->data && strcmp(g->data, location) == 0) {
        *size = g->data_bytes;
        return true;
    }
    for (size_t i = 0; i < a->file_count; i++) {
        const char *placed =
            hg_json_text(hg_json_get(hg_json_at(hg_json_get(a->root, "weights"), i), "placed"));
        if (!placed || strcmp(placed, location) != 0) continue;
        *size = a->sizes[i];
        return true;
    }
    return false;
}

/* Every weight lies inside a file beside the graph. */
static hangar_code check_placed(const hg_artifact *a, const hg_artifact_graph *g, hangar_err *err)
{
    hg_onnx_weight w;
    for (size_t at = 0; hg_onnx_weight_next(g->model, &at, &w);) {
        uint64_t size = 0, end = 0;
        if (!w.location || !beside(a, g, w.location, &size) || !hg_add(w.offset, w.length, &end) ||
            end > size)
            return hg_fail(err, HANGAR_E_INVALID, "%s does not lie in a weight file", w.name);
    }
    return HANGAR_OK;
}

/* The graph's own data file is there, as long as it was. */
static hangar_code check_data(const hg_artifact *a, hg_artifact_graph *g, const hg_jval *entry,
                              hangar_err *err)
{
    struct stat st;
    if (!g->data) return HANGAR_OK;
    hangar_code code = hg_path_check(hg_str_of(g->data), err);
    if (code != HANGAR_OK) return code;
    HG_AUTO(hg_auto_free) char *path = hg_path_join(a->dir, g->data);
    if (!path) return hg_fail_memory(err);
    if (lstat(path, &st) != 0) return hg_fail_errno(err, errno, "%s", g->data);
    if (!S_ISREG(st.st_mode) || !hg_json_u64(hg_json_get(entry, "data_bytes"), &g->data_bytes) ||
        (uint64_t)st.st_size != g->data_bytes)
        return hg_fail(err, HANGAR_E_INVALID, "%s has another size than when it was made", g->data);
    return HANGAR_OK;
}

static hangar_code open_graph(hg_artifact *a, const hg_jval *entry, hangar_err *err)
{
    hg_artifact_graph *g = &a->graphs[a->graph_count++];
    const char *file = hg_json_text_or(hg_json_get(entry, "file"), "");
    g->name = hg_json_text(hg_json_get(entry, "name"));
    g->files = hg_json_get(entry, "weight_files");
    g->data = hg_json_text(hg_json_get(entry, "data"));
    if (!g->name) return hg_fail(err, HANGAR_E_INVALID, "a graph has no name");
    hangar_code made = check_data(a, g, entry, err);
    if (made != HANGAR_OK) return made;
    hangar_code code = hg_path_check(hg_str_of(file), err);
    if (code != HANGAR_OK) return code;
    g->path = hg_path_join(a->dir, file);
    if (!g->path) return hg_fail_memory(err);
    hg_map map;
    code = hg_map_open(g->path, &map, err);
    if (code != HANGAR_OK) return code;
    code = hg_onnx_read(map.data, map.len, &g->model, err);
    hg_map_close(&map);
    if (code == HANGAR_OK) code = a->mapped ? check_mapped(a, g, err) : check_placed(a, g, err);
    return hg_wrap(err, code, "%s", file);
}

static hangar_code open_graphs(hg_artifact *a, hangar_err *err)
{
    const hg_jval *graphs = hg_json_get(a->root, "graphs");
    if (hg_json_len(graphs) == 0) return hg_fail(err, HANGAR_E_INVALID, "no graphs");
    a->graphs = hg_calloc(hg_json_len(graphs), sizeof *a->graphs);
    if (!a->graphs) return hg_fail_memory(err);
    hangar_code code = HANGAR_OK;
    for (hg_json_iter it = hg_json_iter_of(graphs); code == HANGAR_OK && hg_json_next(&it);)
        code = open_graph(a, it.val, err);
    return code;
}

static hangar_code load(hg_artifact *a, const hg_snapshot *snap, const char *manifest, hangar_err *err)
{
    hg_buf text;
    hg_buf_init(&text, MANIFEST_MAX);
    hangar_code code = hg_read_file(manifest, &text, err);
    hg_json_limits limits = {.bytes = MANIFEST_MAX, .depth = 8, .unique_keys = true};
    if (code == HANGAR_OK) code = hg_json_parse(hg_buf_view(&text), &limits, &a->doc, err);
    hg_buf_deinit(&text);
    if (code != HANGAR_OK) return code;
    a->root = hg_json_root(a->doc);
    if (hg_json_i64_or(hg_json_get(a->root, "format"), -1) != HG_ARTIFACT_FORMAT) {
        return hg_fail(err, HANGAR_E_INVALID, "is of another version of hangar");
    }
    const hg_jval *weights = hg_json_get(a->root, "weights");
    a->files = hg_calloc(hg_json_len(weights), sizeof *a->files);
    a->sizes = hg_calloc(hg_json_len(weights), sizeof *a->sizes);
    if (!a->files || !a->sizes) return hg_fail_memory(err);
    a->mapped = hg_json_len(weights) > 0 && hg_json_is_null(hg_json_get(hg_json_at(weights, 0), "placed"));
    /* Plain weights stay shared with the page cache; the kernels of the others are 10 to 100 times slower unpacked. */
    const hg_form *form = hg_form_get(hg_artifact_form(a));
    a->pack = form && form->linear != HG_LINEAR_PLAIN;
    for (hg_json_iter it = hg_json_iter_of(weights); code == HANGAR_OK && hg_json_next(&it);)
        code = resolve_file(a, snap, it.val, err);
    return code == HANGAR_OK ? open_graphs(a, err) : code;
}

/* The folder of a form. */
void hg_artifact_kind(const char *form, char out[HG_ARTIFACT_KIND_MAX])
{
    bool first = !form || hg_streq(form, hg_form_at(0)->name);
    snprintf(out, HG_ARTIFACT_KIND_MAX, first ? "onnx" : "onnx-%s", form);
}

/* The form of a folder. */
const hg_form *hg_artifact_kind_form(const char *kind)
{
    const hg_form *form;
    char name[HG_ARTIFACT_KIND_MAX];
    for (size_t i = 0; kind && (form = hg_form_at(i)); i++) {
        hg_artifact_kind(form->name, name);
        if (strcmp(name, kind) == 0) return form;
    }
    return NULL;
}

/* Beside the kinds. */
char *hg_artifact_choice_path(const hg_store *s, const hg_snapshot *snap)
{
    HG_AUTO(hg_auto_free) char *one = hg_artifact_dir(s, snap->ref.repo, snap->commit, "onnx");
    HG_AUTO(hg_auto_free) char *dir = one ? hg_path_dir(one) : NULL;
    return dir ? hg_path_join(dir, HG_ARTIFACT_CHOICE) : NULL;
}

/* What choice.json says. */
void hg_artifact_chosen(const hg_store *s, const hg_snapshot *snap, hg_artifact_choice *out)
{
    HG_AUTO(hg_auto_free) char *path = hg_artifact_choice_path(s, snap);
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hg_buf text;
    *out = (hg_artifact_choice){0};
    hg_artifact_kind(NULL, out->kind);
    if (!path || !hg_is_file(path)) return;
    hg_buf_init(&text, HG_MIB);
    const char *kind = NULL;
    if (hg_read_file(path, &text, NULL) == HANGAR_OK &&
        hg_json_parse(hg_buf_view(&text), NULL, &doc, NULL) == HANGAR_OK)
        kind = hg_json_text(hg_json_get(hg_json_root(doc), "kind"));
    hg_buf_deinit(&text);
    out->damaged = !hg_artifact_kind_form(kind);
    if (out->damaged) return;
    out->found = true;
    strcpy(out->kind, kind);
    out->pack_said = hg_json_bool(hg_json_get(hg_json_root(doc), "pack"), &out->pack);
}

/* Opens what lies in a folder. */
hangar_code hg_artifact_open_at(const char *dir, const hg_snapshot *snap, hg_artifact **out, hangar_err *err)
{
    *out = NULL;
    hg_artifact *a = hg_calloc(1, sizeof *a);
    if (!a) return hg_fail_memory(err);
    a->dir = hg_strdup(dir);
    HG_AUTO(hg_auto_free) char *manifest = hg_path_join(dir, HG_ARTIFACT_MANIFEST);
    hangar_code code = HANGAR_OK;
    if (!manifest || !a->dir) {
        code = hg_fail_memory(err);
    } else if (!hg_is_file(manifest)) {
        code = hg_fail(err, HANGAR_E_NOT_FOUND, "%s is not converted; use: hangar convert %s", snap->ref.repo,
                       snap->ref.repo);
    } else {
        code = load(a, snap, manifest, err);
        hg_wrap(err, code, "the converted form of %s", snap->ref.repo);
    }
    if (code != HANGAR_OK) hg_artifact_free(a);
    else *out = a;
    return code;
}

/* Opens a converted model and checks it against its files. */
hangar_code hg_artifact_open(const hg_store *s, const hg_snapshot *snap, const char *kind, hg_artifact **out,
                             hangar_err *err)
{
    hg_artifact_choice choice = {0};
    *out = NULL;
    if (!kind) hg_artifact_chosen(s, snap, &choice);
    HG_AUTO(hg_auto_free)
    char *dir = hg_artifact_dir(s, snap->ref.repo, snap->commit, kind ? kind : choice.kind);
    if (!dir) return hg_fail_memory(err);
    hangar_code code = hg_artifact_open_at(dir, snap, out, err);
    if (code == HANGAR_OK && choice.pack_said) (*out)->pack = choice.pack;
    return code;
}

/* Frees it. */
void hg_artifact_free(hg_artifact *a)
{
    if (!a) return;
    for (size_t i = 0; a->files && i < hg_json_len(hg_json_get(a->root, "weights")); i++) free(a->files[i]);
    free((void *)a->files);
    free(a->sizes);
    for (size_t i = 0; i < a->graph_count; i++) {
        free(a->graphs[i].path);
        hg_onnx_free(a->graphs[i].model);
    }
    free(a->graphs);
    hg_json_free(a->doc);
    free(a->dir);
    free(a);
}

/* For HG_AUTO. */
void hg_artifact_auto_free(hg_artifact **a)
{
    hg_artifact_free(*a);
}

/* model_type. */
const char *hg_artifact_architecture(const hg_artifact *a)
{
    return hg_json_text_or(hg_json_get(a->root, "architecture"), "");
}

/* What became of its weights. */
const char *hg_artifact_form(const hg_artifact *a)
{
    return hg_json_text_or(hg_json_get(a->root, "form"), hg_form_at(0)->name);
}

/* How far graphs and engine go. */
const char *hg_artifact_level(const hg_artifact *a)
{
    return hg_json_text_or(hg_json_get(a->root, "level"), hg_level_name(HG_LEVEL_O2));
}

static void load_weight(const hg_onnx_weight *w, size_t file, hg_jw *out)
{
    hg_jw_obj(out, NULL);
    hg_jw_text(out, "name", w->name);
    hg_jw_u64(out, "file", file);
    hg_jw_u64(out, "offset", w->offset);
    hg_jw_u64(out, "bytes", w->length);
    hg_jw_text(out, "dtype", "F32");
    hg_jw_arr(out, "shape");
    for (size_t i = 0; i < w->rank; i++) hg_jw_i64(out, NULL, w->dims[i]);
    hg_jw_end(out);
    hg_jw_end(out);
}

/* The members of a LOAD frame. */
void hg_artifact_load_members(const hg_artifact *a, hg_jw *w)
{
    hg_jw_text(w, "folder", a->dir);
    hg_level level = HG_LEVEL_O2;
    (void)!hg_level_get(hg_artifact_level(a), &level);
    hg_jw_bool(w, "prepack", a->pack);
    hg_jw_text(w, "optimize", level == HG_LEVEL_O0 ? "off" : level == HG_LEVEL_O1 ? "basic" : "all");
    hg_jw_arr(w, "files");
    for (size_t i = 0; a->mapped && i < a->file_count; i++) hg_jw_text(w, NULL, a->files[i]);
    hg_jw_end(w);
    hg_jw_arr(w, "graphs");
    for (size_t i = 0; i < a->graph_count; i++) {
        const hg_artifact_graph *g = &a->graphs[i];
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "name", g->name);
        hg_jw_text(w, "path", g->path);
        hg_jw_arr(w, "initializers");
        hg_onnx_weight weight;
        hg_json_iter files = hg_json_iter_of(g->files);
        for (size_t at = 0; a->mapped && hg_onnx_weight_next(g->model, &at, &weight);)
            load_weight(&weight, file_of(a, g, &files), w);
        hg_jw_end(w);
        hg_jw_end(w);
    }
    hg_jw_end(w);
}
