/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking files of one's own into the store, as if a Hub had served them: blobs named by their digest, a commit that is a
 * digest of the list (the same files always give the same commit), refs/main last.
 *
 * The whole source is looked at before the first byte is copied: one bad name, one link that leads out, one thing that is
 * no file, and nothing is taken. Each file is cloned (or copied) first and hashed as it lies in the store, so that what
 * the digest names is what was kept, whatever happens to the source meanwhile.
 */
#include "base/clock.h"
#include "store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK        ((size_t)1 << 20)
#define TELL_SECONDS 0.1
/* Files of that size are weights whatever they are called, as on the Hub. */
#define LARGE_BYTES ((uint64_t)10 << 20)

typedef struct item {
    char *path;   /* in the repository */
    char *source; /* absolute, links resolved */
    uint64_t size;
    hg_oid oid;
} item;

typedef struct add {
    hg_store *s;
    hangar_job *job;
    char *root; /* the folder, links resolved */
    item *items;
    size_t len, cap;
    uint64_t total, done;
    double told;
    hg_rate rate;
    char *chunk;
    char repo[HG_REPO_MAX];
    char commit[41];
} add;

static void add_deinit(add *a)
{
    for (size_t i = 0; i < a->len; i++) {
        free(a->items[i].path);
        free(a->items[i].source);
    }
    free(a->items);
    free(a->root);
    free(a->chunk);
}

/* ---- the source ---- */

/* Takes source; NULL for it is out of memory. */
static hangar_code add_item(add *a, const char *path, char *source, uint64_t size, hangar_err *err)
{
    char *copy = hg_strdup(path);
    if (!copy || !source || !hg_grow((void **)&a->items, &a->cap, a->len + 1, sizeof *a->items)) {
        free(copy);
        free(source);
        return hg_fail_memory(err);
    }
    a->items[a->len++] = (item){.path = copy, .source = source, .size = size};
    if (!hg_add(a->total, size, &a->total)) a->total = UINT64_MAX;
    return HANGAR_OK;
}

typedef struct walk {
    add *a;
    const char *prefix;
    unsigned depth;
} walk;

/* Where a link of the source leads; INVALID when that is outside. The caller's. */
static hangar_code resolve_link(const add *a, const char *full, const char *path, char **out, hangar_err *err)
{
    char *real = realpath(full, NULL);
    if (!real && errno == ENOMEM) return hg_fail_memory(err);
    if (!real) return hg_fail(err, HANGAR_E_INVALID, "%s: a link that leads nowhere", path);
    size_t n = strlen(a->root);
    bool inside = strncmp(real, a->root, n) == 0 && (real[n] == '/' || n == 1);
    if (inside && hg_is_file(real)) {
        *out = real;
        return HANGAR_OK;
    }
    free(real);
    if (inside) return hg_fail(err, HANGAR_E_INVALID, "%s: a link to something that is no file", path);
    return hg_fail(err, HANGAR_E_INVALID, "%s: a link that leads out of the folder", path);
}

/* One regular file, or a link to one. */
static hangar_code walk_file(add *a, const char *full, const char *path, const struct stat *st,
                             hangar_err *err)
{
    char *source = NULL;
    uint64_t size = (uint64_t)st->st_size;
    hangar_code code = HANGAR_OK;
    if (a->len >= HG_SNAPSHOT_FILES_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "more than %d files", HG_SNAPSHOT_FILES_MAX);
    if (S_ISLNK(st->st_mode)) {
        struct stat to;
        code = resolve_link(a, full, path, &source, err);
        if (code == HANGAR_OK && stat(source, &to) == 0) size = (uint64_t)to.st_size;
    } else if (S_ISREG(st->st_mode)) {
        source = hg_strdup(full);
        if (!source) code = hg_fail_memory(err);
    } else {
        code = hg_fail(err, HANGAR_E_INVALID, "%s: neither a file nor a folder", path);
    }
    return code == HANGAR_OK ? add_item(a, path, source, size, err) : code;
}

static hangar_code walk_dir(add *a, const char *dir, const char *prefix, unsigned depth, hangar_err *err);

