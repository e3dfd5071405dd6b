/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Oniguruma's patterns (what a tokenizer.json holds) as PCRE2's. Most is the same; what is not:
 *
 *   \s \w \d \b    by White_Space, Alphabetic and so on, written out, since PCRE2's own differ in a few characters
 *   \h \v          a hexadecimal digit, the vertical tab
 *   a{2,3}+        repeats the interval; PCRE2 would read "possessive"
 *   a{,3}          is a{0,3}
 *   [a[bc]&&[^d]]  classes inside classes, and intersections, become alternatives and lookaheads
 *   . ^ $          know no line end but \n
 *
 * Whatever neither this file nor PCRE2 knows is UNSUPPORTED, quoted: back references, conditions, options but (?i).
 */
#include "format/tokenizer_inner.h"

#include <stdio.h>

#define GROUPS_MAX  64
#define CLASSES_MAX 8
#define WORK_MAX    (1024 * HG_KIB)

/* Sets as they stand inside brackets. */
#define SPACE_SET \
    "\\x{9}-\\x{d} \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define NOT_SPACE_SET                                                                               \
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}" \
    "\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}"
#define WORD_SET                                                                                     \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}" \
    "\\x{1f170}-\\x{1f189}"
#define HEX_SET  "0-9A-Fa-f"
#define BOUND    "(?:(?<![" WORD_SET "])(?=[" WORD_SET "])|(?<=[" WORD_SET "])(?![" WORD_SET "]))"
#define NO_BOUND "(?:(?<![" WORD_SET "])(?![" WORD_SET "])|(?<=[" WORD_SET "])(?=[" WORD_SET "]))"

typedef struct reader {
    hg_str in;
    size_t at;
    hg_buf *out;
    size_t atom; /* where the last atom begins in out */
    bool has_atom;
    size_t groups[GROUPS_MAX], depth;
    hangar_err *err;
} reader;

typedef struct escape {
    char name;
    bool many;                    /* a set, which cannot end a range */
    const char *outside, *inside; /* inside NULL: not as members of a set */
} escape;

static const escape escapes[] = {
    {'s', true, "[" SPACE_SET "]", SPACE_SET},
    {'S', true, "[^" SPACE_SET "]", NOT_SPACE_SET},
    {'d', true, "\\p{Nd}", "\\p{Nd}"},
    {'D', true, "\\P{Nd}", "\\P{Nd}"},
    {'w', true, "[" WORD_SET "]", WORD_SET},
    {'W', true, "[^" WORD_SET "]", NULL},
    {'h', true, "[" HEX_SET "]", HEX_SET},
    {'H', true, "[^" HEX_SET "]", NULL},
    {'b', false, BOUND, "\\x{8}"},
    {'B', false, NO_BOUND, NULL},
    {'n', false, "\\n", "\\n"},
    {'r', false, "\\r", "\\r"},
    {'t', false, "\\t", "\\t"},
    {'f', false, "\\f", "\\f"},
    {'v', false, "\\x{b}", "\\x{b}"},
    {'a', false, "\\x{7}", "\\x{7}"},
    {'e', false, "\\x{1b}", "\\x{1b}"},
    {'A', false, "\\A", NULL},
    {'z', false, "\\z", NULL},
    {'Z', false, "\\Z", NULL},
};

static const struct {
    const char *name, *set;
} posix[] = {
    {"alpha", "\\p{L}\\p{Nl}"}, {"alnum", "\\p{L}\\p{Nl}\\p{Nd}"},
    {"digit", "\\p{Nd}"},       {"lower", "\\p{Ll}"},
    {"upper", "\\p{Lu}"},       {"space", SPACE_SET},
    {"blank", "\\t\\p{Zs}"},    {"punct", "\\p{P}\\p{S}"},
    {"cntrl", "\\p{Cc}"},       {"word", WORD_SET},
    {"xdigit", HEX_SET},
};

static hangar_code refuse(const reader *r, const char *what)
{
    return hg_fail(r->err, HANGAR_E_UNSUPPORTED, "%s at byte %zu of the pattern \"%.*s\"", what, r->at,
                   HG_STR_ARG(r->in));
}

