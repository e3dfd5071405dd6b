/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/net.h"

#include "base/clock.h"
#include "base/curl.h"
#include "base/log.h"
#include "base/mem.h"
#include "hub/guard.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define IGNORED_MAX \
    (64u << 10)           /* body bytes of a redirect or an error that are read for the connection's sake */
#define STALL_BYTES  1024 /* fewer in stall_timeout is a stall */
#define POLL_SECONDS 0.1

/* Appends a header; on failure the list is freed and NULL. */
static bool add_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *more = curl_slist_append(*list, line);
    if (!more) {
        curl_slist_free_all(*list);
        *list = NULL;
        return false;
    }
    *list = more;
    return true;
}

static hangar_code make_headers(hg_net *net, hangar_err *err)
{
    static const char *const always[] = {"Accept-Encoding: identity", "Accept: */*"};
    for (size_t i = 0; i < HG_LEN(always); i++)
        if (!add_header(&net->plain, always[i]) || !add_header(&net->authorized, always[i]))
            return hg_fail_memory(err);
    const char *token = net->settings->token;
    if (!token || !token[0]) return HANGAR_OK;
    for (const char *c = token; *c; c++)
        if (*c <= ' ' || *c >= 0x7f)
            return hg_fail(err, HANGAR_E_INVALID,
                           "the token has a blank, a control or a non-ASCII character");
    HG_AUTO(hg_auto_free) char *line = hg_format("Authorization: Bearer %s", token);
    return line && add_header(&net->authorized, line) ? HANGAR_OK : hg_fail_memory(err);
}

hangar_code hg_net_open(const hg_settings *settings, hangar_job *job, hg_net **out, hangar_err *err)
{
    hangar_code code = hg_curl_ready(err);
    if (code != HANGAR_OK) return code;
    hg_net *net = hg_calloc(1, sizeof *net);
    if (!net) return hg_fail_memory(err);
    net->settings = settings;
    net->job = job;
    net->deadline = settings->timeout > 0 ? hg_now() + settings->timeout : 0;
    code = hg_url_parse(settings->endpoint, &net->endpoint, err);
    if (code != HANGAR_OK) hg_wrap(err, code, "the endpoint");
    if (code == HANGAR_OK) code = make_headers(net, err);
    net->multi = code == HANGAR_OK ? curl_multi_init() : NULL;
    if (code == HANGAR_OK && !net->multi) code = hg_fail_memory(err);
    if (code != HANGAR_OK) {
        hg_net_close(net);
        return code;
    }
    curl_multi_setopt(net->multi, CURLMOPT_MAXCONNECTS, (long)settings->concurrent * 2 + 4);
    *out = net;
    return HANGAR_OK;
}

void hg_net_close(hg_net *net)
{
    if (!net) return;
    if (net->multi) curl_multi_cleanup(net->multi);
    curl_slist_free_all(net->plain);
    curl_slist_free_all(net->authorized);
    hg_url_deinit(&net->endpoint);
    free(net);
}

void hg_net_auto_close(hg_net **net)
{
    hg_net_close(*net);
}

hangar_code hg_net_check(const hg_net *net, hangar_err *err)
{
    hangar_code code = hg_job_check(net->job, err);
    if (code != HANGAR_OK) return code;
    if (net->deadline > 0 && hg_now() > net->deadline)
        return hg_fail(
            err, HANGAR_E_TIMEOUT,
            "not done within models.download.timeout (%g s); what came is kept, run it again to go on",
            net->settings->timeout);
    return HANGAR_OK;
}

hangar_code hg_net_sleep(const hg_net *net, double seconds, hangar_err *err)
{
    double end = hg_now() + seconds;
    for (;;) {
        hangar_code code = hg_net_check(net, err);
        double left = end - hg_now();
        if (code != HANGAR_OK || left <= 0) return code;
        hg_sleep(left < POLL_SECONDS ? left : POLL_SECONDS);
    }
}

void hg_net_warn(hg_net *net, const hg_reply *reply)
{
    if (!reply->warning) return;
    hg_str text = hg_str_of(reply->warning), topic;
    if (!hg_str_cut(&text, ';', &topic)) text = topic;
    char name[sizeof net->warned[0]];
    snprintf(name, sizeof name, "%.*s", HG_STR_ARG(topic));
    for (unsigned i = 0; i < net->warned_count; i++)
        if (strcmp(net->warned[i], name) == 0) return;
    if (net->warned_count == HG_LEN(net->warned)) return;
    memcpy(net->warned[net->warned_count++], name, sizeof name);
    text = hg_str_trim(text);
    if (text.len > 300) text.len = 300;
    hg_job_note(net->job, "the Hub says: %.*s", HG_STR_ARG(text));
}

void hg_net_wake(hg_net *net)
{
    curl_multi_wakeup(net->multi);
}

/* ---- what libcurl calls ---- */

static size_t on_header(char *bytes, size_t size, size_t count, void *ctx)
{
    hg_request *req = ctx;
    size_t len = size * count;
    req->bytes += len;
    hg_reply_line(&req->reply, (hg_str){bytes, len});
    if (req->reply.no_memory) hg_fail_memory(&req->why);
    else if (req->reply.over)
        hg_fail(&req->why, HANGAR_E_LIMIT, "an answer with more than %u bytes of headers", HG_HEADERS_MAX);
    return req->why.code == HANGAR_OK ? len : 0;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *ctx)
{
    hg_request *req = ctx;
    size_t len = size * count;
    if (req->reply.status >= 200 && req->reply.status < 300) {
        size_t taken = req->sink(req, bytes, len);
        req->paused = taken == CURL_WRITEFUNC_PAUSE;
        if (!req->paused) req->bytes += len;
        return taken;
    }
    req->bytes += len;
    req->ignored += len;
    return req->ignored <= IGNORED_MAX ? len : 0;
}

