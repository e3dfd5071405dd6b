/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/artifact.h"

#include "base/fsx.h"
#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#define MANIFEST_MAX ((size_t)64 << 20)
#define RANK_MAX     8

/* The absolute real path of one weight file: the snapshot's, or the placed one. */
static hangar_code resolve_file(hg_artifact *a, const hg_snapshot *snap, const hg_jval *weight, hangar_err *err)
{
    const char *path = hg_json_text_or(hg_json_get(weight, "path"), "");
    const char *placed = hg_json_text(hg_json_get(weight, "placed"));
    uint64_t bytes = 0;
    struct stat st;
    hangar_code code = hg_path_check(hg_str_of(placed ? placed : path), err);
    if (code != HANGAR_OK) return code;
    if (!placed && !hg_snapshot_file_get(snap, path)) return hg_fail(err, HANGAR_E_NOT_FOUND, "%s is gone from %s", path, snap->ref.repo);
    HG_AUTO(hg_auto_free) char *linked = placed ? hg_path_join(a->dir, placed) : hg_snapshot_file_path(snap, path);
    if (!linked) return hg_fail_memory(err);
    char *real = realpath(linked, NULL);
    if (!real) return hg_fail_errno(err, errno, "%s", placed ? placed : path);
    a->files[a->file_count++] = real;
    if (stat(real, &st) != 0) return hg_fail_errno(err, errno, "%s", placed ? placed : path);
    if (!S_ISREG(st.st_mode) || !hg_json_u64(hg_json_get(weight, "bytes"), &bytes) || (uint64_t)st.st_size != bytes) {
        return hg_fail(err, HANGAR_E_INVALID, "%s has %lld bytes, %llu when it was converted", placed ? placed : path,
                       (long long)st.st_size, (unsigned long long)bytes);
    }
    return HANGAR_OK;
}

/* 4 times the product of the shape; false when it is malformed or overflows. */
static bool initializer_bytes(const hg_jval *init, uint64_t *out)
{
    const hg_jval *shape = hg_json_get(init, "shape");
    *out = 4;
    if (!hg_json_is_array(shape) || hg_json_len(shape) > RANK_MAX) return false;
    for (hg_json_iter it = hg_json_iter_of(shape); hg_json_next(&it);) {
        uint64_t n;
        if (!hg_json_u64(it.val, &n) || !hg_mul(*out, n, out)) return false;
    }
    return true;
}

/* Every initializer has a name and lies inside its file. */
static hangar_code check_initializers(const hg_artifact *a, const hg_jval *graph, hangar_err *err)
{
    const hg_jval *weights = hg_json_get(a->root, "weights");
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(graph, "initializers")); hg_json_next(&it);) {
        uint64_t file = 0, offset = 0, bytes = 0, end = 0, size = 0;
        const char *name = hg_json_text(hg_json_get(it.val, "name"));
        bool ok = name && hg_json_u64(hg_json_get(it.val, "file"), &file) && file < a->file_count &&
                  hg_json_u64(hg_json_get(it.val, "offset"), &offset) && initializer_bytes(it.val, &bytes) &&
                  hg_add(offset, bytes, &end) && hg_json_u64(hg_json_get(hg_json_at(weights, (size_t)file), "bytes"), &size) &&
                  end <= size;
        if (!ok) return hg_fail(err, HANGAR_E_INVALID, "initializer %s does not lie in a file", name ? name : "without a name");
    }
    return HANGAR_OK;
}

