/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resizing as PIL does it: each new sample is a weighted mean of the old ones under a filter that is as wide as the reduction, first along the
 * rows, then along the columns, rounded to a byte after each. Then the middle, and numbers for the graph.
 */
#include "picture.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double lanczos(double x)
{
    static const double pi = 3.14159265358979323846;
    if (x == 0) return 1;
    if (fabs(x) >= 3) return 0;
    return 3 * sin(pi * x) * sin(pi * x / 3) / (pi * pi * x * x);
}

static double triangle(double x)
{
    return fmax(0, 1 - fabs(x));
}

/* Keys 1981 with a = -1/2. */
static double cubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

static const struct {
    double (*at)(double x);
    double support;
} filters[] = {{NULL, 0}, {lanczos, 3}, {triangle, 1}, {cubic, 2}};

/* The old samples that make a new one. */
typedef struct taps {
    size_t from, count;
    double *weights;
} taps;

/* Fills `t`, whose weights have room for all. */
static void taps_of(size_t i, double scale, size_t old, int resample, taps *t)
{
    double wide = fmax(scale, 1), support = filters[resample].support * wide,
           center = ((double)i + 0.5) * scale;
    double low = fmax(floor(center - support + 0.5), 0),
           high = fmin(floor(center + support + 0.5), (double)old), sum = 0;
    t->from = (size_t)low;
    t->count = high > low ? (size_t)(high - low) : 0;
    for (size_t k = 0; k < t->count; k++) {
        t->weights[k] = filters[resample].at(((double)(t->from + k) - center + 0.5) / wide);
        sum += t->weights[k];
    }
    for (size_t k = 0; k < t->count && sum != 0; k++) t->weights[k] /= sum;
}

static uint8_t to_byte(double x)
{
    return x <= 0 ? 0 : x >= 255 ? 255 : (uint8_t)(x + 0.5);
}

/*
 * One pass over `lines` lines of `old` samples, to `new` ones: sample k of a line lies `step` bytes behind the one before it, a line `pitch`
 * behind the one before.
 */
typedef struct pass {
    size_t lines, old, new, old_step, new_step, old_pitch, new_pitch;
} pass;

static hangar_code run_pass(const pass *p, int resample, const uint8_t *from, uint8_t *to, hangar_err *err)
{
    double scale = (double)p->old / (double)p->new;
    size_t most = (size_t)ceil(filters[resample].support * fmax(scale, 1)) * 2 + 2;
    taps t = {.weights = hg_calloc(most, sizeof *t.weights)};
    if (!t.weights) return hg_fail_memory(err);
    for (size_t i = 0; i < p->new; i++) {
        taps_of(i, scale, p->old, resample, &t);
        for (size_t line = 0; line < p->lines; line++) {
            const uint8_t *x = from + line * p->old_pitch + t.from * p->old_step;
            double sum[3] = {0, 0, 0};
            for (size_t k = 0; k < t.count; k++, x += p->old_step)
                for (size_t c = 0; c < 3; c++) sum[c] += t.weights[k] * x[c];
            uint8_t *y = to + line * p->new_pitch + i * p->new_step;
            for (size_t c = 0; c < 3; c++) y[c] = to_byte(sum[c]);
        }
    }
    free(t.weights);
    return HANGAR_OK;
}

hangar_code hg_picture_resize(const hg_picture *in, size_t width, size_t height, int resample,
                              hg_picture *out, hangar_err *err)
{
    *out = (hg_picture){.width = width, .height = height};
    if (resample < 1 || resample > 3)
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "resampling number %d", resample);
    if (width == 0 || height == 0 || width > HG_ONNX_PICTURE_SIDE_MAX || height > HG_ONNX_PICTURE_SIDE_MAX ||
        width * height > HG_ONNX_PICTURE_PIXELS_MAX || width * in->height > HG_ONNX_PICTURE_PIXELS_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "resized, the picture would be %zu x %zu pixels", width, height);
    const pass rows = {.lines = in->height,
                       .old = in->width,
                       .new = width,
                       .old_step = 3,
                       .new_step = 3,
                       .old_pitch = 3 * in->width,
                       .new_pitch = 3 * width};
    const pass columns = {.lines = width,
                          .old = in->height,
                          .new = height,
                          .old_step = 3 * width,
                          .new_step = 3 * width,
                          .old_pitch = 3,
                          .new_pitch = 3};
    HG_AUTO(hg_auto_free) uint8_t *between = hg_calloc(width * in->height, 3);
    out->rgb = hg_calloc(width * height, 3);
    if (!between || !out->rgb) return hg_fail_memory(err);
    hangar_code code = run_pass(&rows, resample, in->rgb, between, err);
    return code == HANGAR_OK ? run_pass(&columns, resample, between, out->rgb, err) : code;
}

/* The size that a picture is resized to. */
static void target(const hg_picture *p, const hg_prepare *how, size_t *width, size_t *height)
{
    *width = how->width ? how->width : p->width;
    *height = how->height ? how->height : p->height;
    if (!how->shortest) return;
    size_t small = p->width < p->height ? p->width : p->height,
           large = p->width < p->height ? p->height : p->width;
    size_t new_small = how->shortest, new_large = how->shortest * large / small;
    if (how->longest && new_large > how->longest) {
        new_small = how->longest * new_small / new_large;
        new_large = how->longest;
    }
    *width = p->width <= p->height ? new_small : new_large;
    *height = p->width <= p->height ? new_large : new_small;
}

/* Where the middle of `want` begins in `have`: before 0 when it is smaller. */
static long middle(size_t have, size_t want)
{
    return have >= want ? (long)((have - want) / 2) : -(long)((want - have + 1) / 2);
}

hangar_code hg_picture_prepare(hg_picture *p, const hg_prepare *how, float **out, size_t *out_height,
                               size_t *out_width, hangar_err *err)
{
    size_t width, height;
    target(p, how, &width, &height);
    if (width != p->width || height != p->height) {
        hg_picture resized;
        hangar_code code = hg_picture_resize(p, width, height, how->resample, &resized, err);
        hg_picture_deinit(p);
        *p = resized;
        if (code != HANGAR_OK) return code;
    }
    size_t w = how->crop_width ? how->crop_width : width, h = how->crop_height ? how->crop_height : height;
    long left = middle(width, w), top = middle(height, h);
    float *to = hg_calloc(3 * w * h, sizeof *to);
    if (!to) return hg_fail_memory(err);
    for (size_t y = 0; y < h; y++)
        for (size_t x = 0; x < w; x++) {
            long sx = left + (long)x, sy = top + (long)y;
            bool inside = sx >= 0 && sy >= 0 && (size_t)sx < width && (size_t)sy < height;
            const uint8_t *pixel = inside ? p->rgb + ((size_t)sy * width + (size_t)sx) * 3 : NULL;
            for (size_t c = 0; c < 3; c++)
                to[(c * h + y) * w + x] =
                    (float)(((pixel ? pixel[c] : 0) * how->scale - how->mean[c]) / how->std[c]);
        }
    *out = to;
    *out_width = w;
    *out_height = h;
    return HANGAR_OK;
}
