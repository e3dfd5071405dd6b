/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A library that only notes how it was called and answers what the test wants, so that a verb's own part (arguments in,
 * document and page out) can be proved without a model or a store. One set per test program: include it once.
 */
#ifndef HG_TEST_FAKE_H
#define HG_TEST_FAKE_H

#include "base/job.h"
#include "base/mem.h"
#include "verbs/verb.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

struct hangar {
    int unused;
};
struct hangar_model {
    int unused;
};
struct hangar_mirror {
    int unused;
};
struct hangar_server {
    int unused;
};

/* What the next calls answer. */
static struct {
    hangar_code code;
    const char *json;   /* document, also on failure; NULL = none */
    const char *stream; /* sent as a TEXT event by generate */
    hangar_code exists, open, load;
    hangar_where where;   /* of run */
    const char *bad_file; /* transcribe fails for it with NOT_FOUND */
    bool cancel_turn;     /* generate acts as if the turn had been stopped */
    int fails_after;      /* generate fails with LIMIT after so many that did not; 0 = it does not */
    int answered;
} give;

/* What the library saw; a line per call. */
static hg_buf seen;
/* What the person was told, and what the person types. */
static hg_buf told;
static const char *const *typed;
static hangar_job *turn_job;
static hangar fake_hangar;

static hangar_code answer(char **out, hangar_err *err)
{
    if (out && give.json) *out = hg_strdup(give.json);
    return give.code == HANGAR_OK ? HANGAR_OK : hg_fail(err, give.code, "as the test wants");
}

static void note_list(const char *name, const char *const *list)
{
    if (!list) return;
    hg_buf_printf(&seen, " %s", name);
    for (; *list; list++) hg_buf_printf(&seen, ",%s", *list);
}

