/* SPDX-License-Identifier: Apache-2.0 */
/* Expressions. Every node costs a step; every level of the C stack is counted in r->depth. */
#include "format/jinja_inner.h"

static bool lookup(jj_run *r, hg_str name, jj_val *out)
{
    for (const jj_scope *s = r->scope; s; s = s->parent) {
        const jj_val *v = hg_jj_dict_get(r, &s->vars, name);
        if (r->code != HANGAR_OK) return false;
        if (v) {
            *out = *v;
            return true;
        }
        if (!hg_jj_steps(r, s->parent != NULL)) return false;
    }
    const jj_entry *e = hg_jj_global(name);
    *out = e ? (jj_val){.type = JJ_FUNC, .as.entry = e} : hg_jj_undef(name, JJ_NAMED);
    return true;
}

static bool eval_list(jj_run *r, const jj_node *n, jj_val *out)
{
    size_t count = 0;
    for (const jj_node *p = n->a; p; p = p->next) count++;
    if (!hg_jj_list_new(r, n->kind == JJ_MAKE_LIST ? JJ_LIST : JJ_TUPLE, count, out)) return false;
    jj_list *l = out->as.list;
    for (const jj_node *p = n->a; p; p = p->next)
        if (!hg_jj_eval(r, p, &l->items[l->len])) return false;
        else l->len++;
    return true;
}

static bool eval_dict(jj_run *r, const jj_node *n, jj_val *out)
{
    if (!hg_jj_dict_new(r, JJ_DICT, 0, out)) return false;
    for (const jj_node *p = n->a; p; p = p->next) {
        jj_val key, v;
        if (!hg_jj_eval(r, p->a, &key) || !hg_jj_eval(r, p->b, &v) ||
            !hg_jj_dict_set(r, out->as.dict, &key, &v))
            return false;
    }
    return true;
}

static bool eval_sign(jj_run *r, const jj_node *n, jj_val *out)
{
    jj_val v, zero = hg_jj_int(0);
    if (!hg_jj_eval(r, n->a, &v)) return false;
    if (v.type == JJ_FLOAT) {
        *out = hg_jj_float(n->kind == JJ_NEG ? -v.as.f : v.as.f);
        return true;
    }
    return hg_jj_binary(r, n->kind == JJ_NEG ? '-' : '+', &zero, &v, out);
}

static bool eval_not(jj_run *r, const jj_node *n, jj_val *out)
{
    jj_val v;
    if (!hg_jj_eval(r, n->a, &v)) return false;
    *out = hg_jj_bool(!hg_jj_true(&v));
    return true;
}

static bool eval_chain(jj_run *r, const jj_node *n, jj_val *out)
{
    jj_val left, right;
    if (!hg_jj_eval(r, n->a, &left)) return false;
    for (const jj_node *p = n->b; p; p = p->next) {
        if (!hg_jj_eval(r, p->a, &right)) return false;
        r->line = p->line;
        if (!hg_jj_binary(r, p->op, &left, &right, out)) return false;
        left = *out;
    }
    return true;
}

/* and, or: the value that decides. */
static bool eval_logic(jj_run *r, const jj_node *n, jj_val *out)
{
    for (const jj_node *p = n->a; p; p = p->next) {
        if (!hg_jj_eval(r, p, out)) return false;
        if (hg_jj_true(out) == (n->kind == JJ_OR)) return true;
    }
    return true;
}

/* a < b < c: each with its neighbour, up to the first that does not hold. */
static bool eval_compare(jj_run *r, const jj_node *n, jj_val *out)
{
    jj_val left, right;
    bool holds = true;
    if (!hg_jj_eval(r, n->a, &left)) return false;
    for (const jj_node *p = n->b; p && holds; p = p->next) {
        if (!hg_jj_eval(r, p->a, &right)) return false;
        r->line = p->line;
        if (!hg_jj_compare(r, p->op, &left, &right, &holds)) return false;
        left = right;
    }
    *out = hg_jj_bool(holds);
    return true;
}

static bool eval_concat(jj_run *r, const jj_node *n, jj_val *out)
{
    jj_val v;
    hg_str text, all;
    if (!hg_jj_eval(r, n->a, &v) || !hg_jj_text(r, &v, &all)) return false;
    for (const jj_node *p = n->b; p; p = p->next)
        if (!hg_jj_eval(r, p->a, &v) || !hg_jj_text(r, &v, &text) || !hg_jj_join(r, all, text, &all))
            return false;
    *out = hg_jj_str(all);
    return true;
}

static bool eval_ternary(jj_run *r, const jj_node *n, jj_val *out)
{
    jj_val v;
    if (!hg_jj_eval(r, n->a, &v)) return false;
    if (hg_jj_true(&v)) return hg_jj_eval(r, n->b, out);
    if (n->c) return hg_jj_eval(r, n->c, out);
    *out = hg_jj_undef(HG_STR("an 'if' without its 'else'"), JJ_NAMED);
    return true;
}

static bool eval_attr(jj_run *r, const jj_node *n, jj_val *out)
{
    jj_val v;
    if (!hg_jj_eval(r, n->a, &v)) return false;
    r->line = n->line;
    return hg_jj_attr(r, &v, n->name, out);
}

