/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hashing again what lies on disk. First everything that shall be looked at is gathered (one use per path of each
 * revision), then each distinct blob is hashed once by a few threads, then what was found is written in the order of the
 * names. No file is changed or repaired: damage is named, and a damaged blob gets a mark in the lock folder, which makes
 * the next pull fetch it again; a sound one loses it.
 *
 * A plain file in a snapshot has no digest in its name (a file system without links). It is proved when a blob of the
 * same content is there by name, or when the listing that Python keeps beside it (trees/{commit}.json) names its digest;
 * otherwise it is unverifiable, which is not damage.
 *
 * Threads: workers take the next blob under the lock, hash without it, and write only into their own blob.
 */
#include "base/clock.h"
#include "store/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define WORKERS_MAX  4
#define CHUNK        ((size_t)1 << 20)
#define TELL_SECONDS 0.1
#define TREE_MAX     ((size_t)64 << 20)

typedef enum result { TODO, WAITING, SOUND, DAMAGED, MISSING, UNREADABLE, UNKNOWN } result;

/* What one path leads to: a blob, or a plain file. Of those that lead to the same blob the first is hashed. */
typedef struct content {
    char *file; /* absolute */
    const char *repo;
    hg_oid oid;  /* hex "" = not known */
    bool linked; /* by a link to a blob, not a plain file */
    uint64_t size;
    size_t same; /* the index of that first one; SIZE_MAX = this is it */
    result result;
    char actual[65];          /* when DAMAGED */
    char why[HANGAR_ERR_MAX]; /* when UNREADABLE */
} content;

/* One path of one revision. */
typedef struct use {
    char *ref;
    char *path;
    size_t at; /* index of its content */
} use;

typedef struct verify {
    hg_store *s;
    hangar_job *job;
    char **repos; /* names, for content.repo */
    size_t repo_len, repo_cap;
    content *items;
    size_t len, cap;
    use *uses;
    size_t use_len, use_cap;
    size_t models;
    hg_jw *bad; /* repositories that cannot be read at all */
    size_t bad_count;
    /* while hashing */
    pthread_mutex_t lock;
    size_t next;
    uint64_t total, done;
    double told;
    hg_rate rate;
} verify;

/* ---- gathering ---- */

typedef struct gather {
    verify *v;
    const hg_repo *repo;
} gather;

/* A new content for an entry. */
static hangar_code add_content(gather *g, const char *commit, const hg_entry *e, hangar_err *err)
{
    verify *v = g->v;
    content item = {.repo = v->repos[v->repo_len - 1], .oid = e->oid, .size = e->size, .same = SIZE_MAX};
    item.linked = e->kind == HG_ENTRY_BLOB;
    item.result = e->kind == HG_ENTRY_MISSING ? MISSING : e->kind == HG_ENTRY_ODD ? UNKNOWN : TODO;
    if (!hg_grow((void **)&v->items, &v->cap, v->len + 1, sizeof *v->items)) return hg_fail_memory(err);
    if (e->kind != HG_ENTRY_ODD) {
        item.file = hg_commit_file(v->s, g->repo->name, commit, e->path);
        if (!item.file) return hg_fail_memory(err);
    }
    v->items[v->len++] = item;
    return HANGAR_OK;
}

/* The digests that Python's own listing names for plain files; it is only a hint where nothing else is known. */
static void read_tree_hints(const verify *v, const char *repo, const char *commit, hg_json **out)
{
    hg_buf text;
    int64_t version = 0;
    HG_AUTO(hg_auto_free) char *dir = hg_repo_part(v->s, repo, "trees");
    HG_AUTO(hg_auto_free) char *path = dir ? hg_format("%s/%s.json", dir, commit) : NULL;
    hg_buf_init(&text, TREE_MAX);
    if (path && hg_is_file(path) && hg_read_file(path, &text, NULL) == HANGAR_OK &&
        hg_json_parse(hg_buf_view(&text), NULL, out, NULL) == HANGAR_OK) {
        if (!hg_json_i64(hg_json_get(hg_json_root(*out), "format_version"), &version) || version != 1) {
            hg_json_free(*out);
            *out = NULL;
        }
    }
    hg_buf_deinit(&text);
}

