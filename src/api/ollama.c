/* SPDX-License-Identifier: Apache-2.0 */
/* Ollama's routes that ask a model, load it or let it go. What they read and write: ollama_read.c, ollama_shape.c. */
#include "api/dialect.h"
#include "base/clock.h"
#include "base/mem.h"
#include "format/generate.h"

/* ---- loading and unloading, asked for by a request without a question ---- */

typedef struct loading {
    hg_req *r; /* NULL = the client has gone; the load goes on */
    hg_shape *shape;
    bool chat, streams, unload;
} loading;

static void gone(void *ctx)
{
    loading *l = ctx;
    l->r = NULL;
}

static void reply_done(const loading *l)
{
    hg_buf out;
    hg_buf_init(&out, HG_MIB);
    hg_ollama_put_done(l->shape, l->chat, l->unload ? "unload" : "load", &out);
    hg_reply_header(l->r, "x-hangar-model", l->shape->model);
    if (l->streams) {
        hg_buf_putc(&out, '\n');
        hg_reply_bytes(l->r, 200, "application/x-ndjson", hg_buf_view(&out));
        hg_buf_deinit(&out);
    } else {
        hg_reply_json(l->r, 200, hg_buf_take(&out));
    }
}

static void loaded(void *ctx, hg_slot *slot, hangar_code code, const hangar_err *err)
{
    loading *l = ctx;
    (void)slot;
    if (l->unload && code == HANGAR_E_NOT_FOUND) code = HANGAR_OK; /* it was not in memory */
    if (l->r && code == HANGAR_OK) reply_done(l);
    else if (l->r) hg_reply_error(l->r, err, -1);
    free(l);
}

/* Takes l. */
static void load(loading *l, const hg_ask_spec *spec)
{
    const hg_host *host = hg_req_host(l->r);
    const hg_entry *entry = NULL;
    hangar_err err = {0};
    hangar_code code = hg_catalog_find(host->catalog, spec->model, &entry, &err);
    if (code == HANGAR_OK && host->stopping) code = hg_fail(&err, HANGAR_E_OVERLOADED, "hangar is stopping");
    if (code == HANGAR_OK) {
        const hg_ask_head head = {.asked = spec->model, .model = entry->name};
        code = hg_shape_head(l->shape, &head, &err);
    }
    if (code == HANGAR_OK && entry->kind == HG_ENTRY_LOCAL) {
        hg_req_on_gone(l->r, gone, l);
        code = l->unload ? hg_pool_unload(host->pool, entry, false, loaded, l, &err)
                         : hg_pool_load(host->pool, entry, false, spec->keep_alive, loaded, l, &err);
        if (code == HANGAR_OK) return;
        hg_req_on_gone(l->r, NULL, NULL);
    }
    loaded(l, NULL, code, &err); /* a model in the cloud is always there */
}

typedef hangar_code read_fn(const hg_jval *body, hg_ask_spec *spec, hg_shape *f, hg_ollama_want *want,
                            hangar_err *err);

static void ask(hg_req *r, bool chat, read_fn *read, const hg_shape_fns *fns)
{
    hangar_err err = {0};
    hg_ask_spec spec = {.file = -1};
    hg_ollama_want want = HG_OLLAMA_ASK;
    hg_shape *f = hg_answer_shape(r, fns);
    if (!f) return;
    hangar_code code = read(hg_req_json(r), &spec, f, &want, &err);
    if (code != HANGAR_OK || want == HG_OLLAMA_ASK) {
        hg_answer_ask(r, f, &spec, code, &err);
        return;
    }
    loading *l = hg_calloc(1, sizeof *l);
    if (!l) {
        hg_fail_memory(&err);
        hg_reply_error(r, &err, -1);
        return;
    }
    *l = (loading){
        .r = r, .shape = f, .chat = chat, .streams = spec.streams, .unload = want == HG_OLLAMA_UNLOAD};
    load(l, &spec);
}

static void generate(hg_req *r)
{
    ask(r, false, hg_ollama_generate_read, &hg_shape_ollama_generate);
}

static void chat(hg_req *r)
{
    ask(r, true, hg_ollama_chat_read, &hg_shape_ollama_chat);
}

/* ---- vectors ---- */

