/* SPDX-License-Identifier: Apache-2.0 */
/* Reading: what other tools left is found as it lies, the listing, and an index that may be stale, damaged or gone. */
#include "kit.h"

#include "base/clock.h"

#include <time.h>

#define R   "org/name"
#define DIR "cache/models--org--name"

static void test_snapshot(void **state)
{
    (void)state;
    hangar_err err = {0};
    hg_snapshot *snap = NULL;
    hg_store *s = kit_fresh();
    hg_ref ref = kit_ref(R);
    assert_int_equal(hg_snapshot_open(s, &ref, &snap, &err), HANGAR_E_NOT_FOUND);
    assert_non_null(strstr(err.msg, "hangar pull org/name"));
    ok(hg_store_prepare(s, R, e_));
    kit_file(s, R, C1, "b.txt", "same");
    kit_file(s, R, C1, "a/c.txt", "same");
    kit_file(s, R, C1, "a.txt", "other!");
    kit_put(DIR "/snapshots/" C1 "/plain.txt", "plain");
    assert_int_equal(symlink("../../blobs/" C3, at(DIR "/snapshots/" C1 "/gone")), 0);
    assert_int_equal(symlink("/", at(DIR "/snapshots/" C1 "/folder")), 0);
    assert_int_equal(mkfifo(at(DIR "/snapshots/" C1 "/fifo"), 0600), 0);
    kit_put(DIR "/snapshots/" C1 "/bad:name", "x");
    ok(hg_revision_write(s, R, "main", C1, e_));
    ok(hg_snapshot_open(s, &ref, &snap, e_));
    assert_string_equal(snap->commit, C1);
    assert_int_equal(snap->count, 4);
    assert_string_equal(snap->files[0].path, "a.txt");
    assert_string_equal(snap->files[1].path, "a/c.txt");
    assert_string_equal(snap->files[2].path, "b.txt");
    assert_string_equal(snap->files[3].path, "plain.txt");
    assert_string_equal(snap->files[3].oid.hex, "");
    assert_true(hg_oid_eq(&snap->files[1].oid, &snap->files[2].oid));
    assert_int_equal(snap->size, 4 + 6 + 5); /* the shared blob once */
    assert_non_null(hg_snapshot_file_get(snap, "a/c.txt"));
    assert_null(hg_snapshot_file_get(snap, "gone"));
    assert_null(hg_snapshot_file_get(snap, "../x"));
    char *path = hg_snapshot_file_path(snap, "a/c.txt");
    assert_true(hg_is_file(path));
    free(path);
    assert_null(hg_snapshot_file_path(snap, "../../x"));
    hg_snapshot_free(snap);
    ref = kit_ref(R "@" C1);
    ok(hg_snapshot_open(s, &ref, &snap, e_));
    hg_snapshot_free(snap);
    ref = kit_ref(R "@" C2);
    assert_int_equal(hg_snapshot_open(s, &ref, &snap, NULL), HANGAR_E_NOT_FOUND);
    hg_store_close(s);
}

/* A stamp holds until the reference or the folder is touched. */
static void test_stamp(void **state)
{
    (void)state;
    hg_snapshot *snap = NULL;
    hg_store *s = kit_fresh();
    hg_stamp stamp = {0};
    assert_false(hg_stamp_holds(&stamp));
    ok(hg_store_prepare(s, R, e_));
    kit_file(s, R, C1, "a.txt", "one");
    kit_file(s, R, C2, "a.txt", "two");
    ok(hg_revision_write(s, R, "main", C1, e_));
    const char *const refs[] = {R, R "@" C1};
    for (size_t i = 0; i < 2; i++) {
        hg_ref ref = kit_ref(refs[i]);
        ok(hg_snapshot_open(s, &ref, &snap, e_));
        ok(hg_stamp_take(s, snap, &stamp, e_));
        assert_true(hg_stamp_holds(&stamp));
        if (i == 0) { /* another commit */
            hg_sleep(0.02);
            ok(hg_revision_write(s, R, "main", C2, e_));
            assert_false(hg_stamp_holds(&stamp));
            ok(hg_revision_write(s, R, "main", C1, e_));
            ok(hg_stamp_take(s, snap, &stamp, e_));
        }
        hg_sleep(0.02);
        kit_put(DIR "/snapshots/" C1 "/new.txt", "x"); /* one file more */
        assert_false(hg_stamp_holds(&stamp));
        ok(hg_stamp_take(s, snap, &stamp, e_));
        assert_int_equal(unlink(at(DIR "/snapshots/" C1 "/new.txt")), 0);
        hg_snapshot_free(snap);
    }
    hg_ref ref = kit_ref(R "@" C1);
    ok(hg_snapshot_open(s, &ref, &snap, e_));
    ok(hg_stamp_take(s, snap, &stamp, e_));
    ok(hg_rm_tree(at(DIR), e_));
    assert_false(hg_stamp_holds(&stamp));
    assert_int_equal(hg_stamp_take(s, snap, &stamp, NULL), HANGAR_E_NOT_FOUND);
    hg_snapshot_free(snap);
    hg_stamp_deinit(&stamp);
    hg_store_close(s);
}

