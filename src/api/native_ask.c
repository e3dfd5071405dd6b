/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Using a model in hangar's own words: generate, embed, classify, transcribe. The question's members are those of manager/ask.h; a streamed
 * answer is the events head, text, tool, done, error. A piece of text goes from the runner's frame to the client as the JSON literal that it is.
 */
#include "api/native.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#define ANSWER_MAX (64 * HG_MIB) /* bytes of an answer that is not streamed */

static void answer_generate(hg_req *r);
static void answer_embed(hg_req *r);
static void answer_classify(hg_req *r);
static void answer_transcribe(hg_req *r);

#define MODEL                                                    \
    {                                                            \
        .name = "model", .kind = 's', .required = true,          \
        .help = "a name of the catalogue, or a REF of the store" \
    }
#define KEEP_ALIVE                                                                                        \
    {                                                                                                     \
        .name = "keep_alive", .kind = '*',                                                                \
        .help = "seconds idle until the model is unloaded, or a time such as \"5m\"; below 0 is for ever" \
    }

static const hg_field generate_fields[] = {
    MODEL,
    {.name = "messages",
     .kind = 'a',
     .help = "{\"role\",\"content\"} of system, user, assistant and tool; an assistant's \"tool_calls\", a "
             "tool's "
             "\"tool_call_id\""},
    {.name = "prompt", .kind = 's', .help = "in place of messages: as it is, without the model's template"},
    {.name = "stream", .kind = 'b', .help = "as events; so with Accept: text/event-stream"},
    {.name = "temperature", .kind = 'n', .max = 5, .help = "0 takes the likeliest"},
    {.name = "top_p", .kind = 'n', .min = 1e-6, .max = 1, .help = "choose among the likeliest of this share"},
    {.name = "min_p", .kind = 'n', .max = 1, .help = "leave out what is below this share of the likeliest"},
    {.name = "top_k", .kind = 'i', .max = 2147483647, .help = "choose among the N likeliest; 0 = no limit"},
    {.name = "repeat_penalty", .kind = 'n', .min = 1e-3, .max = 10, .help = "above 1: less repetition"},
    {.name = "max_tokens", .kind = 'i', .min = 1, .max = 2147483647, .help = "end after so many"},
    {.name = "seed",
     .kind = 'i',
     .help = "the same seed gives the same answer; negative = another each time"},
    {.name = "stop", .kind = '*', .help = "texts; the answer ends before any of them"},
    {.name = "grammar", .kind = 's', .help = "GBNF that the answer must follow"},
    {.name = "json_schema",
     .kind = '*',
     .help = "JSON Schema that the answer must follow, as text or object"},
    {.name = "json", .kind = 'b', .help = "the answer is any JSON object"},
    {.name = "tools",
     .kind = 'a',
     .help = "{\"type\":\"function\",\"function\":{\"name\",\"description\",\"parameters\"}}"},
    {.name = "tool_choice", .kind = '*', .help = "\"auto\", \"none\", \"required\" or {\"name\"}"},
    {.name = "logprobs", .kind = 'i', .max = 20, .help = "probabilities of so many others for each token"},
    {.name = "context", .kind = 'i', .max = 2147483647, .help = "tokens kept in mind"},
    KEEP_ALIVE,
    {0}};

static const hg_field embed_fields[] = {
    MODEL,
    {.name = "input", .kind = '*', .required = true, .help = "a text, or a list of texts"},
    KEEP_ALIVE,
    {0}};

static const hg_field classify_fields[] = {
    MODEL,
    {.name = "input", .kind = '*', .required = true, .help = "a text, or a list of texts"},
    {.name = "top",
     .kind = 'i',
     .max = 65536,
     .help = "labels told of each text, the likeliest first; 0 = all"},
    KEEP_ALIVE,
    {0}};

