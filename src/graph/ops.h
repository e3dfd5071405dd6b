/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operators a builder uses, one function each. Every one takes the node's name (behind the present scope) and its inputs, holds types and
 * shapes to each other, and gives the output with the shape it can know. D, M, N, ... stand for sizes.
 * Standard operators are those of opset 17 that mean the same up to 21; the others are of com.microsoft 1.
 */
#ifndef HG_GRAPH_OPS_H
#define HG_GRAPH_OPS_H

#include "graph/graph.h"

typedef enum hg_act {
    HG_ACT_GELU,
    HG_ACT_GELU_NEW,
    HG_ACT_QUICK_GELU,
    HG_ACT_RELU,
    HG_ACT_SILU,
    HG_ACT_TANH
} hg_act;
/* "gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "quick_gelu", "relu", "silu", "swish", "tanh"; false for others. */
bool hg_act_parse(const char *name, hg_act *out);

/* The same numbers in another type. */
hg_value *hg_op_cast(hg_graph *g, const char *name, hg_value *x, hg_onnx_type type);
/* x[M, K] w[N, K]^T + b[N]: a Linear as checkpoints store it. b may be NULL. */
hg_value *hg_op_linear(hg_graph *g, const char *name, hg_value *x, hg_value *w, hg_value *b);
/* Element by element, with broadcasting. */
hg_value *hg_op_add(hg_graph *g, const char *name, hg_value *a, hg_value *b);
hg_value *hg_op_mul(hg_graph *g, const char *name, hg_value *a, hg_value *b);
/* gelu(x) = x Phi(x); gelu_new is its tanh form; quick_gelu(x) = x sigmoid(1.702 x). */
hg_value *hg_op_act(hg_graph *g, const char *name, hg_value *x, hg_act act);
/* Over the last axis: (x - mean) / sqrt(var + eps) * scale[D] + shift[D]. */
hg_value *hg_op_layer_norm(hg_graph *g, const char *name, hg_value *x, hg_value *scale, hg_value *shift,
                           float eps);
/* The same of x + y, which is also given as *sum when that is not NULL. x and y are [M, D]. */
hg_value *hg_op_add_layer_norm(hg_graph *g, const char *name, hg_value *x, hg_value *y, hg_value *scale,
                               hg_value *shift, float eps, hg_value **sum);
/* data taken at indices along an axis; a scalar index takes the axis away. */
hg_value *hg_op_gather(hg_graph *g, const char *name, hg_value *data, hg_value *indices, int axis);
/* The same bytes in another shape; `shape` has the numbers, `result` what is known of them. */
hg_value *hg_op_reshape(hg_graph *g, const char *name, hg_value *x, hg_value *shape, hg_shape result);
/* [.., last] as rows [-1, last]. */
hg_value *hg_op_rows(hg_graph *g, const char *name, hg_value *x);
/* Axes in the order of perm, which has as many entries as x has axes. */
hg_value *hg_op_transpose(hg_graph *g, const char *name, hg_value *x, const int64_t *perm);
/* Lists of whole numbers, one behind the other. */
hg_value *hg_op_concat_ints(hg_graph *g, const char *name, hg_value *const *parts, size_t count);
/* The sizes of axes [start, end) of x, as a list. */
hg_value *hg_op_shape(hg_graph *g, const char *name, hg_value *x, int start, int end);
/* x[start:end] along axis 0; start and end are lists of one number; `size` is what is known of end - start. */
hg_value *hg_op_slice(hg_graph *g, const char *name, hg_value *x, hg_value *start, hg_value *end,
                      hg_dim size);
/* x[B, C, L] w[M, C, K] + b[M]: [B, M, (L + 2 pad - K) / stride + 1]. */
hg_value *hg_op_conv1d(hg_graph *g, const char *name, hg_value *x, hg_value *w, hg_value *b, int stride,
                       int pad);
/* Zeros of a shape whose sizes are all known. */
hg_value *hg_op_zeros(hg_graph *g, const char *name, hg_onnx_type type, hg_shape shape);

/* softmax(q k^T / sqrt(head_dim) + mask) v over `heads` heads. */
typedef struct hg_attention {
    int64_t heads;
    hg_value *q;               /* [B, S, D] */
    hg_value *k, *v;           /* [B, L, D], or [B, heads, L, head_dim] */
    hg_value *mask;            /* int32 [B, L]: 0 where a key is padding; NULL = none */
    hg_value *past_k, *past_v; /* [B, heads, P, head_dim], put before k and v; NULL = none */
    bool causal;
    hg_value **present_k,
        **present_v; /* past and k (v) together, [B, heads, P + L, head_dim]; NULL = not wanted */
} hg_attention;
/* [B, S, D]. */
hg_value *hg_op_attention(hg_graph *g, const char *name, const hg_attention *a);

/* cond (bool, one element) ? then : else; the outputs are those of the branches, of type float, `count` shapes are given. */
void hg_op_if(hg_graph *g, const char *name, hg_value *cond, hg_branch *then_branch, hg_branch *else_branch,
              const hg_shape *shapes, size_t count, hg_value **outputs);

#endif
