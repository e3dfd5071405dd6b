/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A loaded encoder: how it wants its texts, and how hidden states become one vector. Made by load_encoder.c (load_pair.c for the text side of
 * models of texts and pictures), used by embed.c.
 */
#ifndef HG_MANAGER_LOAD_ENCODER_H
#define HG_MANAGER_LOAD_ENCODER_H

#include "format/tokenizer.h"
#include "manager/dense.h"
#include "manager/loaded.h"

/* Ways of pooling, in the order in which several are put side by side (as sentence-transformers does). */
enum {
    HG_POOL_CLS = 1,            /* the first token */
    HG_POOL_MAX = 2,            /* the largest of each dimension */
    HG_POOL_MEAN = 4,           /* the average */
    HG_POOL_MEAN_SQRT = 8,      /* the sum over the square root of the number of tokens */
    HG_POOL_WEIGHTED_MEAN = 16, /* the average weighted by position, 1, 2, 3, ... */
    HG_POOL_LAST = 32,          /* the last token */
};

#define HG_ENCODER_STEPS_MAX 16

typedef struct hg_encoder {
    hg_tokenizer *tokenizer;
    size_t max_tokens; /* of one text, special tokens included */
    int64_t pad;
    size_t pad_to;              /* every text is this long; 0 = any length */
    const char *graph, *output; /* NULL = "model", "last_hidden_state" */
    unsigned pooling;           /* HG_POOL_*; 0 = the graph gives one vector for each text */
    hg_dense
        *steps[HG_ENCODER_STEPS_MAX]; /* what becomes of the vector, in this order; NULL = it gets length 1 */
    size_t step_count;
    bool whole;       /* a prompt counts in the pooling */
    bool token_types; /* the graph wants token_type_ids */
    bool no_mask;     /* it has no attention_mask */
    char *prompt;     /* put before each text; "" = none */
} hg_encoder;

#endif
