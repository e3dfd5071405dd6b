/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DeBERTa, versions 2 and 3: an encoder whose scores mix what tokens are with how far apart they are (He et al. 2020, 2021).
 *
 *   x = norm(word[ids] (+ position[0..S)) (+ type[types]))
 *   R = rel_embeddings, normalized or not; Rk = W_k R, Rq = W_q R (or projections of their own); d = row(i - j)
 *   scores(i, j) = (q_i k_j + q_i Rk_d + k_j Rq_d) / sqrt(parts head_dim), of which the last two may be missing; `parts` counts them
 *   each layer:  x = norm(x + W_o softmax(scores) v);  x = norm(x + W_2 act(W_1 x))
 *   after the first layer, in some models: x = norm(x + act(conv(embeddings)))
 *
 * row(r) = span + bucket(r), held to 0 .. 2 span - 1: up to half of position_buckets a distance is its own bucket, beyond them
 * sign(r) (m + ceil((m - 1) ln(|r| / m) / ln((max - 1) / m))), m = position_buckets / 2. Both ends stay as they are from some distance on, so a list of
 * rows inside the graph serves any length. Rk and Rq depend on weights alone: the engine computes them when it loads the graph.
 */
#include "convert/arch/encoder.h"
#include "convert/archs.h"

#include "base/mem.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define REACH_MAX 16383 /* distances in a list inside the graph */

typedef struct deberta {
    hg_encoder e;
    uint32_t max, buckets, span, reach; /* reach: from this distance on rows stay as they are */
    bool relative, of_query, of_key, shared, norm_table, placed, legacy;
    hg_act pooler_act, conv_act;
    uint32_t kernel, groups;
    hg_encoder_far far;
    hg_value *table; /* R [2 span, width] */
    hg_value *seen;  /* bool [B, 1, S, S]: neither the query nor the key is padding */
    hg_value *low;   /* half of the lowest number: low enough, and a score on top of it is never infinite */
} deberta;

/* A number that says "none" by -1 or 0. */
static uint32_t none_or(hg_hfconfig *c, const char *key)
{
    const hg_jval *v = hg_hfconfig_value(c, key);
    int64_t n = v ? hg_json_i64_or(v, INT64_MIN) : -1;
    if (n < -1 || n > 1 << 20)
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "%s is not a whole number from -1 to %d", key, 1 << 20);
    return n > 0 && n <= 1 << 20 ? (uint32_t)n : 0;
}

static void add_part(deberta *m, hg_hfconfig *c, const char *part, size_t len)
{
    if (len == 3 && strncmp(part, "c2p", 3) == 0) m->of_query = true;
    else if (len == 3 && strncmp(part, "p2c", 3) == 0) m->of_key = true;
    else
        hg_hfconfig_wrong(c, HANGAR_E_UNSUPPORTED, "pos_att_type \"%.*s\"", (int)(len < 32 ? len : 32), part);
}

/* ["p2c", "c2p"], or "p2c|c2p". */
static void read_parts(deberta *m, hg_hfconfig *c)
{
    const hg_jval *v = hg_hfconfig_value(c, "pos_att_type");
    if (v && !hg_json_is_array(v) && !hg_json_text(v))
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "pos_att_type is neither a list nor a text");
    for (hg_json_iter it = hg_json_iter_of(v); hg_json_is_array(v) && hg_json_next(&it);) {
        const char *part = hg_json_text_or(it.val, "?");
        add_part(m, c, part, strlen(part));
    }
    for (const char *p = hg_json_text_or(v, ""); *p;) {
        size_t len = strcspn(p, "|");
        while (len && isspace((unsigned char)*p)) p++, len--;
        size_t word = len;
        while (word && isspace((unsigned char)p[word - 1])) word--;
        if (word) add_part(m, c, p, word);
        p += len + (p[len] == '|');
    }
}

/* "none", "layer_norm". */
static void read_table_norm(deberta *m, hg_hfconfig *c)
{
    const char *norm = hg_hfconfig_text(c, "norm_rel_ebd", "none");
    m->norm_table = strcmp(norm, "layer_norm") == 0;
    if (!m->norm_table && strcmp(norm, "none") != 0)
        hg_hfconfig_wrong(c, HANGAR_E_UNSUPPORTED, "norm_rel_ebd: %s", norm);
}

