/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "base/table.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

typedef struct values {
    const char *ref;
    const char **include;
    bool dry_run, fast;
    int64_t beams, any;
    double heat;
    uint64_t rate;
    double wait;
    const char *task;
    const char *out;
} values;

static const hg_param params[] = {
    {.name = "ref",
     .type = HG_TEXT,
     .at = offsetof(values, ref),
     .positional = true,
     .required = true,
     .metavar = "ORG/NAME"},
    {.name = "include", .type = HG_TEXTS, .at = offsetof(values, include), .def = "*"},
    {.name = "dry-run", .letter = 'd', .type = HG_FLAG, .at = offsetof(values, dry_run)},
    {.name = "fast", .type = HG_FLAG, .at = offsetof(values, fast), .def = "true"},
    {.name = "beams", .type = HG_INT, .at = offsetof(values, beams), .def = "1", .min = 1, .max = 16},
    {.name = "any", .type = HG_INT, .at = offsetof(values, any)},
    {.name = "temperature", .type = HG_NUMBER, .at = offsetof(values, heat), .def = "0.8", .max = 5},
    {.name = "limit-rate", .type = HG_SIZE, .at = offsetof(values, rate)},
    {.name = "wait", .type = HG_DURATION, .at = offsetof(values, wait), .def = "1m", .max = 3600},
    {.name = "task",
     .type = HG_CHOICE,
     .at = offsetof(values, task),
     .def = "transcribe",
     .choices = "transcribe|translate"},
    {.name = "out", .type = HG_TEXT, .at = offsetof(values, out), .local = true},
    {0}};

static hg_json *doc;
static hangar_err err;

static hangar_code read_args(const char *json, hg_args *out)
{
    hg_json_free(doc);
    doc = NULL;
    err = (hangar_err){0};
    assert_int_equal(hg_json_parse(hg_str_of(json), NULL, &doc, &err), HANGAR_OK);
    return hg_args_from_json(params, sizeof(values), hg_json_root(doc), out, &err);
}

/* The words that these arguments are refused with. */
static const char *refused(const char *json)
{
    hg_args a;
    assert_int_equal(read_args(json, &a), HANGAR_E_USAGE);
    assert_null(a.values);
    assert_null((void *)a.lists);
    return err.msg;
}

static void test_defaults(void **state)
{
    hg_args a;
    (void)state;
    assert_int_equal(read_args("{\"ref\":\"a/b\"}", &a), HANGAR_OK);
    const values *v = a.values;
    assert_string_equal(v->ref, "a/b");
    assert_string_equal(v->include[0], "*");
    assert_null(v->include[1]);
    assert_false(v->dry_run);
    assert_true(v->fast);
    assert_int_equal(v->beams, 1);
    assert_true(v->heat == 0.8 && v->wait == 60);
    assert_int_equal(v->rate, 0);
    assert_string_equal(v->task, "transcribe");
    assert_null(v->out);
    hg_args_deinit(&a);
}

static void test_all(void **state)
{
    hg_args a;
    (void)state;
    assert_int_equal(
        read_args("{\"include\":[\"*.json\",\"*.gguf\"],\"ref\":\"caf\xc3\xa9\",\"dry_run\":true,"
                  "\"fast\":false,\"beams\":16,\"any\":-9223372036854775808,\"temperature\":0,"
                  "\"limit_rate\":12000000000,\"wait\":1.5,\"task\":\"translate\"}",
                  &a),
        HANGAR_OK);
    const values *v = a.values;
    assert_string_equal(v->ref, "caf\xc3\xa9");
    assert_string_equal(v->include[0], "*.json");
    assert_string_equal(v->include[1], "*.gguf");
    assert_null(v->include[2]);
    assert_true(v->dry_run);
    assert_false(v->fast);
    assert_int_equal(v->beams, 16);
    assert_true(v->any == INT64_MIN);
    assert_true(v->heat == 0 && v->wait == 1.5);
    assert_true(v->rate == 12000000000);
    assert_string_equal(v->task, "translate");
    hg_args_deinit(&a);
}

