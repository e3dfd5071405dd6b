/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A runner on the loop.
 *
 * In: what the socket has is read into one buffer, once a turn, and frames are cut out of it where they lie. The buffer grows by what has really
 * come, not by what a header promises, and shrinks at the end of a call. Out: what the socket does not take at once is copied and follows.
 *
 * States: IDLE <-> CALLING -> CANCELLED -> IDLE; IDLE <-> LENT; and from everywhere ENDING (a worker ends the child and makes the words of it)
 * -> GONE. line_move() is the only place where it changes. A runner that breaks a rule goes one way only, end_child(), which takes
 * the child out of the runner: from there on neither line nor runner is needed to end it, so that both may be freed meanwhile.
 *
 * Every call of somebody else's function is followed by a look whether the line was closed in it; `inside` keeps it in memory until then.
 */
#include "engine/line.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/runner_inner.h"
#include "engine/wire_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define IN_SIZE  (64 * HG_KIB) /* of the buffer while no larger frame is in it            */
#define IN_ROOM  (4 * HG_KIB)  /* what is left at its end before it is moved to the front  */
#define OUT_SIZE (64 * HG_KIB) /* memory that is kept for what waits to be sent            */

typedef enum line_state { IDLE, CALLING, CANCELLED, LENT, ENDING, GONE } line_state;

/* A child on its way out. Lives until the worker is through, whether or not the line does. */
typedef struct ending {
    hg_line *line; /* NULL: it was closed */
    hg_runner_last last;
    hangar_code code;
    hangar_err why; /* what was wrong                           */
    hangar_err err; /* what is told                             */
    bool plain;     /* what is told is `why`, word for word     */
    bool away;      /* the worker has it                        */
} ending;

struct hg_line {
    hg_loop *loop;
    hg_runner *runner;
    hg_line_gone_fn *gone;
    void *ctx;
    hg_watch *watch; /* NULL from ENDING on */
    hg_timer *timer;
    ending *end;
    line_state state;
    unsigned inside;
    bool closed;
    /* in: [from, to) has been read and is not used yet */
    char *in;
    size_t in_cap, from, to;
    /* out: [out_at, out.len) waits; an out_fd above 0 rides on its first byte */
    hg_buf out;
    size_t out_at;
    int out_fd;
    /* the call */
    bool in_call, cancelled;
    hg_line_fns fns;
    void *call_ctx;
    double step_timeout, last_sign, give_up; /* give_up: of a cancelled call */
    int pidfd;                               /* of a runner that is lent; -1 = none */
};

static void line_move(hg_line *l, line_state state)
{
    static const char *const names[] = {"idle", "calling", "cancelled", "lent", "ending", "gone"};
    if (l->state == state) return;
    hg_log(HG_LOG_DEBUG, "engine", "line of %d: %s -> %s", (int)hg_runner_pid(l->runner), names[l->state],
           names[state]);
    l->state = state;
}

/* ---- life ---- */

static void free_parts(hg_line *l)
{
    hg_watch_free(l->watch);
    hg_timer_free(l->timer);
    if (l->out_fd > 0) close(l->out_fd);
    if (l->pidfd >= 0) close(l->pidfd);
    hg_buf_deinit(&l->out);
    free(l->in);
    if (l->end && l->end->away) l->end->line = NULL; /* freed when the worker is through */
    else free(l->end);
    free(l);
}

static void leave(hg_line *l)
{
    if (--l->inside == 0 && l->closed) free_parts(l);
}

void hg_line_close(hg_line *l)
{
    if (!l || l->closed) return;
    l->closed = true;
    hg_watch_free(l->watch);
    l->watch = NULL;
    hg_timer_stop(l->timer);
    if (l->inside == 0) free_parts(l);
}

/* ---- the end of the child ---- */

/* Tells of it: first the call, then the owner. */
static void tell_end(hg_line *l)
{
    ending *e = l->end;
    l->inside++;
    line_move(l, GONE);
    if (l->in_call) {
        l->in_call = false;
        hangar_err cancelled = {0};
        if (l->cancelled) hg_fail(&cancelled, HANGAR_E_CANCELLED, "cancelled");
        const hangar_err *err = l->cancelled ? &cancelled : &e->err;
        l->fns.end(l->call_ctx, err->code, NULL, err);
    }
    if (!l->closed) l->gone(l->ctx, &e->err);
    leave(l);
}

/* On a worker: ends the child, makes the words. */
static void end_work(void *ctx)
{
    ending *e = ctx;
    hg_runner_bury(&e->last, e->code, &e->why, &e->err);
    if (e->plain) e->err = e->why;
}

