/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model against what it was made from: its answers against those of the source architecture, computed anew from the checkpoint
 * (convert/check), and a form's answers against those of the weights as they were.
 */
#include "base/fsx.h"
#include "base/mem.h"
#include "convert/place.h"
#include "hardware/hardware.h"
#include "manager/convert.h"
#include "manager/onnx_check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 16 /* positions of a sound that are computed anew */

/* ---- probes ---- */

/* Memory that its weights take when it runs. */
uint64_t hg_report_memory(const hg_artifact *a)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < a->graph_count; i++) {
        hg_onnx_weight w;
        bytes += a->graphs[i].data_bytes;
        for (size_t at = 0; hg_onnx_weight_next(a->graphs[i].model, &at, &w);) {
            if (a->graphs[i].data && w.location && strcmp(w.location, a->graphs[i].data) == 0) continue;
            bytes += w.type == HG_ONNX_FLOAT ? w.length : 2 * w.length; /* 16 bits become 32 */
        }
    }
    return bytes;
}

/* Builds the snapshot anew in a folder of the moment and loads it. */
hangar_code hg_probe_open(hg_report *r, const hg_form *form, uint32_t layers, hg_probe *out, hangar_err *err)
{
    hg_built built = {0};
    hg_convert_spec spec = {.snap = r->snap, .form = form, .layers = layers};
    *out = (hg_probe){0};
    hangar_code code = hg_stage_begin(r->artifact->dir, &out->stage, err);
    if (code == HANGAR_OK)
        code = hg_onnx_build(r->h, &spec, out->stage, HANGAR_PLACE_AUTO, r->job, &built, err);
    if (code == HANGAR_OK) code = hg_artifact_open_at(out->stage, r->snap, &out->artifact, err);
    if (code == HANGAR_OK) code = hg_or_open(r->h, out->artifact, r->job, &out->session, err);
    hg_built_deinit(&built);
    if (code != HANGAR_OK) hg_probe_close(out);
    return code;
}

/* Takes it away again. */
void hg_probe_close(hg_probe *p)
{
    hg_or_close(&p->session);
    hg_artifact_free(p->artifact);
    if (p->stage) (void)hg_rm_tree(p->stage, NULL);
    free(p->stage);
    *p = (hg_probe){0};
}

/* ---- the independent reference ---- */

typedef struct independent {
    hg_report *r;
    hg_checkpoint ck;
    hg_json *config;
    const hg_jval *root;
    hg_proof_input in;
    size_t rows[ROWS];
    uint32_t layers; /* that the reference can do in time; 0 = all */
    double worst;
    size_t values;
    double seconds;
} independent;

static hangar_code open_source(independent *p, hangar_err *err)
{
    hg_buf text;
    HG_AUTO(hg_auto_free) char *path = hg_snapshot_file_path(p->r->snap, "config.json");
    if (!path) return hg_fail_memory(err);
    hg_buf_init(&text, 4 * HG_MIB);
    hangar_code code = hg_read_file(path, &text, err);
    if (code == HANGAR_OK) code = hg_json_parse(hg_buf_view(&text), NULL, &p->config, err);
    hg_buf_deinit(&text);
    if (code == HANGAR_OK) p->root = hg_json_root(p->config);
    return code == HANGAR_OK ? hg_checkpoint_open(p->r->snap, &p->ck, err) : code;
}

/* The encoder's half of a sound model: some positions of it. */
static hg_ref_input encoder_part(independent *p)
{
    hg_ref_input part = p->in.in;
    size_t positions = part.frames / 2;
    for (size_t i = 0; i < ROWS; i++) p->rows[i] = i * positions / ROWS;
    part.ids = NULL;
    part.length = 0;
    part.rows = p->rows;
    part.row_count = positions < ROWS ? positions : ROWS;
    return part;
}

