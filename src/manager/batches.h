/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many texts through an encoder: to tokens, in batches to one of the runner's graphs, and what it gives for each batch back. Texts are sorted by
 * length so that a batch has little padding; a batch holds a bounded number of tokens (a single longer text is a batch of its own). For the
 * manager's own files only.
 */
#ifndef HG_MANAGER_BATCHES_H
#define HG_MANAGER_BATCHES_H

#include "format/tokenizer.h"
#include "manager/loaded.h"

#define HG_BATCH_TEXTS_MAX 100000
#define HG_BATCH_WIDTH_MAX 65536 /* of the output's last dimension */

/* How a model takes its texts. */
typedef struct hg_batch_spec {
    const hg_tokenizer *tokenizer;
    size_t max_tokens; /* of one text, special tokens included */
    int64_t pad;
    size_t pad_to;      /* every row is this long; 0 = as long as the longest text of its batch */
    bool token_types;   /* the graph wants token_type_ids */
    bool no_mask;       /* it has no attention_mask */
    const char *graph;  /* NULL = "model" */
    const char *prompt; /* put before each text; "" = none */
    const char *output; /* the graph's output, F32: [rows][width], or [rows][len][width] */
} hg_batch_spec;

/* What came back for some of the texts. Borrowed. */
typedef struct hg_batch {
    size_t rows, len, width;
    bool per_token;          /* [rows][len][width], else [rows][width] */
    const size_t *texts;     /* for each row the text's index */
    const hg_token_ids *ids; /* of all texts, by that index */
    const float *data;
} hg_batch;
typedef hangar_code hg_batch_fn(void *ctx, const hg_batch *batch, hangar_err *err);

/*
 * All texts; *out_ids are their tokens, also on failure (hg_batch_ids_free). USAGE when there are none or too many, or a text has no tokens.
 * Events: TOTAL in texts.
 */
hangar_code hg_batches_run(hangar_model *m, const hg_batch_spec *spec, const char *const *texts, size_t count,
                           hg_batch_fn *on_batch, void *ctx, hangar_job *job, hg_token_ids **out_ids,
                           hangar_err *err);
void hg_batch_ids_free(hg_token_ids *ids, size_t count);
/* A float as the shortest number that reads back as the same float, for documents. */
double hg_batch_number(float x);

#endif
