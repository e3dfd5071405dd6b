/* SPDX-License-Identifier: Apache-2.0 */
/* What models of pictures and of sounds share: patches, and stacks of layers (those of the texts beside the pictures, too). */
#ifndef HG_CONVERT_ARCH_VISION_H
#define HG_CONVERT_ARCH_VISION_H

#include "convert/arch/blocks.h"

/* ---- pictures ---- */

typedef struct hg_vision_image {
    uint32_t channels;
    uint32_t size[2], patch[2]; /* height, width */
} hg_vision_image;
/* num_channels, image_size and patch_size, each a number or [height, width]; `patch` is the default of patch_size (0 = it is needed). */
hg_vision_image hg_vision_image_read(hg_hfconfig *c, uint32_t patch);
/* How many patches a picture has. */
uint64_t hg_vision_patch_count(const hg_vision_image *m);
/* The input pixel_values [batch, channels, height, width]. */
hg_value *hg_vision_pixels(hg_build *b, const hg_vision_image *m, const char *batch);
/* A Linear of each patch, which is a convolution without overlap: [B, patches, width]. */
hg_value *hg_vision_patches(hg_build *b, const char *name, hg_value *pixels, const hg_vision_image *m,
                            uint64_t width, bool bias);
/* One token, the same for every example, before all others: `token` has `width` numbers in any shape. */
hg_value *hg_vision_first_token(hg_build *b, const char *name, hg_value *token, hg_value *x, uint64_t width);

/* ---- texts ---- */

/* token[ids] + position[0 .. S) of the module embeddings: ids [B, S] to [B, S, width]. */
hg_value *hg_vision_tokens(hg_build *b, hg_value *ids, uint64_t vocab, uint64_t positions, uint64_t width);

/* The outputs of a model that compares: text_embeds [T, D] and image_embeds [I, D] with length 1, and exp(logit_scale) times their products
 * (+ logit_bias) as logits_per_text [T, I] and logits_per_image [I, T]. The two numbers lie in tensors of `rank` 0 or 1. */
void hg_vision_compare(hg_build *b, hg_value *text, hg_value *image, uint32_t rank, bool bias);

/* ---- layers ---- */

/* pre-norm:   x += out(attention(q, k, v of norm_1 x));  x += down(act(up(norm_2 x)))
 * post-norm:  x = norm_1(x + out(attention(q, k, v of x)));  x = norm_2(x + down(act(up x))) */
typedef struct hg_vision_names {
    const char *norm_1, *q, *k, *v, *out, *norm_2, *up, *down;
    const char *attention; /* of the nodes alone */
} hg_vision_names;
extern const hg_vision_names hg_vision_clip; /* CLIP's own, which SigLIP has, too */
typedef struct hg_vision_stack {
    const hg_vision_names *names;
    const char *scope; /* "encoder.layer": then ".0" */
    uint32_t width, heads, inner, layers;
    double eps;
    hg_act act;
    bool post_norm;
    bool plain_qkv; /* q, k and v have no bias */
    hg_value *mask; /* int32 [B, S]: 0 where a token is padding; NULL = none */
    bool causal;    /* a token does not see later ones */
} hg_vision_stack;
/* Reads hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, hidden_act and layer_norm_eps; 0 as a default: the key is needed. */
void hg_vision_stack_read(hg_hfconfig *c, hg_vision_stack *m, const hg_vision_stack *defaults,
                          const char *act);
/* All layers (as many as are built) over x [B, S, width]; what comes out is the stream before the last norm. */
hg_stream hg_vision_layers(hg_build *b, const hg_vision_stack *m, hg_value *x);
/* The same with the last norm, called `norm` (NULL = none): [B, S, width]. */
hg_value *hg_vision_normed(hg_build *b, const hg_vision_stack *m, const char *norm, hg_value *x);
/* Keys of text_config and vision_config that say nothing: NULL-terminated. */
extern const char *const hg_vision_old_keys[];

#endif
