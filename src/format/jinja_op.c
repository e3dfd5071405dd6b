/* SPDX-License-Identifier: Apache-2.0 */
/* Operators, members and subscripts. */
#include "format/jinja_inner.h"

#include <math.h>

bool hg_jj_fail_undef(jj_run *r, const jj_val *v)
{
    char name[128];
    hg_escape(v->as.s, name, sizeof name);
    if (v->sub == JJ_NAMED) return hg_jj_fail(r, HANGAR_E_INVALID, "'%s' is undefined", name);
    if (v->sub == JJ_UNSAFE) return hg_jj_fail(r, HANGAR_E_UNSUPPORTED, "'%s' is not for templates", name);
    return hg_jj_fail(r, HANGAR_E_INVALID, "'%s object' has no attribute '%s'",
                      hg_jj_type_name(v->sub - JJ_OF), name);
}

static bool op_fail(jj_run *r, int op, const jj_val *a, const jj_val *b)
{
    if (a->type == JJ_UNDEF || b->type == JJ_UNDEF) return hg_jj_fail_undef(r, a->type == JJ_UNDEF ? a : b);
    char word[3] = {op == JJ_OP_POW        ? '*'
                    : op == JJ_OP_FLOORDIV ? '/'
                                           : (char)op,
                    op == JJ_OP_POW        ? '*'
                    : op == JJ_OP_FLOORDIV ? '/'
                                           : 0,
                    0};
    return hg_jj_fail(r, HANGAR_E_INVALID, "'%s' does not work on '%s' and '%s'", word,
                      hg_jj_type_name(a->type), hg_jj_type_name(b->type));
}

/* Rounded towards minus infinity, as Python does; b is not 0. */
static bool floor_div(int64_t a, int64_t b, int64_t *q, int64_t *m)
{
    if (b == -1) {
        *m = 0;
        return !__builtin_sub_overflow((int64_t)0, a, q);
    }
    *q = a / b;
    *m = a % b;
    if (*m && (*m < 0) != (b < 0)) {
        *q -= 1;
        *m += b;
    }
    return true;
}

/* a to the power of b >= 0; false on overflow. */
static bool power(int64_t a, int64_t b, int64_t *out)
{
    *out = 1;
    for (;; a *= a) {
        if ((b & 1) && __builtin_mul_overflow(*out, a, out)) return false;
        if ((b >>= 1) == 0) return true;
        int64_t square;
        if (__builtin_mul_overflow(a, a, &square)) return false;
    }
}

/* Whole numbers; *done is false where the result is a float. */
static bool whole(jj_run *r, int op, int64_t a, int64_t b, jj_val *out, bool *done)
{
    int64_t n = 0, rest = 0;
    bool fits = true;
    *done = true;
    switch (op) {
    case '+': fits = !__builtin_add_overflow(a, b, &n); break;
    case '-': fits = !__builtin_sub_overflow(a, b, &n); break;
    case '*': fits = !__builtin_mul_overflow(a, b, &n); break;
    case JJ_OP_POW:
        *done = b >= 0;
        fits = !*done || power(a, b, &n);
        break;
    case JJ_OP_FLOORDIV:
    case '%':
        if (b == 0) return hg_jj_fail(r, HANGAR_E_INVALID, "division by zero");
        fits = floor_div(a, b, &n, &rest) || op == '%';
        if (op == '%') n = rest;
        break;
    default: *done = false;
    }
    if (!fits) return hg_jj_fail(r, HANGAR_E_LIMIT, "a whole number beyond 64 bits");
    *out = hg_jj_int(n);
    return true;
}