static char peek(const reader *r, size_t ahead)
{
    return r->at + ahead < r->in.len ? r->in.ptr[r->at + ahead] : '\0';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* What may stand behind a backslash without a meaning of its own. */
static bool is_mark(char c)
{
    return c > ' ' && c < 0x7f && !is_digit(c) && !is_letter(c);
}

static const escape *find_escape(char name)
{
    for (size_t i = 0; i < HG_LEN(escapes); i++)
        if (escapes[i].name == name) return &escapes[i];
    return NULL;
}

static void begin_atom(reader *r)
{
    r->atom = r->out->len;
    r->has_atom = true;
}

/* \x41, \x{41}, \u0041, with the backslash already read: r->at is on the letter. */
static hangar_code code_point(reader *r, hg_buf *out)
{
    bool braces = peek(r, 0) == 'x' && peek(r, 1) == '{';
    size_t want = braces ? 8 : peek(r, 0) == 'u' ? 4 : 2, n = 0;
    r->at += braces ? 2 : 1;
    hg_buf_puts(out, "\\x{");
    for (; n < want && is_hex(peek(r, 0)); n++) hg_buf_putc(out, r->in.ptr[r->at++]);
    if (n == 0 || (!braces && n < want) || (braces && peek(r, 0) != '}'))
        return refuse(r, "an unknown code point");
    if (braces) r->at++;
    hg_buf_putc(out, '}');
    return HANGAR_OK;
}

/* \p{L}: as it stands. */
static hangar_code property(reader *r, hg_buf *out)
{
    size_t from = r->at++;
    if (peek(r, 0) != '{') return refuse(r, "a property without braces");
    for (r->at++; peek(r, 0) != '}'; r->at++) {
        char c = peek(r, 0);
        if (!is_letter(c) && c != '_' && c != '^') return refuse(r, "an unknown property");
    }
    r->at++;
    hg_buf_putc(out, '\\');
    hg_buf_add(out, r->in.ptr + from, r->at - from);
    return HANGAR_OK;
}

/* ---- classes ---- */

/* What is read of one operand of a class: members of a set, and alternatives that no set can hold. */
typedef struct operand {
    hg_buf set, alts;
    enum { NOTHING, SCALAR, MANY, RANGE } last;
} operand;

typedef struct class_result {
    hg_buf set;  /* the members, when it is a plain positive set */
    hg_buf atom; /* the whole as an atom */
    bool plain;
} class_result;

static void operand_init(operand *o)
{
    hg_buf_init(&o->set, WORK_MAX);
    hg_buf_init(&o->alts, WORK_MAX);
    o->last = NOTHING;
}

static void operand_deinit(operand *o)
{
    hg_buf_deinit(&o->set);
    hg_buf_deinit(&o->alts);
}

/* Members of a set; one alone may begin or end a range. */
static hangar_code add_set(reader *r, operand *o, const char *set, bool many)
{
    if (many && o->last == RANGE) return refuse(r, "a range that ends in a set");
    hg_buf_puts(&o->set, set);
    o->last = many || o->last == RANGE ? MANY : SCALAR;
    return HANGAR_OK;
}

static hangar_code add_alt(reader *r, operand *o, const char *atom)
{
    if (o->last == RANGE) return refuse(r, "a range that ends in a set");
    if (o->alts.len > 0) hg_buf_putc(&o->alts, '|');
    hg_buf_puts(&o->alts, atom);
    o->last = MANY;
    return HANGAR_OK;
}

/* One operand as an atom. */
static void put_operand(const operand *o, hg_buf *out)
{
    if (o->alts.len == 0) {
        hg_buf_printf(out, "[%s]", hg_buf_text(&o->set));
        return;
    }
    hg_buf_puts(out, "(?:");
    if (o->set.len > 0) hg_buf_printf(out, "[%s]|", hg_buf_text(&o->set));
    hg_buf_printf(out, "%s)", hg_buf_text(&o->alts));
}

/* A backslash inside a class. */
static hangar_code class_escape(reader *r, operand *o)
{
    char c = peek(r, 1), literal[3] = {'\\', c, '\0'};
    const escape *e = find_escape(c);
    r->at++;
    if (c == 'p' || c == 'P') {
        if (o->last == RANGE) return refuse(r, "a range that ends in a set");
        o->last = MANY;
        return property(r, &o->set);
    }
    if (c == 'x' || c == 'u') {
        o->last = o->last == RANGE ? MANY : SCALAR;
        return code_point(r, &o->set);
    }
    r->at++;
    if (c == 'W' || c == 'H') return add_alt(r, o, e->outside);
    if (e && e->inside) return add_set(r, o, e->inside, e->many);
    if (!is_mark(c) && c != ' ') return refuse(r, "an unknown escape");
    return add_set(r, o, literal, false);
}

/* [:alpha:]; false: it is not one. */
static bool posix_class(reader *r, operand *o, hangar_code *code)
{
    bool not = peek(r, 2) == '^';
    size_t from = r->at + (not ? 3 : 2), end = from;
    if (peek(r, 1) != ':') return false;
    while (end < r->in.len && is_letter(r->in.ptr[end])) end++;
    if (end + 1 >= r->in.len || r->in.ptr[end] != ':' || r->in.ptr[end + 1] != ']') return false;
    const char *set = NULL;
    for (size_t i = 0; i < HG_LEN(posix); i++)
        if (hg_str_eq(hg_str_of(posix[i].name), (hg_str){r->in.ptr + from, end - from})) set = posix[i].set;
    if (!set) {
        *code = refuse(r, "an unknown class");
        return true;
    }
    r->at = end + 2;
    if (not ) {
        char atom[256];
        snprintf(atom, sizeof atom, "[^%s]", set);
        *code = add_alt(r, o, atom);
    } else {
        *code = add_set(r, o, set, true);
    }
    return true;
}

static hangar_code read_class(reader *r, unsigned depth, class_result *out);

/* A class inside a class. */
static hangar_code nested_class(reader *r, unsigned depth, operand *o)
{
    class_result inner;
    hangar_code code = HANGAR_OK;
    if (posix_class(r, o, &code)) return code;
    if (depth + 1 >= CLASSES_MAX) return refuse(r, "classes nested too deep");
    code = read_class(r, depth + 1, &inner);
    if (code == HANGAR_OK)
        code = inner.plain ? add_set(r, o, hg_buf_text(&inner.set), true)
                           : add_alt(r, o, hg_buf_text(&inner.atom));
    hg_buf_deinit(&inner.set);
    hg_buf_deinit(&inner.atom);
    return code;
}

/* One member, whatever it is. */
static hangar_code class_member(reader *r, unsigned depth, operand *o)
{
    char c = peek(r, 0), text[6] = {0};
    if (c == '\\') return class_escape(r, o);
    if (c == '[') return nested_class(r, depth, o);
    if (c == '-' && o->last == SCALAR && peek(r, 1) != ']' && !(peek(r, 1) == '&' && peek(r, 2) == '&')) {
        hg_buf_putc(&o->set, '-');
        o->last = RANGE;
        r->at++;
        return HANGAR_OK;
    }
    if (c == '\0') return refuse(r, "a NUL");
    size_t n = hg_uni_len(r->in.ptr + r->at), to = 0;
    if (c == ']' || c == '^' || c == '-') text[to++] = '\\';
    memcpy(text + to, r->in.ptr + r->at, n);
    r->at += n;
    return add_set(r, o, text, false);
}

/* What the operands are together. */
static void close_class(class_result *out, const hg_buf *ahead, const operand *last, bool not, bool several)
{
    out->plain = !not &&!several && last->alts.len == 0;
    if (out->plain) hg_buf_puts(&out->set, hg_buf_text(&last->set));
    if (not &&!several && last->alts.len == 0) {
        hg_buf_printf(&out->atom, "[^%s]", hg_buf_text(&last->set));
        return;
    }
    if (not ) hg_buf_puts(&out->atom, "(?:(?!");
    if (several) hg_buf_printf(&out->atom, "(?:%s", hg_buf_text(ahead));
    put_operand(last, &out->atom);
    if (several) hg_buf_putc(&out->atom, ')');
    if (not ) hg_buf_puts(&out->atom, ")(?s:.))");
}

/* && : what stands before becomes a lookahead. */
static hangar_code next_operand(reader *r, operand *o, hg_buf *ahead)
{
    if (o->last == NOTHING || o->last == RANGE) return refuse(r, "an intersection with nothing");
    hg_buf_puts(ahead, "(?=");
    put_operand(o, ahead);
    hg_buf_putc(ahead, ')');
    operand_deinit(o);
    operand_init(o);
    r->at += 2;
    return HANGAR_OK;
}

/* A class from its bracket on. */
static hangar_code read_class(reader *r, unsigned depth, class_result *out)
{
    operand o;
    hg_buf ahead; /* lookaheads for all operands but the last */
    bool several = false;
    hg_buf_init(&out->set, WORK_MAX);
    hg_buf_init(&out->atom, WORK_MAX);
    hg_buf_init(&ahead, WORK_MAX);
    operand_init(&o);
    r->at++;
    bool not = peek(r, 0) == '^';
    if (not ) r->at++;
    size_t first = r->at;
    hangar_code code = HANGAR_OK;
    while (code == HANGAR_OK && (peek(r, 0) != ']' || r->at == first)) {
        if (r->at >= r->in.len) {
            code = refuse(r, "a class without its end");
        } else if (peek(r, 0) == '&' && peek(r, 1) == '&') {
            several = true;
            code = next_operand(r, &o, &ahead);
        } else {
            code = class_member(r, depth, &o);
        }
    }
    if (code == HANGAR_OK && (o.last == NOTHING || o.last == RANGE))
        code = refuse(r, "an empty class, or a range without its end");
    r->at++;
    if (code == HANGAR_OK) close_class(out, &ahead, &o, not, several);
    if (code == HANGAR_OK) code = hg_buf_check(&out->atom, r->err);
    hg_buf_deinit(&ahead);
    operand_deinit(&o);
    return code;
}

/* ---- outside of classes ---- */

/* A backslash. */
static hangar_code outer_escape(reader *r)
{
    char c = peek(r, 1);
    const escape *e = find_escape(c);
    begin_atom(r);
    r->at++;
    if (c == 'p' || c == 'P') return property(r, r->out);
    if (c == 'x' || c == 'u') return code_point(r, r->out);
    r->at++;
    if (e) {
        hg_buf_puts(r->out, e->outside);
    } else if (c == '\n' || c == '\t' || c == '\r' || c == ' ') { /* the character itself */
        hg_buf_printf(r->out, "\\x{%x}", (unsigned)(unsigned char)c);
    } else if (!is_mark(c)) {
        return refuse(r, "an unknown escape");
    } else {
        hg_buf_putc(r->out, '\\');
        hg_buf_putc(r->out, c);
    }
    return HANGAR_OK;
}

/* ( and what says which kind of group it is. */
static hangar_code open_group(reader *r)
{
    static const char *const kinds[] = {"(?i:", "(?i)", "(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"};
    if (r->depth >= GROUPS_MAX) return refuse(r, "groups nested too deep");
    const char *kind = peek(r, 1) == '?' ? NULL : "(";
    hg_str rest = {r->in.ptr + r->at, r->in.len - r->at};
    for (size_t i = 0; i < HG_LEN(kinds) && !kind; i++)
        if (hg_str_starts(rest, hg_str_of(kinds[i]))) kind = kinds[i];
    if (!kind || peek(r, 1) == '*') return refuse(r, "an unknown kind of group");
    if (!hg_streq(kind, "(?i)")) r->groups[r->depth++] = r->out->len;
    hg_buf_puts(r->out, hg_streq(kind, "(") ? "(?:" : kind); /* nothing is captured */
    r->at += strlen(kind);
    r->has_atom = false;
    return HANGAR_OK;
}

/* Puts "(?:" before the last atom. */
static void wrap_atom(reader *r)
{
    size_t len = r->out->len - r->atom;
    hg_buf_puts(r->out, "(?:");
    if (r->out->state != HANGAR_OK) return;
    char *atom = r->out->data + r->atom;
    memmove(atom + 3, atom, len);
    memcpy(atom, "(?:", 3);
}

/* {2,3} behind an atom; false: a brace that stands for itself. */
static bool interval(reader *r, hangar_code *code)
{
    size_t at = r->at + 1, low = at, high = 0, low_len = 0, high_len = 0;
    while (at < r->in.len && is_digit(r->in.ptr[at])) at++;
    low_len = at - low;
    bool comma = at < r->in.len && r->in.ptr[at] == ',';
    if (comma) {
        high = ++at;
        while (at < r->in.len && is_digit(r->in.ptr[at])) at++;
        high_len = at - high;
    }
    if (!r->has_atom || at >= r->in.len || r->in.ptr[at] != '}' || low_len + high_len == 0) return false;
    r->at = at + 1;
    char after = peek(r, 0);
    if (after == '?' && !comma) {
        *code = refuse(r, "a count that may be zero");
        return true;
    }
    bool repeat = after == '+' || after == '*'; /* (?:a{2,3})+ */
    if (repeat) wrap_atom(r);
    hg_buf_printf(r->out, "{%.*s", low_len ? (int)low_len : 1, low_len ? r->in.ptr + low : "0");
    if (comma) hg_buf_printf(r->out, ",%.*s", (int)high_len, r->in.ptr + high);
    hg_buf_puts(r->out, repeat ? "})" : "}");
    return true;
}

/* One character that is none of the above. */
static void literal(reader *r)
{
    char c = peek(r, 0);
    size_t n = hg_uni_len(r->in.ptr + r->at);
    begin_atom(r);
    if (c == '{' || c == '}' || c == ']') hg_buf_putc(r->out, '\\');
    if (c == '.') hg_buf_puts(r->out, "[^\\n]");
    else if (c == '\0') hg_buf_puts(r->out, "\\x{0}");
    else hg_buf_add(r->out, r->in.ptr + r->at, n);
    r->at += n;
}

static hangar_code outer_class(reader *r)
{
    class_result c;
    begin_atom(r);
    hangar_code code = read_class(r, 0, &c);
    if (code == HANGAR_OK) hg_buf_str(r->out, hg_buf_view(&c.atom));
    hg_buf_deinit(&c.set);
    hg_buf_deinit(&c.atom);
    return code;
}

/* The next construct. */
static hangar_code next(reader *r)
{
    hangar_code code = HANGAR_OK;
    switch (peek(r, 0)) {
    case '\\': return outer_escape(r);
    case '(': return open_group(r);
    case '[': return outer_class(r);
    case ')':
        if (r->depth == 0) return refuse(r, "a bracket too many");
        r->atom = r->groups[--r->depth];
        r->has_atom = true;
        break;
    case '|':
    case '^':
    case '$': r->has_atom = false; break;
    case '*':
    case '+':
    case '?': break;
    case '{':
        if (!interval(r, &code)) literal(r);
        return code;
    default: literal(r); return HANGAR_OK;
    }
    hg_buf_putc(r->out, r->in.ptr[r->at++]);
    return HANGAR_OK;
}

hangar_code hg_tok_pattern_translate(hg_str pattern, hg_buf *out, hangar_err *err)
{
    reader r = {.in = pattern, .out = out, .err = err};
    hangar_code code = HANGAR_OK;
    if (!hg_utf8_valid(pattern)) return hg_fail(err, HANGAR_E_INVALID, "a pattern that is not UTF-8");
    while (r.at < r.in.len && code == HANGAR_OK) code = next(&r);
    if (code == HANGAR_OK && r.depth > 0) code = refuse(&r, "a group without its end");
    return code == HANGAR_OK ? hg_buf_check(out, err) : code;
}
