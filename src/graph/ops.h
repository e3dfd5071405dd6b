/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operators a builder uses, one function each. Every one takes the node's name (behind the present scope) and its inputs, holds types and
 * shapes to each other, and gives the output with the shape it can know. B, S, D, M, N, ... stand for sizes; "a list" is int64 of rank 1.
 * Standard operators are those of opset 17 that mean the same up to 21; in a FUSED graph some become one node of com.microsoft 1, in a
 * PORTABLE one the same equations are written out. "Real" is the graph's real type, FLOAT unless told otherwise.
 */
#ifndef HG_GRAPH_OPS_H
#define HG_GRAPH_OPS_H

#include "graph/graph.h"

/* ---- element by element (ops.c), with broadcasting ---- */

typedef enum hg_act {
    HG_ACT_GELU,
    HG_ACT_GELU_NEW,
    HG_ACT_QUICK_GELU,
    HG_ACT_RELU,
    HG_ACT_SILU,
    HG_ACT_TANH,
    HG_ACT_SIGMOID
} hg_act;
/* "gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "quick_gelu", "relu", "silu", "swish", "tanh", "sigmoid"; false for others. */
bool hg_act_parse(const char *name, hg_act *out);
/* gelu(x) = x Phi(x); gelu_new is its tanh form; quick_gelu(x) = x sigmoid(1.702 x); silu(x) = x sigmoid(x). */
hg_value *hg_op_act(hg_graph *g, const char *name, hg_value *x, hg_act act);

hg_value *hg_op_add(hg_graph *g, const char *name, hg_value *a, hg_value *b);
hg_value *hg_op_sub(hg_graph *g, const char *name, hg_value *a, hg_value *b);
hg_value *hg_op_mul(hg_graph *g, const char *name, hg_value *a, hg_value *b);
hg_value *hg_op_div(hg_graph *g, const char *name, hg_value *a, hg_value *b);
/* x times, x plus a number; x is of the graph's real type. */
hg_value *hg_op_scale(hg_graph *g, const char *name, hg_value *x, double number);
hg_value *hg_op_shift(hg_graph *g, const char *name, hg_value *x, double number);
/* cap tanh(x / cap). */
hg_value *hg_op_soft_cap(hg_graph *g, const char *name, hg_value *x, double cap);
/* One of Abs, Ceil, Cos, Erf, Exp, Floor, Log, Neg, Not, Relu, Sigmoid, Sign, Sin, Sqrt, Tanh. */
hg_value *hg_op_unary(hg_graph *g, const char *op, const char *name, hg_value *x);
/* One of And, Max, Min, Or, Pow: the type stays. */
hg_value *hg_op_binary(hg_graph *g, const char *op, const char *name, hg_value *a, hg_value *b);
/* One of Equal, Less, LessOrEqual, Greater, GreaterOrEqual: bool. */
hg_value *hg_op_compare(hg_graph *g, const char *op, const char *name, hg_value *a, hg_value *b);
/* What stands for minus infinity in a mask: it vanishes in a softmax, and a row of nothing else stays finite. The lowest number of FLOAT, to
 * which no score adds anything; half of that of FLOAT16, where a sum with a score would leave the range. */
double hg_op_lowest(const hg_graph *g);
hg_value *hg_op_where(hg_graph *g, const char *name, hg_value *cond, hg_value *yes, hg_value *no);
/* The same numbers in another type; x itself when it has that type. */
hg_value *hg_op_cast(hg_graph *g, const char *name, hg_value *x, hg_onnx_type type);

/* ---- products, sums, norms (ops.c, ops_norm.c) ---- */

/* x[M, K] w[N, K]^T + b[N]: a Linear as checkpoints store it. b may be NULL. */
hg_value *hg_op_linear(hg_graph *g, const char *name, hg_value *x, hg_value *w, hg_value *b);
/* The same with w[K, N]. */
hg_value *hg_op_linear_turned(hg_graph *g, const char *name, hg_value *x, hg_value *w, hg_value *b);
/* a[.., M, K] b[.., K, N]; the axes before are broadcast. */
hg_value *hg_op_matmul(hg_graph *g, const char *name, hg_value *a, hg_value *b);
/* Over the last axis. */
hg_value *hg_op_softmax(hg_graph *g, const char *name, hg_value *x);
/* One of ReduceMax, ReduceMean, ReduceMin, ReduceSum, ReduceL2 over one axis, which stays with size 1 if `keep`. */
hg_value *hg_op_reduce(hg_graph *g, const char *op, const char *name, hg_value *x, int axis, bool keep);
/* Where the largest is along an axis, which goes away: int64. Of equal ones the first. */
hg_value *hg_op_argmax(hg_graph *g, const char *name, hg_value *x, int axis);
/* The k largest of the last axis, in falling order: values and (int64) places. */
void hg_op_top_k(hg_graph *g, const char *name, hg_value *x, int64_t k, hg_value **out_values,
                 hg_value **out_places);
/* Running sum along an axis; int64. */
hg_value *hg_op_cumsum(hg_graph *g, const char *name, hg_value *x, int axis);

