/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What BERT and its kin have in common: inputs and outputs, layers that normalize after each sum, and the heads that `architectures` names.
 *
 *   each layer:  x = norm(x + W_o attention(W_q x, W_k x, W_v x));  x = norm(x + W_2 act(W_1 x))
 *
 * An architecture reads its configuration into an hg_encoder, says by what names its modules go, and writes down what is its own. All
 * activations x are rows [batch x sequence, width].
 */
#ifndef HG_CONVERT_ARCH_ENCODER_H
#define HG_CONVERT_ARCH_ENCODER_H

#include "convert/arch/blocks.h"

typedef enum hg_head {
    HG_HEAD_NONE,     /* last_hidden_state [B, S, width] */
    HG_HEAD_MASKED,   /* logits [B, S, vocab] */
    HG_HEAD_SEQUENCE, /* logits [B, labels] */
    HG_HEAD_TOKEN,    /* logits [B, S, labels] */
    HG_HEAD_SPAN,     /* start_logits, end_logits [B, S] */
} hg_head;

typedef enum hg_places {
    HG_PLACES_ABSOLUTE, /* a table added to the words */
    HG_PLACES_KEY, /* scores(i, j) = q_i (k_j + table[i - j]) / sqrt(head_dim), a table in each layer (Shaw et al. 2018) */
    HG_PLACES_BOTH, /* and + k_j table[i - j] (Huang et al. 2020) */
    HG_PLACES_NONE, /* none, or of another kind */
} hg_places;

/* How tables of distances are taken. */
typedef struct hg_encoder_far {
    hg_value *apart, *turned; /* int64 [B, heads, S, S], and the same of (j, i) */
    hg_value *tables;         /* the list [B, heads, S, rows] */
    uint64_t rows;            /* of the tables */
} hg_encoder_far;
typedef struct hg_encoder {
    /* config.json */
    uint32_t vocab, width, layers, heads, inner, positions, types;
    double eps;
    hg_act act;
    hg_head head;
    bool tied;
    hg_places places;
    /* the checkpoint */
    const char *prefix; /* before the names of the base model: "roberta.", or "" */
    const char *word;   /* the table of words behind it: "embeddings.word_embeddings" */
    /* the graph */
    hg_value *ids;         /* int64 [B, S] */
    hg_value *attend;      /* int64 [B, S]: 0 where a token is padding */
    hg_value *mask;        /* the same as int32, for hg_op_attention */
    hg_value *kinds;       /* int64 [B, S]: token types; NULL when the model takes none */
    hg_value *batch_shape; /* the list [B, S, width] */
    hg_value *bias;        /* of all layers' scores; NULL = none */
    hg_encoder_far far;    /* distances, when position_embedding_type is a relative one */
} hg_encoder;

/* ---- config.json ---- */

/* The head, and b->task, by the class: family + "Model", "ForMaskedLM", ...; without a class the bare model. Others are refused by name. */
void hg_encoder_class(hg_encoder *e, hg_build *b, const char *family);
/* The sizes as BERT calls them (hidden_size, ...), and what none of its kin takes (decoders, pruned heads, others' quantization). */
void hg_encoder_sizes(hg_encoder *e, hg_build *b);
/* position_embedding_type, for those that may have it. */
void hg_encoder_read_places(hg_encoder *e, hg_build *b);
/* What none takes, for an architecture that has other names for its sizes. */
void hg_encoder_refuse(hg_build *b);

/* ---- the graph ---- */

/* Checks the configuration, begins the graph, finds out whether names begin with `base` ("bert."), and makes inputs: input_ids, attention_mask,
 * and token_type_ids if `kinds`. `word` is the table of words. */
hangar_code hg_encoder_begin(hg_encoder *e, hg_build *b, const char *base, const char *word, bool kinds,
                             hangar_err *err);
/* RoBERTa's places: pad + (how many tokens other than pad up to this one), and pad where the token is pad. int64 [B, S]. */
hg_value *hg_encoder_places(hg_encoder *e, hg_build *b, const char *name, uint32_t pad);
/* norm(word[ids] + type[kinds] + position[places]), as rows [.., size]: `places` NULL = from 0; a model without kinds adds type 0 if it has types.
 * Relative places are prepared instead of being added. */
hg_value *hg_encoder_embed(hg_encoder *e, hg_build *b, hg_value *places, uint32_t size);

/* ---- distances ---- */

