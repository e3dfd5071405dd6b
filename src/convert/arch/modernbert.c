/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ModernBERT: a pre-norm encoder with rotary positions, gated feed-forward layers, and attention that in most layers sees only what is near
 * (Warner et al. 2024).
 *
 *   x = norm(word[ids])
 *   each layer:  x += W_o attention(rotate(W_q n), rotate(W_k n), W_v n), n = norm(x) (in layer 0: n = x)
 *                x += W_2 (act(W_1 n) * W_g n), n = norm(x)
 *   x = norm(x)
 *
 * W_q, W_k, W_v are row parts of Wqkv, W_1 and W_g of Wi. A "sliding_attention" layer sees keys at most local_attention / 2 away and turns by
 * angles of its own. Heads stand on norm(act(dense(x))), where x is, for a whole text, its first token or the mean of its tokens.
 */
#include "convert/arch/encoder.h"
#include "convert/archs.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define LAYERS_MAX   512
#define HEAD_DIM_MAX 1024

typedef struct modernbert {
    hg_encoder e;
    uint32_t window; /* keys at most this far away */
    bool local[LAYERS_MAX], any[2];
    double theta[2]; /* of layers that see all, of local ones */
    hg_rotary turn[2];
    hg_value *near; /* [B, 1, S, S]: the bias of local layers, padding and all */
    bool attention_bias, mlp_bias, norm_bias, classifier_bias, decoder_bias, mean;
    hg_act head_act;
} modernbert;

/* layer_types, or every n-th layer sees all. */
static void read_layers(modernbert *m, hg_build *b)
{
    uint32_t every = hg_hfconfig_u32(b->config, "global_attn_every_n_layers", 3, 1, LAYERS_MAX);
    const hg_jval *types = hg_hfconfig_value(b->config, "layer_types");
    for (uint32_t i = 0; i < m->e.layers; i++) m->local[i] = i % every != 0;
    if (!types) return;
    if (!hg_json_is_array(types) || hg_json_len(types) != m->e.layers) {
        hg_hfconfig_wrong(b->config, HANGAR_E_INVALID, "layer_types are not one for each layer");
        return;
    }
    for (uint32_t i = 0; i < m->e.layers; i++) {
        const char *type = hg_json_text(hg_json_at(types, i));
        m->local[i] = type && strcmp(type, "sliding_attention") == 0;
        if (!m->local[i] && (!type || strcmp(type, "full_attention") != 0))
            hg_hfconfig_wrong(b->config, HANGAR_E_UNSUPPORTED, "layer_types: %s", type ? type : "no text");
    }
}

/* rope_parameters: {"full_attention": {"rope_theta": ..}, "sliding_attention": {..}}, or the older keys. */
static void read_rope(modernbert *m, hg_build *b)
{
    static const char *const kinds[] = {"full_attention", "sliding_attention"};
    hg_hfconfig all;
    m->theta[0] = hg_hfconfig_f64(b->config, "global_rope_theta", 160000, 1, 1e12);
    bool same =
        hg_json_get(b->config->root, "local_rope_theta") && !hg_hfconfig_has(b->config, "local_rope_theta");
    m->theta[1] = hg_hfconfig_f64(b->config, "local_rope_theta", same ? m->theta[0] : 10000, 1, 1e12);
    hg_hfconfig_enter(b->config, "rope_parameters", &all);
    for (int i = 0; i < 2; i++) {
        hg_hfconfig one;
        hg_hfconfig_enter(&all, kinds[i], &one);
        m->theta[i] = hg_hfconfig_f64(&one, "rope_theta", m->theta[i], 1, 1e12);
        hg_hfconfig_only(&one, "rope_type", "default");
        hg_hfconfig_leave(&all, &one);
    }
    hg_hfconfig_leave(b->config, &all);
    hg_hfconfig_refuse(b->config, "rope_scaling");
}

