/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a request's head can be read in one way only. libmicrohttpd 0.9.75 takes a bare line feed for the end of a line, folded
 * lines, and blanks in places where others see none; between a proxy and us that hides a second request. It does not tell, but the
 * lines lie in memory as they came: a name, a colon, a value, two bytes of line end, then the next name. If the places of all parts say that
 * each line ended in CR LF and that nothing was folded or left out, there was one way to read it.
 *
 * From 0.9.77 on the library itself is told to be strict (MHD_OPTION_CLIENT_DISCIPLINE_LVL, in http.c), and lays its memory out otherwise.
 */
#include "api/http_inner.h"

#define LAYOUT_KNOWN (MHD_VERSION < 0x00097700)

typedef struct head {
    const char *at; /* where the next line begins; NULL: out of step */
    unsigned count;
    unsigned lengths, codings;
    const char *coding;
    const char *fault;
} head;

/* A character of a header's name. */
static bool is_token(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

/* What is wrong with a name and a value, apart from where they lie. */
static const char *line_fault(const char *name, const char *value)
{
    if (!*name) return "a header without a name";
    for (const char *c = name; *c; c++)
        if (!is_token(*c)) return "a header's name has a character that no name has";
    for (const char *c = value; *c; c++)
        if (((unsigned char)*c < 0x20 && *c != '\t') || *c == 0x7f)
            return "a header's value has a control character";
    return NULL;
}

/* Only blanks between the colon, which a NUL replaced, and the value. */
static bool in_step(const char *at, const char *name, const char *value)
{
    const char *c = name + strlen(name) + 1;
    if (name != at || value < c || value - c > (ptrdiff_t)HG_HTTP_HEADER_BYTES) return false;
    while (c < value && (*c == ' ' || *c == '\t')) c++;
    return c == value;
}

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    head *h = cls;
    (void)kind;
    if (!value) value = "";
    h->count++;
    if (!h->fault) h->fault = line_fault(name, value);
    if (!strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH)) {
        uint64_t n;
        h->lengths++;
        if (!h->fault && !hg_u64_parse(hg_str_of(value), &n)) h->fault = "a malformed Content-Length";
    }
    if (!strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING)) {
        h->codings++;
        h->coding = value;
    }
    if (LAYOUT_KNOWN && !h->fault) {
        if (!in_step(h->at, name, value)) h->fault = "a line of the head is folded or does not end in CR LF";
        h->at = value + strlen(value) + 2;
    }
    return MHD_YES;
}

/* The first line: "METHOD URI VERSION" with one blank between. NULL when it is not so. */
static const char *after_first_line(const char *method, hg_str uri, const char *version)
{
    if (uri.ptr != method + strlen(method) + 1 || version != uri.ptr + uri.len + 1) return NULL;
    return version + strlen(version) + 2;
}

const char *hg_framing_fault(struct MHD_Connection *connection, const char *method, hg_str uri,
                             const char *version, unsigned *out_headers)
{
    head h = {0};
    if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
        h.fault = "an unknown version of HTTP";
    for (const char *c = method; *c && !h.fault; c++)
        if (!is_token(*c)) h.fault = "a malformed method";
    if (LAYOUT_KNOWN && !h.fault && !(h.at = after_first_line(method, uri, version)))
        h.fault = "a malformed first line";
    MHD_get_connection_values(connection, MHD_HEADER_KIND, on_header, &h);
    *out_headers = h.count;
    if (h.fault) return h.fault;
    if (LAYOUT_KNOWN) {
        const union MHD_ConnectionInfo *size =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
        if (!size || h.at + 2 != method + size->header_size)
            return "a line of the head is folded or does not end in CR LF";
    }
    if (h.lengths > 1) return "two Content-Length headers";
    if (h.codings > 0 && h.lengths > 0) return "both Content-Length and Transfer-Encoding";
    if (h.codings > 1 || (h.codings == 1 && strcasecmp(h.coding, "chunked") != 0))
        return "a Transfer-Encoding other than chunked";
    if (h.codings > 0 && !strcmp(version, "HTTP/1.0")) return "a Transfer-Encoding in HTTP/1.0";
    return NULL;
}
