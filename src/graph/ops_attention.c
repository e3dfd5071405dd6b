/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attention and rotary positions. In a FUSED graph each is one node of com.microsoft; in a PORTABLE one the equations are written out:
 *
 *   scores = scale q k^T, soft cap, + bias, lowest where a key is padding or comes after the query;  softmax(scores) v
 *
 * GroupQueryAttention takes its mask for a length. So padding, which may lie left of the text, goes into its attention_bias and every row
 * counts as long as the batch. It wants heads of a multiple of 8 numbers: others are written out in a FUSED graph, too.
 */
#include "graph/ops_inner.h"

#include "base/mem.h"

#include <math.h>

static bool fused(const hg_graph *g)
{
    return hg_graph_style(g) == HG_STYLE_FUSED;
}

/* [B, L, heads x size] as [B, heads, L, size]. */
static hg_value *heads_first(hg_graph *g, const char *name, hg_value *x, int64_t heads)
{
    static const int64_t perm[] = {0, 2, 1, 3};
    char part[HG_ONNX_NAME_MAX];
    if (x->shape.rank == 4) return x;
    const int64_t shape[] = {0, 0, heads, hg_op_dim(x, 2).size / heads};
    x = hg_op_view(g, hg_op_join(part, name, "split"), x, shape, 4);
    return hg_op_transpose(g, hg_op_join(part, name, "heads"), x, perm);
}

/* [B, heads, S, size] as [B, S, heads x size]. */
static hg_value *heads_together(hg_graph *g, const char *name, hg_value *x, int64_t width)
{
    static const int64_t perm[] = {0, 2, 1, 3};
    char part[HG_ONNX_NAME_MAX];
    const int64_t shape[] = {0, 0, width};
    x = hg_op_transpose(g, hg_op_join(part, name, "tokens"), x, perm);
    return hg_op_view(g, name, x, shape, 3);
}

/* The past before the present, along the places. */
static hg_value *joined(hg_graph *g, const char *name, hg_value *past, hg_value *x, hg_value **present)
{
    if (past) x = hg_op_concat(g, name, (hg_value *[]){past, x}, 2, 2);
    if (past) x->shape.dims[2] = HG_SYM("total_sequence_length");
    if (present) *present = x;
    return x;
}

/* scale q k^T for q [.., S, size] and k [.., L, size]. */
static hg_value *scores_of(hg_graph *g, const char *name, hg_value *q, hg_value *k, double scale)
{
    static const int64_t perm4[] = {0, 1, 3, 2}, perm5[] = {0, 1, 2, 4, 3};
    char part[HG_ONNX_NAME_MAX];
    hg_value *turned =
        hg_op_transpose(g, hg_op_join(part, name, "key_turned"), k, k->shape.rank == 5 ? perm5 : perm4);
    hg_value *scaled = hg_op_scale(g, hg_op_join(part, name, "query_scaled"), q, scale);
    return hg_op_matmul(g, hg_op_join(part, name, "scores"), scaled, turned);
}

/* `lowest` where `allowed` is false, else 0. */
static hg_value *as_bias(hg_graph *g, const char *name, hg_value *allowed)
{
    return hg_op_where(g, name, allowed, hg_graph_real_of(g, 0), hg_graph_real_of(g, hg_op_lowest(g)));
}

/* ---- as many key heads as heads ---- */

/* int32 [B, L] as real [B, 1, 1, L]. */
static hg_value *key_padding(hg_graph *g, const char *name, hg_value *mask)
{
    char part[HG_ONNX_NAME_MAX];
    hg_value *m = hg_op_cast(g, hg_op_join(part, name, "mask_bool"), mask, HG_ONNX_BOOL);
    m = as_bias(g, hg_op_join(part, name, "mask_bias"), m);
    m = hg_op_unsqueeze(g, hg_op_join(part, name, "mask_rows"), m, 1);
    return hg_op_unsqueeze(g, hg_op_join(part, name, "mask_heads"), m, 1);
}

