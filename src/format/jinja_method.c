/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Methods of text, dicts, lists and loops, as Python's. What would change a value, and what reads format strings, is
 * known by name and refused.
 */
#include "format/jinja_inner.h"

#define SELF(c) ((c)->self.as.s)

static bool text_out(jj_call *c, hg_str s)
{
    *c->out = hg_jj_str(s);
    return true;
}

static bool m_case(jj_run *r, jj_call *c)
{
    return hg_jj_recase(r, SELF(c), (jj_case)c->entry->how, c->out);
}

static bool m_class(jj_run *r, jj_call *c)
{
    *c->out = hg_jj_bool(hg_jj_class_all(SELF(c), (jj_class)c->entry->how));
    return hg_jj_steps(r, SELF(c).len / 8);
}

static bool m_cased(jj_run *r, jj_call *c)
{
    *c->out = hg_jj_bool(hg_jj_cased_all(SELF(c), c->entry->how != 0));
    return hg_jj_steps(r, SELF(c).len / 8);
}

/* Whether the character (whose bytes are one) is among `set`. */
static bool among(hg_str set, hg_str one)
{
    for (size_t i = 0, n; i < set.len; i += n) {
        n = hg_jj_char_at((hg_str){set.ptr + i, set.len - i}, 1);
        if (hg_str_eq((hg_str){set.ptr + i, n}, one)) return true;
    }
    return false;
}

/* strip, lstrip, rstrip: how has bit 0 for the left side, bit 1 for the right. */
static bool m_strip(jj_run *r, jj_call *c)
{
    hg_str s = SELF(c), set;
    uint32_t ch;
    size_t before = s.len;
    if (c->p[0].type == JJ_ABSENT || c->p[0].type == JJ_NONE) {
        if (c->entry->how & 1) s = hg_jj_lstrip(s);
        if (c->entry->how & 2) s = hg_jj_rstrip(s);
        return hg_jj_bytes(r, before - s.len) && text_out(c, s);
    }
    if (!hg_jj_want_str(r, c, &c->p[0], &set)) return false;
    while (s.len && (c->entry->how & 1)) {
        size_t n = hg_jj_char_at(s, 1);
        if (!hg_jj_bytes(r, set.len) || !among(set, (hg_str){s.ptr, n})) break;
        s = (hg_str){s.ptr + n, s.len - n};
    }
    while (s.len && (c->entry->how & 2)) {
        size_t at = hg_jj_char_before(s, s.len, &ch);
        if (!hg_jj_bytes(r, set.len) || !among(set, (hg_str){s.ptr + at, s.len - at})) break;
        s.len = at;
    }
    return r->code == HANGAR_OK && hg_jj_bytes(r, before - s.len) && text_out(c, s);
}

/* The first (or last) place of t in s at or behind `from`; s.len + 1 when there is none. */
static size_t place(hg_str s, hg_str t, size_t from, bool last)
{
    size_t none = s.len + 1;
    if (from > s.len || t.len > s.len - from) return none;
    if (!last) {
        if (t.len == 0) return from;
        const char *hit = t.len == 1 ? memchr(s.ptr + from, *t.ptr, s.len - from)
                                     : memmem(s.ptr + from, s.len - from, t.ptr, t.len);
        return hit ? (size_t)(hit - s.ptr) : none;
    }
    for (size_t i = s.len - t.len + 1; i-- > from;)
        if (t.len == 0 || (s.ptr[i] == t.ptr[0] && memcmp(s.ptr + i, t.ptr, t.len) == 0)) return i;
    return none;
}

/* Counts what a search from the right may cost: it is not linear. */
static bool search_cost(jj_run *r, hg_str s, hg_str t, bool last)
{
    return hg_jj_bytes(r, s.len) && (!last || hg_jj_steps(r, s.len / 64 * (t.len / 64 + 1)));
}

static bool push_text(jj_run *r, jj_val *list, size_t *cap, hg_str s)
{
    jj_val v = hg_jj_str(s);
    return hg_jj_steps(r, 1) && hg_jj_list_push(r, list->as.list, cap, &v);
}