static void read_config(modernbert *m, hg_build *b)
{
    hg_hfconfig *c = b->config;
    hg_encoder *e = &m->e;
    hg_encoder_class(e, b, "ModernBert");
    e->vocab = hg_hfconfig_u32(c, "vocab_size", 50368, 1, 4u << 20);
    e->width = hg_hfconfig_u32(c, "hidden_size", 768, 1, 65536);
    e->layers = hg_hfconfig_u32(c, "num_hidden_layers", 22, 1, LAYERS_MAX);
    e->heads = hg_hfconfig_u32(c, "num_attention_heads", 12, 1, 1024);
    e->inner = hg_hfconfig_u32(c, "intermediate_size", 1152, 1, 1u << 20);
    e->eps = hg_hfconfig_f64(c, "norm_eps", 1e-5, 0, 1);
    e->tied = hg_hfconfig_bool(c, "tie_word_embeddings", true);
    e->act = hg_block_act(c, "hidden_activation", "gelu");
    m->head_act = hg_block_act(c, "classifier_activation", "gelu");
    m->window = hg_hfconfig_u32(c, "local_attention", 128, 2, 1u << 20) / 2;
    m->attention_bias = hg_hfconfig_bool(c, "attention_bias", false);
    m->mlp_bias = hg_hfconfig_bool(c, "mlp_bias", false);
    m->norm_bias = hg_hfconfig_bool(c, "norm_bias", false);
    m->classifier_bias = hg_hfconfig_bool(c, "classifier_bias", false);
    m->decoder_bias = hg_hfconfig_bool(c, "decoder_bias", true);
    const char *pooling = hg_hfconfig_text(c, "classifier_pooling", "cls");
    m->mean = strcmp(pooling, "mean") == 0;
    if (!m->mean && strcmp(pooling, "cls") != 0)
        hg_hfconfig_wrong(c, HANGAR_E_UNSUPPORTED, "classifier_pooling: %s", pooling);
    if (e->width % e->heads != 0 || e->width / e->heads % 2 != 0 || e->width / e->heads > HEAD_DIM_MAX) {
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "hidden_size %u for num_attention_heads %u", e->width,
                          e->heads);
    }
    read_layers(m, b);
    read_rope(m, b);
    /* norm_eps holds; places are angles, for which there is no greatest; the rest is for training */
    hg_hfconfig_ignore(c, (const char *const[]){"max_position_embeddings", "sparse_prediction",
                                                "sparse_pred_ignore_index", "deterministic_flash_attn",
                                                "reference_compile", "repad_logits_with_grad",
                                                "position_embedding_type", "layer_norm_eps", NULL});
    hg_encoder_refuse(b);
}

/* The angles of all places: theta^(-2 j / head_dim). */
static hg_rotary rotary(modernbert *m, hg_build *b, hg_value *places, int kind)
{
    float speed[HEAD_DIM_MAX / 2];
    uint32_t dim = m->e.width / m->e.heads;
    for (uint32_t j = 0; j < dim / 2; j++) speed[j] = (float)(1 / pow(m->theta[kind], 2.0 * j / dim));
    hg_value *speeds =
        hg_graph_inline(b->g, kind ? "local_rotary.inv_freq" : "rotary.inv_freq", HG_ONNX_FLOAT,
                        HG_SHAPE(HG_DIM(dim / 2)), speed, dim / 2 * sizeof *speed);
    return hg_op_rotary(b->g, kind ? "local_rotary" : "rotary", places, speeds, dim, 1);
}

/* What all layers share: angles, and the bias of those that see what is near. Half of the lowest number is low enough,
 * and a score on top of it is never infinite: a token of padding may see nothing but padding. */
