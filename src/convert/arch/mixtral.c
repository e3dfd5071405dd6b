/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mixtral (Jiang et al. 2024): Mistral's attention, and experts instead of one MLP:
 *
 *   each layer:  x = x + W_o attention(turn(W_q n), turn(W_k n), W_v n),                    n = rms(x)
 *                x = x + sum over the top k of p_e W2_e (silu(W1_e m) * W3_e m) / sum p_e,  m = rms(x), p = softmax(W_gate m)
 *   logits = W_head rms(x)
 */
#include "convert/arch/decoder.h"
#include "convert/arch/experts.h"
#include "convert/archs.h"

typedef struct mixtral {
    hg_decoder d; /* first: a layer is given this */
    hg_experts experts;
} mixtral;

static void layer(hg_decoder *d, hg_build *b, uint32_t i, hg_stream *s)
{
    s->y = hg_decoder_self_attn(d, b, i, hg_decoder_norm(d, b, "input_layernorm", s));
    hg_value *n = hg_decoder_norm(d, b, "post_attention_layernorm", s);
    hg_graph_enter(b->g, "block_sparse_moe");
    s->y = hg_block_experts(b, &((const mixtral *)d)->experts, n);
    hg_graph_leave(b->g);
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    mixtral m = {0};
    hg_hfconfig *c = b->config;
    hg_decoder_read(
        &m.d, b,
        &(hg_decoder_defaults){.cls = "MixtralForCausalLM", .eps = 1e-5, .theta = 1000000, .kv_heads = 8});
    hg_decoder_slide_all(&m.d, c, 0);
    m.experts = (hg_experts){.count = hg_hfconfig_u32(c, "num_local_experts", 8, 1, HG_EXPERTS_MAX),
                             .chosen = hg_hfconfig_u32(c, "num_experts_per_tok", 2, 1, HG_EXPERTS_MAX),
                             .width = m.d.width,
                             .inner = m.d.inner,
                             .act = m.d.act,
                             .normalized = true,
                             .router = "gate",
                             .stack = "experts",
                             .gate = "w1",
                             .up = "w3",
                             .down = "w2"};
    return hg_decoder_build(&m.d, b, layer, err);
}

const hg_arch hg_arch_mixtral = {.name = "mixtral", .build = build};
