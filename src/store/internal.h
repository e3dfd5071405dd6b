/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the store share among themselves. */
#ifndef HG_STORE_INTERNAL_H
#define HG_STORE_INTERNAL_H

#include "base/buf.h"
#include "base/fsx.h"
#include "base/json.h"
#include "base/mem.h"
#include "db/db.h"
#include "store/store.h"

#include <pthread.h>

/* A repository with more files than this in one revision is refused (LIMIT). */
#define HG_SNAPSHOT_FILES_MAX 100000
/* A cache with more repositories, or a repository with more refs or revisions, than this is refused (LIMIT). */
#define HG_STORE_REPOS_MAX 100000
#define HG_REPO_REFS_MAX   10000
/* Folders below one snapshot (or of refs) may be nested that deep. */
#define HG_STORE_DEPTH_MAX 32
/* What a partial of hangar's ends with, behind its digest. */
#define HG_PARTIAL_SUFFIX ".hangar.incomplete"
/* Before the umask: nothing here is ever writable for everybody, not even with umask 000. */
#define HG_STORE_DIR_MODE  0775
#define HG_STORE_FILE_MODE 0664
/* Temporary files of a run that ended before it could remove them are taken away when they are that old, in seconds. */
#define HG_STORE_SWEEP_AGE 3600.0

struct hg_store {
    char *cache;
    char *home;
    mode_t umask;
    pthread_mutex_t lock; /* guards the two below */
    hg_db *db;
    bool db_tried;
};

/* ---- paths.c: the caller's strings; NULL when out of memory, or when an argument is not what its check lets through ---- */

/* CACHE/models--ORG--NAME */
char *hg_repo_dir(const hg_store *s, const char *repo);
/* CACHE/models--ORG--NAME/{part}; part is a literal of ours ("blobs", "refs", ...). */
char *hg_repo_part(const hg_store *s, const char *repo, const char *part);
/* CACHE/.locks/models--ORG--NAME */
char *hg_repo_locks_dir(const hg_store *s, const char *repo);
/* The lock that a change of the repository's links or a removal holds; hangar's own, beside the others. */
char *hg_repo_lock_path(const hg_store *s, const char *repo);
char *hg_revision_path(const hg_store *s, const char *repo, const char *revision);
char *hg_commit_dir(const hg_store *s, const char *repo, const char *commit);
char *hg_commit_file(const hg_store *s, const char *repo, const char *commit, const char *path);
/* What a snapshot's link to a blob holds: "../../blobs/{oid}" with one more "../" per folder in path. */
char *hg_blob_link(const char *path, const hg_oid *oid);
/* CACHE/.locks/models--ORG--NAME/{HG_TMP_PREFIX}{random}: no scanner looks there, hg_sweep finds it. */
char *hg_stage_path(const hg_store *s, const char *repo);
/* CACHE/.locks/models--ORG--NAME/{oid}.damaged: there while the blob is known to be damaged. Then hg_blob_have says no, and the next one
 * that is published replaces it. */
char *hg_blob_mark_path(const hg_store *s, const char *repo, const hg_oid *oid);
/* CACHE/models--ORG--NAME/blobs/{random}.hangar.incomplete: for content whose digest is not known yet. */
char *hg_blob_temp_path(const hg_store *s, const char *repo);
/* The plan of a removal, and where the snapshot goes meanwhile; in the repository's lock folder. */
char *hg_remove_plan_path(const hg_store *s, const char *repo, const char *commit);
char *hg_remove_aside_path(const hg_store *s, const char *repo, const char *commit);
/* HOME/artifacts/models--ORG--NAME[/{commit}]; commit may be NULL. */
char *hg_artifact_root(const hg_store *s, const char *repo, const char *commit);
char *hg_store_index_path(const hg_store *s);
char *hg_store_tag_path(const hg_store *s);
/* "models--org--name" -> "org/name"; false for any other folder. */
bool hg_repo_from_folder(const char *folder, char out[HG_REPO_MAX]);
/* INVALID unless hg_revision rules hold. */
hangar_code hg_revision_check(hg_str revision, hangar_err *err);
/* "{oid}", "{oid}.incomplete", "{oid}.12ab34cd.incomplete", "{oid}.hangar.incomplete": the digest that a name in blobs/ begins
 * with. *partial tells the first from the others. */
