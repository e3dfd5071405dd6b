/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decisions of an ask. What the client sees of them is docs/formats/fallback.md; in short:
 *
 * - Until something is out at the client, a target that fails is replaced by the next of the chain, at once. When all have failed, those whose
 *   failure may pass are asked again after a pause with jitter, settings->serve_retries times, inside the deadline.
 * - Once text is out, a target that can go on with exactly that text takes over (any local one; a provider that supports prefill), if the answer is
 *   text. Else the answer ends in an error.
 * - An answer that does not stream is held back until its end, so that all of it is "until something is out".
 * - A question that is wrong falls back nowhere.
 *
 * ask_move() is the only place where a state changes. Callbacks to the client may cancel the ask: after one, nothing of it is touched
 * but what the functions say.
 */
#include "manager/ask_inner.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PAUSE_FIRST 0.1 /* seconds before the second round; doubles */
#define PAUSE_MAX   5.0

static void ask_move(hg_ask *a, hg_ask_state state)
{
    static const char *const names[] = {"new", "trying", "talking", "paused", "over"};
    if (a->state == state) return;
    hg_log(HG_LOG_DEBUG, "ask", "%s (%s): %s -> %s", a->targets[0]->name, a->targets[a->at]->name,
           names[a->state], names[state]);
    a->state = state;
}

/* ---- the end ---- */

static void ask_free(hg_ask *a)
{
    hg_timer_free(a->timer);
    hg_json_free(a->doc);
    if (a->file >= 0) close(a->file);
    hg_buf_deinit(&a->text);
    hg_jw_free(a->logprobs);
    hg_jw_free(a->tools);
    free(a);
}

/* Nothing comes from the present try any more. */
static void give_up(hg_ask *a)
{
    hg_ask_try *t = a->now;
    a->now = NULL;
    if (t) t->give_up(t);
}

/* Tells the client that nobody answers (any more). */
static void finish_failed(hg_ask *a, const hangar_err *err, double retry_after)
{
    hangar_err told = *err; /* may lie in what is freed now */
    give_up(a);
    ask_move(a, HG_ASK_OVER);
    hg_ask_count_over(a, told.code);
    a->fns.fail(a->ctx, &told, a->told, retry_after);
    ask_free(a);
}

/* Who answers, before anything of it. */
static void tell_head(hg_ask *a)
{
    if (a->head_told) return;
    a->head_told = true;
    a->fns.head(a->ctx, &(hg_ask_head){.asked = a->targets[0]->name,
                                       .model = a->targets[a->at]->name,
                                       .fell_back = a->at != 0,
                                       .load_seconds = a->load_seconds});
}

/* ---- time ---- */

static void set_timer(hg_ask *a)
{
    double when = a->deadline;
    if (a->first_by > 0) when = fmin(when, a->first_by);
    if (a->go_at > 0) when = fmin(when, a->go_at);
    hg_timer_set(a->timer, fmax(0, when - hg_now()), 0);
}

static void start_target(hg_ask *a);

static void on_timer(void *ctx)
{
    hg_ask *a = ctx;
    double now = hg_now();
    hangar_err err = {0};
    if (now >= a->deadline) {
        hg_fail(&err, HANGAR_E_TIMEOUT, "the answer was not there within %.3g s", a->deadline - a->began);
        if (a->now) hg_breaker_drop(a->host->breakers, a->targets[a->at]->name);
        finish_failed(a, &err, -1);
    } else if (a->go_at > 0 && now >= a->go_at) {
        a->go_at = 0;
        start_target(a);
    } else if (a->first_by > 0 && now >= a->first_by) {
        hg_fail(&err, HANGAR_E_TIMEOUT, "%s gave no first word within %.3g s", a->targets[a->at]->name,
                a->host->h->settings->serve_first_timeout);
        give_up(a);
        hg_ask_failed(a, HG_FAULT_PASSING, -1, &err);
    } else {
        set_timer(a);
    }
}

/* ---- the chain ---- */

/* Whether this target may be tried now; a yes must be followed by hg_breaker_tell or _drop. */
static bool usable(hg_ask *a, size_t i)
{
    const hg_entry *e = a->targets[i];
    bool cloud = e->kind == HG_ENTRY_CLOUD;
    if (a->out[i]) return false;
    if (cloud && (a->kind != HG_ASK_GENERATE || a->targets[0]->local_only)) return false;
    if (cloud && a->text.len > 0 && !hg_cloud_continues(e->provider, e->model)) return false;
    return hg_breaker_allow(a->host->breakers, e->name);
}