static void test_units_and_numbers(void **state)
{
    hg_args a;
    (void)state;
    assert_int_equal(read_args("{\"ref\":\"r\",\"limit_rate\":\"10M\",\"wait\":\"5m\",\"temperature\":1e-5}",
                               &a),
                     HANGAR_OK);
    const values *v = a.values;
    assert_true(v->rate == 10000000 && v->wait == 300 && v->heat == 1e-5);
    hg_args_deinit(&a);
    assert_int_equal(read_args("{\"ref\":\"r\",\"temperature\":2,\"wait\":0}", &a), HANGAR_OK);
    v = a.values;
    assert_true(v->heat == 2 && v->wait == 0);
    hg_args_deinit(&a);
}

/* null and an empty list say nothing. */
static void test_left_out(void **state)
{
    hg_args a;
    (void)state;
    assert_int_equal(read_args("{\"ref\":\"r\",\"include\":[],\"beams\":null,\"task\":null}", &a), HANGAR_OK);
    const values *v = a.values;
    assert_string_equal(v->include[0], "*");
    assert_int_equal(v->beams, 1);
    assert_string_equal(v->task, "transcribe");
    hg_args_deinit(&a);
    assert_string_equal(refused("{\"ref\":null}"), "ref is missing");
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(refused("{}"), "ref is missing");
    assert_string_equal(refused("{\"ref\":\"r\",\"includ\":[\"x\"]}"),
                        "there is no 'includ'; did you mean include?");
    assert_string_equal(refused("{\"ref\":\"r\",\"dry-run\":true}"),
                        "there is no 'dry-run'; did you mean dry_run?");
    assert_string_equal(refused("{\"ref\":\"r\",\"\":1}"), "there is no ''");
    assert_string_equal(refused("{\"ref\":\"r\",\"a\\nb\\u0000c\":1}"), "there is no 'a\\x0ab\\x00c'");
    /* A parameter of the command line is refused by its name, and never proposed. */
    assert_string_equal(refused("{\"ref\":\"r\",\"out\":\"/etc/x\"}"),
                        "out has a meaning on the command line alone");
    assert_string_equal(refused("{\"ref\":\"r\",\"out\":null}"),
                        "out has a meaning on the command line alone");
    assert_string_equal(refused("{\"ref\":\"r\",\"outt\":1}"), "there is no 'outt'");
    assert_string_equal(refused("{\"ref\":\"r\",\"ref\":\"s\"}"), "ref is given twice");
}

static void test_types(void **state)
{
    (void)state;
    assert_string_equal(refused("{\"ref\":7}"), "ref needs a text, not '7'");
    assert_string_equal(refused("{\"ref\":[\"r\"]}"), "ref needs a text, not '[\"r\"]'");
    assert_string_equal(refused("{\"ref\":\"a\\u0000b\"}"), "ref needs a text, not '\"a\\u0000b\"'");
    assert_string_equal(refused("{\"ref\":\"r\",\"include\":\"x\"}"),
                        "include needs a list of texts, not '\"x\"'");
    assert_string_equal(refused("{\"ref\":\"r\",\"include\":[\"x\",null]}"),
                        "include needs a list of texts, not 'null'");
    assert_string_equal(refused("{\"ref\":\"r\",\"include\":{}}"), "include needs a list of texts, not '{}'");
    assert_string_equal(refused("{\"ref\":\"r\",\"dry_run\":1}"), "dry_run needs true or false, not '1'");
    assert_string_equal(refused("{\"ref\":\"r\",\"dry_run\":\"true\"}"),
                        "dry_run needs true or false, not '\"true\"'");
    assert_string_equal(refused("{\"ref\":\"r\",\"beams\":\"2\"}"),
                        "beams needs a whole number, not '\"2\"'");
    assert_string_equal(refused("{\"ref\":\"r\",\"beams\":2.5}"), "beams needs a whole number, not '2.5'");
    assert_string_equal(refused("{\"ref\":\"r\",\"any\":9223372036854775808}"),
                        "any needs a whole number, not '9223372036854775808'");
    assert_string_equal(refused("{\"ref\":\"r\",\"temperature\":\"hot\"}"),
                        "temperature needs a number, not '\"hot\"'");
    assert_string_equal(refused("{\"ref\":\"r\",\"limit_rate\":-1}"),
                        "limit_rate needs a size such as 10M, not '-1'");
    assert_string_equal(refused("{\"ref\":\"r\",\"limit_rate\":true}"),
                        "limit_rate needs a size such as 10485760 or \"10M\", not 'true'");
    assert_string_equal(refused("{\"ref\":\"r\",\"wait\":\"soon\"}"),
                        "wait needs a time such as 30s or 5m, not 'soon'");
}

