/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Models of the daemon: which there are, which are in memory, and bringing them there and away by hand; and why the daemon decided what it
 * decided. What the client verbs `ps`, `load`, `unload`, `wait`, `why` and `top` speak to.
 */
#include "api/native.h"
#include "api/native_models.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>

#define WATCH_EVERY 0.1 /* seconds between two looks at a load that somebody watches */
#define WHY_MOST    HG_WHY_KEEP

static void answer_ps(hg_req *r);
static void answer_load(hg_req *r);
static void answer_unload(hg_req *r);
static void answer_why(hg_req *r);
static void answer_models(hg_req *r);

static const hg_field load_fields[] = {
    {.name = "model",
     .kind = 's',
     .required = true,
     .help = "a name of the catalogue, or a REF of the store"},
    {.name = "pinned",
     .kind = 'b',
     .help = "for good: never unloaded for being idle or for room, loaded again when it dies"},
    {.name = "keep_alive",
     .kind = '*',
     .help = "seconds idle until it is unloaded, or a time such as \"5m\"; below 0 is for ever"},
    {0}};

static const hg_field unload_fields[] = {
    {.name = "model", .kind = 's', .required = true, .help = "a model that is in memory"},
    {.name = "now", .kind = 'b', .help = "do not wait for the end of its present call"},
    {0}};

const hg_endpoint hg_endpoints_native_models[] = {
    {.method = "GET",
     .path = "/hangar/v1/ps",
     .scope = HG_SCOPE_INFER,
     .summary = "models in memory, or on their way there",
     .fn = answer_ps},
    {.method = "POST",
     .path = "/hangar/v1/load",
     .scope = HG_SCOPE_MANAGE,
     .body = HG_BODY_JSON,
     .fields = load_fields,
     .streams = HG_SSE_TYPE,
     .summary = "bring a model into memory; answers when it is there",
     .fn = answer_load},
    {.method = "POST",
     .path = "/hangar/v1/unload",
     .scope = HG_SCOPE_MANAGE,
     .body = HG_BODY_JSON,
     .fields = unload_fields,
     .summary = "take a model out of memory; answers when the memory is back",
     .fn = answer_unload},
    {.method = "GET",
     .path = "/hangar/v1/why",
     .scope = HG_SCOPE_INFER,
     .summary =
         "why models were evicted, refused, restarted or replaced, the latest first (query: model, kind, "
         "limit)",
     .fn = answer_why},
    {.method = "GET",
     .path = "/hangar/v1/models",
     .scope = HG_SCOPE_INFER,
     .summary = "every model that can be asked for, declared or in the store, with its state",
     .fn = answer_models},
    {0}};

/* ---- one model ---- */

static void write_seconds(hg_jw *w, const char *key, double seconds)
{
    if (seconds < 0 || !isfinite(seconds)) hg_jw_null(w, key);
    else hg_jw_f64(w, key, round(seconds * 1000) / 1000);
}

static void write_time(hg_jw *w, const char *key, int64_t at)
{
    if (at) hg_jw_i64(w, key, at);
    else hg_jw_null(w, key);
}

static const char *some(const char *text)
{
    return text && *text ? text : NULL;
}

void hg_slot_write(const hg_slot_info *s, hg_jw *w)
{
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "name", s->entry->name);
    hg_jw_text(w, "state", hg_slot_state_name(s->state));
    hg_jw_text(w, "ref", some(s->entry->ref));
    hg_jw_text(w, "loader", some(s->loader));
    hg_jw_text(w, "task", some(s->task));
    hg_jw_u64(w, "memory", s->memory);
    hg_jw_bool(w, "pinned", s->entry->pinned);
    hg_jw_bool(w, "wanted", s->wanted);
    write_seconds(w, "idle_seconds", s->idle_seconds);
    write_seconds(w, "expires_in", s->expires_in);
    write_seconds(w, "progress", s->state == HG_SLOT_LOADING ? s->progress : -1);
    hg_jw_text(w, "phase", s->state == HG_SLOT_LOADING ? some(s->phase) : NULL);
    hg_jw_text(w, "error", some(s->error));
    hg_jw_u64(w, "waiting", s->waiting);
    hg_jw_u64(w, "uses", s->uses);
    hg_jw_u64(w, "restarts", s->restarts);
    if (s->pid > 0) hg_jw_i64(w, "pid", s->pid);
    else hg_jw_null(w, "pid");
    write_seconds(w, "load_seconds", s->loaded_at ? s->load_seconds : -1);
    write_time(w, "loaded_at", s->loaded_at);
    write_time(w, "probed_at", s->probed_at);
    hg_jw_end(w);
}

