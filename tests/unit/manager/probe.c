/* SPDX-License-Identifier: Apache-2.0 */
/* ctest: long */
/* The small inference of every loader, on a real model in its real runner; and that a probe leaves no trace in what is written next. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "at.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "hangar/hangar.h"
#include "manager/loaded.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static hangar *h;

static const char *top(void)
{
    const char *dir = getenv("HANGAR_TOP");
    return dir ? dir : ".";
}

static int setup(void **state)
{
    (void)state;
    hangar_options o = HANGAR_OPTIONS_INIT;
    hangar_err err = {0};
    const char *build = getenv("HANGAR_BUILD");
    if (build) setenv("HANGAR_RUNNERS", build, 1);
    o.cache = at("cache");
    o.home = at("home");
    if (hangar_open(&o, &h, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    hangar_close(h);
    (void)!hg_rm_tree(at("cache"), NULL);
    (void)!hg_rm_tree(at("home"), NULL);
    return 0;
}

/* Loads a folder below the project's as a model. */
static hangar_model *load(const char *folder, const char *name)
{
    hangar_err err = {0};
    hangar_model *m = NULL;
    if (hangar_model_add(h, folder, name, NULL, NULL, &err) != HANGAR_OK) fail_msg("%s: %s", name, err.msg);
    if (hangar_model_load(h, name, NULL, &m, &err) != HANGAR_OK) fail_msg("%s: %s", name, err.msg);
    return m;
}

/* The probe of a loaded model, asked of its runner. */
static double probe(hangar_model *m)
{
    hangar_err err = {0};
    char *call = NULL;
    hg_frame done = {0};
    if (m->loader->probe(m, &call, &err) != HANGAR_OK) fail_msg("%s: %s", m->name, err.msg);
    hangar_code code = hg_runner_call(m->runner, hg_str_of(call), NULL, 0, NULL, NULL, NULL, &done, &err);
    if (code != HANGAR_OK) fail_msg("%s: %s asked %s", m->name, err.msg, call);
    const hg_jval *seconds = hg_json_get(hg_json_root(done.doc), "seconds");
    double took = hg_json_f64_or(hg_json_is_array(seconds) ? hg_json_at(seconds, 0) : seconds, -1);
    if (took < 0) fail_msg("%s: a probe without its time", m->name);
    hg_frame_deinit(&done);
    free(call);
    return took;
}

static void copy(const char *from, const char *to)
{
    hg_buf bytes;
    hg_buf_init(&bytes, 64 * HG_MIB);
    FILE *f = fopen(to, "w");
    assert_true(f && hg_read_file(from, &bytes, NULL) == HANGAR_OK);
    assert_int_equal(fwrite(hg_buf_text(&bytes), 1, bytes.len, f), bytes.len);
    fclose(f);
    hg_buf_deinit(&bytes);
}

/* A fixture with files that loaders want beside it, which are never read closely by a probe. */
static const char *dressed(const char *fixture, const char *const (*files)[2])
{
    char from[4096], to[4096];
    const char *dir = at(fixture);
    assert_int_equal(mkdir(dir, 0700), 0);
    static const char *const own[] = {"config.json", "generation_config.json", "model.safetensors"};
    for (size_t i = 0; i < HG_LEN(own); i++) {
        snprintf(from, sizeof from, "%s/tests/fixtures/arch/%s/%s", top(), fixture, own[i]);
        snprintf(to, sizeof to, "%s/%s", dir, own[i]);
        if (access(from, R_OK) == 0) copy(from, to);
    }
    for (; files && (*files)[0]; files++) {
        snprintf(to, sizeof to, "%s/%s", dir, (*files)[0]);
        if ((*files)[1][0] == '@') {
            snprintf(from, sizeof from, "%s/tests/fixtures/tokenizer/%s", top(), (*files)[1] + 1);
            copy(from, to);
            continue;
        }
        FILE *f = fopen(to, "w");
        assert_non_null(f);
        fputs((*files)[1], f);
        fclose(f);
    }
    return dir;
}

static const char *const uncased[][2] = {{"tokenizer.json", "@bert-uncased.json"}, {NULL, NULL}};
static const char *const clip[][2] = {{"tokenizer.json", "@clip.json"},
                                      {"preprocessor_config.json",
                                       "{\"image_processor_type\":\"CLIPImageProcessor\",\"size\":{"
                                       "\"shortest_edge\":32},\"crop_size\":{\"height\":32,\"width\":32}}"},
                                      {NULL, NULL}};
static const char *const siglip[][2] = {
    {"tokenizer.json", "@t5.json"},
    {"preprocessor_config.json",
     "{\"image_processor_type\":\"SiglipImageProcessor\",\"size\":{\"height\":32,\"width\":32}}"},
    {NULL, NULL}};
static const char *const vit[][2] = {
    {"preprocessor_config.json",
     "{\"image_processor_type\":\"ViTImageProcessor\",\"size\":{\"height\":32,\"width\":32}}"},
    {NULL, NULL}};
static const char *const ctc[][2] = {
    {"vocab.json", "{\"<pad>\":0,\"<s>\":1,\"</s>\":2,\"<unk>\":3,\"|\":4,\"A\":5,\"B\":6}"},
    {"preprocessor_config.json", "{\"do_normalize\":true,\"sampling_rate\":16000}"},
    {NULL, NULL}};

static const struct {
    const char *fixture, *loader;
    const char *const (*files)[2];
} fixtures[] = {
    {"bert", "encoder", uncased},
    {"mpnet", "encoder", uncased},
    {"modernbert", "encoder", uncased},
    {"bert-cls", "classifier", uncased},
    {"vit", "vision", vit},
    {"clip", "pair", clip},
    {"siglip", "pair", siglip},
    {"wav2vec2", "ctc", ctc},
    {"llama", "text", NULL},
    {"gpt2", "text", NULL},
    {"gemma3_text", "text", NULL},
    {"falcon", "text", NULL},
    {"t5", "text", NULL},
    {"bart", "text", NULL},
    {"marian", "text", NULL},
};

