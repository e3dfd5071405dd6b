/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts and ids. The texts lie in blocks that are never moved, so views on them stay; a table by id, and a hash table by
 * text whose key is drawn at random for each tokenizer: where a text goes cannot be known to who wrote the file.
 * For walks along a text (the longest piece, all pieces that begin here) a tree over bytes is laid out breadth first,
 * each node's children side by side.
 */
#include "format/tokenizer_inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define BLOCK      ((size_t)256 << 10)
#define NODES_MAX  ((size_t)4 << 20) /* of a tree */
#define TABLE_MIN  ((size_t)64)
#define NAMES_MAX  ((size_t)4 << 20)
#define MULTIPLIER 0x9e3779b97f4a7c15u

hangar_code hg_tok_push(hg_tok_list *list, int64_t id, hangar_err *err)
{
    if (list->len >= HG_TOKENIZER_TEXT_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "a text of more than %zu tokens", HG_TOKENIZER_TEXT_MAX);
    if (!hg_grow((void **)&list->ids, &list->cap, list->len + 1, sizeof *list->ids))
        return hg_fail_memory(err);
    list->ids[list->len++] = id;
    return HANGAR_OK;
}

/* ---- the hash table ---- */

/* Both halves of a product, the step that keyed hashes of this kind are made of. */
static uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 r = (unsigned __int128)a * b;
    return (uint64_t)r ^ (uint64_t)(r >> 64);
}

static uint64_t hash_of(hg_str s, uint64_t key)
{
    uint64_t h = key ^ s.len, word;
    for (; s.len >= 8; s.ptr += 8, s.len -= 8) {
        memcpy(&word, s.ptr, 8);
        h = fold(h ^ word, key | 1) + MULTIPLIER;
    }
    word = 0;
    if (s.len > 0) memcpy(&word, s.ptr, s.len);
    return fold(h ^ word, (key | 1) * MULTIPLIER);
}

uint64_t hg_tok_key(const void *self)
{
    uint64_t key;
    if (getrandom(&key, sizeof key, GRND_NONBLOCK) != (ssize_t)sizeof key)
        key = (uint64_t)(uintptr_t)self * MULTIPLIER;
    return key;
}

uint64_t hg_tok_mix(uint64_t value, uint64_t key)
{
    return fold(value ^ key, (key | 1) * MULTIPLIER);
}

hangar_code hg_tok_map_init(hg_tok_map *m, size_t expect, hangar_err *err)
{
    size_t size = TABLE_MIN;
    while (size < 2 * expect && size < 2 * NAMES_MAX) size *= 2;
    m->slots = hg_calloc(size, sizeof *m->slots);
    if (!m->slots) return hg_fail_memory(err);
    m->key = hg_tok_key(m);
    m->mask = size - 1;
    m->count = 0;
    return HANGAR_OK;
}

/* Where a text is, or where it would go. */
static hg_tok_name *slot_of(const hg_tok_map *m, hg_str text)
{
    size_t at = (size_t)hash_of(text, m->key) & m->mask;
    for (;; at = (at + 1) & m->mask) {
        hg_tok_name *s = &m->slots[at];
        if (!s->text || (s->len == text.len && memcmp(s->text, text.ptr, text.len) == 0)) return s;
    }
}

static hangar_code grow_map(hg_tok_map *m, hangar_err *err)
{
    size_t size = 2 * (m->mask + 1);
    hg_tok_map bigger = {.slots = hg_calloc(size, sizeof *m->slots), .mask = size - 1, .key = m->key};
    if (!bigger.slots) return hg_fail_memory(err);
    for (size_t i = 0; i <= m->mask; i++)
        if (m->slots[i].text) *slot_of(&bigger, (hg_str){m->slots[i].text, m->slots[i].len}) = m->slots[i];
    bigger.count = m->count;
    free(m->slots);
    *m = bigger;
    return HANGAR_OK;
}

hangar_code hg_tok_map_put(hg_tok_map *m, hg_str text, int32_t id, hangar_err *err)
{
    if (m->count >= NAMES_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "a vocabulary of more than %zu texts", NAMES_MAX);
    if (m->count >= (m->mask + 1) / 2) {
        hangar_code code = grow_map(m, err);
        if (code != HANGAR_OK) return code;
    }
    hg_tok_name *s = slot_of(m, text);
    if (!s->text) m->count++;
    *s = (hg_tok_name){text.ptr, (uint32_t)text.len, id};
    return HANGAR_OK;
}

int32_t hg_tok_map_get(const hg_tok_map *m, hg_str text)
{
    if (!m->slots) return -1;
    const hg_tok_name *s = slot_of(m, text);
    return s->text ? s->id : -1;
}

int32_t hg_tok_find(const hg_tokenizer *t, hg_str text)
{
    return hg_tok_map_get(&t->map, text);
}

