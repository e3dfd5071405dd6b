/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/quant/codes.h"

#include <math.h>
#include <string.h>

/* Several versions of one function, chosen when the program starts. Sanitizers run before that choice can be made. */
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && \
    !defined(__clang__)
#    define MANY __attribute__((target_clones("arch=x86-64-v4", "avx2", "default"), optimize("O3")))
#else
#    define MANY
#endif

static inline float float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
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
        uint32_t h = (uint32_t)(from[2 * i] | from[2 * i + 1] << 8);
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
        uint32_t h = (uint32_t)(from[2 * i] | from[2 * i + 1] << 8);
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
MANY void hg_codes_half(const float *from, size_t n, uint16_t *to)
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

/* ---- to 8 and 4 bits ---- */

/* Rounds to the nearest, ties to even, by adding 1.5 2^23: for |x| < 2^22. */
static inline int32_t nearest(float x)
{
    return (int32_t)(bits_of(x + 12582912.0f) - bits_of(12582912.0f));
}

MANY float hg_codes_int8(const float *w, size_t n, int8_t *to)
{
    float most = 0;
    for (size_t i = 0; i < n; i++) {
        float a = float_of(bits_of(w[i]) & 0x7fffffffu);
        most = a > most ? a : most;
    }
    float scale = most / 127;
    if (!(scale > 1e-37f)) { /* all zeros, or too small for a scale */
        memset(to, 0, n);
        return 1;
    }
    float inverse = 127 / most;
    for (size_t i = 0; i < n; i++) {
        float x = w[i] * inverse;
        x = x > 127 ? 127 : x < -127 ? -127 : x;
        to[i] = (int8_t)nearest(x);
    }
    return scale;
}

/* The number of a block that is largest in magnitude; of two with different signs the positive one. */
static inline float largest(const float *w, size_t n)
{
    float low = 0, high = 0;
    for (size_t i = 0; i < n; i++) {
        low = w[i] < low ? w[i] : low;
        high = w[i] > high ? w[i] : high;
    }
    return -low > high ? low : high;
}

/* One block of whole length: codes as bytes. */
static inline float block_codes(const float *w, size_t n, int32_t middle, uint8_t *codes)
{
    float scale = largest(w, n) / (float)-middle;
    float inverse = scale != 0 ? 1 / scale : 0;
    if (!(inverse > -3e38f && inverse < 3e38f)) inverse = scale = 0; /* too small for a scale: zeros */
    float top = (float)(2 * middle - 1);
    for (size_t i = 0; i < n; i++) {
        float x = w[i] * inverse + (float)middle;
        x = x < 0 ? 0 : x > top ? top : x;
        codes[i] = (uint8_t)nearest(x);
    }
    return scale;
}

#define BLOCK_MAX 4096

MANY void hg_codes_blocks(const float *w, size_t n, unsigned bits, unsigned block, uint8_t *to, float *scales)
{
    uint8_t codes[BLOCK_MAX];
    float padded[BLOCK_MAX];
    int32_t middle = 1 << (bits - 1);
    size_t count = (n + block - 1) / block, bytes = (size_t)block * bits / 8;
    for (size_t b = 0; b < count; b++) {
        const float *from = w + b * block;
        size_t left = n - b * block;
        if (left < block) { /* the last block: what is missing counts as 0 */
            memset(padded, 0, block * sizeof *padded);
            memcpy(padded, from, left * sizeof *padded);
            from = padded;
        }
        uint8_t *out = to + b * bytes;
        scales[b] = block_codes(from, block, middle, bits == 8 ? out : codes);
        if (bits == 8) continue;
        for (size_t i = 0; i < block / 2; i++) out[i] = (uint8_t)(codes[2 * i] | codes[2 * i + 1] << 4);
    }
}
