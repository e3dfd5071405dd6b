/* SPDX-License-Identifier: Apache-2.0 */
/* Headers of safetensors files: what is right is read, what another reader could read otherwise is refused. */
#include "base/fsx.h"
#include "base/mem.h"
#include "format/safetensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

/* A file: length, header, `spaces` spaces, `data` bytes; `size` of them. */
typedef struct bytes {
    uint8_t *data;
    size_t size;
} bytes;

static bytes make(const char *header, size_t header_len, size_t data)
{
    bytes b = {hg_calloc(8 + header_len + data, 1), 8 + header_len + data};
    assert_non_null(b.data);
    for (int i = 0; i < 8; i++) b.data[i] = (uint8_t)((uint64_t)header_len >> 8 * i);
    memcpy(b.data + 8, header, header_len);
    return b;
}

static hangar_code parse(const char *header, size_t data, hg_safetensors **out, hangar_err *err)
{
    bytes b = make(header, strlen(header), data);
    hangar_code code = hg_safetensors_parse(b.data, b.size, b.size, out, err);
    free(b.data);
    return code;
}

static void accept(const char *header, size_t data)
{
    hg_safetensors *st = NULL;
    hangar_err err = {0};
    if (parse(header, data, &st, &err) != HANGAR_OK) fail_msg("%s: %s", header, err.msg);
    hg_safetensors_free(st);
}

/* Refused with these words somewhere in the message. */
static void refuse(const char *header, size_t data, const char *words)
{
    hg_safetensors *st = NULL;
    hangar_err err = {0};
    hangar_code code = parse(header, data, &st, &err);
    if (code != HANGAR_E_INVALID && code != HANGAR_E_LIMIT) fail_msg("%s is accepted", header);
    assert_null(st);
    if (!strstr(err.msg, words)) fail_msg("%s: %s", header, err.msg);
}

static void test_reads(void **state)
{
    (void)state;
    hg_safetensors *st = NULL;
    const char *header = "{\"__metadata__\":{\"format\":\"pt\"},\"b\":{\"dtype\":\"F16\",\"shape\":[3],"
                         "\"data_offsets\":[24,30]},"
                         "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
                         "\"s\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[30,38]},"
                         "\"z\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[30,30]}}  ";
    assert_int_equal(parse(header, 38, &st, NULL), HANGAR_OK);
    assert_int_equal(hg_safetensors_count(st), 4);
    uint64_t start = 8 + strlen(header);
    const hg_tensor *a = hg_safetensors_get(st, "a"), *s = hg_safetensors_get(st, "s"),
                    *z = hg_safetensors_get(st, "z");
    assert_ptr_equal(hg_safetensors_at(st, 0), a);
    assert_int_equal(a->offset, start);
    assert_int_equal(a->bytes, 24);
    assert_int_equal(a->rank, 2);
    assert_int_equal(a->shape[0], 2);
    assert_int_equal(a->shape[1], 3);
    assert_int_equal(a->dtype, HG_DTYPE_F32);
    assert_int_equal(s->rank, 0);
    assert_int_equal(s->elements, 1);
    assert_int_equal(s->offset, start + 30);
    assert_int_equal(z->bytes, 0);
    assert_null(hg_safetensors_get(st, "c"));
    assert_null(hg_safetensors_get(st, "__metadata__"));
    assert_null(hg_safetensors_at(st, 4));
    assert_string_equal(hg_safetensors_metadata(st, "format"), "pt");
    assert_null(hg_safetensors_metadata(st, "other"));
    assert_int_equal(hg_safetensors_parameters(st), 6 + 3 + 1);
    assert_int_equal(hg_safetensors_dtype(st), HG_DTYPE_F32);
    assert_int_equal(hg_safetensors_size(st), start + 38);
    hg_safetensors_free(st);
    accept("{}", 0);
}

static void test_length(void **state)
{
    (void)state;
    hg_safetensors *st = NULL;
    const uint64_t lengths[] = {0,
                                1,
                                3,
                                11,
                                UINT32_MAX,
                                (uint64_t)1 << 31,
                                (uint64_t)1 << 63,
                                UINT64_MAX,
                                HG_SAFETENSORS_HEADER_MAX + 1};
    for (size_t i = 0; i < HG_LEN(lengths); i++) {
        bytes b = make("{}", 2, 0);
        for (int j = 0; j < 8; j++) b.data[j] = (uint8_t)(lengths[i] >> 8 * j);
        if (hg_safetensors_parse(b.data, b.size, b.size, &st, NULL) == HANGAR_OK)
            fail_msg("length %llu", (unsigned long long)lengths[i]);
        free(b.data);
    }
    bytes b = make("{}", 2, 0);
    for (size_t n = 0; n < b.size; n++) {
        uint8_t *cut = hg_calloc(n, 1); /* exactly as long, so that a read behind it is seen */
        memcpy(cut, b.data, n);
        assert_int_not_equal(hg_safetensors_parse(cut, n, n, &st, NULL), HANGAR_OK);
        free(cut);
    }
    free(b.data);
}

