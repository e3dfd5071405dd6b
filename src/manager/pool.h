/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool: which local models are in memory, who may use them when, and who has to leave. Everything on the loop's thread; loading,
 * unloading and blocking calls run as work beside it.
 *
 * A slot is one model in memory (or on its way there):
 *
 *   LOADING -> READY <-> BUSY -> ENDING -> (gone)
 *      |         |         |
 *      +----> FAILED <-----+     waits out its backoff, then LOADING again when somebody asks or it is wanted for good
 *               +-> QUARANTINED  after settings->serve_restart_limit failures in a row; `hangar load` tries anew
 *
 * slot_move() is the only place where a state changes: it logs, counts, and tells hg_pool_watch. A turn is one request's place in a model's line:
 * first come, first served, at most settings->serve_queue waiting per model (OVERLOADED), at most settings->serve_queue_timeout (OVERLOADED). Two turns for a
 * model that is loading share the load. A turn that has to wait for memory makes the least valuable idle slot leave (value: how often and how lately
 * it was used and what a reload costs, per byte); pinned and busy ones never; with nothing left to evict it waits, and a model that can never
 * fit is refused (LIMIT, with the numbers).
 */
#ifndef HG_MANAGER_POOL_H
#define HG_MANAGER_POOL_H

#include "engine/line.h"
#include "manager/catalog.h"
#include "manager/loaded.h"
#include "manager/why.h"

typedef struct hg_pool hg_pool;
typedef struct hg_slot hg_slot;
typedef struct hg_turn hg_turn;

typedef enum hg_slot_state {
    HG_SLOT_LOADING,
    HG_SLOT_READY,
    HG_SLOT_BUSY,
    HG_SLOT_ENDING,
    HG_SLOT_FAILED,
    HG_SLOT_QUARANTINED,
} hg_slot_state;
const char *hg_slot_state_name(hg_slot_state s); /* "loading", ... */

hangar_code hg_pool_new(hangar *h, hg_loop *loop, hg_why *why, hg_pool **out, hangar_err *err);
/* Ends all runners at once, then calls done. Turns that wait end with CANCELLED; calls end with ENGINE, and done waits until their turns have ended. */
void hg_pool_close(hg_pool *p, hg_loop_fn *done, void *ctx);
void hg_pool_free(hg_pool *p); /* after done */

/* OK with the slot, which is the turn's until hg_turn_end; or why not, and the turn is over: OVERLOADED, LIMIT, ENGINE, NOT_FOUND, ... */
typedef void hg_turn_fn(void *ctx, hg_slot *slot, hangar_code code, const hangar_err *err);
/* fn may be called before this returns; *out is set by then, and is NULL when it was refused. A turn that was refused is freed by the pool: it must
 * not be ended. keep_alive: seconds idle after this use, negative = for ever, NAN = the entry's. NO_MEMORY. */
hangar_code hg_pool_take(hg_pool *p, const hg_entry *entry, double keep_alive, hg_turn_fn *fn, void *ctx,
                         hg_turn **out, hangar_err *err);
/* Gives the slot back, or leaves the line. Never calls fn afterwards. Cancel a running call first (hg_line_cancel) and wait for its end. */
void hg_turn_end(hg_turn *turn);

/* For the holder of a turn. */
hg_line *hg_slot_line(hg_slot *s);
hangar_model *hg_slot_model(hg_slot *s);
/* Blocking use: work(ctx) on a worker thread with the runner lent, then done(ctx). */
hangar_code hg_slot_work(hg_slot *s, hg_loop_fn *work, hg_loop_fn *done, void *ctx, hangar_err *err);

/* By hand and for preload. load: into memory and, `pinned`, for good (loaded anew when it dies). fn as above with the slot not held; may be NULL. */
hangar_code hg_pool_load(hg_pool *p, const hg_entry *entry, bool pinned, double keep_alive, hg_turn_fn *fn,
                         void *ctx, hangar_err *err);
/* Out of memory when its present call has ended; with `now` at once. fn when its memory is back; NOT_FOUND when it is not loaded. fn may be NULL. */
hangar_code hg_pool_unload(hg_pool *p, const hg_entry *entry, bool now, hg_turn_fn *fn, void *ctx,
                           hangar_err *err);

/* What is told of one slot. Borrowed. */
typedef struct hg_slot_info {
    const hg_entry *entry;
    hg_slot_state state;
    const char *loader, *task; /* hg_loader's; "" while not known */
    const char *error;         /* of FAILED and QUARANTINED; else "" */
    uint64_t memory;           /* bytes: measured when it runs, estimated while it loads */
    double progress;           /* of LOADING, 0..1; negative = not known */
    const char *phase; /* of LOADING: "pulling", "waiting" (for memory), "converting", "loading", "probing" */
    double idle_seconds, expires_in; /* until unloaded; negative = never */
    double load_seconds;
    int64_t loaded_at; /* unix seconds; 0 = not yet */
    uint64_t uses, restarts;
    size_t waiting; /* turns in line */
    int pid;
    bool wanted;       /* preloaded or loaded for good */
    int64_t probed_at; /* unix seconds of the last inference that it answered; 0 = none yet */
} hg_slot_info;
size_t hg_pool_count(const hg_pool *p);
bool hg_pool_info(const hg_pool *p, size_t index, hg_slot_info *out);
bool hg_pool_info_of(const hg_pool *p, const hg_entry *entry, hg_slot_info *out);
/* Bytes that may be used in all, and that are. */
void hg_pool_memory(const hg_pool *p, uint64_t *out_budget, uint64_t *out_used);
/* Called after each change of a state, of progress or an error: for the status file, health, metrics. At most 8. */
hangar_code hg_pool_watch(hg_pool *p, hg_loop_fn *fn, void *ctx, hangar_err *err);

#endif
