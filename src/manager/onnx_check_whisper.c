/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of Whisper: the encoder on fixed features; the decoder all at once against piece by piece with its cache. */
#include "base/mem.h"
#include "manager/onnx_check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define ENCODER   "encoder_model"
#define DECODER   "decoder_model_merged"
#define TOKENS    6
#define LIMIT     1e-4
#define LIMIT_REF 1e-3
#define PAST      "past_key_values."

/* What the decoder is given from call to call. */
typedef struct cache {
    hg_or_tensor past[HG_OR_INPUTS_MAX]; /* data are copies */
    size_t count;
    bool filled;
} cache;

static void cache_deinit(cache *c)
{
    for (size_t i = 0; i < c->count; i++) free((void *)(uintptr_t)c->past[i].data);
    c->count = 0;
}

/* One empty tensor for each past_key_values input. */
static hangar_code cache_init(const hg_report *r, cache *c, hangar_err *err)
{
    *c = (cache){0};
    for (size_t i = 0;; i++) {
        const char *name = hg_or_name(&r->session, DECODER, "inputs", i);
        if (!name) return HANGAR_OK;
        if (strncmp(name, PAST, strlen(PAST)) != 0) continue;
        hg_or_tensor port;
        if (c->count == HG_OR_INPUTS_MAX - 3)
            return hg_fail(err, HANGAR_E_LIMIT, "more than %d past tensors", HG_OR_INPUTS_MAX - 3);
        if (!hg_or_port(&r->session, DECODER, "inputs", name, &port) || port.rank != 4 ||
            port.type != HG_OR_F32) {
            return hg_fail(err, HANGAR_E_ENGINE, "input %s has an unexpected shape", name);
        }
        c->past[c->count++] =
            (hg_or_tensor){name, HG_OR_F32, 4, {1, port.shape[1], 0, port.shape[3]}, NULL, 0};
    }
}

/* What came out as present becomes the past; keys and values of the encoder are kept from the first call. */
static hangar_code cache_take(cache *c, const hg_frame *answer, hangar_err *err)
{
    for (size_t i = 0; i < c->count; i++) {
        char name[96];
        hg_or_tensor present;
        if (c->filled && strstr(c->past[i].name, ".encoder.")) continue;
        snprintf(name, sizeof name, "present.%s", c->past[i].name + strlen(PAST));
        hangar_code code = hg_or_output(answer, name, &present, err);
        if (code != HANGAR_OK) return code;
        void *copy = hg_calloc(present.bytes, 1);
        if (!copy) return hg_fail_memory(err);
        if (present.bytes) memcpy(copy, present.data, present.bytes);
        free((void *)(uintptr_t)c->past[i].data);
        present.name = c->past[i].name;
        present.data = copy;
        c->past[i] = present;
    }
    c->filled = true;
    return HANGAR_OK;
}

/* One call of the decoder with `count` ids; the logits are copied behind *logits. */
static hangar_code decode(hg_report *r, const hg_or_tensor *hidden, const int64_t *ids, size_t count,
                          cache *c, hg_buf *logits, hangar_err *err)
{
    hg_or_tensor inputs[HG_OR_INPUTS_MAX], out;
    hg_frame answer = {0};
    uint8_t cached = c->filled;
    inputs[0] = (hg_or_tensor){"input_ids", HG_OR_I64, 2, {1, (int64_t)count}, ids, count * sizeof *ids};
    inputs[1] = *hidden;
    inputs[1].name = "encoder_hidden_states";
    inputs[2] = (hg_or_tensor){"use_cache_branch", HG_OR_BOOL, 1, {1}, &cached, 1};
    memcpy(inputs + 3, c->past, c->count * sizeof *inputs);
    hangar_code code = hg_or_run(&r->session, DECODER, inputs, 3 + c->count, &answer, err);
    if (code == HANGAR_OK) code = hg_or_output(&answer, "logits", &out, err);
    if (code == HANGAR_OK) {
        hg_report_numbers(r, &out);
        hg_buf_add(logits, out.data, out.bytes);
        code = hg_buf_check(logits, err);
    }
    if (code == HANGAR_OK) code = cache_take(c, &answer, err);
    hg_frame_deinit(&answer);
    return code;
}

/* Decodes ids in pieces of these lengths (0 ends the list). */
static hangar_code decode_pieces(hg_report *r, const hg_or_tensor *hidden, const int64_t *ids,
                                 const size_t *pieces, hg_buf *logits, hangar_err *err)
{
    cache c;
    hangar_code code = cache_init(r, &c, err);
    for (; code == HANGAR_OK && *pieces; ids += *pieces++)
        code = decode(r, hidden, ids, *pieces, &c, logits, err);
    cache_deinit(&c);
    return code;
}

static hangar_code encode(hg_report *r, const float *mel, const hg_or_tensor *port, hg_frame *answer,
                          hg_or_tensor *hidden, hangar_err *err)
{
    hg_or_tensor input = *port;
    input.shape[0] = 1;
    input.data = mel;
    input.bytes = hg_or_count(&input) * sizeof(float);
    hangar_code code = hg_or_run(&r->session, ENCODER, &input, 1, answer, err);
    if (code == HANGAR_OK) code = hg_or_output(answer, "last_hidden_state", hidden, err);
    if (code == HANGAR_OK) hg_report_numbers(r, hidden);
    return code;
}