static void answer_ps(hg_req *r)
{
    const hg_pool *pool = hg_req_host(r)->pool;
    hg_jw *w = hg_jw_new();
    hg_slot_info info;
    uint64_t budget, used;
    hg_jw_obj(w, NULL);
    hg_jw_arr(w, "models");
    for (size_t i = 0; hg_pool_info(pool, i, &info); i++) hg_slot_write(&info, w);
    hg_jw_end(w);
    hg_pool_memory(pool, &budget, &used);
    hg_jw_obj(w, "memory");
    hg_jw_u64(w, "budget", budget);
    hg_jw_u64(w, "used", used);
    hg_jw_end(w);
    hg_reply_jw(r, 200, w);
}

/* ---- loading and unloading ---- */

/* One load or unload that the pool works on. The request may go before the pool tells its end: the work goes on, and nobody hears of it. */
typedef struct moving {
    hg_req *r; /* NULL: gone */
    hg_host *host;
    const hg_entry *entry;
    bool events;
    bool away;  /* an unload */
    bool moved; /* the pool has told its end */
    bool begun; /* the call to the pool has returned: moved frees */
    hg_timer *timer;
    char phase[32]; /* last told */
    double progress;
} moving;

static void moving_free(moving *m)
{
    hg_timer_free(m->timer);
    free(m);
}

static void moving_gone(void *ctx)
{
    moving *m = ctx;
    m->r = NULL;
    if (m->timer) hg_timer_stop(m->timer);
}

/* {"phase"} and {"done","total"} of a load that goes on, as the events of a job. */
static void watch(void *ctx)
{
    moving *m = ctx;
    hg_slot_info info;
    if (!m->r || !hg_pool_info_of(m->host->pool, m->entry, &info) || info.state != HG_SLOT_LOADING) return;
    if (some(info.phase) && !hg_streq(m->phase, info.phase)) {
        hg_jw *w = hg_jw_new();
        char *json = NULL;
        snprintf(m->phase, sizeof m->phase, "%s", info.phase);
        m->progress = -1;
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "text", info.phase);
        if (w && hg_jw_finish(w, false, &json, NULL) == HANGAR_OK) hg_sse_send(m->r, "phase", json);
        hg_jw_free(w);
    }
    if (info.progress >= 0 && info.progress != m->progress) {
        m->progress = info.progress;
        hg_sse_send(m->r, "total",
                    hg_format("{\"done\":%llu,\"total\":1000}", (unsigned long long)(info.progress * 1000)));
    }
}

/* The answer: the model as in ps, or, after an unload, none. */
static void answer_moved(const moving *m, hangar_code code, const hangar_err *err)
{
    hg_slot_info info;
    char *json = NULL;
    if (code != HANGAR_OK) {
        if (!m->events) {
            hg_reply_fail(m->r, err);
            return;
        }
        hg_sse_send(m->r, "error", hg_error_json(HG_DIALECT_NATIVE, err));
        hg_stream_end(m->r);
        return;
    }
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "name", m->entry->name);
    hg_jw_arr(w, "models");
    if (!m->away && hg_pool_info_of(m->host->pool, m->entry, &info)) hg_slot_write(&info, w);
    hg_jw_end(w);
    if (!m->events) {
        hg_reply_jw(m->r, 200, w);
        return;
    }
    if (w && hg_jw_finish(w, false, &json, NULL) == HANGAR_OK) hg_sse_send(m->r, "result", json);
    hg_jw_free(w);
    hg_stream_end(m->r);
}

