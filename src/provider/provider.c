/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/dialect.h"

#include "base/mem.h"
#include "provider/web.h"

static const hg_provider *const providers[] = {
#define HG_PROVIDER(name) &hg_provider_##name,
#include "provider/providers.def"
#undef HG_PROVIDER
};

const char *const *hg_cloud_providers(void)
{
    static const char *const names[] = {
#define HG_PROVIDER(name) #name,
#include "provider/providers.def"
#undef HG_PROVIDER
        NULL};
    return names;
}

const hg_provider *hg_provider_get(const char *name)
{
    for (size_t i = 0; i < HG_LEN(providers); i++)
        if (hg_streq(providers[i]->name, name)) return providers[i];
    return NULL;
}

bool hg_cloud_continues(const char *provider, const char *model)
{
    const hg_provider *p = hg_provider_get(provider);
    return p && p->continues && p->continues(model);
}

char *hg_provider_join(const char *base, const char *version, const char *path)
{
    size_t len = strlen(base);
    while (len && base[len - 1] == '/') len--;
    const char *host = strstr(base, "://");
    host = host ? host + 3 : base;
    bool bare = len <= (size_t)(host - base) || !memchr(host, '/', len - (size_t)(host - base));
    return hg_format("%.*s%s%s", (int)len, base, bare ? version : "", path);
}

/* ---- what is configured beside the question ---- */

static bool is_among(const char *const *names, hg_str key)
{
    for (; names && *names; names++)
        if (hg_str_eq(hg_str_of(*names), key)) return true;
    return false;
}

/* A member's name as the body spells it. */
static const char *renamed(const hg_provider *p, const char *key)
{
    for (size_t i = 0; p->renames && p->renames[i][0]; i++)
        if (hg_streq(p->renames[i][0], key)) return p->renames[i][1];
    return key;
}

static hangar_code check_extra(const hg_provider *p, const hg_jval *extra, hangar_err *err)
{
    if (!hg_json_is_object(extra)) return hg_fail(err, HANGAR_E_INVALID, "extra: not an object");
    for (hg_json_iter it = hg_json_iter_of(extra); hg_json_next(&it);) {
        if (is_among(p->reserved, it.key))
            return hg_fail(err, HANGAR_E_INVALID, "extra: %.*s is set by hangar itself", HG_STR_ARG(it.key));
        if (memchr(it.key.ptr, '\0', it.key.len))
            return hg_fail(err, HANGAR_E_INVALID, "extra: a name with a NUL in it");
    }
    return HANGAR_OK;
}

/* Both objects' members in one: `ours` win, objects are laid together once more. */
static void lay_together(const hg_provider *p, const hg_jval *ours, const hg_jval *extra, bool inner,
                         hg_jw *w)
{
    for (hg_json_iter it = hg_json_iter_of(ours); hg_json_next(&it);) {
        const hg_jval *other = NULL;
        for (hg_json_iter e = hg_json_iter_of(extra); hg_json_next(&e);)
            if (hg_streq(inner ? e.key.ptr : renamed(p, e.key.ptr), it.key.ptr)) other = e.val;
        if (!inner && hg_json_is_object(it.val) && hg_json_is_object(other)) {
            hg_jw_obj(w, it.key.ptr);
            lay_together(p, it.val, other, true, w);
            hg_jw_end(w);
        } else {
            hg_jw_val(w, it.key.ptr, it.val);
        }
    }
    for (hg_json_iter e = hg_json_iter_of(extra); hg_json_next(&e);) {
        const char *key = inner ? e.key.ptr : renamed(p, e.key.ptr);
        if (hg_json_is_null(hg_json_get(ours, key)) && !hg_json_is_null(e.val)) hg_jw_val(w, key, e.val);
    }
}

static hangar_code merge(const hg_provider *p, const hg_jval *extra, char **body, hangar_err *err)
{
    hg_json *doc = NULL;
    const hg_json_limits limits = {.bytes = SIZE_MAX, .depth = 256};
    hangar_code code = hg_json_parse(hg_str_of(*body), &limits, &doc, err);
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (code == HANGAR_OK && !w) code = hg_fail_memory(err);
    if (code == HANGAR_OK) {
        hg_jw_obj(w, NULL);
        lay_together(p, hg_json_root(doc), extra, false, w);
        free(*body);
        *body = NULL;
        code = hg_jw_finish(w, false, body, err);
    }
    hg_json_free(doc);
    return code;
}

/* ---- the request ---- */

static hangar_code make_url(const hg_provider *p, const hg_question *q, char **out, hangar_err *err)
{
    bool local = false;
    if (strchr(q->target->url, '?'))
        return hg_fail(err, HANGAR_E_INVALID, "url: an address with a query (?)");
    *out = p->url(q);
    if (!*out) return hg_fail_memory(err);
    hangar_code code = hg_web_check(*out, false, &local, err);
    if (code == HANGAR_E_USAGE && err) err->code = code = HANGAR_E_INVALID;
    return hg_wrap(err, code, "url");
}

hangar_code hg_provider_request(const hg_provider *p, const hg_question *q, char **out_url, char **out_body,
                                hangar_err *err)
{
    const hg_jval *extra = q->target->extra;
    bool more = !hg_json_is_null(extra);
    *out_url = *out_body = NULL;
    hangar_code code = make_url(p, q, out_url, err);
    if (code == HANGAR_OK && more) code = check_extra(p, extra, err);
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (code == HANGAR_OK && !w) code = hg_fail_memory(err);
    if (code == HANGAR_OK) {
        hg_jw_obj(w, NULL);
        code = p->body(q, w, err);
    }
    if (code == HANGAR_OK) code = hg_jw_finish(w, false, out_body, err);
    if (code == HANGAR_OK && more) code = merge(p, extra, out_body, err);
    if (code == HANGAR_OK) return code;
    free(*out_url);
    free(*out_body);
    *out_url = *out_body = NULL;
    return code;
}
