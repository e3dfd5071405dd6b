/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whisper: speech to text with an encoder and a decoder of pre-norm layers (Radford et al. 2022).
 *
 *   encoder:  x = gelu(conv2(gelu(conv1(mel)))) + position
 *             each layer:  x += attention(norm(x));  x += W_2 act(W_1 norm(x))
 *             h = norm(x)
 *   decoder:  x = token[ids] + position[past .. past + S)
 *             each layer:  x += causal attention(norm(x));  x += attention(norm(x), h);  x += W_2 act(W_1 norm(x))
 *             logits = norm(x) token^T
 *
 * The decoder is one graph for the prompt and for every step. Its own keys and values are always joined to past_key_values.N.decoder.*, which
 * may be empty. Keys and values of h are made once: each layer's cross attention is an If on use_cache_branch, whose one side makes them and
 * whose other side takes them from past_key_values.N.encoder.*. The attention itself stands inside both sides, for an If that only
 * passes the past through would copy it at each step.
 * Keys have no bias. k_proj, v_proj of a layer see h as rows; between blocks x is rows, too.
 */
#include "base/mem.h"
#include "convert/arch/blocks.h"
#include "convert/archs.h"

#include <stdio.h>
#include <string.h>

#define EPS 1e-5 /* of every norm; not in config.json */

typedef struct whisper {
    uint32_t width, mels, vocab, source, target;
    uint32_t encoder_layers, encoder_heads, encoder_inner;
    uint32_t decoder_layers, decoder_heads, decoder_inner;
    hg_act act;
    bool tied;
    const char *prefix;
    /* of the graph at work */
    hg_value *batch_shape; /* [B, S, width] */
    hg_value *hidden;      /* encoder_hidden_states [B, T, width] */
    hg_value *heads_shape; /* [B, T, heads, head_dim] */
    hg_value *use_cache;
} whisper;

/* Of the training, of other heads, and of how text is generated. */
static const char *const training[] = {"alignment_heads",
                                       "classifier_proj_size",
                                       "lang_ids",
                                       "lang_to_id",
                                       "mask_feature_length",
                                       "mask_feature_min_masks",
                                       "mask_feature_prob",
                                       "mask_time_length",
                                       "mask_time_min_masks",
                                       "mask_time_prob",
                                       "max_initial_timestamp_index",
                                       "median_filter_width",
                                       "no_timestamps_token_id",
                                       "num_hidden_layers",
                                       "prev_sot_token_id",
                                       "return_timestamps",
                                       "task_ids",
                                       "task_to_id",
                                       "use_weighted_layer_sum",
                                       NULL};

static void read_config(whisper *m, hg_build *b)
{
    hg_hfconfig *c = b->config;
    const char *name = hg_hfconfig_class(c);
    if (name && strcmp(name, "WhisperForConditionalGeneration") != 0 && strcmp(name, "WhisperModel") != 0) {
        hg_hfconfig_wrong(c, HANGAR_E_UNSUPPORTED, "architectures: %s", name);
    }
    b->task = "automatic-speech-recognition";
    m->width = hg_hfconfig_u32(c, "d_model", 0, 1, 65536);
    m->mels = hg_hfconfig_u32(c, "num_mel_bins", 80, 1, 1024);
    m->vocab = hg_hfconfig_u32(c, "vocab_size", 0, 1, 4u << 20);
    m->source = hg_hfconfig_u32(c, "max_source_positions", 1500, 1, 1u << 20);
    m->target = hg_hfconfig_u32(c, "max_target_positions", 448, 1, 1u << 20);
    m->encoder_layers = hg_hfconfig_u32(c, "encoder_layers", 0, 1, 512);
    m->encoder_heads = hg_hfconfig_u32(c, "encoder_attention_heads", 0, 1, 1024);
    m->encoder_inner = hg_hfconfig_u32(c, "encoder_ffn_dim", 0, 1, 1u << 20);
    m->decoder_layers = hg_hfconfig_u32(c, "decoder_layers", 0, 1, 512);
    m->decoder_heads = hg_hfconfig_u32(c, "decoder_attention_heads", 0, 1, 1024);
    m->decoder_inner = hg_hfconfig_u32(c, "decoder_ffn_dim", 0, 1, 1u << 20);
    m->tied = hg_hfconfig_bool(c, "tie_word_embeddings", true);
    m->act = hg_block_act(c, "activation_function", "gelu");
    if (m->width % m->decoder_heads != 0) {
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "d_model %u does not divide among %u heads", m->width,
                          m->decoder_heads);
    }
    hg_hfconfig_only_bool(c, "scale_embedding",
                          false); /* read, but used nowhere, in the reference implementation */
    hg_block_refuse_common(c);
    hg_hfconfig_ignore(c, training);
}

