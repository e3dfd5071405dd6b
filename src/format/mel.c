/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The 400 real samples of a frame are taken as 200 complex ones, transformed by a decimation in time (200 =
 * 2^3 * 5^2, one radix per level), and taken apart into the 201 bins of the real transform. Doubles
 * throughout: the transform is a small part of the work, and the logarithm of a nearly empty bin shows every
 * rounding.
 */
#include "format/mel.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

#define HALF  (HG_MEL_FFT / 2)
#define FREQS (HALF + 1)
#define FLOOR 1e-10
#define RANGE 8.0 /* decades below the maximum that are kept */

typedef struct cplx {
    double re, im;
} cplx;

/* One triangle: weights[first .. first + count) of the spectrum. */
typedef struct triangle {
    int first, count;
    double weights[FREQS];
} triangle;

struct hg_mel {
    int bins;
    double window[HG_MEL_FFT];
    cplx turn[HG_MEL_FFT]; /* exp(-2 pi i k / 400) */
    cplx in[HALF], out[HALF];
    double power[FREQS];
    triangle triangles[];
};

static const double pi = 3.14159265358979323846;

/* Hertz to mel on the Slaney scale, and back. */
static double mel_of(double hz)
{
    return hz < 1000 ? hz * 3 / 200 : 15 + log(hz / 1000) * 27 / log(6.4);
}

static double hz_of(double mel)
{
    return mel < 15 ? mel * 200 / 3 : 1000 * exp((mel - 15) * log(6.4) / 27);
}

/* Triangle i of `bins` between 0 Hz and half the sample rate. */
static void make_triangle(triangle *t, int i, int bins)
{
    double top = mel_of(HG_MEL_RATE / 2.0), edge[3];
    for (int k = 0; k < 3; k++) edge[k] = hz_of(top * (i + k) / (bins + 1));
    t->first = FREQS;
    t->count = 0;
    for (int f = 0; f < FREQS; f++) {
        double hz = (double)f * HG_MEL_RATE / HG_MEL_FFT;
        double up = (hz - edge[0]) / (edge[1] - edge[0]), down = (edge[2] - hz) / (edge[2] - edge[1]);
        double w = fmin(up, down);
        if (w <= 0) continue;
        if (t->count == 0) t->first = f;
        t->count = f - t->first + 1;
        t->weights[f - t->first] = w * 2 / (edge[2] - edge[0]);
    }
}

hangar_code hg_mel_new(int bins, hg_mel **out, hangar_err *err)
{
    *out = NULL;
    if (bins < 1 || bins > HG_MEL_BINS_MAX)
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "%d mel bins, must be 1 to %d", bins, HG_MEL_BINS_MAX);
    hg_mel *m = calloc(1, sizeof *m + (size_t)bins * sizeof *m->triangles);
    if (!m) return hg_fail_memory(err);
    m->bins = bins;
    for (int i = 0; i < HG_MEL_FFT; i++) {
        m->window[i] = 0.5 - 0.5 * cos(2 * pi * i / HG_MEL_FFT);
        m->turn[i] = (cplx){cos(2 * pi * i / HG_MEL_FFT), -sin(2 * pi * i / HG_MEL_FFT)};
    }
    for (int i = 0; i < bins; i++) make_triangle(&m->triangles[i], i, bins);
    *out = m;
    return HANGAR_OK;
}

void hg_mel_free(hg_mel *m)
{
    free(m);
}

