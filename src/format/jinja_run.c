/* SPDX-License-Identifier: Apache-2.0 */
/* Statements and macros, and the public side of rendering. */
#include "format/jinja_inner.h"

#define STEPS_DEFAULT  2000000
#define OUTPUT_DEFAULT (16 * HG_MIB)
#define MEMORY_DEFAULT (64 * HG_MIB)
#define DEPTH_DEFAULT  500
#define DEPTH_MAX      2000

static bool exec(jj_run *r, const jj_node *body);

/* A scope inside `parent`, used again when it was given back. */
jj_scope *hg_jj_scope_push(jj_run *r, jj_scope *parent)
{
    jj_scope *s = r->spare;
    if (s) {
        r->spare = s->parent;
        s->vars.len = 0;
        if (s->vars.slots) memset(s->vars.slots, 0, s->vars.slot_count * sizeof *s->vars.slots);
    } else if ((s = hg_jj_take(r, 1, sizeof *s)) != NULL) {
        *s = (jj_scope){0};
    }
    if (!s) return NULL;
    s->parent = parent;
    s->captured = false;
    r->scope = s;
    return s;
}

/* Back to `back`; a macro that was made inside keeps the scope. */
void hg_jj_scope_pop(jj_run *r, jj_scope *s, jj_scope *back)
{
    r->scope = back;
    if (s->captured || s->vars.slot_count > 256) return;
    s->parent = r->spare;
    r->spare = s;
}

/* What is made now sees these scopes as long as it lives. */
static void keep_scopes(jj_run *r)
{
    for (jj_scope *s = r->scope; s && !s->captured; s = s->parent) s->captured = true;
}

static bool assign(jj_run *r, const jj_node *target, const jj_val *v)
{
    if (target->kind == JJ_NAME) {
        jj_val key = hg_jj_str(target->name);
        return hg_jj_dict_set(r, &r->scope->vars, &key, v);
    }
    if (target->kind == JJ_ATTR) {
        jj_val space, key = hg_jj_str(target->name);
        if (!hg_jj_eval(r, target->a, &space)) return false;
        if (space.type != JJ_SPACE)
            return hg_jj_fail(r, HANGAR_E_INVALID, "cannot assign attribute on non-namespace object");
        return hg_jj_dict_set(r, space.as.dict, &key, v);
    }
    const jj_list *l;
    size_t want = 0, i = 0;
    for (const jj_node *t = target->a; t; t = t->next) want++;
    if (v->type == JJ_UNDEF) return hg_jj_fail_undef(r, v);
    if (!hg_jj_iterate(r, v, &l)) return false;
    if (l->len != want) return hg_jj_fail(r, HANGAR_E_INVALID, "%zu values for %zu names", l->len, want);
    for (const jj_node *t = target->a; t; t = t->next)
        if (!assign(r, t, &l->items[i++])) return false;
    return true;
}

/* Runs a body and takes what it wrote. */
static bool capture(jj_run *r, const jj_node *body, jj_val *out)
{
    size_t from = r->out.len;
    *out = hg_jj_str((hg_str){"", 0});
    if (!exec(r, body)) return false;
    hg_str text = {hg_buf_text(&r->out) + from, r->out.len - from};
    if (!hg_jj_copy(r, text, &out->as.s)) return false;
    r->out.len = from;
    if (r->out.data) r->out.data[from] = '\0';
    return true;
}

/* The items of a loop for which its condition holds, each under its name. */
static bool for_items(jj_run *r, const jj_node *n, const jj_list **out)
{
    jj_val v, kept;
    size_t cap = 0;
    if (!hg_jj_eval(r, n->b, &v) || !hg_jj_iterate(r, &v, out) || !n->e) return r->code == HANGAR_OK;
    if (!hg_jj_list_new(r, JJ_LIST, 0, &kept)) return false;
    jj_scope *outer = r->scope;
    for (size_t i = 0; i < (*out)->len; i++) {
        jj_scope *s = hg_jj_scope_push(r, outer);
        if (!s || !assign(r, n->a, &(*out)->items[i]) || !hg_jj_eval(r, n->e, &v)) return false;
        hg_jj_scope_pop(r, s, outer);
        if (hg_jj_true(&v) && !hg_jj_list_push(r, kept.as.list, &cap, &(*out)->items[i])) return false;
    }
    *out = kept.as.list;
    return true;
}

