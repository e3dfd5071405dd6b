/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flock(2), polled: the Hub's Python clients take the same locks on the same files in the same way, so neither side can
 * starve the other. The file stays when the lock goes: who removed it would let two others lock two different files.
 */
#include "base/fsx.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#define POLL_SECONDS 0.1

static hangar_code open_lock(const char *path, int *out_fd, hangar_err *err)
{
    const int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    int fd = open(path, flags, 0664);
    if (fd < 0 && errno == ENOENT) {
        HG_AUTO(hg_auto_free) char *dir = hg_path_dir(path);
        if (!dir) return hg_fail_memory(err);
        hangar_code code = hg_mkdirs(dir, 0777, err);
        if (code != HANGAR_OK) return code;
        fd = open(path, flags, 0664);
    }
    if (fd < 0) return hg_fail_errno(err, errno, "lock %s", path);
    *out_fd = fd;
    return HANGAR_OK;
}

hangar_code hg_lock_take(const char *path, double seconds, bool (*stop)(void *), void *ctx, hg_lock *out,
                         hangar_err *err)
{
    int fd = -1;
    out->fd = -1;
    hangar_code code = open_lock(path, &fd, err);
    if (code != HANGAR_OK) return code;
    double end = hg_now() + seconds;
    for (;;) {
        int sys = flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
        if (sys == 0 || sys == ENOSYS || sys == EOPNOTSUPP || sys == ENOLCK) {
            out->fd = fd;
            return HANGAR_OK;
        }
        if (sys != EWOULDBLOCK && sys != EINTR) {
            code = hg_fail_errno(err, sys, "lock %s", path);
            break;
        }
        if (stop && stop(ctx)) {
            code = hg_fail(err, HANGAR_E_CANCELLED, "cancelled while waiting for the lock %s", path);
            break;
        }
        double left = seconds < 0 ? POLL_SECONDS : end - hg_now();
        if (left <= 0) {
            code = hg_fail(err, HANGAR_E_BUSY, "somebody else holds the lock %s", path);
            break;
        }
        hg_sleep(left < POLL_SECONDS ? left : POLL_SECONDS);
    }
    close(fd);
    return code;
}

void hg_lock_release(hg_lock *lock)
{
    if (lock->fd < 0) return;
    /* Said aloud, because a child that was forked just now may still have a copy of the descriptor. */
    flock(lock->fd, LOCK_UN);
    close(lock->fd);
    lock->fd = -1;
}
