/* SPDX-License-Identifier: Apache-2.0 */
/* The public calls about models, on the shipped ones: added, listed, shown with right facts, checked, removed. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "at.h"
#include "base/fsx.h"
#include "base/json.h"
#include "base/mem.h"
#include "hangar/hangar.h"
#include "manager/facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static hangar *h;

static const char *shipped(const char *name)
{
    static char path[4096];
    const char *top = getenv("HANGAR_TOP");
    snprintf(path, sizeof path, "%s/models/hangar-labs/%s", top ? top : ".", name);
    return path;
}

static int setup(void **state)
{
    (void)state;
    hangar_options o = HANGAR_OPTIONS_INIT;
    hangar_err err = {0};
    o.cache = at("cache");
    o.home = at("home");
    if (hangar_open(&o, &h, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    hangar_close(h);
    h = NULL;
    (void)!hg_rm_tree(at("cache"), NULL);
    (void)!hg_rm_tree(at("home"), NULL);
    return 0;
}

static void add(const char *model, const char *name)
{
    hangar_err err = {0};
    if (hangar_model_add(h, shipped(model), name, NULL, NULL, &err) != HANGAR_OK) fail_msg("%s", err.msg);
}

static hg_json *parse(char *text)
{
    hg_json *doc = NULL;
    assert_non_null(text);
    assert_int_equal(hg_json_parse(hg_str_of(text), NULL, &doc, NULL), HANGAR_OK);
    hangar_free(text);
    return doc;
}

static hg_json *show(const char *ref)
{
    char *json = NULL;
    hangar_err err = {0};
    if (hangar_model_get(h, ref, &json, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    return parse(json);
}

static void text_is(const hg_json *doc, const char *key, const char *want)
{
    const char *got = hg_json_text(hg_json_get(hg_json_root(doc), key));
    if (!hg_streq(got, want)) fail_msg("%s is %s, not %s", key, got ? got : "null", want ? want : "null");
}

static void number_is(const hg_json *doc, const char *key, int64_t want)
{
    int64_t got = hg_json_i64_or(hg_json_get(hg_json_root(doc), key), -1);
    if (got != want) fail_msg("%s is %lld, not %lld", key, (long long)got, (long long)want);
}

static void test_whisper(void **state)
{
    (void)state;
    add("whisper-digits", "hangar-labs/whisper-digits");
    hg_json *doc = show("hangar-labs/whisper-digits");
    text_is(doc, "format", "safetensors");
    text_is(doc, "architecture", "whisper");
    text_is(doc, "task", "automatic-speech-recognition");
    text_is(doc, "license", "apache-2.0");
    text_is(doc, "dtype", "F32");
    text_is(doc, "weights", "model.safetensors");
    text_is(doc, "problem", NULL);
    number_is(doc, "parameters", 521472);
    number_is(doc, "context_length", 448);
    /* weights + 2 x 2 layers x 64 wide x (448 + 1500) positions x 4 bytes + a tenth + 64 MiB */
    number_is(doc, "memory_needed", 2095528 + 2 * 2 * 64 * (448 + 1500) * 4 + 2095528 / 10 + (64 << 20));
    bool fits = false;
    assert_true(hg_json_bool(hg_json_get(hg_json_root(doc), "fits"), &fits) && fits);
    assert_int_equal(hg_json_len(hg_json_get(hg_json_root(doc), "artifacts")), 0);
    hg_json_free(doc);
}

static void test_chat_and_embed(void **state)
{
    (void)state;
    add("tiny-chat-gguf", "hangar-labs/tiny-chat-gguf");
    add("tiny-embed", "hangar-labs/tiny-embed");
    add("tiny-chat@sharded", "hangar-labs/sharded");
    hg_json *doc = show("hangar-labs/tiny-chat-gguf");
    text_is(doc, "format", "gguf");
    text_is(doc, "architecture", "llama");
    text_is(doc, "dtype", "Q8_0");
    text_is(doc, "weights", "tiny-chat-Q8_0.gguf");
    text_is(doc, "task", "text-generation");
    number_is(doc, "context_length", 512);
    number_is(doc, "parameters", 738432);
    /* 2 x 4 layers x 2 heads x 32 x 512 positions x 2 bytes */
    number_is(doc, "memory_needed", 810176 + 2 * 4 * 2 * 32 * 512 * 2 + 810176 / 10 + (64 << 20));
    hg_json_free(doc);
    doc = show("hangar-labs/tiny-chat-gguf:tiny-chat-F16.gguf");
    text_is(doc, "weights", "tiny-chat-F16.gguf");
    text_is(doc, "dtype", "F16");
    hg_json_free(doc);
    doc = show("hangar-labs/tiny-embed");
    text_is(doc, "architecture", "bert");
    text_is(doc, "task", "sentence-similarity");
    number_is(doc, "parameters", 316320);
    number_is(doc, "context_length", 64);
    hg_json_free(doc);
    doc = show("hangar-labs/sharded");
    text_is(doc, "architecture", "llama");
    number_is(doc, "parameters", 738432); /* of both shards */
    hg_json_free(doc);
}

