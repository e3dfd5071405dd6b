/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariant: whoever holds an hg_proc is the only one that reaps its child, and the child's process group is
 * killed before the child is reaped, so that its number cannot have gone to somebody else.
 *
 * Threads: PR_SET_PDEATHSIG fires when the *thread* that forked ends. Children are therefore forked by one
 * thread of hangar's own that lives as long as the process; callers wait for it. Each child has a second
 * thread here that drains its output, so that a child that prints a lot never blocks. An hg_proc itself
 * belongs to one thread at a time.
 *
 * Failure: the child reports why it could not become the program over a pipe that a successful exec closes.
 */
#include "base/proc.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_FD  3     /* the socket, in the child                     */
#define REPORT_FD 4     /* the pipe on which the child tells an errno   */
#define ENV_MAX   128   /* variables that are taken over, at most       */
#define OOM_SCORE "500" /* the kernel shall rather take the child than hangar */

extern char **environ;

struct hg_proc {
    pid_t pid;
    int fd;
    int out;  /* read end of the child's output */
    int stop; /* eventfd: ends the drain        */
    pthread_t drain;
    pthread_mutex_t mutex; /* ring, at, full */
    char ring[HG_PROC_TAIL];
    size_t at;
    bool full;
    char tail[HG_PROC_TAIL + 1];
    void (*on_output)(void *ctx, const char *bytes, size_t len);
    void *ctx;
    bool ended;
    bool known; /* status and usage are */
    int status;
    struct rusage usage;
};

/* ---- the thread that forks ---- */

/* What a fork needs, all prepared before it. */
typedef struct launch {
    const hg_proc_spec *spec;
    char *const *env;
    pid_t parent;
    int null, socket, out, report; /* the child's ends */
    pid_t pid;                     /* result; -1 with sys set */
    int sys;
} launch;

static pthread_mutex_t spawn_mutex = PTHREAD_MUTEX_INITIALIZER; /* one launch at a time */
static pthread_mutex_t hand_mutex = PTHREAD_MUTEX_INITIALIZER;  /* `hand` */
static pthread_cond_t hand_cond = PTHREAD_COND_INITIALIZER;
static launch *hand;     /* the launch to do; NULL when done */
static pid_t spawner_of; /* the process that the spawner thread lives in */

/* Ends the child in the making; only calls that are safe between fork and exec. */
static void child_fail(int sys)
{
    ssize_t n = write(REPORT_FD, &sys, sizeof sys);
    (void)n;
    _exit(127);
}

static void child_limit(int what, uint64_t value)
{
    struct rlimit limit = {(rlim_t)value, (rlim_t)value};
    if (setrlimit(what, &limit) != 0) child_fail(errno);
}

/* Puts the descriptors in their places, first moving them out of each other's way, and closes all others. */
static void child_fds(const launch *l)
{
    const int from[] = {l->null, l->out, l->out, l->socket, l->report};
    int high[HG_LEN(from)];
    for (size_t i = 0; i < HG_LEN(from); i++) {
        high[i] = fcntl(from[i], F_DUPFD, 16);
        if (high[i] < 0) _exit(127);
    }
    for (size_t i = 0; i < HG_LEN(from); i++)
        if (dup2(high[i], (int)i) < 0) _exit(127);
    if (fcntl(REPORT_FD, F_SETFD, FD_CLOEXEC) != 0) _exit(127);
    if (syscall(SYS_close_range, REPORT_FD + 1, ~0u, 0) != 0)
        for (int fd = REPORT_FD + 1; fd < 65536; fd++) close(fd);
}

static void child_oom_score(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    ssize_t n = write(fd, OOM_SCORE, sizeof OOM_SCORE - 1);
    (void)n;
    close(fd);
}

/* The child between fork and exec. */
__attribute__((noreturn)) static void child_main(const launch *l)
{
    child_fds(l);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != l->parent) _exit(127);
    setpgid(0, 0);
    for (int sig = 1; sig < NSIG; sig++) signal(sig, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    if (l->spec->plain) {
        close(CHILD_FD);
    } else {
        child_oom_score();
        child_limit(RLIMIT_CORE, 0);
    }
    if (l->spec->cwd && chdir(l->spec->cwd) != 0) child_fail(errno);
    if (l->spec->memory_limit) child_limit(RLIMIT_AS, l->spec->memory_limit);
    if (l->spec->cpu_seconds) child_limit(RLIMIT_CPU, l->spec->cpu_seconds);
    if (l->spec->nice) setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + l->spec->nice);
    execve(l->spec->argv[0], (char *const *)l->spec->argv, l->env);
    child_fail(errno);
    _exit(127);
}

