/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gemma 2 (Gemma Team 2024): norms before and behind attention and MLP, soft caps on scores and logits, every other layer with a window:
 *
 *   x = sqrt(width) W_embed[ids]
 *   each layer:  x = x + rms(W_o attention(turn(W_q n), turn(W_k n), W_v n)),  n = rms(x);  scores: cap(q k^T / sqrt(query_pre_attn_scalar))
 *                x = x + rms(W_down (gelu(W_gate m) * W_up m)),                m = rms(x)
 *   logits = cap(W_embed rms(x));   cap(y) = c tanh(y / c)
 */
#include "convert/arch/decoder.h"
#include "convert/archs.h"

#include <math.h>

/* Layers 0, 2, 4, .. slide where nothing else is said. */
static void read_window(hg_decoder *d, hg_hfconfig *c)
{
    d->window = hg_decoder_window(c, 4096);
    if (hg_decoder_layer_types(d, c)) return;
    for (uint32_t i = 0; i < d->layers; i++) d->sliding[i] = i % 2 == 0;
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    hg_decoder d = {.norm_plus = 1, .counted = true};
    hg_hfconfig *c = b->config;
    hg_decoder_read(&d, b,
                    &(hg_decoder_defaults){.cls = "Gemma2ForCausalLM",
                                           .act = "hidden_activation",
                                           .act_name = "gelu_pytorch_tanh",
                                           .eps = 1e-6,
                                           .theta = 10000,
                                           .kv_heads = 4,
                                           .head_dim = 256,
                                           .tied = true});
    hg_decoder_read_gemma(&d, c);
    read_window(&d, c);
    d.soft_cap = hg_decoder_cap(c, "attn_logit_softcapping", 50);
    d.logit_cap = hg_decoder_cap(c, "final_logit_softcapping", 30);
    return hg_decoder_build(&d, b, hg_decoder_sandwich_layer, err);
}

const hg_arch hg_arch_gemma2 = {.name = "gemma2", .build = build};
