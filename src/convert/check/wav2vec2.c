/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wav2vec 2.0 (Baevski et al.): convolutions over the samples themselves, then a Transformer.
 *
 *   x = samples; per convolution   x = gelu(norm(conv(x))), a norm of each channel over time in the first one only, or over the channels in all
 *   x = W norm(x) + b;  x = x + gelu(conv(x)), a wide convolution in groups that stands for positions
 *   x = norm(x);  per layer   x = norm(x + Attention(x));  x = norm(x + MLP(x));          logits = W x + b
 *   or, "stable":  per layer  x = x + Attention(norm(x));  x = x + MLP(norm(x));  at the end norm(x)
 */
#include "convert/check/inner.h"

#include <stdio.h>
#include <string.h>

#define CONVS_MAX 16

typedef struct pass {
    size_t batch, length, hidden, layers, heads, inner, convs, kernel, groups;
    size_t dims[CONVS_MAX], kernels[CONVS_MAX], strides[CONVS_MAX];
    bool conv_bias, by_layer, stable;
    hg_plain_act act, conv_act;
    hg_plain_norm norm;
} pass;

static const char *const base = "wav2vec2.";
static const hg_plain_mha_names names = {
    "attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.out_proj", true, false, false};

static void read_list(hg_plain_state *r, const char *key, size_t *out, size_t count)
{
    const hg_jval *list = hg_plain_key(r, key);
    if (hg_json_len(list) != count) {
        hg_plain_fail(r, HANGAR_E_INVALID, "config.json: %s has not %zu numbers", key, count);
        return;
    }
    for (hg_json_iter it = hg_json_iter_of(list); hg_json_next(&it) && it.index < count;) {
        int64_t n = hg_json_i64_or(it.val, 0);
        if (n < 1 || n > 1 << 20)
            hg_plain_fail(r, HANGAR_E_INVALID, "config.json: %s holds what is no size", key);
        out[it.index] = n > 0 ? (size_t)n : 1;
    }
}

static void read(hg_plain_state *r, pass *p)
{
    const char *norm = hg_plain_text(r, "feat_extract_norm", "group");
    p->batch = r->in->batch;
    p->hidden = hg_plain_int(r, "hidden_size", HG_REF_NEEDED, 1);
    p->layers = hg_plain_int(r, "num_hidden_layers", HG_REF_NEEDED, 1);
    p->heads = hg_plain_int(r, "num_attention_heads", HG_REF_NEEDED, 1);
    p->inner = hg_plain_int(r, "intermediate_size", HG_REF_NEEDED, 1);
    p->kernel = hg_plain_int(r, "num_conv_pos_embeddings", 128, 1);
    p->groups = hg_plain_int(r, "num_conv_pos_embedding_groups", 16, 1);
    p->conv_bias = hg_plain_flag(r, "conv_bias", false);
    p->stable = hg_plain_flag(r, "do_stable_layer_norm", false);
    p->act = hg_plain_act_key(r, "hidden_act", "gelu");
    p->conv_act = hg_plain_act_key(r, "feat_extract_activation", "gelu");
    p->norm = (hg_plain_norm){.bias = true, .eps = hg_plain_real(r, "layer_norm_eps", 1e-5)};
    p->by_layer = strcmp(norm, "layer") == 0;
    p->convs = hg_json_len(hg_plain_key(r, "conv_dim"));
    hg_plain_refuse(r, "add_adapter");
    hg_plain_refuse(r, "conv_pos_batch_norm");
    if (hg_plain_key(r, "adapter_attn_dim")) {
        hg_plain_fail(r, HANGAR_E_UNSUPPORTED, "config.json: the reference does not know adapter_attn_dim");
    }
    if (!p->by_layer && strcmp(norm, "group") != 0) {
        hg_plain_fail(r, HANGAR_E_UNSUPPORTED,
                      "config.json: the reference does not know feat_extract_norm \"%s\"", norm);
    }
    if (p->convs < 1 || p->convs > CONVS_MAX || p->hidden % p->heads || p->hidden % p->groups) {
        hg_plain_fail(r, HANGAR_E_INVALID,
                      "config.json: conv_dim, num_attention_heads or num_conv_pos_embedding_groups");
        return;
    }
    read_list(r, "conv_dim", p->dims, p->convs);
    read_list(r, "conv_kernel", p->kernels, p->convs);
    read_list(r, "conv_stride", p->strides, p->convs);
}

