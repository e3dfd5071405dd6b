/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to a server that answers by a script: what is told, in which order, how it ends, and what a cancel leaves. */
#include "provider/provider.h"

#include "base/clock.h"
#include "base/mem.h"
#include "server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define KEY "sk-canary-0123456789abcdef"

typedef struct asked {
    hg_loop *loop;
    hg_cloud *cloud;
    hg_cloud_call *call;
    hg_buf told; /* "text" tool(id,name,{}) ... */
    hg_cloud_fault fault;
    double retry_after;
    char finish[32];
    int64_t prompt, generated;
    hangar_err err;
    int ends;
    bool cancel_at_text, cancel_at_end;
} asked;

static void on_text(void *ctx, hg_str literal)
{
    asked *a = ctx;
    assert_int_equal(a->ends, 0);
    hg_buf_str(&a->told, literal);
    if (!a->cancel_at_text) return;
    hg_cloud_cancel(a->call);
    hg_loop_stop(a->loop);
}

static void on_tool(void *ctx, const char *id, const char *name, hg_str arguments)
{
    asked *a = ctx;
    hg_buf_printf(&a->told, "tool(%s,%s,%.*s)", id, name, HG_STR_ARG(arguments));
}

static void on_end(void *ctx, hg_cloud_fault fault, double retry_after, const hg_cloud_end *end,
                   const hangar_err *err)
{
    asked *a = ctx;
    a->ends++;
    a->fault = fault;
    a->retry_after = retry_after;
    assert_true((fault == HG_CLOUD_NONE) == (end != NULL) && (end == NULL) == (err != NULL));
    if (end) {
        snprintf(a->finish, sizeof a->finish, "%s", end->finish);
        a->prompt = end->prompt_tokens;
        a->generated = end->generated_tokens;
    } else {
        a->err = *err;
        assert_true(err->code != HANGAR_OK && err->msg[0]);
        assert_null(strstr(err->msg, KEY));
    }
    if (a->cancel_at_end) hg_cloud_cancel(a->call);
    hg_loop_stop(a->loop);
}

static const hg_cloud_fns fns = {.text = on_text, .tool = on_tool, .end = on_end};

static void on_late(void *ctx)
{
    hg_loop_stop(ctx);
}

/* One question to the end, or for `seconds` when that is not 0. */
static hangar_code ask(asked *a, const hg_cloud_target *target, const char *question, const char *begun,
                       double seconds)
{
    hg_json *doc = NULL;
    hg_timer *late = NULL;
    assert_int_equal(hg_json_parse(hg_str_of(question), NULL, &doc, NULL), HANGAR_OK);
    if (!a->loop) {
        assert_int_equal(hg_loop_new(&a->loop, NULL), HANGAR_OK);
        assert_int_equal(hg_cloud_new(a->loop, &a->cloud, NULL), HANGAR_OK);
        hg_buf_init(&a->told, HG_MIB);
    }
    hg_buf_reset(&a->told);
    a->ends = 0;
    a->err = (hangar_err){0};
    hangar_code code =
        hg_cloud_start(a->cloud, target, hg_json_root(doc), hg_str_of(begun), &fns, a, &a->call, &a->err);
    assert_int_equal(a->ends, 0);
    hg_json_free(doc); /* it was read */
    if (code == HANGAR_OK) {
        hg_timer_new(a->loop, on_late, a->loop, &late, NULL);
        hg_timer_set(late, seconds > 0 ? seconds : 60, 0);
        hg_loop_run(a->loop);
        hg_timer_free(late);
    }
    return code;
}

static void asked_deinit(asked *a)
{
    hg_cloud_free(a->cloud);
    hg_loop_free(a->loop);
    hg_buf_deinit(&a->told);
}

#define STREAM \
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nConnection: close\r\n\r\n"
#define HI "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}"

static hg_cloud_target target_of(const char *provider, const server *s)
{
    return (hg_cloud_target){
        .name = "name", .provider = provider, .url = s->url, .model = "model-1", .key_env = "TEST_KEY"};
}

