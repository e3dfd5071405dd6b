/* SPDX-License-Identifier: Apache-2.0 */
/* The mirror over a real socket: who may ask, what changes under its feet, how it ends. */
#include "api/mirror.h"
#include "base/clock.h"
#include "base/fsx.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static hangar_mirror *mirror;
static char reply[1 << 20];

static void put(const char *path, const char *text)
{
    assert_int_equal(hg_write_file(path, text, strlen(text), 0644, NULL), HANGAR_OK);
}

static void serve(const char *token)
{
    hangar_err err = {0};
    hangar_mirror_options o = HANGAR_MIRROR_OPTIONS_INIT;
    o.token = token;
    if (hangar_mirror_start("hub", &o, &mirror, &err) != HANGAR_OK) fail_msg("%s", err.msg);
}

static int connect_now(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)mirror->port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

/* Sends raw bytes, reads until the other side closes or nothing comes for a while; returns the status. */
static int raw(const char *text)
{
    int fd = connect_now(), status = 0;
    size_t len = 0;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = 5}, sizeof(struct timeval));
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    for (ssize_t n; len < sizeof reply - 1 && (n = recv(fd, reply + len, sizeof reply - 1 - len, 0)) > 0;)
        len += (size_t)n;
    reply[len] = '\0';
    close(fd);
    sscanf(reply, "HTTP/1.1 %d", &status);
    return status;
}

/* GET with the right Host and more headers. */
static int get(const char *target, const char *more)
{
    char text[16384];
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nConnection: close\r\n%s\r\n",
             target, mirror->port, more);
    return raw(text);
}

static const char *body(void)
{
    const char *at = strstr(reply, "\r\n\r\n");
    return at ? at + 4 : "";
}

static int setup(void **state)
{
    (void)state;
    put("hub/acme/one/README.md", "hello\n");
    put("hub/acme/one/w.bin", "weights");
    put("hub/acme/one/empty.txt", "");
    return 0;
}

static void test_host_is_checked_before_all_else(void **state)
{
    (void)state;
    char text[300];
    serve(NULL);
    assert_int_equal(raw("GET /api/models HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n"), 421);
    assert_int_equal(raw("GET /nothing HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n"), 421);
    assert_int_equal(raw("GET /api/models HTTP/1.0\r\n\r\n"), 400);
    snprintf(text, sizeof text,
             "GET /api/models HTTP/1.1\r\nHost: localhost:%u\r\nHost: evil.test\r\nConnection: close\r\n\r\n",
             mirror->port);
    assert_int_equal(raw(text), 400);
    snprintf(text, sizeof text,
             "GET http://evil.test/api/models HTTP/1.1\r\nHost: localhost:%u\r\nConnection: close\r\n\r\n",
             mirror->port);
    assert_int_equal(raw(text), 400);
    assert_int_equal(get("/api/models", ""), 200);
    assert_null(strstr(reply, "Access-Control"));
    hangar_mirror_stop(mirror);
}

static void test_token(void **state)
{
    (void)state;
    serve("hf_right");
    static const char *const routes[] = {"/api/models",
                                         "/api/models/acme/one",
                                         "/acme/one/resolve/main/README.md",
                                         "/acme/one/raw/main/README.md",
                                         "/api/whoami-v2",
                                         "/nothing",
                                         "/api/models/acme/none"};
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        assert_int_equal(get(routes[i], ""), 401);
        assert_non_null(strstr(reply, "X-Error-Message: Invalid username or password."));
        assert_int_equal(get(routes[i], "Authorization: Bearer hf_wrong\r\n"), 401);
        assert_non_null(strstr(reply, "X-Error-Message: Invalid credentials in Authorization header"));
        assert_int_equal(get(routes[i], "Authorization: Basic hf_right\r\n"), 401);
        assert_int_equal(get(routes[i],
                             "Authorization: Bearer hf_right\r\nAuthorization: Bearer hf_wrong\r\n"),
                         401);
    }
    const char *right = "Authorization: Bearer hf_right\r\n";
    assert_int_equal(get("/api/models", right), 200);
    assert_int_equal(get("/api/whoami-v2", right), 200);
    assert_int_equal(get("/api/models/acme/none", right), 404);
    assert_non_null(strstr(reply, "X-Error-Code: RepoNotFound"));
    /* The signed address needs no token, and nothing but the right signature. */
    assert_int_equal(get("/acme/one/resolve/main/w.bin", right), 302);
    char address[1024], *at = strstr(reply, "/lfs/");
    assert_non_null(at);
    snprintf(address, sizeof address, "%.*s", (int)strcspn(at, "\r\n"), at);
    assert_int_equal(get(address, ""), 200);
    assert_string_equal(body(), "weights");
    char *digit = address + strlen(address) - 1;
    *digit = *digit == '0' ? '1' : '0';
    assert_int_equal(get(address, right), 403);
    assert_non_null(strstr(body(), "<Code>AccessDenied</Code>"));
    hangar_mirror_stop(mirror);
}

