/* SPDX-License-Identifier: Apache-2.0 */
#include "base/spread.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

typedef struct spread {
    atomic_size_t next;
    atomic_uint arrived;
    size_t count;
    hg_spread_fn *work;
    void *ctx;
} spread;

/* Machines beyond 8192 processors are asked for their number. */
unsigned hg_usable_cores(void)
{
    const int most = 8192;
    cpu_set_t *set = CPU_ALLOC(most);
    int n = 0;
    if (set && sched_getaffinity(0, CPU_ALLOC_SIZE(most), set) == 0)
        n = CPU_COUNT_S(CPU_ALLOC_SIZE(most), set);
    if (set) CPU_FREE(set);
    if (n <= 0) n = (int)sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (unsigned)n : 1;
}

unsigned hg_spread_threads(unsigned wanted)
{
    unsigned n = wanted ? wanted : hg_usable_cores();
    return n > HG_SPREAD_MAX ? HG_SPREAD_MAX : n;
}

static void *take(void *arg)
{
    spread *s = arg;
    unsigned who = atomic_fetch_add(&s->arrived, 1);
    for (size_t i; (i = atomic_fetch_add(&s->next, 1)) < s->count;) s->work(s->ctx, i, who);
    return NULL;
}

void hg_spread(unsigned threads, size_t count, hg_spread_fn *work, void *ctx)
{
    pthread_t others[HG_SPREAD_MAX];
    spread s = {.count = count, .work = work, .ctx = ctx};
    size_t wanted = threads < count ? threads : count, started = 0;
    sigset_t all, before;
    if (wanted > HG_SPREAD_MAX) wanted = HG_SPREAD_MAX;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the threads that were there before */
    while (started + 1 < wanted && pthread_create(&others[started], NULL, take, &s) == 0) started++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)take(&s);
    while (started > 0) pthread_join(others[--started], NULL);
}