const hg_endpoint hg_endpoints_native_ask[] = {
    {.method = "POST",
     .path = "/hangar/v1/generate",
     .scope = HG_SCOPE_INFER,
     .body = HG_BODY_JSON,
     .fields = generate_fields,
     .streams = HG_SSE_TYPE,
     .summary = "text from a model",
     .fn = answer_generate},
    {.method = "POST",
     .path = "/hangar/v1/embed",
     .scope = HG_SCOPE_INFER,
     .body = HG_BODY_JSON,
     .fields = embed_fields,
     .summary = "vectors of texts",
     .fn = answer_embed},
    {.method = "POST",
     .path = "/hangar/v1/classify",
     .scope = HG_SCOPE_INFER,
     .body = HG_BODY_JSON,
     .fields = classify_fields,
     .summary = "labels of texts",
     .fn = answer_classify},
    {.method = "POST",
     .path = "/hangar/v1/transcribe",
     .scope = HG_SCOPE_INFER,
     .body = HG_BODY_FORM,
     .streams = HG_SSE_TYPE,
     .summary =
         "the text of a recording (fields: file, model, language, task, timestamps, beams, keep_alive)",
     .fn = answer_transcribe},
    {0}};

/* ---- the answer ---- */

/* One question on its way. Lives with its request. */
typedef struct asking {
    hg_req *r;
    hg_ask *ask; /* NULL before it began and after its end */
    hg_ask_kind kind;
    bool events;
    bool streaming; /* the stream has begun */
    bool fell_back;
    char model[256]; /* who answers */
    hg_buf text;     /* the inside of a JSON string: all literals without their quotes */
    hg_buf tools;    /* objects with commas between them */
    hg_buf logprobs; /* the same */
} asking;

static void leave(void *state)
{
    asking *a = state;
    hg_buf_deinit(&a->text);
    hg_buf_deinit(&a->tools);
    hg_buf_deinit(&a->logprobs);
}

static void on_gone(void *ctx)
{
    asking *a = ctx;
    if (a->ask) hg_ask_cancel(a->ask);
    a->ask = NULL;
}

static void on_head(void *ctx, const hg_ask_head *head)
{
    asking *a = ctx;
    snprintf(a->model, sizeof a->model, "%s", head->model);
    a->fell_back = a->fell_back || head->fell_back;
    if (!a->streaming) hg_reply_header(a->r, "x-hangar-model", head->model);
    if (!a->streaming && head->fell_back) hg_reply_header(a->r, "x-hangar-fallback", "1");
    if (!a->events) return;
    if (!a->streaming) hg_stream_begin(a->r, 200, HG_SSE_TYPE);
    a->streaming = true;
    hg_jw *w = hg_jw_new();
    char *json = NULL;
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "asked", head->asked);
    hg_jw_text(w, "model", head->model);
    hg_jw_bool(w, "fell_back", head->fell_back);
    hg_jw_f64(w, "load_seconds", head->load_seconds);
    if (w && hg_jw_finish(w, false, &json, NULL) == HANGAR_OK) hg_sse_send(a->r, "head", json);
    hg_jw_free(w);
}

/* Adds the items of an array to a list without brackets. */
static void add_items(hg_buf *list, const hg_jval *items)
{
    for (hg_json_iter it = hg_json_iter_of(items); hg_json_next(&it);) {
        HG_AUTO(hg_auto_free) char *json = hg_json_print(it.val, false);
        if (list->len) hg_buf_putc(list, ',');
        hg_buf_puts(list, json ? json : "null");
    }
}

static void on_text(void *ctx, hg_str literal, const hg_jval *logprobs)
{
    asking *a = ctx;
    if (!a->streaming) {
        if (a->kind != HG_ASK_GENERATE) return; /* the document holds it */
        if (literal.len >= 2) hg_buf_add(&a->text, literal.ptr + 1, literal.len - 2);
        add_items(&a->logprobs, logprobs);
        return;
    }
    HG_AUTO(hg_auto_free) char *more = logprobs ? hg_json_print(logprobs, false) : NULL;
    hg_buf b;
    hg_buf_init(&b, HG_STREAM_PENDING);
    hg_buf_puts(&b, "event: text\ndata: {\"text\":");
    hg_buf_str(&b, literal);
    if (more) hg_buf_puts(&b, ",\"logprobs\":");
    if (more) hg_buf_puts(&b, more);
    hg_buf_puts(&b, "}\n\n");
    if (b.state == HANGAR_OK) hg_stream_write(a->r, hg_buf_view(&b));
    hg_buf_deinit(&b);
}

