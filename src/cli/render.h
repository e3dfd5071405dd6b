/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows the events of a job while it runs.
 *
 * Threads: hg_render_event is called on the library's threads, hg_render_tick on a thread of the caller's about ten times a
 * second, hg_render_say on any; a mutex makes it one at a time. Bars are drawn only by ticks, so however fast the events
 * come, the terminal sees ten pages a second. The writers are called with the mutex held.
 */
#ifndef HG_CLI_RENDER_H
#define HG_CLI_RENDER_H

#include "base/buf.h"
#include "hangar/job.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum hg_render_mode {
    HG_RENDER_TEXT,  /* TEXT events to the output as they come; a word about the phase on a terminal */
    HG_RENDER_BARS,  /* a terminal: bars that are redrawn, finished files as lines above them        */
    HG_RENDER_LINES, /* not a terminal: a plain line now and then                                    */
    HG_RENDER_JSON,  /* one JSON object per event on the output                                      */
    HG_RENDER_QUIET, /* nothing but what is said                                                     */
} hg_render_mode;

typedef struct hg_render_options {
    hg_render_mode mode;
    bool bytes;        /* totals count bytes */
    bool colour, utf8; /* of the error output */
    bool out_terminal; /* TEXT goes to a terminal: control characters are taken out */
    bool err_terminal;
    void (*out)(void *ctx, const char *bytes, size_t len);
    void (*err)(void *ctx, const char *bytes, size_t len);
    /* The terminal's size now. */
    void (*size)(void *ctx, size_t *columns, size_t *rows);
    void *ctx;
} hg_render_options;

typedef struct hg_render hg_render;

/* NULL when out of memory. */
hg_render *hg_render_new(const hg_render_options *options);
void hg_render_free(hg_render *r);
/* Starts and ends the thread that ticks, where the mode needs one. The end clears what was drawn. */
void hg_render_start(hg_render *r);
void hg_render_stop(hg_render *r);

/* A hangar_event_fn; ctx is the hg_render. */
void hg_render_event(void *ctx, const hangar_event *event);
/* Redraws what changed. */
void hg_render_tick(hg_render *r);
/* A line for the person, above the bars. It is escaped here. */
void hg_render_say(hg_render *r, const char *line);
/* The process was stopped and goes on: what was drawn is no longer at the cursor. May be called from a signal handler. */
void hg_render_resumed(hg_render *r);
/* How far the whole job came, in its unit. */
uint64_t hg_render_done(hg_render *r);
/* Clears what was drawn, so that others may write to the terminal. */
void hg_render_clear(hg_render *r);

#endif
