/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /v1/messages with a stream of events: Anthropic's Claude.
 *
 * What a model can do is read from its name ("claude-3-7-sonnet-latest" is 3.7, "claude-opus-4-20250514" is 4.0): an answer that has begun is
 * gone on with up to 4.5, temperature and its like are taken up to 4.6, answers by a schema from 4.1 on. A name that is not Claude's is asked for
 * anything but the first. Left out: seed, min_p, repeat_penalty, context, logprobs; temperature above 1 goes out as 1. Refused: grammar,
 * json without a schema. max_tokens is a must here: MOST_TOKENS when the question has no limit.
 */
#include "provider/dialect.h"

#include "base/mem.h"

#include <ctype.h>

#define MOST_TOKENS     8192
#define MOST_TOKENS_OLD 4096 /* of models before 3.5, which write no more */

static char *url(const hg_question *q)
{
    return hg_provider_join(q->own ? "https://api.anthropic.com" : q->target->url, "/v1", "/messages");
}

/* ---- what a model can do ---- */

#define NO_VERSION (-1)
#define NEWEST     1000

/* A number of at most two digits in a name, else NO_VERSION (a date, a word). */
static int small_number(hg_str part)
{
    uint64_t n;
    return part.len <= 2 && hg_u64_parse(part, &n) ? (int)n : NO_VERSION;
}

/* Ten times the version of a Claude, plus its minor one: 37 for 3.7. NEWEST when the name says none; NO_VERSION for other models. */
static int version_of(const char *model)
{
    hg_str rest = hg_str_of(model), part;
    const char *name = strstr(model, "claude-");
    if (!name) return NO_VERSION;
    rest = hg_str_of(name + 7);
    rest.len = strcspn(rest.ptr, "@:"); /* "claude-3-7-sonnet@20250219" */
    for (bool more = true; more;) {
        more = hg_str_cut(&rest, '-', &part);
        if (hg_str_eq(part, HG_STR("instant"))) return 12;
        hg_str major = part, minor = {"", 0};
        if (hg_str_cut(&part, '.', &major)) minor = part; /* "claude-2.1" */
        int version = small_number(major);
        if (version == NO_VERSION) continue;
        if (minor.len == 0) (void)hg_str_cut(&rest, '-', &minor);
        int below = small_number(minor);
        return version * 10 + (below > 0 && below < 10 ? below : 0);
    }
    return NEWEST;
}

static bool continues(const char *model)
{
    int version = version_of(model);
    return version != NO_VERSION && version <= 45;
}

/* ---- the question ---- */

static void write_text_block(hg_jw *w, hg_str text)
{
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "type", "text");
    hg_jw_str(w, "text", text);
    hg_jw_end(w);
}

static hangar_code write_assistant(hg_jw *w, const hg_jval *calls, hg_str text, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    if (hg_json_len(calls) == 0) {
        hg_jw_str(w, "content", text);
        return code;
    }
    hg_jw_arr(w, "content");
    if (text.len) write_text_block(w, text);
    for (hg_json_iter it = hg_json_iter_of(calls); code == HANGAR_OK && hg_json_next(&it);) {
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "type", "tool_use");
        hg_jw_text(w, "id", hg_json_text_or(hg_json_get(it.val, "id"), ""));
        hg_jw_text(w, "name", hg_json_text_or(hg_json_path(it.val, "function", "name", NULL), ""));
        code = hg_question_arguments(it.val, w, "input", err);
        hg_jw_end(w);
    }
    hg_jw_end(w);
    return code;
}

static void write_result(hg_jw *w, const hg_jval *m, hg_str text)
{
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "type", "tool_result");
    hg_jw_text(w, "tool_use_id", hg_json_text_or(hg_json_get(m, "tool_call_id"), ""));
    hg_jw_str(w, "content", text);
    hg_jw_end(w);
}