/* W_2 act(W_1 x). */
static hg_value *mlp(const whisper *m, hg_build *b, hg_value *x, uint32_t inner)
{
    hg_value *y = hg_block_linear(b, "fc1", x, m->width, inner, true);
    return hg_block_linear(b, "fc2", hg_op_act(b->g, "act", y, m->act), inner, m->width, true);
}

/* ---- encoder ---- */

static hg_value *encoder_layer(const whisper *m, hg_build *b, hg_stream *s)
{
    hg_value *n = hg_block_stream_norm(b, "self_attn_layer_norm", s, m->width, EPS, false);
    hg_attention a = {.heads = m->encoder_heads};
    a.q = hg_block_batch_linear(b, "self_attn.q_proj", n, m->batch_shape, m->width, true);
    a.k = hg_block_batch_linear(b, "self_attn.k_proj", n, m->batch_shape, m->width, false);
    a.v = hg_block_batch_linear(b, "self_attn.v_proj", n, m->batch_shape, m->width, true);
    hg_value *y = hg_op_rows(b->g, "self_attn.rows", hg_op_attention(b->g, "self_attn", &a));
    s->y = hg_block_linear(b, "self_attn.out_proj", y, m->width, m->width, true);
    n = hg_block_stream_norm(b, "final_layer_norm", s, m->width, EPS, false);
    return mlp(m, b, n, m->encoder_inner);
}

static hangar_code build_encoder(whisper *m, hg_build *b, hangar_err *err)
{
    hangar_code code = hg_build_begin(b, "encoder_model", err);
    if (code != HANGAR_OK) return code;
    hg_graph *g = b->g;
    b->prefix = m->prefix;
    const int64_t channels_last[] = {0, 2, 1};
    hg_value *mel =
        hg_graph_input(g, "input_features", HG_ONNX_FLOAT,
                       HG_SHAPE(HG_SYM("batch_size"), HG_DIM(m->mels), HG_DIM((int64_t)m->source * 2)));
    hg_graph_enter(g, "encoder");
    hg_value *x = hg_op_act(g, "conv1.act", hg_block_conv3(b, "conv1", mel, m->mels, m->width, 1), m->act);
    x = hg_op_act(g, "conv2.act", hg_block_conv3(b, "conv2", x, m->width, m->width, 2), m->act);
    x = hg_op_transpose(g, "channels_last", x, channels_last);
    x = hg_op_add(g, "add_positions", x, hg_block_matrix(b, "embed_positions.weight", m->source, m->width));
    m->batch_shape = hg_block_batch_shape(b, "batch_shape", x, m->width);
    hg_stream s = {.x = hg_op_rows(g, "rows", x)};
    for (uint32_t i = 0; i < hg_build_layers(b, m->encoder_layers); i++) {
        hg_graph_enter(g, "layers.%u", i);
        s.y = encoder_layer(m, b, &s);
        hg_graph_leave(g);
    }
    hg_value *h = hg_block_stream_norm(b, "layer_norm", &s, m->width, EPS, true);
    h = hg_op_reshape(g, "as_batch", h, m->batch_shape,
                      HG_SHAPE(HG_SYM("batch_size"), HG_DIM(m->source), HG_DIM(m->width)));
    hg_graph_leave(g);
    hg_graph_output(g, "last_hidden_state", h);
    return HANGAR_OK;
}

