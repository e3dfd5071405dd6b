/* SPDX-License-Identifier: Apache-2.0 */
/* The pool's front: turns, loads and unloads by hand, what is told of it, the pump. What a slot does next is in pool_step.c. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "manager/pool_inner.h"

#include <math.h>
#include <stdlib.h>

#define PUMP_ROUNDS 32 /* of all slots in one turn of the loop; what is left then comes in the next */

static const char *const state_names[] = {"loading", "ready", "busy", "ending", "failed", "quarantined"};

const char *hg_slot_state_name(hg_slot_state s)
{
    return (size_t)s < HG_LEN(state_names) ? state_names[s] : "?";
}

/* ---- changes ---- */

void hg_pool_changed(hg_pool *p)
{
    p->changed = true;
    hg_pool_poke(p);
}

static void set_gauge(const hg_slot *s, hg_slot_state state, double value)
{
    hg_metric_set(HG_M_RUNNER_STATE, (const char *const[]){s->entry->name, state_names[state]}, value);
}

void hg_slot_move(hg_slot *s, hg_slot_state state, const char *why)
{
    if (s->state == state) return;
    bool work = (s->state == HG_SLOT_READY && state == HG_SLOT_BUSY) ||
                (s->state == HG_SLOT_BUSY && state == HG_SLOT_READY);
    hg_log(work ? HG_LOG_DEBUG : HG_LOG_INFO, "pool", "%s: %s -> %s%s%s", s->entry->name,
           state_names[s->state], state_names[state], why ? ": " : "", why ? why : "");
    set_gauge(s, s->state, 0);
    set_gauge(s, state, 1);
    s->state = state;
    hg_pool_changed(s->pool);
}

/* ---- slots ---- */

bool hg_slot_pinned(const hg_slot *s)
{
    return s->wanted || s->entry->pinned;
}

bool hg_slot_idle(const hg_slot *s)
{
    return s->state == HG_SLOT_READY && !s->holder && !s->first && !s->lent && !s->broken &&
           s->leave == HG_STAY;
}

bool hg_slot_desired(const hg_slot *s)
{
    return s->wanted || s->by_hand || s->first || s->loads;
}

double hg_slot_expires(const hg_slot *s)
{
    if (hg_slot_pinned(s) || s->keep_alive < 0) return INFINITY;
    return s->last_used + s->keep_alive;
}

static hg_slot *find_slot(const hg_pool *p, const hg_entry *entry)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->slots[i]->entry == entry && !p->slots[i]->gone) return p->slots[i];
    return NULL;
}

/* How long a model stays that was used with `asked`. */
static double choose_keep_alive(const hg_pool *p, const hg_entry *entry, double asked)
{
    if (!isnan(asked)) return asked;
    return isnan(entry->keep_alive) ? p->h->settings->serve_keep_alive : entry->keep_alive;
}

/* A new slot, about to be loaded; NULL when out of memory. */
static hg_slot *add_slot(hg_pool *p, const hg_entry *entry)
{
    hg_slot *s = NULL;
    if (hg_grow((void **)&p->slots, &p->cap, p->count + 1, sizeof *p->slots)) s = hg_calloc(1, sizeof *s);
    if (!s) return NULL;
    *s = (hg_slot){.pool = p,
                   .entry = entry,
                   .state = HG_SLOT_LOADING,
                   .progress = -1,
                   .keep_alive = choose_keep_alive(p, entry, NAN),
                   .load_from = hg_now()};
    p->slots[p->count++] = s;
    set_gauge(s, s->state, 1);
    hg_pool_changed(p);
    return s;
}

/* The slot of an entry, made when there is none. */
static hg_slot *need_slot(hg_pool *p, const hg_entry *entry)
{
    hg_slot *s = find_slot(p, entry);
    return s ? s : add_slot(p, entry);
}

