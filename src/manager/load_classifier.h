/* SPDX-License-Identifier: Apache-2.0 */
/* A loaded classifier of texts: how it wants them, and what its scores stand for. Made by load_classifier.c, used by classify.c. */
#ifndef HG_MANAGER_LOAD_CLASSIFIER_H
#define HG_MANAGER_LOAD_CLASSIFIER_H

#include "hangar/engine.h"
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
/* config.json as far as labels go: *c is zeros before, to be deinitialised also after a failure. */
hangar_code hg_classifier_config(const hg_snapshot *snap, hg_classifier *c, hangar_err *err);
void hg_classifier_deinit(hg_classifier *c);

/* classify.c, for pictures, too: */
hangar_code hg_classify_options_read(const hangar_classify_options *given, hangar_classify_options *out,
                                     hangar_err *err);
const char *hg_score_name(hg_score kind); /* "softmax", "sigmoid", "none" */
/* Numbers to scores, in place. ENGINE when one is not finite. */
hangar_code hg_scores_make(hg_score kind, float *x, size_t width, hangar_err *err);
/* The member "labels": name and score, the likeliest first, `top` of them (0 = all); LABEL_N for one without a name. */
hangar_code hg_labels_write(const char *const *names, size_t name_count, const float *scores, size_t width,
                            int top, hg_jw *j, hangar_err *err);

#endif
