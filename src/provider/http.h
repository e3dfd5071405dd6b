/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP request that the calling thread waits for: how the command's verbs speak to a running daemon, over its unix socket or over TCP.
 * Not for the loop's thread.
 *
 * http and https only, and http only over a unix socket or to this machine itself; no redirects, no cookies, no proxy for this machine.
 */
#ifndef HG_PROVIDER_HTTP_H
#define HG_PROVIDER_HTTP_H

#include "base/buf.h"
#include "base/job.h"

#define HG_HTTP_BODY_MAX  (64 * HG_MIB) /* of a body that is kept, when the request names no other limit */
#define HG_HTTP_ERROR_MAX (64 * HG_KIB) /* of an error's body; what is longer is cut */

/* All borrowed. Zero is a GET without limits of time. */
typedef struct hg_http_request {
    const char *socket; /* path of a unix socket; NULL or "" = TCP. The host in `url` is only a name then */
    const char *url;    /* "http://localhost/hangar/v1/ps" */
    const char *method; /* NULL = GET, or POST with a body */
    const char *key;    /* sent as "Authorization: Bearer"; NULL or "" = none */
    const char *type;   /* of the body; NULL = application/json */
    const char *accept; /* media types that are wanted; NULL = any */
    hg_str body;
    double connect_timeout; /* seconds; 0 = 10 */
    double stall_timeout;   /* seconds without a byte once it is sent; 0 = no limit */
    double timeout;         /* seconds for the whole; 0 = no limit */
    size_t max_body;        /* bytes of a body that is kept; 0 = HG_HTTP_BODY_MAX */
} hg_http_request;

typedef struct hg_http_reply {
    unsigned status;    /* 0 = none came */
    char type[64];      /* media type in small letters without parameters: "text/event-stream"; "" = none */
    double retry_after; /* seconds; negative = none was named */
    bool connected;     /* false with NETWORK: nobody listens there, nothing was sent */
    hg_buf
        body; /* whole when no `fn` took it; of an answer that is no success: what fits HG_HTTP_ERROR_MAX */
} hg_http_reply;

/* A piece of the body of a success (2xx) as it came; status and type of `head` are known. False: enough, the call ends with OK. */
typedef bool hg_http_fn(void *ctx, const hg_http_reply *head, hg_str piece);

/*
 * OK: an answer came, whatever its status is. fn NULL: its body is kept in out->body. USAGE or INVALID (the address), NETWORK, TIMEOUT, LIMIT,
 * CANCELLED (seen within a tenth of a second), NO_MEMORY. `out` is to be freed in any case.
 */
hangar_code hg_http_call(const hg_http_request *request, hg_http_fn *fn, void *ctx, hangar_job *job,
                         hg_http_reply *out, hangar_err *err);
void hg_http_reply_deinit(hg_http_reply *reply);

#endif
