/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server for unit tests: a thread that takes one connection after the other, reads one request whole, and sends the next scripted
 * answer, then closes. An answer that ends in "\x01" is not closed after its bytes: the connection stays open until the test stops it.
 */
#ifndef HG_TEST_SERVER_H
#define HG_TEST_SERVER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SERVER_REQUEST_MAX (1u << 20)

typedef struct server {
    int listener;
    int stop[2]; /* closed at one end to end the thread */
    pthread_t thread;
    const char *const *answers; /* NULL-terminated */
    char url[64];
    char *request; /* the last one, whole */
    int requests;
} server;

/* True while there is something to read; false when the test ends. */
static inline bool server_wait(server *s, int fd)
{
    struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = s->stop[0], .events = POLLIN}};
    while (poll(p, 2, -1) < 0)
        ;
    return p[1].revents == 0;
}

/* Reads one request; false when the other side closed before it was whole. */
static inline bool server_read(server *s, int fd)
{
    size_t len = 0;
    for (;;) {
        if (!server_wait(s, fd)) return false;
        ssize_t n = read(fd, s->request + len, SERVER_REQUEST_MAX - len - 1);
        if (n <= 0) return false;
        len += (size_t)n;
        s->request[len] = '\0';
        char *body = strstr(s->request, "\r\n\r\n");
        if (!body) continue;
        char *length = strcasestr(s->request, "\ncontent-length:");
        size_t want = length && length < body ? (size_t)strtoul(length + 16, NULL, 10) : 0;
        if (len - (size_t)(body + 4 - s->request) >= want) return true;
    }
}

static inline void server_answer(server *s, int fd, const char *text)
{
    size_t len = strlen(text), at = 0;
    bool hold = len && text[len - 1] == '\x01';
    if (hold) len--;
    while (at < len) {
        ssize_t n = send(fd, text + at, len - at, MSG_NOSIGNAL);
        if (n <= 0) return;
        at += (size_t)n;
    }
    char byte;
    while (hold && server_wait(s, fd) && read(fd, &byte, 1) > 0)
        ;
}

static inline void *server_run(void *ctx)
{
    server *s = ctx;
    while (server_wait(s, s->listener)) {
        int fd = accept(s->listener, NULL, NULL);
        if (fd < 0) continue;
        if (server_read(s, fd)) {
            const char *answer = s->answers[s->requests];
            if (answer) s->requests++;
            server_answer(s, fd, answer ? answer : "HTTP/1.1 500 No Script\r\nContent-Length: 0\r\n\r\n");
        }
        close(fd);
    }
    return NULL;
}

/* On 127.0.0.1, or at a path as a unix socket. */
static inline void server_start(server *s, const char *path, const char *const *answers)
{
    *s = (server){.answers = answers, .request = malloc(SERVER_REQUEST_MAX)};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    socklen_t len = sizeof in;
    if (path) snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
    s->listener = socket(path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr *to = path ? (const void *)&un : (const void *)&in;
    if (!s->request || pipe(s->stop) != 0 || s->listener < 0 ||
        bind(s->listener, to, path ? (socklen_t)sizeof un : len) != 0 || listen(s->listener, 8) != 0)
        abort();
    s->request[0] = '\0';
    if (path) snprintf(s->url, sizeof s->url, "http://localhost");
    else if (getsockname(s->listener, (void *)&in, &len) != 0) abort();
    else snprintf(s->url, sizeof s->url, "http://127.0.0.1:%d", ntohs(in.sin_port));
    if (pthread_create(&s->thread, NULL, server_run, s) != 0) abort();
}

static inline void server_stop(server *s)
{
    close(s->stop[1]);
    pthread_join(s->thread, NULL);
    close(s->stop[0]);
    close(s->listener);
    free(s->request);
}

#endif