static void test_openai(void **state)
{
    (void)state;
    static const char *const answers[] = {
        STREAM
        ": comment\n\ndata: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
        "data: {\"choices\":[{\"delta\":{\"content\":\"H\\u00e9\\n\"}}]}\n\n"
        "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"y\\\"\\u0001\"}}]}\n\n"
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\ndata: [DONE]\n\n",
        STREAM
        "data: "
        "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\","
        "\"arguments\":\"\"}},{\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"\"}}]}}]"
        "}\n\n"
        "data: "
        "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"x\\\":\"}}"
        "]}}]}\n\n"
        "data: "
        "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"1}\"}}]}}]}\n\n"
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n",
        NULL};
    server s;
    asked a = {0};
    server_start(&s, NULL, answers);
    hg_cloud_target t = target_of("openai", &s);
    assert_int_equal(ask(&a, &t, HI, "", 0), HANGAR_OK);
    assert_int_equal(a.fault, HG_CLOUD_NONE);
    assert_string_equal(hg_buf_text(&a.told), "\"H\xc3\xa9\\n\"\"\\\"y\\\"\\u0001\"");
    assert_string_equal(a.finish, "stop");
    assert_true(a.prompt == 7 && a.generated == 3 && a.ends == 1);
    assert_non_null(strstr(s.request, "POST /v1/chat/completions HTTP/1.1\r\n"));
    assert_non_null(strstr(s.request, "\r\nAuthorization: Bearer " KEY "\r\n"));
    assert_non_null(strstr(s.request, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(s.request,
                           "{\"model\":\"model-1\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],"
                           "\"stream\":true,\"stream_options\":{\"include_usage\":true}}"));
    assert_int_equal(ask(&a, &t, HI, "", 0), HANGAR_OK);
    assert_string_equal(hg_buf_text(&a.told), "tool(a,f,{\"x\":1})tool(b,g,{})");
    assert_string_equal(a.finish, "tool_calls");
    assert_true(a.prompt == -1);
    asked_deinit(&a);
    server_stop(&s);
}

static void test_gemini(void **state)
{
    (void)state;
    static const char *const answers[] = {
        STREAM
        "data: "
        "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"thinking\",\"thought\":true}]}}]}\r\n\r\n"
        "data: "
        "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"He\"},{\"text\":\"y\"}],\"role\":\"model\"}}]}"
        "\r\n\r\n"
        "data: "
        "{\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\",\"args\":{\"x\":[1]}}}]}"
        ","
        "\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":4,\"candidatesTokenCount\":2,"
        "\"thoughtsTokenCount\":5}}\r\n\r\n",
        STREAM "data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\r\n\r\n",
        STREAM "data: {\"candidates\":[{\"finishReason\":\"MALFORMED_FUNCTION_CALL\"}]}\r\n\r\n",
        "HTTP/1.1 400 Bad\r\nContent-Type: application/json\r\nConnection: "
        "close\r\n\r\n{\"error\":{\"code\":400,"
        "\"message\":\"API key not valid\",\"details\":[{\"reason\":\"API_KEY_INVALID\"}]}}",
        "HTTP/1.1 429 Slow\r\nContent-Type: application/json\r\nConnection: "
        "close\r\n\r\n[{\"error\":{\"code\":429,"
        "\"message\":\"quota\",\"details\":[{\"retryDelay\":\"34s\"}]}}]",
        NULL};
    server s;
    asked a = {0};
    server_start(&s, NULL, answers);
    hg_cloud_target t = target_of("gemini", &s);
    assert_int_equal(ask(&a, &t, HI, "", 0), HANGAR_OK);
    assert_string_equal(hg_buf_text(&a.told), "\"He\"\"y\"tool(,f,{\"x\":[1]})");
    assert_string_equal(a.finish, "tool_calls");
    assert_true(a.prompt == 4 && a.generated == 7);
    assert_non_null(
        strstr(s.request, "POST /v1beta/models/model-1:streamGenerateContent?alt=sse HTTP/1.1\r\n"));
    assert_non_null(strstr(s.request, "\r\nx-goog-api-key: " KEY "\r\n"));
    assert_int_equal(ask(&a, &t, HI, "", 0), HANGAR_OK);
    assert_string_equal(a.finish, "content_filter");
    assert_int_equal(ask(&a, &t, HI, "", 0), HANGAR_OK);
    assert_int_equal(a.fault, HG_CLOUD_SERVER);
    assert_int_equal(ask(&a, &t, HI, "", 0), HANGAR_OK);
    assert_int_equal(a.fault, HG_CLOUD_KEY);
    assert_int_equal(ask(&a, &t, HI, "", 0), HANGAR_OK);
    assert_int_equal(a.fault, HG_CLOUD_RATE);
    assert_true(a.retry_after == 34);
    assert_string_equal(a.err.msg, "name (gemini): 429: quota");
    asked_deinit(&a);
    server_stop(&s);
}