/* The guard: see guard.h. */
static curl_socket_t on_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *addr)
{
    hg_request *req = ctx;
    hg_net *net = req->net;
    bool open = hg_addr_is_public(&addr->addr, (socklen_t)addr->addrlen);
    (void)purpose;
    if (req->own) {
        if (open) net->public_seen = true;
        else net->inner_seen = true;
    } else if (!open && net->public_seen && !net->inner_seen) {
        req->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(addr->family, addr->socktype | SOCK_CLOEXEC, addr->protocol);
}

/* ---- a request ---- */

static bool set_options(hg_request *req, size_t buffer)
{
    CURL *e = req->easy;
    const hg_settings *s = req->net->settings;
    CURLcode rc = curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    if (rc == CURLE_OK) rc = curl_easy_setopt(e, CURLOPT_USERAGENT, "hangar/" HANGAR_VERSION);
    if (rc != CURLE_OK) return false;
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(e, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE);
    curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)(s->connect_timeout * 1000));
    curl_easy_setopt(e, CURLOPT_BUFFERSIZE, (long)buffer);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, req->detail);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, req);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, req);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_socket);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, req);
    curl_easy_setopt(e, CURLOPT_PRIVATE, req);
    return true;
}

hangar_code hg_request_init(hg_request *req, hg_net *net, size_t buffer, hg_sink_fn *sink, void *ctx,
                            hangar_err *err)
{
    *req = (hg_request){.net = net, .sink = sink, .ctx = ctx};
    req->easy = curl_easy_init();
    if (!req->easy || !set_options(req, buffer)) {
        hg_request_deinit(req);
        return hg_fail_memory(err);
    }
    return HANGAR_OK;
}

void hg_request_deinit(hg_request *req)
{
    hg_request_stop(req);
    if (req->easy) curl_easy_cleanup(req->easy);
    hg_reply_reset(&req->reply);
    hg_reply_reset(&req->linked);
    hg_url_deinit(&req->url);
    *req = (hg_request){0};
}

void hg_request_stop(hg_request *req)
{
    if (req->running) curl_multi_remove_handle(req->net->multi, req->easy);
    req->running = false;
    req->paused = false;
}

/* Sends the request for req->url. */
static hangar_code launch(hg_request *req, hangar_err *err)
{
    hg_net *net = req->net;
    hg_reply_reset(&req->reply);
    req->own = hg_url_same_origin(&req->url, &net->endpoint);
    req->ignored = 0;
    req->detail[0] = '\0';
    req->launched = req->mark_time = hg_now();
    req->mark_bytes = req->bytes;
    struct curl_slist *headers = req->own ? net->authorized : net->plain;
    if (curl_easy_setopt(req->easy, CURLOPT_URL, req->url.text) != CURLE_OK ||
        curl_easy_setopt(req->easy, CURLOPT_HTTPHEADER, headers) != CURLE_OK ||
        curl_easy_setopt(req->easy, CURLOPT_RANGE, req->range[0] ? req->range : NULL) != CURLE_OK ||
        curl_multi_add_handle(net->multi, req->easy) != CURLM_OK)
        return hg_fail_memory(err);
    req->running = true;
    return HANGAR_OK;
}

hangar_code hg_request_start(hg_request *req, const hg_url *url, const char *range, hangar_err *err)
{
    hg_request_stop(req);
    hg_url copy = {.text = hg_strdup(url->text),
                   .host = hg_strdup(url->host),
                   .https = url->https,
                   .port = url->port};
    hg_url_deinit(&req->url);
    req->url = copy;
    if (!copy.text || !copy.host) return hg_fail_memory(err);
    snprintf(req->range, sizeof req->range, "%s", range);
    hg_reply_reset(&req->linked);
    req->hops = 0;
    req->refused = false;
    req->why = (hangar_err){0};
    return launch(req, err);
}

hangar_code hg_request_follow(hg_request *req, bool *again, hangar_err *err)
{
    int status = req->reply.status;
    *again = false;
    if (status != 301 && status != 302 && status != 303 && status != 307 && status != 308) return HANGAR_OK;
    if (!req->reply.location || !req->reply.location[0])
        return hg_fail(err, HANGAR_E_NETWORK, "a redirect (%d) that leads nowhere", status);
    if (++req->hops > HG_HOPS_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "more than %d redirects in a row", HG_HOPS_MAX);
    hg_url next = {0};
    hangar_code code = hg_url_follow(&req->url, req->reply.location, &next, err);
    if (code != HANGAR_OK) return code;
    if (req->own && (req->reply.linked_etag[0] || req->reply.linked_size_known)) {
        hg_reply_reset(&req->linked);
        req->linked = req->reply;
        req->reply = (hg_reply){0};
    }
    hg_url_deinit(&req->url);
    req->url = next;
    hg_request_stop(req);
    code = launch(req, err);
    *again = code == HANGAR_OK;
    return code;
}

bool hg_request_stalled(hg_request *req, double now)
{
    if (req->paused || req->bytes - req->mark_bytes >= STALL_BYTES) {
        req->mark_time = now;
        req->mark_bytes = req->bytes;
        return false;
    }
    double most = req->net->settings->stall_timeout;
    if (most <= 0 || now - req->mark_time <= most) return false;
    snprintf(req->detail, sizeof req->detail, "no data for %g s", most);
    return true;
}
