/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor of one child. Everything happens on the caller's thread: it waits for frames in short slices
 * and looks between them whether the job was cancelled. A runner that broke the rules (gone, silent, nonsense)
 * is ended at once and for good; the words of the error are made from how it ended and from what it printed
 * last. A cancelled call is given HG_CANCEL_GRACE to come to its end; the model stays loaded when it does.
 */
#include "engine/runner_inner.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define HELLO_TIMEOUT 30.0 /* seconds until a started program says HELLO                       */
#define FRAME_TIMEOUT 30.0 /* seconds for the rest of a frame that has begun                    */
#define END_GRACE     2.0  /* seconds a runner may take to leave when its socket closes         */
#define DEATH_WAIT    1.0  /* seconds between a closed socket and the exit that belongs to it    */
#define SLICE_MS      50   /* how often a cancel is looked for                                  */
#define WORDS_MAX     200  /* bytes of the last line a runner printed that an error quotes       */

/* The only place where a state changes. */
void hg_runner_move(hg_runner *r, hg_runner_state state)
{
    static const char *const names[] = {"starting", "loading", "ready", "busy", "ended"};
    if (r->state == state) return;
    hg_log(HG_LOG_INFO, "engine", "runner %s (%d): %s -> %s", r->engine->name,
           r->proc ? (int)hg_proc_pid(r->proc) : 0, names[r->state], names[state]);
    r->state = state;
}

/* What it is doing, for messages. */
static const char *doing(hg_runner_state state)
{
    switch (state) {
    case HG_RUNNER_STARTING: return "starting";
    case HG_RUNNER_LOADING: return "loading the model";
    case HG_RUNNER_READY: return "waiting for a call";
    default: return "working";
    }
}

/* The last line with words in it, cut to WORDS_MAX. */
static hg_str last_words(hg_proc *p)
{
    hg_str rest = hg_str_trim(hg_str_of(hg_proc_tail(p)));
    hg_str line = {0};
    for (bool more = true; more;) {
        hg_str head;
        more = hg_str_cut(&rest, '\n', &head);
        head = hg_str_trim(head);
        if (head.len > 0) line = head;
    }
    if (line.len > WORDS_MAX) line.len = WORDS_MAX;
    line.len = hg_utf8_whole(line);
    return line;
}

void hg_runner_take(hg_runner *r, hg_runner_last *out)
{
    *out = (hg_runner_last){r->proc, r->engine->name, doing(r->state)};
    hg_runner_move(r, HG_RUNNER_ENDED);
    r->proc = NULL;
}

hangar_code hg_runner_bury(hg_runner_last *last, hangar_code code, const hangar_err *why, hangar_err *err)
{
    bool gone = code == HANGAR_E_ENGINE;
    double until = hg_now() + (gone ? DEATH_WAIT : 0);
    while (!hg_proc_ended(last->proc) && hg_now() < until) hg_sleep(0.002);
    char how[96] = "the connection closed";
    bool died = hg_proc_ended(last->proc);
    if (died) hg_proc_how(last->proc, how, sizeof how, NULL, NULL);
    hg_str words = last_words(last->proc);
    const char *sep = words.len ? "; its last words: " : "";
    if (gone || died)
        hg_fail(err, HANGAR_E_ENGINE, "the %s engine ended while %s: %s%s%.*s", last->name, last->doing, how,
                sep, HG_STR_ARG(words));
    else if (code == HANGAR_E_TIMEOUT)
        hg_fail(err, HANGAR_E_ENGINE, "the %s engine gave no sign while %s (%s) and was ended%s%.*s",
                last->name, last->doing, why->msg, sep, HG_STR_ARG(words));
    else if (code == HANGAR_E_NO_MEMORY) hg_fail_memory(err);
    else
        hg_fail(err, HANGAR_E_ENGINE, "the %s engine broke the protocol while %s (%s) and was ended%s%.*s",
                last->name, last->doing, why->msg, sep, HG_STR_ARG(words));
    hg_proc_end(last->proc, 0);
    last->proc = NULL;
    return code == HANGAR_E_NO_MEMORY ? code : HANGAR_E_ENGINE;
}

