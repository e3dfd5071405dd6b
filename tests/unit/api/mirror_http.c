/* SPDX-License-Identifier: Apache-2.0 */
/* What the mirror makes of hostile text: addresses, ranges, entity tags, hosts, signatures. */
#include "api/mirror.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>

static hg_target parse(const char *raw)
{
    hg_target t;
    hangar_err err = {0};
    assert_int_equal(hg_target_parse(hg_str_of(raw), &t, &err), HANGAR_OK);
    return t;
}

static void refuse(const char *raw, hangar_code code)
{
    hg_target t;
    hangar_err err = {0};
    assert_int_equal(hg_target_parse(hg_str_of(raw), &t, &err), code);
    assert_string_not_equal(err.msg, "");
    hg_target_deinit(&t);
}

static void test_target_is_decoded_once(void **state)
{
    (void)state;
    hg_target t = parse("/a%2Fb/%2525/c%20d?x=1+2&y=%26&z&=e&x=9");
    assert_int_equal(t.seg_count, 3);
    assert_string_equal(t.seg[0].ptr, "a/b");
    assert_string_equal(t.seg[1].ptr, "%25"); /* not "%": a second decoding would undo a check */
    assert_string_equal(t.seg[2].ptr, "c d");
    assert_string_equal(hg_target_param(&t, "x").ptr, "1 2");
    assert_string_equal(hg_target_param(&t, "y").ptr, "&");
    assert_true(hg_target_flag(&t, "z"));
    assert_false(hg_target_has(&t, "q"));
    assert_int_equal(hg_target_param(&t, "q").len, 0);
    hg_target_deinit(&t);
}

static void test_target_with_nothing_but_names(void **state)
{
    (void)state;
    /* Each one-letter pair becomes two texts: the memory must be enough for that. */
    hg_target t = parse("/?a&b&c&d&e&f&g&h&i&j&k&l&m&n&o&p");
    assert_int_equal(t.param_count, 16);
    assert_string_equal(t.key[15].ptr, "p");
    hg_target_deinit(&t);
}

static void test_target_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",       "a",      "http://evil/x", "/%",   "/%2", "/%zz",
                                      "/a%00b", "/a?b=%", "/?%00",         "/%-1", "*",   "/a/%g0"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) refuse(bad[i], HANGAR_E_INVALID);
    char text[3 * HG_TARGET_SEGMENTS + 8] = "";
    for (int i = 0; i <= HG_TARGET_SEGMENTS; i++) strcat(text, "/a");
    refuse(text, HANGAR_E_INVALID);
    char many[4 * HG_TARGET_PARAMS + 8] = "/?";
    for (int i = 0; i <= HG_TARGET_PARAMS; i++) strcat(many, "a&");
    refuse(many, HANGAR_E_INVALID);
    char *longer = malloc(HG_MIRROR_TARGET_BYTES + 2);
    assert_non_null(longer);
    memset(longer, '/', HG_MIRROR_TARGET_BYTES + 1);
    longer[HG_MIRROR_TARGET_BYTES + 1] = '\0';
    refuse(longer, HANGAR_E_LIMIT);
    free(longer);
}

static bool matches(const char *raw, const char *pattern, size_t want_rest)
{
    size_t rest = 999;
    hg_target t = parse(raw);
    bool yes = hg_target_match(&t, pattern, &rest);
    hg_target_deinit(&t);
    return yes && rest == want_rest;
}

static void test_routes(void **state)
{
    (void)state;
    assert_true(matches("/api/models", "api/models", 2));
    assert_true(matches("/api/models/", "api/models", 2));
    assert_true(matches("/api/models/a/b/tree/main", "api/models/:/:/tree/:/*", 6));
    assert_true(matches("/api/models/a/b/tree/main/x/y", "api/models/:/:/tree/:/*", 6));
    assert_true(matches("/a/b/resolve/refs%2Fpr%2F1/x", ":/:/resolve/:/*", 4));
    assert_false(matches("/api/models/a", "api/models", 2));
    assert_false(matches("//api/models", "api/models", 2));
    assert_false(matches("/api%2Fmodels", "api/models", 2));
    assert_false(matches("/api/models/a/b/tree", "api/models/:/:/tree/:/*", 6));
}

static hg_range_kind range(const char *header, uint64_t size, uint64_t first, uint64_t length)
{
    uint64_t a = 0, n = size;
    hg_range_kind kind = hg_range_parse(header, size, &a, &n);
    assert_int_equal(a, first);
    assert_int_equal(n, length);
    return kind;
}

