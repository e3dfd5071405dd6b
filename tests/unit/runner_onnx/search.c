/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The searches over a decoder that is a table: tokens 0, 1, 2, end 3, start 4. "0 end" is the likeliest answer
 * of the first glance, "1 2 2 2 end" the better one per token.
 */
#include "runner.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define VOCAB 5
#define END   3
#define START 4
#define ROOM  32

/* Stands in for decoder.c: what each row has been fed, without the prompt. */
struct hg_decoder {
    size_t rows, len;
    int64_t fed[HG_ONNX_BEAMS_MAX][ROOM];
    float logits[HG_ONNX_BEAMS_MAX * VOCAB];
    size_t steps;
    bool spoiled; /* gives scores that are no numbers */
};

static void scores_of(const int64_t *fed, size_t len, float *out)
{
    double p[VOCAB] = {0.002, 0.002, 0.002, 0.002, 0.002};
    if (len == 0) {
        p[0] = 0.55;
        p[1] = 0.44;
    } else if (fed[0] == 0) {
        p[END] = 0.9;
    } else {
        p[len < 4 ? 2 : END] = 0.95;
    }
    for (int i = 0; i < VOCAB; i++) out[i] = (float)log(p[i]) + 3.5f; /* scores need not be normalised */
}

hangar_code hg_decoder_step(hg_decoder *d, const int64_t *ids, size_t each, const float **out_logits,
                            size_t *out_vocab, hangar_err *err)
{
    (void)err;
    bool prompt = d->steps++ == 0;
    for (size_t r = 0; r < d->rows; r++) {
        if (!prompt) d->fed[r][d->len] = ids[r * each];
        scores_of(d->fed[r], prompt ? 0 : d->len + 1, d->logits + r * VOCAB);
        if (d->spoiled) d->logits[r * VOCAB] = NAN;
    }
    if (!prompt) d->len++;
    *out_logits = d->logits;
    *out_vocab = VOCAB;
    return HANGAR_OK;
}

hangar_code hg_decoder_select(hg_decoder *d, const size_t *from, size_t rows, hangar_err *err)
{
    (void)err;
    int64_t old[HG_ONNX_BEAMS_MAX][ROOM];
    memcpy(old, d->fed, sizeof old);
    for (size_t r = 0; r < rows; r++) memcpy(d->fed[r], old[from[r]], sizeof old[0]);
    d->rows = rows;
    return HANGAR_OK;
}

static hangar_code count_down(void *ctx, hangar_err *err)
{
    int *left = ctx;
    return (*left)-- > 0 ? HANGAR_OK : hg_fail(err, HANGAR_E_CANCELLED, "cancelled");
}

/* Searches; the tokens as a number in decimal ("1222"). */
static hangar_code search(size_t beams, size_t max_tokens, int patience, bool spoiled, hg_found *found,
                          long *tokens)
{
    const hg_rules rules = {.eos = END, .no_timestamps = -1, .max_initial = -1};
    const int64_t prompt[] = {START};
    hg_decoder d = {.rows = 1, .spoiled = spoiled};
    hg_search s = {.rules = &rules,
                   .prompt = prompt,
                   .prompt_len = 1,
                   .max_tokens = max_tokens,
                   .beams = beams,
                   .no_speech = 1,
                   .between = count_down,
                   .ctx = &patience};
    hangar_err err = {0};
    hangar_code code = hg_search_run(&s, &d, found, &err);
    *tokens = 0;
    for (size_t i = 0; i < found->count && i < 12; i++)
        *tokens = *tokens * 10 + (long)found->tokens[i] + (i == 0 ? 100 : 0);
    free(found->tokens);
    return code;
}

static void near_to(double got, double want)
{
    if (fabs(got - want) > 1e-3) fail_msg("%.5f, wanted %.5f", got, want);
}

static void greedy_takes_the_first_glance(void **state)
{
    (void)state;
    hg_found f;
    long tokens;
    assert_int_equal(search(1, 20, 100, false, &f, &tokens), HANGAR_OK);
    assert_int_equal(tokens, 100);
    double first = 0.55 + 0.44 + 3 * 0.002, second = 0.9 + 4 * 0.002;
    near_to(f.average, (log(0.55 / first) + log(0.9 / second)) / 2);
    near_to(f.no_speech, 0.44 / first);
}

static void beams_find_the_better_answer(void **state)
{
    (void)state;
    hg_found f;
    long tokens;
    for (size_t beams = 2; beams <= HG_ONNX_BEAMS_MAX; beams++) {
        assert_int_equal(search(beams, 20, 100, false, &f, &tokens), HANGAR_OK);
        assert_int_equal(tokens, 101222);
        double first = 0.55 + 0.44 + 3 * 0.002, other = 0.95 + 4 * 0.002;
        near_to(f.average, (log(0.44 / first) + 4 * log(0.95 / other)) / 5);
    }
}

static void no_longer_than_allowed(void **state)
{
    (void)state;
    hg_found f;
    long tokens;
    assert_int_equal(search(4, 4, 100, false, &f, &tokens), HANGAR_OK);
    assert_true(f.count <= 3);
    assert_int_equal(search(1, 2, 100, false, &f, &tokens), HANGAR_OK);
    assert_int_equal(f.count, 1);
    assert_int_equal(search(1, 1, 100, false, &f, &tokens), HANGAR_E_USAGE);
    assert_int_equal(search(17, 20, 100, false, &f, &tokens), HANGAR_E_USAGE);
}

static void ends_when_asked(void **state)
{
    (void)state;
    hg_found f;
    long tokens;
    assert_int_equal(search(1, 20, 0, false, &f, &tokens), HANGAR_E_CANCELLED);
    assert_int_equal(search(4, 20, 2, false, &f, &tokens), HANGAR_E_CANCELLED);
    assert_null(f.tokens);
}

static void scores_that_are_no_numbers(void **state)
{
    (void)state;
    hg_found f;
    long tokens;
    assert_int_equal(search(1, 20, 100, true, &f, &tokens), HANGAR_E_ENGINE);
    hangar_code code = search(3, 20, 100, true, &f, &tokens);
    assert_int_equal(code, HANGAR_E_ENGINE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(greedy_takes_the_first_glance),
                                       cmocka_unit_test(beams_find_the_better_answer),
                                       cmocka_unit_test(no_longer_than_allowed),
                                       cmocka_unit_test(ends_when_asked),
                                       cmocka_unit_test(scores_that_are_no_numbers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
