/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ViT: a picture as a sequence of patches, read by a bidirectional encoder of pre-norm layers (Dosovitskiy et al. 2020).
 *
 *   x = [class; patch_1 E; .. patch_n E] + position
 *   each layer:  x += W_o attention(norm(x));  x += W_2 act(W_1 norm(x))
 *   y = norm(x);  logits = W y_0, or pooler_output = act(W_p y_0)
 */
#include "convert/arch/vision.h"
#include "convert/archs.h"

#include <string.h>

typedef struct vit {
    hg_vision_image image;
    hg_vision_stack stack;
    bool classifies;
    hg_act pool;
    uint32_t pooled;
} vit;

static const hg_vision_names names = {.norm_1 = "layernorm_before",
                                      .q = "attention.attention.query",
                                      .k = "attention.attention.key",
                                      .v = "attention.attention.value",
                                      .out = "attention.output.dense",
                                      .norm_2 = "layernorm_after",
                                      .up = "intermediate.dense",
                                      .down = "output.dense",
                                      .attention = "attention.attention"};

static void read_config(vit *m, hg_build *b)
{
    static const hg_vision_stack base = {
        .width = 768, .layers = 12, .heads = 12, .inner = 3072, .eps = 1e-12};
    static const char *const other[] = {"encoder_stride", NULL}; /* of the pretraining by masked patches */
    hg_hfconfig *c = b->config;
    const char *name = hg_hfconfig_class(c);
    m->classifies = name && strcmp(name, "ViTForImageClassification") == 0;
    if (name && !m->classifies && strcmp(name, "ViTModel") != 0)
        hg_hfconfig_wrong(c, HANGAR_E_UNSUPPORTED, "architectures: %s", name);
    b->task = m->classifies ? "image-classification" : "image-feature-extraction";
    m->image = hg_vision_image_read(c, 16);
    m->stack = (hg_vision_stack){.names = &names, .scope = "encoder.layer"};
    hg_vision_stack_read(c, &m->stack, &base, "gelu");
    m->stack.plain_qkv = !hg_hfconfig_bool(c, "qkv_bias", true);
    m->pool = hg_block_act(c, "pooler_act", "tanh");
    m->pooled = hg_hfconfig_u32(c, "pooler_output_size", m->stack.width, 1, 65536);
    hg_block_refuse_common(c);
    hg_hfconfig_ignore(c, other);
}

/* [class; patches] + position. */
static hg_value *embeddings(const vit *m, hg_build *b, hg_value *pixels)
{
    const uint64_t width = m->stack.width, tokens = hg_vision_patch_count(&m->image) + 1;
    hg_graph_enter(b->g, "embeddings");
    hg_value *x = hg_vision_patches(b, "patch_embeddings.projection", pixels, &m->image, width, true);
    hg_value *first = hg_block_param(b, "cls_token", 3, (const uint64_t[]){1, 1, width});
    x = hg_vision_first_token(b, "with_class", first, x, width);
    hg_value *place = hg_block_param(b, "position_embeddings", 3, (const uint64_t[]){1, tokens, width});
    x = hg_op_add(b->g, "add_positions", x, place);
    hg_graph_leave(b->g);
    return x;
}

static void outputs(const vit *m, hg_build *b, hg_value *y)
{
    const uint32_t width = m->stack.width;
    hg_value *first = hg_op_gather(b->g, "first_token", y, hg_graph_int(b->g, 0), 1);
    if (!m->classifies) {
        hg_block_output(b, "last_hidden_state", y);
        if (!hg_block_has(b, "pooler.dense.weight")) return;
        hg_value *p = hg_block_linear(b, "pooler.dense", first, width, m->pooled, true);
        hg_block_output(b, "pooler_output", hg_op_act(b->g, "pooler.activation", p, m->pool));
        return;
    }
    b->prefix = "";
    uint64_t labels = hg_block_size(b, "classifier.weight", 0);
    hg_block_output(b, "logits", hg_block_linear(b, "classifier", first, width, labels ? labels : 1, true));
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    vit m = {0};
    read_config(&m, b);
    hangar_code code = hg_hfconfig_check(b->config, err);
    if (code == HANGAR_OK) code = hg_build_begin(b, "model", err);
    if (code != HANGAR_OK) return code;
    b->prefix = hg_checkpoint_get(b->ck, "vit.embeddings.cls_token", NULL) ? "vit." : "";
    hg_value *x = embeddings(&m, b, hg_vision_pixels(b, &m.image, "batch_size"));
    outputs(&m, b, hg_vision_normed(b, &m.stack, "layernorm", x));
    return HANGAR_OK;
}

const hg_arch hg_arch_vit = {.name = "vit", .build = build};
