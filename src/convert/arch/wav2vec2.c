/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wav2vec 2.0: frames of a sound through convolutions and a bidirectional encoder (Baevski et al. 2020); HuBERT is the same network, trained in
 * another way (Hsu et al. 2021).
 *
 *   z = conv layers of the sound, each: act(norm(conv(z)));  the norm is over channels, or over time in the first layer alone
 *   x = W norm(z);   x += act(conv of all x around it)
 *   x = norm(x), then post-norm layers; or (stable layer norm) pre-norm layers, then x = norm(x)
 *   logits = W x for each frame (CTC), or of the mean over all frames (classes)
 *
 * The weight of the convolution around x is g v / |v|, for each of its K places by itself; the engine makes it once, when it loads the
 * graph. It is padded by K / 2 on both sides, so that an even K gives one frame too many, the last.
 */
#include "convert/arch/vision.h"
#include "convert/archs.h"

#include <stdio.h>
#include <string.h>

#define CONVS_MAX 32
#define CONV_EPS  1e-5 /* of norms between the convolutions; not in config.json */

typedef enum head { HEAD_NONE, HEAD_CTC, HEAD_CLASSES } head;

typedef struct wav2vec2 {
    hg_vision_stack stack;
    head head;
    hg_act conv_act;
    uint32_t count, width[CONVS_MAX], kernel[CONVS_MAX], stride[CONVS_MAX];
    uint32_t vocab, places, groups, projection;
    bool conv_bias, over_channels, projection_norm;
} wav2vec2;

static const hg_vision_names names = {.norm_1 = "layer_norm",
                                      .q = "attention.q_proj",
                                      .k = "attention.k_proj",
                                      .v = "attention.v_proj",
                                      .out = "attention.out_proj",
                                      .norm_2 = "final_layer_norm",
                                      .up = "feed_forward.intermediate_dense",
                                      .down = "feed_forward.output_dense",
                                      .attention = "attention"};

/* Of the training, of other heads, and of adapters, which are refused by the keys that switch them on. */
static const char *const other[] = {"adapter_kernel_size",
                                    "adapter_stride",
                                    "codevector_dim",
                                    "contrastive_logits_temperature",
                                    "ctc_loss_reduction",
                                    "ctc_zero_infinity",
                                    "diversity_loss_weight",
                                    "feat_extract_dropout",
                                    "feat_proj_dropout",
                                    "feat_quantizer_dropout",
                                    "final_dropout",
                                    "freeze_feat_extract_train",
                                    "mask_channel_length",
                                    "mask_channel_min_masks",
                                    "mask_channel_min_space",
                                    "mask_channel_other",
                                    "mask_channel_prob",
                                    "mask_channel_selection",
                                    "mask_feature_length",
                                    "mask_feature_min_masks",
                                    "mask_feature_prob",
                                    "mask_time_length",
                                    "mask_time_min_masks",
                                    "mask_time_min_space",
                                    "mask_time_other",
                                    "mask_time_prob",
                                    "mask_time_selection",
                                    "no_mask_channel_overlap",
                                    "no_mask_time_overlap",
                                    "num_adapter_layers",
                                    "num_codevector_groups",
                                    "num_codevectors_per_group",
                                    "num_negatives",
                                    "output_hidden_size",
                                    "proj_codevector_dim",
                                    "tdnn_dilation",
                                    "tdnn_dim",
                                    "tdnn_kernel",
                                    "xvector_output_dim",
                                    NULL};

static void read_class(wav2vec2 *m, hg_build *b, const char *stem)
{
    static const struct {
        const char *rest;
        head head;
        const char *task;
    } classes[] = {{"Model", HEAD_NONE, "feature-extraction"},
                   {"ForPreTraining", HEAD_NONE, "feature-extraction"},
                   {"ForCTC", HEAD_CTC, "automatic-speech-recognition"},
                   {"ForSequenceClassification", HEAD_CLASSES, "audio-classification"}};
    const char *name = hg_hfconfig_class(b->config);
    bool own = name && strncmp(name, stem, strlen(stem)) == 0;
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        if (name && (!own || strcmp(name + strlen(stem), classes[i].rest) != 0)) continue;
        m->head = classes[i].head; /* without a class: the bare model */
        b->task = classes[i].task;
        return;
    }
    hg_hfconfig_wrong(b->config, HANGAR_E_UNSUPPORTED, "architectures: %s", name);
}

