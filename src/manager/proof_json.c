/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reference.json of a repository: what the model's own implementation answers. "cases" are named inputs and outputs; the outputs
 * `logits_where_mask` are compared where the mask is 1, and `greedy_ids` are generated anew, end tokens suppressed. "sentences" are those of
 * an embedding model: ids, some hidden values, and the mean of the tokens, normalized.
 */
#include "base/mem.h"
#include "manager/onnx_check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GREEDY_MAX 256

/* ---- a case as inputs ---- */

static bool ints_of(const hg_jval *inputs, const char *name, hg_proof_input *i, const int64_t **out,
                    size_t *rows, size_t *columns)
{
    int64_t *numbers = NULL;
    size_t count = 0;
    uint64_t a = 0, b = 0;
    const hg_jval *v = hg_json_get(inputs, name), *shape = hg_json_get(v, "shape");
    *out = NULL;
    if (!v) return true;
    if (hg_json_len(shape) != 2 || !hg_json_u64(hg_json_at(shape, 0), &a) ||
        !hg_json_u64(hg_json_at(shape, 1), &b) || !hg_report_ints(v, &numbers, &count))
        return false;
    numbers = hg_proof_input_own(i, numbers);
    if (!numbers || count == 0 || (*rows && *rows != a) || (*columns && *columns != b)) return false;
    *rows = (size_t)a;
    *columns = (size_t)b;
    *out = numbers;
    return true;
}

static bool floats_of(const hg_jval *inputs, const char *name, size_t rank, hg_proof_input *i,
                      const float **out, size_t *sizes)
{
    float *numbers = NULL;
    size_t count = 0;
    const hg_jval *v = hg_json_get(inputs, name), *shape = hg_json_get(v, "shape");
    *out = NULL;
    if (!v) return true;
    if (hg_json_len(shape) != rank || !hg_report_floats(v, &numbers, &count)) return false;
    *out = hg_proof_input_own(i, numbers);
    for (hg_json_iter it = hg_json_iter_of(shape); hg_json_next(&it);) {
        uint64_t n = 0;
        if (!hg_json_u64(it.val, &n)) return false;
        sizes[it.index] = (size_t)n;
    }
    return *out != NULL;
}

/* Reads what it knows; false when something is malformed or sizes differ. */
static bool read_case(const hg_jval *inputs, bool encdec, hg_proof_input *i)
{
    hg_ref_input *in = &i->in;
    size_t rows = 0, mel[3] = {0}, picture[4] = {0}, sound[2] = {0};
    bool ok = true;
    if (encdec) {
        ok = ints_of(inputs, "input_ids", i, &in->source, &rows, &in->source_length) &&
             ints_of(inputs, "attention_mask", i, &in->source_mask, &rows, &in->source_length) &&
             ints_of(inputs, "decoder_input_ids", i, &in->ids, &rows, &in->length);
    } else {
        ok = ints_of(inputs, "input_ids", i, &in->ids, &rows, &in->length) &&
             ints_of(inputs, "attention_mask", i, &in->mask, &rows, &in->length) &&
             ints_of(inputs, "position_ids", i, &in->positions, &rows, &in->length) &&
             ints_of(inputs, "token_type_ids", i, &in->types, &rows, &in->length);
    }
    ok = ok && floats_of(inputs, "input_features", 3, i, &in->features, mel) &&
         floats_of(inputs, "pixel_values", 4, i, &in->pixels, picture) &&
         floats_of(inputs, "input_values", 2, i, &in->samples, sound);
    in->mels = mel[1];
    in->frames = mel[2];
    in->channels = picture[1];
    in->height = picture[2];
    in->width = picture[3];
    in->sample_count = sound[1];
    in->batch = rows ? rows : mel[0] ? mel[0] : picture[0] ? picture[0] : sound[0];
    return ok && in->batch > 0 && (!mel[0] || mel[0] == in->batch) &&
           (!picture[0] || picture[0] == in->batch) && (!sound[0] || sound[0] == in->batch);
}

/* ---- comparing ---- */

/* The largest difference where the mask (NULL: everywhere) is 1; outputs by token have a row for each entry of it. */
static double difference(const hg_proof_array *have, const float *want, size_t count, const int64_t *mask,
                         size_t batch, size_t length)
{
    double worst = 0;
    if (!have || have->count != count) return NAN;
    bool by_token =
        mask && have->rank >= 2 && have->shape[0] == (int64_t)batch && have->shape[1] == (int64_t)length;
    size_t row = by_token ? count / (batch * length) : count;
    for (size_t i = 0; i < count; i++) {
        if (by_token && !mask[i / row]) continue;
        worst = hg_report_worse(worst, fabs((double)have->data[i] - (double)want[i]));
    }
    return worst;
}

