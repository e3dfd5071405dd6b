/* SPDX-License-Identifier: Apache-2.0 */
/* ctest: waits */
/*
 * The supervisor against runners that behave and runners that do not. This program plays the runner itself:
 * linked into a folder under the name that the engine asks for, it does what the name after "bad-" says.
 */
#include "base/clock.h"
#include "base/proc.h"
#include "engine/engines.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the runner ---- */

#define FD 3

static void say(hg_wire_type type, const char *json)
{
    if (hg_wire_send(FD, type, hg_str_of(json), NULL, 0, NULL) != HANGAR_OK) _exit(0);
}

static void say_hello(void)
{
    say(HG_WIRE_HELLO, "{\"engine\":\"bad\",\"version\":\"1\",\"protocol\":1}");
}

/* Waits for a frame; leaves when hangar has left. */
static hg_wire_type hear(void)
{
    hg_frame f;
    if (hg_wire_recv(FD, -1, &f, NULL) != HANGAR_OK) _exit(0);
    hg_wire_type type = f.type;
    hg_frame_deinit(&f);
    return type;
}

static void hang(void)
{
    for (;;) pause();
}

/* Ends in the way that the word names; comes back for other words. */
static void end_as(const char *how)
{
    if (strcmp(how, "exit0") == 0) _exit(0);
    if (strcmp(how, "exit1") == 0) {
        fputs("first words\nthe model has no head\n\n", stderr);
        _exit(1);
    }
    signal(SIGSEGV, SIG_DFL);
    signal(SIGABRT, SIG_DFL);
    if (strcmp(how, "segv") == 0) kill(getpid(), SIGSEGV);
    if (strcmp(how, "abrt") == 0) kill(getpid(), SIGABRT);
    if (strcmp(how, "kill") == 0) kill(getpid(), SIGKILL);
    if (strcmp(how, "stop") == 0) kill(getpid(), SIGSTOP);
    if (strcmp(how, "hang") == 0) hang();
    if (strcmp(how, "garbage") == 0 && write(FD, "this is not a frame at all", 26) > 0) hang();
    if (strcmp(how, "huge") == 0 && write(FD, "HGW1\x05\0\0\0\xff\xff\xff\xff\0\0\0\0", 16) > 0) hang();
    if (strcmp(how, "half") == 0 && write(FD, "HGW1\x05\0\0\0\x10\0\0\0\0\0\0\0{", 17) > 0) _exit(0);
    if (strcmp(how, "turn") == 0) say(HG_WIRE_HELLO, "{}");
}

/* Pieces without end, each longer to read than to write, so that there is always one more. */
static void flood(void)
{
    static char json[200001] = "{\"n\":[0";
    size_t at = strlen(json);
    while (at + 4 < sizeof json) at += (size_t)sprintf(json + at, ",0");
    strcpy(json + at, "]}");
    for (;;) say(HG_WIRE_PIECE, json);
}

/* A call: pieces until a CANCEL comes or the count is reached. */
static void answer_call(const char *how)
{
    for (int i = 0; i < 200; i++) {
        char json[64];
        snprintf(json, sizeof json, "{\"n\":%d}", i);
        say(i % 2 ? HG_WIRE_TICK : HG_WIRE_PIECE, i % 2 ? "{\"done\":1,\"total\":2}" : json);
        if (strcmp(how, "quick") == 0 && i == 5) break;
        if (strcmp(how, "deaf") != 0 && hg_wire_pending(FD) && hear() == HG_WIRE_CANCEL) {
            say(HG_WIRE_FAIL, "{\"code\":\"CANCELLED\",\"message\":\"cancelled\"}");
            return;
        }
        hg_sleep(0.05);
    }
    say(HG_WIRE_DONE, "{\"ok\":true}");
}

