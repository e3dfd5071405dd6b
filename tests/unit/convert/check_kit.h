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

/* ---- checkpoints with something changed ---- */

typedef struct kit_tensor {
    char name[128];
    size_t rows, columns; /* columns 0: a vector of `rows` */
    float *data;
} kit_tensor;

typedef struct kit_set {
    kit_tensor *t;
    size_t count;
    char *config; /* JSON */
} kit_set;

/* Room for a tensor of that name, zeroed; one of the same name is replaced. */
static inline kit_tensor *kit_put(kit_set *s, const char *name, size_t rows, size_t columns)
{
    kit_tensor *t = NULL;
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->t[i].name, name) == 0) t = &s->t[i];
    }
    if (!t) {
        s->t = realloc(s->t, (s->count + 1) * sizeof *s->t);
        t = &s->t[s->count++];
        t->data = NULL;
    }
    free(t->data);
    (void)snprintf(t->name, sizeof t->name, "%s", name);
    t->rows = rows;
    t->columns = columns;
    t->data = hg_calloc(rows * (columns ? columns : 1), sizeof(float));
    return t;
}

static inline kit_tensor *kit_get(kit_set *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->t[i].name, name) == 0) return &s->t[i];
    }
    fail_msg("no tensor %s", name);
    return NULL;
}

static inline void kit_rename(kit_set *s, const char *from, const char *to)
{
    (void)snprintf(kit_get(s, from)->name, sizeof s->t->name, "%s", to);
}

/* Numbers that look random and are always the same. */
static inline void kit_noise(kit_tensor *t, uint32_t seed, float size)
{
    size_t n = t->rows * (t->columns ? t->columns : 1);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525U + 1013904223U;
        t->data[i] = ((float)(seed >> 8) / (float)(1 << 24) - 0.5F) * 2 * size;
    }
}

/* A fixture, F32, to be changed. */
static inline void kit_load(kit_set *s, const char *fixture)
{
    HG_AUTO(hg_auto_free) char *dir = kit_dir(fixture);
    HG_AUTO(hg_auto_free) char *path = hg_format("%s/model.safetensors", dir);
    hangar_err err = {0};
    hg_map map;
    hg_safetensors *st = NULL;
    hg_json *config = kit_json(dir, "config.json");
    *s = (kit_set){0};
    s->config = hg_json_print(hg_json_root(config), false);
    hg_json_free(config);
    if (hg_safetensors_open(path, &st, &err) || hg_map_open(path, &map, &err)) fail_msg("%s", err.msg);
    for (size_t i = 0; i < hg_safetensors_count(st); i++) {
        const hg_tensor *t = hg_safetensors_at(st, i);
        size_t columns = t->rank > 1 ? (size_t)(t->elements / t->shape[0]) : 0;
        kit_tensor *mine = kit_put(s, t->name, (size_t)t->shape[0], columns);
        memcpy(mine->data, map.data + t->offset, t->bytes);
    }
    hg_map_close(&map);
    hg_safetensors_free(st);
}

static inline void kit_free(kit_set *s)
{
    for (size_t i = 0; i < s->count; i++) free(s->t[i].data);
    free(s->t);
    free(s->config);
    *s = (kit_set){0};
}

/* The same once more. */
static inline void kit_copy(kit_set *to, const kit_set *from)
{
    *to = (kit_set){.config = hg_strdup(from->config)};
    for (size_t i = 0; i < from->count; i++) {
        const kit_tensor *t = &from->t[i];
        size_t n = t->rows * (t->columns ? t->columns : 1);
        memcpy(kit_put(to, t->name, t->rows, t->columns)->data, t->data, n * sizeof(float));
    }
}

/* Members of `patch` (a JSON object) over those of the config. */
static inline void kit_patch(kit_set *s, const char *patch)
{
    hg_json *old = NULL, *new = NULL;
    hangar_err err = {0};
    const char *skip[32] = {0};
    char names[32][64];
    size_t n = 0;
    if (hg_json_parse((hg_str){s->config, strlen(s->config)}, NULL, &old, &err)) fail_msg("%s", err.msg);
    if (hg_json_parse((hg_str){patch, strlen(patch)}, NULL, &new, &err)) fail_msg("%s: %s", patch, err.msg);
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    for (hg_json_iter it = hg_json_iter_of(hg_json_root(new)); hg_json_next(&it) && n < 31; n++) {
        (void)snprintf(names[n], sizeof names[n], "%.*s", (int)it.key.len, it.key.ptr);
        skip[n] = names[n];
        hg_jw_val(w, names[n], it.val);
    }
    hg_jw_members(w, hg_json_root(old), skip);
    hg_jw_end(w);
    free(s->config);
    if (hg_jw_finish(w, false, &s->config, &err)) fail_msg("%s", err.msg);
    hg_jw_free(w);
    hg_json_free(old);
    hg_json_free(new);
}

