/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a frame, for those who must not wait for one (engine/line.c). */
#ifndef HG_ENGINE_WIRE_INNER_H
#define HG_ENGINE_WIRE_INNER_H

#include "engine/wire.h"

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#define HG_WIRE_HEADER 16

typedef struct hg_wire_header {
    hg_wire_type type;
    bool has_fd;
    size_t json_len, bin_len;
} hg_wire_header;

/* Each field within its limits; whether the descriptor came is the caller's to see. INVALID, LIMIT. */
hangar_code hg_wire_header_read(const uint8_t bytes[HG_WIRE_HEADER], hg_wire_header *out, hangar_err *err);
/* LIMIT. */
hangar_code hg_wire_header_write(const hg_parcel *parcel, uint8_t bytes[HG_WIRE_HEADER], hangar_err *err);
/* One sendmsg that does not wait; `pass` above 0 rides on the first byte. As sendmsg: -1 and errno (never EINTR). */
ssize_t hg_wire_sendmsg(int fd, struct iovec *iov, size_t count, int pass);
/* Moves the vectors on by `done` bytes; *count is 0 at the end. */
void hg_wire_iov_skip(struct iovec **iov, size_t *count, size_t done);
/* Takes the descriptors out of a received message: the first is kept in *kept (when that is not above 0 yet), all others are closed. */
void hg_wire_take_fds(struct msghdr *msg, int *kept);

#endif
