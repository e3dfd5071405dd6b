/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gemma (Gemma Team 2024): Llama's equations with a gelu gate, embeddings scaled by the square root of their width, norms whose weight
 * counts from 1, and heads wider than width / heads:
 *
 *   x = sqrt(width) W_embed[ids]
 *   each layer:  x = x + W_o attention(turn(W_q n), turn(W_k n), W_v n),  n = rms(x)
 *                x = x + W_down (gelu(W_gate m) * W_up m),                m = rms(x)
 *   logits = W_embed rms(x);   rms(x) = x / sqrt(mean(x^2) + eps) * (1 + w)
 */
#include "convert/arch/decoder.h"
#include "convert/archs.h"

#include <math.h>
#include <string.h>

/* The first files say "gelu" where the tanh form is meant; the model was trained with that one, and always run with it. */
static void read_act(hg_decoder *d, hg_hfconfig *c)
{
    bool named = hg_hfconfig_has(c, "hidden_activation");
    hg_act old = hg_block_act(c, "hidden_act", "gelu_pytorch_tanh");
    d->act = named ? hg_block_act(c, "hidden_activation", NULL) : old == HG_ACT_GELU ? HG_ACT_GELU_NEW : old;
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    hg_decoder d = {.norm_plus = 1, .counted = true};
    hg_hfconfig *c = b->config;
    hg_decoder_read(&d, b,
                    &(hg_decoder_defaults){.cls = "GemmaForCausalLM",
                                           .eps = 1e-6,
                                           .theta = 10000,
                                           .kv_heads = 16,
                                           .head_dim = 256,
                                           .tied = true});
    read_act(&d, c);
    d.embed_scale = sqrt(d.width);
    d.qkv_bias = d.out_bias = hg_hfconfig_bool(c, "attention_bias", false);
    hg_hfconfig_only_bool(c, "use_bidirectional_attention", false);
    return hg_decoder_build(&d, b, hg_decoder_llama_layer, err);
}

const hg_arch hg_arch_gemma = {.name = "gemma", .build = build};
