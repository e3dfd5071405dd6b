/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line: a runner that is loaded (engine/runner.h), spoken to from the loop instead of from a thread that waits. One
 * call at a time, as the wire has it. Frames are handed on as they lie in memory: their JSON is whole and within the
 * limits, but neither parsed nor trusted.
 *
 * While no call runs the line listens all the same: a runner that dies is noticed at once (`gone`). In a call a runner that
 * shows no sign for `step_timeout` seconds, closes, or speaks nonsense is killed with its group, away from the loop's thread;
 * the call ends with ENGINE in the words of engine/runner.c, then `gone` is called, once.
 *
 * What needs the blocking calls of engine/runner.h (hangar_embed, hangar_transcribe) borrows the runner: hg_line_lend, then use it on
 * one other thread, then hg_line_back.
 *
 * All functions: loop's thread. Callbacks come from the loop, never inside one of these functions. A line may be closed inside any of its
 * callbacks, and a new call may begin inside `end`.
 */
#ifndef HG_ENGINE_LINE_H
#define HG_ENGINE_LINE_H

#include "base/loop.h"
#include "engine/runner.h"

/* Limits beside those of the wire, so that memory stays flat whatever a runner sends. More breaks the protocol. */
#define HG_LINE_BIN_MAX  ((size_t)16 << 20) /* data of a frame                 */
#define HG_LINE_TICK_MAX ((size_t)4 << 10)  /* text of a TICK                  */
#define HG_LINE_FAIL_MAX ((size_t)64 << 10) /* text of a FAIL                  */

typedef struct hg_line hg_line;

/* A frame, borrowed until the callback returns. */
typedef struct hg_raw {
    hg_str json;
    const char *bin;
    size_t bin_len;
} hg_raw;

typedef struct hg_line_fns {
    void (*piece)(void *ctx, const hg_raw *piece);
    void (*tick)(void *ctx, uint64_t done, uint64_t total); /* may be NULL; total 0 = only a sign of life */
    /* Exactly once, the last of a call. OK: done is the DONE frame. Else done is NULL: CANCELLED, ENGINE, or what the runner's FAIL says. */
    void (*end)(void *ctx, hangar_code code, const hg_raw *done, const hangar_err *err);
} hg_line_fns;

typedef void hg_line_gone_fn(void *ctx, const hangar_err *why);

/* The runner stays the caller's, who ends it after hg_line_close; until then nobody else may use it. ENGINE when it has ended, BUSY when it
 * is in a call. */
hangar_code hg_line_open(hg_loop *loop, hg_runner *runner, hg_line_gone_fn *gone, void *ctx, hg_line **out,
                         hangar_err *err);
/* Nothing is called back any more. After a close in the midst of a call the runner can only be ended. NULL is fine. */
void hg_line_close(hg_line *line);
/*
 * Begins a call (type is filled in; a descriptor is sent and stays the caller's; the parcel's bytes are copied when they cannot be sent at
 * once). BUSY while another runs or the runner is lent; ENGINE when it is gone; LIMIT. step_timeout in seconds; 0 = the runner's own. `fns` is copied.
 * After OK `end` comes, once, unless the line is closed.
 */
hangar_code hg_line_call(hg_line *line, const hg_parcel *call, double step_timeout, const hg_line_fns *fns,
                         void *ctx, hangar_err *err);
/* Asks the running call to end: `end` comes with CANCELLED within 3 s, for which a runner that does not listen is killed (then `gone` follows). No more
 * pieces from here on. Without a call it does nothing. */
void hg_line_cancel(hg_line *line);
/* Kills the runner now, also while it is lent; a running call ends with ENGINE and these words (CANCELLED when it was cancelled before), then `gone`. */
void hg_line_kill(hg_line *line, const char *why);
/* NULL and BUSY when a call runs; ENGINE when it is gone. */
hg_runner *hg_line_lend(hg_line *line, hangar_err *err);
/* Looks whether the runner outlived its use: when not, `gone` will be called. */
void hg_line_back(hg_line *line);

#endif
