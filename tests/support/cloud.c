/* SPDX-License-Identifier: Apache-2.0 */
/* tool-room: provider */
/*
 * Questions to cloud models for tests in other languages: one JSON document per line on stdin, what happens as lines on stdout.
 *
 *   {"id": 1, "target": {"provider", "url", "model", "key_env", "extra", "connect_timeout", "first_timeout", "stall_timeout"},
 *    "ask": {...}, "begun": ""}     asks
 *   {"id": 1, "cancel": true}       {"id":1,"cancelled":true}
 *
 *   {"id":1,"text":"..."}  {"id":1,"tool":{"id","name","arguments"}}
 *   {"id":1,"end":{"fault","retry_after","finish","prompt_tokens","generated_tokens","code","error"}}
 *   {"id":1,"refused":{"code","error"}}     it was not even begun
 *
 * Ends when stdin does; what still runs is cancelled then.
 */
#include "base/mem.h"
#include "provider/provider.h"

#include <stdio.h>
#include <unistd.h>

typedef struct question {
    struct question *next;
    int64_t id;
    hg_json *doc; /* the target's strings live here */
    hg_cloud_target target;
    hg_cloud_call *call; /* NULL when it has ended */
} question;

static hg_loop *loop;
static hg_cloud *cloud;
static question *questions;
static hg_buf input;

static void say(int64_t id, const char *what, hg_str json)
{
    printf("{\"id\":%lld,\"%s\":%.*s}\n", (long long)id, what, HG_STR_ARG(json));
    fflush(stdout);
}

static void say_doc(int64_t id, const char *what, hg_jw *w)
{
    char *text = NULL;
    if (hg_jw_finish(w, false, &text, NULL) != HANGAR_OK) abort();
    say(id, what, hg_str_of(text));
    free(text);
    hg_jw_free(w);
}

static void on_text(void *ctx, hg_str literal)
{
    say(((question *)ctx)->id, "text", literal);
}

static void on_tool(void *ctx, const char *id, const char *name, hg_str arguments)
{
    hg_json *doc = NULL;
    hg_jw *w = hg_jw_new();
    if (hg_json_parse(arguments, NULL, &doc, NULL) != HANGAR_OK) abort();
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "id", id);
    hg_jw_text(w, "name", name);
    hg_jw_val(w, "arguments", hg_json_root(doc));
    hg_jw_end(w);
    say_doc(((question *)ctx)->id, "tool", w);
    hg_json_free(doc);
}

static void on_end(void *ctx, hg_cloud_fault fault, double retry_after, const hg_cloud_end *end,
                   const hangar_err *err)
{
    static const char *const names[] = {
        [HG_CLOUD_NONE] = "none",       [HG_CLOUD_CONFIG] = "config",      [HG_CLOUD_REFUSED] = "refused",
        [HG_CLOUD_TIMEOUT] = "timeout", [HG_CLOUD_RATE] = "rate",          [HG_CLOUD_SERVER] = "server",
        [HG_CLOUD_KEY] = "key",         [HG_CLOUD_TOO_LONG] = "too long",  [HG_CLOUD_CLIENT] = "client",
        [HG_CLOUD_BROKEN] = "broken",   [HG_CLOUD_CANCELLED] = "cancelled"};
    question *q = ctx;
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "fault", names[fault]);
    hg_jw_f64(w, "retry_after", retry_after);
    if (end) {
        hg_jw_text(w, "finish", end->finish);
        hg_jw_i64(w, "prompt_tokens", end->prompt_tokens);
        hg_jw_i64(w, "generated_tokens", end->generated_tokens);
    } else {
        hg_jw_text(w, "code", hangar_code_name(err->code));
        hg_jw_text(w, "error", err->msg);
    }
    hg_jw_end(w);
    say_doc(q->id, "end", w);
    q->call = NULL;
}

