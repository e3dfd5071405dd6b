/* SPDX-License-Identifier: Apache-2.0 */
/* Work beside the loop for a request: what it found is what done sees, and a client that goes is known there. */
#include "api/dialect.h"
#include "api/http_inner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define ASIDES 500

static hg_loop *loop;
static size_t ended, refused, missed, left;

static void look(hg_aside *a)
{
    a->code = hg_fail(&a->err, HANGAR_E_NOT_FOUND, "no %s", a->name);
}

/* Over at once: whoever starts it must not write to it afterwards. The sanitizer for threads sees it each time, chance some times. */
static void told(hg_aside *a)
{
    if (a->code == HANGAR_E_NOT_FOUND && strcmp(a->err.msg, "no a/b") == 0) refused++;
    else missed++;
    if (!a->r) left++;
    if (++ended == ASIDES) hg_loop_stop(loop);
}

static void test_what_work_found_is_told(void **state)
{
    (void)state;
    hg_host host = {0};
    hg_server server = {.host = &host};
    hg_req r = {.s = &server};
    assert_int_equal(hg_loop_new(&loop, NULL), HANGAR_OK);
    host.loop = loop;
    for (size_t i = 0; i < ASIDES; i++) {
        hg_aside *a = hg_aside_new(&r, "a/b", NULL, NULL);
        assert_non_null(a);
        a->work = look;
        a->done = told;
        hg_aside_start(a);
        if (i % 2) r.gone_fn(r.gone_ctx);
    }
    hg_loop_run(loop);
    hg_loop_free(loop);
    assert_int_equal(missed, 0);
    assert_int_equal(refused, ASIDES);
    assert_int_equal(left, ASIDES / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_work_found_is_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
