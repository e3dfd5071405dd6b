/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BERT's way from text to pieces: clean, set CJK characters apart, take accents off (NFD without marks), lower
 * the case; cut at white space and around punctuation; then the longest known piece from the left, again and
 * again, "##" before all but the first. A word with a part that no piece fits is unknown as a whole. Character
 * properties come from utf8proc, the only place that knows it.
 */
#include "format/tokenizer_inner.h"

#include <stdlib.h>
#include <utf8proc.h>

static bool is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
           c == 0x3000;
}

/* Control, format and private characters, but not the white ones among them. */
static bool is_control(uint32_t c)
{
    if (c == '\t' || c == '\n' || c == '\r') return false;
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CF || k == UTF8PROC_CATEGORY_CO;
}

static bool is_chinese(uint32_t c)
{
    return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x20000 && c <= 0x2a6df) ||
           (c >= 0x2a700 && c <= 0x2b73f) || (c >= 0x2b740 && c <= 0x2b81f) ||
           (c >= 0x2b920 && c <= 0x2ceaf) || (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

static bool is_punctuation(uint32_t c)
{
    if (c < 128)
        return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO;
}

static void put_char(hg_buf *out, uint32_t c)
{
    char bytes[4];
    hg_buf_add(out, bytes, hg_utf8_put(c, bytes));
}

/* Cleaned, and spaces around CJK characters. */
static void clean_up(const hg_tokenizer *t, hg_str text, hg_buf *out)
{
    uint32_t c;
    for (size_t n; (n = hg_utf8_next(text, &c)) > 0; text.ptr += n, text.len -= n) {
        if (t->clean && (c == 0 || c == 0xfffd || is_control(c))) continue;
        if (t->clean && is_space(c)) c = ' ';
        bool apart = t->chinese && is_chinese(c);
        if (apart) hg_buf_putc(out, ' ');
        put_char(out, c);
        if (apart) hg_buf_putc(out, ' ');
    }
}

/* Canonical decomposition without the marks. */
static hangar_code strip_accents(hg_str text, hg_buf *out, hangar_err *err)
{
    utf8proc_uint8_t *nfd = NULL;
    utf8proc_ssize_t len = utf8proc_map((const utf8proc_uint8_t *)text.ptr, (utf8proc_ssize_t)text.len, &nfd,
                                        UTF8PROC_STABLE | UTF8PROC_DECOMPOSE);
    if (len == UTF8PROC_ERROR_NOMEM) return hg_fail_memory(err);
    if (len < 0)
        return hg_fail(err, HANGAR_E_INVALID, "the text cannot be normalized: %s", utf8proc_errmsg(len));
    hg_str rest = {(const char *)nfd, (size_t)len};
    uint32_t c;
    for (size_t n; (n = hg_utf8_next(rest, &c)) > 0; rest.ptr += n, rest.len -= n)
        if (utf8proc_category((utf8proc_int32_t)c) != UTF8PROC_CATEGORY_MN) hg_buf_add(out, rest.ptr, n);
    free(nfd);
    return HANGAR_OK;
}

static void lower_case(hg_str text, hg_buf *out)
{
    uint32_t c;
    for (size_t n; (n = hg_utf8_next(text, &c)) > 0; text.ptr += n, text.len -= n) {
        if (c == 0x130) /* the one character whose lower case is two: i and a dot above */
            hg_buf_puts(out, "i\xcc\x87");
        else put_char(out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
    }
}

/* The normalized text into out. */
static hangar_code normalize(const hg_tokenizer *t, hg_str text, hg_buf *out, hangar_err *err)
{
    hg_buf next;
    hg_buf_init(&next, 32 * HG_TOKENIZER_TEXT_MAX);
    clean_up(t, text, out);
    hangar_code code = hg_buf_check(out, err);
    if (code == HANGAR_OK && t->strip) {
        code = strip_accents(hg_buf_view(out), &next, err);
        hg_buf swap = *out;
        *out = next;
        next = swap;
        hg_buf_reset(&next);
    }
    if (code == HANGAR_OK) code = hg_buf_check(out, err);
    if (code == HANGAR_OK && t->lower) {
        lower_case(hg_buf_view(out), &next);
        hg_buf swap = *out;
        *out = next;
        next = swap;
    }
    hg_buf_deinit(&next);
    return code == HANGAR_OK ? hg_buf_check(out, err) : code;
}

/* Number of characters, counted no further than `enough`. */
static size_t count_chars(hg_str s, size_t enough)
{
    size_t count = 0;
    for (size_t i = 0; i < s.len && count <= enough; i++) count += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
    return count;
}

/* The longest piece that `word` begins with; its length in *len. -1 when there is none. */
static int64_t longest_piece(const hg_tokenizer *t, hg_str word, bool first, hg_buf *scratch, size_t *len)
{
    size_t prefix = first ? 0 : strlen(t->prefix);
    hg_buf_reset(scratch);
    if (prefix) hg_buf_puts(scratch, t->prefix);
    hg_buf_str(scratch, word);
    if (scratch->state != HANGAR_OK) return -1;
    for (size_t n = word.len; n > 0; n--) {
        if (n < word.len && ((unsigned char)word.ptr[n] & 0xc0) == 0x80)
            continue; /* in the midst of a character */
        int64_t id = hg_tok_find(t, (hg_str){scratch->data, prefix + n});
        if (id >= 0) {
            *len = n;
            return id;
        }
    }
    return -1;
}

/* The pieces of one word. */
static hangar_code encode_word(const hg_tokenizer *t, hg_str word, hg_buf *scratch, hg_tok_list *out,
                               hangar_err *err)
{
    size_t from = out->len, at = 0;
    bool known = count_chars(word, t->max_word) <= t->max_word;
    hangar_code code = HANGAR_OK;
    while (known && at < word.len && code == HANGAR_OK) {
        size_t len = 0;
        int64_t id = longest_piece(t, (hg_str){word.ptr + at, word.len - at}, at == 0, scratch, &len);
        known = id >= 0;
        if (known) code = hg_tok_push(out, id, err);
        at += len;
    }
    if (!known && code == HANGAR_OK) {
        out->len = from;
        code = hg_tok_push(out, t->unk, err);
    }
    return code;
}

hangar_code hg_wordpiece_encode(const hg_tokenizer *t, hg_str text, hg_tok_list *out, hangar_err *err)
{
    if (text.len == 0) return HANGAR_OK;
    hg_buf normal, scratch;
    hg_buf_init(&normal, 32 * HG_TOKENIZER_TEXT_MAX);
    hg_buf_init(&scratch, 64 * HG_KIB);
    hangar_code code = normalize(t, text, &normal, err);
    hg_str rest = hg_buf_view(&normal), word = {rest.ptr, 0};
    while (code == HANGAR_OK && rest.len > 0) {
        uint32_t c = 0;
        size_t n = hg_utf8_next(rest, &c);
        if (n == 0) break;
        bool space = is_space(c), mark = !space && is_punctuation(c);
        if (!space && !mark) {
            word.len += n;
        } else {
            if (word.len > 0) code = encode_word(t, word, &scratch, out, err);
            if (code == HANGAR_OK && mark) code = encode_word(t, (hg_str){rest.ptr, n}, &scratch, out, err);
            word = (hg_str){rest.ptr + n, 0};
        }
        rest.ptr += n;
        rest.len -= n;
    }
    if (code == HANGAR_OK && word.len > 0) code = encode_word(t, word, &scratch, out, err);
    hg_buf_deinit(&normal);
    hg_buf_deinit(&scratch);
    return code;
}
