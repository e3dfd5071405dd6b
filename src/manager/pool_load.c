/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blocking halves of a load, on workers: reading what a model is (and fetching it), converting and starting it, ending it. What a worker
 * writes is its own until it is done; only the progress is seen before, under a mutex.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "hangar/model.h"
#include "manager/pool_inner.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define TELL_EVERY 0.1 /* seconds between two reports of progress */

/* ---- progress ---- */

/* On the loop: takes over what the worker told last. */
static void on_progress(void *ctx)
{
    hg_load *l = ctx;
    hg_slot *s = l->slot;
    pthread_mutex_lock(&l->mutex);
    l->posted = false;
    if (l->phase[0]) snprintf(s->phase, sizeof s->phase, "%s", l->phase);
    s->progress = l->progress;
    pthread_mutex_unlock(&l->mutex);
    hg_pool_changed(s->pool);
}

/* What the phases of a load are called outside. */
static const char *phase_name(const hg_load *l, const char *phase)
{
    if (l->pulling) return "pulling";
    return hg_streq(phase, "loading") ? "loading" : "converting";
}

/* Any thread: an event of the work. */
static void on_event(void *ctx, const hangar_event *event)
{
    hg_load *l = ctx;
    double now = hg_now();
    pthread_mutex_lock(&l->mutex);
    bool phase = event->kind == HANGAR_EVENT_PHASE, tell = phase;
    if (phase) {
        snprintf(l->phase, sizeof l->phase, "%s", phase_name(l, event->text));
        l->progress = -1;
    } else if (event->kind == HANGAR_EVENT_TOTAL && event->total > 0) {
        l->progress = fmin(1, (double)event->done / (double)event->total);
        tell = now - l->posted_at >= TELL_EVERY;
    }
    if (tell && !l->posted && hg_loop_post(l->loop, on_progress, l, NULL) == HANGAR_OK) {
        l->posted = true;
        l->posted_at = now;
    }
    pthread_mutex_unlock(&l->mutex);
}

/* ---- one piece of work ---- */

/* Everything that was posted before is through now: posting keeps the order. */
static void on_done(void *ctx)
{
    hg_load *l = ctx;
    l->done = true;
    hg_pool_poke(l->slot->pool);
}

void hg_load_free(hg_load *l)
{
    hangar_job_free(l->job);
    pthread_mutex_destroy(&l->mutex);
    free(l);
}

/* Starts work for a slot; false: no memory or thread, it is tried again soon. */
static bool start(hg_slot *s, hg_loop_fn *work)
{
    hg_pool *p = s->pool;
    hg_load *l = hg_calloc(1, sizeof *l);
    hangar_job *job = l ? hangar_job_new(on_event, l) : NULL;
    if (!job) {
        free(l);
        s->again_at = hg_now() + HG_POOL_RETRY;
        return false;
    }
    *l = (hg_load){.slot = s,
                   .h = p->h,
                   .loop = p->loop,
                   .entry = s->entry,
                   .job = job,
                   .pull = s->by_hand || s->wanted || s->entry->path[0],
                   .progress = -1};
    pthread_mutex_init(&l->mutex, NULL);
    if (hg_loop_work(p->loop, work, on_done, l, NULL) == HANGAR_OK) {
        s->load = l;
        return true;
    }
    hg_load_free(l);
    s->again_at = hg_now() + HG_POOL_RETRY;
    return false;
}

/* ---- on the worker ---- */

static hangar_code pull(hg_load *l)
{
    pthread_mutex_lock(&l->mutex);
    l->pulling = true;
    pthread_mutex_unlock(&l->mutex);
    hangar_code code = l->entry->path[0]
                           ? hg_entry_ensure(l->h, l->entry, l->job, &l->err)
                           : hangar_model_download(l->h, l->entry->ref, NULL, l->job, NULL, &l->err);
    pthread_mutex_lock(&l->mutex);
    l->pulling = false;
    pthread_mutex_unlock(&l->mutex);
    return code;
}

