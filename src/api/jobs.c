/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tasks. A task's events are made where they happen, on threads of its verb, into finished text that goes to an inbox; the loop empties it at
 * most ten times a second (pump), numbers what came and hands it to the ears in pieces. Whatever a verb has to tell, the loop only moves
 * pointers, and each turn is bounded.
 *
 * Lifetime: hg_loop tells things in the order in which they were posted, so when `worked` is told, no wake of that task is under way.
 */
#include "api/jobs.h"

#include "api/http.h"
#include "base/clock.h"
#include "base/job.h"
#include "base/log.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdio.h>

#define PUMP_EVERY 0.1                /* seconds */
#define NEAR       64                 /* frames of the inbox that are looked through for one to replace */
#define PIECE      ((size_t)64 << 10) /* bytes that one ear is given in one turn */

/* One event as text. */
typedef struct frame {
    char *text; /* "event: item\ndata: {...}\n\n" */
    char *item; /* whose progress it is; NULL = of nothing: never replaced */
    size_t len;
} frame;

struct hg_ear {
    hg_ear *next;
    hg_task *task;
    hg_ear_fns fns;
    void *ctx;
    uint64_t at; /* the number of the next event for it */
    bool closed; /* inside a callback: freed behind it */
};

struct hg_task {
    hg_task *next; /* newest first */
    hg_jobs *jobs;
    char id[17];
    const hg_verb *verb;
    hg_json *doc;
    hg_args args;
    hangar_job *job;
    hg_task_state state;
    bool reads, background;
    int64_t created, started, ended;
    /* the worker's result, read when `worked` is told */
    hangar_code code;
    hangar_err err;
    char *json;
    /* the inbox: any thread, under the mutex */
    pthread_mutex_t mutex;
    frame *inbox;
    size_t inbox_len, inbox_cap, inbox_bytes;
    uint64_t dropped;
    bool woken;  /* a wake is under way */
    bool worked; /* no thread works on it any more: nothing is woken */
    /* what is kept: numbers first .. first + kept_len - 1 */
    frame *kept;
    size_t kept_at, kept_len, kept_bytes;
    uint64_t first;
    hg_ear *ears;
    hg_timer *timer;
    double pumped;
    bool timer_set, telling;
};

struct hg_jobs {
    hangar *h;
    hg_loop *loop;
    hg_task *tasks;
    size_t running[2], waiting; /* [reads] */
    bool closing;
    hg_loop_fn *closed;
    void *closed_ctx;
};

const char *hg_task_state_name(hg_task_state s)
{
    static const char *const names[] = {"queued", "running", "done", "failed", "cancelled"};
    return s < HG_LEN(names) ? names[s] : "unknown";
}

static void pump(void *ctx);
static void start_waiting(hg_jobs *jobs);
static void take_inbox(hg_task *t);

static bool has_ended(const hg_task *t)
{
    return t->state >= HG_TASK_DONE;
}

/* The only place where a task changes its state. */
static void task_move(hg_task *t, hg_task_state to)
{
    hg_log(HG_LOG_INFO, "jobs", "%s (%s): %s -> %s%s%s", t->id, t->verb->name, hg_task_state_name(t->state),
           hg_task_state_name(to), to == HG_TASK_FAILED ? ": " : "", to == HG_TASK_FAILED ? t->err.msg : "");
    if (t->state == HG_TASK_QUEUED) t->jobs->waiting--;
    if (t->state == HG_TASK_RUNNING) t->jobs->running[t->reads]--;
    t->state = to;
    if (to == HG_TASK_RUNNING) {
        t->jobs->running[t->reads]++;
        t->started = hg_wall();
    }
    if (has_ended(t)) t->ended = hg_wall();
}

/* ---- the end of a task ---- */

static void free_frames(frame *frames, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        free(frames[i].text);
        free(frames[i].item);
    }
}

static void task_free(hg_task *t)
{
    for (hg_ear *e = t->ears, *next; e; e = next) {
        next = e->next;
        free(e);
    }
    if (t->kept)
        for (size_t i = 0; i < t->kept_len; i++) free_frames(&t->kept[(t->kept_at + i) % HG_TASK_EVENTS], 1);
    free(t->kept);
    free_frames(t->inbox, t->inbox_len);
    free(t->inbox);
    hg_timer_free(t->timer);
    hangar_job_free(t->job);
    hg_args_deinit(&t->args);
    hg_json_free(t->doc);
    free(t->json);
    pthread_mutex_destroy(&t->mutex);
    free(t);
}

