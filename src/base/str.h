/* SPDX-License-Identifier: Apache-2.0 */
/* Text: borrowed views, checks, patterns, sizes and times for people. Nothing here allocates unless it says so. */
#ifndef HG_BASE_STR_H
#define HG_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A view on bytes of somebody else's; not NUL-terminated. */
typedef struct hg_str {
    const char *ptr;
    size_t len;
} hg_str;
#define HG_STR(lit) ((hg_str){(lit), sizeof(lit) - 1})
/* For printf: printf("%.*s", HG_STR_ARG(s)) */
#define HG_STR_ARG(s) (int)(s).len, (s).ptr

static inline hg_str hg_str_of(const char *z)
{
    return (hg_str){z, z ? strlen(z) : 0};
}
static inline bool hg_str_eq(hg_str a, hg_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
bool hg_str_starts(hg_str s, hg_str prefix);
bool hg_str_ends(hg_str s, hg_str suffix);
/* Without white space at both ends. */
hg_str hg_str_trim(hg_str s);
/* Cuts at the first `sep`: *head is before it, *s moves behind it; false (head = all, s = empty) when there is none. */
bool hg_str_cut(hg_str *s, char sep, hg_str *head);
/* NULL-safe strcmp() == 0. */
bool hg_streq(const char *a, const char *b);

/* Well-formed UTF-8 (no surrogates, no overlong forms). */
bool hg_utf8_valid(hg_str s);
/* Decodes one character; returns its length in bytes, 0 at the end or on malformed input. */
size_t hg_utf8_next(hg_str s, uint32_t *out_char);
/* Encodes one character into out[4]; returns its length, 0 when it is not one. */
size_t hg_utf8_put(uint32_t c, char out[4]);
/* How many bytes at the start of s are whole characters (for streams that are cut anywhere). */
size_t hg_utf8_whole(hg_str s);
/* Columns that s takes on a terminal: 0 for combining marks, 2 for wide characters, 1 else. */
size_t hg_utf8_columns(hg_str s);

/* Shell pattern as the Hub's Python clients read it (fnmatch): * any run (also over /), ? one, [a-z], [!a-z];
 * a pattern that ends in / stands for everything below. Linear in the text for a fixed pattern: no backtracking blow-up. */
bool hg_glob_match(hg_str pattern, hg_str text);

/* "512", "10K", "10MB" (1000s), "10MiB" (1024s); K/M/G/T alone are 1000s. false when malformed or too large. */
bool hg_size_parse(hg_str s, uint64_t *out_bytes);
/* "3.2 MB" into buf[16]; 1000-based as the Hub's own tools. Returns buf. */
char *hg_size_format(uint64_t bytes, char buf[16]);
/* "90", "30s", "15m", "1h", "30d" to seconds. */
bool hg_duration_parse(hg_str s, double *out_seconds);
/* "0.4 s", "12 s", "3:05", "1:02:03" into buf[16]. */
char *hg_duration_format(double seconds, char buf[16]);

/* Copies s into out[cap] in a form that is safe to show on one line: control characters, bytes that are not UTF-8 and
 * marks that turn the writing direction become \xNN or \uNNNN. What does not fit is cut at a whole character and ends
 * in "...". Returns the length. */
size_t hg_escape(hg_str s, char *out, size_t cap);

/* Lower-case hex: out has room for 2 * len + 1. */
void hg_hex_encode(const uint8_t *bytes, size_t len, char *out);
/* Exactly len bytes from 2 * len hex digits (either case); false otherwise. */
bool hg_hex_decode(hg_str hex, uint8_t *out, size_t len);
/* Exactly `digits` lower-case hex digits. */
bool hg_hex_is(hg_str s, size_t digits);

/* Strict decimal without sign or space; false on anything else or overflow. */
bool hg_u64_parse(hg_str s, uint64_t *out);

#endif
