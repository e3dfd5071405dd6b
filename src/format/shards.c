/* SPDX-License-Identifier: Apache-2.0 */
/* model.safetensors.index.json: which tensor lies in which file. Declared in safetensors.h. */
#include "base/fsx.h"
#include "base/mem.h"
#include "format/safetensors.h"

#include <stdlib.h>

/* Where `file` is among the sorted files, or would have to be put. */
static size_t place_of(const hg_shards *s, hg_str file, bool *found)
{
    size_t low = 0, high = s->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        hg_str other = hg_str_of(s->files[mid]);
        int order = memcmp(other.ptr, file.ptr, other.len < file.len ? other.len : file.len);
        if (order == 0 && other.len == file.len) {
            *found = true;
            return mid;
        }
        if (order < 0 || (order == 0 && other.len < file.len)) low = mid + 1;
        else high = mid;
    }
    *found = false;
    return low;
}

/* Adds a file unless it is known. */
static hangar_code add_file(hg_shards *s, size_t *cap, hg_str file, hangar_err *err)
{
    bool found = false;
    size_t at = place_of(s, file, &found);
    if (found) return HANGAR_OK;
    hangar_code code = hg_path_check(file, err);
    if (code != HANGAR_OK) return hg_wrap(err, HANGAR_E_INVALID, "weight_map");
    if (!hg_str_ends(file, HG_STR(".safetensors"))) {
        return hg_fail(err, HANGAR_E_INVALID, "weight_map: %.*s is no safetensors file", HG_STR_ARG(file));
    }
    if (s->count == HG_SHARDS_FILES_MAX) {
        return hg_fail(err, HANGAR_E_LIMIT, "weight_map names more than %zu files", HG_SHARDS_FILES_MAX);
    }
    if (!hg_grow((void **)&s->files, cap, s->count + 1, sizeof *s->files)) return hg_fail_memory(err);
    char *copy = hg_strndup(file.ptr, file.len);
    if (!copy) return hg_fail_memory(err);
    memmove(&s->files[at + 1], &s->files[at], (s->count - at) * sizeof *s->files);
    s->files[at] = copy;
    s->count++;
    return HANGAR_OK;
}

static hangar_code parse(hg_str json, hg_shards *s, hangar_err *err)
{
    hg_json_limits limits = {.bytes = (size_t)HG_SAFETENSORS_HEADER_MAX, .depth = 16, .unique_keys = true};
    hangar_code code = hg_json_parse(json, &limits, &s->doc, err);
    if (code != HANGAR_OK) return code;
    const hg_jval *map = hg_json_get(hg_json_root(s->doc), "weight_map");
    if (!hg_json_is_object(map) || hg_json_len(map) == 0) {
        return hg_fail(err, HANGAR_E_INVALID, "weight_map is missing or empty");
    }
    (void)hg_json_u64(hg_json_path(hg_json_root(s->doc), "metadata", "total_size", NULL), &s->total_size);
    size_t cap = 0;
    for (hg_json_iter it = hg_json_iter_of(map); code == HANGAR_OK && hg_json_next(&it);) {
        hg_str file;
        if (!hg_json_str(it.val, &file)) {
            return hg_fail(err, HANGAR_E_INVALID, "weight_map: %.*s has no file name", HG_STR_ARG(it.key));
        }
        code = add_file(s, &cap, file, err);
    }
    return code;
}

/* Parses an index. */
hangar_code hg_shards_parse(hg_str json, hg_shards *out, hangar_err *err)
{
    *out = (hg_shards){0};
    hangar_code code = parse(json, out, err);
    if (code != HANGAR_OK) hg_shards_deinit(out);
    return code;
}

/* Frees what an index holds. */
void hg_shards_deinit(hg_shards *shards)
{
    for (size_t i = 0; i < shards->count; i++) free(shards->files[i]);
    free((void *)shards->files);
    hg_json_free(shards->doc);
    *shards = (hg_shards){0};
}
