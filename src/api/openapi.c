/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /openapi.json: an OpenAPI 3.1 document, made from what the server itself goes by: the tables of endpoints, the fields of their bodies,
 * and the parameters of the verbs behind /hangar/v1/VERB. It depends on nothing else, so it is made once.
 */
#include "api/openapi.h"

#include "api/native.h"
#include "base/mem.h"

#include <ctype.h>
#include <float.h>
#include <stdio.h>

static void answer(hg_req *r);

const hg_endpoint hg_endpoints_openapi[] = {{.method = "GET",
                                             .path = "/openapi.json",
                                             .scope = HG_SCOPE_OPEN,
                                             .summary = "this document",
                                             .fn = answer},
                                            {0}};

/* ---- paths ---- */

#define TEMPLATE_MAX 256 /* bytes of a templated path */

/* What a ':' or '*' is called: after the word before it, "models" gives "model". */
static void part_name(hg_str before, unsigned n, char out[64])
{
    size_t len = before.len < 48 ? before.len : 48;
    if (len > 1 && before.ptr[len - 1] == 's') len--;
    if (len) memcpy(out, before.ptr, len);
    snprintf(out + len, 64 - len, "%s", len ? "" : "part");
    if (n) snprintf(out + strlen(out), 64 - strlen(out), "%u", n + 1);
}

/* One segment after another; fn is told of each ':' and '*'. */
typedef void part_fn(void *ctx, const char *name, bool rest);
static void path_template(const char *path, char out[TEMPLATE_MAX], part_fn *fn, void *ctx)
{
    hg_str rest = hg_str_of(path + 1), seg, before = {0};
    size_t at = 0;
    unsigned parts = 0;
    bool more = true;
    out[0] = '\0';
    while (more && at < TEMPLATE_MAX - 80) {
        char name[64];
        more = hg_str_cut(&rest, '/', &seg);
        bool tail = hg_str_eq(seg, HG_STR("*"));
        if (tail || hg_str_eq(seg, HG_STR(":"))) {
            part_name(before, parts++, name);
            at += (size_t)snprintf(out + at, TEMPLATE_MAX - at, "/{%s}", name);
            if (fn) fn(ctx, name, tail);
        } else {
            at += (size_t)snprintf(out + at, TEMPLATE_MAX - at, "/%.*s", HG_STR_ARG(seg));
            before = seg;
        }
    }
}

static void write_part(void *ctx, const char *name, bool rest)
{
    hg_jw *w = ctx;
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "name", name);
    hg_jw_text(w, "in", "path");
    hg_jw_bool(w, "required", true);
    if (rest) hg_jw_text(w, "description", "the rest of the path; it may hold slashes");
    hg_jw_obj(w, "schema");
    hg_jw_text(w, "type", "string");
    hg_jw_end(w);
    hg_jw_end(w);
}

/* "post_hangar_v1_jobs_events": letters, digits and underscores. */
static void operation_id(const hg_endpoint *e, char out[TEMPLATE_MAX])
{
    size_t at = 0;
    for (const char *c = e->method; *c; c++) out[at++] = (char)tolower((unsigned char)*c);
    for (const char *c = e->path; *c && at < TEMPLATE_MAX - 6; c++) {
        if (isalnum((unsigned char)*c)) out[at++] = *c;
        else if (*c == ':') at += (size_t)snprintf(out + at, 6, "one");
        else if (*c == '*') at += (size_t)snprintf(out + at, 6, "rest");
        else if (at && out[at - 1] != '_') out[at++] = '_';
    }
    out[at] = '\0';
}

/* ---- schemas ---- */

static void write_range(hg_jw *w, double min, double max)
{
    if (min == 0 && max == 0) return;
    hg_jw_f64(w, "minimum", min);
    if (max < DBL_MAX && max < 9e18) hg_jw_f64(w, "maximum", max);
}

