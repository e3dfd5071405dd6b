/* SPDX-License-Identifier: Apache-2.0 */
/* Equality, order, hashing and membership, by Python's rules. */
#include "format/jinja_inner.h"

#include <math.h>

static bool too_deep(jj_run *r, unsigned depth)
{
    return depth > HG_JINJA_VALUE_DEPTH &&
           !hg_jj_fail(r, HANGAR_E_LIMIT, "values are nested more than %d deep", HG_JINJA_VALUE_DEPTH);
}

/* -1, 0, 1; 2 for a NaN. */
static int compare_numbers(const jj_val *a, const jj_val *b)
{
    if (a->type == JJ_FLOAT || b->type == JJ_FLOAT) {
        double x = hg_jj_f64(a), y = hg_jj_f64(b);
        return isnan(x) || isnan(y) ? 2 : (x > y) - (x < y);
    }
    int64_t x = hg_jj_i64(a), y = hg_jj_i64(b);
    return (x > y) - (x < y);
}

static int compare_text(hg_str a, hg_str b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
    return c ? (c > 0) - (c < 0) : (a.len > b.len) - (a.len < b.len);
}

static bool equal_lists(jj_run *r, const jj_list *a, const jj_list *b, unsigned depth, bool *out)
{
    *out = a->len == b->len;
    for (size_t i = 0; *out && i < a->len; i++)
        if (!hg_jj_equal(r, &a->items[i], &b->items[i], depth + 1, out)) return false;
    return true;
}

static bool equal_dicts(jj_run *r, const jj_dict *a, const jj_dict *b, unsigned depth, bool *out)
{
    *out = a->len == b->len;
    for (size_t i = 0; *out && i < a->len; i++) {
        const jj_val *other = hg_jj_dict_find(r, b, &a->pairs[i].key);
        if (r->code != HANGAR_OK) return false;
        *out = other != NULL;
        if (other && !hg_jj_equal(r, &a->pairs[i].val, other, depth + 1, out)) return false;
    }
    return true;
}

bool hg_jj_equal(jj_run *r, const jj_val *a, const jj_val *b, unsigned depth, bool *out)
{
    if (too_deep(r, depth) || !hg_jj_steps(r, 1)) return false;
    if (hg_jj_number(a) && hg_jj_number(b)) {
        *out = compare_numbers(a, b) == 0;
        return true;
    }
    *out = false;
    if (a->type != b->type) return true;
    switch (a->type) {
    case JJ_STR: *out = hg_str_eq(a->as.s, b->as.s); return !*out || hg_jj_bytes(r, a->as.s.len);
    case JJ_UNDEF:
    case JJ_NONE: *out = true; return true;
    case JJ_LIST:
    case JJ_TUPLE:
    case JJ_RANGE: return equal_lists(r, a->as.list, b->as.list, depth, out);
    case JJ_DICT: return equal_dicts(r, a->as.dict, b->as.dict, depth, out);
    case JJ_FUNC: *out = a->as.entry == b->as.entry; return true;
    default: *out = a->as.list == b->as.list; return true; /* the same thing */
    }
}

bool hg_jj_order(jj_run *r, const jj_val *a, const jj_val *b, unsigned depth, int *out)
{
    if (too_deep(r, depth) || !hg_jj_steps(r, 1)) return false;
    if (hg_jj_number(a) && hg_jj_number(b)) {
        *out = compare_numbers(a, b);
        return true;
    }
    if (a->type == JJ_STR && b->type == JJ_STR) {
        *out = compare_text(a->as.s, b->as.s);
        return hg_jj_bytes(r, a->as.s.len < b->as.s.len ? a->as.s.len : b->as.s.len);
    }
    if (a->type == JJ_UNDEF || b->type == JJ_UNDEF) return hg_jj_fail_undef(r, a->type == JJ_UNDEF ? a : b);
    if (a->type != b->type || (a->type != JJ_LIST && a->type != JJ_TUPLE))
        return hg_jj_fail(r, HANGAR_E_INVALID, "'%s' and '%s' have no order", hg_jj_type_name(a->type),
                          hg_jj_type_name(b->type));
    const jj_list *x = a->as.list, *y = b->as.list;
    for (size_t i = 0; i < x->len && i < y->len; i++) {
        bool same;
        if (!hg_jj_equal(r, &x->items[i], &y->items[i], depth + 1, &same)) return false;
        if (!same) return hg_jj_order(r, &x->items[i], &y->items[i], depth + 1, out);
    }
    *out = (x->len > y->len) - (x->len < y->len);
    return true;
}

