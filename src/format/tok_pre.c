/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pre-tokenizers: the text as pieces that no token crosses. A step takes the pieces one by one, cuts each by what it
 * looks for (a pattern, or a kind of character), and keeps, joins or drops the parts by its behavior; those that change
 * the text (bytes as characters, spaces as another character) write a new one.
 */
#include "format/tokenizer_inner.h"

#include <stdlib.h>

/* ---- cutting ---- */

/* Each character that `is` accepts alone, and the runs between. */
static hangar_code cut_by_char(hg_str text, bool (*is)(uint32_t), hg_tok_spans *out, hangar_err *err)
{
    size_t from = 0, at = 0;
    uint32_t c;
    hangar_code code = HANGAR_OK;
    for (size_t n; code == HANGAR_OK && at < text.len; at += n) {
        n = hg_utf8_next((hg_str){text.ptr + at, text.len - at}, &c);
        if (n == 0) break;
        if (!is(c)) continue;
        if (at > from) code = hg_tok_spans_add(out, from, at, false, err);
        if (code == HANGAR_OK) code = hg_tok_spans_add(out, at, at + n, true, err);
        from = at + n;
    }
    return code == HANGAR_OK && from < text.len ? hg_tok_spans_add(out, from, text.len, false, err) : code;
}

/* Whitespace's \w+|[^\w\s]+ : runs of word characters, and of what is neither that nor white; white is no match. */
static hangar_code cut_words(hg_str text, hg_tok_spans *out, hangar_err *err)
{
    size_t from = 0, at = 0;
    int before = -1;
    uint32_t c;
    hangar_code code = HANGAR_OK;
    for (size_t n; code == HANGAR_OK && at < text.len; at += n) {
        n = hg_utf8_next((hg_str){text.ptr + at, text.len - at}, &c);
        if (n == 0) break;
        int now = hg_uni_word(c) ? 1 : hg_uni_space(c) ? 0 : 2;
        if (now != before && at > from) {
            code = hg_tok_spans_add(out, from, at, before == 0, err);
            from = at;
        }
        before = now;
    }
    return code == HANGAR_OK && from < text.len ? hg_tok_spans_add(out, from, text.len, before == 0, err)
                                                : code;
}

/* Every n characters. */
static hangar_code cut_length(hg_str text, size_t count, hg_tok_spans *out, hangar_err *err)
{
    size_t from = 0, at = 0, have = 0;
    hangar_code code = HANGAR_OK;
    while (at < text.len && code == HANGAR_OK) {
        at += hg_uni_len(text.ptr + at);
        if (++have < count && at < text.len) continue;
        code = hg_tok_spans_add(out, from, at, false, err);
        from = at;
        have = 0;
    }
    return code;
}

/* ---- behavior ---- */

static bool is_isolated(uint32_t c)
{
    return hg_uni_punct(c);
}

/* What `behavior` makes of the parts, in place. An empty span (an empty match) goes. */
static void behave(hg_tok_spans *s, hg_tok_behavior behavior)
{
    size_t to = 0;
    bool before = false;
    for (size_t i = 0; i < s->count; i++) {
        hg_tok_span span = s->items[i];
        bool join = (behavior == HG_TOK_CONTIGUOUS && span.match == before) ||
                    (behavior == HG_TOK_WITH_PREVIOUS && span.match && !before);
        before = span.match;
        if (behavior == HG_TOK_REMOVED && span.match) continue;
        if (join && to > 0) s->items[to - 1].end = span.end;
        else s->items[to++] = span;
    }
    s->count = to;
}

/* The same for MergedWithNext, which looks from the end. */
static void behave_next(hg_tok_spans *s)
{
    size_t to = s->count;
    bool before = false;
    for (size_t i = s->count; i-- > 0;) {
        hg_tok_span span = s->items[i];
        if (span.match && !before && to < s->count) s->items[to].start = span.start;
        else s->items[--to] = span;
        before = span.match;
    }
    memmove(s->items, s->items + to, (s->count - to) * sizeof *s->items);
    s->count -= to;
}

/* ---- steps ---- */