static void test_ranges(void **state)
{
    (void)state;
    assert_int_equal(range("bytes=0-0", 10, 0, 1), HG_RANGE_PART);
    assert_int_equal(range("bytes=2-5", 10, 2, 4), HG_RANGE_PART);
    assert_int_equal(range("bytes=2-", 10, 2, 8), HG_RANGE_PART);
    assert_int_equal(range("bytes=2-999", 10, 2, 8), HG_RANGE_PART);
    assert_int_equal(range("bytes=-3", 10, 7, 3), HG_RANGE_PART);
    assert_int_equal(range("bytes=-30", 10, 0, 10), HG_RANGE_PART);
    assert_int_equal(range("bytes=9-18446744073709551615", 10, 9, 1), HG_RANGE_PART);
    assert_int_equal(range("bytes=10-", 10, 0, 10), HG_RANGE_BAD);
    assert_int_equal(range("bytes=10-12", 10, 0, 10), HG_RANGE_BAD);
    assert_int_equal(range("bytes=-0", 10, 0, 10), HG_RANGE_BAD);
    static const char *const whole[] = {"bytes=5-2",   "bytes=0-1,3-4",
                                        "items=0-1",   "bytes=",
                                        "bytes=-",     "bytes=a-b",
                                        "bytes=+1-2",  "bytes=0x1-2",
                                        "bytes=1 - 2", "bytes=18446744073709551616-",
                                        "0-1",         ""};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        assert_int_equal(range(whole[i], 10, 0, 10), HG_RANGE_NONE);
    assert_int_equal(range(NULL, 10, 0, 10), HG_RANGE_NONE);
    assert_int_equal(range("bytes=0-0", 0, 0, 0), HG_RANGE_NONE); /* an empty file is just sent */
}

static void test_entity_tags(void **state)
{
    (void)state;
    assert_true(hg_etag_listed("\"abc\"", "abc", false));
    assert_true(hg_etag_listed("\"x\", W/\"abc\"", "abc", true));
    assert_false(hg_etag_listed("\"x\", W/\"abc\"", "abc", false));
    assert_true(hg_etag_listed("*", "abc", false));
    assert_false(hg_etag_listed("abc", "abc", true));
    assert_false(hg_etag_listed("\"abcd\"", "abc", true));
    assert_false(hg_etag_listed("\"", "", true));
    assert_false(hg_etag_listed(NULL, "abc", true));
}

static void test_hosts(void **state)
{
    (void)state;
    static const char *const good[] = {"127.0.0.1:4711", "localhost:4711", "LOCALHOST:4711", "[::1]:4711"};
    static const char *const bad[] = {"evil.test",        "127.0.0.1.evil.test:4711",
                                      "127.0.0.1",        "127.0.0.1:80",
                                      "localhost.:4711",  "",
                                      "localhost:4711:1", "localhost:",
                                      "localhost:+4711",  "[::ffff:127.0.0.1]:4711",
                                      "127.0.0.2:4711",   "user@localhost:4711",
                                      "localhost:4711/",  "localhost:99999999999999999999"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert_true(hg_host_local(good[i], 4711));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(hg_host_local(bad[i], 4711));
    assert_true(hg_host_local("localhost", 80));
    assert_false(hg_host_local(NULL, 80));
    assert_true(hg_host_plain("models.example.org:80"));
    assert_false(hg_host_plain("a/b"));
    assert_false(hg_host_plain("a b"));
    assert_false(hg_host_plain(""));
}

/* RFC 4231, cases 1, 2 and 6. */
static void test_hmac(void **state)
{
    (void)state;
    char out[65];
    uint8_t key[131];
    memset(key, 0x0b, 20);
    assert_int_equal(hg_hmac(key, 20, HG_STR("Hi There"), out, NULL), HANGAR_OK);
    assert_string_equal(out, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    assert_int_equal(hg_hmac((const uint8_t *)"Jefe", 4, HG_STR("what do ya want for nothing?"), out, NULL),
                     HANGAR_OK);
    assert_string_equal(out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    assert_int_equal(hg_hmac(key, sizeof key,
                             HG_STR("Test Using Larger Than Block-Size Key - Hash Key First"), out, NULL),
                     HANGAR_OK);
    assert_string_equal(out, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void test_secrets_are_equal_only_when_equal(void **state)
{
    (void)state;
    assert_true(hg_equal_secret(HG_STR("hf_abc"), HG_STR("hf_abc")));
    assert_false(hg_equal_secret(HG_STR("hf_abc"), HG_STR("hf_abd")));
    assert_false(hg_equal_secret(HG_STR("hf_abc"), HG_STR("hf_ab")));
    assert_false(hg_equal_secret(HG_STR("hf_abc"), HG_STR("")));
}

static void test_repository_words(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "whisper-digits", "Llama-3.2_1B", "a.b"};
    static const char *const bad[] = {"",     ".",    "..",    "-a",  "a-",  ".a",  "a.",
                                      "a--b", "a..b", "x.git", "a/b", "a b", "a@b", "\xc3\xa9"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert_true(hg_repo_word(hg_str_of(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(hg_repo_word(hg_str_of(bad[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_target_is_decoded_once),
        cmocka_unit_test(test_target_with_nothing_but_names),
        cmocka_unit_test(test_target_refused),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_entity_tags),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_hmac),
        cmocka_unit_test(test_secrets_are_equal_only_when_equal),
        cmocka_unit_test(test_repository_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
