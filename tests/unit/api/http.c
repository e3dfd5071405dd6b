/* SPDX-License-Identifier: Apache-2.0 */
/* The server's decisions that need no socket: routes, fields, hosts and origins, errors in each dialect. */
#include "api/access.h"
#include "api/http_inner.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- routes ---- */

static void nothing(hg_req *r)
{
    (void)r;
}

#define ROUTE(method, path)                                                                   \
    {                                                                                         \
        method, path, HG_DIALECT_NATIVE, HG_SCOPE_OPEN, HG_BODY_NONE, NULL, NULL, "", nothing \
    }
static const hg_endpoint first[] = {
    ROUTE("GET", "/v1/models"), ROUTE("GET", "/v1/models/*"), ROUTE("DELETE", "/v1/models/*"),
    ROUTE("POST", "/a/:/c"),    ROUTE("GET", "/a/b/:"),       {0},
};
static const hg_endpoint second[] = {ROUTE("POST", "/v1/models"),
                                     ROUTE("GET", "/v1/models/mine"),
                                     ROUTE("GET", "/"),
                                     ROUTE("PUT", "/a/b/c"),
                                     {0}};
static const hg_endpoint *const lists[] = {first, second, NULL};

/* "METHOD PATTERN" of what is found, or "404", or "405 ALLOW". */
static const char *route(const char *method, const char *raw)
{
    static char out[128];
    hg_target t;
    hg_found found;
    assert_int_equal(hg_target_parse(hg_str_of(raw), &t, NULL), HANGAR_OK);
    hg_route(lists, method, &t, &found);
    if (found.ep) snprintf(out, sizeof out, "%s %s", found.ep->method, found.ep->path);
    else snprintf(out, sizeof out, found.path_known ? "405 %s" : "404", found.allow);
    hg_target_deinit(&t);
    return out;
}

static void test_routes(void **state)
{
    (void)state;
    assert_string_equal(route("GET", "/v1/models"), "GET /v1/models");
    assert_string_equal(route("GET", "/v1/models/"), "GET /v1/models");
    assert_string_equal(route("HEAD", "/v1/models?x=1"), "GET /v1/models");
    assert_string_equal(route("POST", "/v1/models"), "POST /v1/models");
    assert_string_equal(route("GET", "/v1/models/a/b"), "GET /v1/models/*");
    assert_string_equal(route("GET", "/v1/models/mine"), "GET /v1/models/mine");
    assert_string_equal(route("GET", "/v1/models/mine/x"), "GET /v1/models/*");
    assert_string_equal(route("GET", "/"), "GET /");
    assert_string_equal(route("PUT", "/a/b/c"), "PUT /a/b/c");
    assert_string_equal(route("GET", "/a/b/d"), "GET /a/b/:");
    assert_string_equal(route("POST", "/a/x/c"), "POST /a/:/c");
    assert_string_equal(route("GET", "/nothing"), "404");
    assert_string_equal(route("GET", "/v1"), "404");
    /* What is exactly there decides about the method, too: the less exact route is another thing. */
    assert_string_equal(route("DELETE", "/v1/models/mine"), "405 GET, HEAD");
    assert_string_equal(route("PATCH", "/v1/models/x"), "405 GET, HEAD, DELETE");
    assert_string_equal(route("OPTIONS", "/v1/models"), "405 GET, HEAD, POST");
    assert_string_equal(route("get", "/v1/models"), "405 GET, HEAD, POST");
}

/* Spellings of one protected path: each means it, or nothing, never another route. */
static void test_spellings_of_a_path(void **state)
{
    (void)state;
    static const char *const none[] = {"//v1/models",      "/v1//models",    "/./v1/models",  "/v1/./models",
                                       "/v1/../v1/models", "/v1%2fmodels",   "/V1/models",    "/v1/Models",
                                       "/v1/models;x",     "/v1/models%3fx", "/v1/models%20", "/v1/models%0a",
                                       "/v1\\models"};
    static const char *const same[] = {"/v1/models", "/v1/models/", "/v1/models?x", "/%76%31/models",
                                       "/v1/mod%65ls"};
    for (size_t i = 0; i < HG_LEN(none); i++) assert_string_equal(route("GET", none[i]), "404");
    for (size_t i = 0; i < HG_LEN(same); i++) assert_string_equal(route("GET", same[i]), "GET /v1/models");
}

