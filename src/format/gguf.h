/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The GGUF file (versions 2 and 3, little-endian): magic "GGUF", u32 version, u64 number of tensors, u64 number of key/values, the
 * key/values, the tensor infos, padding to general.alignment, the tensors' bytes. Here it is read, checked and described; llama.cpp loads it.
 *
 * Nothing is copied: keys and texts are views into the caller's bytes, which must outlive the hg_gguf. Every length and count is compared
 * with the bytes that are left before anything is allocated, so a small file cannot cost much memory.
 */
#ifndef HG_FORMAT_GGUF_H
#define HG_FORMAT_GGUF_H

#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

#define HG_GGUF_KEYS_MAX    ((uint64_t)65536)
#define HG_GGUF_TENSORS_MAX ((uint64_t)1000000)
#define HG_GGUF_KEY_MAX     ((uint64_t)65535)
#define HG_GGUF_NAME_MAX    ((uint64_t)1024)
#define HG_GGUF_META_MAX    ((uint64_t)512 << 20) /* bytes before the tensor data                   */
#define HG_GGUF_DEPTH_MAX   4                     /* arrays in arrays                               */
#define HG_GGUF_ALIGN_MAX   65536
#define HG_GGUF_PIECE_MAX   ((uint64_t)65535) /* bytes of one text inside an array (a token)    */
#define HG_GGUF_RANK_MAX    4

typedef enum hg_gguf_type { /* the numbers of the file */
                            HG_GGUF_U8,
                            HG_GGUF_I8,
                            HG_GGUF_U16,
                            HG_GGUF_I16,
                            HG_GGUF_U32,
                            HG_GGUF_I32,
                            HG_GGUF_F32,
                            HG_GGUF_BOOL,
                            HG_GGUF_STRING,
                            HG_GGUF_ARRAY,
                            HG_GGUF_U64,
                            HG_GGUF_I64,
                            HG_GGUF_F64,
                            HG_GGUF_TYPES,
} hg_gguf_type;

typedef struct hg_gguf_array {
    hg_gguf_type type; /* of its items */
    uint64_t count;
    hg_str bytes; /* the items as they lie */
} hg_gguf_array;

typedef struct hg_gguf_kv {
    hg_str key;
    hg_gguf_type type;
    union {
        uint64_t u64; /* U8..U64 and BOOL */
        int64_t i64;  /* I8..I64 */
        double f64;   /* F32, F64 */
        hg_str text;
        hg_gguf_array array;
    } v;
} hg_gguf_kv;

typedef struct hg_gguf_tensor {
    hg_str name;
    uint32_t rank;
    uint32_t type;                    /* ggml's number */
    uint64_t shape[HG_GGUF_RANK_MAX]; /* innermost first; unused ones are 1 */
    uint64_t elements;
    uint64_t offset; /* from the start of the file */
    uint64_t bytes;
} hg_gguf_tensor;

typedef struct hg_gguf {
    uint32_t version;
    uint64_t alignment;
    uint64_t data_offset; /* where the tensors' bytes begin */
    hg_gguf_kv *kv;       /* in the file's order */
    size_t kv_count;
    hg_gguf_tensor *tensors; /* in the file's order */
    size_t tensor_count;
    uint64_t parameters; /* elements of all tensors */
    void *index;         /* its own */
} hg_gguf;

/* INVALID (or LIMIT, or UNSUPPORTED for another version or the old ggml formats) names what is wrong and at which byte.
 * `len` is the whole file: tensors are held to lie inside it. */
hangar_code hg_gguf_parse(const uint8_t *bytes, uint64_t len, hg_gguf *out, hangar_err *err);
void hg_gguf_deinit(hg_gguf *g);

const hg_gguf_kv *hg_gguf_get(const hg_gguf *g, const char *key);
/* Any whole number >= 0; false (and *out untouched) when it is not there or another type. */
bool hg_gguf_u64(const hg_gguf *g, const char *key, uint64_t *out);
bool hg_gguf_text(const hg_gguf *g, const char *key, hg_str *out);
/* "ARCH.KEY" for the file's general.architecture: hg_gguf_arch_u64(g, "context_length", &n). */
bool hg_gguf_arch_u64(const hg_gguf *g, const char *key, uint64_t *out);
/* "F32", "Q8_0", ...; NULL when the number is unknown. */
const char *hg_gguf_type_name(uint32_t ggml_type);
/* The type that most elements have, as its name; "" when there are no tensors. */
const char *hg_gguf_dtype(const hg_gguf *g);

#endif
