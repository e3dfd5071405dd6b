/* SPDX-License-Identifier: Apache-2.0 */
/* Filters of many items. Those that are generators in Python give JJ_GEN: true, without a length, read once. */
#include "format/jinja_inner.h"

/* The items of the value before the bar. */
static bool items_of(jj_run *r, jj_call *c, const jj_list **out)
{
    return hg_jj_iterate(r, &c->self, out) && hg_jj_steps(r, (*out)->len / 2);
}

/* What an item is compared by: itself or its attribute, texts in lower case unless told otherwise. */
static bool key_of(jj_run *r, const jj_val *item, const jj_val *attribute, bool exact, jj_val *out)
{
    *out = *item;
    if (attribute->type != JJ_ABSENT && attribute->type != JJ_NONE && !hg_jj_path(r, item, attribute, out))
        return false;
    return exact || out->type != JJ_STR || hg_jj_recase(r, out->as.s, JJ_LOWER, out);
}

static bool f_list(jj_run *r, jj_call *c)
{
    const jj_list *l;
    if (!items_of(r, c, &l) || !hg_jj_list_new(r, JJ_LIST, 0, c->out)) return false;
    c->out->as.list->items = l->items;
    c->out->as.list->len = l->len;
    return true;
}

static bool f_first(jj_run *r, jj_call *c)
{
    const jj_list *l;
    *c->out = hg_jj_undef(HG_STR("No first item, sequence was empty."), JJ_NAMED);
    if (c->self.type == JJ_GEN) {
        jj_list *g = c->self.as.list;
        if (g->pos < g->len) *c->out = g->items[g->pos++];
        return true;
    }
    if (c->self.type == JJ_STR) {
        hg_str s = c->self.as.s;
        if (s.len) *c->out = hg_jj_str((hg_str){s.ptr, hg_jj_char_at(s, 1)});
        return true;
    }
    if (!hg_jj_iterate(r, &c->self, &l)) return false;
    if (l->len) *c->out = l->items[0];
    return true;
}

static bool f_last(jj_run *r, jj_call *c)
{
    const jj_list *l;
    uint32_t ch;
    *c->out = hg_jj_undef(HG_STR("No last item, sequence was empty."), JJ_NAMED);
    if (c->self.type == JJ_GEN)
        return hg_jj_fail(r, HANGAR_E_INVALID, "'generator' object is not reversible");
    if (c->self.type == JJ_STR) {
        hg_str s = c->self.as.s;
        size_t at = s.len ? hg_jj_char_before(s, s.len, &ch) : 0;
        if (s.len) *c->out = hg_jj_str((hg_str){s.ptr + at, s.len - at});
        return true;
    }
    if (!hg_jj_iterate(r, &c->self, &l)) return false;
    if (l->len) *c->out = l->items[l->len - 1];
    return true;
}

static bool f_join(jj_run *r, jj_call *c)
{
    const jj_list *l;
    hg_str by = {"", 0};
    hg_buf b;
    if (!items_of(r, c, &l) || (c->p[0].type != JJ_ABSENT && !hg_jj_text(r, &c->p[0], &by))) return false;
    hg_jj_buf(r, &b);
    for (size_t i = 0; i < l->len; i++) {
        jj_val v;
        if (i) hg_buf_str(&b, by);
        if (!key_of(r, &l->items[i], &c->p[1], true, &v) || !hg_jj_print(r, &v, &b)) {
            hg_buf_deinit(&b);
            return false;
        }
    }
    return hg_jj_buf_done(r, &b, c->out);
}

static bool f_items(jj_run *r, jj_call *c)
{
    bool unsafe;
    if (c->self.type == JJ_UNDEF) return hg_jj_list_new(r, JJ_GEN, 0, c->out);
    if (c->self.type != JJ_DICT)
        return hg_jj_fail(r, HANGAR_E_INVALID, "Can only get item pairs from a mapping.");
    if (!hg_jj_invoke(r, hg_jj_method(&c->self, HG_STR("items"), &unsafe), &c->self, NULL, c->out))
        return false;
    c->out->type = JJ_GEN;
    return true;
}