/* ---- the table by id ---- */

/* A copy of a text, with a NUL behind it, that lives as long as the tokenizer; NULL when out of memory. */
static const char *keep(hg_tokenizer *t, hg_str text)
{
    size_t need = text.len + 1;
    if (t->block_count == 0 || t->block_size - t->block_used < need) {
        size_t size = need > BLOCK ? need : BLOCK;
        if (!hg_grow((void **)&t->blocks, &t->block_cap, t->block_count + 1, sizeof *t->blocks)) return NULL;
        char *block = malloc(size);
        if (!block) return NULL;
        t->blocks[t->block_count++] = block;
        t->block_size = size;
        t->block_used = 0;
    }
    char *to = t->blocks[t->block_count - 1] + t->block_used;
    if (text.len > 0) memcpy(to, text.ptr, text.len);
    to[text.len] = '\0';
    t->block_used += need;
    return to;
}

/* The entry of an id, with what must hold for both kinds of tokens. */
static hangar_code entry_of(hg_tokenizer *t, hg_str text, int64_t id, hg_tok_entry **out, hangar_err *err)
{
    if (id < 0 || (uint64_t)id >= HG_TOKENIZER_IDS_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "the token id %lld is over the limit of %zu", (long long)id,
                       HG_TOKENIZER_IDS_MAX);
    if (text.len > HG_TOKENIZER_TOKEN_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "token %lld has %zu bytes, over the limit of %zu", (long long)id,
                       text.len, HG_TOKENIZER_TOKEN_MAX);
    size_t at = (size_t)id;
    if (at >= t->size) {
        if (!hg_grow((void **)&t->by_id, &t->cap, at + 1, sizeof *t->by_id)) return hg_fail_memory(err);
        memset(t->by_id + t->size, 0, (at + 1 - t->size) * sizeof *t->by_id);
        t->size = at + 1;
    }
    *out = &t->by_id[at];
    return HANGAR_OK;
}

static hangar_code name_it(hg_tokenizer *t, hg_tok_entry *e, hg_str text, int64_t id, hangar_err *err)
{
    const char *kept = keep(t, text);
    if (!kept) return hg_fail_memory(err);
    e->text = kept;
    e->len = (uint32_t)text.len;
    return hg_tok_map_put(&t->map, (hg_str){kept, text.len}, (int32_t)id, err);
}

hangar_code hg_tok_set(hg_tokenizer *t, hg_str text, int64_t id, hangar_err *err)
{
    hg_tok_entry *e = NULL;
    hangar_code code = entry_of(t, text, id, &e, err);
    if (code != HANGAR_OK) return code;
    if (e->text && hg_str_eq((hg_str){e->text, e->len}, text)) return HANGAR_OK;
    if (e->text)
        return hg_fail(err, HANGAR_E_INVALID, "two tokens have the id %lld: \"%s\" and \"%.*s\"",
                       (long long)id, e->text, HG_STR_ARG(text));
    return name_it(t, e, text, id, err);
}

hangar_code hg_tok_set_added(hg_tokenizer *t, hg_str text, int64_t id, const hg_jval *doc, hangar_err *err)
{
    hg_tok_entry *e = NULL;
    if (t->added_count >= HG_TOKENIZER_ADDED_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "more than %zu added tokens", HG_TOKENIZER_ADDED_MAX);
    if (text.len == 0) return hg_fail(err, HANGAR_E_INVALID, "the added token %lld is empty", (long long)id);
    if (text.len > HG_TOKENIZER_PIECE_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "the added token %lld has %zu bytes, over the limit of %zu",
                       (long long)id, text.len, HG_TOKENIZER_PIECE_MAX);
    hangar_code code = entry_of(t, text, id, &e, err);
    if (code != HANGAR_OK) return code;
    if (!e->text || !hg_str_eq((hg_str){e->text, e->len}, text)) {
        if (e->added)
            return hg_fail(err, HANGAR_E_INVALID, "two added tokens have the id %lld: \"%s\" and \"%.*s\"",
                           (long long)id, e->text, HG_STR_ARG(text));
        code = name_it(t, e, text, id, err);
        if (code != HANGAR_OK) return code;
    }
    if (!e->added) {
        if (!hg_grow((void **)&t->added, &t->added_cap, t->added_count + 1, sizeof *t->added))
            return hg_fail_memory(err);
        t->added[t->added_count++] = (int32_t)id;
    }
    e->added = true;
    e->special = hg_json_bool_or(hg_json_get(doc, "special"), doc == NULL);
    e->single_word = hg_json_bool_or(hg_json_get(doc, "single_word"), false);
    e->lstrip = hg_json_bool_or(hg_json_get(doc, "lstrip"), false);
    e->rstrip = hg_json_bool_or(hg_json_get(doc, "rstrip"), false);
    e->normalized = hg_json_bool_or(hg_json_get(doc, "normalized"), !e->special);
    return HANGAR_OK;
}

