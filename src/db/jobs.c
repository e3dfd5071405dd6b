/* SPDX-License-Identifier: Apache-2.0 */
/* The journal of jobs. A job whose process is gone without a word is "lost": found out when the journal is read. */
#include "db/internal.h"

#include "base/clock.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define RUNNING_MAX 1000
#define LIST_MAX    10000

/* Runs a bound statement that gives no rows, and ends its use. */
static hangar_code finish(hg_db *db, sqlite3_stmt *stmt, const char *what, hangar_err *err)
{
    int rc = hg_db_step(db, stmt);
    hangar_code code = rc == SQLITE_DONE ? HANGAR_OK : hg_db_fail(db, rc, what, err);
    hg_db_done(db, stmt, rc);
    return code;
}

hangar_code hg_db_job_begin(hg_db *db, const char *kind, const char *ref, int64_t *out_id, hangar_err *err)
{
    sqlite3_stmt *stmt = hg_db_use(db, HG_STMT_JOB_BEGIN);
    if (stmt) {
        (void)sqlite3_bind_text(stmt, 1, kind, -1, SQLITE_STATIC);
        (void)sqlite3_bind_text(stmt, 2, ref, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(stmt, 3, hg_wall());
        (void)sqlite3_bind_int64(stmt, 4, getpid());
    }
    int rc = hg_db_step(db, stmt);
    hangar_code code = rc == SQLITE_DONE ? HANGAR_OK : hg_db_fail(db, rc, "noting a job", err);
    if (code == HANGAR_OK) *out_id = sqlite3_last_insert_rowid(db->handle);
    hg_db_done(db, stmt, rc);
    return code;
}

/* The one place where a job changes its state after it began. */
static hangar_code set_state(hg_db *db, int64_t id, const char *state, const char *error, hangar_err *err)
{
    sqlite3_stmt *stmt = hg_db_use(db, HG_STMT_JOB_END);
    if (stmt) {
        (void)sqlite3_bind_int64(stmt, 1, id);
        (void)sqlite3_bind_text(stmt, 2, state, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(stmt, 3, hg_wall());
        (void)sqlite3_bind_text(stmt, 4, error, -1, SQLITE_STATIC);
    }
    return finish(db, stmt, "noting the end of a job", err);
}

hangar_code hg_db_job_end(hg_db *db, int64_t id, hangar_code result, const hangar_err *why, hangar_err *err)
{
    const char *state = result == HANGAR_OK ? "done" : result == HANGAR_E_CANCELLED ? "cancelled" : "failed";
    return set_state(db, id, state, result != HANGAR_OK && why ? why->msg : "", err);
}

/* Marks running jobs whose process is gone. A process number that was given away again only delays that. */
static void mark_lost(hg_db *db)
{
    int64_t gone[RUNNING_MAX];
    size_t count = 0;
    sqlite3_stmt *stmt = hg_db_use(db, HG_STMT_JOB_RUNNING);
    int rc;
    while ((rc = hg_db_step(db, stmt)) == SQLITE_ROW && count < RUNNING_MAX) {
        int64_t pid = sqlite3_column_int64(stmt, 1);
        bool lives = pid > 0 && pid <= INT32_MAX && (kill((pid_t)pid, 0) == 0 || errno == EPERM);
        if (!lives) gone[count++] = sqlite3_column_int64(stmt, 0);
    }
    hg_db_done(db, stmt, rc);
    for (size_t i = 0; i < count; i++)
        if (set_state(db, gone[i], "lost", "its process ended without a word", NULL) != HANGAR_OK) return;
}

static void read_job(sqlite3_stmt *stmt, hg_db_job *job)
{
    *job = (hg_db_job){.id = sqlite3_column_int64(stmt, 0),
                       .started = sqlite3_column_int64(stmt, 4),
                       .ended = sqlite3_column_int64(stmt, 5),
                       .pid = sqlite3_column_int64(stmt, 6)};
    snprintf(job->kind, sizeof job->kind, "%s", hg_db_text(stmt, 1));
    snprintf(job->ref, sizeof job->ref, "%s", hg_db_text(stmt, 2));
    snprintf(job->state, sizeof job->state, "%s", hg_db_text(stmt, 3));
    snprintf(job->error, sizeof job->error, "%s", hg_db_text(stmt, 7));
}

/* The callback runs while the index is held: it must not come back here. */
hangar_code hg_db_job_list(hg_db *db, size_t max, hg_db_job_fn *fn, void *ctx, hangar_err *err)
{
    mark_lost(db);
    sqlite3_stmt *stmt = hg_db_use(db, HG_STMT_JOB_LIST);
    if (stmt) (void)sqlite3_bind_int64(stmt, 1, (int64_t)(max < LIST_MAX ? max : LIST_MAX));
    hangar_code code = HANGAR_OK;
    int rc;
    while ((rc = hg_db_step(db, stmt)) == SQLITE_ROW && code == HANGAR_OK) {
        hg_db_job job;
        read_job(stmt, &job);
        code = fn(ctx, &job, err);
    }
    if (code == HANGAR_OK && rc != SQLITE_DONE) code = hg_db_fail(db, rc, "reading the journal", err);
    hg_db_done(db, stmt, rc);
    return code;
}

hangar_code hg_db_job_trim(hg_db *db, size_t keep, hangar_err *err)
{
    sqlite3_stmt *stmt = hg_db_use(db, HG_STMT_JOB_TRIM);
    if (stmt) (void)sqlite3_bind_int64(stmt, 1, (int64_t)(keep < INT32_MAX ? keep : INT32_MAX));
    return finish(db, stmt, "trimming the journal", err);
}
