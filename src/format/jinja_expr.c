/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens to expressions, by recursive descent in Jinja's order of binding (loosest first):
 * x if y else z; or; and; not; comparisons; + -; ~; * / // %; **; unary + -; . [] () | is.
 * A run of operators of one level is one node with many operands, so that long sums cost no depth.
 */
#include "format/jinja_inner.h"

#include <stdarg.h>
#include <stdio.h>

bool hg_jj_parse_fail(jj_parser *p, hangar_code code, const char *fmt, ...)
{
    if (p->code != HANGAR_OK) return false;
    char words[HANGAR_ERR_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(words, sizeof words, fmt, ap);
    va_end(ap);
    p->code = hg_fail(p->err, code, "line %u: %s", p->cur.line, words);
    return false;
}

static bool pull(jj_parser *p, jj_token *out)
{
    if (hg_jj_lex(&p->lex, out)) return true;
    if (p->code == HANGAR_OK) p->code = p->lex.code;
    return false;
}

/* The next token becomes the current one. */
bool hg_jj_next(jj_parser *p)
{
    if (p->peeked) {
        p->peeked = false;
        p->cur = p->peek;
        return true;
    }
    return pull(p, &p->cur);
}

/* Makes p->peek the token behind the current one. */
bool hg_jj_peek(jj_parser *p)
{
    if (!p->peeked && !pull(p, &p->peek)) return false;
    p->peeked = true;
    return true;
}

bool hg_jj_is_op(const jj_token *t, int op)
{
    return t->type == JJ_T_OP && t->op == op;
}

bool hg_jj_is_name(const jj_token *t, const char *name)
{
    return t->type == JJ_T_NAME && hg_str_eq(t->text, hg_str_of(name));
}

bool hg_jj_skip_op(jj_parser *p, int op, bool *found)
{
    *found = hg_jj_is_op(&p->cur, op);
    return !*found || hg_jj_next(p);
}

bool hg_jj_skip_name(jj_parser *p, const char *name, bool *found)
{
    *found = hg_jj_is_name(&p->cur, name);
    return !*found || hg_jj_next(p);
}

const char *hg_jj_token_word(const jj_token *t, char buf[64])
{
    static const char *const words[] = {
        [JJ_T_EOF] = "the end of the template",
        [JJ_T_DATA] = "text",
        [JJ_T_VAR] = "'{{'",
        [JJ_T_VAR_END] = "'}}'",
        [JJ_T_BLOCK] = "'{%'",
        [JJ_T_BLOCK_END] = "'%}'",
    };
    if (t->type <= JJ_T_BLOCK_END) return words[t->type];
    char text[48];
    hg_escape(t->text, text, sizeof text);
    snprintf(buf, 64, "'%s'", text);
    return buf;
}

bool hg_jj_expect_op(jj_parser *p, int op)
{
    char buf[64];
    if (!hg_jj_is_op(&p->cur, op))
        return hg_jj_parse_fail(p, HANGAR_E_INVALID, "'%c' is expected, not %s", op,
                                hg_jj_token_word(&p->cur, buf));
    return hg_jj_next(p);
}

bool hg_jj_enter(jj_parser *p)
{
    if (++p->depth > HG_JINJA_SYNTAX_DEPTH)
        return hg_jj_parse_fail(p, HANGAR_E_LIMIT, "more than %d levels of syntax inside one another",
                                HG_JINJA_SYNTAX_DEPTH);
    return true;
}

/* A zeroed node; NULL (and a failure) when the memory for the tree is spent. */
jj_node *hg_jj_node(jj_parser *p, jj_kind kind, uint32_t line)
{
    jj_node *n = hg_jj_arena_take(p->arena, sizeof *n);
    if (!n) {
        hg_jj_parse_fail(p, HANGAR_E_LIMIT, "the template needs more than %zu MiB when parsed",
                         HG_JINJA_TREE_MAX >> 20);
        return NULL;
    }
    *n = (jj_node){.kind = kind, .line = line};
    return n;
}

static bool constant(jj_parser *p, jj_val v, jj_node **out)
{
    if (!(*out = hg_jj_node(p, JJ_CONST, p->cur.line))) return false;
    (*out)->value = v;
    return true;
}

/* Up to n digits of base 8 or 16 behind an escape, to a character; false when there are too few. */
static bool escape_digits(hg_str s, size_t *i, size_t least, size_t most, unsigned base, uint32_t *c)
{
    size_t n = 0;
    *c = 0;
    while (n < most && *i < s.len) {
        char d = s.ptr[*i];
        unsigned v = d >= '0' && d <= '9'                 ? (unsigned)(d - '0')
                     : (d | 32) >= 'a' && (d | 32) <= 'f' ? (unsigned)((d | 32) - 'a' + 10)
                                                          : 99;
        if (v >= base) break;
        *c = *c * base + v;
        ++*i;
        n++;
    }
    return n >= least;
}

/* One escape, *i behind the backslash; writes to *w and moves both on. */
static bool unescape_one(jj_parser *p, hg_str s, size_t *i, char **w)
{
    static const char from[] = "nrtabfv\\'\"", to[] = "\n\r\t\a\b\f\v\\'\"";
    char c = s.ptr[(*i)++];
    const char *known = strchr(from, c);
    uint32_t u = 0;
    if (c == '\n') return true;
    if (c && known) {
        *(*w)++ = to[known - from];
        return true;
    }
    size_t want = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (want) {
        if (!escape_digits(s, i, want, want, 16, &u))
            return hg_jj_parse_fail(p, HANGAR_E_INVALID, "\\%c with too few digits", c);
    } else if (c >= '0' && c <= '7') {
        --*i;
        escape_digits(s, i, 1, 3, 8, &u);
    } else if (c == 'N') {
        return hg_jj_parse_fail(p, HANGAR_E_UNSUPPORTED, "characters by name (\\N) are not supported");
    } else {
        *(*w)++ = '\\';
        *(*w)++ = c;
        return true;
    }
    char bytes[4];
    size_t n = hg_utf8_put(u, bytes);
    if (!n) return hg_jj_parse_fail(p, HANGAR_E_INVALID, "an escape that is no character");
    memcpy(*w, bytes, n);
    *w += n;
    return true;
}

/* The text of a literal without its escapes. No escape is longer than it was written. */
static bool unescape(jj_parser *p, hg_str s, hg_str *out)
{
    if (!memchr(s.ptr, '\\', s.len)) {
        *out = s;
        return true;
    }
    char *bytes = hg_jj_arena_take(p->arena, s.len), *w = bytes;
    if (!bytes) return hg_jj_parse_fail(p, HANGAR_E_LIMIT, "the texts of the template are too long");
    for (size_t i = 0; i < s.len;) {
        if (s.ptr[i] != '\\') *w++ = s.ptr[i++];
        else if (++i, !unescape_one(p, s, &i, &w)) return false;
    }
    *out = (hg_str){bytes, (size_t)(w - bytes)};
    return true;
}

/* Literals side by side are one. */
static bool parse_string(jj_parser *p, jj_node **out)
{
    hg_str all = {0};
    uint32_t line = p->cur.line;
    for (bool first = true; p->cur.type == JJ_T_STR; first = false) {
        hg_str part = {0};
        if (!unescape(p, p->cur.text, &part)) return false;
        if (first) {
            all = part;
        } else {
            char *both = hg_jj_arena_take(p->arena, all.len + part.len);
            if (!both) return hg_jj_parse_fail(p, HANGAR_E_LIMIT, "the texts of the template are too long");
            if (all.len) memcpy(both, all.ptr, all.len);
            if (part.len) memcpy(both + all.len, part.ptr, part.len);
            all = (hg_str){both, all.len + part.len};
        }
        if (!hg_jj_next(p)) return false;
    }
    if (!constant(p, hg_jj_str(all), out)) return false;
    (*out)->line = line;
    return true;
}

static bool parse_number(jj_parser *p, jj_node **out)
{
    char text[64];
    size_t n = 0;
    hg_str s = p->cur.text;
    for (size_t i = 0; i < s.len && n < sizeof text; i++)
        if (s.ptr[i] != '_') text[n++] = s.ptr[i];
    jj_val v = {.type = p->cur.type == JJ_T_INT ? JJ_INT : JJ_FLOAT};
    char mark = n > 1 && text[0] == '0' ? (char)(text[1] | 32) : 0;
    int base = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 10;
    hg_str digits = base == 10 ? (hg_str){text, n} : (hg_str){text + 2, n - 2};
    bool ok = n < sizeof text &&
              (v.type == JJ_INT ? hg_jj_int_read(digits, base, &v.as.i) : hg_jj_float_read(digits, &v.as.f));
    if (!ok) {
        char buf[64];
        return hg_jj_parse_fail(p, HANGAR_E_LIMIT, "a number that is too large: %s",
                                hg_jj_token_word(&p->cur, buf));
    }
    return constant(p, v, out) && hg_jj_next(p);
}

/* Items up to a closing bracket, a trailing comma allowed. */
static bool parse_items(jj_parser *p, int close, jj_node **tail)
{
    while (!hg_jj_is_op(&p->cur, close)) {
        if (!hg_jj_parse_expr(p, tail)) return false;
        tail = &(*tail)->next;
        if (hg_jj_is_op(&p->cur, close)) break;
        if (!hg_jj_expect_op(p, ',')) return false;
    }
    return hg_jj_next(p);
}

static bool parse_dict(jj_parser *p, jj_node **out)
{
    if (!(*out = hg_jj_node(p, JJ_MAKE_DICT, p->cur.line)) || !hg_jj_next(p)) return false;
    for (jj_node **tail = &(*out)->a; !hg_jj_is_op(&p->cur, '}'); tail = &(*tail)->next) {
        if (!(*tail = hg_jj_node(p, JJ_PAIR, p->cur.line)) || !hg_jj_parse_expr(p, &(*tail)->a) ||
            !hg_jj_expect_op(p, ':') || !hg_jj_parse_expr(p, &(*tail)->b))
            return false;
        if (hg_jj_is_op(&p->cur, '}')) break;
        if (!hg_jj_expect_op(p, ',')) return false;
    }
    return hg_jj_next(p);
}

static bool parse_name(jj_parser *p, jj_node **out)
{
    static const struct {
        const char *name;
        jj_val val;
    } known[] = {
        {"true", {.type = JJ_BOOL, .as.b = true}},
        {"True", {.type = JJ_BOOL, .as.b = true}},
        {"false", {.type = JJ_BOOL, .as.b = false}},
        {"False", {.type = JJ_BOOL, .as.b = false}},
        {"none", {.type = JJ_NONE}},
        {"None", {.type = JJ_NONE}},
    };
    for (size_t i = 0; i < HG_LEN(known); i++)
        if (hg_jj_is_name(&p->cur, known[i].name)) return constant(p, known[i].val, out) && hg_jj_next(p);
    if (hg_jj_is_name(&p->cur, "varargs")) p->uses |= JJ_USES_VARARGS;
    if (hg_jj_is_name(&p->cur, "kwargs")) p->uses |= JJ_USES_KWARGS;
    if (hg_jj_is_name(&p->cur, "caller")) p->uses |= JJ_USES_CALLER;
    if (!(*out = hg_jj_node(p, JJ_NAME, p->cur.line))) return false;
    (*out)->name = p->cur.text;
    return hg_jj_next(p);
}

/* ( ... ): an expression, or a tuple. */
static bool parse_brackets(jj_parser *p, jj_node **out)
{
    if (!hg_jj_next(p)) return false;
    if (hg_jj_is_op(&p->cur, ')')) return (*out = hg_jj_node(p, JJ_MAKE_TUPLE, p->cur.line)) && hg_jj_next(p);
    return hg_jj_parse_tuple(p, false, out) && hg_jj_expect_op(p, ')');
}

static bool parse_primary(jj_parser *p, jj_node **out)
{
    char buf[64];
    switch (p->cur.type) {
    case JJ_T_NAME: return parse_name(p, out);
    case JJ_T_STR: return parse_string(p, out);
    case JJ_T_INT:
    case JJ_T_FLOAT: return parse_number(p, out);
    default: break;
    }
    if (hg_jj_is_op(&p->cur, '(')) return parse_brackets(p, out);
    if (hg_jj_is_op(&p->cur, '{')) return parse_dict(p, out);
    if (hg_jj_is_op(&p->cur, '['))
        return (*out = hg_jj_node(p, JJ_MAKE_LIST, p->cur.line)) && hg_jj_next(p) &&
               parse_items(p, ']', &(*out)->a);
    return hg_jj_parse_fail(p, HANGAR_E_INVALID, "a value is expected, not %s",
                            hg_jj_token_word(&p->cur, buf));
}

/* What stands in [ ]: an expression or a:b:c. */
static bool parse_subscript(jj_parser *p, jj_node **out)
{
    uint32_t line = p->cur.line;
    jj_node *part[3] = {0};
    int n = 0;
    for (; n < 3; n++) {
        if (!hg_jj_is_op(&p->cur, ':') && !hg_jj_is_op(&p->cur, ']') && !hg_jj_parse_expr(p, &part[n]))
            return false;
        bool more;
        if (!hg_jj_skip_op(p, ':', &more)) return false;
        if (!more) break;
    }
    if (n == 0) {
        *out = part[0];
        char buf[64];
        return part[0] || hg_jj_parse_fail(p, HANGAR_E_INVALID, "a subscript is expected, not %s",
                                           hg_jj_token_word(&p->cur, buf));
    }
    if (n == 3) return hg_jj_parse_fail(p, HANGAR_E_INVALID, "a slice has at most three parts");
    if (!(*out = hg_jj_node(p, JJ_SLICE, line))) return false;
    (*out)->a = part[0];
    (*out)->b = part[1];
    (*out)->c = part[2];
    return true;
}

/* (a, b=c, *d, **e) */
bool hg_jj_parse_args(jj_parser *p, jj_node **tail)
{
    if (!hg_jj_expect_op(p, '(')) return false;
    bool named = false;
    while (!hg_jj_is_op(&p->cur, ')')) {
        jj_node *arg = *tail = hg_jj_node(p, JJ_ARG, p->cur.line);
        if (!arg) return false;
        if (hg_jj_is_op(&p->cur, '*') || hg_jj_is_op(&p->cur, JJ_OP_POW)) {
            arg->op = p->cur.op;
            if (!hg_jj_next(p)) return false;
        } else if (p->cur.type == JJ_T_NAME) {
            if (!hg_jj_peek(p)) return false;
            if (hg_jj_is_op(&p->peek, '=')) {
                arg->name = p->cur.text;
                if (!hg_jj_next(p) || !hg_jj_next(p)) return false;
            }
        }
        named = named || arg->name.len || arg->op == JJ_OP_POW;
        if (named && !arg->name.len && arg->op != JJ_OP_POW)
            return hg_jj_parse_fail(p, HANGAR_E_INVALID, "an argument without a name behind one with a name");
        if (!hg_jj_parse_expr(p, &arg->a)) return false;
        tail = &arg->next;
        if (hg_jj_is_op(&p->cur, ')')) break;
        if (!hg_jj_expect_op(p, ',')) return false;
    }
    return hg_jj_next(p);
}

/* .name, .0, [ ], ( ) behind an expression. */
static bool parse_postfix_one(jj_parser *p, jj_node **io)
{
    uint32_t line = p->cur.line;
    jj_node *n;
    if (hg_jj_is_op(&p->cur, '(')) {
        if (!(n = hg_jj_node(p, JJ_CALL, line))) return false;
        n->a = *io;
        *io = n;
        return hg_jj_parse_args(p, &n->b);
    }
    bool dot = hg_jj_is_op(&p->cur, '.');
    if (!hg_jj_next(p)) return false;
    if (dot && p->cur.type == JJ_T_NAME) {
        if (!(n = hg_jj_node(p, JJ_ATTR, line))) return false;
        n->name = p->cur.text;
        n->a = *io;
        *io = n;
        return hg_jj_next(p);
    }
    if (!(n = hg_jj_node(p, JJ_INDEX, line))) return false;
    n->a = *io;
    *io = n;
    if (!dot) return parse_subscript(p, &n->b) && hg_jj_expect_op(p, ']');
    char buf[64];
    if (p->cur.type != JJ_T_INT)
        return hg_jj_parse_fail(p, HANGAR_E_INVALID, "a name is expected behind '.', not %s",
                                hg_jj_token_word(&p->cur, buf));
    return parse_number(p, &n->b);
}

/* Dotted name of a filter or test; only names without dots exist. */
static bool parse_word(jj_parser *p, hg_str *out)
{
    char buf[64];
    if (p->cur.type != JJ_T_NAME)
        return hg_jj_parse_fail(p, HANGAR_E_INVALID, "a name is expected, not %s",
                                hg_jj_token_word(&p->cur, buf));
    *out = p->cur.text;
    return hg_jj_next(p);
}

bool hg_jj_parse_filters(jj_parser *p, jj_node *input, bool first, jj_node **out)
{
    *out = input;
    unsigned count = 0;
    while (first || hg_jj_is_op(&p->cur, '|')) {
        if (!first && !hg_jj_next(p)) return false;
        first = false;
        jj_node *n = hg_jj_node(p, JJ_FILTER, p->cur.line);
        if (!n || !parse_word(p, &n->name)) return false;
        n->a = *out;
        *out = n;
        if (hg_jj_is_op(&p->cur, '(') && !hg_jj_parse_args(p, &n->b)) return false;
        if (++count > HG_JINJA_SYNTAX_DEPTH)
            return hg_jj_parse_fail(p, HANGAR_E_LIMIT, "more than %d filters in a row",
                                    HG_JINJA_SYNTAX_DEPTH);
    }
    return true;
}

/* Whether the current token can begin the one argument of a test without brackets. */
static bool starts_argument(const jj_token *t)
{
    if (t->type == JJ_T_STR || t->type == JJ_T_INT || t->type == JJ_T_FLOAT) return true;
    if (t->type == JJ_T_OP) return t->op == '[' || t->op == '{';
    return t->type == JJ_T_NAME && !hg_jj_is_name(t, "else") && !hg_jj_is_name(t, "or") &&
           !hg_jj_is_name(t, "and");
}

static bool parse_is(jj_parser *p, jj_node **io)
{
    jj_node *n = hg_jj_node(p, JJ_TEST, p->cur.line);
    if (!n || !hg_jj_next(p) || !hg_jj_skip_name(p, "not", &n->flag) || !parse_word(p, &n->name))
        return false;
    n->a = *io;
    *io = n;
    if (hg_jj_is_op(&p->cur, '(')) return hg_jj_parse_args(p, &n->b);
    if (!starts_argument(&p->cur)) return true;
    if (hg_jj_is_name(&p->cur, "is"))
        return hg_jj_parse_fail(p, HANGAR_E_INVALID, "tests cannot be chained with 'is'");
    jj_node *arg = n->b = hg_jj_node(p, JJ_ARG, p->cur.line);
    if (!arg || !parse_primary(p, &arg->a)) return false;
    while (hg_jj_is_op(&p->cur, '.') || hg_jj_is_op(&p->cur, '[') || hg_jj_is_op(&p->cur, '('))
        if (!parse_postfix_one(p, &arg->a)) return false;
    return true;
}

/* What stands behind a value: . [ ] ( ), or (filters) | is ( ), behind which no member may be taken. */
static bool parse_tail(jj_parser *p, bool filters, jj_node **io)
{
    for (unsigned count = 0;; count++) {
        if (count > HG_JINJA_SYNTAX_DEPTH)
            return hg_jj_parse_fail(p, HANGAR_E_LIMIT, "more than %d steps in a row behind a value",
                                    HG_JINJA_SYNTAX_DEPTH);
        const jj_token *t = &p->cur;
        bool member = !filters && (hg_jj_is_op(t, '.') || hg_jj_is_op(t, '['));
        if (member || hg_jj_is_op(t, '(')) {
            if (!parse_postfix_one(p, io)) return false;
        } else if (filters && hg_jj_is_op(t, '|')) {
            if (!hg_jj_parse_filters(p, *io, false, io)) return false;
        } else if (filters && hg_jj_is_name(t, "is")) {
            if (!parse_is(p, io)) return false;
        } else {
            return true;
        }
    }
}

/* A value with its sign; filters: also what stands behind it with | and is. */
bool hg_jj_parse_unary(jj_parser *p, bool filters, jj_node **out)
{
    if (!hg_jj_enter(p)) return false;
    bool ok;
    if (hg_jj_is_op(&p->cur, '-') || hg_jj_is_op(&p->cur, '+')) {
        jj_node *n = hg_jj_node(p, p->cur.op == '-' ? JJ_NEG : JJ_POS, p->cur.line);
        ok = n && hg_jj_next(p) && hg_jj_parse_unary(p, false, &n->a);
        *out = n;
    } else {
        ok = parse_primary(p, out) && parse_tail(p, false, out);
    }
    ok = ok && (!filters || parse_tail(p, true, out));
    hg_jj_leave(p);
    return ok;
}

/* The levels of binary operators, loosest first; a level ends with 0. */
static const int levels[][5] = {{'+', '-', 0}, {'~', 0}, {'*', '/', JJ_OP_FLOORDIV, '%', 0}, {JJ_OP_POW, 0}};

static bool parse_level(jj_parser *p, size_t level, jj_node **out)
{
    if (level == HG_LEN(levels)) return hg_jj_parse_unary(p, true, out);
    if (!parse_level(p, level + 1, out)) return false;
    jj_node **tail = NULL;
    for (;;) {
        const int *op = levels[level];
        while (*op && !hg_jj_is_op(&p->cur, *op)) op++;
        if (!*op) return true;
        if (!tail) {
            jj_node *n = hg_jj_node(p, *op == '~' ? JJ_CONCAT : JJ_CHAIN, p->cur.line);
            if (!n) return false;
            n->a = *out;
            *out = n;
            tail = &n->b;
        }
        jj_node *part = *tail = hg_jj_node(p, JJ_OPERAND, p->cur.line);
        if (!part) return false;
        part->op = *op;
        tail = &part->next;
        if (!hg_jj_next(p) || !parse_level(p, level + 1, &part->a)) return false;
    }
}

/* The comparison at the cursor, consumed; 0 when there is none. */
static bool compare_op(jj_parser *p, int *op)
{
    *op = 0;
    const jj_token *t = &p->cur;
    if (t->type == JJ_T_OP && (t->op == '<' || t->op == '>' || (t->op >= JJ_OP_EQ && t->op <= JJ_OP_GE))) {
        *op = t->op;
    } else if (hg_jj_is_name(t, "in")) {
        *op = JJ_OP_IN;
    } else if (hg_jj_is_name(t, "not")) {
        if (!hg_jj_peek(p)) return false;
        if (!hg_jj_is_name(&p->peek, "in")) return true;
        if (!hg_jj_next(p)) return false;
        *op = JJ_OP_NOT_IN;
    }
    return !*op || hg_jj_next(p);
}

static bool parse_compare(jj_parser *p, jj_node **out)
{
    if (!parse_level(p, 0, out)) return false;
    jj_node **tail = NULL;
    for (int op;;) {
        uint32_t line = p->cur.line;
        if (!compare_op(p, &op)) return false;
        if (!op) return true;
        if (!tail) {
            jj_node *n = hg_jj_node(p, JJ_COMPARE, line);
            if (!n) return false;
            n->a = *out;
            *out = n;
            tail = &n->b;
        }
        jj_node *part = *tail = hg_jj_node(p, JJ_OPERAND, line);
        if (!part) return false;
        part->op = op;
        tail = &part->next;
        if (!parse_level(p, 0, &part->a)) return false;
    }
}

static bool parse_not(jj_parser *p, jj_node **out)
{
    if (!hg_jj_is_name(&p->cur, "not")) return parse_compare(p, out);
    if (!hg_jj_enter(p)) return false;
    jj_node *n = *out = hg_jj_node(p, JJ_NOT, p->cur.line);
    bool ok = n && hg_jj_next(p) && parse_not(p, &n->a);
    hg_jj_leave(p);
    return ok;
}

/* and (kind AND) or or (kind OR). */
static bool parse_logic(jj_parser *p, jj_kind kind, jj_node **out)
{
    jj_node **tail = NULL;
    for (;;) {
        jj_node *part;
        if (!(kind == JJ_OR ? parse_logic(p, JJ_AND, &part) : parse_not(p, &part))) return false;
        if (tail) *tail = part;
        else *out = part;
        bool more;
        uint32_t line = p->cur.line;
        if (!hg_jj_skip_name(p, kind == JJ_OR ? "or" : "and", &more)) return false;
        if (!more) return true;
        if (!tail) {
            jj_node *n = hg_jj_node(p, kind, line);
            if (!n) return false;
            n->a = part;
            *out = n;
        }
        tail = &part->next;
    }
}

/* a if b else c */
bool hg_jj_parse_expr(jj_parser *p, jj_node **out)
{
    if (!hg_jj_enter(p)) return false;
    bool ok = parse_logic(p, JJ_OR, out);
    unsigned count = 0;
    while (ok && hg_jj_is_name(&p->cur, "if")) {
        jj_node *n = hg_jj_node(p, JJ_TERNARY, p->cur.line);
        bool other = false;
        ok = n && ++count <= HG_JINJA_SYNTAX_DEPTH && hg_jj_next(p) && parse_logic(p, JJ_OR, &n->a) &&
             hg_jj_skip_name(p, "else", &other) && (!other || hg_jj_parse_expr(p, &n->c));
        if (!ok) {
            hg_jj_parse_fail(p, HANGAR_E_LIMIT, "more than %d conditions in a row", HG_JINJA_SYNTAX_DEPTH);
            break;
        }
        n->b = *out;
        *out = n;
    }
    hg_jj_leave(p);
    return ok;
}

bool hg_jj_parse_tuple(jj_parser *p, bool plain, jj_node **out)
{
    if (!(plain ? parse_logic(p, JJ_OR, out) : hg_jj_parse_expr(p, out))) return false;
    if (!hg_jj_is_op(&p->cur, ',')) return true;
    jj_node *n = hg_jj_node(p, JJ_MAKE_TUPLE, p->cur.line);
    if (!n) return false;
    n->a = *out;
    jj_node **tail = &(*out)->next;
    *out = n;
    for (bool more = true;;) {
        if (!hg_jj_skip_op(p, ',', &more)) return false;
        const jj_token *t = &p->cur;
        if (!more || t->type == JJ_T_VAR_END || t->type == JJ_T_BLOCK_END || hg_jj_is_op(t, ')') ||
            hg_jj_is_name(t, "if") || hg_jj_is_name(t, "recursive"))
            return true;
        if (!(plain ? parse_logic(p, JJ_OR, tail) : hg_jj_parse_expr(p, tail))) return false;
        tail = &(*tail)->next;
    }
}

/* A name that is set, or a.b, or several in brackets. */
static bool parse_target_one(jj_parser *p, bool attrs, jj_node **out)
{
    char buf[64];
    if (hg_jj_is_op(&p->cur, '(')) {
        if (!hg_jj_enter(p)) return false;
        bool ok = hg_jj_next(p) && hg_jj_parse_target(p, attrs, out) && hg_jj_expect_op(p, ')');
        hg_jj_leave(p);
        return ok;
    }
    if (p->cur.type != JJ_T_NAME)
        return hg_jj_parse_fail(p, HANGAR_E_INVALID, "a name to set is expected, not %s",
                                hg_jj_token_word(&p->cur, buf));
    if (!parse_name(p, out)) return false;
    if ((*out)->kind != JJ_NAME) return hg_jj_parse_fail(p, HANGAR_E_INVALID, "a constant cannot be set");
    if (!attrs || !hg_jj_is_op(&p->cur, '.')) return true;
    jj_node *n = hg_jj_node(p, JJ_ATTR, p->cur.line);
    if (!n || !hg_jj_next(p) || !parse_word(p, &n->name)) return false;
    n->a = *out;
    *out = n;
    return true;
}

bool hg_jj_parse_target(jj_parser *p, bool attrs, jj_node **out)
{
    if (!parse_target_one(p, attrs, out)) return false;
    if (!hg_jj_is_op(&p->cur, ',')) return true;
    jj_node *n = hg_jj_node(p, JJ_MAKE_TUPLE, p->cur.line);
    if (!n) return false;
    n->a = *out;
    jj_node **tail = &(*out)->next;
    *out = n;
    while (hg_jj_is_op(&p->cur, ',')) {
        if (!hg_jj_next(p)) return false;
        if (p->cur.type != JJ_T_NAME && !hg_jj_is_op(&p->cur, '(')) break;
        if (hg_jj_is_name(&p->cur, "in")) break;
        if (!parse_target_one(p, attrs, tail)) return false;
        tail = &(*tail)->next;
    }
    return true;
}
