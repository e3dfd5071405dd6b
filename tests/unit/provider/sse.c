/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of events: how lines end, how they are cut, what is no event, and the limits. */
#include "provider/sse.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

typedef struct seen {
    hg_buf all;
    size_t most;
} seen;

static bool on_event(void *ctx, const char *event, hg_str data)
{
    seen *s = ctx;
    hg_buf_printf(&s->all, "[%s|%.*s]", event, HG_STR_ARG(data));
    return --s->most > 0;
}

/* The events of a text that comes in pieces of `step` bytes, as one text of the caller's. */
static char *events_of(const char *text, size_t step, size_t most)
{
    seen s = {.most = most};
    hg_sse sse;
    hg_buf_init(&s.all, HG_MIB);
    hg_sse_init(&sse, on_event, &s);
    for (size_t at = 0, len = strlen(text); at < len; at += step) {
        size_t n = step < len - at ? step : len - at;
        assert_int_equal(hg_sse_feed(&sse, (hg_str){text + at, n}, NULL), HANGAR_OK);
    }
    hg_sse_deinit(&sse);
    return hg_buf_take(&s.all);
}

static void test_events(void **state)
{
    (void)state;
    static const struct {
        const char *text, *events;
    } cases[] = {
        {"data: a\n\ndata: b\n\n", "[|a][|b]"},
        {"data: a\r\n\r\ndata: b\r\n\r\n", "[|a][|b]"},
        {"data: a\r\rdata: b\r\r", "[|a][|b]"},
        {"data: a\r\n\ndata: b\n\r\n", "[|a][|b]"},
        {"data: a\ndata: b\ndata:\ndata:  c\n\n", "[|a\nb\n\n c]"},
        {"event: x\ndata: a\n\ndata: b\n\n", "[x|a][|b]"},
        {"event: x\nevent: y\ndata:a:b\n\n", "[y|a:b]"},
        {": comment\n\n:\nid: 7\nretry: 1\nother: x\ndata\n\n", "[|]"},
        {"event: nothing\n\ndata: a\n\n", "[|a]"},
        {"\xEF\xBB\xBF"
         "data: a\n\n",
         "[|a]"},
        {"\xEF\xBB"
         "data: a\n\ndata: b\n\n",
         "[|b]"},
        {"data: a\n\n\n\n\ndata: cut off\n", "[|a]"},
        {"data: cut off", ""},
        {" data: a\n\nDATA: b\n\n", ""},
        {"", ""},
    };
    for (size_t i = 0; i < HG_LEN(cases); i++)
        for (size_t step = 1; step < 40; step++) {
            char *got = events_of(cases[i].text, step, SIZE_MAX);
            if (strcmp(got, cases[i].events) != 0) fail_msg("case %zu, pieces of %zu: %s", i, step, got);
            free(got);
        }
}

static void test_enough(void **state)
{
    (void)state;
    char *got = events_of("data: a\n\ndata: b\n\n", 100, 1);
    assert_string_equal(got, "[|a]");
    free(got);
}

/* A line without an end costs no more than the limit, and is an error once it is over it. */
static void test_limits(void **state)
{
    (void)state;
    seen s = {.most = SIZE_MAX};
    hg_sse sse;
    hangar_err err = {0};
    char *block = malloc(HG_MIB + 1);
    memset(block, 'x', HG_MIB + 1);
    hg_buf_init(&s.all, HG_MIB);
    hg_sse_init(&sse, on_event, &s);
    for (int i = 0; i < 1024; i++)
        assert_int_equal(hg_sse_feed(&sse, (hg_str){block, 1024}, &err), HANGAR_OK);
    assert_int_equal(hg_sse_feed(&sse, (hg_str){block, 1}, &err), HANGAR_E_LIMIT);
    assert_non_null(strstr(err.msg, "a line of the stream"));
    assert_int_equal(hg_sse_feed(&sse, HG_STR("\n\ndata: a\n\n"), &err), HANGAR_E_LIMIT);
    assert_true(sse.line.len <= HG_SSE_LINE_MAX);
    hg_sse_deinit(&sse);
    /* The same in one piece. */
    block[HG_MIB] = '\n';
    hg_sse_init(&sse, on_event, &s);
    assert_int_equal(hg_sse_feed(&sse, (hg_str){block, HG_MIB + 1}, &err), HANGAR_OK);
    block[HG_MIB] = 'x';
    assert_int_equal(hg_sse_feed(&sse, (hg_str){block, HG_MIB + 1}, &err), HANGAR_E_LIMIT);
    hg_sse_deinit(&sse);
    /* Many lines of one event. */
    hg_sse_init(&sse, on_event, &s);
    memcpy(block, "data:", 5);
    block[HG_MIB - 1] = '\n';
    hangar_code code = HANGAR_OK;
    for (int i = 0; i < 5 && code == HANGAR_OK; i++) code = hg_sse_feed(&sse, (hg_str){block, HG_MIB}, &err);
    assert_int_equal(code, HANGAR_E_LIMIT);
    assert_non_null(strstr(err.msg, "an event of the stream"));
    assert_int_equal(s.all.len, 0);
    hg_sse_deinit(&sse);
    hg_buf_deinit(&s.all);
    free(block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_enough),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
