/* SPDX-License-Identifier: Apache-2.0 */
/* Answers: whole ones, streams, errors in the words of a dialect. */
#include "api/http_inner.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "manager/metrics.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- errors ---- */

/* What OpenAI's clients call a status. */
static const char *openai_type(unsigned status)
{
    switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 429: return "rate_limit_error";
    default: return status >= 500 ? "server_error" : "invalid_request_error";
    }
}

/* The field that a message begins with ("\"n\" must be ..."), or nothing. */
static hg_str named_field(const char *message)
{
    const char *end = message[0] == '"' ? strchr(message + 1, '"') : NULL;
    return end ? (hg_str){message + 1, (size_t)(end - message - 1)} : HG_STR("");
}

/* A message without what would tell a caller about our memory: addresses. */
static void scrub(const char *from, char *out, size_t cap)
{
    size_t n = 0;
    while (*from && n + 1 < cap) {
        size_t digits = 0;
        if (from[0] == '0' && (from[1] == 'x' || from[1] == 'X'))
            while (isxdigit((unsigned char)from[2 + digits])) digits++;
        if (digits >= 6) {
            from += 2 + digits;
            out[n++] = '?';
        } else {
            out[n++] = *from++;
        }
    }
    out[n] = '\0';
}

static void put_openai(hg_jw *w, unsigned status, const char *code, const char *message)
{
    hg_str field = named_field(message);
    hg_jw_obj(w, "error");
    hg_jw_text(w, "message", message);
    hg_jw_text(w, "type", openai_type(status));
    if (status < 500 && field.len > 0) hg_jw_str(w, "param", field);
    else hg_jw_null(w, "param");
    hg_jw_text(w, "code", code);
    hg_jw_end(w);
}

/* An error's body; the caller's, NULL when out of memory. */
static char *error_body(hg_dialect dialect, unsigned status, const char *code, const char *said)
{
    char message[HANGAR_ERR_MAX], *text = NULL;
    scrub(said, message, sizeof message);
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    switch (dialect) {
    case HG_DIALECT_OPENAI: put_openai(w, status, code, message); break;
    case HG_DIALECT_OLLAMA: hg_jw_text(w, "error", message); break;
    case HG_DIALECT_NATIVE:
        hg_jw_obj(w, "error");
        hg_jw_text(w, "code", code);
        hg_jw_text(w, "message", message);
        hg_jw_end(w);
        break;
    }
    hg_jw_end(w);
    if (!w || hg_jw_finish(w, false, &text, NULL) != HANGAR_OK) text = NULL;
    hg_jw_free(w);
    return text;
}

/* The code of an error as its dialect has it: hangar's own names in small letters, but for those that OpenAI's clients look at. */
static void code_name(hg_dialect dialect, hangar_code code, char out[32])
{
    const char *name = hangar_code_name(code);
    size_t n = 0;
    if (dialect == HG_DIALECT_OPENAI && code == HANGAR_E_NOT_FOUND) name = "model_not_found";
    if (dialect == HG_DIALECT_OPENAI && code == HANGAR_E_UNAUTHORIZED) name = "invalid_api_key";
    if (dialect == HG_DIALECT_OPENAI && code == HANGAR_E_TOO_LONG) name = "context_length_exceeded";
    for (; name[n] && n < 31; n++) out[n] = (char)tolower((unsigned char)name[n]);
    out[n] = '\0';
}

/* What of an error a client may know: a fault of our own is for the log. */
static const char *public_words(const hangar_err *err)
{
    bool own = err->code == HANGAR_E_INTERNAL || err->code == HANGAR_E_IO || !err->msg[0];
    return own ? hangar_code_text(err->code) : err->msg;
}

char *hg_error_json(hg_dialect dialect, const hangar_err *err)
{
    char code[32];
    code_name(dialect, err->code, code);
    return error_body(dialect, (unsigned)hangar_code_http(err->code), code, public_words(err));
}

/* ---- headers ---- */

/* Only what a header can carry without becoming two. */
static bool clean(const char *text)
{
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) return false;
    return true;
}

void hg_reply_header(hg_req *r, const char *name, const char *value)
{
    if (r->answered || !value || !clean(name) || !clean(value)) return;
    hg_buf_add(&r->headers, name, strlen(name) + 1);
    hg_buf_add(&r->headers, value, strlen(value) + 1);
}

