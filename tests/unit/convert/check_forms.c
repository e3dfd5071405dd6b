/* SPDX-License-Identifier: Apache-2.0 */
/* ctest: long */
/*
 * The reference on configurations that no fixture has. Each is held to another formula for the same thing: a window to a mask, shared heads to
 * repeated ones, equal experts to one MLP, an older spelling to the newer; and to the published numbers where there are some.
 */
#include "check_kit.h"
#include "convert/check/inner.h"

#define EXACT 1e-11
#define N     12

static const int64_t ids[2 * N] = {5,  47, 6,  37, 53, 23, 75, 91, 19, 74, 92, 45,
                                   23, 63, 32, 28, 36, 76, 71, 43, 49, 13, 46, 3};

static hg_ref_input plain_input(void)
{
    return (hg_ref_input){.batch = 2, .length = N, .ids = ids};
}

static void run(const kit_set *s, const hg_ref_input *in, hg_ref_output *out)
{
    hangar_err err = {0};
    if (kit_run(s, HG_DTYPE_F32, 1, in, out, &err) != HANGAR_OK) fail_msg("%s", err.msg);
}

/* The largest difference of one output of two runs, over `count` numbers from `from` on (0: all). */
static double apart(const hg_ref_output *a, const hg_ref_output *b, const char *name, size_t from,
                    size_t count)
{
    const hg_ref_array *x = hg_ref_output_get(a, name), *y = hg_ref_output_get(b, name);
    double worst = 0;
    assert_non_null(x);
    assert_non_null(y);
    assert_int_equal(x->count, y->count);
    for (size_t i = from; i < (count ? from + count : x->count); i++) {
        double d = fabs(x->data[i] - y->data[i]);
        if (!(d <= worst)) worst = d;
    }
    return worst;
}

static const char *main_output(const hg_ref_output *o)
{
    return hg_ref_output_get(o, "logits") ? "logits" : "last_hidden_state";
}

/* Two sets give the same on the plain input (or differ, when `same` is false). */
static void expect(const kit_set *a, const kit_set *b, bool same)
{
    hg_ref_input in = plain_input();
    hg_ref_output x, y;
    run(a, &in, &x);
    run(b, &in, &y);
    double d = apart(&x, &y, main_output(&x), 0, 0);
    if (same && d > EXACT) fail_msg("%g apart: %s", d, b->config);
    if (!same && !(d > 1e-4)) fail_msg("only %g apart: %s", d, b->config);
    hg_ref_output_deinit(&x);
    hg_ref_output_deinit(&y);
}

/* A fixture with two configurations. */
static void expect_patches(const char *fixture, const char *one, const char *two, bool same)
{
    kit_set a, b;
    kit_load(&a, fixture);
    kit_load(&b, fixture);
    kit_patch(&a, one);
    kit_patch(&b, two);
    expect(&a, &b, same);
    kit_free(&a);
    kit_free(&b);
}

/* Both code and words. */
static void refuse(const char *fixture, const char *patch, hangar_code want, const char *words)
{
    kit_set s;
    hg_ref_input in = plain_input();
    hg_ref_output out;
    hangar_err err = {0};
    kit_load(&s, fixture);
    kit_patch(&s, patch);
    hangar_code code = kit_run(&s, HG_DTYPE_F32, 1, &in, &out, &err);
    if (code != want || !strstr(err.msg, words)) fail_msg("%s: %s", patch, code ? err.msg : "is accepted");
    assert_int_equal(out.count, 0);
    kit_free(&s);
}

/* ---- rotary positions ---- */

typedef struct known {
    const char *config;
    size_t head_dim, length;
    double stretch;
    struct {
        size_t pair;
        double inv;
    } at[7];
} known;

/* Computed from the published formulas by another program. */
static const known knowns[] = {
    {"{\"max_position_embeddings\":131072,\"rope_theta\":500000,\"rope_scaling\":{\"factor\":8,\"high_freq_"
     "factor\":4,"
     "\"low_freq_factor\":1,\"original_max_position_embeddings\":8192,\"rope_type\":\"llama3\"}}",
     128,
     16,
     1,
     {{0, 1},
      {20, 0.016560440081},
      {29, 0.0021665707635},
      {32, 0.000524846160993},
      {35, 9.55621235396e-05},
      {40, 3.42810219595e-05},
      {63, 3.06892598891e-07}}},
    {"{\"max_position_embeddings\":40960,\"rope_parameters\":{\"rope_theta\":1000000,\"factor\":4,"
     "\"original_max_position_embeddings\":32768,\"rope_type\":\"yarn\"}}",
     128,
     16,
     1.138629436111989,
     {{0, 1},
      {23, 0.0069783058486},
      {24, 0.00537532149079},
      {30, 0.00106436098125},
      {38, 9.26230170413e-05},
      {40, 4.4456985251e-05},
      {63, 3.10234440188e-07}}},
    {"{\"max_position_embeddings\":131072,\"rope_parameters\":{\"rope_theta\":150000,\"factor\":32,"
     "\"truncate\":false,"
     "\"original_max_position_embeddings\":4096,\"rope_type\":\"yarn\"}}",
     64,
     16,
     1.3465735902799727,
     {{0, 1},
      {8, 0.0508132748155},
      {10, 0.0193350011265},
      {15, 0.00105260210139},
      {18, 3.83088123738e-05},
      {31, 3.02351142812e-07},
      {0, 1}}},
    {"{\"max_position_embeddings\":2048,\"rope_theta\":10000,\"rope_scaling\":{\"factor\":2,\"type\":"
     "\"dynamic\"}}",
     64,
     4096,
     1,
     {{0, 1}, {1, 0.723784022394}, {16, 0.00567209986431}, {31, 4.44507144054e-05}, {0, 1}, {0, 1}, {0, 1}}},
    {"{\"max_position_embeddings\":2048,\"rope_theta\":10000,\"rope_scaling\":{\"factor\":2,\"type\":"
     "\"dynamic\"}}",
     4,
     2048,
     1,
     {{0, 1}, {1, 0.01}, {0, 1}, {0, 1}, {0, 1}, {0, 1}, {0, 1}}},
    {"{\"max_position_embeddings\":131072,\"original_max_position_embeddings\":4096,\"rope_theta\":10000,"
     "\"rope_scaling\":{\"short_factor\":[1,2],\"long_factor\":[4,5],\"type\":\"longrope\"}}",
     4,
     4096,
     1.1902380714238083,
     {{0, 1}, {1, 0.005}, {0, 1}, {0, 1}, {0, 1}, {0, 1}, {0, 1}}},
    {"{\"max_position_embeddings\":131072,\"original_max_position_embeddings\":4096,\"rope_theta\":10000,"
     "\"rope_scaling\":{\"short_factor\":[1,2],\"long_factor\":[4,5],\"type\":\"longrope\"}}",
     4,
     4097,
     1.1902380714238083,
     {{0, 0.25}, {1, 0.002}, {0, 0.25}, {0, 0.25}, {0, 0.25}, {0, 0.25}, {0, 0.25}}},
};

