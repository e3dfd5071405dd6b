/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/place.h"

#include "base/clock.h"
#include "base/fsx.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STAGE_TRIES 100
#define STAGE_STALE 86400 /* seconds after which nobody works in a stage any more */
#define COPY_STEP   ((size_t)16 << 20)

/* For hg_list_dir: removes a stage that a killed conversion left long ago. */
static hangar_code drop_stale(void *ctx, const char *dir, const char *name, hangar_err *err)
{
    (void)err;
    struct stat st;
    if (strncmp(name, HG_TMP_PREFIX, strlen(HG_TMP_PREFIX)) != 0) return HANGAR_OK;
    HG_AUTO(hg_auto_free) char *path = hg_path_join(dir, name);
    bool stale = path && lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_mtime < *(const int64_t *)ctx;
    if (stale) (void)hg_rm_tree(path, NULL);
    return HANGAR_OK;
}

/* Begins a folder. */
hangar_code hg_stage_begin(const char *target, char **out_stage, hangar_err *err)
{
    *out_stage = NULL;
    HG_AUTO(hg_auto_free) char *parent = hg_path_dir(target);
    if (!parent) return hg_fail_memory(err);
    hangar_code code = hg_mkdirs(parent, 0777, err);
    const int64_t stale = hg_wall() - STAGE_STALE;
    (void)hg_list_dir(parent, drop_stale, (void *)(uintptr_t)&stale, NULL);
    for (int i = 0; code == HANGAR_OK && i < STAGE_TRIES; i++) {
        char *stage = hg_format("%s/" HG_TMP_PREFIX "%08x", parent, (unsigned)(hg_random() * 4294967295.0));
        if (!stage) return hg_fail_memory(err);
        if (mkdir(stage, 0777) == 0) {
            *out_stage = stage;
            return HANGAR_OK;
        }
        int why = errno;
        free(stage);
        if (why == ENOENT)
            code = hg_mkdirs(parent, 0777, err); /* somebody who failed took the empty parent away */
        else if (why != EEXIST) return hg_fail_errno(err, why, "%s", parent);
    }
    return code != HANGAR_OK ? code : hg_fail(err, HANGAR_E_BUSY, "%s: no free temporary name", parent);
}

/* Puts the stage where an older folder is, by exchange where the file system can. */
static hangar_code replace_folder(const char *stage, const char *target, hangar_err *err)
{
    if (renameat2(AT_FDCWD, stage, AT_FDCWD, target, RENAME_EXCHANGE) == 0) return hg_rm_tree(stage, err);
    hangar_code code = hg_rm_tree(target, err);
    if (code == HANGAR_OK && rename(stage, target) != 0) code = hg_fail_errno(err, errno, "%s", target);
    return code;
}

/* fsync of a file or a folder. */
static hangar_code sync_path(const char *path, hangar_err *err)
{
    HG_AUTO(hg_auto_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fsync(fd) != 0) return hg_fail_errno(err, errno, "%s", path);
    return HANGAR_OK;
}

/* For hg_list_dir: syncs an entry of the stage; a folder after what is in it. Stages are two levels deep. */
static hangar_code sync_entry(void *ctx, const char *dir, const char *name, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *path = hg_path_join(dir, name);
    if (!path) return hg_fail_memory(err);
    hangar_code code = ctx && hg_is_dir(path) ? hg_list_dir(path, sync_entry, NULL, err) : HANGAR_OK;
    return code == HANGAR_OK ? sync_path(path, err) : code;
}

/* Gives the folder its name. */
hangar_code hg_stage_commit(const char *stage, const char *target, bool replace, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *parent = hg_path_dir(target);
    if (!parent) return hg_fail_memory(err);
    bool deeper = true;
    hangar_code code = hg_list_dir(stage, sync_entry, &deeper, err);
    if (code == HANGAR_OK) code = sync_path(stage, err);
    if (code != HANGAR_OK) return code;
    if (rename(stage, target) != 0) { /* over a missing or empty folder it works */
        bool full = errno == ENOTEMPTY || errno == EEXIST;
        if (!full) return hg_fail_errno(err, errno, "%s", target);
        if (!replace) return hg_fail(err, HANGAR_E_USAGE, "%s is there and not empty", target);
        code = replace_folder(stage, target, err);
    }
    return code == HANGAR_OK ? hg_fsync_dir(parent, err) : code;
}

