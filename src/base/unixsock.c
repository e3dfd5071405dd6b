/* SPDX-License-Identifier: Apache-2.0 */
#include "base/unixsock.h"

#include "base/fsx.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/*
 * The address of a path. One that is too long goes through an open descriptor of its folder (*out_dir; -1 = not needed), which must be
 * open while the address is used.
 */
static hangar_code address_of(const char *path, struct sockaddr_un *out, int *out_dir, hangar_err *err)
{
    memset(out, 0, sizeof *out);
    out->sun_family = AF_UNIX;
    *out_dir = -1;
    if (strlen(path) < sizeof out->sun_path) {
        strcpy(out->sun_path, path);
        return HANGAR_OK;
    }
    char *dir = hg_path_dir(path);
    if (!dir) return hg_fail_memory(err);
    int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int sys = errno;
    free(dir);
    if (fd < 0) return hg_fail_errno(err, sys, "%s", path);
    int n = snprintf(out->sun_path, sizeof out->sun_path, "/proc/self/fd/%d/%s", fd, hg_path_base(path));
    if (n < 0 || (size_t)n >= sizeof out->sun_path) {
        close(fd);
        return hg_fail(err, HANGAR_E_USAGE, "%s: the name is too long for a socket", path);
    }
    *out_dir = fd;
    return HANGAR_OK;
}

hangar_code hg_unix_connect(const char *path, int *out_fd, hangar_err *err)
{
    struct sockaddr_un at;
    int dir;
    *out_fd = -1;
    hangar_code code = address_of(path, &at, &dir, err);
    if (code != HANGAR_OK) return code;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = fd < 0 ? -1 : connect(fd, (struct sockaddr *)&at, sizeof at);
    int sys = errno;
    if (dir >= 0) close(dir);
    if (rc == 0) {
        *out_fd = fd;
        return HANGAR_OK;
    }
    if (fd >= 0) close(fd);
    code = hg_fail_errno(err, sys, "%s", path);
    if (sys != ECONNREFUSED) return code;
    if (err) err->code = HANGAR_E_NOT_FOUND;
    return HANGAR_E_NOT_FOUND;
}

bool hg_unix_peer_is_us(int fd)
{
    struct ucred who;
    socklen_t len = sizeof who;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0 || len != sizeof who) return false;
    return who.uid == geteuid() || who.uid == 0;
}

/* Makes room at the path: what is left of a process that is gone is removed. The lock is held. */
static hangar_code clear_path(const char *path, hangar_err *err)
{
    struct stat st;
    int fd;
    if (lstat(path, &st) != 0) return errno == ENOENT ? HANGAR_OK : hg_fail_errno(err, errno, "%s", path);
    if (!S_ISSOCK(st.st_mode)) return hg_fail(err, HANGAR_E_USAGE, "%s is there and is no socket", path);
    hangar_err why = {0};
    hangar_code code = hg_unix_connect(path, &fd, &why);
    if (code == HANGAR_OK) {
        close(fd);
        return hg_fail(err, HANGAR_E_BUSY, "somebody listens on %s already", path);
    }
    if (why.sys != ECONNREFUSED && why.sys != ENOENT) {
        if (err) *err = why;
        return code;
    }
    if (unlink(path) != 0 && errno != ENOENT) return hg_fail_errno(err, errno, "%s", path);
    return HANGAR_OK;
}

/* Binds and listens; the file has mode 0600 from the start, since a socket's own mode becomes that of its file. */
static hangar_code bind_path(hg_unix *u, hangar_err *err)
{
    struct sockaddr_un at;
    struct stat st;
    int dir;
    hangar_code code = address_of(u->path, &at, &dir, err);
    if (code != HANGAR_OK) return code;
    u->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc = u->fd < 0 ? -1 : fchmod(u->fd, 0600);
    if (rc == 0) rc = bind(u->fd, (struct sockaddr *)&at, sizeof at);
    if (rc == 0) rc = listen(u->fd, SOMAXCONN);
    if (rc == 0) rc = lstat(u->path, &st);
    int sys = errno;
    if (dir >= 0) close(dir);
    if (rc != 0) return hg_fail_errno(err, sys, "listening on %s", u->path);
    u->device = st.st_dev;
    u->inode = st.st_ino;
    return HANGAR_OK;
}

/* hg_unix_listen without its clean-up. */
static hangar_code listen_at(hg_unix *u, const char *path, hangar_err *err)
{
    u->path = hg_strdup(path);
    HG_AUTO(hg_auto_free) char *dir = hg_path_dir(path);
    HG_AUTO(hg_auto_free) char *lock = hg_format("%s.lock", path);
    if (!u->path || !dir || !lock) return hg_fail_memory(err);
    hangar_code code = hg_mkdirs(dir, 0700, err);
    if (code != HANGAR_OK) return code;
    hg_lock held = HG_LOCK_INIT;
    code = hg_lock_take(lock, 0, NULL, NULL, &held, err);
    if (code == HANGAR_E_BUSY) return hg_fail(err, code, "somebody listens on %s already", path);
    if (code != HANGAR_OK) return code;
    u->lock = held.fd;
    code = clear_path(path, err);
    return code == HANGAR_OK ? bind_path(u, err) : code;
}

hangar_code hg_unix_listen(const char *path, hg_unix *out, hangar_err *err)
{
    *out = (hg_unix){.fd = -1, .lock = -1};
    hangar_code code = listen_at(out, path, err);
    if (code != HANGAR_OK) hg_unix_close(out);
    return code;
}

void hg_unix_close(hg_unix *u)
{
    struct stat st;
    if (u->inode && lstat(u->path, &st) == 0 && st.st_dev == u->device && st.st_ino == u->inode)
        unlink(u->path);
    if (u->fd >= 0) close(u->fd);
    if (u->lock >= 0) hg_lock_release(&(hg_lock){u->lock});
    free(u->path);
    *u = (hg_unix){.fd = -1, .lock = -1};
}
