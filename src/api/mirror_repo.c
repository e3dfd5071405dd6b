/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A folder read as a revision of a repository. Everything is opened relative to the mirror's own descriptor and below it
 * (openat2 RESOLVE_BENEATH), so a link that leads out, a swapped folder or a ".." finds nothing. Where the kernel has no openat2, links
 * are not followed at all. Names that hg_path_check refuses, and what git and the Hub's clients keep for themselves (.git,
 * .cache), are left out.
 */
#include "api/mirror.h"
#include "base/clock.h"
#include "base/fsx.h"
#include "base/log.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Opens component by component without following any link: for kernels without openat2. */
static int open_stepwise(int root, const char *path, int flags)
{
    int at = root;
    hg_str rest = hg_str_of(path);
    for (bool more = true; more;) {
        hg_str part;
        char name[256];
        more = hg_str_cut(&rest, '/', &part);
        if (part.len == 0 || part.len >= sizeof name || hg_str_eq(part, HG_STR(".."))) {
            if (at != root) close(at);
            errno = ENOENT;
            return -1;
        }
        memcpy(name, part.ptr, part.len);
        name[part.len] = '\0';
        int next = openat(at, name, (more ? O_RDONLY | O_DIRECTORY : flags) | O_NOFOLLOW | O_CLOEXEC);
        int sys = errno;
        if (at != root) close(at);
        errno = sys;
        if (next < 0) return -1;
        at = next;
    }
    return at;
}

