/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WordPiece: the longest known piece from the left, again and again, with a prefix ("##") before all but the first. A
 * word with a part that no piece fits is unknown as a whole. Two trees are walked: of all pieces, for the first one, and
 * of those that have the prefix, without it.
 */
#include "format/tokenizer_inner.h"

#include <stdlib.h>

hangar_code hg_wordpiece_seal(hg_tokenizer *t, hg_str prefix, hangar_err *err)
{
    hg_tok_name *names = hg_calloc(t->size, sizeof *names);
    if (!names) return hg_fail_memory(err);
    size_t all = 0, rest = 0;
    for (size_t i = 0; i < t->size; i++) {
        const hg_tok_entry *e = &t->by_id[i];
        if (e->text && e->len > 0 && e->len <= HG_TOKENIZER_PIECE_MAX)
            names[all++] = (hg_tok_name){e->text, e->len, (int32_t)i};
    }
    hangar_code code = hg_tok_trie_build(&t->trie, names, all, err);
    for (size_t i = 0; i < t->size; i++) {
        const hg_tok_entry *e = &t->by_id[i];
        hg_str text = {e->text, e->len};
        if (e->text && e->len > prefix.len && e->len <= HG_TOKENIZER_PIECE_MAX && hg_str_starts(text, prefix))
            names[rest++] = (hg_tok_name){e->text + prefix.len, e->len - (uint32_t)prefix.len, (int32_t)i};
    }
    if (code == HANGAR_OK) code = hg_tok_trie_build(&t->rest, names, rest, err);
    free(names);
    return code;
}

/* Number of characters, counted no further than `enough`. */
static size_t count_chars(hg_str s, size_t enough)
{
    size_t count = 0;
    for (size_t i = 0; i < s.len && count <= enough; i++) count += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
    return count;
}

/* The longest piece that `word` begins with, at the end of a character; its length in *len. -1 when there is none. */
static int32_t longest_piece(const hg_tok_trie *trie, hg_str word, size_t *len)
{
    int32_t found = -1;
    uint32_t node = 0;
    for (size_t i = 0; i < word.len; i++) {
        node = hg_tok_trie_next(trie, node, (uint8_t)word.ptr[i]);
        if (node == 0) break;
        bool whole = i + 1 == word.len || ((unsigned char)word.ptr[i + 1] & 0xc0) != 0x80;
        if (trie->nodes[node].id < 0 || !whole) continue;
        found = trie->nodes[node].id;
        *len = i + 1;
    }
    return found;
}

hangar_code hg_wordpiece_encode(const hg_tokenizer *t, hg_str word, hg_tok_list *out, hangar_err *err)
{
    size_t from = out->len, at = 0;
    bool known = count_chars(word, t->max_word) <= t->max_word;
    hangar_code code = HANGAR_OK;
    while (known && at < word.len && code == HANGAR_OK) {
        size_t len = 0;
        int32_t id =
            longest_piece(at == 0 ? &t->trie : &t->rest, (hg_str){word.ptr + at, word.len - at}, &len);
        known = id >= 0;
        if (known) code = hg_tok_push(out, id, err);
        at += len;
    }
    if (!known && code == HANGAR_OK) {
        out->len = from;
        code = hg_tok_push(out, t->unk, err);
    }
    return code;
}
