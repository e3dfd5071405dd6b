/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stage is begun beside the target; a child builds into it; what the child may not do (links into the store) is done here; the result is
 * proved in another child, which has ONNX Runtime; only then it takes its name. Whatever fails, the stage goes.
 */
#include "manager/convert.h"

#include "base/clock.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "convert/artifact.h"
#include "convert/place.h"
#include "engine/runner.h"
#include "manager/metrics.h"
#include "manager/onnx_check.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the child ---- */

static hangar_code load_text(const hg_snapshot *snap, const char *stage, char **out, hangar_err *err)
{
    char **paths = NULL;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    HG_AUTO(hg_auto_free) char *real = realpath(stage, NULL);
    if (!w || !real) return hg_fail_memory(err);
    hangar_code code = hg_convert_sources(snap, &paths, err);
    if (code != HANGAR_OK) return code;
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "stage", real);
    hg_jw_arr(w, "read");
    for (char **p = paths; *p; p++) hg_jw_text(w, NULL, *p);
    hg_convert_sources_free(paths);
    return hg_jw_finish(w, false, out, err);
}

static hangar_code call_text(const hg_convert_spec *spec, char **out, hangar_err *err)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w) return hg_fail_memory(err);
    hg_jw_obj(w, NULL);
    hg_convert_spec_write(spec, w);
    return hg_jw_finish(w, false, out, err);
}

/* Builds in a child; its answer goes to `out`. */
static hangar_code build_outside(hangar *h, const hg_convert_spec *spec, const char *stage, hangar_job *job,
                                 hg_built *out, hangar_err *err)
{
    hg_runner *runner = NULL;
    hg_frame done = {0};
    HG_AUTO(hg_auto_free) char *load = NULL;
    HG_AUTO(hg_auto_free) char *call = NULL;
    hg_runner_options options = {h->settings->load_timeout, h->settings->step_timeout};
    hangar_code code = load_text(spec->snap, stage, &load, err);
    if (code == HANGAR_OK) code = call_text(spec, &call, err);
    if (code == HANGAR_OK)
        code = hg_runner_start(&hg_engine_convert, &options, hg_str_of(load), job, &runner, NULL, err);
    if (code == HANGAR_OK)
        code = hg_runner_call(runner, hg_str_of(call), NULL, 0, NULL, NULL, job, &done, err);
    hg_runner_end(runner);
    if (code == HANGAR_OK) {
        out->doc = done.doc;
        done.doc = NULL;
        const hg_jval *root = hg_json_root(out->doc);
        out->manifest = hg_json_get(root, "manifest");
        out->seconds = hg_json_f64_or(hg_json_get(root, "seconds"), 0);
        (void)!hg_json_u64(hg_json_get(root, "peak_bytes"), &out->peak_bytes);
    }
    hg_frame_deinit(&done);
    return code;
}

/* Frees what the child said. */
void hg_built_deinit(hg_built *b)
{
    hg_json_free(b->doc);
    *b = (hg_built){0};
}

/* Builds and finishes a stage. */
hangar_code hg_onnx_build(hangar *h, const hg_convert_spec *spec, const char *stage, hangar_place place,
                          hangar_job *job, hg_built *out, hangar_err *err)
{
    *out = (hg_built){0};
    hg_job_phase(job, "building graphs");
    HG_AUTO(hg_auto_free) char *folder = spec->for_others ? hg_path_join(stage, "onnx") : hg_strdup(stage);
    if (!folder) return hg_fail_memory(err);
    hangar_code code = hg_mkdirs(folder, 0777, err);
    if (code == HANGAR_OK) code = build_outside(h, spec, stage, job, out, err);
    if (code != HANGAR_OK) return code;
    hg_job_phase(job, "placing weights");
    code = hg_convert_finish(spec, stage, out->manifest, place, job, &out->finished, err);
    if (code != HANGAR_OK) hg_built_deinit(out);
    return code;
}

/* ---- the answer ---- */

