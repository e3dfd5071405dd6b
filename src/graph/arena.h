/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is given back all at once. What it hands out is zeroed and aligned for any type; NULL when there is none left. */
#ifndef HG_GRAPH_ARENA_H
#define HG_GRAPH_ARENA_H

#include <stddef.h>

typedef struct hg_arena {
    struct hg_arena_block *blocks;
    size_t used; /* in the newest block */
    size_t size; /* of the newest block */
} hg_arena;

void *hg_arena_new(hg_arena *a, size_t count, size_t size);
char *hg_arena_text(hg_arena *a, const char *text, size_t len);
void hg_arena_deinit(hg_arena *a);

#endif
