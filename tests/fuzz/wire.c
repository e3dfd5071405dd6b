/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever a runner writes into its socket: frames are read until the reader refuses. fuzz-room: engine */
#include "engine/wire.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int pair[2];
    if (size > 65536 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return 0;
    ssize_t n = send(pair[0], data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    close(pair[0]);
    hg_frame frame;
    hangar_err err = {0};
    while (n > 0 && hg_wire_recv(pair[1], 1, &frame, &err) == HANGAR_OK) {
        if (frame.type == HG_WIRE_FAIL && hg_wire_failed(&frame, &err) == HANGAR_OK) __builtin_trap();
        hg_frame_deinit(&frame);
    }
    close(pair[1]);
    return 0;
}
