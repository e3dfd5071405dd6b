/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reference against what transformers gave for the tiny checkpoints of every architecture: each case of reference.json, padded ones too,
 * and the ids of greedy generation.
 */
#include "check_kit.h"
#include "convert/check/inner.h"

#define TOLERANCE 2e-5

typedef struct inputs {
    hg_ref_input in;
    int64_t *ids, *mask, *positions, *types, *source, *source_mask;
    float *features, *pixels, *samples;
} inputs;

static void read_inputs(const hg_jval *c, inputs *x)
{
    const hg_jval *in = hg_json_get(c, "inputs"), *ids = hg_json_get(in, "decoder_input_ids");
    const hg_jval *pixels = hg_json_get(in, "pixel_values"), *features = hg_json_get(in, "input_features");
    const hg_jval *samples = hg_json_get(in, "input_values");
    bool pair = ids != NULL;
    *x = (inputs){0};
    if (!pair) ids = hg_json_get(in, "input_ids");
    if (pair && hg_json_get(in, "input_ids")) {
        x->source = kit_ints(hg_json_get(in, "input_ids"));
        x->source_mask = kit_ints(hg_json_get(in, "attention_mask"));
        x->in.source_length = kit_shape(hg_json_get(in, "input_ids"), 1);
    }
    x->ids = kit_ints(ids);
    x->mask = pair ? NULL : kit_ints(hg_json_get(in, "attention_mask"));
    x->positions = kit_ints(hg_json_get(in, "position_ids"));
    x->types = kit_ints(hg_json_get(in, "token_type_ids"));
    x->features = kit_floats(features);
    x->pixels = kit_floats(pixels);
    x->samples = kit_floats(samples);
    const hg_jval *any = ids ? ids : pixels ? pixels : samples;
    x->in.batch = kit_shape(any, 0);
    x->in.length = ids ? kit_shape(ids, 1) : 0;
    x->in.mels = kit_shape(features, 1);
    x->in.frames = kit_shape(features, 2);
    x->in.channels = kit_shape(pixels, 1);
    x->in.height = kit_shape(pixels, 2);
    x->in.width = kit_shape(pixels, 3);
    x->in.sample_count = kit_shape(samples, 1);
    x->in.ids = x->ids;
    x->in.mask = x->mask;
    x->in.positions = x->positions;
    x->in.types = x->types;
    x->in.source = x->source;
    x->in.source_mask = x->source_mask;
    x->in.features = x->features;
    x->in.pixels = x->pixels;
    x->in.samples = x->samples;
}

static void free_inputs(inputs *x)
{
    void *all[] = {x->ids,         x->mask,     x->positions, x->types,  x->source,
                   x->source_mask, x->features, x->pixels,    x->samples};
    for (size_t i = 0; i < HG_LEN(all); i++) free(all[i]);
}

/* The largest difference of an output where the mask is 1. */
static double compare(const hg_ref_output *out, const char *name, const hg_jval *want, const int64_t *mask)
{
    char shorter[64];
    double worst = 0;
    (void)snprintf(shorter, sizeof shorter, "%s", name);
    char *where = strstr(shorter, "_where_mask");
    if (where) *where = 0;
    const hg_ref_array *a = hg_ref_output_get(out, shorter);
    if (!a) fail_msg("no output %s", shorter);
    const hg_jval *data = hg_json_get(want, "data");
    assert_int_equal(hg_json_len(hg_json_get(want, "shape")), a->rank);
    for (size_t i = 0; i < a->rank; i++) assert_int_equal(kit_shape(want, i), a->shape[i]);
    assert_int_equal(hg_json_len(data), a->count);
    size_t per_token = a->rank == 3 ? a->shape[2] : 0;
    for (hg_json_iter it = hg_json_iter_of(data); hg_json_next(&it);) {
        if (mask && per_token && !mask[it.index / per_token]) continue;
        double apart = fabs(hg_json_f64_or(it.val, (double)NAN) - a->data[it.index]);
        if (!(apart <= worst)) worst = apart;
    }
    return worst;
}

/* Extends the prompt one id at a time by the highest logit, the end token left out, and compares. */
static void greedy(kit_model *m, const inputs *x, const hg_jval *want)
{
    int64_t *ids = kit_ints(want), *mine = kit_ints(want);
    size_t total = kit_shape(want, 1);
    int64_t end = hg_json_i64_or(hg_json_get(hg_json_root(m->config), "eos_token_id"), -1);
    for (size_t n = x->in.length; n < total; n++) {
        hg_ref_input in = {.batch = 1, .length = n, .ids = mine};
        hg_ref_output out;
        hangar_err err = {0};
        if (hg_ref_run(&m->ck, hg_json_root(m->config), &in, NULL, &out, &err)) fail_msg("%s", err.msg);
        const hg_ref_array *a = hg_ref_output_get(&out, "logits");
        const double *last = a->data + (n - 1) * a->shape[2];
        size_t best = end == 0;
        for (size_t i = 0; i < a->shape[2]; i++) {
            if ((int64_t)i != end && last[i] > last[best]) best = i;
        }
        mine[n] = (int64_t)best;
        hg_ref_output_deinit(&out);
    }
    for (size_t i = 0; i < total; i++) {
        if (mine[i] != ids[i])
            fail_msg("greedy id %zu is %lld, not %lld", i, (long long)mine[i], (long long)ids[i]);
    }
    free(ids);
    free(mine);
}

