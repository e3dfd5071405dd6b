/* SPDX-License-Identifier: Apache-2.0 */
/*
 * T5: text to text with an encoder and a decoder of pre-norm layers without biases (Raffel et al. 2019); mT5 is the same, UMT5 has a position
 * bias of its own in every layer (Chung et al. 2023).
 *
 *   each layer:  x += W_o attention(rms(x));  [decoder: x += W_o attention(rms(x), h)];  x += W_2 act(W_1 rms(x))
 *                or gated: W_2 (act(W_g rms(x)) * W_1 rms(x))
 *   attention:   softmax(q k^T + bias[bucket(key place - query place)]) v, without a scale; the bias is block 0's for all blocks
 *   logits = d^-1/2 rms(x) token^T when the table is tied, rms(x) W^T else
 *
 * bucket(r), for `n` buckets (in the encoder n / 2 for r <= 0 and as many for r > 0; in the decoder r > 0 counts as 0): the distance |r| itself
 * below n / 2, and n / 2 (1 + ln(|r| / (n / 2)) / ln(max / (n / 2))) cut to a whole number, at most n - 1, above. From the distance `max`
 * on it stays n - 1, so that a list of max + 1 buckets inside the graph serves any length.
 */
#include "base/mem.h"
#include "convert/arch/seq2seq.h"
#include "convert/archs.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define DISTANCE_MAX 16384

typedef struct t5 {
    hg_seq2seq s;
    uint32_t vocab, inner, encoder_layers, decoder_layers, buckets, distance;
    double eps;
    hg_act act;
    bool gated, scaled, every_layer, encoder_only;
    hg_value *bucket; /* int64 [S, T] */
    hg_value *bias;   /* [1, heads, S, T] */
} t5;

static const hg_attention_names self_names = {"SelfAttention", "q", "k", "v", "o", false, false};
static const hg_attention_names cross_names = {"EncDecAttention", "q", "k", "v", "o", false, false};

/* Of other heads, and what feed_forward_proj or the checkpoint says already. */
static const char *const other[] = {"n_positions", "num_hidden_layers", "scalable_attention", NULL};

static void read_class(t5 *m, hg_build *b)
{
    const char *name = hg_hfconfig_class(b->config);
    const char *rest = name ? strstr(name, "T5") : NULL;
    if (name && !rest) rest = "";
    b->task = "text2text-generation";
    if (!name || strcmp(rest, "T5ForConditionalGeneration") == 0 || strcmp(rest, "T5WithLMHeadModel") == 0 ||
        strcmp(rest, "T5Model") == 0) {
        return;
    }
    m->encoder_only = strcmp(rest, "T5EncoderModel") == 0;
    b->task = "feature-extraction";
    if (!m->encoder_only) hg_hfconfig_wrong(b->config, HANGAR_E_UNSUPPORTED, "architectures: %s", name);
}

/* "relu", "gated-gelu" (which means gelu_new), "gated-silu". The two newer keys are made of it; which wins when they say something else depends on
 * the release of the original. */
static void read_act(t5 *m, hg_hfconfig *c)
{
    const char *proj = hg_hfconfig_text(c, "feed_forward_proj", "relu");
    m->gated = strncmp(proj, "gated-", 6) == 0;
    const char *act = m->gated ? proj + 6 : proj;
    if (m->gated && strcmp(act, "gelu") == 0) act = "gelu_new";
    if (!hg_act_parse(act, &m->act))
        hg_hfconfig_wrong(c, HANGAR_E_UNSUPPORTED, "feed_forward_proj: %s", proj);
    hg_hfconfig_only(c, "dense_act_fn", act);
    hg_hfconfig_only_bool(c, "is_gated_act", m->gated);
}

static void read_config(t5 *m, hg_build *b, bool old)
{
    hg_hfconfig *c = b->config;
    read_class(m, b);
    m->s.width = hg_hfconfig_u32(c, "d_model", 0, 1, 65536);
    m->s.heads = hg_hfconfig_u32(c, "num_heads", 0, 1, 1024);
    m->s.head_dim = hg_hfconfig_u32(c, "d_kv", 64, 1, 65536);
    m->s.scale = 1;
    m->vocab = hg_hfconfig_u32(c, "vocab_size", 0, 1, 4u << 20);
    m->inner = hg_hfconfig_u32(c, "d_ff", 0, 1, 1u << 20);
    m->encoder_layers = hg_hfconfig_u32(c, "num_layers", 0, 1, 512);
    m->decoder_layers = hg_hfconfig_u32(c, "num_decoder_layers", m->encoder_layers, 1, 512);
    m->buckets = hg_hfconfig_u32(c, "relative_attention_num_buckets", 32, 4, 4096);
    m->distance = hg_hfconfig_u32(c, "relative_attention_max_distance", 128, 1, DISTANCE_MAX);
    m->eps = hg_hfconfig_f64(c, "layer_norm_epsilon", 1e-6, 0, 1);
    read_act(m, c);
    bool tied = hg_hfconfig_bool(c, "tie_word_embeddings", true);
    bool own_head = hg_checkpoint_get(b->ck, "lm_head.weight", NULL) != NULL;
    m->scaled = hg_hfconfig_bool(c, "scale_decoder_outputs", tied && (old || !own_head));
    if (!tied && !own_head && !m->encoder_only)
        hg_hfconfig_wrong(c, HANGAR_E_INVALID,
                          "tie_word_embeddings is false, but there is no lm_head.weight");
    if (m->distance <= m->buckets / 2) {
        hg_hfconfig_wrong(c, HANGAR_E_UNSUPPORTED,
                          "relative_attention_num_buckets %u with relative_attention_max_distance %u",
                          m->buckets, m->distance);
    }
    hg_block_refuse_common(c);
    hg_hfconfig_ignore(c, other);
}

