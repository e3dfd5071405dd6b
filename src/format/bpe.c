/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Byte pair encoding. A word begins as one symbol per character; the pair of neighbours with the lowest rank is merged,
 * the left one of equals first, until none is left. The symbols are a linked list in an array and the pairs that can be
 * merged a heap: n log n in the length of a word, which may be a whole text. A pair in the heap that is no longer there
 * is known by its ids having changed.
 *
 * And the alphabet of the byte-level kind: each byte is written as one printable character. The 188 bytes that are
 * printable in Latin-1 (33-126, 161-172, 174-255) stand for themselves; the other 68 follow in order from U+0100.
 */
#include "format/tokenizer_inner.h"

#include <stdlib.h>
#include <string.h>

#define FREE UINT64_MAX

/* ---- bytes as characters ---- */

static bool stands_for_itself(uint32_t c)
{
    return (c >= 33 && c <= 126) || (c >= 161 && c <= 172) || (c >= 174 && c <= 255);
}

/* The character of a byte. The ones before 33, 127 to 160, and 173 come in this order. */
static uint32_t char_of(uint8_t b)
{
    if (stands_for_itself(b)) return b;
    return 256 + (b < 33 ? b : b == 173 ? 67u : 33u + (b - 127u));
}

/* The byte that a character stands for, or -1. */
static int byte_of(uint32_t c)
{
    if (c < 256) return stands_for_itself(c) ? (int)c : -1;
    uint32_t rank = c - 256;
    if (rank < 33) return (int)rank;
    return rank < 67 ? (int)(rank - 33 + 127) : rank == 67 ? 173 : -1;
}

void hg_bpe_to_chars(hg_str bytes, hg_buf *out)
{
    for (size_t i = 0; i < bytes.len; i++) {
        uint32_t c = char_of((uint8_t)bytes.ptr[i]);
        if (c < 0x80) {
            hg_buf_putc(out, (char)c);
        } else {
            char two[2] = {(char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f))};
            hg_buf_add(out, two, 2);
        }
    }
}

void hg_bpe_bytes(hg_str token, hg_buf *out)
{
    size_t from = out->len;
    hg_str rest = token;
    uint32_t c;
    for (size_t n; (n = hg_utf8_next(rest, &c)) > 0; rest.ptr += n, rest.len -= n) {
        int byte = byte_of(c);
        if (byte < 0) break;
        hg_buf_putc(out, (char)byte);
    }
    if (rest.len == 0 || out->state != HANGAR_OK) return;
    out->len = from; /* a character that is not of the alphabet: the token as it stands */
    hg_buf_str(out, token);
}

/* ---- merges ---- */

hangar_code hg_bpe_init(hg_bpe *b, size_t merges, hangar_err *err)
{
    size_t size = 64;
    if (merges > HG_TOKENIZER_MERGES_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "%zu merges, over the limit of %zu", merges,
                       HG_TOKENIZER_MERGES_MAX);
    while (size < 2 * merges) size *= 2;
    b->merges = hg_calloc(size, sizeof *b->merges);
    if (!b->merges) return hg_fail_memory(err);
    for (size_t i = 0; i < size; i++) b->merges[i].pair = FREE;
    b->mask = size - 1;
    b->key = hg_tok_key(b);
    b->known = true;
    return HANGAR_OK;
}

void hg_bpe_deinit(hg_bpe *b)
{
    free(b->merges);
    free(b->prefix);
    free(b->suffix);
    free(b->by_char);
    *b = (hg_bpe){0};
}

static hg_bpe_merge *slot_of(const hg_bpe *b, uint64_t pair)
{
    size_t at = (size_t)hg_tok_mix(pair, b->key) & b->mask;
    while (b->merges[at].pair != FREE && b->merges[at].pair != pair) at = (at + 1) & b->mask;
    return &b->merges[at];
}

hangar_code hg_bpe_add(hg_tokenizer *t, hg_str left, hg_str right, uint32_t rank, hangar_err *err)
{
    char few[256], *joined = few;
    size_t skip = strlen(t->bpe.prefix);
    int32_t a = hg_tok_find(t, left), b = hg_tok_find(t, right);
    if (a < 0 || b < 0 || skip > right.len)
        return hg_fail(err, HANGAR_E_INVALID, "the merge %u of \"%.*s\" and \"%.*s\", which are no tokens",
                       rank, HG_STR_ARG(left), HG_STR_ARG(right));
    size_t len = left.len + right.len - skip;
    if (len > sizeof few && !(joined = malloc(len))) return hg_fail_memory(err);
    if (left.len > 0) memcpy(joined, left.ptr, left.len);
    if (right.len > skip) memcpy(joined + left.len, right.ptr + skip, right.len - skip);
    int32_t id = hg_tok_find(t, (hg_str){joined, len});
    if (joined != few) free(joined);
    if (id < 0)
        return hg_fail(err, HANGAR_E_INVALID, "the merge %u of \"%.*s\" and \"%.*s\" gives no token", rank,
                       HG_STR_ARG(left), HG_STR_ARG(right));
    uint64_t pair = (uint64_t)(uint32_t)a << 32 | (uint32_t)b;
    *slot_of(&t->bpe, pair) = (hg_bpe_merge){pair, rank, id}; /* of two for one pair the later counts */
    return HANGAR_OK;
}

