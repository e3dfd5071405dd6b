/* SPDX-License-Identifier: Apache-2.0 */
/* Views, digits and hex; UTF-8 is in utf8.c, patterns in glob.c, sizes and durations in human.c. */
#include "base/str.h"

bool hg_str_starts(hg_str s, hg_str prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

bool hg_str_ends(hg_str s, hg_str suffix)
{
    return s.len >= suffix.len &&
           (suffix.len == 0 || memcmp(s.ptr + s.len - suffix.len, suffix.ptr, suffix.len) == 0);
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

hg_str hg_str_trim(hg_str s)
{
    while (s.len && is_space(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len && is_space(s.ptr[s.len - 1])) s.len--;
    return s;
}

bool hg_str_cut(hg_str *s, char sep, hg_str *head)
{
    const char *at = s->len ? memchr(s->ptr, sep, s->len) : NULL;
    *head = *s;
    if (!at) {
        s->ptr = s->len ? s->ptr + s->len : s->ptr;
        s->len = 0;
        return false;
    }
    head->len = (size_t)(at - s->ptr);
    s->ptr = at + 1;
    s->len -= head->len + 1;
    return true;
}

bool hg_streq(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static const char hex_digits[] = "0123456789abcdef";

/* Shows control characters, bytes that are not UTF-8, and marks that turn the direction of writing, as escapes. */
size_t hg_escape(hg_str s, char *out, size_t cap)
{
    static const char dots[] = "...";
    if (cap == 0) return 0;
    size_t len = 0;
    size_t safe = 0; /* the longest whole prefix behind which the dots still fit */
    bool cut = false;
    while (s.len && !cut) {
        char piece[8];
        uint32_t c = 0;
        size_t used = hg_utf8_next(s, &c);
        size_t n = used;
        bool hidden = used == 0 || c < 0x20 || (c >= 0x7f && c < 0xa0);
        bool turning =
            (c >= 0x200e && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
        if (hidden) {
            uint32_t byte = used == 0 ? (unsigned char)s.ptr[0] : c;
            used = used ? used : 1;
            memcpy(piece, (char[]){'\\', 'x', hex_digits[byte >> 4 & 15], hex_digits[byte & 15]}, n = 4);
        } else if (turning) {
            memcpy(piece,
                   (char[]){'\\', 'u', hex_digits[c >> 12 & 15], hex_digits[c >> 8 & 15],
                            hex_digits[c >> 4 & 15], hex_digits[c & 15]},
                   n = 6);
        } else {
            memcpy(piece, s.ptr, n);
        }
        if (len + n + sizeof dots <= cap) safe = len + n;
        cut = len + n >= cap;
        if (!cut) memcpy(out + len, piece, n);
        len += cut ? 0 : n;
        s.ptr += used;
        s.len -= used;
    }
    if (cut) {
        len = safe;
        size_t room = cap - 1 - len < sizeof dots - 1 ? cap - 1 - len : sizeof dots - 1;
        memcpy(out + len, dots, room);
        len += room;
    }
    out[len] = '\0';
    return len;
}

void hg_hex_encode(const uint8_t *bytes, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++) {
        *out++ = hex_digits[bytes[i] >> 4];
        *out++ = hex_digits[bytes[i] & 15];
    }
    *out = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool hg_hex_decode(hg_str hex, uint8_t *out, size_t len)
{
    if (hex.len / 2 != len || hex.len % 2) return false;
    for (size_t i = 0; i < hex.len; i++)
        if (hex_value(hex.ptr[i]) < 0) return false;
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(hex_value(hex.ptr[2 * i]) << 4 | hex_value(hex.ptr[2 * i + 1]));
    return true;
}

bool hg_hex_is(hg_str s, size_t digits)
{
    if (s.len != digits) return false;
    for (size_t i = 0; i < s.len; i++)
        if (hex_value(s.ptr[i]) < 0 || (s.ptr[i] >= 'A' && s.ptr[i] <= 'F')) return false;
    return true;
}

bool hg_u64_parse(hg_str s, uint64_t *out)
{
    uint64_t n = 0;
    if (s.len == 0) return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9') return false;
        if (__builtin_mul_overflow(n, (uint64_t)10, &n)) return false;
        if (__builtin_add_overflow(n, (uint64_t)(s.ptr[i] - '0'), &n)) return false;
    }
    *out = n;
    return true;
}
