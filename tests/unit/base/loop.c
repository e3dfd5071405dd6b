/* SPDX-License-Identifier: Apache-2.0 */
/* The loop: order, threads, descriptors, timers, signals, and what is freed in the midst of it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/loop.h"
#include "base/mem.h"

static hg_loop *loop;

static int setup(void **state)
{
    (void)state;
    return hg_loop_new(&loop, NULL) == HANGAR_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    hg_loop_free(loop);
    loop = NULL;
    return 0;
}

static void stop(void *ctx)
{
    (void)ctx;
    hg_loop_stop(loop);
}

/* Ends a run that would not end by itself: the test then sees that nothing happened. */
static hg_timer *deadline(double seconds)
{
    hg_timer *t;
    assert_int_equal(hg_timer_new(loop, stop, NULL, &t, NULL), HANGAR_OK);
    hg_timer_set(t, seconds, 0);
    return t;
}

/* How many threads this process has. */
static size_t threads(void)
{
    size_t count = 0;
    DIR *d = opendir("/proc/self/task");
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) count += e->d_name[0] != '.';
    closedir(d);
    return count;
}

/* ---- what is posted ---- */

#define POSTERS 4
#define POSTS   2000

typedef struct note {
    int poster, number;
} note;

static int last_of[POSTERS];
static int heard, disordered;

static void hear_note(void *ctx)
{
    note *n = ctx;
    if (n->number != last_of[n->poster] + 1) disordered++;
    last_of[n->poster] = n->number;
    if (++heard == POSTERS * POSTS) hg_loop_stop(loop);
    free(n);
}

static void *poster_main(void *arg)
{
    int me = (int)(intptr_t)arg;
    for (int i = 1; i <= POSTS; i++) {
        note *n = malloc(sizeof *n);
        if (!n) abort();
        *n = (note){me, i};
        if (hg_loop_post(loop, hear_note, n, NULL) != HANGAR_OK) abort();
    }
    return NULL;
}

static void posts_come_in_order(void **state)
{
    (void)state;
    heard = disordered = 0;
    memset(last_of, 0, sizeof last_of);
    pthread_t posters[POSTERS];
    for (int i = 0; i < POSTERS; i++)
        assert_int_equal(pthread_create(&posters[i], NULL, poster_main, (void *)(intptr_t)i), 0);
    hg_timer *limit = deadline(60);
    hg_loop_run(loop);
    hg_timer_free(limit);
    for (int i = 0; i < POSTERS; i++) pthread_join(posters[i], NULL);
    assert_int_equal(heard, POSTERS * POSTS);
    assert_int_equal(disordered, 0);
}

static char order[1024];

static void write_a(void *ctx)
{
    (void)ctx;
    strcat(order, "a");
}

static void write_b_stop(void *ctx)
{
    (void)ctx;
    strcat(order, "b");
    hg_loop_stop(loop);
}

static void write_c_post(void *ctx)
{
    (void)ctx;
    strcat(order, "c");
    hg_loop_post(loop, write_a, NULL, NULL);
    hg_loop_post(loop, write_b_stop, NULL, NULL);
}

/* What is behind a stop stays for the next run; a stop before a run ends it at once. */
static void stops_and_goes_on(void **state)
{
    (void)state;
    order[0] = '\0';
    hg_loop_post(loop, write_c_post, NULL, NULL);
    hg_loop_post(loop, write_b_stop, NULL, NULL);
    hg_loop_post(loop, write_a, NULL, NULL);
    hg_loop_run(loop);
    assert_string_equal(order, "cb");
    hg_loop_run(loop);
    assert_string_equal(order, "cbaab");
    hg_loop_stop(loop);
    hg_loop_run(loop);
    assert_string_equal(order, "cbaab");
    hg_loop_post(loop, write_a, NULL, NULL); /* never called: freed with the loop */
}

/* ---- each turn ---- */

static int turns, posted, turns_at_last_post;

static void count_turn(void *ctx)
{
    (void)ctx;
    turns++;
}

static void post_again(void *ctx)
{
    (void)ctx;
    turns_at_last_post = turns;
    if (++posted < 100) hg_loop_post(loop, post_again, NULL, NULL);
    else hg_loop_stop(loop);
}