static void read_conv(deberta *m, hg_hfconfig *c)
{
    m->kernel = hg_hfconfig_u32(c, "conv_kernel_size", 0, 0, 255);
    m->groups = hg_hfconfig_u32(c, "conv_groups", 1, 1, 65536);
    m->conv_act = hg_block_act(c, "conv_act", "tanh");
    if (m->kernel && m->kernel % 2 == 0)
        hg_hfconfig_wrong(c, HANGAR_E_UNSUPPORTED, "conv_kernel_size %u", m->kernel);
    if (m->e.width % m->groups != 0)
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "conv_groups %u for hidden_size %u", m->groups, m->e.width);
}

/* Sizes that could be others, and never are. */
static void need_same(hg_hfconfig *c, const char *key, uint32_t size)
{
    uint32_t n = hg_hfconfig_u32(c, key, size, 1, UINT32_MAX);
    if (n != size) hg_hfconfig_wrong(c, HANGAR_E_UNSUPPORTED, "%s %u (only %u is known)", key, n, size);
}

/* The row of R for a distance, in the single precision in which it was trained. */
static int64_t row_of(const deberta *m, int64_t apart)
{
    int64_t middle = m->buckets / 2, far = apart < 0 ? -apart : apart, last = 2 * (int64_t)m->span - 1;
    if (m->buckets && far > middle) {
        float most = logf((float)((double)(m->max - 1) / (double)middle));
        float share = logf((float)far / (float)middle) / most;
        far = (int64_t)ceilf(share * (float)(middle - 1)) + middle;
    }
    int64_t row = (apart < 0 ? -far : far) + m->span;
    return row < 0 ? 0 : row > last ? last : row;
}

/* The distance from which on the rows stay the last ones; 0 when there is none within the limit. */
static uint32_t reach_of(const deberta *m)
{
    for (uint32_t r = 1; r <= REACH_MAX; r++) {
        if (row_of(m, r) == 2 * (int64_t)m->span - 1 && row_of(m, -(int64_t)r) == 0) return r;
    }
    return 0;
}

/* How far tokens may be apart. */
static void read_distances(deberta *m, hg_hfconfig *c)
{
    m->max = none_or(c, "max_relative_positions");
    if (!m->max) m->max = m->e.positions;
    m->buckets = none_or(c, "position_buckets");
    m->span = m->buckets ? m->buckets : m->max;
    if (!m->relative) return;
    bool few = m->buckets && (m->buckets < 4 || m->max - 1 <= m->buckets / 2);
    m->reach = few ? 0 : reach_of(m);
    if (!m->reach) {
        hg_hfconfig_wrong(c, HANGAR_E_UNSUPPORTED, "position_buckets %u with max_relative_positions %u",
                          m->buckets, m->max);
    }
}

static void read_config(deberta *m, hg_build *b)
{
    hg_hfconfig *c = b->config;
    hg_encoder *e = &m->e;
    hg_encoder_class(e, b, "DebertaV2");
    hg_encoder_sizes(e, b);
    e->eps = hg_hfconfig_f64(c, "layer_norm_eps", 1e-7, 0, 1);
    e->types = hg_hfconfig_u32(c, "type_vocab_size", 0, 0, 65536);
    m->placed = hg_hfconfig_bool(c, "position_biased_input", true);
    m->relative = hg_hfconfig_bool(c, "relative_attention", false);
    m->shared = hg_hfconfig_bool(c, "share_att_key", false);
    m->legacy = hg_hfconfig_bool(c, "legacy", true);
    m->pooler_act = hg_block_act(c, "pooler_hidden_act", "gelu");
    read_distances(m, c);
    read_parts(m, c);
    read_table_norm(m, c);
    read_conv(m, c);
    need_same(c, "embedding_size", e->width);
    need_same(c, "pooler_hidden_size", e->width);
    if (e->width % e->heads != 0)
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "hidden_size %u for num_attention_heads %u", e->width,
                          e->heads);
    need_same(c, "attention_head_size", e->width / e->heads);
    hg_hfconfig_only(c, "position_embedding_type", "absolute");
    hg_hfconfig_ignore(c, (const char *const[]){"cls_dropout", "summary_type", "summary_use_proj",
                                                "summary_activation", "summary_last_dropout", NULL});
}

