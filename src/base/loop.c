/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop over libuv, and the threads for what must block.
 *
 * Invariants: a handle of libuv lives until libuv has closed it, so what is freed inside its own callback is only marked
 * here. What is posted and what was worked off share one queue: `done` comes in order with everything else. A worker that ends is joined
 * by the next that ends or starts, so that at most one that is through is left, and none touches a loop that is freed.
 *
 * libuv's own pool of threads is not used: it has a fixed number of threads that never end, and shares them with all loops.
 */
#include "base/loop.h"

#include "base/log.h"
#include "base/mem.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <uv.h>

#define EACH_TURN_MAX 8
#define ROUNDS_MAX    8   /* of what is posted by what was posted, in one turn   */
#define WORKER_IDLE   5   /* seconds that a worker waits for more before it ends */
#define TIMER_MAX     1e9 /* seconds; longer ones are as long                  */

/* Something to call: posted, or work on its way. */
typedef struct task {
    struct task *next;
    hg_loop_fn *work; /* NULL: only `done` */
    hg_loop_fn *done;
    void *ctx;
} task;

typedef struct queue {
    task *first, **last; /* last is NULL while nothing was ever in it */
    size_t len;
} queue;

typedef struct worker {
    struct hg_loop *loop;
    pthread_t thread;
    enum { NONE, RUNS, THROUGH } state;
} worker;

struct hg_loop {
    uv_loop_t uv;
    uv_async_t wake;
    uv_prepare_t prepare;
    uv_idle_t idle; /* runs while something is posted: the loop does not sleep then */
    struct {
        hg_loop_fn *fn;
        void *ctx;
    } each_turn[EACH_TURN_MAX];
    size_t turns;
    atomic_bool stop;
    pthread_mutex_t mutex; /* all below */
    pthread_t thread;      /* that runs it */
    bool runs;
    pthread_cond_t cond; /* `line` has grown, or `ending` */
    queue posted;
    queue line; /* work that waits for a thread */
    size_t idlers;
    bool ending;
    worker workers[HG_LOOP_WORKERS];
};

/* ---- queues ---- */

static void push(queue *q, task *t)
{
    t->next = NULL;
    if (!q->first) q->last = &q->first;
    *q->last = t;
    q->last = &t->next;
    q->len++;
}

static task *pop(queue *q)
{
    task *t = q->first;
    if (!t) return NULL;
    q->first = t->next;
    q->len--;
    return t;
}

static void drop_all(queue *q)
{
    for (task *t; (t = pop(q)) != NULL;) free(t);
}

/* The words for a refusal of libuv's. */
static hangar_code uv_failed(hangar_err *err, int rc, const char *doing)
{
    return rc == UV_ENOMEM ? hg_fail_memory(err) : hg_fail_errno(err, -rc, "%s", doing);
}

/* ---- what was posted ---- */

/* Calls what was posted up to now; what is behind a stop stays. Holds the mutex, but not while it calls. */
static void call_posted(hg_loop *loop)
{
    for (size_t count = loop->posted.len; count > 0 && !atomic_load(&loop->stop); count--) {
        task *t = pop(&loop->posted);
        pthread_mutex_unlock(&loop->mutex);
        task call = *t;
        free(t);
        call.done(call.ctx);
        pthread_mutex_lock(&loop->mutex);
    }
}

/* It is enough that the loop woke up: on_prepare() comes next. */
static void on_wake(uv_async_t *wake)
{
    (void)wake;
}

/* It is enough that there is an idle handle: the loop does not sleep then. */
static void on_idle(uv_idle_t *idle)
{
    (void)idle;
}

/* Before each sleep: what was posted, and what that posted, but after some rounds descriptors have their turn; then what each turn ends with. */
static void on_prepare(uv_prepare_t *prepare)
{
    hg_loop *loop = prepare->data;
    pthread_mutex_lock(&loop->mutex);
    for (int round = 0; round < ROUNDS_MAX; round++) call_posted(loop);
    pthread_mutex_unlock(&loop->mutex);
    for (size_t i = 0; i < loop->turns; i++) loop->each_turn[i].fn(loop->each_turn[i].ctx);
    pthread_mutex_lock(&loop->mutex);
    bool left = loop->posted.len > 0;
    pthread_mutex_unlock(&loop->mutex);
    if (left) uv_idle_start(&loop->idle, on_idle);
    else uv_idle_stop(&loop->idle);
}

