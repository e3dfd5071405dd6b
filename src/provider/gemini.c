/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /v1beta/models/MODEL:streamGenerateContent?alt=sse: Google's Gemini.
 *
 * Schemas go out as they are, in the fields that take JSON Schema (responseJsonSchema, parametersJsonSchema); the older responseSchema and
 * parameters refuse what OpenAPI does not know, like additionalProperties. `safety_settings` in `extra` becomes safetySettings. Models from
 * Gemini 3 on refuse a call in the history without the signature of the thought behind it; hangar's question has no place for one, so the
 * word goes out that Google documents for calls that another model made. Left out: min_p, repeat_penalty, context, logprobs. Refused:
 * grammar.
 */
#include "provider/dialect.h"

#include "base/mem.h"

#define NO_SIGNATURE "skip_thought_signature_validator"

/* A model's name as a part of the path. */
static void quote_model(hg_buf *out, const char *model)
{
    bool whole = strncmp(model, "models/", 7) == 0 || strncmp(model, "tunedModels/", 12) == 0;
    hg_buf_puts(out, whole ? "" : "models/");
    for (const char *c = model; *c; c++) {
        bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
                     strchr("-._~/@:", *c);
        if (plain) hg_buf_putc(out, *c);
        else hg_buf_printf(out, "%%%02X", (unsigned)(unsigned char)*c);
    }
}

static char *url(const hg_question *q)
{
    hg_buf path;
    hg_buf_init(&path, HG_MIB);
    hg_buf_putc(&path, '/');
    quote_model(&path, q->target->model);
    hg_buf_puts(&path, ":streamGenerateContent?alt=sse");
    const char *base = q->own ? "https://generativelanguage.googleapis.com" : q->target->url;
    char *out = path.state == HANGAR_OK ? hg_provider_join(base, "/v1beta", path.data) : NULL;
    hg_buf_deinit(&path);
    return out;
}

/* ---- the question ---- */

static void write_text_part(hg_jw *w, hg_str text)
{
    hg_jw_obj(w, NULL);
    hg_jw_str(w, "text", text);
    hg_jw_end(w);
}

/* True for the models that want signatures. */
static bool wants_signature(const char *model)
{
    const char *name = strrchr(model, '/');
    name = name ? name + 1 : model;
    return strncmp(name, "gemini-", 7) == 0 && name[7] >= '3' && name[7] <= '9';
}

static hangar_code write_calls(hg_jw *w, const hg_jval *calls, bool sign, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    for (hg_json_iter it = hg_json_iter_of(calls); code == HANGAR_OK && hg_json_next(&it);) {
        hg_jw_obj(w, NULL);
        hg_jw_obj(w, "functionCall");
        hg_jw_text(w, "name", hg_json_text_or(hg_json_path(it.val, "function", "name", NULL), ""));
        code = hg_question_arguments(it.val, w, "args", err);
        hg_jw_end(w);
        if (sign && it.index == 0) hg_jw_text(w, "thoughtSignature", NO_SIGNATURE);
        hg_jw_end(w);
    }
    return code;
}

/* What a tool has answered: a JSON object as it is, anything else as its "output". */
static void write_response(hg_jw *w, const hg_jval *messages, const hg_jval *m, hg_str text)
{
    hg_json *doc = NULL;
    const char *name = hg_json_text(hg_json_get(m, "name"));
    if (!name) name = hg_question_called(messages, hg_json_text(hg_json_get(m, "tool_call_id")));
    hg_jw_obj(w, NULL);
    hg_jw_obj(w, "functionResponse");
    hg_jw_text(w, "name", name ? name : "tool");
    if (hg_json_parse(text, NULL, &doc, NULL) == HANGAR_OK && hg_json_is_object(hg_json_root(doc))) {
        hg_jw_val(w, "response", hg_json_root(doc));
    } else {
        hg_jw_obj(w, "response");
        hg_jw_str(w, "output", text);
        hg_jw_end(w);
    }
    hg_jw_end(w);
    hg_jw_end(w);
    hg_json_free(doc);
}

