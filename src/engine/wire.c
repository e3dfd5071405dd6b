/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames in and out. The socket is used with MSG_DONTWAIT and poll, so that it makes no difference whether it
 * blocks, and no call hangs for longer than its caller said. A frame's lengths are checked before anything is
 * allocated; a descriptor that nobody announced is closed.
 */
#include "engine/wire_inner.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void put16(uint8_t *at, uint32_t n)
{
    at[0] = (uint8_t)n;
    at[1] = (uint8_t)(n >> 8);
}

static void put32(uint8_t *at, uint32_t n)
{
    put16(at, n);
    put16(at + 2, n >> 16);
}

/* The words for a socket whose other end went away. */
static hangar_code gone(hangar_err *err)
{
    return hg_fail(err, HANGAR_E_ENGINE, "the other side closed the connection");
}

/* Waits until the socket can be used for `events`; a deadline below zero is none. */
static hangar_code wait_for(int fd, short events, double deadline, hangar_err *err)
{
    for (;;) {
        int ms = -1;
        if (deadline >= 0) {
            double left = deadline - hg_now();
            if (left < 0) left = 0;
            ms = left > 3600 ? 3600000 : (int)(left * 1000 + 0.999);
        }
        struct pollfd p = {.fd = fd, .events = events};
        int n = poll(&p, 1, ms);
        if (n > 0) return HANGAR_OK;
        if (n < 0 && errno != EINTR) return hg_fail_errno(err, errno, "waiting on a runner's socket");
        if (deadline >= 0 && hg_now() >= deadline) return hg_fail(err, HANGAR_E_TIMEOUT, "no answer in time");
    }
}

/* ---- sending ---- */

hangar_code hg_wire_header_write(const hg_parcel *parcel, uint8_t header[HG_WIRE_HEADER], hangar_err *err)
{
    if (parcel->json.len > HG_WIRE_JSON_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "a frame's text of %zu bytes is over the limit of %zu",
                       parcel->json.len, HG_WIRE_JSON_MAX);
    if (parcel->bin_len > HG_WIRE_BIN_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "a frame's data of %zu bytes is over the limit of %zu",
                       parcel->bin_len, HG_WIRE_BIN_MAX);
    put32(header, HG_WIRE_MAGIC);
    put16(header + 4, (uint32_t)parcel->type);
    put16(header + 6, parcel->fd > 0 ? HG_WIRE_HAS_FD : 0);
    put32(header + 8, (uint32_t)parcel->json.len);
    put32(header + 12, (uint32_t)parcel->bin_len);
    return HANGAR_OK;
}

ssize_t hg_wire_sendmsg(int fd, struct iovec *iov, size_t count, int pass)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = count};
    if (pass > 0) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof control.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &pass, sizeof(int));
    }
    ssize_t n;
    do n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n;
}

void hg_wire_iov_skip(struct iovec **iov, size_t *count, size_t done)
{
    while (*count > 0 && done >= (*iov)->iov_len) {
        done -= (*iov)->iov_len;
        ++*iov;
        --*count;
    }
    if (*count > 0) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + done;
        (*iov)->iov_len -= done;
    }
}

/* One sendmsg of what is left, or a wait; the descriptor rides on the first byte. Moves the vectors on. */
static hangar_code send_some(int fd, struct iovec **iov, size_t *count, int *pass, double seconds,
                             hangar_err *err)
{
    ssize_t n = hg_wire_sendmsg(fd, *iov, *count, *pass);
    if (n < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return wait_for(fd, POLLOUT, seconds < 0 ? -1 : hg_now() + seconds, err);
        if (errno == EPIPE || errno == ECONNRESET) return gone(err);
        return hg_fail_errno(err, errno, "writing to a runner's socket");
    }
    *pass = 0;
    hg_wire_iov_skip(iov, count, (size_t)n);
    return HANGAR_OK;
}