static hangar_code answer(const char *ref, const hg_convert_spec *spec, const char *target, const hg_built *b,
                          const hg_json *proof, double seconds, char **out_json, hangar_err *err)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    HG_AUTO(hg_auto_free) char *path = realpath(target, NULL);
    uint64_t bytes = 0, written = b->finished.written;
    if (!w) return hg_fail_memory(err);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "ref", ref);
    hg_jw_text(w, "commit", spec->snap->commit);
    hg_jw_members(w, b->manifest,
                  (const char *const[]){"format", "generator", "repo", "commit", "opset", "layers", "weights",
                                        "graphs", NULL});
    hg_jw_text(w, "path", path ? path : target);
    hg_jw_arr(w, "graphs");
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(b->manifest, "graphs")); hg_json_next(&it);) {
        HG_AUTO(hg_auto_free)
        char *file = hg_format("%s%s", spec->for_others ? "onnx/" : "",
                               hg_json_text_or(hg_json_get(it.val, "file"), "?"));
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "file", file);
        hg_jw_val(w, "nodes", hg_json_get(it.val, "nodes"));
        hg_jw_val(w, "bytes", hg_json_get(it.val, "bytes"));
        hg_jw_end(w);
        if (hg_json_u64(hg_json_get(it.val, "bytes"), &bytes)) written += bytes;
        if (hg_json_u64(hg_json_get(it.val, "data_bytes"), &bytes)) written += bytes;
    }
    hg_jw_end(w);
    hg_jw_obj(w, "weights");
    hg_jw_text(w, "placed", b->finished.way);
    hg_jw_u64(w, "bytes", b->finished.weight_bytes);
    hg_jw_end(w);
    hg_jw_u64(w, "bytes_written", written);
    hg_jw_obj(w, "build");
    hg_jw_f64(w, "seconds", b->seconds);
    hg_jw_u64(w, "peak_bytes", b->peak_bytes);
    hg_jw_end(w);
    if (proof) {
        hg_jw_obj(w, "proof");
        hg_jw_members(w, hg_json_root(proof), (const char *const[]){"ref", "commit", NULL});
        hg_jw_end(w);
    } else {
        hg_jw_null(w, "proof");
    }
    hg_jw_f64(w, "seconds", seconds);
    return hg_jw_finish(w, false, out_json, err);
}

/* ---- the whole ---- */

/* A folder for others has no manifest of its own: what is proved is the same model, built once more as hangar keeps it. */
static hangar_code prove_twin(hangar *h, const hg_convert_spec *spec, const char *stage, const char *ref,
                              hangar_job *job, char **report, hangar_err *err)
{
    HG_AUTO(hg_artifact_auto_free) hg_artifact *artifact = NULL;
    hangar_code code = hg_artifact_open_at(stage, spec->snap, &artifact, err);
    return code == HANGAR_OK ? hg_onnx_report(h, spec->snap, artifact, ref, false, job, report, err) : code;
}

static hangar_code make(hangar *h, const hg_convert_spec *spec, const char *ref, const char *stage,
                        hangar_place place, hangar_job *job, hg_built *built, char **report, hangar_err *err)
{
    hangar_code code = hg_onnx_build(h, spec, stage, place, job, built, err);
    if (code != HANGAR_OK) return code;
    if (spec->for_others) { /* the manifest beside the graphs makes the folder one that can be opened; it goes again */
        HG_AUTO(hg_auto_free) char *folder = hg_path_join(stage, "onnx");
        HG_AUTO(hg_auto_free) char *path = folder ? hg_path_join(folder, HG_ARTIFACT_MANIFEST) : NULL;
        HG_AUTO(hg_auto_free) char *text = hg_json_print(built->manifest, false);
        if (!path || !text) return hg_fail_memory(err);
        code = hg_stage_write(path, text, strlen(text), err);
        if (code == HANGAR_OK) code = prove_twin(h, spec, folder, ref, job, report, err);
        HG_AUTO(hg_auto_free) char *card = hg_path_join(folder, "report.json");
        (void)unlink(path);
        if (card) (void)unlink(card);
    } else {
        code = prove_twin(h, spec, stage, ref, job, report, err);
    }
    return code;
}

