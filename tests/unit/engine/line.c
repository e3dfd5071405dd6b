/* SPDX-License-Identifier: Apache-2.0 */
/* ctest: long */
/*
 * The line against runners that behave and runners that do not. This program plays the runner, too: started by the name "line-runner" it does in
 * each call what the CALL says, and after READY what the LOAD says.
 */
#include "base/clock.h"
#include "base/loop.h"
#include "base/proc.h"
#include "engine/engines.h"
#include "engine/line.h"
#include "engine/wire_inner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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

static void say_raw(const void *bytes, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = write(FD, (const char *)bytes + at, len - at);
        if (n <= 0) _exit(0);
        at += (size_t)n;
    }
}

static hg_wire_type hear(hg_frame *out)
{
    if (hg_wire_recv(FD, -1, out, NULL) != HANGAR_OK) _exit(0);
    return out->type;
}

static void hang(void)
{
    for (;;) pause();
}

/* Pieces, `every` seconds apart, until `n` are said or a CANCEL comes (that is listened for unless deaf). */
static void say_pieces(int64_t n, double every, bool deaf)
{
    for (int64_t i = 0; i < n; i++) {
        char json[64];
        snprintf(json, sizeof json, "{\"n\":%lld}", (long long)i);
        say(HG_WIRE_PIECE, json);
        if (every > 0) hg_sleep(every);
        if (deaf || !hg_wire_pending(FD)) continue;
        hg_frame f;
        if (hear(&f) != HG_WIRE_CANCEL) _exit(9);
        hg_frame_deinit(&f);
        say(HG_WIRE_FAIL, "{\"code\":\"CANCELLED\",\"message\":\"cancelled\"}");
        return;
    }
    say(HG_WIRE_DONE, "{\"ok\":true}");
}

/* Pieces as fast as they go, of some size. */
static void flood(size_t json_len)
{
    char *json = malloc(json_len + 1);
    if (!json) _exit(1);
    memset(json, ' ', json_len);
    json[json_len] = '\0';
    for (;;) say(HG_WIRE_PIECE, json);
}

/* A descriptor that nobody announced, beside a piece. */
static void say_with_fd(void)
{
    uint8_t header[HG_WIRE_HEADER];
    hg_wire_header_write(&(hg_parcel){.type = HG_WIRE_PIECE}, header, NULL);
    struct iovec iov = {header, sizeof header};
    hg_wire_sendmsg(FD, &iov, 1, FD);
    hang();
}

/* What the descriptor and the data of a call were like. */
static void echo(const hg_frame *call)
{
    char bytes[32] = "", json[128];
    if (call->fd > 0 && read(call->fd, bytes, sizeof bytes - 1) < 0) _exit(1);
    unsigned sum = 0;
    for (size_t i = 0; i < call->bin_len; i++) sum = sum * 31 + (unsigned char)call->bin[i];
    snprintf(json, sizeof json, "{\"file\":\"%s\",\"len\":%zu,\"sum\":%u}", bytes, call->bin_len, sum);
    say(HG_WIRE_DONE, json);
}

/* The words for ends and nonsense; comes back for others. */
static void misbehave(const char *how)
{
    signal(SIGSEGV, SIG_DFL);
    if (strcmp(how, "exit") == 0) {
        fputs("first words\nthe model has no head\n\n", stderr);
        _exit(1);
    }
    if (strcmp(how, "segv") == 0) kill(getpid(), SIGSEGV);
    if (strcmp(how, "kill") == 0) kill(getpid(), SIGKILL);
    if (strcmp(how, "stop") == 0) kill(getpid(), SIGSTOP);
    if (strcmp(how, "hang") == 0) hang();
    if (strcmp(how, "garbage") == 0) say_raw("this is not a frame at all", 26);
    if (strcmp(how, "huge") == 0) say_raw("HGW1\x05\0\0\0\xff\xff\xff\xff\0\0\0\0", 16);
    if (strcmp(how, "large") == 0) say_raw("HGW1\x05\0\0\0\0\0\0\0\1\0\0\1", 16); /* 16 MiB and 1 of data */
    if (strcmp(how, "flags") == 0) say_raw("HGW1\x05\0\1\0\0\0\0\0\0\0\0\0", 16);
    if (strcmp(how, "type") == 0) say_raw("HGW1\x63\0\0\0\0\0\0\0\0\0\0\0", 16);
    if (strcmp(how, "half") == 0) say_raw("HGW1\x05\0\0\0\x10\0\0\0\0\0\0\0{", 17);
    if (strcmp(how, "halfexit") == 0) {
        say_raw("HGW1\x05\0\0\0\x10\0\0\0\0\0\0\0{", 17);
        _exit(0);
    }
    if (strcmp(how, "turn") == 0) say(HG_WIRE_READY, "{}");
    if (strcmp(how, "call") == 0) say(HG_WIRE_CALL, "{}");
    if (strcmp(how, "piece") == 0) say(HG_WIRE_PIECE, "{}");
    if (strcmp(how, "byte") == 0) say_raw("H", 1);
    if (strcmp(how, "badtick") == 0) say(HG_WIRE_TICK, "{\"done\":");
    if (strcmp(how, "badfail") == 0) say(HG_WIRE_FAIL, "{");
    if (strcmp(how, "longfail") == 0) say_raw("HGW1\x07\0\0\0\0\0\x11\0\0\0\0\0", 16);
    if (strcmp(how, "fd") == 0) say_with_fd();
    if (strcmp(how, "trail") == 0) {
        static const char both[] = "HGW1\x06\0\0\0\2\0\0\0\0\0\0\0{}H";
        say_raw(both, sizeof both - 1);
    }
    if (strncmp(how, "flood", 5) == 0) flood((size_t)atol(how + 5));
}