/* name: "STAGE-HOW"; the stages are start, load, call, stream, and "play-HOW" behaves. */
static void play(const char *name)
{
    hg_proc_die_with_parent();
    const char *dash = strchr(name, '-');
    const char *how = dash ? dash + 1 : "";
    if (strncmp(name, "start", 5) == 0) end_as(how);
    if (strcmp(name, "other-engine") == 0) say(HG_WIRE_HELLO, "{\"engine\":\"good\",\"protocol\":1}");
    if (strcmp(name, "other-protocol") == 0) say(HG_WIRE_HELLO, "{\"engine\":\"bad\",\"protocol\":2}");
    say_hello();
    hear();
    if (strncmp(name, "load", 4) == 0) {
        say(HG_WIRE_TICK, "{\"done\":1,\"total\":10}");
        end_as(how);
        say(HG_WIRE_FAIL, "{\"code\":\"INVALID\",\"message\":\"no such model\"}");
        hang();
    }
    say(HG_WIRE_READY, "{\"dims\":3}");
    for (;;) {
        hear();
        if (strncmp(name, "call", 4) == 0) end_as(how);
        if (strncmp(name, "stream", 6) == 0) {
            say(HG_WIRE_PIECE, "{}");
            end_as(how);
        }
        if (strcmp(how, "flood") == 0) flood();
        answer_call(how);
    }
}

/* ---- the tests ---- */

static hg_engine engine = {.name = "bad", .about = "a runner that misbehaves"};
static const hg_runner_options options = {.load_timeout = 0.5, .step_timeout = 0.5};

/* Makes this program known as a runner of that name. */
static void be(const char *name)
{
    static char program[64];
    snprintf(program, sizeof program, "bad-%s", name);
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = '\0';
    if (symlink(self, program) != 0) assert_int_equal(errno, EEXIST);
    engine.program = program;
}

static hangar_code start(const char *name, hangar_job *job, hg_runner **out, hangar_err *err)
{
    be(name);
    *err = (hangar_err){0};
    return hg_runner_start(&engine, &options, HG_STR("{}"), job, out, NULL, err);
}

static hangar_code on_piece(void *ctx, const hg_frame *piece, hangar_err *err)
{
    (void)err;
    (void)piece;
    ++*(int *)ctx;
    return HANGAR_OK;
}

static hangar_code call(hg_runner *r, hangar_job *job, int *pieces, hangar_err *err)
{
    hg_frame done;
    *err = (hangar_err){0};
    hangar_code code =
        hg_runner_call(r, HG_STR("{\"op\":\"x\"}"), NULL, 0, on_piece, pieces, job, &done, err);
    hg_frame_deinit(&done);
    return code;
}

/* A whole misfortune in one line: code ENGINE, the wanted words, quickly. */
static void check_words(const char *name, hangar_code code, const hangar_err *err, const char *words,
                        double seconds)
{
    if (code != HANGAR_E_ENGINE || !strstr(err->msg, words) || strchr(err->msg, '\n') || seconds > 3)
        fail_msg("%s: %d, %.1f s, \"%s\" (wanted \"%s\")", name, (int)code, seconds, err->msg, words);
}

static const struct {
    const char *how, *words;
} ends[] = {
    {"exit0", "exit code 0"},      {"exit1", "exit code 1; its last words: the model has no head"},
    {"segv", "killed by SIGSEGV"}, {"abrt", "killed by SIGABRT"},
    {"kill", "killed by SIGKILL"}, {"garbage", "broke the protocol"},
    {"huge", "over the limits"},   {"half", "exit code 0"},
};

static void dies_before_and_during_the_load(void **state)
{
    (void)state;
    const char *const stages[] = {"start", "load"};
    for (size_t s = 0; s < 2; s++)
        for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
            char name[64];
            snprintf(name, sizeof name, "%s-%s", stages[s], ends[i].how);
            hg_runner *r = NULL;
            hangar_err err;
            double from = hg_now();
            hangar_code code = start(name, NULL, &r, &err);
            assert_null(r);
            check_words(name, code, &err, ends[i].words, hg_now() - from);
            assert_non_null(strstr(err.msg, s == 0 ? "while starting" : "while loading the model"));
        }
}

static void dies_in_a_call(void **state)
{
    (void)state;
    const char *const stages[] = {"call", "stream"};
    for (size_t s = 0; s < 2; s++)
        for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
            char name[64];
            snprintf(name, sizeof name, "%s-%s", stages[s], ends[i].how);
            hg_runner *r = NULL;
            hangar_err err;
            int pieces = 0;
            assert_int_equal(start(name, NULL, &r, &err), HANGAR_OK);
            double from = hg_now();
            hangar_code code = call(r, NULL, &pieces, &err);
            check_words(name, code, &err, ends[i].words, hg_now() - from);
            assert_int_equal(pieces, s);
            /* and it stays ended */
            assert_int_equal(call(r, NULL, &pieces, &err), HANGAR_E_ENGINE);
            assert_non_null(strstr(err.msg, "load the model again"));
            assert_int_equal(hg_runner_memory(r), 0);
            hg_runner_end(r);
        }
}