static void on_moved(void *ctx, hg_slot *slot, hangar_code code, const hangar_err *err)
{
    moving *m = ctx;
    (void)slot;
    m->moved = true;
    if (m->timer) hg_timer_stop(m->timer);
    if (m->r) answer_moved(m, code, err);
    m->r = NULL;
    if (m->begun) moving_free(m);
}

/* The local model that a body names, or NULL after an answer. */
static const hg_entry *find_local(hg_req *r)
{
    const hg_entry *e = NULL;
    hangar_err err = {0};
    const char *name = hg_json_text(hg_json_get(hg_req_json(r), "model"));
    hangar_code code = hg_catalog_want(hg_req_host(r)->catalog, name, &e, &err);
    if (code == HANGAR_OK && e->kind == HG_ENTRY_CLOUD)
        code =
            hg_fail(&err, HANGAR_E_UNSUPPORTED, "%s is a cloud model: it is never in memory here", e->name);
    if (code == HANGAR_OK) return e;
    hg_reply_error(r, &err, -1);
    return NULL;
}

static moving *begin(hg_req *r, const hg_entry *entry, bool events, hangar_err *err)
{
    moving *m = hg_calloc(1, sizeof *m);
    if (!m) {
        hg_fail_memory(err);
        return NULL;
    }
    *m = (moving){.r = r, .host = hg_req_host(r), .entry = entry, .events = events, .progress = -1};
    if (events && hg_timer_new(m->host->loop, watch, m, &m->timer, err) != HANGAR_OK) {
        free(m);
        return NULL;
    }
    hg_req_on_gone(r, moving_gone, m);
    if (events) {
        hg_stream_begin(r, 200, HG_SSE_TYPE);
        hg_timer_set(m->timer, WATCH_EVERY, WATCH_EVERY);
    }
    return m;
}

/* The pool has been asked: it has told the end already, or will. */
static void begun(moving *m, hangar_code code, const hangar_err *err)
{
    m->begun = true;
    if (m->moved) moving_free(m);
    else if (code != HANGAR_OK) on_moved(m, NULL, code, err);
}

static void answer_load(hg_req *r)
{
    hangar_err err = {0};
    double keep_alive;
    moving *m = NULL;
    const hg_jval *body = hg_req_json(r);
    const hg_entry *e = find_local(r);
    if (!e) return;
    bool pinned = hg_json_bool_or(hg_json_get(body, "pinned"), false);
    hangar_code code = hg_keep_alive(hg_json_get(body, "keep_alive"), &keep_alive, &err);
    if (code == HANGAR_OK) m = begin(r, e, hg_wants_events(r), &err);
    if (!m) {
        hg_reply_fail(r, &err);
        return;
    }
    begun(m, hg_pool_load(m->host->pool, e, pinned, keep_alive, on_moved, m, &err), &err);
}

static void answer_unload(hg_req *r)
{
    hangar_err err = {0};
    const hg_jval *body = hg_req_json(r);
    const hg_entry *e = find_local(r);
    if (!e) return;
    moving *m = begin(r, e, false, &err);
    if (!m) {
        hg_reply_fail(r, &err);
        return;
    }
    m->away = true;
    bool now = hg_json_bool_or(hg_json_get(body, "now"), false);
    begun(m, hg_pool_unload(m->host->pool, e, now, on_moved, m, &err), &err);
}

/* ---- why ---- */

static void answer_why(hg_req *r)
{
    hangar_err err = {0};
    const char *limit = hg_req_query(r, "limit");
    uint64_t most = WHY_MOST;
    if (limit && (!hg_u64_parse(hg_str_of(limit), &most) || most == 0)) {
        hg_fail(&err, HANGAR_E_USAGE, "limit needs a whole number above 0, not '%s'", limit);
        hg_reply_error(r, &err, -1);
        return;
    }
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_arr(w, "reasons");
    hg_why_write(hg_req_host(r)->why, hg_req_query(r, "kind"), hg_req_query(r, "model"),
                 most < WHY_MOST ? (size_t)most : WHY_MOST, w);
    hg_jw_end(w);
    hg_reply_jw(r, 200, w);
}

/* ---- all models ---- */

