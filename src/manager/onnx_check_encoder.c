/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of models that read a whole text at once: one graph "model" with input_ids, attention_mask and perhaps token_type_ids. Outputs are
 * [batch, ...], and those whose second axis is the sequence have one row for each token.
 */
#include "base/mem.h"
#include "manager/onnx_check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define GRAPH     "model"
#define LENGTH    6  /* tokens of a test sequence */
#define PADDED    10 /* the same with padding */
#define SEQUENCES 2
#define LIMIT     1e-4
#define LIMIT_REF 1e-3
#define LIMIT_EMB 1e-4

typedef struct text {
    const int64_t *ids, *mask;
    size_t batch, length;
} text;

static hangar_code run_text(hg_report *r, const text *t, hg_frame *answer, hangar_err *err)
{
    size_t bytes = t->batch * t->length * sizeof(int64_t), count = 0;
    HG_AUTO(hg_auto_free) int64_t *types = hg_calloc(t->batch * t->length, sizeof *types);
    if (!types) return hg_fail_memory(err);
    const char *names[] = {"input_ids", "attention_mask", "token_type_ids"};
    const void *data[] = {t->ids, t->mask, types};
    hg_or_tensor inputs[3], port;
    for (size_t i = 0; i < HG_LEN(names); i++) {
        if (!hg_or_port(&r->session, GRAPH, "inputs", names[i], &port)) continue;
        inputs[count++] =
            (hg_or_tensor){names[i], HG_OR_I64, 2, {(int64_t)t->batch, (int64_t)t->length}, data[i], bytes};
    }
    hangar_code code = hg_or_run(&r->session, GRAPH, inputs, count, answer, err);
    hg_or_tensor out;
    for (size_t i = 0; code == HANGAR_OK; i++) {
        const char *name = hg_or_name(&r->session, GRAPH, "outputs", i);
        if (!name) break;
        code = hg_or_output(answer, name, &out, err);
        if (code == HANGAR_OK) hg_report_numbers(r, &out);
    }
    return code;
}

/* The largest scaled difference between sequence 0 of `b` and sequence `at` of `a`, over all outputs; of outputs by token, of the first LENGTH. */
static hangar_code difference(hg_report *r, const hg_frame *a, size_t at, size_t a_length, const hg_frame *b,
                              double *worst, hangar_err *err)
{
    for (size_t i = 0;; i++) {
        hg_or_tensor x, y;
        const char *name = hg_or_name(&r->session, GRAPH, "outputs", i);
        if (!name) return HANGAR_OK;
        hangar_code code = hg_or_output(a, name, &x, err);
        if (code == HANGAR_OK) code = hg_or_output(b, name, &y, err);
        if (code != HANGAR_OK) return code;
        size_t per_sequence = x.shape[0] > 0 ? hg_or_count(&x) / (size_t)x.shape[0] : 0, n = hg_or_count(&y);
        bool by_token = x.rank >= 2 && x.shape[1] == (int64_t)a_length && y.shape[1] == LENGTH;
        if (x.rank < 1 || per_sequence * (at + 1) > hg_or_count(&x) || n > per_sequence ||
            (!by_token && n != per_sequence)) {
            return hg_fail(err, HANGAR_E_ENGINE, "output %s has an unexpected shape", name);
        }
        *worst = hg_report_worse(*worst,
                                 hg_report_scaled(HG_OR_FLOATS(&x) + at * per_sequence, HG_OR_FLOATS(&y), n));
    }
}

/* Fixed ids, neither all alike nor in order. */
static void make_ids(const hg_report *r, size_t sequence, int64_t *ids)
{
    uint64_t state = 12345 + sequence;
    for (size_t i = 0; i < LENGTH; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        ids[i] = (int64_t)((state >> 33) % r->vocab);
    }
}

static hangar_code check_batch(hg_report *r, hangar_err *err)
{
    int64_t ids[SEQUENCES * LENGTH], ones[SEQUENCES * LENGTH];
    hg_frame all = {0};
    double worst = 0;
    for (size_t i = 0; i < SEQUENCES; i++) make_ids(r, i, ids + i * LENGTH);
    for (size_t i = 0; i < HG_LEN(ones); i++) ones[i] = 1;
    hangar_code code = run_text(r, &(text){ids, ones, SEQUENCES, LENGTH}, &all, err);
    for (size_t i = 0; code == HANGAR_OK && i < SEQUENCES; i++) {
        hg_frame one = {0};
        code = run_text(r, &(text){ids + i * LENGTH, ones, 1, LENGTH}, &one, err);
        if (code == HANGAR_OK) code = difference(r, &all, i, LENGTH, &one, &worst, err);
        hg_frame_deinit(&one);
    }
    hg_frame_deinit(&all);
    if (code == HANGAR_OK) hg_report_limit(r, "batch", worst, LIMIT, "a sequence alone and in a batch");
    return code;
}

