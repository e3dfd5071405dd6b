/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DeBERTa, second and third version (He et al.): BERT whose scores have two more parts, from the content of one token and the
 * distance to the other. With d(i, j) the row of the distance table for i - j:
 *
 *   score(i, j) = (q_i k_j + q_i kr_d + k_j qr_d) / sqrt(3 dim)
 *
 * kr = W_k R and qr = W_q R are made of the table R by the layer's own projections, or by others where share_att_key is false. Far
 * distances share rows by their logarithm. A large model adds one convolution beside layer 0.
 */
#include "convert/check/inner.h"

#include <stdio.h>
#include <string.h>

typedef struct pass {
    size_t rows, hidden, layers, inner, heads, dim, places, kinds;
    size_t span;      /* rows of R on each side */
    int64_t buckets;  /* 0: distances as they are */
    int64_t farthest; /* where the logarithm ends */
    bool relative, c2p, p2c, shared, placed;
    hg_plain_act act;
    hg_plain_norm norm;
    const double *table; /* R [2 span][hidden] */
    size_t conv;         /* kernel; 0 = none */
    hg_plain_act conv_act;
} pass;

/* pos_att_type: a list, or "c2p|p2c" */
static void read_parts(hg_plain_state *r, pass *p)
{
    const hg_jval *v = hg_plain_key(r, "pos_att_type");
    const char *text = hg_json_text_or(v, "");
    p->c2p = strstr(text, "c2p") != NULL;
    p->p2c = strstr(text, "p2c") != NULL;
    for (hg_json_iter it = hg_json_iter_of(v); hg_json_next(&it);) {
        const char *part = hg_json_text_or(it.val, "");
        if (strcmp(part, "c2p") == 0) p->c2p = true;
        else if (strcmp(part, "p2c") == 0) p->p2c = true;
        else
            hg_plain_fail(r, HANGAR_E_UNSUPPORTED,
                          "config.json: the reference does not know pos_att_type \"%s\"", part);
    }
}

static void read(hg_plain_state *r, pass *p)
{
    p->rows = r->in->batch * r->in->length;
    p->hidden = hg_plain_int(r, "hidden_size", HG_REF_NEEDED, 1);
    p->layers = hg_plain_int(r, "num_hidden_layers", HG_REF_NEEDED, 1);
    p->inner = hg_plain_int(r, "intermediate_size", HG_REF_NEEDED, 1);
    p->heads = hg_plain_int(r, "num_attention_heads", HG_REF_NEEDED, 1);
    p->dim = p->hidden / p->heads;
    p->places = hg_plain_int(r, "max_position_embeddings", 512, 1);
    p->kinds = hg_plain_int(r, "type_vocab_size", 0, 0);
    p->placed = hg_plain_flag(r, "position_biased_input", true);
    p->relative = hg_plain_flag(r, "relative_attention", false);
    p->shared = hg_plain_flag(r, "share_att_key", false);
    p->act = hg_plain_act_key(r, "hidden_act", "gelu");
    p->norm = (hg_plain_norm){.bias = true, .eps = hg_plain_real(r, "layer_norm_eps", 1e-7)};
    p->conv = hg_plain_int(r, "conv_kernel_size", 0, 0);
    if (p->conv) p->conv_act = hg_plain_act_key(r, "conv_act", "tanh");
    if (p->conv && (p->conv % 2 == 0 || hg_plain_int(r, "conv_groups", 1, 1) != 1)) {
        hg_plain_fail(r, HANGAR_E_UNSUPPORTED,
                      "config.json: the reference does not know this conv_kernel_size or conv_groups");
    }
    int64_t most = hg_json_i64_or(hg_plain_key(r, "max_relative_positions"), -1);
    int64_t buckets = hg_json_i64_or(hg_plain_key(r, "position_buckets"), -1);
    p->farthest = most < 1 ? (int64_t)p->places : most;
    p->buckets = buckets > 0 ? buckets : 0;
    p->span = (size_t)(p->buckets ? p->buckets : p->farthest);
    read_parts(r, p);
    if (p->hidden % p->heads || p->span > 1 << 20 || p->buckets == 1) {
        hg_plain_fail(r, HANGAR_E_INVALID,
                      "config.json: num_attention_heads, position_buckets or max_relative_positions");
    }
    if (hg_plain_int(r, "embedding_size", (int64_t)p->hidden, 1) != p->hidden) {
        hg_plain_fail(r, HANGAR_E_UNSUPPORTED, "config.json: the reference does not know embedding_size");
    }
    if (hg_plain_int(r, "attention_head_size", (int64_t)p->dim, 1) != p->dim) {
        hg_plain_fail(r, HANGAR_E_UNSUPPORTED,
                      "config.json: the reference does not know attention_head_size");
    }
}

