/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hangar_classify_images: labels that a model was made with, or (CLIP, SigLIP) any labels of the caller's: each stands in a sentence, and the
 * score is how near the sentence's embedding is to the picture's.
 */
#include "base/mem.h"
#include "manager/see.h"

#include <math.h>
#include <stdlib.h>

/* Embeddings of the labels, each of length 1. */
typedef struct wanted {
    size_t count, dims;
    float *vectors;
} wanted;

static void to_unit(float *x, size_t dims)
{
    double sum = 0;
    for (size_t d = 0; d < dims; d++) sum += (double)x[d] * x[d];
    double length = sqrt(sum);
    for (size_t d = 0; length > 0 && d < dims; d++) x[d] = (float)(x[d] / length);
}

static hangar_code take_labels(void *ctx, const hg_batch *b, hangar_err *err)
{
    wanted *w = ctx;
    if (b->per_token || (w->dims && w->dims != b->width))
        return hg_fail(err, HANGAR_E_ENGINE, "the shape of the runner's answer changed");
    w->dims = b->width;
    if (!w->vectors) w->vectors = hg_calloc(w->count, w->dims * sizeof *w->vectors);
    if (!w->vectors) return hg_fail_memory(err);
    for (size_t r = 0; r < b->rows; r++) {
        float *to = w->vectors + b->texts[r] * w->dims;
        memcpy(to, b->data + r * w->dims, w->dims * sizeof *to);
        to_unit(to, w->dims);
    }
    return HANGAR_OK;
}

/* The label in the place of {} of the template; the caller's. */
static char *sentence(const char *template, const char *label)
{
    const char *at = strstr(template, "{}");
    if (!at) return NULL;
    return hg_format("%.*s%s%s", (int)(at - template), template, label, at + 2);
}

static hangar_code embed_labels(hangar_model *m, const char *const *labels, const char *template, wanted *w,
                                hangar_job *job, hangar_err *err)
{
    const hg_encoder *e = &((const hg_pair *)m->data)->text;
    const hg_batch_spec spec = {.tokenizer = e->tokenizer,
                                .max_tokens = e->max_tokens,
                                .pad = e->pad,
                                .pad_to = e->pad_to,
                                .no_mask = e->no_mask,
                                .graph = e->graph,
                                .prompt = "",
                                .output = e->output};
    hg_token_ids *ids = NULL;
    if (!strstr(template, "{}"))
        return hg_fail(err, HANGAR_E_USAGE, "the template \"%s\" has no {}", template);
    char **texts = hg_calloc(w->count, sizeof *texts);
    hangar_code code = texts ? HANGAR_OK : hg_fail_memory(err);
    for (size_t i = 0; i < w->count && code == HANGAR_OK; i++)
        if (!(texts[i] = sentence(template, labels[i]))) code = hg_fail_memory(err);
    if (code == HANGAR_OK)
        code = hg_batches_run(m, &spec, (const char *const *)texts, w->count, take_labels, w, job, &ids, err);
    hg_batch_ids_free(ids, w->count);
    for (size_t i = 0; texts && i < w->count; i++) free(texts[i]);
    free((void *)texts);
    return code;
}

/* How near a picture is to each label; *out is the caller's. */
static hangar_code compare(const hg_pair *p, const wanted *w, float *picture, size_t dims, float **out,
                           hangar_err *err)
{
    if (dims != w->dims) return hg_fail(err, HANGAR_E_ENGINE, "texts and pictures have different dimensions");
    *out = hg_calloc(w->count, sizeof **out);
    if (!*out) return hg_fail_memory(err);
    to_unit(picture, dims);
    for (size_t i = 0; i < w->count; i++) {
        double dot = 0;
        for (size_t d = 0; d < dims; d++) dot += (double)picture[d] * w->vectors[i * dims + d];
        (*out)[i] = (float)(p->scale * dot + p->bias);
    }
    return HANGAR_OK;
}

/* ---- the document ---- */

typedef struct work {
    hangar_model *m;
    const hangar_classify_options *options;
    bool own; /* labels of the caller's */
    wanted wanted;
    hg_jw *results; /* an open array */
    hg_score score;
} work;