static hangar_code check_cache(hg_report *r, const hg_or_tensor *hidden, hangar_err *err)
{
    int64_t ids[TOKENS];
    for (size_t i = 0; i < TOKENS; i++)
        ids[i] = i == 0 ? (int64_t)r->start : (int64_t)((i * 7919 + 17) % r->vocab);
    hg_buf whole, steps;
    hg_buf_init(&whole, HG_WIRE_BIN_MAX);
    hg_buf_init(&steps, HG_WIRE_BIN_MAX);
    hangar_code code = decode_pieces(r, hidden, ids, (const size_t[]){TOKENS, 0}, &whole, err);
    if (code == HANGAR_OK) code = decode_pieces(r, hidden, ids, (const size_t[]){2, 1, 1, 2, 0}, &steps, err);
    if (code == HANGAR_OK && (whole.len != steps.len || whole.len == 0))
        code = hg_fail(err, HANGAR_E_ENGINE, "logits have unexpected shapes");
    if (code == HANGAR_OK) {
        double d = hg_report_scaled((const float *)(const void *)steps.data,
                                    (const float *)(const void *)whole.data, whole.len / sizeof(float));
        hg_report_limit(r, "cache", d, LIMIT, "6 tokens at once, and as 2, 1, 1, 2 with the cache");
    }
    hg_buf_deinit(&whole);
    hg_buf_deinit(&steps);
    return code;
}

/* A case with input_features and decoder_input_ids, batch 1. */
static hangar_code compare_case(hg_report *r, const hg_jval *one, const hg_or_tensor *port, hangar_err *err)
{
    HG_AUTO(hg_auto_free) float *mel = NULL;
    HG_AUTO(hg_auto_free) float *want_hidden = NULL;
    HG_AUTO(hg_auto_free) float *want_logits = NULL;
    HG_AUTO(hg_auto_free) int64_t *ids = NULL;
    size_t mels = 0, tokens = 0, hiddens = 0, logit_count = 0;
    hg_or_tensor hidden, expected = *port;
    expected.shape[0] = 1;
    bool ok =
        hg_report_floats(hg_json_path(one, "inputs", "input_features", NULL), &mel, &mels) &&
        mels == hg_or_count(&expected) &&
        hg_report_ints(hg_json_path(one, "inputs", "decoder_input_ids", NULL), &ids, &tokens) && tokens > 0 &&
        hg_report_floats(hg_json_path(one, "outputs", "last_hidden_state", NULL), &want_hidden, &hiddens) &&
        hg_report_floats(hg_json_path(one, "outputs", "logits", NULL), &want_logits, &logit_count);
    if (!ok) return hg_fail(err, HANGAR_E_INVALID, "reference.json: a case that does not fit the model");
    hg_frame answer = {0};
    hg_buf logits;
    hg_buf_init(&logits, HG_WIRE_BIN_MAX);
    hangar_code code = encode(r, mel, port, &answer, &hidden, err);
    if (code == HANGAR_OK) code = decode_pieces(r, &hidden, ids, (const size_t[]){tokens, 0}, &logits, err);
    if (code == HANGAR_OK && (hg_or_count(&hidden) != hiddens || logits.len != logit_count * sizeof(float))) {
        code = hg_fail(err, HANGAR_E_INVALID, "reference.json: outputs of another shape");
    }
    if (code == HANGAR_OK) {
        hg_report_compare(r, HG_OR_FLOATS(&hidden), want_hidden, hiddens);
        hg_report_compare(r, (const float *)(const void *)logits.data, want_logits, logit_count);
    }
    hg_buf_deinit(&logits);
    hg_frame_deinit(&answer);
    return code;
}

/* All checks of Whisper. */
hangar_code hg_report_whisper(hg_report *r, const hg_jval *reference, hangar_err *err)
{
    hg_or_tensor port, hidden;
    if (!hg_or_port(&r->session, ENCODER, "inputs", "input_features", &port) || port.rank != 3 ||
        port.shape[1] < 1 || port.shape[2] < 1) {
        return hg_fail(err, HANGAR_E_ENGINE, "%s has no proper input_features", ENCODER);
    }
    port.shape[0] = 1;
    size_t count = hg_or_count(&port);
    if (count == 0 || count > HG_WIRE_BIN_MAX / sizeof(float))
        return hg_fail(err, HANGAR_E_ENGINE, "%s says of itself that its features are over the limit",
                       ENCODER);
    HG_AUTO(hg_auto_free) float *mel = hg_calloc(count, sizeof *mel);
    if (!mel) return hg_fail_memory(err);
    for (size_t i = 0; i < count; i++) mel[i] = (float)(0.9 * sin(0.013 * (double)i));
    hg_frame answer = {0};
    hangar_code code = encode(r, mel, &port, &answer, &hidden, err);
    if (code == HANGAR_OK) code = check_cache(r, &hidden, err);
    hg_frame_deinit(&answer);
    const hg_jval *cases = hg_json_get(reference, "cases");
    for (hg_json_iter it = hg_json_iter_of(cases); code == HANGAR_OK && hg_json_next(&it);)
        code = compare_case(r, it.val, &port, err);
    if (code == HANGAR_OK && (r->reference >= 0 || isnan(r->reference))) {
        hg_report_limit(r, "reference", r->reference, LIMIT_REF, "encoder and logits of reference.json");
    }
    return code;
}
