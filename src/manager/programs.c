/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeping programs running: one thread looks at all of them whenever one ends, a signal comes, or something is waited for.
 *
 *   WAITS -> RUNS -> ENDED
 *             | ^
 *             v |
 *           PAUSES       after an end that is to be followed by another start
 *
 * move() is the only place where a state changes. Each program has a process group of its own, so a terminal's Ctrl-C reaches it through here alone,
 * and in the order that the end has. Should this process be killed, the programs die with it (PR_SET_PDEATHSIG), and the keeper, a child that
 * does nothing but wait for that, kills what they have started.
 */
#include "base/clock.h"
#include "base/job.h"
#include "base/mem.h"
#include "manager/daemon_client.h"
#include "manager/programs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define GRACE        10.0 /* seconds */
#define LOOK_EVERY   0.2  /* seconds between two looks at what is waited for */
#define ASK_EVERY    5.0  /* seconds between two requests to load a model */
#define ASK_SECONDS  2.0
#define STEADY       10.0 /* seconds that a program runs until its failures are forgotten */
#define PAUSE_MAX    30.0
#define DAEMON_GRACE 30.0

typedef struct hg_programs {
    hangar *h;
    hangar_job *job;
    hg_catalog *catalog;
    hg_program items[HG_PROGRAMS_MAX + 1]; /* the daemon is the last one, when it is ours */
    size_t count;
    bool own_daemon;
    double grace;
    int keeper[2]; /* pipe to the keeper; [1] is ours */
    pid_t keeper_pid;
} hg_programs;

/* ---- signals ---- */

static atomic_int signal_fd = -1;

static void on_signal(int number)
{
    int keep = errno;
    unsigned char byte = (unsigned char)number;
    (void)!write(atomic_load(&signal_fd), &byte, 1);
    errno = keep;
}

static const int taken[] = {SIGINT, SIGTERM, SIGHUP};

/* The signals as they come: a pipe, and what was there before. */
typedef struct signals {
    int pipe[2];
    struct sigaction before[HG_LEN(taken)];
    bool on;
} signals;

static hangar_code signals_take(signals *s, bool wanted, hangar_err *err)
{
    *s = (signals){.pipe = {-1, -1}};
    if (pipe2(s->pipe, O_CLOEXEC | O_NONBLOCK) != 0) return hg_fail_errno(err, errno, "a pipe for signals");
    if (!wanted) return HANGAR_OK;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    atomic_store(&signal_fd, s->pipe[1]);
    for (size_t i = 0; i < HG_LEN(taken); i++) {
        sigaction(taken[i], NULL, &s->before[i]);
        if (s->before[i].sa_handler != SIG_IGN) sigaction(taken[i], &action, NULL);
    }
    s->on = true;
    return HANGAR_OK;
}

static void signals_give_back(signals *s)
{
    for (size_t i = 0; s->on && i < HG_LEN(taken); i++) sigaction(taken[i], &s->before[i], NULL);
    atomic_store(&signal_fd, -1);
    if (s->pipe[0] >= 0) close(s->pipe[0]);
    if (s->pipe[1] >= 0) close(s->pipe[1]);
}

/* The next signal, 0 = none. */
static int signals_next(const signals *s)
{
    unsigned char byte;
    return read(s->pipe[0], &byte, 1) == 1 ? byte : 0;
}

/* ---- the keeper ---- */

/* In the child: remembers the groups that are alive, and kills them when the other end of the pipe is closed. Only calls that are safe after a fork. */
__attribute__((noreturn)) static void keep(int fd)
{
    pid_t groups[HG_PROGRAMS_MAX + 1] = {0}, got;
    ssize_t n;
    while ((n = read(fd, &got, sizeof got)) == (ssize_t)sizeof got || (n < 0 && errno == EINTR)) {
        if (n < 0) continue;
        pid_t want = got < 0 ? -got : 0, put = got < 0 ? 0 : got;
        size_t i = 0;
        while (i < HG_LEN(groups) && groups[i] != want) i++;
        if (i < HG_LEN(groups)) groups[i] = put;
    }
    for (size_t i = 0; i < HG_LEN(groups); i++)
        if (groups[i]) kill(-groups[i], SIGKILL);
    _exit(0);
}