/* One message; the results of tools that follow each other are one message of the user's. `in_results`: such a one is open. */
static hangar_code write_message(hg_jw *w, const hg_jval *m, bool *in_results, hangar_err *err)
{
    const char *role = hg_json_text(hg_json_get(m, "role"));
    bool result = hg_streq(role, "tool");
    hg_buf text;
    hangar_code code = hg_question_text(hg_json_get(m, "content"), &text, err);
    if (*in_results && !result) {
        hg_jw_end(w);
        hg_jw_end(w);
    }
    if (!*in_results || !result) {
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "role", result ? "user" : role);
    }
    if (result && !*in_results) hg_jw_arr(w, "content");
    if (result) write_result(w, m, hg_buf_view(&text));
    else if (code == HANGAR_OK)
        code = write_assistant(w, hg_json_get(m, "tool_calls"), hg_buf_view(&text), err);
    if (!result) hg_jw_end(w);
    *in_results = result;
    hg_buf_deinit(&text);
    return code;
}

/* The answer that has begun, without the blanks at its end, which the service refuses there. */
static hg_str prefill(const hg_question *q)
{
    hg_str s = q->begun;
    while (s.len && isspace((unsigned char)s.ptr[s.len - 1])) s.len--;
    return s;
}

static hangar_code write_messages(const hg_question *q, const hg_jval *messages, hg_jw *w, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    bool in_results = false;
    hg_str begun = prefill(q), prompt;
    hg_jw_arr(w, "messages");
    for (hg_json_iter it = hg_json_iter_of(messages); code == HANGAR_OK && hg_json_next(&it);)
        if (!hg_streq(hg_json_text(hg_json_get(it.val, "role")), "system"))
            code = write_message(w, it.val, &in_results, err);
    if (in_results) {
        hg_jw_end(w);
        hg_jw_end(w);
    }
    if (!messages && hg_json_str(hg_json_get(q->ask, "prompt"), &prompt)) {
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "role", "user");
        hg_jw_str(w, "content", prompt);
        hg_jw_end(w);
    }
    if (begun.len) {
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "role", "assistant");
        hg_jw_str(w, "content", begun);
        hg_jw_end(w);
    }
    hg_jw_end(w);
    return code;
}

static hangar_code write_tools(const hg_question *q, hg_jw *w, hangar_err *err)
{
    static const char *const types[] = {[HG_TOOLS_AUTO] = "auto",
                                        [HG_TOOLS_NONE] = "none",
                                        [HG_TOOLS_REQUIRED] = "any",
                                        [HG_TOOLS_ONE] = "tool"};
    const hg_jval *tools = hg_json_get(q->ask, "tools");
    hg_tool_choice choice;
    const char *name;
    hangar_code code = hg_question_choice(q, &choice, &name, err);
    if (code != HANGAR_OK || hg_json_len(tools) == 0) return code;
    hg_jw_arr(w, "tools");
    for (hg_json_iter it = hg_json_iter_of(tools); hg_json_next(&it);) {
        const hg_jval *f = hg_json_get(it.val, "function");
        const hg_jval *about = hg_json_get(f, "description"), *parameters = hg_json_get(f, "parameters");
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "name", hg_json_text_or(hg_json_get(f, "name"), ""));
        if (hg_json_is_string(about)) hg_jw_val(w, "description", about);
        if (hg_json_is_object(parameters)) {
            hg_jw_val(w, "input_schema", parameters);
        } else {
            hg_jw_obj(w, "input_schema");
            hg_jw_text(w, "type", "object");
            hg_jw_end(w);
        }
        hg_jw_end(w);
    }
    hg_jw_end(w);
    if (choice == HG_TOOLS_UNSAID) return HANGAR_OK;
    hg_jw_obj(w, "tool_choice");
    hg_jw_text(w, "type", types[choice]);
    if (choice == HG_TOOLS_ONE) hg_jw_text(w, "name", name);
    hg_jw_end(w);
    return HANGAR_OK;
}

static void write_sampling(const hg_question *q, int version, hg_jw *w)
{
    double temperature = 0;
    const hg_jval *t = hg_json_get(q->ask, "temperature");
    if (version > 46) return;
    bool heated = hg_json_f64(t, &temperature);
    if (heated && temperature > 1) hg_jw_i64(w, "temperature", 1);
    else if (heated) hg_jw_val(w, "temperature", t);
    /* From 4.1 on it is one or the other. */
    if (!heated || version < 41) hg_question_number(q, w, "top_p", "top_p");
    if (hg_json_i64_or(hg_json_get(q->ask, "top_k"), 0) > 0) hg_question_number(q, w, "top_k", "top_k");
}

