/* SPDX-License-Identifier: Apache-2.0 */
/* The index: it remembers exactly, is never believed, and may be damaged, foreign, newer or gone at any time. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/fsx.h"
#include "base/mem.h"
#include "db/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define C1 "1111111111111111111111111111111111111111"

static char file[4096];

static hg_db *open_db(void)
{
    hg_db *db = NULL;
    hangar_err err = {0};
    if (hg_db_open(file, &db, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    return db;
}

static int fresh(void **state)
{
    (void)state;
    char cwd[2048];
    if (!getcwd(cwd, sizeof cwd)) abort();
    snprintf(file, sizeof file, "%s/home/index.db", cwd);
    (void)!hg_rm_tree("home", NULL);
    return hg_mkdirs("home", 0755, NULL) != HANGAR_OK;
}

typedef struct wanted {
    const char *repo, *stamp, *facts;
    size_t rows;
    bool found;
} wanted;

static bool look(void *ctx, const hg_db_fact *f)
{
    wanted *w = ctx;
    w->rows++;
    if (!hg_str_eq(f->repo, hg_str_of(w->repo)) || !hg_str_eq(f->stamp, hg_str_of(w->stamp))) return true;
    w->found = true;
    assert_true(hg_str_eq(f->facts, hg_str_of(w->facts)) && hg_str_eq(f->commit, HG_STR(C1)));
    return true;
}

static bool get(hg_db *db, const char *stamp, const char *want)
{
    wanted w = {.repo = "a/b", .stamp = stamp, .facts = want};
    hg_db_facts_each(db, look, &w);
    return w.found;
}

static bool first_dirs(void *ctx, const hg_db_fact *f)
{
    assert_true(hg_str_eq(f->dirs, HG_STR("onnx\nsub")));
    ++*(int *)ctx;
    return false;
}

static void put(hg_db *db, const char *stamp, const char *facts)
{
    hg_db_facts_put(db, "a/b", C1, stamp, HG_STR("onnx\nsub"), hg_str_of(facts));
}

static size_t aside(void)
{
    FILE *p = popen("ls home | grep -c 'index.db.damaged-[0-9]*-[0-9]*$'", "r");
    unsigned n = 0;
    assert_int_equal(fscanf(p, "%u", &n), 1);
    pclose(p);
    return n;
}

static void test_facts(void **state)
{
    (void)state;
    hg_db *db = open_db();
    int calls = 0;
    assert_false(get(db, "s1", ""));
    put(db, "s1", "{\"x\":1}");
    assert_true(get(db, "s1", "{\"x\":1}"));
    assert_false(get(db, "s2", ""));
    hg_db_facts_put(db, "z/z", C1, "s1", HG_STR("onnx\nsub"), HG_STR("{}"));
    hg_db_facts_each(db, first_dirs, &calls);
    assert_int_equal(calls, 1); /* it ends when it is told to */
    hg_db_facts_forget(db, "z/z", NULL);
    put(db, "s2", "{\"x\":2}");
    assert_false(get(db, "s1", ""));
    hg_db_close(db);
    db = open_db();
    assert_true(get(db, "s2", "{\"x\":2}"));
    hg_db_facts_forget(db, "a/b", "2222");
    assert_true(get(db, "s2", "{\"x\":2}"));
    hg_db_facts_forget(db, "a/b", NULL);
    assert_false(get(db, "s2", ""));
    hg_db_begin(db);
    put(db, "s3", "{}");
    hg_db_commit(db);
    assert_true(get(db, "s3", "{}"));
    char *big = calloc(1, HG_DB_TEXT_MAX + 2);
    memset(big, 'x', HG_DB_TEXT_MAX + 1);
    put(db, "s4", big);
    assert_false(get(db, "s4", ""));
    free(big);
    hg_db_close(db);
    hg_db_close(NULL);
}

static void write_bytes(const char *path, const void *bytes, size_t len)
{
    assert_int_equal(hg_write_file(path, bytes, len, 0644, NULL), HANGAR_OK);
}

static void test_damaged_at_open(void **state)
{
    (void)state;
    char junk[8192];
    for (size_t i = 0; i < sizeof junk; i++) junk[i] = (char)(i * 31);
    write_bytes(file, junk, sizeof junk);
    hg_db *db = open_db();
    put(db, "s", "{}");
    assert_true(get(db, "s", "{}"));
    hg_db_close(db);
    assert_int_equal(aside(), 1);
    /* The header is right and the rest is not. */
    hg_buf b;
    hg_buf_init(&b, 64 * HG_MIB);
    assert_int_equal(hg_read_file(file, &b, NULL), HANGAR_OK);
    memset(b.data + 100, 0xaa, b.len - 100);
    write_bytes(file, b.data, b.len);
    hg_buf_deinit(&b);
    db = open_db();
    assert_false(get(db, "s", ""));
    put(db, "s", "{}");
    assert_true(get(db, "s", "{}"));
    hg_db_close(db);
    /* Empty, and a folder in its place. */
    write_bytes(file, "", 0);
    hg_db_close(open_db());
    (void)!hg_rm_tree("home", NULL);
    assert_int_equal(hg_mkdirs(file, 0755, NULL), HANGAR_OK);
    assert_int_not_equal(hg_db_open(file, &db, NULL), HANGAR_OK);
}