static hangar_code keeper_start(hg_programs *all, hangar_err *err)
{
    all->keeper[0] = all->keeper[1] = -1;
    if (pipe2(all->keeper, O_CLOEXEC) != 0) return hg_fail_errno(err, errno, "a pipe");
    pid_t pid = fork();
    if (pid < 0) return hg_fail_errno(err, errno, "starting a process");
    if (pid == 0) {
        setsid();
        for (int sig = 1; sig < NSIG; sig++) signal(sig, SIG_IGN);
        for (int fd = 0; fd < 3; fd++) close(fd);
        dup2(all->keeper[0], 0);
        if (syscall(SYS_close_range, 1, ~0u, 0) != 0)
            for (int fd = 1; fd < 65536; fd++) close(fd);
        keep(0);
    }
    close(all->keeper[0]);
    all->keeper[0] = -1;
    all->keeper_pid = pid;
    return HANGAR_OK;
}

/* A group that lives from now on (or, with -group, no longer does). */
static void keeper_tell(const hg_programs *all, pid_t group)
{
    if (all->keeper[1] >= 0) (void)!write(all->keeper[1], &group, sizeof group);
}

static void keeper_end(hg_programs *all)
{
    for (int i = 0; i < 2; i++)
        if (all->keeper[i] >= 0) close(all->keeper[i]);
    if (all->keeper_pid > 0)
        while (waitpid(all->keeper_pid, NULL, 0) < 0 && errno == EINTR) {
        }
}

/* ---- output ---- */

static void put_line(hg_program *p, hg_str line)
{
    HG_AUTO(hg_auto_free) char *whole = hg_format("%s | %.*s\n", p->name, HG_STR_ARG(line));
    if (whole) hg_job_text(p->all->job, hg_str_of(whole));
}

/* On the drain's thread: whole lines, so that those of two programs never mix; one that has no end is cut. */
static void on_output(void *ctx, const char *bytes, size_t len)
{
    hg_program *p = ctx;
    hg_str rest = {bytes, len};
    while (rest.len) {
        const char *end = memchr(rest.ptr, '\n', rest.len);
        size_t n = end ? (size_t)(end - rest.ptr) : rest.len;
        hg_buf_add(&p->line, rest.ptr, n);
        if (end || p->line.state != HANGAR_OK || p->line.len > 32 * HG_KIB) {
            put_line(p, hg_buf_view(&p->line));
            hg_buf_reset(&p->line);
        }
        n += end != NULL;
        rest = (hg_str){rest.ptr + n, rest.len - n};
    }
}

/* ---- states ---- */

static void move(hg_program *p, hg_program_state state, const char *words)
{
    hg_job_note(p->all->job, "%s %s", p->name, words);
    p->state = state;
}

static hangar_code begin(hg_program *p, hangar_err *err)
{
    char words[64];
    const hg_proc_spec spec = {.argv = (const char *const *)p->argv,
                               .env = (const char *const *)p->env,
                               .plain = true,
                               .cwd = p->cwd,
                               .on_output = on_output,
                               .ctx = p};
    const char *given = p->argv[0];
    p->argv[0] = p->path; /* the file that is started; programs look at it as their name, too */
    hangar_code code = hg_proc_start(&spec, &p->proc, err);
    p->argv[0] = (char *)given;
    if (code != HANGAR_OK) return hg_wrap(err, code, "%s", p->name);
    keeper_tell(p->all, hg_proc_pid(p->proc));
    p->pidfd = (int)syscall(SYS_pidfd_open, hg_proc_pid(p->proc), 0);
    p->started = hg_now();
    snprintf(words, sizeof words, "runs (process %d)", (int)hg_proc_pid(p->proc));
    move(p, HG_PROGRAM_RUNS, words);
    return HANGAR_OK;
}

/* Frees what a program that has ended, or is to be killed, leaves. */
static void collect(hg_program *p)
{
    if (!p->proc) return;
    pid_t group = hg_proc_pid(p->proc);
    hg_proc_end(p->proc, 0);
    keeper_tell(p->all, -group);
    p->proc = NULL;
    if (p->pidfd >= 0) close(p->pidfd);
    p->pidfd = -1;
    if (p->line.len) put_line(p, hg_buf_view(&p->line));
    hg_buf_reset(&p->line);
}