static void write_field_type(hg_jw *w, const hg_field *f)
{
    const char *type = f->kind == 's'   ? "string"
                       : f->kind == 'b' ? "boolean"
                       : f->kind == 'i' ? "integer"
                       : f->kind == 'n' ? "number"
                       : f->kind == 'a' ? "array"
                       : f->kind == 'o' ? "object"
                                        : NULL;
    if (type && f->required) {
        hg_jw_text(w, "type", type);
    } else if (type) {
        hg_jw_arr(w, "type"); /* null counts as left out */
        hg_jw_text(w, NULL, type);
        hg_jw_text(w, NULL, "null");
        hg_jw_end(w);
    }
    if (f->kind == 'i' || f->kind == 'n') write_range(w, f->min, f->max);
}

static void write_required(hg_jw *w, bool *open, const char *name)
{
    if (!*open) hg_jw_arr(w, "required");
    *open = true;
    hg_jw_text(w, NULL, name);
}

/* The body of an endpoint with a table of fields. */
static void write_fields(hg_jw *w, const hg_endpoint *e)
{
    bool open = false;
    hg_jw_text(w, "type", "object");
    hg_jw_obj(w, "properties");
    for (const hg_field *f = e->fields; f && f->name; f++) {
        hg_jw_obj(w, f->name);
        write_field_type(w, f);
        if (f->help) hg_jw_text(w, "description", f->help);
        hg_jw_end(w);
    }
    hg_jw_end(w);
    for (const hg_field *f = e->fields; f && f->name; f++)
        if (f->required) write_required(w, &open, f->name);
    if (open) hg_jw_end(w);
    if (e->fields && e->dialect == HG_DIALECT_NATIVE) hg_jw_bool(w, "additionalProperties", false);
}

/* A size or a duration: a number, or a text with a unit. */
static void write_unit(hg_jw *w, const char *example, bool query)
{
    if (!query) {
        hg_jw_arr(w, "type");
        hg_jw_text(w, NULL, "number");
        hg_jw_text(w, NULL, "string");
        hg_jw_end(w);
    } else {
        hg_jw_text(w, "type", "string");
    }
    hg_jw_arr(w, "examples");
    hg_jw_text(w, NULL, example);
    hg_jw_end(w);
}

static void write_choices(hg_jw *w, const char *choices)
{
    hg_str rest = hg_str_of(choices), word;
    hg_jw_text(w, "type", "string");
    hg_jw_arr(w, "enum");
    while (rest.len) {
        hg_str_cut(&rest, '|', &word);
        hg_jw_str(w, NULL, word);
    }
    hg_jw_end(w);
}

/* The members of a schema for a verb's parameter. */
static void write_param(hg_jw *w, const hg_param *p, bool query)
{
    switch (p->type) {
    case HG_TEXT: hg_jw_text(w, "type", "string"); break;
    case HG_REST:
    case HG_TEXTS:
        if (!query) {
            hg_jw_text(w, "type", "array");
            hg_jw_obj(w, "items");
        }
        hg_jw_text(w, "type", "string");
        if (!query) hg_jw_end(w);
        break;
    case HG_FLAG: hg_jw_text(w, "type", "boolean"); break;
    case HG_INT:
        hg_jw_text(w, "type", "integer");
        write_range(w, p->min, p->max);
        break;
    case HG_NUMBER:
        hg_jw_text(w, "type", "number");
        write_range(w, p->min, p->max);
        break;
    case HG_SIZE: write_unit(w, "10M", query); break;
    case HG_DURATION: write_unit(w, "5m", query); break;
    case HG_CHOICE: write_choices(w, p->choices); break;
    }
}

/* The body of a verb's route. */
static void write_verb(hg_jw *w, const hg_verb *verb)
{
    bool open = false;
    char name[64];
    hg_jw_text(w, "type", "object");
    hg_jw_obj(w, "properties");
    for (const hg_param *p = verb->params; p->name; p++) {
        if (p->local) continue;
        hg_jw_obj(w, hg_param_member(p, name));
        write_param(w, p, false);
        hg_jw_text(w, "description", p->help);
        hg_jw_end(w);
    }
    hg_jw_end(w);
    for (const hg_param *p = verb->params; p->name; p++)
        if (p->required && !p->local) write_required(w, &open, hg_param_member(p, name));
    if (open) hg_jw_end(w);
    hg_jw_bool(w, "additionalProperties", false);
}