static void prepare(modernbert *m, hg_build *b)
{
    hg_graph *g = b->g;
    hg_encoder *e = &m->e;
    hg_value *length = hg_op_size(g, "length", e->ids, 1);
    hg_value *place = hg_op_range(g, "places", hg_graph_int(g, 0), length, "sequence_length");
    hg_value *tokens = hg_op_shape(g, "tokens", e->ids, 0, 2);
    hg_value *places = hg_op_expand(g, "position_ids", place, tokens, e->ids->shape);
    for (uint32_t i = 0; i < hg_build_layers(b, e->layers); i++) m->any[m->local[i]] = true;
    for (int kind = 0; kind < 2; kind++)
        if (m->any[kind]) m->turn[kind] = rotary(m, b, places, kind);
    if (!m->any[1]) return;
    hg_graph_enter(g, "local");
    hg_value *query = hg_op_unsqueeze(g, "query", place, 1), *key = hg_op_unsqueeze(g, "key", place, 0);
    hg_value *distance = hg_op_unary(g, "Abs", "distance", hg_op_sub(g, "apart", query, key));
    hg_value *near = hg_op_compare(g, "LessOrEqual", "near", distance, hg_graph_int(g, m->window));
    hg_value *token = hg_op_cast(g, "token", e->attend, HG_ONNX_BOOL);
    token = hg_op_unsqueeze(g, "token_rows", hg_op_unsqueeze(g, "token_heads", token, 1), 1);
    near = hg_op_binary(g, "And", "seen", token, near);
    hg_value *zero = hg_graph_real_of(g, 0), *low = hg_graph_real_of(g, hg_op_lowest(g) / 2);
    m->near = hg_op_where(g, "bias", near, zero, low);
    hg_graph_leave(g);
}

/* Rows [part * out, + out) of a packed weight of `parts` times `out` rows. */
static hg_value *part_of(hg_build *b, const char *module, const char *node, hg_value *x, uint64_t in,
                         uint64_t out, uint64_t part, uint64_t parts, bool bias)
{
    char weight[HG_ONNX_NAME_MAX], shift[HG_ONNX_NAME_MAX];
    snprintf(weight, sizeof weight, "%s.weight", module);
    snprintf(shift, sizeof shift, "%s.bias", module);
    return hg_block_linear_of(b, node, x,
                              &(hg_linear){.in = in,
                                           .out = out,
                                           .weight = weight,
                                           .bias = bias ? shift : NULL,
                                           .total = parts * out,
                                           .first = part * out});
}

static hg_value *attention(modernbert *m, hg_build *b, hg_value *x, bool local)
{
    static const char *const nodes[] = {"attn.Wqkv.query", "attn.Wqkv.key", "attn.Wqkv.value"};
    static const char *const views[] = {"attn.query", "attn.key", "attn.value"};
    static const char *const turned[] = {"attn.rotary.query", "attn.rotary.key"};
    hg_encoder *e = &m->e;
    hg_value *qkv[3];
    for (int i = 0; i < 3; i++) {
        qkv[i] = part_of(b, "attn.Wqkv", nodes[i], x, e->width, e->width, (uint64_t)i, 3, m->attention_bias);
        qkv[i] = hg_block_batch(b, views[i], qkv[i], e->batch_shape, e->width);
        if (i < 2)
            qkv[i] = hg_op_rotate(b->g, turned[i], qkv[i], &m->turn[local], e->heads, e->width / e->heads);
    }
    hg_attention a = {.heads = e->heads,
                      .q = qkv[0],
                      .k = qkv[1],
                      .v = qkv[2],
                      .mask = local ? NULL : e->mask,
                      .bias = local ? m->near : NULL};
    hg_value *y = hg_op_rows(b->g, "attn.rows", hg_op_attention(b->g, "attn", &a));
    return hg_block_linear(b, "attn.Wo", y, e->width, e->width, m->attention_bias);
}

static hg_value *feed_forward(modernbert *m, hg_build *b, hg_value *x)
{
    hg_encoder *e = &m->e;
    hg_value *up = part_of(b, "mlp.Wi", "mlp.Wi.input", x, e->width, e->inner, 0, 2, m->mlp_bias);
    hg_value *gate = part_of(b, "mlp.Wi", "mlp.Wi.gate", x, e->width, e->inner, 1, 2, m->mlp_bias);
    hg_value *y = hg_op_mul(b->g, "mlp.gated", hg_op_act(b->g, "mlp.act", up, e->act), gate);
    return hg_block_linear(b, "mlp.Wo", y, e->inner, e->width, m->mlp_bias);
}

static hg_value *layers(modernbert *m, hg_build *b, hg_value *x)
{
    hg_encoder *e = &m->e;
    hg_stream s = {.x = x};
    for (uint32_t i = 0; i < hg_build_layers(b, e->layers); i++) {
        hg_graph_enter(b->g, "layers.%u", i);
        hg_value *n = i ? hg_block_stream_norm(b, "attn_norm", &s, e->width, e->eps, false) : s.x;
        s.y = attention(m, b, n, m->local[i]);
        n = hg_block_stream_norm(b, "mlp_norm", &s, e->width, e->eps, false);
        s.y = feed_forward(m, b, n);
        hg_graph_leave(b->g);
    }
    return hg_block_stream_norm(b, "final_norm", &s, e->width, e->eps, true);
}