/* The element as this type has it: 4 bytes, or the upper half of a float (BF16), or a half (F16, normal numbers and 0). */
static inline void kit_element(hg_buf *out, float f, hg_dtype type)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if (type == HG_DTYPE_F32) {
        hg_buf_add(out, &bits, 4);
    } else if (type == HG_DTYPE_BF16) {
        uint16_t half = (uint16_t)(bits >> 16);
        hg_buf_add(out, &half, 2);
    } else {
        int32_t exponent = (int32_t)(bits >> 23 & 255) - 112;
        uint16_t half = exponent <= 0 ? 0 : (uint16_t)((uint32_t)exponent << 10 | (bits >> 13 & 1023));
        half = (uint16_t)(half | (bits >> 16 & 0x8000));
        hg_buf_add(out, &half, 2);
    }
}

/* Writes the tensors whose number is `which` modulo `of` as a safetensors file. */
static inline void kit_save(const kit_set *s, const char *path, hg_dtype type, size_t which, size_t of)
{
    hg_buf head, data, all;
    hangar_err err = {0};
    uint64_t size = hg_dtype_bits(type) / 8, at = 0;
    hg_buf_init(&head, 64 * HG_MIB);
    hg_buf_init(&data, 64 * HG_MIB);
    hg_buf_init(&all, 64 * HG_MIB);
    hg_buf_putc(&head, '{');
    for (size_t i = 0; i < s->count; i++) {
        const kit_tensor *t = &s->t[i];
        size_t n = t->rows * (t->columns ? t->columns : 1);
        if (i % of != which) continue;
        hg_buf_printf(&head, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%zu", at ? "," : "", t->name,
                      hg_dtype_name(type), t->rows);
        if (t->columns) hg_buf_printf(&head, ",%zu", t->columns);
        hg_buf_printf(&head, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at,
                      (unsigned long long)(at + n * size));
        at += n * size;
        for (size_t j = 0; j < n; j++) kit_element(&data, t->data[j], type);
    }
    hg_buf_putc(&head, '}');
    while (head.len % 8) hg_buf_putc(&head, ' ');
    uint64_t len = head.len;
    hg_buf_add(&all, &len, 8);
    hg_buf_add(&all, head.data, head.len);
    hg_buf_add(&all, data.data, data.len);
    if (hg_buf_check(&all, &err) || hg_write_file(path, all.data, all.len, 0644, &err))
        fail_msg("%s", err.msg);
    hg_buf_deinit(&head);
    hg_buf_deinit(&data);
    hg_buf_deinit(&all);
}

/* Runs the set (written in `of` files of that type); the code, and the words in *err. */
static inline hangar_code kit_run(const kit_set *s, hg_dtype type, size_t of, const hg_ref_input *in,
                                  hg_ref_output *out, hangar_err *err)
{
    hg_checkpoint_file files[4] = {0};
    char paths[4][32];
    hg_json *config = NULL;
    for (size_t i = 0; i < of; i++) {
        (void)snprintf(paths[i], sizeof paths[i], "check-%zu.safetensors", i);
        kit_save(s, paths[i], type, i, of);
        if (hg_safetensors_open(paths[i], &files[i].st, err)) fail_msg("%s", err->msg);
        files[i].path = files[i].real = paths[i];
    }
    hg_checkpoint ck = {files, of};
    if (hg_json_parse((hg_str){s->config, strlen(s->config)}, NULL, &config, err)) fail_msg("%s", err->msg);
    hangar_code code = hg_ref_run(&ck, hg_json_root(config), in, NULL, out, err);
    double work = 0;
    if (code == HANGAR_OK && hg_ref_work(&ck, hg_json_root(config), in, &work, err)) fail_msg("%s", err->msg);
    if (code == HANGAR_OK && !strstr(s->config, "experts") && fabs(work - out->work) > 0.5) {
        fail_msg("%g multiply-adds were foreseen, %g done", work, out->work);
    }
    hg_json_free(config);
    for (size_t i = 0; i < of; i++) hg_safetensors_free(files[i].st);
    return code;
}

#endif