static void test_anthropic(void **state)
{
    (void)state;
#define DELTA(text)                                                                                     \
    "event: content_block_delta\ndata: "                                                                \
    "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"" text \
    "\"}}\n\n"
#define END(reason)                                                                                \
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"" reason \
    "\"},\"usage\":{\"output_tokens\":9}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
    static const char *const answers[] = {
        STREAM
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":5,"
        "\"cache_read_input_tokens\":20}}}\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n" DELTA("Hey")
            END("end_turn"),
        STREAM
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{"
        "\"type\":\"tool_use\",\"id\":\"t1\",\"name\":\"f\",\"input\":{}}}\n\n"
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{"
        "\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"a\\\"\"}}\n\n"
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{"
        "\"type\":\"input_json_delta\",\"partial_json\":\":2}\"}}\n\n"
        "event: new_thing\ndata: {\"type\":\"new_thing\"}\n\n" END("tool_use"),
        /* The limit of tokens cuts a call off: no call. */
        STREAM
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{"
        "\"type\":\"tool_use\",\"id\":\"t1\",\"name\":\"f\",\"input\":{}}}\n\n"
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{"
        "\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"a\\\"\"}}\n\n" END("max_tokens"),
        STREAM DELTA(
            "Hey") "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\","
                   "\"message\":\"Overloaded\"}}\n\n",
        STREAM DELTA("  world") END("end_turn"), STREAM DELTA("!") END("end_turn"), NULL};
    server s;
    asked a = {0};
    server_start(&s, NULL, answers);
    hg_cloud_target t = target_of("anthropic", &s);
    t.model = "claude-3-7-sonnet-latest";
    assert_int_equal(ask(&a, &t, HI, "", 0), HANGAR_OK);
    assert_string_equal(hg_buf_text(&a.told), "\"Hey\"");
    assert_string_equal(a.finish, "stop");
    assert_true(a.prompt == 25 && a.generated == 9);
    assert_non_null(strstr(s.request, "POST /v1/messages HTTP/1.1\r\n"));
    assert_non_null(strstr(s.request, "\r\nx-api-key: " KEY "\r\n"));
    assert_non_null(strstr(s.request, "\r\nanthropic-version: 2023-06-01\r\n"));
    assert_non_null(strstr(s.request, "\"max_tokens\":8192"));
    assert_int_equal(ask(&a, &t, HI, "", 0), HANGAR_OK);
    assert_string_equal(hg_buf_text(&a.told), "tool(t1,f,{\"a\":2})");
    assert_string_equal(a.finish, "tool_calls");
    assert_int_equal(ask(&a, &t, HI, "", 0), HANGAR_OK);
    assert_string_equal(hg_buf_text(&a.told), "");
    assert_string_equal(a.finish, "length");
    assert_int_equal(ask(&a, &t, HI, "", 0), HANGAR_OK);
    assert_int_equal(a.fault, HG_CLOUD_SERVER);
    assert_string_equal(hg_buf_text(&a.told), "\"Hey\"");
    assert_string_equal(a.err.msg, "name (anthropic): Overloaded");
    /* An answer that has begun is gone on with; the blanks at its end are not sent, and not told twice. */
    assert_int_equal(ask(&a, &t, HI, "Hello \n ", 0), HANGAR_OK);
    assert_non_null(strstr(s.request, "{\"role\":\"assistant\",\"content\":\"Hello\"}]"));
    assert_string_equal(hg_buf_text(&a.told), "\" world\"");
    assert_int_equal(ask(&a, &t, HI, "Hello", 0), HANGAR_OK);
    assert_string_equal(hg_buf_text(&a.told), "\"!\"");
    t.model = "claude-opus-4-6";
    assert_int_equal(ask(&a, &t, HI, "Hello", 0), HANGAR_E_USAGE);
    asked_deinit(&a);
    server_stop(&s);
}

static void test_faults(void **state)
{
    (void)state;
#define ERROR(status, more) \
    "HTTP/1.1 " status " x\r\nContent-Type: application/json\r\nConnection: close\r\n" more "\r\n"
    static const struct {
        const char *answer;
        hg_cloud_fault fault;
        const char *words;
        double retry_after;
    } cases[] = {
        {ERROR("400", "") "{\"error\":{\"message\":\"bad\"}}", HG_CLOUD_CLIENT, "name (openai): 400: bad",
         -1},
        {ERROR("400", "") "{\"error\":{\"message\":\"too long\",\"code\":\"context_length_exceeded\"}}",
         HG_CLOUD_TOO_LONG, "400: too long", -1},
        {ERROR("422", "") "{\"detail\":\"no\"}", HG_CLOUD_CLIENT, "422: no", -1},
        {ERROR("401", "") "{\"error\":{\"message\":\"wrong key " KEY ".\"}}", HG_CLOUD_KEY,
         "401: wrong key **************************.", -1},
        {ERROR("403", "") "{\"error\":\"sk-canary-***cdef and 0123456789abcdef\"}", HG_CLOUD_KEY,
         "403: **********", -1},
        {ERROR("404", "") "{\"error\":{\"message\":\"no model\"}}", HG_CLOUD_CONFIG, "404: no model", -1},
        {ERROR("429", "Retry-After: 17\r\n") "{}", HG_CLOUD_RATE, "429", 17},
        {ERROR("500", "") "<html>", HG_CLOUD_SERVER, "500", -1},
        {ERROR("503", "Retry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n"), HG_CLOUD_SERVER, "503", 0},
        {ERROR("529", "retry-after: x\r\n") "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}",
         HG_CLOUD_SERVER, "529: overloaded_error", -1},
        {ERROR("302", "Location: http://127.0.0.1:1/\r\n"), HG_CLOUD_BROKEN, "redirect", -1},
        {"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<p>hi", HG_CLOUD_BROKEN,
         "text/html", -1},
        {ERROR("200", "") "{\"error\":{\"message\":\"inner\"}}", HG_CLOUD_BROKEN, "application/json instead",
         -1},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nx", HG_CLOUD_BROKEN, "without a type", -1},
        {"garbage\r\n\r\n", HG_CLOUD_BROKEN, "", -1},
        {"", HG_CLOUD_BROKEN, "", -1},
        {STREAM, HG_CLOUD_BROKEN, "ended before the answer did", -1},
        {STREAM "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n", HG_CLOUD_BROKEN, "ended before",
         -1},
        {STREAM "data: {\"choi\n\n", HG_CLOUD_BROKEN, "an event of the stream", -1},
        {STREAM "data: {\"error\":{\"message\":\"broke\",\"code\":\"server_error\"}}\n\n", HG_CLOUD_SERVER,
         "broke", -1},
        {STREAM "data: {\"error\":{\"message\":\"slow\",\"code\":429}}\n\n", HG_CLOUD_RATE, "slow", -1},
        {STREAM "data: [DONE]\n\n", HG_CLOUD_BROKEN, "ended before the answer did", -1},
    };
    const char *answers[HG_LEN(cases) + 1] = {0};
    for (size_t i = 0; i < HG_LEN(cases); i++) answers[i] = cases[i].answer;
    server s;
    asked a = {0};
    server_start(&s, NULL, answers);
    hg_cloud_target t = target_of("openai", &s);
    for (size_t i = 0; i < HG_LEN(cases); i++) {
        assert_int_equal(ask(&a, &t, HI, "", 0), HANGAR_OK);
        if (a.ends != 1 || a.fault != cases[i].fault || !strstr(a.err.msg, cases[i].words) ||
            a.retry_after != cases[i].retry_after)
            fail_msg("case %zu: fault %d, retry after %g, %s", i, (int)a.fault, a.retry_after, a.err.msg);
    }
    asked_deinit(&a);
    server_stop(&s);
}

static void test_times(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "\x01", STREAM ": ping\n\n\x01",
        STREAM "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n\x01",
        /* Whole, but the connection stays open: an answer all the same. */
        STREAM "data: {\"choices\":[{\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}\n\ndata: "
               "[DONE]\n\n\x01",
        NULL};
    server s;
    asked a = {0};
    server_start(&s, NULL, answers);
    hg_cloud_target t = target_of("openai", &s);
    t.first_timeout = 0.2;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ask(&a, &t, HI, "", 0), HANGAR_OK);
        assert_int_equal(a.fault, HG_CLOUD_TIMEOUT);
        assert_string_equal(a.err.msg, "name (openai): no answer within 0.2 s");
    }
    t.first_timeout = 60;
    t.stall_timeout = 0.2;
    assert_int_equal(ask(&a, &t, HI, "", 0), HANGAR_OK);
    assert_int_equal(a.fault, HG_CLOUD_TIMEOUT);
    assert_string_equal(hg_buf_text(&a.told), "\"x\"");
    assert_string_equal(a.err.msg, "name (openai): nothing more came for 0.2 s");
    assert_int_equal(ask(&a, &t, HI, "", 0), HANGAR_OK);
    assert_int_equal(a.fault, HG_CLOUD_NONE);
    assert_string_equal(a.finish, "stop");
    asked_deinit(&a);
    server_stop(&s);
}

static void test_configuration(void **state)
{
    (void)state;
    server s;
    asked a = {0};
    static const char *const answers[] = {NULL};
    server_start(&s, NULL, answers);
    static const struct {
        const char *provider, *url, *key_env, *extra, *words;
    } cases[] = {
        {"openai", "", "NO_SUCH_KEY", NULL, "NO_SUCH_KEY is not set"},
        {"openai", "", "BAD_KEY", NULL, "the key in BAD_KEY has a blank"},
        {"nobody", "", "", NULL, "no provider is called nobody"},
        {"openai", "http://example.com/v1", "", NULL, "another machine"},
        {"openai", "ftp://127.0.0.1/", "", NULL, "url"},
        {"openai", "http://127.0.0.1/v1?key=1", "", NULL, "a query"},
        {"openai", "http://u:p@127.0.0.1/v1", "", NULL, "user's name"},
        {"openai", "", "", "{\"stream\":false}", "stream is set by hangar itself"},
        {"gemini", "", "", "{\"contents\":[]}", "contents is set"},
        {"anthropic", "", "", "[1]", "not an object"},
    };
    for (size_t i = 0; i < HG_LEN(cases); i++) {
        hg_json *extra = NULL;
        if (cases[i].extra)
            assert_int_equal(hg_json_parse(hg_str_of(cases[i].extra), NULL, &extra, NULL), HANGAR_OK);
        hg_cloud_target t = {.name = "name",
                             .provider = cases[i].provider,
                             .url = cases[i].url,
                             .model = "m",
                             .key_env = cases[i].key_env,
                             .extra = hg_json_root(extra)};
        assert_int_equal(ask(&a, &t, HI, "", 0), HANGAR_OK);
        if (a.fault != HG_CLOUD_CONFIG || !strstr(a.err.msg, cases[i].words))
            fail_msg("case %zu: fault %d, %s", i, (int)a.fault, a.err.msg);
        hg_json_free(extra);
    }
    /* Nobody listens. */
    hg_cloud_target t = {
        .name = "name", .provider = "openai", .url = "http://127.0.0.1:1", .model = "m", .key_env = ""};
    assert_int_equal(ask(&a, &t, HI, "", 0), HANGAR_OK);
    assert_int_equal(a.fault, HG_CLOUD_REFUSED);
    /* What cannot be asked. */
    assert_int_equal(ask(&a, &t, "{\"prompt\":\"x\",\"grammar\":\"root ::= x\"}", "", 0), HANGAR_E_USAGE);
    assert_non_null(strstr(a.err.msg, "grammar"));
    assert_int_equal(ask(&a, &t, HI, "Hello", 0), HANGAR_E_USAGE);
    assert_int_equal(s.requests, 0);
    asked_deinit(&a);
    server_stop(&s);
}

static void test_cancel(void **state)
{
    (void)state;
#define X "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n"
    static const char *const answers[] = {
        STREAM X X X "\x01", "\x01",
        STREAM X "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n", STREAM X "\x01",
        NULL};
    server s;
    asked a = {.cancel_at_text = true};
    server_start(&s, NULL, answers);
    hg_cloud_target t = target_of("openai", &s);
    /* In its own callback: no further piece, no end. */
    assert_int_equal(ask(&a, &t, HI, "", 0), HANGAR_OK);
    assert_string_equal(hg_buf_text(&a.told), "\"x\"");
    assert_int_equal(a.ends, 0);
    a.cancel_at_text = false;
    /* While it waits. */
    assert_int_equal(ask(&a, &t, HI, "", 0.1), HANGAR_OK);
    hg_cloud_cancel(a.call);
    assert_int_equal(a.ends, 0);
    /* In its end: nothing is freed twice. */
    a.cancel_at_end = true;
    assert_int_equal(ask(&a, &t, HI, "", 0), HANGAR_OK);
    assert_int_equal(a.fault, HG_CLOUD_NONE);
    a.cancel_at_end = false;
    /* One that was not even begun; and one that runs when all is freed. */
    t.key_env = "NO_SUCH_KEY";
    hg_json *doc = NULL;
    assert_int_equal(hg_json_parse(HG_STR(HI), NULL, &doc, NULL), HANGAR_OK);
    assert_int_equal(hg_cloud_start(a.cloud, &t, hg_json_root(doc), HG_STR(""), &fns, &a, &a.call, NULL),
                     HANGAR_OK);
    hg_cloud_cancel(a.call);
    hg_json_free(doc);
    t.key_env = "TEST_KEY";
    assert_int_equal(ask(&a, &t, HI, "", 0.1), HANGAR_OK);
    asked_deinit(&a);
    assert_int_equal(a.ends, 0);
    server_stop(&s);
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *model;
        bool continues;
    } models[] = {
        {"claude-3-7-sonnet-latest", true},
        {"claude-3-opus-20240229", true},
        {"claude-2.1", true},
        {"claude-instant-1.2", true},
        {"claude-opus-4-20250514", true},
        {"claude-opus-4-1-20250805", true},
        {"claude-sonnet-4-5-20250929", true},
        {"claude-haiku-4-5", true},
        {"claude-3-7-sonnet@20250219", true},
        {"anthropic.claude-3-5-haiku-20241022-v1:0", true},
        {"claude-opus-4-6", false},
        {"claude-sonnet-4-6", false},
        {"claude-opus-4-7", false},
        {"claude-sonnet-5-5", false},
        {"claude-mythos-preview", false},
        {"claude-", false},
        {"other-model", false},
        {"", false},
    };
    for (size_t i = 0; i < HG_LEN(models); i++)
        if (hg_cloud_continues("anthropic", models[i].model) != models[i].continues)
            fail_msg("%s", models[i].model);
    assert_false(hg_cloud_continues("openai", "gpt-4"));
    assert_false(hg_cloud_continues("gemini", "gemini-2.5-flash"));
    assert_false(hg_cloud_continues("nobody", "claude-3-7-sonnet"));
    const char *const *names = hg_cloud_providers();
    assert_string_equal(names[0], "openai");
    assert_string_equal(names[1], "gemini");
    assert_string_equal(names[2], "anthropic");
    for (size_t i = 0; names[i]; i++) assert_true(i < 100);
}

int main(void)
{
    setenv("TEST_KEY", KEY, 1);
    setenv("BAD_KEY", "two words", 1);
    unsetenv("NO_SUCH_KEY");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_openai), cmocka_unit_test(test_gemini), cmocka_unit_test(test_anthropic),
        cmocka_unit_test(test_faults), cmocka_unit_test(test_times),  cmocka_unit_test(test_configuration),
        cmocka_unit_test(test_cancel), cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