static void run_sql(const char *sql)
{
    sqlite3 *h;
    assert_int_equal(sqlite3_open(file, &h), SQLITE_OK);
    if (sqlite3_exec(h, sql, NULL, NULL, NULL) != SQLITE_OK) fail_msg("%s", sqlite3_errmsg(h));
    sqlite3_close(h);
}

static void test_foreign_and_newer(void **state)
{
    (void)state;
    hg_db *db = NULL;
    hangar_err err = {0};
    run_sql("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1);");
    db = open_db();
    put(db, "s", "{}");
    hg_db_close(db);
    assert_int_equal(aside(), 1); /* theirs is kept */
    /* Ours by name, other tables. */
    run_sql("DROP TABLE facts; CREATE TABLE facts (y);");
    db = open_db();
    put(db, "s", "{}");
    assert_true(get(db, "s", "{}"));
    hg_db_close(db);
    /* A later hangar's: not touched. */
    run_sql("PRAGMA user_version = 99;");
    assert_int_equal(hg_db_open(file, &db, &err), HANGAR_E_UNSUPPORTED);
    run_sql("PRAGMA user_version = 1;");
    db = open_db();
    assert_true(get(db, "s", "{}"));
    hg_db_close(db);
}

/* A row that somebody changed is not given back. */
static void test_row_sums(void **state)
{
    (void)state;
    hg_db *db = open_db();
    put(db, "s", "{\"size\":1000}");
    hg_db_close(db);
    run_sql("UPDATE facts SET facts = '{\"size\":9000}';");
    db = open_db();
    assert_false(get(db, "s", ""));
    hg_db_close(db);
}

/* Every byte of the file damaged in turn (seeded): opening and using it never crashes, never lies. */
static void test_any_byte(void **state)
{
    (void)state;
    hg_db *db = open_db();
    for (int i = 0; i < 50; i++) put(db, "s", "{\"size\":1000}");
    int64_t id;
    assert_int_equal(hg_db_job_begin(db, "pull", "a/b", &id, NULL), HANGAR_OK);
    hg_db_close(db);
    hg_buf whole;
    hg_buf_init(&whole, 64 * HG_MIB);
    assert_int_equal(hg_read_file(file, &whole, NULL), HANGAR_OK);
    unsigned seed = 7, lost = 0;
    for (int i = 0; i < 400; i++) {
        seed = seed * 1103515245u + 12345u;
        size_t at = (seed >> 8) % whole.len;
        char old = whole.data[at];
        whole.data[at] = (char)(old ^ (1 << (seed % 8)));
        (void)!system("rm -f home/index.db*");
        write_bytes(file, whole.data, i % 10 == 0 ? at : whole.len); /* now and then cut instead */
        whole.data[at] = old;
        if (hg_db_open(file, &db, NULL) != HANGAR_OK) continue;
        if (!get(db, "s", "{\"size\":1000}")) lost++;
        put(db, "t", "{}");
        hg_db_close(db);
    }
    assert_true(lost > 0); /* the test did hit what matters */
    hg_buf_deinit(&whole);
}

/* ---- jobs ---- */

typedef struct seen {
    size_t count;
    hg_db_job jobs[8];
} seen;

static hangar_code see(void *ctx, const hg_db_job *job, hangar_err *err)
{
    seen *s = ctx;
    (void)err;
    if (s->count < 8) s->jobs[s->count] = *job;
    s->count++;
    return HANGAR_OK;
}