static hangar_code write_schema(const hg_question *q, int version, hg_jw *w, hangar_err *err)
{
    hg_json *schema = NULL;
    bool old = version != NO_VERSION && version < 41;
    hangar_code code = hg_question_schema(q, &schema, err);
    if (code == HANGAR_OK && !schema) code = hg_question_lacks(q, "json", err);
    if (code == HANGAR_OK && old) code = hg_question_lacks(q, "json_schema", err);
    if (code == HANGAR_OK && schema) {
        hg_jw_obj(w, "output_config");
        hg_jw_obj(w, "format");
        hg_jw_text(w, "type", "json_schema");
        hg_jw_val(w, "schema", hg_json_root(schema));
        hg_jw_end(w);
        hg_jw_end(w);
    }
    hg_json_free(schema);
    return code;
}

static hangar_code write_system(const hg_jval *messages, hg_jw *w, hangar_err *err)
{
    hg_buf text;
    hangar_code code = hg_question_system(messages, &text, err);
    if (code == HANGAR_OK && text.len) hg_jw_str(w, "system", hg_buf_view(&text));
    hg_buf_deinit(&text);
    return code;
}

static void write_stop(const hg_question *q, hg_jw *w)
{
    const hg_jval *stop = hg_json_get(q->ask, "stop");
    if (hg_json_is_string(stop)) {
        hg_jw_arr(w, "stop_sequences");
        hg_jw_val(w, NULL, stop);
        hg_jw_end(w);
    } else if (hg_json_len(stop)) {
        hg_jw_val(w, "stop_sequences", stop);
    }
}

/* The limit of `extra`, when the question has none, else ours. */
static int64_t most_tokens(const hg_question *q, int version)
{
    int64_t most = version != NO_VERSION && version < 35 ? MOST_TOKENS_OLD : MOST_TOKENS;
    most = hg_json_i64_or(hg_json_get(q->target->extra, "max_tokens"), most);
    return hg_question_most(q, most);
}

static hangar_code body(const hg_question *q, hg_jw *w, hangar_err *err)
{
    int version = version_of(q->target->model);
    const hg_jval *messages = NULL;
    hangar_code code = hg_question_lacks(q, "grammar", err);
    if (code == HANGAR_OK) code = hg_question_messages(q, &messages, err);
    if (code != HANGAR_OK) return code;
    hg_jw_text(w, "model", q->target->model);
    hg_jw_i64(w, "max_tokens", most_tokens(q, version));
    code = write_system(messages, w, err);
    if (code == HANGAR_OK) code = write_messages(q, messages, w, err);
    write_sampling(q, version, w);
    write_stop(q, w);
    if (code == HANGAR_OK) code = write_tools(q, w, err);
    if (code == HANGAR_OK) code = write_schema(q, version, w, err);
    hg_jw_bool(w, "stream", true);
    return code;
}

/* ---- the answer ---- */

static hangar_code begin(const hg_question *q, hg_cloud_answer *a, hangar_err *err)
{
    hg_str sent = prefill(q);
    if (sent.len == q->begun.len) return HANGAR_OK;
    a->skip = hg_strndup(q->begun.ptr + sent.len, q->begun.len - sent.len);
    return a->skip ? HANGAR_OK : hg_fail_memory(err);
}

static void read_delta(hg_cloud_answer *a, int64_t index, const hg_jval *delta)
{
    const char *type = hg_json_text_or(hg_json_get(delta, "type"), "");
    hg_str text;
    if (hg_streq(type, "text_delta") && hg_json_str(hg_json_get(delta, "text"), &text))
        hg_cloud_answer_text(a, text);
    else if (hg_streq(type, "input_json_delta") && hg_json_str(hg_json_get(delta, "partial_json"), &text))
        hg_cloud_answer_tool_add(a, hg_cloud_answer_tool_at(a, index, NULL, NULL), text);
    else if (hg_streq(type, "thinking_delta")) hg_cloud_answer_thought(a);
}