static void end_done(void *ctx)
{
    ending *e = ctx;
    e->away = false;
    if (e->line) tell_end(e->line);
    else free(e);
}

/* Nothing comes and goes any more. */
static void cut_off(hg_line *l)
{
    line_move(l, ENDING);
    hg_watch_free(l->watch);
    l->watch = NULL;
    hg_timer_stop(l->timer);
    if (l->out_fd > 0) close(l->out_fd);
    l->out_fd = 0;
    hg_buf_deinit(&l->out);
    l->out_at = 0;
}

/* The one way out: the child is ended away from here, then it is told. `code` and `why` as for hg_runner_bury. */
static void end_child(hg_line *l, hangar_code code, const hangar_err *why)
{
    if (l->state == ENDING || l->state == GONE || l->closed) return;
    ending *e = l->end;
    cut_off(l);
    e->code = code;
    e->why = *why;
    hg_runner_take(l->runner, &e->last);
    e->away = hg_loop_work(l->loop, end_work, end_done, e, NULL) == HANGAR_OK;
    if (e->away) return;
    end_work(e); /* no thread to be had: a moment on this one */
    hg_timer_set(l->timer, 0, 0);
}

/* A runner that speaks nonsense, with the words for it. */
static void breach(hg_line *l, const char *fmt, ...) HG_PRINTF(2, 3);
static void breach(hg_line *l, const char *fmt, ...)
{
    char words[128];
    va_list args;
    va_start(args, fmt);
    vsnprintf(words, sizeof words, fmt, args);
    va_end(args);
    hangar_err why = {0};
    hg_fail(&why, HANGAR_E_INVALID, "%s", words);
    end_child(l, HANGAR_E_INVALID, &why);
}

static void out_of_memory(hg_line *l)
{
    hangar_err why = {0};
    hg_fail_memory(&why);
    end_child(l, HANGAR_E_NO_MEMORY, &why);
}

/* The socket failed: mostly because the runner is no more. */
static void lost(hg_line *l, int sys)
{
    hangar_err why = {0};
    hg_fail_errno(&why, sys, "a runner's socket");
    end_child(l, HANGAR_E_ENGINE, &why);
}

/* ---- frames in ---- */

/* A call is over. What the runner said beyond its end, or answered before it had read the question, breaks the rules. */
static void end_call(hg_line *l, hangar_code code, const hg_raw *done, const hangar_err *err)
{
    hg_timer_stop(l->timer);
    l->in_call = false;
    line_move(l, IDLE);
    hg_runner_move(l->runner, HG_RUNNER_READY);
    if (l->from != l->to) breach(l, "%zu bytes behind the end of a call", l->to - l->from);
    else if (l->out.len > 0) breach(l, "an answer before the question was read");
    hangar_err cancelled = {0};
    if (l->cancelled) {
        code = hg_fail(&cancelled, HANGAR_E_CANCELLED, "cancelled");
        err = &cancelled;
    }
    l->fns.end(l->call_ctx, code, code == HANGAR_OK ? done : NULL, err);
}

static void on_fail(hg_line *l, const hg_raw *raw)
{
    hg_frame frame = {.type = HG_WIRE_FAIL};
    hangar_err err = {0};
    if (hg_json_parse(raw->json, NULL, &frame.doc, &err) != HANGAR_OK) {
        breach(l, "a FAIL that is no JSON");
        return;
    }
    hangar_code code = hg_wire_failed(&frame, &err);
    hg_json_free(frame.doc);
    end_call(l, code, NULL, &err);
}

static void on_tick(hg_line *l, const hg_raw *raw)
{
    if (l->cancelled || !l->fns.tick) return;
    uint64_t done = 0, total = 0;
    hg_json *doc = NULL;
    if (raw->json.len > 0 && hg_json_parse(raw->json, NULL, &doc, NULL) != HANGAR_OK) {
        breach(l, "a TICK that is no JSON");
        return;
    }
    hg_json_u64(hg_json_get(hg_json_root(doc), "done"), &done);
    hg_json_u64(hg_json_get(hg_json_root(doc), "total"), &total);
    hg_json_free(doc);
    l->fns.tick(l->call_ctx, done < total ? done : total, total);
}

