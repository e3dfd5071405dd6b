/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pool is made of; for its own files (pool*.c) only. Loop's thread, but for what is marked.
 *
 * How it moves: whoever has news (a turn came or ended, work is done, a runner is gone, time is up) writes it into the slot and pokes the pool.
 * The pump, which the loop calls soon after, steps every slot until nothing more follows, gives out memory, frees the slots that are gone,
 * tells those who watch, and sets the timer for what comes next. So callbacks never find a slot in the midst of a change, and slots are freed in one
 * place.
 */
#ifndef HG_MANAGER_POOL_INNER_H
#define HG_MANAGER_POOL_INNER_H

#include "manager/metrics.h"
#include "manager/pool.h"

#include <pthread.h>

#define HG_POOL_WATCHES  8
#define HG_POOL_MEASURE  1.0 /* seconds between two looks at a runner's memory */
#define HG_POOL_LIMITED  0.1 /* the same of one that has a limit */
#define HG_POOL_PATIENCE 2.0 /* a turn waits so long for a restart, then it is refused */
#define HG_POOL_YIELD \
    5.0 /* seconds that a load waits for memory until busy models have to leave between turns */
#define HG_POOL_BACKOFF 60.0  /* seconds between two tries at most */
#define HG_POOL_FORGET  600.0 /* seconds that a failure nobody asks about is shown */
#define HG_POOL_HALF    600.0 /* seconds in which a use loses half of its weight */
#define HG_POOL_RETRY   0.2   /* seconds until work that found no memory or thread is tried again */

/* One request in line, or at work. */
struct hg_turn {
    hg_slot *slot; /* NULL: it is over, only to be freed */
    hg_turn *next, *prev;
    bool holding;
    hg_turn_fn *fn;
    void *ctx;
    double keep_alive, since;
};

/* Somebody who is told when a load or an unload is over. */
typedef struct hg_waiter {
    struct hg_waiter *next;
    hg_turn_fn *fn;
    void *ctx;
} hg_waiter;

/* How far a LOADING slot is. */
typedef enum hg_load_step {
    HG_STEP_BEGIN, /* nothing runs yet                                */
    HG_STEP_LOOK,  /* a worker reads the files' headers, or pulls them */
    HG_STEP_ROOM,  /* waits for memory                                */
    HG_STEP_ADMITTED,
    HG_STEP_LOAD,  /* a worker converts and loads                     */
    HG_STEP_OPEN,  /* loaded, its line is open                        */
    HG_STEP_PROBE, /* the first inference                             */
} hg_load_step;

/* Why a slot has to leave memory. */
typedef enum hg_leave {
    HG_STAY,
    HG_LEAVE_IDLE,
    HG_LEAVE_EVICTED,
    HG_LEAVE_ASKED,
    HG_LEAVE_UNWANTED, /* whoever wanted the load has left */
    HG_LEAVE_CLOSING,
} hg_leave;

/* Work of a worker for one slot; the slot outlives it. */
typedef struct hg_load {
    hg_slot *slot;
    hangar *h;
    hg_loop *loop;
    const hg_entry *entry;
    hangar_job *job;
    bool pull; /* what is missing in the store is fetched */
    /* progress: any thread, under the mutex */
    pthread_mutex_t mutex;
    char phase[16];
    double progress;
    double posted_at;
    bool posted, pulling;
    bool done; /* loop's thread: the worker is through */
    /* results: the worker's until `done` */
    hangar_code code;
    hangar_err err;
    uint64_t needed, weights;
    hangar_model *model;
} hg_load;

struct hg_slot {
    hg_pool *pool;
    const hg_entry *entry;
    hg_slot_state state;
    bool gone; /* to be freed by the pump */
    /* loading */
    hg_load_step step;
    hg_load *load;
    char phase[16];
    double progress, load_from, room_since;
    bool by_hand; /* somebody asked for the load who is not told */
    /* what is in memory */
    bool admitted; /* its memory counts */
    hangar_model *model;
    hangar_model *dying; /* a worker ends it */
    const hg_loader *loader;
    hg_line *line;
    pid_t pid;
    uint64_t memory;
    bool lent, was_lent;
    /* leaving and failing */
    hg_leave leave;
    bool broken; /* the line said that the runner is gone */
    hangar_err broken_err;
    const char *kill_why; /* label of the failure when the pool killed it; NULL = it ended by itself */
    char error[HANGAR_ERR_MAX];
    unsigned failures; /* in a row, of the runner             */
    unsigned tries;    /* in a row, whatever was the matter   */
    double retry_at, failed_at;
    /* use */
    hg_turn *first, *last, *holder;
    size_t waiting;
    hg_waiter *loads, *unloads;
    double keep_alive, last_used, ready_at, heat, heat_at;
    bool wanted;
    uint64_t uses, restarts;
    /* probes */
    bool probing, proved;
    double probe_from, probe_next;
    int64_t probed_at, loaded_at;
    double load_seconds, measure_at, again_at;
};

