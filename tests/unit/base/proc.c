/* SPDX-License-Identifier: Apache-2.0 */
/* Child processes: what they get, how they end, and that nothing of them stays. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/proc.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Starts a small script. */
static hg_proc *sh(const char *script, hg_proc_spec spec)
{
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    spec.argv = argv;
    hg_proc *p = NULL;
    hangar_err err = {0};
    if (hg_proc_start(&spec, &p, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    return p;
}

/* Waits until it has ended, at most ten seconds. */
static void wait_end(hg_proc *p)
{
    for (double until = hg_now() + 10; !hg_proc_ended(p);) {
        assert_true(hg_now() < until);
        hg_sleep(0.005);
    }
}

static bool alive(pid_t pid)
{
    char path[64], text[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    if (!f) return false;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    const char *paren = strrchr(text, ')');
    return paren && paren[1] && paren[2] != 'Z' && paren[2] != 'X';
}

/* Waits until a process is gone, at most `seconds`. */
static bool gone_within(pid_t pid, double seconds)
{
    for (double until = hg_now() + seconds; hg_now() < until; hg_sleep(0.01))
        if (!alive(pid)) return true;
    return !alive(pid);
}

static void how_it_ends(void **state)
{
    (void)state;
    char how[96];
    uint64_t peak = 0;
    double cpu = -1;
    hg_proc *p = sh("echo one; echo two >&2; exit 3", (hg_proc_spec){0});
    wait_end(p);
    hg_proc_how(p, how, sizeof how, &peak, &cpu);
    assert_string_equal(how, "exit code 3");
    assert_true(peak > 0 && cpu >= 0);
    for (double until = hg_now() + 5; !strstr(hg_proc_tail(p), "two") && hg_now() < until;) hg_sleep(0.005);
    assert_string_equal(hg_proc_tail(p), "one\ntwo\n");
    hg_proc_end(p, 0);

    p = sh("kill -SEGV $$", (hg_proc_spec){0});
    wait_end(p);
    hg_proc_how(p, how, sizeof how, NULL, NULL);
    assert_string_equal(how, "killed by SIGSEGV");
    hg_proc_end(p, 0);
    hg_proc_end(NULL, 0);
}

static void a_program_that_is_not_there(void **state)
{
    (void)state;
    const char *argv[] = {"/nonexistent/program", NULL};
    hg_proc *p = NULL;
    hangar_err err = {0};
    assert_int_equal(hg_proc_start(&(hg_proc_spec){.argv = argv}, &p, &err), HANGAR_E_NOT_FOUND);
    assert_null(p);
    assert_non_null(strstr(err.msg, "/nonexistent/program"));
}

/* The child holds descriptors 0 to 3 and no other, whatever the parent had open. */
static void only_the_promised_descriptors(void **state)
{
    (void)state;
    int leak[2];
    assert_int_equal(pipe(leak), 0); /* not close-on-exec */
    hg_proc *p = sh("readlink /proc/$$/fd/0 >&3; exec ls -x /proc/self/fd >&3", (hg_proc_spec){0});
    char text[128] = "";
    size_t at = 0;
    for (ssize_t n; (n = recv(hg_proc_fd(p), text + at, sizeof text - 1 - at, 0)) > 0;) at += (size_t)n;
    /* 4 is the folder that ls reads */
    assert_string_equal(text, "/dev/null\n0  1  2  3  4\n");
    close(leak[0]);
    close(leak[1]);
    hg_proc_end(p, 1);
}

static void a_small_environment(void **state)
{
    (void)state;
    setenv("HF_TOKEN", "secret", 1);
    setenv("OMP_NUM_THREADS", "1", 1);
    hg_proc *p =
        sh("echo \"[$HF_TOKEN][$OMP_NUM_THREADS][$MINE]\"; exit 0", (hg_proc_spec){.more = "MINE=a b"});
    wait_end(p);
    for (double until = hg_now() + 5; !strchr(hg_proc_tail(p), '\n') && hg_now() < until;) hg_sleep(0.005);
    assert_string_equal(hg_proc_tail(p), "[][1][a b]\n");
    hg_proc_end(p, 0);
}

/* Much output never blocks the child, and its end is what is kept. */
static void much_output(void **state)
{
    (void)state;
    hg_proc *p =
        sh("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; exit 0", (hg_proc_spec){0});
    wait_end(p);
    for (double until = hg_now() + 5; !strstr(hg_proc_tail(p), "line 19999\n") && hg_now() < until;)
        hg_sleep(0.005);
    const char *tail = hg_proc_tail(p);
    assert_int_equal(strlen(tail), HG_PROC_TAIL);
    assert_string_equal(tail + strlen(tail) - 11, "line 19999\n");
    hg_proc_end(p, 0);
}

/* A child that ignores everything is killed with all that it started. */
static void the_group_is_killed(void **state)
{
    (void)state;
    hg_proc *p =
        sh("trap '' TERM HUP; sleep 60 & echo $! >&3; while :; do sleep 60; done", (hg_proc_spec){0});
    char text[32] = "";
    assert_true(recv(hg_proc_fd(p), text, sizeof text - 1, 0) > 0);
    pid_t grandchild = (pid_t)atoi(text), child = hg_proc_pid(p);
    assert_true(alive(grandchild));
    double from = hg_now();
    hg_proc_end(p, 0.2);
    assert_true(hg_now() - from < 3);
    assert_true(gone_within(grandchild, 2));
    assert_int_equal(kill(child, 0), -1);
}

/* A child that ends when its socket closes is not killed. */
static void leaves_in_peace(void **state)
{
    (void)state;
    char mark[] = "mark-XXXXXX";
    int fd = mkstemp(mark);
    close(fd);
    char script[128];
    snprintf(script, sizeof script, "cat <&3; echo left > %s", mark);
    hg_proc *p = sh(script, (hg_proc_spec){0});
    hg_proc_end(p, 10);
    FILE *f = fopen(mark, "r");
    char text[16] = "";
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    fclose(f);
    assert_string_equal(text, "left\n");
}

static void *start_in_thread(void *arg)
{
    *(hg_proc **)arg = sh("sleep 30", (hg_proc_spec){0});
    return NULL;
}

/* The end of the thread that started a child is not the end of the child. */
static void outlives_a_thread(void **state)
{
    (void)state;
    hg_proc *p = NULL;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, start_in_thread, &p), 0);
    pthread_join(thread, NULL);
    hg_sleep(0.2);
    assert_false(hg_proc_ended(p));
    hg_proc_end(p, 0);
}

/* When hangar is killed, its children go within two seconds. */
static void dies_with_its_parent(void **state)
{
    (void)state;
    int tell[2];
    assert_int_equal(pipe(tell), 0);
    pid_t parent = fork();
    if (parent == 0) {
        const char *argv[] = {"/bin/sh", "-c", "trap '' TERM HUP; while :; do sleep 1; done", NULL};
        hg_proc *p = NULL;
        if (hg_proc_start(&(hg_proc_spec){.argv = argv}, &p, NULL) != HANGAR_OK) _exit(1);
        pid_t pid = hg_proc_pid(p);
        if (write(tell[1], &pid, sizeof pid) != (ssize_t)sizeof pid) _exit(1);
        for (;;) pause();
    }
    close(tell[1]);
    pid_t child = 0;
    assert_int_equal(read(tell[0], &child, sizeof child), sizeof child);
    assert_true(alive(child));
    kill(parent, SIGKILL);
    assert_int_equal(waitpid(parent, NULL, 0), parent);
    assert_true(gone_within(child, 2));
    close(tell[0]);
}

static void limits_hold(void **state)
{
    (void)state;
    hg_proc *p = sh("ulimit -v; ulimit -t; ulimit -c; exit 0",
                    (hg_proc_spec){.memory_limit = 512u << 20, .cpu_seconds = 7, .nice = 3});
    wait_end(p);
    for (double until = hg_now() + 5; !strstr(hg_proc_tail(p), "\n0\n") && hg_now() < until;) hg_sleep(0.005);
    assert_string_equal(hg_proc_tail(p), "524288\n7\n0\n");
    hg_proc_end(p, 0);
}

/* What it printed, for a program that is somebody else's. */
typedef struct printed {
    pthread_mutex_t mutex;
    char text[256];
    size_t len;
} printed;

static void on_output(void *ctx, const char *bytes, size_t len)
{
    printed *to = ctx;
    pthread_mutex_lock(&to->mutex);
    for (size_t i = 0; i < len && to->len < sizeof to->text - 1; i++) to->text[to->len++] = bytes[i];
    pthread_mutex_unlock(&to->mutex);
}

static void test_plain(void **state)
{
    (void)state;
    printed out = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    hg_proc *p = sh("pwd; echo err >&2; ls /proc/self/fd | tr '\\n' ' '; cat /proc/self/oom_score_adj",
                    (hg_proc_spec){.plain = true, .cwd = "/", .on_output = on_output, .ctx = &out});
    wait_end(p);
    char own[16] = "";
    FILE *f = fopen("/proc/self/oom_score_adj", "r");
    assert_non_null(f);
    assert_non_null(fgets(own, sizeof own, f));
    fclose(f);
    assert_memory_equal(out.text, "/\nerr\n0 1 2 3 ", 14); /* 3 is the folder that ls reads */
    assert_string_equal(out.text + 14, own);
    hg_proc_end(p, 0);
    const char *argv[] = {"/bin/sh", "-c", "true", NULL};
    hangar_err err = {0};
    assert_int_equal(hg_proc_start(&(hg_proc_spec){.argv = argv, .plain = true, .cwd = "/nothing-here"}, &p,
                                   &err),
                     HANGAR_E_NOT_FOUND);
    /* A signal reaches the whole group; one that comes too late reaches nobody. */
    p = sh("sleep 100 & wait", (hg_proc_spec){.plain = true});
    hg_proc_signal(p, SIGTERM);
    wait_end(p);
    char how[64];
    hg_proc_how(p, how, sizeof how, NULL, NULL);
    assert_string_equal(how, "killed by SIGTERM");
    hg_proc_signal(p, SIGTERM);
    hg_proc_end(p, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            dies_with_its_parent), /* first: it forks, and thread sanitizers want that before there are threads */
        cmocka_unit_test(test_plain),
        cmocka_unit_test(how_it_ends),
        cmocka_unit_test(a_program_that_is_not_there),
        cmocka_unit_test(only_the_promised_descriptors),
        cmocka_unit_test(a_small_environment),
        cmocka_unit_test(much_output),
        cmocka_unit_test(the_group_is_killed),
        cmocka_unit_test(leaves_in_peace),
        cmocka_unit_test(outlives_a_thread),
        cmocka_unit_test(limits_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
