/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ModernBERT (Warner et al.): an encoder with rotary positions, a gated MLP, and layers that look only at their surroundings.
 *
 *   x = norm(E[token])
 *   per layer   x = x + Attention(norm(x));  x = x + Wo(act(a) * b), (a, b) = Wi norm(x)          (layer 0 has no first norm)
 *   x = norm(x)
 */
#include "convert/check/inner.h"

#include <stdio.h>
#include <string.h>

#define LAYERS_MAX 1024

typedef struct pass {
    size_t rows, hidden, layers, inner, heads;
    bool attention_bias, mlp_bias, local[LAYERS_MAX];
    hg_plain_act act;
    hg_plain_norm norm;
    hg_plain_rope full, near;
    hg_plain_attention attention;
    size_t around;
    const int64_t *positions;
} pass;

/* layer_types, or every n-th layer full. */
static void read_layers(hg_plain_state *r, pass *p)
{
    const hg_jval *list = hg_plain_key(r, "layer_types");
    size_t every = hg_plain_int(r, "global_attn_every_n_layers", 3, 1);
    for (size_t i = 0; i < p->layers; i++) p->local[i] = i % every != 0;
    if (list && hg_json_len(list) < p->layers) {
        hg_plain_fail(r, HANGAR_E_INVALID, "config.json: layer_types is shorter than num_hidden_layers");
    }
    for (hg_json_iter it = hg_json_iter_of(list); hg_json_next(&it) && it.index < p->layers;) {
        const char *text = hg_json_text_or(it.val, "");
        p->local[it.index] = strcmp(text, "sliding_attention") == 0;
        if (!p->local[it.index] && strcmp(text, "full_attention") != 0) {
            hg_plain_fail(r, HANGAR_E_UNSUPPORTED,
                          "config.json: the reference does not know layer_types \"%s\"", text);
        }
    }
}

static void read(hg_plain_state *r, pass *p)
{
    p->rows = r->in->batch * r->in->length;
    p->hidden = hg_plain_int(r, "hidden_size", HG_REF_NEEDED, 1);
    p->layers = hg_plain_int(r, "num_hidden_layers", HG_REF_NEEDED, 1);
    p->inner = hg_plain_int(r, "intermediate_size", HG_REF_NEEDED, 1);
    p->heads = hg_plain_int(r, "num_attention_heads", HG_REF_NEEDED, 1);
    p->attention_bias = hg_plain_flag(r, "attention_bias", false);
    p->mlp_bias = hg_plain_flag(r, "mlp_bias", false);
    p->act = hg_plain_act_key(r, "hidden_activation", "gelu");
    p->norm = (hg_plain_norm){.bias = hg_plain_flag(r, "norm_bias", false),
                              .eps = hg_plain_real(r, "norm_eps", 1e-5)};
    p->around = hg_plain_int(r, "local_attention", 128, 2) / 2;
    if (p->layers > LAYERS_MAX || p->hidden % p->heads) {
        hg_plain_fail(r, HANGAR_E_INVALID, "config.json: num_hidden_layers or num_attention_heads");
        return;
    }
    read_layers(r, p);
    p->attention = (hg_plain_attention){.batch = r->in->batch,
                                        .queries = r->in->length,
                                        .keys = r->in->length,
                                        .heads = p->heads,
                                        .kv_heads = p->heads,
                                        .dim = p->hidden / p->heads,
                                        .scale = 1 / sqrt((double)(p->hidden / p->heads)),
                                        .mask = r->in->mask};
    p->positions = hg_plain_positions(r);
    hg_plain_rope_ask ask = {.layer_type = "full_attention",
                             .theta_key = "global_rope_theta",
                             .theta = 160000,
                             .scaled = true,
                             .head_dim = p->attention.dim,
                             .length = hg_plain_reach(r, p->positions, p->rows)};
    p->full = hg_plain_rope_read(r, &ask);
    /* local_rope_theta null: as the global one */
    bool same = hg_json_get(r->config, "local_rope_theta") && !hg_plain_key(r, "local_rope_theta");
    ask.layer_type = "sliding_attention";
    ask.theta_key = same ? "global_rope_theta" : "local_rope_theta";
    ask.theta = same ? 160000 : 10000;
    ask.scaled = false;
    p->near = hg_plain_rope_read(r, &ask);
}

/* Wo softmax(q k / sqrt(d)) v, q k v in three blocks of rows of Wqkv */
static double *attention(hg_plain_state *r, const pass *p, const double *x, size_t i, const char *at)
{
    size_t d = p->hidden;
    const hg_plain_rope *rope = p->local[i] ? &p->near : &p->full;
    hg_plain_mat w = hg_plain_matrix(r, at, "attn.Wqkv.weight", 3 * d, d);
    const double *b = p->attention_bias ? hg_plain_vector(r, at, "attn.Wqkv.bias", 3 * d) : NULL;
    double *qkv[3];
    for (size_t n = 0; n < 3; n++) {
        qkv[n] = hg_plain_linear(r, x, p->rows, hg_plain_mat_part(w, n * d, d), b ? b + n * d : NULL);
    }
    hg_plain_rotate(r, qkv[0], p->rows, p->heads, p->attention.dim, rope, p->positions);
    hg_plain_rotate(r, qkv[1], p->rows, p->heads, p->attention.dim, rope, p->positions);
    hg_plain_attention a = p->attention;
    a.around = p->local[i] ? p->around : 0;
    double *y = hg_plain_attend(r, qkv[0], qkv[1], qkv[2], &a);
    return hg_plain_project(r, y, p->rows, d, d, p->attention_bias, at, "attn.Wo");
}

