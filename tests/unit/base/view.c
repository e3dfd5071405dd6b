/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "base/view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

static void models(hg_view *v)
{
    hg_view_table(v, "~NAME|REVISION|>SIZE|MODIFIED");
    hg_view_cell(v, HG_BOLD, "%s", "hangar-labs/whisper-digits");
    hg_view_cell(v, HG_PLAIN, "%s", "main");
    hg_view_cell(v, HG_PLAIN, "%s", "3.2 MB");
    hg_view_cell(v, HG_DIM, "%s", "2 hours ago");
    hg_view_cell(v, HG_BOLD, "%s", "a/b");
    hg_view_cell(v, HG_PLAIN, "%s", "v1.0");
    hg_view_cell(v, HG_PLAIN, "%s", "12.0 GB");
    hg_view_cell(v, HG_DIM, "%s", "");
    hg_view_table_end(v);
}

static void test_table_free(void **state)
{
    (void)state;
    hg_view *v = hg_view_new(0, false);
    models(v);
    assert_string_equal(hg_view_text(v), "NAME                        REVISION     SIZE  MODIFIED\n"
                                         "hangar-labs/whisper-digits  main       3.2 MB  2 hours ago\n"
                                         "a/b                         v1.0      12.0 GB\n");
    hg_view_free(v);
}

static void test_table_cut(void **state)
{
    (void)state;
    hg_view *v = hg_view_new(52, false);
    models(v);
    assert_string_equal(hg_view_text(v), "NAME                  REVISION     SIZE  MODIFIED\n"
                                         "hangar-labs/whisper…  main       3.2 MB  2 hours ago\n"
                                         "a/b                   v1.0      12.0 GB\n");
    hg_view_free(v);
}

static void test_table_blocks(void **state)
{
    (void)state;
    hg_view *v = hg_view_new(30, false);
    models(v);
    assert_string_equal(hg_view_text(v), "hangar-labs/whisper-digits\n"
                                         "  REVISION  main\n"
                                         "  SIZE      3.2 MB\n"
                                         "  MODIFIED  2 hours ago\n"
                                         "a/b\n"
                                         "  REVISION  v1.0\n"
                                         "  SIZE      12.0 GB\n");
    hg_view_free(v);
}

/* No line of a page may be wider than the page, whatever the width, unless a single word is. */
static void test_table_every_width(void **state)
{
    (void)state;
    for (size_t columns = 26; columns < 80; columns++) {
        hg_view *v = hg_view_new(columns, false);
        models(v);
        for (const char *line = hg_view_text(v); *line;) {
            size_t len = strcspn(line, "\n");
            assert_true(hg_utf8_columns((hg_str){line, len}) <= columns);
            assert_true(len == 0 || line[len - 1] != ' ');
            line += len + 1;
        }
        hg_view_free(v);
    }
}

static void test_table_wide_characters(void **state)
{
    (void)state;
    hg_view *v = hg_view_new(24, false);
    hg_view_table(v, "~NAME|>N");
    hg_view_cell(v, HG_PLAIN, "%s", "日本語");
    hg_view_cell(v, HG_PLAIN, "%d", 1);
    hg_view_cell(v, HG_PLAIN, "%s", "日本語日本語日本語日本語日本語");
    hg_view_cell(v, HG_PLAIN, "%d", 22);
    hg_view_cell(v, HG_PLAIN, "%s", "cafe\xcc\x81");
    hg_view_cell(v, HG_PLAIN, "%d", 3);
    hg_view_table_end(v);
    /* 20 columns for the name: nine characters of two and the mark. */
    assert_string_equal(hg_view_text(v), "NAME                   N\n"
                                         "日本語                 1\n"
                                         "日本語日本語日本語…   22\n"
                                         "cafe\xcc\x81                   3\n");
    hg_view_free(v);
}