static void begin(hg_json *doc)
{
    static const hg_cloud_fns fns = {.text = on_text, .tool = on_tool, .end = on_end};
    const hg_jval *ask = hg_json_root(doc), *t = hg_json_get(ask, "target");
    hangar_err err = {0};
    question *q = hg_calloc(1, sizeof *q);
    if (!q) abort();
    *q = (question){.next = questions, .id = hg_json_i64_or(hg_json_get(ask, "id"), 0), .doc = doc};
    questions = q;
    q->target = (hg_cloud_target){.name = hg_json_text_or(hg_json_get(t, "name"), "asked"),
                                  .provider = hg_json_text_or(hg_json_get(t, "provider"), ""),
                                  .url = hg_json_text_or(hg_json_get(t, "url"), ""),
                                  .model = hg_json_text_or(hg_json_get(t, "model"), ""),
                                  .key_env = hg_json_text_or(hg_json_get(t, "key_env"), ""),
                                  .extra = hg_json_get(t, "extra"),
                                  .connect_timeout = hg_json_f64_or(hg_json_get(t, "connect_timeout"), 0),
                                  .first_timeout = hg_json_f64_or(hg_json_get(t, "first_timeout"), 0),
                                  .stall_timeout = hg_json_f64_or(hg_json_get(t, "stall_timeout"), 0)};
    hg_str begun = {"", 0};
    (void)hg_json_str(hg_json_get(ask, "begun"), &begun);
    hangar_code code =
        hg_cloud_start(cloud, &q->target, hg_json_get(ask, "ask"), begun, &fns, q, &q->call, &err);
    if (code == HANGAR_OK) return;
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "code", hangar_code_name(code));
    hg_jw_text(w, "error", err.msg);
    hg_jw_end(w);
    say_doc(q->id, "refused", w);
}

static void cancel(int64_t id)
{
    for (question *q = questions; q; q = q->next)
        if (q->id == id && q->call) {
            hg_cloud_cancel(q->call);
            q->call = NULL;
            say(id, "cancelled", HG_STR("true"));
        }
}

static void take_line(hg_str line)
{
    hg_json *doc = NULL;
    if (hg_json_parse(line, NULL, &doc, NULL) != HANGAR_OK) abort();
    if (!hg_json_bool_or(hg_json_get(hg_json_root(doc), "cancel"), false)) {
        begin(doc);
        return;
    }
    cancel(hg_json_i64_or(hg_json_get(hg_json_root(doc), "id"), 0));
    hg_json_free(doc);
}

static void on_input(void *ctx, unsigned events)
{
    (void)ctx, (void)events;
    char *room = hg_buf_reserve(&input, 65536);
    ssize_t n = room ? read(0, room, 65536) : 0;
    if (n <= 0) {
        hg_loop_stop(loop);
        return;
    }
    input.len += (size_t)n;
    for (const char *end; (end = memchr(hg_buf_text(&input), '\n', input.len)) != NULL;) {
        size_t len = (size_t)(end - input.data);
        take_line((hg_str){input.data, len});
        hg_buf_drop(&input, len + 1);
    }
}

int main(void)
{
    hangar_err err = {0};
    hg_watch *watch = NULL;
    hg_buf_init(&input, 64 * HG_MIB);
    if (hg_loop_new(&loop, &err) != HANGAR_OK || hg_cloud_new(loop, &cloud, &err) != HANGAR_OK ||
        hg_watch_new(loop, 0, on_input, NULL, &watch, &err) != HANGAR_OK ||
        hg_watch_set(watch, HG_READABLE | HG_HUNG_UP, &err) != HANGAR_OK) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    hg_loop_run(loop);
    hg_watch_free(watch);
    hg_cloud_free(cloud);
    hg_loop_free(loop);
    while (questions) {
        question *q = questions;
        questions = q->next;
        hg_json_free(q->doc);
        free(q);
    }
    hg_buf_deinit(&input);
    return 0;
}
