/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server from inside; for its own files only.
 *
 *   http.c          the server: listeners, who is let in, the turn of the loop
 *   http_conn.c     connections: their deadlines, the oldest idle one, a client that goes
 *   http_request.c  a request from its first line to its endpoint: all that is checked before anybody is called
 *   http_body.c     bodies: JSON with the fields of a table, forms
 *   http_reply.c    answers, streams, errors in the words of a dialect
 *   http_route.c    which endpoint a target and a method mean
 *   framing.c       whether the bytes of a request's head can be read in one way only
 *   form.c          multipart/form-data
 *
 * libmicrohttpd parses and sends. It runs without threads and without a listening socket: connections are accepted here and dealt
 * out to several of its daemons ("shards", started as they are needed), since one walks over all its sleeping connections whenever one of
 * them is woken. Each shard has an epoll descriptor, which the loop watches; MHD_run is called once in a turn for the shards that have something to do,
 * after all other callbacks of the turn, so that everything that was written in one turn goes out together.
 *
 * A connection is in one list of the server at a time, by what it is waited for (hg_conn_state), each in the order of its deadlines but
 * for HG_CONN_SEND. A request is AWAKE while libmicrohttpd may call about it, ASLEEP while its connection is suspended, WAKING from
 * hg_req_wake until the next MHD_run. Who wants to answer a request that sleeps leaves the answer in it and wakes it.
 *
 * libmicrohttpd does not look at a suspended connection, so the loop watches its descriptor for the client's end while a request is running.
 * The watch is freed before libmicrohttpd closes the descriptor (NOTIFY_CLOSED comes before close).
 */
#ifndef HG_API_HTTP_INNER_H
#define HG_API_HTTP_INNER_H

#include "api/form.h"
#include "api/http.h"
#include "api/listen.h"
#include "api/microhttpd.h"
#include "api/target.h"
#include "base/unixsock.h"
#include "manager/keys.h"

/* ---- limits ---- */

#define HG_HTTP_SHARDS 32
#define HG_HTTP_SHARE  256 /* connections, before another shard is started */
#define HG_HTTP_HEADER_BYTES \
    (16 * HG_KIB)            /* of a request's head with what libmicrohttpd notes about it, else 431 */
#define HG_HTTP_HEADERS 64   /* fields of a head, else 431                                          */
#define HG_HTTP_IDLE    75.0 /* seconds that a connection may be kept without a request             */
#define HG_HTTP_SLOW_BYTES \
    (16 * HG_KIB) /* that must move in each slow_seconds, unless all has moved           */
#define HG_HTTP_SWALLOW \
    (16 * HG_MIB) /* of a refused body that are read, so that its sender hears why       */
#define HG_HTTP_BODIES \
    (512 * HG_MIB)          /* of all JSON bodies that are being read, else 503                    */
#define HG_HTTP_REFUSED 64  /* connections over the limit that are told so; the rest is cut        */
#define HG_HTTP_SPARE   512 /* descriptors that are left for everybody else                        */
#define HG_HTTP_REPLY_HEADERS \
    (8 * HG_KIB) /* of an endpoint's own headers                                        */

typedef struct hg_shard {
    hg_server *s;
    struct MHD_Daemon *daemon;
    hg_watch *watch;
    unsigned conns;
    bool pending; /* has something to do in this turn */
} hg_shard;

typedef struct hg_door {
    hg_server *s;
    int fd; /* -1: none */
    hg_watch *watch;
    bool local; /* a unix socket */
} hg_door;

typedef enum hg_conn_state {
    HG_CONN_HEAD, /* a head is to come                                  */
    HG_CONN_IDLE, /* kept for another request                           */
    HG_CONN_BODY, /* a body is to come                                  */
    HG_CONN_BUSY, /* its request is worked on, or its stream has a rest */
    HG_CONN_SEND, /* an answer is on its way out                        */
    HG_CONN_STATES
} hg_conn_state;

typedef struct hg_conn {
    struct hg_conn *prev, *next;
    hg_shard *shard;
    struct MHD_Connection *mhd;
    hg_req *req; /* NULL: none */
    hg_watch *watch;
    double deadline;
    uint64_t moved; /* bytes since the deadline was set */
    int fd;
    hg_conn_state state;
    bool local;   /* came over the unix socket    */
    bool owner;   /* ... from who owns it         */
    bool refused; /* over the limit: gets one 503 */
    bool watched; /* the watch is set             */
    bool hung_up; /* nothing more comes from it   */
} hg_conn;

struct hg_server {
    hg_host *host;
    hg_keys *keys;       /* NULL: the host has no hangar, so there are none */
    hg_server_options o; /* without its texts */
    const hg_endpoint *const *endpoints;
    char **cors;
    hg_door doors[2]; /* TCP, unix */
    hg_unix unix;
    hg_listen at;
    bool tcp;
    char url[80];
    hg_shard shards[HG_HTTP_SHARDS];
    size_t shard_count;
    hg_timer *tick;  /* deadlines, while there are connections */
    hg_timer *again; /* a turn at once */
    bool ticking;
    bool quiesced;
    struct {
        hg_conn *first, *last;
    } lists[HG_CONN_STATES];
    unsigned conns, refused;
    unsigned most; /* connections at once since memory was given back */
    size_t running;
    uint64_t bodies;   /* bytes of JSON bodies that are being read */
    hg_conn *entering; /* being added right now */
    uint8_t random[256];
    unsigned random_left;
};