/* Takes the task into the queue and has the loop look there. Its own thread will anyway, before it sleeps. */
static void post_task(hg_loop *loop, task *t)
{
    pthread_mutex_lock(&loop->mutex);
    push(&loop->posted, t);
    bool own = loop->runs && pthread_equal(loop->thread, pthread_self());
    pthread_mutex_unlock(&loop->mutex);
    if (!own) uv_async_send(&loop->wake);
}

hangar_code hg_loop_post(hg_loop *loop, hg_loop_fn *fn, void *ctx, hangar_err *err)
{
    task *t = hg_calloc(1, sizeof *t);
    if (!t) return hg_fail_memory(err);
    *t = (task){.done = fn, .ctx = ctx};
    post_task(loop, t);
    return HANGAR_OK;
}

hangar_code hg_loop_each_turn(hg_loop *loop, hg_loop_fn *fn, void *ctx, hangar_err *err)
{
    if (loop->turns == EACH_TURN_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "over the limit of %d calls in each turn", EACH_TURN_MAX);
    loop->each_turn[loop->turns].fn = fn;
    loop->each_turn[loop->turns++].ctx = ctx;
    return HANGAR_OK;
}

void hg_loop_each_turn_end(hg_loop *loop, hg_loop_fn *fn, void *ctx)
{
    size_t n = 0;
    for (size_t i = 0; i < loop->turns; i++)
        if (loop->each_turn[i].fn != fn || loop->each_turn[i].ctx != ctx)
            loop->each_turn[n++] = loop->each_turn[i];
    loop->turns = n;
}

/* ---- work ---- */

/* Joins the workers that are through. Holds the mutex, which they have given back for the last time. */
static void join_through(hg_loop *loop)
{
    for (size_t i = 0; i < HG_LOOP_WORKERS; i++) {
        worker *w = &loop->workers[i];
        if (w->state != THROUGH) continue;
        pthread_join(w->thread, NULL);
        w->state = NONE;
    }
}

/* Waits for work, for a while. Holds the mutex. NULL: end. */
static task *next_work(hg_loop *loop)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += WORKER_IDLE;
    int rc = 0;
    while (!loop->ending && !loop->line.first && rc == 0) {
        loop->idlers++;
        rc = pthread_cond_timedwait(&loop->cond, &loop->mutex, &until);
        loop->idlers--;
    }
    return loop->ending ? NULL : pop(&loop->line);
}

static void *worker_main(void *arg)
{
    worker *w = arg;
    hg_loop *loop = w->loop;
    pthread_setname_np(pthread_self(), "hangar-work");
    pthread_mutex_lock(&loop->mutex);
    for (task *t; (t = next_work(loop)) != NULL;) {
        pthread_mutex_unlock(&loop->mutex);
        t->work(t->ctx);
        if (t->done) post_task(loop, t);
        else free(t);
        pthread_mutex_lock(&loop->mutex);
    }
    join_through(loop);
    w->state = THROUGH;
    if (loop->ending) pthread_cond_broadcast(&loop->cond);
    pthread_mutex_unlock(&loop->mutex);
    return NULL;
}

/* Starts one more worker, without signals. Holds the mutex. */
static int worker_start(hg_loop *loop)
{
    join_through(loop);
    worker *w = loop->workers;
    while (w < loop->workers + HG_LOOP_WORKERS && w->state != NONE) w++;
    if (w == loop->workers + HG_LOOP_WORKERS) return 0; /* all at work: it waits in line */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    w->loop = loop;
    int sys = pthread_create(&w->thread, NULL, worker_main, w);
    if (sys == 0) w->state = RUNS;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return sys;
}

/* Whether somebody will come to the line. Holds the mutex. */
static bool has_workers(const hg_loop *loop)
{
    for (size_t i = 0; i < HG_LOOP_WORKERS; i++)
        if (loop->workers[i].state == RUNS) return true;
    return false;
}

hangar_code hg_loop_work(hg_loop *loop, hg_loop_fn *work, hg_loop_fn *done, void *ctx, hangar_err *err)
{
    task *t = hg_calloc(1, sizeof *t);
    if (!t) return hg_fail_memory(err);
    *t = (task){.work = work, .done = done, .ctx = ctx};
    pthread_mutex_lock(&loop->mutex);
    int sys = loop->line.len + 1 > loop->idlers ? worker_start(loop) : 0;
    bool accepted = sys == 0 || has_workers(loop); /* without a new thread an old one will do */
    if (accepted) {
        push(&loop->line, t);
        pthread_cond_signal(&loop->cond);
    }
    pthread_mutex_unlock(&loop->mutex);
    if (accepted) return HANGAR_OK;
    free(t);
    return hg_fail_errno(err, sys, "starting a thread");
}

