/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Putting things into the store. Invariants: a name in blobs/ that is a digest holds, when it appears, bytes that were
 * proved to have it; a link appears after its blob; everything appears by one rename (or one link) and is on disk before
 * the call that promises it returns. Two processes may do all of this at the same time: the same names get the same
 * content. Links and removals of one repository exclude each other by a lock of hangar's own (hangar.lock beside the
 * digests' locks), so that a removal never takes a blob that was linked meanwhile; without working locks only that is lost.
 */
#include "store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define REPO_LOCK_SECONDS 60.0

static const char tag_text[] =
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This folder is a cache of model files, kept in the layout of the Hugging Face Hub's tools.\n"
    "# What this tag means to backup programs: https://bford.info/cachedir/\n";

hangar_code hg_repo_lock(const hg_store *s, const char *repo, hg_lock *out, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *path = hg_repo_lock_path(s, repo);
    if (!path) return hg_fail_memory(err);
    return hg_wrap(err, hg_lock_take(path, REPO_LOCK_SECONDS, NULL, NULL, out, err), "%s", repo);
}

/* ---- before the first byte ---- */

static hangar_code make_folders(const hg_store *s, const char *repo, hangar_err *err)
{
    static const char *const parts[] = {"blobs", "refs", "snapshots"};
    HG_AUTO(hg_auto_free) char *locks = hg_repo_locks_dir(s, repo);
    hangar_code code = locks ? hg_mkdirs(locks, HG_STORE_DIR_MODE, err) : hg_fail_memory(err);
    for (size_t i = 0; code == HANGAR_OK && i < HG_LEN(parts); i++) {
        HG_AUTO(hg_auto_free) char *dir = hg_repo_part(s, repo, parts[i]);
        code = dir ? hg_mkdirs(dir, HG_STORE_DIR_MODE, err) : hg_fail_memory(err);
    }
    return code;
}

static hangar_code make_tag(const hg_store *s, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *path = hg_store_tag_path(s);
    if (!path) return hg_fail_memory(err);
    if (hg_is_file(path)) return HANGAR_OK;
    hg_out *out;
    hangar_code code = hg_out_open(path, HG_STORE_FILE_MODE, &out, err);
    if (code != HANGAR_OK) return code;
    hg_out_write(out, tag_text, sizeof tag_text - 1);
    return hg_out_commit(out, true, err);
}

/* A file named {random}.hangar.incomplete is what a killed `add` left; old ones go. Partials of digests are kept: they are resumed. */
static hangar_code sweep_entry(void *ctx, const char *dir, const char *name, hangar_err *err)
{
    const double *now = ctx;
    hg_str stem = hg_str_of(name);
    struct stat st;
    if (!hg_str_ends(stem, HG_STR(HG_PARTIAL_SUFFIX))) return HANGAR_OK;
    stem.len -= sizeof HG_PARTIAL_SUFFIX - 1;
    if (!hg_hex_is(stem, 16)) return HANGAR_OK;
    HG_AUTO(hg_auto_free) char *path = hg_path_join(dir, name);
    if (!path) return hg_fail_memory(err);
    if (lstat(path, &st) == 0 && *now - (double)st.st_mtim.tv_sec > HG_STORE_SWEEP_AGE) unlink(path);
    return HANGAR_OK;
}

/* Temporary files of runs that were killed. */
static hangar_code sweep(const hg_store *s, const char *repo, hangar_err *err)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    double now = (double)ts.tv_sec;
    HG_AUTO(hg_auto_free) char *locks = hg_repo_locks_dir(s, repo);
    HG_AUTO(hg_auto_free) char *blobs = hg_repo_part(s, repo, "blobs");
    if (!locks || !blobs) return hg_fail_memory(err);
    hg_sweep(locks, HG_STORE_SWEEP_AGE);
    hg_sweep(s->cache, HG_STORE_SWEEP_AGE);
    return hg_list_dir(blobs, sweep_entry, &now, err);
}

hangar_code hg_store_prepare(hg_store *s, const char *repo, hangar_err *err)
{
    hg_lock lock = HG_LOCK_INIT;
    hangar_code code = hg_repo_check(hg_str_of(repo), err);
    if (code == HANGAR_OK) code = make_folders(s, repo, err);
    if (code == HANGAR_OK) code = make_tag(s, err);
    if (code == HANGAR_OK) code = hg_repo_lock(s, repo, &lock, err);
    if (code == HANGAR_OK) code = hg_remove_resume(s, repo, err);
    /* What was resumed may have taken the folders along. */
    if (code == HANGAR_OK) code = make_folders(s, repo, err);
    hg_lock_release(&lock);
    return code == HANGAR_OK ? sweep(s, repo, err) : code;
}

/* ---- blobs ---- */

static bool is_marked(const hg_store *s, const char *repo, const hg_oid *oid)
{
    HG_AUTO(hg_auto_free) char *mark = hg_blob_mark_path(s, repo, oid);
    return mark && access(mark, F_OK) == 0;
}

