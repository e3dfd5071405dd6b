/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server: where it listens, whom it lets in, its turn in the loop. The design is told in http_inner.h. */
#include "api/http_inner.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define ACCEPT_ROUND 64 /* connections let in by one callback                              */
#define RUN_ROUND    64 /* MHD_run in one turn, as long as one says that there is more     */

/* ---- turns ---- */

void hg_shard_poke(hg_shard *shard)
{
    shard->pending = true;
}

static void on_epoll(void *ctx, unsigned events)
{
    (void)events;
    hg_shard_poke(ctx);
}

/* Another turn at once; and who waited for descriptors at the door is let in. */
static void on_again(void *ctx)
{
    hg_server *s = ctx;
    for (size_t i = 0; i < HG_LEN(s->doors); i++)
        if (s->doors[i].watch) hg_watch_set(s->doors[i].watch, HG_READABLE, NULL);
}

/* Lets one shard work until it has nothing to do. */
static void run_shard(hg_shard *shard)
{
    for (int i = 0; i < RUN_ROUND && shard->pending; i++) {
        MHD_UNSIGNED_LONG_LONG wait;
        shard->pending = false;
        MHD_run(shard->daemon);
        if (MHD_get_timeout(shard->daemon, &wait) == MHD_YES && wait == 0) shard->pending = true;
    }
}

static void on_turn(void *ctx)
{
    hg_server *s = ctx;
    bool left = false;
    for (size_t i = 0; i < s->shard_count; i++)
        if (s->shards[i].pending) run_shard(&s->shards[i]);
    /* An endpoint that was called by one may have written to a stream of another that had its turn. */
    for (size_t i = 0; i < s->shard_count; i++) left |= s->shards[i].pending;
    if (left) hg_timer_set(s->again, 0, 0);
}

/* ---- shards ---- */

static hangar_code start_shard(hg_server *s, hg_shard *shard, hangar_err *err)
{
    shard->s = s;
    struct MHD_OptionItem options[] = {
        {MHD_OPTION_CONNECTION_LIMIT, (intptr_t)(s->o.max_connections + HG_HTTP_REFUSED + 1), NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, HG_HTTP_HEADER_BYTES, NULL},
        {MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)hg_req_begin, shard},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)hg_req_completed, shard},
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)hg_conn_notify, shard},
        {MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)hg_mhd_keep_escapes, NULL},
#if MHD_VERSION >= 0x00097700
        {MHD_OPTION_CLIENT_DISCIPLINE_LVL, 2, NULL},
#endif
        {MHD_OPTION_END, 0, NULL},
    };
    shard->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET |
                                         MHD_USE_ERROR_LOG,
                                     0, NULL, NULL, hg_req_handle, shard, MHD_OPTION_EXTERNAL_LOGGER,
                                     hg_mhd_log, "http", MHD_OPTION_ARRAY, options, MHD_OPTION_END);
    const union MHD_DaemonInfo *info =
        shard->daemon ? MHD_get_daemon_info(shard->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!info) return hg_fail(err, HANGAR_E_FAILED, "the HTTP server did not start");
    hangar_code code = hg_watch_new(s->host->loop, info->epoll_fd, on_epoll, shard, &shard->watch, err);
    return code == HANGAR_OK ? hg_watch_set(shard->watch, HG_READABLE, err) : code;
}

static void stop_shard(hg_shard *shard)
{
    hg_watch_free(shard->watch);
    if (shard->daemon) MHD_stop_daemon(shard->daemon);
    *shard = (hg_shard){0};
}

/* Where a new connection goes: a shard is started for every HG_HTTP_SHARE connections. */
static hg_shard *pick_shard(hg_server *s)
{
    hangar_err err = {0};
    unsigned want = 1 + s->conns / HG_HTTP_SHARE;
    if (want > s->shard_count && s->shard_count < HG_HTTP_SHARDS) {
        hg_shard *more = &s->shards[s->shard_count];
        if (start_shard(s, more, &err) == HANGAR_OK) {
            s->shard_count++;
            return more;
        }
        hg_log(HG_LOG_WARN, "http", "%s", err.msg); /* those that are there will do */
        stop_shard(more);
    }
    hg_shard *least = &s->shards[0];
    for (size_t i = 1; i < s->shard_count; i++)
        if (s->shards[i].conns < least->conns) least = &s->shards[i];
    return least;
}

/* ---- who is let in ---- */

