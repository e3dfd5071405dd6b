/* SPDX-License-Identifier: Apache-2.0 */
/* GGUF headers. fuzz-room: format */
#include "format/gguf.h"

#include <stddef.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hg_gguf g;
    hangar_err err = {0};
    if (hg_gguf_parse(data, size, &g, &err) != HANGAR_OK) return 0;
    uint64_t n = 0;
    hg_gguf_arch_u64(&g, "context_length", &n);
    /* what was accepted lies inside the file */
    for (size_t i = 0; i < g.tensor_count; i++)
        if (g.tensors[i].offset + g.tensors[i].bytes > size || !hg_gguf_type_name(g.tensors[i].type)) abort();
    if (!hg_gguf_dtype(&g)) abort();
    hg_gguf_deinit(&g);
    return 0;
}
