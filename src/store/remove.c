/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removing a revision. What is asked for goes, and nothing else: a name whose commit has another name goes alone; a blob
 * goes when no snapshot that is left links to it; files that the layout does not know stay and are told of.
 *
 * A removal may be killed at any moment. First its plan (the commit and the blobs it may free) is on disk, in the
 * repository's lock folder where no scanner looks; then the refs go, the snapshot is moved aside by one rename (so that
 * no half of it is ever seen), then blobs, the moved folder and the plan. Whoever comes next into the repository, to
 * remove or to write, finishes a plan that it finds. All of it happens under the repository's lock.
 */
#include "base/log.h"
#include "store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define PLAN_HEAD "hangar-remove 1\n"
/* 100,000 digests and the head. */
#define PLAN_MAX ((size_t)8 << 20)

/* One removal on its way. */
typedef struct removal {
    hg_store *s;
    const char *repo;
    char commit[41];
    hg_jw *w;       /* inside "removed"; NULL = nobody asks */
    uint64_t freed; /* bytes */
    hg_buf kept;    /* foreign names, each ended by NUL */
} removal;

static void told(removal *r, const char *path)
{
    const char *root = r->s->cache;
    size_t n = strlen(root);
    if (strncmp(path, root, n) != 0 || path[n] != '/') {
        root = r->s->home;
        n = strlen(root);
    }
    hg_jw_text(r->w, NULL, strncmp(path, root, n) == 0 && path[n] == '/' ? path + n + 1 : path);
}

/* Unlinks a file or link; one that is gone is fine. */
static hangar_code drop_file(removal *r, const char *path, hangar_err *err)
{
    struct stat st;
    bool there = lstat(path, &st) == 0;
    if (!there || unlink(path) != 0) {
        if (!there || errno == ENOENT) return HANGAR_OK;
        return hg_fail_errno(err, errno, "removing %s", path);
    }
    if (S_ISREG(st.st_mode) && st.st_nlink == 1) r->freed += (uint64_t)st.st_size;
    told(r, path);
    return HANGAR_OK;
}

/* ---- which blobs are in use ---- */

typedef struct oids {
    char (*items)[65];
    size_t len, cap;
} oids;

static int hex_order(const void *a, const void *b)
{
    return strcmp(a, b);
}

static bool oids_has(const oids *o, const char *hex)
{
    return o->len && bsearch(hex, o->items, o->len, sizeof *o->items, hex_order);
}

/* Adds the digests that one snapshot links to, sound or dangling. */
static hangar_code collect(const hg_store *s, const char *repo, const char *commit, oids *out,
                           hangar_err *err)
{
    hg_entries all;
    HG_AUTO(hg_auto_free) char *dir = hg_commit_dir(s, repo, commit);
    hangar_code code = dir ? hg_entries_read(dir, &all, err) : hg_fail_memory(err);
    if (code != HANGAR_OK) return code;
    for (size_t i = 0; code == HANGAR_OK && i < all.len; i++) {
        if (!all.items[i].oid.hex[0]) continue;
        if (!hg_grow((void **)&out->items, &out->cap, out->len + 1, sizeof *out->items))
            code = hg_fail_memory(err);
        else memcpy(out->items[out->len++], all.items[i].oid.hex, 65);
    }
    hg_entries_deinit(&all);
    return code;
}

/* The digests of every snapshot of the repository but `except`. */
static hangar_code collect_used(const hg_store *s, const hg_repo *repo, const char *except, oids *out,
                                hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; code == HANGAR_OK && i < repo->commit_len; i++)
        if (!hg_streq(repo->commits[i], except)) code = collect(s, repo->name, repo->commits[i], out, err);
    if (out->len) qsort(out->items, out->len, sizeof *out->items, hex_order);
    return code;
}

/* Somebody is writing this blob just now. */
static bool blob_is_busy(const hg_store *s, const char *repo, const hg_oid *oid)
{
    HG_AUTO(hg_auto_free) char *path = hg_blob_lock_path(s, repo, oid);
    hg_lock lock = HG_LOCK_INIT;
    if (!path || access(path, F_OK) != 0) return false;
    bool busy = hg_lock_take(path, 0, NULL, NULL, &lock, NULL) == HANGAR_E_BUSY;
    hg_lock_release(&lock);
    return busy;
}

/* ---- the folder of a repository that has no revision left ---- */

