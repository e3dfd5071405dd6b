/* SPDX-License-Identifier: Apache-2.0 */
/* From what a server or libcurl said to a hangar_code and to words that name the next step. */
#ifndef HG_HUB_ERROR_H
#define HG_HUB_ERROR_H

#include "base/err.h"
#include "hub/reply.h"
#include "hub/url.h"

/* Where an answer came from, for its words. */
typedef struct hg_asked {
    const char *endpoint; /* the Hub's address */
    const char *repo;
    const char *revision;
    const char *path;  /* a file of the repository; "" = the repository itself */
    const hg_url *url; /* what was asked */
    bool own;          /* the answer is of the Hub's own origin, not of its storage */
    bool token;        /* a token is configured */
} hg_asked;

/* An answer that another try may improve: 408, 429 and 5xx but 501 and 505. */
bool hg_status_transient(int status);
/* The error that an answer other than success means; X-Error-Code decides, then the status. Never OK. */
hangar_code hg_status_fail(const hg_asked *asked, const hg_reply *reply, hangar_err *err);

/* GATED, naming where to ask for access. */
hangar_code hg_gated_fail(const hg_asked *asked, hangar_err *err);

/* Kinds of failures of libcurl. */
typedef enum hg_curl_kind {
    HG_CURL_FINAL,  /* another try meets the same: a bad certificate, a refused address */
    HG_CURL_REACH,  /* nobody was reached: no such host, connection refused */
    HG_CURL_BROKEN, /* it broke on the way */
} hg_curl_kind;
hg_curl_kind hg_curl_kind_of(int curl_code);
/* The error behind a CURLcode other than CURLE_OK; `detail` is libcurl's own text, may be "". Never OK. */
hangar_code hg_curl_fail(int curl_code, const char *detail, const hg_url *url, hangar_err *err);

#endif
