/* SPDX-License-Identifier: Apache-2.0 */
#include "format/conversation.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>

#define ROLE_MAX 32

/* Signs for private use, which tojson, trim and upper leave as they are: around the index of a message in an outline, ... */
#define PLACE_BEGIN "\xf4\x8f\xbf\xbc"
#define PLACE_END   "\xf4\x8f\xbf\xbd"
/* ... and around a text that would be read as a control token. */
#define SAFE_BEGIN "\xf4\x8f\xbf\xba"
#define SAFE_END   "\xf4\x8f\xbf\xbb"

/* ---- templates ---- */

hangar_code hg_templates_open(const hg_jval *config, hg_str file, hg_templates *out, hangar_err *err)
{
    *out = (hg_templates){0};
    const hg_jval *list = hg_json_get(config, "chat_template");
    hangar_code code = hg_chat_open(config, file, false, &out->plain, &out->wrong);
    if (code == HANGAR_OK || code == HANGAR_E_NOT_FOUND) out->wrong = (hangar_err){0};
    if (code == HANGAR_E_NO_MEMORY) return hg_fail_memory(err);
    if (!out->plain || file.ptr || !hg_json_is_array(list)) return HANGAR_OK;
    /* One for tools that cannot be read is as good as none: the other is asked whether it takes them. */
    return hg_chat_open(config, file, true, &out->tools, NULL) == HANGAR_E_NO_MEMORY ? hg_fail_memory(err)
                                                                                     : HANGAR_OK;
}

void hg_templates_deinit(hg_templates *t)
{
    hg_chat_free(t->plain);
    hg_chat_free(t->tools);
    *t = (hg_templates){0};
}

bool hg_templates_any(const hg_templates *t)
{
    return t->plain || t->builtin;
}

hg_str hg_templates_call_mark(const hg_templates *t)
{
    const hg_chat *chat = t->tools ? t->tools : t->plain;
    if (chat && hg_chat_mentions(chat, HG_STR("<tool_call>"))) return HG_STR("<tool_call>\n");
    if (chat && hg_chat_mentions(chat, HG_STR("[TOOL_CALLS]"))) return HG_STR("[TOOL_CALLS]");
    return HG_STR("");
}

/* ---- what is a message ---- */

/* A role is printed by templates as it is, so it is a word. */
static bool is_role(hg_str role)
{
    bool word = role.len > 0 && role.len <= ROLE_MAX;
    for (size_t i = 0; i < role.len && word; i++) {
        char c = role.ptr[i];
        word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
               c == '-';
    }
    return word;
}

hangar_code hg_conversation_check(const hg_jval *messages, hangar_err *err)
{
    size_t n = hg_json_len(messages);
    if (!hg_json_is_array(messages) || n == 0 || n > HG_GENERATE_MESSAGES_MAX)
        return hg_fail(err, HANGAR_E_USAGE, "a conversation has 1 to %d messages, not %zu",
                       HG_GENERATE_MESSAGES_MAX, n);
    for (hg_json_iter it = hg_json_iter_of(messages); hg_json_next(&it);) {
        hg_str role = {0};
        const hg_jval *content = hg_json_get(it.val, "content"), *calls = hg_json_get(it.val, "tool_calls");
        bool calling = hg_json_is_array(calls) && hg_json_len(calls) > 0;
        bool text = hg_json_is_string(content) || (calling && hg_json_is_null(content));
        if (!hg_json_str(hg_json_get(it.val, "role"), &role) || !text)
            return hg_fail(err, HANGAR_E_USAGE, "message %zu needs a role and a content", it.index + 1);
        if (!is_role(role))
            return hg_fail(err, HANGAR_E_USAGE, "the role of message %zu is no word", it.index + 1);
        for (hg_json_iter c = hg_json_iter_of(calls); hg_json_next(&c);)
            if (!hg_json_text(hg_json_path(c.val, "function", "name", NULL)))
                return hg_fail(err, HANGAR_E_USAGE, "a call in message %zu names no function", it.index + 1);
    }
    return HANGAR_OK;
}

/* ---- what the template is given ---- */

/* How one rendering is made. */
typedef struct making {
    const hg_reader *reader;
    bool outline; /* places stand for the messages */
    bool blank;   /* a message without text has an empty one */
    bool safe;    /* out: some text is between SAFE signs */
    hangar_code code;
    hangar_err *err;
} making;

