/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events become state, and state becomes what the mode shows. Items are followed from their first ITEM event to "done";
 * the number that are under way at once is small, whatever the plan holds, so a list without order is enough.
 */
#include "cli/render_inner.h"

#include "base/job.h"
#include "base/json.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#define TICK       0.1                  /* seconds between redraws, and between JSON lines about one item */
#define LINE_EVERY 5.0                  /* seconds between plain lines about the whole */
#define BIG_ITEM   ((uint64_t)10000000) /* bytes; smaller ones get one plain line only */
#define ABOVE_MAX  (16 * HG_MIB)

static void drop_item(hg_item *item)
{
    free(item->name);
    free(item->shown);
}

hg_render *hg_render_new(const hg_render_options *options)
{
    hg_render *r = hg_calloc(1, sizeof *r);
    if (!r) return NULL;
    r->o = *options;
    r->eta = -1;
    hg_buf_init(&r->above, ABOVE_MAX);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&r->mutex, NULL);
    pthread_cond_init(&r->wake, &attr);
    pthread_condattr_destroy(&attr);
    return r;
}

void hg_render_free(hg_render *r)
{
    if (!r) return;
    hg_render_stop(r);
    for (size_t i = 0; i < r->item_count; i++) drop_item(&r->items[i]);
    hg_buf_deinit(&r->above);
    pthread_cond_destroy(&r->wake);
    pthread_mutex_destroy(&r->mutex);
    free(r);
}

/* ---- writing ---- */

static void to_err(hg_render *r, const char *text)
{
    r->o.err(r->o.ctx, text, strlen(text));
}

/* A plain line on the error output. */
static void plain(hg_render *r, const char *fmt, ...) HG_PRINTF(2, 3);
static void plain(hg_render *r, const char *fmt, ...)
{
    char raw[2048], line[4096];
    va_list args;
    va_start(args, fmt);
    vsnprintf(raw, sizeof raw, fmt, args);
    va_end(args);
    size_t len = hg_escape(hg_str_of(raw), line, sizeof line - 1);
    line[len++] = '\n';
    r->o.err(r->o.ctx, line, len);
}

/* Takes the word about the phase away. */
static void clear_status(hg_render *r)
{
    if (r->status) to_err(r, "\r\033[K");
    r->status = false;
}

/* ---- items ---- */

static hg_item *find_item(hg_render *r, const char *name)
{
    for (size_t i = 0; i < r->item_count; i++)
        if (hg_streq(r->items[i].name, name)) return &r->items[i];
    return NULL;
}

/* The item of that name, followed from now on when it is new; NULL when there are too many. */
static hg_item *follow(hg_render *r, const char *name, bool *is_new)
{
    hg_item *item = find_item(r, name);
    *is_new = !item;
    if (item || r->item_count == HG_RENDER_ACTIVE) return item;
    char safe[2048];
    hg_escape(hg_str_of(name), safe, sizeof safe);
    hg_item fresh = {.name = hg_strdup(name), .shown = hg_strdup(safe)};
    if (!fresh.name || !fresh.shown) {
        drop_item(&fresh);
        return NULL;
    }
    r->items[r->item_count] = fresh;
    return &r->items[r->item_count++];
}

static void forget(hg_render *r, hg_item *item)
{
    size_t at = (size_t)(item - r->items);
    drop_item(item);
    memmove(item, item + 1, (r->item_count - at - 1) * sizeof *item);
    r->item_count--;
}

/* "12.3 MB", or "" where it is not bytes or not known. */
static const char *size_text(const hg_render *r, uint64_t total, char buf[16])
{
    buf[0] = '\0';
    return r->o.bytes && total ? hg_size_format(total, buf) : buf;
}

/* ---- plain lines ---- */

static void line_item(hg_render *r, const hangar_event *e, hg_item *item, bool is_new)
{
    char size[16];
    const char *total = size_text(r, e->total, size);
    if (hg_streq(e->text, "done")) {
        plain(r, "%s: done%s%s", e->item, *total ? ", " : "", total);
        return;
    }
    if (hg_streq(e->text, "retry")) {
        plain(r, "%s: trying again", e->item);
        return;
    }
    if (!item || !r->o.bytes || e->total < BIG_ITEM) return;
    unsigned tenth = (unsigned)((double)e->done / (double)e->total * 10);
    if (is_new) {
        item->tenth = tenth; /* what an earlier run left counts as told */
        plain(r, "%s: %s%s", e->item, total, e->done ? ", resumed" : "");
    } else if (tenth > item->tenth && tenth < 10) {
        item->tenth = tenth;
        plain(r, "%s: %u %% of %s", e->item, tenth * 10, total);
    }
}