static hangar_code blob_entry(void *ctx, const char *dir, const char *name, hangar_err *err)
{
    removal *r = ctx;
    hg_oid oid;
    bool partial;
    hg_str stem = hg_str_of(name);
    bool ours = hg_str_starts(stem, HG_STR(HG_TMP_PREFIX));
    if (hg_str_ends(stem, HG_STR(HG_PARTIAL_SUFFIX))) {
        stem.len -= sizeof HG_PARTIAL_SUFFIX - 1;
        ours = hg_hex_is(stem, 16);
    }
    bool known = hg_blob_name_parse(name, &oid, &partial);
    if ((!known && !ours) || (known && blob_is_busy(r->s, r->repo, &oid))) return HANGAR_OK;
    HG_AUTO(hg_auto_free) char *path = hg_path_join(dir, name);
    return path ? drop_file(r, path, err) : hg_fail_memory(err);
}

static hangar_code kept_entry(void *ctx, const char *dir, const char *name, hangar_err *err)
{
    removal *r = ctx;
    (void)err;
    hg_buf_printf(&r->kept, "%s/%s", hg_path_base(dir), name);
    hg_buf_putc(&r->kept, '\0');
    return HANGAR_OK;
}

/* Removes an empty folder; what keeps it is noted. */
static void drop_folder(removal *r, const char *path)
{
    if (rmdir(path) == 0) told(r, path);
    else if (errno == ENOTEMPTY || errno == EEXIST) (void)!hg_list_dir(path, kept_entry, r, NULL);
}

/* Takes the known parts of a repository's folder and then the folder, if nothing foreign is in it. */
static hangar_code drop_repo(removal *r, hangar_err *err)
{
    static const char *const whole[] = {"refs", ".no_exist", "trees"};
    hangar_code code = HANGAR_OK;
    HG_AUTO(hg_auto_free) char *dir = hg_repo_dir(r->s, r->repo);
    HG_AUTO(hg_auto_free) char *blobs = hg_repo_part(r->s, r->repo, "blobs");
    HG_AUTO(hg_auto_free) char *snapshots = hg_repo_part(r->s, r->repo, "snapshots");
    if (!dir || !blobs || !snapshots) return hg_fail_memory(err);
    for (size_t i = 0; code == HANGAR_OK && i < HG_LEN(whole); i++) {
        HG_AUTO(hg_auto_free) char *part = hg_repo_part(r->s, r->repo, whole[i]);
        code = part ? hg_rm_tree(part, err) : hg_fail_memory(err);
    }
    if (code == HANGAR_OK && hg_is_dir(blobs)) code = hg_list_dir(blobs, blob_entry, r, err);
    if (code != HANGAR_OK || !hg_is_dir(dir)) return code;
    drop_folder(r, blobs);
    drop_folder(r, snapshots);
    drop_folder(r, dir);
    return HANGAR_OK;
}

/* ---- carrying a plan out ---- */

/* refs/{name}, and the folders above it that are empty then. */
static hangar_code drop_ref(removal *r, const char *name, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *path = hg_revision_path(r->s, r->repo, name);
    if (!path) return hg_fail_memory(err);
    uint64_t before = r->freed;
    hangar_code code = drop_file(r, path, err);
    r->freed = before; /* a name is not worth counting */
    for (const char *at = strchr(name, '/'); code == HANGAR_OK && at; at = strchr(at + 1, '/')) {
        *strrchr(path, '/') = '\0';
        if (rmdir(path) != 0) break;
    }
    return code;
}

static hangar_code drop_refs(removal *r, const hg_repo *repo, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; code == HANGAR_OK && i < repo->rev_len; i++)
        if (hg_streq(repo->revs[i].commit, r->commit)) code = drop_ref(r, repo->revs[i].name, err);
    return code;
}

/* The bytes of plain files below a folder, for the sum. */
static hangar_code add_size(void *ctx, const char *relative, uint64_t size, hangar_err *err)
{
    (void)relative, (void)err;
    *(uint64_t *)ctx += size;
    return HANGAR_OK;
}

/* Moves the snapshot where nobody looks, so that it is gone at once. */
static hangar_code move_snapshot(removal *r, const char *aside, hangar_err *err)
{
    hg_entries all;
    HG_AUTO(hg_auto_free) char *dir = hg_commit_dir(r->s, r->repo, r->commit);
    if (!dir) return hg_fail_memory(err);
    hangar_code code = hg_entries_read(dir, &all, err);
    if (code == HANGAR_E_NOT_FOUND) return HANGAR_OK;
    if (code != HANGAR_OK) return code;
    for (size_t i = 0; i < all.len; i++)
        if (all.items[i].kind == HG_ENTRY_PLAIN) r->freed += all.items[i].size;
    hg_entries_deinit(&all);
    if (rename(dir, aside) != 0) {
        if (errno != EXDEV && errno != ENOTEMPTY && errno != EEXIST && errno != ENOSPC && errno != EDQUOT)
            return hg_fail_errno(err, errno, "removing %s", dir);
        code = hg_rm_tree(dir, err); /* another file system, the rest of an older removal, a full disk */
    }
    if (code == HANGAR_OK) told(r, dir);
    return code;
}

