/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CLIP: texts and pictures in one space (Radford et al. 2021).
 *
 *   text:    x = token[ids] + position;          causal pre-norm layers;  y = norm(x);    t = W_t y at the end token
 *   picture: x = norm([class; patches] + position);  pre-norm layers;     y = x_0;        i = W_i norm(y)
 *   logits = exp(scale) (t / |t|) (i / |i|)^T
 *
 * The end token is the first one that is eos_token_id; where that is 2, which the first releases wrote by mistake, it is the largest id.
 * Three graphs: both together, and text_model and vision_model, whose embeddings keep their length, alone.
 */
#include "convert/arch/vision.h"
#include "convert/archs.h"

#include <string.h>

typedef struct clip {
    hg_vision_stack text, vision;
    hg_vision_image image;
    uint32_t vocab, positions, projection, eos;
} clip;

/* Old files say sizes twice; the original lets "text_config_dict", filled up with defaults, win over "text_config". */
static const char *which(hg_hfconfig *all, const char *key, const char *old)
{
    (void)hg_hfconfig_has(all, key);
    return hg_hfconfig_has(all, old) ? old : key;
}

static void read_text(clip *m, hg_hfconfig *all)
{
    static const hg_vision_stack base = {.width = 512, .layers = 12, .heads = 8, .inner = 2048, .eps = 1e-5};
    hg_hfconfig c;
    hg_hfconfig_enter(all, which(all, "text_config", "text_config_dict"), &c);
    m->text = (hg_vision_stack){.names = &hg_vision_clip, .scope = "encoder.layers", .causal = true};
    hg_vision_stack_read(&c, &m->text, &base, "quick_gelu");
    m->vocab = hg_hfconfig_u32(&c, "vocab_size", 49408, 1, 4u << 20);
    m->positions = hg_hfconfig_u32(&c, "max_position_embeddings", 77, 1, 1u << 20);
    m->eos = hg_hfconfig_u32(&c, "eos_token_id", 49407, 0, UINT32_MAX);
    hg_hfconfig_ignore(&c, hg_vision_old_keys);
    hg_hfconfig_leave(all, &c);
}

static void read_vision(clip *m, hg_hfconfig *all)
{
    static const hg_vision_stack base = {.width = 768, .layers = 12, .heads = 12, .inner = 3072, .eps = 1e-5};
    hg_hfconfig c;
    hg_hfconfig_enter(all, which(all, "vision_config", "vision_config_dict"), &c);
    m->vision = (hg_vision_stack){.names = &hg_vision_clip, .scope = "encoder.layers"};
    hg_vision_stack_read(&c, &m->vision, &base, "quick_gelu");
    m->image = hg_vision_image_read(&c, 32);
    hg_hfconfig_ignore(&c, hg_vision_old_keys);
    hg_hfconfig_leave(all, &c);
}

static void read_config(clip *m, hg_build *b)
{
    static const char *const other[] = {"logit_scale_init_value", NULL}; /* where training began */
    hg_hfconfig *c = b->config;
    const char *name = hg_hfconfig_class(c);
    if (name && strcmp(name, "CLIPModel") != 0)
        hg_hfconfig_wrong(c, HANGAR_E_UNSUPPORTED, "architectures: %s", name);
    b->task = "zero-shot-image-classification";
    m->projection = hg_hfconfig_u32(c, "projection_dim", 512, 1, 65536);
    read_text(m, c);
    read_vision(m, c);
    if (!hg_hfconfig_has(c, "text_config") || !hg_hfconfig_has(c, "vision_config"))
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "text_config or vision_config is missing");
    hg_block_refuse_common(c);
    hg_hfconfig_ignore(c, other);
}

/* ---- texts ---- */

/* Row `place` [B] of each example of y [B, S, width]: [B, width]. */
static hg_value *row_at(hg_build *b, hg_value *y, hg_value *place)
{
    hg_graph *g = b->g;
    hg_value *count = hg_op_size(g, "examples", y, 0), *length = hg_op_size(g, "length", y, 1);
    hg_value *first = hg_op_range(g, "each", hg_graph_int(g, 0), count, "text_batch_size");
    first = hg_op_mul(g, "first_row", first, length);
    return hg_op_gather(g, "end_row", hg_op_rows(g, "end_rows", y), hg_op_add(g, "row", first, place), 0);
}

