/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How likely the tokens of an answer were: natural logarithms of the shares that softmax gives of the model's raw scores, before penalties,
 * temperature and the rest. A token is told with the piece of text in which its first byte goes out, whole, also when a stop string cuts it.
 */
#ifndef HG_FORMAT_LOGPROBS_H
#define HG_FORMAT_LOGPROBS_H

#include "base/json.h"
#include "format/generate.h"
#include "format/reader.h"

#define HG_LOGPROB_NEVER (-9999.0) /* stands for minus infinity, which JSON has no word for */

typedef struct hg_likely {
    int64_t id;
    double logprob;
} hg_likely;

/* A token that was chosen and is not told yet. */
typedef struct hg_told {
    hg_likely chosen;
    size_t begin, end; /* bytes of the answer */
    unsigned top_count;
    hg_likely top[HG_GENERATE_LOGPROBS_MAX];
} hg_told;

typedef struct hg_logprobs {
    const hg_reader *reader;
    unsigned top; /* how many of the likeliest are told */
    hg_told *list;
    size_t first, count, cap; /* list[first, count) waits */
    size_t at;                /* where the text of the next token begins */
} hg_logprobs;

/* The answer's text goes on from `at` bytes. */
void hg_logprobs_init(hg_logprobs *l, const hg_reader *reader, unsigned top, size_t at);
void hg_logprobs_deinit(hg_logprobs *l);
/* A token is chosen by scores[vocab]. Where its text lies is said next, by hg_logprobs_place. */
hangar_code hg_logprobs_note(hg_logprobs *l, const float *scores, size_t vocab, int64_t id, hangar_err *err);
/* The text of the token noted last ends at `end`. */
void hg_logprobs_place(hg_logprobs *l, size_t end);
/* Writes the member "logprobs": all tokens that wait and have a byte before `upto`, or no byte at all. */
hangar_code hg_logprobs_write(hg_logprobs *l, hg_jw *w, size_t upto, hangar_err *err);
/* The same tokens are never told: they are no text. */
void hg_logprobs_drop(hg_logprobs *l, size_t upto);

#endif
