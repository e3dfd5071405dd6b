/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a slot does next, by its state. A step does one thing and says whether that may allow more; the pump calls it until nothing follows. Nothing
 * here waits: work of a worker, a probe, the end of a turn poke the pool when they are through.
 *
 * Memory counts from the admission until the runner was reaped, whatever the state says meanwhile.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "manager/pool_inner.h"

#include <math.h>
#include <stdio.h>

/* ---- failing ---- */

/* Failures that another try will hardly change, and that say nothing against the runner. */
static bool is_engine_fault(hangar_code code)
{
    switch (code) {
    case HANGAR_E_ENGINE:
    case HANGAR_E_INVALID:
    case HANGAR_E_INTEGRITY:
    case HANGAR_E_FAILED:
    case HANGAR_E_IO:
    case HANGAR_E_INTERNAL:
    case HANGAR_E_NO_MEMORY: return true;
    default: return false;
    }
}

/* Seconds until the next try: doubling, with jitter, bounded. */
static double backoff(const hg_slot *s)
{
    double base = s->pool->h->settings->serve_restart_backoff;
    unsigned doublings = s->tries > 1 ? s->tries - 1 : 0;
    double most = fmax(HG_POOL_BACKOFF, base);
    double wait = fmin(most, base * exp2(fmin(doublings, 30)));
    return wait * (0.75 + 0.25 * hg_random());
}

static void note_failure(hg_slot *s, bool counted)
{
    hg_pool *p = s->pool;
    char text[16];
    int64_t limit = p->h->settings->serve_restart_limit;
    if (counted && s->failures >= (unsigned)(limit > 0 ? limit : 1)) {
        hg_slot_move(s, HG_SLOT_QUARANTINED, s->error);
        hg_why_note(p->why, "quarantine", s->entry->name,
                    "left alone after %u failures in a row; the last: %s", s->failures, s->error);
        return;
    }
    s->retry_at = s->failed_at + backoff(s);
    hg_slot_move(s, HG_SLOT_FAILED, s->error);
    hg_why_note(p->why, "restart", s->entry->name, "failed (%s); %s in %s", s->error,
                hg_slot_desired(s) ? "tried again" : "may be tried again",
                hg_duration_format(s->retry_at - s->failed_at, text));
}

void hg_slot_failed(hg_slot *s, hangar_code code, const hangar_err *err, const char *label)
{
    const hangar_err words = *err;
    bool loading = s->state == HG_SLOT_LOADING, counted = is_engine_fault(code);
    hg_metric_add(HG_M_RUNNER_FAILURES, (const char *const[]){s->entry->name, label}, 1);
    if (loading)
        hg_metric_add(HG_M_RUNNER_LOADS, (const char *const[]){s->entry->name, hangar_code_name(code)}, 1);
    snprintf(s->error, sizeof s->error, "%s", words.msg);
    s->failed_at = hg_now();
    s->by_hand = false;
    s->tries++;
    if (counted) s->failures++;
    if (!counted && !s->wanted) {
        hg_why_note(s->pool->why, "refusal", s->entry->name, "%s", words.msg);
        hg_slot_move(s, HG_SLOT_ENDING, s->error);
        hg_slot_refuse_all(s, code, &words);
        return;
    }
    note_failure(s, counted);
    /* Who waited for this load shares its failure. Who waits behind a crash is served after the restart, when it comes soon. */
    bool soon = s->state == HG_SLOT_FAILED && s->retry_at - s->failed_at <= HG_POOL_PATIENCE;
    if (loading || !soon) hg_slot_refuse_all(s, code, &words);
}

/* ---- leaving ---- */

static const char *leave_label(hg_leave why)
{
    static const char *const labels[] = {"ended", "idle", "evicted", "asked", "unwanted", "ended"};
    return labels[why];
}

