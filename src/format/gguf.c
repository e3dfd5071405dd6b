/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading of GGUF headers. A cursor walks the bytes; every read goes through take(), which compares with what is left, so nothing behind the
 * end is ever looked at and no count is believed before the bytes for it are there (the smallest key/value and the smallest tensor info
 * bound the counts). Names are held to be different by sorting; tensors, sorted by offset, to lie inside the file and not on one another.
 * Format: ggml's documentation of GGUF; block sizes: ggml's type table.
 */
#include "format/gguf.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define KV_LEAST      13 /* bytes: key length, one character is checked later, type, one byte of value */
#define TENSOR_LEAST  24 /* bytes: name length, rank, type, offset */
#define ALIGN_DEFAULT 32

/* Types of tensors: elements and bytes of one block. A block of 0 elements is a number that ggml does not use. */
static const struct ggml_type_row {
    const char *name;
    uint32_t elements, bytes;
} ggml_types[] = {
    [0] = {"F32", 1, 4},         [1] = {"F16", 1, 2},         [2] = {"Q4_0", 32, 18},
    [3] = {"Q4_1", 32, 20},      [6] = {"Q5_0", 32, 22},      [7] = {"Q5_1", 32, 24},
    [8] = {"Q8_0", 32, 34},      [9] = {"Q8_1", 32, 36},      [10] = {"Q2_K", 256, 84},
    [11] = {"Q3_K", 256, 110},   [12] = {"Q4_K", 256, 144},   [13] = {"Q5_K", 256, 176},
    [14] = {"Q6_K", 256, 210},   [15] = {"Q8_K", 256, 292},   [16] = {"IQ2_XXS", 256, 66},
    [17] = {"IQ2_XS", 256, 74},  [18] = {"IQ3_XXS", 256, 98}, [19] = {"IQ1_S", 256, 50},
    [20] = {"IQ4_NL", 32, 18},   [21] = {"IQ3_S", 256, 110},  [22] = {"IQ2_S", 256, 82},
    [23] = {"IQ4_XS", 256, 136}, [24] = {"I8", 1, 1},         [25] = {"I16", 1, 2},
    [26] = {"I32", 1, 4},        [27] = {"I64", 1, 8},        [28] = {"F64", 1, 8},
    [29] = {"IQ1_M", 256, 56},   [30] = {"BF16", 1, 2},       [34] = {"TQ1_0", 256, 54},
    [35] = {"TQ2_0", 256, 66},   [39] = {"MXFP4", 32, 17},    [40] = {"NVFP4", 64, 36},
    [41] = {"Q1_0", 128, 18},    [42] = {"Q2_0", 64, 18},
};

/* Bytes of one value of a type; 0 for texts and arrays. */
static const uint8_t value_bytes[HG_GGUF_TYPES] = {
    [HG_GGUF_U8] = 1,  [HG_GGUF_I8] = 1,  [HG_GGUF_U16] = 2, [HG_GGUF_I16] = 2,
    [HG_GGUF_U32] = 4, [HG_GGUF_I32] = 4, [HG_GGUF_F32] = 4, [HG_GGUF_BOOL] = 1,
    [HG_GGUF_U64] = 8, [HG_GGUF_I64] = 8, [HG_GGUF_F64] = 8,
};

/* Where the walk is. */
typedef struct cursor {
    const uint8_t *bytes;
    uint64_t at, end;
    hangar_err *err;
} cursor;

/* The keys, sorted. */
typedef struct key_index {
    const hg_gguf_kv **by_key;
} key_index;

/* The next n bytes, or NULL when they are not there. */
static const uint8_t *take(cursor *c, uint64_t n)
{
    if (n > c->end - c->at) {
        hg_fail(c->err, HANGAR_E_INVALID, "ends in the middle of its header, at byte %llu",
                (unsigned long long)c->at);
        return NULL;
    }
    const uint8_t *p = c->bytes + c->at;
    c->at += n;
    return p;
}

