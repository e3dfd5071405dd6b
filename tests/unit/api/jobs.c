/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks: states, lines, events to many ears, cancels, bounds, the end of all. The verbs here are of the test's own. */
#include "api/jobs.h"
#include "base/clock.h"
#include "base/job.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <cmocka.h>

/* ---- verbs ---- */

typedef struct args {
    const char *ref;
    int64_t count;
} args;

static const hg_param params[] = {
    {.name = "ref", .type = HG_TEXT, .at = offsetof(args, ref), .required = true},
    {.name = "count", .type = HG_INT, .at = offsetof(args, count), .def = "3"},
    {0}};

static atomic_int at_once, most_at_once;

static void enter(void)
{
    int now = atomic_fetch_add(&at_once, 1) + 1, most = atomic_load(&most_at_once);
    while (now > most && !atomic_compare_exchange_weak(&most_at_once, &most, now)) {
    }
}

/* A phase, `count` notes, a document. */
static hangar_code run_notes(hg_call *call, char **out_json, hangar_err *err)
{
    const args *a = call->args;
    assert_true(call->json);
    assert_false(call->interactive);
    hg_job_phase(call->job, "counting");
    for (int64_t i = 1; i <= a->count; i++) hg_job_note(call->job, "note %lld", (long long)i);
    *out_json = hg_format("{\"ref\":\"%s\",\"count\":%lld}", a->ref, (long long)a->count);
    return *out_json ? HANGAR_OK : hg_fail_memory(err);
}
static const hg_verb notes = {.name = "notes",
                              .params = params,
                              .args_size = sizeof(args),
                              .run = run_notes,
                              .flags = HG_VERB_NO_HANDLE};

/* Works until it is cancelled. */
static hangar_code run_block(hg_call *call, char **out_json, hangar_err *err)
{
    (void)out_json;
    enter();
    while (hg_job_check(call->job, err) == HANGAR_OK) hg_sleep(0.002);
    atomic_fetch_sub(&at_once, 1);
    return HANGAR_E_CANCELLED;
}
static const hg_verb block = {.name = "block",
                              .params = params,
                              .args_size = sizeof(args),
                              .run = run_block,
                              .flags = HG_VERB_NO_HANDLE};

/* Progress of one file, `count` times. */
static hangar_code run_progress(hg_call *call, char **out_json, hangar_err *err)
{
    const args *a = call->args;
    (void)err;
    for (int64_t i = 1; i <= a->count; i++) {
        hg_job_item(call->job, "a \"file\"\n", (uint64_t)i, (uint64_t)a->count, "");
        hg_job_total(call->job, (uint64_t)i, (uint64_t)a->count, 0);
    }
    hg_job_item(call->job, "a \"file\"\n", (uint64_t)a->count, (uint64_t)a->count, "done");
    *out_json = hg_strdup("{}");
    return HANGAR_OK;
}
static const hg_verb progress = {.name = "progress",
                                 .params = params,
                                 .args_size = sizeof(args),
                                 .run = run_progress,
                                 .flags = HG_VERB_NO_HANDLE};

/* Fails with a report, or tells by the code alone. */
static hangar_code run_fail(hg_call *call, char **out_json, hangar_err *err)
{
    const args *a = call->args;
    *out_json = hg_strdup("{\"report\":1}");
    call->silent = a->count == 0;
    if (a->count == 0) return HANGAR_E_NOT_FOUND;
    return hg_fail(err, HANGAR_E_INTEGRITY, "one file is damaged");
}
static const hg_verb fail_verb = {
    .name = "fail", .params = params, .args_size = sizeof(args), .run = run_fail, .flags = HG_VERB_NO_HANDLE};

/* ---- the scene ---- */

static hg_loop *loop;
static hg_jobs *jobs;

typedef struct ear {
    hg_ear *ear;
    hg_buf text;
    bool ended;
    hangar_code code;
    char result[128];
    bool stop; /* the loop, at the end */
} ear;