static bool real(jj_run *r, int op, double a, double b, jj_val *out)
{
    double f = 0;
    if (b == 0 && (op == '/' || op == JJ_OP_FLOORDIV || op == '%'))
        return hg_jj_fail(r, HANGAR_E_INVALID, "division by zero");
    switch (op) {
    case '+': f = a + b; break;
    case '-': f = a - b; break;
    case '*': f = a * b; break;
    case '/': f = a / b; break;
    case JJ_OP_POW:
        if (a == 0 && b < 0) return hg_jj_fail(r, HANGAR_E_INVALID, "division by zero");
        f = pow(a, b);
        if (isnan(f) || isinf(f)) return hg_jj_fail(r, HANGAR_E_LIMIT, "a number beyond what a float holds");
        break;
    default: /* %, // : the remainder has the sign of b */
        f = fmod(a, b);
        if (f != 0 && (f < 0) != (b < 0)) f += b;
        if (op == JJ_OP_FLOORDIV) f = round((a - f) / b);
    }
    *out = hg_jj_float(f);
    return true;
}

/* s * n */
static bool repeat_text(jj_run *r, hg_str s, int64_t n, jj_val *out)
{
    uint64_t bytes;
    *out = hg_jj_str((hg_str){"", 0});
    if (n <= 0 || s.len == 0) return true;
    if (!hg_mul(s.len, (uint64_t)n, &bytes) || bytes > r->arena.max) return hg_jj_fail_memory(r);
    char *text = hg_jj_take(r, bytes, 1);
    if (!text || !hg_jj_bytes(r, bytes) || !hg_jj_steps(r, (uint64_t)n / 16)) return false;
    for (int64_t i = 0; i < n; i++) memcpy(text + (size_t)i * s.len, s.ptr, s.len);
    out->as.s = (hg_str){text, bytes};
    return true;
}

static bool repeat_list(jj_run *r, const jj_val *v, int64_t n, jj_val *out)
{
    const jj_list *l = v->as.list;
    uint64_t count;
    if (n < 0) n = 0;
    if (!hg_mul(l->len, (uint64_t)n, &count)) return hg_jj_fail_memory(r);
    if (!hg_jj_steps(r, count / 4) || !hg_jj_list_new(r, v->type, count, out)) return false;
    for (uint64_t i = 0; i < count; i++) out->as.list->items[i] = l->items[i % l->len];
    out->as.list->len = count;
    return true;
}

static bool add_lists(jj_run *r, const jj_val *a, const jj_val *b, jj_val *out)
{
    const jj_list *x = a->as.list, *y = b->as.list;
    if (!hg_jj_steps(r, (x->len + y->len) / 4) || !hg_jj_list_new(r, a->type, x->len + y->len, out))
        return false;
    jj_list *l = out->as.list;
    for (size_t i = 0; i < x->len; i++) l->items[l->len++] = x->items[i];
    for (size_t i = 0; i < y->len; i++) l->items[l->len++] = y->items[i];
    return true;
}

static bool repeatable(const jj_val *v)
{
    return v->type == JJ_STR || v->type == JJ_LIST || v->type == JJ_TUPLE;
}

bool hg_jj_binary(jj_run *r, int op, const jj_val *a, const jj_val *b, jj_val *out)
{
    if (hg_jj_number(a) && hg_jj_number(b)) {
        bool done = false;
        if (a->type != JJ_FLOAT && b->type != JJ_FLOAT &&
            !whole(r, op, hg_jj_i64(a), hg_jj_i64(b), out, &done))
            return false;
        return done || real(r, op, hg_jj_f64(a), hg_jj_f64(b), out);
    }
    if (op == '+' && a->type == JJ_STR && b->type == JJ_STR) {
        hg_str both;
        if (!hg_jj_join(r, a->as.s, b->as.s, &both)) return false;
        *out = hg_jj_str(both);
        return true;
    }
    if (op == '+' && a->type == b->type && (a->type == JJ_LIST || a->type == JJ_TUPLE))
        return add_lists(r, a, b, out);
    if (op == '*') {
        const jj_val *what = repeatable(a) ? a : b, *times = repeatable(a) ? b : a;
        if (repeatable(what) && (times->type == JJ_INT || times->type == JJ_BOOL))
            return what->type == JJ_STR ? repeat_text(r, what->as.s, hg_jj_i64(times), out)
                                        : repeat_list(r, what, hg_jj_i64(times), out);
    }
    if (op == '%' && a->type == JJ_STR)
        return hg_jj_fail(r, HANGAR_E_UNSUPPORTED, "format strings are not part of the dialect");
    return op_fail(r, op, a, b);
}

