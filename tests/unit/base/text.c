/* SPDX-License-Identifier: Apache-2.0 */
/* Views, UTF-8, patterns, sizes, durations, hex, escapes. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

static hg_str S(const char *z)
{
    return hg_str_of(z);
}

static void test_views(void **state)
{
    (void)state;
    assert_true(hg_str_starts(S("abc"), S("ab")));
    assert_true(hg_str_starts(S("abc"), S("")));
    assert_false(hg_str_starts(S("a"), S("ab")));
    assert_true(hg_str_ends(S("abc"), S("bc")));
    assert_false(hg_str_ends(S("c"), S("bc")));
    assert_true(hg_str_eq(hg_str_trim(S(" \t a b \r\n")), S("a b")));
    assert_int_equal(hg_str_trim(S("  ")).len, 0);
    assert_int_equal(hg_str_trim((hg_str){0}).len, 0);
    assert_true(hg_streq(NULL, NULL));
    assert_false(hg_streq("a", NULL));
    assert_true(hg_streq("a", "a"));

    hg_str rest = S("a,,b"), head;
    assert_true(hg_str_cut(&rest, ',', &head));
    assert_true(hg_str_eq(head, S("a")));
    assert_true(hg_str_cut(&rest, ',', &head));
    assert_int_equal(head.len, 0);
    assert_false(hg_str_cut(&rest, ',', &head));
    assert_true(hg_str_eq(head, S("b")));
    assert_int_equal(rest.len, 0);
    assert_false(hg_str_cut(&rest, ',', &head));
    assert_int_equal(head.len, 0);
    rest = (hg_str){0};
    assert_false(hg_str_cut(&rest, ',', &head));
}

static void test_utf8_valid(void **state)
{
    (void)state;
    static const char *const good[] = {"",
                                       "plain text longer than eight bytes",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "1234567\xc3\xa9"};
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2\x41",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xed\xbf\xbf",
                                      "\xe2\x82",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "\xfe",
                                      "12345678\xe2\x28\xa1",
                                      "\xf0\x9f\x98",
                                      "\xf8\x88\x80\x80\x80"};
    for (size_t i = 0; i < HG_LEN(good); i++) assert_true(hg_utf8_valid(S(good[i])));
    for (size_t i = 0; i < HG_LEN(bad); i++) assert_false(hg_utf8_valid(S(bad[i])));
}

static void test_utf8_round_trip(void **state)
{
    (void)state;
    char bytes[4];
    for (uint32_t c = 0; c <= 0x110010; c++) {
        size_t n = hg_utf8_put(c, bytes);
        if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
            assert_int_equal(n, 0);
            continue;
        }
        uint32_t back = 0xffffffff;
        assert_int_equal(hg_utf8_next((hg_str){bytes, n}, &back), n);
        assert_int_equal(back, c);
        assert_true(hg_utf8_valid((hg_str){bytes, n}));
        for (size_t cut = 1; cut < n; cut++) assert_int_equal(hg_utf8_next((hg_str){bytes, cut}, &back), 0);
    }
    uint32_t none;
    assert_int_equal(hg_utf8_next((hg_str){0}, &none), 0);
}

static void test_utf8_whole(void **state)
{
    (void)state;
    assert_int_equal(hg_utf8_whole(S("")), 0);
    assert_int_equal(hg_utf8_whole(S("abc")), 3);
    assert_int_equal(hg_utf8_whole(S("ab\xc3")), 2);
    assert_int_equal(hg_utf8_whole(S("ab\xc3\xa9")), 4);
    assert_int_equal(hg_utf8_whole(S("\xe2")), 0);
    assert_int_equal(hg_utf8_whole(S("\xe2\x82")), 0);
    assert_int_equal(hg_utf8_whole(S("\xe2\x82\xac")), 3);
    assert_int_equal(hg_utf8_whole(S("x\xf0\x9f\x98")), 1);
    assert_int_equal(hg_utf8_whole(S("x\xf0\x9f\x98\x80")), 5);
    /* Malformed bytes are not held back for ever. */
    assert_int_equal(hg_utf8_whole(S("a\xff")), 2);
    assert_int_equal(hg_utf8_whole(S("a\x80\x80\x80\x80")), 5);
    assert_int_equal(hg_utf8_whole(S("a\xed\xa0")), 3);
}