static hg_value *text(const clip *m, hg_build *b, hg_value **hidden, hg_value **pooled)
{
    hg_graph *g = b->g;
    const hg_shape tokens = HG_SHAPE(HG_SYM("text_batch_size"), HG_SYM("sequence_length"));
    hg_vision_stack stack = m->text;
    hg_value *ids = hg_graph_input(g, "input_ids", HG_ONNX_INT64, tokens);
    hg_value *mask = hg_graph_input(g, "attention_mask", HG_ONNX_INT64, tokens);
    hg_graph_enter(g, "text_model");
    stack.mask = hg_op_cast(g, "mask", mask, HG_ONNX_INT32);
    hg_value *x = hg_vision_tokens(b, ids, m->vocab, m->positions, stack.width);
    *hidden = hg_vision_normed(b, &stack, "final_layer_norm", x);
    hg_value *key = m->eos == 2 ? ids : hg_op_compare(g, "Equal", "is_end", ids, hg_graph_int(g, m->eos));
    hg_value *place = hg_op_argmax(g, "end", hg_op_cast(g, "end_key", key, HG_ONNX_INT32), 1);
    *pooled = row_at(b, *hidden, place);
    hg_graph_leave(g);
    return hg_block_linear(b, "text_projection", *pooled, stack.width, m->projection, false);
}

/* ---- pictures ---- */

static hg_value *picture(const clip *m, hg_build *b, hg_value **hidden, hg_value **pooled)
{
    hg_graph *g = b->g;
    const uint64_t width = m->vision.width, tokens = hg_vision_patch_count(&m->image) + 1;
    hg_value *pixels = hg_vision_pixels(b, &m->image, "image_batch_size");
    hg_graph_enter(g, "vision_model");
    hg_graph_enter(g, "embeddings");
    hg_value *x = hg_vision_patches(b, "patch_embedding", pixels, &m->image, width, false);
    x = hg_vision_first_token(b, "with_class", hg_block_vector(b, "class_embedding", width), x, width);
    x = hg_op_add(g, "add_positions", x, hg_block_matrix(b, "position_embedding.weight", tokens, width));
    hg_graph_leave(g);
    x = hg_block_norm(b, "pre_layrnorm", x, width, m->vision.eps);
    *hidden = hg_vision_normed(b, &m->vision, NULL, x);
    hg_value *first = hg_op_gather(g, "first_token", *hidden, hg_graph_int(g, 0), 1);
    *pooled = hg_block_norm(b, "post_layernorm", first, width, m->vision.eps);
    hg_graph_leave(g);
    return hg_block_linear(b, "visual_projection", *pooled, width, m->projection, false);
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    clip m = {0};
    hg_value *hidden, *pooled;
    read_config(&m, b);
    hangar_code code = hg_hfconfig_check(b->config, err);
    if (code == HANGAR_OK) code = hg_build_begin(b, "model", err);
    if (code != HANGAR_OK) return code;
    hg_value *t = text(&m, b, &hidden, &pooled);
    hg_vision_compare(b, t, picture(&m, b, &hidden, &pooled), 0, false);
    if ((code = hg_build_begin(b, "text_model", err)) != HANGAR_OK) return code;
    hg_block_output(b, "text_embeds", text(&m, b, &hidden, &pooled));
    hg_block_output(b, "last_hidden_state", hidden);
    hg_block_output(b, "pooler_output", pooled);
    if ((code = hg_build_begin(b, "vision_model", err)) != HANGAR_OK) return code;
    hg_block_output(b, "image_embeds", picture(&m, b, &hidden, &pooled));
    hg_block_output(b, "last_hidden_state", hidden);
    hg_block_output(b, "pooler_output", pooled);
    return HANGAR_OK;
}

const hg_arch hg_arch_clip = {.name = "clip", .build = build};
