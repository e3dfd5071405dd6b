/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl's multi handle on the loop: libcurl says which descriptors it waits for (on_socket) and when it wants to be called (on_deadline);
 * the loop tells it what is ready. Connections are kept and used again. And the start of a call.
 */
#include "provider/call.h"

#include "base/curl.h"
#include "base/log.h"
#include "base/mem.h"

#include <unistd.h>

#define CONNECTIONS_KEPT 256
#define CONNECT_SECONDS  10
#define FIRST_SECONDS    60
#define STALL_SECONDS    60
#define INBOX_MAX        (32 * HG_MIB)

/* ---- descriptors and deadlines ---- */

static void act(hg_cloud *cloud, curl_socket_t fd, int events)
{
    int running = 0;
    CURLMcode mc = curl_multi_socket_action(cloud->multi, fd, events, &running);
    if (mc != CURLM_OK) hg_log(HG_LOG_ERROR, "provider", "libcurl: %s", curl_multi_strerror(mc));
    hg_call_drain(cloud);
}

static void on_ready(void *ctx, unsigned events)
{
    const hg_cloud_socket *s = ctx; /* libcurl may have it freed in what follows */
    int told = 0;
    if (events & (HG_READABLE | HG_HUNG_UP)) told |= CURL_CSELECT_IN;
    if (events & HG_WRITABLE) told |= CURL_CSELECT_OUT;
    act(s->cloud, s->fd, told);
}

static void on_time(void *ctx)
{
    act(ctx, CURL_SOCKET_TIMEOUT, 0);
}

static void forget_socket(hg_cloud *cloud, int fd)
{
    if (fd < 0 || (size_t)fd >= cloud->socket_cap || !cloud->sockets[fd]) return;
    hg_watch_free(cloud->sockets[fd]->watch);
    free(cloud->sockets[fd]);
    cloud->sockets[fd] = NULL;
}

/* The place of a descriptor, made when there is none; NULL when out of memory. */
static hg_cloud_socket *socket_at(hg_cloud *cloud, int fd)
{
    size_t before = cloud->socket_cap, at = (size_t)fd;
    if (!hg_grow((void **)&cloud->sockets, &cloud->socket_cap, at + 1, sizeof *cloud->sockets)) return NULL;
    for (size_t i = before; i < cloud->socket_cap; i++) cloud->sockets[i] = NULL;
    if (cloud->sockets[at]) return cloud->sockets[at];
    hg_cloud_socket *s = hg_calloc(1, sizeof *s);
    if (!s) return NULL;
    *s = (hg_cloud_socket){.cloud = cloud, .fd = fd};
    if (hg_watch_new(cloud->loop, fd, on_ready, s, &s->watch, NULL) != HANGAR_OK) {
        free(s);
        return NULL;
    }
    return cloud->sockets[at] = s;
}

/* libcurl: what to wait for on a descriptor. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *unused)
{
    hg_cloud *cloud = ctx;
    (void)easy, (void)unused;
    if (what == CURL_POLL_REMOVE) {
        forget_socket(cloud, fd);
        return 0;
    }
    hg_cloud_socket *s = socket_at(cloud, fd);
    unsigned events = 0;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT) events |= HG_READABLE;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT) events |= HG_WRITABLE;
    if (s && hg_watch_set(s->watch, events, NULL) == HANGAR_OK) return 0;
    hg_log(HG_LOG_ERROR, "provider", "descriptor %d cannot be watched", fd);
    return -1;
}

static int on_deadline(CURLM *multi, long milliseconds, void *ctx)
{
    hg_cloud *cloud = ctx;
    (void)multi;
    if (milliseconds < 0) hg_timer_stop(cloud->timer);
    else hg_timer_set(cloud->timer, (double)milliseconds / 1000, 0);
    return 0;
}

/* libcurl: a connection is over. Its watch goes first. */
static int on_close(void *ctx, curl_socket_t fd)
{
    forget_socket(ctx, fd);
    return close(fd);
}

/* ---- the handle ---- */