static void embed(hg_req *r)
{
    hangar_err err = {0};
    hg_ask_spec spec = {.file = -1};
    hg_shape *f = hg_answer_shape(r, &hg_shape_ollama_embed);
    if (!f) return;
    hangar_code code = hg_ollama_embed_read(hg_req_json(r), &spec, f, &err);
    hg_answer_ask(r, f, &spec, code, &err);
}

static void embeddings(hg_req *r)
{
    hangar_err err = {0};
    hg_ask_spec spec = {.file = -1};
    hg_shape *f = hg_answer_shape(r, &hg_shape_ollama_embed);
    if (!f) return;
    hangar_code code = hg_ollama_embeddings_read(hg_req_json(r), &spec, f, &err);
    hg_answer_ask(r, f, &spec, code, &err);
}

/* ---- the rest ---- */

static void version(hg_req *r)
{
    hg_reply_json(r, 200, hg_format("{\"version\":\"%s\"}", HANGAR_VERSION));
}

static void alive(hg_req *r)
{
    hg_reply_bytes(r, 200, "text/plain; charset=utf-8", HG_STR("hangar is here\n"));
}

/* ---- the tables ---- */

#define ASKED_FIELDS                                                                                         \
    HG_FIELD("options", 'o',                                                                                 \
             "temperature, top_k, top_p, min_p, repeat_penalty, seed, num_predict, num_ctx, stop and more"), \
        HG_FIELD("format", '*', "\"json\", or a JSON Schema"),                                               \
        HG_FIELD("stream", 'b', "true when left out: a line of JSON per piece"),                             \
        HG_FIELD("logprobs", 'b', "tell how likely each token was"),                                         \
        HG_FIELD_RANGE("top_logprobs", 'i', 0, HG_GENERATE_LOGPROBS_MAX, "and how many others"),             \
        HG_FIELD_KEEP_ALIVE

static const hg_field generate_fields[] = {
    HG_FIELD_MODEL,
    HG_FIELD("prompt", 's', "what to answer; without one the model is loaded, or with keep_alive 0 let go"),
    HG_FIELD("system", 's', "a message of the system before it"),
    HG_FIELD("raw", 'b', "the prompt as it is, without the model's chat template"),
    ASKED_FIELDS,
    {0}};

static const hg_field chat_fields[] = {
    HG_FIELD_MODEL,
    HG_FIELD("messages", 'a',
             "the conversation; without one the model is loaded, or with keep_alive 0 let go"),
    HG_FIELD("tools", 'a', "functions that the model may call"),
    ASKED_FIELDS,
    {0}};

static const hg_field embed_fields[] = {HG_FIELD_MODEL,
                                        HG_FIELD("input", '*', "a text, or a list of texts"),
                                        HG_FIELD("truncate", 'b',
                                                 "false: a text over the model's limit is an error"),
                                        HG_FIELD("dimensions", 'i', "the model's own number alone"),
                                        HG_FIELD_KEEP_ALIVE,
                                        {0}};

static const hg_field embeddings_fields[] = {HG_FIELD_MODEL,
                                             HG_FIELD("prompt", 's', "a text"),
                                             HG_FIELD_KEEP_ALIVE,
                                             {0}};

#define ASKS(at, table, how, what, call)                                                     \
    {                                                                                        \
        .method = "POST", .path = at, .dialect = HG_DIALECT_OLLAMA, .scope = HG_SCOPE_INFER, \
        .body = HG_BODY_JSON, .fields = table, .streams = how, .summary = what, .fn = call   \
    }
#define OPEN(at, what, call)                                                                                \
    {                                                                                                       \
        .method = "GET", .path = at, .dialect = HG_DIALECT_OLLAMA, .scope = HG_SCOPE_OPEN, .summary = what, \
        .fn = call                                                                                          \
    }

const hg_endpoint hg_endpoints_ollama[] = {
    ASKS("/api/generate", generate_fields, "application/x-ndjson", "answer a prompt", generate),
    ASKS("/api/chat", chat_fields, "application/x-ndjson", "answer a conversation", chat),
    ASKS("/api/embed", embed_fields, NULL, "turn texts into vectors", embed),
    ASKS("/api/embeddings", embeddings_fields, NULL, "turn one text into a vector, as older clients ask",
         embeddings),
    OPEN("/api/version", "which hangar this is", version),
    OPEN("/", "whether anybody is here", alive),
    {0}};
