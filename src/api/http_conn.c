/* SPDX-License-Identifier: Apache-2.0 */
/* Connections: what each is waited for and until when, and how it ends. */
#include "api/http_inner.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "manager/metrics.h"

#include <malloc.h>
#include <math.h>
#include <sys/socket.h>

#define CROWD 1024 /* connections that are many */

/* ---- lists ---- */

static void list_remove(hg_server *s, hg_conn *c)
{
    if (c->prev) c->prev->next = c->next;
    else s->lists[c->state].first = c->next;
    if (c->next) c->next->prev = c->prev;
    else s->lists[c->state].last = c->prev;
    c->prev = c->next = NULL;
}

static void list_append(hg_server *s, hg_conn *c, hg_conn_state state)
{
    c->state = state;
    c->prev = s->lists[state].last;
    if (c->prev) c->prev->next = c;
    else s->lists[state].first = c;
    s->lists[state].last = c;
}

/* After a crowd has left, its memory is the system's again. */
static void give_memory_back(hg_server *s)
{
    if (s->most < CROWD || s->conns > s->most / 4) return;
    malloc_trim(0);
    s->most = s->conns;
}

/* The clock that looks at deadlines runs while there are some. */
static void keep_ticking(hg_server *s)
{
    bool any = false;
    for (int i = 0; i < HG_CONN_STATES; i++) any |= i != HG_CONN_BUSY && s->lists[i].first;
    any |= s->most >= CROWD;
    double every = fmin(1.0, s->o.slow_seconds / 4);
    if (any && !s->ticking) hg_timer_set(s->tick, every, every);
    if (!any && s->ticking) hg_timer_stop(s->tick);
    s->ticking = any;
}

void hg_conn_move_for(hg_conn *c, hg_conn_state state, double seconds)
{
    hg_server *s = c->shard->s;
    list_remove(s, c);
    list_append(s, c, state);
    c->deadline = hg_now() + seconds;
    c->moved = 0;
    if (!s->ticking && state != HG_CONN_BUSY) keep_ticking(s);
}

void hg_conn_move(hg_conn *c, hg_conn_state state)
{
    double slow = c->shard->s->o.slow_seconds;
    hg_conn_move_for(c, state, state == HG_CONN_IDLE ? fmax(HG_HTTP_IDLE, slow) : slow);
}

/* ---- ends ---- */

void hg_conn_cut(hg_conn *c, const char *why)
{
    hg_log(HG_LOG_INFO, "http", "a connection is cut: %s", why);
    if (c->req) {
        c->req->cut = true;
        hg_req_wake(c->req);
    }
    shutdown(c->fd, SHUT_RDWR);
    hg_shard_poke(c->shard);
}

bool hg_conn_drop_idle(hg_server *s)
{
    hg_conn *c = s->lists[HG_CONN_IDLE].first;
    if (!c) return false;
    /* It stays in no list that is looked at until libmicrohttpd tells of its end. */
    hg_conn_move(c, HG_CONN_BUSY);
    hg_conn_cut(c, "there are too many");
    return true;
}

/* The client closed or half closed its side. While its answer is not all there, nobody is left to hear it. */
static void on_hung_up(void *ctx, unsigned events)
{
    hg_conn *c = ctx;
    (void)events;
    hg_watch_set(c->watch, 0, NULL);
    c->watched = false;
    c->hung_up = true;
    bool waits = c->req && (c->req->called || c->req->parsing) && !c->req->ended;
    if (c->req && !waits) return; /* its answer may still be read */
    if (c->req) hg_req_lost(c->req);
    hg_conn_cut(c, "its client went");
}

void hg_conn_watch(hg_conn *c)
{
    if (c->watched) return;
    if (!c->watch &&
        hg_watch_new(c->shard->s->host->loop, c->fd, on_hung_up, c, &c->watch, NULL) != HANGAR_OK)
        return; /* its end is noticed when something is sent */
    c->watched = hg_watch_set(c->watch, HG_HUNG_UP, NULL) == HANGAR_OK;
}

/* ---- deadlines ---- */

/* Who moved enough bytes gets another span. */
static bool has_moved(hg_conn *c)
{
    return (c->state == HG_CONN_BODY || (c->state == HG_CONN_SEND && c->req && c->req->streams)) &&
           c->moved >= HG_HTTP_SLOW_BYTES;
}

static void look_at(hg_server *s, hg_conn_state state, double now)
{
    for (hg_conn *c = s->lists[state].first, *next; c; c = next) {
        next = c->next;
        if (c->deadline > now) {
            if (state == HG_CONN_SEND) continue; /* not in order */
            return;
        }
        if (has_moved(c)) {
            hg_conn_move(c, state);
            continue;
        }
        if (state != HG_CONN_IDLE) hg_metric_add(HG_M_HTTP_REFUSED, (const char *const[]){"slow"}, 1);
        hg_conn_move(c, HG_CONN_BUSY); /* its end is on the way */
        hg_conn_cut(c, state == HG_CONN_IDLE ? "it was idle" : "it was too slow");
    }
}

void hg_conn_tick(void *server)
{
    hg_server *s = server;
    double now = hg_now();
    for (int i = 0; i < HG_CONN_STATES; i++)
        if (i != HG_CONN_BUSY) look_at(s, (hg_conn_state)i, now);
    give_memory_back(s);
    keep_ticking(s);
}

/* ---- begin and end, as libmicrohttpd tells ---- */

void hg_conn_notify(void *cls, struct MHD_Connection *connection, void **context,
                    enum MHD_ConnectionNotificationCode what)
{
    hg_shard *shard = cls;
    hg_server *s = shard->s;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        hg_conn *c = s->entering;
        s->entering = NULL;
        *context = c;
        if (!c) return;
        c->mhd = connection;
        s->conns++;
        if (s->conns > s->most) s->most = s->conns;
        shard->conns++;
        if (c->refused) s->refused++;
        list_append(s, c, HG_CONN_HEAD);
        hg_conn_move(c, HG_CONN_HEAD);
        hg_metric_set(HG_M_HTTP_CONNECTIONS, NULL, s->conns);
        return;
    }
    hg_conn *c = *context;
    *context = NULL;
    if (!c) return;
    s->conns--;
    shard->conns--;
    if (c->refused) s->refused--;
    list_remove(s, c);
    hg_watch_free(c->watch);
    free(c);
    hg_metric_set(HG_M_HTTP_CONNECTIONS, NULL, s->conns);
}