/* One reading of the store, on a worker; the request may be gone by its end. */
typedef struct reading {
    hg_req *r;
    hg_host *host;
    char *json;
    hg_json *doc;
    hangar_code code;
    hangar_err err;
} reading;

static void read_store(void *ctx)
{
    reading *l = ctx;
    l->code = hangar_model_list(l->host->h, &l->json, &l->err);
    if (l->code == HANGAR_OK) l->code = hg_json_parse(hg_str_of(l->json), NULL, &l->doc, &l->err);
}

/* The state of a model that is asked for by `name` or `ref`; "" = not in memory. */
static const char *state_of(const hg_pool *pool, const char *name, const char *ref)
{
    hg_slot_info info;
    for (size_t i = 0; hg_pool_info(pool, i, &info); i++)
        if (hg_streq(info.entry->name, name) || (ref && hg_streq(info.entry->ref, ref)))
            return hg_slot_state_name(info.state);
    return "";
}

static void write_entry(const hg_host *host, const hg_entry *e, hg_jw *w)
{
    bool local = e->kind == HG_ENTRY_LOCAL;
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "name", e->name);
    hg_jw_text(w, "kind", local ? "local" : "cloud");
    hg_jw_bool(w, "declared", e->declared);
    hg_jw_bool(w, "local_only", e->local_only);
    if (local) {
        hg_jw_text(w, "ref", some(e->ref));
        hg_jw_text(w, "state", some(state_of(host->pool, e->name, e->ref)));
    } else {
        hg_jw_text(w, "provider", some(e->provider));
        hg_jw_text(w, "model", some(e->model));
        hg_jw_text(w, "key_env", some(e->key_env));
        hg_jw_bool(w, "has_key", hg_entry_has_key(e));
    }
    hg_jw_arr(w, "fallback");
    for (char **f = e->fallback; f && *f; f++) hg_jw_text(w, NULL, *f);
    hg_jw_end(w);
    hg_jw_end(w);
}

/* A model of the store under its own name; what the catalogue tells of it stands there already. */
static void write_stored(const hg_host *host, const hg_jval *m, hg_jw *w)
{
    const char *ref = hg_json_text_or(hg_json_get(m, "ref"), "");
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "name", ref);
    hg_jw_text(w, "kind", "local");
    hg_jw_bool(w, "declared", false);
    hg_jw_bool(w, "local_only", false);
    hg_jw_text(w, "state", some(state_of(host->pool, ref, ref)));
    hg_jw_arr(w, "fallback");
    hg_jw_end(w);
    hg_jw_members(w, m, NULL);
    hg_jw_end(w);
}

static void read_gone(void *ctx)
{
    ((reading *)ctx)->r = NULL;
}

static void read_done(void *ctx)
{
    reading *l = ctx;
    if (l->r && l->code != HANGAR_OK) hg_reply_error(l->r, &l->err, -1);
    if (l->r && l->code == HANGAR_OK) {
        const hg_host *host = l->host;
        hg_jw *w = hg_jw_new();
        hg_jw_obj(w, NULL);
        hg_jw_arr(w, "models");
        for (size_t i = 0; i < hg_catalog_count(host->catalog); i++)
            write_entry(host, hg_catalog_at(host->catalog, i), w);
        for (hg_json_iter it = hg_json_iter_of(hg_json_get(hg_json_root(l->doc), "models"));
             hg_json_next(&it);)
            write_stored(host, it.val, w);
        hg_jw_end(w);
        hg_reply_jw(l->r, 200, w);
    }
    hg_json_free(l->doc);
    hangar_free(l->json);
    free(l);
}

static void answer_models(hg_req *r)
{
    hangar_err err = {0};
    reading *l = hg_calloc(1, sizeof *l);
    hangar_code code = HANGAR_OK;
    if (!l) code = hg_fail_memory(&err);
    else *l = (reading){.r = r, .host = hg_req_host(r)};
    if (code == HANGAR_OK) code = hg_loop_work(l->host->loop, read_store, read_done, l, &err);
    if (code == HANGAR_OK) {
        hg_req_on_gone(r, read_gone, l);
        return;
    }
    free(l);
    hg_reply_error(r, &err, -1);
}