/* Takes a new connection; it is libmicrohttpd's from here on. */
static void enter(hg_door *door, int fd, const struct sockaddr *addr, socklen_t len)
{
    hg_server *s = door->s;
    hg_conn *c = hg_calloc(1, sizeof *c);
    if (!c) {
        close(fd);
        return;
    }
    hg_shard *shard = pick_shard(s);
    c->shard = shard;
    c->fd = fd;
    c->local = door->local;
    c->owner = door->local && hg_unix_peer_is_us(fd);
    if (s->conns - s->refused >= s->o.max_connections && !hg_conn_drop_idle(s)) c->refused = true;
    if (c->refused && s->refused >= HG_HTTP_REFUSED) {
        hg_log(HG_LOG_WARN, "http", "a connection is cut: too many are refused already");
        close(fd);
        free(c);
        return;
    }
    if (!door->local) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    s->entering = c;
    if (MHD_add_connection(shard->daemon, fd, addr, len) != MHD_YES && s->entering) free(c);
    s->entering = NULL;
    hg_shard_poke(shard);
}

/* No descriptor is left: somebody has to go, and the listener waits for the next tick. */
static void out_of_descriptors(hg_door *door)
{
    hg_log(HG_LOG_WARN, "http", "no descriptors are left");
    hg_conn_drop_idle(door->s);
    hg_watch_set(door->watch, 0, NULL);
    hg_timer_set(door->s->again, 0.1, 0);
}

static void on_knock(void *ctx, unsigned events)
{
    hg_door *door = ctx;
    (void)events;
    for (int i = 0; i < ACCEPT_ROUND; i++) {
        struct sockaddr_storage addr = {0};
        socklen_t len = sizeof addr;
        int fd = accept4(door->fd, (struct sockaddr *)&addr, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
            out_of_descriptors(door);
        if (fd < 0 && errno != ECONNABORTED && errno != EINTR) return;
        if (fd < 0) continue;
        /* A client may have bound its unix socket to a name; it says nothing to us. */
        if (door->local) len = sizeof addr.ss_family;
        enter(door, fd, (struct sockaddr *)&addr, len);
    }
}

/* ---- start ---- */

static hangar_code open_door(hg_server *s, hg_door *door, int fd, bool local, hangar_err *err)
{
    door->s = s;
    door->fd = fd;
    door->local = local;
    hangar_code code = hg_watch_new(s->host->loop, fd, on_knock, door, &door->watch, err);
    return code == HANGAR_OK ? hg_watch_set(door->watch, HG_READABLE, err) : code;
}

/* Raises what the process may open to what so many connections need, or lowers their number to what it may. */
static hangar_code make_room(hg_server *s, hangar_err *err)
{
    struct rlimit now;
    if (getrlimit(RLIMIT_NOFILE, &now) != 0) return hg_fail_errno(err, errno, "the limit of open files");
    rlim_t need = (rlim_t)s->o.max_connections + HG_HTTP_REFUSED + HG_HTTP_SPARE;
    if (now.rlim_cur < need && now.rlim_cur < now.rlim_max) {
        struct rlimit more = {.rlim_cur = now.rlim_max < need ? now.rlim_max : need,
                              .rlim_max = now.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &more) == 0) now = more;
    }
    if (now.rlim_cur >= need) return HANGAR_OK;
    if (now.rlim_cur <= HG_HTTP_REFUSED + HG_HTTP_SPARE)
        return hg_fail(err, HANGAR_E_LIMIT, "this process may open %llu files; serving needs more than %d",
                       (unsigned long long)now.rlim_cur, HG_HTTP_REFUSED + HG_HTTP_SPARE);
    s->o.max_connections = (unsigned)(now.rlim_cur - HG_HTTP_REFUSED - HG_HTTP_SPARE);
    hg_log(HG_LOG_WARN, "http", "this process may open %llu files: at most %u connections",
           (unsigned long long)now.rlim_cur, s->o.max_connections);
    return HANGAR_OK;
}

bool hg_server_has_keys(hg_server *s)
{
    hangar_err err = {0};
    if (!s->keys) return false;
    if (hg_keys_reload(s->keys, &err) != HANGAR_OK) hg_log(HG_LOG_WARN, "http", "%s", err.msg);
    return hg_keys_count(s->keys) > 0;
}

static hangar_code listen_tcp(hg_server *s, const char *text, hangar_err *err)
{
    int fd;
    hangar_code code = hg_listen_parse(text, &s->at, err);
    if (code != HANGAR_OK) return code;
    if (!s->at.loopback && !hg_server_has_keys(s))
        return hg_fail(err, HANGAR_E_USAGE,
                       "%s can be reached from other machines; that needs API keys (hangar key create)",
                       text);
    code = hg_listen_open(&s->at, &fd, err);
    if (code != HANGAR_OK) return code;
    s->tcp = true;
    snprintf(s->url, sizeof s->url, "http://%s", s->at.host);
    return open_door(s, &s->doors[0], fd, false, err);
}