/* {"id","name","arguments"}; arguments is JSON already. */
static char *tool_json(const char *id, const char *name, hg_str arguments)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    HG_AUTO(hg_auto_free) char *head = NULL;
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "id", id);
    hg_jw_text(w, "name", name);
    if (!w || hg_jw_finish(w, false, &head, NULL) != HANGAR_OK) return NULL;
    return hg_format("%.*s,\"arguments\":%.*s}", (int)strlen(head) - 1, head, HG_STR_ARG(arguments));
}

static void on_tool(void *ctx, const char *id, const char *name, hg_str arguments)
{
    asking *a = ctx;
    char *json = tool_json(id, name, arguments);
    if (a->streaming) {
        hg_sse_send(a->r, "tool", json);
        return;
    }
    if (a->tools.len) hg_buf_putc(&a->tools, ',');
    hg_buf_puts(&a->tools, json ? json : "null");
    free(json);
}

static void write_count(hg_jw *w, const char *key, int64_t n)
{
    if (n < 0) hg_jw_null(w, key);
    else hg_jw_i64(w, key, n);
}

/* The members of a finished generation but for its text, without the closing brace. */
static char *end_json(const asking *a, const hg_ask_end *end)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    char *json = NULL;
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "model", a->model);
    hg_jw_bool(w, "fell_back", a->fell_back);
    hg_jw_text(w, "finish", end->finish);
    write_count(w, "prompt_tokens", end->prompt_tokens);
    write_count(w, "prompt_reused", end->prompt_reused);
    write_count(w, "generated_tokens", end->generated_tokens);
    hg_jw_f64(w, "prompt_seconds", end->prompt_seconds);
    hg_jw_f64(w, "generate_seconds", end->generate_seconds);
    hg_jw_f64(w, "load_seconds", end->load_seconds);
    hg_jw_f64(w, "total_seconds", end->total_seconds);
    if (!w || hg_jw_finish(w, false, &json, NULL) != HANGAR_OK) return NULL;
    return json;
}

/* The whole document of a generation. */
static hangar_code whole(asking *a, const hg_ask_end *end, char **out, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *rest = end_json(a, end);
    hg_buf b;
    if (!rest) return hg_fail_memory(err);
    hg_buf_init(&b, ANSWER_MAX + HG_MIB);
    hg_buf_puts(&b, "{\"text\":\"");
    hg_buf_str(&b, hg_buf_view(&a->text));
    hg_buf_puts(&b, "\",\"tool_calls\":[");
    hg_buf_str(&b, hg_buf_view(&a->tools));
    hg_buf_puts(&b, "],");
    if (a->logprobs.len) {
        hg_buf_puts(&b, "\"logprobs\":[");
        hg_buf_str(&b, hg_buf_view(&a->logprobs));
        hg_buf_puts(&b, "],");
    }
    hg_buf_puts(&b, rest + 1);
    hangar_code code = hg_buf_check(&a->text, err);
    if (code == HANGAR_OK) code = hg_buf_check(&a->tools, err);
    if (code == HANGAR_OK) code = hg_buf_check(&a->logprobs, err);
    if (code == HANGAR_OK) code = hg_buf_check(&b, err);
    if (code == HANGAR_OK) *out = hg_buf_take(&b);
    hg_buf_deinit(&b);
    return code;
}

static void on_end(void *ctx, const hg_ask_end *end)
{
    asking *a = ctx;
    hangar_err err = {0};
    char *json = NULL;
    hangar_code code = HANGAR_OK;
    a->ask = NULL;
    if (a->kind != HG_ASK_GENERATE) json = hg_json_print(end->doc, false);
    else if (a->streaming) json = end_json(a, end);
    else code = whole(a, end, &json, &err);
    if (code == HANGAR_OK && !json) code = hg_fail_memory(&err);
    if (!a->streaming) {
        if (code == HANGAR_OK) hg_reply_json(a->r, 200, json);
        else hg_reply_error(a->r, &err, -1);
        return;
    }
    if (code == HANGAR_OK) hg_sse_send(a->r, "done", json);
    else hg_sse_send(a->r, "error", hg_error_json(HG_DIALECT_NATIVE, &err));
    hg_stream_end(a->r);
}

static void on_fail(void *ctx, const hangar_err *err, bool begun, double retry_after)
{
    asking *a = ctx;
    (void)begun;
    a->ask = NULL;
    if (!a->streaming) {
        hg_reply_error(a->r, err, retry_after);
        return;
    }
    hg_sse_send(a->r, "error", hg_error_json(HG_DIALECT_NATIVE, err));
    hg_stream_end(a->r);
}