/* Begins with the target at a->at, which is usable. */
static void start_target(hg_ask *a)
{
    const hg_entry *e = a->targets[a->at];
    hangar_err err = {0};
    hg_fault fault = HG_FAULT_PASSING;
    ask_move(a, HG_ASK_TRYING);
    a->first_by = 0;
    a->tried_at = hg_now();
    a->begun_at = a->pieces;
    hg_ask_try *t = hg_calloc(1, sizeof *t);
    if (!t) {
        hg_fail_memory(&err);
        hg_breaker_drop(a->host->breakers, e->name);
        finish_failed(a, &err, -1);
        return;
    }
    *t = (hg_ask_try){.ask = a, .host = a->host, .entry = e};
    a->now = t;
    bool cloud = e->kind == HG_ENTRY_CLOUD;
    hangar_code code = cloud ? hg_ask_cloud(t, &fault, &err) : hg_ask_local(t, &fault, &err);
    if (code == HANGAR_OK) {
        if (cloud) a->first_by = hg_now() + a->host->h->settings->serve_first_timeout;
        if (a->now == t) set_timer(a);
        return;
    }
    a->now = NULL;
    free(t);
    hg_ask_failed(a, fault, -1, &err);
}

/* Pauses before another round over those whose failure may pass; false when there is none, or no time. */
static bool next_round(hg_ask *a)
{
    double now = hg_now(), wait = 0;
    if (a->round >= a->host->h->settings->serve_retries) return false;
    for (size_t i = 0; i < a->count; i++) {
        if (!usable(a, i)) continue;
        a->round++;
        a->at = i;
        wait = fmin(PAUSE_FIRST * pow(2, (double)(a->round - 1)), PAUSE_MAX) * (0.5 + hg_random());
        if (now + wait >= a->deadline) {
            hg_breaker_drop(a->host->breakers, a->targets[i]->name);
            return false;
        }
        hg_ask_count_retry(a);
        a->go_at = now + wait;
        ask_move(a, HG_ASK_PAUSED);
        set_timer(a);
        return true;
    }
    return false;
}

/* What is said when nobody is left: how the one that was asked for failed. */
static void nobody_left(hg_ask *a)
{
    hangar_err err = a->first;
    double wait = a->retry_after;
    if (wait < 0 && (err.code == HANGAR_E_OVERLOADED || err.code == HANGAR_E_RATE_LIMITED)) wait = 1;
    if (a->count > 1 && strlen(err.msg) + 64 < sizeof err.msg)
        strcat(err.msg, "; nor did anyone of its chain answer (`hangar why`)");
    finish_failed(a, &err, wait);
}

/* ---- what a try tells ---- */

void hg_ask_working(hg_ask *a, double load_seconds)
{
    a->load_seconds = load_seconds;
    if (a->kind == HG_ASK_GENERATE) a->first_by = hg_now() + a->host->h->settings->serve_first_timeout;
    set_timer(a);
}

/* The first sign of an answer. */
static void talking(hg_ask *a)
{
    if (a->state == HG_ASK_TALKING) return;
    ask_move(a, HG_ASK_TALKING);
    hg_ask_count_first(a);
    a->first_by = 0;
    set_timer(a);
}

/* An open array, made when it is not there. */
static hg_jw *open_list(hg_jw **list)
{
    if (*list) return *list;
    *list = hg_jw_new();
    hg_jw_arr(*list, NULL);
    return *list;
}

/* What such an array held, parsed; NULL when there is none. */
static hg_json *close_list(hg_jw **list)
{
    HG_AUTO(hg_auto_free) char *text = NULL;
    hg_json *doc = NULL;
    if (*list && hg_jw_finish(*list, false, &text, NULL) == HANGAR_OK)
        (void)!hg_json_parse(hg_str_of(text), NULL, &doc, NULL);
    hg_jw_free(*list);
    *list = NULL;
    return doc;
}

bool hg_ask_piece(hg_ask *a, hg_str literal, const hg_jval *logprobs)
{
    hangar_err err = {0};
    talking(a);
    hg_buf_str(&a->text, (hg_str){literal.ptr + 1, literal.len - 2});
    a->pieces++;
    if (hg_buf_check(&a->text, &err) != HANGAR_OK) {
        hg_wrap(&err, err.code, "the answer");
        hg_breaker_drop(a->host->breakers, a->targets[a->at]->name);
        finish_failed(a, &err, -1);
        return false;
    }
    if (!a->streams) {
        if (logprobs) open_list(&a->logprobs);
        for (hg_json_iter it = hg_json_iter_of(logprobs); hg_json_next(&it);)
            hg_jw_val(a->logprobs, NULL, it.val);
        return true;
    }
    tell_head(a);
    a->told = true;
    a->fns.text(a->ctx, literal, logprobs);
    return true;
}