bool hg_jj_compare(jj_run *r, int op, const jj_val *a, const jj_val *b, bool *out)
{
    int order = 0;
    switch (op) {
    case JJ_OP_EQ: return hg_jj_equal(r, a, b, 0, out);
    case JJ_OP_NE:
        if (!hg_jj_equal(r, a, b, 0, out)) return false;
        *out = !*out;
        return true;
    case JJ_OP_IN: return hg_jj_contains(r, b, a, out);
    case JJ_OP_NOT_IN:
        if (!hg_jj_contains(r, b, a, out)) return false;
        *out = !*out;
        return true;
    default: break;
    }
    if (!hg_jj_order(r, a, b, 0, &order)) return false;
    *out = order == 2       ? false
           : op == '<'      ? order < 0
           : op == '>'      ? order > 0
           : op == JJ_OP_LE ? order <= 0
                            : order >= 0;
    return true;
}

/* loop.NAME; ABSENT when it has none. */
static jj_val loop_attr(const jj_loop *l, hg_str name)
{
    size_t i = l->index, n = l->items->len;
    const struct {
        const char *name;
        jj_val val;
    } all[] = {
        {"index", hg_jj_int((int64_t)i + 1)},
        {"index0", hg_jj_int((int64_t)i)},
        {"revindex", hg_jj_int((int64_t)(n - i))},
        {"revindex0", hg_jj_int((int64_t)(n - i) - 1)},
        {"length", hg_jj_int((int64_t)n)},
        {"first", hg_jj_bool(i == 0)},
        {"last", hg_jj_bool(i + 1 == n)},
        {"depth", hg_jj_int(1)},
        {"depth0", hg_jj_int(0)},
    };
    for (size_t k = 0; k < HG_LEN(all); k++)
        if (hg_str_eq(name, hg_str_of(all[k].name))) return all[k].val;
    if (hg_str_eq(name, HG_STR("previtem")))
        return i ? l->items->items[i - 1] : hg_jj_undef(HG_STR("there is no previous item"), JJ_NAMED);
    if (hg_str_eq(name, HG_STR("nextitem")))
        return i + 1 < n ? l->items->items[i + 1] : hg_jj_undef(HG_STR("there is no next item"), JJ_NAMED);
    return (jj_val){0};
}

/* What Python's getattr finds: methods, members of a namespace or loop. ABSENT when nothing. */
static bool own_attr(jj_run *r, const jj_val *v, hg_str name, jj_val *out)
{
    *out = (jj_val){0};
    if (name.len > 1 && memcmp(name.ptr, "__", 2) == 0) {
        *out = hg_jj_undef(name, JJ_UNSAFE);
        return true;
    }
    if (v->type == JJ_SPACE) {
        const jj_val *member = hg_jj_dict_get(r, v->as.dict, name);
        if (member) *out = *member;
        return r->code == HANGAR_OK;
    }
    if (v->type == JJ_LOOP) *out = loop_attr(v->as.loop, name);
    if (out->type != JJ_ABSENT) return true;
    bool unsafe = false;
    const jj_entry *method = hg_jj_method(v, name, &unsafe);
    if (unsafe) *out = hg_jj_undef(name, JJ_UNSAFE);
    if (!method) return true;
    jj_bound *b = hg_jj_take(r, 1, sizeof *b);
    if (!b) return false;
    *b = (jj_bound){*v, method};
    *out = (jj_val){.type = JJ_METHOD, .as.bound = b};
    return true;
}

