/* SPDX-License-Identifier: Apache-2.0 */
/* Which tokens may come next. A vocabulary of 20: words 0-8, end 9, no_timestamps 10, times 11-19. */
#include "runner.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define VOCAB 20
#define END   9
#define NONE  10
#define TIME  11

/* Applies the rules to even scores; returns the allowed tokens as bits. `word` is added to the score of token 3. */
static unsigned allowed(const hg_rules *r, const int64_t *tokens, size_t count, float word)
{
    float scores[VOCAB] = {0};
    scores[3] = word;
    hg_rules_apply(r, tokens, count, scores, VOCAB);
    unsigned bits = 0;
    for (int i = 0; i < VOCAB; i++)
        if (isfinite(scores[i])) bits |= 1u << i;
    return bits;
}

static unsigned range(int from, int to)
{
    return ((1u << to) - 1) & ~((1u << from) - 1);
}

static hg_rules timed(void)
{
    return (hg_rules){.eos = END, .no_timestamps = NONE, .max_initial = 4, .timestamps = true};
}

static void suppressed(void **state)
{
    (void)state;
    int64_t always[] = {1, 2, 999, -1}, first[] = {END, 4};
    hg_rules r = {.eos = END,
                  .no_timestamps = NONE,
                  .max_initial = -1,
                  .suppress = always,
                  .suppress_count = 4,
                  .begin_suppress = first,
                  .begin_count = 2};
    const int64_t some[] = {5};
    assert_int_equal(allowed(&r, some, 0, 0), range(0, VOCAB) & ~(1u << 1 | 1u << 2 | 1u << 4 | 1u << END));
    assert_int_equal(allowed(&r, some, 1, 0), range(0, VOCAB) & ~(1u << 1 | 1u << 2));
}

static void times_come_first(void **state)
{
    (void)state;
    hg_rules r = timed();
    assert_int_equal(allowed(&r, NULL, 0, 100), range(TIME, TIME + 5));
    r.max_initial = -1;
    assert_int_equal(allowed(&r, NULL, 0, 100), range(TIME, VOCAB));
}

static void pairs(void **state)
{
    (void)state;
    hg_rules r = timed();
    /* the first time stands where a pair would end: now a word, or the end */
    const int64_t opened[] = {TIME + 1};
    assert_int_equal(allowed(&r, opened, 1, 100), range(0, NONE));
    /* within a segment: words, or a later time; a sure word keeps the words */
    const int64_t within[] = {TIME + 1, 3};
    assert_int_equal(allowed(&r, within, 2, 100), range(0, NONE) | range(TIME + 2, VOCAB));
    /* half a pair: its other half, no earlier; or the end */
    const int64_t half[] = {TIME + 1, 3, TIME + 4};
    assert_int_equal(allowed(&r, half, 3, 0) | 1u << END, range(TIME + 4, VOCAB) | 1u << END);
    assert_int_equal(allowed(&r, half, 3, 0) & range(0, END), 0);
    /* a whole pair: a word */
    const int64_t whole[] = {TIME + 1, 3, TIME + 4, TIME + 4};
    assert_int_equal(allowed(&r, whole, 4, 100), range(0, NONE));
}

/* When the times together are likelier than any word, it is a time. */
static void a_time_by_weight(void **state)
{
    (void)state;
    hg_rules r = timed();
    const int64_t within[] = {TIME, 3};
    /* eight times of weight 1 against the best word: log 8 = 2.08 */
    assert_int_equal(allowed(&r, within, 2, 2.0f), range(TIME + 1, VOCAB));
    assert_int_equal(allowed(&r, within, 2, 2.2f), range(0, NONE) | range(TIME + 1, VOCAB));
}

static void odd_vocabularies(void **state)
{
    (void)state;
    /* times that the vocabulary does not have: nothing happens, nothing is written outside */
    hg_rules r = {.eos = 5000, .no_timestamps = VOCAB - 1, .max_initial = 1000000, .timestamps = true};
    assert_int_equal(allowed(&r, NULL, 0, 0), range(0, VOCAB));
    r.no_timestamps = 12;
    const int64_t far[] = {400000, 3, 500000};
    allowed(&r, far, 3, 0);
    float nothing[2] = {-INFINITY, -INFINITY};
    assert_true(isinf(hg_log_sum(nothing, 2)));
    float huge[3] = {1000, 1000, -INFINITY};
    assert_true(fabs(hg_log_sum(huge, 3) - (1000 + log(2))) < 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(suppressed), cmocka_unit_test(times_come_first),
                                       cmocka_unit_test(pairs), cmocka_unit_test(a_time_by_weight),
                                       cmocka_unit_test(odd_vocabularies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
