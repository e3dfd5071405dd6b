/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building. One `run` holds everything from the first look at the snapshot to the last file of the stage; each step below takes it, and whatever
 * it opened is closed in one place.
 */
#include "convert/convert.h"

#include "base/fsx.h"
#include "base/mem.h"
#include "convert/arch.h"
#include "convert/artifact.h"
#include "convert/place.h"
#include "graph/check.h"

#include <stdio.h>
#include <stdlib.h>

#define LOCATION_MAX 128

typedef struct run {
    const hg_convert_spec *spec;
    const char *stage;
    hangar_job *job;
    hg_hfconfig config;
    hg_checkpoint ck;
    hg_build build;
    const hg_arch *arch;
    bool mapped;     /* nothing is placed */
    bool *used;      /* for each file of the checkpoint */
    uint32_t *index; /* its number among the used ones */
    uint32_t used_count;
    char **places; /* its name beside the graphs */
    size_t sizes[HG_BUILD_GRAPHS_MAX];
} run;

/* ---- what to build ---- */

static hangar_code open_config(run *r, hangar_err *err)
{
    const hg_snapshot *snap = r->spec->snap;
    if (!hg_snapshot_file_get(snap, "config.json")) {
        if (!hg_checkpoint_there(snap)) return hg_checkpoint_missing(snap, err);
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "%s has no config.json: nothing says what model it is",
                       snap->ref.repo);
    }
    HG_AUTO(hg_auto_free) char *path = hg_snapshot_file_path(snap, "config.json");
    if (!path) return hg_fail_memory(err);
    hangar_code code = hg_hfconfig_open(path, &r->config, err);
    if (code != HANGAR_OK) return code;
    const char *type = hg_hfconfig_text(&r->config, "model_type", NULL);
    char known[HG_ARCH_NAMES_MAX];
    r->arch = hg_arch_get(type);
    if (r->arch && r->spec->form->silence && !r->arch->hears_windows)
        return hg_fail(err, HANGAR_E_UNSUPPORTED,
                       "the form %s is for models that hear windows of sound, and %s does not",
                       r->spec->form->name, r->arch->name);
    if (r->arch) return HANGAR_OK;
    return hg_fail(err, HANGAR_E_UNSUPPORTED, "config.json: model_type %.64s (known: %s)",
                   type ? type : "is missing", hg_arch_names(known));
}

static hangar_code build_graphs(run *r, hangar_err *err)
{
    r->build = (hg_build){.ck = &r->ck,
                          .config = &r->config,
                          .opset = r->spec->opset ? r->spec->opset : HG_ONNX_OPSET,
                          .style = r->spec->style,
                          .form = r->spec->form,
                          .layers = r->spec->layers};
    hangar_code code = r->arch->build(&r->build, err);
    if (code == HANGAR_OK) hg_hfconfig_all_known(&r->config);
    if (code == HANGAR_OK) code = hg_hfconfig_check(&r->config, err);
    for (size_t i = 0; code == HANGAR_OK && i < r->build.count; i++) {
        code = hg_graph_state(r->build.graphs[i], err);
        hg_wrap(err, code, "%s", r->build.names[i]);
    }
    return code;
}

/* The place of weight file i beside the graphs: its base name, which must be a plain one and nobody else's. */
static hangar_code name_place(run *r, size_t i, hangar_err *err)
{
    const char *base = hg_path_base(r->ck.files[i].path);
    bool plain =
        strlen(base) < LOCATION_MAX &&
        strspn(base, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == strlen(base);
    if (!plain)
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "the weight file's name %s cannot stand in a graph", base);
    for (size_t j = 0; j < i; j++) {
        if (r->places[j] && strcmp(r->places[j], base) == 0)
            return hg_fail(err, HANGAR_E_UNSUPPORTED, "two weight files are called %s", base);
    }
    r->places[i] = hg_strdup(base);
    return r->places[i] ? HANGAR_OK : hg_fail_memory(err);
}

