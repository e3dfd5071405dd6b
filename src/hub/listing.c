/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/listing.h"

#include "base/fsx.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

void hg_listing_deinit(hg_listing *l)
{
    for (size_t i = 0; i < l->count; i++) free(l->items[i].path);
    free(l->items);
    *l = (hg_listing){0};
}

/* A digest, or what stands in its place; `what` names the file for messages. */
static hangar_code read_oid(const hg_jval *v, hg_hash_kind kind, const char *what, hg_oid *out,
                            hangar_err *err)
{
    hg_str text;
    size_t digits = kind == HG_HASH_SHA256 ? 64 : 40;
    if (!hg_json_str(v, &text))
        return hg_fail(err, HANGAR_E_INVALID, "the list of files: '%s' has no digest", what);
    if (text.len && strspn(text.ptr, "*") >= text.len)
        return hg_fail(err, HANGAR_E_GATED, "the list of files hides the digest of '%s'", what);
    hangar_code code = text.len == digits ? hg_oid_parse(text, out, err) : HANGAR_E_INVALID;
    if (code != HANGAR_OK)
        return hg_fail(err, HANGAR_E_INVALID, "the list of files: the digest of '%s' is not %zu hex digits",
                       what, digits);
    return HANGAR_OK;
}

/* A path that is clean, borrowed. */
static hangar_code read_path(const hg_jval *v, const char **out, hangar_err *err)
{
    hg_str text;
    if (!hg_json_str(v, &text))
        return hg_fail(err, HANGAR_E_INVALID, "the list of files has an entry without a path");
    hangar_code code = hg_path_check(text, err);
    if (code != HANGAR_OK) return hg_wrap(err, code, "the list of files cannot be trusted");
    *out = hg_json_text(v);
    return *out ? HANGAR_OK : hg_fail(err, HANGAR_E_INVALID, "the list of files has a path with a NUL");
}

/* Appends a file, under the limits. */
static hangar_code add_file(hg_listing *l, const char *path, uint64_t size, const hg_oid *oid,
                            hangar_err *err)
{
    if (l->count >= HG_FILES_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "a revision of more than %u files", HG_FILES_MAX);
    if (size > HG_FILE_SIZE_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "'%s' would have %llu bytes, the limit is 2^46", path,
                       (unsigned long long)size);
    if (!hg_add(l->size, size, &l->size) || l->size > INT64_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "the sizes of the files overflow");
    if (!hg_grow((void **)&l->items, &l->cap, l->count + 1, sizeof *l->items)) return hg_fail_memory(err);
    char *copy = hg_strdup(path);
    if (!copy) return hg_fail_memory(err);
    l->items[l->count++] = (hg_entry){.path = copy, .size = size, .oid = *oid};
    return HANGAR_OK;
}

/* A size that must be there; a second place that names it must agree. */
static hangar_code read_size(const hg_jval *first, const hg_jval *second, const char *path, uint64_t *out,
                             hangar_err *err)
{
    uint64_t other;
    bool has_first = hg_json_u64(first, out);
    if (!hg_json_u64(second, &other)) {
        if (has_first) return HANGAR_OK;
        return hg_fail(err, HANGAR_E_INVALID, "the list of files: '%s' has no size", path);
    }
    if (has_first && other != *out)
        return hg_fail(err, HANGAR_E_INVALID, "the list of files: '%s' has two sizes", path);
    *out = other;
    return HANGAR_OK;
}

/* One file: `lfs` (may be nothing) holds `digest_key` and size of the real content. */
static hangar_code add_entry(hg_listing *l, const hg_jval *entry, const char *path, const char *git_key,
                             const char *lfs_key, hangar_err *err)
{
    const hg_jval *lfs = hg_json_get(entry, "lfs");
    bool is_lfs = hg_json_is_object(lfs);
    uint64_t size = 0;
    hg_oid oid = {0};
    hangar_code code = read_size(hg_json_get(entry, "size"), hg_json_get(lfs, "size"), path, &size, err);
    if (code != HANGAR_OK) return code;
    if (is_lfs) code = read_oid(hg_json_get(lfs, lfs_key), HG_HASH_SHA256, path, &oid, err);
    else code = read_oid(hg_json_get(entry, git_key), HG_HASH_GIT_SHA1, path, &oid, err);
    return code == HANGAR_OK ? add_file(l, path, size, &oid, err) : code;
}

hangar_code hg_listing_add_tree(hg_listing *l, const hg_jval *page, hangar_err *err)
{
    if (!hg_json_is_array(page))
        return hg_fail(err, HANGAR_E_INVALID, "the list of files is not a JSON array");
    hangar_code code = HANGAR_OK;
    for (hg_json_iter it = hg_json_iter_of(page); code == HANGAR_OK && hg_json_next(&it);) {
        const char *path, *type = hg_json_text(hg_json_get(it.val, "type"));
        if (!type) return hg_fail(err, HANGAR_E_INVALID, "the list of files has an entry without a type");
        code = read_path(hg_json_get(it.val, "path"), &path, err);
        if (code != HANGAR_OK) return code;
        if (hg_streq(type, "file")) code = add_entry(l, it.val, path, "oid", "oid", err);
        else if (!hg_streq(type, "directory")) l->skipped++;
    }
    return code;
}

hangar_code hg_listing_add_siblings(hg_listing *l, const hg_jval *siblings, hangar_err *err)
{
    if (!hg_json_is_array(siblings)) return hg_fail(err, HANGAR_E_INVALID, "the answer has no list of files");
    hangar_code code = HANGAR_OK;
    for (hg_json_iter it = hg_json_iter_of(siblings); code == HANGAR_OK && hg_json_next(&it);) {
        const char *path;
        code = read_path(hg_json_get(it.val, "rfilename"), &path, err);
        if (code == HANGAR_OK) code = add_entry(l, it.val, path, "blobId", "sha256", err);
    }
    return code;
}

/* Order in which "a/b" follows "a" directly: as strcmp, but the slash is the lowest of all. */
static int path_order(const char *a, const char *b)
{
    while (*a && *a == *b) a++, b++;
    int x = *a == '/' ? 1 : *a ? (unsigned char)*a + 1 : 0;
    int y = *b == '/' ? 1 : *b ? (unsigned char)*b + 1 : 0;
    return x - y;
}

static int entry_order(const void *a, const void *b)
{
    return path_order(((const hg_entry *)a)->path, ((const hg_entry *)b)->path);
}

hangar_code hg_listing_finish(hg_listing *l, hangar_err *err)
{
    if (l->count) qsort(l->items, l->count, sizeof *l->items, entry_order);
    for (size_t i = 1; i < l->count; i++) {
        const char *a = l->items[i - 1].path, *b = l->items[i].path;
        size_t len = strlen(a);
        if (strncmp(a, b, len) != 0) continue;
        if (!b[len]) return hg_fail(err, HANGAR_E_INVALID, "the list of files names '%s' twice", a);
        if (b[len] == '/')
            return hg_fail(err, HANGAR_E_INVALID, "the list of files has '%s' both as a file and as a folder",
                           a);
    }
    return HANGAR_OK;
}

hangar_code hg_info_commit(const hg_jval *info, char commit[41], hangar_err *err)
{
    hg_str sha;
    if (!hg_json_str(hg_json_get(info, "sha"), &sha) || !hg_hex_is(sha, 40))
        return hg_fail(err, HANGAR_E_INVALID, "the Hub's answer names no commit");
    memcpy(commit, sha.ptr, 40);
    commit[40] = '\0';
    return HANGAR_OK;
}
