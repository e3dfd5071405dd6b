/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints of the fixtures, or made from numbers, for the tests of the reference. */
#ifndef HG_TEST_CHECK_KIT_H
#define HG_TEST_CHECK_KIT_H

#include "base/fsx.h"
#include "base/mem.h"
#include "convert/check/reference.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct kit_model {
    hg_checkpoint ck;
    hg_json *config, *reference;
} kit_model;

static inline hg_json *kit_json(const char *dir, const char *file)
{
    HG_AUTO(hg_auto_free) char *path = hg_format("%s/%s", dir, file);
    hangar_err err = {0};
    hg_json *doc = NULL;
    hg_buf text;
    hg_buf_init(&text, 64 * HG_MIB);
    if (hg_read_file(path, &text, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    if (hg_json_parse(hg_buf_view(&text), NULL, &doc, &err) != HANGAR_OK) fail_msg("%s: %s", path, err.msg);
    hg_buf_deinit(&text);
    return doc;
}

static inline void kit_open_file(kit_model *m, const char *path)
{
    hangar_err err = {0};
    hg_checkpoint_file *f = hg_calloc(1, sizeof *f);
    f->path = hg_strdup(hg_path_base(path));
    f->real = hg_strdup(path);
    if (hg_safetensors_open(path, &f->st, &err) != HANGAR_OK) fail_msg("%s: %s", path, err.msg);
    f->bytes = hg_safetensors_size(f->st);
    m->ck = (hg_checkpoint){f, 1};
}

/* config.json, model.safetensors and reference.json of a folder. */
static inline void kit_open(kit_model *m, const char *dir)
{
    HG_AUTO(hg_auto_free) char *path = hg_format("%s/model.safetensors", dir);
    *m = (kit_model){0};
    kit_open_file(m, path);
    m->config = kit_json(dir, "config.json");
    m->reference = kit_json(dir, "reference.json");
}

static inline void kit_close(kit_model *m)
{
    hg_checkpoint_deinit(&m->ck);
    hg_json_free(m->config);
    hg_json_free(m->reference);
}

/* A fixture of tests/fixtures/arch; HANGAR_ARCH names another folder of such. */
static inline char *kit_dir(const char *name)
{
    const char *other = getenv("HANGAR_ARCH");
    if (other) return hg_format("%s/%s", other, name);
    return hg_format("%s/tests/fixtures/arch/%s", getenv("HANGAR_TOP"), name);
}

/* {"shape": [...], "data": [...]} as whole numbers or as numbers; NULL when it is not there. */
static inline size_t kit_shape(const hg_jval *tensor, size_t index)
{
    return (size_t)hg_json_i64_or(hg_json_at(hg_json_get(tensor, "shape"), index), 0);
}

static inline int64_t *kit_ints(const hg_jval *tensor)
{
    const hg_jval *data = hg_json_get(tensor, "data");
    if (!data) return NULL;
    int64_t *out = hg_calloc(hg_json_len(data), sizeof *out);
    for (hg_json_iter it = hg_json_iter_of(data); hg_json_next(&it);) {
        out[it.index] = hg_json_i64_or(it.val, -1);
    }
    return out;
}

static inline float *kit_floats(const hg_jval *tensor)
{
    const hg_jval *data = hg_json_get(tensor, "data");
    if (!data) return NULL;
    float *out = hg_calloc(hg_json_len(data), sizeof *out);
    for (hg_json_iter it = hg_json_iter_of(data); hg_json_next(&it);) {
        out[it.index] = (float)hg_json_f64_or(it.val, 0);
    }
    return out;
}

#endif
