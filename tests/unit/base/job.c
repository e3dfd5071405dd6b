/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs, clocks, rates, the log, and locks between processes. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fsx.h"
#include "base/job.h"
#include "base/log.h"
#include "base/mem.h"

/* ---- jobs ---- */

typedef struct heard {
    hangar_event last;
    char item[100], text[3000], all[9000];
    int count, inside, overlaps;
    hangar_job *cancel;
} heard;

static void hear(void *ctx, const hangar_event *e)
{
    heard *h = ctx;
    if (h->inside++) h->overlaps++;
    h->last = *e;
    snprintf(h->item, sizeof h->item, "%s", e->item);
    snprintf(h->text, sizeof h->text, "%s", e->text);
    if (strlen(h->all) + strlen(e->text) < sizeof h->all) strcat(h->all, e->text);
    h->count++;
    if (h->cancel) hangar_job_cancel(h->cancel);
    h->inside--;
}

static void test_events(void **state)
{
    (void)state;
    heard h = {0};
    hangar_job *job = hangar_job_new(hear, &h);
    hg_job_phase(job, "downloading");
    assert_int_equal(h.last.kind, HANGAR_EVENT_PHASE);
    assert_int_equal(h.last.size, sizeof(hangar_event));
    assert_string_equal(h.text, "downloading");
    assert_string_equal(h.item, "");
    hg_job_plan(job, "a/b", 10, "fetch");
    assert_int_equal(h.last.kind, HANGAR_EVENT_PLAN);
    assert_string_equal(h.item, "a/b");
    assert_int_equal(h.last.total, 10);
    hg_job_item(job, "a/b", 5, 10, NULL);
    assert_int_equal(h.last.done, 5);
    assert_string_equal(h.text, "");
    assert_true(h.last.eta < 0);
    hg_job_total(job, 5, 15, 2);
    assert_true(h.last.eta == 5 && h.last.rate == 2);
    hg_job_total(job, 5, 15, 0);
    assert_true(h.last.eta < 0);
    hg_job_total(job, 15, 15, 0);
    assert_true(h.last.eta == 0);
    hg_job_note(job, "waiting %d s for %s", 3, "x\ny");
    assert_string_equal(h.text, "waiting 3 s for x\\x0ay");
    assert_string_equal(hangar_event_name(h.last.kind), "note");
    hangar_job_free(job);
    /* No job, or one that nobody listens to. */
    hg_job_note(NULL, "x");
    hg_job_text(NULL, HG_STR("x"));
    hg_job_total(NULL, 1, 2, 3);
    job = hangar_job_new(NULL, NULL);
    hg_job_note(job, "x");
    hg_job_text(job, HG_STR("x"));
    hangar_job_free(job);
    hangar_job_free(NULL);
    hangar_job_cancel(NULL);
    assert_false(hangar_job_is_cancelled(NULL));
    assert_int_equal(hg_job_check(NULL, NULL), HANGAR_OK);
}

static void test_text_pieces(void **state)
{
    (void)state;
    heard h = {0};
    hangar_job *job = hangar_job_new(hear, &h);
    char text[5000] = "x";
    for (int i = 0; i < 1600; i++) memcpy(text + 1 + 3 * i, "\xe2\x82\xac", 4);
    hg_job_text(job, hg_str_of(text));
    assert_string_equal(h.all, text);
    assert_true(h.count > 1);
    assert_true(hg_utf8_valid(hg_str_of(h.text)));
    h = (heard){0};
    hg_job_text(job, (hg_str){"notended", 3});
    assert_string_equal(h.all, "not");
    hg_job_text(job, HG_STR(""));
    assert_int_equal(h.count, 1);
    hangar_job_free(job);
}

static void *tell_much(void *job)
{
    for (int i = 0; i < 2000; i++) hg_job_item(job, "x", (uint64_t)i, 2000, "");
    return NULL;
}

static void test_events_one_at_a_time(void **state)
{
    (void)state;
    heard h = {0};
    hangar_job *job = hangar_job_new(hear, &h);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, tell_much, job), 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    assert_int_equal(h.count, 8000);
    assert_int_equal(h.overlaps, 0);
    hangar_job_free(job);
}

static hangar_job *signalled;
static void on_signal(int number)
{
    (void)number;
    hangar_job_cancel(signalled);
}

