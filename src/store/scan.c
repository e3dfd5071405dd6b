/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies in the cache, read and never trusted: other tools write here too. A ref that is not exactly a commit is
 * unknown, not damage (Python truncates before it writes). A link says which blob it means by the last part of its
 * target; links are never followed into folders.
 */
#include "store/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINK_MAX_BYTES 4096
/* A folder that changed within that many seconds may change again without its time telling. */
#define SETTLE_SECONDS 2.0

/* ---- one snapshot ---- */

typedef struct scan {
    hg_entries *out;
    const char *prefix; /* "" or "folder/sub" */
    unsigned depth;
} scan;

static int entry_order(const void *a, const void *b)
{
    return strcmp(((const hg_entry *)a)->path, ((const hg_entry *)b)->path);
}

static int text_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The digest that a link's target names: .../blobs/{oid}. */
static void link_oid(const char *target, hg_oid *out)
{
    const char *base = hg_path_base(target);
    hg_str dir = {target, (size_t)(base - target)};
    if (hg_str_ends(dir, HG_STR("/blobs/"))) (void)!hg_oid_parse(hg_str_of(base), out, NULL);
}

/* What one entry that is no folder is. */
static void look_at(const char *full, const struct stat *lst, hg_entry *e)
{
    struct stat st = *lst;
    e->kind = HG_ENTRY_ODD;
    if (S_ISLNK(lst->st_mode)) {
        char target[LINK_MAX_BYTES];
        ssize_t n = readlink(full, target, sizeof target - 1);
        if (n < 0) return;
        target[n] = '\0';
        link_oid(target, &e->oid);
        if (stat(full, &st) != 0) {
            e->kind = HG_ENTRY_MISSING;
            return;
        }
    }
    if (!S_ISREG(st.st_mode)) return;
    e->size = (uint64_t)st.st_size;
    e->kind = e->oid.hex[0] ? HG_ENTRY_BLOB : HG_ENTRY_PLAIN;
}

static hangar_code scan_dir(hg_entries *out, const char *dir, const char *prefix, unsigned depth,
                            hangar_err *err);

/* Takes path. */
static hangar_code add_folder(hg_entries *out, const char *full, char *path, unsigned depth, hangar_err *err)
{
    if (depth >= HG_STORE_DEPTH_MAX) {
        free(path);
        return hg_fail(err, HANGAR_E_LIMIT, "%s: folders more than %d deep", full, HG_STORE_DEPTH_MAX);
    }
    if (!hg_grow((void **)&out->dirs, &out->dir_cap, out->dir_len + 1, sizeof *out->dirs)) {
        free(path);
        return hg_fail_memory(err);
    }
    out->dirs[out->dir_len++] = path;
    return scan_dir(out, full, path, depth + 1, err);
}

static hangar_code scan_entry(void *ctx, const char *dir, const char *name, hangar_err *err)
{
    scan *sc = ctx;
    hg_entries *out = sc->out;
    struct stat st;
    if (hg_str_starts(hg_str_of(name), HG_STR(HG_TMP_PREFIX))) return HANGAR_OK; /* not a file yet */
    HG_AUTO(hg_auto_free) char *full = hg_path_join(dir, name);
    char *path = *sc->prefix ? hg_path_join(sc->prefix, name) : hg_strdup(name);
    if (!full || !path) {
        free(path);
        return hg_fail_memory(err);
    }
    if (lstat(full, &st) != 0) {
        free(path);
        return errno == ENOENT ? HANGAR_OK : hg_fail_errno(err, errno, "%s", full);
    }
    bool clean = hg_path_check(hg_str_of(path), NULL) == HANGAR_OK;
    if (clean && S_ISDIR(st.st_mode)) return add_folder(out, full, path, sc->depth, err);
    if (out->len >= HG_SNAPSHOT_FILES_MAX) {
        free(path);
        return hg_fail(err, HANGAR_E_LIMIT, "more than %d files in one revision", HG_SNAPSHOT_FILES_MAX);
    }
    if (!hg_grow((void **)&out->items, &out->cap, out->len + 1, sizeof *out->items)) {
        free(path);
        return hg_fail_memory(err);
    }
    hg_entry *e = &out->items[out->len++];
    *e = (hg_entry){.path = path, .kind = HG_ENTRY_ODD};
    if (clean) look_at(full, &st, e);
    return HANGAR_OK;
}