/* Whether a text, read by itself, would hold a control token. */
static bool has_control(making *m, hg_str text)
{
    hg_ids64 ids = {0};
    bool found = false;
    if (m->code == HANGAR_OK) m->code = m->reader->read(m->reader->ctx, text, HG_READ_MARKS, &ids, m->err);
    for (size_t i = 0; i < ids.count && !found; i++) found = m->reader->control(m->reader->ctx, ids.ids[i]);
    hg_ids64_deinit(&ids);
    return found;
}

/* A text as it is, or between signs; *work keeps the latter. */
static hg_str made_safe(making *m, hg_str text, hg_buf *work)
{
    if (!has_control(m, text)) return text;
    m->safe = true;
    hg_buf_reset(work);
    hg_buf_puts(work, SAFE_BEGIN);
    hg_buf_str(work, text);
    hg_buf_puts(work, SAFE_END);
    if (m->code == HANGAR_OK) m->code = hg_buf_check(work, m->err);
    return hg_buf_view(work);
}

static void write_value(making *m, hg_jw *w, const char *key, const hg_jval *v);

/* The members of an object, or the items of an array. */
static void write_inside(making *m, hg_jw *w, const hg_jval *v)
{
    bool object = hg_json_is_object(v);
    hg_buf work;
    hg_buf_init(&work, HG_CONVERSATION_BYTES_MAX);
    for (hg_json_iter it = hg_json_iter_of(v); hg_json_next(&it) && m->code == HANGAR_OK;) {
        HG_AUTO(hg_auto_free) char *name = NULL;
        if (object) {
            /* A name with a NUL in it cannot be written; no template can ask for it either. */
            if (memchr(it.key.ptr, '\0', it.key.len)) continue;
            hg_str safe = made_safe(m, it.key, &work);
            name = hg_strndup(safe.ptr, safe.len);
            if (!name) m->code = hg_fail_memory(m->err);
        }
        if (m->code == HANGAR_OK) write_value(m, w, name, it.val);
    }
    hg_buf_deinit(&work);
}

/* A value of the caller's with all its texts made safe. */
static void write_value(making *m, hg_jw *w, const char *key, const hg_jval *v)
{
    hg_str text = {0};
    if (hg_json_str(v, &text)) {
        hg_buf work;
        hg_buf_init(&work, HG_CONVERSATION_BYTES_MAX);
        hg_jw_str(w, key, made_safe(m, text, &work));
        hg_buf_deinit(&work);
    } else if (hg_json_is_object(v) || hg_json_is_array(v)) {
        if (hg_json_is_object(v)) hg_jw_obj(w, key);
        else hg_jw_arr(w, key);
        write_inside(m, w, v);
        hg_jw_end(w);
    } else {
        hg_jw_val(w, key, v);
    }
}

/* "arguments": templates want an object, clients send its text. */
static void write_arguments(making *m, hg_jw *w, const hg_jval *v)
{
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hg_str text = {0};
    if (hg_json_str(v, &text) && hg_json_parse(text, NULL, &doc, NULL) == HANGAR_OK &&
        hg_json_is_object(hg_json_root(doc)))
        v = hg_json_root(doc);
    write_value(m, w, "arguments", v);
}

/* The calls of an assistant. */
static void write_calls(making *m, hg_jw *w, const hg_jval *calls)
{
    hg_jw_arr(w, "tool_calls");
    for (hg_json_iter it = hg_json_iter_of(calls); hg_json_next(&it) && m->code == HANGAR_OK;) {
        const hg_jval *function = hg_json_get(it.val, "function"), *id = hg_json_get(it.val, "id");
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "type", "function");
        if (id) write_value(m, w, "id", id);
        hg_jw_obj(w, "function");
        write_value(m, w, "name", hg_json_get(function, "name"));
        write_arguments(m, w, hg_json_get(function, "arguments"));
        hg_jw_end(w);
        hg_jw_end(w);
    }
    hg_jw_end(w);
}

