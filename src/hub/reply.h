/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one HTTP answer said in its headers. Only the headers that matter are kept, each under a limit of its own, and
 * all headers together under HG_HEADERS_MAX; nothing is believed here, only written down.
 */
#ifndef HG_HUB_REPLY_H
#define HG_HUB_REPLY_H

#include "base/err.h"
#include "base/hash.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define HG_HEADERS_MAX (32u << 10) /* bytes of all headers of one answer */

typedef struct hg_reply {
    int status;
    uint32_t bytes;    /* of the headers so far */
    bool over;         /* more than HG_HEADERS_MAX */
    bool length_known; /* a well-formed Content-Length */
    bool length_bad;   /* malformed, or two that differ */
    bool range_known;  /* a Content-Range was there */
    bool encoded;      /* a Content-Encoding other than identity */
    bool linked_size_known;
    bool no_memory;
    uint64_t length;
    uint64_t linked_size; /* X-Linked-Size */
    char *location;       /* owned; NULL = none */
    char *link;           /* owned */
    char *warning;        /* X-HF-Warning; owned */
    char range[96];       /* Content-Range as it came */
    char etag[136];       /* ETag without W/ and quotes */
    char linked_etag[136];
    char commit[64]; /* X-Repo-Commit */
    char retry_after[64];
    char rate_limit[160];
    char error_code[64];
    char error_message[256];
    char request_id[80];
} hg_reply;

/* Forgets the last answer. One that is all zero is fine. */
void hg_reply_reset(hg_reply *r);
/* One header line as it came, with or without line end. A status line begins a new answer. */
void hg_reply_line(hg_reply *r, hg_str line);

/* "bytes 0-99/200", strictly: 0 <= start <= end < total. */
bool hg_content_range_parse(const char *text, uint64_t *start, uint64_t *end, uint64_t *total);
/* Seconds to wait as Retry-After (a number or a date, seen from `now`, Unix time) or RateLimit (the reset of a bucket
 * that is empty) say; negative when neither says anything. The larger of the two. */
double hg_reply_wait(const hg_reply *r, int64_t now);
/* The address of <...>; rel="next" in a Link header, borrowed; false when there is none. */
bool hg_link_next(const char *link, hg_str *out);
/* The digest that an ETag names; false when it is none (64 or 40 lower-case hex digits). */
bool hg_etag_oid(const char *etag, hg_oid *out);

#endif
