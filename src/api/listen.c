/* SPDX-License-Identifier: Apache-2.0 */
#include "api/listen.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The Host that names the address. */
static void name_host(hg_listen *l)
{
    char digits[INET6_ADDRSTRLEN] = "";
    const struct sockaddr_in *v4 = (struct sockaddr_in *)&l->addr;
    const struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&l->addr;
    bool six = l->addr.ss_family == AF_INET6;
    l->port = ntohs(six ? v6->sin6_port : v4->sin_port);
    inet_ntop(l->addr.ss_family, six ? (const void *)&v6->sin6_addr : (const void *)&v4->sin_addr, digits,
              sizeof digits);
    snprintf(l->host, sizeof l->host, six ? "[%s]:%u" : "%s:%u", digits, l->port);
}

hangar_code hg_listen_parse(const char *text, hg_listen *out, hangar_err *err)
{
    char host[64];
    uint64_t port;
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : 0;
    if (!colon || len >= sizeof host || !hg_u64_parse(hg_str_of(colon + 1), &port) || port > 65535)
        return hg_fail(err, HANGAR_E_USAGE, "%s is not ADDRESS:PORT", text);
    memcpy(host, text, len);
    host[len] = '\0';
    if (!strcmp(host, "localhost")) strcpy(host, "127.0.0.1");
    memset(out, 0, sizeof *out);
    struct sockaddr_in *v4 = (struct sockaddr_in *)&out->addr;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out->addr;
    size_t end = strlen(host);
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        out->len = sizeof *v4;
        out->loopback = ntohl(v4->sin_addr.s_addr) >> 24 == 127;
        name_host(out);
        return HANGAR_OK;
    }
    if (end > 2 && host[0] == '[' && host[end - 1] == ']') {
        host[end - 1] = '\0';
        if (inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1) {
            v6->sin6_family = AF_INET6;
            v6->sin6_port = htons((uint16_t)port);
            out->len = sizeof *v6;
            out->loopback = IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
            name_host(out);
            return HANGAR_OK;
        }
    }
    return hg_fail(err, HANGAR_E_USAGE, "%s: give an address in digits, as 127.0.0.1:4711", text);
}

hangar_code hg_listen_open(hg_listen *l, int *out_fd, hangar_err *err)
{
    int fd = socket(l->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    *out_fd = -1;
    if (fd < 0) return hg_fail_errno(err, errno, "opening a socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    int rc = bind(fd, (struct sockaddr *)&l->addr, l->len);
    if (rc == 0) rc = listen(fd, SOMAXCONN);
    socklen_t len = sizeof l->addr;
    if (rc == 0) rc = getsockname(fd, (struct sockaddr *)&l->addr, &len);
    if (rc == 0) {
        name_host(l);
        *out_fd = fd;
        return HANGAR_OK;
    }
    int sys = errno;
    close(fd);
    if (sys == EADDRINUSE) return hg_fail(err, HANGAR_E_BUSY, "%s is in use", l->host);
    return hg_fail_errno(err, sys, "listening on %s", l->host);
}
