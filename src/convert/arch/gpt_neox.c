/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GPT-NeoX, Pythia (Black et al. 2022): q, k and v of each head side by side in one matrix; attention and MLP add to the same x:
 *
 *   each layer:  x = x + dense(attention(turn(q), turn(k), v)) + dense_4h_to_h(gelu(dense_h_to_4h(norm_2 x))),
 *                per head [q, k, v] = W_qkv (norm_1 x) + b_qkv
 *   logits = embed_out norm(x)
 *
 * With use_parallel_residual false the MLP sees x with the attention already added. Part of each head's numbers turn.
 */
#include "convert/arch/decoder.h"
#include "convert/archs.h"

typedef struct neox {
    hg_decoder d; /* first: a layer is given this */
    bool parallel;
} neox;

static hg_value *attention(hg_decoder *d, hg_build *b, uint32_t i, hg_value *n)
{
    hg_value *qkv[3];
    hg_graph_enter(b->g, "attention");
    hg_value *x = hg_block_linear(b, "query_key_value", n, d->width, 3 * (uint64_t)d->width, d->qkv_bias);
    hg_decoder_unpack(d, b, "query_key_value", x, d->heads, 1, qkv);
    x = hg_decoder_attend(d, b, i, qkv[0], qkv[1], qkv[2]);
    x = hg_block_linear(b, "dense", x, d->width, d->width, d->out_bias);
    hg_graph_leave(b->g);
    return x;
}

static hg_value *mlp(hg_decoder *d, hg_build *b, hg_value *x)
{
    hg_graph_enter(b->g, "mlp");
    x = hg_decoder_plain_mlp(d, b, "dense_h_to_4h", "dense_4h_to_h", x);
    hg_graph_leave(b->g);
    return x;
}

static void layer(hg_decoder *d, hg_build *b, uint32_t i, hg_stream *s)
{
    const neox *m = (const neox *)d;
    hg_value *y = attention(d, b, i, hg_block_stream_norm(b, "input_layernorm", s, d->width, d->eps, false));
    if (!m->parallel) s->y = y;
    hg_value *z = mlp(d, b, hg_block_stream_norm(b, "post_attention_layernorm", s, d->width, d->eps, false));
    s->y = m->parallel ? hg_op_add(b->g, "both", y, z) : z;
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    static const char *const unused[] = {"num_steps", NULL}; /* of the training */
    neox m = {.d = {.mlp_bias = true, .layer_norm = true}};
    hg_hfconfig *c = b->config;
    double theta = hg_hfconfig_f64(c, "rotary_emb_base", 10000, 1.001, 1e18);
    double part = hg_hfconfig_f64(c, "rotary_pct", 0.25, 1e-6, 1);
    hg_decoder_read(&m.d, b,
                    &(hg_decoder_defaults){.cls = "GPTNeoXForCausalLM",
                                           .eps_key = "layer_norm_eps",
                                           .act_name = "gelu",
                                           .eps = 1e-5,
                                           .theta = theta,
                                           .partial = part});
    m.d.names = (hg_decoder_names){"gpt_neox", "embed_in", "layers", "final_layer_norm", "embed_out"};
    m.d.qkv_bias = m.d.out_bias = hg_hfconfig_bool(c, "attention_bias", true);
    hg_hfconfig_ignore(c, unused);
    m.parallel = hg_hfconfig_bool(c, "use_parallel_residual", true);
    if (m.d.kv_heads != m.d.heads || (uint64_t)m.d.heads * m.d.head_dim != m.d.width)
        hg_hfconfig_wrong(c, HANGAR_E_UNSUPPORTED,
                          "num_key_value_heads or head_dim of another size than the heads");
    return hg_decoder_build(&m.d, b, layer, err);
}

const hg_arch hg_arch_gpt_neox = {.name = "gpt_neox", .build = build};
