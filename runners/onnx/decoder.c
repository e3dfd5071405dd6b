/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A decoder with its cache. Names as Optimum and transformers.js have them.
 *
 * Beside an encoder (decoder_model_merged): past_key_values.N.decoder|encoder.key|value in, present.N... out. The first step computes the
 * encoder's keys and values and runs with one row; later steps get them back, while the decoder's grow.
 * Alone (model): past_key_values.N.key|value; attention_mask counts past and new tokens, position_ids the new ones.
 *
 * What a step gave is fed to the next as it is, without a copy. Copies are made where the cache changes otherwise: a search with several
 * beams copies rows, a conversation that went another way (hg_decoder_cut) the part that stays.
 */
#include "runner.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define F16 ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16
#define F32 ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT
#define I64 ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64

/* One tensor of the cache. */
typedef struct slot {
    const char *in;
    const char *out;
    bool of_encoder;
    ONNXTensorElementDataType type;
    int64_t heads, dim;
    OrtValue *value;
} slot;

struct hg_decoder {
    hg_onnx *o;
    hg_graph *graph;
    OrtValue *hidden, *hidden_mask;
    slot slots[HG_ONNX_TENSORS_MAX];
    size_t slot_count;
    bool wants_hidden, wants_hidden_mask, wants_branch, wants_mask, wants_positions;
    size_t rows, length; /* length: tokens in the cache */
    bool started;
    OrtValue *logits;  /* of the last step */
    int64_t *numbers;  /* attention_mask, then position_ids */
    size_t number_cap; /* of both together */
    float *row;        /* hg_decoder_feed's */
    size_t row_cap;
};

/* "past_key_values.X" -> the output "present.X", or NULL. */
static const char *present_of(const hg_graph *g, const char *past)
{
    const char *rest = past + strlen("past_key_values.");
    for (size_t i = 0; i < g->outs.count; i++) {
        const char *name = g->outs.items[i].name;
        if (strncmp(name, "present.", 8) == 0 && strcmp(name + 8, rest) == 0) return name;
    }
    return NULL;
}

/* A tensor of the cache. */
static hangar_code know_slot(hg_decoder *d, const hg_port *port, hangar_err *err)
{
    slot *s = &d->slots[d->slot_count++];
    s->in = port->name;
    s->out = present_of(d->graph, port->name);
    s->of_encoder = strstr(port->name, ".encoder.") != NULL;
    s->type = port->type;
    bool known = port->type == F32 || port->type == F16;
    if (!known || port->rank != 4 || port->dims[1] < 1 || port->dims[3] < 1 || !s->out)
        return hg_fail(err, HANGAR_E_UNSUPPORTED,
                       "the cache input \"%s\" is %s of %zu dimensions or has no output", port->name,
                       hg_type_name(port->type), port->rank);
    s->heads = port->dims[1];
    s->dim = port->dims[3];
    return HANGAR_OK;
}

/* Takes one input of the graph into account. */
static hangar_code know_input(hg_decoder *d, const hg_port *port, hangar_err *err)
{
    const struct {
        const char *name;
        bool *wanted;
        ONNXTensorElementDataType type;
    } inputs[] = {{"encoder_hidden_states", &d->wants_hidden, F32},
                  {"encoder_attention_mask", &d->wants_hidden_mask, I64},
                  {"use_cache_branch", &d->wants_branch, ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL},
                  {"attention_mask", &d->wants_mask, I64},
                  {"position_ids", &d->wants_positions, I64}};
    if (hg_streq(port->name, "input_ids")) return HANGAR_OK;
    if (strncmp(port->name, "past_key_values.", 16) == 0) return know_slot(d, port, err);
    for (size_t i = 0; i < HG_LEN(inputs); i++)
        if (hg_streq(port->name, inputs[i].name)) {
            *inputs[i].wanted = true;
            if (port->type == inputs[i].type) return HANGAR_OK;
            return hg_fail(err, HANGAR_E_UNSUPPORTED, "the decoder's input \"%s\" is %s, wanted %s",
                           port->name, hg_type_name(port->type), hg_type_name(inputs[i].type));
        }
    return hg_fail(err, HANGAR_E_UNSUPPORTED, "the decoder has an input \"%s\" that is not known",
                   port->name);
}

