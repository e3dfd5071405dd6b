/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Qwen 1.5, 2 and 2.5 (Yang et al. 2024): Llama's equations with biases on queries, keys and values, late layers perhaps with a window:
 *
 *   each layer:  x = x + W_o attention(turn(W_q n + b_q), turn(W_k n + b_k), W_v n + b_v),  n = rms(x)
 *                x = x + W_down (silu(W_gate m) * W_up m),                                  m = rms(x)
 *   logits = W_head rms(x)
 */
#include "convert/arch/decoder.h"
#include "convert/archs.h"

static hangar_code build(hg_build *b, hangar_err *err)
{
    hg_decoder d = {.qkv_bias = true};
    hg_decoder_read(&d, b, &(hg_decoder_defaults){.cls = "Qwen2ForCausalLM", .eps = 1e-6, .theta = 10000});
    hg_decoder_slide_late(&d, b->config);
    return hg_decoder_build(&d, b, hg_decoder_llama_layer, err);
}

const hg_arch hg_arch_qwen2 = {.name = "qwen2", .build = build};
