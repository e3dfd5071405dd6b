/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which tokens may come next, as Whisper was published and as transformers does it. Times come in pairs (end
 * of one segment, begin of the next), never go back, begin within the first `max_initial`; when all times
 * together are likelier than the likeliest word, a time it is.
 */
#include "runner.h"

#include <math.h>

double hg_log_sum(const float *scores, size_t count)
{
    float top = -INFINITY;
    for (size_t i = 0; i < count; i++)
        if (scores[i] > top) top = scores[i];
    if (!isfinite(top)) return top;
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += exp((double)scores[i] - top);
    return top + log(sum);
}

static void forbid(float *scores, size_t from, size_t to, size_t vocab)
{
    for (size_t i = from; i < to && i < vocab; i++) scores[i] = -INFINITY;
}

static void forbid_all(float *scores, const int64_t *ids, size_t count, size_t vocab)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] >= 0) forbid(scores, (size_t)ids[i], (size_t)ids[i] + 1, vocab);
}

/* What the times so far allow. */
static void pair_rules(const hg_rules *r, const int64_t *tokens, size_t count, float *scores, size_t vocab)
{
    int64_t begin = r->no_timestamps + 1, last = -1;
    bool was_time = count >= 1 && tokens[count - 1] >= begin;
    bool before_was_time = count < 2 || tokens[count - 2] >= begin;
    if (was_time && before_was_time)
        forbid(scores, (size_t)begin, vocab, vocab);             /* a pair is complete: a word */
    else if (was_time) forbid(scores, 0, (size_t)r->eos, vocab); /* half a pair: the other half, or the end */
    for (size_t i = 0; i < count; i++)
        if (tokens[i] >= begin) last = tokens[i];
    /* the same time again only as the second half of a pair */
    if (last >= 0)
        forbid(scores, (size_t)begin, (size_t)last + (was_time && !before_was_time ? 0 : 1), vocab);
}

static void timestamp_rules(const hg_rules *r, const int64_t *tokens, size_t count, float *scores,
                            size_t vocab)
{
    size_t begin = (size_t)r->no_timestamps + 1;
    if (begin >= vocab) return;
    scores[r->no_timestamps] = -INFINITY;
    pair_rules(r, tokens, count, scores, vocab);
    if (count == 0) {
        forbid(scores, 0, begin, vocab);
        if (r->max_initial >= 0) forbid(scores, begin + (size_t)r->max_initial + 1, vocab, vocab);
    }
    float word = -INFINITY;
    for (size_t i = 0; i < begin; i++)
        if (scores[i] > word) word = scores[i];
    if (hg_log_sum(scores + begin, vocab - begin) > word) forbid(scores, 0, begin, vocab);
}

void hg_rules_apply(const hg_rules *r, const int64_t *tokens, size_t count, float *scores, size_t vocab)
{
    if (count == 0) forbid_all(scores, r->begin_suppress, r->begin_count, vocab);
    forbid_all(scores, r->suppress, r->suppress_count, vocab);
    if (r->timestamps && r->no_timestamps >= 0) timestamp_rules(r, tokens, count, scores, vocab);
}