static void apply_hint(const hg_json *tree, const char *path, content *item)
{
    const hg_jval *file = hg_json_get(hg_json_get(hg_json_root(tree), "files"), path);
    const char *lfs = hg_json_text(hg_json_get(file, "lfs_sha256"));
    const char *git = hg_json_text(hg_json_get(file, "blob_id"));
    const char *hex = lfs ? lfs : git;
    /* Of an LFS file the blob_id is that of its pointer: it says nothing about the content. */
    if (hex) (void)!hg_oid_parse(hg_str_of(hex), &item->oid, NULL);
}

static hangar_code gather_commit(gather *g, const char *commit, const char *only, hangar_err *err)
{
    verify *v = g->v;
    hg_entries all;
    HG_AUTO(hg_json_auto_free) hg_json *tree = NULL;
    HG_AUTO(hg_auto_free) char *dir = hg_commit_dir(v->s, g->repo->name, commit);
    char text[HG_REPO_MAX + HG_REVISION_MAX];
    hangar_code code = dir ? hg_entries_read(dir, &all, err) : hg_fail_memory(err);
    if (code != HANGAR_OK) return code;
    hg_ref_text(g->repo->name, hg_repo_rev_of(g->repo, commit), commit, text);
    read_tree_hints(v, g->repo->name, commit, &tree);
    for (size_t i = 0; code == HANGAR_OK && i < all.len; i++) {
        hg_entry *e = &all.items[i];
        if (only && *only && !hg_streq(only, e->path)) continue;
        code = add_content(g, commit, e, err);
        if (code != HANGAR_OK) break;
        if (tree && e->kind == HG_ENTRY_PLAIN) apply_hint(tree, e->path, &v->items[v->len - 1]);
        if (!hg_grow((void **)&v->uses, &v->use_cap, v->use_len + 1, sizeof *v->uses))
            code = hg_fail_memory(err);
        else v->uses[v->use_len++] = (use){hg_strdup(text), e->path, v->len - 1};
        if (code == HANGAR_OK) {
            e->path = NULL;
            if (!v->uses[v->use_len - 1].ref) code = hg_fail_memory(err);
        }
    }
    v->models += all.len > 0;
    hg_entries_deinit(&all);
    return code;
}

static hangar_code begin_repo(verify *v, const char *name, hangar_err *err)
{
    char *copy = hg_strdup(name);
    if (!copy || !hg_grow((void **)&v->repos, &v->repo_cap, v->repo_len + 1, sizeof *v->repos)) {
        free(copy);
        return hg_fail_memory(err);
    }
    v->repos[v->repo_len++] = copy;
    return HANGAR_OK;
}

static hangar_code gather_repo(void *ctx, const hg_repo *repo, hangar_err *err)
{
    verify *v = ctx;
    gather g = {v, repo};
    hangar_code code = hg_job_check(v->job, err);
    if (code == HANGAR_OK) code = begin_repo(v, repo->name, err);
    for (size_t i = 0; code == HANGAR_OK && i < repo->commit_len; i++)
        code = gather_commit(&g, repo->commits[i], NULL, err);
    return code;
}

static void gather_bad(void *ctx, const char *repo, const hangar_err *why)
{
    verify *v = ctx;
    v->bad_count++;
    hg_jw_obj(v->bad, NULL);
    hg_jw_text(v->bad, "ref", repo);
    hg_jw_text(v->bad, "path", "");
    hg_jw_null(v->bad, "expected");
    hg_jw_null(v->bad, "actual");
    hg_jw_text(v->bad, "problem", "unreadable");
    hg_jw_text(v->bad, "message", why->msg);
    hg_jw_end(v->bad);
}

static hangar_code gather_ref(verify *v, const hg_ref *ref, hangar_err *err)
{
    hg_repo repo;
    char commit[41], text[HG_REPO_MAX + HG_REVISION_MAX];
    hangar_code code = hg_revision_read(v->s, ref, commit, err);
    if (code == HANGAR_OK) code = hg_repo_read(v->s, ref->repo, &repo, err);
    if (code != HANGAR_OK) return code;
    gather g = {v, &repo};
    code = begin_repo(v, ref->repo, err);
    if (code == HANGAR_OK) code = gather_commit(&g, commit, ref->file, err);
    hg_ref_text(ref->repo, ref->revision, commit, text);
    if (code == HANGAR_E_NOT_FOUND)
        code = hg_fail(err, code, "%s is not in the store; `hangar pull %s` fetches it", text, text);
    else if (code == HANGAR_OK && v->use_len == 0)
        code = hg_fail(err, HANGAR_E_NOT_FOUND, "%s has no file%s%s in the store", text,
                       ref->file[0] ? " " : "", ref->file);
    hg_repo_deinit(&repo);
    return code;
}

