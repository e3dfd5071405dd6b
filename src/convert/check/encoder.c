/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The encoders that are BERT (Devlin et al.) under several names: RoBERTa, XLM-RoBERTa, DistilBERT, MPNet.
 *
 *   x = LayerNorm(E[token] + P[position] + T[type])
 *   per layer   x = LayerNorm(x + Attention(x));  x = LayerNorm(x + W2 act(W1 x))
 *
 * RoBERTa counts positions from pad + 1 over what is not padding. MPNet has no types, and adds one table of distance biases to the
 * scores of all layers. DistilBERT has no types and no pooler.
 */
#include "convert/check/inner.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

typedef struct family {
    const char *type, *base, *words, *places, *kinds, *embed_norm, *layer;
    hg_plain_mha_names mha;
    const char *attention_norm, *up, *down, *mlp_norm;
    const char *hidden_key, *layers_key, *heads_key, *inner_key, *act_key;
    double eps;     /* of DistilBERT's norms, which no key says; 0: the key layer_norm_eps */
    bool pad_count; /* positions as RoBERTa has them */
    bool fixed_pad; /* with padding 1, whatever the config says (MPNet) */
    hg_plain_heads heads;
} family;

#define BERT_LIKE(model)                                                                                    \
    .type = model, .words = "embeddings.word_embeddings.weight",                                            \
    .places = "embeddings.position_embeddings.weight", .kinds = "embeddings.token_type_embeddings.weight",  \
    .embed_norm = "embeddings.LayerNorm", .layer = "encoder.layer.%zu.",                                    \
    .mha = {"attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense", \
            .bias = true},                                                                                  \
    .attention_norm = "attention.output.LayerNorm", .up = "intermediate.dense", .down = "output.dense",     \
    .mlp_norm = "output.LayerNorm", .hidden_key = "hidden_size", .layers_key = "num_hidden_layers",         \
    .heads_key = "num_attention_heads", .inner_key = "intermediate_size", .act_key = "hidden_act"

#define ROBERTA_HEADS(prefix)                                \
    .heads = {                                               \
        .pooler = prefix "pooler.dense",                     \
        .seq_dense = "classifier.dense",                     \
        .seq_act = HG_REF_TANH,                              \
        .words = prefix "embeddings.word_embeddings.weight", \
        .lm_dense = "lm_head.dense",                         \
        .lm_norm = "lm_head.layer_norm",                     \
        .lm_decoder = "lm_head.decoder",                     \
        .lm_bias = "lm_head.bias",                           \
        .lm_act = HG_REF_GELU,                               \
    }

static const family families[] = {
    {BERT_LIKE("bert"), .base = "bert.",
     .heads = {.pooler = "bert.pooler.dense",
               .seq_dense = "bert.pooler.dense",
               .seq_act = HG_REF_TANH,
               .words = "bert.embeddings.word_embeddings.weight",
               .lm_dense = "cls.predictions.transform.dense",
               .lm_norm = "cls.predictions.transform.LayerNorm",
               .lm_decoder = "cls.predictions.decoder",
               .lm_bias = "cls.predictions.bias"}},
    {BERT_LIKE("roberta"), .base = "roberta.", .pad_count = true, ROBERTA_HEADS("roberta.")},
    {BERT_LIKE("camembert"), .base = "roberta.", .pad_count = true, ROBERTA_HEADS("roberta.")},
    {BERT_LIKE("xlm-roberta"), .base = "roberta.", .pad_count = true, ROBERTA_HEADS("roberta.")},
    {.type = "mpnet",
     .base = "mpnet.",
     .words = "embeddings.word_embeddings.weight",
     .places = "embeddings.position_embeddings.weight",
     .embed_norm = "embeddings.LayerNorm",
     .layer = "encoder.layer.%zu.",
     .mha = {"attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o", .bias = true},
     .attention_norm = "attention.LayerNorm",
     .up = "intermediate.dense",
     .down = "output.dense",
     .mlp_norm = "output.LayerNorm",
     .hidden_key = "hidden_size",
     .layers_key = "num_hidden_layers",
     .heads_key = "num_attention_heads",
     .inner_key = "intermediate_size",
     .act_key = "hidden_act",
     .pad_count = true,
     .fixed_pad = true,
     ROBERTA_HEADS("mpnet.")},
    {.type = "distilbert",
     .base = "distilbert.",
     .words = "embeddings.word_embeddings.weight",
     .places = "embeddings.position_embeddings.weight",
     .embed_norm = "embeddings.LayerNorm",
     .layer = "transformer.layer.%zu.",
     .mha = {"attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin", .bias = true},
     .attention_norm = "sa_layer_norm",
     .up = "ffn.lin1",
     .down = "ffn.lin2",
     .mlp_norm = "output_layer_norm",
     .hidden_key = "dim",
     .layers_key = "n_layers",
     .heads_key = "n_heads",
     .inner_key = "hidden_dim",
     .act_key = "activation",
     .eps = 1e-12,
     .heads = {.seq_dense = "pre_classifier",
               .seq_act = HG_REF_RELU,
               .words = "distilbert.embeddings.word_embeddings.weight",
               .lm_dense = "vocab_transform",
               .lm_norm = "vocab_layer_norm",
               .lm_decoder = "vocab_projector"}},
};