/* {"$ref":"#/components/schemas/..."} as the schema of a media type. */
static void write_media(hg_jw *w, const char *type, const char *ref)
{
    hg_jw_obj(w, type);
    hg_jw_obj(w, "schema");
    if (ref) hg_jw_text(w, "$ref", ref);
    hg_jw_end(w);
    hg_jw_end(w);
}

/* ---- operations ---- */

static const char *tag_of(const hg_endpoint *e)
{
    if (e->dialect == HG_DIALECT_OPENAI) return "openai";
    if (e->dialect == HG_DIALECT_OLLAMA) return "ollama";
    return hg_str_starts(hg_str_of(e->path), HG_STR("/hangar/")) ? "hangar" : "daemon";
}

static const char *error_of(hg_dialect d)
{
    return d == HG_DIALECT_OPENAI   ? "#/components/responses/OpenAIError"
           : d == HG_DIALECT_OLLAMA ? "#/components/responses/OllamaError"
                                    : "#/components/responses/Error";
}

static bool is_get(const hg_endpoint *e)
{
    return hg_streq(e->method, "GET");
}

static void write_query_param(hg_jw *w, const char *name, const char *help, bool required, const hg_param *p)
{
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "name", name);
    hg_jw_text(w, "in", "query");
    hg_jw_bool(w, "required", required);
    hg_jw_text(w, "description", help);
    hg_jw_obj(w, "schema");
    if (p) write_param(w, p, true);
    else hg_jw_text(w, "type", "boolean");
    hg_jw_end(w);
    hg_jw_end(w);
}

static void write_parameters(hg_jw *w, const hg_endpoint *e, const hg_verb *verb)
{
    char path[TEMPLATE_MAX], name[64];
    hg_jw_arr(w, "parameters");
    path_template(e->path, path, write_part, w);
    for (const hg_param *p = verb && is_get(e) ? verb->params : NULL; p && p->name; p++)
        if (!p->local) write_query_param(w, hg_param_member(p, name), p->help, p->required, p);
    if (verb && !is_get(e))
        write_query_param(w, "background", "answer with the number of a job at once", false, NULL);
    hg_jw_end(w);
}

static void write_form(hg_jw *w)
{
    hg_jw_obj(w, "multipart/form-data");
    hg_jw_obj(w, "schema");
    hg_jw_text(w, "type", "object");
    hg_jw_obj(w, "properties");
    hg_jw_obj(w, "file");
    hg_jw_text(w, "type", "string");
    hg_jw_text(w, "contentMediaType", "application/octet-stream");
    hg_jw_end(w);
    hg_jw_obj(w, "model");
    hg_jw_text(w, "type", "string");
    hg_jw_end(w);
    hg_jw_end(w);
    hg_jw_arr(w, "required");
    hg_jw_text(w, NULL, "file");
    hg_jw_text(w, NULL, "model");
    hg_jw_end(w);
    hg_jw_end(w);
    hg_jw_end(w);
}

static void write_body(hg_jw *w, const hg_endpoint *e, const hg_verb *verb)
{
    bool required = false;
    char ref[TEMPLATE_MAX + 64];
    if (e->body == HG_BODY_NONE) return;
    for (const hg_field *f = e->fields; f && f->name; f++) required = required || f->required;
    for (const hg_param *p = verb ? verb->params : NULL; p && p->name; p++)
        required = required || p->required;
    hg_jw_obj(w, "requestBody");
    hg_jw_bool(w, "required", required || e->body == HG_BODY_FORM);
    hg_jw_obj(w, "content");
    if (e->body == HG_BODY_FORM) {
        write_form(w);
    } else {
        char id[TEMPLATE_MAX];
        operation_id(e, id);
        snprintf(ref, sizeof ref, "#/components/schemas/%s", id);
        write_media(w, "application/json", ref);
    }
    hg_jw_end(w);
    hg_jw_end(w);
}

