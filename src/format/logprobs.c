/* SPDX-License-Identifier: Apache-2.0 */
#include "format/logprobs.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

void hg_logprobs_init(hg_logprobs *l, const hg_reader *reader, unsigned top, size_t at)
{
    *l = (hg_logprobs){.reader = reader,
                       .at = at,
                       .top = top < HG_GENERATE_LOGPROBS_MAX ? top : HG_GENERATE_LOGPROBS_MAX};
}

void hg_logprobs_deinit(hg_logprobs *l)
{
    free(l->list);
    *l = (hg_logprobs){0};
}

/* Puts a token into the list of the likeliest, highest first, equal ones in the order of their ids. */
static void rank(hg_told *t, unsigned most, int64_t id, double score)
{
    unsigned at = t->top_count;
    while (at > 0 && t->top[at - 1].logprob < score) at--;
    if (at >= most) return;
    if (t->top_count < most) t->top_count++;
    for (unsigned i = t->top_count - 1; i > at; i--) t->top[i] = t->top[i - 1];
    t->top[at] = (hg_likely){id, score};
}

hangar_code hg_logprobs_note(hg_logprobs *l, const float *scores, size_t vocab, int64_t id, hangar_err *err)
{
    if (l->first == l->count) l->first = l->count = 0;
    if (!hg_grow((void **)&l->list, &l->cap, l->count + 1, sizeof *l->list)) return hg_fail_memory(err);
    hg_told *t = &l->list[l->count++];
    *t = (hg_told){.begin = l->at, .end = l->at};
    double max = -INFINITY, sum = 0;
    for (size_t i = 0; i < vocab; i++) {
        if (scores[i] > max) max = scores[i];
        if (l->top > 0 && (t->top_count < l->top || scores[i] > t->top[t->top_count - 1].logprob))
            rank(t, l->top, (int64_t)i, scores[i]);
    }
    for (size_t i = 0; i < vocab; i++) sum += exp(scores[i] - max);
    double whole = max + log(sum);
    t->chosen = (hg_likely){id, id >= 0 && (uint64_t)id < vocab ? scores[id] - whole : -INFINITY};
    for (unsigned i = 0; i < t->top_count; i++) t->top[i].logprob -= whole;
    return HANGAR_OK;
}

void hg_logprobs_place(hg_logprobs *l, size_t end)
{
    if (l->count == l->first || end <= l->at) return;
    l->list[l->count - 1].end = l->at = end;
}

/* {"token","bytes","logprob"}: the members of one token; bytes only where they are no text. */
static hangar_code write_token(const hg_logprobs *l, hg_jw *w, const hg_likely *t, hg_buf *work,
                               hangar_err *err)
{
    hg_buf_reset(work);
    hangar_code code = l->reader->piece(l->reader->ctx, t->id, work, err);
    if (code == HANGAR_OK) code = hg_buf_check(work, err);
    if (code != HANGAR_OK) return code;
    hg_str piece = hg_buf_view(work);
    hg_jw_str(w, "token", piece);
    if (!hg_utf8_valid(piece)) {
        hg_jw_arr(w, "bytes");
        for (size_t i = 0; i < piece.len; i++) hg_jw_u64(w, NULL, (unsigned char)piece.ptr[i]);
        hg_jw_end(w);
    }
    hg_jw_f64(w, "logprob", isfinite(t->logprob) ? t->logprob : HG_LOGPROB_NEVER);
    return HANGAR_OK;
}

static bool is_out(const hg_told *t, size_t upto)
{
    return t->begin < upto || t->end <= upto;
}

hangar_code hg_logprobs_write(hg_logprobs *l, hg_jw *w, size_t upto, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    hg_buf work;
    hg_buf_init(&work, HG_TOKENIZER_TEXT_MAX);
    hg_jw_arr(w, "logprobs");
    for (; l->first < l->count && code == HANGAR_OK; l->first++) {
        const hg_told *t = &l->list[l->first];
        if (!is_out(t, upto)) break;
        hg_jw_obj(w, NULL);
        code = write_token(l, w, &t->chosen, &work, err);
        hg_jw_arr(w, "top");
        for (unsigned i = 0; i < t->top_count && code == HANGAR_OK; i++) {
            hg_jw_obj(w, NULL);
            code = write_token(l, w, &t->top[i], &work, err);
            hg_jw_end(w);
        }
        hg_jw_end(w);
        hg_jw_end(w);
    }
    hg_jw_end(w);
    hg_buf_deinit(&work);
    return code;
}

void hg_logprobs_drop(hg_logprobs *l, size_t upto)
{
    while (l->first < l->count && is_out(&l->list[l->first], upto)) l->first++;
}