static void answer(const hg_frame *call)
{
    const hg_jval *doc = hg_json_root(call->doc);
    const char *op = hg_json_text_or(hg_json_get(doc, "op"), "");
    int64_t n = hg_json_i64_or(hg_json_get(doc, "n"), 0);
    if (strcmp(op, "count") == 0) {
        say_pieces(n, hg_json_f64_or(hg_json_get(doc, "every"), 0),
                   hg_json_bool_or(hg_json_get(doc, "deaf"), false));
        return;
    }
    if (strcmp(op, "after") == 0) {
        for (; n > 0; n--) say(HG_WIRE_PIECE, "{}");
        misbehave(hg_json_text_or(hg_json_get(doc, "how"), ""));
        hang();
    }
    if (strcmp(op, "tick") == 0) {
        say(HG_WIRE_TICK, "");
        say(HG_WIRE_TICK, "{\"done\":7,\"total\":5}");
        say(HG_WIRE_TICK, "{\"done\":3,\"total\":10}");
    }
    if (strcmp(op, "echo") == 0) {
        if (n > 0) hg_sleep((double)n / 1000);
        echo(call);
        return;
    }
    if (strcmp(op, "large") == 0) {
        char *json = malloc((size_t)n + 1);
        if (!json) _exit(1);
        memset(json, '7', (size_t)n);
        json[n] = '\0';
        json[0] = json[n - 1] = '"';
        say(HG_WIRE_PIECE, json);
        say(HG_WIRE_DONE, json);
        free(json);
        return;
    }
    if (strcmp(op, "fail") == 0) say(HG_WIRE_FAIL, "{\"code\":\"LIMIT\",\"message\":\"too long\"}");
    else say(HG_WIRE_DONE, "{\"ok\":true}");
}

static void play(void)
{
    hg_proc_die_with_parent();
    say(HG_WIRE_HELLO, "{\"engine\":\"line\",\"version\":\"1\",\"protocol\":1}");
    hg_frame f;
    hear(&f);
    const char *idle = hg_json_text_or(hg_json_get(hg_json_root(f.doc), "idle"), "");
    say(HG_WIRE_READY, "{}");
    if (*idle) {
        hg_sleep(0.05);
        misbehave(idle);
    }
    hg_frame_deinit(&f);
    for (;;) {
        if (hear(&f) == HG_WIRE_CALL) answer(&f);
        hg_frame_deinit(&f);
    }
}

/* ---- one side of a talk ---- */

static hg_engine engine = {.name = "line", .program = "line-runner", .about = "what this test needs"};
static const hg_runner_options options = {.load_timeout = 30, .step_timeout = 30};

/* What was heard, and when the loop shall stop. */
typedef struct talk {
    hg_runner *runner;
    hg_line *line;
    int pieces, ticks, ends, gones;
    bool disordered;
    size_t bytes;
    hangar_code code;
    char done[256];
    hangar_err err, why;
    uint64_t tick_done, tick_total;
    int cancel_at, kill_at, close_at; /* in the piece of that number; 0 = never */
    bool close_in_end, close_in_gone, again;
    bool stop_at_piece;
} talk;

static hg_loop *loop;
static hg_timer *limit;

static void stop(void *ctx)
{
    (void)ctx;
    hg_loop_stop(loop);
}

static void close_line(talk *t)
{
    hg_line *l = t->line;
    t->line = NULL;
    hg_line_close(l);
    hg_loop_stop(loop);
}

