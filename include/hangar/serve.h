/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon: holds models warm and answers over HTTP in the dialects of OpenAI and Ollama and in its own (docs/howto/serve.md). It may run
 * inside any program: it has one thread of its own, and the models are in child processes.
 *
 *   hangar_serve_start -> it listens; models.preload is being loaded -> hangar_serve_stop
 */
#ifndef HANGAR_SERVE_H
#define HANGAR_SERVE_H

#include "hangar/hangar.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hangar_server hangar_server;

/* NULL everywhere: as configured (serve.*, models.preload). */
typedef struct hangar_serve_options {
    size_t size;
    const char *
        listen; /* "ADDR:PORT", port 0 = any free one; "" = no TCP. An address that is not loopback needs keys */
    const char *socket;         /* path of the unix socket; "" = none */
    const char *status_file;    /* kept up to date; "" = none */
    const char *const *preload; /* REFs or names, NULL-terminated, besides those of the configuration */
} hangar_serve_options;
#define HANGAR_SERVE_OPTIONS_INIT            \
    {                                        \
        .size = sizeof(hangar_serve_options) \
    }

/*
 * Listens, and begins to load. `h` must stay open until hangar_serve_stop. NOTE events of `job` tell what happens, one line each, from the
 * daemon's thread, until hangar_serve_stop returns; job may be NULL. Raises the process's soft limit of open files to the hard one.
 * Errors: BUSY (address or socket in use), USAGE (an address that needs keys), INVALID (a mistake in models.list), NOT_FOUND (a preload that
 * nothing is known of).
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_serve_start(hangar *h, const hangar_serve_options *options,
                                                            hangar_job *job, hangar_server **out,
                                                            hangar_err *err);
/* "http://127.0.0.1:4264"; "" when there is only the socket. Lives as long as the server. */
HANGAR_API const char *hangar_serve_url(const hangar_server *server);
/* No new questions; those that are being answered get `grace` seconds; then all runners are ended. NULL is fine. */
HANGAR_API void hangar_serve_stop(hangar_server *server, double grace);

#ifdef __cplusplus
}
#endif
#endif