static void test_ranges(void **state)
{
    (void)state;
    assert_string_equal(refused("{\"ref\":\"r\",\"beams\":0}"), "beams must be from 1 to 16, not 0");
    assert_string_equal(refused("{\"ref\":\"r\",\"beams\":17}"), "beams must be from 1 to 16, not 17");
    assert_string_equal(refused("{\"ref\":\"r\",\"temperature\":5.5}"),
                        "temperature must be from 0 to 5, not 5.5");
    assert_string_equal(refused("{\"ref\":\"r\",\"wait\":\"2h\"}"), "wait must be from 0 to 3600, not 2h");
    assert_string_equal(refused("{\"ref\":\"r\",\"task\":\"translat\"}"),
                        "task cannot be 'translat'; did you mean translate?");
}

static void test_no_object(void **state)
{
    hg_args a;
    (void)state;
    assert_string_equal(refused("[]"), "what is asked must be a JSON object");
    assert_string_equal(refused("\"ref\""), "what is asked must be a JSON object");
    assert_int_equal(hg_args_from_json(params, sizeof(values), NULL, &a, &err), HANGAR_E_USAGE);
    assert_string_equal(err.msg, "ref is missing");
    /* A table without required rows takes nothing at all. */
    static const hg_param few[] = {{.name = "all", .type = HG_FLAG}, {0}};
    assert_int_equal(hg_args_from_json(few, sizeof(bool), NULL, &a, &err), HANGAR_OK);
    assert_false(*(bool *)a.values);
    hg_args_deinit(&a);
}

/* A long name and a long list: neither is cut in memory. */
static void test_long(void **state)
{
    hg_args a;
    hg_buf b;
    (void)state;
    hg_buf_init(&b, HG_MIB);
    hg_buf_puts(&b, "{\"ref\":\"r\",\"");
    for (int i = 0; i < 5000; i++) hg_buf_putc(&b, 'x');
    hg_buf_puts(&b, "\":1}");
    assert_non_null(strstr(refused(hg_buf_text(&b)), "there is no 'xxx"));
    hg_buf_reset(&b);
    hg_buf_puts(&b, "{\"ref\":\"r\",\"include\":[\"0\"");
    for (int i = 1; i < 10000; i++) hg_buf_printf(&b, ",\"%d\"", i);
    hg_buf_puts(&b, "]}");
    assert_int_equal(read_args(hg_buf_text(&b), &a), HANGAR_OK);
    const values *v = a.values;
    assert_string_equal(v->include[9999], "9999");
    assert_null(v->include[10000]);
    hg_args_deinit(&a);
    hg_buf_deinit(&b);
}

static int tidy(void **state)
{
    (void)state;
    hg_json_free(doc);
    doc = NULL;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_all),
        cmocka_unit_test(test_units_and_numbers),
        cmocka_unit_test(test_left_out),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_no_object),
        cmocka_unit_test(test_long),
    };
    return cmocka_run_group_tests(tests, NULL, tidy);
}