static void hear(void *ctx, hg_str frames)
{
    ear *e = ctx;
    assert_false(e->ended);
    hg_buf_str(&e->text, frames);
}

static void hear_end(void *ctx, const hg_task *t)
{
    ear *e = ctx;
    assert_false(e->ended);
    e->ended = true;
    e->code = hg_task_code(t);
    snprintf(e->result, sizeof e->result, "%s", hg_task_result(t) ? hg_task_result(t) : "");
    if (e->stop) hg_loop_stop(loop);
}

static const hg_ear_fns ear_fns = {hear, hear_end};

static void too_late(void *ctx)
{
    (void)ctx;
    fail_msg("nothing happened");
}

static void run_loop(void)
{
    hg_timer *t;
    assert_int_equal(hg_timer_new(loop, too_late, NULL, &t, NULL), HANGAR_OK);
    hg_timer_set(t, 60, 0);
    hg_loop_run(loop);
    hg_timer_free(t);
}

static void stop(void *ctx)
{
    (void)ctx;
    hg_loop_stop(loop);
}

static void run_for(double seconds)
{
    hg_timer *t;
    assert_int_equal(hg_timer_new(loop, stop, NULL, &t, NULL), HANGAR_OK);
    hg_timer_set(t, seconds, 0);
    run_loop();
    hg_timer_free(t);
}

static int setup(void **state)
{
    (void)state;
    atomic_store(&at_once, 0);
    atomic_store(&most_at_once, 0);
    if (hg_loop_new(&loop, NULL) != HANGAR_OK) return -1;
    return hg_jobs_new(NULL, loop, &jobs, NULL) == HANGAR_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    hg_jobs_close(jobs, stop, NULL);
    run_loop();
    assert_int_equal(hg_jobs_running(jobs), 0);
    hg_jobs_free(jobs);
    hg_loop_free(loop);
    return 0;
}

static hg_task *start(const hg_verb *verb, const char *json, bool background)
{
    hg_json *doc = NULL;
    hangar_err err = {0};
    hg_task *t = NULL;
    assert_int_equal(hg_json_parse(hg_str_of(json), NULL, &doc, NULL), HANGAR_OK);
    hg_task_spec spec = {.verb = verb, .doc = doc, .background = background};
    hangar_code code = hg_task_start(jobs, &spec, &t, &err);
    if (code != HANGAR_OK) print_message("%s\n", err.msg);
    assert_int_equal(code, HANGAR_OK);
    return t;
}

static void listen_to(hg_task *t, ear *e, uint64_t after)
{
    hg_buf_init(&e->text, HG_MIB);
    assert_int_equal(hg_task_listen(t, after, &ear_fns, e, &e->ear, NULL), HANGAR_OK);
}

static size_t times(const char *text, const char *what)
{
    size_t n = 0;
    for (; (text = strstr(text, what)) != NULL; text++) n++;
    return n;
}

/* {"state":...} of a task. */
static void check_state(const hg_task *t, const char *state, const char *error)
{
    hg_jw *w = hg_jw_new();
    char *text = NULL;
    hg_json *doc = NULL;
    hg_task_write(t, NULL, w);
    assert_int_equal(hg_jw_finish(w, false, &text, NULL), HANGAR_OK);
    hg_jw_free(w);
    assert_int_equal(hg_json_parse(hg_str_of(text), NULL, &doc, NULL), HANGAR_OK);
    const hg_jval *o = hg_json_root(doc);
    assert_string_equal(hg_json_text(hg_json_get(o, "state")), state);
    assert_string_equal(hg_json_text_or(hg_json_path(o, "error", "code", NULL), ""), error);
    assert_string_equal(hg_json_text(hg_json_get(o, "id")), hg_task_id(t));
    assert_string_equal(hg_json_text(hg_json_get(o, "ref")), "r");
    hg_json_free(doc);
    free(text);
}

/* ---- tests ---- */

