/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Phi 1, 1.5 and 2 (Gunasekar et al. 2023): attention and MLP side by side behind one LayerNorm, biases everywhere:
 *
 *   each layer:  n = norm(x);  x = x + dense(attention(turn(W_q n), turn(W_k n), W_v n)) + fc2(act(fc1(n)))
 *   logits = W_head norm(x) + b_head
 *
 * Part of each head's numbers turn (partial_rotary_factor); with qk_layernorm each head's queries and keys are normalized first.
 */
#include "convert/arch/decoder.h"
#include "convert/archs.h"

static hg_value *self_attn(hg_decoder *d, hg_build *b, uint32_t i, hg_value *n)
{
    const uint64_t wide = (uint64_t)d->heads * d->head_dim, narrow = (uint64_t)d->kv_heads * d->head_dim;
    hg_graph_enter(b->g, "self_attn");
    hg_value *q = hg_block_linear(b, "q_proj", n, d->width, wide, true);
    hg_value *k = hg_block_linear(b, "k_proj", n, d->width, narrow, true);
    hg_value *v = hg_block_linear(b, "v_proj", n, d->width, narrow, true);
    q = hg_decoder_qk_norm(d, b, "q_layernorm", q, d->heads);
    k = hg_decoder_qk_norm(d, b, "k_layernorm", k, d->kv_heads);
    hg_value *y = hg_block_linear(b, "dense", hg_decoder_attend(d, b, i, q, k, v), wide, d->width, true);
    hg_graph_leave(b->g);
    return y;
}

static void layer(hg_decoder *d, hg_build *b, uint32_t i, hg_stream *s)
{
    hg_value *n = hg_block_stream_norm(b, "input_layernorm", s, d->width, d->eps, false);
    hg_value *y = self_attn(d, b, i, n);
    hg_graph_enter(b->g, "mlp");
    hg_value *z = hg_decoder_plain_mlp(d, b, "fc1", "fc2", n);
    hg_graph_leave(b->g);
    s->y = hg_op_add(b->g, "both", y, z);
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    hg_decoder d = {.mlp_bias = true, .head_bias = true, .layer_norm = true};
    hg_hfconfig *c = b->config;
    hg_decoder_read(&d, b,
                    &(hg_decoder_defaults){.cls = "PhiForCausalLM",
                                           .own_code = "modeling_phi.PhiForCausalLM",
                                           .eps_key = "layer_norm_eps",
                                           .act_name = "gelu_new",
                                           .eps = 1e-5,
                                           .theta = 10000,
                                           .partial = 0.5});
    if (hg_hfconfig_bool(c, "qk_layernorm", false)) d.qk_norm = HG_QK_LAYER;
    d.names.norm = "final_layernorm";
    return hg_decoder_build(&d, b, layer, err);
}

const hg_arch hg_arch_phi = {.name = "phi", .build = build};
