/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies: how much of them, of which type, and what JSON must look like for an endpoint. */
#include "api/http_inner.h"
#include "base/mem.h"

#define JSON_DEPTH   64
#define INLINE_BYTES (64 * HG_KIB) /* of JSON that are parsed at once; more takes too long for the loop */

/* ---- fields ---- */

static const char *kind_name(char kind)
{
    switch (kind) {
    case 's': return "a text";
    case 'b': return "true or false";
    case 'i': return "an integer";
    case 'n': return "a number";
    case 'a': return "an array";
    case 'o': return "an object";
    default: return "a value";
    }
}

static bool kind_fits(const hg_field *f, const hg_jval *v)
{
    int64_t i;
    double d;
    bool any = f->min == 0 && f->max == 0;
    switch (f->kind) {
    case 's': return hg_json_text(v) != NULL;
    case 'b': return hg_json_is_bool(v);
    case 'i': return hg_json_i64(v, &i) && (any || ((double)i >= f->min && (double)i <= f->max));
    case 'n': return hg_json_f64(v, &d) && (any || (d >= f->min && d <= f->max));
    case 'a': return hg_json_is_array(v);
    case 'o': return hg_json_is_object(v);
    default: return true;
    }
}

/* One field of the table against the body. */
static hangar_code check_field(const hg_field *f, const hg_jval *body, hangar_err *err)
{
    const hg_jval *v = hg_json_get(body, f->name);
    if (hg_json_is_null(v))
        return f->required ? hg_fail(err, HANGAR_E_USAGE, "\"%s\" is missing", f->name) : HANGAR_OK;
    if (kind_fits(f, v)) return HANGAR_OK;
    if (f->kind == 's' && hg_json_is_string(v))
        return hg_fail(err, HANGAR_E_USAGE, "\"%s\" has a NUL character in it", f->name);
    if (f->min == 0 && f->max == 0)
        return hg_fail(err, HANGAR_E_USAGE, "\"%s\" must be %s", f->name, kind_name(f->kind));
    return hg_fail(err, HANGAR_E_USAGE, "\"%s\" must be %s from %.10g to %.10g", f->name, kind_name(f->kind),
                   f->min, f->max);
}

hangar_code hg_fields_check(const hg_field *fields, const hg_jval *body, bool strict, hangar_err *err)
{
    for (const hg_field *f = fields; f->name; f++) {
        hangar_code code = check_field(f, body, err);
        if (code != HANGAR_OK) return code;
    }
    for (hg_json_iter it = hg_json_iter_of(body); strict && hg_json_next(&it);) {
        const hg_field *f = fields;
        while (f->name && !hg_str_eq(it.key, hg_str_of(f->name))) f++;
        if (!f->name)
            return hg_fail(err, HANGAR_E_USAGE, "\"%.*s\" is not a field of this request",
                           it.key.len > 64 ? 64 : (int)it.key.len, it.key.ptr);
    }
    return HANGAR_OK;
}

/* ---- before the body ---- */

/* The media type is `want`, with or without parameters. */
static bool is_type(const char *type, const char *want)
{
    size_t len = strlen(want);
    if (strncasecmp(type, want, len) != 0) return false;
    type += len;
    while (*type == ' ' || *type == '\t') type++;
    return *type == '\0' || *type == ';';
}

/*
 * JSON has to say that it is. A page elsewhere can send what forms send without asking first, so other types are taken only from callers that
 * are no browsers, where the world's examples leave the type out: `curl -d` for Ollama's addresses, and no type at all.
 */
static bool type_fits(const hg_req *r, const char *type)
{
    if (r->ep->body == HG_BODY_FORM) return type && is_type(type, "multipart/form-data");
    if (type && is_type(type, "application/json")) return true;
    bool browser = hg_req_header(r, MHD_HTTP_HEADER_ORIGIN) || hg_req_header(r, "Sec-Fetch-Site") ||
                   hg_req_header(r, MHD_HTTP_HEADER_REFERER);
    if (browser) return false;
    return !type || (r->dialect == HG_DIALECT_OLLAMA && is_type(type, "application/x-www-form-urlencoded"));
}

