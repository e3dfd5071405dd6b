/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Llama 1 to 3 (Touvron et al. 2023), and the many models that keep its equations:
 *
 *   each layer:  x = x + W_o attention(turn(W_q n), turn(W_k n), W_v n),  n = rms(x)
 *                x = x + W_down (silu(W_gate m) * W_up m),                m = rms(x)
 *   logits = W_head rms(x)
 *
 * turn: rotary positions; attention: causal, num_key_value_heads keys for num_attention_heads queries.
 */
#include "convert/arch/decoder.h"
#include "convert/archs.h"

static hangar_code build(hg_build *b, hangar_err *err)
{
    /* what the tools of some trainings left behind: the length of the first Llama's texts, once more; "yes, a Llama" */
    static const char *const unused[] = {"is_llama_config", "max_sequence_length", NULL};
    hg_decoder d = {0};
    hg_decoder_read(&d, b, &(hg_decoder_defaults){.cls = "LlamaForCausalLM", .eps = 1e-6, .theta = 10000});
    d.qkv_bias = d.out_bias = hg_hfconfig_bool(b->config, "attention_bias", false);
    d.mlp_bias = hg_hfconfig_bool(b->config, "mlp_bias", false);
    hg_hfconfig_ignore(b->config, unused);
    return hg_decoder_build(&d, b, hg_decoder_llama_layer, err);
}

const hg_arch hg_arch_llama = {.name = "llama", .build = build};
