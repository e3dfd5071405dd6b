/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading of safetensors headers.
 *
 * Invariant: after a parse, `tensors` is sorted by offset and covers the data part without hole or overlap; `by_name` holds the same tensors sorted
 * by name, all different. Names and shapes live in two blocks, so that a header of a million tensors costs three allocations.
 * The JSON is first looked at as text: outside of strings only brackets, commas, colons, digits and white space may stand, for a header
 * has no other scalars than texts and whole numbers. That settles fractions, signs, exponents, null, true and false before any conversion.
 */
#include "format/safetensors.h"

#include "base/fsx.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct hg_safetensors {
    hg_tensor *tensors;
    const hg_tensor **by_name;
    size_t count;
    uint64_t *shapes;
    char *names;
    char **metadata; /* key, value, key, value, ... */
    size_t metadata_count;
    uint64_t parameters;
    uint64_t size;
};

static const char *const dtype_names[] = {
#define NAME(name, bits) [HG_DTYPE_##name] = #name,
    HG_DTYPES(NAME)
#undef NAME
};
static const uint8_t dtype_bits[] = {
#define BITS(name, bits) [HG_DTYPE_##name] = (bits),
    HG_DTYPES(BITS)
#undef BITS
};

/* The name of a type as files spell it. */
const char *hg_dtype_name(hg_dtype dtype)
{
    return (unsigned)dtype < HG_DTYPE_COUNT ? dtype_names[dtype] : "?";
}

/* Bits of one element. */
unsigned hg_dtype_bits(hg_dtype dtype)
{
    return (unsigned)dtype < HG_DTYPE_COUNT ? dtype_bits[dtype] : 0;
}

/* The header's length, held against the file's size and the cap. */
static hangar_code header_length(const uint8_t first[8], uint64_t size, uint64_t *out, hangar_err *err)
{
    uint64_t length = hg_little(first, 8);
    if (length > HG_SAFETENSORS_HEADER_MAX) {
        return hg_fail(err, HANGAR_E_LIMIT, "header of %llu bytes is over the limit of %llu",
                       (unsigned long long)length, (unsigned long long)HG_SAFETENSORS_HEADER_MAX);
    }
    if (length > size - 8) {
        return hg_fail(err, HANGAR_E_INVALID, "header of %llu bytes in a file of %llu",
                       (unsigned long long)length, (unsigned long long)size);
    }
    if (length < 2) return hg_fail(err, HANGAR_E_INVALID, "header of %llu bytes", (unsigned long long)length);
    *out = length;
    return HANGAR_OK;
}

/* Holds the text to the few characters a header may have outside of strings, and to its first and last one. */
static hangar_code check_text(hg_str text, hangar_err *err)
{
    if (text.ptr[0] != '{') return hg_fail(err, HANGAR_E_INVALID, "header does not begin with '{'");
    while (text.len > 1 && text.ptr[text.len - 1] == ' ') text.len--;
    if (text.ptr[text.len - 1] != '}') {
        return hg_fail(err, HANGAR_E_INVALID, "header does not end with '}' and spaces");
    }
    bool quoted = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (quoted) {
            if (c == '\\') i++;
            if (c == '"') quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '\0' || !strchr("{}[]:, \t\r\n0123456789", c)) {
            return hg_fail(err, HANGAR_E_INVALID,
                           "header: character 0x%02x at byte %zu, where only whole numbers and texts may be",
                           (unsigned char)c, i + 8);
        }
    }
    return HANGAR_OK;
}

static hangar_code parse_dtype(const hg_jval *v, const char *name, hg_dtype *out, hangar_err *err)
{
    const char *text = hg_json_text(v);
    for (unsigned i = 0; text && i < HG_DTYPE_COUNT; i++) {
        if (strcmp(text, dtype_names[i]) == 0) {
            *out = (hg_dtype)i;
            return HANGAR_OK;
        }
    }
    return hg_fail(err, HANGAR_E_INVALID, "tensor %s: unknown dtype %s", name, text ? text : "(none)");
}

/* Reads the shape into `dims`, which has room, and the number of elements. */
static hangar_code parse_shape(const hg_jval *v, hg_tensor *t, uint64_t *dims, hangar_err *err)
{
    if (!hg_json_is_array(v)) return hg_fail(err, HANGAR_E_INVALID, "tensor %s: no shape", t->name);
    t->shape = dims;
    t->rank = (uint32_t)hg_json_len(v);
    t->elements = 1;
    for (hg_json_iter it = hg_json_iter_of(v); hg_json_next(&it); dims++) {
        if (!hg_json_u64(it.val, dims)) {
            return hg_fail(err, HANGAR_E_INVALID, "tensor %s: dimension %zu is not a whole number", t->name,
                           it.index);
        }
        if (!hg_mul(t->elements, *dims, &t->elements)) {
            return hg_fail(err, HANGAR_E_INVALID, "tensor %s: the product of its shape overflows", t->name);
        }
    }
    return HANGAR_OK;
}

