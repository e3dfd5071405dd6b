/* SPDX-License-Identifier: Apache-2.0 */
/* The reference on the trained starter models, whose numbers mean something: logits, embeddings, heard digits. */
#include "check_kit.h"
#include "clip.h"
#include "format/mel.h"

#define TOLERANCE 1e-4 /* of trained models' logits, which are up to 20 */

static void open_starter(kit_model *m, const char *name)
{
    HG_AUTO(hg_auto_free) char *dir = hg_format("%s/models/hangar-labs/%s", getenv("HANGAR_TOP"), name);
    kit_open(m, dir);
}

static size_t read_ids(const hg_jval *list, int64_t *out, size_t max)
{
    size_t n = 0;
    for (hg_json_iter it = hg_json_iter_of(list); hg_json_next(&it) && n < max;)
        out[n++] = hg_json_i64_or(it.val, -1);
    assert_true(n > 0);
    return n;
}

/* Numbers of a list against those at `got`. */
static void near(const hg_jval *list, const double *got, const char *what)
{
    assert_true(hg_json_len(list) > 0);
    for (hg_json_iter it = hg_json_iter_of(list); hg_json_next(&it);) {
        double want = hg_json_f64_or(it.val, (double)NAN);
        if (!(fabs(want - got[it.index]) < TOLERANCE))
            fail_msg("%s %zu is %.7g, not %.7g", what, it.index, got[it.index], want);
    }
}

static size_t highest(const double *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++) best = x[i] > x[best] ? i : best;
    return best;
}

static void run(const kit_model *m, const hg_ref_input *in, hg_ref_output *out)
{
    hangar_err err = {0};
    if (hg_ref_run(&m->ck, hg_json_root(m->config), in, NULL, out, &err)) fail_msg("%s", err.msg);
}

/* Each prompt's first and last logits, and that every generated id is the highest. */
static void tiny_chat(void **state)
{
    kit_model m;
    (void)state;
    open_starter(&m, "tiny-chat");
    const hg_jval *prompts = hg_json_get(hg_json_root(m.reference), "prompts");
    assert_true(hg_json_len(prompts) > 0);
    for (hg_json_iter it = hg_json_iter_of(prompts); hg_json_next(&it);) {
        int64_t ids[256];
        hg_ref_output out;
        size_t n = read_ids(hg_json_get(it.val, "input_ids"), ids, 128);
        size_t made = read_ids(hg_json_get(it.val, "generated_ids"), ids + n, 128);
        hg_ref_input in = {.batch = 1, .length = n + made, .ids = ids};
        run(&m, &in, &out);
        const hg_ref_array *a = hg_ref_output_get(&out, "logits"),
                           *h = hg_ref_output_get(&out, "last_hidden_state");
        size_t vocab = a->shape[2];
        near(hg_json_get(it.val, "first_logits_0_8"), a->data, "first logit");
        near(hg_json_get(it.val, "last_logits_0_16"), a->data + (n - 1) * vocab, "last logit");
        near(hg_json_get(it.val, "last_hidden_0_8"), h->data + (n - 1) * h->shape[2], "hidden value");
        for (size_t i = 0; i < made; i++) {
            assert_int_equal(highest(a->data + (n - 1 + i) * vocab, vocab), ids[n + i]);
        }
        hg_ref_output_deinit(&out);
    }
    kit_close(&m);
}

/* Hidden values, and their mean made one long, which is the embedding. */
static void tiny_embed(void **state)
{
    kit_model m;
    (void)state;
    open_starter(&m, "tiny-embed");
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(hg_json_root(m.reference), "sentences"));
         hg_json_next(&it);) {
        int64_t ids[64];
        double mean[96] = {0}, length = 0;
        hg_ref_output out;
        size_t n = read_ids(hg_json_get(it.val, "input_ids"), ids, 64);
        hg_ref_input in = {.batch = 1, .length = n, .ids = ids};
        run(&m, &in, &out);
        const hg_ref_array *h = hg_ref_output_get(&out, "last_hidden_state");
        assert_int_equal(h->shape[2], 96);
        near(hg_json_get(it.val, "hidden_t0_0_8"), h->data, "hidden value");
        near(hg_json_get(it.val, "hidden_last_88_96"), h->data + n * 96 - 8, "hidden value");
        for (size_t i = 0; i < n * 96; i++) mean[i % 96] += h->data[i];
        for (size_t i = 0; i < 96; i++) length += mean[i] * mean[i];
        for (size_t i = 0; i < 96; i++) mean[i] /= sqrt(length);
        near(hg_json_get(it.val, "embedding"), mean, "embedding");
        hg_ref_output_deinit(&out);
    }
    kit_close(&m);
}