static void *spawner_main(void *arg)
{
    (void)arg;
    pthread_setname_np(pthread_self(), "hangar-spawn");
    pthread_mutex_lock(&hand_mutex);
    for (;;) {
        while (!hand || hand->pid != 0) pthread_cond_wait(&hand_cond, &hand_mutex);
        launch *l = hand;
        pid_t pid = fork();
        if (pid == 0) child_main(l);
        l->sys = pid < 0 ? errno : 0;
        l->pid = pid;
        pthread_cond_broadcast(&hand_cond);
    }
    return NULL;
}

/* Makes the spawner thread when this process has none (a fork of hangar's host loses it). Holds spawn_mutex. */
static hangar_code spawner_need(hangar_err *err)
{
    if (spawner_of == getpid()) return HANGAR_OK;
    if (spawner_of != 0) { /* what the lost thread waited on is in an unknown state */
        pthread_mutex_init(&hand_mutex, NULL);
        pthread_cond_init(&hand_cond, NULL);
        hand = NULL;
    }
    pthread_attr_t attr;
    if (pthread_attr_init(&attr) != 0) return hg_fail_memory(err);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    int sys = pthread_create(&thread, &attr, spawner_main, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (sys != 0) return hg_fail_errno(err, sys, "starting a thread");
    spawner_of = getpid();
    return HANGAR_OK;
}

/* Has the spawner fork; *l holds the result. */
static hangar_code spawn(launch *l, hangar_err *err)
{
    pthread_mutex_lock(&spawn_mutex);
    hangar_code code = spawner_need(err);
    if (code == HANGAR_OK) {
        pthread_mutex_lock(&hand_mutex);
        hand = l;
        pthread_cond_broadcast(&hand_cond);
        while (l->pid == 0) pthread_cond_wait(&hand_cond, &hand_mutex);
        hand = NULL;
        pthread_mutex_unlock(&hand_mutex);
        if (l->pid < 0) code = hg_fail_errno(err, l->sys, "starting a process");
    }
    pthread_mutex_unlock(&spawn_mutex);
    return code;
}

/* ---- environment ---- */

/*
 * The variables that a child gets from hangar's own environment. A name that ends in _ or * stands for all
 * that begin so.
 */
static bool env_wanted(const char *entry)
{
    static const char *const names[] = {"PATH=",          "HOME=",         "LANG=",        "LC_ALL=",
                                        "TMPDIR=",        "OMP_",          "HANGAR_LOG=",  "ASAN_OPTIONS=",
                                        "UBSAN_OPTIONS=", "LSAN_OPTIONS=", "TSAN_OPTIONS="};
    for (size_t i = 0; i < HG_LEN(names); i++)
        if (strncmp(entry, names[i], strlen(names[i])) == 0) return true;
    return false;
}

static void env_pick(const char *more, char *out[ENV_MAX + 1])
{
    size_t count = 0;
    if (more) out[count++] = (char *)(uintptr_t)more;
    for (char **e = environ; e && *e && count < ENV_MAX; e++)
        if (env_wanted(*e)) out[count++] = *e;
    out[count] = NULL;
}

/* ---- output ---- */

static void ring_add(hg_proc *p, const char *bytes, size_t len)
{
    pthread_mutex_lock(&p->mutex);
    for (size_t i = 0; i < len; i++) {
        p->ring[p->at] = bytes[i];
        if (++p->at == sizeof p->ring) {
            p->at = 0;
            p->full = true;
        }
    }
    pthread_mutex_unlock(&p->mutex);
}

/* Takes what is there now; false at the end of the output. */
static bool drain_some(hg_proc *p)
{
    char chunk[4096];
    ssize_t n = read(p->out, chunk, sizeof chunk);
    if (n > 0) ring_add(p, chunk, (size_t)n);
    if (n > 0 && p->on_output) p->on_output(p->ctx, chunk, (size_t)n);
    return n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN));
}