/* It has ended by itself: again, well for good, or FAILED. */
static hangar_code ended(hg_program *p, hangar_err *err)
{
    char how[96], words[160];
    const hg_settings *s = p->all->h->settings;
    hg_proc_how(p->proc, how, sizeof how, NULL, NULL);
    bool well = hg_streq(how, "exit code 0");
    if (hg_now() - p->started >= STEADY) p->failures = 0;
    collect(p);
    if (p->restart == HG_RESTART_NEVER || (well && p->restart == HG_RESTART_ON_FAILURE)) {
        snprintf(words, sizeof words, "ended: %s", how);
        move(p, HG_PROGRAM_ENDED, words);
        return well ? HANGAR_OK : hg_fail(err, HANGAR_E_FAILED, "%s ended: %s", p->name, how);
    }
    if (!well && ++p->failures > s->serve_restart_limit)
        return hg_fail(err, HANGAR_E_FAILED, "%s ended: %s; that was the %uth time in a row", p->name, how,
                       p->failures);
    double pause = s->serve_restart_backoff;
    for (unsigned i = 1; i < p->failures && pause < PAUSE_MAX; i++) pause *= 2;
    if (pause > PAUSE_MAX) pause = PAUSE_MAX;
    p->again_at = hg_now() + pause;
    snprintf(words, sizeof words, "ended: %s; it is started again in %.3g s", how, pause);
    move(p, HG_PROGRAM_PAUSES, words);
    return HANGAR_OK;
}

/* ---- what is waited for ---- */

/* Says what a program waits for, once. */
static void tell_wait(hg_program *p, const char *what)
{
    if (hg_streq(p->told, what)) return;
    snprintf(p->told, sizeof p->told, "%s", what);
    hg_job_note(p->all->job, "%s waits: %s", p->name, what);
}

/* Asks a daemon that is somebody else's for a model that it does not hold. The load goes on when the request is over. */
static void ask_load(hg_program *p, const char *model)
{
    double now = hg_now();
    HG_AUTO(hg_auto_free) char *body = NULL;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (p->asked_at > 0 && now - p->asked_at < ASK_EVERY) return;
    p->asked_at = now;
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "model", model);
    hg_jw_bool(w, "pinned", true);
    hangar_err why = {0};
    if (hg_jw_finish(w, false, &body, NULL) != HANGAR_OK) return;
    const hg_daemon_call call = {.method = "POST",
                                 .path = "/hangar/v1/load",
                                 .body = body,
                                 .timeout = ASK_SECONDS};
    hangar_code code = hg_daemon_ask(p->all->h, &call, NULL, &why);
    if (code != HANGAR_OK && code != HANGAR_E_TIMEOUT) tell_wait(p, why.msg);
}

/* Whether its models are ready; *yes. An error when one never will be. */
static hangar_code models_ready(hg_program *p, bool *yes, hangar_err *err)
{
    hg_programs *all = p->all;
    *yes = false;
    while (p->models[p->ready]) {
        const hg_entry *e = p->entries[p->ready];
        const char *name = p->models[p->ready];
        char why[HANGAR_ERR_MAX] = "";
        bool held = false;
        if (!e || e->kind != HG_ENTRY_CLOUD) {
            hangar_code code = hg_daemon_ready(all->h, name, e, NULL, ASK_SECONDS, &held, why, err);
            if (code == HANGAR_E_BUSY) {
                HG_AUTO(hg_auto_free) char *line = hg_format("for %s: %s", name, why);
                if (line) tell_wait(p, line);
                if (!held && hangar_daemon_running(all->h)) ask_load(p, name);
                return HANGAR_OK;
            }
            if (code != HANGAR_OK) return code;
        }
        p->ready++;
    }
    *yes = true;
    return HANGAR_OK;
}

