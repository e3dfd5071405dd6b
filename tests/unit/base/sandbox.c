/* SPDX-License-Identifier: Apache-2.0 */
/* The cage: what still works inside, and what does not. Each try is made in a child of its own. */
#include "base/fsx.h"
#include "base/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const char *inside, *outside; /* two files; the first is in the readable folder */
static int level;

/* Runs `try` caged in a child; its result is the child's exit code. */
static int caged(int (*try)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        const char *read_only[] = {"readable", "not-there", NULL};
        const char *writable[] = {"writable", NULL};
        hg_sandbox box = {.read_only = read_only, .writable = writable};
        if (hg_sandbox_enter(&box, NULL, NULL) != HANGAR_OK) _exit(99);
        _exit(try());
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int tell_level(void)
{
    int got = -1;
    return hg_sandbox_enter(&(hg_sandbox){0}, &got, NULL) == HANGAR_OK ? got : 50;
}

static int errno_of_open(const char *path, int flags)
{
    int fd = open(path, flags, 0600);
    return fd >= 0 ? 0 : errno;
}

static int read_inside(void)
{
    return errno_of_open(inside, O_RDONLY);
}
static int read_outside(void)
{
    return errno_of_open(outside, O_RDONLY);
}
static int read_passwd(void)
{
    return errno_of_open("/etc/passwd", O_RDONLY);
}
static int write_inside(void)
{
    return errno_of_open(inside, O_WRONLY);
}
static int write_allowed(void)
{
    return errno_of_open("writable/new", O_WRONLY | O_CREAT);
}
static int make_outside(void)
{
    return errno_of_open("new", O_WRONLY | O_CREAT);
}
static int make_socket(void)
{
    return socket(AF_INET, SOCK_STREAM, 0) >= 0 ? 0 : errno;
}
static int make_process(void)
{
    pid_t pid = fork();
    if (pid == 0) _exit(0);
    return pid > 0 ? 0 : errno;
}
static int run_program(void)
{
    execl("/bin/true", "true", (char *)NULL);
    return errno;
}
static int trace_parent(void)
{
    return ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) == 0 ? 0 : errno;
}
static int kill_parent(void)
{
    return kill(getppid(), 0) == 0 ? 0 : errno;
}
static int signal_self(void)
{
    signal(SIGUSR1, SIG_IGN);
    return raise(SIGUSR1) == 0 && kill(getpid(), SIGUSR1) == 0 ? 0 : errno;
}
static int limit_parent(void)
{
    struct rlimit r;
    return prlimit(getppid(), RLIMIT_NOFILE, NULL, &r) == 0 ? 0 : errno;
}
static void *thread_main(void *arg)
{
    *(int *)arg = errno_of_open(outside, O_RDONLY);
    return NULL;
}
static int thread_reads_outside(void)
{
    pthread_t thread;
    int got = 0;
    if (pthread_create(&thread, NULL, thread_main, &got) != 0) return 50;
    pthread_join(thread, NULL);
    return got;
}

static void calls_are_denied(void **state)
{
    (void)state;
    if (level < 1) skip();
    assert_int_equal(caged(make_socket), EPERM);
    assert_int_equal(caged(make_process), EPERM);
    assert_int_equal(caged(run_program), EPERM);
    assert_int_equal(caged(trace_parent), EPERM);
    assert_int_equal(caged(kill_parent), EPERM);
    assert_int_equal(caged(limit_parent), EPERM);
    assert_int_equal(caged(signal_self), 0);
}

static void files_are_out_of_reach(void **state)
{
    (void)state;
    if (level < 2) skip();
    assert_int_equal(caged(read_inside), 0);
    assert_int_equal(caged(write_inside), EACCES);
    assert_int_equal(caged(read_outside), EACCES);
    assert_int_equal(caged(read_passwd), EACCES);
    assert_int_equal(caged(make_outside), EACCES);
    assert_int_equal(caged(write_allowed), 0);
    assert_int_equal(caged(thread_reads_outside), EACCES);
}

/* Without the cage the same tries succeed: the test can fail. */
static void free_outside(void **state)
{
    (void)state;
    assert_int_equal(read_outside(), 0);
    assert_int_equal(make_socket(), 0);
    assert_int_equal(kill_parent(), 0);
}

static int set_up(void **state)
{
    (void)state;
    inside = "readable/a";
    outside = "b";
    if (hg_mkdirs("readable", 0755, NULL) != HANGAR_OK || hg_mkdirs("writable", 0755, NULL) != HANGAR_OK)
        return -1;
    if (hg_write_file(inside, "a", 1, 0644, NULL) != HANGAR_OK) return -1;
    if (hg_write_file(outside, "b", 1, 0644, NULL) != HANGAR_OK) return -1;
    level = caged(tell_level);
    printf("# sandbox level %d\n", level);
    return level >= 0 && level <= 2 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(free_outside), cmocka_unit_test(calls_are_denied),
                                       cmocka_unit_test(files_are_out_of_reach)};
    return cmocka_run_group_tests(tests, set_up, NULL);
}