typedef struct hg_parse hg_parse;
typedef enum hg_req_sleep { HG_REQ_AWAKE, HG_REQ_ASLEEP, HG_REQ_WAKING } hg_req_sleep;

struct hg_req {
    hg_server *s;
    hg_conn *conn;
    const hg_endpoint *ep; /* NULL: none was found */
    hg_dialect dialect;
    hg_target target;
    char *parts; /* what the '*' of the path stands for */
    hangar_err target_err;
    const char *method; /* of libmicrohttpd, as the following */
    const char *version;
    hg_str uri;
    const char *origin; /* when it is one of the allowed */
    hg_req_sleep sleep;
    bool headed;   /* the head was checked */
    bool called;   /* the endpoint was  */
    bool answered; /* the answer is there, whole or begun */
    bool queued;   /* and libmicrohttpd has it */
    bool ended;    /* nothing more comes */
    bool gone;     /* the client */
    bool cut;      /* by us */
    bool close;    /* after the answer */
    bool swallow;  /* its body is thrown away */
    bool head;     /* HEAD */
    bool streams;
    unsigned status;
    struct MHD_Response *answer;
    hg_buf headers; /* of the answer: name NUL value NUL ... */
    hg_buf out;     /* of a stream */
    size_t out_at;
    uint64_t sent;               /* bytes of the answer's body that were given to libmicrohttpd */
    uint64_t body_len, body_max; /* UINT64_MAX: not told */
    uint64_t body_got;
    hg_buf body;
    uint64_t counted; /* of s->bodies */
    hg_json *json;
    struct hg_parse *parsing; /* the body is away, being parsed */
    hg_form *form;
    void *state;
    void (*leave)(void *state);
    void (*gone_fn)(void *ctx);
    void *gone_ctx;
    double began;
    char id[17];
};

/* ---- http.c ---- */

/* Whether there are API keys now; whoever comes over TCP needs one then. */
bool hg_server_has_keys(hg_server *s);
/* The shard gets its turn before the loop sleeps. */
void hg_shard_poke(hg_shard *shard);

/* ---- http_conn.c ---- */

/* Puts it into a list, with the deadline that belongs there. */
void hg_conn_move(hg_conn *c, hg_conn_state state);
/* The same, with a deadline of so many seconds. */
void hg_conn_move_for(hg_conn *c, hg_conn_state state, double seconds);
/* Ends it at once: libmicrohttpd finds its socket shut. Its request, if any, is told so. */
void hg_conn_cut(hg_conn *c, const char *why);
/* Watches for the client's end. */
void hg_conn_watch(hg_conn *c);
/* Cuts the one that has been idle for longest; false when none is. */
bool hg_conn_drop_idle(hg_server *s);
void hg_conn_tick(void *server);
void hg_conn_notify(void *shard, struct MHD_Connection *connection, void **context,
                    enum MHD_ConnectionNotificationCode what);

/* ---- http_request.c ---- */

void *hg_req_begin(void *shard, const char *uri, struct MHD_Connection *connection);
enum MHD_Result hg_req_handle(void *shard, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload, size_t *upload_len,
                              void **state);
void hg_req_completed(void *shard, struct MHD_Connection *connection, void **state,
                      enum MHD_RequestTerminationCode why);
/* Its endpoint's turn. */
void hg_req_call(hg_req *r);
/* Has libmicrohttpd look at it again. */
void hg_req_wake(hg_req *r);
/* Suspends it. */
void hg_req_sleep_now(hg_req *r);
/* Told by the connection that the client went. */
void hg_req_lost(hg_req *r);
/* A header that may come once; false when it comes more often. *out NULL = not there. */
bool hg_req_single(const hg_req *r, const char *name, const char **out);

/* ---- http_body.c ---- */

/* Before the body: length, type, limits. False when it was refused. */
bool hg_body_begin(hg_req *r);
void hg_body_add(hg_req *r, const char *bytes, size_t len);
/* After it: parsed and checked; LATER: hg_req_call is called when it is. */
typedef enum hg_body_state { HG_BODY_GOOD, HG_BODY_REFUSED, HG_BODY_LATER } hg_body_state;
hg_body_state hg_body_end(hg_req *r);
void hg_body_free(hg_req *r);
/* The fields of a table; `strict` refuses others. USAGE names the field. */
hangar_code hg_fields_check(const hg_field *fields, const hg_jval *body, bool strict, hangar_err *err);

/* ---- http_reply.c ---- */

/* An answer of the server's own: status, a short code for programs, words. */
void hg_refuse(hg_req *r, unsigned status, const char *code, const char *fmt, ...) HG_PRINTF(4, 5);
/* Gives the answer that is there to libmicrohttpd. */
enum MHD_Result hg_reply_queue(hg_req *r);

/* ---- http_route.c ---- */

typedef struct hg_found {
    const hg_endpoint *ep; /* NULL: see path_known */
    size_t rest;
    bool path_known; /* for another method */
    char allow[64];  /* "GET, HEAD, POST" of that path */
} hg_found;
void hg_route(const hg_endpoint *const *lists, const char *method, const hg_target *t, hg_found *out);
/* The dialect whose clients ask for such a path. */
hg_dialect hg_route_dialect(const hg_target *t);

/* ---- framing.c ---- */

/* NULL, or what makes the head ambiguous. */
const char *hg_framing_fault(struct MHD_Connection *connection, const char *method, hg_str uri,
                             const char *version, unsigned *out_headers);

#endif
