/* SPDX-License-Identifier: Apache-2.0 */
/* Reading headers: what a hostile or careless server may write in them, and what may be believed. */
#include "hub/reply.h"
#include "hub/wait.h"

#include "base/clock.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void feed(hg_reply *r, const char *text)
{
    hg_str rest = hg_str_of(text), line;
    bool more = true;
    while (more) {
        more = hg_str_cut(&rest, '\n', &line);
        hg_reply_line(r, line);
    }
}

static void test_headers(void **state)
{
    (void)state;
    hg_reply r = {0};
    feed(&r, "HTTP/1.1 302 Found\r\nLocation: /x?a=b\r\nETAG: W/\"abc\"\r\nx-linked-etag:\"def\"\r\n"
             "X-Linked-Size: 17\r\ncontent-length:  30 \r\nX-Repo-Commit: c0ffee\r\nRetry-After: 7\r\n\r\n");
    assert_int_equal(r.status, 302);
    assert_string_equal(r.location, "/x?a=b");
    assert_string_equal(r.etag, "abc");
    assert_string_equal(r.linked_etag, "def");
    assert_true(r.linked_size_known && r.linked_size == 17);
    assert_true(r.length_known && r.length == 30 && !r.length_bad);
    assert_string_equal(r.commit, "c0ffee");
    assert_string_equal(r.retry_after, "7");
    /* A new status line is a new answer. */
    feed(&r, "HTTP/2 200 \r\nContent-Encoding: gzip\r\n");
    assert_int_equal(r.status, 200);
    assert_null(r.location);
    assert_true(!r.length_known && !r.etag[0] && r.encoded);
    feed(&r, "HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\n");
    assert_false(r.encoded);
    hg_reply_reset(&r);
}

static void test_lengths(void **state)
{
    (void)state;
    static const char *const bad[] = {"-1", "+1", "1.0", "0x10", "1e3", "99999999999999999999",
                                      "a",  "",   "1 2", "1,1"};
    for (size_t i = 0; i < HG_LEN(bad); i++) {
        hg_reply r = {0};
        char line[64];
        snprintf(line, sizeof line, "Content-Length: %s", bad[i]);
        feed(&r, line);
        assert_true(r.length_bad && !r.length_known);
        hg_reply_reset(&r);
    }
    hg_reply r = {0};
    feed(&r, "Content-Length: 5\nContent-Length: 5");
    assert_true(r.length_known && !r.length_bad);
    feed(&r, "Content-Length: 6");
    assert_true(r.length_bad);
    hg_reply_reset(&r);
}

/* Too long values are cut, too many headers are noticed, and nothing is written behind a field. */
static void test_limits(void **state)
{
    (void)state;
    static char line[HG_HEADERS_MAX + 100];
    hg_reply r = {0};
    memset(line, 'x', sizeof line - 1);
    memcpy(line, "X-Error-Message: ", 17);
    line[1000] = '\0';
    feed(&r, line);
    assert_int_equal(strlen(r.error_message), sizeof r.error_message - 1);
    assert_false(r.over);
    for (int i = 0; i < 40; i++) feed(&r, line);
    assert_true(r.over);
    hg_reply_reset(&r);
    line[1000] = 'x';
    feed(&r, line);
    assert_true(r.over);
    hg_reply_reset(&r);
    feed(&r, "no colon here\n:empty name\nETag:\nEtag: \"\nEtag: W/\n");
    assert_false(r.over);
    hg_reply_reset(&r);
}

static void test_content_range(void **state)
{
    (void)state;
    uint64_t a, b, t;
    assert_true(hg_content_range_parse("bytes 0-0/1", &a, &b, &t) && a == 0 && b == 0 && t == 1);
    assert_true(hg_content_range_parse("bytes 5-99/18446744073709551615", &a, &b, &t) && b == 99);
    static const char *const bad[] = {"",
                                      "bytes",
                                      "bytes ",
                                      "bytes 0-1",
                                      "bytes 0-1/*",
                                      "bytes */5",
                                      "bytes=0-1/5",
                                      "bytes 2-1/5",
                                      "bytes 0-5/5",
                                      "bytes -1-1/5",
                                      "bytes 0-/5",
                                      "bytes 0-1/",
                                      "bytes  0-1/5",
                                      "bytes 0 -1/5",
                                      "bytes 0-1/5 ",
                                      "0-1/5",
                                      "Bytes 0-1/5",
                                      "bytes 0-1/5,x",
                                      "bytes 0-1/+5",
                                      "chunks 0-1/5",
                                      "bytes 0x0-1/5",
                                      "bytes 18446744073709551616-18446744073709551617/5"};
    for (size_t i = 0; i < HG_LEN(bad); i++)
        if (hg_content_range_parse(bad[i], &a, &b, &t)) fail_msg("'%s' was taken", bad[i]);
}

