/* SPDX-License-Identifier: Apache-2.0 */
/* Asking a running daemon, and being told its events as they come. */
#ifndef HG_MANAGER_DAEMON_CLIENT_H
#define HG_MANAGER_DAEMON_CLIENT_H

#include "base/job.h"
#include "manager/handle.h"

/* One event of an answer: its name and its data, parsed. Anything but OK ends the call with it. */
typedef hangar_code hg_daemon_event_fn(void *ctx, const char *event, const hg_jval *data, hangar_err *err);

typedef struct hg_daemon_call {
    const char *method, *path;
    const char *body;       /* NULL = none */
    hg_daemon_event_fn *fn; /* NULL = no events are asked for */
    void *ctx;
    hangar_job *job;
    double timeout; /* seconds for the whole; 0 = no limit */
    bool raw;       /* the body is no JSON: *out_json is its text */
} hg_daemon_call;

/*
 * out_json is the document: the body, or with events the data of "result" or "done" (NULL when the stream had none, which is an error then). An "error"
 * event is not given to fn.
 */
hangar_code hg_daemon_ask(hangar *h, const hg_daemon_call *call, char **out_json, hangar_err *err);
/*
 * How a model is with the daemon. OK: ready. BUSY: not yet, and `why` says why; *held tells whether the daemon has it at all. Else it never will be.
 * entry: what the catalogue has of the name, NULL = nothing.
 */
struct hg_entry;
hangar_code hg_daemon_ready(hangar *h, const char *name, const struct hg_entry *entry, hangar_job *job,
                            double timeout, bool *held, char why[HANGAR_ERR_MAX], hangar_err *err);
/* A text for a query: "a/b c" as "a%2Fb%20c". The caller's; NULL when out of memory. */
char *hg_daemon_escape(const char *text);

#endif
