/* SPDX-License-Identifier: Apache-2.0 */
/* Removing: only what was asked for, in any state that a killed run leaves, and never what is not ours. */
#include "kit.h"

#include <signal.h>

#define R     "org/name"
#define DIR   "cache/models--org--name"
#define LOCKS "cache/.locks/models--org--name"

static hangar_code rm_code(hg_store *s, const char *ref, hg_json **out)
{
    char *json = NULL;
    hangar_err err = {0};
    hg_ref r = kit_ref(ref);
    hangar_code code = hg_store_remove(s, &r, &json, &err);
    if (out) *out = code == HANGAR_OK ? kit_json(json) : NULL;
    else free(json);
    return code;
}

static bool have(hg_store *s, const char *text)
{
    hg_oid oid = kit_oid(HG_HASH_GIT_SHA1, text);
    return hg_blob_have(s, R, &oid, strlen(text));
}

/* Two revisions that share a blob. */
static hg_store *fill(void)
{
    hg_store *s = kit_fresh();
    ok(hg_store_prepare(s, R, e_));
    kit_file(s, R, C1, "shared", "shared");
    kit_file(s, R, C1, "old/f", "only old");
    kit_file(s, R, C2, "shared", "shared");
    kit_file(s, R, C2, "f", "only new");
    ok(hg_revision_write(s, R, "v1", C1, e_));
    ok(hg_revision_write(s, R, "main", C2, e_));
    kit_put("home/artifacts/models--org--name/" C1 "/onnx/m.onnx", "123");
    kit_put("home/artifacts/models--org--name/" C2 "/onnx/m.onnx", "123");
    return s;
}

static void old_is_gone(hg_store *s)
{
    assert_false(kit_there(DIR "/refs/v1"));
    assert_false(kit_there(DIR "/snapshots/" C1));
    assert_false(have(s, "only old"));
    assert_true(have(s, "shared") && have(s, "only new"));
    assert_true(kit_there(DIR "/snapshots/" C2 "/shared"));
    assert_false(kit_there("home/artifacts/models--org--name/" C1));
    assert_true(kit_there("home/artifacts/models--org--name/" C2));
    assert_false(kit_there(LOCKS "/hangar-remove-" C1) || kit_there(LOCKS "/hangar-removed-" C1));
}

static void test_one_revision(void **state)
{
    (void)state;
    hg_store *s = fill();
    hg_json *doc;
    assert_int_equal(rm_code(s, R "@v1", &doc), HANGAR_OK);
    const hg_jval *root = hg_json_root(doc), *removed = hg_json_get(root, "removed");
    assert_true(kit_has(removed, "models--org--name/refs/v1"));
    assert_true(kit_has(removed, "models--org--name/snapshots/" C1));
    assert_true(kit_has(removed, "artifacts/models--org--name/" C1));
    int64_t freed = hg_json_i64_or(hg_json_get(root, "freed"), 0);
    assert_int_equal(freed, 8 + 3);
    assert_string_equal(hg_json_text(hg_json_get(root, "ref")), R "@v1");
    hg_json_free(doc);
    old_is_gone(s);
    assert_int_equal(rm_code(s, R "@v1", NULL), HANGAR_E_NOT_FOUND);
    assert_int_equal(rm_code(s, R "@" C1, NULL), HANGAR_E_NOT_FOUND);
    assert_int_equal(rm_code(s, "no/such", NULL), HANGAR_E_NOT_FOUND);
    assert_false(kit_there("cache/.locks/models--no--such"));
    hg_store_close(s);
}

static void test_last_revision(void **state)
{
    (void)state;
    hg_store *s = fill();
    kit_put(DIR "/.no_exist/" C2 "/x", "");
    kit_put(DIR "/trees/" C2 ".json", "{}");
    kit_put(DIR "/blobs/" C3 ".incomplete", "part");
    kit_put(DIR "/refs/dangling", C3);
    assert_int_equal(rm_code(s, R "@" C1, NULL), HANGAR_OK); /* by commit: its name goes too */
    old_is_gone(s);
    assert_int_equal(rm_code(s, R, NULL), HANGAR_OK);
    assert_false(kit_there(DIR));
    assert_false(kit_there("home/artifacts/models--org--name"));
    assert_true(kit_there("cache/CACHEDIR.TAG") && kit_there(LOCKS));
    hg_store_close(s);
}

static void test_foreign_files_stay(void **state)
{
    (void)state;
    hg_store *s = fill();
    hg_json *doc;
    kit_put("canary", "x");
    kit_put(DIR "/notes.txt", "mine");
    kit_put(DIR "/blobs/README", "mine");
    assert_int_equal(symlink(at("canary"), at(DIR "/snapshots/" C2 "/out")), 0);
    assert_int_equal(symlink(at("."), at(DIR "/snapshots/" C2 "/dir")), 0);
    assert_int_equal(rm_code(s, R "@v1", NULL), HANGAR_OK);
    assert_int_equal(rm_code(s, R, &doc), HANGAR_OK);
    assert_true(kit_has(hg_json_get(hg_json_root(doc), "kept"), "models--org--name/notes.txt"));
    assert_true(kit_has(hg_json_get(hg_json_root(doc), "kept"), "blobs/README"));
    hg_json_free(doc);
    assert_true(kit_there("canary") && kit_there(DIR "/notes.txt") && kit_there(DIR "/blobs/README"));
    assert_false(kit_there(DIR "/snapshots") || kit_there(DIR "/refs"));
    unlink(at("canary"));
    hg_store_close(s);
}

