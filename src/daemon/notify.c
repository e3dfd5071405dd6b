/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/notify.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct hg_notify {
    int fd; /* -1: nobody listens */
    struct sockaddr_un to;
    socklen_t to_len;
    double watchdog;
    bool complained;
};

/* The address in NOTIFY_SOCKET; false when it is none that we can send to. */
static bool read_address(hg_notify *n, const char *name)
{
    size_t len = name ? strlen(name) : 0;
    if (len < 2 || (name[0] != '/' && name[0] != '@')) return false;
    if (len > sizeof n->to.sun_path - (name[0] == '/')) return false;
    n->to.sun_family = AF_UNIX;
    memcpy(n->to.sun_path, name, len);
    /* The abstract namespace begins with a NUL and has no end but the length. */
    if (name[0] == '@') n->to.sun_path[0] = '\0';
    n->to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (name[0] == '/'));
    return true;
}

/* Half of WATCHDOG_USEC in seconds, when it is meant for this process. */
static double read_watchdog(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    uint64_t n, p;
    if (!usec || !hg_u64_parse(hg_str_of(usec), &n) || n == 0) return 0;
    if (pid && (!hg_u64_parse(hg_str_of(pid), &p) || p != (uint64_t)getpid())) return 0;
    return (double)n / 2e6;
}

hangar_code hg_notify_open(hg_notify **out, hangar_err *err)
{
    const char *name = getenv("NOTIFY_SOCKET");
    hg_notify *n = hg_calloc(1, sizeof *n);
    if (!n) return hg_fail_memory(err);
    n->fd = -1;
    if (name && *name) {
        if (read_address(n, name)) n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (n->fd < 0) hg_log(HG_LOG_WARN, "notify", "NOTIFY_SOCKET=%s cannot be used", name);
    }
    if (n->fd >= 0) n->watchdog = read_watchdog();
    *out = n;
    return HANGAR_OK;
}

void hg_notify_close(hg_notify *n)
{
    if (!n) return;
    if (n->fd >= 0) close(n->fd);
    free(n);
}

bool hg_notify_on(const hg_notify *n)
{
    return n->fd >= 0;
}

void hg_notify_send(hg_notify *n, const char *lines)
{
    if (n->fd < 0) return;
    ssize_t sent;
    do sent = sendto(n->fd, lines, strlen(lines), MSG_NOSIGNAL, (const struct sockaddr *)&n->to, n->to_len);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && !n->complained) hg_log(HG_LOG_WARN, "notify", "telling systemd: %s", strerror(errno));
    n->complained = sent < 0;
}

double hg_notify_watchdog(const hg_notify *n)
{
    return n->watchdog;
}