/* Each channel over time: (x - mean) / deviation * w + b, x [batch * length][channels]. */
static void normalize_time(hg_plain_state *r, double *x, size_t batch, size_t length, size_t channels,
                           const char *at)
{
    const double *w = hg_plain_vector(r, at, "layer_norm.weight", channels);
    const double *b = hg_plain_vector(r, at, "layer_norm.bias", channels);
    for (size_t n = 0; hg_plain_go(r) && n < batch * channels; n++) {
        size_t c = n % channels;
        double *row = x + n / channels * length * channels + c, mean = 0, square = 0;
        for (size_t t = 0; t < length; t++) mean += row[t * channels] / (double)length;
        for (size_t t = 0; t < length; t++) {
            square += (row[t * channels] - mean) * (row[t * channels] - mean) / (double)length;
        }
        for (size_t t = 0; t < length; t++) {
            row[t * channels] = (row[t * channels] - mean) / sqrt(square + 1e-5) * w[c] + b[c];
        }
    }
}

/* The features: p->length rows of the last convolution's width for each sequence. */
static double *listen(hg_plain_state *r, pass *p)
{
    size_t width = r->in->sample_count, channels = 1;
    double *x = hg_plain_array_new(r, p->batch, width);
    const hg_plain_norm across = {.bias = true, .eps = 1e-5};
    for (size_t i = 0; hg_plain_go(r) && i < p->batch * width; i++) x[i] = (double)r->in->samples[i];
    for (size_t i = 0; r->code == HANGAR_OK && i < p->convs; i++) {
        char at[96];
        size_t out = 0;
        (void)snprintf(at, sizeof at, "%sfeature_extractor.conv_layers.%zu.", base, i);
        hg_plain_window win = {p->batch, width, channels, p->kernels[i], p->strides[i], 0, true};
        const double *rows = hg_plain_unfold(r, x, &win, &out);
        hg_plain_mat w = hg_plain_matrix(r, at, "conv.weight", p->dims[i], channels * p->kernels[i]);
        const double *b = p->conv_bias ? hg_plain_vector(r, at, "conv.bias", p->dims[i]) : NULL;
        x = hg_plain_linear(r, rows, p->batch * out, w, b);
        width = out;
        channels = p->dims[i];
        if (p->by_layer) x = hg_plain_normalize(r, x, p->batch * width, channels, &across, at, "layer_norm");
        else if (i == 0) normalize_time(r, x, p->batch, width, channels, at);
        hg_plain_activate(r, x, p->batch * width * channels, p->conv_act);
    }
    p->length = width;
    if (!width) hg_plain_fail(r, HANGAR_E_USAGE, "the reference needs more samples");
    return x;
}

/* The wide convolution's weight: g * v / |v|, the length taken over all but the last dimension. */
static double *weight(hg_plain_state *r, const pass *p, size_t in)
{
    char at[64];
    (void)snprintf(at, sizeof at, "%sencoder.pos_conv_embed.conv.", base);
    bool newer = hg_plain_has(r, at, "parametrizations.weight.original0");
    size_t count = p->hidden * in * p->kernel;
    const double *g =
        hg_plain_vector(r, at, newer ? "parametrizations.weight.original0" : "weight_g", p->kernel);
    double *v = hg_plain_vector(r, at, newer ? "parametrizations.weight.original1" : "weight_v", count);
    for (size_t k = 0; hg_plain_go(r) && k < p->kernel; k++) {
        double square = 0;
        for (size_t i = k; i < count; i += p->kernel) square += v[i] * v[i];
        for (size_t i = k; i < count; i += p->kernel) v[i] *= g[k] / sqrt(square);
    }
    return v;
}

