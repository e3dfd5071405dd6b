/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenAPI document: every route is in it, every reference leads somewhere, names are unique. */
#include "api/native.h"
#include "api/openapi.h"
#include "base/mem.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

/* The verb `serve` calls upwards, into the daemon's room; nobody does here. */
hangar_code hangar_serve_start(hangar *h, const hangar_serve_options *o, hangar_job *job, hangar_server **out,
                               hangar_err *err)
{
    (void)h, (void)o, (void)job, (void)out;
    return hg_fail(err, HANGAR_E_INTERNAL, "there is no daemon in this test");
}
const char *hangar_serve_url(const hangar_server *server)
{
    (void)server;
    return "";
}
void hangar_serve_stop(hangar_server *server, double grace)
{
    (void)server, (void)grace;
}

static void nothing(hg_req *r)
{
    (void)r;
}

static const hg_field fields[] = {{.name = "model", .kind = 's', .required = true, .help = "which"},
                                  {.name = "n", .kind = 'i', .min = 1, .max = 5},
                                  {.name = "any", .kind = '*'},
                                  {0}};

static const hg_endpoint own[] = {{.method = "POST",
                                   .path = "/v1/models/:/files/*",
                                   .dialect = HG_DIALECT_OPENAI,
                                   .scope = HG_SCOPE_INFER,
                                   .body = HG_BODY_JSON,
                                   .fields = fields,
                                   .streams = HG_SSE_TYPE,
                                   .summary = "both \"kinds\"",
                                   .fn = nothing},
                                  {.method = "DELETE",
                                   .path = "/v1/models/:/files/*",
                                   .dialect = HG_DIALECT_OPENAI,
                                   .scope = HG_SCOPE_MANAGE,
                                   .summary = "away",
                                   .fn = nothing},
                                  {0}};

static hg_json *make(const hg_endpoint *const *lists)
{
    char *text = NULL;
    hg_json *doc = NULL;
    hangar_err err = {0};
    const hg_json_limits limits = {.unique_keys = true};
    assert_int_equal(hg_openapi_write(lists, &text, &err), HANGAR_OK);
    assert_int_equal(hg_json_parse(hg_str_of(text), &limits, &doc, &err), HANGAR_OK);
    free(text);
    return doc;
}

/* Every "$ref" below v leads to something in the document. Returns how many there were. */
static size_t check_refs(const hg_jval *root, const hg_jval *v)
{
    size_t count = 0;
    for (hg_json_iter it = hg_json_iter_of(v); hg_json_next(&it);) {
        const char *ref = it.object && hg_str_eq(it.key, HG_STR("$ref")) ? hg_json_text(it.val) : NULL;
        if (!ref) {
            count += check_refs(root, it.val);
            continue;
        }
        char part[3][128] = {"", "", ""};
        assert_int_equal(sscanf(ref, "#/%127[^/]/%127[^/]/%127[^/]", part[0], part[1], part[2]), 3);
        const hg_jval *to = hg_json_path(root, part[0], part[1], part[2], NULL);
        if (!to) fail_msg("%s leads nowhere", ref);
        count++;
    }
    return count;
}

/* Names in braces of a path are its parameters, in order, and no others. */
static void check_path_params(const char *path, const hg_jval *operation)
{
    const hg_jval *params = hg_json_get(operation, "parameters");
    size_t at = 0;
    for (const char *c = path; (c = strchr(c, '{')) != NULL; c++, at++) {
        const hg_jval *p = hg_json_at(params, at);
        const char *name = hg_json_text(hg_json_get(p, "name"));
        assert_string_equal(hg_json_text(hg_json_get(p, "in")), "path");
        assert_true(hg_json_bool_or(hg_json_get(p, "required"), false));
        assert_non_null(name);
        assert_int_equal(strncmp(c + 1, name, strlen(name)), 0);
        assert_int_equal(c[1 + strlen(name)], '}');
    }
    for (; at < hg_json_len(params); at++)
        assert_string_equal(hg_json_text(hg_json_path(hg_json_at(params, at), "in", NULL)), "query");
}

