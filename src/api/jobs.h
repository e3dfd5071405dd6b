/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verbs at work in the daemon. A task is one run of one verb on a worker thread; its events are kept (bounded) and told to whoever listens, on
 * the loop. A background task outlives its request and is kept a while after its end; any other is gone with the last who listens.
 *
 *   QUEUED -> RUNNING -> DONE | FAILED | CANCELLED          (task_move in jobs.c is the only place; QUEUED may become CANCELLED)
 *
 * At most HG_TASKS_AT_ONCE tasks work at the same time, and as many again of those that only read; the others wait, at most HG_TASKS_WAITING
 * of them (OVERLOADED).
 *
 * Everything here is called, and calls back, on the loop's thread.
 */
#ifndef HG_API_JOBS_H
#define HG_API_JOBS_H

#include "base/loop.h"
#include "verbs/verb.h"

#define HG_TASKS_AT_ONCE 8
#define HG_TASKS_WAITING 64
#define HG_TASKS_KEPT    64                  /* background tasks that are remembered after their end */
#define HG_TASK_EVENTS   2048                /* events of one task that are kept, the latest ones */
#define HG_TASK_BYTES    ((size_t)256 << 10) /* their bytes */
#define HG_TASK_INBOX \
    ((size_t)2 << 20) /* bytes of events that the loop has not taken yet; what is above is left out */

typedef struct hg_jobs hg_jobs;
typedef struct hg_task hg_task;
typedef struct hg_ear hg_ear;

typedef enum hg_task_state {
    HG_TASK_QUEUED,
    HG_TASK_RUNNING,
    HG_TASK_DONE,
    HG_TASK_FAILED,
    HG_TASK_CANCELLED
} hg_task_state;
const char *hg_task_state_name(hg_task_state s); /* "queued", ... */

/* h is what the verbs get; it and the loop must outlive the jobs. */
hangar_code hg_jobs_new(hangar *h, hg_loop *loop, hg_jobs **out, hangar_err *err);
/* Takes no more, cancels all, calls done when no thread works any more (not before this returns). */
void hg_jobs_close(hg_jobs *jobs, hg_loop_fn *done, void *ctx);
/* After done. Those who still listen are not told. NULL is fine. */
void hg_jobs_free(hg_jobs *jobs);
/* Tasks that work and that wait. */
size_t hg_jobs_running(const hg_jobs *jobs);

typedef struct hg_task_spec {
    const hg_verb *verb;
    hg_json *doc; /* the arguments, taken in any case; NULL = none */
    bool reads;   /* only reads: has a line of its own */
    bool background;
} hg_task_spec;

/* Begins. USAGE as of hg_args_from_json, OVERLOADED, NO_MEMORY. The task is borrowed, and lives at least until the loop goes on. */
hangar_code hg_task_start(hg_jobs *jobs, const hg_task_spec *spec, hg_task **out, hangar_err *err);
/* Asks it to end; one that waits ends at once. */
void hg_task_cancel(hg_task *t);
/* NULL when there is none. */
hg_task *hg_task_find(hg_jobs *jobs, const char *id);
/* The n-th, the newest first; NULL beyond the last. */
hg_task *hg_task_at(hg_jobs *jobs, size_t index);

const char *hg_task_id(const hg_task *t); /* 16 hex digits */
bool hg_task_background(const hg_task *t);
/* How it ended; borrowed, "" and NULL while it works. The document may be there after a failure, too: a report. */
hangar_code hg_task_code(const hg_task *t);
const hangar_err *hg_task_error(const hg_task *t);
const char *hg_task_result(const hg_task *t);
/* {"id","verb","ref","state","background","cancelling","created","started","ended","events","error"}: times are unix seconds or null, events is the
 * number of the last one, error {"code","message"} or null. */
void hg_task_write(const hg_task *t, const char *key, hg_jw *out);

typedef struct hg_ear_fns {
    /* One or more events, each as a part of a text/event-stream: "id: 7\nevent: item\ndata: {...}\n\n". */
    void (*events)(void *ctx, hg_str frames);
    /* The last, once all events are told. The ear is gone then. */
    void (*end)(void *ctx, const hg_task *t);
} hg_ear_fns;
/*
 * Listens: first to what is kept of the events behind number `after` (0 = from the beginning), then to what comes. Never calls back before this
 * returns. Progress of one thing is told at most ten times a second, the latest.
 */
hangar_code hg_task_listen(hg_task *t, uint64_t after, const hg_ear_fns *fns, void *ctx, hg_ear **out,
                           hangar_err *err);
/* Never called back again. With `cancel` the task ends when nobody else listens and it is no background task. */
void hg_ear_close(hg_ear *ear, bool cancel);

#endif
