/* SPDX-License-Identifier: Apache-2.0 */
/* Circuit breakers: when a model is left alone, for how long, and how it comes back. */
#include "manager/breaker.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static const hg_settings settings = {.serve_breaker_failures = 3, .serve_breaker_cooldown = 0.05};

static hg_breakers *all;
static hg_why *why;

static int make(void **state)
{
    (void)state;
    why = hg_why_new();
    all = hg_breakers_new(&settings, why);
    return all && why ? 0 : -1;
}

static int drop(void **state)
{
    (void)state;
    hg_breakers_free(all);
    hg_why_free(why);
    return 0;
}

static void fail_times(const char *model, int n)
{
    while (n-- > 0) {
        assert_true(hg_breaker_allow(all, model));
        hg_breaker_tell(all, model, false, -1);
    }
}

static void pass_time(const char *model)
{
    for (int i = 0; i < 2000 && hg_breaker_wait(all, model) > 0; i++) hg_sleep(0.001);
    assert_true(hg_breaker_wait(all, model) == 0);
}

static void failures_in_a_row_open_it(void **state)
{
    (void)state;
    fail_times("a", 2);
    assert_string_equal(hg_breaker_state(all, "a"), "closed");
    hg_breaker_tell(all, "a", true, -1);
    fail_times("a", 2);
    assert_string_equal(hg_breaker_state(all, "a"), "closed");
    fail_times("a", 1);
    assert_string_equal(hg_breaker_state(all, "a"), "open");
    assert_false(hg_breaker_allow(all, "a"));
    assert_true(hg_breaker_wait(all, "a") > 0);
    assert_true(hg_breaker_allow(all, "b"));
}

static void one_trial_decides(void **state)
{
    (void)state;
    fail_times("a", 3);
    pass_time("a");
    assert_true(hg_breaker_allow(all, "a"));
    assert_string_equal(hg_breaker_state(all, "a"), "half_open");
    assert_false(hg_breaker_allow(all, "a"));
    hg_breaker_drop(all, "a"); /* the client of the trial left: the next one tries */
    assert_true(hg_breaker_allow(all, "a"));
    hg_breaker_tell(all, "a", false, -1);
    assert_string_equal(hg_breaker_state(all, "a"), "open");
    assert_true(hg_breaker_wait(all, "a") > settings.serve_breaker_cooldown); /* twice as long */
    pass_time("a");
    assert_true(hg_breaker_allow(all, "a"));
    hg_breaker_tell(all, "a", true, -1);
    assert_string_equal(hg_breaker_state(all, "a"), "closed");
    assert_true(hg_breaker_allow(all, "a"));
    fail_times("a", 2); /* the count begins anew */
    assert_string_equal(hg_breaker_state(all, "a"), "closed");
}

static void the_service_says_how_long(void **state)
{
    (void)state;
    assert_true(hg_breaker_allow(all, "a"));
    hg_breaker_tell(all, "a", false, 30);
    assert_string_equal(hg_breaker_state(all, "a"), "open");
    assert_true(hg_breaker_wait(all, "a") > 25 && hg_breaker_wait(all, "a") <= 30);
}

static void moves_are_explained(void **state)
{
    (void)state;
    fail_times("a", 3);
    hg_jw *w = hg_jw_new();
    char *text = NULL;
    hg_jw_arr(w, NULL);
    hg_why_write(why, "breaker", "a", 10, w);
    assert_int_equal(hg_jw_finish(w, false, &text, NULL), HANGAR_OK);
    hg_jw_free(w);
    assert_non_null(strstr(text, "3 failures in a row"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(failures_in_a_row_open_it, make, drop),
        cmocka_unit_test_setup_teardown(one_trial_decides, make, drop),
        cmocka_unit_test_setup_teardown(the_service_says_how_long, make, drop),
        cmocka_unit_test_setup_teardown(moves_are_explained, make, drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
