/* SPDX-License-Identifier: Apache-2.0 */
/* A conversation at a terminal: the part of `hangar run` without a prompt. */
#ifndef HG_VERBS_CHAT_H
#define HG_VERBS_CHAT_H

#include "verbs/verb.h"

/* Who is asked: a model that is loaded here, or (NULL) a name, by way of the daemon or the chain. */
typedef struct hg_asked {
    hangar *h;
    hangar_model *model;
    const char *name;
    bool daemon;
} hg_asked;

/* One answer, as hangar_generate gives it. */
hangar_code hg_asked_answer(const hg_asked *asked, const hangar_message *turns, size_t count,
                            const hangar_generate_options *options, hangar_job *job, char **out_json,
                            hangar_err *err);

/*
 * Reads a line, answers it, keeps both, until /bye or the end of input. `system` may be NULL. Ctrl-C during an answer ends that
 * answer alone. A turn that fails is told and forgotten; only an engine that is gone, lack of memory or a cancel end the session
 * with an error.
 */
hangar_code hg_chat(hg_call *call, const hg_asked *asked, const hangar_generate_options *options,
                    const char *system, hangar_err *err);

/*
 * Tells the person why an answer (the document of hangar_generate) is cut, if it is. newline: the text on `job` does not end a line yet.
 */
void hg_chat_tell_cut(hg_call *call, hangar_job *job, const hg_jval *answer, int64_t max_tokens,
                      bool newline);

#endif