hangar_code hg_bpe_seal(hg_tokenizer *t, hangar_err *err)
{
    hg_bpe *b = &t->bpe;
    hg_tok_find_bytes(t, b->bytes);
    if (*b->prefix || *b->suffix) return HANGAR_OK;
    b->by_char = hg_calloc(HG_BPE_CHARS, sizeof *b->by_char);
    if (!b->by_char) return hg_fail_memory(err);
    for (uint32_t c = 0; c < HG_BPE_CHARS; c++) {
        char bytes[4];
        size_t n = hg_utf8_put(c, bytes);
        b->by_char[c] = n > 0 ? hg_tok_find(t, (hg_str){bytes, n}) : -1;
    }
    return HANGAR_OK;
}

/* ---- encoding ---- */

typedef struct symbol {
    int32_t id; /* -1 = merged into its neighbour */
    uint32_t before, after;
} symbol;
#define NONE UINT32_MAX

typedef struct candidate {
    uint32_t rank, at;
    int32_t id; /* what the pair becomes */
} candidate;

struct hg_bpe_work {
    symbol *symbols;
    candidate *heap;
    size_t count, cap, heap_count, heap_cap;
    hg_buf scratch;
};

void hg_bpe_work_free(hg_bpe_work *w)
{
    if (!w) return;
    free(w->symbols);
    free(w->heap);
    hg_buf_deinit(&w->scratch);
    free(w);
}

static bool sooner(candidate a, candidate b)
{
    return a.rank != b.rank ? a.rank < b.rank : a.at < b.at;
}

static hangar_code heap_push(hg_bpe_work *w, candidate c, hangar_err *err)
{
    if (!hg_grow((void **)&w->heap, &w->heap_cap, w->heap_count + 1, sizeof *w->heap))
        return hg_fail_memory(err);
    size_t at = w->heap_count++;
    while (at > 0 && sooner(c, w->heap[(at - 1) / 2])) {
        w->heap[at] = w->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    w->heap[at] = c;
    return HANGAR_OK;
}

static candidate heap_pop(hg_bpe_work *w)
{
    candidate top = w->heap[0], last = w->heap[--w->heap_count];
    size_t at = 0, n = w->heap_count;
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && sooner(w->heap[child + 1], w->heap[child])) child++;
        if (!sooner(w->heap[child], last)) break;
        w->heap[at] = w->heap[child];
    }
    if (n > 0) w->heap[at] = last;
    return top;
}

/* The merge of a symbol with the one after it; NULL when there is none. */
static const hg_bpe_merge *merge_at(const hg_bpe *b, const hg_bpe_work *w, uint32_t at)
{
    uint32_t after = w->symbols[at].after;
    if (after == NONE) return NULL;
    uint64_t pair = (uint64_t)(uint32_t)w->symbols[at].id << 32 | (uint32_t)w->symbols[after].id;
    const hg_bpe_merge *m = slot_of(b, pair);
    return m->pair == FREE ? NULL : m;
}

static hangar_code offer(const hg_bpe *b, hg_bpe_work *w, uint32_t at, hangar_err *err)
{
    const hg_bpe_merge *m = merge_at(b, w, at);
    return m ? heap_push(w, (candidate){m->rank, at, m->id}, err) : HANGAR_OK;
}

static hangar_code add_symbol(hg_bpe_work *w, int32_t id, hangar_err *err)
{
    if (w->count >= NONE - 1) return hg_fail(err, HANGAR_E_LIMIT, "a word of too many characters");
    if (!hg_grow((void **)&w->symbols, &w->cap, w->count + 1, sizeof *w->symbols)) return hg_fail_memory(err);
    uint32_t at = (uint32_t)w->count++;
    w->symbols[at] = (symbol){id, at == 0 ? NONE : at - 1, NONE};
    if (at > 0) w->symbols[at - 1].after = at;
    return HANGAR_OK;
}

