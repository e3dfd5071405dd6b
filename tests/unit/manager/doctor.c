/* SPDX-License-Identifier: Apache-2.0 */
/* What the doctor says of machines on which something is wrong. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fsx.h"
#include "base/json.h"
#include "base/mem.h"
#include "manager/journal.h"

static void put(const char *path, const char *text, mode_t mode)
{
    assert_int_equal(hg_write_file(path, text, strlen(text), 0600, NULL), HANGAR_OK);
    assert_int_equal(chmod(path, mode), 0);
}

/* Asks the doctor with the environment as it is. */
static hg_json *ask(hangar_code want, hangar_err *err)
{
    hangar *h = NULL;
    char *json = NULL;
    hg_json *doc = NULL;
    if (hangar_open(NULL, &h, err) != HANGAR_OK) fail_msg("%s", err->msg);
    hangar_code code = hangar_doctor(h, &json, err);
    if (code != want) fail_msg("%s: %s", hangar_code_name(code), json ? json : err->msg);
    assert_int_equal(hg_json_parse(hg_str_of(json), NULL, &doc, NULL), HANGAR_OK);
    assert_int_equal(hg_json_bool_or(hg_json_get(hg_json_root(doc), "ok"), false), want == HANGAR_OK);
    free(json);
    hangar_close(h);
    return doc;
}

static void expect(const hg_json *doc, const char *name, const char *state, const char *detail)
{
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(hg_json_root(doc), "checks")); hg_json_next(&it);) {
        if (!hg_streq(hg_json_text(hg_json_get(it.val, "name")), name)) continue;
        const char *text = hg_json_text_or(hg_json_get(it.val, "detail"), "");
        assert_string_equal(hg_json_text(hg_json_get(it.val, "state")), state);
        if (!strstr(text, detail)) fail_msg("%s: '%s' does not say '%s'", name, text, detail);
        /* What is not fine comes with advice, what is fine with none. */
        assert_int_equal(hg_streq(state, "ok"), !*hg_json_text(hg_json_get(it.val, "advice")));
        return;
    }
    fail_msg("there is no check %s", name);
}

static int prepare(void **state)
{
    (void)state;
    char here[1024];
    static const char *const unset[] = {
        "HF_ENDPOINT",   "HF_HUB_OFFLINE",        "TRANSFORMERS_OFFLINE",   "HF_TOKEN",
        "HF_HUB_CACHE",  "HUGGINGFACE_HUB_CACHE", "HUGGING_FACE_HUB_TOKEN", "HANGAR_CONFIG",
        "HF_TOKEN_PATH", "XDG_CONFIG_HOME"};
    for (size_t i = 0; i < HG_LEN(unset); i++) unsetenv(unset[i]);
    assert_non_null(getcwd(here, sizeof here));
    setenv("HOME", here, 1);
    setenv("HF_HOME", "hf", 1);
    setenv("HANGAR_HOME", "home", 1);
    setenv("HANGAR_RUNNERS", "runners", 1);
    put("runners/hangar-runner-onnx", "#!/bin/sh\necho noise\necho \"onnx runner 1.2 ($1)\"\n", 0755);
    put("runners/hangar-runner-llama", "#!/bin/sh\necho \"llama runner 3.4 ($1)\"\n", 0755);
    put("hf/token", "hf_canary", 0600);
    return 0;
}

static void test_all_is_well(void **state)
{
    (void)state;
    hangar_err err = {0};
    hg_json *doc = ask(HANGAR_OK, &err);
    expect(doc, "runner onnx", "ok", "onnx runner 1.2 (--version)");
    expect(doc, "runner llama", "ok", "llama runner 3.4 (--version)");
    expect(doc, "cache", "ok", "hf/hub (will be made)");
    expect(doc, "home", "ok", "home");
    expect(doc, "token", "ok", "there is one");
    expect(doc, "offline", "ok", "no");
    expect(doc, "libraries", "ok", "yyjson "); /* the others only where they are linked in */
    char *text = hg_json_print(hg_json_root(doc), false);
    assert_null(strstr(text, "canary"));
    free(text);
    hg_json_free(doc);
    /* Looking made no cache. */
    assert_false(hg_is_dir("hf/hub"));
}