/* Query i sees keys 0 .. P + i: real [S, P + L]. */
static hg_value *causal_bias(hg_graph *g, const char *name, const hg_attention *a, hg_value *k)
{
    char part[HG_ONNX_NAME_MAX];
    hg_value *zero = hg_graph_int(g, 0);
    hg_value *length = hg_op_size(g, hg_op_join(part, name, "length"), a->q, 1);
    hg_value *total = hg_op_size(g, hg_op_join(part, name, "total"), k, 2);
    hg_value *first = hg_op_sub(g, hg_op_join(part, name, "past"), total, length);
    hg_value *row = hg_op_range(g, hg_op_join(part, name, "row_range"), first, total, "sequence_length");
    hg_value *column =
        hg_op_range(g, hg_op_join(part, name, "column_range"), zero, total, "total_sequence_length");
    row = hg_op_unsqueeze(g, hg_op_join(part, name, "row"), row, 1);
    column = hg_op_unsqueeze(g, hg_op_join(part, name, "column"), column, 0);
    hg_value *seen = hg_op_compare(g, "LessOrEqual", hg_op_join(part, name, "seen"), column, row);
    return as_bias(g, hg_op_join(part, name, "causal_bias"), seen);
}

static hg_value *attention_written_out(hg_graph *g, const char *name, const hg_attention *a, double scale)
{
    char part[HG_ONNX_NAME_MAX];
    hg_value *q = heads_first(g, hg_op_join(part, name, "query"), a->q, a->heads);
    hg_value *k = heads_first(g, hg_op_join(part, name, "key"), a->k, a->heads);
    hg_value *v = heads_first(g, hg_op_join(part, name, "value"), a->v, a->heads);
    k = joined(g, hg_op_join(part, name, "present_key"), a->past_k, k, a->present_k);
    v = joined(g, hg_op_join(part, name, "present_value"), a->past_v, v, a->present_v);
    hg_value *s = scores_of(g, name, q, k, scale);
    if (a->bias) s = hg_op_add(g, hg_op_join(part, name, "biased"), s, a->bias);
    if (a->causal) s = hg_op_add(g, hg_op_join(part, name, "causal"), s, causal_bias(g, name, a, k));
    if (a->mask) s = hg_op_add(g, hg_op_join(part, name, "masked"), s, key_padding(g, name, a->mask));
    s = hg_op_softmax(g, hg_op_join(part, name, "weights"), s);
    s = hg_op_matmul(g, hg_op_join(part, name, "mixed"), s, v);
    return heads_together(g, name, s, hg_op_dim(a->q, 2).size);
}

/* MultiHeadAttention: query, key, value, bias, key_padding_mask, attention_bias, past_key, past_value. */
static hg_value *attention_fused(hg_graph *g, const char *name, const hg_attention *a)
{
    hg_value *in[] = {a->q, a->k, a->v, NULL, a->mask, a->bias, a->past_k, a->past_v};
    size_t count = a->past_k ? 8 : a->bias ? 6 : a->mask ? 5 : 3;
    bool present = a->present_k && a->present_v;
    hg_node *n = hg_graph_node(g, HG_ONNX_MICROSOFT, "MultiHeadAttention", name, in, count, present ? 3 : 1);
    hg_node_int(g, n, "num_heads", a->heads);
    if (a->scale != 0) hg_node_float(g, n, "scale", (float)a->scale);
    if (a->causal) hg_node_int(g, n, "unidirectional", 1);
    if (a->mask) hg_node_float(g, n, "mask_filter_value", (float)hg_op_lowest(g));
    if (present) {
        hg_shape kept = HG_SHAPE(hg_op_dim(a->q, 0), HG_DIM(a->heads), HG_SYM("total_sequence_length"),
                                 HG_DIM(hg_op_dim(a->q, 2).size / a->heads));
        *a->present_k = hg_node_out(g, n, 1, a->q->type, kept);
        *a->present_v = hg_node_out(g, n, 2, a->q->type, kept);
    }
    return hg_node_out(g, n, 0, a->q->type, a->q->shape);
}