/* The depth is bounded by HG_STORE_DEPTH_MAX. */
static hangar_code scan_dir(hg_entries *out, const char *dir, const char *prefix, unsigned depth,
                            hangar_err *err)
{
    scan sc = {out, prefix, depth};
    return hg_list_dir(dir, scan_entry, &sc, err);
}

hangar_code hg_entries_read(const char *dir, hg_entries *out, hangar_err *err)
{
    *out = (hg_entries){0};
    hangar_code code = scan_dir(out, dir, "", 0, err);
    if (code != HANGAR_OK) {
        hg_entries_deinit(out);
        return code;
    }
    if (out->len) qsort(out->items, out->len, sizeof *out->items, entry_order);
    if (out->dir_len) qsort(out->dirs, out->dir_len, sizeof *out->dirs, text_order);
    return HANGAR_OK;
}

void hg_entries_deinit(hg_entries *e)
{
    for (size_t i = 0; i < e->len; i++) free(e->items[i].path);
    for (size_t i = 0; i < e->dir_len; i++) free(e->dirs[i]);
    free(e->items);
    free(e->dirs);
    *e = (hg_entries){0};
}

/* ---- one repository ---- */

/* Calls fn for each name of an open folder but . and .., unsorted. A repository is mostly two folders of one name each:
 * this is the part of a listing that is done a thousand times. */
typedef hangar_code name_fn(void *ctx, int fd, const char *name, hangar_err *err);
static hangar_code each_name(int fd, name_fn *fn, void *ctx, hangar_err *err)
{
    _Alignas(struct dirent64) char buf[4096];
    for (;;) {
        ssize_t n = getdents64(fd, buf, sizeof buf);
        if (n < 0) return hg_fail_errno(err, errno, "reading a folder");
        if (n == 0) return HANGAR_OK;
        for (ssize_t at = 0; at < n;) {
            const struct dirent64 *d = (const struct dirent64 *)(const void *)(buf + at);
            at += d->d_reclen;
            if (hg_streq(d->d_name, ".") || hg_streq(d->d_name, "..")) continue;
            hangar_code code = fn(ctx, fd, d->d_name, err);
            if (code != HANGAR_OK) return code;
        }
    }
}

/* The same for a folder by its name in another; one that is not there has no names. */
static hangar_code each_name_in(int dir_fd, const char *dir, name_fn *fn, void *ctx, hangar_err *err)
{
    HG_AUTO(hg_auto_close) int fd = openat(dir_fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) return HANGAR_OK;
    if (fd < 0) return hg_fail_errno(err, errno, "%s", dir);
    return each_name(fd, fn, ctx, err);
}

/* The content of a ref: exactly a commit, else it is not known. */
static bool read_commit(int dir_fd, const char *name, char out[41], bool *is_dir)
{
    char text[48];
    *is_dir = false;
    HG_AUTO(hg_auto_close)
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return false;
    ssize_t n = read(fd, text, sizeof text);
    if (n < 0) *is_dir = errno == EISDIR;
    if (n != 40 || !hg_commit_is((hg_str){text, 40})) return false;
    memcpy(out, text, 40);
    out[40] = '\0';
    return true;
}

typedef struct refs {
    hg_repo *repo;
    const char *prefix;
    unsigned depth;
} refs;

static hangar_code add_rev(hg_repo *r, const char *name, const char *commit, hangar_err *err)
{
    if (r->rev_len >= HG_REPO_REFS_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "%s: more than %d refs", r->name, HG_REPO_REFS_MAX);
    if (!hg_grow((void **)&r->revs, &r->rev_cap, r->rev_len + 1, sizeof *r->revs)) return hg_fail_memory(err);
    hg_rev *rev = &r->revs[r->rev_len];
    *rev = (hg_rev){.name = hg_strdup(name)};
    if (!rev->name) return hg_fail_memory(err);
    memcpy(rev->commit, commit, sizeof rev->commit);
    r->rev_len++;
    return HANGAR_OK;
}

