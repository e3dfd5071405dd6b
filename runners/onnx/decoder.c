/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoder of an encoder-decoder graph (decoder_model_merged) with its cache. Names as Optimum and
 * transformers.js have them: past_key_values.N.decoder|encoder.key|value in, present.N... out. The first step
 * computes the encoder's keys and values and runs with one row; later steps get them back, while the decoder's
 * grow. What a step gave is fed to the next as it is, without a copy; only a search with several beams copies
 * rows.
 */
#include "runner.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define F32 ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT
#define I64 ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64

/* One tensor of the cache. */
typedef struct slot {
    const char *in;
    const char *out;
    bool of_encoder;
    int64_t heads, dim;
    OrtValue *value;
} slot;

struct hg_decoder {
    hg_onnx *o;
    hg_graph *graph;
    OrtValue *hidden;
    slot slots[HG_ONNX_TENSORS_MAX];
    size_t slot_count;
    bool wants_hidden, wants_branch;
    size_t rows;
    bool started;
    OrtValue *logits; /* of the last step */
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

/* Takes one input of the graph into account. */
static hangar_code know_input(hg_decoder *d, const hg_port *port, hangar_err *err)
{
    if (hg_streq(port->name, "encoder_hidden_states")) {
        d->wants_hidden = true;
    } else if (hg_streq(port->name, "use_cache_branch")) {
        d->wants_branch = true;
    } else if (strncmp(port->name, "past_key_values.", 16) == 0) {
        slot *s = &d->slots[d->slot_count++];
        s->in = port->name;
        s->out = present_of(d->graph, port->name);
        s->of_encoder = strstr(port->name, ".encoder.") != NULL;
        if (port->type != F32 || port->rank != 4 || port->dims[1] < 1 || port->dims[3] < 1 || !s->out)
            return hg_fail(err, HANGAR_E_UNSUPPORTED,
                           "the cache input \"%s\" is %s of %zu dimensions or has no output", port->name,
                           hg_type_name(port->type), port->rank);
        s->heads = port->dims[1];
        s->dim = port->dims[3];
    } else if (!hg_streq(port->name, "input_ids")) {
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "the decoder has an input \"%s\" that is not known",
                       port->name);
    }
    return HANGAR_OK;
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
    d->rows = 1;
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; i < graph->ins.count && code == HANGAR_OK; i++)
        code = know_input(d, &graph->ins.items[i], err);
    if (code == HANGAR_OK && d->slot_count == 0)
        code = hg_fail(err, HANGAR_E_UNSUPPORTED, "graph %s has no cache", graph->name);
    for (size_t i = 0; i < d->slot_count && code == HANGAR_OK; i++) {
        slot *s = &d->slots[i];
        int64_t dims[4] = {1, s->heads, 0, s->dim};
        code = hg_tensor_over(o, NULL, 0, dims, 4, F32, &s->value, err);
    }
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
    free(d);
}

/* One run of the graph: names and values of a step. */
typedef struct step {
    const char *in_names[HG_ONNX_TENSORS_MAX + 3];
    const OrtValue *ins[HG_ONNX_TENSORS_MAX + 3];
    const char *out_names[HG_ONNX_TENSORS_MAX + 1];
    OrtValue *outs[HG_ONNX_TENSORS_MAX + 1];
    size_t in_count, out_count;
} step;

static void give(step *s, const char *name, const OrtValue *value)
{
    s->in_names[s->in_count] = name;
    s->ins[s->in_count++] = value;
}

/* Runs; the new cache takes the place of the old one. The encoder's part is taken from the first step alone. */
static hangar_code run_step(hg_decoder *d, OrtValue *ids, OrtValue *branch, step *s, hangar_err *err)
{
    const hg_onnx *o = d->o;
    give(s, "input_ids", ids);
    if (d->wants_hidden) give(s, "encoder_hidden_states", d->hidden);
    if (d->wants_branch) give(s, "use_cache_branch", branch);
    s->out_names[s->out_count++] = "logits";
    for (size_t i = 0; i < d->slot_count; i++) {
        give(s, d->slots[i].in, d->slots[i].value);
        if (!d->started || !d->slots[i].of_encoder) s->out_names[s->out_count++] = d->slots[i].out;
    }
    hangar_code code = hg_onnx_check(o,
                                     o->api->Run(d->graph->session, NULL, s->in_names, s->ins, s->in_count,
                                                 s->out_names, s->out_count, s->outs),
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

hangar_code hg_decoder_step(hg_decoder *d, const int64_t *ids, size_t each, const float **out_logits,
                            size_t *out_vocab, hangar_err *err)
{
    const hg_onnx *o = d->o;
    bool cached = d->started;
    int64_t ids_dims[2] = {(int64_t)d->rows, (int64_t)each}, one = 1, dims[HG_ONNX_RANK_MAX];
    OrtValue *ids_value = NULL, *branch = NULL;
    HG_AUTO(hg_auto_free) step *s = hg_calloc(1, sizeof *s);
    if (!s) return hg_fail_memory(err);
    hangar_code code =
        hg_tensor_over(o, ids, d->rows * each * sizeof *ids, ids_dims, 2, I64, &ids_value, err);
    if (code == HANGAR_OK)
        code = hg_tensor_over(o, &cached, sizeof cached, &one, 1, ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL, &branch,
                              err);
    if (code == HANGAR_OK) code = run_step(d, ids_value, branch, s, err);
    hg_value_free(o, &ids_value);
    hg_value_free(o, &branch);
    const void *data = NULL;
    if (code == HANGAR_OK) code = hg_tensor_view(o, d->logits, F32, 3, &data, dims, err);
    if (code != HANGAR_OK) return code;
    if (dims[0] != ids_dims[0] || dims[1] != ids_dims[1] || dims[2] < 1)
        return hg_fail(err, HANGAR_E_INVALID,
                       "the decoder's logits are [%lld, %lld, %lld] for [%lld, %lld] tokens",
                       (long long)dims[0], (long long)dims[1], (long long)dims[2], (long long)ids_dims[0],
                       (long long)ids_dims[1]);
    *out_logits = data;
    *out_vocab = (size_t)dims[2];
    return HANGAR_OK;
}

/* A slot with its rows chosen anew. */
static hangar_code select_rows(hg_decoder *d, slot *s, const size_t *from, size_t rows, hangar_err *err)
{
    const hg_onnx *o = d->o;
    const void *old = NULL;
    void *fresh = NULL;
    int64_t dims[HG_ONNX_RANK_MAX];
    hangar_code code = hg_tensor_view(o, s->value, F32, 4, &old, dims, err);
    if (code != HANGAR_OK) return code;
    size_t have = (size_t)dims[0];
    uint64_t row = 0;
    int64_t row_dims[3] = {dims[1], dims[2], dims[3]};
    if (!hg_tensor_bytes(F32, row_dims, 3, SIZE_MAX / (HG_ONNX_BEAMS_MAX + 1), &row))
        return hg_fail(err, HANGAR_E_LIMIT, "a cache row is too large");
    dims[0] = (int64_t)rows;
    OrtValue *value = NULL;
    code = hg_onnx_check(o, o->api->CreateTensorAsOrtValue(o->allocator, dims, 4, F32, &value), "cache", err);
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
