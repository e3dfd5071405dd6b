/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the template interpreter share; nobody else includes it.
 *
 *   jinja_lex.c       source -> tokens, white space control
 *   jinja_expr.c      tokens -> expressions             jinja_parse.c   tokens -> statements
 *   jinja_value.c     arena, values, dicts              jinja_compare.c equal, less, in
 *   jinja_text.c      values -> text, as Python shows them, and JSON
 *   jinja_eval.c      expressions                       jinja_run.c     statements, macros, the public calls
 *   jinja_op.c        operators, subscripts             jinja_call.c    arguments, functions
 *   jinja_filter.c, jinja_items.c, jinja_test.c         jinja_method.c  methods of text, dict, list
 *   jinja_case.c      characters                        jinja_time.c    strftime
 *
 * Functions that can fail return false after hg_jj_fail(); the first failure is kept, everybody returns at once.
 * All memory of a rendering is one arena with a budget: nothing is freed alone, values are shared and never changed
 * (but for the members of a namespace and the position of a generator), so pointers into the arena stay good.
 */
#ifndef HG_FORMAT_JINJA_INNER_H
#define HG_FORMAT_JINJA_INNER_H

#include "base/mem.h"
#include "format/jinja.h"

/* Memory */

typedef struct jj_chunk jj_chunk;
typedef struct jj_arena {
    jj_chunk *chunks;
    char *top, *end;  /* free part of the newest chunk */
    size_t used, max; /* bytes asked of malloc, and how many that may be */
} jj_arena;
/* 16-byte aligned; NULL when the budget or the memory is spent. */
void *hg_jj_arena_take(jj_arena *a, size_t size);
void hg_jj_arena_free(jj_arena *a);

/* Values */

typedef enum jj_type {
    JJ_ABSENT, /* a parameter that was not given; never a value of the template */
    JJ_UNDEF,  /* as.s: the name; sub: JJ_NAMED, JJ_UNSAFE or JJ_OF + the type that lacks it */
    JJ_NONE,
    JJ_BOOL,
    JJ_INT,
    JJ_FLOAT,
    JJ_STR,  /* always whole UTF-8 */
    JJ_LIST, /* these five are as.list */
    JJ_TUPLE,
    JJ_RANGE,
    JJ_VIEW, /* keys(), values(), items() */
    JJ_GEN,  /* what map, select, ... give: true, has no length, can be read once */
    JJ_DICT,
    JJ_SPACE, /* namespace(): as.dict */
    JJ_LOOP,
    JJ_MACRO,
    JJ_FUNC,  /* as.entry, a global function */
    JJ_METHOD /* as.bound */
} jj_type;
enum { JJ_NAMED, JJ_UNSAFE, JJ_OF };

typedef struct jj_val jj_val;
typedef struct jj_list jj_list;
typedef struct jj_dict jj_dict;
typedef struct jj_loop jj_loop;
typedef struct jj_macro jj_macro;
typedef struct jj_bound jj_bound;
typedef struct jj_entry jj_entry;
typedef struct jj_node jj_node;
typedef struct jj_scope jj_scope;

struct jj_val {
    jj_type type;
    unsigned sub;
    union {
        bool b;
        int64_t i;
        double f;
        hg_str s;
        jj_list *list;
        jj_dict *dict;
        jj_loop *loop;
        jj_macro *macro;
        const jj_entry *entry;
        const jj_bound *bound;
    } as;
};

struct jj_list {
    jj_val *items;
    size_t len;
    size_t pos;                /* of a generator: what was read */
    int64_t start, stop, step; /* of a range */
};

typedef struct jj_pair {
    jj_val key, val;
    uint64_t hash;
} jj_pair;
/* Members in the order in which they came; beyond a few they are found by a table of positions. */
struct jj_dict {
    jj_pair *pairs;
    size_t len, cap;
    uint32_t *slots; /* position + 1, or 0; NULL while small */
    size_t slot_count;
};

struct jj_loop {
    const jj_list *items;
    size_t index;
    jj_val changed; /* loop.changed(): the arguments of the last call */
};
struct jj_macro {
    const jj_node *node; /* MACRO or CALLBLOCK */
    jj_scope *scope;
};
struct jj_bound {
    jj_val self;
    const jj_entry *entry;
};

/* Names in force: one link per loop turn, macro, with. */
struct jj_scope {
    jj_scope *parent;
    jj_dict vars;
    bool captured; /* a macro remembers it */
};