static void drop(hg_task *t)
{
    for (hg_task **at = &t->jobs->tasks; *at; at = &(*at)->next) {
        if (*at != t) continue;
        *at = t->next;
        break;
    }
    task_free(t);
}

/* Forgets what nobody needs: ended tasks that were no background ones, and the oldest of those that were. */
static void forget(hg_jobs *jobs)
{
    size_t kept = 0;
    for (hg_task **at = &jobs->tasks; *at;) {
        hg_task *t = *at;
        bool idle = has_ended(t) && !t->ears && !t->telling;
        if (idle && (!t->background || ++kept > HG_TASKS_KEPT)) {
            *at = t->next;
            task_free(t);
        } else {
            at = &t->next;
        }
    }
}

static void look_closed(hg_jobs *jobs)
{
    if (!jobs->closing || jobs->waiting || jobs->running[0] || jobs->running[1] || !jobs->closed) return;
    hg_loop_fn *closed = jobs->closed;
    jobs->closed = NULL;
    if (hg_loop_post(jobs->loop, closed, jobs->closed_ctx, NULL) != HANGAR_OK) closed(jobs->closed_ctx);
}

/* ---- events, on the verb's threads ---- */

/* Takes the place of an earlier one about the same thing, when that has not been told yet. */
static bool replace(hg_task *t, const frame *f)
{
    for (size_t i = t->inbox_len; i-- > 0 && t->inbox_len - i <= NEAR;) {
        frame *old = &t->inbox[i];
        if (!old->item || strcmp(old->item, f->item) != 0) continue;
        t->inbox_bytes -= old->len;
        free_frames(old, 1);
        memmove(old, old + 1, (t->inbox_len - i - 1) * sizeof *old);
        t->inbox_len--;
        return true;
    }
    return false;
}

static void wake(void *ctx)
{
    hg_task *t = ctx;
    pthread_mutex_lock(&t->mutex);
    t->woken = false;
    pthread_mutex_unlock(&t->mutex);
    double wait = t->pumped + PUMP_EVERY - hg_now();
    if (t->timer_set) return;
    t->timer_set = true;
    hg_timer_set(t->timer, wait > 0 ? wait : 0, 0);
}

/* Takes f into the inbox, or counts it as left out. */
static void put(hg_task *t, frame *f)
{
    pthread_mutex_lock(&t->mutex);
    if (f->item) (void)replace(t, f);
    bool fits = t->inbox_bytes + f->len <= HG_TASK_INBOX &&
                hg_grow((void **)&t->inbox, &t->inbox_cap, t->inbox_len + 1, sizeof *f);
    if (fits) {
        t->inbox[t->inbox_len++] = *f;
        t->inbox_bytes += f->len;
    } else {
        t->dropped++;
    }
    bool post = fits && !t->woken && !t->worked;
    if (post) t->woken = hg_loop_post(t->jobs->loop, wake, t, NULL) == HANGAR_OK;
    pthread_mutex_unlock(&t->mutex);
    if (!fits) free_frames(f, 1);
}

static void on_event(void *ctx, const hangar_event *e)
{
    hg_task *t = ctx;
    bool progress = (e->kind == HANGAR_EVENT_ITEM && !*e->text) || e->kind == HANGAR_EVENT_TOTAL;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    char *json = NULL;
    hg_jw_obj(w, NULL);
    hg_job_event_write(e, w);
    if (!w || hg_jw_finish(w, false, &json, NULL) != HANGAR_OK) return;
    frame f = {.text = hg_format("event: %s\ndata: %s\n\n", hangar_event_name(e->kind), json)};
    free(json);
    if (progress) f.item = hg_strdup(e->kind == HANGAR_EVENT_TOTAL ? "" : e->item);
    if (f.text && (f.item || !progress)) {
        f.len = strlen(f.text);
        put(t, &f);
    } else {
        free_frames(&f, 1);
    }
}

/* ---- the work, on a worker ---- */

static bool ask(void *face, const char *prompt, hg_buf *line)
{
    (void)face, (void)prompt, (void)line;
    return false;
}

static hangar_job *turn(void *face)
{
    return ((hg_task *)face)->job;
}

static void wait_for_end(void *face)
{
    const hg_task *t = face;
    while (!hangar_job_is_cancelled(t->job)) hg_sleep(PUMP_EVERY);
}

