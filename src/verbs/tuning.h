/* SPDX-License-Identifier: Apache-2.0 */
/* What `quantize` and `optimize` share: they differ in the profile that is meant when none is named. */
#ifndef HG_VERBS_TUNING_H
#define HG_VERBS_TUNING_H

#include "verbs/folder.h"

typedef struct hg_tuning_args {
    const char *ref;
    const char *profile, *level;
    hg_folder_args folder;
    double seconds;
    bool keep, list;
} hg_tuning_args;

/* profile: the one that is meant when none is named. */
hangar_code hg_tuning_run(hg_call *call, const char *profile, char **out_json, hangar_err *err);
void hg_tuning_show(const hg_jval *result, hg_view *view);
/* The table of forms that were tried. */
void hg_tuning_show_table(const hg_jval *table, const char *chosen, hg_view *view);

#endif