/* The blobs of the plan that nothing uses any more. */
static hangar_code drop_blobs(removal *r, hg_str plan, const oids *used, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    while (code == HANGAR_OK && plan.len) {
        hg_str line;
        hg_oid oid;
        hg_str_cut(&plan, '\n', &line);
        if (hg_oid_parse(line, &oid, NULL) != HANGAR_OK || oids_has(used, oid.hex)) continue;
        if (blob_is_busy(r->s, r->repo, &oid)) continue; /* whoever writes it will link to it */
        HG_AUTO(hg_auto_free) char *path = hg_blob_path(r->s, r->repo, &oid);
        code = path ? drop_file(r, path, err) : hg_fail_memory(err);
        hg_blob_mark(r->s, r->repo, &oid, false);
    }
    return code;
}

/* HOME/artifacts/.../{commit}, and the repository's folder there when it is empty then. */
static hangar_code drop_artifacts(removal *r, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *root = hg_artifact_root(r->s, r->repo, NULL);
    HG_AUTO(hg_auto_free) char *dir = hg_artifact_root(r->s, r->repo, r->commit);
    if (!root || !dir) return hg_fail_memory(err);
    hg_db *db = hg_store_db(r->s);
    if (db) hg_db_facts_forget(db, r->repo, r->commit);
    if (!hg_is_dir(dir)) return HANGAR_OK;
    (void)!hg_walk(dir, HG_SNAPSHOT_FILES_MAX, add_size, &r->freed, NULL);
    hangar_code code = hg_rm_tree(dir, err);
    if (code == HANGAR_OK) {
        told(r, dir);
        (void)rmdir(root);
    }
    return code;
}

/* Does, or finishes, what a plan says. Every step may have been done before. */
static hangar_code carry_out(removal *r, const char *plan_path, hg_str blobs, hangar_err *err)
{
    hg_repo repo;
    oids used = {0};
    HG_AUTO(hg_auto_free) char *aside = hg_remove_aside_path(r->s, r->repo, r->commit);
    if (!aside) return hg_fail_memory(err);
    hangar_code code = hg_repo_read(r->s, r->repo, &repo, err);
    if (code != HANGAR_OK) return code;
    size_t left = repo.commit_len;
    for (size_t i = 0; i < repo.commit_len; i++) left -= hg_streq(repo.commits[i], r->commit);
    code = collect_used(r->s, &repo, r->commit, &used, err);
    if (code == HANGAR_OK) code = drop_refs(r, &repo, err);
    if (code == HANGAR_OK) code = move_snapshot(r, aside, err);
    if (code == HANGAR_OK) code = drop_blobs(r, blobs, &used, err);
    if (code == HANGAR_OK) code = hg_rm_tree(aside, err);
    if (code == HANGAR_OK && left == 0) code = drop_repo(r, err);
    if (code == HANGAR_OK) code = drop_artifacts(r, err);
    if (code == HANGAR_OK && unlink(plan_path) != 0 && errno != ENOENT)
        code = hg_fail_errno(err, errno, "removing %s", plan_path);
    free(used.items);
    hg_repo_deinit(&repo);
    return code;
}

/* ---- plans on disk ---- */

/* The head, a line "ref NAME" for each name of the commit, then the digests. */
static hangar_code write_plan(removal *r, const hg_repo *repo, const char *plan_path, hg_buf *out,
                              hangar_err *err)
{
    oids mine = {0};
    HG_AUTO(hg_auto_free) char *dir = hg_commit_dir(r->s, r->repo, r->commit);
    if (!dir) return hg_fail_memory(err);
    hangar_code code = hg_is_dir(dir) ? collect(r->s, r->repo, r->commit, &mine, err) : HANGAR_OK;
    hg_buf_puts(out, PLAN_HEAD);
    for (size_t i = 0; i < repo->rev_len; i++)
        if (hg_streq(repo->revs[i].commit, r->commit)) hg_buf_printf(out, "ref %s\n", repo->revs[i].name);
    for (size_t i = 0; i < mine.len; i++) hg_buf_printf(out, "%s\n", mine.items[i]);
    free(mine.items);
    if (code == HANGAR_OK) code = hg_buf_check(out, err);
    return code == HANGAR_OK ? hg_write_file(plan_path, hg_buf_text(out), out->len, HG_STORE_FILE_MODE, err)
                             : code;
}