hg_value *hg_op_attention(hg_graph *g, const char *name, const hg_attention *a)
{
    hg_op_need_rank(g, name, a->q, 3);
    hg_dim width = hg_op_dim(a->q, 2);
    if (a->heads < 1 || width.size < 1 || width.size % a->heads != 0) {
        hg_graph_fail(g, HANGAR_E_INVALID, "%s: %lld columns for %lld heads", name, (long long)width.size,
                      (long long)a->heads);
        return a->q;
    }
    if (a->mask) hg_op_need_type(g, name, a->mask, HG_ONNX_INT32);
    if (a->k->shape.rank == 3 && hg_op_differ(hg_op_dim(a->k, 2), width)) hg_op_misfit(g, name, a->k, a->q);
    if (fused(g)) return attention_fused(g, name, a);
    double scale = a->scale != 0 ? a->scale : 1 / sqrt((double)(width.size / a->heads));
    return attention_written_out(g, name, a, scale);
}

/* ---- fewer key heads than heads ---- */

hg_causal hg_op_causal(hg_graph *g, const char *name, hg_value *ids, hg_value *mask)
{
    hg_causal c = {0};
    hg_graph_enter(g, "%s", name);
    hg_value *zero = hg_graph_int(g, 0);
    c.length = hg_op_size(g, "length", ids, 1);
    hg_value *total = hg_op_size(g, "total", mask, 1);
    c.past = hg_op_sub(g, "past", total, c.length);
    hg_value *row = hg_op_range(g, "rows", c.past, total, "sequence_length");
    hg_value *column = hg_op_range(g, "columns", zero, total, "total_sequence_length");
    c.row = hg_op_unsqueeze(g, "row", row, 1);
    c.column = hg_op_unsqueeze(g, "column", column, 0);
    c.total = hg_op_cast(g, "total_int", total, HG_ONNX_INT32);
    hg_value *last =
        hg_op_cast(g, "last_int", hg_op_sub(g, "last", total, hg_graph_int(g, 1)), HG_ONNX_INT32);
    c.seqlens =
        hg_op_expand(g, "lengths", last, hg_op_shape(g, "batch", ids, 0, 1), HG_SHAPE(hg_op_dim(ids, 0)));
    hg_value *bias = as_bias(g, "key_bias", hg_op_cast(g, "keys", mask, HG_ONNX_BOOL));
    bias = hg_op_unsqueeze(g, "key_rows", hg_op_unsqueeze(g, "key_heads", bias, 1), 1);
    const int64_t one = 1;
    hg_value *list_one = hg_graph_ints(g, &one, 1);
    hg_value *parts[] = {list_one, list_one, hg_op_shape(g, "rows_list", ids, 1, 2), list_one};
    c.padding = hg_op_expand(g, "padding", bias, hg_op_concat_ints(g, "rows_shape", parts, 4),
                             HG_SHAPE(hg_op_dim(ids, 0), HG_DIM(1), hg_op_dim(ids, 1),
                                      HG_SYM("total_sequence_length")));
    hg_graph_leave(g);
    return c;
}

/* Keys after the query and, with a window, too far before it: real [S, T]. */
static hg_value *seen_bias(hg_graph *g, const char *name, const hg_causal *c, int64_t window)
{
    char part[HG_ONNX_NAME_MAX];
    hg_value *seen = hg_op_compare(g, "LessOrEqual", hg_op_join(part, name, "seen"), c->column, c->row);
    if (window > 0) {
        hg_value *edge = hg_op_sub(g, hg_op_join(part, name, "edge"), c->row, hg_graph_int(g, window));
        hg_value *near = hg_op_compare(g, "Greater", hg_op_join(part, name, "near"), c->column, edge);
        seen = hg_op_binary(g, "And", hg_op_join(part, name, "seen_near"), seen, near);
    }
    return as_bias(g, hg_op_join(part, name, "seen_bias"), seen);
}