static void test_hostile(void **state)
{
    (void)state;
    hg_view *v = hg_view_new(0, false);
    hg_view_line(v, HG_PLAIN, "a %s", "\033[31mred\nline\t\x7f");
    hg_view_field(v, "na\nme", "\xff\xc2\x9b");
    hg_view_table(v, "A");
    hg_view_cell(v, HG_PLAIN, "%s", "x\ry \xe2\x80\xae");
    hg_view_table_end(v);
    assert_string_equal(hg_view_text(v), "a \\x1b[31mred\\x0aline\\x09\\x7f\n"
                                         "  na\\x0ame  \\xff\\x9b\n"
                                         "A\n"
                                         "x\\x0dy \\u202e\n");
    hg_view_free(v);
}

static void page(hg_view *v)
{
    hg_view_line(v, HG_BOLD, "%s", "title");
    hg_view_line(v, HG_GOOD, "  %s", "fine");
    hg_view_field(v, "k", "v");
    models(v);
}

static void test_colour(void **state)
{
    (void)state;
    hg_view *v = hg_view_new(80, false);
    page(v);
    assert_null(strchr(hg_view_text(v), '\033'));
    hg_view *c = hg_view_new(80, true);
    page(c);
    assert_non_null(strstr(hg_view_text(c), "\033[1mtitle\033[0m\n"));
    assert_non_null(strstr(hg_view_text(c), "  \033[32mfine\033[0m\n"));
    /* Without its escapes a coloured page is the plain page. */
    hg_buf bare;
    hg_buf_init(&bare, HG_MIB);
    for (const char *p = hg_view_text(c); *p; p++) {
        if (*p == '\033') p += strcspn(p, "m");
        else hg_buf_putc(&bare, *p);
    }
    assert_string_equal(hg_buf_text(&bare), hg_view_text(v));
    hg_buf_deinit(&bare);
    hg_view_free(c);
    hg_view_free(v);
}

static void test_fields(void **state)
{
    (void)state;
    hg_view *v = hg_view_new(30, false);
    hg_view_field(v, "format", "gguf");
    hg_view_fieldf(v, "context length", "%d", 2048);
    hg_view_field(v, "license", NULL);
    hg_view_line(v, HG_PLAIN, "%s", "");
    hg_view_field(v, "a", "one two three four five six seven");
    assert_string_equal(hg_view_text(v), "  format          gguf\n"
                                         "  context length  2048\n"
                                         "  license         -\n"
                                         "\n"
                                         "  a  one two three four five\n"
                                         "     six seven\n");
    hg_view_free(v);
}

static void test_lines_wrap(void **state)
{
    (void)state;
    hg_view *v = hg_view_new(20, false);
    hg_view_line(v, HG_PLAIN, "    %s", "one two three four five");
    hg_view_line(v, HG_PLAIN, "%s", "averyveryverylongwordthatisnotbroken x");
    hg_view_line(v, HG_PLAIN, "%s", "a  b   c");
    assert_string_equal(hg_view_text(v), "    one two three\n"
                                         "    four five\n"
                                         "averyveryverylongwordthatisnotbroken\n"
                                         "x\n"
                                         "a  b   c\n");
    hg_view_free(v);
}

static void test_ascii(void **state)
{
    (void)state;
    hg_view *v = hg_view_new(29, false);
    hg_view_set_ascii(v, true);
    hg_view_line(v, HG_GOOD, "%s done … é", "✓");
    hg_view_table(v, "|~NAME|X");
    hg_view_cell(v, HG_BAD, "%s", "✗");
    hg_view_cell(v, HG_PLAIN, "%s", "a-name-that-is-too-long-here");
    hg_view_cell(v, HG_PLAIN, "%s", "1");
    hg_view_table_end(v);
    assert_string_equal(hg_view_text(v), "ok done ... \xc3\xa9\n"
                                         "      NAME                  X\n"
                                         "FAIL  a-name-that-is-too-~  1\n");
    hg_view_free(v);
}

