/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OLMo 2 (Walsh et al. 2024): norms behind attention and MLP, before they are added, and over all queries (keys) of a token:
 *
 *   each layer:  x = x + rms(W_o attention(turn(rms(W_q x)), turn(rms(W_k x)), W_v x))
 *                x = x + rms(W_down (silu(W_gate x) * W_up x))
 *   logits = W_head rms(x)
 */
#include "convert/arch/decoder.h"
#include "convert/archs.h"

/* The stream, its sum made. */
static hg_value *sum(hg_build *b, const char *name, hg_stream *s)
{
    if (s->y) s->x = hg_op_add(b->g, name, s->x, s->y);
    s->y = NULL;
    return s->x;
}

static void layer(hg_decoder *d, hg_build *b, uint32_t i, hg_stream *s)
{
    hg_value *y = hg_decoder_self_attn(d, b, i, sum(b, "residual", s));
    s->y = hg_block_rms_norm(b, "post_attention_layernorm", y, d->width, d->eps, 0);
    y = hg_decoder_gated_mlp(d, b, "mlp", sum(b, "attention_residual", s), d->inner);
    s->y = hg_block_rms_norm(b, "post_feedforward_layernorm", y, d->width, d->eps, 0);
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    hg_decoder d = {.qk_norm = HG_QK_RMS_ROW};
    hg_decoder_read(&d, b, &(hg_decoder_defaults){.cls = "Olmo2ForCausalLM", .eps = 1e-5, .theta = 10000});
    d.qkv_bias = d.out_bias = hg_hfconfig_bool(b->config, "attention_bias", false);
    return hg_decoder_build(&d, b, layer, err);
}

const hg_arch hg_arch_olmo2 = {.name = "olmo2", .build = build};