/* All headers of an answer. */
static void add_headers(hg_req *r, struct MHD_Response *a, const char *type)
{
    if (type) MHD_add_response_header(a, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(a, "x-request-id", r->id);
    MHD_add_response_header(a, MHD_HTTP_HEADER_SERVER, "hangar");
    MHD_add_response_header(a, "X-Content-Type-Options", "nosniff");
    if (r->origin) {
        MHD_add_response_header(a, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_ORIGIN, r->origin);
        MHD_add_response_header(a, MHD_HTTP_HEADER_VARY, "Origin");
    }
    if (r->close || r->s->quiesced) MHD_add_response_header(a, MHD_HTTP_HEADER_CONNECTION, "close");
    if (hg_buf_check(&r->headers, NULL) != HANGAR_OK) return;
    for (size_t i = 0; i < r->headers.len;) {
        const char *name = r->headers.data + i, *value = name + strlen(name) + 1;
        MHD_add_response_header(a, name, value);
        i += strlen(name) + strlen(value) + 2;
    }
}

/* ---- answers ---- */

/* The answer is made; the connection gets it when libmicrohttpd comes by. NULL: out of memory, which ends the connection. */
static void leave_answer(hg_req *r, unsigned status, const char *type, struct MHD_Response *a)
{
    r->answered = true;
    r->status = status;
    r->answer = a;
    if (a) add_headers(r, a, type);
    else r->cut = true;
    hg_buf_deinit(&r->headers);
    hg_req_wake(r);
}

/* A whole answer over malloc'ed bytes, which are taken. */
static void answer_taken(hg_req *r, unsigned status, const char *type, char *bytes, size_t len)
{
    if (r->answered) {
        free(bytes);
        return;
    }
    struct MHD_Response *a =
        bytes ? MHD_create_response_from_buffer(len, bytes, MHD_RESPMEM_MUST_FREE) : NULL;
    if (!a) free(bytes);
    r->ended = true;
    r->sent = len;
    leave_answer(r, status, type, a);
}

void hg_reply_bytes(hg_req *r, unsigned status, const char *type, hg_str bytes)
{
    char *copy = malloc(bytes.len ? bytes.len : 1);
    if (copy && bytes.len > 0) memcpy(copy, bytes.ptr, bytes.len);
    answer_taken(r, status, type, copy, bytes.len);
}

void hg_reply_json(hg_req *r, unsigned status, char *json)
{
    answer_taken(r, status, "application/json", json, json ? strlen(json) : 0);
}

/* An error whose words and code are chosen. */
static void reply_fault(hg_req *r, unsigned status, const char *code, const char *words)
{
    if (status == 401) hg_reply_header(r, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    hg_reply_json(r, status, error_body(r->dialect, status, code, words));
}

void hg_reply_error(hg_req *r, const hangar_err *err, double retry_after)
{
    char code[32], seconds[24];
    if (r->answered) return;
    if (retry_after >= 0) {
        snprintf(seconds, sizeof seconds, "%.0f", fmin(fmax(ceil(retry_after), 1), 86400));
        hg_reply_header(r, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    }
    code_name(r->dialect, err->code, code);
    if (hangar_code_http(err->code) >= 500) hg_log(HG_LOG_WARN, "http", "%s %s", r->id, err->msg);
    reply_fault(r, (unsigned)hangar_code_http(err->code), code, public_words(err));
}

void hg_refuse(hg_req *r, unsigned status, const char *code, const char *fmt, ...)
{
    char words[HANGAR_ERR_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(words, sizeof words, fmt, args);
    va_end(args);
    hg_metric_add(HG_M_HTTP_REFUSED, (const char *const[]){code}, 1);
    reply_fault(r, status, code, words);
}

/* ---- streams ---- */

/* libmicrohttpd has room for more. */
static ssize_t on_room(void *cls, uint64_t pos, char *out, size_t max)
{
    hg_req *r = cls;
    (void)pos;
    r->sleep = HG_REQ_AWAKE;
    if (r->cut || r->gone) {
        /* Its socket is shut, so that this byte goes nowhere: failing to send it, libmicrohttpd ends the connection and cleans up. Had it been
         * told of an error here, it would end it, too, but not clean up before something else happens. */
        *out = ' ';
        return 1;
    }
    size_t left = r->out.len - r->out_at;
    if (left == 0 && r->ended) return MHD_CONTENT_READER_END_OF_STREAM;
    if (left == 0) {
        hg_req_sleep_now(r);
        return 0;
    }
    size_t n = left < max ? left : max;
    memcpy(out, r->out.data + r->out_at, n);
    r->out_at += n;
    r->sent += n;
    r->conn->moved += n;
    if (r->out_at == r->out.len) { /* an idle stream holds no memory */
        hg_buf_deinit(&r->out);
        hg_buf_init(&r->out, SIZE_MAX / 2);
        r->out_at = 0;
    }
    return (ssize_t)n;
}

void hg_stream_begin(hg_req *r, unsigned status, const char *type)
{
    if (r->answered) return;
    r->streams = true;
    hg_metric_add(HG_M_HTTP_STREAMS, NULL, 1);
    hg_reply_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    /* The block is for HTTP/1.0 only; chunks go through the connection's own memory. */
    leave_answer(r, status, type,
                 MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 1024, on_room, r, NULL));
}

/* Something is there to be sent: from here on the client has to read. */
static void stream_moves(hg_req *r)
{
    if (r->conn->state != HG_CONN_SEND) hg_conn_move(r->conn, HG_CONN_SEND);
    hg_req_wake(r);
}

void hg_stream_write(hg_req *r, hg_str bytes)
{
    if (!r->streams || r->ended || r->cut || bytes.len == 0) return;
    /* What one write brings may be more than the limit; what was there before it may not. */
    if (r->out.len - r->out_at > HG_STREAM_PENDING) {
        r->cut = true;
        hg_conn_cut(r->conn, "it left too much of a stream unread");
        return;
    }
    if (r->out_at > r->out.len / 2 && r->out_at > HG_KIB) {
        hg_buf_drop(&r->out, r->out_at);
        r->out_at = 0;
    }
    hg_buf_str(&r->out, bytes);
    if (hg_buf_check(&r->out, NULL) != HANGAR_OK) {
        r->cut = true;
        hg_conn_cut(r->conn, "there was no memory for its stream");
        return;
    }
    stream_moves(r);
}

void hg_stream_end(hg_req *r)
{
    if (!r->streams || r->ended) return;
    r->ended = true;
    stream_moves(r);
}

enum MHD_Result hg_reply_queue(hg_req *r)
{
    if (!r->answer) return MHD_NO;
    double seconds = r->s->o.slow_seconds;
    if (!r->streams) seconds *= 1 + (double)r->sent / HG_HTTP_SLOW_BYTES;
    hg_conn_move_for(r->conn, HG_CONN_SEND, seconds);
    enum MHD_Result result = MHD_queue_response(r->conn->mhd, r->status, r->answer);
    MHD_destroy_response(r->answer);
    r->answer = NULL;
    r->queued = true;
    return result;
}