static bool exec_for(jj_run *r, const jj_node *n)
{
    const jj_list *items;
    if (!for_items(r, n, &items)) return false;
    if (items->len == 0) return !n->d || exec(r, n->d);
    jj_scope *outer = r->scope;
    jj_loop *loop = hg_jj_take(r, 1, sizeof *loop);
    if (!loop) return false;
    *loop = (jj_loop){.items = items};
    jj_val as_value = {.type = JJ_LOOP, .as.loop = loop}, name = hg_jj_str(HG_STR("loop"));
    for (; loop->index < items->len; loop->index++) {
        if (!hg_jj_steps(r, 1)) return false;
        jj_scope *s = hg_jj_scope_push(r, outer);
        if (!s || !hg_jj_dict_set(r, &s->vars, &name, &as_value) ||
            !assign(r, n->a, &items->items[loop->index]) || !exec(r, n->c))
            return false;
        hg_jj_scope_pop(r, s, outer);
        bool stop = r->flow == JJ_BREAK;
        r->flow = JJ_ON;
        if (stop) break;
    }
    return true;
}

static bool exec_text(jj_run *r, const jj_node *n)
{
    return hg_jj_print(r, &n->value, &r->out);
}

static bool exec_print(jj_run *r, const jj_node *n)
{
    jj_val v;
    return hg_jj_eval(r, n->a, &v) && hg_jj_print(r, &v, &r->out);
}

static bool exec_if(jj_run *r, const jj_node *n)
{
    for (const jj_node *branch = n->a; branch; branch = branch->next) {
        jj_val v = hg_jj_bool(true);
        if (branch->a && !hg_jj_eval(r, branch->a, &v)) return false;
        if (hg_jj_true(&v)) return exec(r, branch->b);
    }
    return true;
}

static bool exec_set(jj_run *r, const jj_node *n)
{
    jj_val v;
    return hg_jj_eval(r, n->b, &v) && assign(r, n->a, &v);
}

/* A body in a scope of its own, its text through a filter. */
static bool filtered(jj_run *r, const jj_node *n, jj_val *out)
{
    jj_scope *outer = r->scope, *s = hg_jj_scope_push(r, outer);
    if (!s || !capture(r, n->c, &r->captured)) return false;
    hg_jj_scope_pop(r, s, outer);
    return hg_jj_eval(r, n->b, out);
}

static bool exec_set_block(jj_run *r, const jj_node *n)
{
    jj_val v;
    return filtered(r, n, &v) && assign(r, n->a, &v);
}

static bool exec_filter_block(jj_run *r, const jj_node *n)
{
    jj_val v;
    return filtered(r, n, &v) && hg_jj_print(r, &v, &r->out);
}

static bool macro_value(jj_run *r, const jj_node *n, jj_val *out)
{
    jj_macro *m = hg_jj_take(r, 1, sizeof *m);
    if (!m) return false;
    *m = (jj_macro){n, r->scope};
    keep_scopes(r);
    *out = (jj_val){.type = JJ_MACRO, .as.macro = m};
    return true;
}

static bool exec_macro(jj_run *r, const jj_node *n)
{
    jj_val v, key = hg_jj_str(n->name);
    return macro_value(r, n, &v) && hg_jj_dict_set(r, &r->scope->vars, &key, &v);
}