/* The parts of one message into the open list. */
static hangar_code write_parts(const hg_question *q, hg_jw *w, const hg_jval *messages, const hg_jval *m,
                               hangar_err *err)
{
    const hg_jval *calls = hg_json_get(m, "tool_calls");
    hg_buf text;
    hangar_code code = hg_question_text(hg_json_get(m, "content"), &text, err);
    if (code == HANGAR_OK) {
        if (hg_streq(hg_json_text(hg_json_get(m, "role")), "tool"))
            write_response(w, messages, m, hg_buf_view(&text));
        else if (text.len || hg_json_len(calls) == 0) write_text_part(w, hg_buf_view(&text));
        code = write_calls(w, calls, wants_signature(q->target->model), err);
    }
    hg_buf_deinit(&text);
    return code;
}

/* Messages to contents; the answers of tools that follow each other are one content, as their calls were. */
static hangar_code write_contents(const hg_question *q, const hg_jval *messages, hg_jw *w, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    bool tools = false, any = false;
    hg_jw_arr(w, "contents");
    for (hg_json_iter it = hg_json_iter_of(messages); code == HANGAR_OK && hg_json_next(&it);) {
        const char *role = hg_json_text(hg_json_get(it.val, "role"));
        bool tool = hg_streq(role, "tool");
        if (hg_streq(role, "system")) continue;
        if (any && !(tools && tool)) {
            hg_jw_end(w);
            hg_jw_end(w);
        }
        if (!(tools && tool)) {
            hg_jw_obj(w, NULL);
            hg_jw_text(w, "role", hg_streq(role, "assistant") ? "model" : "user");
            hg_jw_arr(w, "parts");
        }
        any = true;
        tools = tool;
        code = write_parts(q, w, messages, it.val, err);
    }
    hg_str prompt;
    if (!messages && hg_json_str(hg_json_get(q->ask, "prompt"), &prompt)) {
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "role", "user");
        hg_jw_arr(w, "parts");
        write_text_part(w, prompt);
        any = true;
    }
    if (any) {
        hg_jw_end(w);
        hg_jw_end(w);
    }
    hg_jw_end(w);
    if (code == HANGAR_OK && !any)
        code = hg_fail(err, HANGAR_E_USAGE, "messages: nothing but system messages");
    return code;
}

static hangar_code write_system(const hg_jval *messages, hg_jw *w, hangar_err *err)
{
    hg_buf text;
    hangar_code code = hg_question_system(messages, &text, err);
    if (code == HANGAR_OK && text.len) {
        hg_jw_obj(w, "systemInstruction");
        hg_jw_text(w, "role", "user");
        hg_jw_arr(w, "parts");
        write_text_part(w, hg_buf_view(&text));
        hg_jw_end(w);
        hg_jw_end(w);
    }
    hg_buf_deinit(&text);
    return code;
}

static hangar_code write_config(const hg_question *q, hg_jw *w, hangar_err *err)
{
    const hg_jval *stop = hg_json_get(q->ask, "stop");
    int64_t most = hg_question_most(q, 0), seed = hg_json_i64_or(hg_json_get(q->ask, "seed"), -1);
    hg_json *schema = NULL;
    hangar_code code = hg_question_schema(q, &schema, err);
    if (code != HANGAR_OK) return code;
    hg_jw_obj(w, "generationConfig");
    hg_question_number(q, w, "temperature", "temperature");
    hg_question_number(q, w, "top_p", "topP");
    if (hg_json_i64_or(hg_json_get(q->ask, "top_k"), 0) > 0) hg_question_number(q, w, "top_k", "topK");
    if (most) hg_jw_i64(w, "maxOutputTokens", most);
    if (seed >= 0) hg_jw_i64(w, "seed", seed & 0x7fffffff);
    if (hg_json_is_string(stop)) {
        hg_jw_arr(w, "stopSequences");
        hg_jw_val(w, NULL, stop);
        hg_jw_end(w);
    } else if (hg_json_len(stop)) {
        hg_jw_val(w, "stopSequences", stop);
    }
    if (schema || hg_json_bool_or(hg_json_get(q->ask, "json"), false))
        hg_jw_text(w, "responseMimeType", "application/json");
    if (schema) hg_jw_val(w, "responseJsonSchema", hg_json_root(schema));
    hg_jw_end(w);
    hg_json_free(schema);
    return HANGAR_OK;
}