/* One message: its text, or its place. */
static void write_message(making *m, hg_jw *w, const hg_jval *message, size_t index)
{
    hg_jw_obj(w, NULL);
    for (hg_json_iter it = hg_json_iter_of(message); hg_json_next(&it) && m->code == HANGAR_OK;) {
        if (hg_str_eq(it.key, HG_STR("tool_calls")) && hg_json_is_array(it.val)) {
            write_calls(m, w, it.val);
        } else if (hg_str_eq(it.key, HG_STR("role"))) {
            hg_jw_val(w, "role", it.val);
        } else if (!hg_str_eq(it.key, HG_STR("content")) && !has_control(m, it.key)) {
            HG_AUTO(hg_auto_free) char *name = hg_strndup(it.key.ptr, it.key.len);
            if (!name) m->code = hg_fail_memory(m->err);
            else write_value(m, w, name, it.val);
        }
    }
    const hg_jval *content = hg_json_get(message, "content");
    char mark[32];
    snprintf(mark, sizeof mark, PLACE_BEGIN "%zu" PLACE_END, index);
    if (hg_json_is_string(content) && m->outline) hg_jw_text(w, "content", mark);
    else if (hg_json_is_string(content)) hg_jw_val(w, "content", content);
    else if (m->blank) hg_jw_text(w, "content", "");
    else hg_jw_null(w, "content");
    hg_jw_end(w);
}

/* The conversation and the tools by the template. */
static hangar_code render(const hg_templates *t, making *m, const hg_generate_call *call, hg_buf *out)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    HG_AUTO(hg_auto_free) char *text = NULL;
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    bool tools = call->tool_choice != HG_TOOLS_NONE;
    if (!w) return hg_fail_memory(m->err);
    hg_jw_obj(w, NULL);
    hg_jw_arr(w, "messages");
    for (hg_json_iter it = hg_json_iter_of(call->messages); hg_json_next(&it) && m->code == HANGAR_OK;)
        write_message(m, w, it.val, it.index);
    hg_jw_end(w);
    if (tools) write_value(m, w, "tools", call->tools);
    if (m->code == HANGAR_OK) m->code = hg_jw_finish(w, false, &text, m->err);
    if (m->code == HANGAR_OK) m->code = hg_json_parse(hg_str_of(text), NULL, &doc, m->err);
    if (m->code != HANGAR_OK) return m->code;
    const hg_chat *chat = tools && t->tools ? t->tools : t->plain;
    if (!chat) m->code = t->builtin(t->builtin_ctx, hg_json_root(doc), out, m->err);
    else
        m->code = hg_wrap(m->err, hg_chat_render(chat, hg_json_root(doc), NULL, hg_wall(), out, m->err),
                          "chat template");
    return m->code;
}

/* Whether a message has no text. */
static bool any_without_text(const hg_jval *messages)
{
    for (hg_json_iter it = hg_json_iter_of(messages); hg_json_next(&it);)
        if (!hg_json_is_string(hg_json_get(it.val, "content"))) return true;
    return false;
}

/* ---- from text to ids ---- */

/* Cuts a text at a sign: what stands before it; false, and all of the text, when the sign is not there. */
static bool cut_at(hg_str *rest, hg_str sign, hg_str *head)
{
    const char *hit = rest->len ? memmem(rest->ptr, rest->len, sign.ptr, sign.len) : NULL;
    *head = hit ? (hg_str){rest->ptr, (size_t)(hit - rest->ptr)} : *rest;
    size_t used = hit ? head->len + sign.len : head->len;
    *rest = (hg_str){rest->ptr + used, rest->len - used};
    return hit != NULL;
}

/* A person's text. */
static hangar_code add_person(const making *m, hg_str text, hg_ids64 *out)
{
    hangar_code code = HANGAR_OK;
    /* What the model wants at the beginning stands there also when a person has the first word. */
    if (out->count == 0) code = m->reader->read(m->reader->ctx, HG_STR(""), HG_READ_TEMPLATE, out, m->err);
    return code == HANGAR_OK ? m->reader->read(m->reader->ctx, text, HG_READ_PERSON, out, m->err) : code;
}

/* The template's text; what stands between SAFE signs is a person's. */
static hangar_code add_template(const making *m, hg_str text, hg_ids64 *out)
{
    hangar_code code = HANGAR_OK;
    hg_str head;
    while (m->safe && text.len > 0) {
        bool place = cut_at(&text, HG_STR(SAFE_BEGIN), &head);
        if (head.len > 0) code = m->reader->read(m->reader->ctx, head, HG_READ_TEMPLATE, out, m->err);
        if (code != HANGAR_OK || !place) return code;
        if (!cut_at(&text, HG_STR(SAFE_END), &head))
            return hg_fail(m->err, HANGAR_E_ENGINE, "the chat template changes the tools it is given");
        code = add_person(m, head, out);
        if (code != HANGAR_OK) return code;
    }
    return text.len > 0 ? m->reader->read(m->reader->ctx, text, HG_READ_TEMPLATE, out, m->err) : code;
}

/*
 * Ids of an outline: what stands between the places is the template's, the places are the messages, or with nothing there when it is not to
 * be filled.
 */