static hangar_code copy_origins(hg_server *s, const char *const *cors, hangar_err *err)
{
    size_t n = 0;
    while (cors && cors[n]) n++;
    s->cors = hg_calloc(n + 1, sizeof *s->cors);
    if (!s->cors) return hg_fail_memory(err);
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(cors[i], "*") || !strcmp(cors[i], "null"))
            return hg_fail(err, HANGAR_E_USAGE,
                           "serve.cors names origins, as https://app.example.org; %s is none", cors[i]);
        s->cors[i] = hg_strdup(cors[i]);
        if (!s->cors[i]) return hg_fail_memory(err);
    }
    return HANGAR_OK;
}

/* hg_server_new without its clean-up. */
static hangar_code start(hg_server *s, const hg_server_options *o, hangar_err *err)
{
    hg_loop *loop = s->host->loop;
    hangar_code code = s->host->h ? hg_keys_open(s->host->h, &s->keys, err) : HANGAR_OK;
    if (code == HANGAR_OK) code = copy_origins(s, o->cors, err);
    if (code == HANGAR_OK) code = make_room(s, err);
    if (code == HANGAR_OK) code = hg_timer_new(loop, hg_conn_tick, s, &s->tick, err);
    if (code == HANGAR_OK) code = hg_timer_new(loop, on_again, s, &s->again, err);
    if (code == HANGAR_OK) code = hg_mhd_ready(err);
    if (code == HANGAR_OK) code = start_shard(s, &s->shards[0], err);
    s->shard_count = 1;
    if (code == HANGAR_OK && o->listen && o->listen[0]) code = listen_tcp(s, o->listen, err);
    if (code == HANGAR_OK && o->socket && o->socket[0]) {
        code = hg_unix_listen(o->socket, &s->unix, err);
        if (code == HANGAR_OK) code = open_door(s, &s->doors[1], s->unix.fd, true, err);
    }
    return code == HANGAR_OK ? hg_loop_each_turn(loop, on_turn, s, err) : code;
}

hangar_code hg_server_new(hg_host *host, const hg_server_options *options, hg_server **out, hangar_err *err)
{
    hg_server *s = hg_calloc(1, sizeof *s);
    *out = NULL;
    if (!s) return hg_fail_memory(err);
    s->host = host;
    s->o = *options;
    s->o.listen = s->o.socket = NULL;
    s->o.cors = NULL;
    s->endpoints = options->endpoints ? options->endpoints : hg_endpoints_all();
    s->doors[0].fd = s->doors[1].fd = s->unix.fd = s->unix.lock = -1;
    hangar_code code = start(s, options, err);
    if (code == HANGAR_OK) *out = s;
    else hg_server_free(s);
    return code;
}

const char *hg_server_url(const hg_server *s)
{
    return s->url;
}

size_t hg_server_running(const hg_server *s)
{
    return s->running;
}

/* ---- end ---- */

static void shut_doors(hg_server *s)
{
    for (size_t i = 0; i < HG_LEN(s->doors); i++) {
        hg_watch_free(s->doors[i].watch);
        s->doors[i].watch = NULL;
        if (s->doors[i].fd >= 0 && !s->doors[i].local) close(s->doors[i].fd);
        s->doors[i].fd = -1;
    }
    hg_unix_close(&s->unix);
}

void hg_server_quiesce(hg_server *s)
{
    if (s->quiesced) return;
    s->quiesced = true;
    shut_doors(s);
    while (hg_conn_drop_idle(s)) continue;
}

void hg_server_free(hg_server *s)
{
    if (!s) return;
    s->quiesced = true;
    shut_doors(s);
    hg_loop_each_turn_end(s->host->loop, on_turn, s);
    /* Nobody may sleep when libmicrohttpd ends. */
    for (int i = 0; i < HG_CONN_STATES; i++)
        for (hg_conn *c = s->lists[i].first; c; c = c->next)
            if (c->req) hg_req_wake(c->req);
    for (size_t i = 0; i < s->shard_count; i++) stop_shard(&s->shards[i]);
    hg_timer_free(s->tick);
    hg_timer_free(s->again);
    hg_keys_free(s->keys);
    for (size_t i = 0; s->cors && s->cors[i]; i++) free(s->cors[i]);
    free(s->cors);
    free(s);
}
