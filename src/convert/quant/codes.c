/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/quant/codes.h"

#include <math.h>
#include <string.h>

/*
 * Several versions of one function, chosen when the program starts. Sanitizers run before that choice can be made. The loops keep to what
 * becomes vectors under strict floating point: a least or a largest number is looked for among the numbers' bits, as integers. No product is
 * fused with a sum, so that all versions write the same codes. They are static: compilers do not agree on the names of others.
 */
#if !defined(__x86_64__) || defined(HG_SANITIZED)
#    define MANY
#elif defined(__clang__)
#    pragma STDC FP_CONTRACT OFF
#    define MANY __attribute__((target_clones("avx512bw", "avx2", "default")))
#else
#    define MANY                                                                                         \
        __attribute__((target_clones("arch=x86-64-v4", "avx2", "default"), optimize("O3", "fp-contract=" \
                                                                                          "off")))
#endif
#define INLINE static inline __attribute__((always_inline))

INLINE float float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

INLINE uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* Number i of a list that may lie at any address; files and machines are little-endian. */
INLINE uint32_t half_at(const uint8_t *from, size_t i)
{
    uint16_t h;
    memcpy(&h, from + 2 * i, sizeof h);
    return h;
}

/* ---- to F32 ---- */

/* The exponent's bits of all numbers, or-ed where they are all ones, tell of a NaN or an infinity. */
MANY static bool read_f32(const uint8_t *from, size_t n, float *to)
{
    uint32_t bad = 0;
    memcpy(to, from, n * sizeof *to);
    for (size_t i = 0; i < n; i++) bad |= (bits_of(to[i]) & 0x7f800000u) == 0x7f800000u;
    return bad == 0;
}

MANY static bool read_bf16(const uint8_t *from, size_t n, float *to)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t h = half_at(from, i);
        bad |= (h & 0x7f80u) == 0x7f80u;
        to[i] = float_of(h << 16);
    }
    return bad == 0;
}

/* A half's exponent and fraction in a float's place are 2^-112 times too small: one product mends it, those below 2^-14 too. */
MANY static bool read_f16(const uint8_t *from, size_t n, float *to)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t h = half_at(from, i);
        bad |= (h & 0x7c00u) == 0x7c00u;
        float magnitude = float_of((h & 0x7fffu) << 13) * 0x1p112f;
        to[i] = float_of(bits_of(magnitude) | (h & 0x8000u) << 16);
    }
    return bad == 0;
}

static bool read_f64(const uint8_t *from, size_t n, float *to)
{
    bool ok = true;
    for (size_t i = 0; i < n; i++) {
        double d;
        memcpy(&d, from + 8 * i, sizeof d);
        to[i] = (float)d;
        ok = ok && isfinite(to[i]);
    }
    return ok;
}

bool hg_codes_read(hg_dtype dtype, const void *from, size_t n, float *to)
{
    switch (dtype) {
    case HG_DTYPE_F32: return read_f32(from, n, to);
    case HG_DTYPE_BF16: return read_bf16(from, n, to);
    case HG_DTYPE_F16: return read_f16(from, n, to);
    case HG_DTYPE_F64: return read_f64(from, n, to);
    default: return false;
    }
}

/* ---- to F16 ---- */

/*
 * Normal halves: rounding is an addition of half of the last kept bit (one less when that bit is 0), which carries into the exponent by
 * itself. Below 2^-14 the sum with a number whose last bit is 2^-24 rounds as wanted.
 */
MANY static void halves(const float *from, size_t n, uint16_t *to)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = bits_of(from[i]), sign = bits >> 16 & 0x8000u, m = bits & 0x7fffffffu;
        uint32_t max = bits_of(65504.0f);
        m = m > max ? max : m;
        uint32_t normal = (m + 0xfffu + (m >> 13 & 1)) >> 13;
        uint32_t small = bits_of(float_of(m) + 0.5f) - bits_of(0.5f);
        uint32_t h = m < bits_of(0x1p-14f) ? small : normal - (112u << 10);
        to[i] = (uint16_t)(sign | h);
    }
}

void hg_codes_half(const float *from, size_t n, uint16_t *to)
{
    halves(from, n, to);
}

/* ---- to 8 and 4 bits ---- */

/* Rounds to the nearest, ties to even, by adding 1.5 2^23: for |x| < 2^22. */
INLINE int32_t nearest(float x)
{
    return (int32_t)(bits_of(x + 12582912.0f) - bits_of(12582912.0f));
}

MANY static float row_int8(const float *w, size_t n, int8_t *to)
{
    uint32_t bits = 0; /* of numbers without their sign: these are in the numbers' order */
    for (size_t i = 0; i < n; i++) {
        uint32_t b = bits_of(w[i]) & 0x7fffffffu;
        bits = b > bits ? b : bits;
    }
    const float most = float_of(bits), scale = most / 127;
    if (!(scale > 1e-37f)) { /* all zeros, or too small for a scale */
        memset(to, 0, n);
        return 1;
    }
    float inverse = 127 / most;
    for (size_t i = 0; i < n; i++) {
        int32_t code = nearest(w[i] * inverse);
        code = code < -127 ? -127 : code;
        to[i] = (int8_t)(code < 127 ? code : 127);
    }
    return scale;
}

float hg_codes_int8(const float *w, size_t n, int8_t *to)
{
    return row_int8(w, n, to);
}

/*
 * The number of a block that is largest in magnitude; of two with different signs the positive one. The sign's bit goes below the others, turned
 * round: then the largest integer is that number.
 */