/* v.name: an attribute, or else the member of a dict. */
bool hg_jj_attr(jj_run *r, const jj_val *v, hg_str name, jj_val *out)
{
    if (v->type == JJ_UNDEF) return hg_jj_fail_undef(r, v);
    if (!own_attr(r, v, name, out)) return false;
    if (v->type == JJ_DICT && out->type == JJ_ABSENT) {
        const jj_val *member = hg_jj_dict_get(r, v->as.dict, name);
        if (r->code != HANGAR_OK) return false;
        if (member) *out = *member;
    }
    if (out->type == JJ_ABSENT) *out = hg_jj_undef(name, JJ_OF + v->type);
    return true;
}

/* An item of a sequence by its number; ABSENT when there is none. */
static bool item_at(jj_run *r, const jj_val *v, int64_t i, jj_val *out)
{
    *out = (jj_val){0};
    if (v->type == JJ_STR) {
        hg_str s = v->as.s;
        if (!hg_jj_bytes(r, s.len)) return false;
        size_t n = hg_jj_chars(s);
        if (i < 0) i += (int64_t)n;
        if (i < 0 || (uint64_t)i >= n) return true;
        size_t at = hg_jj_char_at(s, (size_t)i);
        *out = hg_jj_str((hg_str){s.ptr + at, hg_jj_char_at((hg_str){s.ptr + at, s.len - at}, 1)});
    } else if (v->type == JJ_LIST || v->type == JJ_TUPLE || v->type == JJ_RANGE) {
        const jj_list *l = v->as.list;
        if (i < 0) i += (int64_t)l->len;
        if (i >= 0 && (uint64_t)i < l->len) *out = l->items[i];
    }
    return true;
}

/* v[key]: the item, or else the attribute of that name. */
bool hg_jj_index(jj_run *r, const jj_val *v, const jj_val *key, jj_val *out)
{
    *out = (jj_val){0};
    if (v->type == JJ_UNDEF) return hg_jj_fail_undef(r, v);
    if (v->type == JJ_DICT) {
        if (key->type == JJ_LIST || key->type == JJ_DICT) {
            *out = hg_jj_undef(HG_STR("a list or dict"), JJ_OF + v->type);
            return true;
        }
        const jj_val *member = hg_jj_dict_find(r, v->as.dict, key);
        if (r->code != HANGAR_OK) return false;
        if (member) *out = *member;
    } else if (key->type == JJ_INT || key->type == JJ_BOOL) {
        if (!item_at(r, v, hg_jj_i64(key), out)) return false;
    }
    if (out->type == JJ_ABSENT && key->type == JJ_STR && !own_attr(r, v, key->as.s, out)) return false;
    if (out->type != JJ_ABSENT) return true;
    hg_str name;
    if (!hg_jj_text(r, key, &name)) return false;
    *out = hg_jj_undef(name, JJ_OF + v->type);
    return true;
}

/* A bound of a slice into [low, high]. */
static bool slice_bound(jj_run *r, const jj_val *v, int64_t def, int64_t len, int64_t low, int64_t high,
                        int64_t *out)
{
    *out = def;
    if (v->type == JJ_ABSENT || v->type == JJ_NONE) return true;
    if (v->type == JJ_UNDEF) return hg_jj_fail_undef(r, v);
    if (v->type != JJ_INT && v->type != JJ_BOOL)
        return hg_jj_fail(r, HANGAR_E_INVALID, "slice indices must be integers or None, not %s",
                          hg_jj_type_name(v->type));
    int64_t i = hg_jj_i64(v);
    if (i < 0) i = i < -len ? -1 : i + len; /* -1 is before the first */
    *out = i < low ? low : i > high ? high : i;
    return true;
}