static void hangs(void **state)
{
    (void)state;
    const char *const names[] = {"load-hang", "load-stop",   "call-hang",
                                 "call-stop", "stream-hang", "stream-stop"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        hg_runner *r = NULL;
        hangar_err err;
        int pieces = 0;
        double from = hg_now();
        hangar_code code = start(names[i], NULL, &r, &err);
        pid_t pid = 0;
        if (r) {
            pid = hg_runner_pid(r);
            assert_int_equal(code, HANGAR_OK);
            code = call(r, NULL, &pieces, &err);
        }
        check_words(names[i], code, &err, "gave no sign", hg_now() - from);
        if (pid) assert_int_equal(kill(pid, 0), -1);
        hg_runner_end(r);
    }
}

static void speaks_out_of_turn(void **state)
{
    (void)state;
    const char *const names[] = {"load-turn", "call-turn", "stream-turn"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        hg_runner *r = NULL;
        hangar_err err;
        int pieces = 0;
        hangar_code code = start(names[i], NULL, &r, &err);
        if (r) code = call(r, NULL, &pieces, &err);
        check_words(names[i], code, &err, "out of turn", 0);
        hg_runner_end(r);
    }
}

static void the_wrong_program(void **state)
{
    (void)state;
    hg_runner *r = NULL;
    hangar_err err;
    assert_int_equal(start("other-engine", NULL, &r, &err), HANGAR_E_ENGINE);
    assert_non_null(strstr(err.msg, "is engine \"good\""));
    assert_int_equal(start("other-protocol", NULL, &r, &err), HANGAR_E_ENGINE);
    assert_non_null(strstr(err.msg, "with protocol 2"));
    engine.program = "not-there";
    assert_int_equal(hg_runner_start(&engine, &options, HG_STR("{}"), NULL, &r, NULL, &err),
                     HANGAR_E_NOT_FOUND);
    assert_non_null(strstr(err.msg, "HANGAR_RUNNERS"));
    assert_int_equal(start("load-refuse", NULL, &r, &err), HANGAR_E_INVALID);
    assert_string_equal(err.msg, "no such model");
    assert_null(r);
}

static void works(void **state)
{
    (void)state;
    hg_runner *r = NULL;
    hg_frame ready;
    hangar_err err = {0};
    be("play-quick");
    assert_int_equal(hg_runner_start(&engine, &options, HG_STR("{}"), NULL, &r, &ready, &err), HANGAR_OK);
    assert_int_equal(hg_json_i64_or(hg_json_get(hg_json_root(ready.doc), "dims"), 0), 3);
    hg_frame_deinit(&ready);
    assert_true(hg_runner_memory(r) > 0);
    for (int i = 0; i < 3; i++) {
        int pieces = 0;
        assert_int_equal(call(r, NULL, &pieces, &err), HANGAR_OK);
        assert_int_equal(pieces, 3);
    }
    pid_t pid = hg_runner_pid(r);
    hg_runner_end(r);
    assert_int_equal(kill(pid, 0), -1);
    hg_runner_end(NULL);
}

static void *cancel_soon(void *job)
{
    hg_sleep(0.3);
    hangar_job_cancel(job);
    return NULL;
}

/* A runner that listens stays loaded; one that does not is ended. Both within a moment. */
static void cancel_a_call(void **state)
{
    (void)state;
    const char *const names[] = {"play-long", "play-deaf", "play-flood"};
    for (int i = 0; i < 3; i++) {
        hg_runner *r = NULL;
        hangar_err err;
        assert_int_equal(start(names[i], NULL, &r, &err), HANGAR_OK);
        hangar_job *job = hangar_job_new(NULL, NULL);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, cancel_soon, job), 0);
        int pieces = 0;
        double from = hg_now();
        assert_int_equal(call(r, job, &pieces, &err), HANGAR_E_CANCELLED);
        assert_true(hg_now() - from < (i == 0 ? 1.3 : 5));
        assert_true(pieces > 0);
        pthread_join(thread, NULL);
        assert_true((hg_runner_pid(r) != 0) == (i == 0));
        hg_runner_end(r);
        hangar_job_free(job);
    }
}

