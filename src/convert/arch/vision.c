/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/arch/vision.h"

#include <stdio.h>

/* "a.b" into out: names are the architectures' own literals, and short. */
static const char *join(char out[HG_ONNX_NAME_MAX], const char *a, const char *b)
{
    snprintf(out, HG_ONNX_NAME_MAX, "%s.%s", a, b);
    return out;
}

/* What configurations inside configurations once held, and the outer one says. */
const char *const hg_vision_old_keys[] = {"projection_dim", "tie_word_embeddings", NULL};

/* ---- pictures ---- */

/* A number, or [height, width]. */
static void read_pair(hg_hfconfig *c, const char *key, uint32_t def, uint32_t out[2])
{
    const hg_jval *v = hg_hfconfig_value(c, key);
    if (!hg_json_is_array(v)) {
        out[0] = out[1] = hg_hfconfig_u32(c, key, def, 1, 65536);
        return;
    }
    for (size_t i = 0; i < 2; i++) {
        uint64_t n = 0;
        if (hg_json_len(v) != 2 || !hg_json_u64(hg_json_at(v, i), &n) || n < 1 || n > 65536)
            hg_hfconfig_wrong(c, HANGAR_E_INVALID, "%s is not one or two whole numbers from 1 to 65536", key);
        out[i] = n >= 1 && n <= 65536 ? (uint32_t)n : 1;
    }
}

/* The sizes of pictures. */
hg_vision_image hg_vision_image_read(hg_hfconfig *c, uint32_t patch)
{
    hg_vision_image m = {.channels = hg_hfconfig_u32(c, "num_channels", 3, 1, 1024)};
    read_pair(c, "image_size", 224, m.size);
    read_pair(c, "patch_size", patch, m.patch);
    if (m.patch[0] > m.size[0] || m.patch[1] > m.size[1])
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "patch_size is greater than image_size");
    return m;
}

/* How many patches there are: what is left over at the edges is not seen. */
uint64_t hg_vision_patch_count(const hg_vision_image *m)
{
    return (uint64_t)(m->size[0] / m->patch[0]) * (m->size[1] / m->patch[1]);
}

/* Pictures from outside. */
hg_value *hg_vision_pixels(hg_build *b, const hg_vision_image *m, const char *batch)
{
    return hg_block_input(b, "pixel_values",
                          HG_SHAPE(HG_SYM(batch), HG_DIM(m->channels), HG_DIM(m->size[0]),
                                   HG_DIM(m->size[1])));
}

/* Patches as tokens. */
hg_value *hg_vision_patches(hg_build *b, const char *name, hg_value *pixels, const hg_vision_image *m,
                            uint64_t width, bool bias)
{
    char leaf[HG_ONNX_NAME_MAX];
    const int64_t flat[] = {0, (int64_t)width, -1}, tokens_first[] = {0, 2, 1};
    const uint64_t shape[] = {width, m->channels, m->patch[0], m->patch[1]};
    hg_value *w = hg_block_param(b, join(leaf, name, "weight"), 4, shape);
    hg_value *shift = bias ? hg_block_vector(b, join(leaf, name, "bias"), width) : NULL;
    hg_value *x = hg_op_conv(b->g, name, pixels, w, shift,
                             (hg_conv){.stride = m->patch[0], .last_stride = m->patch[1]});
    x = hg_op_reshape(b->g, join(leaf, name, "flat"), x, hg_graph_ints(b->g, flat, 3),
                      HG_SHAPE(pixels->shape.dims[0], HG_DIM(width), HG_DIM(hg_vision_patch_count(m))));
    return hg_op_transpose(b->g, join(leaf, name, "tokens"), x, tokens_first);
}

