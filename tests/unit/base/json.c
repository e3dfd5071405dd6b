/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing JSON, within limits. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"

static hg_json *parse(const char *text)
{
    hg_json *doc = NULL;
    hangar_err err = {0};
    if (hg_json_parse(hg_str_of(text), NULL, &doc, &err) != HANGAR_OK) fail_msg("%s: %s", text, err.msg);
    return doc;
}

static void test_getters(void **state)
{
    (void)state;
    HG_AUTO(hg_json_auto_free)
    hg_json *doc = parse("{\"s\":\"text\",\"n\":12,\"neg\":-3,\"r\":1.5,\"t\":true,\"z\":null,"
                         "\"a\":[1,2,3],\"o\":{\"in\":{\"deep\":\"x\"}},\"nul\":\"a\\u0000b\"}");
    const hg_jval *root = hg_json_root(doc);
    uint64_t u = 99;
    int64_t i = 99;
    double d = 99;
    bool b = false;
    hg_str s;
    assert_true(hg_json_is_object(root));
    assert_int_equal(hg_json_len(root), 9);
    assert_string_equal(hg_json_text(hg_json_get(root, "s")), "text");
    assert_true(hg_json_u64(hg_json_get(root, "n"), &u) && u == 12);
    assert_true(hg_json_i64(hg_json_get(root, "neg"), &i) && i == -3);
    assert_false(hg_json_u64(hg_json_get(root, "neg"), &u));
    assert_int_equal(u, 12);
    assert_false(hg_json_i64(hg_json_get(root, "r"), &i));
    assert_true(hg_json_f64(hg_json_get(root, "r"), &d) && d == 1.5);
    assert_true(hg_json_f64(hg_json_get(root, "n"), &d) && d == 12);
    assert_true(hg_json_bool(hg_json_get(root, "t"), &b) && b);
    assert_true(hg_json_is_null(hg_json_get(root, "z")));
    assert_true(hg_json_is_null(hg_json_get(root, "missing")));
    assert_int_equal(hg_json_len(hg_json_get(root, "a")), 3);
    assert_true(hg_json_u64(hg_json_at(hg_json_get(root, "a"), 2), &u) && u == 3);
    assert_null(hg_json_at(hg_json_get(root, "a"), 3));
    assert_string_equal(hg_json_text(hg_json_path(root, "o", "in", "deep", NULL)), "x");
    assert_null(hg_json_path(root, "o", "no", "deep", NULL));
    assert_null(hg_json_path(root, "s", "no", NULL));
    /* A NUL inside: no C text, but still a string. */
    assert_null(hg_json_text(hg_json_get(root, "nul")));
    assert_true(hg_json_str(hg_json_get(root, "nul"), &s) && s.len == 3);
    assert_string_equal(hg_json_text_or(hg_json_get(root, "n"), "def"), "def");
    assert_int_equal(hg_json_i64_or(hg_json_get(root, "s"), 5), 5);
    assert_true(hg_json_f64_or(NULL, 2.5) == 2.5);
    assert_true(hg_json_bool_or(NULL, true));
    /* Nothing is hurt by nothing. */
    assert_null(hg_json_get(NULL, "k"));
    assert_null(hg_json_at(NULL, 0));
    assert_int_equal(hg_json_len(NULL), 0);
    assert_false(hg_json_is_string(NULL) || hg_json_is_number(NULL) || hg_json_is_bool(NULL));
}

static void test_numbers(void **state)
{
    (void)state;
    HG_AUTO(hg_json_auto_free)
    hg_json *doc = parse("[18446744073709551615,18446744073709551616,9223372036854775807,9223372036854775808,"
                         "-9223372036854775808,1e3,1.0,1.5,9007199254740993e0,1e300,-1,-0]");
    const hg_jval *a = hg_json_root(doc);
    uint64_t u;
    int64_t i;
    double d;
    assert_true(hg_json_u64(hg_json_at(a, 0), &u) && u == UINT64_MAX);
    assert_false(hg_json_i64(hg_json_at(a, 0), &i));
    assert_false(hg_json_u64(hg_json_at(a, 1), &u));
    assert_true(hg_json_f64(hg_json_at(a, 1), &d) && d == 0x1p64);
    assert_true(hg_json_i64(hg_json_at(a, 2), &i) && i == INT64_MAX);
    assert_false(hg_json_i64(hg_json_at(a, 3), &i));
    assert_true(hg_json_i64(hg_json_at(a, 4), &i) && i == INT64_MIN);
    assert_true(hg_json_u64(hg_json_at(a, 5), &u) && u == 1000);
    assert_true(hg_json_i64(hg_json_at(a, 6), &i) && i == 1);
    assert_false(hg_json_i64(hg_json_at(a, 7), &i));
    assert_false(hg_json_i64(hg_json_at(a, 9), &i));
    assert_true(hg_json_f64(hg_json_at(a, 9), &d) && d == 1e300);
    assert_false(hg_json_u64(hg_json_at(a, 10), &u));
    assert_true(hg_json_u64(hg_json_at(a, 11), &u) && u == 0);
}