void hg_blob_mark(const hg_store *s, const char *repo, const hg_oid *oid, bool damaged)
{
    HG_AUTO(hg_auto_free) char *mark = hg_blob_mark_path(s, repo, oid);
    if (!mark) return;
    if (damaged) (void)!hg_write_file(mark, "", 0, HG_STORE_FILE_MODE, NULL);
    else (void)unlink(mark);
}

bool hg_blob_have(const hg_store *s, const char *repo, const hg_oid *oid, uint64_t size)
{
    struct stat st;
    HG_AUTO(hg_auto_free) char *path = hg_blob_path(s, repo, oid);
    return path && stat(path, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size &&
           !is_marked(s, repo, oid);
}

/* Bytes, then mode, to disk. */
static hangar_code settle_partial(const hg_store *s, const char *partial, uint64_t *out_size, hangar_err *err)
{
    struct stat st;
    HG_AUTO(hg_auto_close) int fd = open(partial, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) != 0) return hg_fail_errno(err, errno, "%s", partial);
    if (!S_ISREG(st.st_mode)) return hg_fail(err, HANGAR_E_INVALID, "%s: not a regular file", partial);
    *out_size = (uint64_t)st.st_size;
    if (fchmod(fd, HG_STORE_FILE_MODE & ~s->umask) != 0 && errno != EPERM && errno != EOPNOTSUPP)
        return hg_fail_errno(err, errno, "%s", partial);
    if (fsync(fd) == 0) return HANGAR_OK;
    /* The kernel may have dropped the pages: these bytes can no longer be vouched for. */
    int sys = errno;
    unlink(partial);
    return hg_fail_errno(err, sys, "writing %s to disk", partial);
}