/* Ends a runner that broke the rules, and says what was wrong. `why` is what the wire said. */
static hangar_code broken(hg_runner *r, hangar_code code, const hangar_err *why, hangar_err *err)
{
    hg_runner_last last;
    hg_runner_take(r, &last);
    code = hg_runner_bury(&last, code, why, &r->why);
    if (err) *err = r->why;
    return code;
}

/* A frame that does not belong here. */
static hangar_code out_of_turn(hg_runner *r, const hg_frame *frame, hangar_err *err)
{
    hangar_err why = {0};
    hg_fail(&why, HANGAR_E_INVALID, "a frame of type %d out of turn", (int)frame->type);
    return broken(r, HANGAR_E_INVALID, &why, err);
}

/*
 * The next frame. TIMEOUT words name the seconds. *stop is asked about every SLICE_MS: when the job is
 * cancelled, CANCELLED is returned with the runner untouched, unless `deaf`. All other failures have ended the
 * runner.
 */
static hangar_code next_frame(hg_runner *r, double seconds, hangar_job *job, bool deaf, hg_frame *out,
                              hangar_err *err)
{
    int fd = hg_proc_fd(r->proc);
    double deadline = hg_now() + seconds;
    hangar_err why = {0};
    for (;;) {
        if (!deaf && hangar_job_is_cancelled(job)) return hg_fail(err, HANGAR_E_CANCELLED, "cancelled");
        double left = deadline - hg_now();
        int ms = left <= 0 ? 0 : left * 1000 < SLICE_MS ? (int)ceil(left * 1000) : SLICE_MS;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        bool over =
            deaf && left <= 0; /* one that talks without end gets no more time than one that is silent */
        if (!over && poll(&p, 1, ms) > 0) break;
        if (left <= 0) {
            hg_fail(&why, HANGAR_E_TIMEOUT, "nothing for %.3g s", seconds);
            return broken(r, HANGAR_E_TIMEOUT, &why, err);
        }
    }
    hangar_code code = hg_wire_recv(fd, FRAME_TIMEOUT, out, &why);
    return code == HANGAR_OK ? code : broken(r, code, &why, err);
}

/* A TICK as an event. */
static void tell_tick(const hg_frame *frame, hangar_job *job)
{
    uint64_t done = 0, total = 0;
    const hg_jval *doc = hg_json_root(frame->doc);
    hg_json_u64(hg_json_get(doc, "done"), &done);
    hg_json_u64(hg_json_get(doc, "total"), &total);
    if (total > 0) hg_job_total(job, done < total ? done : total, total, 0);
}

/* Sends one frame; a runner that does not take it is ended. */
static hangar_code send_frame(hg_runner *r, const hg_parcel *parcel, double seconds, hangar_err *err)
{
    hangar_err why = {0};
    hangar_code code = hg_wire_send_parcel(hg_proc_fd(r->proc), parcel, seconds, &why);
    if (code == HANGAR_OK) return code;
    if (code == HANGAR_E_LIMIT) return hg_fail(err, code, "%s", why.msg);
    return broken(r, code, &why, err);
}

/* HELLO, and that it is the right program of the right version. */
static hangar_code greet(hg_runner *r, hangar_job *job, hangar_err *err)
{
    hg_frame hello;
    hangar_code code = next_frame(r, HELLO_TIMEOUT, job, false, &hello, err);
    if (code != HANGAR_OK) return code;
    const hg_jval *doc = hg_json_root(hello.doc);
    int64_t protocol = hg_json_i64_or(hg_json_get(doc, "protocol"), 0);
    const char *name = hg_json_text_or(hg_json_get(doc, "engine"), "");
    if (hello.type != HG_WIRE_HELLO) code = out_of_turn(r, &hello, err);
    else if (protocol != HG_WIRE_PROTOCOL || !hg_streq(name, r->engine->name))
        code = hg_fail(err, HANGAR_E_ENGINE,
                       "%s is engine \"%s\" with protocol %lld, wanted \"%s\" with %d; install both anew",
                       r->engine->program, name, (long long)protocol, r->engine->name, HG_WIRE_PROTOCOL);
    else
        hg_log(HG_LOG_INFO, "engine", "runner %s: version %s", name,
               hg_json_text_or(hg_json_get(doc, "version"), "?"));
    hg_frame_deinit(&hello);
    return code;
}

