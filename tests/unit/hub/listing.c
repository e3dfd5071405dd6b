/* SPDX-License-Identifier: Apache-2.0 */
/* The list of files, all or nothing; and the plan that is made of it. */
#include "hub/listing.h"
#include "hub/plan.h"

#include "base/buf.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#define GIT "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
#define GI2 "f69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
#define SHA "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* Reads a tree page (or siblings) and ends it. */
static hangar_code read_list(const char *text, bool tree, hg_listing *l, hangar_err *err)
{
    hg_json *doc = NULL;
    assert_int_equal(hg_json_parse(hg_str_of(text), NULL, &doc, err), HANGAR_OK);
    hangar_code code = tree ? hg_listing_add_tree(l, hg_json_root(doc), err)
                            : hg_listing_add_siblings(l, hg_json_root(doc), err);
    if (code == HANGAR_OK) code = hg_listing_finish(l, err);
    hg_json_free(doc);
    return code;
}

static void expect(const char *text, hangar_code want)
{
    hg_listing l = {0};
    hangar_err err = {0};
    hangar_code code = read_list(text, true, &l, &err);
    if (code != want) fail_msg("%s: %s %s", text, hangar_code_name(code), err.msg);
    hg_listing_deinit(&l);
}

static void test_good(void **state)
{
    (void)state;
    hg_listing l = {0};
    hangar_err err = {0};
    assert_int_equal(read_list("[{\"type\":\"directory\",\"path\":\"b\",\"oid\":\"x\"},"
                               "{\"type\":\"file\",\"path\":\"b/c\",\"size\":7,\"oid\":\"" GIT
                               "\",\"lfs\":null,\"new\":1},"
                               "{\"type\":\"symlink\",\"path\":\"link\"},"
                               "{\"type\":\"file\",\"path\":\"a.bin\",\"size\":9,\"oid\":\"" GIT
                               "\",\"lfs\":{\"oid\":\"" SHA "\",\"size\":9,\"pointerSize\":130}}]",
                               true, &l, &err),
                     HANGAR_OK);
    assert_int_equal(l.count, 2);
    assert_int_equal(l.size, 16);
    assert_int_equal(l.skipped, 1);
    assert_string_equal(l.items[0].path, "a.bin");
    assert_string_equal(l.items[0].oid.hex, SHA);
    assert_int_equal(l.items[1].oid.kind, HG_HASH_GIT_SHA1);
    hg_listing_deinit(&l);
    assert_int_equal(read_list("[{\"rfilename\":\"x\",\"size\":0,\"blobId\":\"" GIT
                               "\"},{\"rfilename\":\"y\",\"size\":3,"
                               "\"blobId\":\"" GIT "\",\"lfs\":{\"sha256\":\"" SHA "\",\"size\":3}}]",
                               false, &l, &err),
                     HANGAR_OK);
    assert_string_equal(l.items[1].oid.hex, SHA);
    hg_listing_deinit(&l);
    expect("[]", HANGAR_OK);
}

