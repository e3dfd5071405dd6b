/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What architectures are made of. Every block takes the name of its module behind the present scope, finds the module's weights in the
 * checkpoint under prefix + scope + name, holds their shapes to the sizes given, and names its nodes scope + name.
 * Between the blocks activations are rows [batch x sequence, width], as Gemm wants them; attention sees them as [batch, sequence, width].
 * What becomes of a weight (quantized, in 16 bits, left where it is) is the build's form: no architecture asks for it.
 */
#ifndef HG_CONVERT_ARCH_BLOCKS_H
#define HG_CONVERT_ARCH_BLOCKS_H

#include "convert/arch.h"
#include "graph/ops.h"

/* ---- weights ---- */

/* The checkpoint has prefix + scope + leaf. */
bool hg_block_has(hg_build *b, const char *leaf);
/* How many rows (or columns: axis 1) the tensor prefix + scope + leaf has; 0 when it is not there or has no such axis. */
uint64_t hg_block_size(hg_build *b, const char *leaf, uint32_t axis);
/* A weight in its own type, or in the graph's real type (another one through a Cast that the engine folds, unless the form writes it anew).
 * INVALID (in the graph) when it is missing, of another shape, or UNSUPPORTED when it is of another type than F32, F16, BF16, F64. */
hg_value *hg_block_raw(hg_build *b, const char *leaf, uint32_t rank, const uint64_t *shape);
hg_value *hg_block_param(hg_build *b, const char *leaf, uint32_t rank, const uint64_t *shape);
hg_value *hg_block_vector(hg_build *b, const char *leaf, uint64_t size);
hg_value *hg_block_matrix(hg_build *b, const char *leaf, uint64_t rows, uint64_t columns);
/* Row `row` of a matrix, as [1, columns]: it points into the same bytes. */
hg_value *hg_block_row(hg_build *b, const char *leaf, uint64_t row, uint64_t rows, uint64_t columns);

/* ---- linear ---- */

/* y = x W^T + bias, in all its variants. */
typedef struct hg_linear {
    uint64_t in, out;
    const char *weight; /* leaf of the tensor; NULL = name + ".weight" */
    const char *bias;   /* leaf of the bias; NULL = none */
    uint64_t total,
        first; /* rows [first, first + out) of a tensor (and bias) of `total` rows; total 0 = of all of it */
    bool turned; /* the tensor is [in, out] */
    bool exact;  /* never quantized: routers and other small things that decide */
} hg_linear;
hg_value *hg_block_linear_of(hg_build *b, const char *name, hg_value *x, const hg_linear *how);
/* x W^T + bias: rows [M, in] to [M, out]; weights at name.weight, name.bias. */
hg_value *hg_block_linear(hg_build *b, const char *name, hg_value *x, uint64_t in, uint64_t out, bool bias);

/* A matrix of the checkpoint as a Linear sees it: what a form quantizes. */
typedef struct hg_matrix {
    const char *name; /* of the tensor */
    const hg_tensor *tensor;
    uint32_t file;
    uint64_t in, out, first; /* outputs first .. first + out of the tensor */
    bool turned;             /* [in, out]; else [out, in] */
} hg_matrix;

/* ---- norms ---- */

/* (x - mean) / sqrt(var + eps) * weight + bias over the last axis; add_norm does it to x + y and gives the sum (NULL = unwanted).
 * The old names gamma and beta are found, too; a checkpoint may have no bias. */
hg_value *hg_block_norm(hg_build *b, const char *name, hg_value *x, uint64_t size, double eps);
hg_value *hg_block_add_norm(hg_build *b, const char *name, hg_value *x, hg_value *y, uint64_t size,
                            double eps, hg_value **sum);
/* x / sqrt(mean(x^2) + eps) * (weight + plus) over the last axis. */
hg_value *hg_block_rms_norm(hg_build *b, const char *name, hg_value *x, uint64_t size, double eps,
                            double plus);
hg_value *hg_block_add_rms_norm(hg_build *b, const char *name, hg_value *x, hg_value *y, uint64_t size,
                                double eps, double plus, hg_value **sum);
/* A residual stream x + y whose sum is not made yet (y NULL: nothing to add), so that it can be made together with the next norm. */
typedef struct hg_stream {
    hg_value *x, *y;
} hg_stream;
/* norm(x + y); afterwards x is the sum and y is NULL, unless it was the last use of the stream. */
hg_value *hg_block_stream_norm(hg_build *b, const char *name, hg_stream *s, uint64_t size, double eps,
                               bool last);
hg_value *hg_block_stream_rms_norm(hg_build *b, const char *name, hg_stream *s, uint64_t size, double eps,
                                   double plus, bool last);

/* ---- tables, convolutions ---- */

/* table[ids]: ids [B, S] to real [B, S, width]. */
hg_value *hg_block_embed(hg_build *b, const char *name, hg_value *ids, uint64_t rows, uint64_t width);
/* table[start:end] as reals [S, width]; start and end are lists of one number. */
hg_value *hg_block_positions(hg_build *b, const char *name, hg_value *start, hg_value *end, uint64_t rows,
                             uint64_t width);
/* A convolution over time with kernel 3, padding 1: [B, in, L] to [B, out, (L - 1) / stride + 1]. */
hg_value *hg_block_conv3(hg_build *b, const char *name, hg_value *x, uint64_t in, uint64_t out, int stride);

/* ---- batches ---- */

/* The list [sizes of the first two axes of x, width]: what makes rows a batch again. */
hg_value *hg_block_batch_shape(hg_build *b, const char *name, hg_value *x, uint64_t width);
/* Rows as [batch_size, sequence_length, width]. */
hg_value *hg_block_batch(hg_build *b, const char *name, hg_value *rows, hg_value *batch_shape,
                         uint64_t width);
/* A linear seen as a batch: the way of q, k and v into attention. */
hg_value *hg_block_batch_linear(hg_build *b, const char *name, hg_value *rows, hg_value *batch_shape,
                                uint64_t width, bool bias);

/* ---- inputs, outputs ---- */

/* An input of the model that is FLOAT whatever the graph's real type is (pictures, sounds, what another graph gave): in the real type. */
hg_value *hg_block_input(hg_build *b, const char *name, hg_shape shape);
/* An output of the model that is FLOAT whatever the graph's real type is. */
void hg_block_output(hg_build *b, const char *name, hg_value *x);

/* ---- config.json ---- */

/* The activation that `key` names; UNSUPPORTED when it is not known. */
hg_act hg_block_act(hg_hfconfig *c, const char *key, const char *def);
/* What no architecture takes: code of the repository's own (auto_map), weights quantized by others. */
void hg_block_refuse_common(hg_hfconfig *c);

#endif
