/* SPDX-License-Identifier: Apache-2.0 */
/* The sampler: what each filter lets through, how often each token comes (chi-square on a fixed seed), and rows that are none. */
#include "runner.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define VOCAB 8
#define DRAWS 20000

/* exp of these: 0.4 0.25 0.15 0.1 0.05 0.03 0.015 0.005, in another order than by size. */
static const double shares[VOCAB] = {0.05, 0.4, 0.015, 0.25, 0.1, 0.15, 0.005, 0.03};

static void scores_of(float *out)
{
    for (int i = 0; i < VOCAB; i++) out[i] = (float)log(shares[i]) + 2.5f;
}

static const hg_generate_call plain = {
    .temperature = 1, .top_p = 1, .min_p = 0, .repeat_penalty = 1, .top_k = 0, .seed = 42};

/* Draws often; counts[i] is how often token i came. */
static void draw(const hg_generate_call *call, size_t counts[VOCAB])
{
    hg_sampler s;
    hg_sampler_init(&s, call);
    memset(counts, 0, VOCAB * sizeof *counts);
    for (int i = 0; i < DRAWS; i++) {
        float row[VOCAB];
        int64_t id = -1;
        scores_of(row);
        assert_int_equal(hg_sampler_pick(&s, row, VOCAB, NULL, 0, &id, NULL), HANGAR_OK);
        assert_in_range(id, 0, VOCAB - 1);
        counts[id]++;
    }
    hg_sampler_deinit(&s);
}

/* Holds counts to weights, which need not add up to 1; a weight of 0 must not have come at all. */
static void check_shares(const hg_generate_call *call, const double weights[VOCAB])
{
    size_t counts[VOCAB];
    double total = 0, chi = 0;
    draw(call, counts);
    for (int i = 0; i < VOCAB; i++) total += weights[i];
    for (int i = 0; i < VOCAB; i++) {
        double want = weights[i] / total * DRAWS;
        if (weights[i] <= 0) assert_int_equal(counts[i], 0);
        else chi += (counts[i] - want) * (counts[i] - want) / want;
    }
    /* 24.3 is the 99.9 % point for 7 degrees of freedom; fewer degrees have lower ones. */
    if (chi > 24.3) fail_msg("chi-square %.1f", chi);
}

static void every_token_comes_as_often_as_its_share(void **state)
{
    (void)state;
    check_shares(&plain, shares);
}

static void temperature_sharpens_and_flattens(void **state)
{
    (void)state;
    for (int t = 0; t < 2; t++) {
        hg_generate_call call = plain;
        double weights[VOCAB];
        call.temperature = t ? 2 : 0.5;
        for (int i = 0; i < VOCAB; i++) weights[i] = pow(shares[i], 1 / call.temperature);
        check_shares(&call, weights);
    }
}

/* The shares from `least` on, the others 0. */
static void at_least(double least, double out[VOCAB])
{
    for (int i = 0; i < VOCAB; i++) out[i] = shares[i] >= least ? shares[i] : 0;
}

static void filters_keep_what_they_say(void **state)
{
    (void)state;
    double weights[VOCAB];
    hg_generate_call call = plain;
    call.top_k = 3;
    at_least(0.15, weights);
    check_shares(&call, weights);
    call = plain;
    call.top_p = 0.75; /* 0.4 + 0.25 is less, + 0.15 is enough */
    at_least(0.15, weights);
    check_shares(&call, weights);
    call = plain;
    call.min_p = 0.2; /* of 0.4: 0.08 */
    at_least(0.1, weights);
    check_shares(&call, weights);
    call = plain;
    call.top_k = 4; /* leaves 0.9, of which top p wants 0.63: 0.4 + 0.25 */
    call.top_p = 0.7;
    at_least(0.25, weights);
    check_shares(&call, weights);
    call = plain;
    call.top_p = 1e-6; /* one is always left */
    at_least(0.4, weights);
    check_shares(&call, weights);
    call = plain;
    call.top_k = 100;
    call.min_p = 1e-6;
    check_shares(&call, shares);
}

