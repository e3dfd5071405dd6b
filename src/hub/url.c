/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/url.h"

#include "base/mem.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define PARSE_FLAGS (CURLU_DISALLOW_USER | CURLU_PATH_AS_IS)

/* The rule that some byte of an address breaks, or NULL. */
static const char *byte_fault(const char *text)
{
    size_t len = strnlen(text, HG_URL_MAX + 1);
    if (len == 0) return "is empty";
    if (len > HG_URL_MAX) return "is too long";
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c <= 0x20 || c >= 0x7f) return "has a blank, a control or a non-ASCII character";
        if (c == '\\') return "has a backslash";
    }
    /* libcurl would skip an empty host and take the next word for one. */
    if (strstr(text, ":///") && strstr(text, ":///") < text + 6) return "has no host";
    return NULL;
}

static bool host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

/* Lower-cases a host and says whether it is one: a name or address without empty labels, or an IPv6 address. */
static bool host_ok(char *host)
{
    size_t len = strlen(host);
    bool six = len > 2 && host[0] == '[' && host[len - 1] == ']';
    if (len == 0 || len > 255) return false;
    for (size_t i = 0; i < len; i++) {
        if (host[i] >= 'A' && host[i] <= 'Z') host[i] = (char)(host[i] + 32);
        if (six) {
            if (!strchr("[]:.0123456789abcdef", host[i])) return false;
        } else if (!host_char(host[i])) {
            return false;
        }
    }
    return six || (host[0] != '.' && !strstr(host, ".."));
}

/* One part of an address as a string of ours; NULL when it has none. */
static char *part_of(CURLU *u, CURLUPart part, unsigned flags)
{
    char *value = NULL;
    if (curl_url_get(u, part, &value, flags) != CURLUE_OK) return NULL;
    char *copy = hg_strdup(value);
    curl_free(value);
    return copy;
}

/* Fills `out` from what the parser holds. */
static hangar_code url_fill(CURLU *u, hg_url *out, hangar_err *err)
{
    curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0);
    HG_AUTO(hg_auto_free) char *scheme = part_of(u, CURLUPART_SCHEME, 0);
    HG_AUTO(hg_auto_free) char *port = part_of(u, CURLUPART_PORT, CURLU_DEFAULT_PORT);
    HG_AUTO(hg_auto_free) char *user = part_of(u, CURLUPART_USER, 0);
    HG_AUTO(hg_auto_free) char *host = part_of(u, CURLUPART_HOST, 0);
    uint64_t number;
    bool https = scheme && strcasecmp(scheme, "https") == 0;
    if (!https && (!scheme || strcasecmp(scheme, "http") != 0))
        return hg_fail(err, HANGAR_E_INVALID, "an address that is neither http nor https");
    if (user) return hg_fail(err, HANGAR_E_INVALID, "an address with a user name");
    if (!host || !host_ok(host)) return hg_fail(err, HANGAR_E_INVALID, "an address without a proper host");
    if (!port || !hg_u64_parse(hg_str_of(port), &number) || number == 0 || number > 65535)
        return hg_fail(err, HANGAR_E_INVALID, "an address without a proper port");
    char *text = part_of(u, CURLUPART_URL, 0);
    if (!text) return hg_fail_memory(err);
    if (strlen(text) > HG_URL_MAX) {
        free(text);
        return hg_fail(err, HANGAR_E_LIMIT, "an address over %d bytes", HG_URL_MAX);
    }
    *out = (hg_url){.text = text, .host = host, .https = https, .port = (uint16_t)number};
    host = NULL;
    return HANGAR_OK;
}

/* Reads `text` into a parser that may already hold a base. */
static hangar_code url_read(CURLU *u, const char *text, hg_url *out, hangar_err *err)
{
    const char *fault = byte_fault(text);
    if (fault) return hg_fail(err, HANGAR_E_INVALID, "an address that %s", fault);
    if (!u) return hg_fail_memory(err);
    CURLUcode rc = curl_url_set(u, CURLUPART_URL, text, PARSE_FLAGS);
    if (rc == CURLUE_OUT_OF_MEMORY) return hg_fail_memory(err);
    if (rc != CURLUE_OK) return hg_fail(err, HANGAR_E_INVALID, "not an address: %s", curl_url_strerror(rc));
    return url_fill(u, out, err);
}

hangar_code hg_url_parse(const char *text, hg_url *out, hangar_err *err)
{
    CURLU *u = curl_url();
    hangar_code code = url_read(u, text, out, err);
    curl_url_cleanup(u);
    return code;
}

hangar_code hg_url_follow(const hg_url *base, const char *location, hg_url *out, hangar_err *err)
{
    CURLU *u = curl_url();
    if (!u || curl_url_set(u, CURLUPART_URL, base->text, PARSE_FLAGS) != CURLUE_OK) {
        curl_url_cleanup(u);
        return hg_fail_memory(err);
    }
    hg_url next = {0};
    hangar_code code = url_read(u, location, &next, err);
    curl_url_cleanup(u);
    if (code != HANGAR_OK) return code;
    if (base->https && !next.https) {
        hg_url_deinit(&next);
        return hg_fail(err, HANGAR_E_INVALID, "a redirect from https to http, which is not followed");
    }
    *out = next;
    return HANGAR_OK;
}

bool hg_url_same_origin(const hg_url *a, const hg_url *b)
{
    return a->https == b->https && a->port == b->port && hg_streq(a->host, b->host);
}

void hg_url_deinit(hg_url *u)
{
    free(u->text);
    free(u->host);
    *u = (hg_url){0};
}

void hg_url_origin_text(const hg_url *u, char *out, size_t len)
{
    bool usual = u->port == (u->https ? 443 : 80);
    const char *scheme = u->https ? "https" : "http";
    if (usual) snprintf(out, len, "%s://%s", scheme, u->host ? u->host : "?");
    else snprintf(out, len, "%s://%s:%u", scheme, u->host ? u->host : "?", (unsigned)u->port);
}

void hg_url_quote(hg_buf *out, hg_str s, bool keep_slash)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                     c == '.' || c == '_' || c == '~' || (keep_slash && c == '/');
        if (plain) {
            hg_buf_putc(out, (char)c);
        } else {
            hg_buf_putc(out, '%');
            hg_buf_putc(out, digits[c >> 4]);
            hg_buf_putc(out, digits[c & 15]);
        }
    }
}
