/* SPDX-License-Identifier: Apache-2.0 */
/* Values to text: str() and repr() as Python has them, and JSON as Python's json.dumps writes it; numbers both ways. */
#include "format/jinja_inner.h"

#include <math.h>
#include <stdio.h>
#include <strings.h>

/* The fewest digits that read as f again, without sign and point; *exponent is of the first. */
static size_t float_digits(double f, char digits[24], int *exponent)
{
    char sci[40];
    int precision = 0;
    do snprintf(sci, sizeof sci, "%.*e", precision, f);
    while (strtod(sci, NULL) != f && ++precision < 17);
    size_t n = 0;
    const char *p = sci;
    for (; *p && *p != 'e'; p++)
        if (*p >= '0' && *p <= '9') digits[n++] = *p; /* whatever the locale's point is */
    *exponent = *p ? (int)strtol(p + 1, NULL, 10) : 0;
    while (n > 1 && digits[n - 1] == '0') n--;
    return n;
}

size_t hg_jj_float_text(double f, char *buf)
{
    if (isnan(f)) return (size_t)snprintf(buf, 40, "nan");
    if (isinf(f)) return (size_t)snprintf(buf, 40, f < 0 ? "-inf" : "inf");
    char digits[24];
    int exponent;
    size_t w = 0, n = float_digits(f, digits, &exponent);
    if (signbit(f)) buf[w++] = '-';
    if (exponent < -4 || exponent >= 16) {
        buf[w++] = digits[0];
        if (n > 1) buf[w++] = '.';
        memcpy(buf + w, digits + 1, n - 1);
        w += n - 1;
        return w + (size_t)snprintf(buf + w, 40 - w, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
    }
    /* Place i of the number, 0 before the point, holds digit exponent + i. */
    int last = (int)n - 1 - exponent;
    for (int i = exponent < 0 ? 0 : -exponent; i <= (last < 1 ? 1 : last); i++) {
        int at = exponent + i;
        if (i == 1) buf[w++] = '.';
        buf[w++] = at >= 0 && at < (int)n ? digits[at] : '0';
    }
    buf[w] = '\0';
    return w;
}

/* inf, infinity, nan. */
static bool float_word(hg_str s, double *out)
{
    static const char *const words[] = {"inf", "infinity", "nan"};
    for (size_t i = 0; i < HG_LEN(words); i++)
        if (s.len == strlen(words[i]) && strncasecmp(s.ptr, words[i], s.len) == 0) {
            *out = i == 2 ? (double)NAN : (double)INFINITY;
            return true;
        }
    return false;
}

/* A number without sign, as JSON has it: digits on both sides of a point, no zeros before. Its length, 0 when too long. */
static size_t float_plain(hg_str s, char text[400])
{
    size_t n = 0;
    while (s.len > 1 && s.ptr[0] == '0' && s.ptr[1] >= '0' && s.ptr[1] <= '9')
        s = (hg_str){s.ptr + 1, s.len - 1};
    if (s.len == 0 || s.len > 390 || *s.ptr == '-' || hg_str_eq(s, HG_STR("."))) return 0;
    if (*s.ptr == '.') text[n++] = '0';
    for (size_t i = 0; i < s.len; i++) {
        char next = i + 1 < s.len ? s.ptr[i + 1] : 0;
        if (!s.ptr[i] || !strchr("0123456789.eE+-", s.ptr[i])) return 0;
        text[n++] = s.ptr[i];
        if (s.ptr[i] == '.' && !(next >= '0' && next <= '9')) text[n++] = '0';
        if (n > 396) return 0;
    }
    return n;
}

/* By the JSON parser, whose point is always a point. */
bool hg_jj_float_read(hg_str s, double *out)
{
    char text[400];
    s = hg_jj_rstrip(hg_jj_lstrip(s));
    bool minus = s.len && *s.ptr == '-';
    if (s.len && (*s.ptr == '-' || *s.ptr == '+')) s = (hg_str){s.ptr + 1, s.len - 1};
    bool ok = float_word(s, out);
    size_t n = ok ? 0 : float_plain(s, text);
    hg_json *doc = NULL;
    if (n && hg_json_parse((hg_str){text, n}, NULL, &doc, NULL) == HANGAR_OK)
        ok = hg_json_f64(hg_json_root(doc), out);
    hg_json_free(doc);
    if (ok && minus) *out = -*out;
    return ok;
}

bool hg_jj_int_read(hg_str s, int base, int64_t *out)
{
    s = hg_jj_rstrip(hg_jj_lstrip(s));
    bool minus = s.len && *s.ptr == '-';
    if (s.len && (*s.ptr == '-' || *s.ptr == '+')) s = (hg_str){s.ptr + 1, s.len - 1};
    if (s.len > 2 && *s.ptr == '0' &&
        (s.ptr[1] | 32) == (base == 16  ? 'x'
                            : base == 8 ? 'o'
                            : base == 2 ? 'b'
                                        : 0))
        s = (hg_str){s.ptr + 2, s.len - 2};
    if (s.len == 0) return false;
    int64_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        int v = c >= '0' && c <= '9'                 ? c - '0'
                : (c | 32) >= 'a' && (c | 32) <= 'z' ? (c | 32) - 'a' + 10
                                                     : 99;
        if (v >= base || __builtin_mul_overflow(n, base, &n) || __builtin_sub_overflow(n, v, &n))
            return false;
    }
    return minus ? (*out = n, true) : !__builtin_sub_overflow((int64_t)0, n, out);
}