/* Compares numbers that are no padding. Rows (not NULL): the places along axis 1 that were computed. */
static void compare(independent *p, const hg_ref_array *want, const hg_proof_array *have, const size_t *rows,
                    size_t row_count)
{
    const hg_ref_input *in = &p->in.in;
    bool encdec = in->source || in->features;
    bool of_source = encdec && strcmp(want->name, "last_hidden_state") == 0;
    const int64_t *mask = of_source ? in->source_mask : encdec ? NULL : in->mask;
    size_t length = of_source ? in->source_length : in->length;
    size_t each = want->rank && want->shape[0] ? want->count / want->shape[0] : 0;
    size_t tokens = rows ? row_count : want->rank >= 2 ? want->shape[1] : 1;
    if (have->rank < 1 || tokens == 0 || each % tokens != 0 || (!rows && have->count != want->count)) {
        p->worst = NAN;
        return;
    }
    size_t width = each / tokens, all = rows ? (size_t)have->shape[1] : tokens;
    double worst = 0, scale = HG_REPORT_FLOOR;
    for (size_t i = 0; i < want->count; i++) {
        size_t b = i / each, t = i % each / width;
        if (mask && tokens == length && !mask[b * length + t]) continue;
        size_t at = (b * all + (rows ? rows[t] : t)) * width + i % width;
        double a = at < have->count ? (double)have->data[at] : NAN;
        worst = hg_report_worse(worst, fabs(a - want->data[i]));
        if (fabs(want->data[i]) > scale) scale = fabs(want->data[i]);
        p->values++;
    }
    p->worst = hg_report_worse(p->worst, worst / scale);
}

/* Runs the reference on one input and compares what both answer. */
static hangar_code run_reference(independent *p, const hg_ref_input *in, const hg_proof_output *have,
                                 hangar_err *err)
{
    hg_ref_output want = {0};
    hangar_code code = hg_ref_run(&p->ck, p->root, in, p->r->job, &want, err);
    for (size_t i = 0; code == HANGAR_OK && i < want.count; i++) {
        const hg_proof_array *a = hg_proof_output_get(have, want.arrays[i].name);
        bool skip = in->states && strcmp(want.arrays[i].name, "last_hidden_state") == 0;
        if (a && !skip) compare(p, &want.arrays[i], a, in->rows, in->row_count);
    }
    p->seconds += want.seconds;
    hg_ref_output_deinit(&want);
    return code;
}

static hangar_code compare_with(independent *p, hg_or_session *s, hangar_err *err)
{
    hg_proof_output have = {0};
    hangar_code code = hg_proof_run(s, &p->in.in, NULL, &have, err);
    hg_ref_input part = p->in.in;
    part.layers = p->layers;
    if (code == HANGAR_OK &&
        part.features) { /* first the sound, then the text, which goes on from the engine's own states */
        hg_ref_input first = encoder_part(p);
        first.layers = p->layers;
        code = run_reference(p, &first, &have, err);
        part.features = NULL;
        hg_proof_give_states(&part, &have);
    }
    if (code == HANGAR_OK) code = run_reference(p, &part, &have, err);
    hg_proof_output_deinit(&have);
    return code;
}

static hangar_code compare_all(independent *p, hg_or_session *s, hangar_err *err)
{
    hangar_code code = open_source(p, err);
    if (code == HANGAR_OK) code = hg_proof_input_make(s, &p->r->facts, 0, 2, true, &p->in, err);
    if (code == HANGAR_OK && p->in.in.features) { /* one sound is enough */
        hg_proof_input_deinit(&p->in);
        code = hg_proof_input_make(s, &p->r->facts, 0, 1, false, &p->in, err);
    }
    if (code != HANGAR_OK) return code;
    p->in.in.threads = (unsigned)p->r->h->settings->threads;
    hg_ref_input costly = p->in.in.features ? encoder_part(p) : p->in.in;
    code = hg_ref_layers(&p->ck, p->root, &costly, HG_REPORT_SECONDS, &p->layers, NULL, err);
    if (code != HANGAR_OK) return code;
    if (p->r->layers && (p->layers == 0 || p->layers > p->r->layers)) p->layers = p->r->layers;
    if (p->layers == p->r->layers) return compare_with(p, s, err);
    hg_probe probe;
    code = hg_probe_open(p->r, hg_form_at(0), p->layers, &probe, err);
    if (code != HANGAR_OK) return code;
    code = compare_with(p, &probe.session, err);
    hg_probe_close(&probe);
    return code;
}

