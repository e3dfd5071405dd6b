/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory: who may come in, and who has to leave for it.
 *
 * Loads are let in one after the other, the one that waits longest first, so that a big model is not passed by small ones for ever. Room is made by
 * making idle slots leave, those that are worth the least first; a slot that would not be needed for the room stays. A load that has waited for
 * HG_POOL_YIELD makes busy slots leave, too, between two of their turns: else a model with a line that never ends would keep it out.
 *
 * What a slot is worth: uses, each losing half of its weight in HG_POOL_HALF seconds, times the seconds that a reload takes, per byte.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "hardware/hardware.h"
#include "manager/pool_inner.h"

#include <math.h>
#include <stdlib.h>

#define SHARE 0.8 /* of the machine's memory, when nothing is configured */

uint64_t hg_pool_budget(const hangar *h)
{
    if (h->settings->serve_memory) return h->settings->serve_memory;
    uint64_t total = hg_total_memory();
    return total ? (uint64_t)(SHARE * (double)total) : UINT64_MAX; /* not known: nothing is refused */
}

uint64_t hg_pool_used(const hg_pool *p)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < p->count; i++)
        if (p->slots[i]->admitted && !hg_add(sum, p->slots[i]->memory, &sum)) return UINT64_MAX;
    return sum;
}

static double heat_now(const hg_slot *s)
{
    return s->heat * exp2(-(hg_now() - s->heat_at) / HG_POOL_HALF);
}

void hg_slot_heat(hg_slot *s)
{
    s->heat = heat_now(s) + 1;
    s->heat_at = hg_now();
}

/* The higher, the longer it stays. A model that was loaded and never used is worth a part of a use, less with time. */
static double worth(const hg_slot *s)
{
    double unused = 0.5 * exp2(-(hg_now() - s->last_used) / HG_POOL_HALF);
    return (heat_now(s) + unused) * (s->load_seconds + 0.01) / (double)(s->memory ? s->memory : 1);
}

static int by_worth(const void *a, const void *b)
{
    double x = worth(*(hg_slot *const *)a), y = worth(*(hg_slot *const *)b);
    return (x > y) - (x < y);
}

/* May be made to leave. hard: between two turns, too. */
static bool may_leave(const hg_slot *s, bool hard)
{
    if (!s->admitted || hg_slot_pinned(s) || s->broken || s->leave != HG_STAY) return false;
    return hard ? s->state == HG_SLOT_READY || s->state == HG_SLOT_BUSY : hg_slot_idle(s);
}

/* Its memory will be back without anything being done. */
static bool is_leaving(const hg_slot *s)
{
    bool leaves = s->leave != HG_STAY || s->state == HG_SLOT_ENDING || s->state == HG_SLOT_FAILED ||
                  s->state == HG_SLOT_QUARANTINED;
    return s->admitted && leaves;
}

/* Memory that could be used by a newcomer: free, coming back, and that of slots that may leave. */
typedef struct room {
    uint64_t free, coming, pinned;
    hg_slot **leave; /* sorted, the least worth first */
    size_t count;
} room;

static bool read_room(const hg_pool *p, bool hard, room *out)
{
    uint64_t used = hg_pool_used(p);
    *out = (room){.free = used < p->budget ? p->budget - used : 0};
    out->leave = hg_calloc(p->count, sizeof(hg_slot *));
    if (!out->leave) return false;
    for (size_t i = 0; i < p->count; i++) {
        hg_slot *s = p->slots[i];
        if (may_leave(s, hard)) out->leave[out->count++] = s;
        else if (is_leaving(s)) out->coming += s->memory;
        if (s->admitted && hg_slot_pinned(s)) out->pinned += s->memory;
    }
    qsort(out->leave, out->count, sizeof(hg_slot *), by_worth);
    return true;
}

