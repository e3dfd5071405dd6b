/* SPDX-License-Identifier: Apache-2.0 */
/*
 * T5 (Raffel et al.): encoder and decoder without positions; instead one table of biases by bucketed distance in each stack, which lies
 * in the first layer and serves all. Norms divide by the root mean square; scores are not divided by anything.
 *
 *   encoder layer   x = x + Attention(norm(x));  x = x + MLP(norm(x));  at the end norm(x)
 *   decoder layer   the same, causal, with x = x + Attention(norm(x), encoder) between the two
 *   MLP(x) = Wo act(Wi x), or Wo(act(Wi0 x) * Wi1 x)
 *   logits = E norm(x) * d^(-1/2) when the head is the table of words
 */
#include "convert/check/inner.h"

#include <stdio.h>
#include <string.h>

typedef struct pass {
    size_t hidden, heads, dim, inner, layers[2], buckets, farthest, vocab; /* layers: encoder, decoder */
    bool gated;
    hg_plain_act act;
    hg_plain_norm norm;
    const double *states;
    size_t keys;
    const int64_t *keys_mask;
} pass;

static const hg_plain_mha_names self_names = {
    "SelfAttention.q", "SelfAttention.k", "SelfAttention.v", "SelfAttention.o", false, false, false};
static const hg_plain_mha_names cross_names = {
    "EncDecAttention.q", "EncDecAttention.k", "EncDecAttention.v", "EncDecAttention.o", false, false, false};

static void read(hg_plain_state *r, pass *p)
{
    const char *feed = hg_plain_text(r, "feed_forward_proj", "relu");
    p->hidden = hg_plain_int(r, "d_model", HG_REF_NEEDED, 1);
    p->heads = hg_plain_int(r, "num_heads", HG_REF_NEEDED, 1);
    p->dim = hg_plain_int(r, "d_kv", 64, 1);
    p->inner = hg_plain_int(r, "d_ff", HG_REF_NEEDED, 1);
    p->layers[0] = hg_plain_int(r, "num_layers", HG_REF_NEEDED, 1);
    p->layers[1] = hg_plain_int(r, "num_decoder_layers", (int64_t)p->layers[0], 1);
    p->buckets = hg_plain_int(r, "relative_attention_num_buckets", 32, 4);
    p->farthest = hg_plain_int(r, "relative_attention_max_distance", 128, 2);
    p->vocab = hg_plain_int(r, "vocab_size", HG_REF_NEEDED, 1);
    p->norm = (hg_plain_norm){.rms = true, .eps = hg_plain_real(r, "layer_norm_epsilon", 1e-6)};
    p->gated = strncmp(feed, "gated-", 6) == 0;
    if (p->gated) feed += 6;
    if (p->gated && strcmp(feed, "gelu") == 0)
        feed = "gelu_new"; /* what "gated-gelu" has meant from the start */
    p->act = hg_plain_act_named(r, "feed_forward_proj", feed);
    if (p->farthest <= p->buckets / 2) {
        hg_plain_fail(r, HANGAR_E_UNSUPPORTED,
                      "config.json: the reference does not know so small a relative_attention_max_distance");
    }
}

static void feed(hg_plain_state *r, const pass *p, double *x, size_t rows, const char *at)
{
    const double *h = hg_plain_normalize(r, x, rows, p->hidden, &p->norm, at, "layer_norm");
    size_t count = rows * p->inner;
    double *g = hg_plain_project(r, h, rows, p->hidden, p->inner, false, at,
                                 p->gated ? "DenseReluDense.wi_0" : "DenseReluDense.wi");
    hg_plain_activate(r, g, count, p->act);
    if (p->gated) {
        hg_plain_multiply(r, g,
                          hg_plain_project(r, h, rows, p->hidden, p->inner, false, at, "DenseReluDense.wi_1"),
                          count);
    }
    g = hg_plain_project(r, g, rows, p->inner, p->hidden, false, at, "DenseReluDense.wo");
    hg_plain_add(r, x, g, rows * p->hidden, 1);
}

/* "decoder.block.3.layer.1." */
static void name(char *at, size_t size, bool decoder, size_t block, unsigned part)
{
    (void)snprintf(at, size, "%s.block.%zu.layer.%u.", decoder ? "decoder" : "encoder", block, part);
}