/* ---- distances ---- */

/* R, and the index that all layers share. */
static void distances(deberta *m, hg_build *b)
{
    const uint32_t reach = m->reach;
    HG_AUTO(hg_auto_free) int64_t *rows = hg_calloc(2 * (size_t)reach + 1, sizeof *rows);
    if (!rows) {
        hg_graph_fail(b->g, HANGAR_E_NO_MEMORY, "out of memory");
        m->relative = false;
        return;
    }
    for (int64_t i = 0; i <= 2 * (int64_t)reach; i++) rows[i] = row_of(m, i - reach);
    hg_graph_enter(b->g, "encoder");
    hg_value *apart = hg_encoder_apart(&m->e, b, "relative_pos", rows, reach);
    m->far = hg_encoder_far_of(&m->e, b, "relative_index", apart, 2 * (uint64_t)m->span);
    m->table = hg_block_matrix(b, "rel_embeddings.weight", m->far.rows, m->e.width);
    if (m->norm_table) m->table = hg_block_norm(b, "LayerNorm", m->table, m->e.width, m->e.eps);
    hg_graph_leave(b->g);
}

/* W R as [heads, head_dim, rows]; exact, as it costs nothing when the model runs. */
static hg_value *projected(deberta *m, hg_build *b, const char *module)
{
    static const int64_t perm[] = {1, 2, 0};
    char weight[HG_ONNX_NAME_MAX], bias[HG_ONNX_NAME_MAX], name[HG_ONNX_NAME_MAX];
    const hg_encoder *e = &m->e;
    const int64_t split[] = {0, e->heads, e->width / e->heads};
    snprintf(weight, sizeof weight, "%s.weight", module);
    snprintf(bias, sizeof bias, "%s.bias", module);
    snprintf(name, sizeof name, "%s.relative", module);
    hg_value *x = hg_block_linear_of(
        b, name, m->table,
        &(hg_linear){.in = e->width, .out = e->width, .weight = weight, .bias = bias, .exact = true});
    snprintf(name, sizeof name, "%s.relative_split", module);
    x = hg_op_view(b->g, name, x, split, 3);
    snprintf(name, sizeof name, "%s.relative_heads", module);
    return hg_op_transpose(b->g, name, x, perm);
}

/* ---- layers ---- */

static hg_value *attention(deberta *m, hg_build *b, hg_value *x)
{
    hg_encoder *e = &m->e;
    double parts = 1 + m->of_query + m->of_key, scale = 1 / sqrt(parts * (e->width / e->heads));
    hg_value *far = hg_graph_real_of(b->g, 0);
    hg_attention a = {.heads = e->heads, .scale = scale};
    a.q = hg_block_batch_linear(b, "attention.self.query_proj", x, e->batch_shape, e->width, true);
    a.k = hg_block_batch_linear(b, "attention.self.key_proj", x, e->batch_shape, e->width, true);
    a.v = hg_block_batch_linear(b, "attention.self.value_proj", x, e->batch_shape, e->width, true);
    if (m->relative && (m->of_query || m->of_key)) {
        const char *key = m->shared ? "attention.self.key_proj" : "attention.self.pos_key_proj";
        const char *query = m->shared ? "attention.self.query_proj" : "attention.self.pos_query_proj";
        hg_value *keys = m->of_query ? projected(m, b, key) : NULL;
        hg_value *queries = m->of_key ? projected(m, b, query) : NULL;
        far = hg_encoder_far_scores(e, b, "attention.self.disentangled", &m->far, a.q, keys, a.k, queries);
        far = hg_op_scale(b->g, "attention.self.disentangled_scaled", far, scale);
    }
    a.bias = hg_op_where(b->g, "attention.self.masked_bias", m->seen, far, m->low);
    return hg_op_attention(b->g, "attention.self", &a);
}

/* 1 for a token, 0 for padding: [B, S, 1]. */
static hg_value *kept(deberta *m, hg_build *b)
{
    hg_value *token = hg_op_cast(b->g, "token", m->e.attend, hg_graph_real(b->g));
    return hg_op_unsqueeze(b->g, "token_column", token, 2);
}