/* The line. */
hangar_code hg_report_independent(hg_report *r, hg_or_session *s, hangar_err *err)
{
    independent p = {.r = r};
    hangar_err why = {0};
    hg_job_phase(r->job, "computing anew");
    if (!hg_ref_knows(hg_artifact_architecture(r->artifact))) {
        hg_report_skip(r, "independent", "the reference does not know %s",
                       hg_artifact_architecture(r->artifact));
        return HANGAR_OK;
    }
    hangar_code code = compare_all(&p, s, &why);
    if (code == HANGAR_E_UNSUPPORTED || code == HANGAR_E_LIMIT || code == HANGAR_E_TIMEOUT) {
        hg_report_skip(r, "independent", "%s", why.msg);
        code = HANGAR_OK;
    } else if (code != HANGAR_OK) {
        if (err) *err = why;
    } else if (p.values == 0) {
        hg_report_skip(r, "independent", "no output is one that the reference computes");
    } else if (p.layers) {
        hg_report_limit(r, "independent", p.worst, HG_REPORT_INDEPENDENT(p.layers),
                        "%zu values, the first %u layer%s anew in double precision", p.values, p.layers,
                        p.layers == 1 ? "" : "s");
    } else {
        hg_report_limit(r, "independent", p.worst, HG_REPORT_INDEPENDENT(r->facts.layers),
                        "%zu values, computed anew in double precision", p.values);
    }
    hg_proof_input_deinit(&p.in);
    hg_checkpoint_deinit(&p.ck);
    hg_json_free(p.config);
    return code;
}

/* ---- drift ---- */

typedef struct drift {
    double most;          /* the largest difference */
    double square, all;   /* sums of squares of the differences and of the original */
    double dot, other;    /* for the cosine */
    double kl;            /* summed over tokens */
    size_t tokens, agree; /* of language models */
} drift;

/* log(sum(exp)) and the place of the largest. */
static double log_sum(const float *x, size_t n, size_t *best)
{
    double sum = 0;
    *best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[*best]) *best = i;
    for (size_t i = 0; i < n; i++) sum += exp((double)x[i] - (double)x[*best]);
    return (double)x[*best] + log(sum);
}

/* KL(original || form) and whether both would say the same, token by token. */
static void compare_tokens(drift *d, const hg_proof_array *was, const hg_proof_array *is)
{
    size_t vocab = (size_t)was->shape[2];
    for (size_t t = 0; vocab && t < was->count / vocab; t++) {
        const float *p = was->data + t * vocab, *q = is->data + t * vocab;
        size_t best_p, best_q;
        double lp = log_sum(p, vocab, &best_p), lq = log_sum(q, vocab, &best_q);
        for (size_t i = 0; i < vocab; i++) {
            double log_p = (double)p[i] - lp, log_q = (double)q[i] - lq;
            d->kl += exp(log_p) * (log_p - log_q);
        }
        d->tokens++;
        d->agree += best_p == best_q;
    }
}

/* How many numbers of an output are compared: those of positions that stand for others are not what was there. */
static size_t compared(const hg_form *form, const hg_proof_input *in, const hg_proof_array *a)
{
    if (!form->silence || !in->sound || strcmp(a->name, "last_hidden_state") != 0) return a->count;
    size_t positions = a->rank == 3 ? (size_t)a->shape[1] : 0, sound = (in->sound + 1) / 2;
    return sound < positions ? a->count / positions * sound : a->count;
}

static void compare_outputs(drift *d, const hg_form *form, const hg_proof_input *in,
                            const hg_proof_output *was, const hg_proof_output *is, bool language)
{
    for (size_t i = 0; i < was->count; i++) {
        const hg_proof_array *a = &was->items[i], *b = hg_proof_output_get(is, a->name);
        if (!b || b->count != a->count) {
            d->square = NAN;
            continue;
        }
        const size_t count = compared(form, in, a);
        for (size_t k = 0; k < count; k++) {
            double x = (double)a->data[k], y = (double)b->data[k];
            d->most = hg_report_worse(d->most, fabs(x - y));
            d->square += (x - y) * (x - y);
            d->all += x * x;
            d->other += y * y;
            d->dot += x * y;
        }
        if (language && strcmp(a->name, "logits") == 0 && a->rank == 3) compare_tokens(d, a, b);
    }
}

