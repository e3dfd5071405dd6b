/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the scores of a row to one token, in the order in which llama.cpp's samplers stand in the other runner: penalty, top k, top p,
 * min p, temperature, choice. Each filter keeps the beginning of the list sorted by score, so what is left is a beginning, too: the
 * scores become a heap, and only as many are taken from its top as the filters let through.
 */
#include "runner.h"

#include "base/clock.h"
#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void hg_sampler_init(hg_sampler *s, const hg_generate_call *call)
{
    *s = (hg_sampler){.temperature = call->temperature,
                      .top_p = call->top_p,
                      .min_p = call->min_p,
                      .repeat_penalty = call->repeat_penalty,
                      .presence_penalty = call->presence_penalty,
                      .frequency_penalty = call->frequency_penalty,
                      .top_k = call->top_k,
                      .state = (uint64_t)call->seed};
    if (call->seed < 0)
        s->state = (uint64_t)(hg_random() * 4294967296.0) << 32 | (uint64_t)(hg_random() * 4294967296.0);
}

void hg_sampler_deinit(hg_sampler *s)
{
    free(s->list);
    *s = (hg_sampler){0};
}

double hg_sampler_uniform(hg_sampler *s)
{
    s->state += 0x9E3779B97F4A7C15u;
    uint64_t z = s->state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-53;
}

/* Every token of the answer's end is made less likely: once, however often it stands there, and by frequency_penalty each time. */
static void penalize(const hg_sampler *s, float *scores, size_t vocab, const int64_t *made, size_t count)
{
    if (s->repeat_penalty == 1 && s->presence_penalty == 0 && s->frequency_penalty == 0) return;
    size_t from = count > HG_GENERATE_PENALTY_WINDOW ? count - HG_GENERATE_PENALTY_WINDOW : 0;
    for (size_t i = from; i < count; i++) {
        bool again = made[i] < 0 || (uint64_t)made[i] >= vocab;
        for (size_t j = from; j < i && !again; j++) again = made[j] == made[i];
        if (again) continue;
        size_t times = 0;
        for (size_t j = i; j < count; j++) times += made[j] == made[i];
        double score = scores[made[i]];
        score = score > 0 ? score / s->repeat_penalty : score * s->repeat_penalty;
        scores[made[i]] = (float)(score - s->presence_penalty - s->frequency_penalty * (double)times);
    }
}

/* The highest score and its first token. Scores that are no numbers, or none that is finite, are the engine's fault. */
static hangar_code highest(const float *scores, size_t vocab, size_t *out, hangar_err *err)
{
    bool found = false;
    *out = 0;
    for (size_t i = 0; i < vocab; i++) {
        if (isnan(scores[i]) || (isinf(scores[i]) && scores[i] > 0))
            return hg_fail(err, HANGAR_E_ENGINE, "the model's score for token %zu is not a number", i);
        if (isinf(scores[i]) || (found && scores[i] <= scores[*out])) continue;
        found = true;
        *out = i;
    }
    return found ? HANGAR_OK : hg_fail(err, HANGAR_E_ENGINE, "the model allows no token");
}

/* ---- a heap with the highest score on top; equal ones in the order of their ids ---- */

static bool above(const hg_candidate *a, const hg_candidate *b)
{
    return a->score > b->score || (a->score == b->score && a->id < b->id);
}

static void sink(hg_candidate *heap, size_t at, size_t count)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= count) return;
        if (child + 1 < count && above(&heap[child + 1], &heap[child])) child++;
        if (!above(&heap[child], &heap[at])) return;
        hg_candidate swap = heap[at];
        heap[at] = heap[child];
        heap[child] = swap;
        at = child;
    }
}

/* Moves the highest of heap[0, count) to heap[count - 1]. */
static void take(hg_candidate *heap, size_t count)
{
    hg_candidate top = heap[0];
    heap[0] = heap[count - 1];
    heap[count - 1] = top;
    sink(heap, 0, count - 1);
}

/* ---- the filters ---- */

/* The finite scores of a row as a heap. */
static hangar_code collect(hg_sampler *s, const float *scores, size_t vocab, size_t *out, hangar_err *err)
{
    if (!hg_grow((void **)&s->list, &s->list_cap, vocab, sizeof *s->list)) return hg_fail_memory(err);
    size_t n = 0;
    for (size_t i = 0; i < vocab; i++)
        if (isfinite(scores[i])) s->list[n++] = (hg_candidate){scores[i], (uint32_t)i};
    for (size_t i = n / 2; i-- > 0;) sink(s->list, i, n);
    *out = n;
    return HANGAR_OK;
}

/*
 * Takes what the filters let through from the heap s->list[0, n); it ends up at the array's end, the highest last. Returns how many.
 * Without a filter the order does not matter and nothing is taken.
 */
static size_t filter(hg_sampler *s, size_t n)
{
    size_t most = s->top_k > 0 && (uint64_t)s->top_k < n ? (size_t)s->top_k : n;
    double max = s->list[0].score, total = 0, sum = 0;
    if (most == n && s->top_p >= 1 && s->min_p <= 0) return n;
    size_t taken = 0;
    if (most < n) { /* top p is a share of what top k left */
        for (; taken < most; taken++) take(s->list, n - taken);
        for (size_t i = 0; i < most; i++) total += exp(s->list[n - 1 - i].score - max);
    } else {
        for (size_t i = 0; i < n; i++) total += exp(s->list[i].score - max);
    }
    for (size_t kept = 0; kept < most; kept++) {
        if (kept == taken) take(s->list, n - taken++);
        double p = exp(s->list[n - 1 - kept].score - max);
        if (kept > 0 && (sum >= s->top_p * total || p < s->min_p)) return kept;
        sum += p;
    }
    return most;
}

/* One of the candidates list[n - kept, n), each as likely as its score says at this temperature. */
static int64_t choose(hg_sampler *s, size_t n, size_t kept)
{
    const hg_candidate *end = s->list + n;
    double max = -INFINITY, total = 0, sum = 0;
    for (size_t i = 1; i <= kept; i++) max = fmax(max, (double)end[-(ptrdiff_t)i].score);
    for (size_t i = 1; i <= kept; i++) total += exp((end[-(ptrdiff_t)i].score - max) / s->temperature);
    double at = hg_sampler_uniform(s) * total;
    int64_t last = end[-1].id;
    for (size_t i = 1; i <= kept; i++) {
        double p = exp((end[-(ptrdiff_t)i].score - max) / s->temperature);
        if (p <= 0) continue;
        last = end[-(ptrdiff_t)i].id;
        sum += p;
        if (at < sum) break;
    }
    return last;
}

hangar_code hg_sampler_pick(hg_sampler *s, float *scores, size_t vocab, const int64_t *made, size_t count,
                            int64_t *out, hangar_err *err)
{
    size_t best = 0, n = 0;
    penalize(s, scores, vocab, made, count);
    hangar_code code = highest(scores, vocab, &best, err);
    *out = (int64_t)best;
    if (code != HANGAR_OK || s->temperature <= 0) return code;
    code = collect(s, scores, vocab, &n, err);
    if (code == HANGAR_OK) *out = choose(s, n, filter(s, n));
    return code;
}