hangar_code hangar_open(const hangar_options *o, hangar **out, hangar_err *err)
{
    if (give.open != HANGAR_OK) return hg_fail(err, give.open, "cannot be opened");
    if (o && o->config) hg_buf_printf(&seen, "open %s\n", o->config);
    *out = &fake_hangar;
    return HANGAR_OK;
}
void hangar_close(hangar *h)
{
    (void)h;
}
void hangar_free(void *text)
{
    free(text);
}
const char *hangar_version(void)
{
    return "1.2.3";
}
hangar_code hangar_model_download(hangar *h, const char *ref, const hangar_download_options *o,
                                  hangar_job *job, char **out, hangar_err *err)
{
    (void)h;
    assert_non_null(job);
    hg_buf_printf(&seen, "download %s", ref);
    note_list("include", o->include);
    note_list("exclude", o->exclude);
    hg_buf_printf(&seen, " dry %d rate %llu\n", o->dry_run, (unsigned long long)o->limit_rate);
    return answer(out, err);
}
hangar_code hangar_model_exists(hangar *h, const char *ref, hangar_err *err)
{
    (void)h;
    hg_buf_printf(&seen, "exists %s\n", ref);
    return give.exists == HANGAR_OK ? HANGAR_OK : hg_fail(err, give.exists, "not here");
}
hangar_code hangar_model_list(hangar *h, char **out, hangar_err *err)
{
    (void)h;
    hg_buf_puts(&seen, "list\n");
    return answer(out, err);
}
hangar_code hangar_model_get(hangar *h, const char *ref, char **out, hangar_err *err)
{
    (void)h;
    hg_buf_printf(&seen, "get %s\n", ref);
    return answer(out, err);
}
hangar_code hangar_model_add(hangar *h, const char *path, const char *name, hangar_job *job, char **out,
                             hangar_err *err)
{
    (void)h;
    (void)job;
    hg_buf_printf(&seen, "add %s as %s\n", path, name ? name : "-");
    return answer(out, err);
}
hangar_code hangar_model_remove(hangar *h, const char *ref, char **out, hangar_err *err)
{
    (void)h;
    hg_buf_printf(&seen, "remove %s\n", ref);
    return answer(out, err);
}
hangar_code hangar_model_verify(hangar *h, const char *ref, hangar_job *job, char **out, hangar_err *err)
{
    (void)h;
    (void)job;
    hg_buf_printf(&seen, "verify %s\n", ref ? ref : "all");
    return answer(out, err);
}
hangar_code hangar_onnx_convert(hangar *h, const char *ref, const hangar_convert_options *o, hangar_job *job,
                                char **out, hangar_err *err)
{
    (void)h;
    (void)job;
    hg_buf_printf(&seen, "convert %s out %s place %d opset %d\n", ref, o->out ? o->out : "-", (int)o->place,
                  o->opset);
    return answer(out, err);
}
hangar_code hangar_onnx_optimize(hangar *h, const char *ref, const hangar_optimize_options *o,
                                 hangar_job *job, char **out, hangar_err *err)
{
    (void)h;
    (void)job;
    hg_buf_printf(&seen, "optimize %s profile %s level %s out %s place %d seconds %g keep %d\n", ref,
                  o->profile, o->level ? o->level : "-", o->out ? o->out : "-", (int)o->place, o->seconds,
                  o->keep);
    return answer(out, err);
}
hangar_code hangar_onnx_profiles(char **out, hangar_err *err)
{
    hg_buf_printf(&seen, "profiles\n");
    return answer(out, err);
}
hangar_code hangar_onnx_validate(hangar *h, const char *ref, const hangar_validate_options *o,
                                 hangar_job *job, char **out, hangar_err *err)
{
    (void)h;
    (void)job;
    hg_buf_printf(&seen, "validate %s%s%s%s\n", ref, o->form ? " form " : "", o->form ? o->form : "",
                  o->layers ? " layers" : "");
    return answer(out, err);
}
hangar_code hangar_model_load(hangar *h, const char *ref, hangar_job *job, hangar_model **out,
                              hangar_err *err)
{
    static hangar_model model;
    (void)h;
    (void)job;
    hg_buf_printf(&seen, "load %s\n", ref);
    if (give.load != HANGAR_OK) return hg_fail(err, give.load, "cannot be loaded");
    *out = &model;
    return HANGAR_OK;
}
void hangar_model_unload(hangar_model *model)
{
    if (model) hg_buf_puts(&seen, "unload\n");
}
hangar_code hangar_generate(hangar_model *model, const hangar_message *turns, size_t count,
                            const hangar_generate_options *o, hangar_job *job, char **out, hangar_err *err)
{
    assert_non_null(model);
    hg_buf_puts(&seen, "generate");
    for (size_t i = 0; i < count; i++) hg_buf_printf(&seen, " %s:%s", turns[i].role, turns[i].content);
    hg_buf_printf(&seen, " | t %g p %g minp %g k %d rep %g max %d seed %lld ctx %d raw %d", o->temperature,
                  o->top_p, o->min_p, o->top_k, o->repeat_penalty, o->max_tokens, (long long)o->seed,
                  o->context_length, o->raw);
    note_list("stop", o->stop);
    if (o->grammar) hg_buf_printf(&seen, " grammar %s", o->grammar);
    if (o->json_schema) hg_buf_printf(&seen, " schema %s", o->json_schema);
    hg_buf_putc(&seen, '\n');
    if (give.stream) hg_job_text(job, hg_str_of(give.stream));
    if (give.cancel_turn) {
        hangar_job_cancel(job);
        *out = hg_strdup("{\"text\":\"half\",\"finish\":\"cancelled\"}");
        return hg_fail(err, HANGAR_E_CANCELLED, "cancelled");
    }
    if (give.fails_after && give.answered++ >= give.fails_after)
        return hg_fail(err, HANGAR_E_LIMIT, "as the test wants");
    return answer(out, err);
}
hangar_code hangar_transcribe(hangar_model *model, const char *file, const hangar_transcribe_options *o,
                              hangar_job *job, char **out, hangar_err *err)
{
    assert_non_null(model);
    (void)job;
    hg_buf_printf(&seen, "transcribe %s lang %s task %s beams %d times %d\n", file,
                  o->language ? o->language : "-", o->task ? o->task : "-", o->beams, o->timestamps);
    if (give.bad_file && hg_streq(give.bad_file, file))
        return hg_fail(err, HANGAR_E_NOT_FOUND, "%s: nothing there", file);
    return answer(out, err);
}
hangar_code hangar_embed_images(hangar_model *model, const char *const *files, size_t count, hangar_job *job,
                                char **out, hangar_err *err)
{
    (void)model;
    (void)job;
    hg_buf_puts(&seen, "embed images");
    for (size_t i = 0; i < count; i++) hg_buf_printf(&seen, " [%s]", files[i]);
    hg_buf_putc(&seen, '\n');
    return answer(out, err);
}

