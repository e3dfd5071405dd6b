/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: the Hugging Face cache in its exact layout, plus hangar's own folder. The files are the truth; the index in
 * HANGAR_HOME/index.db only remembers what is slow to find out, and is rebuilt when it is gone or damaged.
 *
 *   CACHE/models--ORG--NAME/blobs/{oid}                   content, named by its digest
 *   CACHE/models--ORG--NAME/refs/{revision}               40 hex digits
 *   CACHE/models--ORG--NAME/snapshots/{commit}/{path}     relative link to the blob (or a plain file)
 *   CACHE/.locks/models--ORG--NAME/{oid}.lock             flock
 *   HOME/artifacts/models--ORG--NAME/{commit}/{kind}/     what hangar made from it (kind: "onnx")
 *
 * This is the only place that turns a repository name, a digest, a revision or a file name of a repository into a path
 * (paths.c), and each of them is checked before.
 * A partial download of hangar's is blobs/{oid}.hangar.incomplete: `hf cache prune` cleans it, no other tool appends to it.
 */
#ifndef HG_STORE_STORE_H
#define HG_STORE_STORE_H

#include "base/hash.h"
#include "base/job.h"
#include "hangar/job.h"

#include <stdint.h>

#define HG_REPO_MAX     200
#define HG_REVISION_MAX 256

/* ORG/NAME[@REVISION][:FILE], checked. */
typedef struct hg_ref {
    char repo[HG_REPO_MAX];
    char revision[HG_REVISION_MAX]; /* "main" when none was given */
    char file[1025];                /* "" when none was given     */
    bool explicit_revision;
} hg_ref;
/* USAGE with the rule that is broken. Repository names as in hub-protocol: at most two parts of [A-Za-z0-9_.-], not starting or
 * ending with - or ., no "--", no "..", not ending in .git. Revisions: no "..", no control characters, clean as a path. */
hangar_code hg_ref_parse(const char *text, hg_ref *out, hangar_err *err);
hangar_code hg_repo_check(hg_str repo, hangar_err *err);
bool hg_commit_is(hg_str text); /* 40 lower-case hex digits */

typedef struct hg_store hg_store;
/* cache and home are absolute. Makes HOME when missing; makes CACHE only when something is written. */
hangar_code hg_store_open(const char *cache, const char *home, hg_store **out, hangar_err *err);
void hg_store_close(hg_store *s);
const char *hg_store_cache(const hg_store *s);
/* The index, opened on the first call; NULL when there is none to be had: then everything works, only slower. */
struct hg_db *hg_store_db(hg_store *s);

/* ---- reading ---- */

typedef struct hg_snapshot_file {
    char *path; /* in the repository */
    uint64_t size;
    hg_oid oid; /* oid.hex is "" for a plain file that no digest names */
} hg_snapshot_file;
typedef struct hg_snapshot {
    hg_ref ref;
    char commit[41];
    char *dir;               /* absolute path of snapshots/{commit} */
    hg_snapshot_file *files; /* sorted by path */
    size_t count;
    uint64_t size; /* each blob once */
} hg_snapshot;
/* Finds a revision on disk. NOT_FOUND names the command that would fetch it. */
hangar_code hg_snapshot_open(hg_store *s, const hg_ref *ref, hg_snapshot **out, hangar_err *err);
void hg_snapshot_free(hg_snapshot *snap);
void hg_snapshot_auto_free(hg_snapshot **snap);
/*
 * How the reference and the folder of a snapshot were, so that two looks tell whether it is still the one that was opened. A blob that goes away alone, or a
 * file in a folder below, is not seen. Zero-initialise; one that was never taken does not hold.
 */
typedef struct hg_stamp {
    char *paths[2]; /* the reference (NULL: the revision is a commit), the folder */
    struct {
        uint64_t device, inode;
        int64_t seconds, nanoseconds;
    } seen[2];
} hg_stamp;
/* NOT_FOUND when it is gone already. Replaces what was taken before. */
hangar_code hg_stamp_take(const hg_store *s, const hg_snapshot *snap, hg_stamp *out, hangar_err *err);
bool hg_stamp_holds(const hg_stamp *stamp);
void hg_stamp_deinit(hg_stamp *stamp);
/* NULL when the repository has no such file there. */
const hg_snapshot_file *hg_snapshot_file_get(const hg_snapshot *snap, const char *path);
/* The absolute path of a file of it (dir + path, through its link); the caller's. */
char *hg_snapshot_file_path(const hg_snapshot *snap, const char *path);

/* HOME/artifacts/.../{commit}/{kind}; the caller's. Not made here. */
char *hg_artifact_dir(const hg_store *s, const char *repo, const char *commit, const char *kind);

/* ---- writing (hub, add) ---- */

/* Takes away what a killed run left, makes the repository's folders and CACHEDIR.TAG. */
hangar_code hg_store_prepare(hg_store *s, const char *repo, hangar_err *err);
/* All the caller's; NULL only when out of memory. repo was checked before. */
char *hg_blob_path(const hg_store *s, const char *repo, const hg_oid *oid);
char *hg_blob_partial_path(const hg_store *s, const char *repo, const hg_oid *oid);
char *hg_blob_lock_path(const hg_store *s, const char *repo, const hg_oid *oid);
/* The blob is there with that size, and no verification found it damaged since. */
bool hg_blob_have(const hg_store *s, const char *repo, const hg_oid *oid, uint64_t size);
/*
 * Makes a partial file, whose hash was proved by the caller, visible as its blob: fsync, mode 0664 & ~umask, rename (an existing blob
 * of the same size stays and wins, unless a verification found it damaged; one of another size is replaced). When fsync fails, the
 * partial is removed: its bytes can no longer be vouched for. The blob's bytes are on disk before it has its name; the name itself
 * is made durable by hg_snapshot_sync, once for all blobs of a revision.
 */
hangar_code hg_blob_publish(hg_store *s, const char *repo, const hg_oid *oid, const char *partial,
                            hangar_err *err);
/* snapshots/{commit}/{path} -> the blob. path passed hg_path_check. */
hangar_code hg_snapshot_link(hg_store *s, const char *repo, const char *commit, const char *path,
                             const hg_oid *oid, hangar_err *err);
/* Makes the names of the blobs and all links of a commit durable; hg_revision_write does it too. Call one of them before a revision is reported as fetched. */
hangar_code hg_snapshot_sync(hg_store *s, const char *repo, const char *commit, hangar_err *err);
/* refs/{revision} = commit, atomically; nothing for a revision that is a commit. */
hangar_code hg_revision_write(hg_store *s, const char *repo, const char *revision, const char *commit,
                              hangar_err *err);

/* ---- whole store ---- */

/* Documents of hangar/model.h. `describe` adds what the caller knows of a snapshot (format, architecture, ...) to the open object. */
typedef struct hg_jw hg_jw;
typedef void hg_describe_fn(void *ctx, const hg_snapshot *snap, hg_jw *w);
hangar_code hg_store_list(hg_store *s, hg_describe_fn *describe, void *ctx, char **out_json, hangar_err *err);
hangar_code hg_store_remove(hg_store *s, const hg_ref *ref, char **out_json, hangar_err *err);
/* ref NULL = all. "ok" counts the files that were proved. Damaged blobs are marked, so that the next pull fetches them again. */
hangar_code hg_store_verify(hg_store *s, const hg_ref *ref, hangar_job *job, char **out_json,
                            hangar_err *err);
hangar_code hg_store_add(hg_store *s, const char *path, const char *name, hangar_job *job, char **out_json,
                         hangar_err *err);

#endif
