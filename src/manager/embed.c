/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hangar_embed: texts to tokens, in batches to the encoder, hidden states to one vector each. Texts are sorted
 * by length so that a batch has little padding, and a batch holds at most BATCH_TOKENS tokens (a single longer
 * text is a batch of its own). Sums are made in double.
 */
#include "base/mem.h"
#include "manager/load_encoder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define TEXTS_MAX    100000
#define BATCH_TOKENS 8192
#define BATCH_ROWS   64
#define DIMS_MAX     65536

typedef struct work {
    hangar_model *m;
    const hg_encoder *e;
    hangar_job *job;
    size_t count;
    hg_token_ids *ids; /* per text */
    size_t *order;     /* texts, longest first */
    float *vectors;    /* [count][dims] */
    size_t dims;       /* 0: not known yet */
} work;

static void work_deinit(work *w)
{
    for (size_t i = 0; w->ids && i < w->count; i++) free(w->ids[i].ids);
    free(w->ids);
    free(w->order);
    free(w->vectors);
}

static int longest_first(const void *a, const void *b, void *ctx)
{
    const work *w = ctx;
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    size_t lx = w->ids[x].count, ly = w->ids[y].count;
    return lx != ly ? (lx < ly ? 1 : -1) : (x > y) - (x < y);
}

/* All texts as tokens, and the order of the batches. */
static hangar_code tokenize(work *w, const char *const *texts, hangar_err *err)
{
    w->ids = hg_calloc(w->count, sizeof *w->ids);
    w->order = hg_calloc(w->count, sizeof *w->order);
    if (!w->ids || !w->order) return hg_fail_memory(err);
    for (size_t i = 0; i < w->count; i++) {
        if (!texts[i]) return hg_fail(err, HANGAR_E_USAGE, "text %zu is missing", i + 1);
        HG_AUTO(hg_auto_free) char *text = hg_format("%s%s", w->e->prompt, texts[i]);
        if (!text) return hg_fail_memory(err);
        hangar_code code =
            hg_tokenizer_encode(w->e->tokenizer, hg_str_of(text), w->e->max_tokens, &w->ids[i], err);
        if (code == HANGAR_OK && w->ids[i].count == 0)
            code = hg_fail(err, HANGAR_E_USAGE, "the text has no tokens");
        if (code != HANGAR_OK) return hg_wrap(err, code, "text %zu", i + 1);
        w->order[i] = i;
    }
    qsort_r(w->order, w->count, sizeof *w->order, longest_first, w);
    return HANGAR_OK;
}

/* ---- one batch ---- */

static void write_input(hg_jw *w, const char *name, size_t rows, size_t len, size_t index)
{
    size_t bytes = rows * len * sizeof(int64_t);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "name", name);
    hg_jw_text(w, "dtype", "I64");
    hg_jw_arr(w, "shape");
    hg_jw_u64(w, NULL, rows);
    hg_jw_u64(w, NULL, len);
    hg_jw_end(w);
    hg_jw_u64(w, "offset", index * bytes);
    hg_jw_u64(w, "bytes", bytes);
    hg_jw_end(w);
}

static hangar_code batch_frame(const work *w, size_t rows, size_t len, char **out, hangar_err *err)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *j = hg_jw_new();
    if (!j) return hg_fail_memory(err);
    hg_jw_obj(j, NULL);
    hg_jw_text(j, "op", "run");
    hg_jw_text(j, "graph", "model");
    hg_jw_arr(j, "inputs");
    write_input(j, "input_ids", rows, len, 0);
    write_input(j, "attention_mask", rows, len, 1);
    if (w->e->token_types) write_input(j, "token_type_ids", rows, len, 2);
    hg_jw_end(j);
    hg_jw_arr(j, "outputs");
    hg_jw_text(j, NULL, "last_hidden_state");
    hg_jw_end(j);
    return hg_jw_finish(j, false, out, err);
}

