/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening, migrating, rebuilding. Invariant: whoever holds an hg_db has either a sound index of this version or none
 * (handle NULL), and then every call is a miss, never an error that stops the work which asked.
 *
 * A damaged or foreign file is moved aside under a lock file beside it, after looking again: of two processes that find
 * the same damage the second finds the new file of the first.
 */
#include "db/internal.h"

#include "base/clock.h"
#include "base/fsx.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <unistd.h>

#define APPLICATION_ID      0x48474152 /* "HGAR" */
#define SCHEMA_VERSION      1
#define REPAIR_LOCK_SECONDS 10.0

static const char *const statement_texts[HG_STMT_COUNT] = {
#define HG_STATEMENT(name, text) [HG_STMT_##name] = text,
#include "db/statements.def"
#undef HG_STATEMENT
};

/* Step i takes a file of version i to version i + 1. Only ever appended to. */
static const char *const migrations[SCHEMA_VERSION] = {
    "CREATE TABLE facts (repo TEXT NOT NULL, commit_id TEXT NOT NULL, stamp TEXT NOT NULL, dirs TEXT NOT "
    "NULL,"
    " facts TEXT NOT NULL, sum INTEGER NOT NULL, PRIMARY KEY (repo, commit_id)) WITHOUT ROWID;"
    "CREATE TABLE jobs (id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, ref TEXT NOT NULL,"
    " state TEXT NOT NULL, started INTEGER NOT NULL, ended INTEGER NOT NULL, pid INTEGER NOT NULL,"
    " error TEXT NOT NULL);",
};

typedef enum verdict { SOUND, DAMAGED, NEWER, UNUSABLE } verdict;

static bool is_damage(int rc)
{
    int base = rc & 0xff;
    return base == SQLITE_CORRUPT || base == SQLITE_NOTADB || base == SQLITE_FORMAT;
}

/* A pragma's or a query's single number. */
static int read_number(sqlite3 *h, const char *sql, int64_t *out)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(h, sql, -1, &stmt, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(stmt);
        if (rc == SQLITE_ROW) *out = sqlite3_column_int64(stmt, 0);
    }
    sqlite3_finalize(stmt);
    return rc == SQLITE_ROW ? SQLITE_OK : rc == SQLITE_DONE ? SQLITE_ERROR : rc;
}

