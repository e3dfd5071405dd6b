/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what clients send to a mirror: ranges, entity tags, names of repositories. Pure functions. */
#include "api/mirror.h"
#include "base/mem.h"
#include "store/store.h"

hg_range_kind hg_range_parse(const char *header, uint64_t size, uint64_t *out_first, uint64_t *out_length)
{
    hg_str s = hg_str_of(header), first;
    if (!header || size == 0 || !hg_str_starts(s, HG_STR("bytes="))) return HG_RANGE_NONE;
    s = hg_str_trim((hg_str){s.ptr + 6, s.len - 6});
    if (!hg_str_cut(&s, '-', &first)) return HG_RANGE_NONE;
    uint64_t a = 0, b = size - 1;
    if (first.len == 0) {
        uint64_t tail;
        if (!hg_u64_parse(s, &tail)) return HG_RANGE_NONE;
        if (tail == 0) return HG_RANGE_BAD;
        a = tail < size ? size - tail : 0;
    } else {
        if (!hg_u64_parse(first, &a) || (s.len > 0 && !hg_u64_parse(s, &b))) return HG_RANGE_NONE;
        if (s.len > 0 && b < a) return HG_RANGE_NONE;
        if (a >= size) return HG_RANGE_BAD;
        if (b >= size) b = size - 1;
    }
    *out_first = a;
    *out_length = b - a + 1;
    return HG_RANGE_PART;
}

bool hg_etag_listed(const char *header, const char *tag, bool weak)
{
    hg_str rest = hg_str_of(header);
    if (!header) return false;
    for (bool more = true; more;) {
        hg_str item;
        more = hg_str_cut(&rest, ',', &item);
        item = hg_str_trim(item);
        if (hg_str_eq(item, HG_STR("*"))) return true;
        if (hg_str_starts(item, HG_STR("W/"))) {
            if (!weak) continue;
            item = (hg_str){item.ptr + 2, item.len - 2};
        }
        if (item.len >= 2 && item.ptr[0] == '"' && item.ptr[item.len - 1] == '"' &&
            hg_str_eq((hg_str){item.ptr + 1, item.len - 2}, hg_str_of(tag)))
            return true;
    }
    return false;
}

bool hg_repo_word(hg_str s)
{
    return (s.len == 0 || !memchr(s.ptr, '/', s.len)) && hg_repo_check(s, NULL) == HANGAR_OK;
}