static void read_start(hg_cloud_answer *a, int64_t index, const hg_jval *block)
{
    const hg_jval *input = hg_json_get(block, "input");
    hg_str text;
    if (hg_streq(hg_json_text(hg_json_get(block, "type")), "tool_use")) {
        hg_cloud_answer_tool *t = hg_cloud_answer_tool_at(a, index, hg_json_text(hg_json_get(block, "id")),
                                                          hg_json_text(hg_json_get(block, "name")));
        char *whole = hg_json_len(input) ? hg_json_print(input, false) : NULL;
        hg_cloud_answer_tool_add(a, t, hg_str_of(whole));
        free(whole);
    } else if (hg_json_str(hg_json_get(block, "text"), &text)) {
        hg_cloud_answer_text(a, text);
    }
}

static void read_usage(hg_cloud_answer *a, const hg_jval *usage)
{
    static const char *const kinds[] = {"input_tokens", "cache_read_input_tokens",
                                        "cache_creation_input_tokens"};
    int64_t prompt = -1;
    for (size_t i = 0; i < HG_LEN(kinds); i++) {
        int64_t n = hg_json_i64_or(hg_json_get(usage, kinds[i]), -1);
        if (n >= 0 && n < INT64_MAX / 4) prompt = (prompt < 0 ? 0 : prompt) + n;
    }
    hg_cloud_answer_usage(a, prompt, hg_json_i64_or(hg_json_get(usage, "output_tokens"), -1));
}

static void read_reason(hg_cloud_answer *a, const char *reason)
{
    static const char *const rows[][2] = {{"max_tokens", "length"},
                                          {"model_context_window_exceeded", "length"},
                                          {"tool_use", "tool_calls"},
                                          {"refusal", "content_filter"}};
    const char *finish = "stop";
    for (size_t i = 0; i < HG_LEN(rows); i++)
        if (hg_streq(reason, rows[i][0])) finish = rows[i][1];
    /* Calls are told when it is known that no limit has cut the last one off. */
    if (!hg_streq(finish, "length")) hg_cloud_answer_tools_end(a);
    hg_cloud_answer_finish(a, finish);
}

static void read_error(hg_cloud_answer *a, const hg_jval *doc)
{
    const char *type = hg_json_text(hg_json_path(doc, "error", "type", NULL));
    hg_cloud_fault fault = HG_CLOUD_SERVER;
    if (hg_streq(type, "rate_limit_error")) fault = HG_CLOUD_RATE;
    else if (hg_streq(type, "invalid_request_error")) fault = HG_CLOUD_CLIENT;
    hg_cloud_answer_error(a, fault, hg_cloud_answer_words(doc));
}

static void event(hg_cloud_answer *a, const char *name, const hg_jval *doc)
{
    const char *type = hg_json_text_or(hg_json_get(doc, "type"), name);
    int64_t index = hg_json_i64_or(hg_json_get(doc, "index"), 0);
    if (hg_streq(type, "content_block_delta")) {
        read_delta(a, index, hg_json_get(doc, "delta"));
    } else if (hg_streq(type, "content_block_start")) {
        read_start(a, index, hg_json_get(doc, "content_block"));
    } else if (hg_streq(type, "message_start")) {
        read_usage(a, hg_json_path(doc, "message", "usage", NULL));
    } else if (hg_streq(type, "message_delta")) {
        const char *reason = hg_json_text(hg_json_path(doc, "delta", "stop_reason", NULL));
        read_usage(a, hg_json_get(doc, "usage"));
        if (reason) read_reason(a, reason);
    } else if (hg_streq(type, "message_stop")) {
        a->done = true;
    } else if (hg_streq(type, "error")) {
        read_error(a, doc);
    }
}

static const char *const headers[] = {"anthropic-version: 2023-06-01", NULL};
static const char *const reserved[] = {"model", "messages", "system", "stream", NULL};

const hg_provider hg_provider_anthropic = {
    .name = "anthropic",
    .key_header = "x-api-key: ",
    .headers = headers,
    .reserved = reserved,
    .url = url,
    .body = body,
    .begin = begin,
    .event = event,
    .continues = continues,
};
