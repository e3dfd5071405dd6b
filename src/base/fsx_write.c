/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Durable writing. A file on its way (hg_out) holds its folder open, so that it appears in the very folder it was
 * begun in, even when that is renamed meanwhile. Order of a commit: data to disk, name in place, name to disk.
 * fsync is asked once: when it fails, the kernel may have thrown the pages away, and asking again would lie.
 */
#include "base/fsx.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_TRIES 16

struct hg_out {
    int fd;
    int dir_fd;
    char *target; /* as it was given, for messages */
    char temp[sizeof HG_TMP_PREFIX + 16];
    bool fleeting;    /* need not survive a power cut: no fsync */
    hangar_code code; /* the first error, and its words */
    hangar_err why;
};

/* ---- small steps ---- */

hangar_code hg_write_all(int fd, const void *bytes, size_t len, hangar_err *err)
{
    const char *at = bytes;
    while (len) {
        ssize_t n = write(fd, at, len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return hg_fail_errno(err, errno, "writing");
        at += n;
        len -= (size_t)n;
    }
    return HANGAR_OK;
}

hangar_code hg_pwrite_all(int fd, const void *bytes, size_t len, uint64_t offset, hangar_err *err)
{
    const char *at = bytes;
    uint64_t end;
    if (!hg_add(offset, len, &end) || end > INT64_MAX)
        return hg_fail(err, HANGAR_E_INVALID, "a position beyond the end of any file");
    while (len) {
        ssize_t n = pwrite(fd, at, len, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return hg_fail_errno(err, errno, "writing at %llu", (unsigned long long)offset);
        at += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return HANGAR_OK;
}

/* fsync that takes "this file system knows no fsync" for done; an errno, 0 = done. */
static int sync_fd(int fd)
{
    int rc;
    do rc = fsync(fd);
    while (rc != 0 && errno == EINTR);
    if (rc == 0 || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP) return 0;
    return errno;
}

hangar_code hg_fsync_dir(const char *path, hangar_err *err)
{
    HG_AUTO(hg_auto_close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return hg_fail_errno(err, errno, "%s", path);
    int sys = sync_fd(fd);
    return sys ? hg_fail_errno(err, sys, "%s", path) : HANGAR_OK;
}

/* One folder, and its name in its parent made durable; one that is there is fine. */
static hangar_code make_dir(const char *path, mode_t mode, hangar_err *err)
{
    if (mkdir(path, mode) != 0) {
        int sys = errno;
        if (sys == EEXIST && hg_is_dir(path)) return HANGAR_OK;
        if (sys == EEXIST) return hg_fail(err, HANGAR_E_FAILED, "%s: is in the way, not a folder", path);
        return hg_fail_errno(err, sys, "making the folder %s", path);
    }
    HG_AUTO(hg_auto_free) char *parent = hg_path_dir(path);
    return parent ? hg_fsync_dir(parent, err) : hg_fail_memory(err);
}

hangar_code hg_mkdirs(const char *path, mode_t mode, hangar_err *err)
{
    if (hg_is_dir(path)) return HANGAR_OK;
    HG_AUTO(hg_auto_free) char *part = hg_strdup(path);
    if (!part) return hg_fail_memory(err);
    size_t len = strlen(part);
    while (len > 1 && part[len - 1] == '/') part[--len] = '\0';
    if (len == 0) return hg_fail(err, HANGAR_E_INVALID, "an empty path");
    for (char *at = part + 1; *at; at++) {
        if (*at != '/' || at[-1] == '/') continue;
        *at = '\0';
        hangar_code code = hg_is_dir(part) ? HANGAR_OK : make_dir(part, mode, err);
        if (code != HANGAR_OK) return code;
        *at = '/';
    }
    return make_dir(part, mode, err);
}

/* HG_TMP_PREFIX and sixteen random digits. */
static void temp_name(char out[sizeof HG_TMP_PREFIX + 16])
{
    uint64_t bits = 0;
    if (getrandom(&bits, sizeof bits, 0) != (ssize_t)sizeof bits) bits = (uint64_t)getpid();
    snprintf(out, sizeof HG_TMP_PREFIX + 16, HG_TMP_PREFIX "%016llx", (unsigned long long)bits);
}

/* Opens the folder that will hold `target`, making it when missing. */
static hangar_code open_dir_of(const char *target, int *out_fd, hangar_err *err)
{
    const char *name = hg_path_base(target);
    if (!*name || hg_streq(name, ".") || hg_streq(name, ".."))
        return hg_fail(err, HANGAR_E_INVALID, "'%s' cannot be the name of a file", target);
    HG_AUTO(hg_auto_free) char *dir = hg_path_dir(target);
    if (!dir) return hg_fail_memory(err);
    hangar_code code = hg_mkdirs(dir, 0777, err);
    if (code != HANGAR_OK) return code;
    *out_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *out_fd < 0 ? hg_fail_errno(err, errno, "%s", dir) : HANGAR_OK;
}

/* ---- a file on its way ---- */

static void out_free(hg_out *out)
{
    if (out->fd >= 0) close(out->fd);
    if (out->dir_fd >= 0) close(out->dir_fd);
    free(out->target);
    free(out);
}

hangar_code hg_out_open(const char *target, mode_t mode, hg_out **out, hangar_err *err)
{
    hg_out *o = hg_calloc(1, sizeof *o);
    if (!o) return hg_fail_memory(err);
    o->fd = o->dir_fd = -1;
    o->target = hg_strdup(target);
    hangar_code code = o->target ? open_dir_of(target, &o->dir_fd, err) : hg_fail_memory(err);
    for (int i = 0; code == HANGAR_OK && o->fd < 0; i++) {
        temp_name(o->temp);
        o->fd = openat(o->dir_fd, o->temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
        if (o->fd < 0 && (errno != EEXIST || i == NAME_TRIES))
            code = hg_fail_errno(err, errno, "writing %s", target);
    }
    if (code != HANGAR_OK) {
        out_free(o);
        return code;
    }
    *out = o;
    return HANGAR_OK;
}

void hg_out_write(hg_out *out, const void *bytes, size_t len)
{
    if (out->code == HANGAR_OK) out->code = hg_write_all(out->fd, bytes, len, &out->why);
}

int hg_out_fd(const hg_out *out)
{
    return out->fd;
}

uint64_t hg_out_size(const hg_out *out)
{
    struct stat st;
    return fstat(out->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* Without RENAME_NOREPLACE: a second name for the file, then the first one goes. 0, or an errno. */
static int link_into_place(int dir_fd, const char *temp, const char *name)
{
    if (linkat(dir_fd, temp, dir_fd, name, 0) == 0) return unlinkat(dir_fd, temp, 0) == 0 ? 0 : errno;
    if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS && errno != EMLINK) return errno;
    /* No hard links here either (FAT): look, then rename. Two writers at once write the same thing in hangar. */
    if (faccessat(dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0) return EEXIST;
    return renameat(dir_fd, temp, dir_fd, name) == 0 ? 0 : errno;
}

/* Gives the temporary file its name. 0, or an errno; EEXIST only without `replace`. */
static int into_place(int dir_fd, const char *temp, const char *name, bool replace)
{
    if (replace) return renameat(dir_fd, temp, dir_fd, name) == 0 ? 0 : errno;
    if (renameat2(dir_fd, temp, dir_fd, name, RENAME_NOREPLACE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return errno;
    return link_into_place(dir_fd, temp, name);
}

/* The commit proper; *existed tells that no_replace found somebody else's file. Frees `out` in any case. */
static hangar_code publish(hg_out *out, bool no_replace, bool *existed, hangar_err *err)
{
    *existed = false;
    hangar_code code = out->code;
    if (code != HANGAR_OK && err) *err = out->why;
    int sys = code == HANGAR_OK && !out->fleeting ? sync_fd(out->fd) : 0;
    if (code == HANGAR_OK && sys == 0) {
        int fd = out->fd;
        out->fd = -1;
        /* NFS tells of a full disk only here. */
        if (close(fd) != 0 && errno != EINTR) sys = errno;
    }
    if (code == HANGAR_OK && sys == 0) {
        sys = into_place(out->dir_fd, out->temp, hg_path_base(out->target), !no_replace);
        *existed = sys == EEXIST && no_replace;
    }
    if (code != HANGAR_OK || sys != 0) unlinkat(out->dir_fd, out->temp, 0);
    else if (!out->fleeting) sys = sync_fd(out->dir_fd);
    if (code != HANGAR_OK) hg_wrap(err, code, "%s", out->target);
    else if (sys != 0 && !*existed) code = hg_fail_errno(err, sys, "writing %s", out->target);
    out_free(out);
    return code;
}

hangar_code hg_out_commit(hg_out *out, bool no_replace, hangar_err *err)
{
    bool existed;
    return publish(out, no_replace, &existed, err);
}

void hg_out_abort(hg_out *out)
{
    if (!out) return;
    unlinkat(out->dir_fd, out->temp, 0);
    out_free(out);
}

static hangar_code write_file(const char *target, const void *bytes, size_t len, mode_t mode, bool fleeting,
                              hangar_err *err)
{
    hg_out *out;
    hangar_code code = hg_out_open(target, mode, &out, err);
    if (code != HANGAR_OK) return code;
    out->fleeting = fleeting;
    hg_out_write(out, bytes, len);
    return hg_out_commit(out, false, err);
}

hangar_code hg_write_file(const char *target, const void *bytes, size_t len, mode_t mode, hangar_err *err)
{
    return write_file(target, bytes, len, mode, false, err);
}

hangar_code hg_write_state(const char *target, const void *bytes, size_t len, mode_t mode, hangar_err *err)
{
    return write_file(target, bytes, len, mode, true, err);
}

/* ---- placing ---- */

/* Shares the blocks of two files; UNSUPPORTED where the file system cannot. */
static hangar_code clone_bytes(int from, int to, hangar_err *err)
{
    if (ioctl(to, FICLONE, from) == 0) return HANGAR_OK;
    if (errno == EXDEV || errno == EINVAL || errno == ENOTTY || errno == EPERM || errno == EBADF)
        errno = EOPNOTSUPP;
    return hg_fail_errno(err, errno, "sharing blocks");
}

/* The slow way, for when the kernel cannot copy by itself. */
static hangar_code copy_by_hand(int from, int to, hangar_err *err)
{
    const size_t chunk = 256 * HG_KIB;
    HG_AUTO(hg_auto_free) char *bytes = malloc(chunk);
    if (!bytes) return hg_fail_memory(err);
    for (;;) {
        ssize_t n = read(from, bytes, chunk);
        if (n == 0) return HANGAR_OK;
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return hg_fail_errno(err, errno, "reading");
        hangar_code code = hg_write_all(to, bytes, (size_t)n, err);
        if (code != HANGAR_OK) return code;
    }
}

/* Copies all of one file into another that is empty. */
static hangar_code copy_bytes(int from, int to, uint64_t size, hangar_err *err)
{
    uint64_t done = 0;
    for (;;) {
        ssize_t n = copy_file_range(from, NULL, to, NULL, (size_t)1 << 30, 0);
        if (n > 0) {
            done += (uint64_t)n;
            continue;
        }
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EIO || errno == EFBIG))
            return hg_fail_errno(err, errno, "copying");
        /* An end that comes too early is some file systems' way to say that they cannot. */
        return n == 0 && done >= size ? HANGAR_OK : copy_by_hand(from, to, err);
    }
}

static hangar_code place_by_link(const char *from, const char *to, hangar_err *err)
{
    HG_AUTO(hg_auto_close) int dir_fd = -1;
    hangar_code code = open_dir_of(to, &dir_fd, err);
    if (code != HANGAR_OK) return code;
    if (linkat(AT_FDCWD, from, dir_fd, hg_path_base(to), AT_SYMLINK_FOLLOW) != 0) {
        int sys = errno;
        if (sys == EXDEV || sys == EPERM || sys == EMLINK || sys == ENOSYS) sys = EOPNOTSUPP;
        return hg_fail_errno(err, sys, "linking %s", to);
    }
    int sys = sync_fd(dir_fd);
    return sys ? hg_fail_errno(err, sys, "linking %s", to) : HANGAR_OK;
}

hangar_code hg_place_file(const char *from, const char *to, hg_place how, hangar_err *err)
{
    HG_AUTO(hg_auto_close) int fd = -1;
    uint64_t size;
    hangar_code code = hg_open_regular(from, &fd, &size, err);
    if (code != HANGAR_OK) return code;
    if (how == HG_PLACE_LINK) return place_by_link(from, to, err);
    struct stat st;
    hg_out *out;
    if (fstat(fd, &st) != 0) return hg_fail_errno(err, errno, "%s", from);
    code = hg_out_open(to, st.st_mode & 0777, &out, err);
    if (code != HANGAR_OK) return code;
    if (how == HG_PLACE_REFLINK) out->code = clone_bytes(fd, out->fd, &out->why);
    else out->code = copy_bytes(fd, out->fd, size, &out->why);
    bool existed;
    code = publish(out, true, &existed, err);
    if (existed) return hg_fail_errno(err, EEXIST, "%s", to);
    return code;
}
