/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mistral 7B, NeMo, Small (Jiang et al. 2023): Llama's equations, without biases, with attention that may see a window only:
 *
 *   each layer:  x = x + W_o attention(turn(W_q n), turn(W_k n), W_v n),  n = rms(x);  token i sees i - window + 1 .. i
 *                x = x + W_down (silu(W_gate m) * W_up m),                m = rms(x)
 *   logits = W_head rms(x)
 */
#include "convert/arch/decoder.h"
#include "convert/archs.h"

static hangar_code build(hg_build *b, hangar_err *err)
{
    hg_decoder d = {0};
    hg_decoder_read(
        &d, b,
        &(hg_decoder_defaults){.cls = "MistralForCausalLM", .eps = 1e-6, .theta = 10000, .kv_heads = 8});
    hg_decoder_slide_all(&d, b->config, 4096);
    return hg_decoder_build(&d, b, hg_decoder_llama_layer, err);
}

const hg_arch hg_arch_mistral = {.name = "mistral", .build = build};
