/* SPDX-License-Identifier: Apache-2.0 */
/* Filters of one value, and the way to all filters. Those of many items are in jinja_items.c. */
#include "format/jinja_inner.h"

#include <math.h>
#include <stdio.h>

static bool f_case(jj_run *r, jj_call *c)
{
    hg_str s;
    return hg_jj_text(r, &c->self, &s) && hg_jj_recase(r, s, (jj_case)c->entry->how, c->out);
}

/* Each word from a blank, a hyphen or an opening bracket on: first letter up, the others down. */
static bool f_title(jj_run *r, jj_call *c)
{
    hg_str s, all = {"", 0};
    jj_val part;
    if (!hg_jj_text(r, &c->self, &s) || !hg_jj_steps(r, s.len / 4)) return false;
    for (size_t i = 0, from = 0; i <= s.len; i++) {
        bool mark = i < s.len && strchr("-({[<", s.ptr[i]) && s.ptr[i];
        if (i < s.len && !mark && hg_jj_lstrip((hg_str){s.ptr + i, s.len - i}).ptr == s.ptr + i) continue;
        if (!hg_jj_recase(r, (hg_str){s.ptr + from, i - from}, JJ_CAPITALIZE, &part) ||
            !hg_jj_join(r, all, part.as.s, &all))
            return false;
        from = i;
        if (i == s.len) break;
        uint32_t ch;
        size_t n = hg_utf8_next((hg_str){s.ptr + i, s.len - i}, &ch);
        if (!hg_jj_join(r, all, (hg_str){s.ptr + i, n}, &all)) return false;
        from = i + n;
        i += n - 1;
    }
    *c->out = hg_jj_str(all);
    return true;
}

static bool f_trim(jj_run *r, jj_call *c)
{
    bool unsafe;
    hg_str s;
    if (!hg_jj_text(r, &c->self, &s)) return false;
    jj_val text = hg_jj_str(s);
    jj_args args = {.few = {c->p[0]}, .npos = c->p[0].type != JJ_ABSENT};
    args.pos = args.few;
    return hg_jj_invoke(r, hg_jj_method(&text, HG_STR("strip"), &unsafe), &text, &args, c->out);
}

static bool f_length(jj_run *r, jj_call *c)
{
    size_t n = 0;
    switch (c->self.type) {
    case JJ_UNDEF: break;
    case JJ_STR:
        n = hg_jj_chars(c->self.as.s);
        if (!hg_jj_bytes(r, c->self.as.s.len)) return false;
        break;
    case JJ_LIST:
    case JJ_TUPLE:
    case JJ_RANGE:
    case JJ_VIEW: n = c->self.as.list->len; break;
    case JJ_DICT: n = c->self.as.dict->len; break;
    default:
        return hg_jj_fail(r, HANGAR_E_INVALID, "object of type '%s' has no length",
                          hg_jj_type_name(c->self.type));
    }
    *c->out = hg_jj_int((int64_t)n);
    return true;
}

static bool f_default(jj_run *r, jj_call *c)
{
    (void)r;
    bool use = c->self.type == JJ_UNDEF || (hg_jj_true(&c->p[1]) && !hg_jj_true(&c->self));
    *c->out = !use ? c->self : c->p[0].type == JJ_ABSENT ? hg_jj_str((hg_str){"", 0}) : c->p[0];
    return true;
}

static bool f_string(jj_run *r, jj_call *c)
{
    *c->out = hg_jj_str((hg_str){"", 0});
    return hg_jj_text(r, &c->self, &c->out->as.s);
}

/* A whole number from a float, when it has one. */
static bool to_whole(double f, int64_t *out)
{
    if (isnan(f) || f >= 9223372036854775808.0 || f < -9223372036854775808.0) return false;
    *out = (int64_t)f;
    return true;
}