/* ---- decoder ---- */

/* The past of one layer and what becomes of it. */
typedef struct cache {
    hg_value *past_k, *past_v;       /* past_key_values.N.decoder.* */
    hg_value *cross_k, *cross_v;     /* past_key_values.N.encoder.* */
    hg_value *present_k, *present_v; /* present.N.decoder.* */
    hg_value *made_k, *made_v;       /* present.N.encoder.* */
} cache;

static hg_value *past_input(const whisper *m, hg_build *b, uint32_t layer, const char *side, const char *what,
                            const char *length)
{
    char name[64];
    snprintf(name, sizeof name, "past_key_values.%u.%s.%s", layer, side, what);
    return hg_graph_input(b->g, name, HG_ONNX_FLOAT,
                          HG_SHAPE(HG_SYM("batch_size"), HG_DIM(m->decoder_heads), HG_SYM(length),
                                   HG_DIM(m->width / m->decoder_heads)));
}

static void present_output(hg_build *b, uint32_t layer, const char *side, const char *what, hg_value *value)
{
    char name[64];
    snprintf(name, sizeof name, "present.%u.%s.%s", layer, side, what);
    hg_graph_output(b->g, name, value);
}

static hg_value *self_attention(const whisper *m, hg_build *b, hg_value *n, cache *c)
{
    hg_attention a = {.heads = m->decoder_heads,
                      .causal = true,
                      .past_k = c->past_k,
                      .past_v = c->past_v,
                      .present_k = &c->present_k,
                      .present_v = &c->present_v};
    a.q = hg_block_batch_linear(b, "self_attn.q_proj", n, m->batch_shape, m->width, true);
    a.k = hg_block_batch_linear(b, "self_attn.k_proj", n, m->batch_shape, m->width, false);
    a.v = hg_block_batch_linear(b, "self_attn.v_proj", n, m->batch_shape, m->width, true);
    hg_value *y = hg_op_rows(b->g, "self_attn.rows", hg_op_attention(b->g, "self_attn", &a));
    return hg_block_linear(b, "self_attn.out_proj", y, m->width, m->width, true);
}

/* Keys or values of h: rows [B T, width] to [B, heads, T, head_dim]. */
static hg_value *split_heads(const whisper *m, hg_build *b, const char *name, hg_value *rows)
{
    const int64_t heads_first[] = {0, 2, 1, 3};
    hg_graph_enter(b->g, "%s", name);
    hg_value *x = hg_op_reshape(b->g, "split", rows, m->heads_shape,
                                HG_SHAPE(HG_SYM("batch_size"), HG_SYM("encoder_sequence_length"),
                                         HG_DIM(m->decoder_heads), HG_DIM(m->width / m->decoder_heads)));
    x = hg_op_transpose(b->g, "heads", x, heads_first);
    hg_graph_leave(b->g);
    return x;
}

/* use_cache_branch true: keys and values are there already; the placeholders say so by their length of 0. */
static hg_branch *cached_branch(const whisper *m, hg_build *b, hg_value *q, const cache *c)
{
    hg_branch *branch = hg_graph_branch_begin(b->g, "cached");
    hg_attention a = {.heads = m->decoder_heads, .q = q, .k = c->cross_k, .v = c->cross_v};
    const hg_shape none =
        HG_SHAPE(HG_DIM(1), HG_DIM(m->decoder_heads), HG_DIM(0), HG_DIM(m->width / m->decoder_heads));
    hg_graph_branch_output(b->g, hg_op_attention(b->g, "attention", &a));
    hg_graph_branch_output(b->g, hg_op_zeros(b->g, "no_key", HG_ONNX_FLOAT, none));
    hg_graph_branch_output(b->g, hg_op_zeros(b->g, "no_value", HG_ONNX_FLOAT, none));
    hg_graph_branch_end(b->g);
    return branch;
}

