/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver. One `run` holds everything from the first look at the snapshot to the last rename; each step below takes it, and whatever it
 * opened is closed in one place. Nothing is visible under the target's name before every file in the stage is written and synced.
 */
#include "convert/convert.h"

#include "base/clock.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "convert/arch.h"
#include "convert/artifact.h"
#include "convert/place.h"
#include "graph/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LOCATION_MAX 128

typedef struct run {
    const hg_snapshot *snap;
    const char *ref;
    const hangar_convert_options *options;
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
    char *target, *stage;
    const char *way; /* how the weights were placed; NULL = they were not */
    uint64_t weight_bytes, written;
} run;

/* ---- what to build ---- */

static hangar_code open_config(run *r, hangar_err *err)
{
    if (!hg_snapshot_file_get(r->snap, "config.json")) {
        for (size_t i = 0; i < r->snap->count; i++)
            if (hg_str_ends(hg_str_of(r->snap->files[i].path), HG_STR(".gguf")))
                return hg_fail(
                    err, HANGAR_E_UNSUPPORTED,
                    "%s holds GGUF files, which are not converted: hangar run takes them as they are",
                    r->snap->ref.repo);
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "%s has no config.json: nothing says what model it is",
                       r->snap->ref.repo);
    }
    HG_AUTO(hg_auto_free) char *path = hg_snapshot_file_path(r->snap, "config.json");
    if (!path) return hg_fail_memory(err);
    hangar_code code = hg_hfconfig_open(path, &r->config, err);
    if (code != HANGAR_OK) return code;
    const char *type = hg_hfconfig_text(&r->config, "model_type", NULL);
    char known[HG_ARCH_NAMES_MAX];
    r->arch = hg_arch_get(type);
    if (r->arch) return HANGAR_OK;
    return hg_fail(err, HANGAR_E_UNSUPPORTED, "config.json: model_type %.64s (known: %s)",
                   type ? type : "is missing", hg_arch_names(known));
}

