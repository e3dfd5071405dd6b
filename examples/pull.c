/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pulls a model with a progress callback, and cancels cleanly.
 *
 *   pull ORG/NAME[@REV]             Ctrl-C cancels
 *   pull ORG/NAME[@REV] BYTES       cancels by itself after BYTES
 *
 * What came before a cancel is kept: the next run goes on from there. Ends with the exit code of the `hangar` command
 * (130 when cancelled).
 */
#define _POSIX_C_SOURCE 200809L
#include <hangar/hangar.h>

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static hangar_job *job;

/* hangar_job_cancel may be called from a signal handler. */
static void on_interrupt(int signal_number)
{
    (void)signal_number;
    hangar_job_cancel(job);
}

/* What the callback remembers between events. */
typedef struct progress {
    uint64_t stop_after; /* bytes; 0 = never */
} progress;

/* Events come one at a time; their strings live until this returns. */
static void on_event(void *ctx, const hangar_event *event)
{
    progress *p = ctx;
    switch (event->kind) {
    case HANGAR_EVENT_PHASE: printf("-- %s\n", event->text); break;
    case HANGAR_EVENT_PLAN:
        printf("   %-40s %12" PRIu64 " bytes  %s\n", event->item, event->total, event->text);
        break;
    case HANGAR_EVENT_NOTE: printf("   note: %s\n", event->text); break;
    case HANGAR_EVENT_TOTAL:
        printf("   %" PRIu64 " of %" PRIu64 " bytes", event->done, event->total);
        if (event->rate > 0) printf(", %.1f MB/s", event->rate / 1e6);
        if (event->eta >= 0) printf(", %.0f s left", event->eta);
        putchar('\n');
        if (p->stop_after && event->done >= p->stop_after) hangar_job_cancel(job);
        break;
    case HANGAR_EVENT_ITEM:
        if (event->done == event->total) printf("   %s: done\n", event->item);
        break;
    default: break;
    }
}

/* Opens hangar with the environment's settings and pulls. */
static hangar_code pull(const char *ref, hangar_err *err)
{
    hangar *h = NULL;
    char *result = NULL;
    hangar_code code = hangar_open(NULL, &h, err);
    if (code != HANGAR_OK) return code;
    code = hangar_model_download(h, ref, NULL, job, &result, err);
    if (code == HANGAR_OK) printf("%s\n", result);
    hangar_free(result);
    hangar_close(h);
    return code;
}

int main(int argc, char **argv)
{
    progress p = {0};
    hangar_err err = {0};
    char *end = NULL;
    if (argc == 3) p.stop_after = strtoull(argv[2], &end, 10);
    if (argc < 2 || argc > 3 || (end && (*end || end == argv[2]))) {
        fprintf(stderr, "usage: pull ORG/NAME[@REV] [BYTES]\n");
        return 2;
    }
    job = hangar_job_new(on_event, &p);
    if (!job) return 1;
    struct sigaction action = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &action, NULL);
    hangar_code code = pull(argv[1], &err);
    if (code == HANGAR_E_CANCELLED) fprintf(stderr, "cancelled; run it again to go on\n");
    else if (code != HANGAR_OK) fprintf(stderr, "%s: %s\n", hangar_code_name(code), err.msg);
    hangar_job_free(job);
    return hangar_code_exit(code);
}
