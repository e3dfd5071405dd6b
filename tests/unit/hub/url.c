/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and origins: who may see the token, where a redirect may lead, which machines are refused. */
#include "hub/guard.h"
#include "hub/url.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static hg_url parsed(const char *text)
{
    hg_url u = {0};
    hangar_err err = {0};
    if (hg_url_parse(text, &u, &err) != HANGAR_OK) fail_msg("%s: %s", text, err.msg);
    return u;
}

/* What is printed is what was read, and means the same when it is read again. */
static void test_fixpoint(void **state)
{
    (void)state;
    static const char *const good[] = {"http://h/",
                                       "https://huggingface.co/a/b?c=d&e=%2F%2f",
                                       "http://127.0.0.1:4711/x",
                                       "https://[::1]:8443/y",
                                       "http://h:80/",
                                       "https://h/a/../b/./c?sig=AbC~-_.%3D",
                                       "https://xn--bcher-kva.example/",
                                       "http://h./",
                                       "https://h/x;y=z,(1)!$'*+?q=:/@"};
    for (size_t i = 0; i < HG_LEN(good); i++) {
        hg_url a = parsed(good[i]), b = parsed(a.text);
        assert_string_equal(a.text, b.text);
        assert_true(hg_url_same_origin(&a, &b));
        hg_url_deinit(&a);
        hg_url_deinit(&b);
    }
    hg_url u = parsed("HTTPS://HuggingFace.CO/x#fragment");
    assert_string_equal(u.host, "huggingface.co");
    assert_true(u.https && u.port == 443 && !strchr(u.text, '#'));
    hg_url_deinit(&u);
}

static void test_refused(void **state)
{
    (void)state;
    static char longer[HG_URL_MAX + 20];
    memset(longer, 'a', sizeof longer - 1);
    memcpy(longer, "http://h/", 9);
    const char *const bad[] = {"",
                               "h",
                               "//h/x",
                               "/x",
                               "ftp://h/x",
                               "file:///etc/passwd",
                               "gopher://h/",
                               "javascript:alert(1)",
                               "http://",
                               "http:///x",
                               "http:////h/x",
                               "https:///h",
                               "http://u@h/",
                               "http://u:p@h/",
                               "http://:p@h/",
                               "http://h\\@evil/",
                               "http://evil\\.h/",
                               "http://h/\nx",
                               "http://h/ x",
                               "http://h /x",
                               "http://h/\x01",
                               "http://h\x7f/",
                               "http://h\xc3\xa4/",
                               "http://a..b/",
                               "http://.h/",
                               "http://h:0/",
                               "http://h:99999/",
                               "http://h:x/",
                               "http://[::1/",
                               "http://[zz]/",
                               "http://h%00/",
                               "http://a b/",
                               "http://h:80:90/",
                               "data:text/plain,x",
                               longer};
    for (size_t i = 0; i < HG_LEN(bad); i++) {
        hg_url u = {0};
        hangar_err err = {0};
        if (hg_url_parse(bad[i], &u, &err) == HANGAR_OK) fail_msg("'%s' was taken as %s", bad[i], u.text);
        assert_null(u.text);
        assert_true(err.msg[0]);
    }
}

static void follows(const char *from, const char *location, const char *want, bool same)
{
    hg_url base = parsed(from), next = {0};
    hangar_err err = {0};
    hangar_code code = hg_url_follow(&base, location, &next, &err);
    if (!want) {
        if (code == HANGAR_OK) fail_msg("%s -> %s was followed to %s", from, location, next.text);
    } else {
        if (code != HANGAR_OK) fail_msg("%s -> %s: %s", from, location, err.msg);
        assert_string_equal(next.text, want);
        assert_int_equal(hg_url_same_origin(&base, &next), same);
    }
    hg_url_deinit(&base);
    hg_url_deinit(&next);
}

