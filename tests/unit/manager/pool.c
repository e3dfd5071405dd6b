/* SPDX-License-Identifier: Apache-2.0 */
/* ctest: waits long */
/*
 * The pool with runners that do what a test wants (this program, started anew as one: fake_runner) and with the real one. What a fake does in a call
 * stands in its prompt, what it does when it loads in the name of its repository.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "at.h"
#include "base/clock.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "base/proc.h"
#include "manager/metrics.h"
#include "manager/pool.h"

#define LONG  60.0 /* seconds for what happens at once on a machine that is not busy */
#define FAKES 5

/* ---- the fake runner ---- */

static void send_text(hg_wire_type type, const char *json)
{
    (void)!hg_wire_send(3, type, hg_str_of(json), NULL, 0, NULL);
}

static void fake_load(const hg_jval *doc)
{
    const char *model = hg_json_text_or(hg_json_get(doc, "model"), "");
    if (strstr(model, "--crashload")) abort();
    if (strstr(model, "--noload")) {
        send_text(HG_WIRE_FAIL, "{\"code\":\"ENGINE\",\"message\":\"this one does not load\"}");
        return;
    }
    for (int i = 0; strstr(model, "--slowload") && i < 30; i++) {
        send_text(HG_WIRE_TICK, "{\"done\":1,\"total\":4}");
        hg_sleep(0.01);
    }
    send_text(HG_WIRE_READY, "{\"description\":\"fake\"}");
}

/* Takes memory, 800 MiB at most, and waits to be killed. */
static void fake_grow(void)
{
    static char *volatile kept; /* so that nobody finds the memory unused */
    for (unsigned i = 0;; i++) {
        if (i < 100) kept = malloc(8 * HG_MIB);
        if (i < 100 && kept) memset(kept, 1, 8 * HG_MIB);
        send_text(HG_WIRE_TICK, "{\"done\":0,\"total\":0}");
        hg_sleep(0.002);
    }
}

static void fake_call(const hg_jval *doc)
{
    static bool deaf;
    const char *op = hg_json_text_or(hg_json_get(doc, "op"), "");
    const char *prompt = hg_json_text_or(hg_json_get(doc, "prompt"), "");
    if (hg_streq(op, "probe") && deaf) raise(SIGSTOP);
    if (hg_streq(prompt, "crash")) abort();
    if (hg_streq(prompt, "deaf")) deaf = true;
    if (hg_streq(prompt, "grow")) fake_grow();
    if (hg_streq(prompt, "wait"))
        while (!hg_wire_pending(3)) hg_sleep(0.002);
    send_text(HG_WIRE_DONE, "{\"finish\":\"stop\"}");
}

static int fake_runner(void)
{
    hg_proc_die_with_parent();
    send_text(HG_WIRE_HELLO, "{\"engine\":\"llama\",\"version\":\"fake\",\"protocol\":1}");
    for (;;) {
        hg_frame frame = {0};
        if (hg_wire_recv(3, -1, &frame, NULL) != HANGAR_OK) return 0;
        if (frame.type == HG_WIRE_LOAD) fake_load(hg_json_root(frame.doc));
        if (frame.type == HG_WIRE_CALL) fake_call(hg_json_root(frame.doc));
        hg_frame_deinit(&frame);
    }
}

/* ---- the world of a test ---- */

typedef struct world {
    hangar *h;
    hg_loop *loop;
    hg_why *why;
    hg_pool *pool;
    hg_timer *timer;
    hg_entry fakes[FAKES];
    unsigned watched;
    bool closed;
} world;

static world w;
static char real_runners[1024], fake_runners[1024];

/* One who wants a model. Static in the tests: what a failed test leaves behind may still be called back. */
typedef struct guest {
    hg_turn *turn; /* NULL once it is over */
    hg_slot *slot;
    hangar_code code;
    hangar_err err;
    bool told;
    /* of a call */
    hangar_code call_code;
    hangar_err call_err;
    bool calling, call_ended;
} guest;

static void on_told(void *ctx, hg_slot *slot, hangar_code code, const hangar_err *err)
{
    guest *g = ctx;
    assert_false(g->told);
    g->told = true;
    g->slot = slot;
    g->code = code;
    if (err) g->err = *err;
    assert_int_equal(slot != NULL && code == HANGAR_OK, code == HANGAR_OK && slot);
    if (code != HANGAR_OK) g->turn = NULL;
}

/* In line for an entry. */
static void take(guest *g, const hg_entry *entry, double keep_alive)
{
    *g = (guest){0};
    hg_turn *turn = NULL;
    assert_int_equal(hg_pool_take(w.pool, entry, keep_alive, on_told, g, &turn, NULL), HANGAR_OK);
    if (!g->told || g->code == HANGAR_OK) g->turn = turn;
}

static void leave(guest *g)
{
    hg_turn_end(g->turn);
    g->turn = NULL;
}

static void on_call_end(void *ctx, hangar_code code, const hg_raw *done, const hangar_err *err)
{
    guest *g = ctx;
    assert_int_equal(done != NULL, code == HANGAR_OK);
    g->call_ended = true;
    g->call_code = code;
    if (err) g->call_err = *err;
}

static void on_piece(void *ctx, const hg_raw *piece)
{
    (void)ctx, (void)piece;
}

static void call(guest *g, const char *prompt)
{
    static const hg_line_fns fns = {.piece = on_piece, .end = on_call_end};
    char text[256];
    snprintf(text, sizeof text, "{\"op\":\"generate\",\"prompt\":\"%s\",\"max_tokens\":3,\"temperature\":0}",
             prompt);
    g->call_ended = false;
    hangar_err err = {0};
    if (hg_line_call(hg_slot_line(g->slot), &(hg_parcel){.json = hg_str_of(text)}, 0, &fns, g, &err) !=
        HANGAR_OK)
        fail_msg("%s", err.msg);
}