/* The cache of a decoder that was fed nothing. */
static hangar_code empty_slots(hg_decoder *d, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; i < d->slot_count && code == HANGAR_OK; i++) {
        slot *s = &d->slots[i];
        int64_t dims[4] = {1, s->heads, 0, s->dim};
        hg_value_free(d->o, &s->value);
        code = hg_tensor_over(d->o, NULL, 0, dims, 4, s->type, &s->value, err);
    }
    d->rows = 1;
    d->length = 0;
    d->started = false;
    return code;
}

hangar_code hg_decoder_new(hg_onnx *o, hg_graph *graph, OrtValue *hidden, hg_decoder **out, hangar_err *err)
{
    *out = NULL;
    const hg_port *ids = hg_port_get(&graph->ins, "input_ids");
    if (!ids || ids->type != I64 || !hg_port_get(&graph->outs, "logits"))
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "graph %s has no 64-bit input_ids or no logits",
                       graph->name);
    hg_decoder *d = hg_calloc(1, sizeof *d);
    if (!d) return hg_fail_memory(err);
    d->o = o;
    d->graph = graph;
    d->hidden = hidden;
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; i < graph->ins.count && code == HANGAR_OK; i++)
        code = know_input(d, &graph->ins.items[i], err);
    if (code == HANGAR_OK && d->slot_count == 0)
        code = hg_fail(err, HANGAR_E_UNSUPPORTED, "graph %s has no cache", graph->name);
    if (code == HANGAR_OK && d->wants_hidden && !hidden)
        code = hg_fail(err, HANGAR_E_UNSUPPORTED, "graph %s wants an encoder's output", graph->name);
    if (code == HANGAR_OK) code = empty_slots(d, err);
    if (code != HANGAR_OK) {
        hg_decoder_free(d);
        return code;
    }
    *out = d;
    return HANGAR_OK;
}

void hg_decoder_free(hg_decoder *d)
{
    if (!d) return;
    for (size_t i = 0; i < d->slot_count; i++) hg_value_free(d->o, &d->slots[i].value);
    hg_value_free(d->o, &d->logits);
    free(d->numbers);
    free(d->row);
    free(d);
}

void hg_decoder_set_mask(hg_decoder *d, OrtValue *mask)
{
    d->hidden_mask = mask;
}

size_t hg_decoder_length(const hg_decoder *d)
{
    return d->length;
}

/* One run of the graph: names and values of a step. */
typedef struct step {
    const char *in_names[HG_ONNX_TENSORS_MAX];
    const OrtValue *ins[HG_ONNX_TENSORS_MAX];
    const char *out_names[HG_ONNX_TENSORS_MAX + 1];
    OrtValue *outs[HG_ONNX_TENSORS_MAX + 1];
    size_t in_count, out_count;
    OrtValue *ids, *branch, *mask, *positions; /* made for this step */
    bool cached;
} step;

static void give(step *s, const char *name, const OrtValue *value)
{
    s->in_names[s->in_count] = name;
    s->ins[s->in_count++] = value;
}