/* The mean of each text's tokens: [B, width]. */
static hg_value *mean(modernbert *m, hg_build *b, hg_value *x)
{
    hg_graph *g = b->g;
    hg_graph_enter(g, "mean");
    hg_value *batch = hg_block_batch(b, "batch", x, m->e.batch_shape, m->e.width);
    hg_value *token = hg_op_cast(g, "token", m->e.attend, hg_graph_real(g));
    hg_value *kept = hg_op_mul(g, "kept", batch, hg_op_unsqueeze(g, "token_column", token, 2));
    hg_value *sum = hg_op_reduce(g, "ReduceSum", "sum", kept, 1, false);
    hg_value *count = hg_op_reduce(g, "ReduceSum", "count", token, 1, true);
    x = hg_op_div(g, "mean", sum, count);
    hg_graph_leave(g);
    return x;
}

/* norm(act(dense(x))). */
static hg_value *head_of(modernbert *m, hg_build *b, hg_value *x)
{
    b->prefix = "";
    x = hg_block_linear(b, "head.dense", x, m->e.width, m->e.width, m->classifier_bias);
    x = hg_op_act(b->g, "head.act", x, m->head_act);
    return hg_block_norm(b, "head.norm", x, m->e.width, m->e.eps);
}

static void heads(modernbert *m, hg_build *b, hg_value *x)
{
    hg_encoder *e = &m->e;
    const hg_encoder_words words = {.dense = "head.dense",
                                    .act = "head.act",
                                    .norm = "head.norm",
                                    .decoder = "decoder",
                                    .bare = !m->classifier_bias,
                                    .no_bias = !m->decoder_bias};
    hg_encoder_headless(e, b, &words);
    switch (e->head) {
    case HG_HEAD_NONE: hg_encoder_output(e, b, "last_hidden_state", x, e->width); break;
    case HG_HEAD_MASKED:
        e->act = m->head_act;
        hg_encoder_masked(e, b, &words, x);
        break;
    case HG_HEAD_SEQUENCE:
        x = head_of(m, b, m->mean ? mean(m, b, x) : hg_encoder_first_token(e, b, x));
        hg_block_output(b, "logits", hg_encoder_labels(b, "classifier", x, e->width, true, NULL));
        break;
    case HG_HEAD_TOKEN: hg_encoder_token(e, b, "classifier", head_of(m, b, x), true); break;
    case HG_HEAD_SPAN: hg_encoder_span(e, b, "classifier", head_of(m, b, x), true); break;
    }
}

static hangar_code build_of(modernbert *m, hg_build *b, hangar_err *err)
{
    read_config(m, b);
    hangar_code code = hg_encoder_begin(&m->e, b, "model.", "embeddings.tok_embeddings", false, err);
    if (code != HANGAR_OK) return code;
    if (hg_block_has(b, "final_norm.bias") != m->norm_bias) {
        hg_graph_fail(b->g, HANGAR_E_INVALID, "norm_bias is %s, but there is %s final_norm.bias",
                      m->norm_bias ? "true" : "false", m->norm_bias ? "no" : "a");
    }
    hg_graph_enter(b->g, "embeddings");
    hg_value *x = hg_block_embed(b, "tok_embeddings", m->e.ids, m->e.vocab, m->e.width);
    x = hg_op_rows(b->g, "rows", hg_block_norm(b, "norm", x, m->e.width, m->e.eps));
    hg_graph_leave(b->g);
    prepare(m, b);
    heads(m, b, layers(m, b, x));
    return HANGAR_OK;
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    HG_AUTO(hg_auto_free) modernbert *m = hg_calloc(1, sizeof *m);
    return m ? build_of(m, b, err) : hg_fail_memory(err);
}

const hg_arch hg_arch_modernbert = {.name = "modernbert", .build = build};
