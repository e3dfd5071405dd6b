/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens to statements, and the public side of parsing. */
#include "format/jinja_inner.h"

/* Goes over the rest of a tag; anything left in it is an error. */
static bool end_tag(jj_parser *p)
{
    char buf[64];
    if (p->cur.type != JJ_T_BLOCK_END)
        return hg_jj_parse_fail(p, HANGAR_E_INVALID, "the end of the tag is expected, not %s",
                                hg_jj_token_word(&p->cur, buf));
    return hg_jj_next(p);
}

/* A body between two tags: from the end of the first to behind the end of the last, {% end %}. */
static bool parse_inner(jj_parser *p, const char *end, jj_node **out)
{
    const char *const ends[] = {end, NULL};
    return end_tag(p) && hg_jj_parse_body(p, ends, out) && hg_jj_next(p) && end_tag(p);
}

static bool parse_if(jj_parser *p, jj_node *n)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL}, *const last[] = {"endif", NULL};
    bool other = false;
    for (jj_node **tail = &n->a;; tail = &(*tail)->next) {
        jj_node *branch = *tail = hg_jj_node(p, JJ_BRANCH, p->cur.line);
        if (!branch) return false;
        if (!other && !hg_jj_parse_tuple(p, true, &branch->a)) return false;
        if (!end_tag(p) || !hg_jj_parse_body(p, other ? last : ends, &branch->b)) return false;
        bool end = hg_jj_is_name(&p->cur, "endif");
        other = hg_jj_is_name(&p->cur, "else");
        if (!hg_jj_next(p)) return false;
        if (end) return end_tag(p);
    }
}

static bool parse_for(jj_parser *p, jj_node *n)
{
    static const char *const ends[] = {"else", "endfor", NULL}, *const last[] = {"endfor", NULL};
    bool found;
    char buf[64];
    if (!hg_jj_parse_target(p, false, &n->a) || !hg_jj_skip_name(p, "in", &found)) return false;
    if (!found)
        return hg_jj_parse_fail(p, HANGAR_E_INVALID, "'in' is expected, not %s",
                                hg_jj_token_word(&p->cur, buf));
    if (!hg_jj_parse_tuple(p, true, &n->b) || !hg_jj_skip_name(p, "if", &found)) return false;
    if (found && !hg_jj_parse_expr(p, &n->e)) return false;
    if (hg_jj_is_name(&p->cur, "recursive"))
        return hg_jj_parse_fail(p, HANGAR_E_UNSUPPORTED, "recursive loops are not part of the dialect");
    p->loops++;
    bool ok = end_tag(p) && hg_jj_parse_body(p, ends, &n->c);
    p->loops--;
    if (!ok) return false;
    if (hg_jj_is_name(&p->cur, "else") &&
        (!hg_jj_next(p) || !end_tag(p) || !hg_jj_parse_body(p, last, &n->d)))
        return false;
    return hg_jj_next(p) && end_tag(p);
}

static bool parse_set(jj_parser *p, jj_node *n)
{
    bool value;
    if (!hg_jj_parse_target(p, true, &n->a) || !hg_jj_skip_op(p, '=', &value)) return false;
    if (value) return hg_jj_parse_tuple(p, false, &n->b) && end_tag(p);
    n->kind = JJ_SET_BLOCK;
    if (n->a->kind == JJ_MAKE_TUPLE) return hg_jj_parse_fail(p, HANGAR_E_INVALID, "a block sets one name");
    jj_node *input = hg_jj_node(p, JJ_CAPTURED, p->cur.line);
    return input && hg_jj_parse_filters(p, input, false, &n->b) && parse_inner(p, "endset", &n->c);
}

/* (a, b=1) of a macro. */
static bool parse_params(jj_parser *p, jj_node **tail)
{
    char buf[64];
    if (!hg_jj_expect_op(p, '(')) return false;
    bool optional = false;
    while (!hg_jj_is_op(&p->cur, ')')) {
        if (p->cur.type != JJ_T_NAME)
            return hg_jj_parse_fail(p, HANGAR_E_INVALID, "a parameter is expected, not %s",
                                    hg_jj_token_word(&p->cur, buf));
        jj_node *param = *tail = hg_jj_node(p, JJ_PARAM, p->cur.line);
        if (!param) return false;
        param->name = p->cur.text;
        tail = &param->next;
        bool has;
        if (!hg_jj_next(p) || !hg_jj_skip_op(p, '=', &has) || (has && !hg_jj_parse_expr(p, &param->a)))
            return false;
        if (optional && !has)
            return hg_jj_parse_fail(p, HANGAR_E_INVALID, "a parameter without a default behind one with one");
        optional = has;
        if (hg_jj_is_op(&p->cur, ')')) break;
        if (!hg_jj_expect_op(p, ',')) return false;
    }
    return hg_jj_next(p);
}