void hg_ask_tool(hg_ask *a, const char *id, const char *name, hg_str arguments)
{
    talking(a);
    a->spliceable = false;
    if (!a->streams) {
        hg_jw *w = open_list(&a->tools);
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "id", id);
        hg_jw_text(w, "name", name);
        hg_jw_str(w, "arguments", arguments);
        hg_jw_end(w);
        return;
    }
    tell_head(a);
    a->told = true;
    a->fns.tool(a->ctx, id, name, arguments);
}

/* What was held back of an answer that does not stream: the text in one piece, and the tool calls. */
static void tell_held(hg_ask *a)
{
    HG_AUTO(hg_json_auto_free) hg_json *logprobs = close_list(&a->logprobs);
    HG_AUTO(hg_json_auto_free) hg_json *tools = close_list(&a->tools);
    hg_buf literal;
    hg_words_literal(hg_buf_view(&a->text), &literal);
    if (a->text.len > 0 && literal.state == HANGAR_OK)
        a->fns.text(a->ctx, hg_buf_view(&literal), hg_json_root(logprobs));
    hg_buf_deinit(&literal);
    for (hg_json_iter it = hg_json_iter_of(hg_json_root(tools)); hg_json_next(&it);) {
        hg_str arguments = HG_STR("{}");
        (void)hg_json_str(hg_json_get(it.val, "arguments"), &arguments);
        a->fns.tool(a->ctx, hg_json_text_or(hg_json_get(it.val, "id"), ""),
                    hg_json_text_or(hg_json_get(it.val, "name"), ""), arguments);
    }
}

void hg_ask_ended(hg_ask *a, const hg_ask_end *end)
{
    hg_ask_end told = *end;
    a->now = NULL;
    hg_breaker_tell(a->host->breakers, a->targets[a->at]->name, true, -1);
    hg_ask_count_try(a, HANGAR_OK);
    talking(a);
    tell_head(a);
    if (!a->streams) tell_held(a);
    told.load_seconds = a->load_seconds;
    told.total_seconds = hg_now() - a->began;
    if (told.generated_tokens < 0 && a->kind == HG_ASK_GENERATE && a->pieces > 0)
        told.generated_tokens = a->pieces;
    else if (told.generated_tokens >= 0) told.generated_tokens += a->begun_at;
    hg_ask_count_words(a, &told);
    hg_ask_count_over(a, HANGAR_OK);
    ask_move(a, HG_ASK_OVER);
    a->fns.end(a->ctx, &told);
    ask_free(a);
}

/* Whom to try next after the target at a->at failed: true when somebody is at it or will be. */
static bool go_on(hg_ask *a, const hangar_err *err)
{
    const char *failed = a->targets[a->at]->name;
    for (size_t i = a->at + 1; i < a->count; i++) {
        if (!usable(a, i)) continue;
        hg_why_note(a->host->why, "fallback", a->targets[0]->name, "%s %s for %s: %s", a->targets[i]->name,
                    a->text.len > 0 ? "goes on" : "answers", failed, err->msg);
        hg_ask_count_fallback(a, a->targets[i]->name, err->code);
        a->at = i;
        start_target(a);
        return true;
    }
    return next_round(a);
}

void hg_ask_failed(hg_ask *a, hg_fault fault, double retry_after, const hangar_err *err)
{
    hg_breakers *b = a->host->breakers;
    const char *name = a->targets[a->at]->name;
    hangar_err why = *err;
    a->now = NULL;
    a->first_by = 0;
    hg_ask_count_try(a, why.code);
    /* That it does not fit this model says nothing of the question when another was asked for. */
    if (fault == HG_FAULT_CLIENT && a->at > 0) fault = HG_FAULT_LASTING;
    if (fault == HG_FAULT_PASSING) hg_breaker_tell(b, name, false, retry_after);
    else hg_breaker_drop(b, name);
    if (a->first.code == HANGAR_OK) {
        a->first = why;
        a->retry_after = retry_after;
    }
    if (fault == HG_FAULT_CLIENT || (a->told && !a->spliceable)) {
        finish_failed(a, &why, retry_after);
        return;
    }
    if (fault == HG_FAULT_LASTING) a->out[a->at] = true;
    if (!a->told) {
        hg_buf_reset(&a->text);
        hg_json_free(close_list(&a->logprobs));
        hg_json_free(close_list(&a->tools));
        a->pieces = 0;
    }
    a->head_told = false; /* another may answer or go on: it is told who */
    if (!go_on(a, &why)) nobody_left(a);
}