/* The next whole number of n bytes. */
static bool take_number(cursor *c, unsigned n, uint64_t *out)
{
    const uint8_t *p = take(c, n);
    if (p) *out = hg_little(p, n);
    return p != NULL;
}

/* The next text: u64 length and its bytes, at most `max`. */
static hangar_code take_text(cursor *c, uint64_t max, const char *what, hg_str *out)
{
    uint64_t len = 0, begin = c->at;
    if (!take_number(c, 8, &len)) return HANGAR_E_INVALID;
    if (len > c->end - c->at)
        return hg_fail(c->err, HANGAR_E_INVALID, "the %s at byte %llu has a length of %llu, behind the end",
                       what, (unsigned long long)begin, (unsigned long long)len);
    if (len > max)
        return hg_fail(c->err, HANGAR_E_LIMIT, "the %s at byte %llu has %llu bytes, over the limit of %llu",
                       what, (unsigned long long)begin, (unsigned long long)len, (unsigned long long)max);
    *out = (hg_str){(const char *)take(c, len), (size_t)len};
    return HANGAR_OK;
}

/* Walks over the items of an array, which may be arrays themselves. */
static hangar_code take_array(cursor *c, unsigned depth, hg_gguf_array *out)
{
    uint64_t type = 0, count = 0, begin = c->at, bytes = 0;
    if (depth > HG_GGUF_DEPTH_MAX)
        return hg_fail(c->err, HANGAR_E_LIMIT, "arrays nested deeper than %d, at byte %llu",
                       HG_GGUF_DEPTH_MAX, (unsigned long long)begin);
    if (!take_number(c, 4, &type) || !take_number(c, 8, &count)) return HANGAR_E_INVALID;
    if (type >= HG_GGUF_TYPES)
        return hg_fail(c->err, HANGAR_E_INVALID, "an array of unknown type %llu, at byte %llu",
                       (unsigned long long)type, (unsigned long long)begin);
    *out = (hg_gguf_array){(hg_gguf_type)type, count, {(const char *)c->bytes + c->at, 0}};
    uint64_t first = c->at, each = value_bytes[type] ? value_bytes[type] : type == HG_GGUF_STRING ? 8 : 12;
    if (!hg_mul(count, each, &bytes) || bytes > c->end - c->at)
        return hg_fail(c->err, HANGAR_E_INVALID, "an array of %llu items at byte %llu, behind the end",
                       (unsigned long long)count, (unsigned long long)begin);
    if (value_bytes[type]) (void)take(c, bytes);
    hangar_code code = HANGAR_OK;
    for (uint64_t i = 0; code == HANGAR_OK && !value_bytes[type] && i < count; i++) {
        hg_str text;
        hg_gguf_array inner;
        code = type == HG_GGUF_STRING ? take_text(c, HG_GGUF_PIECE_MAX, "text", &text)
                                      : take_array(c, depth + 1, &inner);
    }
    out->bytes.len = (size_t)(c->at - first);
    return code;
}

/* The value of a key, its type known. */
static hangar_code take_value(cursor *c, hg_gguf_kv *kv)
{
    if (kv->type == HG_GGUF_STRING) return take_text(c, HG_GGUF_META_MAX, "text", &kv->v.text);
    if (kv->type == HG_GGUF_ARRAY) return take_array(c, 1, &kv->v.array);
    unsigned n = value_bytes[kv->type];
    uint64_t raw = 0;
    if (!take_number(c, n, &raw)) return HANGAR_E_INVALID;
    switch (kv->type) {
    case HG_GGUF_I8: kv->v.i64 = (int8_t)raw; break;
    case HG_GGUF_I16: kv->v.i64 = (int16_t)raw; break;
    case HG_GGUF_I32: kv->v.i64 = (int32_t)raw; break;
    case HG_GGUF_I64: kv->v.i64 = (int64_t)raw; break;
    case HG_GGUF_F32: {
        float f;
        uint32_t bits = (uint32_t)raw;
        memcpy(&f, &bits, sizeof f);
        kv->v.f64 = f;
        break;
    }
    case HG_GGUF_F64: memcpy(&kv->v.f64, &raw, sizeof raw); break;
    default: kv->v.u64 = raw;
    }
    if (kv->type == HG_GGUF_BOOL && raw > 1)
        return hg_fail(c->err, HANGAR_E_INVALID, "%.*s is neither true nor false", HG_STR_ARG(kv->key));
    return HANGAR_OK;
}

