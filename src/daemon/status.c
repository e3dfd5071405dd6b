/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status file and systemd's news. The pool calls on_change after each change, some thousand times a second when many ask; so a look at
 * all states decides first whether there is anything new to tell (a model that works counts as ready). The file is written by a worker,
 * one writing at a time: what changes meanwhile is written by the next, and the last state is always written.
 */
#include "daemon/status.h"

#include "api/health.h"
#include "base/fsx.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/notify.h"

#include <math.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define SAY_EVERY 0.2  /* seconds between two STATUS= */
#define EXTEND    60.0 /* seconds that systemd is asked to wait on while models load */
#define SWEEP_AGE 60.0 /* temporary files of an earlier process that are older are removed */
#define SAID_MAX  400  /* bytes of a STATUS= */

struct hg_status {
    hg_host *host;
    char *path; /* NULL: no file */
    hg_notify *notify;
    hg_timer *say, *dog;
    bool ours; /* the file was written */
    bool say_soon, ready_told, stopping;
    uint64_t told; /* of what the file says: see signature() */
    char said[SAID_MAX];
    /* one writing */
    bool writing, again;
    char *text;       /* what is being written */
    char *ref;        /* whose folder is looked up on the way; NULL = none */
    char *found;      /* that folder */
    char *model_path; /* of model_ref */
    char *model_ref;
    hangar_code code;
    hangar_err err;
    hg_loop_fn *stopped;
    void *stopped_ctx;
};

/* ---- what there is to tell ---- */

static hg_slot_state shown_state(const hg_slot_info *i)
{
    return i->state == HG_SLOT_BUSY ? HG_SLOT_READY : i->state;
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash ^= value;
    hash *= 0x9e3779b97f4a7c15u;
    return hash ^ (hash >> 29);
}

/* A number that changes when the file has something new to tell. */
static uint64_t signature(const hg_status *s)
{
    hg_slot_info i;
    uint64_t hash = 1;
    for (size_t n = 0; hg_pool_info(s->host->pool, n, &i); n++) {
        hash = mix(hash, (uint64_t)(uintptr_t)i.entry);
        hash = mix(hash, (uint64_t)shown_state(&i) * 2 + i.wanted);
        for (const char *c = i.error; *c; c++) hash = mix(hash, (uint64_t)(unsigned char)*c);
    }
    return hash ? hash : 1;
}

static double wall_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + round((double)t.tv_nsec / 1e6) / 1e3;
}

/* The first wanted model, and the words of the first that has failed; NULL when there is none. */
static void find(const hg_status *s, const hg_entry **first, const char **failure)
{
    hg_slot_info i;
    *first = NULL;
    *failure = NULL;
    for (size_t n = 0; hg_pool_info(s->host->pool, n, &i); n++) {
        if (!i.wanted) continue;
        if (!*first) *first = i.entry;
        bool failed = i.state == HG_SLOT_FAILED || i.state == HG_SLOT_QUARANTINED;
        if (failed && !*failure) *failure = i.error;
    }
}

/* The file's text. */
static hangar_code write_json(hg_status *s, char **out, hangar_err *err)
{
    const hg_entry *first;
    const char *failure;
    hg_slot_info i;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w) return hg_fail_memory(err);
    find(s, &first, &failure);
    bool known = first && s->model_path && hg_streq(s->model_ref, first->ref);
    hg_jw_obj(w, NULL);
    const char *error = s->stopping ? "hangar is ending" : failure;
    hg_jw_text(w, "status", error ? "error" : hg_ready(s->host, NULL) ? "ready" : "loading");
    hg_jw_text(w, "error", error);
    hg_jw_f64(w, "timestamp", wall_now());
    hg_jw_text(w, "model_path", known ? s->model_path : first ? first->ref : "");
    hg_jw_text(w, "device", "cpu");
    hg_jw_obj(w, "models");
    for (size_t n = 0; hg_pool_info(s->host->pool, n, &i); n++)
        hg_jw_text(w, i.entry->name, hg_slot_state_name(shown_state(&i)));
    hg_jw_end(w);
    hg_jw_i64(w, "pid", getpid());
    hg_jw_text(w, "version", hangar_version());
    hg_jw_end(w);
    if (first && !known) {
        free(s->ref);
        s->ref = hg_strdup(first->ref);
    }
    return hg_jw_finish(w, true, out, err);
}