static void reverse_list(jj_list *l)
{
    for (size_t i = 0; i < l->len / 2; i++) {
        jj_val t = l->items[i];
        l->items[i] = l->items[l->len - 1 - i];
        l->items[l->len - 1 - i] = t;
    }
}

/* At white space, at most `max` times. */
static bool split_blank(jj_run *r, hg_str s, int64_t max, jj_val *out)
{
    size_t cap = 0;
    uint32_t ch;
    if (!hg_jj_steps(r, s.len / 16)) return false;
    for (s = hg_jj_lstrip(s); s.len; s = hg_jj_lstrip(s)) {
        size_t n = 0, k;
        if (max-- == 0) return push_text(r, out, &cap, s);
        while ((k = hg_utf8_next((hg_str){s.ptr + n, s.len - n}, &ch)) != 0 && !hg_jj_space(ch)) n += k;
        if (!push_text(r, out, &cap, (hg_str){s.ptr, n})) return false;
        s = (hg_str){s.ptr + n, s.len - n};
    }
    return true;
}

static bool rsplit_blank(jj_run *r, hg_str s, int64_t max, jj_val *out)
{
    size_t cap = 0;
    uint32_t ch;
    if (!hg_jj_steps(r, s.len / 16)) return false;
    for (s = hg_jj_rstrip(s); s.len; s = hg_jj_rstrip(s)) {
        if (max-- == 0) return push_text(r, out, &cap, s);
        size_t from = s.len;
        while (from > 0) {
            size_t at = hg_jj_char_before(s, from, &ch);
            if (hg_jj_space(ch)) break;
            from = at;
        }
        if (!push_text(r, out, &cap, (hg_str){s.ptr + from, s.len - from})) return false;
        s.len = from;
    }
    return true;
}

static bool split_at(jj_run *r, hg_str s, hg_str sep, int64_t max, jj_val *out)
{
    size_t cap = 0;
    if (!hg_jj_bytes(r, s.len)) return false;
    for (size_t at; max-- != 0 && (at = place(s, sep, 0, false)) <= s.len;) {
        if (!push_text(r, out, &cap, (hg_str){s.ptr, at})) return false;
        s = (hg_str){s.ptr + at + sep.len, s.len - at - sep.len};
    }
    return push_text(r, out, &cap, s);
}

static bool rsplit_at(jj_run *r, hg_str s, hg_str sep, int64_t max, jj_val *out)
{
    size_t cap = 0;
    if (!search_cost(r, s, sep, true)) return false;
    for (size_t at; max-- != 0 && (at = place(s, sep, 0, true)) <= s.len; s.len = at)
        if (!push_text(r, out, &cap, (hg_str){s.ptr + at + sep.len, s.len - at - sep.len})) return false;
    return push_text(r, out, &cap, s);
}

/* split and rsplit (sep, maxsplit); how 1 is rsplit. */
static bool m_split(jj_run *r, jj_call *c)
{
    int64_t max;
    hg_str sep;
    bool right = c->entry->how != 0;
    if (!hg_jj_want_int(r, c, &c->p[1], -1, &max) || !hg_jj_list_new(r, JJ_LIST, 0, c->out)) return false;
    if (max < 0) max = -1;
    bool ok;
    if (c->p[0].type == JJ_ABSENT || c->p[0].type == JJ_NONE) {
        ok = (right ? rsplit_blank : split_blank)(r, SELF(c), max, c->out);
    } else {
        if (!hg_jj_want_str(r, c, &c->p[0], &sep)) return false;
        if (sep.len == 0) return hg_jj_fail(r, HANGAR_E_INVALID, "empty separator");
        ok = (right ? rsplit_at : split_at)(r, SELF(c), sep, max, c->out);
    }
    if (ok && right) reverse_list(c->out->as.list);
    return ok;
}

