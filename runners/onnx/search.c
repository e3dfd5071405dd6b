/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Greedy search, and beam search with length-normalised scores (sum of log probabilities / number of tokens,
 * the end included). Both ask the same rules. A search ends when the end token wins, when no unfinished beam
 * can beat the finished ones, or at max_tokens.
 */
#include "runner.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The probability of one token in a row of scores. */
static double probability(const float *scores, size_t vocab, int64_t id)
{
    return id >= 0 && (size_t)id < vocab ? exp(scores[id] - hg_log_sum(scores, vocab)) : 0;
}

/* The prompt in; *last is the row of scores behind it (a copy, the caller's). */
static hangar_code prefill(const hg_search *s, hg_decoder *d, float **last, size_t *vocab, double *no_speech,
                           hangar_err *err)
{
    const float *logits = NULL;
    hangar_code code = hg_decoder_step(d, s->prompt, s->prompt_len, &logits, vocab, err);
    if (code != HANGAR_OK) return code;
    /* the model was trained to say so right behind the first token */
    *no_speech = probability(logits, *vocab, s->no_speech);
    *last = hg_calloc(*vocab, sizeof **last);
    if (!*last) return hg_fail_memory(err);
    memcpy(*last, logits + (s->prompt_len - 1) * *vocab, *vocab * sizeof **last);
    return HANGAR_OK;
}

/* ---- greedy ---- */

/* The best token of a row and its log probability among the allowed ones. */
static int64_t best_token(const float *scores, size_t vocab, double *out_log)
{
    size_t best = 0;
    for (size_t i = 1; i < vocab; i++)
        if (scores[i] > scores[best]) best = i;
    *out_log = scores[best] - hg_log_sum(scores, vocab);
    return (int64_t)best;
}

static hangar_code greedy(const hg_search *s, hg_decoder *d, float *row, size_t vocab, hg_found *out,
                          hangar_err *err)
{
    double sum = 0;
    for (;;) {
        double log_p = 0;
        hg_rules_apply(s->rules, out->tokens, out->count, row, vocab);
        int64_t token = best_token(row, vocab, &log_p);
        if (!isfinite(log_p)) return hg_fail(err, HANGAR_E_ENGINE, "the decoder's scores are not finite");
        sum += log_p;
        out->average = sum / (double)(out->count + 1);
        if (token == s->rules->eos) return HANGAR_OK;
        out->tokens[out->count++] = token;
        if (s->prompt_len + out->count >= s->max_tokens) return HANGAR_OK;
        const float *logits = NULL;
        size_t got = 0;
        hangar_code code = s->between(s->ctx, err);
        if (code == HANGAR_OK) code = hg_decoder_step(d, &token, 1, &logits, &got, err);
        if (code == HANGAR_OK && got != vocab)
            code = hg_fail(err, HANGAR_E_INVALID, "the decoder's vocabulary changed");
        if (code != HANGAR_OK) return code;
        memcpy(row, logits, vocab * sizeof *row);
    }
}

/* ---- beams ---- */

/* An answer on its way: score is the sum of log probabilities. */
typedef struct beam {
    int64_t *tokens;
    size_t count;
    double score;
} beam;

/* A way to go on: one more token for one beam. */
typedef struct option {
    size_t from;
    int64_t token;
    double score;
} option;

typedef struct field {
    const hg_search *s;
    size_t room; /* tokens of a beam */
    beam running[HG_ONNX_BEAMS_MAX];
    beam next[HG_ONNX_BEAMS_MAX];
    beam done[HG_ONNX_BEAMS_MAX]; /* score: normalised */
    size_t running_count, done_count;
    option options[2 * HG_ONNX_BEAMS_MAX]; /* the best, best first */
    size_t option_count;
} field;

static void field_free(field *f)
{
    for (size_t i = 0; f && i < HG_ONNX_BEAMS_MAX; i++) {
        free(f->running[i].tokens);
        free(f->next[i].tokens);
        free(f->done[i].tokens);
    }
    free(f);
}

static field *field_new(const hg_search *s)
{
    field *f = hg_calloc(1, sizeof *f);
    if (!f) return NULL;
    f->s = s;
    f->room = s->max_tokens;
    bool ok = true;
    for (size_t i = 0; i < s->beams; i++) {
        f->running[i].tokens = hg_calloc(f->room, sizeof(int64_t));
        f->next[i].tokens = hg_calloc(f->room, sizeof(int64_t));
        f->done[i].tokens = hg_calloc(f->room, sizeof(int64_t));
        ok = ok && f->running[i].tokens && f->next[i].tokens && f->done[i].tokens;
    }
    f->running_count = 1;
    if (ok) return f;
    field_free(f);
    return NULL;
}

/* Keeps an option when it is among the best 2 * beams. */
static void offer(field *f, option o)
{
    size_t max = 2 * f->s->beams, at = f->option_count;
    if (at == max && o.score <= f->options[at - 1].score) return;
    if (at == max) at--;
    while (at > 0 && f->options[at - 1].score < o.score) {
        f->options[at] = f->options[at - 1];
        at--;
    }
    f->options[at] = o;
    if (f->option_count < max) f->option_count++;
}

/* All ways to go on from one beam, by its row of scores (which is changed). */
static void offer_row(field *f, size_t from, float *row, size_t vocab)
{
    const beam *b = &f->running[from];
    double norm = hg_log_sum(row, vocab);
    if (!isfinite(norm)) return; /* scores that are no numbers are no way on */
    hg_rules_apply(f->s->rules, b->tokens, b->count, row, vocab);
    for (size_t t = 0; t < vocab; t++)
        if (isfinite(row[t])) offer(f, (option){from, (int64_t)t, b->score + row[t] - norm});
}

