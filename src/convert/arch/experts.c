/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/arch/experts.h"

#include <stdio.h>

/* Who goes where. N tokens, k choices each. */
typedef struct route {
    hg_value *weights; /* real [N, k]: how much a choice counts */
    hg_value *counts;  /* [count]: tokens of each expert */
    hg_value *tokens;  /* [N k]: the tokens, sorted by expert */
    hg_value *places;  /* [N, k]: where a choice lies in that order */
} route;

/* p and its largest entries. The router decides, so it is never quantized. */
static hg_value *choices(hg_build *b, const hg_experts *e, hg_value *x, hg_value **weights)
{
    char weight[HG_ONNX_NAME_MAX];
    hg_value *chosen;
    snprintf(weight, sizeof weight, "%s.weight", e->router);
    hg_value *p =
        hg_block_linear_of(b, e->router, x,
                           &(hg_linear){.in = e->width, .out = e->count, .weight = weight, .exact = true});
    p = hg_op_softmax(b->g, "probabilities", p);
    hg_op_top_k(b->g, "top", p, e->chosen, weights, &chosen);
    if (e->normalized)
        *weights = hg_op_div(b->g, "weights", *weights,
                             hg_op_reduce(b->g, "ReduceSum", "weights_sum", *weights, -1, true));
    return chosen;
}

/* Sorts by counting: an expert's tokens lie behind those of the experts before it, in their own order. */
static route sorted(hg_build *b, const hg_experts *e, hg_value *x)
{
    static const int64_t flat[] = {-1};
    int64_t numbers[HG_EXPERTS_MAX];
    route r;
    for (uint32_t i = 0; i < e->count; i++) numbers[i] = i;
    hg_value *chosen = choices(b, e, x, &r.weights); /* [N, k] */
    hg_value *all = hg_op_reshape(b->g, "all", hg_graph_ints(b->g, numbers, e->count),
                                  hg_graph_ints(b->g, (const int64_t[]){e->count, 1, 1}, 3),
                                  HG_SHAPE(HG_DIM(e->count), HG_DIM(1), HG_DIM(1)));
    hg_value *hits = hg_op_compare(b->g, "Equal", "hits", all, hg_op_unsqueeze(b->g, "choices", chosen, 0));
    hits = hg_op_reduce(b->g, "ReduceSum", "hits_token", hg_op_cast(b->g, "hits_int", hits, HG_ONNX_INT64), 2,
                        false); /* [count, N]: 0 or 1 */
    r.counts = hg_op_reduce(b->g, "ReduceSum", "counts", hits, 1, false);
    r.tokens = hg_op_where_true(b->g, "tokens", hg_op_cast(b->g, "hits_bool", hits, HG_ONNX_BOOL));
    hg_value *order = hg_op_cumsum(b->g, "order", hg_op_view(b->g, "hits_flat", hits, flat, 1), 0);
    order = hg_op_sub(b->g, "order_zero", order, hg_graph_int(b->g, 1)); /* [count N] */
    hg_value *length = hg_op_size(b->g, "length", x, 0);
    hg_value *token =
        hg_op_unsqueeze(b->g, "token", hg_op_range(b->g, "range", hg_graph_int(b->g, 0), length, "rows"), 1);
    hg_value *cell = hg_op_add(b->g, "cell", hg_op_mul(b->g, "cell_row", chosen, length), token);
    r.places = hg_op_gather(b->g, "places", order, cell, 0);
    return r;
}

static hg_value *expert(hg_build *b, const hg_experts *e, uint32_t i, hg_value *x)
{
    hg_graph_enter(b->g, "%s.%u", e->stack, i);
    hg_value *gate = hg_block_linear(b, e->gate, x, e->width, e->inner, false);
    hg_value *up = hg_block_linear(b, e->up, x, e->width, e->inner, false);
    x = hg_op_mul(b->g, "gated", hg_op_act(b->g, "act", gate, e->act), up);
    x = hg_block_linear(b, e->down, x, e->inner, e->width, false);
    hg_graph_leave(b->g);
    return x;
}

/* A mixture of experts. */
hg_value *hg_block_experts(hg_build *b, const hg_experts *e, hg_value *x)
{
    hg_value *pieces[HG_EXPERTS_MAX];
    if (e->count < 1 || e->count > HG_EXPERTS_MAX || e->chosen < 1 || e->chosen > e->count) {
        hg_graph_fail(b->g, HANGAR_E_UNSUPPORTED, "%u of %u experts (1 to %d are known)", e->chosen, e->count,
                      HG_EXPERTS_MAX);
        return x;
    }
    route r = sorted(b, e, x);
    hg_value *y = hg_op_gather(b->g, "sorted", x, r.tokens, 0);
    hg_op_split_by(b->g, "pieces", y, 0, r.counts, e->count, "chosen", pieces);
    for (uint32_t i = 0; i < e->count; i++) pieces[i] = expert(b, e, i, pieces[i]);
    y = hg_op_concat(b->g, "together", pieces, e->count, 0);
    y = hg_op_gather(b->g, "back", y, r.places, 0); /* [N, k, width] */
    y = hg_op_mul(b->g, "weighted", y, hg_op_unsqueeze(b->g, "weights_column", r.weights, 2));
    return hg_op_reduce(b->g, "ReduceSum", "sum", y, 1, false);
}
