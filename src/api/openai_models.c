/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/models: which models can be asked, one by one or all. */
#include "api/dialect.h"
#include "base/mem.h"

#include <time.h>

/* "2026-01-31T12:00:00Z" to unix seconds; 0 = it is none. */
static int64_t read_time(const char *text)
{
    struct tm tm = {0};
    if (!text || strlen(text) != 20 || !strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm)) return 0;
    return timegm(&tm);
}

/* Whose it is: the provider's, else the first part of ORG/NAME. */
static void put_owner(const hg_told_model *m, hg_jw *w)
{
    const char *ref = m->entry && m->entry->ref ? m->entry->ref : m->name;
    const char *slash = strchr(ref, '/');
    if (m->entry && m->entry->kind == HG_ENTRY_CLOUD) hg_jw_text(w, "owned_by", m->entry->provider);
    else hg_jw_str(w, "owned_by", slash ? (hg_str){ref, (size_t)(slash - ref)} : HG_STR("hangar"));
}

typedef struct listing {
    hg_jw *w;
    int64_t started;
} listing;

static void put_model(void *ctx, const hg_told_model *m)
{
    const listing *l = ctx;
    int64_t created = read_time(hg_json_text(hg_json_get(m->stored, "modified")));
    hg_jw_obj(l->w, NULL);
    hg_jw_text(l->w, "id", m->name);
    hg_jw_text(l->w, "object", "model");
    hg_jw_i64(l->w, "created", created ? created : l->started);
    put_owner(m, l->w);
    hg_jw_end(l->w);
}

static void list_done(hg_aside *a)
{
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (a->code == HANGAR_OK) a->code = hg_json_parse(hg_str_of(a->json), NULL, &doc, &a->err);
    if (a->code == HANGAR_OK && !w) a->code = hg_fail_memory(&a->err);
    if (hg_aside_over(a)) return;
    listing l = {.w = w, .started = a->host->started};
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "object", "list");
    hg_jw_arr(w, "data");
    hg_models_each(a->host, hg_json_root(doc), put_model, &l);
    hg_answer_written(a->r, w);
}

static void list(hg_req *r)
{
    hg_aside *a = hg_aside_new(r, NULL, NULL, NULL);
    if (!a) return;
    a->work = hg_models_list;
    a->done = list_done;
    hg_aside_start(a);
}

static void one(hg_req *r)
{
    const hg_host *host = hg_req_host(r);
    const hg_entry *entry = NULL;
    hangar_err err = {0};
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    hangar_code code =
        w ? hg_catalog_find(host->catalog, hg_req_part(r, 0), &entry, &err) : hg_fail_memory(&err);
    if (code != HANGAR_OK) {
        hg_reply_error(r, &err, -1);
        return;
    }
    const hg_told_model m = {.name = hg_req_part(r, 0), .entry = entry};
    listing l = {.w = w, .started = host->started};
    put_model(&l, &m);
    hg_answer_written(r, w);
}

#define TELLS(at, what, call)                                                                                \
    {                                                                                                        \
        .method = "GET", .path = at, .dialect = HG_DIALECT_OPENAI, .scope = HG_SCOPE_INFER, .summary = what, \
        .fn = call                                                                                           \
    }

const hg_endpoint hg_endpoints_openai_models[] = {TELLS("/v1/models", "all models that can be asked", list),
                                                  TELLS("/v1/models/*", "one model", one),
                                                  {0}};
