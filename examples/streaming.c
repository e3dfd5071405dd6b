/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes an answer as it comes, and stops it cleanly on Ctrl-C.
 *
 *   streaming ORG/NAME[@REV][:FILE] QUESTION
 *
 * The pieces are TEXT events of a job; cancelling the job ends the answer, not the model.
 */
#define _POSIX_C_SOURCE 200809L
#include <hangar/hangar.h>

#include <signal.h>
#include <stdio.h>

static hangar_job *job;

/* hangar_job_cancel may be called from a signal handler. */
static void on_interrupt(int signal_number)
{
    (void)signal_number;
    hangar_job_cancel(job);
}

/* Pieces are whole characters, in order. */
static void on_event(void *ctx, const hangar_event *event)
{
    (void)ctx;
    if (event->kind != HANGAR_EVENT_TEXT) return;
    fputs(event->text, stdout);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    hangar *h = NULL;
    hangar_model *model = NULL;
    hangar_err err = {0};
    if (argc != 3) {
        fprintf(stderr, "usage: streaming ORG/NAME[@REV][:FILE] QUESTION\n");
        return 2;
    }
    job = hangar_job_new(on_event, NULL);
    if (!job) return 1;
    sigaction(SIGINT, &(struct sigaction){.sa_handler = on_interrupt}, NULL);
    const hangar_message turns[] = {{.role = "user", .content = argv[2]}};
    hangar_generate_options options = HANGAR_GENERATE_OPTIONS_INIT;
    options.temperature = 0;
    hangar_code code = hangar_open(NULL, &h, &err);
    if (code == HANGAR_OK) code = hangar_model_load(h, argv[1], job, &model, &err);
    if (code == HANGAR_OK) code = hangar_generate(model, turns, 1, &options, job, NULL, &err);
    putchar('\n');
    if (code == HANGAR_E_CANCELLED) fprintf(stderr, "stopped\n");
    else if (code != HANGAR_OK) fprintf(stderr, "%s: %s\n", hangar_code_name(code), err.msg);
    hangar_model_unload(model);
    hangar_close(h);
    hangar_job_free(job);
    return hangar_code_exit(code);
}
