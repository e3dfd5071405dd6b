/* SPDX-License-Identifier: Apache-2.0 */
/* Errors, buffers, arrays. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

/* Under AddressSanitizer too a request that is too large shall return NULL. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void test_codes(void **state)
{
    (void)state;
    assert_int_equal(HANGAR_OK, 0);
    assert_string_equal(hangar_code_name(HANGAR_OK), "OK");
    assert_string_equal(hangar_code_text(HANGAR_E_NOT_FOUND), "not found");
    assert_int_equal(hangar_code_exit(HANGAR_E_NOT_FOUND), 3);
    assert_int_equal(hangar_code_exit(HANGAR_E_CANCELLED), 130);
    assert_int_equal(hangar_code_http(HANGAR_E_RATE_LIMITED), 429);
    assert_string_equal(hangar_code_name((hangar_code)9999), "INTERNAL");
    for (int i = 0; i < HANGAR_E_COUNT; i++) {
        assert_true(hangar_code_text((hangar_code)i)[0] != '\0');
        assert_true(hangar_code_http((hangar_code)i) >= 200 && hangar_code_http((hangar_code)i) < 600);
    }
}

static void test_words(void **state)
{
    (void)state;
    hangar_err err = {0};
    assert_int_equal(hg_fail(&err, HANGAR_E_NOT_FOUND, "no blob %d", 7), HANGAR_E_NOT_FOUND);
    assert_string_equal(err.msg, "no blob 7");
    assert_int_equal(hg_wrap(&err, err.code, "pulling %s", "a/b"), HANGAR_E_NOT_FOUND);
    assert_string_equal(err.msg, "pulling a/b: no blob 7");
    /* The message itself may be an argument. */
    hg_fail(&err, HANGAR_E_IO, "again: %s", err.msg);
    assert_string_equal(err.msg, "again: pulling a/b: no blob 7");
    assert_int_equal(hg_wrap(&err, HANGAR_OK, "never"), HANGAR_OK);
    assert_int_equal(err.code, HANGAR_E_IO);

    assert_int_equal(hg_fail_errno(&err, ENOENT, "opening %s", "x"), HANGAR_E_NOT_FOUND);
    assert_string_equal(err.msg, "opening x: No such file or directory");
    assert_int_equal(err.sys, ENOENT);
    hg_wrap(&err, err.code, "c");
    assert_int_equal(err.sys, ENOENT);
    assert_int_equal(hg_fail_errno(NULL, ENOSPC, "x"), HANGAR_E_NO_SPACE);
    assert_int_equal(hg_fail_errno(NULL, EDQUOT, "x"), HANGAR_E_NO_SPACE);
    assert_int_equal(hg_fail_errno(NULL, EACCES, "x"), HANGAR_E_DENIED);
    assert_int_equal(hg_fail_errno(NULL, EROFS, "x"), HANGAR_E_DENIED);
    assert_int_equal(hg_fail_errno(NULL, ENOMEM, "x"), HANGAR_E_NO_MEMORY);
    assert_int_equal(hg_fail_errno(NULL, EIO, "x"), HANGAR_E_IO);
    assert_int_equal(hg_fail(NULL, HANGAR_E_LIMIT, "x"), HANGAR_E_LIMIT);
    assert_int_equal(hg_fail_memory(&err), HANGAR_E_NO_MEMORY);
    assert_string_equal(err.msg, "out of memory");
}