static void test_odd_refs(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "", "main", C1 "\n", "1111", "../../../../etc/passwd", "1111111111111111111111111111111111111G11"};
    hg_store *s = kit_fresh();
    ok(hg_store_prepare(s, R, e_));
    kit_file(s, R, C1, "f", "x");
    hg_ref ref = kit_ref(R);
    for (size_t i = 0; i < HG_LEN(texts); i++) {
        hg_snapshot *snap = NULL;
        kit_put(DIR "/refs/main", texts[i]);
        assert_int_equal(hg_snapshot_open(s, &ref, &snap, NULL), HANGAR_E_NOT_FOUND);
    }
    /* A ref that is a link or a folder is no ref. */
    unlink(at(DIR "/refs/main"));
    kit_put("elsewhere", C1);
    assert_int_equal(symlink(at("elsewhere"), at(DIR "/refs/main")), 0);
    hg_snapshot *snap = NULL;
    assert_int_equal(hg_snapshot_open(s, &ref, &snap, NULL), HANGAR_E_NOT_FOUND);
    hg_store_close(s);
}

/* ---- listing ---- */

static int described;

static void describe(void *ctx, const hg_snapshot *snap, hg_jw *w)
{
    described++;
    hg_jw_text(w, "format", ctx);
    hg_jw_u64(w, "seen", snap->count);
}

static hg_json *list(hg_store *s)
{
    char *json = NULL;
    described = 0;
    ok(hg_store_list(s, describe, (void *)(uintptr_t) "gguf", &json, e_));
    return kit_json(json);
}

static const hg_jval *model(const hg_json *doc, size_t i)
{
    return hg_json_at(hg_json_get(hg_json_root(doc), "models"), i);
}

static void model_is(const hg_json *doc, size_t i, const char *ref, const char *revision, const char *commit)
{
    const hg_jval *m = model(doc, i);
    assert_string_equal(hg_json_text_or(hg_json_get(m, "ref"), "?"), ref);
    assert_string_equal(hg_json_text_or(hg_json_get(m, "revision"), "-"), revision);
    assert_string_equal(hg_json_text_or(hg_json_get(m, "commit"), "?"), commit);
    assert_string_equal(hg_json_text_or(hg_json_get(m, "format"), "?"), "gguf");
}

/* Everything looks as if it had been there for long: what is remembered must have settled. */
static void settle(void)
{
    assert_int_equal(system("find cache -type d -exec touch -h -d '2020-01-01 00:00:00' {} +"), 0);
}

static void fill(hg_store *s)
{
    ok(hg_store_prepare(s, R, e_));
    ok(hg_store_prepare(s, "alone", e_));
    kit_file(s, R, C1, "f", "one");
    kit_file(s, R, C2, "f", "two");
    kit_file(s, R, C2, "sub/g", "three");
    kit_file(s, R, C3, "f", "one");
    ok(hg_revision_write(s, R, "main", C2, e_));
    ok(hg_revision_write(s, R, "v1", C1, e_));
    ok(hg_revision_write(s, R, "latest", C2, e_));
    ok(hg_revision_write(s, R, "nothing", "4444444444444444444444444444444444444444", e_));
    kit_file(s, "alone", C1, "f", "alone");
    ok(hg_revision_write(s, "alone", "main", C1, e_));
    kit_put("cache/models--bad--name--x/refs/main", C1);
    kit_put("cache/datasets--a--b/refs/main", C1);
    kit_put("cache/stray.txt", "x");
    ok(hg_mkdirs(at("cache/models--org--empty/snapshots/" C1), 0777, e_));
    settle();
}

