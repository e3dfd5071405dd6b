/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text on its way out. Tokens end anywhere: in the midst of a character, in the midst of a stop string. So a
 * piece goes out only when it is whole characters and no end of it is the beginning of a stop string.
 */
#include "runner.h"

#define TEXT_MAX ((size_t)64 << 20)

void hg_tail_init(hg_tail *t, const hg_jval *stops)
{
    *t = (hg_tail){.stops = stops};
    hg_buf_init(&t->text, TEXT_MAX);
}

void hg_tail_deinit(hg_tail *t)
{
    hg_buf_deinit(&t->text);
}

/* Where the earliest stop string begins at or behind `from`; SIZE_MAX when none is there. */
static size_t find_stop(const hg_tail *t, size_t from)
{
    size_t first = SIZE_MAX;
    for (hg_json_iter it = hg_json_iter_of(t->stops); hg_json_next(&it);) {
        hg_str stop = {0};
        if (!hg_json_str(it.val, &stop) || stop.len == 0 || t->text.len < stop.len) continue;
        const char *begin = t->text.data + from;
        const char *hit = memmem(begin, t->text.len - from, stop.ptr, stop.len);
        if (hit && (size_t)(hit - t->text.data) < first) first = (size_t)(hit - t->text.data);
    }
    return first;
}

/* How many bytes at the end of the text are the beginning of a stop string. */
static size_t held_back(const hg_tail *t)
{
    size_t most = 0;
    for (hg_json_iter it = hg_json_iter_of(t->stops); hg_json_next(&it);) {
        hg_str stop = {0};
        if (!hg_json_str(it.val, &stop) || stop.len == 0) continue;
        size_t n = stop.len - 1 < t->text.len ? stop.len - 1 : t->text.len;
        for (; n > most; n--)
            if (memcmp(t->text.data + t->text.len - n, stop.ptr, n) == 0) most = n;
    }
    return most;
}

hangar_code hg_tail_add(hg_tail *t, hg_str piece, hangar_err *err)
{
    hg_buf_str(&t->text, piece);
    hangar_code code = hg_buf_check(&t->text, err);
    if (code != HANGAR_OK) return code;
    /* Nothing that is out can be part of a stop string: it was held back then. */
    size_t at = t->text.len ? find_stop(t, t->sent) : SIZE_MAX;
    if (at != SIZE_MAX) {
        t->text.len = at;
        t->text.data[at] = '\0';
        t->stopped = true;
    }
    return HANGAR_OK;
}

hg_str hg_tail_ready(const hg_tail *t, bool all)
{
    hg_str left = {hg_buf_text(&t->text) + t->sent, t->text.len - t->sent};
    if (all) return left;
    size_t held = held_back(t);
    left.len = held < left.len ? left.len - held : 0;
    left.len = hg_utf8_whole(left);
    return left;
}
