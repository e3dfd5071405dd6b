/* SPDX-License-Identifier: Apache-2.0 */
#include "base/job.h"
#include "base/mem.h"
#include "verbs/verb.h"

typedef struct serve_args {
    const char *listen, *socket, *status_file;
    const char **preload;
    double grace;
} serve_args;

static const hg_param params[] = {
    {.name = "listen",
     .type = HG_TEXT,
     .at = offsetof(serve_args, listen),
     .metavar = "ADDR:PORT",
     .help =
         "where (127.0.0.1:4264 unless the settings say otherwise); port 0 takes any free one, \"\" none"},
    {.name = "socket",
     .type = HG_TEXT,
     .at = offsetof(serve_args, socket),
     .metavar = "PATH",
     .help = "the unix socket for this machine's own programs; \"\" = none"},
    {.name = "preload",
     .type = HG_TEXTS,
     .at = offsetof(serve_args, preload),
     .metavar = "REF",
     .help = "load this model first and keep it; may be given again"},
    {.name = "status-file",
     .type = HG_TEXT,
     .at = offsetof(serve_args, status_file),
     .metavar = "PATH",
     .help = "a JSON file that tells at any moment how far it is"},
    {.name = "grace",
     .type = HG_DURATION,
     .at = offsetof(serve_args, grace),
     .def = "10s",
     .help = "how long running answers may go on when it is asked to end"},
    {0}};

static const hg_example examples[] = {
    {"hangar serve --preload hangar-labs/tiny-chat-gguf", "load a model, then answer; Ctrl-C ends it"},
    {"hangar wait hangar-labs/tiny-chat-gguf -- ./api", "start a program when the model is ready"},
    {"curl http://127.0.0.1:4264/health", "how it is"},
    {"OPENAI_BASE_URL=http://127.0.0.1:4264/v1 OPENAI_API_KEY=none ./app", "any OpenAI client"},
    {"OLLAMA_HOST=127.0.0.1:4264 ./app", "any Ollama client"},
    {0}};

/* The address is the answer and goes to the standard output, alone on its line; what happens later is for people. */
static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    const serve_args *a = call->args;
    hangar_serve_options options = HANGAR_SERVE_OPTIONS_INIT;
    hangar_server *server = NULL;
    (void)out_json;
    options.listen = a->listen;
    options.socket = a->socket;
    options.status_file = a->status_file;
    options.preload = a->preload;
    hangar_code code = hangar_serve_start(call->h, &options, call->job, &server, err);
    if (code != HANGAR_OK) return code;
    hg_job_text(call->job, hg_str_of(hangar_serve_url(server)));
    hg_job_text(call->job, HG_STR("\n"));
    call->wait(call->face);
    hangar_serve_stop(server, a->grace);
    return HANGAR_OK;
}

const hg_verb hg_verb_serve = {
    .name = "serve",
    .group = "Serve",
    .summary = "hold models warm and answer over HTTP",
    .about = "Loads the models of --preload and models.preload first, each into a process of its own, and "
             "answers requests in the dialects of "
             "OpenAI (/v1) and Ollama (/api) and in its own (/hangar/v1, /openapi.json). Other models are "
             "loaded when somebody asks for them "
             "and leave when they are idle or the memory is needed. A model that fails is replaced by the "
             "next of its chain.\n"
             "\n"
             "The first line of the output is the address; what happens is told on the standard error. "
             "/health, /ready and /metrics tell "
             "how it is, `hangar ps`, `hangar top` and `hangar why`, too. An address that is not loopback "
             "needs keys (`hangar key "
             "create`).\n"
             "\n"
             "The first Ctrl-C or SIGTERM ends it when the running answers are out, or after --grace; the "
             "second at once.",
    .examples = examples,
    .params = params,
    .args_size = sizeof(serve_args),
    .flags = HG_VERB_STREAMS | HG_VERB_NO_JSON,
    .run = run,
};
