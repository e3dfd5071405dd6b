/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments find their parameters here; the global functions, and calls of whatever a template calls. */
#include "format/jinja_inner.h"

const jj_entry *hg_jj_entry_find(const jj_entry *table, hg_str name)
{
    for (; table->name; table++)
        if (hg_str_eq(name, hg_str_of(table->name))) return table;
    return NULL;
}

bool hg_jj_args_push(jj_run *r, jj_args *a, const jj_val *v)
{
    if (!a->pos) {
        a->pos = a->few;
        a->cap = HG_LEN(a->few);
    }
    if (a->npos == a->cap) {
        jj_val *more = hg_jj_take(r, a->cap * 2, sizeof *more);
        if (!more) return false;
        memcpy(more, a->pos, a->npos * sizeof *more);
        a->pos = more;
        a->cap *= 2;
    }
    a->pos[a->npos++] = *v;
    return true;
}

/* The place of a named parameter, -1 when there is none. */
static int place_of(const char *params, hg_str name)
{
    hg_str left = hg_str_of(params), one;
    for (int i = 0; left.len; i++) {
        hg_str_cut(&left, ' ', &one);
        if (hg_str_eq(one, name)) return i;
    }
    return -1;
}

static int count_of(const char *params)
{
    int n = *params != '\0';
    for (; *params; params++) n += *params == ' ';
    return n;
}

bool hg_jj_invoke(jj_run *r, const jj_entry *e, const jj_val *self, const jj_args *args, jj_val *out)
{
    static const jj_args none;
    char name[64];
    jj_call c = {.entry = e, .args = args ? args : &none, .out = out};
    if (self) c.self = *self;
    if (!hg_jj_steps(r, 1)) return false;
    if (*e->params == '*') return e->fn(r, &c);
    int count = count_of(e->params);
    if (c.args->npos > (size_t)count)
        return hg_jj_fail(r, HANGAR_E_INVALID, "%s() takes at most %d arguments, not %zu", e->name, count,
                          c.args->npos);
    for (size_t i = 0; i < c.args->npos; i++) c.p[i] = c.args->pos[i];
    for (size_t i = 0; c.args->kw && i < c.args->kw->len; i++) {
        const jj_pair *kw = &c.args->kw->pairs[i];
        int at = place_of(e->params, kw->key.as.s);
        hg_escape(kw->key.as.s, name, sizeof name);
        if (at < 0) return hg_jj_fail(r, HANGAR_E_INVALID, "%s() has no parameter '%s'", e->name, name);
        if (c.p[at].type != JJ_ABSENT)
            return hg_jj_fail(r, HANGAR_E_INVALID, "%s() got '%s' twice", e->name, name);
        c.p[at] = kw->val;
    }
    for (int i = 0; i < e->need; i++)
        if (c.p[i].type == JJ_ABSENT)
            return hg_jj_fail(r, HANGAR_E_INVALID, "%s() wants %d arguments at least", e->name, e->need);
    return e->fn(r, &c);
}

bool hg_jj_apply(jj_run *r, const jj_val *callee, const jj_args *args, jj_val *out)
{
    switch (callee->type) {
    case JJ_FUNC: return hg_jj_invoke(r, callee->as.entry, NULL, args, out);
    case JJ_METHOD: return hg_jj_invoke(r, callee->as.bound->entry, &callee->as.bound->self, args, out);
    case JJ_MACRO: return hg_jj_macro_call(r, callee->as.macro, args, out);
    case JJ_UNDEF: return hg_jj_fail_undef(r, callee);
    default:
        return hg_jj_fail(r, HANGAR_E_INVALID, "'%s' object is not callable", hg_jj_type_name(callee->type));
    }
}

bool hg_jj_want_str(jj_run *r, const jj_call *c, const jj_val *v, hg_str *out)
{
    if (v->type == JJ_UNDEF) return hg_jj_fail_undef(r, v);
    if (v->type != JJ_STR)
        return hg_jj_fail(r, HANGAR_E_INVALID, "%s() wants text, not %s", c->entry->name,
                          hg_jj_type_name(v->type));
    *out = v->as.s;
    return true;
}

bool hg_jj_want_int(jj_run *r, const jj_call *c, const jj_val *v, int64_t def, int64_t *out)
{
    *out = def;
    if (v->type == JJ_ABSENT) return true;
    if (v->type == JJ_UNDEF) return hg_jj_fail_undef(r, v);
    if (v->type != JJ_INT && v->type != JJ_BOOL)
        return hg_jj_fail(r, HANGAR_E_INVALID, "%s() wants a whole number, not %s", c->entry->name,
                          hg_jj_type_name(v->type));
    *out = hg_jj_i64(v);
    return true;
}