/* {% call f(x) %}: f gets the body as caller(). */
static bool exec_call_block(jj_run *r, const jj_node *n)
{
    jj_val callee, caller, v, dict, key = hg_jj_str(HG_STR("caller"));
    jj_args args;
    if (!hg_jj_eval(r, n->b->a, &callee) || !hg_jj_eval_args(r, n->b->b, &args) ||
        !macro_value(r, n, &caller))
        return false;
    if (!args.kw) {
        if (!hg_jj_dict_new(r, JJ_DICT, 0, &dict)) return false;
        args.kw = dict.as.dict;
    }
    r->line = n->line;
    return hg_jj_dict_set(r, args.kw, &key, &caller) && hg_jj_apply(r, &callee, &args, &v) &&
           hg_jj_print(r, &v, &r->out);
}

/* with and generation: a scope of their own. */
static bool exec_with(jj_run *r, const jj_node *n)
{
    jj_scope *outer = r->scope, *s = hg_jj_scope_push(r, outer);
    for (const jj_node *p = n->a; s && p; p = p->next) {
        jj_val v, key = hg_jj_str(p->name);
        r->scope = outer; /* the values do not see one another */
        if (!hg_jj_eval(r, p->b, &v)) return false;
        r->scope = s;
        if (!hg_jj_dict_set(r, &s->vars, &key, &v)) return false;
    }
    if (!s || !exec(r, n->c)) return false;
    hg_jj_scope_pop(r, s, outer);
    return true;
}

static bool exec_stop(jj_run *r, const jj_node *n)
{
    r->flow = n->op;
    return true;
}

/* Statements one after the other, up to a break or continue. */
static bool exec(jj_run *r, const jj_node *body)
{
    static bool (*const by_kind[])(jj_run * r, const jj_node *n) = {
        [JJ_TEXT] = exec_text,
        [JJ_PRINT] = exec_print,
        [JJ_IF] = exec_if,
        [JJ_FOR] = exec_for,
        [JJ_SET] = exec_set,
        [JJ_SET_BLOCK] = exec_set_block,
        [JJ_MACRO_DEF] = exec_macro,
        [JJ_CALL_BLOCK] = exec_call_block,
        [JJ_FILTER_BLOCK] = exec_filter_block,
        [JJ_WITH] = exec_with,
        [JJ_GROUP] = exec_with,
        [JJ_STOP] = exec_stop,
    };
    if (r->depth == 0) return hg_jj_fail(r, HANGAR_E_LIMIT, "evaluation is nested too deep");
    r->depth--;
    bool ok = true;
    for (; ok && body && r->flow == JJ_ON; body = body->next) {
        r->line = body->line;
        ok = hg_jj_steps(r, 1) && by_kind[body->kind](r, body) && r->code == HANGAR_OK;
    }
    r->depth++;
    return ok;
}

/* Arguments to the parameters of a macro, defaults for the others; *count is how many parameters there are. */
static bool bind_params(jj_run *r, const jj_macro *m, const jj_args *args, jj_scope *s, size_t *count)
{
    size_t at = 0;
    for (const jj_node *p = m->node->a; p; p = p->next, at++) {
        jj_val key = hg_jj_str(p->name), v = hg_jj_undef(p->name, JJ_NAMED);
        const jj_val *given = args->kw ? hg_jj_dict_find(r, args->kw, &key) : NULL;
        if (at < args->npos && given)
            return hg_jj_fail(r, HANGAR_E_INVALID, "the macro got '%.*s' twice", HG_STR_ARG(p->name));
        if (at < args->npos) v = args->pos[at];
        else if (given) v = *given;
        else if (p->a && !hg_jj_eval(r, p->a, &v)) return false;
        if (!hg_jj_dict_set(r, &s->vars, &key, &v)) return false;
    }
    *count = at;
    return true;
}

