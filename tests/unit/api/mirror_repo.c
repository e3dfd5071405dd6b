/* SPDX-License-Identifier: Apache-2.0 */
/* A folder as a revision: which files count, their digests, the commit. And the start and end of a mirror. */
#include "api/mirror.h"
#include "base/fsx.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static int root = -1;

static void put(const char *path, const char *text)
{
    assert_int_equal(hg_write_file(path, text, strlen(text), 0644, NULL), HANGAR_OK);
}

/* A hub with one repository and all that does not belong into it. */
static int setup(void **state)
{
    (void)state;
    put("outside.txt", "secret");
    put("hub/acme/one/README.md", "hello\n");
    put("hub/acme/one/sub/w.safetensors", "weights");
    put("hub/acme/one/.git/config", "x");
    put("hub/acme/one/.cache/huggingface/x", "x");
    put("hub/acme/one/a:b", "x");
    put("hub/acme/one/back\\slash", "x");
    put("hub/acme/one/line\nbreak", "x");
    put("hub/acme/one@v2/README.md", "other\n");
    put("hub/acme/one-more/README.md", "hello\n");
    put("hub/acme/two@only/README.md", "hello\n");
    assert_int_equal(symlink("../../../outside.txt", "hub/acme/one/out.txt"), 0);
    assert_int_equal(symlink("/etc/passwd", "hub/acme/one/abs.txt"), 0);
    assert_int_equal(symlink("README.md", "hub/acme/one/in.txt"), 0);
    assert_int_equal(symlink("../one", "hub/acme/one/loop"), 0);
    assert_int_equal(symlink("../..", "hub/elsewhere"), 0);
    assert_int_equal(mkfifo("hub/acme/one/fifo", 0644), 0);
    root = open("hub", O_RDONLY | O_DIRECTORY);
    return root < 0;
}

/* Walks and hashes all of a folder. */
static hg_mirror_snap *read_all(const char *folder)
{
    hg_mirror_snap *s = NULL;
    uint8_t scratch[64];
    assert_int_equal(hg_snap_walk(root, folder, &s, NULL), HANGAR_OK);
    for (size_t i = 0; i < s->count; i++) {
        hg_file_hash h = {.fd = -1};
        bool done = false;
        for (int steps = 0; !done && steps < 100; steps++) {
            uint64_t budget = 3; /* many small steps */
            assert_int_equal(hg_file_hash_step(root, folder, &s->files[i], &h, &budget, scratch,
                                               sizeof scratch, &done, NULL),
                             HANGAR_OK);
        }
        assert_true(done);
        hg_file_hash_deinit(&h);
    }
    assert_int_equal(hg_snap_seal(s, NULL), HANGAR_OK);
    return s;
}

static void test_only_clean_files_below_the_folder(void **state)
{
    (void)state;
    hg_mirror_snap *s = read_all("acme/one");
    assert_int_equal(s->count, 3);
    assert_string_equal(s->files[0].path, "README.md");
    assert_string_equal(s->files[1].path, "in.txt");
    assert_string_equal(s->files[2].path, "sub/w.safetensors");
    assert_non_null(hg_snap_find(s, "sub/w.safetensors"));
    assert_null(hg_snap_find(s, "out.txt"));
    hg_snap_free(s);
    struct stat st;
    int fd = -1;
    assert_int_equal(hg_below_open(root, "acme/one/out.txt", O_RDONLY, &fd, &st, NULL), HANGAR_E_NOT_FOUND);
    assert_int_equal(hg_below_open(root, "acme/one/abs.txt", O_RDONLY, &fd, &st, NULL), HANGAR_E_NOT_FOUND);
    assert_int_equal(hg_below_open(root, "../outside.txt", O_RDONLY, &fd, &st, NULL), HANGAR_E_NOT_FOUND);
    assert_int_equal(hg_below_open(root, "acme/one/fifo", O_RDONLY, &fd, &st, NULL), HANGAR_E_NOT_FOUND);
    assert_int_equal(hg_below_open(root, "acme/one", O_RDONLY, &fd, &st, NULL), HANGAR_E_NOT_FOUND);
}

/* The digests were computed with git hash-object, git lfs' pointer format and sha256sum. */
static void test_digests(void **state)
{
    (void)state;
    hg_mirror_snap *s = read_all("acme/one");
    assert_string_equal(s->files[0].oid, "ce013625030ba8dba906f756967f9e9ca394464a");
    assert_false(s->files[0].lfs);
    assert_true(s->files[2].lfs);
    assert_string_equal(s->files[2].sha256,
                        "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c");
    assert_string_equal(s->files[2].oid, "c6a67be4f3ef29ed4a07b4f2446625126a25cfda");
    hg_snap_free(s);
}

