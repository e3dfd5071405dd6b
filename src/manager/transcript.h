/* SPDX-License-Identifier: Apache-2.0 */
/* What is written down of a recording while it comes, and the document of hangar_transcribe that is made of it. For the manager's own files only. */
#ifndef HG_MANAGER_TRANSCRIPT_H
#define HG_MANAGER_TRANSCRIPT_H

#include "manager/loaded.h"

typedef struct hg_transcript {
    hangar_job *job;
    hg_buf text;
    hg_jw *segments; /* an open array */
    int64_t *tokens;
    size_t token_count, token_cap;
} hg_transcript;

/* NO_MEMORY; deinit it all the same. */
hangar_code hg_transcript_init(hg_transcript *t, hangar_job *job, hangar_err *err);
void hg_transcript_deinit(hg_transcript *t);
hangar_code hg_transcript_token(hg_transcript *t, int64_t id, hangar_err *err);
/* Closes the segments. language NULL = not known; duration of the file and the time it took in seconds. */
hangar_code hg_transcript_write(hg_transcript *t, const hangar_model *m, const char *file,
                                const char *language, double duration, double seconds, char **out_json,
                                hangar_err *err);

#endif
