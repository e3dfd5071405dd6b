/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking a model by name, with everything that stands behind the name: the line for its slot, the load, the chain of others that
 * answer when it fails, retries, breakers, deadlines. What the client sees is docs/formats/fallback.md. Loop's thread.
 *
 * The question of HG_ASK_GENERATE is a document in hangar's own words, which are those of a "generate" call (engine/llama_ops.h): "messages"
 * (roles system, user, assistant, tool; an assistant's "tool_calls":[{"id","type":"function","function":{"name","arguments":{}}}]; a tool's
 * "tool_call_id") or "prompt" (as it is); temperature, top_p, min_p, top_k, repeat_penalty, max_tokens, seed, stop, grammar, json_schema (text),
 * "json": true (any JSON object), "tools":[{"type":"function","function":{"name","description","parameters"}}], "tool_choice": "auto" | "none" |
 * "required" | {"name"}, "logprobs": 0..20, "context". Without max_tokens an answer goes on as far as the context does. Dialects translate into it, providers out of it.
 */
#ifndef HG_MANAGER_ASK_H
#define HG_MANAGER_ASK_H

#include "manager/pool.h"
#include "provider/provider.h"

typedef struct hg_ask hg_ask;

/* What a serving hangar is made of. Made by the daemon; everybody on the loop may look into it. */
typedef struct hg_host {
    hangar *h;
    hg_loop *loop;
    hg_catalog *catalog;
    hg_why *why;
    hg_pool *pool;
    hg_cloud *cloud;
    struct hg_breakers *breakers; /* manager/breaker.h */
    struct hg_jobs *jobs;         /* verbs at work: api/jobs.h */
    const hg_entry *const
        *preload;    /* NULL-terminated: what must answer before all is ready; NULL = nothing */
    int64_t started; /* unix seconds */
    bool stopping;   /* no new questions: 503 */
} hg_host;

typedef enum hg_ask_kind {
    HG_ASK_GENERATE,   /* pieces, then a document */
    HG_ASK_EMBED,      /* {"input":[texts]} -> the document of hangar_embed           */
    HG_ASK_CLASSIFY,   /* {"input":[texts],"top"} -> the document of hangar_classify  */
    HG_ASK_TRANSCRIBE, /* {"language","task","timestamps","beams"} and a file -> the document of hangar_transcribe; its pieces are text */
} hg_ask_kind;

typedef struct hg_ask_spec {
    hg_ask_kind kind;
    const char *model; /* as the client named it */
    hg_json *doc;      /* taken in any case */
    int file;          /* of TRANSCRIBE: a descriptor, taken in any case; -1 = none */
    double keep_alive; /* NAN = as configured; else seconds, negative = for ever */
    bool
        spliceable; /* streams, and is no tool call or JSON answer: may be gone on with by another in mid-text */
    bool
        streams; /* pieces are passed on as they come; else nothing is out before the end, so that any failure may fall back */
} hg_ask_spec;

/* Who answers. Strings are borrowed. */
typedef struct hg_ask_head {
    const char *asked; /* the name that the client gave */
    const char *model; /* who answers */
    bool fell_back;
    double load_seconds; /* 0 when it was loaded already */
} hg_ask_head;

typedef struct hg_ask_end {
    const char *finish; /* "stop", "length", "tool_calls", "content_filter" */
    int64_t prompt_tokens, prompt_reused, generated_tokens; /* -1 = not known */
    double prompt_seconds, generate_seconds, load_seconds, total_seconds;
    const hg_jval *
        doc; /* of the other kinds: the document; of GENERATE by a local model the runner's DONE, else NULL */
} hg_ask_end;

typedef struct hg_ask_fns {
    /* Before the first piece or the end; again when another goes on in mid-text. */
    void (*head)(void *ctx, const hg_ask_head *head);
    /* A JSON string literal with its quotes, ready to be put into another document. */
    void (*text)(void *ctx, hg_str literal, const hg_jval *logprobs);
    void (*tool)(void *ctx, const char *id, const char *name, hg_str arguments);
    void (*end)(void *ctx, const hg_ask_end *end);
    /* Instead of end. begun: text is out already. retry_after in seconds, negative = not known. */
    void (*fail)(void *ctx, const hangar_err *err, bool begun, double retry_after);
} hg_ask_fns;

/*
 * Begins. Callbacks come later, never before this returns; end or fail exactly once, and the ask is freed by itself. Errors at once: NOT_FOUND (no
 * such model), USAGE, UNSUPPORTED (a cloud model asked for what only local ones do), NO_MEMORY.
 */
hangar_code hg_ask_start(hg_host *host, const hg_ask_spec *spec, const hg_ask_fns *fns, void *ctx,
                         hg_ask **out, hangar_err *err);
/* The client is gone: ends the generation; no callback comes any more. */
void hg_ask_cancel(hg_ask *ask);

#endif
