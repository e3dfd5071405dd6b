/* SPDX-License-Identifier: Apache-2.0 */
/* A request from its first line to its endpoint, and its end. */
#include "api/access.h"
#include "api/http_inner.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "manager/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

/* ---- beginning and end ---- */

/* 16 hex digits that nobody foresees; the random bytes are fetched for many at a time. */
static void name_request(hg_req *r)
{
    hg_server *s = r->s;
    if (s->random_left < 8) {
        if (getrandom(s->random, sizeof s->random, 0) != (ssize_t)sizeof s->random)
            hg_log(HG_LOG_WARN, "http", "no random bytes for the ids of requests");
        s->random_left = sizeof s->random;
    }
    s->random_left -= 8;
    hg_hex_encode(s->random + s->random_left, 8, r->id);
}

void *hg_req_begin(void *cls, const char *uri, struct MHD_Connection *connection)
{
    hg_shard *shard = cls;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    hg_conn *c = info ? info->socket_context : NULL;
    hg_req *r = c ? hg_calloc(1, sizeof *r) : NULL;
    if (!r) return NULL;
    r->s = shard->s;
    r->conn = c;
    r->uri = hg_str_of(uri ? uri : "");
    r->began = hg_now();
    r->method = r->version = "";
    r->body_len = UINT64_MAX;
    name_request(r);
    hg_buf_init(&r->headers, HG_HTTP_REPLY_HEADERS);
    hg_buf_init(&r->out, SIZE_MAX / 2);
    hg_target_parse(r->uri, &r->target, &r->target_err);
    r->dialect = hg_route_dialect(&r->target);
    c->req = r;
    hg_conn_move(c, HG_CONN_HEAD);
    return r;
}

/* What the figures tell of a request. A path that nobody knows is none, so that callers cannot make series. */
static void count_request(const hg_req *r)
{
    char status[8];
    const char *route = r->ep ? r->ep->path : "";
    const char *method = r->ep ? r->head ? "HEAD" : r->ep->method : "";
    snprintf(status, sizeof status, "%u", r->status);
    hg_metric_add(HG_M_HTTP_REQUESTS, (const char *const[]){route, method, status}, 1);
    if (r->ep) hg_metric_add(HG_M_HTTP_SECONDS, (const char *const[]){route}, hg_now() - r->began);
    if (r->body_got > 0) hg_metric_add(HG_M_HTTP_RECEIVED, NULL, (double)r->body_got);
    if (r->sent > 0) hg_metric_add(HG_M_HTTP_SENT, NULL, (double)r->sent);
    if (r->streams) hg_metric_add(HG_M_HTTP_STREAMS, NULL, -1);
}

static void req_free(hg_req *r)
{
    hg_body_free(r);
    if (r->state && r->leave) r->leave(r->state);
    free(r->state);
    if (r->answer) MHD_destroy_response(r->answer);
    hg_target_deinit(&r->target);
    free(r->parts);
    hg_buf_deinit(&r->headers);
    hg_buf_deinit(&r->out);
    free(r);
}

void hg_req_completed(void *cls, struct MHD_Connection *connection, void **state,
                      enum MHD_RequestTerminationCode why)
{
    hg_req *r = *state;
    (void)cls, (void)connection, (void)why;
    *state = NULL;
    if (!r) return;
    hg_req_lost(r);
    count_request(r);
    r->conn->req = NULL;
    hg_conn_move(r->conn, HG_CONN_IDLE);
    if (r->s->quiesced || r->conn->hung_up) hg_conn_cut(r->conn, "it has no use any more");
    if (r->called) r->s->running--;
    hg_log(HG_LOG_INFO, "http", "%s %s %u %.3f s %.*s", r->id, r->method, r->status, hg_now() - r->began,
           r->ep ? (int)strlen(r->ep->path) : 1, r->ep ? r->ep->path : "?");
    req_free(r);
}

void hg_req_lost(hg_req *r)
{
    void (*fn)(void *) = r->ended ? NULL : r->gone_fn;
    if (r->called && !r->ended && !r->gone) hg_metric_add(HG_M_HTTP_GONE, NULL, 1);
    r->gone = true;
    r->gone_fn = NULL;
    if (fn) fn(r->gone_ctx);
}

void hg_req_wake(hg_req *r)
{
    if (r->sleep != HG_REQ_ASLEEP) return;
    r->sleep = HG_REQ_WAKING;
    MHD_resume_connection(r->conn->mhd);
    hg_shard_poke(r->conn->shard);
}

