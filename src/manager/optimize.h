/* SPDX-License-Identifier: Apache-2.0 */
/* What optimize.c and optimize_auto.c share. */
#ifndef HG_MANAGER_OPTIMIZE_H
#define HG_MANAGER_OPTIMIZE_H

#include "manager/convert.h"

typedef struct hg_optimizing {
    hangar *h;
    const hg_snapshot *snap;
    const char *ref;
    const hangar_optimize_options *options;
    hangar_job *job;
    hg_facts facts;
    hg_level level;
} hg_optimizing;

/* What is added to a conversion's answer. */
typedef struct hg_optimized {
    const hg_profile *asked;   /* NULL: nobody asked for a profile */
    const hg_profile *profile; /* that it became */
    const char *why;           /* "" or NULL: nothing to say */
    const hg_jval *table;      /* NULL = none */
    double seconds;            /* in place of the conversion's own; 0 = those */
} hg_optimized;
/* `text`: the conversion's answer. *out_json is the caller's. */
hangar_code hg_optimized_write(const hg_optimized *o, const char *text, char **out_json, hangar_err *err);

/* The profile "auto". */
hangar_code hg_optimize_auto(hg_optimizing *o, const hg_profile *asked, char **out_json, hangar_err *err);

#endif