static hangar_code check_padding(hg_report *r, hangar_err *err)
{
    int64_t ids[PADDED] = {0}, mask[PADDED] = {0};
    hg_frame padded = {0}, plain = {0};
    double worst = 0;
    make_ids(r, 0, ids);
    for (size_t i = 0; i < LENGTH; i++) mask[i] = 1;
    hangar_code code = run_text(r, &(text){ids, mask, 1, PADDED}, &padded, err);
    if (code == HANGAR_OK) code = run_text(r, &(text){ids, mask, 1, LENGTH}, &plain, err);
    if (code == HANGAR_OK) code = difference(r, &padded, 0, PADDED, &plain, &worst, err);
    hg_frame_deinit(&padded);
    hg_frame_deinit(&plain);
    if (code == HANGAR_OK)
        hg_report_limit(r, "padding", worst, LIMIT, "a sequence with and without padding behind it");
    return code;
}

/* ---- reference.json: cases of named tensors ---- */

/* Compares one output; where it has a row for each token, only rows that are not padding (the reference holds zeros there). */
static bool compare_output(hg_report *r, const hg_or_tensor *have, const hg_jval *want, const text *t)
{
    HG_AUTO(hg_auto_free) float *numbers = NULL;
    size_t count = 0, tokens = t->batch * t->length;
    if (!hg_report_floats(want, &numbers, &count) || count != hg_or_count(have)) return false;
    bool by_token = have->rank >= 2 && have->shape[0] == (int64_t)t->batch &&
                    have->shape[1] == (int64_t)t->length && tokens > 0;
    if (!by_token) {
        hg_report_compare(r, HG_OR_FLOATS(have), numbers, count);
        return true;
    }
    size_t row = count / tokens;
    for (size_t i = 0; i < tokens; i++) {
        if (t->mask[i]) hg_report_compare(r, HG_OR_FLOATS(have) + i * row, numbers + i * row, row);
    }
    return true;
}

/* The sizes of input_ids; false when there are not two, or they do not fit `count`. */
static bool text_size(const hg_jval *ids, size_t count, text *t)
{
    uint64_t batch = 0, length = 0, product = 0;
    const hg_jval *shape = hg_json_get(ids, "shape");
    if (hg_json_len(shape) != 2 || !hg_json_u64(hg_json_at(shape, 0), &batch) ||
        !hg_json_u64(hg_json_at(shape, 1), &length))
        return false;
    t->batch = (size_t)batch;
    t->length = (size_t)length;
    return hg_mul(batch, length, &product) && product == count && count > 0;
}

static hangar_code compare_case(hg_report *r, const hg_jval *one, hangar_err *err)
{
    HG_AUTO(hg_auto_free) int64_t *ids = NULL;
    HG_AUTO(hg_auto_free) int64_t *mask = NULL;
    text t = {0};
    size_t count = 0, mask_count = 0;
    const hg_jval *inputs = hg_json_get(one, "inputs");
    bool ok = hg_report_ints(hg_json_get(inputs, "input_ids"), &ids, &count) &&
              text_size(hg_json_get(inputs, "input_ids"), count, &t) &&
              hg_report_ints(hg_json_get(inputs, "attention_mask"), &mask, &mask_count) &&
              mask_count == count;
    if (!ok)
        return hg_fail(err, HANGAR_E_INVALID,
                       "reference.json: a case without proper input_ids and attention_mask");
    t.ids = ids;
    t.mask = mask;
    hg_frame answer = {0};
    hangar_code code = run_text(r, &t, &answer, err);
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(one, "outputs"));
         code == HANGAR_OK && hg_json_next(&it);) {
        HG_AUTO(hg_auto_free) char *name = hg_strndup(it.key.ptr, it.key.len);
        hg_or_tensor have;
        if (!name) code = hg_fail_memory(err);
        else if (hg_or_output(&answer, name, &have, NULL) != HANGAR_OK)
            continue; /* a pooled output, say, that the graph does not have */
        else if (!compare_output(r, &have, it.val, &t))
            code = hg_fail(err, HANGAR_E_INVALID, "reference.json: output %s has another shape", name);
    }
    hg_frame_deinit(&answer);
    return code;
}

/* ---- reference.json: sentences with embeddings ---- */

