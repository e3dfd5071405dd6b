/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GPT-2 (Radford et al. 2019): learned positions, LayerNorm before attention and MLP, matrices stored turned around ([in, out]):
 *
 *   x = wte[ids] + wpe[positions]
 *   each layer:  x = x + c_proj(attention(q, k, v)),  [q, k, v] = c_attn(ln_1 x)
 *                x = x + c_proj(gelu(c_fc(ln_2 x)))
 *   logits = wte ln_f(x)
 *
 * The scores are divided by sqrt(head_dim), unless scale_attn_weights is false, and by the number of the layer with
 * scale_attn_by_inverse_layer_idx.
 */
#include "convert/arch/decoder.h"
#include "convert/archs.h"

#include <math.h>
#include <string.h>

typedef struct gpt2 {
    hg_decoder d; /* first: a layer is given this */
    bool scaled, by_layer;
} gpt2;

/* A Conv1D: x W + b. */
static hg_value *conv1d(hg_build *b, const char *name, const char *weight, const char *bias, hg_value *x,
                        uint64_t in, uint64_t out)
{
    return hg_block_linear_of(
        b, name, x, &(hg_linear){.in = in, .out = out, .weight = weight, .bias = bias, .turned = true});
}

static hg_value *attention(hg_decoder *d, hg_build *b, uint32_t i, hg_value *n)
{
    const int64_t thirds[] = {d->width, d->width, d->width};
    hg_value *qkv[3];
    hg_graph_enter(b->g, "attn");
    hg_value *x = conv1d(b, "c_attn", "c_attn.weight", "c_attn.bias", n, d->width, 3 * (uint64_t)d->width);
    hg_op_split(b->g, "c_attn.split", x, 1, thirds, 3, qkv);
    x = hg_decoder_attend(d, b, i, qkv[0], qkv[1], qkv[2]);
    x = conv1d(b, "c_proj", "c_proj.weight", "c_proj.bias", x, d->width, d->width);
    hg_graph_leave(b->g);
    return x;
}

static void layer(hg_decoder *d, hg_build *b, uint32_t i, hg_stream *s)
{
    const gpt2 *m = (const gpt2 *)d;
    d->scale = (m->scaled ? 1 / sqrt(d->head_dim) : 1) / (m->by_layer ? i + 1.0 : 1);
    s->y = attention(d, b, i, hg_block_stream_norm(b, "ln_1", s, d->width, d->eps, false));
    hg_value *x = hg_block_stream_norm(b, "ln_2", s, d->width, d->eps, false);
    hg_graph_enter(b->g, "mlp");
    x = conv1d(b, "c_fc", "c_fc.weight", "c_fc.bias", x, d->width, d->inner);
    x = hg_op_act(b->g, "act", x, d->act);
    s->y = conv1d(b, "c_proj", "c_proj.weight", "c_proj.bias", x, d->inner, d->width);
    hg_graph_leave(b->g);
}

static void read_config(gpt2 *m, hg_build *b)
{
    static const char *const others[] = {
        "n_ctx",
        "predict_special_tokens",  /* of the first release, for one more head */
        "reorder_and_upcast_attn", /* another order of the same sums */
        "summary_activation",
        "summary_first_dropout",
        "summary_proj_to_labels",
        "summary_type",
        "summary_use_proj",
        NULL};
    hg_hfconfig *c = b->config;
    hg_decoder *d = &m->d;
    hg_decoder_read_class(d, b, "GPT2LMHeadModel", NULL);
    d->names = (hg_decoder_names){"transformer", "wte", "h", "ln_f", "lm_head"};
    d->layer_norm = true;
    d->vocab = hg_hfconfig_u32(c, "vocab_size", 50257, 1, 4u << 20);
    d->width = hg_hfconfig_u32(c, "n_embd", 768, 1, 65536);
    d->layers = hg_hfconfig_u32(c, "n_layer", 12, 1, HG_DECODER_LAYERS_MAX);
    d->heads = d->kv_heads = hg_hfconfig_u32(c, "n_head", 12, 1, 1024);
    d->head_dim = d->width % d->heads == 0 ? d->width / d->heads : 0;
    d->inner = hg_hfconfig_u32(c, "n_inner", 4 * d->width, 1, 1u << 20);
    d->positions = hg_hfconfig_u32(c, "n_positions", 1024, 1, 1u << 20);
    d->eps = hg_hfconfig_f64(c, "layer_norm_epsilon", 1e-5, 0, 1);
    d->act = hg_block_act(c, "activation_function", "gelu_new");
    d->tied = hg_hfconfig_bool(c, "tie_word_embeddings", true);
    m->scaled = hg_hfconfig_bool(c, "scale_attn_weights", true);
    m->by_layer = hg_hfconfig_bool(c, "scale_attn_by_inverse_layer_idx", false);
    hg_hfconfig_only_bool(c, "add_cross_attention", false);
    hg_hfconfig_ignore(c, others);
    hg_decoder_check(d, c);
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    gpt2 m = {0};
    hg_decoder *d = &m.d;
    read_config(&m, b);
    hangar_code code = hg_decoder_begin(d, b, err);
    if (code != HANGAR_OK) return code;
    hg_stream s = {hg_decoder_embed(d, b), hg_decoder_places(d, b, "wpe", d->place, d->positions)};
    hg_decoder_layers(d, b, layer, &s);
    hg_decoder_head(d, b, hg_decoder_last_norm(d, b, &s));
    return HANGAR_OK;
}

const hg_arch hg_arch_gpt2 = {.name = "gpt2", .build = build};