/* Starts a program when everything before it is there. */
static hangar_code try_begin(hg_program *p, hangar_err *err)
{
    hg_programs *all = p->all;
    bool is_daemon = all->own_daemon && p == &all->items[all->count - 1], yes = true;
    for (size_t i = 0; i < p->after_count; i++) {
        const hg_program *before = &all->items[p->after[i]];
        if (before->state != HG_PROGRAM_RUNS && before->state != HG_PROGRAM_ENDED) return HANGAR_OK;
    }
    if (!is_daemon && all->own_daemon && !hangar_daemon_running(all->h)) return HANGAR_OK;
    hangar_code code = is_daemon ? HANGAR_OK : models_ready(p, &yes, err);
    return code == HANGAR_OK && yes ? begin(p, err) : code;
}

/* ---- the whole ---- */

/* One look at all. *left = how many are not over. */
static hangar_code look(hg_programs *all, size_t *left, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    *left = 0;
    for (size_t n = 0; code == HANGAR_OK && n < all->count; n++) {
        /* The daemon first. */
        hg_program *p = &all->items[all->own_daemon ? (n + all->count - 1) % all->count : n];
        bool is_daemon = all->own_daemon && n == 0;
        if (p->state == HG_PROGRAM_RUNS && hg_proc_ended(p->proc)) code = ended(p, err);
        if (code == HANGAR_OK && p->state == HG_PROGRAM_PAUSES && hg_now() >= p->again_at)
            code = begin(p, err);
        if (code == HANGAR_OK && p->state == HG_PROGRAM_WAITS) code = try_begin(p, err);
        if (!is_daemon) *left += p->state != HG_PROGRAM_ENDED;
    }
    return code;
}

/* Sleeps until something may have happened. */
static void rest(const hg_programs *all, const signals *s)
{
    struct pollfd fds[HG_PROGRAMS_MAX + 2] = {{.fd = s->pipe[0], .events = POLLIN}};
    nfds_t n = 1;
    double wait = 1, now = hg_now();
    for (size_t i = 0; i < all->count; i++) {
        const hg_program *p = &all->items[i];
        if (p->state == HG_PROGRAM_RUNS && p->pidfd >= 0)
            fds[n++] = (struct pollfd){.fd = p->pidfd, .events = POLLIN};
        if (p->state == HG_PROGRAM_WAITS || (p->state == HG_PROGRAM_RUNS && p->pidfd < 0))
            wait = wait < LOOK_EVERY ? wait : LOOK_EVERY;
        if (p->state == HG_PROGRAM_PAUSES && p->again_at - now < wait)
            wait = p->again_at > now ? p->again_at - now : 0;
    }
    poll(fds, n, (int)(wait * 1000) + 1);
}

/* Ends one: the signal, its time, the end of its group. A second signal ends the waiting of all. */
static void end_one(hg_program *p, int number, double grace, const signals *s, bool *hurry)
{
    char how[96];
    double until = hg_now() + grace;
    if (!p->proc) return;
    hg_proc_signal(p->proc, number);
    while (!*hurry && !hg_proc_ended(p->proc) && hg_now() < until) {
        struct pollfd fds[2] = {{.fd = s->pipe[0], .events = POLLIN}, {.fd = p->pidfd, .events = POLLIN}};
        poll(fds, p->pidfd >= 0 ? 2 : 1, p->pidfd >= 0 ? 500 : 20);
        for (int more; (more = signals_next(s));) *hurry = *hurry || more != SIGHUP;
    }
    if (hg_proc_ended(p->proc)) hg_proc_how(p->proc, how, sizeof how, NULL, NULL);
    else snprintf(how, sizeof how, "killed, it did not end in time");
    collect(p);
    char words[128];
    snprintf(words, sizeof words, "ended: %s", how);
    move(p, HG_PROGRAM_ENDED, words);
}

static void end_all(hg_programs *all, int number, const signals *s)
{
    bool hurry = false;
    size_t programs = all->count - all->own_daemon;
    for (size_t i = programs; i-- > 0;) end_one(&all->items[i], number, all->grace, s, &hurry);
    if (all->own_daemon)
        end_one(&all->items[programs], SIGTERM, all->grace > DAEMON_GRACE ? all->grace : DAEMON_GRACE, s,
                &hurry);
}