/* Makes what the body goes into. */
static bool prepare(hg_req *r, const char *type)
{
    hangar_err err = {0};
    if (r->ep->body == HG_BODY_JSON) hg_buf_init(&r->body, r->s->o.max_body);
    if (r->ep->body != HG_BODY_FORM) return true;
    hangar_code code = hg_form_new(hg_str_of(type), r->s->o.max_upload, &r->form, &err);
    if (code == HANGAR_OK) return true;
    hg_refuse(r, (unsigned)hangar_code_http(code), "malformed_form", "%s", err.msg);
    return false;
}

bool hg_body_begin(hg_req *r)
{
    const char *type;
    const hg_server *s = r->s;
    switch (r->ep->body) {
    case HG_BODY_NONE: r->body_max = HG_HTTP_SWALLOW; break;
    case HG_BODY_JSON: r->body_max = s->o.max_body; break;
    case HG_BODY_FORM: r->body_max = s->o.max_upload + HG_FORM_OVERHEAD; break;
    }
    if (r->body_len != UINT64_MAX && r->body_len > r->body_max) {
        hg_refuse(r, 413, "body_too_large", "the body is longer than %llu bytes",
                  (unsigned long long)r->body_max);
        return false;
    }
    if (r->ep->body == HG_BODY_NONE || (r->ep->body == HG_BODY_JSON && r->body_len == 0)) return true;
    if (!hg_req_single(r, MHD_HTTP_HEADER_CONTENT_TYPE, &type) || !type_fits(r, type)) {
        hg_refuse(r, 415, "wrong_type", "the body must be %s",
                  r->ep->body == HG_BODY_JSON ? "application/json" : "multipart/form-data");
        return false;
    }
    uint64_t len = r->body_len == UINT64_MAX ? 0 : r->body_len;
    if (r->ep->body == HG_BODY_JSON && s->bodies + len > HG_HTTP_BODIES) {
        hg_reply_header(r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
        hg_refuse(r, 503, "overloaded", "too many bodies are being read");
        return false;
    }
    return prepare(r, type);
}

/* ---- the body ---- */

/* Refuses what is being read; the rest is thrown away. */
static void refuse_body(hg_req *r, const hangar_err *err)
{
    r->swallow = true;
    if (r->answered) return;
    if (err->code == HANGAR_E_LIMIT) hg_refuse(r, 413, "body_too_large", "%s", err->msg);
    else hg_reply_error(r, err, -1);
    hg_body_free(r);
}

static void add_json(hg_req *r, const char *bytes, size_t len)
{
    hangar_err err = {0};
    hg_buf_add(&r->body, bytes, len);
    r->counted += len;
    r->s->bodies += len;
    hangar_code code = hg_buf_check(&r->body, &err);
    if (code == HANGAR_E_LIMIT)
        hg_fail(&err, code, "the body is longer than %llu bytes", (unsigned long long)r->body_max);
    if (code == HANGAR_OK && r->s->bodies > HG_HTTP_BODIES)
        code = hg_fail(&err, HANGAR_E_OVERLOADED, "too many bodies are being read");
    if (code != HANGAR_OK) refuse_body(r, &err);
}

void hg_body_add(hg_req *r, const char *bytes, size_t len)
{
    hangar_err err = {0};
    r->body_got += len;
    r->conn->moved += len;
    if (r->swallow || r->ep->body == HG_BODY_NONE) {
        /* A length that was told is at most this; without one it ends here. */
        if (r->body_got > r->body_max + HG_HTTP_SWALLOW) r->cut = true;
    } else if (r->ep->body == HG_BODY_JSON) {
        add_json(r, bytes, len);
    } else if (hg_form_add(r->form, (hg_str){bytes, len}, &err) != HANGAR_OK) {
        refuse_body(r, &err);
    }
}

/* The body as JSON is there, or why it is none: the rest of the checks. */
static bool take_json(hg_req *r, hg_json *doc, hangar_code code, hangar_err *err)
{
    r->json = doc;
    if (code == HANGAR_OK && r->json && !hg_json_is_object(hg_json_root(r->json)))
        code = hg_fail(err, HANGAR_E_USAGE, "the body must be a JSON object");
    if (code == HANGAR_OK && r->ep->fields)
        code = hg_fields_check(r->ep->fields, r->json ? hg_json_root(r->json) : NULL,
                               r->dialect == HG_DIALECT_NATIVE, err);
    r->s->bodies -= r->counted;
    r->counted = 0;
    if (code == HANGAR_OK) return true;
    if (code != HANGAR_E_NO_MEMORY) err->code = HANGAR_E_USAGE; /* what a client sends is its own fault */
    hg_reply_error(r, err, -1);
    return false;
}

/* A body that is parsed on a thread, as it would hold up the loop. */
struct hg_parse {
    hg_req *r; /* NULL: it is gone */
    hg_buf text;
    hg_json_limits limits;
    hg_json *doc;
    hangar_code code;
    hangar_err err;
};

static void on_parse(void *ctx)
{
    hg_parse *p = ctx;
    p->code = hg_json_parse(hg_buf_view(&p->text), &p->limits, &p->doc, &p->err);
}

static void on_parsed(void *ctx)
{
    hg_parse *p = ctx;
    hg_req *r = p->r;
    hg_buf_deinit(&p->text);
    if (r) {
        r->parsing = NULL;
        if (take_json(r, p->doc, p->code, &p->err)) hg_req_call(r);
    } else {
        hg_json_free(p->doc);
    }
    free(p);
}

/* Gives the body away to be parsed; false when that is not possible. */
static bool parse_aside(hg_req *r, const hg_json_limits *limits)
{
    hg_parse *p = hg_calloc(1, sizeof *p);
    if (!p) return false;
    *p = (hg_parse){.r = r, .text = r->body, .limits = *limits};
    if (hg_loop_work(r->s->host->loop, on_parse, on_parsed, p, NULL) != HANGAR_OK) {
        free(p);
        return false;
    }
    hg_buf_init(&r->body, 0);
    r->parsing = p;
    return true;
}

static hg_body_state end_json(hg_req *r)
{
    hangar_err err = {0};
    hg_json *doc = NULL;
    const hg_json_limits limits = {.bytes = r->s->o.max_body, .depth = JSON_DEPTH, .unique_keys = true};
    if (r->body.len > INLINE_BYTES && parse_aside(r, &limits)) return HG_BODY_LATER;
    hangar_code code =
        r->body.len > 0 ? hg_json_parse(hg_buf_view(&r->body), &limits, &doc, &err) : HANGAR_OK;
    hg_buf_deinit(&r->body);
    return take_json(r, doc, code, &err) ? HG_BODY_GOOD : HG_BODY_REFUSED;
}

hg_body_state hg_body_end(hg_req *r)
{
    hangar_err err = {0};
    if (r->ep->body == HG_BODY_JSON) return end_json(r);
    if (r->ep->body != HG_BODY_FORM || hg_form_finish(r->form, &err) == HANGAR_OK) return HG_BODY_GOOD;
    refuse_body(r, &err);
    return HG_BODY_REFUSED;
}

void hg_body_free(hg_req *r)
{
    if (r->parsing) r->parsing->r = NULL;
    r->parsing = NULL;
    hg_json_free(r->json);
    r->json = NULL;
    hg_form_free(r->form);
    r->form = NULL;
    hg_buf_deinit(&r->body);
    r->s->bodies -= r->counted;
    r->counted = 0;
}

/* ---- what an endpoint may ask ---- */

const hg_jval *hg_req_json(const hg_req *r)
{
    return r->json ? hg_json_root(r->json) : NULL;
}

hg_json *hg_req_take_json(hg_req *r)
{
    hg_json *doc = r->json;
    r->json = NULL;
    return doc;
}

const char *hg_req_form(const hg_req *r, const char *name)
{
    return r->form ? hg_form_field(r->form, name) : NULL;
}

int hg_req_take_file(hg_req *r, const char **out_name)
{
    if (out_name) *out_name = NULL;
    return r->form ? hg_form_take_file(r->form, out_name) : -1;
}