/* The mean over the tokens, of length 1, against "embedding". */
static void compare_embedding(const hg_or_tensor *hidden, const hg_jval *want, double *worst)
{
    size_t length = (size_t)hidden->shape[1], width = (size_t)hidden->shape[2];
    HG_AUTO(hg_auto_free) double *mean = hg_calloc(width, sizeof *mean);
    double norm = 0;
    if (!mean || hg_json_len(want) != width) {
        *worst = NAN;
        return;
    }
    for (size_t i = 0; i < length * width; i++)
        mean[i % width] += (double)HG_OR_FLOATS(hidden)[i] / (double)length;
    for (size_t i = 0; i < width; i++) norm += mean[i] * mean[i];
    norm = norm > 0 ? sqrt(norm) : 1;
    for (hg_json_iter it = hg_json_iter_of(want); hg_json_next(&it);) {
        *worst = hg_report_worse(*worst, fabs(mean[it.index] / norm - hg_json_f64_or(it.val, NAN)));
    }
}

/* "hidden_t0_0_8": the numbers 0..8 of token 0; "hidden_last_88_96": of the last one. */
static void compare_hidden(hg_report *r, const hg_or_tensor *hidden, hg_str key, const hg_jval *want)
{
    char name[64];
    size_t length = (size_t)hidden->shape[1], width = (size_t)hidden->shape[2], token = length - 1, from = 0,
           to = 0;
    snprintf(name, sizeof name, "%.*s", HG_STR_ARG(key));
    bool ok = sscanf(name, "hidden_t%zu_%zu_%zu", &token, &from, &to) == 3 ||
              sscanf(name, "hidden_last_%zu_%zu", &from, &to) == 2;
    if (!ok || token >= length || to > width || from > to || hg_json_len(want) != to - from) return;
    for (hg_json_iter it = hg_json_iter_of(want); hg_json_next(&it);) {
        float number = (float)hg_json_f64_or(it.val, NAN);
        hg_report_compare(r, HG_OR_FLOATS(hidden) + token * width + from + it.index, &number, 1);
    }
}

static hangar_code compare_sentence(hg_report *r, const hg_jval *sentence, double *worst, hangar_err *err)
{
    const hg_jval *list = hg_json_get(sentence, "input_ids");
    size_t length = hg_json_len(list);
    HG_AUTO(hg_auto_free) int64_t *ids = hg_calloc(length, 2 * sizeof *ids);
    if (!ids) return hg_fail_memory(err);
    for (hg_json_iter it = hg_json_iter_of(list); hg_json_next(&it);) {
        ids[it.index] = hg_json_i64_or(it.val, 0);
        ids[length + it.index] = 1;
    }
    hg_frame answer = {0};
    hg_or_tensor hidden;
    if (length == 0) return hg_fail(err, HANGAR_E_INVALID, "reference.json: a sentence without input_ids");
    hangar_code code = run_text(r, &(text){ids, ids + length, 1, length}, &answer, err);
    if (code == HANGAR_OK) code = hg_or_output(&answer, "last_hidden_state", &hidden, err);
    if (code == HANGAR_OK &&
        (hidden.rank != 3 || hidden.shape[0] != 1 || hidden.shape[1] != (int64_t)length)) {
        code = hg_fail(err, HANGAR_E_ENGINE, "last_hidden_state has an unexpected shape");
    }
    if (code == HANGAR_OK) {
        compare_embedding(&hidden, hg_json_get(sentence, "embedding"), worst);
        for (hg_json_iter it = hg_json_iter_of(sentence); hg_json_next(&it);)
            compare_hidden(r, &hidden, it.key, it.val);
    }
    hg_frame_deinit(&answer);
    return code;
}

/* All checks of an encoder. */
hangar_code hg_report_encoder(hg_report *r, const hg_jval *reference, hangar_err *err)
{
    const hg_jval *cases = hg_json_get(reference, "cases"), *sentences = hg_json_get(reference, "sentences");
    double embedding = 0;
    hangar_code code = check_batch(r, err);
    if (code == HANGAR_OK) code = check_padding(r, err);
    for (hg_json_iter it = hg_json_iter_of(cases); code == HANGAR_OK && hg_json_next(&it);)
        code = compare_case(r, it.val, err);
    for (hg_json_iter it = hg_json_iter_of(sentences); code == HANGAR_OK && hg_json_next(&it);) {
        code = compare_sentence(r, it.val, &embedding, err);
    }
    if (code != HANGAR_OK) return code;
    if (hg_json_len(sentences))
        hg_report_limit(r, "embedding", embedding, LIMIT_EMB,
                        "mean of the tokens, normalized, against reference.json");
    if (r->reference >= 0 || isnan(r->reference))
        hg_report_limit(r, "reference", r->reference, LIMIT_REF, "all values of reference.json");
    return HANGAR_OK;
}