static void rope_numbers(void **state)
{
    (void)state;
    for (size_t i = 0; i < HG_LEN(knowns); i++) {
        hg_json *doc = NULL;
        hangar_err err = {0};
        const char *text = knowns[i].config;
        assert_int_equal(hg_json_parse((hg_str){text, strlen(text)}, NULL, &doc, &err), HANGAR_OK);
        hg_plain_state r = {.config = hg_json_root(doc), .base = "", .err = &err};
        hg_plain_rope_ask ask = {.theta = 1e4,
                                 .scaled = true,
                                 .head_dim = knowns[i].head_dim,
                                 .length = knowns[i].length};
        hg_plain_rope rope = hg_plain_rope_read(&r, &ask);
        if (r.code != HANGAR_OK) fail_msg("%s", err.msg);
        if (fabs(rope.stretch - knowns[i].stretch) > 1e-12) fail_msg("%zu: stretch %.15g", i, rope.stretch);
        for (size_t j = 0; j < HG_LEN(knowns[i].at); j++) {
            double want = knowns[i].at[j].inv, got = rope.inv[knowns[i].at[j].pair];
            if (fabs(got / want - 1) > 1e-10)
                fail_msg("%zu: pair %zu is %.12g, not %.12g", i, knowns[i].at[j].pair, got, want);
        }
        hg_plain_release(&r, NULL);
        hg_json_free(doc);
    }
}

/* Linear scaling by 4 of positions 0 4 8 ... is no scaling of 0 1 2 ... */
static void rope_linear(void **state)
{
    int64_t far[2 * N];
    kit_set a, b;
    hg_ref_output x, y;
    (void)state;
    for (int64_t i = 0; i < 2 * N; i++) far[i] = i % N * 4;
    kit_load(&a, "llama");
    kit_load(&b, "llama");
    kit_patch(&b, "{\"rope_parameters\":null,\"rope_theta\":10000,\"rope_scaling\":{\"type\":\"linear\","
                  "\"factor\":4}}");
    hg_ref_input in = plain_input();
    run(&a, &in, &x);
    in.positions = far;
    run(&b, &in, &y);
    assert_true(apart(&x, &y, "logits", 0, 0) < EXACT);
    hg_ref_output_deinit(&x);
    hg_ref_output_deinit(&y);
    kit_free(&a);
    kit_free(&b);
}

/* Older spellings and newer ones. */
static void spellings(void **state)
{
    (void)state;
    expect_patches(
        "llama", "{\"rope_parameters\":{\"rope_theta\":777,\"rope_type\":\"linear\",\"factor\":3}}",
        "{\"rope_parameters\":null,\"rope_theta\":777,\"rope_scaling\":{\"type\":\"linear\",\"factor\":3}}",
        true);
    expect_patches("llama", "{}", "{\"rope_parameters\":{\"rope_theta\":777,\"rope_type\":\"default\"}}",
                   false);
    expect_patches("gpt_neox", "{\"rope_parameters\":{\"rope_theta\":777,\"partial_rotary_factor\":0.5}}",
                   "{\"rope_parameters\":null,\"rotary_emb_base\":777,\"rotary_pct\":0.5}", true);
    expect_patches("phi",
                   "{\"rope_parameters\":{\"rope_theta\":777,\"partial_rotary_factor\":0.25},\"partial_"
                   "rotary_factor\":null}",
                   "{\"rope_parameters\":null,\"rope_theta\":777,\"partial_rotary_factor\":0.25}", true);
    expect_patches("gemma3_text",
                   "{\"layer_types\":[\"sliding_attention\",\"full_attention\",\"sliding_attention\"],\"rope_"
                   "parameters\":"
                   "{\"full_attention\":{\"rope_theta\":5000,\"rope_type\":\"linear\",\"factor\":8},"
                   "\"sliding_attention\":{\"rope_theta\":300,\"rope_type\":\"default\"}}}",
                   "{\"layer_types\":null,\"sliding_window_pattern\":2,\"_sliding_window_pattern\":null,"
                   "\"rope_parameters\":null,"
                   "\"rope_theta\":5000,\"rope_local_base_freq\":300,\"rope_scaling\":{\"rope_type\":"
                   "\"linear\",\"factor\":8}}",
                   true);
    expect_patches(
        "modernbert",
        "{\"rope_parameters\":{\"full_attention\":{\"rope_theta\":5000},\"sliding_attention\":{\"rope_"
        "theta\":300}}}",
        "{\"layer_types\":null,\"rope_parameters\":null,\"global_rope_theta\":5000,\"local_rope_theta\":300,"
        "\"global_attn_every_n_layers\":3}",
        true);
    expect_patches("smollm3", "{\"no_rope_layers\":[1,0],\"layer_types\":null}",
                   "{\"no_rope_layers\":null,\"no_rope_layer_interval\":2,\"layer_types\":null}", true);
    expect_patches(
        "qwen2",
        "{\"use_sliding_window\":true,\"sliding_window\":3,\"layer_types\":[\"full_attention\",\"sliding_"
        "attention\"]}",
        "{\"use_sliding_window\":true,\"sliding_window\":3,\"layer_types\":null,\"max_window_layers\":1}",
        true);
    expect_patches("gemma2", "{\"sliding_window\":4,\"layer_types\":null}", "{\"sliding_window\":4}", true);
    expect_patches("qwen3_moe", "{}", "{\"num_experts\":4,\"num_local_experts\":null}", true);
    expect_patches("gemma", "{}", "{\"hidden_activation\":null,\"hidden_act\":\"gelu\"}", true);
    expect_patches("gemma", "{}", "{\"hidden_activation\":\"gelu\"}", false);
}

