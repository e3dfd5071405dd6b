/* SPDX-License-Identifier: Apache-2.0 */
/* GGUF headers: what is read of good files, and that every way to be wrong is a clean error. */
#include "base/buf.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "format/gguf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- a writer of good and bad files ---- */

static void put(hg_buf *b, uint64_t v, unsigned n)
{
    for (unsigned i = 0; i < n; i++) hg_buf_putc(b, (char)(v >> (8 * i)));
}

static void put_text(hg_buf *b, const char *text)
{
    put(b, strlen(text), 8);
    hg_buf_puts(b, text);
}

static void put_header(hg_buf *b, uint64_t tensors, uint64_t kvs)
{
    hg_buf_puts(b, "GGUF");
    put(b, 3, 4);
    put(b, tensors, 8);
    put(b, kvs, 8);
}

static void put_kv_text(hg_buf *b, const char *key, const char *value)
{
    put_text(b, key);
    put(b, HG_GGUF_STRING, 4);
    put_text(b, value);
}

static void put_kv_number(hg_buf *b, const char *key, hg_gguf_type type, uint64_t value, unsigned n)
{
    put_text(b, key);
    put(b, type, 4);
    put(b, value, n);
}

static void put_tensor(hg_buf *b, const char *name, uint64_t d0, uint64_t d1, uint32_t type, uint64_t offset)
{
    put_text(b, name);
    put(b, 2, 4);
    put(b, d0, 8);
    put(b, d1, 8);
    put(b, type, 4);
    put(b, offset, 8);
}

/* A whole small model: three keys, an array of texts, two tensors. */
static void put_good(hg_buf *b)
{
    hg_buf_init(b, HG_MIB);
    put_header(b, 2, 4);
    put_kv_text(b, "general.architecture", "llama");
    put_kv_number(b, "llama.context_length", HG_GGUF_U32, 4096, 4);
    put_kv_number(b, "some.float", HG_GGUF_F32, 0x3fc00000, 4);
    put_text(b, "tokens");
    put(b, HG_GGUF_ARRAY, 4);
    put(b, HG_GGUF_STRING, 4);
    put(b, 2, 8);
    put_text(b, "a");
    put_text(b, "bc");
    put_tensor(b, "one", 32, 2, 8, 0); /* Q8_0: 68 bytes */
    put_tensor(b, "two", 4, 1, 0, 96); /* F32: 16 bytes  */
    while (b->len % 32) hg_buf_putc(b, 0);
    for (int i = 0; i < 112; i++) hg_buf_putc(b, 1);
    assert_int_equal(b->state, HANGAR_OK);
}

static hangar_code parse(const hg_buf *b, hg_gguf *g, hangar_err *err)
{
    /* exact copy, so that a read behind the end is seen by the sanitizer */
    uint8_t *copy = hg_calloc(b->len, 1);
    assert_non_null(copy);
    if (b->len) memcpy(copy, b->data, b->len);
    hangar_code code = hg_gguf_parse(copy, b->len, g, err);
    if (code == HANGAR_OK) hg_gguf_deinit(g); /* its views must not outlive the copy */
    free(copy);
    return code;
}

/* Begins a file with nothing but one bad thing and wants it refused with a word. */
static void refuse(hg_buf *b, hangar_code code, const char *word)
{
    hg_gguf g;
    hangar_err err = {0};
    hangar_code got = parse(b, &g, &err);
    if (got != code || !strstr(err.msg, word))
        fail_msg("wanted %d and \"%s\", got %d: %s", code, word, got, err.msg);
    hg_buf_deinit(b);
}

/* ---- tests ---- */