/* Reads until the output ends or `stop` is set; then takes what is still there. */
static void *drain_main(void *arg)
{
    hg_proc *p = arg;
    for (;;) {
        struct pollfd fds[2] = {{.fd = p->out, .events = POLLIN}, {.fd = p->stop, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 && errno != EINTR) return NULL;
        if (fds[0].revents && !drain_some(p)) return NULL;
        if (!fds[0].revents && fds[1].revents) return NULL;
    }
}

const char *hg_proc_tail(hg_proc *p)
{
    pthread_mutex_lock(&p->mutex);
    size_t len = 0;
    if (p->full) {
        len = sizeof p->ring - p->at;
        memcpy(p->tail, p->ring + p->at, len);
    }
    memcpy(p->tail + len, p->ring, p->at);
    p->tail[len + p->at] = '\0';
    pthread_mutex_unlock(&p->mutex);
    /* A NUL in the output must not hide what follows. */
    for (size_t i = 0; i < len + p->at; i++)
        if (p->tail[i] == '\0') p->tail[i] = ' ';
    return p->tail;
}

/* ---- start ---- */

static void close_fd(int *fd)
{
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

/* Everything that is open on the way to a child; closed at the end but for what was taken out (-1). */
typedef struct plumbing {
    int socket[2];
    int out[2];
    int report[2];
    int null;
} plumbing;

static void plumbing_close(plumbing *pl)
{
    for (int i = 0; i < 2; i++) {
        close_fd(&pl->socket[i]);
        close_fd(&pl->out[i]);
        close_fd(&pl->report[i]);
    }
    close_fd(&pl->null);
}

static hangar_code plumbing_open(plumbing *pl, hangar_err *err)
{
    *pl = (plumbing){{-1, -1}, {-1, -1}, {-1, -1}, -1};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pl->socket) != 0 ||
        pipe2(pl->out, O_CLOEXEC) != 0 || pipe2(pl->report, O_CLOEXEC) != 0 ||
        (pl->null = open("/dev/null", O_RDWR | O_CLOEXEC)) < 0) {
        hangar_code code = hg_fail_errno(err, errno, "starting a process");
        plumbing_close(pl);
        return code;
    }
    fcntl(pl->out[0], F_SETFL, O_NONBLOCK);
    return HANGAR_OK;
}

/* Reads the errno that the child reports; 0 when the program runs. */
static int report_read(int fd)
{
    int sys = 0;
    ssize_t n;
    do n = read(fd, &sys, sizeof sys);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof sys ? sys : 0;
}

/* Forks and waits until the program runs. The child's ends of the plumbing are closed here. */
static hangar_code launch_program(const hg_proc_spec *spec, plumbing *pl, pid_t *out_pid, hangar_err *err)
{
    char *env[ENV_MAX + 1];
    env_pick(spec->more, env);
    launch l = {.spec = spec,
                .env = spec->env ? (char *const *)spec->env : env,
                .parent = getpid(),
                .null = pl->null,
                .socket = pl->socket[1],
                .out = pl->out[1],
                .report = pl->report[1]};
    hangar_code code = spawn(&l, err);
    close_fd(&pl->socket[1]);
    close_fd(&pl->out[1]);
    close_fd(&pl->report[1]);
    if (code != HANGAR_OK) return code;
    int sys = report_read(pl->report[0]);
    if (sys != 0) {
        while (waitpid(l.pid, NULL, 0) < 0 && errno == EINTR) {
        }
        return hg_fail_errno(err, sys, "starting %s", spec->argv[0]);
    }
    *out_pid = l.pid;
    return HANGAR_OK;
}