static bool f_int(jj_run *r, jj_call *c)
{
    int64_t base, n = 0;
    double f;
    bool ok = false;
    if (!hg_jj_want_int(r, c, &c->p[1], 10, &base)) return false;
    if (base != 2 && base != 8 && base != 10 && base != 16)
        return hg_jj_fail(r, HANGAR_E_UNSUPPORTED, "int() knows the bases 2, 8, 10 and 16");
    if (c->self.type == JJ_STR)
        ok = hg_jj_int_read(c->self.as.s, (int)base, &n) ||
             (hg_jj_float_read(c->self.as.s, &f) && to_whole(f, &n));
    else if (hg_jj_number(&c->self))
        ok = c->self.type == JJ_FLOAT ? to_whole(c->self.as.f, &n) : (n = hg_jj_i64(&c->self), true);
    else if (c->self.type == JJ_UNDEF) return hg_jj_fail_undef(r, &c->self);
    *c->out = ok ? hg_jj_int(n) : c->p[0].type == JJ_ABSENT ? hg_jj_int(0) : c->p[0];
    return true;
}

static bool f_float(jj_run *r, jj_call *c)
{
    double f = 0;
    if (c->self.type == JJ_UNDEF) return hg_jj_fail_undef(r, &c->self);
    bool ok = c->self.type == JJ_STR ? hg_jj_float_read(c->self.as.s, &f) : hg_jj_number(&c->self);
    if (ok && c->self.type != JJ_STR) f = hg_jj_f64(&c->self);
    *c->out = ok ? hg_jj_float(f) : c->p[0].type == JJ_ABSENT ? hg_jj_float(0) : c->p[0];
    return true;
}

static bool want_number(jj_run *r, jj_call *c)
{
    if (c->self.type == JJ_UNDEF) return hg_jj_fail_undef(r, &c->self);
    return hg_jj_number(&c->self) || hg_jj_fail(r, HANGAR_E_INVALID, "%s() wants a number, not %s",
                                                c->entry->name, hg_jj_type_name(c->self.type));
}

static bool f_abs(jj_run *r, jj_call *c)
{
    if (!want_number(r, c)) return false;
    if (c->self.type == JJ_FLOAT) {
        *c->out = hg_jj_float(fabs(c->self.as.f));
        return true;
    }
    int64_t n = hg_jj_i64(&c->self);
    if (n == INT64_MIN) return hg_jj_fail(r, HANGAR_E_LIMIT, "a whole number beyond 64 bits");
    *c->out = hg_jj_int(n < 0 ? -n : n);
    return true;
}

/* Halves go to the even neighbour in binary, as Python's round() has it: the decimal that is written is correct. */
static double round_common(double f, int64_t places)
{
    char text[400];
    if (places <= 0) {
        double unit = pow(10, (double)-places);
        return nearbyint(f / unit) * unit;
    }
    if (places > 300 || !isfinite(f)) return f;
    snprintf(text, sizeof text, "%.*f", (int)places, f);
    return strtod(text, NULL);
}

static bool f_round(jj_run *r, jj_call *c)
{
    int64_t places;
    hg_str method = HG_STR("common");
    if (!want_number(r, c) || !hg_jj_want_int(r, c, &c->p[0], 0, &places)) return false;
    if (c->p[1].type != JJ_ABSENT && !hg_jj_want_str(r, c, &c->p[1], &method)) return false;
    bool up = hg_str_eq(method, HG_STR("ceil")), down = hg_str_eq(method, HG_STR("floor"));
    double f = hg_jj_f64(&c->self);
    if (!up && !down && !hg_str_eq(method, HG_STR("common")))
        return hg_jj_fail(r, HANGAR_E_INVALID, "round() knows common, ceil and floor");
    if (places < -300 || places > 300)
        return hg_jj_fail(r, HANGAR_E_LIMIT, "round() to more than 300 places");
    if (up || down)
        f = (up ? ceil(f * pow(10, (double)places)) : floor(f * pow(10, (double)places))) /
            pow(10, (double)places);
    else f = round_common(f, places);
    /* round() of a whole number is one. */
    bool whole = c->self.type != JJ_FLOAT && !up && !down;
    *c->out = whole ? hg_jj_int((int64_t)f) : hg_jj_float(f);
    if (whole && places >= 0) *c->out = hg_jj_int(hg_jj_i64(&c->self));
    return true;
}