static void write_responses(hg_jw *w, const hg_endpoint *e, const hg_verb *verb)
{
    bool events_only = e->streams && is_get(e);
    hg_jw_obj(w, "responses");
    hg_jw_obj(w, "200");
    hg_jw_text(w, "description", verb ? "the document that the command prints with --json" : "the answer");
    hg_jw_obj(w, "content");
    if (!events_only) write_media(w, "application/json", NULL);
    if (e->streams) write_media(w, e->streams, NULL);
    hg_jw_end(w);
    hg_jw_end(w);
    if (verb && !is_get(e)) {
        hg_jw_obj(w, "202");
        hg_jw_text(w, "description", "with background: the number of the job");
        hg_jw_obj(w, "content");
        write_media(w, "application/json", "#/components/schemas/JobNumber");
        hg_jw_end(w);
        hg_jw_end(w);
    }
    hg_jw_obj(w, "default");
    hg_jw_text(w, "$ref", error_of(e->dialect));
    hg_jw_end(w);
    hg_jw_end(w);
}

/* Without configured keys nothing has to be shown on loopback and on the socket: {} stands for that. */
static void write_security(hg_jw *w, const hg_endpoint *e)
{
    hg_jw_arr(w, "security");
    hg_jw_obj(w, NULL);
    hg_jw_end(w);
    if (e->scope != HG_SCOPE_OPEN) {
        hg_jw_obj(w, NULL);
        hg_jw_arr(w, "key");
        hg_jw_end(w);
        hg_jw_end(w);
    }
    hg_jw_end(w);
    hg_jw_text(w, "x-hangar-scope",
               e->scope == HG_SCOPE_OPEN    ? "open"
               : e->scope == HG_SCOPE_INFER ? "infer"
                                            : "manage");
}

static void write_operation(hg_jw *w, const hg_endpoint *e)
{
    char method[16], id[TEMPLATE_MAX];
    size_t n = 0;
    bool reads;
    const hg_verb *verb = hg_route_verb(e->path, &reads);
    for (; e->method[n] && n < sizeof method - 1; n++) method[n] = (char)tolower((unsigned char)e->method[n]);
    method[n] = '\0';
    operation_id(e, id);
    hg_jw_obj(w, method);
    hg_jw_text(w, "operationId", id);
    hg_jw_arr(w, "tags");
    hg_jw_text(w, NULL, tag_of(e));
    hg_jw_end(w);
    hg_jw_text(w, "summary", verb ? verb->summary : e->summary ? e->summary : "");
    if (verb) hg_jw_text(w, "description", verb->about);
    write_parameters(w, e, verb);
    write_body(w, e, verb);
    write_responses(w, e, verb);
    write_security(w, e);
    hg_jw_end(w);
}

/* ---- the document ---- */

/* fn for each endpoint of all tables. */
static void each(const hg_endpoint *const *lists, void (*fn)(hg_jw *w, const hg_endpoint *e), hg_jw *w)
{
    for (; *lists; lists++)
        for (const hg_endpoint *e = *lists; e->path; e++) fn(w, e);
}

/* True when a table has the path before this endpoint: it was written with that one. */
static bool seen(const hg_endpoint *const *lists, const hg_endpoint *e)
{
    for (; *lists; lists++)
        for (const hg_endpoint *other = *lists; other->path; other++) {
            if (other == e) return false;
            if (hg_streq(other->path, e->path)) return true;
        }
    return false;
}

static void write_paths(hg_jw *w, const hg_endpoint *const *lists)
{
    hg_jw_obj(w, "paths");
    for (const hg_endpoint *const *l = lists; *l; l++)
        for (const hg_endpoint *e = *l; e->path; e++) {
            char path[TEMPLATE_MAX];
            if (seen(lists, e)) continue;
            path_template(e->path, path, NULL, NULL);
            hg_jw_obj(w, path);
            for (const hg_endpoint *const *k = lists; *k; k++)
                for (const hg_endpoint *same = *k; same->path; same++)
                    if (hg_streq(same->path, e->path)) write_operation(w, same);
            hg_jw_end(w);
        }
    hg_jw_end(w);
}

static void write_schema(hg_jw *w, const hg_endpoint *e)
{
    char id[TEMPLATE_MAX];
    bool reads;
    const hg_verb *verb = hg_route_verb(e->path, &reads);
    if (e->body != HG_BODY_JSON) return;
    operation_id(e, id);
    hg_jw_obj(w, id);
    if (verb) write_verb(w, verb);
    else write_fields(w, e);
    hg_jw_end(w);
}