static void write_declarations(const hg_jval *tools, hg_jw *w)
{
    hg_jw_arr(w, "tools");
    hg_jw_obj(w, NULL);
    hg_jw_arr(w, "functionDeclarations");
    for (hg_json_iter it = hg_json_iter_of(tools); hg_json_next(&it);) {
        const hg_jval *f = hg_json_get(it.val, "function");
        const hg_jval *about = hg_json_get(f, "description"), *parameters = hg_json_get(f, "parameters");
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "name", hg_json_text_or(hg_json_get(f, "name"), ""));
        if (hg_json_is_string(about)) hg_jw_val(w, "description", about);
        if (hg_json_is_object(parameters)) hg_jw_val(w, "parametersJsonSchema", parameters);
        hg_jw_end(w);
    }
    hg_jw_end(w);
    hg_jw_end(w);
    hg_jw_end(w);
}

static hangar_code write_tools(const hg_question *q, hg_jw *w, hangar_err *err)
{
    static const char *const modes[] = {[HG_TOOLS_AUTO] = "AUTO",
                                        [HG_TOOLS_NONE] = "NONE",
                                        [HG_TOOLS_REQUIRED] = "ANY",
                                        [HG_TOOLS_ONE] = "ANY"};
    const hg_jval *tools = hg_json_get(q->ask, "tools");
    hg_tool_choice choice;
    const char *name;
    hangar_code code = hg_question_choice(q, &choice, &name, err);
    if (code != HANGAR_OK || hg_json_len(tools) == 0) return code;
    write_declarations(tools, w);
    if (choice == HG_TOOLS_UNSAID) return HANGAR_OK;
    hg_jw_obj(w, "toolConfig");
    hg_jw_obj(w, "functionCallingConfig");
    hg_jw_text(w, "mode", modes[choice]);
    if (choice == HG_TOOLS_ONE) {
        hg_jw_arr(w, "allowedFunctionNames");
        hg_jw_text(w, NULL, name);
        hg_jw_end(w);
    }
    hg_jw_end(w);
    hg_jw_end(w);
    return HANGAR_OK;
}

static hangar_code body(const hg_question *q, hg_jw *w, hangar_err *err)
{
    const hg_jval *messages = NULL;
    hangar_code code = hg_question_lacks(q, "grammar", err);
    if (code == HANGAR_OK) code = hg_question_messages(q, &messages, err);
    if (code == HANGAR_OK) code = write_system(messages, w, err);
    if (code == HANGAR_OK) code = write_contents(q, messages, w, err);
    if (code == HANGAR_OK) code = write_config(q, w, err);
    if (code == HANGAR_OK) code = write_tools(q, w, err);
    return code;
}

/* ---- the answer ---- */

static void read_call(hg_cloud_answer *a, const hg_jval *call)
{
    const hg_jval *args = hg_json_get(call, "args");
    char *text = hg_json_is_object(args) ? hg_json_print(args, false) : NULL;
    hg_cloud_answer_tool *t =
        hg_cloud_answer_tool_at(a, (int64_t)a->tool_count, hg_json_text(hg_json_get(call, "id")),
                                hg_json_text(hg_json_get(call, "name")));
    hg_cloud_answer_tool_add(a, t, hg_str_of(text));
    hg_cloud_answer_tool_end(a, t);
    free(text);
}

static void read_finish(hg_cloud_answer *a, const char *reason)
{
    static const char *const filters[] = {"SAFETY",
                                          "RECITATION",
                                          "LANGUAGE",
                                          "BLOCKLIST",
                                          "PROHIBITED_CONTENT",
                                          "SPII",
                                          "IMAGE_SAFETY",
                                          "IMAGE_PROHIBITED_CONTENT",
                                          "MODEL_ARMOR"};
    if (hg_streq(reason, "STOP") || hg_streq(reason, "FINISH_REASON_UNSPECIFIED")) {
        hg_cloud_answer_finish(a, a->tool_count ? "tool_calls" : "stop");
        return;
    }
    if (hg_streq(reason, "MAX_TOKENS")) {
        hg_cloud_answer_finish(a, "length");
        return;
    }
    for (size_t i = 0; i < HG_LEN(filters); i++)
        if (hg_streq(reason, filters[i])) {
            hg_cloud_answer_finish(a, "content_filter");
            return;
        }
    hg_cloud_answer_error(a, HG_CLOUD_SERVER,
                          reason); /* MALFORMED_FUNCTION_CALL and its like: another try may do better */
}

