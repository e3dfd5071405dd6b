/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Source to tokens. Text between tags is a DATA token whose white space has been cut as Jinja cuts it:
 *
 *   {%- ...   all white space before goes          ... -%}   all white space behind goes
 *   {% ...    blanks before go when the tag begins its line (not for {{, not for {%+)
 *   ... %}    one newline behind goes (not for }}, not for +%})
 *
 * Comments count as tags. The source has \n as its only line end (hg_jinja_parse sees to that).
 */
#include "format/jinja_inner.h"

static bool lex_fail(jj_lex *lex, const char *fmt, hg_str what)
{
    char words[64];
    hg_escape(what.len > 40 ? (hg_str){what.ptr, 40} : what, words, sizeof words);
    if (lex->code == HANGAR_OK) {
        lex->code = hg_fail(lex->err, HANGAR_E_INVALID, fmt, words);
        hg_wrap(lex->err, lex->code, "line %u", lex->line);
    }
    return false;
}

/* Goes over n bytes, counting lines. */
static void advance(jj_lex *lex, size_t n)
{
    const char *p = lex->src.ptr + lex->pos;
    for (size_t i = 0; i < n; i++) lex->line += p[i] == '\n';
    if (n) lex->line_start = p[n - 1] == '\n';
    lex->pos += n;
}

static hg_str rest(const jj_lex *lex)
{
    return (hg_str){lex->src.ptr + lex->pos, lex->src.len - lex->pos};
}

static size_t find(hg_str s, size_t from, const char *two)
{
    if (from >= s.len) return s.len;
    const char *hit = memmem(s.ptr + from, s.len - from, two, 2);
    return hit ? (size_t)(hit - s.ptr) : s.len;
}

/* White space before and behind a tag's end of two bytes that the cursor is at: "-%}", "+%}", "%}". */
static void end_tag(jj_lex *lex, char sign, bool trim)
{
    advance(lex, 2 + (sign != 0));
    hg_str left = rest(lex);
    if (sign == '-') advance(lex, left.len - hg_jj_lstrip(left).len);
    else if (trim && sign != '+' && left.len && *left.ptr == '\n') advance(lex, 1);
}

/* The text before a tag of this sign, cut. */
static hg_str cut_before(const jj_lex *lex, hg_str data, char sign, bool variable)
{
    if (sign == '-') return hg_jj_rstrip(data);
    if (sign == '+' || variable) return data;
    size_t line = data.len;
    while (line > 0 && data.ptr[line - 1] != '\n') line--;
    if (line == 0 && !lex->line_start) return data;
    hg_str blanks = {data.ptr + line, data.len - line};
    if (hg_jj_lstrip(blanks).len == 0) data.len = line;
    return data;
}

static bool word_byte(unsigned char c)
{
    return c == '_' || c >= 0x80 || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
}

/* Whether "{%" at `at` is the tag `word` alone ("raw", "endraw"); *end is the byte behind the word's blanks. */
static bool is_tag(hg_str s, size_t at, const char *word, char *sign, size_t *end)
{
    size_t i = at + 2, n = strlen(word);
    *sign = i < s.len && (s.ptr[i] == '-' || s.ptr[i] == '+') ? s.ptr[i++] : 0;
    hg_str left = hg_jj_lstrip((hg_str){s.ptr + i, s.len - i});
    if (left.len < n || memcmp(left.ptr, word, n) != 0) return false;
    left = hg_jj_lstrip((hg_str){left.ptr + n, left.len - n});
    *end = (size_t)(left.ptr - s.ptr);
    char c = left.len ? left.ptr[0] : 0;
    size_t k = (c == '-' || c == '+') ? 1 : 0;
    return left.len >= k + 2 && left.ptr[k] == '%' && left.ptr[k + 1] == '}';
}

/* {# ... #} */
static bool skip_comment(jj_lex *lex, size_t begin)
{
    hg_str left = rest(lex);
    size_t end = find(left, begin, "#}");
    if (end == left.len) return lex_fail(lex, "a comment that has no end%s", HG_STR(""));
    char sign = end > begin && (left.ptr[end - 1] == '-' || left.ptr[end - 1] == '+') ? left.ptr[end - 1] : 0;
    advance(lex, end - (sign != 0));
    end_tag(lex, sign, true);
    return true;
}