static void test_columns(void **state)
{
    (void)state;
    assert_int_equal(hg_utf8_columns(S("")), 0);
    assert_int_equal(hg_utf8_columns(S("abc")), 3);
    assert_int_equal(hg_utf8_columns(S("\xc3\xa9")), 1);                 /* é */
    assert_int_equal(hg_utf8_columns(S("e\xcc\x81")), 1);                /* e and a combining accent */
    assert_int_equal(hg_utf8_columns(S("\xe6\x97\xa5\xe6\x9c\xac")), 4); /* two ideographs */
    assert_int_equal(hg_utf8_columns(S("\xf0\x9f\x98\x80")), 2);         /* a face */
    assert_int_equal(hg_utf8_columns(S("a\xe2\x80\x8d")), 1);            /* zero-width joiner */
    assert_int_equal(hg_utf8_columns(S("\xff\xfe")), 2);
    assert_int_equal(hg_utf8_columns(S("\xe2\x94\x80")), 1); /* a box line */
}

typedef struct glob_case {
    const char *pattern, *text;
    bool match;
} glob_case;

static void test_glob(void **state)
{
    (void)state;
    static const glob_case cases[] = {
        {"*.json", "config.json", true},
        {"*.json", "sub/dir/config.json", true},
        {"*.json", "config.jsonx", false},
        {"config.json", "config.json", true},
        {"config.json", "Config.json", false},
        {"", "", true},
        {"", "a", false},
        {"*", "", true},
        {"**", "a/b", true},
        {"?", "", false},
        {"?", "a", true},
        {"?", "\xc3\xa9", true},
        {"??", "\xc3\xa9", false},
        {"?", "/", true},
        {"onnx/*", "onnx/model.onnx", true},
        {"onnx/*", "onnx", false},
        {"onnx/", "onnx/model.onnx", true},
        {"onnx/", "onnx/a/b", true},
        {"onnx/", "onnx", false},
        {"onnx/", "xonnx/a", false},
        {"*nnx/", "onnx/a", true},
        {"*/", "a", false},
        {"*/", "a/b", true},
        {"o?nx/", "a/onnx/b", false},
        {"[abc].txt", "b.txt", true},
        {"[!abc].txt", "b.txt", false},
        {"[!abc].txt", "d.txt", true},
        {"[a-c-e]", "b", true},
        {"[a-c-e]", "d", false},
        {"[a-c-e]", "-", true},
        {"[a-c-e]", "e", true},
        {"[-a]", "-", true},
        {"[a-]", "-", true},
        {"[]a]", "]", true},
        {"[]a]", "a", true},
        {"[!]a]", "]", false},
        {"[!]a]", "b", true},
        {"[z-a]", "m", false},
        {"[!z-a]", "m", true},
        {"[", "[", true},
        {"[a", "[a", true},
        {"[!]", "[!]", true},
        {"[!", "[!", true},
        {"a[", "ab", false},
        {"[\xc3\xa0-\xc3\xbf]", "\xc3\xa9", true},
        {"[^a]", "^", true},
        {"[^a]", "b", false},
        {"a\\*", "a\\b", true},
        {"model-*-of-*.safetensors", "model-00001-of-00002.safetensors", true},
        {"model-*-of-*.safetensors", "model-00001-of-00002.safetensors.index.json", false},
        {"*a*b*c*", "xxaxxbxxcxx", true},
        {"*a*b*c*", "xxaxxcxxbxx", false},
        {"*ab", "aab", true},
        {"*aab", "aaab", true},
        {"a*", "\xff", false},
        {"?", "\xff", true},
        {"\xff", "\xff", true},
        {"\xff", "\xfe", false},
    };
    for (size_t i = 0; i < HG_LEN(cases); i++)
        if (hg_glob_match(S(cases[i].pattern), S(cases[i].text)) != cases[i].match)
            fail_msg("'%s' against '%s' should be %d", cases[i].pattern, cases[i].text, cases[i].match);
}

