/* SPDX-License-Identifier: Apache-2.0 */
/* One run: its memory, its time, its errors, and which family takes it. */
#include "convert/check/inner.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_EVERY 5e7 /* multiply-adds between two looks at the clock, of one thread */
#define WORTH      2e6 /* multiply-adds that threads are started for */

struct hg_plain_block {
    hg_plain_block *older;
    uint64_t bytes;
    double data[];
};

static const struct family {
    const char *type;
    hg_plain_family *run;
} families[] = {
    {"llama", hg_plain_decoder},
    {"mistral", hg_plain_decoder},
    {"qwen2", hg_plain_decoder},
    {"qwen3", hg_plain_decoder},
    {"phi", hg_plain_decoder},
    {"phi3", hg_plain_decoder},
    {"gemma", hg_plain_decoder},
    {"gemma2", hg_plain_decoder},
    {"gemma3_text", hg_plain_decoder},
    {"smollm3", hg_plain_decoder},
    {"gpt2", hg_plain_decoder},
    {"gpt_neox", hg_plain_decoder},
    {"opt", hg_plain_decoder},
    {"falcon", hg_plain_decoder},
    {"granite", hg_plain_decoder},
    {"olmo2", hg_plain_decoder},
    {"mixtral", hg_plain_decoder},
    {"qwen3_moe", hg_plain_decoder},
    {"bert", hg_plain_encoder},
    {"roberta", hg_plain_encoder},
    {"camembert", hg_plain_encoder},
    {"xlm-roberta", hg_plain_encoder},
    {"distilbert", hg_plain_encoder},
    {"mpnet", hg_plain_encoder},
    {"modernbert", hg_plain_modernbert},
    {"deberta-v2", hg_plain_deberta},
    {"whisper", hg_plain_whisper},
    {"bart", hg_plain_bart},
    {"marian", hg_plain_bart},
    {"t5", hg_plain_t5},
    {"vit", hg_plain_vit},
    {"clip", hg_plain_clip},
    {"siglip", hg_plain_clip},
    {"wav2vec2", hg_plain_wav2vec2},
};

static const struct family *family_of(const char *type)
{
    for (size_t i = 0; type && i < HG_LEN(families); i++) {
        if (strcmp(families[i].type, type) == 0) return &families[i];
    }
    return NULL;
}

/* Whether the reference knows the architecture. */
bool hg_ref_knows(const char *model_type)
{
    return family_of(model_type) != NULL;
}

/* Keeps the first error. */
void hg_plain_fail(hg_plain_state *r, hangar_code code, const char *fmt, ...)
{
    char words[512];
    va_list args;
    if (r->code != HANGAR_OK) return;
    va_start(args, fmt);
    (void)vsnprintf(words, sizeof words, fmt, args);
    va_end(args);
    r->code = hg_fail(r->err, code, "%s", words);
}

/* An array of the run, zeroed; NULL after an error and in a dry run. */
void *hg_plain_bytes_new(hg_plain_state *r, size_t count, size_t size)
{
    uint64_t bytes = 0, all = 0;
    if (!hg_plain_go(r)) return NULL;
    if (!hg_mul(count, size, &bytes) || !hg_add(bytes, r->bytes, &all) || all > HG_REF_BYTES_MAX) {
        hg_plain_fail(r, HANGAR_E_LIMIT, "the reference would need more than %llu MiB",
                      (unsigned long long)(HG_REF_BYTES_MAX >> 20));
        return NULL;
    }
    hg_plain_block *b = calloc(1, sizeof *b + bytes);
    if (!b) {
        r->code = hg_fail_memory(r->err);
        return NULL;
    }
    b->bytes = bytes;
    b->older = r->blocks;
    r->blocks = b;
    r->bytes = all;
    return b->data;
}

/* rows * columns zeros. */
double *hg_plain_array_new(hg_plain_state *r, size_t rows, size_t columns)
{
    uint64_t n = 0;
    if (!hg_mul(rows, columns, &n)) n = UINT64_MAX;
    return (double *)hg_plain_bytes_new(r, n, sizeof(double));
}

