/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/reply.h"

#include "base/mem.h"

#include <curl/curl.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

void hg_reply_reset(hg_reply *r)
{
    free(r->location);
    free(r->link);
    free(r->warning);
    *r = (hg_reply){0};
}

/* Without W/ and quotes. */
static hg_str etag_core(hg_str s)
{
    if (hg_str_starts(s, HG_STR("W/"))) s = (hg_str){s.ptr + 2, s.len - 2};
    if (s.len >= 2 && s.ptr[0] == '"' && s.ptr[s.len - 1] == '"') s = (hg_str){s.ptr + 1, s.len - 2};
    return s;
}

/* A copy that is cut when it is too long. */
static void keep(char *out, size_t room, hg_str value)
{
    size_t n = value.len < room - 1 ? value.len : room - 1;
    memcpy(out, value.ptr, n);
    out[n] = '\0';
}

static void keep_long(hg_reply *r, char **out, hg_str value)
{
    free(*out);
    *out = hg_strndup(value.ptr, value.len);
    if (!*out) r->no_memory = true;
}

static void take_length(hg_reply *r, hg_str value)
{
    uint64_t n;
    if (!hg_u64_parse(value, &n) || (r->length_known && n != r->length)) {
        r->length_bad = true;
        return;
    }
    r->length_known = true;
    r->length = n;
}

/* Headers that are kept as short text. */
static const struct {
    const char *name;
    size_t at, room;
} short_headers[] = {
    {"content-range", offsetof(hg_reply, range), sizeof((hg_reply *)0)->range},
    {"x-repo-commit", offsetof(hg_reply, commit), sizeof((hg_reply *)0)->commit},
    {"retry-after", offsetof(hg_reply, retry_after), sizeof((hg_reply *)0)->retry_after},
    {"ratelimit", offsetof(hg_reply, rate_limit), sizeof((hg_reply *)0)->rate_limit},
    {"x-error-code", offsetof(hg_reply, error_code), sizeof((hg_reply *)0)->error_code},
    {"x-error-message", offsetof(hg_reply, error_message), sizeof((hg_reply *)0)->error_message},
    {"x-request-id", offsetof(hg_reply, request_id), sizeof((hg_reply *)0)->request_id},
};

static bool is(hg_str name, const char *word)
{
    return name.len == strlen(word) && strncasecmp(name.ptr, word, name.len) == 0;
}

static void take_header(hg_reply *r, hg_str name, hg_str value)
{
    for (size_t i = 0; i < HG_LEN(short_headers); i++) {
        if (!is(name, short_headers[i].name)) continue;
        keep((char *)r + short_headers[i].at, short_headers[i].room, value);
        if (short_headers[i].at == offsetof(hg_reply, range)) r->range_known = true;
        return;
    }
    if (is(name, "etag")) {
        keep(r->etag, sizeof r->etag, etag_core(value));
    } else if (is(name, "x-linked-etag")) {
        keep(r->linked_etag, sizeof r->linked_etag, etag_core(value));
    } else if (is(name, "x-linked-size")) {
        r->linked_size_known = hg_u64_parse(value, &r->linked_size);
    } else if (is(name, "content-length")) {
        take_length(r, value);
    } else if (is(name, "content-encoding")) {
        r->encoded = value.len && !is(value, "identity");
    } else if (is(name, "location")) {
        keep_long(r, &r->location, value);
    } else if (is(name, "link")) {
        keep_long(r, &r->link, value);
    } else if (is(name, "x-hf-warning")) {
        keep_long(r, &r->warning, value);
    }
}

/* The number behind "HTTP/1.1 "; 0 when there is none. */
static int status_of(hg_str line)
{
    hg_str version;
    if (!hg_str_cut(&line, ' ', &version) || line.len < 3) return 0;
    uint64_t n;
    return hg_u64_parse((hg_str){line.ptr, 3}, &n) ? (int)n : 0;
}

