/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: a round trip, and every way a frame can be wrong. */
#include "base/clock.h"
#include "base/mem.h"
#include "engine/wire.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int pair[2];

static int set_up(void **state)
{
    (void)state;
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
}

static int tear_down(void **state)
{
    (void)state;
    close(pair[0]);
    close(pair[1]);
    return 0;
}

static void raw(const void *bytes, size_t len)
{
    assert_int_equal(send(pair[0], bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

static void raw_header(uint32_t magic, uint16_t type, uint16_t flags, uint32_t json, uint32_t bin)
{
    uint8_t h[16] = {0};
    const uint32_t words[4] = {magic, (uint32_t)flags << 16 | type, json, bin};
    for (int i = 0; i < 4; i++)
        for (int b = 0; b < 4; b++) h[4 * i + b] = (uint8_t)(words[i] >> (8 * b));
    raw(h, sizeof h);
}

static hangar_code receive(double seconds, hg_frame *frame)
{
    hangar_err err = {0};
    hangar_code code = hg_wire_recv(pair[1], seconds, frame, &err);
    if (code != HANGAR_OK) assert_true(err.msg[0] != '\0' && !strchr(err.msg, '\n'));
    return code;
}

static void round_trip(void **state)
{
    (void)state;
    hg_frame f;
    assert_int_equal(hg_wire_send(pair[0], HG_WIRE_PIECE, HG_STR("{\"a\":[1,2]}"), "xyz", 3, NULL),
                     HANGAR_OK);
    assert_true(hg_wire_pending(pair[1]));
    assert_int_equal(receive(5, &f), HANGAR_OK);
    assert_int_equal(f.type, HG_WIRE_PIECE);
    assert_int_equal(hg_json_len(hg_json_get(hg_json_root(f.doc), "a")), 2);
    assert_int_equal(f.bin_len, 3);
    assert_memory_equal(f.bin, "xyz", 3);
    assert_int_equal((uintptr_t)f.bin % 16, 0);
    assert_int_equal(f.fd, 0);
    hg_frame_deinit(&f);
    assert_false(hg_wire_pending(pair[1]));
    assert_int_equal(hg_wire_send(pair[0], HG_WIRE_CANCEL, (hg_str){0}, NULL, 0, NULL), HANGAR_OK);
    assert_int_equal(receive(5, &f), HANGAR_OK);
    assert_int_equal(f.type, HG_WIRE_CANCEL);
    assert_null(f.doc);
    hg_frame_deinit(&f);
}

static void *send_big(void *arg)
{
    hg_str json = *(hg_str *)arg;
    static char bin[5000000];
    memset(bin, 7, sizeof bin);
    return hg_wire_send(pair[0], HG_WIRE_DONE, json, bin, sizeof bin, NULL) == HANGAR_OK ? arg : NULL;
}

/* More than the socket's buffer holds, in both parts. */
static void big_frames(void **state)
{
    (void)state;
    size_t len = 3000000;
    char *text = malloc(len);
    assert_non_null(text);
    memset(text, ' ', len);
    memcpy(text, "[1", 2);
    text[len - 1] = ']';
    hg_str json = {text, len};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, send_big, &json), 0);
    hg_frame f;
    assert_int_equal(receive(20, &f), HANGAR_OK);
    void *ok = NULL;
    pthread_join(thread, &ok);
    assert_non_null(ok);
    assert_int_equal(f.bin_len, 5000000);
    assert_int_equal(f.bin[4999999], 7);
    hg_frame_deinit(&f);
    free(text);
}

static void a_descriptor_travels(void **state)
{
    (void)state;
    int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    hg_parcel parcel = {.type = HG_WIRE_CALL, .json = HG_STR("{}"), .fd = fd};
    assert_int_equal(hg_wire_send_parcel(pair[0], &parcel, 5, NULL), HANGAR_OK);
    close(fd);
    hg_frame f;
    assert_int_equal(receive(5, &f), HANGAR_OK);
    assert_true(f.fd > 2);
    assert_true(fcntl(f.fd, F_GETFD) & FD_CLOEXEC);
    char c = 1;
    assert_int_equal(read(f.fd, &c, 1), 1);
    assert_int_equal(c, 0);
    int was = f.fd;
    hg_frame_deinit(&f);
    assert_int_equal(fcntl(was, F_GETFD), -1);
}

/* Descriptors that nobody announced are closed, whatever number came. */
static void unannounced_descriptors(void **state)
{
    (void)state;
    int fds[3] = {open("/dev/null", O_RDONLY), open("/dev/null", O_RDONLY), open("/dev/null", O_RDONLY)};
    int next = open("/dev/null", O_RDONLY); /* the number that a received descriptor would get */
    close(next);
    uint8_t header[16] = {0x48, 0x47, 0x57, 0x31, HG_WIRE_PIECE};
    struct iovec iov = {header, sizeof header};
    char control[CMSG_SPACE(sizeof fds)] __attribute__((aligned(8))) = {0};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control,
                         .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(c), fds, sizeof fds);
    assert_int_equal(sendmsg(pair[0], &msg, 0), 16);
    hg_frame f;
    assert_int_equal(receive(5, &f), HANGAR_E_INVALID);
    assert_int_equal(fcntl(next, F_GETFD), -1);
    for (int i = 0; i < 3; i++) close(fds[i]);
    /* and the other way round: one was promised and none came */
    raw_header(HG_WIRE_MAGIC, HG_WIRE_CALL, HG_WIRE_HAS_FD, 0, 0);
    assert_int_equal(receive(5, &f), HANGAR_E_INVALID);
}