/* Both as one, made once for all layers with the same window. Where both are lowest the sum may not leave the range. */
static hg_value *whole_bias(hg_graph *g, const char *name, hg_causal *c, int64_t window)
{
    char part[HG_ONNX_NAME_MAX];
    size_t i = 0;
    while (i < HG_LEN(c->seen) && c->seen[i].bias && c->seen[i].window != window) i++;
    if (i < HG_LEN(c->seen) && c->seen[i].bias) return c->seen[i].bias;
    hg_value *sum =
        hg_op_add(g, hg_op_join(part, name, "bias_sum"), c->padding, seen_bias(g, name, c, window));
    sum = hg_op_binary(g, "Max", hg_op_join(part, name, "bias"), sum, hg_graph_real_of(g, hg_op_lowest(g)));
    if (i < HG_LEN(c->seen)) {
        c->seen[i].bias = sum;
        c->seen[i].window = window;
    }
    return sum;
}

void hg_op_causal_bias(hg_graph *g, const char *name, hg_causal *c, hg_value *bias)
{
    char part[HG_ONNX_NAME_MAX];
    hg_value *sum = hg_op_add(g, hg_op_join(part, name, "sum"), bias, c->padding);
    c->padding = hg_op_binary(g, "Max", name, sum, hg_graph_real_of(g, hg_op_lowest(g)));
}

static hg_value *gqa_written_out(hg_graph *g, const char *name, const hg_gqa *a, double scale)
{
    char part[HG_ONNX_NAME_MAX];
    const int64_t each = a->heads / a->kv_heads, width = a->heads * a->head_dim;
    const int64_t grouped[] = {0, a->kv_heads, each, -1, a->head_dim},
                  flat[] = {0, a->heads, -1, a->head_dim};
    hg_value *q = heads_first(g, hg_op_join(part, name, "query"), a->q, a->heads);
    hg_value *k = heads_first(g, hg_op_join(part, name, "key"), a->k, a->kv_heads);
    hg_value *v = heads_first(g, hg_op_join(part, name, "value"), a->v, a->kv_heads);
    k = joined(g, hg_op_join(part, name, "present_key"), a->past_k, k, a->present_k);
    v = joined(g, hg_op_join(part, name, "present_value"), a->past_v, v, a->present_v);
    if (each > 1) {
        q = hg_op_view(g, hg_op_join(part, name, "groups"), q, grouped, 5);
        k = hg_op_unsqueeze(g, hg_op_join(part, name, "key_groups"), k, 2);
        v = hg_op_unsqueeze(g, hg_op_join(part, name, "value_groups"), v, 2);
    }
    hg_value *s = scores_of(g, name, q, k, scale);
    if (each > 1) {
        hg_value *sizes[] = {hg_op_shape(g, hg_op_join(part, name, "scores_batch"), a->q, 0, 1),
                             hg_graph_ints(g, &a->heads, 1),
                             hg_op_shape(g, hg_op_join(part, name, "scores_rows"), a->q, 1, 2),
                             hg_op_shape(g, hg_op_join(part, name, "scores_columns"), k, 3, 4)};
        hg_value *shape = hg_op_concat_ints(g, hg_op_join(part, name, "scores_shape"), sizes, 4);
        s = hg_op_reshape(g, hg_op_join(part, name, "scores_flat"), s, shape,
                          HG_SHAPE(hg_op_dim(a->q, 0), HG_DIM(a->heads), hg_op_dim(a->q, 1),
                                   HG_SYM("total_sequence_length")));
    }
    if (a->soft_cap > 0) s = hg_op_soft_cap(g, hg_op_join(part, name, "soft_cap"), s, a->soft_cap);
    s = hg_op_add(g, hg_op_join(part, name, "biased"), s, whole_bias(g, name, a->causal, a->window));
    s = hg_op_softmax(g, hg_op_join(part, name, "weights"), s);
    if (each > 1) {
        hg_value *sizes[] = {hg_op_shape(g, hg_op_join(part, name, "weights_batch"), a->q, 0, 1),
                             hg_graph_ints(g, (const int64_t[]){a->kv_heads, each}, 2),
                             hg_op_shape(g, hg_op_join(part, name, "weights_rows"), a->q, 1, 2),
                             hg_op_shape(g, hg_op_join(part, name, "weights_columns"), k, 3, 4)};
        hg_value *shape = hg_op_concat_ints(g, hg_op_join(part, name, "weights_shape"), sizes, 4);
        s = hg_op_reshape(g, hg_op_join(part, name, "weights_groups"), s, shape,
                          HG_SHAPE(hg_op_dim(a->q, 0), HG_DIM(a->kv_heads), HG_DIM(each), hg_op_dim(a->q, 1),
                                   HG_SYM("total_sequence_length")));
    }
    s = hg_op_matmul(g, hg_op_join(part, name, "mixed"), s, v);
    if (each > 1) s = hg_op_view(g, hg_op_join(part, name, "mixed_flat"), s, flat, 4);
    return heads_together(g, name, s, width);
}