static bool m_splitlines(jj_run *r, jj_call *c)
{
    hg_str s = SELF(c), line, end;
    size_t cap = 0;
    bool keep = hg_jj_true(&c->p[0]);
    if (!hg_jj_steps(r, s.len / 16) || !hg_jj_list_new(r, JJ_LIST, 0, c->out)) return false;
    while (hg_jj_line(&s, &line, &end)) {
        if (keep) line.len += end.len;
        if (!push_text(r, c->out, &cap, line)) return false;
    }
    return true;
}

/* partition and rpartition (how 1): before, separator, behind. */
static bool m_partition(jj_run *r, jj_call *c)
{
    hg_str s = SELF(c), sep, none = {"", 0};
    size_t cap = 0;
    bool right = c->entry->how != 0;
    if (!hg_jj_want_str(r, c, &c->p[0], &sep) || !search_cost(r, s, sep, right)) return false;
    if (sep.len == 0) return hg_jj_fail(r, HANGAR_E_INVALID, "empty separator");
    size_t at = place(s, sep, 0, right);
    bool found = at <= s.len;
    hg_str before = found ? (hg_str){s.ptr, at} : right ? none : s;
    hg_str behind = found ? (hg_str){s.ptr + at + sep.len, s.len - at - sep.len} : right ? s : none;
    return hg_jj_list_new(r, JJ_TUPLE, 0, c->out) && push_text(r, c->out, &cap, before) &&
           push_text(r, c->out, &cap, found ? sep : none) && push_text(r, c->out, &cap, behind);
}

/* startswith and endswith (how 1): one text or a tuple of them. */
static bool m_starts(jj_run *r, jj_call *c)
{
    const jj_val *all = c->p, *one;
    size_t n = 1;
    hg_str t;
    if (c->p[0].type == JJ_TUPLE) {
        all = c->p[0].as.list->items;
        n = c->p[0].as.list->len;
    }
    bool yes = false;
    for (one = all; one < all + n; one++) {
        if (!hg_jj_steps(r, 1) || !hg_jj_want_str(r, c, one, &t) || !hg_jj_bytes(r, t.len)) return false;
        yes = yes || (c->entry->how ? hg_str_ends(SELF(c), t) : hg_str_starts(SELF(c), t));
    }
    *c->out = hg_jj_bool(yes);
    return true;
}

/* The part of self between the optional bounds p[1] and p[2], and how many bytes lie before it; *none when the first lies
 * behind the end or the other: not even nothing is found there. */
static bool part_of(jj_run *r, jj_call *c, hg_str *part, size_t *before, bool *none)
{
    hg_str s = SELF(c);
    int64_t n = (int64_t)hg_jj_chars(s), from, to;
    jj_val first = c->p[1].type == JJ_NONE ? (jj_val){0} : c->p[1],
           last = c->p[2].type == JJ_NONE ? (jj_val){0} : c->p[2];
    if (!hg_jj_bytes(r, s.len) || !hg_jj_want_int(r, c, &first, 0, &from) ||
        !hg_jj_want_int(r, c, &last, n, &to))
        return false;
    if (from < 0) from = from < -n ? 0 : from + n;
    if (to < 0) to = to < -n ? 0 : to + n;
    if (to > n) to = n;
    *none = from > to;
    *before = *none ? 0 : hg_jj_char_at(s, (size_t)from);
    *part = (hg_str){s.ptr + *before, *none ? 0 : hg_jj_char_at(s, (size_t)to) - *before};
    return true;
}

/* find, rfind, index, rindex (x, start, end): bit 0 = from the right, bit 1 = not found is an error. */
static bool m_find(jj_run *r, jj_call *c)
{
    hg_str t, part;
    size_t before;
    bool none;
    if (!hg_jj_want_str(r, c, &c->p[0], &t) || !part_of(r, c, &part, &before, &none)) return false;
    if (!search_cost(r, SELF(c), t, c->entry->how & 1)) return false;
    size_t at = place(part, t, 0, c->entry->how & 1);
    bool found = !none && at <= part.len;
    if (!found && (c->entry->how & 2)) return hg_jj_fail(r, HANGAR_E_INVALID, "substring not found");
    *c->out = hg_jj_int(found ? (int64_t)hg_jj_chars((hg_str){SELF(c).ptr, before + at}) : -1);
    return true;
}