hangar_code hg_below_open(int root, const char *path, int flags, int *out_fd, struct stat *out_stat,
                          hangar_err *err)
{
    struct open_how how = {.flags = (unsigned)(flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC),
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
        fd = open_stepwise(root, path, flags | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        int sys = errno;
        if (sys == EXDEV || sys == ELOOP || sys == ENOTDIR || sys == ENAMETOOLONG || sys == EAGAIN)
            sys = ENOENT;
        return hg_fail_errno(err, sys, "opening %s", path);
    }
    bool want_dir = flags & O_DIRECTORY;
    if (fstat(fd, out_stat) != 0 || (want_dir ? !S_ISDIR(out_stat->st_mode) : !S_ISREG(out_stat->st_mode))) {
        close(fd);
        return hg_fail(err, HANGAR_E_NOT_FOUND, "%s is not a %s", path, want_dir ? "folder" : "regular file");
    }
    *out_fd = fd;
    return HANGAR_OK;
}

/* A file's time in nanoseconds. */
static int64_t mtime_of(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

bool hg_mirror_same(const hg_mirror_file *f, const struct stat *st)
{
    return f->size == (uint64_t)st->st_size && f->mtime_ns == mtime_of(st) &&
           f->inode == (uint64_t)st->st_ino;
}

/* Takes over what stat says. */
static void note_stat(hg_mirror_file *f, const struct stat *st)
{
    f->size = (uint64_t)st->st_size;
    f->mtime_ns = mtime_of(st);
    f->inode = (uint64_t)st->st_ino;
    f->known = false;
}

/* LFS is what the Hub would store as such: big, or weights by name. */
static bool is_lfs(const char *path, uint64_t size)
{
    static const char *const ends[] = {".safetensors", ".gguf", ".onnx", ".bin"};
    for (size_t i = 0; i < HG_LEN(ends); i++)
        if (hg_str_ends(hg_str_of(path), hg_str_of(ends[i]))) return true;
    return size >= HG_MIRROR_LFS_BYTES;
}

/* ---- the walk ---- */

typedef struct walk {
    int root;
    const char *folder;
    hg_mirror_snap *snap;
} walk;

/* Adds one regular file. */
static hangar_code add_file(walk *w, const char *path, const struct stat *st, hangar_err *err)
{
    hg_mirror_snap *s = w->snap;
    if (s->count == HG_MIRROR_FILES)
        return hg_fail(err, HANGAR_E_LIMIT, "more than %u files", HG_MIRROR_FILES);
    if (!hg_grow((void **)&s->files, &s->cap, s->count + 1, sizeof *s->files)) return hg_fail_memory(err);
    hg_mirror_file *f = &s->files[s->count];
    memset(f, 0, sizeof *f);
    f->path = hg_strdup(path);
    if (!f->path) return hg_fail_memory(err);
    note_stat(f, st);
    f->lfs = is_lfs(path, f->size);
    if (st->st_mtim.tv_sec > s->modified) s->modified = st->st_mtim.tv_sec;
    s->count++;
    return HANGAR_OK;
}

static hangar_code walk_dir(walk *w, int fd, const char *prefix, int depth, hangar_err *err);

/* A link: its target's own data, when it is a regular file below the root. */
static hangar_code walk_link(walk *w, const char *path, hangar_err *err)
{
    struct stat st;
    int fd = -1;
    char *full = hg_path_join(w->folder, path);
    if (!full) return hg_fail_memory(err);
    hangar_code code = HANGAR_OK;
    if (hg_below_open(w->root, full, O_RDONLY, &fd, &st, NULL) == HANGAR_OK) {
        close(fd);
        code = add_file(w, path, &st, err);
    } else {
        hg_log(HG_LOG_INFO, "mirror", "left out %s: it leads to no file of the mirror", full);
    }
    free(full);
    return code;
}

/* One entry of a folder. */
static hangar_code walk_entry(walk *w, int dir, const char *prefix, const char *name, int depth,
                              hangar_err *err)
{
    struct stat st;
    HG_AUTO(hg_auto_free) char *path = *prefix ? hg_path_join(prefix, name) : hg_strdup(name);
    if (!path) return hg_fail_memory(err);
    if (!strcmp(name, ".git") || !strcmp(name, ".cache") ||
        hg_str_starts(hg_str_of(name), HG_STR(HG_TMP_PREFIX)))
        return HANGAR_OK;
    hangar_err why = {0};
    if (hg_path_check(hg_str_of(path), &why) != HANGAR_OK) {
        hg_log(HG_LOG_INFO, "mirror", "left out %s: %s", w->folder, why.msg);
        return HANGAR_OK;
    }
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return HANGAR_OK; /* gone meanwhile */
    if (S_ISLNK(st.st_mode)) return walk_link(w, path, err);
    if (S_ISREG(st.st_mode)) return add_file(w, path, &st, err);
    if (!S_ISDIR(st.st_mode) || depth == HG_MIRROR_DEPTH) return HANGAR_OK;
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return HANGAR_OK;
    return walk_dir(w, fd, path, depth + 1, err);
}

/* All of one folder; closes fd. */
static hangar_code walk_dir(walk *w, int fd, const char *prefix, int depth, hangar_err *err)
{
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return hg_fail_memory(err);
    }
    hangar_code code = HANGAR_OK;
    for (struct dirent *e; code == HANGAR_OK && (e = readdir(dir));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            code = walk_entry(w, dirfd(dir), prefix, e->d_name, depth, err);
    closedir(dir);
    return code;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const hg_mirror_file *)a)->path, ((const hg_mirror_file *)b)->path);
}

hangar_code hg_snap_walk(int root, const char *folder, hg_mirror_snap **out, hangar_err *err)
{
    int fd = -1;
    struct stat st;
    hg_mirror_snap *s = hg_calloc(1, sizeof *s);
    if (!s) return hg_fail_memory(err);
    s->refs = 1;
    s->walked = hg_now();
    walk w = {.root = root, .folder = folder, .snap = s};
    hangar_code code = hg_below_open(root, folder, O_RDONLY | O_DIRECTORY, &fd, &st, err);
    if (code == HANGAR_OK) code = walk_dir(&w, fd, "", 0, err);
    if (code != HANGAR_OK) {
        hg_snap_free(s);
        return code;
    }
    if (s->count > 0) qsort(s->files, s->count, sizeof *s->files, by_path);
    *out = s;
    return HANGAR_OK;
}

