/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

double hg_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int64_t hg_wall(void)
{
    return (int64_t)time(NULL);
}

char *hg_time_format(int64_t unix_seconds, char buf[24])
{
    /* The years 0001 to 9999: what RFC 3339 can write. */
    const int64_t first = -62135596800, last = 253402300799;
    time_t when = (time_t)(unix_seconds < first ? first : unix_seconds > last ? last : unix_seconds);
    struct tm tm = {0};
    gmtime_r(&when, &tm);
    snprintf(buf, 24, "%04u-%02u-%02uT%02u:%02u:%02uZ", (unsigned)(tm.tm_year + 1900) % 10000,
             (unsigned)(tm.tm_mon + 1) % 100, (unsigned)tm.tm_mday % 100, (unsigned)tm.tm_hour % 100,
             (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
    return buf;
}

void hg_sleep(double seconds)
{
    if (!(seconds > 0)) return;
    if (seconds > 1e9) seconds = 1e9;
    struct timespec t = {.tv_sec = (time_t)seconds};
    t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
    nanosleep(&t, NULL);
}

double hg_random(void)
{
    uint64_t bits = 0;
    if (getrandom(&bits, sizeof bits, 0) != (ssize_t)sizeof bits) {
        /* Never seen for eight bytes; jitter need not be secret. */
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        bits = (uint64_t)t.tv_nsec * 0x9e3779b97f4a7c15u;
    }
    return (double)(bits >> 11) * 0x1p-53;
}

#define RATE_STEP 0.25 /* seconds between two remembered samples */
#define RATE_SPAN 4.5  /* samples older than this are forgotten, as long as two are left */

static void forget(hg_rate *r, unsigned n)
{
    r->count -= n;
    memmove(r->when, r->when + n, r->count * sizeof r->when[0]);
    memmove(r->total, r->total + n, r->count * sizeof r->total[0]);
}

void hg_rate_note(hg_rate *r, double now, uint64_t total)
{
    if (r->count && (total < r->total[r->count - 1] || now < r->when[r->count - 1])) r->count = 0;
    /* The last sample gives way as long as it is near the one before: that one marks the quarter second. */
    if (r->count >= 2 && now - r->when[r->count - 2] < RATE_STEP) r->count--;
    if (r->count == HG_LEN(r->when)) forget(r, 1);
    r->when[r->count] = now;
    r->total[r->count] = total;
    r->count++;
    while (r->count > 2 && now - r->when[0] > RATE_SPAN) forget(r, 1);
}

double hg_rate_get(const hg_rate *r)
{
    if (r->count < 2) return 0;
    double span = r->when[r->count - 1] - r->when[0];
    if (span < RATE_STEP / 2) return 0;
    return (double)(r->total[r->count - 1] - r->total[0]) / span;
}