/* ---- attention ---- */

/* With one layer, what the last token sees through a window is what it sees when the rest is masked. */
static void windows(void **state)
{
    static const char *const patches[][2] = {
        {"mistral", "{\"sliding_window\":5}"},
        {"phi3", "{\"sliding_window\":5}"},
        {"mixtral", "{\"sliding_window\":5}"},
        {"qwen3",
         "{\"use_sliding_window\":true,\"sliding_window\":5,\"layer_types\":null,\"max_window_layers\":0}"},
        {"gemma2", "{\"sliding_window\":5,\"layer_types\":null}"},
        {"gemma3_text", "{\"sliding_window\":5}"},
        {"smollm3",
         "{\"use_sliding_window\":true,\"sliding_window\":5,\"layer_types\":null,\"no_rope_layers\":[0,0]}"},
    };
    static const char *const without[] = {"{\"sliding_window\":null}", "{\"sliding_window\":null}",
                                          "{\"sliding_window\":null}", "{}",
                                          "{\"sliding_window\":4096}", "{\"sliding_window\":4096}",
                                          "{\"no_rope_layers\":[0,0]}"};
    int64_t mask[2 * N];
    (void)state;
    for (size_t i = 0; i < 2 * N; i++) mask[i] = i % N >= N - 5;
    for (size_t i = 0; i < HG_LEN(patches); i++) {
        kit_set a, b;
        hg_ref_output x, y;
        hg_ref_input in = plain_input();
        in.layers = 1;
        kit_load(&a, patches[i][0]);
        kit_load(&b, patches[i][0]);
        kit_patch(&a, patches[i][1]);
        kit_patch(&b, without[i]);
        run(&a, &in, &x);
        in.mask = mask;
        run(&b, &in, &y);
        size_t vocab = x.arrays[1].shape[2];
        double d = apart(&x, &y, "logits", (N - 1) * vocab, vocab),
               other = apart(&x, &y, "logits", (N - 3) * vocab, vocab);
        if (d > EXACT) fail_msg("%s: %g apart", patches[i][0], d);
        if (other < 1e-4) fail_msg("%s: a mask is no window for other tokens", patches[i][0]);
        hg_ref_output_deinit(&x);
        hg_ref_output_deinit(&y);
        kit_free(&a);
        kit_free(&b);
    }
}

/* Four key heads, each a copy of the one that two queries share, are the same as two. */
static void shared_heads(void **state)
{
    static const char *const parts[] = {"k_proj", "v_proj"};
    kit_set a, b;
    (void)state;
    kit_load(&a, "llama");
    kit_load(&b, "llama");
    kit_patch(&b, "{\"num_key_value_heads\":4}");
    for (size_t layer = 0; layer < 2; layer++) {
        for (size_t p = 0; p < 2; p++) {
            char name[96];
            (void)snprintf(name, sizeof name, "model.layers.%zu.self_attn.%s.weight", layer, parts[p]);
            const kit_tensor *from = kit_get(&a, name);
            kit_tensor *to = kit_put(&b, name, 64, 64);
            for (size_t h = 0; h < 4; h++) {
                memcpy(to->data + h * 16 * 64, from->data + h / 2 * 16 * 64, 16 * 64 * sizeof(float));
            }
        }
    }
    expect(&a, &b, true);
    kit_free(&a);
    kit_free(&b);
}

/* An endless cap is none; a tight one is not. */
static void soft_caps(void **state)
{
    (void)state;
    expect_patches("gemma2", "{\"attn_logit_softcapping\":null,\"final_logit_softcapping\":null}",
                   "{\"attn_logit_softcapping\":1e9,\"final_logit_softcapping\":1e9}", true);
    expect_patches("gemma2", "{}", "{\"attn_logit_softcapping\":0.5}", false);
    expect_patches("gemma2", "{}", "{\"final_logit_softcapping\":0.5}", false);
}

/* Granite's factors, moved into the weights. */
static void multipliers(void **state)
{
    kit_set a, b;
    (void)state;
    kit_load(&a, "granite");
    kit_load(&b, "granite");
    kit_patch(&a, "{\"embedding_multiplier\":4,\"residual_multiplier\":0.5,\"attention_multiplier\":0.25,"
                  "\"logits_scaling\":8}");
    for (size_t i = 0; i < b.count; i++) {
        kit_tensor *t = &b.t[i];
        float by = strstr(t->name, "embed_tokens") ? 4.0F : strstr(t->name, "lm_head") ? 0.125F : 1.0F;
        if (strstr(t->name, "o_proj") || strstr(t->name, "down_proj")) by = 0.5F;
        if (strstr(t->name, "q_proj")) by = 0.25F;
        for (size_t j = 0; j < t->rows * (t->columns ? t->columns : 1); j++) t->data[j] *= by;
    }
    expect(&a, &b, true);
    kit_free(&a);
    kit_free(&b);
}