/* Patterns that take naive matchers years. */
static void test_glob_pathological(void **state)
{
    (void)state;
    char pattern[256] = "", text[4097];
    for (int i = 0; i < 60; i++) strcat(pattern, "a*");
    strcat(pattern, "b");
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    double begun = hg_now();
    assert_false(hg_glob_match(S(pattern), S(text)));
    assert_false(hg_glob_match(S("*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?x"), S(text)));
    memset(pattern, '*', 200);
    strcpy(pattern + 200, "c/");
    for (size_t i = 1; i < sizeof text - 1; i += 2) text[i] = '/';
    assert_false(hg_glob_match(S(pattern), S(text)));
    assert_true(hg_now() - begun < 2);
}

typedef struct size_case {
    const char *text;
    uint64_t bytes;
} size_case;

static void test_sizes(void **state)
{
    (void)state;
    static const size_case good[] = {{"0", 0},
                                     {"512", 512},
                                     {"512B", 512},
                                     {"10K", 10000},
                                     {"10k", 10000},
                                     {"10KB", 10000},
                                     {"10KiB", 10240},
                                     {"10MB", 10000000},
                                     {"10MiB", 10485760},
                                     {"10GB", 10000000000},
                                     {"1.5G", 1500000000},
                                     {"0.5KiB", 512},
                                     {"10 GB", 10000000000},
                                     {"2T", 2000000000000},
                                     {"18446744073709551615", UINT64_MAX}};
    static const char *const bad[] = {"",
                                      "K",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1  K",
                                      "1KK",
                                      "1Mi",
                                      "1.",
                                      ".5",
                                      "1e3",
                                      "0x10",
                                      "1..5",
                                      "1.5.5",
                                      "1P",
                                      "ten",
                                      "1,5K",
                                      "1K B",
                                      "1BB",
                                      "18446744073709551616",
                                      "18446744073709552K",
                                      "1.0000000001K"};
    uint64_t bytes;
    for (size_t i = 0; i < HG_LEN(good); i++) {
        assert_true(hg_size_parse(S(good[i].text), &bytes));
        assert_int_equal(bytes, good[i].bytes);
    }
    for (size_t i = 0; i < HG_LEN(bad); i++)
        if (hg_size_parse(S(bad[i]), &bytes)) fail_msg("'%s' was taken", bad[i]);

    char buf[16];
    assert_string_equal(hg_size_format(0, buf), "0 B");
    assert_string_equal(hg_size_format(999, buf), "999 B");
    assert_string_equal(hg_size_format(1000, buf), "1.0 kB");
    assert_string_equal(hg_size_format(3249999, buf), "3.2 MB");
    assert_string_equal(hg_size_format(999949, buf), "999.9 kB");
    assert_string_equal(hg_size_format(999950, buf), "1.0 MB");
    assert_string_equal(hg_size_format(17000000, buf), "17.0 MB");
    assert_string_equal(hg_size_format(UINT64_MAX, buf), "18.4 EB");
}

