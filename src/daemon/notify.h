/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telling systemd how it goes (sd_notify(3)), by hand: one datagram of NAME=VALUE lines to the socket that NOTIFY_SOCKET names. Nothing here
 * fails towards its caller: without a socket, or when nobody takes the datagram, nothing is told.
 */
#ifndef HG_DAEMON_NOTIFY_H
#define HG_DAEMON_NOTIFY_H

#include "base/err.h"

#include <stdbool.h>

typedef struct hg_notify hg_notify;

/* Reads NOTIFY_SOCKET (a path, or @NAME in the abstract namespace), WATCHDOG_USEC and WATCHDOG_PID. An object is made in any case. NO_MEMORY. */
hangar_code hg_notify_open(hg_notify **out, hangar_err *err);
void hg_notify_close(hg_notify *n);
/* True when somebody listens. */
bool hg_notify_on(const hg_notify *n);
/* "READY=1\nSTATUS=..."; a newline stands between two lines. Never blocks. */
void hg_notify_send(hg_notify *n, const char *lines);
/* Seconds between two WATCHDOG=1, half of what is allowed; 0 = nobody asks for them. */
double hg_notify_watchdog(const hg_notify *n);

#endif
