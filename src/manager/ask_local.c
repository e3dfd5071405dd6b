/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A try at a model on this machine: in line for its slot, then the call. What is generated comes over the slot's line, on the loop; the other
 * kinds block, so a worker has the model meanwhile and tells through a buffer under a mutex.
 *
 * The worker reads the question (document and recording). They are the ask's, which waits for the worker; when it cannot, because its client left
 * or its time is over, give_up hands them to the work.
 */
#include "manager/ask_inner.h"

#include "base/clock.h"
#include "base/mem.h"
#include "manager/transcribe.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

/* A blocking call. Freed with its last reference: the done of the work, and each drain that is posted. */
typedef struct hg_ask_work {
    hg_ask_try *t; /* loop's thread */
    hangar_model *model;
    hg_loop *loop;
    hg_ask_kind kind;
    const hg_jval *doc;
    hg_json *doc_taken;
    int file;
    bool file_taken;
    hangar_job *job;
    atomic_int refs;
    pthread_mutex_t mutex; /* text, posted */
    hg_buf text;
    bool posted;
    hangar_code code;
    hangar_err err;
    char *answer;
} hg_ask_work;

/* What a failure in the midst of a call means. */
static hg_fault fault_of(hangar_code code)
{
    switch (code) {
    case HANGAR_E_USAGE:
    case HANGAR_E_INVALID:
    case HANGAR_E_LIMIT:
    case HANGAR_E_TOO_LONG:
    case HANGAR_E_UNSUPPORTED:
    case HANGAR_E_NOT_FOUND: return HG_FAULT_CLIENT;
    default: return HG_FAULT_PASSING;
    }
}

/* ---- generation, over the line ---- */

/* A piece with more in it than text. Whoever is told of its text may cancel the ask. */
static void rich_piece(hg_ask_try *t, hg_str json)
{
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    if (hg_json_parse(json, NULL, &doc, NULL) != HANGAR_OK) return;
    const hg_jval *root = hg_json_root(doc), *text = hg_json_get(root, "text"),
                  *call = hg_json_get(root, "tool_call");
    hg_str arguments = HG_STR("{}");
    if (hg_json_is_string(text)) {
        HG_AUTO(hg_auto_free) char *literal = hg_json_print(text, false);
        if (literal && !hg_ask_piece(t->ask, hg_str_of(literal), hg_json_get(root, "logprobs"))) return;
    }
    if (!call || !t->ask) return;
    const char *name = hg_json_text(hg_json_get(call, "name"));
    (void)hg_json_str(hg_json_get(call, "arguments"), &arguments);
    if (name) hg_ask_tool(t->ask, hg_json_text_or(hg_json_get(call, "id"), ""), name, arguments);
}

static void on_piece(void *ctx, const hg_raw *piece)
{
    hg_ask_try *t = ctx;
    hg_str inside;
    if (!t->ask) return;
    /* Its quotes stand around it in the frame. */
    if (hg_words_plain(piece->json, &inside))
        hg_ask_piece(t->ask, (hg_str){inside.ptr - 1, inside.len + 2}, NULL);
    else rich_piece(t, piece->json);
}

static void on_end(void *ctx, hangar_code code, const hg_raw *done, const hangar_err *err)
{
    hg_ask_try *t = ctx;
    hg_ask *a = t->ask;
    hg_turn *turn = t->turn;
    free(t);
    if (!a || code != HANGAR_OK) {
        hg_turn_end(turn);
        if (a) hg_ask_failed(a, fault_of(code), -1, err);
        return;
    }
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hangar_err bad = {0};
    if (hg_json_parse(done->json, NULL, &doc, &bad) != HANGAR_OK) {
        hg_turn_end(turn);
        hg_fail(&bad, HANGAR_E_ENGINE, "the runner's last word is no JSON");
        hg_ask_failed(a, HG_FAULT_PASSING, -1, &bad);
        return;
    }
    const hg_jval *d = hg_json_root(doc);
    hg_ask_ended(a, &(hg_ask_end){.finish = hg_json_text_or(hg_json_get(d, "finish"), "stop"),
                                  .prompt_tokens = hg_json_i64_or(hg_json_get(d, "prompt_tokens"), -1),
                                  .prompt_reused = hg_json_i64_or(hg_json_get(d, "prompt_reused"), -1),
                                  .generated_tokens = hg_json_i64_or(hg_json_get(d, "generated_tokens"), -1),
                                  .prompt_seconds = hg_json_f64_or(hg_json_get(d, "prompt_seconds"), 0),
                                  .generate_seconds = hg_json_f64_or(hg_json_get(d, "generate_seconds"), 0),
                                  .doc = d});
    hg_turn_end(turn);
}

static hangar_code start_call(hg_ask_try *t, hangar_err *err)
{
    static const hg_line_fns fns = {.piece = on_piece, .end = on_end};
    HG_AUTO(hg_auto_free) char *call = NULL;
    hangar_code code = hg_words_call(t->ask, t->entry, &call, err);
    if (code != HANGAR_OK) return code;
    return hg_line_call(hg_slot_line(t->slot), &(hg_parcel){.json = hg_str_of(call)}, 0, &fns, t, err);
}