/* Makes slots leave, for at least `need` bytes more. */
static void evict(hg_pool *p, room *r, uint64_t need, const hg_slot *guest)
{
    char had[16], idle[16], wants[16], budget[16];
    uint64_t got = 0;
    size_t n = 0;
    while (n < r->count && got < need) got += r->leave[n++]->memory;
    /* The last ones were taken because the first were too small: those may stay now. */
    for (size_t i = 0; i < n; i++)
        if (got - r->leave[i]->memory >= need) {
            got -= r->leave[i]->memory;
            r->leave[i] = NULL;
        }
    for (size_t i = 0; i < n; i++) {
        hg_slot *s = r->leave[i];
        if (!s) continue;
        s->leave = HG_LEAVE_EVICTED;
        hg_metric_add(HG_M_CACHE_EVICTIONS, (const char *const[]){"memory"}, 1);
        hg_why_note(p->why, "eviction", s->entry->name,
                    "left for %s, which needs %s of %s: it had %s, %llu uses, was idle for %s",
                    guest ? guest->entry->name : "what is in memory",
                    hg_size_format(guest ? guest->memory : hg_pool_used(p), wants),
                    hg_size_format(p->budget, budget), hg_size_format(s->memory, had),
                    (unsigned long long)s->uses,
                    hg_duration_format(s->state == HG_SLOT_READY ? hg_now() - s->last_used : 0, idle));
    }
}

/* The LOADING slot that waits longest. */
static hg_slot *first_guest(const hg_pool *p)
{
    hg_slot *first = NULL;
    for (size_t i = 0; i < p->count; i++) {
        hg_slot *s = p->slots[i];
        bool waits = s->state == HG_SLOT_LOADING && s->step == HG_STEP_ROOM && s->leave == HG_STAY;
        if (waits && (!first || s->room_since < first->room_since)) first = s;
    }
    return first;
}

static bool refuse_for_good(hg_slot *s, const room *r)
{
    hangar_err err = {0};
    char need[16], budget[16], pinned[16];
    hg_size_format(s->memory, need);
    hg_size_format(s->pool->budget, budget);
    if (r->pinned)
        hg_fail(&err, HANGAR_E_LIMIT,
                "%s needs %s of memory, the models have %s together, and %s of it are pinned (serve.memory)",
                s->entry->name, need, budget, hg_size_format(r->pinned, pinned));
    else
        hg_fail(&err, HANGAR_E_LIMIT, "%s needs %s of memory, all models together have %s (serve.memory)",
                s->entry->name, need, budget);
    hg_slot_failed(s, err.code, &err, "memory");
    return true;
}

bool hg_pool_make_room(hg_pool *p)
{
    hg_slot *s = first_guest(p);
    room r;
    bool hard = s && hg_now() - s->room_since >= HG_POOL_YIELD, moved = true;
    if (!s || !read_room(p, hard, &r)) return false;
    uint64_t may = 0, most = p->budget > r.pinned ? p->budget - r.pinned : 0;
    for (size_t i = 0; i < r.count; i++) may += r.leave[i]->memory;
    if (s->memory > most) {
        refuse_for_good(s, &r);
    } else if (s->memory <= r.free) {
        s->admitted = true;
        s->step = HG_STEP_ADMITTED;
        hg_pool_changed(p);
    } else if (s->memory > r.free + r.coming && s->memory <= r.free + r.coming + may) {
        evict(p, &r, s->memory - r.free - r.coming, s);
    } else {
        moved = false; /* it waits for those that are on their way out, or at work */
    }
    free(r.leave);
    return moved;
}

bool hg_pool_shrink(hg_pool *p)
{
    uint64_t used = hg_pool_used(p);
    room r;
    size_t inside = 0;
    for (size_t i = 0; i < p->count; i++) inside += p->slots[i]->admitted;
    if (used <= p->budget || inside < 2 || !read_room(p, false, &r)) return false;
    uint64_t over = used - p->budget;
    bool moved = over > r.coming && r.count > 0;
    if (moved) evict(p, &r, over - r.coming, NULL);
    free(r.leave);
    return moved;
}
