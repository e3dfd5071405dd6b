/* SPDX-License-Identifier: Apache-2.0 */
/* Templates: messages with their line, limits one by one, threads' sharing, and what a failure leaves behind. What they mean
 * is held by tests/node/jinja.test.mjs, against other implementations. */
#include "format/chat.h"
#include "format/jinja.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Renders into out[cap]; the message of a failure goes there, too. */
static hangar_code render(const char *source, const char *context, const hg_jinja_limits *limits, hg_buf *out,
                          hangar_err *err)
{
    hg_jinja *t = NULL;
    hg_json *doc = NULL;
    *err = (hangar_err){0};
    hg_buf_init(out, 64 * HG_MIB);
    hangar_code code = hg_jinja_parse(hg_str_of(source), &t, err);
    if (context) assert_int_equal(hg_json_parse(hg_str_of(context), NULL, &doc, NULL), HANGAR_OK);
    if (code == HANGAR_OK) code = hg_jinja_render(t, doc ? hg_json_root(doc) : NULL, limits, 0, out, err);
    else assert_null(t);
    hg_json_free(doc);
    hg_jinja_free(t);
    return code;
}

static void gives(const char *source, const char *context, const char *want)
{
    hg_buf out;
    hangar_err err;
    if (render(source, context, NULL, &out, &err) != HANGAR_OK) fail_msg("%s: %s", source, err.msg);
    assert_string_equal(hg_buf_text(&out), want);
    hg_buf_deinit(&out);
}

static void fails(const char *source, const hg_jinja_limits *limits, hangar_code code, const char *message)
{
    hg_buf out;
    hangar_err err;
    hangar_code got = render(source, NULL, limits, &out, &err);
    if (got != code || !strstr(err.msg, message)) fail_msg("%s: %d %s", source, got, err.msg);
    assert_int_equal(err.code, code);
    assert_int_equal(out.len, 0);
    hg_buf_deinit(&out);
}

static void texts(void **state)
{
    (void)state;
    gives("", NULL, "");
    gives("plain { text } % #\n", NULL, "plain { text } % #");
    gives("{{ a }}{{ b.c[0] }}{{ nothing }}", "{\"a\":\"\\u00e9\",\"b\":{\"c\":[1.0]}}",
          "\xc3\xa9"
          "1.0");
    gives("{% for m in messages %}\n<{{ m.role }}>\n{% endfor %}",
          "{\"messages\":[{\"role\":\"u\"},{\"role\":\"a\"}]}", "<u>\n<a>\n");
    gives("{{ {'a': [1, none, true, 'x']}|tojson }}", NULL, "{\"a\": [1, null, true, \"x\"]}");
    gives("{{ {'a': [1, none, true, 'x']} }}", NULL, "{'a': [1, None, True, 'x']}");
    gives("{{ strftime_now('%d %b %Y %H:%M') }}", NULL, "01 Jan 1970 00:00");
    gives("{{ x }}", "{\"x\":1,\"x\":2}", "2");
}

static void messages(void **state)
{
    (void)state;
    fails("\n\n{{ a.b }}", NULL, HANGAR_E_INVALID, "line 3: 'a' is undefined");
    fails("{{ {}.b.c }}", NULL, HANGAR_E_INVALID, "line 1: 'dict object' has no attribute 'b'");
    fails("\n{% if x %}", NULL, HANGAR_E_INVALID, "line 2: the template ends before 'elif'");
    fails("a\n{{ 1 + }}", NULL, HANGAR_E_INVALID, "line 2: a value is expected, not '}}'");
    fails("{% nothing %}", NULL, HANGAR_E_INVALID, "no tag is called 'nothing'");
    fails("x\n{% include 'a' %}", NULL, HANGAR_E_UNSUPPORTED, "line 2: 'include' is not part of the dialect");
    fails("{{ 1|nothing }}", NULL, HANGAR_E_UNSUPPORTED, "line 1: no filter is called 'nothing'");
    fails("{{ 1 is nothing }}", NULL, HANGAR_E_UNSUPPORTED, "line 1: no test is called 'nothing'");
    fails("{{ 'a' + 1 }}", NULL, HANGAR_E_INVALID, "line 1: '+' does not work on 'str' and 'int'");
    fails("{{ range() }}", NULL, HANGAR_E_INVALID, "range() wants 1 arguments");
    fails("{{ 'a'.strip(b=1) }}", NULL, HANGAR_E_INVALID, "strip() has no parameter 'b'");
    fails("\xff", NULL, HANGAR_E_INVALID, "not UTF-8");
    fails("text before {{ raise_exception('Roles: ' ~ [1]) }}", NULL, HANGAR_E_INVALID, "Roles: [1]");
    hg_buf out;
    hangar_err err;
    assert_int_equal(render("\n{{ raise_exception('only this\\n') }}", NULL, NULL, &out, &err),
                     HANGAR_E_INVALID);
    assert_int_equal(strncmp(err.msg, "only this", 9), 0);
    assert_null(strchr(err.msg, '\n'));
    hg_buf_deinit(&out);
}

