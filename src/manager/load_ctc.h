/* SPDX-License-Identifier: Apache-2.0 */
/* A loaded speech model with an answer per frame (CTC): its letters and its steps. Made by load_ctc.c, used by transcribe_ctc.c. */
#ifndef HG_MANAGER_LOAD_CTC_H
#define HG_MANAGER_LOAD_CTC_H

#include "manager/loaded.h"

#include "hangar/engine.h"

typedef struct hg_ctc {
    char **letters; /* by id, as they stand in a text; NULL = no such id */
    bool *special;  /* by id: no text (<s>, <unk>, ...) */
    size_t count;
    int64_t blank;       /* between two equal letters */
    int64_t delimiter;   /* between words; -1 = none */
    size_t window, edge; /* samples of a window, and of those on each side that only help */
    size_t ratio, least; /* samples from frame to frame, and of the first one */
    bool normalize;      /* sound to mean 0 and variance 1 */
} hg_ctc;

/* A file that is open, through a model of this kind: what hangar_transcribe gives. */
hangar_code hg_transcribe_ctc(hangar_model *m, const char *file, int fd,
                              const hangar_transcribe_options *options, hangar_job *job, char **out_json,
                              hangar_err *err);

#endif
