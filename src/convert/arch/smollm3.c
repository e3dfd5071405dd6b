/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SmolLM3 (Bakouch et al. 2025): Llama's equations, where every fourth layer knows no positions (NoPE):
 *
 *   each layer:  x = x + W_o attention(turn(W_q n), turn(W_k n), W_v n),  n = rms(x);  in some layers turn(y) = y
 *                x = x + W_down (silu(W_gate m) * W_up m),                m = rms(x)
 *   logits = W_embed rms(x)
 *
 * Only layers without positions may slide over a window.
 */
#include "convert/arch/decoder.h"
#include "convert/archs.h"

/* no_rope_layers: 0 where a layer has no positions. Without the list it is every no_rope_layer_interval-th. */
static void read_still(hg_decoder *d, hg_hfconfig *c)
{
    uint32_t every = hg_hfconfig_u32(c, "no_rope_layer_interval", 4, 1, 1u << 20);
    const hg_jval *list = hg_hfconfig_value(c, "no_rope_layers");
    for (uint32_t i = 0; i < d->layers; i++) d->still[i] = (i + 1) % every == 0;
    if (!list) return;
    if (!hg_json_is_array(list) || hg_json_len(list) < d->layers)
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "no_rope_layers does not have %u entries", d->layers);
    for (hg_json_iter it = hg_json_iter_of(list); hg_json_next(&it) && it.index < d->layers;)
        d->still[it.index] = hg_json_i64_or(it.val, 1) == 0;
}

static void read_window(hg_decoder *d, hg_hfconfig *c)
{
    bool use = hg_hfconfig_bool(c, "use_sliding_window", false);
    uint32_t window = hg_decoder_window(c, 0);
    d->window = use ? window : 0;
    if (hg_decoder_layer_types(d, c)) return;
    for (uint32_t i = 0; i < d->layers; i++) d->sliding[i] = d->still[i];
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    hg_decoder d = {0};
    hg_decoder_read(&d, b,
                    &(hg_decoder_defaults){.cls = "SmolLM3ForCausalLM",
                                           .eps = 1e-6,
                                           .theta = 2000000,
                                           .kv_heads = 4,
                                           .tied = true});
    d.qkv_bias = d.out_bias = hg_hfconfig_bool(b->config, "attention_bias", false);
    d.mlp_bias = hg_hfconfig_bool(b->config, "mlp_bias", false);
    read_still(&d, b->config);
    read_window(&d, b->config);
    static const char *const said_elsewhere[] = {"max_window_layers", NULL};
    hg_hfconfig_ignore(b->config, said_elsewhere);
    return hg_decoder_build(&d, b, hg_decoder_llama_layer, err);
}

const hg_arch hg_arch_smollm3 = {.name = "smollm3", .build = build};
