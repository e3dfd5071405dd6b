/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A decoder with its cache. Names as Optimum and transformers.js have them.
 *
 * Beside an encoder (decoder_model_merged): past_key_values.N.decoder|encoder.key|value in, present.N... out. The first step computes the
 * encoder's keys and values and runs with one row; later steps get them back, while the decoder's grow.
 * Alone (model): past_key_values.N.key|value; attention_mask counts past and new tokens, position_ids the new ones.
 *
 * What a step gave is fed to the next as it is, without a copy of ours (APART). But the graph itself makes a new cache in each step, and copies
 * the old one into it. GroupQueryAttention need not: when past and present are one tensor, with room behind the tokens, it writes the new ones into
 * it (IN_PLACE), provided that the rest of the graph takes the number of tokens from the attention mask. Whether it does is tried out once, at the
 * first single token: the step is repeated in place, with NaN in the room behind, and must give the same scores, bit by bit.
 */
#include "cache.h"

#include "base/mem.h"
#include "engine/wire.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define F16 ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16
#define F32 ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT
#define I64 ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64

struct hg_decoder {
    hg_onnx *o;
    hg_graph *graph;
    OrtValue *hidden, *hidden_mask;
    hg_slot slots[HG_ONNX_TENSORS_MAX];
    size_t slot_count;
    bool wants_hidden, wants_hidden_mask, wants_branch, wants_mask, wants_positions;
    size_t rows, length; /* length: tokens in the cache */
    bool started;
    enum { NOT_TRIED, APART, IN_PLACE } cache; /* how the graph takes it, see the top */
    size_t capacity;                           /* IN_PLACE: tokens that the slots have room for */
    OrtValue *logits;                          /* of the last step */
    int64_t *numbers;                          /* attention_mask, then position_ids */
    size_t number_cap;                         /* of both together */
    float *row;                                /* hg_decoder_feed's */
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
    hg_slot *s = &d->slots[d->slot_count++];
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
            bool half = port->type == F16 && inputs[i].type == F32; /* of a model in 16 bits */
            if (port->type == inputs[i].type || half) return HANGAR_OK;
            return hg_fail(err, HANGAR_E_UNSUPPORTED, "the decoder's input \"%s\" is %s, wanted %s",
                           port->name, hg_type_name(port->type), hg_type_name(inputs[i].type));
        }
    return hg_fail(err, HANGAR_E_UNSUPPORTED, "the decoder has an input \"%s\" that is not known",
                   port->name);
}

/* The cache of a decoder that was fed nothing; `heard`: it keeps the keys and values of the encoder's output. */
static hangar_code empty_slots(hg_decoder *d, bool heard, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; i < d->slot_count && code == HANGAR_OK; i++) {
        hg_slot *s = &d->slots[i];
        int64_t dims[4] = {1, s->heads, 0, s->dim};
        if (heard && s->of_encoder) continue;
        hg_value_free(d->o, &s->value);
        code = hg_tensor_over(d->o, NULL, 0, dims, 4, s->type, &s->value, err);
    }
    d->rows = 1;
    d->length = 0;
    d->capacity = 0;
    d->started = heard;
    return code;
}

