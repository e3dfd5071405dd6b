/* SPDX-License-Identifier: Apache-2.0 */
/* hangar/daemon.h: requests over the daemon's unix socket. What comes back is read as carefully as anything else from outside. */
#include "manager/daemon_client.h"

#include "base/fsx.h"
#include "base/mem.h"
#include "provider/http.h"
#include "provider/sse.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECT_SECONDS 5
#define SSE_TYPE        "text/event-stream"

/* ---- the socket ---- */

/* A path that fits into a socket's address: a longer one goes by way of its folder's descriptor, which is the caller's to close. */
static hangar_code short_path(const char *path, char out[108], int *dir_fd, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *dir = hg_path_dir(path);
    *dir_fd = -1;
    if (!dir) return hg_fail_memory(err);
    int n = snprintf(out, 108, "%s", path);
    if (n >= 108) {
        *dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (*dir_fd < 0) return hg_fail_errno(err, errno, "%s", dir);
        n = snprintf(out, 108, "/proc/self/fd/%d/%s", *dir_fd, hg_path_base(path));
    }
    return n < 108 ? HANGAR_OK : hg_fail(err, HANGAR_E_USAGE, "the socket's name is too long: %s", path);
}

bool hangar_daemon_running(hangar *h)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    HG_AUTO(hg_auto_close) int dir = -1;
    if (!h->settings->serve_socket[0] ||
        short_path(h->settings->serve_socket, to.sun_path, &dir, NULL) != HANGAR_OK)
        return false;
    HG_AUTO(hg_auto_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return false;
    /* A queue that is full is somebody who listens. */
    return connect(fd, (const struct sockaddr *)&to, sizeof to) == 0 || errno == EAGAIN ||
           errno == EINPROGRESS;
}

/* ---- what came ---- */

static hangar_code code_of(const char *name, hangar_code def)
{
    for (int i = 1; name && i < HANGAR_E_COUNT; i++)
        if (strcasecmp(hangar_code_name((hangar_code)i), name) == 0) return (hangar_code)i;
    return def;
}

/* By its HTTP status, for an answer without a name: that of another server, or an endpoint of another dialect. */
static hangar_code code_of_status(unsigned status)
{
    for (int i = 1; i < HANGAR_E_COUNT; i++)
        if (hangar_code_http((hangar_code)i) == (int)status) return (hangar_code)i;
    return HANGAR_E_FAILED;
}

/* {"error":{"code","message"},"report":...} as the call's error; the report, if any, goes to *report. */
static hangar_code told_error(const hg_jval *doc, hangar_code def, char **report, hangar_err *err)
{
    const hg_jval *error = hg_json_get(doc, "error"), *more = hg_json_get(doc, "report");
    hangar_code code = code_of(hg_json_text(hg_json_get(error, "code")), def);
    if (report && !hg_json_is_null(more)) *report = hg_json_print(more, false);
    return hg_fail(err, code, "%s", hg_json_text_or(hg_json_get(error, "message"), hangar_code_text(code)));
}

/* One answer that comes in events. */
typedef struct listener {
    const hg_daemon_call *call;
    hg_sse sse;
    char *result; /* the data of the last event */
    bool ended;
    hangar_code code;
    hangar_err *err;
    char *report;
} listener;

static bool on_event(void *ctx, const char *event, hg_str data)
{
    listener *l = ctx;
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    if (l->ended) return false;
    l->code = hg_wrap(l->err, hg_json_parse(data, NULL, &doc, l->err), "an event of the daemon's");
    const hg_jval *root = hg_json_root(doc);
    if (l->code != HANGAR_OK) return false;
    if (hg_streq(event, "error")) {
        l->ended = true;
        l->code = told_error(root, HANGAR_E_FAILED, &l->report, l->err);
    } else {
        l->ended = hg_streq(event, "result") || hg_streq(event, "done");
        l->code = l->call->fn(l->call->ctx, event, root, l->err);
        if (l->ended && l->code == HANGAR_OK && !(l->result = hg_strndup(data.ptr, data.len)))
            l->code = hg_fail_memory(l->err);
    }
    return l->code == HANGAR_OK && !l->ended;
}