/* The text of {% raw %}, whose begin is consumed, up to {% endraw %}. */
static bool lex_raw(jj_lex *lex, jj_token *out)
{
    hg_str left = rest(lex);
    for (size_t at = 0; (at = find(left, at, "{%")) < left.len; at++) {
        char sign;
        size_t end;
        if (!is_tag(left, at, "endraw", &sign, &end)) continue;
        out->type = JJ_T_DATA;
        out->line = lex->line;
        out->text = cut_before(lex, (hg_str){left.ptr, at}, sign, false);
        char c = left.ptr[end];
        advance(lex, end);
        end_tag(lex, c == '%' ? 0 : c, true);
        lex->raw = false;
        return true;
    }
    return lex_fail(lex, "{%% raw %%} without {%% endraw %%}%s", HG_STR(""));
}

/* The tag that the cursor is at: a comment or raw is consumed, of another the begin. */
static bool open_tag(jj_lex *lex)
{
    hg_str left = rest(lex);
    char kind = left.ptr[1], sign;
    size_t end;
    sign = left.len > 2 && (left.ptr[2] == '-' || left.ptr[2] == '+') ? left.ptr[2] : 0;
    if (kind == '#') return skip_comment(lex, 2 + (sign != 0));
    if (kind == '%' && is_tag(left, 0, "raw", &sign, &end)) {
        char c = left.ptr[end];
        advance(lex, end);
        end_tag(lex, c == '%' ? 0 : c, false);
        lex->raw = true;
        return true;
    }
    advance(lex, 2 + (sign != 0));
    lex->inside = kind == '{' ? '}' : '%';
    lex->open_count = 0;
    return true;
}

/* Text up to the next tag; the token is DATA, or the begin of a tag when there is no text. */
static bool lex_text(jj_lex *lex, jj_token *out)
{
    for (;;) {
        if (lex->raw) return lex_raw(lex, out);
        hg_str left = rest(lex);
        size_t at = 0;
        while (at < left.len) {
            const char *brace = memchr(left.ptr + at, '{', left.len - at);
            at = brace ? (size_t)(brace - left.ptr) : left.len;
            char next = at + 1 < left.len ? left.ptr[at + 1] : 0;
            if (next == '{' || next == '%' || next == '#') break;
            if (at < left.len) at++;
        }
        out->line = lex->line;
        out->text = (hg_str){left.ptr, at};
        out->type = left.len == 0 ? JJ_T_EOF : JJ_T_DATA;
        if (at == left.len) {
            advance(lex, at);
            return true;
        }
        char kind = left.ptr[at + 1];
        char sign =
            at + 2 < left.len && (left.ptr[at + 2] == '-' || left.ptr[at + 2] == '+') ? left.ptr[at + 2] : 0;
        out->text = cut_before(lex, out->text, sign, kind == '{');
        advance(lex, at);
        if (out->text.len) {
            lex->line_start = false;
            return true; /* the tag comes with the next call: nothing is left before it */
        }
        out->line = lex->line;
        if (!open_tag(lex)) return false;
        if (lex->inside) {
            out->type = lex->inside == '}' ? JJ_T_VAR : JJ_T_BLOCK;
            return true;
        }
    }
}

/* Digits with single underscores between them. */
static size_t digits(hg_str s, size_t at, int base)
{
    size_t n = at;
    while (n < s.len) {
        char c = s.ptr[n];
        if (c == '_' && n > at && n + 1 < s.len && s.ptr[n + 1] != '_' && s.ptr[n - 1] != '_') {
            n++;
            continue;
        }
        int v = c >= '0' && c <= '9'                 ? c - '0'
                : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                     : 99;
        if (v >= base) break;
        n++;
    }
    return n > at && s.ptr[n - 1] == '_' ? n - 1 : n;
}

static void lex_number(jj_lex *lex, jj_token *out)
{
    hg_str s = rest(lex);
    out->type = JJ_T_INT;
    size_t n = 0;
    char mark = s.len > 2 && s.ptr[0] == '0' ? (char)(s.ptr[1] | 32) : 0;
    int base = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 10;
    if (base != 10 && (n = digits(s, 2, base)) > 2) {
        out->text = (hg_str){s.ptr, n};
        advance(lex, n);
        return;
    }
    n = digits(s, 0, 10);
    if (n + 1 < s.len && s.ptr[n] == '.' && digits(s, n + 1, 10) > n + 1) {
        n = digits(s, n + 1, 10);
        out->type = JJ_T_FLOAT;
    }
    if (n + 1 < s.len && (s.ptr[n] | 32) == 'e') {
        size_t e = n + 1 + (s.ptr[n + 1] == '+' || s.ptr[n + 1] == '-'), end = digits(s, e, 10);
        if (end > e) {
            n = end;
            out->type = JJ_T_FLOAT;
        }
    }
    if (out->type == JJ_T_INT && s.ptr[0] == '0') {
        /* Zeros alone: 012 is two numbers, and so an error. */
        size_t zeros = digits(s, 0, 1);
        if (zeros < n) n = zeros;
    }
    out->text = (hg_str){s.ptr, n};
    advance(lex, n);
}

