/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shipped 16-bit mono WAV clips and the reference values of the shipped models, for tests. Ends the
 * program when one is not there.
 */
#ifndef HG_TEST_CLIP_H
#define HG_TEST_CLIP_H

#include "base/fsx.h"
#include "base/json.h"
#include "base/mem.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* HANGAR_TOP/models/NAME; the caller's. */
static inline char *hg_test_model_path(const char *name)
{
    const char *top = getenv("HANGAR_TOP");
    char *path = hg_format("%s/models/%s", top ? top : ".", name);
    if (!path) abort();
    return path;
}

/* A whole file of models/ into a buffer (deinit it). */
static inline void hg_test_read(const char *name, hg_buf *out)
{
    char *path = hg_test_model_path(name);
    hangar_err err = {0};
    hg_buf_init(out, 64 * HG_MIB);
    if (hg_read_file(path, out, &err) != HANGAR_OK) {
        fprintf(stderr, "%s\n", err.msg);
        abort();
    }
    free(path);
}

static inline hg_json *hg_test_json(const char *name)
{
    hg_buf text;
    hg_json *doc = NULL;
    hg_test_read(name, &text);
    if (hg_json_parse(hg_buf_view(&text), NULL, &doc, NULL) != HANGAR_OK) abort();
    hg_buf_deinit(&text);
    return doc;
}

/* The samples of models/clips/FILE, in [-1, 1); the caller's. */
static inline float *hg_test_clip(const char *file, size_t *out_count)
{
    char name[128];
    snprintf(name, sizeof name, "clips/%s", file);
    hg_buf wav;
    hg_test_read(name, &wav);
    const char *data = wav.len > 44 ? memmem(wav.data, wav.len, "data", 4) : NULL;
    if (!data) abort();
    const uint8_t *at = (const uint8_t *)data + 8, *end = (const uint8_t *)wav.data + wav.len;
    size_t count = (size_t)(end - at) / 2;
    float *samples = calloc(count ? count : 1, sizeof *samples);
    if (!samples) abort();
    for (size_t i = 0; i < count; i++)
        samples[i] = (float)(int16_t)(uint16_t)(at[2 * i] | at[2 * i + 1] << 8) / 32768.0f;
    hg_buf_deinit(&wav);
    *out_count = count;
    return samples;
}

#endif
