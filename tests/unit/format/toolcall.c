/* SPDX-License-Identifier: Apache-2.0 */
/* Calls in the text of answers: each form as models write it, what only looks like one, limits, linear time. */
#include "format/toolcall.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

/* What came out: text as it is, a call as "\x01name(arguments)\x02". */
typedef struct heard {
    hg_buf out;
    size_t upto, calls;
} heard;

static hangar_code on_text(void *ctx, hg_str text, size_t upto, hangar_err *err)
{
    heard *h = ctx;
    assert_true(text.len > 0 && upto >= h->upto + text.len);
    h->upto = upto;
    hg_buf_str(&h->out, text);
    return hg_buf_check(&h->out, err);
}

static hangar_code on_call(void *ctx, hg_str name, hg_str arguments, size_t upto, hangar_err *err)
{
    heard *h = ctx;
    hg_json *doc = NULL;
    assert_true(upto >= h->upto);
    h->upto = upto;
    h->calls++;
    assert_int_equal(hg_json_parse(arguments, NULL, &doc, NULL), HANGAR_OK);
    assert_true(hg_json_is_object(hg_json_root(doc)));
    hg_json_free(doc);
    hg_buf_printf(&h->out, "\x01%.*s(%.*s)\x02", HG_STR_ARG(name), HG_STR_ARG(arguments));
    return hg_buf_check(&h->out, err);
}

static hg_json *tools;

/* An answer in pieces of `each` bytes; what came out, the caller's. */
static char *feed(hg_str answer, size_t each, bool forced, size_t begun)
{
    heard h = {.upto = begun};
    hg_toolcalls p;
    const hg_toolcall_sink sink = {&h, on_text, on_call};
    hg_buf_init(&h.out, (size_t)64 << 20);
    hg_toolcalls_init(&p, hg_json_root(tools), forced, begun, &sink);
    for (size_t at = 0; at < answer.len; at += each) {
        size_t n = answer.len - at < each ? answer.len - at : each;
        assert_int_equal(hg_toolcalls_add(&p, (hg_str){answer.ptr + at, n}, NULL), HANGAR_OK);
        assert_true(p.held.len <= HG_TOOLCALL_BYTES_MAX + each);
    }
    assert_int_equal(hg_toolcalls_end(&p, NULL), HANGAR_OK);
    assert_int_equal(p.count, h.calls);
    hg_toolcalls_deinit(&p);
    return hg_buf_take(&h.out);
}

/* In pieces of any length the same comes out. */
static void check_how(const char *answer, bool forced, size_t begun, const char *want)
{
    for (size_t each = 1; each <= strlen(answer) + 1; each++) {
        char *got = feed(hg_str_of(answer), each, forced, begun);
        if (!hg_streq(got, want)) fail_msg("%s\nby %zu gives\n%s\nnot\n%s", answer, each, got, want);
        free(got);
    }
}

static void check(const char *answer, const char *want)
{
    check_how(answer, false, 0, want);
}

#define SUM                   \
    "\x01"                    \
    "add({\"a\":7,\"b\":15})" \
    "\x02"
#define NOW   \
    "\x01"    \
    "now({})" \
    "\x02"

static void hermes_and_qwen(void **state)
{
    (void)state;
    check("<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 7, \"b\": 15}}\n</tool_call>", SUM);
    check("Let me see.\n<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 7, \"b\": 15}}\n</tool_call>",
          "Let me see.\n" SUM);
    /* two, and text behind them */
    check("<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 7, \"b\": 15}}\n</tool_call>\n"
          "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>",
          SUM NOW);
    check("<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call> done", NOW " done");
    /* the keys in the other order, the other key, a text instead of an object, none at all */
    check("<tool_call>{\"arguments\":{\"a\":7,\"b\":15},\"name\":\"add\"}</tool_call>", SUM);
    check("<tool_call>{\"name\":\"add\",\"parameters\":{\"a\":7,\"b\":15}}</tool_call>", SUM);
    check("<tool_call>{\"name\":\"add\",\"arguments\":\"{\\\"a\\\":7,\\\"b\\\":15}\"}</tool_call>", SUM);
    check("<tool_call>{\"name\":\"now\"}</tool_call>", NOW);
    /* ended without its end, or with half of it; a tool that nobody gave is the caller's business */
    check("<tool_call>{\"name\":\"now\",\"arguments\":{}}", NOW);
    check("<tool_call>{\"name\":\"now\",\"arguments\":{}}</tool_", NOW);
    check("<tool_call>{\"name\":\"fly\",\"arguments\":{}}</tool_call>", "\x01"
                                                                        "fly({})"
                                                                        "\x02");
    /* what JSON may hold */
    check("<tool_call>{\"name\":\"say\",\"arguments\":{\"t\":\"}{</tool_call>\\\"\\\\\"}}</tool_call>!",
          "\x01"
          "say({\"t\":\"}{</tool_call>\\\"\\\\\"})"
          "\x02"
          "!");
    check("<tool_call>{\"name\":\"say\",\"arguments\":{\"t\":\"caf\xc3\xa9\",\"l\":[[1],{\"x\":[]}]}}</"
          "tool_call>",
          "\x01"
          "say({\"t\":\"caf\xc3\xa9\",\"l\":[[1],{\"x\":[]}]})"
          "\x02");
}

