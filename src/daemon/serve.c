/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wiring: the only place that knows every room. All parts are made on the caller's thread, then the loop's thread takes them over, and
 * nobody else touches them until it has ended.
 *
 * The end: no new questions, the listeners close, running answers get their grace, then what is left is cut, the jobs are cancelled, the pool kills its runners, the
 * status file goes, the loop stops, the caller frees all.
 */
#include "api/http.h"
#include "api/jobs.h"
#include "base/clock.h"
#include "base/job.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/status.h"
#include "manager/host.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#define END_LOOK 0.02 /* seconds between two looks whether all answers are out */

/* How a model was when it was last told of. */
typedef struct seen {
    const hg_entry *entry;
    hg_slot_state state;
} seen;

struct hangar_server {
    hg_host host;
    hg_server *http;
    hg_status *status;
    hangar_job *job;
    pthread_t thread;
    const hg_entry **preload; /* NULL-terminated */
    size_t preload_count;
    seen *seen;
    size_t seen_len, seen_cap;
    hg_timer *ending;
    double end_by;
};

/* ---- what is told ---- */

/* One line for people for a model that has come to another state. */
static void tell_state(hangar_server *s, const hg_slot_info *i)
{
    char size[16];
    switch (i->state) {
    case HG_SLOT_LOADING: hg_job_note(s->job, "%s is being loaded", i->entry->name); break;
    case HG_SLOT_READY:
        hg_job_note(s->job, "%s is ready (%.2g s, %s)", i->entry->name, i->load_seconds,
                    hg_size_format(i->memory, size));
        break;
    case HG_SLOT_FAILED: hg_job_note(s->job, "%s failed: %s", i->entry->name, i->error); break;
    case HG_SLOT_QUARANTINED:
        hg_job_note(s->job, "%s is given up: %s; `hangar load %s` tries again", i->entry->name, i->error,
                    i->entry->name);
        break;
    default: break;
    }
}

static void on_pool(void *ctx)
{
    hangar_server *s = ctx;
    hg_slot_info info;
    for (size_t i = 0; hg_pool_info(s->host.pool, i, &info); i++) {
        seen *last = NULL;
        for (size_t k = 0; k < s->seen_len && !last; k++)
            if (s->seen[k].entry == info.entry) last = &s->seen[k];
        if (!last) {
            if (!hg_grow((void **)&s->seen, &s->seen_cap, s->seen_len + 1, sizeof *s->seen)) return;
            last = &s->seen[s->seen_len++];
            *last = (seen){info.entry, HG_SLOT_ENDING};
        }
        /* Busy is no news. */
        hg_slot_state state = info.state == HG_SLOT_BUSY ? HG_SLOT_READY : info.state;
        if (last->state == state) continue;
        last->state = info.state = state;
        tell_state(s, &info);
    }
}

/* ---- the beginning ---- */

static void preload(void *ctx)
{
    hangar_server *s = ctx;
    for (size_t i = 0; i < s->preload_count; i++) {
        hangar_err err = {0};
        if (hg_pool_load(s->host.pool, s->preload[i], true, -1, NULL, NULL, &err) != HANGAR_OK)
            hg_job_note(s->job, "%s", err.msg);
    }
}

static void *loop_main(void *ctx)
{
    hangar_server *s = ctx;
    pthread_setname_np(pthread_self(), "hangar-loop");
    hg_loop_run(s->host.loop);
    return NULL;
}

/* Finds the models of a list; a cloud model has nothing to load. */
static hangar_code add_preload(hangar_server *s, const char *const *names, hangar_err *err)
{
    for (; names && *names; names++) {
        const hg_entry *e = NULL;
        hangar_code code = hg_catalog_want(s->host.catalog, *names, &e, err);
        if (code != HANGAR_OK) return hg_wrap(err, code, "preload");
        if (e->kind == HG_ENTRY_CLOUD)
            return hg_fail(err, HANGAR_E_USAGE, "preload: %s is a cloud model; there is nothing to load",
                           e->name);
        const hg_entry **grown =
            hg_realloc_array((void *)s->preload, s->preload_count + 2, sizeof(const hg_entry *));
        if (!grown) return hg_fail_memory(err);
        s->preload = grown;
        s->preload[s->preload_count++] = e;
        s->preload[s->preload_count] = NULL;
    }
    return HANGAR_OK;
}

/* As many descriptors as this process may have: each connection is one. */
static void raise_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max) return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) hg_log(HG_LOG_WARN, "serve", "the limit of open files stays");
}

/* NULL when it is none. */
static const char *some(const char *given, const char *set)
{
    const char *text = given ? given : set;
    return *text ? text : NULL;
}