static hangar_code build_graphs(run *r, hangar_err *err)
{
    r->build = (hg_build){.ck = &r->ck,
                          .config = &r->config,
                          .opset = r->options->opset ? r->options->opset : HG_ONNX_OPSET,
                          .form = hg_form_at(0)};
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
    r->mapped = !r->options->out;
    r->used = hg_calloc(r->ck.count, sizeof *r->used);
    r->index = hg_calloc(r->ck.count, sizeof *r->index);
    r->places = (char **)hg_calloc(r->ck.count, sizeof *r->places);
    if (!r->used || !r->index || !r->places) return hg_fail_memory(err);
    for (size_t i = 0; i < r->build.count; i++) {
        if (hg_graph_folds(r->build.graphs[i])) r->mapped = false;
        for (size_t j = 0; j < hg_graph_weight_count(r->build.graphs[i]); j++) {
            const hg_weight *w = hg_graph_weight_at(r->build.graphs[i], j);
            r->used[w->file] = true;
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

/* stage/onnx for other tools, the stage itself for hangar. */
static char *graph_folder(const run *r)
{
    return r->options->out ? hg_path_join(r->stage, "onnx") : hg_strdup(r->stage);
}

static hangar_code write_graph(run *r, size_t i, const char *folder, const char *const *locations,
                               const hg_onnx_file *files, hangar_err *err)
{
    hg_buf bytes;
    hg_onnx_stats stats;
    hg_buf_init(&bytes, HG_ONNX_EMIT_MAX);
    hangar_code code = hg_graph_emit(r->build.graphs[i], locations, r->ck.count, NULL, &bytes, err);
    if (code == HANGAR_OK)
        code = hg_onnx_check((const uint8_t *)bytes.data, bytes.len, files, r->ck.count, &stats, err);
    HG_AUTO(hg_auto_free) char *path = hg_format("%s/%s.onnx", folder, r->build.names[i]);
    if (code == HANGAR_OK && !path) code = hg_fail_memory(err);
    if (code == HANGAR_OK) code = hg_stage_write(path, bytes.data, bytes.len, err);
    r->sizes[i] = bytes.len;
    r->written += bytes.len;
    hg_buf_deinit(&bytes);
    return hg_wrap(err, code, "%s.onnx", r->build.names[i]);
}

static hangar_code write_graphs(run *r, const char *folder, hangar_err *err)
{
    HG_AUTO(hg_auto_free) const char **locations = (const char **)hg_calloc(r->ck.count, sizeof *locations);
    HG_AUTO(hg_auto_free) hg_onnx_file *files = hg_calloc(r->ck.count, sizeof *files);
    if (!locations || !files) return hg_fail_memory(err);
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; code == HANGAR_OK && i < r->build.count; i++) {
        HG_AUTO(hg_auto_free) char *own = hg_format("%s.onnx", r->build.names[i]);
        if (!own) return hg_fail_memory(err);
        for (size_t j = 0; j < r->ck.count; j++) {
            locations[j] = r->mapped ? own : r->places[j] ? r->places[j] : "";
            files[j] = (hg_onnx_file){locations[j], r->mapped ? UINT64_MAX : r->ck.files[j].bytes};
        }
        code = write_graph(r, i, folder, locations, files, err);
        if (code == HANGAR_OK) code = hg_job_check(r->job, err);
    }
    return code;
}

static hangar_code place_all(run *r, const char *folder, hangar_err *err)
{
    hangar_place how = r->options->out ? r->options->place : HANGAR_PLACE_AUTO;
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; code == HANGAR_OK && !r->mapped && i < r->ck.count; i++) {
        if (!r->used[i]) continue;
        HG_AUTO(hg_auto_free) char *to = hg_path_join(folder, r->places[i]);
        if (!to) return hg_fail_memory(err);
        code = hg_place_weights(r->ck.files[i].real, to, how, r->ck.files[i].path, r->job, &r->way, err);
        r->weight_bytes += r->ck.files[i].bytes;
        if (code == HANGAR_OK && strcmp(r->way, "copy") == 0) r->written += r->ck.files[i].bytes;
    }
    if (code == HANGAR_OK && r->options->out && r->way && strcmp(r->way, "link") == 0) {
        hg_job_note(
            r->job,
            "the weights are hard links into the cache: the Python package onnx (1.21 and later) refuses "
            "such files; --copy makes files of their own");
    }
    return code;
}

/* ---- hangar.json ---- */

static void manifest_graph(const run *r, size_t i, hg_jw *w)
{
    const hg_graph *g = r->build.graphs[i];
    HG_AUTO(hg_auto_free) char *file = hg_format("%s.onnx", r->build.names[i]);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "name", r->build.names[i]);
    hg_jw_text(w, "file", file);
    hg_jw_u64(w, "bytes", r->sizes[i]);
    hg_jw_u64(w, "nodes", hg_graph_node_count(g));
    if (r->mapped &&
        r->used_count >
            1) { /* in the graph's order; a graph cannot say it, for all locations are its own name */
        hg_jw_arr(w, "weight_files");
        for (size_t j = 0; j < hg_graph_weight_count(g); j++)
            hg_jw_u64(w, NULL, r->index[hg_graph_weight_at(g, j)->file]);
        hg_jw_end(w);
    }
    hg_jw_end(w);
}

static hangar_code write_manifest(run *r, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *path = hg_path_join(r->stage, HG_ARTIFACT_MANIFEST);
    HG_AUTO(hg_auto_free) char *text = NULL;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!path || !w) return hg_fail_memory(err);
    hg_jw_obj(w, NULL);
    hg_jw_i64(w, "format", HG_ARTIFACT_FORMAT);
    hg_jw_text(w, "generator", "hangar " HANGAR_VERSION);
    hg_jw_text(w, "architecture", r->arch->name);
    hg_jw_text(w, "task", r->build.task);
    hg_jw_text(w, "repo", r->snap->ref.repo);
    hg_jw_text(w, "commit", r->snap->commit);
    hg_jw_i64(w, "opset", r->build.opset);
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
    hangar_code code = hg_jw_finish(w, false, &text, err);
    if (code != HANGAR_OK) return code;
    r->written += strlen(text);
    return hg_stage_write(path, text, strlen(text), err);
}