static bool lex_string(jj_lex *lex, jj_token *out)
{
    hg_str s = rest(lex);
    for (size_t i = 1; i < s.len; i++) {
        if (s.ptr[i] == '\\') i++;
        else if (s.ptr[i] == s.ptr[0]) {
            out->type = JJ_T_STR;
            out->text = (hg_str){s.ptr + 1, i - 1};
            advance(lex, i + 1);
            return true;
        }
    }
    return lex_fail(lex, "text that has no closing quote: %s", s);
}

/* The end of the tag, when the cursor is at one. */
static bool lex_end(jj_lex *lex, jj_token *out)
{
    hg_str s = rest(lex);
    char sign = s.len && (s.ptr[0] == '-' || (s.ptr[0] == '+' && lex->inside == '%')) ? s.ptr[0] : 0;
    size_t k = sign != 0;
    if (s.len < k + 2 || s.ptr[k] != lex->inside || s.ptr[k + 1] != '}') return false;
    out->type = lex->inside == '}' ? JJ_T_VAR_END : JJ_T_BLOCK_END;
    out->text = (hg_str){s.ptr, k + 2};
    end_tag(lex, sign, lex->inside == '%');
    lex->inside = 0;
    return true;
}

static bool lex_op(jj_lex *lex, jj_token *out)
{
    static const struct {
        char text[3];
        int op;
    } twos[] = {{"**", JJ_OP_POW}, {"//", JJ_OP_FLOORDIV}, {"==", JJ_OP_EQ},
                {"!=", JJ_OP_NE},  {"<=", JJ_OP_LE},       {">=", JJ_OP_GE}};
    hg_str s = rest(lex);
    out->type = JJ_T_OP;
    for (size_t i = 0; i < HG_LEN(twos); i++)
        if (s.len > 1 && memcmp(s.ptr, twos[i].text, 2) == 0) {
            out->op = twos[i].op;
            out->text = (hg_str){s.ptr, 2};
            advance(lex, 2);
            return true;
        }
    char c = *s.ptr;
    if (!strchr("+-/*%~[](){}><=.:|,", c) || !c)
        return lex_fail(lex, "a character that means nothing here: %s", s);
    if (c == '(' || c == '[' || c == '{') {
        if (lex->open_count == HG_JINJA_SYNTAX_DEPTH) {
            lex->code = hg_fail(lex->err, HANGAR_E_LIMIT, "line %u: more than %d brackets inside one another",
                                lex->line, HG_JINJA_SYNTAX_DEPTH);
            return false;
        }
        lex->open[lex->open_count++] = c == '(' ? ')' : (char)(c + 2);
    } else if (c == ')' || c == ']' || c == '}') {
        if (lex->open_count == 0 || lex->open[lex->open_count - 1] != c)
            return lex_fail(lex, "a closing bracket without its opening one: %s", s);
        lex->open_count--;
    }
    out->op = c;
    out->text = (hg_str){s.ptr, 1};
    advance(lex, 1);
    return true;
}

/* The next token; false on an error. */
bool hg_jj_lex(jj_lex *lex, jj_token *out)
{
    *out = (jj_token){0};
    if (!lex->inside) return lex_text(lex, out);
    hg_str s = rest(lex);
    hg_str after = hg_jj_lstrip(s);
    advance(lex, s.len - after.len);
    out->line = lex->line;
    if (after.len == 0) return lex_fail(lex, "a tag that has no end%s", HG_STR(""));
    if (lex->open_count == 0 && lex_end(lex, out)) return true;
    unsigned char c = (unsigned char)*after.ptr;
    if (c >= '0' && c <= '9') {
        lex_number(lex, out);
        return true;
    }
    if (word_byte(c)) {
        size_t n = 1;
        while (n < after.len && word_byte((unsigned char)after.ptr[n])) n++;
        out->type = JJ_T_NAME;
        out->text = (hg_str){after.ptr, n};
        advance(lex, n);
        return true;
    }
    if (c == '"' || c == '\'') return lex_string(lex, out);
    return lex_op(lex, out);
}
