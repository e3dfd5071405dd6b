/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of endpoints, and which of them a request means. */
#include "api/http_inner.h"
#include "base/mem.h"

#include <stdio.h>

static const hg_endpoint *const all[] = {
#define HG_ENDPOINTS(file) hg_endpoints_##file,
#include "api/endpoints.def"
#undef HG_ENDPOINTS
    NULL,
};

const hg_endpoint *const *hg_endpoints_all(void)
{
    return all;
}

/* True when pattern a says more than b of a path that both match: a word more than ':', ':' more than '*'. */
static bool more_exact(const char *a, const char *b)
{
    hg_str x = hg_str_of(a), y = hg_str_of(b), p, q;
    for (bool more = true; more;) {
        more = hg_str_cut(&x, '/', &p);
        bool other = hg_str_cut(&y, '/', &q);
        int px = hg_str_eq(p, HG_STR("*")) ? 0 : hg_str_eq(p, HG_STR(":")) ? 1 : 2;
        int qx = hg_str_eq(q, HG_STR("*")) ? 0 : hg_str_eq(q, HG_STR(":")) ? 1 : 2;
        if (px != qx) return px > qx;
        if (!more || !other) return other; /* b goes on with a '*' that stands for nothing */
    }
    return false;
}

/* Adds a word to "A, B" unless it is there. */
static void allow(hg_found *f, const char *method)
{
    size_t len = strlen(f->allow);
    if (strstr(f->allow, method)) return;
    snprintf(f->allow + len, sizeof f->allow - len, "%s%s", len ? ", " : "", method);
}

void hg_route(const hg_endpoint *const *lists, const char *method, const hg_target *t, hg_found *out)
{
    *out = (hg_found){0};
    const hg_endpoint *best = NULL; /* whatever the method */
    const char *want = !strcmp(method, "HEAD") ? "GET" : method;
    for (; *lists; lists++) {
        for (const hg_endpoint *e = *lists; e->path; e++) {
            size_t rest;
            if (!hg_target_match(t, e->path + 1, &rest)) continue;
            if (best && !strcmp(best->path, e->path)) {
                allow(out, e->method);
            } else if (!best || more_exact(e->path + 1, best->path + 1)) {
                /* What is less exact is another route, even if it has the method and this one does not. */
                *out = (hg_found){0};
                allow(out, e->method);
                best = e;
            } else {
                continue;
            }
            if (!strcmp(e->method, "GET")) allow(out, "HEAD");
            if (strcmp(e->method, want) != 0) continue;
            out->ep = e;
            out->rest = rest;
        }
    }
    out->path_known = best != NULL;
}

hg_dialect hg_route_dialect(const hg_target *t)
{
    if (t->seg_count > 0 && hg_str_eq(t->seg[0], HG_STR("v1"))) return HG_DIALECT_OPENAI;
    if (t->seg_count > 0 && hg_str_eq(t->seg[0], HG_STR("api"))) return HG_DIALECT_OLLAMA;
    return HG_DIALECT_NATIVE;
}
