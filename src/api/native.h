/* SPDX-License-Identifier: Apache-2.0 */
/* What hangar's own endpoints (/hangar/v1/...) share. */
#ifndef HG_API_NATIVE_H
#define HG_API_NATIVE_H

#include "api/http.h"
#include "api/jobs.h"

#define HG_SSE_TYPE "text/event-stream"

/* One event: "event: NAME\ndata: DATA\n\n"; each line of data has its own "data:". */
void hg_sse_add(hg_buf *out, const char *name, hg_str data);
/* The same into a stream that has begun. json is taken; NULL (out of memory) sends nothing. */
void hg_sse_send(hg_req *r, const char *name, char *json);
/* True when the client would rather have events. */
bool hg_wants_events(const hg_req *r);
/* A finished document as the answer, or the error of finishing it. Takes the writer. */
void hg_reply_jw(hg_req *r, unsigned status, hg_jw *w);
/* hg_reply_error for an error that was just made: OVERLOADED asks to come back after a few seconds. */
void hg_reply_fail(hg_req *r, const hangar_err *err);
/* {"error":{...},"report":DOCUMENT}: an error together with what was found. report may be NULL. The caller's; NULL when out of memory. */
char *hg_error_report(const hangar_err *err, const char *report);

/* A task as the answer of r: its events and its document, or its document alone. The task ends when the client goes (hg_ear_close). */
void hg_answer_task(hg_req *r, hg_task *t, uint64_t after, bool events);

/* The verb of a route "/hangar/v1/VERB"; NULL for other routes. *out_reads: it changes nothing. */
const hg_verb *hg_route_verb(const char *path, bool *out_reads);

/* "keep_alive" of a body: seconds, negative = for ever, or a text with a unit ("5m"). Left out: NAN. USAGE. */
hangar_code hg_keep_alive(const hg_jval *v, double *out, hangar_err *err);

#endif
