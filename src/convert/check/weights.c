/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors by name, and their elements as double. */
#include "convert/check/inner.h"

#include <stdio.h>
#include <string.h>

/* Old checkpoints call the two vectors of a LayerNorm gamma and beta. */
static void older_name(char *name)
{
    static const char *const pairs[][2] = {{"LayerNorm.weight", "LayerNorm.gamma"},
                                           {"LayerNorm.bias", "LayerNorm.beta"}};
    for (size_t i = 0; i < 2; i++) {
        size_t n = strlen(name), m = strlen(pairs[i][0]);
        if (n < m || strcmp(name + n - m, pairs[i][0]) != 0) continue;
        memcpy(name + n - m, pairs[i][1], strlen(pairs[i][1]) + 1);
    }
}

/* Where a tensor lies. */
const hg_tensor *hg_plain_find(hg_plain_state *r, const char *at, const char *name, uint32_t *file)
{
    char full[HG_REF_NAME_MAX];
    int n = snprintf(full, sizeof full, "%s%s", at, name);
    if (n < 0 || (size_t)n >= sizeof full) return NULL;
    size_t skip = strlen(r->base);
    for (int old = 0; old < 2; old++) {
        const hg_tensor *t = hg_checkpoint_get(r->ck, full, file);
        if (!t && skip && strncmp(full, r->base, skip) == 0) {
            t = hg_checkpoint_get(r->ck, full + skip, file);
        }
        if (t) return t;
        older_name(full);
    }
    return NULL;
}

/* Whether it is there. */
bool hg_plain_has(hg_plain_state *r, const char *at, const char *name)
{
    return hg_plain_find(r, at, name, NULL) != NULL;
}

/* The bytes of a tensor in the mapped file. */
static const uint8_t *bytes_of(hg_plain_state *r, const hg_tensor *t, uint32_t file)
{
    const hg_checkpoint_file *f = &r->ck->files[file];
    hg_map *map = &r->maps[file];
    if (!map->data) {
        hangar_code code = hg_map_open(f->real, map, r->err);
        if (code != HANGAR_OK) {
            r->code = code;
            return NULL;
        }
    }
    uint64_t end = 0;
    if (__builtin_add_overflow(t->offset, t->bytes, &end) || end > map->len) {
        hg_plain_fail(r, HANGAR_E_INVALID, "%s is shorter than its header says", f->path ? f->path : f->real);
        return NULL;
    }
    return map->data + t->offset;
}

/* Two-dimensional view of a tensor. */
hg_plain_mat hg_plain_matrix(hg_plain_state *r, const char *at, const char *name, uint64_t rows,
                             uint64_t columns)
{
    hg_plain_mat m = {.dtype = HG_DTYPE_F32, .rows = rows, .columns = columns};
    uint32_t file = 0;
    if (r->code != HANGAR_OK) return m;
    const hg_tensor *t = hg_plain_find(r, at, name, &file);
    if (!t) {
        hg_plain_fail(r, HANGAR_E_INVALID, "%s%s is not in the checkpoint", at, name);
        return m;
    }
    uint64_t first = t->rank ? t->shape[0] : 1;
    if (!rows) rows = first;
    if (t->rank < 1 || first != rows || !rows || t->elements / rows != columns || t->elements % rows) {
        hg_plain_fail(r, HANGAR_E_INVALID, "%s%s has not the shape [%llu, %llu] that config.json asks for",
                      at, name, (unsigned long long)rows, (unsigned long long)columns);
        return m;
    }
    if (t->dtype != HG_DTYPE_F32 && t->dtype != HG_DTYPE_F16 && t->dtype != HG_DTYPE_BF16 &&
        t->dtype != HG_DTYPE_F64) {
        hg_plain_fail(r, HANGAR_E_UNSUPPORTED, "%s%s is %s, which the reference does not read", at, name,
                      hg_dtype_name(t->dtype));
        return m;
    }
    m.rows = rows;
    m.dtype = t->dtype;
    if (!r->dry) m.bytes = bytes_of(r, t, file);
    return m;
}

/* Some rows of a matrix. */
hg_plain_mat hg_plain_mat_part(hg_plain_mat m, uint64_t first, uint64_t rows)
{
    if (m.bytes) m.bytes += first * m.columns * (hg_dtype_bits(m.dtype) / 8);
    m.rows = rows;
    return m;
}

static inline double float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

/* Numbers as double; the files are little-endian, and so are the machines this is built for. */
HG_REF_MANY static void expand_f32(const uint8_t *from, size_t n, double *out)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, from + 4 * i, sizeof bits);
        out[i] = float_of(bits);
    }
}

/* The upper half of a float. */
HG_REF_MANY static void expand_bf16(const uint8_t *from, size_t n, double *out)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        memcpy(&half, from + 2 * i, sizeof half);
        out[i] = float_of((uint32_t)half << 16);
    }
}

/* Exponent and fraction in a float's places, whose exponent counts from 112 less; an exponent of all ones is what it is in a float, too. */
HG_REF_MANY static void expand_f16(const uint8_t *from, size_t n, double *out)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        memcpy(&half, from + 2 * i, sizeof half);
        uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = (uint32_t)(half & 0x7fff) << 13;
        bool number = (half & 0x7c00) != 0x7c00;
        out[i] = number ? float_of(sign | rest) * 0x1p112 : float_of(sign | rest | 0x7f800000);
    }
}

/* Some rows of a matrix. */
void hg_plain_expand(const hg_plain_mat *m, uint64_t row, uint64_t rows, double *out)
{
    uint64_t n = rows * m->columns, size = hg_dtype_bits(m->dtype) / 8;
    const uint8_t *p = m->bytes + row * m->columns * size;
    if (m->dtype == HG_DTYPE_F32) expand_f32(p, n, out);
    else if (m->dtype == HG_DTYPE_BF16) expand_bf16(p, n, out);
    else if (m->dtype == HG_DTYPE_F16) expand_f16(p, n, out);
    else memcpy(out, p, n * sizeof(double));
}

/* A whole tensor as double, whatever its shape. */
double *hg_plain_vector(hg_plain_state *r, const char *at, const char *name, uint64_t n)
{
    if (r->code != HANGAR_OK) return NULL;
    const hg_tensor *t = hg_plain_find(r, at, name, NULL);
    uint64_t first = t && t->rank ? t->shape[0] : 1;
    if (t && t->elements != n) first = 0;
    hg_plain_mat m =
        first ? hg_plain_matrix(r, at, name, first, n / first) : hg_plain_matrix(r, at, name, n, 1);
    double *out = hg_plain_array_new(r, 1, n);
    if (hg_plain_go(r) && out) hg_plain_expand(&m, 0, m.rows, out);
    return out;
}

/* Whether the two tables are one. */
bool hg_plain_tied(hg_plain_state *r, bool def, const char *table, const char *head)
{
    bool tied = hg_plain_flag(r, "tie_word_embeddings", def);
    uint32_t a = 0, b = 0;
    const hg_tensor *x = hg_plain_find(r, "", table, &a), *y = hg_plain_find(r, "", head, &b);
    if (r->code != HANGAR_OK || !x || !y) return tied || !y;
    if (!tied || r->dry) return tied;
    const uint8_t *p = bytes_of(r, x, a), *q = bytes_of(r, y, b);
    if (p && q && (x->bytes != y->bytes || x->dtype != y->dtype || memcmp(p, q, x->bytes) != 0)) {
        hg_plain_fail(r, HANGAR_E_UNSUPPORTED,
                      "config.json: tie_word_embeddings is true, yet %s and %s are two different tables",
                      table, head);
    }
    return true;
}