/* Falcon's layouts: one shared key head, groups, and a key for each head. */
static void falcon_layouts(void **state)
{
    kit_set a, b;
    (void)state;
    kit_load(&a, "falcon"); /* multi-query */
    kit_load(&b, "falcon");
    kit_patch(&b, "{\"new_decoder_architecture\":true,\"num_kv_heads\":1,\"num_ln_in_parallel_attn\":1}");
    expect(&a, &b, true);
    kit_patch(&b, "{\"num_ln_in_parallel_attn\":2}"); /* two norms that are the same one */
    for (size_t i = 0; i < 2; i++) {
        char from[96], to[96];
        static const char *const ends[] = {"weight", "bias"};
        for (size_t e = 0; e < 2; e++) {
            (void)snprintf(from, sizeof from, "transformer.h.%zu.input_layernorm.%s", i, ends[e]);
            (void)snprintf(to, sizeof to, "transformer.h.%zu.ln_mlp.%s", i, ends[e]);
            memcpy(kit_put(&b, to, 64, 0)->data, kit_get(&b, from)->data, 64 * sizeof(float));
            (void)snprintf(to, sizeof to, "transformer.h.%zu.ln_attn.%s", i, ends[e]);
            kit_rename(&b, from, to);
        }
    }
    expect(&a, &b, true);
    kit_free(&b);
    kit_load(&b, "falcon"); /* the shared head repeated: rows [q k v] for each head */
    kit_patch(&b, "{\"multi_query\":false}");
    for (size_t i = 0; i < 2; i++) {
        char name[96];
        (void)snprintf(name, sizeof name, "transformer.h.%zu.self_attention.query_key_value.weight", i);
        const kit_tensor *from = kit_get(&a, name);
        kit_tensor *to = kit_put(&b, name, 192, 64);
        for (size_t h = 0; h < 4; h++) {
            memcpy(to->data + h * 48 * 64, from->data + h * 16 * 64, 16 * 64 * sizeof(float));
            memcpy(to->data + (h * 48 + 16) * 64, from->data + 64 * 64, 32 * 64 * sizeof(float));
        }
    }
    expect(&a, &b, true);
    kit_free(&a);
    kit_free(&b);
}

/* ALiBi does not see padding on the left, and is not the same as rotation. */
static void falcon_alibi(void **state)
{
    int64_t padded[2 * (N + 3)], mask[2 * (N + 3)];
    kit_set s;
    hg_ref_output x, y;
    hg_ref_input in = plain_input();
    (void)state;
    for (size_t i = 0; i < 2 * (N + 3); i++) {
        size_t b = i / (N + 3), t = i % (N + 3);
        mask[i] = t >= 3;
        padded[i] = t >= 3 ? ids[b * N + t - 3] : 0;
    }
    kit_load(&s, "falcon");
    kit_patch(&s, "{\"alibi\":true}");
    run(&s, &in, &x);
    in.ids = padded;
    in.mask = mask;
    in.length = N + 3;
    run(&s, &in, &y);
    const hg_ref_array *a = hg_ref_output_get(&x, "logits"), *p = hg_ref_output_get(&y, "logits");
    for (size_t i = 0; i < a->count; i++) {
        size_t b = i / (N * a->shape[2]), at = i + (b + 1) * 3 * a->shape[2];
        if (fabs(a->data[i] - p->data[at]) > EXACT) fail_msg("padding is seen");
    }
    hg_ref_output_deinit(&x);
    hg_ref_output_deinit(&y);
    kit_free(&s);
    expect_patches("falcon", "{\"alibi\":true}", "{}", false);
}

/* ---- layers ---- */

/* In a parallel or post-norm order other numbers come out, and with all sublayers silent only the residual is left. */
static void orders(void **state)
{
    (void)state;
    expect_patches("gpt_neox", "{}", "{\"use_parallel_residual\":false}", false);
    expect_patches("gpt2", "{}", "{\"scale_attn_by_inverse_layer_idx\":true}", false);
    expect_patches("gpt2", "{}", "{\"scale_attn_weights\":false}", false);
    expect_patches("opt", "{}", "{\"do_layer_norm_before\":false}", false);
}

static double row_norm(const double *x, size_t n, size_t i)
{
    double mean = 0, square = 0;
    for (size_t j = 0; j < n; j++) mean += x[j] / (double)n;
    for (size_t j = 0; j < n; j++) square += (x[j] - mean) * (x[j] - mean) / (double)n;
    return (x[i] - mean) / sqrt(square + 1e-5);
}

/* OPT-350m's order with silent sublayers is norm(norm(x)) of the embedding, and no norm at the end. */
static void opt_behind(void **state)
{
    kit_set s;
    hg_ref_output out;
    hg_ref_input in = plain_input();
    double x[64], y[64];
    (void)state;
    kit_load(&s, "opt");
    kit_patch(&s, "{\"do_layer_norm_before\":false}");
    in.layers = 1;
    for (size_t i = 0; i < s.count; i++) {
        kit_tensor *t = &s.t[i];
        size_t n = t->rows * (t->columns ? t->columns : 1);
        if (strstr(t->name, "out_proj") || strstr(t->name, "fc2")) memset(t->data, 0, n * sizeof(float));
        for (size_t j = 0; strstr(t->name, "norm") && j < n; j++)
            t->data[j] = strstr(t->name, "weight") ? 1.0F : 0.0F;
    }
    run(&s, &in, &out);
    const float *words = kit_get(&s, "model.decoder.embed_tokens.weight")->data;
    const float *places = kit_get(&s, "model.decoder.embed_positions.weight")->data;
    for (size_t j = 0; j < 64; j++)
        x[j] = (double)words[ids[4] * 64 + (int64_t)j] + (double)places[(4 + 2) * 64 + j];
    for (size_t j = 0; j < 64; j++) y[j] = row_norm(x, 64, j);
    const hg_ref_array *h = hg_ref_output_get(&out, "last_hidden_state");
    for (size_t j = 0; j < 64; j++) assert_true(fabs(h->data[4 * 64 + j] - row_norm(y, 64, j)) < EXACT);
    hg_ref_output_deinit(&out);
    kit_free(&s);
}