/* LOAD, then TICKs until READY or FAIL. */
static hangar_code load_model(hg_runner *r, const hg_parcel *load, hangar_job *job, hg_frame *out_ready,
                              hangar_err *err)
{
    hg_parcel parcel = *load;
    parcel.type = HG_WIRE_LOAD;
    hangar_code code = send_frame(r, &parcel, r->options.load_timeout, err);
    while (code == HANGAR_OK) {
        hg_frame frame;
        code = next_frame(r, r->options.load_timeout, job, false, &frame, err);
        if (code != HANGAR_OK) break;
        if (frame.type == HG_WIRE_READY) {
            if (out_ready) *out_ready = frame;
            else hg_frame_deinit(&frame);
            return HANGAR_OK;
        }
        if (frame.type == HG_WIRE_TICK) tell_tick(&frame, job);
        else if (frame.type == HG_WIRE_FAIL) code = hg_wire_failed(&frame, err);
        else code = out_of_turn(r, &frame, err);
        hg_frame_deinit(&frame);
    }
    return code;
}

hangar_code hg_runner_start(const hg_engine *engine, const hg_runner_options *options, hg_str load,
                            hangar_job *job, hg_runner **out, hg_frame *out_ready, hangar_err *err)
{
    return hg_runner_start_parcel(engine, options, &(hg_parcel){.json = load}, job, out, out_ready, err);
}

hangar_code hg_runner_start_parcel(const hg_engine *engine, const hg_runner_options *options,
                                   const hg_parcel *load, hangar_job *job, hg_runner **out,
                                   hg_frame *out_ready, hangar_err *err)
{
    *out = NULL;
    if (out_ready) *out_ready = (hg_frame){0};
    HG_AUTO(hg_auto_free) char *program = NULL;
    hangar_code code = hg_engine_program(engine, &program, err);
    if (code != HANGAR_OK) return code;
    hg_runner *r = hg_calloc(1, sizeof *r);
    if (!r) return hg_fail_memory(err);
    *r = (hg_runner){.engine = engine, .options = *options, .state = HG_RUNNER_STARTING};
    const char *argv[] = {program, NULL};
    code = hg_proc_start(&(hg_proc_spec){.argv = argv, .more = engine->env}, &r->proc, err);
    if (code == HANGAR_OK) code = greet(r, job, err);
    if (code == HANGAR_OK) {
        hg_runner_move(r, HG_RUNNER_LOADING);
        code = load_model(r, load, job, out_ready, err);
    }
    if (code != HANGAR_OK) {
        /* Nothing to wait for: what is loaded by halves is thrown away. */
        hg_proc_end(r->proc, 0);
        r->proc = NULL;
        hg_runner_end(r);
        return code;
    }
    hg_runner_move(r, HG_RUNNER_READY);
    *out = r;
    return HANGAR_OK;
}

/* A running call. */
typedef struct course {
    hg_piece_fn *on_piece;
    void *ctx;
    hangar_job *job;
    hangar_code why;  /* why it was cancelled; OK = it was not */
    hangar_err words; /* the words of that */
    double give_up;   /* when a cancelled call has had its time */
} course;

/* Notes why the call shall end and tells the runner. */
static hangar_code cancel_call(hg_runner *r, course *c, hangar_code why, const hangar_err *words,
                               hangar_err *err)
{
    if (c->why != HANGAR_OK) return HANGAR_OK;
    c->why = why;
    c->words = *words;
    c->give_up = hg_now() + HG_CANCEL_GRACE;
    return send_frame(r, &(hg_parcel){.type = HG_WIRE_CANCEL}, HG_CANCEL_GRACE, err);
}

/* One frame of a call that is not its end. */
static hangar_code on_frame(hg_runner *r, course *c, const hg_frame *frame, hangar_err *err)
{
    hangar_err words = {0};
    hangar_code code = HANGAR_OK;
    if (frame->type == HG_WIRE_TICK) tell_tick(frame, c->job);
    else if (frame->type != HG_WIRE_PIECE) return out_of_turn(r, frame, err);
    else if (c->why == HANGAR_OK && c->on_piece) code = c->on_piece(c->ctx, frame, &words);
    return code == HANGAR_OK ? code : cancel_call(r, c, code, &words, err);
}

