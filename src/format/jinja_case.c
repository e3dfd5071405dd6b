/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Characters as Python sees them: white space, classes, upper and lower case. Tables come from utf8proc; beyond its
 * mappings of one character to one, the sharp s, the Latin ligatures and the dotted capital I are known here.
 */
#include "format/jinja_inner.h"

#include <utf8proc.h>

/* str.isspace() of one character. */
bool hg_jj_space(uint32_t c)
{
    if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x1f);
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

size_t hg_jj_char_before(hg_str s, size_t end, uint32_t *c)
{
    size_t at = end - 1;
    while (at > 0 && ((unsigned char)s.ptr[at] & 0xc0) == 0x80) at--;
    if (hg_utf8_next((hg_str){s.ptr + at, end - at}, c) == 0) *c = 0xfffd;
    return at;
}

hg_str hg_jj_lstrip(hg_str s)
{
    uint32_t c;
    for (size_t n; (n = hg_utf8_next(s, &c)) != 0 && hg_jj_space(c);) s = (hg_str){s.ptr + n, s.len - n};
    return s;
}

hg_str hg_jj_rstrip(hg_str s)
{
    while (s.len) {
        uint32_t c;
        size_t at = hg_jj_char_before(s, s.len, &c);
        if (!hg_jj_space(c)) break;
        s.len = at;
    }
    return s;
}

size_t hg_jj_chars(hg_str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) n += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
    return n;
}

size_t hg_jj_char_at(hg_str s, size_t n)
{
    size_t i = 0;
    for (; i < s.len; i++)
        if (((unsigned char)s.ptr[i] & 0xc0) != 0x80 && n-- == 0) return i;
    return i;
}

static utf8proc_category_t category(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)c);
}

/* str.isprintable() of one character. */
bool hg_jj_printable(uint32_t c)
{
    if (c < 0x7f) return c >= 0x20;
    switch (category(c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS: return false;
    default: return true;
    }
}

static bool in_class(uint32_t c, jj_class which)
{
    if (which == JJ_BLANK) return hg_jj_space(c);
    utf8proc_category_t k = category(c);
    bool alpha = k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
    bool decimal = k == UTF8PROC_CATEGORY_ND;
    bool numeric = decimal || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
    bool raised = c == 0xb2 || c == 0xb3 || c == 0xb9 || c == 0x2070 || (c >= 0x2074 && c <= 0x2079) ||
                  (c >= 0x2080 && c <= 0x2089); /* digits that are no decimals */
    switch (which) {
    case JJ_ALPHA: return alpha;
    case JJ_DIGIT: return decimal || raised;
    case JJ_DECIMAL: return decimal;
    case JJ_NUMERIC: return numeric;
    default: return alpha || numeric;
    }
}

bool hg_jj_class_all(hg_str s, jj_class which)
{
    uint32_t c;
    if (s.len == 0) return false;
    for (size_t n; (n = hg_utf8_next(s, &c)) != 0; s = (hg_str){s.ptr + n, s.len - n})
        if (!in_class(c, which)) return false;
    return true;
}

static bool cased(uint32_t c)
{
    utf8proc_category_t k = category(c);
    return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LT;
}

bool hg_jj_cased_all(hg_str s, bool upper)
{
    bool any = false;
    uint32_t c;
    for (size_t n; (n = hg_utf8_next(s, &c)) != 0; s = (hg_str){s.ptr + n, s.len - n}) {
        if (!cased(c)) continue;
        if (category(c) != (upper ? UTF8PROC_CATEGORY_LU : UTF8PROC_CATEGORY_LL)) return false;
        any = true;
    }
    return any;
}

static void put(hg_buf *b, uint32_t c)
{
    char bytes[4];
    hg_buf_add(b, bytes, hg_utf8_put(c, bytes));
}

/* One character in upper case (title: only its first letter when it becomes several). */
static void put_upper(hg_buf *b, uint32_t c, bool title)
{
    static const char *const ligatures[] = {"FF", "FI", "FL", "FFI", "FFL", "ST", "ST"};
    static const char *const titled[] = {"Ff", "Fi", "Fl", "Ffi", "Ffl", "St", "St"};
    if (c < 0x80) hg_buf_putc(b, (char)(c >= 'a' && c <= 'z' ? c - 32 : c));
    else if (c == 0xdf) hg_buf_puts(b, title ? "Ss" : "SS");
    else if (c >= 0xfb00 && c <= 0xfb06) hg_buf_puts(b, (title ? titled : ligatures)[c - 0xfb00]);
    else
        put(b, (uint32_t)(title ? utf8proc_totitle((utf8proc_int32_t)c)
                                : utf8proc_toupper((utf8proc_int32_t)c)));
}

static void put_lower(hg_buf *b, uint32_t c)
{
    if (c < 0x80) hg_buf_putc(b, (char)(c >= 'A' && c <= 'Z' ? c + 32 : c));
    else if (c == 0x130) hg_buf_puts(b, "i\xcc\x87");
    else put(b, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
}

/* Text in another case. */
bool hg_jj_recase(jj_run *r, hg_str s, jj_case how, jj_val *out)
{
    if (!hg_jj_bytes(r, s.len * 4)) return false;
    hg_buf b;
    hg_jj_buf(r, &b);
    bool inside = false; /* title: behind a cased character; capitalize: behind the first */
    uint32_t c;
    for (size_t n; (n = hg_utf8_next(s, &c)) != 0; s = (hg_str){s.ptr + n, s.len - n}) {
        bool up = how == JJ_UPPER || ((how == JJ_TITLE || how == JJ_CAPITALIZE) && !inside) ||
                  (how == JJ_SWAPCASE && category(c) == UTF8PROC_CATEGORY_LL);
        if (up) put_upper(&b, c, how == JJ_TITLE || how == JJ_CAPITALIZE);
        else if (how == JJ_SWAPCASE && category(c) != UTF8PROC_CATEGORY_LU) put(&b, c);
        else put_lower(&b, c);
        inside = how == JJ_CAPITALIZE || cased(c);
    }
    return hg_jj_buf_done(r, &b, out);
}

/* The length of the line end at the start of s, 0 when it is none. */
static size_t line_end(hg_str s)
{
    unsigned char c = s.len ? (unsigned char)*s.ptr : 0;
    if (c == '\r') return s.len > 1 && s.ptr[1] == '\n' ? 2 : 1;
    if ((c >= '\n' && c <= '\f') || (c >= 0x1c && c <= 0x1e)) return 1;
    if (c == 0xc2 && s.len > 1 && (unsigned char)s.ptr[1] == 0x85) return 2;
    if (c == 0xe2 && s.len > 2 &&
        (memcmp(s.ptr, "\xe2\x80\xa8", 3) == 0 || memcmp(s.ptr, "\xe2\x80\xa9", 3) == 0))
        return 3;
    return 0;
}

bool hg_jj_line(hg_str *s, hg_str *line, hg_str *end)
{
    if (s->len == 0) return false;
    hg_str at = *s;
    size_t n = 0;
    while (at.len && (n = line_end(at)) == 0) at = (hg_str){at.ptr + 1, at.len - 1};
    if (at.len == 0) n = 0;
    *line = (hg_str){s->ptr, s->len - at.len};
    *end = (hg_str){at.ptr, n};
    *s = (hg_str){at.ptr + n, at.len - n};
    return true;
}