/* A list of `count` numbers in [1, max]; the default when it is missing. */
static void read_list(hg_hfconfig *c, const char *key, uint32_t count, uint32_t max, const uint32_t *def,
                      uint32_t *out)
{
    const hg_jval *v = hg_hfconfig_value(c, key);
    if (v && (!hg_json_is_array(v) || hg_json_len(v) != count)) {
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "%s is not a list of %u numbers", key, count);
        v = NULL;
    }
    if (!v && count != 7) hg_hfconfig_wrong(c, HANGAR_E_INVALID, "%s is missing", key);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t n = v ? 0 : i < 7 ? def[i] : 1;
        if (v && (!hg_json_u64(hg_json_at(v, i), &n) || n < 1 || n > max))
            hg_hfconfig_wrong(c, HANGAR_E_INVALID, "%s: number %u is not a whole one from 1 to %u", key,
                              i + 1, max);
        out[i] = n >= 1 && n <= max ? (uint32_t)n : 1;
    }
}

static void read_convs(wav2vec2 *m, hg_hfconfig *c)
{
    static const uint32_t width[] = {512, 512, 512, 512, 512, 512, 512}, kernel[] = {10, 3, 3, 3, 3, 2, 2},
                          stride[] = {5, 2, 2, 2, 2, 2, 2};
    m->count = hg_hfconfig_u32(c, "num_feat_extract_layers", 7, 1, CONVS_MAX);
    read_list(c, "conv_dim", m->count, 65536, width, m->width);
    read_list(c, "conv_kernel", m->count, 4096, kernel, m->kernel);
    read_list(c, "conv_stride", m->count, 4096, stride, m->stride);
    m->conv_bias = hg_hfconfig_bool(c, "conv_bias", false);
    m->conv_act = hg_block_act(c, "feat_extract_activation", "gelu");
    const char *norm = hg_hfconfig_text(c, "feat_extract_norm", "group");
    m->over_channels = strcmp(norm, "layer") == 0;
    if (!m->over_channels && strcmp(norm, "group") != 0)
        hg_hfconfig_wrong(c, HANGAR_E_UNSUPPORTED, "feat_extract_norm: %s", norm);
}

static void read_config(wav2vec2 *m, hg_build *b, const char *stem)
{
    static const hg_vision_stack base = {.width = 768, .layers = 12, .heads = 12, .inner = 3072, .eps = 1e-5};
    hg_hfconfig *c = b->config;
    read_class(m, b, stem);
    m->stack = (hg_vision_stack){.names = &names, .scope = "layers"};
    hg_vision_stack_read(c, &m->stack, &base, "gelu");
    m->stack.post_norm = !hg_hfconfig_bool(c, "do_stable_layer_norm", false);
    read_convs(m, c);
    m->vocab = hg_hfconfig_u32(c, "vocab_size", 32, 1, 4u << 20);
    m->places = hg_hfconfig_u32(c, "num_conv_pos_embeddings", 128, 1, 4096);
    m->groups = hg_hfconfig_u32(c, "num_conv_pos_embedding_groups", 16, 1, 4096);
    m->projection = hg_hfconfig_u32(c, "classifier_proj_size", 256, 1, 65536);
    m->projection_norm = hg_hfconfig_bool(c, "feat_proj_layer_norm", true);
    if (m->stack.width % m->groups != 0) {
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "hidden_size %u does not divide among %u groups",
                          m->stack.width, m->groups);
    }
    if (m->head == HEAD_CLASSES) hg_hfconfig_only_bool(c, "use_weighted_layer_sum", false);
    else (void)hg_hfconfig_bool(c, "use_weighted_layer_sum", false);
    hg_hfconfig_refuse(c, "add_adapter");
    hg_hfconfig_refuse(c, "adapter_attn_dim");
    hg_hfconfig_refuse(c, "conv_pos_batch_norm");
    hg_block_refuse_common(c);
    hg_hfconfig_ignore(c, other);
}

