/* SPDX-License-Identifier: Apache-2.0 */
/* What render.c and bars.c share. */
#ifndef HG_CLI_RENDER_INNER_H
#define HG_CLI_RENDER_INNER_H

#include "base/clock.h"
#include "cli/render.h"

#include <pthread.h>
#include <stdatomic.h>

#define HG_RENDER_ACTIVE 256 /* items followed at the same time; further ones are counted only */
#define HG_RENDER_DRAWN  64  /* lines drawn at the same time */

/* One file on its way. */
typedef struct hg_item {
    char *name;  /* as it came */
    char *shown; /* escaped */
    uint64_t done, total;
    unsigned tenth; /* of it that a plain line told of last */
    bool retry;
    double told; /* when a JSON line told of it last */
} hg_item;

struct hg_render {
    hg_render_options o;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    pthread_t thread;
    bool running, ending;

    char phase[64];
    hg_item items[HG_RENDER_ACTIVE];
    size_t item_count;
    uint64_t planned, planned_bytes; /* items of the plan that are to be fetched */
    uint64_t finished;
    bool any_item;
    uint64_t done, total; /* of the whole job */
    double rate, eta;
    bool total_known;
    double total_told;
    unsigned total_tenth;

    atomic_bool resumed;            /* since the last redraw */
    bool dirty;                     /* a redraw is due */
    hg_buf above;                   /* finished lines that go above the bars with the next redraw */
    size_t widths[HG_RENDER_DRAWN]; /* of the lines on the terminal now */
    size_t drawn;                   /* how many */
    bool status;                    /* a word about the phase stands on the last line */
    bool midline;                   /* TEXT ended without a newline */
};

/* Draws the block of bars and what waits above it. */
void hg_bars_draw(hg_render *r);
/* Takes the block away, leaving what waits above it. */
void hg_bars_clear(hg_render *r);
/* A line that stays, above the bars: "✓ name  size" and such. tone: an SGR number, 0 for none. */
void hg_bars_above(hg_render *r, int tone, const char *mark, const char *text);

#endif