static void free_slot(hg_slot *s)
{
    const char *const any[] = {s->entry->name, NULL};
    hg_log(HG_LOG_INFO, "pool", "%s: %s -> gone", s->entry->name, state_names[s->state]);
    hg_metric_drop(HG_M_RUNNER_STATE, any);
    hg_metric_drop(HG_M_RUNNER_MEMORY, any);
    hg_metric_drop(HG_M_QUEUE_LENGTH, any);
    free(s);
}

/* ---- turns ---- */

static void note_waiting(const hg_slot *s)
{
    hg_metric_set(HG_M_QUEUE_LENGTH, (const char *const[]){s->entry->name}, (double)s->waiting);
}

static void append_turn(hg_slot *s, hg_turn *t)
{
    t->prev = s->last;
    if (s->last) s->last->next = t;
    else s->first = t;
    s->last = t;
    s->waiting++;
    note_waiting(s);
}

static void unlink_turn(hg_slot *s, hg_turn *t)
{
    if (t->prev) t->prev->next = t->next;
    else s->first = t->next;
    if (t->next) t->next->prev = t->prev;
    else s->last = t->prev;
    t->next = t->prev = NULL;
    s->waiting--;
    note_waiting(s);
}

void hg_slot_take_first(hg_slot *s)
{
    unlink_turn(s, s->first);
}

void hg_slot_refuse(hg_slot *s, hangar_code code, const hangar_err *err)
{
    hg_turn *t = s->first;
    hg_turn_fn *fn = t->fn;
    void *ctx = t->ctx;
    unlink_turn(s, t);
    free(t);
    fn(ctx, NULL, code, err);
}

void hg_slot_refuse_all(hg_slot *s, hangar_code code, const hangar_err *err)
{
    const hangar_err words = *err; /* what is called back may change the slot */
    for (size_t n = s->waiting; n > 0 && s->first; n--) hg_slot_refuse(s, code, &words);
    hg_waiters_tell(&s->loads, code, &words);
}

void hg_waiters_tell(hg_waiter **list, hangar_code code, const hangar_err *err)
{
    hg_waiter *w = *list;
    *list = NULL;
    while (w) {
        hg_waiter now = *w;
        free(w);
        w = now.next;
        if (now.fn) now.fn(now.ctx, NULL, code, err);
    }
}

static bool add_waiter(hg_waiter **list, hg_turn_fn *fn, void *ctx)
{
    hg_waiter *w = hg_calloc(1, sizeof *w);
    if (!w) return false;
    *w = (hg_waiter){.fn = fn, .ctx = ctx};
    while (*list) list = &(*list)->next;
    *list = w;
    return true;
}

/* Whether a new turn must be refused at once, and why. s may be NULL. */
static hangar_code may_wait(const hg_pool *p, const hg_slot *s, hangar_err *err)
{
    if (p->closing) return hg_fail(err, HANGAR_E_CANCELLED, "the models are being unloaded for the end");
    if (!s) return HANGAR_OK;
    const char *name = s->entry->name;
    double wait = s->retry_at - hg_now();
    char text[16];
    if (s->state == HG_SLOT_QUARANTINED)
        return hg_fail(err, HANGAR_E_ENGINE,
                       "%s failed %u times in a row and is left alone until `hangar load %s`; the last "
                       "time: %s",
                       name, s->failures, name, s->error);
    if (s->state == HG_SLOT_FAILED && wait > HG_POOL_PATIENCE)
        return hg_fail(err, HANGAR_E_ENGINE, "%s failed (%s); it is tried again in %s", name, s->error,
                       hg_duration_format(wait, text));
    int64_t most = p->h->settings->serve_queue;
    bool at_once = s->state == HG_SLOT_READY && !s->first && !s->holder && !s->probing;
    if (!at_once && s->waiting >= (size_t)(most > 0 ? most : 1))
        return hg_fail(err, HANGAR_E_OVERLOADED, "%zu requests wait for %s already (serve.queue)", s->waiting,
                       name);
    return HANGAR_OK;
}