/* The values of sorted items. */
static bool unwrap(jj_run *r, const jj_sort_item *items, size_t n, jj_val *out)
{
    if (!hg_jj_list_new(r, JJ_LIST, n, out)) return false;
    for (size_t i = 0; i < n; i++) out->as.list->items[i] = items[i].val;
    out->as.list->len = n;
    return true;
}

/* "a,b" sorts by a, then by b: the key is a list then. */
static bool sort_key(jj_run *r, const jj_val *item, const jj_val *attribute, bool exact, jj_val *out)
{
    if (attribute->type != JJ_STR || !memchr(attribute->as.s.ptr, ',', attribute->as.s.len))
        return key_of(r, item, attribute, exact, out);
    hg_str left = attribute->as.s, one;
    size_t cap = 0;
    if (!hg_jj_list_new(r, JJ_LIST, 0, out)) return false;
    for (bool more = true; more;) {
        more = hg_str_cut(&left, ',', &one);
        jj_val name = hg_jj_str(one), part;
        if (!key_of(r, item, &name, exact, &part) || !hg_jj_list_push(r, out->as.list, &cap, &part))
            return false;
    }
    return true;
}

/* sort(reverse, case_sensitive, attribute) */
static bool f_sort(jj_run *r, jj_call *c)
{
    const jj_list *l;
    if (!items_of(r, c, &l)) return false;
    jj_sort_item *s = hg_jj_take(r, l->len, sizeof *s);
    if (!s) return false;
    for (size_t i = 0; i < l->len; i++) {
        s[i].val = l->items[i];
        if (!sort_key(r, &l->items[i], &c->p[2], hg_jj_true(&c->p[1]), &s[i].key)) return false;
    }
    return hg_jj_sort(r, s, l->len, hg_jj_true(&c->p[0])) && unwrap(r, s, l->len, c->out);
}

/* dictsort(case_sensitive, by, reverse) */
static bool f_dictsort(jj_run *r, jj_call *c)
{
    bool unsafe;
    jj_val pairs;
    hg_str by = HG_STR("key");
    if (c->self.type == JJ_UNDEF) return hg_jj_fail_undef(r, &c->self);
    if (c->self.type != JJ_DICT) return hg_jj_fail(r, HANGAR_E_INVALID, "dictsort() wants a dict");
    if (c->p[1].type != JJ_ABSENT && !hg_jj_want_str(r, c, &c->p[1], &by)) return false;
    if (!hg_str_eq(by, HG_STR("key")) && !hg_str_eq(by, HG_STR("value")))
        return hg_jj_fail(r, HANGAR_E_INVALID, "dictsort() sorts by 'key' or 'value'");
    if (!hg_jj_invoke(r, hg_jj_method(&c->self, HG_STR("items"), &unsafe), &c->self, NULL, &pairs))
        return false;
    const jj_list *l = pairs.as.list;
    jj_sort_item *s = hg_jj_take(r, l->len, sizeof *s);
    jj_val which = hg_jj_int(hg_str_eq(by, HG_STR("value")));
    if (!s) return false;
    for (size_t i = 0; i < l->len; i++) {
        s[i].val = l->items[i];
        if (!key_of(r, &l->items[i], &which, hg_jj_true(&c->p[0]), &s[i].key)) return false;
    }
    return hg_jj_sort(r, s, l->len, hg_jj_true(&c->p[2])) && unwrap(r, s, l->len, c->out);
}

static bool f_reverse(jj_run *r, jj_call *c)
{
    const jj_list *l;
    hg_buf b;
    uint32_t ch;
    if (c->self.type == JJ_STR) {
        hg_str s = c->self.as.s;
        if (!hg_jj_steps(r, s.len / 16)) return false;
        hg_jj_buf(r, &b);
        for (size_t end = s.len, at; end > 0; end = at) {
            at = hg_jj_char_before(s, end, &ch);
            hg_buf_add(&b, s.ptr + at, end - at);
        }
        return hg_jj_buf_done(r, &b, c->out);
    }
    if (!items_of(r, c, &l) || !hg_jj_list_new(r, JJ_GEN, l->len, c->out)) return false;
    for (size_t i = 0; i < l->len; i++) c->out->as.list->items[i] = l->items[l->len - 1 - i];
    c->out->as.list->len = l->len;
    return true;
}

