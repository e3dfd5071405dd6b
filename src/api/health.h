/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the daemon is, as /health, /ready, the status file and systemd are told.
 *
 * Only wanted models count: those that are preloaded or were loaded for good. A model answers when its runner has answered a real inference
 * (manager/pool.h: READY only comes after one, and a runner that stops answering leaves it within serve.probe_interval +
 * serve.probe_timeout).
 *
 *   HEALTHY    all wanted models answer; so when none is wanted
 *   LOADING    some are on their way for the first time, none has failed
 *   DEGRADED   at least one answers, at least one has failed or is coming back
 *   UNHEALTHY  none answers, at least one has failed
 */
#ifndef HG_API_HEALTH_H
#define HG_API_HEALTH_H

#include "manager/ask.h"

typedef enum hg_health { HG_HEALTHY, HG_LOADING, HG_DEGRADED, HG_UNHEALTHY } hg_health;
const char *hg_health_name(hg_health h); /* "healthy", ... */

typedef struct hg_health_sum {
    size_t wanted, answer, loading, failed; /* loading: for the first time */
    size_t loaded;                          /* of all models: in memory and answering */
} hg_health_sum;

/* Counts one model; start from zeros. */
void hg_health_add(hg_health_sum *sum, const hg_slot_info *slot);
hg_health hg_health_judge(const hg_health_sum *sum);
/* True in READY and BUSY. */
bool hg_slot_answers(const hg_slot_info *slot);
/* The whole pool. */
hg_health hg_health_read(const hg_pool *pool, hg_health_sum *out);

/* All preload models (host->preload) and all other wanted ones answer, and hangar is not ending. Else false, and `why` names the first that does not. */
bool hg_ready(const hg_host *host, hangar_err *why);

#endif
