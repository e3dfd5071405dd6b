/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/plan.h"

#include "base/fsx.h"
#include "base/mem.h"

#include <string.h>
#include <sys/stat.h>

static bool matches_any(const char *const *patterns, const char *path)
{
    for (; patterns && *patterns; patterns++)
        if (hg_glob_match(hg_str_of(*patterns), hg_str_of(path))) return true;
    return false;
}

bool hg_path_wanted(const char *path, const char *file, const hangar_download_options *options)
{
    const char *const *include = options ? options->include : NULL;
    if (options && matches_any(options->exclude, path)) return false;
    if (!include && !file[0]) return true;
    return (file[0] && hg_streq(path, file)) || matches_any(include, path);
}

void hg_plan_deinit(hg_plan *plan)
{
    free(plan->picks);
    free(plan->wants);
    *plan = (hg_plan){0};
}

static int by_oid(const void *a, const void *b)
{
    const hg_pick *x = a, *y = b;
    int c = strcmp(x->entry->oid.hex, y->entry->oid.hex);
    if (c) return c;
    return x->entry < y->entry ? -1 : x->entry > y->entry;
}

static int by_place(const void *a, const void *b)
{
    const hg_pick *x = a, *y = b;
    return x->entry < y->entry ? -1 : x->entry > y->entry;
}

/* The wanted files, in the listing's order. */
static hangar_code choose(const hg_listing *listing, const hg_ref *ref,
                          const hangar_download_options *options, hg_plan *out, hangar_err *err)
{
    out->picks = hg_calloc(listing->count, sizeof *out->picks);
    out->wants = hg_calloc(listing->count, sizeof *out->wants);
    if (!out->picks || !out->wants) return hg_fail_memory(err);
    for (size_t i = 0; i < listing->count; i++)
        if (hg_path_wanted(listing->items[i].path, ref->file, options))
            out->picks[out->pick_count++].entry = &listing->items[i];
    if (out->pick_count) return HANGAR_OK;
    if (listing->count == 0)
        return hg_fail(err, HANGAR_E_NOT_FOUND, "%s has no files at %s", ref->repo, ref->revision);
    if (ref->file[0])
        return hg_fail(err, HANGAR_E_NOT_FOUND, "%s has no file '%s' at %s", ref->repo, ref->file,
                       ref->revision);
    return hg_fail(err, HANGAR_E_NOT_FOUND,
                   "none of the %zu files of %s is wanted by --include and --exclude", listing->count,
                   ref->repo);
}

/* Gives each pick its blob, each blob once; picks end up sorted by digest. */
static hangar_code gather(hg_plan *p, hangar_err *err)
{
    qsort(p->picks, p->pick_count, sizeof *p->picks, by_oid);
    for (size_t i = 0; i < p->pick_count; i++) {
        const hg_entry *e = p->picks[i].entry;
        hg_want *last = p->want_count ? &p->wants[p->want_count - 1] : NULL;
        if (!last || !hg_oid_eq(&last->oid, &e->oid))
            p->wants[p->want_count++] = (hg_want){.oid = e->oid, .size = e->size, .path = e->path};
        else if (last->size != e->size)
            return hg_fail(err, HANGAR_E_INVALID,
                           "the list of files gives '%s' and '%s' one digest but two sizes", last->path,
                           e->path);
        p->picks[i].want = p->want_count - 1;
    }
    return HANGAR_OK;
}

/* A want and where it was, for sorting. */
typedef struct placed {
    hg_want want;
    size_t was;
} placed;

static int by_size(const void *a, const void *b)
{
    const placed *x = a, *y = b;
    if (x->want.size != y->want.size) return x->want.size < y->want.size ? -1 : 1;
    return strcmp(x->want.path, y->want.path);
}

/* Puts the small ones first: a refusal shows early, and the biggest file has all streams to itself at the end. */
static hangar_code order(hg_plan *p, hangar_err *err)
{
    HG_AUTO(hg_auto_free) placed *all = hg_calloc(p->want_count, sizeof *all);
    HG_AUTO(hg_auto_free) size_t *now = hg_calloc(p->want_count, sizeof *now);
    if (!all || !now) return hg_fail_memory(err);
    for (size_t i = 0; i < p->want_count; i++) all[i] = (placed){p->wants[i], i};
    qsort(all, p->want_count, sizeof *all, by_size);
    for (size_t i = 0; i < p->want_count; i++) {
        p->wants[i] = all[i].want;
        now[all[i].was] = i;
    }
    for (size_t i = 0; i < p->pick_count; i++) p->picks[i].want = now[p->picks[i].want];
    qsort(p->picks, p->pick_count, sizeof *p->picks, by_place);
    return HANGAR_OK;
}

hangar_code hg_plan_make(const hg_listing *listing, hg_store *store, const hg_ref *ref,
                         const hangar_download_options *options, hg_plan *out, hangar_err *err)
{
    *out = (hg_plan){0};
    hangar_code code = choose(listing, ref, options, out, err);
    if (code == HANGAR_OK) code = gather(out, err);
    if (code == HANGAR_OK) code = order(out, err);
    if (code != HANGAR_OK) {
        hg_plan_deinit(out);
        return code;
    }
    for (size_t i = 0; i < out->want_count; i++) {
        hg_want *w = &out->wants[i];
        w->have = hg_blob_have(store, ref->repo, &w->oid, w->size);
        out->size += w->size; /* the listing's sum did not overflow, and this is less */
        if (!w->have) out->missing += w->size;
    }
    return HANGAR_OK;
}

/* Bytes on disk of a partial file, at most `size`. */
static uint64_t held(hg_store *store, const char *repo, const hg_want *w)
{
    struct stat st;
    HG_AUTO(hg_auto_free) char *path = hg_blob_partial_path(store, repo, &w->oid);
    if (!path || lstat(path, &st) != 0 || !S_ISREG(st.st_mode)) return 0;
    uint64_t bytes = (uint64_t)st.st_blocks * 512;
    return bytes < w->size ? bytes : w->size;
}

hangar_code hg_plan_space(const hg_plan *plan, hg_store *store, const hg_ref *ref, hangar_err *err)
{
    uint64_t need = 0, room;
    for (size_t i = 0; i < plan->want_count; i++)
        if (!plan->wants[i].have) need += plan->wants[i].size - held(store, ref->repo, &plan->wants[i]);
    if (need == 0) return HANGAR_OK;
    hangar_code code = hg_disk_free(hg_store_cache(store), &room, err);
    if (code != HANGAR_OK) return code;
    if (need <= room) return HANGAR_OK;
    char a[16], b[16];
    return hg_fail(err, HANGAR_E_NO_SPACE,
                   "%s needs %s and %s has %s free: make room, or set models.cache.path", ref->repo,
                   hg_size_format(need, a), hg_store_cache(store), hg_size_format(room, b));
}