hangar_code hg_wire_send_parcel(int fd, const hg_parcel *parcel, double seconds, hangar_err *err)
{
    uint8_t header[HG_WIRE_HEADER];
    hangar_code code = hg_wire_header_write(parcel, header, err);
    struct iovec parts[3] = {{header, sizeof header},
                             {(void *)parcel->json.ptr, parcel->json.len},
                             {(void *)parcel->bin, parcel->bin_len}};
    struct iovec *iov = parts;
    size_t count = 3;
    int pass = parcel->fd;
    while (count > 0 && code == HANGAR_OK) code = send_some(fd, &iov, &count, &pass, seconds, err);
    return code;
}

hangar_code hg_wire_send(int fd, hg_wire_type type, hg_str json, const void *bin, size_t bin_len,
                         hangar_err *err)
{
    return hg_wire_send_parcel(fd, &(hg_parcel){.type = type, .json = json, .bin = bin, .bin_len = bin_len},
                               -1, err);
}

hangar_code hg_wire_send_doc(int fd, hg_wire_type type, hg_jw *doc, const void *bin, size_t bin_len,
                             hangar_err *err)
{
    char *text = NULL;
    hangar_code code = doc ? hg_jw_finish(doc, false, &text, err) : hg_fail_memory(err);
    hg_jw_free(doc);
    if (code == HANGAR_OK) code = hg_wire_send(fd, type, hg_str_of(text), bin, bin_len, err);
    free(text);
    return code;
}

/* ---- receiving ---- */

void hg_wire_take_fds(struct msghdr *msg, int *kept)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int got;
            memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof got);
            if (*kept > 0) {
                close(got);
            } else if (got > 2) {
                *kept = got;
            } else { /* stdin was closed here: keep clear of the standard streams */
                int moved = fcntl(got, F_DUPFD_CLOEXEC, 3);
                close(got);
                if (moved > 0) *kept = moved;
            }
        }
    }
}

/* Reads exactly len bytes; descriptors that come along end up in *kept. */
static hangar_code read_all(int fd, void *to, size_t len, double deadline, int *kept, hangar_err *err)
{
    for (size_t at = 0; at < len;) {
        union {
            struct cmsghdr align;
            char bytes[CMSG_SPACE(4 * sizeof(int))];
        } control;
        struct iovec iov = {(char *)to + at, len - at};
        struct msghdr msg = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
        ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n > 0) {
            hg_wire_take_fds(&msg, kept);
            at += (size_t)n;
            continue;
        }
        if (n == 0) return gone(err);
        if (errno == EINTR) continue;
        if (errno == ECONNRESET) return gone(err);
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            return hg_fail_errno(err, errno, "reading a runner's socket");
        hangar_code code = wait_for(fd, POLLIN, deadline, err);
        if (code != HANGAR_OK) return code;
    }
    return HANGAR_OK;
}

hangar_code hg_wire_header_read(const uint8_t h[HG_WIRE_HEADER], hg_wire_header *out, hangar_err *err)
{
    if ((uint32_t)hg_little(h, 4) != HG_WIRE_MAGIC)
        return hg_fail(err, HANGAR_E_INVALID, "not a frame: it begins with %08x", (uint32_t)hg_little(h, 4));
    uint32_t type = (uint32_t)hg_little(h + 4, 2);
    if (type < HG_WIRE_HELLO || type > HG_WIRE_TICK)
        return hg_fail(err, HANGAR_E_INVALID, "no frame type %u", type);
    uint32_t flags = (uint32_t)hg_little(h + 6, 2);
    if (flags & ~HG_WIRE_HAS_FD || (flags && type != HG_WIRE_CALL))
        return hg_fail(err, HANGAR_E_INVALID, "a frame of type %u with flags %x", type, flags);
    *out = (hg_wire_header){.type = (hg_wire_type)type,
                            .has_fd = flags & HG_WIRE_HAS_FD,
                            .json_len = (uint32_t)hg_little(h + 8, 4),
                            .bin_len = (uint32_t)hg_little(h + 12, 4)};
    if (out->json_len > HG_WIRE_JSON_MAX || out->bin_len > HG_WIRE_BIN_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "a frame of %zu and %zu bytes is over the limits of %zu and %zu",
                       out->json_len, out->bin_len, HG_WIRE_JSON_MAX, HG_WIRE_BIN_MAX);
    return HANGAR_OK;
}