static hangar_code listen_all(hangar_server *s, const hangar_serve_options *o, hangar_err *err)
{
    const hg_settings *set = s->host.h->settings;
    hg_server_options options = {.listen = some(o->listen, set->serve_listen),
                                 .socket = some(o->socket, set->serve_socket),
                                 .cors = (const char *const *)set->serve_cors,
                                 .max_body = set->serve_max_body,
                                 .max_upload = set->serve_max_upload,
                                 .max_connections = (unsigned)set->serve_max_connections,
                                 .slow_seconds = set->serve_slow_timeout};
    if (!options.listen && !options.socket)
        return hg_fail(err, HANGAR_E_USAGE, "neither an address nor a socket to listen on");
    return hg_server_new(&s->host, &options, &s->http, err);
}

static hangar_code start_status(hangar_server *s, const hangar_serve_options *o, hangar_err *err)
{
    const char *path = some(o->status_file, s->host.h->settings->serve_status_file);
    return hg_status_start(&s->host, path ? path : "", &s->status, err);
}

static hangar_code start(hangar_server *s, hangar *h, const hangar_serve_options *o, hangar_err *err)
{
    raise_files();
    hangar_code code = hg_host_init(&s->host, h, err);
    if (code == HANGAR_OK) code = hg_jobs_new(h, s->host.loop, &s->host.jobs, err);
    if (code == HANGAR_OK) code = add_preload(s, (const char *const *)h->settings->models_preload, err);
    if (code == HANGAR_OK) code = add_preload(s, o->preload, err);
    if (code == HANGAR_OK) code = hg_pool_watch(s->host.pool, on_pool, s, err);
    s->host.preload = s->preload;
    if (code == HANGAR_OK) code = listen_all(s, o, err);
    /* After listening, so that a second daemon, whose address is taken, leaves the first one's file alone; nobody is answered yet. */
    if (code == HANGAR_OK) code = start_status(s, o, err);
    if (code == HANGAR_OK) code = hg_loop_post(s->host.loop, preload, s, err);
    if (code != HANGAR_OK) return code;
    /* Signals are the caller's threads'. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int sys = pthread_create(&s->thread, NULL, loop_main, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return sys == 0 ? HANGAR_OK : hg_fail_errno(err, sys, "starting a thread");
}

/* ---- the end ---- */

static void all_closed(void *ctx)
{
    hangar_server *s = ctx;
    hg_loop_stop(s->host.loop);
}

static void pool_closed(void *ctx)
{
    hangar_server *s = ctx;
    hg_status *status = s->status;
    s->status = NULL;
    hg_status_stop(status, all_closed, s);
}

static void jobs_closed(void *ctx)
{
    hangar_server *s = ctx;
    hg_pool_close(s->host.pool, pool_closed, s);
}

/* Whether all answers are out, or their time is. */
static void on_ending(void *ctx)
{
    hangar_server *s = ctx;
    if (hg_server_running(s->http) > 0 && hg_now() < s->end_by) return;
    hg_timer_free(s->ending);
    s->ending = NULL;
    hg_server_free(s->http);
    s->http = NULL;
    hg_jobs_close(s->host.jobs, jobs_closed, s);
}

static void begin_end(void *ctx)
{
    hangar_server *s = ctx;
    s->host.stopping = true;
    hg_status_stopping(s->status);
    hg_server_quiesce(s->http);
    if (hg_timer_new(s->host.loop, on_ending, s, &s->ending, NULL) == HANGAR_OK) {
        hg_timer_set(s->ending, 0, END_LOOK);
    } else {
        s->end_by = 0;
        on_ending(s);
    }
}

/* What there is of it; the thread has ended or never was. */
static void server_free(hangar_server *s)
{
    hg_server_free(s->http);
    hg_jobs_free(s->host.jobs);
    hg_status_free(s->status);
    hg_host_deinit(&s->host);
    free((void *)s->preload);
    free(s->seen);
    free(s);
}

hangar_code hangar_serve_start(hangar *h, const hangar_serve_options *options, hangar_job *job,
                               hangar_server **out, hangar_err *err)
{
    hangar_serve_options o = HANGAR_SERVE_OPTIONS_INIT;
    *out = NULL;
    hangar_code code = hg_options_read(options, offsetof(hangar_serve_options, socket),
                                       "hangar_serve_options", &o, sizeof o, err);
    if (code != HANGAR_OK) return code;
    hangar_server *s = hg_calloc(1, sizeof *s);
    if (!s) return hg_fail_memory(err);
    s->job = job;
    code = start(s, h, &o, err);
    if (code == HANGAR_OK) *out = s;
    else server_free(s);
    return code;
}

const char *hangar_serve_url(const hangar_server *server)
{
    return hg_server_url(server->http);
}

void hangar_serve_stop(hangar_server *server, double grace)
{
    if (!server) return;
    server->end_by = hg_now() + grace;
    while (hg_loop_post(server->host.loop, begin_end, server, NULL) != HANGAR_OK) hg_sleep(0.01);
    pthread_join(server->thread, NULL);
    server_free(server);
}