static void calls_each_turn(void **state)
{
    (void)state;
    turns = posted = 0;
    hangar_err err = {0};
    for (int i = 0; i < 8; i++)
        assert_int_equal(hg_loop_each_turn(loop, i == 0 ? count_turn : write_a, NULL, &err), HANGAR_OK);
    assert_int_equal(hg_loop_each_turn(loop, count_turn, NULL, &err), HANGAR_E_LIMIT);
    order[0] = '\0';
    hg_loop_post(loop, post_again, NULL, NULL);
    hg_loop_run(loop);
    assert_int_equal(posted, 100);
    /* A chain of posts lets others have their turn. */
    assert_in_range(turns, 10, 100);
    assert_true(turns_at_last_post >= 10);
    assert_int_equal(strlen(order), (size_t)turns * 7);
    /* Without any, what is posted is called all the same. */
    hg_loop_each_turn_end(loop, count_turn, NULL);
    hg_loop_each_turn_end(loop, write_a, NULL);
    posted = turns = 0;
    hg_loop_post(loop, post_again, NULL, NULL);
    hg_timer *limit = deadline(60);
    hg_loop_run(loop);
    hg_timer_free(limit);
    assert_int_equal(posted, 100);
    assert_int_equal(turns, 0);
    order[0] = '\0';
}

/* Nobody wants each turn any more: what the loop itself posts is called all the same. */
static void last_turn_ends(void *ctx)
{
    (void)ctx;
    hg_loop_each_turn_end(loop, count_turn, NULL);
    hg_loop_post(loop, write_a, NULL, NULL);
    hg_loop_post(loop, stop, NULL, NULL);
}

static void each_turn_ends(void **state)
{
    (void)state;
    hg_timer *t, *late = deadline(30);
    order[0] = '\0';
    assert_int_equal(hg_loop_each_turn(loop, count_turn, NULL, NULL), HANGAR_OK);
    assert_int_equal(hg_timer_new(loop, last_turn_ends, NULL, &t, NULL), HANGAR_OK);
    hg_timer_set(t, 0.01, 0);
    hg_loop_run(loop);
    assert_string_equal(order, "a");
    order[0] = '\0';
    hg_timer_free(t);
    hg_timer_free(late);
}

/* ---- work ---- */

#define JOBS 100

static atomic_int at_once, most, worked;
static int finished;
static pthread_t loop_thread;

static void work_a_while(void *ctx)
{
    (void)ctx;
    int now = atomic_fetch_add(&at_once, 1) + 1;
    for (int seen = atomic_load(&most); now > seen && !atomic_compare_exchange_weak(&most, &seen, now);) {
    }
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    if (!sigismember(&mask, SIGTERM) || pthread_equal(pthread_self(), loop_thread)) abort();
    hg_sleep(0.005);
    atomic_fetch_sub(&at_once, 1);
    atomic_fetch_add(&worked, 1);
}

static void worked_off(void *ctx)
{
    if (!pthread_equal(pthread_self(), loop_thread)) abort();
    ++*(int *)ctx;
    if (++finished == JOBS) hg_loop_stop(loop);
}

static void work_is_bounded(void **state)
{
    (void)state;
    loop_thread = pthread_self();
    size_t before = threads();
    int done[JOBS] = {0};
    finished = 0;
    worked = most = at_once = 0;
    for (int i = 0; i < JOBS; i++)
        assert_int_equal(hg_loop_work(loop, work_a_while, worked_off, &done[i], NULL), HANGAR_OK);
    assert_in_range(threads(), before + 2, before + HG_LOOP_WORKERS);
    hg_timer *limit = deadline(60);
    hg_loop_run(loop);
    hg_timer_free(limit);
    assert_int_equal(finished, JOBS);
    assert_int_equal(worked, JOBS);
    assert_true(most > 1 && most <= HG_LOOP_WORKERS);
    for (int i = 0; i < JOBS; i++) assert_int_equal(done[i], 1);
}

/* One after the other is done by one thread; those without work end. */
static void idle_workers_end(void **state)
{
    (void)state;
    loop_thread = pthread_self();
    size_t before = threads();
    finished = 0;
    int done = 0;
    for (int i = 0; i < 4; i++) hg_loop_work(loop, work_a_while, NULL, NULL, NULL);
    assert_true(threads() > before);
    double until = hg_now() + 60;
    while (threads() > before && hg_now() < until) hg_sleep(0.05);
    assert_int_equal(threads(), before);
    finished = JOBS - 1;
    hg_loop_work(loop, work_a_while, worked_off, &done, NULL);
    hg_timer *limit = deadline(60);
    hg_loop_run(loop);
    hg_timer_free(limit);
    assert_int_equal(done, 1);
}