/* Whether such a frame may come now; else the runner is on its way out. */
static bool may_come(hg_line *l, const hg_wire_header *h)
{
    bool belongs = h->type == HG_WIRE_PIECE || h->type == HG_WIRE_TICK || h->type == HG_WIRE_DONE ||
                   h->type == HG_WIRE_FAIL;
    if (!l->in_call || !belongs) {
        breach(l, "a frame of type %d out of turn", (int)h->type);
        return false;
    }
    size_t most = h->type == HG_WIRE_TICK   ? HG_LINE_TICK_MAX
                  : h->type == HG_WIRE_FAIL ? HG_LINE_FAIL_MAX
                                            : HG_WIRE_JSON_MAX;
    if (h->json_len <= most && h->bin_len <= HG_LINE_BIN_MAX) return true;
    breach(l, "a frame of type %d with %zu and %zu bytes is over the limits of %zu and %zu", (int)h->type,
           h->json_len, h->bin_len, most, HG_LINE_BIN_MAX);
    return false;
}

/* Cuts the next frame out of the buffer and hands it on; false when there is none (any more). */
static bool take_frame(hg_line *l)
{
    size_t have = l->to - l->from;
    if (have == 0) return false;
    if (have < HG_WIRE_HEADER) {
        if (!l->in_call) breach(l, "%zu bytes out of turn", have);
        return false;
    }
    hg_wire_header h;
    hangar_err why = {0};
    hangar_code code = hg_wire_header_read((const uint8_t *)l->in + l->from, &h, &why);
    if (code != HANGAR_OK) end_child(l, code, &why);
    if (code != HANGAR_OK || !may_come(l, &h)) return false;
    size_t total = HG_WIRE_HEADER + h.json_len + h.bin_len;
    if (have < total) return false;
    const char *at = l->in + l->from + HG_WIRE_HEADER;
    hg_raw raw = {{at, h.json_len}, h.bin_len ? at + h.json_len : NULL, h.bin_len};
    l->from += total;
    l->last_sign = hg_now();
    if (h.type == HG_WIRE_TICK) on_tick(l, &raw);
    else if (h.type == HG_WIRE_FAIL) on_fail(l, &raw);
    else if (h.type == HG_WIRE_DONE) end_call(l, HANGAR_OK, &raw, NULL);
    else if (!l->cancelled) l->fns.piece(l->call_ctx, &raw);
    return l->watch != NULL;
}

/* Room for more at the end of the buffer; false without memory. */
static bool make_room(hg_line *l)
{
    size_t have = l->to - l->from;
    if (l->from > 0 && (have == 0 || l->in_cap - l->to < IN_ROOM)) {
        memmove(l->in, l->in + l->from, have);
        l->from = 0;
        l->to = have;
    }
    size_t cap = l->in_cap;
    if (cap == 0 || (have == 0 && !l->in_call)) cap = IN_SIZE;
    else if (cap - l->to < IN_ROOM) cap *= 2;
    if (cap == l->in_cap) return true;
    char *in = hg_realloc_array(l->in, cap, 1);
    if (!in) return false;
    l->in = in;
    l->in_cap = cap;
    return true;
}

/* One read; true when something came. What ends the runner is done here. */
static bool read_some(hg_line *l)
{
    if (!make_room(l)) {
        out_of_memory(l);
        return false;
    }
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control;
    struct iovec iov = {l->in + l->to, l->in_cap - l->to};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof control.bytes};
    ssize_t n = recvmsg(hg_proc_fd(l->runner->proc), &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return false;
    if (n <= 0) {
        lost(l, n == 0 ? ECONNRESET : errno);
        return false;
    }
    if (msg.msg_controllen > 0 || msg.msg_flags & MSG_CTRUNC) {
        int stray = 0;
        hg_wire_take_fds(&msg, &stray);
        if (stray > 0) close(stray);
        breach(l, "a descriptor that nobody announced");
        return false;
    }
    l->to += (size_t)n;
    return true;
}

static void read_frames(hg_line *l)
{
    if (!read_some(l)) return;
    while (take_frame(l)) {
    }
    /* What large frames took is given back with the end of their call. */
    if (l->watch && !l->in_call && l->in_cap > IN_SIZE && !make_room(l)) out_of_memory(l);
}

/* ---- frames out ---- */

/* Watches what there is to wait for. */
static void watch_both(hg_line *l)
{
    unsigned events = HG_READABLE | (l->out.len > 0 ? HG_WRITABLE : 0);
    hangar_err why = {0};
    if (hg_watch_set(l->watch, events, &why) != HANGAR_OK) end_child(l, HANGAR_E_INTERNAL, &why);
}

