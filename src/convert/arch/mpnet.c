/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MPNet: BERT whose scores know how far tokens are apart (Song et al. 2020).
 *
 *   p_i = 1 + #{j <= i: ids_j != 1} where ids_i != 1, else 1
 *   x = norm(word[ids] + position[p])
 *   scores(i, j) = q_i k_j / sqrt(head_dim) + bias[bucket(i - j)], one table [32, heads] for all layers
 *   each layer:  x = norm(x + W_o softmax(scores) v);  x = norm(x + W_2 act(W_1 x))
 *
 * bucket(r) is T5's for both directions (Raffel et al. 2019): with n = |r|, 16 for r < 0 plus n below 8, and
 * min(15, 8 + floor(8 ln(n / 8) / ln(128 / 8))) above. From 128 on it stays 15, so a list of 257 buckets serves any length.
 */
#include "convert/arch/encoder.h"
#include "convert/arch/roberta.h"
#include "convert/archs.h"

#include <math.h>

#define PAD   1u  /* whatever the tokenizer's is */
#define EACH  16  /* buckets of one direction */
#define EXACT 8   /* of these, distances as they are */
#define FAR   128 /* from here on all are one */

/* In single precision, as it was trained. */
static int64_t bucket_of(int64_t apart)
{
    int64_t n = apart < 0 ? -apart : apart, bucket = n;
    if (n >= EXACT) {
        float share = logf((float)n / EXACT) / (float)log((double)FAR / EXACT);
        bucket = EXACT + (int64_t)(share * (EACH - EXACT));
    }
    return (bucket < EACH ? bucket : EACH - 1) + (apart < 0 ? EACH : 0);
}

/* bias[bucket(i - j)]: [1, heads, S, S]. */
static hg_value *position_bias(hg_encoder *m, hg_build *b, uint32_t rows)
{
    static const int64_t perm[] = {2, 0, 1};
    int64_t buckets[2 * FAR + 1];
    for (int i = 0; i <= 2 * FAR; i++) buckets[i] = bucket_of(i - FAR);
    hg_graph_enter(b->g, "encoder");
    hg_value *apart = hg_encoder_apart(m, b, "relative_position_bucket", buckets, FAR);
    hg_value *bias = hg_block_embed(b, "relative_attention_bias", apart, rows, m->heads);
    bias = hg_op_transpose(b->g, "relative_attention_bias.heads", bias, perm);
    bias = hg_op_unsqueeze(b->g, "relative_attention_bias.batch", bias, 0);
    hg_graph_leave(b->g);
    return bias;
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    static const hg_encoder_names names = {.attention = "attention.attn",
                                           .query = "attention.attn.q",
                                           .key = "attention.attn.k",
                                           .value = "attention.attn.v",
                                           .mixed = "attention.attn.o",
                                           .mixed_norm = "attention.LayerNorm",
                                           .up = "intermediate.dense",
                                           .act = "intermediate.act",
                                           .down = "output.dense",
                                           .norm = "output.LayerNorm"};
    hg_encoder m = {0};
    hg_encoder_class(&m, b, "MPNet");
    hg_encoder_sizes(&m, b);
    /* the table may be larger, but only 32 of its rows are ever used */
    uint32_t rows = hg_hfconfig_u32(b->config, "relative_attention_num_buckets", 2 * EACH, 2 * EACH, 65536);
    hangar_code code = hg_encoder_begin(&m, b, "mpnet.", "embeddings.word_embeddings", false, err);
    if (code != HANGAR_OK) return code;
    m.bias = position_bias(&m, b, rows);
    hg_value *places = hg_encoder_places(&m, b, "embeddings.position_ids", PAD);
    hg_value *x = hg_encoder_embed(&m, b, places, m.width);
    x = hg_encoder_stack(&m, b, "encoder.layer", &names, x);
    hg_roberta_head(&m, b, x);
    return HANGAR_OK;
}

const hg_arch hg_arch_mpnet = {.name = "mpnet", .build = build};
