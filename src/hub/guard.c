/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/guard.h"

#include "base/mem.h"

#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

/* Networks that are nobody's on the internet: base/bits. */
static const struct {
    uint32_t base;
    unsigned bits;
} inner4[] = {
    {0x00000000, 8},  /* 0/8: this network      */
    {0x0a000000, 8},  /* 10/8: private          */
    {0x64400000, 10}, /* 100.64/10: shared      */
    {0x7f000000, 8},  /* 127/8: loopback        */
    {0xa9fe0000, 16}, /* 169.254/16: link-local */
    {0xac100000, 12}, /* 172.16/12: private     */
    {0xc0000000, 24}, /* 192.0.0/24: protocols  */
    {0xc0a80000, 16}, /* 192.168/16: private    */
    {0xc6120000, 15}, /* 198.18/15: benchmarks  */
    {0xe0000000, 3},  /* 224/3: multicast and reserved */
};

static bool public4(uint32_t addr)
{
    for (size_t i = 0; i < HG_LEN(inner4); i++)
        if ((addr ^ inner4[i].base) >> (32 - inner4[i].bits) == 0) return false;
    return true;
}

static uint32_t word(const uint8_t *b)
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static bool public6(const uint8_t b[16])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    static const uint8_t compatible[12] = {0};
    static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b};
    if (memcmp(b, mapped, 12) == 0 || memcmp(b, compatible, 12) == 0 || memcmp(b, nat64, 12) == 0)
        return public4(word(b + 12)); /* ::1 and :: are among the compatible ones */
    if (b[0] == 0x20 && b[1] == 0x02) return public4(word(b + 2));
    return (b[0] & 0xe0) == 0x20; /* 2000::/3 is all that is routed */
}

bool hg_addr_is_public(const struct sockaddr *addr, socklen_t len)
{
    if (addr->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in in;
        memcpy(&in, addr, sizeof in);
        return public4(ntohl(in.sin_addr.s_addr));
    }
    if (addr->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 in6;
        memcpy(&in6, addr, sizeof in6);
        return public6(in6.sin6_addr.s6_addr);
    }
    return false;
}