/* attention_mask: nothing of past and new is padding. position_ids: the new tokens' places. */
static hangar_code make_numbers(hg_decoder *d, step *s, size_t each, hangar_err *err)
{
    size_t total = d->length + each;
    if (!d->wants_mask && !d->wants_positions) return HANGAR_OK;
    if (!hg_grow((void **)&d->numbers, &d->number_cap, d->rows * (total + each), sizeof *d->numbers))
        return hg_fail_memory(err);
    int64_t *mask = d->numbers, *positions = mask + d->rows * total;
    for (size_t i = 0; i < d->rows * total; i++) mask[i] = 1;
    for (size_t i = 0; i < d->rows * each; i++) positions[i] = (int64_t)(d->length + i % each);
    int64_t mask_dims[2] = {(int64_t)d->rows, (int64_t)total};
    int64_t position_dims[2] = {(int64_t)d->rows, (int64_t)each};
    hangar_code code = HANGAR_OK;
    if (d->wants_mask)
        code = hg_tensor_over(d->o, mask, d->rows * total * sizeof *mask, mask_dims, 2, I64, &s->mask, err);
    if (code == HANGAR_OK && d->wants_positions)
        code = hg_tensor_over(d->o, positions, d->rows * each * sizeof *positions, position_dims, 2, I64,
                              &s->positions, err);
    return code;
}

/* The inputs of a step but for the cache. */
static hangar_code make_inputs(hg_decoder *d, step *s, const int64_t *ids, size_t each, hangar_err *err)
{
    int64_t dims[2] = {(int64_t)d->rows, (int64_t)each}, one = 1;
    s->cached = d->started;
    hangar_code code = hg_tensor_over(d->o, ids, d->rows * each * sizeof *ids, dims, 2, I64, &s->ids, err);
    if (code == HANGAR_OK && d->wants_branch)
        code = hg_tensor_over(d->o, &s->cached, sizeof s->cached, &one, 1, ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL,
                              &s->branch, err);
    if (code == HANGAR_OK) code = make_numbers(d, s, each, err);
    if (code == HANGAR_OK && d->wants_hidden_mask && !d->hidden_mask)
        code = hg_fail(err, HANGAR_E_UNSUPPORTED, "graph %s wants an encoder's mask", d->graph->name);
    return code;
}

/* Runs; the new cache takes the place of the old one. The encoder's part is taken from the first step alone. */
static hangar_code run_step(hg_decoder *d, step *s, hangar_err *err)
{
    const hg_onnx *o = d->o;
    give(s, "input_ids", s->ids);
    if (d->wants_hidden) give(s, "encoder_hidden_states", d->hidden);
    if (d->wants_hidden_mask) give(s, "encoder_attention_mask", d->hidden_mask);
    if (d->wants_branch) give(s, "use_cache_branch", s->branch);
    if (d->wants_mask) give(s, "attention_mask", s->mask);
    if (d->wants_positions) give(s, "position_ids", s->positions);
    s->out_names[s->out_count++] = "logits";
    for (size_t i = 0; i < d->slot_count; i++) {
        give(s, d->slots[i].in, d->slots[i].value);
        if (!d->started || !d->slots[i].of_encoder) s->out_names[s->out_count++] = d->slots[i].out;
    }
    hangar_code code = hg_onnx_check(o,
                                     o->api->Run(d->graph->session, o->run_options, s->in_names, s->ins,
                                                 s->in_count, s->out_names, s->out_count, s->outs),
                                     d->graph->name, err);
    if (code != HANGAR_OK) return code;
    hg_value_free(o, &d->logits);
    d->logits = s->outs[0];
    for (size_t i = 0, at = 1; i < d->slot_count; i++)
        if (!d->started || !d->slots[i].of_encoder) {
            hg_value_free(o, &d->slots[i].value);
            d->slots[i].value = s->outs[at++];
        }
    d->started = true;
    return HANGAR_OK;
}