static void test_hostile_words(void **state)
{
    (void)state;
    hangar_err err = {0};
    hg_fail(&err, HANGAR_E_INVALID, "name %s", "x\nerror: forged\x1b[2J\xff");
    assert_string_equal(err.msg, "name x\\x0aerror: forged\\x1b[2J\\xff");
    char big[4096];
    memset(big, 'e', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    hg_fail(&err, HANGAR_E_INVALID, "%s", big);
    assert_int_equal(strlen(err.msg), HANGAR_ERR_MAX - 1);
    assert_string_equal(err.msg + HANGAR_ERR_MAX - 4, "...");
    for (size_t i = 0; i + 2 < sizeof big; i += 2) memcpy(big + i, "\xc3\xa9", 2);
    for (int shift = 0; shift < 3; shift++) {
        hg_fail(&err, HANGAR_E_INVALID, "%.*s%s", shift, "ab", big);
        assert_true(hg_utf8_valid(hg_str_of(err.msg)));
        hg_wrap(&err, err.code, "context");
        assert_true(strlen(err.msg) < HANGAR_ERR_MAX && hg_utf8_valid(hg_str_of(err.msg)));
    }
    hg_fail_errno(&err, EIO, "%s", big);
    assert_true(strlen(err.msg) < HANGAR_ERR_MAX);
}

static void test_buf(void **state)
{
    (void)state;
    hg_buf b;
    hangar_err err = {0};
    hg_buf_init(&b, 1000);
    assert_string_equal(hg_buf_text(&b), "");
    hg_buf_puts(&b, "ab");
    hg_buf_putc(&b, 'c');
    hg_buf_str(&b, HG_STR("de"));
    hg_buf_printf(&b, "%d-%s", 12, "x");
    assert_string_equal(hg_buf_text(&b), "abcde12-x");
    hg_buf_drop(&b, 5);
    assert_string_equal(hg_buf_text(&b), "12-x");
    char *room = hg_buf_reserve(&b, 10);
    memcpy(room, "yz", 2);
    b.len += 2;
    assert_string_equal(hg_buf_text(&b), "12-xyz");
    hg_buf_printf(&b, "%500d", 1);
    assert_int_equal(b.len, 506);
    assert_int_equal(hg_buf_check(&b, &err), HANGAR_OK);
    hg_buf_drop(&b, 100000);
    assert_int_equal(b.len, 0);
    char *text = hg_buf_take(&b);
    assert_string_equal(text, "");
    free(text);
    text = hg_buf_take(&b);
    assert_string_equal(text, "");
    free(text);
    hg_buf_drop(&b, 1);
    hg_buf_deinit(&b);
}

static void test_buf_ceiling(void **state)
{
    (void)state;
    hg_buf b;
    hangar_err err = {0};
    hg_buf_init(&b, 5);
    hg_buf_puts(&b, "12345");
    assert_int_equal(hg_buf_check(&b, &err), HANGAR_OK);
    hg_buf_putc(&b, '6');
    hg_buf_putc(&b, '7');
    assert_string_equal(hg_buf_text(&b), "12345");
    assert_int_equal(hg_buf_check(&b, &err), HANGAR_E_LIMIT);
    assert_non_null(strstr(err.msg, "limit of 5 bytes"));
    assert_null(hg_buf_reserve(&b, 1));
    assert_null(hg_buf_take(&b));
    hg_buf_puts(&b, "ok");
    char *text = hg_buf_take(&b);
    assert_string_equal(text, "ok");
    free(text);
    hg_buf_printf(&b, "%d", 123456);
    assert_int_equal(b.state, HANGAR_E_LIMIT);
    hg_buf_reset(&b);
    hg_buf_puts(&b, "x");
    assert_int_equal(hg_buf_check(&b, NULL), HANGAR_OK);
    hg_buf_add(&b, "", SIZE_MAX);
    assert_int_equal(b.state, HANGAR_E_LIMIT);
    hg_buf_deinit(&b);

    hg_buf_init(&b, SIZE_MAX);
    assert_null(hg_buf_reserve(&b, (size_t)PTRDIFF_MAX - 2));
    assert_int_equal(hg_buf_check(&b, &err), HANGAR_E_NO_MEMORY);
    hg_buf_deinit(&b);
}

static void test_memory(void **state)
{
    (void)state;
    uint64_t n;
    assert_true(hg_add(UINT64_MAX - 1, 1, &n) && n == UINT64_MAX);
    assert_false(hg_add(UINT64_MAX, 1, &n));
    assert_false(hg_mul((uint64_t)1 << 32, (uint64_t)1 << 32, &n));
    assert_true(hg_mul((uint64_t)1 << 32, ((uint64_t)1 << 32) - 1, &n));
    assert_null(hg_realloc_array(NULL, SIZE_MAX / 2, 3));
    assert_null(hg_realloc_array(NULL, SIZE_MAX, 1));

    int *items = NULL;
    size_t cap = 0;
    for (size_t i = 0; i < 1000; i++) {
        assert_true(hg_grow((void **)&items, &cap, i + 1, sizeof *items));
        items[i] = (int)i;
    }
    for (size_t i = 0; i < 1000; i++) assert_int_equal(items[i], i);
    size_t before = cap;
    assert_false(hg_grow((void **)&items, &cap, SIZE_MAX, sizeof *items));
    assert_int_equal(cap, before);
    free(items);

    char *text = hg_strndup("a\0b", 3);
    assert_memory_equal(text, "a\0b", 4);
    free(text);
    text = hg_format("%s-%d", "x", 3);
    assert_string_equal(text, "x-3");
    free(text);
    HG_AUTO(hg_auto_free) char *owned = hg_strdup("freed at the end");
    assert_non_null(owned);
    int fd = open("/dev/null", O_RDONLY);
    {
        HG_AUTO(hg_auto_close) int held = fd;
        errno = 42;
        (void)held;
    }
    assert_int_equal(errno, 42);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes),         cmocka_unit_test(test_words),
        cmocka_unit_test(test_hostile_words), cmocka_unit_test(test_buf),
        cmocka_unit_test(test_buf_ceiling),   cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
