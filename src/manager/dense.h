/* SPDX-License-Identifier: Apache-2.0 */
/* A Dense module of sentence-transformers: y = act(W x + b). For the manager's own files only. */
#ifndef HG_MANAGER_DENSE_H
#define HG_MANAGER_DENSE_H

#include "format/safetensors.h"
#include "manager/loaded.h"

typedef struct hg_dense hg_dense;

/*
 * The module in a folder of the repository: config.json (in_features, out_features, bias, activation_function) and model.safetensors
 * (linear.weight, linear.bias; F32, F16 or BF16). UNSUPPORTED, named, for an activation that is not known and for weights in another file.
 */
hangar_code hg_dense_open(const hg_snapshot *snap, const char *folder, hg_dense **out, hangar_err *err);
void hg_dense_free(hg_dense *d);
size_t hg_dense_in(const hg_dense *d);
size_t hg_dense_out(const hg_dense *d);
/* Number i of a tensor's bytes; dtype F32, F16 or BF16. */
float hg_dense_number(const uint8_t *bytes, hg_dtype dtype, size_t i);
/* x: [in], y: [out]; sums in double. */
void hg_dense_run(const hg_dense *d, const float *x, float *y);

#endif
