/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Falcon (Almazrouei et al. 2023): attention and MLP side by side, keys shared by all heads or by groups of heads:
 *
 *   each layer:  n = norm(x), m = norm(x) (often the same);  x = x + dense(attention(turn(q), turn(k), v)) + dense_4h_to_h(gelu(dense_h_to_4h(m)))
 *   logits = word_embeddings norm(x)
 *
 * [q, k, v] = W_qkv n, in three layouts:
 *   multi_query               all queries, then one key, then one value: rows of the matrix, read in place
 *   new_decoder_architecture  for each of num_kv_heads groups its queries, its key, its value
 *   neither                   for each head its query, key, value
 * Without parallel_attn the MLP sees norm(x + attention). With alibi nothing turns; the scores get slope_h (place of the key) / sqrt(head_dim)
 * (Press et al. 2022), in the 16-bit numbers (bfloat16) that the model was trained with.
 */
#include "convert/arch/decoder.h"
#include "convert/archs.h"

#include <math.h>

typedef enum layout { LAYOUT_ROWS, LAYOUT_GROUPS } layout;

typedef struct falcon {
    hg_decoder d; /* first: a layer is given this */
    layout layout;
    bool parallel, two_norms, alibi;
} falcon;

static void split_rows(hg_decoder *d, hg_build *b, hg_value *n, hg_value *qkv[3])
{
    static const char *const names[] = {"query_key_value.query", "query_key_value.key",
                                        "query_key_value.value"};
    const uint64_t wide = (uint64_t)d->heads * d->head_dim, one = d->head_dim;
    const uint64_t first[] = {0, wide, wide + one}, out[] = {wide, one, one};
    for (int i = 0; i < 3; i++) {
        hg_linear how = {.in = d->width,
                         .out = out[i],
                         .weight = "query_key_value.weight",
                         .bias = d->qkv_bias ? "query_key_value.bias" : NULL,
                         .total = wide + 2 * one,
                         .first = first[i]};
        qkv[i] = hg_block_linear_of(b, names[i], n, &how);
    }
}

static hg_value *attention(hg_decoder *d, hg_build *b, uint32_t i, hg_value *n)
{
    const uint64_t wide = (uint64_t)d->heads * d->head_dim, narrow = (uint64_t)d->kv_heads * d->head_dim;
    hg_value *qkv[3];
    hg_graph_enter(b->g, "self_attention");
    if (((const falcon *)d)->layout == LAYOUT_ROWS) {
        split_rows(d, b, n, qkv);
    } else {
        hg_value *x = hg_block_linear(b, "query_key_value", n, d->width, wide + 2 * narrow, d->qkv_bias);
        hg_decoder_unpack(d, b, "query_key_value", x, d->kv_heads, d->heads / d->kv_heads, qkv);
    }
    hg_value *y = hg_decoder_attend(d, b, i, qkv[0], qkv[1], qkv[2]);
    y = hg_block_linear(b, "dense", y, wide, d->width, d->out_bias);
    hg_graph_leave(b->g);
    return y;
}

static hg_value *mlp(hg_decoder *d, hg_build *b, hg_value *x)
{
    hg_graph_enter(b->g, "mlp");
    x = hg_decoder_plain_mlp(d, b, "dense_h_to_4h", "dense_4h_to_h", x);
    hg_graph_leave(b->g);
    return x;
}

static void layer(hg_decoder *d, hg_build *b, uint32_t i, hg_stream *s)
{
    const falcon *m = (const falcon *)d;
    const char *first = m->two_norms ? "ln_attn" : "input_layernorm";
    hg_value *n = hg_block_stream_norm(b, first, s, d->width, d->eps, false);
    hg_value *y = attention(d, b, i, n), *z = n;
    if (!m->parallel) s->y = y;
    if (m->two_norms) z = hg_block_stream_norm(b, "ln_mlp", s, d->width, d->eps, false);
    if (!m->parallel) z = hg_block_stream_norm(b, "post_attention_layernorm", s, d->width, d->eps, false);
    z = mlp(d, b, z);
    s->y = m->parallel ? hg_op_add(b->g, "both", y, z) : z;
}

/* ---- alibi ---- */

/* The nearest bfloat16. */
static double as_bf16(double x)
{
    union {
        float f;
        uint32_t u;
    } v = {.f = (float)x};
    v.u = (v.u + 0x7fff + (v.u >> 16 & 1)) & 0xffff0000u;
    return v.f;
}

/* Slopes fall by powers of two over the largest power of two of heads; the other heads get those in between. */
static double slope_of(uint32_t head, uint32_t heads)
{
    uint32_t whole = 1;
    while (whole * 2 <= heads) whole *= 2;
    if (head < whole) return pow(2, -8.0 / whole * (head + 1));
    return pow(2, -4.0 / whole * (2.0 * (head - whole) + 1));
}

static hg_value *through_bf16(hg_build *b, const char *name, const char *back, hg_value *x, hg_onnx_type type)
{
    return hg_op_cast(b->g, back, hg_op_cast(b->g, name, x, HG_ONNX_BFLOAT16), type);
}

