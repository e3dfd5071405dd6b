/* SPDX-License-Identifier: Apache-2.0 */
/* A begun text as tokens, and how likely tokens were, by a tokenizer of letters and a few words. */
#include "format/begun.h"
#include "format/logprobs.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* Ids below 256 are bytes; then come words. */
static const char *const words[] = {"ab", "abc", "bcd", " a", "cd", "\xc3\xa9", "xyz"};

static hg_str word_of(int64_t id)
{
    static char byte[256];
    for (int i = 0; i < 256; i++) byte[i] = (char)i;
    return id < 256 ? (hg_str){&byte[id], 1} : hg_str_of(words[id - 256]);
}

/* The longest word first; `space`: a text gets a space before it, as some tokenizers have it. */
static hangar_code read_text(const void *ctx, hg_str text, hg_reading how, hg_ids64 *out, hangar_err *err)
{
    (void)how;
    char copy[128] = " ";
    const bool *space = ctx;
    size_t n = *space ? 1 : 0;
    assert_true(text.len + 1 < sizeof copy);
    memcpy(copy + n, text.ptr, text.len);
    hg_str rest = {copy, text.len + n};
    while (rest.len) {
        int64_t best = (unsigned char)rest.ptr[0];
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
            if (hg_str_starts(rest, hg_str_of(words[i])) &&
                (best < 256 || strlen(words[i]) > word_of(best).len))
                best = 256 + (int64_t)i;
        hg_str word = word_of(best);
        rest = (hg_str){rest.ptr + word.len, rest.len - word.len};
        hangar_code code = hg_ids64_add(out, best, err);
        if (code != HANGAR_OK) return code;
    }
    return HANGAR_OK;
}

static bool is_control(const void *ctx, int64_t id)
{
    (void)ctx, (void)id;
    return false;
}

static hangar_code piece_of(const void *ctx, int64_t id, hg_buf *out, hangar_err *err)
{
    (void)ctx;
    hg_buf_str(out, word_of(id));
    return hg_buf_check(out, err);
}

static bool no_space = false, with_space = true;
static const hg_reader plain = {&no_space, read_text, is_control, piece_of},
                       spaced = {&with_space, read_text, is_control, piece_of};

static void check_ids(const hg_begun *b, size_t count, const int64_t *want)
{
    assert_int_equal(b->ids.count, count);
    for (size_t i = 0; i < count; i++) assert_int_equal(b->ids.ids[i], want[i]);
}

static void the_tokenizers_own_at_first(void **state)
{
    (void)state;
    hg_begun b;
    bool changed = true;
    assert_int_equal(hg_begun_init(&b, &plain, HG_STR("abcd"), NULL), HANGAR_OK);
    check_ids(&b, 2, (int64_t[]){257, 'd'});
    /* what it would have written itself, and what is another text, changes nothing */
    for (int64_t id = 0; id < 263; id++) {
        if (id == 'a' || id == 256 || id == 259) continue; /* 259: a space before all text counts as none */
        assert_int_equal(hg_begun_prefer(&b, 0, id, &changed, NULL), HANGAR_OK);
        assert_false(changed);
    }
    check_ids(&b, 2, (int64_t[]){257, 'd'});
    hg_begun_deinit(&b);
    assert_int_equal(hg_begun_init(&b, &plain, HG_STR(""), NULL), HANGAR_OK);
    assert_int_equal(b.ids.count, 0);
    hg_begun_deinit(&b);
}

static void another_way_to_the_same_text(void **state)
{
    (void)state;
    hg_begun b;
    bool changed = false;
    assert_int_equal(hg_begun_init(&b, &plain, HG_STR("abcd"), NULL), HANGAR_OK);
    assert_int_equal(hg_begun_prefer(&b, 0, 'a', &changed, NULL), HANGAR_OK);
    assert_true(changed);
    check_ids(&b, 2, (int64_t[]){'a', 258});
    assert_int_equal(hg_begun_prefer(&b, 1, 'b', &changed, NULL), HANGAR_OK);
    assert_true(changed);
    check_ids(&b, 3, (int64_t[]){'a', 'b', 260});
    assert_int_equal(b.beyond, 0);
    hg_begun_deinit(&b);
}

static void a_token_that_runs_beyond(void **state)
{
    (void)state;
    hg_begun b;
    bool changed = false;
    assert_int_equal(hg_begun_init(&b, &plain, HG_STR("d xy"), NULL), HANGAR_OK);
    check_ids(&b, 4, (int64_t[]){'d', ' ', 'x', 'y'});
    assert_int_equal(hg_begun_prefer(&b, 2, 262, &changed, NULL), HANGAR_OK);
    assert_true(changed);
    check_ids(&b, 2, (int64_t[]){'d', ' '});
    assert_int_equal(b.beyond, 2);
    assert_int_equal(b.fresh, 1);
    assert_int_equal(b.last, 262);
    hg_begun_deinit(&b);
}

