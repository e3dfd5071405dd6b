/* SPDX-License-Identifier: Apache-2.0 */
/* A loaded classifier of texts: how it wants them, and what its scores stand for. Made by load_classifier.c, used by classify.c. */
#ifndef HG_MANAGER_LOAD_CLASSIFIER_H
#define HG_MANAGER_LOAD_CLASSIFIER_H

#include "manager/batches.h"

/* What becomes of the graph's numbers. */
typedef enum hg_score { HG_SCORE_SOFTMAX, HG_SCORE_SIGMOID, HG_SCORE_NONE } hg_score;

typedef struct hg_classifier {
    hg_tokenizer *tokenizer;
    size_t max_tokens; /* of one text, special tokens included */
    int64_t pad;
    bool token_types;    /* the graph wants token_type_ids */
    bool per_token;      /* a label for each token, else for each text */
    hg_score score;      /* not yet known for one label: see hg_classifier_score */
    bool declared;       /* `score` is what problem_type says */
    hg_json *config;     /* config.json */
    const char **labels; /* by index, borrowed from it; NULL = it has no name */
    size_t label_count;
} hg_classifier;

/* What becomes of `width` numbers: as declared, else one is a sigmoid and several are a softmax. */
hg_score hg_classifier_score(const hg_classifier *c, size_t width);

#endif
