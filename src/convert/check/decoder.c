/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoder-only language models: one pass for all of them, in the order of the papers' equations.
 *
 *   x = E[token] (+ P[position])
 *   per layer   x = x + Attention(norm(x));  x = x + MLP(norm(x))          (pre-norm: GPT-2, Llama, ...)
 *               x = x + Attention(norm(x)) + MLP(norm'(x))                 (parallel: GPT-NeoX, Falcon, Phi)
 *               x = x + norm(Attention(x));  x = x + norm(MLP(x))          (OLMo 2; Gemma 2 and 3 norm on both sides)
 *               x = norm(x + Attention(x));  x = norm(x + MLP(x))          (the smallest OPT)
 *   logits = W_head norm(x)
 */
#include "convert/check/decoder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct pass {
    const hg_plain_decoder_config *c;
    size_t rows; /* batch * length */
    const int64_t *positions;
    hg_plain_rope rope, local_rope;
    const double *alibi; /* [batch][heads][length] */
    char at[64];         /* "model.layers.3." */
    size_t layer;
} pass;

/* What a bfloat16 keeps of a number. */
static double as_bf16(double x)
{
    float f = (float)x;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000U;
    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

/*
 * ALiBi (Press et al.): head h adds slope_h * position of the key. The slopes are 2^(-8/n), 2^(-16/n), ... for n = the highest power
 * of two that is at most the number of heads; further heads take every other slope of 2n. Falcon counts positions without padding and
 * keeps slopes and products in bfloat16, which its weights were trained with.
 */
static double *alibi(hg_plain_state *r, size_t heads)
{
    const hg_ref_input *in = r->in;
    double *bias = hg_plain_array_new(r, in->batch * heads, in->length);
    size_t n = 1;
    while (2 * n <= heads) n *= 2;
    for (size_t i = 0; hg_plain_go(r) && i < in->batch * heads; i++) {
        size_t b = i / heads, h = i % heads;
        double power = h < n ? (double)(h + 1) * 8 / (double)n : (double)(2 * (h - n) + 1) * 4 / (double)n;
        double slope = as_bf16(exp2(-power)), position = -1;
        for (size_t j = 0; j < in->length; j++) {
            bool token = !in->mask || in->mask[b * in->length + j];
            position += token;
            bias[i * in->length + j] = token ? as_bf16(slope * as_bf16(position)) : 0;
        }
    }
    return bias;
}

/* A linear map, whichever way its weight lies. */
static double *map(hg_plain_state *r, const pass *p, const double *x, size_t in, size_t out, bool bias,
                   const char *name)
{
    char full[HG_REF_NAME_MAX];
    if (!p->c->turned) return hg_plain_project(r, x, p->rows, in, out, bias, p->at, name);
    (void)snprintf(full, sizeof full, "%s.weight", name);
    hg_plain_mat w = hg_plain_matrix(r, p->at, full, in, out);
    (void)snprintf(full, sizeof full, "%s.bias", name);
    return hg_plain_linear_turned(r, x, p->rows, w, bias ? hg_plain_vector(r, p->at, full, out) : NULL);
}

/* Takes q, k and v out of their packed rows. */
static void unpack(hg_plain_state *r, const pass *p, const double *packed, double **q, double **k, double **v)
{
    const hg_plain_decoder_config *c = p->c;
    size_t d = c->head_dim, share = c->heads / c->kv_heads, all = (c->heads + 2 * c->kv_heads) * d;
    *q = hg_plain_array_new(r, p->rows, c->heads * d);
    *k = hg_plain_array_new(r, p->rows, c->kv_heads * d);
    *v = hg_plain_array_new(r, p->rows, c->kv_heads * d);
    for (size_t i = 0; hg_plain_go(r) && i < p->rows * c->kv_heads; i++) {
        size_t t = i / c->kv_heads, g = i % c->kv_heads;
        const double *row = packed + t * all, *qs = row + g * share * d;
        const double *ks = row + (c->heads + g) * d, *vs = ks + c->kv_heads * d;
        if (c->pack == HG_REF_GROUPS) {
            qs = row + g * (share + 2) * d;
            ks = qs + share * d;
            vs = ks + d;
        }
        memcpy(*q + (t * c->heads + g * share) * d, qs, share * d * sizeof *qs);
        memcpy(*k + i * d, ks, d * sizeof *ks);
        memcpy(*v + i * d, vs, d * sizeof *vs);
    }
}

/* Norms of queries or keys: over each head, or over all heads at once. */
static double *head_norm(hg_plain_state *r, const pass *p, const double *x, size_t heads, const char *name)
{
    size_t d = p->c->head_dim;
    if (!name) return (double *)(uintptr_t)x;
    if (p->c->qk_whole) return hg_plain_normalize(r, x, p->rows, heads * d, &p->c->qk_norm, p->at, name);
    return hg_plain_normalize(r, x, p->rows * heads, d, &p->c->qk_norm, p->at, name);
}

/* W_o softmax(scale Q K^T) V */
static double *attention(hg_plain_state *r, const pass *p, const double *x)
{
    const hg_plain_decoder_config *c = p->c;
    const hg_plain_decoder_layer *layer = &c->layer[p->layer];
    size_t d = c->head_dim, wide = c->heads * d, narrow = c->kv_heads * d;
    double *q, *k, *v;
    if (c->names.qkv) {
        unpack(r, p, map(r, p, x, c->hidden, wide + 2 * narrow, c->qkv_bias, c->names.qkv), &q, &k, &v);
    } else {
        q = map(r, p, x, c->hidden, wide, c->qkv_bias, c->names.q);
        k = map(r, p, x, c->hidden, narrow, c->qkv_bias, c->names.k);
        v = map(r, p, x, c->hidden, narrow, c->qkv_bias, c->names.v);
    }
    q = head_norm(r, p, q, c->heads, c->names.q_norm);
    k = head_norm(r, p, k, c->kv_heads, c->names.k_norm);
    if (layer->rotary) {
        const hg_plain_rope *rope = c->two_ropes && layer->local ? &p->local_rope : &p->rope;
        hg_plain_rotate(r, q, p->rows, c->heads, d, rope, p->positions);
        hg_plain_rotate(r, k, p->rows, c->kv_heads, d, rope, p->positions);
    }
    hg_plain_attention a = {.batch = r->in->batch,
                            .queries = r->in->length,
                            .keys = r->in->length,
                            .heads = c->heads,
                            .kv_heads = c->kv_heads,
                            .dim = d,
                            .scale = c->scale_by_layer ? c->scale / (double)(p->layer + 1) : c->scale,
                            .cap = c->score_cap,
                            .causal = true,
                            .window = layer->local ? c->window : 0,
                            .mask = r->in->mask,
                            .key_bias = p->alibi};
    return map(r, p, hg_plain_attend(r, q, k, v, &a), wide, c->hidden, c->o_bias, c->names.o);
}

/* W_down(act(W_gate x) * W_up x), or W_down act(W_up x), or the experts */
static double *mlp(hg_plain_state *r, const pass *p, const double *x)
{
    const hg_plain_decoder_config *c = p->c;
    const hg_plain_names *n = &c->names;
    size_t count = p->rows * c->inner;
    if (c->layer[p->layer].experts) return hg_plain_mix(r, x, p->rows, c->hidden, &c->moe, p->at);
    double *g, *u = NULL;
    if (n->gate_up) {
        hg_plain_mat w = hg_plain_matrix(r, p->at, "mlp.gate_up_proj.weight", 2 * c->inner, c->hidden);
        g = hg_plain_linear(r, x, p->rows, hg_plain_mat_part(w, 0, c->inner), NULL);
        u = hg_plain_linear(r, x, p->rows, hg_plain_mat_part(w, c->inner, c->inner), NULL);
    } else if (n->gate) {
        g = map(r, p, x, c->hidden, c->inner, c->mlp_bias, n->gate);
        u = map(r, p, x, c->hidden, c->inner, c->mlp_bias, n->up);
    } else {
        g = map(r, p, x, c->hidden, c->inner, c->mlp_bias, n->up);
    }
    hg_plain_activate(r, g, count, c->act);
    if (n->gate || n->gate_up) hg_plain_multiply(r, g, u, count);
    return map(r, p, g, c->inner, c->hidden, c->mlp_bias, n->down);
}

/* norm(x) where the family has one of that name, else x */
static double *normed(hg_plain_state *r, const pass *p, double *x, const char *name)
{
    return name ? hg_plain_normalize(r, x, p->rows, p->c->hidden, &p->c->norm, p->at, name) : x;
}

/* One layer: x is changed. */
static void layer(hg_plain_state *r, const pass *p, double *x)
{
    const hg_plain_decoder_config *c = p->c;
    const hg_plain_names *n = &c->names;
    size_t count = p->rows * c->hidden;
    if (c->norm_behind) {
        hg_plain_add(r, x, attention(r, p, x), count, 1);
        const double *a = normed(r, p, x, n->attention_in);
        if (hg_plain_go(r)) memcpy(x, a, count * sizeof *x);
        hg_plain_add(r, x, mlp(r, p, a), count, 1);
        const double *b = normed(r, p, x, n->mlp_in);
        if (hg_plain_go(r)) memcpy(x, b, count * sizeof *x);
        return;
    }
    double *h = normed(r, p, x, n->attention_in);
    double *a = normed(r, p, attention(r, p, h), n->attention_out);
    if (c->parallel) {
        if (c->own_mlp_norm) h = normed(r, p, x, n->mlp_in);
        const double *m = mlp(r, p, h);
        hg_plain_add(r, x, a, count, 1);
        hg_plain_add(r, x, m, count, 1);
        return;
    }
    hg_plain_add(r, x, a, count, c->residual);
    double *m = normed(r, p, mlp(r, p, normed(r, p, x, n->mlp_in)), n->mlp_out);
    hg_plain_add(r, x, m, count, c->residual);
}

/* OPT counts positions over the tokens that are not padding, from -1 for leading padding on. */
static const int64_t *masked_positions(hg_plain_state *r)
{
    const hg_ref_input *in = r->in;
    int64_t *p = (int64_t *)hg_plain_bytes_new(r, in->batch * in->length, sizeof *p);
    for (size_t b = 0; hg_plain_go(r) && b < in->batch; b++) {
        int64_t seen = 0;
        for (size_t t = 0; t < in->length; t++) {
            int64_t token = !in->mask || in->mask[b * in->length + t];
            seen += token;
            p[b * in->length + t] = seen * token - 1;
        }
    }
    return p;
}

/* x = E[token] * scale (projected, where the table is narrower) + P[position] */
static double *embed(hg_plain_state *r, pass *p)
{
    const hg_plain_decoder_config *c = p->c;
    char name[HG_REF_NAME_MAX];
    (void)snprintf(name, sizeof name, "%s.weight", c->names.embed);
    hg_plain_mat table = hg_plain_matrix(r, "", name, c->vocab, c->embed_width);
    double *x = hg_plain_embed(r, r->in->ids, p->rows, table, c->embed_scale);
    if (c->embed_width != c->hidden) {
        x = hg_plain_project(r, x, p->rows, c->embed_width, c->hidden, false, "model.decoder.", "project_in");
    }
    if (!c->position_table) return x;
    bool opt = c->position_masked;
    hg_plain_mat learned =
        hg_plain_matrix(r, "", opt ? "model.decoder.embed_positions.weight" : "transformer.wpe.weight",
                        c->positions + (size_t)c->position_add, c->hidden);
    int64_t *shifted = (int64_t *)hg_plain_bytes_new(r, p->rows, sizeof *shifted);
    for (size_t t = 0; hg_plain_go(r) && t < p->rows; t++) shifted[t] = p->positions[t] + c->position_add;
    hg_plain_add(r, x, hg_plain_embed(r, shifted, p->rows, learned, 1), p->rows * c->hidden, 1);
    return x;
}

/* logits = cap tanh(W_head x / divisor / cap) */
static void answer(hg_plain_state *r, const pass *p, double *x)
{
    const hg_plain_decoder_config *c = p->c;
    const size_t shape[3] = {r->in->batch, r->in->length, c->vocab};
    char table[HG_REF_NAME_MAX], head[HG_REF_NAME_MAX];
    (void)snprintf(table, sizeof table, "%s.weight", c->names.embed);
    (void)snprintf(head, sizeof head, "%s.weight", c->names.head);
    bool tied = hg_plain_tied(r, c->tied, table, head);
    hg_plain_mat w = hg_plain_matrix(r, "", tied ? table : head, c->vocab, c->embed_width);
    const double *b = c->head_bias ? hg_plain_vector(r, "", "lm_head.bias", c->vocab) : NULL;
    double *logits = hg_plain_linear(r, x, p->rows, w, b);
    hg_plain_scale(r, logits, p->rows * c->vocab, 1 / c->logits_divisor);
    if (c->logits_cap > 0) hg_plain_softcap(r, logits, p->rows * c->vocab, c->logits_cap);
    hg_plain_give(r, "logits", logits, 3, shape);
}

static void run(hg_plain_state *r, pass *p, hg_plain_decoder_config *c, hg_plain_head head)
{
    size_t depth = hg_plain_depth(r, c->layers);
    p->rows = r->in->batch * r->in->length;
    p->positions = c->position_masked && !r->in->positions ? masked_positions(r) : hg_plain_positions(r);
    c->rope.length = c->local_rope.length = hg_plain_reach(r, p->positions, p->rows);
    if (c->rope.theta > 0 && !c->alibi) p->rope = hg_plain_rope_read(r, &c->rope);
    if (c->two_ropes) p->local_rope = hg_plain_rope_read(r, &c->local_rope);
    if (c->alibi) p->alibi = alibi(r, c->heads);
    double *x = embed(r, p);
    for (size_t i = 0; r->code == HANGAR_OK && i < depth; i++) {
        hg_plain_block *mark = r->blocks;
        p->layer = i;
        (void)snprintf(p->at, sizeof p->at, c->names.layer, i);
        layer(r, p, x);
        hg_plain_release(r, mark);
    }
    const size_t shape[3] = {r->in->batch, r->in->length, c->embed_width};
    if (!c->final_missing) {
        x = hg_plain_normalize(r, x, p->rows, c->hidden, &c->final_norm, "", c->names.final);
    }
    if (c->embed_width != c->hidden) {
        x = hg_plain_project(r, x, p->rows, c->hidden, c->embed_width, false, "model.decoder.",
                             "project_out");
    }
    hg_plain_give(r, "last_hidden_state", x, 3, shape);
    if (head == HG_REF_CAUSAL) answer(r, p, x);
}

/* The whole model. */
void hg_plain_decoder(hg_plain_state *r, const char *model_type)
{
    hg_plain_decoder_config *c = calloc(1, sizeof *c);
    if (!c) {
        r->code = hg_fail_memory(r->err);
        return;
    }
    hg_plain_need_ids(r);
    hg_plain_head head = hg_plain_head_key(r, 1U << HG_REF_BARE | 1U << HG_REF_CAUSAL);
    hg_plain_decoder_read(r, model_type, c);
    r->base = c->names.base;
    pass p = {.c = c};
    if (r->code == HANGAR_OK) run(r, &p, c, head);
    free(c);
}