/* A request that is signed, but for a moment that has passed, a place that is none, or another file. */
static void test_signed_addresses(void **state)
{
    (void)state;
    static const char sha[] = "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c";
    const struct {
        const char *key;
        int64_t expires;
    } cases[] = {{"acme/one/w.bin", 1000},
                 {"acme/one/README.md", INT32_MAX},
                 {"acme/one/../one/w.bin", INT32_MAX},
                 {"acme", INT32_MAX},
                 {"", INT32_MAX},
                 {"acme/none/w.bin", INT32_MAX}};
    serve(NULL);
    assert_int_equal(get("/api/models/acme/one", ""), 200);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512], signature[65], address[1024];
        snprintf(text, sizeof text, "%s\n%s\n%lld", sha, cases[i].key, (long long)cases[i].expires);
        assert_int_equal(hg_hmac(mirror->secret, sizeof mirror->secret, hg_str_of(text), signature, NULL),
                         HANGAR_OK);
        snprintf(address, sizeof address, "/lfs/%s?Key=%s&Expires=%lld&Signature=%s", sha, cases[i].key,
                 (long long)cases[i].expires, signature);
        assert_int_equal(get(address, ""), 403);
    }
    assert_non_null(strstr(body(), "AccessDenied"));
    assert_int_equal(get("/lfs/xyz", ""), 403);
    hangar_mirror_stop(mirror);
}

/* The commit of the API's answer. */
static void commit_now(char out[41])
{
    assert_int_equal(get("/api/models/acme/one", ""), 200);
    const char *at = strstr(reply, "\"sha\":\"");
    assert_non_null(at);
    memcpy(out, at + 7, 40);
    out[40] = '\0';
}

static void test_answers_follow_the_folder(void **state)
{
    (void)state;
    char before[41], after[41], target[200];
    serve(NULL);
    commit_now(before);
    assert_int_equal(get("/acme/one/resolve/main/w.bin", ""), 302);
    char address[1024], *at = strstr(reply, "/lfs/");
    snprintf(address, sizeof address, "%.*s", (int)strcspn(at, "\r\n"), at);
    assert_int_equal(get("/acme/one/resolve/main/new.txt", ""), 404);
    assert_non_null(strstr(reply, "X-Error-Code: EntryNotFound"));
    assert_non_null(strstr(reply, before)); /* X-Repo-Commit */
    put("hub/acme/one/new.txt", "new\n");
    put("hub/acme/one/w.bin", "heavier");
    assert_int_equal(get("/acme/one/raw/main/new.txt", ""), 200); /* at once, not when some time has passed */
    assert_string_equal(body(), "new\n");
    assert_int_equal(get(address, ""), 403); /* the signed file is no more */
    commit_now(after);
    assert_string_not_equal(before, after);
    snprintf(target, sizeof target, "/acme/one/resolve/%s/w.bin", before);
    assert_int_equal(get(target, ""), 404);
    assert_non_null(strstr(reply, "X-Error-Code: RevisionNotFound"));
    snprintf(target, sizeof target, "/acme/one/resolve/%s/w.bin", after);
    assert_int_equal(get(target, ""), 302);
    assert_int_equal(unlink("hub/acme/one/new.txt"), 0);
    assert_int_equal(get("/acme/one/resolve/main/new.txt", ""), 404);
    put("hub/acme/one/w.bin", "weights");
    hangar_mirror_stop(mirror);
}