static void test_iteration(void **state)
{
    (void)state;
    HG_AUTO(hg_json_auto_free) hg_json *doc = parse("{\"a\":[1,[2,3],{\"x\":4}],\"b\":\"t\",\"c\":{}}");
    const char *const keys[] = {"a", "b", "c"};
    size_t n = 0;
    for (hg_json_iter it = hg_json_iter_of(hg_json_root(doc)); hg_json_next(&it); n++) {
        assert_true(hg_str_eq(it.key, hg_str_of(keys[n])));
        assert_int_equal(it.index, n);
        assert_ptr_equal(it.val, hg_json_get(hg_json_root(doc), keys[n]));
    }
    assert_int_equal(n, 3);
    const hg_jval *arr = hg_json_get(hg_json_root(doc), "a");
    n = 0;
    for (hg_json_iter it = hg_json_iter_of(arr); hg_json_next(&it); n++) {
        assert_int_equal(it.key.len, 0);
        assert_int_equal(it.index, n);
        assert_ptr_equal(it.val, hg_json_at(arr, n));
    }
    assert_int_equal(n, 3);
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(hg_json_root(doc), "c")); hg_json_next(&it);) fail();
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(hg_json_root(doc), "b")); hg_json_next(&it);) fail();
    for (hg_json_iter it = hg_json_iter_of(NULL); hg_json_next(&it);) fail();
}

static void test_malformed(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",          " ",       "{",         "[1,]",           "{\"a\":1,}", "{a:1}",
        "nul",       "[1 2]",   "\"\\x\"",   "\"\\ud800\"",    "\"\xff\"",   "01",
        "1.",        "+1",      "NaN",       "Infinity",       "1e999",      "[1]]",
        "// c\n1",   "'a'",     "\"a\nb\"",  "\xef\xbb\xbf 1", "{\"a\" 1}",  "[1",
        "\"unended", "\"a\\\"", "{\"a\":1}x"};
    for (size_t i = 0; i < HG_LEN(bad); i++) {
        hg_json *doc = NULL;
        hangar_err err = {0};
        if (hg_json_parse(hg_str_of(bad[i]), NULL, &doc, &err) != HANGAR_E_INVALID)
            fail_msg("'%s' was taken", bad[i]);
        assert_null(doc);
        assert_true(err.msg[0]);
    }
    hangar_err err = {0};
    hg_json *doc;
    assert_int_equal(hg_json_parse(HG_STR("{\n  \"\xc3\xa9\": x\n}"), NULL, &doc, &err), HANGAR_E_INVALID);
    assert_non_null(strstr(err.msg, "line 2, column 8"));
    assert_int_equal(hg_json_parse((hg_str){"1\0", 2}, NULL, &doc, NULL), HANGAR_E_INVALID);
}

static void test_limits(void **state)
{
    (void)state;
    hg_json *doc = NULL;
    hangar_err err = {0};
    const hg_json_limits small = {.bytes = 10, .depth = 2};
    assert_int_equal(hg_json_parse(HG_STR("[1,2,3,4,5]"), &small, &doc, &err), HANGAR_E_LIMIT);
    assert_int_equal(hg_json_parse(HG_STR("[[[1]]]"), &small, &doc, &err), HANGAR_E_LIMIT);
    assert_non_null(strstr(err.msg, "column 3"));
    assert_int_equal(hg_json_parse(HG_STR("[[1],[2]]"), &small, &doc, &err), HANGAR_OK);
    hg_json_free(doc);
    /* Brackets in a string are no nesting, an escaped quote does not end it. */
    assert_int_equal(hg_json_parse(HG_STR("[\"\\\"[[[\"]"), &small, &doc, &err), HANGAR_OK);
    hg_json_free(doc);
    assert_int_equal(hg_json_parse(HG_STR("[\"\\\\\",[[1]]]"), &small, &doc, &err), HANGAR_E_LIMIT);
    assert_int_equal(hg_json_parse(HG_STR("[\"[[\\\"[\"]"), &small, &doc, &err), HANGAR_OK);
    hg_json_free(doc);

    const hg_json_limits unique = {.unique_keys = true};
    assert_int_equal(hg_json_parse(HG_STR("[{\"x\":{\"a\":1,\"b\":2,\"\\u0061\":3}}]"), &unique, &doc, &err),
                     HANGAR_E_INVALID);
    assert_non_null(strstr(err.msg, "'a' is there twice"));
    assert_int_equal(hg_json_parse(HG_STR("[{\"a\":1,\"b\":{\"a\":2}},{\"a\":3}]"), &unique, &doc, &err),
                     HANGAR_OK);
    hg_json_free(doc);
    assert_int_equal(hg_json_parse(HG_STR("{\"a\":1,\"a\":2}"), NULL, &doc, &err), HANGAR_OK);
    hg_json_free(doc);
}

static size_t peak_kib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_maxrss;
}

