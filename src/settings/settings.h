/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The settings: one line of settings.def each, read from (later wins) defaults, the YAML file, the environment, the
 * caller's options. HF_HOME only moves the defaults of the cache and the token file, so the YAML file wins over it;
 * HF_HUB_CACHE wins over the YAML file. The only room that knows the YAML library (libyaml). An unknown key, a wrong
 * type, a value out of range is an error with file, line and column: never ignored.
 */
#ifndef HG_SETTINGS_SETTINGS_H
#define HG_SETTINGS_SETTINGS_H

#include "base/err.h"
#include "base/json.h"
#include "hangar/hangar.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct hg_settings {
    /* where things are; absolute paths, never NULL, no trailing slash */
    char *file;  /* the configuration file that was read, or "" */
    char *home;  /* hangar's own data: $HANGAR_HOME, else $XDG_DATA_HOME/hangar, else ~/.local/share/hangar */
    char *cache; /* the Hub cache (HF_HUB_CACHE, HF_HOME/hub, ~/.cache/huggingface/hub) */
    /* the Hub */
    char *endpoint;      /* no trailing slash */
    char *token;         /* "" = none; never logged, never shown */
    char *token_file;    /* where the token is looked for: HF_TOKEN_PATH, else HF_HOME/token */
    char *token_problem; /* why that file, though there, gave no token; "" = nothing is wrong */
    bool offline;        /* HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE */
    /* models.cache */
    uint64_t cache_max_size; /* 0 = no limit */
    double cache_retention;  /* seconds; 0 = for ever */
    /* models.download */
    int64_t concurrent;     /* streams at the same time over all files, 1..64; default 8 */
    double timeout;         /* seconds for a whole pull; 0 = no limit (the default) */
    double stall_timeout;   /* seconds without a byte before a stream is given up; default 30 */
    double connect_timeout; /* seconds; default 10 (HF_HUB_ETAG_TIMEOUT) */
    int64_t
        retries; /* further tries of one request after the first, 0..100; default 5; progress refills them */
    uint64_t range_size; /* bytes per range of a big file; default 64 MiB, 1 MiB..4 GiB */
    uint64_t limit_rate; /* bytes per second; 0 = none */
    /* models.conversion */
    char *optimization_level; /* "O0".."O3" */
    bool enable_quantization;
    char *target_platform; /* "auto", "cpu", "gpu" */
    /* engine */
    int64_t threads;     /* per runner; 0 = the usable cores */
    double load_timeout; /* seconds a runner may take to load; default 180 */
    double step_timeout; /* seconds a runner may go without progress; default 120 */
    /* models */
    char **models_preload; /* what `hangar serve` loads first; NULL-terminated, never NULL */
    hg_json *models_list;  /* a map of maps, as written (manager/catalog.h reads it); NULL = none */
    hg_json *programs;     /* a list, as written, every value a text (`hangar up` reads it); NULL = none */
    /* serve */
    char *serve_listen;      /* ADDRESS:PORT; "" = none */
    char *serve_socket;      /* the unix socket */
    char *serve_status_file; /* "" = none is written */
    double serve_keep_alive; /* seconds idle until a model leaves the memory; 0 = at once, negative = never */
    uint64_t serve_memory;   /* bytes for all models together; 0 = as the machine has */
    int64_t serve_queue;     /* requests that may wait for one model */
    double serve_queue_timeout; /* seconds one may wait */
    double
        serve_probe_interval;   /* seconds between two proofs that an idle model answers; 0 = none are made */
    double serve_probe_timeout; /* seconds that a proof may take */
    double serve_deadline;      /* seconds for a whole answer, all of its chain; 0 = no limit */
    uint64_t serve_max_body;    /* bytes of a request's JSON */
    uint64_t serve_max_upload;  /* bytes of an uploaded file */
    int64_t serve_max_connections;
    double serve_slow_timeout;    /* seconds that a client may take to send its request, or stop reading */
    char **serve_cors;            /* origins that browsers may call from; NULL-terminated, never NULL */
    double serve_restart_backoff; /* seconds before the first restart of a runner that failed; doubles */
    int64_t serve_restart_limit;  /* failures in a row after which it is left alone; 0 = at the first */
    int64_t serve_retries;        /* further tries of a cloud request that may be tried again */
    int64_t serve_breaker_failures;
    double serve_breaker_cooldown; /* seconds until a target whose breaker opened is tried again */
    double serve_first_timeout;    /* seconds to the first byte of an answer */
    double serve_stall_timeout;    /* seconds without a further byte */
} hg_settings;

/* Reads everything. options may be NULL. */
hangar_code hg_settings_load(const hangar_options *options, hg_settings **out, hangar_err *err);
void hg_settings_free(hg_settings *s);
/*
 * The line, counted from 1, where a member of models_list or programs stands: hg_settings_line(s, "models.list", "NAME", "ref", NULL);
 * items of lists are "0", "1", ... The nearest thing around it when it is not there; 0 when that is not either.
 */
unsigned long hg_settings_line(const hg_settings *s, const char *key, ...) __attribute__((sentinel));
/* The documents behind hangar_config_show and hangar_config_check. */
hangar_code hg_settings_show(const hg_settings *s, char **out_json, hangar_err *err);
hangar_code hg_settings_check(const char *file, char **out_json, hangar_err *err);

#endif
