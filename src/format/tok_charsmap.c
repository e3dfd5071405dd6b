/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SentencePiece's compiled map of characters ("precompiled_charsmap"): base64 of
 *
 *   u32 (little-endian)   bytes of the tree
 *   the tree              u32 units of a double array (Darts): from byte to byte by XOR of offsets
 *   texts                 each ended by a NUL; a leaf of the tree says where its text begins
 *
 * A unit: bits 0-7 label, 8 "a leaf follows", 9 offset times 256, 10-30 offset; of a leaf, bits 0-30 the value.
 * It is applied as `tokenizers` does it: to each grapheme of less than six bytes as a whole, by the *shortest* key that
 * it begins with, else character by character.
 */
#include "format/tokenizer_inner.h"

#include <stdlib.h>
#include <utf8proc.h>

#define MAP_MAX       ((size_t)16 << 20) /* bytes */
#define GRAPHEME_LESS 6

struct hg_tok_charsmap {
    uint8_t *bytes;
    size_t units;
    hg_str texts;
};

void hg_tok_charsmap_free(hg_tok_charsmap *map)
{
    if (!map) return;
    free(map->bytes);
    free(map);
}

static int digit_of(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* The bytes of a base64 text; false when it is none. */
static bool decode_base64(hg_str text, uint8_t *out, size_t *out_len)
{
    uint32_t bits = 0;
    unsigned have = 0;
    size_t n = 0;
    while (text.len > 0 && text.ptr[text.len - 1] == '=') text.len--;
    for (size_t i = 0; i < text.len; i++) {
        int d = digit_of(text.ptr[i]);
        if (d < 0) return false;
        bits = bits << 6 | (uint32_t)d;
        have += 6;
        if (have < 8) continue;
        have -= 8;
        out[n++] = (uint8_t)(bits >> have);
    }
    *out_len = n;
    return true;
}

/* Finds the parts of the map; false when they are not there. */
static bool lay_out(hg_tok_charsmap *map, hg_str base64)
{
    size_t len = 0;
    if (!decode_base64(base64, map->bytes, &len) || len < 4) return false;
    size_t tree = (size_t)hg_little(map->bytes, 4);
    if (tree > len - 4 || tree % 4 != 0) return false;
    map->units = tree / 4;
    map->texts = (hg_str){(const char *)map->bytes + 4 + tree, len - 4 - tree};
    return hg_utf8_valid(map->texts);
}

hangar_code hg_tok_charsmap_new(hg_str base64, hg_tok_charsmap **out, hangar_err *err)
{
    *out = NULL;
    if (base64.len > MAP_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "a precompiled_charsmap of %zu bytes, over the limit of %zu",
                       base64.len, MAP_MAX);
    hg_tok_charsmap *map = hg_calloc(1, sizeof *map);
    if (!map) return hg_fail_memory(err);
    map->bytes = hg_calloc(base64.len + 1, 1);
    if (!map->bytes || !lay_out(map, base64)) {
        bool memory = !map->bytes;
        hg_tok_charsmap_free(map);
        return memory ? hg_fail_memory(err)
                      : hg_fail(err, HANGAR_E_INVALID, "the precompiled_charsmap is not one");
    }
    *out = map;
    return HANGAR_OK;
}

/* A unit of the tree; beyond its end one that no byte fits. */
static uint32_t unit_at(const hg_tok_charsmap *map, size_t at)
{
    return at < map->units ? (uint32_t)hg_little(map->bytes + 4 + 4 * at, 4) : 0x80000000u;
}

static size_t offset_of(uint32_t unit)
{
    return (size_t)(unit >> 10) << ((unit & 0x200u) >> 6);
}

/* What the shortest key that s begins with stands for; false when there is none. */
static bool look_up(const hg_tok_charsmap *map, hg_str s, hg_str *out)
{
    size_t at = offset_of(unit_at(map, 0));
    for (size_t i = 0; i < s.len && s.ptr[i] != '\0'; i++) {
        uint8_t byte = (uint8_t)s.ptr[i];
        at ^= byte;
        uint32_t unit = unit_at(map, at);
        if ((unit & 0x800000ffu) != byte) return false;
        at ^= offset_of(unit);
        if (!(unit & 0x100u)) continue;
        size_t from = unit_at(map, at) & 0x7fffffffu;
        if (from > map->texts.len) return false;
        const char *text = map->texts.ptr + from;
        size_t left = map->texts.len - from;
        const char *end = left ? memchr(text, '\0', left) : NULL;
        *out = (hg_str){text, end ? (size_t)(end - text) : left};
        return out->len == 0 || ((unsigned char)*text & 0xc0) != 0x80; /* not from the midst of a character */
    }
    return false;
}

/* One grapheme. */
static void apply_to(const hg_tok_charsmap *map, hg_str part, hg_buf *out)
{
    hg_str found;
    if (part.len < GRAPHEME_LESS && look_up(map, part, &found)) {
        hg_buf_str(out, found);
        return;
    }
    for (size_t i = 0, n; i < part.len; i += n) {
        n = hg_uni_len(part.ptr + i);
        hg_str one = {part.ptr + i, n};
        hg_buf_str(out, look_up(map, one, &found) ? found : one);
    }
}

void hg_tok_charsmap_apply(const hg_tok_charsmap *map, hg_str text, hg_buf *out)
{
    utf8proc_int32_t state = 0;
    uint32_t before = 0, c = 0;
    size_t from = 0, at = 0;
    for (size_t n; at < text.len; at += n, before = c) {
        n = hg_utf8_next((hg_str){text.ptr + at, text.len - at}, &c);
        if (n == 0) break;
        if (at == 0 ||
            !utf8proc_grapheme_break_stateful((utf8proc_int32_t)before, (utf8proc_int32_t)c, &state))
            continue;
        apply_to(map, (hg_str){text.ptr + from, at - from}, out);
        from = at;
    }
    apply_to(map, (hg_str){text.ptr + from, at - from}, out);
}