/* What the model is and needs. */
static hangar_code look(hg_load *l, hangar_err *err)
{
    hg_ref ref;
    hg_facts facts;
    HG_AUTO(hg_snapshot_auto_free) hg_snapshot *snap = NULL;
    hangar_code code = hg_ref_parse(l->entry->ref, &ref, err);
    if (code == HANGAR_OK) code = hg_snapshot_open(l->h->store, &ref, &snap, err);
    if (code == HANGAR_OK && ref.file[0] && !hg_snapshot_file_get(snap, ref.file))
        code = hg_fail(err, HANGAR_E_NOT_FOUND, "%s has no file %s in the store", ref.repo, ref.file);
    if (code != HANGAR_OK) return code;
    hg_facts_read(snap, &facts, NULL);
    l->needed = facts.memory_needed;
    l->weights = facts.weight_bytes;
    return HANGAR_OK;
}

static void look_work(void *ctx)
{
    hg_load *l = ctx;
    hangar_err err = {0};
    l->code = look(l, &err);
    if (l->code == HANGAR_E_NOT_FOUND && l->pull) {
        l->code = pull(l);
        if (l->code == HANGAR_OK) l->code = look(l, &err);
        else return;
    }
    l->err = err;
}

static void load_work(void *ctx)
{
    hg_load *l = ctx;
    l->code = hangar_model_load(l->h, l->entry->ref, l->job, &l->model, &l->err);
    if (l->code != HANGAR_E_NOT_FOUND || !l->pull) return;
    /* A pull that was cut short leaves some of its files. */
    l->code = pull(l);
    if (l->code == HANGAR_OK) l->code = hangar_model_load(l->h, l->entry->ref, l->job, &l->model, &l->err);
}

/* ---- for the steps ---- */

void hg_slot_look(hg_slot *s)
{
    if (start(s, look_work)) s->step = HG_STEP_LOOK;
}

void hg_slot_load(hg_slot *s)
{
    if (!start(s, load_work)) return;
    s->step = HG_STEP_LOAD;
    snprintf(s->phase, sizeof s->phase, "loading");
    hg_pool_changed(s->pool);
}

/* The runner is gone: it ended, was killed, or broke a rule. */
static void on_gone(void *ctx, const hangar_err *why)
{
    hg_slot *s = ctx;
    s->broken = true;
    s->broken_err = *why;
    s->probing = false; /* its end came before */
    hg_pool_poke(s->pool);
}

hangar_code hg_slot_open(hg_slot *s, hg_load *l, hangar_err *err)
{
    s->model = l->model;
    s->loader = l->model->loader;
    l->model = NULL;
    s->pid = hg_runner_pid(s->model->runner);
    s->broken = false;
    s->kill_why = NULL;
    hangar_code code = hg_line_open(s->pool->loop, s->model->runner, on_gone, s, &s->line, err);
    if (code != HANGAR_OK) return code;
    s->step = HG_STEP_OPEN;
    hg_slot_measure(s);
    return HANGAR_OK;
}

static void unload_work(void *ctx)
{
    hangar_model_unload(((hg_slot *)ctx)->dying);
}

static void unload_done(void *ctx)
{
    hg_slot *s = ctx;
    s->dying = NULL;
    hg_pool_poke(s->pool);
}

/* Somebody ends the runner already, and `gone` will say when it was reaped. */
static bool is_being_ended(const hg_slot *s)
{
    hangar_err err = {0};
    if (s->broken) return false;
    bool alive = hg_line_lend(s->line, &err) != NULL;
    if (alive) hg_line_back(s->line);
    return !alive && err.code == HANGAR_E_ENGINE;
}

void hg_slot_unload(hg_slot *s)
{
    if (s->line && is_being_ended(s)) return;
    hg_line_close(s->line);
    s->line = NULL;
    s->probing = false;
    s->dying = s->model; /* the worker's from here on */
    s->model = NULL;
    if (hg_loop_work(s->pool->loop, unload_work, unload_done, s, NULL) == HANGAR_OK) return;
    s->model = s->dying;
    s->dying = NULL;
    s->again_at = hg_now() + HG_POOL_RETRY;
}
