/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SigLIP: texts and pictures in one space, each pair judged by itself (Zhai et al. 2023).
 *
 *   text:    x = token[ids] + position;  pre-norm layers, all tokens see all;  y = norm(x);  t = W_t y at the last place
 *   picture: x = patches + position;     pre-norm layers;                      y = norm(x)
 *            p = attention(probe, y, y);  i = p + W_2 act(W_1 norm(p))
 *   logits = exp(scale) (t / |t|) (i / |i|)^T + bias
 *
 * Texts are padded to the length that the model was trained with, and padding is seen: there is no attention_mask. in_proj_weight has the
 * rows of q, k and v one below the other. Three graphs: both together, and text_model and vision_model alone.
 */
#include "convert/arch/vision.h"
#include "convert/archs.h"

#include <string.h>

typedef struct siglip {
    hg_vision_stack text, vision;
    hg_vision_image image;
    uint32_t vocab, positions, projection;
} siglip;

static const hg_vision_stack base = {.width = 768, .layers = 12, .heads = 12, .inner = 3072, .eps = 1e-6};

static void read_text(siglip *m, hg_hfconfig *all)
{
    hg_hfconfig c;
    hg_hfconfig_enter(all, "text_config", &c);
    m->text = (hg_vision_stack){.names = &hg_vision_clip, .scope = "encoder.layers"};
    hg_vision_stack_read(&c, &m->text, &base, "gelu_pytorch_tanh");
    m->vocab = hg_hfconfig_u32(&c, "vocab_size", 32000, 1, 4u << 20);
    m->positions = hg_hfconfig_u32(&c, "max_position_embeddings", 64, 1, 1u << 20);
    m->projection = hg_hfconfig_u32(&c, "projection_size", m->text.width, 1, 65536);
    hg_hfconfig_ignore(&c, hg_vision_old_keys);
    hg_hfconfig_leave(all, &c);
}

static void read_vision(siglip *m, hg_hfconfig *all)
{
    hg_hfconfig c;
    hg_hfconfig_enter(all, "vision_config", &c);
    m->vision = (hg_vision_stack){.names = &hg_vision_clip, .scope = "encoder.layers"};
    hg_vision_stack_read(&c, &m->vision, &base, "gelu_pytorch_tanh");
    m->image = hg_vision_image_read(&c, 16);
    hg_hfconfig_only_bool(&c, "vision_use_head", true);
    hg_hfconfig_ignore(&c, hg_vision_old_keys);
    hg_hfconfig_leave(all, &c);
}

static void read_config(siglip *m, hg_build *b)
{
    hg_hfconfig *c = b->config;
    const char *name = hg_hfconfig_class(c);
    if (name && strcmp(name, "SiglipModel") != 0)
        hg_hfconfig_wrong(c, HANGAR_E_UNSUPPORTED, "architectures: %s", name);
    b->task = "zero-shot-image-classification";
    read_text(m, c);
    read_vision(m, c);
    if (!hg_hfconfig_has(c, "text_config") || !hg_hfconfig_has(c, "vision_config"))
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "text_config or vision_config is missing");
    if (m->projection != m->vision.width) {
        hg_hfconfig_wrong(c, HANGAR_E_INVALID,
                          "text_config.projection_size %u is not the width %u of pictures", m->projection,
                          m->vision.width);
    }
    hg_block_refuse_common(c);
}

static hg_value *text(const siglip *m, hg_build *b, hg_value **hidden)
{
    hg_graph *g = b->g;
    hg_value *ids = hg_graph_input(g, "input_ids", HG_ONNX_INT64,
                                   HG_SHAPE(HG_SYM("text_batch_size"), HG_SYM("sequence_length")));
    hg_graph_enter(g, "text_model");
    hg_value *x = hg_vision_tokens(b, ids, m->vocab, m->positions, m->text.width);
    *hidden = hg_vision_normed(b, &m->text, "final_layer_norm", x);
    hg_value *last = hg_op_gather(g, "last_token", *hidden, hg_graph_int(g, -1), 1);
    x = hg_block_linear(b, "head", last, m->text.width, m->projection, true);
    hg_graph_leave(g);
    return x;
}

