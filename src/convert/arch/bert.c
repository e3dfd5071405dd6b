/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BERT: a bidirectional encoder of post-norm layers over token, position and segment embeddings (Devlin et al. 2018).
 *
 *   x = norm(word[ids] + type[types] + position[0..S))
 *   each layer:  x = norm(x + W_o attention(W_q x, W_k x, W_v x));  x = norm(x + W_2 act(W_1 x))
 *
 * and one head by the class in `architectures`. Whether the names begin with "bert." is seen from the checkpoint.
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
    hg_hfconfig_only(c, "position_embedding_type", "absolute");
    hg_hfconfig_only(c, "feed_forward_type", "original");
}

/* norm(word[ids] + type[types] + position[0..S)), as rows. */
static hg_value *embeddings(hg_encoder *m, hg_build *b)
{
    hg_graph_enter(b->g, "embeddings");
    hg_value *word = hg_block_embed(b, "word_embeddings", m->ids, m->vocab, m->width);
    hg_value *type = hg_block_embed(b, "token_type_embeddings", m->kinds, m->types, m->width);
    hg_value *position = hg_encoder_places_from_0(m, b, "position_embeddings");
    hg_value *x = hg_op_add(b->g, "add_positions", hg_op_add(b->g, "add_types", word, type), position);
    x = hg_block_norm(b, "LayerNorm", x, m->width, m->eps);
    x = hg_op_rows(b->g, "rows", x);
    hg_graph_leave(b->g);
    return x;
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
    hg_value *x = hg_encoder_stack(&m, b, "encoder.layer", &hg_encoder_bert, embeddings(&m, b));
    hg_encoder_head(&m, b, &words, &first, x);
    return HANGAR_OK;
}

const hg_arch hg_arch_bert = {.name = "bert", .build = build};
