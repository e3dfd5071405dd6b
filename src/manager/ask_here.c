/* SPDX-License-Identifier: Apache-2.0 */
/* hangar_ask: one question through the chain, without a daemon: the loop runs on the caller's thread until the answer is there. */
#include "base/clock.h"
#include "base/job.h"
#include "base/mem.h"
#include "manager/ask_inner.h"
#include "manager/generate.h"
#include "manager/host.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define LOOK 0.05 /* seconds between two looks whether the job was cancelled */

/* One question. */
typedef struct single {
    hg_host host;
    hg_ask *ask; /* NULL once it is over */
    hangar_job *job;
    hg_timer *look;
    hg_buf text;
    hg_jw *out;
    char model[256];
    bool fell_back;
    hangar_code code;
    hangar_err err;
} single;

static void closed(void *ctx)
{
    hg_loop_stop(((single *)ctx)->host.loop);
}

/* The answer is there, or will not come. */
static void over(single *s)
{
    s->ask = NULL;
    hg_timer_free(s->look);
    s->look = NULL;
    hg_pool_close(s->host.pool, closed, s);
}

static void on_head(void *ctx, const hg_ask_head *head)
{
    single *s = ctx;
    snprintf(s->model, sizeof s->model, "%s", head->model);
    s->fell_back = s->fell_back || head->fell_back;
    if (head->fell_back) hg_job_note(s->job, "%s answers for %s", head->model, head->asked);
}

static void on_text(void *ctx, hg_str literal, const hg_jval *logprobs)
{
    single *s = ctx;
    size_t from = s->text.len;
    (void)logprobs;
    hg_buf piece;
    hg_buf_init(&piece, HG_ASK_TEXT_MAX);
    if (hg_words_text((hg_str){literal.ptr + 1, literal.len - 2}, &piece, NULL) == HANGAR_OK)
        hg_buf_str(&s->text, hg_buf_view(&piece));
    hg_buf_deinit(&piece);
    if (s->text.len > from) hg_job_text(s->job, (hg_str){s->text.data + from, s->text.len - from});
}

static void on_tool(void *ctx, const char *id, const char *name, hg_str arguments)
{
    (void)ctx, (void)id, (void)name, (void)arguments; /* none are offered */
}

static void on_end(void *ctx, const hg_ask_end *end)
{
    single *s = ctx;
    hg_jw *w = s->out;
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "model", s->model);
    hg_jw_bool(w, "fell_back", s->fell_back);
    hg_jw_str(w, "text", hg_buf_view(&s->text));
    hg_jw_text(w, "finish", end->finish);
    hg_jw_i64(w, "prompt_tokens", end->prompt_tokens);
    hg_jw_i64(w, "generated_tokens", end->generated_tokens);
    hg_jw_f64(w, "load_seconds", end->load_seconds);
    hg_jw_f64(w, "prompt_seconds", end->prompt_seconds);
    hg_jw_f64(w, "generate_seconds", end->generate_seconds);
    s->code = hg_buf_check(&s->text, &s->err);
    over(s);
}

static void on_fail(void *ctx, const hangar_err *err, bool begun, double retry_after)
{
    single *s = ctx;
    (void)begun, (void)retry_after;
    s->err = *err;
    s->code = err->code;
    over(s);
}

static void on_look(void *ctx)
{
    single *s = ctx;
    if (!s->ask || !hangar_job_is_cancelled(s->job)) return;
    hg_ask_cancel(s->ask);
    s->code = hg_fail(&s->err, HANGAR_E_CANCELLED, "cancelled");
    over(s);
}

static hangar_code begin(single *s, const char *model, hg_json *doc, hangar_err *err)
{
    static const hg_ask_fns fns = {on_head, on_text, on_tool, on_end, on_fail};
    const hg_ask_spec spec = {.kind = HG_ASK_GENERATE,
                              .model = model,
                              .doc = doc,
                              .file = -1,
                              .keep_alive = NAN,
                              .spliceable = true,
                              .streams = true};
    hangar_code code = hg_ask_start(&s->host, &spec, &fns, s, &s->ask, err);
    if (code == HANGAR_OK) code = hg_timer_new(s->host.loop, on_look, s, &s->look, err);
    if (code == HANGAR_OK) hg_timer_set(s->look, LOOK, LOOK);
    if (code != HANGAR_OK && s->ask) hg_ask_cancel(s->ask);
    return code;
}

hangar_code hangar_ask(hangar *h, const char *model, const hangar_message *messages, size_t count,
                       const hangar_generate_options *options, hangar_job *job, char **out_json,
                       hangar_err *err)
{
    if (out_json) *out_json = NULL;
    if (!model) return hg_fail(err, HANGAR_E_USAGE, "no model was named");
    HG_AUTO(hg_auto_free) char *text = NULL;
    hg_json *doc = NULL;
    single s = {.job = job, .out = hg_jw_new()};
    hg_buf_init(&s.text, HG_ASK_TEXT_MAX);
    hangar_code code = s.out ? hg_generate_write(messages, count, options, &text, err) : hg_fail_memory(err);
    if (code == HANGAR_OK) code = hg_json_parse(hg_str_of(text), NULL, &doc, err);
    if (code == HANGAR_OK) code = hg_host_init(&s.host, h, err);
    if (code == HANGAR_OK) {
        code = begin(&s, model, doc, err);
        doc = NULL;
    }
    if (code == HANGAR_OK) {
        hg_loop_run(s.host.loop);
        code = s.code;
        if (code != HANGAR_OK && err) *err = s.err;
        else if (code == HANGAR_OK && out_json) code = hg_jw_finish(s.out, false, out_json, err);
    }
    hg_json_free(doc);
    if (s.host.h) hg_host_deinit(&s.host);
    hg_buf_deinit(&s.text);
    hg_jw_free(s.out);
    return code;
}