/* A table of 32 columns and projections that pad it with zeros are a table of 64 padded with zeros. */
static void opt_narrow(void **state)
{
    kit_set a, b;
    (void)state;
    kit_load(&a, "opt");
    kit_load(&b, "opt");
    kit_patch(&b, "{\"word_embed_proj_dim\":32}");
    (void)kit_put(&b, "model.decoder.project_in.weight", 64, 32);
    (void)kit_put(&b, "model.decoder.project_out.weight", 32, 64);
    kit_tensor *narrow = kit_put(&b, "model.decoder.embed_tokens.weight", 96, 32);
    kit_tensor *wide = kit_get(&a, "model.decoder.embed_tokens.weight");
    kit_tensor *in = kit_get(&b, "model.decoder.project_in.weight");
    kit_tensor *out = kit_get(&b, "model.decoder.project_out.weight");
    for (size_t i = 0; i < 96; i++) {
        memcpy(narrow->data + i * 32, wide->data + i * 64, 32 * sizeof(float));
        memset(wide->data + i * 64 + 32, 0, 32 * sizeof(float));
    }
    for (size_t i = 0; i < 32; i++) in->data[i * 32 + i] = out->data[i * 64 + i] = 1;
    hg_ref_input x = plain_input();
    hg_ref_output p, q;
    run(&a, &x, &p);
    run(&b, &x, &q);
    assert_true(apart(&p, &q, "logits", 0, 0) < EXACT);
    hg_ref_output_deinit(&p);
    hg_ref_output_deinit(&q);
    kit_free(&a);
    kit_free(&b);
}

/* Experts that are all the same are one MLP, whoever is chosen, when their weights sum to 1. */
static void equal_experts(void **state)
{
    kit_set a, b;
    (void)state;
    kit_load(&a, "mixtral");
    kit_load(&b, "mixtral");
    for (size_t layer = 0; layer < 2; layer++) {
        static const char *const names[][2] = {{"w1", "gate_proj"}, {"w3", "up_proj"}, {"w2", "down_proj"}};
        char name[96], to[96];
        for (size_t n = 0; n < 3; n++) {
            (void)snprintf(name, sizeof name, "model.layers.%zu.block_sparse_moe.experts.0.%s.weight", layer,
                           names[n][0]);
            (void)snprintf(to, sizeof to, "model.layers.%zu.mlp.%s.weight", layer, names[n][1]);
            const kit_tensor *one = kit_get(&a, name);
            size_t bytes = one->rows * one->columns * sizeof(float);
            memcpy(kit_put(&b, to, one->rows, one->columns)->data, one->data, bytes);
            for (size_t e = 1; e < 4; e++) {
                (void)snprintf(name, sizeof name, "model.layers.%zu.block_sparse_moe.experts.%zu.%s.weight",
                               layer, e, names[n][0]);
                memcpy(kit_get(&a, name)->data, kit_get(&b, to)->data, bytes);
            }
        }
    }
    kit_patch(&b, "{\"model_type\":\"llama\",\"architectures\":[\"LlamaForCausalLM\"]}");
    expect(&a, &b, true);
    kit_patch(&a, "{\"num_experts_per_tok\":1}");
    expect(&a, &b, true);
    kit_free(&a);
    kit_free(&b);
    expect_patches("qwen3_moe", "{\"norm_topk_prob\":true,\"num_experts_per_tok\":4}",
                   "{\"num_experts_per_tok\":4}", true);
    expect_patches("qwen3_moe", "{\"norm_topk_prob\":true}", "{}", false);
}

/* Layers named in mlp_only_layers, or passed over by decoder_sparse_step, have an ordinary MLP. */
static void sparse_steps(void **state)
{
    kit_set a, b;
    (void)state;
    kit_load(&a, "qwen3_moe");
    kit_noise(kit_put(&a, "model.layers.0.mlp.gate_proj.weight", 96, 64), 1, 0.2F);
    kit_noise(kit_put(&a, "model.layers.0.mlp.up_proj.weight", 96, 64), 2, 0.2F);
    kit_noise(kit_put(&a, "model.layers.0.mlp.down_proj.weight", 64, 96), 3, 0.2F);
    kit_copy(&b, &a);
    kit_patch(&a, "{\"mlp_only_layers\":[0]}");
    kit_patch(&b, "{\"decoder_sparse_step\":2}");
    expect(&a, &b, true);
    kit_patch(&b, "{\"decoder_sparse_step\":1}");
    expect(&a, &b, false);
    kit_free(&a);
    kit_free(&b);
}

/* Norms of heads with weight 1 leave nothing of the length of q and k: twice the weights are the same. */
static void phi_head_norms(void **state)
{
    kit_set a, b;
    (void)state;
    kit_load(&a, "phi");
    kit_patch(&a, "{\"qk_layernorm\":true,\"layer_norm_eps\":1e-12}");
    kit_load(&b, "phi");
    for (size_t i = 0; i < 4; i++) {
        char name[96];
        (void)snprintf(name, sizeof name, "model.layers.%zu.self_attn.%s_layernorm.weight", i / 2,
                       i % 2 ? "k" : "q");
        kit_tensor *w = kit_put(&a, name, 16, 0);
        for (size_t j = 0; j < 16; j++) w->data[j] = 1;
        (void)snprintf(name, sizeof name, "model.layers.%zu.self_attn.%s_layernorm.bias", i / 2,
                       i % 2 ? "k" : "q");
        (void)kit_put(&a, name, 16, 0);
    }
    expect(&a, &b, false);
    kit_free(&b);
    kit_copy(&b, &a);
    for (size_t i = 0; i < b.count; i++) {
        kit_tensor *t = &b.t[i];
        bool twice = strstr(t->name, "q_proj") || strstr(t->name, "k_proj");
        for (size_t j = 0; twice && j < t->rows * (t->columns ? t->columns : 1); j++) t->data[j] *= 2;
    }
    hg_ref_input in = plain_input();
    hg_ref_output x, y;
    run(&a, &in, &x);
    run(&b, &in, &y);
    assert_true(apart(&x, &y, "logits", 0, 0) < 1e-8);
    hg_ref_output_deinit(&x);
    hg_ref_output_deinit(&y);
    kit_free(&a);
    kit_free(&b);
}