/* (cumsum(mask) - 1) mask, times each head's slope, / sqrt(head_dim): [B, heads, 1, T]. */
static void add_alibi(hg_decoder *d, hg_build *b)
{
    float slopes[1024];
    for (uint32_t i = 0; i < d->heads; i++) slopes[i] = (float)as_bf16(slope_of(i, d->heads));
    hg_graph_enter(b->g, "alibi");
    hg_value *p =
        hg_op_sub(b->g, "from_zero", hg_op_cumsum(b->g, "count", d->mask, 1), hg_graph_int(b->g, 1));
    p = hg_op_cast(b->g, "places_float", hg_op_mul(b->g, "places", p, d->mask), HG_ONNX_FLOAT);
    p = through_bf16(b, "places_bf16", "places_rounded", p, HG_ONNX_FLOAT);
    p = hg_op_unsqueeze(b->g, "rows", hg_op_unsqueeze(b->g, "heads", p, 1), 2);
    hg_value *s =
        hg_graph_inline(b->g, "slopes", HG_ONNX_FLOAT, HG_SHAPE(HG_DIM(d->heads), HG_DIM(1), HG_DIM(1)),
                        slopes, d->heads * sizeof(float));
    p = through_bf16(b, "bf16", "rounded", hg_op_mul(b->g, "steep", p, s), hg_graph_real(b->g));
    p = hg_op_scale(b->g, "scaled", p, 1 / sqrt(d->head_dim));
    hg_op_causal_bias(b->g, "bias", &d->causal, p);
    hg_graph_leave(b->g);
}

/* ---- config.json ---- */

static void read_layout(falcon *m, hg_hfconfig *c)
{
    hg_decoder *d = &m->d;
    bool grouped = hg_hfconfig_bool(c, "new_decoder_architecture", false);
    bool one_key = hg_hfconfig_bool(c, "multi_query", true);
    uint32_t kv = hg_hfconfig_u32(c, "num_kv_heads", d->heads, 1, 1024);
    uint32_t norms = hg_hfconfig_u32(c, "num_ln_in_parallel_attn", grouped ? 2 : 1, 1, 2);
    m->parallel = hg_hfconfig_bool(c, "parallel_attn", true);
    m->two_norms = grouped && norms == 2;
    m->layout = one_key && !grouped ? LAYOUT_ROWS : LAYOUT_GROUPS;
    d->kv_heads = grouped ? kv : one_key ? 1 : d->heads;
    if (grouped && !m->parallel && norms == 1)
        hg_hfconfig_wrong(c, HANGAR_E_UNSUPPORTED, "parallel_attn false with num_ln_in_parallel_attn 1");
    if (grouped) m->parallel = true; /* both are added to the same x, whatever parallel_attn says */
}

static void read_config(falcon *m, hg_build *b)
{
    hg_hfconfig *c = b->config;
    hg_decoder *d = &m->d;
    hg_decoder_read_class(d, b, "FalconForCausalLM", "modeling_falcon.FalconForCausalLM");
    d->names = (hg_decoder_names){"transformer", "word_embeddings", "h", "ln_f", "lm_head"};
    d->layer_norm = true;
    d->vocab = hg_hfconfig_u32(c, "vocab_size", 0, 1, 4u << 20);
    d->width = hg_hfconfig_u32(c, "hidden_size", 0, 1, 65536);
    d->layers = hg_hfconfig_u32(c, "num_hidden_layers", 0, 1, HG_DECODER_LAYERS_MAX);
    d->heads = hg_hfconfig_u32(c, "num_attention_heads", 0, 1, 1024);
    d->head_dim = d->width % d->heads == 0 ? d->width / d->heads : 0;
    d->inner = hg_hfconfig_u32(c, "ffn_hidden_size", 4 * d->width, 1, 1u << 20);
    d->positions = hg_hfconfig_u32(c, "max_position_embeddings", 2048, 1, 1u << 30);
    d->eps = hg_hfconfig_f64(c, "layer_norm_epsilon", 1e-5, 0, 1);
    d->act = hg_block_act(c, "activation", "gelu");
    d->tied = hg_hfconfig_bool(c, "tie_word_embeddings", true);
    d->qkv_bias = d->out_bias = d->mlp_bias = hg_hfconfig_bool(c, "bias", false);
    read_layout(m, c);
    hg_decoder_check(d, c);
    m->alibi = d->counted = hg_hfconfig_bool(c, "alibi", false);
    d->turns = !m->alibi;
    if (c->wrong.code == HANGAR_OK)
        hg_rope_read(&d->rope, c, &(hg_rope_defaults){10000, 1, d->head_dim, d->positions});
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    falcon m = {0};
    hg_decoder *d = &m.d;
    read_config(&m, b);
    hangar_code code = hg_decoder_begin(d, b, err);
    if (code != HANGAR_OK) return code;
    if (m.alibi) add_alibi(d, b);
    hg_stream s = {hg_decoder_embed(d, b), NULL};
    hg_decoder_layers(d, b, layer, &s);
    hg_decoder_head(d, b, hg_decoder_last_norm(d, b, &s));
    return HANGAR_OK;
}

const hg_arch hg_arch_falcon = {.name = "falcon", .build = build};