static void check_whole(const hg_endpoint *const *lists)
{
    hg_json *doc = make(lists);
    const hg_jval *root = hg_json_root(doc), *paths = hg_json_get(root, "paths");
    const char *ids[1024];
    size_t count = 0, wanted = 0;
    assert_string_equal(hg_json_text(hg_json_get(root, "openapi")), "3.1.0");
    assert_non_null(hg_json_text(hg_json_path(root, "info", "title", NULL)));
    assert_string_equal(hg_json_text(hg_json_path(root, "info", "version", NULL)), hangar_version());
    for (hg_json_iter p = hg_json_iter_of(paths); hg_json_next(&p);) {
        char path[256];
        snprintf(path, sizeof path, "%.*s", HG_STR_ARG(p.key));
        assert_int_equal(path[0], '/');
        for (hg_json_iter o = hg_json_iter_of(p.val); hg_json_next(&o);) {
            const char *id = hg_json_text(hg_json_get(o.val, "operationId"));
            assert_non_null(id);
            for (size_t i = 0; i < count; i++) assert_string_not_equal(ids[i], id);
            assert_true(count < HG_LEN(ids));
            ids[count++] = id;
            assert_true(hg_json_len(hg_json_get(o.val, "responses")) >= 2);
            check_path_params(path, o.val);
        }
    }
    for (const hg_endpoint *const *l = lists; *l; l++)
        for (const hg_endpoint *e = *l; e->path; e++) wanted++;
    assert_int_equal(count, wanted);
    assert_true(check_refs(root, root) >= wanted);
    hg_json_free(doc);
}

static void test_server_tables(void **state)
{
    (void)state;
    check_whole(hg_endpoints_all());
}

static void test_own_table(void **state)
{
    (void)state;
    const hg_endpoint *const lists[] = {own, NULL};
    check_whole(lists);
    hg_json *doc = make(lists);
    const hg_jval *path = hg_json_path(hg_json_root(doc), "paths", "/v1/models/{model}/files/{file2}", NULL);
    const hg_jval *post = hg_json_get(path, "post");
    assert_non_null(hg_json_get(path, "delete"));
    assert_string_equal(hg_json_text(hg_json_get(post, "summary")), "both \"kinds\"");
    assert_string_equal(hg_json_text(hg_json_get(post, "x-hangar-scope")), "infer");
    assert_non_null(hg_json_path(post, "responses", "200", "content", "text/event-stream", NULL));
    const hg_jval *schema = hg_json_path(hg_json_root(doc), "components", "schemas",
                                         hg_json_text(hg_json_get(post, "operationId")), NULL);
    assert_string_equal(hg_json_text(hg_json_at(hg_json_get(schema, "required"), 0)), "model");
    assert_int_equal(hg_json_len(hg_json_get(schema, "required")), 1);
    assert_string_equal(hg_json_text(hg_json_path(schema, "properties", "model", "type", NULL)), "string");
    const hg_jval *n = hg_json_path(schema, "properties", "n", NULL);
    assert_string_equal(hg_json_text(hg_json_at(hg_json_get(n, "type"), 0)), "integer");
    assert_true(hg_json_f64_or(hg_json_get(n, "minimum"), 0) == 1);
    assert_true(hg_json_f64_or(hg_json_get(n, "maximum"), 0) == 5);
    /* Another dialect's clients may send more than is known. */
    assert_null(hg_json_get(schema, "additionalProperties"));
    hg_json_free(doc);
}

/* The routes of verbs take what the command takes, but for what is local. */
static void test_verbs(void **state)
{
    (void)state;
    hg_json *doc = make(hg_endpoints_all());
    const hg_jval *paths = hg_json_path(hg_json_root(doc), "paths", NULL);
    const hg_jval *schemas = hg_json_path(hg_json_root(doc), "components", "schemas", NULL);
    size_t routes = 0;
    for (const hg_verb *const *v = hg_verb_all(); *v; v++) {
        char path[64], id[64], name[64];
        bool reads;
        snprintf(path, sizeof path, "/hangar/v1/%s", (*v)->name);
        snprintf(id, sizeof id, "post_hangar_v1_%s", (*v)->name);
        if (hg_route_verb(path, &reads) != *v) continue;
        routes++;
        assert_int_equal(hg_json_get(hg_json_get(paths, path), "get") != NULL, reads);
        const hg_jval *schema = hg_json_get(schemas, id);
        assert_non_null(schema);
        assert_false(hg_json_bool_or(hg_json_get(schema, "additionalProperties"), true));
        for (const hg_param *p = (*v)->params; p->name; p++) {
            const hg_jval *member = hg_json_path(schema, "properties", hg_param_member(p, name), NULL);
            assert_int_equal(member == NULL, p->local);
            /* What must be there can be given: a route whose verb needs something local would always fail. */
            assert_false(p->local && p->required);
        }
    }
    assert_true(routes >= 10);
    hg_json_free(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server_tables),
        cmocka_unit_test(test_own_table),
        cmocka_unit_test(test_verbs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
