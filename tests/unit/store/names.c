/* SPDX-License-Identifier: Apache-2.0 */
/* Names that become paths: what is let through, what is not, and that nothing gets past paths.c. */
#include "kit.h"

static void test_ref_forms(void **state)
{
    (void)state;
    hg_ref r = kit_ref("org/name");
    assert_string_equal(r.repo, "org/name");
    assert_string_equal(r.revision, "main");
    assert_string_equal(r.file, "");
    assert_false(r.explicit_revision);
    r = kit_ref("gpt2@refs/pr/1:onnx/model.onnx");
    assert_string_equal(r.repo, "gpt2");
    assert_string_equal(r.revision, "refs/pr/1");
    assert_string_equal(r.file, "onnx/model.onnx");
    assert_true(r.explicit_revision);
    r = kit_ref("a/b:m-Q8_0.gguf");
    assert_string_equal(r.revision, "main");
    assert_string_equal(r.file, "m-Q8_0.gguf");
    r = kit_ref("a/b@" C1);
    assert_true(hg_commit_is(hg_str_of(r.revision)));
    r = kit_ref("a/b@user@work");
    assert_string_equal(r.revision, "user@work");
}

static void test_ref_hostile(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "/",
        "a/",
        "/a",
        "a/b/c",
        "../x",
        "a/..",
        ".a/b",
        "a/b.",
        "-a/b",
        "a/-b",
        "a--b/c",
        "a/b..c",
        "a/b.git",
        "a b/c",
        "a/b\n",
        "a/\x01",
        "a/b@",
        "a/b@..",
        "a/b@../x",
        "a/b@x/../y",
        "a/b@/x",
        "a/b@x/",
        "a/b@x//y",
        "a/b@.x",
        "a/b@x/.y",
        "a/b@a..b",
        "a/b@-x",
        "a/b@x.lock",
        "a/b@x y",
        "a/b@x~1",
        "a/b@x^",
        "a/b@x?",
        "a/b@x*",
        "a/b@x[",
        "a/b@x@{1}",
        "a/b@x\\y",
        "a/b@x\x7f",
        "a/b@x\xff",
        "a/b:",
        "a/b:..",
        "a/b:../x",
        "a/b:/etc/passwd",
        "a/b:x\\y",
        "a/b:C:x",
        "a/b:x/",
        "a/b:\x02",
        "a/b:con",
        "a/b:x./y",
        "\xc3\xa9/b",
        "a/%2e%2e",
        "a/b@nul",
    };
    for (size_t i = 0; i < HG_LEN(bad); i++) {
        hg_ref ref;
        hangar_err err = {0};
        hangar_code code = hg_ref_parse(bad[i], &ref, &err);
        if (code != HANGAR_E_USAGE) fail_msg("'%s' was let through", bad[i]);
        assert_true(err.msg[0] != '\0');
        assert_null(strchr(err.msg, '\n'));
    }
    hg_ref ref;
    assert_int_equal(hg_ref_parse(NULL, &ref, NULL), HANGAR_E_USAGE);
    char *part = calloc(1, 400);
    memset(part, 'a', 97);
    assert_int_equal(hg_repo_check(hg_str_of(part), NULL), HANGAR_E_USAGE);
    part[96] = '\0';
    assert_int_equal(hg_repo_check(hg_str_of(part), NULL), HANGAR_OK);
    memset(part, 'a', 300);
    assert_int_equal(hg_revision_check((hg_str){part, 256}, NULL), HANGAR_E_INVALID);
    assert_int_equal(hg_revision_check((hg_str){part, 255}, NULL), HANGAR_OK);
    free(part);
    static const char with_nul[] = "a/b\0c";
    assert_int_equal(hg_repo_check((hg_str){with_nul, 5}, NULL), HANGAR_E_USAGE);
}

static void same(char *path, const char *want)
{
    assert_non_null(path);
    assert_string_equal(path, want);
    free(path);
}

