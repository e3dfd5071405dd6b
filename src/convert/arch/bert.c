/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BERT: a bidirectional encoder of post-norm layers over token, position and segment embeddings (Devlin et al. 2018).
 *
 *   x = norm(word[ids] + type[types] + position[0..S))
 *   each layer:  x = norm(x + W_o attention(W_q x, W_k x, W_v x));  x = norm(x + W_2 act(W_1 x))
 *
 * Places may be relative, too: then nothing is added to the words, and the scores know of distances (encoder.h).
 *
 * And one head by the class in `architectures`. Whether the names begin with "bert." is seen from the checkpoint.
 */
#include "convert/arch/encoder.h"
#include "convert/archs.h"

#include <string.h>

static void read_config(hg_encoder *m, hg_build *b)
{
    hg_hfconfig *c = b->config;
    const char *name = hg_hfconfig_class(c);
    if (name && strcmp(name, "BertForPreTraining") == 0) { /* the next sentence is left out */
        m->head = HG_HEAD_MASKED;
        b->task = "fill-mask";
    } else {
        hg_encoder_class(m, b, "Bert");
    }
    hg_encoder_sizes(m, b);
    m->types = hg_hfconfig_u32(c, "type_vocab_size", 2, 1, 65536);
    hg_encoder_read_places(m, b);
    hg_hfconfig_only(c, "feed_forward_type", "original");
    /* of the first release's own code, which has no such modules either */
    hg_hfconfig_ignore(c, (const char *const[]){"directionality", "pooler_fc_size",
                                                "pooler_num_attention_heads", "pooler_num_fc_layers",
                                                "pooler_size_per_head", "pooler_type", NULL});
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    static const hg_encoder_words words = {
        .dense = "cls.predictions.transform.dense",
        .act = "cls.predictions.transform.act",
        .norm = "cls.predictions.transform.LayerNorm",
        .decoder = "cls.predictions.decoder",
        .bias = "cls.predictions.bias",
    };
    static const hg_encoder_first first = {.dense = "pooler.dense",
                                           .act = "pooler.activation",
                                           .last = "classifier",
                                           .base = true,
                                           .how = HG_ACT_TANH};
    hg_encoder m = {0};
    read_config(&m, b);
    hangar_code code = hg_encoder_begin(&m, b, "bert.", "embeddings.word_embeddings", true, err);
    if (code != HANGAR_OK) return code;
    hg_value *x =
        hg_encoder_stack(&m, b, "encoder.layer", &hg_encoder_bert, hg_encoder_embed(&m, b, NULL, m.width));
    hg_encoder_head(&m, b, &words, &first, x);
    return HANGAR_OK;
}

const hg_arch hg_arch_bert = {.name = "bert", .build = build};