/* The symbol of a character, with the prefix and suffix that its place asks for; its text in *text. */
static int32_t symbol_of(const hg_tokenizer *t, hg_bpe_work *w, hg_str *text, bool first, bool last)
{
    const hg_bpe *b = &t->bpe;
    uint32_t c;
    if (b->by_char && hg_utf8_next(*text, &c) > 0 && c < HG_BPE_CHARS) return b->by_char[c];
    if ((!first && *b->prefix) || (last && *b->suffix)) {
        hg_buf_reset(&w->scratch);
        if (!first) hg_buf_puts(&w->scratch, b->prefix);
        hg_buf_str(&w->scratch, *text);
        if (last) hg_buf_puts(&w->scratch, b->suffix);
        *text = hg_buf_view(&w->scratch);
    }
    return hg_tok_find(t, *text);
}

/* The tokens of an unknown character's bytes, when all are there. */
static bool fall_back(const hg_tokenizer *t, hg_bpe_work *w, hg_str text, hangar_code *code, hangar_err *err)
{
    const hg_bpe *b = &t->bpe;
    for (size_t i = 0; i < text.len; i++)
        if (!b->fallback || b->bytes[(uint8_t)text.ptr[i]] < 0) return false;
    for (size_t i = 0; i < text.len && *code == HANGAR_OK; i++)
        *code = add_symbol(w, b->bytes[(uint8_t)text.ptr[i]], err);
    return true;
}

/* The symbols that a word begins as. A character without one is unknown, or goes when nothing stands for the unknown. */
static hangar_code split_word(const hg_tokenizer *t, hg_str word, hg_bpe_work *w, hangar_err *err)
{
    bool unknown = false; /* one is held back, for the next to be fused with it */
    hangar_code code = HANGAR_OK;
    for (size_t at = 0, n; at < word.len && code == HANGAR_OK; at += n) {
        n = hg_uni_len(word.ptr + at);
        hg_str text = {word.ptr + at, n};
        int32_t id = symbol_of(t, w, &text, at == 0, at + n == word.len);
        if (id >= 0) {
            if (unknown) code = add_symbol(w, t->unk, err);
            unknown = false;
            if (code == HANGAR_OK) code = add_symbol(w, id, err);
        } else if (fall_back(t, w, text, &code, err)) {
            continue;
        } else if (t->bpe.no_unk) {
            code =
                hg_fail(err, HANGAR_E_INVALID, "a character without a token, and no token for the unknown");
        } else if (t->unk >= 0) {
            if (unknown && !t->bpe.fuse_unk) code = add_symbol(w, t->unk, err);
            unknown = true;
        }
    }
    return code == HANGAR_OK && unknown ? add_symbol(w, t->unk, err) : code;
}

static hangar_code merge_all(const hg_bpe *b, hg_bpe_work *w, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    for (uint32_t i = 0; i + 1 < w->count && code == HANGAR_OK; i++) code = offer(b, w, i, err);
    while (w->heap_count > 0 && code == HANGAR_OK) {
        candidate c = heap_pop(w);
        symbol *s = &w->symbols[c.at];
        if (s->id < 0) continue;
        const hg_bpe_merge *m = merge_at(b, w, c.at);
        if (!m || m->id != c.id) continue; /* the pair is not there any more */
        symbol *gone = &w->symbols[s->after];
        s->id = c.id;
        s->after = gone->after;
        gone->id = -1;
        if (s->after != NONE) w->symbols[s->after].before = c.at;
        if (s->before != NONE) code = offer(b, w, s->before, err);
        if (code == HANGAR_OK) code = offer(b, w, c.at, err);
    }
    return code;
}

hangar_code hg_bpe_encode(const hg_tokenizer *t, hg_str word, hg_bpe_work **work, hg_tok_list *out,
                          hangar_err *err)
{
    if (word.len == 0) return HANGAR_OK;
    if (t->bpe.ignore_merges) {
        int32_t id = hg_tok_find(t, word);
        if (id >= 0) return hg_tok_push(out, id, err);
    }
    if (!*work) {
        *work = hg_calloc(1, sizeof **work);
        if (!*work) return hg_fail_memory(err);
        hg_buf_init(&(*work)->scratch, 64 * HG_KIB);
    }
    hg_bpe_work *w = *work;
    w->count = w->heap_count = 0;
    hangar_code code = split_word(t, word, w, err);
    if (code == HANGAR_OK) code = merge_all(&t->bpe, w, err);
    for (size_t i = 0; i < w->count && code == HANGAR_OK; i++)
        if (w->symbols[i].id >= 0) code = hg_tok_push(out, w->symbols[i].id, err);
    return code;
}
