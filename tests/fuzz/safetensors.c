/* SPDX-License-Identifier: Apache-2.0 */
/* Headers of safetensors files, and the index of sharded ones. fuzz-room: format */
#include "format/safetensors.h"

#include <stddef.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void header(const uint8_t *data, size_t size)
{
    hg_safetensors *st = NULL;
    hangar_err err = {0};
    if (hg_safetensors_parse(data, size, size, &st, &err) != HANGAR_OK) {
        if (st || err.code == HANGAR_OK || !err.msg[0]) abort();
        return;
    }
    /* What was accepted tiles the file from the end of the header to its end, and every name is found. */
    uint64_t at = hg_safetensors_count(st) ? hg_safetensors_at(st, 0)->offset : size;
    for (size_t i = 0; i < hg_safetensors_count(st); i++) {
        const hg_tensor *t = hg_safetensors_at(st, i);
        if (t->offset != at || t->elements * hg_dtype_bits(t->dtype) != t->bytes * 8) abort();
        if (hg_safetensors_get(st, t->name) != t) abort();
        at += t->bytes;
    }
    if (at != size) abort();
    if (hg_safetensors_metadata(st, "format") && hg_safetensors_get(st, "__metadata__")) abort();
    (void)hg_safetensors_dtype(st);
    hg_safetensors_free(st);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hg_shards shards;
    header(data, size);
    if (hg_shards_parse((hg_str){(const char *)data, size}, &shards, NULL) == HANGAR_OK) {
        if (shards.count == 0) abort();
        hg_shards_deinit(&shards);
    }
    return 0;
}
