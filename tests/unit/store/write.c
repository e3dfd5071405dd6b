/* SPDX-License-Identifier: Apache-2.0 */
/* Writing: the layout as the Hub's Python tools make it, what stays and what wins, left-overs, two processes. */
#include "kit.h"

#include <time.h>

#define R   "org/name"
#define DIR "cache/models--org--name"

static void link_is(const char *relative, const char *want)
{
    char target[512] = {0};
    if (readlink(at(relative), target, sizeof target - 1) < 0) fail_msg("%s: no link", relative);
    assert_string_equal(target, want);
}

static mode_t mode_of(const char *relative)
{
    struct stat st;
    assert_int_equal(stat(at(relative), &st), 0);
    return st.st_mode & 07777;
}

static void test_layout(void **state)
{
    (void)state;
    umask(027);
    hg_store *s = kit_fresh();
    assert_false(kit_there("cache")); /* nothing is made before something is written */
    ok(hg_store_prepare(s, R, e_));
    char *tag = kit_read("cache/CACHEDIR.TAG");
    assert_int_equal(strncmp(tag, "Signature: 8a477f597d28d172789f06886806bc55\n", 44), 0);
    free(tag);
    assert_true(kit_there(DIR "/blobs") && kit_there(DIR "/refs") && kit_there(DIR "/snapshots"));
    assert_true(kit_there("cache/.locks/models--org--name"));
    hg_oid empty = kit_file(s, R, C1, "empty", "");
    assert_string_equal(empty.hex, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    hg_oid big = kit_blob(s, R, HG_HASH_SHA256, "");
    ok(hg_snapshot_link(s, R, C1, "sub/dir/model.bin", &big, e_));
    link_is(DIR "/snapshots/" C1 "/empty", "../../blobs/e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    link_is(DIR "/snapshots/" C1 "/sub/dir/model.bin",
            "../../../../blobs/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_true(hg_is_file(at(DIR "/snapshots/" C1 "/sub/dir/model.bin")));
    assert_int_equal(mode_of(DIR "/blobs/e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"), 0640);
    ok(hg_revision_write(s, R, "main", C1, e_));
    ok(hg_revision_write(s, R, "refs/pr/1", C1, e_));
    ok(hg_revision_write(s, R, C1, C1, e_));
    char *ref = kit_read(DIR "/refs/main");
    assert_string_equal(ref, C1); /* 40 digits, no newline */
    free(ref);
    ref = kit_read(DIR "/refs/refs/pr/1");
    assert_string_equal(ref, C1);
    free(ref);
    assert_false(kit_there(DIR "/refs/" C1));
    hg_store_close(s);
    umask(022);
}

static void test_blobs(void **state)
{
    (void)state;
    hg_store *s = kit_fresh();
    ok(hg_store_prepare(s, R, e_));
    hg_oid oid = kit_oid(HG_HASH_GIT_SHA1, "text");
    assert_false(hg_blob_have(s, R, &oid, 4));
    kit_blob(s, R, HG_HASH_GIT_SHA1, "text");
    assert_true(hg_blob_have(s, R, &oid, 4));
    assert_false(hg_blob_have(s, R, &oid, 5));
    /* Another one of the same size does not win; the partial is gone all the same. */
    char *blob = hg_blob_path(s, R, &oid), *partial = hg_blob_partial_path(s, R, &oid);
    ok(hg_write_file(partial, "TEXT", 4, 0600, e_));
    ok(hg_blob_publish(s, R, &oid, partial, e_));
    assert_int_not_equal(access(partial, F_OK), 0);
    hg_buf b;
    hg_buf_init(&b, 100);
    ok(hg_read_file(blob, &b, e_));
    assert_string_equal(hg_buf_text(&b), "text");
    /* A blob of another size is damaged: the proved one replaces it. */
    ok(hg_write_file(blob, "te", 2, 0644, e_));
    ok(hg_write_file(partial, "text", 4, 0600, e_));
    ok(hg_blob_publish(s, R, &oid, partial, e_));
    assert_true(hg_blob_have(s, R, &oid, 4));
    /* A link in the place of the partial is not followed. */
    assert_int_equal(symlink("/etc/passwd", partial), 0);
    assert_int_not_equal(hg_blob_publish(s, R, &oid, partial, NULL), HANGAR_OK);
    hg_buf_deinit(&b);
    free(blob);
    free(partial);
    hg_store_close(s);
}

static void test_links(void **state)
{
    (void)state;
    hangar_err err = {0};
    hg_store *s = kit_fresh();
    ok(hg_store_prepare(s, R, e_));
    hg_oid one = kit_file(s, R, C1, "f", "one");
    hg_oid two = kit_blob(s, R, HG_HASH_GIT_SHA1, "two");
    ok(hg_snapshot_link(s, R, C1, "f", &one, e_)); /* again is fine */
    ok(hg_snapshot_link(s, R, C1, "f", &two, e_)); /* over another one */
    char *text = kit_read(DIR "/snapshots/" C1 "/f");
    assert_string_equal(text, "two");
    free(text);
    kit_put(DIR "/snapshots/" C1 "/plain", "old");
    ok(hg_snapshot_link(s, R, C1, "plain", &one, e_)); /* over a file */
    text = kit_read(DIR "/snapshots/" C1 "/plain");
    assert_string_equal(text, "one");
    free(text);
    /* No link without its blob. */
    hg_oid none = kit_oid(HG_HASH_SHA256, "none");
    assert_int_equal(hg_snapshot_link(s, R, C1, "g", &none, &err), HANGAR_E_NOT_FOUND);
    assert_false(kit_there(DIR "/snapshots/" C1 "/g"));
    static const char *const bad[] = {"../x", "/x", "a/../x", "", "x\\y", "x/", "a//b", "f/below"};
    for (size_t i = 0; i < HG_LEN(bad); i++)
        assert_int_not_equal(hg_snapshot_link(s, R, C1, bad[i], &one, &err), HANGAR_OK);
    assert_int_not_equal(hg_snapshot_link(s, R, "../../x", "f", &one, &err), HANGAR_OK);
    assert_int_not_equal(hg_snapshot_link(s, "../x", C1, "f", &one, &err), HANGAR_OK);
    assert_int_not_equal(hg_revision_write(s, R, "../x", C1, &err), HANGAR_OK);
    assert_int_not_equal(hg_revision_write(s, R, "main", "x", &err), HANGAR_OK);
    assert_int_not_equal(hg_store_prepare(s, "../x", &err), HANGAR_OK);
    assert_false(kit_there("x"));
    hg_store_close(s);
}

static hangar_code none_entry(void *ctx, const char *dir, const char *name, hangar_err *err)
{
    (void)dir;
    ++*(int *)ctx;
    return hg_fail(err, HANGAR_E_FAILED, "left: %s", name);
}

static void make_old(const char *relative)
{
    struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    assert_int_equal(utimensat(AT_FDCWD, at(relative), times, AT_SYMLINK_NOFOLLOW), 0);
}

static void test_leftovers(void **state)
{
    (void)state;
    hg_store *s = kit_fresh();
    ok(hg_store_prepare(s, R, e_));
    /* What killed runs leave: a staged ref or link, a copy without a digest; and what must stay. */
    kit_put("cache/.locks/models--org--name/" HG_TMP_PREFIX "00", "x");
    kit_put(DIR "/blobs/00112233aabbccdd.hangar.incomplete", "x");
    kit_put(DIR "/blobs/" C1 ".hangar.incomplete", "resume me");
    kit_put(DIR "/blobs/notes.txt", "mine");
    kit_put(DIR "/blobs/ffff2233aabbccdd.hangar.incomplete", "being written");
    make_old("cache/.locks/models--org--name/" HG_TMP_PREFIX "00");
    make_old(DIR "/blobs/00112233aabbccdd.hangar.incomplete");
    make_old(DIR "/blobs/" C1 ".hangar.incomplete");
    make_old(DIR "/blobs/notes.txt");
    ok(hg_store_prepare(s, R, e_));
    assert_false(kit_there("cache/.locks/models--org--name/" HG_TMP_PREFIX "00"));
    assert_false(kit_there(DIR "/blobs/00112233aabbccdd.hangar.incomplete"));
    assert_true(kit_there(DIR "/blobs/" C1 ".hangar.incomplete"));
    assert_true(kit_there(DIR "/blobs/notes.txt"));
    assert_true(kit_there(DIR "/blobs/ffff2233aabbccdd.hangar.incomplete"));
    /* refs/ and snapshots/ hold nothing but what belongs there, at no time. */
    int n = 0;
    ok(hg_list_dir(at(DIR "/refs"), none_entry, &n, e_));
    ok(hg_revision_write(s, R, "main", C1, e_));
    assert_int_equal(hg_list_dir(at(DIR "/refs"), none_entry, &n, NULL), HANGAR_E_FAILED);
    assert_int_equal(n, 1);
    hg_store_close(s);
}

static void test_two_processes(void **state)
{
    (void)state;
    hg_store *s = kit_fresh();
    hg_store_close(s);
    pid_t pids[4];
    for (int p = 0; p < 4; p++) {
        pids[p] = fork();
        assert_true(pids[p] >= 0);
        if (pids[p] == 0) {
            hg_store *own = NULL;
            int bad = hg_store_open(at("cache"), at("home"), &own, NULL) != HANGAR_OK;
            for (int i = 0; i < 60 && !bad; i++) {
                char text[32], path[32], partial[4096];
                snprintf(text, sizeof text, "content %d", i % 20);
                snprintf(path, sizeof path, "d%d/f%d", i % 3, i % 20);
                hg_oid oid = kit_oid(HG_HASH_GIT_SHA1, text);
                snprintf(partial, sizeof partial, "%s.%d", at(DIR "/blobs/x"), (int)getpid());
                bad |= hg_store_prepare(own, R, NULL) != HANGAR_OK;
                bad |= hg_write_file(partial, text, strlen(text), 0600, NULL) != HANGAR_OK;
                bad |= hg_blob_publish(own, R, &oid, partial, NULL) != HANGAR_OK;
                bad |= hg_snapshot_link(own, R, C1, path, &oid, NULL) != HANGAR_OK;
                bad |= hg_revision_write(own, R, "main", i % 2 ? C1 : C2, NULL) != HANGAR_OK;
            }
            hg_store_close(own);
            _exit(bad);
        }
    }
    for (int p = 0; p < 4; p++) {
        int status = 1;
        waitpid(pids[p], &status, 0);
        assert_int_equal(status, 0);
    }
    s = kit_open();
    char *json = NULL;
    hg_ref ref = kit_ref(R "@" C1);
    ok(hg_store_verify(s, &ref, NULL, &json, e_));
    hg_json *doc = kit_json(json);
    int64_t files = hg_json_i64_or(hg_json_get(hg_json_root(doc), "files"), 0);
    assert_int_equal(files, 60);
    hg_json_free(doc);
    hg_store_close(s);
}

static void test_umask_zero(void **state)
{
    (void)state;
    umask(0);
    hg_store *s = kit_fresh();
    ok(hg_store_prepare(s, R, e_));
    kit_file(s, R, C1, "sub/f", "x");
    ok(hg_revision_write(s, R, "a/b", C1, e_));
    kit_put("mine/m.gguf", "GGUF");
    ok(hg_store_add(s, at("mine"), NULL, NULL, NULL, e_));
    umask(022);
    static const char *const made[] = {"home",
                                       "cache/.locks/models--org--name",
                                       "cache/CACHEDIR.TAG",
                                       DIR "/blobs",
                                       DIR "/snapshots/" C1 "/sub",
                                       DIR "/snapshots/" C1 "/sub/f",
                                       DIR "/refs/a",
                                       DIR "/refs/a/b",
                                       "cache/models--local--mine/snapshots",
                                       "cache/models--local--mine/refs/main"};
    for (size_t i = 0; i < HG_LEN(made); i++)
        if (mode_of(made[i]) & 0002) fail_msg("%s is writable for everybody", made[i]);
    hg_store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),        cmocka_unit_test(test_blobs),
        cmocka_unit_test(test_links),         cmocka_unit_test(test_leftovers),
        cmocka_unit_test(test_two_processes), cmocka_unit_test(test_umask_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
