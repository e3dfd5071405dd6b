/* SPDX-License-Identifier: Apache-2.0 */
/* --out DIR of the verbs that convert, with the options that say how weights come there. */
#ifndef HG_VERBS_FOLDER_H
#define HG_VERBS_FOLDER_H

#include "verbs/verb.h"

typedef struct hg_folder_args {
    const char *out;
    bool link, reflink, copy;
} hg_folder_args;

/* USAGE when two ways are asked for at once, or one without --out. */
hangar_code hg_folder_place(const hg_folder_args *a, hangar_place *out, hangar_err *err);

#endif