static void say(void *face, const char *line)
{
    hg_job_note(((hg_task *)face)->job, "%s", line);
}

static void work(void *ctx)
{
    hg_task *t = ctx;
    hg_call call = {.h = t->verb->flags & HG_VERB_NO_HANDLE ? NULL : t->jobs->h,
                    .job = t->job,
                    .args = t->args.values,
                    .json = true,
                    .face = t,
                    .ask = ask,
                    .turn = turn,
                    .wait = wait_for_end,
                    .say = say};
    t->code = t->verb->run(&call, &t->json, &t->err);
    /* Where the exit code is the answer (show --exists), the document holds it, too. */
    if (call.silent && t->json) t->code = HANGAR_OK;
    t->err.code = t->code;
}

/* The number of left-out events becomes an event, so that nobody takes the list for whole. */
static void tell_dropped(hg_task *t)
{
    if (t->dropped) hg_job_note(t->job, "%llu events were left out", (unsigned long long)t->dropped);
}

static void end_task(hg_task *t)
{
    hg_jobs *jobs = t->jobs;
    t->worked = true;
    take_inbox(t);
    tell_dropped(t);
    task_move(t, t->code == HANGAR_OK            ? HG_TASK_DONE
                 : t->code == HANGAR_E_CANCELLED ? HG_TASK_CANCELLED
                                                 : HG_TASK_FAILED);
    t->timer_set = true;
    hg_timer_set(t->timer, 0, 0);
    start_waiting(jobs);
    look_closed(jobs);
}

static void worked(void *ctx)
{
    end_task(ctx);
}

static void cancel_waiting(hg_task *t)
{
    t->code = hg_fail(&t->err, HANGAR_E_CANCELLED, "%s", hangar_code_text(HANGAR_E_CANCELLED));
    end_task(t);
}

static bool has_room(const hg_jobs *jobs, bool reads)
{
    return jobs->running[reads] < HG_TASKS_AT_ONCE;
}

/* Gives the task to a worker. */
static void run_task(hg_task *t)
{
    hangar_err err = {0};
    task_move(t, HG_TASK_RUNNING);
    /* From here on code and words are the worker's, unless there is none. */
    hangar_code code = hg_loop_work(t->jobs->loop, work, worked, t, &err);
    if (code == HANGAR_OK) return;
    t->code = code;
    t->err = err;
    end_task(t);
}

/* The oldest that waits and has room; tasks are kept newest first. */
static hg_task *next_waiting(const hg_jobs *jobs)
{
    hg_task *found = NULL;
    for (hg_task *t = jobs->tasks; t; t = t->next)
        if (t->state == HG_TASK_QUEUED && has_room(jobs, t->reads)) found = t;
    return found;
}

static void start_waiting(hg_jobs *jobs)
{
    hg_task *t;
    while (!jobs->closing && (t = next_waiting(jobs)) != NULL) run_task(t);
}

/* ---- telling, on the loop ---- */

/* Takes the inbox over into what is kept. Returns false when there is no memory to keep it in: then it is lost. */
static void take_inbox(hg_task *t)
{
    pthread_mutex_lock(&t->mutex);
    frame *frames = t->inbox;
    size_t len = t->inbox_len;
    t->inbox = NULL;
    t->inbox_len = t->inbox_cap = t->inbox_bytes = 0;
    pthread_mutex_unlock(&t->mutex);
    if (len && !t->kept) t->kept = hg_calloc(HG_TASK_EVENTS, sizeof *t->kept);
    for (size_t i = 0; i < len; i++) {
        if (!t->kept) {
            free_frames(&frames[i], 1);
            continue;
        }
        while (t->kept_len &&
               (t->kept_len == HG_TASK_EVENTS || t->kept_bytes + frames[i].len > HG_TASK_BYTES)) {
            t->kept_bytes -= t->kept[t->kept_at].len;
            free_frames(&t->kept[t->kept_at], 1);
            t->kept_at = (t->kept_at + 1) % HG_TASK_EVENTS;
            t->kept_len--;
            t->first++;
        }
        t->kept[(t->kept_at + t->kept_len++) % HG_TASK_EVENTS] = frames[i];
        t->kept_bytes += frames[i].len;
    }
    free(frames);
}

static void ear_free(hg_ear *ear)
{
    for (hg_ear **at = &ear->task->ears; *at; at = &(*at)->next) {
        if (*at != ear) continue;
        *at = ear->next;
        break;
    }
    free(ear);
}