void hg_snap_free(hg_mirror_snap *snap)
{
    if (!snap) return;
    for (size_t i = 0; i < snap->count; i++) free(snap->files[i].path);
    free(snap->files);
    free(snap);
}

const hg_mirror_file *hg_snap_find(const hg_mirror_snap *snap, const char *path)
{
    hg_mirror_file key = {.path = (char *)(uintptr_t)path};
    return snap->count ? bsearch(&key, snap->files, snap->count, sizeof key, by_path) : NULL;
}

void hg_snap_inherit(hg_mirror_snap *snap, const hg_mirror_snap *old)
{
    for (size_t i = 0; i < snap->count; i++) {
        hg_mirror_file *f = &snap->files[i];
        const hg_mirror_file *was = hg_snap_find(old, f->path);
        if (!was || was->size != f->size || was->mtime_ns != f->mtime_ns || was->inode != f->inode) continue;
        memcpy(f->oid, was->oid, sizeof f->oid);
        memcpy(f->sha256, was->sha256, sizeof f->sha256);
        f->known = was->known;
    }
}

hangar_code hg_snap_seal(hg_mirror_snap *snap, hangar_err *err)
{
    char hex[65];
    hg_hash *h = hg_hash_new(HG_HASH_SHA1, 0);
    if (!h) return hg_fail_memory(err);
    snap->modified = 0;
    for (size_t i = 0; i < snap->count; i++) {
        const hg_mirror_file *f = &snap->files[i];
        hg_hash_add(h, f->path, strlen(f->path) + 1);
        hg_hash_add(h, f->oid, strlen(f->oid) + 1);
        if (f->mtime_ns / 1000000000 > snap->modified) snap->modified = f->mtime_ns / 1000000000;
    }
    hangar_code code = hg_hash_finish(h, hex, err);
    hg_hash_free(h);
    if (code == HANGAR_OK) memcpy(snap->commit, hex, sizeof snap->commit);
    return code;
}

/* ---- digests ---- */

void hg_lfs_pointer(const hg_mirror_file *f, hg_buf *out)
{
    hg_buf_printf(out, "version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %llu\n", f->sha256,
                  (unsigned long long)f->size);
}

void hg_file_hash_deinit(hg_file_hash *h)
{
    if (h->fd >= 0) close(h->fd);
    hg_hash_free(h->hash);
    *h = (hg_file_hash){.fd = -1};
}

/* Opens the file as it is now. */
static hangar_code hash_begin(int root, const char *folder, hg_mirror_file *f, hg_file_hash *h,
                              hangar_err *err)
{
    struct stat st;
    HG_AUTO(hg_auto_free) char *full = hg_path_join(folder, f->path);
    if (!full) return hg_fail_memory(err);
    hangar_code code = hg_below_open(root, full, O_RDONLY, &h->fd, &st, err);
    if (code != HANGAR_OK) return code;
    note_stat(f, &st);
    f->lfs = is_lfs(f->path, f->size);
    h->done = 0;
    h->hash = hg_hash_new(f->lfs ? HG_HASH_SHA256 : HG_HASH_GIT_SHA1, f->size);
    return h->hash ? HANGAR_OK : hg_fail_memory(err);
}

/* Fills in the digests of a file that was read to its end. */
static hangar_code hash_end(hg_mirror_file *f, hg_file_hash *h, hangar_err *err)
{
    char hex[65];
    hangar_code code = hg_hash_finish(h->hash, hex, err);
    if (code != HANGAR_OK) return code;
    f->sha256[0] = '\0';
    if (f->lfs) {
        memcpy(f->sha256, hex, sizeof f->sha256);
        hg_buf text;
        hg_buf_init(&text, HG_KIB);
        hg_lfs_pointer(f, &text);
        hg_hash *pointer = hg_hash_new(HG_HASH_GIT_SHA1, text.len);
        code = hg_buf_check(&text, err);
        if (code == HANGAR_OK && !pointer) code = hg_fail_memory(err);
        if (code == HANGAR_OK) {
            hg_hash_add(pointer, text.data, text.len);
            code = hg_hash_finish(pointer, hex, err);
        }
        hg_hash_free(pointer);
        hg_buf_deinit(&text);
    }
    if (code == HANGAR_OK) memcpy(f->oid, hex, sizeof f->oid);
    f->oid[40] = '\0';
    f->known = code == HANGAR_OK;
    return code;
}