static const int64_t swapped[] = {0, 2, 1}; /* channels and frames */

/* One convolution of the sound: x [B, in, L]. */
static hg_value *conv_layer(const wav2vec2 *m, hg_build *b, uint32_t i, hg_value *x)
{
    hg_graph *g = b->g;
    const uint64_t in = i ? m->width[i - 1] : 1, out = m->width[i], shape[] = {out, in, m->kernel[i]};
    hg_graph_enter(g, "conv_layers.%u", i);
    hg_value *w = hg_block_param(b, "conv.weight", 3, shape);
    hg_value *bias = m->conv_bias ? hg_block_vector(b, "conv.bias", out) : NULL;
    x = hg_op_conv(g, "conv", x, w, bias, (hg_conv){.stride = m->stride[i]});
    if (m->over_channels) {
        x = hg_op_transpose(g, "channels_last", x, swapped);
        x = hg_block_norm(b, "layer_norm", x, out, CONV_EPS);
        x = hg_op_transpose(g, "channels_first", x, swapped);
    } else if (i == 0) {
        hg_value *scale = hg_block_vector(b, "layer_norm.weight", out);
        hg_value *shift = hg_block_vector(b, "layer_norm.bias", out);
        x = hg_op_instance_norm(g, "layer_norm", x, scale, shift, CONV_EPS);
    }
    x = hg_op_act(g, "activation", x, m->conv_act);
    hg_graph_leave(g);
    return x;
}

/* The sound [B, L] as frames [B, T, width]. */
static hg_value *frames(const wav2vec2 *m, hg_build *b, hg_value *sound)
{
    hg_graph *g = b->g;
    hg_graph_enter(g, "feature_extractor");
    hg_value *x = hg_op_unsqueeze(g, "one_channel", sound, 1);
    for (uint32_t i = 0; i < m->count; i++) x = conv_layer(m, b, i, x);
    x = hg_op_transpose(g, "channels_last", x, swapped);
    hg_graph_leave(g);
    const uint32_t last = m->width[m->count - 1], width = m->stack.width;
    hg_graph_enter(g, "feature_projection");
    hg_value *shape = hg_block_batch_shape(b, "shape", x, width);
    if (m->projection_norm) x = hg_block_norm(b, "layer_norm", x, last, m->stack.eps);
    x = hg_block_linear(b, "projection", hg_op_rows(g, "rows", x), last, width, true);
    x = hg_op_reshape(g, "batch", x, shape, HG_SHAPE(HG_SYM("batch_size"), HG_SYM("frames"), HG_DIM(width)));
    hg_graph_leave(g);
    return x;
}

/* g v / |v|, or the weight itself where somebody has made it already. */
static hg_value *place_weight(const wav2vec2 *m, hg_build *b)
{
    hg_graph *g = b->g;
    const uint64_t each = m->stack.width / m->groups;
    const uint64_t long_shape[] = {m->stack.width, each, m->places}, short_shape[] = {1, 1, m->places};
    if (hg_block_has(b, "weight")) return hg_block_param(b, "weight", 3, long_shape);
    bool old = hg_block_has(b, "weight_g");
    hg_value *size =
        hg_block_param(b, old ? "weight_g" : "parametrizations.weight.original0", 3, short_shape);
    hg_value *way = hg_block_param(b, old ? "weight_v" : "parametrizations.weight.original1", 3, long_shape);
    hg_value *length = hg_op_reduce(g, "ReduceL2", "weight_length_in", way, 0, true);
    length = hg_op_reduce(g, "ReduceL2", "weight_length", length, 1, true);
    return hg_op_mul(g, "weight", way, hg_op_div(g, "weight_scale", size, length));
}