/* The end of a call that was asked to end: its own result when it made it, else the reason for the cancel. */
static hangar_code cancelled(const course *c, hangar_err *err)
{
    return hg_fail(err, c->why, "%s", c->words.msg[0] ? c->words.msg : hangar_code_text(c->why));
}

/* Frames until DONE or FAIL. */
static hangar_code follow_call(hg_runner *r, course *c, hg_frame *out, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    while (code == HANGAR_OK) {
        double seconds = r->options.step_timeout;
        if (c->why != HANGAR_OK) seconds = fmax(0, c->give_up - hg_now());
        hg_frame frame;
        code = next_frame(r, seconds, c->job, c->why != HANGAR_OK, &frame, err);
        if (code == HANGAR_E_CANCELLED && c->why == HANGAR_OK) {
            hangar_err words = {0};
            hg_fail(&words, code, "cancelled");
            code = cancel_call(r, c, HANGAR_E_CANCELLED, &words, err);
            continue;
        }
        if (code != HANGAR_OK) break;
        if (frame.type == HG_WIRE_DONE && (c->why == HANGAR_OK || c->why == HANGAR_E_CANCELLED)) {
            *out = frame;
            return HANGAR_OK;
        }
        bool over = frame.type == HG_WIRE_DONE || frame.type == HG_WIRE_FAIL;
        if (over && c->why == HANGAR_OK) code = hg_wire_failed(&frame, err);
        else if (!over) code = on_frame(r, c, &frame, err);
        hg_frame_deinit(&frame);
        if (over) break;
    }
    return c->why != HANGAR_OK ? cancelled(c, err) : code;
}

hangar_code hg_runner_call_parcel(hg_runner *r, const hg_parcel *call, hg_piece_fn *on_piece, void *ctx,
                                  hangar_job *job, hg_frame *out, hangar_err *err)
{
    *out = (hg_frame){0};
    if (r->state != HG_RUNNER_READY)
        return hg_fail(err, r->state == HG_RUNNER_BUSY ? HANGAR_E_BUSY : HANGAR_E_ENGINE, "the %s engine %s",
                       r->engine->name,
                       r->state == HG_RUNNER_BUSY ? "is busy with another call"
                                                  : "has ended; load the model again");
    hangar_code code = hg_job_check(job, err);
    if (code != HANGAR_OK) return code;
    hg_runner_move(r, HG_RUNNER_BUSY);
    hg_parcel parcel = *call;
    parcel.type = HG_WIRE_CALL;
    course c = {.on_piece = on_piece, .ctx = ctx, .job = job};
    code = send_frame(r, &parcel, r->options.step_timeout, err);
    if (code == HANGAR_OK) code = follow_call(r, &c, out, err);
    if (r->state == HG_RUNNER_BUSY) hg_runner_move(r, HG_RUNNER_READY);
    return code;
}

hangar_code hg_runner_call(hg_runner *r, hg_str call, const void *bin, size_t bin_len, hg_piece_fn *on_piece,
                           void *ctx, hangar_job *job, hg_frame *out, hangar_err *err)
{
    hg_parcel parcel = {.json = call, .bin = bin, .bin_len = bin_len};
    return hg_runner_call_parcel(r, &parcel, on_piece, ctx, job, out, err);
}

void hg_runner_end(hg_runner *r)
{
    if (!r) return;
    hg_runner_move(r, HG_RUNNER_ENDED);
    hg_proc_end(r->proc, END_GRACE);
    free(r);
}

pid_t hg_runner_pid(const hg_runner *r)
{
    return r->proc ? hg_proc_pid(r->proc) : 0;
}

uint64_t hg_runner_memory(hg_runner *r)
{
    if (!r->proc || hg_proc_ended(r->proc)) return 0;
    char path[64], text[128];
    snprintf(path, sizeof path, "/proc/%d/statm", (int)hg_proc_pid(r->proc));
    HG_AUTO(hg_auto_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    if (n <= 0) return 0;
    text[n] = '\0';
    unsigned long long size = 0, resident = 0;
    if (sscanf(text, "%llu %llu", &size, &resident) != 2) return 0;
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}
