/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's HTTP server: libmicrohttpd without threads of its own, polled by the loop. It reads a request whole (within its endpoint's limits),
 * checks who asks, finds the endpoint and calls it; the endpoint answers now or later, at once or in pieces. Everything on the loop's thread.
 *
 * Before an endpoint is called: one Host header that names this server (else 421), an Origin that is allowed or absent (403), the path parsed once
 * (400), the endpoint found (404, 405), the key checked for its scope (401, 403), a body within the limit (413) and of the right
 * type (415), JSON that parses (400). Errors have the shape of the endpoint's dialect.
 *
 * Limits, each named in its error: header 16 KiB and 64 fields, path 8 KiB, body per endpoint, connections, seconds for a slow client, bytes a slow reader may
 * leave unread (HG_STREAM_PENDING; then it is cut off).
 *
 * A request lives until its answer is out or its client is gone, whichever is first; `gone` tells the endpoint of the latter, once, and
 * afterwards the hg_req must not be touched. After the answer was ended it must not be touched either.
 */
#ifndef HG_API_HTTP_H
#define HG_API_HTTP_H

#include "base/json.h"
#include "base/loop.h"
#include "manager/ask.h"

#define HG_STREAM_PENDING ((size_t)4 << 20)

typedef struct hg_server hg_server;
typedef struct hg_req hg_req;

typedef enum hg_dialect { HG_DIALECT_NATIVE, HG_DIALECT_OPENAI, HG_DIALECT_OLLAMA } hg_dialect;

/* Who may call: anybody, a key for inference, a key for management. On loopback and the unix socket without configured keys everybody has all scopes. */
typedef enum hg_scope { HG_SCOPE_OPEN, HG_SCOPE_INFER, HG_SCOPE_MANAGE } hg_scope;

typedef enum hg_body {
    HG_BODY_NONE,
    HG_BODY_JSON,
    HG_BODY_FORM /* multipart/form-data with one file */
} hg_body;

/*
 * One field of a JSON body: what is read, checked and described in the OpenAPI document from one row. `kind`: 's' text, 'b' bool, 'i' integer, 'n' number, 'a' array,
 * 'o' object, '*' anything. Numbers outside min..max (both 0 = any) and values of another kind are 400, naming the field. null counts as left out.
 */
typedef struct hg_field {
    const char *name; /* NULL ends the table */
    char kind;
    bool required;
    double min, max;
    const char *help;
} hg_field;

/* One route. endpoints.def has a line HG_ENDPOINTS(file) for each array of them, `const hg_endpoint hg_endpoints_<file>[]`, which ends with {0}. */
typedef struct hg_endpoint {
    const char *method;
    const char *path; /* "/v1/models/:": one colon stands for one segment, a last "*" for the rest */
    hg_dialect dialect;
    hg_scope scope;
    hg_body body;
    const hg_field *
        fields; /* of a JSON body; NULL = not checked. Native endpoints refuse fields that are not named; the others pass over them */
    const char *streams; /* media type of the streaming form, for the OpenAPI document; NULL = none */
    const char *summary;
    void (*fn)(hg_req *r);
} hg_endpoint;

#define HG_ENDPOINTS(file) extern const hg_endpoint hg_endpoints_##file[];
#include "api/endpoints.def"
#undef HG_ENDPOINTS
/* The arrays in the order of the file, NULL-terminated. */
const hg_endpoint *const *hg_endpoints_all(void);

typedef struct hg_server_options {
    const char *listen;      /* "127.0.0.1:4264"; NULL = no TCP */
    const char *socket;      /* path of the unix socket; NULL = none */
    const char *const *cors; /* origins that browsers may call from; NULL = none */
    uint64_t max_body;       /* bytes of a JSON body */
    uint64_t max_upload;     /* bytes of a file */
    unsigned max_connections;
    double slow_seconds;                 /* without a byte from a client that is to send */
    const hg_endpoint *const *endpoints; /* arrays, NULL-terminated; NULL = hg_endpoints_all() */
} hg_server_options;

/* Listens. BUSY (address in use), USAGE (not loopback without keys; malformed), DENIED. */
hangar_code hg_server_new(hg_host *host, const hg_server_options *options, hg_server **out, hangar_err *err);
/* "http://127.0.0.1:4264"; "" without TCP. */
const char *hg_server_url(const hg_server *s);
/* No new connections; idle ones are closed; running answers go on. */
void hg_server_quiesce(hg_server *s);
/* Running requests, streams among them. */
size_t hg_server_running(const hg_server *s);
/* Cuts what is left. */
void hg_server_free(hg_server *s);

/* ---- what an endpoint may ask ---- */

hg_host *hg_req_host(const hg_req *r);
hg_server *hg_req_server(const hg_req *r);
const hg_endpoint *hg_req_endpoint(const hg_req *r);
const char *hg_req_id(const hg_req *r); /* 16 hex digits, in x-request-id and the log */
/* The n-th ':' or '*' of the path, decoded. */
const char *hg_req_part(const hg_req *r, unsigned n);
const char *hg_req_query(const hg_req *r, const char *name);  /* NULL = not there */
const char *hg_req_header(const hg_req *r, const char *name); /* the same; never Authorization */
const hg_jval *hg_req_json(const hg_req *r);                  /* the body; NULL without */
/* Takes the parsed body over: hg_req_json is NULL then. */
hg_json *hg_req_take_json(hg_req *r);
/* Of a form: a text field (NULL = not there); the file as a descriptor at its start (take it: the caller closes), and its name as the client gave it. */
const char *hg_req_form(const hg_req *r, const char *name);
int hg_req_take_file(hg_req *r, const char **out_name);
double hg_req_began(const hg_req *r); /* hg_now() when its header was there */

/* Zeroed memory that lives as long as the request; `leave` (may be NULL) is called before it is freed. */
void *hg_req_state(hg_req *r, size_t size, void (*leave)(void *state));
/* Told once when the client goes before the answer is out. */
void hg_req_on_gone(hg_req *r, void (*gone)(void *ctx), void *ctx);

/* ---- what it answers ---- */

/* A header of the answer, before it begins. A value with control characters is left out. */
void hg_reply_header(hg_req *r, const char *name, const char *value);
/* Whole answers. json is taken (free). */
void hg_reply_json(hg_req *r, unsigned status, char *json);
void hg_reply_bytes(hg_req *r, unsigned status, const char *type, hg_str bytes);
/* An error in the dialect's own shape; status and kind follow from err->code. retry_after in seconds becomes a header; negative = none. */
void hg_reply_error(hg_req *r, const hangar_err *err, double retry_after);
/* A stream of that type: HTTP/1.1 chunks, sent as they are written. What was written in one turn of the loop goes out in one piece. */
void hg_stream_begin(hg_req *r, unsigned status, const char *type);
void hg_stream_write(hg_req *r, hg_str bytes);
void hg_stream_end(hg_req *r);

/* The body of an error in a dialect's shape, for streams that have begun. The caller's; NULL when out of memory. */
char *hg_error_json(hg_dialect dialect, const hangar_err *err);

#endif
