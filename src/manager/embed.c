/* SPDX-License-Identifier: Apache-2.0 */
/* hangar_embed: texts in batches to the encoder, hidden states to one vector each. Sums are made in double. */
#include "base/mem.h"
#include "manager/batches.h"
#include "manager/see.h"

#include <math.h>
#include <stdlib.h>

typedef struct work {
    const hangar_model *m;
    const hg_encoder *e;
    size_t count;
    hg_token_ids *ids; /* per text */
    float *vectors;    /* [count][dims] */
    size_t dims;       /* 0: not known yet */
    size_t pooled;     /* dimensions before the modules behind the pooling */
    float *a, *b;      /* one vector on its way through them */
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

/* All declared ways side by side. */
static void pool(const hg_encoder *e, const float *states, size_t count, size_t dims, float *out)
{
    if (!e->pooling) memcpy(out, states, dims * sizeof *out);
    for (unsigned mode = HG_POOL_CLS; mode <= HG_POOL_LAST; mode <<= 1)
        if (e->pooling & mode) {
            pool_one(mode, states, count, dims, out);
            out += dims;
        }
}

static void to_unit(float *x, size_t dims)
{
    double sum = 0;
    for (size_t d = 0; d < dims; d++) sum += (double)x[d] * x[d];
    double length = sqrt(sum);
    for (size_t d = 0; length > 0 && d < dims; d++) x[d] = (float)(x[d] / length);
}

/* What the modules behind the pooling make of a vector in w->a; w->b has room for what comes out. */
static void finish(work *w, float *out)
{
    size_t dims = w->pooled;
    float *from = w->a, *to = w->b;
    for (size_t i = 0; i < w->e->step_count; i++) {
        const hg_dense *dense = w->e->steps[i];
        if (!dense) {
            to_unit(from, dims);
            continue;
        }
        hg_dense_run(dense, from, to);
        dims = hg_dense_out(dense);
        float *swap = from;
        from = to;
        to = swap;
    }
    memcpy(out, from, dims * sizeof *out);
}

/* Dimensions behind each module, and room for the widest. */
static hangar_code begin(work *w, size_t pooled, hangar_err *err)
{
    size_t widest = pooled, dims = pooled;
    for (size_t i = 0; i < w->e->step_count; i++) {
        const hg_dense *dense = w->e->steps[i];
        if (!dense) continue;
        if (hg_dense_in(dense) != dims)
            return hg_fail(err, HANGAR_E_INVALID,
                           "modules.json: a Dense module of %zu features follows %zu dimensions",
                           hg_dense_in(dense), dims);
        dims = hg_dense_out(dense);
        if (dims > widest) widest = dims;
    }
    w->pooled = pooled;
    w->dims = dims;
    w->a = hg_calloc(widest, sizeof *w->a);
    w->b = hg_calloc(widest, sizeof *w->b);
    w->vectors = hg_calloc(w->count, dims * sizeof *w->vectors);
    return w->a && w->b && w->vectors ? HANGAR_OK : hg_fail_memory(err);
}

/* Pools a batch into the vectors of its texts. */
static hangar_code take_batch(void *ctx, const hg_batch *b, hangar_err *err)
{
    work *w = ctx;
    size_t hidden = b->width;
    size_t pooled = w->e->pooling ? hidden * (size_t)__builtin_popcount(w->e->pooling) : hidden;
    if (b->per_token != (w->e->pooling != 0))
        return hg_fail(err, HANGAR_E_ENGINE, "the runner's answer is not one of %zu texts", b->rows);
    hangar_code code = w->dims ? HANGAR_OK : begin(w, pooled, err);
    if (code != HANGAR_OK) return code;
    if (pooled != w->pooled) return hg_fail(err, HANGAR_E_ENGINE, "the number of dimensions changed");
    for (size_t r = 0; r < b->rows; r++) {
        size_t text = b->texts[r], row = b->per_token ? b->len * hidden : hidden;
        pool(w->e, b->data + r * row, b->ids[text].count, hidden, w->a);
        finish(w, w->vectors + text * w->dims);
    }
    return HANGAR_OK;
}

static void write_vector(const float *x, size_t dims, hg_jw *j)
{
    hg_jw_arr(j, NULL);
    for (size_t d = 0; d < dims; d++) hg_jw_f64(j, NULL, hg_batch_number(x[d]));
    hg_jw_end(j);
}

static hangar_code result(const work *w, char **out, hangar_err *err)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *j = hg_jw_new();
    if (!j) return hg_fail_memory(err);
    hg_jw_obj(j, NULL);
    hg_jw_text(j, "model", w->m->name);
    hg_jw_u64(j, "dimensions", w->dims);
    hg_jw_arr(j, "embeddings");
    for (size_t i = 0; i < w->count; i++) write_vector(w->vectors + i * w->dims, w->dims, j);
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
    bool pair = model && model->loader == &hg_loader_pair;
    hangar_code code = pair ? HANGAR_OK : hg_model_need(model, &hg_loader_encoder, err);
    if (code != HANGAR_OK) return code;
    work w = {.m = model, .count = count};
    w.e = pair ? &((const hg_pair *)model->data)->text : model->data;
    const hg_batch_spec spec = {.tokenizer = w.e->tokenizer,
                                .max_tokens = w.e->max_tokens,
                                .pad = w.e->pad,
                                .pad_to = w.e->pad_to,
                                .token_types = w.e->token_types,
                                .no_mask = w.e->no_mask,
                                .graph = w.e->graph,
                                .prompt = w.e->prompt,
                                .output = w.e->output ? w.e->output : "last_hidden_state"};
    hg_job_phase(job, "embedding");
    code = hg_batches_run(model, &spec, texts, count, take_batch, &w, job, &w.ids, err);
    if (code == HANGAR_OK && out_json) code = result(&w, out_json, err);
    hg_batch_ids_free(w.ids, count);
    free(w.vectors);
    free(w.a);
    free(w.b);
    return code;
}

hangar_code hangar_embed_images(hangar_model *model, const char *const *files, size_t count, hangar_job *job,
                                char **out_json, hangar_err *err)
{
    if (out_json) *out_json = NULL;
    hangar_code code = hg_model_need(model, &hg_loader_pair, err);
    if (code == HANGAR_OK && (!files || count == 0)) code = hg_fail(err, HANGAR_E_USAGE, "no file was named");
    if (code != HANGAR_OK) return code;
    const hg_pair *p = model->data;
    size_t dims = 0;
    HG_AUTO(hg_jw_auto_free) hg_jw *j = hg_jw_new();
    if (!j) return hg_fail_memory(err);
    hg_job_phase(job, "embedding");
    hg_jw_obj(j, NULL);
    hg_jw_text(j, "model", model->name);
    hg_jw_arr(j, "embeddings");
    for (size_t i = 0; i < count && code == HANGAR_OK; i++) {
        HG_AUTO(hg_auto_free) float *x = NULL;
        code = hg_see(model, &p->sight, "vision_model", p->picture_output, files[i], job, &x, &dims, err);
        if (code != HANGAR_OK) break;
        write_vector(x, dims, j);
        hg_job_total(job, i + 1, count, 0);
    }
    hg_jw_end(j);
    hg_jw_u64(j, "dimensions", dims);
    hg_jw_arr(j, "files");
    for (size_t i = 0; i < count; i++) hg_jw_text(j, NULL, files[i]);
    hg_jw_end(j);
    return code == HANGAR_OK && out_json ? hg_jw_finish(j, false, out_json, err) : code;
}