/* Deep and huge texts are refused before the parser takes memory for them. */
static void test_hostile_nesting(void **state)
{
    (void)state;
    const size_t deep = 100000, huge = 300u << 20;
    char *text = malloc(huge);
    hg_json *doc = NULL;
    assert_non_null(text);
    memset(text, '[', huge);
    size_t before = peak_kib();
    double begun = hg_now();
    assert_int_equal(hg_json_parse((hg_str){text, deep}, NULL, &doc, NULL), HANGAR_E_LIMIT);
    assert_int_equal(hg_json_parse((hg_str){text, huge}, NULL, &doc, NULL), HANGAR_E_LIMIT);
    const hg_json_limits wide = {.bytes = SIZE_MAX};
    assert_int_equal(hg_json_parse((hg_str){text, huge}, &wide, &doc, NULL), HANGAR_E_LIMIT);
    for (size_t i = 0; i + 5 < huge; i += 5) memcpy(text + i, "{\"a\":", 5);
    assert_int_equal(hg_json_parse((hg_str){text, huge}, &wide, &doc, NULL), HANGAR_E_LIMIT);
    assert_true(hg_now() - begun < 5);
    assert_true(peak_kib() - before < 8 * 1024);
    /* A caller who allows the depth gets it, without a stack that overflows. */
    memset(text, '[', deep);
    memset(text + deep, ']', deep);
    const hg_json_limits allowed = {.depth = 100000, .unique_keys = true};
    assert_int_equal(hg_json_parse((hg_str){text, 2 * deep}, &allowed, &doc, NULL), HANGAR_OK);
    char *copy = hg_json_print(hg_json_root(doc), false);
    assert_int_equal(strlen(copy), 2 * deep);
    free(copy);
    hg_json_free(doc);
    free(text);
}

static void test_writer(void **state)
{
    (void)state;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    HG_AUTO(hg_json_auto_free) hg_json *doc = parse("{\"k\":[1,{\"z\":null}]}");
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "t", "a\"b\n");
    hg_jw_text(w, "nothing", NULL);
    hg_jw_str(w, "s", (hg_str){"x\0y", 3});
    hg_jw_str(w, "bad",
              HG_STR("a\xff"
                     "b\xc3"));
    hg_jw_i64(w, "i", INT64_MIN);
    hg_jw_u64(w, "u", UINT64_MAX);
    hg_jw_f64(w, "f", 0.1);
    hg_jw_f64(w, "inf", INFINITY);
    hg_jw_bool(w, "b", true);
    hg_jw_arr(w, "a");
    hg_jw_i64(w, NULL, 1);
    hg_jw_obj(w, NULL);
    hg_jw_end(w);
    hg_jw_end(w);
    hg_jw_val(w, "v", hg_json_root(doc));
    hg_jw_val(w, "none", NULL);
    hg_jw_null(w, "n");
    char *text = NULL;
    hangar_err err = {0};
    assert_int_equal(hg_jw_finish(w, false, &text, &err), HANGAR_OK);
    assert_string_equal(text,
                        "{\"t\":\"a\\\"b\\n\",\"nothing\":null,\"s\":\"x\\u0000y\",\"bad\":\"a\xef\xbf\xbd"
                        "b\xef\xbf\xbd\",\"i\":-9223372036854775808,\"u\":18446744073709551615,\"f\":0.1,"
                        "\"inf\":null,\"b\":true,\"a\":[1,{}],\"v\":{\"k\":[1,{\"z\":null}]},\"none\":null,"
                        "\"n\":null}");
    free(text);
    /* It can be used again. */
    hg_jw_arr(w, NULL);
    hg_jw_i64(w, NULL, 5);
    assert_int_equal(hg_jw_finish(w, true, &text, &err), HANGAR_OK);
    assert_string_equal(text, "[\n  5\n]");
    free(text);
    hg_jw_text(w, NULL, "alone");
    assert_int_equal(hg_jw_finish(w, false, &text, &err), HANGAR_OK);
    assert_string_equal(text, "\"alone\"");
    free(text);
    text = hg_json_print(hg_json_get(hg_json_root(doc), "k"), false);
    assert_string_equal(text, "[1,{\"z\":null}]");
    free(text);
}