/* ---- a folder for other tools ---- */

/* What goes on top of such a folder when the repository has it. Names come from here alone, never from a file. */
static const char *const companions[] = {"generation_config.json",
                                         "preprocessor_config.json",
                                         "processor_config.json",
                                         "feature_extractor.json",
                                         "tokenizer.json",
                                         "tokenizer_config.json",
                                         "special_tokens_map.json",
                                         "added_tokens.json",
                                         "vocab.json",
                                         "vocab.txt",
                                         "merges.txt",
                                         "normalizer.json",
                                         "spiece.model",
                                         "sentencepiece.bpe.model",
                                         "tokenizer.model",
                                         "chat_template.jinja",
                                         "modules.json",
                                         "sentence_bert_config.json",
                                         "config_sentence_transformers.json",
                                         "1_Pooling/config.json"};

static hangar_code copy_companions(run *r, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; code == HANGAR_OK && i < HG_LEN(companions); i++) {
        const hg_snapshot_file *file = hg_snapshot_file_get(r->snap, companions[i]);
        if (!file) continue;
        HG_AUTO(hg_auto_free) char *from = hg_snapshot_file_path(r->snap, companions[i]);
        HG_AUTO(hg_auto_free) char *to = hg_path_join(r->stage, companions[i]);
        if (!from || !to) return hg_fail_memory(err);
        code = hg_stage_copy(from, to, companions[i], r->job, err);
        r->written += file->size;
        if (code == HANGAR_OK) code = hg_job_check(r->job, err);
    }
    return code;
}

/* config.json with all its keys, and "transformers.js_config" telling that the graphs are F32 (elsewhere the default is 8 bits). */
static hangar_code write_config(run *r, hangar_err *err)
{
    static const char extra[] = "transformers.js_config";
    HG_AUTO(hg_auto_free) char *path = hg_path_join(r->stage, "config.json");
    HG_AUTO(hg_auto_free) char *text = NULL;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!path || !w) return hg_fail_memory(err);
    hg_jw_obj(w, NULL);
    hg_jw_members(w, r->config.root, (const char *const[]){extra, NULL});
    hg_jw_obj(w, extra);
    hg_jw_members(w, hg_json_get(r->config.root, extra),
                  (const char *const[]){"dtype", "use_external_data_format", NULL});
    hg_jw_text(w, "dtype", "fp32");
    hangar_code code = hg_jw_finish(w, true, &text, err);
    if (code != HANGAR_OK) return code;
    r->written += strlen(text);
    return hg_stage_write(path, text, strlen(text), err);
}

/* ---- the whole ---- */

/* For hg_list_dir: a folder that holds anything is refused. */
static hangar_code refuse_entry(void *ctx, const char *dir, const char *name, hangar_err *err)
{
    (void)ctx;
    return hg_fail(err, HANGAR_E_USAGE, "%s is there and not empty (%s)", dir, name);
}

static hangar_code choose_target(run *r, const hg_store *store, hangar_err *err)
{
    const char *out = r->options->out;
    if (!out) {
        r->target = hg_artifact_dir(store, r->snap->ref.repo, r->snap->commit, HG_ARTIFACT_KIND);
        return r->target ? HANGAR_OK : hg_fail_memory(err);
    }
    size_t len = strlen(out);
    while (len > 1 && out[len - 1] == '/') len--;
    if (len == 0) return hg_fail(err, HANGAR_E_USAGE, "the output folder has no name");
    r->target = hg_strndup(out, len);
    if (!r->target) return hg_fail_memory(err);
    if (hg_is_dir(r->target)) return hg_list_dir(r->target, refuse_entry, NULL, err);
    if (access(r->target, F_OK) == 0) return hg_fail(err, HANGAR_E_USAGE, "%s is no folder", r->target);
    return HANGAR_OK;
}