/* Over the last axis: (x - mean) / sqrt(var + eps) * scale[D] + shift[D]; shift NULL = 0. */
hg_value *hg_op_layer_norm(hg_graph *g, const char *name, hg_value *x, hg_value *scale, hg_value *shift,
                           double eps);
/* The same of x + y, which is also given as *sum when that is not NULL. x and y are [M, D]. */
hg_value *hg_op_add_layer_norm(hg_graph *g, const char *name, hg_value *x, hg_value *y, hg_value *scale,
                               hg_value *shift, double eps, hg_value **sum);
/* Over the last axis: x / sqrt(mean(x^2) + eps) * scale[D]. */
hg_value *hg_op_rms_norm(hg_graph *g, const char *name, hg_value *x, hg_value *scale, double eps);
hg_value *hg_op_add_rms_norm(hg_graph *g, const char *name, hg_value *x, hg_value *y, hg_value *scale,
                             double eps, hg_value **sum);
/* x[B, C, ..]: each channel of each example by itself to mean 0 and variance 1, then scale[C], shift[C]. */
hg_value *hg_op_instance_norm(hg_graph *g, const char *name, hg_value *x, hg_value *scale, hg_value *shift,
                              double eps);

/* ---- shapes (ops_shape.c) ---- */

/* data taken at indices along an axis; a scalar index takes the axis away. */
hg_value *hg_op_gather(hg_graph *g, const char *name, hg_value *data, hg_value *indices, int axis);
/* out[i][j][k] = data[i][j][indices[i][j][k]]: along the last axis; the other axes are those of `indices`. */
hg_value *hg_op_gather_last(hg_graph *g, const char *name, hg_value *data, hg_value *indices);
/* The same bytes in another shape; `shape` (a list) has the numbers, `result` what is known of them. */
hg_value *hg_op_reshape(hg_graph *g, const char *name, hg_value *x, hg_value *shape, hg_shape result);
/* The same with numbers known now: 0 = as in x, -1 = what is left. */
hg_value *hg_op_view(hg_graph *g, const char *name, hg_value *x, const int64_t *shape, size_t count);
/* [.., last] as rows [-1, last]. */
hg_value *hg_op_rows(hg_graph *g, const char *name, hg_value *x);
/* Axes in the order of perm, which has as many entries as x has axes. */
hg_value *hg_op_transpose(hg_graph *g, const char *name, hg_value *x, const int64_t *perm);
/* A new axis of size 1. */
hg_value *hg_op_unsqueeze(hg_graph *g, const char *name, hg_value *x, int axis);
/* An axis of size 1 goes away. */
hg_value *hg_op_squeeze(hg_graph *g, const char *name, hg_value *x, int axis);
/* x broadcast to `shape` (a list); `result` is what is known of it. */
hg_value *hg_op_expand(hg_graph *g, const char *name, hg_value *x, hg_value *shape, hg_shape result);
/* One behind the other along an axis (not counted from the end). */
hg_value *hg_op_concat(hg_graph *g, const char *name, hg_value *const *parts, size_t count, int axis);
/* Lists of whole numbers, one behind the other. */
hg_value *hg_op_concat_ints(hg_graph *g, const char *name, hg_value *const *parts, size_t count);
/* Cuts an axis into pieces of these sizes, which are all of it. */
void hg_op_split(hg_graph *g, const char *name, hg_value *x, int axis, const int64_t *sizes, size_t count,
                 hg_value **out);
/* The same with sizes that are counted when the graph runs: `sizes`, a list of `count` numbers. */
void hg_op_split_by(hg_graph *g, const char *name, hg_value *x, int axis, hg_value *sizes, size_t count,
                    const char *symbol, hg_value **out);
/* The sizes of axes [start, end) of x, as a list. */
hg_value *hg_op_shape(hg_graph *g, const char *name, hg_value *x, int start, int end);
/* The size of one axis as a scalar int64. */
hg_value *hg_op_size(hg_graph *g, const char *name, hg_value *x, int axis);
/* x[start:end] along axis 0; start and end are lists of one number; `size` is what is known of end - start. */
hg_value *hg_op_slice(hg_graph *g, const char *name, hg_value *x, hg_value *start, hg_value *end,
                      hg_dim size);
/* The same along any axis; a negative start or end counts from the axis's end. */
hg_value *hg_op_slice_axis(hg_graph *g, const char *name, hg_value *x, int axis, hg_value *start,
                           hg_value *end, hg_dim size);
/* 0, 1, .. below a scalar int64, from another: [N]. */
hg_value *hg_op_range(hg_graph *g, const char *name, hg_value *from, hg_value *below, const char *symbol);
/* Zeros of a shape whose sizes are all known. */
hg_value *hg_op_zeros(hg_graph *g, const char *name, hg_onnx_type type, hg_shape shape);
/* The places along the last axis where a bool of rank 1 or 2 is true, row after row: int64 [N]. */
hg_value *hg_op_where_true(hg_graph *g, const char *name, hg_value *x);

/* ---- convolutions (ops_norm.c) ---- */