static double *mlp(hg_plain_state *r, const pass *p, const double *x, const char *at)
{
    hg_plain_mat w = hg_plain_matrix(r, at, "mlp.Wi.weight", 2 * p->inner, p->hidden);
    const double *b = p->mlp_bias ? hg_plain_vector(r, at, "mlp.Wi.bias", 2 * p->inner) : NULL;
    double *u = hg_plain_linear(r, x, p->rows, hg_plain_mat_part(w, 0, p->inner), b);
    double *g =
        hg_plain_linear(r, x, p->rows, hg_plain_mat_part(w, p->inner, p->inner), b ? b + p->inner : NULL);
    hg_plain_activate(r, u, p->rows * p->inner, p->act);
    hg_plain_multiply(r, u, g, p->rows * p->inner);
    return hg_plain_project(r, u, p->rows, p->inner, p->hidden, p->mlp_bias, at, "mlp.Wo");
}

/* The mean over the tokens of each sequence that are not padding. */
static double *mean(hg_plain_state *r, const pass *p, const double *x)
{
    double *y = hg_plain_array_new(r, r->in->batch, p->hidden);
    for (size_t b = 0; hg_plain_go(r) && b < r->in->batch; b++) {
        double count = 0;
        for (size_t t = b * r->in->length; t < (b + 1) * r->in->length; t++) {
            if (r->in->mask && !r->in->mask[t]) continue;
            count++;
            for (size_t i = 0; i < p->hidden; i++) y[b * p->hidden + i] += x[t * p->hidden + i];
        }
        for (size_t i = 0; i < p->hidden; i++) y[b * p->hidden + i] /= count;
    }
    return y;
}

/* Heads: norm(act(W x)) comes before each classifier. */
static void finish(hg_plain_state *r, const pass *p, double *x, hg_plain_head head)
{
    const char *pooling = hg_plain_text(r, "classifier_pooling", "cls");
    hg_plain_heads h = {.hidden = p->hidden,
                        .vocab = hg_plain_int(r, "vocab_size", HG_REF_NEEDED, 1),
                        .words = "model.embeddings.tok_embeddings.weight",
                        .lm_dense = "head.dense",
                        .lm_norm = "head.norm",
                        .lm_decoder = "decoder",
                        .dense_free = !hg_plain_flag(r, "classifier_bias", false),
                        .decoder_free = !hg_plain_flag(r, "decoder_bias", true),
                        .lm_act = hg_plain_act_key(r, "classifier_activation", "gelu"),
                        .norm = p->norm};
    if (head == HG_REF_BARE || head == HG_REF_MASKED) {
        hg_plain_finish(r, x, head, &h);
        return;
    }
    size_t rows = head == HG_REF_SEQUENCE ? r->in->batch : p->rows;
    if (head == HG_REF_SEQUENCE && strcmp(pooling, "cls") == 0) x = hg_plain_first(r, x, p->hidden);
    else if (head == HG_REF_SEQUENCE && strcmp(pooling, "mean") == 0) x = mean(r, p, x);
    else if (head == HG_REF_SEQUENCE) {
        hg_plain_fail(r, HANGAR_E_UNSUPPORTED,
                      "config.json: the reference does not know this classifier_pooling");
    }
    x = hg_plain_project(r, x, rows, p->hidden, p->hidden, !h.dense_free, "", h.lm_dense);
    hg_plain_activate(r, x, rows * p->hidden, h.lm_act);
    x = hg_plain_normalize(r, x, rows, p->hidden, &p->norm, "", h.lm_norm);
    hg_plain_classify(r, x, head != HG_REF_SEQUENCE, head == HG_REF_QUESTION, p->hidden, true, "classifier");
}

static void layer(hg_plain_state *r, const pass *p, double *x, size_t i)
{
    char at[64];
    (void)snprintf(at, sizeof at, "model.layers.%zu.", i);
    const double *h = i ? hg_plain_normalize(r, x, p->rows, p->hidden, &p->norm, at, "attn_norm") : x;
    hg_plain_add(r, x, attention(r, p, h, i, at), p->rows * p->hidden, 1);
    h = hg_plain_normalize(r, x, p->rows, p->hidden, &p->norm, at, "mlp_norm");
    hg_plain_add(r, x, mlp(r, p, h, at), p->rows * p->hidden, 1);
}

/* The whole model. */
void hg_plain_modernbert(hg_plain_state *r, const char *model_type)
{
    pass p = {0};
    (void)model_type;
    hg_plain_head head =
        hg_plain_head_key(r, 1U << HG_REF_BARE | 1U << HG_REF_MASKED | 1U << HG_REF_SEQUENCE |
                                 1U << HG_REF_TOKEN | 1U << HG_REF_QUESTION);
    r->base = "model.";
    hg_plain_need_ids(r);
    if (r->code == HANGAR_OK) read(r, &p);
    if (r->code != HANGAR_OK) return;
    size_t depth = hg_plain_depth(r, p.layers), vocab = hg_plain_int(r, "vocab_size", HG_REF_NEEDED, 1);
    hg_plain_mat words = hg_plain_matrix(r, "model.", "embeddings.tok_embeddings.weight", vocab, p.hidden);
    double *x = hg_plain_embed(r, r->in->ids, p.rows, words, 1);
    x = hg_plain_normalize(r, x, p.rows, p.hidden, &p.norm, "model.", "embeddings.norm");
    for (size_t i = 0; r->code == HANGAR_OK && i < depth; i++) {
        hg_plain_block *mark = r->blocks;
        layer(r, &p, x, i);
        hg_plain_release(r, mark);
    }
    finish(r, &p, hg_plain_normalize(r, x, p.rows, p.hidden, &p.norm, "model.", "final_norm"), head);
}