static void mistral(void **state)
{
    (void)state;
    check("[TOOL_CALLS][{\"name\": \"add\", \"arguments\": {\"a\": 7, \"b\": 15}}]", SUM);
    check("[TOOL_CALLS] [{\"name\": \"add\", \"arguments\": {\"a\": 7, \"b\": 15}}, {\"name\": \"now\", "
          "\"arguments\": {}}]",
          SUM NOW);
    check("Well. [TOOL_CALLS]{\"name\": \"now\", \"arguments\": {}}", "Well. " NOW);
}

static void llama(void **state)
{
    (void)state;
    check("{\"name\": \"add\", \"parameters\": {\"a\": 7, \"b\": 15}}", SUM);
    check("\n {\"type\": \"function\", \"name\": \"add\", \"parameters\": {\"a\": 7, \"b\": 15}} \n", SUM);
    /* only when it is all, and of a tool that is given */
    static const char *const texts[] = {
        "{\"name\": \"add\", \"parameters\": {\"a\": 7}} is it",
        "It is {\"name\": \"add\", \"parameters\": {\"a\": 7}}",
        "{\"name\": \"Bob\", \"parameters\": {\"a\": 7}}",
        "{\"name\": \"add\", \"age\": 7}",
        "{\"city\": \"Paris\", \"name\": \"add\", \"parameters\": {}}",
        "{}",
        "{7}",
        "{ \"name\" }",
        "[{\"name\": \"add\", \"parameters\": {}}]",
    };
    for (size_t i = 0; i < HG_LEN(texts); i++) check(texts[i], texts[i]);
    /* and not behind what is out already */
    check_how(texts[1] + 6, false, 5, texts[1] + 6);
}

static void forced(void **state)
{
    (void)state;
    check_how("{\"name\":\"add\",\"arguments\":{\"a\":7,\"b\":15}}", true, 0, SUM);
    check_how("[{\"name\":\"add\",\"arguments\":{\"a\":7,\"b\":15}}]", true, 0, SUM);
    /* cut in its midst it is no call */
    check_how("{\"name\":\"add\",\"arguments\":{\"a\":7,\"b\"", true, 0,
              "{\"name\":\"add\",\"arguments\":{\"a\":7,\"b\"");
}

static void text_that_only_looks_like_it(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        " ",
        "plain",
        "a < b and [x]",
        "<tool_cal",
        "[TOOL_CALL",
        "<tool_call>",
        "<tool_call> no",
        "<tool_call>\n\n",
        "<tool_call>[1]</tool_call>",
        "<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": 7}",
        "<tool_call>{\"name\": \"add\", \"arguments\": 7}</tool_call>",
        "<tool_call>{\"name\": \"\", \"arguments\": {}}</tool_call>",
        "<tool_call>{\"name\": 5, \"arguments\": {}}</tool_call>",
        "<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": }}</tool_call>",
        "<tool_call>{'name': 'add'}</tool_call>",
        "<tool_call>{\"name\": \"ad\nd\"}</tool_call>",
        "<tool_call>{\"name\": \"add\", ]}</tool_call>",
        "[TOOL_CALLS]",
        "[TOOL_CALLS] x",
        "[TOOL_CALLS][]",
        "[TOOL_CALLS][{\"name\": \"add\", \"arguments\": {}}, 7]",
        "<<tool_call",
        "</tool_call>",
    };
    for (size_t i = 0; i < HG_LEN(texts); i++) check(texts[i], texts[i]);
    /* a broken one does not hide the next */
    check("<tool_call> hm <tool_call>{\"name\":\"now\"}</tool_call>", "<tool_call> hm " NOW);
    check("<<tool_call>{\"name\":\"now\"}</tool_call>", "<" NOW);
    check("<tool_call>{\"name\":7}</tool_call><tool_call>{\"name\":\"now\"}",
          "<tool_call>{\"name\":7}</tool_call>" NOW);
    check("[TOOL_CALLS]x[TOOL_CALLS][{\"name\":\"now\"}]", "[TOOL_CALLS]x" NOW);
}

/* n times a text behind a head; the caller's. */
static char *repeated(const char *head, const char *text, size_t n)
{
    hg_buf b;
    hg_buf_init(&b, (size_t)64 << 20);
    hg_buf_puts(&b, head);
    for (size_t i = 0; i < n; i++) hg_buf_puts(&b, text);
    assert_int_equal(hg_buf_check(&b, NULL), HANGAR_OK);
    return hg_buf_take(&b);
}