static void read_usage(hg_cloud_answer *a, const hg_jval *usage)
{
    if (!hg_json_is_object(usage)) return;
    int64_t text = hg_json_i64_or(hg_json_get(usage, "candidatesTokenCount"), -1);
    int64_t thought = hg_json_i64_or(hg_json_get(usage, "thoughtsTokenCount"), 0);
    if (text < 0 && thought > 0) text = 0;
    hg_cloud_answer_usage(a, hg_json_i64_or(hg_json_get(usage, "promptTokenCount"), -1),
                          text < 0 || thought < 0 || thought > INT64_MAX - text ? text : text + thought);
}

static void event(hg_cloud_answer *a, const char *name, const hg_jval *doc)
{
    const hg_jval *candidate = hg_json_at(hg_json_get(doc, "candidates"), 0);
    const char *reason = hg_json_text(hg_json_get(candidate, "finishReason"));
    (void)name;
    if (!hg_json_is_null(hg_json_get(doc, "error"))) {
        int64_t status = hg_json_i64_or(hg_json_path(doc, "error", "code", NULL), 500);
        hg_cloud_answer_error(a,
                              status == 400   ? HG_CLOUD_CLIENT
                              : status == 429 ? HG_CLOUD_RATE
                                              : HG_CLOUD_SERVER,
                              hg_cloud_answer_words(doc));
        return;
    }
    for (hg_json_iter it = hg_json_iter_of(hg_json_path(candidate, "content", "parts", NULL));
         hg_json_next(&it);) {
        hg_str text;
        bool thought = hg_json_bool_or(hg_json_get(it.val, "thought"), false);
        if (thought) hg_cloud_answer_thought(a);
        else if (hg_json_str(hg_json_get(it.val, "text"), &text)) hg_cloud_answer_text(a, text);
        if (hg_json_is_object(hg_json_get(it.val, "functionCall")))
            read_call(a, hg_json_get(it.val, "functionCall"));
    }
    read_usage(a, hg_json_get(doc, "usageMetadata"));
    if (reason) read_finish(a, reason);
    else if (hg_json_text(hg_json_path(doc, "promptFeedback", "blockReason", NULL)))
        hg_cloud_answer_finish(a, "content_filter");
}

/* A key that is none comes as 400; how long to wait is told in the body. */
static void fault(const hg_jval *doc, unsigned status, hg_cloud_fault *fault, double *retry_after)
{
    const hg_jval *one = hg_json_is_array(doc) ? hg_json_at(doc, 0) : doc;
    for (hg_json_iter it = hg_json_iter_of(hg_json_path(one, "error", "details", NULL)); hg_json_next(&it);) {
        double seconds = 0;
        if (status == 400 && hg_streq(hg_json_text(hg_json_get(it.val, "reason")), "API_KEY_INVALID"))
            *fault = HG_CLOUD_KEY;
        const char *delay = hg_json_text(hg_json_get(it.val, "retryDelay"));
        if (delay && *retry_after < 0 && hg_duration_parse(hg_str_of(delay), &seconds))
            *retry_after = seconds;
    }
}

static const char *const reserved[] = {"contents", "systemInstruction", "system_instruction", NULL};
static const char *const renames[][2] = {{"safety_settings", "safetySettings"},
                                         {"generation_config", "generationConfig"},
                                         {"tool_config", "toolConfig"},
                                         {"cached_content", "cachedContent"},
                                         {NULL, NULL}};

const hg_provider hg_provider_gemini = {
    .name = "gemini",
    .key_header = "x-goog-api-key: ",
    .reserved = reserved,
    .renames = renames,
    .url = url,
    .body = body,
    .event = event,
    .fault = fault,
};
