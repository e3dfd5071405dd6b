/* SPDX-License-Identifier: Apache-2.0 */
/* How a model in memory is told of: in ps, and by others that show it. */
#ifndef HG_API_NATIVE_MODELS_H
#define HG_API_NATIVE_MODELS_H

#include "base/json.h"
#include "manager/pool.h"

/* {"name","state","ref","loader","task","memory","pinned","wanted","idle_seconds","expires_in","progress","phase","error","waiting","uses",
 * "restarts","pid","load_seconds","loaded_at","probed_at"}; null where there is nothing to tell: expires_in null = never. */
void hg_slot_write(const hg_slot_info *s, hg_jw *out);

#endif