/* Freed with work that runs and work that waits: it waits for the former, and calls nobody any more. */
static void freed_with_work(void **state)
{
    (void)state;
    worked = 0;
    finished = 0;
    int done = 0;
    hg_loop *mine;
    assert_int_equal(hg_loop_new(&mine, NULL), HANGAR_OK);
    for (int i = 0; i < JOBS; i++)
        assert_int_equal(hg_loop_work(mine, work_a_while, worked_off, &done, NULL), HANGAR_OK);
    while (worked == 0) hg_sleep(0.001);
    hg_loop_free(mine);
    assert_true(worked >= 1);
    assert_int_equal(at_once, 0);
    assert_int_equal(done, 0);
    hg_loop_free(NULL);
}

/* ---- descriptors ---- */

typedef struct end {
    hg_watch *watch;
    int fd;
    unsigned events; /* told so far */
    size_t bytes, calls;
    bool free_at_once;
} end;

static void on_end(void *ctx, unsigned events)
{
    end *e = ctx;
    e->events |= events;
    e->calls++;
    char bytes[64];
    ssize_t n = 0;
    if (events & HG_READABLE) n = read(e->fd, bytes, sizeof bytes);
    if (n > 0) e->bytes += (size_t)n;
    if (e->free_at_once || (events & HG_HUNG_UP && n <= 0)) {
        hg_watch_free(e->watch);
        e->watch = NULL;
        close(e->fd);
        hg_loop_stop(loop);
    } else if (events & HG_WRITABLE) {
        hg_watch_set(e->watch, HG_READABLE | HG_HUNG_UP, NULL);
        hg_loop_stop(loop);
    }
}

static void open_end(end *e, int fd, unsigned events)
{
    *e = (end){.fd = fd};
    assert_int_equal(hg_watch_new(loop, fd, on_end, e, &e->watch, NULL), HANGAR_OK);
    assert_int_equal(hg_watch_set(e->watch, events, NULL), HANGAR_OK);
}

static void watches_a_socket(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    end e;
    open_end(&e, pair[0], 0);
    assert_int_equal(write(pair[1], "hello", 5), 5);
    hg_timer *limit = deadline(0.05);
    hg_loop_run(loop);
    assert_int_equal(e.calls, 0); /* nothing is watched */
    hg_watch_set(e.watch, HG_WRITABLE, NULL);
    hg_timer_set(limit, 60, 0);
    hg_loop_run(loop);
    assert_int_equal(e.events, HG_WRITABLE);
    assert_int_equal(shutdown(pair[1], SHUT_WR), 0); /* half closed */
    hg_loop_run(loop);
    assert_int_equal(e.bytes, 5);
    assert_true(e.events & HG_HUNG_UP);
    assert_null(e.watch);
    hg_timer_free(limit);
    close(pair[1]);
}

/* A watch that is freed in its callback, its descriptor closed and the number used again in the same turn. */
static void freed_inside(void **state)
{
    (void)state;
    hg_timer *limit = deadline(60);
    for (int round = 0; round < 50; round++) {
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        end e;
        open_end(&e, pair[0], HG_READABLE);
        e.free_at_once = true;
        assert_int_equal(write(pair[1], "x", 1), 1);
        hg_loop_run(loop);
        assert_int_equal(e.calls, 1);
        close(pair[1]);
    }
    hg_timer_free(limit);
}

/* Two ends are told at once, and the first frees the other: no call may come for that one. */
static struct {
    hg_watch *watch[2];
    int fd[2], calls;
} duel;

static void on_duel(void *ctx, unsigned events)
{
    (void)events;
    int other = !*(int *)ctx;
    duel.calls++;
    if (duel.watch[other]) hg_watch_free(duel.watch[other]);
    duel.watch[other] = NULL;
    char byte;
    assert_int_equal(read(duel.fd[*(int *)ctx], &byte, 1), 1);
    hg_loop_stop(loop);
}

static void freed_by_another(void **state)
{
    (void)state;
    int pairs[2][2], who[2] = {0, 1};
    duel.calls = 0;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i]), 0);
        duel.fd[i] = pairs[i][0];
        assert_int_equal(hg_watch_new(loop, pairs[i][0], on_duel, &who[i], &duel.watch[i], NULL), HANGAR_OK);
        hg_watch_set(duel.watch[i], HG_READABLE, NULL);
        assert_int_equal(write(pairs[i][1], "x", 1), 1);
    }
    hg_loop_run(loop);
    assert_int_equal(duel.calls, 1);
    for (int i = 0; i < 2; i++) {
        hg_watch_free(duel.watch[i]);
        close(pairs[i][0]);
        close(pairs[i][1]);
    }
}