static void test_a_good_file(void **state)
{
    (void)state;
    hg_buf b;
    put_good(&b);
    hg_gguf g;
    hangar_err err = {0};
    assert_int_equal(hg_gguf_parse((const uint8_t *)b.data, b.len, &g, &err), HANGAR_OK);
    assert_int_equal(g.version, 3);
    assert_int_equal(g.alignment, 32);
    assert_int_equal(g.kv_count, 4);
    assert_int_equal(g.tensor_count, 2);
    assert_int_equal(g.parameters, 68);
    hg_str arch;
    uint64_t n = 0;
    assert_true(hg_gguf_text(&g, "general.architecture", &arch) && hg_str_eq(arch, HG_STR("llama")));
    assert_true(hg_gguf_arch_u64(&g, "context_length", &n));
    assert_int_equal(n, 4096);
    assert_false(hg_gguf_u64(&g, "general.architecture", &n));
    assert_false(hg_gguf_u64(&g, "nothing", &n));
    const hg_gguf_kv *kv = hg_gguf_get(&g, "some.float");
    assert_true(kv && kv->v.f64 == 1.5);
    kv = hg_gguf_get(&g, "tokens");
    assert_true(kv && kv->v.array.count == 2 && kv->v.array.bytes.len == 19);
    assert_int_equal(g.tensors[0].bytes, 68);
    assert_int_equal(g.tensors[1].offset - g.tensors[0].offset, 96);
    assert_string_equal(hg_gguf_dtype(&g), "Q8_0");
    hg_gguf_deinit(&g);
    hg_buf_deinit(&b);
}