static bool is_end(const hg_report *r, size_t id)
{
    for (size_t i = 0; i < r->facts.end_count; i++) {
        if (r->facts.end[i] == id) return true;
    }
    return false;
}

/* Token after token, each time all at once: the cache has a check of its own. *same stays true when all are as wanted. */
static hangar_code check_greedy(hg_report *r, hg_or_session *s, const hg_proof_input *i, const hg_jval *want,
                                bool *same, hangar_err *err)
{
    HG_AUTO(hg_auto_free) int64_t *ids = NULL;
    size_t count = 0, have = i->in.length;
    hangar_code code = HANGAR_OK;
    if (!hg_report_ints(want, &ids, &count) || i->in.batch != 1 || count > GREEDY_MAX || have > count ||
        memcmp(ids, i->in.ids, have * sizeof *ids) != 0)
        return hg_fail(err, HANGAR_E_INVALID, "reference.json: greedy_ids do not continue input_ids");
    for (; code == HANGAR_OK && *same && have < count; have++) {
        hg_ref_input in = {.batch = 1, .length = have, .ids = ids};
        hg_proof_output out = {0};
        code = hg_proof_run(s, &in, NULL, &out, err);
        const hg_proof_array *logits = hg_proof_output_get(&out, "logits");
        if (code == HANGAR_OK && logits) {
            size_t vocab = (size_t)logits->shape[2], best = SIZE_MAX;
            const float *last = logits->data + (have - 1) * vocab;
            for (size_t k = 0; k < vocab; k++)
                if (!is_end(r, k) && (best == SIZE_MAX || last[k] > last[best])) best = k;
            *same = (int64_t)best == ids[have];
        }
        hg_proof_output_deinit(&out);
    }
    return code;
}

typedef struct tally {
    double worst;
    size_t values;
    bool greedy, same;
} tally;

static hangar_code compare_case(hg_report *r, hg_or_session *s, const hg_jval *one, tally *t, hangar_err *err)
{
    hg_proof_input i = {0};
    hg_proof_output out = {0};
    bool encdec = hg_proof_kind_of(s) == HG_PROOF_ENCDEC;
    hangar_code code = HANGAR_OK;
    if (!read_case(hg_json_get(one, "inputs"), encdec, &i))
        code = hg_fail(err, HANGAR_E_INVALID, "reference.json: a case whose inputs do not fit the model");
    if (code == HANGAR_OK) code = hg_proof_run(s, &i.in, NULL, &out, err);
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(one, "outputs"));
         code == HANGAR_OK && hg_json_next(&it);) {
        HG_AUTO(hg_auto_free) float *want = NULL;
        char name[64];
        size_t count = 0;
        snprintf(name, sizeof name, "%.*s", HG_STR_ARG(it.key));
        if (strcmp(name, "greedy_ids") == 0) {
            t->greedy = true;
            code = check_greedy(r, s, &i, it.val, &t->same, err);
            continue;
        }
        const hg_proof_array *have =
            hg_proof_output_get(&out, strcmp(name, "logits_where_mask") ? name : "logits");
        if (!hg_report_floats(it.val, &want, &count)) {
            code = hg_fail(err, HANGAR_E_INVALID, "reference.json: %s is malformed", name);
            break;
        }
        const int64_t *mask = encdec ? i.in.source_mask : i.in.mask;
        size_t length = encdec ? i.in.source_length : i.in.length;
        t->worst = hg_report_worse(t->worst, difference(have, want, count, mask, i.in.batch, length));
        t->values += count;
    }
    hg_proof_output_deinit(&out);
    hg_proof_input_deinit(&i);
    return code;
}

/* ---- sentences ---- */

/* Mean of the tokens of [1, length, width], normalized, against "embedding". */
static double embedding_difference(const hg_proof_array *hidden, const hg_jval *want)
{
    size_t length = (size_t)hidden->shape[1], width = (size_t)hidden->shape[2];
    double norm = 0, worst = 0;
    HG_AUTO(hg_auto_free) double *mean = hg_calloc(width, sizeof *mean);
    if (!mean || hg_json_len(want) != width) return NAN;
    for (size_t i = 0; i < length * width; i++) mean[i % width] += (double)hidden->data[i] / (double)length;
    for (size_t i = 0; i < width; i++) norm += mean[i] * mean[i];
    norm = norm > 0 ? sqrt(norm) : 1;
    for (hg_json_iter it = hg_json_iter_of(want); hg_json_next(&it);)
        worst = hg_report_worse(worst, fabs(mean[it.index] / norm - hg_json_f64_or(it.val, NAN)));
    return worst;
}

