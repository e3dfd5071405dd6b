/* SPDX-License-Identifier: Apache-2.0 */
/* How the pages of the verbs speak of what stands in a document: sizes, times, counts. "-" for what is not there. */
#ifndef HG_VERBS_WORDS_H
#define HG_VERBS_WORDS_H

#include "base/json.h"

#include <stdint.h>

typedef struct hg_words {
    char text[48];
} hg_words;

/* hg_words w; hg_size_words(&w, value) returns w.text: "3.2 MB" */
const char *hg_size_words(hg_words *w, const hg_jval *bytes);
/* "9000", "521,472", "39.4 million", "1.2 billion" */
const char *hg_count_words(hg_words *w, const hg_jval *count);
/* "1 file", "12 files" */
const char *hg_plural_words(hg_words *w, uint64_t count, const char *one, const char *many);
/* A time ("2026-01-31T12:00:00Z" or Unix seconds) as "just now", "5 minutes ago", "3 days ago", or a date. */
const char *hg_ago_words(hg_words *w, const hg_jval *time, int64_t now);
/* "0.4 s" */
const char *hg_seconds_words(hg_words *w, const hg_jval *seconds);
/* The first 12 digits of a commit. */
const char *hg_commit_words(hg_words *w, const hg_jval *commit);

#endif
