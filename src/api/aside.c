/* SPDX-License-Identifier: Apache-2.0 */
/* Work that would block the loop (the store's lists, a pull), done beside it for a request whose client may go away meanwhile. */
#include "api/dialect.h"
#include "base/mem.h"

void hg_aside_free(hg_aside *a)
{
    if (!a) return;
    if (a->leave) a->leave(a);
    hangar_job_free(a->job);
    free(a->name);
    free(a->ref);
    free(a->json);
    free(a->more);
    free(a);
}

static void gone(void *ctx)
{
    hg_aside *a = ctx;
    a->r = NULL;
    if (a->cancels) hangar_job_cancel(a->job);
}

hg_aside *hg_aside_new(hg_req *r, const char *name, const char *ref, hangar_event_fn *on_event)
{
    hg_aside *a = hg_calloc(1, sizeof *a);
    if (a) {
        a->r = r;
        a->host = hg_req_host(r);
        a->job = hangar_job_new(on_event, a);
        a->name = name ? hg_strdup(name) : NULL;
        a->ref = ref ? hg_strdup(ref) : NULL;
    }
    if (!a || !a->job || (name && !a->name) || (ref && !a->ref)) {
        hangar_err err = {0};
        hg_fail_memory(&err);
        hg_reply_error(r, &err, -1);
        hg_aside_free(a);
        return NULL;
    }
    hg_req_on_gone(r, gone, a);
    return a;
}

static void work(void *ctx)
{
    hg_aside *a = ctx;
    a->work(a);
}

static void done(void *ctx)
{
    hg_aside *a = ctx;
    a->done(a);
    hg_aside_free(a);
}

void hg_aside_run(hg_aside *a, hg_loop_fn *does, hg_loop_fn *ends)
{
    hangar_err err = {0};
    /* From here on the aside is the worker's, unless there is none. */
    hangar_code code = hg_loop_work(a->host->loop, does, ends, a, &err);
    if (code == HANGAR_OK) return;
    a->code = code;
    a->err = err;
    (void)hg_aside_over(a);
    hg_aside_free(a);
}

void hg_aside_start(hg_aside *a)
{
    hg_aside_run(a, work, done);
}

bool hg_aside_over(hg_aside *a)
{
    if (a->r && a->code != HANGAR_OK) {
        hg_reply_error(a->r, &a->err, -1);
        a->r = NULL;
    }
    return !a->r;
}

void hg_answer_written(hg_req *r, hg_jw *w)
{
    hangar_err err = {0};
    char *text = NULL;
    if (hg_jw_finish(w, false, &text, &err) == HANGAR_OK) hg_reply_json(r, 200, text);
    else hg_reply_error(r, &err, -1);
}

/* ---- which models there are ---- */

void hg_models_list(hg_aside *a)
{
    a->code = hangar_model_list(a->host->h, &a->json, &a->err);
}

/* True when a REF (ORG/NAME[@REV][:FILE]) is of that repository. */
static bool ref_is_of(const char *ref, const char *repo)
{
    size_t len = strlen(repo);
    return ref && strncmp(ref, repo, len) == 0 && (ref[len] == '\0' || ref[len] == '@' || ref[len] == ':');
}

static const hg_jval *stored_for(const hg_entry *e, const hg_jval *models)
{
    if (e->kind != HG_ENTRY_LOCAL) return NULL;
    for (hg_json_iter it = hg_json_iter_of(models); hg_json_is_array(models) && hg_json_next(&it);)
        if (ref_is_of(e->ref, hg_json_text_or(hg_json_get(it.val, "repo"), "/"))) return it.val;
    return NULL;
}

static bool catalog_names(const hg_catalog *c, const char *name)
{
    for (size_t i = 0; i < hg_catalog_count(c); i++)
        if (hg_streq(hg_catalog_at(c, i)->name, name)) return true;
    return false;
}

void hg_models_each(const hg_host *host, const hg_jval *list,
                    void (*fn)(void *ctx, const hg_told_model *model), void *ctx)
{
    const hg_jval *models = hg_json_get(list, "models");
    for (size_t i = 0; i < hg_catalog_count(host->catalog); i++) {
        const hg_entry *e = hg_catalog_at(host->catalog, i);
        if (e->kind == HG_ENTRY_CLOUD && !hg_entry_has_key(e) && !e->declared) continue;
        hg_told_model m = {.name = e->name, .entry = e, .stored = stored_for(e, models)};
        fn(ctx, &m);
    }
    for (hg_json_iter it = hg_json_iter_of(models); hg_json_is_array(models) && hg_json_next(&it);) {
        hg_told_model m = {.name = hg_json_text(hg_json_get(it.val, "ref")), .stored = it.val};
        if (m.name && !catalog_names(host->catalog, m.name)) fn(ctx, &m);
    }
}