/* The row of R for a distance: near ones as they are, far ones by sign * (ceil(log(|x| / mid) / log((farthest - 1) / mid) * (mid - 1)) + mid);
 * in float, as it was trained. */
static size_t row_of(const pass *p, int64_t apart)
{
    int64_t mid = p->buckets / 2, far = apart < 0 ? -apart : apart;
    if (p->buckets && far > mid) {
        float share = logf((float)far / (float)mid) / logf((float)((double)(p->farthest - 1) / (double)mid));
        far = (int64_t)ceilf(share * (float)(mid - 1)) + mid;
        apart = apart < 0 ? -far : far;
    }
    int64_t row = apart + (int64_t)p->span, last = 2 * (int64_t)p->span - 1;
    return (size_t)(row < 0 ? 0 : row > last ? last : row);
}

static double product(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* The two parts by distance, divided already: [batch][heads][length][length]. */
static double *by_distance(hg_plain_state *r, const pass *p, const double *q, const double *k, const char *at,
                           double scale)
{
    size_t n = r->in->length, rows = 2 * p->span, d = p->hidden;
    const char *kn = p->shared ? "attention.self.key_proj" : "attention.self.pos_key_proj";
    const char *qn = p->shared ? "attention.self.query_proj" : "attention.self.pos_query_proj";
    const double *kr = p->c2p ? hg_plain_project(r, p->table, rows, d, d, true, at, kn) : NULL;
    const double *qr = p->p2c ? hg_plain_project(r, p->table, rows, d, d, true, at, qn) : NULL;
    double *bias = hg_plain_array_new(r, r->in->batch * p->heads * n, n);
    hg_plain_spend(r, 2.0 * (double)p->rows * (double)n * (double)d);
    for (size_t m = 0; hg_plain_go(r) && m < p->rows * p->heads; m++) {
        size_t h = m / n % p->heads, b = m / n / p->heads, i = m % n;
        for (size_t j = 0; j < n; j++) {
            size_t row = row_of(p, (int64_t)i - (int64_t)j) * d + h * p->dim;
            double s = 0;
            if (kr) s += product(q + (b * n + i) * d + h * p->dim, kr + row, p->dim);
            if (qr) s += product(k + (b * n + j) * d + h * p->dim, qr + row, p->dim);
            bias[m * n + j] = s * scale;
        }
    }
    return bias;
}

static double *attention(hg_plain_state *r, const pass *p, const double *x, const char *at)
{
    size_t d = p->hidden;
    const double *q = hg_plain_project(r, x, p->rows, d, d, true, at, "attention.self.query_proj");
    const double *k = hg_plain_project(r, x, p->rows, d, d, true, at, "attention.self.key_proj");
    const double *v = hg_plain_project(r, x, p->rows, d, d, true, at, "attention.self.value_proj");
    double parts = p->relative ? 1 + p->c2p + p->p2c : 1;
    hg_plain_attention a = {.batch = r->in->batch,
                            .queries = r->in->length,
                            .keys = r->in->length,
                            .heads = p->heads,
                            .kv_heads = p->heads,
                            .dim = p->dim,
                            .scale = 1 / sqrt((double)p->dim * parts),
                            .mask = r->in->mask};
    if (p->relative) a.full_bias = by_distance(r, p, q, k, at, a.scale);
    return hg_plain_project(r, hg_plain_attend(r, q, k, v, &a), p->rows, d, d, true, at,
                            "attention.output.dense");
}

/* Padding counts for nothing where rows meet in the convolution. */
static void blank(hg_plain_state *r, const pass *p, double *x)
{
    for (size_t t = 0; hg_plain_go(r) && r->in->mask && t < p->rows; t++) {
        if (!r->in->mask[t]) memset(x + t * p->hidden, 0, p->hidden * sizeof *x);
    }
}

/* y = norm(y + act(conv(x))), x what went into layer 0 and y what came out of it */
static void convolve(hg_plain_state *r, const pass *p, const double *x, double *y)
{
    const char *at = "deberta.encoder.conv.";
    hg_plain_window win = {r->in->batch, r->in->length, p->hidden, p->conv, 1, p->conv / 2, true};
    size_t out = 0;
    const double *rows = hg_plain_unfold(r, x, &win, &out);
    hg_plain_mat w = hg_plain_matrix(r, at, "conv.weight", p->hidden, p->hidden * p->conv);
    double *c = hg_plain_linear(r, rows, p->rows, w, hg_plain_vector(r, at, "conv.bias", p->hidden));
    blank(r, p, c);
    hg_plain_activate(r, c, p->rows * p->hidden, p->conv_act);
    hg_plain_add(r, c, y, p->rows * p->hidden, 1);
    c = hg_plain_normalize(r, c, p->rows, p->hidden, &p->norm, at, "LayerNorm");
    blank(r, p, c);
    if (hg_plain_go(r)) memcpy(y, c, p->rows * p->hidden * sizeof *y);
}

static void layer(hg_plain_state *r, const pass *p, double *x, size_t i)
{
    char at[64];
    size_t count = p->rows * p->hidden;
    (void)snprintf(at, sizeof at, "deberta.encoder.layer.%zu.", i);
    double *a = attention(r, p, x, at);
    hg_plain_add(r, a, x, count, 1);
    a = hg_plain_normalize(r, a, p->rows, p->hidden, &p->norm, at, "attention.output.LayerNorm");
    double *m = hg_plain_mlp(r, a, p->rows, p->hidden, p->inner, p->act, true, at, "intermediate.dense",
                             "output.dense");
    hg_plain_add(r, m, a, count, 1);
    m = hg_plain_normalize(r, m, p->rows, p->hidden, &p->norm, at, "output.LayerNorm");
    if (p->conv && i == 0) convolve(r, p, x, m);
    if (hg_plain_go(r)) memcpy(x, m, count * sizeof *x);
}

/* E[token] (+ P[position]) (+ T[type]), norm, padding blanked */
static double *embed(hg_plain_state *r, const pass *p, size_t vocab)
{
    const char *at = "deberta.embeddings.";
    hg_plain_mat words = hg_plain_matrix(r, at, "word_embeddings.weight", vocab, p->hidden);
    double *x = hg_plain_embed(r, r->in->ids, p->rows, words, 1);
    if (p->placed) {
        hg_plain_mat places = hg_plain_matrix(r, at, "position_embeddings.weight", p->places, p->hidden);
        hg_plain_add(r, x, hg_plain_embed(r, hg_plain_positions(r), p->rows, places, 1), p->rows * p->hidden,
                     1);
    }
    if (p->kinds) {
        hg_plain_mat kinds = hg_plain_matrix(r, at, "token_type_embeddings.weight", p->kinds, p->hidden);
        const int64_t *types = r->in->types;
        if (!types) types = (const int64_t *)hg_plain_bytes_new(r, p->rows, sizeof *types);
        hg_plain_add(r, x, hg_plain_embed(r, types, p->rows, kinds, 1), p->rows * p->hidden, 1);
    }
    x = hg_plain_normalize(r, x, p->rows, p->hidden, &p->norm, at, "LayerNorm");
    blank(r, p, x);
    return x;
}

/* R, normed where norm_rel_ebd says so. */
static void read_table(hg_plain_state *r, pass *p)
{
    const char *norm = hg_plain_text(r, "norm_rel_ebd", "none");
    if (!p->relative) return;
    double *table = hg_plain_vector(r, "deberta.encoder.", "rel_embeddings.weight", 2 * p->span * p->hidden);
    if (strstr(norm, "layer_norm")) {
        table =
            hg_plain_normalize(r, table, 2 * p->span, p->hidden, &p->norm, "deberta.encoder.", "LayerNorm");
    }
    p->table = table;
}

/* The whole model. */
void hg_plain_deberta(hg_plain_state *r, const char *model_type)
{
    pass p = {0};
    (void)model_type;
    hg_plain_head head =
        hg_plain_head_key(r, 1U << HG_REF_BARE | 1U << HG_REF_MASKED | 1U << HG_REF_SEQUENCE |
                                 1U << HG_REF_TOKEN | 1U << HG_REF_QUESTION);
    bool legacy = hg_plain_flag(r, "legacy", true);
    r->base = "deberta.";
    hg_plain_need_ids(r);
    if (r->code == HANGAR_OK) read(r, &p);
    hg_plain_heads h = {.hidden = p.hidden,
                        .vocab = hg_plain_int(r, "vocab_size", HG_REF_NEEDED, 1),
                        .seq_dense = "pooler.dense",
                        .seq_act = hg_plain_act_key(r, "pooler_hidden_act", "gelu"),
                        .words = "deberta.embeddings.word_embeddings.weight",
                        .lm_dense =
                            legacy ? "cls.predictions.transform.dense" : "lm_predictions.lm_head.dense",
                        .lm_norm = legacy ? "cls.predictions.transform.LayerNorm"
                                          : "lm_predictions.lm_head.LayerNorm",
                        .lm_decoder = legacy ? "cls.predictions.decoder" : "lm_predictions.lm_head.decoder",
                        .lm_bias = legacy ? "cls.predictions.bias" : "lm_predictions.lm_head.bias",
                        .lm_act = p.act,
                        .norm = p.norm};
    if (r->code != HANGAR_OK) return;
    double *x = embed(r, &p, h.vocab);
    read_table(r, &p);
    size_t depth = hg_plain_depth(r, p.layers);
    for (size_t i = 0; r->code == HANGAR_OK && i < depth; i++) {
        hg_plain_block *mark = r->blocks;
        layer(r, &p, x, i);
        hg_plain_release(r, mark);
    }
    hg_plain_finish(r, x, head, &h);
}
