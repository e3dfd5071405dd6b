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

static int64_t row_sum(const hg_db_fact *f)
{
    hg_str parts[] = {f->repo, f->commit, f->stamp, f->dirs, f->facts};
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

void hg_db_facts_each(hg_db *db, bool (*fn)(void *ctx, const hg_db_fact *fact), void *ctx)
{
    sqlite3_stmt *stmt = hg_db_use(db, HG_STMT_FACTS_EACH);
    bool more = true;
    int rc;
    while ((rc = hg_db_step(db, stmt)) == SQLITE_ROW && more) {
        hg_db_fact f = {column(stmt, 0), column(stmt, 1), column(stmt, 2), column(stmt, 3), column(stmt, 4)};
        if (row_sum(&f) == sqlite3_column_int64(stmt, 5)) more = fn(ctx, &f);
    }
    hg_db_done(db, stmt, rc);
}

void hg_db_facts_put(hg_db *db, const char *repo, const char *commit, const char *stamp, hg_str dirs,
                     hg_str facts)
{
    hg_db_fact f = {hg_str_of(repo), hg_str_of(commit), hg_str_of(stamp), dirs.ptr ? dirs : HG_STR(""),
                    facts};
    if (dirs.len > HG_DB_TEXT_MAX || facts.len > HG_DB_TEXT_MAX) return;
    sqlite3_stmt *stmt = hg_db_use(db, HG_STMT_FACTS_PUT);
    if (stmt) {
        bind_text(stmt, 1, f.repo);
        bind_text(stmt, 2, f.commit);
        bind_text(stmt, 3, f.stamp);
        bind_text(stmt, 4, f.dirs);
        bind_text(stmt, 5, f.facts);
        (void)sqlite3_bind_int64(stmt, 6, row_sum(&f));
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