/* ---- the file ---- */

/* Where the model's files are; NULL when that cannot be found out. */
static char *look_up(hangar *h, const char *ref)
{
    char *json = NULL, *path = NULL;
    hg_json *doc = NULL;
    if (hangar_model_get(h, ref, &json, NULL) == HANGAR_OK &&
        hg_json_parse(hg_str_of(json), NULL, &doc, NULL) == HANGAR_OK) {
        const char *text = hg_json_text(hg_json_get(hg_json_root(doc), "path"));
        path = text ? hg_strdup(text) : NULL;
    }
    hg_json_free(doc);
    hangar_free(json);
    return path;
}

static void write_work(void *ctx)
{
    hg_status *s = ctx;
    s->code = hg_write_state(s->path, s->text, strlen(s->text), 0644, &s->err);
    if (s->ref) s->found = look_up(s->host->h, s->ref);
}

void hg_status_free(hg_status *s)
{
    if (!s) return;
    if (s->ours) unlink(s->path);
    hg_notify_close(s->notify);
    hg_timer_free(s->say);
    hg_timer_free(s->dog);
    free(s->path);
    free(s->text);
    free(s->ref);
    free(s->found);
    free(s->model_path);
    free(s->model_ref);
    free(s);
}

/* The end, when nothing is being written any more. */
static void end(void *ctx)
{
    hg_status *s = ctx;
    hg_loop_fn *stopped = s->stopped;
    void *stopped_ctx = s->stopped_ctx;
    hg_status_free(s);
    stopped(stopped_ctx);
}

static void write_file(hg_status *s);

static void written(void *ctx)
{
    hg_status *s = ctx;
    s->writing = false;
    if (s->code != HANGAR_OK) hg_log(HG_LOG_ERROR, "status", "%s", s->err.msg);
    if (s->found) {
        free(s->model_path);
        free(s->model_ref);
        s->model_path = s->found;
        s->model_ref = s->ref;
        s->found = s->ref = NULL;
        s->again = true;
    }
    free(s->ref);
    s->ref = NULL;
    if (s->stopped) end(s);
    else if (s->again) write_file(s);
}

/* Has a worker write what is so now, after what it writes at present. */
static void write_file(hg_status *s)
{
    hangar_err err = {0};
    s->again = s->writing;
    if (s->writing || !s->path || s->stopped) return;
    free(s->text);
    s->text = NULL;
    hangar_code code = write_json(s, &s->text, &err);
    if (code == HANGAR_OK) code = hg_loop_work(s->host->loop, write_work, written, s, &err);
    s->writing = code == HANGAR_OK;
    if (code == HANGAR_OK) return;
    hg_log(HG_LOG_ERROR, "status", "%s", err.msg);
    s->told = 0; /* the next change tries again */
}

/* ---- systemd ---- */

/* "2 of 3 models ready; a/b: loading 40%" */
static void make_line(const hg_status *s, char line[SAID_MAX])
{
    hg_slot_info i;
    hg_health_sum sum = {0};
    char now[256] = "", name[128];
    for (size_t n = 0; hg_pool_info(s->host->pool, n, &i); n++) {
        hg_health_add(&sum, &i);
        if (*now || i.state == HG_SLOT_READY || i.state == HG_SLOT_BUSY || !i.wanted) continue;
        hg_escape(hg_str_of(i.entry->name), name, sizeof name);
        const char *phase = i.state == HG_SLOT_LOADING && *i.phase ? i.phase : hg_slot_state_name(i.state);
        if (i.state == HG_SLOT_LOADING && i.progress >= 0)
            snprintf(now, sizeof now, "; %s: %s %.0f%%", name, phase, i.progress * 100);
        else snprintf(now, sizeof now, "; %s: %s", name, phase);
    }
    if (sum.wanted) snprintf(line, SAID_MAX, "STATUS=%zu of %zu models ready%s", sum.answer, sum.wanted, now);
    else if (!hg_ready(s->host, NULL)) snprintf(line, SAID_MAX, "STATUS=starting");
    else snprintf(line, SAID_MAX, "STATUS=%zu models in memory", sum.loaded);
}

