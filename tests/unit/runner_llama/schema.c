/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Schema to grammar: what is expressed, what is refused by name, what is bounded. */
#include "runner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* The grammar of a schema that must be accepted; the caller's. */
static char *grammar(const char *schema)
{
    hg_buf out;
    hangar_err err = {0};
    hg_buf_init(&out, HG_MIB);
    hangar_code code = hg_schema_grammar(schema, &out, &err);
    if (code != HANGAR_OK) fail_msg("%s: %s", schema, err.msg);
    char *text = hg_buf_take(&out);
    assert_non_null(text);
    return text;
}

static void expect(const char *schema, const char *part)
{
    char *text = grammar(schema);
    if (!strstr(text, part)) fail_msg("%s\ngave\n%s\nwithout\n%s", schema, text, part);
    free(text);
}

static void refuse(const char *schema, hangar_code code, const char *word)
{
    hg_buf out;
    hangar_err err = {0};
    hg_buf_init(&out, HG_MIB);
    assert_int_equal(hg_schema_grammar(schema, &out, &err), code);
    if (!strstr(err.msg, word)) fail_msg("%s: \"%s\" does not name \"%s\"", schema, err.msg, word);
    hg_buf_deinit(&out);
}

static void test_types(void **state)
{
    (void)state;
    expect("{\"type\":\"integer\"}", "root ::= integer\n");
    expect("{\"type\":[\"string\",\"null\"]}", "root ::= ( string | null )\n");
    expect("{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}", "root ::= \"\\\"\" char{2,3} \"\\\"\"\n");
    expect("{}", "root ::= value\n");
    expect("{\"enum\":[\"a\",1,null]}", "root ::= ( \"\\\"a\\\"\" | \"1\" | \"null\" )\n");
    expect("{\"const\":{\"k\":\"v\"}}", "root ::= \"{\\\"k\\\":\\\"v\\\"}\"\n");
    expect("{\"title\":\"t\",\"description\":\"d\",\"type\":\"boolean\"}", "root ::= boolean\n");
}

static void test_objects(void **state)
{
    (void)state;
    const char *both =
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"string\"}},"
        "\"required\":[\"a\"]}";
    expect(both, "root ::= \"{\" ws o0-0-0 ws \"}\"\n");
    /* a must be there; b may be left out, and has a comma only behind a */
    expect(both, "o0-0-0 ::= \"\\\"a\\\"\" \":\" ws integer o0-1-1\n");
    expect(both, "o0-1-1 ::= \",\" ws \"\\\"b\\\"\" \":\" ws string o0-2-1 | o0-2-1\n");
    expect("{\"type\":\"object\",\"additionalProperties\":false}", "root ::= \"{\" ws \"}\"\n");
    expect("{\"type\":\"object\"}", "root ::= object\n");
}

static void test_arrays(void **state)
{
    (void)state;
    expect("{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":2,\"maxItems\":3}",
           "root ::= \"[\" ws e0 ( \",\" ws e0 ){1,2} ws \"]\"\n");
    expect("{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}",
           "root ::= \"[\" ws ( e0 ( \",\" ws e0 ){0,} )? ws \"]\"\n");
    expect("{\"type\":\"array\",\"maxItems\":0}", "root ::= \"[\" ws \"]\"\n");
}

static void test_references(void **state)
{
    (void)state;
    const char *tree = "{\"$ref\":\"#/$defs/node\",\"$defs\":{\"node\":{\"type\":\"object\",\"properties\":"
                       "{\"left\":{\"$ref\":\"#/$defs/node\"}}}}}";
    expect(tree, "root ::= r0\n");
    expect(tree, "o0-0-0 ::= \"\\\"left\\\"\" \":\" ws r0 o0-1-1 | o0-1-0\n");
    refuse("{\"$ref\":\"#/$defs/none\"}", HANGAR_E_USAGE, "#/$defs/none");
    refuse("{\"$ref\":\"other.json\"}", HANGAR_E_UNSUPPORTED, "other.json");
}

/* What a grammar cannot hold to is refused by its name: never passed over. */
static void test_refusals(void **state)
{
    (void)state;
    refuse("{\"type\":\"string\",\"pattern\":\"a+\"}", HANGAR_E_UNSUPPORTED, "pattern");
    refuse("{\"type\":\"integer\",\"minimum\":3}", HANGAR_E_UNSUPPORTED, "minimum");
    refuse("{\"oneOf\":[{},{}]}", HANGAR_E_UNSUPPORTED, "oneOf");
    refuse("{\"anyOf\":[{}],\"properties\":{\"a\":{}}}", HANGAR_E_UNSUPPORTED, "properties");
    refuse("{\"$ref\":\"#\",\"enum\":[1]}", HANGAR_E_UNSUPPORTED, "enum");
    refuse("{\"type\":\"object\",\"properties\":{\"a\":{}},\"required\":[\"z\"]}", HANGAR_E_UNSUPPORTED, "z");
    refuse("{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}}", HANGAR_E_UNSUPPORTED,
           "additionalProperties");
    refuse("{\"type\":\"colour\"}", HANGAR_E_UNSUPPORTED, "colour");
    refuse("{\"type\":\"array\",\"minItems\":-1}", HANGAR_E_LIMIT, "minItems");
    refuse("{\"type\":\"array\",\"minItems\":5,\"maxItems\":2}", HANGAR_E_USAGE, "maxItems");
    refuse("{\"enum\":[]}", HANGAR_E_USAGE, "enum");
    refuse("{\"type\":", HANGAR_E_INVALID, "JSON schema");
    refuse("3", HANGAR_E_USAGE, "object");
}

static void test_depth_is_bounded(void **state)
{
    (void)state;
    hg_buf deep;
    hg_buf_init(&deep, HG_MIB);
    for (int i = 0; i < 200; i++) hg_buf_puts(&deep, "{\"items\":");
    hg_buf_puts(&deep, "{}");
    for (int i = 0; i < 200; i++) hg_buf_putc(&deep, '}');
    hg_buf out;
    hg_buf_init(&out, HG_MIB);
    hangar_err err = {0};
    assert_int_equal(hg_schema_grammar(hg_buf_text(&deep), &out, &err), HANGAR_E_LIMIT);
    hg_buf_deinit(&out);
    hg_buf_deinit(&deep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),    cmocka_unit_test(test_objects),
        cmocka_unit_test(test_arrays),   cmocka_unit_test(test_references),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_depth_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