typedef struct jj_run {
    jj_arena arena;
    hangar_err *err;
    hangar_code code;
    uint64_t steps; /* left */
    unsigned depth; /* left */
    uint32_t line;
    int64_t now;
    hg_buf out;
    jj_scope *scope, *spare;
    jj_val captured; /* what a filter block wrote */
    enum { JJ_ON, JJ_BREAK, JJ_CONTINUE } flow;
} jj_run;

/* The first failure: code and words with the line before them. Always false. */
bool hg_jj_fail(jj_run *r, hangar_code code, const char *fmt, ...) HG_PRINTF(3, 4);
bool hg_jj_fail_memory(jj_run *r);
/* Counts n steps. */
bool hg_jj_steps(jj_run *r, uint64_t n);
/* Counts the reading or writing of so many bytes. */
bool hg_jj_bytes(jj_run *r, size_t bytes);
void *hg_jj_take(jj_run *r, size_t count, size_t size);

static inline jj_val hg_jj_none(void)
{
    return (jj_val){.type = JJ_NONE};
}
static inline jj_val hg_jj_bool(bool b)
{
    return (jj_val){.type = JJ_BOOL, .as.b = b};
}
static inline jj_val hg_jj_int(int64_t i)
{
    return (jj_val){.type = JJ_INT, .as.i = i};
}
static inline jj_val hg_jj_float(double f)
{
    return (jj_val){.type = JJ_FLOAT, .as.f = f};
}
static inline jj_val hg_jj_str(hg_str s)
{
    return (jj_val){.type = JJ_STR, .as.s = s};
}
static inline jj_val hg_jj_undef(hg_str name, unsigned why)
{
    return (jj_val){.type = JJ_UNDEF, .sub = why, .as.s = name};
}
static inline bool hg_jj_listed(const jj_val *v)
{
    return v->type >= JJ_LIST && v->type <= JJ_GEN;
}
static inline bool hg_jj_number(const jj_val *v)
{
    return v->type == JJ_INT || v->type == JJ_FLOAT || v->type == JJ_BOOL;
}
/* A BOOL, INT or FLOAT as a double. */
static inline double hg_jj_f64(const jj_val *v)
{
    return v->type == JJ_FLOAT ? v->as.f : v->type == JJ_BOOL ? (double)v->as.b : (double)v->as.i;
}
/* A BOOL or INT. */
static inline int64_t hg_jj_i64(const jj_val *v)
{
    return v->type == JJ_BOOL ? (int64_t)v->as.b : v->as.i;
}

/* "str", "dict", "int": Python's name of a type. */
const char *hg_jj_type_name(jj_type t);
bool hg_jj_true(const jj_val *v);
/* A list (or another of the five) with room for cap items and none in it. */
bool hg_jj_list_new(jj_run *r, jj_type type, size_t cap, jj_val *out);
/* Grows by doubling; `cap` is the caller's. */
bool hg_jj_list_push(jj_run *r, jj_list *l, size_t *cap, const jj_val *v);
bool hg_jj_dict_new(jj_run *r, jj_type type, size_t cap, jj_val *out);
/* The member, NULL when there is none (or the run has failed: the key cannot be hashed, the steps are spent). */
jj_val *hg_jj_dict_find(jj_run *r, const jj_dict *d, const jj_val *key);
jj_val *hg_jj_dict_get(jj_run *r, const jj_dict *d, hg_str key);
bool hg_jj_dict_set(jj_run *r, jj_dict *d, const jj_val *key, const jj_val *v);
/* Text of two parts; extends the first in place when it lies at the end of the arena. */
bool hg_jj_join(jj_run *r, hg_str a, hg_str b, hg_str *out);
bool hg_jj_copy(jj_run *r, hg_str s, hg_str *out);
/* What a for loop sees: characters of text, keys of a dict, the rest of a generator (which is spent then). */
bool hg_jj_iterate(jj_run *r, const jj_val *v, const jj_list **out);
bool hg_jj_from_json(jj_run *r, const hg_jval *j, unsigned depth, jj_val *out);

/* A buffer for text that ends in the arena: limited by what memory is left. */
void hg_jj_buf(jj_run *r, hg_buf *b);
/* Moves the text into the arena and ends the buffer. */
bool hg_jj_buf_done(jj_run *r, hg_buf *b, jj_val *out);