static void every_loader(void **state)
{
    (void)state;
    for (size_t i = 0; i < HG_LEN(fixtures); i++) {
        char name[64];
        snprintf(name, sizeof name, "probe/%s", fixtures[i].fixture);
        hangar_model *m = load(dressed(fixtures[i].fixture, fixtures[i].files), name);
        assert_string_equal(m->loader->name, fixtures[i].loader);
        for (int k = 0; k < 2; k++) probe(m);
        hangar_model_unload(m);
    }
}

/* None was forgotten. */
static void all_can_be_probed(void **state)
{
    (void)state;
#define HG_LOADER(name) assert_non_null(hg_loader_##name.probe);
#include "manager/loaders.def"
#undef HG_LOADER
}

/* What the model writes on a question; *reused: tokens of it that were in the cache. */
static void ask(hangar_model *m, const char *more, char *text, size_t cap, int64_t *reused)
{
    char call[1024];
    hangar_err err = {0};
    hg_frame done = {0};
    snprintf(
        call, sizeof call,
        "{\"op\":\"generate\",\"prompt\":\"What is two plus three?%s\",\"temperature\":0,\"max_tokens\":6}",
        more);
    if (hg_runner_call(m->runner, hg_str_of(call), NULL, 0, NULL, NULL, NULL, &done, &err) != HANGAR_OK)
        fail_msg("%s: %s", m->name, err.msg);
    snprintf(text, cap, "%s", hg_json_text_or(hg_json_get(hg_json_root(done.doc), "text"), ""));
    *reused = hg_json_i64_or(hg_json_get(hg_json_root(done.doc), "prompt_reused"), -1);
    hg_frame_deinit(&done);
}

/* Probes between questions change neither the answers nor what is read again. */
static void leaves_no_trace(void **state)
{
    (void)state;
    static const char *const models[] = {"tiny-chat-gguf", "tiny-chat"};
    for (size_t i = 0; i < HG_LEN(models); i++) {
        char folder[4096], name[64], text[2][2][256];
        int64_t reused[2][2];
        snprintf(folder, sizeof folder, "%s/models/hangar-labs/%s", top(), models[i]);
        snprintf(name, sizeof name, "probe/%s", models[i]);
        for (int probes = 0; probes < 2; probes++) {
            hangar_model *m = NULL;
            hangar_err err = {0};
            if (probes == 0) m = load(folder, name);
            else if (hangar_model_load(h, name, NULL, &m, &err) != HANGAR_OK) fail_msg("%s", err.msg);
            if (probes) probe(m);
            ask(m, "", text[probes][0], sizeof text[0][0], &reused[probes][0]);
            for (int k = 0; probes && k < 3; k++) probe(m);
            ask(m, " And", text[probes][1], sizeof text[0][0], &reused[probes][1]);
            hangar_model_unload(m);
        }
        for (int k = 0; k < 2; k++) {
            assert_string_equal(text[0][k], text[1][k]);
            assert_int_equal(reused[0][k], reused[1][k]);
        }
        assert_true(reused[0][1] > 3);
    }
}

/* A context without room for one token more is probed all the same. */
static void a_full_context(void **state)
{
    (void)state;
    char folder[4096];
    snprintf(folder, sizeof folder, "%s/models/hangar-labs/tiny-chat-gguf", top());
    hangar_model *m = load(folder, "probe/full");
    hg_frame done = {0};
    hangar_err err = {0};
    static const char fill[] = "{\"op\":\"generate\",\"prompt\":\"one two three\",\"temperature\":0,"
                               "\"max_tokens\":600,\"context\":24,\"grammar\":\"root ::= [a-z ]{99}\"}";
    if (hg_runner_call(m->runner, HG_STR(fill), NULL, 0, NULL, NULL, NULL, &done, &err) != HANGAR_OK)
        fail_msg("%s", err.msg);
    const hg_jval *d = hg_json_root(done.doc);
    int64_t held = hg_json_i64_or(hg_json_get(d, "prompt_tokens"), 0) +
                   hg_json_i64_or(hg_json_get(d, "generated_tokens"), 0);
    if (held < 24) fail_msg("only %lld tokens", (long long)held);
    hg_frame_deinit(&done);
    probe(m);
    probe(m);
    /* and the context still begins as it was */
    char text[64];
    int64_t reused = 0;
    static const char again[] =
        "{\"op\":\"generate\",\"prompt\":\"one two three four\",\"temperature\":0,\"context\":24,"
        "\"max_tokens\":1}";
    assert_int_equal(hg_runner_call(m->runner, HG_STR(again), NULL, 0, NULL, NULL, NULL, &done, &err),
                     HANGAR_OK);
    reused = hg_json_i64_or(hg_json_get(hg_json_root(done.doc), "prompt_reused"), -1);
    snprintf(text, sizeof text, "%lld", (long long)reused);
    if (reused < 1) fail_msg("%s tokens were still there", text);
    hg_frame_deinit(&done);
    hangar_model_unload(m);
}

static void whisper(void **state)
{
    (void)state;
    char folder[4096];
    snprintf(folder, sizeof folder, "%s/models/hangar-labs/whisper-digits", top());
    hangar_model *m = load(folder, "probe/whisper");
    assert_string_equal(m->loader->name, "whisper");
    probe(m);
    hangar_model_unload(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_can_be_probed), cmocka_unit_test(every_loader),
        cmocka_unit_test(leaves_no_trace),   cmocka_unit_test(a_full_context),
        cmocka_unit_test(whisper),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