static void test_layout(void **state)
{
    (void)state;
    hg_store *s = NULL;
    ok(hg_store_open("/c/", at("home"), &s, e_));
    hg_oid sha1 = kit_oid(HG_HASH_GIT_SHA1, ""), sha256 = kit_oid(HG_HASH_SHA256, "");
    assert_string_equal(sha1.hex, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    assert_string_equal(sha256.hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    same(hg_blob_path(s, "org/name", &sha1),
         "/c/models--org--name/blobs/e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    same(hg_blob_path(s, "gpt2", &sha1), "/c/models--gpt2/blobs/e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    same(hg_blob_partial_path(s, "org/name", &sha1),
         "/c/models--org--name/blobs/e69de29bb2d1d6434b8b29ae775ad8c2e48c5391.hangar.incomplete");
    same(hg_blob_lock_path(s, "org/name", &sha256),
         "/c/.locks/models--org--name/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855.lock");
    same(hg_revision_path(s, "a/b", "refs/pr/1"), "/c/models--a--b/refs/refs/pr/1");
    same(hg_commit_file(s, "a/b", C1, "x/y.json"), "/c/models--a--b/snapshots/" C1 "/x/y.json");
    same(hg_blob_link("f", &sha1), "../../blobs/e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    same(hg_blob_link("a/b/f", &sha1), "../../../../blobs/e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    char *dir = hg_artifact_dir(s, "a/b", C1, "onnx");
    assert_string_equal(dir + strlen(at("home")), "/artifacts/models--a--b/" C1 "/onnx");
    free(dir);
    hg_store_close(s);
}

static void test_nothing_gets_past(void **state)
{
    (void)state;
    hg_store *s = NULL;
    ok(hg_store_open("/c", at("home"), &s, e_));
    hg_oid good = kit_oid(HG_HASH_GIT_SHA1, ""), bad = {.kind = HG_HASH_SHA256, .hex = "../../../etc/passwd"};
    hg_oid mixed = good;
    mixed.kind = HG_HASH_SHA256; /* 40 digits are no SHA-256 */
    hg_oid upper = good;
    upper.hex[0] = 'E';
    assert_null(hg_blob_path(s, "a/b", &bad));
    assert_null(hg_blob_path(s, "a/b", &mixed));
    assert_null(hg_blob_path(s, "a/b", &upper));
    assert_null(hg_blob_path(s, "../a", &good));
    assert_null(hg_blob_partial_path(s, "a/b", &bad));
    assert_null(hg_blob_lock_path(s, "a/b", &bad));
    assert_null(hg_revision_path(s, "a/b", "../../x"));
    assert_null(hg_commit_dir(s, "a/b", "../.."));
    assert_null(hg_commit_file(s, "a/b", C1, "../x"));
    assert_null(hg_commit_file(s, "a/b", C1, "/x"));
    assert_null(hg_artifact_dir(s, "a/b", C1, ".."));
    assert_null(hg_artifact_dir(s, "a/b", C1, "a/b"));
    assert_null(hg_artifact_dir(s, "a/b", "x", "onnx"));
    assert_null(hg_blob_link("../x", &good));
    hg_store_close(s);
}

static void test_digests(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "e69de29bb2d1d6434b8b29ae775ad8c2e48c539",
        "e69de29bb2d1d6434b8b29ae775ad8c2e48c53911",
        "E69DE29BB2D1D6434B8B29AE775AD8C2E48C5391",
        "../../../../../../../../../etc/passwd/xxxxxxx",
        "sha256-e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
        "sha256:e69de29bb2d1d6434b8b29ae775ad8c2e4",
        "****************************************************************",
        "e69de29bb2d1d6434b8b29ae775ad8c2e48c539\xd9\xa1",
    };
    hg_oid oid;
    for (size_t i = 0; i < HG_LEN(bad); i++)
        assert_int_equal(hg_oid_parse(hg_str_of(bad[i]), &oid, NULL), HANGAR_E_INVALID);
}

static void test_folders_and_blob_names(void **state)
{
    (void)state;
    char repo[HG_REPO_MAX];
    assert_true(hg_repo_from_folder("models--org--name", repo));
    assert_string_equal(repo, "org/name");
    assert_true(hg_repo_from_folder("models--gpt2", repo));
    assert_string_equal(repo, "gpt2");
    static const char *const foreign[] = {"datasets--a--b",   "models--", "models--a--b--c",
                                          "models--a----b",   ".locks",   "models--../x",
                                          "models--a--b.git", "models"};
    for (size_t i = 0; i < HG_LEN(foreign); i++) assert_false(hg_repo_from_folder(foreign[i], repo));
    hg_oid oid;
    bool partial;
    assert_true(hg_blob_name_parse(C1, &oid, &partial) && !partial);
    assert_true(hg_blob_name_parse(C1 ".incomplete", &oid, &partial) && partial);
    assert_true(hg_blob_name_parse(C1 ".12ab34cd.incomplete", &oid, &partial) && partial);
    assert_true(hg_blob_name_parse(C1 ".hangar.incomplete", &oid, &partial) && partial);
    assert_false(hg_blob_name_parse(C1 ".txt", &oid, &partial));
    assert_false(hg_blob_name_parse("notes.incomplete", &oid, &partial));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ref_forms), cmocka_unit_test(test_ref_hostile),
        cmocka_unit_test(test_layout),    cmocka_unit_test(test_nothing_gets_past),
        cmocka_unit_test(test_digests),   cmocka_unit_test(test_folders_and_blob_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
