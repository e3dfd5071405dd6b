/* SPDX-License-Identifier: Apache-2.0 */
/* Time: a clock that only goes forward for durations, the wall clock for people. */
#ifndef HG_BASE_CLOCK_H
#define HG_BASE_CLOCK_H

#include <stdint.h>

/* Seconds since some fixed moment, never going back. */
double hg_now(void);
/* Unix time in seconds. */
int64_t hg_wall(void);
/* "2026-01-31T12:00:00Z" into buf[24]. Returns buf. */
char *hg_time_format(int64_t unix_seconds, char buf[24]);
/* Sleeps that long, or until a signal comes. */
void hg_sleep(double seconds);
/* Uniform in [0, 1) from the system's random source, for jitter. */
double hg_random(void);

/* A rate over the last seconds, for progress: feed it totals, ask it for the speed. Zero-initialise. */
typedef struct hg_rate {
    double when[16];
    uint64_t total[16];
    unsigned count;
} hg_rate;
/* Notes that `total` units are done at time `now`; samples closer than a quarter second replace the last. */
void hg_rate_note(hg_rate *r, double now, uint64_t total);
/* Units per second over the remembered span (about four seconds); 0 when not known. */
double hg_rate_get(const hg_rate *r);

#endif