static hangar_code check_graphs(const hg_artifact *a, hangar_err *err)
{
    const hg_jval *graphs = hg_json_get(a->root, "graphs");
    if (hg_json_len(graphs) == 0) return hg_fail(err, HANGAR_E_INVALID, "no graphs");
    for (hg_json_iter it = hg_json_iter_of(graphs); hg_json_next(&it);) {
        const char *file = hg_json_text_or(hg_json_get(it.val, "file"), "");
        if (!hg_json_text(hg_json_get(it.val, "name"))) return hg_fail(err, HANGAR_E_INVALID, "a graph has no name");
        hangar_code code = hg_path_check(hg_str_of(file), err);
        if (code != HANGAR_OK) return code;
        HG_AUTO(hg_auto_free) char *path = hg_path_join(a->dir, file);
        if (!path) return hg_fail_memory(err);
        if (!hg_is_file(path)) return hg_fail(err, HANGAR_E_INVALID, "%s is missing", file);
        code = check_initializers(a, it.val, err);
        if (code != HANGAR_OK) return hg_wrap(err, code, "%s", file);
    }
    return HANGAR_OK;
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
    if (!a->files) return hg_fail_memory(err);
    for (hg_json_iter it = hg_json_iter_of(weights); code == HANGAR_OK && hg_json_next(&it);) code = resolve_file(a, snap, it.val, err);
    return code == HANGAR_OK ? check_graphs(a, err) : code;
}

/* Opens a converted model and checks it against its files. */
hangar_code hg_artifact_open(const hg_store *s, const hg_snapshot *snap, hg_artifact **out, hangar_err *err)
{
    *out = NULL;
    hg_artifact *a = hg_calloc(1, sizeof *a);
    if (!a) return hg_fail_memory(err);
    a->dir = hg_artifact_dir(s, snap->ref.repo, snap->commit, HG_ARTIFACT_KIND);
    HG_AUTO(hg_auto_free) char *manifest = a->dir ? hg_path_join(a->dir, HG_ARTIFACT_MANIFEST) : NULL;
    hangar_code code = HANGAR_OK;
    if (!manifest) {
        code = hg_fail_memory(err);
    } else if (!hg_is_file(manifest)) {
        code = hg_fail(err, HANGAR_E_NOT_FOUND, "%s is not converted; use: hangar convert %s", snap->ref.repo, snap->ref.repo);
    } else {
        code = load(a, snap, manifest, err);
        hg_wrap(err, code, "the converted form of %s", snap->ref.repo);
    }
    if (code != HANGAR_OK) hg_artifact_free(a);
    else *out = a;
    return code;
}

/* Frees it. */
void hg_artifact_free(hg_artifact *a)
{
    if (!a) return;
    for (size_t i = 0; i < a->file_count; i++) free(a->files[i]);
    free((void *)a->files);
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

static void load_graph(const hg_artifact *a, const hg_jval *graph, hg_jw *w)
{
    HG_AUTO(hg_auto_free) char *path = hg_path_join(a->dir, hg_json_text_or(hg_json_get(graph, "file"), ""));
    hg_jw_obj(w, NULL);
    hg_jw_val(w, "name", hg_json_get(graph, "name"));
    hg_jw_text(w, "path", path);
    hg_jw_arr(w, "initializers");
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(graph, "initializers")); hg_json_next(&it);) {
        uint64_t bytes = 0;
        (void)initializer_bytes(it.val, &bytes);
        hg_jw_obj(w, NULL);
        hg_jw_val(w, "name", hg_json_get(it.val, "name"));
        hg_jw_val(w, "file", hg_json_get(it.val, "file"));
        hg_jw_val(w, "offset", hg_json_get(it.val, "offset"));
        hg_jw_u64(w, "bytes", bytes);
        hg_jw_text(w, "dtype", "F32");
        hg_jw_val(w, "shape", hg_json_get(it.val, "shape"));
        hg_jw_end(w);
    }
    hg_jw_end(w);
    hg_jw_end(w);
}

/* The members of a LOAD frame. */
void hg_artifact_load_members(const hg_artifact *a, hg_jw *w)
{
    const hg_jval *graphs = hg_json_get(a->root, "graphs");
    bool mapped = hg_json_len(hg_json_get(hg_json_at(graphs, 0), "initializers")) > 0;
    hg_jw_text(w, "folder", a->dir);
    hg_jw_arr(w, "files");
    for (size_t i = 0; mapped && i < a->file_count; i++) hg_jw_text(w, NULL, a->files[i]);
    hg_jw_end(w);
    hg_jw_arr(w, "graphs");
    for (hg_json_iter it = hg_json_iter_of(graphs); hg_json_next(&it);) load_graph(a, it.val, w);
    hg_jw_end(w);
}