/* ---- the other kinds, on a worker ---- */

static void work_drop(hg_ask_work *w)
{
    if (atomic_fetch_sub(&w->refs, 1) != 1) return;
    hangar_job_free(w->job);
    hg_json_free(w->doc_taken);
    if (w->file_taken && w->file >= 0) close(w->file);
    hg_buf_deinit(&w->text);
    pthread_mutex_destroy(&w->mutex);
    free(w->answer);
    free(w);
}

/* Hands on the text that has come. */
static void drain(hg_ask_work *w)
{
    HG_AUTO(hg_auto_free) char *literal = NULL;
    HG_AUTO(hg_jw_auto_free) hg_jw *jw = hg_jw_new();
    pthread_mutex_lock(&w->mutex);
    w->posted = false;
    bool some = w->text.len > 0;
    if (some) hg_jw_str(jw, NULL, hg_buf_view(&w->text));
    hg_buf_reset(&w->text);
    pthread_mutex_unlock(&w->mutex);
    if (!some || !w->t || !w->t->ask || hg_jw_finish(jw, false, &literal, NULL) != HANGAR_OK) return;
    hg_ask_piece(w->t->ask, hg_str_of(literal), NULL);
}

static void drain_posted(void *ctx)
{
    drain(ctx);
    work_drop(ctx);
}

/* On the worker: a piece of a transcript. */
static void on_event(void *ctx, const hangar_event *event)
{
    hg_ask_work *w = ctx;
    if (event->kind != HANGAR_EVENT_TEXT) return;
    pthread_mutex_lock(&w->mutex);
    hg_buf_puts(&w->text, event->text);
    bool post = !w->posted;
    if (post) atomic_fetch_add(&w->refs, 1);
    if (post && hg_loop_post(w->loop, drain_posted, w, NULL) != HANGAR_OK) {
        atomic_fetch_sub(&w->refs, 1); /* the done of the work drains, too */
        post = false;
    }
    w->posted = w->posted || post;
    pthread_mutex_unlock(&w->mutex);
}

/* The texts of "input": one, or a list. The array is the caller's, its items the document's. */
static hangar_code read_texts(const hg_jval *doc, const char ***out, size_t *out_count, hangar_err *err)
{
    const hg_jval *input = hg_json_get(doc, "input");
    size_t n = hg_json_is_string(input) ? 1 : hg_json_len(input);
    const char **texts = hg_calloc(n, sizeof *texts);
    if (!texts) return hg_fail_memory(err);
    if (hg_json_is_string(input)) texts[0] = hg_json_text(input);
    else
        for (hg_json_iter it = hg_json_iter_of(input); hg_json_next(&it);)
            texts[it.index] = hg_json_text(it.val);
    for (size_t i = 0; i < n; i++) {
        if (texts[i]) continue;
        free(texts);
        return hg_fail(err, HANGAR_E_USAGE, "input: item %zu is no text", i);
    }
    *out = texts;
    *out_count = n;
    return n > 0 ? HANGAR_OK : hg_fail(err, HANGAR_E_USAGE, "input: there is no text");
}

static hangar_code run_texts(hg_ask_work *w, hangar_err *err)
{
    HG_AUTO(hg_auto_free) const char **texts = NULL;
    size_t count = 0;
    hangar_code code = read_texts(w->doc, &texts, &count, err);
    if (code != HANGAR_OK) return code;
    if (w->kind == HG_ASK_EMBED) return hangar_embed(w->model, texts, count, w->job, &w->answer, err);
    hangar_classify_options options = HANGAR_CLASSIFY_OPTIONS_INIT;
    options.top = (int)hg_json_i64_or(hg_json_get(w->doc, "top"), options.top);
    return hangar_classify(w->model, texts, count, &options, w->job, &w->answer, err);
}

static hangar_code run_file(hg_ask_work *w, hangar_err *err)
{
    hangar_transcribe_options o = HANGAR_TRANSCRIBE_OPTIONS_INIT;
    o.language = hg_json_text(hg_json_get(w->doc, "language"));
    o.task = hg_json_text(hg_json_get(w->doc, "task"));
    o.beams = (int)hg_json_i64_or(hg_json_get(w->doc, "beams"), o.beams);
    o.timestamps = hg_json_bool_or(hg_json_get(w->doc, "timestamps"), false);
    if (lseek(w->file, 0, SEEK_SET) != 0) return hg_fail(err, HANGAR_E_USAGE, "the recording cannot be read");
    return hg_transcribe_fd(w->model, hg_json_text_or(hg_json_get(w->doc, "name"), "the recording"), w->file,
                            &o, w->job, &w->answer, err);
}

static void work_run(void *ctx)
{
    hg_ask_work *w = ctx;
    w->code = w->kind == HG_ASK_TRANSCRIBE ? run_file(w, &w->err) : run_texts(w, &w->err);
}

