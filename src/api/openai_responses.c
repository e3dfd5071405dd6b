/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/responses, the way in: items to messages. No state is kept, so that nothing can be gone on with. The way out: openai_response_shape.c. */
#include "api/dialect.h"
#include "base/mem.h"
#include "format/generate.h"

#include <math.h>
#include <stdio.h>

static const char *const text_parts[] = {"input_text", "output_text", "text", "refusal", NULL};

/* The messages that are being written. */
typedef struct talk {
    hg_jw *w;
    hg_buf text;
    size_t count;
    bool calling;                            /* an assistant's list of tool calls is open */
    const hg_jval *calls[HG_TOOL_CALLS_MAX]; /* those of its last turn, for the names of what answers them */
    size_t call_count;
} talk;

static void end_calls(talk *t)
{
    if (!t->calling) return;
    hg_jw_end(t->w);
    hg_jw_end(t->w);
    t->calling = false;
}

static void begin_message(talk *t, const char *role, hg_str content)
{
    end_calls(t);
    hg_jw_obj(t->w, NULL);
    hg_jw_text(t->w, "role", role);
    hg_jw_str(t->w, "content", content);
    t->count++;
}

static hangar_code read_message(talk *t, const hg_jval *item, size_t index, hangar_err *err)
{
    static const char *const roles[] = {"system", "user", "assistant"};
    const char *role = hg_json_text_or(hg_json_get(item, "role"), "");
    bool known = false;
    char where[48];
    if (hg_streq(role, "developer")) role = "system";
    for (size_t i = 0; i < HG_LEN(roles) && !known; i++) known = hg_streq(role, roles[i]);
    if (!known)
        return hg_fail(err, HANGAR_E_USAGE,
                       "\"input[%zu].role\" must be system, developer, user or assistant", index);
    snprintf(where, sizeof where, "input[%zu].content", index);
    hangar_code code = hg_read_content(hg_json_get(item, "content"), where, text_parts, &t->text, err);
    if (code != HANGAR_OK) return code;
    begin_message(t, role, hg_buf_view(&t->text));
    hg_jw_end(t->w);
    return HANGAR_OK;
}

/* Calls that follow one another are of one turn of the assistant. */
static hangar_code read_call(talk *t, const hg_jval *item, size_t index, hangar_err *err)
{
    char where[48];
    const char *id = hg_json_text(hg_json_get(item, "call_id"));
    snprintf(where, sizeof where, "input[%zu]", index);
    if (!id) return hg_fail(err, HANGAR_E_USAGE, "\"%s\" needs a \"call_id\"", where);
    if (!t->calling) {
        begin_message(t, "assistant", HG_STR(""));
        hg_jw_arr(t->w, "tool_calls");
        t->calling = true;
        t->call_count = 0;
    }
    if (t->call_count == HG_TOOL_CALLS_MAX)
        return hg_fail(err, HANGAR_E_USAGE, "\"%s\" is one of more than %d calls at once", where,
                       HG_TOOL_CALLS_MAX);
    t->calls[t->call_count++] = item;
    return hg_read_tool_call(id, hg_json_get(item, "name"), hg_json_get(item, "arguments"), where, t->w, err);
}

static hangar_code read_output(talk *t, const hg_jval *item, size_t index, hangar_err *err)
{
    char where[48];
    const char *id = hg_json_text(hg_json_get(item, "call_id"));
    snprintf(where, sizeof where, "input[%zu].output", index);
    if (!id) return hg_fail(err, HANGAR_E_USAGE, "\"input[%zu]\" needs a \"call_id\"", index);
    hangar_code code = hg_read_content(hg_json_get(item, "output"), where, text_parts, &t->text, err);
    if (code != HANGAR_OK) return code;
    begin_message(t, "tool", hg_buf_view(&t->text));
    const hg_jval *name = NULL;
    for (size_t i = 0; i < t->call_count && !name; i++)
        if (hg_streq(hg_json_text(hg_json_get(t->calls[i], "call_id")), id))
            name = hg_json_get(t->calls[i], "name");
    hg_read_tool_answer(id, name, t->w);
    hg_jw_end(t->w);
    return HANGAR_OK;
}