static void expect_all(const hg_json *doc)
{
    assert_int_equal(hg_json_len(hg_json_get(hg_json_root(doc), "models")), 4);
    model_is(doc, 0, "alone", "main", C1);
    model_is(doc, 1, R, "main", C2);
    model_is(doc, 2, R "@v1", "v1", C1);
    model_is(doc, 3, R "@" C3, "-", C3);
    int64_t size = hg_json_i64_or(hg_json_get(model(doc, 1), "size"), 0);
    assert_int_equal(size, 8);
    assert_string_equal(hg_json_text_or(hg_json_get(model(doc, 1), "modified"), ""), "2020-01-01T00:00:00Z");
}

static void test_list(void **state)
{
    (void)state;
    setenv("TZ", "UTC", 1);
    hg_store *s = kit_fresh();
    hg_json *doc = list(s);
    assert_int_equal(hg_json_len(hg_json_get(hg_json_root(doc), "models")), 0);
    hg_json_free(doc);
    fill(s);
    doc = list(s);
    expect_all(doc);
    assert_int_equal(described, 4);
    hg_json_free(doc);
    doc = list(s);
    expect_all(doc);
    assert_int_equal(described, 0); /* all remembered */
    hg_json_free(doc);
    hg_store_close(s);
    /* Also by the next process. */
    s = kit_open();
    doc = list(s);
    expect_all(doc);
    assert_int_equal(described, 0);
    hg_json_free(doc);
    hg_store_close(s);
}

static void test_list_stale(void **state)
{
    (void)state;
    hg_store *s = kit_fresh();
    fill(s);
    hg_json_free(list(s));
    assert_int_equal(described, 4);
    /* A file more, deep in a folder: only that repository is looked at again, and not remembered while it is fresh. */
    kit_file(s, R, C2, "sub/h", "four");
    hg_json *doc = list(s);
    assert_true(described == 3);
    int64_t seen = hg_json_i64_or(hg_json_get(model(doc, 1), "seen"), 0);
    assert_int_equal(seen, 3);
    hg_json_free(doc);
    hg_json_free(list(s));
    assert_int_equal(described, 3);
    hg_store_close(s);
}

static void test_index_gone_or_damaged(void **state)
{
    (void)state;
    hg_store *s = kit_fresh();
    fill(s);
    hg_json_free(list(s));
    /* Deleted under an open store, and before the next one. */
    assert_int_equal(system("rm -f home/index.db*"), 0);
    hg_json *doc = list(s);
    expect_all(doc);
    hg_json_free(doc);
    hg_store_close(s);
    s = kit_open();
    doc = list(s);
    expect_all(doc);
    assert_int_equal(described, 4);
    hg_json_free(doc);
    hg_store_close(s);
    /* Not a database at all; a database of somebody else. */
    assert_int_equal(system("rm -f home/index.db*"), 0);
    kit_put("home/index.db",
            "this is no database, and longer than a hundred bytes so that its header can be read as one: "
            "nothing of it is right");
    s = kit_open();
    doc = list(s);
    expect_all(doc);
    hg_json_free(doc);
    doc = list(s);
    expect_all(doc);
    assert_int_equal(described, 0);
    hg_json_free(doc);
    hg_store_close(s);
    /* No home at all. */
    assert_int_equal(system("rm -rf home && : > home"), 0);
    s = kit_open();
    doc = list(s);
    expect_all(doc);
    assert_int_equal(described, 4);
    hg_json_free(doc);
    hg_store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snapshot),   cmocka_unit_test(test_stamp),
        cmocka_unit_test(test_odd_refs),   cmocka_unit_test(test_list),
        cmocka_unit_test(test_list_stale), cmocka_unit_test(test_index_gone_or_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
