/* SPDX-License-Identifier: Apache-2.0 */
#include "format/toolcall.h"

#include "base/mem.h"

#include <string.h>

enum { BEGIN, TEXT, GAP, OPEN, VALUE, DONE, CLOSE, PLAIN };
/*
 * BEGIN  nothing but white space so far: a bare object may come
 * TEXT   a mark may come anywhere
 * GAP    behind a call: the same, but white space before the next one, or before the end, is no text
 * OPEN   behind a mark: the value must come
 * VALUE  in it
 * DONE   behind a bare object: nothing may follow but white space
 * CLOSE  behind the value of a <tool_call>: its end may come
 * PLAIN  all is text
 */
enum { TAG, LIST, BARE, FORCED };

#define OPENED HG_STR("<tool_call>")
#define CLOSED HG_STR("</tool_call>")
#define LISTED HG_STR("[TOOL_CALLS]")

bool hg_toolcall_is_mark(hg_str text)
{
    return hg_str_eq(text, OPENED) || hg_str_eq(text, CLOSED) || hg_str_eq(text, LISTED);
}

void hg_toolcalls_init(hg_toolcalls *p, const hg_jval *tools, bool forced, size_t begun,
                       const hg_toolcall_sink *sink)
{
    *p = (hg_toolcalls){.sink = *sink,
                        .tools = tools,
                        .gone = begun,
                        .state = begun > 0 ? TEXT : BEGIN,
                        .form = forced ? FORCED : BARE};
    /* One piece of the answer may lie behind a call that is held back. */
    hg_buf_init(&p->held, SIZE_MAX / 2);
}

