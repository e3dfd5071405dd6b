/* SPDX-License-Identifier: Apache-2.0 */
/* Declared and described in batches.h. */
#include "manager/batches.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

#define BATCH_TOKENS 8192
#define BATCH_ROWS   64

typedef struct work {
    hangar_model *m;
    const hg_batch_spec *spec;
    hg_batch_fn *on_batch;
    void *ctx;
    hangar_job *job;
    size_t count;
    hg_token_ids *ids; /* per text */
    size_t *order;     /* texts, longest first */
} work;

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
    for (size_t i = 0; i < w->count; i++) {
        if (!texts[i]) return hg_fail(err, HANGAR_E_USAGE, "text %zu is missing", i + 1);
        HG_AUTO(hg_auto_free) char *text = hg_format("%s%s", w->spec->prompt, texts[i]);
        if (!text) return hg_fail_memory(err);
        hangar_code code =
            hg_tokenizer_encode(w->spec->tokenizer, hg_str_of(text), w->spec->max_tokens, &w->ids[i], err);
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
    hg_jw_text(j, "graph", w->spec->graph ? w->spec->graph : "model");
    hg_jw_arr(j, "inputs");
    write_input(j, "input_ids", rows, len, 0);
    if (!w->spec->no_mask) write_input(j, "attention_mask", rows, len, 1);
    if (w->spec->token_types) write_input(j, "token_type_ids", rows, len, 2);
    hg_jw_end(j);
    hg_jw_arr(j, "outputs");
    hg_jw_text(j, NULL, w->spec->output);
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
            all[r * len + i] = i < ids->count ? ids->ids[i] : w->spec->pad;
            all[(rows + r) * len + i] = i < ids->count;
        }
    }
    return all;
}

/* The output of a batch, held to what was asked. */
static hangar_code read_output(const hg_frame *done, hg_batch *b, hangar_err *err)
{
    const hg_jval *t = hg_json_at(hg_json_get(hg_json_root(done->doc), "outputs"), 0),
                  *shape = hg_json_get(t, "shape");
    size_t rank = hg_json_len(shape);
    uint64_t rows = 0, len = 1, width = 0, offset = 0, bytes = 0, end = 0;
    b->per_token = rank == 3;
    bool ok = hg_streq(hg_json_text(hg_json_get(t, "dtype")), "F32") && (rank == 2 || rank == 3) &&
              hg_json_u64(hg_json_at(shape, 0), &rows) && rows == b->rows &&
              hg_json_u64(hg_json_at(shape, rank - 1), &width) && width >= 1 && width <= HG_BATCH_WIDTH_MAX;
    if (ok && b->per_token) ok = hg_json_u64(hg_json_at(shape, 1), &len) && len == b->len;
    ok = ok && hg_json_u64(hg_json_get(t, "offset"), &offset) &&
         hg_json_u64(hg_json_get(t, "bytes"), &bytes) && bytes == rows * len * width * sizeof(float) &&
         hg_add(offset, bytes, &end) && end <= done->bin_len && offset % sizeof(float) == 0;
    if (!ok)
        return hg_fail(err, HANGAR_E_ENGINE, "the runner's answer does not fit %zu texts of %zu tokens",
                       b->rows, b->len);
    b->width = (size_t)width;
    b->data = (const float *)(const void *)(done->bin + offset);
    return HANGAR_OK;
}

static hangar_code run_batch(work *w, size_t from, size_t rows, size_t len, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *call = NULL;
    HG_AUTO(hg_auto_free) int64_t *tensors = batch_tensors(w, from, rows, len);
    if (!tensors) return hg_fail_memory(err);
    hg_frame done = {0};
    hg_batch batch = {.rows = rows, .len = len, .texts = w->order + from, .ids = w->ids};
    size_t bytes = (w->spec->token_types ? 3 : 2) * rows * len * sizeof *tensors;
    hangar_code code = batch_frame(w, rows, len, &call, err);
    if (code == HANGAR_OK)
        code = hg_runner_call(w->m->runner, hg_str_of(call), tensors, bytes, NULL, NULL, w->job, &done, err);
    if (code == HANGAR_OK) code = read_output(&done, &batch, err);
    if (code == HANGAR_OK) code = w->on_batch(w->ctx, &batch, err);
    hg_frame_deinit(&done);
    return code;
}

static hangar_code run_all(work *w, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    for (size_t from = 0, rows; from < w->count && code == HANGAR_OK; from += rows) {
        size_t len = w->ids[w->order[from]].count;
        if (len < w->spec->pad_to) len = w->spec->pad_to;
        rows = BATCH_TOKENS / len;
        if (rows < 1) rows = 1;
        if (rows > BATCH_ROWS) rows = BATCH_ROWS;
        if (rows > w->count - from) rows = w->count - from;
        code = run_batch(w, from, rows, len, err);
        if (code == HANGAR_OK) hg_job_total(w->job, from + rows, w->count, 0);
    }
    return code;
}

hangar_code hg_batches_run(hangar_model *m, const hg_batch_spec *spec, const char *const *texts, size_t count,
                           hg_batch_fn *on_batch, void *ctx, hangar_job *job, hg_token_ids **out_ids,
                           hangar_err *err)
{
    *out_ids = NULL;
    if (!texts || count == 0 || count > HG_BATCH_TEXTS_MAX)
        return hg_fail(err, HANGAR_E_USAGE, "%zu texts, from 1 to %d go at once", count, HG_BATCH_TEXTS_MAX);
    work w = {.m = m, .spec = spec, .on_batch = on_batch, .ctx = ctx, .job = job, .count = count};
    w.ids = hg_calloc(count, sizeof *w.ids);
    w.order = hg_calloc(count, sizeof *w.order);
    hangar_code code = w.ids && w.order ? tokenize(&w, texts, err) : hg_fail_memory(err);
    if (code == HANGAR_OK) code = run_all(&w, err);
    free(w.order);
    *out_ids = w.ids;
    return code;
}

void hg_batch_ids_free(hg_token_ids *ids, size_t count)
{
    for (size_t i = 0; ids && i < count; i++) free(ids[i].ids);
    free(ids);
}

double hg_batch_number(float x)
{
    char text[32];
    snprintf(text, sizeof text, "%.9g", (double)x);
    return strtod(text, NULL);
}