/* Tells one ear what it has not heard, a piece at most. True when it has heard all. */
static bool tell(hg_task *t, hg_ear *ear)
{
    uint64_t end = t->first + t->kept_len;
    hg_buf piece;
    hg_buf_init(&piece, PIECE + HG_TASK_BYTES);
    if (ear->at < t->first) ear->at = t->first;
    while (ear->at < end && piece.len < PIECE) {
        const frame *f = &t->kept[(t->kept_at + (size_t)(ear->at - t->first)) % HG_TASK_EVENTS];
        hg_buf_printf(&piece, "id: %llu\n", (unsigned long long)ear->at++);
        hg_buf_add(&piece, f->text, f->len);
    }
    if (piece.len) ear->fns.events(ear->ctx, hg_buf_view(&piece));
    hg_buf_deinit(&piece);
    return ear->at >= end;
}

/* Takes what came and tells it; goes on in the next turn when an ear has not heard all. */
static void pump(void *ctx)
{
    hg_task *t = ctx;
    bool more = false;
    t->timer_set = false;
    t->pumped = hg_now();
    take_inbox(t);
    t->telling = true;
    for (hg_ear *ear = t->ears; ear; ear = ear->next) {
        if (ear->closed) continue;
        bool all = tell(t, ear);
        if (!all) more = true;
        else if (has_ended(t) && !ear->closed) {
            ear->closed = true;
            ear->fns.end(ear->ctx, t);
        }
    }
    t->telling = false;
    for (hg_ear *ear = t->ears, *next; ear; ear = next) {
        next = ear->next;
        if (ear->closed) ear_free(ear);
    }
    if (more) {
        t->timer_set = true;
        hg_timer_set(t->timer, 0, 0);
    }
    if (has_ended(t)) forget(t->jobs);
}

hangar_code hg_task_listen(hg_task *t, uint64_t after, const hg_ear_fns *fns, void *ctx, hg_ear **out,
                           hangar_err *err)
{
    hg_ear *ear = hg_calloc(1, sizeof *ear);
    if (!ear) return hg_fail_memory(err);
    *ear = (hg_ear){.next = t->ears, .task = t, .fns = *fns, .ctx = ctx, .at = after + 1};
    if (after >= t->first + t->kept_len) ear->at = t->first + t->kept_len; /* a number that was never given */
    t->ears = ear;
    t->timer_set = true;
    hg_timer_set(t->timer, 0, 0);
    *out = ear;
    return HANGAR_OK;
}

void hg_ear_close(hg_ear *ear, bool cancel)
{
    hg_task *t = ear->task;
    bool listened = false;
    ear->closed = true;
    for (const hg_ear *e = t->ears; e; e = e->next) listened = listened || !e->closed;
    if (!t->telling) ear_free(ear);
    if (cancel && !listened && !t->background) hg_task_cancel(t);
}

/* ---- the table ---- */

hangar_code hg_jobs_new(hangar *h, hg_loop *loop, hg_jobs **out, hangar_err *err)
{
    *out = hg_calloc(1, sizeof **out);
    if (!*out) return hg_fail_memory(err);
    (*out)->h = h;
    (*out)->loop = loop;
    return HANGAR_OK;
}

void hg_jobs_close(hg_jobs *jobs, hg_loop_fn *done, void *ctx)
{
    jobs->closing = true;
    jobs->closed = done;
    jobs->closed_ctx = ctx;
    for (hg_task *t = jobs->tasks; t; t = t->next)
        if (!has_ended(t)) hg_task_cancel(t);
    look_closed(jobs);
}

void hg_jobs_free(hg_jobs *jobs)
{
    if (!jobs) return;
    while (jobs->tasks) drop(jobs->tasks);
    free(jobs);
}

size_t hg_jobs_running(const hg_jobs *jobs)
{
    return jobs->waiting + jobs->running[0] + jobs->running[1];
}

static void make_id(char id[17])
{
    uint8_t bytes[8];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(hg_random() * 256);
    hg_hex_encode(bytes, sizeof bytes, id);
}