/* Every step-th character from `start` on. */
static bool slice_text(jj_run *r, hg_str s, int64_t start, int64_t count, int64_t step, jj_val *out)
{
    if (!hg_jj_bytes(r, s.len)) return false;
    size_t at = hg_jj_char_at(s, (size_t)start);
    if (step == 1) {
        hg_str tail = {s.ptr + at, s.len - at};
        *out = hg_jj_str((hg_str){tail.ptr, hg_jj_char_at(tail, (size_t)count)});
        return true;
    }
    if (!hg_jj_steps(r, s.len / 8)) return false;
    hg_buf b;
    uint32_t c;
    hg_jj_buf(r, &b);
    for (int64_t i = 0; i < count; i++) {
        hg_buf_add(&b, s.ptr + at, hg_utf8_next((hg_str){s.ptr + at, s.len - at}, &c));
        if (i + 1 == count) break;
        for (int64_t k = 0; k < step; k++) at += hg_jj_char_at((hg_str){s.ptr + at, s.len - at}, 1);
        for (int64_t k = 0; k > step; k--) at = hg_jj_char_before(s, at, &c);
    }
    return hg_jj_buf_done(r, &b, out);
}

/* Start, step and count of a slice of n items. */
static bool slice_span(jj_run *r, const jj_val part[3], int64_t n, int64_t *start, int64_t *step,
                       int64_t *count)
{
    int64_t stop;
    *step = 1;
    if (part[2].type != JJ_ABSENT && part[2].type != JJ_NONE) {
        if (!slice_bound(r, &part[2], 0, 0, INT64_MIN, INT64_MAX, &stop)) return false; /* its type */
        *step = hg_jj_i64(&part[2]);
        if (*step == 0) return hg_jj_fail(r, HANGAR_E_INVALID, "slice step cannot be zero");
        if (*step < -n - 1) *step = -n - 1; /* beyond the end is beyond the end */
        if (*step > n + 1) *step = n + 1;
    }
    bool up = *step > 0;
    int64_t low = up ? 0 : -1, high = up ? n : n - 1;
    if (!slice_bound(r, &part[0], up ? low : high, n, low, high, start) ||
        !slice_bound(r, &part[1], up ? high : low, n, low, high, &stop))
        return false;
    if (up) *count = stop > *start ? (stop - *start + *step - 1) / *step : 0;
    else *count = *start > stop ? (*start - stop - *step - 1) / -*step : 0;
    return true;
}

bool hg_jj_slice(jj_run *r, const jj_val *v, const jj_val part[3], jj_val *out)
{
    bool text = v->type == JJ_STR;
    int64_t start = 0, step = 1, count = 0;
    if (v->type == JJ_UNDEF) return hg_jj_fail_undef(r, v);
    if (!text && v->type != JJ_LIST && v->type != JJ_TUPLE && v->type != JJ_RANGE) {
        *out = hg_jj_undef(HG_STR("a slice"), JJ_OF + v->type);
        return true;
    }
    if (text && !hg_jj_bytes(r, v->as.s.len)) return false;
    int64_t n = (int64_t)(text ? hg_jj_chars(v->as.s) : v->as.list->len);
    if (!slice_span(r, part, n, &start, &step, &count)) return false;
    if (text) return slice_text(r, v->as.s, count ? start : 0, count, step, out);
    if (!hg_jj_steps(r, (uint64_t)count / 4) ||
        !hg_jj_list_new(r, v->type == JJ_RANGE ? JJ_LIST : v->type, (size_t)count, out))
        return false;
    for (int64_t i = 0; i < count; i++) out->as.list->items[i] = v->as.list->items[start + i * step];
    out->as.list->len = (size_t)count;
    return true;
}

bool hg_jj_path(jj_run *r, const jj_val *v, const jj_val *path, jj_val *out)
{
    if (path->type != JJ_STR) return hg_jj_index(r, v, path, out);
    hg_str left = path->as.s, name;
    *out = *v;
    for (bool more = true; more;) {
        more = hg_str_cut(&left, '.', &name);
        uint64_t n;
        jj_val from = *out, key = hg_jj_str(name);
        if (hg_u64_parse(name, &n) && n < INT64_MAX) key = hg_jj_int((int64_t)n);
        if (!hg_jj_steps(r, 1) || !hg_jj_index(r, &from, &key, out)) return false;
    }
    return true;
}
