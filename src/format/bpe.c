/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The alphabet of byte-level BPE: each byte is written as one printable character. The 188 bytes that are
 * printable in Latin-1 (33-126, 161-172, 174-255) stand for themselves; the other 68 follow in order from
 * U+0100.
 */
#include "format/tokenizer_inner.h"

static bool stands_for_itself(uint32_t c)
{
    return (c >= 33 && c <= 126) || (c >= 161 && c <= 172) || (c >= 174 && c <= 255);
}

/* The byte that a character stands for, or -1. */
static int byte_of(uint32_t c)
{
    if (c < 256) return stands_for_itself(c) ? (int)c : -1;
    uint32_t rank = c - 256;
    for (uint32_t b = 0; b < 256; b++)
        if (!stands_for_itself(b) && rank-- == 0) return (int)b;
    return -1;
}

void hg_bpe_bytes(hg_str token, hg_buf *out)
{
    uint32_t c;
    for (size_t n; (n = hg_utf8_next(token, &c)) > 0;) {
        int byte = byte_of(c);
        if (byte >= 0) hg_buf_putc(out, (char)byte);
        else /* not of the alphabet: as it is */ hg_buf_add(out, token.ptr, n);
        token.ptr += n;
        token.len -= n;
    }
}