hangar_code hg_pool_take(hg_pool *p, const hg_entry *entry, double keep_alive, hg_turn_fn *fn, void *ctx,
                         hg_turn **out, hangar_err *err)
{
    hangar_err why = {0};
    *out = NULL;
    hg_slot *s = find_slot(p, entry);
    hangar_code code = may_wait(p, s, &why);
    if (code != HANGAR_OK) {
        const char *label = code == HANGAR_E_OVERLOADED ? "full" : "failed";
        hg_metric_add(HG_M_QUEUE_REFUSED, (const char *const[]){entry->name, label}, 1);
        hg_why_note(p->why, "refusal", entry->name, "%s", why.msg);
        fn(ctx, NULL, code, &why);
        return HANGAR_OK;
    }
    hg_turn *t = hg_calloc(1, sizeof *t);
    if (!t) return hg_fail_memory(err);
    if (!s) s = add_slot(p, entry);
    if (!s) {
        free(t);
        return hg_fail_memory(err);
    }
    bool loaded = s->state == HG_SLOT_READY || s->state == HG_SLOT_BUSY;
    hg_metric_add(loaded ? HG_M_CACHE_HITS : HG_M_CACHE_MISSES, (const char *const[]){"memory"}, 1);
    *t = (hg_turn){.slot = s, .fn = fn, .ctx = ctx, .since = hg_now()};
    t->keep_alive = choose_keep_alive(p, entry, keep_alive);
    *out = t;
    append_turn(s, t);
    if (s->state == HG_SLOT_READY && !s->probing) hg_slot_step(s);
    hg_pool_poke(p);
    return HANGAR_OK;
}

/* The use of a turn is over. */
static void give_back(hg_slot *s, const hg_turn *t)
{
    s->holder = NULL;
    s->last_used = hg_now();
    s->keep_alive = t->keep_alive;
}

void hg_turn_end(hg_turn *t)
{
    if (!t) return;
    hg_slot *s = t->slot;
    if (t->holding) give_back(s, t);
    else unlink_turn(s, t);
    hg_pool_poke(s->pool);
    free(t);
}

hg_line *hg_slot_line(hg_slot *s)
{
    return s->line;
}

hangar_model *hg_slot_model(hg_slot *s)
{
    return s->model;
}

/* ---- blocking use ---- */

typedef struct lending {
    hg_slot *slot;
    hg_loop_fn *work, *done;
    void *ctx;
} lending;

static void lent_work(void *ctx)
{
    lending *l = ctx;
    l->work(l->ctx);
}

static void lent_done(void *ctx)
{
    lending l = *(lending *)ctx;
    free(ctx);
    l.slot->lent = false;
    l.slot->was_lent = true;
    hg_line_back(l.slot->line);
    hg_pool_poke(l.slot->pool);
    l.done(l.ctx);
}

hangar_code hg_slot_work(hg_slot *s, hg_loop_fn *work, hg_loop_fn *done, void *ctx, hangar_err *err)
{
    lending *l = hg_calloc(1, sizeof *l);
    if (!l) return hg_fail_memory(err);
    *l = (lending){s, work, done, ctx};
    hangar_err why = {0};
    if (!hg_line_lend(s->line, &why)) {
        free(l);
        return hg_fail(err, why.code, "%s", why.msg);
    }
    hangar_code code = hg_loop_work(s->pool->loop, lent_work, lent_done, l, err);
    if (code == HANGAR_OK) {
        s->lent = true;
        return code;
    }
    free(l);
    hg_line_back(s->line);
    return code;
}

bool hg_slot_alive(hg_slot *s)
{
    if (!s->was_lent) return true;
    if (!hg_line_lend(s->line, NULL)) return false;
    hg_line_back(s->line);
    s->was_lent = false;
    return true;
}

/* ---- by hand ---- */

