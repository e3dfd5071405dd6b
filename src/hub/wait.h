/* SPDX-License-Identifier: Apache-2.0 */
/* How long to wait before another try. */
#ifndef HG_HUB_WAIT_H
#define HG_HUB_WAIT_H

#include "base/err.h"
#include "hub/reply.h"

#include <stdint.h>

#define HG_WAIT_MAX 300.0 /* seconds a server may ask to wait; more is an error */

/* Seconds before repeat number `nth` (1 = the first), with jitter, growing to 8 s; short (to 1 s) when `brief`. */
double hg_wait_grow(int64_t nth, bool brief);
/* The same, or what the answer (may be NULL) asks for, whichever is longer. RATE_LIMITED when it asks for more than
 * HG_WAIT_MAX. */
hangar_code hg_wait_choose(const hg_reply *reply, int64_t nth, bool brief, double *out, hangar_err *err);

#endif