/* Ids, mask and (zero) types of the texts order[from .. from + rows), padded to len; the caller's. */
static int64_t *batch_tensors(const work *w, size_t from, size_t rows, size_t len)
{
    int64_t *all = hg_calloc(3 * rows * len, sizeof *all);
    for (size_t r = 0; all && r < rows; r++) {
        const hg_token_ids *ids = &w->ids[w->order[from + r]];
        for (size_t i = 0; i < len; i++) {
            all[r * len + i] = i < ids->count ? ids->ids[i] : w->e->pad;
            all[(rows + r) * len + i] = i < ids->count;
        }
    }
    return all;
}

/* What one way of pooling makes of `count` states of `dims` numbers. */
static void pool_one(unsigned mode, const float *states, size_t count, size_t dims, float *out)
{
    if (mode == HG_POOL_CLS || mode == HG_POOL_LAST) {
        memcpy(out, states + (mode == HG_POOL_LAST ? (count - 1) * dims : 0), dims * sizeof *out);
        return;
    }
    double weights = mode == HG_POOL_MEAN_SQRT       ? sqrt((double)count)
                     : mode == HG_POOL_WEIGHTED_MEAN ? (double)count * (double)(count + 1) / 2
                                                     : (double)count;
    for (size_t d = 0; d < dims; d++) {
        double sum = 0, top = -INFINITY;
        for (size_t i = 0; i < count; i++) {
            double x = states[i * dims + d];
            sum += mode == HG_POOL_WEIGHTED_MEAN ? x * (double)(i + 1) : x;
            top = fmax(top, x);
        }
        out[d] = (float)(mode == HG_POOL_MAX ? top : sum / weights);
    }
}

/* All declared ways side by side, then the length. */
static void pool(const hg_encoder *e, const float *states, size_t count, size_t dims, float *out,
                 size_t out_dims)
{
    float *at = out;
    for (unsigned mode = HG_POOL_CLS; mode <= HG_POOL_LAST; mode <<= 1)
        if (e->pooling & mode) {
            pool_one(mode, states, count, dims, at);
            at += dims;
        }
    double sum = 0;
    for (size_t d = 0; d < out_dims; d++) sum += (double)out[d] * out[d];
    double length = sqrt(sum);
    for (size_t d = 0; e->normalize && length > 0 && d < out_dims; d++) out[d] = (float)(out[d] / length);
}

/* The output of a batch: [rows][len][hidden], checked; *hidden is found out. */
static hangar_code check_output(const hg_frame *done, size_t rows, size_t len, size_t *hidden,
                                const float **states, hangar_err *err)
{
    const hg_jval *t = hg_json_at(hg_json_get(hg_json_root(done->doc), "outputs"), 0),
                  *shape = hg_json_get(t, "shape");
    uint64_t r = 0, l = 0, h = 0, offset = 0, bytes = 0, end = 0;
    bool ok = hg_streq(hg_json_text(hg_json_get(t, "dtype")), "F32") && hg_json_len(shape) == 3 &&
              hg_json_u64(hg_json_at(shape, 0), &r) && r == rows && hg_json_u64(hg_json_at(shape, 1), &l) &&
              l == len && hg_json_u64(hg_json_at(shape, 2), &h) && h >= 1 && h <= DIMS_MAX &&
              hg_json_u64(hg_json_get(t, "offset"), &offset) &&
              hg_json_u64(hg_json_get(t, "bytes"), &bytes) && bytes == r * l * h * sizeof(float) &&
              hg_add(offset, bytes, &end) && end <= done->bin_len && offset % sizeof(float) == 0;
    if (!ok)
        return hg_fail(err, HANGAR_E_ENGINE, "the runner's answer is not [%zu][%zu] hidden states", rows,
                       len);
    *hidden = (size_t)h;
    *states = (const float *)(const void *)(done->bin + offset);
    return HANGAR_OK;
}

