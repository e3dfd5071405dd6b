/* SPDX-License-Identifier: Apache-2.0 */
/* Keys: made once, told once, checked, removed; and files that must not be believed. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fsx.h"
#include "base/json.h"
#include "base/mem.h"
#include "manager/keys.h"

static hangar *h;

static int begin(void **state)
{
    char here[1024];
    hangar_err err = {0};
    (void)state;
    hg_rm_tree("own", NULL);
    assert_non_null(getcwd(here, sizeof here));
    setenv("HOME", here, 1);
    if (hangar_open(&(hangar_options){.size = sizeof(hangar_options), .home = "own"}, &h, &err) != HANGAR_OK)
        fail_msg("%s", err.msg);
    return 0;
}

static int end(void **state)
{
    (void)state;
    hangar_close(h);
    return 0;
}

/* Makes a key; text[53] gets it. */
static void create(const char *name, const char *scope, char text[HG_KEY_TEXT + 1])
{
    char *json;
    hg_json *doc;
    hangar_err err = {0};
    if (hangar_key_create(h, name, scope, &json, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    assert_int_equal(hg_json_parse(hg_str_of(json), NULL, &doc, NULL), HANGAR_OK);
    const hg_jval *r = hg_json_root(doc);
    assert_string_equal(hg_json_text(hg_json_get(r, "name")), name);
    assert_string_equal(hg_json_text(hg_json_get(r, "scope")), scope ? scope : "infer");
    assert_int_equal(strlen(hg_json_text(hg_json_get(r, "key"))), HG_KEY_TEXT);
    strcpy(text, hg_json_text(hg_json_get(r, "key")));
    assert_memory_equal(text, HG_KEY_PREFIX, 4);
    hg_json_free(doc);
    free(json);
}

static void expect_scope(const hg_keys *k, const char *text, hg_key_scope scope, const char *name)
{
    const char *found = NULL;
    assert_int_equal(hg_keys_check(k, hg_str_of(text), &found), scope);
    assert_string_equal(found, name);
    assert_int_equal(hg_keys_check(k, hg_str_of(text), NULL), scope);
}

static void test_life(void **state)
{
    (void)state;
    char a[HG_KEY_TEXT + 1], b[HG_KEY_TEXT + 1], *json;
    hg_keys *k;
    struct stat st;
    assert_int_equal(hg_keys_open(h, &k, NULL), HANGAR_OK);
    assert_int_equal(hg_keys_count(k), 0);
    create("app.one", NULL, a);
    create("ops", "manage", b);
    assert_string_not_equal(a, b);
    expect_scope(k, a, HG_KEY_NONE, ""); /* not read yet */
    assert_int_equal(hg_keys_reload(k, NULL), HANGAR_OK);
    assert_int_equal(hg_keys_count(k), 2);
    expect_scope(k, a, HG_KEY_INFER, "app.one");
    expect_scope(k, b, HG_KEY_MANAGE, "ops");
    /* What is nearly one, and what is none at all. */
    char wrong[HG_KEY_TEXT + 2];
    for (size_t i = 0; i < HG_KEY_TEXT; i++) {
        strcpy(wrong, b);
        wrong[i] = wrong[i] == '0' ? '1' : '0';
        expect_scope(k, wrong, HG_KEY_NONE, "");
    }
    strcpy(wrong, b);
    strcat(wrong, "0");
    expect_scope(k, wrong, HG_KEY_NONE, "");
    wrong[HG_KEY_TEXT - 1] = '\0';
    expect_scope(k, wrong, HG_KEY_NONE, "");
    expect_scope(k, "", HG_KEY_NONE, "");
    /* The file has no key in it, and is nobody else's. */
    hg_buf text;
    hg_buf_init(&text, HG_MIB);
    assert_int_equal(hg_read_file("own/keys.json", &text, NULL), HANGAR_OK);
    assert_null(strstr(text.data, a));
    assert_null(strstr(text.data, a + 4));
    hg_buf_deinit(&text);
    assert_int_equal(stat("own/keys.json", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);

    assert_int_equal(hangar_key_list(h, &json, NULL), HANGAR_OK);
    assert_null(strstr(json, "hgk_"));
    assert_null(strstr(json, "sha256"));
    assert_true(strstr(json, "app.one") < strstr(json, "\"ops\""));
    free(json);
    hangar_err err = {0};
    assert_int_equal(hangar_key_remove(h, "op", &json, &err), HANGAR_E_NOT_FOUND);
    assert_non_null(strstr(err.msg, "did you mean ops?"));
    assert_null(json);
    assert_int_equal(hangar_key_create(h, "ops", "infer", &json, &err), HANGAR_E_BUSY);
    assert_int_equal(hangar_key_remove(h, "app.one", &json, &err), HANGAR_OK);
    free(json);
    assert_int_equal(hg_keys_reload(k, NULL), HANGAR_OK);
    expect_scope(k, a, HG_KEY_NONE, "");
    expect_scope(k, b, HG_KEY_MANAGE, "ops");
    assert_int_equal(unlink("own/keys.json"), 0);
    assert_int_equal(hg_keys_reload(k, NULL), HANGAR_OK);
    assert_int_equal(hg_keys_count(k), 0);
    hg_keys_free(k);
    hg_keys_free(NULL);
}

static void test_usage(void **state)
{
    (void)state;
    static const char *const names[] = {
        "",    ".x",       "-x",  "a b",
        "a/b", "\xc3\xa4", "a\n", "0123456789012345678901234567890123456789012345678901234567890123x"};
    char *json;
    for (size_t i = 0; i < HG_LEN(names); i++)
        assert_int_equal(hangar_key_create(h, names[i], NULL, &json, NULL), HANGAR_E_USAGE);
    assert_int_equal(hangar_key_create(h, NULL, NULL, &json, NULL), HANGAR_E_USAGE);
    assert_int_equal(hangar_key_create(h, "x", "admin", &json, NULL), HANGAR_E_USAGE);
    assert_int_equal(hangar_key_create(h, "x", "", &json, NULL), HANGAR_E_USAGE);
    assert_false(hg_is_file("own/keys.json"));
}

#define DIGEST "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define GOOD   "{\"name\":\"a\",\"scope\":\"infer\",\"sha256\":\"" DIGEST "\",\"created\":1}"

static void test_bad_files(void **state)
{
    (void)state;
    const struct {
        const char *text;
        hangar_code code;
        const char *words;
    } cases[] = {
        {"", HANGAR_E_INVALID, "keys.json"},
        {"[]", HANGAR_E_INVALID, "it has no \"keys\""},
        {"{\"keys\":{}}", HANGAR_E_INVALID, "it has no \"keys\""},
        {"{\"keys\":[" GOOD "," GOOD "]}", HANGAR_E_INVALID, "the key a is there twice"},
        {"{\"keys\":[{}]}", HANGAR_E_INVALID, "key 1 is malformed"},
        {"{\"keys\":[" GOOD ",7]}", HANGAR_E_INVALID, "key 2 is malformed"},
        {"{\"keys\":[{\"name\":\"a\",\"scope\":\"\",\"sha256\":\"" DIGEST "\",\"created\":1}]}",
         HANGAR_E_INVALID, "key 1"},
        {"{\"keys\":[{\"name\":\"a\",\"scope\":\"infer\",\"sha256\":\"0\",\"created\":1}]}", HANGAR_E_INVALID,
         "key 1"},
        {"{\"keys\":[{\"name\":\"a\",\"scope\":\"infer\",\"sha256\":\"" DIGEST "\"}]}", HANGAR_E_INVALID,
         "key 1"},
        {"{\"keys\":[{\"name\":\"../a\",\"scope\":\"infer\",\"sha256\":\"" DIGEST "\",\"created\":1}]}",
         HANGAR_E_INVALID, "key 1"},
        {"{\"keys\":[[[[[[[[[[]]]]]]]]]]}", HANGAR_E_LIMIT, "keys.json"},
    };
    hg_keys *k, *none = NULL;
    char *json;
    assert_int_equal(hg_write_file("own/keys.json", "{\"keys\":[" GOOD "]}",
                                   sizeof "{\"keys\":[" GOOD "]}" - 1, 0600, NULL),
                     HANGAR_OK);
    assert_int_equal(hg_keys_open(h, &k, NULL), HANGAR_OK);
    for (size_t i = 0; i < HG_LEN(cases); i++) {
        hangar_err err = {0};
        assert_int_equal(hg_write_file("own/keys.json", cases[i].text, strlen(cases[i].text), 0600, NULL),
                         HANGAR_OK);
        assert_int_equal(hg_keys_open(h, &none, &err), cases[i].code);
        assert_null(none);
        if (!strstr(err.msg, cases[i].words)) fail_msg("%zu: %s", i, err.msg);
        assert_int_equal(hg_keys_reload(k, NULL), cases[i].code);
        assert_int_equal(hg_keys_count(k), 1); /* as it was */
        /* Nothing is written over what was not understood. */
        assert_int_equal(hangar_key_create(h, "b", NULL, &json, NULL), cases[i].code);
        assert_int_equal(hangar_key_list(h, &json, NULL), cases[i].code);
        assert_int_equal(hangar_key_remove(h, "a", &json, NULL), cases[i].code);
    }
    assert_int_equal(hg_write_file("own/keys.json", "{\"keys\":[" GOOD "]}",
                                   sizeof "{\"keys\":[" GOOD "]}" - 1, 0600, NULL),
                     HANGAR_OK);
    hangar_err err = {0};
    assert_int_equal(chmod("own/keys.json", 0620), 0);
    assert_int_equal(hg_keys_reload(k, &err), HANGAR_E_DENIED);
    assert_non_null(strstr(err.msg, "others may write it"));
    assert_int_equal(chmod("own/keys.json", 0644), 0);
    assert_int_equal(hg_keys_reload(k, &err), HANGAR_OK);
    unlink("own/keys.json");
    assert_int_equal(hg_mkdirs("own/keys.json", 0700, NULL), HANGAR_OK);
    assert_int_equal(hg_keys_reload(k, &err), HANGAR_E_INVALID);
    hg_keys_free(k);
}

static void test_many(void **state)
{
    (void)state;
    hg_buf b;
    char *json;
    hg_keys *k;
    hg_buf_init(&b, HG_MIB);
    hg_buf_puts(&b, "{\"keys\":[");
    for (int i = 0; i < HG_KEYS_MAX; i++)
        hg_buf_printf(&b, "%s{\"name\":\"k%d\",\"scope\":\"infer\",\"sha256\":\"" DIGEST "\",\"created\":1}",
                      i ? "," : "", i);
    hg_buf_puts(&b, "]}");
    assert_int_equal(hg_write_file("own/keys.json", b.data, b.len, 0600, NULL), HANGAR_OK);
    assert_int_equal(hg_keys_open(h, &k, NULL), HANGAR_OK);
    assert_int_equal(hg_keys_count(k), HG_KEYS_MAX);
    assert_int_equal(hangar_key_create(h, "more", NULL, &json, NULL), HANGAR_E_LIMIT);
    b.len -= 2;
    hg_buf_puts(&b, ",{\"name\":\"x\",\"scope\":\"infer\",\"sha256\":\"" DIGEST "\",\"created\":1}]}");
    assert_int_equal(hg_write_file("own/keys.json", b.data, b.len, 0600, NULL), HANGAR_OK);
    assert_int_equal(hg_keys_reload(k, NULL), HANGAR_E_LIMIT);
    hg_keys_free(k);
    hg_buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_life, begin, end),
        cmocka_unit_test_setup_teardown(test_usage, begin, end),
        cmocka_unit_test_setup_teardown(test_bad_files, begin, end),
        cmocka_unit_test_setup_teardown(test_many, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