static bool m_count(jj_run *r, jj_call *c)
{
    hg_str t, s;
    size_t before, n = 0;
    bool none;
    if (!hg_jj_want_str(r, c, &c->p[0], &t) || !part_of(r, c, &s, &before, &none)) return false;
    if (t.len == 0 && !none) n = hg_jj_chars(s) + 1;
    for (size_t at = 0; t.len && (at = place(s, t, at, false)) <= s.len && hg_jj_steps(r, 1); at += t.len)
        n++;
    *c->out = hg_jj_int((int64_t)n);
    return r->code == HANGAR_OK;
}

static bool m_replace(jj_run *r, jj_call *c)
{
    hg_str s = SELF(c), from, to;
    int64_t max;
    if (!hg_jj_want_str(r, c, &c->p[0], &from) || !hg_jj_want_str(r, c, &c->p[1], &to) ||
        !hg_jj_want_int(r, c, &c->p[2], -1, &max) || !hg_jj_bytes(r, s.len))
        return false;
    if (from.len && place(s, from, 0, false) > s.len) return text_out(c, s);
    hg_buf b;
    hg_jj_buf(r, &b);
    for (size_t at; max != 0 && b.state == HANGAR_OK && (at = place(s, from, 0, false)) <= s.len; max--) {
        if (!hg_jj_steps(r, 1)) break;
        hg_buf_add(&b, s.ptr, at);
        hg_buf_str(&b, to);
        s = (hg_str){s.ptr + at + from.len, s.len - at - from.len};
        if (from.len) continue;
        if (s.len == 0) break; /* nothing is replaced between characters, and at both ends */
        size_t n = hg_jj_char_at(s, 1);
        hg_buf_add(&b, s.ptr, n);
        s = (hg_str){s.ptr + n, s.len - n};
    }
    hg_buf_str(&b, s);
    return hg_jj_buf_done(r, &b, c->out);
}

static bool m_join(jj_run *r, jj_call *c)
{
    const jj_list *l;
    hg_buf b;
    hg_str one;
    if (!hg_jj_iterate(r, &c->p[0], &l) || !hg_jj_steps(r, l->len / 2)) return false;
    hg_jj_buf(r, &b);
    for (size_t i = 0; i < l->len; i++) {
        if (i) hg_buf_str(&b, SELF(c));
        if (!hg_jj_want_str(r, c, &l->items[i], &one)) {
            hg_buf_deinit(&b);
            return false;
        }
        hg_buf_str(&b, one);
    }
    return hg_jj_buf_done(r, &b, c->out);
}

/* removeprefix and removesuffix (how 1) */
static bool m_remove(jj_run *r, jj_call *c)
{
    hg_str s = SELF(c), t;
    if (!hg_jj_want_str(r, c, &c->p[0], &t)) return false;
    bool suffix = c->entry->how != 0;
    if (suffix ? hg_str_ends(s, t) : hg_str_starts(s, t))
        s = suffix ? (hg_str){s.ptr, s.len - t.len} : (hg_str){s.ptr + t.len, s.len - t.len};
    return text_out(c, s);
}

