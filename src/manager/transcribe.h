/* SPDX-License-Identifier: Apache-2.0 */
/* hangar_transcribe for a recording that is open already. For the manager's own files only. */
#ifndef HG_MANAGER_TRANSCRIBE_H
#define HG_MANAGER_TRANSCRIBE_H

#include "manager/loaded.h"

/* fd stays the caller's, is not 0, and is read from its start; name is what the document and errors call it. */
hangar_code hg_transcribe_fd(hangar_model *model, const char *name, int fd,
                             const hangar_transcribe_options *options, hangar_job *job, char **out_json,
                             hangar_err *err);

#endif