/* Frees what was made since `mark`. */
void hg_plain_release(hg_plain_state *r, hg_plain_block *mark)
{
    while (r->blocks && r->blocks != mark) {
        hg_plain_block *b = r->blocks;
        r->blocks = b->older;
        r->bytes -= b->bytes;
        free(b);
    }
}

/* Counts work; looks at the clock and at the job now and then. */
void hg_plain_spend(hg_plain_state *r, double work)
{
    r->work += work;
    if (!hg_plain_go(r) || r->work - r->asked < LOOK_EVERY) return;
    r->asked = r->work;
    if (r->until > 0 && hg_now() > r->until) {
        hg_plain_fail(r, HANGAR_E_TIMEOUT, "the reference took longer than %g seconds", r->in->seconds);
        return;
    }
    r->code = hg_job_check(r->job, r->err);
}

typedef struct wave {
    hg_spread_fn *work;
    void *ctx;
    size_t first;
} wave;

static void work_in_wave(void *ctx, size_t item, unsigned who)
{
    const wave *w = ctx;
    w->work(w->ctx, w->first + item, who);
}

/* Spreads items over the threads, as many at a time as may be done between two looks at the clock. */
void hg_plain_spread(hg_plain_state *r, size_t count, double each, hg_spread_fn *work, void *ctx)
{
    double most = fmax(1, fmin((double)count, LOOK_EVERY * r->threads / fmax(each, 1)));
    unsigned threads = each * (double)count < WORTH ? 1 : r->threads;
    wave w = {work, ctx, 0};
    for (size_t n; w.first < count && r->code == HANGAR_OK; w.first += n) {
        n = count - w.first < (size_t)most ? count - w.first : (size_t)most;
        hg_plain_spend(r, each * (double)n);
        if (hg_plain_go(r)) hg_spread(threads, n, work_in_wave, &w);
    }
}

/* Copies an array into the output. */
void hg_plain_give(hg_plain_state *r, const char *name, const double *data, size_t rank, const size_t *shape)
{
    if (!hg_plain_go(r) || !r->out || r->out->count >= HG_REF_ARRAYS_MAX) return;
    hg_ref_array *a = &r->out->arrays[r->out->count];
    a->name = name;
    a->rank = rank;
    a->count = 1;
    for (size_t i = 0; i < rank; i++) {
        a->shape[i] = shape[i];
        a->count *= shape[i];
    }
    a->data = hg_calloc(a->count, sizeof(double));
    if (!a->data) {
        r->code = hg_fail_memory(r->err);
        return;
    }
    memcpy(a->data, data, a->count * sizeof(double));
    r->out->count++;
}

/* Token ids are needed. */
void hg_plain_need_ids(hg_plain_state *r)
{
    if (!r->in->ids || !r->in->length) hg_plain_fail(r, HANGAR_E_USAGE, "the reference needs token ids");
}

/* The layers to run of n. */
size_t hg_plain_depth(const hg_plain_state *r, size_t n)
{
    return r->in->layers && r->in->layers < n ? r->in->layers : n;
}

/* The input's sizes are within reason. */
static void check_sizes(hg_plain_state *r)
{
    const hg_ref_input *in = r->in;
    const size_t lengths[] = {in->length,        in->source_length, in->frames / 2,
                              in->states_length, in->height,        in->width};
    for (size_t i = 0; i < HG_LEN(lengths); i++) {
        uint64_t rows = 0;
        if (!hg_mul(lengths[i], in->batch, &rows) || rows > HG_REF_LENGTH_MAX) {
            hg_plain_fail(r, HANGAR_E_LIMIT, "the reference takes at most %zu positions", HG_REF_LENGTH_MAX);
        }
    }
    if (in->batch > 1024 || in->sample_count > (size_t)1 << 26) {
        hg_plain_fail(r, HANGAR_E_LIMIT, "the reference takes at most 1024 rows and 2^26 samples");
    }
}

