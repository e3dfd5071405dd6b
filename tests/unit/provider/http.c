/* SPDX-License-Identifier: Apache-2.0 */
/* One request that a thread waits for: over TCP and a unix socket, its limits, its end. */
#include "provider/http.h"

#include "base/clock.h"
#include "base/mem.h"
#include "server.h"

#include <sys/stat.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static hangar_code ask(const char *url, hg_http_reply *out, hangar_err *err)
{
    return hg_http_call(&(hg_http_request){.url = url}, NULL, NULL, NULL, out, err);
}

static void test_get_and_post(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nContent-Type: Application/JSON; charset=utf-8\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nbusy", NULL};
    server s;
    server_start(&s, NULL, answers);
    hg_http_reply r;
    hangar_err err = {0};
    assert_int_equal(ask(s.url, &r, &err), HANGAR_OK);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.type, "application/json");
    assert_string_equal(hg_buf_text(&r.body), "{}");
    assert_true(r.connected && r.retry_after < 0);
    assert_non_null(strstr(s.request, "GET / HTTP/1.1\r\n"));
    assert_null(strcasestr(s.request, "authorization"));
    hg_http_reply_deinit(&r);
    hg_http_request q = {.url = s.url, .key = "sk-1", .body = HG_STR("{\"a\":1}")};
    assert_int_equal(hg_http_call(&q, NULL, NULL, NULL, &r, &err), HANGAR_OK);
    assert_int_equal(r.status, 429);
    assert_true(r.retry_after == 7);
    assert_string_equal(hg_buf_text(&r.body), "busy");
    assert_non_null(strstr(s.request, "POST / HTTP/1.1\r\n"));
    assert_non_null(strstr(s.request, "Authorization: Bearer sk-1\r\n"));
    assert_non_null(strstr(s.request, "Content-Type: application/json\r\n"));
    assert_non_null(strstr(s.request, "\r\n\r\n{\"a\":1}"));
    hg_http_reply_deinit(&r);
    server_stop(&s);
}

typedef struct pieces {
    hg_buf all;
    bool stop;
    unsigned status;
    hangar_job *job;
} pieces;

static bool on_piece(void *ctx, const hg_http_reply *head, hg_str piece)
{
    pieces *p = ctx;
    p->status = head->status;
    hg_buf_str(&p->all, piece);
    if (p->job) hangar_job_cancel(p->job);
    return !p->stop;
}

static void test_unix_socket_in_pieces(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n",
        "HTTP/1.1 200 OK\r\n\r\nfirst\x01", "HTTP/1.1 200 OK\r\n\r\nfirst\x01",
        "HTTP/1.1 404 None\r\n\r\nno such thing", NULL};
    server s;
    server_start(&s, "here.sock", answers);
    hg_http_request q = {.url = "http://hangar/hangar/v1/events?x=1", .socket = "here.sock"};
    hg_http_reply r;
    hangar_err err = {0};
    pieces p = {0};
    hg_buf_init(&p.all, HG_MIB);
    assert_int_equal(hg_http_call(&q, on_piece, &p, NULL, &r, &err), HANGAR_OK);
    assert_string_equal(hg_buf_text(&p.all), "data: 1\n\n");
    assert_string_equal(r.type, "text/event-stream");
    assert_int_equal(p.status, 200);
    assert_int_equal(r.body.len, 0);
    assert_non_null(strstr(s.request, "GET /hangar/v1/events?x=1 HTTP/1.1\r\nHost: hangar\r\n"));
    hg_http_reply_deinit(&r);
    /* The callback has seen enough: no wait for the end. */
    p.stop = true;
    assert_int_equal(hg_http_call(&q, on_piece, &p, NULL, &r, &err), HANGAR_OK);
    hg_http_reply_deinit(&r);
    /* Cancelled while the stream hangs. */
    p.stop = false;
    p.job = hangar_job_new(NULL, NULL);
    assert_int_equal(hg_http_call(&q, on_piece, &p, p.job, &r, &err), HANGAR_E_CANCELLED);
    hg_http_reply_deinit(&r);
    hangar_job_free(p.job);
    /* An error's body is kept although there is a callback. */
    p.job = NULL;
    hg_buf_reset(&p.all);
    assert_int_equal(hg_http_call(&q, on_piece, &p, NULL, &r, &err), HANGAR_OK);
    assert_int_equal(r.status, 404);
    assert_int_equal(p.all.len, 0);
    assert_string_equal(hg_buf_text(&r.body), "no such thing");
    hg_http_reply_deinit(&r);
    hg_buf_deinit(&p.all);
    server_stop(&s);
}