hangar_code hg_tok_read_vocab(hg_tokenizer *t, const hg_jval *vocab, bool added, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    if (!hg_json_is_object(vocab)) return hg_fail(err, HANGAR_E_INVALID, "the vocabulary is not an object");
    for (hg_json_iter it = hg_json_iter_of(vocab); code == HANGAR_OK && hg_json_next(&it);) {
        int64_t id = -1;
        if (!hg_json_i64(it.val, &id))
            return hg_fail(err, HANGAR_E_INVALID, "the token \"%.*s\" has no id", HG_STR_ARG(it.key));
        code = added ? hg_tok_set_added(t, it.key, id, NULL, err) : hg_tok_set(t, it.key, id, err);
    }
    return code;
}

void hg_tok_find_bytes(const hg_tokenizer *t, int32_t bytes[256])
{
    for (unsigned b = 0; b < 256; b++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", b & 0xff);
        bytes[b] = hg_tok_find(t, hg_str_of(text));
    }
}

/* ---- the tree ---- */

static int by_text(const void *a, const void *b)
{
    const hg_tok_name *x = a, *y = b;
    size_t n = x->len < y->len ? x->len : y->len;
    int c = n ? memcmp(x->text, y->text, n) : 0;
    if (c == 0) c = (x->len > y->len) - (x->len < y->len);
    return c ? c : (x->id > y->id) - (x->id < y->id);
}

/* While it is built: the names that pass through a node, and how deep it is. */
typedef struct range {
    uint32_t low, high, depth;
} range;

typedef struct growth {
    hg_tok_node *nodes;
    range *ranges;
    size_t count, nodes_cap, ranges_cap;
} growth;

static hangar_code add_node(growth *g, uint8_t byte, range r, hangar_err *err)
{
    if (g->count >= NODES_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "a vocabulary whose pieces need more than %zu nodes", NODES_MAX);
    if (!hg_grow((void **)&g->nodes, &g->nodes_cap, g->count + 1, sizeof *g->nodes) ||
        !hg_grow((void **)&g->ranges, &g->ranges_cap, g->count + 1, sizeof *g->ranges))
        return hg_fail_memory(err);
    g->nodes[g->count] = (hg_tok_node){.id = -1, .byte = byte};
    g->ranges[g->count++] = r;
    return HANGAR_OK;
}

/* The children of a node, from the names that pass through it. */
static hangar_code add_children(growth *g, size_t at, const hg_tok_name *names, hangar_err *err)
{
    range r = g->ranges[at];
    hangar_code code = HANGAR_OK;
    while (r.low < r.high && names[r.low].len == r.depth) g->nodes[at].id = names[r.low++].id;
    g->nodes[at].first = (uint32_t)g->count;
    while (r.low < r.high && code == HANGAR_OK) {
        uint8_t byte = (uint8_t)names[r.low].text[r.depth];
        uint32_t end = r.low;
        while (end < r.high && (uint8_t)names[end].text[r.depth] == byte) end++;
        code = add_node(g, byte, (range){r.low, end, r.depth + 1}, err);
        g->nodes[at].count++;
        r.low = end;
    }
    return code;
}

hangar_code hg_tok_trie_build(hg_tok_trie *trie, hg_tok_name *names, size_t count, hangar_err *err)
{
    growth g = {0};
    *trie = (hg_tok_trie){0};
    if (count == 0) return HANGAR_OK;
    qsort(names, count, sizeof *names, by_text);
    hangar_code code = add_node(&g, 0, (range){0, (uint32_t)count, 0}, err);
    for (size_t at = 0; at < g.count && code == HANGAR_OK; at++) code = add_children(&g, at, names, err);
    free(g.ranges);
    if (code != HANGAR_OK) {
        free(g.nodes);
        return code;
    }
    for (size_t i = 0; i < g.nodes[0].count; i++)
        trie->root[g.nodes[g.nodes[0].first + i].byte] = (uint32_t)(g.nodes[0].first + i);
    trie->nodes = g.nodes;
    trie->count = g.count;
    return HANGAR_OK;
}

uint32_t hg_tok_trie_next(const hg_tok_trie *trie, uint32_t node, uint8_t byte)
{
    if (!trie->nodes) return 0;
    if (node == 0) return trie->root[byte];
    const hg_tok_node *n = &trie->nodes[node];
    uint32_t low = n->first, high = n->first + n->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (trie->nodes[mid].byte < byte) low = mid + 1;
        else high = mid;
    }
    return low < n->first + n->count && trie->nodes[low].byte == byte ? low : 0;
}