static hangar_code read_item(talk *t, const hg_jval *item, size_t index, hangar_err *err)
{
    const char *type = hg_json_text_or(hg_json_get(item, "type"), "message");
    if (hg_streq(type, "message")) return read_message(t, item, index, err);
    if (hg_streq(type, "function_call")) return read_call(t, item, index, err);
    if (hg_streq(type, "function_call_output")) return read_output(t, item, index, err);
    if (hg_streq(type, "reasoning")) return HANGAR_OK; /* what a model thought is not told to the next */
    if (hg_streq(type, "item_reference"))
        return hg_fail(err, HANGAR_E_USAGE, "\"input[%zu]\" refers to a kept item; nothing is kept here",
                       index);
    return hg_fail(err, HANGAR_E_USAGE,
                   "\"input[%zu]\" is a \"%s\"; messages, function calls and their outputs can be read",
                   index, type);
}

static hangar_code read_input(talk *t, const hg_jval *body, hangar_err *err)
{
    const hg_jval *input = hg_json_get(body, "input"), *instructions = hg_json_get(body, "instructions");
    hg_str text = {0};
    hangar_code code = HANGAR_OK;
    hg_jw_arr(t->w, "messages");
    if (hg_json_str(instructions, &text)) {
        begin_message(t, "system", text);
        hg_jw_end(t->w);
    } else if (!hg_json_is_null(instructions)) {
        return hg_fail(err, HANGAR_E_USAGE, "\"instructions\" must be text");
    }
    size_t before = t->count;
    if (hg_json_str(input, &text)) {
        begin_message(t, "user", text);
        hg_jw_end(t->w);
    } else if (hg_json_len(input) > HG_GENERATE_MESSAGES_MAX - 1) {
        return hg_fail(err, HANGAR_E_USAGE, "\"input\" holds more than %d items",
                       HG_GENERATE_MESSAGES_MAX - 1);
    }
    for (hg_json_iter it = hg_json_iter_of(input);
         hg_json_is_array(input) && code == HANGAR_OK && hg_json_next(&it);)
        code = read_item(t, it.val, it.index, err);
    if (code == HANGAR_OK && t->count == before)
        code = hg_fail(err, HANGAR_E_USAGE, "\"input\" must be text or a list of at least one message");
    end_calls(t);
    hg_jw_end(t->w);
    return code;
}

static hangar_code read_tools(const hg_jval *tools, hg_jw *w, hangar_err *err)
{
    if (hg_json_is_null(tools)) return HANGAR_OK;
    if (!hg_json_is_array(tools) || hg_json_len(tools) > HG_GENERATE_TOOLS_MAX)
        return hg_fail(err, HANGAR_E_USAGE, "\"tools\" must be a list of at most %d", HG_GENERATE_TOOLS_MAX);
    if (hg_json_len(tools) == 0) return HANGAR_OK;
    hg_jw_arr(w, "tools");
    for (hg_json_iter it = hg_json_iter_of(tools); hg_json_next(&it);) {
        char where[32];
        snprintf(where, sizeof where, "tools[%zu]", it.index);
        const char *type = hg_json_text_or(hg_json_get(it.val, "type"), "");
        if (!hg_streq(type, "function"))
            return hg_fail(err, HANGAR_E_USAGE, "\"%s\" is a \"%s\"; only functions can be called", where,
                           type);
        hangar_code code = hg_read_tool(it.val, where, w, err);
        if (code != HANGAR_OK) return code;
    }
    hg_jw_end(w);
    return HANGAR_OK;
}

static hangar_code read_format(const hg_jval *format, hg_jw *w, hangar_err *err)
{
    const char *type = hg_json_text_or(hg_json_get(format, "type"), "");
    if (hg_json_is_null(format) || hg_streq(type, "text")) return HANGAR_OK;
    if (hg_streq(type, "json_schema"))
        return hg_read_schema(hg_json_get(format, "schema"), "text.format.schema", w, err);
    if (!hg_streq(type, "json_object"))
        return hg_fail(err, HANGAR_E_USAGE, "\"text.format.type\" must be text, json_object or json_schema");
    hg_jw_bool(w, "json", true);
    return HANGAR_OK;
}

