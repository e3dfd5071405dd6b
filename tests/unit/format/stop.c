/* SPDX-License-Identifier: Apache-2.0 */
/* Text on its way out: nothing of a stop string, no half character, nothing lost. */
#include "format/generate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* Feeds pieces and joins what comes out; the caller's. */
static char *feed(const char *stops, const char *const *pieces, bool *out_stopped)
{
    hg_json *doc = NULL;
    assert_int_equal(hg_json_parse(hg_str_of(stops), NULL, &doc, NULL), HANGAR_OK);
    hg_tail t;
    hg_buf out;
    hg_tail_init(&t, hg_json_root(doc));
    hg_buf_init(&out, HG_MIB);
    for (; *pieces && !t.stopped; pieces++) {
        assert_int_equal(hg_tail_add(&t, hg_str_of(*pieces), NULL), HANGAR_OK);
        hg_str ready = hg_tail_ready(&t, false);
        assert_true(hg_utf8_valid(ready));
        hg_buf_str(&out, ready);
        t.sent += ready.len;
    }
    hg_buf_str(&out, hg_tail_ready(&t, true));
    *out_stopped = t.stopped;
    hg_tail_deinit(&t);
    hg_json_free(doc);
    return hg_buf_take(&out);
}

static void check(const char *stops, const char *const *pieces, const char *want, bool want_stopped)
{
    bool stopped = false;
    char *got = feed(stops, pieces, &stopped);
    assert_string_equal(got, want);
    assert_int_equal(stopped, want_stopped);
    free(got);
}

static void test_no_stop(void **state)
{
    (void)state;
    check("[]", (const char *[]){"a", "b", "c", NULL}, "abc", false);
    check("null", (const char *[]){"a", "", "c", NULL}, "ac", false);
}

static void test_stop_across_pieces(void **state)
{
    (void)state;
    check("[\"END\"]", (const char *[]){"one E", "N", "D two", NULL}, "one ", true);
    check("[\"END\"]", (const char *[]){"one E", "N", "X", NULL}, "one ENX", false);
    /* the earliest one counts, whichever is named first */
    check("[\"zz\",\"b\"]", (const char *[]){"abzz", NULL}, "a", true);
    check("[\"aab\"]", (const char *[]){"a", "a", "a", "b", NULL}, "a", true);
}

static void test_stop_at_the_start(void **state)
{
    (void)state;
    check("[\"x\"]", (const char *[]){"x", NULL}, "", true);
}

static void test_half_characters_wait(void **state)
{
    (void)state;
    /* U+00E9 and U+1F600, cut in their midst */
    check("[]", (const char *[]){"caf\xc3", "\xa9 \xf0\x9f", "\x98\x80", NULL},
          "caf\xc3\xa9 \xf0\x9f\x98\x80", false);
}

/* What goes out of `piece` behind a text that is out already. */
static void check_on(const char *stops, const char *begun, const char *piece, const char *want,
                     bool want_stopped)
{
    hg_json *doc = NULL;
    hg_tail t;
    assert_int_equal(hg_json_parse(hg_str_of(stops), NULL, &doc, NULL), HANGAR_OK);
    hg_tail_init(&t, hg_json_root(doc));
    hg_tail_begin(&t, hg_str_of(begun));
    assert_int_equal(hg_tail_ready(&t, true).len, 0);
    /* byte by byte and at once */
    hg_buf out;
    hg_buf_init(&out, HG_MIB);
    for (const char *p = piece; *p && !t.stopped; p++) {
        assert_int_equal(hg_tail_add(&t, (hg_str){p, 1}, NULL), HANGAR_OK);
        hg_str ready = hg_tail_ready(&t, false);
        hg_buf_str(&out, ready);
        t.sent += ready.len;
    }
    hg_buf_str(&out, hg_tail_ready(&t, true));
    assert_string_equal(hg_buf_text(&out), want);
    assert_int_equal(t.stopped, want_stopped);
    hg_tail_begin(&t, hg_str_of(begun));
    t.stopped = false;
    assert_int_equal(hg_tail_add(&t, hg_str_of(piece), NULL), HANGAR_OK);
    assert_true(hg_str_eq(hg_tail_new(&t), hg_str_of(want)));
    assert_true(hg_str_eq(hg_tail_ready(&t, true), hg_str_of(want)));
    assert_int_equal(t.stopped, want_stopped);
    hg_buf_deinit(&out);
    hg_tail_deinit(&t);
    hg_json_free(doc);
}

static void test_stop_across_what_is_out(void **state)
{
    (void)state;
    check_on("[\"END\"]", "one E", "ND two", "", true);
    check_on("[\"END\"]", "one EN", "D", "", true);
    check_on("[\"END\"]", "one E", "NX", "NX", false);
    check_on("[\"END\"]", "one", " END", " ", true);
    check_on("[\"END\"]", "one END", " two", " two", false); /* it is out: nothing can be done */
    check_on("[\"aa\"]", "a", "ba", "ba", false);
    check_on("[\"longer than all\"]", "x", "y", "y", false);
    check_on("[\"xy\",\"zz\"]", "x", "azzy", "a", true);
    check_on("[]", "caf", "\xc3\xa9", "\xc3\xa9", false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_stop),
        cmocka_unit_test(test_stop_across_pieces),
        cmocka_unit_test(test_stop_at_the_start),
        cmocka_unit_test(test_half_characters_wait),
        cmocka_unit_test(test_stop_across_what_is_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
