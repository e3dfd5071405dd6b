/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/wait.h"

#include "base/clock.h"

double hg_wait_grow(int64_t nth, bool brief)
{
    double wait = brief ? 0.2 : 0.5, most = brief ? 1 : 8;
    for (int64_t i = 1; i < nth && wait < most; i++) wait *= 2;
    if (wait > most) wait = most;
    return wait * (0.75 + 0.5 * hg_random());
}

hangar_code hg_wait_choose(const hg_reply *reply, int64_t nth, bool brief, double *out, hangar_err *err)
{
    *out = hg_wait_grow(nth, brief);
    /* RateLimit comes with good answers too; it means a wait only when there was too much. */
    double asked =
        reply && (reply->status == 429 || reply->retry_after[0]) ? hg_reply_wait(reply, hg_wall()) : -1;
    if (asked > HG_WAIT_MAX)
        return hg_fail(err, HANGAR_E_RATE_LIMITED,
                       "the server asks to wait %.0f s (more than %.0f s): try again later", asked,
                       HG_WAIT_MAX);
    if (asked >= 0) {
        double jitter = 0.25 * hg_random();
        *out = asked + jitter > *out ? asked + jitter : *out;
    }
    return HANGAR_OK;
}