/* A path that is longer than the system's own addresses may be. */
static void test_long_path(void **state)
{
    (void)state;
    static const char *const answers[] = {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", NULL};
    char folder[121], path[160];
    memset(folder, 'd', 120);
    folder[120] = '\0';
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(chdir(folder), 0);
    server s;
    server_start(&s, "here.sock", answers);
    assert_int_equal(chdir(".."), 0);
    snprintf(path, sizeof path, "%s/here.sock", folder);
    hg_http_request q = {.url = "http://a-name-that-nobody-resolves.invalid/x", .socket = path};
    hg_http_reply r;
    hangar_err err = {0};
    if (hg_http_call(&q, NULL, NULL, NULL, &r, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    assert_string_equal(hg_buf_text(&r.body), "{}");
    assert_true(r.connected);
    hg_http_reply_deinit(&r);
    server_stop(&s);
}

static void test_nobody_there(void **state)
{
    (void)state;
    hg_http_request q = {.url = "http://localhost/", .socket = "none.sock"};
    hg_http_reply r;
    hangar_err err = {0};
    assert_int_equal(hg_http_call(&q, NULL, NULL, NULL, &r, &err), HANGAR_E_NETWORK);
    assert_false(r.connected);
    hg_http_reply_deinit(&r);
    assert_int_equal(ask("http://127.0.0.1:1/", &r, &err), HANGAR_E_NETWORK);
    assert_false(r.connected);
    hg_http_reply_deinit(&r);
}

static void test_times(void **state)
{
    (void)state;
    static const char *const answers[] = {"\x01", "HTTP/1.1 200 OK\r\n\r\nsome\x01", NULL};
    server s;
    server_start(&s, NULL, answers);
    hg_http_reply r;
    hangar_err err = {0};
    hg_http_request q = {.url = s.url, .timeout = 0.2};
    assert_int_equal(hg_http_call(&q, NULL, NULL, NULL, &r, &err), HANGAR_E_TIMEOUT);
    assert_true(r.connected && r.status == 0);
    assert_non_null(strstr(err.msg, "0.2 s"));
    hg_http_reply_deinit(&r);
    q = (hg_http_request){.url = s.url, .stall_timeout = 0.2};
    assert_int_equal(hg_http_call(&q, NULL, NULL, NULL, &r, &err), HANGAR_E_TIMEOUT);
    assert_int_equal(r.status, 200);
    assert_non_null(strstr(err.msg, "nothing came"));
    hg_http_reply_deinit(&r);
    server_stop(&s);
}

static void test_limits(void **state)
{
    (void)state;
    char *wide = malloc(70000);
    size_t at = (size_t)sprintf(wide, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 800; i++) at += (size_t)sprintf(wide + at, "x-header-%03d: %040d\r\n", i, i);
    sprintf(wide + at, "\r\n");
    const char *const answers[] = {"HTTP/1.1 200 OK\r\n\r\n0123456789", wide,
                                   "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", NULL};
    server s;
    server_start(&s, NULL, answers);
    hg_http_reply r;
    hangar_err err = {0};
    hg_http_request q = {.url = s.url, .max_body = 9};
    assert_int_equal(hg_http_call(&q, NULL, NULL, NULL, &r, &err), HANGAR_E_LIMIT);
    hg_http_reply_deinit(&r);
    err = (hangar_err){0};
    assert_int_equal(ask(s.url, &r, &err), HANGAR_E_LIMIT);
    assert_non_null(strstr(err.msg, "bytes of headers"));
    hg_http_reply_deinit(&r);
    /* A redirect is an answer like any other. */
    assert_int_equal(ask(s.url, &r, &err), HANGAR_OK);
    assert_int_equal(r.status, 302);
    assert_int_equal(s.requests, 3);
    hg_http_reply_deinit(&r);
    server_stop(&s);
    free(wide);
}

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *url, *words;
    } bad[] = {
        {"http://example.com/", "another machine"},
        {"http://127.0.0.1.example.com/", "another machine"},
        {"http://128.0.0.1/", "another machine"},
        {"http://[::2]/", "another machine"},
        {"http://localhost.evil/", "another machine"},
        {"http://0.0.0.0/", "another machine"},
        {"ftp://127.0.0.1/", "neither"},
        {"file:///etc/passwd", ""},
        {"http://u:p@127.0.0.1/", "user's name"},
        {"http://p@127.0.0.1/", "user's name"},
        {"http://127.0.0.1/#x", "fragment"},
        {"127.0.0.1", ""},
        {"", ""},
        {"http://", ""},
        {"http://a b/", ""},
    };
    for (size_t i = 0; i < HG_LEN(bad); i++) {
        hg_http_reply r;
        hangar_err err = {0};
        if (ask(bad[i].url, &r, &err) != HANGAR_E_USAGE) fail_msg("%s: %s", bad[i].url, err.msg);
        if (!strstr(err.msg, bad[i].words)) fail_msg("%s: %s", bad[i].url, err.msg);
        hg_http_reply_deinit(&r);
    }
    hg_http_reply r;
    hangar_err err = {0};
    hg_http_request q = {.url = "http://127.0.0.1:1/", .key = "a\r\nX: y"};
    assert_int_equal(hg_http_call(&q, NULL, NULL, NULL, &r, &err), HANGAR_E_USAGE);
    assert_null(strstr(err.msg, "X: y"));
    hg_http_reply_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get_and_post), cmocka_unit_test(test_unix_socket_in_pieces),
        cmocka_unit_test(test_long_path),    cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_times),        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