/* A clip of models/clips as features. */
static float *features(const char *clip)
{
    hangar_err err = {0};
    hg_mel *mel = NULL;
    size_t n = 0;
    float *samples = hg_test_clip(clip, &n), *out = hg_calloc((size_t)80 * 3000, sizeof *out);
    if (hg_mel_new(80, &mel, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    hg_mel_window(mel, samples, n, 3000, out);
    hg_mel_free(mel);
    free(samples);
    return out;
}

/* The encoder sampled at four positions by one thread, which are to the last digit what three threads make of the whole, and the decoder over all of them. */
static void whisper_digits(void **state)
{
    static const size_t rows[] = {0, 50, 100, 1499};
    kit_model m;
    hg_ref_output sampled, whole;
    int64_t prompt[16];
    (void)state;
    open_starter(&m, "whisper-digits");
    const hg_jval *clip = hg_json_at(hg_json_get(hg_json_root(m.reference), "clips"), 0);
    const hg_jval *enc = hg_json_get(clip, "encoder"), *dec = hg_json_get(clip, "decoder");
    float *mel = features(hg_json_text_or(hg_json_get(clip, "file"), ""));
    hg_ref_input in = {
        .features = mel, .mels = 80, .frames = 3000, .rows = rows, .row_count = HG_LEN(rows), .threads = 1};
    run(&m, &in, &sampled);
    const hg_ref_array *h = hg_ref_output_get(&sampled, "last_hidden_state");
    assert_int_equal(h->shape[1], HG_LEN(rows));
    near(hg_json_get(enc, "t0_dims_0_8"), h->data, "state");
    near(hg_json_get(enc, "t50_dims_0_8"), h->data + 64, "state");
    near(hg_json_get(enc, "t100_dims_56_64"), h->data + 2 * 64 + 56, "state");
    near(hg_json_get(enc, "t1499_dims_0_8"), h->data + 3 * 64, "state");
    in.length = read_ids(hg_json_get(dec, "prompt"), prompt, 8);
    in.length += read_ids(hg_json_get(clip, "generated_ids"), prompt + in.length, 8);
    in.ids = prompt;
    in.threads = 3;
    run(&m, &in, &whole);
    const hg_ref_array *all = hg_ref_output_get(&whole, "last_hidden_state"),
                       *a = hg_ref_output_get(&whole, "logits");
    assert_int_equal(all->count, h->count);
    for (size_t i = 0; i < h->count; i++) assert_true(h->data[i] == all->data[i]);
    size_t vocab = a->shape[2], n = hg_json_len(hg_json_get(dec, "prompt"));
    near(hg_json_get(dec, "step0_logits_0_8"), a->data + (n - 1) * vocab, "logit");
    for (size_t i = n; i < in.length; i++) {
        assert_int_equal(highest(a->data + (i - 1) * vocab, vocab), prompt[i]);
    }
    hg_ref_output_deinit(&sampled);
    hg_ref_output_deinit(&whole);
    free(mel);
    kit_close(&m);
}

/* The decoder over given states is the decoder over the encoder that made them. */
static void given_states(void **state)
{
    HG_AUTO(hg_auto_free) char *dir = kit_dir("whisper");
    kit_model m;
    hg_ref_output first, second;
    static const int64_t ids[] = {3, 7, 11};
    (void)state;
    kit_open(&m, dir);
    const hg_jval *c = hg_json_at(hg_json_get(hg_json_root(m.reference), "cases"), 0);
    float *mel = kit_floats(hg_json_path(c, "inputs", "input_features", NULL));
    hg_ref_input in = {.features = mel, .mels = 80, .frames = 200, .ids = ids, .length = 3};
    run(&m, &in, &first);
    const hg_ref_array *h = hg_ref_output_get(&first, "last_hidden_state");
    float *states = hg_calloc(h->count, sizeof *states);
    for (size_t i = 0; i < h->count; i++) states[i] = (float)h->data[i];
    hg_ref_input again = {
        .states = states, .states_length = h->shape[1], .states_width = h->shape[2], .ids = ids, .length = 3};
    run(&m, &again, &second);
    const hg_ref_array *a = hg_ref_output_get(&first, "logits"), *b = hg_ref_output_get(&second, "logits");
    for (size_t i = 0; i < a->count; i++) assert_true(fabs(a->data[i] - b->data[i]) < 1e-6);
    assert_null(hg_ref_output_get(&second, "last_hidden_state"));
    hg_ref_output_deinit(&first);
    hg_ref_output_deinit(&second);
    free(states);
    free(mel);
    kit_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(tiny_chat), cmocka_unit_test(tiny_embed),
                                       cmocka_unit_test(whisper_digits), cmocka_unit_test(given_states)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