/* ---- the beginning ---- */

/* The first target that may be tried. */
static void go(void *ctx)
{
    hg_ask *a = ctx;
    if (a->state == HG_ASK_OVER) { /* cancelled before it began */
        ask_free(a);
        return;
    }
    for (a->at = 0; a->at < a->count; a->at++) {
        const char *name = a->targets[a->at]->name;
        if (usable(a, a->at)) {
            if (a->at > 0)
                hg_why_note(a->host->why, "fallback", a->targets[0]->name, "%s answers for %s: %s", name,
                            a->targets[0]->name, a->first.msg);
            if (a->at > 0) hg_ask_count_fallback(a, name, a->first.code);
            start_target(a);
            return;
        }
        if (a->first.code != HANGAR_OK) continue;
        a->retry_after = fmax(1, ceil(hg_breaker_wait(a->host->breakers, name)));
        hg_fail(&a->first, HANGAR_E_OVERLOADED, "%s failed too often just now and is not asked for %.0f s",
                name, a->retry_after);
    }
    a->at = 0;
    nobody_left(a);
}

/* The entry and those of its chain. */
static hangar_code read_chain(hg_ask *a, const char *model, hangar_err *err)
{
    const hg_entry *e;
    hangar_code code = hg_catalog_find(a->host->catalog, model, &e, err);
    if (code != HANGAR_OK) return code;
    a->targets[a->count++] = e;
    if (e->kind == HG_ENTRY_CLOUD && a->kind != HG_ASK_GENERATE)
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "%s is a cloud model: it generates text and nothing else",
                       e->name);
    for (char **name = e->fallback; name && *name && a->count < HG_ASK_TARGETS_MAX; name++) {
        hangar_err missing = {0};
        if (hg_catalog_find(a->host->catalog, *name, &a->targets[a->count], &missing) == HANGAR_OK)
            a->count++;
        else hg_why_note(a->host->why, "fallback", e->name, "%s cannot stand in: %s", *name, missing.msg);
    }
    return HANGAR_OK;
}

hangar_code hg_ask_start(hg_host *host, const hg_ask_spec *spec, const hg_ask_fns *fns, void *ctx,
                         hg_ask **out, hangar_err *err)
{
    hg_ask *a = hg_calloc(1, sizeof *a);
    *out = NULL;
    if (!a) {
        hg_json_free(spec->doc);
        if (spec->file >= 0) close(spec->file);
        return hg_fail_memory(err);
    }
    *a = (hg_ask){
        .host = host, .kind = spec->kind, .doc = spec->doc, .file = spec->file, .fns = *fns, .ctx = ctx};
    a->keep_alive = spec->keep_alive;
    a->streams = spec->streams;
    a->spliceable = spec->spliceable && spec->streams;
    a->began = hg_now();
    a->retry_after = -1;
    hg_buf_init(&a->text, HG_ASK_TEXT_MAX);
    hangar_code code = host->stopping ? hg_fail(err, HANGAR_E_OVERLOADED, "hangar is shutting down")
                                      : read_chain(a, spec->model, err);
    if (code == HANGAR_OK) {
        double deadline = a->targets[0]->deadline;
        a->deadline = a->began + (deadline > 0 ? deadline : host->h->settings->serve_deadline);
        code = hg_timer_new(host->loop, on_timer, a, &a->timer, err);
    }
    if (code == HANGAR_OK) code = hg_loop_post(host->loop, go, a, err);
    if (code == HANGAR_OK) *out = a;
    else ask_free(a);
    return code;
}

void hg_ask_cancel(hg_ask *a)
{
    bool fresh = a->state == HG_ASK_NEW;
    if (a->state == HG_ASK_TRYING || a->state == HG_ASK_TALKING || a->state == HG_ASK_PAUSED)
        hg_breaker_drop(a->host->breakers, a->targets[a->at]->name);
    give_up(a);
    hg_ask_count_over(a, HANGAR_E_CANCELLED);
    ask_move(a, HG_ASK_OVER);
    if (!fresh) ask_free(a); /* else `go` does: it is on its way */
}