/* Which files the graphs use, and whether their weights can be mapped. */
static hangar_code plan_weights(run *r, hangar_err *err)
{
    r->mapped = !r->spec->for_others;
    r->used = hg_calloc(r->ck.count, sizeof *r->used);
    r->index = hg_calloc(r->ck.count, sizeof *r->index);
    r->places = (char **)hg_calloc(r->ck.count, sizeof *r->places);
    if (!r->used || !r->index || !r->places) return hg_fail_memory(err);
    for (size_t i = 0; i < r->build.count; i++) {
        if (r->build.makes[i].count || hg_graph_folds(r->build.graphs[i])) r->mapped = false;
        for (size_t j = 0; j < hg_graph_weight_count(r->build.graphs[i]); j++) {
            const hg_weight *w = hg_graph_weight_at(r->build.graphs[i], j);
            if (w->file != HG_WEIGHT_MADE) r->used[w->file] = true;
            if (w->value->type != HG_ONNX_FLOAT) r->mapped = false;
        }
    }
    for (size_t i = 0; i < r->ck.count; i++) {
        if (!r->used[i]) continue;
        r->index[i] = r->used_count++;
        hangar_code code = r->mapped ? HANGAR_OK : name_place(r, i, err);
        if (code != HANGAR_OK) return code;
    }
    return HANGAR_OK;
}

/* ---- the stage ---- */

/* "model", or "model_int8" where transformers.js looks for that; the caller's. */
static char *file_stem(const run *r, size_t i)
{
    return hg_format("%s%s", r->build.names[i], r->spec->for_others ? r->spec->form->suffix : "");
}

/* The graph's own data file, when something was made for it; the caller's. */
static char *data_name(const run *r, size_t i, const char *stem)
{
    return r->build.makes[i].count ? hg_format("%s.onnx_data", stem) : NULL;
}

static char *in_folder(const run *r, const char *stem, const char *end)
{
    return hg_format("%s%s/%s%s", r->stage, r->spec->for_others ? "/onnx" : "", stem, end);
}

/* Emits graph i, checks what was emitted, writes it. */
static hangar_code write_graph(run *r, size_t i, const char *stem, const char *const *locations,
                               const char *made, const hg_onnx_file *files, size_t file_count,
                               hangar_err *err)
{
    hg_buf bytes;
    hg_onnx_stats stats;
    hg_buf_init(&bytes, HG_ONNX_EMIT_MAX);
    hangar_code code = hg_graph_emit(r->build.graphs[i], locations, r->ck.count, made, &bytes, err);
    if (code == HANGAR_OK)
        code = hg_onnx_check((const uint8_t *)bytes.data, bytes.len, files, file_count, &stats, err);
    HG_AUTO(hg_auto_free) char *path = in_folder(r, stem, ".onnx");
    if (code == HANGAR_OK && !path) code = hg_fail_memory(err);
    if (code == HANGAR_OK) code = hg_stage_write(path, bytes.data, bytes.len, err);
    r->sizes[i] = bytes.len;
    hg_buf_deinit(&bytes);
    return hg_wrap(err, code, "%s.onnx", stem);
}

/* One graph with all that lies beside it. */
static hangar_code write_one(run *r, size_t i, hangar_err *err)
{
    HG_AUTO(hg_auto_free) const char **locations = (const char **)hg_calloc(r->ck.count, sizeof *locations);
    HG_AUTO(hg_auto_free) hg_onnx_file *files = hg_calloc(r->ck.count + 1, sizeof *files);
    HG_AUTO(hg_auto_free) char *stem = file_stem(r, i);
    HG_AUTO(hg_auto_free) char *own = stem ? hg_format("%s.onnx", stem) : NULL;
    HG_AUTO(hg_auto_free) char *made = stem ? data_name(r, i, stem) : NULL;
    HG_AUTO(hg_auto_free) char *data = stem ? in_folder(r, stem, ".onnx_data") : NULL;
    if (!locations || !files || !own || !data || (r->build.makes[i].count && !made))
        return hg_fail_memory(err);
    for (size_t j = 0; j < r->ck.count; j++) {
        locations[j] = r->mapped ? own : r->places[j] ? r->places[j] : "";
        files[j] = (hg_onnx_file){locations[j], r->mapped ? UINT64_MAX : r->ck.files[j].bytes};
    }
    files[r->ck.count] = (hg_onnx_file){made ? made : "", r->build.makes[i].bytes};
    hangar_code code = write_graph(r, i, stem, locations, made, files, r->ck.count + 1, err);
    if (code == HANGAR_OK && made) code = hg_make_run(&r->build.makes[i], &r->ck, data, r->job, err);
    return code == HANGAR_OK ? hg_job_check(r->job, err) : code;
}

/* ---- hangar.json ---- */

