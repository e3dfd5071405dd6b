/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix sockets by their path, however long it is (the system's own addresses end at 108 bytes). Only the owner may connect: a socket
 * is made with mode 0600, from its first moment on.
 */
#ifndef HG_BASE_UNIXSOCK_H
#define HG_BASE_UNIXSOCK_H

#include "base/err.h"

#include <stdbool.h>

/* A stream that listens at a path. `inode` tells ours from one that somebody else put there later. */
typedef struct hg_unix {
    int fd;
    char *path;
    unsigned long long device, inode;
    int lock; /* on PATH.lock, so that two who start at once do not take each other's socket away */
} hg_unix;

/*
 * Listens, close-on-exec and nonblocking. What an earlier process left there is replaced when nobody answers on it. BUSY: somebody does.
 * USAGE: something that is no socket is there. Makes missing folders (0700).
 */
hangar_code hg_unix_listen(const char *path, hg_unix *out, hangar_err *err);
/* Closes; removes the path when it is still ours. Fine on a zeroed struct with fd -1. */
void hg_unix_close(hg_unix *u);
/* Connects, close-on-exec, blocking. NOT_FOUND when nothing is there or nobody listens (errno in err->sys). */
hangar_code hg_unix_connect(const char *path, int *out_fd, hangar_err *err);
/* The other end of a connected unix socket runs as us, or as root. */
bool hg_unix_peer_is_us(int fd);

#endif
