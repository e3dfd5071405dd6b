/* SPDX-License-Identifier: Apache-2.0 */
/* Reading files, and looking what is there. A FIFO or a device in the place of a file is refused, never waited for. */
#include "base/fsx.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

hangar_code hg_open_regular(const char *path, int *out_fd, uint64_t *out_size, hangar_err *err)
{
    struct stat st;
    /* Looked at before it is opened, because opening alone can move a tape or wake a line. */
    if (stat(path, &st) != 0) return hg_fail_errno(err, errno, "%s", path);
    if (S_ISDIR(st.st_mode)) return hg_fail(err, HANGAR_E_INVALID, "%s: is a folder", path);
    if (!S_ISREG(st.st_mode)) return hg_fail(err, HANGAR_E_INVALID, "%s: not a regular file", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return hg_fail_errno(err, errno, "%s", path);
    hangar_code code = HANGAR_OK;
    if (fstat(fd, &st) != 0) code = hg_fail_errno(err, errno, "%s", path);
    else if (!S_ISREG(st.st_mode)) code = hg_fail(err, HANGAR_E_INVALID, "%s: not a regular file", path);
    if (code != HANGAR_OK) {
        close(fd);
        return code;
    }
    *out_fd = fd;
    if (out_size) *out_size = (uint64_t)st.st_size;
    return HANGAR_OK;
}

/* read() that is not ended by signals. */
static ssize_t read_some(int fd, void *bytes, size_t len)
{
    ssize_t n;
    do n = read(fd, bytes, len);
    while (n < 0 && errno == EINTR);
    return n;
}

hangar_code hg_read_file(const char *path, hg_buf *out, hangar_err *err)
{
    HG_AUTO(hg_auto_close) int fd = -1;
    uint64_t size;
    hangar_code code = hg_open_regular(path, &fd, &size, err);
    if (code != HANGAR_OK) return code;
    /* The size is only a hint: files grow, and those of /proc say 0. */
    for (;;) {
        size_t left = out->max - out->len;
        size_t want = size && size < SIZE_MAX - 1 ? (size_t)size + 1 : 4096;
        char probe;
        if (want > left) want = left;
        char *room = want ? hg_buf_reserve(out, want) : &probe;
        if (!room) return hg_wrap(err, hg_buf_check(out, err), "%s", path);
        ssize_t n = read_some(fd, room, want ? want : 1);
        if (n < 0) return hg_fail_errno(err, errno, "%s", path);
        if (n == 0) return HANGAR_OK;
        if (!want) return hg_fail(err, HANGAR_E_LIMIT, "%s: over the limit of %zu bytes", path, out->max);
        out->len += (size_t)n;
        size = size > (uint64_t)n ? size - (uint64_t)n : 0;
    }
}

hangar_code hg_map_open(const char *path, hg_map *out, hangar_err *err)
{
    HG_AUTO(hg_auto_close) int fd = -1;
    uint64_t size;
    hangar_code code = hg_open_regular(path, &fd, &size, err);
    if (code != HANGAR_OK) return code;
    *out = (hg_map){0};
    if (size == 0) return HANGAR_OK;
    if (size > PTRDIFF_MAX) return hg_fail(err, HANGAR_E_LIMIT, "%s: too large for this machine", path);
    void *data = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) return hg_fail_errno(err, errno, "%s", path);
    *out = (hg_map){data, size};
    return HANGAR_OK;
}

void hg_map_close(hg_map *map)
{
    if (map->data) munmap((void *)(uintptr_t)map->data, (size_t)map->len);
    *map = (hg_map){0};
}

void hg_map_forget(const hg_map *map, uint64_t offset, uint64_t bytes)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), end = 0;
    if (!map->data || !hg_add(offset, bytes, &end) || end > map->len) return;
    uint64_t first = (offset + page - 1) / page * page;
    end = end / page * page;
    if (end > first)
        (void)madvise((void *)(uintptr_t)(map->data + first), (size_t)(end - first), MADV_DONTNEED);
}

bool hg_is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool hg_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

hangar_code hg_pread_all(int fd, void *bytes, size_t len, uint64_t offset, hangar_err *err)
{
    char *at = bytes;
    uint64_t end;
    if (!hg_add(offset, len, &end) || end > INT64_MAX)
        return hg_fail(err, HANGAR_E_INVALID, "a position beyond the end of any file");
    while (len) {
        ssize_t n = pread(fd, at, len, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return hg_fail_errno(err, errno, "reading at %llu", (unsigned long long)offset);
        if (n == 0)
            return hg_fail(err, HANGAR_E_INVALID, "the file ends at %llu, %zu bytes too early",
                           (unsigned long long)offset, len);
        at += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return HANGAR_OK;
}

hangar_code hg_disk_free(const char *path, uint64_t *out_bytes, hangar_err *err)
{
    struct statvfs vfs;
    HG_AUTO(hg_auto_free) char *at = hg_strdup(path);
    if (!at) return hg_fail_memory(err);
    while (statvfs(at, &vfs) != 0) {
        if ((errno != ENOENT && errno != ENOTDIR) || hg_streq(at, "/") || hg_streq(at, "."))
            return hg_fail_errno(err, errno, "%s", at);
        char *parent = hg_path_dir(at);
        if (!parent) return hg_fail_memory(err);
        free(at);
        at = parent;
    }
    if (!hg_mul(vfs.f_bavail, vfs.f_frsize, out_bytes)) *out_bytes = UINT64_MAX;
    return HANGAR_OK;
}
