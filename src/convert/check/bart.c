/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BART (Lewis et al.) and Marian (Junczys-Dowmunt et al.): the first Transformer, norms behind the sublayers.
 *
 *   x = E[token] * scale + P[position];  BART: norm(x)
 *   encoder layer   x = norm(x + Attention(x));  x = norm(x + W2 act(W1 x))
 *   decoder layer   x = norm(x + Attention(x)), causal;  x = norm(x + Attention(x, encoder));  x = norm(x + W2 act(W1 x))
 *   logits = E x + b
 *
 * BART learns positions, with two rows before the first; Marian's are sines (first half) and cosines (second half).
 */
#include "convert/check/inner.h"

#include <stdio.h>
#include <string.h>

typedef struct stack {
    const char *at; /* "model.encoder." */
    size_t layers, heads, inner, vocab, length;
    const int64_t *ids, *mask;
} stack;

typedef struct pass {
    bool marian;
    size_t hidden, places;
    double embed_scale;
    hg_plain_act act;
    stack encoder, decoder;
    const double *states; /* [batch * keys][hidden] */
    size_t keys;
    const int64_t *keys_mask;
} pass;

static const hg_plain_norm norm = {.bias = true, .eps = 1e-5};
static const hg_plain_mha_names self_names = {
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", true, false, false};
static const hg_plain_mha_names cross_names = {"encoder_attn.q_proj",
                                               "encoder_attn.k_proj",
                                               "encoder_attn.v_proj",
                                               "encoder_attn.out_proj",
                                               true,
                                               false,
                                               false};

static void read(hg_plain_state *r, pass *p)
{
    const hg_ref_input *in = r->in;
    size_t vocab = hg_plain_int(r, "vocab_size", HG_REF_NEEDED, 1);
    p->hidden = hg_plain_int(r, "d_model", HG_REF_NEEDED, 1);
    p->places = hg_plain_int(r, "max_position_embeddings", 1024, 1);
    p->embed_scale = hg_plain_flag(r, "scale_embedding", false) ? sqrt((double)p->hidden) : 1;
    p->act = hg_plain_act_key(r, "activation_function", "gelu");
    p->encoder = (stack){.at = "model.encoder.",
                         .layers = hg_plain_int(r, "encoder_layers", HG_REF_NEEDED, 1),
                         .heads = hg_plain_int(r, "encoder_attention_heads", HG_REF_NEEDED, 1),
                         .inner = hg_plain_int(r, "encoder_ffn_dim", HG_REF_NEEDED, 1),
                         .vocab = vocab,
                         .length = in->source_length,
                         .ids = in->source,
                         .mask = in->source_mask};
    p->decoder =
        (stack){.at = "model.decoder.",
                .layers = hg_plain_int(r, "decoder_layers", HG_REF_NEEDED, 1),
                .heads = hg_plain_int(r, "decoder_attention_heads", HG_REF_NEEDED, 1),
                .inner = hg_plain_int(r, "decoder_ffn_dim", HG_REF_NEEDED, 1),
                .vocab = p->marian ? hg_plain_int(r, "decoder_vocab_size", (int64_t)vocab, 1) : vocab,
                .length = in->length,
                .ids = in->ids,
                .mask = in->mask};
    if (p->hidden % p->encoder.heads || p->hidden % p->decoder.heads) {
        hg_plain_fail(r, HANGAR_E_INVALID, "config.json: d_model is no multiple of the attention heads");
    }
    hg_plain_refuse(r, "normalize_before");
    hg_plain_refuse(r, "add_final_layer_norm");
}

/* The table of one stack: its own, the shared one, or, in a file without either, that of the other stack. */
static hg_plain_mat table_of(hg_plain_state *r, const pass *p, const stack *s)
{
    const char *own = "embed_tokens.weight", *other = s == &p->encoder ? p->decoder.at : p->encoder.at;
    if (hg_plain_has(r, s->at, own)) return hg_plain_matrix(r, s->at, own, s->vocab, p->hidden);
    bool shared = hg_plain_has(r, "model.", "shared.weight") || !hg_plain_has(r, other, own);
    return hg_plain_matrix(r, shared ? "model." : other, shared ? "shared.weight" : own, s->vocab, p->hidden);
}

/* x += P[position] */
static void add_positions(hg_plain_state *r, const pass *p, const stack *s, double *x)
{
    size_t d = p->hidden, rows = r->in->batch * s->length;
    if (!p->marian) {
        hg_plain_mat table = hg_plain_matrix(r, s->at, "embed_positions.weight", p->places + 2, d);
        int64_t *at = (int64_t *)hg_plain_bytes_new(r, rows, sizeof *at);
        for (size_t t = 0; hg_plain_go(r) && t < rows; t++) at[t] = (int64_t)(t % s->length) + 2;
        hg_plain_add(r, x, hg_plain_embed(r, at, rows, table, 1), rows * d, 1);
        return;
    }
    for (size_t t = 0; hg_plain_go(r) && t < rows; t++) {
        double position = (double)(t % s->length);
        size_t sines = (d + 1) / 2;
        for (size_t i = 0; i < sines; i++) {
            double angle = position / pow(10000, 2.0 * (double)i / (double)d);
            x[t * d + i] += sin(angle);
            if (sines + i < d) x[t * d + sines + i] += cos(angle);
        }
    }
}

static double *embed(hg_plain_state *r, const pass *p, const stack *s)
{
    size_t rows = r->in->batch * s->length;
    double *x = hg_plain_embed(r, s->ids, rows, table_of(r, p, s), p->embed_scale);
    add_positions(r, p, s, x);
    if (p->marian) return x;
    return hg_plain_normalize(r, x, rows, p->hidden, &norm, s->at, "layernorm_embedding");
}

/* x = norm(x + y) */
static void join(hg_plain_state *r, const pass *p, double *x, const double *y, size_t rows, const char *at,
                 const char *name)
{
    hg_plain_add(r, x, y, rows * p->hidden, 1);
    const double *n = hg_plain_normalize(r, x, rows, p->hidden, &norm, at, name);
    if (hg_plain_go(r)) memcpy(x, n, rows * p->hidden * sizeof *x);
}

static void layer(hg_plain_state *r, const pass *p, const stack *s, double *x, const char *at)
{
    size_t rows = r->in->batch * s->length, d = p->hidden;
    bool decoder = s == &p->decoder;
    hg_plain_attention a = {.batch = r->in->batch,
                            .queries = s->length,
                            .keys = s->length,
                            .heads = s->heads,
                            .kv_heads = s->heads,
                            .dim = d / s->heads,
                            .scale = 1 / sqrt((double)(d / s->heads)),
                            .causal = decoder,
                            .mask = s->mask};
    join(r, p, x, hg_plain_mha(r, x, x, d, &a, &self_names, at), rows, at, "self_attn_layer_norm");
    if (decoder) {
        a.causal = false;
        a.keys = p->keys;
        a.mask = p->keys_mask;
        join(r, p, x, hg_plain_mha(r, x, p->states, d, &a, &cross_names, at), rows, at,
             "encoder_attn_layer_norm");
    }
    join(r, p, x, hg_plain_mlp(r, x, rows, d, s->inner, p->act, true, at, "fc1", "fc2"), rows, at,
         "final_layer_norm");
}

static double *run(hg_plain_state *r, const pass *p, const stack *s)
{
    double *x = embed(r, p, s);
    size_t depth = hg_plain_depth(r, s->layers);
    for (size_t i = 0; r->code == HANGAR_OK && i < depth; i++) {
        hg_plain_block *mark = r->blocks;
        char at[64];
        (void)snprintf(at, sizeof at, "%slayers.%zu.", s->at, i);
        layer(r, p, s, x, at);
        hg_plain_release(r, mark);
    }
    return x;
}

static void answer(hg_plain_state *r, const pass *p, const double *x)
{
    const size_t shape[3] = {r->in->batch, r->in->length, p->decoder.vocab};
    hg_plain_mat w = table_of(r, p, &p->decoder);
    const char *shared = hg_plain_has(r, "", "model.shared.weight") ? "model.shared.weight"
                                                                    : "model.decoder.embed_tokens.weight";
    if (!hg_plain_tied(r, true, shared, "lm_head.weight")) {
        w = hg_plain_matrix(r, "", "lm_head.weight", p->decoder.vocab, p->hidden);
    }
    const double *b = hg_plain_has(r, "", "final_logits_bias")
                          ? hg_plain_vector(r, "", "final_logits_bias", p->decoder.vocab)
                          : NULL;
    hg_plain_give(r, "logits", hg_plain_linear(r, x, r->in->batch * r->in->length, w, b), 3, shape);
}

/* The whole model, or one half of it. */
void hg_plain_bart(hg_plain_state *r, const char *model_type)
{
    pass p = {.marian = strcmp(model_type, "marian") == 0};
    const hg_ref_input *in = r->in;
    (void)hg_plain_head_key(r, 1U << HG_REF_GENERATE);
    r->base = "model.";
    read(r, &p);
    p.states = hg_plain_states(r, p.hidden, &p.keys);
    p.keys_mask = p.keys == in->source_length ? in->source_mask : NULL;
    if (r->code != HANGAR_OK) return;
    if (!in->states) {
        const size_t shape[3] = {in->batch, in->source_length, p.hidden};
        p.states = run(r, &p, &p.encoder);
        hg_plain_give(r, "last_hidden_state", p.states, 3, shape);
    }
    if (in->ids && in->length) answer(r, &p, run(r, &p, &p.decoder));
}