/* A file that changed since it was hashed is not sent under its old digest, not even a moment later. */
static void test_changed_file_is_not_sent_as_the_old_one(void **state)
{
    (void)state;
    serve(NULL);
    assert_int_equal(get("/acme/one/resolve/main/w.bin", ""), 302);
    char address[1024], *at = strstr(reply, "/lfs/");
    assert_non_null(at);
    snprintf(address, sizeof address, "%.*s", (int)strcspn(at, "\r\n"), at);
    assert_int_equal(get(address, ""), 200);
    put("hub/acme/one/w.bin", "heavier");
    assert_int_equal(get(address, ""), 403);
    put("hub/acme/one/README.md", "other\n");
    assert_int_equal(get("/acme/one/raw/main/README.md", ""), 200);
    assert_string_equal(body(), "other\n");
    assert_non_null(strstr(reply, "ETag: \"e45c9c2666d44e0327c1f9c239a74c508336053e\""));
    put("hub/acme/one/w.bin", "weights");
    put("hub/acme/one/README.md", "hello\n");
    hangar_mirror_stop(mirror);
}

static void test_limits(void **state)
{
    (void)state;
    serve(NULL);
    char *text = malloc(70000);
    assert_non_null(text);
    int n = snprintf(text, 70000, "GET /api/models HTTP/1.1\r\nHost: localhost:%u\r\nX-Long: ", mirror->port);
    memset(text + n, 'a', 60000);
    strcpy(text + n + 60000, "\r\n\r\n");
    assert_int_equal(raw(text), 431);
    n = snprintf(text, 70000, "GET /");
    memset(text + n, 'a', 9000);
    snprintf(text + n + 9000, 200, " HTTP/1.1\r\nHost: localhost:%u\r\nConnection: close\r\n\r\n",
             mirror->port);
    assert_int_equal(raw(text), 414);
    snprintf(text, 70000,
             "POST /api/models/acme/one/paths-info/main HTTP/1.1\r\nHost: localhost:%u\r\nContent-Length: "
             "9999999\r\n\r\n",
             mirror->port);
    assert_int_equal(raw(text), 413); /* told before a byte of the body came */
    free(text);
    hangar_mirror_stop(mirror);
}

static void test_methods(void **state)
{
    (void)state;
    char text[300];
    serve(NULL);
    static const char *const methods[] = {"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get"};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        snprintf(
            text, sizeof text,
            "%s /acme/one/resolve/main/README.md HTTP/1.1\r\nHost: localhost:%u\r\nConnection: close\r\n\r\n",
            methods[i], mirror->port);
        assert_int_equal(raw(text), 405);
        assert_non_null(strstr(reply, "Allow: GET, HEAD"));
    }
    hangar_mirror_stop(mirror);
}

/* A mirror that ends while a client waits for digests answers or closes; it never hangs. */
static void test_stop_while_clients_wait(void **state)
{
    (void)state;
    FILE *f = fopen("hub/acme/one/big.bin", "wb");
    assert_non_null(f);
    assert_int_equal(ftruncate(fileno(f), (off_t)4 << 30), 0); /* a hole: seconds of hashing, no disk */
    fclose(f);
    serve(NULL);
    char text[200];
    int fds[20];
    snprintf(text, sizeof text, "GET /api/models/acme/one HTTP/1.1\r\nHost: localhost:%u\r\n\r\n",
             mirror->port);
    for (size_t i = 0; i < 20; i++) {
        fds[i] = connect_now();
        assert_int_equal(send(fds[i], text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    }
    put("hub/acme/two/README.md", "small\n");
    double begun = hg_now();
    assert_int_equal(get("/api/models/acme/two", ""), 200); /* nobody waits for another's big file */
    assert_true(hg_now() - begun < 1.5);
    begun = hg_now();
    hangar_mirror_stop(mirror);
    assert_true(hg_now() - begun < 2.0);
    for (size_t i = 0; i < 20; i++) close(fds[i]);
    assert_int_equal(unlink("hub/acme/one/big.bin"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host_is_checked_before_all_else),
        cmocka_unit_test(test_token),
        cmocka_unit_test(test_signed_addresses),
        cmocka_unit_test(test_answers_follow_the_folder),
        cmocka_unit_test(test_changed_file_is_not_sent_as_the_old_one),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_stop_while_clients_wait),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
