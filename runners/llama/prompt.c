/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A conversation as token ids.
 *
 * The model's chat template gives one text, in which the marks between the turns become control tokens. What
 * a person wrote must not: a message that holds such a mark is cut out of the text and turned into ids on its
 * own, without control tokens. A conversation without marks in its messages (nearly all) goes through whole,
 * so that its ids are the ones the model was trained on.
 */
#include "runner.h"

#include "base/mem.h"

#define TEXT_MAX ((size_t)48 << 20)

/* Appends the ids of a text. `begin`: add what the model wants at the start; `marks`: control tokens are read
 * as such. */
static hangar_code add_text(const struct llama_vocab *vocab, hg_str text, bool begin, bool marks,
                            hg_ids64 *out, hangar_err *err)
{
    if (text.len > INT32_MAX / 2)
        return hg_fail(err, HANGAR_E_LIMIT, "the prompt is over the limit of %d bytes", INT32_MAX / 2);
    /* At most one id a byte, and what is added around the text. */
    size_t room = text.len + 8;
    llama_token few[512];
    HG_AUTO(hg_auto_free) llama_token *many = room > HG_LEN(few) ? hg_calloc(room, sizeof *many) : NULL;
    llama_token *ids = room > HG_LEN(few) ? many : few;
    if (!ids || !hg_grow((void **)&out->ids, &out->cap, out->count + room, sizeof *out->ids))
        return hg_fail_memory(err);
    int32_t n = llama_tokenize(vocab, text.ptr, (int32_t)text.len, ids, (int32_t)room, begin, marks);
    if (n < 0) return hg_fail(err, HANGAR_E_ENGINE, "the text could not be turned into tokens");
    for (int32_t i = 0; i < n; i++) out->ids[out->count++] = ids[i];
    return HANGAR_OK;
}

/* ---- the reader ---- */

static hangar_code reader_read(const void *ctx, hg_str text, hg_reading how, hg_ids64 *out, hangar_err *err)
{
    const hg_llama *l = ctx;
    if (text.len == 0) return HANGAR_OK;
    return add_text(l->vocab, text, how == HG_READ_TEMPLATE && out->count == 0, how == HG_READ_TEMPLATE, out,
                    err);
}

static bool reader_control(const void *ctx, int64_t id)
{
    const hg_llama *l = ctx;
    return llama_vocab_is_control(l->vocab, (llama_token)id);
}

static hangar_code reader_piece(const void *ctx, int64_t id, hg_buf *out, hangar_err *err)
{
    const hg_llama *l = ctx;
    int32_t room = 64;
    for (int trial = 0; trial < 2; trial++) {
        char *to = hg_buf_reserve(out, (size_t)room);
        if (!to) return hg_buf_check(out, err);
        int32_t n = llama_token_to_piece(l->vocab, (llama_token)id, to, room, 0, false);
        if (n >= 0) {
            out->len += (size_t)n;
            out->data[out->len] = '\0';
            return HANGAR_OK;
        }
        room = -n;
    }
    return hg_fail(err, HANGAR_E_ENGINE, "token %lld has no text", (long long)id);
}

hg_reader hg_llama_reader(const hg_llama *l)
{
    return (hg_reader){.ctx = l, .read = reader_read, .control = reader_control, .piece = reader_piece};
}

/* True when a text, read by itself, holds a mark that the vocabulary knows as a control token. */
static hangar_code has_marks(const struct llama_vocab *vocab, hg_str text, bool *out, hangar_err *err)
{
    hg_ids64 ids = {0};
    *out = false;
    hangar_code code = add_text(vocab, text, false, true, &ids, err);
    for (size_t i = 0; code == HANGAR_OK && i < ids.count && !*out; i++)
        *out = llama_vocab_is_control(vocab, (llama_token)ids.ids[i]);
    free(ids.ids);
    return code;
}

/* The template's text for these messages. */
static hangar_code apply_template(const char *tmpl, const struct llama_chat_message *chat, size_t n,
                                  hg_buf *out, hangar_err *err)
{
    size_t room = 4096;
    for (size_t i = 0; i < n; i++) room += 2 * (strlen(chat[i].role) + strlen(chat[i].content)) + 64;
    for (int attempt = 0; attempt < 2; attempt++) {
        hg_buf_reset(out);
        char *at = room <= INT32_MAX ? hg_buf_reserve(out, room) : NULL;
        if (!at)
            return hg_fail(err, HANGAR_E_LIMIT, "the conversation is over the limit of %zu bytes", TEXT_MAX);
        int32_t len = llama_chat_apply_template(tmpl, chat, n, true, at, (int32_t)room);
        if (len < 0)
            return hg_fail(
                err, HANGAR_E_UNSUPPORTED,
                "the engine does not know this model's chat template; --raw gives the prompt as it is");
        if ((size_t)len <= room) {
            out->len += (size_t)len;
            out->data[out->len] = '\0';
            return HANGAR_OK;
        }
        room = (size_t)len + 1;
    }
    return hg_fail(err, HANGAR_E_ENGINE, "the chat template's text changes its length");
}