/* ---- position bias ---- */

/* The bucket of a distance among `count`, in the single precision of the reference implementation. */
static int64_t bucket_of(uint32_t distance, uint32_t count, uint32_t max)
{
    uint32_t exact = count / 2;
    if (distance < exact) return distance;
    float ratio = logf((float)distance / (float)exact) / (float)log((double)max / exact);
    int64_t bucket = exact + (int64_t)(ratio * (float)(count - exact));
    return bucket < count ? bucket : (int64_t)count - 1;
}

/* The bucket of every distance up to the one from which on it stays. */
static hg_value *bucket_list(const t5 *m, hg_build *b, uint32_t count)
{
    HG_AUTO(hg_auto_free) int64_t *list = hg_calloc(m->distance + 1, sizeof *list);
    if (!list) {
        hg_graph_fail(b->g, HANGAR_E_NO_MEMORY, "out of memory");
        return m->s.ids;
    }
    for (uint32_t i = 0; i <= m->distance; i++) list[i] = bucket_of(i, count, m->distance);
    return hg_graph_inline(b->g, "of_distance", HG_ONNX_INT64, HG_SHAPE(HG_DIM(m->distance + 1)), list,
                           (m->distance + 1) * sizeof *list);
}

/* bucket(j - i) for queries i in [begin, end) and keys j in [0, end). */
static hg_value *buckets(const t5 *m, hg_build *b, bool both_ways)
{
    hg_graph *g = b->g;
    hg_graph_enter(g, "buckets");
    hg_value *zero = hg_graph_int(g, 0), *end = hg_op_squeeze(g, "end", m->s.end, 0);
    hg_value *begin = hg_op_squeeze(g, "begin", m->s.begin, 0);
    hg_value *row = hg_op_unsqueeze(g, "row", hg_op_range(g, "rows", begin, end, "sequence_length"), 1);
    hg_value *column =
        hg_op_unsqueeze(g, "column", hg_op_range(g, "columns", zero, end, "total_sequence_length"), 0);
    hg_value *back = hg_op_sub(g, "back", row, column);
    hg_value *far =
        both_ways ? hg_op_unary(g, "Abs", "distance", back) : hg_op_binary(g, "Max", "distance", back, zero);
    far = hg_op_binary(g, "Min", "near", far, hg_graph_int(g, m->distance));
    uint32_t count = both_ways ? m->buckets / 2 : m->buckets;
    hg_value *y = hg_op_gather(g, "bucket", bucket_list(m, b, count), far, 0);
    if (both_ways) {
        hg_value *after =
            hg_op_cast(g, "after", hg_op_compare(g, "Greater", "is_after", column, row), HG_ONNX_INT64);
        after = hg_op_mul(g, "after_buckets", after, hg_graph_int(g, count));
        y = hg_op_add(g, "either_bucket", y, after);
    }
    hg_graph_leave(g);
    return y;
}

/* relative_attention_bias of the layer at work: [1, heads, S, T]. */
static hg_value *position_bias(const t5 *m, hg_build *b)
{
    const int64_t heads_first[] = {2, 0, 1};
    hg_graph_enter(b->g, "layer.0.SelfAttention");
    hg_value *table = hg_block_matrix(b, "relative_attention_bias.weight", m->buckets, m->s.heads);
    hg_value *x = hg_op_gather(b->g, "relative_attention_bias", table, m->bucket, 0);
    x = hg_op_transpose(b->g, "position_heads", x, heads_first);
    x = hg_op_unsqueeze(b->g, "position_bias", x, 0);
    hg_graph_leave(b->g);
    return x;
}

/* ---- stacks ---- */

/* W_2 act(W_1 x), or the gated form. */
static hg_value *feed_forward(const t5 *m, hg_build *b, uint32_t place, hg_value *x)
{
    hg_graph_enter(b->g, "layer.%u.DenseReluDense", place);
    hg_value *y = hg_block_linear(b, m->gated ? "wi_0" : "wi", x, m->s.width, m->inner, false);
    y = hg_op_act(b->g, "act", y, m->act);
    if (m->gated) y = hg_op_mul(b->g, "gate", y, hg_block_linear(b, "wi_1", x, m->s.width, m->inner, false));
    y = hg_block_linear(b, "wo", y, m->inner, m->s.width, false);
    hg_graph_leave(b->g);
    return y;
}

