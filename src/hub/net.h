/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pull's connection to the world: the endpoint, the token, one curl multi handle, the total time limit. And a
 * request: one GET with its redirects, followed by hand.
 *
 * Rules that hold for every request: http and https only; the token goes to the endpoint's own origin and nowhere else;
 * no cookies, no .netrc, no referer; at most HG_HOPS_MAX redirects, never from https to http; headers under
 * HG_HEADERS_MAX; the body goes to the sink only when the answer is a success.
 * Threads: a net and its requests belong to one thread; only hg_net_wake may be called from others.
 */
#ifndef HG_HUB_NET_H
#define HG_HUB_NET_H

#include "base/job.h"
#include "hub/reply.h"
#include "hub/url.h"
#include "settings/settings.h"

#include <curl/curl.h>

#define HG_HOPS_MAX 10

typedef struct hg_net {
    const hg_settings *settings; /* borrowed */
    hangar_job *job;             /* borrowed, may be NULL */
    CURLM *multi;
    hg_url endpoint;
    struct curl_slist *plain;      /* headers for everybody */
    struct curl_slist *authorized; /* and for the endpoint's origin */
    double deadline;               /* of hg_now(); 0 = none */
    bool inner_seen, public_seen;  /* where the endpoint's own connections went */
    bool answered;                 /* some server has answered in this pull */
    char warned[8][64];            /* topics of X-HF-Warning that were told */
    unsigned warned_count;
} hg_net;

hangar_code hg_net_open(const hg_settings *settings, hangar_job *job, hg_net **out, hangar_err *err);
void hg_net_close(hg_net *net);
void hg_net_auto_close(hg_net **net); /* for HG_AUTO */
/* CANCELLED or TIMEOUT when the pull shall end, else OK. */
hangar_code hg_net_check(const hg_net *net, hangar_err *err);
/* Sleeps, but ends early with the code of hg_net_check. */
hangar_code hg_net_sleep(const hg_net *net, double seconds, hangar_err *err);
/* Tells what a server wants people to know, once per topic. */
void hg_net_warn(hg_net *net, const hg_reply *reply);
/* Ends the poll that the net's thread may be in. From any thread. */
void hg_net_wake(hg_net *net);

typedef struct hg_request hg_request;
/* Takes the body of a successful answer. Returns len, or CURL_WRITEFUNC_PAUSE, or something else to break off (then it
 * sets req->why). */
typedef size_t hg_sink_fn(hg_request *req, const char *bytes, size_t len);

struct hg_request {
    hg_net *net;
    CURL *easy;
    hg_sink_fn *sink;
    void *ctx;
    hg_url url;   /* where it is now */
    bool own;     /* url is of the endpoint's origin */
    bool running; /* inside the multi handle */
    bool paused;  /* by the sink */
    bool refused; /* the guard forbade the connection */
    int hops;
    char range[48]; /* "0-99", "" = the whole */
    hg_reply reply;
    hg_reply linked;  /* of the first redirect away from the endpoint: it describes the file */
    uint64_t ignored; /* body bytes of answers that are no success */
    uint64_t bytes;   /* everything that came, headers too */
    uint64_t mark_bytes;
    double mark_time;
    double launched; /* when the request for url was sent */
    hangar_err why;  /* why the sink or a header broke it off; code OK = it did not */
    char detail[CURL_ERROR_SIZE];
};

hangar_code hg_request_init(hg_request *req, hg_net *net, size_t buffer, hg_sink_fn *sink, void *ctx,
                            hangar_err *err);
void hg_request_deinit(hg_request *req);
/* Begins a GET; the url is copied, range may be "". */
hangar_code hg_request_start(hg_request *req, const hg_url *url, const char *range, hangar_err *err);
/* Takes it out of the multi handle; one that is not running is fine. */
void hg_request_stop(hg_request *req);
/* For an answer that ended: begins the next hop when it was a redirect (*again). Errors are those of a bad redirect. */
hangar_code hg_request_follow(hg_request *req, bool *again, hangar_err *err);
/* No (or next to no) bytes for stall_timeout; a paused request never stalls. Fills req->detail. */
bool hg_request_stalled(hg_request *req, double now);

#endif
