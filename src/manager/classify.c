/* SPDX-License-Identifier: Apache-2.0 */
/* hangar_classify: texts in batches to the classifier, its numbers to scores, the best of them to labels. */
#include "base/mem.h"
#include "manager/load_classifier.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The numbers of one text: of the text itself, or of its tokens one behind the other. */
typedef struct found {
    float *numbers;
    size_t rows;
} found;

typedef struct work {
    const hg_classifier *c;
    const hangar_classify_options *options;
    size_t count, width;
    found *found; /* per text */
} work;

/* Keeps what a batch gave for each of its texts. */
static hangar_code take_batch(void *ctx, const hg_batch *b, hangar_err *err)
{
    work *w = ctx;
    if (b->per_token != w->c->per_token || (w->width && w->width != b->width))
        return hg_fail(err, HANGAR_E_ENGINE, "the shape of the runner's answer changed");
    w->width = b->width;
    for (size_t r = 0; r < b->rows; r++) {
        found *f = &w->found[b->texts[r]];
        size_t row = b->per_token ? b->len * b->width : b->width;
        f->rows = b->per_token ? b->ids[b->texts[r]].count : 1;
        f->numbers = hg_calloc(f->rows * b->width, sizeof *f->numbers);
        if (!f->numbers) return hg_fail_memory(err);
        memcpy(f->numbers, b->data + r * row, f->rows * b->width * sizeof *f->numbers);
    }
    return HANGAR_OK;
}

const char *hg_score_name(hg_score kind)
{
    static const char *const names[] = {"softmax", "sigmoid", "none"};
    return names[kind];
}

hangar_code hg_scores_make(hg_score kind, float *x, size_t width, hangar_err *err)
{
    double max = -INFINITY, total = 0;
    for (size_t i = 0; i < width; i++) {
        if (!isfinite(x[i])) return hg_fail(err, HANGAR_E_ENGINE, "the model's scores are not finite");
        max = fmax(max, (double)x[i]);
    }
    for (size_t i = 0; i < width; i++) total += exp(x[i] - max);
    for (size_t i = 0; i < width; i++) {
        if (kind == HG_SCORE_SOFTMAX) x[i] = (float)(exp(x[i] - max) / total);
        else if (kind == HG_SCORE_SIGMOID) x[i] = (float)(1 / (1 + exp(-(double)x[i])));
    }
    return HANGAR_OK;
}

/* ---- the document ---- */

static void write_label(const char *const *names, size_t count, size_t index, float score, hg_jw *j)
{
    char name[32];
    const char *label = index < count ? names[index] : NULL;
    if (!label) snprintf(name, sizeof name, "LABEL_%zu", index);
    hg_jw_text(j, "label", label ? label : name);
    hg_jw_f64(j, "score", hg_batch_number(score));
}

static int highest_first(const void *a, const void *b, void *ctx)
{
    const float *scores = ctx;
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    if (scores[x] != scores[y]) return scores[x] < scores[y] ? 1 : -1;
    return (x > y) - (x < y);
}

hangar_code hg_labels_write(const char *const *names, size_t name_count, const float *scores, size_t width,
                            int top, hg_jw *j, hangar_err *err)
{
    HG_AUTO(hg_auto_free) size_t *order = hg_calloc(width, sizeof *order);
    if (!order) return hg_fail_memory(err);
    for (size_t i = 0; i < width; i++) order[i] = i;
    qsort_r(order, width, sizeof *order, highest_first, (void *)(uintptr_t)scores);
    hg_jw_arr(j, "labels");
    for (size_t i = 0; i < width && (top <= 0 || i < (size_t)top); i++) {
        hg_jw_obj(j, NULL);
        write_label(names, name_count, order[i], scores[order[i]], j);
        hg_jw_end(j);
    }
    hg_jw_end(j);
    return HANGAR_OK;
}