/* The body of a macro or call block, noting which of its implied names it uses. */
static bool parse_callable(jj_parser *p, const char *end, jj_node *n)
{
    uint8_t uses = p->uses;
    unsigned loops = p->loops;
    p->uses = 0;
    p->loops = 0;
    bool ok = parse_inner(p, end, &n->c);
    n->uses = p->uses;
    p->uses = uses;
    p->loops = loops;
    return ok;
}

static bool parse_macro(jj_parser *p, jj_node *n)
{
    char buf[64];
    if (p->cur.type != JJ_T_NAME)
        return hg_jj_parse_fail(p, HANGAR_E_INVALID, "a name for the macro is expected, not %s",
                                hg_jj_token_word(&p->cur, buf));
    n->name = p->cur.text;
    return hg_jj_next(p) && parse_params(p, &n->a) && parse_callable(p, "endmacro", n);
}

static bool parse_call(jj_parser *p, jj_node *n)
{
    n->name = HG_STR("caller");
    if (hg_jj_is_op(&p->cur, '(') && !parse_params(p, &n->a)) return false;
    if (!hg_jj_parse_expr(p, &n->b)) return false;
    if (n->b->kind != JJ_CALL) return hg_jj_parse_fail(p, HANGAR_E_INVALID, "'call' wants a call of a macro");
    return parse_callable(p, "endcall", n);
}

static bool parse_filter(jj_parser *p, jj_node *n)
{
    jj_node *input = hg_jj_node(p, JJ_CAPTURED, p->cur.line);
    return input && hg_jj_parse_filters(p, input, true, &n->b) && parse_inner(p, "endfilter", &n->c);
}

static bool parse_with(jj_parser *p, jj_node *n)
{
    for (jj_node **tail = &n->a; p->cur.type != JJ_T_BLOCK_END; tail = &(*tail)->next) {
        if (n->a && !hg_jj_expect_op(p, ',')) return false;
        if (p->cur.type != JJ_T_NAME)
            return hg_jj_parse_fail(p, HANGAR_E_INVALID, "a name is expected behind 'with'");
        jj_node *pair = *tail = hg_jj_node(p, JJ_PAIR, p->cur.line);
        if (!pair) return false;
        pair->name = p->cur.text;
        if (!hg_jj_next(p) || !hg_jj_expect_op(p, '=') || !hg_jj_parse_expr(p, &pair->b)) return false;
    }
    return parse_inner(p, "endwith", &n->c);
}

static bool parse_generation(jj_parser *p, jj_node *n)
{
    return parse_inner(p, "endgeneration", &n->c);
}

static bool parse_stop(jj_parser *p, jj_node *n)
{
    (void)n;
    if (p->loops == 0)
        return hg_jj_parse_fail(p, HANGAR_E_INVALID, "'break' or 'continue' outside of a loop");
    return end_tag(p);
}

static const struct {
    const char *name;
    jj_kind kind;
    int op;
    bool (*parse)(jj_parser *p, jj_node *n);
} statements[] = {
    {"if", JJ_IF, 0, parse_if},
    {"for", JJ_FOR, 0, parse_for},
    {"set", JJ_SET, 0, parse_set},
    {"macro", JJ_MACRO_DEF, 0, parse_macro},
    {"call", JJ_CALL_BLOCK, 0, parse_call},
    {"filter", JJ_FILTER_BLOCK, 0, parse_filter},
    {"with", JJ_WITH, 0, parse_with},
    {"generation", JJ_GROUP, 0, parse_generation},
    {"break", JJ_STOP, JJ_BREAK, parse_stop},
    {"continue", JJ_STOP, JJ_CONTINUE, parse_stop},
};

/* What the language has and a chat template must not. */
static const char *const refused[] = {"include", "import", "from",  "extends",   "block",
                                      "do",      "trans",  "debug", "autoescape"};