void hg_req_sleep_now(hg_req *r)
{
    r->sleep = HG_REQ_ASLEEP;
    MHD_suspend_connection(r->conn->mhd);
    hg_conn_move(r->conn, HG_CONN_BUSY);
    hg_conn_watch(r->conn);
}

/* ---- what the head says ---- */

typedef struct single {
    const char *name, *value;
    unsigned count;
} single;

static enum MHD_Result count_header(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    single *h = cls;
    (void)kind;
    if (strcasecmp(name, h->name) != 0) return MHD_YES;
    h->value = value ? value : "";
    h->count++;
    return MHD_YES;
}

bool hg_req_single(const hg_req *r, const char *name, const char **out)
{
    single h = {.name = name};
    MHD_get_connection_values(r->conn->mhd, MHD_HEADER_KIND, count_header, &h);
    *out = h.value;
    return h.count <= 1;
}

/* A head that may be read in two ways ends its connection: what follows might be somebody else's idea of a request. */
static bool check_framing(hg_req *r)
{
    unsigned headers;
    const char *fault = hg_framing_fault(r->conn->mhd, r->method, r->uri, r->version, &headers);
    if (!fault && headers <= HG_HTTP_HEADERS) return true;
    r->close = true;
    if (fault) {
        hg_refuse(r, 400, "malformed_request", "the request has %s", fault);
    } else {
        hg_refuse(r, 431, "too_many_headers", "the request has more than %d headers", HG_HTTP_HEADERS);
    }
    return false;
}

/* A page whose name was led to this address names another host; a page that calls from elsewhere says so. */
static bool check_caller(hg_req *r)
{
    const hg_server *s = r->s;
    const char *host, *origin, *site;
    bool cors;
    bool one = hg_req_single(r, MHD_HTTP_HEADER_HOST, &host) && host;
    bool ours = one && (r->conn->local || !s->at.loopback
                            ? hg_host_plain(host)
                            : hg_host_local(host, s->at.port) || !strcasecmp(host, s->at.host));
    if (!ours) {
        hg_refuse(r, 421, "wrong_host", "one Host header that names this server is needed");
        return false;
    }
    if (!hg_req_single(r, MHD_HTTP_HEADER_ORIGIN, &origin) ||
        !hg_origin_allowed(origin, host, (const char *const *)s->cors, &cors)) {
        hg_refuse(r, 403, "origin_not_allowed", "this origin is not in serve.cors");
        return false;
    }
    if (cors) r->origin = origin;
    bool pure = !strcmp(r->method, "GET") || !strcmp(r->method, "HEAD") || !strcmp(r->method, "OPTIONS");
    bool one_site = hg_req_single(r, "Sec-Fetch-Site", &site);
    if (pure || cors || (one_site && hg_site_own(site))) return true;
    hg_refuse(r, 403, "cross_site", "a page of another site may not do this");
    return false;
}

static bool check_target(hg_req *r)
{
    if (r->target_err.code == HANGAR_OK) {
        bool dots = false;
        for (size_t i = 0; i < r->target.seg_count; i++)
            dots |= hg_str_eq(r->target.seg[i], HG_STR(".")) || hg_str_eq(r->target.seg[i], HG_STR(".."));
        if (!dots) return true;
        hg_refuse(r, 400, "malformed_path", "the path has a part that is . or ..");
        return false;
    }
    if (r->target_err.code == HANGAR_E_LIMIT) hg_refuse(r, 414, "path_too_long", "%s", r->target_err.msg);
    else hg_refuse(r, 400, "malformed_path", "%s", r->target_err.msg);
    return false;
}

