/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/chat/completions: messages to a question, an answer to chunks or to one document. */
#include "api/dialect.h"
#include "base/mem.h"
#include "format/generate.h"

#include <math.h>
#include <stdio.h>

/* ---- reading ---- */

static const char *const text_parts[] = {"text", "refusal", NULL};

/* An assistant's earlier tool calls: arguments are text in this dialect. */
static hangar_code read_calls(const hg_jval *calls, size_t message, hg_jw *w, hangar_err *err)
{
    if (hg_json_is_null(calls)) return HANGAR_OK;
    if (!hg_json_is_array(calls) || hg_json_len(calls) > HG_TOOL_CALLS_MAX)
        return hg_fail(err, HANGAR_E_USAGE, "\"messages[%zu].tool_calls\" must be a list of at most %d",
                       message, HG_TOOL_CALLS_MAX);
    if (hg_json_len(calls) == 0) return HANGAR_OK;
    hg_jw_arr(w, "tool_calls");
    for (hg_json_iter it = hg_json_iter_of(calls); hg_json_next(&it);) {
        char where[80];
        snprintf(where, sizeof where, "messages[%zu].tool_calls[%zu].function", message, it.index);
        const hg_jval *fn = hg_json_get(it.val, "function");
        const char *id = hg_json_text(hg_json_get(it.val, "id"));
        if (!id)
            return hg_fail(err, HANGAR_E_USAGE, "\"messages[%zu].tool_calls[%zu]\" needs an \"id\"", message,
                           it.index);
        hangar_code code =
            hg_read_tool_call(id, hg_json_get(fn, "name"), hg_json_get(fn, "arguments"), where, w, err);
        if (code != HANGAR_OK) return code;
    }
    hg_jw_end(w);
    return HANGAR_OK;
}

/* The name of the call with that id among those of the assistant's last turn; NULL when there is none. */
static const hg_jval *called(const hg_jval *calls, const char *id)
{
    for (hg_json_iter it = hg_json_iter_of(calls); hg_json_is_array(calls) && hg_json_next(&it);)
        if (hg_streq(hg_json_text(hg_json_get(it.val, "id")), id))
            return hg_json_path(it.val, "function", "name", NULL);
    return NULL;
}

/* *last: the tool calls of the assistant's last turn. */
static hangar_code read_message(const hg_jval *m, size_t index, const hg_jval **last, hg_buf *text, hg_jw *w,
                                hangar_err *err)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool"};
    const char *role = hg_json_text_or(hg_json_get(m, "role"), "");
    const hg_jval *content = hg_json_get(m, "content"), *calls = hg_json_get(m, "tool_calls");
    bool known = false;
    if (hg_streq(role, "developer")) role = "system";
    for (size_t i = 0; i < HG_LEN(roles) && !known; i++) known = hg_streq(role, roles[i]);
    if (!known)
        return hg_fail(err, HANGAR_E_USAGE,
                       "\"messages[%zu].role\" must be system, developer, user, assistant or tool", index);
    if (hg_json_is_null(content) && !hg_streq(role, "assistant"))
        return hg_fail(err, HANGAR_E_USAGE, "\"messages[%zu]\" needs a \"content\"", index);
    char where[48];
    snprintf(where, sizeof where, "messages[%zu].content", index);
    hangar_code code = hg_read_content(content, where, text_parts, text, err);
    if (code != HANGAR_OK) return code;
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "role", role);
    hg_jw_str(w, "content", hg_buf_view(text));
    if (hg_streq(role, "assistant")) {
        *last = calls;
        code = read_calls(calls, index, w, err);
    }
    if (code == HANGAR_OK && hg_streq(role, "tool")) {
        const char *id = hg_json_text(hg_json_get(m, "tool_call_id"));
        if (!id) return hg_fail(err, HANGAR_E_USAGE, "\"messages[%zu]\" needs a \"tool_call_id\"", index);
        hg_read_tool_answer(id, called(*last, id), w);
    }
    hg_jw_end(w);
    return code;
}