/* ljust, rjust, center, zfill by `how` 0 to 3. */
static bool m_pad(jj_run *r, jj_call *c)
{
    int64_t width;
    hg_str s = SELF(c), fill = c->entry->how == 3 ? HG_STR("0") : HG_STR(" ");
    if (!hg_jj_want_int(r, c, &c->p[0], 0, &width)) return false;
    if (c->p[1].type != JJ_ABSENT && !hg_jj_want_str(r, c, &c->p[1], &fill)) return false;
    if (hg_jj_chars(fill) != 1)
        return hg_jj_fail(r, HANGAR_E_INVALID, "The fill character must be exactly one");
    int64_t n = (int64_t)hg_jj_chars(s), more = width > n ? width - n : 0;
    if (!hg_jj_bytes(r, s.len)) return false;
    int64_t left = c->entry->how == 0 ? 0 : more;
    if (c->entry->how == 2) left = more / 2 + (more & width & 1);
    jj_val by = hg_jj_str(fill), times = hg_jj_int(left), a, z;
    hg_str sign = {"", 0};
    if (c->entry->how == 3 && s.len && (*s.ptr == '-' || *s.ptr == '+')) {
        sign = (hg_str){s.ptr, 1};
        s = (hg_str){s.ptr + 1, s.len - 1};
    }
    if (!hg_jj_binary(r, '*', &by, &times, &a)) return false;
    times = hg_jj_int(more - left);
    hg_str all;
    return hg_jj_binary(r, '*', &by, &times, &z) && hg_jj_join(r, sign, a.as.s, &all) &&
           hg_jj_join(r, all, s, &all) && hg_jj_join(r, all, z.as.s, &all) && text_out(c, all);
}

/* keys, values, items by `how` 0 to 2. */
static bool m_view(jj_run *r, jj_call *c)
{
    const jj_dict *d = c->self.as.dict;
    if (!hg_jj_steps(r, d->len / 2) || !hg_jj_list_new(r, JJ_VIEW, d->len, c->out)) return false;
    jj_list *l = c->out->as.list;
    l->start = c->entry->how; /* which view, for its name */
    for (; l->len < d->len; l->len++) {
        const jj_pair *p = &d->pairs[l->len];
        jj_val v = c->entry->how ? p->val : p->key;
        if (c->entry->how == 2) {
            if (!hg_jj_list_new(r, JJ_TUPLE, 2, &v)) return false;
            v.as.list->items[0] = p->key;
            v.as.list->items[1] = p->val;
            v.as.list->len = 2;
        }
        l->items[l->len] = v;
    }
    return true;
}

static bool m_get(jj_run *r, jj_call *c)
{
    const jj_val *v = hg_jj_dict_find(r, c->self.as.dict, &c->p[0]);
    *c->out = v ? *v : c->p[1].type == JJ_ABSENT ? hg_jj_none() : c->p[1];
    return r->code == HANGAR_OK;
}

static bool m_self(jj_run *r, jj_call *c)
{
    (void)r;
    *c->out = c->self;
    return true;
}

/* index (how 1) and count of an item. */
static bool m_item(jj_run *r, jj_call *c)
{
    const jj_list *l = c->self.as.list;
    int64_t n = 0;
    for (size_t i = 0; i < l->len; i++) {
        bool same;
        if (!hg_jj_equal(r, &l->items[i], &c->p[0], 0, &same)) return false;
        if (same && c->entry->how) {
            *c->out = hg_jj_int((int64_t)i);
            return true;
        }
        n += same;
    }
    if (c->entry->how) return hg_jj_fail(r, HANGAR_E_INVALID, "the item is not in the list");
    *c->out = hg_jj_int(n);
    return true;
}

static bool m_cycle(jj_run *r, jj_call *c)
{
    if (c->args->npos == 0) return hg_jj_fail(r, HANGAR_E_INVALID, "cycle() wants something to cycle");
    *c->out = c->args->pos[c->self.as.loop->index % c->args->npos];
    return true;
}

static bool m_changed(jj_run *r, jj_call *c)
{
    jj_val now;
    bool same = false;
    size_t cap = 0;
    if (!hg_jj_list_new(r, JJ_TUPLE, 0, &now)) return false;
    for (size_t i = 0; i < c->args->npos; i++)
        if (!hg_jj_list_push(r, now.as.list, &cap, &c->args->pos[i])) return false;
    jj_val *last = &c->self.as.loop->changed;
    if (last->type != JJ_ABSENT && !hg_jj_equal(r, last, &now, 0, &same)) return false;
    *last = now;
    *c->out = hg_jj_bool(!same);
    return true;
}

