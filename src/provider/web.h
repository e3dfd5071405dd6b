/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every request of this room has in common, whether the loop waits for it or a thread: which addresses are
 * allowed, the options that are always set, and what is read from the headers of an answer.
 */
#ifndef HG_PROVIDER_WEB_H
#define HG_PROVIDER_WEB_H

#include "base/err.h"
#include "base/str.h"

#include <curl/curl.h>

#define HG_WEB_HEADERS_MAX (32u << 10) /* bytes of all headers of one answer */

/*
 * An address that a request may go to: http or https, a host, no name and password in it, no fragment; http only when the host is this
 * machine (`*out_local`) or `any_http`. USAGE says what is wrong.
 */
hangar_code hg_web_check(const char *url, bool any_http, bool *out_local, hangar_err *err);

/* What the headers of an answer said. Zero is the beginning. */
typedef struct hg_web_head {
    unsigned status;
    uint32_t bytes; /* of the headers so far */
    bool over;      /* more than HG_WEB_HEADERS_MAX */
    bool waits;     /* a Retry-After was there */
    double retry_after;
    char type[64]; /* media type, small letters, without parameters */
} hg_web_head;
/* One line as libcurl gives it. A status line begins anew. */
void hg_web_line(hg_web_head *head, hg_str line);

/* The options that never differ. `local`: no proxy, and no address but the loopback's is connected to. False when out of memory. */
bool hg_web_options(CURL *easy, bool local, char *detail);

/* Appends a header; on failure the list is freed and NULL, and false. */
bool hg_web_header(struct curl_slist **list, const char *line);
/* A key fits into a header: no blanks, no control characters, ASCII. */
bool hg_web_key_fits(const char *key);
/* "Authorization: Bearer " and the like with a key; the copy in between is wiped. */
bool hg_web_key_header(struct curl_slist **list, const char *before, const char *key);
/* Frees a list after overwriting what it held. NULL is fine. */
void hg_web_wipe(struct curl_slist *list);

#endif