/* One key and its value. */
static hangar_code take_kv(cursor *c, hg_gguf_kv *kv)
{
    uint64_t type = 0, begin = c->at;
    hangar_code code = take_text(c, HG_GGUF_KEY_MAX, "key", &kv->key);
    if (code != HANGAR_OK) return code;
    if (kv->key.len == 0 || memchr(kv->key.ptr, 0, kv->key.len) || !hg_utf8_valid(kv->key))
        return hg_fail(c->err, HANGAR_E_INVALID, "the key at byte %llu is empty or not text",
                       (unsigned long long)begin);
    if (!take_number(c, 4, &type)) return HANGAR_E_INVALID;
    if (type >= HG_GGUF_TYPES)
        return hg_fail(c->err, HANGAR_E_INVALID, "%.*s has the unknown type %llu", HG_STR_ARG(kv->key),
                       (unsigned long long)type);
    kv->type = (hg_gguf_type)type;
    code = take_value(c, kv);
    return code == HANGAR_OK ? code : hg_wrap(c->err, code, "%.*s", HG_STR_ARG(kv->key));
}

/* Elements and bytes of a tensor from its shape and type. */
static hangar_code measure(cursor *c, hg_gguf_tensor *t)
{
    t->elements = 1;
    for (uint32_t i = 0; i < HG_GGUF_RANK_MAX; i++)
        if (t->shape[i] == 0 || !hg_mul(t->elements, t->shape[i], &t->elements) || t->elements > INT64_MAX)
            return hg_fail(c->err, HANGAR_E_INVALID, "tensor %.*s: its shape is empty or too large",
                           HG_STR_ARG(t->name));
    const char *name = hg_gguf_type_name(t->type);
    if (!name)
        return hg_fail(c->err, HANGAR_E_INVALID, "tensor %.*s has the unknown type %u", HG_STR_ARG(t->name),
                       t->type);
    const struct ggml_type_row *row = &ggml_types[t->type];
    if (t->shape[0] % row->elements != 0)
        return hg_fail(c->err, HANGAR_E_INVALID,
                       "tensor %.*s: rows of %llu elements are not whole blocks of %s", HG_STR_ARG(t->name),
                       (unsigned long long)t->shape[0], name);
    if (!hg_mul(t->elements / row->elements, row->bytes, &t->bytes))
        return hg_fail(c->err, HANGAR_E_INVALID, "tensor %.*s is too large", HG_STR_ARG(t->name));
    return HANGAR_OK;
}

/* One tensor info; the offset is still relative to the data. */
static hangar_code take_tensor(cursor *c, hg_gguf_tensor *t)
{
    uint64_t rank = 0, type = 0, begin = c->at;
    hangar_code code = take_text(c, HG_GGUF_NAME_MAX, "tensor name", &t->name);
    if (code != HANGAR_OK) return code;
    if (t->name.len == 0 || memchr(t->name.ptr, 0, t->name.len) || !hg_utf8_valid(t->name))
        return hg_fail(c->err, HANGAR_E_INVALID, "the tensor name at byte %llu is empty or not text",
                       (unsigned long long)begin);
    if (!take_number(c, 4, &rank)) return HANGAR_E_INVALID;
    if (rank == 0 || rank > HG_GGUF_RANK_MAX)
        return hg_fail(c->err, HANGAR_E_INVALID, "tensor %.*s has %llu dimensions; 1 to %d are allowed",
                       HG_STR_ARG(t->name), (unsigned long long)rank, HG_GGUF_RANK_MAX);
    t->rank = (uint32_t)rank;
    for (uint32_t i = 0; i < HG_GGUF_RANK_MAX; i++) {
        t->shape[i] = 1;
        if (i < t->rank && !take_number(c, 8, &t->shape[i])) return HANGAR_E_INVALID;
    }
    if (!take_number(c, 4, &type) || !take_number(c, 8, &t->offset)) return HANGAR_E_INVALID;
    t->type = (uint32_t)type;
    return measure(c, t);
}