bool hg_blob_name_parse(const char *name, hg_oid *out, bool *partial);

/* ---- scan.c: what lies in a repository ---- */

typedef enum hg_entry_kind {
    HG_ENTRY_BLOB,    /* a link to a blob that is there                        */
    HG_ENTRY_PLAIN,   /* a regular file, or a link to one that no digest names */
    HG_ENTRY_MISSING, /* a link that leads nowhere                             */
    HG_ENTRY_ODD,     /* not a file, or a name that no repository may have     */
} hg_entry_kind;

typedef struct hg_entry {
    char *path;
    hg_entry_kind kind;
    uint64_t size;
    hg_oid oid; /* hex is "" when no digest is known */
} hg_entry;

typedef struct hg_entries {
    hg_entry *items; /* sorted by path */
    size_t len, cap;
    char **dirs; /* the folders below, relative, sorted */
    size_t dir_len, dir_cap;
} hg_entries;

/* Everything below one snapshot's folder. NOT_FOUND when there is no such folder. */
hangar_code hg_entries_read(const char *dir, hg_entries *out, hangar_err *err);
void hg_entries_deinit(hg_entries *e);

/* One name that leads to a commit. */
typedef struct hg_rev {
    char *name;
    char commit[41];
} hg_rev;
/* One repository: its commits that have a folder (sorted), and its refs (main first, then by name). */
typedef struct hg_repo {
    char name[HG_REPO_MAX];
    int fd; /* its folder, for looking at what is in it; -1: it is not there */
    char (*commits)[41];
    size_t commit_len, commit_cap;
    hg_rev *revs;
    size_t rev_len, rev_cap;
} hg_repo;
/* A repository that is not there has neither. Refs that hold no commit are left out. */
hangar_code hg_repo_read(const hg_store *s, const char *repo, hg_repo *out, hangar_err *err);
void hg_repo_deinit(hg_repo *r);
/* The best name of a commit: "main", else the first by name, else NULL. */
const char *hg_repo_rev_of(const hg_repo *r, const char *commit);
/* Calls fn for each repository of the store, sorted by name; for one that cannot be read, and for one where fn ends with anything
 * but CANCELLED or NO_MEMORY, calls bad and goes on: one damaged repository costs that repository only. */
typedef hangar_code hg_repo_fn(void *ctx, const hg_repo *repo, hangar_err *err);
typedef void hg_repo_bad_fn(void *ctx, const char *repo, const hangar_err *why);
hangar_code hg_store_each(const hg_store *s, hg_repo_fn *fn, hg_repo_bad_fn *bad, void *ctx, hangar_err *err);
/* The commit that a revision leads to, by its ref or because it is one. NOT_FOUND names the command that fetches it. */
hangar_code hg_revision_read(const hg_store *s, const hg_ref *ref, char out_commit[41], hangar_err *err);
/* "org/name", "org/name@v1", "org/name@{commit}" for a commit's best name. */
void hg_ref_text(const char *repo, const char *revision, const char *commit,
                 char out[HG_REPO_MAX + HG_REVISION_MAX]);
/* What a listing depends on: the times of the snapshot's folder, of blobs/ and of the folders named (lines). False when it is not settled
 * (changed within the last seconds) or cannot be seen. *modified (Unix seconds) is set when the snapshot is there. */
bool hg_snapshot_stamp(const hg_repo *repo, const char *commit, hg_str dirs, hg_buf *out, int64_t *modified);

/* ---- write.c ---- */

/* Sets or takes away the mark of a damaged blob; without a word where the store cannot be written. */
void hg_blob_mark(const hg_store *s, const char *repo, const hg_oid *oid, bool damaged);
/* Holds the repository's own lock. */
hangar_code hg_repo_lock(const hg_store *s, const char *repo, hg_lock *out, hangar_err *err);

/* ---- remove.c ---- */

/* Finishes what a killed removal began. Under the repository's lock. */
hangar_code hg_remove_resume(hg_store *s, const char *repo, hangar_err *err);

#endif