static const jj_entry text_methods[] = {
    {"strip", "chars", m_strip, 0, 3},
    {"lstrip", "chars", m_strip, 0, 1},
    {"rstrip", "chars", m_strip, 0, 2},
    {"split", "sep maxsplit", m_split, 0, 0},
    {"rsplit", "sep maxsplit", m_split, 0, 1},
    {"splitlines", "keepends", m_splitlines, 0, 0},
    {"partition", "sep", m_partition, 1, 0},
    {"rpartition", "sep", m_partition, 1, 1},
    {"startswith", "prefix", m_starts, 1, 0},
    {"endswith", "suffix", m_starts, 1, 1},
    {"find", "sub start end", m_find, 1, 0},
    {"rfind", "sub start end", m_find, 1, 1},
    {"index", "sub start end", m_find, 1, 2},
    {"rindex", "sub start end", m_find, 1, 3},
    {"count", "sub start end", m_count, 1, 0},
    {"replace", "old new count", m_replace, 2, 0},
    {"join", "iterable", m_join, 1, 0},
    {"removeprefix", "prefix", m_remove, 1, 0},
    {"removesuffix", "suffix", m_remove, 1, 1},
    {"upper", "", m_case, 0, JJ_UPPER},
    {"lower", "", m_case, 0, JJ_LOWER},
    {"casefold", "", m_case, 0, JJ_LOWER},
    {"title", "", m_case, 0, JJ_TITLE},
    {"capitalize", "", m_case, 0, JJ_CAPITALIZE},
    {"swapcase", "", m_case, 0, JJ_SWAPCASE},
    {"isalpha", "", m_class, 0, JJ_ALPHA},
    {"isdigit", "", m_class, 0, JJ_DIGIT},
    {"isdecimal", "", m_class, 0, JJ_DECIMAL},
    {"isnumeric", "", m_class, 0, JJ_NUMERIC},
    {"isalnum", "", m_class, 0, JJ_ALNUM},
    {"isspace", "", m_class, 0, JJ_BLANK},
    {"isupper", "", m_cased, 0, 1},
    {"islower", "", m_cased, 0, 0},
    {"ljust", "width fillchar", m_pad, 1, 0},
    {"rjust", "width fillchar", m_pad, 1, 1},
    {"center", "width fillchar", m_pad, 1, 2},
    {"zfill", "width", m_pad, 1, 3},
    {0},
};
static const jj_entry dict_methods[] = {
    {"keys", "", m_view, 0, 0},          {"values", "", m_view, 0, 1}, {"items", "", m_view, 0, 2},
    {"get", "key default", m_get, 1, 0}, {"copy", "", m_self, 0, 0},   {0},
};
static const jj_entry list_methods[] = {{"index", "value", m_item, 1, 1},
                                        {"count", "value", m_item, 1, 0},
                                        {"copy", "", m_self, 0, 0},
                                        {0}};
static const jj_entry loop_methods[] = {{"cycle", "*", m_cycle, 0, 0},
                                        {"changed", "*", m_changed, 0, 0},
                                        {0}};

static const char *const text_refused[] = {"format",    "format_map", "encode", "maketrans",
                                           "translate", "expandtabs", NULL};
static const char *const dict_refused[] = {"pop",        "popitem",  "update", "clear",
                                           "setdefault", "fromkeys", NULL};
static const char *const list_refused[] = {"append", "extend",  "insert", "pop", "remove",
                                           "sort",   "reverse", "clear",  NULL};

const jj_entry *hg_jj_method(const jj_val *self, hg_str name, bool *unsafe)
{
    const jj_entry *table = NULL;
    const char *const *refused = NULL;
    if (self->type == JJ_STR) table = text_methods, refused = text_refused;
    else if (self->type == JJ_DICT) table = dict_methods, refused = dict_refused;
    else if (self->type == JJ_LIST) table = list_methods, refused = list_refused;
    else if (self->type == JJ_TUPLE || self->type == JJ_RANGE) table = list_methods;
    else if (self->type == JJ_LOOP) table = loop_methods;
    *unsafe = false;
    for (; refused && *refused; refused++)
        if (hg_str_eq(name, hg_str_of(*refused))) *unsafe = true;
    return table && !*unsafe ? hg_jj_entry_find(table, name) : NULL;
}