static void test_runners(void **state)
{
    (void)state;
    hangar_err err = {0};
    put("runners/hangar-runner-onnx", "#!/bin/sh\necho libx.so.1: cannot be opened >&2\nexit 127\n", 0755);
    assert_int_equal(unlink("runners/hangar-runner-llama"), 0);
    hg_json *doc = ask(HANGAR_E_FAILED, &err);
    expect(doc, "runner onnx", "fail", "exit code 127: libx.so.1: cannot be opened");
    expect(doc, "runner llama", "fail", "hangar-runner-llama");
    assert_non_null(strstr(err.msg, "2 checks failed"));
    hg_json_free(doc);
}

static void test_folders(void **state)
{
    (void)state;
    hangar_err err = {0};
    put("hf/hub", "a file in the way", 0600);
    assert_int_equal(hg_mkdirs("home", 0755, NULL), HANGAR_OK);
    hg_json *doc = ask(HANGAR_E_FAILED, &err);
    expect(doc, "cache", "fail", "in the way");
    expect(doc, "home", "ok", "home");
    hg_json_free(doc);
    assert_int_equal(hg_rm_tree("hf/hub", NULL), HANGAR_OK);
    if (geteuid() != 0) {
        assert_int_equal(chmod("home", 0555), 0);
        doc = ask(HANGAR_E_FAILED, &err);
        expect(doc, "home", "fail", "Permission denied");
        hg_json_free(doc);
        assert_int_equal(chmod("home", 0755), 0);
    }
    assert_int_equal(hg_rm_tree("home", NULL), HANGAR_OK);
}

/* A pull whose process was killed is told of until one of the same model ended well. */
static void test_jobs(void **state)
{
    (void)state;
    hangar_err err = {0};
    hangar *h = NULL;
    int64_t id = 0;
    assert_int_equal(hangar_open(NULL, &h, &err), HANGAR_OK);
    pid_t child = fork();
    if (child == 0) _exit(hg_journal_begin(h, "pull", "org/name") > 0 ? 0 : 1);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    hg_json *doc = ask(HANGAR_OK, &err);
    expect(doc, "jobs", "warn", "1 cut short by a kill or a crash; the last: pull org/name");
    hg_json_free(doc);
    id = hg_journal_begin(h, "pull", "org/name");
    assert_int_equal(hg_journal_end(h, id, HANGAR_OK, NULL), HANGAR_OK);
    doc = ask(HANGAR_OK, &err);
    expect(doc, "jobs", "ok", "none");
    hg_json_free(doc);
    hangar_close(h);
}

static void test_the_hub(void **state)
{
    (void)state;
    hangar_err err = {0};
    setenv("HF_ENDPOINT", "http://hub.example", 1);
    setenv("HF_HUB_OFFLINE", "1", 1);
    assert_int_equal(chmod("hf/token", 0640), 0);
    hg_json *doc = ask(HANGAR_OK, &err);
    expect(doc, "endpoint", "warn", "http://hub.example");
    expect(doc, "offline", "warn", "not used");
    expect(doc, "token", "warn", "mode 0640");
    hg_json_free(doc);
    setenv("HF_ENDPOINT", "http://127.0.0.1:8080", 1);
    put("hf/token", "not a token", 0600);
    doc = ask(HANGAR_OK, &err);
    expect(doc, "endpoint", "ok", "127.0.0.1");
    expect(doc, "token", "warn", "cannot be sent");
    hg_json_free(doc);
    assert_int_equal(unlink("hf/token"), 0);
    doc = ask(HANGAR_OK, &err);
    expect(doc, "token", "ok", "none");
    hg_json_free(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_all_is_well, prepare), cmocka_unit_test_setup(test_runners, prepare),
        cmocka_unit_test_setup(test_folders, prepare),     cmocka_unit_test_setup(test_jobs, prepare),
        cmocka_unit_test_setup(test_the_hub, prepare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
