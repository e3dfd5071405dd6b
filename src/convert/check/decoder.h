/* SPDX-License-Identifier: Apache-2.0 */
/* What distinguishes the decoders from each other, read from config.json (decoder_config.c) for the one pass of decoder.c. */
#ifndef HG_CONVERT_CHECK_DECODER_H
#define HG_CONVERT_CHECK_DECODER_H

#include "convert/check/inner.h"

#define HG_REF_LAYERS_MAX 1024

/* The names of one family's tensors; NULL = it has none. Those of a layer stand behind `layer`. */
typedef struct hg_plain_names {
    const char *base, *embed, *layer, *final, *head;
    const char *q, *k, *v, *qkv, *o;
    const char *gate, *up, *gate_up, *down;
    const char *attention_in, *attention_out, *mlp_in, *mlp_out; /* norms before and after the two halves */
    const char *q_norm, *k_norm;
} hg_plain_names;

/* How the rows of a packed query-key-value lie. */
typedef enum hg_plain_pack {
    HG_REF_BLOCKS, /* all queries, all keys, all values */
    HG_REF_GROUPS  /* per key head: its queries, its key, its value */
} hg_plain_pack;

typedef struct hg_plain_decoder_layer {
    bool rotary, local, experts;
} hg_plain_decoder_layer;

typedef struct hg_plain_decoder_config {
    hg_plain_names names;
    size_t vocab, hidden, layers, heads, kv_heads, head_dim, inner, window, positions, embed_width;
    hg_plain_norm norm, qk_norm, final_norm;
    hg_plain_act act;
    hg_plain_pack pack;
    double scale, embed_scale, residual, logits_divisor, score_cap, logits_cap;
    bool qkv_bias, o_bias, mlp_bias, head_bias;
    bool turned;         /* weights are [in, out] (gpt2) */
    bool tied;           /* the default of tie_word_embeddings */
    bool parallel;       /* x + attention(n) + mlp(m) */
    bool own_mlp_norm;   /* in a parallel layer: m = another norm of x, not n */
    bool norm_behind;    /* norm(x + f(x)) (opt-350m) */
    bool qk_whole;       /* q and k norms over all heads at once (olmo2) */
    bool scale_by_layer; /* scores / (layer + 1) (gpt2) */
    bool alibi;
    bool final_missing;   /* no final norm (opt-350m) */
    bool position_table;  /* learned positions, */
    int64_t position_add; /* this many rows of the table come first, and */
    bool position_masked; /* positions count only what is not padding (opt) */
    hg_plain_rope_ask rope, local_rope;
    bool two_ropes;
    hg_plain_moe moe;
    hg_plain_decoder_layer layer[HG_REF_LAYERS_MAX];
} hg_plain_decoder_config;

/* Fills `c` for a model type; what is not known is an error of the run. */
void hg_plain_decoder_read(hg_plain_state *r, const char *model_type, hg_plain_decoder_config *c);

#endif