/* Members of one object into another, but for those that are named; what is no object has none. */
static void test_writer_members(void **state)
{
    (void)state;
    static const char *const skip[] = {"b", "z", NULL};
    hg_json *doc = NULL;
    hg_jw *w = hg_jw_new();
    char *text = NULL;
    assert_int_equal(hg_json_parse(HG_STR("{\"a\":1,\"b\":[2],\"c\":{\"b\":3}}"), NULL, &doc, NULL),
                     HANGAR_OK);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "first", "x");
    hg_jw_members(w, hg_json_root(doc), skip);
    hg_jw_members(w, hg_json_get(hg_json_root(doc), "b"), NULL);
    hg_jw_members(w, NULL, NULL);
    hg_jw_obj(w, "all");
    hg_jw_members(w, hg_json_root(doc), NULL);
    assert_int_equal(hg_jw_finish(w, false, &text, NULL), HANGAR_OK);
    assert_string_equal(
        text, "{\"first\":\"x\",\"a\":1,\"c\":{\"b\":3},\"all\":{\"a\":1,\"b\":[2],\"c\":{\"b\":3}}}");
    free(text);
    hg_jw_free(w);
    hg_json_free(doc);
}

static void misuse(hg_jw *w, int how)
{
    switch (how) {
    case 0: hg_jw_end(w); break;
    case 1: hg_jw_i64(w, "key", 1); break;
    case 2: hg_jw_obj(w, NULL), hg_jw_i64(w, NULL, 1); break;
    case 3: hg_jw_arr(w, NULL), hg_jw_i64(w, "key", 1); break;
    case 4: hg_jw_i64(w, NULL, 1), hg_jw_i64(w, NULL, 2); break;
    default: break; /* nothing at all */
    }
}

static void test_writer_misuse(void **state)
{
    (void)state;
    hg_jw *w = hg_jw_new();
    for (int how = 0; how < 6; how++) {
        char *text = NULL;
        hangar_err err = {0};
        misuse(w, how);
        assert_int_equal(hg_jw_finish(w, false, &text, &err), HANGAR_E_INTERNAL);
        assert_null(text);
        assert_true(err.msg[0]);
    }
    hg_jw_free(w);
    /* No memory for the writer: every call is quiet, the end says so. */
    char *text = NULL;
    hg_jw_obj(NULL, NULL);
    hg_jw_text(NULL, "a", "b");
    hg_jw_end(NULL);
    assert_int_equal(hg_jw_finish(NULL, false, &text, NULL), HANGAR_E_NO_MEMORY);
    hg_jw_free(NULL);
}

static void test_writer_nesting(void **state)
{
    (void)state;
    const size_t deep = 50000;
    hg_jw *w = hg_jw_new();
    for (size_t i = 0; i < deep; i++) hg_jw_arr(w, NULL);
    char *text = NULL;
    assert_int_equal(hg_jw_finish(w, false, &text, NULL), HANGAR_OK);
    assert_int_equal(strlen(text), 2 * deep);
    free(text);
    hg_jw_obj(w, NULL);
    for (size_t i = 0; i < deep; i++) hg_jw_obj(w, "k");
    for (size_t i = 0; i < deep; i++) hg_jw_end(w);
    hg_jw_bool(w, "last", false);
    assert_int_equal(hg_jw_finish(w, false, &text, NULL), HANGAR_OK);
    assert_true(hg_str_ends(hg_str_of(text), HG_STR("},\"last\":false}")));
    free(text);
    hg_jw_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hostile_nesting), cmocka_unit_test(test_getters),
        cmocka_unit_test(test_numbers),         cmocka_unit_test(test_iteration),
        cmocka_unit_test(test_malformed),       cmocka_unit_test(test_limits),
        cmocka_unit_test(test_writer),          cmocka_unit_test(test_writer_misuse),
        cmocka_unit_test(test_writer_nesting),  cmocka_unit_test(test_writer_members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