/* ---- the loop itself ---- */

static hangar_code init_lock(hg_loop *loop, hangar_err *err)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr) != 0) return hg_fail_memory(err);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    int sys = pthread_cond_init(&loop->cond, &attr);
    pthread_condattr_destroy(&attr);
    if (sys != 0) return hg_fail_errno(err, sys, "making a loop");
    pthread_mutex_init(&loop->mutex, NULL);
    return HANGAR_OK;
}

hangar_code hg_loop_new(hg_loop **out, hangar_err *err)
{
    *out = NULL;
    hg_loop *loop = hg_calloc(1, sizeof *loop);
    if (!loop) return hg_fail_memory(err);
    hangar_code code = init_lock(loop, err);
    if (code != HANGAR_OK) {
        free(loop);
        return code;
    }
    int rc = uv_loop_init(&loop->uv);
    if (rc == 0) {
        rc = uv_async_init(&loop->uv, &loop->wake, on_wake);
        if (rc != 0) uv_loop_close(&loop->uv);
    }
    if (rc != 0) {
        pthread_cond_destroy(&loop->cond);
        pthread_mutex_destroy(&loop->mutex);
        free(loop);
        return uv_failed(err, rc, "making a loop");
    }
    uv_idle_init(&loop->uv, &loop->idle);
    uv_prepare_init(&loop->uv, &loop->prepare);
    loop->prepare.data = loop;
    uv_prepare_start(&loop->prepare, on_prepare);
    *out = loop;
    return HANGAR_OK;
}

void hg_loop_free(hg_loop *loop)
{
    if (!loop) return;
    pthread_mutex_lock(&loop->mutex);
    loop->ending = true;
    pthread_cond_broadcast(&loop->cond);
    while (has_workers(loop)) pthread_cond_wait(&loop->cond, &loop->mutex);
    join_through(loop);
    pthread_mutex_unlock(&loop->mutex);
    drop_all(&loop->line);
    drop_all(&loop->posted);
    uv_close((uv_handle_t *)&loop->wake, NULL);
    uv_close((uv_handle_t *)&loop->idle, NULL);
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    for (int i = 0; i < 4 && uv_run(&loop->uv, UV_RUN_NOWAIT) != 0; i++) { /* frees what was closed */
    }
    if (uv_loop_close(&loop->uv) != 0) {
        hg_log(HG_LOG_ERROR, "loop", "a watch, timer or signal outlives its loop");
        return; /* rather lost than used after it was freed */
    }
    pthread_cond_destroy(&loop->cond);
    pthread_mutex_destroy(&loop->mutex);
    free(loop);
}

/* Says who runs the loop. What was posted before is looked at by the first on_prepare(). */
static void set_thread(hg_loop *loop, bool runs)
{
    pthread_mutex_lock(&loop->mutex);
    loop->runs = runs;
    loop->thread = pthread_self();
    pthread_mutex_unlock(&loop->mutex);
}

void hg_loop_run(hg_loop *loop)
{
    set_thread(loop, true);
    while (!atomic_load(&loop->stop)) uv_run(&loop->uv, UV_RUN_ONCE);
    atomic_store(&loop->stop, false);
    set_thread(loop, false);
}

void hg_loop_stop(hg_loop *loop)
{
    atomic_store(&loop->stop, true);
    uv_async_send(&loop->wake);
}

/* ---- descriptors ---- */

struct hg_watch {
    uv_poll_t poll;
    hg_watch_fn *fn;
    void *ctx;
    unsigned events;
    bool freed;
};

static void on_watch_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_poll(uv_poll_t *poll, int status, int events);