/* What is known of how far query i is from key j, i - j: int64 [S, S]. rows[reach + i - j] stands for the distance, for those beyond
 * -reach .. reach the first or the last of these 2 reach + 1 numbers; `rows` NULL: i - j + reach itself. */
hg_value *hg_encoder_apart(hg_encoder *e, hg_build *b, const char *name, const int64_t *rows, uint32_t reach);
/* What each distance adds to the scores: out(i, j) = q_i query_table[apart(i, j)] + k_j key_table[apart(i, j)]. */
hg_encoder_far hg_encoder_far_of(hg_encoder *e, hg_build *b, const char *name, hg_value *apart,
                                 uint64_t rows);
/* q and k are [B, S, width], the tables [heads, head_dim, rows] or a matrix [rows, head_dim] for all heads; one of
 * them may be NULL. [B, heads, S, S]. */
hg_value *hg_encoder_far_scores(hg_encoder *e, hg_build *b, const char *name, const hg_encoder_far *f,
                                hg_value *q, hg_value *query_table, hg_value *k, hg_value *key_table);

/* ---- layers ---- */

/* The names of a layer's modules. */
typedef struct hg_encoder_names {
    const char *attention; /* the module that mixes */
    const char *query, *key, *value;
    const char *mixed;      /* W_o */
    const char *mixed_norm; /* of x + W_o .. */
    const char *up, *act, *down;
    const char *norm;
} hg_encoder_names;
extern const hg_encoder_names hg_encoder_bert; /* BERT's own, which most have */

/* One layer, in the present scope. */
hg_value *hg_encoder_layer(hg_encoder *e, hg_build *b, const hg_encoder_names *n, hg_value *x);
/* What follows its attention: y [B, S, width] is what was mixed. */
hg_value *hg_encoder_after(hg_encoder *e, hg_build *b, const hg_encoder_names *n, hg_value *x, hg_value *y);
/* All layers, in the scopes `scope`.0, .1, ...: "encoder.layer". */
hg_value *hg_encoder_stack(hg_encoder *e, hg_build *b, const char *scope, const hg_encoder_names *n,
                           hg_value *x);

/* ---- heads: their modules stand outside of the base model ---- */

/* The modules of a head for masked words: decoder(norm(act(dense(x)))). */
typedef struct hg_encoder_words {
    const char *dense, *act, *norm, *decoder;
    const char *bias; /* another name of decoder.bias; NULL = none */
    uint32_t size;    /* what dense makes of `width`; 0 = width */
    bool bare;        /* dense has no bias */
    bool no_bias;     /* the decoder has none */
} hg_encoder_words;
/* The modules of a head for the first token: last(act(dense(x[:, 0]))). */
typedef struct hg_encoder_first {
    const char *dense, *act, *last;
    bool base; /* dense is part of the base model: its pooler */
    hg_act how;
} hg_encoder_first;

/* Rows to the output `name` [B, S, width]. */
void hg_encoder_output(hg_encoder *e, hg_build *b, const char *name, hg_value *rows, uint64_t width);
void hg_encoder_masked(hg_encoder *e, hg_build *b, const hg_encoder_words *n, hg_value *x);
/* Embedders often keep the class ForMaskedLM of what they were trained from, and nothing of its head: then what is there is the bare model. */
void hg_encoder_headless(hg_encoder *e, hg_build *b, const hg_encoder_words *n);
void hg_encoder_sequence(hg_encoder *e, hg_build *b, const hg_encoder_first *n, hg_value *x);
/* x of the first tokens: rows [B, width]. */
hg_value *hg_encoder_first_token(hg_encoder *e, hg_build *b, hg_value *x);
/* A Linear to as many labels as it has rows. */
hg_value *hg_encoder_labels(hg_build *b, const char *name, hg_value *x, uint64_t width, bool bias,
                            uint64_t *labels);
/* Labels for each token; `name` is the Linear. */
void hg_encoder_token(hg_encoder *e, hg_build *b, const char *name, hg_value *x, bool bias);
/* Where the answer begins and where it ends. */
void hg_encoder_span(hg_encoder *e, hg_build *b, const char *name, hg_value *x, bool bias);
/* The head that the class asks for; those of tokens go by the names classifier and qa_outputs. */
void hg_encoder_head(hg_encoder *e, hg_build *b, const hg_encoder_words *words, const hg_encoder_first *first,
                     hg_value *x);

#endif
