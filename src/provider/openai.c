/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /v1/chat/completions with a stream of events: OpenAI, and by its url every server that speaks the same, like vLLM, llama-server
 * or another hangar.
 *
 * Left out, because the service refuses what it does not know: top_k, min_p, repeat_penalty, context, logprobs; who serves a model that takes
 * them names them in `extra`. Refused: grammar.
 */
#include "provider/dialect.h"

#include "base/mem.h"

static char *url(const hg_question *q)
{
    const char *base = q->own ? "https://api.openai.com" : q->target->url;
    return hg_provider_join(base, "/v1", "/chat/completions");
}

/* ---- the question ---- */

/* The arguments of a call as the text of a JSON object. */
static void write_arguments(hg_jw *w, const hg_jval *arguments)
{
    hg_str text;
    if (hg_json_str(arguments, &text)) {
        hg_jw_str(w, "arguments", text);
        return;
    }
    char *print = hg_json_is_null(arguments) ? hg_strdup("{}") : hg_json_print(arguments, false);
    hg_jw_text(w, "arguments", print);
    free(print);
}

static void write_calls(hg_jw *w, const hg_jval *calls)
{
    hg_jw_arr(w, "tool_calls");
    for (hg_json_iter it = hg_json_iter_of(calls); hg_json_next(&it);) {
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "id", hg_json_text_or(hg_json_get(it.val, "id"), ""));
        hg_jw_text(w, "type", "function");
        hg_jw_obj(w, "function");
        hg_jw_text(w, "name", hg_json_text_or(hg_json_path(it.val, "function", "name", NULL), ""));
        write_arguments(w, hg_json_path(it.val, "function", "arguments", NULL));
        hg_jw_end(w);
        hg_jw_end(w);
    }
    hg_jw_end(w);
}

static hangar_code write_message(hg_jw *w, const hg_jval *m, hangar_err *err)
{
    const hg_jval *calls = hg_json_get(m, "tool_calls");
    const char *id = hg_json_text(hg_json_get(m, "tool_call_id"));
    bool has_calls = hg_json_len(calls) > 0;
    hg_buf text;
    hangar_code code = hg_question_text(hg_json_get(m, "content"), &text, err);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "role", hg_json_text(hg_json_get(m, "role")));
    if (has_calls && text.len == 0) hg_jw_null(w, "content");
    else hg_jw_str(w, "content", hg_buf_view(&text));
    if (has_calls) write_calls(w, calls);
    if (id) hg_jw_text(w, "tool_call_id", id);
    hg_jw_end(w);
    hg_buf_deinit(&text);
    return code;
}

static hangar_code write_messages(const hg_question *q, hg_jw *w, hangar_err *err)
{
    const hg_jval *messages = NULL;
    hangar_code code = hg_question_messages(q, &messages, err);
    hg_jw_arr(w, "messages");
    for (hg_json_iter it = hg_json_iter_of(messages); code == HANGAR_OK && hg_json_next(&it);)
        code = write_message(w, it.val, err);
    if (code == HANGAR_OK && !messages) {
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "role", "user");
        hg_jw_val(w, "content", hg_json_get(q->ask, "prompt"));
        hg_jw_end(w);
    }
    hg_jw_end(w);
    return code;
}

static hangar_code write_tools(const hg_question *q, hg_jw *w, hangar_err *err)
{
    const hg_jval *tools = hg_json_get(q->ask, "tools");
    hg_tool_choice choice;
    const char *name;
    hangar_code code = hg_question_choice(q, &choice, &name, err);
    if (code != HANGAR_OK || hg_json_len(tools) == 0) return code;
    hg_jw_val(w, "tools", tools);
    if (choice == HG_TOOLS_ONE) {
        hg_jw_obj(w, "tool_choice");
        hg_jw_text(w, "type", "function");
        hg_jw_obj(w, "function");
        hg_jw_text(w, "name", name);
        hg_jw_end(w);
        hg_jw_end(w);
    } else if (choice != HG_TOOLS_UNSAID) {
        hg_jw_val(w, "tool_choice", hg_json_get(q->ask, "tool_choice"));
    }
    return HANGAR_OK;
}

#define STRICT_DEPTH 5 /* objects in each other that the service takes in a strict schema */

