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
