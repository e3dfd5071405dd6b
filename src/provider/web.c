/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/web.h"

#include "base/clock.h"
#include "base/mem.h"
#include "hangar/hangar.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>

/* ---- addresses ---- */

/* 127.0.0.0/8 or ::1, also as IPv4 in IPv6 clothes. */
static bool addr_is_loopback(const struct sockaddr *addr)
{
    if (addr->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)addr;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    if (addr->sa_family != AF_INET6) return false;
    const struct in6_addr *in6 = &((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(in6) || (IN6_IS_ADDR_V4MAPPED(in6) && in6->s6_addr[12] == 127);
}

/* A host that stands for this machine: "localhost", or an address of the loopback. */
static bool host_is_local(const char *host)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    char bare[INET6_ADDRSTRLEN];
    size_t len = strlen(host);
    if (strcasecmp(host, "localhost") == 0) return true;
    if (inet_pton(AF_INET, host, &in.sin_addr) == 1)
        return addr_is_loopback((const struct sockaddr *)(const void *)&in);
    if (len < 3 || len - 2 >= sizeof bare || host[0] != '[' || host[len - 1] != ']') return false;
    memcpy(bare, host + 1, len - 2);
    bare[len - 2] = '\0';
    return inet_pton(AF_INET6, bare, &in6.sin6_addr) == 1 &&
           addr_is_loopback((const struct sockaddr *)(const void *)&in6);
}

/* One part of the address, or "" when it has none; the caller's, curl_free. */
static CURLUcode url_part(CURLU *u, CURLUPart part, char **out)
{
    CURLUcode rc = curl_url_get(u, part, out, 0);
    if (rc != CURLUE_OK) *out = NULL;
    return rc;
}

static hangar_code check_parts(CURLU *u, bool any_http, bool *out_local, hangar_err *err)
{
    char *scheme = NULL, *host = NULL, *user = NULL, *fragment = NULL;
    hangar_code code = HANGAR_OK;
    CURLUcode rc = url_part(u, CURLUPART_SCHEME, &scheme);
    if (rc == CURLUE_OK) rc = url_part(u, CURLUPART_HOST, &host);
    bool named = url_part(u, CURLUPART_USER, &user) == CURLUE_OK ||
                 url_part(u, CURLUPART_PASSWORD, &user) == CURLUE_OK;
    bool marked = url_part(u, CURLUPART_FRAGMENT, &fragment) == CURLUE_OK;
    if (rc == CURLUE_OUT_OF_MEMORY) code = hg_fail_memory(err);
    else if (rc != CURLUE_OK || !host[0]) code = hg_fail(err, HANGAR_E_USAGE, "an address without a host");
    else if (named) code = hg_fail(err, HANGAR_E_USAGE, "an address with a user's name in it");
    else if (marked) code = hg_fail(err, HANGAR_E_USAGE, "an address with a fragment (#)");
    else if (strcmp(scheme, "https") != 0 && strcmp(scheme, "http") != 0)
        code = hg_fail(err, HANGAR_E_USAGE, "an address that begins with neither https:// nor http://");
    else if (strcmp(scheme, "http") == 0 && !any_http && !host_is_local(host))
        code = hg_fail(
            err, HANGAR_E_USAGE,
            "http:// to another machine (%s), where anybody on the way could read along; https:// is needed",
            host);
    *out_local = code == HANGAR_OK && host_is_local(host);
    curl_free(scheme), curl_free(host), curl_free(user), curl_free(fragment);
    return code;
}

hangar_code hg_web_check(const char *url, bool any_http, bool *out_local, hangar_err *err)
{
    CURLU *u = curl_url();
    if (!u) return hg_fail_memory(err);
    CURLUcode rc = curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME | CURLU_PATH_AS_IS);
    hangar_code code = HANGAR_OK;
    *out_local = false;
    if (rc == CURLUE_OUT_OF_MEMORY) code = hg_fail_memory(err);
    else if (rc != CURLUE_OK)
        code = hg_fail(err, HANGAR_E_USAGE, "not an address: %s", curl_url_strerror(rc));
    else code = check_parts(u, any_http, out_local, err);
    curl_url_cleanup(u);
    return code;
}

/* ---- headers of an answer ---- */

/* The value of a header when the line is that one. */
static bool header_is(hg_str line, const char *name, hg_str *out_value)
{
    hg_str key;
    if (!hg_str_cut(&line, ':', &key)) return false;
    if (key.len != strlen(name) || strncasecmp(key.ptr, name, key.len) != 0) return false;
    *out_value = hg_str_trim(line);
    return true;
}

