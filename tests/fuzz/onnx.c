/* SPDX-License-Identifier: Apache-2.0 */
/* ONNX files: nesting, reading, the structural check. fuzz-room: graph */
#include "graph/check.h"
#include "graph/read.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const hg_onnx_file files[] = {{"model.safetensors", 4096}};
    hg_onnx_stats stats = {0};
    hangar_err err = {0};
    hg_onnx_model *m = NULL;
    hangar_code code = hg_onnx_check(data, size, files, 1, &stats, &err);
    if (code != HANGAR_OK && !err.msg[0]) abort();
    if (hg_onnx_read(data, size, &m, NULL) != HANGAR_OK) {
        if (code == HANGAR_OK) abort();
        return 0;
    }
    hg_onnx_weight w;
    size_t at = 0;
    while (hg_onnx_weight_next(m, &at, &w)) {
        /* A graph that passed points nowhere but into the file. */
        if (code == HANGAR_OK && (w.offset > 4096 || w.length > 4096 - w.offset)) abort();
    }
    if (code == HANGAR_OK && stats.weights > hg_onnx_weight_count(m)) abort();
    hg_onnx_free(m);
    return 0;
}