static bool fn_range(jj_run *r, jj_call *c)
{
    int64_t start, stop, step;
    bool one = c->p[1].type == JJ_ABSENT;
    if (!hg_jj_want_int(r, c, &c->p[0], 0, &start) || !hg_jj_want_int(r, c, &c->p[1], 0, &stop) ||
        !hg_jj_want_int(r, c, &c->p[2], 1, &step))
        return false;
    if (one) {
        stop = start;
        start = 0;
    }
    if (step == 0) return hg_jj_fail(r, HANGAR_E_INVALID, "range() step must not be zero");
    uint64_t span = 0, by = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
    if (step > 0 && stop > start) span = (uint64_t)stop - (uint64_t)start;
    if (step < 0 && start > stop) span = (uint64_t)start - (uint64_t)stop;
    uint64_t n = span / by + (span % by != 0);
    if (n > HG_JINJA_RANGE_MAX)
        return hg_jj_fail(r, HANGAR_E_LIMIT, "range() of more than %d items", HG_JINJA_RANGE_MAX);
    if (!hg_jj_steps(r, n) || !hg_jj_list_new(r, JJ_RANGE, n, c->out)) return false;
    jj_list *l = c->out->as.list;
    l->start = start;
    l->stop = stop;
    l->step = step;
    for (; l->len < n; l->len++)
        l->items[l->len] = hg_jj_int((int64_t)((uint64_t)start + l->len * (uint64_t)step));
    return true;
}

/* Copies members of a dict, or pairs of a list, into d. */
static bool dict_update(jj_run *r, jj_dict *d, const jj_val *from)
{
    if (from->type == JJ_DICT) {
        const jj_dict *f = from->as.dict;
        if (!hg_jj_steps(r, f->len)) return false;
        for (size_t i = 0; i < f->len; i++)
            if (!hg_jj_dict_set(r, d, &f->pairs[i].key, &f->pairs[i].val)) return false;
        return true;
    }
    const jj_list *l, *pair;
    if (from->type == JJ_UNDEF) return hg_jj_fail_undef(r, from);
    if (!hg_jj_iterate(r, from, &l) || !hg_jj_steps(r, l->len)) return false;
    for (size_t i = 0; i < l->len; i++) {
        if (!hg_jj_iterate(r, &l->items[i], &pair)) return false;
        if (pair->len != 2) return hg_jj_fail(r, HANGAR_E_INVALID, "dict() wants pairs");
        if (!hg_jj_dict_set(r, d, &pair->items[0], &pair->items[1])) return false;
    }
    return true;
}

/* dict(x, a=1) and namespace(x, a=1), by `how`. */
static bool fn_dict(jj_run *r, jj_call *c)
{
    const jj_args *a = c->args;
    if (a->npos > 1) return hg_jj_fail(r, HANGAR_E_INVALID, "%s() takes at most 1 argument", c->entry->name);
    if (!hg_jj_dict_new(r, (jj_type)c->entry->how, 0, c->out)) return false;
    if (a->npos && !dict_update(r, c->out->as.dict, &a->pos[0])) return false;
    jj_val kw = {.type = JJ_DICT, .as.dict = a->kw};
    return !a->kw || dict_update(r, c->out->as.dict, &kw);
}

/* The text stands alone in the error: it is the template's own word to people. */
static bool fn_raise(jj_run *r, jj_call *c)
{
    hg_str text;
    char words[HANGAR_ERR_MAX];
    if (!hg_jj_text(r, &c->p[0], &text)) return false;
    size_t n = text.len < sizeof words - 1 ? text.len : hg_utf8_whole((hg_str){text.ptr, sizeof words - 1});
    if (n) memcpy(words, text.ptr, n);
    words[n] = '\0';
    if (r->code == HANGAR_OK) r->code = hg_fail(r->err, HANGAR_E_INVALID, "%s", words);
    return false;
}

static bool fn_now(jj_run *r, jj_call *c)
{
    hg_str format;
    hg_buf b;
    if (!hg_jj_want_str(r, c, &c->p[0], &format)) return false;
    hg_jj_buf(r, &b);
    if (!hg_jj_time(r, format, &b)) {
        hg_buf_deinit(&b);
        return false;
    }
    return hg_jj_buf_done(r, &b, c->out);
}

static bool fn_refused(jj_run *r, jj_call *c)
{
    return hg_jj_fail(r, HANGAR_E_UNSUPPORTED, "%s() is not part of the dialect", c->entry->name);
}

static const jj_entry globals[] = {
    {"range", "start stop step", fn_range, 1, 0},
    {"namespace", "*", fn_dict, 0, JJ_SPACE},
    {"dict", "*", fn_dict, 0, JJ_DICT},
    {"raise_exception", "message", fn_raise, 1, 0},
    {"strftime_now", "format", fn_now, 1, 0},
    {"cycler", "*", fn_refused, 0, 0},
    {"joiner", "*", fn_refused, 0, 0},
    {"lipsum", "*", fn_refused, 0, 0},
    {0},
};

const jj_entry *hg_jj_global(hg_str name)
{
    return hg_jj_entry_find(globals, name);
}