#define FILE_(rest) "[{\"type\":\"file\"," rest "}]"
static void test_bad(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{}",
        "null",
        "\"x\"",
        "[1]",
        "[null]",
        "[[]]",
        "[{}]",
        "[{\"type\":1}]",
        FILE_("\"size\":1,\"oid\":\"" GIT "\""),
        FILE_("\"path\":\"../x\",\"size\":1,\"oid\":\"" GIT "\""),
        FILE_("\"path\":\"a\\u0000b\",\"size\":1,\"oid\":\"" GIT "\""),
        FILE_("\"path\":\"x\",\"oid\":\"" GIT "\""),
        FILE_("\"path\":\"x\",\"size\":-1,\"oid\":\"" GIT "\""),
        FILE_("\"path\":\"x\",\"size\":1.5,\"oid\":\"" GIT "\""),
        FILE_("\"path\":\"x\",\"size\":1"),
        FILE_("\"path\":\"x\",\"size\":1,\"oid\":\"\""),
        FILE_("\"path\":\"x\",\"size\":1,\"oid\":\"" SHA "\""),
        FILE_("\"path\":\"x\",\"size\":1,\"oid\":\"" GIT "0\""),
        FILE_("\"path\":\"x\",\"size\":1,\"oid\":\"sha1:" GIT "\""),
        FILE_("\"path\":\"x\",\"size\":1,\"oid\":\"E69DE29BB2D1D6434B8B29AE775AD8C2E48C5391\""),
        FILE_("\"path\":\"x\",\"size\":1,\"oid\":\"" GIT "\",\"lfs\":{}"),
        FILE_("\"path\":\"x\",\"size\":1,\"oid\":\"" GIT "\",\"lfs\":{\"oid\":\"" GIT "\",\"size\":1}"),
        FILE_("\"path\":\"x\",\"size\":1,\"oid\":\"" GIT "\",\"lfs\":{\"oid\":\"" SHA "\",\"size\":2}"),
        "[{\"type\":\"directory\",\"path\":\"/etc\"}]",
        "[{\"type\":\"directory\"}]",
        "[{\"type\":\"file\",\"path\":\"x\",\"size\":1,\"oid\":\"" GIT
        "\"},{\"type\":\"file\",\"path\":\"x\",\"size\":1,\"oid\":\"" GIT "\"}]",
        "[{\"type\":\"file\",\"path\":\"x\",\"size\":1,\"oid\":\"" GIT
        "\"},{\"type\":\"file\",\"path\":\"x-\",\"size\":1,\"oid\":\"" GIT
        "\"},{\"type\":\"file\",\"path\":\"x/y\",\"size\":1,\"oid\":\"" GIT "\"}]"};
    for (size_t i = 0; i < HG_LEN(bad); i++) expect(bad[i], HANGAR_E_INVALID);
    expect(FILE_("\"path\":\"x\",\"size\":70368744177665,\"oid\":\"" GIT "\""), HANGAR_E_LIMIT);
    expect(FILE_("\"path\":\"x\",\"size\":1,\"oid\":\"****************************************\""),
           HANGAR_E_GATED);
    expect(FILE_("\"path\":\"x\",\"size\":1,\"oid\":\"" GIT "\",\"lfs\":{\"oid\":\"***\",\"size\":1}"),
           HANGAR_E_GATED);
}

static void test_many(void **state)
{
    (void)state;
    hg_buf b;
    hg_buf_init(&b, 64 * HG_MIB);
    hg_buf_putc(&b, '[');
    for (unsigned i = 0; i <= HG_FILES_MAX; i++)
        hg_buf_printf(&b, "%s{\"type\":\"file\",\"path\":\"f%u\",\"size\":1,\"oid\":\"" GIT "\"}",
                      i ? "," : "", i);
    hg_buf_putc(&b, ']');
    expect(hg_buf_text(&b), HANGAR_E_LIMIT);
    /* Sizes that are allowed one by one but not together. */
    hg_buf_reset(&b);
    hg_buf_putc(&b, '[');
    for (unsigned i = 0; i < 99000 + 33000; i++)
        hg_buf_printf(&b,
                      "%s{\"type\":\"file\",\"path\":\"f%u\",\"size\":70368744177664,\"oid\":\"" GIT "\"}",
                      i ? "," : "", i);
    hg_buf_putc(&b, ']');
    expect(hg_buf_text(&b), HANGAR_E_LIMIT);
    hg_buf_deinit(&b);
}

static void test_info(void **state)
{
    (void)state;
    static const char *const bad[] = {"{}",
                                      "[]",
                                      "{\"sha\":null}",
                                      "{\"sha\":\"main\"}",
                                      "{\"sha\":\"" SHA "\"}",
                                      "{\"sha\":\"****************************************\"}"};
    char commit[41];
    hangar_err err = {0};
    for (size_t i = 0; i < HG_LEN(bad) + 1; i++) {
        hg_json *doc = NULL;
        const char *text = i < HG_LEN(bad) ? bad[i] : "{\"sha\":\"" GIT "\"}";
        assert_int_equal(hg_json_parse(hg_str_of(text), NULL, &doc, &err), HANGAR_OK);
        hangar_code code = hg_info_commit(hg_json_root(doc), commit, &err);
        assert_int_equal(code, i < HG_LEN(bad) ? HANGAR_E_INVALID : HANGAR_OK);
        hg_json_free(doc);
    }
    assert_string_equal(commit, GIT);
}