/* Comparisons */

/* *out is -1, 0 or 1; fails for what Python does not order. */
bool hg_jj_order(jj_run *r, const jj_val *a, const jj_val *b, unsigned depth, int *out);
bool hg_jj_equal(jj_run *r, const jj_val *a, const jj_val *b, unsigned depth, bool *out);
bool hg_jj_contains(jj_run *r, const jj_val *box, const jj_val *item, bool *out);
bool hg_jj_hash(jj_run *r, const jj_val *v, unsigned depth, uint64_t *out);
typedef struct jj_sort_item {
    jj_val key, val;
} jj_sort_item;
/* Stable. */
bool hg_jj_sort(jj_run *r, jj_sort_item *items, size_t n, bool reverse);

/* Text */

/* str(v) appended; the buffer's own state tells of its limit. */
bool hg_jj_print(jj_run *r, const jj_val *v, hg_buf *b);
bool hg_jj_text(jj_run *r, const jj_val *v, hg_str *out);
typedef struct jj_json_style {
    hg_str indent;    /* ptr NULL: on one line */
    hg_str item, key; /* separators */
    bool ascii, sort;
} jj_json_style;
bool hg_jj_json(jj_run *r, const jj_val *v, const jj_json_style *style, unsigned depth, hg_buf *b);
/* The shortest decimal that reads as f again, as Python writes it; buf has 40 bytes. */
size_t hg_jj_float_text(double f, char *buf);
/* A decimal number as float() reads it, white space around it allowed. */
bool hg_jj_float_read(hg_str s, double *out);
bool hg_jj_int_read(hg_str s, int base, int64_t *out);

/* Characters */

bool hg_jj_space(uint32_t c);
hg_str hg_jj_lstrip(hg_str s);
hg_str hg_jj_rstrip(hg_str s);
/* Characters of a text. */
size_t hg_jj_chars(hg_str s);
/* The byte at which character n begins (at most len). */
size_t hg_jj_char_at(hg_str s, size_t n);
/* The character that ends at byte `end`: where it begins. */
size_t hg_jj_char_before(hg_str s, size_t end, uint32_t *c);
typedef enum jj_case { JJ_UPPER, JJ_LOWER, JJ_TITLE, JJ_CAPITALIZE, JJ_SWAPCASE } jj_case;
bool hg_jj_recase(jj_run *r, hg_str s, jj_case how, jj_val *out);
bool hg_jj_printable(uint32_t c);
typedef enum jj_class { JJ_ALPHA, JJ_DIGIT, JJ_ALNUM, JJ_BLANK, JJ_NUMERIC, JJ_DECIMAL } jj_class;
/* All characters, and at least one. */
bool hg_jj_class_all(hg_str s, jj_class which);
/* Cased characters: any, and all of them upper (or lower). */
bool hg_jj_cased_all(hg_str s, bool upper);
/* The line that *s begins with, and *s behind it; false at the end. */
bool hg_jj_line(hg_str *s, hg_str *line, hg_str *end);

/* Calls */

#define JJ_PARAMS 6
typedef struct jj_args {
    jj_val few[4];
    jj_val *pos;
    size_t npos, cap;
    jj_dict *kw; /* NULL: none */
} jj_args;
typedef struct jj_call {
    const jj_entry *entry;
    jj_val self;         /* the value before | or . */
    jj_val p[JJ_PARAMS]; /* by the entry's names; JJ_ABSENT when not given */
    const jj_args *args;
    jj_val *out;
} jj_call;
typedef bool jj_fn(jj_run *r, jj_call *c);
/* A filter, test, method or function. params: names, one blank between, "*" alone = the function reads args itself. */
struct jj_entry {
    const char *name;
    const char *params;
    jj_fn *fn;
    int need; /* how many parameters must be given */
    int how;  /* the function's own */
};
/* Gives the arguments their places and calls. */
bool hg_jj_invoke(jj_run *r, const jj_entry *e, const jj_val *self, const jj_args *args, jj_val *out);
/* Calls a value of the template. */
bool hg_jj_apply(jj_run *r, const jj_val *callee, const jj_args *args, jj_val *out);
bool hg_jj_macro_call(jj_run *r, const jj_macro *m, const jj_args *args, jj_val *out);
bool hg_jj_args_push(jj_run *r, jj_args *a, const jj_val *v);
const jj_entry *hg_jj_entry_find(const jj_entry *table, hg_str name);