hangar_code hangar_classify_images(hangar_model *model, const char *const *files, size_t count,
                                   const hangar_classify_options *o, hangar_job *job, char **out,
                                   hangar_err *err)
{
    (void)model;
    (void)job;
    hg_buf_printf(&seen, "classify images top %d", o->top);
    note_list("labels", o->labels);
    if (o->sentence) hg_buf_printf(&seen, " template %s", o->sentence);
    for (size_t i = 0; i < count; i++) hg_buf_printf(&seen, " [%s]", files[i]);
    hg_buf_putc(&seen, '\n');
    return answer(out, err);
}

hangar_code hangar_embed(hangar_model *model, const char *const *texts, size_t count, hangar_job *job,
                         char **out, hangar_err *err)
{
    assert_non_null(model);
    (void)job;
    hg_buf_puts(&seen, "embed");
    for (size_t i = 0; i < count; i++) hg_buf_printf(&seen, " [%s]", texts[i]);
    hg_buf_putc(&seen, '\n');
    return answer(out, err);
}
hangar_code hangar_classify(hangar_model *model, const char *const *texts, size_t count,
                            const hangar_classify_options *o, hangar_job *job, char **out, hangar_err *err)
{
    assert_non_null(model);
    (void)job;
    hg_buf_printf(&seen, "classify top %d", o->top);
    for (size_t i = 0; i < count; i++) hg_buf_printf(&seen, " [%s]", texts[i]);
    hg_buf_putc(&seen, '\n');
    return answer(out, err);
}
hangar_code hangar_hardware_detect(hangar *h, char **out, hangar_err *err)
{
    (void)h;
    hg_buf_puts(&seen, "hardware\n");
    return answer(out, err);
}
hangar_code hangar_doctor(hangar *h, char **out, hangar_err *err)
{
    (void)h;
    hg_buf_puts(&seen, "doctor\n");
    return answer(out, err);
}
hangar_code hangar_config_show(hangar *h, char **out, hangar_err *err)
{
    (void)h;
    hg_buf_puts(&seen, "config show\n");
    return answer(out, err);
}
hangar_code hangar_config_check(const char *file, char **out, hangar_err *err)
{
    hg_buf_printf(&seen, "config check %s\n", file ? file : "-");
    return answer(out, err);
}
hangar_code hangar_mirror_start(const char *dir, const hangar_mirror_options *o, hangar_mirror **out,
                                hangar_err *err)
{
    static hangar_mirror mirror;
    hg_buf_printf(&seen, "mirror %s at %s\n", dir, o->listen);
    if (give.code != HANGAR_OK) return answer(NULL, err);
    *out = &mirror;
    return HANGAR_OK;
}
const char *hangar_mirror_url(const hangar_mirror *mirror)
{
    assert_non_null(mirror);
    return "http://127.0.0.1:4711";
}
void hangar_mirror_stop(hangar_mirror *mirror)
{
    if (mirror) hg_buf_puts(&seen, "mirror ends\n");
}
hangar_code hangar_serve_start(hangar *h, const hangar_serve_options *o, hangar_job *job, hangar_server **out,
                               hangar_err *err)
{
    static hangar_server server;
    (void)h, (void)job;
    hg_buf_printf(&seen, "serve at %s", o->listen ? o->listen : "?");
    for (const char *const *p = o->preload; p && *p; p++) hg_buf_printf(&seen, " with %s", *p);
    hg_buf_putc(&seen, '\n');
    if (give.code != HANGAR_OK) return answer(NULL, err);
    *out = &server;
    return HANGAR_OK;
}
const char *hangar_serve_url(const hangar_server *server)
{
    assert_non_null(server);
    return "http://127.0.0.1:4264";
}
void hangar_serve_stop(hangar_server *server, double grace)
{
    if (server) hg_buf_printf(&seen, "serve ends within %g s\n", grace);
}

