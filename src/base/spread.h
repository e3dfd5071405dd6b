/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work that is spread over the cores for a moment: threads are started for it and joined. For sums that take milliseconds and more; what must not wait
 * for them goes to the loop (base/loop.h).
 */
#ifndef HG_BASE_SPREAD_H
#define HG_BASE_SPREAD_H

#include <stddef.h>

#define HG_SPREAD_MAX 64 /* threads at most */

/* `who` is below the number of threads and belongs to one thread for the whole call: what it needs for itself is kept by that number. */
typedef void hg_spread_fn(void *ctx, size_t item, unsigned who);

/* Processors that this process may run on; at least 1. */
unsigned hg_usable_cores(void);

/* Threads to be used where up to `wanted` are allowed: 0 = one for each core that this process may run on. 1 to HG_SPREAD_MAX. */
unsigned hg_spread_threads(unsigned wanted);

/*
 * work(ctx, item, who) once for each item below `count`, in any order, on `threads` threads (as hg_spread_threads gives them) of which the caller's is one. Returns
 * when all are done. A thread that cannot be started is missing, no more.
 */
void hg_spread(unsigned threads, size_t count, hg_spread_fn *work, void *ctx);

#endif