/* unique(case_sensitive, attribute) */
static bool f_unique(jj_run *r, jj_call *c)
{
    const jj_list *l;
    jj_val seen, key;
    size_t cap = 0;
    if (!items_of(r, c, &l) || !hg_jj_dict_new(r, JJ_DICT, 0, &seen) || !hg_jj_list_new(r, JJ_GEN, 0, c->out))
        return false;
    for (size_t i = 0; i < l->len; i++) {
        if (!key_of(r, &l->items[i], &c->p[1], hg_jj_true(&c->p[0]), &key)) return false;
        bool old = hg_jj_dict_find(r, seen.as.dict, &key) != NULL;
        if (r->code != HANGAR_OK) return false;
        if (!old && (!hg_jj_dict_set(r, seen.as.dict, &key, &key) ||
                     !hg_jj_list_push(r, c->out->as.list, &cap, &l->items[i])))
            return false;
    }
    return true;
}

/* min and max (case_sensitive, attribute); how is the sign. */
static bool f_extreme(jj_run *r, jj_call *c)
{
    const jj_list *l;
    jj_val best = {0}, key;
    int order;
    if (!items_of(r, c, &l)) return false;
    *c->out = hg_jj_undef(HG_STR("No aggregated item, sequence was empty."), JJ_NAMED);
    for (size_t i = 0; i < l->len; i++) {
        if (!key_of(r, &l->items[i], &c->p[1], hg_jj_true(&c->p[0]), &key)) return false;
        if (i && !hg_jj_order(r, &key, &best, 0, &order)) return false;
        if (i && (order == 2 || order * c->entry->how <= 0)) continue;
        best = key;
        *c->out = l->items[i];
    }
    return true;
}

/* sum(attribute, start) */
static bool f_sum(jj_run *r, jj_call *c)
{
    const jj_list *l;
    if (!items_of(r, c, &l)) return false;
    jj_val total = c->p[1].type == JJ_ABSENT ? hg_jj_int(0) : c->p[1];
    for (size_t i = 0; i < l->len; i++) {
        jj_val v, sum;
        if (!key_of(r, &l->items[i], &c->p[0], true, &v)) return false;
        if (total.type == JJ_STR) return hg_jj_fail(r, HANGAR_E_INVALID, "sum() does not add text");
        if (!hg_jj_binary(r, '+', &total, &v, &sum)) return false;
        total = sum;
    }
    *c->out = total;
    return true;
}

/* The arguments behind the first `skip`. */
static jj_args behind(const jj_args *a, size_t skip)
{
    return (jj_args){.pos = a->pos + skip, .npos = a->npos - skip, .cap = a->npos - skip, .kw = a->kw};
}

static bool map_attribute(jj_run *r, jj_call *c, const jj_list *l)
{
    const jj_dict *kw = c->args->kw;
    const jj_val *path = hg_jj_dict_get(r, kw, HG_STR("attribute"));
    const jj_val *def = hg_jj_dict_get(r, kw, HG_STR("default"));
    if (!path || kw->len != (def ? 2 : 1) || c->args->npos)
        return hg_jj_fail(r, HANGAR_E_INVALID, "map() wants the name of a filter, or attribute and default");
    for (size_t i = 0; i < l->len; i++) {
        jj_val *v = &c->out->as.list->items[i];
        if (!hg_jj_path(r, &l->items[i], path, v)) return false;
        if (v->type == JJ_UNDEF && def) *v = *def;
    }
    c->out->as.list->len = l->len;
    return true;
}

