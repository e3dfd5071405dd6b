/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patterns by the rules of Python's fnmatch. A star first takes nothing; on a mismatch the last star seen takes
 * one character more and matching goes on from there. Earlier stars never have to be tried again: what the last
 * star cannot mend, they cannot either. So the work is at most length of pattern times length of text.
 */
#include "base/str.h"

/* The next character; a byte that is not UTF-8 stands for itself, outside the range of characters. */
static size_t next_char(hg_str s, uint32_t *c)
{
    size_t len = hg_utf8_next(s, c);
    if (len) return len;
    *c = 0x110000u + (unsigned char)s.ptr[0];
    return 1;
}

static hg_str skip(hg_str s, size_t n)
{
    return (hg_str){s.ptr + n, s.len - n};
}

/* The length of the set that begins with the '[' at p, brackets counted; 0 when it never ends. */
static size_t set_length(hg_str p)
{
    size_t i = 1;
    if (i < p.len && p.ptr[i] == '!') i++;
    if (i < p.len && p.ptr[i] == ']') i++;
    while (i < p.len && p.ptr[i] != ']') i++;
    return i < p.len ? i + 1 : 0;
}

/* Whether c is in the set whose inside (without brackets) is given. */
static bool set_has(hg_str in, uint32_t c)
{
    bool negated = in.len && in.ptr[0] == '!';
    bool found = false;
    if (negated) in = skip(in, 1);
    while (in.len) {
        uint32_t low, high;
        in = skip(in, next_char(in, &low));
        high = low;
        if (in.len > 1 && in.ptr[0] == '-') {
            in = skip(in, 1);
            in = skip(in, next_char(in, &high));
        }
        found = found || (low <= c && c <= high);
    }
    return found != negated;
}

/* Matches one pattern item that is not a star against the first character; false, or both moved on. */
static bool match_one(hg_str *p, hg_str *t)
{
    uint32_t want, have;
    if (p->len == 0 || t->len == 0) return false;
    size_t used = next_char(*t, &have);
    size_t item = next_char(*p, &want);
    if (want == '[') {
        size_t set = set_length(*p);
        if (set) {
            if (!set_has((hg_str){p->ptr + 1, set - 2}, have)) return false;
            *p = skip(*p, set);
            *t = skip(*t, used);
            return true;
        }
    }
    if (want != '?' && want != have) return false;
    *p = skip(*p, item);
    *t = skip(*t, used);
    return true;
}

bool hg_glob_match(hg_str p, hg_str t)
{
    bool below = hg_str_ends(p, HG_STR("/")); /* as if a star followed */
    bool starred = false;
    hg_str star_p = p, star_t = t;
    for (;;) {
        if (p.len && p.ptr[0] == '*') {
            p = skip(p, 1);
            if (p.len == 0) return true;
            starred = true;
            star_p = p;
            star_t = t;
        } else if (p.len == 0 && (t.len == 0 || below)) {
            return true;
        } else if (!match_one(&p, &t)) {
            uint32_t c;
            if (!starred || star_t.len == 0) return false;
            star_t = skip(star_t, next_char(star_t, &c));
            p = star_p;
            t = star_t;
        }
    }
}