static void call(talk *t, const char *json);

static void on_piece(void *ctx, const hg_raw *piece)
{
    talk *t = ctx;
    long long n = t->pieces;
    if (piece->json.len > 5 && memcmp(piece->json.ptr, "{\"n\":", 5) == 0) n = atoll(piece->json.ptr + 5);
    t->disordered |= n != t->pieces;
    t->pieces++;
    t->bytes += piece->json.len + piece->bin_len;
    if (t->pieces == t->cancel_at) hg_line_cancel(t->line);
    if (t->pieces == t->kill_at) hg_line_kill(t->line, "it was time");
    if (t->pieces == t->close_at) close_line(t);
    if (t->stop_at_piece) hg_loop_stop(loop);
}

static void on_tick(void *ctx, uint64_t done, uint64_t total)
{
    talk *t = ctx;
    t->ticks++;
    t->tick_done = done;
    t->tick_total = total;
    if (t->close_at == -t->ticks) close_line(t);
}

static void on_end(void *ctx, hangar_code code, const hg_raw *done, const hangar_err *err)
{
    talk *t = ctx;
    t->ends++;
    t->code = code;
    if ((code == HANGAR_OK) != (done != NULL)) t->disordered = true;
    if ((code == HANGAR_OK) != (err == NULL)) t->disordered = true;
    if (done) snprintf(t->done, sizeof t->done, "%.*s", HG_STR_ARG(done->json));
    if (err) t->err = *err;
    if (err && err->code != code) t->disordered = true;
    if (t->close_in_end) close_line(t);
    else if (t->again) {
        t->again = false;
        call(t, "{\"op\":\"count\",\"n\":3}");
        return;
    }
    hg_loop_stop(loop);
}

static void on_gone(void *ctx, const hangar_err *why)
{
    talk *t = ctx;
    t->gones++;
    t->why = *why;
    if (t->close_in_gone) close_line(t);
    hg_loop_stop(loop);
}

static const hg_line_fns fns = {on_piece, on_tick, on_end};

static void start(talk *t, const char *load)
{
    hangar_err err = {0};
    *t = (talk){0};
    if (hg_runner_start(&engine, &options, hg_str_of(load), NULL, &t->runner, NULL, &err) != HANGAR_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(hg_line_open(loop, t->runner, on_gone, t, &t->line, &err), HANGAR_OK);
}

static void finish(talk *t)
{
    hg_line_close(t->line);
    hg_runner_end(t->runner);
    *t = (talk){0};
}

static hangar_code try_call(talk *t, const char *json, double step, hangar_err *err)
{
    return hg_line_call(t->line, &(hg_parcel){.json = hg_str_of(json)}, step, &fns, t, err);
}

static void call(talk *t, const char *json)
{
    hangar_err err = {0};
    t->pieces = t->ticks = t->ends = 0;
    t->disordered = false;
    if (try_call(t, json, 0, &err) != HANGAR_OK) fail_msg("%s: %s", json, err.msg);
}

/* Runs the loop until *count is reached. */
static void until(const int *count, int wanted)
{
    for (double end = hg_now() + 60; *count < wanted && hg_now() < end;) {
        hg_timer_set(limit, 1, 0);
        hg_loop_run(loop);
    }
    assert_int_equal(*count, wanted);
}

/* Runs the loop for a while. */
static void pass(double seconds)
{
    for (double end = hg_now() + seconds; hg_now() < end;) {
        hg_timer_set(limit, end - hg_now(), 0);
        hg_loop_run(loop);
    }
}

static int setup(void **state)
{
    (void)state;
    return hg_loop_new(&loop, NULL) == HANGAR_OK && hg_timer_new(loop, stop, NULL, &limit, NULL) == HANGAR_OK
               ? 0
               : -1;
}

static int teardown(void **state)
{
    (void)state;
    hg_timer_free(limit);
    hg_loop_free(loop);
    return 0;
}

static size_t open_fds(void)
{
    size_t count = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) count += e->d_name[0] != '.';
    closedir(d);
    return count;
}