static void test_cut_anywhere(void **state)
{
    (void)state;
    const char *header = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}";
    bytes b = make(header, strlen(header), 24);
    for (size_t n = 0; n < b.size; n++) {
        hg_safetensors *st = NULL;
        hangar_err err = {0};
        uint8_t *cut = hg_calloc(n, 1);
        memcpy(cut, b.data, n);
        hangar_code code = hg_safetensors_parse(cut, n, n, &st, &err);
        if (code == HANGAR_OK || !err.msg[0]) fail_msg("cut at %zu is accepted", n);
        free(cut);
    }
    free(b.data);
}

static void test_tiling(void **state)
{
    (void)state;
    refuse("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":"
           "[2],\"data_offsets\":[1,3]}}",
           3, "overlap");
    refuse("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", 2, "hole");
    refuse("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"b\":{\"dtype\":\"U8\",\"shape\":"
           "[1],\"data_offsets\":[2,3]}}",
           3, "hole");
    refuse("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,0]}}", 1, "range");
    refuse("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 23, "behind the last tensor");
    refuse("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 1, "range");
    refuse("{}", 1, "behind the last tensor");
}

static void test_padding(void **state)
{
    (void)state;
    accept("{}      ", 0);
    refuse(" {}", 0, "begin");
    refuse("\xef\xbb\xbf{}", 0, "begin");
    refuse("{}\n", 0, "end");
    refuse("{}\t", 0, "end");
    refuse("[]", 0, "begin");
    refuse("{} {}", 0, "");
    bytes b = make("{}\0", 3, 0);
    hg_safetensors *st = NULL;
    assert_int_not_equal(hg_safetensors_parse(b.data, b.size, b.size, &st, NULL), HANGAR_OK);
    free(b.data);
}

static void test_sizes(void **state)
{
    (void)state;
    static const char *const shapes[] = {"[4294967296,4294967296]",
                                         "[9223372036854775808,2]",
                                         "[-1]",
                                         "[1.0]",
                                         "[1e0]",
                                         "[\"1\"]",
                                         "[null]",
                                         "[true]",
                                         "[18446744073709551616]",
                                         "1",
                                         "null",
                                         "{}",
                                         "[[1]]",
                                         "[4294967296,4294967296,0]",
                                         "[2]"};
    for (size_t i = 0; i < HG_LEN(shapes); i++) {
        char header[256];
        snprintf(header, sizeof header, "{\"a\":{\"dtype\":\"U8\",\"shape\":%s,\"data_offsets\":[0,1]}}",
                 shapes[i]);
        refuse(header, 1, "");
    }
    static const char *const ranges[] = {"[0]",     "[0,1,1]", "[0.0,1]", "[-0,1]",
                                         "[0,1e0]", "\"01\"",  "{}",      "[0,18446744073709551617]"};
    for (size_t i = 0; i < HG_LEN(ranges); i++) {
        char header[256];
        snprintf(header, sizeof header, "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":%s}}",
                 ranges[i]);
        refuse(header, 1, "");
    }
    accept("{\"a\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[0,2]}}", 2);
    refuse("{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,2]}}", 2, "whole bytes");
    accept("{\"a\":{\"dtype\":\"F6_E2M3\",\"shape\":[4],\"data_offsets\":[0,3]}}", 3);
    refuse("{\"a\":{\"dtype\":\"F65\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "F65");
    refuse("{\"a\":{\"dtype\":8,\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "dtype");
    refuse("{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "needs");
    refuse("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":1}}", 1, "needs");
    refuse("{\"a\":1}", 1, "needs");
    char deep[512] = "{\"a\":{\"dtype\":\"U8\",\"shape\":[1";
    for (int i = 0; i < HG_SAFETENSORS_RANK_MAX; i++) strcat(deep, ",1");
    strcat(deep, "],\"data_offsets\":[0,1]}}");
    refuse(deep, 1, "dimensions");
}

static void test_ambiguity(void **state)
{
    (void)state;
    refuse("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"a\":{\"dtype\":\"U8\",\"shape\":"
           "[1],\"data_offsets\":[0,1]}}",
           1, "twice");
    refuse("{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "twice");
    refuse("{\"\\u0061\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"a\":{\"dtype\":\"U8\","
           "\"shape\":[1],\"data_offsets\":[0,1]}}",
           1, "twice");
    refuse("{\"__metadata__\":{},\"__metadata__\":{}}", 0, "twice");
    refuse("{\"\xff\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "");
    refuse("{\"\\ud800\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "");
    refuse("{\"a\\u0000b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "NUL");
    refuse("{\"\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "empty");
    refuse("{\"__metadata__\":{\"a\":1}}", 0, "__metadata__");
    refuse("{\"__metadata__\":{\"a\":{}}}", 0, "__metadata__");
    refuse("{\"__metadata__\":[]}", 0, "__metadata__");
    refuse("{\"__metadata__\":null}", 0, "");
    refuse("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},}", 1, "");
    refuse("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}/**/}", 1, "");
    accept("{\"t\\u00e9st \\\" \\\\\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1);
}

/* A header of many brackets must not cost a stack, and one of many tensors must stay linear in time and memory. */
static void test_abuse(void **state)
{
    (void)state;
    size_t n = 100000;
    hg_buf b;
    hg_buf_init(&b, (size_t)200 << 20);
    hg_buf_puts(&b, "{\"a\":");
    for (size_t i = 0; i < n; i++) hg_buf_putc(&b, '[');
    for (size_t i = 0; i < n; i++) hg_buf_putc(&b, ']');
    hg_buf_putc(&b, '}');
    refuse(hg_buf_text(&b), 0, "");
    hg_buf_reset(&b);
    hg_buf_putc(&b, '{');
    n = 200000;
    for (size_t i = 0; i < n; i++) {
        hg_buf_printf(&b, "%s\"t%zu\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%zu,%zu]}",
                      i ? "," : "", n - i, i, i + 1);
    }
    hg_buf_putc(&b, '}');
    accept(hg_buf_text(&b), n);
    hg_buf_deinit(&b);
    struct rusage use;
    assert_int_equal(getrusage(RUSAGE_SELF, &use), 0);
    assert_true(use.ru_maxrss < 1024 * 1024);
}

static void test_file(void **state)
{
    (void)state;
    hg_safetensors *st = NULL;
    hangar_err err = {0};
    HG_AUTO(hg_auto_free)
    char *path = hg_format("%s/tests/fixtures/arch/bert/model.safetensors", getenv("HANGAR_TOP"));
    assert_int_equal(hg_safetensors_open(path, &st, &err), HANGAR_OK);
    const hg_tensor *t = hg_safetensors_get(st, "embeddings.word_embeddings.weight");
    assert_non_null(t);
    assert_int_equal(t->bytes, 96 * 64 * 4);
    assert_string_equal(hg_dtype_name(t->dtype), "F32");
    hg_safetensors_free(st);
    assert_int_equal(hg_write_file("x.safetensors", "short", 5, 0644, NULL), HANGAR_OK);
    assert_int_equal(hg_safetensors_open("x.safetensors", &st, &err), HANGAR_E_INVALID);
    assert_non_null(strstr(err.msg, "x.safetensors"));
    assert_int_equal(hg_safetensors_open("none.safetensors", &st, &err), HANGAR_E_NOT_FOUND);
    assert_int_not_equal(hg_safetensors_open("/dev/zero", &st, &err), HANGAR_OK);
}

static hangar_code shards(const char *json, hg_shards *out, hangar_err *err)
{
    return hg_shards_parse(hg_str_of(json), out, err);
}

static void test_index(void **state)
{
    (void)state;
    hg_shards s;
    hangar_err err = {0};
    assert_int_equal(shards("{\"metadata\":{\"total_size\":12},\"weight_map\":{\"a\":\"m-2.safetensors\","
                            "\"b\":\"m-1.safetensors\","
                            "\"c\":\"m-2.safetensors\"}}",
                            &s, &err),
                     HANGAR_OK);
    assert_int_equal(s.count, 2);
    assert_string_equal(s.files[0], "m-1.safetensors");
    assert_string_equal(s.files[1], "m-2.safetensors");
    assert_int_equal(s.total_size, 12);
    hg_shards_deinit(&s);
    static const char *const bad[] = {"../other/x.safetensors",
                                      "/etc/x.safetensors",
                                      "a/../x.safetensors",
                                      "",
                                      ".",
                                      "x.bin",
                                      "a\\\\x.safetensors",
                                      "C:x.safetensors",
                                      "x.safetensors/",
                                      "model.safetensors.index.json",
                                      "a//x.safetensors",
                                      "con.safetensors"};
    for (size_t i = 0; i < HG_LEN(bad); i++) {
        char json[256];
        snprintf(json, sizeof json, "{\"weight_map\":{\"a\":\"%s\"}}", bad[i]);
        if (shards(json, &s, NULL) != HANGAR_E_INVALID) fail_msg("%s is accepted", bad[i]);
    }
    static const char *const broken[] = {
        "",
        "[]",
        "{}",
        "{\"weight_map\":{}}",
        "{\"weight_map\":[]}",
        "{\"weight_map\":{\"a\":1}}",
        "{\"weight_map\":{\"a\":\"x.safetensors\",\"a\":\"y.safetensors\"}}"};
    for (size_t i = 0; i < HG_LEN(broken); i++)
        assert_int_equal(shards(broken[i], &s, NULL), HANGAR_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads),     cmocka_unit_test(test_length),  cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_tiling),    cmocka_unit_test(test_padding), cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_ambiguity), cmocka_unit_test(test_abuse),   cmocka_unit_test(test_file),
        cmocka_unit_test(test_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
