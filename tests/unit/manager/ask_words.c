/* SPDX-License-Identifier: Apache-2.0 */
/* The way of a token from a runner's frame into a client's chunk: what may pass unread, and what may not. */
#include "manager/ask_inner.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static void plain_pieces_pass(void **state)
{
    (void)state;
    static const char *const good[] = {"", "word", " a \\\"b\\\" \\n\\t\\\\ \\u00e9",
                                       "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\\/\\b\\f\\r"};
    for (size_t i = 0; i < HG_LEN(good); i++) {
        HG_AUTO(hg_auto_free) char *json = hg_format("{\"text\":\"%s\"}", good[i]);
        hg_str inside = {0};
        assert_true(hg_words_plain(hg_str_of(json), &inside));
        assert_true(hg_str_eq(inside, hg_str_of(good[i])));
    }
}

static void others_do_not(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "{}",
        "{\"text\":\"",
        "{\"text\":\"}",
        "{\"text\":1}",
        "{\"text\":\"a\",\"logprobs\":[]}",
        "{\"text\":\"a\"b\"}",         /* a quote that ends it        */
        "{\"text\":\"a\\\"}",          /* the last quote is escaped   */
        "{\"text\":\"a\\x41\"}",       /* no escape of JSON's         */
        "{\"text\":\"\\u12g4\"}",      /* no hex                      */
        "{\"text\":\"\\u12\"}",        /* too short                   */
        "{\"text\":\"a\nb\"}",         /* a line break as it is       */
        "{\"text\":\"\x1b[31m\"}",     /* a control character         */
        "{\"text\":\"\xff\"}",         /* no UTF-8                    */
        "{\"text\":\"\xed\xa0\x80\"}", /* a surrogate                 */
        " {\"text\":\"a\"}",
        "{\"text\": \"a\"}",
    };
    for (size_t i = 0; i < HG_LEN(bad); i++) {
        hg_str inside;
        if (hg_words_plain(hg_str_of(bad[i]), &inside)) fail_msg("passed: %s", bad[i]);
    }
}

static void literals_become_text(void **state)
{
    (void)state;
    hg_buf out;
    hg_buf_init(&out, HG_MIB);
    assert_int_equal(hg_words_text(HG_STR("a\\n\\u00e9\\\"\xf0\x9f\x98\x80"), &out, NULL), HANGAR_OK);
    assert_string_equal(hg_buf_text(&out), "a\n\xc3\xa9\"\xf0\x9f\x98\x80");
    hg_buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_pieces_pass),
        cmocka_unit_test(others_do_not),
        cmocka_unit_test(literals_become_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