/* Like apply_template, with "\x01<index>\x02" in place of each message. */
static hangar_code apply_outline(const char *tmpl, const struct llama_chat_message *chat, size_t n,
                                 hg_buf *out, hangar_err *err)
{
    struct llama_chat_message *outline = hg_calloc(n, sizeof *outline);
    char(*marks)[24] = hg_calloc(n, sizeof *marks);
    hangar_code code = outline && marks ? HANGAR_OK : hg_fail_memory(err);
    for (size_t i = 0; code == HANGAR_OK && i < n; i++) {
        snprintf(marks[i], sizeof marks[i], "\x01%zu\x02", i);
        outline[i] = (struct llama_chat_message){chat[i].role, marks[i]};
    }
    if (code == HANGAR_OK) code = apply_template(tmpl, outline, n, out, err);
    free(outline);
    free(marks);
    return code;
}

/* Ids of an outline: what stands between the places is the template's, the places are the messages. */
static hangar_code add_outline(const struct llama_vocab *vocab, hg_str outline,
                               const struct llama_chat_message *chat, size_t n, hg_ids64 *out,
                               hangar_err *err)
{
    bool begin = true;
    hg_str head;
    while (outline.len) {
        bool place = hg_str_cut(&outline, '\x01', &head);
        hangar_code code = add_text(vocab, head, begin, true, out, err);
        begin = false;
        if (code != HANGAR_OK || !place) return code;
        uint64_t index = 0;
        if (!hg_str_cut(&outline, '\x02', &head) || !hg_u64_parse(head, &index) || index >= n)
            return hg_fail(err, HANGAR_E_ENGINE, "the chat template changes the messages it is given");
        code = add_text(vocab, hg_str_of(chat[index].content), false, false, out, err);
        if (code != HANGAR_OK) return code;
    }
    return HANGAR_OK;
}

/* Reads the messages of a call into *out (the caller's, strings borrowed). */
static hangar_code read_messages(const hg_jval *list, struct llama_chat_message **out, size_t *out_len,
                                 hangar_err *err)
{
    size_t n = hg_json_len(list);
    if (n == 0 || n > HG_GENERATE_MESSAGES_MAX)
        return hg_fail(err, HANGAR_E_USAGE, "a conversation has 1 to %d messages, not %zu",
                       HG_GENERATE_MESSAGES_MAX, n);
    struct llama_chat_message *chat = hg_calloc(n, sizeof *chat);
    if (!chat) return hg_fail_memory(err);
    for (hg_json_iter it = hg_json_iter_of(list); hg_json_next(&it);) {
        chat[it.index].role = hg_json_text(hg_json_get(it.val, "role"));
        chat[it.index].content = hg_json_text(hg_json_get(it.val, "content"));
        if (!chat[it.index].role || !chat[it.index].content) {
            free(chat);
            return hg_fail(err, HANGAR_E_USAGE, "message %zu needs a role and a content", it.index + 1);
        }
    }
    *out = chat;
    *out_len = n;
    return HANGAR_OK;
}

/* A conversation by the model's template. */
static hangar_code chat_prompt(const hg_llama *l, const hg_jval *messages, hg_ids64 *out, hangar_err *err)
{
    const char *tmpl = llama_model_chat_template(l->model, NULL);
    if (!tmpl)
        return hg_fail(err, HANGAR_E_UNSUPPORTED,
                       "this model has no chat template; --raw gives the prompt as it is");
    struct llama_chat_message *chat = NULL;
    size_t n = 0;
    hangar_code code = read_messages(messages, &chat, &n, err);
    if (code != HANGAR_OK) return code;
    hg_buf text;
    hg_buf_init(&text, TEXT_MAX);
    bool marks = false;
    for (size_t i = 0; code == HANGAR_OK && i < n && !marks; i++)
        code = has_marks(l->vocab, hg_str_of(chat[i].content), &marks, err);
    if (code == HANGAR_OK && marks) {
        code = apply_outline(tmpl, chat, n, &text, err);
        if (code == HANGAR_OK) code = add_outline(l->vocab, hg_buf_view(&text), chat, n, out, err);
    } else if (code == HANGAR_OK) {
        code = apply_template(tmpl, chat, n, &text, err);
        if (code == HANGAR_OK) code = add_text(l->vocab, hg_buf_view(&text), true, true, out, err);
    }
    hg_buf_deinit(&text);
    free(chat);
    return code;
}

hangar_code hg_llama_prompt(const hg_llama *l, const hg_generate_call *call, hg_ids64 *out, hangar_err *err)
{
    hangar_code code = call->prompt ? add_text(l->vocab, hg_str_of(call->prompt), true, true, out, err)
                                    : chat_prompt(l, call->messages, out, err);
    if (code == HANGAR_OK && out->count == 0) code = hg_fail(err, HANGAR_E_USAGE, "the prompt is empty");
    return code;
}
