/* SPDX-License-Identifier: Apache-2.0 */
#include "format/begun.h"

#include "base/mem.h"

#include <stdlib.h>

hangar_code hg_ids64_add(hg_ids64 *list, int64_t id, hangar_err *err)
{
    if (!hg_grow((void **)&list->ids, &list->cap, list->count + 1, sizeof *list->ids))
        return hg_fail_memory(err);
    list->ids[list->count++] = id;
    return HANGAR_OK;
}

void hg_ids64_deinit(hg_ids64 *list)
{
    free(list->ids);
    *list = (hg_ids64){0};
}

/* The bytes of a token that stands at `from`: a space that tokenizers put before a text does not count there. */
static hangar_code piece_at(const hg_begun *b, size_t from, int64_t id, hg_buf *work, hg_str *out,
                            hangar_err *err)
{
    hg_buf_reset(work);
    hangar_code code = b->reader->piece(b->reader->ctx, id, work, err);
    if (code == HANGAR_OK) code = hg_buf_check(work, err);
    *out = hg_buf_view(work);
    bool own = from < b->text.len && b->text.ptr[from] == ' ';
    if (from == 0 && !own && out->len > 0 && out->ptr[0] == ' ') *out = (hg_str){out->ptr + 1, out->len - 1};
    return code;
}

/* Notes where each id from the `at`-th on ends; *out_exact: they make up the rest of the text and nothing else. */
static hangar_code measure(hg_begun *b, size_t at, bool *out_exact, hangar_err *err)
{
    size_t from = at > 0 ? b->ends[at - 1] : 0;
    hg_buf work;
    hangar_code code = HANGAR_OK;
    *out_exact = true;
    if (!hg_grow((void **)&b->ends, &b->ends_cap, b->ids.count + 1, sizeof *b->ends))
        return hg_fail_memory(err);
    hg_buf_init(&work, HG_TOKENIZER_TEXT_MAX);
    for (size_t i = at; i < b->ids.count && code == HANGAR_OK && *out_exact; i++) {
        hg_str piece;
        code = piece_at(b, from, b->ids.ids[i], &work, &piece, err);
        *out_exact = code == HANGAR_OK && piece.len <= b->text.len - from &&
                     (piece.len == 0 || memcmp(b->text.ptr + from, piece.ptr, piece.len) == 0);
        if (*out_exact) b->ends[i] = from += piece.len;
    }
    hg_buf_deinit(&work);
    *out_exact = *out_exact && from == b->text.len;
    return code;
}

hangar_code hg_begun_init(hg_begun *b, const hg_reader *reader, hg_str text, hangar_err *err)
{
    *b = (hg_begun){.reader = reader, .text = text, .last = -1};
    hangar_code code = reader->read(reader->ctx, text, HG_READ_PERSON, &b->ids, err);
    if (code == HANGAR_OK) code = measure(b, 0, &b->exact, err);
    if (code != HANGAR_OK || b->exact || text.len < 2 || text.ptr[0] != ' ') return code;
    /* Of a tokenizer that puts a space before a text the text's own is one too many. */
    hg_ids64 whole = b->ids;
    b->ids = (hg_ids64){0};
    code = reader->read(reader->ctx, (hg_str){text.ptr + 1, text.len - 1}, HG_READ_PERSON, &b->ids, err);
    if (code == HANGAR_OK) code = measure(b, 0, &b->exact, err);
    if (code == HANGAR_OK && !b->exact) {
        hg_ids64 swap = b->ids;
        b->ids = whole;
        whole = swap;
    }
    hg_ids64_deinit(&whole);
    return code;
}

void hg_begun_deinit(hg_begun *b)
{
    hg_ids64_deinit(&b->ids);
    free(b->ends);
    *b = (hg_begun){0};
}

/* Reads the text behind `from` anew, behind the first `at` ids and `id`; false when the tokenizer does not read it so that it fits. */
static hangar_code read_rest(hg_begun *b, size_t at, int64_t id, size_t from, bool *out_done, hangar_err *err)
{
    const hg_str rest = {b->text.ptr + from, b->text.len - from};
    hg_ids64 before = b->ids;
    hangar_code code = HANGAR_OK;
    *out_done = false;
    b->ids = (hg_ids64){0};
    /* As it is, or without the space that the tokenizer adds itself. */
    for (int trial = 0; trial < 2 && code == HANGAR_OK && !*out_done; trial++) {
        if (trial == 1 && (rest.len < 2 || rest.ptr[0] != ' ')) break;
        b->ids.count = 0;
        for (size_t i = 0; i < at && code == HANGAR_OK; i++) code = hg_ids64_add(&b->ids, before.ids[i], err);
        if (code == HANGAR_OK) code = hg_ids64_add(&b->ids, id, err);
        hg_ids64 more = {0};
        if (code == HANGAR_OK)
            code = b->reader->read(b->reader->ctx, (hg_str){rest.ptr + trial, rest.len - (size_t)trial},
                                   HG_READ_PERSON, &more, err);
        for (size_t i = 0; i < more.count && code == HANGAR_OK; i++)
            code = hg_ids64_add(&b->ids, more.ids[i], err);
        hg_ids64_deinit(&more);
        if (code == HANGAR_OK) code = measure(b, at, out_done, err);
    }
    if (*out_done) {
        hg_ids64_deinit(&before);
        return code;
    }
    hg_ids64_deinit(&b->ids);
    b->ids = before;
    bool same = false;
    return code == HANGAR_OK ? measure(b, at, &same, err) : code;
}

hangar_code hg_begun_prefer(hg_begun *b, size_t at, int64_t id, bool *out_changed, hangar_err *err)
{
    *out_changed = false;
    if (!b->exact || b->ids.ids[at] == id || b->checks >= HG_BEGUN_CHECKS_MAX) return HANGAR_OK;
    b->checks++;
    size_t from = at > 0 ? b->ends[at - 1] : 0, left = b->text.len - from;
    hg_buf work;
    hg_str piece;
    hg_buf_init(&work, HG_TOKENIZER_TEXT_MAX);
    hangar_code code = piece_at(b, from, id, &work, &piece, err);
    size_t common = piece.len < left ? piece.len : left;
    if (code == HANGAR_OK && common > 0 && memcmp(b->text.ptr + from, piece.ptr, common) == 0) {
        if (piece.len > left) {
            b->ids.count = at;
            b->beyond = left;
            b->fresh = piece.len - left;
            b->last = id;
            *out_changed = true;
        } else {
            code = read_rest(b, at, id, from + piece.len, out_changed, err);
        }
    }
    hg_buf_deinit(&work);
    return code;
}
