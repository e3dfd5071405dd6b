/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One easy handle in a multi handle of its own: the multi's poll wakes ten times a second, so that a cancel and the limits of time are seen
 * while nothing comes.
 */
#include "provider/http.h"

#include "base/clock.h"
#include "base/curl.h"
#include "base/mem.h"
#include "provider/web.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define POLL_MS         100
#define CONNECT_SECONDS 10
#define SOCKET_PATH_MAX 107

typedef struct call {
    const hg_http_request *request;
    hg_http_reply *reply;
    hg_http_fn *fn;
    void *ctx;
    CURL *easy;
    CURLM *multi;
    struct curl_slist *headers;
    hg_web_head head;
    int folder;     /* that a long socket path leads through; -1 = none */
    bool enough;    /* fn wants no more */
    double last;    /* when a byte came */
    hangar_err why; /* why a callback broke it off */
    char detail[CURL_ERROR_SIZE];
} call;

static size_t on_header(char *bytes, size_t size, size_t count, void *ctx)
{
    call *c = ctx;
    size_t len = size * count;
    c->last = hg_now();
    hg_web_line(&c->head, (hg_str){bytes, len});
    if (c->head.over) {
        hg_fail(&c->why, HANGAR_E_LIMIT, "an answer with more than %u bytes of headers", HG_WEB_HEADERS_MAX);
        return 0;
    }
    c->reply->status = c->head.status;
    c->reply->retry_after = c->head.waits ? c->head.retry_after : -1;
    memcpy(c->reply->type, c->head.type, sizeof c->reply->type);
    return len;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *ctx)
{
    call *c = ctx;
    size_t len = size * count;
    hg_buf *body = &c->reply->body;
    c->last = hg_now();
    if (c->head.status < 200 || c->head.status > 299) {
        size_t room = HG_HTTP_ERROR_MAX - (body->len < HG_HTTP_ERROR_MAX ? body->len : HG_HTTP_ERROR_MAX);
        hg_buf_add(body, bytes, len < room ? len : room);
    } else if (c->fn) {
        c->enough = !c->fn(c->ctx, c->reply, (hg_str){bytes, len});
    } else {
        hg_buf_add(body, bytes, len);
    }
    if (hg_buf_check(body, &c->why) != HANGAR_OK) {
        hg_wrap(&c->why, c->why.code, "the answer's body");
        return 0;
    }
    return c->enough ? 0 : len;
}

/* The unix socket's path for libcurl, which takes no longer ones than the system: a long one is named by way of its folder. */
static hangar_code set_socket(call *c, hangar_err *err)
{
    const char *path = c->request->socket, *name = strrchr(path, '/');
    char way[SOCKET_PATH_MAX + 1];
    if (strlen(path) > SOCKET_PATH_MAX && name) {
        HG_AUTO(hg_auto_free) char *folder = hg_strndup(path, (size_t)(name - path) + 1);
        if (!folder) return hg_fail_memory(err);
        c->folder = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (c->folder < 0) {
            int sys = errno;
            hg_fail_errno(err, sys, "%s", folder);
            return hg_fail(err, HANGAR_E_NETWORK, "%s", err ? err->msg : "");
        }
        int len = snprintf(way, sizeof way, "/proc/self/fd/%d%s", c->folder, name);
        if (len < 0 || (size_t)len >= sizeof way)
            return hg_fail(err, HANGAR_E_USAGE, "%s: too long a name for a socket", name + 1);
        path = way;
    }
    return curl_easy_setopt(c->easy, CURLOPT_UNIX_SOCKET_PATH, path) == CURLE_OK ? HANGAR_OK
                                                                                 : hg_fail_memory(err);
}

static hangar_code make_headers(call *c, hangar_err *err)
{
    const hg_http_request *q = c->request;
    bool has_key = q->key && q->key[0];
    if (has_key && !hg_web_key_fits(q->key))
        return hg_fail(err, HANGAR_E_USAGE, "the key has a blank, a control or a non-ASCII character");
    HG_AUTO(hg_auto_free)
    char *type = hg_format("Content-Type: %s", q->type ? q->type : "application/json");
    HG_AUTO(hg_auto_free) char *accept = hg_format("Accept: %s", q->accept ? q->accept : "*/*");
    if (!type || !accept || !hg_web_header(&c->headers, "Expect:") || !hg_web_header(&c->headers, accept) ||
        (q->body.len && !hg_web_header(&c->headers, type)) ||
        (has_key && !hg_web_key_header(&c->headers, "Authorization: Bearer ", q->key)))
        return hg_fail_memory(err);
    return HANGAR_OK;
}

/* Method and body; libcurl's own choice of method is overruled by name. */
static bool set_method(call *c)
{
    const hg_http_request *q = c->request;
    const char *method = q->method ? q->method : q->body.len ? "POST" : "GET";
    if (strcmp(method, "HEAD") == 0) return curl_easy_setopt(c->easy, CURLOPT_NOBODY, 1L) == CURLE_OK;
    if (q->body.len || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0) {
        curl_easy_setopt(c->easy, CURLOPT_POST, 1L);
        curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, q->body.len ? q->body.ptr : "");
        curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body.len);
    }
    return curl_easy_setopt(c->easy, CURLOPT_CUSTOMREQUEST, method) == CURLE_OK;
}