static void nonsense(void **state)
{
    (void)state;
    hg_frame f;
    raw("GET / HTTP/1.1\r\n", 16);
    assert_int_equal(receive(5, &f), HANGAR_E_INVALID);
    raw_header(HG_WIRE_MAGIC, 0, 0, 0, 0);
    assert_int_equal(receive(5, &f), HANGAR_E_INVALID);
    raw_header(HG_WIRE_MAGIC, 77, 0, 0, 0);
    assert_int_equal(receive(5, &f), HANGAR_E_INVALID);
    raw_header(HG_WIRE_MAGIC, HG_WIRE_DONE, 9, 0, 0);
    assert_int_equal(receive(5, &f), HANGAR_E_INVALID);
    raw_header(HG_WIRE_MAGIC, HG_WIRE_DONE, 0, 5, 0);
    raw("{\"a\":", 5);
    assert_int_equal(receive(5, &f), HANGAR_E_INVALID);
}

static void huge_lengths(void **state)
{
    (void)state;
    hg_frame f;
    raw_header(HG_WIRE_MAGIC, HG_WIRE_DONE, 0, 0xffffffffu, 0);
    assert_int_equal(receive(5, &f), HANGAR_E_LIMIT);
    raw_header(HG_WIRE_MAGIC, HG_WIRE_DONE, 0, 0, 0x40000001u);
    assert_int_equal(receive(5, &f), HANGAR_E_LIMIT);
    /* the sender holds to the same limits */
    assert_int_equal(hg_wire_send(pair[0], HG_WIRE_DONE, (hg_str){"", HG_WIRE_JSON_MAX + 1}, NULL, 0, NULL),
                     HANGAR_E_LIMIT);
    assert_int_equal(hg_wire_send(pair[0], HG_WIRE_DONE, (hg_str){0}, "", HG_WIRE_BIN_MAX + 1, NULL),
                     HANGAR_E_LIMIT);
}

static void silence_and_halves(void **state)
{
    (void)state;
    hg_frame f;
    double from = hg_now();
    assert_int_equal(receive(0.1, &f), HANGAR_E_TIMEOUT);
    raw_header(HG_WIRE_MAGIC, HG_WIRE_DONE, 0, 100, 0);
    raw("{", 1);
    assert_int_equal(receive(0.1, &f), HANGAR_E_TIMEOUT);
    assert_true(hg_now() - from < 3);
    close(pair[0]);
    pair[0] = -1;
    assert_int_equal(receive(5, &f), HANGAR_E_ENGINE);
    assert_int_equal(hg_wire_send(pair[1], HG_WIRE_CANCEL, (hg_str){0}, NULL, 0, NULL), HANGAR_E_ENGINE);
}

/* Somebody who takes nothing holds the sender for so long and no longer. */
static void a_full_pipe(void **state)
{
    (void)state;
    size_t len = 64u << 20;
    char *bin = calloc(1, len);
    assert_non_null(bin);
    hg_parcel parcel = {.type = HG_WIRE_CALL, .bin = bin, .bin_len = len};
    double from = hg_now();
    assert_int_equal(hg_wire_send_parcel(pair[0], &parcel, 0.2, NULL), HANGAR_E_TIMEOUT);
    assert_true(hg_now() - from < 5);
    free(bin);
}

static void failures(void **state)
{
    (void)state;
    hangar_err why = {0}, err = {0};
    hg_frame f;
    why.code = HANGAR_E_UNSUPPORTED;
    snprintf(why.msg, sizeof why.msg, "no \"%s\"", "swin");
    assert_int_equal(hg_wire_send_fail(pair[0], &why, NULL), HANGAR_OK);
    assert_int_equal(receive(5, &f), HANGAR_OK);
    assert_int_equal(hg_wire_failed(&f, &err), HANGAR_E_UNSUPPORTED);
    assert_string_equal(err.msg, "no \"swin\"");
    hg_frame_deinit(&f);
    const char *odd = "{\"code\":\"OK\",\"message\":7}";
    assert_int_equal(hg_wire_send(pair[0], HG_WIRE_FAIL, hg_str_of(odd), NULL, 0, NULL), HANGAR_OK);
    assert_int_equal(receive(5, &f), HANGAR_OK);
    assert_int_equal(hg_wire_failed(&f, &err), HANGAR_E_ENGINE);
    hg_frame_deinit(&f);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(round_trip), T(big_frames),   T(a_descriptor_travels), T(unannounced_descriptors),
        T(nonsense),   T(huge_lengths), T(silence_and_halves),   T(a_full_pipe),
        T(failures)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