/* libcurl is loaded by the first call: most daemons have none. The loop waits for that, about 10 ms, once. */
static hangar_code open_multi(hg_cloud *cloud, hangar_err *err)
{
    if (cloud->multi) return HANGAR_OK;
    hangar_code code = hg_curl_ready(err);
    if (code != HANGAR_OK) return code;
    cloud->multi = curl_multi_init();
    if (!cloud->multi) return hg_fail_memory(err);
    curl_multi_setopt(cloud->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(cloud->multi, CURLMOPT_SOCKETDATA, cloud);
    curl_multi_setopt(cloud->multi, CURLMOPT_TIMERFUNCTION, on_deadline);
    curl_multi_setopt(cloud->multi, CURLMOPT_TIMERDATA, cloud);
    curl_multi_setopt(cloud->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_KEPT);
    return HANGAR_OK;
}

hangar_code hg_cloud_new(hg_loop *loop, hg_cloud **out, hangar_err *err)
{
    *out = NULL;
    hg_cloud *cloud = hg_calloc(1, sizeof *cloud);
    if (!cloud) return hg_fail_memory(err);
    cloud->loop = loop;
    hangar_code code = hg_timer_new(loop, on_time, cloud, &cloud->timer, err);
    if (code == HANGAR_OK) *out = cloud;
    else hg_cloud_free(cloud);
    return code;
}

void hg_cloud_free(hg_cloud *cloud)
{
    if (!cloud) return;
    while (cloud->calls) hg_call_free(cloud->calls);
    if (cloud->multi) curl_multi_cleanup(cloud->multi);
    for (size_t i = 0; i < cloud->socket_cap; i++) forget_socket(cloud, (int)i);
    free(cloud->sockets);
    hg_timer_free(cloud->timer);
    free(cloud);
}

/* ---- the start of a call ---- */

/* The key's value, and the header that it goes out in. */
static hangar_code take_key(hg_cloud_call *call, hangar_err *err)
{
    const char *name = call->target->key_env;
    if (!name || !name[0]) return HANGAR_OK;
    const char *value = getenv(name);
    if (!value || !value[0]) return hg_fail(err, HANGAR_E_DENIED, "no key: %s is not set", name);
    if (!hg_web_key_fits(value))
        return hg_fail(err, HANGAR_E_INVALID, "the key in %s has a blank, a control or a non-ASCII character",
                       name);
    call->key = hg_strdup(value);
    if (!call->key || !hg_web_key_header(&call->headers, call->provider->key_header, call->key))
        return hg_fail_memory(err);
    return HANGAR_OK;
}

static hangar_code make_headers(hg_cloud_call *call, hangar_err *err)
{
    static const char *const always[] = {"Content-Type: application/json", "Accept: text/event-stream",
                                         "Accept-Encoding: identity", "Expect:"};
    for (size_t i = 0; i < HG_LEN(always); i++)
        if (!hg_web_header(&call->headers, always[i])) return hg_fail_memory(err);
    for (const char *const *h = call->provider->headers; h && *h; h++)
        if (!hg_web_header(&call->headers, *h)) return hg_fail_memory(err);
    return take_key(call, err);
}

static hangar_code make_easy(hg_cloud_call *call, hangar_err *err)
{
    bool local = false;
    double connect = call->target->connect_timeout;
    hangar_code code = hg_web_check(call->url, false, &local, err);
    if (code != HANGAR_OK) return code;
    CURL *e = call->easy = curl_easy_init();
    if (!e || !hg_web_options(e, local, call->detail) ||
        curl_easy_setopt(e, CURLOPT_URL, call->url) != CURLE_OK)
        return hg_fail_memory(err);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, call->headers);
    curl_easy_setopt(e, CURLOPT_POST, 1L);
    curl_easy_setopt(e, CURLOPT_POSTFIELDS, call->body);
    curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(call->body));
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)((connect > 0 ? connect : CONNECT_SECONDS) * 1000));
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, hg_call_on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, hg_call_on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, call->cloud);
    curl_easy_setopt(e, CURLOPT_PRIVATE, call);
    return HANGAR_OK;
}

/* Everything that the request needs. USAGE: the question; NO_MEMORY; anything else is a fault of the configuration. */
static hangar_code prepare(hg_cloud_call *call, const hg_question *q, hangar_err *err)
{
    const hg_provider *p = call->provider;
    if (!p) return hg_fail(err, HANGAR_E_INVALID, "no provider is called %s", q->target->provider);
    if (q->begun.len && !(p->continues && p->continues(q->target->model)))
        return hg_fail(err, HANGAR_E_USAGE, "%s (%s) cannot go on with an answer that has begun",
                       q->target->name, q->target->provider);
    hangar_code code = hg_provider_request(p, q, &call->url, &call->body, err);
    if (code == HANGAR_OK) code = make_headers(call, err);
    if (code == HANGAR_OK && p->begin) code = p->begin(q, &call->answer, err);
    if (code == HANGAR_OK) code = make_easy(call, err);
    return code;
}

static hangar_code new_call(hg_cloud *cloud, const hg_cloud_target *target, const hg_cloud_fns *fns,
                            void *ctx, hg_cloud_call **out, hangar_err *err)
{
    hg_cloud_call *call = *out = hg_calloc(1, sizeof *call);
    if (!call) return hg_fail_memory(err);
    call->cloud = cloud;
    call->target = target;
    call->provider = hg_provider_get(target->provider);
    call->fns = *fns;
    call->ctx = ctx;
    call->first_timeout = target->first_timeout > 0 ? target->first_timeout : FIRST_SECONDS;
    call->stall_timeout = target->stall_timeout > 0 ? target->stall_timeout : STALL_SECONDS;
    hg_buf_init(&call->inbox, INBOX_MAX);
    hg_buf_init(&call->refusal, HG_CLOUD_ERROR_MAX);
    hg_sse_init(&call->sse, hg_call_on_event, call);
    hg_cloud_answer_init(&call->answer, &call->fns, ctx);
    call->next = cloud->calls;
    if (cloud->calls) cloud->calls->prev = call;
    cloud->calls = call;
    return hg_timer_new(cloud->loop, hg_call_on_timer, call, &call->timer, err);
}

hangar_code hg_cloud_start(hg_cloud *cloud, const hg_cloud_target *target, const hg_jval *ask, hg_str begun,
                           const hg_cloud_fns *fns, void *ctx, hg_cloud_call **out, hangar_err *err)
{
    hg_question q = {.target = target, .ask = ask, .begun = begun, .own = !target->url || !target->url[0]};
    hg_cloud_call *call = NULL;
    hangar_err why = {0};
    *out = NULL;
    hangar_code code = open_multi(cloud, &why);
    if (code == HANGAR_OK) code = new_call(cloud, target, fns, ctx, &call, &why);
    if (code == HANGAR_OK) code = prepare(call, &q, &why);
    if (code == HANGAR_OK && curl_multi_add_handle(cloud->multi, call->easy) != CURLM_OK)
        code = hg_fail_memory(&why);
    if (code == HANGAR_E_USAGE || code == HANGAR_E_NO_MEMORY || code == HANGAR_E_INTERNAL) {
        hg_call_free(call);
        return hg_fail(err, code, "%s", why.msg);
    }
    call->running = code == HANGAR_OK;
    if (code != HANGAR_OK) {
        call->fault = HG_CLOUD_CONFIG;
        call->why = why;
    }
    hg_call_watch_time(call);
    *out = call;
    return HANGAR_OK;
}