INLINE float largest(const float *w, size_t n)
{
    uint32_t most = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t b = bits_of(w[i]), key = (b << 1 | b >> 31) ^ 1;
        most = key > most ? key : most;
    }
    most ^= 1;
    return float_of(most >> 1 | most << 31);
}

/* One block of whole length: codes as bytes. */
INLINE float block_codes(const float *w, size_t n, int32_t middle, uint8_t *codes)
{
    float scale = largest(w, n) / (float)-middle;
    float inverse = scale != 0 ? 1 / scale : 0;
    if (!(inverse > -3e38f && inverse < 3e38f)) inverse = scale = 0; /* too small for a scale: zeros */
    for (size_t i = 0; i < n; i++) {
        int32_t code = nearest(w[i] * inverse) + middle;
        code = code < 0 ? 0 : code;
        codes[i] = (uint8_t)(code < 2 * middle ? code : 2 * middle - 1);
    }
    return scale;
}

/* Two codes of 4 bits to a byte, the first in the low half. */
INLINE void pack(const uint8_t *codes, size_t n, uint8_t *to)
{
    for (size_t i = 0; i < n / 2; i++) {
        uint32_t two = half_at(codes, i);
        to[i] = (uint8_t)(two | two >> 4);
    }
}

#define BLOCK_MAX 4096

/* Whole blocks of one length, which compilers know where this is inlined. */
INLINE void whole_blocks(const float *w, size_t count, unsigned bits, size_t block, uint8_t *to,
                         float *scales)
{
    uint8_t codes[BLOCK_MAX];
    for (size_t b = 0; b < count; b++, w += block, to += block * bits / 8) {
        scales[b] = block_codes(w, block, 1 << (bits - 1), bits == 8 ? to : codes);
        if (bits == 4) pack(codes, block, to);
    }
}

MANY static void blocks_4_32(const float *w, size_t count, uint8_t *to, float *scales)
{
    whole_blocks(w, count, 4, 32, to, scales);
}

MANY static void blocks_8_32(const float *w, size_t count, uint8_t *to, float *scales)
{
    whole_blocks(w, count, 8, 32, to, scales);
}

MANY static void blocks_8_128(const float *w, size_t count, uint8_t *to, float *scales)
{
    whole_blocks(w, count, 8, 128, to, scales);
}

MANY static void blocks_any(const float *w, size_t count, unsigned bits, size_t block, uint8_t *to,
                            float *scales)
{
    whole_blocks(w, count, bits, block, to, scales);
}

static void blocks(const float *w, size_t count, unsigned bits, size_t block, uint8_t *to, float *scales)
{
    if (bits == 4 && block == 32) blocks_4_32(w, count, to, scales);
    else if (bits == 8 && block == 32) blocks_8_32(w, count, to, scales);
    else if (bits == 8 && block == 128) blocks_8_128(w, count, to, scales);
    else blocks_any(w, count, bits, block, to, scales);
}

void hg_codes_blocks(const float *w, size_t n, unsigned bits, unsigned block, uint8_t *to, float *scales)
{
    float padded[BLOCK_MAX];
    size_t count = n / block, left = n % block;
    blocks(w, count, bits, block, to, scales);
    if (left == 0) return;
    memset(padded, 0, block * sizeof *padded); /* the last block: what is missing counts as 0 */
    memcpy(padded, w + count * block, left * sizeof *padded);
    blocks(padded, 1, bits, block, to + count * block * bits / 8, scales + count);
}

/* ---- turning ---- */

/* 8 x 8 bytes, a line in each number: halves, quarters and eighths change places across the diagonal. */
INLINE void turn_square(uint64_t x[8])
{
    static const struct {
        unsigned lines, shift;
        uint64_t mask;
    } steps[] = {{4, 32, 0x00000000ffffffff}, {2, 16, 0x0000ffff0000ffff}, {1, 8, 0x00ff00ff00ff00ff}};
    for (unsigned s = 0; s < 3; s++) {
        unsigned d = steps[s].lines;
        for (unsigned i = 0; i < 8; i++) {
            if (i & d) continue;
            uint64_t t = (x[i] >> steps[s].shift ^ x[i + d]) & steps[s].mask;
            x[i + d] ^= t;
            x[i] ^= t << steps[s].shift;
        }
    }
}

/* Whole squares of 8 x 8. */
MANY static void turn_squares(const int8_t *from, size_t rows, size_t columns, size_t from_line, int8_t *to,
                              size_t to_line)
{
    for (size_t c = 0; c < columns; c += 8) {
        for (size_t r = 0; r < rows; r += 8) {
            uint64_t x[8];
            for (size_t i = 0; i < 8; i++) memcpy(&x[i], from + (r + i) * from_line + c, 8);
            turn_square(x);
            for (size_t i = 0; i < 8; i++) memcpy(to + (c + i) * to_line + r, &x[i], 8);
        }
    }
}

#define NEAR 64 /* rows and columns of what is turned while it is in the nearest cache */

void hg_codes_turn(const int8_t *from, size_t rows, size_t columns, size_t from_line, int8_t *to,
                   size_t to_line)
{
    size_t whole_rows = rows / 8 * 8, whole_columns = columns / 8 * 8;
    for (size_t c = 0; c < whole_columns; c += NEAR) {
        size_t wide = whole_columns - c < NEAR ? whole_columns - c : NEAR;
        for (size_t r = 0; r < whole_rows; r += NEAR)
            turn_squares(from + r * from_line + c, whole_rows - r < NEAR ? whole_rows - r : NEAR, wide,
                         from_line, to + c * to_line + r, to_line);
    }
    for (size_t c = 0; c < columns; c++)
        for (size_t r = c < whole_columns ? whole_rows : 0; r < rows; r++)
            to[c * to_line + r] = from[r * from_line + c];
}
