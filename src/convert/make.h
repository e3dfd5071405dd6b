/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights that a graph has written anew: quantized, or in another type. While a graph is built, each is only planned: it gets its place in the
 * graph's own data file ("model.onnx_data"), and the graph refers to it as HG_WEIGHT_MADE. When the graph is written, hg_make_run
 * reads the sources tile by tile from their mapped files and fills the data file, with all cores and a bounded amount of memory.
 */
#ifndef HG_CONVERT_MAKE_H
#define HG_CONVERT_MAKE_H

#include "base/job.h"
#include "convert/checkpoint.h"

typedef struct hg_make hg_make; /* one source and the one to three tensors that are made of it */

typedef struct hg_make_plan {
    hg_make *items;
    size_t count, cap;
    uint64_t bytes; /* of the data file so far */
} hg_make_plan;

void hg_make_plan_deinit(hg_make_plan *plan);
/* Writes the data file `path` (new): bytes as planned. Tells the job of source bytes done; NO_SPACE before the first byte. */
hangar_code hg_make_run(const hg_make_plan *plan, const hg_checkpoint *ck, const char *path, hangar_job *job,
                        hangar_err *err);

#endif
