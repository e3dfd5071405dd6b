/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every verb that verbs.def gives a route, at /hangar/v1/VERB. The members of the body, or of a GET's query, are the verb's parameters; the
 * answer is the verb's document, or with Accept: text/event-stream its events and then "result" or "error". With ?background=1 the answer is the
 * number of a job at once (native_jobs.c).
 */
#include "api/native.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>

#define PREFIX          "/hangar/v1/"
#define RETRY_AFTER     5.0 /* seconds that a client is asked to wait when there is too much to do */
#define BACKGROUND_HELP "?background=1 answers with the number of a job at once."

static void answer_post(hg_req *r);
static void answer_get(hg_req *r);

#define POST(verb, scope_)       \
    {.method = "POST",           \
     .path = PREFIX #verb,       \
     .scope = HG_SCOPE_##scope_, \
     .body = HG_BODY_JSON,       \
     .streams = HG_SSE_TYPE,     \
     .summary = "hangar " #verb, \
     .fn = answer_post},
#define GET(verb, scope_)        \
    {.method = "GET",            \
     .path = PREFIX #verb,       \
     .scope = HG_SCOPE_##scope_, \
     .summary = "hangar " #verb, \
     .fn = answer_get},
#define ROUTES_WORKS(verb, scope) POST(verb, scope)
#define ROUTES_READS(verb, scope) GET(verb, scope) POST(verb, scope)

const hg_endpoint hg_endpoints_native_verbs[] = {
#define HG_VERB(name)
#define HG_VERB_ROUTE(name, how, scope) ROUTES_##how(name, scope)
#include "verbs/verbs.def"
#undef HG_VERB
    {0}};

/* ---- what native endpoints share ---- */

void hg_sse_add(hg_buf *out, const char *name, hg_str data)
{
    hg_str line;
    hg_buf_printf(out, "event: %s\n", name);
    do {
        hg_str_cut(&data, '\n', &line);
        hg_buf_puts(out, "data: ");
        hg_buf_str(out, line);
        hg_buf_putc(out, '\n');
    } while (data.len);
    hg_buf_putc(out, '\n');
}

void hg_sse_send(hg_req *r, const char *name, char *json)
{
    hg_buf b;
    if (!json) return;
    hg_buf_init(&b, HG_STREAM_PENDING);
    hg_sse_add(&b, name, hg_str_of(json));
    if (b.state == HANGAR_OK) hg_stream_write(r, hg_buf_view(&b));
    hg_buf_deinit(&b);
    free(json);
}

bool hg_wants_events(const hg_req *r)
{
    const char *accept = hg_req_header(r, "accept");
    return accept && strcasestr(accept, HG_SSE_TYPE);
}

void hg_reply_jw(hg_req *r, unsigned status, hg_jw *w)
{
    hangar_err err = {0};
    char *json = NULL;
    hangar_code code = w ? hg_jw_finish(w, false, &json, &err) : hg_fail_memory(&err);
    hg_jw_free(w);
    if (code == HANGAR_OK) hg_reply_json(r, status, json);
    else hg_reply_error(r, &err, -1);
}

void hg_reply_fail(hg_req *r, const hangar_err *err)
{
    hg_reply_error(r, err, err->code == HANGAR_E_OVERLOADED ? RETRY_AFTER : -1);
}

char *hg_error_report(const hangar_err *err, const char *report)
{
    char *error = hg_error_json(HG_DIALECT_NATIVE, err);
    size_t len = error ? strlen(error) : 0;
    if (!report || len < 2 || error[len - 1] != '}') return error;
    char *both = hg_format("%.*s,\"report\":%s}", (int)(len - 1), error, report);
    free(error);
    return both;
}

hangar_code hg_keep_alive(const hg_jval *v, double *out, hangar_err *err)
{
    const char *text = hg_json_text(v);
    *out = NAN;
    if (hg_json_is_null(v) || hg_json_f64(v, out)) return HANGAR_OK;
    bool negative = text && *text == '-';
    if (!text || !hg_duration_parse(hg_str_of(text + negative), out))
        return hg_fail(err, HANGAR_E_USAGE,
                       "keep_alive needs seconds or a time such as \"5m\"; below 0 is for ever");
    if (negative) *out = -1;
    return HANGAR_OK;
}

const hg_verb *hg_route_verb(const char *path, bool *out_reads)
{
    static const struct {
        const hg_verb *verb;
        bool reads;
    } routes[] = {
#define WORKS false
#define READS true
#define HG_VERB(name)
#define HG_VERB_ROUTE(name, how, scope) {&hg_verb_##name, how},
#include "verbs/verbs.def"
#undef HG_VERB
#undef WORKS
#undef READS
    };
    if (!hg_str_starts(hg_str_of(path), HG_STR(PREFIX))) return NULL;
    for (size_t i = 0; i < HG_LEN(routes); i++) {
        if (!hg_streq(path + sizeof PREFIX - 1, routes[i].verb->name)) continue;
        *out_reads = routes[i].reads;
        return routes[i].verb;
    }
    return NULL;
}

/* ---- a task as an answer ---- */

typedef struct waiting {
    hg_req *r;
    hg_ear *ear;
    bool events;
} waiting;

static void on_gone(void *ctx)
{
    waiting *w = ctx;
    hg_ear_close(w->ear, true);
}

static void on_events(void *ctx, hg_str frames)
{
    waiting *w = ctx;
    if (w->events) hg_stream_write(w->r, frames);
}