static void limits(void **state)
{
    (void)state;
    const hg_jinja_limits steps = {.steps = 50}, output = {.output = 10}, memory = {.memory = 100000},
                          deep = {.depth = 20};
    const char *loop = "{% for i in range(9) %}{{ i }}{% endfor %}";
    gives(loop, NULL, "012345678");
    fails(loop, &steps, HANGAR_E_LIMIT, "too many steps");
    fails("{{ '12345678901' }}", &output, HANGAR_E_LIMIT, "over the limit of 10 bytes");
    fails("12345678901", &output, HANGAR_E_LIMIT, "over the limit of 10 bytes");
    fails("{% set x = 'a' * 200000 %}", &memory, HANGAR_E_LIMIT, "need more than 100000 bytes");
    fails("{% set x = [0] * 9000 %}", &memory, HANGAR_E_LIMIT, "need more than 100000 bytes");
    const char *macro = "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(9) }}";
    gives(macro, NULL, "");
    fails(macro, &deep, HANGAR_E_LIMIT, "nested too deep");
    /* The most depth that can be asked for fits on the stack. */
    const hg_jinja_limits deepest = {.depth = 1000000};
    fails("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", &deepest, HANGAR_E_LIMIT, "nested too deep");
    hg_buf small;
    hg_jinja *t;
    hg_buf_init(&small, 4);
    hg_buf_puts(&small, "ab");
    assert_int_equal(hg_jinja_parse(HG_STR("cde"), &t, NULL), HANGAR_OK);
    assert_int_equal(hg_jinja_render(t, NULL, NULL, 0, &small, NULL), HANGAR_E_LIMIT);
    hg_jinja_free(t);
    hg_buf_deinit(&small);
}

/* A template is not changed by being used, and what it appends follows what is there. */
static void again(void **state)
{
    (void)state;
    hg_jinja *t;
    hg_buf out;
    hg_buf_init(&out, 1000);
    assert_int_equal(
        hg_jinja_parse(HG_STR("{% set ns = namespace(n=0) %}{% set ns.n = ns.n + 1 %}{{ ns.n }};"), &t, NULL),
        HANGAR_OK);
    for (int i = 0; i < 3; i++) assert_int_equal(hg_jinja_render(t, NULL, NULL, 0, &out, NULL), HANGAR_OK);
    assert_string_equal(hg_buf_text(&out), "1;1;1;");
    hg_jinja_free(t);
    hg_buf_deinit(&out);
    hg_jinja_free(NULL);
}

/* Text that grows in place does not change what was read before. */
static void growing(void **state)
{
    (void)state;
    gives(
        "{% set a = 'x' ~ 1 %}{% set b = a ~ 'y' %}{% set c = a ~ 'z' %}{{ a }} {{ b }} {{ c }} {{ b ~ c }}",
        NULL, "x1 x1y x1z x1yx1z");
    gives("{% set ns = namespace(s='') %}{% for i in range(5) %}{% set ns.s = ns.s + ns.s + 'ab'[i % 2] %}{% "
          "endfor %}{{ ns.s }}",
          NULL, "aabaabaaabaababaabaabaaabaababa");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts), cmocka_unit_test(messages), cmocka_unit_test(limits),
        cmocka_unit_test(again), cmocka_unit_test(growing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