/* An object whose members are all texts. names: NULL-terminated. */
static void write_texts(hg_jw *w, const char *key, const char *const *names)
{
    hg_jw_obj(w, key);
    hg_jw_text(w, "type", "object");
    hg_jw_obj(w, "properties");
    for (const char *const *n = names; *n; n++) {
        hg_jw_obj(w, *n);
        hg_jw_text(w, "type", "string");
        hg_jw_end(w);
    }
    hg_jw_end(w);
    hg_jw_arr(w, "required");
    for (const char *const *n = names; *n; n++) hg_jw_text(w, NULL, *n);
    hg_jw_end(w);
    hg_jw_end(w);
}

/* {"error": inner}, with inner written by write_texts. */
static void write_wrapped(hg_jw *w, const char *key, const char *const *names)
{
    hg_jw_obj(w, key);
    hg_jw_text(w, "type", "object");
    hg_jw_obj(w, "properties");
    write_texts(w, "error", names);
    hg_jw_end(w);
    hg_jw_arr(w, "required");
    hg_jw_text(w, NULL, "error");
    hg_jw_end(w);
    hg_jw_end(w);
}

static void write_error_response(hg_jw *w, const char *name, const char *what)
{
    char ref[96];
    snprintf(ref, sizeof ref, "#/components/schemas/%s", name);
    hg_jw_obj(w, name);
    hg_jw_text(w, "description", what);
    hg_jw_obj(w, "content");
    write_media(w, "application/json", ref);
    hg_jw_end(w);
    hg_jw_end(w);
}

static void write_components(hg_jw *w, const hg_endpoint *const *lists)
{
    hg_jw_obj(w, "components");
    hg_jw_obj(w, "schemas");
    each(lists, write_schema, w);
    write_wrapped(w, "Error", (const char *const[]){"code", "message", NULL});
    write_wrapped(w, "OpenAIError", (const char *const[]){"message", "type", NULL});
    write_texts(w, "OllamaError", (const char *const[]){"error", NULL});
    write_texts(w, "JobNumber", (const char *const[]){"job", NULL});
    hg_jw_end(w);
    hg_jw_obj(w, "responses");
    write_error_response(w, "Error", "what went wrong; the codes are those of docs/formats/errors.md");
    write_error_response(w, "OpenAIError", "what went wrong, as OpenAI's clients read it");
    write_error_response(w, "OllamaError", "what went wrong, as Ollama's clients read it");
    hg_jw_end(w);
    hg_jw_obj(w, "securitySchemes");
    hg_jw_obj(w, "key");
    hg_jw_text(w, "type", "http");
    hg_jw_text(w, "scheme", "bearer");
    hg_jw_text(w, "description", "a key of the daemon, whose scope is infer or manage (x-hangar-scope)");
    hg_jw_end(w);
    hg_jw_end(w);
    hg_jw_end(w);
}

hangar_code hg_openapi_write(const hg_endpoint *const *lists, char **out, hangar_err *err)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w) return hg_fail_memory(err);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "openapi", "3.1.0");
    hg_jw_obj(w, "info");
    hg_jw_text(w, "title", "hangar");
    hg_jw_text(w, "summary", "AI models on this machine, and in the cloud behind it");
    hg_jw_text(w, "version", hangar_version());
    hg_jw_obj(w, "license");
    hg_jw_text(w, "name", "Apache-2.0");
    hg_jw_text(w, "identifier", "Apache-2.0");
    hg_jw_end(w);
    hg_jw_end(w);
    hg_jw_arr(w, "servers");
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "url", "/");
    hg_jw_end(w);
    hg_jw_end(w);
    write_paths(w, lists);
    write_components(w, lists);
    hg_jw_end(w);
    return hg_jw_finish(w, false, out, err);
}

static void answer(hg_req *r)
{
    static char *text; /* for the life of the process; loop's thread */
    hangar_err err = {0};
    if (!text && hg_openapi_write(hg_endpoints_all(), &text, &err) != HANGAR_OK) {
        hg_reply_error(r, &err, -1);
        return;
    }
    hg_reply_bytes(r, 200, "application/json", hg_str_of(text));
}