/* The depth is bounded by HG_STORE_DEPTH_MAX. */
static hangar_code ref_name(void *ctx, int fd, const char *name, hangar_err *err)
{
    refs *rs = ctx;
    char commit[41];
    bool is_dir;
    HG_AUTO(hg_auto_free) char *rev = *rs->prefix ? hg_path_join(rs->prefix, name) : hg_strdup(name);
    if (!rev) return hg_fail_memory(err);
    if (hg_revision_check(hg_str_of(rev), NULL) != HANGAR_OK) return HANGAR_OK;
    if (read_commit(fd, name, commit, &is_dir)) return add_rev(rs->repo, rev, commit, err);
    if (!is_dir || rs->depth >= HG_STORE_DEPTH_MAX) return HANGAR_OK;
    refs below = {rs->repo, rev, rs->depth + 1};
    return each_name_in(fd, name, ref_name, &below, err);
}

static hangar_code commit_name(void *ctx, int fd, const char *name, hangar_err *err)
{
    hg_repo *r = ctx;
    (void)fd;
    if (!hg_commit_is(hg_str_of(name))) return HANGAR_OK; /* somebody else's */
    if (r->commit_len >= HG_REPO_REFS_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "%s: more than %d revisions", r->name, HG_REPO_REFS_MAX);
    if (!hg_grow((void **)&r->commits, &r->commit_cap, r->commit_len + 1, sizeof *r->commits))
        return hg_fail_memory(err);
    memcpy(r->commits[r->commit_len++], name, 41);
    return HANGAR_OK;
}

