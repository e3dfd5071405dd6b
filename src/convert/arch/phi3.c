/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Phi 3, 3.5 and 4 (Abdin et al. 2024): Llama's equations with the matrices of q, k and v in one, and those of gate and up in one:
 *
 *   each layer:  x = x + W_o attention(turn(q), turn(k), v),  [q, k, v] = W_qkv rms(x)
 *                x = x + W_down (silu(gate) * up),            [gate, up] = W_gate_up rms(x)
 *   logits = W_head rms(x)
 *
 * Each part is its rows of the matrix, read in place. Long texts turn by other frequencies (LongRoPE).
 */
#include "convert/arch/decoder.h"
#include "convert/archs.h"

static hg_value *rows(hg_build *b, const char *name, const char *weight, hg_value *x, uint64_t in,
                      uint64_t total, uint64_t first, uint64_t out)
{
    return hg_block_linear_of(
        b, name, x, &(hg_linear){.in = in, .out = out, .weight = weight, .total = total, .first = first});
}

static hg_value *self_attn(hg_decoder *d, hg_build *b, uint32_t i, hg_value *x)
{
    const uint64_t wide = (uint64_t)d->heads * d->head_dim, narrow = (uint64_t)d->kv_heads * d->head_dim;
    const uint64_t total = wide + 2 * narrow;
    hg_graph_enter(b->g, "self_attn");
    hg_value *q = rows(b, "qkv_proj.query", "qkv_proj.weight", x, d->width, total, 0, wide);
    hg_value *k = rows(b, "qkv_proj.key", "qkv_proj.weight", x, d->width, total, wide, narrow);
    hg_value *v = rows(b, "qkv_proj.value", "qkv_proj.weight", x, d->width, total, wide + narrow, narrow);
    x = hg_decoder_attend(d, b, i, q, k, v);
    x = hg_block_linear(b, "o_proj", x, wide, d->width, false);
    hg_graph_leave(b->g);
    return x;
}

static hg_value *mlp(hg_decoder *d, hg_build *b, hg_value *x)
{
    const uint64_t inner = d->inner;
    hg_graph_enter(b->g, "mlp");
    hg_value *gate = rows(b, "gate_up_proj.gate", "gate_up_proj.weight", x, d->width, 2 * inner, 0, inner);
    hg_value *up = rows(b, "gate_up_proj.up", "gate_up_proj.weight", x, d->width, 2 * inner, inner, inner);
    x = hg_op_mul(b->g, "gated", up, hg_op_act(b->g, "act", gate, d->act));
    x = hg_block_linear(b, "down_proj", x, inner, d->width, false);
    hg_graph_leave(b->g);
    return x;
}

static void layer(hg_decoder *d, hg_build *b, uint32_t i, hg_stream *s)
{
    s->y = self_attn(d, b, i, hg_decoder_norm(d, b, "input_layernorm", s));
    s->y = mlp(d, b, hg_decoder_norm(d, b, "post_attention_layernorm", s));
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    hg_decoder d = {0};
    hg_hfconfig *c = b->config;
    hg_decoder_read(&d, b,
                    &(hg_decoder_defaults){.cls = "Phi3ForCausalLM",
                                           .own_code = "modeling_phi3.Phi3ForCausalLM",
                                           .eps = 1e-5,
                                           .theta = 10000});
    hg_decoder_slide_all(&d, c, 0);
    hg_hfconfig_only_bool(c, "attention_bias", false);
    hg_hfconfig_only_bool(c, "mlp_bias", false);
    hg_hfconfig_only_bool(c, "lm_head_bias", false);
    static const char *const unused[] = {"interpolate_factor", "full_attn_mod", NULL}; /* of Phi-4-mini */
    hg_hfconfig_ignore(c, unused);
    return hg_decoder_build(&d, b, layer, err);
}

const hg_arch hg_arch_phi3 = {.name = "phi3", .build = build};