/* ---- encoders ---- */

/* Distances under the middle of the buckets are not bucketed at all. */
static void deberta_distances(void **state)
{
    kit_set a, b;
    hg_ref_input in = {.batch = 2, .length = 8, .ids = ids};
    hg_ref_output x, y;
    (void)state;
    kit_load(&a, "deberta-v2");
    kit_load(&b, "deberta-v2");
    kit_patch(&b, "{\"position_buckets\":-1,\"max_relative_positions\":16}");
    run(&a, &in, &x);
    run(&b, &in, &y);
    assert_true(apart(&x, &y, "last_hidden_state", 0, 0) < EXACT);
    hg_ref_output_deinit(&x);
    hg_ref_output_deinit(&y);
    kit_free(&a);
    kit_free(&b);
    expect_patches("deberta-v2", "{}", "{\"position_buckets\":-1,\"max_relative_positions\":16}", false);
    expect_patches("deberta-v2", "{\"pos_att_type\":\"p2c|c2p\"}", "{}", true);
    expect_patches("deberta-v2", "{\"pos_att_type\":[\"c2p\"]}", "{\"pos_att_type\":[\"p2c\"]}", false);
    expect_patches("deberta-v2", "{\"pos_att_type\":[]}", "{\"relative_attention\":false}", true);
}

/* Projections of their own that are copies of the shared ones change nothing. */
static void deberta_own_projections(void **state)
{
    static const char *const names[][2] = {{"key_proj", "pos_key_proj"}, {"query_proj", "pos_query_proj"}};
    kit_set a, b;
    (void)state;
    kit_load(&a, "deberta-v2");
    kit_load(&b, "deberta-v2");
    kit_patch(&b, "{\"share_att_key\":false}");
    for (size_t i = 0; i < 8; i++) {
        char from[96], to[96];
        const char *end = i & 1 ? "bias" : "weight";
        (void)snprintf(from, sizeof from, "encoder.layer.%zu.attention.self.%s.%s", i / 4,
                       names[i / 2 % 2][0], end);
        (void)snprintf(to, sizeof to, "encoder.layer.%zu.attention.self.%s.%s", i / 4, names[i / 2 % 2][1],
                       end);
        const kit_tensor *t = kit_get(&a, from);
        kit_tensor *copy = kit_put(&b, to, t->rows, t->columns);
        memcpy(copy->data, t->data, t->rows * (t->columns ? t->columns : 1) * sizeof(float));
    }
    expect(&a, &b, true);
    kit_free(&a);
    kit_free(&b);
}

/* Old names of norms, and names with and without the model's prefix. */
static void names(void **state)
{
    kit_set a, b;
    (void)state;
    kit_load(&a, "bert");
    kit_load(&b, "bert");
    for (size_t i = 0; i < b.count; i++) {
        char name[160];
        char *norm = strstr(b.t[i].name, "LayerNorm.");
        if (norm) strcpy(norm + 10, strcmp(norm + 10, "weight") == 0 ? "gamma" : "beta");
        (void)snprintf(name, sizeof name, "bert.%s", b.t[i].name);
        (void)snprintf(b.t[i].name, sizeof b.t[i].name, "%.120s", name);
    }
    expect(&a, &b, true);
    kit_free(&a);
    kit_free(&b);
}

/* Each head of BERT on the same body: the tokens' logits at 0, the spans', the words'. */
static void heads(void **state)
{
    kit_set s;
    hg_ref_input in = plain_input();
    hg_ref_output bare, token, span;
    (void)state;
    kit_load(&s, "bert");
    run(&s, &in, &bare);
    kit_noise(kit_put(&s, "classifier.weight", 2, 64), 1, 0.3F);
    kit_noise(kit_put(&s, "classifier.bias", 2, 0), 2, 0.3F);
    kit_patch(&s, "{\"architectures\":[\"BertForTokenClassification\"]}");
    run(&s, &in, &token);
    kit_rename(&s, "classifier.weight", "qa_outputs.weight");
    kit_rename(&s, "classifier.bias", "qa_outputs.bias");
    kit_patch(&s, "{\"architectures\":[\"BertForQuestionAnswering\"]}");
    run(&s, &in, &span);
    const float *w = kit_get(&s, "qa_outputs.weight")->data, *b = kit_get(&s, "qa_outputs.bias")->data;
    const hg_ref_array *h = hg_ref_output_get(&bare, "last_hidden_state"),
                       *t = hg_ref_output_get(&token, "logits");
    const hg_ref_array *ends[2] = {hg_ref_output_get(&span, "start_logits"),
                                   hg_ref_output_get(&span, "end_logits")};
    assert_non_null(hg_ref_output_get(&bare, "pooler_output"));
    for (size_t i = 0; i < 2 * N; i++) {
        for (size_t o = 0; o < 2; o++) {
            double sum = (double)b[o];
            for (size_t j = 0; j < 64; j++) sum += (double)w[o * 64 + j] * h->data[i * 64 + j];
            assert_true(fabs(sum - t->data[2 * i + o]) < EXACT);
            assert_true(fabs(sum - ends[o]->data[i]) < EXACT);
        }
    }
    hg_ref_output_deinit(&bare);
    hg_ref_output_deinit(&token);
    hg_ref_output_deinit(&span);
    kit_free(&s);
}