/* From READY, or a load that nobody wants any more. */
static bool begin_end(hg_slot *s)
{
    char idle[16], size[16];
    bool loaded = s->state != HG_SLOT_LOADING;
    if (loaded) {
        hg_metric_add(HG_M_RUNNER_UNLOADS, (const char *const[]){s->entry->name, leave_label(s->leave)}, 1);
        if (s->leave != HG_LEAVE_EVICTED) /* that one was explained when it was chosen */
            hg_why_note(s->pool->why, "unload", s->entry->name, "%s; it had %s, %llu uses, was idle for %s",
                        leave_label(s->leave), hg_size_format(s->memory, size), (unsigned long long)s->uses,
                        hg_duration_format(hg_now() - s->last_used, idle));
    }
    hg_slot_move(s, HG_SLOT_ENDING, leave_label(s->leave));
    return true;
}

/* What the slot held is gone: begins anew when somebody wants it. */
static bool begin_again(hg_slot *s)
{
    s->leave = HG_STAY;
    s->broken = s->probing = s->proved = false;
    s->kill_why = NULL;
    s->step = HG_STEP_BEGIN;
    s->progress = -1;
    s->load_from = hg_now();
    snprintf(s->phase, sizeof s->phase, "loading");
    if (s->tries > 0) {
        s->restarts++;
        hg_metric_add(HG_M_RUNNER_RESTARTS, (const char *const[]){s->entry->name}, 1);
    }
    hg_slot_move(s, HG_SLOT_LOADING, NULL);
    return true;
}

/* The runner was reaped, or never was. */
static void memory_back(hg_slot *s)
{
    s->admitted = false;
    s->memory = 0;
    s->pid = 0;
    s->loader = NULL;
    s->loaded_at = 0;
    s->probed_at = 0;
    hg_metric_set(HG_M_RUNNER_MEMORY, (const char *const[]){s->entry->name}, 0);
    hg_pool_changed(s->pool);
}

/* Has the runner ended when there is one; true when nothing is left of it. */
static bool is_cleaned(hg_slot *s)
{
    if (s->holder || s->lent || s->dying) return false;
    if (!s->model) {
        if (s->admitted || s->memory) memory_back(s);
        return true;
    }
    if (hg_now() >= s->again_at) hg_slot_unload(s);
    return false;
}

static bool step_ending(hg_slot *s)
{
    if (!is_cleaned(s)) return false;
    hg_waiters_tell(&s->unloads, HANGAR_OK, NULL);
    if (!s->pool->closing && hg_slot_desired(s)) return begin_again(s);
    s->gone = true;
    return true;
}

static bool step_failed(hg_slot *s)
{
    if (!is_cleaned(s)) return false;
    double now = hg_now();
    if (s->leave != HG_STAY ||
        (!hg_slot_desired(s) && s->state == HG_SLOT_FAILED && now >= s->failed_at + HG_POOL_FORGET)) {
        hg_slot_move(s, HG_SLOT_ENDING, "forgotten");
        return true;
    }
    if (s->state == HG_SLOT_QUARANTINED || !hg_slot_desired(s) || now < s->retry_at) return false;
    return begin_again(s);
}

/* ---- loading ---- */

/* READY: it answered. */
static bool become_ready(hg_slot *s)
{
    const char *const model[] = {s->entry->name, "OK"};
    double now = hg_now();
    s->load_seconds = now - s->load_from;
    s->loaded_at = hg_wall();
    s->ready_at = s->last_used = now;
    s->probe_next = now + s->pool->h->settings->serve_probe_interval;
    s->by_hand = false;
    s->progress = 1;
    hg_metric_add(HG_M_RUNNER_LOADS, model, 1);
    hg_metric_add(HG_M_RUNNER_LOAD_SECONDS, model, s->load_seconds);
    hg_slot_move(s, HG_SLOT_READY, NULL);
    hg_slot_measure(s);
    return true;
}

/* The line said that the runner is gone. */
static bool on_broken(hg_slot *s)
{
    if (s->leave != HG_STAY) return begin_end(s);
    hangar_code code = s->broken_err.code != HANGAR_OK ? s->broken_err.code : HANGAR_E_ENGINE;
    hg_slot_failed(s, code, &s->broken_err, s->kill_why ? s->kill_why : "ended");
    return true;
}