static bool eval_index(jj_run *r, const jj_node *n, jj_val *out)
{
    jj_val v, key, part[3] = {0};
    if (!hg_jj_eval(r, n->a, &v)) return false;
    r->line = n->line;
    if (n->b->kind != JJ_SLICE) return hg_jj_eval(r, n->b, &key) && hg_jj_index(r, &v, &key, out);
    const jj_node *bounds[3] = {n->b->a, n->b->b, n->b->c};
    for (int i = 0; i < 3; i++)
        if (bounds[i] && !hg_jj_eval(r, bounds[i], &part[i])) return false;
    return hg_jj_slice(r, &v, part, out);
}

/* Members of a dict as named arguments. */
static bool spread_dict(jj_run *r, const jj_val *v, jj_args *out)
{
    if (v->type != JJ_DICT) return hg_jj_fail(r, HANGAR_E_INVALID, "** wants a dict");
    for (size_t i = 0; i < v->as.dict->len; i++) {
        const jj_pair *p = &v->as.dict->pairs[i];
        if (p->key.type != JJ_STR) return hg_jj_fail(r, HANGAR_E_INVALID, "** wants names");
        if (!hg_jj_dict_set(r, out->kw, &p->key, &p->val)) return false;
    }
    return true;
}

bool hg_jj_eval_args(jj_run *r, const jj_node *arg, jj_args *out)
{
    out->pos = out->few;
    out->npos = 0;
    out->cap = HG_LEN(out->few);
    out->kw = NULL;
    for (; arg; arg = arg->next) {
        jj_val v, dict;
        if (!hg_jj_eval(r, arg->a, &v)) return false;
        if ((arg->name.len || arg->op == JJ_OP_POW) && !out->kw) {
            if (!hg_jj_dict_new(r, JJ_DICT, 0, &dict)) return false;
            out->kw = dict.as.dict;
        }
        if (arg->name.len) {
            jj_val key = hg_jj_str(arg->name);
            if (!hg_jj_dict_set(r, out->kw, &key, &v)) return false;
        } else if (arg->op == JJ_OP_POW) {
            if (!spread_dict(r, &v, out)) return false;
        } else if (arg->op == '*') {
            const jj_list *l;
            if (!hg_jj_iterate(r, &v, &l) || !hg_jj_steps(r, l->len)) return false;
            for (size_t i = 0; i < l->len; i++)
                if (!hg_jj_args_push(r, out, &l->items[i])) return false;
        } else if (!hg_jj_args_push(r, out, &v)) {
            return false;
        }
    }
    return true;
}

static bool eval_call(jj_run *r, const jj_node *n, jj_val *out)
{
    jj_val callee;
    jj_args args;
    if (!hg_jj_eval(r, n->a, &callee) || !hg_jj_eval_args(r, n->b, &args)) return false;
    r->line = n->line;
    return hg_jj_apply(r, &callee, &args, out);
}

static bool eval_filter(jj_run *r, const jj_node *n, jj_val *out)
{
    jj_val v;
    jj_args args;
    if (!hg_jj_eval(r, n->a, &v) || !hg_jj_eval_args(r, n->b, &args)) return false;
    r->line = n->line;
    return hg_jj_filter_apply(r, n->name, &v, &args, out);
}

static bool eval_test(jj_run *r, const jj_node *n, jj_val *out)
{
    jj_val v;
    jj_args args;
    bool yes = false;
    if (!hg_jj_eval(r, n->a, &v) || !hg_jj_eval_args(r, n->b, &args)) return false;
    r->line = n->line;
    if (!hg_jj_test_apply(r, n->name, &v, &args, &yes)) return false;
    *out = hg_jj_bool(yes != n->flag);
    return true;
}

static bool eval_constant(jj_run *r, const jj_node *n, jj_val *out)
{
    (void)r;
    *out = n->value;
    return true;
}

static bool eval_name(jj_run *r, const jj_node *n, jj_val *out)
{
    return lookup(r, n->name, out);
}

static bool eval_captured(jj_run *r, const jj_node *n, jj_val *out)
{
    (void)n;
    *out = r->captured;
    return true;
}

bool hg_jj_eval(jj_run *r, const jj_node *n, jj_val *out)
{
    static bool (*const by_kind[])(jj_run * r, const jj_node *n, jj_val *out) = {
        [JJ_CONST] = eval_constant,  [JJ_NAME] = eval_name,       [JJ_MAKE_LIST] = eval_list,
        [JJ_MAKE_TUPLE] = eval_list, [JJ_MAKE_DICT] = eval_dict,  [JJ_NEG] = eval_sign,
        [JJ_POS] = eval_sign,        [JJ_NOT] = eval_not,         [JJ_CHAIN] = eval_chain,
        [JJ_AND] = eval_logic,       [JJ_OR] = eval_logic,        [JJ_COMPARE] = eval_compare,
        [JJ_CONCAT] = eval_concat,   [JJ_TERNARY] = eval_ternary, [JJ_ATTR] = eval_attr,
        [JJ_INDEX] = eval_index,     [JJ_SLICE] = NULL,           [JJ_CALL] = eval_call,
        [JJ_FILTER] = eval_filter,   [JJ_TEST] = eval_test,       [JJ_CAPTURED] = eval_captured,
    };
    r->line = n->line;
    if (r->code != HANGAR_OK || !hg_jj_steps(r, 1)) return false;
    if (r->depth == 0) return hg_jj_fail(r, HANGAR_E_LIMIT, "evaluation is nested too deep");
    r->depth--;
    bool ok = by_kind[n->kind](r, n, out) && r->code == HANGAR_OK;
    r->depth++;
    return ok;
}