/* ---- the question ---- */

static const hg_ask_fns ask_fns = {on_head, on_text, on_tool, on_end, on_fail};

/* Begins; spec->doc and spec->file are taken. */
static void start(hg_req *r, const hg_ask_spec *spec, bool events)
{
    hangar_err err = {0};
    asking *a = hg_req_state(r, sizeof *a, leave);
    if (!a) {
        hg_json_free(spec->doc);
        if (spec->file >= 0) close(spec->file);
        hg_fail_memory(&err);
        hg_reply_error(r, &err, -1);
        return;
    }
    a->r = r;
    a->kind = spec->kind;
    a->events = events;
    hg_buf_init(&a->text, ANSWER_MAX);
    hg_buf_init(&a->tools, ANSWER_MAX);
    hg_buf_init(&a->logprobs, ANSWER_MAX);
    if (hg_ask_start(hg_req_host(r), spec, &ask_fns, a, &a->ask, &err) != HANGAR_OK) {
        a->ask = NULL;
        hg_reply_fail(r, &err);
        return;
    }
    hg_req_on_gone(r, on_gone, a);
}

/* The question without the members that are about it: {"input":[...]} where a single text may stand for a list. */
static hangar_code make_doc(const hg_jval *body, hg_json **out, hangar_err *err)
{
    static const char *const skip[] = {"model", "stream", "keep_alive", "input", "json_schema", NULL};
    const hg_jval *input = hg_json_get(body, "input"), *schema = hg_json_get(body, "json_schema");
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    HG_AUTO(hg_auto_free) char *json = NULL;
    hg_jw_obj(w, NULL);
    hg_jw_members(w, body, skip);
    if (hg_json_is_array(input)) {
        hg_jw_val(w, "input", input);
    } else if (input) {
        hg_jw_arr(w, "input");
        hg_jw_val(w, NULL, input);
        hg_jw_end(w);
    }
    if (hg_json_is_object(schema)) {
        HG_AUTO(hg_auto_free) char *text = hg_json_print(schema, false);
        hg_jw_text(w, "json_schema", text);
    } else if (!hg_json_is_null(schema)) {
        hg_jw_val(w, "json_schema", schema);
    }
    hangar_code code = w ? hg_jw_finish(w, false, &json, err) : hg_fail_memory(err);
    return code == HANGAR_OK ? hg_json_parse(hg_str_of(json), NULL, out, err) : code;
}

/* All items of "input" are texts. */
static hangar_code check_input(const hg_jval *doc, hangar_err *err)
{
    const hg_jval *input = hg_json_get(doc, "input");
    if (hg_json_len(input) == 0) return hg_fail(err, HANGAR_E_USAGE, "\"input\" is empty");
    for (hg_json_iter it = hg_json_iter_of(input); hg_json_next(&it);)
        if (!hg_json_text(it.val))
            return hg_fail(err, HANGAR_E_USAGE, "\"input\" must be a text or a list of texts");
    return HANGAR_OK;
}

static void ask_json(hg_req *r, hg_ask_kind kind)
{
    const hg_jval *body = hg_req_json(r);
    hangar_err err = {0};
    hg_ask_spec spec = {.kind = kind, .model = hg_json_text(hg_json_get(body, "model")), .file = -1};
    hangar_code code = hg_keep_alive(hg_json_get(body, "keep_alive"), &spec.keep_alive, &err);
    if (code == HANGAR_OK) code = make_doc(body, &spec.doc, &err);
    if (code == HANGAR_OK && kind != HG_ASK_GENERATE) code = check_input(hg_json_root(spec.doc), &err);
    if (code != HANGAR_OK) {
        hg_json_free(spec.doc);
        hg_reply_error(r, &err, -1);
        return;
    }
    bool events = kind == HG_ASK_GENERATE && hg_json_bool_or(hg_json_get(body, "stream"), hg_wants_events(r));
    bool shaped =
        hg_json_len(hg_json_get(body, "tools")) > 0 || hg_json_bool_or(hg_json_get(body, "json"), false) ||
        !hg_json_is_null(hg_json_get(body, "json_schema")) || !hg_json_is_null(hg_json_get(body, "grammar"));
    spec.streams = events;
    spec.spliceable = events && !shaped;
    start(r, &spec, events);
}