/* A token of every example. */
hg_value *hg_vision_first_token(hg_build *b, const char *name, hg_value *token, hg_value *x, uint64_t width)
{
    char part[HG_ONNX_NAME_MAX];
    const int64_t tail[] = {1, (int64_t)width};
    hg_value *sizes[] = {hg_op_shape(b->g, join(part, name, "batch"), x, 0, 1), hg_graph_ints(b->g, tail, 2)};
    hg_value *shape = hg_op_concat_ints(b->g, join(part, name, "shape"), sizes, 2);
    token = hg_op_expand(b->g, join(part, name, "each"), token, shape,
                         HG_SHAPE(x->shape.dims[0], HG_DIM(1), HG_DIM(width)));
    return hg_op_concat(b->g, name, (hg_value *[]){token, x}, 2, 1);
}

/* ---- texts ---- */

/* Token and position. */
hg_value *hg_vision_tokens(hg_build *b, hg_value *ids, uint64_t vocab, uint64_t positions, uint64_t width)
{
    const int64_t zero = 0;
    hg_graph_enter(b->g, "embeddings");
    hg_value *x = hg_block_embed(b, "token_embedding", ids, vocab, width);
    hg_value *place = hg_block_positions(b, "position_embedding", hg_graph_ints(b->g, &zero, 1),
                                         hg_op_shape(b->g, "length", ids, 1, 2), positions, width);
    x = hg_op_add(b->g, "add_positions", x, place);
    hg_graph_leave(b->g);
    return x;
}

/* ---- texts and pictures together ---- */

/* x / |x| over the last axis. */
static hg_value *unit(hg_build *b, const char *name, hg_value *x)
{
    char part[HG_ONNX_NAME_MAX];
    hg_value *length = hg_op_reduce(b->g, "ReduceL2", join(part, name, "length"), x, -1, true);
    return hg_op_div(b->g, name, x, length);
}

/* A single number of the checkpoint, once for every entry of x; made of x's shape, so that nothing but a weight is asked for at load. */
static hg_value *each(hg_build *b, const char *leaf, uint32_t rank, hg_value *x)
{
    char part[HG_ONNX_NAME_MAX];
    const uint64_t one = 1;
    hg_value *shape = hg_op_shape(b->g, join(part, leaf, "shape"), x, 0, 2);
    return hg_op_expand(b->g, join(part, leaf, "each"), hg_block_param(b, leaf, rank, &one), shape, x->shape);
}

/* Both ends of a model. */
void hg_vision_compare(hg_build *b, hg_value *text, hg_value *image, uint32_t rank, bool bias)
{
    const int64_t turned[] = {1, 0};
    hg_graph *g = b->g;
    text = unit(b, "text_unit", text);
    image = unit(b, "image_unit", image);
    hg_value *x = hg_op_matmul(g, "likeness", text, hg_op_transpose(g, "image_turned", image, turned));
    x = hg_op_mul(g, "scaled", x, hg_op_unary(g, "Exp", "scale", each(b, "logit_scale", rank, x)));
    if (bias) x = hg_op_add(g, "biased", x, each(b, "logit_bias", rank, x));
    hg_block_output(b, "logits_per_image", hg_op_transpose(g, "turned", x, turned));
    hg_block_output(b, "logits_per_text", x);
    hg_block_output(b, "text_embeds", text);
    hg_block_output(b, "image_embeds", image);
}

/* ---- layers ---- */

const hg_vision_names hg_vision_clip = {.norm_1 = "layer_norm1",
                                        .q = "self_attn.q_proj",
                                        .k = "self_attn.k_proj",
                                        .v = "self_attn.v_proj",
                                        .out = "self_attn.out_proj",
                                        .norm_2 = "layer_norm2",
                                        .up = "mlp.fc1",
                                        .down = "mlp.fc2",
                                        .attention = "self_attn"};

/* The sizes of a stack. */
void hg_vision_stack_read(hg_hfconfig *c, hg_vision_stack *m, const hg_vision_stack *defaults,
                          const char *act)
{
    m->width = hg_hfconfig_u32(c, "hidden_size", defaults->width, 1, 65536);
    m->layers = hg_hfconfig_u32(c, "num_hidden_layers", defaults->layers, 1, 512);
    m->heads = hg_hfconfig_u32(c, "num_attention_heads", defaults->heads, 1, 1024);
    m->inner = hg_hfconfig_u32(c, "intermediate_size", defaults->inner, 1, 1u << 20);
    m->eps = hg_hfconfig_f64(c, "layer_norm_eps", defaults->eps, 0, 1);
    m->act = hg_block_act(c, "hidden_act", act);
    if (m->width % m->heads != 0) {
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "hidden_size %u does not divide among %u heads", m->width,
                          m->heads);
    }
}

