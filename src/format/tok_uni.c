/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Properties of characters and the normal forms, from utf8proc. Normalizing orders runs of marks by a sort of its own:
 * the library's is quadratic in the length of a run, which a text may choose.
 */
#include "format/tokenizer_inner.h"

#include <stdlib.h>
#include <utf8proc.h>

#define DECOMPOSED_MAX 64 /* characters that one decomposes into; U+FDFA gives 18 */

static utf8proc_category_t category(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)c);
}

bool hg_uni_space(uint32_t c)
{
    if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool hg_uni_punct(uint32_t c)
{
    if (c < 128)
        return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
    utf8proc_category_t k = category(c);
    return k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO;
}

bool hg_uni_numeric(uint32_t c)
{
    if (c < 128) return c >= '0' && c <= '9';
    utf8proc_category_t k = category(c);
    return k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO;
}

bool hg_uni_mark(uint32_t c)
{
    utf8proc_category_t k = c < 0x300 ? UTF8PROC_CATEGORY_CN : category(c);
    return k >= UTF8PROC_CATEGORY_MN && k <= UTF8PROC_CATEGORY_ME;
}

bool hg_uni_mn(uint32_t c)
{
    return c >= 0x300 && category(c) == UTF8PROC_CATEGORY_MN;
}

bool hg_uni_word(uint32_t c)
{
    if (c < 128) return c == '_' || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
    utf8proc_category_t k = category(c);
    if (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_NL) return true;
    /* connectors, the joiners, and the symbols that are Alphabetic */
    return k == UTF8PROC_CATEGORY_PC || c == 0x200c || c == 0x200d || (c >= 0x24b6 && c <= 0x24e9) ||
           (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189);
}

bool hg_uni_control(uint32_t c)
{
    utf8proc_category_t k = category(c);
    return k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CF || k == UTF8PROC_CATEGORY_CO;
}

void hg_uni_put(hg_buf *out, uint32_t c)
{
    char bytes[4];
    hg_buf_add(out, bytes, hg_utf8_put(c, bytes));
}

/* How many bytes of a character that never comes to its end belong together. */
static size_t malformed_part(hg_str s)
{
    size_t part = 1;
    for (size_t n = 2; n <= 3 && n <= s.len; n++)
        if (hg_utf8_whole((hg_str){s.ptr, n}) == 0) part = n;
    return part;
}

void hg_uni_repair(hg_buf *out, hg_str bytes)
{
    size_t from = 0, at = 0;
    while (at < bytes.len) {
        uint32_t c;
        size_t n = (unsigned char)bytes.ptr[at] < 0x80
                       ? 1
                       : hg_utf8_next((hg_str){bytes.ptr + at, bytes.len - at}, &c);
        if (n > 0) {
            at += n;
            continue;
        }
        hg_buf_add(out, bytes.ptr + from, at - from);
        hg_buf_puts(out, "\xef\xbf\xbd");
        at += malformed_part((hg_str){bytes.ptr + at, bytes.len - at});
        from = at;
    }
    hg_buf_add(out, bytes.ptr + from, bytes.len - from);
}

void hg_uni_lower(hg_str text, hg_buf *out)
{
    for (size_t i = 0; i < text.len;) {
        unsigned char b = (unsigned char)text.ptr[i];
        uint32_t c;
        if (b < 0x80) {
            hg_buf_putc(out, (char)(b >= 'A' && b <= 'Z' ? b | 32 : b));
            i++;
            continue;
        }
        size_t n = hg_utf8_next((hg_str){text.ptr + i, text.len - i}, &c);
        if (n == 0) return;
        if (c == 0x130) /* the one character whose lower case is two: i and a dot above */
            hg_buf_puts(out, "i\xcc\x87");
        else hg_uni_put(out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
        i += n;
    }
}

/* ---- normal forms ---- */

typedef struct points {
    utf8proc_int32_t *items;
    size_t count, cap;
} points;

static int combining_class(utf8proc_int32_t c)
{
    return utf8proc_get_property(c)->combining_class;
}

/* Merges two halves of a run that are each in order. */
static void merge(utf8proc_int32_t *items, size_t half, size_t count, utf8proc_int32_t *scratch)
{
    memcpy(scratch, items, half * sizeof *items);
    size_t a = 0, b = half, to = 0;
    while (a < half) {
        bool left = b == count || combining_class(scratch[a]) <= combining_class(items[b]);
        items[to++] = left ? scratch[a++] : items[b++];
    }
}

/* A run of marks in the order of their classes, equal ones as they stood. */
static hangar_code order_run(utf8proc_int32_t *items, size_t count, hangar_err *err)
{
    if (count < 2) return HANGAR_OK;
    utf8proc_int32_t few[32], *scratch = few;
    if (count > HG_LEN(few)) {
        scratch = hg_calloc(count, sizeof *scratch);
        if (!scratch) return hg_fail_memory(err);
    }
    for (size_t width = 1; width < count; width *= 2)
        for (size_t i = 0; i + width < count; i += 2 * width)
            merge(items + i, width, count - i < 2 * width ? count - i : 2 * width, scratch);
    if (scratch != few) free(scratch);
    return HANGAR_OK;
}

/* Decomposed and in canonical order. */
static hangar_code decompose(hg_str text, utf8proc_option_t options, points *out, hangar_err *err)
{
    size_t run = 0; /* where the marks at the end begin */
    hangar_code code = HANGAR_OK;
    while (text.len > 0 && code == HANGAR_OK) {
        uint32_t c = 0;
        size_t n = hg_utf8_next(text, &c);
        if (n == 0) break;
        text.ptr += n;
        text.len -= n;
        if (!hg_grow((void **)&out->items, &out->cap, out->count + DECOMPOSED_MAX, sizeof *out->items))
            return hg_fail_memory(err);
        int last = 0;
        utf8proc_ssize_t got = utf8proc_decompose_char((utf8proc_int32_t)c, out->items + out->count,
                                                       DECOMPOSED_MAX, options, &last);
        if (got < 0 || got > DECOMPOSED_MAX)
            return hg_fail(err, HANGAR_E_INTERNAL, "U+%04X cannot be decomposed", c);
        for (utf8proc_ssize_t i = 0; i < got && code == HANGAR_OK; i++) {
            if (combining_class(out->items[out->count]) == 0) {
                code = order_run(out->items + run, out->count - run, err);
                run = out->count + 1;
            }
            out->count++;
        }
    }
    if (code == HANGAR_OK && run < out->count) code = order_run(out->items + run, out->count - run, err);
    return code;
}

static bool is_ascii(hg_str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] >= 0x80) return false;
    return true;
}

hangar_code hg_uni_normalize(hg_str text, hg_uni_form form, hg_buf *out, hangar_err *err)
{
    if (is_ascii(text)) {
        hg_buf_str(out, text);
        return hg_buf_check(out, err);
    }
    points p = {0};
    bool compose = form == HG_NFC || form == HG_NFKC;
    int options =
        UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (form == HG_NFKC || form == HG_NFKD ? UTF8PROC_COMPAT : 0);
    hangar_code code = decompose(text, (utf8proc_option_t)options, &p, err);
    if (code == HANGAR_OK && compose && p.count > 0) {
        utf8proc_ssize_t left =
            utf8proc_normalize_utf32(p.items, (utf8proc_ssize_t)p.count,
                                     (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
        p.count = left > 0 ? (size_t)left : 0;
    }
    for (size_t i = 0; i < p.count && code == HANGAR_OK; i++) hg_uni_put(out, (uint32_t)p.items[i]);
    free(p.items);
    return code == HANGAR_OK ? hg_buf_check(out, err) : code;
}