static int compare_text(hg_str a, hg_str b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n ? memcmp(a.ptr, b.ptr, n) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int by_key(const void *a, const void *b)
{
    return compare_text((*(const hg_gguf_kv *const *)a)->key, (*(const hg_gguf_kv *const *)b)->key);
}

static int by_name(const void *a, const void *b)
{
    return compare_text((*(const hg_gguf_tensor *const *)a)->name, (*(const hg_gguf_tensor *const *)b)->name);
}

static int by_offset(const void *a, const void *b)
{
    uint64_t x = (*(const hg_gguf_tensor *const *)a)->offset, y = (*(const hg_gguf_tensor *const *)b)->offset;
    return (x > y) - (x < y);
}

/* All key/values and their index; no key twice. */
static hangar_code read_kvs(cursor *c, uint64_t count, hg_gguf *g)
{
    if (count > HG_GGUF_KEYS_MAX)
        return hg_fail(c->err, HANGAR_E_LIMIT, "%llu keys, over the limit of %llu", (unsigned long long)count,
                       (unsigned long long)HG_GGUF_KEYS_MAX);
    if (count > (c->end - c->at) / KV_LEAST)
        return hg_fail(c->err, HANGAR_E_INVALID, "%llu keys in a file of %llu bytes",
                       (unsigned long long)count, (unsigned long long)c->end);
    key_index *index = hg_calloc(1, sizeof *index);
    g->index = index;
    g->kv = hg_calloc(count, sizeof *g->kv);
    if (!g->index || !g->kv || !(index->by_key = hg_calloc(count, sizeof *index->by_key)))
        return hg_fail_memory(c->err);
    for (; g->kv_count < count; g->kv_count++) {
        hangar_code code = take_kv(c, &g->kv[g->kv_count]);
        if (code != HANGAR_OK) return code;
        index->by_key[g->kv_count] = &g->kv[g->kv_count];
    }
    qsort(index->by_key, g->kv_count, sizeof *index->by_key, by_key);
    for (size_t i = 1; i < g->kv_count; i++)
        if (hg_str_eq(index->by_key[i]->key, index->by_key[i - 1]->key))
            return hg_fail(c->err, HANGAR_E_INVALID, "%.*s stands there twice",
                           HG_STR_ARG(index->by_key[i]->key));
    return HANGAR_OK;
}

/* No name twice; sorted by offset, every tensor inside the file and behind the one before. */
static hangar_code check_tensors(cursor *c, const hg_gguf *g, uint64_t file_len)
{
    const hg_gguf_tensor **list = hg_calloc(g->tensor_count, sizeof *list);
    if (!list) return hg_fail_memory(c->err);
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; i < g->tensor_count; i++) list[i] = &g->tensors[i];
    qsort(list, g->tensor_count, sizeof *list, by_name);
    for (size_t i = 1; code == HANGAR_OK && i < g->tensor_count; i++)
        if (hg_str_eq(list[i]->name, list[i - 1]->name))
            code = hg_fail(c->err, HANGAR_E_INVALID, "tensor %.*s stands there twice",
                           HG_STR_ARG(list[i]->name));
    qsort(list, g->tensor_count, sizeof *list, by_offset);
    uint64_t free_from = g->data_offset;
    for (size_t i = 0; code == HANGAR_OK && i < g->tensor_count; i++) {
        const hg_gguf_tensor *t = list[i];
        if (t->offset < free_from)
            code = hg_fail(c->err, HANGAR_E_INVALID, "tensor %.*s lies on another one", HG_STR_ARG(t->name));
        else if (!hg_add(t->offset, t->bytes, &free_from) || free_from > file_len)
            code =
                hg_fail(c->err, HANGAR_E_INVALID,
                        "tensor %.*s ends behind the file's end; the file is cut short", HG_STR_ARG(t->name));
    }
    free(list);
    return code;
}