const jj_entry *hg_jj_filter(hg_str name);
const jj_entry *hg_jj_items_filter(hg_str name);
const jj_entry *hg_jj_test(hg_str name);
const jj_entry *hg_jj_global(hg_str name);
bool hg_jj_filter_apply(jj_run *r, hg_str name, const jj_val *self, const jj_args *args, jj_val *out);
bool hg_jj_test_apply(jj_run *r, hg_str name, const jj_val *self, const jj_args *args, bool *out);
/* A method of a value; NULL when the type has none of that name. *unsafe: it has, and templates must not. */
const jj_entry *hg_jj_method(const jj_val *self, hg_str name, bool *unsafe);

/* Parameters: each fails with the entry's name when the value is of another kind. */
bool hg_jj_want_str(jj_run *r, const jj_call *c, const jj_val *v, hg_str *out);
bool hg_jj_want_int(jj_run *r, const jj_call *c, const jj_val *v, int64_t def, int64_t *out);

/* Operators: op is the token's (below). */
bool hg_jj_binary(jj_run *r, int op, const jj_val *a, const jj_val *b, jj_val *out);
bool hg_jj_compare(jj_run *r, int op, const jj_val *a, const jj_val *b, bool *out);
bool hg_jj_attr(jj_run *r, const jj_val *v, hg_str name, jj_val *out);
bool hg_jj_index(jj_run *r, const jj_val *v, const jj_val *key, jj_val *out);
bool hg_jj_slice(jj_run *r, const jj_val *v, const jj_val part[3], jj_val *out);
/* "a.b.0" of a value, as filters take attributes. */
bool hg_jj_path(jj_run *r, const jj_val *v, const jj_val *path, jj_val *out);
/* Fails with the reason why v is not defined. */
bool hg_jj_fail_undef(jj_run *r, const jj_val *v);
/* strftime for UTC, as the C locale has it. */
bool hg_jj_time(jj_run *r, hg_str format, hg_buf *b);

/* Source */

typedef enum jj_token_type {
    JJ_T_EOF,
    JJ_T_DATA,
    JJ_T_VAR,     /* {{ */
    JJ_T_VAR_END, /* }} */
    JJ_T_BLOCK,
    JJ_T_BLOCK_END,
    JJ_T_NAME,
    JJ_T_STR,
    JJ_T_INT,
    JJ_T_FLOAT,
    JJ_T_OP
} jj_token_type;
/* Operators of one character are that character. */
enum { JJ_OP_POW = 256, JJ_OP_FLOORDIV, JJ_OP_EQ, JJ_OP_NE, JJ_OP_LE, JJ_OP_GE, JJ_OP_IN, JJ_OP_NOT_IN };

typedef struct jj_token {
    jj_token_type type;
    int op;
    uint32_t line;
    hg_str text; /* DATA, NAME, and the source of a STR without its quotes, INT, FLOAT */
} jj_token;

typedef struct jj_lex {
    hg_str src;
    size_t pos;
    uint32_t line;
    bool line_start;                  /* what was consumed last ended a line */
    bool raw;                         /* inside {% raw %} */
    int inside;                       /* 0: text, '}' in {{ }}, '%' in {% %} */
    char open[HG_JINJA_SYNTAX_DEPTH]; /* brackets that must be closed before the tag may end */
    unsigned open_count;
    hangar_err *err;
    hangar_code code;
} jj_lex;
bool hg_jj_lex(jj_lex *lex, jj_token *out);

typedef enum jj_kind {
    /* expressions */
    JJ_CONST,
    JJ_NAME,
    JJ_MAKE_LIST,
    JJ_MAKE_TUPLE,
    JJ_MAKE_DICT,
    JJ_NEG,
    JJ_POS,
    JJ_NOT,
    JJ_CHAIN,
    JJ_AND,
    JJ_OR,
    JJ_COMPARE,
    JJ_CONCAT,
    JJ_TERNARY,
    JJ_ATTR,
    JJ_INDEX,
    JJ_SLICE,
    JJ_CALL,
    JJ_FILTER,
    JJ_TEST,
    JJ_CAPTURED,
    /* parts */
    JJ_OPERAND,
    JJ_PAIR,
    JJ_ARG,
    JJ_BRANCH,
    JJ_PARAM,
    /* statements */
    JJ_TEXT,
    JJ_PRINT,
    JJ_IF,
    JJ_FOR,
    JJ_SET,
    JJ_SET_BLOCK,
    JJ_MACRO_DEF,
    JJ_CALL_BLOCK,
    JJ_FILTER_BLOCK,
    JJ_WITH,
    JJ_GROUP,
    JJ_STOP
} jj_kind;