/* x + act(conv(x)): a frame's place, told by its neighbours. */
static hg_value *with_places(const wav2vec2 *m, hg_build *b, hg_value *x)
{
    hg_graph *g = b->g;
    const int64_t zero = 0, last = -1;
    hg_graph_enter(g, "pos_conv_embed");
    hg_value *y = hg_op_transpose(g, "channels_first", x, swapped);
    hg_graph_enter(g, "conv");
    hg_value *w = place_weight(m, b), *bias = hg_block_vector(b, "bias", m->stack.width);
    hg_graph_leave(g);
    y = hg_op_conv(g, "conv", y, w, bias, (hg_conv){.pad = m->places / 2, .groups = m->groups});
    if (m->places % 2 == 0) {
        y = hg_op_slice_axis(g, "drop_last", y, 2, hg_graph_ints(g, &zero, 1), hg_graph_ints(g, &last, 1),
                             HG_SYM("frames"));
    }
    y = hg_op_transpose(g, "channels_last", hg_op_act(g, "activation", y, m->conv_act), swapped);
    hg_graph_leave(g);
    return hg_op_add(g, "add_positions", x, y);
}

static hg_value *encoder(const wav2vec2 *m, hg_build *b, hg_value *x)
{
    hg_graph_enter(b->g, "encoder");
    x = with_places(m, b, x);
    if (m->stack.post_norm) x = hg_block_norm(b, "layer_norm", x, m->stack.width, m->stack.eps);
    x = hg_vision_normed(b, &m->stack, m->stack.post_norm ? NULL : "layer_norm", x);
    hg_graph_leave(b->g);
    return x;
}

/* A Linear of each frame. */
static hg_value *each_frame(const wav2vec2 *m, hg_build *b, const char *name, hg_value *x, uint64_t out)
{
    hg_value *shape = hg_block_batch_shape(b, "frames_shape", x, out);
    hg_value *y = hg_block_linear(b, name, hg_op_rows(b->g, "frame_rows", x), m->stack.width, out, true);
    return hg_op_reshape(b->g, "frames", y, shape,
                         HG_SHAPE(HG_SYM("batch_size"), HG_SYM("frames"), HG_DIM(out)));
}

static void outputs(const wav2vec2 *m, hg_build *b, hg_value *x)
{
    if (m->head == HEAD_NONE) {
        hg_block_output(b, "last_hidden_state", x);
        return;
    }
    b->prefix = "";
    if (m->head == HEAD_CTC) {
        hg_block_output(b, "logits", each_frame(m, b, "lm_head", x, m->vocab));
        return;
    }
    uint64_t labels = hg_block_size(b, "classifier.weight", 0);
    x = hg_op_reduce(b->g, "ReduceMean", "mean", each_frame(m, b, "projector", x, m->projection), 1, false);
    hg_block_output(b, "logits",
                    hg_block_linear(b, "classifier", x, m->projection, labels ? labels : 1, true));
}

static hangar_code build_as(hg_build *b, const char *stem, const char *prefix, hangar_err *err)
{
    wav2vec2 m = {0};
    char probe[HG_ONNX_NAME_MAX];
    read_config(&m, b, stem);
    hangar_code code = hg_hfconfig_check(b->config, err);
    if (code == HANGAR_OK) code = hg_build_begin(b, "model", err);
    if (code != HANGAR_OK) return code;
    snprintf(probe, sizeof probe, "%sfeature_projection.projection.weight", prefix);
    b->prefix = hg_checkpoint_get(b->ck, probe, NULL) ? prefix : "";
    hg_value *sound =
        hg_block_input(b, "input_values", HG_SHAPE(HG_SYM("batch_size"), HG_SYM("sequence_length")));
    outputs(&m, b, encoder(&m, b, frames(&m, b, sound)));
    return HANGAR_OK;
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    return build_as(b, "Wav2Vec2", "wav2vec2.", err);
}

static hangar_code build_hubert(hg_build *b, hangar_err *err)
{
    return build_as(b, "Hubert", "hubert.", err);
}

const hg_arch hg_arch_wav2vec2 = {.name = "wav2vec2", .build = build};
const hg_arch hg_arch_hubert = {.name = "hubert", .build = build_hubert};
