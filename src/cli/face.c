/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a running call may ask of the person at the command line, and how the person ends it.
 *
 * Signals: the handler may run on any thread. It sets the cancel flag of the job in hand, writes one byte into a pipe, on
 * which everything that waits here also waits, and leaves. The second one ends the process at once, unless the first was
 * answered in between (a turn of a conversation that was stopped). A server's wait and a question end with the pipe's byte.
 */
#include "cli/cli.h"

#include "base/fsx.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

typedef struct face {
    hg_cli *cli;
    hangar_job *turn; /* the last one that was handed out */
    hg_buf input;     /* read from the standard input and not yet used */
    bool input_ended;
} face;

/* What the handler sees. */
static _Atomic(hangar_job *) whole_job; /* the call's */
static _Atomic(hangar_job *) hand_job;  /* the one that Ctrl-C means: a turn's, or the call's */
static _Atomic(hg_render *) shown;      /* what a stopped process has to draw again */
static atomic_int signals;
static int wake_pipe[2] = {-1, -1};

static void on_signal(int number)
{
    int keep = errno;
    if (atomic_fetch_add(&signals, 1) >= 1) {
        if (isatty(STDERR_FILENO)) (void)!write(STDERR_FILENO, "\n", 1);
        _exit(130);
    }
    hangar_job_cancel(atomic_load(&hand_job));
    if (number != SIGINT) hangar_job_cancel(atomic_load(&whole_job));
    (void)!write(wake_pipe[1], "", 1);
    errno = keep;
}

static void on_continue(int number)
{
    (void)number;
    hg_render *r = atomic_load(&shown);
    if (r) hg_render_resumed(r);
}

/* Empties the pipe; true when there was something in it. */
static bool drain(void)
{
    char bytes[64];
    bool any = false;
    while (read(wake_pipe[0], bytes, sizeof bytes) > 0) any = true;
    return any;
}

/* ---- the functions of a call ---- */

/* Reads more input; false at its end, or when a signal came. */
static bool read_more(face *f)
{
    struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = wake_pipe[0], .events = POLLIN}};
    while (poll(fds, 2, -1) < 0)
        if (errno != EINTR) return false;
    if (fds[1].revents) return false;
    char *to = hg_buf_reserve(&f->input, 64 * HG_KIB);
    if (!to) return false;
    ssize_t n;
    do n = read(STDIN_FILENO, to, 64 * HG_KIB);
    while (n < 0 && errno == EINTR);
    if (n <= 0) {
        f->input_ended = true;
        return false;
    }
    f->input.len += (size_t)n;
    f->input.data[f->input.len] = '\0';
    return true;
}

/* One line. One that is too long for `line` sets its state (LIMIT) and is skipped whole. */
static bool next_line(face *f, hg_buf *line)
{
    bool any = false;
    for (;;) {
        char *end = f->input.len ? memchr(f->input.data, '\n', f->input.len) : NULL;
        size_t len = end ? (size_t)(end - f->input.data) : f->input.len;
        any = any || f->input.len;
        hg_buf_add(line, hg_buf_text(&f->input), len);
        hg_buf_drop(&f->input, end ? len + 1 : len);
        if (end) break;
        if (f->input_ended || !read_more(f)) {
            if (!any || !f->input_ended) return false;
            break;
        }
    }
    if (line->len && line->data[line->len - 1] == '\r') line->data[--line->len] = '\0';
    return true;
}

static bool ask(void *ctx, const char *prompt, hg_buf *line)
{
    face *f = ctx;
    hg_cli *cli = f->cli;
    /* A turn that was stopped is over: the next Ctrl-C is a first one again, and means the call. */
    atomic_store(&hand_job, cli->job);
    if (!hangar_job_is_cancelled(cli->job)) {
        atomic_store(&signals, 0);
        drain();
    }
    hg_buf_reset(line);
    hg_render_clear(cli->render);
    bool person = cli->term.in && cli->term.err;
    if (person && *prompt) {
        hg_cli_err(cli, NULL);
        (void)!write(STDERR_FILENO, prompt, strlen(prompt));
    }
    if (hangar_job_is_cancelled(cli->job)) return false;
    bool got = next_line(f, line);
    if (!got && person && *prompt) (void)!write(STDERR_FILENO, "\n", 1);
    return got;
}

static hangar_job *turn(void *ctx)
{
    face *f = ctx;
    hangar_job *job = hangar_job_new(hg_render_event, f->cli->render);
    if (!job) return NULL;
    atomic_store(&hand_job, job);
    if (hangar_job_is_cancelled(f->cli->job)) hangar_job_cancel(job);
    hangar_job_free(f->turn);
    f->turn = job;
    return job;
}