/* Until all have ended, one has failed, or somebody wants the end. *number is the signal that the rest gets. */
static hangar_code keep_running(hg_programs *all, const signals *s, int *number, hangar_err *err)
{
    *number = SIGTERM;
    for (;;) {
        size_t left;
        hangar_code code = look(all, &left, err);
        if (code != HANGAR_OK || left == 0 || hangar_job_is_cancelled(all->job)) return code;
        for (int got; (got = signals_next(s));) {
            if (got != SIGHUP) {
                *number = got;
                hg_job_note(all->job, "asked to end: the programs end, the last one first");
                return HANGAR_OK;
            }
            for (size_t i = 0; i < all->count - all->own_daemon; i++)
                if (all->items[i].proc) hg_proc_signal(all->items[i].proc, SIGHUP);
        }
        rest(all, s);
    }
}

/* `hangar serve`, with all models that the programs need. */
static hangar_code add_daemon(hg_programs *all, const char *path, hangar_err *err)
{
    hg_program *d = &all->items[all->count];
    size_t most = 3, n = 0;
    for (size_t i = 0; i < all->count; i++)
        for (char **m = all->items[i].models; *m; m++) most += 2;
    *d = (hg_program){.all = all, .pidfd = -1, .restart = HG_RESTART_ALWAYS};
    hg_buf_init(&d->line, 64 * HG_KIB);
    all->count++;
    all->own_daemon = true;
    d->name = hg_strdup("hangar");
    d->path = hg_strdup(path);
    d->argv = hg_calloc(most, sizeof *d->argv);
    d->env = hg_program_env(NULL, 0);
    d->models = hg_calloc(1, sizeof *d->models);
    if (!d->name || !d->path || !d->argv || !d->env || !d->models) return hg_fail_memory(err);
    if (!(d->argv[n++] = hg_strdup("hangar")) || !(d->argv[n++] = hg_strdup("serve")))
        return hg_fail_memory(err);
    for (size_t i = 0; i + 1 < all->count; i++) {
        for (size_t k = 0; all->items[i].models[k]; k++) {
            const hg_entry *e = all->items[i].entries[k];
            bool there = e && e->kind == HG_ENTRY_CLOUD;
            for (size_t m = 3; m < n && !there; m += 2) there = hg_streq(d->argv[m], all->items[i].models[k]);
            if (there) continue;
            if (!(d->argv[n++] = hg_strdup("--preload")) ||
                !(d->argv[n++] = hg_strdup(all->items[i].models[k])))
                return hg_fail_memory(err);
        }
    }
    return HANGAR_OK;
}

static hangar_code run(hg_programs *all, const hangar_programs_options *o, hangar_err *err)
{
    signals s;
    int number = SIGTERM;
    all->grace = o->grace > 0 ? o->grace : GRACE;
    all->keeper[0] = all->keeper[1] = -1;
    hangar_code code = hg_catalog_open(all->h, &all->catalog, err);
    if (code == HANGAR_OK) code = hg_programs_read(all->h, all->catalog, all->items, &all->count, err);
    for (size_t i = 0; i < all->count; i++) all->items[i].all = all;
    if (code == HANGAR_OK && o->daemon && !hangar_daemon_running(all->h))
        code = add_daemon(all, o->daemon, err);
    if (code != HANGAR_OK) return code;
    code = keeper_start(all, err);
    if (code == HANGAR_OK) code = signals_take(&s, o->signals, err);
    if (code == HANGAR_OK) {
        code = keep_running(all, &s, &number, err);
        if (code != HANGAR_OK)
            hg_job_note(all->job, "%s; the others end", err ? err->msg : hangar_code_text(code));
        end_all(all, number, &s);
        signals_give_back(&s);
    }
    keeper_end(all);
    return code;
}

hangar_code hangar_programs_run(hangar *h, const hangar_programs_options *options, hangar_job *job,
                                hangar_err *err)
{
    hangar_programs_options known = {0};
    hangar_err why = {0};
    hangar_code code =
        hg_options_read(options, sizeof options->size, "hangar_programs_options", &known, sizeof known, err);
    if (code != HANGAR_OK) return code;
    hg_programs *all = hg_calloc(1, sizeof *all);
    if (!all) return hg_fail_memory(err);
    all->h = h;
    all->job = job;
    code = run(all, &known, &why);
    if (code != HANGAR_OK && err) *err = why;
    for (size_t i = 0; i < all->count; i++) hg_program_deinit(&all->items[i]);
    hg_catalog_free(all->catalog);
    free(all);
    return code;
}