static void manifest_graph(const run *r, size_t i, hg_jw *w)
{
    const hg_graph *g = r->build.graphs[i];
    HG_AUTO(hg_auto_free) char *stem = file_stem(r, i);
    HG_AUTO(hg_auto_free) char *file = stem ? hg_format("%s.onnx", stem) : NULL;
    HG_AUTO(hg_auto_free) char *made = stem ? data_name(r, i, stem) : NULL;
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "name", r->build.names[i]);
    hg_jw_text(w, "file", file);
    hg_jw_u64(w, "bytes", r->sizes[i]);
    hg_jw_u64(w, "nodes", hg_graph_node_count(g));
    if (made) {
        hg_jw_text(w, "data", made);
        hg_jw_u64(w, "data_bytes", r->build.makes[i].bytes);
    }
    if (r->mapped && r->used_count > 1) { /* a graph cannot say it, for all locations are its own name */
        hg_jw_arr(w, "weight_files");
        for (size_t j = 0; j < hg_graph_weight_count(g); j++)
            hg_jw_u64(w, NULL, r->index[hg_graph_weight_at(g, j)->file]);
        hg_jw_end(w);
    }
    hg_jw_end(w);
}

static hangar_code manifest(const run *r, char **out, hangar_err *err)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w) return hg_fail_memory(err);
    hg_jw_obj(w, NULL);
    hg_jw_i64(w, "format", HG_ARTIFACT_FORMAT);
    hg_jw_text(w, "generator", "hangar " HANGAR_VERSION);
    hg_jw_text(w, "architecture", r->arch->name);
    hg_jw_text(w, "task", r->build.task);
    hg_jw_text(w, "form", r->spec->form->name);
    hg_jw_text(w, "style", r->spec->style == HG_STYLE_PORTABLE ? "portable" : "fused");
    hg_jw_text(w, "level", hg_level_name(r->spec->level));
    hg_jw_text(w, "repo", r->spec->snap->ref.repo);
    hg_jw_text(w, "commit", r->spec->snap->commit);
    hg_jw_i64(w, "opset", r->build.opset);
    if (r->spec->layers) hg_jw_u64(w, "layers", r->spec->layers);
    hg_jw_arr(w, "weights");
    for (size_t i = 0; i < r->ck.count; i++) {
        if (!r->used[i]) continue;
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "path", r->ck.files[i].path);
        hg_jw_u64(w, "bytes", r->ck.files[i].bytes);
        hg_jw_text(w, "placed", r->places[i]);
        hg_jw_end(w);
    }
    hg_jw_end(w);
    hg_jw_arr(w, "graphs");
    for (size_t i = 0; i < r->build.count; i++) manifest_graph(r, i, w);
    return hg_jw_finish(w, false, out, err);
}

static hangar_code write_manifest(const run *r, const char *text, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *path = hg_path_join(r->stage, HG_ARTIFACT_MANIFEST);
    return path ? hg_stage_write(path, text, strlen(text), err) : hg_fail_memory(err);
}

/* ---- the whole ---- */

static hangar_code build(run *r, char **out_json, hangar_err *err)
{
    hangar_code code = open_config(r, err);
    if (code == HANGAR_OK) code = hg_checkpoint_open(r->spec->snap, &r->ck, err);
    if (code == HANGAR_OK) code = hg_job_check(r->job, err);
    if (code == HANGAR_OK) code = build_graphs(r, err);
    if (code == HANGAR_OK) code = plan_weights(r, err);
    for (size_t i = 0; code == HANGAR_OK && i < r->build.count; i++) code = write_one(r, i, err);
    if (code == HANGAR_OK) code = manifest(r, out_json, err);
    if (code == HANGAR_OK && !r->spec->for_others) code = write_manifest(r, *out_json, err);
    return code;
}

/* Builds a stage. */
hangar_code hg_convert_build(const hg_convert_spec *spec, const char *stage, hangar_job *job, char **out_json,
                             hangar_err *err)
{
    run r = {.spec = spec, .stage = stage, .job = job};
    *out_json = NULL;
    hangar_code code = build(&r, out_json, err);
    if (code != HANGAR_OK) {
        free(*out_json);
        *out_json = NULL;
    }
    hg_build_deinit(&r.build);
    for (size_t i = 0; r.places && i < r.ck.count; i++) free(r.places[i]);
    free((void *)r.places);
    free(r.used);
    free(r.index);
    hg_checkpoint_deinit(&r.ck);
    hg_hfconfig_deinit(&r.config);
    return code;
}