/* ---- each blob once ---- */

static int content_order(const void *a, const void *b)
{
    const content *x = *(const content *const *)a, *y = *(const content *const *)b;
    int c = x->repo == y->repo ? strcmp(x->oid.hex, y->oid.hex) : strcmp(x->repo, y->repo);
    return c ? c : (x > y) - (x < y);
}

/* Of the links that lead to one blob all but the first are left to it. */
static hangar_code find_same(verify *v, hangar_err *err)
{
    size_t count = 0;
    const content *first = NULL;
    content **sorted = hg_calloc(v->len, sizeof *sorted);
    if (!sorted) return hg_fail_memory(err);
    for (size_t i = 0; i < v->len; i++)
        if (v->items[i].result == TODO && v->items[i].linked) sorted[count++] = &v->items[i];
    if (count) qsort(sorted, count, sizeof *sorted, content_order);
    for (size_t i = 0; i < count; i++) {
        if (first && first->repo == sorted[i]->repo && hg_oid_eq(&first->oid, &sorted[i]->oid)) {
            sorted[i]->same = (size_t)(first - v->items);
            sorted[i]->result = WAITING;
        } else {
            first = sorted[i];
        }
    }
    free(sorted);
    return HANGAR_OK;
}

static void copy_results(verify *v)
{
    for (size_t i = 0; i < v->len; i++) {
        content *c = &v->items[i];
        if (c->same == SIZE_MAX) continue;
        const content *from = &v->items[c->same];
        c->result = from->result;
        memcpy(c->actual, from->actual, sizeof c->actual);
        memcpy(c->why, from->why, sizeof c->why);
    }
}

/* ---- hashing ---- */

/* Notes bytes that were read; tells at most ten times a second. */
static void note_bytes(verify *v, uint64_t n)
{
    pthread_mutex_lock(&v->lock);
    v->done += n;
    double now = hg_now();
    hg_rate_note(&v->rate, now, v->done);
    bool tell = now - v->told >= TELL_SECONDS;
    if (tell) v->told = now;
    uint64_t done = v->done;
    double rate = hg_rate_get(&v->rate);
    pthread_mutex_unlock(&v->lock);
    if (tell) hg_job_total(v->job, done, v->total, rate);
}

/* Reads the file into up to two hashes. */
static hangar_code hash_fd(verify *v, int fd, char *chunk, hg_hash *a, hg_hash *b, hangar_err *err)
{
    for (;;) {
        hangar_code code = hg_job_check(v->job, err);
        if (code != HANGAR_OK) return code;
        ssize_t n = read(fd, chunk, CHUNK);
        if (n == 0) return HANGAR_OK;
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return hg_fail_errno(err, errno, "reading");
        hg_hash_add(a, chunk, (size_t)n);
        if (b) hg_hash_add(b, chunk, (size_t)n);
        note_bytes(v, (uint64_t)n);
    }
}

/* A blob of exactly that digest is in the repository. */
static bool blob_named(const verify *v, const char *repo, hg_hash_kind kind, const char *hex, uint64_t size)
{
    hg_oid oid = {.kind = kind};
    snprintf(oid.hex, sizeof oid.hex, "%s", hex);
    return hg_blob_have(v->s, repo, &oid, size);
}

/* What the digests say about a content. */
static hangar_code judge(const verify *v, content *c, uint64_t size, hg_hash *sha, hg_hash *git,
                         hangar_err *err)
{
    char a[65], b[65];
    hangar_code code = hg_hash_finish(sha, a, err);
    if (code == HANGAR_OK && git) code = hg_hash_finish(git, b, err);
    if (code != HANGAR_OK) return code;
    if (c->oid.hex[0]) {
        c->result = hg_streq(a, c->oid.hex) ? SOUND : DAMAGED;
        memcpy(c->actual, a, sizeof a);
        /* So that the next pull fetches it again, although a file of the right name and size is there. */
        if (c->linked) hg_blob_mark(v->s, c->repo, &c->oid, c->result == DAMAGED);
        return HANGAR_OK;
    }
    bool named =
        blob_named(v, c->repo, HG_HASH_SHA256, a, size) || blob_named(v, c->repo, HG_HASH_GIT_SHA1, b, size);
    c->result = named ? SOUND : UNKNOWN;
    return HANGAR_OK;
}

