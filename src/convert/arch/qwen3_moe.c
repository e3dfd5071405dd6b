/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Qwen 3 with experts (Yang et al. 2025): Qwen 3's attention, and experts instead of one MLP in most layers:
 *
 *   each layer:  x = x + W_o attention(turn(rms(W_q n)), turn(rms(W_k n)), W_v n),                      n = rms(x)
 *                x = x + sum over the top k of p_e W_down_e (silu(W_gate_e m) * W_up_e m) [/ sum p_e],  m = rms(x), p = softmax(W_gate m)
 *   logits = W_head rms(x)
 *
 * Divided by the sum with norm_topk_prob. Layers of mlp_only_layers, and all but every decoder_sparse_step-th, have one MLP as in Qwen 3.
 */
#include "convert/arch/decoder.h"
#include "convert/arch/experts.h"
#include "convert/archs.h"

typedef struct qwen3_moe {
    hg_decoder d; /* first: a layer is given this */
    hg_experts experts;
    bool dense[HG_DECODER_LAYERS_MAX];
} qwen3_moe;

static void layer(hg_decoder *d, hg_build *b, uint32_t i, hg_stream *s)
{
    const qwen3_moe *m = (const qwen3_moe *)d;
    s->y = hg_decoder_self_attn(d, b, i, hg_decoder_norm(d, b, "input_layernorm", s));
    hg_value *n = hg_decoder_norm(d, b, "post_attention_layernorm", s);
    if (m->dense[i]) {
        s->y = hg_decoder_gated_mlp(d, b, "mlp", n, d->inner);
        return;
    }
    hg_graph_enter(b->g, "mlp");
    s->y = hg_block_experts(b, &m->experts, n);
    hg_graph_leave(b->g);
}

static void read_dense(qwen3_moe *m, hg_hfconfig *c)
{
    uint32_t step = hg_hfconfig_u32(c, "decoder_sparse_step", 1, 1, 1u << 20);
    const hg_jval *list = hg_hfconfig_value(c, "mlp_only_layers");
    for (uint32_t i = 0; i < m->d.layers; i++) m->dense[i] = (i + 1) % step != 0;
    for (hg_json_iter it = hg_json_iter_of(list); list && hg_json_next(&it);) {
        uint64_t i = 0;
        if (!hg_json_u64(it.val, &i))
            hg_hfconfig_wrong(c, HANGAR_E_INVALID, "mlp_only_layers are not numbers");
        else if (i < m->d.layers) m->dense[i] = true;
    }
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    qwen3_moe m = {.d = {.qk_norm = HG_QK_RMS_HEAD}};
    hg_hfconfig *c = b->config;
    hg_decoder_read(
        &m.d, b,
        &(hg_decoder_defaults){.cls = "Qwen3MoeForCausalLM", .eps = 1e-6, .theta = 10000, .kv_heads = 4});
    m.d.qkv_bias = m.d.out_bias = hg_hfconfig_bool(c, "attention_bias", false);
    bool slides = hg_hfconfig_bool(c, "use_sliding_window", false);
    hg_decoder_slide_all(&m.d, c, 4096);
    if (!slides) m.d.window = 0;
    read_dense(&m, c);
    uint32_t count = hg_hfconfig_u32(c, "num_local_experts", 128, 1, HG_EXPERTS_MAX);
    m.experts = (hg_experts){.count = hg_hfconfig_u32(c, "num_experts", count, 1, HG_EXPERTS_MAX),
                             .chosen = hg_hfconfig_u32(c, "num_experts_per_tok", 8, 1, HG_EXPERTS_MAX),
                             .width = m.d.width,
                             .inner = hg_hfconfig_u32(c, "moe_intermediate_size", 768, 1, 1u << 20),
                             .act = m.d.act,
                             .normalized = hg_hfconfig_bool(c, "norm_topk_prob", false),
                             .router = "gate",
                             .stack = "experts",
                             .gate = "gate_proj",
                             .up = "up_proj",
                             .down = "down_proj"};
    static const char *const unused[] = {"max_window_layers", NULL};
    hg_hfconfig_ignore(c, unused);
    return hg_decoder_build(&m.d, b, layer, err);
}

const hg_arch hg_arch_qwen3_moe = {.name = "qwen3_moe", .build = build};
