/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts as token ids and back, and the chat template of the model's file. It is run by our own interpreter of Jinja, as for all engines
 * (format/conversation.h); where that does not read it, llama.cpp may know it by its looks.
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

/* What the model wants at the beginning, unless the template wrote it itself. */
static hangar_code add_begin(const hg_llama *l, hg_str text, hg_ids64 *out, hangar_err *err)
{
    llama_token bos = llama_vocab_bos(l->vocab);
    if (!llama_vocab_get_add_bos(l->vocab) || bos == LLAMA_TOKEN_NULL) return HANGAR_OK;
    if (hg_str_starts(text, hg_str_of(llama_vocab_get_text(l->vocab, bos)))) return HANGAR_OK;
    return hg_ids64_add(out, bos, err);
}

static hangar_code reader_read(const void *ctx, hg_str text, hg_reading how, hg_ids64 *out, hangar_err *err)
{
    const hg_llama *l = ctx;
    hangar_code code = how == HG_READ_TEMPLATE && out->count == 0 ? add_begin(l, text, out, err) : HANGAR_OK;
    if (code != HANGAR_OK || text.len == 0) return code;
    return add_text(l->vocab, text, false, how != HG_READ_PERSON, out, err);
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

/* The template that llama.cpp knows, where the model's own is in a language that we do not speak. */
static hangar_code builtin(const void *ctx, const hg_jval *input, hg_buf *out, hangar_err *err)
{
    const hg_llama *l = ctx;
    struct llama_chat_message *chat = NULL;
    size_t n = 0;
    hangar_code code = read_messages(hg_json_get(input, "messages"), &chat, &n, err);
    if (code == HANGAR_OK)
        code = apply_template(llama_model_chat_template(l->model, NULL), chat, n, out, err);
    free(chat);
    return code;
}

/* {"chat_template": ..., "bos_token": ...}: what hg_templates_open reads. */
static hangar_code describe(const hg_llama *l, const char *plain, char **out, hangar_err *err)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    const char *tools = llama_model_chat_template(l->model, "tool_use");
    const struct {
        const char *name;
        llama_token id;
    } tokens[] = {{"bos_token", llama_vocab_bos(l->vocab)},
                  {"eos_token", llama_vocab_eos(l->vocab)},
                  {"pad_token", llama_vocab_pad(l->vocab)},
                  {"sep_token", llama_vocab_sep(l->vocab)}};
    hg_jw_obj(w, NULL);
    for (size_t i = 0; i < HG_LEN(tokens); i++)
        if (tokens[i].id != LLAMA_TOKEN_NULL)
            hg_jw_text(w, tokens[i].name, llama_vocab_get_text(l->vocab, tokens[i].id));
    if (tools) {
        const char *const named[2][2] = {{"default", plain}, {"tool_use", tools}};
        hg_jw_arr(w, "chat_template");
        for (int i = 0; i < 2; i++) {
            hg_jw_obj(w, NULL);
            hg_jw_text(w, "name", named[i][0]);
            hg_jw_text(w, "template", named[i][1]);
            hg_jw_end(w);
        }
        hg_jw_end(w);
    } else {
        hg_jw_text(w, "chat_template", plain);
    }
    hg_jw_end(w);
    return hg_jw_finish(w, false, out, err);
}

hangar_code hg_llama_templates(hg_llama *l, hangar_err *err)
{
    const char *plain = llama_model_chat_template(l->model, NULL);
    HG_AUTO(hg_auto_free) char *text = NULL;
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    if (!plain) return HANGAR_OK;
    hangar_code code = describe(l, plain, &text, err);
    if (code == HANGAR_OK) code = hg_json_parse(hg_str_of(text), NULL, &doc, err);
    if (code == HANGAR_OK) code = hg_templates_open(hg_json_root(doc), (hg_str){0}, &l->templates, err);
    if (code != HANGAR_OK || l->templates.plain) return code;
    l->templates.builtin = builtin;
    l->templates.builtin_ctx = l;
    return HANGAR_OK;
}

hangar_code hg_llama_prompt(const hg_llama *l, const hg_generate_call *call, hg_ids64 *out, hangar_err *err)
{
    const hg_reader reader = hg_llama_reader(l);
    hangar_code code = call->prompt ? add_text(l->vocab, hg_str_of(call->prompt), true, true, out, err)
                                    : hg_conversation_prompt(&l->templates, &reader, call, out, err);
    if (code == HANGAR_OK && call->tool_choice == HG_TOOLS_FORCED)
        code = reader.read(l, hg_templates_call_mark(&l->templates), HG_READ_MARKS, out, err);
    if (code == HANGAR_OK && out->count == 0) code = hg_fail(err, HANGAR_E_USAGE, "the prompt is empty");
    return code;
}
