/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DistilBERT: half of BERT's layers, without segments and without a pooler (Sanh et al. 2019).
 *
 *   x = norm(word[ids] + position[0..S))
 *   each layer:  x = norm(x + W_o attention(W_q x, W_k x, W_v x));  x = norm(x + W_2 act(W_1 x))
 *
 * Sinusoidal positions, too, stand in the checkpoint as a table.
 */
#include "convert/arch/encoder.h"
#include "convert/archs.h"

static void read_config(hg_encoder *m, hg_build *b)
{
    hg_hfconfig *c = b->config;
    hg_encoder_class(m, b, "DistilBert");
    m->vocab = hg_hfconfig_u32(c, "vocab_size", 0, 1, 4u << 20);
    m->width = hg_hfconfig_u32(c, "dim", 0, 1, 65536);
    m->layers = hg_hfconfig_u32(c, "n_layers", 0, 1, 512);
    m->heads = hg_hfconfig_u32(c, "n_heads", 0, 1, 1024);
    m->inner = hg_hfconfig_u32(c, "hidden_dim", 0, 1, 1u << 20);
    m->positions = hg_hfconfig_u32(c, "max_position_embeddings", 512, 1, 1u << 20);
    m->eps = 1e-12;
    m->tied = hg_hfconfig_bool(c, "tie_word_embeddings", true);
    m->act = hg_block_act(c, "activation", "gelu");
    hg_hfconfig_ignore(c, (const char *const[]){"sinusoidal_pos_embds", "tie_weights_", NULL});
    hg_encoder_refuse(b);
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    static const hg_encoder_names names = {.attention = "attention",
                                           .query = "attention.q_lin",
                                           .key = "attention.k_lin",
                                           .value = "attention.v_lin",
                                           .mixed = "attention.out_lin",
                                           .mixed_norm = "sa_layer_norm",
                                           .up = "ffn.lin1",
                                           .act = "ffn.activation",
                                           .down = "ffn.lin2",
                                           .norm = "output_layer_norm"};
    static const hg_encoder_words words = {.dense = "vocab_transform",
                                           .act = "activation",
                                           .norm = "vocab_layer_norm",
                                           .decoder = "vocab_projector"};
    static const hg_encoder_first first = {.dense = "pre_classifier",
                                           .act = "pre_classifier.act",
                                           .last = "classifier",
                                           .how = HG_ACT_RELU};
    hg_encoder m = {0};
    read_config(&m, b);
    hangar_code code = hg_encoder_begin(&m, b, "distilbert.", "embeddings.word_embeddings", false, err);
    if (code != HANGAR_OK) return code;
    hg_value *x =
        hg_encoder_stack(&m, b, "transformer.layer", &names, hg_encoder_embed(&m, b, NULL, m.width));
    hg_encoder_head(&m, b, &words, &first, x);
    return HANGAR_OK;
}

const hg_arch hg_arch_distilbert = {.name = "distilbert", .build = build};