static void test_jobs(void **state)
{
    (void)state;
    hg_db *db = open_db();
    int64_t a = 0, b = 0, c = 0;
    hangar_err why = {.code = HANGAR_E_NETWORK, .msg = "no route"};
    assert_int_equal(hg_db_job_begin(db, "pull", "a/b", &a, NULL), HANGAR_OK);
    assert_int_equal(hg_db_job_begin(db, "convert", "a/c", &b, NULL), HANGAR_OK);
    assert_int_equal(hg_db_job_begin(db, "verify", "", &c, NULL), HANGAR_OK);
    assert_true(a < b && b < c);
    assert_int_equal(hg_db_job_end(db, a, HANGAR_OK, NULL, NULL), HANGAR_OK);
    assert_int_equal(hg_db_job_end(db, b, HANGAR_E_NETWORK, &why, NULL), HANGAR_OK);
    /* A process that dies in the midst of its work. */
    pid_t pid = fork();
    if (pid == 0) {
        hg_db *own = NULL;
        int64_t id;
        _exit(hg_db_open(file, &own, NULL) != HANGAR_OK || hg_db_job_begin(own, "pull", "dead", &id, NULL));
    }
    int status = 1;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    seen s = {0};
    assert_int_equal(hg_db_job_list(db, 10, see, &s, NULL), HANGAR_OK);
    assert_int_equal(s.count, 4);
    assert_string_equal(s.jobs[0].ref, "dead");
    assert_string_equal(s.jobs[0].state, "lost");
    assert_string_equal(s.jobs[1].state, "running");
    assert_string_equal(s.jobs[2].state, "failed");
    assert_string_equal(s.jobs[2].error, "no route");
    assert_string_equal(s.jobs[3].state, "done");
    assert_true(s.jobs[3].ended >= s.jobs[3].started && s.jobs[3].started > 0);
    assert_int_equal(hg_db_job_end(db, c, HANGAR_E_CANCELLED, NULL, NULL), HANGAR_OK);
    assert_int_equal(hg_db_job_trim(db, 2, NULL), HANGAR_OK);
    s = (seen){0};
    assert_int_equal(hg_db_job_list(db, 10, see, &s, NULL), HANGAR_OK);
    assert_int_equal(s.count, 2);
    assert_string_equal(s.jobs[1].state, "cancelled");
    hg_db_close(db);
}

static void test_many_processes(void **state)
{
    (void)state;
    pid_t pids[6];
    for (int p = 0; p < 6; p++) {
        pids[p] = fork();
        if (pids[p] == 0) {
            hg_db *db = NULL;
            bool bad = hg_db_open(file, &db, NULL) != HANGAR_OK;
            for (int i = 0; i < 40 && !bad; i++) {
                int64_t id = 0;
                char repo[32];
                snprintf(repo, sizeof repo, "p%d/r%d", p, i);
                hg_db_facts_put(db, repo, C1, "s", HG_STR(""), HG_STR("{}"));
                bad = hg_db_job_begin(db, "pull", repo, &id, NULL) != HANGAR_OK ||
                      hg_db_job_end(db, id, HANGAR_OK, NULL, NULL) != HANGAR_OK;
                wanted w = {.repo = repo, .stamp = "s", .facts = "{}"};
                hg_db_facts_each(db, look, &w);
                bad = bad || !w.found || w.rows < (size_t)i + 1;
            }
            hg_db_close(db);
            _exit(bad);
        }
    }
    for (int p = 0; p < 6; p++) {
        int status = 1;
        waitpid(pids[p], &status, 0);
        assert_int_equal(status, 0);
    }
    seen s = {0};
    hg_db *db = open_db();
    assert_int_equal(hg_db_job_list(db, 1000, see, &s, NULL), HANGAR_OK);
    assert_int_equal(s.count, 240);
    hg_db_close(db);
}

/* Several processes find the same damage: each ends with a working index. */
static void test_many_repair(void **state)
{
    (void)state;
    char junk[4096];
    memset(junk, 'x', sizeof junk);
    write_bytes(file, junk, sizeof junk);
    pid_t pids[6];
    for (int p = 0; p < 6; p++) {
        pids[p] = fork();
        if (pids[p] == 0) {
            hg_db *db = NULL;
            int64_t id = 0;
            hangar_err err = {0};
            bool bad = hg_db_open(file, &db, &err) != HANGAR_OK ||
                       hg_db_job_begin(db, "pull", "x", &id, &err) != HANGAR_OK ||
                       hg_db_job_end(db, id, HANGAR_OK, NULL, &err) != HANGAR_OK;
            if (bad) fprintf(stderr, "process %d: %s\n", p, err.msg);
            hg_db_close(db);
            _exit(bad);
        }
    }
    for (int p = 0; p < 6; p++) {
        int status = 1;
        waitpid(pids[p], &status, 0);
        assert_int_equal(status, 0);
    }
    seen s = {0};
    hg_db *db = open_db();
    assert_int_equal(hg_db_job_list(db, 1000, see, &s, NULL), HANGAR_OK);
    assert_int_equal(s.count, 6);
    hg_db_close(db);
    assert_int_equal(aside(), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_facts, fresh),
        cmocka_unit_test_setup(test_damaged_at_open, fresh),
        cmocka_unit_test_setup(test_foreign_and_newer, fresh),
        cmocka_unit_test_setup(test_row_sums, fresh),
        cmocka_unit_test_setup(test_any_byte, fresh),
        cmocka_unit_test_setup(test_jobs, fresh),
        cmocka_unit_test_setup(test_many_processes, fresh),
        cmocka_unit_test_setup(test_many_repair, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