struct hg_pool {
    hangar *h;
    hg_loop *loop;
    hg_why *why;
    hg_slot **slots;
    size_t count, cap;
    uint64_t budget;
    hg_timer *timer;
    double due; /* when the timer rings; INFINITY = it is not set */
    bool poked, pumping, again, changed;
    struct {
        hg_loop_fn *fn;
        void *ctx;
    } watches[HG_POOL_WATCHES];
    size_t watch_count;
    bool closing;
    hg_loop_fn *closed;
    void *closed_ctx;
};

/* ---- pool.c ---- */

/* The only place where a state changes. why: words for the log; NULL = none. */
void hg_slot_move(hg_slot *s, hg_slot_state state, const char *why);
/* Something is to be looked at: the pump will come. */
void hg_pool_poke(hg_pool *p);
/* Progress or an error changed. */
void hg_pool_changed(hg_pool *p);
/* Ends the first turn of the line with an error. */
void hg_slot_refuse(hg_slot *s, hangar_code code, const hangar_err *err);
/* Ends all that wait now. */
void hg_slot_refuse_all(hg_slot *s, hangar_code code, const hangar_err *err);
/* Takes the first turn out of the line. */
void hg_slot_take_first(hg_slot *s);
/* False when the runner died in a blocking use and the line will say so. */
bool hg_slot_alive(hg_slot *s);
void hg_waiters_tell(hg_waiter **list, hangar_code code, const hangar_err *err);
/* It never leaves by itself. */
bool hg_slot_pinned(const hg_slot *s);
/* In memory, and nobody uses it or waits for it. */
bool hg_slot_idle(const hg_slot *s);
/* When an idle one has to go; INFINITY = never. */
double hg_slot_expires(const hg_slot *s);
bool hg_slot_desired(const hg_slot *s);

/* ---- pool_step.c ---- */

/* One look at a slot; true when something was done that may allow more. */
bool hg_slot_step(hg_slot *s);
/* When the slot wants to be looked at next by itself; INFINITY = not. */
double hg_slot_due(const hg_slot *s);
/* It could not be loaded, or ended. */
void hg_slot_failed(hg_slot *s, hangar_code code, const hangar_err *err, const char *label);

/* ---- pool_load.c ---- */

/* Starts the work that the slot's step asks for; when that is not possible it is tried again soon. */
void hg_slot_look(hg_slot *s);
void hg_slot_load(hg_slot *s);
/* Takes the model that a worker has loaded, and opens its line. */
hangar_code hg_slot_open(hg_slot *s, hg_load *l, hangar_err *err);
void hg_load_free(hg_load *l);
/* Ends the runner beside the loop; afterwards the slot has no model. */
void hg_slot_unload(hg_slot *s);

/* ---- pool_evict.c ---- */

/* Memory of all slots. */
uint64_t hg_pool_used(const hg_pool *p);
/* What the models together may have. */
uint64_t hg_pool_budget(const hangar *h);
/* Lets the slot that waits longest in, or makes others leave for it; true when something was done. */
bool hg_pool_make_room(hg_pool *p);
/* When there is more in memory than may be: idle ones leave. */
bool hg_pool_shrink(hg_pool *p);
/* A use adds to what it is worth to keep a model. */
void hg_slot_heat(hg_slot *s);

/* ---- pool_probe.c ---- */

/* Begins the loader's inference; false when there is none, or the line does not take it now (then again_at is set). */
bool hg_slot_probe(hg_slot *s);
/* When a probe that runs has taken too long. */
double hg_slot_probe_ends(const hg_slot *s);
/* Looks at the runner's memory, and at a probe that takes too long. */
void hg_slot_watch(hg_slot *s);
/* Reads what the runner has resident. */
void hg_slot_measure(hg_slot *s);

#endif
