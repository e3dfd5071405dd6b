/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whisper (Radford et al.): an encoder of sound and a decoder of text.
 *
 *   encoder   x = gelu(conv(gelu(conv(features)))) + P, the second convolution with stride 2
 *             per layer   x = x + Attention(norm(x));  x = x + W2 act(W1 norm(x));   at the end norm(x)
 *   decoder   x = E[token] + P[position]
 *             per layer   x = x + Attention(norm(x)), causal;  x = x + Attention(norm(x), encoder);  x = x + W2 act(W1 norm(x))
 *             logits = E norm(x)
 */
#include "convert/check/inner.h"

#include <stdio.h>
#include <string.h>

typedef struct pass {
    size_t hidden, encoder_layers, decoder_layers, encoder_heads, decoder_heads, encoder_inner, decoder_inner;
    size_t mels, sources, targets, vocab;
    double embed_scale;
    hg_plain_act act;
} pass;

static const hg_plain_norm norm = {.bias = true, .eps = 1e-5};
static const hg_plain_mha_names self_names = {
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", true, true, false};
static const hg_plain_mha_names cross_names = {"encoder_attn.q_proj",
                                               "encoder_attn.k_proj",
                                               "encoder_attn.v_proj",
                                               "encoder_attn.out_proj",
                                               true,
                                               true,
                                               false};

static void read(hg_plain_state *r, pass *p)
{
    p->hidden = hg_plain_int(r, "d_model", HG_REF_NEEDED, 1);
    p->encoder_layers = hg_plain_int(r, "encoder_layers", HG_REF_NEEDED, 1);
    p->decoder_layers = hg_plain_int(r, "decoder_layers", HG_REF_NEEDED, 1);
    p->encoder_heads = hg_plain_int(r, "encoder_attention_heads", HG_REF_NEEDED, 1);
    p->decoder_heads = hg_plain_int(r, "decoder_attention_heads", HG_REF_NEEDED, 1);
    p->encoder_inner = hg_plain_int(r, "encoder_ffn_dim", HG_REF_NEEDED, 1);
    p->decoder_inner = hg_plain_int(r, "decoder_ffn_dim", HG_REF_NEEDED, 1);
    p->mels = hg_plain_int(r, "num_mel_bins", 80, 1);
    p->sources = hg_plain_int(r, "max_source_positions", 1500, 1);
    p->targets = hg_plain_int(r, "max_target_positions", 448, 1);
    p->vocab = hg_plain_int(r, "vocab_size", HG_REF_NEEDED, 1);
    p->embed_scale = hg_plain_flag(r, "scale_embedding", false) ? sqrt((double)p->hidden) : 1;
    p->act = hg_plain_act_key(r, "activation_function", "gelu");
    if (p->hidden % p->encoder_heads || p->hidden % p->decoder_heads) {
        hg_plain_fail(r, HANGAR_E_INVALID, "config.json: d_model is no multiple of the attention heads");
    }
}

static hg_plain_attention shape(size_t batch, size_t queries, size_t keys, size_t hidden, size_t heads)
{
    return (hg_plain_attention){.batch = batch,
                                .queries = queries,
                                .keys = keys,
                                .heads = heads,
                                .kv_heads = heads,
                                .dim = hidden / heads,
                                .scale = 1 / sqrt((double)(hidden / heads))};
}

/* Some rows of each sequence; all when none are named. */
static double *pick(hg_plain_state *r, const pass *p, const double *x, const size_t *rows, size_t count)
{
    double *y = hg_plain_array_new(r, r->in->batch * count, p->hidden);
    for (size_t n = 0; hg_plain_go(r) && n < r->in->batch * count; n++) {
        size_t from = n / count * p->sources + (rows ? rows[n % count] : n % count);
        memcpy(y + n * p->hidden, x + from * p->hidden, p->hidden * sizeof *y);
    }
    return y;
}

/* A residual MLP: x = x + W2 act(W1 norm(x)) */
static void feed(hg_plain_state *r, const pass *p, double *x, size_t rows, size_t inner, const char *at)
{
    const double *h = hg_plain_normalize(r, x, rows, p->hidden, &norm, at, "final_layer_norm");
    h = hg_plain_mlp(r, h, rows, p->hidden, inner, p->act, true, at, "fc1", "fc2");
    hg_plain_add(r, x, h, rows * p->hidden, 1);
}

/* One encoder layer for the queries in `rows`: what comes back has those only. */
static double *encoder_layer(hg_plain_state *r, const pass *p, const double *x, size_t i, const size_t *rows,
                             size_t count)
{
    char at[64];
    (void)snprintf(at, sizeof at, "model.encoder.layers.%zu.", i);
    hg_plain_attention a = shape(r->in->batch, count, p->sources, p->hidden, p->encoder_heads);
    const double *h =
        hg_plain_normalize(r, x, r->in->batch * p->sources, p->hidden, &norm, at, "self_attn_layer_norm");
    double *y = pick(r, p, x, rows, count);
    const double *asked = rows ? pick(r, p, h, rows, count) : h;
    hg_plain_add(r, y, hg_plain_mha(r, asked, h, p->hidden, &a, &self_names, at),
                 r->in->batch * count * p->hidden, 1);
    feed(r, p, y, r->in->batch * count, p->encoder_inner, at);
    return y;
}

/* gelu(conv(x)), kernel 3 */
static double *convolve(hg_plain_state *r, const pass *p, const double *x, hg_plain_window win,
                        const char *name)
{
    char weight[64], bias[64];
    size_t out = 0;
    (void)snprintf(weight, sizeof weight, "%s.weight", name);
    (void)snprintf(bias, sizeof bias, "%s.bias", name);
    const double *rows = hg_plain_unfold(r, x, &win, &out);
    hg_plain_mat w = hg_plain_matrix(r, "model.encoder.", weight, p->hidden, win.channels * win.kernel);
    const double *b = hg_plain_vector(r, "model.encoder.", bias, p->hidden);
    double *y = hg_plain_linear(r, rows, win.batch * out, w, b);
    hg_plain_activate(r, y, win.batch * out * p->hidden, HG_REF_GELU);
    return y;
}

static double *front(hg_plain_state *r, const pass *p)
{
    const hg_ref_input *in = r->in;
    size_t count = in->batch * p->mels * in->frames;
    hg_plain_window first = {in->batch, in->frames, p->mels, 3, 1, 1, false};
    hg_plain_window second = {in->batch, in->frames, p->hidden, 3, 2, 1, true};
    double *x = hg_plain_array_new(r, 1, count);
    for (size_t i = 0; hg_plain_go(r) && i < count; i++) x[i] = (double)in->features[i];
    x = convolve(r, p, x, first, "conv1");
    x = convolve(r, p, x, second, "conv2");
    const double *places =
        hg_plain_vector(r, "model.encoder.", "embed_positions.weight", p->sources * p->hidden);
    for (size_t b = 0; hg_plain_go(r) && b < in->batch; b++) {
        hg_plain_add(r, x + b * p->sources * p->hidden, places, p->sources * p->hidden, 1);
    }
    return x;
}

/* The encoder's states for the rows asked for; *count is how many of each sequence. */
static double *encoder(hg_plain_state *r, const pass *p, bool whole, size_t *count)
{
    const hg_ref_input *in = r->in;
    const size_t *rows = whole ? NULL : in->rows;
    size_t depth = hg_plain_depth(r, p->encoder_layers), all = in->batch * p->sources * p->hidden;
    *count = rows ? in->row_count : p->sources;
    if (in->mels != p->mels || in->frames != 2 * p->sources) {
        hg_plain_fail(r, HANGAR_E_USAGE, "the reference needs features of %zu bins and %zu frames", p->mels,
                      2 * p->sources);
        return NULL;
    }
    for (size_t i = 0; rows && i < in->row_count; i++) {
        if (rows[i] >= p->sources)
            hg_plain_fail(r, HANGAR_E_USAGE, "there is no position %zu to sample", rows[i]);
    }
    double *x = hg_plain_array_new(r, 1, all);
    hg_plain_block *mark = r->blocks;
    const double *y = front(r, p);
    if (hg_plain_go(r)) memcpy(x, y, all * sizeof *x);
    hg_plain_release(r, mark);
    for (size_t i = 0; r->code == HANGAR_OK && i + 1 < depth; i++) {
        mark = r->blocks;
        y = encoder_layer(r, p, x, i, NULL, p->sources);
        if (hg_plain_go(r)) memcpy(x, y, all * sizeof *x);
        hg_plain_release(r, mark);
    }
    x = encoder_layer(r, p, x, depth - 1, rows, *count);
    return hg_plain_normalize(r, x, in->batch * *count, p->hidden, &norm, "model.encoder.", "layer_norm");
}

static void decoder_layer(hg_plain_state *r, const pass *p, double *x, const double *states, size_t keys,
                          size_t i)
{
    char at[64];
    size_t batch = r->in->batch, n = r->in->length, rows = batch * n;
    (void)snprintf(at, sizeof at, "model.decoder.layers.%zu.", i);
    hg_plain_attention a = shape(batch, n, n, p->hidden, p->decoder_heads);
    a.causal = true;
    a.mask = r->in->mask;
    const double *h = hg_plain_normalize(r, x, rows, p->hidden, &norm, at, "self_attn_layer_norm");
    hg_plain_add(r, x, hg_plain_mha(r, h, h, p->hidden, &a, &self_names, at), rows * p->hidden, 1);
    a = shape(batch, n, keys, p->hidden, p->decoder_heads);
    h = hg_plain_normalize(r, x, rows, p->hidden, &norm, at, "encoder_attn_layer_norm");
    hg_plain_add(r, x, hg_plain_mha(r, h, states, p->hidden, &a, &cross_names, at), rows * p->hidden, 1);
    feed(r, p, x, rows, p->decoder_inner, at);
}

static void decoder(hg_plain_state *r, const pass *p, const double *states, size_t keys)
{
    const char *table = "model.decoder.embed_tokens.weight", *head = "proj_out.weight";
    size_t rows = r->in->batch * r->in->length, depth = hg_plain_depth(r, p->decoder_layers);
    const size_t out[3] = {r->in->batch, r->in->length, p->vocab};
    hg_plain_mat words = hg_plain_matrix(r, "", table, p->vocab, p->hidden);
    hg_plain_mat places =
        hg_plain_matrix(r, "model.decoder.", "embed_positions.weight", p->targets, p->hidden);
    double *x = hg_plain_embed(r, r->in->ids, rows, words, p->embed_scale);
    hg_plain_add(r, x, hg_plain_embed(r, hg_plain_positions(r), rows, places, 1), rows * p->hidden, 1);
    for (size_t i = 0; r->code == HANGAR_OK && i < depth; i++) {
        hg_plain_block *mark = r->blocks;
        decoder_layer(r, p, x, states, keys, i);
        hg_plain_release(r, mark);
    }
    x = hg_plain_normalize(r, x, rows, p->hidden, &norm, "model.decoder.", "layer_norm");
    bool tied = hg_plain_tied(r, true, table, head);
    hg_plain_mat w = hg_plain_matrix(r, "", tied ? table : head, p->vocab, p->hidden);
    hg_plain_give(r, "logits", hg_plain_linear(r, x, rows, w, NULL), 3, out);
}

/* The whole model, or one half of it. */
void hg_plain_whisper(hg_plain_state *r, const char *model_type)
{
    pass p = {0};
    const hg_ref_input *in = r->in;
    bool text = in->ids != NULL && in->length > 0;
    (void)model_type;
    (void)hg_plain_head_key(r, 1U << HG_REF_GENERATE);
    r->base = "model.";
    read(r, &p);
    if (!in->states && !in->features)
        hg_plain_fail(r, HANGAR_E_USAGE, "the reference needs features or encoder states");
    if (r->code != HANGAR_OK) return;
    size_t keys = in->states_length;
    const double *states = NULL;
    if (in->states) {
        states = hg_plain_states(r, p.hidden, &keys);
    } else {
        states = encoder(r, &p, text, &keys);
        size_t count = text && in->rows ? in->row_count : keys;
        const size_t out[3] = {in->batch, count, p.hidden};
        const double *shown = text && in->rows ? pick(r, &p, states, in->rows, count) : states;
        hg_plain_give(r, "last_hidden_state", shown, 3, out);
    }
    if (text && keys) decoder(r, &p, states, keys);
}