static bool on_piece(void *ctx, const hg_http_reply *head, hg_str piece)
{
    listener *l = ctx;
    if (!hg_streq(head->type, SSE_TYPE)) {
        l->code = hg_fail(l->err, HANGAR_E_INVALID, "the daemon answered with '%s' where events were wanted",
                          head->type);
        return false;
    }
    if (l->code == HANGAR_OK && !l->ended) {
        hangar_code code = hg_sse_feed(&l->sse, piece, l->err);
        if (l->code == HANGAR_OK) l->code = code;
    }
    return l->code == HANGAR_OK && !l->ended;
}

/* ---- one request ---- */

static hangar_code nobody(hangar *h, hangar_err *err)
{
    return hg_fail(err, HANGAR_E_NETWORK, "no hangar daemon listens on %s; `hangar serve` starts one",
                   h->settings->serve_socket);
}

/* The end of a call whose answer is whole. */
static hangar_code take_body(const hg_http_reply *reply, bool raw, char **out_json, hangar_err *err)
{
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hg_str body = hg_buf_view(&reply->body);
    if (reply->status < 200 || reply->status > 299) {
        (void)!hg_json_parse(body, NULL, &doc, NULL);
        return told_error(hg_json_root(doc), code_of_status(reply->status), out_json, err);
    }
    hangar_code code = body.len && !raw ? hg_json_parse(body, NULL, &doc, err) : HANGAR_OK;
    if (code == HANGAR_OK && out_json && !(*out_json = hg_strndup(body.ptr, body.len)))
        code = hg_fail_memory(err);
    return hg_wrap(err, code, "the daemon's answer");
}

/* The end of a call that was told events. */
static hangar_code take_result(listener *l, const hg_http_reply *reply, char **out_json, hangar_err *err)
{
    if (reply->status < 200 || reply->status > 299) return take_body(reply, false, out_json, err);
    if (l->code == HANGAR_OK && !l->ended)
        l->code = hg_fail(err, HANGAR_E_NETWORK, "the daemon went away in the middle of its answer");
    if (out_json) {
        *out_json = l->result ? l->result : l->report;
        if (l->result) l->result = NULL;
        else l->report = NULL;
    }
    return l->code;
}

hangar_code hg_daemon_ask(hangar *h, const hg_daemon_call *call, char **out_json, hangar_err *err)
{
    char path[108];
    HG_AUTO(hg_auto_close) int dir = -1;
    hg_http_reply reply;
    hangar_err why = {0};
    listener l = {.call = call, .err = &why};
    if (out_json) *out_json = NULL;
    if (!h->settings->serve_socket[0]) return nobody(h, err);
    hangar_code code = short_path(h->settings->serve_socket, path, &dir, err);
    if (code == HANGAR_E_NOT_FOUND) return nobody(h, err);
    if (code != HANGAR_OK) return code;
    HG_AUTO(hg_auto_free) char *url = hg_format("http://localhost%s", call->path);
    if (!url) return hg_fail_memory(err);
    hg_http_request request = {.socket = path,
                               .url = url,
                               .method = call->method,
                               .body = hg_str_of(call->body),
                               .accept = call->fn ? SSE_TYPE : NULL,
                               .connect_timeout = CONNECT_SECONDS,
                               .timeout = call->timeout};
    hg_sse_init(&l.sse, on_event, &l);
    code = hg_http_call(&request, call->fn ? on_piece : NULL, &l, call->job, &reply, &why);
    if (code == HANGAR_E_NETWORK && !reply.connected) code = nobody(h, &why);
    else if (code == HANGAR_OK && call->fn) code = take_result(&l, &reply, out_json, &why);
    else if (code == HANGAR_OK) code = take_body(&reply, call->raw, out_json, &why);
    else hg_wrap(&why, code, "the daemon");
    if (code != HANGAR_OK && err) *err = why;
    free(l.result);
    free(l.report);
    hg_sse_deinit(&l.sse);
    hg_http_reply_deinit(&reply);
    return code;
}

char *hg_daemon_escape(const char *text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    char *out = malloc(strlen(text) * 3 + 1), *to = out;
    for (; out && *text; text++)
        to += strchr(plain, *text) ? sprintf(to, "%c", *text) : sprintf(to, "%%%02X", (unsigned char)*text);
    if (out) *to = '\0';
    return out;
}

/* ---- the public calls ---- */