/* Every endpoint that is compiled in says all that must be known of it, and none hides another. */
static void test_compiled_endpoints(void **state)
{
    (void)state;
    for (const hg_endpoint *const *list = hg_endpoints_all(); *list; list++) {
        for (const hg_endpoint *e = *list; e->path; e++) {
            hg_target t;
            hg_found found;
            assert_true(e->fn && e->method && e->summary && e->summary[0] && e->path[0] == '/');
            assert_int_equal(hg_target_parse(hg_str_of(e->path), &t, NULL), HANGAR_OK);
            hg_route(hg_endpoints_all(), e->method, &t, &found);
            assert_ptr_equal(found.ep, e);
            hg_target_deinit(&t);
            for (const hg_field *f = e->fields; f && f->name; f++)
                assert_true(strchr("sbinao*", f->kind) && f->help && f->help[0] && f->min <= f->max);
            /* Who changes something says so by its method. */
            if (!strcmp(e->method, "GET")) assert_int_equal(e->body, HG_BODY_NONE);
        }
    }
}

/* ---- fields ---- */

static const hg_field fields[] = {
    {"model", 's', true, 0, 0, ""}, {"t", 'n', false, 0, 2, ""}, {"n", 'i', false, 1, 128, ""},
    {"any", 'i', false, 0, 0, ""},  {"b", 'b', false, 0, 0, ""}, {"list", 'a', false, 0, 0, ""},
    {"o", 'o', false, 0, 0, ""},    {"x", '*', false, 0, 0, ""}, {0}};

/* The words of the refusal, "" when there is none. */
static const char *check(const char *json, bool strict)
{
    static hangar_err err;
    hg_json *doc = NULL;
    err = (hangar_err){0};
    assert_int_equal(hg_json_parse(hg_str_of(json), NULL, &doc, NULL), HANGAR_OK);
    hangar_code code = hg_fields_check(fields, hg_json_root(doc), strict, &err);
    assert_int_equal(code, err.msg[0] ? HANGAR_E_USAGE : HANGAR_OK);
    hg_json_free(doc);
    return err.msg;
}

static void test_fields(void **state)
{
    (void)state;
    static const struct {
        const char *json, *words;
    } cases[] = {
        {"{\"model\":\"a\"}", ""},
        {"{\"model\":\"\",\"t\":0,\"n\":128,\"any\":-5,\"b\":false,\"list\":[],\"o\":{},\"x\":[1]}", ""},
        {"{\"model\":\"a\",\"t\":null,\"n\":null,\"list\":null}", ""},
        {"{\"model\":\"a\",\"t\":2}", ""},
        {"{}", "\"model\" is missing"},
        {"{\"model\":null}", "\"model\" is missing"},
        {"{\"model\":1}", "\"model\" must be a text"},
        {"{\"model\":\"a\\u0000b\"}", "\"model\" has a NUL character in it"},
        {"{\"model\":\"a\",\"t\":2.01}", "\"t\" must be a number from 0 to 2"},
        {"{\"model\":\"a\",\"t\":-1}", "\"t\" must be a number from 0 to 2"},
        {"{\"model\":\"a\",\"t\":\"1\"}", "\"t\" must be a number from 0 to 2"},
        {"{\"model\":\"a\",\"n\":0}", "\"n\" must be an integer from 1 to 128"},
        {"{\"model\":\"a\",\"n\":1.5}", "\"n\" must be an integer from 1 to 128"},
        {"{\"model\":\"a\",\"n\":1e300}", "\"n\" must be an integer from 1 to 128"},
        {"{\"model\":\"a\",\"any\":99999999999999999999}", "\"any\" must be an integer"},
        {"{\"model\":\"a\",\"b\":1}", "\"b\" must be true or false"},
        {"{\"model\":\"a\",\"list\":{}}", "\"list\" must be an array"},
        {"{\"model\":\"a\",\"o\":[]}", "\"o\" must be an object"},
    };
    for (size_t i = 0; i < HG_LEN(cases); i++)
        assert_string_equal(check(cases[i].json, true), cases[i].words);
    assert_string_equal(check("{\"model\":\"a\",\"tempo\":1}", false), "");
    assert_string_equal(check("{\"model\":\"a\",\"tempo\":1}", true),
                        "\"tempo\" is not a field of this request");
    assert_string_equal(check("{\"model\":\"a\",\"\\n\":1}", true),
                        "\"\\x0a\" is not a field of this request");
}

/* ---- who asks ---- */

