/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/words.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

/* The value that a JSON text is, kept until the next call. */
static hg_json *doc;
static const hg_jval *value(const char *text)
{
    hg_json_free(doc);
    doc = NULL;
    assert_int_equal(hg_json_parse(hg_str_of(text), NULL, &doc, NULL), HANGAR_OK);
    return hg_json_root(doc);
}

static void test_ago(void **state)
{
    (void)state;
    static const struct {
        int64_t age;
        const char *words;
    } cases[] = {{0, "just now"},
                 {59, "just now"},
                 {-30, "just now"},
                 {60, "1 minute ago"},
                 {3599, "59 minutes ago"},
                 {3600, "1 hour ago"},
                 {86399, "23 hours ago"},
                 {86400, "1 day ago"},
                 {86400 * 13, "13 days ago"},
                 {86400 * 14, "2 weeks ago"},
                 {86400 * 59, "8 weeks ago"},
                 {86400 * 60, "2026-09-21"},
                 {-3600, "2026-11-20"}};
    int64_t now = 1795186800; /* 2026-11-20T15:00:00Z */
    hg_words w;
    for (size_t i = 0; i < HG_LEN(cases); i++) {
        char text[32];
        snprintf(text, sizeof text, "%lld", (long long)(now - cases[i].age));
        assert_string_equal(hg_ago_words(&w, value(text), now), cases[i].words);
    }
    assert_string_equal(hg_ago_words(&w, value("\"2026-11-20T14:00:00Z\""), now), "1 hour ago");
    assert_string_equal(hg_ago_words(&w, value("\"yesterday\""), now), "-");
    assert_string_equal(hg_ago_words(&w, value("null"), now), "-");
    assert_string_equal(hg_ago_words(&w, value("1e300"), now), "-");
    assert_string_equal(hg_ago_words(&w, NULL, now), "-");
}

static void test_numbers(void **state)
{
    (void)state;
    hg_words w;
    assert_string_equal(hg_size_words(&w, value("3200000")), "3.2 MB");
    assert_string_equal(hg_size_words(&w, value("-1")), "-");
    assert_string_equal(hg_count_words(&w, value("9999")), "9999");
    assert_string_equal(hg_count_words(&w, value("12045")), "12,045");
    assert_string_equal(hg_count_words(&w, value("999999")), "999,999");
    assert_string_equal(hg_count_words(&w, value("39400000")), "39.4 million");
    assert_string_equal(hg_count_words(&w, value("999960000")), "1.0 billion");
    assert_string_equal(hg_count_words(&w, value("\"x\"")), "-");
    assert_string_equal(hg_plural_words(&w, 1, "file", "files"), "1 file");
    assert_string_equal(hg_plural_words(&w, 0, "file", "files"), "0 files");
    assert_string_equal(hg_seconds_words(&w, value("0.0213")), "21 ms");
    assert_string_equal(hg_seconds_words(&w, value("1.5")), "1.5 s");
    assert_string_equal(hg_seconds_words(&w, value("62")), "1:02");
    assert_string_equal(hg_seconds_words(&w, value("null")), "-");
    assert_string_equal(hg_commit_words(&w, value("\"0123456789abcdef\"")), "0123456789ab");
    assert_string_equal(hg_commit_words(&w, NULL), "-");
    hg_json_free(doc);
    doc = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ago), cmocka_unit_test(test_numbers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