/* use_cache_branch false: keys and values are made from h. The weights were looked up outside, where a cast of them can be folded. */
static hg_branch *first_branch(const whisper *m, hg_build *b, hg_value *q, hg_value *k_weight,
                               hg_value *v_weight, hg_value *v_bias)
{
    hg_branch *branch = hg_graph_branch_begin(b->g, "first");
    hg_value *rows = hg_op_rows(b->g, "rows", m->hidden);
    hg_attention a = {.heads = m->decoder_heads, .q = q};
    a.k = split_heads(m, b, "key", hg_op_linear(b->g, "k_proj", rows, k_weight, NULL));
    a.v = split_heads(m, b, "value", hg_op_linear(b->g, "v_proj", rows, v_weight, v_bias));
    hg_graph_branch_output(b->g, hg_op_attention(b->g, "attention", &a));
    hg_graph_branch_output(b->g, a.k);
    hg_graph_branch_output(b->g, a.v);
    hg_graph_branch_end(b->g);
    return branch;
}

static hg_value *cross_attention(const whisper *m, hg_build *b, hg_value *n, cache *c)
{
    hg_value *q = hg_block_batch_linear(b, "encoder_attn.q_proj", n, m->batch_shape, m->width, true);
    hg_graph_enter(b->g, "encoder_attn");
    hg_value *k_weight = hg_block_matrix(b, "k_proj.weight", m->width, m->width);
    hg_value *v_weight = hg_block_matrix(b, "v_proj.weight", m->width, m->width);
    hg_value *v_bias = hg_block_vector(b, "v_proj.bias", m->width);
    hg_branch *cached = cached_branch(m, b, q, c);
    hg_branch *first = first_branch(m, b, q, k_weight, v_weight, v_bias);
    const hg_shape kept = HG_SHAPE(HG_SYM("batch_size"), HG_DIM(m->decoder_heads),
                                   HG_SYM("encoder_kept_length"), HG_DIM(m->width / m->decoder_heads));
    const hg_shape shapes[] = {q->shape, kept, kept};
    hg_value *out[3];
    hg_op_if(b->g, "attend", m->use_cache, cached, first, shapes, 3, out);
    c->made_k = out[1];
    c->made_v = out[2];
    hg_value *y = hg_op_rows(b->g, "rows", out[0]);
    y = hg_block_linear(b, "out_proj", y, m->width, m->width, true);
    hg_graph_leave(b->g);
    return y;
}

static hg_value *decoder_layer(const whisper *m, hg_build *b, hg_stream *s, cache *c)
{
    hg_value *n = hg_block_stream_norm(b, "self_attn_layer_norm", s, m->width, EPS, false);
    s->y = self_attention(m, b, n, c);
    n = hg_block_stream_norm(b, "encoder_attn_layer_norm", s, m->width, EPS, false);
    s->y = cross_attention(m, b, n, c);
    n = hg_block_stream_norm(b, "final_layer_norm", s, m->width, EPS, false);
    return mlp(m, b, n, m->decoder_inner);
}

/* token[ids] + position[past .. past + S), as rows. */
static hg_value *decoder_embeddings(whisper *m, hg_build *b, hg_value *ids, hg_value *past)
{
    hg_value *token = hg_block_embed(b, "embed_tokens", ids, m->vocab, m->width);
    hg_value *begin = hg_op_shape(b->g, "past_length", past, 2, 3);
    hg_value *end = hg_op_add(b->g, "total_length", begin, hg_op_shape(b->g, "length", ids, 1, 2));
    hg_value *position = hg_block_positions(b, "embed_positions", begin, end, m->target, m->width);
    m->batch_shape = hg_block_batch_shape(b, "batch_shape", ids, m->width);
    return hg_op_rows(b->g, "rows", hg_op_add(b->g, "add_positions", token, position));
}