/* 'text', by Python's choice of quotes and escapes. */
static void repr_text(hg_buf *b, hg_str s)
{
    bool twice = memchr(s.ptr ? s.ptr : "", '\'', s.len) && !memchr(s.ptr, '"', s.len);
    char quote = twice ? '"' : '\'';
    hg_buf_putc(b, quote);
    uint32_t c;
    for (size_t n; (n = hg_utf8_next(s, &c)) != 0; s = (hg_str){s.ptr + n, s.len - n}) {
        if (c == (uint32_t)quote || c == '\\') hg_buf_printf(b, "\\%c", (int)c);
        else if (c == '\n') hg_buf_puts(b, "\\n");
        else if (c == '\r') hg_buf_puts(b, "\\r");
        else if (c == '\t') hg_buf_puts(b, "\\t");
        else if (hg_jj_printable(c)) hg_buf_add(b, s.ptr, n);
        else hg_buf_printf(b, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
    }
    hg_buf_putc(b, quote);
}

static bool repr(jj_run *r, const jj_val *v, unsigned depth, hg_buf *b);

static bool repr_list(jj_run *r, const jj_val *v, unsigned depth, hg_buf *b)
{
    const jj_list *l = v->as.list;
    static const char *const views[] = {"dict_keys([", "dict_values([", "dict_items(["};
    hg_buf_puts(b, v->type == JJ_TUPLE ? "(" : v->type == JJ_VIEW ? views[l->start] : "[");
    for (size_t i = 0; i < l->len; i++) {
        if (i) hg_buf_puts(b, ", ");
        if (!repr(r, &l->items[i], depth + 1, b)) return false;
    }
    hg_buf_puts(b, v->type == JJ_TUPLE ? (l->len == 1 ? ",)" : ")") : v->type == JJ_VIEW ? "])" : "]");
    return true;
}

static bool repr_dict(jj_run *r, const jj_val *v, unsigned depth, hg_buf *b)
{
    const jj_dict *d = v->as.dict;
    hg_buf_puts(b, v->type == JJ_SPACE ? "<Namespace {" : "{");
    for (size_t i = 0; i < d->len; i++) {
        if (i) hg_buf_puts(b, ", ");
        if (!repr(r, &d->pairs[i].key, depth + 1, b)) return false;
        hg_buf_puts(b, ": ");
        if (!repr(r, &d->pairs[i].val, depth + 1, b)) return false;
    }
    hg_buf_puts(b, v->type == JJ_SPACE ? "}>" : "}");
    return true;
}

static void repr_range(const jj_list *l, hg_buf *b)
{
    hg_buf_printf(b, "range(%lld, %lld", (long long)l->start, (long long)l->stop);
    if (l->step != 1) hg_buf_printf(b, ", %lld", (long long)l->step);
    hg_buf_putc(b, ')');
}

static bool repr(jj_run *r, const jj_val *v, unsigned depth, hg_buf *b)
{
    char text[40];
    if (depth > HG_JINJA_VALUE_DEPTH)
        return hg_jj_fail(r, HANGAR_E_LIMIT, "values are nested more than %d deep", HG_JINJA_VALUE_DEPTH);
    if (!hg_jj_steps(r, 1)) return false;
    switch (v->type) {
    case JJ_NONE: hg_buf_puts(b, "None"); break;
    case JJ_BOOL: hg_buf_puts(b, v->as.b ? "True" : "False"); break;
    case JJ_INT: hg_buf_printf(b, "%lld", (long long)v->as.i); break;
    case JJ_FLOAT: hg_buf_add(b, text, hg_jj_float_text(v->as.f, text)); break;
    case JJ_STR:
        if (!hg_jj_steps(r, v->as.s.len / 16)) return false;
        repr_text(b, v->as.s);
        break;
    case JJ_LIST:
    case JJ_TUPLE:
    case JJ_VIEW:
        if (!repr_list(r, v, depth, b)) return false;
        break;
    case JJ_DICT:
    case JJ_SPACE:
        if (!repr_dict(r, v, depth, b)) return false;
        break;
    case JJ_RANGE: repr_range(v->as.list, b); break;
    case JJ_UNDEF: hg_buf_puts(b, "Undefined"); break;
    default: hg_buf_printf(b, "<%s>", hg_jj_type_name(v->type));
    }
    return b->state == HANGAR_OK ||
           hg_jj_fail(r, b->state, "the template's text is over the limit of %zu bytes", b->max);
}

bool hg_jj_print(jj_run *r, const jj_val *v, hg_buf *b)
{
    if (v->type == JJ_UNDEF) return true;
    if (v->type != JJ_STR) return repr(r, v, 0, b);
    if (!hg_jj_bytes(r, v->as.s.len)) return false;
    hg_buf_str(b, v->as.s);
    return b->state == HANGAR_OK ||
           hg_jj_fail(r, b->state, "the template's text is over the limit of %zu bytes", b->max);
}

bool hg_jj_text(jj_run *r, const jj_val *v, hg_str *out)
{
    *out = v->type == JJ_STR ? v->as.s : (hg_str){"", 0};
    if (v->type == JJ_STR || v->type == JJ_UNDEF) return true;
    hg_buf b;
    jj_val made;
    hg_jj_buf(r, &b);
    if (!hg_jj_print(r, v, &b)) {
        hg_buf_deinit(&b);
        return false;
    }
    if (!hg_jj_buf_done(r, &b, &made)) return false;
    *out = made.as.s;
    return true;
}

static void json_text(hg_buf *b, hg_str s, bool ascii)
{
    static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
    hg_buf_putc(b, '"');
    uint32_t c;
    for (size_t n; (n = hg_utf8_next(s, &c)) != 0; s = (hg_str){s.ptr + n, s.len - n}) {
        const char *known = c && c < 0x80 ? strchr(from, (int)c) : NULL;
        if (known) hg_buf_printf(b, "\\%c", to[known - from]);
        else if (c >= 0x10000 && ascii)
            hg_buf_printf(b, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
                          0xdc00 + ((c - 0x10000) & 0x3ff));
        else if (c < 0x20 || (c >= 0x7f && ascii && c != 0x7f)) hg_buf_printf(b, "\\u%04x", c);
        else hg_buf_add(b, s.ptr, n);
    }
    hg_buf_putc(b, '"');
}

static void json_newline(hg_buf *b, const jj_json_style *style, unsigned depth)
{
    if (!style->indent.ptr) return;
    hg_buf_putc(b, '\n');
    for (unsigned i = 0; i < depth; i++) hg_buf_str(b, style->indent);
}

static bool json_list(jj_run *r, const jj_list *l, const jj_json_style *style, unsigned depth, hg_buf *b)
{
    hg_buf_putc(b, '[');
    for (size_t i = 0; i < l->len; i++) {
        if (i) hg_buf_str(b, style->item);
        json_newline(b, style, depth + 1);
        if (!hg_jj_json(r, &l->items[i], style, depth + 1, b)) return false;
    }
    if (l->len) json_newline(b, style, depth);
    hg_buf_putc(b, ']');
    return true;
}

/* A key as JSON has it: always text. */
static bool json_key(jj_run *r, const jj_val *key, bool ascii, hg_buf *b)
{
    char text[40];
    switch (key->type) {
    case JJ_STR: json_text(b, key->as.s, ascii); return true;
    case JJ_NONE: hg_buf_puts(b, "\"null\""); return true;
    case JJ_BOOL: hg_buf_puts(b, key->as.b ? "\"true\"" : "\"false\""); return true;
    case JJ_INT: hg_buf_printf(b, "\"%lld\"", (long long)key->as.i); return true;
    case JJ_FLOAT: hg_buf_printf(b, "\"%.*s\"", (int)hg_jj_float_text(key->as.f, text), text); return true;
    default:
        return hg_jj_fail(r, HANGAR_E_INVALID, "keys of JSON are text, numbers, none; not %s",
                          hg_jj_type_name(key->type));
    }
}

static bool json_dict(jj_run *r, const jj_dict *d, const jj_json_style *style, unsigned depth, hg_buf *b)
{
    jj_sort_item *sorted = NULL;
    if (style->sort) {
        if (!(sorted = hg_jj_take(r, d->len, sizeof *sorted))) return false;
        for (size_t i = 0; i < d->len; i++) sorted[i] = (jj_sort_item){d->pairs[i].key, d->pairs[i].val};
        if (!hg_jj_sort(r, sorted, d->len, false)) return false;
    }
    hg_buf_putc(b, '{');
    for (size_t i = 0; i < d->len; i++) {
        if (i) hg_buf_str(b, style->item);
        json_newline(b, style, depth + 1);
        if (!json_key(r, sorted ? &sorted[i].key : &d->pairs[i].key, style->ascii, b)) return false;
        hg_buf_str(b, style->key);
        if (!hg_jj_json(r, sorted ? &sorted[i].val : &d->pairs[i].val, style, depth + 1, b)) return false;
    }
    if (d->len) json_newline(b, style, depth);
    hg_buf_putc(b, '}');
    return true;
}

bool hg_jj_json(jj_run *r, const jj_val *v, const jj_json_style *style, unsigned depth, hg_buf *b)
{
    char text[40];
    if (depth > HG_JINJA_VALUE_DEPTH)
        return hg_jj_fail(r, HANGAR_E_LIMIT, "values are nested more than %d deep", HG_JINJA_VALUE_DEPTH);
    if (!hg_jj_steps(r, 1)) return false;
    switch (v->type) {
    case JJ_NONE: hg_buf_puts(b, "null"); break;
    case JJ_BOOL: hg_buf_puts(b, v->as.b ? "true" : "false"); break;
    case JJ_INT: hg_buf_printf(b, "%lld", (long long)v->as.i); break;
    case JJ_FLOAT:
        if (isfinite(v->as.f)) hg_buf_add(b, text, hg_jj_float_text(v->as.f, text));
        else hg_buf_puts(b, isnan(v->as.f) ? "NaN" : v->as.f < 0 ? "-Infinity" : "Infinity");
        break;
    case JJ_STR:
        if (!hg_jj_steps(r, v->as.s.len / 16)) return false;
        json_text(b, v->as.s, style->ascii);
        break;
    case JJ_LIST:
    case JJ_TUPLE:
        if (!json_list(r, v->as.list, style, depth, b)) return false;
        break;
    case JJ_DICT:
        if (!json_dict(r, v->as.dict, style, depth, b)) return false;
        break;
    default:
        return hg_jj_fail(r, HANGAR_E_INVALID, "an object of type %s cannot be written as JSON",
                          hg_jj_type_name(v->type));
    }
    return b->state == HANGAR_OK || hg_jj_fail_memory(r);
}