/* Takes the results of the worker. */
static bool take_load(hg_slot *s)
{
    hg_load *l = s->load;
    bool looked = s->step == HG_STEP_LOOK;
    hangar_code code = l->code;
    hangar_err err = l->err;
    s->load = NULL;
    if (code == HANGAR_OK && looked) {
        s->memory = l->needed;
        s->step = HG_STEP_ROOM;
        s->room_since = hg_now();
        snprintf(s->phase, sizeof s->phase, "waiting");
        hg_metric_set(HG_M_MODEL_BYTES, (const char *const[]){s->entry->name}, (double)l->weights);
    } else if (code == HANGAR_OK) {
        code = hg_slot_open(s, l, &err);
    }
    hg_load_free(l);
    hg_pool_changed(s->pool);
    if (s->leave != HG_STAY) return begin_end(s);
    if (code != HANGAR_OK) hg_slot_failed(s, code, &err, "load");
    return true;
}

/* No worker is at it. */
static bool go_on_loading(hg_slot *s)
{
    switch (s->step) {
    case HG_STEP_BEGIN: hg_slot_look(s); return false;
    case HG_STEP_ADMITTED: hg_slot_load(s); return false;
    case HG_STEP_OPEN:
        if (!s->loader->probe) return become_ready(s);
        if (!hg_slot_probe(s)) return false;
        s->step = HG_STEP_PROBE;
        s->progress = -1;
        snprintf(s->phase, sizeof s->phase, "probing");
        hg_pool_changed(s->pool);
        return false;
    case HG_STEP_PROBE: return s->proved ? become_ready(s) : false; /* else it was killed, and will be gone */
    default: return false;                                          /* waits for room */
    }
}

static bool step_loading(hg_slot *s)
{
    if (s->leave == HG_STAY && !hg_slot_desired(s)) s->leave = HG_LEAVE_UNWANTED;
    if (s->leave == HG_LEAVE_ASKED && s->loads) {
        hangar_err err = {0};
        hg_fail(&err, HANGAR_E_CANCELLED, "%s was unloaded meanwhile", s->entry->name);
        hg_waiters_tell(&s->loads, err.code, &err);
    }
    if (s->load && !s->load->done) {
        if (s->leave != HG_STAY) hangar_job_cancel(s->load->job);
        return false;
    }
    if (s->load) return take_load(s);
    if (s->broken) return on_broken(s);
    if (s->leave != HG_STAY) {
        if (!s->probing) return begin_end(s);
        hg_line_cancel(s->line);
        return false;
    }
    return hg_now() >= s->again_at ? go_on_loading(s) : false;
}

/* ---- at work ---- */

/* The first in line has it. */
static bool grant(hg_slot *s)
{
    hg_turn *t = s->first;
    double now = hg_now();
    hg_slot_take_first(s);
    t->holding = true;
    s->holder = t;
    s->uses++;
    hg_slot_heat(s);
    hg_metric_add(HG_M_QUEUE_WAIT, (const char *const[]){s->entry->name}, now - t->since);
    hg_slot_move(s, HG_SLOT_BUSY, NULL);
    t->fn(t->ctx, s, HANGAR_OK, NULL);
    return true;
}

/* Idle ones are looked after. */
static bool is_probed(const hg_slot *s)
{
    return s->loader->probe && s->pool->h->settings->serve_probe_interval > 0;
}

static bool step_ready(hg_slot *s)
{
    double now = hg_now();
    if (s->broken) return on_broken(s);
    if (hg_slot_idle(s) && now >= hg_slot_expires(s)) s->leave = HG_LEAVE_IDLE;
    if (s->leave != HG_STAY) {
        if (!s->probing) return begin_end(s);
        hg_line_cancel(s->line);
        return false;
    }
    if (s->probing) return false;
    if (s->first) return grant(s);
    if (is_probed(s) && now >= s->probe_next && now >= s->again_at) (void)hg_slot_probe(s);
    return false;
}