static hangar_code walk_entry(void *ctx, const char *dir, const char *name, hangar_err *err)
{
    walk *w = ctx;
    struct stat st;
    HG_AUTO(hg_auto_free) char *full = hg_path_join(dir, name);
    HG_AUTO(hg_auto_free) char *path = *w->prefix ? hg_path_join(w->prefix, name) : hg_strdup(name);
    if (!full || !path) return hg_fail_memory(err);
    hangar_code code = hg_job_check(w->a->job, err);
    if (code != HANGAR_OK) return code;
    if (lstat(full, &st) != 0) return hg_fail_errno(err, errno, "%s", full);
    bool folder = S_ISDIR(st.st_mode);
    if (folder && name[0] == '.') return HANGAR_OK; /* .git, .cache: tools' own, no part of a model */
    code = hg_path_check(hg_str_of(path), err);
    if (code != HANGAR_OK) return code;
    if (!folder) return walk_file(w->a, full, path, &st, err);
    if (w->depth >= HG_STORE_DEPTH_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "%s: folders more than %d deep", path, HG_STORE_DEPTH_MAX);
    return walk_dir(w->a, full, path, w->depth + 1, err);
}

/* The depth is bounded by HG_STORE_DEPTH_MAX. */
static hangar_code walk_dir(add *a, const char *dir, const char *prefix, unsigned depth, hangar_err *err)
{
    walk w = {a, prefix, depth};
    return hg_list_dir(dir, walk_entry, &w, err);
}

/* The names under which exporters put the weights of x.onnx beside it. */
static hangar_code add_companions(add *a, const char *file, hangar_err *err)
{
    static const char *const ends[] = {"_data",   ".data",   "_data_1", "_data_2", "_data_3",
                                       "_data_4", "_data_5", "_data_6", "_data_7"};
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; code == HANGAR_OK && i < HG_LEN(ends); i++) {
        struct stat st;
        char *beside = hg_format("%s%s", file, ends[i]);
        if (!beside) return hg_fail_memory(err);
        if (lstat(beside, &st) == 0 && S_ISREG(st.st_mode))
            code = add_item(a, hg_path_base(beside), hg_strdup(beside), (uint64_t)st.st_size, err);
        free(beside);
    }
    return code;
}

/* One GGUF or ONNX file. */
static hangar_code take_file(add *a, const char *path, hangar_err *err)
{
    int fd = -1;
    uint64_t size;
    hg_str name = hg_str_of(path);
    bool onnx = hg_str_ends(name, HG_STR(".onnx"));
    hangar_code code = hg_open_regular(path, &fd, &size, err);
    if (code != HANGAR_OK) return code;
    close(fd);
    if (!onnx && !hg_str_ends(name, HG_STR(".gguf")))
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "%s: a folder, a .gguf or a .onnx file can be added", path);
    code = hg_path_check(hg_str_of(hg_path_base(path)), err);
    char *real = code == HANGAR_OK ? realpath(path, NULL) : NULL;
    if (code == HANGAR_OK && !real) code = hg_fail_errno(err, errno, "%s", path);
    if (code == HANGAR_OK) code = add_item(a, hg_path_base(path), real, size, err);
    if (code == HANGAR_OK && onnx) code = add_companions(a, path, err);
    return code;
}

static int item_order(const void *a, const void *b)
{
    return strcmp(((const item *)a)->path, ((const item *)b)->path);
}

static hangar_code find_source(add *a, const char *path, hangar_err *err)
{
    struct stat st;
    hangar_code code;
    if (stat(path, &st) != 0) return hg_fail_errno(err, errno, "%s", path);
    if (S_ISDIR(st.st_mode)) {
        a->root = realpath(path, NULL);
        if (!a->root) return hg_fail_errno(err, errno, "%s", path);
        code = walk_dir(a, a->root, "", 0, err);
    } else {
        code = take_file(a, path, err);
    }
    if (code == HANGAR_OK && a->len == 0) code = hg_fail(err, HANGAR_E_INVALID, "%s: no files in it", path);
    if (a->len) qsort(a->items, a->len, sizeof *a->items, item_order);
    return code;
}

/* ---- the name ---- */

/* The last part of a path, without slashes at its end and without the ending of a model file. */
static hg_str stem_of(const char *path)
{
    static const char *const ends[] = {".gguf", ".onnx"};
    hg_str base = hg_str_of(path);
    while (base.len > 1 && base.ptr[base.len - 1] == '/') base.len--;
    for (size_t i = base.len; i > 0; i--) {
        if (base.ptr[i - 1] != '/') continue;
        base = (hg_str){base.ptr + i, base.len - i};
        break;
    }
    for (size_t i = 0; i < HG_LEN(ends); i++)
        if (hg_str_ends(base, hg_str_of(ends[i]))) base.len -= strlen(ends[i]);
    return base;
}

