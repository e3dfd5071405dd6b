/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gemma 3, its language model (Gemma Team 2025): Gemma 2 without soft caps, with the queries and keys of each head normalized, and five
 * layers with a window for each one without. Both kinds turn by frequencies of their own:
 *
 *   x = sqrt(width) W_embed[ids]
 *   each layer:  x = x + rms(W_o attention(turn(rms(W_q n)), turn(rms(W_k n)), W_v n)),  n = rms(x)
 *                x = x + rms(W_down (gelu(W_gate m) * W_up m)),                          m = rms(x)
 *   logits = W_embed rms(x)
 */
#include "convert/arch/decoder.h"
#include "convert/archs.h"

/* Every sixth layer sees everything where nothing else is said. */
static void read_window(hg_decoder *d, hg_hfconfig *c)
{
    uint32_t old = hg_hfconfig_u32(c, "sliding_window_pattern", 6, 1, 1u << 20);
    uint32_t every = hg_hfconfig_u32(c, "_sliding_window_pattern", old, 1, 1u << 20);
    d->window = hg_decoder_window(c, 4096);
    if (hg_decoder_layer_types(d, c)) return;
    for (uint32_t i = 0; i < d->layers; i++) d->sliding[i] = (i + 1) % every != 0;
}

/* Frequencies of layers without a window, which may be scaled for long texts, and of those with one. */
static void read_positions(hg_decoder *d, hg_hfconfig *c)
{
    double near = hg_hfconfig_f64(c, "rope_local_base_freq", 10000, 1.001, 1e18);
    const hg_rope_defaults whole = {1000000, 1, d->head_dim, d->positions},
                           local = {near, 1, d->head_dim, d->positions};
    if (c->wrong.code != HANGAR_OK) return;
    hg_rope_read_of(&d->rope, c, "full_attention", &whole, true);
    hg_rope_read_of(&d->rope_local, c, "sliding_attention", &local, false);
    d->turns_local = true;
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    hg_decoder d = {.norm_plus = 1, .counted = true, .qk_norm = HG_QK_RMS_HEAD};
    hg_hfconfig *c = b->config;
    hg_decoder_read(&d, b,
                    &(hg_decoder_defaults){.cls = "Gemma3ForCausalLM",
                                           .act = "hidden_activation",
                                           .act_name = "gelu_pytorch_tanh",
                                           .eps = 1e-6,
                                           .kv_heads = 4,
                                           .head_dim = 256,
                                           .tied = true});
    hg_decoder_read_gemma(&d, c);
    read_window(&d, c);
    read_positions(&d, c);
    d.soft_cap = hg_decoder_cap(c, "attn_logit_softcapping", 0);
    d.logit_cap = hg_decoder_cap(c, "final_logit_softcapping", 0);
    return hg_decoder_build(&d, b, hg_decoder_sandwich_layer, err);
}

const hg_arch hg_arch_gemma3_text = {.name = "gemma3_text", .build = build};