static void test_events_and_result(void **state)
{
    (void)state;
    ear e = {.stop = true};
    hg_task *t = start(&notes, "{\"ref\":\"r\"}", false);
    listen_to(t, &e, 0);
    run_loop();
    assert_int_equal(e.code, HANGAR_OK);
    assert_string_equal(e.result, "{\"ref\":\"r\",\"count\":3}");
    assert_string_equal(hg_buf_text(&e.text), "id: 1\nevent: phase\ndata: {\"text\":\"counting\"}\n\n"
                                              "id: 2\nevent: note\ndata: {\"text\":\"note 1\"}\n\n"
                                              "id: 3\nevent: note\ndata: {\"text\":\"note 2\"}\n\n"
                                              "id: 4\nevent: note\ndata: {\"text\":\"note 3\"}\n\n");
    assert_null(hg_task_at(jobs, 0)); /* no background task: gone with its ear */
    hg_buf_deinit(&e.text);
}

static void test_later_ears(void **state)
{
    (void)state;
    ear e = {.stop = true}, late = {.stop = true}, later = {.stop = true}, beyond = {.stop = true};
    hg_task *t = start(&notes, "{\"ref\":\"r\"}", true);
    listen_to(t, &e, 0);
    run_loop();
    assert_ptr_equal(hg_task_find(jobs, hg_task_id(t)), t);
    check_state(t, "done", "");
    listen_to(t, &late, 0);
    run_loop();
    assert_string_equal(hg_buf_text(&late.text), hg_buf_text(&e.text));
    listen_to(t, &later, 3);
    run_loop();
    assert_string_equal(hg_buf_text(&later.text), "id: 4\nevent: note\ndata: {\"text\":\"note 3\"}\n\n");
    listen_to(t, &beyond, UINT64_MAX);
    run_loop();
    assert_string_equal(hg_buf_text(&beyond.text), "");
    assert_true(beyond.ended);
    hg_buf_deinit(&e.text);
    hg_buf_deinit(&late.text);
    hg_buf_deinit(&later.text);
    hg_buf_deinit(&beyond.text);
}

/* Many events: the latest are kept, and numbers tell what is missing. */
static void test_bounds(void **state)
{
    (void)state;
    ear e = {.stop = true}, late = {.stop = true};
    hg_task *t = start(&notes, "{\"ref\":\"r\",\"count\":100000}", true);
    listen_to(t, &e, 0);
    run_loop();
    assert_int_equal(e.code, HANGAR_OK);
    listen_to(t, &late, 0);
    run_loop();
    size_t kept = times(hg_buf_text(&late.text), "\nevent: ");
    assert_true(kept > 100 && kept <= HG_TASK_EVENTS);
    assert_true(late.text.len <= HG_TASK_BYTES + (size_t)HG_TASK_EVENTS * 32);
    /* What did not fit into the inbox is told as one event, the last. */
    const char *last = strstr(hg_buf_text(&late.text), "\"note 100000\"");
    const char *out = strstr(hg_buf_text(&late.text), "events were left out");
    assert_true(last || out);
    hg_buf_deinit(&e.text);
    hg_buf_deinit(&late.text);
}

/* Progress is told seldom, its end always. */
static void test_progress(void **state)
{
    (void)state;
    ear e = {.stop = true};
    hg_task *t = start(&progress, "{\"ref\":\"r\",\"count\":50000}", false);
    listen_to(t, &e, 0);
    double from = hg_now();
    run_loop();
    size_t turns = (size_t)((hg_now() - from) / 0.1) + 2;
    const char *text = hg_buf_text(&e.text);
    assert_true(times(text, "event: item\n") <= turns + 1);
    assert_true(times(text, "event: total\n") <= turns);
    assert_non_null(
        strstr(text, "event: item\ndata: {\"item\":\"a \\\"file\\\"\\n\",\"text\":\"done\",\"done\":50000,"
                     "\"total\":50000}\n\n"));
    assert_non_null(
        strstr(text, "event: total\ndata: {\"done\":50000,\"total\":50000,\"rate\":0.0,\"eta\":0.0}\n\n"));
    hg_buf_deinit(&e.text);
}