static void test_marks_in_blocks(void **state)
{
    (void)state;
    hg_view *v = hg_view_new(16, false);
    hg_view_table(v, "|~CHECK|DETAIL");
    hg_view_cell(v, HG_GOOD, "%s", "✓");
    hg_view_cell(v, HG_PLAIN, "%s", "structure");
    hg_view_cell(v, HG_PLAIN, "%s", "two words more words");
    hg_view_table_end(v);
    assert_string_equal(hg_view_text(v), "✓ structure\n"
                                         "  DETAIL  two\n"
                                         "          words\n"
                                         "          more\n"
                                         "          words\n");
    hg_view_free(v);
}

/* Columns that may be left out go from the right, before a name becomes hard to read. */
static void test_optional_columns(void **state)
{
    (void)state;
    const char *pages[] = {"NAME        SIZE  FORMAT  ARCHITECTURE\n"
                           "org/name  3.2 MB  gguf    llama\n",
                           "NAME        SIZE  FORMAT\n"
                           "org/name  3.2 MB  gguf\n",
                           "NAME        SIZE\n"
                           "org/name  3.2 MB\n"};
    const size_t widths[] = {38, 37, 23};
    for (size_t i = 0; i < HG_LEN(pages); i++) {
        hg_view *v = hg_view_new(widths[i], false);
        hg_view_table(v, "~NAME|>SIZE|-FORMAT|-ARCHITECTURE");
        hg_view_cell(v, HG_PLAIN, "%s", "org/name");
        hg_view_cell(v, HG_PLAIN, "%s", "3.2 MB");
        hg_view_cell(v, HG_PLAIN, "%s", "gguf");
        hg_view_cell(v, HG_PLAIN, "%s", "llama");
        hg_view_table_end(v);
        assert_string_equal(hg_view_text(v), pages[i]);
        hg_view_free(v);
    }
}

static void test_column_that_wraps(void **state)
{
    (void)state;
    hg_view *v = hg_view_new(32, false);
    hg_view_table(v, "|CHECK|=DETAIL");
    hg_view_cell(v, HG_GOOD, "%s", "✓");
    hg_view_cell(v, HG_PLAIN, "%s", "cache");
    hg_view_cell(v, HG_PLAIN, "%s", "a detail that does not fit one line");
    hg_view_cell(v, HG_BAD, "%s", "✗");
    hg_view_cell(v, HG_PLAIN, "%s", "engine");
    hg_view_cell(v, HG_PLAIN, "%s", "");
    hg_view_table_end(v);
    hg_view_line(v, HG_PLAIN, "%s", "→ advice of more than one line, too");
    assert_string_equal(hg_view_text(v), "   CHECK   DETAIL\n"
                                         "✓  cache   a detail that does\n"
                                         "           not fit one line\n"
                                         "✗  engine\n"
                                         "→ advice of more than one line,\n"
                                         "  too\n");
    hg_view_free(v);
}

static void test_short_row_and_no_headings(void **state)
{
    (void)state;
    hg_view *v = hg_view_new(0, false);
    hg_view_table(v, "|>");
    hg_view_cell(v, HG_PLAIN, "%s", "a");
    hg_view_cell(v, HG_PLAIN, "%s", "100");
    hg_view_cell(v, HG_PLAIN, "%s", "bbb");
    hg_view_table_end(v);
    hg_view_table_end(v); /* nothing is open: nothing happens */
    assert_string_equal(hg_view_text(v), "a    100\nbbb\n");
    hangar_err err = {0};
    assert_int_equal(hg_view_check(v, &err), HANGAR_OK);
    hg_view_free(v);
    hg_view_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_free),
        cmocka_unit_test(test_table_cut),
        cmocka_unit_test(test_table_blocks),
        cmocka_unit_test(test_table_every_width),
        cmocka_unit_test(test_table_wide_characters),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_colour),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_lines_wrap),
        cmocka_unit_test(test_ascii),
        cmocka_unit_test(test_marks_in_blocks),
        cmocka_unit_test(test_optional_columns),
        cmocka_unit_test(test_column_that_wraps),
        cmocka_unit_test(test_short_row_and_no_headings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
