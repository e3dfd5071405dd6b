/* SPDX-License-Identifier: Apache-2.0 */
/* Forms: what is read, what is refused, and that neither size nor shape makes them slow. */
#include "api/form.h"
#include "base/clock.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>
#include <unistd.h>

#define TYPE "multipart/form-data; boundary=B"
/* As long as a boundary may be. */
#define DIGITS \
    "multipart/form-data; boundary=1234567890123456789012345678901234567890123456789012345678901234567890"

static hg_form *open_form(const char *type, uint64_t max)
{
    hg_form *f = NULL;
    hangar_err err = {0};
    if (hg_form_new(hg_str_of(type), max, &f, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    return f;
}

/* Adds it in pieces of `step` bytes, and ends it. */
static hangar_code feed(hg_form *f, hg_str body, size_t step, hangar_err *err)
{
    for (size_t i = 0; i < body.len; i += step) {
        size_t n = body.len - i < step ? body.len - i : step;
        hangar_code code = hg_form_add(f, (hg_str){body.ptr + i, n}, err);
        if (code != HANGAR_OK) return code;
    }
    return hg_form_finish(f, err);
}

static void expect_file(hg_form *f, const char *name, hg_str content)
{
    char bytes[4096];
    const char *got;
    int fd = hg_form_take_file(f, &got);
    assert_true(fd >= 0);
    assert_string_equal(got, name);
    assert_int_equal(read(fd, bytes, sizeof bytes), (ssize_t)content.len);
    assert_memory_equal(bytes, content.ptr, content.len);
    close(fd);
    assert_int_equal(hg_form_take_file(f, NULL), -1);
}

static const char whole[] =
    "--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n"
    "--B\r\ncontent-disposition:form-data;name=file;filename=\"a \\\"b\\\".wav\"\r\n"
    "Content-Type: audio/wav\r\n\r\nRIFF\r\n--\r\r\n--A\r\n\r\n--B\r\n"
    "Content-Disposition: form-data; name=\"g[]\"\r\n\r\nword\r\n"
    "--B\r\nContent-Disposition: form-data; name=\"g[]\"\r\n\r\nsegment\r\n"
    "--B\r\nContent-Disposition: form-data; name=\"empty\"\r\n\r\n\r\n--B--\r\nwhatever";

static void test_a_form_in_any_pieces(void **state)
{
    (void)state;
    for (size_t step = 1; step <= sizeof whole; step++) {
        hangar_err err = {0};
        hg_form *f = open_form(TYPE, 1000);
        if (feed(f, (hg_str){whole, sizeof whole - 1}, step, &err) != HANGAR_OK)
            fail_msg("%zu: %s", step, err.msg);
        assert_string_equal(hg_form_field(f, "model"), "whisper");
        assert_string_equal(hg_form_field(f, "g[]"), "word,segment");
        assert_string_equal(hg_form_field(f, "empty"), "");
        assert_null(hg_form_field(f, "file"));
        assert_null(hg_form_field(f, "nothing"));
        expect_file(f, "a \"b\".wav", HG_STR("RIFF\r\n--\r\r\n--A\r\n"));
        hg_form_free(f);
    }
}

static void test_boundaries(void **state)
{
    (void)state;
    static const char *const good[] = {
        "multipart/form-data; boundary=B",
        "multipart/form-data;boundary=\"B\"",
        "Multipart/Form-Data; charset=utf-8; Boundary=\"a b\"",
        "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW",
        DIGITS,
    };
    static const char *const bad[] = {
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        "multipart/form-data; boundary=\"a ",
        "multipart/form-data; boundary=\"a \"",
        "multipart/form-data; boundary=a\\b",
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; boundary=\"a\r\nb\"",
        "multipart/form-data; boundary=a\xc3\xa9",
        "multipart/form-data; boundary",
        (DIGITS "1"),
        "",
    };
    for (size_t i = 0; i < HG_LEN(good); i++) hg_form_free(open_form(good[i], 1));
    for (size_t i = 0; i < HG_LEN(bad); i++) {
        hg_form *f = NULL;
        hangar_err err = {0};
        assert_int_equal(hg_form_new(hg_str_of(bad[i]), 1, &f, &err), HANGAR_E_USAGE);
        assert_null(f);
        assert_string_not_equal(err.msg, "");
    }
}

#define FILE_PART "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nx\r\n"

static void test_refused_forms(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        hangar_code code;
    } cases[] = {
        {"", HANGAR_E_USAGE},
        {"--B", HANGAR_E_USAGE},
        {"--B--\r\n", HANGAR_E_USAGE},                  /* no file */
        {"\r\n" FILE_PART "--B--\r\n", HANGAR_E_USAGE}, /* something before the first boundary */
        {"--A\r\n", HANGAR_E_USAGE},
        {"--Bx\r\n", HANGAR_E_USAGE},
        {"--B\n", HANGAR_E_USAGE},
        {FILE_PART, HANGAR_E_USAGE}, /* no last boundary */
        {FILE_PART "--B-", HANGAR_E_USAGE},
        {FILE_PART FILE_PART "--B--\r\n", HANGAR_E_USAGE}, /* two files */
        {"--B\r\n\r\nx\r\n--B--", HANGAR_E_USAGE},         /* no header */
        {"--B\r\nContent-Disposition: form-data\r\n\r\nx\r\n--B--", HANGAR_E_USAGE},
        {"--B\r\nContent-Disposition: form-data; name=\"\"\r\n\r\nx\r\n--B--", HANGAR_E_USAGE},
        {"--B\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\nx\r\n--B--", HANGAR_E_USAGE},
        {"--B\r\nContent-Disposition: form-data; name=\"a\r\n\r\nx\r\n--B--", HANGAR_E_USAGE},
        {"--B\r\nContent-Disposition: form-data; name=\"a\"; name=\"b\"\r\n\r\nx\r\n--B--", HANGAR_E_USAGE},
        {"--B\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; "
         "name=\"b\"\r\n\r\nx\r\n--B--",
         HANGAR_E_USAGE},
        {"--B\r\nContent-Disposition: form-data; name=\"a\"\n\nx\r\n--B--", HANGAR_E_USAGE},
        {"--B\r\nnonsense\r\n\r\nx\r\n--B--", HANGAR_E_USAGE},
        {"--B\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: "
         "base64\r\n\r\nx\r\n--B--",
         HANGAR_E_UNSUPPORTED},
        {"--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\xff\r\n--B--", HANGAR_E_USAGE},
        {"--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n"
         "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\ny\r\n" FILE_PART "--B--",
         HANGAR_E_USAGE},
    };
    for (size_t i = 0; i < HG_LEN(cases); i++) {
        for (size_t step = 1; step < 100; step += 49) {
            hangar_err err = {0};
            hg_form *f = open_form(TYPE, 1000);
            hangar_code code = feed(f, hg_str_of(cases[i].body), step, &err);
            if (code != cases[i].code) fail_msg("%zu: %s", i, err.msg);
            assert_string_not_equal(err.msg, "");
            hg_form_free(f);
        }
    }
}

/* Feeds the same piece `times` times after a beginning; the code it ends with. */
static hangar_code flood(const char *type, const char *begin, const char *piece, size_t times,
                         hangar_err *err)
{
    hg_form *f = open_form(type, 100 * HG_MIB);
    hangar_code code = hg_form_add(f, hg_str_of(begin), err);
    for (size_t i = 0; i < times && code == HANGAR_OK; i++) code = hg_form_add(f, hg_str_of(piece), err);
    if (code == HANGAR_OK) code = hg_form_finish(f, err);
    hg_form_free(f);
    return code;
}

static void test_limits(void **state)
{
    (void)state;
    hangar_err err = {0};
    char many[1025];
    memset(many, 'n', sizeof many - 1);
    many[sizeof many - 1] = '\0';
    assert_int_equal(flood(TYPE, "--B\r\nX: ", many, 1000, &err), HANGAR_E_LIMIT); /* one endless line */
    assert_int_equal(flood(TYPE, "--B\r\nContent-Disposition: form-data; name=\"f\"; filename*=\"", many,
                           1000, &err),
                     HANGAR_E_LIMIT);
    assert_int_equal(flood(TYPE, "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n", many, 1000,
                           &err),
                     HANGAR_E_LIMIT); /* a field */
    assert_non_null(strstr(err.msg, "65536"));
    assert_int_equal(flood(TYPE, "--B", "\r\nContent-Disposition: form-data; name=\"a[]\"\r\n\r\nx\r\n--B",
                           1000000, &err),
                     HANGAR_E_LIMIT); /* a million parts */
    hg_form *f = open_form(TYPE, 4);
    assert_int_equal(
        hg_form_add(
            f, HG_STR("--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nabcde"),
            &err),
        HANGAR_E_LIMIT);
    hg_form_free(f);
}

/* Ten times as much of what looks like boundaries takes about ten times as long. */
static void test_time_is_linear(void **state)
{
    (void)state;
    const char *dashes =
        "multipart/form-data; boundary=----------------------------------------------------------x";
    const char *begin = "------------------------------------------------------------x\r\n"
                        "Content-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n";
    char block[8193];
    static const char *const fills[] = {"-", "\r", "\r\n", "\r\n--", "\r\n------------------------"};
    for (size_t k = 0; k < HG_LEN(fills); k++) {
        hangar_err err = {0};
        double took[2] = {1e9, 1e9};
        for (size_t i = 0; i < sizeof block - 1; i++) block[i] = fills[k][i % strlen(fills[k])];
        block[sizeof block - 1] = '\0';
        for (int round = 0; round < 40 && (round < 6 || took[1] > 40 * took[0] + 0.5);
             round++) { /* as other work disturbs */
            double at = hg_now();
            assert_int_equal(flood(dashes, begin, block, round % 2 ? 1280 : 128, &err), HANGAR_E_USAGE);
            double seconds = hg_now() - at;
            if (seconds < took[round % 2]) took[round % 2] = seconds;
        }
        if (took[1] > 40 * took[0] + 0.5) fail_msg("%zu: 1 MiB %.3f s, 10 MiB %.3f s", k, took[0], took[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_form_in_any_pieces), cmocka_unit_test(test_boundaries),
        cmocka_unit_test(test_refused_forms),        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_time_is_linear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
