/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/verb.h"
#include "verbs/words.h"

typedef struct load_args {
    const char *ref;
    bool pin;
    const char *keep_alive;
} load_args;

static const hg_param params[] = {
    {.name = "ref",
     .type = HG_TEXT,
     .at = offsetof(load_args, ref),
     .positional = true,
     .required = true,
     .metavar = "MODEL",
     .help = "a model of the configuration, or ORG/NAME[@REV][:FILE]"},
    {.name = "pin",
     .type = HG_FLAG,
     .at = offsetof(load_args, pin),
     .help = "for good: it is not unloaded when idle, and loaded again when it dies"},
    {.name = "keep-alive",
     .type = HG_TEXT,
     .at = offsetof(load_args, keep_alive),
     .metavar = "TIME",
     .help = "how long it stays when nobody asks it (10m), or never; when left out: as configured"},
    {0}};

static const hg_example examples[] = {{"hangar load org/name", "bring a model into the daemon's memory"},
                                      {"hangar load helper --pin", "and keep it there"},
                                      {0}};

static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    const load_args *a = call->args;
    hangar_load_options options = HANGAR_LOAD_OPTIONS_INIT;
    options.pinned = a->pin;
    options.keeps = a->keep_alive != NULL;
    if (hg_streq(a->keep_alive, "never")) options.keep_alive = -1;
    else if (a->keep_alive && !hg_duration_parse(hg_str_of(a->keep_alive), &options.keep_alive))
        return hg_fail(err, HANGAR_E_USAGE, "--keep-alive needs a time such as 30s or 5m, or never, not '%s'",
                       a->keep_alive);
    return hangar_daemon_load(call->h, a->ref, &options, call->job, out_json, err);
}

static void show(const hg_jval *r, hg_view *view)
{
    const hg_jval *m = hg_json_at(hg_json_get(r, "models"), 0);
    hg_words w, t;
    hg_view_line(view, HG_GOOD, "✓ %s is in memory", hg_json_text_or(hg_json_get(r, "name"), "?"));
    if (!m) return;
    hg_view_field(view, "task", hg_json_text(hg_json_get(m, "task")));
    hg_view_field(view, "memory", hg_size_words(&w, hg_json_get(m, "memory")));
    hg_view_field(view, "loaded in", hg_seconds_words(&t, hg_json_get(m, "load_seconds")));
}

const hg_verb hg_verb_load = {
    .name = "load",
    .group = "Serve",
    .summary = "bring a model into the daemon's memory",
    .about = "Ends when the model is loaded and has answered once. One that was given up after failures is "
             "tried anew.",
    .examples = examples,
    .params = params,
    .args_size = sizeof(load_args),
    .flags = HG_VERB_PROGRESS,
    .run = run,
    .show = show,
};