hangar_code hg_file_hash_step(int root, const char *folder, hg_mirror_file *f, hg_file_hash *h,
                              uint64_t *budget, uint8_t *scratch, size_t scratch_len, bool *out_done,
                              hangar_err *err)
{
    hangar_code code = h->fd < 0 ? hash_begin(root, folder, f, h, err) : HANGAR_OK;
    *out_done = false;
    while (code == HANGAR_OK && h->done<f->size && * budget> 0) {
        uint64_t want = f->size - h->done;
        if (want > scratch_len) want = scratch_len;
        ssize_t n = pread(h->fd, scratch, (size_t)want, (off_t)h->done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) code = hg_fail_errno(err, errno, "reading %s", f->path);
        if (n <= 0) break;
        hg_hash_add(h->hash, scratch, (size_t)n);
        h->done += (uint64_t)n;
        *budget -= (uint64_t)n < *budget ? (uint64_t)n : *budget;
    }
    if (code == HANGAR_OK && h->done < f->size && *budget == 0) return HANGAR_OK; /* the slice is used up */
    struct stat st;
    if (code == HANGAR_OK && (h->done < f->size || fstat(h->fd, &st) != 0 || !hg_mirror_same(f, &st))) {
        *budget = 0; /* it changed meanwhile: from the start again, at the next step */
    } else if (code == HANGAR_OK) {
        code = hash_end(f, h, err);
        *out_done = code == HANGAR_OK;
    }
    hg_file_hash_deinit(h);
    return code;
}

/* ---- repositories and revisions ---- */

typedef struct names {
    char **items;
    size_t count, cap;
} names;

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_free(names *n)
{
    for (size_t i = 0; i < n->count; i++) free(n->items[i]);
    free(n->items);
}

/* A folder that is not hidden; by way of a link only when it stays below the root. */
static bool is_folder(int root, const char *path, int dir, const char *name)
{
    struct stat st;
    int fd = -1;
    if (name[0] == '.' || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return false;
    if (!S_ISLNK(st.st_mode)) return S_ISDIR(st.st_mode);
    HG_AUTO(hg_auto_free) char *full = hg_path_join(path, name);
    if (!full || hg_below_open(root, full, O_RDONLY | O_DIRECTORY, &fd, &st, NULL) != HANGAR_OK) return false;
    close(fd);
    return true;
}

/* The names of folders in one folder, sorted. */
static hangar_code list_folders(int root, const char *path, names *out, hangar_err *err)
{
    int fd = -1;
    struct stat st;
    hangar_code code = hg_below_open(root, path, O_RDONLY | O_DIRECTORY, &fd, &st, err);
    if (code != HANGAR_OK) return code;
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return hg_fail_memory(err);
    }
    for (struct dirent *e; code == HANGAR_OK && (e = readdir(dir));) {
        if (!is_folder(root, path, dirfd(dir), e->d_name)) continue;
        if (out->count == HG_MIRROR_REPOSITORIES) {
            code = hg_fail(err, HANGAR_E_LIMIT, "more than %u folders in %s", HG_MIRROR_REPOSITORIES, path);
        } else if (!hg_grow((void **)&out->items, &out->cap, out->count + 1, sizeof *out->items) ||
                   !(out->items[out->count] = hg_strdup(e->d_name))) {
            code = hg_fail_memory(err);
        } else {
            out->count++;
        }
    }
    closedir(dir);
    if (out->count > 0) qsort(out->items, out->count, sizeof *out->items, by_name);
    return code;
}