static size_t resident(void)
{
    unsigned long size = 0, pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%lu %lu", &size, &pages), 2);
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* Nobody is there by that number, not even as a zombie. */
static void assert_no_process(pid_t pid)
{
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(errno, ESRCH);
}

/* ---- what works ---- */

static void pieces_in_order(void **state)
{
    (void)state;
    talk t;
    start(&t, "{}");
    for (int i = 0; i < 3; i++) {
        call(&t, "{\"op\":\"count\",\"n\":20000}");
        until(&t.ends, 1);
        assert_int_equal(t.code, HANGAR_OK);
        assert_int_equal(t.pieces, 20000);
        assert_false(t.disordered);
        assert_string_equal(t.done, "{\"ok\":true}");
    }
    call(&t, "{\"op\":\"tick\"}");
    until(&t.ends, 1);
    assert_int_equal(t.ticks, 3);
    assert_int_equal(t.tick_done, 3);
    assert_int_equal(t.tick_total, 10);
    call(&t, "{\"op\":\"fail\"}");
    until(&t.ends, 1);
    assert_int_equal(t.code, HANGAR_E_LIMIT);
    assert_string_equal(t.err.msg, "too long");
    /* a new call inside the end of one */
    t.again = true;
    t.ends = 0;
    assert_int_equal(try_call(&t, "{\"op\":\"nothing\"}", 0, NULL), HANGAR_OK);
    pass(0); /* callbacks come from the loop only */
    until(&t.ends, 1);
    assert_int_equal(t.pieces, 3);
    assert_int_equal(t.code, HANGAR_OK);
    assert_int_equal(t.gones, 0);
    finish(&t);
}

/* Frames far larger than the buffer, in both directions; memory is given back. */
static void large_frames(void **state)
{
    (void)state;
    talk t;
    start(&t, "{}");
    call(&t, "{\"op\":\"large\",\"n\":15000000}");
    until(&t.ends, 1);
    assert_int_equal(t.code, HANGAR_OK);
    assert_int_equal(t.bytes, 15000000);
    size_t len = 8000000;
    char *bin = malloc(len);
    assert_non_null(bin);
    unsigned sum = 0;
    for (size_t i = 0; i < len; i++) sum = sum * 31 + (unsigned char)(bin[i] = (char)(i * 7 + i / 1000));
    int file = open("a file", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(file > 0 && pwrite(file, "its words", 9, 0) == 9);
    hg_parcel parcel = {.json = HG_STR("{\"op\":\"echo\",\"n\":30}"), .bin = bin, .bin_len = len, .fd = file};
    t.ends = 0;
    assert_int_equal(hg_line_call(t.line, &parcel, 0, &fns, &t, NULL), HANGAR_OK);
    memset(bin, 0, len); /* it was copied */
    close(file);
    until(&t.ends, 1);
    char wanted[256];
    snprintf(wanted, sizeof wanted, "{\"file\":\"its words\",\"len\":%zu,\"sum\":%u}", len, sum);
    assert_string_equal(t.done, wanted);
    free(bin);
    hangar_err err = {0};
    parcel = (hg_parcel){.json = {"", HG_WIRE_JSON_MAX + 1}};
    assert_int_equal(hg_line_call(t.line, &parcel, 0, &fns, &t, &err), HANGAR_E_LIMIT);
    finish(&t);
}

static void one_call_at_a_time(void **state)
{
    (void)state;
    talk t;
    hangar_err err = {0};
    start(&t, "{}");
    hg_line *second;
    call(&t, "{\"op\":\"count\",\"n\":1000,\"every\":0.005}");
    assert_int_equal(try_call(&t, "{}", 0, &err), HANGAR_E_BUSY);
    assert_null(hg_line_lend(t.line, &err));
    assert_int_equal(err.code, HANGAR_E_BUSY);
    assert_int_equal(hg_line_open(loop, t.runner, on_gone, &t, &second, &err), HANGAR_E_BUSY);
    t.cancel_at = 2;
    until(&t.ends, 1);
    assert_int_equal(t.code, HANGAR_E_CANCELLED);
    finish(&t);
    hg_line_close(NULL);
}

/* ---- cancel ---- */

static void cancels(void **state)
{
    (void)state;
    talk t;
    start(&t, "{}");
    hg_line_cancel(t.line); /* before a call: nothing */
    /* before anything came */
    call(&t, "{\"op\":\"count\",\"n\":1000,\"every\":0.005}");
    hg_line_cancel(t.line);
    hg_line_cancel(t.line);
    until(&t.ends, 1);
    assert_int_equal(t.code, HANGAR_E_CANCELLED);
    assert_int_equal(t.pieces, 0);
    /* in the midst */
    call(&t, "{\"op\":\"count\",\"n\":1000,\"every\":0.005}");
    t.cancel_at = 3;
    double from = hg_now();
    until(&t.ends, 1);
    assert_int_equal(t.code, HANGAR_E_CANCELLED);
    assert_int_equal(t.pieces, 3);
    assert_true(hg_now() - from < 3);
    /* too late for the runner: DONE is on its way, and what is asked next is answered */
    for (int i = 0; i < 50; i++) {
        call(&t, "{\"op\":\"count\",\"n\":1}");
        t.cancel_at = 1;
        until(&t.ends, 1);
        assert_int_equal(t.code, HANGAR_E_CANCELLED);
        t.cancel_at = 0;
        call(&t, "{\"op\":\"count\",\"n\":5}");
        until(&t.ends, 1);
        assert_int_equal(t.code, HANGAR_OK);
        assert_int_equal(t.pieces, 5);
    }
    hg_line_cancel(t.line); /* after it: nothing */
    call(&t, "{\"op\":\"count\",\"n\":5}");
    until(&t.ends, 1);
    assert_int_equal(t.code, HANGAR_OK);
    assert_int_equal(t.gones, 0);
    finish(&t);
}

/* Who does not listen to a cancel is killed, whether silent or loud; the call is cancelled all the same. */
static void the_deaf_are_killed(void **state)
{
    (void)state;
    const char *const deaf[] = {"{\"op\":\"count\",\"n\":100000,\"every\":0.005,\"deaf\":true}",
                                "{\"op\":\"after\",\"n\":2,\"how\":\"hang\"}",
                                "{\"op\":\"after\",\"n\":2,\"how\":\"flood20000\"}"};
    talk t[3];
    pid_t pid[3];
    double from = hg_now();
    for (int i = 0; i < 3; i++) { /* all at once: each takes three seconds */
        start(&t[i], "{}");
        pid[i] = hg_runner_pid(t[i].runner);
        call(&t[i], deaf[i]);
        t[i].cancel_at = 2;
    }
    for (int i = 0; i < 3; i++) until(&t[i].gones, 1);
    assert_true(hg_now() - from >= 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(t[i].ends, 1);
        assert_int_equal(t[i].code, HANGAR_E_CANCELLED);
        assert_int_equal(t[i].pieces, 2);
        assert_int_equal(t[i].why.code, HANGAR_E_ENGINE);
        assert_non_null(strstr(t[i].why.msg, "gave no sign while working (nothing for 3 s)"));
        assert_no_process(pid[i]);
        finish(&t[i]);
    }
}

/* ---- runners that fail ---- */

static const struct {
    const char *how, *words;
} ends[] = {
    {"exit", "ended while working: exit code 1; its last words: the model has no head"},
    {"segv", "ended while working: killed by SIGSEGV"},
    {"kill", "ended while working: killed by SIGKILL"},
    {"halfexit", "ended while working: exit code 0"},
    {"garbage", "broke the protocol while working (not a frame: it begins with 73696874)"},
    {"huge", "over the limits"},
    {"large", "a frame of type 5 with 0 and 16777217 bytes is over the limits"},
    {"flags", "with flags 1"},
    {"type", "no frame type 99"},
    {"turn", "a frame of type 3 out of turn"},
    {"call", "a frame of type 4 out of turn"},
    {"badtick", "a TICK that is no JSON"},
    {"badfail", "a FAIL that is no JSON"},
    {"longfail", "over the limits"},
    {"fd", "a descriptor that nobody announced"},
};

/* In the first phase of a call and in its midst: the call ends, then it is told that the runner is gone, and nothing is left. */
static void fails_in_a_call(void **state)
{
    (void)state;
    size_t fds = open_fds();
    for (int pieces = 0; pieces < 2; pieces++)
        for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
            talk t;
            char json[128];
            start(&t, "{}");
            pid_t pid = hg_runner_pid(t.runner);
            snprintf(json, sizeof json, "{\"op\":\"after\",\"n\":%d,\"how\":\"%s\"}", pieces, ends[i].how);
            call(&t, json);
            until(&t.gones, 1);
            assert_int_equal(t.ends, 1);
            assert_false(t.disordered);
            /* a piece that comes in one read with a stray descriptor is not looked at any more */
            if (strcmp(ends[i].how, "fd") != 0) assert_int_equal(t.pieces, pieces);
            if (t.code != HANGAR_E_ENGINE || !strstr(t.err.msg, ends[i].words))
                fail_msg("%s: \"%s\" (wanted \"%s\")", ends[i].how, t.err.msg, ends[i].words);
            assert_string_equal(t.err.msg, t.why.msg);
            assert_no_process(pid);
            hangar_err err = {0};
            assert_int_equal(try_call(&t, "{}", 0, &err), HANGAR_E_ENGINE);
            assert_non_null(strstr(err.msg, "load the model again"));
            assert_null(hg_line_lend(t.line, &err));
            hg_line_kill(t.line, "once more");
            hg_line_cancel(t.line);
            hg_line_back(t.line);
            pass(0.01);
            assert_int_equal(t.gones, 1);
            assert_int_equal(t.ends, 1);
            finish(&t);
        }
    assert_int_equal(open_fds(), fds);
}

/* While nothing is asked of it. */
static void fails_while_idle(void **state)
{
    (void)state;
    const struct {
        const char *how, *words;
    } idle[] = {
        {"kill", "ended while waiting for a call: killed by SIGKILL"},
        {"exit", "exit code 1; its last words: the model has no head"},
        {"garbage", "not a frame"},
        {"piece", "a frame of type 5 out of turn"},
        {"byte", "1 bytes out of turn"},
        {"flood20000", "out of turn"},
        {"fd", "a descriptor that nobody announced"},
    };
    for (size_t i = 0; i < sizeof idle / sizeof *idle; i++) {
        talk t;
        char load[64];
        snprintf(load, sizeof load, "{\"idle\":\"%s\"}", idle[i].how);
        start(&t, load);
        until(&t.gones, 1);
        assert_int_equal(t.ends, 0);
        if (!strstr(t.why.msg, idle[i].words)) fail_msg("%s: \"%s\"", idle[i].how, t.why.msg);
        finish(&t);
    }
    /* what comes behind the end of a call: the call is good, the runner is not */
    talk t;
    start(&t, "{}");
    call(&t, "{\"op\":\"after\",\"how\":\"trail\"}");
    until(&t.ends, 1);
    assert_int_equal(t.code, HANGAR_OK);
    assert_int_equal(try_call(&t, "{}", 0, NULL), HANGAR_E_ENGINE);
    until(&t.gones, 1);
    assert_non_null(strstr(t.why.msg, "1 bytes behind the end of a call"));
    finish(&t);
}

/* Silent, stopped, or half a frame: killed when its time is over, and not before. */
static void gives_no_sign(void **state)
{
    (void)state;
    const char *const calls[] = {"{\"op\":\"after\",\"how\":\"hang\"}", "{\"op\":\"after\",\"how\":\"stop\"}",
                                 "{\"op\":\"after\",\"n\":3,\"how\":\"stop\"}",
                                 "{\"op\":\"after\",\"n\":3,\"how\":\"half\"}"};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        talk t;
        start(&t, "{}");
        pid_t pid = hg_runner_pid(t.runner);
        double from = hg_now();
        assert_int_equal(try_call(&t, calls[i], 0.4, NULL), HANGAR_OK);
        until(&t.gones, 1);
        assert_true(hg_now() - from >= 0.4);
        assert_int_equal(t.pieces, i < 2 ? 0 : 3);
        assert_int_equal(t.code, HANGAR_E_ENGINE);
        assert_non_null(strstr(t.err.msg, "gave no sign while working (nothing for 0.4 s) and was ended"));
        assert_no_process(pid);
        finish(&t);
    }
    /* each frame is a sign */
    talk t;
    start(&t, "{}");
    assert_int_equal(try_call(&t, "{\"op\":\"count\",\"n\":20,\"every\":0.05}", 0.8, NULL), HANGAR_OK);
    until(&t.ends, 1);
    assert_int_equal(t.code, HANGAR_OK);
    /* a loop that was held up finds the answer first */
    t.ends = 0;
    assert_int_equal(try_call(&t, "{\"op\":\"nothing\"}", 0.1, NULL), HANGAR_OK);
    hg_sleep(0.4);
    until(&t.ends, 1);
    assert_int_equal(t.code, HANGAR_OK);
    finish(&t);
}