/* The last event of a stream. */
static void end_stream(hg_req *r, const hg_task *t)
{
    const char *result = hg_task_result(t);
    if (hg_task_code(t) == HANGAR_OK) hg_sse_send(r, "result", hg_strdup(result ? result : "null"));
    else hg_sse_send(r, "error", hg_error_report(hg_task_error(t), result));
    hg_stream_end(r);
}

static void on_end(void *ctx, const hg_task *t)
{
    const waiting *w = ctx;
    const char *result = hg_task_result(t);
    hangar_code code = hg_task_code(t);
    if (w->events) {
        end_stream(w->r, t);
        return;
    }
    char *body =
        code == HANGAR_OK ? hg_strdup(result ? result : "null") : hg_error_report(hg_task_error(t), result);
    hangar_err err = {0};
    if (body) hg_reply_json(w->r, (unsigned)hangar_code_http(code), body);
    else if (hg_fail_memory(&err)) hg_reply_error(w->r, &err, -1);
}

void hg_answer_task(hg_req *r, hg_task *t, uint64_t after, bool events)
{
    static const hg_ear_fns fns = {on_events, on_end};
    hangar_err err = {0};
    waiting *w = hg_req_state(r, sizeof *w, NULL);
    hangar_code code = w ? hg_task_listen(t, after, &fns, w, &w->ear, &err) : hg_fail_memory(&err);
    if (code != HANGAR_OK) {
        if (!hg_task_background(t)) hg_task_cancel(t);
        hg_reply_error(r, &err, -1);
        return;
    }
    w->r = r;
    w->events = events;
    hg_req_on_gone(r, on_gone, w);
    if (events) hg_stream_begin(r, 200, HG_SSE_TYPE);
}

/* ---- the routes ---- */

/* Begins the task that is asked for; `doc` is taken. */
static void answer(hg_req *r, hg_json *doc)
{
    hangar_err err = {0};
    hg_task *t = NULL;
    const char *background = hg_req_query(r, "background");
    hg_task_spec spec = {.doc = doc};
    spec.verb = hg_route_verb(hg_req_endpoint(r)->path, &spec.reads);
    spec.background = background && !hg_streq(background, "0") && !hg_streq(background, "false");
    if (hg_task_start(hg_req_host(r)->jobs, &spec, &t, &err) != HANGAR_OK) {
        hg_reply_fail(r, &err);
        return;
    }
    if (!spec.background) {
        hg_answer_task(r, t, 0, hg_wants_events(r));
        return;
    }
    char place[64];
    snprintf(place, sizeof place, PREFIX "jobs/%s", hg_task_id(t));
    hg_reply_header(r, "location", place);
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "job", hg_task_id(t));
    hg_reply_jw(r, 202, w);
}

static void answer_post(hg_req *r)
{
    answer(r, hg_req_take_json(r));
}

/* One parameter of a query, typed as its row is. */
static hangar_code add_query(const hg_param *p, const char *text, hg_jw *w, hangar_err *err)
{
    char name[64];
    double number;
    char *end = NULL;
    hg_param_member(p, name);
    switch (p->type) {
    case HG_FLAG:
        if (!*text || hg_streq(text, "1") || hg_streq(text, "true")) hg_jw_bool(w, name, true);
        else if (hg_streq(text, "0") || hg_streq(text, "false")) hg_jw_bool(w, name, false);
        else return hg_fail(err, HANGAR_E_USAGE, "%s needs true or false, not '%s'", name, text);
        return HANGAR_OK;
    case HG_INT:
    case HG_NUMBER:
        number = strtod(text, &end);
        if (!*text || *end || !isfinite(number))
            return hg_fail(err, HANGAR_E_USAGE, "%s needs a number, not '%s'", name, text);
        if (p->type == HG_INT && number == floor(number) && fabs(number) < 9e15)
            hg_jw_i64(w, name, (int64_t)number);
        else hg_jw_f64(w, name, number);
        return HANGAR_OK;
    case HG_TEXTS:
        hg_jw_arr(w, name);
        hg_jw_text(w, NULL, text);
        hg_jw_end(w);
        return HANGAR_OK;
    default: hg_jw_text(w, name, text); return HANGAR_OK;
    }
}

/* The query as the object that a POST would have brought. */
static hangar_code read_query(const hg_req *r, const hg_verb *verb, hg_json **out, hangar_err *err)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    HG_AUTO(hg_auto_free) char *json = NULL;
    hangar_code code = w ? HANGAR_OK : hg_fail_memory(err);
    hg_jw_obj(w, NULL);
    for (const hg_param *p = verb->params; code == HANGAR_OK && p->name; p++) {
        char name[64];
        const char *text = hg_req_query(r, hg_param_member(p, name));
        if (text) code = add_query(p, text, w, err);
    }
    if (code == HANGAR_OK) code = hg_jw_finish(w, false, &json, err);
    return code == HANGAR_OK ? hg_json_parse(hg_str_of(json), NULL, out, err) : code;
}

static void answer_get(hg_req *r)
{
    hangar_err err = {0};
    hg_json *doc = NULL;
    bool reads;
    const hg_verb *verb = hg_route_verb(hg_req_endpoint(r)->path, &reads);
    if (read_query(r, verb, &doc, &err) != HANGAR_OK) hg_reply_error(r, &err, -1);
    else answer(r, doc);
}