/* Has libuv watch what the watch wants. */
static int watch_start(hg_watch *w)
{
    int want = (w->events & HG_READABLE ? UV_READABLE : 0) | (w->events & HG_WRITABLE ? UV_WRITABLE : 0) |
               (w->events & HG_HUNG_UP ? UV_DISCONNECT : 0);
    return want ? uv_poll_start(&w->poll, want, on_poll) : uv_poll_stop(&w->poll);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    hg_watch *w = poll->data;
    unsigned told = (events & UV_READABLE ? HG_READABLE : 0) | (events & UV_WRITABLE ? HG_WRITABLE : 0) |
                    (events & UV_DISCONNECT ? HG_HUNG_UP : 0);
    if (status < 0) told = w->events;
    w->fn(w->ctx, told);
    /* libuv stops to look at a descriptor with an error; whether it is over is the caller's to say. */
    if (status < 0 && !w->freed) watch_start(w);
}

hangar_code hg_watch_new(hg_loop *loop, int fd, hg_watch_fn *fn, void *ctx, hg_watch **out, hangar_err *err)
{
    *out = NULL;
    hg_watch *w = hg_calloc(1, sizeof *w);
    if (!w) return hg_fail_memory(err);
    int rc = uv_poll_init(&loop->uv, &w->poll, fd);
    if (rc != 0) {
        free(w);
        return uv_failed(err, rc, "watching a descriptor");
    }
    w->poll.data = w;
    w->fn = fn;
    w->ctx = ctx;
    *out = w;
    return HANGAR_OK;
}

hangar_code hg_watch_set(hg_watch *w, unsigned events, hangar_err *err)
{
    if (w->events == events) return HANGAR_OK;
    w->events = events;
    int rc = watch_start(w);
    return rc == 0 ? HANGAR_OK : uv_failed(err, rc, "watching a descriptor");
}

void hg_watch_free(hg_watch *w)
{
    if (!w) return;
    w->freed = true;
    uv_close((uv_handle_t *)&w->poll, on_watch_closed);
}

/* ---- timers ---- */

struct hg_timer {
    uv_timer_t timer;
    hg_loop_fn *fn;
    void *ctx;
};

static void on_timer(uv_timer_t *timer)
{
    hg_timer *t = timer->data;
    t->fn(t->ctx);
}

hangar_code hg_timer_new(hg_loop *loop, hg_loop_fn *fn, void *ctx, hg_timer **out, hangar_err *err)
{
    *out = hg_calloc(1, sizeof **out);
    if (!*out) return hg_fail_memory(err);
    uv_timer_init(&loop->uv, &(*out)->timer);
    (*out)->timer.data = *out;
    (*out)->fn = fn;
    (*out)->ctx = ctx;
    return HANGAR_OK;
}

/* Whole milliseconds, never fewer; what is no time is none. */
static uint64_t milliseconds(double seconds)
{
    if (!(seconds > 0)) return 0;
    return (uint64_t)ceil(fmin(seconds, TIMER_MAX) * 1000);
}

void hg_timer_set(hg_timer *t, double seconds, double every)
{
    /* libuv counts from the beginning of the turn, in whole milliseconds: one more, so that none comes early. */
    uv_update_time(t->timer.loop);
    uint64_t first = milliseconds(seconds);
    uv_timer_start(&t->timer, on_timer, first ? first + 1 : 0, milliseconds(every));
}

void hg_timer_stop(hg_timer *t)
{
    uv_timer_stop(&t->timer);
}

void hg_timer_free(hg_timer *t)
{
    if (t) uv_close((uv_handle_t *)&t->timer, on_watch_closed);
}

/* ---- signals ---- */

struct hg_signal {
    uv_signal_t signal;
    hg_loop_fn *fn;
    void *ctx;
};

static void on_signal(uv_signal_t *signal, int number)
{
    (void)number;
    hg_signal *s = signal->data;
    s->fn(s->ctx);
}

hangar_code hg_signal_new(hg_loop *loop, int number, hg_loop_fn *fn, void *ctx, hg_signal **out,
                          hangar_err *err)
{
    *out = NULL;
    hg_signal *s = hg_calloc(1, sizeof *s);
    if (!s) return hg_fail_memory(err);
    int rc = uv_signal_init(&loop->uv, &s->signal);
    if (rc != 0) {
        free(s);
        return uv_failed(err, rc, "catching a signal");
    }
    s->signal.data = s;
    s->fn = fn;
    s->ctx = ctx;
    rc = uv_signal_start(&s->signal, on_signal, number);
    if (rc != 0) {
        hg_signal_free(s);
        return uv_failed(err, rc, "catching a signal");
    }
    *out = s;
    return HANGAR_OK;
}

void hg_signal_free(hg_signal *s)
{
    if (s) uv_close((uv_handle_t *)&s->signal, on_watch_closed);
}