static bool is_loading(const hg_status *s)
{
    hg_slot_info i;
    for (size_t n = 0; hg_pool_info(s->host->pool, n, &i); n++)
        if (i.wanted && (i.state == HG_SLOT_LOADING || i.state == HG_SLOT_FAILED)) return true;
    return false;
}

/* READY once, and what has changed in words. While models load systemd is asked for patience, again and again; not for those that were given up. */
static void say(void *ctx)
{
    hg_status *s = ctx;
    char line[SAID_MAX], both[SAID_MAX + 64], patience[48] = "";
    s->say_soon = false;
    if (s->stopping) return;
    bool ready = !s->ready_told && hg_ready(s->host, NULL);
    bool waits = !ready && !s->ready_told && is_loading(s);
    make_line(s, line);
    if (waits) {
        snprintf(patience, sizeof patience, "EXTEND_TIMEOUT_USEC=%.0f\n", EXTEND * 1e6);
        hg_timer_set(s->say, EXTEND / 2, 0);
    }
    if (!ready && !waits && hg_streq(line, s->said)) return;
    snprintf(both, sizeof both, "%s%s%s", ready ? "READY=1\n" : "", patience, line);
    hg_notify_send(s->notify, both);
    memcpy(s->said, line, sizeof line);
    s->ready_told = s->ready_told || ready;
}

/* The loop turns: that is what the watchdog wants to know. */
static void feed(void *ctx)
{
    hg_status *s = ctx;
    hg_notify_send(s->notify, "WATCHDOG=1");
}

/* ---- the whole ---- */

static void on_change(void *ctx)
{
    hg_status *s = ctx;
    if (s->stopped) return;
    uint64_t now = signature(s);
    bool changed = now != s->told;
    if (changed && s->path) write_file(s);
    if (changed) s->told = now;
    if (!hg_notify_on(s->notify) || s->say_soon || s->stopping) return;
    s->say_soon = true;
    hg_timer_set(s->say, changed ? 0 : SAY_EVERY, 0);
}

/* The first file, before anybody can ask, over what an earlier process left. */
static hangar_code begin_file(hg_status *s, const char *path, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *dir = hg_path_dir(path), *text = NULL;
    s->path = hg_strdup(path);
    if (!s->path || !dir) return hg_fail_memory(err);
    hg_sweep(dir, SWEEP_AGE);
    hangar_code code = write_json(s, &text, err);
    if (code == HANGAR_OK) code = hg_write_state(path, text, strlen(text), 0644, err);
    s->ours = code == HANGAR_OK;
    return hg_wrap(err, code, "the status file");
}

hangar_code hg_status_start(hg_host *host, const char *path, hg_status **out, hangar_err *err)
{
    hg_status *s = hg_calloc(1, sizeof *s);
    if (!s) return hg_fail_memory(err);
    s->host = host;
    hangar_code code = hg_notify_open(&s->notify, err);
    if (code == HANGAR_OK) code = hg_timer_new(host->loop, say, s, &s->say, err);
    if (code == HANGAR_OK) code = hg_timer_new(host->loop, feed, s, &s->dog, err);
    if (code == HANGAR_OK && *path) code = begin_file(s, path, err);
    if (code == HANGAR_OK) code = hg_pool_watch(host->pool, on_change, s, err);
    if (code != HANGAR_OK) {
        hg_status_free(s);
        return code;
    }
    double every = hg_notify_watchdog(s->notify);
    if (every > 0) hg_timer_set(s->dog, 0, every);
    if (hg_notify_on(s->notify)) hg_timer_set(s->say, 0, 0);
    *out = s;
    return HANGAR_OK;
}

void hg_status_stopping(hg_status *s)
{
    if (s->stopping) return;
    s->stopping = true;
    hg_notify_send(s->notify, "STOPPING=1\nSTATUS=ending");
    write_file(s);
}

void hg_status_stop(hg_status *s, hg_loop_fn *done, void *ctx)
{
    hg_status_stopping(s);
    s->stopped = done;
    s->stopped_ctx = ctx;
    hg_timer_stop(s->dog);
    hg_timer_stop(s->say);
    if (!s->writing && hg_loop_post(s->host->loop, end, s, NULL) != HANGAR_OK) end(s);
}
