/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Qwen 3 (Yang et al. 2025): Llama's equations with the queries and keys of each head normalized before they turn:
 *
 *   each layer:  x = x + W_o attention(turn(rms(W_q n)), turn(rms(W_k n)), W_v n),  n = rms(x)
 *                x = x + W_down (silu(W_gate m) * W_up m),                          m = rms(x)
 *   logits = W_head rms(x)
 */
#include "convert/arch/decoder.h"
#include "convert/archs.h"

static hangar_code build(hg_build *b, hangar_err *err)
{
    hg_decoder d = {.qk_norm = HG_QK_RMS_HEAD};
    hg_decoder_read(
        &d, b,
        &(hg_decoder_defaults){.cls = "Qwen3ForCausalLM", .eps = 1e-6, .theta = 10000, .head_dim = 128});
    d.qkv_bias = d.out_bias = hg_hfconfig_bool(b->config, "attention_bias", false);
    hg_decoder_slide_late(&d, b->config);
    return hg_decoder_build(&d, b, hg_decoder_llama_layer, err);
}

const hg_arch hg_arch_qwen3 = {.name = "qwen3", .build = build};