/* The weight of the last Linear: the token table, unless the checkpoint says otherwise. */
static hg_value *output_weight(const whisper *m, hg_build *b)
{
    if (m->tied) {
        b->prefix = m->prefix;
        return hg_block_matrix(b, "decoder.embed_tokens.weight", m->vocab, m->width);
    }
    b->prefix = "";
    return hg_block_matrix(b, "proj_out.weight", m->vocab, m->width);
}

static void decoder_outputs(hg_build *b, uint32_t layer, cache *c)
{
    present_output(b, layer, "decoder", "key", c->present_k);
    present_output(b, layer, "decoder", "value", c->present_v);
    present_output(b, layer, "encoder", "key", c->made_k);
    present_output(b, layer, "encoder", "value", c->made_v);
}

static hangar_code build_decoder(whisper *m, hg_build *b, cache *caches, hangar_err *err)
{
    hangar_code code = hg_build_begin(b, "decoder_model_merged", err);
    if (code != HANGAR_OK) return code;
    hg_graph *g = b->g;
    b->prefix = m->prefix;
    hg_value *ids = hg_graph_input(g, "input_ids", HG_ONNX_INT64,
                                   HG_SHAPE(HG_SYM("batch_size"), HG_SYM("sequence_length")));
    m->hidden =
        hg_graph_input(g, "encoder_hidden_states", HG_ONNX_FLOAT,
                       HG_SHAPE(HG_SYM("batch_size"), HG_SYM("encoder_sequence_length"), HG_DIM(m->width)));
    for (uint32_t i = 0; i < hg_build_layers(b, m->decoder_layers); i++) {
        caches[i].past_k = past_input(m, b, i, "decoder", "key", "past_sequence_length");
        caches[i].past_v = past_input(m, b, i, "decoder", "value", "past_sequence_length");
        caches[i].cross_k = past_input(m, b, i, "encoder", "key", "encoder_past_sequence_length");
        caches[i].cross_v = past_input(m, b, i, "encoder", "value", "encoder_past_sequence_length");
    }
    m->use_cache = hg_graph_input(g, "use_cache_branch", HG_ONNX_BOOL, HG_SHAPE(HG_DIM(1)));
    hg_graph_enter(g, "decoder");
    const int64_t tail[] = {m->decoder_heads, m->width / m->decoder_heads};
    hg_value *parts[] = {hg_op_shape(g, "hidden_sizes", m->hidden, 0, 2), hg_graph_ints(g, tail, 2)};
    m->heads_shape = hg_op_concat_ints(g, "heads_shape", parts, 2);
    hg_stream s = {.x = decoder_embeddings(m, b, ids, caches[0].past_k)};
    for (uint32_t i = 0; i < hg_build_layers(b, m->decoder_layers); i++) {
        hg_graph_enter(g, "layers.%u", i);
        s.y = decoder_layer(m, b, &s, &caches[i]);
        hg_graph_leave(g);
    }
    hg_value *y = hg_block_stream_norm(b, "layer_norm", &s, m->width, EPS, true);
    hg_graph_leave(g);
    y = hg_op_linear(g, "proj_out", y, output_weight(m, b), NULL);
    hg_graph_output(g, "logits",
                    hg_block_batch(b, "as_batch", y, hg_block_batch_shape(b, "logits_shape", ids, m->vocab),
                                   m->vocab));
    for (uint32_t i = 0; i < hg_build_layers(b, m->decoder_layers); i++) decoder_outputs(b, i, &caches[i]);
    return HANGAR_OK;
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    whisper m = {0};
    read_config(&m, b);
    hangar_code code = hg_hfconfig_check(b->config, err);
    if (code != HANGAR_OK) return code;
    m.prefix = hg_checkpoint_get(b->ck, "model.encoder.conv1.weight", NULL) ? "model." : "";
    code = build_encoder(&m, b, err);
    if (code != HANGAR_OK) return code;
    HG_AUTO(hg_auto_free) cache *caches = hg_calloc(m.decoder_layers, sizeof *caches);
    return caches ? build_decoder(&m, b, caches, err) : hg_fail_memory(err);
}

const hg_arch hg_arch_whisper = {.name = "whisper", .build = build};