/* Hashes one content. Only a cancel, or no memory, ends the whole. */
static hangar_code check_one(verify *v, content *c, char *chunk, hangar_err *err)
{
    HG_AUTO(hg_auto_close) int fd = -1;
    uint64_t size = 0;
    hangar_err why = {0};
    hangar_code code = hg_open_regular(c->file, &fd, &size, &why);
    if (code == HANGAR_OK) {
        bool named = c->oid.hex[0] != '\0';
        HG_AUTO(hg_hash_auto_free) hg_hash *a = hg_hash_new(named ? c->oid.kind : HG_HASH_SHA256, size);
        HG_AUTO(hg_hash_auto_free) hg_hash *b = named ? NULL : hg_hash_new(HG_HASH_GIT_SHA1, size);
        if (!a || (!named && !b)) return hg_fail_memory(err);
        code = hash_fd(v, fd, chunk, a, b, &why);
        if (code == HANGAR_OK) code = judge(v, c, size, a, b, &why);
    }
    if (code == HANGAR_E_CANCELLED || code == HANGAR_E_NO_MEMORY) {
        if (err) *err = why;
        return code;
    }
    if (code != HANGAR_OK) {
        c->result = code == HANGAR_E_NOT_FOUND ? MISSING : UNREADABLE;
        snprintf(c->why, sizeof c->why, "%s", why.msg);
    }
    return HANGAR_OK;
}

/* One worker and how it ended. */
typedef struct worker {
    verify *v;
    pthread_t thread;
    bool started;
    hangar_code code;
    hangar_err err;
} worker;

static void *work(void *arg)
{
    worker *w = arg;
    verify *v = w->v;
    HG_AUTO(hg_auto_free) char *chunk = malloc(CHUNK);
    w->code = chunk ? HANGAR_OK : hg_fail_memory(&w->err);
    while (w->code == HANGAR_OK) {
        pthread_mutex_lock(&v->lock);
        while (v->next < v->len && v->items[v->next].result != TODO) v->next++;
        size_t at = v->next < v->len ? v->next++ : SIZE_MAX;
        pthread_mutex_unlock(&v->lock);
        if (at == SIZE_MAX) break;
        w->code = check_one(v, &v->items[at], chunk, &w->err);
    }
    return NULL;
}

static hangar_code hash_all(verify *v, hangar_err *err)
{
    worker workers[WORKERS_MAX] = {0};
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t want = cores > 0 && cores < WORKERS_MAX ? (size_t)cores : WORKERS_MAX, started = 0;
    size_t todo = 0;
    for (size_t i = 0; i < v->len; i++) {
        todo += v->items[i].result == TODO;
        if (v->items[i].result == TODO) v->total += v->items[i].size;
    }
    if (want > todo) want = todo;
    hg_job_phase(v->job, "verifying");
    hg_job_total(v->job, 0, v->total, 0);
    for (size_t i = 0; i + 1 < want; i++) {
        workers[i].v = v;
        workers[i].started = pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0;
        started += workers[i].started;
    }
    worker self = {.v = v}; /* this thread works too */
    work(&self);
    hangar_code code = self.code;
    if (code != HANGAR_OK && err) *err = self.err;
    for (size_t i = 0; i < WORKERS_MAX && started; i++) {
        if (!workers[i].started) continue;
        pthread_join(workers[i].thread, NULL);
        if (code == HANGAR_OK && workers[i].code != HANGAR_OK) {
            code = workers[i].code;
            if (err) *err = workers[i].err;
        }
    }
    hg_job_total(v->job, v->done, v->total, 0);
    return code;
}

/* ---- the report ---- */

static void write_damage(hg_jw *w, const verify *v, const use *u)
{
    static const char *const names[] = {
        [DAMAGED] = "hash", [MISSING] = "missing", [UNREADABLE] = "unreadable"};
    const content *c = &v->items[u->at];
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "ref", u->ref);
    hg_jw_text(w, "path", u->path);
    hg_jw_text(w, "expected", c->oid.hex[0] ? c->oid.hex : NULL);
    hg_jw_text(w, "actual", c->result == DAMAGED ? c->actual : NULL);
    hg_jw_text(w, "problem", names[c->result]);
    if (c->why[0]) hg_jw_text(w, "message", c->why);
    hg_jw_end(w);
}

static int use_order(const void *a, const void *b)
{
    const use *x = a, *y = b;
    int c = strcmp(x->ref, y->ref);
    return c ? c : strcmp(x->path, y->path);
}