/* Takes what the socket did not; `pass` above 0 is yet to be sent. */
static void queue(hg_line *l, const struct iovec *iov, size_t count, int pass)
{
    if (pass > 0 && (l->out_fd = fcntl(pass, F_DUPFD_CLOEXEC, 3)) < 0) {
        lost(l, errno);
        return;
    }
    for (size_t i = 0; i < count; i++) hg_buf_add(&l->out, iov[i].iov_base, iov[i].iov_len);
    if (hg_buf_check(&l->out, NULL) != HANGAR_OK) out_of_memory(l);
    else watch_both(l);
}

/* Sends, or queues. A frame whose limits were looked at. */
static void send_frame(hg_line *l, const hg_parcel *parcel)
{
    uint8_t header[HG_WIRE_HEADER];
    hg_wire_header_write(parcel, header, NULL);
    struct iovec parts[3] = {{header, sizeof header},
                             {(void *)parcel->json.ptr, parcel->json.len},
                             {(void *)parcel->bin, parcel->bin_len}};
    struct iovec *iov = parts;
    size_t count = HG_LEN(parts);
    int pass = parcel->fd;
    if (l->out.len == 0) {
        ssize_t n = hg_wire_sendmsg(hg_proc_fd(l->runner->proc), iov, count, pass);
        if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
            lost(l, errno);
            return;
        }
        if (n > 0) {
            pass = 0;
            hg_wire_iov_skip(&iov, &count, (size_t)n);
        }
    }
    if (count > 0) queue(l, iov, count, pass);
}

/* The socket takes more. */
static void send_rest(hg_line *l)
{
    struct iovec iov = {l->out.data + l->out_at, l->out.len - l->out_at};
    ssize_t n = hg_wire_sendmsg(hg_proc_fd(l->runner->proc), &iov, 1, l->out_fd);
    if (n < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK) lost(l, errno);
        return;
    }
    if (n > 0 && l->out_fd > 0) {
        close(l->out_fd);
        l->out_fd = 0;
    }
    l->out_at += (size_t)n;
    if (l->out_at < l->out.len) return;
    l->out_at = 0;
    if (l->out.cap > OUT_SIZE) hg_buf_deinit(&l->out);
    hg_buf_reset(&l->out);
    watch_both(l);
}

/* ---- what the loop tells ---- */

static void on_events(void *ctx, unsigned events)
{
    hg_line *l = ctx;
    l->inside++;
    if (events & HG_WRITABLE && l->out.len > 0) send_rest(l);
    if (l->watch && events & (HG_READABLE | HG_HUNG_UP)) read_frames(l);
    leave(l);
}

/* Seconds that the running call has left; it is asked anew each time, so that frames need not set the timer. */
static double time_left(const hg_line *l)
{
    return (l->cancelled ? l->give_up : l->last_sign + l->step_timeout) - hg_now();
}

/* A call's time may be over. When this thread was held up, an answer may lie there: it is looked for first. */
static void on_call_time(hg_line *l)
{
    if (time_left(l) <= 0) read_frames(l);
    if (!l->watch || !l->in_call) return;
    double left = time_left(l);
    if (left > 0) {
        hg_timer_set(l->timer, left, 0);
        return;
    }
    hangar_err why = {0};
    hg_fail(&why, HANGAR_E_TIMEOUT, "nothing for %.3g s", l->cancelled ? HG_CANCEL_GRACE : l->step_timeout);
    end_child(l, HANGAR_E_TIMEOUT, &why);
}

static void on_timer(void *ctx)
{
    hg_line *l = ctx;
    l->inside++;
    if (l->state == ENDING) tell_end(l);
    else if (l->in_call) on_call_time(l);
    leave(l);
}

/* ---- what others ask ---- */

/* OK when nobody uses the runner. */
static hangar_code is_free(const hg_line *l, hangar_err *err)
{
    const char *name = l->runner->engine->name;
    switch (l->state) {
    case IDLE: return HANGAR_OK;
    case CALLING:
    case CANCELLED: return hg_fail(err, HANGAR_E_BUSY, "the %s engine is busy with another call", name);
    case LENT: return hg_fail(err, HANGAR_E_BUSY, "the %s engine is lent", name);
    default: return hg_fail(err, HANGAR_E_ENGINE, "the %s engine has ended; load the model again", name);
    }
}