/* The settings of one connection: nothing in the file is believed, nothing in it runs. */
static int configure(sqlite3 *h)
{
    static const int limits[][2] = {
        {SQLITE_LIMIT_LENGTH, (int)HG_DB_TEXT_MAX * 2},
        {SQLITE_LIMIT_SQL_LENGTH, 8192},
        {SQLITE_LIMIT_COLUMN, 32},
        {SQLITE_LIMIT_EXPR_DEPTH, 20},
        {SQLITE_LIMIT_ATTACHED, 0},
    };
    sqlite3_extended_result_codes(h, 1);
    sqlite3_busy_timeout(h, HG_DB_BUSY_SECONDS * 1000);
    sqlite3_db_config(h, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(h, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(h, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(h, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    sqlite3_db_config(h, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    sqlite3_db_config(h, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    for (size_t i = 0; i < HG_LEN(limits); i++) sqlite3_limit(h, limits[i][0], limits[i][1]);
    return sqlite3_exec(h, "PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA synchronous = NORMAL;",
                        NULL, NULL, NULL);
}

/* A new file's mark, and every step from its version to this one, in one transaction. */
static int migrate(sqlite3 *h)
{
    char text[96];
    int64_t version = 0;
    int rc = sqlite3_exec(h, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (rc != SQLITE_OK) return rc;
    /* Read again: another process may have been quicker. */
    rc = read_number(h, "PRAGMA user_version", &version);
    for (int64_t i = version; rc == SQLITE_OK && i >= 0 && i < SCHEMA_VERSION; i++)
        rc = sqlite3_exec(h, migrations[i], NULL, NULL, NULL);
    if (rc == SQLITE_OK && version < SCHEMA_VERSION) {
        snprintf(text, sizeof text, "PRAGMA application_id = %d; PRAGMA user_version = %d", APPLICATION_ID,
                 SCHEMA_VERSION);
        rc = sqlite3_exec(h, text, NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK) rc = sqlite3_exec(h, "COMMIT", NULL, NULL, NULL);
    if (rc != SQLITE_OK) (void)sqlite3_exec(h, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

/* Prepares all statements: what has other tables than ours shows here. */
static int prepare_all(hg_db *db)
{
    for (int i = 0; i < HG_STMT_COUNT; i++) {
        int rc = sqlite3_prepare_v3(db->handle, statement_texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                                    &db->stmts[i], NULL);
        if (rc != SQLITE_OK) return rc;
    }
    return SQLITE_OK;
}

static verdict judge(int rc)
{
    return rc == SQLITE_OK ? SOUND : is_damage(rc) ? DAMAGED : UNUSABLE;
}

/* The file's mark, version and number of tables, all at one moment: another process may be making the file just now. */
static int read_marks(sqlite3 *h, int64_t *id, int64_t *version, int64_t *tables)
{
    int rc = sqlite3_exec(h, "BEGIN", NULL, NULL, NULL);
    if (rc == SQLITE_OK) rc = read_number(h, "SELECT count(*) FROM sqlite_schema", tables);
    if (rc == SQLITE_OK) rc = read_number(h, "PRAGMA application_id", id);
    if (rc == SQLITE_OK) rc = read_number(h, "PRAGMA user_version", version);
    (void)sqlite3_exec(h, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

/* Looks whose file it is and brings it to this version. */
static verdict inspect(hg_db *db)
{
    int64_t id = 0, version = 0, tables = 0;
    int rc = configure(db->handle);
    if (rc == SQLITE_OK) rc = read_marks(db->handle, &id, &version, &tables);
    if (rc != SQLITE_OK) return judge(rc);
    if (id != APPLICATION_ID && (id != 0 || version != 0 || tables != 0))
        return DAMAGED; /* somebody else's */
    if (version > SCHEMA_VERSION) return NEWER;
    if (version < 0) return DAMAGED;
    if (version < SCHEMA_VERSION) {
        (void)sqlite3_exec(db->handle, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
        rc = migrate(db->handle);
        if (rc != SQLITE_OK) return judge(rc);
    }
    rc = prepare_all(db);
    /* A statement that does not fit means that the tables are not those that the version promises. */
    return (rc & 0xff) == SQLITE_ERROR ? DAMAGED : judge(rc);
}

static void close_handle(hg_db *db)
{
    for (int i = 0; i < HG_STMT_COUNT; i++) {
        sqlite3_finalize(db->stmts[i]);
        db->stmts[i] = NULL;
    }
    sqlite3_close(db->handle);
    db->handle = NULL;
}

static verdict try_open(hg_db *db, hangar_err *err)
{
    const int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX | SQLITE_OPEN_NOFOLLOW;
    int rc = sqlite3_open_v2(db->path, &db->handle, flags, NULL);
    verdict v = rc == SQLITE_OK ? inspect(db) : judge(rc);
    if (v == SOUND) return v;
    if (v == NEWER) hg_fail(err, HANGAR_E_UNSUPPORTED, "%s: written by a newer hangar", db->path);
    else if (v == DAMAGED)
        hg_fail(err, HANGAR_E_INTEGRITY, "%s: not an index of hangar's, or damaged", db->path);
    else hg_db_fail(db, rc != SQLITE_OK ? rc : sqlite3_extended_errcode(db->handle), "opening", err);
    close_handle(db);
    return v;
}

/* The file and its two companions get names that nobody reads. */
static hangar_code move_aside(const char *path, hangar_err *err)
{
    static const char *const parts[] = {"-wal", "-shm", ""};
    for (size_t i = 0; i < HG_LEN(parts); i++) {
        HG_AUTO(hg_auto_free) char *from = hg_format("%s%s", path, parts[i]);
        HG_AUTO(hg_auto_free)
        char *to = hg_format("%s.damaged-%lld-%d%s", path, (long long)hg_wall(), (int)getpid(), parts[i]);
        if (!from || !to) return hg_fail_memory(err);
        if (access(from, F_OK) == 0 && rename(from, to) != 0)
            return hg_fail(err, HANGAR_E_IO, "%s stays where it is", from);
    }
    return HANGAR_OK;
}

/*
 * Opens; where the file is damaged, replaces it. All of it under one lock: a process that still has the old file open takes a journal of the
 * new one, which has the same name, for its own.
 */
static hangar_code open_or_rebuild(hg_db *db, hangar_err *err)
{
    hangar_err why = {0};
    hg_lock lock = HG_LOCK_INIT;
    HG_AUTO(hg_auto_free) char *guard = hg_format("%s.lock", db->path);
    if (!guard) return hg_fail_memory(err);
    /* Where no lock is to be had (a folder that may only be read) what is sound is opened all the same. */
    bool locked = hg_lock_take(guard, REPAIR_LOCK_SECONDS, NULL, NULL, &lock, NULL) == HANGAR_OK;
    verdict v = try_open(db, &why);
    if (v == DAMAGED && locked && move_aside(db->path, &why) == HANGAR_OK) {
        hg_log(HG_LOG_WARN, "db", "%s; a new one is begun", why.msg);
        v = try_open(db, &why);
    }
    hg_lock_release(&lock);
    if (v == SOUND) return HANGAR_OK;
    if (err) *err = why;
    return why.code != HANGAR_OK ? why.code : HANGAR_E_IO;
}

hangar_code hg_db_open(const char *path, hg_db **out, hangar_err *err)
{
    hg_db *db = hg_calloc(1, sizeof *db);
    if (!db) return hg_fail_memory(err);
    if (pthread_mutex_init(&db->lock, NULL) != 0) {
        free(db);
        return hg_fail_memory(err);
    }
    db->path = hg_strdup(path);
    hangar_code code = db->path ? open_or_rebuild(db, err) : hg_fail_memory(err);
    if (code != HANGAR_OK) {
        hg_db_close(db);
        return code;
    }
    *out = db;
    return HANGAR_OK;
}

void hg_db_close(hg_db *db)
{
    if (!db) return;
    close_handle(db);
    pthread_mutex_destroy(&db->lock);
    free(db->path);
    free(db);
}

hangar_code hg_db_fail(hg_db *db, int rc, const char *what, hangar_err *err)
{
    hangar_code code = HANGAR_E_IO;
    switch (rc & 0xff) {
    case SQLITE_NOMEM: return hg_fail_memory(err);
    case SQLITE_BUSY:
    case SQLITE_LOCKED: code = HANGAR_E_BUSY; break;
    case SQLITE_FULL: code = HANGAR_E_NO_SPACE; break;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH: code = HANGAR_E_DENIED; break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: code = HANGAR_E_INTEGRITY; break;
    default: break;
    }
    return hg_fail(err, code, "the index %s: %s: %s", db->path, what, sqlite3_errstr(rc));
}

/* ---- using it ---- */

sqlite3_stmt *hg_db_use(hg_db *db, hg_stmt which)
{
    pthread_mutex_lock(&db->lock);
    if (!db->handle) return NULL;
    sqlite3_stmt *stmt = db->stmts[which];
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    return stmt;
}

int hg_db_step(hg_db *db, sqlite3_stmt *stmt)
{
    return db->handle && stmt ? sqlite3_step(stmt) : SQLITE_MISUSE;
}

void hg_db_done(hg_db *db, sqlite3_stmt *stmt, int rc)
{
    if (stmt) sqlite3_reset(stmt);
    if (is_damage(rc) && db->handle) {
        close_handle(db);
        hangar_err why = {0};
        hg_lock lock = HG_LOCK_INIT;
        HG_AUTO(hg_auto_free) char *guard = hg_format("%s.lock", db->path);
        /* Damage in the midst of a file is not seen by opening it: it goes aside without being asked again. */
        bool mine = !db->repaired && guard && hg_lock_take(guard, 0, NULL, NULL, &lock, &why) == HANGAR_OK;
        db->repaired = true;
        if (mine && move_aside(db->path, &why) == HANGAR_OK) {
            hg_log(HG_LOG_WARN, "db", "%s: damaged; a new one is begun", db->path);
            if (try_open(db, &why) != SOUND) hg_log(HG_LOG_WARN, "db", "%s", why.msg);
        }
        hg_lock_release(&lock);
    }
    pthread_mutex_unlock(&db->lock);
}

const char *hg_db_text(sqlite3_stmt *stmt, int column)
{
    const unsigned char *text = sqlite3_column_text(stmt, column);
    return text ? (const char *)text : "";
}

static int run_plain(hg_db *db, hg_stmt which)
{
    sqlite3_stmt *stmt = hg_db_use(db, which);
    int rc = hg_db_step(db, stmt);
    hg_db_done(db, stmt, rc);
    return rc;
}

void hg_db_begin(hg_db *db)
{
    (void)run_plain(db, HG_STMT_BEGIN);
}

void hg_db_commit(hg_db *db)
{
    if (run_plain(db, HG_STMT_COMMIT) != SQLITE_DONE) (void)run_plain(db, HG_STMT_ROLLBACK);
}
