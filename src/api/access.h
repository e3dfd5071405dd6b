/* SPDX-License-Identifier: Apache-2.0 */
/* Who may ask: the checks of hosts, origins and secrets that every server here shares. */
#ifndef HG_API_ACCESS_H
#define HG_API_ACCESS_H

#include "base/err.h"
#include "base/str.h"

/* HMAC-SHA-256 as 64 hex digits. */
hangar_code hg_hmac(const uint8_t *key, size_t key_len, hg_str text, char out[65], hangar_err *err);
/* Equal, in a time that depends on the lengths only. */
bool hg_equal_secret(hg_str a, hg_str b);

/* A Host header that names this machine's loopback (127.0.0.1, localhost, [::1]) and `port`. */
bool hg_host_local(const char *host, unsigned port);
/* A Host header of plain characters (name, address, port), at most 255 bytes. */
bool hg_host_plain(const char *host);

/*
 * Whether a browser's page may call. origin NULL = no page: true. Else it is one of `allowed` (NULL-terminated; NULL = none), letter
 * by letter, or the server's own pages: http:// and the Host header that came along, already checked. "null" and file: never are.
 * *out_cors: it is one of `allowed`, so the answer says so.
 */
bool hg_origin_allowed(const char *origin, const char *host, const char *const *allowed, bool *out_cors);
/* A Sec-Fetch-Site header of a request that no other site caused: absent, none or same-origin. */
bool hg_site_own(const char *site);
/* The token of "Bearer TOKEN"; false for anything else. */
bool hg_bearer(const char *authorization, hg_str *out);

#endif
