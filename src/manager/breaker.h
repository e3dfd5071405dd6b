/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Circuit breakers, one per model that may answer: who fails again and again is left alone for a while.
 *
 *   CLOSED -> OPEN       after settings->serve_breaker_failures failures in a row, or at once when the service says for how long (retry_after)
 *   OPEN -> HALF_OPEN    after settings->serve_breaker_cooldown (or what the service said): one question is let through
 *   HALF_OPEN -> CLOSED  when it is answered;  HALF_OPEN -> OPEN when it is not, for twice as long, at most 16 times
 *
 * breaker_move() is the only place where a state changes: it logs, counts and notes why. Loop's thread.
 */
#ifndef HG_MANAGER_BREAKER_H
#define HG_MANAGER_BREAKER_H

#include "manager/why.h"
#include "settings/settings.h"

typedef struct hg_breakers hg_breakers;

hg_breakers *hg_breakers_new(const hg_settings *settings, hg_why *why); /* NULL when out of memory */
void hg_breakers_free(hg_breakers *b);
/* May this model be asked now? In HALF_OPEN only the first who asks; hg_breaker_tell or hg_breaker_drop must follow a yes. */
bool hg_breaker_allow(hg_breakers *b, const char *model);
/* How it went. retry_after in seconds, negative = not told; it means nothing when `well`. */
void hg_breaker_tell(hg_breakers *b, const char *model, bool well, double retry_after);
/* It went neither well nor badly: the client left. */
void hg_breaker_drop(hg_breakers *b, const char *model);
/* Seconds until the model may be asked again; 0 = now. */
double hg_breaker_wait(const hg_breakers *b, const char *model);
/* "closed", "open" or "half_open". */
const char *hg_breaker_state(const hg_breakers *b, const char *model);
/* An open array of {"model","state","failures","seconds"} of all that were ever asked. */
void hg_breakers_write(const hg_breakers *b, hg_jw *out);

#endif