static void test_failure(void **state)
{
    (void)state;
    ear e = {.stop = true}, silent = {.stop = true};
    hg_task *t = start(&fail_verb, "{\"ref\":\"r\"}", true);
    listen_to(t, &e, 0);
    run_loop();
    assert_int_equal(e.code, HANGAR_E_INTEGRITY);
    assert_string_equal(e.result, "{\"report\":1}");
    assert_string_equal(hg_task_error(t)->msg, "one file is damaged");
    check_state(t, "failed", "integrity");
    /* The exit code was the answer: the document is it here. */
    t = start(&fail_verb, "{\"ref\":\"r\",\"count\":0}", true);
    listen_to(t, &silent, 0);
    run_loop();
    assert_int_equal(silent.code, HANGAR_OK);
    check_state(t, "done", "");
    hg_buf_deinit(&e.text);
    hg_buf_deinit(&silent.text);
}

/* A verb that is through before the loop has gone on: its result is its own all the same. */
static void test_quick(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        ear e = {.stop = true};
        listen_to(start(&fail_verb, "{\"ref\":\"r\"}", false), &e, 0);
        run_loop();
        assert_int_equal(e.code, HANGAR_E_INTEGRITY);
        assert_string_equal(e.result, "{\"report\":1}");
        hg_buf_deinit(&e.text);
    }
}

static void test_refused(void **state)
{
    (void)state;
    hg_json *doc = NULL;
    hangar_err err = {0};
    hg_task *t = NULL;
    assert_int_equal(hg_json_parse(HG_STR("{\"reff\":\"r\"}"), NULL, &doc, NULL), HANGAR_OK);
    hg_task_spec spec = {.verb = &notes, .doc = doc};
    assert_int_equal(hg_task_start(jobs, &spec, &t, &err), HANGAR_E_USAGE);
    assert_string_equal(err.msg, "there is no 'reff'; did you mean ref?");
    assert_null(hg_task_at(jobs, 0));
    assert_null(hg_task_find(jobs, "0123456789abcdef"));
}

/* Whoever listens alone and leaves ends the task; a background task goes on. */
static void test_cancel(void **state)
{
    (void)state;
    ear a = {0}, b = {0}, c = {.stop = true};
    hg_task *t = start(&block, "{\"ref\":\"r\"}", false);
    listen_to(t, &a, 0);
    listen_to(t, &b, 0);
    run_for(0.05);
    check_state(t, "running", "");
    hg_ear_close(a.ear, true);
    run_for(0.05);
    check_state(t, "running", "");
    hg_ear_close(b.ear, true);
    for (int i = 0; i < 600 && hg_task_at(jobs, 0); i++) run_for(0.02);
    assert_null(hg_task_at(jobs, 0));
    assert_false(a.ended || b.ended);
    hg_buf_deinit(&a.text);
    hg_buf_deinit(&b.text);

    t = start(&block, "{\"ref\":\"r\"}", true);
    listen_to(t, &a, 0);
    run_for(0.05);
    hg_ear_close(a.ear, true);
    run_for(0.05);
    check_state(t, "running", "");
    listen_to(t, &c, 0);
    hg_task_cancel(t);
    run_loop();
    assert_int_equal(c.code, HANGAR_E_CANCELLED);
    check_state(t, "cancelled", "cancelled");
    hg_buf_deinit(&a.text);
    hg_buf_deinit(&c.text);
}