void hg_reply_line(hg_reply *r, hg_str line)
{
    line = hg_str_trim(line);
    if (hg_str_starts(line, HG_STR("HTTP/"))) {
        hg_reply_reset(r);
        r->status = status_of(line);
    }
    if (r->over) return;
    r->bytes += line.len < HG_HEADERS_MAX ? (uint32_t)line.len + 2 : HG_HEADERS_MAX + 1;
    if (r->bytes > HG_HEADERS_MAX) r->over = true;
    if (r->over) return;
    hg_str name, value = line;
    if (hg_str_cut(&value, ':', &name)) take_header(r, name, hg_str_trim(value));
}

bool hg_content_range_parse(const char *text, uint64_t *start, uint64_t *end, uint64_t *total)
{
    hg_str s = hg_str_of(text), a, b;
    if (!hg_str_starts(s, HG_STR("bytes "))) return false;
    s = (hg_str){s.ptr + 6, s.len - 6};
    if (!hg_str_cut(&s, '-', &a) || !hg_str_cut(&s, '/', &b)) return false;
    if (!hg_u64_parse(a, start) || !hg_u64_parse(b, end) || !hg_u64_parse(s, total)) return false;
    return *start <= *end && *end < *total;
}

static double wait_of_retry_after(const char *text, int64_t now)
{
    uint64_t seconds;
    if (!text[0]) return -1;
    if (hg_u64_parse(hg_str_of(text), &seconds)) return seconds > 1000000000 ? 1e9 : (double)seconds;
    time_t when = curl_getdate(text, NULL);
    if (when == (time_t)-1) return -1;
    return (int64_t)when > now ? (double)((int64_t)when - now) : 0;
}

/* "api";r=0;t=55, "x";r=1;t=3 : the longest reset among the empty buckets, or among all when none is empty. */
static double wait_of_rate_limit(const char *text)
{
    double empty = -1, any = -1;
    hg_str list = hg_str_of(text), item;
    bool more = list.len > 0;
    while (more) {
        more = hg_str_cut(&list, ',', &item);
        uint64_t left = 0, reset = 0;
        bool has_reset = false, part_more = true;
        while (part_more) {
            hg_str part;
            part_more = hg_str_cut(&item, ';', &part);
            part = hg_str_trim(part);
            if (hg_str_starts(part, HG_STR("r=")))
                (void)hg_u64_parse((hg_str){part.ptr + 2, part.len - 2}, &left);
            if (hg_str_starts(part, HG_STR("t=")))
                has_reset = hg_u64_parse((hg_str){part.ptr + 2, part.len - 2}, &reset);
        }
        if (!has_reset) continue;
        double t = reset > 1000000000 ? 1e9 : (double)reset;
        if (t > any) any = t;
        if (left == 0 && t > empty) empty = t;
    }
    return empty >= 0 ? empty : any;
}

double hg_reply_wait(const hg_reply *r, int64_t now)
{
    double a = wait_of_retry_after(r->retry_after, now), b = wait_of_rate_limit(r->rate_limit);
    return a > b ? a : b;
}

/* Whether the parameters behind an address hold rel="next" (or rel=next). */
static bool has_rel_next(hg_str params)
{
    bool more = true;
    while (more) {
        hg_str param, name;
        more = hg_str_cut(&params, ';', &param);
        if (!hg_str_cut(&param, '=', &name) || !is(hg_str_trim(name), "rel")) continue;
        if (is(etag_core(hg_str_trim(param)), "next")) return true;
    }
    return false;
}

bool hg_link_next(const char *link, hg_str *out)
{
    hg_str rest = hg_str_of(link), before, address;
    while (rest.len && hg_str_cut(&rest, '<', &before)) {
        if (!hg_str_cut(&rest, '>', &address)) return false;
        hg_str params = rest;
        const char *next = memchr(rest.ptr, '<', rest.len);
        if (next) params.len = (size_t)(next - rest.ptr);
        while (params.len && (params.ptr[params.len - 1] == ',' || params.ptr[params.len - 1] == ' '))
            params.len--;
        if (has_rel_next(params)) {
            *out = address;
            return true;
        }
    }
    return false;
}

bool hg_etag_oid(const char *etag, hg_oid *out)
{
    return hg_oid_parse(hg_str_of(etag), out, NULL) == HANGAR_OK;
}