/* Pieces without end cost time, not memory. */
static void floods_stay_flat(void **state)
{
    (void)state;
    const char *const floods[] = {"{\"op\":\"after\",\"how\":\"flood0\"}",
                                  "{\"op\":\"after\",\"how\":\"flood2000000\"}"};
    for (int i = 0; i < 2; i++) {
        talk t;
        start(&t, "{}");
        call(&t, floods[i]);
        pass(0.3);
        size_t before = resident();
        pass(1);
        assert_true(t.pieces > 10);
        size_t after = resident();
        if (after > before + (8 << 20)) fail_msg("%zu -> %zu", before, after);
        hg_line_kill(t.line, "it talks too much");
        until(&t.gones, 1);
        assert_int_equal(t.ends, 1);
        assert_int_equal(t.code, HANGAR_E_ENGINE);
        assert_string_equal(t.err.msg, "it talks too much");
        assert_string_equal(t.why.msg, "it talks too much");
        finish(&t);
    }
}

/* ---- killed, lent, closed ---- */

static void killed_in_each_phase(void **state)
{
    (void)state;
    for (int phase = 0; phase < 4; phase++) {
        talk t;
        start(&t, "{}");
        pid_t pid = hg_runner_pid(t.runner);
        if (phase > 0) call(&t, "{\"op\":\"count\",\"n\":1000,\"every\":0.005}");
        if (phase == 2) t.kill_at = 2;
        if (phase == 3) {
            hg_line_cancel(t.line);
            hg_line_kill(t.line, "it was time");
        }
        if (phase < 2) hg_line_kill(t.line, "it was time");
        assert_int_equal(t.gones, 0); /* later */
        until(&t.gones, 1);
        assert_int_equal(t.ends, phase > 0);
        if (phase > 0) assert_int_equal(t.code, phase == 3 ? HANGAR_E_CANCELLED : HANGAR_E_ENGINE);
        assert_int_equal(t.pieces, phase == 2 ? 2 : 0);
        assert_string_equal(t.why.msg, "it was time");
        assert_no_process(pid);
        finish(&t);
    }
}