static void test_cancel(void **state)
{
    (void)state;
    hangar_err err = {0};
    signalled = hangar_job_new(NULL, NULL);
    signal(SIGUSR1, on_signal);
    assert_int_equal(hg_job_check(signalled, &err), HANGAR_OK);
    raise(SIGUSR1);
    assert_true(hangar_job_is_cancelled(signalled));
    assert_int_equal(hg_job_check(signalled, &err), HANGAR_E_CANCELLED);
    assert_string_equal(err.msg, "cancelled");
    hangar_job_free(signalled);
    /* From the callback itself. */
    heard h = {0};
    hangar_job *job = hangar_job_new(hear, &h);
    h.cancel = job;
    hg_job_phase(job, "x");
    assert_true(hangar_job_is_cancelled(job));
    hangar_job_free(job);
}

/* ---- time ---- */

static void test_clock(void **state)
{
    (void)state;
    char buf[24];
    assert_string_equal(hg_time_format(0, buf), "1970-01-01T00:00:00Z");
    assert_string_equal(hg_time_format(1769860800, buf), "2026-01-31T12:00:00Z");
    assert_string_equal(hg_time_format(-1, buf), "1969-12-31T23:59:59Z");
    assert_string_equal(hg_time_format(INT64_MAX, buf), "9999-12-31T23:59:59Z");
    assert_string_equal(hg_time_format(INT64_MIN, buf), "0001-01-01T00:00:00Z");
    assert_true(hg_wall() > 1700000000);
    double begun = hg_now();
    hg_sleep(0.05);
    hg_sleep(-1);
    hg_sleep(NAN);
    double took = hg_now() - begun;
    assert_true(took >= 0.045 && took < 5);
    double low = 1, high = 0;
    for (int i = 0; i < 1000; i++) {
        double r = hg_random();
        assert_true(r >= 0 && r < 1);
        low = fmin(low, r);
        high = fmax(high, r);
    }
    assert_true(low < 0.1 && high > 0.9);
}

static void test_rate(void **state)
{
    (void)state;
    hg_rate r = {0};
    assert_true(hg_rate_get(&r) == 0);
    hg_rate_note(&r, 100, 0);
    assert_true(hg_rate_get(&r) == 0);
    /* Told every ten milliseconds: the window moves on all the same. */
    for (int i = 1; i <= 1000; i++) hg_rate_note(&r, 100 + i * 0.01, (uint64_t)i * 10);
    assert_true(fabs(hg_rate_get(&r) - 1000) < 1);
    assert_true(r.count <= 16);
    assert_true(r.when[0] > 104 && r.when[0] < 107);
    /* A new speed is seen after about four seconds. */
    for (int i = 1; i <= 500; i++) hg_rate_note(&r, 110 + i * 0.01, 10000 + (uint64_t)i * 100);
    assert_true(fabs(hg_rate_get(&r) - 10000) < 10);
    /* Rare samples. */
    r = (hg_rate){0};
    hg_rate_note(&r, 0, 0);
    hg_rate_note(&r, 60, 600);
    assert_true(fabs(hg_rate_get(&r) - 10) < 1e-9);
    hg_rate_note(&r, 120, 1800);
    assert_true(fabs(hg_rate_get(&r) - 20) < 1e-9);
    /* Standing still, then starting again from zero. */
    hg_rate_note(&r, 180, 1800);
    assert_true(hg_rate_get(&r) == 0);
    hg_rate_note(&r, 181, 5);
    assert_true(hg_rate_get(&r) == 0);
}

/* ---- the log ---- */

typedef struct logged {
    char lines[1000];
    int count;
} logged;

static void take_line(void *ctx, hg_log_level level, const char *component, const char *line)
{
    logged *l = ctx;
    l->count++;
    sprintf(l->lines + strlen(l->lines), "%d %s %s|", (int)level, component, line);
}

static void test_log(void **state)
{
    (void)state;
    logged l = {0};
    hg_log_sink(take_line, &l);
    hg_log(HG_LOG_DEBUG, "hub", "range %d", 3);
    hg_log(HG_LOG_INFO, "store", "hidden");
    hg_log(HG_LOG_WARN, "store", "line\nforged");
    hg_log(HG_LOG_ERROR, "other", "hidden");
    hg_log_sink(NULL, NULL);
    assert_string_equal(l.lines, "3 hub range 3|1 store line\\x0aforged|");
}

/* ---- locks ---- */

static bool stop_now(void *ctx)
{
    return ++*(int *)ctx == 2;
}