static hangar_code prepare(call *c, hangar_err *err)
{
    const hg_http_request *q = c->request;
    bool over_socket = q->socket && q->socket[0], local = false;
    hangar_code code = hg_curl_ready(err);
    if (code == HANGAR_OK) code = hg_web_check(q->url, over_socket, &local, err);
    if (code == HANGAR_OK) code = make_headers(c, err);
    if (code != HANGAR_OK) return code;
    c->easy = curl_easy_init();
    c->multi = curl_multi_init();
    if (!c->easy || !c->multi || !hg_web_options(c->easy, local || over_socket, c->detail) ||
        !set_method(c) || curl_easy_setopt(c->easy, CURLOPT_URL, q->url) != CURLE_OK)
        return hg_fail_memory(err);
    if (over_socket && (code = set_socket(c, err)) != HANGAR_OK) return code;
    double connect = q->connect_timeout > 0 ? q->connect_timeout : CONNECT_SECONDS;
    curl_easy_setopt(c->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(connect * 1000));
    curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers);
    curl_easy_setopt(c->easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c->easy, CURLOPT_HEADERDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
    return HANGAR_OK;
}

/* What libcurl's end means. */
static hangar_code translate(call *c, CURLcode rc, hangar_err *err)
{
    if (rc == CURLE_OK || c->enough) return HANGAR_OK;
    if (c->why.code != HANGAR_OK) return hg_fail(err, c->why.code, "%s", c->why.msg);
    if (rc == CURLE_OUT_OF_MEMORY) return hg_fail_memory(err);
    const char *words = c->detail[0] ? c->detail : curl_easy_strerror(rc);
    hangar_code code = rc == CURLE_OPERATION_TIMEDOUT ? HANGAR_E_TIMEOUT : HANGAR_E_NETWORK;
    return hg_fail(err, code, "%s", words);
}

/* CANCELLED, TIMEOUT, or OK. */
static hangar_code check_limits(call *c, double began, hangar_job *job, hangar_err *err)
{
    const hg_http_request *q = c->request;
    double now = hg_now();
    hangar_code code = hg_job_check(job, err);
    if (code != HANGAR_OK) return code;
    if (q->timeout > 0 && now - began > q->timeout)
        return hg_fail(err, HANGAR_E_TIMEOUT, "no answer within %g s", q->timeout);
    if (q->stall_timeout > 0 && now - c->last > q->stall_timeout)
        return hg_fail(err, HANGAR_E_TIMEOUT, "nothing came for %g s", q->stall_timeout);
    return HANGAR_OK;
}

static hangar_code perform(call *c, hangar_job *job, hangar_err *err)
{
    double began = c->last = hg_now();
    if (curl_multi_add_handle(c->multi, c->easy) != CURLM_OK) return hg_fail_memory(err);
    hangar_code code = HANGAR_OK;
    for (;;) {
        int running = 0, left = 0;
        CURLMcode mc = curl_multi_perform(c->multi, &running);
        CURLMsg *msg = mc == CURLM_OK ? curl_multi_info_read(c->multi, &left) : NULL;
        if (msg) {
            code = translate(c, msg->data.result, err);
            break;
        }
        if (mc == CURLM_OK) mc = curl_multi_poll(c->multi, NULL, 0, POLL_MS, NULL);
        if (mc != CURLM_OK) {
            code = hg_fail(err, HANGAR_E_INTERNAL, "libcurl: %s", curl_multi_strerror(mc));
            break;
        }
        if ((code = check_limits(c, began, job, err)) != HANGAR_OK) break;
    }
    curl_off_t connected = 0;
    curl_easy_getinfo(c->easy, CURLINFO_PRETRANSFER_TIME_T, &connected);
    c->reply->connected = connected > 0 || c->head.status != 0;
    curl_multi_remove_handle(c->multi, c->easy);
    return code;
}

hangar_code hg_http_call(const hg_http_request *request, hg_http_fn *fn, void *ctx, hangar_job *job,
                         hg_http_reply *out, hangar_err *err)
{
    *out = (hg_http_reply){.retry_after = -1};
    hg_buf_init(&out->body, request->max_body ? request->max_body : HG_HTTP_BODY_MAX);
    call *c = hg_calloc(1, sizeof *c);
    if (!c) return hg_fail_memory(err);
    c->folder = -1;
    c->request = request;
    c->reply = out;
    c->fn = fn;
    c->ctx = ctx;
    hangar_code code = hg_job_check(job, err);
    if (code == HANGAR_OK) code = prepare(c, err);
    if (code == HANGAR_OK) code = perform(c, job, err);
    if (c->easy) curl_easy_cleanup(c->easy);
    if (c->multi) curl_multi_cleanup(c->multi);
    if (c->folder >= 0) close(c->folder);
    hg_web_wipe(c->headers);
    free(c);
    return code;
}

void hg_http_reply_deinit(hg_http_reply *reply)
{
    hg_buf_deinit(&reply->body);
}