/* All tensor infos; afterwards offsets count from the start of the file. */
static hangar_code read_tensors(cursor *c, uint64_t count, uint64_t file_len, hg_gguf *g)
{
    if (count > HG_GGUF_TENSORS_MAX)
        return hg_fail(c->err, HANGAR_E_LIMIT, "%llu tensors, over the limit of %llu",
                       (unsigned long long)count, (unsigned long long)HG_GGUF_TENSORS_MAX);
    if (count > (c->end - c->at) / TENSOR_LEAST)
        return hg_fail(c->err, HANGAR_E_INVALID, "%llu tensors in a file of %llu bytes",
                       (unsigned long long)count, (unsigned long long)file_len);
    if (!(g->tensors = hg_calloc(count, sizeof *g->tensors))) return hg_fail_memory(c->err);
    for (; g->tensor_count < count; g->tensor_count++) {
        hangar_code code = take_tensor(c, &g->tensors[g->tensor_count]);
        if (code != HANGAR_OK) return code;
    }
    g->data_offset = (c->at + g->alignment - 1) / g->alignment * g->alignment;
    for (size_t i = 0; i < g->tensor_count; i++) {
        hg_gguf_tensor *t = &g->tensors[i];
        if (t->offset % g->alignment != 0 || !hg_add(t->offset, g->data_offset, &t->offset))
            return hg_fail(c->err, HANGAR_E_INVALID, "tensor %.*s begins at no multiple of %llu",
                           HG_STR_ARG(t->name), (unsigned long long)g->alignment);
        if (!hg_add(g->parameters, t->elements, &g->parameters))
            return hg_fail(c->err, HANGAR_E_INVALID, "more elements than can be counted");
    }
    return check_tensors(c, g, file_len);
}

/* general.alignment: a power of two up to HG_GGUF_ALIGN_MAX. */
static hangar_code read_alignment(hg_gguf *g, hangar_err *err)
{
    g->alignment = ALIGN_DEFAULT;
    const hg_gguf_kv *kv = hg_gguf_get(g, "general.alignment");
    if (!kv) return HANGAR_OK;
    uint64_t n = 0;
    if (kv->type != HG_GGUF_U32 || !hg_gguf_u64(g, "general.alignment", &n) || n == 0 ||
        n > HG_GGUF_ALIGN_MAX || (n & (n - 1)) != 0)
        return hg_fail(err, HANGAR_E_INVALID, "general.alignment is no power of two from 1 to %d",
                       HG_GGUF_ALIGN_MAX);
    g->alignment = n;
    return HANGAR_OK;
}

/* Magic and version. */
static hangar_code read_magic(cursor *c, hg_gguf *g)
{
    static const char *const old[] = {"lmgg", "fmgg", "tjgg", "algg"};
    const uint8_t *magic = take(c, 4);
    if (!magic) return HANGAR_E_INVALID;
    for (size_t i = 0; i < HG_LEN(old); i++)
        if (memcmp(magic, old[i], 4) == 0)
            return hg_fail(c->err, HANGAR_E_UNSUPPORTED, "an old ggml file; convert it to GGUF");
    if (memcmp(magic, "GGUF", 4) != 0)
        return hg_fail(c->err, HANGAR_E_INVALID, "does not begin as a GGUF file");
    uint64_t version = 0;
    if (!take_number(c, 4, &version)) return HANGAR_E_INVALID;
    if (version == 0x02000000 || version == 0x03000000)
        return hg_fail(c->err, HANGAR_E_UNSUPPORTED, "a big-endian GGUF file");
    if (version != 2 && version != 3)
        return hg_fail(c->err, HANGAR_E_UNSUPPORTED, "GGUF version %llu; 2 and 3 are known",
                       (unsigned long long)version);
    g->version = (uint32_t)version;
    return HANGAR_OK;
}

