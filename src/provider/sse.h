/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading server-sent events as they come, cut anywhere: linear in the bytes, with limits. Lines end in LF, CR LF or CR; a mark of the byte
 * order at the start is passed over; comments, "id" and "retry" too. An event that the end cuts off is none.
 */
#ifndef HG_PROVIDER_SSE_H
#define HG_PROVIDER_SSE_H

#include "base/buf.h"

#define HG_SSE_LINE_MAX  HG_MIB       /* bytes of one line */
#define HG_SSE_EVENT_MAX (4 * HG_MIB) /* bytes of all data of one event */

/* One event: its name ("" = none was given; one longer than 63 bytes is cut) and its data, the lines joined by LF. Both borrowed. False: no more. */
typedef bool hg_sse_fn(void *ctx, const char *event, hg_str data);

typedef struct hg_sse {
    hg_sse_fn *fn;
    void *ctx;
    hg_buf line; /* the begun line, when it is not whole yet */
    hg_buf data; /* of the begun event, each line with an LF behind it */
    char event[64];
    unsigned mark;   /* bytes of the byte order mark that were seen; 4 = the start is over */
    bool after_cr;   /* an LF that comes next belongs to the line that has ended */
    bool stopped;    /* fn wants no more */
    uint64_t events; /* handed on so far */
} hg_sse;

void hg_sse_init(hg_sse *s, hg_sse_fn *fn, void *ctx);
void hg_sse_deinit(hg_sse *s);
/* LIMIT or NO_MEMORY. After fn said false, and after an error, bytes are passed over. */
hangar_code hg_sse_feed(hg_sse *s, hg_str bytes, hangar_err *err);

#endif
