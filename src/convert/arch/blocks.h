/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What architectures are made of. Every block takes the name of its module behind the present scope, finds the module's weights in the
 * checkpoint under prefix + scope + name, holds their shapes to the sizes given, and names its nodes scope + name.
 * Between the blocks activations are rows [batch x sequence, width], as Gemm wants them; attention sees them as [batch, sequence, width].
 */
#ifndef HG_CONVERT_ARCH_BLOCKS_H
#define HG_CONVERT_ARCH_BLOCKS_H

#include "convert/arch.h"
#include "graph/ops.h"

/* The checkpoint has prefix + scope + leaf. */
bool hg_block_has(hg_build *b, const char *leaf);
/* A weight in its own type, or as F32 (a 16-bit one through a Cast that the engine folds). INVALID (in the graph) when it is missing, of
 * another shape, or UNSUPPORTED when it is of another type than F32, F16, BF16, F64. */
hg_value *hg_block_raw(hg_build *b, const char *leaf, uint32_t rank, const uint64_t *shape);
hg_value *hg_block_param(hg_build *b, const char *leaf, uint32_t rank, const uint64_t *shape);
hg_value *hg_block_vector(hg_build *b, const char *leaf, uint64_t size);
hg_value *hg_block_matrix(hg_build *b, const char *leaf, uint64_t rows, uint64_t columns);

/* x W^T + bias: rows [M, in] to [M, out]. */
hg_value *hg_block_linear(hg_build *b, const char *name, hg_value *x, uint64_t in, uint64_t out, bool bias);
/* (x - mean) / sqrt(var + eps) * weight + bias over the last axis; add_norm does it to x + y and gives the sum (NULL = unwanted).
 * The old names gamma and beta are found, too. */
hg_value *hg_block_norm(hg_build *b, const char *name, hg_value *x, uint64_t size, double eps);
hg_value *hg_block_add_norm(hg_build *b, const char *name, hg_value *x, hg_value *y, uint64_t size,
                            double eps, hg_value **sum);
/* A residual stream x + y whose sum is not made yet (y NULL: nothing to add), so that it can be made together with the next norm. */
typedef struct hg_stream {
    hg_value *x, *y;
} hg_stream;
/* norm(x + y); afterwards x is the sum and y is NULL, unless it was the last use of the stream. */
hg_value *hg_block_stream_norm(hg_build *b, const char *name, hg_stream *s, uint64_t size, double eps,
                               bool last);
/* table[ids]: ids [B, S] to F32 [B, S, width]. */
hg_value *hg_block_embed(hg_build *b, const char *name, hg_value *ids, uint64_t rows, uint64_t width);
/* table[start:end] as F32 [S, width]; start and end are lists of one number. */
hg_value *hg_block_positions(hg_build *b, const char *name, hg_value *start, hg_value *end, uint64_t rows,
                             uint64_t width);
/* A convolution over time with kernel 3, padding 1: [B, in, L] to [B, out, (L - 1) / stride + 1]. */
hg_value *hg_block_conv3(hg_build *b, const char *name, hg_value *x, uint64_t in, uint64_t out, int stride);

/* The list [sizes of the first two axes of x, width]: what makes rows a batch again. */
hg_value *hg_block_batch_shape(hg_build *b, const char *name, hg_value *x, uint64_t width);
/* Rows as [batch_size, sequence_length, width]. */
hg_value *hg_block_batch(hg_build *b, const char *name, hg_value *rows, hg_value *batch_shape,
                         uint64_t width);
/* A linear seen as a batch: the way of q, k and v into attention. */
hg_value *hg_block_batch_linear(hg_build *b, const char *name, hg_value *rows, hg_value *batch_shape,
                                uint64_t width, bool bias);

#endif