static void test_durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double seconds;
    } good[] = {{"0", 0},         {"90", 90},    {"30s", 30},    {"15m", 900},   {"1h", 3600},
                {"30d", 2592000}, {"0.5s", 0.5}, {"1.5h", 5400}, {"250ms", 0.25}};
    static const char *const bad[] = {"",    "s",   "-1s", "1 h", "1hh",          "1H",
                                      "inf", "nan", "1e3", "1y",  "99999999999d", "1h30m"};
    double seconds;
    for (size_t i = 0; i < HG_LEN(good); i++) {
        assert_true(hg_duration_parse(S(good[i].text), &seconds));
        assert_true(fabs(seconds - good[i].seconds) < 1e-9);
    }
    for (size_t i = 0; i < HG_LEN(bad); i++)
        if (hg_duration_parse(S(bad[i]), &seconds)) fail_msg("'%s' was taken", bad[i]);

    char buf[16];
    assert_string_equal(hg_duration_format(0.44, buf), "0.4 s");
    assert_string_equal(hg_duration_format(9.96, buf), "10 s");
    assert_string_equal(hg_duration_format(12.2, buf), "12 s");
    assert_string_equal(hg_duration_format(59.7, buf), "1:00");
    assert_string_equal(hg_duration_format(185, buf), "3:05");
    assert_string_equal(hg_duration_format(3723, buf), "1:02:03");
    assert_string_equal(hg_duration_format(-1, buf), "-");
    assert_string_equal(hg_duration_format(NAN, buf), "-");
    assert_true(strlen(hg_duration_format(1e300, buf)) < sizeof buf);
}

static void test_hex_and_numbers(void **state)
{
    (void)state;
    const uint8_t bytes[] = {0x00, 0x9f, 0xff};
    uint8_t back[3];
    char text[7];
    hg_hex_encode(bytes, 3, text);
    assert_string_equal(text, "009fff");
    assert_true(hg_hex_decode(S("009fFF"), back, 3));
    assert_memory_equal(back, bytes, 3);
    assert_false(hg_hex_decode(S("009ff"), back, 3));
    assert_false(hg_hex_decode(S("009ff"), back, 2));
    assert_false(hg_hex_decode(S("009fg0"), back, 3));
    assert_true(hg_hex_is(S("0af"), 3));
    assert_false(hg_hex_is(S("0aF"), 3));
    assert_false(hg_hex_is(S("0af"), 4));

    uint64_t n = 7;
    assert_true(hg_u64_parse(S("0"), &n) && n == 0);
    assert_true(hg_u64_parse(S("18446744073709551615"), &n) && n == UINT64_MAX);
    static const char *const bad[] = {"",   "-1",
                                      "+1", " 1",
                                      "1 ", "18446744073709551616",
                                      "1a", "99999999999999999999999"};
    for (size_t i = 0; i < HG_LEN(bad); i++) assert_false(hg_u64_parse(S(bad[i]), &n));
}

static void test_escape(void **state)
{
    (void)state;
    char out[16];
    assert_int_equal(hg_escape(S("plain"), out, sizeof out), 5);
    assert_string_equal(out, "plain");
    hg_escape(S("a\nb\x1b[0m"), out, sizeof out);
    assert_string_equal(out, "a\\x0ab\\x1b[0m");
    hg_escape(S("\x7f\xff\xc2\x9b"), out, sizeof out);
    assert_string_equal(out, "\\x7f\\xff\\x9b");
    hg_escape(S("x\xe2\x80\xae"), out, sizeof out);
    assert_string_equal(out, "x\\u202e");
    hg_escape(S("0123456789abcde"), out, sizeof out);
    assert_string_equal(out, "0123456789abcde");
    assert_int_equal(hg_escape(S("0123456789abcdef"), out, sizeof out), 15);
    assert_string_equal(out, "0123456789ab...");
    hg_escape(S("0123456789a\xe2\x82\xac\xe2\x82\xac"), out, sizeof out);
    assert_string_equal(out, "0123456789a...");
    for (size_t cap = 1; cap < sizeof out; cap++) {
        memset(out, 'x', sizeof out);
        size_t len = hg_escape(S("abc\n\xe2\x82\xac\xe2\x82\xac and more"), out, cap);
        assert_true(len < cap && out[len] == '\0' && hg_utf8_valid((hg_str){out, len}));
        for (size_t i = cap; i < sizeof out; i++) assert_int_equal(out[i], 'x');
    }
    assert_int_equal(hg_escape(S("abc"), out, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_utf8_valid),
        cmocka_unit_test(test_utf8_round_trip),
        cmocka_unit_test(test_utf8_whole),
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_glob),
        cmocka_unit_test(test_glob_pathological),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_hex_and_numbers),
        cmocka_unit_test(test_escape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