/* Pools a batch into the vectors of its texts. */
static hangar_code take_batch(work *w, const hg_frame *done, size_t from, size_t rows, size_t len,
                              hangar_err *err)
{
    size_t hidden = 0;
    const float *states = NULL;
    hangar_code code = check_output(done, rows, len, &hidden, &states, err);
    if (code != HANGAR_OK) return code;
    size_t dims = hidden * (size_t)__builtin_popcount(w->e->pooling);
    if (w->dims == 0) {
        w->dims = dims;
        w->vectors = hg_calloc(w->count, dims * sizeof *w->vectors);
        if (!w->vectors) return hg_fail_memory(err);
    }
    if (dims != w->dims) return hg_fail(err, HANGAR_E_ENGINE, "the number of dimensions changed");
    for (size_t r = 0; r < rows; r++) {
        size_t text = w->order[from + r];
        pool(w->e, states + r * len * hidden, w->ids[text].count, hidden, w->vectors + text * dims, dims);
    }
    return HANGAR_OK;
}

static hangar_code run_batch(work *w, size_t from, size_t rows, size_t len, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *call = NULL;
    HG_AUTO(hg_auto_free) int64_t *tensors = batch_tensors(w, from, rows, len);
    if (!tensors) return hg_fail_memory(err);
    hg_frame done = {0};
    size_t bytes = (w->e->token_types ? 3 : 2) * rows * len * sizeof *tensors;
    hangar_code code = batch_frame(w, rows, len, &call, err);
    if (code == HANGAR_OK)
        code = hg_runner_call(w->m->runner, hg_str_of(call), tensors, bytes, NULL, NULL, w->job, &done, err);
    if (code == HANGAR_OK) code = take_batch(w, &done, from, rows, len, err);
    hg_frame_deinit(&done);
    return code;
}

static hangar_code run_all(work *w, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    for (size_t from = 0, rows; from < w->count && code == HANGAR_OK; from += rows) {
        size_t len = w->ids[w->order[from]].count;
        rows = BATCH_TOKENS / len;
        if (rows < 1) rows = 1;
        if (rows > BATCH_ROWS) rows = BATCH_ROWS;
        if (rows > w->count - from) rows = w->count - from;
        code = run_batch(w, from, rows, len, err);
        if (code == HANGAR_OK) hg_job_total(w->job, from + rows, w->count, 0);
    }
    return code;
}

/* ---- the document ---- */

/* A float as the shortest number that reads back as the same float. */
static double shortest(float x)
{
    char text[32];
    snprintf(text, sizeof text, "%.9g", (double)x);
    return strtod(text, NULL);
}

static hangar_code result(const work *w, char **out, hangar_err *err)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *j = hg_jw_new();
    if (!j) return hg_fail_memory(err);
    hg_jw_obj(j, NULL);
    hg_jw_text(j, "model", w->m->name);
    hg_jw_u64(j, "dimensions", w->dims);
    hg_jw_arr(j, "embeddings");
    for (size_t i = 0; i < w->count; i++) {
        hg_jw_arr(j, NULL);
        for (size_t d = 0; d < w->dims; d++) hg_jw_f64(j, NULL, shortest(w->vectors[i * w->dims + d]));
        hg_jw_end(j);
    }
    hg_jw_end(j);
    hg_jw_arr(j, "tokens");
    for (size_t i = 0; i < w->count; i++) hg_jw_u64(j, NULL, w->ids[i].count);
    hg_jw_end(j);
    hg_jw_arr(j, "truncated");
    for (size_t i = 0; i < w->count; i++)
        if (w->ids[i].truncated) hg_jw_u64(j, NULL, i);
    hg_jw_end(j);
    return hg_jw_finish(j, false, out, err);
}

hangar_code hangar_embed(hangar_model *model, const char *const *texts, size_t count, hangar_job *job,
                         char **out_json, hangar_err *err)
{
    if (out_json) *out_json = NULL;
    hangar_code code = hg_model_need(model, &hg_loader_encoder, err);
    if (code != HANGAR_OK) return code;
    if (count == 0 || count > TEXTS_MAX)
        return hg_fail(err, HANGAR_E_USAGE, "%zu texts, from 1 to %d go at once", count, TEXTS_MAX);
    work w = {.m = model, .e = model->data, .job = job, .count = count};
    hg_job_phase(job, "embedding");
    code = tokenize(&w, texts, err);
    if (code == HANGAR_OK) code = run_all(&w, err);
    if (code == HANGAR_OK && out_json) code = result(&w, out_json, err);
    work_deinit(&w);
    return code;
}