/* What a browser asks before it lets a page of an allowed origin call; other OPTIONS are told what there is. */
static void answer_options(hg_req *r, const hg_found *found)
{
    const char *names = NULL;
    hg_reply_header(r, MHD_HTTP_HEADER_ALLOW, found->allow);
    if (r->origin && hg_req_header(r, "Access-Control-Request-Method")) {
        names = hg_req_header(r, "Access-Control-Request-Headers");
        bool plain = names && strlen(names) <= 1024 &&
                     strspn(names, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_, ") ==
                         strlen(names);
        hg_reply_header(r, "Access-Control-Allow-Methods", found->allow);
        hg_reply_header(r, "Access-Control-Allow-Headers", plain ? names : "authorization, content-type");
        hg_reply_header(r, "Access-Control-Max-Age", "600");
    }
    hg_reply_bytes(r, 204, NULL, HG_STR(""));
}

/* What the ':' and '*' of the path stand for is found by counting; the rest is put together here. */
static bool take_rest(hg_req *r, size_t first)
{
    size_t len = strlen(r->ep->path);
    if (len == 0 || r->ep->path[len - 1] != '*') return true;
    hg_buf b;
    hg_buf_init(&b, HG_TARGET_BYTES);
    hg_target_join(&r->target, first, &b);
    r->parts = hg_buf_take(&b);
    if (!r->parts) hg_refuse(r, 503, "no_memory", "out of memory");
    return r->parts != NULL;
}

static bool choose_endpoint(hg_req *r)
{
    hg_found found;
    hg_route(r->s->endpoints, r->method, &r->target, &found);
    if (!found.path_known) {
        hg_refuse(r, 404, "unknown_url", "there is nothing at this address");
        return false;
    }
    if (!strcmp(r->method, "OPTIONS") && !found.ep) {
        answer_options(r, &found);
        return false;
    }
    if (!found.ep) {
        hg_reply_header(r, MHD_HTTP_HEADER_ALLOW, found.allow);
        hg_refuse(r, 405, "method_not_allowed", "this address takes %s", found.allow);
        return false;
    }
    r->ep = found.ep;
    r->dialect = found.ep->dialect;
    return take_rest(r, found.rest);
}

/*
 * Whether the caller has the scope that the endpoint asks for. The endpoint itself is what is judged, not its address. Without keys, this machine
 * may do all; the owner of the unix socket may in any case.
 */
static bool check_key(hg_req *r)
{
    const char *given, *name = NULL;
    hg_str key;
    hg_server *s = r->s;
    if (r->ep->scope == HG_SCOPE_OPEN || r->conn->owner) return true;
    if (!hg_server_has_keys(s) && (r->conn->local || s->at.loopback)) return true;
    bool one = hg_req_single(r, MHD_HTTP_HEADER_AUTHORIZATION, &given);
    hg_key_scope has =
        one && s->keys && hg_bearer(given, &key) ? hg_keys_check(s->keys, key, &name) : HG_KEY_NONE;
    if (has == HG_KEY_NONE) {
        hg_refuse(r, 401, r->dialect == HG_DIALECT_OPENAI ? "invalid_api_key" : "unauthorized",
                  given ? "this API key is not known" : "an API key is needed: Authorization: Bearer KEY");
        return false;
    }
    hg_log(HG_LOG_DEBUG, "http", "%s with the key %s", r->id, name);
    if (has == HG_KEY_MANAGE || r->ep->scope == HG_SCOPE_INFER) return true;
    hg_refuse(r, 403, "denied", "this API key may ask models only");
    return false;
}

/* All that is decided before a body is read. False: there is an answer. */
static bool check_head(hg_req *r)
{
    if (!check_framing(r)) return false;
    if (r->conn->refused) {
        r->close = true;
        hg_reply_header(r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
        hg_refuse(r, 503, "too_many_connections", "more than %u connections", r->s->o.max_connections);
        return false;
    }
    if (!check_caller(r) || !check_target(r) || !choose_endpoint(r) || !check_key(r)) return false;
    if (r->s->quiesced && strcmp(r->method, "GET") != 0 && !r->head) {
        hg_reply_header(r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
        hg_refuse(r, 503, "stopping", "the server is stopping");
        return false;
    }
    return hg_body_begin(r);
}

/* How long the body says it is: UINT64_MAX when it comes in chunks. */
static void read_length(hg_req *r)
{
    const char *text;
    r->body_len = 0;
    if (MHD_lookup_connection_value(r->conn->mhd, MHD_HEADER_KIND, MHD_HTTP_HEADER_TRANSFER_ENCODING)) {
        r->body_len = UINT64_MAX;
        r->close = true; /* its end is libmicrohttpd's reading of the chunks; nothing may hide behind it */
    } else if (hg_req_single(r, MHD_HTTP_HEADER_CONTENT_LENGTH, &text) && text) {
        hg_u64_parse(hg_str_of(text), &r->body_len);
    }
}

/* The first call for a request. */
static enum MHD_Result on_head(hg_req *r, const char *method, const char *version)
{
    r->headed = true;
    r->method = method;
    r->version = version;
    r->head = !strcmp(method, "HEAD");
    read_length(r);
    bool good = check_head(r);
    if (r->cut) return MHD_NO;
    if (r->body_len > 0) hg_conn_move(r->conn, HG_CONN_BODY);
    if (good) return MHD_YES;
    /* An answer before the body ends the connection, and whoever is still sending may never see it; so a body of some size is
     * read all the same, unless its sender waits for our word, or we do not know where it ends. */
    bool waits = MHD_lookup_connection_value(r->conn->mhd, MHD_HEADER_KIND, MHD_HTTP_HEADER_EXPECT) != NULL;
    bool framed = r->body_len == UINT64_MAX || !r->close;
    r->swallow = true;
    if (r->body_len == 0 && framed) return MHD_YES;
    if (framed && !waits && (r->body_len <= HG_HTTP_SWALLOW || r->body_len == UINT64_MAX)) return MHD_YES;
    r->close = true;
    return hg_reply_queue(r);
}

void hg_req_call(hg_req *r)
{
    r->called = true;
    r->s->running++;
    r->ep->fn(r);
}

/* The whole request is there. */
static void on_whole(hg_req *r)
{
    hg_conn_move(r->conn, HG_CONN_BUSY);
    if (hg_body_end(r) == HG_BODY_GOOD) hg_req_call(r);
}

enum MHD_Result hg_req_handle(void *cls, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload, size_t *upload_len,
                              void **state)
{
    hg_req *r = *state;
    (void)cls, (void)connection, (void)url;
    if (!r) return MHD_NO;
    r->sleep = HG_REQ_AWAKE;
    if (r->cut || r->gone) {
        if (*upload_len == 0) return MHD_NO;
        *upload_len = 0; /* in mid-body it finds its socket shut */
        return MHD_YES;
    }
    if (!r->headed) return on_head(r, method, version);
    if (*upload_len > 0) {
        hg_body_add(r, upload, *upload_len);
        *upload_len = 0;
        if (r->cut) hg_conn_cut(r->conn, "its body has no end");
        return MHD_YES;
    }
    if (!r->answered && !r->called && !r->parsing) on_whole(r);
    if (r->cut) return MHD_NO;
    if (r->answered) return r->queued ? MHD_YES : hg_reply_queue(r);
    hg_req_sleep_now(r);
    return MHD_YES;
}

/* ---- what an endpoint may ask ---- */

hg_host *hg_req_host(const hg_req *r)
{
    return r->s->host;
}

hg_server *hg_req_server(const hg_req *r)
{
    return r->s;
}

const hg_endpoint *hg_req_endpoint(const hg_req *r)
{
    return r->ep;
}

const char *hg_req_id(const hg_req *r)
{
    return r->id;
}

double hg_req_began(const hg_req *r)
{
    return r->began;
}

const char *hg_req_part(const hg_req *r, unsigned n)
{
    hg_str path = hg_str_of(r->ep->path + 1), word;
    bool more = true;
    for (size_t i = 0; more; i++) {
        more = hg_str_cut(&path, '/', &word);
        bool rest = hg_str_eq(word, HG_STR("*"));
        if (!rest && !hg_str_eq(word, HG_STR(":"))) continue;
        if (n-- == 0) return rest ? r->parts : r->target.seg[i].ptr;
    }
    return "";
}

const char *hg_req_query(const hg_req *r, const char *name)
{
    return hg_target_has(&r->target, name) ? hg_target_param(&r->target, name).ptr : NULL;
}

const char *hg_req_header(const hg_req *r, const char *name)
{
    static const char *const secret[] = {"Authorization", "Proxy-Authorization", "Cookie"};
    for (size_t i = 0; i < HG_LEN(secret); i++)
        if (!strcasecmp(name, secret[i])) return NULL;
    return MHD_lookup_connection_value(r->conn->mhd, MHD_HEADER_KIND, name);
}

void *hg_req_state(hg_req *r, size_t size, void (*leave)(void *state))
{
    if (r->state) return r->state;
    r->state = hg_calloc(1, size);
    r->leave = leave;
    return r->state;
}

void hg_req_on_gone(hg_req *r, void (*gone)(void *ctx), void *ctx)
{
    r->gone_fn = gone;
    r->gone_ctx = ctx;
}
