/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop: one thread that waits for descriptors, timers and messages and calls back, one thing at a time. The only
 * file pair that knows libuv.
 *
 * Rule: nothing that is called back may block longer than a millisecond. What must block goes to hg_loop_work.
 * Threads: everything belongs to the thread that runs the loop, but hg_loop_post and hg_loop_stop, which any
 * thread may call. What is given to a callback as `ctx` is the caller's and must outlive the watch, timer or work.
 */
#ifndef HG_BASE_LOOP_H
#define HG_BASE_LOOP_H

#include "base/err.h"

#include <stdbool.h>

typedef struct hg_loop hg_loop;
typedef void hg_loop_fn(void *ctx);

hangar_code hg_loop_new(hg_loop **out, hangar_err *err);
/* Waits for running work, drops what waits in line or was posted; all watches, timers and signals must be freed. NULL is fine. */
void hg_loop_free(hg_loop *loop);
/* Until hg_loop_stop. */
void hg_loop_run(hg_loop *loop);
/* Any thread: hg_loop_run returns once the callbacks that are due have been called (what was posted stays for the next run). Before
 * hg_loop_run it makes that return at once. */
void hg_loop_stop(hg_loop *loop);

/* Any thread: fn(ctx) on the loop's thread, in the order of posting. NO_MEMORY. */
hangar_code hg_loop_post(hg_loop *loop, hg_loop_fn *fn, void *ctx, hangar_err *err);
/* fn(ctx) each time before the loop sleeps: what many callbacks of one turn have left is done once. At most 8. */
hangar_code hg_loop_each_turn(hg_loop *loop, hg_loop_fn *fn, void *ctx, hangar_err *err);
/* No more; not from within such a call. */
void hg_loop_each_turn_end(hg_loop *loop, hg_loop_fn *fn, void *ctx);
/*
 * work(ctx) on a thread of a bounded set (made when needed, at most HG_LOOP_WORKERS, the rest waits in line), then
 * done(ctx) on the loop's thread. Work may take minutes; a hangar_job in ctx is how it is told to end.
 * What work touches is the worker's before this returns: whoever called must not write there afterwards, not even the code that comes back.
 */
#define HG_LOOP_WORKERS 32
hangar_code hg_loop_work(hg_loop *loop, hg_loop_fn *work, hg_loop_fn *done, void *ctx, hangar_err *err);

/* ---- descriptors ---- */

enum {
    HG_READABLE = 1,
    HG_WRITABLE = 2,
    HG_HUNG_UP = 4, /* the other side closed, or half closed */
};
typedef struct hg_watch hg_watch;
typedef void hg_watch_fn(void *ctx, unsigned events);
/* Watches nothing until hg_watch_set. The descriptor is made non-blocking and stays the caller's; free the watch before it is closed. Several watches on
 * one descriptor are not allowed (dup it). */
hangar_code hg_watch_new(hg_loop *loop, int fd, hg_watch_fn *fn, void *ctx, hg_watch **out, hangar_err *err);
/* Which events are told from now on; 0 = none. An error on the descriptor comes as all that is watched. */
hangar_code hg_watch_set(hg_watch *watch, unsigned events, hangar_err *err);
/* Never called back again; may be called inside its own callback. NULL is fine. */
void hg_watch_free(hg_watch *watch);

/* ---- timers ---- */

typedef struct hg_timer hg_timer;
hangar_code hg_timer_new(hg_loop *loop, hg_loop_fn *fn, void *ctx, hg_timer **out, hangar_err *err);
/* Once after `seconds` (to the millisecond, never before), then, when `every` is above 0, every so many seconds. Replaces what was set. */
void hg_timer_set(hg_timer *timer, double seconds, double every);
void hg_timer_stop(hg_timer *timer);
void hg_timer_free(hg_timer *timer);

/* ---- signals ---- */

typedef struct hg_signal hg_signal;
hangar_code hg_signal_new(hg_loop *loop, int number, hg_loop_fn *fn, void *ctx, hg_signal **out,
                          hangar_err *err);
void hg_signal_free(hg_signal *signal);

#endif