typedef struct blocking {
    hg_runner *runner;
    const char *json;
    hangar_code code;
    int done;
} blocking;

static void block(void *ctx)
{
    blocking *b = ctx;
    hg_frame done;
    b->code = hg_runner_call(b->runner, hg_str_of(b->json), NULL, 0, NULL, NULL, NULL, &done, NULL);
    hg_frame_deinit(&done);
}

static void blocked(void *ctx)
{
    blocking *b = ctx;
    b->done++;
    hg_loop_stop(loop);
}

static void lends(void **state)
{
    (void)state;
    talk t;
    hangar_err err = {0};
    start(&t, "{}");
    for (int i = 0; i < 20; i++) {
        blocking b = {.runner = hg_line_lend(t.line, &err), .json = "{\"op\":\"count\",\"n\":50}"};
        assert_non_null(b.runner);
        assert_int_equal(try_call(&t, "{}", 0, &err), HANGAR_E_BUSY);
        assert_null(hg_line_lend(t.line, &err));
        assert_int_equal(hg_loop_work(loop, block, blocked, &b, NULL), HANGAR_OK);
        until(&b.done, 1);
        assert_int_equal(b.code, HANGAR_OK);
        hg_line_back(t.line);
        call(&t, "{\"op\":\"count\",\"n\":5}");
        until(&t.ends, 1);
        assert_int_equal(t.code, HANGAR_OK);
        assert_int_equal(t.pieces, 5);
    }
    /* it dies in its use */
    blocking b = {.runner = hg_line_lend(t.line, &err), .json = "{\"op\":\"after\",\"how\":\"segv\"}"};
    assert_int_equal(hg_loop_work(loop, block, blocked, &b, NULL), HANGAR_OK);
    until(&b.done, 1);
    assert_int_equal(b.code, HANGAR_E_ENGINE);
    assert_int_equal(t.gones, 0);
    hg_line_back(t.line);
    assert_int_equal(try_call(&t, "{}", 0, &err), HANGAR_E_ENGINE);
    until(&t.gones, 1);
    assert_non_null(strstr(t.why.msg, "killed by SIGSEGV"));
    finish(&t);
    /* it is killed in its use */
    start(&t, "{}");
    b = (blocking){.runner = hg_line_lend(t.line, &err), .json = "{\"op\":\"after\",\"how\":\"hang\"}"};
    assert_int_equal(hg_loop_work(loop, block, blocked, &b, NULL), HANGAR_OK);
    pass(0.05);
    hg_line_kill(t.line, "it was time");
    until(&b.done, 1);
    assert_int_equal(b.code, HANGAR_E_ENGINE);
    hg_line_back(t.line);
    until(&t.gones, 1);
    assert_string_equal(t.why.msg, "it was time");
    finish(&t);
    /* it is killed before its use has begun */
    start(&t, "{}");
    assert_non_null(hg_line_lend(t.line, &err));
    hg_line_kill(t.line, "before");
    hg_line_back(t.line);
    until(&t.gones, 1);
    assert_string_equal(t.why.msg, "before");
    finish(&t);
}