static void test_origins(void **state)
{
    (void)state;
    static const char *const allowed[] = {"https://app.example.org", "http://localhost:3000", NULL};
    static const char *const ours[] = {"http://127.0.0.1:4264", "HTTP://127.0.0.1:4264"};
    static const char *const bad[] = {"null",
                                      "",
                                      "file://",
                                      "https://evil.test",
                                      "https://app.example.org.evil.test",
                                      "https://evil-app.example.org",
                                      "https://sub.app.example.org",
                                      "https://app.example.org:8443",
                                      "http://app.example.org",
                                      "https://APP.example.org",
                                      "https://app.example.org/",
                                      "http://localhost:3001",
                                      "http://localhost",
                                      "https://127.0.0.1:4264",
                                      "http://127.0.0.1:4265",
                                      "http://127.0.0.1",
                                      "http://127.0.0.1:4264@evil.test",
                                      "chrome-extension://abcdef",
                                      "moz-extension://abcdef",
                                      "*"};
    bool cors = true;
    assert_true(hg_origin_allowed(NULL, "127.0.0.1:4264", allowed, &cors));
    assert_false(cors);
    for (size_t i = 0; allowed[i]; i++) {
        assert_true(hg_origin_allowed(allowed[i], "127.0.0.1:4264", allowed, &cors));
        assert_true(cors);
        assert_false(hg_origin_allowed(allowed[i], "127.0.0.1:4264", NULL, &cors));
    }
    assert_true(hg_origin_allowed(ours[0], "127.0.0.1:4264", allowed, &cors));
    assert_false(cors);
    assert_false(hg_origin_allowed(ours[1], "127.0.0.1:4264", allowed, &cors));
    for (size_t i = 0; i < HG_LEN(bad); i++) {
        assert_false(hg_origin_allowed(bad[i], "127.0.0.1:4264", allowed, &cors));
        assert_false(cors);
    }
    assert_true(hg_site_own(NULL) && hg_site_own("none") && hg_site_own("same-origin"));
    assert_false(hg_site_own("cross-site") || hg_site_own("same-site") || hg_site_own("") ||
                 hg_site_own("None"));
}

static void test_bearer(void **state)
{
    (void)state;
    hg_str key;
    assert_true(hg_bearer("Bearer abc", &key) && hg_str_eq(key, HG_STR("abc")));
    assert_true(hg_bearer("bearer  abc ", &key) && hg_str_eq(key, HG_STR("abc")));
    static const char *const bad[] = {"",           "Bearer", "Bearer ",   "Bearer   ",
                                      "Basic YTpi", "abc",    "Bearerabc", " Bearer abc"};
    for (size_t i = 0; i < HG_LEN(bad); i++) assert_false(hg_bearer(bad[i], &key));
    assert_false(hg_bearer(NULL, &key));
}

/* ---- errors ---- */

static void same_error(hg_dialect dialect, hangar_code code, const char *words, const char *want)
{
    hangar_err err = {0};
    hg_fail(&err, code, "%s", words);
    char *got = hg_error_json(dialect, &err);
    assert_string_equal(got, want);
    free(got);
}

static void test_errors_of_dialects(void **state)
{
    (void)state;
    same_error(HG_DIALECT_OLLAMA, HANGAR_E_NOT_FOUND, "no model x", "{\"error\":\"no model x\"}");
    same_error(HG_DIALECT_NATIVE, HANGAR_E_LIMIT, "over",
               "{\"error\":{\"code\":\"limit\",\"message\":\"over\"}}");
    same_error(HG_DIALECT_OPENAI, HANGAR_E_NOT_FOUND, "no model x",
               "{\"error\":{\"message\":\"no model x\",\"type\":\"invalid_request_error\",\"param\":null,"
               "\"code\":\"model_not_found\"}}");
    same_error(
        HG_DIALECT_OPENAI, HANGAR_E_USAGE, "\"n\" must be 1",
        "{\"error\":{\"message\":\"\\\"n\\\" must be 1\",\"type\":\"invalid_request_error\",\"param\":\"n\","
        "\"code\":\"usage\"}}");
    same_error(HG_DIALECT_OPENAI, HANGAR_E_RATE_LIMITED, "slow down",
               "{\"error\":{\"message\":\"slow down\",\"type\":\"rate_limit_error\",\"param\":null,"
               "\"code\":\"rate_limited\"}}");
}

/* Nothing of ours is in an error: no address of memory, no words of a bug. */
static void test_errors_tell_nothing(void **state)
{
    (void)state;
    same_error(HG_DIALECT_OLLAMA, HANGAR_E_ENGINE, "crash at 0x7ffdeadbeef0, 0x1234567 and 0x12",
               "{\"error\":\"crash at ?, ? and 0x12\"}");
    same_error(HG_DIALECT_OLLAMA, HANGAR_E_ENGINE, "at 0XABCDEF01", "{\"error\":\"at ?\"}");
    same_error(HG_DIALECT_OLLAMA, HANGAR_E_INTERNAL, "bug: x == y (load.c:12)",
               "{\"error\":\"internal error\"}");
    same_error(HG_DIALECT_OLLAMA, HANGAR_E_IO, "/home/me/x: broken", "{\"error\":\"input/output error\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_spellings_of_a_path),
        cmocka_unit_test(test_compiled_endpoints),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_bearer),
        cmocka_unit_test(test_errors_of_dialects),
        cmocka_unit_test(test_errors_tell_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
