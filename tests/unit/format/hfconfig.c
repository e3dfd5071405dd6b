/* SPDX-License-Identifier: Apache-2.0 */
/* config.json: values in range are read, missing ones fall back or are asked for, what is not known is refused by name. */
#include "base/mem.h"
#include "format/hfconfig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static hg_hfconfig c;

static void open_text(const char *json)
{
    assert_int_equal(hg_hfconfig_parse(hg_str_of(json), &c, NULL), HANGAR_OK);
}

/* Closes; the first error must be of this code and have these words. */
static void close_with(hangar_code code, const char *words)
{
    hangar_err err = {0};
    assert_int_equal(hg_hfconfig_check(&c, &err), code);
    if (words && !strstr(err.msg, words)) fail_msg("%s", err.msg);
    hg_hfconfig_deinit(&c);
}

static void test_values(void **state)
{
    (void)state;
    open_text("{\"n\":7,\"x\":1e-12,\"t\":\"gelu\",\"b\":true,\"z\":null,\"architectures\":[\"A\",\"B\"]}");
    assert_int_equal(hg_hfconfig_u32(&c, "n", 0, 1, 10), 7);
    assert_int_equal(hg_hfconfig_u32(&c, "missing", 3, 1, 10), 3);
    assert_int_equal(hg_hfconfig_u32(&c, "z", 4, 1, 10), 4);
    assert_true(hg_hfconfig_f64(&c, "x", 0, 0, 1) == 1e-12);
    assert_string_equal(hg_hfconfig_text(&c, "t", ""), "gelu");
    assert_string_equal(hg_hfconfig_text(&c, "missing", "relu"), "relu");
    assert_true(hg_hfconfig_bool(&c, "b", false));
    assert_true(hg_hfconfig_has(&c, "n"));
    assert_false(hg_hfconfig_has(&c, "z"));
    assert_string_equal(hg_hfconfig_class(&c), "A");
    close_with(HANGAR_OK, NULL);
}

static void test_ranges(void **state)
{
    (void)state;
    static const char *const bad[] = {"0", "11", "-1", "1.5", "\"7\"", "4294967303", "[7]", "true"};
    for (size_t i = 0; i < HG_LEN(bad); i++) {
        char json[64];
        snprintf(json, sizeof json, "{\"n\":%s}", bad[i]);
        open_text(json);
        assert_int_equal(hg_hfconfig_u32(&c, "n", 5, 1, 10), 1);
        close_with(HANGAR_E_INVALID, "n is not a whole number from 1 to 10");
    }
    open_text("{}");
    hg_hfconfig_u32(&c, "n", 0, 1, 10);
    hg_hfconfig_u32(&c, "later", 0, 1, 10);
    close_with(HANGAR_E_INVALID, "n is missing"); /* the first one */
    open_text("{\"x\":2}");
    hg_hfconfig_f64(&c, "x", 0, 0, 1);
    close_with(HANGAR_E_INVALID, "x is not a number");
    open_text("{\"b\":1}");
    hg_hfconfig_bool(&c, "b", false);
    close_with(HANGAR_E_INVALID, "b is not true or false");
    open_text("{\"t\":1}");
    assert_string_equal(hg_hfconfig_text(&c, "t", "d"), "d");
    close_with(HANGAR_E_INVALID, "t is not a text");
}

static void test_refusals(void **state)
{
    (void)state;
    open_text("{\"p\":\"absolute\",\"d\":false,\"q\":{},\"r\":null,\"s\":\"\",\"u\":0,\"v\":[]}");
    hg_hfconfig_only(&c, "p", "absolute");
    hg_hfconfig_only(&c, "missing", "absolute");
    hg_hfconfig_only_bool(&c, "d", false);
    for (const char *k = "qrsuvd"; *k; k++) hg_hfconfig_refuse(&c, (char[]){*k, 0});
    close_with(HANGAR_OK, NULL);
    open_text("{\"p\":\"alibi\"}");
    hg_hfconfig_only(&c, "p", "absolute");
    close_with(HANGAR_E_UNSUPPORTED, "config.json: p \"alibi\"");
    open_text("{\"d\":true}");
    hg_hfconfig_only_bool(&c, "d", false);
    close_with(HANGAR_E_UNSUPPORTED, "d true");
    open_text("{\"quantization_config\":{\"bits\":4}}");
    hg_hfconfig_refuse(&c, "quantization_config");
    close_with(HANGAR_E_UNSUPPORTED, "quantization_config {\"bits\":4}");
}

static void test_documents(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "[]", "1", "{", "{\"a\":1,\"a\":2}"};
    for (size_t i = 0; i < HG_LEN(bad); i++)
        assert_int_equal(hg_hfconfig_parse(hg_str_of(bad[i]), &c, NULL), HANGAR_E_INVALID);
    assert_int_equal(hg_hfconfig_open("missing.json", &c, NULL), HANGAR_E_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_documents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