/* One step. *out_data is the logits, of `type`; out_vocab their last dimension. */
static hangar_code one_step(hg_decoder *d, const int64_t *ids, size_t each, ONNXTensorElementDataType type,
                            const void **out_data, size_t *out_vocab, hangar_err *err)
{
    const hg_onnx *o = d->o;
    int64_t dims[HG_ONNX_RANK_MAX] = {0};
    HG_AUTO(hg_auto_free) step *s = hg_calloc(1, sizeof *s);
    if (!s) return hg_fail_memory(err);
    hangar_code code = make_inputs(d, s, ids, each, err);
    if (code == HANGAR_OK) code = run_step(d, s, err);
    OrtValue **const made[] = {&s->ids, &s->branch, &s->mask, &s->positions};
    for (size_t i = 0; i < HG_LEN(made); i++) hg_value_free(o, made[i]);
    if (code == HANGAR_OK) code = hg_tensor_view(o, d->logits, type, 3, out_data, dims, err);
    if (code != HANGAR_OK) return code;
    if (dims[0] != (int64_t)d->rows || dims[1] != (int64_t)each || dims[2] < 1)
        return hg_fail(err, HANGAR_E_INVALID,
                       "the decoder's logits are [%lld, %lld, %lld] for [%zu, %zu] tokens",
                       (long long)dims[0], (long long)dims[1], (long long)dims[2], d->rows, each);
    d->length += each;
    *out_vocab = (size_t)dims[2];
    return HANGAR_OK;
}

hangar_code hg_decoder_step(hg_decoder *d, const int64_t *ids, size_t each, const float **out_logits,
                            size_t *out_vocab, hangar_err *err)
{
    const void *data = NULL;
    hangar_code code = one_step(d, ids, each, F32, &data, out_vocab, err);
    *out_logits = data;
    return code;
}

/* A number of 16 bits (IEEE 754 binary16) as one of 32. */
static float widen(uint16_t half)
{
    int exponent = half >> 10 & 31, fraction = half & 1023;
    float value = exponent == 31  ? (fraction ? NAN : INFINITY)
                  : exponent == 0 ? ldexpf((float)fraction, -24)
                                  : ldexpf((float)(fraction | 1024), exponent - 25);
    return half & 0x8000 ? -value : value;
}

hangar_code hg_decoder_feed(hg_decoder *d, const int64_t *ids, size_t count, float **out_row,
                            size_t *out_vocab, hangar_err *err)
{
    const void *data = NULL;
    ONNXTensorElementDataType type = hg_port_get(&d->graph->outs, "logits")->type;
    hangar_code code = one_step(d, ids, count, type == F16 ? F16 : F32, &data, out_vocab, err);
    if (code != HANGAR_OK) return code;
    size_t vocab = *out_vocab, from = (count - 1) * vocab;
    if (!hg_grow((void **)&d->row, &d->row_cap, vocab, sizeof *d->row)) return hg_fail_memory(err);
    if (type == F32) memcpy(d->row, (const float *)data + from, vocab * sizeof *d->row);
    for (size_t i = 0; type == F16 && i < vocab; i++) d->row[i] = widen(((const uint16_t *)data)[from + i]);
    hg_value_free(d->o, &d->logits); /* of a long prompt that is much memory */
    *out_row = d->row;
    return HANGAR_OK;
}

/* A slot with its rows chosen anew. */
static hangar_code select_rows(hg_decoder *d, slot *s, const size_t *from, size_t rows, hangar_err *err)
{
    const hg_onnx *o = d->o;
    const void *old = NULL;
    void *fresh = NULL;
    int64_t dims[HG_ONNX_RANK_MAX];
    hangar_code code = hg_tensor_view(o, s->value, s->type, 4, &old, dims, err);
    if (code != HANGAR_OK) return code;
    size_t have = (size_t)dims[0];
    uint64_t row = 0;
    int64_t row_dims[3] = {dims[1], dims[2], dims[3]};
    if (!hg_tensor_bytes(s->type, row_dims, 3, SIZE_MAX / (HG_ONNX_BEAMS_MAX + 1), &row))
        return hg_fail(err, HANGAR_E_LIMIT, "a cache row is too large");
    dims[0] = (int64_t)rows;
    OrtValue *value = NULL;
    code = hg_onnx_check(o, o->api->CreateTensorAsOrtValue(o->allocator, dims, 4, s->type, &value), "cache",
                         err);
    if (code == HANGAR_OK) code = hg_onnx_check(o, o->api->GetTensorMutableData(value, &fresh), "cache", err);
    for (size_t i = 0; i < rows && code == HANGAR_OK && row > 0; i++)
        memcpy((char *)fresh + i * row, (const char *)old + (from[i] < have ? from[i] : 0) * row,
               (size_t)row);
    if (code != HANGAR_OK) {
        hg_value_free(o, &value);
        return code;
    }
    hg_value_free(o, &s->value);
    s->value = value;
    return HANGAR_OK;
}

