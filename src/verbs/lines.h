/* SPDX-License-Identifier: Apache-2.0 */
/* Texts for verbs that take several: the arguments, or the lines of the standard input. */
#ifndef HG_VERBS_LINES_H
#define HG_VERBS_LINES_H

#include "verbs/verb.h"

typedef struct hg_lines {
    const char *const *texts; /* borrowed from the arguments, or `own` */
    size_t count;
    char **own;
    size_t cap;
} hg_lines;

/*
 * texts: the arguments, NULL-terminated; NULL or a single "-" means the lines of the standard input without the empty ones, which must be
 * UTF-8 (INVALID names the line), at least one (USAGE) and not too many (LIMIT). hg_lines_deinit in any case.
 */
hangar_code hg_lines_read(hg_call *call, const char *const *texts, hg_lines *out, hangar_err *err);
void hg_lines_deinit(hg_lines *lines);
/* Tells the person of texts that the model could not read to their end ("truncated" of the document). */
void hg_lines_tell_cut(hg_call *call, const char *document);

#endif
