/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RoBERTa (Liu et al. 2019), and XLM-RoBERTa (Conneau et al. 2019) and CamemBERT (Martin et al. 2019), which are RoBERTas of other texts.
 *
 *   p_i = pad + #{j <= i: ids_j != pad} where ids_i != pad, else pad
 *   x = norm(word[ids] + type[0] + position[p])
 *   each layer:  x = norm(x + W_o attention(W_q x, W_k x, W_v x));  x = norm(x + W_2 act(W_1 x))
 *
 * Tokens have no types: row 0 of the table is added to all. Heads are RoBERTa's own: lm_head, and a classifier of two Linears.
 */
#include "convert/arch/roberta.h"

#include "convert/arch/encoder.h"
#include "convert/archs.h"

/* The heads. */
void hg_roberta_head(hg_encoder *m, hg_build *b, hg_value *x)
{
    static const hg_encoder_words words = {.dense = "lm_head.dense",
                                           .act = "lm_head.act",
                                           .norm = "lm_head.layer_norm",
                                           .decoder = "lm_head.decoder",
                                           .bias = "lm_head.bias"};
    static const hg_encoder_first first = {.dense = "classifier.dense",
                                           .act = "classifier.act",
                                           .last = "classifier.out_proj",
                                           .how = HG_ACT_TANH};
    if (m->head == HG_HEAD_MASKED) m->act = HG_ACT_GELU; /* lm_head's is always gelu */
    hg_encoder_head(m, b, &words, &first, x);
}

/* The graph. */
hangar_code hg_roberta_build(hg_build *b, const char *family, hangar_err *err)
{
    hg_encoder m = {0};
    hg_encoder_class(&m, b, family);
    hg_encoder_sizes(&m, b);
    m.types = hg_hfconfig_u32(b->config, "type_vocab_size", 2, 1, 65536);
    uint32_t pad = hg_hfconfig_u32(b->config, "pad_token_id", 1, 0, m.vocab - 1);
    hg_encoder_read_places(&m, b);
    hangar_code code = hg_encoder_begin(&m, b, "roberta.", "embeddings.word_embeddings", false, err);
    if (code != HANGAR_OK) return code;
    hg_value *places =
        m.places == HG_PLACES_ABSOLUTE ? hg_encoder_places(&m, b, "embeddings.position_ids", pad) : NULL;
    hg_value *x = hg_encoder_embed(&m, b, places, m.width);
    x = hg_encoder_stack(&m, b, "encoder.layer", &hg_encoder_bert, x);
    hg_roberta_head(&m, b, x);
    return HANGAR_OK;
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    return hg_roberta_build(b, "Roberta", err);
}

const hg_arch hg_arch_roberta = {.name = "roberta", .build = build};