static void test_commit_changes_exactly_with_the_files(void **state)
{
    (void)state;
    char first[41];
    hg_mirror_snap *s = read_all("acme/one");
    memcpy(first, s->commit, sizeof first);
    hg_mirror_snap *again = read_all("acme/one");
    assert_string_equal(again->commit, first);
    hg_snap_free(again);
    put("hub/acme/one/new.txt", "x");
    again = read_all("acme/one");
    assert_string_not_equal(again->commit, first);
    hg_snap_free(again);
    assert_int_equal(unlink("hub/acme/one/new.txt"), 0);
    again = read_all("acme/one");
    assert_string_equal(again->commit, first);
    hg_snap_free(again);
    hg_snap_free(s);
}

static void test_digests_are_taken_over_from_unchanged_files_only(void **state)
{
    (void)state;
    hg_mirror_snap *now, *old = read_all("acme/one");
    put("hub/acme/one/README.md", "changed\n");
    assert_int_equal(hg_snap_walk(root, "acme/one", &now, NULL), HANGAR_OK);
    hg_snap_inherit(now, old);
    assert_false(now->files[0].known);
    assert_true(now->files[2].known);
    assert_string_equal(now->files[2].sha256, old->files[2].sha256);
    hg_snap_free(now);
    hg_snap_free(old);
    put("hub/acme/one/README.md", "hello\n");
}

static hangar_code gather(void *ctx, const char *a, const char *b, hangar_err *err)
{
    (void)err;
    hg_buf_printf(ctx, "%s=%s ", a, b);
    return HANGAR_OK;
}

static hangar_code gather_repo(void *ctx, const char *id, int64_t modified, hangar_err *err)
{
    (void)modified;
    return gather(ctx, id, "", err);
}

static void test_repositories_and_revisions(void **state)
{
    (void)state;
    hg_buf b;
    hg_buf_init(&b, 1000);
    assert_int_equal(hg_repo_all(root, gather_repo, &b, NULL), HANGAR_OK);
    assert_string_equal(hg_buf_text(&b), "acme/one= acme/one-more= acme/two= ");
    hg_buf_reset(&b);
    assert_int_equal(hg_repo_revisions(root, HG_STR("acme"), HG_STR("one"), gather, &b, NULL), HANGAR_OK);
    assert_string_equal(hg_buf_text(&b), "main=acme/one v2=acme/one@v2 ");
    hg_buf_deinit(&b);
}

static hangar_code start(const char *listen, const char *token, hangar_err *err)
{
    hangar_mirror_options o = HANGAR_MIRROR_OPTIONS_INIT;
    hangar_mirror *m = NULL;
    o.listen = listen;
    o.token = token;
    hangar_code code = hangar_mirror_start("hub", &o, &m, err);
    if (code == HANGAR_OK) assert_non_null(strstr(hangar_mirror_url(m), "http://"));
    hangar_mirror_stop(m);
    return code;
}

static void test_start_and_stop(void **state)
{
    (void)state;
    hangar_err err = {0};
    hangar_mirror *m = NULL;
    assert_int_equal(start(NULL, NULL, &err), HANGAR_OK);
    assert_int_equal(start("localhost:0", NULL, &err), HANGAR_OK);
    assert_int_equal(start("0.0.0.0:0", NULL, &err), HANGAR_E_USAGE);
    assert_non_null(strstr(err.msg, "token"));
    assert_int_equal(start("0.0.0.0:0", "", &err), HANGAR_E_USAGE);
    assert_int_equal(start("0.0.0.0:0", "with space", &err), HANGAR_E_USAGE);
    assert_int_equal(start("0.0.0.0:0", "hf_token", &err), HANGAR_OK);
    static const char *const bad[] = {
        "", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999", "example.org:80", "1.2.3:80", "[::1:80"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(start(bad[i], NULL, &err), HANGAR_E_USAGE);
    assert_int_equal(hangar_mirror_start("nowhere", NULL, &m, &err), HANGAR_E_NOT_FOUND);
    assert_int_equal(hangar_mirror_start("hub/acme/one/README.md", NULL, &m, &err), HANGAR_E_NOT_FOUND);
}

static void test_port_in_use(void **state)
{
    (void)state;
    hangar_err err = {0};
    hangar_mirror *m = NULL;
    assert_int_equal(hangar_mirror_start("hub", NULL, &m, &err), HANGAR_OK);
    assert_int_equal(start(hangar_mirror_url(m) + strlen("http://"), NULL, &err), HANGAR_E_BUSY);
    hangar_mirror_stop(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_clean_files_below_the_folder),
        cmocka_unit_test(test_digests),
        cmocka_unit_test(test_commit_changes_exactly_with_the_files),
        cmocka_unit_test(test_digests_are_taken_over_from_unchanged_files_only),
        cmocka_unit_test(test_repositories_and_revisions),
        cmocka_unit_test(test_start_and_stop),
        cmocka_unit_test(test_port_in_use),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