static hangar_code one(work *w, const char *file, hangar_job *job, hangar_err *err)
{
    HG_AUTO(hg_auto_free) float *numbers = NULL;
    HG_AUTO(hg_auto_free) float *scores = NULL;
    size_t width = 0;
    const hg_pair *pair = w->own ? w->m->data : NULL;
    const hg_vision *vision = w->own ? NULL : w->m->data;
    hangar_code code =
        pair ? hg_see(w->m, &pair->sight, "vision_model", pair->picture_output, file, job, &numbers, &width,
                      err)
             : hg_see(w->m, &vision->sight, "model", "logits", file, job, &numbers, &width, err);
    if (code == HANGAR_OK && pair) {
        code = compare(pair, &w->wanted, numbers, width, &scores, err);
        width = w->wanted.count;
    }
    if (code != HANGAR_OK) return code;
    float *x = pair ? scores : numbers;
    w->score = pair ? pair->score : hg_classifier_score(&vision->labels, width);
    code = hg_scores_make(w->score, x, width, err);
    if (code != HANGAR_OK) return hg_wrap(err, code, "%s", file);
    hg_jw_obj(w->results, NULL);
    hg_jw_text(w->results, "file", file);
    code = hg_labels_write(pair ? w->options->labels : (const char *const *)vision->labels.labels,
                           pair ? width : vision->labels.label_count, x, width, w->options->top, w->results,
                           err);
    hg_jw_end(w->results);
    return code;
}

static hangar_code finish(work *w, char **out, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *results = NULL;
    HG_AUTO(hg_json_auto_free) hg_json *parsed = NULL;
    HG_AUTO(hg_jw_auto_free) hg_jw *j = hg_jw_new();
    hangar_code code = j ? hg_jw_finish(w->results, false, &results, err) : hg_fail_memory(err);
    if (code == HANGAR_OK) code = hg_json_parse(hg_str_of(results), NULL, &parsed, err);
    if (code != HANGAR_OK) return code;
    hg_jw_obj(j, NULL);
    hg_jw_text(j, "model", w->m->name);
    hg_jw_text(j, "task", w->own ? "zero-shot-image-classification" : "image-classification");
    hg_jw_text(j, "function", hg_score_name(w->score));
    hg_jw_val(j, "results", hg_json_root(parsed));
    return hg_jw_finish(j, false, out, err);
}

/* Labels that are given must be such a model's, and such a model needs some. */
static hangar_code check_labels(work *w, hangar_err *err)
{
    const char *const *labels = w->options->labels;
    while (labels && labels[w->wanted.count]) w->wanted.count++;
    if (w->own && w->wanted.count == 0)
        return hg_fail(err, HANGAR_E_USAGE, "%s has no labels of its own: name some (--label)", w->m->name);
    if (!w->own && w->wanted.count > 0)
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "%s has labels of its own, none can be chosen", w->m->name);
    return HANGAR_OK;
}

hangar_code hangar_classify_images(hangar_model *model, const char *const *files, size_t count,
                                   const hangar_classify_options *options, hangar_job *job, char **out_json,
                                   hangar_err *err)
{
    if (out_json) *out_json = NULL;
    hangar_classify_options o;
    work w = {.m = model, .options = &o, .own = model && model->loader == &hg_loader_pair};
    hangar_code code = w.own ? HANGAR_OK : hg_model_need(model, &hg_loader_vision, err);
    if (code == HANGAR_OK) code = hg_classify_options_read(options, &o, err);
    if (code == HANGAR_OK) code = check_labels(&w, err);
    if (code == HANGAR_OK && (!files || count == 0)) code = hg_fail(err, HANGAR_E_USAGE, "no file was named");
    if (code == HANGAR_OK && w.own)
        code = embed_labels(model, o.labels, o.sentence ? o.sentence : "This is a photo of {}.", &w.wanted,
                            job, err);
    if (code == HANGAR_OK && !(w.results = hg_jw_new())) code = hg_fail_memory(err);
    hg_jw_arr(w.results, NULL);
    hg_job_phase(job, "classifying");
    for (size_t i = 0; i < count && code == HANGAR_OK; i++) {
        code = one(&w, files[i], job, err);
        if (code == HANGAR_OK) hg_job_total(job, i + 1, count, 0);
    }
    if (code == HANGAR_OK && out_json) code = finish(&w, out_json, err);
    hg_jw_free(w.results);
    free(w.wanted.vectors);
    return code;
}
