/* SPDX-License-Identifier: Apache-2.0 */
/* What is remembered of decisions: the order, the choice by kind and model, the ring's end, hostile text. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "manager/why.h"

static hg_json *read_back(const hg_why *w, const char *kind, const char *model, size_t most)
{
    hg_jw *out = hg_jw_new();
    char *text = NULL;
    hg_json *doc = NULL;
    hg_jw_arr(out, NULL);
    hg_why_write(w, kind, model, most, out);
    assert_int_equal(hg_jw_finish(out, false, &text, NULL), HANGAR_OK);
    assert_int_equal(hg_json_parse(hg_str_of(text), NULL, &doc, NULL), HANGAR_OK);
    hg_jw_free(out);
    free(text);
    return doc;
}

static const char *member(const hg_json *doc, size_t i, const char *key)
{
    const char *text = hg_json_text(hg_json_get(hg_json_at(hg_json_root(doc), i), key));
    assert_non_null(text);
    return text;
}

static void test_latest_first_and_chosen(void **state)
{
    (void)state;
    hg_why *w = hg_why_new();
    hg_why_note(w, "eviction", "a/one", "made room for %s", "b/two");
    hg_why_note(w, "restart", "b/two", "it ended");
    hg_why_note(w, "eviction", "b/two", "idle longest");
    hg_json *doc = read_back(w, NULL, NULL, 10);
    assert_int_equal(hg_json_len(hg_json_root(doc)), 3);
    assert_string_equal(member(doc, 0, "text"), "idle longest");
    assert_string_equal(member(doc, 2, "text"), "made room for b/two");
    assert_int_equal(strlen(member(doc, 0, "time")), 20);
    hg_json_free(doc);
    doc = read_back(w, "eviction", NULL, 10);
    assert_int_equal(hg_json_len(hg_json_root(doc)), 2);
    assert_string_equal(member(doc, 1, "model"), "a/one");
    hg_json_free(doc);
    doc = read_back(w, "eviction", "b/two", 10);
    assert_int_equal(hg_json_len(hg_json_root(doc)), 1);
    hg_json_free(doc);
    doc = read_back(w, NULL, "b/two", 1);
    assert_int_equal(hg_json_len(hg_json_root(doc)), 1);
    assert_string_equal(member(doc, 0, "kind"), "eviction");
    hg_json_free(doc);
    hg_why_free(w);
}

static void test_the_oldest_go(void **state)
{
    (void)state;
    hg_why *w = hg_why_new();
    for (int i = 0; i < HG_WHY_KEEP + 44; i++) hg_why_note(w, "unload", "m", "%d", i);
    hg_json *doc = read_back(w, NULL, NULL, SIZE_MAX);
    assert_int_equal(hg_json_len(hg_json_root(doc)), HG_WHY_KEEP);
    assert_string_equal(member(doc, 0, "text"), "299");
    assert_string_equal(member(doc, HG_WHY_KEEP - 1, "text"), "44");
    hg_json_free(doc);
    hg_why_free(w);
}

static void test_one_line_whatever_was_said(void **state)
{
    (void)state;
    hg_why *w = hg_why_new();
    hg_why_note(w, "fallback", "m", "two\nlines \x1b[31m and \xff");
    hg_json *doc = read_back(w, NULL, NULL, 1);
    const char *text = member(doc, 0, "text");
    assert_null(strchr(text, '\n'));
    assert_null(strchr(text, '\x1b'));
    assert_non_null(strstr(text, "lines"));
    hg_json_free(doc);
    hg_why_note(NULL, "fallback", "m", "nobody listens");
    doc = read_back(NULL, NULL, NULL, 1);
    assert_int_equal(hg_json_len(hg_json_root(doc)), 0);
    hg_json_free(doc);
    hg_why_free(w);
    hg_why_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_latest_first_and_chosen),
        cmocka_unit_test(test_the_oldest_go),
        cmocka_unit_test(test_one_line_whatever_was_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