/* What one resumption is about. */
typedef struct resume {
    removal *r;
    const hg_ref *ref; /* NULL = any */
    bool found;        /* a plan that has what was asked for was there */
} resume;

/* The plan takes away what `ref` names. */
static bool plan_names(hg_str plan, hg_str commit, const hg_ref *ref)
{
    if (!ref) return false;
    if (hg_str_eq(commit, hg_str_of(ref->revision))) return true;
    while (plan.len) {
        hg_str line;
        hg_str_cut(&plan, '\n', &line);
        if (!hg_str_starts(line, HG_STR("ref "))) continue;
        if (hg_str_eq((hg_str){line.ptr + 4, line.len - 4}, hg_str_of(ref->revision))) return true;
    }
    return false;
}

static hangar_code plan_entry(void *ctx, const char *dir, const char *name, hangar_err *err)
{
    static const char prefix[] = "hangar-remove-";
    resume *re = ctx;
    hg_str commit = hg_str_of(name), head = HG_STR(PLAN_HEAD);
    if (!hg_str_starts(commit, hg_str_of(prefix))) return HANGAR_OK;
    commit = (hg_str){commit.ptr + sizeof prefix - 1, commit.len - (sizeof prefix - 1)};
    if (!hg_commit_is(commit)) return HANGAR_OK;
    memcpy(re->r->commit, commit.ptr, 41);
    hg_buf plan;
    hg_buf_init(&plan, PLAN_MAX);
    HG_AUTO(hg_auto_free) char *path = hg_path_join(dir, name);
    hangar_code code = path ? hg_read_file(path, &plan, err) : hg_fail_memory(err);
    if (code == HANGAR_OK && hg_str_starts(hg_buf_view(&plan), head)) {
        hg_log(HG_LOG_INFO, "store", "%s: finishing the removal of %s", re->r->repo, re->r->commit);
        re->found = re->found || plan_names(hg_buf_view(&plan), commit, re->ref);
        code = carry_out(re->r, path, hg_buf_view(&plan), err);
    } /* else a later hangar wrote it: not ours to judge */
    hg_buf_deinit(&plan);
    return code;
}

static hangar_code resume_all(resume *re, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *dir = hg_repo_locks_dir(re->r->s, re->r->repo);
    if (!dir) return hg_fail_memory(err);
    return hg_is_dir(dir) ? hg_list_dir(dir, plan_entry, re, err) : HANGAR_OK;
}

hangar_code hg_remove_resume(hg_store *s, const char *repo, hangar_err *err)
{
    removal r = {.s = s, .repo = repo};
    hg_buf_init(&r.kept, HG_MIB);
    resume re = {&r, NULL, false};
    hangar_code code = hg_wrap(err, resume_all(&re, err), "finishing a removal from %s", repo);
    hg_buf_deinit(&r.kept);
    return code;
}

/* ---- the call ---- */

typedef struct busy {
    const hg_store *s;
    const char *repo;
} busy;

static hangar_code busy_entry(void *ctx, const char *dir, const char *name, hangar_err *err)
{
    const busy *b = ctx;
    hg_oid oid;
    bool partial;
    (void)dir;
    if (hg_blob_name_parse(name, &oid, &partial) && partial && blob_is_busy(b->s, b->repo, &oid))
        return hg_fail(err, HANGAR_E_BUSY, "%s is being downloaded just now", b->repo);
    return HANGAR_OK;
}

/* BUSY when the last revision shall go while a download into the repository runs. */
static hangar_code check_idle(const hg_store *s, const hg_repo *repo, const char *commit, hangar_err *err)
{
    if (repo->commit_len > 1 || (repo->commit_len == 1 && !hg_streq(repo->commits[0], commit)))
        return HANGAR_OK;
    busy b = {s, repo->name};
    HG_AUTO(hg_auto_free) char *blobs = hg_repo_part(s, repo->name, "blobs");
    if (!blobs) return hg_fail_memory(err);
    return hg_is_dir(blobs) ? hg_list_dir(blobs, busy_entry, &b, err) : HANGAR_OK;
}

/* Another name than the one that was asked for leads to the same commit. */
static bool has_other_name(const hg_repo *repo, const hg_ref *ref, const char *commit)
{
    if (hg_commit_is(hg_str_of(ref->revision))) return false;
    for (size_t i = 0; i < repo->rev_len; i++)
        if (hg_streq(repo->revs[i].commit, commit) && !hg_streq(repo->revs[i].name, ref->revision))
            return true;
    return false;
}