static void test_list_exists_remove(void **state)
{
    (void)state;
    hangar_err err = {0};
    char *json = NULL;
    add("tiny-embed", "hangar-labs/tiny-embed");
    add("tiny-chat-gguf", NULL);
    assert_int_equal(hangar_model_exists(h, "local/tiny-chat-gguf", NULL), HANGAR_OK);
    assert_int_equal(hangar_model_exists(h, "local/tiny-chat-gguf:tiny-chat-F16.gguf", NULL), HANGAR_OK);
    assert_int_equal(hangar_model_exists(h, "local/tiny-chat-gguf:none.gguf", &err), HANGAR_E_NOT_FOUND);
    assert_int_equal(hangar_model_exists(h, "local/none", &err), HANGAR_E_NOT_FOUND);
    assert_int_equal(hangar_model_exists(h, "../x", &err), HANGAR_E_USAGE);
    assert_int_equal(hangar_model_list(h, &json, &err), HANGAR_OK);
    hg_json *doc = parse(json);
    const hg_jval *models = hg_json_get(hg_json_root(doc), "models");
    assert_int_equal(hg_json_len(models), 2);
    const hg_jval *first = hg_json_at(models, 0);
    assert_string_equal(hg_json_text(hg_json_get(first, "ref")), "hangar-labs/tiny-embed");
    assert_string_equal(hg_json_text(hg_json_get(first, "format")), "safetensors");
    assert_string_equal(hg_json_text(hg_json_get(first, "architecture")), "bert");
    hg_json_free(doc);
    assert_int_equal(hangar_model_remove(h, "local/tiny-chat-gguf", &json, &err), HANGAR_OK);
    doc = parse(json);
    uint64_t freed = 0;
    assert_true(hg_json_u64(hg_json_get(hg_json_root(doc), "freed"), &freed) && freed > 2300000);
    hg_json_free(doc);
    assert_int_equal(hangar_model_exists(h, "local/tiny-chat-gguf", NULL), HANGAR_E_NOT_FOUND);
    assert_int_equal(hangar_model_remove(h, "local/tiny-chat-gguf", &json, &err), HANGAR_E_NOT_FOUND);
    assert_null(json);
    assert_int_equal(hangar_model_verify(h, NULL, NULL, &json, &err), HANGAR_OK);
    hg_json_free(parse(json));
}

static void test_artifacts(void **state)
{
    (void)state;
    add("tiny-embed", "a/b");
    hg_json *doc = show("a/b");
    const char *commit = hg_json_text(hg_json_get(hg_json_root(doc), "commit"));
    char path[512];
    snprintf(path, sizeof path, "home/artifacts/models--a--b/%s/onnx/model.onnx", commit);
    assert_int_equal(hg_write_file(at(path), "12345", 5, 0644, NULL), HANGAR_OK);
    snprintf(path, sizeof path, "home/artifacts/models--a--b/%s/onnx/report.json", commit);
    assert_int_equal(hg_write_file(at(path), "{\"ok\":true}", 11, 0644, NULL), HANGAR_OK);
    hg_json_free(doc);
    doc = show("a/b");
    const hg_jval *art = hg_json_at(hg_json_get(hg_json_root(doc), "artifacts"), 0);
    assert_string_equal(hg_json_text_or(hg_json_get(art, "kind"), ""), "onnx");
    assert_int_equal(hg_json_i64_or(hg_json_get(art, "bytes"), 0), 16);
    assert_true(hg_json_bool_or(hg_json_path(art, "report", "ok", NULL), false));
    hg_json_free(doc);
    assert_int_equal(hangar_model_remove(h, "a/b", NULL, NULL), HANGAR_OK);
    assert_false(hg_is_dir(at("home/artifacts/models--a--b")));
}

/* Broken texts and weights cost the facts that they would have given, and nothing else. */
static void test_hostile_facts(void **state)
{
    (void)state;
    hangar_err err = {0};
    static const char *const files[][2] = {
        {"config.json", "{\"model_type\": 7, \"max_position_embeddings\": -1, \"num_hidden_layers\": 1e300}"},
        {"model.safetensors", "\xff\xff\xff\xff\xff\xff\xff\x7f{}"},
        {"model.safetensors.index.json", "{\"weight_map\": {\"a\": \"../../../etc/passwd\"}}"},
        {"README.md", "---\nlicense: \"mit\"\npipeline_tag: fill-mask\nx"},
        {"broken.gguf", "GGUF\xff\xff\xff\xff"},
    };
    for (size_t i = 0; i < HG_LEN(files); i++) {
        char path[128];
        snprintf(path, sizeof path, "odd/%s", files[i][0]);
        assert_int_equal(hg_write_file(at(path), files[i][1], strlen(files[i][1]), 0644, NULL), HANGAR_OK);
    }
    assert_int_equal(hangar_model_add(h, at("odd"), "a/odd", NULL, NULL, &err), HANGAR_OK);
    hg_json *doc = show("a/odd:model.safetensors");
    text_is(doc, "format", "safetensors");
    text_is(doc, "architecture", NULL);
    text_is(doc, "license", "mit");
    text_is(doc, "task", "fill-mask");
    number_is(doc, "parameters", -1);
    assert_non_null(hg_json_text(hg_json_get(hg_json_root(doc), "problem")));
    hg_json_free(doc);
    doc = show("a/odd");
    text_is(doc, "format", "gguf");
    assert_non_null(hg_json_text(hg_json_get(hg_json_root(doc), "problem")));
    hg_json_free(doc);
    (void)!hg_rm_tree(at("odd"), NULL);
}

static void test_open(void **state)
{
    (void)state;
    hangar *other = NULL;
    hangar_options o = {.size = 3};
    assert_int_equal(hangar_open(&o, &other, NULL), HANGAR_E_USAGE);
    assert_null(other);
    assert_string_equal(hangar_version(), HANGAR_VERSION);
    hangar_close(NULL);
    hangar_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whisper, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chat_and_embed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_list_exists_remove, setup, teardown),
        cmocka_unit_test_setup_teardown(test_artifacts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile_facts, setup, teardown),
        cmocka_unit_test(test_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