/* Reads data_offsets and holds the range to the length that dtype and shape ask for. */
static hangar_code parse_range(const hg_jval *v, hg_tensor *t, uint64_t data, uint64_t data_len,
                               hangar_err *err)
{
    uint64_t begin = 0, end = 0, bits = 0;
    if (!hg_json_is_array(v) || hg_json_len(v) != 2 || !hg_json_u64(hg_json_at(v, 0), &begin) ||
        !hg_json_u64(hg_json_at(v, 1), &end)) {
        return hg_fail(err, HANGAR_E_INVALID, "tensor %s: data_offsets are not two whole numbers", t->name);
    }
    if (begin > end || end > data_len) {
        return hg_fail(err, HANGAR_E_INVALID, "tensor %s: range %llu to %llu in %llu bytes of data", t->name,
                       (unsigned long long)begin, (unsigned long long)end, (unsigned long long)data_len);
    }
    if (!hg_mul(t->elements, dtype_bits[t->dtype], &bits)) {
        return hg_fail(err, HANGAR_E_INVALID, "tensor %s: its size overflows", t->name);
    }
    if (bits % 8 != 0) return hg_fail(err, HANGAR_E_INVALID, "tensor %s: does not fill whole bytes", t->name);
    if (bits / 8 != end - begin) {
        return hg_fail(err, HANGAR_E_INVALID, "tensor %s: %s of its shape is %llu bytes, its range has %llu",
                       t->name, hg_dtype_name(t->dtype), (unsigned long long)(bits / 8),
                       (unsigned long long)(end - begin));
    }
    t->bytes = end - begin;
    t->offset = data + begin; /* both inside the file */
    return HANGAR_OK;
}

static hangar_code parse_tensor(const hg_jval *v, hg_tensor *t, uint64_t *dims, uint64_t data,
                                uint64_t data_len, hangar_err *err)
{
    const hg_jval *dtype = hg_json_get(v, "dtype");
    const hg_jval *shape = hg_json_get(v, "shape");
    const hg_jval *range = hg_json_get(v, "data_offsets");
    if (hg_json_len(v) != 3 || !dtype || !shape || !range) {
        return hg_fail(err, HANGAR_E_INVALID,
                       "tensor %s: needs dtype, shape and data_offsets, and nothing else", t->name);
    }
    hangar_code code = parse_dtype(dtype, t->name, &t->dtype, err);
    if (code == HANGAR_OK) code = parse_shape(shape, t, dims, err);
    if (code == HANGAR_OK) code = parse_range(range, t, data, data_len, err);
    return code;
}

static hangar_code parse_metadata(const hg_jval *v, hg_safetensors *st, hangar_err *err)
{
    if (!hg_json_is_object(v)) return hg_fail(err, HANGAR_E_INVALID, "__metadata__ is not an object");
    st->metadata = hg_calloc(hg_json_len(v), 2 * sizeof *st->metadata);
    if (!st->metadata) return hg_fail_memory(err);
    for (hg_json_iter it = hg_json_iter_of(v); hg_json_next(&it);) {
        hg_str text;
        if (!hg_json_str(it.val, &text)) {
            return hg_fail(err, HANGAR_E_INVALID, "__metadata__: %.*s is not a text", HG_STR_ARG(it.key));
        }
        char *key = hg_strndup(it.key.ptr, it.key.len), *value = hg_strndup(text.ptr, text.len);
        st->metadata[st->metadata_count++] = key;
        st->metadata[st->metadata_count++] = value;
        if (!key || !value) return hg_fail_memory(err);
    }
    return HANGAR_OK;
}