/* attention(probe, y, y), as rows. */
static hg_value *probe(const siglip *m, hg_build *b, hg_value *y)
{
    hg_graph *g = b->g;
    const uint64_t width = m->vision.width;
    const int64_t tail[] = {1, (int64_t)width};
    hg_linear part = {.in = width,
                      .out = width,
                      .weight = "attention.in_proj_weight",
                      .bias = "attention.in_proj_bias",
                      .total = 3 * width};
    hg_value *sizes[] = {hg_op_shape(g, "batch", y, 0, 1), hg_graph_ints(g, tail, 2)};
    hg_value *one = hg_op_concat_ints(g, "probe.shape", sizes, 2);
    const hg_shape single = HG_SHAPE(y->shape.dims[0], HG_DIM(1), HG_DIM(width));
    hg_value *p = hg_block_param(b, "probe", 3, (const uint64_t[]){1, 1, width});
    p = hg_op_rows(g, "probe.rows", hg_op_expand(g, "probe.each", p, one, single));
    hg_value *rows = hg_op_rows(g, "rows", y), *shape = hg_op_shape(g, "shape", y, 0, 3);
    hg_attention a = {.heads = m->vision.heads};
    a.q = hg_op_reshape(g, "attention.q.view", hg_block_linear_of(b, "attention.q", p, &part), one, single);
    part.first = width;
    a.k = hg_op_reshape(g, "attention.k.view", hg_block_linear_of(b, "attention.k", rows, &part), shape,
                        y->shape);
    part.first = 2 * width;
    a.v = hg_op_reshape(g, "attention.v.view", hg_block_linear_of(b, "attention.v", rows, &part), shape,
                        y->shape);
    y = hg_op_squeeze(g, "attention.merged", hg_op_attention(g, "attention", &a), 1);
    return hg_block_linear(b, "attention.out_proj", y, width, width, true);
}

static hg_value *picture(const siglip *m, hg_build *b, hg_value **hidden)
{
    hg_graph *g = b->g;
    const hg_vision_stack *t = &m->vision;
    hg_value *pixels = hg_vision_pixels(b, &m->image, "image_batch_size");
    hg_graph_enter(g, "vision_model");
    hg_graph_enter(g, "embeddings");
    hg_value *x = hg_vision_patches(b, "patch_embedding", pixels, &m->image, t->width, true);
    hg_value *place =
        hg_block_matrix(b, "position_embedding.weight", hg_vision_patch_count(&m->image), t->width);
    x = hg_op_add(g, "add_positions", x, place);
    hg_graph_leave(g);
    *hidden = hg_vision_normed(b, t, "post_layernorm", x);
    hg_graph_enter(g, "head");
    x = probe(m, b, *hidden);
    hg_value *y = hg_block_norm(b, "layernorm", x, t->width, t->eps);
    y = hg_op_act(g, "mlp.act", hg_block_linear(b, "mlp.fc1", y, t->width, t->inner, true), t->act);
    x = hg_op_add(g, "add", x, hg_block_linear(b, "mlp.fc2", y, t->inner, t->width, true));
    hg_graph_leave(g);
    hg_graph_leave(g);
    return x;
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    siglip m = {0};
    hg_value *hidden;
    read_config(&m, b);
    hangar_code code = hg_hfconfig_check(b->config, err);
    if (code == HANGAR_OK) code = hg_build_begin(b, "model", err);
    if (code != HANGAR_OK) return code;
    hg_value *t = text(&m, b, &hidden);
    hg_vision_compare(b, t, picture(&m, b, &hidden), 1, true);
    if ((code = hg_build_begin(b, "text_model", err)) != HANGAR_OK) return code;
    hg_value *pooled = text(&m, b, &hidden);
    hg_block_output(b, "last_hidden_state", hidden);
    hg_block_output(b, "pooler_output", pooled);
    if ((code = hg_build_begin(b, "vision_model", err)) != HANGAR_OK) return code;
    pooled = picture(&m, b, &hidden);
    hg_block_output(b, "last_hidden_state", hidden);
    hg_block_output(b, "pooler_output", pooled);
    return HANGAR_OK;
}

const hg_arch hg_arch_siglip = {.name = "siglip", .build = build};