static void stop(void *ctx)
{
    (void)ctx;
    hg_loop_stop(w.loop);
}

/* The loop, for a moment. */
static void turn_loop(double seconds)
{
    hg_timer_set(w.timer, seconds, 0);
    hg_loop_run(w.loop);
}

#define UNTIL(cond)                                                    \
    do {                                                               \
        for (double end_ = hg_now() + LONG; !(cond); turn_loop(0.002)) \
            if (hg_now() > end_) fail_msg("not in time: %s", #cond);   \
    } while (0)

static void on_watch(void *ctx)
{
    (void)ctx;
    w.watched++;
    uint64_t budget, used;
    hg_pool_memory(w.pool, &budget, &used);
    for (size_t i = 0; i < hg_pool_count(w.pool); i++) {
        hg_slot_info info;
        assert_true(hg_pool_info(w.pool, i, &info));
        assert_true(info.state != HG_SLOT_READY || info.pid > 0);
    }
}

static hg_slot_info info_of(const hg_entry *e)
{
    hg_slot_info info = {.state = (hg_slot_state)-1};
    (void)hg_pool_info_of(w.pool, e, &info);
    return info;
}

static bool is_there(const hg_entry *e)
{
    hg_slot_info info;
    return hg_pool_info_of(w.pool, e, &info);
}

static bool in_state(const hg_entry *e, hg_slot_state state)
{
    return info_of(e).state == state;
}

/* The latest line of a kind; "" when there is none. The caller's. */
static char *why(const char *kind)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *out = hg_jw_new();
    HG_AUTO(hg_auto_free) char *text = NULL;
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hg_jw_arr(out, NULL);
    hg_why_write(w.why, kind, NULL, 1, out);
    assert_int_equal(hg_jw_finish(out, false, &text, NULL), HANGAR_OK);
    assert_int_equal(hg_json_parse(hg_str_of(text), NULL, &doc, NULL), HANGAR_OK);
    const hg_jval *line = hg_json_at(hg_json_root(doc), 0);
    return hg_format("%s: %s", hg_json_text_or(hg_json_get(line, "model"), ""),
                     hg_json_text_or(hg_json_get(line, "text"), ""));
}

#define EXPECT_WORDS(text, words)                                                          \
    do {                                                                                   \
        if (!strstr((text), (words))) fail_msg("'%s' does not say '%s'", (text), (words)); \
    } while (0)

/* ---- setting up ---- */

static void make_script(const char *dir)
{
    char self[1024], path[1100], text[1200];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = '\0';
    assert_int_equal(hg_mkdirs(dir, 0700, NULL), HANGAR_OK);
    snprintf(path, sizeof path, "%s/hangar-runner-llama", dir);
    snprintf(text, sizeof text, "#!/bin/sh\nexec '%s' --runner\n", self);
    assert_int_equal(hg_write_file(path, text, strlen(text), 0700, NULL), HANGAR_OK);
    assert_int_equal(chmod(path, 0700), 0);
}