/* Closed inside every callback, and while a worker ends the child; runner and line are freed at once. */
static void closed_inside(void **state)
{
    (void)state;
    static const int pieces[] = {2, 0, 100, 1, 0, 0, 1};
    size_t fds = open_fds();
    for (int where = 0; where < 7; where++) {
        talk t;
        start(&t, "{}");
        pid_t pid = hg_runner_pid(t.runner);
        if (where == 0) t.close_at = 2;
        if (where == 1) t.close_at = -2;
        if (where == 2) t.close_in_end = true;
        if (where == 3) t.close_in_gone = true;
        if (where == 6) t.close_in_end = true;
        const char *json = where == 1   ? "{\"op\":\"tick\"}"
                           : where == 3 ? "{\"op\":\"after\",\"n\":1,\"how\":\"kill\"}"
                           : where == 6 ? "{\"op\":\"after\",\"n\":1,\"how\":\"trail\"}"
                                        : "{\"op\":\"count\",\"n\":100}";
        call(&t, json);
        if (where == 4) {
            hg_line_kill(t.line, "it was time");
            close_line(&t);
        }
        if (where == 5) close_line(&t);
        while (t.line) {
            hg_timer_set(limit, 60, 0);
            hg_loop_run(loop);
        }
        hg_runner_end(t.runner);
        pass(0.05);
        assert_int_equal(t.pieces, pieces[where]);
        assert_int_equal(t.ends, where == 2 || where == 3 || where == 6);
        assert_int_equal(t.gones, where == 3);
        for (int i = 0; i < 5000 && kill(pid, 0) == 0; i++) pass(0.01); /* a worker is at it */
        assert_no_process(pid);
    }
    pass(0.05);
    assert_int_equal(open_fds(), fds);
}