/* Words that a strict schema may hold. */
static bool is_strict_word(hg_str key)
{
    static const char *const words[] = {"type",  "properties", "required",    "additionalProperties",
                                        "items", "enum",       "const",       "anyOf",
                                        "$ref",  "$defs",      "definitions", "description",
                                        "title"};
    for (size_t i = 0; i < HG_LEN(words); i++)
        if (hg_str_eq(key, hg_str_of(words[i]))) return true;
    return false;
}

static bool is_strict(const hg_jval *schema, unsigned depth);

/* Every schema in an object or a list. */
static bool all_strict(const hg_jval *several, unsigned depth)
{
    for (hg_json_iter it = hg_json_iter_of(several); hg_json_next(&it);)
        if (!is_strict(it.val, depth)) return false;
    return true;
}

/*
 * Whether the service can hold its answer to the schema to the letter: nothing in it but words that it knows there, and objects that name
 * all their members as required and allow no others. It refuses "strict" with other schemas, and takes them as advice without.
 */
static bool is_strict(const hg_jval *schema, unsigned depth)
{
    const hg_jval *members = hg_json_get(schema, "properties");
    bool more = true;
    if (!hg_json_is_object(schema) || depth == 0) return false;
    for (hg_json_iter it = hg_json_iter_of(schema); hg_json_next(&it);)
        if (!is_strict_word(it.key)) return false;
    if (members || hg_streq(hg_json_text(hg_json_get(schema, "type")), "object")) {
        if (!hg_json_bool(hg_json_get(schema, "additionalProperties"), &more) || more) return false;
        for (hg_json_iter it = hg_json_iter_of(members); hg_json_next(&it);) {
            bool required = false;
            for (hg_json_iter r = hg_json_iter_of(hg_json_get(schema, "required")); hg_json_next(&r);)
                required |= hg_streq(hg_json_text(r.val), it.key.ptr);
            if (!required) return false;
        }
    }
    const hg_jval *items = hg_json_get(schema, "items");
    return (!items || is_strict(items, depth)) && all_strict(members, depth - 1) &&
           all_strict(hg_json_get(schema, "anyOf"), depth) &&
           all_strict(hg_json_get(schema, "$defs"), depth) &&
           all_strict(hg_json_get(schema, "definitions"), depth);
}

static hangar_code write_format(const hg_question *q, hg_jw *w, hangar_err *err)
{
    hg_json *schema = NULL;
    hangar_code code = hg_question_schema(q, &schema, err);
    if (code != HANGAR_OK) return code;
    if (schema) {
        hg_jw_obj(w, "response_format");
        hg_jw_text(w, "type", "json_schema");
        hg_jw_obj(w, "json_schema");
        hg_jw_text(w, "name", "answer");
        if (hg_json_is_object(hg_json_get(hg_json_root(schema), "properties")) &&
            is_strict(hg_json_root(schema), STRICT_DEPTH))
            hg_jw_bool(w, "strict", true);
        hg_jw_val(w, "schema", hg_json_root(schema));
        hg_jw_end(w);
        hg_jw_end(w);
    } else if (hg_json_bool_or(hg_json_get(q->ask, "json"), false)) {
        hg_jw_obj(w, "response_format");
        hg_jw_text(w, "type", "json_object");
        hg_jw_end(w);
    }
    hg_json_free(schema);
    return HANGAR_OK;
}

static hangar_code body(const hg_question *q, hg_jw *w, hangar_err *err)
{
    const hg_jval *stop = hg_json_get(q->ask, "stop");
    int64_t most = hg_question_most(q, 0), seed = hg_json_i64_or(hg_json_get(q->ask, "seed"), -1);
    hangar_code code = hg_question_lacks(q, "grammar", err);
    if (code != HANGAR_OK) return code;
    hg_jw_text(w, "model", q->target->model);
    code = write_messages(q, w, err);
    hg_question_number(q, w, "temperature", "temperature");
    hg_question_number(q, w, "top_p", "top_p");
    /* OpenAI's newer models refuse the old name; other servers may not know the new one. */
    if (most) hg_jw_i64(w, q->own ? "max_completion_tokens" : "max_tokens", most);
    if (seed >= 0) hg_jw_i64(w, "seed", seed);
    if (hg_json_len(stop) || hg_json_is_string(stop)) hg_jw_val(w, "stop", stop);
    if (code == HANGAR_OK) code = write_tools(q, w, err);
    if (code == HANGAR_OK) code = write_format(q, w, err);
    hg_jw_bool(w, "stream", true);
    hg_jw_obj(w, "stream_options");
    hg_jw_bool(w, "include_usage", true);
    hg_jw_end(w);
    return code;
}