hangar_code hg_proc_start(const hg_proc_spec *spec, hg_proc **out, hangar_err *err)
{
    *out = NULL;
    hg_proc *p = hg_calloc(1, sizeof *p);
    if (!p) return hg_fail_memory(err);
    plumbing pl;
    p->on_output = spec->on_output;
    p->ctx = spec->ctx;
    hangar_code code = plumbing_open(&pl, err);
    if (code != HANGAR_OK) {
        free(p);
        return code;
    }
    p->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (p->stop < 0) code = hg_fail_errno(err, errno, "starting a process");
    if (code == HANGAR_OK) code = launch_program(spec, &pl, &p->pid, err);
    if (code == HANGAR_OK) {
        p->fd = pl.socket[0];
        p->out = pl.out[0];
        pthread_mutex_init(&p->mutex, NULL);
        int sys = pthread_create(&p->drain, NULL, drain_main, p);
        if (sys != 0) {
            code = hg_fail_errno(err, sys, "starting a thread");
            kill(-p->pid, SIGKILL);
            kill(p->pid, SIGKILL);
            while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR) {
            }
            pthread_mutex_destroy(&p->mutex);
        } else {
            pl.socket[0] = pl.out[0] = -1;
        }
    }
    plumbing_close(&pl);
    if (code == HANGAR_OK) {
        *out = p;
    } else {
        close_fd(&p->stop);
        free(p);
    }
    return code;
}

pid_t hg_proc_pid(const hg_proc *p)
{
    return p->pid;
}

int hg_proc_fd(const hg_proc *p)
{
    return p->fd;
}

/* ---- end ---- */

/*
 * Has the drain take what the child left in the pipe, and ends it: afterwards the tail holds the child's last
 * words.
 */
static void drain_end(hg_proc *p)
{
    uint64_t one = 1;
    ssize_t n = write(p->stop, &one, sizeof one);
    (void)n;
    pthread_join(p->drain, NULL);
}

/* The child is done: kills what is left of its group while its number is still its own, then reaps it. */
static void reap(hg_proc *p)
{
    kill(-p->pid, SIGKILL);
    pid_t got;
    do got = wait4(p->pid, &p->status, 0, &p->usage);
    while (got < 0 && errno == EINTR);
    p->known = got == p->pid;
    drain_end(p);
    p->ended = true;
}

bool hg_proc_ended(hg_proc *p)
{
    if (p->ended) return true;
    siginfo_t info = {0};
    int rc = waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT);
    /* ECHILD: the host program ignores SIGCHLD or reaped it; how it ended is lost. */
    if ((rc == 0 && info.si_pid == p->pid) || (rc != 0 && errno == ECHILD)) reap(p);
    return p->ended;
}

void hg_proc_signal(hg_proc *p, int number)
{
    if (!hg_proc_ended(p)) kill(-p->pid, number);
}

void hg_proc_how(const hg_proc *p, char *buf, size_t len, uint64_t *out_peak, double *out_cpu)
{
    if (!p->known) snprintf(buf, len, "ended");
    else if (WIFSIGNALED(p->status)) {
        const char *name = sigabbrev_np(WTERMSIG(p->status));
        snprintf(buf, len, "killed by %s%s%s", name ? "SIG" : "a signal", name ? name : "",
                 WTERMSIG(p->status) == SIGKILL ? " (perhaps for want of memory)" : "");
    } else {
        snprintf(buf, len, "exit code %d", WEXITSTATUS(p->status));
    }
    if (out_peak) *out_peak = p->known ? (uint64_t)p->usage.ru_maxrss * 1024 : 0;
    if (out_cpu) {
        const struct timeval *u = &p->usage.ru_utime, *s = &p->usage.ru_stime;
        *out_cpu = p->known ? (double)(u->tv_sec + s->tv_sec) + (double)(u->tv_usec + s->tv_usec) / 1e6 : 0;
    }
}

void hg_proc_end(hg_proc *p, double grace)
{
    if (!p) return;
    close_fd(&p->fd);
    double until = hg_now() + grace, nap = 0.0005;
    while (!hg_proc_ended(p) && hg_now() < until) {
        hg_sleep(nap);
        if (nap < 0.02) nap *= 2;
    }
    if (!p->ended) {
        kill(p->pid, SIGKILL); /* in case it never got as far as its group */
        reap(p);
    }
    close_fd(&p->stop);
    close_fd(&p->out);
    pthread_mutex_destroy(&p->mutex);
    free(p);
}

/* ---- the child's side ---- */

void hg_proc_die_with_parent(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* The parent may have died before that line: its end of the socket is closed then. */
    struct pollfd p = {.fd = CHILD_FD, .events = POLLRDHUP};
    if (poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLRDHUP))) _exit(1);
}