/* What was given by name and is no parameter: the caller, and kwargs. */
static bool bind_named(jj_run *r, const jj_macro *m, const jj_args *args, jj_scope *s)
{
    jj_val more = {0}, key = hg_jj_str(HG_STR("kwargs"));
    bool rest = m->node->uses & JJ_USES_KWARGS;
    if (rest && (!hg_jj_dict_new(r, JJ_DICT, 0, &more) || !hg_jj_dict_set(r, &s->vars, &key, &more)))
        return false;
    for (size_t i = 0; args->kw && i < args->kw->len; i++) {
        const jj_pair *kw = &args->kw->pairs[i];
        const jj_node *p = m->node->a;
        while (p && !hg_str_eq(p->name, kw->key.as.s)) p = p->next;
        if (p) continue;
        bool caller = (m->node->uses & JJ_USES_CALLER) && hg_str_eq(kw->key.as.s, HG_STR("caller"));
        if (!caller && !rest)
            return hg_jj_fail(r, HANGAR_E_INVALID, "macro '%.*s' takes no keyword argument '%.*s'",
                              HG_STR_ARG(m->node->name), HG_STR_ARG(kw->key.as.s));
        if (!hg_jj_dict_set(r, caller ? &s->vars : more.as.dict, &kw->key, &kw->val)) return false;
    }
    return true;
}

static bool bind(jj_run *r, const jj_macro *m, const jj_args *args, jj_scope *s)
{
    size_t at = 0, cap = 0;
    jj_val more, key = hg_jj_str(HG_STR("varargs"));
    if (!bind_params(r, m, args, s, &at)) return false;
    if (m->node->uses & JJ_USES_VARARGS) {
        if (!hg_jj_list_new(r, JJ_TUPLE, 0, &more)) return false;
        for (; at < args->npos; at++)
            if (!hg_jj_list_push(r, more.as.list, &cap, &args->pos[at])) return false;
        if (!hg_jj_dict_set(r, &s->vars, &key, &more)) return false;
    } else if (args->npos > at) {
        return hg_jj_fail(r, HANGAR_E_INVALID, "macro '%.*s' takes not more than %zu argument(s)",
                          HG_STR_ARG(m->node->name), at);
    }
    return bind_named(r, m, args, s);
}

bool hg_jj_macro_call(jj_run *r, const jj_macro *m, const jj_args *args, jj_val *out)
{
    jj_scope *back = r->scope, *s = hg_jj_scope_push(r, m->scope);
    if (!s || !bind(r, m, args, s) || !capture(r, m->node->c, out)) return false;
    hg_jj_scope_pop(r, s, back);
    return true;
}

/* Frees what a rendering held; the code that it ended with. */
static hangar_code run_end(jj_run *r)
{
    hg_jj_arena_free(&r->arena);
    hg_buf_deinit(&r->out);
    return r->code;
}

hangar_code hg_jinja_render(const hg_jinja *t, const hg_jval *context, const hg_jinja_limits *limits,
                            int64_t now, hg_buf *out, hangar_err *err)
{
    const hg_jinja_limits none = {0}, *l = limits ? limits : &none;
    jj_run r = {.err = err, .now = now, .steps = l->steps ? l->steps : STEPS_DEFAULT, .line = 1};
    r.depth = !l->depth ? DEPTH_DEFAULT : l->depth < DEPTH_MAX ? l->depth : DEPTH_MAX;
    r.arena.max = l->memory ? l->memory : MEMORY_DEFAULT;
    hg_buf_init(&r.out, l->output ? l->output : OUTPUT_DEFAULT);
    jj_val vars = {0};
    if (context && !hg_json_is_object(context))
        hg_jj_fail(&r, HANGAR_E_INVALID, "the context of a template is an object");
    else if (!context || hg_jj_from_json(&r, context, 0, &vars)) {
        jj_scope outer = {.captured = true}, *top;
        if (context) outer.vars = *vars.as.dict;
        if ((top = hg_jj_scope_push(&r, &outer)) != NULL) exec(&r, t->body);
    }
    if (r.code == HANGAR_OK) {
        hg_buf_str(out, hg_buf_view(&r.out));
        r.code = hg_buf_check(out, err);
    }
    return run_end(&r);
}