hangar_code hg_decoder_rewind(hg_decoder *d, hangar_err *err)
{
    return empty_slots(d, d->started && d->rows == 1, err);
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
    if (code == HANGAR_OK) code = empty_slots(d, false, err);
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

bool hg_decoder_in_place(const hg_decoder *d)
{
    return d->cache == IN_PLACE;
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

/* Names and values of a step, with `slots` for the cache; in place they are also what the step writes to. */
static void fill_step(const hg_decoder *d, step *s, OrtValue *const *slots, bool in_place)
{
    s->in_count = s->out_count = 0;
    memset(s->outs, 0, sizeof s->outs);
    give(s, "input_ids", s->ids);
    if (d->wants_hidden) give(s, "encoder_hidden_states", d->hidden);
    if (d->wants_hidden_mask) give(s, "encoder_attention_mask", d->hidden_mask);
    if (d->wants_branch) give(s, "use_cache_branch", s->branch);
    if (d->wants_mask) give(s, "attention_mask", s->mask);
    if (d->wants_positions) give(s, "position_ids", s->positions);
    s->out_names[s->out_count++] = "logits";
    for (size_t i = 0; i < d->slot_count; i++) {
        give(s, d->slots[i].in, slots[i]);
        if (d->started && d->slots[i].of_encoder) continue;
        if (in_place) s->outs[s->out_count] = slots[i];
        s->out_names[s->out_count++] = d->slots[i].out;
    }
}

static hangar_code run_graph(const hg_decoder *d, step *s, hangar_err *err)
{
    const hg_onnx *o = d->o;
    return hg_onnx_check(o,
                         o->api->Run(d->graph->session, o->run_options, s->in_names, s->ins, s->in_count,
                                     s->out_names, s->out_count, s->outs),
                         d->graph->name, err);
}

/* The values of the slots, side by side. */
static void slot_values(const hg_decoder *d, OrtValue **out)
{
    for (size_t i = 0; i < d->slot_count; i++) out[i] = d->slots[i].value;
}

/* The first bytes of two tensors of scores are the same, and numbers. */
static bool same_scores(const hg_decoder *d, const OrtValue *a, const OrtValue *b)
{
    ONNXTensorElementDataType type = hg_port_get(&d->graph->outs, "logits")->type;
    int64_t x_dims[HG_ONNX_RANK_MAX], y_dims[HG_ONNX_RANK_MAX];
    const void *x = NULL, *y = NULL;
    uint64_t bytes = 0;
    if (hg_tensor_view(d->o, a, type, 3, &x, x_dims, NULL) != HANGAR_OK ||
        hg_tensor_view(d->o, b, type, 3, &y, y_dims, NULL) != HANGAR_OK ||
        memcmp(x_dims, y_dims, 3 * sizeof *x_dims) != 0 ||
        !hg_tensor_bytes(type, x_dims, 3, SIZE_MAX, &bytes))
        return false;
    return bytes > 0 && memcmp(x, y, (size_t)bytes) == 0;
}

/*
 * Repeats a step that was made APART, from what was before it (the first d->length tokens of the slots), in place. When that gives the same
 * scores, the decoder goes on that way.
 */
static hangar_code try_in_place(hg_decoder *d, step *s, hangar_err *err)
{
    OrtValue *trial[HG_ONNX_TENSORS_MAX] = {0};
    size_t capacity = hg_cache_room(d->length + 1);
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; i < d->slot_count && code == HANGAR_OK; i++)
        code = hg_slot_copy(d->o, &d->slots[i], d->length, capacity, true, &trial[i], err);
    d->cache = APART;
    if (code == HANGAR_OK) {
        fill_step(d, s, trial, true);
        code = run_graph(d, s, NULL);
        bool same = code == HANGAR_OK && same_scores(d, d->logits, s->outs[0]);
        /* A graph that refuses is no error; one that was ended from outside may be asked again. */
        if (code != HANGAR_OK && hg_wire_pending(d->o->fd)) d->cache = NOT_TRIED;
        if (code == HANGAR_OK) hg_value_free(d->o, &s->outs[0]);
        code = HANGAR_OK;
        for (size_t i = 0; i < d->slot_count && same; i++) {
            OrtValue *old = d->slots[i].value;
            d->slots[i].value = trial[i];
            trial[i] = old;
        }
        if (same) {
            d->cache = IN_PLACE;
            d->capacity = capacity;
        }
    }
    for (size_t i = 0; i < d->slot_count; i++) hg_value_free(d->o, &trial[i]);
    /* Without memory for a second cache the decoder goes on as it did: the step itself is made. */
    return code == HANGAR_E_INVALID ? code : HANGAR_OK;
}

/* Makes room for more tokens in place. */
static hangar_code make_room(hg_decoder *d, size_t tokens, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    if (tokens <= d->capacity) return code;
    size_t capacity = hg_cache_room(tokens);
    for (size_t i = 0; i < d->slot_count && code == HANGAR_OK; i++) {
        OrtValue *larger = NULL;
        code = hg_slot_copy(d->o, &d->slots[i], d->length, capacity, false, &larger, err);
        if (code != HANGAR_OK) break;
        hg_value_free(d->o, &d->slots[i].value);
        d->slots[i].value = larger;
    }
    /* Of two lengths: nothing can be done with them but to begin anew. */
    d->capacity = code == HANGAR_OK ? capacity : 0;
    return code;
}

/* Runs; the new cache takes the place of the old one. The encoder's part is taken from the first step alone. */
static hangar_code run_step(hg_decoder *d, step *s, size_t each, hangar_err *err)
{
    const hg_onnx *o = d->o;
    OrtValue *slots[HG_ONNX_TENSORS_MAX] = {0};
    bool in_place = d->cache == IN_PLACE;
    hangar_code code = in_place ? make_room(d, d->length + each, err) : HANGAR_OK;
    slot_values(d, slots);
    if (code == HANGAR_OK) {
        fill_step(d, s, slots, in_place);
        code = run_graph(d, s, err);
    }
    if (code != HANGAR_OK) return code;
    hg_value_free(o, &d->logits);
    d->logits = s->outs[0];
    for (size_t i = 0, at = 1; i < d->slot_count && !in_place; i++)
        if (!d->started || !d->slots[i].of_encoder) {
            hg_value_free(o, &d->slots[i].value);
            d->slots[i].value = s->outs[at++];
        }
    d->started = true;
    bool alone = d->wants_mask && !d->wants_hidden && !d->wants_branch;
    if (alone && d->cache == NOT_TRIED && each == 1 && d->rows == 1 && d->length > 0)
        code = try_in_place(d, s, err);
    return code;
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
    if (code == HANGAR_OK) code = run_step(d, s, each, err);
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

/* Scores are F32 or F16; another type is the mistake of one_step's caller, which says so. */
static ONNXTensorElementDataType score_type(const hg_decoder *d)
{
    return hg_port_get(&d->graph->outs, "logits")->type == F16 ? F16 : F32;
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

hangar_code hg_decoder_feed_all(hg_decoder *d, const int64_t *ids, size_t count, hangar_err *err)
{
    const void *data = NULL;
    size_t vocab = 0;
    return one_step(d, ids, count, score_type(d), &data, &vocab, err);
}

hangar_code hg_decoder_row(hg_decoder *d, size_t index, float **out_row, size_t *out_vocab, hangar_err *err)
{
    const void *data = NULL;
    int64_t dims[HG_ONNX_RANK_MAX] = {0};
    ONNXTensorElementDataType type = score_type(d);
    if (!d->logits) return hg_fail(err, HANGAR_E_INTERNAL, "no scores are kept");
    hangar_code code = hg_tensor_view(d->o, d->logits, type, 3, &data, dims, err);
    if (code != HANGAR_OK) return code;
    if (index >= (uint64_t)dims[1]) return hg_fail(err, HANGAR_E_INTERNAL, "there is no row %zu", index);
    size_t vocab = (size_t)dims[2], from = index * vocab;
    if (!hg_grow((void **)&d->row, &d->row_cap, vocab, sizeof *d->row)) return hg_fail_memory(err);
    if (type == F32) memcpy(d->row, (const float *)data + from, vocab * sizeof *d->row);
    for (size_t i = 0; type == F16 && i < vocab; i++) d->row[i] = widen(((const uint16_t *)data)[from + i]);
    *out_row = d->row;
    *out_vocab = vocab;
    return HANGAR_OK;
}

hangar_code hg_decoder_feed(hg_decoder *d, const int64_t *ids, size_t count, float **out_row,
                            size_t *out_vocab, hangar_err *err)
{
    hangar_code code = hg_decoder_feed_all(d, ids, count, err);
    if (code == HANGAR_OK) code = hg_decoder_row(d, count - 1, out_row, out_vocab, err);
    if (code == HANGAR_OK) hg_value_free(d->o, &d->logits); /* of a long prompt that is much memory */
    return code;
}

hangar_code hg_decoder_select(hg_decoder *d, const size_t *from, size_t rows, hangar_err *err)
{
    bool same = rows == d->rows;
    for (size_t i = 0; i < rows && same; i++) same = from[i] == i;
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; i < d->slot_count && !same && code == HANGAR_OK; i++) {
        /* all rows listen to the same sound: the encoder's part changes only in number */
        if (d->slots[i].of_encoder && rows == d->rows) continue;
        code = hg_slot_rows(d->o, &d->slots[i], from, rows, err);
    }
    d->rows = rows;
    return code;
}

/* Every slot of the decoder's own is [1, heads, tokens, dim]. */
static bool is_whole(const hg_decoder *d, size_t tokens)
{
    bool whole = d->rows == 1 && d->started;
    for (size_t i = 0; i < d->slot_count && whole; i++) {
        const hg_slot *s = &d->slots[i];
        const void *data = NULL;
        int64_t dims[HG_ONNX_RANK_MAX];
        if (s->of_encoder) continue;
        whole = hg_tensor_view(d->o, s->value, s->type, 4, &data, dims, NULL) == HANGAR_OK && dims[0] == 1 &&
                dims[1] == s->heads && dims[2] == (int64_t)tokens && dims[3] == s->dim;
    }
    return whole;
}

hangar_code hg_decoder_cut(hg_decoder *d, size_t length, hangar_err *err)
{
    bool in_place = d->cache == IN_PLACE;
    if (length == d->length && length > 0) return HANGAR_OK;
    if (length == 0 || length > d->length || !is_whole(d, in_place ? d->capacity : d->length))
        return empty_slots(d, false, err);
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; i < d->slot_count && code == HANGAR_OK && !in_place; i++) {
        OrtValue *shorter = NULL;
        if (d->slots[i].of_encoder) continue;
        code = hg_slot_copy(d->o, &d->slots[i], length, length, false, &shorter, err);
        if (code != HANGAR_OK) break;
        hg_value_free(d->o, &d->slots[i].value);
        d->slots[i].value = shorter;
    }
    if (code == HANGAR_OK) {
        d->length = length;
        return code;
    }
    /* One that is cut by halves must not be used again; the first error is the one to tell. */
    hangar_code again = empty_slots(d, false, NULL);
    return again == HANGAR_E_NO_MEMORY ? again : code;
}