/* Counts tensors, dimensions and bytes of names; holds each to its limit. */
static hangar_code measure(const hg_jval *root, size_t *count, size_t *dims, size_t *names, hangar_err *err)
{
    for (hg_json_iter it = hg_json_iter_of(root); hg_json_next(&it);) {
        if (hg_str_eq(it.key, HG_STR("__metadata__"))) continue;
        if (it.key.len > HG_SAFETENSORS_NAME_MAX) {
            return hg_fail(err, HANGAR_E_LIMIT, "a tensor's name of %zu bytes is over the limit of %zu",
                           it.key.len, HG_SAFETENSORS_NAME_MAX);
        }
        if (it.key.len == 0 || memchr(it.key.ptr, 0, it.key.len)) {
            return hg_fail(err, HANGAR_E_INVALID, "a tensor's name is empty or holds a NUL");
        }
        size_t rank = hg_json_len(hg_json_get(it.val, "shape"));
        if (rank > HG_SAFETENSORS_RANK_MAX) {
            return hg_fail(err, HANGAR_E_LIMIT, "tensor %.*s: %zu dimensions are over the limit of %d",
                           HG_STR_ARG(it.key), rank, HG_SAFETENSORS_RANK_MAX);
        }
        *count += 1;
        *dims += rank;
        *names += it.key.len + 1;
    }
    if (*count > HG_SAFETENSORS_TENSORS_MAX) {
        return hg_fail(err, HANGAR_E_LIMIT, "%zu tensors are over the limit of %zu", *count,
                       HG_SAFETENSORS_TENSORS_MAX);
    }
    return HANGAR_OK;
}

static int order_by_name(const void *a, const void *b)
{
    const hg_tensor *x = *(const hg_tensor *const *)a, *y = *(const hg_tensor *const *)b;
    return strcmp(x->name, y->name);
}