static void a_space_that_the_tokenizer_adds(void **state)
{
    (void)state;
    static const struct {
        hg_str text;
        size_t count;
        int64_t ids[4];
    } cases[] = {{HG_STR("a"), 1, {259}}, {HG_STR(" a"), 1, {259}}, {HG_STR("xyz"), 2, {' ', 262}}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hg_begun b;
        assert_int_equal(hg_begun_init(&b, &spaced, cases[i].text, NULL), HANGAR_OK);
        check_ids(&b, cases[i].count, cases[i].ids);
        assert_true(b.exact);
        hg_begun_deinit(&b);
    }
}

static void no_end_of_asking(void **state)
{
    (void)state;
    hg_begun b;
    bool changed = false;
    assert_int_equal(hg_begun_init(&b, &plain, HG_STR("abcd"), NULL), HANGAR_OK);
    for (int i = 0; i < HG_BEGUN_CHECKS_MAX; i++)
        assert_int_equal(hg_begun_prefer(&b, 0, 'x', &changed, NULL), HANGAR_OK);
    assert_int_equal(hg_begun_prefer(&b, 0, 'a', &changed, NULL), HANGAR_OK);
    assert_false(changed);
    hg_begun_deinit(&b);
}

/* ---- likelihoods ---- */

static void logarithms_of_shares(void **state)
{
    (void)state;
    float scores[100];
    for (int i = 0; i < 100; i++) scores[i] = (float)((i * 37) % 100) / 10; /* all different */
    scores[19] = -INFINITY;
    double sum = 0;
    for (int i = 0; i < 100; i++) sum += exp(scores[i]);
    hg_logprobs l;
    hg_logprobs_init(&l, &plain, 20, 0);
    assert_int_equal(hg_logprobs_note(&l, scores, 100, 42, NULL), HANGAR_OK);
    const hg_told *t = &l.list[0];
    assert_true(fabs(t->chosen.logprob - (scores[42] - log(sum))) < 1e-9);
    assert_int_equal(t->top_count, 20);
    for (unsigned k = 0; k < 20; k++) {
        /* the k-th highest score is (99 - k) / 10 */
        assert_int_equal((t->top[k].id * 37) % 100, 99 - k);
        assert_true(fabs(exp(t->top[k].logprob) - exp((99 - k) / 10.0) / sum) < 1e-6);
    }
    assert_int_equal(hg_logprobs_note(&l, scores, 100, 19, NULL), HANGAR_OK);
    assert_true(isinf(l.list[1].chosen.logprob));
    hg_logprobs_deinit(&l);
    /* equal scores in the order of their ids; no more than there are */
    float same[3] = {1, 1, 1};
    hg_logprobs_init(&l, &plain, 20, 0);
    assert_int_equal(hg_logprobs_note(&l, same, 3, 2, NULL), HANGAR_OK);
    assert_int_equal(l.list[0].top_count, 3);
    for (unsigned k = 0; k < 3; k++) assert_int_equal(l.list[0].top[k].id, k);
    hg_logprobs_deinit(&l);
}

/* The member as text, of what begins before `upto`; the caller's. */
static char *written(hg_logprobs *l, size_t upto)
{
    char *text = NULL;
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    assert_int_equal(hg_logprobs_write(l, w, upto, NULL), HANGAR_OK);
    assert_int_equal(hg_jw_finish(w, false, &text, NULL), HANGAR_OK);
    hg_jw_free(w);
    return text;
}

static void told_where_their_text_begins(void **state)
{
    (void)state;
    const float scores[263] = {0};
    hg_logprobs l;
    hg_logprobs_init(&l, &plain, 0, 10);
    const int64_t ids[] = {'a', 0xc3, 0xa9, 256};
    const size_t ends[] = {11, 12, 13, 15};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(hg_logprobs_note(&l, scores, 263, ids[i], NULL), HANGAR_OK);
        hg_logprobs_place(&l, ends[i]);
    }
    char *text = written(&l, 10);
    assert_string_equal(text, "{\"logprobs\":[]}");
    free(text);
    text = written(&l, 13);
    assert_non_null(strstr(text, "{\"token\":\"a\",\"logprob\":-5.57"));
    assert_non_null(strstr(text, "{\"token\":\"\xef\xbf\xbd\",\"bytes\":[195],"));
    assert_non_null(strstr(text, "\"bytes\":[169],"));
    assert_null(strstr(text, "ab"));
    free(text);
    hg_logprobs_drop(&l, 13);
    text = written(&l, 14);
    assert_non_null(strstr(text, "[{\"token\":\"ab\""));
    free(text);
    hg_logprobs_deinit(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tokenizers_own_at_first),
        cmocka_unit_test(another_way_to_the_same_text),
        cmocka_unit_test(a_token_that_runs_beyond),
        cmocka_unit_test(a_space_that_the_tokenizer_adds),
        cmocka_unit_test(no_end_of_asking),
        cmocka_unit_test(logarithms_of_shares),
        cmocka_unit_test(told_where_their_text_begins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