/* x += gelu(conv(x)): padded by half the kernel on both sides, and of an even kernel the last frame is dropped */
static void add_positions(hg_plain_state *r, const pass *p, double *x)
{
    size_t d = p->hidden, in = d / p->groups, half = p->kernel / 2;
    const double *w = weight(r, p, in);
    const double *b = hg_plain_vector(r, "wav2vec2.encoder.pos_conv_embed.conv.", "bias", d);
    double *y = hg_plain_array_new(r, p->batch * p->length, d);
    hg_plain_spend(r, (double)p->batch * (double)p->length * (double)d * (double)in * (double)p->kernel);
    for (size_t n = 0; hg_plain_go(r) && n < p->batch * p->length * d; n++) {
        size_t o = n % d, t = n / d % p->length, sequence = n / d / p->length;
        y[n] = b[o];
        for (size_t k = 0; k < p->kernel; k++) {
            if (t + k < half || t + k - half >= p->length) continue;
            const double *from = x + (sequence * p->length + t + k - half) * d + o / in * in;
            for (size_t i = 0; i < in; i++) y[n] += from[i] * w[(o * in + i) * p->kernel + k];
        }
    }
    hg_plain_activate(r, y, p->batch * p->length * d, p->conv_act);
    hg_plain_add(r, x, y, p->batch * p->length * d, 1);
}

static void replace(hg_plain_state *r, const pass *p, double *x, const char *at, const char *name)
{
    size_t rows = p->batch * p->length;
    const double *y = hg_plain_normalize(r, x, rows, p->hidden, &p->norm, at, name);
    if (hg_plain_go(r)) memcpy(x, y, rows * p->hidden * sizeof *x);
}

static void layer(hg_plain_state *r, const pass *p, double *x, const char *at)
{
    size_t rows = p->batch * p->length, d = p->hidden;
    hg_plain_attention a = {.batch = p->batch,
                            .queries = p->length,
                            .keys = p->length,
                            .heads = p->heads,
                            .kv_heads = p->heads,
                            .dim = d / p->heads,
                            .scale = 1 / sqrt((double)(d / p->heads))};
    const double *h = p->stable ? hg_plain_normalize(r, x, rows, d, &p->norm, at, "layer_norm") : x;
    hg_plain_add(r, x, hg_plain_mha(r, h, h, d, &a, &names, at), rows * d, 1);
    if (!p->stable) replace(r, p, x, at, "layer_norm");
    h = p->stable ? hg_plain_normalize(r, x, rows, d, &p->norm, at, "final_layer_norm") : x;
    h = hg_plain_mlp(r, h, rows, d, p->inner, p->act, true, at, "feed_forward.intermediate_dense",
                     "feed_forward.output_dense");
    hg_plain_add(r, x, h, rows * d, 1);
    if (!p->stable) replace(r, p, x, at, "final_layer_norm");
}

/* The whole model. */
void hg_plain_wav2vec2(hg_plain_state *r, const char *model_type)
{
    pass p = {0};
    (void)model_type;
    hg_plain_head head = hg_plain_head_key(r, 1U << HG_REF_BARE | 1U << HG_REF_CTC);
    r->base = base;
    read(r, &p);
    if (!r->in->samples || !r->in->sample_count)
        hg_plain_fail(r, HANGAR_E_USAGE, "the reference needs samples");
    if (r->code != HANGAR_OK) return;
    double *x = listen(r, &p);
    size_t rows = p.batch * p.length, wide = p.dims[p.convs - 1];
    x = hg_plain_normalize(r, x, rows, wide, &p.norm, base, "feature_projection.layer_norm");
    x = hg_plain_project(r, x, rows, wide, p.hidden, true, base, "feature_projection.projection");
    add_positions(r, &p, x);
    if (!p.stable) replace(r, &p, x, base, "encoder.layer_norm");
    size_t depth = hg_plain_depth(r, p.layers);
    for (size_t i = 0; r->code == HANGAR_OK && i < depth; i++) {
        hg_plain_block *mark = r->blocks;
        char at[64];
        (void)snprintf(at, sizeof at, "%sencoder.layers.%zu.", base, i);
        layer(r, &p, x, at);
        hg_plain_release(r, mark);
    }
    if (p.stable) replace(r, &p, x, base, "encoder.layer_norm");
    if (head == HG_REF_CTC) {
        const size_t shape[3] = {p.batch, p.length, hg_plain_int(r, "vocab_size", HG_REF_NEEDED, 1)};
        hg_plain_give(r, "logits", hg_plain_project(r, x, rows, p.hidden, shape[2], true, "", "lm_head"), 3,
                      shape);
        return;
    }
    const size_t shape[3] = {p.batch, p.length, p.hidden};
    hg_plain_give(r, "last_hidden_state", x, 3, shape);
}
