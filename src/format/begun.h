/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An answer that goes on: the text that is out already, as tokens.
 *
 * A text can be cut into tokens in several ways, and may end in the midst of one. Its ids are at first those that the tokenizer gives. Where
 * the model is asked (at temperature 0, where it has one opinion) and would have written the same text by another token, that token is taken
 * and the rest read anew. So an answer cut anywhere is gone on with from the very tokens that it was made of, and what follows is what would
 * have followed.
 */
#ifndef HG_FORMAT_BEGUN_H
#define HG_FORMAT_BEGUN_H

#include "format/reader.h"

#define HG_BEGUN_CHECKS_MAX \
    1024 /* tokens that were not the tokenizer's and are looked at; after those its own are kept */

typedef struct hg_begun {
    const hg_reader *reader;
    hg_str text;
    hg_ids64 ids;
    size_t *ends; /* where in the text each token ends */
    size_t ends_cap;
    bool exact;    /* the ids stand for exactly this text */
    size_t beyond; /* bytes of the text's end that a token has which runs beyond it; 0 = none does */
    size_t fresh;  /* and its bytes behind that end */
    int64_t last;  /* that token: it is not among ids, but the first of the answer's new ones */
    unsigned checks;
} hg_begun;

/* The text must outlive it. To be ended with hg_begun_deinit in any case. */
hangar_code hg_begun_init(hg_begun *b, const hg_reader *reader, hg_str text, hangar_err *err);
void hg_begun_deinit(hg_begun *b);
/*
 * Behind the first `at` of the ids the model would write `id`, at < ids.count. When that is another way to the same text the ids from there
 * on change: *out_changed, and ids.count may be anything from `at` on; `at` itself when the token runs beyond the text (`beyond`, `last`).
 */
hangar_code hg_begun_prefer(hg_begun *b, size_t at, int64_t id, bool *out_changed, hangar_err *err);

#endif