static void wait_for_end(void *ctx)
{
    face *f = ctx;
    struct pollfd fd = {.fd = wake_pipe[0], .events = POLLIN};
    while (!hangar_job_is_cancelled(f->cli->job)) poll(&fd, 1, -1);
}

static void say(void *ctx, const char *line)
{
    face *f = ctx;
    hg_render_say(f->cli->render, line);
}

static hangar_code become(void *ctx, const char *const *argv, hangar_err *err)
{
    face *f = ctx;
    hg_render_stop(f->cli->render);
    /* What main() ignores for itself is the program's own business; handlers of ours do not outlive the step. */
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    execvp(argv[0], (char *const *)argv);
    int sys = errno;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    return hg_fail_errno(err, sys, "%s", argv[0]);
}

#define PAGE_HOME  "\033[H"
#define PAGE_BELOW "\033[J"
#define LINE_END   "\033[K\n"

/* One page over the last: each line clears what is left of the old one, so that nothing flickers. */
static void draw(face *f, void (*show)(const hg_jval *, hg_view *), const hg_jval *doc)
{
    hg_cli *cli = f->cli;
    size_t rows = hg_term_rows(STDOUT_FILENO);
    hg_view *view = hg_view_new(hg_term_columns(STDOUT_FILENO, true), cli->term.colour_out);
    if (!view) return;
    hg_view_set_ascii(view, !cli->term.utf8);
    show(doc, view);
    hg_buf b;
    hg_buf_init(&b, HG_MIB);
    hg_buf_puts(&b, PAGE_HOME);
    hg_str rest = hg_str_of(hg_view_text(view)), line;
    for (size_t row = 1; rest.len && (!rows || row < rows); row++) {
        hg_str_cut(&rest, '\n', &line);
        hg_buf_str(&b, line);
        hg_buf_puts(&b, LINE_END);
    }
    hg_buf_puts(&b, PAGE_BELOW);
    hg_cli_out(cli, hg_buf_text(&b), b.len);
    hg_buf_deinit(&b);
    hg_view_free(view);
}

static bool page(void *ctx, void (*show)(const hg_jval *, hg_view *), const hg_jval *doc, double seconds)
{
    face *f = ctx;
    struct pollfd fd = {.fd = wake_pipe[0], .events = POLLIN};
    draw(f, show, doc);
    if (!hangar_job_is_cancelled(f->cli->job)) poll(&fd, 1, (int)(seconds * 1000));
    return !hangar_job_is_cancelled(f->cli->job);
}

/* ---- opening and closing ---- */

static const int taken[] = {SIGINT, SIGTERM, SIGHUP};

/* A signal that whoever started us wants ignored (nohup, a job in the background) stays so. */
static void take_signal(int number)
{
    struct sigaction before, action = {.sa_handler = on_signal};
    if (sigaction(number, NULL, &before) == 0 && before.sa_handler == SIG_IGN) return;
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

hangar_code hg_face_open(hg_cli *cli, hg_call *call, hangar_err *err)
{
    face *f = hg_calloc(1, sizeof *f);
    if (!f) return hg_fail_memory(err);
    if (pipe2(wake_pipe, O_CLOEXEC | O_NONBLOCK) != 0) {
        free(f);
        return hg_fail_errno(err, errno, "a pipe for signals");
    }
    f->cli = cli;
    hg_buf_init(&f->input, 64 * HG_MIB);
    atomic_store(&whole_job, cli->job);
    atomic_store(&hand_job, cli->job);
    atomic_store(&shown, cli->render);
    signal(SIGCONT, on_continue);
    for (size_t i = 0; i < HG_LEN(taken); i++) take_signal(taken[i]);
    call->face = f;
    call->interactive = cli->term.in && cli->term.err;
    call->ask = ask;
    call->turn = turn;
    call->wait = wait_for_end;
    call->say = say;
    call->become = become;
    if (cli->term.out && cli->term.colour_out) call->page = page;
    return HANGAR_OK;
}

void hg_face_close(hg_call *call)
{
    face *f = call->face;
    if (!f) return;
    /* From here on there is nothing to cancel: a signal ends the process as usual. */
    for (size_t i = 0; i < HG_LEN(taken); i++) {
        struct sigaction now;
        if (sigaction(taken[i], NULL, &now) == 0 && now.sa_handler == on_signal) signal(taken[i], SIG_DFL);
    }
    signal(SIGCONT, SIG_DFL);
    atomic_store(&shown, NULL);
    atomic_store(&hand_job, NULL);
    atomic_store(&whole_job, NULL);
    hangar_job_free(f->turn);
    hg_buf_deinit(&f->input);
    free(f);
    call->face = NULL;
    close(wake_pipe[0]);
    close(wake_pipe[1]);
}