static double wait_of(const char *text)
{
    hg_reply r = {0};
    feed(&r, text);
    double wait = hg_reply_wait(&r, 1767225600); /* 2026-01-01T00:00:00Z */
    hg_reply_reset(&r);
    return wait;
}

static void test_waits(void **state)
{
    (void)state;
    assert_true(wait_of("X: y") < 0);
    assert_true(wait_of("Retry-After: 12") == 12);
    assert_true(wait_of("Retry-After: 99999999999999999999") <
                0); /* not a number that fits: as if it were not there */
    assert_true(wait_of("Retry-After: 4000000000") == 1e9);
    assert_true(wait_of("Retry-After: Thu, 01 Jan 2026 00:01:30 GMT") == 90);
    assert_true(wait_of("Retry-After: Wed, 31 Dec 2025 23:00:00 GMT") == 0);
    assert_true(wait_of("Retry-After: soon") < 0);
    assert_true(wait_of("RateLimit: \"api\";r=0;t=55") == 55);
    assert_true(wait_of("RateLimit: \"api\";r=3;t=200, \"resolvers\"; r=0; t=9") == 9);
    assert_true(wait_of("RateLimit: \"api\";r=3;t=200") == 200);
    assert_true(wait_of("RateLimit: ;;;,,=;t=x") < 0);
    assert_true(wait_of("Retry-After: 3\nRateLimit: \"api\";r=0;t=55") == 55);
}

static void test_choosing(void **state)
{
    (void)state;
    double wait;
    hangar_err err = {0};
    hg_reply r = {.status = 429, .retry_after = "2"};
    assert_int_equal(hg_wait_choose(&r, 1, false, &wait, &err), HANGAR_OK);
    assert_true(wait >= 2 && wait < 2.5);
    r = (hg_reply){.status = 429, .retry_after = "301"};
    assert_int_equal(hg_wait_choose(&r, 1, false, &wait, &err), HANGAR_E_RATE_LIMITED);
    /* A bucket's reset on an answer that is no 429 asks for nothing. */
    r = (hg_reply){.status = 503, .rate_limit = "\"api\";r=499;t=295"};
    assert_int_equal(hg_wait_choose(&r, 1, false, &wait, &err), HANGAR_OK);
    assert_true(wait < 1);
    double before = 0;
    for (int64_t nth = 1; nth <= 100; nth++) {
        wait = hg_wait_grow(nth, false);
        assert_true(wait > 0.3 && wait <= 10 && wait > before / 4);
        before = wait;
        assert_true(hg_wait_grow(nth, true) <= 1.25);
    }
}

static void test_link(void **state)
{
    (void)state;
    hg_str s;
    assert_true(hg_link_next("<http://h/x?a=1,2;b>; rel=\"next\"", &s) &&
                hg_str_eq(s, HG_STR("http://h/x?a=1,2;b")));
    assert_true(hg_link_next("<a>; rel=\"prev\", <b>;title=\"x\"; rel=next", &s) &&
                hg_str_eq(s, HG_STR("b")));
    static const char *const none[] = {
        "",       "<a>",    "<a>; rel=\"last\"", "<a; rel=\"next\"", "rel=\"next\"",
        "<a>; x", "<<>><>", "<a>, rel=\"next",   ">; rel=\"next\"<"};
    for (size_t i = 0; i < HG_LEN(none); i++)
        if (hg_link_next(none[i], &s)) fail_msg("'%s' has a next page", none[i]);
}

static void test_etag(void **state)
{
    (void)state;
    hg_oid oid;
    assert_true(hg_etag_oid("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", &oid) &&
                oid.kind == HG_HASH_GIT_SHA1);
    assert_false(hg_etag_oid("", &oid));
    assert_false(hg_etag_oid("********************************", &oid));
    assert_false(hg_etag_oid("E69DE29BB2D1D6434B8B29AE775AD8C2E48C5391", &oid));
    assert_false(hg_etag_oid("../../../../../../../../../../../../../../../../x", &oid));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),       cmocka_unit_test(test_lengths), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_content_range), cmocka_unit_test(test_waits),   cmocka_unit_test(test_choosing),
        cmocka_unit_test(test_link),          cmocka_unit_test(test_etag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
