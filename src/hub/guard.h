/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which machines a redirect may lead to. A Hub on the public internet has no business sending us to the loopback or to
 * the local network: such a connection is refused at the moment the socket would be made, on the very address that the
 * name resolved to. A Hub that itself is local (a mirror, a proxy, a test) may point anywhere.
 */
#ifndef HG_HUB_GUARD_H
#define HG_HUB_GUARD_H

#include <stdbool.h>
#include <sys/socket.h>

/* An address of the public internet: not loopback, private, link-local, shared, multicast, unspecified, nor one of
 * these in IPv6 clothes (mapped, compatible, NAT64, 6to4). */
bool hg_addr_is_public(const struct sockaddr *addr, socklen_t len);

#endif