/* Cuts "NAME@REV"; *rev is decoded into buf ("main" when there is none). False when it is no repository's folder. */
static bool split_folder(const char *item, hg_str *name, char *rev, size_t rev_len)
{
    hg_str rest = hg_str_of(item);
    bool has = hg_str_cut(&rest, '@', name);
    if (!hg_repo_word(*name)) return false;
    if (!has) return snprintf(rev, rev_len, "main") > 0;
    size_t n = 0;
    for (size_t i = 0; i < rest.len && n + 1 < rev_len; i++) {
        bool slash = rest.len - i > 2 && !strncmp(rest.ptr + i, "%2F", 3);
        rev[n++] = slash ? '/' : rest.ptr[i];
        if (slash) i += 2;
    }
    rev[n] = '\0';
    return n > 0;
}

hangar_code hg_repo_revisions(int root, hg_str org, hg_str name, hg_rev_fn *fn, void *ctx, hangar_err *err)
{
    names found = {0};
    char owner[128];
    snprintf(owner, sizeof owner, "%.*s", HG_STR_ARG(org));
    hangar_code code = list_folders(root, owner, &found, err);
    for (size_t i = 0; code == HANGAR_OK && i < found.count; i++) {
        hg_str repo;
        char rev[256];
        if (!split_folder(found.items[i], &repo, rev, sizeof rev) || !hg_str_eq(repo, name)) continue;
        HG_AUTO(hg_auto_free) char *folder = hg_path_join(owner, found.items[i]);
        code = folder ? fn(ctx, rev, folder, err) : hg_fail_memory(err);
    }
    names_free(&found);
    return code;
}

/* The folder that stands for its repository: the plain one, or without it the first with a revision. */
static bool is_first(const names *all, size_t i, hg_str repo)
{
    const char *item = all->items[i];
    if (item[repo.len] == '\0') return true;
    if (i > 0 && !strncmp(all->items[i - 1], item, repo.len + 1)) return false;
    HG_AUTO(hg_auto_free) char *plain = hg_strndup(repo.ptr, repo.len);
    return plain && !bsearch(&plain, all->items, all->count, sizeof *all->items, by_name);
}

/* The repositories of one owner. */
static hangar_code each_of_owner(int root, const char *owner, size_t *left, hg_repo_fn *fn, void *ctx,
                                 hangar_err *err)
{
    names found = {0};
    hangar_code code = list_folders(root, owner, &found, NULL);
    if (code != HANGAR_OK) { /* it went away, or may not be read */
        names_free(&found);
        return HANGAR_OK;
    }
    for (size_t i = 0; code == HANGAR_OK && i < found.count; i++) {
        hg_str repo;
        char rev[256];
        struct stat st;
        if (!split_folder(found.items[i], &repo, rev, sizeof rev) || !is_first(&found, i, repo)) continue;
        HG_AUTO(hg_auto_free) char *id = hg_format("%s/%.*s", owner, HG_STR_ARG(repo));
        HG_AUTO(hg_auto_free) char *folder = hg_path_join(owner, found.items[i]);
        if (!id || !folder) {
            code = hg_fail_memory(err);
        } else if (*left == 0) {
            code = hg_fail(err, HANGAR_E_LIMIT, "more than %u repositories", HG_MIRROR_REPOSITORIES);
        } else {
            (*left)--;
            bool seen = fstatat(root, folder, &st, 0) == 0;
            code = fn(ctx, id, seen ? (int64_t)st.st_mtim.tv_sec : 0, err);
        }
    }
    names_free(&found);
    return code;
}

hangar_code hg_repo_all(int root, hg_repo_fn *fn, void *ctx, hangar_err *err)
{
    names owners = {0};
    size_t left = HG_MIRROR_REPOSITORIES;
    hangar_code code = list_folders(root, ".", &owners, err);
    for (size_t i = 0; code == HANGAR_OK && i < owners.count; i++)
        if (hg_repo_word(hg_str_of(owners.items[i])))
            code = each_of_owner(root, owners.items[i], &left, fn, ctx, err);
    names_free(&owners);
    return code;
}
