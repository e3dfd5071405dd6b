/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/verb.h"

typedef struct unload_args {
    const char *ref;
    bool now;
} unload_args;

static const hg_param params[] = {{.name = "ref",
                                   .type = HG_TEXT,
                                   .at = offsetof(unload_args, ref),
                                   .positional = true,
                                   .required = true,
                                   .metavar = "MODEL",
                                   .help = "a model that is in memory (hangar ps)"},
                                  {.name = "now",
                                   .type = HG_FLAG,
                                   .at = offsetof(unload_args, now),
                                   .help = "do not wait for the answer that it is giving"},
                                  {0}};

static const hg_example examples[] = {{"hangar unload org/name", "take a model out of the daemon's memory"},
                                      {"hangar unload org/name --now", "at once, whatever it is doing"},
                                      {0}};

static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    const unload_args *a = call->args;
    return hangar_daemon_unload(call->h, a->ref, a->now, call->job, out_json, err);
}

static void show(const hg_jval *r, hg_view *view)
{
    hg_view_line(view, HG_GOOD, "✓ %s is out of memory", hg_json_text_or(hg_json_get(r, "name"), "?"));
}

const hg_verb hg_verb_unload = {
    .name = "unload",
    .group = "Serve",
    .summary = "take a model out of the daemon's memory",
    .about =
        "Ends when its process is gone and the memory is back. It is loaded again when somebody asks it.",
    .examples = examples,
    .params = params,
    .args_size = sizeof(unload_args),
    .run = run,
    .show = show,
};