static void add_model(hangar *h, const char *name)
{
    char file[1200];
    hangar_err err = {0};
    char *json = NULL;
    snprintf(file, sizeof file, "%s/models/hangar-labs/tiny-chat-gguf/tiny-chat-Q8_0.gguf",
             getenv("HANGAR_TOP"));
    if (hangar_model_exists(h, name, NULL) == HANGAR_OK) return;
    if (hangar_model_add(h, file, name, NULL, &json, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    free(json);
}

static void set_entry(hg_entry *e, const char *name)
{
    *e = (hg_entry){.name = (char *)(uintptr_t)name,
                    .ref = (char *)(uintptr_t)name,
                    .path = (char *)(uintptr_t) "",
                    .kind = HG_ENTRY_LOCAL,
                    .keep_alive = NAN};
}

static const char *const names[FAKES] = {"fake/a", "fake/b", "fake/c", "fake/d", "fake/slowload"};

static int set_up(void **state)
{
    (void)state;
    hangar_err err = {0};
    w = (world){0};
    setenv("HANGAR_RUNNERS", fake_runners, 1);
    if (hangar_open(NULL, &w.h, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    for (size_t i = 0; i < FAKES; i++) {
        add_model(w.h, names[i]);
        set_entry(&w.fakes[i], names[i]);
    }
    hg_settings *s = w.h->settings;
    s->serve_probe_interval = 1000;
    s->serve_restart_backoff = 0.05;
    assert_int_equal(hg_loop_new(&w.loop, NULL), HANGAR_OK);
    w.why = hg_why_new();
    assert_int_equal(hg_timer_new(w.loop, stop, NULL, &w.timer, NULL), HANGAR_OK);
    assert_int_equal(hg_pool_new(w.h, w.loop, w.why, &w.pool, NULL), HANGAR_OK);
    assert_int_equal(hg_pool_watch(w.pool, on_watch, NULL, NULL), HANGAR_OK);
    return 0;
}

/* Begins the pool anew, with other settings. */
static void renew_pool(void);

static void on_closed(void *ctx)
{
    (void)ctx;
    w.closed = true;
}

static void close_pool(void)
{
    w.closed = false;
    hg_pool_close(w.pool, on_closed, NULL);
    UNTIL(w.closed);
    assert_int_equal(hg_pool_count(w.pool), 0);
    hg_pool_free(w.pool);
    w.pool = NULL;
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left, dead or alive */
    assert_int_equal(errno, ECHILD);
}

static void renew_pool(void)
{
    close_pool();
    assert_int_equal(hg_pool_new(w.h, w.loop, w.why, &w.pool, NULL), HANGAR_OK);
    assert_int_equal(hg_pool_watch(w.pool, on_watch, NULL, NULL), HANGAR_OK);
}

static int tear_down(void **state)
{
    (void)state;
    if (w.pool) close_pool();
    hg_timer_free(w.timer);
    hg_loop_free(w.loop);
    hg_why_free(w.why);
    hangar_close(w.h);
    return 0;
}

/* What one fake model is estimated to need, and what its runner really has. */
static void sizes(uint64_t *estimated, uint64_t *measured)
{
    static guest g;
    uint64_t budget;
    take(&g, &w.fakes[4], NAN);
    UNTIL(info_of(&w.fakes[4]).memory > 0);
    hg_pool_memory(w.pool, &budget, estimated);
    *estimated = info_of(&w.fakes[4]).memory;
    UNTIL(g.told);
    assert_int_equal(g.code, HANGAR_OK);
    *measured = info_of(&w.fakes[4]).memory;
    leave(&g);
    assert_int_equal(hg_pool_unload(w.pool, &w.fakes[4], false, NULL, NULL, NULL), HANGAR_OK);
    UNTIL(hg_pool_count(w.pool) == 0);
    assert_true(*estimated > 0 && *measured > 0);
}

static void use(const hg_entry *e, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        static guest g;
        take(&g, e, NAN);
        UNTIL(g.told);
        if (g.code != HANGAR_OK) fail_msg("%s: %s", e->name, g.err.msg);
        call(&g, "ok");
        UNTIL(g.call_ended);
        assert_int_equal(g.call_code, HANGAR_OK);
        leave(&g);
        UNTIL(!in_state(e, HG_SLOT_BUSY));
    }
}

/* ---- tests ---- */

static void test_shared_load(void **state)
{
    (void)state;
    static guest g[4];
    for (size_t i = 0; i < 4; i++) take(&g[i], &w.fakes[4], NAN);
    UNTIL(info_of(&w.fakes[4]).progress == 0.25);
    hg_slot_info info = info_of(&w.fakes[4]);
    assert_int_equal(info.state, HG_SLOT_LOADING);
    assert_string_equal(info.phase, "loading");
    assert_int_equal(info.waiting, 4);
    UNTIL(g[0].told);
    int pid = info_of(&w.fakes[4]).pid;
    for (size_t i = 0; i < 4; i++) {
        UNTIL(g[i].told);
        assert_int_equal(g[i].code, HANGAR_OK);
        for (size_t k = i + 1; k < 4; k++) assert_false(g[k].told); /* first come, first served */
        assert_int_equal(info_of(&w.fakes[4]).state, HG_SLOT_BUSY);
        assert_ptr_equal(hg_slot_model(g[i].slot)->loader, &hg_loader_llama);
        call(&g[i], "ok");
        UNTIL(g[i].call_ended);
        leave(&g[i]);
    }
    UNTIL(in_state(&w.fakes[4], HG_SLOT_READY));
    info = info_of(&w.fakes[4]);
    assert_int_equal(info.pid, pid);
    assert_int_equal(info.uses, 4);
    assert_int_equal(info.restarts, 0);
    assert_string_equal(info.loader, "llama");
    assert_true(info.load_seconds > 0.2 && info.loaded_at > 1000000000);
    assert_true(w.watched > 3);
    /* Now that it is there, a turn is given at once. */
    take(&g[0], &w.fakes[4], NAN);
    assert_true(g[0].told);
    leave(&g[0]);
}

static void test_queue(void **state)
{
    (void)state;
    w.h->settings->serve_queue = 2;
    w.h->settings->serve_queue_timeout = 0.3;
    static guest g[5];
    take(&g[0], &w.fakes[0], NAN);
    UNTIL(g[0].told);
    take(&g[1], &w.fakes[0], NAN);
    take(&g[2], &w.fakes[0], NAN);
    take(&g[3], &w.fakes[0], NAN);
    assert_true(g[3].told && g[3].code == HANGAR_E_OVERLOADED);
    EXPECT_WORDS(g[3].err.msg, "2 requests wait for fake/a already");
    leave(&g[2]); /* whoever leaves makes room */
    take(&g[4], &w.fakes[0], NAN);
    assert_false(g[4].told);
    UNTIL(g[1].told && g[4].told);
    assert_int_equal(g[1].code, HANGAR_E_OVERLOADED);
    assert_int_equal(g[4].code, HANGAR_E_OVERLOADED);
    EXPECT_WORDS(g[1].err.msg, "serve.queue_timeout");
    HG_AUTO(hg_auto_free) char *text = why("refusal");
    EXPECT_WORDS(text, "fake/a: ");
    leave(&g[0]);
}

static void test_eviction(void **state)
{
    (void)state;
    uint64_t estimated, measured;
    sizes(&estimated, &measured);
    w.h->settings->serve_memory = estimated + measured + measured / 2;
    renew_pool();
    use(&w.fakes[0], 3);
    use(&w.fakes[1], 1);
    use(&w.fakes[2], 1);
    assert_true(is_there(&w.fakes[0]) && is_there(&w.fakes[2]));
    UNTIL(!is_there(&w.fakes[1]));
    HG_AUTO(hg_auto_free) char *text = why("eviction");
    EXPECT_WORDS(text, "fake/b: left for fake/c, which needs ");
    /* What is pinned stays, whatever it is worth. */
    w.fakes[2].pinned = true;
    use(&w.fakes[3], 1);
    assert_true(is_there(&w.fakes[2]));
    UNTIL(!is_there(&w.fakes[0]));
    static guest g;
    w.fakes[3].pinned = true;
    take(&g, &w.fakes[0], NAN);
    UNTIL(g.told);
    assert_int_equal(g.code, HANGAR_E_LIMIT);
    EXPECT_WORDS(g.err.msg, "are pinned");
    UNTIL(!is_there(&w.fakes[0]));
    assert_true(is_there(&w.fakes[2]) && is_there(&w.fakes[3]));
}

static void test_never_fits(void **state)
{
    (void)state;
    w.h->settings->serve_memory = 1000;
    renew_pool();
    static guest g;
    take(&g, &w.fakes[0], NAN);
    UNTIL(g.told);
    assert_int_equal(g.code, HANGAR_E_LIMIT);
    EXPECT_WORDS(g.err.msg, "all models together have 1.0 kB");
    UNTIL(hg_pool_count(w.pool) == 0);
    HG_AUTO(hg_auto_free) char *text = why("refusal");
    EXPECT_WORDS(text, "fake/a: fake/a needs ");
}

static void test_waiting_for_memory(void **state)
{
    (void)state;
    uint64_t estimated, measured;
    sizes(&estimated, &measured);
    w.h->settings->serve_memory = estimated + measured / 2;
    w.h->settings->serve_queue_timeout = 1;
    renew_pool();
    static guest a, b;
    take(&a, &w.fakes[0], NAN);
    UNTIL(a.told);
    take(&b, &w.fakes[1], NAN);
    UNTIL(b.told);
    assert_int_equal(b.code, HANGAR_E_OVERLOADED);
    EXPECT_WORDS(b.err.msg, "and nothing left for");
    UNTIL(!is_there(&w.fakes[1]));
    take(&b, &w.fakes[1], NAN);
    UNTIL(hg_streq(info_of(&w.fakes[1]).phase, "waiting"));
    leave(&a);
    UNTIL(b.told);
    if (b.code != HANGAR_OK) fail_msg("%s", b.err.msg);
    assert_false(is_there(&w.fakes[0]));
    leave(&b);
}

/* A model with a line that never ends has to let others in, too. */
static void test_no_starving(void **state)
{
    (void)state;
    uint64_t estimated, measured;
    sizes(&estimated, &measured);
    w.h->settings->serve_memory = estimated + measured / 2;
    renew_pool();
    static guest a[2], b;
    take(&a[0], &w.fakes[0], NAN);
    take(&a[1], &w.fakes[0], NAN);
    UNTIL(a[0].told);
    take(&b, &w.fakes[1], NAN);
    for (unsigned i = 0; !b.told; i = !i) {
        UNTIL(a[i].told || b.told);
        if (!a[i].told) break;
        turn_loop(0.05);
        leave(&a[i]);
        take(&a[i], &w.fakes[0], NAN);
    }
    assert_int_equal(b.code, HANGAR_OK);
    leave(&b);
    UNTIL(a[0].told || a[1].told); /* and those in line are not lost */
    UNTIL(in_state(&w.fakes[0], HG_SLOT_BUSY));
    for (unsigned i = 0; i < 2; i++) {
        UNTIL(a[i].told || a[!i].told);
        unsigned holder = a[i].turn && a[i].told ? i : !i;
        leave(&a[holder]);
        if (a[!holder].turn) {
            UNTIL(a[!holder].told);
            leave(&a[!holder]);
        }
        break;
    }
}

static void test_idle(void **state)
{
    (void)state;
    static guest g;
    take(&g, &w.fakes[0], 0.2);
    UNTIL(g.told);
    leave(&g);
    UNTIL(in_state(&w.fakes[0], HG_SLOT_READY));
    double left = info_of(&w.fakes[0]).expires_in;
    assert_true(left >= 0 && left <= 0.2);
    UNTIL(!is_there(&w.fakes[0]));
    HG_AUTO(hg_auto_free) char *text = why("unload");
    EXPECT_WORDS(text, "fake/a: idle; it had ");
    take(&g, &w.fakes[0], 0);
    UNTIL(g.told);
    int pid = info_of(&w.fakes[0]).pid;
    leave(&g);
    UNTIL(!is_there(&w.fakes[0]));
    assert_int_equal(kill(pid, 0), -1);
    /* For ever, as the entry says, for the shortest time. */
    w.fakes[0].keep_alive = 0.05;
    take(&g, &w.fakes[0], -1);
    UNTIL(g.told);
    leave(&g);
    turn_loop(0.3);
    assert_true(in_state(&w.fakes[0], HG_SLOT_READY));
    assert_true(info_of(&w.fakes[0]).expires_in < 0);
    take(&g, &w.fakes[0], NAN);
    leave(&g);
    UNTIL(!is_there(&w.fakes[0]));
    w.fakes[0].keep_alive = 0.05;
    w.fakes[0].pinned = true;
    take(&g, &w.fakes[0], NAN);
    UNTIL(g.told);
    leave(&g);
    turn_loop(0.3);
    assert_true(in_state(&w.fakes[0], HG_SLOT_READY));
}

static void test_crash(void **state)
{
    (void)state;
    static guest g, next;
    take(&g, &w.fakes[0], NAN);
    take(&next, &w.fakes[0], NAN);
    UNTIL(g.told);
    call(&g, "crash");
    UNTIL(g.call_ended);
    assert_int_equal(g.call_code, HANGAR_E_ENGINE);
    EXPECT_WORDS(g.call_err.msg, "SIGABRT");
    UNTIL(in_state(&w.fakes[0], HG_SLOT_FAILED));
    EXPECT_WORDS(info_of(&w.fakes[0]).error, "SIGABRT");
    turn_loop(0.1); /* the runner is not freed below its user */
    assert_non_null(hg_slot_model(g.slot));
    assert_non_null(hg_slot_line(g.slot));
    leave(&g);
    UNTIL(next.told);
    if (next.code != HANGAR_OK) fail_msg("%s", next.err.msg);
    assert_int_equal(info_of(&w.fakes[0]).restarts, 1);
    call(&next, "ok");
    UNTIL(next.call_ended);
    assert_int_equal(next.call_code, HANGAR_OK);
    leave(&next);
    HG_AUTO(hg_auto_free) char *text = why("restart");
    EXPECT_WORDS(text, "tried again in");
}

static void test_wanted_comes_back(void **state)
{
    (void)state;
    static guest g = {0};
    assert_int_equal(hg_pool_load(w.pool, &w.fakes[0], true, NAN, on_told, &g, NULL), HANGAR_OK);
    UNTIL(g.told);
    assert_int_equal(g.code, HANGAR_OK);
    assert_null(g.slot);
    hg_slot_info info = info_of(&w.fakes[0]);
    assert_true(info.wanted && info.state == HG_SLOT_READY);
    assert_int_equal(kill(info.pid, SIGKILL), 0);
    UNTIL(info_of(&w.fakes[0]).restarts == 1 && in_state(&w.fakes[0], HG_SLOT_READY));
    assert_true(info_of(&w.fakes[0]).pid != info.pid);
    /* One that nobody wants for good is loaded when somebody asks. */
    use(&w.fakes[1], 1);
    assert_int_equal(kill(info_of(&w.fakes[1]).pid, SIGKILL), 0);
    UNTIL(in_state(&w.fakes[1], HG_SLOT_FAILED));
    turn_loop(0.3);
    assert_true(in_state(&w.fakes[1], HG_SLOT_FAILED));
    use(&w.fakes[1], 1);
    /* A load of what is there is told at once. */
    g = (guest){0};
    assert_int_equal(hg_pool_load(w.pool, &w.fakes[0], false, NAN, on_told, &g, NULL), HANGAR_OK);
    UNTIL(g.told);
    assert_int_equal(g.code, HANGAR_OK);
}

static void test_quarantine(void **state)
{
    (void)state;
    static hg_entry bad; /* the pool may look at them until it is closed */
    static guest g = {0};
    add_model(w.h, "fake/crashload");
    set_entry(&bad, "fake/crashload");
    w.h->settings->serve_restart_limit = 3;
    w.h->settings->serve_restart_backoff = 0.02;
    assert_int_equal(hg_pool_load(w.pool, &bad, true, NAN, on_told, &g, NULL), HANGAR_OK);
    UNTIL(g.told);
    assert_int_equal(g.code, HANGAR_E_ENGINE);
    UNTIL(in_state(&bad, HG_SLOT_QUARANTINED));
    assert_int_equal(info_of(&bad).restarts, 2);
    EXPECT_WORDS(info_of(&bad).error, "SIGABRT");
    take(&g, &bad, NAN);
    assert_true(g.told && g.code == HANGAR_E_ENGINE);
    EXPECT_WORDS(g.err.msg, "left alone until `hangar load fake/crashload`");
    HG_AUTO(hg_auto_free) char *text = why("quarantine");
    EXPECT_WORDS(text, "after 3 failures in a row");
    g = (guest){0};
    assert_int_equal(hg_pool_load(w.pool, &bad, false, NAN, on_told, &g, NULL), HANGAR_OK);
    UNTIL(g.told);
    assert_int_equal(g.code, HANGAR_E_ENGINE);
    UNTIL(in_state(&bad, HG_SLOT_QUARANTINED)); /* it is wanted still: three more */
    g = (guest){0};
    assert_int_equal(hg_pool_unload(w.pool, &bad, false, on_told, &g, NULL), HANGAR_OK);
    UNTIL(g.told && !is_there(&bad));
}

/* What fails by itself fails those who wait for it, and is shown; what is not there leaves nothing behind. */
static void test_failed_loads(void **state)
{
    (void)state;
    static hg_entry bad, none; /* the pool may look at them until it is closed */
    static guest g[2];
    add_model(w.h, "fake/noload");
    set_entry(&bad, "fake/noload");
    set_entry(&none, "fake/nowhere");
    take(&g[0], &bad, NAN);
    take(&g[1], &bad, NAN);
    UNTIL(g[0].told && g[1].told);
    assert_int_equal(g[0].code, HANGAR_E_ENGINE);
    assert_int_equal(g[1].code, HANGAR_E_ENGINE);
    EXPECT_WORDS(g[1].err.msg, "this one does not load");
    assert_true(in_state(&bad, HG_SLOT_FAILED));
    w.h->settings->serve_restart_backoff = 30;
    take(&g[0], &bad, NAN);
    UNTIL(g[0].told);
    assert_int_equal(g[0].code, HANGAR_E_ENGINE);
    take(&g[0], &bad, NAN); /* the next try is far: refused at once */
    assert_true(g[0].told);
    EXPECT_WORDS(g[0].err.msg, "it is tried again in");
    take(&g[0], &none, NAN);
    UNTIL(g[0].told);
    assert_int_equal(g[0].code, HANGAR_E_NOT_FOUND);
    UNTIL(!is_there(&none));
}

/* By hand and for good what is missing is fetched: here there is no network, and that is said. */
static void test_missing(void **state)
{
    (void)state;
    static guest g, u;
    static hg_entry none, lost; /* the pool may look at them until it is closed */
    set_entry(&none, "fake/nowhere");
    set_entry(&lost, "fake/lost");
    g = (guest){0};
    assert_int_equal(hg_pool_load(w.pool, &none, false, NAN, on_told, &g, NULL), HANGAR_OK);
    UNTIL(g.told);
    assert_int_equal(g.code, HANGAR_E_OFFLINE);
    EXPECT_WORDS(g.err.msg, "HF_HUB_OFFLINE");
    UNTIL(!is_there(&none));
    w.h->settings->serve_restart_limit = 2;
    w.h->settings->serve_restart_backoff = 0.01;
    g = (guest){0};
    assert_int_equal(hg_pool_load(w.pool, &lost, true, NAN, on_told, &g, NULL), HANGAR_OK);
    UNTIL(info_of(&lost).restarts >= 4); /* one that is wanted is tried on: the network may come back */
    assert_true(g.told);
    assert_true(hg_metric_get(HG_M_RUNNER_FAILURES, (const char *const[]){"fake/lost", "load"}) >= 4);
    UNTIL(in_state(&lost, HG_SLOT_FAILED));
    u = (guest){0};
    assert_int_equal(hg_pool_unload(w.pool, &lost, false, on_told, &u, NULL), HANGAR_OK);
    UNTIL(u.told && !is_there(&lost));
}

static void test_stopped_runner(void **state)
{
    (void)state;
    w.h->settings->serve_probe_interval = 0.1;
    w.h->settings->serve_probe_timeout = 1;
    static guest g = {0};
    assert_int_equal(hg_pool_load(w.pool, &w.fakes[0], true, NAN, on_told, &g, NULL), HANGAR_OK);
    UNTIL(g.told);
    assert_int_equal(g.code, HANGAR_OK);
    hg_slot_info info = info_of(&w.fakes[0]);
    assert_true(info.probed_at > 1000000000); /* READY means that it answered */
    assert_int_equal(kill(info.pid, SIGSTOP), 0);
    UNTIL(info_of(&w.fakes[0]).restarts == 1 && in_state(&w.fakes[0], HG_SLOT_READY));
    assert_int_equal(kill(info.pid, 0), -1);
    HG_AUTO(hg_auto_free) char *text = why("probe");
    EXPECT_WORDS(text, "fake/a did not answer a probe within 1 s");
    /* A turn that comes in a probe waits for its end: here for the restart. */
    use(&w.fakes[0], 1);
    take(&g, &w.fakes[0], NAN);
    UNTIL(g.told);
    call(&g, "deaf");
    UNTIL(g.call_ended);
    leave(&g);
    UNTIL(in_state(&w.fakes[0], HG_SLOT_READY));
    int pid = info_of(&w.fakes[0]).pid;
    turn_loop(0.5);
    take(&g, &w.fakes[0], NAN);
    UNTIL(g.told);
    if (g.code != HANGAR_OK) fail_msg("%s", g.err.msg);
    assert_true(info_of(&w.fakes[0]).pid != pid);
    leave(&g);
}

static void test_memory_limit(void **state)
{
    (void)state;
    static guest g;
    w.fakes[0].memory_limit = 400 * HG_MIB;
    take(&g, &w.fakes[0], NAN);
    UNTIL(g.told);
    assert_int_equal(g.code, HANGAR_OK);
    call(&g, "grow");
    UNTIL(g.call_ended);
    assert_int_equal(g.call_code, HANGAR_E_ENGINE);
    EXPECT_WORDS(g.call_err.msg, "over its memory limit of 419.4 MB");
    UNTIL(in_state(&w.fakes[0], HG_SLOT_FAILED));
    EXPECT_WORDS(info_of(&w.fakes[0]).error, "memory limit");
    leave(&g);
}

static void test_unload(void **state)
{
    (void)state;
    static guest g, u = {0}, late;
    hangar_err err = {0};
    assert_int_equal(hg_pool_unload(w.pool, &w.fakes[0], false, NULL, NULL, &err), HANGAR_E_NOT_FOUND);
    /* Busy: when its call has ended. Who comes meanwhile is served anew. */
    take(&g, &w.fakes[0], NAN);
    UNTIL(g.told);
    int pid = info_of(&w.fakes[0]).pid;
    call(&g, "wait");
    assert_int_equal(hg_pool_unload(w.pool, &w.fakes[0], false, on_told, &u, NULL), HANGAR_OK);
    take(&late, &w.fakes[0], NAN);
    turn_loop(0.1);
    assert_false(u.told || late.told || g.call_ended);
    hg_line_cancel(hg_slot_line(g.slot));
    UNTIL(g.call_ended);
    leave(&g);
    UNTIL(u.told);
    assert_int_equal(u.code, HANGAR_OK);
    assert_int_equal(kill(pid, 0), -1); /* told when it is reaped */
    UNTIL(late.told);
    assert_int_equal(late.code, HANGAR_OK);
    /* At once. */
    u = (guest){0};
    call(&late, "wait");
    assert_int_equal(hg_pool_unload(w.pool, &w.fakes[0], true, on_told, &u, NULL), HANGAR_OK);
    UNTIL(late.call_ended);
    assert_int_equal(late.call_code, HANGAR_E_ENGINE);
    leave(&late);
    UNTIL(u.told && !is_there(&w.fakes[0]));
    /* In the midst of a load. */
    static guest l = {0};
    u = (guest){0};
    assert_int_equal(hg_pool_load(w.pool, &w.fakes[4], true, NAN, on_told, &l, NULL), HANGAR_OK);
    UNTIL(info_of(&w.fakes[4]).progress > 0);
    assert_int_equal(hg_pool_unload(w.pool, &w.fakes[4], false, on_told, &u, NULL), HANGAR_OK);
    UNTIL(u.told && l.told);
    assert_int_equal(l.code, HANGAR_E_CANCELLED);
    UNTIL(!is_there(&w.fakes[4]));
}

static void test_unwanted_load(void **state)
{
    (void)state;
    static guest g;
    take(&g, &w.fakes[4], NAN);
    UNTIL(info_of(&w.fakes[4]).progress > 0);
    leave(&g);
    UNTIL(!is_there(&w.fakes[4]));
    assert_false(g.told);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    /* Whoever comes while it is being ended has it loaded anew. */
    take(&g, &w.fakes[4], NAN);
    UNTIL(info_of(&w.fakes[4]).progress > 0);
    leave(&g);
    take(&g, &w.fakes[4], NAN);
    UNTIL(g.told);
    assert_int_equal(g.code, HANGAR_OK);
    leave(&g);
}

static void test_close(void **state)
{
    (void)state;
    static guest holder, waiter, loader, loads = {0}, u = {0};
    take(&holder, &w.fakes[0], NAN);
    UNTIL(holder.told);
    call(&holder, "wait");
    take(&waiter, &w.fakes[0], NAN);
    use(&w.fakes[1], 1);
    take(&loader, &w.fakes[4], NAN);
    assert_int_equal(hg_pool_load(w.pool, &w.fakes[2], true, NAN, on_told, &loads, NULL), HANGAR_OK);
    UNTIL(info_of(&w.fakes[4]).progress > 0);
    UNTIL(loads.told);
    (void)u;
    hg_pool_close(w.pool, on_closed, NULL);
    UNTIL(waiter.told && loader.told);
    assert_int_equal(waiter.code, HANGAR_E_CANCELLED);
    assert_int_equal(loader.code, HANGAR_E_CANCELLED);
    UNTIL(holder.call_ended);
    assert_int_equal(holder.call_code, HANGAR_E_ENGINE);
    take(&waiter, &w.fakes[3], NAN);
    assert_true(waiter.told && waiter.code == HANGAR_E_CANCELLED);
    assert_false(w.closed);
    leave(&holder);
    UNTIL(w.closed);
    close_pool();
}

/* ---- blocking use ---- */

typedef struct loan {
    hangar_model *model;
    const char *prompt;
    hangar_code code;
    bool done;
} loan;

static void loan_work(void *ctx)
{
    loan *l = ctx;
    hg_frame done = {0};
    char text[128];
    snprintf(text, sizeof text, "{\"op\":\"generate\",\"prompt\":\"%s\"}", l->prompt);
    l->code = hg_runner_call(l->model->runner, hg_str_of(text), NULL, 0, NULL, NULL, NULL, &done, NULL);
    hg_frame_deinit(&done);
}

static void loan_done(void *ctx)
{
    ((loan *)ctx)->done = true;
}

static void test_lending(void **state)
{
    (void)state;
    static guest g, next;
    static loan l = {.prompt = "ok"};
    take(&g, &w.fakes[0], NAN);
    UNTIL(g.told);
    l.model = hg_slot_model(g.slot);
    assert_int_equal(hg_slot_work(g.slot, loan_work, loan_done, &l, NULL), HANGAR_OK);
    UNTIL(l.done);
    assert_int_equal(l.code, HANGAR_OK);
    call(&g, "ok"); /* the line is free again */
    UNTIL(g.call_ended);
    /* A runner that dies while it is lent fails the slot, not the next in line. */
    take(&next, &w.fakes[0], NAN);
    l = (loan){.prompt = "crash", .model = l.model};
    assert_int_equal(hg_slot_work(g.slot, loan_work, loan_done, &l, NULL), HANGAR_OK);
    UNTIL(l.done);
    assert_int_equal(l.code, HANGAR_E_ENGINE);
    leave(&g);
    UNTIL(next.told);
    if (next.code != HANGAR_OK) fail_msg("%s", next.err.msg);
    assert_int_equal(info_of(&w.fakes[0]).restarts, 1);
    /* Unloaded at once: the worker's call ends, then the turn, then the model. */
    static guest u = {0};
    l = (loan){.prompt = "wait", .model = hg_slot_model(next.slot)};
    assert_int_equal(hg_slot_work(next.slot, loan_work, loan_done, &l, NULL), HANGAR_OK);
    turn_loop(0.05);
    assert_int_equal(hg_pool_unload(w.pool, &w.fakes[0], true, on_told, &u, NULL), HANGAR_OK);
    UNTIL(l.done);
    assert_int_equal(l.code, HANGAR_E_ENGINE);
    leave(&next);
    UNTIL(u.told && !is_there(&w.fakes[0]));
}

/* ---- everything at once ---- */

#define GUESTS 24

static uint32_t seed;

/* A number below n, the same in every run. */
static unsigned dice(unsigned n)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % n;
}

/* Memory that may be used is never passed; as many runners as it has room for. */
static void check_memory(unsigned most)
{
    uint64_t budget, used;
    unsigned alive = 0;
    hg_pool_memory(w.pool, &budget, &used);
    assert_true(used <= budget);
    for (size_t i = 0; i < hg_pool_count(w.pool); i++) {
        hg_slot_info info;
        assert_true(hg_pool_info(w.pool, i, &info));
        alive += info.pid != 0;
        assert_true(info.state != HG_SLOT_LOADING || info.pid == 0 || info.memory > 0);
    }
    assert_true(alive <= most);
}

/* A call that may find its runner killed. */
static void try_call(guest *g)
{
    static const char *const calls[] = {"{\"prompt\":\"ok\"}", "{\"prompt\":\"ok\"}", "{\"prompt\":\"wait\"}",
                                        "{\"prompt\":\"crash\"}"};
    static const hg_line_fns fns = {.piece = on_piece, .end = on_call_end};
    hg_parcel parcel = {.json = hg_str_of(calls[dice(4)])};
    g->calling = hg_line_call(hg_slot_line(g->slot), &parcel, 0, &fns, g, NULL) == HANGAR_OK;
    if (!g->calling) leave(g);
}

/* Goes on with one guest: comes, waits, calls, gives up, leaves. */
static void go_on(guest *g)
{
    if (!g->turn) take(g, &w.fakes[dice(4)], dice(20) * 0.005);
    else if (!g->told && dice(3) == 0) leave(g);
    else if (g->told && !g->calling && dice(4)) try_call(g);
    else if (g->told && (!g->calling || g->call_ended)) leave(g);
    else if (g->calling && dice(2)) hg_line_cancel(hg_slot_line(g->slot));
}

static void one_deed(guest *g)
{
    const hg_entry *e = &w.fakes[dice(4)];
    unsigned what = dice(24);
    int pid = info_of(e).pid;
    if (what == 0 && is_there(e))
        assert_int_equal(hg_pool_unload(w.pool, e, dice(2), NULL, NULL, NULL), HANGAR_OK);
    else if (what == 1 && pid > 0) kill(pid, SIGKILL);
    else if (what == 2) assert_int_equal(hg_pool_load(w.pool, e, false, NAN, NULL, NULL, NULL), HANGAR_OK);
    else go_on(g);
}

static void race(unsigned most, uint64_t memory)
{
    static guest g[GUESTS];
    memset(g, 0, sizeof g);
    w.h->settings->serve_memory = memory;
    w.h->settings->serve_queue = 8;
    w.h->settings->serve_restart_backoff = 0.005;
    w.h->settings->serve_restart_limit = 1000;
    w.h->settings->serve_probe_interval = 0.05;
    renew_pool();
    for (unsigned i = 0; i < 1000; i++) {
        one_deed(&g[dice(GUESTS)]);
        check_memory(most);
        if (dice(3) == 0) turn_loop(dice(6) * 0.001);
        check_memory(most);
    }
    /* Every one comes to an end: those in line are told, those in a call hear of its end. */
    double end = hg_now() + LONG;
    for (bool left = true; left; turn_loop(0.002)) {
        left = false;
        for (size_t i = 0; i < GUESTS; i++) {
            if (g[i].turn && g[i].calling && !g[i].call_ended) hg_line_cancel(hg_slot_line(g[i].slot));
            else if (g[i].turn && g[i].told) leave(&g[i]);
            left = left || g[i].turn;
        }
        check_memory(most);
        if (left && hg_now() > end) fail_msg("somebody waits for ever");
    }
    close_pool();
    assert_int_equal(hg_pool_new(w.h, w.loop, w.why, &w.pool, NULL), HANGAR_OK);
}

static void test_races(void **state)
{
    (void)state;
    uint64_t estimated, measured;
    sizes(&estimated, &measured);
    if (measured > estimated) estimated = measured;
    seed = 4264;
    race(1, estimated + measured / 4);
    seed = 44;
    race(2, estimated + measured + measured / 4);
}

/* ---- the real one ---- */

static unsigned open_files(void)
{
    unsigned n = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir)) n++;
    closedir(dir);
    return n;
}