static bool has_commit(const hg_repo *repo, const char *commit)
{
    for (size_t i = 0; i < repo->commit_len; i++)
        if (hg_streq(repo->commits[i], commit)) return true;
    return false;
}

static hangar_code remove_known(removal *r, const hg_ref *ref, const hg_repo *repo, hangar_err *err)
{
    hangar_code code;
    if (has_other_name(repo, ref, r->commit)) return drop_ref(r, ref->revision, err);
    /* A ref without a folder: an interrupted download by another tool. There is a name to take away all the same. */
    if (!has_commit(repo, r->commit) && hg_commit_is(hg_str_of(ref->revision)))
        return hg_fail(err, HANGAR_E_NOT_FOUND, "%s@%s is not in the store", ref->repo, ref->revision);
    code = check_idle(r->s, repo, r->commit, err);
    if (code != HANGAR_OK) return code;
    hg_buf blobs;
    hg_buf_init(&blobs, PLAN_MAX);
    HG_AUTO(hg_auto_free) char *plan = hg_remove_plan_path(r->s, r->repo, r->commit);
    code = plan ? write_plan(r, repo, plan, &blobs, err) : hg_fail_memory(err);
    /* On a full disk room is made all the same; only a kill in the midst would then leave blobs that nobody uses. */
    if (code == HANGAR_E_NO_SPACE) code = HANGAR_OK;
    if (code == HANGAR_OK) code = carry_out(r, plan, hg_buf_view(&blobs), err);
    hg_buf_deinit(&blobs);
    return code;
}

/* With the lock held: first what an earlier run left, then what is asked for. */
static hangar_code remove_locked(removal *r, const hg_ref *ref, hangar_err *err)
{
    hg_repo repo;
    resume re = {r, ref, false};
    hangar_code code = resume_all(&re, err);
    if (code == HANGAR_OK) code = hg_repo_read(r->s, ref->repo, &repo, err);
    if (code != HANGAR_OK) return code;
    code = hg_revision_read(r->s, ref, r->commit, err);
    if (code == HANGAR_OK) code = remove_known(r, ref, &repo, err);
    /* It is gone because this call finished its removal. */
    if (code == HANGAR_E_NOT_FOUND && re.found) {
        if (err) *err = (hangar_err){0};
        code = HANGAR_OK;
    }
    hg_repo_deinit(&repo);
    return code;
}

static hangar_code write_result(removal *r, char **out_json, hangar_err *err)
{
    hg_jw_end(r->w);
    hg_jw_u64(r->w, "freed", r->freed);
    hg_jw_arr(r->w, "kept");
    for (size_t i = 0; i < r->kept.len; i += strlen(r->kept.data + i) + 1)
        hg_jw_text(r->w, NULL, r->kept.data + i);
    hg_jw_end(r->w);
    return hg_jw_finish(r->w, false, out_json, err);
}

hangar_code hg_store_remove(hg_store *s, const hg_ref *ref, char **out_json, hangar_err *err)
{
    char text[HG_REPO_MAX + HG_REVISION_MAX];
    hg_lock lock = HG_LOCK_INIT;
    if (ref->file[0])
        return hg_fail(err, HANGAR_E_USAGE, "a revision is removed as a whole; leave ':%s' away", ref->file);
    HG_AUTO(hg_auto_free) char *dir = hg_repo_dir(s, ref->repo);
    HG_AUTO(hg_auto_free) char *locks = hg_repo_locks_dir(s, ref->repo);
    HG_AUTO(hg_jw_auto_free) hg_jw *w = out_json ? hg_jw_new() : NULL;
    if (!dir || !locks || (out_json && !w)) return hg_fail_memory(err);
    hg_ref_text(ref->repo, ref->revision, NULL, text);
    if (!hg_is_dir(dir) && !hg_is_dir(locks))
        return hg_fail(err, HANGAR_E_NOT_FOUND, "%s is not in the store", text);
    removal r = {.s = s, .repo = ref->repo, .w = w};
    hg_buf_init(&r.kept, HG_MIB);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "ref", text);
    hg_jw_arr(w, "removed");
    hangar_code code = hg_repo_lock(s, ref->repo, &lock, err);
    /* No room for the lock's file: nobody can be downloading either. */
    if (code == HANGAR_OK || code == HANGAR_E_NO_SPACE) code = remove_locked(&r, ref, err);
    hg_lock_release(&lock);
    if (code == HANGAR_E_NOT_FOUND) code = hg_fail(err, code, "%s is not in the store", text);
    if (code == HANGAR_OK && out_json) code = write_result(&r, out_json, err);
    hg_buf_deinit(&r.kept);
    return code;
}