hangar_code hg_decoder_select(hg_decoder *d, const size_t *from, size_t rows, hangar_err *err)
{
    bool same = rows == d->rows;
    for (size_t i = 0; i < rows && same; i++) same = from[i] == i;
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; i < d->slot_count && !same && code == HANGAR_OK; i++) {
        /* all rows listen to the same sound: the encoder's part changes only in number */
        if (d->slots[i].of_encoder && rows == d->rows) continue;
        code = select_rows(d, &d->slots[i], from, rows, err);
    }
    d->rows = rows;
    return code;
}

/* A slot with only the first `length` tokens of each head. */
static hangar_code cut_slot(hg_decoder *d, slot *s, size_t length, hangar_err *err)
{
    const hg_onnx *o = d->o;
    const void *old = NULL;
    void *fresh = NULL;
    int64_t dims[HG_ONNX_RANK_MAX];
    hangar_code code = hg_tensor_view(o, s->value, s->type, 4, &old, dims, err);
    if (code != HANGAR_OK) return code;
    size_t token = (size_t)s->dim * hg_type_size(s->type), have = (size_t)dims[2];
    dims[2] = (int64_t)length;
    OrtValue *value = NULL;
    code = hg_onnx_check(o, o->api->CreateTensorAsOrtValue(o->allocator, dims, 4, s->type, &value), "cache",
                         err);
    if (code == HANGAR_OK) code = hg_onnx_check(o, o->api->GetTensorMutableData(value, &fresh), "cache", err);
    for (int64_t h = 0; h < dims[1] && code == HANGAR_OK; h++)
        memcpy((char *)fresh + (size_t)h * length * token, (const char *)old + (size_t)h * have * token,
               length * token);
    if (code != HANGAR_OK) {
        hg_value_free(o, &value);
        return code;
    }
    hg_value_free(o, &s->value);
    s->value = value;
    return HANGAR_OK;
}

/* Every slot of the decoder's own is [1, heads, length, dim]. */
static bool is_whole(const hg_decoder *d)
{
    bool whole = d->rows == 1 && d->started;
    for (size_t i = 0; i < d->slot_count && whole; i++) {
        const slot *s = &d->slots[i];
        const void *data = NULL;
        int64_t dims[HG_ONNX_RANK_MAX];
        if (s->of_encoder) continue;
        whole = hg_tensor_view(d->o, s->value, s->type, 4, &data, dims, NULL) == HANGAR_OK && dims[0] == 1 &&
                dims[1] == s->heads && dims[2] == (int64_t)d->length && dims[3] == s->dim;
    }
    return whole;
}

hangar_code hg_decoder_cut(hg_decoder *d, size_t length, hangar_err *err)
{
    if (length == d->length) return HANGAR_OK;
    if (length == 0 || length > d->length || !is_whole(d)) return empty_slots(d, err);
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; i < d->slot_count && code == HANGAR_OK; i++)
        if (!d->slots[i].of_encoder) code = cut_slot(d, &d->slots[i], length, err);
    if (code == HANGAR_OK) {
        d->length = length;
        return code;
    }
    /* One that is cut by halves must not be used again; the first error is the one to tell. */
    hangar_code again = empty_slots(d, NULL);
    return again == HANGAR_E_NO_MEMORY ? again : code;
}
