/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/slots.h"
#include "verbs/verb.h"

typedef struct ps_args {
    char none;
} ps_args;

static const hg_param params[] = {{0}};

static const hg_example examples[] = {{"hangar ps", "the models that the daemon holds, with their memory"},
                                      {"hangar ps --json", "the same for programs"},
                                      {0}};

static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    return hangar_daemon_ps(call->h, out_json, err);
}

const hg_verb hg_verb_ps = {
    .name = "ps",
    .group = "Serve",
    .summary = "list the models in the daemon's memory",
    .about = "Asks the running daemon which models it holds or is loading, what state each is in, how much "
             "memory it takes, "
             "and when it leaves when nobody asks it.",
    .examples = examples,
    .params = params,
    .args_size = sizeof(ps_args),
    .run = run,
    .show = hg_slots_show,
};