static hangar_code read_messages(const hg_jval *list, hg_jw *w, hangar_err *err)
{
    size_t count = hg_json_is_array(list) ? hg_json_len(list) : 0;
    if (count == 0 || count > HG_GENERATE_MESSAGES_MAX)
        return hg_fail(err, HANGAR_E_USAGE, "\"messages\" must be a list of 1 to %d messages",
                       HG_GENERATE_MESSAGES_MAX);
    hg_buf text;
    const hg_jval *last = NULL;
    hg_buf_init(&text, HG_ANSWER_BYTES);
    hangar_code code = HANGAR_OK;
    hg_jw_arr(w, "messages");
    for (hg_json_iter it = hg_json_iter_of(list); code == HANGAR_OK && hg_json_next(&it);)
        code = read_message(it.val, it.index, &last, &text, w, err);
    hg_jw_end(w);
    hg_buf_deinit(&text);
    return code;
}

/* *out_json: the answer must be JSON. */
static hangar_code read_format(const hg_jval *format, hg_jw *w, bool *out_json, hangar_err *err)
{
    const char *type = hg_json_text_or(hg_json_get(format, "type"), "");
    *out_json = true;
    if (hg_streq(type, "json_schema"))
        return hg_read_schema(hg_json_path(format, "json_schema", "schema", NULL),
                              "response_format.json_schema.schema", w, err);
    if (hg_streq(type, "json_object")) {
        hg_jw_bool(w, "json", true);
        return HANGAR_OK;
    }
    *out_json = false;
    if (hg_json_is_null(format) || hg_streq(type, "text")) return HANGAR_OK;
    return hg_fail(err, HANGAR_E_USAGE, "\"response_format.type\" must be text, json_object or json_schema");
}

static hangar_code read_logprobs(const hg_jval *body, hg_jw *w, hg_shape *f, hangar_err *err)
{
    int64_t top = 0;
    hangar_code code = hg_read_logprobs(body, w, f, &top, err);
    if (code == HANGAR_OK && top > 0 && !f->logprobs)
        code = hg_fail(err, HANGAR_E_USAGE, "\"top_logprobs\" needs \"logprobs\" to be true");
    return code;
}

/* What no engine here can do; said plainly instead of being passed over, for the answer would not be what was asked for. */
static hangar_code refuse(const hg_jval *body, hangar_err *err)
{
    static const struct {
        const char *key, *why;
    } none[] = {
        {"logit_bias", "the engines have no bias on tokens"},
        {"functions", "it was replaced by \"tools\""},
        {"function_call", "it was replaced by \"tool_choice\""},
        {"audio", "answers are text"},
        {"web_search_options", "no model here searches the web"},
    };
    int64_t n = 1;
    for (size_t i = 0; i < HG_LEN(none); i++) {
        hangar_code code = hg_read_nothing(body, none[i].key, none[i].why, err);
        if (code != HANGAR_OK) return code;
    }
    const hg_jval *v = hg_json_get(body, "n");
    if (!hg_json_is_null(v) && (!hg_json_i64(v, &n) || n != 1))
        return hg_fail(err, HANGAR_E_USAGE, "\"n\" must be 1: one answer to one request");
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(body, "modalities")); hg_json_next(&it);)
        if (!hg_streq(hg_json_text(it.val), "text"))
            return hg_fail(err, HANGAR_E_USAGE, "\"modalities\" must be [\"text\"]: answers are text");
    return HANGAR_OK;
}

