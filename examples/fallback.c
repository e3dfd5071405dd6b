/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks a model by name; when it fails, the next of its chain answers.
 *
 *   fallback NAME QUESTION
 *
 * The chain is in the configuration (docs/formats/config.md), for example
 *
 *   models:
 *     list:
 *       helper:
 *         provider: anthropic
 *         model: claude-3-7-sonnet-20250219
 *         api_key_env: ANTHROPIC_API_KEY
 *         fallback: [small]
 *       small:
 *         ref: hangar-labs/tiny-chat-gguf
 *
 * Then `fallback helper "..."` is answered by `small` when there is no key, no network, or no answer in time. What may be asked of whom, and when
 * another goes on in the midst of a text, is docs/formats/fallback.md.
 */
#include <hangar/hangar.h>

#include <stdio.h>

/* The answer as it comes; a NOTE says that another answers, and for whom. */
static void on_event(void *ctx, const hangar_event *event)
{
    (void)ctx;
    if (event->kind == HANGAR_EVENT_NOTE) fprintf(stderr, "(%s)\n", event->text);
    if (event->kind != HANGAR_EVENT_TEXT) return;
    fputs(event->text, stdout);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    hangar *h = NULL;
    hangar_err err = {0};
    char *report = NULL;
    if (argc != 3) {
        fprintf(stderr, "usage: fallback NAME QUESTION\n");
        return 2;
    }
    hangar_job *job = hangar_job_new(on_event, NULL);
    if (!job) return 1;
    const hangar_message turns[] = {{.role = "user", .content = argv[2]}};
    hangar_generate_options options = HANGAR_GENERATE_OPTIONS_INIT;
    options.temperature = 0;
    hangar_code code = hangar_open(NULL, &h, &err);
    if (code == HANGAR_OK) code = hangar_ask(h, argv[1], turns, 1, &options, job, &report, &err);
    putchar('\n');
    if (code == HANGAR_OK) fprintf(stderr, "%s\n", report);
    else fprintf(stderr, "%s: %s\n", hangar_code_name(code), err.msg);
    hangar_free(report);
    hangar_close(h);
    hangar_job_free(job);
    return hangar_code_exit(code);
}
