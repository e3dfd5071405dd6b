/* SPDX-License-Identifier: Apache-2.0 */
/* What the two ways of speaking to a runner share: engine/runner.c waits on a thread, engine/line.c on the loop. */
#ifndef HG_ENGINE_RUNNER_INNER_H
#define HG_ENGINE_RUNNER_INNER_H

#include "base/proc.h"
#include "engine/runner.h"

#define HG_CANCEL_GRACE 3.0 /* seconds a cancelled call may go on */

typedef enum hg_runner_state {
    HG_RUNNER_STARTING,
    HG_RUNNER_LOADING,
    HG_RUNNER_READY,
    HG_RUNNER_BUSY,
    HG_RUNNER_ENDED,
} hg_runner_state;

struct hg_runner {
    const hg_engine *engine;
    hg_runner_options options;
    hg_proc *proc; /* NULL once ended */
    hg_runner_state state;
    hangar_err why; /* how it ended, when it broke the rules in a call that waited */
};

void hg_runner_move(hg_runner *r, hg_runner_state state);

/* The child of a runner that broke the rules, taken from it so that it can be ended on any thread while the runner is freed. */
typedef struct hg_runner_last {
    hg_proc *proc;
    const char *name, *doing;
} hg_runner_last;
/* The runner is ENDED from here on. */
void hg_runner_take(hg_runner *r, hg_runner_last *out);
/*
 * Ends the child and says in one line what was wrong: `code` and `why` are what the wire said (ENGINE = it is gone, TIMEOUT, INVALID, ...). Waits up
 * to a second for the exit that belongs to a closed socket. Returns ENGINE, or NO_MEMORY when it was that.
 */
hangar_code hg_runner_bury(hg_runner_last *last, hangar_code code, const hangar_err *why, hangar_err *err);

#endif
