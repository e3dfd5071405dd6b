/* SPDX-License-Identifier: Apache-2.0 */
#include "format/chat.h"

#include "base/mem.h"

struct hg_chat {
    hg_jinja *template;
    char *source;
    size_t source_len;
    hg_json *tokens; /* {"bos_token": "<s>", ...} */
    bool asked, takes_tools;
};

/* The text of the template called `name` in a list of templates. */
static bool named_template(const hg_jval *list, const char *name, hg_str *out)
{
    for (hg_json_iter it = hg_json_iter_of(list); hg_json_next(&it);)
        if (hg_streq(hg_json_text(hg_json_get(it.val, "name")), name))
            return hg_json_str(hg_json_get(it.val, "template"), out);
    return false;
}

/* Which template of the files is meant. */
static hangar_code pick(const hg_jval *config, hg_str file, bool tools, hg_str *out, hangar_err *err)
{
    const hg_jval *t = hg_json_get(config, "chat_template");
    *out = file;
    if (file.ptr || hg_json_str(t, out)) return HANGAR_OK;
    if (hg_json_is_array(t)) {
        if (tools && named_template(t, "tool_use", out)) return HANGAR_OK;
        if (named_template(t, "default", out)) return HANGAR_OK;
        return hg_fail(err, HANGAR_E_NOT_FOUND, "no chat template is called 'default'");
    }
    if (!hg_json_is_null(t))
        return hg_fail(err, HANGAR_E_INVALID, "chat_template is neither text nor a list");
    return hg_fail(err, HANGAR_E_NOT_FOUND, "the model has no chat template");
}

/* All members "..._token" that are text, or an object with the text in "content". */
static hangar_code read_tokens(const hg_jval *config, hg_json **out, hangar_err *err)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    HG_AUTO(hg_auto_free) char *text = NULL;
    hg_jw_obj(w, NULL);
    for (hg_json_iter it = hg_json_iter_of(config); hg_json_next(&it);) {
        hg_str token;
        const hg_jval *v = hg_json_is_object(it.val) ? hg_json_get(it.val, "content") : it.val;
        if (!hg_json_is_object(config) || !hg_str_ends(it.key, HG_STR("_token")) || !hg_json_str(v, &token))
            continue;
        if (memchr(it.key.ptr, '\0', it.key.len)) continue;
        HG_AUTO(hg_auto_free) char *key = hg_strndup(it.key.ptr, it.key.len);
        if (!key) return hg_fail_memory(err);
        hg_jw_str(w, key, token);
    }
    hangar_code code = hg_jw_finish(w, false, &text, err);
    return code != HANGAR_OK ? code : hg_json_parse(hg_str_of(text), NULL, out, err);
}

hangar_code hg_chat_open(const hg_jval *config, hg_str file, bool tools, hg_chat **out, hangar_err *err)
{
    hg_str source;
    *out = NULL;
    hangar_code code = pick(config, file, tools, &source, err);
    if (code != HANGAR_OK) return code;
    HG_AUTO(hg_chat_auto_free) hg_chat *chat = hg_calloc(1, sizeof *chat);
    if (!chat) return hg_fail_memory(err);
    chat->source = hg_strndup(source.ptr, source.len);
    chat->source_len = source.len;
    if (!chat->source) return hg_fail_memory(err);
    if ((code = hg_jinja_parse(source, &chat->template, err)) != HANGAR_OK)
        return hg_wrap(err, code, "chat template");
    if ((code = read_tokens(config, &chat->tokens, err)) != HANGAR_OK) return code;
    *out = chat;
    chat = NULL;
    return HANGAR_OK;
}

void hg_chat_free(hg_chat *chat)
{
    if (!chat) return;
    hg_jinja_free(chat->template);
    hg_json_free(chat->tokens);
    free(chat->source);
    free(chat);
}

bool hg_chat_mentions(const hg_chat *chat, hg_str text)
{
    return memmem(chat->source, chat->source_len, text.ptr, text.len) != NULL;
}

bool hg_chat_takes_tools(hg_chat *chat)
{
    static const char input[] =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"?\"}],\"tools\":[{\"type\":\"function\","
        "\"function\":"
        "{\"name\":\"asked_whether_tools_are_told\",\"description\":\"?\",\"parameters\":{\"type\":"
        "\"object\","
        "\"properties\":{\"x\":{\"type\":\"string\",\"description\":\"?\"}},\"required\":[\"x\"]}}}]}";
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    if (chat->asked) return chat->takes_tools;
    hg_buf out;
    hg_buf_init(&out, HG_MIB);
    if (hg_json_parse(HG_STR(input), NULL, &doc, NULL) == HANGAR_OK &&
        hg_chat_render(chat, hg_json_root(doc), NULL, 0, &out, NULL) == HANGAR_OK) {
        chat->takes_tools = out.len > 0 && strstr(hg_buf_text(&out), "asked_whether_tools_are_told") != NULL;
        chat->asked = true;
    }
    hg_buf_deinit(&out);
    /* A template that refuses such a conversation may still take tools in another. */
    return chat->asked ? chat->takes_tools : hg_chat_mentions(chat, HG_STR("tools"));
}

void hg_chat_auto_free(hg_chat **chat)
{
    hg_chat_free(*chat);
}

hangar_code hg_chat_render(const hg_chat *chat, const hg_jval *input, const hg_jinja_limits *limits,
                           int64_t now, hg_buf *out, hangar_err *err)
{
    if (!hg_json_is_array(hg_json_get(input, "messages")))
        return hg_fail(err, HANGAR_E_INVALID, "a conversation is an object with a list of messages");
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    HG_AUTO(hg_auto_free) char *text = NULL;
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hg_jw_obj(w, NULL);
    /* What comes later under the same name wins. */
    hg_jw_bool(w, "add_generation_prompt", true);
    hg_jw_null(w, "tools");
    hg_jw_null(w, "documents");
    hg_jw_members(w, hg_json_root(chat->tokens), NULL);
    hg_jw_members(w, input, NULL);
    hangar_code code = hg_jw_finish(w, false, &text, err);
    if (code == HANGAR_OK) code = hg_json_parse(hg_str_of(text), NULL, &doc, err);
    if (code != HANGAR_OK) return hg_wrap(err, code, "the conversation");
    code = hg_jinja_render(chat->template, hg_json_root(doc), limits, now, out, err);
    return code;
}
