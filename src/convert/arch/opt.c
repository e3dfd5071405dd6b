/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OPT (Zhang et al. 2022): learned positions that begin at row 2 of their table, norms before attention and MLP (or behind, in opt-350m):
 *
 *   x = project_in(embed_tokens[ids]) + embed_positions[positions + 2]
 *   each layer:  x = x + out_proj(attention(q_proj n, k_proj n, v_proj n)),  n = norm(x)
 *                x = x + fc2(relu(fc1(m))),                                  m = norm(x)
 *   logits = embed_tokens project_out(norm(x))
 *
 * The projections are there when embeddings are narrower than the layers. With do_layer_norm_before false: x = norm(x + ..), and no norm
 * at the end.
 */
#include "convert/arch/decoder.h"
#include "convert/archs.h"

#define FIRST_ROW 2

typedef struct opt {
    hg_decoder d;    /* first: a layer is given this */
    uint32_t narrow; /* width of the embeddings */
    bool before;
} opt;

static hg_value *self_attn(hg_decoder *d, hg_build *b, uint32_t i, hg_value *n)
{
    hg_graph_enter(b->g, "self_attn");
    hg_value *q = hg_block_linear(b, "q_proj", n, d->width, d->width, d->qkv_bias);
    hg_value *k = hg_block_linear(b, "k_proj", n, d->width, d->width, d->qkv_bias);
    hg_value *v = hg_block_linear(b, "v_proj", n, d->width, d->width, d->qkv_bias);
    hg_value *y = hg_decoder_attend(d, b, i, q, k, v);
    y = hg_block_linear(b, "out_proj", y, d->width, d->width, d->qkv_bias);
    hg_graph_leave(b->g);
    return y;
}

static void layer(hg_decoder *d, hg_build *b, uint32_t i, hg_stream *s)
{
    const char *first = "self_attn_layer_norm", *second = "final_layer_norm";
    if (((const opt *)d)->before) {
        s->y = self_attn(d, b, i, hg_block_stream_norm(b, first, s, d->width, d->eps, false));
        s->y = hg_decoder_plain_mlp(d, b, "fc1", "fc2",
                                    hg_block_stream_norm(b, second, s, d->width, d->eps, false));
        return;
    }
    hg_value *x = s->y ? hg_op_add(b->g, "sum", s->x, s->y) : s->x;
    x = hg_block_add_norm(b, first, x, self_attn(d, b, i, x), d->width, d->eps, NULL);
    hg_value *y = hg_decoder_plain_mlp(d, b, "fc1", "fc2", x);
    *s = (hg_stream){hg_block_add_norm(b, second, x, y, d->width, d->eps, NULL), NULL};
}

static void read_config(opt *m, hg_build *b)
{
    hg_hfconfig *c = b->config;
    hg_decoder *d = &m->d;
    hg_decoder_read_class(d, b, "OPTForCausalLM", NULL);
    d->vocab = hg_hfconfig_u32(c, "vocab_size", 0, 1, 4u << 20);
    d->width = hg_hfconfig_u32(c, "hidden_size", 0, 1, 65536);
    d->layers = hg_hfconfig_u32(c, "num_hidden_layers", 0, 1, HG_DECODER_LAYERS_MAX);
    d->heads = d->kv_heads = hg_hfconfig_u32(c, "num_attention_heads", 0, 1, 1024);
    d->head_dim = d->width % d->heads == 0 ? d->width / d->heads : 0;
    d->inner = hg_hfconfig_u32(c, "ffn_dim", 0, 1, 1u << 20);
    d->positions = hg_hfconfig_u32(c, "max_position_embeddings", 2048, 1, 1u << 20);
    m->narrow = hg_hfconfig_u32(c, "word_embed_proj_dim", d->width, 1, 65536);
    m->before = hg_hfconfig_bool(c, "do_layer_norm_before", true);
    bool removed = hg_hfconfig_bool(c, "_remove_final_layer_norm", false);
    d->names = (hg_decoder_names){"model.decoder", "embed_tokens", "layers",
                                  m->before && !removed ? "final_layer_norm" : NULL, "lm_head"};
    d->layer_norm = true;
    d->eps = 1e-5; /* what LayerNorm has when nobody says another one */
    d->act = hg_block_act(c, "activation_function", "relu");
    d->tied = hg_hfconfig_bool(c, "tie_word_embeddings", true);
    d->qkv_bias = d->mlp_bias = hg_hfconfig_bool(c, "enable_bias", true);
    hg_hfconfig_only_bool(c, "layer_norm_elementwise_affine", true);
    hg_decoder_check(d, c);
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    opt m = {0};
    hg_decoder *d = &m.d;
    char body[160];
    read_config(&m, b);
    hangar_code code = hg_decoder_begin(d, b, err);
    if (code != HANGAR_OK) return code;
    const uint32_t width = d->width;
    hg_value *place = hg_op_add(b->g, "places", d->place, hg_graph_int(b->g, FIRST_ROW));
    d->width = m.narrow;
    hg_value *x = hg_decoder_embed(d, b);
    d->width = width;
    if (m.narrow != width)
        x = hg_block_linear(b, hg_decoder_in_body(d, "project_in", body), x, m.narrow, width, false);
    hg_stream s = {x, hg_decoder_places(d, b, "embed_positions", place, d->positions + FIRST_ROW)};
    if (!m.before) s = (hg_stream){hg_op_add(b->g, "embeddings", s.x, s.y), NULL};
    hg_decoder_layers(d, b, layer, &s);
    x = hg_decoder_last_norm(d, b, &s);
    if (m.narrow != width)
        x = hg_block_linear(b, hg_decoder_in_body(d, "project_out", body), x, width, m.narrow, false);
    hg_decoder_head(d, b, x);
    return HANGAR_OK;
}

const hg_arch hg_arch_opt = {.name = "opt", .build = build};
