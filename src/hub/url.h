/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses: read once, by the very parser that will connect (libcurl's), checked, and printed back, so that what was
 * checked is what is connected to. An origin (scheme, host, port) decides who may see the token.
 */
#ifndef HG_HUB_URL_H
#define HG_HUB_URL_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define HG_URL_MAX 8192 /* bytes of one address */

typedef struct hg_url {
    char *text; /* the whole address, without fragment; owned */
    char *host; /* lower case; an IPv6 address in brackets; owned */
    bool https;
    uint16_t port; /* never 0 */
} hg_url;

/*
 * Only http and https; no user name, no backslash, no blank, control or non-ASCII byte, no empty label in the host, at
 * most HG_URL_MAX bytes. INVALID names the rule. `out` is set on success only.
 */
hangar_code hg_url_parse(const char *text, hg_url *out, hangar_err *err);
/* What a Location (relative or absolute) means, seen from `base`: the same rules, and never from https to http. */
hangar_code hg_url_follow(const hg_url *base, const char *location, hg_url *out, hangar_err *err);
bool hg_url_same_origin(const hg_url *a, const hg_url *b);
/* Empties it; one that is all zero is fine. */
void hg_url_deinit(hg_url *u);
/* "https://host" or "http://host:8080" for messages, never more: what follows may be a signature. */
void hg_url_origin_text(const hg_url *u, char *out, size_t len);

/* Appends s percent-encoded: only letters, digits and -._~ stay, and slashes when `keep_slash`. */
void hg_url_quote(hg_buf *out, hg_str s, bool keep_slash);

#endif