static void test_two_names(void **state)
{
    (void)state;
    hg_store *s = fill();
    ok(hg_revision_write(s, R, "feature/x", C2, e_));
    assert_int_equal(rm_code(s, R "@feature/x", NULL), HANGAR_OK);
    assert_false(kit_there(DIR "/refs/feature"));
    assert_true(kit_there(DIR "/refs/main") && kit_there(DIR "/snapshots/" C2 "/f"));
    hg_ref ref = kit_ref(R ":f");
    assert_int_equal(hg_store_remove(s, &ref, NULL, NULL), HANGAR_E_USAGE);
    hg_store_close(s);
}

static void test_busy(void **state)
{
    (void)state;
    hg_store *s = fill();
    assert_int_equal(rm_code(s, R "@v1", NULL), HANGAR_OK);
    hg_oid oid = kit_oid(HG_HASH_SHA256, "coming");
    char *partial = hg_blob_partial_path(s, R, &oid), *path = hg_blob_lock_path(s, R, &oid);
    ok(hg_write_file(partial, "com", 3, 0644, e_));
    hg_lock lock = HG_LOCK_INIT;
    ok(hg_lock_take(path, 0, NULL, NULL, &lock, e_));
    assert_int_equal(rm_code(s, R, NULL), HANGAR_E_BUSY);
    assert_true(kit_there(DIR "/refs/main") && have(s, "only new"));
    hg_lock_release(&lock);
    assert_int_equal(rm_code(s, R, NULL), HANGAR_OK);
    assert_false(kit_there(DIR));
    free(partial);
    free(path);
    hg_store_close(s);
}

/* The plan is on disk and a part of it is done, in every order that a crash can leave: the next call finishes it. */
static void test_killed_between(void **state)
{
    (void)state;
    for (int step = 0; step < 5; step++) {
        hg_store *s = fill();
        hg_oid old = kit_oid(HG_HASH_GIT_SHA1, "only old"), shared = kit_oid(HG_HASH_GIT_SHA1, "shared");
        char plan[512];
        snprintf(plan, sizeof plan, "hangar-remove 1\nref v1\n%s\n%s\n", old.hex, shared.hex);
        kit_put(LOCKS "/hangar-remove-" C1, plan);
        if (step > 0) unlink(at(DIR "/refs/v1"));
        if (step > 1) assert_int_equal(rename(at(DIR "/snapshots/" C1), at(LOCKS "/hangar-removed-" C1)), 0);
        if (step > 2) {
            char *blob = hg_blob_path(s, R, &old);
            unlink(blob);
            free(blob);
        }
        if (step > 3) ok(hg_rm_tree(at(LOCKS "/hangar-removed-" C1), e_));
        if (step % 2) ok(hg_store_prepare(s, R, e_));                /* by a writer */
        else assert_int_equal(rm_code(s, R "@v1", NULL), HANGAR_OK); /* by removing again: told as done */
        old_is_gone(s);
        assert_int_equal(rm_code(s, R "@v1", NULL), HANGAR_E_NOT_FOUND);
        hg_store_close(s);
    }
}

/* Killed at random moments and done again: never a half-removed revision, and in the end all is gone. */
static void test_killed_at_random(void **state)
{
    (void)state;
    hg_store *s = kit_fresh();
    ok(hg_store_prepare(s, R, e_));
    for (int round = 0; round < 12; round++) {
        for (int i = 0; i < 40; i++) {
            char path[32], text[32];
            snprintf(path, sizeof path, "d%d/f%d", i % 4, i);
            snprintf(text, sizeof text, "round %d file %d", round, i);
            kit_file(s, R, C1, path, text);
        }
        ok(hg_revision_write(s, R, "v1", C1, e_));
        kit_file(s, R, C2, "f", "stays");
        pid_t pid = fork();
        if (pid == 0) _exit(rm_code(s, R "@v1", NULL) != HANGAR_OK);
        usleep((useconds_t)(round * 400));
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        hangar_code code = rm_code(s, R "@v1", NULL);
        assert_true(code == HANGAR_OK || code == HANGAR_E_NOT_FOUND);
        assert_false(kit_there(DIR "/snapshots/" C1) || kit_there(DIR "/refs/v1"));
        assert_true(have(s, "stays"));
        for (int i = 0; i < 40; i++) {
            char text[32];
            snprintf(text, sizeof text, "round %d file %d", round, i);
            if (have(s, text)) fail_msg("round %d left a blob", round);
        }
    }
    hg_store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_revision),
        cmocka_unit_test(test_last_revision),
        cmocka_unit_test(test_foreign_files_stay),
        cmocka_unit_test(test_two_names),
        cmocka_unit_test(test_busy),
        cmocka_unit_test(test_killed_between),
        cmocka_unit_test(test_killed_at_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