/* A finished answer among the best ones. */
static void finish(field *f, const beam *b, double score)
{
    size_t at = f->done_count;
    if (at == f->s->beams) {
        at = 0;
        for (size_t i = 1; i < f->done_count; i++)
            if (f->done[i].score < f->done[at].score) at = i;
        if (score <= f->done[at].score) return;
    } else {
        f->done_count++;
    }
    memcpy(f->done[at].tokens, b->tokens, b->count * sizeof *b->tokens);
    f->done[at].count = b->count;
    f->done[at].score = score;
}

/* The options become the next beams and finished answers; which row each beam came from goes to `from`. */
static void move_on(field *f, size_t *from)
{
    size_t beams = f->s->beams, count = 0;
    for (size_t i = 0; i < f->option_count && count < beams; i++) {
        const option *o = &f->options[i];
        const beam *b = &f->running[o->from];
        if (o->token == f->s->rules->eos) {
            if (i < beams) finish(f, b, o->score / (double)(b->count + 1));
            continue;
        }
        beam *n = &f->next[count];
        memcpy(n->tokens, b->tokens, b->count * sizeof *b->tokens);
        n->tokens[b->count] = o->token;
        n->count = b->count + 1;
        n->score = o->score;
        from[count++] = o->from;
    }
    for (size_t i = 0; i < beams; i++) {
        beam swap = f->running[i];
        f->running[i] = f->next[i];
        f->next[i] = swap;
    }
    f->running_count = count;
}

/* Nothing that still runs can become better than the worst of the finished. */
static bool is_decided(const field *f)
{
    if (f->running_count == 0) return true;
    if (f->done_count < f->s->beams) return false;
    double worst = INFINITY;
    for (size_t i = 0; i < f->done_count; i++) worst = fmin(worst, f->done[i].score);
    return f->running[0].score / (double)f->running[0].count <= worst;
}

/* Feeds the last token of every running beam. */
static hangar_code step_beams(field *f, hg_decoder *d, const size_t *from, size_t vocab, float *rows,
                              hangar_err *err)
{
    int64_t ids[HG_ONNX_BEAMS_MAX];
    const float *logits = NULL;
    size_t got = 0;
    for (size_t i = 0; i < f->running_count; i++) ids[i] = f->running[i].tokens[f->running[i].count - 1];
    hangar_code code = f->s->between(f->s->ctx, err);
    if (code == HANGAR_OK) code = hg_decoder_select(d, from, f->running_count, err);
    if (code == HANGAR_OK) code = hg_decoder_step(d, ids, 1, &logits, &got, err);
    if (code == HANGAR_OK && got != vocab)
        code = hg_fail(err, HANGAR_E_INVALID, "the decoder's vocabulary changed");
    if (code == HANGAR_OK) memcpy(rows, logits, f->running_count * vocab * sizeof *rows);
    return code;
}

static hangar_code beam_loop(field *f, hg_decoder *d, float *rows, size_t vocab, hangar_err *err)
{
    for (;;) {
        size_t from[HG_ONNX_BEAMS_MAX];
        f->option_count = 0;
        for (size_t i = 0; i < f->running_count; i++) offer_row(f, i, rows + i * vocab, vocab);
        if (f->option_count == 0) return hg_fail(err, HANGAR_E_ENGINE, "the decoder's scores are not finite");
        move_on(f, from);
        if (is_decided(f)) return HANGAR_OK;
        if (f->s->prompt_len + f->running[0].count >= f->s->max_tokens) break;
        hangar_code code = step_beams(f, d, from, vocab, rows, err);
        if (code != HANGAR_OK) return code;
    }
    for (size_t i = 0; i < f->running_count; i++)
        finish(f, &f->running[i], f->running[i].score / (double)f->running[i].count);
    return HANGAR_OK;
}

static hangar_code beams(const hg_search *s, hg_decoder *d, const float *row, size_t vocab, hg_found *out,
                         hangar_err *err)
{
    field *f = field_new(s);
    float *rows = hg_calloc(s->beams * vocab, sizeof *rows);
    hangar_code code = f && rows ? HANGAR_OK : hg_fail_memory(err);
    if (code == HANGAR_OK) {
        memcpy(rows, row, vocab * sizeof *rows);
        code = beam_loop(f, d, rows, vocab, err);
    }
    size_t best = 0;
    for (size_t i = 1; code == HANGAR_OK && i < f->done_count; i++)
        if (f->done[i].score > f->done[best].score) best = i;
    if (code == HANGAR_OK && f->done_count > 0) {
        out->count = f->done[best].count;
        out->average = f->done[best].score;
        memcpy(out->tokens, f->done[best].tokens, out->count * sizeof *out->tokens);
    }
    free(rows);
    field_free(f);
    return code;
}

hangar_code hg_search_run(const hg_search *s, hg_decoder *d, hg_found *out, hangar_err *err)
{
    *out = (hg_found){0};
    if (s->prompt_len == 0 || s->prompt_len >= s->max_tokens || s->beams < 1 || s->beams > HG_ONNX_BEAMS_MAX)
        return hg_fail(err, HANGAR_E_USAGE, "a prompt of %zu tokens, %zu allowed, %zu beams", s->prompt_len,
                       s->max_tokens, s->beams);
    out->tokens = hg_calloc(s->max_tokens, sizeof *out->tokens);
    if (!out->tokens) return hg_fail_memory(err);
    float *row = NULL;
    size_t vocab = 0;
    hangar_code code = prefill(s, d, &row, &vocab, &out->no_speech, err);
    if (code == HANGAR_OK)
        code = s->beams == 1 ? greedy(s, d, row, vocab, out, err) : beams(s, d, row, vocab, out, err);
    free(row);
    if (code != HANGAR_OK) {
        free(out->tokens);
        *out = (hg_found){0};
    }
    return code;
}