static hangar_code write_report(verify *v, bool *out_ok, char **out_json, hangar_err *err)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    HG_AUTO(hg_auto_free) char *bad = NULL;
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hangar_code code = w ? hg_jw_finish(v->bad, false, &bad, err) : hg_fail_memory(err);
    if (code == HANGAR_OK) code = hg_json_parse(hg_str_of(bad), NULL, &doc, err);
    if (code != HANGAR_OK) return code;
    if (v->use_len) qsort(v->uses, v->use_len, sizeof *v->uses, use_order);
    *out_ok = v->bad_count == 0;
    size_t proved = 0;
    for (size_t i = 0; i < v->use_len; i++) {
        result r = v->items[v->uses[i].at].result;
        proved += r == SOUND;
        *out_ok = *out_ok && r != DAMAGED && r != MISSING && r != UNREADABLE;
    }
    hg_jw_obj(w, NULL);
    hg_jw_u64(w, "models", v->models);
    hg_jw_u64(w, "files", v->use_len);
    hg_jw_u64(w, "bytes", v->done);
    hg_jw_u64(w, "ok", proved);
    hg_jw_arr(w, "damaged");
    for (hg_json_iter it = hg_json_iter_of(hg_json_root(doc)); hg_json_next(&it);) hg_jw_val(w, NULL, it.val);
    for (size_t i = 0; i < v->use_len; i++) {
        result r = v->items[v->uses[i].at].result;
        if (r == DAMAGED || r == MISSING || r == UNREADABLE) write_damage(w, v, &v->uses[i]);
    }
    hg_jw_end(w);
    hg_jw_arr(w, "unverifiable");
    for (size_t i = 0; i < v->use_len; i++) {
        if (v->items[v->uses[i].at].result != UNKNOWN) continue;
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "ref", v->uses[i].ref);
        hg_jw_text(w, "path", v->uses[i].path);
        hg_jw_end(w);
    }
    hg_jw_end(w);
    return hg_jw_finish(w, false, out_json, err);
}

/* The words of the error: the first damaged file, and how many more. */
static hangar_code damage_words(const verify *v, hangar_err *err)
{
    const use *first = NULL;
    size_t count = v->bad_count;
    for (size_t i = 0; i < v->use_len; i++) {
        result r = v->items[v->uses[i].at].result;
        if (r != DAMAGED && r != MISSING && r != UNREADABLE) continue;
        if (!first) first = &v->uses[i];
        count++;
    }
    if (!first) return hg_fail(err, HANGAR_E_INTEGRITY, "%zu repositories cannot be read", count);
    const char *what = v->items[first->at].result == DAMAGED   ? "is damaged"
                       : v->items[first->at].result == MISSING ? "is missing"
                                                               : "cannot be read";
    if (count == 1) return hg_fail(err, HANGAR_E_INTEGRITY, "%s: %s %s", first->ref, first->path, what);
    return hg_fail(err, HANGAR_E_INTEGRITY, "%s: %s %s, and %zu more", first->ref, first->path, what,
                   count - 1);
}

static void verify_deinit(verify *v)
{
    for (size_t i = 0; i < v->repo_len; i++) free(v->repos[i]);
    for (size_t i = 0; i < v->len; i++) free(v->items[i].file);
    for (size_t i = 0; i < v->use_len; i++) {
        free(v->uses[i].ref);
        free(v->uses[i].path);
    }
    free(v->repos);
    free(v->items);
    free(v->uses);
    hg_jw_free(v->bad);
    pthread_mutex_destroy(&v->lock);
}

hangar_code hg_store_verify(hg_store *s, const hg_ref *ref, hangar_job *job, char **out_json, hangar_err *err)
{
    verify v = {.s = s, .job = job, .bad = hg_jw_new()};
    bool ok = true;
    char *text = NULL;
    if (!v.bad || pthread_mutex_init(&v.lock, NULL) != 0) {
        hg_jw_free(v.bad);
        return hg_fail_memory(err);
    }
    hg_jw_arr(v.bad, NULL);
    hangar_code code = ref ? gather_ref(&v, ref, err) : hg_store_each(s, gather_repo, gather_bad, &v, err);
    if (code == HANGAR_OK) code = find_same(&v, err);
    if (code == HANGAR_OK) code = hash_all(&v, err);
    copy_results(&v);
    if (code == HANGAR_OK) code = write_report(&v, &ok, &text, err);
    if (code == HANGAR_OK && !ok) code = damage_words(&v, err);
    if (out_json) *out_json = text;
    else free(text);
    verify_deinit(&v);
    return code;
}
