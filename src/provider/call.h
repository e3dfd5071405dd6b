/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One running question, and the multi handle that all share. net.c has the descriptors and timers, call.c the life of a call.
 *
 * Invariant: nobody is called back from inside libcurl. What libcurl brings is put into the call's inbox, and read once libcurl has
 * returned (hg_call_drain); so a callback may start and cancel calls as it likes. A call that is cancelled in its own callback is `dead`: it
 * is freed when the callback has returned.
 */
#ifndef HG_PROVIDER_CALL_H
#define HG_PROVIDER_CALL_H

#include "provider/dialect.h"
#include "provider/sse.h"
#include "provider/web.h"

#define HG_CLOUD_ERROR_MAX (64 * HG_KIB) /* bytes of an error's body that are read */

/* A descriptor that libcurl waits for. */
typedef struct hg_cloud_socket {
    struct hg_cloud *cloud;
    int fd;
    hg_watch *watch;
} hg_cloud_socket;

struct hg_cloud {
    hg_loop *loop;
    CURLM *multi;
    hg_timer *timer;           /* libcurl's */
    hg_cloud_socket **sockets; /* by descriptor; NULL = not waited for */
    size_t socket_cap;
    hg_cloud_call *calls; /* all, linked by next and prev */
    hg_cloud_call *ready; /* those with something in the inbox, linked by after */
};

typedef enum hg_call_state {
    HG_CALL_ASKING,    /* on its way, nothing of the answer is there */
    HG_CALL_ANSWERING, /* text, a thought or a tool call has come    */
    HG_CALL_WHOLE,     /* the service said that it is all; the connection is about to be free */
    HG_CALL_ENDED,
} hg_call_state;

struct hg_cloud_call {
    hg_cloud *cloud;
    hg_cloud_call *prev, *next, *after;
    const hg_cloud_target *target;
    const hg_provider *provider; /* NULL: there is none of that name */
    hg_cloud_fns fns;
    void *ctx;
    hg_call_state state;
    bool running; /* inside the multi handle */
    bool queued;  /* in the ready list */
    bool busy;    /* somebody of its is being called back */
    bool dead;    /* cancelled meanwhile */

    CURL *easy;
    struct curl_slist *headers; /* the key is among them */
    char *url, *body;
    char *key; /* to find it in what the service says; wiped */
    hg_web_head head;
    char detail[CURL_ERROR_SIZE];

    hg_buf inbox;   /* what came and is not yet read */
    hg_buf refusal; /* the body of an answer that is no stream */
    hg_sse sse;
    hg_cloud_answer answer;

    hg_timer *timer;
    double began, last; /* of hg_now(): the start; the last byte */
    double first_timeout, stall_timeout;

    hg_cloud_fault fault; /* why it ends, when hangar itself ends it; before the start: at the first timer */
    hangar_err why;
};

/* Frees it without calling back; takes it out of everything. */
void hg_call_free(hg_cloud_call *call);
/* Reads what libcurl has brought, ends what it has ended. */
void hg_call_drain(hg_cloud *cloud);
/* Reports the end and frees. */
void hg_call_end(hg_cloud_call *call, hg_cloud_fault fault, const hangar_err *why);
/* The limits of time, once it is on its way. */
void hg_call_watch_time(hg_cloud_call *call);
void hg_call_on_timer(void *call);
/* What libcurl calls. */
size_t hg_call_on_header(char *bytes, size_t size, size_t count, void *call);
size_t hg_call_on_body(char *bytes, size_t size, size_t count, void *call);
bool hg_call_on_event(void *call, const char *event, hg_str data);

/* Overwrites in text what shares eight characters or more with the key. */
void hg_redact(char *text, const char *key);

#endif
