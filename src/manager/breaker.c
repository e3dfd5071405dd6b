/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/breaker.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "manager/metrics.h"

#include <math.h>
#include <stdlib.h>

#define LONGER_MAX 16.0 /* times the cooldown that an open breaker waits at most */

typedef enum breaker_state { CLOSED, OPEN, HALF_OPEN } breaker_state;
static const char *const names[] = {"closed", "open", "half_open"};

typedef struct breaker {
    char *model;
    breaker_state state;
    bool trying; /* HALF_OPEN: somebody is asking it just now */
    int64_t failures;
    double until;  /* OPEN: when the next trial may be */
    double longer; /* factor on the cooldown */
} breaker;

struct hg_breakers {
    const hg_settings *settings;
    hg_why *why;
    breaker *list;
    size_t len, cap;
};

/* The only place where a state changes. */
static void breaker_move(hg_breakers *all, breaker *b, breaker_state state)
{
    if (b->state == state) return;
    hg_log(HG_LOG_INFO, "breaker", "%s: %s -> %s", b->model, names[b->state], names[state]);
    if (state == OPEN)
        hg_why_note(all->why, "breaker", b->model, "%s is not asked for %.1f s: %lld %s in a row", b->model,
                    fmax(0, b->until - hg_now()), (long long)b->failures,
                    b->failures == 1 ? "failure" : "failures");
    else if (state == CLOSED)
        hg_why_note(all->why, "breaker", b->model, "%s is asked again: it answered", b->model);
    static const double figures[] = {0, 2, 1};
    hg_metric_set(HG_M_BREAKER_STATE, (const char *const[]){b->model}, figures[state]);
    if (state == OPEN) hg_metric_add(HG_M_BREAKER_OPENED, (const char *const[]){b->model}, 1);
    b->state = state;
    b->trying = false;
}

hg_breakers *hg_breakers_new(const hg_settings *settings, hg_why *why)
{
    hg_breakers *b = hg_calloc(1, sizeof *b);
    if (b) *b = (hg_breakers){.settings = settings, .why = why};
    return b;
}

void hg_breakers_free(hg_breakers *b)
{
    if (!b) return;
    for (size_t i = 0; i < b->len; i++) free(b->list[i].model);
    free(b->list);
    free(b);
}

static breaker *find(const hg_breakers *all, const char *model)
{
    for (size_t i = 0; i < all->len; i++)
        if (hg_streq(all->list[i].model, model)) return &all->list[i];
    return NULL;
}

/* The model's breaker, made when it is not there; NULL when out of memory: then there is none, which lets everything through. */
static breaker *need(hg_breakers *all, const char *model)
{
    breaker *b = find(all, model);
    if (b) return b;
    char *name = hg_strdup(model);
    if (!name || !hg_grow((void **)&all->list, &all->cap, all->len + 1, sizeof *all->list)) {
        free(name);
        return NULL;
    }
    all->list[all->len] = (breaker){.model = name, .longer = 1};
    return &all->list[all->len++];
}

bool hg_breaker_allow(hg_breakers *all, const char *model)
{
    breaker *b = find(all, model);
    if (!b || b->state == CLOSED) return true;
    if (b->state == OPEN && hg_now() >= b->until) breaker_move(all, b, HALF_OPEN);
    if (b->state != HALF_OPEN || b->trying) return false;
    b->trying = true;
    return true;
}

void hg_breaker_tell(hg_breakers *all, const char *model, bool well, double retry_after)
{
    breaker *b = well ? find(all, model) : need(all, model);
    if (!b) return;
    if (well) {
        b->failures = 0;
        b->longer = 1;
        breaker_move(all, b, CLOSED);
        return;
    }
    b->failures++;
    if (b->state == CLOSED && b->failures < all->settings->serve_breaker_failures && retry_after <= 0) return;
    if (b->state == HALF_OPEN) b->longer = fmin(b->longer * 2, LONGER_MAX);
    double cooldown = all->settings->serve_breaker_cooldown * b->longer;
    b->until = hg_now() + (retry_after > 0 ? retry_after : cooldown);
    breaker_move(all, b, OPEN);
}

void hg_breaker_drop(hg_breakers *all, const char *model)
{
    breaker *b = find(all, model);
    if (b) b->trying = false;
}

double hg_breaker_wait(const hg_breakers *all, const char *model)
{
    const breaker *b = find(all, model);
    if (!b || b->state == CLOSED) return 0;
    return b->state == OPEN ? fmax(0, b->until - hg_now()) : b->trying ? 1 : 0;
}

const char *hg_breaker_state(const hg_breakers *all, const char *model)
{
    const breaker *b = find(all, model);
    return names[b ? b->state : CLOSED];
}

void hg_breakers_write(const hg_breakers *all, hg_jw *out)
{
    for (size_t i = 0; i < all->len; i++) {
        const breaker *b = &all->list[i];
        hg_jw_obj(out, NULL);
        hg_jw_text(out, "model", b->model);
        hg_jw_text(out, "state", names[b->state]);
        hg_jw_i64(out, "failures", b->failures);
        hg_jw_f64(out, "seconds", hg_breaker_wait(all, b->model));
        hg_jw_end(out);
    }
}