/* One step under way: the pieces before and after. */
typedef struct work {
    const hg_tok_step *step;
    hg_tok_search search;
    hg_tok_spans cuts;
    hg_tok_pieces *out;
} work;

static hangar_code cut(work *w, hg_str text, hangar_err *err)
{
    const hg_tok_step *s = w->step;
    switch (s->kind) {
    case HG_PRE_BERT:
    case HG_PRE_SPACE: return cut_by_char(text, hg_uni_space, &w->cuts, err);
    case HG_PRE_WORDS: return cut_words(text, &w->cuts, err);
    case HG_PRE_DIGITS: return cut_by_char(text, hg_uni_numeric, &w->cuts, err);
    case HG_PRE_PUNCT: return cut_by_char(text, hg_uni_punct, &w->cuts, err);
    case HG_PRE_LENGTH: return cut_length(text, s->n, &w->cuts, err);
    default: break;
    }
    if (!s->regex) return text.len > 0 ? hg_tok_spans_add(&w->cuts, 0, text.len, false, err) : HANGAR_OK;
    hangar_code code = hg_tok_search_run(&w->search, text, &w->cuts, err);
    if (s->kind == HG_PRE_SPLIT && s->a)
        for (size_t i = 0; i < w->cuts.count; i++) w->cuts.items[i].match = !w->cuts.items[i].match;
    return code;
}

/* Metaspace's pieces: each begins with the replacement character. */
static hangar_code cut_meta(work *w, hg_str text, hangar_err *err)
{
    size_t from = 0, len = w->step->text_len;
    hangar_code code = HANGAR_OK;
    if (!w->step->a) return text.len > 0 ? hg_tok_spans_add(&w->cuts, 0, text.len, false, err) : HANGAR_OK;
    for (size_t at = 0; at + len <= text.len && code == HANGAR_OK;) {
        const char *hit = memmem(text.ptr + at, text.len - at, w->step->text, len);
        if (!hit) break;
        size_t start = (size_t)(hit - text.ptr);
        if (start > from) code = hg_tok_spans_add(&w->cuts, from, start, false, err);
        if (code == HANGAR_OK) code = hg_tok_spans_add(&w->cuts, start, start + len, true, err);
        from = at = start + len;
    }
    if (code == HANGAR_OK && from < text.len) code = hg_tok_spans_add(&w->cuts, from, text.len, false, err);
    behave_next(&w->cuts);
    return code;
}

/* The text of a piece as the step's cutting wants to see it, into scratch or as it is. */
static hg_str prepare(const hg_tok_step *s, hg_str text, bool first, hg_buf *scratch)
{
    hg_buf_reset(scratch);
    if (s->kind == HG_PRE_BYTES && s->a && text.ptr[0] != ' ') {
        hg_buf_putc(scratch, ' ');
        hg_buf_str(scratch, text);
        return hg_buf_view(scratch);
    }
    if (s->kind != HG_PRE_METASPACE) return text;
    hg_str mark = {s->text, s->text_len};
    bool wanted = s->n == HG_TOK_ALWAYS || (s->n == HG_TOK_FIRST && first);
    if (wanted && text.ptr[0] != ' ' && !hg_str_starts(text, mark)) hg_buf_str(scratch, mark);
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == ' ') hg_buf_str(scratch, mark);
        else hg_buf_putc(scratch, text.ptr[i]);
    }
    return hg_buf_view(scratch);
}

/* Puts the parts of one piece behind what is there. */
static hangar_code put_parts(work *w, hg_str text, bool first, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; i < w->cuts.count && code == HANGAR_OK; i++) {
        hg_tok_span span = w->cuts.items[i];
        hg_str part = {text.ptr + span.start, span.end - span.start};
        if (part.len == 0) continue;
        size_t from = w->out->text.len;
        if (w->step->kind == HG_PRE_BYTES) hg_bpe_to_chars(part, &w->out->text);
        else hg_buf_str(&w->out->text, part);
        code = hg_buf_check(&w->out->text, err);
        if (code == HANGAR_OK)
            code = hg_tok_spans_add(&w->out->spans, from, w->out->text.len, first && span.start == 0, err);
    }
    return code;
}

