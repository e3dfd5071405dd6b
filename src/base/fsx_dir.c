/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folders: listing, walking, removing. Everything goes through descriptors, so that a folder that is swapped for a
 * link meanwhile leads nowhere.
 */
#include "base/fsx.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DIR_MAX_ENTRIES 4000000 /* names held at once while one folder is listed */
#define WALK_DEPTH      32
#define REMOVE_DEPTH    128 /* one open descriptor per level */

typedef struct names {
    char **items;
    size_t len, cap;
} names;

static void names_free(names *n)
{
    for (size_t i = 0; i < n->len; i++) free(n->items[i]);
    free(n->items);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_dots(const char *name)
{
    return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* The names in an open folder, sorted. Takes fd. `path` is for messages. */
static hangar_code read_names(int fd, const char *path, names *out, hangar_err *err)
{
    DIR *dir = fdopendir(fd);
    if (!dir) {
        int sys = errno;
        close(fd);
        return hg_fail_errno(err, sys, "%s", path);
    }
    hangar_code code = HANGAR_OK;
    while (code == HANGAR_OK) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry) {
            if (errno) code = hg_fail_errno(err, errno, "%s", path);
            break;
        }
        if (is_dots(entry->d_name)) continue;
        if (out->len == DIR_MAX_ENTRIES) {
            code = hg_fail(err, HANGAR_E_LIMIT, "%s: more than %d entries", path, DIR_MAX_ENTRIES);
            break;
        }
        char *name = hg_strdup(entry->d_name);
        if (!name || !hg_grow((void **)&out->items, &out->cap, out->len + 1, sizeof *out->items)) {
            free(name);
            code = hg_fail_memory(err);
            break;
        }
        out->items[out->len++] = name;
    }
    closedir(dir);
    if (out->len) qsort(out->items, out->len, sizeof *out->items, by_name);
    return code;
}

static hangar_code open_names(const char *dir, names *out, hangar_err *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return hg_fail_errno(err, errno, "%s", dir);
    return read_names(fd, dir, out, err);
}

hangar_code hg_list_dir(const char *dir, hg_dir_fn *fn, void *ctx, hangar_err *err)
{
    names list = {0};
    hangar_code code = open_names(dir, &list, err);
    for (size_t i = 0; code == HANGAR_OK && i < list.len; i++) code = fn(ctx, dir, list.items[i], err);
    names_free(&list);
    return code;
}

/* ---- walking ---- */

typedef struct walk_file {
    char *path;
    uint64_t size;
} walk_file;

typedef struct walk {
    walk_file *files;
    size_t len, cap;
    size_t max;
    hangar_err *err;
} walk;

static int by_path(const void *a, const void *b)
{
    return strcmp(((const walk_file *)a)->path, ((const walk_file *)b)->path);
}

static hangar_code walk_dir(walk *w, int fd, const char *prefix, unsigned depth);

/* One entry of an open folder: a folder is entered, a file noted, everything else passed over. Takes path. */
static hangar_code walk_entry(walk *w, int dir_fd, const char *name, char *path, unsigned depth)
{
    struct stat st;
    hangar_code code = HANGAR_OK;
    bool there = fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    bool link = there && S_ISLNK(st.st_mode);
    if (link) there = fstatat(dir_fd, name, &st, 0) == 0;
    if (there && S_ISDIR(st.st_mode) && !link) {
        int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0) code = hg_fail_errno(w->err, errno, "%s", path);
        else if (depth == WALK_DEPTH) {
            close(fd);
            code = hg_fail(w->err, HANGAR_E_LIMIT, "%s: folders more than %d deep", path, WALK_DEPTH);
        } else {
            code = walk_dir(w, fd, path, depth + 1);
        }
    } else if (there && S_ISREG(st.st_mode)) {
        if (w->len == w->max) code = hg_fail(w->err, HANGAR_E_LIMIT, "more than %zu files", w->max);
        else if (!hg_grow((void **)&w->files, &w->cap, w->len + 1, sizeof *w->files))
            code = hg_fail_memory(w->err);
        else {
            w->files[w->len++] = (walk_file){path, (uint64_t)st.st_size};
            path = NULL;
        }
    }
    free(path);
    return code;
}

