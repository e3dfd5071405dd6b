/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ELECTRA: BERT's layers, trained to tell replaced words from given ones (Clark et al. 2020).
 *
 *   x = W_e norm(word[ids] + type[types] + position[0..S)), W_e only where words are narrower than layers
 *   each layer:  x = norm(x + W_o attention(W_q x, W_k x, W_v x));  x = norm(x + W_2 act(W_1 x))
 *
 * and one head by the class in `architectures`: ForPreTraining gives one score for each token, above 0 where a word was replaced.
 */
#include "convert/arch/encoder.h"
#include "convert/archs.h"

#include <string.h>

/* dense_prediction(act(dense(x))): [B, S]. */
static void replaced_head(hg_encoder *m, hg_build *b, hg_value *x)
{
    const int64_t one = 1;
    b->prefix = "";
    hg_graph_enter(b->g, "discriminator_predictions");
    hg_value *y = hg_block_linear(b, "dense", x, m->width, m->width, true);
    y = hg_block_linear(b, "dense_prediction", hg_op_act(b->g, "act", y, m->act), m->width, (uint64_t)one,
                        true);
    y = hg_op_reshape(b->g, "tokens", y, hg_op_shape(b->g, "shape", m->ids, 0, 2), m->ids->shape);
    hg_graph_leave(b->g);
    hg_block_output(b, "logits", y);
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    static const hg_encoder_first first = {.dense = "classifier.dense",
                                           .act = "classifier.act",
                                           .last = "classifier.out_proj",
                                           .how = HG_ACT_GELU};
    hg_encoder m = {0};
    hg_hfconfig *c = b->config;
    const char *name = hg_hfconfig_class(c);
    bool replaced = name && strcmp(name, "ElectraForPreTraining") == 0;
    if (replaced) b->task = "token-classification";
    else hg_encoder_class(&m, b, "Electra");
    hg_encoder_sizes(&m, b);
    m.types = hg_hfconfig_u32(c, "type_vocab_size", 2, 1, 65536);
    uint32_t size = hg_hfconfig_u32(c, "embedding_size", 128, 1, 65536);
    hg_encoder_read_places(&m, b);
    /* for multiple choice */
    hg_hfconfig_ignore(c, (const char *const[]){"summary_type", "summary_use_proj", "summary_activation",
                                                "summary_last_dropout", "summary_proj_to_labels", NULL});
    hangar_code code = hg_encoder_begin(&m, b, "electra.", "embeddings.word_embeddings", true, err);
    if (code != HANGAR_OK) return code;
    hg_value *x = hg_encoder_embed(&m, b, NULL, size);
    if (size != m.width) x = hg_block_linear(b, "embeddings_project", x, size, m.width, true);
    x = hg_encoder_stack(&m, b, "encoder.layer", &hg_encoder_bert, x);
    const hg_encoder_words words = {.dense = "generator_predictions.dense",
                                    .act = "generator_predictions.act",
                                    .norm = "generator_predictions.LayerNorm",
                                    .decoder = "generator_lm_head",
                                    .size = size};
    if (m.head == HG_HEAD_MASKED) m.act = HG_ACT_GELU; /* whatever the layers' is */
    if (replaced) replaced_head(&m, b, x);
    else hg_encoder_head(&m, b, &words, &first, x);
    return HANGAR_OK;
}

const hg_arch hg_arch_electra = {.name = "electra", .build = build};