/* More than may work wait in line; those that read have a line of their own; the line has an end. */
static void test_lines(void **state)
{
    (void)state;
    hg_task *tasks[HG_TASKS_AT_ONCE + HG_TASKS_WAITING];
    hangar_err err = {0};
    for (size_t i = 0; i < HG_LEN(tasks); i++) tasks[i] = start(&block, "{\"ref\":\"r\"}", true);
    assert_int_equal(hg_jobs_running(jobs), HG_LEN(tasks));
    check_state(tasks[HG_TASKS_AT_ONCE - 1], "running", "");
    check_state(tasks[HG_TASKS_AT_ONCE], "queued", "");
    hg_task *t = NULL;
    hg_json *doc = NULL;
    assert_int_equal(hg_json_parse(HG_STR("{\"ref\":\"r\"}"), NULL, &doc, NULL), HANGAR_OK);
    hg_task_spec spec = {.verb = &block, .doc = doc};
    assert_int_equal(hg_task_start(jobs, &spec, &t, &err), HANGAR_E_OVERLOADED);
    /* One that waits ends at once, and makes room in the line. */
    hg_task_cancel(tasks[HG_TASKS_AT_ONCE + 1]);
    check_state(tasks[HG_TASKS_AT_ONCE + 1], "cancelled", "cancelled");
    ear e = {.stop = true};
    assert_int_equal(hg_json_parse(HG_STR("{\"ref\":\"r\"}"), NULL, &doc, NULL), HANGAR_OK);
    spec = (hg_task_spec){.verb = &notes, .doc = doc, .reads = true, .background = true};
    assert_int_equal(hg_task_start(jobs, &spec, &t, &err), HANGAR_OK);
    listen_to(t, &e, 0);
    run_loop();
    assert_int_equal(e.code, HANGAR_OK);
    for (int i = 0; i < 600 && atomic_load(&at_once) < HG_TASKS_AT_ONCE; i++) run_for(0.02);
    /* The first that waited takes the place of one that ended. */
    hg_task_cancel(tasks[0]);
    for (int i = 0; i < 600 && hg_task_code(tasks[0]) == HANGAR_OK; i++) run_for(0.02);
    check_state(tasks[0], "cancelled", "cancelled");
    check_state(tasks[HG_TASKS_AT_ONCE], "running", "");
    assert_int_equal(atomic_load(&most_at_once), HG_TASKS_AT_ONCE);
    hg_buf_deinit(&e.text);
}

/* Only so many are remembered, and the oldest go first. */
static void test_kept(void **state)
{
    (void)state;
    char first[17] = "";
    for (int i = 0; i < HG_TASKS_KEPT + 5; i++) {
        ear e = {.stop = true};
        hg_task *t = start(&notes, "{\"ref\":\"r\"}", true);
        if (i == 0) memcpy(first, hg_task_id(t), sizeof first);
        listen_to(t, &e, 0);
        run_loop();
        hg_buf_deinit(&e.text);
    }
    run_for(0.01);
    assert_null(hg_task_find(jobs, first));
    assert_non_null(hg_task_at(jobs, HG_TASKS_KEPT - 1));
    assert_null(hg_task_at(jobs, HG_TASKS_KEPT + 1));
}

/* After close nothing begins, what runs is cancelled, and the end is told once. */
static void test_close(void **state)
{
    (void)state;
    hg_task *t = start(&block, "{\"ref\":\"r\"}", true);
    hangar_err err = {0};
    run_for(0.02);
    hg_jobs_close(jobs, stop, NULL);
    hg_json *doc = NULL;
    assert_int_equal(hg_json_parse(HG_STR("{\"ref\":\"r\"}"), NULL, &doc, NULL), HANGAR_OK);
    hg_task_spec spec = {.verb = &notes, .doc = doc};
    hg_task *other = NULL;
    assert_int_equal(hg_task_start(jobs, &spec, &other, &err), HANGAR_E_OVERLOADED);
    run_loop();
    check_state(t, "cancelled", "cancelled");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_events_and_result, setup, teardown),
        cmocka_unit_test_setup_teardown(test_later_ears, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_progress, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failure, setup, teardown),
        cmocka_unit_test_setup_teardown(test_quick, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