static void run_case(kit_model *m, const char *name, const hg_jval *c, size_t *compared)
{
    inputs x;
    hg_ref_output out;
    hangar_err err = {0};
    read_inputs(c, &x);
    if (hg_ref_run(&m->ck, hg_json_root(m->config), &x.in, NULL, &out, &err))
        fail_msg("%s: %s", name, err.msg);
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(c, "outputs")); hg_json_next(&it);) {
        char key[64];
        (void)snprintf(key, sizeof key, "%.*s", (int)it.key.len, it.key.ptr);
        if (strcmp(key, "greedy_ids") == 0) {
            greedy(m, &x, it.val);
        } else {
            double worst = compare(&out, key, it.val, x.mask);
            print_message("  %-12s %-20s %.1e  %s\n", name, key, worst,
                          hg_json_text_or(hg_json_get(c, "note"), ""));
            if (!(worst <= TOLERANCE)) fail_msg("%s: %s is off by %g", name, key, worst);
        }
        ++*compared;
    }
    hg_ref_output_deinit(&out);
    free_inputs(&x);
}

static void one_architecture(void **state)
{
    const char *name = *state;
    HG_AUTO(hg_auto_free) char *dir = kit_dir(name);
    kit_model m;
    size_t compared = 0;
    kit_open(&m, dir);
    const hg_jval *cases = hg_json_get(hg_json_root(m.reference), "cases");
    for (hg_json_iter it = hg_json_iter_of(cases); hg_json_next(&it);) run_case(&m, name, it.val, &compared);
    assert_true(compared > 0);
    kit_close(&m);
}

#define ARCHITECTURE(name)                                                        \
    {                                                                             \
        name, one_architecture, NULL, NULL, (void *)(uintptr_t)(const char *)name \
    }

/* Every number of 16 bits, against what IEEE 754 says of its fields. */
static void halves(void **state)
{
    HG_AUTO(hg_auto_free) uint16_t *all = hg_calloc(1 << 16, sizeof *all);
    HG_AUTO(hg_auto_free) double *got = hg_calloc(1 << 16, sizeof *got);
    (void)state;
    for (size_t i = 0; i < 1 << 16; i++) all[i] = (uint16_t)i;
    hg_plain_mat m = {(const uint8_t *)all, HG_DTYPE_F16, 1, 1 << 16};
    hg_plain_expand(&m, 0, 1, got);
    for (size_t i = 0; i < 1 << 16; i++) {
        int exponent = (int)(i >> 10 & 31), fraction = (int)(i & 1023);
        double size = exponent == 0   ? ldexp(fraction, -24)
                      : exponent < 31 ? ldexp(1024 + fraction, exponent - 25)
                      : fraction == 0 ? (double)INFINITY
                                      : (double)NAN;
        double want = i >> 15 ? -size : size;
        if (isnan(want)) assert_true(isnan(got[i]));
        else assert_true(got[i] == want && signbit(got[i]) == signbit(want));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halves),   ARCHITECTURE("llama"),       ARCHITECTURE("mistral"),
        ARCHITECTURE("qwen2"),      ARCHITECTURE("qwen3"),       ARCHITECTURE("phi"),
        ARCHITECTURE("phi3"),       ARCHITECTURE("gemma"),       ARCHITECTURE("gemma2"),
        ARCHITECTURE("smollm3"),    ARCHITECTURE("gemma3_text"), ARCHITECTURE("gpt2"),
        ARCHITECTURE("gpt_neox"),   ARCHITECTURE("opt"),         ARCHITECTURE("falcon"),
        ARCHITECTURE("granite"),    ARCHITECTURE("olmo2"),       ARCHITECTURE("mixtral"),
        ARCHITECTURE("qwen3_moe"),  ARCHITECTURE("bert"),        ARCHITECTURE("bert-mlm"),
        ARCHITECTURE("bert-cls"),   ARCHITECTURE("roberta"),     ARCHITECTURE("xlm-roberta"),
        ARCHITECTURE("distilbert"), ARCHITECTURE("mpnet"),       ARCHITECTURE("modernbert"),
        ARCHITECTURE("deberta-v2"), ARCHITECTURE("whisper"),     ARCHITECTURE("bart"),
        ARCHITECTURE("marian"),     ARCHITECTURE("t5"),          ARCHITECTURE("vit"),
        ARCHITECTURE("clip"),       ARCHITECTURE("siglip"),      ARCHITECTURE("wav2vec2"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