/* What stands for c in the name of a repository. */
static char name_char(char c)
{
    bool word = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    return word || c == '_' || c == '.' ? c : '-';
}

static bool is_mark(char c)
{
    return c == '-' || c == '.';
}

/* local/ and what of the file's or folder's name a repository may be called. */
static void default_name(const char *path, char out[HG_REPO_MAX])
{
    hg_str base = stem_of(path);
    char name[97];
    size_t n = 0;
    for (size_t i = 0; i < base.len && n < sizeof name - 1; i++) {
        char c = name_char(base.ptr[i]);
        if (is_mark(c) && (n == 0 || is_mark(name[n - 1]))) continue;
        name[n++] = c;
    }
    while (n && is_mark(name[n - 1])) n--;
    name[n] = '\0';
    snprintf(out, HG_REPO_MAX, "local/%s", n ? name : "model");
    if (hg_repo_check(hg_str_of(out), NULL) != HANGAR_OK) snprintf(out, HG_REPO_MAX, "local/model");
}

/* ---- the copy ---- */

static void note_bytes(add *a, const item *it, uint64_t at, uint64_t n)
{
    a->done += n;
    double now = hg_now();
    hg_rate_note(&a->rate, now, a->done);
    if (now - a->told < TELL_SECONDS) return;
    a->told = now;
    hg_job_item(a->job, it->path, at, it->size, "");
    hg_job_total(a->job, a->done, a->total, hg_rate_get(&a->rate));
}

/* Reads `from` into the hash and, unless to is -1, into `to`. */
static hangar_code stream(add *a, const item *it, int from, int to, hg_hash *hash, hangar_err *err)
{
    uint64_t at = 0;
    for (;;) {
        hangar_code code = hg_job_check(a->job, err);
        if (code != HANGAR_OK) return code;
        ssize_t n = read(from, a->chunk, CHUNK);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return hg_fail_errno(err, errno, "%s", it->path);
        if (n == 0) break;
        at += (uint64_t)n;
        if (at > it->size) break;
        hg_hash_add(hash, a->chunk, (size_t)n);
        if (to >= 0) code = hg_write_all(to, a->chunk, (size_t)n, err);
        if (code != HANGAR_OK) return hg_wrap(err, code, "%s", it->path);
        note_bytes(a, it, at, (uint64_t)n);
    }
    if (at == it->size) return HANGAR_OK;
    return hg_fail(err, HANGAR_E_FAILED, "%s: changed while it was read", it->path);
}

static bool is_weights(const item *it)
{
    static const char *const ends[] = {".safetensors", ".gguf", ".onnx", ".bin", ".onnx_data", ".onnx.data"};
    for (size_t i = 0; i < HG_LEN(ends); i++)
        if (hg_str_ends(hg_str_of(it->path), hg_str_of(ends[i]))) return true;
    return it->size >= LARGE_BYTES;
}

/* The room for a copy, said before it is begun. */
static hangar_code check_room(const add *a, const item *it, hangar_err *err)
{
    uint64_t room;
    char need[16], have[16];
    if (hg_disk_free(a->s->cache, &room, NULL) != HANGAR_OK || room >= it->size) return HANGAR_OK;
    return hg_fail(err, HANGAR_E_NO_SPACE, "%s: needs %s, %s are free in %s", it->path,
                   hg_size_format(it->size, need), hg_size_format(room, have), a->s->cache);
}

/* The content into an open file of the store, by shared blocks or by copying, and its digest. */
static hangar_code fill(add *a, item *it, int from, int to, hangar_err *err)
{
    it->oid.kind = is_weights(it) ? HG_HASH_SHA256 : HG_HASH_GIT_SHA1;
    HG_AUTO(hg_hash_auto_free) hg_hash *hash = hg_hash_new(it->oid.kind, it->size);
    if (!hash) return hg_fail_memory(err);
    bool cloned = ioctl(to, FICLONE, from) == 0;
    hangar_code code = cloned ? HANGAR_OK : check_room(a, it, err);
    if (code == HANGAR_OK) code = stream(a, it, cloned ? to : from, cloned ? -1 : to, hash, err);
    return code == HANGAR_OK ? hg_hash_finish(hash, it->oid.hex, err) : code;
}