/* Renames; a blob of the same size that is there already stays, unless it is known to be damaged. */
static hangar_code rename_blob(const char *partial, const char *blob, uint64_t size, bool damaged,
                               hangar_err *err)
{
    struct stat st;
    if (damaged) return rename(partial, blob) == 0 ? HANGAR_OK : hg_fail_errno(err, errno, "%s", blob);
    if (renameat2(AT_FDCWD, partial, AT_FDCWD, blob, RENAME_NOREPLACE) == 0) return HANGAR_OK;
    if (errno != EEXIST && errno != EINVAL && errno != ENOSYS) return hg_fail_errno(err, errno, "%s", blob);
    if (stat(blob, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size) {
        if (unlink(partial) != 0 && errno != ENOENT) return hg_fail_errno(err, errno, "%s", partial);
        return HANGAR_OK;
    }
    /* Nothing there, or a blob that is certainly damaged: ours was proved. */
    return rename(partial, blob) == 0 ? HANGAR_OK : hg_fail_errno(err, errno, "%s", blob);
}

hangar_code hg_blob_publish(hg_store *s, const char *repo, const hg_oid *oid, const char *partial,
                            hangar_err *err)
{
    uint64_t size = 0;
    HG_AUTO(hg_auto_free) char *blob = hg_blob_path(s, repo, oid);
    if (!blob) return hg_fail(err, HANGAR_E_INVALID, "not a blob of a repository");
    hangar_code code = settle_partial(s, partial, &size, err);
    bool damaged = is_marked(s, repo, oid);
    if (code == HANGAR_OK) code = rename_blob(partial, blob, size, damaged, err);
    if (code == HANGAR_OK && damaged) hg_blob_mark(s, repo, oid, false);
    return code;
}

/* ---- links ---- */

/* What is at `path` is already the link that is wanted. */
static bool link_is(const char *path, const char *target)
{
    char now[512];
    ssize_t n = readlink(path, now, sizeof now - 1);
    if (n < 0) return false;
    now[n] = '\0';
    return hg_streq(now, target);
}

/* A link made elsewhere and renamed over whatever is there. */
static hangar_code swap_link(const hg_store *s, const char *repo, const char *target, const char *path,
                             hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *stage = hg_stage_path(s, repo);
    if (!stage) return hg_fail_memory(err);
    if (symlink(target, stage) != 0) return hg_fail_errno(err, errno, "linking %s", path);
    if (rename(stage, path) == 0) return HANGAR_OK;
    int sys = errno;
    unlink(stage);
    return hg_fail_errno(err, sys, "linking %s", path);
}

/* A file system without links (FAT): the file itself, by a hard link or a copy. */
static hangar_code place_copy(const char *blob, const char *path, hangar_err *err)
{
    if (unlink(path) != 0 && errno != ENOENT) return hg_fail_errno(err, errno, "%s", path);
    hangar_code code = hg_place_file(blob, path, HG_PLACE_LINK, NULL);
    return code == HANGAR_OK ? code : hg_place_file(blob, path, HG_PLACE_COPY, err);
}

static hangar_code make_link(const hg_store *s, const char *repo, const char *blob, const char *target,
                             const char *path, hangar_err *err)
{
    if (symlink(target, path) == 0) return HANGAR_OK;
    int sys = errno;
    if (sys == EEXIST) return link_is(path, target) ? HANGAR_OK : swap_link(s, repo, target, path, err);
    if (sys == EPERM || sys == EOPNOTSUPP || sys == ENOSYS) return place_copy(blob, path, err);
    return hg_fail_errno(err, sys, "linking %s", path);
}

hangar_code hg_snapshot_link(hg_store *s, const char *repo, const char *commit, const char *path,
                             const hg_oid *oid, hangar_err *err)
{
    hg_lock lock = HG_LOCK_INIT;
    hangar_code code = hg_path_check(hg_str_of(path), err);
    if (code != HANGAR_OK) return code;
    HG_AUTO(hg_auto_free) char *at = hg_commit_file(s, repo, commit, path);
    HG_AUTO(hg_auto_free) char *blob = hg_blob_path(s, repo, oid);
    HG_AUTO(hg_auto_free) char *target = hg_blob_link(path, oid);
    if (!at || !blob || !target) return hg_fail(err, HANGAR_E_INVALID, "%s: not a file of a commit", path);
    HG_AUTO(hg_auto_free) char *dir = hg_path_dir(at);
    if (!dir) return hg_fail_memory(err);
    code = hg_repo_lock(s, repo, &lock, err);
    if (code == HANGAR_OK && !hg_is_file(blob))
        code = hg_fail(err, HANGAR_E_NOT_FOUND, "%s: its blob was removed meanwhile", path);
    if (code == HANGAR_OK) code = hg_mkdirs(dir, HG_STORE_DIR_MODE, err);
    if (code == HANGAR_OK) code = make_link(s, repo, blob, target, at, err);
    hg_lock_release(&lock);
    return code;
}

hangar_code hg_snapshot_sync(hg_store *s, const char *repo, const char *commit, hangar_err *err)
{
    hg_entries all;
    HG_AUTO(hg_auto_free) char *blobs = hg_repo_part(s, repo, "blobs");
    HG_AUTO(hg_auto_free) char *dir = hg_commit_dir(s, repo, commit);
    if (!blobs || !dir) return hg_fail(err, HANGAR_E_INVALID, "not a commit of a repository");
    hangar_code code = hg_is_dir(blobs) ? hg_fsync_dir(blobs, err) : HANGAR_OK;
    if (code != HANGAR_OK || !hg_is_dir(dir)) return code;
    code = hg_entries_read(dir, &all, err);
    if (code != HANGAR_OK) return code;
    for (size_t i = 0; code == HANGAR_OK && i < all.dir_len; i++) {
        HG_AUTO(hg_auto_free) char *below = hg_path_join(dir, all.dirs[i]);
        code = below ? hg_fsync_dir(below, err) : hg_fail_memory(err);
    }
    hg_entries_deinit(&all);
    return code == HANGAR_OK ? hg_fsync_dir(dir, err) : code;
}

/* ---- refs ---- */

/* The text, on disk, under a name that no scanner sees, then renamed. */
static hangar_code write_ref(const hg_store *s, const char *repo, const char *path, const char *commit,
                             hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *stage = hg_stage_path(s, repo);
    HG_AUTO(hg_auto_free) char *dir = hg_path_dir(path);
    if (!stage || !dir) return hg_fail_memory(err);
    int fd = open(stage, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, HG_STORE_FILE_MODE);
    if (fd < 0) return hg_fail_errno(err, errno, "writing %s", path);
    hangar_code code = hg_write_all(fd, commit, 40, err);
    if (code == HANGAR_OK && fsync(fd) != 0) code = hg_fail_errno(err, errno, "writing %s", path);
    if (close(fd) != 0 && code == HANGAR_OK && errno != EINTR)
        code = hg_fail_errno(err, errno, "writing %s", path);
    if (code == HANGAR_OK) code = hg_mkdirs(dir, HG_STORE_DIR_MODE, err);
    if (code == HANGAR_OK && rename(stage, path) != 0) code = hg_fail_errno(err, errno, "writing %s", path);
    if (code != HANGAR_OK) {
        unlink(stage);
        return code;
    }
    return hg_fsync_dir(dir, err);
}

hangar_code hg_revision_write(hg_store *s, const char *repo, const char *revision, const char *commit,
                              hangar_err *err)
{
    if (!hg_commit_is(hg_str_of(commit))) return hg_fail(err, HANGAR_E_INVALID, "'%s' is no commit", commit);
    hangar_code code = hg_snapshot_sync(s, repo, commit, err);
    if (code != HANGAR_OK || hg_commit_is(hg_str_of(revision))) return code;
    code = hg_revision_check(hg_str_of(revision), err);
    if (code != HANGAR_OK) return code;
    HG_AUTO(hg_auto_free) char *path = hg_revision_path(s, repo, revision);
    HG_AUTO(hg_auto_free) char *locks = hg_repo_locks_dir(s, repo);
    if (!path || !locks) return hg_fail_memory(err);
    hg_ref ref = {0};
    char now[41];
    snprintf(ref.repo, sizeof ref.repo, "%s", repo);
    snprintf(ref.revision, sizeof ref.revision, "%s", revision);
    if (hg_revision_read(s, &ref, now, NULL) == HANGAR_OK && hg_streq(now, commit)) return HANGAR_OK;
    code = hg_mkdirs(locks, HG_STORE_DIR_MODE, err);
    return code == HANGAR_OK ? write_ref(s, repo, path, commit, err) : code;
}