/* Seconds, or a date seen from now; nothing when it is neither. */
static void read_retry_after(hg_web_head *head, hg_str value)
{
    char text[64];
    uint64_t seconds = 0;
    if (hg_u64_parse(value, &seconds)) {
        head->retry_after = (double)seconds;
        head->waits = true;
        return;
    }
    if (value.len == 0 || value.len >= sizeof text) return;
    memcpy(text, value.ptr, value.len);
    text[value.len] = '\0';
    time_t when = curl_getdate(text, NULL);
    if (when == (time_t)-1) return;
    double left = (double)when - (double)hg_wall();
    head->retry_after = left > 0 ? left : 0;
    head->waits = true;
}

static void read_type(hg_web_head *head, hg_str value)
{
    hg_str type;
    hg_str_cut(&value, ';', &type);
    type = hg_str_trim(type);
    if (type.len >= sizeof head->type) return;
    for (size_t i = 0; i < type.len; i++) head->type[i] = (char)tolower((unsigned char)type.ptr[i]);
    head->type[type.len] = '\0';
}

/* "HTTP/1.1 200 OK" */
static bool read_status(hg_web_head *head, hg_str line)
{
    hg_str word;
    uint64_t status = 0;
    if (!hg_str_starts(line, HG_STR("HTTP/")) || !hg_str_cut(&line, ' ', &word)) return false;
    line = hg_str_trim(line);
    hg_str_cut(&line, ' ', &word);
    uint32_t bytes = head->bytes;
    *head = (hg_web_head){.bytes = bytes, .over = head->over};
    if (hg_u64_parse(word, &status) && status < 1000) head->status = (unsigned)status;
    return true;
}

void hg_web_line(hg_web_head *head, hg_str line)
{
    hg_str value;
    head->bytes += (uint32_t)(line.len < HG_WEB_HEADERS_MAX ? line.len : HG_WEB_HEADERS_MAX + 1);
    if (head->bytes > HG_WEB_HEADERS_MAX) head->over = true;
    if (head->over || read_status(head, line)) return;
    if (header_is(line, "retry-after", &value)) read_retry_after(head, value);
    else if (header_is(line, "content-type", &value)) read_type(head, value);
}

/* ---- what is always set ---- */

/* For requests to this machine: a name that resolves elsewhere, or a proxy, is not connected to. */
static curl_socket_t open_local(void *ctx, curlsocktype purpose, struct curl_sockaddr *addr)
{
    (void)ctx, (void)purpose;
    if (addr->family != AF_UNIX && !addr_is_loopback(&addr->addr)) return CURL_SOCKET_BAD;
    return socket(addr->family, addr->socktype | SOCK_CLOEXEC, addr->protocol);
}

static curl_socket_t open_any(void *ctx, curlsocktype purpose, struct curl_sockaddr *addr)
{
    (void)ctx, (void)purpose;
    return socket(addr->family, addr->socktype | SOCK_CLOEXEC, addr->protocol);
}

bool hg_web_options(CURL *easy, bool local, char *detail)
{
    CURLcode rc = curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    if (rc == CURLE_OK) rc = curl_easy_setopt(easy, CURLOPT_USERAGENT, "hangar/" HANGAR_VERSION);
    if (rc == CURLE_OK && local) rc = curl_easy_setopt(easy, CURLOPT_PROXY, "");
    if (rc != CURLE_OK) return false;
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, local ? open_local : open_any);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, detail);
    return true;
}

bool hg_web_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *more = line ? curl_slist_append(*list, line) : NULL;
    if (!more) {
        hg_web_wipe(*list);
        *list = NULL;
        return false;
    }
    *list = more;
    return true;
}

bool hg_web_key_fits(const char *key)
{
    for (const char *c = key; *c; c++)
        if (*c <= ' ' || *c >= 0x7f) return false;
    return true;
}

bool hg_web_key_header(struct curl_slist **list, const char *before, const char *key)
{
    char *line = hg_format("%s%s", before, key);
    bool ok = hg_web_header(list, line);
    if (line) explicit_bzero(line, strlen(line));
    free(line);
    return ok;
}

void hg_web_wipe(struct curl_slist *list)
{
    for (struct curl_slist *item = list; item; item = item->next)
        if (item->data) explicit_bzero(item->data, strlen(item->data));
    curl_slist_free_all(list);
}