static hangar_code store_item(add *a, item *it, hangar_err *err)
{
    HG_AUTO(hg_auto_close) int from = -1;
    HG_AUTO(hg_auto_free) char *temp = hg_blob_temp_path(a->s, a->repo);
    if (!temp) return hg_fail_memory(err);
    hangar_code code = hg_open_regular(it->source, &from, &it->size, err);
    if (code != HANGAR_OK) return code;
    HG_AUTO(hg_auto_close)
    int to = open(temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, HG_STORE_FILE_MODE);
    if (to < 0) return hg_fail_errno(err, errno, "%s", temp);
    code = fill(a, it, from, to, err);
    if (code == HANGAR_OK) code = hg_blob_publish(a->s, a->repo, &it->oid, temp, err);
    if (code != HANGAR_OK) {
        unlink(temp);
        return code;
    }
    hg_job_item(a->job, it->path, it->size, it->size, "done");
    return HANGAR_OK;
}

/* SHA-1 over a line "digest path" for each file, in the order of the paths. */
static hangar_code make_commit(add *a, hangar_err *err)
{
    char hex[65];
    HG_AUTO(hg_hash_auto_free) hg_hash *hash = hg_hash_new(HG_HASH_SHA1, 0);
    if (!hash) return hg_fail_memory(err);
    for (size_t i = 0; i < a->len; i++) {
        const item *it = &a->items[i];
        hg_hash_add(hash, it->oid.hex, strlen(it->oid.hex));
        hg_hash_add(hash, " ", 1);
        hg_hash_add(hash, it->path, strlen(it->path));
        hg_hash_add(hash, "\n", 1);
    }
    hangar_code code = hg_hash_finish(hash, hex, err);
    if (code == HANGAR_OK) memcpy(a->commit, hex, sizeof a->commit);
    return code;
}

static hangar_code store_all(add *a, hangar_err *err)
{
    hangar_code code = hg_store_prepare(a->s, a->repo, err);
    hg_job_phase(a->job, "adding");
    hg_job_total(a->job, 0, a->total, 0);
    for (size_t i = 0; code == HANGAR_OK && i < a->len; i++) code = store_item(a, &a->items[i], err);
    if (code == HANGAR_OK) code = make_commit(a, err);
    for (size_t i = 0; code == HANGAR_OK && i < a->len; i++)
        code = hg_snapshot_link(a->s, a->repo, a->commit, a->items[i].path, &a->items[i].oid, err);
    if (code == HANGAR_OK) code = hg_revision_write(a->s, a->repo, "main", a->commit, err);
    if (code == HANGAR_OK) hg_job_total(a->job, a->total, a->total, 0);
    return code;
}

static hangar_code write_result(const add *a, char **out_json, hangar_err *err)
{
    hg_ref ref = {.revision = "main"};
    HG_AUTO(hg_snapshot_auto_free) hg_snapshot *snap = NULL;
    snprintf(ref.repo, sizeof ref.repo, "%s", a->repo);
    hangar_code code = hg_snapshot_open(a->s, &ref, &snap, err);
    if (code != HANGAR_OK) return code;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w) return hg_fail_memory(err);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "ref", a->repo);
    hg_jw_text(w, "commit", snap->commit);
    hg_jw_text(w, "path", snap->dir);
    hg_jw_u64(w, "files", snap->count);
    hg_jw_u64(w, "size", snap->size);
    return hg_jw_finish(w, false, out_json, err);
}

hangar_code hg_store_add(hg_store *s, const char *path, const char *name, hangar_job *job, char **out_json,
                         hangar_err *err)
{
    add a = {.s = s, .job = job};
    hangar_code code = HANGAR_OK;
    if (name) {
        code = hg_repo_check(hg_str_of(name), err);
        if (code != HANGAR_OK) return code;
        snprintf(a.repo, sizeof a.repo, "%s", name);
    } else {
        default_name(path, a.repo);
    }
    a.chunk = malloc(CHUNK);
    if (!a.chunk) return hg_fail_memory(err);
    code = find_source(&a, path, err);
    if (code == HANGAR_OK) code = store_all(&a, err);
    if (code == HANGAR_OK && out_json) code = write_result(&a, out_json, err);
    add_deinit(&a);
    return code;
}
