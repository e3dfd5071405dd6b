/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index: one SQLite file in WAL mode that remembers what is slow to find out, and keeps the journal of jobs. The only room that
 * knows SQLite. It may be deleted at any time; a file that is damaged, or is no index of hangar's, is moved aside
 * (index.db.damaged-...) and a new one begun. A file that a newer hangar wrote is left alone: opening it is UNSUPPORTED, and callers do without.
 *
 * Threads: one hg_db may be used from any thread. Processes: any number at once; a writer waits up to HG_DB_BUSY_SECONDS for another.
 */
#ifndef HG_DB_DB_H
#define HG_DB_DB_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define HG_DB_BUSY_SECONDS 5
/* One remembered text is at most that long; longer ones are not remembered. */
#define HG_DB_TEXT_MAX ((size_t)1 << 20)

typedef struct hg_db hg_db;

/* Opens or makes the index at an absolute path, whose folder is there. */
hangar_code hg_db_open(const char *path, hg_db **out, hangar_err *err);
/* NULL is fine. */
void hg_db_close(hg_db *db);
/* Between these two, writes go to disk together; keep it short, other writers wait. Errors are as after any write: nothing is remembered. */
void hg_db_begin(hg_db *db);
void hg_db_commit(hg_db *db);

/* ---- facts.c: what is known of a snapshot ---- */

/*
 * stamp says what the facts depend on, as text: the caller builds it again and compares. `dirs` is what it needs for that (names separated
 * by newlines).
 */
typedef struct hg_db_fact { /* views, for the time of the call */
    hg_str repo, commit, stamp, dirs, facts;
} hg_db_fact;
/* Calls fn for everything remembered, sorted by the bytes of repo and commit; rows that were tampered with are left out. fn must not come
 * back to the index; false from it ends the reading. */
void hg_db_facts_each(hg_db *db, bool (*fn)(void *ctx, const hg_db_fact *fact), void *ctx);
void hg_db_facts_put(hg_db *db, const char *repo, const char *commit, const char *stamp, hg_str dirs,
                     hg_str facts);
/* One commit, or with commit NULL all of the repository. */
void hg_db_facts_forget(hg_db *db, const char *repo, const char *commit);

/* ---- jobs.c: the journal of long work ---- */

typedef struct hg_db_job {
    int64_t id;
    char kind[32]; /* "pull", "convert", ... */
    char ref[512];
    char state[16];  /* "running", "done", "failed", "cancelled", "lost" */
    int64_t started; /* Unix seconds */
    int64_t ended;   /* 0 = not yet */
    int64_t pid;     /* the process that runs it */
    char error[HANGAR_ERR_MAX];
} hg_db_job;

/* Notes that work began; *out_id names it later. */
hangar_code hg_db_job_begin(hg_db *db, const char *kind, const char *ref, int64_t *out_id, hangar_err *err);
/* Notes how it ended: "done" for OK, "cancelled", else "failed" with the words of `why` (may be NULL). */
hangar_code hg_db_job_end(hg_db *db, int64_t id, hangar_code result, const hangar_err *why, hangar_err *err);
/* The newest `max` jobs, newest first. Running ones whose process is gone are marked "lost" first. */
typedef hangar_code hg_db_job_fn(void *ctx, const hg_db_job *job, hangar_err *err);
hangar_code hg_db_job_list(hg_db *db, size_t max, hg_db_job_fn *fn, void *ctx, hangar_err *err);
/* Forgets ended jobs beyond the newest `keep`. */
hangar_code hg_db_job_trim(hg_db *db, size_t keep, hangar_err *err);

#endif