static void test_the_shipped_models(void **state)
{
    (void)state;
    char *path = hg_format("%s/models/hangar-labs/tiny-chat-gguf/tiny-chat-F16.gguf", getenv("HANGAR_TOP"));
    hg_map map;
    hg_gguf g;
    hangar_err err = {0};
    uint64_t n = 0;
    assert_int_equal(hg_map_open(path, &map, &err), HANGAR_OK);
    if (hg_gguf_parse(map.data, map.len, &g, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    assert_true(hg_gguf_arch_u64(&g, "context_length", &n) && n > 0);
    assert_string_equal(hg_gguf_dtype(&g), "F16");
    assert_true(g.parameters > 500000 && g.parameters < 1000000);
    hg_gguf_deinit(&g);
    hg_map_close(&map);
    free(path);
}

/* Cut at every byte: an error each time, never a crash. */
static void test_every_truncation(void **state)
{
    (void)state;
    hg_buf b;
    put_good(&b);
    size_t whole = b.len;
    for (size_t len = 0; len < whole; len++) {
        hg_gguf g;
        hangar_err err = {0};
        b.len = len;
        if (parse(&b, &g, &err) == HANGAR_OK) fail_msg("%zu of %zu bytes were taken", len, whole);
        assert_true(err.msg[0]);
    }
    hg_buf_deinit(&b);
}

static void test_counts(void **state)
{
    (void)state;
    static const uint64_t counts[] = {1ull << 31, 1ull << 32,          1ull << 63,
                                      UINT64_MAX, UINT64_MAX / 24 + 1, 1000};
    for (size_t i = 0; i < HG_LEN(counts); i++) {
        for (int which = 0; which < 2; which++) {
            hg_buf b;
            hg_gguf g;
            hangar_err err = {0};
            hg_buf_init(&b, HG_MIB);
            put_header(&b, which ? counts[i] : 0, which ? 0 : counts[i]);
            assert_int_not_equal(parse(&b, &g, &err), HANGAR_OK);
            hg_buf_deinit(&b);
        }
    }
}

static void test_magic_and_version(void **state)
{
    (void)state;
    hg_buf b;
    hg_buf_init(&b, HG_MIB);
    hg_buf_puts(&b, "lmgg1234567890123456789012345");
    refuse(&b, HANGAR_E_UNSUPPORTED, "old ggml");
    hg_buf_init(&b, HG_MIB);
    hg_buf_puts(&b, "GGUF");
    put(&b, 99, 4);
    refuse(&b, HANGAR_E_UNSUPPORTED, "version 99");
    hg_buf_init(&b, HG_MIB);
    hg_buf_puts(&b, "GGUF");
    put(&b, 0x03000000, 4);
    refuse(&b, HANGAR_E_UNSUPPORTED, "big-endian");
    hg_buf_init(&b, HG_MIB);
    hg_buf_puts(&b, "PK\x03\x04");
    refuse(&b, HANGAR_E_INVALID, "does not begin");
}

static void test_lengths(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {100, 1ull << 31, UINT32_MAX, 1ull << 63, UINT64_MAX};
    for (size_t i = 0; i < HG_LEN(lengths); i++) {
        hg_buf b;
        hg_buf_init(&b, HG_MIB);
        put_header(&b, 0, 1);
        put(&b, lengths[i], 8);
        hg_buf_puts(&b, "key with some bytes");
        refuse(&b, HANGAR_E_INVALID, "behind the end");
        hg_buf_init(&b, HG_MIB);
        put_header(&b, 0, 1);
        put_text(&b, "a");
        put(&b, HG_GGUF_ARRAY, 4);
        put(&b, i % 2 ? HG_GGUF_STRING : HG_GGUF_BOOL, 4);
        put(&b, lengths[i], 8);
        put(&b, 0, 8);
        refuse(&b, HANGAR_E_INVALID, "behind the end");
    }
}

static void test_nested_arrays(void **state)
{
    (void)state;
    hg_buf b;
    hg_buf_init(&b, HG_MIB);
    put_header(&b, 0, 1);
    put_text(&b, "deep");
    put(&b, HG_GGUF_ARRAY, 4);
    for (int i = 0; i < 1000; i++) {
        put(&b, HG_GGUF_ARRAY, 4);
        put(&b, 1, 8);
    }
    refuse(&b, HANGAR_E_LIMIT, "nested");
}

static void test_twice(void **state)
{
    (void)state;
    hg_buf b;
    hg_buf_init(&b, HG_MIB);
    put_header(&b, 0, 2);
    put_kv_text(&b, "same", "a");
    put_kv_text(&b, "same", "b");
    refuse(&b, HANGAR_E_INVALID, "twice");
    hg_buf_init(&b, HG_MIB);
    put_header(&b, 2, 0);
    put_tensor(&b, "same", 4, 1, 0, 0);
    put_tensor(&b, "same", 4, 1, 0, 32);
    for (int i = 0; i < 128; i++) hg_buf_putc(&b, 0);
    refuse(&b, HANGAR_E_INVALID, "twice");
}

static void test_alignment(void **state)
{
    (void)state;
    static const uint64_t bad[] = {0, 3, 1ull << 31, 131072};
    for (size_t i = 0; i < HG_LEN(bad); i++) {
        hg_buf b;
        hg_buf_init(&b, HG_MIB);
        put_header(&b, 0, 1);
        put_kv_number(&b, "general.alignment", HG_GGUF_U32, bad[i], 4);
        refuse(&b, HANGAR_E_INVALID, "power of two");
    }
    hg_buf b;
    hg_buf_init(&b, HG_MIB);
    put_header(&b, 0, 1);
    put_kv_text(&b, "general.alignment", "32");
    refuse(&b, HANGAR_E_INVALID, "power of two");
}

/* Shapes whose product wraps, is empty, breaks blocks; types and ranks that there are not; places outside. */
static void test_tensors(void **state)
{
    (void)state;
    static const struct {
        uint64_t d0, d1;
        uint32_t type;
        uint64_t offset;
        const char *word;
    } cases[] = {
        {1ull << 32, 1ull << 32, 0, 0, "too large"},
        {1ull << 62, 4, 0, 0, "too large"},
        {0, 4, 0, 0, "empty"},
        {4, UINT64_MAX, 0, 0, "too large"},
        {33, 1, 8, 0, "whole blocks"},
        {4, 1, 999, 0, "unknown type"},
        {4, 1, 4, 0, "unknown type"},
        {4, 1, 0, 7, "multiple of 32"},
        {4, 1, 0, 1ull << 62, "behind"},
        {1 << 20, 1, 0, 0, "behind the file's end"},
        {4, 1, 0, 0xffffffffffffffe0ull, ""},
    };
    for (size_t i = 0; i < HG_LEN(cases); i++) {
        hg_buf b;
        hg_buf_init(&b, HG_MIB);
        put_header(&b, 1, 0);
        put_tensor(&b, "t", cases[i].d0, cases[i].d1, cases[i].type, cases[i].offset);
        for (int k = 0; k < 256; k++) hg_buf_putc(&b, 0);
        refuse(&b, HANGAR_E_INVALID, cases[i].word);
    }
    hg_buf b;
    hg_buf_init(&b, HG_MIB);
    put_header(&b, 2, 0);
    put_tensor(&b, "a", 64, 1, 0, 0);
    put_tensor(&b, "b", 4, 1, 0, 32);
    for (int k = 0; k < 512; k++) hg_buf_putc(&b, 0);
    refuse(&b, HANGAR_E_INVALID, "lies on");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_good_file),       cmocka_unit_test(test_the_shipped_models),
        cmocka_unit_test(test_every_truncation),  cmocka_unit_test(test_counts),
        cmocka_unit_test(test_magic_and_version), cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_nested_arrays),     cmocka_unit_test(test_twice),
        cmocka_unit_test(test_alignment),         cmocka_unit_test(test_tensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