static void test_wanted(void **state)
{
    (void)state;
    const char *json[] = {"*.json", NULL}, *md[] = {"*.md", NULL};
    hangar_download_options o = HANGAR_DOWNLOAD_OPTIONS_INIT;
    assert_true(hg_path_wanted("a.bin", "", NULL));
    assert_true(hg_path_wanted("a.bin", "", &o));
    assert_false(hg_path_wanted("a.bin", "b.bin", &o));
    assert_true(hg_path_wanted("b.bin", "b.bin", &o));
    o.include = json;
    assert_true(hg_path_wanted("d/a.json", "", &o));
    assert_false(hg_path_wanted("a.bin", "", &o));
    assert_true(hg_path_wanted("b.bin", "b.bin", &o));
    o.exclude = md;
    o.include = NULL;
    assert_false(hg_path_wanted("README.md", "", &o));
    assert_false(hg_path_wanted("README.md", "README.md", &o));
}

static void test_plan(void **state)
{
    (void)state;
    char top[400], cache[460], home[460];
    hangar_err err = {0};
    hg_store *store = NULL;
    hg_listing l = {0};
    hg_plan p;
    hg_ref ref;
    assert_non_null(getcwd(top, sizeof top));
    snprintf(cache, sizeof cache, "%s/cache", top);
    snprintf(home, sizeof home, "%s/home", top);
    assert_int_equal(hg_store_open(cache, home, &store, &err), HANGAR_OK);
    assert_int_equal(hg_ref_parse("acme/one", &ref, &err), HANGAR_OK);
    static const char text[] =
        "[{\"type\":\"file\",\"path\":\"big\",\"size\":70000000000000,\"oid\":\"" GI2 "\"},"
        "{\"type\":\"file\",\"path\":\"z\",\"size\":5,\"oid\":\"" GIT "\"},"
        "{\"type\":\"file\",\"path\":\"a\",\"size\":5,\"oid\":\"" GIT "\"}]";
    assert_int_equal(read_list(text, true, &l, &err), HANGAR_OK);
    assert_int_equal(hg_plan_make(&l, store, &ref, NULL, &p, &err), HANGAR_OK);
    assert_int_equal(p.pick_count, 3);
    assert_int_equal(p.want_count, 2);
    assert_string_equal(p.picks[0].entry->path, "a");
    assert_int_equal(p.picks[0].want, p.picks[2].want);
    assert_string_equal(p.wants[0].path, "a");
    assert_int_equal(p.wants[1].size, 70000000000000);
    assert_int_equal(p.size, 70000000000005);
    assert_int_equal(p.missing, p.size);
    assert_int_equal(hg_plan_space(&p, store, &ref, &err), HANGAR_E_NO_SPACE);
    assert_non_null(strstr(err.msg, "free"));
    hg_plan_deinit(&p);
    hg_listing_deinit(&l);
    /* One digest cannot have two sizes. */
    assert_int_equal(read_list("[{\"type\":\"file\",\"path\":\"a\",\"size\":5,\"oid\":\"" GIT "\"},"
                               "{\"type\":\"file\",\"path\":\"b\",\"size\":6,\"oid\":\"" GIT "\"}]",
                               true, &l, &err),
                     HANGAR_OK);
    assert_int_equal(hg_plan_make(&l, store, &ref, NULL, &p, &err), HANGAR_E_INVALID);
    hg_listing_deinit(&l);
    hg_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good), cmocka_unit_test(test_bad),    cmocka_unit_test(test_many),
        cmocka_unit_test(test_info), cmocka_unit_test(test_wanted), cmocka_unit_test(test_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