static bool f_replace(jj_run *r, jj_call *c)
{
    bool unsafe;
    hg_str s, from, to;
    if (!hg_jj_text(r, &c->self, &s) || !hg_jj_text(r, &c->p[0], &from) || !hg_jj_text(r, &c->p[1], &to))
        return false;
    jj_val text = hg_jj_str(s);
    jj_args args = {.few = {hg_jj_str(from), hg_jj_str(to), c->p[2]}, .npos = 2};
    if (c->p[2].type != JJ_ABSENT && c->p[2].type != JJ_NONE) args.npos = 3;
    args.pos = args.few;
    return hg_jj_invoke(r, hg_jj_method(&text, HG_STR("replace"), &unsafe), &text, &args, c->out);
}

/* `width` blanks, or the text that was given. */
static bool indention(jj_run *r, jj_call *c, const jj_val *width, int64_t def, hg_str *out)
{
    int64_t n;
    if (width->type == JJ_STR) {
        *out = width->as.s;
        return true;
    }
    if (!hg_jj_want_int(r, c, width, def, &n)) return false;
    jj_val blank = hg_jj_str(HG_STR(" ")), times = hg_jj_int(n), text;
    if (!hg_jj_binary(r, '*', &blank, &times, &text)) return false;
    *out = text.as.s;
    return true;
}

static bool f_indent(jj_run *r, jj_call *c)
{
    hg_str s, by, line, end;
    if (!hg_jj_text(r, &c->self, &s) || !indention(r, c, &c->p[0], 4, &by) || !hg_jj_steps(r, s.len / 16))
        return false;
    bool first = hg_jj_true(&c->p[1]), blank = hg_jj_true(&c->p[2]);
    hg_buf b;
    hg_jj_buf(r, &b);
    bool open = true; /* a line is still to come: there is one behind the last line end */
    for (size_t i = 0; open; i++) {
        if (!hg_jj_line(&s, &line, &end)) line = end = (hg_str){"", 0};
        open = end.len != 0;
        if (i) hg_buf_putc(&b, '\n');
        if (i ? blank || line.len : first) hg_buf_str(&b, by);
        hg_buf_str(&b, line);
    }
    return hg_jj_buf_done(r, &b, c->out);
}

static bool f_tojson(jj_run *r, jj_call *c)
{
    /* ensure_ascii indent separators sort_keys */
    jj_json_style style = {.ascii = hg_jj_true(&c->p[0]), .sort = hg_jj_true(&c->p[3])};
    bool pretty = c->p[1].type != JJ_ABSENT && c->p[1].type != JJ_NONE;
    style.item = pretty ? HG_STR(",") : HG_STR(", ");
    style.key = HG_STR(": ");
    if (pretty && !indention(r, c, &c->p[1], 0, &style.indent)) return false;
    if (pretty && !style.indent.ptr) style.indent = (hg_str){"", 0};
    if (c->p[2].type != JJ_ABSENT && c->p[2].type != JJ_NONE) {
        const jj_list *l;
        if (!hg_jj_iterate(r, &c->p[2], &l)) return false;
        if (l->len != 2) return hg_jj_fail(r, HANGAR_E_INVALID, "tojson() wants two separators");
        if (!hg_jj_want_str(r, c, &l->items[0], &style.item) ||
            !hg_jj_want_str(r, c, &l->items[1], &style.key))
            return false;
    }
    if (c->self.type == JJ_UNDEF) return hg_jj_fail_undef(r, &c->self);
    hg_buf b;
    hg_jj_buf(r, &b);
    if (!hg_jj_json(r, &c->self, &style, 0, &b)) {
        hg_buf_deinit(&b);
        return false;
    }
    return hg_jj_buf_done(r, &b, c->out);
}

