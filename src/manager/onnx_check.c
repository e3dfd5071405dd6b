/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/onnx_check.h"

#include "base/clock.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "graph/check.h"
#include "hardware/hardware.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define REFERENCE_MAX ((size_t)256 << 20)
#define PROBE_LAYERS  2 /* of a model that is larger than memory */

static void write_line(hg_report *r, const char *name, bool ok, bool skipped, double value, double limit,
                       const char *detail)
{
    hg_jw_obj(r->w, NULL);
    hg_jw_text(r->w, "name", name);
    hg_jw_bool(r->w, "ok", ok);
    if (skipped) hg_jw_bool(r->w, "skipped", true);
    if (value == HG_REPORT_NONE) hg_jw_null(r->w, "value");
    else hg_jw_f64(r->w, "value", value);
    if (limit == HG_REPORT_NONE) hg_jw_null(r->w, "limit");
    else hg_jw_f64(r->w, "limit", limit);
    hg_jw_text(r->w, "detail", detail);
    hg_jw_end(r->w);
}

/* One line. */
void hg_report_add(hg_report *r, const char *name, bool ok, double value, double limit, const char *fmt, ...)
{
    char detail[HANGAR_ERR_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(detail, sizeof detail, fmt, args);
    va_end(args);
    write_line(r, name, ok, false, value, limit, detail);
    r->made++;
    if (ok) return;
    if (r->failed++ == 0) snprintf(r->first, sizeof r->first, "%.40s (%.110s)", name, detail);
}

/* One line for a difference. */
void hg_report_limit(hg_report *r, const char *name, double value, double limit, const char *fmt, ...)
{
    char detail[HANGAR_ERR_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(detail, sizeof detail, fmt, args);
    va_end(args);
    hg_report_add(r, name, value <= limit, value, limit, "%s", detail);
}

/* One line for what could not be checked. */
void hg_report_skip(hg_report *r, const char *name, const char *fmt, ...)
{
    char detail[HANGAR_ERR_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(detail, sizeof detail, fmt, args);
    va_end(args);
    write_line(r, name, true, true, HG_REPORT_NONE, HG_REPORT_NONE, detail);
}

/* The files of a placed artifact, as their graphs name them; for a mapped one each graph's own name. */
static hangar_code check_file(hg_report *r, const hg_artifact_graph *g, hangar_err *err)
{
    const hg_artifact *a = r->artifact;
    hg_onnx_stats stats = {0};
    hg_map map;
    HG_AUTO(hg_auto_free) hg_onnx_file *files = hg_calloc(a->file_count + 2, sizeof *files);
    if (!files) return hg_fail_memory(err);
    size_t count = a->mapped ? 0 : a->file_count;
    for (size_t i = 0; i < count; i++) files[i] = (hg_onnx_file){hg_path_base(a->files[i]), a->sizes[i]};
    if (a->mapped) files[count++] = (hg_onnx_file){hg_path_base(g->path), UINT64_MAX};
    if (g->data) files[count++] = (hg_onnx_file){g->data, g->data_bytes};
    hangar_err why = {0};
    hangar_code code = hg_map_open(g->path, &map, err);
    if (code != HANGAR_OK) return code;
    code = hg_onnx_check(map.data, map.len, files, count, &stats, &why);
    hg_map_close(&map);
    if (code == HANGAR_E_NO_MEMORY) return hg_fail_memory(err);
    if (code == HANGAR_OK) {
        hg_report_add(r, "structure", true, (double)stats.nodes, HG_REPORT_NONE, "%s: %zu nodes, %zu weights",
                      g->name, stats.nodes, stats.weights);
    } else {
        hg_report_add(r, "structure", false, HG_REPORT_NONE, HG_REPORT_NONE, "%s: %s", g->name, why.msg);
    }
    return HANGAR_OK;
}

/* reference.json of the repository; NULL when there is none. */
static hangar_code read_reference(hg_report *r, hg_json **out, hangar_err *err)
{
    hg_buf text;
    *out = NULL;
    if (!hg_snapshot_file_get(r->snap, "reference.json")) return HANGAR_OK;
    HG_AUTO(hg_auto_free) char *path = hg_snapshot_file_path(r->snap, "reference.json");
    if (!path) return hg_fail_memory(err);
    hg_buf_init(&text, REFERENCE_MAX);
    hg_json_limits limits = {.bytes = REFERENCE_MAX};
    hangar_code code = hg_read_file(path, &text, err);
    if (code == HANGAR_OK) code = hg_json_parse(hg_buf_view(&text), &limits, out, err);
    hg_buf_deinit(&text);
    return hg_wrap(err, code, "reference.json");
}

/* Whatever needs a running model. */
static hangar_code run_checks(hg_report *r, hg_or_session *s, hangar_err *err)
{
    HG_AUTO(hg_json_auto_free) hg_json *reference = NULL;
    hangar_code code = hg_proof_facts_read(r->snap, s, &r->facts, err);
    if (code == HANGAR_OK) code = read_reference(r, &reference, err);
    if (code == HANGAR_OK) code = hg_report_self(r, s, err);
    if (code == HANGAR_OK && reference && !r->layers)
        code = hg_report_json(r, s, hg_json_root(reference), err);
    if (code != HANGAR_OK) return code;
    code = r->form->drift > 0 ? hg_report_drift(r, s, err) : hg_report_independent(r, s, err);
    return code == HANGAR_OK && r->by_layer ? hg_report_by_layer(r, err) : code;
}

/* A session could not be made, or a run broke: that is what the report says, unless it was cancelled or a matter of this machine. */
static hangar_code as_line(hg_report *r, const char *name, hangar_code code, const hangar_err *why,
                           hangar_err *err)
{
    if (code == HANGAR_OK) return HANGAR_OK;
    if (code == HANGAR_E_CANCELLED || code == HANGAR_E_NO_MEMORY || code == HANGAR_E_NOT_FOUND ||
        code == HANGAR_E_BUSY) {
        if (err) *err = *why;
        return code;
    }
    hg_report_add(r, name, false, HG_REPORT_NONE, HG_REPORT_NONE, "%s", why->msg);
    return HANGAR_OK;
}

/* A model that is larger than memory is proved by its first layers. */
static hangar_code run_probe(hg_report *r, uint64_t need, uint64_t have, hangar_err *err)
{
    hg_probe probe;
    r->layers = PROBE_LAYERS;
    hg_report_skip(r, "load", "it needs %.1f GB of memory, %.1f GB are free: the first %u layers are checked",
                   (double)need / 1e9, (double)have / 1e9, r->layers);
    hangar_code code = hg_probe_open(r, r->form, r->layers, &probe, err);
    if (code != HANGAR_OK) return code;
    code = run_checks(r, &probe.session, err);
    hg_probe_close(&probe);
    return code;
}

static hangar_code all_checks(hg_report *r, hangar_err *err)
{
    hangar_err why = {0};
    hg_or_session session;
    hangar_code code = HANGAR_OK;
    hg_job_phase(r->job, "checking structure");
    for (size_t i = 0; code == HANGAR_OK && i < r->artifact->graph_count; i++)
        code = check_file(r, &r->artifact->graphs[i], err);
    if (code != HANGAR_OK || r->failed) return code; /* a graph that is not sound does not go to the engine */
    code = as_line(r, "weights", r->form->rewrite ? hg_report_weights(r, &why) : HANGAR_OK, &why, err);
    if (code != HANGAR_OK || r->failed) return code;
    hg_job_phase(r->job, "loading");
    double start = hg_now();
    /* A form is compared with the original, which takes its own share of memory. */
    uint64_t need = hg_report_memory(r->artifact), have = hg_usable_memory();
    uint64_t most = r->form->drift > 0 ? need * 8 : need;
    if (have && most > have / 10 * 7) return as_line(r, "run", run_probe(r, need, have, &why), &why, err);
    code = hg_or_open(r->h, r->artifact, r->job, &session, &why);
    if (code != HANGAR_OK) return as_line(r, "load", code, &why, err);
    hg_report_add(r, "load", true, hg_now() - start, HG_REPORT_NONE,
                  "seconds until all graphs were ready, in a child");
    hg_job_phase(r->job, "running");
    code = as_line(r, "run", run_checks(r, &session, &why), &why, err);
    hg_or_close(&session);
    return code;
}

static hangar_code keep(const hg_report *r, const char *text, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *path = hg_path_join(r->artifact->dir, "report.json");
    return path ? hg_write_file(path, text, strlen(text), 0666, err) : hg_fail_memory(err);
}

/* Makes the report card. */
hangar_code hg_onnx_report(hangar *h, const hg_snapshot *snap, const hg_artifact *artifact, const char *ref,
                           bool by_layer, hangar_job *job, char **out_json, hangar_err *err)
{
    double start = hg_now();
    HG_AUTO(hg_auto_free) char *text = NULL;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    hg_report r = {.h = h, .snap = snap, .artifact = artifact, .job = job, .w = w, .by_layer = by_layer};
    r.form = hg_form_get(hg_artifact_form(artifact));
    if (!r.form) r.form = hg_form_at(0);
    if (!w) return hg_fail_memory(err);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "ref", ref);
    hg_jw_text(w, "commit", snap->commit);
    hg_jw_text(w, "form", r.form->name);
    hg_jw_arr(w, "checks");
    hangar_code code = all_checks(&r, err);
    if (code != HANGAR_OK) return code;
    hg_jw_end(w);
    hg_jw_bool(w, "ok", r.failed == 0);
    hg_jw_f64(w, "seconds", hg_now() - start);
    code = hg_jw_finish(w, false, &text, err);
    if (code == HANGAR_OK) code = keep(&r, text, err);
    if (code != HANGAR_OK) return code;
    if (r.failed)
        code =
            hg_fail(err, HANGAR_E_INTEGRITY, "%zu of %zu checks failed, first %s", r.failed, r.made, r.first);
    if (out_json) {
        *out_json = text;
        text = NULL;
    }
    return code;
}
