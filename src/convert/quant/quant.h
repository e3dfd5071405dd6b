/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nodes that stand for a weight which the build's form changes. Each returns NULL when the form leaves that weight as it is, and then has
 * built nothing.
 */
#ifndef HG_CONVERT_QUANT_QUANT_H
#define HG_CONVERT_QUANT_QUANT_H

#include "convert/arch/blocks.h"

/* x[M, in] W^T + bias (NULL = none): [M, out]. */
hg_value *hg_quant_linear(hg_build *b, const char *name, hg_value *x, const hg_matrix *w, hg_value *bias);
/* Rows of a table [rows, width] at ids: real [.., width]. */
hg_value *hg_quant_embed(hg_build *b, const char *name, hg_value *ids, const hg_matrix *table);
/* Rows [first, first + rows) of a weight (all of it: 0 and its first size) written anew in the graph's real type; `name` is the initializer's. */
hg_value *hg_quant_param(hg_build *b, const char *name, const hg_tensor *t, uint32_t file, uint64_t first,
                         uint64_t rows);

#endif
