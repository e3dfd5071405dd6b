/* SPDX-License-Identifier: Apache-2.0 */
#include "cache.h"

#include <string.h>

#define ROOM_STEP 64 /* tokens */

size_t hg_cache_room(size_t tokens)
{
    return (tokens + tokens / 2 + ROOM_STEP) / ROOM_STEP * ROOM_STEP;
}

hangar_code hg_slot_copy(const hg_onnx *o, const hg_slot *s, size_t length, size_t capacity, bool poison,
                         OrtValue **out, hangar_err *err)
{
    const void *old = NULL;
    void *fresh = NULL;
    uint64_t bytes = 0;
    int64_t dims[HG_ONNX_RANK_MAX];
    hangar_code code = hg_tensor_view(o, s->value, s->type, 4, &old, dims, err);
    if (code != HANGAR_OK) return code;
    size_t token = (size_t)s->dim * hg_type_size(s->type), have = (size_t)dims[2];
    if (dims[0] != 1 || dims[1] != s->heads || dims[3] != s->dim || have < length)
        return hg_fail(err, HANGAR_E_INVALID, "%s is not [1, %lld, %zu, %lld]", s->out, (long long)s->heads,
                       length, (long long)s->dim);
    dims[2] = (int64_t)capacity;
    if (!hg_tensor_bytes(s->type, dims, 4, SIZE_MAX / 2, &bytes))
        return hg_fail(err, HANGAR_E_LIMIT, "a cache of %zu tokens is too large", capacity);
    OrtValue *value = NULL;
    code = hg_onnx_check(o, o->api->CreateTensorAsOrtValue(o->allocator, dims, 4, s->type, &value), "cache",
                         err);
    if (code == HANGAR_OK) code = hg_onnx_check(o, o->api->GetTensorMutableData(value, &fresh), "cache", err);
    if (code != HANGAR_OK) {
        hg_value_free(o, &value);
        return code;
    }
    for (int64_t h = 0; h < s->heads; h++) {
        char *to = (char *)fresh + (size_t)h * capacity * token;
        memcpy(to, (const char *)old + (size_t)h * have * token, length * token);
        /* All bits set: a NaN of 16 bits and of 32. What is read by mistake shows. */
        memset(to + length * token, poison ? 0xFF : 0, (capacity - length) * token);
    }
    *out = value;
    return HANGAR_OK;
}

hangar_code hg_slot_rows(const hg_onnx *o, hg_slot *s, const size_t *from, size_t rows, hangar_err *err)
{
    const void *old = NULL;
    void *fresh = NULL;
    int64_t dims[HG_ONNX_RANK_MAX];
    hangar_code code = hg_tensor_view(o, s->value, s->type, 4, &old, dims, err);
    if (code != HANGAR_OK) return code;
    size_t have = (size_t)dims[0];
    uint64_t row = 0;
    int64_t row_dims[3] = {dims[1], dims[2], dims[3]};
    if (!hg_tensor_bytes(s->type, row_dims, 3, SIZE_MAX / (HG_ONNX_BEAMS_MAX + 1), &row))
        return hg_fail(err, HANGAR_E_LIMIT, "a cache row is too large");
    dims[0] = (int64_t)rows;
    OrtValue *value = NULL;
    code = hg_onnx_check(o, o->api->CreateTensorAsOrtValue(o->allocator, dims, 4, s->type, &value), "cache",
                         err);
    if (code == HANGAR_OK) code = hg_onnx_check(o, o->api->GetTensorMutableData(value, &fresh), "cache", err);
    for (size_t i = 0; i < rows && code == HANGAR_OK && row > 0; i++)
        memcpy((char *)fresh + i * row, (const char *)old + (from[i] < have ? from[i] : 0) * row,
               (size_t)row);
    if (code != HANGAR_OK) {
        hg_value_free(o, &value);
        return code;
    }
    hg_value_free(o, &s->value);
    s->value = value;
    return HANGAR_OK;
}
