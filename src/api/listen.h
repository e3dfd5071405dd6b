/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses to listen on, given in digits. */
#ifndef HG_API_LISTEN_H
#define HG_API_LISTEN_H

#include "base/err.h"

#include <stdbool.h>
#include <sys/socket.h>

typedef struct hg_listen {
    struct sockaddr_storage addr;
    socklen_t len;
    bool loopback; /* only this machine reaches it */
    unsigned port; /* the real one after hg_listen_open */
    char host[72]; /* "127.0.0.1:4264" or "[::1]:4264", as a Host header names it */
} hg_listen;

/* "ADDR:PORT", "[ADDR]:PORT" or "localhost:PORT"; port 0 = any that is free. USAGE. */
hangar_code hg_listen_parse(const char *text, hg_listen *out, hangar_err *err);
/* A listening socket, close-on-exec and nonblocking; fills in the port that was taken. BUSY when it is in use. */
hangar_code hg_listen_open(hg_listen *l, int *out_fd, hangar_err *err);

#endif
