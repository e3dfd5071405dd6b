/* SPDX-License-Identifier: Apache-2.0 */
/* Paths as text: joining, splitting, and which names of a repository may reach a disk. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/fsx.h"
#include "base/mem.h"

static void expect_join(const char *a, const char *b, const char *want)
{
    char *joined = hg_path_join(a, b);
    assert_string_equal(joined, want);
    free(joined);
}

static void expect_dir(const char *path, const char *want)
{
    char *dir = hg_path_dir(path);
    assert_string_equal(dir, want);
    free(dir);
}

static void test_join_and_split(void **state)
{
    (void)state;
    expect_join("a", "b", "a/b");
    expect_join("a/", "b", "a/b");
    expect_join("a//", "/b", "a/b");
    expect_join("/", "b", "/b");
    expect_join("", "b", "b");
    expect_join("a", "", "a");
    expect_dir("a/b", "a");
    expect_dir("a//b", "a");
    expect_dir("/a", "/");
    expect_dir("//a", "/");
    expect_dir("a", ".");
    assert_string_equal(hg_path_base("a/b"), "b");
    assert_string_equal(hg_path_base("b"), "b");
    assert_string_equal(hg_path_base("a/"), "");
}

#define B255                                                           \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde"
#define D8  "d/d/d/d/d/d/d/d/"
#define D32 D8 D8 D8 "d/d/d/d/d/d/d/d"

static const struct {
    const char *path, *rule;
} bad[] = {
    {"", "is empty"},
    {"/", "begins with a slash"},
    {"/etc/passwd", "begins with a slash"},
    {"//host/share", "begins with a slash"},
    {"a/", "ends with a slash"},
    {"a//b", "empty component"},
    {".", "'.' or '..'"},
    {"..", "'.' or '..'"},
    {"../x", "'.' or '..'"},
    {"../../x", "'.' or '..'"},
    {"a/../b", "'.' or '..'"},
    {"a/..", "'.' or '..'"},
    {"a/./b", "'.' or '..'"},
    {"./a", "'.' or '..'"},
    {"a/.", "'.' or '..'"},
    {"..\\x", "backslash"},
    {"a\\b", "backslash"},
    {"\\\\host\\share", "backslash"},
    {"C:\\x", "colon"},
    {"C:x", "colon"},
    {"c:/x", "colon"},
    {"file:stream", "colon"},
    {"a\nb", "control character"},
    {"a\tb", "control character"},
    {"a\x1b[31m", "control character"},
    {"a\x7f", "control character"},
    {"a\xc2\x85", "control character"},
    {"a\xff", "not UTF-8"},
    {"\xc0\xae\xc0\xae/x", "not UTF-8"},
    {"\xed\xa0\x80", "not UTF-8"},
    {"a.", "dot or a space"},
    {"a ", "dot or a space"},
    {"...", "dot or a space"},
    {"a/b./c", "dot or a space"},
    {" ", "dot or a space"},
    {"con", "Windows device"},
    {"CON", "Windows device"},
    {"nul.txt", "Windows device"},
    {"a/Aux", "Windows device"},
    {"prn.tar.gz", "Windows device"},
    {"com1", "Windows device"},
    {"LPT9.log", "Windows device"},
    {"COM\xc2\xb9", "Windows device"},
    {"COM0", "Windows device"},
    {"nul .txt", "Windows device"},
    {"CONIN$", "Windows device"},
    {"conout$", "Windows device"},
    {B255 "x", "over 255 bytes"},
    {"a/" B255 "x/b", "over 255 bytes"},
    {D32 "/d", "more than 32 components"},
    {B255 "/" B255 "/" B255 "/" B255 "/x", "longer than 1024 bytes"},
};

static const char *const good[] = {
    "config.json",
    "onnx/model.onnx",
    ".gitattributes",
    ".git/config",
    "..a",
    "a..b",
    "...a",
    "-rf",
    "a b/c d.txt",
    " leading space",
    "~",
    "$HOME",
    "%2e%2e%2fx",
    "a*b?c|d<e>\"f'g",
    "console.log",
    "com10",
    "comX.txt",
    "null",
    "auxiliary/con_fig",
    "lpt",
    "caf\xc3\xa9/\xe6\x97\xa5\xe6\x9c\xac.bin",
    "e\xcc\x81",
    "\xf0\x9f\x98\x80.safetensors",
    B255,
    D32,
    B255 "/" B255 "/" B255 "/" B255,
    "model-00001-of-00002.safetensors",
};

static void test_path_check(void **state)
{
    (void)state;
    assert_true(HG_LEN(bad) >= 40 && HG_LEN(good) >= 20);
    for (size_t i = 0; i < HG_LEN(bad); i++) {
        hangar_err err = {0};
        if (hg_path_check(hg_str_of(bad[i].path), &err) != HANGAR_E_INVALID)
            fail_msg("'%s' was taken", bad[i].path);
        if (!strstr(err.msg, bad[i].rule)) fail_msg("'%s': %s", bad[i].path, err.msg);
        assert_null(strchr(err.msg, '\n'));
        assert_null(strchr(err.msg, '\x1b'));
    }
    for (size_t i = 0; i < HG_LEN(good); i++) {
        hangar_err err = {0};
        if (hg_path_check(hg_str_of(good[i]), &err) != HANGAR_OK) fail_msg("%s", err.msg);
    }
    /* A NUL inside is a control character, not an end. */
    assert_int_equal(hg_path_check((hg_str){"a\0b", 3}, NULL), HANGAR_E_INVALID);
    assert_int_equal(hg_path_check((hg_str){0}, NULL), HANGAR_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_join_and_split),
        cmocka_unit_test(test_path_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