/* GroupQueryAttention: query, key, value, past_key, past_value, seqlens_k, total_sequence_length, cos, sin, position_ids, attention_bias. */
static hg_value *gqa_fused(hg_graph *g, const char *name, const hg_gqa *a)
{
    hg_value *in[] = {a->q, a->k, a->v, a->past_k,         a->past_v, a->causal->seqlens, a->causal->total,
                      NULL, NULL, NULL, a->causal->padding};
    hg_node *n = hg_graph_node(g, HG_ONNX_MICROSOFT, "GroupQueryAttention", name, in, HG_LEN(in), 3);
    hg_node_int(g, n, "num_heads", a->heads);
    hg_node_int(g, n, "kv_num_heads", a->kv_heads);
    if (a->scale != 0) hg_node_float(g, n, "scale", (float)a->scale);
    if (a->soft_cap > 0) hg_node_float(g, n, "softcap", (float)a->soft_cap);
    if (a->window > 0) hg_node_int(g, n, "local_window_size", a->window);
    hg_shape kept = HG_SHAPE(hg_op_dim(a->q, 0), HG_DIM(a->kv_heads), HG_SYM("total_sequence_length"),
                             HG_DIM(a->head_dim));
    *a->present_k = hg_node_out(g, n, 1, a->q->type, kept);
    *a->present_v = hg_node_out(g, n, 2, a->q->type, kept);
    return hg_node_out(g, n, 0, a->q->type, a->q->shape);
}

hg_value *hg_op_gqa(hg_graph *g, const char *name, const hg_gqa *a)
{
    if (a->kv_heads < 1 || a->heads % a->kv_heads != 0) {
        hg_graph_fail(g, HANGAR_E_INVALID, "%s: %lld heads for %lld key heads", name, (long long)a->heads,
                      (long long)a->kv_heads);
        return a->q;
    }
    if (hg_op_differ(hg_op_dim(a->q, 2), HG_DIM(a->heads * a->head_dim)) ||
        hg_op_differ(hg_op_dim(a->k, 2), HG_DIM(a->kv_heads * a->head_dim))) {
        hg_op_misfit(g, name, a->k, a->q);
        return a->q;
    }
    if (fused(g) && a->head_dim % 8 == 0) return gqa_fused(g, name, a);
    return gqa_written_out(g, name, a, a->scale != 0 ? a->scale : 1 / sqrt((double)a->head_dim));
}

/* ---- rotary positions ---- */

