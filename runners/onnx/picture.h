/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures for models: from a file's bytes to red, green and blue, and to the numbers that a graph wants. */
#ifndef HG_RUNNER_ONNX_PICTURE_H
#define HG_RUNNER_ONNX_PICTURE_H

#include "runner.h"

typedef struct hg_picture {
    size_t width, height;
    uint8_t *rgb; /* [height][width][3]; the caller's */
} hg_picture;

/* What is done to a picture, in this order. */
typedef struct hg_prepare {
    size_t height, width; /* resized to that; 0 = not, or by `shortest` */
    size_t shortest,
        longest; /* resized so that the shorter side is that, and the longer at most this; 0 = not, no limit */
    int resample;                   /* as PIL numbers them: 1 Lanczos, 2 bilinear, 3 bicubic */
    size_t crop_height, crop_width; /* the middle of it, black where it is smaller; 0 = not */
    double scale, mean[3], std[3];  /* (x * scale - mean) / std */
} hg_prepare;

/* picture.c: JPEG, PNG or WebP, upright as its Exif says. INVALID when it is none or damaged, LIMIT when it is too large. */
hangar_code hg_picture_decode(const uint8_t *bytes, size_t len, hg_picture *out, hangar_err *err);
/* The size that the header claims; false when it is none of the three or says nothing. */
bool hg_picture_size(const uint8_t *bytes, size_t len, size_t *width, size_t *height);
void hg_picture_deinit(hg_picture *p);

/* resize.c: as PIL does it, antialiased, each pass rounded to a byte. */
hangar_code hg_picture_resize(const hg_picture *in, size_t width, size_t height, int resample,
                              hg_picture *out, hangar_err *err);
/* All of it: [3][height][width] of the caller's. LIMIT when the picture would grow too large on the way. Changes *p. */
hangar_code hg_picture_prepare(hg_picture *p, const hg_prepare *how, float **out, size_t *out_height,
                               size_t *out_width, hangar_err *err);

#endif