static bool step_busy(hg_slot *s)
{
    if (s->broken) return on_broken(s);
    if (s->holder || !hg_slot_alive(s)) return false;
    s->failures = s->tries = 0; /* it came through a use */
    s->probe_next = s->last_used + s->pool->h->settings->serve_probe_interval;
    if (s->first && s->leave == HG_STAY) return grant(s);
    hg_slot_move(s, HG_SLOT_READY, NULL);
    return true;
}

/* Who loads by hand what is in memory already is told at once. */
static void tell_loads(hg_slot *s)
{
    if (s->broken || s->leave != HG_STAY || (s->state != HG_SLOT_READY && s->state != HG_SLOT_BUSY)) return;
    s->by_hand = false;
    hg_waiters_tell(&s->loads, HANGAR_OK, NULL);
}

/* ---- turns that wait too long ---- */

/* When the first in line has waited long enough; INFINITY when the time does not count: a load has limits of its own. */
static double first_turn_ends(const hg_slot *s)
{
    if (!s->first || (s->state == HG_SLOT_LOADING && s->step > HG_STEP_ROOM)) return INFINITY;
    return fmax(s->first->since, s->ready_at) + s->pool->h->settings->serve_queue_timeout;
}

static void refuse_late(hg_slot *s)
{
    hangar_err err = {0};
    char waited[16], need[16], used[16], budget[16];
    const hg_pool *p = s->pool;
    hg_duration_format(hg_now() - s->first->since, waited);
    bool memory = s->state == HG_SLOT_LOADING;
    if (memory)
        hg_fail(&err, HANGAR_E_OVERLOADED,
                "%s needs %s of memory; %s of %s are used, and nothing left for %s", s->entry->name,
                hg_size_format(s->memory, need), hg_size_format(hg_pool_used(p), used),
                hg_size_format(p->budget, budget), waited);
    else
        hg_fail(&err, HANGAR_E_OVERLOADED, "%s had no time for this request for %s (serve.queue_timeout)",
                s->entry->name, waited);
    hg_metric_add(HG_M_QUEUE_REFUSED, (const char *const[]){s->entry->name, memory ? "memory" : "timeout"},
                  1);
    hg_why_note(p->why, "refusal", s->entry->name, "%s", err.msg);
    hg_slot_refuse(s, err.code, &err);
}

/* ---- all ---- */

static void close_slot(hg_slot *s)
{
    hangar_err err = {0};
    s->leave = HG_LEAVE_CLOSING;
    s->wanted = s->by_hand = false;
    if (s->line && (s->holder || s->probing)) hg_line_kill(s->line, "hangar is ending");
    hg_fail(&err, HANGAR_E_CANCELLED, "hangar is ending");
    hg_slot_refuse_all(s, err.code, &err);
}

bool hg_slot_step(hg_slot *s)
{
    static bool (*const steps[])(hg_slot *) = {step_loading, step_ready,  step_busy,
                                               step_ending,  step_failed, step_failed};
    if (s->pool->closing && s->leave != HG_LEAVE_CLOSING) close_slot(s);
    if (s->line && !s->broken) hg_slot_watch(s);
    while (first_turn_ends(s) <= hg_now()) refuse_late(s);
    tell_loads(s);
    return steps[s->state](s);
}

double hg_slot_due(const hg_slot *s)
{
    double now = hg_now(), due = first_turn_ends(s);
    if (s->again_at > now) due = fmin(due, s->again_at);
    if (s->line && !s->broken) due = fmin(due, s->measure_at);
    if (s->probing) due = fmin(due, hg_slot_probe_ends(s));
    if (s->state == HG_SLOT_READY && !s->probing) {
        due = fmin(due, hg_slot_expires(s));
        if (is_probed(s)) due = fmin(due, fmax(s->probe_next, s->again_at));
    }
    if (s->state == HG_SLOT_LOADING && s->step == HG_STEP_ROOM)
        due = fmin(due, fmax(now + 1, s->room_since + HG_POOL_YIELD));
    if (s->state == HG_SLOT_FAILED && !s->model && !s->dying && !s->holder)
        due = fmin(due, hg_slot_desired(s) ? s->retry_at : s->failed_at + HG_POOL_FORGET);
    return due;
}
