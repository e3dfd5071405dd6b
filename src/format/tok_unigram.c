/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unigram: of all ways to cut a word into pieces the one whose scores (logarithms of probabilities) add up to the most,
 * found from left to right with the best way to each place (Viterbi). A character that no piece begins with alone costs
 * the lowest score less 10 and is unknown; unknown neighbours become one, or their bytes.
 */
#include "format/tokenizer_inner.h"

#include <math.h>
#include <stdlib.h>

#define UNKNOWN_COST 10.0

/* [["text", score], ...] */
hangar_code hg_unigram_read(hg_tokenizer *t, const hg_jval *model, hangar_err *err)
{
    const hg_jval *vocab = hg_json_get(model, "vocab");
    size_t count = hg_json_len(vocab), n = 0;
    if (!hg_json_is_array(vocab) || count == 0)
        return hg_fail(err, HANGAR_E_INVALID, "the vocabulary of a Unigram model is not a list of pieces");
    if (count > HG_TOKENIZER_IDS_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "%zu pieces, over the limit of %zu", count, HG_TOKENIZER_IDS_MAX);
    hg_tok_name *names = hg_calloc(count, sizeof *names);
    t->scores = hg_calloc(count, sizeof *t->scores);
    hangar_code code = names && t->scores ? HANGAR_OK : hg_fail_memory(err);
    double least = INFINITY;
    for (hg_json_iter it = hg_json_iter_of(vocab); code == HANGAR_OK && hg_json_next(&it);) {
        hg_str text;
        double *score = &t->scores[it.index];
        if (!hg_json_str(hg_json_at(it.val, 0), &text) || !hg_json_f64(hg_json_at(it.val, 1), score)) {
            code = hg_fail(err, HANGAR_E_INVALID, "piece %zu of the vocabulary is not a text and a score",
                           it.index);
            break;
        }
        if (*score < least) least = *score;
        code = hg_tok_set(t, text, (int64_t)it.index, err);
        if (code == HANGAR_OK && text.len > HG_TOKENIZER_PIECE_MAX)
            code = hg_fail(err, HANGAR_E_LIMIT, "piece %zu has %zu bytes, over the limit of %zu", it.index,
                           text.len, HG_TOKENIZER_PIECE_MAX);
        if (code == HANGAR_OK && text.len > 0)
            names[n++] = (hg_tok_name){t->by_id[it.index].text, (uint32_t)text.len, (int32_t)it.index};
    }
    t->unk_score = least - UNKNOWN_COST;
    if (code == HANGAR_OK) code = hg_tok_trie_build(&t->trie, names, n, err);
    free(names);
    int64_t unk = hg_json_i64_or(hg_json_get(model, "unk_id"), -1);
    if (code == HANGAR_OK && unk >= (int64_t)count)
        code = hg_fail(err, HANGAR_E_INVALID, "the unk_id %lld is no piece", (long long)unk);
    t->unk = unk < 0 ? -1 : (int32_t)unk;
    t->fallback = hg_json_bool_or(hg_json_get(model, "byte_fallback"), false);
    hg_tok_find_bytes(t, t->bpe.bytes);
    return code;
}

/* The best way to a place: its score, the last piece, and where that begins. */
typedef struct place {
    double score;
    uint32_t from; /* NOWHERE = not reached */
    int32_t id;    /* -1 = unknown */
} place;
#define NOWHERE UINT32_MAX

static void reach(place *p, double score, size_t from, int32_t id)
{
    if (p->from == NOWHERE || score > p->score) *p = (place){score, (uint32_t)from, id};
}

/* The best way to every place. */
static void walk(const hg_tokenizer *t, hg_str word, place *places)
{
    for (size_t at = 0, n; at < word.len; at += n) {
        bool single = false;
        double so_far = places[at].score;
        uint32_t node = 0;
        n = hg_uni_len(word.ptr + at);
        for (size_t i = at; i < word.len; i++) {
            node = hg_tok_trie_next(&t->trie, node, (uint8_t)word.ptr[i]);
            if (node == 0) break;
            int32_t id = t->trie.nodes[node].id;
            if (id < 0) continue;
            reach(&places[i + 1], t->scores[id] + so_far, at, id);
            single = single || i + 1 - at == n;
        }
        if (!single) reach(&places[at + n], t->unk_score + so_far, at, -1);
    }
}

/* Text that no piece stands for. */
static hangar_code put_unknown(const hg_tokenizer *t, hg_str text, hg_tok_list *out, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    bool bytes = t->fallback;
    for (size_t i = 0; i < text.len && bytes; i++) bytes = t->bpe.bytes[(uint8_t)text.ptr[i]] >= 0;
    for (size_t i = 0; i < text.len && bytes && code == HANGAR_OK; i++)
        code = hg_tok_push(out, t->bpe.bytes[(uint8_t)text.ptr[i]], err);
    if (bytes) return code;
    if (t->unk < 0)
        return hg_fail(err, HANGAR_E_INVALID, "a character without a token, and no token for the unknown");
    return hg_tok_push(out, t->unk, err);
}

hangar_code hg_unigram_encode(const hg_tokenizer *t, hg_str word, hg_tok_list *out, hangar_err *err)
{
    if (word.len == 0) return HANGAR_OK;
    if (word.len >= NOWHERE) return hg_fail(err, HANGAR_E_LIMIT, "a word of %zu bytes", word.len);
    place *places = hg_calloc(word.len + 1, sizeof *places);
    if (!places) return hg_fail_memory(err);
    for (size_t i = 1; i <= word.len; i++) places[i].from = NOWHERE;
    walk(t, word, places);
    /* Back along the best way, turning the chain round: then forward over it. */
    uint32_t next = NOWHERE;
    for (uint32_t at = (uint32_t)word.len; at > 0;) {
        uint32_t from = places[at].from;
        places[at].from = next;
        next = at;
        at = from;
    }
    hangar_code code = HANGAR_OK;
    size_t begin = 0, unknown = NOWHERE; /* where unknown text begins that is not yet put */
    for (uint32_t at = next; at != NOWHERE && code == HANGAR_OK; begin = at, at = places[at].from) {
        bool known = places[at].id >= 0 && places[at].id != t->unk;
        if (!known && unknown == NOWHERE) unknown = begin;
        if (known && unknown != NOWHERE) {
            code = put_unknown(t, (hg_str){word.ptr + unknown, begin - unknown}, out, err);
            unknown = NOWHERE;
        }
        if (known && code == HANGAR_OK) code = hg_tok_push(out, places[at].id, err);
    }
    if (code == HANGAR_OK && unknown != NOWHERE)
        code = put_unknown(t, (hg_str){word.ptr + unknown, word.len - unknown}, out, err);
    free(places);
    return code;
}