/* Copies in steps, between which a cancel is seen. */
static hangar_code copy_steps(int in, int out, uint64_t size, const char *item, hangar_job *job,
                              hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *chunk = NULL;
    for (uint64_t done = 0; done < size;) {
        hangar_code code = hg_job_check(job, err);
        if (code != HANGAR_OK) return code;
        size_t step = size - done < COPY_STEP ? (size_t)(size - done) : COPY_STEP;
        ssize_t n = chunk ? -1 : copy_file_range(in, NULL, out, NULL, step, 0);
        if (n < 0 && (chunk || errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP)) {
            if (!chunk && !(chunk = hg_calloc(1, HG_MIB))) return hg_fail_memory(err);
            n = pread(in, chunk, step < HG_MIB ? step : HG_MIB, (off_t)done);
            if (n > 0) code = hg_pwrite_all(out, chunk, (size_t)n, done, err);
            if (code != HANGAR_OK) return code;
        }
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return hg_fail_errno(err, errno, "%s", item);
        if (n == 0) return hg_fail(err, HANGAR_E_IO, "%s became shorter while it was copied", item);
        done += (uint64_t)n;
        hg_job_item(job, item, done, size, "");
    }
    return HANGAR_OK;
}

static hangar_code create(const char *path, int *out_fd, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *folder = hg_path_dir(path);
    if (!folder) return hg_fail_memory(err);
    hangar_code code = hg_mkdirs(folder, 0777, err);
    if (code != HANGAR_OK) return code;
    *out_fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return *out_fd < 0 ? hg_fail_errno(err, errno, "%s", path) : HANGAR_OK;
}

/* A new file from bytes. */
hangar_code hg_stage_write(const char *path, const void *bytes, size_t len, hangar_err *err)
{
    HG_AUTO(hg_auto_close) int fd = -1;
    hangar_code code = create(path, &fd, err);
    return code == HANGAR_OK ? hg_write_all(fd, bytes, len, err) : code;
}

/* A new file from another one. */
hangar_code hg_stage_copy(const char *from, const char *path, const char *item, hangar_job *job,
                          hangar_err *err)
{
    HG_AUTO(hg_auto_close) int in = -1;
    HG_AUTO(hg_auto_close) int out = -1;
    uint64_t size = 0, room = 0;
    hangar_code code = hg_open_regular(from, &in, &size, err);
    if (code == HANGAR_OK) code = hg_disk_free(path, &room, err);
    if (code != HANGAR_OK) return code;
    if (room < size) {
        char need[16], have[16];
        return hg_fail(err, HANGAR_E_NO_SPACE, "%s needs %s, %s are free", item, hg_size_format(size, need),
                       hg_size_format(room, have));
    }
    code = create(path, &out, err);
    return code == HANGAR_OK ? copy_steps(in, out, size, item, job, err) : code;
}

/* Places one file. */
hangar_code hg_place_weights(const char *from, const char *to, hangar_place place, const char *item,
                             hangar_job *job, const char **out_way, hangar_err *err)
{
    bool any = place == HANGAR_PLACE_AUTO;
    if (any || place == HANGAR_PLACE_REFLINK) {
        *out_way = "reflink";
        hangar_code code = hg_place_file(from, to, HG_PLACE_REFLINK, any ? NULL : err);
        if (code == HANGAR_E_UNSUPPORTED && !any)
            return hg_fail(err, code,
                           "%s cannot be reflinked: the file system of the cache or of the folder does "
                           "not share blocks; use --link or --copy",
                           item);
        if (code == HANGAR_OK || !any) return hg_wrap(err, code, "reflink of %s", item);
    }
    if (any || place == HANGAR_PLACE_LINK) {
        *out_way = "link";
        hangar_code code = hg_place_file(from, to, HG_PLACE_LINK, any ? NULL : err);
        if (code == HANGAR_OK || !any) return hg_wrap(err, code, "hard link of %s", item);
    }
    *out_way = "copy";
    return hg_wrap(err, hg_stage_copy(from, to, item, job, err), "copy of %s", item);
}