static void drift_lines(hg_report *r, const drift *d)
{
    /* numbers that are none make it none */
    double relative = d->all > 0 ? sqrt(d->square / d->all) : d->all == 0 && d->square == 0 ? 0 : INFINITY;
    char cut[48] = "";
    if (r->layers) snprintf(cut, sizeof cut, ", the first %u layer%s", r->layers, r->layers == 1 ? "" : "s");
    double cosine = d->all > 0 && d->other > 0 ? d->dot / sqrt(d->all * d->other) : 1;
    hg_report_limit(r, "drift", relative, r->form->drift,
                    "relative L2 against the weights as they were%s; largest %.3g, cosine %.6f", cut, d->most,
                    cosine);
    if (!d->tokens) return;
    hg_report_add(r, "kl", isfinite(d->kl), d->kl / (double)d->tokens, HG_REPORT_NONE,
                  "nats per token, over %zu tokens", d->tokens);
    hg_report_add(r, "top-1", true, (double)d->agree / (double)d->tokens, HG_REPORT_NONE,
                  "of the tokens have the same best next one");
}

#define ASKED 2 /* inputs at most */
typedef struct asked {
    hg_proof_input in[ASKED];
    hg_proof_output is[ASKED], was[ASKED];
    size_t count;
} asked;

static hangar_code ask_all(asked *q, hg_or_session *s, hg_proof_output *answers, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; code == HANGAR_OK && i < q->count; i++)
        code = hg_proof_run(s, &q->in[i].in, NULL, &answers[i], err);
    return code;
}

/* The form's answers are had first, then the original's: only what is needed of both is in memory. A form that samples silence is asked with a
 * full window and with one that has some. */
static hangar_code drift_of(hg_report *r, hg_or_session *s, bool independent_too, hangar_err *err)
{
    asked q = {.count = r->form->silence ? ASKED : 1};
    hg_probe base;
    drift d = {0};
    hg_job_phase(r->job, "comparing with the original");
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; code == HANGAR_OK && i < q.count; i++)
        code = hg_proof_input_make(s, &r->facts, i, 1, false, &q.in[i], err);
    bool language = hg_proof_kind_of(s) != HG_PROOF_WHOLE;
    if (code == HANGAR_OK) code = ask_all(&q, s, q.is, err);
    if (code == HANGAR_OK) code = hg_probe_open(r, hg_form_at(0), r->layers, &base, err);
    if (code == HANGAR_OK) {
        code = ask_all(&q, &base.session, q.was, err);
        for (size_t i = 0; code == HANGAR_OK && i < q.count; i++)
            compare_outputs(&d, r->form, &q.in[i], &q.was[i], &q.is[i], language);
        if (code == HANGAR_OK) drift_lines(r, &d);
        if (code == HANGAR_OK && independent_too) code = hg_report_independent(r, &base.session, err);
        hg_probe_close(&base);
    }
    for (size_t i = 0; i < q.count; i++) {
        hg_proof_output_deinit(&q.is[i]);
        hg_proof_output_deinit(&q.was[i]);
        hg_proof_input_deinit(&q.in[i]);
    }
    return code;
}

/* The line of the whole model. */
hangar_code hg_report_drift(hg_report *r, hg_or_session *s, hangar_err *err)
{
    return drift_of(r, s, true, err);
}

/* A line for each number of first layers. */
hangar_code hg_report_by_layer(hg_report *r, hangar_err *err)
{
    uint32_t all = r->layers;
    hangar_code code = HANGAR_OK;
    for (uint32_t n = 1; code == HANGAR_OK && n < r->facts.layers; n++) {
        hg_probe probe;
        r->layers = n;
        hg_job_total(r->job, n, r->facts.layers, 0);
        code = hg_job_check(r->job, err);
        if (code == HANGAR_OK) code = hg_probe_open(r, r->form, n, &probe, err);
        if (code != HANGAR_OK) break;
        code = r->form->drift > 0 ? drift_of(r, &probe.session, false, err)
                                  : hg_report_independent(r, &probe.session, err);
        hg_probe_close(&probe);
    }
    r->layers = all;
    return code;
}