static hangar_code add_outline(const making *m, hg_str outline, const hg_jval *messages, bool filled,
                               hg_ids64 *out)
{
    hg_str head, content = {0};
    while (outline.len) {
        bool place = cut_at(&outline, HG_STR(PLACE_BEGIN), &head);
        hangar_code code = add_template(m, head, out);
        if (code != HANGAR_OK || !place) return code;
        uint64_t index = 0;
        hg_str rest = outline;
        bool whole = cut_at(&rest, HG_STR(PLACE_END), &head) && hg_u64_parse(head, &index) &&
                     hg_json_str(hg_json_get(hg_json_at(messages, (size_t)index), "content"), &content);
        if (whole) outline = rest;
        if (!filled) continue;
        if (!whole)
            return hg_fail(m->err, HANGAR_E_ENGINE, "the chat template changes the messages it is given");
        code = add_person(m, content, out);
        if (code != HANGAR_OK) return code;
    }
    return HANGAR_OK;
}

/* The next control token of a list at or behind *at, which is moved behind it; -1 when none is left. */
static int64_t next_control(const hg_reader *r, const hg_ids64 *list, size_t *at)
{
    while (*at < list->count) {
        int64_t id = list->ids[(*at)++];
        if (r->control(r->ctx, id)) return id;
    }
    return -1;
}

/* Two prompts have the same control tokens. */
static bool same_controls(const hg_reader *r, const hg_ids64 *a, const hg_ids64 *b)
{
    for (size_t i = 0, j = 0;;) {
        int64_t x = next_control(r, a, &i), y = next_control(r, b, &j);
        if (x != y) return false;
        if (x < 0) return true;
    }
}

/*
 * The prompt must have the control tokens of its outline and no others. If it has, it is taken whole, so that its ids are those that the
 * model was trained on; otherwise each message is read by itself.
 */
static hangar_code read_prompt(const making *m, hg_str text, hg_str outline, const hg_jval *messages,
                               hg_ids64 *out)
{
    hg_ids64 bare = {0};
    hangar_code code = add_outline(m, outline, messages, false, &bare);
    if (code == HANGAR_OK) code = add_template(m, text, out);
    if (code == HANGAR_OK && !same_controls(m->reader, out, &bare)) {
        out->count = 0;
        code = add_outline(m, outline, messages, true, out);
    }
    hg_ids64_deinit(&bare);
    return code;
}

/* Whether there is a template for what the call wants. */
static hangar_code check_templates(const hg_templates *t, const hg_generate_call *call, hangar_err *err)
{
    if (!hg_templates_any(t)) {
        if (t->wrong.code != HANGAR_OK)
            return hg_fail(err, t->wrong.code, "chat template: %s; --raw gives the prompt as it is",
                           t->wrong.msg);
        return hg_fail(err, HANGAR_E_UNSUPPORTED,
                       "this model has no chat template; --raw gives the prompt as it is");
    }
    /* An answer that is forced to be a call is one whether the model was told of the tools or not. */
    if (call->tool_choice != HG_TOOLS_AUTO || t->tools || (t->plain && hg_chat_takes_tools(t->plain)))
        return HANGAR_OK;
    return hg_fail(err, HANGAR_E_UNSUPPORTED, "this model's chat template has no place for tools");
}

hangar_code hg_conversation_prompt(const hg_templates *t, const hg_reader *reader,
                                   const hg_generate_call *call, hg_ids64 *out, hangar_err *err)
{
    hangar_code code = hg_conversation_check(call->messages, err);
    if (code == HANGAR_OK) code = check_templates(t, call, err);
    if (code != HANGAR_OK) return code;
    making m = {.reader = reader, .err = err};
    hg_buf text, outline;
    hg_buf_init(&text, HG_CONVERSATION_BYTES_MAX);
    hg_buf_init(&outline, HG_CONVERSATION_BYTES_MAX);
    code = render(t, &m, call, &text);
    if (code == HANGAR_E_INVALID && any_without_text(call->messages)) {
        /* Some templates put texts together without asking whether they are there. */
        m = (making){.reader = reader, .blank = true, .err = err};
        code = render(t, &m, call, &text);
    }
    m.outline = true;
    if (code == HANGAR_OK) code = render(t, &m, call, &outline);
    if (code == HANGAR_OK)
        code = read_prompt(&m, hg_buf_view(&text), hg_buf_view(&outline), call->messages, out);
    hg_buf_deinit(&outline);
    hg_buf_deinit(&text);
    return code;
}
