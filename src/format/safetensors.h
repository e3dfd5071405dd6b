/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The safetensors file: u64 (little-endian) length of the header, the header (JSON), the tensors' bytes. Only the header is ever looked at;
 * the weights stay untouched.
 *
 *   {"__metadata__": {"format": "pt"}, "a.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
 *
 * Held strictly, so that no other reader sees another file: the header begins with '{' and is padded by spaces only, no name comes
 * twice, metadata are texts, dtype x shape is exactly the range's length, and the ranges fill the rest of the file without hole or overlap.
 * What breaks a rule is INVALID (or LIMIT), never a crash; the message names the tensor.
 */
#ifndef HG_FORMAT_SAFETENSORS_H
#define HG_FORMAT_SAFETENSORS_H

#include "base/err.h"
#include "base/json.h"
#include "base/str.h"

#include <stdint.h>

#define HG_SAFETENSORS_HEADER_MAX  ((uint64_t)100000000) /* bytes of JSON; the reference's own cap */
#define HG_SAFETENSORS_TENSORS_MAX ((size_t)2000000)
#define HG_SAFETENSORS_NAME_MAX    ((size_t)4096)
#define HG_SAFETENSORS_RANK_MAX    32

/* One line per type: HG_DTYPE(name as it stands in the file, bits of one element). */
#define HG_DTYPES(X)  \
    X(BOOL, 8)        \
    X(F4, 4)          \
    X(F6_E2M3, 6)     \
    X(F6_E3M2, 6)     \
    X(U8, 8)          \
    X(I8, 8)          \
    X(F8_E5M2, 8)     \
    X(F8_E4M3, 8)     \
    X(F8_E8M0, 8)     \
    X(F8_E4M3FNUZ, 8) \
    X(F8_E5M2FNUZ, 8) \
    X(I16, 16)        \
    X(U16, 16)        \
    X(F16, 16)        \
    X(BF16, 16)       \
    X(I32, 32)        \
    X(U32, 32)        \
    X(F32, 32)        \
    X(C64, 64)        \
    X(F64, 64)        \
    X(I64, 64)        \
    X(U64, 64)

typedef enum hg_dtype {
#define HG_DTYPE_ENUM(name, bits) HG_DTYPE_##name,
    HG_DTYPES(HG_DTYPE_ENUM)
#undef HG_DTYPE_ENUM
        HG_DTYPE_COUNT
} hg_dtype;
/* "F32", "BF16", ... and the bits of one element. */
const char *hg_dtype_name(hg_dtype dtype);
unsigned hg_dtype_bits(hg_dtype dtype);

typedef struct hg_tensor {
    const char *name; /* UTF-8, NUL-terminated */
    const uint64_t *shape;
    uint64_t elements; /* product of the shape; 1 for rank 0 */
    uint64_t offset;   /* of the first byte, from the start of the file */
    uint64_t bytes;
    hg_dtype dtype;
    uint32_t rank; /* 0 .. HG_SAFETENSORS_RANK_MAX */
} hg_tensor;

typedef struct hg_safetensors hg_safetensors;

/* The header of a file of `size` bytes of which the first `len` are at `bytes` (len = size for a mapped file). Copies what it keeps. */
hangar_code hg_safetensors_parse(const uint8_t *bytes, uint64_t len, uint64_t size, hg_safetensors **out,
                                 hangar_err *err);
/* The same for a file: reads its header alone. Errors begin with the file's base name. */
hangar_code hg_safetensors_open(const char *path, hg_safetensors **out, hangar_err *err);
void hg_safetensors_free(hg_safetensors *st);
void hg_safetensors_auto_free(hg_safetensors **st); /* for HG_AUTO */

/* Tensors in the order of their bytes. */
size_t hg_safetensors_count(const hg_safetensors *st);
const hg_tensor *hg_safetensors_at(const hg_safetensors *st, size_t index);
/* By name, by bisection; NULL when there is none. */
const hg_tensor *hg_safetensors_get(const hg_safetensors *st, const char *name);
uint64_t hg_safetensors_parameters(const hg_safetensors *st); /* elements of all tensors */
uint64_t hg_safetensors_size(const hg_safetensors *st);       /* of the file */
/* The dtype that most elements have; HG_DTYPE_COUNT when there are no tensors. */
hg_dtype hg_safetensors_dtype(const hg_safetensors *st);
/* A text of __metadata__ ("format"); NULL when it is not there. */
const char *hg_safetensors_metadata(const hg_safetensors *st, const char *key);

/* ---- checkpoints of several files: model.safetensors.index.json ---- */

#define HG_SHARDS_FILES_MAX ((size_t)10000)

typedef struct hg_shards {
    char **files; /* distinct, sorted; each a clean relative path */
    size_t count;
    uint64_t total_size; /* metadata.total_size; 0 = not said */
    hg_json *doc;        /* the index itself; weight_map is an object of name: file */
} hg_shards;
/* INVALID when weight_map is missing, empty, or names what is not a clean path to a .safetensors file. That the files are members of
 * the same snapshot is for the caller to check. */
hangar_code hg_shards_parse(hg_str json, hg_shards *out, hangar_err *err);
void hg_shards_deinit(hg_shards *shards);

#endif