/* The whole, where it has no items that were told of. */
static void line_total(hg_render *r, const hangar_event *e, double now)
{
    if (r->any_item || e->total == 0) return;
    unsigned tenth = (unsigned)((double)e->done / (double)e->total * 10);
    if (r->total_told <= 0) r->total_told = now;
    if (tenth <= r->total_tenth || tenth >= 10 || now - r->total_told < LINE_EVERY) return;
    r->total_tenth = tenth;
    r->total_told = now;
    plain(r, "%u %%", tenth * 10);
}

static void show_line(hg_render *r, const hangar_event *e, hg_item *item, bool is_new, bool repeated)
{
    switch (e->kind) {
    case HANGAR_EVENT_PHASE:
        if (!repeated) plain(r, "%s", e->text);
        break;
    case HANGAR_EVENT_NOTE: plain(r, "%s", e->text); break;
    case HANGAR_EVENT_ITEM: line_item(r, e, item, is_new); break;
    case HANGAR_EVENT_TOTAL: line_total(r, e, hg_now()); break;
    case HANGAR_EVENT_PLAN:
    case HANGAR_EVENT_TEXT: break;
    }
}

/* ---- JSON lines ---- */

/* Whether this event may wait because one like it was told a moment ago. */
static bool too_soon(hg_render *r, const hangar_event *e, hg_item *item, double now)
{
    double *told = NULL;
    if (e->kind == HANGAR_EVENT_ITEM && item && !*e->text) told = &item->told;
    if (e->kind == HANGAR_EVENT_TOTAL) told = &r->total_told;
    if (!told || (e->total && e->done >= e->total)) return false;
    if (*told > 0 && now - *told < TICK) return true;
    *told = now;
    return false;
}

static void show_json(hg_render *r, const hangar_event *e, hg_item *item)
{
    if (too_soon(r, e, item, hg_now())) return;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    char *text = NULL;
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "event", hangar_event_name(e->kind));
    hg_job_event_write(e, w);
    if (!w || hg_jw_finish(w, false, &text, NULL) != HANGAR_OK) return;
    size_t len = strlen(text);
    text[len] = '\n'; /* in the place of the NUL: one write per line */
    r->o.out(r->o.ctx, text, len + 1);
    free(text);
}

/* ---- text that streams ---- */

/* Text for a terminal: what could steer it is taken out. */
static void write_text(hg_render *r, const char *text)
{
    size_t len = strlen(text);
    if (len == 0) return;
    clear_status(r);
    r->midline = text[len - 1] != '\n';
    if (!r->o.out_terminal) {
        r->o.out(r->o.ctx, text, len);
        return;
    }
    hg_buf safe;
    hg_buf_init(&safe, HG_MIB);
    hg_str rest = {text, len};
    while (rest.len) {
        size_t run = 0;
        while (run < rest.len && rest.ptr[run] != '\n' && rest.ptr[run] != '\t') run++;
        char piece[512];
        size_t take = run < 64 ? run : 64;
        if (take < run) {
            size_t whole = hg_utf8_whole((hg_str){rest.ptr, take});
            take = whole ? whole : take;
        }
        if (take) hg_buf_add(&safe, piece, hg_escape((hg_str){rest.ptr, take}, piece, sizeof piece));
        else hg_buf_add(&safe, rest.ptr, take = 1);
        rest = (hg_str){rest.ptr + take, rest.len - take};
    }
    r->o.out(r->o.ctx, hg_buf_text(&safe), safe.len);
    hg_buf_deinit(&safe);
}

static void show_text(hg_render *r, const hangar_event *e)
{
    switch (e->kind) {
    case HANGAR_EVENT_TEXT: write_text(r, e->text); break;
    case HANGAR_EVENT_NOTE:
        clear_status(r);
        plain(r, "%s", e->text);
        break;
    case HANGAR_EVENT_PHASE:
        if (!r->o.err_terminal || r->midline) break;
        clear_status(r);
        to_err(r, r->o.colour ? "\033[2m" : "");
        to_err(r, r->phase);
        to_err(r, r->o.utf8 ? " …" : " ...");
        to_err(r, r->o.colour ? "\033[0m" : "");
        r->status = true;
        break;
    case HANGAR_EVENT_PLAN:
    case HANGAR_EVENT_ITEM:
    case HANGAR_EVENT_TOTAL: break;
    }
}

/* ---- bars ---- */

static void bar_item(hg_render *r, const hangar_event *e)
{
    char line[1200], size[16];
    if (hg_streq(e->text, "done")) {
        const char *total = size_text(r, e->total, size);
        snprintf(line, sizeof line, "%s%s%s", e->item, *total ? "  " : "", total);
        hg_bars_above(r, 32, r->o.utf8 ? "✓" : "ok", line);
    } else if (hg_streq(e->text, "retry")) {
        snprintf(line, sizeof line, "%s: trying again", e->item);
        hg_bars_above(r, 2, "", line);
    }
}

static void show_bars(hg_render *r, const hangar_event *e)
{
    r->dirty = true;
    if (e->kind == HANGAR_EVENT_ITEM) bar_item(r, e);
    if (e->kind == HANGAR_EVENT_NOTE) hg_bars_above(r, 2, "", e->text);
}

