/* SPDX-License-Identifier: Apache-2.0 */
/* hangar_embed: texts in batches to the encoder, hidden states to one vector each. Sums are made in double. */
#include "base/mem.h"
#include "manager/batches.h"
#include "manager/load_encoder.h"

#include <math.h>
#include <stdlib.h>

typedef struct work {
    const hangar_model *m;
    const hg_encoder *e;
    size_t count;
    hg_token_ids *ids; /* per text */
    float *vectors;    /* [count][dims] */
    size_t dims;       /* 0: not known yet */
} work;

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

/* Pools a batch into the vectors of its texts. */
static hangar_code take_batch(void *ctx, const hg_batch *b, hangar_err *err)
{
    work *w = ctx;
    size_t hidden = b->width, dims = hidden * (size_t)__builtin_popcount(w->e->pooling);
    if (!b->per_token)
        return hg_fail(err, HANGAR_E_ENGINE, "the runner's answer is not [%zu][%zu] hidden states", b->rows,
                       b->len);
    if (w->dims == 0) {
        w->dims = dims;
        w->vectors = hg_calloc(w->count, dims * sizeof *w->vectors);
        if (!w->vectors) return hg_fail_memory(err);
    }
    if (dims != w->dims) return hg_fail(err, HANGAR_E_ENGINE, "the number of dimensions changed");
    for (size_t r = 0; r < b->rows; r++) {
        size_t text = b->texts[r];
        pool(w->e, b->data + r * b->len * hidden, b->ids[text].count, hidden, w->vectors + text * dims, dims);
    }
    return HANGAR_OK;
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
        for (size_t d = 0; d < w->dims; d++) hg_jw_f64(j, NULL, hg_batch_number(w->vectors[i * w->dims + d]));
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
    work w = {.m = model, .e = model->data, .count = count};
    const hg_batch_spec spec = {.tokenizer = w.e->tokenizer,
                                .max_tokens = w.e->max_tokens,
                                .pad = w.e->pad,
                                .token_types = w.e->token_types,
                                .prompt = w.e->prompt,
                                .output = "last_hidden_state"};
    hg_job_phase(job, "embedding");
    code = hg_batches_run(model, &spec, texts, count, take_batch, &w, job, &w.ids, err);
    if (code == HANGAR_OK && out_json) code = result(&w, out_json, err);
    hg_batch_ids_free(w.ids, count);
    free(w.vectors);
    return code;
}