static uint64_t own_memory(void)
{
    unsigned long long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%llu %llu", &size, &resident), 2);
    (void)fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void test_real_model(void **state)
{
    (void)state;
    static hg_entry chat; /* the pool may look at them until it is closed */
    const hg_metric_id memory = HG_M_RUNNER_MEMORY;
    const char *const label[] = {"test/tiny-chat"};
    setenv("HANGAR_RUNNERS", real_runners, 1);
    add_model(w.h, "test/tiny-chat");
    set_entry(&chat, "test/tiny-chat");
    unsigned files = 0;
    uint64_t resident = 0;
    for (unsigned round = 0; round < 12; round++) {
        static guest g, u;
        u = (guest){0};
        take(&g, &chat, NAN);
        UNTIL(g.told);
        if (g.code != HANGAR_OK) fail_msg("%s", g.err.msg);
        call(&g, "The capital of France is");
        UNTIL(g.call_ended);
        if (g.call_code != HANGAR_OK) fail_msg("%s", g.call_err.msg);
        hg_slot_info info = info_of(&chat);
        assert_true(info.memory > 1000000 && hg_metric_get(memory, label) == (double)info.memory);
        leave(&g);
        assert_int_equal(hg_pool_unload(w.pool, &chat, false, on_told, &u, NULL), HANGAR_OK);
        UNTIL(u.told);
        assert_int_equal(kill(info.pid, 0), -1);
        UNTIL(hg_pool_count(w.pool) == 0);
        assert_true(hg_metric_get(memory, label) == 0);
        if (round == 1) {
            files = open_files();
            resident = own_memory();
        }
    }
    assert_int_equal(open_files(), files);
    uint64_t now = own_memory();
#ifdef HG_SANITIZED /* keeps what was freed, and shadows of it */
    const uint64_t room = 64 * HG_MIB;
#else
    const uint64_t room = 4 * HG_MIB;
#endif
    if (now > resident + room)
        fail_msg("the pool grew from %llu to %llu", (unsigned long long)resident, (unsigned long long)now);
}

/* ---- all ---- */

static int prepare(void **state)
{
    (void)state;
    char here[1024];
    static const char *const unset[] = {"HF_ENDPOINT",   "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE",
                                        "HANGAR_CONFIG", "HF_TOKEN",     "XDG_CONFIG_HOME"};
    for (size_t i = 0; i < HG_LEN(unset); i++) unsetenv(unset[i]);
    assert_non_null(getcwd(here, sizeof here));
    setenv("HOME", here, 1);
    setenv("HF_HOME", at("hf"), 1);
    setenv("HANGAR_HOME", at("home"), 1);
    setenv("HF_HUB_OFFLINE", "1", 1);
    snprintf(real_runners, sizeof real_runners, "%s", getenv("HANGAR_BUILD"));
    snprintf(fake_runners, sizeof fake_runners, "%s", at("runners"));
    make_script(fake_runners);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--runner") == 0) return fake_runner();
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_shared_load),
        TEST(test_queue),
        TEST(test_eviction),
        TEST(test_never_fits),
        TEST(test_waiting_for_memory),
        TEST(test_no_starving),
        TEST(test_idle),
        TEST(test_crash),
        TEST(test_wanted_comes_back),
        TEST(test_quarantine),
        TEST(test_failed_loads),
        TEST(test_missing),
        TEST(test_stopped_runner),
        TEST(test_memory_limit),
        TEST(test_unload),
        TEST(test_unwanted_load),
        TEST(test_close),
        TEST(test_lending),
        TEST(test_races),
        TEST(test_real_model),
    };
    return cmocka_run_group_tests(tests, prepare, NULL);
}