static hangar_code fill_stage(run *r, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *folder = graph_folder(r);
    if (!folder) return hg_fail_memory(err);
    hangar_code code = hg_mkdirs(folder, 0777, err);
    if (code == HANGAR_OK) code = write_graphs(r, folder, err);
    if (code == HANGAR_OK) hg_job_phase(r->job, "placing weights");
    if (code == HANGAR_OK) code = place_all(r, folder, err);
    if (code != HANGAR_OK) return code;
    if (!r->options->out) return write_manifest(r, err);
    code = copy_companions(r, err);
    return code == HANGAR_OK ? write_config(r, err) : code;
}

static hangar_code convert(run *r, const hg_store *store, hangar_err *err)
{
    hg_job_phase(r->job, "building graphs");
    hangar_code code = open_config(r, err);
    if (code == HANGAR_OK) code = hg_checkpoint_open(r->snap, &r->ck, err);
    if (code == HANGAR_OK) code = hg_job_check(r->job, err);
    if (code == HANGAR_OK) code = build_graphs(r, err);
    if (code == HANGAR_OK) code = plan_weights(r, err);
    if (code == HANGAR_OK) code = choose_target(r, store, err);
    if (code == HANGAR_OK) code = hg_stage_begin(r->target, &r->stage, err);
    if (code != HANGAR_OK) return code;
    hg_job_phase(r->job, "writing");
    code = fill_stage(r, err);
    if (code == HANGAR_OK) code = hg_job_check(r->job, err);
    if (code == HANGAR_OK) code = hg_stage_commit(r->stage, r->target, !r->options->out, err);
    if (code != HANGAR_OK) (void)hg_rm_tree(r->stage, NULL);
    return code;
}

static hangar_code report(const run *r, double seconds, char **out_json, hangar_err *err)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    HG_AUTO(hg_auto_free) char *path = realpath(r->target, NULL);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "ref", r->ref);
    hg_jw_text(w, "commit", r->snap->commit);
    hg_jw_text(w, "architecture", r->arch->name);
    hg_jw_text(w, "path", path ? path : r->target);
    hg_jw_arr(w, "graphs");
    for (size_t i = 0; i < r->build.count; i++) {
        HG_AUTO(hg_auto_free)
        char *file = hg_format("%s%s.onnx", r->options->out ? "onnx/" : "", r->build.names[i]);
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "file", file);
        hg_jw_u64(w, "nodes", hg_graph_node_count(r->build.graphs[i]));
        hg_jw_u64(w, "bytes", r->sizes[i]);
        hg_jw_end(w);
    }
    hg_jw_end(w);
    hg_jw_obj(w, "weights");
    hg_jw_text(w, "placed", r->way);
    hg_jw_u64(w, "bytes", r->weight_bytes);
    hg_jw_end(w);
    hg_jw_u64(w, "bytes_written", r->written);
    hg_jw_f64(w, "seconds", seconds);
    return w ? hg_jw_finish(w, false, out_json, err) : hg_fail_memory(err);
}

/* Converts a snapshot. */
hangar_code hg_convert(const hg_store *store, const hg_snapshot *snap, const char *ref,
                       const hangar_convert_options *options, hangar_job *job, char **out_json,
                       hangar_err *err)
{
    run r = {.snap = snap, .ref = ref, .options = options, .job = job};
    double start = hg_now();
    hangar_code code = convert(&r, store, err);
    if (code == HANGAR_OK && out_json) code = report(&r, hg_now() - start, out_json, err);
    hg_build_deinit(&r.build);
    for (size_t i = 0; r.places && i < r.ck.count; i++) free(r.places[i]);
    free((void *)r.places);
    free(r.used);
    free(r.index);
    free(r.target);
    free(r.stage);
    hg_checkpoint_deinit(&r.ck);
    hg_hfconfig_deinit(&r.config);
    return code;
}
