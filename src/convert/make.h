/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights that a graph has written anew: quantized, or in another type. While a graph is built, each is only planned: it gets its place in the
 * graph's own data file ("model.onnx_data"), and the graph refers to it as HG_WEIGHT_MADE. When the graph is written, hg_make_run
 * reads the sources tile by tile from their mapped files and fills the data file, on all cores and with a bounded amount of memory.
 */
#ifndef HG_CONVERT_MAKE_H
#define HG_CONVERT_MAKE_H

#include "base/job.h"
#include "convert/checkpoint.h"

#define HG_MAKE_ALIGN 64 /* every tensor of a data file begins at a multiple of it */

/* A Linear's matrix as the data file sees it: `outputs` rows of `inputs` numbers, whatever way round they lie. */
typedef struct hg_make_source {
    const hg_tensor *tensor;
    uint32_t file;
    uint64_t outputs, inputs;
    uint64_t first; /* the first of the tensor's rows that belongs to it */
    bool turned;    /* the tensor is [inputs, outputs] */
} hg_make_source;

typedef enum hg_make_kind {
    HG_MAKE_F32, /* out 0: [outputs, inputs] F32 */
    HG_MAKE_F16, /* out 0: [outputs, inputs] F16, rounded to the nearest, held to +-65504 */
    /* out 0: int8 [inputs, outputs]; out 1: F32 [outputs]. code = round(w / scale), scale = max|w| / 127 of the output. */
    HG_MAKE_INT8,
    /*
     * out 0: uint8 [outputs, blocks, block x bits / 8], low bits first; out 1: F32 (or F16) [outputs, blocks]; blocks = inputs / block, rounded
     * up. w = (code - 2^(bits - 1)) scale, scale = (the number of the block that is largest in magnitude) / -2^(bits - 1): that number is
     * met exactly. The layout is MatMulNBits' (ONNX Runtime, contrib operators).
     */
    HG_MAKE_BLOCKS,
} hg_make_kind;

typedef struct hg_make {
    hg_make_kind kind;
    hg_make_source source;
    unsigned bits, block; /* BLOCKS */
    bool half;            /* BLOCKS: scales are F16 */
    uint64_t offset[2], bytes[2];
} hg_make;

typedef struct hg_make_plan {
    hg_make *items;
    size_t count, cap;
    uint64_t bytes; /* of the data file so far */
} hg_make_plan;

/*
 * Plans a tensor: fills its offsets and sizes; the same thing planned twice is the same bytes. NO_MEMORY, LIMIT when sizes overflow, INTERNAL
 * for bits or a block that are not to be had. *out is valid until the next call.
 */
hangar_code hg_make_add(hg_make_plan *plan, const hg_make *want, const hg_make **out, hangar_err *err);
void hg_make_plan_deinit(hg_make_plan *plan);
/*
 * Writes the data file `path` (new). Tells the job of source bytes done. NO_SPACE before the first byte; INVALID when a weight is not a finite
 * number, naming the tensor; CANCELLED.
 */
hangar_code hg_make_run(const hg_make_plan *plan, const hg_checkpoint *ck, const char *path, hangar_job *job,
                        hangar_err *err);

#endif