/* "hidden_t0_0_8": the numbers 0..8 of token 0; "hidden_last_88_96": of the last one. */
static void compare_hidden(const hg_proof_array *hidden, hg_str key, const hg_jval *want, tally *t)
{
    char name[64];
    size_t length = (size_t)hidden->shape[1], width = (size_t)hidden->shape[2], token = length - 1, from = 0,
           to = 0;
    snprintf(name, sizeof name, "%.*s", HG_STR_ARG(key));
    bool ok = sscanf(name, "hidden_t%zu_%zu_%zu", &token, &from, &to) == 3 ||
              sscanf(name, "hidden_last_%zu_%zu", &from, &to) == 2;
    if (!ok || token >= length || to > width || from > to || hg_json_len(want) != to - from) return;
    for (hg_json_iter it = hg_json_iter_of(want); hg_json_next(&it);) {
        double have = (double)hidden->data[token * width + from + it.index];
        t->worst = hg_report_worse(t->worst, fabs(have - hg_json_f64_or(it.val, NAN)));
        t->values++;
    }
}

static hangar_code compare_sentence(hg_or_session *s, const hg_jval *sentence, tally *t, double *embedding,
                                    hangar_err *err)
{
    const hg_jval *list = hg_json_get(sentence, "input_ids");
    size_t length = hg_json_len(list);
    hg_proof_output out = {0};
    HG_AUTO(hg_auto_free) int64_t *ids = hg_calloc(length, sizeof *ids);
    if (!ids) return hg_fail_memory(err);
    if (length == 0) return hg_fail(err, HANGAR_E_INVALID, "reference.json: a sentence without input_ids");
    for (hg_json_iter it = hg_json_iter_of(list); hg_json_next(&it);)
        ids[it.index] = hg_json_i64_or(it.val, 0);
    hangar_code code =
        hg_proof_run(s, &(hg_ref_input){.batch = 1, .length = length, .ids = ids}, NULL, &out, err);
    const hg_proof_array *hidden = hg_proof_output_get(&out, "last_hidden_state");
    if (code == HANGAR_OK && (!hidden || hidden->rank != 3 || hidden->shape[1] != (int64_t)length))
        code = hg_fail(err, HANGAR_E_ENGINE, "last_hidden_state has an unexpected shape");
    if (code == HANGAR_OK) {
        *embedding =
            hg_report_worse(*embedding, embedding_difference(hidden, hg_json_get(sentence, "embedding")));
        for (hg_json_iter it = hg_json_iter_of(sentence); hg_json_next(&it);)
            compare_hidden(hidden, it.key, it.val, t);
    }
    hg_proof_output_deinit(&out);
    return code;
}

/* All of it. A form that changes the weights is told, not held, to what the model itself answers: its own limit is that of the drift. */
hangar_code hg_report_json(hg_report *r, hg_or_session *s, const hg_jval *reference, hangar_err *err)
{
    tally t = {.same = true};
    double embedding = 0;
    bool exact = r->form->drift < HG_REPORT_REFERENCE;
    const hg_jval *cases = hg_json_get(reference, "cases"), *sentences = hg_json_get(reference, "sentences");
    hangar_code code = HANGAR_OK;
    for (hg_json_iter it = hg_json_iter_of(cases); code == HANGAR_OK && hg_json_next(&it);)
        code = compare_case(r, s, it.val, &t, err);
    for (hg_json_iter it = hg_json_iter_of(sentences); code == HANGAR_OK && hg_json_next(&it);)
        code = compare_sentence(s, it.val, &t, &embedding, err);
    if (code != HANGAR_OK) return code;
    if (hg_json_len(sentences))
        hg_report_add(r, "embedding", !exact || embedding <= HG_REPORT_EMBEDDING, embedding,
                      exact ? HG_REPORT_EMBEDDING : HG_REPORT_NONE,
                      "mean of the tokens, normalized, against reference.json");
    if (t.values)
        hg_report_add(r, "reference", !exact || t.worst <= HG_REPORT_REFERENCE, t.worst,
                      exact ? HG_REPORT_REFERENCE : HG_REPORT_NONE, "%zu values of reference.json", t.values);
    if (t.greedy)
        hg_report_add(r, "greedy", !exact || t.same, HG_REPORT_NONE, HG_REPORT_NONE,
                      t.same ? "the tokens of reference.json" : "other tokens than those of reference.json");
    return HANGAR_OK;
}
