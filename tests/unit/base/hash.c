/* SPDX-License-Identifier: Apache-2.0 */
/* Digests against published values: FIPS 180 examples and git's own ids. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"

static void expect(hg_hash_kind kind, const char *bytes, size_t len, const char *want)
{
    char hex[65];
    for (size_t step = 1; step <= len + 1; step = step * 3 + 1) {
        hg_hash *h = hg_hash_new(kind, len);
        for (size_t at = 0; at < len; at += step)
            hg_hash_add(h, bytes + at, len - at < step ? len - at : step);
        assert_int_equal(hg_hash_finish(h, hex, NULL), HANGAR_OK);
        assert_string_equal(hex, want);
        assert_int_equal(hg_hash_finish(h, hex, NULL), HANGAR_E_INTERNAL);
        hg_hash_free(h);
    }
}

static void test_vectors(void **state)
{
    (void)state;
    expect(HG_HASH_SHA256, "", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect(HG_HASH_SHA256, "abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect(HG_HASH_SHA256, "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
           "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    expect(HG_HASH_SHA1, "", 0, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    expect(HG_HASH_SHA1, "abc", 3, "a9993e364706816aba3e25717850c26c9cd0d89d");
    expect(HG_HASH_GIT_SHA1, "", 0, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    expect(HG_HASH_GIT_SHA1, "hello\n", 6, "ce013625030ba8dba906f756967f9e9ca394464a");
    expect(HG_HASH_GIT_SHA1, "test content\n", 13, "d670460b4b4aece5915caf5c68d12f560a9fe3e4");
    char *million = malloc(1000000);
    memset(million, 'a', 1000000);
    expect(HG_HASH_SHA256, million, 1000000,
           "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(million);
    hg_hash_free(NULL);
    HG_AUTO(hg_hash_auto_free) hg_hash *left = hg_hash_new(HG_HASH_SHA256, 0);
    assert_non_null(left);
}

#define HEX40 "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
#define HEX64 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void test_oid(void **state)
{
    (void)state;
    hg_oid a, b;
    assert_int_equal(hg_oid_parse(HG_STR(HEX40), &a, NULL), HANGAR_OK);
    assert_int_equal(a.kind, HG_HASH_GIT_SHA1);
    assert_string_equal(a.hex, HEX40);
    assert_int_equal(hg_oid_parse(HG_STR(HEX64), &b, NULL), HANGAR_OK);
    assert_int_equal(b.kind, HG_HASH_SHA256);
    assert_true(hg_oid_eq(&a, &a));
    assert_false(hg_oid_eq(&a, &b));
    static const char *const bad[] = {
        "",
        "abc",
        HEX40 "0",
        HEX64 "0",
        "E69DE29BB2D1D6434B8B29AE775AD8C2E48C5391",
        "sha256:" HEX64,
        "../../../../../../../../../../../../etc/x",
        "e69de29bb2d1d6434b8b29ae775ad8c2e48c539\n",
        " 69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
        "****************************************************************",
        "\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1"
        "\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1"};
    for (size_t i = 0; i < HG_LEN(bad); i++) {
        hangar_err err = {0};
        assert_int_equal(hg_oid_parse(hg_str_of(bad[i]), &a, &err), HANGAR_E_INVALID);
        assert_true(err.msg[0] && !strchr(err.msg, '\n'));
    }
    assert_int_equal(hg_oid_parse((hg_str){"e69de29bb2d1d6434b8b\0e775ad8c2e48c5391000", 40}, &a, NULL),
                     HANGAR_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_oid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