hangar_code hg_gguf_parse(const uint8_t *bytes, uint64_t len, hg_gguf *out, hangar_err *err)
{
    *out = (hg_gguf){0};
    hangar_err local = {0};
    cursor c = {bytes, 0, len < HG_GGUF_META_MAX ? len : HG_GGUF_META_MAX, err ? err : &local};
    uint64_t tensors = 0, kvs = 0;
    hangar_code code = read_magic(&c, out);
    if (code == HANGAR_OK && (!take_number(&c, 8, &tensors) || !take_number(&c, 8, &kvs)))
        code = HANGAR_E_INVALID;
    if (code == HANGAR_OK) code = read_kvs(&c, kvs, out);
    if (code == HANGAR_OK) code = read_alignment(out, c.err);
    if (code == HANGAR_OK) code = read_tensors(&c, tensors, len, out);
    if (code != HANGAR_OK) hg_gguf_deinit(out);
    return code;
}

void hg_gguf_deinit(hg_gguf *g)
{
    key_index *index = g->index;
    if (index) free(index->by_key);
    free(index);
    free(g->kv);
    free(g->tensors);
    *g = (hg_gguf){0};
}

const hg_gguf_kv *hg_gguf_get(const hg_gguf *g, const char *key)
{
    const key_index *index = g->index;
    hg_gguf_kv wanted = {.key = hg_str_of(key)};
    const hg_gguf_kv *at = &wanted;
    if (!index || g->kv_count == 0) return NULL;
    const hg_gguf_kv **hit = bsearch(&at, index->by_key, g->kv_count, sizeof *index->by_key, by_key);
    return hit ? *hit : NULL;
}

bool hg_gguf_u64(const hg_gguf *g, const char *key, uint64_t *out)
{
    const hg_gguf_kv *kv = hg_gguf_get(g, key);
    if (!kv) return false;
    switch (kv->type) {
    case HG_GGUF_U8:
    case HG_GGUF_U16:
    case HG_GGUF_U32:
    case HG_GGUF_U64: *out = kv->v.u64; return true;
    case HG_GGUF_I8:
    case HG_GGUF_I16:
    case HG_GGUF_I32:
    case HG_GGUF_I64:
        if (kv->v.i64 < 0) return false;
        *out = (uint64_t)kv->v.i64;
        return true;
    default: return false;
    }
}

bool hg_gguf_text(const hg_gguf *g, const char *key, hg_str *out)
{
    const hg_gguf_kv *kv = hg_gguf_get(g, key);
    if (!kv || kv->type != HG_GGUF_STRING) return false;
    *out = kv->v.text;
    return true;
}

bool hg_gguf_arch_u64(const hg_gguf *g, const char *key, uint64_t *out)
{
    hg_str arch;
    if (!hg_gguf_text(g, "general.architecture", &arch) || arch.len > 64) return false;
    HG_AUTO(hg_auto_free) char *whole = hg_format("%.*s.%s", HG_STR_ARG(arch), key);
    return whole && hg_gguf_u64(g, whole, out);
}

const char *hg_gguf_type_name(uint32_t ggml_type)
{
    return ggml_type < HG_LEN(ggml_types) ? ggml_types[ggml_type].name : NULL;
}

const char *hg_gguf_dtype(const hg_gguf *g)
{
    uint64_t elements[HG_LEN(ggml_types)] = {0}, most = 0;
    const char *name = "";
    for (size_t i = 0; i < g->tensor_count; i++) {
        uint32_t type = g->tensors[i].type;
        elements[type] += g->tensors[i].elements;
        if (elements[type] > most) {
            most = elements[type];
            name = ggml_types[type].name;
        }
    }
    return name;
}
