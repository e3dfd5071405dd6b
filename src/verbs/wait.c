/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/verb.h"
#include "verbs/words.h"

typedef struct wait_args {
    const char **models;
    double timeout;
    bool or_load;
    const char **command;
} wait_args;

static const hg_param params[] = {
    {.name = "model",
     .type = HG_TEXTS,
     .at = offsetof(wait_args, models),
     .positional = true,
     .required = true,
     .help = "what has to be ready; several are waited for together"},
    {.name = "timeout",
     .type = HG_DURATION,
     .at = offsetof(wait_args, timeout),
     .def = "180s",
     .min = 0.001,
     .max = 31536000,
     .help = "give up after so long"},
    {.name = "or-load",
     .type = HG_FLAG,
     .at = offsetof(wait_args, or_load),
     .help = "without a daemon, or when the time is over: see that the model loads here, and go on"},
    {.name = "command",
     .type = HG_REST,
     .at = offsetof(wait_args, command),
     .positional = true,
     .local = true,
     .help = "a program and its arguments, which takes this one's place then"},
    {0}};

static const hg_example examples[] = {{"hangar wait helper -- node server.js",
                                       "start a program when the daemon holds its model"},
                                      {"hangar wait org/name --timeout 5m --or-load",
                                       "exit code 0 when the model can be used"},
                                      {0}};

static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    const wait_args *a = call->args;
    hangar_wait_options options = HANGAR_WAIT_OPTIONS_INIT;
    options.timeout = a->timeout;
    options.or_load = a->or_load;
    hangar_code code = hangar_daemon_wait(call->h, a->models, &options, call->job, out_json, err);
    if (code != HANGAR_OK || !a->command) return code;
    if (!call->become)
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "there is no process that could become a COMMAND");
    return call->become(call->face, a->command, err);
}

static void show(const hg_jval *r, hg_view *view)
{
    hg_words w;
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(r, "models")); hg_json_next(&it);) {
        const char *by = hg_json_text_or(hg_json_get(it.val, "by"), "?");
        hg_view_line(view, HG_GOOD, "✓ %s %s, after %s", hg_json_text_or(hg_json_get(it.val, "name"), "?"),
                     hg_streq(by, "here")    ? "loads here"
                     : hg_streq(by, "cloud") ? "is in the cloud"
                                             : "is ready",
                     hg_seconds_words(&w, hg_json_get(it.val, "seconds")));
    }
}

const hg_verb hg_verb_wait = {
    .name = "wait",
    .group = "Serve",
    .summary = "wait until models are ready, then start a program",
    .about = "Asks the daemon until it holds each of the models ready. The daemon may come later than this "
             "command. With a "
             "COMMAND that program takes this one's place (the same process), so that a supervisor sees it; "
             "without one the "
             "exit code is the answer.\n"
             "\n"
             "--or-load is for machines without a daemon: the model is loaded here once, to see that it can "
             "be used, and let go.",
    .examples = examples,
    .params = params,
    .args_size = sizeof(wait_args),
    .flags = HG_VERB_PROGRESS,
    .run = run,
    .show = show,
};