static hangar_code refuse(const hg_jval *body, hangar_err *err)
{
    static const struct {
        const char *key, *why;
    } none[] = {
        {"previous_response_id", "no state is kept here; send the whole conversation as \"input\""},
        {"conversation", "no state is kept here; send the whole conversation as \"input\""},
        {"background", "nothing is kept here that could be fetched later"},
        {"prompt", "there are no stored prompts here; use \"instructions\""},
        {"top_logprobs", "/v1/chat/completions tells of tokens"},
    };
    for (size_t i = 0; i < HG_LEN(none); i++) {
        hangar_code code = hg_read_nothing(body, none[i].key, none[i].why, err);
        if (code != HANGAR_OK) return code;
    }
    return HANGAR_OK;
}

/* The members of a response that repeat the request. */
static hangar_code make_echo(const hg_jval *body, char **out, hangar_err *err)
{
    static const char *const as_is[] = {"instructions", "max_output_tokens", "temperature", "top_p",
                                        "user",         "metadata"};
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w) return hg_fail_memory(err);
    hg_jw_obj(w, NULL);
    for (size_t i = 0; i < HG_LEN(as_is); i++) hg_jw_val(w, as_is[i], hg_json_get(body, as_is[i]));
    hg_jw_bool(w, "parallel_tool_calls", hg_json_bool_or(hg_json_get(body, "parallel_tool_calls"), true));
    hg_jw_null(w, "previous_response_id");
    hg_jw_bool(w, "store", false);
    hg_jw_text(w, "truncation", "disabled");
    const hg_jval *choice = hg_json_get(body, "tool_choice"), *tools = hg_json_get(body, "tools");
    if (hg_json_is_null(choice)) hg_jw_text(w, "tool_choice", "auto");
    else hg_jw_val(w, "tool_choice", choice);
    hg_jw_arr(w, "tools");
    for (hg_json_iter it = hg_json_iter_of(tools); hg_json_is_array(tools) && hg_json_next(&it);)
        hg_jw_val(w, NULL, it.val);
    hg_jw_end(w);
    const hg_jval *format = hg_json_path(body, "text", "format", NULL);
    hg_jw_obj(w, "text");
    if (hg_json_is_null(format)) {
        hg_jw_obj(w, "format");
        hg_jw_text(w, "type", "text");
        hg_jw_end(w);
    } else {
        hg_jw_val(w, "format", format);
    }
    return hg_jw_finish(w, false, out, err);
}

hangar_code hg_openai_response_read(const hg_jval *body, hg_ask_spec *spec, hg_shape *f, hangar_err *err)
{
    *spec = (hg_ask_spec){.kind = HG_ASK_GENERATE, .file = -1, .keep_alive = NAN};
    const hg_jval *tools = hg_json_get(body, "tools");
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w) return hg_fail_memory(err);
    spec->model = hg_read_model(body, err);
    if (!spec->model) return HANGAR_E_USAGE;
    talk t = {.w = w};
    hg_buf_init(&t.text, HG_ANSWER_BYTES);
    hg_jw_obj(w, NULL);
    hangar_code code = refuse(body, err);
    if (code == HANGAR_OK) code = read_input(&t, body, err);
    hg_buf_deinit(&t.text);
    if (code == HANGAR_OK) code = hg_read_sampling(body, w, err);
    if (code == HANGAR_OK)
        code = hg_read_integer(body, "max_output_tokens", 1, HG_GENERATE_CONTEXT_MAX, "max_tokens", w, err);
    if (code == HANGAR_OK) code = read_tools(tools, w, err);
    if (code == HANGAR_OK) code = hg_read_tool_choice(hg_json_get(body, "tool_choice"), tools, false, w, err);
    if (code == HANGAR_OK) code = read_format(hg_json_path(body, "text", "format", NULL), w, err);
    if (code == HANGAR_OK) code = make_echo(body, &f->echo, err);
    if (code != HANGAR_OK) return code;
    spec->streams = hg_json_bool_or(hg_json_get(body, "stream"), false);
    spec->spliceable =
        false; /* events name items by number and id; another's text would not be of the same item */
    return hg_read_doc(w, &spec->doc, err);
}
