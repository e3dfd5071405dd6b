/* SPDX-License-Identifier: Apache-2.0 */
/* The page of the models that a daemon holds, for the verbs that show them. */
#ifndef HG_VERBS_SLOTS_H
#define HG_VERBS_SLOTS_H

#include "base/json.h"
#include "base/view.h"

/* The table, and the memory in all: the document of hangar_daemon_ps. */
void hg_slots_show(const hg_jval *r, hg_view *view);

#endif