/* ---- the daemon, seen by its clients ---- */

hangar_where hangar_model_where(hangar *h, const char *model)
{
    (void)h, (void)model;
    return give.where;
}
/* A question by name, by way of `who`. */
static hangar_code ask_by_name(const char *who, const char *model, const hangar_message *turns, size_t count,
                               hangar_job *job, char **out, hangar_err *err)
{
    hg_buf_printf(&seen, "%s %s", who, model);
    for (size_t i = 0; i < count; i++) hg_buf_printf(&seen, " %s:%s", turns[i].role, turns[i].content);
    hg_buf_putc(&seen, '\n');
    if (give.stream) hg_job_text(job, hg_str_of(give.stream));
    return answer(out, err);
}
hangar_code hangar_ask(hangar *h, const char *model, const hangar_message *turns, size_t count,
                       const hangar_generate_options *o, hangar_job *job, char **out, hangar_err *err)
{
    (void)h, (void)o;
    return ask_by_name("ask", model, turns, count, job, out, err);
}
hangar_code hangar_daemon_generate(hangar *h, const char *model, const hangar_message *turns, size_t count,
                                   const hangar_generate_options *o, hangar_job *job, char **out,
                                   hangar_err *err)
{
    (void)h, (void)o;
    return ask_by_name("daemon", model, turns, count, job, out, err);
}
hangar_code hangar_daemon_ps(hangar *h, char **out, hangar_err *err)
{
    (void)h;
    hg_buf_puts(&seen, "ps\n");
    return answer(out, err);
}
hangar_code hangar_daemon_top(hangar *h, const char *before, char **out, hangar_err *err)
{
    (void)h;
    hg_buf_printf(&seen, "top%s\n", before ? " again" : "");
    return answer(out, err);
}
hangar_code hangar_daemon_load(hangar *h, const char *model, const hangar_load_options *o, hangar_job *job,
                               char **out, hangar_err *err)
{
    (void)h, (void)job;
    hg_buf_printf(&seen, "daemon load %s%s", model, o->pinned ? " pinned" : "");
    if (o->keeps) hg_buf_printf(&seen, " keep %g", o->keep_alive);
    hg_buf_putc(&seen, '\n');
    return answer(out, err);
}
hangar_code hangar_daemon_unload(hangar *h, const char *model, bool now, hangar_job *job, char **out,
                                 hangar_err *err)
{
    (void)h, (void)job;
    hg_buf_printf(&seen, "daemon unload %s%s\n", model, now ? " now" : "");
    return answer(out, err);
}
hangar_code hangar_daemon_why(hangar *h, const char *model, const char *kind, int limit, char **out,
                              hangar_err *err)
{
    (void)h;
    hg_buf_printf(&seen, "why %s %s %d\n", model ? model : "-", kind ? kind : "-", limit);
    return answer(out, err);
}
hangar_code hangar_daemon_wait(hangar *h, const char *const *models, const hangar_wait_options *o,
                               hangar_job *job, char **out, hangar_err *err)
{
    (void)h, (void)job;
    hg_buf_puts(&seen, "wait for");
    note_list("models", models);
    hg_buf_printf(&seen, " %g s%s\n", o->timeout, o->or_load ? " or load" : "");
    return answer(out, err);
}
hangar_code hangar_key_create(hangar *h, const char *name, const char *scope, char **out, hangar_err *err)
{
    (void)h;
    hg_buf_printf(&seen, "key %s for %s\n", name, scope ? scope : "-");
    return answer(out, err);
}
hangar_code hangar_key_list(hangar *h, char **out, hangar_err *err)
{
    (void)h;
    hg_buf_puts(&seen, "keys\n");
    return answer(out, err);
}
hangar_code hangar_key_remove(hangar *h, const char *name, char **out, hangar_err *err)
{
    (void)h;
    hg_buf_printf(&seen, "no key %s\n", name);
    return answer(out, err);
}
hangar_code hangar_programs_run(hangar *h, const hangar_programs_options *o, hangar_job *job, hangar_err *err)
{
    (void)h, (void)job;
    hg_buf_printf(&seen, "up within %g s\n", o->grace);
    return answer(NULL, err);
}