void hg_toolcalls_deinit(hg_toolcalls *p)
{
    hg_buf_deinit(&p->held);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* ---- what is settled ---- */

/* The first n bytes held are settled. */
static void drop(hg_toolcalls *p, size_t n)
{
    hg_buf_drop(&p->held, n);
    p->gone += n;
    p->text -= n < p->text ? n : p->text;
    p->at -= n < p->at ? n : p->at;
}

/* Sends the text that is settled. */
static hangar_code flush(hg_toolcalls *p)
{
    size_t n = p->text;
    if (n == 0) return HANGAR_OK;
    hangar_code code = p->sink.text(p->sink.ctx, (hg_str){p->held.data, n}, p->gone + n, p->err);
    drop(p, n);
    return code;
}

/* All up to here is text. */
static void release(hg_toolcalls *p, int state)
{
    p->text = p->at;
    p->state = p->count < HG_TOOLCALLS_MAX ? state : PLAIN;
}

/* ---- values ---- */

static bool is_given(const hg_toolcalls *p, const char *name)
{
    for (hg_json_iter it = hg_json_iter_of(p->tools); hg_json_next(&it);)
        if (hg_streq(hg_json_text(hg_json_path(it.val, "function", "name", NULL)), name)) return true;
    return false;
}

/* The arguments of a call as text of the caller's; NULL when they are none, or *out_code says what went wrong. */
static char *arguments_of(const hg_jval *call, bool may_lack, hangar_code *out_code, hangar_err *err)
{
    const hg_jval *v = hg_json_get(call, "arguments");
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hg_str text = {0};
    if (!v) v = hg_json_get(call, "parameters");
    if (!v && may_lack) return hg_strdup("{}");
    if (hg_json_str(v, &text) && hg_json_parse(text, NULL, &doc, NULL) == HANGAR_OK) v = hg_json_root(doc);
    if (!hg_json_is_object(v)) return NULL;
    char *out = hg_json_print(v, false);
    if (!out) *out_code = hg_fail_memory(err);
    return out;
}

/* One call; *out_is false when it is none. With `send` it goes out. */
static hangar_code one_call(hg_toolcalls *p, const hg_jval *v, bool send, bool *out_is)
{
    const char *name = hg_json_text(hg_json_get(v, "name"));
    hangar_code code = HANGAR_OK;
    *out_is = false;
    if (!name || !name[0] || strlen(name) > HG_TOOLCALL_NAME_MAX) return code;
    if (p->form == BARE && !is_given(p, name)) return code;
    HG_AUTO(hg_auto_free) char *arguments = arguments_of(v, p->form != BARE, &code, p->err);
    *out_is = arguments != NULL;
    if (!arguments || !send) return code;
    p->count++;
    return p->sink.call(p->sink.ctx, hg_str_of(name), hg_str_of(arguments), p->gone + p->at, p->err);
}

/* The calls of a list, or the one of an object; *out_are: it holds nothing else. */
static hangar_code calls(hg_toolcalls *p, const hg_jval *v, bool send, bool *out_are)
{
    bool list = hg_json_is_array(v);
    hangar_code code = HANGAR_OK;
    *out_are = false;
    if (!list) return one_call(p, v, send, out_are);
    if (hg_json_len(v) == 0 || p->count + hg_json_len(v) > HG_TOOLCALLS_MAX) return code;
    *out_are = true;
    for (hg_json_iter it = hg_json_iter_of(v); code == HANGAR_OK && *out_are && hg_json_next(&it);)
        code = one_call(p, it.val, send, out_are);
    return code;
}

/* The value is whole: its calls go out, or all is text. */
static hangar_code settle(hg_toolcalls *p)
{
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hg_str text = {p->held.data + p->value, p->value_end - p->value};
    hg_json_limits limits = {.depth = HG_TOOLCALL_DEPTH_MAX};
    bool good = false;
    hangar_code code = hg_json_parse(text, &limits, &doc, NULL);
    if (code == HANGAR_E_NO_MEMORY) return hg_fail_memory(p->err);
    if (code == HANGAR_OK) code = calls(p, hg_json_root(doc), false, &good);
    else code = HANGAR_OK;
    if (code != HANGAR_OK || !good) {
        release(p, TEXT);
        return code;
    }
    code = calls(p, hg_json_root(doc), true, &good);
    drop(p, p->at);
    p->state = p->count >= HG_TOOLCALLS_MAX ? PLAIN : p->form == TAG ? CLOSE : GAP;
    return code;
}

/* ---- byte by byte ---- */

typedef enum match { NO, PART, WHOLE } match;

/* Whether a mark stands at the place, as far as the text goes. */
static match mark_at(const hg_toolcalls *p, size_t at, hg_str mark)
{
    size_t left = p->held.len - at, n = left < mark.len ? left : mark.len;
    if (memcmp(p->held.data + at, mark.ptr, n) != 0) return NO;
    return n == mark.len ? WHOLE : PART;
}

/* The value begins at the next byte. */
static void enter(hg_toolcalls *p)
{
    p->state = VALUE;
    p->value = p->at;
    p->depth = 0;
    p->quoted = p->escaped = p->keyed = false;
    p->key = 0;
}

/* The keys that a bare call may begin with. */
static bool may_be_first(hg_str key)
{
    static const char *const keys[] = {"name", "parameters", "arguments", "type", "id"};
    for (size_t i = 0; i < HG_LEN(keys); i++)
        if (hg_str_eq(key, hg_str_of(keys[i]))) return true;
    return false;
}

/* A byte inside a string. False when no JSON has it there. */
static bool in_string(hg_toolcalls *p, char c)
{
    if ((unsigned char)c < 0x20) return false;
    if (p->escaped) {
        p->escaped = false;
    } else if (c == '\\') {
        p->escaped = true;
    } else if (c == '"') {
        p->quoted = false;
        if (!p->keyed && p->form == BARE && !may_be_first((hg_str){p->held.data + p->key, p->at - p->key}))
            return false;
        p->keyed = true;
    }
    return true;
}

/* A byte of the value. False when it cannot be a call any more; depth 0 behind it: it is whole. */
static bool in_value(hg_toolcalls *p, char c)
{
    if (p->quoted) return in_string(p, c);
    if (c == '"') {
        p->quoted = true;
        if (!p->keyed) p->key = p->at + 1;
    } else if (c == '{' || c == '[') {
        p->depth++;
    } else if (c == '}' || c == ']') {
        p->depth--;
    }
    /* Behind the brace of an object that stands alone a key comes. */
    bool lone = p->form == BARE && !p->keyed && p->at > p->value;
    return p->depth <= HG_TOOLCALL_DEPTH_MAX && !(lone && c != '"' && !is_space(c));
}

/* One byte of the value. */
static hangar_code step_value(hg_toolcalls *p)
{
    char c = p->held.data[p->at];
    bool good = in_value(p, c);
    p->at++;
    if (!good || p->at > HG_TOOLCALL_BYTES_MAX) {
        release(p, TEXT);
        return HANGAR_OK;
    }
    if (p->depth > 0 || p->quoted) return HANGAR_OK;
    p->value_end = p->at;
    if (p->form != BARE && p->form != FORCED) return settle(p);
    p->state = DONE;
    return HANGAR_OK;
}

/* One byte where a mark may begin. False: more is needed to tell. */
static bool step_text(hg_toolcalls *p)
{
    static const struct {
        hg_str mark;
        int form;
    } marks[] = {{{"<tool_call>", 11}, TAG}, {{"[TOOL_CALLS]", 12}, LIST}};
    char c = p->held.data[p->at];
    if (p->state == GAP && is_space(c) && p->at < HG_TOOLCALL_BYTES_MAX) {
        p->at++;
        return true;
    }
    for (size_t i = 0; i < HG_LEN(marks) && (c == '<' || c == '['); i++) {
        match m = mark_at(p, p->at, marks[i].mark);
        if (m == NO) continue;
        if (m == PART) return false;
        /* White space between two calls is no text: it stays with what is held back for this one. */
        if (p->state == TEXT) p->text = p->at;
        p->form = marks[i].form;
        p->state = OPEN;
        p->at += marks[i].mark.len;
        return true;
    }
    p->at++;
    release(p, TEXT);
    return true;
}

/* One byte behind a mark. */
static void step_open(hg_toolcalls *p)
{
    char c = p->held.data[p->at];
    if (c == '{' || (c == '[' && p->form == LIST)) {
        enter(p);
    } else if (is_space(c) && p->at < HG_TOOLCALL_BYTES_MAX) {
        p->at++;
    } else {
        release(p, TEXT);
    }
}

/* One byte behind the value of a <tool_call>. False: more is needed to tell. */
static bool step_close(hg_toolcalls *p)
{
    if (is_space(p->held.data[p->at]) && p->at < HG_TOOLCALL_BYTES_MAX) {
        p->at++;
        return true;
    }
    match m = mark_at(p, p->at, CLOSED);
    if (m == PART) return false;
    if (m == WHOLE) {
        p->at += CLOSED.len;
        drop(p, p->at);
    }
    p->state = GAP;
    return true;
}

/* One byte at the beginning of the answer, or behind a bare object. */
static void step_bare(hg_toolcalls *p)
{
    char c = p->held.data[p->at];
    if (is_space(c) && p->at < HG_TOOLCALL_BYTES_MAX) p->at++;
    else if (p->state == BEGIN && (c == '{' || (c == '[' && p->form == FORCED))) enter(p);
    else release(p, TEXT);
}

/* Looks at what is held as far as that says something. */
static hangar_code look(hg_toolcalls *p)
{
    hangar_code code = HANGAR_OK;
    bool more = true;
    while (code == HANGAR_OK && more && p->at < p->held.len) {
        switch (p->state) {
        case BEGIN:
        case DONE: step_bare(p); break;
        case TEXT:
        case GAP:
            more = step_text(p);
            /* What stands before a call goes out before it, and from there on the places of `held` stay. */
            if (p->state == OPEN) code = flush(p);
            break;
        case OPEN: step_open(p); break;
        case VALUE: code = step_value(p); break;
        case CLOSE: more = step_close(p); break;
        default: p->text = p->at = p->held.len; break;
        }
    }
    return code;
}

hangar_code hg_toolcalls_add(hg_toolcalls *p, hg_str piece, hangar_err *err)
{
    p->err = err;
    hg_buf_str(&p->held, piece);
    hangar_code code = hg_buf_check(&p->held, err);
    if (code == HANGAR_OK) code = look(p);
    return code == HANGAR_OK ? flush(p) : code;
}

hangar_code hg_toolcalls_end(hg_toolcalls *p, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    p->err = err;
    if (p->state == DONE) {
        p->at = p->held.len;
        code = settle(p);
    }
    /* Half a mark, a call that never ends, an answer of white space: all that is text. */
    bool nothing = p->state == CLOSE || (p->state == GAP && p->at == p->held.len);
    if (!nothing) p->text = p->at = p->held.len;
    if (code == HANGAR_OK) code = flush(p);
    p->state = PLAIN;
    return code;
}
