/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes and durations as people write and read them. */
#include "base/mem.h"
#include "base/str.h"

#include <math.h>
#include <stdio.h>

/* The decimal number at the start of s as value / 10^digits; moves s behind it. false: none there, or too long. */
static bool read_decimal(hg_str *s, uint64_t *value, unsigned *fraction_digits)
{
    bool fraction = false;
    bool any = false;
    *value = 0;
    *fraction_digits = 0;
    for (; s->len; s->ptr++, s->len--) {
        char c = s->ptr[0];
        if (c == '.' && !fraction && any) {
            fraction = true;
            any = false; /* a digit must follow */
            continue;
        }
        if (c < '0' || c > '9') break;
        if (!hg_mul(*value, 10, value) || !hg_add(*value, (uint64_t)(c - '0'), value)) return false;
        if (fraction && ++*fraction_digits > 9) return false;
        any = true;
    }
    return any;
}

static char upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

bool hg_size_parse(hg_str s, uint64_t *out_bytes)
{
    static const char units[] = "KMGT";
    uint64_t value, factor = 1;
    unsigned digits;
    if (!read_decimal(&s, &value, &digits)) return false;
    if (s.len > 1 && s.ptr[0] == ' ') s = (hg_str){s.ptr + 1, s.len - 1};
    const char *unit = s.len ? memchr(units, upper(s.ptr[0]), sizeof units - 1) : NULL;
    if (unit) {
        s = (hg_str){s.ptr + 1, s.len - 1};
        bool binary = s.len && upper(s.ptr[0]) == 'I';
        if (binary) s = (hg_str){s.ptr + 1, s.len - 1};
        for (const char *u = units; u <= unit; u++) factor *= binary ? 1024 : 1000;
        if (binary && s.len == 0) return false; /* "10Mi" */
    }
    if (s.len && upper(s.ptr[0]) == 'B') s = (hg_str){s.ptr + 1, s.len - 1};
    if (s.len || !hg_mul(value, factor, &value)) return false;
    uint64_t divisor = 1;
    while (digits--) divisor *= 10;
    *out_bytes = value / divisor;
    return true;
}

char *hg_size_format(uint64_t bytes, char buf[16])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    if (bytes < 1000) {
        snprintf(buf, 16, "%u B", (unsigned)bytes);
        return buf;
    }
    size_t unit = 0;
    uint64_t tenths = bytes; /* in tenths of the unit once unit > 0 */
    uint64_t scale = 1;
    do {
        scale *= 1000;
        unit++;
        tenths = bytes / (scale / 10) + (bytes % (scale / 10) >= scale / 20);
    } while (tenths >= 10000 && unit + 1 < HG_LEN(units));
    snprintf(buf, 16, "%u.%u %s", (unsigned)(tenths / 10), (unsigned)(tenths % 10), units[unit]);
    return buf;
}

#define DURATION_MAX 1e10 /* seconds; some three hundred years */

bool hg_duration_parse(hg_str s, double *out_seconds)
{
    uint64_t value;
    unsigned digits;
    if (!read_decimal(&s, &value, &digits)) return false;
    double seconds = (double)value / pow(10, digits);
    if (hg_str_eq(s, HG_STR("ms"))) seconds /= 1000;
    else if (hg_str_eq(s, HG_STR("m"))) seconds *= 60;
    else if (hg_str_eq(s, HG_STR("h"))) seconds *= 3600;
    else if (hg_str_eq(s, HG_STR("d"))) seconds *= 86400;
    else if (s.len && !hg_str_eq(s, HG_STR("s"))) return false;
    if (seconds > DURATION_MAX) return false;
    *out_seconds = seconds;
    return true;
}

char *hg_duration_format(double seconds, char buf[16])
{
    if (!(seconds >= 0)) {
        snprintf(buf, 16, "-");
        return buf;
    }
    if (seconds > DURATION_MAX) seconds = DURATION_MAX;
    if (seconds < 9.95) {
        snprintf(buf, 16, "%.1f s", seconds);
        return buf;
    }
    uint64_t whole = (uint64_t)(seconds + 0.5);
    unsigned s = (unsigned)(whole % 60), m = (unsigned)(whole / 60 % 60),
             h = (unsigned)(whole / 3600 % 10000000);
    if (whole < 60) snprintf(buf, 16, "%u s", s);
    else if (h == 0) snprintf(buf, 16, "%u:%02u", m, s);
    else snprintf(buf, 16, "%u:%02u:%02u", h, m, s);
    return buf;
}
