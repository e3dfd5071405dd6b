/* SPDX-License-Identifier: Apache-2.0 */
/* Facts of snapshots. A row carries a sum over all its parts, because SQLite would not notice a flipped bit in a text. */
#include "db/internal.h"

/* FNV-1a over the parts, a zero byte between them: against accidents, not against people. */
static int64_t sum_parts(const hg_str *parts, size_t count)
{
    uint64_t sum = 0xcbf29ce484222325u;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < parts[i].len; k++)
            sum = (sum ^ (unsigned char)parts[i].ptr[k]) * 0x100000001b3u;
        sum *= 0x100000001b3u;
    }
    return (int64_t)(sum & INT64_MAX);
}

static int64_t row_sum(const char *repo, const char *commit, const char *stamp, hg_str dirs, hg_str facts)
{
    hg_str parts[] = {hg_str_of(repo), hg_str_of(commit), hg_str_of(stamp), dirs, facts};
    return sum_parts(parts, sizeof parts / sizeof parts[0]);
}

static hg_str column(sqlite3_stmt *stmt, int i)
{
    const char *text = hg_db_text(stmt, i);
    return (hg_str){text, (size_t)sqlite3_column_bytes(stmt, i)};
}

static void bind_text(sqlite3_stmt *stmt, int i, hg_str s)
{
    (void)sqlite3_bind_text64(stmt, i, s.ptr, s.len, SQLITE_STATIC, SQLITE_UTF8);
}

bool hg_db_facts_dirs(hg_db *db, const char *repo, const char *commit, hg_buf *out)
{
    sqlite3_stmt *stmt = hg_db_use(db, HG_STMT_FACTS_DIRS);
    if (stmt) {
        bind_text(stmt, 1, hg_str_of(repo));
        bind_text(stmt, 2, hg_str_of(commit));
    }
    int rc = hg_db_step(db, stmt);
    if (rc == SQLITE_ROW) hg_buf_str(out, column(stmt, 0));
    hg_db_done(db, stmt, rc);
    return rc == SQLITE_ROW;
}

bool hg_db_facts_get(hg_db *db, const char *repo, const char *commit, const char *stamp, hg_buf *out)
{
    bool ok = false;
    sqlite3_stmt *stmt = hg_db_use(db, HG_STMT_FACTS_GET);
    if (stmt) {
        bind_text(stmt, 1, hg_str_of(repo));
        bind_text(stmt, 2, hg_str_of(commit));
        bind_text(stmt, 3, hg_str_of(stamp));
    }
    int rc = hg_db_step(db, stmt);
    if (rc == SQLITE_ROW) {
        hg_str facts = column(stmt, 0), dirs = column(stmt, 1);
        ok = row_sum(repo, commit, stamp, dirs, facts) == sqlite3_column_int64(stmt, 2);
        if (ok) hg_buf_str(out, facts);
    }
    hg_db_done(db, stmt, rc);
    return ok;
}

void hg_db_facts_put(hg_db *db, const char *repo, const char *commit, const char *stamp, hg_str dirs,
                     hg_str facts)
{
    if (dirs.len > HG_DB_TEXT_MAX || facts.len > HG_DB_TEXT_MAX) return;
    sqlite3_stmt *stmt = hg_db_use(db, HG_STMT_FACTS_PUT);
    if (stmt) {
        bind_text(stmt, 1, hg_str_of(repo));
        bind_text(stmt, 2, hg_str_of(commit));
        bind_text(stmt, 3, hg_str_of(stamp));
        bind_text(stmt, 4, dirs.ptr ? dirs : HG_STR(""));
        bind_text(stmt, 5, facts);
        (void)sqlite3_bind_int64(stmt, 6, row_sum(repo, commit, stamp, dirs, facts));
    }
    hg_db_done(db, stmt, hg_db_step(db, stmt));
}

void hg_db_facts_forget(hg_db *db, const char *repo, const char *commit)
{
    sqlite3_stmt *stmt = hg_db_use(db, HG_STMT_FACTS_FORGET);
    if (stmt) {
        bind_text(stmt, 1, hg_str_of(repo));
        if (commit) bind_text(stmt, 2, hg_str_of(commit));
    }
    hg_db_done(db, stmt, hg_db_step(db, stmt));
}