/* ---- events and ticks ---- */

/* Takes one event into the state. */
static void take(hg_render *r, const hangar_event *e, hg_item *item)
{
    switch (e->kind) {
    case HANGAR_EVENT_PHASE: hg_escape(hg_str_of(e->text), r->phase, sizeof r->phase); break;
    case HANGAR_EVENT_PLAN:
        if (!hg_streq(e->text, "have")) {
            r->planned++;
            r->planned_bytes += e->total;
        }
        break;
    case HANGAR_EVENT_ITEM:
        r->any_item = true;
        if (!item) break;
        item->done = e->done;
        item->total = e->total;
        item->retry = hg_streq(e->text, "retry");
        break;
    case HANGAR_EVENT_TOTAL:
        r->total_known = true;
        r->done = e->done;
        r->total = e->total;
        r->rate = e->rate;
        r->eta = e->eta;
        break;
    case HANGAR_EVENT_NOTE:
    case HANGAR_EVENT_TEXT: break;
    }
}

void hg_render_event(void *ctx, const hangar_event *event)
{
    hg_render *r = ctx;
    bool is_new = false;
    pthread_mutex_lock(&r->mutex);
    hg_item *item = NULL;
    bool done = event->kind == HANGAR_EVENT_ITEM && hg_streq(event->text, "done");
    if (done) item = find_item(r, event->item);
    else if (event->kind == HANGAR_EVENT_ITEM) item = follow(r, event->item, &is_new);
    bool repeated = event->kind == HANGAR_EVENT_PHASE && hg_streq(event->text, r->phase);
    take(r, event, item);
    switch (r->o.mode) {
    case HG_RENDER_TEXT: show_text(r, event); break;
    case HG_RENDER_BARS: show_bars(r, event); break;
    case HG_RENDER_LINES: show_line(r, event, item, is_new, repeated); break;
    case HG_RENDER_JSON: show_json(r, event, item); break;
    case HG_RENDER_QUIET: break;
    }
    if (done) r->finished++;
    if (done && item) forget(r, item);
    pthread_mutex_unlock(&r->mutex);
}

void hg_render_tick(hg_render *r)
{
    pthread_mutex_lock(&r->mutex);
    if (r->o.mode == HG_RENDER_BARS && r->dirty) hg_bars_draw(r);
    pthread_mutex_unlock(&r->mutex);
}

void hg_render_say(hg_render *r, const char *line)
{
    pthread_mutex_lock(&r->mutex);
    if (r->o.mode == HG_RENDER_BARS && r->drawn) {
        hg_bars_above(r, 0, "", line);
        hg_bars_draw(r);
    } else {
        clear_status(r);
        if (r->midline && r->o.out_terminal && r->o.err_terminal) to_err(r, "\n");
        r->midline = false;
        plain(r, "%s", line);
    }
    pthread_mutex_unlock(&r->mutex);
}

void hg_render_resumed(hg_render *r)
{
    atomic_store(&r->resumed, true);
}

uint64_t hg_render_done(hg_render *r)
{
    pthread_mutex_lock(&r->mutex);
    uint64_t done = r->done;
    pthread_mutex_unlock(&r->mutex);
    return done;
}

void hg_render_clear(hg_render *r)
{
    pthread_mutex_lock(&r->mutex);
    if (r->o.mode == HG_RENDER_BARS) hg_bars_clear(r);
    clear_status(r);
    pthread_mutex_unlock(&r->mutex);
}

/* ---- the thread ---- */

static void *ticking(void *ctx)
{
    hg_render *r = ctx;
    size_t columns = 0, rows = 0, was_columns, was_rows;
    pthread_mutex_lock(&r->mutex);
    while (!r->ending) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += (long)(TICK * 1e9);
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        pthread_cond_timedwait(&r->wake, &r->mutex, &until);
        was_columns = columns;
        was_rows = rows;
        if (r->o.size) r->o.size(r->o.ctx, &columns, &rows);
        bool resized = was_columns && (columns != was_columns || rows != was_rows);
        bool again = (resized || atomic_load(&r->resumed)) && r->drawn;
        if (!r->ending && (r->dirty || again)) hg_bars_draw(r);
    }
    pthread_mutex_unlock(&r->mutex);
    return NULL;
}

void hg_render_start(hg_render *r)
{
    if (r->o.mode != HG_RENDER_BARS || r->running) return;
    r->ending = false;
    r->running = pthread_create(&r->thread, NULL, ticking, r) == 0;
}

void hg_render_stop(hg_render *r)
{
    if (r->running) {
        pthread_mutex_lock(&r->mutex);
        r->ending = true;
        pthread_cond_signal(&r->wake);
        pthread_mutex_unlock(&r->mutex);
        pthread_join(r->thread, NULL);
        r->running = false;
    }
    hg_render_clear(r);
}