static void cancel_a_load(void **state)
{
    (void)state;
    hg_runner *r = NULL;
    hangar_err err = {0};
    hangar_job *job = hangar_job_new(NULL, NULL);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, job), 0);
    be("load-hang");
    const hg_runner_options patient = {.load_timeout = 30, .step_timeout = 30};
    double from = hg_now();
    assert_int_equal(hg_runner_start(&engine, &patient, HG_STR("{}"), job, &r, NULL, &err),
                     HANGAR_E_CANCELLED);
    assert_true(hg_now() - from < 1.3);
    pthread_join(thread, NULL);
    hangar_job_free(job);
}

static hangar_code refuse_third(void *ctx, const hg_frame *piece, hangar_err *err)
{
    (void)piece;
    return ++*(int *)ctx < 3 ? HANGAR_OK : hg_fail(err, HANGAR_E_LIMIT, "three are enough");
}

/* Whoever takes the pieces may say no. */
static void the_taker_refuses(void **state)
{
    (void)state;
    hg_runner *r = NULL;
    hangar_err err;
    assert_int_equal(start("play-long", NULL, &r, &err), HANGAR_OK);
    hg_frame done;
    int pieces = 0;
    assert_int_equal(hg_runner_call(r, HG_STR("{}"), NULL, 0, refuse_third, &pieces, NULL, &done, &err),
                     HANGAR_E_LIMIT);
    assert_string_equal(err.msg, "three are enough");
    assert_int_equal(pieces, 3);
    /* and the next call works */
    pieces = 0;
    hangar_job *job = hangar_job_new(NULL, NULL);
    hangar_job_cancel(job);
    assert_int_equal(call(r, job, &pieces, &err), HANGAR_E_CANCELLED);
    assert_true(hg_runner_pid(r) != 0);
    hangar_job_free(job);
    hg_runner_end(r);
}

/* kill -9 of hangar takes its runners along. */
static void dies_with_hangar(void **state)
{
    (void)state;
    int tell[2];
    assert_int_equal(pipe(tell), 0);
    be("play-long");
    pid_t parent = fork();
    if (parent == 0) {
        hg_runner *r = NULL;
        if (hg_runner_start(&engine, &options, HG_STR("{}"), NULL, &r, NULL, NULL) != HANGAR_OK) _exit(1);
        pid_t pid = hg_runner_pid(r);
        if (write(tell[1], &pid, sizeof pid) != (ssize_t)sizeof pid) _exit(1);
        hang();
    }
    pid_t runner = 0;
    assert_int_equal(read(tell[0], &runner, sizeof runner), sizeof runner);
    kill(parent, SIGKILL);
    assert_int_equal(waitpid(parent, NULL, 0), parent);
    bool gone = false;
    for (double until = hg_now() + 2; !gone && hg_now() < until; hg_sleep(0.01)) {
        char path[64], text[512];
        snprintf(path, sizeof path, "/proc/%d/stat", (int)runner);
        FILE *f = fopen(path, "r");
        gone = !f || !fgets(text, sizeof text, f) || strstr(text, ") Z ") != NULL;
        if (f) fclose(f);
    }
    assert_true(gone);
    close(tell[0]);
    close(tell[1]);
}

static void the_table(void **state)
{
    (void)state;
    assert_string_equal(hg_engine_get("onnx")->program, "hangar-runner-onnx");
    assert_null(hg_engine_get("nothing"));
    size_t count = 0;
    for (const hg_engine *const *e = hg_engine_all(); *e; e++) count += (*e)->about != NULL;
    assert_true(count >= 2);
}

int main(int argc, char **argv)
{
    const char *base = argc > 0 ? strrchr(argv[0], '/') : NULL;
    base = base ? base + 1 : argc > 0 ? argv[0] : "";
    if (strncmp(base, "bad-", 4) == 0) play(base + 4);
    char here[4096];
    if (!getcwd(here, sizeof here)) return 1;
    setenv("HANGAR_RUNNERS", here, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dies_with_hangar), /* first: it forks, and must not once there are threads */
        cmocka_unit_test(the_table),          cmocka_unit_test(works),
        cmocka_unit_test(the_wrong_program),  cmocka_unit_test(dies_before_and_during_the_load),
        cmocka_unit_test(dies_in_a_call),     cmocka_unit_test(hangs),
        cmocka_unit_test(speaks_out_of_turn), cmocka_unit_test(cancel_a_call),
        cmocka_unit_test(cancel_a_load),      cmocka_unit_test(the_taker_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