/* Rows as [B, S, width]; S as far as it is known. */
static hg_value *as_batch(hg_build *b, const char *name, hg_value *rows, hg_value *shape, hg_shape result)
{
    char part[HG_ONNX_NAME_MAX];
    return hg_op_reshape(b->g, join(part, name, "view"), rows, shape, result);
}

static hg_value *attend(hg_build *b, const hg_vision_stack *m, hg_value *x, hg_value *shape, hg_shape result)
{
    const hg_vision_names *n = m->names;
    hg_attention a = {.heads = m->heads, .mask = m->mask, .causal = m->causal};
    const uint32_t w = m->width;
    bool bias = !m->plain_qkv;
    a.q = as_batch(b, n->q, hg_block_linear(b, n->q, x, w, w, bias), shape, result);
    a.k = as_batch(b, n->k, hg_block_linear(b, n->k, x, w, w, bias), shape, result);
    a.v = as_batch(b, n->v, hg_block_linear(b, n->v, x, w, w, bias), shape, result);
    char part[HG_ONNX_NAME_MAX];
    hg_value *y = hg_op_attention(b->g, n->attention, &a);
    y = hg_op_rows(b->g, join(part, n->attention, "merged"), y);
    return hg_block_linear(b, n->out, y, w, w, true);
}

static hg_value *feed_forward(hg_build *b, const hg_vision_stack *m, hg_value *x)
{
    char part[HG_ONNX_NAME_MAX];
    const hg_vision_names *n = m->names;
    hg_value *y = hg_block_linear(b, n->up, x, m->width, m->inner, true);
    y = hg_op_act(b->g, join(part, n->up, "act"), y, m->act);
    return hg_block_linear(b, n->down, y, m->inner, m->width, true);
}

/* All layers. */
hg_stream hg_vision_layers(hg_build *b, const hg_vision_stack *m, hg_value *x)
{
    const hg_vision_names *n = m->names;
    const hg_shape result = x->shape;
    hg_value *shape = hg_block_batch_shape(b, "batch_shape", x, m->width);
    hg_stream s = {.x = hg_op_rows(b->g, "rows", x)};
    for (uint32_t i = 0; i < hg_build_layers(b, m->layers); i++) {
        hg_graph_enter(b->g, "%s.%u", m->scope, i);
        if (m->post_norm) {
            hg_value *y = attend(b, m, s.x, shape, result);
            s.x = hg_block_add_norm(b, n->norm_1, y, s.x, m->width, m->eps, NULL);
            y = feed_forward(b, m, s.x);
            s.x = hg_block_add_norm(b, n->norm_2, y, s.x, m->width, m->eps, NULL);
        } else {
            hg_value *y = hg_block_stream_norm(b, n->norm_1, &s, m->width, m->eps, false);
            s.y = attend(b, m, y, shape, result);
            y = hg_block_stream_norm(b, n->norm_2, &s, m->width, m->eps, false);
            s.y = feed_forward(b, m, y);
        }
        hg_graph_leave(b->g);
    }
    return s;
}

/* All layers, and what is left of them. */
hg_value *hg_vision_normed(hg_build *b, const hg_vision_stack *m, const char *norm, hg_value *x)
{
    const hg_shape result = x->shape;
    hg_value *shape = hg_op_shape(b->g, "hidden_shape", x, 0, 3);
    hg_stream s = hg_vision_layers(b, m, x);
    if (norm) s.x = hg_block_stream_norm(b, norm, &s, m->width, m->eps, true);
    else if (s.y) s.x = hg_op_add(b->g, "last_sum", s.x, s.y);
    return hg_op_reshape(b->g, "as_batch", s.x, shape, result);
}