static hangar_code run(hg_plain_state *r)
{
    const char *type = hg_json_text_or(hg_json_get(r->config, "model_type"), "");
    const struct family *f = family_of(type);
    hg_ref_input in = *r->in;
    double start = hg_now();
    if (!f) {
        return hg_fail(r->err, HANGAR_E_UNSUPPORTED, "model_type: the reference does not know \"%s\"", type);
    }
    if (!in.batch) in.batch = 1;
    r->in = &in;
    r->base = "";
    r->threads = hg_spread_threads(in.threads);
    r->until = in.seconds > 0 ? start + in.seconds : 0;
    r->maps = hg_calloc(r->ck->count, sizeof *r->maps);
    if (!r->maps) return hg_fail_memory(r->err);
    check_sizes(r);
    hg_plain_refuse(r, "quantization_config");
    if (r->code == HANGAR_OK) r->code = hg_job_check(r->job, r->err);
    if (r->code == HANGAR_OK) f->run(r, type);
    hg_plain_release(r, NULL);
    for (size_t i = 0; i < r->ck->count; i++) {
        if (r->maps[i].data) hg_map_close(&r->maps[i]);
    }
    free(r->maps);
    if (r->out) {
        r->out->work = r->work;
        r->out->seconds = hg_now() - start;
    }
    return hg_wrap(r->err, r->code, "reference");
}

/* Runs the model. */
hangar_code hg_ref_run(const hg_checkpoint *ck, const hg_jval *config, const hg_ref_input *in,
                       hangar_job *job, hg_ref_output *out, hangar_err *err)
{
    *out = (hg_ref_output){0};
    hg_plain_state r = {.ck = ck, .config = config, .in = in, .job = job, .out = out, .err = err};
    hangar_code code = run(&r);
    if (code != HANGAR_OK) hg_ref_output_deinit(out);
    return code;
}

/* The multiply-adds of a run. */
hangar_code hg_ref_work(const hg_checkpoint *ck, const hg_jval *config, const hg_ref_input *in, double *out,
                        hangar_err *err)
{
    hg_plain_state r = {.ck = ck, .config = config, .in = in, .err = err, .dry = true};
    hangar_code code = run(&r);
    *out = r.work;
    return code;
}

/* The most layers that fit into a time. */
hangar_code hg_ref_layers(const hg_checkpoint *ck, const hg_jval *config, const hg_ref_input *in,
                          double seconds, uint32_t *out, double *out_seconds, hangar_err *err)
{
    hg_ref_input some = *in;
    double all = 0, one = 0, two = 0;
    some.layers = 0;
    hangar_code code = hg_ref_work(ck, config, &some, &all, err);
    some.layers = 1;
    if (code == HANGAR_OK) code = hg_ref_work(ck, config, &some, &one, err);
    some.layers = 2;
    if (code == HANGAR_OK) code = hg_ref_work(ck, config, &some, &two, err);
    if (code != HANGAR_OK) return code;
    double left = seconds * HG_REF_SPEED - one;
    *out = 0;
    if (all > seconds * HG_REF_SPEED) {
        *out = 1;
        if (two > one && left > 0) *out += (uint32_t)fmin(left / (two - one), 1e6);
        some.layers = *out;
        code = hg_ref_work(ck, config, &some, &all, err);
    }
    if (out_seconds) *out_seconds = all / HG_REF_SPEED;
    return code;
}

/* Frees the arrays. */
void hg_ref_output_deinit(hg_ref_output *out)
{
    for (size_t i = 0; i < out->count; i++) free(out->arrays[i].data);
    *out = (hg_ref_output){0};
}

/* An array by name. */
const hg_ref_array *hg_ref_output_get(const hg_ref_output *out, const char *name)
{
    for (size_t i = 0; i < out->count; i++) {
        if (strcmp(out->arrays[i].name, name) == 0) return &out->arrays[i];
    }
    return NULL;
}
