/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands on the other sides of a daemon while it is measured (bench/serve). One thread each, nothing shared with hangar's own code. Compiled by
 * the script that needs it.
 *
 *   hangar-runner-llama                   (by that name) a runner that writes max_tokens words at once, and nothing else
 *   peer cloud                            an OpenAI server that does the same; prints its port
 *   peer ask PORT PATH BODY N COUNT       COUNT requests over N connections (PORT may be the path of a unix socket); prints a line of JSON:
 *                                         microseconds to the end and to the first byte behind the header
 *   peer wire PROGRAM COUNT CALL LOAD     COUNT calls of a runner without hangar
 *   peer start COUNT PROGRAM ARG...       starts a daemon that many times: microseconds until its address is printed and answers
 *   peer hold PORT PATH BODY COUNT        COUNT requests that are answered by streams without end; prints "held" when each has its first
 *                                         bytes, ends with its input
 *
 * "hold" in a question: the stream stays open behind its first word.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROOM (256 * 1024)

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void put_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (n <= 0) exit(0);
        bytes += n;
        len -= (size_t)n;
    }
}

static long number_of(const char *text, const char *key, long otherwise)
{
    const char *at = strstr(text, key);
    return at ? strtol(at + strlen(key), NULL, 10) : otherwise;
}

/* ---- the runner ---- */

enum { HELLO = 1, LOAD, READY, CALL, PIECE, DONE, FAIL, CANCEL, TICK };

/* A frame behind what is in `out` already; the new length. */
static size_t frame(char *out, size_t at, unsigned type, const char *json)
{
    uint32_t len = (uint32_t)strlen(json);
    const uint32_t head[4] = {0x31574748u, type, len, 0};
    memcpy(out + at, head, sizeof head);
    memcpy(out + at + sizeof head, json, len);
    return at + sizeof head + len;
}

static void say(int fd, unsigned type, const char *json)
{
    char out[1024];
    put_all(fd, out, frame(out, 0, type, json));
}

static void get_all(int fd, char *to, size_t len)
{
    while (len > 0) {
        ssize_t n = read(fd, to, len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) exit(0);
        to += n;
        len -= (size_t)n;
    }
}

/* The next frame's type, its text in `json`. */
static unsigned hear(int fd, char *json, size_t cap)
{
    uint32_t head[4];
    get_all(fd, (char *)head, sizeof head);
    if (head[2] >= cap) exit(1);
    get_all(fd, json, head[2]);
    json[head[2]] = '\0';
    for (uint32_t left = head[3]; left > 0;) {
        char drop[4096];
        uint32_t n = left < sizeof drop ? left : (uint32_t)sizeof drop;
        get_all(fd, drop, n);
        left -= n;
    }
    return head[1] & 0xffff;
}

static void run_runner(void)
{
    static char json[ROOM];
    say(3, HELLO, "{\"engine\":\"llama\",\"version\":\"peer\",\"protocol\":1}");
    for (;;) {
        unsigned type = hear(3, json, sizeof json);
        if (type == LOAD)
            say(3, READY,
                "{\"description\":\"peer\",\"parameters\":1,\"bytes\":1,\"context_trained\":100000,"
                "\"vocabulary\":10,\"has_template\":true}");
        if (type != CALL) continue;
        if (strstr(json, "\"op\":\"probe\"")) {
            say(3, DONE, "{\"seconds\":0.000001}");
            continue;
        }
        long pieces = number_of(json, "\"max_tokens\":", 1);
        for (long i = 0; i < pieces; i++) say(3, PIECE, "{\"text\":\" word\"}");
        char done[512];
        snprintf(done, sizeof done,
                 "{\"text\":\"\",\"tokens\":[],\"finish\":\"stop\",\"prompt_tokens\":7,\"prompt_reused\":0,"
                 "\"generated_tokens\":%ld,\"prompt_seconds\":0.000001,\"generate_seconds\":0.000001}",
                 pieces);
        say(3, DONE, done);
    }
}

/* ---- figures ---- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* One line of JSON about `count` measured times. */
static void report(double *whole, double *first, size_t count, double seconds)
{
    qsort(whole, count, sizeof *whole, compare);
    qsort(first, count, sizeof *first, compare);
    printf("{\"count\":%zu,\"seconds\":%.6f,\"p50\":%.1f,\"p99\":%.1f,\"least\":%.1f,\"first_p50\":%.1f,"
           "\"first_p99\":%.1f}\n",
           count, seconds, whole[count / 2], whole[count - 1 - count / 100], whole[0], first[count / 2],
           first[count - 1 - count / 100]);
}

