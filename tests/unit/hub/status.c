/* SPDX-License-Identifier: Apache-2.0 */
/* What an answer or a failure of libcurl means: the code, whether to try again, and the words that name the next step. */
#include "hub/error.h"

#include "base/mem.h"

#include <curl/curl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

typedef struct row {
    int status;
    const char *code, *message; /* X-Error-Code, X-Error-Message */
    bool token, storage;
    hangar_code want;
    const char *words;
} row;

static const row rows[] = {
    {401, "GatedRepo", "Access restricted", false, false, HANGAR_E_GATED, "https://hub/acme/one"},
    {403, "GatedRepo", "not in the list", true, false, HANGAR_E_GATED, "visit https://hub/acme/one"},
    {401, "", "Invalid username or password.", false, false, HANGAR_E_NOT_FOUND, "HF_TOKEN"},
    {401, "", "Invalid credentials in Authorization header", true, false, HANGAR_E_DENIED, "token"},
    {404, "RepoNotFound", "Repository not found", true, false, HANGAR_E_NOT_FOUND, "acme/one"},
    {404, "RevisionNotFound", "Invalid rev id", false, false, HANGAR_E_NOT_FOUND, "'v9'"},
    {404, "EntryNotFound", "Entry not found", false, false, HANGAR_E_NOT_FOUND, "'x.bin'"},
    {403, "", "Access to this resource is disabled.", false, false, HANGAR_E_DENIED, "disabled"},
    {403, "", "no read permission", true, false, HANGAR_E_DENIED, "no read permission"},
    {404, "", "", false, false, HANGAR_E_NOT_FOUND, "acme/one"},
    {429, "", "", false, false, HANGAR_E_RATE_LIMITED, "too many"},
    {500, "", "boom", false, false, HANGAR_E_NETWORK, "boom"},
    {503, "", "", false, false, HANGAR_E_NETWORK, "503"},
    {504, "", "", false, false, HANGAR_E_TIMEOUT, "504"},
    {418, "NewCode", "", false, false, HANGAR_E_NETWORK, "418"},
    {403, "", "", true, true, HANGAR_E_DENIED, "https://cdn"},
    {404, "", "", true, true, HANGAR_E_NOT_FOUND, "https://cdn"},
    {500, "", "", true, true, HANGAR_E_NETWORK, "https://cdn"},
    /* A storage cannot speak for the Hub. */
    {403, "GatedRepo", "x", true, true, HANGAR_E_DENIED, "https://cdn"},
};

static void test_statuses(void **state)
{
    (void)state;
    hg_url hub = {0}, cdn = {0};
    hangar_err err = {0};
    assert_int_equal(hg_url_parse("https://hub/acme/one?secret=1", &hub, &err), HANGAR_OK);
    assert_int_equal(hg_url_parse("https://cdn/x?Signature=secret", &cdn, &err), HANGAR_OK);
    for (size_t i = 0; i < HG_LEN(rows); i++) {
        const row *w = &rows[i];
        hg_reply r = {.status = w->status, .request_id = "Root=1-abc"};
        snprintf(r.error_code, sizeof r.error_code, "%s", w->code);
        snprintf(r.error_message, sizeof r.error_message, "%s", w->message);
        const hg_asked asked = {.endpoint = "https://hub",
                                .repo = "acme/one",
                                .revision = "v9",
                                .path = w->storage || strstr(w->words, "x.bin") ? "x.bin" : "",
                                .url = w->storage ? &cdn : &hub,
                                .own = !w->storage,
                                .token = w->token};
        err = (hangar_err){0};
        hangar_code code = hg_status_fail(&asked, &r, &err);
        if (code != w->want || !strstr(err.msg, w->words))
            fail_msg("%d %s: %s '%s'", w->status, w->code, hangar_code_name(code), err.msg);
        assert_null(strstr(err.msg, "secret"));
    }
    hg_url_deinit(&hub);
    hg_url_deinit(&cdn);
}

static void test_transient(void **state)
{
    (void)state;
    static const int again[] = {408, 425, 429, 500, 502, 503, 504, 520},
                     never[] = {200, 206, 302, 400, 401, 403, 404, 410, 416, 501, 505};
    for (size_t i = 0; i < HG_LEN(again); i++) assert_true(hg_status_transient(again[i]));
    for (size_t i = 0; i < HG_LEN(never); i++) assert_false(hg_status_transient(never[i]));
}

static void test_curl(void **state)
{
    (void)state;
    hg_url url = {0};
    hangar_err err = {0};
    assert_int_equal(hg_url_parse("https://hub:8443/x?Signature=secret", &url, &err), HANGAR_OK);
    for (int rc = 1; rc < CURL_LAST; rc++) {
        err = (hangar_err){0};
        hangar_code code = hg_curl_fail(rc, "", &url, &err);
        assert_int_not_equal(code, HANGAR_OK);
        assert_int_equal(code, err.code);
        assert_true(err.msg[0] && !strstr(err.msg, "secret"));
        if (code != HANGAR_E_NO_MEMORY) assert_non_null(strstr(err.msg, "https://hub:8443"));
    }
    assert_int_equal(hg_curl_fail(CURLE_OPERATION_TIMEDOUT, "no data for 3 s", &url, &err), HANGAR_E_TIMEOUT);
    assert_non_null(strstr(err.msg, "no data for 3 s"));
    assert_int_equal(hg_curl_kind_of(CURLE_PEER_FAILED_VERIFICATION), HG_CURL_FINAL);
    assert_int_equal(hg_curl_kind_of(CURLE_COULDNT_CONNECT), HG_CURL_REACH);
    assert_int_equal(hg_curl_kind_of(CURLE_PARTIAL_FILE), HG_CURL_BROKEN);
    hg_url_deinit(&url);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_statuses), cmocka_unit_test(test_transient),
                                       cmocka_unit_test(test_curl)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
