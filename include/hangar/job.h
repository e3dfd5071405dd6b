/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job: one piece of long work seen from outside. It carries progress up (events) and a cancel
 * request down. Any call that takes a hangar_job also takes NULL: then nothing is reported and nothing
 * can be cancelled.
 *
 * Life: hangar_job_new -> hand it to one call (hangar_model_download, ...) -> hangar_job_free.
 * Threads: events arrive one at a time, on threads of hangar's; the callback must return quickly.
 * hangar_job_cancel may be called from any thread and from a signal handler.
 */
#ifndef HANGAR_JOB_H
#define HANGAR_JOB_H

#include "hangar/error.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hangar_job hangar_job;

typedef enum hangar_event_kind {
    HANGAR_EVENT_PHASE, /* a new phase began: text = "resolving", "downloading", ...                    */
    HANGAR_EVENT_PLAN,  /* one item of the plan is known: item, total (bytes), text = "fetch" | "have"  */
    HANGAR_EVENT_ITEM,  /* progress of one item: item, done, total; text = "" | "retry" | "done"        */
    HANGAR_EVENT_TOTAL, /* progress of the whole job: done, total (bytes, or steps), rate, eta          */
    HANGAR_EVENT_NOTE,  /* one line for the person: text (a retry, a wait, a repair)                    */
    HANGAR_EVENT_TEXT,  /* a piece of the answer itself, in order: text (UTF-8, whole characters)       */
} hangar_event_kind;

typedef struct hangar_event {
    size_t size; /* sizeof(hangar_event) of the library */
    hangar_event_kind kind;
    const char *item; /* what it is about: a file path; never NULL          */
    const char *text; /* see the kinds; never NULL                          */
    uint64_t done;    /* bytes or steps                                     */
    uint64_t total;   /* the same unit; 0 = not known                       */
    double rate;      /* per second over the last seconds; 0 = not known    */
    double eta;       /* seconds left; negative = not known                 */
} hangar_event;

/* The strings of an event live until the callback returns. */
typedef void hangar_event_fn(void *ctx, const hangar_event *event);

/* on_event may be NULL. Returns NULL only when out of memory. */
HANGAR_API hangar_job *hangar_job_new(hangar_event_fn *on_event, void *ctx);
HANGAR_API void hangar_job_free(hangar_job *job);
/* Asks the work to end soon with HANGAR_E_CANCELLED, keeping what can be resumed. */
HANGAR_API void hangar_job_cancel(hangar_job *job);
HANGAR_API bool hangar_job_is_cancelled(const hangar_job *job);

/* The stable name of an event kind for programs: "phase", "plan", ... */
HANGAR_API const char *hangar_event_name(hangar_event_kind kind);

#ifdef __cplusplus
}
#endif
#endif
