/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The structure of an emitted graph, read again from its bytes as any other program would: only operators of ops.def, with as many inputs and
 * outputs as they take and element types that agree; every name made once and before it is used; every weight's bytes as long as its
 * type and shape ask for, with no other external_data keys than location, offset and length, at a location that was announced, inside
 * the file. No functions, training parts, sparse tensors, or string attributes.
 */
#ifndef HG_GRAPH_CHECK_H
#define HG_GRAPH_CHECK_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* A file that weights may lie in. */
typedef struct hg_onnx_file {
    const char *location;
    uint64_t size; /* UINT64_MAX = not looked at */
} hg_onnx_file;

typedef struct hg_onnx_stats {
    size_t nodes; /* those of branches, too */
    size_t weights;
    uint64_t weight_bytes;
    size_t inputs, outputs;
} hg_onnx_stats;

/* INVALID (or LIMIT, UNSUPPORTED for an operator or domain that is not allowed) names the node or tensor. out may be NULL. */
hangar_code hg_onnx_check(const uint8_t *bytes, uint64_t len, const hg_onnx_file *files, size_t file_count,
                          hg_onnx_stats *out, hangar_err *err);

#endif
