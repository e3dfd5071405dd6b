/* SPDX-License-Identifier: Apache-2.0 */
/* Items spread over threads: each once, by a thread that has its number for itself. */
#include "base/mem.h"
#include "base/spread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>

#define ITEMS    20000
#define TOGETHER 3

typedef struct seen {
    unsigned char times[ITEMS];
    size_t of[HG_SPREAD_MAX]; /* items that each thread did; no other thread touches its number */
    unsigned threads;
} seen;

static void note(void *ctx, size_t item, unsigned who)
{
    seen *s = ctx;
    if (who >= s->threads || item >= ITEMS) abort();
    s->times[item]++;
    s->of[who]++;
}

static void each_item_once(void **state)
{
    (void)state;
    static const unsigned threads[] = {1, 2, 5, HG_SPREAD_MAX};
    static const size_t counts[] = {0, 1, 3, ITEMS};
    for (size_t i = 0; i < HG_LEN(threads); i++) {
        for (size_t k = 0; k < HG_LEN(counts); k++) {
            seen *s = hg_calloc(1, sizeof *s);
            size_t all = 0;
            s->threads = threads[i];
            hg_spread(threads[i], counts[k], note, s);
            for (size_t n = 0; n < ITEMS; n++) assert_int_equal(s->times[n], n < counts[k]);
            for (size_t n = 0; n < HG_SPREAD_MAX; n++) all += s->of[n];
            assert_int_equal(all, counts[k]);
            free(s);
        }
    }
}

static pthread_barrier_t barrier;

static void meet(void *ctx, size_t item, unsigned who)
{
    (void)ctx, (void)item, (void)who;
    pthread_barrier_wait(&barrier);
}

/* Three items that wait for each other need three threads at the same time. */
static void threads_run_together(void **state)
{
    (void)state;
    pthread_barrier_init(&barrier, NULL, TOGETHER);
    hg_spread(TOGETHER, TOGETHER, meet, NULL);
    pthread_barrier_destroy(&barrier);
}

static void how_many(void **state)
{
    (void)state;
    assert_int_equal(hg_spread_threads(1), 1);
    assert_int_equal(hg_spread_threads(7), 7);
    assert_int_equal(hg_spread_threads(1000), HG_SPREAD_MAX);
    assert_in_range(hg_spread_threads(0), 1, HG_SPREAD_MAX);
    assert_true(hg_usable_cores() >= hg_spread_threads(0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_item_once),
                                       cmocka_unit_test(threads_run_together), cmocka_unit_test(how_many)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
