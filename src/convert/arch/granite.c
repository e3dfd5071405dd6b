/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Granite 3 (IBM 2024): Llama's equations with four numbers of scale:
 *
 *   x = e W_embed[ids]
 *   each layer:  x = x + r W_o attention(turn(W_q n), turn(W_k n), W_v n),  n = rms(x);  scores times a
 *                x = x + r W_down (silu(W_gate m) * W_up m),                m = rms(x)
 *   logits = W_head rms(x) / s
 *
 * e: embedding_multiplier, a: attention_multiplier, r: residual_multiplier, s: logits_scaling.
 */
#include "convert/arch/decoder.h"
#include "convert/archs.h"

typedef struct granite {
    hg_decoder d; /* first: a layer is given this */
    double residual;
} granite;

static void layer(hg_decoder *d, hg_build *b, uint32_t i, hg_stream *s)
{
    double r = ((const granite *)d)->residual;
    hg_value *y = hg_decoder_self_attn(d, b, i, hg_decoder_norm(d, b, "input_layernorm", s));
    s->y = r == 1 ? y : hg_op_scale(b->g, "self_attn_scaled", y, r);
    y = hg_decoder_gated_mlp(d, b, "mlp", hg_decoder_norm(d, b, "post_attention_layernorm", s), d->inner);
    s->y = r == 1 ? y : hg_op_scale(b->g, "mlp_scaled", y, r);
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    granite m = {0};
    hg_hfconfig *c = b->config;
    hg_decoder_read(&m.d, b,
                    &(hg_decoder_defaults){.cls = "GraniteForCausalLM", .eps = 1e-6, .theta = 10000});
    m.d.qkv_bias = m.d.out_bias = hg_hfconfig_bool(c, "attention_bias", false);
    m.d.mlp_bias = hg_hfconfig_bool(c, "mlp_bias", false);
    m.d.embed_scale = hg_hfconfig_f64(c, "embedding_multiplier", 1, 1e-6, 1e6);
    m.d.scale = hg_hfconfig_f64(c, "attention_multiplier", 1, 1e-6, 1e6);
    m.residual = hg_hfconfig_f64(c, "residual_multiplier", 1, 1e-6, 1e6);
    m.d.logit_scale = 1 / hg_hfconfig_f64(c, "logits_scaling", 1, 1e-6, 1e6);
    return hg_decoder_build(&m.d, b, layer, err);
}

const hg_arch hg_arch_granite = {.name = "granite", .build = build};