hangar_code hg_line_open(hg_loop *loop, hg_runner *runner, hg_line_gone_fn *gone, void *ctx, hg_line **out,
                         hangar_err *err)
{
    *out = NULL;
    if (runner->state != HG_RUNNER_READY)
        return hg_fail(err, runner->state == HG_RUNNER_ENDED ? HANGAR_E_ENGINE : HANGAR_E_BUSY,
                       "the %s engine cannot be called now", runner->engine->name);
    hg_line *l = hg_calloc(1, sizeof *l);
    if (!l) return hg_fail_memory(err);
    *l = (hg_line){.loop = loop, .runner = runner, .gone = gone, .ctx = ctx, .pidfd = -1};
    hg_buf_init(&l->out, HG_WIRE_JSON_MAX + HG_WIRE_BIN_MAX + 2 * HG_WIRE_HEADER);
    l->end = hg_calloc(1, sizeof *l->end);
    hangar_code code = l->end ? HANGAR_OK : hg_fail_memory(err);
    if (code == HANGAR_OK) l->end->line = l;
    if (code == HANGAR_OK) code = hg_timer_new(loop, on_timer, l, &l->timer, err);
    if (code == HANGAR_OK) code = hg_watch_new(loop, hg_proc_fd(runner->proc), on_events, l, &l->watch, err);
    if (code == HANGAR_OK) code = hg_watch_set(l->watch, HG_READABLE, err);
    if (code == HANGAR_OK) *out = l;
    else free_parts(l);
    return code;
}

hangar_code hg_line_call(hg_line *l, const hg_parcel *call, double step_timeout, const hg_line_fns *fns,
                         void *ctx, hangar_err *err)
{
    hg_parcel parcel = *call;
    parcel.type = HG_WIRE_CALL;
    uint8_t header[HG_WIRE_HEADER];
    hangar_code code = is_free(l, err);
    if (code == HANGAR_OK) code = hg_wire_header_write(&parcel, header, err);
    if (code != HANGAR_OK) return code;
    l->fns = *fns;
    l->call_ctx = ctx;
    l->in_call = true;
    l->cancelled = false;
    l->step_timeout = step_timeout > 0 ? step_timeout : l->runner->options.step_timeout;
    l->last_sign = hg_now();
    line_move(l, CALLING);
    hg_runner_move(l->runner, HG_RUNNER_BUSY);
    hg_timer_set(l->timer, l->step_timeout, 0);
    send_frame(l, &parcel);
    return HANGAR_OK;
}

void hg_line_cancel(hg_line *l)
{
    if (!l->in_call || l->cancelled) return;
    l->cancelled = true;
    if (l->state != CALLING) return; /* it ends already */
    line_move(l, CANCELLED);
    l->give_up = hg_now() + HG_CANCEL_GRACE;
    hg_timer_set(l->timer, HG_CANCEL_GRACE, 0);
    send_frame(l, &(hg_parcel){.type = HG_WIRE_CANCEL});
}

void hg_line_kill(hg_line *l, const char *why)
{
    ending *e = l->end;
    if (l->state == ENDING || l->state == GONE) return;
    hangar_err words = {0};
    hg_fail(&words, HANGAR_E_ENGINE, "%s", why);
    e->plain = true;
    if (l->state ==
        LENT) { /* the other thread has the runner: it will see it end, and so do we when it is back */
        e->why = words;
        if (l->pidfd >= 0) syscall(SYS_pidfd_send_signal, l->pidfd, SIGKILL, NULL, 0);
        return;
    }
    /* Not ENGINE: nobody need wait for an exit that belongs to a closed socket. */
    end_child(l, HANGAR_E_FAILED, &words);
}

hg_runner *hg_line_lend(hg_line *l, hangar_err *err)
{
    if (is_free(l, err) != HANGAR_OK) return NULL;
    if (hg_watch_set(l->watch, 0, err) != HANGAR_OK) return NULL;
    line_move(l, LENT);
    /* By this it can be killed while another thread may be reaping it. */
    l->pidfd = (int)syscall(SYS_pidfd_open, hg_runner_pid(l->runner), 0);
    return l->runner;
}

void hg_line_back(hg_line *l)
{
    if (l->state != LENT) return;
    if (l->pidfd >= 0) close(l->pidfd);
    l->pidfd = -1;
    ending *e = l->end;
    if (l->runner->state == HG_RUNNER_ENDED) {
        e->err = e->plain ? e->why : l->runner->why;
        cut_off(l);
        hg_timer_set(l->timer, 0, 0);
        return;
    }
    line_move(l, IDLE);
    hangar_err why = e->why;
    if (e->plain) end_child(l, HANGAR_E_FAILED, &why);
    else watch_both(l);
}