typedef struct pass {
    const family *f;
    size_t rows, hidden, layers, inner, kinds, places;
    hg_plain_act act;
    hg_plain_norm norm;
    hg_plain_attention attention;
} pass;

/* pad + 1, pad + 2, ... over what is not padding; padding itself is at pad */
static const int64_t *padded_positions(hg_plain_state *r, int64_t pad)
{
    const hg_ref_input *in = r->in;
    int64_t *p = (int64_t *)hg_plain_bytes_new(r, in->batch * in->length, sizeof *p);
    for (size_t b = 0; hg_plain_go(r) && b < in->batch; b++) {
        int64_t seen = 0;
        for (size_t t = b * in->length; t < (b + 1) * in->length; t++) {
            int64_t token = in->ids[t] != pad;
            seen += token;
            p[t] = pad + seen * token;
        }
    }
    return p;
}

static double *embed(hg_plain_state *r, const pass *p, size_t vocab)
{
    const family *f = p->f;
    const int64_t *positions = r->in->positions;
    if (!positions && f->pad_count) {
        positions = padded_positions(r, f->fixed_pad ? 1 : (int64_t)hg_plain_int(r, "pad_token_id", 1, 0));
    }
    if (!positions) positions = hg_plain_positions(r);
    hg_plain_mat words = hg_plain_matrix(r, f->base, f->words, vocab, p->hidden);
    hg_plain_mat places = hg_plain_matrix(r, f->base, f->places, p->places, p->hidden);
    double *x = hg_plain_embed(r, r->in->ids, p->rows, words, 1);
    hg_plain_add(r, x, hg_plain_embed(r, positions, p->rows, places, 1), p->rows * p->hidden, 1);
    if (f->kinds) {
        hg_plain_mat kinds = hg_plain_matrix(r, f->base, f->kinds, p->kinds, p->hidden);
        const int64_t *types = r->in->types;
        if (!types) types = (const int64_t *)hg_plain_bytes_new(r, p->rows, sizeof *types);
        hg_plain_add(r, x, hg_plain_embed(r, types, p->rows, kinds, 1), p->rows * p->hidden, 1);
    }
    return hg_plain_normalize(r, x, p->rows, p->hidden, &p->norm, f->base, f->embed_norm);
}

static double *layer(hg_plain_state *r, const pass *p, double *x, const char *at)
{
    const family *f = p->f;
    size_t count = p->rows * p->hidden;
    hg_plain_add(r, x, hg_plain_mha(r, x, x, p->hidden, &p->attention, &f->mha, at), count, 1);
    double *a = hg_plain_normalize(r, x, p->rows, p->hidden, &p->norm, at, f->attention_norm);
    const double *m = hg_plain_mlp(r, a, p->rows, p->hidden, p->inner, p->act, true, at, f->up, f->down);
    hg_plain_add(r, a, m, count, 1);
    return hg_plain_normalize(r, a, p->rows, p->hidden, &p->norm, at, f->mlp_norm);
}

