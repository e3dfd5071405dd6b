/* SPDX-License-Identifier: Apache-2.0 */
/* The tensors of a decoder's cache, and the copies that are made of them. For decoder.c. */
#ifndef HG_RUNNER_ONNX_CACHE_H
#define HG_RUNNER_ONNX_CACHE_H

#include "runner.h"

/* One tensor of the cache: [rows, heads, tokens, dim]. */
typedef struct hg_slot {
    const char *in;
    const char *out;
    bool of_encoder;
    ONNXTensorElementDataType type;
    int64_t heads, dim;
    OrtValue *value;
} hg_slot;

/* How many tokens a cache that has to hold `tokens` gets room for: half as many again, so that growing costs little. */
size_t hg_cache_room(size_t tokens);
/*
 * The first `length` tokens of a slot of one row, with room for `capacity` in all, as a tensor of its own. With `poison` the room holds NaN.
 * length must not be over what the slot holds.
 */
hangar_code hg_slot_copy(const hg_onnx *o, const hg_slot *s, size_t length, size_t capacity, bool poison,
                         OrtValue **out, hangar_err *err);
/* Row i becomes what row from[i] was, i < rows. */
hangar_code hg_slot_rows(const hg_onnx *o, hg_slot *s, const size_t *from, size_t rows, hangar_err *err);

#endif
