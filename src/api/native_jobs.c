/* SPDX-License-Identifier: Apache-2.0 */
/* /hangar/v1/jobs: the tasks that run, that ended lately, and what an earlier process left unfinished. */
#include "api/native.h"

#include "base/mem.h"
#include "manager/journal.h"

#define INTERRUPTED_MAX 50 /* rows of the journal that are told */

static void answer_list(hg_req *r);
static void answer_one(hg_req *r);
static void answer_events(hg_req *r);
static void answer_cancel(hg_req *r);

const hg_endpoint hg_endpoints_native_jobs[] = {
    {.method = "GET",
     .path = "/hangar/v1/jobs",
     .scope = HG_SCOPE_MANAGE,
     .summary = "jobs that wait, run or ended lately, and what was interrupted by the end of a process",
     .fn = answer_list},
    {.method = "GET",
     .path = "/hangar/v1/jobs/:",
     .scope = HG_SCOPE_MANAGE,
     .summary = "one job, with its result when it ended",
     .fn = answer_one},
    {.method = "GET",
     .path = "/hangar/v1/jobs/:/events",
     .scope = HG_SCOPE_MANAGE,
     .streams = HG_SSE_TYPE,
     .summary = "the events of a job from the beginning, or behind Last-Event-ID",
     .fn = answer_events},
    {.method = "DELETE",
     .path = "/hangar/v1/jobs/:",
     .scope = HG_SCOPE_MANAGE,
     .summary = "ask a job to end",
     .fn = answer_cancel},
    {0}};

/* The task of the path, or NULL after an answer. */
static hg_task *find(hg_req *r)
{
    hangar_err err = {0};
    const char *id = hg_req_part(r, 0);
    hg_task *t = hg_task_find(hg_req_host(r)->jobs, id);
    if (t) return t;
    hg_fail(&err, HANGAR_E_NOT_FOUND, "there is no job '%s' (any more)", id);
    hg_reply_error(r, &err, -1);
    return NULL;
}

/* ---- the list ---- */

/* One reading of the journal, on a worker; the request may be gone by its end. */
typedef struct listing {
    hg_req *r;
    hg_host *host;
    hg_jw *w; /* holds the open "interrupted" */
} listing;

static hangar_code add_row(void *ctx, const hg_db_job *row, hangar_err *err)
{
    hg_jw *w = ctx;
    (void)err;
    if (!hg_streq(row->state, "lost")) return HANGAR_OK;
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "kind", row->kind);
    hg_jw_text(w, "ref", row->ref[0] ? row->ref : NULL);
    hg_jw_text(w, "state", "interrupted");
    hg_jw_i64(w, "started", row->started);
    hg_jw_end(w);
    return HANGAR_OK;
}

static void read_journal(void *ctx)
{
    const listing *l = ctx;
    hg_journal_each(l->host->h, INTERRUPTED_MAX, add_row, l->w);
}

static void list_gone(void *ctx)
{
    ((listing *)ctx)->r = NULL;
}

static void list_done(void *ctx)
{
    listing *l = ctx;
    hg_jw_end(l->w);
    hg_jw_arr(l->w, "jobs");
    for (size_t i = 0; l->r && hg_task_at(l->host->jobs, i); i++)
        hg_task_write(hg_task_at(l->host->jobs, i), NULL, l->w);
    if (l->r) hg_reply_jw(l->r, 200, l->w);
    else hg_jw_free(l->w);
    free(l);
}

static void answer_list(hg_req *r)
{
    hangar_err err = {0};
    listing *l = hg_calloc(1, sizeof *l);
    hangar_code code = HANGAR_OK;
    if (l) *l = (listing){.r = r, .host = hg_req_host(r), .w = hg_jw_new()};
    if (!l || !l->w) code = hg_fail_memory(&err);
    if (code == HANGAR_OK) {
        hg_jw_obj(l->w, NULL);
        hg_jw_arr(l->w, "interrupted");
        code = hg_loop_work(l->host->loop, read_journal, list_done, l, &err);
    }
    if (code == HANGAR_OK) {
        hg_req_on_gone(r, list_gone, l);
        return;
    }
    if (l) hg_jw_free(l->w);
    free(l);
    hg_reply_error(r, &err, -1);
}

/* ---- one ---- */

/* The task and its document, which is text already and stays so. */
static void reply_task(hg_req *r, const hg_task *t)
{
    hangar_err err = {0};
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    HG_AUTO(hg_auto_free) char *head = NULL;
    const char *result = hg_task_result(t);
    hangar_code code = HANGAR_OK;
    hg_task_write(t, NULL, w);
    code = w ? hg_jw_finish(w, false, &head, &err) : hg_fail_memory(&err);
    char *json = NULL;
    if (code == HANGAR_OK &&
        !(json = hg_format("%.*s,\"result\":%s}", (int)strlen(head) - 1, head, result ? result : "null")))
        code = hg_fail_memory(&err);
    if (code == HANGAR_OK) hg_reply_json(r, 200, json);
    else hg_reply_error(r, &err, -1);
}

static void answer_one(hg_req *r)
{
    const hg_task *t = find(r);
    if (t) reply_task(r, t);
}

static void answer_events(hg_req *r)
{
    hg_task *t = find(r);
    const char *last = hg_req_header(r, "last-event-id");
    uint64_t after = 0;
    hangar_err err = {0};
    if (!t) return;
    if (!last) last = hg_req_query(r, "after");
    if (last && !hg_u64_parse(hg_str_of(last), &after)) {
        hg_fail(&err, HANGAR_E_USAGE, "Last-Event-ID is the number of an event, not '%s'", last);
        hg_reply_error(r, &err, -1);
        return;
    }
    hg_answer_task(r, t, after, true);
}

static void answer_cancel(hg_req *r)
{
    hg_task *t = find(r);
    if (!t) return;
    hg_task_cancel(t);
    reply_task(r, t);
}