static uint64_t mix(uint64_t h)
{
    h = (h ^ (h >> 31)) * 0x9e3779b97f4a7c15u;
    return h ^ (h >> 29);
}

bool hg_jj_hash(jj_run *r, const jj_val *v, unsigned depth, uint64_t *out)
{
    if (too_deep(r, depth) || !hg_jj_steps(r, depth ? 1 : 0)) return false;
    uint64_t h = 0xcbf29ce484222325u;
    switch (v->type) {
    case JJ_STR:
        for (size_t i = 0; i < v->as.s.len; i++) h = (h ^ (unsigned char)v->as.s.ptr[i]) * 0x100000001b3u;
        *out = mix(h);
        return hg_jj_bytes(r, v->as.s.len);
    case JJ_BOOL:
    case JJ_INT: *out = mix((uint64_t)hg_jj_i64(v)); return true;
    case JJ_FLOAT: {
        double f = v->as.f;
        bool whole = f == floor(f) && f >= -9223372036854775808.0 && f < 9223372036854775808.0;
        uint64_t bits;
        memcpy(&bits, &f, sizeof bits);
        *out = mix(whole ? (uint64_t)(int64_t)f : bits);
        return true;
    }
    case JJ_TUPLE:
        for (size_t i = 0; i < v->as.list->len; i++) {
            uint64_t one;
            if (!hg_jj_hash(r, &v->as.list->items[i], depth + 1, &one)) return false;
            h = mix(h ^ one);
        }
        *out = h;
        return true;
    case JJ_LIST:
    case JJ_DICT: return hg_jj_fail(r, HANGAR_E_INVALID, "unhashable type: '%s'", hg_jj_type_name(v->type));
    default: *out = mix((uint64_t)v->type); return true;
    }
}

/* item in box */
bool hg_jj_contains(jj_run *r, const jj_val *box, const jj_val *item, bool *out)
{
    *out = false;
    if (box->type == JJ_STR) {
        if (item->type == JJ_UNDEF || item->type != JJ_STR)
            return hg_jj_fail(r, HANGAR_E_INVALID, "'in <string>' requires string as left operand, not %s",
                              hg_jj_type_name(item->type));
        hg_str s = box->as.s, t = item->as.s;
        *out = t.len == 0 || (t.len <= s.len && memmem(s.ptr, s.len, t.ptr, t.len));
        return hg_jj_bytes(r, s.len);
    }
    if (box->type == JJ_DICT) {
        *out = hg_jj_dict_find(r, box->as.dict, item) != NULL;
        return r->code == HANGAR_OK;
    }
    const jj_list *l;
    if (!hg_jj_listed(box) && box->type != JJ_UNDEF)
        return hg_jj_fail(r, HANGAR_E_INVALID, "argument of type '%s' is not iterable",
                          hg_jj_type_name(box->type));
    if (!hg_jj_iterate(r, box, &l)) return false;
    for (size_t i = 0; i < l->len && !*out; i++)
        if (!hg_jj_equal(r, item, &l->items[i], 0, out)) return false;
    return true;
}

/* Merges [a, b) and [b, c) of `from` into `to`. */
static bool merge(jj_run *r, const jj_sort_item *from, jj_sort_item *to, size_t a, size_t b, size_t c,
                  bool reverse)
{
    for (size_t i = a, k = b, w = a; w < c; w++) {
        int order = 0;
        if (i < b && k < c && !hg_jj_order(r, &from[i].key, &from[k].key, 0, &order)) return false;
        bool left = k == c || (i < b && (reverse ? order >= 0 : order <= 0));
        to[w] = left ? from[i++] : from[k++];
    }
    return true;
}

bool hg_jj_sort(jj_run *r, jj_sort_item *items, size_t n, bool reverse)
{
    jj_sort_item *spare = hg_jj_take(r, n, sizeof *spare), *from = items, *to = spare;
    if (!spare) return false;
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t a = 0; a < n; a += 2 * width) {
            size_t b = a + width < n ? a + width : n, c = b + width < n ? b + width : n;
            if (!merge(r, from, to, a, b, c, reverse)) return false;
        }
        jj_sort_item *t = from;
        from = to;
        to = t;
    }
    if (from != items && n) memcpy(items, from, n * sizeof *items);
    return true;
}