hg_rotary hg_op_rotary(hg_graph *g, const char *name, hg_value *positions, hg_value *inv_freq, int64_t dim,
                       double factor)
{
    static const int64_t one_column[] = {-1, 1};
    hg_rotary r = {.dim = dim};
    hg_onnx_type real = hg_graph_real(g);
    hg_graph_enter(g, "%s", name);
    hg_op_need_type(g, name, inv_freq, HG_ONNX_FLOAT);
    if (hg_op_differ(hg_op_dim(inv_freq, 0), HG_DIM(dim / 2)))
        hg_graph_fail(g, HANGAR_E_INTERNAL, "%s has not %lld frequencies", inv_freq->name,
                      (long long)dim / 2);
    hg_value *p = hg_op_cast(g, "positions", positions, HG_ONNX_FLOAT);
    if (fused(g))
        p = hg_op_reshape(g, "column", p, hg_graph_ints(g, one_column, 2),
                          HG_SHAPE(HG_SYM("tokens"), HG_DIM(1)));
    else p = hg_op_unsqueeze(g, "columns", hg_op_unsqueeze(g, "column", p, 2), 3);
    hg_value *angles = hg_op_mul(g, "angles", p, inv_freq);
    r.cos = hg_op_cast(g, "cos_real", hg_op_unary(g, "Cos", "cos", angles), real);
    r.sin = hg_op_cast(g, "sin_real", hg_op_unary(g, "Sin", "sin", angles), real);
    if (factor != 1) {
        r.cos = hg_op_scale(g, "cos_scaled", r.cos, factor);
        r.sin = hg_op_scale(g, "sin_scaled", r.sin, factor);
    }
    if (fused(g)) {
        hg_value *sizes = hg_op_shape(g, "sizes", positions, 0, 2);
        hg_value *count = hg_op_size(g, "count", r.cos, 0);
        hg_value *each = hg_op_range(g, "each", hg_graph_int(g, 0), count, "tokens");
        r.index = hg_op_reshape(g, "index", each, sizes, positions->shape);
    }
    hg_graph_leave(g);
    return r;
}

/* [x1, x2] to [x1 cos - x2 sin, x2 cos + x1 sin] over the first `dim` numbers of each head. */
static hg_value *rotate_written_out(hg_graph *g, const char *name, hg_value *x, const hg_rotary *r,
                                    int64_t heads, int64_t head_dim)
{
    char part[HG_ONNX_NAME_MAX];
    const int64_t split[] = {0, 0, heads, head_dim}, together[] = {0, 0, heads * head_dim};
    const int64_t half = r->dim / 2, sizes[] = {half, half, head_dim - r->dim};
    bool rest = head_dim > r->dim;
    hg_value *p[3] = {0};
    x = hg_op_view(g, hg_op_join(part, name, "split"), x, split, 4);
    hg_op_split(g, hg_op_join(part, name, "halves"), x, 3, sizes, rest ? 3 : 2, p);
    hg_value *a = hg_op_mul(g, hg_op_join(part, name, "first_cos"), p[0], r->cos);
    hg_value *b = hg_op_mul(g, hg_op_join(part, name, "second_sin"), p[1], r->sin);
    hg_value *c = hg_op_mul(g, hg_op_join(part, name, "second_cos"), p[1], r->cos);
    hg_value *d = hg_op_mul(g, hg_op_join(part, name, "first_sin"), p[0], r->sin);
    hg_value *parts[] = {hg_op_sub(g, hg_op_join(part, name, "first"), a, b),
                         hg_op_add(g, hg_op_join(part, name, "second"), c, d), p[2]};
    x = hg_op_concat(g, hg_op_join(part, name, "turned"), parts, rest ? 3 : 2, 3);
    return hg_op_view(g, name, x, together, 3);
}

hg_value *hg_op_rotate(hg_graph *g, const char *name, hg_value *x, const hg_rotary *r, int64_t heads,
                       int64_t head_dim)
{
    hg_op_need_rank(g, name, x, 3);
    if (r->dim < 2 || r->dim % 2 || r->dim > head_dim) {
        hg_graph_fail(g, HANGAR_E_INVALID, "%s: %lld of %lld numbers turn", name, (long long)r->dim,
                      (long long)head_dim);
        return x;
    }
    if (!fused(g)) return rotate_written_out(g, name, x, r, heads, head_dim);
    hg_value *in[] = {x, r->index, r->cos, r->sin};
    hg_node *n = hg_graph_node(g, HG_ONNX_MICROSOFT, "RotaryEmbedding", name, in, 4, 1);
    if (r->dim < head_dim) hg_node_int(g, n, "rotary_embedding_dim", r->dim);
    hg_node_int(g, n, "num_heads", r->dim < head_dim ? heads : 0);
    return hg_node_out(g, n, 0, x->type, x->shape);
}