static void test_follow(void **state)
{
    (void)state;
    follows("https://hub/a/b", "/api/x?y=z", "https://hub/api/x?y=z", true);
    follows("https://hub/a/b", "c", "https://hub/a/c", true);
    follows("https://hub/a/b?q", "?r", "https://hub/a/b?r", true);
    follows("https://hub/a", "https://HUB:443/b", "https://HUB:443/b", true);
    follows("https://hub/a", "//cdn/b", "https://cdn/b", false);
    follows("https://hub/a", "https://cdn/b", "https://cdn/b", false);
    follows("https://hub/a", "https://hub:444/b", "https://hub:444/b", false);
    follows("https://hub/a", "https://hub.evil/b", "https://hub.evil/b", false);
    follows("https://hub/a", "https://x.hub/b", "https://x.hub/b", false);
    follows("http://hub/a", "https://hub/b", "https://hub/b", false);
    follows("https://hub/a", "http://hub/b", NULL, false);
    follows("https://hub/a", "//u:p@cdn/b", NULL, false);
    follows("https://hub/a", "https://hub@cdn/b", NULL, false);
    follows("https://hub/a", "file:///etc/passwd", NULL, false);
    follows("https://hub/a", "\\\\cdn\\b", NULL, false);
    follows("https://hub/a", "", NULL, false);
}

static void quoted(const char *text, bool slash, const char *want)
{
    hg_buf b;
    hg_buf_init(&b, 1000);
    hg_url_quote(&b, hg_str_of(text), slash);
    assert_string_equal(hg_buf_text(&b), want);
    hg_buf_deinit(&b);
}

static void test_quote(void **state)
{
    (void)state;
    quoted("refs/pr/1", false, "refs%2Fpr%2F1");
    quoted("a/b c#?%.json", true, "a/b%20c%23%3F%25.json");
    quoted("\xc3\xa4~-_.", true, "%C3%A4~-_.");
    quoted("a/b c\xc3\xa9?&\"\n", true, "a/b%20c%C3%A9%3F%26%22%0A");
    quoted("a/b", false, "a%2Fb");
}

static bool is_public(const char *text)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    struct sockaddr_in6 b = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &a.sin_addr) == 1) return hg_addr_is_public((struct sockaddr *)&a, sizeof a);
    assert_int_equal(inet_pton(AF_INET6, text, &b.sin6_addr), 1);
    return hg_addr_is_public((struct sockaddr *)&b, sizeof b);
}

static void test_guard(void **state)
{
    (void)state;
    static const char *const open[] = {"8.8.8.8",         "172.15.255.255",  "172.32.0.0",
                                       "192.167.0.1",     "100.63.0.1",      "100.128.0.1",
                                       "223.255.255.255", "2606:4700::1111", "::ffff:8.8.8.8",
                                       "64:ff9b::808:808"};
    static const char *const inner[] = {"127.0.0.1",
                                        "127.255.255.255",
                                        "0.0.0.0",
                                        "0.1.2.3",
                                        "10.0.0.1",
                                        "172.16.0.1",
                                        "172.31.255.255",
                                        "192.168.1.1",
                                        "169.254.169.254",
                                        "100.64.0.1",
                                        "100.127.255.255",
                                        "198.18.0.1",
                                        "192.0.0.8",
                                        "224.0.0.1",
                                        "240.0.0.1",
                                        "255.255.255.255",
                                        "::1",
                                        "::",
                                        "fe80::1",
                                        "fc00::1",
                                        "fdff::1",
                                        "ff02::1",
                                        "::ffff:127.0.0.1",
                                        "::127.0.0.1",
                                        "64:ff9b::7f00:1",
                                        "64:ff9b::a9fe:a9fe",
                                        "2002:7f00:1::",
                                        "2002:c0a8:101::1"};
    for (size_t i = 0; i < HG_LEN(open); i++)
        if (!is_public(open[i])) fail_msg("%s is public", open[i]);
    for (size_t i = 0; i < HG_LEN(inner); i++)
        if (is_public(inner[i])) fail_msg("%s is not public", inner[i]);
    struct sockaddr_in cut = {.sin_family = AF_INET};
    assert_false(hg_addr_is_public((struct sockaddr *)&cut, 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixpoint), cmocka_unit_test(test_refused), cmocka_unit_test(test_follow),
        cmocka_unit_test(test_quote),    cmocka_unit_test(test_guard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
