/* SPDX-License-Identifier: Apache-2.0 */
/* A revision on disk, as the rest of hangar sees it: the files that are there, each with its digest where one is known. */
#include "base/log.h"
#include "store/internal.h"

#include <stdlib.h>
#include <sys/stat.h>

static int oid_order(const void *a, const void *b)
{
    return strcmp((*(const hg_snapshot_file *const *)a)->oid.hex,
                  (*(const hg_snapshot_file *const *)b)->oid.hex);
}

/* The sum of the sizes, a blob that several paths share counted once. */
static hangar_code sum_sizes(hg_snapshot *snap, hangar_err *err)
{
    const hg_snapshot_file **sorted = hg_calloc(snap->count, sizeof *sorted);
    if (!sorted) return hg_fail_memory(err);
    for (size_t i = 0; i < snap->count; i++) sorted[i] = &snap->files[i];
    if (snap->count) qsort(sorted, snap->count, sizeof *sorted, oid_order);
    for (size_t i = 0; i < snap->count; i++) {
        bool again = i && sorted[i]->oid.hex[0] && hg_oid_eq(&sorted[i]->oid, &sorted[i - 1]->oid);
        if (!again && !hg_add(snap->size, sorted[i]->size, &snap->size)) snap->size = UINT64_MAX;
    }
    free(sorted);
    return HANGAR_OK;
}

/* Takes over the entries that are files; the others are left. */
static hangar_code take_files(hg_snapshot *snap, hg_entries *all, hangar_err *err)
{
    snap->files = hg_calloc(all->len, sizeof *snap->files);
    if (!snap->files) return hg_fail_memory(err);
    for (size_t i = 0; i < all->len; i++) {
        hg_entry *e = &all->items[i];
        if (e->kind == HG_ENTRY_BLOB || e->kind == HG_ENTRY_PLAIN) {
            snap->files[snap->count++] = (hg_snapshot_file){e->path, e->size, e->oid};
            e->path = NULL;
        } else {
            hg_log(HG_LOG_WARN, "store", "%s: %s is %s", snap->dir, e->path,
                   e->kind == HG_ENTRY_MISSING ? "a link to nothing" : "not a file or badly named");
        }
    }
    return sum_sizes(snap, err);
}

hangar_code hg_snapshot_open(hg_store *s, const hg_ref *ref, hg_snapshot **out, hangar_err *err)
{
    char commit[41], text[HG_REPO_MAX + HG_REVISION_MAX];
    hangar_code code = hg_repo_check(hg_str_of(ref->repo), err);
    if (code == HANGAR_OK) code = hg_revision_read(s, ref, commit, err);
    if (code != HANGAR_OK) return code;
    hg_snapshot *snap = hg_calloc(1, sizeof *snap);
    if (!snap) return hg_fail_memory(err);
    snap->ref = *ref;
    memcpy(snap->commit, commit, sizeof commit);
    snap->dir = hg_commit_dir(s, ref->repo, commit);
    hg_entries all = {0};
    hangar_err why = {0};
    code = snap->dir ? hg_entries_read(snap->dir, &all, &why) : hg_fail_memory(&why);
    if (code == HANGAR_OK) code = take_files(snap, &all, &why);
    hg_entries_deinit(&all);
    hg_ref_text(ref->repo, ref->revision, commit, text);
    if (code == HANGAR_E_NOT_FOUND || (code == HANGAR_OK && snap->count == 0))
        code = hg_fail(&why, HANGAR_E_NOT_FOUND, "%s is not in the store; `hangar pull %s` fetches it", text,
                       text);
    if (code != HANGAR_OK) {
        hg_snapshot_free(snap);
        if (err) *err = why;
        return code;
    }
    *out = snap;
    return HANGAR_OK;
}

void hg_snapshot_free(hg_snapshot *snap)
{
    if (!snap) return;
    for (size_t i = 0; i < snap->count; i++) free(snap->files[i].path);
    free(snap->files);
    free(snap->dir);
    free(snap);
}

void hg_snapshot_auto_free(hg_snapshot **snap)
{
    hg_snapshot_free(*snap);
}

static int find_order(const void *key, const void *item)
{
    return strcmp(key, ((const hg_snapshot_file *)item)->path);
}

const hg_snapshot_file *hg_snapshot_file_get(const hg_snapshot *snap, const char *path)
{
    if (!path || snap->count == 0) return NULL;
    return bsearch(path, snap->files, snap->count, sizeof *snap->files, find_order);
}

/* ---- stamps ---- */

/* One look; false when nothing is there. */
static bool look(const char *path, hg_stamp *st, size_t i)
{
    struct stat now;
    if (stat(path, &now) != 0) return false;
    st->seen[i].device = (uint64_t)now.st_dev;
    st->seen[i].inode = (uint64_t)now.st_ino;
    st->seen[i].seconds = now.st_mtim.tv_sec;
    st->seen[i].nanoseconds = now.st_mtim.tv_nsec;
    return true;
}

hangar_code hg_stamp_take(const hg_store *s, const hg_snapshot *snap, hg_stamp *out, hangar_err *err)
{
    hg_stamp_deinit(out);
    bool plain = !hg_commit_is(hg_str_of(snap->ref.revision));
    out->paths[0] = plain ? hg_revision_path(s, snap->ref.repo, snap->ref.revision) : NULL;
    out->paths[1] = hg_strdup(snap->dir);
    hangar_code code = HANGAR_OK;
    if ((plain && !out->paths[0]) || !out->paths[1]) code = hg_fail_memory(err);
    else if ((plain && !look(out->paths[0], out, 0)) || !look(out->paths[1], out, 1))
        code = hg_fail(err, HANGAR_E_NOT_FOUND, "%s was removed meanwhile", snap->ref.repo);
    if (code != HANGAR_OK) hg_stamp_deinit(out);
    return code;
}

bool hg_stamp_holds(const hg_stamp *stamp)
{
    hg_stamp now = {0};
    if (!stamp->paths[1]) return false;
    for (size_t i = 0; i < 2; i++) {
        if (stamp->paths[i] && !look(stamp->paths[i], &now, i)) return false;
        if (stamp->seen[i].device != now.seen[i].device || stamp->seen[i].inode != now.seen[i].inode ||
            stamp->seen[i].seconds != now.seen[i].seconds ||
            stamp->seen[i].nanoseconds != now.seen[i].nanoseconds)
            return false;
    }
    return true;
}

void hg_stamp_deinit(hg_stamp *stamp)
{
    free(stamp->paths[0]);
    free(stamp->paths[1]);
    *stamp = (hg_stamp){0};
}