static int order_by_offset(const void *a, const void *b)
{
    const hg_tensor *x = a, *y = b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Sorts by offset and by name; proves that the ranges tile the data and that no name comes twice. */
static hangar_code put_in_order(hg_safetensors *st, uint64_t data, hangar_err *err)
{
    qsort(st->tensors, st->count, sizeof *st->tensors, order_by_offset);
    uint64_t at = data;
    for (size_t i = 0; i < st->count; i++) {
        const hg_tensor *t = &st->tensors[i];
        if (t->offset != at) {
            return hg_fail(err, HANGAR_E_INVALID, "tensor %s: %s before its data", t->name,
                           t->offset < at ? "an overlap" : "a hole");
        }
        at += t->bytes; /* inside the file, see parse_range */
        st->by_name[i] = t;
        if (!hg_add(st->parameters, t->elements, &st->parameters)) {
            return hg_fail(err, HANGAR_E_INVALID, "the number of elements overflows");
        }
    }
    if (at != st->size) {
        return hg_fail(err, HANGAR_E_INVALID, "%llu bytes behind the last tensor",
                       (unsigned long long)(st->size - at));
    }
    qsort(st->by_name, st->count, sizeof *st->by_name, order_by_name);
    for (size_t i = 1; i < st->count; i++) {
        if (strcmp(st->by_name[i - 1]->name, st->by_name[i]->name) == 0) {
            return hg_fail(err, HANGAR_E_INVALID, "tensor %s comes twice", st->by_name[i]->name);
        }
    }
    return HANGAR_OK;
}

/* Fills the tables of `st` from the parsed header; the data begins at byte `data`. */
static hangar_code fill(hg_safetensors *st, const hg_jval *root, uint64_t data, hangar_err *err)
{
    size_t count = 0, dim_count = 0, name_bytes = 0;
    hangar_code code = measure(root, &count, &dim_count, &name_bytes, err);
    if (code != HANGAR_OK) return code;
    st->tensors = hg_calloc(count, sizeof *st->tensors);
    st->by_name = hg_calloc(count, sizeof *st->by_name);
    st->shapes = hg_calloc(dim_count, sizeof *st->shapes);
    st->names = hg_calloc(name_bytes, 1);
    if (!st->tensors || !st->by_name || !st->shapes || !st->names) return hg_fail_memory(err);
    char *name = st->names;
    uint64_t *dims = st->shapes;
    for (hg_json_iter it = hg_json_iter_of(root); code == HANGAR_OK && hg_json_next(&it);) {
        if (hg_str_eq(it.key, HG_STR("__metadata__"))) {
            code = parse_metadata(it.val, st, err);
            continue;
        }
        hg_tensor *t = &st->tensors[st->count++];
        memcpy(name, it.key.ptr, it.key.len);
        t->name = name;
        name += it.key.len + 1;
        code = parse_tensor(it.val, t, dims, data, st->size - data, err);
        dims += t->rank;
    }
    return code == HANGAR_OK ? put_in_order(st, data, err) : code;
}

/* Parses the header in the first `len` bytes of a file of `size`. */
hangar_code hg_safetensors_parse(const uint8_t *bytes, uint64_t len, uint64_t size, hg_safetensors **out,
                                 hangar_err *err)
{
    uint64_t header = 0;
    *out = NULL;
    if (size < 8 || len < 8)
        return hg_fail(err, HANGAR_E_INVALID, "%llu bytes are no safetensors file", (unsigned long long)size);
    hangar_code code = header_length(bytes, size, &header, err);
    if (code != HANGAR_OK) return code;
    if (len - 8 < header) return hg_fail(err, HANGAR_E_INVALID, "the header is cut off");
    hg_str text = {(const char *)bytes + 8, (size_t)header};
    code = check_text(text, err);
    if (code != HANGAR_OK) return code;

    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hg_json_limits limits = {.bytes = (size_t)HG_SAFETENSORS_HEADER_MAX, .depth = 4, .unique_keys = true};
    code = hg_json_parse(text, &limits, &doc, err);
    if (code != HANGAR_OK) return hg_wrap(err, code, "header");
    hg_safetensors *st = hg_calloc(1, sizeof *st);
    if (!st) return hg_fail_memory(err);
    st->size = size;
    code = fill(st, hg_json_root(doc), 8 + header, err);
    if (code != HANGAR_OK) {
        hg_safetensors_free(st);
        return code;
    }
    *out = st;
    return HANGAR_OK;
}

static hangar_code open_header(const char *path, hg_safetensors **out, hangar_err *err)
{
    HG_AUTO(hg_auto_close) int fd = -1;
    HG_AUTO(hg_auto_free) uint8_t *bytes = NULL;
    uint64_t size = 0, header = 0;
    uint8_t first[8];
    hangar_code code = hg_open_regular(path, &fd, &size, err);
    if (code != HANGAR_OK) return code;
    if (size < sizeof first)
        return hg_fail(err, HANGAR_E_INVALID, "%llu bytes are no safetensors file", (unsigned long long)size);
    code = hg_pread_all(fd, first, sizeof first, 0, err);
    if (code == HANGAR_OK) code = header_length(first, size, &header, err);
    if (code != HANGAR_OK) return code;
    bytes = hg_calloc((size_t)header + 8, 1);
    if (!bytes) return hg_fail_memory(err);
    code = hg_pread_all(fd, bytes, (size_t)header + 8, 0, err);
    return code == HANGAR_OK ? hg_safetensors_parse(bytes, header + 8, size, out, err) : code;
}

/* Reads the header of a file. */
hangar_code hg_safetensors_open(const char *path, hg_safetensors **out, hangar_err *err)
{
    *out = NULL;
    hangar_code code = open_header(path, out, err);
    return hg_wrap(err, code, "%s", hg_path_base(path));
}

/* Frees a parsed header. */
void hg_safetensors_free(hg_safetensors *st)
{
    if (!st) return;
    for (size_t i = 0; i < st->metadata_count; i++) free(st->metadata[i]);
    free(st->metadata);
    free(st->tensors);
    free((void *)st->by_name);
    free(st->shapes);
    free(st->names);
    free(st);
}

/* For HG_AUTO. */
void hg_safetensors_auto_free(hg_safetensors **st)
{
    hg_safetensors_free(*st);
}

/* How many tensors there are. */
size_t hg_safetensors_count(const hg_safetensors *st)
{
    return st->count;
}

/* One tensor, in the order of the bytes. */
const hg_tensor *hg_safetensors_at(const hg_safetensors *st, size_t index)
{
    return index < st->count ? &st->tensors[index] : NULL;
}

/* One tensor by its name. */
const hg_tensor *hg_safetensors_get(const hg_safetensors *st, const char *name)
{
    hg_tensor wanted = {.name = name};
    const hg_tensor *key = &wanted;
    const hg_tensor *const *found = bsearch(&key, st->by_name, st->count, sizeof *st->by_name, order_by_name);
    return found ? *found : NULL;
}

/* Elements of all tensors together. */
uint64_t hg_safetensors_parameters(const hg_safetensors *st)
{
    return st->parameters;
}

/* Bytes of the whole file. */
uint64_t hg_safetensors_size(const hg_safetensors *st)
{
    return st->size;
}

/* The type of most elements. */
hg_dtype hg_safetensors_dtype(const hg_safetensors *st)
{
    uint64_t elements[HG_DTYPE_COUNT] = {0};
    hg_dtype best = HG_DTYPE_COUNT;
    for (size_t i = 0; i < st->count; i++) {
        hg_dtype d = st->tensors[i].dtype;
        elements[d] += st->tensors[i].elements;
        if (best == HG_DTYPE_COUNT || elements[d] > elements[best]) best = d;
    }
    return best;
}

/* A text of the metadata. */
const char *hg_safetensors_metadata(const hg_safetensors *st, const char *key)
{
    for (size_t i = 0; i < st->metadata_count; i += 2) {
        if (strcmp(st->metadata[i], key) == 0) return st->metadata[i + 1];
    }
    return NULL;
}