/* ---- everything at random ---- */

static uint64_t seed = 20240917;

/* SplitMix64: the same course each time. */
static unsigned any(unsigned below)
{
    seed += 0x9e3779b97f4a7c15u;
    uint64_t z = seed;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (unsigned)((z ^ z >> 31) % below);
}

/* One step: a call, and perhaps a cancel, a kill from here or from outside, at a random moment. */
static void random_step(talk *t)
{
    char json[96];
    unsigned n = any(12);
    snprintf(json, sizeof json, "{\"op\":\"count\",\"n\":%u%s}", n, any(8) == 0 ? ",\"every\":0.0005" : "");
    call(t, json);
    int gones = t->gones;
    unsigned what = any(100);
    t->cancel_at = what < 30 ? 1 + (int)any(n + 1) : 0;
    t->kill_at = what == 99 ? 1 + (int)any(n + 1) : 0;
    if (what >= 30 && what < 40) hg_line_cancel(t->line);
    if (what == 98) hg_line_kill(t->line, "it was time");
    if (what == 97) kill(hg_runner_pid(t->runner), SIGKILL);
    until(&t->ends, 1);
    assert_false(t->disordered);
    bool cancelled = (t->cancel_at && t->pieces >= t->cancel_at) || (what >= 30 && what < 40);
    if (t->code == HANGAR_OK) assert_int_equal(t->pieces, n);
    else if (cancelled) assert_int_equal(t->code, HANGAR_E_CANCELLED);
    else assert_int_equal(t->code, HANGAR_E_ENGINE);
    assert_false(cancelled && t->code == HANGAR_OK);
    if (what >= 97 && t->code != HANGAR_OK) until(&t->gones, gones + 1);
}

static void anything(void **state)
{
    (void)state;
    size_t fds = open_fds();
    talk t;
    start(&t, "{}");
#ifdef HG_SANITIZED
    const int steps = 3000; /* each takes some times as long */
#else
    const int steps = 10000;
#endif
    for (int i = 0; i < steps; i++) {
        random_step(&t);
        pass(0);
        if (t.gones == 0 && any(1000) > 0) continue;
        if (any(2) == 0) { /* with a call still going on */
            if (t.gones == 0) call(&t, "{\"op\":\"count\",\"n\":5}");
            hg_line_close(t.line);
            hg_runner_end(t.runner);
        } else {
            finish(&t);
        }
        start(&t, "{}");
    }
    finish(&t);
    assert_int_equal(open_fds(), fds);
}

int main(int argc, char **argv)
{
    const char *base = argc > 0 ? strrchr(argv[0], '/') : NULL;
    base = base ? base + 1 : argc > 0 ? argv[0] : "";
    if (strcmp(base, "line-runner") == 0) play();
    char here[4096], self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (!getcwd(here, sizeof here) || n <= 0) return 1;
    self[n] = '\0';
    if (symlink(self, "line-runner") != 0) return 1;
    setenv("HANGAR_RUNNERS", here, 1);
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(pieces_in_order),
        TEST(large_frames),
        TEST(one_call_at_a_time),
        TEST(cancels),
        TEST(the_deaf_are_killed),
        TEST(fails_in_a_call),
        TEST(fails_while_idle),
        TEST(gives_no_sign),
        TEST(floods_stay_flat),
        TEST(killed_in_each_phase),
        TEST(lends),
        TEST(closed_inside),
        TEST(anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