/* ---- files ---- */

/* Of a set whose numbers bfloat16 and half both hold, every type and several files give the same. */
static void types_and_shards(void **state)
{
    static const hg_dtype types[] = {HG_DTYPE_F32, HG_DTYPE_BF16, HG_DTYPE_F16};
    kit_set s;
    hg_ref_input in = plain_input();
    hg_ref_output want;
    (void)state;
    kit_load(&s, "qwen3");
    for (size_t i = 0; i < s.count; i++) {
        for (size_t j = 0; j < s.t[i].rows * (s.t[i].columns ? s.t[i].columns : 1); j++) {
            float *f = &s.t[i].data[j];
            *f = fabsf(*f) < 1e-4F ? 0 : *f;
            uint32_t bits;
            memcpy(&bits, f, sizeof bits);
            bits &= 0xffff0000U;
            memcpy(f, &bits, sizeof bits);
        }
    }
    run(&s, &in, &want);
    for (size_t i = 0; i < HG_LEN(types); i++) {
        hg_ref_output out;
        hangar_err err = {0};
        if (kit_run(&s, types[i], 3, &in, &out, &err) != HANGAR_OK) fail_msg("%s", err.msg);
        assert_true(apart(&want, &out, "logits", 0, 0) < EXACT);
        hg_ref_output_deinit(&out);
    }
    hg_ref_output_deinit(&want);
    kit_free(&s);
}

/* A head of its own is used, an equal one is not noticed, and two different ones that shall be one are refused. */
static void tied_tables(void **state)
{
    kit_set s;
    hg_ref_input in = plain_input();
    hg_ref_output out;
    hangar_err err = {0};
    (void)state;
    kit_load(&s, "llama");
    kit_patch(&s, "{\"tie_word_embeddings\":true}");
    assert_int_equal(kit_run(&s, HG_DTYPE_F32, 1, &in, &out, &err), HANGAR_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "tie_word_embeddings"));
    memcpy(kit_get(&s, "lm_head.weight")->data, kit_get(&s, "model.embed_tokens.weight")->data,
           96 * 64 * sizeof(float));
    run(&s, &in, &out);
    hg_ref_output_deinit(&out);
    kit_free(&s);
}

static void layers_and_time(void **state)
{
    HG_AUTO(hg_auto_free) char *dir = kit_dir("llama");
    kit_model m;
    hg_ref_input in = plain_input();
    hg_ref_output out;
    hangar_err err = {0};
    uint32_t layers = 9;
    double seconds = 0;
    (void)state;
    expect_patches("llama", "{\"num_hidden_layers\":1}", "{}", false);
    kit_open(&m, dir);
    const hg_jval *config = hg_json_root(m.config);
    assert_int_equal(hg_ref_layers(&m.ck, config, &in, 100, &layers, &seconds, &err), HANGAR_OK);
    assert_int_equal(layers, 0);
    assert_int_equal(hg_ref_layers(&m.ck, config, &in, 1e-6, &layers, &seconds, &err), HANGAR_OK);
    assert_int_equal(layers, 1);
    assert_true(seconds > 1e-6 && seconds < 0.1);
    hangar_job *job = hangar_job_new(NULL, NULL);
    hangar_job_cancel(job);
    assert_int_equal(hg_ref_run(&m.ck, config, &in, job, &out, &err), HANGAR_E_CANCELLED);
    hangar_job_free(job);
    in.ids = NULL;
    assert_int_equal(hg_ref_run(&m.ck, config, &in, NULL, &out, &err), HANGAR_E_USAGE);
    in = plain_input();
    in.batch = 1 << 20;
    assert_int_equal(hg_ref_run(&m.ck, config, &in, NULL, &out, &err), HANGAR_E_LIMIT);
    int64_t wild[1] = {96};
    in = (hg_ref_input){.batch = 1, .length = 1, .ids = wild};
    assert_int_equal(hg_ref_run(&m.ck, config, &in, NULL, &out, &err), HANGAR_E_USAGE);
    kit_close(&m);
}

/* A long text in no time. */
static void timeout(void **state)
{
    enum { LONG = 4000 };
    HG_AUTO(hg_auto_free) char *dir = kit_dir("llama");
    HG_AUTO(hg_auto_free) int64_t *text = hg_calloc(LONG, sizeof *text);
    kit_model m;
    hg_ref_output out;
    hangar_err err = {0};
    (void)state;
    kit_open(&m, dir);
    hg_ref_input in = {.batch = 1, .length = LONG, .ids = text, .seconds = 1e-3};
    assert_int_equal(hg_ref_run(&m.ck, hg_json_root(m.config), &in, NULL, &out, &err), HANGAR_E_TIMEOUT);
    assert_int_equal(out.count, 0);
    kit_close(&m);
}