static void limits(void **state)
{
    (void)state;
    static const struct {
        const char *head, *text;
        size_t n;
    } cases[] = {
        {"<tool_call>{\"name\":\"", "x", HG_TOOLCALL_BYTES_MAX},
        {"<tool_call>", " ", HG_TOOLCALL_BYTES_MAX},
        {"<tool_call>{\"name\":\"add\",\"arguments\":{\"a\":", "[", HG_TOOLCALL_DEPTH_MAX},
        {"{\"name\":\"add\",\"parameters\":{\"a\":\"", "y", HG_TOOLCALL_BYTES_MAX},
        {"", " ", HG_TOOLCALL_BYTES_MAX + 1},
    };
    for (size_t i = 0; i < HG_LEN(cases); i++) {
        char *answer = repeated(cases[i].head, cases[i].text, cases[i].n),
             *got = feed(hg_str_of(answer), 1000, false, 0);
        assert_string_equal(got, answer);
        free(got), free(answer);
    }
    /* as many calls as there may be; the rest is text */
    static const char one[] = "<tool_call>{\"name\":\"now\"}</tool_call>";
    char *answer = repeated("", one, HG_TOOLCALLS_MAX + 2), *got = feed(hg_str_of(answer), 77, false, 0);
    char *want = repeated("", NOW, HG_TOOLCALLS_MAX);
    assert_int_equal(strncmp(got, want, strlen(want)), 0);
    assert_non_null(strstr(got + strlen(want), one));
    assert_null(strchr(got + strlen(want), '\x01'));
    free(got), free(answer), free(want);
}

/* Seconds that this thread has worked: other programs do not count. */
static double worked(void)
{
    struct timespec t;
    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t), 0);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Four times as much takes about four times as long, beyond the size of one call; with n squared in it it would be sixteen times, or thousands. */
static bool linear(const double took[2])
{
    return took[1] <= 9 * took[0] + 0.02;
}

static void linear_time(void **state)
{
    (void)state;
    static const char *const heads[] = {"", "<tool_call>{\"name\":\"", "{\"name\":"};
    static const char *const texts[] = {"<tool_call>",   "<tool_call>{",
                                        "[TOOL_CALLS][", "<tool_call>{\"name\":7}",
                                        "<<<<[[[[",      "{",
                                        "\\\"",          "<tool_call>{\"name\":\"now\"} "};
    for (size_t h = 0; h < HG_LEN(heads); h++) {
        for (size_t i = 0; i < HG_LEN(texts); i++) {
            char *answers[2];
            double took[2] = {1e9, 1e9};
            for (int k = 0; k < 2; k++)
                answers[k] =
                    repeated(heads[h], texts[i], (HG_TOOLCALL_BYTES_MAX * 2 << (2 * k)) / strlen(texts[i]));
            for (int trial = 0; trial < 40 && (trial < 2 || !linear(took));
                 trial++) { /* as other work disturbs */
                for (int k = 0; k < 2; k++) {
                    double begin = worked();
                    free(feed(hg_str_of(answers[k]), 4096, false, 0));
                    double now = worked() - begin;
                    if (now < took[k]) took[k] = now;
                }
            }
            for (int k = 0; k < 2; k++) free(answers[k]);
            if (!linear(took))
                fail_msg("%s%s...: %g s, and four times as much %g s", heads[h], texts[i], took[0], took[1]);
        }
    }
}

static void marks(void **state)
{
    (void)state;
    assert_true(hg_toolcall_is_mark(HG_STR("<tool_call>")) && hg_toolcall_is_mark(HG_STR("</tool_call>")));
    assert_true(hg_toolcall_is_mark(HG_STR("[TOOL_CALLS]")));
    assert_false(hg_toolcall_is_mark(HG_STR("<|im_end|>")) || hg_toolcall_is_mark(HG_STR("")));
}

static int open_tools(void **state)
{
    (void)state;
    return hg_json_parse(HG_STR("[{\"type\":\"function\",\"function\":{\"name\":\"add\"}},"
                                "{\"type\":\"function\",\"function\":{\"name\":\"now\"}}]"),
                         NULL, &tools, NULL);
}

static int close_tools(void **state)
{
    (void)state;
    hg_json_free(tools);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hermes_and_qwen),
        cmocka_unit_test(mistral),
        cmocka_unit_test(llama),
        cmocka_unit_test(forced),
        cmocka_unit_test(text_that_only_looks_like_it),
        cmocka_unit_test(limits),
        cmocka_unit_test(linear_time),
        cmocka_unit_test(marks),
    };
    return cmocka_run_group_tests(tests, open_tools, close_tools);
}