static void the_same_seed_draws_the_same(void **state)
{
    (void)state;
    size_t a[VOCAB], b[VOCAB];
    hg_generate_call call = plain;
    draw(&call, a);
    draw(&call, b);
    assert_memory_equal(a, b, sizeof a);
    call.seed = 43;
    draw(&call, b);
    assert_memory_not_equal(a, b, sizeof a);
    /* The published first numbers of SplitMix64 from 1234567. */
    hg_sampler s;
    call.seed = 1234567;
    hg_sampler_init(&s, &call);
    const uint64_t want[] = {6457827717110365317u, 3203168211198807973u, 9817491932198370423u};
    for (size_t i = 0; i < 3; i++)
        assert_true(hg_sampler_uniform(&s) == (double)(want[i] >> 11) / 9007199254740992.0);
    hg_sampler_deinit(&s);
}

/* What greedy takes of a row, given an answer so far. */
static int64_t greedy(const float *row, size_t vocab, double penalty, const int64_t *made, size_t count)
{
    float copy[VOCAB];
    int64_t id = -1;
    hg_sampler s;
    hg_generate_call call = plain;
    call.temperature = 0;
    call.repeat_penalty = penalty;
    memcpy(copy, row, vocab * sizeof *row);
    hg_sampler_init(&s, &call);
    assert_int_equal(hg_sampler_pick(&s, copy, vocab, made, count, &id, NULL), HANGAR_OK);
    hg_sampler_deinit(&s);
    return id;
}

static void greedy_takes_the_first_of_the_likeliest(void **state)
{
    (void)state;
    assert_int_equal(greedy((float[]){1, 3, 2, 3}, 4, 1, NULL, 0), 1);
    assert_int_equal(greedy((float[]){-5}, 1, 1, NULL, 0), 0);
    assert_int_equal(greedy((float[]){-INFINITY, -1, -2}, 3, 1, NULL, 0), 1);
}

static void penalty_weighs_each_repeated_token_once(void **state)
{
    (void)state;
    const int64_t twice[] = {1, 1}, both[] = {0, 1}, strange[] = {-1, 99};
    /* 4 / 1.5 = 2.67 is over 2.5; twice it would be 1.8 */
    assert_int_equal(greedy((float[]){2.5f, 4}, 2, 1.5, twice, 2), 1);
    assert_int_equal(greedy((float[]){2.5f, 4}, 2, 2, twice, 2), 0);
    /* a negative score becomes more so */
    assert_int_equal(greedy((float[]){-1, -1.5f, -1.9f}, 3, 2, both, 2), 2);
    assert_int_equal(greedy((float[]){1, 2}, 2, 2, strange, 2), 1);
    /* what lies further back than the window is forgotten */
    int64_t long_ago[HG_GENERATE_PENALTY_WINDOW + 1];
    for (size_t i = 0; i <= HG_GENERATE_PENALTY_WINDOW; i++) long_ago[i] = i ? 2 : 1;
    assert_int_equal(greedy((float[]){1, 4, 0}, 3, 8, long_ago, HG_GENERATE_PENALTY_WINDOW + 1), 1);
    assert_int_equal(greedy((float[]){1, 4, 0}, 3, 8, long_ago, HG_GENERATE_PENALTY_WINDOW), 0);
}