/* ---- a runner without hangar ---- */

static int run_wire(char **argv)
{
    static char json[ROOM];
    size_t count = (size_t)atol(argv[1]);
    double *whole = calloc(count, sizeof *whole), *first = calloc(count, sizeof *first);
    int pair[2];
    if (!whole || !first || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) die("wire");
    pid_t child = fork();
    if (child == 0) {
        if (pair[1] != 3) dup2(pair[1], 3);
        if (pair[0] != 3) close(pair[0]);
        execl(argv[0], argv[0], (char *)NULL);
        die(argv[0]);
    }
    close(pair[1]);
    hear(pair[0], json, sizeof json);
    say(pair[0], LOAD, argv[3]);
    while (hear(pair[0], json, sizeof json) == TICK) continue;
    double begin = now_us();
    for (size_t i = 0; i < count; i++) {
        double from = now_us();
        say(pair[0], CALL, argv[2]);
        unsigned type;
        do {
            type = hear(pair[0], json, sizeof json);
            if (first[i] == 0) first[i] = now_us() - from;
        } while (type != DONE && type != FAIL);
        whole[i] = now_us() - from;
        if (type == FAIL) return fprintf(stderr, "%s\n", json), 1;
    }
    report(whole, first, count, (now_us() - begin) / 1e6);
    close(pair[0]);
    waitpid(child, NULL, 0);
    return 0;
}

/* ---- connections ---- */

typedef struct conn {
    int fd;
    size_t have;  /* bytes of this request or answer */
    size_t head;  /* of its header; 0 = not all there */
    long left;    /* of the body; -1 = chunks, told by their end */
    double began; /* when the question was sent */
    double first; /* when the first byte behind the header came; 0 = not yet */
    char *bytes;
} conn;