static void answer_generate(hg_req *r)
{
    hangar_err err = {0};
    const hg_jval *body = hg_req_json(r);
    bool messages = !hg_json_is_null(hg_json_get(body, "messages"));
    bool prompt = !hg_json_is_null(hg_json_get(body, "prompt"));
    if (messages != prompt) {
        ask_json(r, HG_ASK_GENERATE);
        return;
    }
    hg_fail(&err, HANGAR_E_USAGE,
            messages ? "either \"messages\" or \"prompt\", not both"
                     : "neither \"messages\" nor \"prompt\" is there");
    hg_reply_error(r, &err, -1);
}

static void answer_embed(hg_req *r)
{
    ask_json(r, HG_ASK_EMBED);
}

static void answer_classify(hg_req *r)
{
    ask_json(r, HG_ASK_CLASSIFY);
}

/* ---- a recording ---- */

/* The text fields of the form as the question's document. */
static hangar_code read_form(const hg_req *r, hg_json **out, hangar_err *err)
{
    const char *language = hg_req_form(r, "language"), *task = hg_req_form(r, "task"),
               *timestamps = hg_req_form(r, "timestamps"), *beams = hg_req_form(r, "beams");
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    HG_AUTO(hg_auto_free) char *json = NULL;
    uint64_t n = 0;
    if (task && !hg_streq(task, "transcribe") && !hg_streq(task, "translate"))
        return hg_fail(err, HANGAR_E_USAGE, "\"task\" is transcribe or translate, not '%s'", task);
    if (beams && (!hg_u64_parse(hg_str_of(beams), &n) || n < 1 || n > 16))
        return hg_fail(err, HANGAR_E_USAGE, "\"beams\" must be from 1 to 16, not '%s'", beams);
    hg_jw_obj(w, NULL);
    if (language && *language) hg_jw_text(w, "language", language);
    if (task) hg_jw_text(w, "task", task);
    if (timestamps) hg_jw_bool(w, "timestamps", hg_streq(timestamps, "true") || hg_streq(timestamps, "1"));
    if (beams) hg_jw_u64(w, "beams", n);
    hangar_code code = w ? hg_jw_finish(w, false, &json, err) : hg_fail_memory(err);
    return code == HANGAR_OK ? hg_json_parse(hg_str_of(json), NULL, out, err) : code;
}

/* "keep_alive" of a form is text only: "300", "5m", "-1". */
static hangar_code form_keep_alive(const hg_req *r, double *out, hangar_err *err)
{
    const char *text = hg_req_form(r, "keep_alive");
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    HG_AUTO(hg_auto_free) char *json = NULL;
    hg_json *doc = NULL;
    hg_jw_text(w, NULL, text);
    hangar_code code = w ? hg_jw_finish(w, false, &json, err) : hg_fail_memory(err);
    if (code == HANGAR_OK) code = hg_json_parse(hg_str_of(json), NULL, &doc, err);
    if (code == HANGAR_OK) code = hg_keep_alive(hg_json_root(doc), out, err);
    hg_json_free(doc);
    return code;
}

static void answer_transcribe(hg_req *r)
{
    hangar_err err = {0};
    bool events = hg_wants_events(r);
    hg_ask_spec spec = {.kind = HG_ASK_TRANSCRIBE,
                        .model = hg_req_form(r, "model"),
                        .file = -1,
                        .streams = events};
    hangar_code code = HANGAR_OK;
    if (!spec.model) code = hg_fail(&err, HANGAR_E_USAGE, "\"model\" is missing");
    if (code == HANGAR_OK) code = form_keep_alive(r, &spec.keep_alive, &err);
    if (code == HANGAR_OK) code = read_form(r, &spec.doc, &err);
    if (code == HANGAR_OK && (spec.file = hg_req_take_file(r, NULL)) < 0)
        code = hg_fail(&err, HANGAR_E_USAGE, "\"file\" is missing");
    if (code != HANGAR_OK) {
        hg_json_free(spec.doc);
        hg_reply_error(r, &err, -1);
        return;
    }
    start(r, &spec, events);
}
