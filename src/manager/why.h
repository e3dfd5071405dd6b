/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why something was decided for somebody: the last evictions, refusals, restarts, fallbacks, one line each. Loop's thread.
 */
#ifndef HG_MANAGER_WHY_H
#define HG_MANAGER_WHY_H

#include "base/json.h"

#define HG_WHY_KEEP 256

typedef struct hg_why hg_why;
hg_why *hg_why_new(void); /* NULL when out of memory */
void hg_why_free(hg_why *w);
/* kind: "eviction", "unload", "refusal", "restart", "quarantine", "fallback", "breaker", "probe". NULL w is fine. */
void hg_why_note(hg_why *w, const char *kind, const char *model, const char *fmt, ...) HG_PRINTF(4, 5);
/* An open array of {"time","kind","model","text"}, the latest first; model and kind NULL = all. */
void hg_why_write(const hg_why *w, const char *kind, const char *model, size_t most, hg_jw *out);

#endif