static hg_value *block(t5 *m, hg_build *b, hg_stream *x, hg_seq2seq_cache *cache, bool first)
{
    const uint32_t width = m->s.width;
    if (first || m->every_layer) m->bias = position_bias(m, b);
    hg_value *n = hg_block_stream_rms_norm(b, "layer.0.layer_norm", x, width, m->eps, 0, false);
    hg_graph_enter(b->g, "layer.0");
    x->y = hg_seq2seq_self(&m->s, b, &self_names, n, m->bias, cache);
    hg_graph_leave(b->g);
    if (cache) {
        n = hg_block_stream_rms_norm(b, "layer.1.layer_norm", x, width, m->eps, 0, false);
        hg_graph_enter(b->g, "layer.1");
        x->y = hg_seq2seq_cross(&m->s, b, &cross_names, n, cache);
        hg_graph_leave(b->g);
    }
    const char *norm = cache ? "layer.2.layer_norm" : "layer.1.layer_norm";
    n = hg_block_stream_rms_norm(b, norm, x, width, m->eps, 0, false);
    return feed_forward(m, b, cache ? 2 : 1, n);
}

/* Token rows through all blocks of a stack, which is called `scope`. */
static hg_value *stack(t5 *m, hg_build *b, const char *scope, uint32_t layers)
{
    hg_stream x = {.x = hg_seq2seq_tokens(&m->s, b, scope, m->vocab, "")};
    x.x = hg_op_rows(b->g, "embedding_rows", x.x);
    hg_graph_enter(b->g, "%s", scope);
    m->bucket = buckets(m, b, !m->s.caches);
    for (uint32_t i = 0; i < hg_build_layers(b, layers); i++) {
        hg_graph_enter(b->g, "block.%u", i);
        x.y = block(m, b, &x, m->s.caches ? &m->s.caches[i] : NULL, i == 0);
        hg_graph_leave(b->g);
    }
    hg_value *y = hg_block_stream_rms_norm(b, "final_layer_norm", &x, m->s.width, m->eps, 0, true);
    hg_graph_leave(b->g);
    return y;
}

static hangar_code build_encoder(t5 *m, hg_build *b, hangar_err *err)
{
    hangar_code code = hg_seq2seq_encoder(&m->s, b, m->encoder_only ? "model" : "encoder_model", err);
    if (code != HANGAR_OK) return code;
    hg_value *x = stack(m, b, "encoder", m->encoder_layers);
    hg_seq2seq_output(&m->s, b, "last_hidden_state", x, m->s.width);
    return HANGAR_OK;
}

static hangar_code build_decoder(t5 *m, hg_build *b, hangar_err *err)
{
    hangar_code code = hg_seq2seq_decoder(&m->s, b, m->decoder_layers, true, err);
    if (code != HANGAR_OK) return code;
    char leaf[64];
    snprintf(leaf, sizeof leaf, "%s.weight", hg_seq2seq_table(b, "decoder"));
    hg_value *x = stack(m, b, "decoder", m->decoder_layers);
    if (m->scaled) x = hg_op_scale(b->g, "logits_scale", x, 1 / sqrt((double)m->s.width));
    const hg_linear head = {.in = m->s.width,
                            .out = m->vocab,
                            .weight = hg_block_has(b, "lm_head.weight") ? "lm_head.weight" : leaf};
    hg_seq2seq_output(&m->s, b, "logits", hg_block_linear_of(b, "lm_head", x, &head), m->vocab);
    hg_seq2seq_presents(&m->s, b);
    return HANGAR_OK;
}

static hangar_code build_all(t5 *m, hg_build *b, bool old, hangar_err *err)
{
    read_config(m, b, old);
    hangar_code code = hg_hfconfig_check(b->config, err);
    if (code == HANGAR_OK) code = build_encoder(m, b, err);
    if (code == HANGAR_OK && !m->encoder_only) code = build_decoder(m, b, err);
    hg_seq2seq_deinit(&m->s);
    return code;
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    return build_all(&(t5){0}, b, true, err);
}

static hangar_code build_mt5(hg_build *b, hangar_err *err)
{
    return build_all(&(t5){0}, b, false, err);
}

static hangar_code build_umt5(hg_build *b, hangar_err *err)
{
    return build_all(&(t5){.every_layer = true}, b, false, err);
}

const hg_arch hg_arch_t5 = {.name = "t5", .build = build};
const hg_arch hg_arch_mt5 = {.name = "mt5", .build = build_mt5};
const hg_arch hg_arch_umt5 = {.name = "umt5", .build = build_umt5};
