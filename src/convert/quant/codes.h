/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic of make.h on rows in memory. Loops that compilers turn into vectors; each is built for several kinds of CPU. */
#ifndef HG_CONVERT_QUANT_CODES_H
#define HG_CONVERT_QUANT_CODES_H

#include "format/safetensors.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* n numbers of a type as F32; false when one is not finite (or, from F64, does not fit). `from` need not be aligned. */
bool hg_codes_read(hg_dtype dtype, const void *from, size_t n, float *to);
/* F32 to F16, to the nearest, ties to even, held to +-65504. */
void hg_codes_half(const float *from, size_t n, uint16_t *to);
/* One output: codes -127..127 and the scale that belongs to them. */
float hg_codes_int8(const float *w, size_t n, int8_t *to);
/* One output of `n` numbers in blocks; to: ceil(n / block) x block x bits / 8 bytes, scales: one each. bits 4 or 8, block a power of two from 16. */
void hg_codes_blocks(const float *w, size_t n, unsigned bits, unsigned block, uint8_t *to, float *scales);
/* to[c][r] = from[r][c]; lines are that many bytes apart. */
void hg_codes_turn(const int8_t *from, size_t rows, size_t columns, size_t from_line, int8_t *to,
                   size_t to_line);

#endif
