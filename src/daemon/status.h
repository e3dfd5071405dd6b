/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the daemon tells to those who do not ask over HTTP: a status file, and systemd.
 *
 * The file is JSON: {"status","error","timestamp","model_path","device","models":{NAME:STATE},"pid","version"}.
 *   status      "loading": not all wanted models answer yet; "ready": they do; "error": one has failed, or hangar is ending; "error" says why
 *   error       null, or the words of the first failure
 *   timestamp   unix seconds with a fraction, of the change
 *   model_path  folder of the first wanted model (its REF until that is known; "" when none is wanted)
 *   device      "cpu": where the engines compute
 *   models      all that are in memory or on their way: "loading", "ready" (also while it works), "ending", "failed", "quarantined"
 * It is written before the daemon listens, follows every change, and is removed at an orderly end; `pid` tells a file that was left
 * behind by a kill. Whoever reads sees a whole file at any moment.
 *
 * systemd (Type=notify) is told READY=1 once all preload models answer, STATUS=... with progress, EXTEND_TIMEOUT_USEC=... while models
 * load, WATCHDOG=1 from the loop, STOPPING=1.
 *
 * Everything here: on the loop's thread, but for hg_status_start, which comes before the loop runs.
 */
#ifndef HG_DAEMON_STATUS_H
#define HG_DAEMON_STATUS_H

#include "manager/ask.h"

typedef struct hg_status hg_status;

/* path: the file, "" = none. Everything of the host that is looked at (pool, settings) must be there and outlive it. IO: the file cannot be written. */
hangar_code hg_status_start(hg_host *host, const char *path, hg_status **out, hangar_err *err);
/* The daemon begins to end: STOPPING=1, and the file says so. */
void hg_status_stopping(hg_status *s);
/* Once the pool is closed: removes the file and frees all, then calls done (not before this returns). */
void hg_status_stop(hg_status *s, hg_loop_fn *done, void *ctx);
/* The same when the loop does not run, and never did. NULL is fine. */
void hg_status_free(hg_status *s);

#endif