/* BertPreTokenizer's second cut, at punctuation, of each part of the first. */
static hangar_code cut_marks(work *w, hg_str text, hangar_err *err)
{
    hg_tok_spans words = w->cuts, marks = {0};
    hangar_code code = HANGAR_OK;
    w->cuts = (hg_tok_spans){0};
    for (size_t i = 0; i < words.count && code == HANGAR_OK; i++) {
        hg_tok_span word = words.items[i];
        marks.count = 0;
        code = cut_by_char((hg_str){text.ptr + word.start, word.end - word.start}, is_isolated, &marks, err);
        for (size_t k = 0; k < marks.count && code == HANGAR_OK; k++)
            code = hg_tok_spans_add(&w->cuts, word.start + marks.items[k].start,
                                    word.start + marks.items[k].end, false, err);
    }
    free(marks.items);
    free(words.items);
    return code;
}

/* One piece through the step. */
static hangar_code one_piece(work *w, hg_str text, bool first, hg_buf *scratch, hangar_err *err)
{
    const hg_tok_step *s = w->step;
    hg_tok_behavior behavior = s->kind == HG_PRE_BYTES || s->kind == HG_PRE_LENGTH ? HG_TOK_ISOLATED
                               : s->kind == HG_PRE_BERT || s->kind == HG_PRE_SPACE || s->kind == HG_PRE_WORDS
                                   ? HG_TOK_REMOVED
                                   : s->behavior;
    text = prepare(s, text, first, scratch);
    hangar_code code = hg_buf_check(scratch, err);
    if (code != HANGAR_OK) return code;
    w->cuts.count = 0;
    if (s->kind == HG_PRE_METASPACE) {
        code = cut_meta(w, text, err);
    } else {
        code = cut(w, text, err);
        if (behavior == HG_TOK_WITH_NEXT) behave_next(&w->cuts);
        else behave(&w->cuts, behavior);
    }
    if (code == HANGAR_OK && s->kind == HG_PRE_BERT) code = cut_marks(w, text, err);
    return code == HANGAR_OK ? put_parts(w, text, first, err) : code;
}

static hangar_code apply(const hg_tok_step *step, const hg_tok_pieces *in, hg_tok_pieces *out,
                         hangar_err *err)
{
    work w = {.step = step, .out = out};
    hg_buf scratch;
    hangar_code code = HANGAR_OK;
    if (step->regex) code = hg_tok_search_init(&w.search, step->regex, in->text.len, err);
    if (code != HANGAR_OK) return code;
    hg_buf_init(&scratch, HG_TOK_WORK_MAX);
    for (size_t i = 0; i < in->spans.count && code == HANGAR_OK; i++) {
        hg_tok_span span = in->spans.items[i];
        hg_str text = {in->text.data + span.start, span.end - span.start};
        code = one_piece(&w, text, span.match, &scratch, err);
    }
    hg_buf_deinit(&scratch);
    free(w.cuts.items);
    if (step->regex) hg_tok_search_deinit(&w.search);
    return code;
}

hangar_code hg_tok_pre_split(const hg_tokenizer *t, hg_str text, bool first, hg_tok_pieces *out,
                             hangar_err *err)
{
    hg_tok_pieces next = {0};
    hg_buf_init(&next.text, HG_TOK_WORK_MAX);
    hg_buf_reset(&out->text);
    out->spans.count = 0;
    if (text.len == 0) return HANGAR_OK;
    hg_buf_str(&out->text, text);
    hangar_code code = hg_buf_check(&out->text, err);
    if (code == HANGAR_OK) code = hg_tok_spans_add(&out->spans, 0, text.len, first, err);
    for (size_t i = 0; i < t->pre.count && code == HANGAR_OK; i++) {
        hg_buf_reset(&next.text);
        next.spans.count = 0;
        code = apply(&t->pre.items[i], out, &next, err);
        hg_tok_pieces swap = *out;
        *out = next;
        next = swap;
    }
    hg_buf_deinit(&next.text);
    free(next.spans.items);
    return code;
}
