/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job has a mutex, held while the callback runs, so that events arrive one at a time; and a flag outside it,
 * lock-free, so that a cancel may come from a signal handler or from the callback itself.
 */
#include "base/job.h"

#include "base/mem.h"

#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

struct hangar_job {
    hangar_event_fn *on_event;
    void *ctx;
    pthread_mutex_t mutex;
    atomic_int cancelled;
};

_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "a cancel must be safe in a signal handler");

hangar_job *hangar_job_new(hangar_event_fn *on_event, void *ctx)
{
    hangar_job *job = hg_calloc(1, sizeof *job);
    if (!job) return NULL;
    job->on_event = on_event;
    job->ctx = ctx;
    atomic_init(&job->cancelled, 0);
    if (pthread_mutex_init(&job->mutex, NULL) != 0) {
        free(job);
        return NULL;
    }
    return job;
}

void hangar_job_free(hangar_job *job)
{
    if (!job) return;
    pthread_mutex_destroy(&job->mutex);
    free(job);
}

void hangar_job_cancel(hangar_job *job)
{
    if (job) atomic_store(&job->cancelled, 1);
}

bool hangar_job_is_cancelled(const hangar_job *job)
{
    return job && atomic_load(&job->cancelled) != 0;
}

const char *hangar_event_name(hangar_event_kind kind)
{
    switch (kind) {
    case HANGAR_EVENT_PHASE: return "phase";
    case HANGAR_EVENT_PLAN: return "plan";
    case HANGAR_EVENT_ITEM: return "item";
    case HANGAR_EVENT_TOTAL: return "total";
    case HANGAR_EVENT_NOTE: return "note";
    case HANGAR_EVENT_TEXT: return "text";
    }
    return "unknown";
}

void hg_job_send(hangar_job *job, hangar_event event)
{
    if (!job || !job->on_event) return;
    event.size = sizeof event;
    if (!event.item) event.item = "";
    if (!event.text) event.text = "";
    pthread_mutex_lock(&job->mutex);
    job->on_event(job->ctx, &event);
    pthread_mutex_unlock(&job->mutex);
}

void hg_job_phase(hangar_job *job, const char *phase)
{
    hg_job_send(job, (hangar_event){.kind = HANGAR_EVENT_PHASE, .text = phase, .eta = -1});
}

void hg_job_note(hangar_job *job, const char *fmt, ...)
{
    if (!job || !job->on_event) return;
    char draft[1024], line[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(draft, sizeof draft, fmt, args);
    va_end(args);
    hg_escape(hg_str_of(draft), line, sizeof line);
    hg_job_send(job, (hangar_event){.kind = HANGAR_EVENT_NOTE, .text = line, .eta = -1});
}

void hg_job_plan(hangar_job *job, const char *item, uint64_t total, const char *what)
{
    hg_job_send(job, (hangar_event){
                         .kind = HANGAR_EVENT_PLAN, .item = item, .total = total, .text = what, .eta = -1});
}

void hg_job_item(hangar_job *job, const char *item, uint64_t done, uint64_t total, const char *what)
{
    hg_job_send(job, (hangar_event){.kind = HANGAR_EVENT_ITEM,
                                    .item = item,
                                    .done = done,
                                    .total = total,
                                    .text = what,
                                    .eta = -1});
}

void hg_job_total(hangar_job *job, uint64_t done, uint64_t total, double rate)
{
    double eta = -1;
    if (total && done >= total) eta = 0;
    else if (total && rate > 0) eta = (double)(total - done) / rate;
    hg_job_send(job, (hangar_event){
                         .kind = HANGAR_EVENT_TOTAL, .done = done, .total = total, .rate = rate, .eta = eta});
}

/* A long piece goes out as several events, cut between characters, so that no memory is needed. */
void hg_job_text(hangar_job *job, hg_str piece)
{
    char text[1024];
    if (!job || !job->on_event) return;
    while (piece.len) {
        size_t n = piece.len < sizeof text - 1 ? piece.len : sizeof text - 1;
        if (n < piece.len) {
            size_t whole = hg_utf8_whole((hg_str){piece.ptr, n});
            if (whole) n = whole;
        }
        memcpy(text, piece.ptr, n);
        text[n] = '\0';
        hg_job_send(job, (hangar_event){.kind = HANGAR_EVENT_TEXT, .text = text, .eta = -1});
        piece.ptr += n;
        piece.len -= n;
    }
}

void hg_job_event_write(const hangar_event *e, hg_jw *w)
{
    bool plan = e->kind == HANGAR_EVENT_PLAN;
    bool counts = plan || e->kind == HANGAR_EVENT_ITEM || e->kind == HANGAR_EVENT_TOTAL;
    if (*e->item) hg_jw_text(w, "item", e->item);
    if (*e->text) hg_jw_text(w, "text", e->text);
    if (counts && !plan) hg_jw_u64(w, "done", e->done);
    if (counts) hg_jw_u64(w, "total", e->total);
    if (e->kind != HANGAR_EVENT_TOTAL) return;
    hg_jw_f64(w, "rate", round(e->rate));
    if (e->eta < 0) hg_jw_null(w, "eta");
    else hg_jw_f64(w, "eta", round(e->eta * 10) / 10);
}

hangar_code hg_job_check(const hangar_job *job, hangar_err *err)
{
    if (!hangar_job_is_cancelled(job)) return HANGAR_OK;
    return hg_fail(err, HANGAR_E_CANCELLED, "%s", hangar_code_text(HANGAR_E_CANCELLED));
}
