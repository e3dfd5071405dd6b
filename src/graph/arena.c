/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/arena.h"

#include "base/mem.h"

#include <string.h>

#define BLOCK ((size_t)64 << 10)
#define ALIGN _Alignof(max_align_t)

struct hg_arena_block {
    struct hg_arena_block *older;
    _Alignas(max_align_t) char bytes[];
};

/* `count` zeroed items of `size` bytes. */
void *hg_arena_new(hg_arena *a, size_t count, size_t size)
{
    uint64_t need = 0;
    if (!hg_mul(count, size, &need) || need > SIZE_MAX / 2) return NULL;
    need = (need + ALIGN - 1) / ALIGN * ALIGN;
    if (need == 0) need = ALIGN;
    if (!a->blocks || need > a->size - a->used) {
        size_t room = need > BLOCK ? (size_t)need : BLOCK;
        struct hg_arena_block *b = hg_calloc(1, sizeof *b + room);
        if (!b) return NULL;
        b->older = a->blocks;
        a->blocks = b;
        a->used = 0;
        a->size = room;
    }
    void *p = a->blocks->bytes + a->used;
    a->used += (size_t)need;
    return p;
}

/* A copy of `len` bytes with a NUL behind. */
char *hg_arena_text(hg_arena *a, const char *text, size_t len)
{
    char *copy = hg_arena_new(a, len + 1, 1);
    if (copy) memcpy(copy, text, len);
    return copy;
}

/* Gives all of it back. */
void hg_arena_deinit(hg_arena *a)
{
    while (a->blocks) {
        struct hg_arena_block *b = a->blocks;
        a->blocks = b->older;
        free(b);
    }
    *a = (hg_arena){0};
}