static hangar_code read_body(const hg_jval *body, hg_ask_spec *spec, hg_shape *f, hg_jw *w, hangar_err *err)
{
    const hg_jval *tools = hg_json_get(body, "tools");
    const char *most =
        hg_json_is_null(hg_json_get(body, "max_completion_tokens")) ? "max_tokens" : "max_completion_tokens";
    size_t tool_count = 0;
    bool json = false;
    hangar_code code = refuse(body, err);
    hg_jw_obj(w, NULL);
    if (code == HANGAR_OK) code = read_messages(hg_json_get(body, "messages"), w, err);
    if (code == HANGAR_OK) code = hg_read_sampling(body, w, err);
    if (code == HANGAR_OK)
        code = hg_read_integer(body, most, 1, HG_GENERATE_CONTEXT_MAX, "max_tokens", w, err);
    if (code == HANGAR_OK) code = hg_read_tools(tools, w, &tool_count, err);
    if (code == HANGAR_OK) code = hg_read_tool_choice(hg_json_get(body, "tool_choice"), tools, true, w, err);
    if (code == HANGAR_OK) code = read_format(hg_json_get(body, "response_format"), w, &json, err);
    if (code == HANGAR_OK) code = read_logprobs(body, w, f, err);
    if (code == HANGAR_OK) code = hg_read_keep_alive(hg_json_get(body, "keep_alive"), &spec->keep_alive, err);
    spec->streams = hg_json_bool_or(hg_json_get(body, "stream"), false);
    spec->spliceable = spec->streams && !json && tool_count == 0;
    f->usage = hg_json_bool_or(hg_json_path(body, "stream_options", "include_usage", NULL), false);
    return code;
}

hangar_code hg_openai_chat_read(const hg_jval *body, hg_ask_spec *spec, hg_shape *f, hangar_err *err)
{
    *spec = (hg_ask_spec){.kind = HG_ASK_GENERATE, .file = -1, .keep_alive = NAN};
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w) return hg_fail_memory(err);
    spec->model = hg_read_model(body, err);
    if (!spec->model) return HANGAR_E_USAGE;
    hangar_code code = read_body(body, spec, f, w, err);
    return code == HANGAR_OK ? hg_read_doc(w, &spec->doc, err) : code;
}

/* ---- writing ---- */

/* Everything of a chunk up to its choices. */
static void put_base(const hg_shape *f, const char *object, hg_buf *out)
{
    hg_buf_printf(out, "{\"id\":\"chatcmpl-%s\",\"object\":\"%s\",\"created\":%lld,\"model\":", f->id, object,
                  (long long)f->created);
    hg_put_json(out, hg_str_of(f->model));
    hg_buf_puts(out, ",\"choices\":[");
}

static void head(hg_shape *f)
{
    hg_buf_puts(&f->lead, "data: ");
    put_base(f, "chat.completion.chunk", &f->lead);
    f->lead_base = f->lead.len;
    hg_buf_puts(&f->lead, "{\"index\":0,\"delta\":{\"content\":");
}

static void put_lead_base(const hg_shape *f, hg_buf *out)
{
    hg_buf_add(out, hg_buf_text(&f->lead), f->lead_base);
}

static void put_chunk_end(const hg_shape *f, hg_buf *out)
{
    hg_buf_puts(out, f->usage ? "],\"usage\":null}\n\n" : "]}\n\n");
}

static void begin(hg_shape *f, hg_buf *out)
{
    put_lead_base(f, out);
    hg_buf_puts(
        out,
        "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null},\"logprobs\":null,"
        "\"finish_reason\":null}");
    put_chunk_end(f, out);
}

static void text(hg_shape *f, hg_str literal, const hg_jval *logprobs, hg_buf *out)
{
    hg_buf_str(out, hg_buf_view(&f->lead));
    hg_buf_str(out, literal);
    if (logprobs && f->logprobs) {
        hg_buf_puts(out, "},\"logprobs\":{\"content\":[");
        hg_put_logprobs(out, logprobs);
        hg_buf_puts(out, "],\"refusal\":null},\"finish_reason\":null}");
    } else {
        hg_buf_puts(out, "},\"logprobs\":null,\"finish_reason\":null}");
    }
    put_chunk_end(f, out);
}

/* {"id","type","function":{...}} without the first brace. */
static void put_tool(const hg_said_tool *t, hg_buf *out)
{
    hg_buf_puts(out, "\"id\":");
    hg_put_json(out, hg_str_of(t->id));
    hg_buf_puts(out, ",\"type\":\"function\",\"function\":{\"name\":");
    hg_put_json(out, hg_str_of(t->name));
    hg_buf_puts(out, ",\"arguments\":");
    hg_put_json(out, hg_str_of(t->arguments));
    hg_buf_puts(out, "}}");
}