static inline cplx mul(cplx a, cplx b)
{
    return (cplx){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

/* x[0..5) -> its transform, in place (turn[80] is the fifth root of 1). */
static inline void transform5(const hg_mel *m, cplx x[5])
{
    const cplx w1 = m->turn[HG_MEL_FFT / 5], w2 = m->turn[2 * HG_MEL_FFT / 5];
    cplx a = {x[1].re + x[4].re, x[1].im + x[4].im}, b = {x[1].re - x[4].re, x[1].im - x[4].im};
    cplx c = {x[2].re + x[3].re, x[2].im + x[3].im}, d = {x[2].re - x[3].re, x[2].im - x[3].im};
    cplx p = {x[0].re + w1.re * a.re + w2.re * c.re, x[0].im + w1.re * a.im + w2.re * c.im};
    cplx q = {x[0].re + w2.re * a.re + w1.re * c.re, x[0].im + w2.re * a.im + w1.re * c.im};
    cplx r = {w1.im * b.re + w2.im * d.re, w1.im * b.im + w2.im * d.im};
    cplx s = {w2.im * b.re - w1.im * d.re, w2.im * b.im - w1.im * d.im};
    x[0] = (cplx){x[0].re + a.re + c.re, x[0].im + a.im + c.im};
    x[1] = (cplx){p.re - r.im, p.im + r.re};
    x[4] = (cplx){p.re + r.im, p.im - r.re};
    x[2] = (cplx){q.re - s.im, q.im + s.re};
    x[3] = (cplx){q.re + s.im, q.im - s.re};
}

/*
 * The transform of n values `step` apart. turn[k * 400 / n] is the n-th root to the k. Radix 5 while it
 * divides, then 2: depth 4.
 */
static void transform(const hg_mel *m, const cplx *in, cplx *out, int n, int step)
{
    if (n == 2) {
        out[0] = (cplx){in[0].re + in[step].re, in[0].im + in[step].im};
        out[1] = (cplx){in[0].re - in[step].re, in[0].im - in[step].im};
        return;
    }
    int radix = n % 5 == 0 ? 5 : 2, part = n / radix, unit = HG_MEL_FFT / n;
    for (int r = 0; r < radix; r++)
        transform(m, in + (ptrdiff_t)r * step, out + (ptrdiff_t)r * part, part, step * radix);
    for (int k = 0; k < part; k++) {
        cplx got[5];
        for (int r = 0; r < radix; r++) got[r] = mul(out[r * part + k], m->turn[r * k * unit]);
        if (radix == 5) {
            transform5(m, got);
            for (int q = 0; q < 5; q++) out[q * part + k] = got[q];
        } else {
            out[k] = (cplx){got[0].re + got[1].re, got[0].im + got[1].im};
            out[part + k] = (cplx){got[0].re - got[1].re, got[0].im - got[1].im};
        }
    }
}

/* The power spectrum of a frame into m->power. frame points at its first sample. */
static void spectrum(hg_mel *m, const float *frame)
{
    for (int i = 0; i < HALF; i++)
        m->in[i] =
            (cplx){(double)frame[2 * i] * m->window[2 * i], (double)frame[2 * i + 1] * m->window[2 * i + 1]};
    transform(m, m->in, m->out, HALF, 1);
    for (int f = 0; f < FREQS; f++) {
        /* even and odd samples' transforms from the packed one */
        cplx a = m->out[f % HALF], b = m->out[(HALF - f) % HALF];
        cplx even = {(a.re + b.re) / 2, (a.im - b.im) / 2};
        cplx odd = {(a.im + b.im) / 2, (b.re - a.re) / 2};
        cplx x = mul(m->turn[f], odd);
        x.re += even.re;
        x.im += even.im;
        m->power[f] = x.re * x.re + x.im * x.im;
    }
}

/* The sample at `i`, mirrored at both ends of `length`, silence where none is given. */
static float sample_at(const float *samples, size_t count, ptrdiff_t i, ptrdiff_t length)
{
    if (i < 0) i = -i;
    if (i >= length) i = 2 * (length - 1) - i;
    float x = i < (ptrdiff_t)count ? samples[i] : 0;
    return isfinite(x) ? x : 0;
}

/* The samples of a frame; false when all are 0. */
static bool take_frame(const float *samples, size_t count, int at, int frames, float frame[HG_MEL_FFT])
{
    ptrdiff_t length = (ptrdiff_t)frames * HG_MEL_HOP, from = (ptrdiff_t)at * HG_MEL_HOP - HG_MEL_FFT / 2;
    ptrdiff_t mirrored = from + HG_MEL_FFT > length ? 2 * (length - 1) - (from + HG_MEL_FFT - 1) : from;
    bool sound = false;
    if (from >= (ptrdiff_t)count && mirrored >= (ptrdiff_t)count) return false;
    for (int i = 0; i < HG_MEL_FFT; i++) {
        frame[i] = sample_at(samples, count, from + i, length);
        sound = sound || frame[i] != 0;
    }
    return sound;
}

/* log10 of a frame's mel powers into column `at` of out; returns the largest. */
static double frame_features(hg_mel *m, const float *frame, int frames, int at, float *out)
{
    double largest = log10(FLOOR);
    spectrum(m, frame);
    for (int b = 0; b < m->bins; b++) {
        double sum = 0;
        const triangle *t = &m->triangles[b];
        for (int k = 0; k < t->count; k++) sum += t->weights[k] * m->power[t->first + k];
        double x = log10(fmax(sum, FLOOR));
        out[(size_t)b * (size_t)frames + (size_t)at] = (float)x;
        largest = fmax(largest, x);
    }
    return largest;
}

void hg_mel_window(hg_mel *m, const float *samples, size_t count, int frames, float *out)
{
    const size_t all = (size_t)m->bins * (size_t)frames;
    double largest = log10(FLOOR);
    for (size_t i = 0; i < all; i++) out[i] = (float)log10(FLOOR);
    for (int at = 0; at < frames; at++) {
        float frame[HG_MEL_FFT];
        if (!take_frame(samples, count, at, frames, frame)) continue;
        largest = fmax(largest, frame_features(m, frame, frames, at, out));
    }
    float low = (float)(largest - RANGE);
    for (size_t i = 0; i < all; i++) out[i] = ((out[i] < low ? low : out[i]) + 4) / 4;
}
