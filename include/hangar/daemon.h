/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Speaking to a daemon that runs on this machine (`hangar serve`, hangar/serve.h), over its unix socket (serve.socket). Each call is one HTTP request;
 * the calling thread waits for its end. NETWORK, in one line, when no daemon listens. A failure that the daemon tells of has the daemon's code and words.
 */
#ifndef HANGAR_DAEMON_H
#define HANGAR_DAEMON_H

#include "hangar/hangar.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Whether one listens there now. */
HANGAR_API bool hangar_daemon_running(hangar *h);

/*
 * Any request. path: "/hangar/v1/..." with its query; body: JSON text, NULL = none. With a body and a job the daemon's events come as events of the
 * job; without a job only the end counts. out_json (may be NULL) is the answer's document: of a failure the report that came with it, or NULL.
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_daemon_request(hangar *h, const char *method,
                                                               const char *path, const char *body,
                                                               hangar_job *job, char **out_json,
                                                               hangar_err *err);

/*
 * The models in memory: {"models":[{"name","state","ref","loader","task","memory","pinned","wanted","idle_seconds","expires_in","progress","phase",
 * "error","waiting","uses","restarts","pid","load_seconds","loaded_at","probed_at"}],"memory":{"budget","used"}}. state: "loading", "ready", "busy",
 * "ending", "failed", "quarantined". null is what is not known; expires_in null is never.
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_daemon_ps(hangar *h, char **out_json, hangar_err *err);

typedef struct hangar_load_options {
    size_t size;
    bool pinned;       /* for good: not unloaded when idle, loaded again when it dies */
    bool keeps;        /* keep_alive is set */
    double keep_alive; /* seconds idle until it is unloaded; negative = never */
} hangar_load_options;
#define HANGAR_LOAD_OPTIONS_INIT            \
    {                                       \
        .size = sizeof(hangar_load_options) \
    }

/* Brings a model into the daemon's memory; returns when it is there. out_json: {"name","models":[as of hangar_daemon_ps]}. Events: PHASE, TOTAL. */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_daemon_load(hangar *h, const char *model,
                                                            const hangar_load_options *options,
                                                            hangar_job *job, char **out_json,
                                                            hangar_err *err);
/* Out of the daemon's memory when its present call has ended, with `now` at once; returns when the memory is back. NOT_FOUND: it is not loaded. */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_daemon_unload(hangar *h, const char *model, bool now,
                                                              hangar_job *job, char **out_json,
                                                              hangar_err *err);
/*
 * Why it decided what it decided, the latest first: {"reasons":[{"time","kind","model","text"}]}. model, kind ("eviction", "unload", "refusal",
 * "restart", "quarantine", "fallback", "breaker", "probe") NULL = all; limit 0 = all that are kept.
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_daemon_why(hangar *h, const char *model, const char *kind,
                                                           int limit, char **out_json, hangar_err *err);

/*
 * How busy it is: the document of hangar_daemon_ps, where each model also has "asks", "prompt_tokens", "generated_tokens" (since it began), "speed"
 * (tokens a second while it generates), "first_token_seconds" (mean), "tokens_per_second"; and "http":{"connections","streams","requests",
 * "requests_per_second"}, "process":{"resident","cpu"}, "at". before: the last such document; what is told per second (and cpu, in processors) is the mean
 * since then, null without one, and speed and first_token_seconds are those since then when there was anything.
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_daemon_top(hangar *h, const char *before, char **out_json,
                                                           hangar_err *err);

typedef struct hangar_wait_options {
    size_t size;
    double timeout; /* seconds; 0 = 180 */
    bool
        or_load; /* without a daemon, or when the time is over: prove that the model loads here, and be content */
} hangar_wait_options;
#define HANGAR_WAIT_OPTIONS_INIT            \
    {                                       \
        .size = sizeof(hangar_wait_options) \
    }

/*
 * Waits until the daemon, which may still have to come, holds each of `models` (NULL-terminated) ready. A cloud model is ready when its key is set.
 * out_json: {"models":[{"name","by":"daemon"|"here"|"cloud","seconds"}]}. Events: NOTE, and those of a load. TIMEOUT says what is missing; ENGINE
 * when the daemon has given a model up.
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_daemon_wait(hangar *h, const char *const *models,
                                                            const hangar_wait_options *options,
                                                            hangar_job *job, char **out_json,
                                                            hangar_err *err);

#ifdef __cplusplus
}
#endif
#endif