/* ---- the face ---- */

static bool fake_ask(void *face, const char *prompt, hg_buf *line)
{
    (void)face;
    hg_buf_printf(&told, "%s", prompt);
    if (!typed || !*typed) return false;
    hg_buf_reset(line);
    hg_buf_puts(line, *typed++);
    return true;
}
static hangar_job *fake_turn(void *face)
{
    hangar_job_free(turn_job);
    return turn_job = hangar_job_new(NULL, face);
}
static void fake_wait(void *face)
{
    (void)face;
    hg_buf_puts(&seen, "wait\n");
}
static void fake_say(void *face, const char *line)
{
    (void)face;
    hg_buf_printf(&told, "%s\n", line);
}

/* Collects TEXT events. */
static void on_event(void *ctx, const hangar_event *event)
{
    if (event->kind == HANGAR_EVENT_TEXT) hg_buf_puts(ctx, event->text);
}

/* One call of a verb, from its words to its page. */
typedef struct outcome {
    hangar_code code;
    hangar_err err;
    char *json; /* or NULL */
    char *page; /* of 60 columns, or NULL */
    hg_buf text;
} outcome;

static bool want_json, person;

static outcome call_verb(const char *name, const char *const *words)
{
    outcome o = {0};
    const hg_verb *verb = hg_verb_get(name);
    assert_non_null(verb);
    int argc = 0;
    while (words[argc]) argc++;
    hg_buf_init(&o.text, HG_MIB);
    hg_buf_reset(&seen);
    hg_buf_reset(&told);
    hg_args args = {0};
    o.code = hg_args_parse(verb->params, verb->args_size, argc, (char *const *)words, &args, &o.err);
    if (o.code != HANGAR_OK) return o;
    hangar_job *job = hangar_job_new(on_event, &o.text);
    hg_call call = {.h = verb->flags & HG_VERB_NO_HANDLE ? NULL : &fake_hangar,
                    .job = job,
                    .args = args.values,
                    .json = want_json,
                    .interactive = person,
                    .ask = fake_ask,
                    .turn = fake_turn,
                    .wait = fake_wait,
                    .say = fake_say};
    o.code = verb->run(&call, &o.json, &o.err);
    if (o.json && verb->show) {
        hg_json *doc = NULL;
        assert_int_equal(hg_json_parse(hg_str_of(o.json), NULL, &doc, NULL), HANGAR_OK);
        hg_view *view = hg_view_new(60, false);
        verb->show(hg_json_root(doc), view);
        o.page = hg_strdup(hg_view_text(view));
        hg_view_free(view);
        hg_json_free(doc);
    }
    hangar_job_free(job);
    hg_args_deinit(&args);
    return o;
}
#define CALL(name, ...) call_verb(name, (const char *const[]){__VA_ARGS__, NULL})
#define CALL0(name)     call_verb(name, (const char *const[]){NULL})

static void drop(outcome *o)
{
    free(o->json);
    free(o->page);
    hg_buf_deinit(&o->text);
}

static int reset(void **state)
{
    (void)state;
    memset(&give, 0, sizeof give);
    hg_buf_deinit(&seen);
    hg_buf_deinit(&told);
    hg_buf_init(&seen, HG_MIB);
    hg_buf_init(&told, HG_MIB);
    typed = NULL;
    want_json = person = false;
    hangar_job_free(turn_job);
    turn_job = NULL;
    return 0;
}

static int clean(void **state)
{
    (void)reset(state);
    hg_buf_deinit(&seen);
    hg_buf_deinit(&told);
    return 0;
}

#define assert_seen(text) assert_string_equal(hg_buf_text(&seen), text)
#define assert_told(text) assert_string_equal(hg_buf_text(&told), text)

#endif