static void layer(hg_plain_state *r, const pass *p, double *x, size_t i, bool decoder, size_t length,
                  const int64_t *mask, const double *bias)
{
    size_t rows = r->in->batch * length, count = rows * p->hidden;
    char at[64];
    hg_plain_attention a = {.batch = r->in->batch,
                            .queries = length,
                            .keys = length,
                            .heads = p->heads,
                            .kv_heads = p->heads,
                            .dim = p->dim,
                            .scale = 1,
                            .causal = decoder,
                            .mask = mask,
                            .pair_bias = bias};
    name(at, sizeof at, decoder, i, 0);
    const double *h = hg_plain_normalize(r, x, rows, p->hidden, &p->norm, at, "layer_norm");
    hg_plain_add(r, x, hg_plain_mha(r, h, h, p->hidden, &a, &self_names, at), count, 1);
    if (decoder) {
        name(at, sizeof at, decoder, i, 1);
        a.causal = false;
        a.keys = p->keys;
        a.mask = p->keys_mask;
        a.pair_bias = NULL;
        h = hg_plain_normalize(r, x, rows, p->hidden, &p->norm, at, "layer_norm");
        hg_plain_add(r, x, hg_plain_mha(r, h, p->states, p->hidden, &a, &cross_names, at), count, 1);
    }
    name(at, sizeof at, decoder, i, decoder ? 2 : 1);
    feed(r, p, x, rows, at);
}

static double *run(hg_plain_state *r, const pass *p, bool decoder)
{
    const hg_ref_input *in = r->in;
    const char *base = decoder ? "decoder." : "encoder.";
    size_t length = decoder ? in->length : in->source_length, rows = in->batch * length;
    const int64_t *mask = decoder ? in->mask : in->source_mask;
    bool shared = hg_plain_has(r, "", "shared.weight");
    hg_plain_mat words =
        hg_plain_matrix(r, shared ? "" : base, shared ? "shared.weight" : "embed_tokens.weight", p->vocab,
                        p->hidden);
    hg_plain_mat table =
        hg_plain_matrix(r, base, "block.0.layer.0.SelfAttention.relative_attention_bias.weight", p->buckets,
                        p->heads);
    const double *bias = hg_plain_bucket_bias(r, table, length, length, !decoder, p->farthest);
    double *x = hg_plain_embed(r, decoder ? in->ids : in->source, rows, words, 1);
    size_t depth = hg_plain_depth(r, p->layers[decoder]);
    for (size_t i = 0; r->code == HANGAR_OK && i < depth; i++) {
        hg_plain_block *mark = r->blocks;
        layer(r, p, x, i, decoder, length, mask, bias);
        hg_plain_release(r, mark);
    }
    return hg_plain_normalize(r, x, rows, p->hidden, &p->norm, base, "final_layer_norm");
}

static void answer(hg_plain_state *r, const pass *p, double *x)
{
    const size_t shape[3] = {r->in->batch, r->in->length, p->vocab};
    const char *table =
        hg_plain_has(r, "", "shared.weight") ? "shared.weight" : "decoder.embed_tokens.weight";
    bool tied = hg_plain_tied(r, true, table, "lm_head.weight");
    bool scaled = hg_plain_flag(r, "scale_decoder_outputs", hg_plain_flag(r, "tie_word_embeddings", true));
    if (scaled) hg_plain_scale(r, x, r->in->batch * r->in->length * p->hidden, 1 / sqrt((double)p->hidden));
    hg_plain_mat w = hg_plain_matrix(r, "", tied ? table : "lm_head.weight", p->vocab, p->hidden);
    hg_plain_give(r, "logits", hg_plain_linear(r, x, r->in->batch * r->in->length, w, NULL), 3, shape);
}

/* The whole model, or one half of it. */
void hg_plain_t5(hg_plain_state *r, const char *model_type)
{
    pass p = {0};
    const hg_ref_input *in = r->in;
    (void)model_type;
    (void)hg_plain_head_key(r, 1U << HG_REF_GENERATE);
    read(r, &p);
    p.states = hg_plain_states(r, p.hidden, &p.keys);
    p.keys_mask = p.keys == in->source_length ? in->source_mask : NULL;
    if (r->code != HANGAR_OK) return;
    if (!in->states) {
        const size_t shape[3] = {in->batch, in->source_length, p.hidden};
        p.states = run(r, &p, false);
        hg_plain_give(r, "last_hidden_state", p.states, 3, shape);
    }
    if (in->ids && in->length) answer(r, &p, run(r, &p, true));
}
