/* SPDX-License-Identifier: Apache-2.0 */
/* Asking a model that the daemon holds, and where a question goes. */
#include "base/buf.h"
#include "base/mem.h"
#include "manager/catalog.h"
#include "manager/daemon_client.h"
#include "manager/generate.h"

#include <stdio.h>

#define ANSWER_MAX (64 * HG_MIB)

hangar_where hangar_model_where(hangar *h, const char *model)
{
    hg_catalog *c = NULL;
    const hg_entry *e = NULL;
    hangar_where where = HANGAR_WHERE_HERE;
    if (hangar_daemon_running(h)) return HANGAR_WHERE_DAEMON;
    if (!model || hg_catalog_open(h, &c, NULL) != HANGAR_OK) return HANGAR_WHERE_HERE;
    if (hg_catalog_find(c, model, &e, NULL) == HANGAR_OK && (e->kind == HG_ENTRY_CLOUD || e->fallback))
        where = HANGAR_WHERE_CHAIN;
    hg_catalog_free(c);
    return where;
}

/* One answer on its way. */
typedef struct answer {
    hangar_job *job;
    hg_buf text;
    char model[256];
} answer;

static hangar_code on_event(void *ctx, const char *event, const hg_jval *data, hangar_err *err)
{
    answer *a = ctx;
    hg_str text = {0};
    if (hg_streq(event, "head")) {
        const char *model = hg_json_text_or(hg_json_get(data, "model"), "?");
        snprintf(a->model, sizeof a->model, "%s", model);
        if (hg_json_bool_or(hg_json_get(data, "fell_back"), false))
            hg_job_note(a->job, "%s answers for %s", model, hg_json_text_or(hg_json_get(data, "asked"), "?"));
    } else if (hg_streq(event, "text") && hg_json_str(hg_json_get(data, "text"), &text)) {
        hg_buf_str(&a->text, text);
        hg_job_text(a->job, text);
    }
    return hg_buf_check(&a->text, err);
}

/* The body: the question in hangar's own words, and who is asked. */
static hangar_code write_body(const char *model, const hangar_message *messages, size_t count,
                              const hangar_generate_options *options, char **out, hangar_err *err)
{
    static const char *const inner[] = {"op", NULL};
    HG_AUTO(hg_auto_free) char *call = NULL;
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    hangar_code code = hg_generate_write(messages, count, options, &call, err);
    if (code == HANGAR_OK) code = hg_json_parse(hg_str_of(call), NULL, &doc, err);
    if (code != HANGAR_OK) return code;
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "model", model);
    hg_jw_bool(w, "stream", true);
    hg_jw_members(w, hg_json_root(doc), inner);
    return hg_jw_finish(w, false, out, err);
}

/* The document; `end` is the data of "done", NULL of an answer that was cancelled. */
static hangar_code write_answer(const answer *a, const char *end, char **out, hangar_err *err)
{
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    hangar_code code = end ? hg_json_parse(hg_str_of(end), NULL, &doc, err) : HANGAR_OK;
    if (code != HANGAR_OK) return code;
    hg_jw_obj(w, NULL);
    if (!end) hg_jw_text(w, "model", a->model);
    hg_jw_str(w, "text", hg_buf_view(&a->text));
    if (end) hg_jw_members(w, hg_json_root(doc), NULL);
    else hg_jw_text(w, "finish", "cancelled");
    return hg_jw_finish(w, false, out, err);
}

hangar_code hangar_daemon_generate(hangar *h, const char *model, const hangar_message *messages, size_t count,
                                   const hangar_generate_options *options, hangar_job *job, char **out_json,
                                   hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *body = NULL;
    HG_AUTO(hg_auto_free) char *end = NULL;
    answer a = {.job = job};
    if (out_json) *out_json = NULL;
    if (!model) return hg_fail(err, HANGAR_E_USAGE, "no model was named");
    hangar_code code = write_body(model, messages, count, options, &body, err);
    if (code != HANGAR_OK) return code;
    hg_buf_init(&a.text, ANSWER_MAX);
    const hg_daemon_call call = {
        .method = "POST", .path = "/hangar/v1/generate", .body = body, .fn = on_event, .ctx = &a, .job = job};
    code = hg_daemon_ask(h, &call, &end, err);
    if (out_json && code == HANGAR_OK) code = write_answer(&a, end, out_json, err);
    else if (out_json && code == HANGAR_E_CANCELLED && write_answer(&a, NULL, out_json, NULL) != HANGAR_OK)
        *out_json = NULL;
    hg_buf_deinit(&a.text);
    return code;
}