hangar_code hg_pool_load(hg_pool *p, const hg_entry *entry, bool pinned, double keep_alive, hg_turn_fn *fn,
                         void *ctx, hangar_err *err)
{
    if (p->closing) return hg_fail(err, HANGAR_E_CANCELLED, "hangar is ending");
    hg_slot *s = need_slot(p, entry);
    if (!s || (fn && !add_waiter(&s->loads, fn, ctx))) return hg_fail_memory(err);
    s->by_hand = true;
    s->wanted = s->wanted || pinned;
    s->keep_alive = choose_keep_alive(p, entry, keep_alive);
    s->last_used = hg_now();
    if (s->state == HG_SLOT_FAILED || s->state == HG_SLOT_QUARANTINED) {
        s->failures = 0;
        s->retry_at = 0;
        hg_slot_move(s, HG_SLOT_FAILED, "asked for by hand");
    }
    hg_pool_poke(p);
    return HANGAR_OK;
}

hangar_code hg_pool_unload(hg_pool *p, const hg_entry *entry, bool now, hg_turn_fn *fn, void *ctx,
                           hangar_err *err)
{
    hg_slot *s = find_slot(p, entry);
    if (!s) return hg_fail(err, HANGAR_E_NOT_FOUND, "%s is not loaded", entry->name);
    if (fn && !add_waiter(&s->unloads, fn, ctx)) return hg_fail_memory(err);
    s->wanted = s->by_hand = false;
    if (s->leave != HG_LEAVE_CLOSING) s->leave = HG_LEAVE_ASKED;
    if (now && s->line && (s->holder || s->probing)) hg_line_kill(s->line, "the model was unloaded at once");
    hg_pool_poke(p);
    return HANGAR_OK;
}

/* ---- what is told ---- */

size_t hg_pool_count(const hg_pool *p)
{
    return p->count;
}

static double seconds_until(double then, double now)
{
    if (isinf(then)) return -1;
    return then > now ? then - now : 0;
}

static void read_info(const hg_slot *s, hg_slot_info *out)
{
    double now = hg_now();
    bool idle = s->state == HG_SLOT_READY;
    const hg_loader *loader = s->loader;
    bool failed = s->state == HG_SLOT_FAILED || s->state == HG_SLOT_QUARANTINED;
    *out = (hg_slot_info){
        .entry = s->entry,
        .state = s->state,
        .loader = loader ? loader->name : "",
        .task = loader ? loader->task : "",
        .error = failed ? s->error : "",
        .memory = s->memory,
        .progress = s->state == HG_SLOT_LOADING ? s->progress : -1,
        .phase = s->state == HG_SLOT_LOADING ? s->phase : "",
        .idle_seconds = idle ? now - s->last_used : 0,
        .expires_in = idle ? seconds_until(hg_slot_expires(s), now) : -1,
        .load_seconds = s->load_seconds,
        .loaded_at = s->loaded_at,
        .uses = s->uses,
        .restarts = s->restarts,
        .waiting = s->waiting,
        .pid = (int)s->pid,
        .wanted = s->wanted,
        .probed_at = s->probed_at,
    };
}

bool hg_pool_info(const hg_pool *p, size_t index, hg_slot_info *out)
{
    if (index >= p->count) return false;
    read_info(p->slots[index], out);
    return true;
}

bool hg_pool_info_of(const hg_pool *p, const hg_entry *entry, hg_slot_info *out)
{
    const hg_slot *s = find_slot(p, entry);
    if (s) read_info(s, out);
    return s != NULL;
}

void hg_pool_memory(const hg_pool *p, uint64_t *out_budget, uint64_t *out_used)
{
    *out_budget = p->budget;
    *out_used = hg_pool_used(p);
}

hangar_code hg_pool_watch(hg_pool *p, hg_loop_fn *fn, void *ctx, hangar_err *err)
{
    if (p->watch_count == HG_POOL_WATCHES)
        return hg_fail(err, HANGAR_E_LIMIT, "over the limit of %d who watch the pool", HG_POOL_WATCHES);
    p->watches[p->watch_count].fn = fn;
    p->watches[p->watch_count++].ctx = ctx;
    return HANGAR_OK;
}