/* map(attribute=a) or map(filter, its arguments) */
static bool f_map(jj_run *r, jj_call *c)
{
    const jj_list *l;
    hg_str name;
    if (!items_of(r, c, &l) || !hg_jj_list_new(r, JJ_GEN, l->len, c->out)) return false;
    if (c->args->npos == 0 && c->args->kw) return map_attribute(r, c, l);
    if (c->args->npos == 0) return hg_jj_fail(r, HANGAR_E_INVALID, "map() wants the name of a filter");
    if (!hg_jj_want_str(r, c, &c->args->pos[0], &name)) return false;
    jj_args args = behind(c->args, 1);
    if (r->depth == 0) return hg_jj_fail(r, HANGAR_E_LIMIT, "evaluation is nested too deep");
    r->depth--;
    bool ok = true;
    for (size_t i = 0; ok && i < l->len; i++)
        ok = hg_jj_filter_apply(r, name, &l->items[i], &args, &c->out->as.list->items[i]);
    r->depth++;
    c->out->as.list->len = l->len;
    return ok;
}

/* select, reject (how 0, 1) and selectattr, rejectattr (2, 3): by a test, or by truth when none is named. */
static bool f_select(jj_run *r, jj_call *c)
{
    const jj_list *l;
    hg_str name = {0};
    bool attribute = c->entry->how >= 2, reject = c->entry->how & 1;
    size_t used = attribute, cap = 0;
    if (c->args->npos < used)
        return hg_jj_fail(r, HANGAR_E_INVALID, "%s() wants an attribute", c->entry->name);
    bool tested = c->args->npos > used;
    if (tested && !hg_jj_want_str(r, c, &c->args->pos[used], &name)) return false;
    jj_args args = behind(c->args, used + tested);
    if (!items_of(r, c, &l) || !hg_jj_list_new(r, JJ_GEN, 0, c->out)) return false;
    for (size_t i = 0; i < l->len; i++) {
        jj_val v = l->items[i];
        if (attribute && !hg_jj_path(r, &l->items[i], &c->args->pos[0], &v)) return false;
        bool yes = hg_jj_true(&v);
        if (tested && !hg_jj_test_apply(r, name, &v, &args, &yes)) return false;
        if (yes != reject && !hg_jj_list_push(r, c->out->as.list, &cap, &l->items[i])) return false;
    }
    return true;
}

/* groupby(attribute, default, case_sensitive): pairs of a value and the items that have it, sorted by the value. */
static bool f_groupby(jj_run *r, jj_call *c)
{
    const jj_list *l;
    bool exact = hg_jj_true(&c->p[2]);
    size_t cap = 0, group_cap = 0;
    if (!items_of(r, c, &l) || !hg_jj_list_new(r, JJ_LIST, 0, c->out)) return false;
    jj_sort_item *s = hg_jj_take(r, l->len, sizeof *s);
    if (!s) return false;
    for (size_t i = 0; i < l->len; i++) {
        s[i].val = l->items[i];
        if (!key_of(r, &l->items[i], &c->p[0], exact, &s[i].key)) return false;
        if (s[i].key.type == JJ_UNDEF && c->p[1].type != JJ_ABSENT) s[i].key = c->p[1];
    }
    if (!hg_jj_sort(r, s, l->len, false)) return false;
    jj_list *group = NULL;
    for (size_t i = 0; i < l->len; i++) {
        bool same = false;
        if (i && !hg_jj_equal(r, &s[i].key, &s[i - 1].key, 0, &same)) return false;
        if (!same) {
            jj_val pair, list, key;
            if (!hg_jj_list_new(r, JJ_TUPLE, 2, &pair) || !hg_jj_list_new(r, JJ_LIST, 0, &list) ||
                !key_of(r, &s[i].val, &c->p[0], true, &key))
                return false;
            pair.as.list->items[0] = key.type == JJ_UNDEF ? s[i].key : key;
            pair.as.list->items[1] = list;
            pair.as.list->len = 2;
            group = list.as.list;
            group_cap = 0;
            if (!hg_jj_list_push(r, c->out->as.list, &cap, &pair)) return false;
        }
        if (!hg_jj_list_push(r, group, &group_cap, &s[i].val)) return false;
    }
    return true;
}

