/* SPDX-License-Identifier: Apache-2.0 */
#include "base/job.h"
#include "base/mem.h"
#include "verbs/verb.h"

typedef struct mirror_args {
    const char *dir;
    const char *listen;
} mirror_args;

static const hg_param params[] = {
    {.name = "dir",
     .type = HG_TEXT,
     .at = offsetof(mirror_args, dir),
     .local = true,
     .positional = true,
     .required = true,
     .help = "a folder that holds ORG/NAME/ (branch main) and ORG/NAME@REV/ (other revisions)"},
    {.name = "listen",
     .type = HG_TEXT,
     .at = offsetof(mirror_args, listen),
     .metavar = "ADDR:PORT",
     .def = "127.0.0.1:0",
     .help = "where; port 0 takes any free one"},
    {0}};

static const hg_example examples[] = {{"hangar mirror ./models",
                                       "play a Hub on a free port and print its address"},
                                      {"hangar mirror ./models --listen 127.0.0.1:4711",
                                       "on a port of one's choice"},
                                      {"HF_ENDPOINT=http://127.0.0.1:4711 hangar pull org/name",
                                       "pull from it (so do hf download and @huggingface/hub)"},
                                      {0}};

/* The address is the answer and goes to the standard output, alone on its line; the hint is for people. */
static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    const mirror_args *a = call->args;
    hangar_mirror_options options = HANGAR_MIRROR_OPTIONS_INIT;
    hangar_mirror *mirror = NULL;
    (void)out_json;
    options.listen = a->listen;
    hangar_code code = hangar_mirror_start(a->dir, &options, &mirror, err);
    if (code != HANGAR_OK) return code;
    const char *url = hangar_mirror_url(mirror);
    hg_job_text(call->job, hg_str_of(url));
    hg_job_text(call->job, HG_STR("\n"));
    char *line = hg_format("HF_ENDPOINT=%s hangar pull ORG/NAME pulls from it; Ctrl-C ends it", url);
    if (line) call->say(call->face, line);
    free(line);
    call->wait(call->face);
    hangar_mirror_stop(mirror);
    return HANGAR_OK;
}

const hg_verb hg_verb_mirror = {
    .name = "mirror",
    .group = "Machine",
    .summary = "play a Hugging Face Hub over a folder",
    .about = "Serves the folder's repositories with the Hub's API, so that hangar, hf download and "
             "@huggingface/hub pull from it by "
             "HF_ENDPOINT: listings, revisions, ETags, ranges, LFS redirects. Read only. The first line of "
             "the output is the "
             "address. Ctrl-C or SIGTERM ends it with exit code 0.\n"
             "\n"
             "A revision's commit is a digest of its files: it changes exactly when they do.",
    .examples = examples,
    .params = params,
    .args_size = sizeof(mirror_args),
    .flags = HG_VERB_NO_HANDLE | HG_VERB_STREAMS | HG_VERB_NO_JSON,
    .run = run,
};