static void refusals(void **state)
{
    (void)state;
    refuse("llama", "{\"model_type\":\"mamba\"}", HANGAR_E_UNSUPPORTED, "mamba");
    refuse("llama", "{\"quantization_config\":{\"bits\":4}}", HANGAR_E_UNSUPPORTED, "quantization_config");
    refuse("llama", "{\"rope_parameters\":{\"rope_type\":\"mrope\"}}", HANGAR_E_UNSUPPORTED, "mrope");
    refuse("llama", "{\"partial_rotary_factor\":0.5}", HANGAR_E_UNSUPPORTED, "partial_rotary_factor");
    refuse("llama", "{\"hidden_act\":\"laplace\"}", HANGAR_E_UNSUPPORTED, "laplace");
    refuse("llama", "{\"architectures\":[\"LlamaForTokenClassification\"]}", HANGAR_E_UNSUPPORTED,
           "architectures");
    refuse("llama", "{\"num_attention_heads\":0}", HANGAR_E_INVALID, "num_attention_heads");
    refuse("llama", "{\"num_key_value_heads\":3}", HANGAR_E_INVALID, "num_key_value_heads");
    refuse("llama", "{\"hidden_size\":\"64\"}", HANGAR_E_INVALID, "hidden_size");
    refuse("llama", "{\"intermediate_size\":128}", HANGAR_E_INVALID, "gate_proj.weight");
    refuse("llama", "{\"num_hidden_layers\":3}", HANGAR_E_INVALID, "model.layers.2");
    refuse("llama", "{\"num_hidden_layers\":2000}", HANGAR_E_LIMIT, "layers");
    refuse("llama", "{\"attention_bias\":true}", HANGAR_E_INVALID, "q_proj.bias");
    refuse("gemma3_text", "{\"use_bidirectional_attention\":true}", HANGAR_E_UNSUPPORTED,
           "use_bidirectional_attention");
    refuse("qwen3_moe", "{\"use_sliding_window\":true}", HANGAR_E_UNSUPPORTED, "use_sliding_window");
    refuse("qwen2", "{\"layer_types\":[\"linear_attention\",\"full_attention\"]}", HANGAR_E_UNSUPPORTED,
           "layer_types");
    refuse("mixtral", "{\"num_experts_per_tok\":5}", HANGAR_E_INVALID, "num_experts_per_tok");
    refuse("bert", "{\"is_decoder\":true}", HANGAR_E_UNSUPPORTED, "is_decoder");
    refuse("bert", "{\"position_embedding_type\":\"relative_key\"}", HANGAR_E_UNSUPPORTED,
           "position_embedding_type");
    refuse("mpnet", "{\"relative_attention_num_buckets\":16}", HANGAR_E_UNSUPPORTED,
           "relative_attention_num_buckets");
    refuse("deberta-v2", "{\"embedding_size\":32}", HANGAR_E_UNSUPPORTED, "embedding_size");
}

/* ---- hostile configurations ---- */

static const char *const everything[] = {
    "llama",   "mistral",     "qwen2",      "qwen3",     "phi",        "phi3",       "gemma",
    "gemma2",  "gemma3_text", "smollm3",    "gpt2",      "gpt_neox",   "opt",        "falcon",
    "granite", "olmo2",       "mixtral",    "qwen3_moe", "bert",       "bert-mlm",   "bert-cls",
    "roberta", "xlm-roberta", "distilbert", "mpnet",     "modernbert", "deberta-v2", "whisper",
    "bart",    "marian",      "t5",         "vit",       "clip",       "siglip",     "wav2vec2"};

/* Any key of any config with any value: an answer or an error, soon, and nothing else. */
static void wild_values(void **state)
{
    static const char *const values[] = {"0",     "-1", "3",  "2147483648", "1e300",
                                         "\"x\"", "[]", "{}", "true",       "null"};
    static const float zeros[200 * 80] = {0};
    (void)state;
    for (size_t n = 0; n < HG_LEN(everything); n++) {
        HG_AUTO(hg_auto_free) char *dir = kit_dir(everything[n]);
        kit_model m;
        kit_open(&m, dir);
        hg_ref_input in = {.batch = 1,
                           .length = 3,
                           .ids = ids,
                           .source = ids,
                           .source_length = 3,
                           .layers = 1,
                           .seconds = 5};
        if (strcmp(everything[n], "whisper") == 0) {
            in.features = zeros;
            in.mels = 80;
            in.frames = 200;
        }
        in.pixels = zeros;
        in.channels = 3;
        in.height = in.width = 32;
        in.samples = zeros;
        in.sample_count = 2000;
        for (hg_json_iter it = hg_json_iter_of(hg_json_root(m.config)); hg_json_next(&it);) {
            for (size_t v = 0; v < HG_LEN(values); v++) {
                char patch[160];
                kit_set s = {.config = hg_json_print(hg_json_root(m.config), false)};
                hg_json *config = NULL;
                hg_ref_output out;
                hangar_err err = {0};
                (void)snprintf(patch, sizeof patch, "{\"%.*s\":%s}", (int)it.key.len, it.key.ptr, values[v]);
                kit_patch(&s, patch);
                assert_int_equal(hg_json_parse((hg_str){s.config, strlen(s.config)}, NULL, &config, &err),
                                 HANGAR_OK);
                double work = 0;
                hangar_code code = hg_ref_work(&m.ck, hg_json_root(config), &in, &work, &err);
                if (code == HANGAR_OK) {
                    code = hg_ref_run(&m.ck, hg_json_root(config), &in, NULL, &out, &err);
                    hg_ref_output_deinit(&out);
                }
                if (code == HANGAR_E_TIMEOUT || code == HANGAR_E_INTERNAL) {
                    fail_msg("%s: %s: %s", everything[n], patch, err.msg);
                }
                if (code != HANGAR_OK) assert_true(strlen(err.msg) > 0);
                hg_json_free(config);
                kit_free(&s);
            }
        }
        kit_close(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rope_numbers),
        cmocka_unit_test(rope_linear),
        cmocka_unit_test(spellings),
        cmocka_unit_test(windows),
        cmocka_unit_test(shared_heads),
        cmocka_unit_test(soft_caps),
        cmocka_unit_test(multipliers),
        cmocka_unit_test(falcon_layouts),
        cmocka_unit_test(falcon_alibi),
        cmocka_unit_test(orders),
        cmocka_unit_test(opt_behind),
        cmocka_unit_test(opt_narrow),
        cmocka_unit_test(equal_experts),
        cmocka_unit_test(sparse_steps),
        cmocka_unit_test(phi_head_norms),
        cmocka_unit_test(deberta_distances),
        cmocka_unit_test(deberta_own_projections),
        cmocka_unit_test(names),
        cmocka_unit_test(heads),
        cmocka_unit_test(types_and_shards),
        cmocka_unit_test(tied_tables),
        cmocka_unit_test(layers_and_time),
        cmocka_unit_test(timeout),
        cmocka_unit_test(refusals),
        cmocka_unit_test(wild_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
