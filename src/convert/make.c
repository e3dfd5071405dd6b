/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/make.h"

#include <stdlib.h>

struct hg_make {
    uint64_t offset;
};

/* Frees a plan. */
void hg_make_plan_deinit(hg_make_plan *plan)
{
    free(plan->items);
    *plan = (hg_make_plan){0};
}

hangar_code hg_make_run(const hg_make_plan *plan, const hg_checkpoint *ck, const char *path, hangar_job *job,
                        hangar_err *err)
{
    (void)plan, (void)ck, (void)job;
    return hg_fail(err, HANGAR_E_INTERNAL, "%s: nothing can be made anew", path);
}
