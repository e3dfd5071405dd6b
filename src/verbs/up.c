/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/verb.h"

#include <errno.h>
#include <unistd.h>

typedef struct up_args {
    double grace;
    bool no_daemon;
} up_args;

static const hg_param params[] = {
    {.name = "grace",
     .type = HG_DURATION,
     .at = offsetof(up_args, grace),
     .def = "10s",
     .min = 0.001,
     .max = 86400,
     .help = "how long each program may take to end"},
    {.name = "external-daemon",
     .type = HG_FLAG,
     .at = offsetof(up_args, no_daemon),
     .help = "wait for a daemon that somebody else starts, instead of starting one"},
    {0}};

static const hg_example examples[] = {{"hangar up",
                                       "start the programs of the configuration, and keep them running"},
                                      {"hangar up --external-daemon", "beside a daemon that systemd starts"},
                                      {0}};

static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    const up_args *a = call->args;
    char self[4096];
    hangar_programs_options options = HANGAR_PROGRAMS_OPTIONS_INIT;
    (void)out_json;
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0 || (size_t)n >= sizeof self - 1)
        return hg_fail_errno(err, n < 0 ? errno : ENAMETOOLONG, "/proc/self/exe");
    self[n] = '\0';
    options.daemon = a->no_daemon ? NULL : self;
    options.grace = a->grace;
    options.signals = true;
    return hangar_programs_run(call->h, &options, call->job, err);
}

const hg_verb hg_verb_up = {
    .name = "up",
    .group = "Serve",
    .summary = "start the configured programs, each when its models are ready",
    .about = "Starts the programs of `programs` in the configuration in order: each when its models are "
             "ready and the one "
             "above it runs. `hangar serve` is started first when no daemon runs. A program that ends is "
             "started again, or ends "
             "all, as it is configured. Their output comes with their names before each line.\n"
             "\n"
             "Ctrl-C and SIGTERM are passed on and end all in reverse order, the second one at once; SIGHUP "
             "is passed on. "
             "However this command ends, none of its programs is left.",
    .examples = examples,
    .params = params,
    .args_size = sizeof(up_args),
    .flags = HG_VERB_STREAMS | HG_VERB_NO_JSON,
    .run = run,
};