/* Takes fd. The depth is bounded by WALK_DEPTH. */
static hangar_code walk_dir(walk *w, int fd, const char *prefix, unsigned depth)
{
    names list = {0};
    HG_AUTO(hg_auto_close) int dir_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (dir_fd < 0) {
        int sys = errno;
        close(fd);
        return hg_fail_errno(w->err, sys, "%s", prefix);
    }
    hangar_code code = read_names(fd, prefix, &list, w->err);
    for (size_t i = 0; code == HANGAR_OK && i < list.len; i++) {
        const char *name = list.items[i];
        if (hg_str_starts(hg_str_of(name), HG_STR(HG_TMP_PREFIX))) continue; /* not a file yet */
        char *path = *prefix ? hg_path_join(prefix, name) : hg_strdup(name);
        code = path ? walk_entry(w, dir_fd, name, path, depth) : hg_fail_memory(w->err);
    }
    names_free(&list);
    return code;
}

hangar_code hg_walk(const char *dir, size_t max_files, hg_tree_fn *fn, void *ctx, hangar_err *err)
{
    walk w = {.max = max_files, .err = err};
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return hg_fail_errno(err, errno, "%s", dir);
    hangar_code code = walk_dir(&w, fd, "", 0);
    if (code != HANGAR_OK) hg_wrap(err, code, "%s", dir);
    if (w.len) qsort(w.files, w.len, sizeof *w.files, by_path);
    for (size_t i = 0; code == HANGAR_OK && i < w.len; i++)
        code = fn(ctx, w.files[i].path, w.files[i].size, err);
    for (size_t i = 0; i < w.len; i++) free(w.files[i].path);
    free(w.files);
    return code;
}

/* ---- removing ---- */

/* Removes one entry of an open folder and all below it; what is gone already is fine. The depth is bounded. */
static hangar_code remove_entry(int dir_fd, const char *name, unsigned depth, hangar_err *err)
{
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT) return HANGAR_OK;
    if (errno != EISDIR && errno != EPERM) return hg_fail_errno(err, errno, "removing %s", name);
    int first = errno; /* unlink of a folder is EISDIR, by POSIX EPERM */
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return hg_fail_errno(err, errno == ENOTDIR ? first : errno, "removing %s", name);
    if (depth == REMOVE_DEPTH) {
        close(fd);
        return hg_fail(err, HANGAR_E_LIMIT, "removing %s: folders more than %d deep", name, REMOVE_DEPTH);
    }
    HG_AUTO(hg_auto_close) int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    names list = {0};
    hangar_code code = own < 0 ? hg_fail_errno(err, errno, "removing %s", name) : HANGAR_OK;
    if (code == HANGAR_OK) code = read_names(fd, name, &list, err);
    else close(fd);
    for (size_t i = 0; code == HANGAR_OK && i < list.len; i++)
        code = remove_entry(own, list.items[i], depth + 1, err);
    names_free(&list);
    if (code == HANGAR_OK && unlinkat(dir_fd, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
        code = hg_fail_errno(err, errno, "removing %s", name);
    return code;
}

hangar_code hg_rm_tree(const char *path, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *clean = hg_strdup(path);
    if (!clean) return hg_fail_memory(err);
    size_t len = strlen(clean);
    while (len && clean[len - 1] == '/') clean[--len] = '\0';
    const char *name = hg_path_base(clean);
    if (!*name || is_dots(name)) return hg_fail(err, HANGAR_E_INVALID, "'%s' is not removed", path);
    HG_AUTO(hg_auto_free) char *dir = hg_path_dir(clean);
    if (!dir) return hg_fail_memory(err);
    HG_AUTO(hg_auto_close) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) return HANGAR_OK;
    if (fd < 0) return hg_fail_errno(err, errno, "%s", dir);
    return remove_entry(fd, name, 0, err);
}

/* Files and links only: nothing of hangar's makes temporary folders. */
void hg_sweep(const char *dir, double age)
{
    names list = {0};
    HG_AUTO(hg_auto_close) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct timespec now;
    if (fd < 0) return;
    open_names(dir, &list, NULL); /* what could be read is swept */
    clock_gettime(CLOCK_REALTIME, &now);
    for (size_t i = 0; i < list.len; i++) {
        struct stat st;
        if (!hg_str_starts(hg_str_of(list.items[i]), HG_STR(HG_TMP_PREFIX))) continue;
        if (fstatat(fd, list.items[i], &st, AT_SYMLINK_NOFOLLOW) != 0 || S_ISDIR(st.st_mode)) continue;
        double old =
            (double)(now.tv_sec - st.st_mtim.tv_sec) + (double)(now.tv_nsec - st.st_mtim.tv_nsec) * 1e-9;
        if (old >= age) unlinkat(fd, list.items[i], 0);
    }
    names_free(&list);
}