/* The header's fields, each within its limits, and the descriptor that came or came not. */
static hangar_code read_header(const uint8_t bytes[HG_WIRE_HEADER], hg_frame *out, size_t *json_len,
                               hangar_err *err)
{
    hg_wire_header h;
    hangar_code code = hg_wire_header_read(bytes, &h, err);
    if (code != HANGAR_OK) return code;
    if (h.has_fd && out->fd <= 0)
        return hg_fail(err, HANGAR_E_INVALID, "a frame promised a descriptor and has none");
    if (!h.has_fd && out->fd > 0)
        return hg_fail(err, HANGAR_E_INVALID, "a frame came with a descriptor that it did not name");
    out->type = h.type;
    out->bin_len = h.bin_len;
    *json_len = h.json_len;
    return HANGAR_OK;
}

/* The two parts behind the header. Memory is asked for by length but touched only as bytes come in. */
static hangar_code read_parts(int fd, size_t json_len, double deadline, hg_frame *out, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    int stray = 0;
    if (json_len > 0) {
        HG_AUTO(hg_auto_free) char *text = malloc(json_len);
        if (!text) return hg_fail_memory(err);
        code = read_all(fd, text, json_len, deadline, &stray, err);
        hg_json_limits limits = {.bytes = HG_WIRE_JSON_MAX, .depth = HG_WIRE_DEPTH};
        if (code == HANGAR_OK) code = hg_json_parse((hg_str){text, json_len}, &limits, &out->doc, err);
    }
    if (code == HANGAR_OK && out->bin_len > 0) {
        void *bin = NULL;
        if (posix_memalign(&bin, 16, out->bin_len) != 0) return hg_fail_memory(err);
        out->bin = bin;
        code = read_all(fd, bin, out->bin_len, deadline, &stray, err);
    }
    if (stray > 0) {
        close(stray);
        if (code == HANGAR_OK) code = hg_fail(err, HANGAR_E_INVALID, "a descriptor in the midst of a frame");
    }
    return code;
}

hangar_code hg_wire_recv(int fd, double seconds, hg_frame *out, hangar_err *err)
{
    *out = (hg_frame){0};
    uint8_t header[HG_WIRE_HEADER];
    hangar_code code = wait_for(fd, POLLIN, seconds < 0 ? -1 : hg_now() + seconds, err);
    if (code != HANGAR_OK) return code;
    double deadline = seconds < 0 ? -1 : hg_now() + seconds;
    size_t json_len = 0;
    code = read_all(fd, header, sizeof header, deadline, &out->fd, err);
    if (code == HANGAR_OK) code = read_header(header, out, &json_len, err);
    if (code == HANGAR_OK) code = read_parts(fd, json_len, deadline, out, err);
    if (code != HANGAR_OK) hg_frame_deinit(out);
    return code;
}

bool hg_wire_pending(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

void hg_frame_deinit(hg_frame *frame)
{
    hg_json_free(frame->doc);
    free(frame->bin);
    if (frame->fd > 0) close(frame->fd);
    *frame = (hg_frame){0};
}

/* ---- FAIL ---- */

hangar_code hg_wire_failed(const hg_frame *frame, hangar_err *err)
{
    const hg_jval *doc = hg_json_root(frame->doc);
    const char *name = hg_json_text_or(hg_json_get(doc, "code"), "");
    hangar_code code = HANGAR_E_ENGINE;
    for (hangar_code c = HANGAR_E_FAILED; c < HANGAR_E_COUNT; c++)
        if (strcmp(name, hangar_code_name(c)) == 0) code = c;
    return hg_fail(err, code, "%s",
                   hg_json_text_or(hg_json_get(doc, "message"), "the engine failed without a word"));
}

hangar_code hg_wire_send_fail(int fd, const hangar_err *why, hangar_err *err)
{
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "code", hangar_code_name(why->code));
    hg_jw_text(w, "message", why->msg[0] ? why->msg : hangar_code_text(why->code));
    hg_jw_end(w);
    return hg_wire_send_doc(fd, HG_WIRE_FAIL, w, NULL, 0, err);
}
