/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share: the connection and its prepared statements. */
#ifndef HG_DB_INTERNAL_H
#define HG_DB_INTERNAL_H

#include "db/db.h"

#include <pthread.h>
#include <sqlite3.h>

/* Every statement of the room; the texts are in statements.def. */
typedef enum hg_stmt {
#define HG_STATEMENT(name, text) HG_STMT_##name,
#include "db/statements.def"
#undef HG_STATEMENT
    HG_STMT_COUNT
} hg_stmt;

struct hg_db {
    char *path;
    pthread_mutex_t lock; /* held from hg_db_use to hg_db_done */
    sqlite3 *handle;      /* NULL after damage that could not be repaired */
    sqlite3_stmt *stmts[HG_STMT_COUNT];
    bool repaired; /* once is enough in one life */
};

/* Takes the lock and gives the statement, reset, without bindings; NULL when the index cannot be used (the lock is held all the same). */
sqlite3_stmt *hg_db_use(hg_db *db, hg_stmt which);
/* Steps: SQLITE_ROW, SQLITE_DONE or an error. */
int hg_db_step(hg_db *db, sqlite3_stmt *stmt);
/* Ends the use: resets the statement (may be NULL), and where rc tells of damage, rebuilds the index. Releases the lock. */
void hg_db_done(hg_db *db, sqlite3_stmt *stmt, int rc);
/* An SQLite result as an error with words. */
hangar_code hg_db_fail(hg_db *db, int rc, const char *what, hangar_err *err);
/* A column of text, never NULL. */
const char *hg_db_text(sqlite3_stmt *stmt, int column);

#endif
