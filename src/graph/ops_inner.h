/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of operators share. */
#ifndef HG_GRAPH_OPS_INNER_H
#define HG_GRAPH_OPS_INNER_H

#include "graph/ops.h"

#define HG_OP_STANDARD ""

/* "[batch_size, 3, ?]" into out. */
const char *hg_op_shape_text(const hg_shape *s, char out[128]);
/* The two cannot be the same size. */
bool hg_op_differ(hg_dim a, hg_dim b);
/* What is known of a size that both describe. */
hg_dim hg_op_either(hg_dim a, hg_dim b);
/* Size of an axis; -1 is the last one. Not known: {-1, NULL}. */
hg_dim hg_op_dim(const hg_value *x, int axis);
/* Errors, when it is not so. */
void hg_op_misfit(hg_graph *g, const char *name, const hg_value *a, const hg_value *b);
void hg_op_need_type(hg_graph *g, const char *name, const hg_value *x, hg_onnx_type type);
void hg_op_need_real(hg_graph *g, const char *name, const hg_value *x);
void hg_op_need_rank(hg_graph *g, const char *name, const hg_value *x, int rank);
/* A node with one output. */
hg_value *hg_op_single(hg_graph *g, const char *domain, const char *op, const char *name, hg_value *const *in,
                       size_t count, hg_onnx_type type, hg_shape shape);
/* "a.b" into out. */
const char *hg_op_join(char out[HG_ONNX_NAME_MAX], const char *a, const char *b);
/* Both shapes broadcast together. */
hg_shape hg_op_broadcast(hg_graph *g, const char *name, const hg_value *a, const hg_value *b);

#endif