/* A child that takes the lock, says so, and holds it until it is killed or told to end. */
static pid_t holder(const char *path, int *end_fd)
{
    int ready[2], end[2];
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(end), 0);
    pid_t child = fork();
    if (child == 0) {
        hg_lock lock;
        char byte = hg_lock_take(path, 0, NULL, NULL, &lock, NULL) == HANGAR_OK ? 'y' : 'n';
        close(end[1]);
        if (write(ready[1], &byte, 1) != 1 || read(end[0], &byte, 1) < 0) _exit(1);
        _exit(0); /* without a release: the end of the process is one */
    }
    char byte = 0;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    close(ready[0]), close(ready[1]), close(end[0]);
    *end_fd = end[1];
    return child;
}

static void test_locks(void **state)
{
    (void)state;
    const char *path = "locks/sub/x.lock";
    hg_lock lock = HG_LOCK_INIT, other = HG_LOCK_INIT;
    hangar_err err = {0};
    int end_fd, status, asked = 0;
    pid_t child = holder(path, &end_fd);
    assert_int_equal(hg_lock_take(path, 0, NULL, NULL, &lock, &err), HANGAR_E_BUSY);
    assert_int_equal(lock.fd, -1);
    assert_non_null(strstr(err.msg, path));
    double begun = hg_now();
    assert_int_equal(hg_lock_take(path, 0.3, NULL, NULL, &lock, NULL), HANGAR_E_BUSY);
    assert_true(hg_now() - begun >= 0.29);
    assert_int_equal(hg_lock_take(path, -1, stop_now, &asked, &lock, NULL), HANGAR_E_CANCELLED);
    assert_int_equal(asked, 2);
    close(end_fd);
    assert_int_equal(hg_lock_take(path, 20, NULL, NULL, &lock, NULL), HANGAR_OK);
    waitpid(child, &status, 0);
    /* A second descriptor of one process is somebody else, too. */
    assert_int_equal(hg_lock_take(path, 0, NULL, NULL, &other, NULL), HANGAR_E_BUSY);
    /* A child forked now does not keep the lock alive. */
    child = fork();
    if (child == 0) pause();
    hg_lock_release(&lock);
    assert_int_equal(lock.fd, -1);
    assert_int_equal(hg_lock_take(path, 0, NULL, NULL, &other, NULL), HANGAR_OK);
    hg_lock_release(&other);
    hg_lock_release(&other);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    assert_true(hg_is_file(path));
    /* Killed holders hold nothing. */
    child = holder(path, &end_fd);
    kill(child, SIGKILL);
    assert_int_equal(hg_lock_take(path, 20, NULL, NULL, &lock, NULL), HANGAR_OK);
    hg_lock_release(&lock);
    waitpid(child, &status, 0);
    close(end_fd);
    /* A link in the place of a lock is not followed. */
    assert_int_equal(symlink("elsewhere", "locks/link.lock"), 0);
    assert_true(hg_lock_take("locks/link.lock", 0, NULL, NULL, &lock, NULL) != HANGAR_OK);
    assert_int_equal(access("locks/elsewhere", F_OK), -1);
}

/* Two processes add to one number; without the lock they would lose some. */
static void test_lock_excludes(void **state)
{
    (void)state;
    assert_int_equal(hg_write_file("number", "0", 1, 0644, NULL), HANGAR_OK);
    pid_t children[3];
    for (int c = 0; c < 3; c++) {
        children[c] = fork();
        if (children[c] != 0) continue;
        for (int i = 0; i < 5; i++) {
            hg_lock lock;
            if (hg_lock_take("number.lock", 60, NULL, NULL, &lock, NULL) != HANGAR_OK) _exit(1);
            FILE *f = fopen("number", "r+");
            int n = -1;
            if (!f || fscanf(f, "%d", &n) != 1) _exit(2);
            hg_sleep(0.002);
            rewind(f);
            fprintf(f, "%d", n + 1);
            fclose(f);
            hg_lock_release(&lock);
        }
        _exit(0);
    }
    for (int c = 0; c < 3; c++) {
        int status;
        waitpid(children[c], &status, 0);
        assert_int_equal(status, 0);
    }
    hg_buf b;
    hg_buf_init(&b, 100);
    assert_int_equal(hg_read_file("number", &b, NULL), HANGAR_OK);
    assert_string_equal(hg_buf_text(&b), "15");
    hg_buf_deinit(&b);
}

int main(void)
{
    /* Read once, at the first line: so it is set before any test. */
    setenv("HANGAR_LOG", "hub, store=warn,=x,", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_text_pieces),
        cmocka_unit_test(test_events_one_at_a_time),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_locks),
        cmocka_unit_test(test_lock_excludes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