static hangar_code tool(hg_shape *f, const hg_said_tool *t, hg_buf *out, hangar_err *err)
{
    (void)err;
    put_lead_base(f, out);
    hg_buf_printf(out, "{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":%zu,", f->tool_count - 1);
    put_tool(t, out);
    hg_buf_puts(out, "]},\"logprobs\":null,\"finish_reason\":null}");
    put_chunk_end(f, out);
    return HANGAR_OK;
}

void hg_openai_put_usage(const hg_ask_end *end, hg_buf *out)
{
    int64_t prompt = end->prompt_tokens, made = end->generated_tokens;
    if (prompt < 0 || made < 0) {
        hg_buf_puts(out, "null");
        return;
    }
    hg_buf_printf(out, "{\"prompt_tokens\":%lld,\"completion_tokens\":%lld,\"total_tokens\":%lld",
                  (long long)prompt, (long long)made, (long long)(prompt + made));
    if (end->prompt_reused >= 0)
        hg_buf_printf(out, ",\"prompt_tokens_details\":{\"cached_tokens\":%lld}",
                      (long long)end->prompt_reused);
    hg_buf_putc(out, '}');
}

static void end(hg_shape *f, const hg_ask_end *e, hg_buf *out)
{
    put_lead_base(f, out);
    hg_buf_puts(out, "{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":");
    hg_put_json(out, hg_str_of(e->finish));
    hg_buf_putc(out, '}');
    put_chunk_end(f, out);
    if (f->usage) {
        put_lead_base(f, out);
        hg_buf_puts(out, "],\"usage\":");
        hg_openai_put_usage(e, out);
        hg_buf_puts(out, "}\n\n");
    }
    hg_buf_puts(out, "data: [DONE]\n\n");
}

void hg_openai_put_fail(hg_shape *f, const hangar_err *err, hg_buf *out)
{
    (void)f;
    hg_buf_puts(out, "data: ");
    hg_put_error(out, HG_DIALECT_OPENAI, err);
    hg_buf_puts(out, "\n\n");
}

static hangar_code whole(hg_shape *f, const hg_ask_end *e, hg_buf *out, hangar_err *err)
{
    HG_AUTO(hg_json_auto_free) hg_json *probs = f->logprobs ? hg_shape_probs(f) : NULL;
    (void)err;
    put_base(f, "chat.completion", out);
    hg_buf_puts(out, "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":");
    if (f->said.len == 0 && f->tool_count > 0) {
        hg_buf_puts(out, "null");
    } else {
        hg_buf_putc(out, '"');
        hg_buf_str(out, hg_buf_view(&f->said));
        hg_buf_putc(out, '"');
    }
    hg_buf_puts(out, ",\"refusal\":null");
    for (size_t i = 0; i < f->tool_count; i++) {
        hg_buf_puts(out, i ? ",{" : ",\"tool_calls\":[{");
        put_tool(&f->tools[i], out);
    }
    hg_buf_puts(out, f->tool_count ? "]},\"logprobs\":" : "},\"logprobs\":");
    if (probs) {
        hg_buf_puts(out, "{\"content\":[");
        hg_put_logprobs(out, hg_json_root(probs));
        hg_buf_puts(out, "],\"refusal\":null}");
    } else {
        hg_buf_puts(out, "null");
    }
    hg_buf_puts(out, ",\"finish_reason\":");
    hg_put_json(out, hg_str_of(e->finish));
    hg_buf_puts(out, "}]");
    if (e->prompt_tokens >= 0 && e->generated_tokens >= 0) {
        hg_buf_puts(out, ",\"usage\":");
        hg_openai_put_usage(e, out);
    }
    hg_buf_putc(out, '}');
    return HANGAR_OK;
}

const hg_shape_fns hg_shape_openai_chat = {.stream_type = "text/event-stream",
                                           .head = head,
                                           .begin = begin,
                                           .text = text,
                                           .tool = tool,
                                           .end = end,
                                           .fail = hg_openai_put_fail,
                                           .whole = whole};