static void presence_counts_once_and_frequency_each_time(void **state)
{
    (void)state;
    const int64_t made[] = {1, 1, 0};
    static const struct {
        double presence, frequency;
        float row[3];
        int64_t want;
    } cases[] = {
        {0, 0, {2, 4, 3}, 1},    {0.9, 0, {2, 4, 3}, 1},   /* 4 - 0.9 */
        {1.1, 0, {2, 4, 3}, 2},  {0, 0.49, {2, 4, 3}, 1},  /* 4 - 2 * 0.49 */
        {0, 0.51, {2, 4, 3}, 2}, {0.5, 0.3, {2, 4, 3}, 2}, /* 4 - 0.5 - 0.6 */
        {-2, 0, {2, 1, 3}, 0},                             /* below zero it is the other way round */
        {0, -2, {2, 0, 3}, 0},   {0, -2, {2, 1, 3}, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hg_generate_call call = plain;
        hg_sampler s;
        float row[3];
        int64_t id = -1;
        call.temperature = 0;
        call.presence_penalty = cases[i].presence;
        call.frequency_penalty = cases[i].frequency;
        memcpy(row, cases[i].row, sizeof row);
        hg_sampler_init(&s, &call);
        assert_int_equal(hg_sampler_pick(&s, row, 3, made, 3, &id, NULL), HANGAR_OK);
        if (id != cases[i].want) fail_msg("case %zu: %lld", i, (long long)id);
        hg_sampler_deinit(&s);
    }
}

static void rows_that_are_none_are_the_engines_fault(void **state)
{
    (void)state;
    const float wrong[][3] = {{1, NAN, 2}, {1, INFINITY, 2}, {-INFINITY, -INFINITY, -INFINITY}};
    for (size_t i = 0; i < 3; i++)
        for (int t = 0; t < 2; t++) {
            float row[3];
            int64_t id;
            hangar_err err = {0};
            hg_sampler s;
            hg_generate_call call = plain;
            call.temperature = t;
            memcpy(row, wrong[i], sizeof row);
            hg_sampler_init(&s, &call);
            assert_int_equal(hg_sampler_pick(&s, row, 3, NULL, 0, &id, &err), HANGAR_E_ENGINE);
            assert_true(err.msg[0] != '\0');
            hg_sampler_deinit(&s);
        }
}

static void forbidden_tokens_never_come(void **state)
{
    (void)state;
    hg_sampler s;
    hg_generate_call call = plain;
    call.top_k = 2;
    call.temperature = 5;
    hg_sampler_init(&s, &call);
    for (int i = 0; i < 200; i++) {
        float row[4] = {-INFINITY, 1, -INFINITY, -40};
        int64_t id = -1;
        assert_int_equal(hg_sampler_pick(&s, row, 4, NULL, 0, &id, NULL), HANGAR_OK);
        assert_true(id == 1 || id == 3);
    }
    hg_sampler_deinit(&s);
}

/* A vocabulary as large as they come, against a plain sort. */
static int by_score(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

static void top_k_of_a_large_vocabulary(void **state)
{
    (void)state;
    enum { many = 50000, k = 50 };
    float *row = calloc(many, sizeof *row), *sorted = calloc(many, sizeof *sorted);
    assert_true(row && sorted);
    uint32_t x = 1;
    for (int i = 0; i < many; i++) {
        x = x * 1664525u + 1013904223u;
        row[i] = sorted[i] = (float)(x >> 8) / 4e6f;
    }
    qsort(sorted, many, sizeof *sorted, by_score);
    hg_sampler s;
    hg_generate_call call = plain;
    call.top_k = k;
    call.temperature = 5;
    hg_sampler_init(&s, &call);
    bool lower = false;
    for (int i = 0; i < 500; i++) {
        int64_t id = -1;
        assert_int_equal(hg_sampler_pick(&s, row, many, NULL, 0, &id, NULL), HANGAR_OK);
        assert_true(row[id] >= sorted[k - 1]);
        lower = lower || row[id] < sorted[k / 2];
    }
    assert_true(lower);
    hg_sampler_deinit(&s);
    free(row);
    free(sorted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_token_comes_as_often_as_its_share),
        cmocka_unit_test(temperature_sharpens_and_flattens),
        cmocka_unit_test(filters_keep_what_they_say),
        cmocka_unit_test(the_same_seed_draws_the_same),
        cmocka_unit_test(greedy_takes_the_first_of_the_likeliest),
        cmocka_unit_test(penalty_weighs_each_repeated_token_once),
        cmocka_unit_test(presence_counts_once_and_frequency_each_time),
        cmocka_unit_test(rows_that_are_none_are_the_engines_fault),
        cmocka_unit_test(forbidden_tokens_never_come),
        cmocka_unit_test(top_k_of_a_large_vocabulary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