/* ---- the pump ---- */

/* Frees what is gone; nothing but the array points to it. */
static void sweep(hg_pool *p)
{
    size_t kept = 0;
    for (size_t i = 0; i < p->count; i++) {
        if (p->slots[i]->gone) free_slot(p->slots[i]);
        else p->slots[kept++] = p->slots[i];
    }
    if (kept != p->count) p->changed = true;
    p->count = kept;
}

static void set_timer(hg_pool *p)
{
    double due = INFINITY, now = hg_now();
    for (size_t i = 0; i < p->count; i++) due = fmin(due, hg_slot_due(p->slots[i]));
    if (due == p->due && due > now) return;
    p->due = due;
    if (isinf(due)) hg_timer_stop(p->timer);
    else hg_timer_set(p->timer, fmax(due - now, 0.001), 0);
}

static void tell_watches(hg_pool *p)
{
    while (p->changed) {
        p->changed = false;
        hg_metric_set(HG_M_MEMORY_USED, NULL, (double)hg_pool_used(p));
        for (size_t i = 0; i < p->watch_count; i++) p->watches[i].fn(p->watches[i].ctx);
    }
}

static void pump(void *ctx)
{
    hg_pool *p = ctx;
    p->poked = false;
    p->pumping = true;
    int rounds = PUMP_ROUNDS;
    do {
        p->again = false;
        for (size_t i = 0; i < p->count; i++)
            if (!p->slots[i]->gone && hg_slot_step(p->slots[i])) p->again = true;
        if (hg_pool_make_room(p) || hg_pool_shrink(p)) p->again = true;
    } while (p->again && --rounds > 0);
    sweep(p);
    tell_watches(p);
    p->pumping = false;
    set_timer(p);
    if (p->again) hg_pool_poke(p);
    if (!p->closing || p->count > 0 || p->poked || !p->closed) return;
    hg_loop_fn *closed = p->closed;
    p->closed = NULL;
    closed(p->closed_ctx); /* may free the pool */
}

static void on_timer(void *ctx)
{
    hg_pool *p = ctx;
    p->due = INFINITY;
    hg_pool_poke(p);
}

void hg_pool_poke(hg_pool *p)
{
    if (p->pumping) {
        p->again = true;
        return;
    }
    if (p->poked) return;
    p->poked = true;
    if (hg_loop_post(p->loop, pump, p, NULL) == HANGAR_OK) return;
    p->poked = false; /* no memory: the timer needs none */
    p->due = hg_now() + HG_POOL_RETRY;
    hg_timer_set(p->timer, HG_POOL_RETRY, 0);
}

hangar_code hg_pool_new(hangar *h, hg_loop *loop, hg_why *why, hg_pool **out, hangar_err *err)
{
    *out = NULL;
    hg_pool *p = hg_calloc(1, sizeof *p);
    if (!p) return hg_fail_memory(err);
    *p = (hg_pool){.h = h, .loop = loop, .why = why, .due = INFINITY, .budget = hg_pool_budget(h)};
    hangar_code code = hg_timer_new(loop, on_timer, p, &p->timer, err);
    if (code != HANGAR_OK) {
        free(p);
        return code;
    }
    hg_metric_set(HG_M_MEMORY_BUDGET, NULL, (double)p->budget);
    hg_metric_set(HG_M_MEMORY_USED, NULL, 0);
    *out = p;
    return HANGAR_OK;
}

void hg_pool_close(hg_pool *p, hg_loop_fn *done, void *ctx)
{
    p->closing = true;
    p->closed = done;
    p->closed_ctx = ctx;
    hg_pool_poke(p);
}

void hg_pool_free(hg_pool *p)
{
    if (!p) return;
    hg_timer_free(p->timer);
    free(p->slots);
    free(p);
}