/* norm(y + act(conv(x))), where padding counts for nothing; rows. */
static hg_value *convolution(deberta *m, hg_build *b, hg_value *x, hg_value *y)
{
    static const int64_t perm[] = {0, 2, 1};
    const hg_encoder *e = &m->e;
    const uint64_t shape[] = {e->width, e->width / m->groups, m->kernel};
    hg_graph_enter(b->g, "encoder.conv");
    hg_value *token = kept(m, b);
    x = hg_op_mul(b->g, "given", hg_block_batch(b, "embeddings", x, e->batch_shape, e->width), token);
    x = hg_op_transpose(b->g, "channels", x, perm);
    hg_value *weight = hg_block_param(b, "conv.weight", 3, shape);
    hg_value *bias = hg_block_vector(b, "conv.bias", e->width);
    x = hg_op_conv(b->g, "conv", x, weight, bias, (hg_conv){.pad = m->kernel / 2, .groups = m->groups});
    x = hg_op_mul(b->g, "kept", hg_op_transpose(b->g, "tokens", x, perm), token);
    x = hg_op_rows(b->g, "rows", hg_op_act(b->g, "act", x, m->conv_act));
    x = hg_block_add_norm(b, "LayerNorm", x, y, e->width, e->eps, NULL);
    x = hg_op_mul(b->g, "given_on", hg_block_batch(b, "batch", x, e->batch_shape, e->width), token);
    x = hg_op_rows(b->g, "given_on_rows", x);
    hg_graph_leave(b->g);
    return x;
}

/* Where scores count. */
static void masks(deberta *m, hg_build *b)
{
    hg_graph_enter(b->g, "seen");
    hg_value *token = hg_op_cast(b->g, "token", m->e.attend, HG_ONNX_BOOL);
    hg_value *head = hg_op_unsqueeze(b->g, "heads", token, 1);
    hg_value *key = hg_op_unsqueeze(b->g, "key", head, 2);
    hg_value *query = hg_op_unsqueeze(b->g, "query", head, 3);
    m->seen = hg_op_binary(b->g, "And", "both", key, query);
    m->low = hg_graph_real_of(b->g, hg_op_lowest(b->g) / 2);
    hg_graph_leave(b->g);
}

static hg_value *layers(deberta *m, hg_build *b, hg_value *x)
{
    hg_value *first = x;
    masks(m, b);
    if (m->relative) distances(m, b);
    for (uint32_t i = 0; i < hg_build_layers(b, m->e.layers); i++) {
        hg_graph_enter(b->g, "encoder.layer.%u", i);
        x = hg_encoder_after(&m->e, b, &hg_encoder_bert, x, attention(m, b, x));
        hg_graph_leave(b->g);
        if (i == 0 && m->kernel) x = convolution(m, b, first, x);
    }
    return x;
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    static const hg_encoder_words old = {.dense = "cls.predictions.transform.dense",
                                         .act = "cls.predictions.transform.act",
                                         .norm = "cls.predictions.transform.LayerNorm",
                                         .decoder = "cls.predictions.decoder",
                                         .bias = "cls.predictions.bias"};
    static const hg_encoder_words new = {.dense = "lm_predictions.lm_head.dense",
                                         .act = "lm_predictions.lm_head.act",
                                         .norm = "lm_predictions.lm_head.LayerNorm",
                                         .decoder = "lm_predictions.lm_head.decoder",
                                         .bias = "lm_predictions.lm_head.bias"};
    deberta m = {0};
    read_config(&m, b);
    hangar_code code =
        hg_encoder_begin(&m.e, b, "deberta.", "embeddings.word_embeddings", m.e.types > 0, err);
    if (code != HANGAR_OK) return code;
    m.e.places = m.placed ? HG_PLACES_ABSOLUTE : HG_PLACES_NONE;
    hg_value *x = layers(&m, b, hg_encoder_embed(&m.e, b, NULL, m.e.width));
    const hg_encoder_first first = {.dense = "pooler.dense",
                                    .act = "pooler.act",
                                    .last = "classifier",
                                    .how = m.pooler_act};
    m.e.tied = m.e.tied || !m.legacy; /* the newer head knows no decoder of its own */
    hg_encoder_head(&m.e, b, m.legacy ? &old : &new, &first, x);
    return HANGAR_OK;
}

const hg_arch hg_arch_deberta_v2 = {.name = "deberta-v2", .build = build};