static int name_order(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int rev_order(const void *a, const void *b)
{
    const hg_rev *x = a, *y = b;
    bool mx = hg_streq(x->name, "main"), my = hg_streq(y->name, "main");
    if (mx != my) return mx ? -1 : 1;
    return strcmp(x->name, y->name);
}

hangar_code hg_repo_read(const hg_store *s, const char *repo, hg_repo *out, hangar_err *err)
{
    *out = (hg_repo){.fd = -1};
    hangar_code code = hg_repo_check(hg_str_of(repo), err);
    if (code != HANGAR_OK) return code;
    snprintf(out->name, sizeof out->name, "%s", repo);
    HG_AUTO(hg_auto_free) char *dir = hg_repo_dir(s, repo);
    if (!dir) return hg_fail_memory(err);
    out->fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (out->fd < 0 && (errno == ENOENT || errno == ENOTDIR)) return HANGAR_OK;
    if (out->fd < 0) return hg_fail_errno(err, errno, "%s", dir);
    refs rs = {out, "", 0};
    code = each_name_in(out->fd, "refs", ref_name, &rs, err);
    if (code == HANGAR_OK) code = each_name_in(out->fd, "snapshots", commit_name, out, err);
    if (code != HANGAR_OK) {
        hg_repo_deinit(out);
        return hg_wrap(err, code, "%s", dir);
    }
    if (out->rev_len > 1) qsort(out->revs, out->rev_len, sizeof *out->revs, rev_order);
    if (out->commit_len > 1) qsort(out->commits, out->commit_len, sizeof *out->commits, name_order);
    return HANGAR_OK;
}

void hg_repo_deinit(hg_repo *r)
{
    for (size_t i = 0; i < r->rev_len; i++) free(r->revs[i].name);
    free(r->revs);
    free(r->commits);
    if (r->fd >= 0) close(r->fd);
    *r = (hg_repo){.fd = -1};
}

const char *hg_repo_rev_of(const hg_repo *r, const char *commit)
{
    for (size_t i = 0; i < r->rev_len; i++)
        if (hg_streq(r->revs[i].commit, commit)) return r->revs[i].name;
    return NULL;
}

hangar_code hg_revision_read(const hg_store *s, const hg_ref *ref, char out_commit[41], hangar_err *err)
{
    char text[HG_REPO_MAX + HG_REVISION_MAX];
    bool is_dir, known = hg_commit_is(hg_str_of(ref->revision));
    hg_ref_text(ref->repo, ref->revision, NULL, text);
    if (known) {
        memcpy(out_commit, ref->revision, 41);
    } else {
        HG_AUTO(hg_auto_free) char *path = hg_revision_path(s, ref->repo, ref->revision);
        if (!path) return hg_fail(err, HANGAR_E_INVALID, "%s names no revision", text);
        known = read_commit(AT_FDCWD, path, out_commit, &is_dir);
    }
    if (known) return HANGAR_OK;
    return hg_fail(err, HANGAR_E_NOT_FOUND, "%s is not in the store; `hangar pull %s` fetches it", text,
                   text);
}

/* ---- the whole store ---- */

typedef struct folders {
    char (*names)[HG_REPO_MAX];
    size_t len, cap;
} folders;

static hangar_code folder_name(void *ctx, int fd, const char *name, hangar_err *err)
{
    folders *f = ctx;
    char repo[HG_REPO_MAX];
    (void)fd;
    if (!hg_repo_from_folder(name, repo)) return HANGAR_OK;
    if (f->len >= HG_STORE_REPOS_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "more than %d repositories", HG_STORE_REPOS_MAX);
    if (!hg_grow((void **)&f->names, &f->cap, f->len + 1, sizeof *f->names)) return hg_fail_memory(err);
    memcpy(f->names[f->len++], repo, sizeof repo);
    return HANGAR_OK;
}

hangar_code hg_store_each(const hg_store *s, hg_repo_fn *fn, hg_repo_bad_fn *bad, void *ctx, hangar_err *err)
{
    folders f = {0};
    hangar_code code = hg_wrap(err, each_name_in(AT_FDCWD, s->cache, folder_name, &f, err), "%s", s->cache);
    if (f.len > 1) qsort(f.names, f.len, sizeof *f.names, name_order);
    for (size_t i = 0; code == HANGAR_OK && i < f.len; i++) {
        hg_repo repo;
        hangar_err why = {0};
        code = hg_repo_read(s, f.names[i], &repo, &why);
        if (code == HANGAR_OK) {
            code = fn(ctx, &repo, &why);
            hg_repo_deinit(&repo);
        }
        if (code == HANGAR_E_CANCELLED || code == HANGAR_E_NO_MEMORY) {
            if (err) *err = why;
        } else if (code != HANGAR_OK) {
            bad(ctx, f.names[i], &why);
            code = HANGAR_OK;
        }
    }
    free(f.names);
    return code;
}

/* One folder's time and number; false when it is not there or not settled. */
static bool stamp_dir(int fd, const char *dir, double now, struct stat *st, hg_buf *out)
{
    if (fstatat(fd, dir, st, 0) != 0 || !S_ISDIR(st->st_mode)) return false;
    double changed = (double)st->st_mtim.tv_sec + (double)st->st_mtim.tv_nsec * 1e-9;
    uint64_t numbers[] = {(uint64_t)st->st_mtim.tv_sec, (uint64_t)st->st_mtim.tv_nsec, (uint64_t)st->st_ino};
    char hex[2 * sizeof numbers + 1];
    hg_hex_encode((const uint8_t *)numbers, sizeof numbers, hex);
    hg_buf_add(out, hex, sizeof hex - 1);
    return now - changed > SETTLE_SECONDS;
}

bool hg_snapshot_stamp(const hg_repo *repo, const char *commit, hg_str dirs, hg_buf *out, int64_t *modified)
{
    struct timespec ts;
    struct stat st;
    char path[sizeof "snapshots/" + 40 + 1 + 1024 + 1];
    clock_gettime(CLOCK_REALTIME, &ts);
    double now = (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
    size_t base = (size_t)snprintf(path, sizeof path, "snapshots/%.40s", commit);
    bool ok = stamp_dir(repo->fd, path, now, &st, out);
    if (out->len) *modified = (int64_t)st.st_mtim.tv_sec;
    /* A store without links has no blobs/ of its own; the time of its folder is all there is then. */
    if (ok && !stamp_dir(repo->fd, "blobs", now, &st, out)) ok = fstatat(repo->fd, "blobs", &st, 0) != 0;
    while (ok && dirs.len) {
        hg_str one;
        hg_str_cut(&dirs, '\n', &one);
        ok = hg_path_check(one, NULL) == HANGAR_OK;
        if (!ok) break;
        snprintf(path + base, sizeof path - base, "/%.*s", HG_STR_ARG(one));
        ok = stamp_dir(repo->fd, path, now, &st, out);
    }
    return ok && hg_buf_check(out, NULL) == HANGAR_OK;
}