/* Appends a list of `n` items from `from` on to the result, filled up to `full`. */
static bool push_part(jj_run *r, jj_call *c, size_t *cap, const jj_val *from, size_t n, size_t full)
{
    jj_val part;
    if (c->p[1].type == JJ_ABSENT || c->p[1].type == JJ_NONE || full < n) full = n;
    if (!hg_jj_steps(r, full / 4 + 1) || !hg_jj_list_new(r, JJ_LIST, full, &part)) return false;
    for (size_t i = 0; i < full; i++) part.as.list->items[i] = i < n ? from[i] : c->p[1];
    part.as.list->len = full;
    return hg_jj_list_push(r, c->out->as.list, cap, &part);
}

/* batch(linecount, fill_with) */
static bool f_batch(jj_run *r, jj_call *c)
{
    const jj_list *l;
    int64_t by;
    size_t cap = 0;
    if (!items_of(r, c, &l) || !hg_jj_want_int(r, c, &c->p[0], 0, &by) ||
        !hg_jj_list_new(r, JJ_GEN, 0, c->out))
        return false;
    if (by < 1 || by > HG_JINJA_RANGE_MAX)
        return hg_jj_fail(r, HANGAR_E_LIMIT, "batch() of 1 to %d items", HG_JINJA_RANGE_MAX);
    for (size_t i = 0; i < l->len; i += (size_t)by) {
        size_t n = l->len - i < (size_t)by ? l->len - i : (size_t)by;
        if (!push_part(r, c, &cap, l->items + i, n, (size_t)by)) return false;
    }
    return true;
}

/* slice(slices, fill_with) */
static bool f_slice(jj_run *r, jj_call *c)
{
    const jj_list *l;
    int64_t count;
    size_t cap = 0, at = 0;
    if (!items_of(r, c, &l) || !hg_jj_want_int(r, c, &c->p[0], 0, &count) ||
        !hg_jj_list_new(r, JJ_GEN, 0, c->out))
        return false;
    if (count < 1 || count > HG_JINJA_RANGE_MAX)
        return hg_jj_fail(r, HANGAR_E_LIMIT, "slice() into 1 to %d parts", HG_JINJA_RANGE_MAX);
    size_t each = l->len / (size_t)count, more = l->len % (size_t)count;
    for (size_t i = 0; i < (size_t)count; i++) {
        size_t n = each + (i < more);
        if (!push_part(r, c, &cap, n ? l->items + at : NULL, n, i >= more ? each + 1 : n)) return false;
        at += n;
    }
    return true;
}

static const jj_entry filters[] = {
    {"list", "", f_list, 0, 0},
    {"first", "", f_first, 0, 0},
    {"last", "", f_last, 0, 0},
    {"join", "d attribute", f_join, 0, 0},
    {"items", "", f_items, 0, 0},
    {"sort", "reverse case_sensitive attribute", f_sort, 0, 0},
    {"dictsort", "case_sensitive by reverse", f_dictsort, 0, 0},
    {"reverse", "", f_reverse, 0, 0},
    {"unique", "case_sensitive attribute", f_unique, 0, 0},
    {"min", "case_sensitive attribute", f_extreme, 0, -1},
    {"max", "case_sensitive attribute", f_extreme, 0, 1},
    {"sum", "attribute start", f_sum, 0, 0},
    {"map", "*", f_map, 0, 0},
    {"select", "*", f_select, 0, 0},
    {"reject", "*", f_select, 0, 1},
    {"selectattr", "*", f_select, 0, 2},
    {"rejectattr", "*", f_select, 0, 3},
    {"groupby", "attribute default case_sensitive", f_groupby, 1, 0},
    {"batch", "linecount fill_with", f_batch, 1, 0},
    {"slice", "slices fill_with", f_slice, 1, 0},
    {0},
};

const jj_entry *hg_jj_items_filter(hg_str name)
{
    return hg_jj_entry_find(filters, name);
}