/* Takes a stage away, with the folders of hangar's own above it that have nothing else. */
static void drop(const char *stage, const hg_convert_spec *spec)
{
    (void)hg_rm_tree(stage, NULL);
    if (spec->for_others) return; /* what is above belongs to the person */
    HG_AUTO(hg_auto_free) char *commit = hg_path_dir(stage);
    HG_AUTO(hg_auto_free) char *repo = commit ? hg_path_dir(commit) : NULL;
    if (repo && rmdir(commit) == 0) (void)rmdir(repo);
}

/*
 * O0 and O1 are for graphs that any engine reads. O3 (weights packed in advance) is refused when somebody asks for it, but a configuration that
 * names it does not stop every conversion: there it is the highest that there is.
 */
hangar_code hg_onnx_level(const hangar *h, const char *level, hg_level *out, hangar_err *err)
{
    if (hg_streq(level, "O3"))
        return hg_fail(err, HANGAR_E_UNSUPPORTED,
                       "level O3 is not made: weights packed in advance cost twice the space and save less "
                       "than a third of a load, and mapped ones load faster; use O2");
    if (!level) level = h->settings->optimization_level;
    if (hg_streq(level, "O3")) level = hg_level_name(HG_LEVEL_O2);
    if (hg_level_get(level, out)) return HANGAR_OK;
    return hg_fail(err, HANGAR_E_USAGE, "no level is called %.32s; there are O0, O1 and O2", level);
}

/* Converts, proves, shows. */
hangar_code hg_onnx_convert(hangar *h, const hg_snapshot *snap, const char *ref,
                            const hangar_convert_options *options, hangar_job *job, char **out_json,
                            hangar_err *err)
{
    double start = hg_now();
    hg_built built = {0};
    HG_AUTO(hg_auto_free) char *target = NULL;
    HG_AUTO(hg_auto_free) char *stage = NULL;
    HG_AUTO(hg_auto_free) char *report = NULL;
    HG_AUTO(hg_json_auto_free) hg_json *proof = NULL;
    hg_convert_spec spec = {.snap = snap,
                            .form = options->form ? hg_form_get(options->form) : hg_form_at(0),
                            .style =
                                options->style == HANGAR_STYLE_PORTABLE ? HG_STYLE_PORTABLE : HG_STYLE_FUSED,
                            .opset = options->opset,
                            .for_others = options->out != NULL};
    if (!spec.form) return hg_fail(err, HANGAR_E_USAGE, "no form is called %.32s", options->form);
    hangar_code code = hg_onnx_level(h, options->level, &spec.level, err);
    if (code != HANGAR_OK) return code;
    if (spec.level != HG_LEVEL_O2) spec.style = HG_STYLE_PORTABLE;
    code = hg_convert_target(h->store, &spec, options->out, &target, err);
    if (code == HANGAR_OK) code = hg_stage_begin(target, &stage, err);
    if (code != HANGAR_OK) return code;
    code = make(h, &spec, ref, stage, options->place, job, &built, &report, err);
    if (code == HANGAR_OK) code = hg_job_check(job, err);
    if (code == HANGAR_OK) code = hg_stage_commit(stage, target, !options->out, err);
    if (code != HANGAR_OK) drop(stage, &spec);
    hg_metric_conversion(ref, spec.form->name, code, hg_now() - start, built.peak_bytes);
    if (report) (void)!hg_json_parse(hg_str_of(report), NULL, &proof, NULL);
    if (out_json && (code == HANGAR_OK || (code == HANGAR_E_INTEGRITY && proof))) {
        hangar_code told = answer(ref, &spec, target, &built, proof, hg_now() - start, out_json,
                                  code == HANGAR_OK ? err : NULL);
        if (code == HANGAR_OK) code = told;
    }
    hg_built_deinit(&built);
    return code;
}