/* {% name ... %}, the cursor at the name. */
static bool parse_statement(jj_parser *p, jj_node **out)
{
    char buf[64];
    for (size_t i = 0; i < HG_LEN(statements); i++) {
        if (!hg_jj_is_name(&p->cur, statements[i].name)) continue;
        if (!(*out = hg_jj_node(p, statements[i].kind, p->cur.line)) || !hg_jj_enter(p)) return false;
        (*out)->op = statements[i].op;
        bool ok = hg_jj_next(p) && statements[i].parse(p, *out);
        hg_jj_leave(p);
        return ok;
    }
    for (size_t i = 0; i < HG_LEN(refused); i++)
        if (hg_jj_is_name(&p->cur, refused[i]))
            return hg_jj_parse_fail(p, HANGAR_E_UNSUPPORTED,
                                    "'%s' is not part of the dialect of chat templates", refused[i]);
    return hg_jj_parse_fail(p, HANGAR_E_INVALID, "no tag is called %s here", hg_jj_token_word(&p->cur, buf));
}

bool hg_jj_parse_body(jj_parser *p, const char *const *ends, jj_node **tail)
{
    for (;; tail = &(*tail)->next) {
        uint32_t line = p->cur.line;
        switch (p->cur.type) {
        case JJ_T_EOF:
            if (!ends) return true;
            return hg_jj_parse_fail(p, HANGAR_E_INVALID, "the template ends before '%s'", ends[0]);
        case JJ_T_DATA:
            if (!(*tail = hg_jj_node(p, JJ_TEXT, line))) return false;
            (*tail)->value = hg_jj_str(p->cur.text);
            if (!hg_jj_next(p)) return false;
            break;
        case JJ_T_VAR: {
            char buf[64];
            jj_node *n = *tail = hg_jj_node(p, JJ_PRINT, line);
            if (!n || !hg_jj_next(p) || !hg_jj_parse_tuple(p, false, &n->a)) return false;
            if (p->cur.type != JJ_T_VAR_END)
                return hg_jj_parse_fail(p, HANGAR_E_INVALID, "'}}' is expected, not %s",
                                        hg_jj_token_word(&p->cur, buf));
            if (!hg_jj_next(p)) return false;
            break;
        }
        default:
            if (!hg_jj_next(p)) return false;
            for (const char *const *end = ends; end && *end; end++)
                if (hg_jj_is_name(&p->cur, *end)) return true;
            if (!parse_statement(p, tail)) return false;
        }
    }
}

/* A copy of the source in the arena with \n as its only line end, and without the one at its end. */
static bool normalize(hg_str source, jj_arena *arena, hg_str *out)
{
    char *copy = hg_jj_arena_take(arena, source.len), *w = copy;
    if (!copy) return false;
    for (size_t i = 0; i < source.len; i++) {
        char c = source.ptr[i];
        if (c == '\r' && i + 1 < source.len && source.ptr[i + 1] == '\n') continue;
        *w++ = c == '\r' ? '\n' : c;
    }
    *out = (hg_str){copy, (size_t)(w - copy)};
    if (out->len && copy[out->len - 1] == '\n') out->len--;
    return true;
}

hangar_code hg_jinja_parse(hg_str source, hg_jinja **out, hangar_err *err)
{
    *out = NULL;
    if (source.len > HG_JINJA_SOURCE_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "a template of %zu bytes; the limit is %zu", source.len,
                       HG_JINJA_SOURCE_MAX);
    if (!hg_utf8_valid(source)) return hg_fail(err, HANGAR_E_INVALID, "the template is not UTF-8");
    hg_jinja *t = hg_calloc(1, sizeof *t);
    if (!t) return hg_fail_memory(err);
    t->arena.max = HG_JINJA_TREE_MAX;
    jj_parser p = {.arena = &t->arena, .err = err, .lex = {.line = 1, .line_start = true, .err = err}};
    hangar_code code = HANGAR_OK;
    if (!normalize(source, &t->arena, &p.lex.src)) code = hg_fail_memory(err);
    else if (!hg_jj_next(&p) || !hg_jj_parse_body(&p, NULL, &t->body)) code = p.code;
    if (code != HANGAR_OK) {
        hg_jinja_free(t);
        return code;
    }
    *out = t;
    return HANGAR_OK;
}

void hg_jinja_free(hg_jinja *t)
{
    if (!t) return;
    hg_jj_arena_free(&t->arena);
    free(t);
}

void hg_jinja_auto_free(hg_jinja **t)
{
    hg_jinja_free(*t);
}