static int connect_to(const char *where)
{
    if (where[0] == '/') {
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        snprintf(a.sun_path, sizeof a.sun_path, "%s", where);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) != 0) die(where);
        return fd;
    }
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)atoi(where)),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    for (int tries = 0; fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) != 0; tries++) {
        if (tries == 100) die(where);
        usleep(10000);
    }
    if (fd < 0) die("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static char *read_file(const char *path)
{
    static char text[ROOM];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (n < 0) die(path);
    close(fd);
    return text;
}

/* A question as it goes over the line. */
static char *make_request(const char *where, const char *path, const char *body)
{
    char *out = NULL, host[64];
    snprintf(host, sizeof host, where[0] == '/' ? "localhost" : "127.0.0.1:%s", where);
    int n = *body ? asprintf(&out,
                             "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: "
                             "application/json\r\nContent-Length: %zu\r\n\r\n%s",
                             path, host, strlen(body), body)
                  : asprintf(&out, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host);
    if (n < 0) die("memory");
    return out;
}

/* Looks at what has come: 1 = an answer is whole, 0 = more is to come. */
static int is_whole(conn *c)
{
    c->bytes[c->have] = '\0';
    if (!c->head) {
        const char *end = strstr(c->bytes, "\r\n\r\n");
        if (!end) return 0;
        c->head = (size_t)(end - c->bytes) + 4;
        const char *length = strcasestr(c->bytes, "\r\ncontent-length:");
        c->left = length && length < end ? strtol(length + 17, NULL, 10) : -1;
        if (strncmp(c->bytes, "HTTP/1.1 200", 12) != 0) {
            fprintf(stderr, "%.*s\n", (int)c->have, c->bytes);
            exit(1);
        }
    }
    if (c->have > c->head && c->first == 0) c->first = now_us();
    if (c->left >= 0) return c->have >= c->head + (size_t)c->left;
    if (c->have >= c->head + 5 && memcmp(c->bytes + c->have - 5, "0\r\n\r\n", 5) == 0) return 1;
    if (c->have < ROOM - 8192) return 0;
    memmove(c->bytes + c->head, c->bytes + c->have - 16, 16); /* a long stream: only its end is looked for */
    c->have = c->head + 16;
    return 0;
}

static conn *new_conn(int fd)
{
    conn *c = calloc(1, sizeof *c);
    if (!c || !(c->bytes = malloc(ROOM))) die("memory");
    c->fd = fd;
    return c;
}

static void ask_on(conn *c, const char *request, size_t len)
{
    c->have = c->head = 0;
    c->first = 0;
    c->began = now_us();
    put_all(c->fd, request, len);
}

/* One connection is simply waited on: what epoll costs is no part of the answer. */
static int run_ask(char **argv)
{
    char *request = make_request(argv[0], argv[1], read_file(argv[2]));
    size_t len = strlen(request), width = (size_t)atol(argv[3]), count = (size_t)atol(argv[4]), sent = 0,
           done = 0;
    double *whole = calloc(count, sizeof *whole), *first = calloc(count, sizeof *first);
    int loop = epoll_create1(EPOLL_CLOEXEC);
    if (!whole || !first || loop < 0) die("ask");
    conn *only = NULL;
    double begin = now_us();
    for (size_t i = 0; i < width && sent < count; i++, sent++) {
        conn *c = only = new_conn(connect_to(argv[0]));
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(loop, EPOLL_CTL_ADD, c->fd, &e);
        ask_on(c, request, len);
    }
    while (done < count) {
        struct epoll_event events[64] = {{.data.ptr = only}};
        int n = width == 1 ? 1 : epoll_wait(loop, events, 64, 30000);
        if (n <= 0) return fprintf(stderr, "no answer for 30 s\n"), 1;
        for (int i = 0; i < n; i++) {
            conn *c = events[i].data.ptr;
            ssize_t got = read(c->fd, c->bytes + c->have, ROOM - 1 - c->have);
            if (got <= 0) return fprintf(stderr, "the connection closed: %s\n", strerror(errno)), 1;
            c->have += (size_t)got;
            if (!is_whole(c)) continue;
            whole[done] = now_us() - c->began;
            first[done++] = c->first - c->began;
            if (sent < count) {
                sent++;
                ask_on(c, request, len);
            }
        }
    }
    report(whole, first, count, (now_us() - begin) / 1e6);
    return 0;
}

static int run_hold(char **argv)
{
    char *request = make_request(argv[0], argv[1], read_file(argv[2])), bytes[4096];
    size_t len = strlen(request), count = (size_t)atol(argv[3]);
    int *fds = calloc(count, sizeof *fds);
    if (!fds) die("memory");
    for (size_t i = 0; i < count; i++) {
        fds[i] = connect_to(argv[0]);
        put_all(fds[i], request, len);
        if (i < 64) continue;
        /* not more than 64 on their way: nobody's backlog is to be measured */
        ssize_t n = read(fds[i - 64], bytes, sizeof bytes);
        if (n < 12 || strncmp(bytes, "HTTP/1.1 200", 12) != 0)
            return fprintf(stderr, "%.*s\n", (int)n, bytes), 1;
    }
    for (size_t i = count < 64 ? 0 : count - 64; i < count; i++)
        if (read(fds[i], bytes, sizeof bytes) <= 0) die("an answer");
    puts("held");
    fflush(stdout);
    while (read(0, bytes, sizeof bytes) > 0) continue;
    return 0;
}

/* ---- starting ---- */

/* Until the first line, whose last number is the port, and until somebody answers there. */
static int run_start(char **argv)
{
    size_t count = (size_t)atol(argv[0]);
    double *whole = calloc(count, sizeof *whole), *first = calloc(count, sizeof *first), begin = now_us();
    if (!whole || !first) die("memory");
    for (size_t i = 0; i < count; i++) {
        int out[2];
        char line[256] = "";
        if (pipe2(out, O_CLOEXEC) != 0) die("pipe");
        double from = now_us();
        pid_t child = vfork();
        if (child == 0) {
            dup2(out[1], 1);
            execv(argv[1], argv + 1);
            _exit(127);
        }
        close(out[1]);
        for (size_t at = 0; !strchr(line, '\n');) {
            ssize_t n = read(out[0], line + at, sizeof line - 1 - at);
            if (n <= 0) return fprintf(stderr, "%s did not start\n", argv[1]), 1;
            at += (size_t)n;
        }
        first[i] = now_us() - from;
        close(connect_to(strrchr(line, ':') + 1));
        whole[i] = now_us() - from;
        kill(child, SIGTERM);
        waitpid(child, NULL, 0);
        close(out[0]);
    }
    report(whole, first, count, (now_us() - begin) / 1e6);
    return 0;
}

/* ---- the cloud ---- */

/* Chunks are put into one write, as a server in a hurry does. */
static size_t chunk(char *out, size_t at, const char *text)
{
    return at + (size_t)sprintf(out + at, "%zx\r\n%s\r\n", strlen(text), text);
}

#define EVENT                                                                                         \
    "{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{" \
    "\"index\":0,\"delta\":"

static void answer(conn *c, const char *body)
{
    static char out[ROOM];
    long pieces = number_of(body, "\"max_tokens\":", 0);
    if (pieces == 0) pieces = number_of(body, "\"max_completion_tokens\":", 1);
    if (!strstr(body, "\"stream\":true")) {
        char json[1024];
        int n = snprintf(
            json, sizeof json,
            "{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\",\"choices\":[{"
            "\"index\":0,"
            "\"message\":{\"role\":\"assistant\",\"content\":\" word\"},\"finish_reason\":\"stop\"}],"
            "\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":1,\"total_tokens\":8}}");
        n = snprintf(out, sizeof out,
                     "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", n,
                     json);
        put_all(c->fd, out, (size_t)n);
        return;
    }
    size_t at = (size_t)sprintf(
        out, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (long i = 0; i < pieces; i++) {
        at = chunk(out, at, "data: " EVENT "{\"content\":\" word\"},\"finish_reason\":null}]}\n\n");
        if (at < ROOM - 1024) continue;
        put_all(c->fd, out, at);
        at = 0;
    }
    if (!strstr(body, "hold")) {
        at = chunk(out, at, "data: " EVENT "{},\"finish_reason\":\"stop\"}]}\n\n");
        at = chunk(out, at, "data: [DONE]\n\n");
        at += (size_t)sprintf(out + at, "0\r\n\r\n");
    }
    put_all(c->fd, out, at);
}

/* Reads on; answers when a question is whole. 0 when the other side left. */
static int serve_some(conn *c)
{
    ssize_t n = read(c->fd, c->bytes + c->have, ROOM - 1 - c->have);
    if (n <= 0) return 0;
    c->have += (size_t)n;
    c->bytes[c->have] = '\0';
    const char *end = strstr(c->bytes, "\r\n\r\n"), *length = strcasestr(c->bytes, "\r\ncontent-length:");
    if (!end) return 1;
    size_t need = (size_t)(end - c->bytes) + 4 + (length ? strtoul(length + 17, NULL, 10) : 0);
    if (c->have < need) return 1;
    if (strcasestr(c->bytes, "\r\nexpect: 100-continue")) put_all(c->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    c->have = 0;
    answer(c, end + 4);
    return 1;
}

__attribute__((noreturn)) static void run_cloud(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), loop = epoll_create1(EPOLL_CLOEXEC),
        one = 1;
    if (bind(listener, (struct sockaddr *)&a, sizeof a) != 0 || listen(listener, 4096) != 0 ||
        getsockname(listener, (struct sockaddr *)&a, &size) != 0)
        die("listening");
    struct epoll_event e = {.events = EPOLLIN};
    epoll_ctl(loop, EPOLL_CTL_ADD, listener, &e);
    printf("%d\n", ntohs(a.sin_port));
    fflush(stdout);
    for (;;) {
        struct epoll_event events[64];
        int n = epoll_wait(loop, events, 64, -1);
        for (int i = 0; i < n; i++) {
            conn *c = events[i].data.ptr;
            if (c && !serve_some(c)) {
                close(c->fd);
                free(c->bytes);
                free(c);
            }
            if (c) continue;
            int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
            if (fd < 0) continue;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            e = (struct epoll_event){.events = EPOLLIN, .data.ptr = new_conn(fd)};
            epoll_ctl(loop, EPOLL_CTL_ADD, fd, &e);
        }
    }
}

int main(int argc, char **argv)
{
    const char *name = strrchr(argv[0], '/');
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    if (strcmp(name ? name + 1 : argv[0], "hangar-runner-llama") == 0) run_runner();
    if (argc == 2 && strcmp(argv[1], "cloud") == 0) run_cloud();
    if (argc == 7 && strcmp(argv[1], "ask") == 0) return run_ask(argv + 2);
    if (argc == 6 && strcmp(argv[1], "wire") == 0) return run_wire(argv + 2);
    if (argc > 3 && strcmp(argv[1], "start") == 0) return run_start(argv + 2);
    if (argc == 6 && strcmp(argv[1], "hold") == 0) return run_hold(argv + 2);
    return fprintf(stderr, "peer: wrong arguments; see its source\n"), 2;
}