typedef struct hg_conv {
    int64_t stride, pad, groups; /* the same on every axis; 0 = 1, 0, 1 */
    int64_t last_stride;         /* of the second axis when it is another; 0 = as the first */
} hg_conv;
/* x[B, C, L..] w[M, C / groups, K..] + b[M] (NULL = none): one or two axes behind the channels. */
hg_value *hg_op_conv(hg_graph *g, const char *name, hg_value *x, hg_value *w, hg_value *b, hg_conv how);

/* ---- attention (ops_attention.c) ---- */

/* softmax(scale q k^T + bias + mask) v over `heads` heads: encoders, and decoders with as many key heads as heads. */
typedef struct hg_attention {
    int64_t heads;
    double scale;              /* 0 = 1 / sqrt(head_dim) */
    hg_value *q;               /* [B, S, heads x head_dim] */
    hg_value *k, *v;           /* [B, L, heads x head_dim], or [B, heads, L, head_dim] */
    hg_value *mask;            /* int32 [B, L]: 0 where a key is padding; NULL = none */
    hg_value *bias;            /* [B or 1, heads or 1, S, P + L], added to the scores; NULL = none */
    hg_value *past_k, *past_v; /* [B, heads, P, head_dim], put before k and v; NULL = none */
    bool causal;               /* query i sees keys 0 .. P + i */
    hg_value **present_k,
        **present_v; /* past and k (v) together, [B, heads, P + L, head_dim]; NULL = not wanted */
} hg_attention;
/* [B, S, heads x head_dim]. */
hg_value *hg_op_attention(hg_graph *g, const char *name, const hg_attention *a);

/* What all layers of a decoder share: made once by hg_op_causal. */
typedef struct hg_causal {
    hg_value *length, *past;   /* S and P, scalar int64 */
    hg_value *seqlens, *total; /* int32 [B] and int32 scalar, as GroupQueryAttention wants them */
    hg_value *padding;         /* real [B, 1 or heads, S, T]: lowest where a key is padding */
    hg_value *row, *column;    /* int64 [S, 1] and [1, T]: the places of queries and keys */
    struct {
        int64_t window;
        hg_value *bias; /* padding, and lowest where a key is not seen; made when it is first needed */
    } seen[2];
} hg_causal;
/*
 * ids [B, S]; mask int64 [B, T], T = P + S, 0 where a key is padding (left of the text). P comes from the mask and not from the cache's shape, so that
 * an engine may keep the cache in tensors that are longer than what they hold.
 */
hg_causal hg_op_causal(hg_graph *g, const char *name, hg_value *ids, hg_value *mask);
/* What is added to the scores of all layers on top of the padding: real [1 or B, heads or 1, 1 or S, T] (ALiBi). */
void hg_op_causal_bias(hg_graph *g, const char *name, hg_causal *c, hg_value *bias);

/* Grouped-query attention with a cache: each of `kv_heads` keys serves heads / kv_heads queries; causal. */
typedef struct hg_gqa {
    hg_causal *causal;
    int64_t heads, kv_heads, head_dim;
    double scale;                      /* 0 = 1 / sqrt(head_dim) */
    double soft_cap;                   /* of the scores; 0 = none */
    int64_t window;                    /* a query sees itself and window - 1 keys before it; 0 = all */
    hg_value *q;                       /* [B, S, heads x head_dim] */
    hg_value *k, *v;                   /* [B, S, kv_heads x head_dim] */
    hg_value *past_k, *past_v;         /* [B, kv_heads, P, head_dim] */
    hg_value **present_k, **present_v; /* [B, kv_heads, T, head_dim] */
} hg_gqa;
/* [B, S, heads x head_dim]. */
hg_value *hg_op_gqa(hg_graph *g, const char *name, const hg_gqa *a);

/* ---- rotary positions (ops_attention.c) ---- */

/* cos and sin of every position's angles, made once for all layers. */
typedef struct hg_rotary {
    int64_t dim;         /* how many of a head's numbers turn; even */
    hg_value *cos, *sin; /* FUSED: [B S, dim / 2]; PORTABLE: [B, S, 1, dim / 2] */
    hg_value *index;     /* FUSED: the row of each token, int64 [B, S] */
} hg_rotary;
/* Angle j of position p is p inv_freq[j]; inv_freq is FLOAT [dim / 2]; cos and sin are multiplied by `factor`. */
hg_rotary hg_op_rotary(hg_graph *g, const char *name, hg_value *positions, hg_value *inv_freq, int64_t dim,
                       double factor);
/* x[B, S, heads x head_dim]: in each head, number j and number j + dim / 2 of the first `dim` turn by angle j (Su et al. 2021, in halves). */
hg_value *hg_op_rotate(hg_graph *g, const char *name, hg_value *x, const hg_rotary *r, int64_t heads,
                       int64_t head_dim);

/* cond (bool, one element) ? then : else; the outputs are those of the branches, in type as in number; `count` shapes are given. */
void hg_op_if(hg_graph *g, const char *name, hg_value *cond, hg_branch *then_branch, hg_branch *else_branch,
              const hg_shape *shapes, size_t count, hg_value **outputs);

#endif