/* Each token of a text with its likeliest label. */
static hangar_code write_tokens(const work *w, const found *f, const hg_token_ids *ids, hg_jw *j,
                                hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    hg_jw_arr(j, "tokens");
    for (size_t t = 0; t < f->rows && code == HANGAR_OK; t++) {
        float *scores = f->numbers + t * w->width;
        code = hg_scores_make(HG_SCORE_SOFTMAX, scores, w->width, err);
        size_t best = 0;
        for (size_t i = 1; i < w->width; i++)
            if (scores[i] > scores[best]) best = i;
        hg_jw_obj(j, NULL);
        hg_jw_i64(j, "id", ids->ids[t]);
        hg_jw_text(j, "token", hg_tokenizer_text(w->c->tokenizer, ids->ids[t]));
        write_label((const char *const *)w->c->labels, w->c->label_count, best, scores[best], j);
        hg_jw_end(j);
    }
    hg_jw_end(j);
    return code;
}

static hangar_code result(const work *w, const char *name, const char *const *texts, const hg_token_ids *ids,
                          char **out, hangar_err *err)
{
    hg_score kind = hg_classifier_score(w->c, w->width);
    HG_AUTO(hg_jw_auto_free) hg_jw *j = hg_jw_new();
    if (!j) return hg_fail_memory(err);
    hg_jw_obj(j, NULL);
    hg_jw_text(j, "model", name);
    hg_jw_text(j, "task", w->c->per_token ? "token-classification" : "text-classification");
    hg_jw_text(j, "function", hg_score_name(kind));
    hg_jw_arr(j, "results");
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; i < w->count && code == HANGAR_OK; i++) {
        hg_jw_obj(j, NULL);
        hg_jw_text(j, "text", texts[i]);
        if (w->c->per_token) {
            code = write_tokens(w, &w->found[i], &ids[i], j, err);
        } else {
            code = hg_scores_make(kind, w->found[i].numbers, w->width, err);
            if (code == HANGAR_OK)
                code = hg_labels_write((const char *const *)w->c->labels, w->c->label_count,
                                       w->found[i].numbers, w->width, w->options->top, j, err);
        }
        hg_jw_end(j);
    }
    hg_jw_end(j);
    hg_jw_arr(j, "truncated");
    for (size_t i = 0; i < w->count; i++)
        if (ids[i].truncated) hg_jw_u64(j, NULL, i);
    hg_jw_end(j);
    return code == HANGAR_OK ? hg_jw_finish(j, false, out, err) : code;
}

hangar_code hg_classify_options_read(const hangar_classify_options *given, hangar_classify_options *out,
                                     hangar_err *err)
{
    *out = (hangar_classify_options)HANGAR_CLASSIFY_OPTIONS_INIT;
    hangar_code code =
        hg_options_read(given, sizeof(size_t), "hangar_classify_options", out, sizeof *out, err);
    if (code == HANGAR_OK && out->top < 0)
        return hg_fail(err, HANGAR_E_USAGE, "top must be 0 (all labels) or more");
    return code;
}

hangar_code hangar_classify(hangar_model *model, const char *const *texts, size_t count,
                            const hangar_classify_options *options, hangar_job *job, char **out_json,
                            hangar_err *err)
{
    if (out_json) *out_json = NULL;
    hangar_classify_options o;
    hangar_code code = hg_model_need(model, &hg_loader_classifier, err);
    if (code == HANGAR_OK) code = hg_classify_options_read(options, &o, err);
    if (code != HANGAR_OK) return code;
    work w = {.c = model->data, .options = &o, .count = count};
    const hg_batch_spec spec = {.tokenizer = w.c->tokenizer,
                                .max_tokens = w.c->max_tokens,
                                .pad = w.c->pad,
                                .token_types = w.c->token_types,
                                .prompt = "",
                                .output = "logits"};
    hg_token_ids *ids = NULL;
    w.found = hg_calloc(count <= HG_BATCH_TEXTS_MAX ? count : 1, sizeof *w.found);
    if (!w.found) return hg_fail_memory(err);
    hg_job_phase(job, "classifying");
    code = hg_batches_run(model, &spec, texts, count, take_batch, &w, job, &ids, err);
    if (code == HANGAR_OK && out_json) code = result(&w, model->name, texts, ids, out_json, err);
    hg_batch_ids_free(ids, count);
    for (size_t i = 0; i < count && count <= HG_BATCH_TEXTS_MAX; i++) free(w.found[i].numbers);
    free(w.found);
    return code;
}