static bool f_escape(jj_run *r, jj_call *c)
{
    static const char from[] = "&<>'\"", *const to[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    hg_str s;
    hg_buf b;
    if (!hg_jj_text(r, &c->self, &s) || !hg_jj_steps(r, s.len / 16)) return false;
    hg_jj_buf(r, &b);
    for (size_t i = 0; i < s.len; i++) {
        const char *known = s.ptr[i] ? strchr(from, s.ptr[i]) : NULL;
        if (known) hg_buf_puts(&b, to[known - from]);
        else hg_buf_putc(&b, s.ptr[i]);
    }
    return hg_jj_buf_done(r, &b, c->out);
}

static bool f_wordcount(jj_run *r, jj_call *c)
{
    hg_str s;
    int64_t n = 0;
    if (!hg_jj_text(r, &c->self, &s) || !hg_jj_steps(r, s.len / 4)) return false;
    bool in = false;
    uint32_t ch;
    for (size_t k; (k = hg_utf8_next(s, &ch)) != 0; s = (hg_str){s.ptr + k, s.len - k}) {
        bool word = ch == '_' || hg_jj_class_all((hg_str){s.ptr, k}, JJ_ALNUM);
        n += word && !in;
        in = word;
    }
    *c->out = hg_jj_int(n);
    return true;
}

static bool f_refused(jj_run *r, jj_call *c)
{
    return hg_jj_fail(r, HANGAR_E_UNSUPPORTED, "the filter '%s' is not part of the dialect", c->entry->name);
}

static const jj_entry filters[] = {
    {"upper", "", f_case, 0, JJ_UPPER},
    {"lower", "", f_case, 0, JJ_LOWER},
    {"capitalize", "", f_case, 0, JJ_CAPITALIZE},
    {"title", "", f_title, 0, 0},
    {"trim", "chars", f_trim, 0, 0},
    {"length", "", f_length, 0, 0},
    {"count", "", f_length, 0, 0},
    {"default", "default_value boolean", f_default, 0, 0},
    {"d", "default_value boolean", f_default, 0, 0},
    {"string", "", f_string, 0, 0},
    {"safe", "", f_string, 0, 0},
    {"int", "default base", f_int, 0, 0},
    {"float", "default", f_float, 0, 0},
    {"abs", "", f_abs, 0, 0},
    {"round", "precision method", f_round, 0, 0},
    {"replace", "old new count", f_replace, 2, 0},
    {"indent", "width first blank", f_indent, 0, 0},
    {"tojson", "ensure_ascii indent separators sort_keys", f_tojson, 0, 0},
    {"escape", "", f_escape, 0, 0},
    {"e", "", f_escape, 0, 0},
    {"forceescape", "", f_escape, 0, 0},
    {"wordcount", "", f_wordcount, 0, 0},
    {"format", "*", f_refused, 0, 0},
    {"attr", "*", f_refused, 0, 0},
    {"random", "*", f_refused, 0, 0},
    {"pprint", "*", f_refused, 0, 0},
    {"xmlattr", "*", f_refused, 0, 0},
    {"urlize", "*", f_refused, 0, 0},
    {0},
};

const jj_entry *hg_jj_filter(hg_str name)
{
    const jj_entry *e = hg_jj_entry_find(filters, name);
    return e ? e : hg_jj_items_filter(name);
}

bool hg_jj_filter_apply(jj_run *r, hg_str name, const jj_val *self, const jj_args *args, jj_val *out)
{
    char word[64];
    const jj_entry *e = hg_jj_filter(name);
    hg_escape(name, word, sizeof word);
    if (!e) return hg_jj_fail(r, HANGAR_E_UNSUPPORTED, "no filter is called '%s'", word);
    return hg_jj_invoke(r, e, self, args, out);
}
