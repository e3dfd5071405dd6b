/* SPDX-License-Identifier: Apache-2.0 */
/* Telling systemd, with a socket that listens as systemd's does. */
#include "daemon/notify.h"

#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

/* A bound datagram socket; a name that begins with '@' is in the abstract namespace. */
static int listen_at(const char *name)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    memcpy(a.sun_path, name, len);
    if (name[0] == '@') a.sun_path[0] = '\0';
    else unlink(name);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (name[0] != '@'));
    assert_int_equal(bind(fd, (struct sockaddr *)&a, size), 0);
    return fd;
}

static const char *heard(int fd)
{
    static char text[512];
    ssize_t n = recv(fd, text, sizeof text - 1, 0);
    if (n < 0) return NULL;
    text[n] = '\0';
    return text;
}

static hg_notify *open_with(const char *sock, const char *usec, const char *pid)
{
    hg_notify *n = NULL;
    hangar_err err = {0};
    if (sock) setenv("NOTIFY_SOCKET", sock, 1);
    else unsetenv("NOTIFY_SOCKET");
    if (usec) setenv("WATCHDOG_USEC", usec, 1);
    else unsetenv("WATCHDOG_USEC");
    if (pid) setenv("WATCHDOG_PID", pid, 1);
    else unsetenv("WATCHDOG_PID");
    assert_int_equal(hg_notify_open(&n, &err), HANGAR_OK);
    return n;
}

static void tell_and_hear(const char *name)
{
    int fd = listen_at(name);
    hg_notify *n = open_with(name, NULL, NULL);
    assert_true(hg_notify_on(n));
    assert_true(hg_notify_watchdog(n) == 0);
    hg_notify_send(n, "READY=1\nSTATUS=2 of 2 models ready");
    assert_string_equal(heard(fd), "READY=1\nSTATUS=2 of 2 models ready");
    hg_notify_send(n, "STOPPING=1");
    assert_string_equal(heard(fd), "STOPPING=1");
    assert_null(heard(fd));
    hg_notify_close(n);
    close(fd);
}

static void test_path(void **state)
{
    char name[108], tail[40];
    (void)state;
    snprintf(name, sizeof name, "/tmp/hangar-notify-%d", getpid());
    tell_and_hear(name);
    unlink(name);
    /* As long as an address with its NUL can be. */
    snprintf(tail, sizeof tail, "-%d", getpid());
    memset(name, 'n', sizeof name);
    memcpy(name, "/tmp/", 5);
    memcpy(name + sizeof name - 1 - strlen(tail), tail, strlen(tail) + 1);
    tell_and_hear(name);
    unlink(name);
}

static void test_abstract(void **state)
{
    char name[64];
    (void)state;
    snprintf(name, sizeof name, "@hangar/notify/%d", getpid());
    tell_and_hear(name);
}

/* Nobody there, nobody reading, nothing meant for us: nothing is told, nobody waits, nothing breaks. */
static void test_nobody(void **state)
{
    (void)state;
    static const char *const bad[] = {NULL, "", "relative", "@", "/", "/no/such/dir/socket"};
    char huge[300];
    for (size_t i = 0; i < HG_LEN(bad); i++) {
        hg_notify *n = open_with(bad[i], "2000000", NULL);
        hg_notify_send(n, "READY=1");
        hg_notify_close(n);
    }
    memset(huge, 'x', sizeof huge);
    huge[0] = '/';
    huge[sizeof huge - 1] = '\0';
    hg_notify *n = open_with(huge, "2000000", NULL);
    assert_false(hg_notify_on(n));
    assert_true(hg_notify_watchdog(n) == 0);
    hg_notify_send(n, "READY=1");
    hg_notify_close(n);
}

static void test_full(void **state)
{
    char name[64];
    (void)state;
    snprintf(name, sizeof name, "@hangar-full-%d", getpid());
    int fd = listen_at(name);
    hg_notify *n = open_with(name, NULL, NULL);
    for (int i = 0; i < 10000; i++) hg_notify_send(n, "WATCHDOG=1");
    assert_string_equal(heard(fd), "WATCHDOG=1");
    while (heard(fd)) {
    }
    hg_notify_send(n, "STOPPING=1");
    assert_string_equal(heard(fd), "STOPPING=1");
    hg_notify_close(n);
    close(fd);
}

static void test_watchdog(void **state)
{
    char name[64], pid[24];
    (void)state;
    snprintf(name, sizeof name, "@hangar-dog-%d", getpid());
    int fd = listen_at(name);
    static const struct {
        const char *usec, *pid;
        double seconds;
    } cases[] = {{"30000000", NULL, 15}, {"30000000", "self", 15}, {"30000000", "1", 0}, {"0", NULL, 0},
                 {"-1", NULL, 0},        {"abc", NULL, 0},         {"1000", "x", 0},     {NULL, NULL, 0}};
    for (size_t i = 0; i < HG_LEN(cases); i++) {
        snprintf(pid, sizeof pid, "%d", getpid());
        hg_notify *n = open_with(name, cases[i].usec, hg_streq(cases[i].pid, "self") ? pid : cases[i].pid);
        assert_true(hg_notify_watchdog(n) == cases[i].seconds);
        hg_notify_close(n);
    }
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path), cmocka_unit_test(test_abstract), cmocka_unit_test(test_nobody),
        cmocka_unit_test(test_full), cmocka_unit_test(test_watchdog),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
