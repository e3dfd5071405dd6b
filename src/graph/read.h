/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ONNX file from bytes of anybody's. Before the protobuf reader sees it, a pass without recursion and without memory holds the nesting
 * of messages to HG_ONNX_DEPTH_MAX; while it works, a budget that grows with the file bounds its memory.
 */
#ifndef HG_GRAPH_READ_H
#define HG_GRAPH_READ_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HG_ONNX_DEPTH_MAX 32 /* messages inside messages that may nest (graph, node, attribute, graph, ...) */

typedef struct hg_onnx_model hg_onnx_model;

/* INVALID when it is no ONNX model; LIMIT when it is larger than HG_ONNX_EMIT_MAX or nests too deep. */
hangar_code hg_onnx_read(const uint8_t *bytes, uint64_t len, hg_onnx_model **out, hangar_err *err);
void hg_onnx_free(hg_onnx_model *m);
void hg_onnx_auto_free(hg_onnx_model **m); /* for HG_AUTO */

/* An initializer whose bytes lie outside; borrowed from the model. */
typedef struct hg_onnx_weight {
    const char *name, *location;
    int32_t type; /* hg_onnx_type */
    size_t rank;
    const int64_t *dims;
    uint64_t offset, length;
} hg_onnx_weight;
/* How many there are, and the next one from *at (0 at first) on, in the file's order; false at the end. Malformed ones are left out: see check.h. */
size_t hg_onnx_weight_count(const hg_onnx_model *m);
bool hg_onnx_weight_next(const hg_onnx_model *m, size_t *at, hg_onnx_weight *out);

/* The message itself, for those who include onnx.pb-c.h. */
const struct Onnx__ModelProto *hg_onnx_message(const hg_onnx_model *m);

#endif