/* The reading end of a pipe goes away: an error, told as what is watched, again and again until it is heard. */
static void on_broken(void *ctx, unsigned events)
{
    end *e = ctx;
    e->events |= events;
    if (++e->calls == 3) hg_loop_stop(loop);
}

static void an_error_is_told(void **state)
{
    (void)state;
    int tube[2];
    assert_int_equal(pipe(tube), 0);
    char page[4096] = {0};
    end e = {.fd = tube[1]};
    hangar_err err = {0};
    assert_int_equal(hg_watch_new(loop, tube[1], on_broken, &e, &e.watch, &err), HANGAR_OK);
    while (write(tube[1], page, sizeof page) > 0) { /* it does not block any more */
    }
    assert_int_equal(errno, EAGAIN);
    close(tube[0]);
    hg_watch_set(e.watch, HG_WRITABLE, NULL);
    hg_timer *limit = deadline(60);
    hg_loop_run(loop);
    assert_int_equal(e.events, HG_WRITABLE);
    assert_int_equal(e.calls, 3);
    hg_watch_free(e.watch);
    hg_timer_free(limit);
    close(tube[1]);
    hg_watch *none;
    assert_int_not_equal(hg_watch_new(loop, -1, on_broken, &e, &none, &err), HANGAR_OK);
    assert_null(none);
}

/* ---- timers ---- */

typedef struct alarm_clock {
    hg_timer *timer;
    double rang;
    int count, stop_at;
    bool free_inside;
} alarm_clock;

static void ring(void *ctx)
{
    alarm_clock *a = ctx;
    a->rang = hg_now();
    a->count++;
    if (a->free_inside) {
        hg_timer_free(a->timer);
        a->timer = NULL;
    }
    if (a->count == a->stop_at) hg_loop_stop(loop);
}

static void timers(void **state)
{
    (void)state;
    alarm_clock once = {.stop_at = 1}, often = {.stop_at = 5}, never = {0};
    assert_int_equal(hg_timer_new(loop, ring, &once, &once.timer, NULL), HANGAR_OK);
    assert_int_equal(hg_timer_new(loop, ring, &often, &often.timer, NULL), HANGAR_OK);
    assert_int_equal(hg_timer_new(loop, ring, &never, &never.timer, NULL), HANGAR_OK);
    hg_sleep(0.1); /* the loop's own clock is behind now */
    double from = hg_now();
    hg_timer_set(once.timer, 0.03, 0);
    hg_timer_set(never.timer, 1e300, 0);
    hg_loop_run(loop);
    assert_true(once.rang - from >= 0.03);
    from = hg_now();
    hg_timer_set(often.timer, 0, 0.01);
    hg_timer_set(never.timer, 0.02, 0);
    hg_timer_stop(never.timer);
    hg_loop_run(loop);
    assert_int_equal(often.count, 5);
    assert_true(often.rang - from >= 0.035);
    assert_int_equal(once.count, 1);
    assert_int_equal(never.count, 0);
    often.free_inside = true;
    often.stop_at = 6;
    hg_timer_set(often.timer, -1, 0.001);
    hg_loop_run(loop);
    assert_null(often.timer);
    assert_int_equal(often.count, 6);
    hg_timer_free(once.timer);
    hg_timer_free(never.timer);
    hg_timer_free(NULL);
}

/* ---- signals ---- */

static void signals(void **state)
{
    (void)state;
    hg_signal *s;
    order[0] = '\0';
    assert_int_equal(hg_signal_new(loop, SIGUSR1, write_b_stop, NULL, &s, NULL), HANGAR_OK);
    hg_timer *limit = deadline(60);
    for (int i = 0; i < 3; i++) {
        kill(getpid(), SIGUSR1);
        hg_loop_run(loop);
    }
    assert_string_equal(order, "bbb");
    hg_signal_free(s);
    hg_signal_free(NULL);
    hg_timer_free(limit);
    hangar_err err = {0};
    assert_int_not_equal(hg_signal_new(loop, SIGKILL, stop, NULL, &s, &err), HANGAR_OK);
    assert_null(s);
    assert_non_null(strstr(err.msg, "catching a signal"));
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(posts_come_in_order),
        TEST(stops_and_goes_on),
        TEST(calls_each_turn),
        TEST(each_turn_ends),
        TEST(work_is_bounded),
        TEST(idle_workers_end),
        TEST(freed_with_work),
        TEST(watches_a_socket),
        TEST(freed_inside),
        TEST(freed_by_another),
        TEST(an_error_is_told),
        TEST(timers),
        TEST(signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