static void work_done(void *ctx)
{
    hg_ask_work *w = ctx;
    drain(w);
    hg_ask_try *t = w->t;
    hg_ask *a = t->ask;
    hg_turn *turn = t->turn;
    free(t);
    w->t = NULL;
    hg_turn_end(turn);
    if (a && w->code != HANGAR_OK) {
        hg_ask_failed(a, fault_of(w->code), -1, &w->err);
    } else if (a) {
        hangar_err err = {0};
        HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
        if (hg_json_parse(hg_str_of(w->answer), NULL, &doc, &err) == HANGAR_OK)
            hg_ask_ended(a, &(hg_ask_end){.finish = "stop",
                                          .prompt_tokens = -1,
                                          .prompt_reused = -1,
                                          .generated_tokens = -1,
                                          .doc = hg_json_root(doc)});
        else hg_ask_failed(a, HG_FAULT_PASSING, -1, &err);
    }
    work_drop(w);
}

static hangar_code start_work(hg_ask_try *t, hangar_err *err)
{
    hg_ask *a = t->ask;
    hg_ask_work *w = hg_calloc(1, sizeof *w);
    if (!w) return hg_fail_memory(err);
    *w = (hg_ask_work){.t = t, .loop = t->host->loop, .kind = a->kind, .doc = hg_json_root(a->doc)};
    w->file = a->file;
    w->model = hg_slot_model(t->slot);
    atomic_init(&w->refs, 1);
    pthread_mutex_init(&w->mutex, NULL);
    hg_buf_init(&w->text, HG_ASK_TEXT_MAX);
    w->job = hangar_job_new(on_event, w);
    hangar_code code = w->job ? HANGAR_OK : hg_fail_memory(err);
    if (code == HANGAR_OK) code = hg_slot_work(t->slot, work_run, work_done, w, err);
    if (code == HANGAR_OK) t->work = w;
    else work_drop(w);
    return code;
}

/* ---- the slot ---- */

/* Not yet, or no longer, in a call. */
static void leave_line(hg_ask_try *t)
{
    hg_turn_end(t->turn);
    free(t);
}

static void give_up_call(hg_ask_try *t)
{
    t->ask = NULL;
    hg_line_cancel(hg_slot_line(t->slot));
}

static void give_up_work(hg_ask_try *t)
{
    hg_ask *a = t->ask;
    t->ask = NULL;
    t->work->doc_taken = a->doc;
    t->work->file_taken = true;
    a->doc = NULL;
    a->file = -1;
    hangar_job_cancel(t->work->job);
}

/* The slot is ours. */
static hangar_code begin(hg_ask_try *t, hangar_err *err)
{
    double waited = hg_now() - t->asked_at, load = hg_slot_model(t->slot)->load_seconds;
    hangar_code code = t->ask->kind == HG_ASK_GENERATE ? start_call(t, err) : start_work(t, err);
    if (code != HANGAR_OK) return code;
    t->give_up = t->ask->kind == HG_ASK_GENERATE ? give_up_call : give_up_work;
    hg_ask_working(t->ask, waited >= load ? load : 0);
    return HANGAR_OK;
}

/* What a failure in line means: that the model cannot be loaded will hardly change while this client waits. */
static hg_fault line_fault(const hg_ask_try *t, hangar_code code)
{
    bool first = t->ask->at == 0;
    return first && (code == HANGAR_E_USAGE || code == HANGAR_E_UNSUPPORTED) ? HG_FAULT_CLIENT
                                                                             : HG_FAULT_LASTING;
}

static void on_turn(void *ctx, hg_slot *slot, hangar_code code, const hangar_err *err)
{
    hg_ask_try *t = ctx;
    hangar_err why = {0};
    if (code == HANGAR_OK) {
        t->slot = slot;
        if (t->taking) return; /* goes on below */
        code = begin(t, &why);
        if (code == HANGAR_OK) return;
        hg_ask *a = t->ask;
        leave_line(t);
        hg_ask_failed(a, fault_of(code), -1, &why);
        return;
    }
    if (t->taking) {
        t->line_code = code;
        t->line_err = *err;
        return;
    }
    hg_ask *a = t->ask;
    hg_fault fault = line_fault(t, code);
    free(t);
    hg_ask_failed(a, fault, code == HANGAR_E_OVERLOADED ? 1 : -1, err);
}

hangar_code hg_ask_local(hg_ask_try *t, hg_fault *out_fault, hangar_err *err)
{
    t->give_up = leave_line;
    t->asked_at = hg_now();
    *out_fault = HG_FAULT_LASTING;
    t->taking = true;
    hangar_code code = hg_pool_take(t->host->pool, t->entry, t->ask->keep_alive, on_turn, t, &t->turn, err);
    t->taking = false;
    if (code != HANGAR_OK) return code;
    if (t->line_code != HANGAR_OK) {
        *out_fault = line_fault(t, t->line_code);
        *err = t->line_err;
        return t->line_code;
    }
    if (!t->slot) return HANGAR_OK;
    code = begin(t, err);
    if (code == HANGAR_OK) return code;
    *out_fault = fault_of(code);
    hg_turn_end(t->turn);
    return code;
}