/* The daemon's events as those of the job. */
static hangar_code pass_on(void *ctx, const char *event, const hg_jval *data, hangar_err *err)
{
    hangar_job *job = ctx;
    hangar_event e = {.eta = -1};
    (void)err;
    for (int kind = HANGAR_EVENT_PHASE; kind <= HANGAR_EVENT_TEXT; kind++) {
        if (!hg_streq(hangar_event_name((hangar_event_kind)kind), event)) continue;
        hg_str text = {0};
        if (kind == HANGAR_EVENT_TEXT && hg_json_str(hg_json_get(data, "text"), &text)) {
            hg_job_text(job, text);
            return HANGAR_OK;
        }
        e.kind = (hangar_event_kind)kind;
        e.item = hg_json_text(hg_json_get(data, "item"));
        e.text = hg_json_text(hg_json_get(data, "text"));
        (void)hg_json_u64(hg_json_get(data, "done"), &e.done);
        (void)hg_json_u64(hg_json_get(data, "total"), &e.total);
        e.rate = hg_json_f64_or(hg_json_get(data, "rate"), 0);
        e.eta = hg_json_f64_or(hg_json_get(data, "eta"), -1);
        hg_job_send(job, e);
    }
    return HANGAR_OK;
}

hangar_code hangar_daemon_request(hangar *h, const char *method, const char *path, const char *body,
                                  hangar_job *job, char **out_json, hangar_err *err)
{
    hg_daemon_call call = {.method = method, .path = path, .body = body, .job = job, .ctx = job};
    if (out_json) *out_json = NULL;
    if (!path || *path != '/') return hg_fail(err, HANGAR_E_USAGE, "a path begins with /");
    if (body && job) call.fn = pass_on;
    return hg_daemon_ask(h, &call, out_json, err);
}

hangar_code hangar_daemon_ps(hangar *h, char **out_json, hangar_err *err)
{
    return hangar_daemon_request(h, "GET", "/hangar/v1/ps", NULL, NULL, out_json, err);
}

hangar_code hangar_daemon_load(hangar *h, const char *model, const hangar_load_options *options,
                               hangar_job *job, char **out_json, hangar_err *err)
{
    hangar_load_options known = {0};
    HG_AUTO(hg_auto_free) char *body = NULL;
    if (out_json) *out_json = NULL;
    hangar_code code =
        hg_options_read(options, sizeof options->size, "hangar_load_options", &known, sizeof known, err);
    if (code != HANGAR_OK) return code;
    if (!model) return hg_fail(err, HANGAR_E_USAGE, "no model was named");
    if (known.keeps && !isfinite(known.keep_alive))
        return hg_fail(err, HANGAR_E_USAGE, "keep_alive is no number");
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "model", model);
    if (known.pinned) hg_jw_bool(w, "pinned", true);
    if (known.keeps) hg_jw_f64(w, "keep_alive", known.keep_alive);
    code = hg_jw_finish(w, false, &body, err);
    return code == HANGAR_OK ? hangar_daemon_request(h, "POST", "/hangar/v1/load", body, job, out_json, err)
                             : code;
}

hangar_code hangar_daemon_unload(hangar *h, const char *model, bool now, hangar_job *job, char **out_json,
                                 hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *body = NULL;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (out_json) *out_json = NULL;
    if (!model) return hg_fail(err, HANGAR_E_USAGE, "no model was named");
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "model", model);
    if (now) hg_jw_bool(w, "now", true);
    hangar_code code = hg_jw_finish(w, false, &body, err);
    hg_daemon_call call = {.method = "POST", .path = "/hangar/v1/unload", .body = body, .job = job};
    return code == HANGAR_OK ? hg_daemon_ask(h, &call, out_json, err) : code;
}

hangar_code hangar_daemon_why(hangar *h, const char *model, const char *kind, int limit, char **out_json,
                              hangar_err *err)
{
    hg_buf path;
    hg_buf_init(&path, 64 * HG_KIB);
    hg_buf_puts(&path, "/hangar/v1/why");
    const char *const query[][2] = {{"model", model}, {"kind", kind}};
    char mark = '?';
    for (size_t i = 0; i < HG_LEN(query); i++) {
        if (!query[i][1]) continue;
        HG_AUTO(hg_auto_free) char *text = hg_daemon_escape(query[i][1]);
        hg_buf_printf(&path, "%c%s=%s", mark, query[i][0], text ? text : "");
        mark = '&';
    }
    if (limit > 0) hg_buf_printf(&path, "%climit=%d", mark, limit);
    if (out_json) *out_json = NULL;
    hangar_code code = hg_buf_check(&path, err);
    if (code == HANGAR_OK)
        code = hangar_daemon_request(h, "GET", hg_buf_text(&path), NULL, NULL, out_json, err);
    hg_buf_deinit(&path);
    return code;
}
