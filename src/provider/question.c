/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/dialect.h"

#include "base/mem.h"

#define TEXT_MAX (64 * HG_MIB) /* bytes of one message's text */

hangar_code hg_question_text(const hg_jval *content, hg_buf *out, hangar_err *err)
{
    hg_str text;
    hg_buf_init(out, TEXT_MAX);
    if (hg_json_is_null(content)) return HANGAR_OK;
    if (hg_json_str(content, &text)) {
        hg_buf_str(out, text);
        return hg_buf_check(out, err);
    }
    if (!hg_json_is_array(content))
        return hg_fail(err, HANGAR_E_USAGE, "messages: a content that is neither text nor a list of parts");
    for (hg_json_iter it = hg_json_iter_of(content); hg_json_next(&it);) {
        const char *type = hg_json_text_or(hg_json_get(it.val, "type"), "text");
        if (!hg_streq(type, "text") || !hg_json_str(hg_json_get(it.val, "text"), &text))
            return hg_fail(err, HANGAR_E_USAGE, "messages: a part of type %s; only text can be sent", type);
        hg_buf_str(out, text);
    }
    return hg_buf_check(out, err);
}

static bool role_is_known(const char *role)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool"};
    for (size_t i = 0; i < HG_LEN(roles); i++)
        if (hg_streq(role, roles[i])) return true;
    return false;
}

hangar_code hg_question_messages(const hg_question *q, const hg_jval **out, hangar_err *err)
{
    const hg_jval *messages = hg_json_get(q->ask, "messages");
    *out = NULL;
    if (hg_json_is_null(messages)) {
        if (hg_json_is_string(hg_json_get(q->ask, "prompt"))) return HANGAR_OK;
        return hg_fail(err, HANGAR_E_USAGE, "neither messages nor a prompt");
    }
    if (!hg_json_is_array(messages) || hg_json_len(messages) == 0)
        return hg_fail(err, HANGAR_E_USAGE, "messages: not a list with something in it");
    for (hg_json_iter it = hg_json_iter_of(messages); hg_json_next(&it);) {
        const char *role = hg_json_text(hg_json_get(it.val, "role"));
        if (!role_is_known(role))
            return hg_fail(err, HANGAR_E_USAGE, "messages[%zu]: no role that is known (%s)", it.index,
                           role ? role : "none");
    }
    *out = messages;
    return HANGAR_OK;
}

hangar_code hg_question_lacks(const hg_question *q, const char *member, hangar_err *err)
{
    const hg_jval *v = hg_json_get(q->ask, member);
    hg_str text;
    bool value = true;
    if (hg_json_is_null(v) || (hg_json_str(v, &text) && text.len == 0) || (hg_json_bool(v, &value) && !value))
        return HANGAR_OK;
    return hg_fail(err, HANGAR_E_USAGE, "%s cannot be asked of %s (%s, %s)", member, q->target->name,
                   q->target->provider, q->target->model);
}

const char *hg_question_called(const hg_jval *messages, const char *id)
{
    const char *name = NULL;
    if (!id || !id[0]) return NULL;
    for (hg_json_iter it = hg_json_iter_of(messages); hg_json_next(&it);)
        for (hg_json_iter c = hg_json_iter_of(hg_json_get(it.val, "tool_calls")); hg_json_next(&c);)
            if (hg_streq(hg_json_text(hg_json_get(c.val, "id")), id))
                name = hg_json_text(hg_json_path(c.val, "function", "name", NULL));
    return name;
}

hangar_code hg_question_system(const hg_jval *messages, hg_buf *out, hangar_err *err)
{
    hg_buf_init(out, TEXT_MAX);
    for (hg_json_iter it = hg_json_iter_of(messages); hg_json_next(&it);) {
        if (!hg_streq(hg_json_text(hg_json_get(it.val, "role")), "system")) continue;
        hg_buf one;
        hangar_code code = hg_question_text(hg_json_get(it.val, "content"), &one, err);
        if (out->len && one.len) hg_buf_puts(out, "\n\n");
        hg_buf_str(out, hg_buf_view(&one));
        hg_buf_deinit(&one);
        if (code != HANGAR_OK) return code;
    }
    return hg_buf_check(out, err);
}

hangar_code hg_question_schema(const hg_question *q, hg_json **out, hangar_err *err)
{
    hg_str text;
    *out = NULL;
    const hg_jval *v = hg_json_get(q->ask, "json_schema");
    if (!hg_json_str(v, &text) || text.len == 0)
        return hg_json_is_null(v) || hg_json_is_string(v)
                   ? HANGAR_OK
                   : hg_fail(err, HANGAR_E_USAGE, "json_schema: not a text that holds a schema");
    hangar_code code = hg_json_parse(text, NULL, out, err);
    if (code == HANGAR_OK && !hg_json_is_object(hg_json_root(*out)))
        code = hg_fail(err, HANGAR_E_USAGE, "not a JSON object");
    if (code == HANGAR_OK) return code;
    hg_json_free(*out);
    *out = NULL;
    if (code != HANGAR_E_NO_MEMORY && err) err->code = code = HANGAR_E_USAGE;
    return hg_wrap(err, code, "json_schema");
}

void hg_question_number(const hg_question *q, hg_jw *w, const char *name, const char *as)
{
    const hg_jval *v = hg_json_get(q->ask, name);
    if (hg_json_is_number(v)) hg_jw_val(w, as, v);
}

hangar_code hg_question_arguments(const hg_jval *tool_call, hg_jw *w, const char *key, hangar_err *err)
{
    const hg_jval *v = hg_json_path(tool_call, "function", "arguments", NULL);
    hg_json *doc = NULL;
    hg_str text;
    if (hg_json_str(v, &text) && hg_json_parse(text.len ? text : HG_STR("{}"), NULL, &doc, NULL) == HANGAR_OK)
        v = hg_json_root(doc);
    bool good = hg_json_is_object(v);
    if (good) {
        hg_jw_val(w, key, v);
    } else if (hg_json_is_null(v)) {
        hg_jw_obj(w, key);
        hg_jw_end(w);
        good = true;
    }
    hg_json_free(doc);
    return good ? HANGAR_OK
                : hg_fail(err, HANGAR_E_USAGE, "messages: a tool call whose arguments are no JSON object");
}

int64_t hg_question_most(const hg_question *q, int64_t def)
{
    int64_t most = hg_json_i64_or(hg_json_get(q->ask, "max_tokens"), 0);
    return most > 0 ? most : def;
}

hangar_code hg_question_choice(const hg_question *q, hg_tool_choice *out, const char **out_name,
                               hangar_err *err)
{
    static const char *const words[] = {"auto", "none", "required"};
    const hg_jval *v = hg_json_get(q->ask, "tool_choice");
    *out = HG_TOOLS_UNSAID;
    *out_name = hg_json_text(hg_json_get(v, "name"));
    if (hg_json_is_null(v)) return HANGAR_OK;
    if (*out_name) {
        *out = HG_TOOLS_ONE;
        return HANGAR_OK;
    }
    for (size_t i = 0; i < HG_LEN(words); i++)
        if (hg_streq(hg_json_text(v), words[i])) *out = (hg_tool_choice)(HG_TOOLS_AUTO + i);
    if (*out != HG_TOOLS_UNSAID) return HANGAR_OK;
    return hg_fail(err, HANGAR_E_USAGE, "tool_choice: not auto, none, required or {\"name\"}");
}