/* MPNet's biases by distance, one table for all layers. */
static void distance_bias(hg_plain_state *r, pass *p)
{
    if (strcmp(p->f->type, "mpnet") != 0) return;
    size_t buckets = hg_plain_int(r, "relative_attention_num_buckets", 32, 1), n = r->in->length;
    if (buckets != 32) {
        hg_plain_fail(r, HANGAR_E_UNSUPPORTED,
                      "config.json: the reference does not know relative_attention_num_buckets %zu", buckets);
    }
    hg_plain_mat table =
        hg_plain_matrix(r, p->f->base, "encoder.relative_attention_bias.weight", buckets, p->attention.heads);
    p->attention.pair_bias = hg_plain_bucket_bias(r, table, n, n, true, 128);
}

static void read(hg_plain_state *r, pass *p)
{
    const family *f = p->f;
    p->hidden = hg_plain_int(r, f->hidden_key, HG_REF_NEEDED, 1);
    p->layers = hg_plain_int(r, f->layers_key, HG_REF_NEEDED, 1);
    p->inner = hg_plain_int(r, f->inner_key, HG_REF_NEEDED, 1);
    p->kinds = hg_plain_int(r, "type_vocab_size", 2, 1);
    p->places = hg_plain_int(r, "max_position_embeddings", 512, 1);
    p->act = hg_plain_act_key(r, f->act_key, "gelu");
    p->norm =
        (hg_plain_norm){.bias = true, .eps = f->eps > 0 ? f->eps : hg_plain_real(r, "layer_norm_eps", 1e-12)};
    size_t heads = hg_plain_int(r, f->heads_key, HG_REF_NEEDED, 1);
    if (p->hidden % heads) hg_plain_fail(r, HANGAR_E_INVALID, "config.json: %s", f->heads_key);
    p->attention = (hg_plain_attention){.batch = r->in->batch,
                                        .queries = r->in->length,
                                        .keys = r->in->length,
                                        .heads = heads,
                                        .kv_heads = heads,
                                        .dim = p->hidden / heads,
                                        .scale = 1 / sqrt((double)(p->hidden / heads)),
                                        .mask = r->in->mask};
    if (strcmp(hg_plain_text(r, "position_embedding_type", "absolute"), "absolute") != 0) {
        hg_plain_fail(r, HANGAR_E_UNSUPPORTED,
                      "config.json: the reference does not know this position_embedding_type");
    }
    hg_plain_refuse(r, "is_decoder");
    hg_plain_refuse(r, "add_cross_attention");
}

/* The whole model. */
void hg_plain_encoder(hg_plain_state *r, const char *model_type)
{
    pass p = {.rows = r->in->batch * r->in->length};
    for (size_t i = 0; i < HG_LEN(families); i++) {
        if (strcmp(families[i].type, model_type) == 0) p.f = &families[i];
    }
    hg_plain_head head =
        hg_plain_head_key(r, 1U << HG_REF_BARE | 1U << HG_REF_MASKED | 1U << HG_REF_SEQUENCE |
                                 1U << HG_REF_TOKEN | 1U << HG_REF_QUESTION);
    hg_plain_heads heads = p.f->heads;
    r->base = p.f->base;
    hg_plain_need_ids(r);
    read(r, &p);
    heads.hidden = p.hidden;
    heads.norm = p.norm;
    heads.vocab = hg_plain_int(r, "vocab_size", HG_REF_NEEDED, 1);
    if (strcmp(heads.lm_dense, "lm_head.dense") != 0) heads.lm_act = p.act; /* RoBERTa's is gelu, always */
    if (r->code != HANGAR_OK) return;
    distance_bias(r, &p);
    double *x = embed(r, &p, heads.vocab);
    size_t depth = hg_plain_depth(r, p.layers);
    for (size_t i = 0; r->code == HANGAR_OK && i < depth; i++) {
        hg_plain_block *mark = r->blocks;
        char at[64], name[48];
        (void)snprintf(name, sizeof name, p.f->layer, i);
        (void)snprintf(at, sizeof at, "%s%s", p.f->base, name);
        const double *y = layer(r, &p, x, at);
        if (hg_plain_go(r)) memcpy(x, y, p.rows * p.hidden * sizeof *x);
        hg_plain_release(r, mark);
    }
    hg_plain_finish(r, x, head, &heads);
}