/* ---- the answer ---- */

static void read_calls(hg_cloud_answer *a, const hg_jval *calls)
{
    for (hg_json_iter it = hg_json_iter_of(calls); hg_json_next(&it);) {
        const hg_jval *function = hg_json_get(it.val, "function");
        hg_str arguments = {"", 0};
        int64_t index = hg_json_i64_or(hg_json_get(it.val, "index"), (int64_t)it.index);
        hg_cloud_answer_tool *t = hg_cloud_answer_tool_at(a, index, hg_json_text(hg_json_get(it.val, "id")),
                                                          hg_json_text(hg_json_get(function, "name")));
        (void)hg_json_str(hg_json_get(function, "arguments"), &arguments);
        hg_cloud_answer_tool_add(a, t, arguments);
    }
}

static void read_finish(hg_cloud_answer *a, const char *reason)
{
    static const char *const known[] = {"stop", "length", "tool_calls", "content_filter"};
    const char *finish = hg_streq(reason, "function_call") ? "tool_calls" : "stop";
    for (size_t i = 0; i < HG_LEN(known); i++)
        if (hg_streq(reason, known[i])) finish = known[i];
    /* What the limit of tokens has cut off in the middle of a call is no call. */
    if (!hg_streq(finish, "length")) hg_cloud_answer_tools_end(a);
    hg_cloud_answer_finish(a, finish);
}

static bool is_too_long(const hg_jval *doc)
{
    return hg_streq(hg_json_text(hg_json_path(doc, "error", "code", NULL)), "context_length_exceeded");
}

/* An error that comes with the status 200: its "code" may be the status that it would have had. */
static void read_error(hg_cloud_answer *a, const hg_jval *doc)
{
    const hg_jval *code = hg_json_path(doc, "error", "code", NULL);
    bool client = hg_json_i64_or(code, 0) == 400;
    bool rate = hg_json_i64_or(code, 0) == 429 || hg_streq(hg_json_text(code), "rate_limit_exceeded");
    hg_cloud_answer_error(a,
                          is_too_long(doc) ? HG_CLOUD_TOO_LONG
                          : client         ? HG_CLOUD_CLIENT
                          : rate           ? HG_CLOUD_RATE
                                           : HG_CLOUD_SERVER,
                          hg_cloud_answer_words(doc));
}

static void fault(const hg_jval *doc, unsigned status, hg_cloud_fault *fault, double *retry_after)
{
    (void)retry_after;
    if (status == 400 && is_too_long(doc)) *fault = HG_CLOUD_TOO_LONG;
}

static void event(hg_cloud_answer *a, const char *name, const hg_jval *doc)
{
    const hg_jval *choice = hg_json_at(hg_json_get(doc, "choices"), 0);
    const hg_jval *delta = hg_json_get(choice, "delta"), *usage = hg_json_get(doc, "usage");
    const char *reason = hg_json_text(hg_json_get(choice, "finish_reason"));
    hg_str text;
    if (!hg_json_is_null(hg_json_get(doc, "error")) || hg_streq(name, "error")) {
        read_error(a, doc);
        return;
    }
    if (hg_json_str(hg_json_get(delta, "content"), &text)) hg_cloud_answer_text(a, text);
    if (hg_json_str(hg_json_get(delta, "refusal"), &text)) hg_cloud_answer_text(a, text);
    if (hg_json_is_string(hg_json_get(delta, "reasoning_content")) ||
        hg_json_is_string(hg_json_get(delta, "reasoning")))
        hg_cloud_answer_thought(a);
    read_calls(a, hg_json_get(delta, "tool_calls"));
    if (reason) read_finish(a, reason);
    if (hg_json_is_object(usage))
        hg_cloud_answer_usage(a, hg_json_i64_or(hg_json_get(usage, "prompt_tokens"), -1),
                              hg_json_i64_or(hg_json_get(usage, "completion_tokens"), -1));
}

static const char *const reserved[] = {"model", "messages", "stream", "stream_options", "n", NULL};

const hg_provider hg_provider_openai = {
    .name = "openai",
    .key_header = "Authorization: Bearer ",
    .reserved = reserved,
    .url = url,
    .body = body,
    .event = event,
    .fault = fault,
};
