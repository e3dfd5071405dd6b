/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that stand on models: those of `programs` in the configuration are started in order, each when its models are ready and the one before
 * it runs, and are kept running (docs/verbs/up.md).
 */
#ifndef HANGAR_PROGRAMS_H
#define HANGAR_PROGRAMS_H

#include "hangar/hangar.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hangar_programs_options {
    size_t size;
    const char *
        daemon; /* path of the hangar program, started as `hangar serve` when no daemon runs; NULL = none is started */
    double grace; /* seconds that each may take to end before it is killed; 0 = 10 */
    bool signals; /* SIGINT, SIGTERM and SIGHUP are taken over for as long as this runs, and passed on */
} hangar_programs_options;
#define HANGAR_PROGRAMS_OPTIONS_INIT            \
    {                                           \
        .size = sizeof(hangar_programs_options) \
    }

/*
 * Runs until all have ended well, one cannot be kept running, or it is asked to end: a cancel of the job, SIGINT, SIGTERM. Then all are ended in
 * reverse order; the second signal kills them. None is left, whatever happens to this process. Events: TEXT, whole lines of their output as "NAME | LINE";
 * NOTE for each that starts, ends, is started again.
 * Errors: INVALID (the configuration, with its line), NOT_FOUND (there are no programs, or a command is not there), FAILED (one that is not to be
 * started again), ENGINE (a model that the daemon has given up). To be asked to end is OK.
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_programs_run(hangar *h,
                                                             const hangar_programs_options *options,
                                                             hangar_job *job, hangar_err *err);

#ifdef __cplusplus
}
#endif
#endif
