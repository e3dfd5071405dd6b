/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Models of others, over HTTPS: one file and one line in providers.def per dialect. The question is in hangar's own words (manager/ask.h:
 * the members of a "generate" call); a provider turns it into a request of its service and the service's stream into text.
 *
 * All calls run on the loop in one curl multi handle. A key is read from the environment when a call begins, goes into one header of one
 * request to the configured host, and is wiped; redirects are never followed. The system's proxy settings hold.
 */
#ifndef HG_PROVIDER_PROVIDER_H
#define HG_PROVIDER_PROVIDER_H

#include "base/buf.h"
#include "base/json.h"
#include "base/loop.h"

typedef struct hg_cloud hg_cloud;           /* the multi handle on the loop */
typedef struct hg_cloud_call hg_cloud_call; /* one running question */

/* Where a question goes; borrowed for the call's life. */
typedef struct hg_cloud_target {
    const char *name;     /* hangar's name of the model, for messages */
    const char *provider; /* a line of providers.def */
    const char *url;      /* "" = the provider's own */
    const char *model;
    const char *key_env;  /* "" = no key */
    const hg_jval *extra; /* members for the request's body, laid under those of the question; NULL = none */
    double connect_timeout; /* seconds until connected; 0 = 10 */
    double first_timeout;   /* seconds until the first text, thought or tool call; 0 = 60 */
    double stall_timeout;   /* seconds without a byte in mid-stream; 0 = 60 */
} hg_cloud_target;

/* Why a call failed, for who decides about another try. */
typedef enum hg_cloud_fault {
    HG_CLOUD_NONE,
    HG_CLOUD_CONFIG, /* no key, unknown provider, a bad address: before anything was sent; or 404: no such model there */
    HG_CLOUD_REFUSED,  /* no connection: name, address, TLS, refused             */
    HG_CLOUD_TIMEOUT,  /* one of the three timeouts                              */
    HG_CLOUD_RATE,     /* 429; retry_after is what the service said, or negative */
    HG_CLOUD_SERVER,   /* 5xx, 529, or an error event in the stream              */
    HG_CLOUD_KEY,      /* 401, 402, 403                                          */
    HG_CLOUD_TOO_LONG, /* the question is longer than the model reads           */
    HG_CLOUD_CLIENT,   /* any other 4xx: the question itself is wrong            */
    HG_CLOUD_BROKEN,   /* a stream that ended early or is none                   */
    HG_CLOUD_CANCELLED,
} hg_cloud_fault;

/* How a good answer ended. Strings are borrowed. */
typedef struct hg_cloud_end {
    const char *finish;                      /* "stop", "length", "tool_calls", "content_filter" */
    int64_t prompt_tokens, generated_tokens; /* -1 = not told */
} hg_cloud_end;

typedef struct hg_cloud_fns {
    /* A piece of text as a JSON string literal with its quotes, valid UTF-8. */
    void (*text)(void *ctx, hg_str literal);
    /* A whole tool call; arguments is the text of a JSON object. id "" = none was given. */
    void (*tool)(void *ctx, const char *id, const char *name, hg_str arguments);
    /* Exactly once, the last; the call is freed by itself then. fault NONE: end is set, err NULL. Else err says in one line what went wrong, without the
     * key. */
    void (*end)(void *ctx, hg_cloud_fault fault, double retry_after, const hg_cloud_end *end,
                const hangar_err *err);
} hg_cloud_fns;

hangar_code hg_cloud_new(hg_loop *loop, hg_cloud **out, hangar_err *err);
/* Cancels what runs, without calling back. Not inside a callback. NULL is fine. */
void hg_cloud_free(hg_cloud *c);
/*
 * Begins; `ask` is read before this returns. begun: text of the answer that is out already and is to be gone on with, "" = none; only
 * for a provider that can (hg_cloud_continues). `end` is never called before this returns. USAGE when the question holds what this provider cannot do.
 */
hangar_code hg_cloud_start(hg_cloud *c, const hg_cloud_target *target, const hg_jval *ask, hg_str begun,
                           const hg_cloud_fns *fns, void *ctx, hg_cloud_call **out, hangar_err *err);
/* Ends it; no callback comes any more, and the call is freed. Also inside its own callbacks, but not after `end`. NULL is fine. */
void hg_cloud_cancel(hg_cloud_call *call);
/* True when the provider goes on with an answer that has begun (prefill of the assistant's turn). */
bool hg_cloud_continues(const char *provider, const char *model);
/* NULL-terminated names of providers.def. */
const char *const *hg_cloud_providers(void);

#endif
