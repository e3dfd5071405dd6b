/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Added tokens in a text: the leftmost one, of several the longest. Those that are not "normalized" are looked for in the
 * text as it comes, the others, in their normalized form, in what the normalizers make of the rest. One that wants to be
 * a single word and is not, stays text, and nothing shorter is looked for in its place: that is how `tokenizers` does it.
 */
#include "format/tokenizer_inner.h"

#include <stdlib.h>

/* The texts of the normalized ones lie in one buffer; their places are kept until it does not grow any more. */
static hangar_code normalized_names(hg_tokenizer *t, hg_tok_name *names, size_t *count, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    hg_buf one;
    hg_buf_init(&one, HG_TOK_WORK_MAX);
    hg_buf_init(&t->texts, 2 * HG_TOKENIZER_ADDED_MAX * HG_TOKENIZER_PIECE_MAX);
    for (size_t i = 0; i < t->added_count && code == HANGAR_OK; i++) {
        const hg_tok_entry *e = &t->by_id[t->added[i]];
        if (!e->normalized) continue;
        hg_buf_reset(&one);
        code = hg_tok_normalize(t, (hg_str){e->text, e->len}, &one, err);
        if (code == HANGAR_OK && one.len > HG_TOKENIZER_PIECE_MAX)
            code = hg_fail(err, HANGAR_E_LIMIT, "an added token of %zu bytes", one.len);
        if (code != HANGAR_OK || one.len == 0) continue;
        names[*count] = (hg_tok_name){NULL, (uint32_t)one.len, t->added[i]};
        ++*count;
        hg_buf_str(&t->texts, hg_buf_view(&one));
    }
    hg_buf_deinit(&one);
    if (code == HANGAR_OK) code = hg_buf_check(&t->texts, err);
    const char *text = t->texts.data;
    for (size_t i = 0; i < *count && code == HANGAR_OK; text += names[i++].len) names[i].text = text;
    return code;
}

hangar_code hg_tok_added_seal(hg_tokenizer *t, hangar_err *err)
{
    if (t->added_count == 0) return HANGAR_OK;
    hg_tok_name *names = hg_calloc(t->added_count, sizeof *names);
    if (!names) return hg_fail_memory(err);
    size_t count = 0;
    for (size_t i = 0; i < t->added_count; i++) {
        const hg_tok_entry *e = &t->by_id[t->added[i]];
        if (!e->normalized) names[count++] = (hg_tok_name){e->text, e->len, t->added[i]};
    }
    hangar_code code = hg_tok_trie_build(&t->raw, names, count, err);
    count = 0;
    if (code == HANGAR_OK) code = normalized_names(t, names, &count, err);
    if (code == HANGAR_OK) code = hg_tok_trie_build(&t->normalized, names, count, err);
    free(names);
    return code;
}

/* The character before `at`; false at the beginning. */
static bool char_before(hg_str text, size_t at, uint32_t *c, size_t *len)
{
    if (at == 0) return false;
    size_t from = at - 1;
    while (from > 0 && ((unsigned char)text.ptr[from] & 0xc0) == 0x80) from--;
    *len = at - from;
    return hg_utf8_next((hg_str){text.ptr + from, at - from}, c) > 0;
}

static bool char_after(hg_str text, size_t at, uint32_t *c, size_t *len)
{
    *len = hg_utf8_next((hg_str){text.ptr + at, text.len - at}, c);
    return *len > 0;
}

/* The longest token that stands at `at`, or -1. */
static int32_t longest_at(const hg_tok_trie *trie, hg_str text, size_t at, size_t *end)
{
    int32_t found = -1;
    uint32_t node = 0;
    for (size_t i = at; i < text.len; i++) {
        node = hg_tok_trie_next(trie, node, (uint8_t)text.ptr[i]);
        if (node == 0) break;
        if (trie->nodes[node].id < 0) continue;
        found = trie->nodes[node].id;
        *end = i + 1;
    }
    return found;
}

bool hg_tok_added_next(const hg_tokenizer *t, const hg_tok_trie *trie, hg_str text, size_t from, size_t at,
                       hg_tok_hit *hit)
{
    uint32_t c;
    size_t len;
    if (!trie->nodes) return false;
    while (at < text.len) {
        size_t start = at, end = at;
        int32_t id = trie->root[(uint8_t)text.ptr[at]] == 0 ? -1 : longest_at(trie, text, at, &end);
        if (id < 0) {
            at++;
            continue;
        }
        const hg_tok_entry *e = &t->by_id[id];
        at = end;
        if (e->single_word && ((char_before(text, start, &c, &len) && hg_uni_word(c)) ||
                               (char_after(text, end, &c, &len) && hg_uni_word(c))))
            continue;
        while (e->lstrip && start > from && char_before(text, start, &c, &len) && hg_uni_space(c))
            start -= len;
        while (e->rstrip && char_after(text, end, &c, &len) && hg_uni_space(c)) end += len;
        *hit = (hg_tok_hit){id, start < from ? from : start, end};
        return true;
    }
    return false;
}