/*
 * One node of the tree; `next` chains operands, arguments and statements.
 *   CHAIN, COMPARE  a first operand, b OPERANDs (op, a)     AND, OR, CONCAT, MAKE_*  a the parts
 *   TERNARY a condition, b then, c else    ATTR a, name     INDEX a, b     SLICE a, b, c (each may be NULL)
 *   CALL a, b ARGs (a; name; op '*' or JJ_OP_POW for * and **)     FILTER, TEST a, name, b ARGs, flag = not
 *   IF a BRANCHes (a condition or NULL, b body)     FOR a target, b items, c body, d else, e condition
 *   SET a target, b value     SET_BLOCK a target, b filter, c body     MACRO_DEF name, a PARAMs (name, a default), c body
 *   CALL_BLOCK a PARAMs, b call, c body     FILTER_BLOCK b, c     WITH a PAIRs, c     GROUP c     STOP op
 */
struct jj_node {
    jj_kind kind;
    uint32_t line;
    int op;
    bool flag;
    uint8_t uses; /* MACRO_DEF, CALL_BLOCK: JJ_USES_* */
    hg_str name;
    jj_val value;
    jj_node *a, *b, *c, *d, *e, *next;
};
enum { JJ_USES_VARARGS = 1, JJ_USES_KWARGS = 2, JJ_USES_CALLER = 4 };

typedef struct jj_parser {
    jj_lex lex;
    jj_token cur, peek;
    bool peeked;
    jj_arena *arena;
    unsigned depth, loops;
    uint8_t uses;
    hangar_err *err;
    hangar_code code;
} jj_parser;

bool hg_jj_parse_fail(jj_parser *p, hangar_code code, const char *fmt, ...) HG_PRINTF(3, 4);
bool hg_jj_next(jj_parser *p);
bool hg_jj_peek(jj_parser *p);
bool hg_jj_is_op(const jj_token *t, int op);
bool hg_jj_is_name(const jj_token *t, const char *name);
/* Moves on when the token is that; *found tells. False only on an error. */
bool hg_jj_skip_op(jj_parser *p, int op, bool *found);
bool hg_jj_skip_name(jj_parser *p, const char *name, bool *found);
bool hg_jj_expect_op(jj_parser *p, int op);
jj_node *hg_jj_node(jj_parser *p, jj_kind kind, uint32_t line);
/* One level deeper; hg_jj_leave on every way out. */
bool hg_jj_enter(jj_parser *p);
static inline void hg_jj_leave(jj_parser *p)
{
    p->depth--;
}
/* A word for the token in a message, into buf[64]. */
const char *hg_jj_token_word(const jj_token *t, char buf[64]);

bool hg_jj_parse_expr(jj_parser *p, jj_node **out);
/* a, b, c without brackets is a tuple. plain: no "x if y" at the top. */
bool hg_jj_parse_tuple(jj_parser *p, bool plain, jj_node **out);
/* A name, a.b (when attrs) or several, in brackets or not. */
bool hg_jj_parse_target(jj_parser *p, bool attrs, jj_node **out);
/* Filters behind | up to the end; `input` may be a CAPTURED. first: the first has no | before it. */
bool hg_jj_parse_filters(jj_parser *p, jj_node *input, bool first, jj_node **out);
bool hg_jj_parse_args(jj_parser *p, jj_node **out);
bool hg_jj_parse_unary(jj_parser *p, bool filters, jj_node **out);
/* Statements up to one of the names in `ends` (NULL: the end of the source), which is left as the current token. */
bool hg_jj_parse_body(jj_parser *p, const char *const *ends, jj_node **out);

struct hg_jinja {
    jj_arena arena;
    jj_node *body;
};

bool hg_jj_eval(jj_run *r, const jj_node *n, jj_val *out);
bool hg_jj_eval_args(jj_run *r, const jj_node *arg, jj_args *out);
jj_scope *hg_jj_scope_push(jj_run *r, jj_scope *parent);
void hg_jj_scope_pop(jj_run *r, jj_scope *s, jj_scope *back);

#endif