static hangar_code make_task(hg_jobs *jobs, const hg_task_spec *spec, hg_task **out, hangar_err *err)
{
    hg_task *t = hg_calloc(1, sizeof *t);
    if (!t) {
        hg_json_free(spec->doc);
        return hg_fail_memory(err);
    }
    *t = (hg_task){.jobs = jobs,
                   .verb = spec->verb,
                   .doc = spec->doc,
                   .reads = spec->reads,
                   .background = spec->background,
                   .created = hg_wall(),
                   .first = 1};
    pthread_mutex_init(&t->mutex, NULL);
    make_id(t->id);
    hangar_code code =
        hg_args_from_json(t->verb->params, t->verb->args_size, hg_json_root(t->doc), &t->args, err);
    if (code == HANGAR_OK && !(t->job = hangar_job_new(on_event, t))) code = hg_fail_memory(err);
    if (code == HANGAR_OK) code = hg_timer_new(jobs->loop, pump, t, &t->timer, err);
    if (code != HANGAR_OK) {
        task_free(t);
        return code;
    }
    *out = t;
    return HANGAR_OK;
}

hangar_code hg_task_start(hg_jobs *jobs, const hg_task_spec *spec, hg_task **out, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    if (jobs->closing) code = hg_fail(err, HANGAR_E_OVERLOADED, "hangar is ending");
    else if (jobs->waiting >= HG_TASKS_WAITING)
        code = hg_fail(err, HANGAR_E_OVERLOADED, "%d jobs are waiting already", HG_TASKS_WAITING);
    if (code != HANGAR_OK) {
        hg_json_free(spec->doc);
        return code;
    }
    hg_task *t = NULL;
    if ((code = make_task(jobs, spec, &t, err)) != HANGAR_OK) return code;
    t->next = jobs->tasks;
    jobs->tasks = t;
    jobs->waiting++;
    start_waiting(jobs);
    *out = t;
    return HANGAR_OK;
}

void hg_task_cancel(hg_task *t)
{
    if (has_ended(t)) return;
    if (!hangar_job_is_cancelled(t->job)) hg_log(HG_LOG_INFO, "jobs", "%s is asked to end", t->id);
    hangar_job_cancel(t->job);
    if (t->state == HG_TASK_QUEUED) cancel_waiting(t);
}

hg_task *hg_task_find(hg_jobs *jobs, const char *id)
{
    for (hg_task *t = jobs->tasks; t; t = t->next)
        if (hg_streq(t->id, id)) return t;
    return NULL;
}

hg_task *hg_task_at(hg_jobs *jobs, size_t index)
{
    hg_task *t = jobs->tasks;
    while (t && index-- > 0) t = t->next;
    return t;
}

/* ---- what is told of one ---- */

const char *hg_task_id(const hg_task *t)
{
    return t->id;
}

bool hg_task_background(const hg_task *t)
{
    return t->background;
}

hangar_code hg_task_code(const hg_task *t)
{
    return has_ended(t) ? t->code : HANGAR_OK;
}

const hangar_err *hg_task_error(const hg_task *t)
{
    return &t->err;
}

const char *hg_task_result(const hg_task *t)
{
    return has_ended(t) ? t->json : NULL;
}

static void write_time(hg_jw *w, const char *key, int64_t at)
{
    if (at) hg_jw_i64(w, key, at);
    else hg_jw_null(w, key);
}

/* "error" as an answer would have it. */
static void write_error(const hg_task *t, hg_jw *w)
{
    HG_AUTO(hg_auto_free) char *text = hg_error_json(HG_DIALECT_NATIVE, &t->err);
    hg_json *doc = NULL;
    if (text && hg_json_parse(hg_str_of(text), NULL, &doc, NULL) == HANGAR_OK)
        hg_jw_val(w, "error", hg_json_get(hg_json_root(doc), "error"));
    else hg_jw_null(w, "error");
    hg_json_free(doc);
}

void hg_task_write(const hg_task *t, const char *key, hg_jw *w)
{
    hg_jw_obj(w, key);
    hg_jw_text(w, "id", t->id);
    hg_jw_text(w, "verb", t->verb->name);
    hg_jw_text(w, "ref", hg_json_text(hg_json_get(hg_json_root(t->doc), "ref")));
    hg_jw_text(w, "state", hg_task_state_name(t->state));
    hg_jw_bool(w, "background", t->background);
    hg_jw_bool(w, "cancelling", !has_ended(t) && hangar_job_is_cancelled(t->job));
    write_time(w, "created", t->created);
    write_time(w, "started", t->started);
    write_time(w, "ended", t->ended);
    hg_jw_u64(w, "events", t->first + t->kept_len - 1);
    if (has_ended(t) && t->code != HANGAR_OK) {
        write_error(t, w);
    } else {
        hg_jw_null(w, "error");
    }
    hg_jw_end(w);
}
