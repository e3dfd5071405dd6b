/* SPDX-License-Identifier: Apache-2.0 */
/* The catalogue: what is read, what is refused and how it is named, and which spellings lead to which model. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fsx.h"
#include "base/mem.h"
#include "manager/catalog.h"

static hangar *h;
static hg_catalog *c;
static char here[1024];

static void put(const char *path, const char *text)
{
    assert_int_equal(hg_write_file(path, text, strlen(text), 0600, NULL), HANGAR_OK);
}

static int begin(void **state)
{
    static const char *const names[] = {"HANGAR_CONFIG",  "HF_HUB_CACHE",      "HF_HOME",
                                        "HANGAR_HOME",    "ANTHROPIC_API_KEY", "XDG_CONFIG_HOME",
                                        "HF_HUB_OFFLINE", "FLEET_KEY"};
    (void)state;
    for (size_t i = 0; i < HG_LEN(names); i++) unsetenv(names[i]);
    assert_non_null(getcwd(here, sizeof here));
    setenv("HOME", here, 1);
    hg_rm_tree("own", NULL);
    hg_rm_tree("conf", NULL);
    hg_rm_tree("cache", NULL);
    return 0;
}

static int end(void **state)
{
    (void)state;
    hg_catalog_free(c);
    hangar_close(h);
    c = NULL;
    h = NULL;
    return 0;
}

/* Opens hangar with a configuration (NULL: none) and its catalogue. */
static hangar_code open_with(const char *yaml, hangar_err *err)
{
    hangar_options options = HANGAR_OPTIONS_INIT;
    end(NULL);
    options.home = "own";
    options.cache = "cache";
    if (yaml) put("conf/hangar.yaml", yaml);
    if (yaml) options.config = "conf/hangar.yaml";
    if (hangar_open(&options, &h, err) != HANGAR_OK) fail_msg("%s", err->msg);
    return hg_catalog_open(h, &c, err);
}

static void open_good(const char *yaml)
{
    hangar_err err = {0};
    if (open_with(yaml, &err) != HANGAR_OK) fail_msg("%s", err.msg);
}

static const hg_entry *find(const char *name)
{
    const hg_entry *e = NULL;
    hangar_err err = {0};
    if (hg_catalog_find(c, name, &e, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    return e;
}

static void expect_missing(const char *name, const char *words)
{
    const hg_entry *e = NULL;
    hangar_err err = {0};
    assert_int_equal(hg_catalog_find(c, name, &e, &err), HANGAR_E_NOT_FOUND);
    assert_null(e);
    if (!strstr(err.msg, words)) fail_msg("'%s' does not say '%s'", err.msg, words);
}

static void test_shipped(void **state)
{
    (void)state;
    open_good(NULL);
    const hg_entry *e = find("claude-3.7-sonnet");
    assert_int_equal(e->kind, HG_ENTRY_CLOUD);
    assert_false(e->declared);
    assert_string_equal(e->provider, "anthropic");
    assert_string_equal(e->key_env, "ANTHROPIC_API_KEY");
    assert_string_equal(e->url, "");
    assert_int_equal(e->cloud_context, 200000);
    assert_ptr_equal(find("claude-3.7-sonnet:latest"), e);
    assert_ptr_equal(find("claude-3-7-sonnet-20250219"), e);
    assert_false(hg_entry_has_key(e));
    setenv("ANTHROPIC_API_KEY", "", 1);
    assert_false(hg_entry_has_key(e));
    setenv("ANTHROPIC_API_KEY", "x", 1);
    assert_true(hg_entry_has_key(e));
    assert_string_equal(find("gemini-2.0-flash")->provider, "gemini");
    assert_string_equal(find("gpt-4o")->provider, "openai");
    expect_missing("claude-3.7-sonet", "did you mean 'claude-3.7-sonnet'?");
    expect_missing("Claude-3.7-Sonnet", "did you mean 'claude-3.7-sonnet'?"); /* case as it is */
    expect_missing("zzz", "there is no model 'zzz'");
    expect_missing("", "there is no model ''");
    expect_missing("../../etc/passwd", "there is no model");
    expect_missing("a\nb", "there is no model 'a\\x0ab'");
    expect_missing("org/none", "org/none is not in the store");
    for (size_t i = 0; i < hg_catalog_count(c); i++)
        assert_int_equal(hg_catalog_at(c, i)->kind, HG_ENTRY_CLOUD);
    assert_null(hg_catalog_at(c, hg_catalog_count(c)));
}

static void test_yaml(void **state)
{
    (void)state;
    open_good("models:\n"
              "  list:\n"
              "    helper:\n"
              "      ref: org/chat@v1:model-Q8_0.gguf\n"
              "      context_length: 512\n"
              "      memory_limit: 2GiB\n"
              "      keep_alive: never\n"
              "      pinned: yes\n"
              "      fallback: [':model-Q4_0.gguf', fleet:latest, org/other, claude-3.7-sonnet]\n"
              "      deadline: 90s\n"
              "    private: {ref: org/p, local_only: true, fallback: safe, keep_alive: 0}\n"
              "    safe: {ref: org/s}\n"
              "    org/named: {context_length: 128}\n"
              "    fleet:\n"
              "      url: https://gpu.example:8443/v1/\n"
              "      model: big\n"
              "      api_key_env: FLEET_KEY\n"
              "      context_length: 32768\n"
              "    beside: {url: 'http://127.0.0.1:9/v1'}\n"
              "    gemini-2.0-flash:\n"
              "      extra: {temperature: 0.5, safety_settings: 1}\n"
              "      safety_settings: [{category: HARM, threshold: NONE}]\n"
              "      fallback: [beside]\n"
              "    claude-3.7-sonnet: {url: 'https://proxy.example'}\n"
              "    mine: {provider: claude, model: claude-x}\n"
              "    file: {path: models/my.gguf}\n");
    const hg_entry *e = find("helper:latest");
    assert_int_equal(e->kind, HG_ENTRY_LOCAL);
    assert_true(e->declared && e->pinned && !e->local_only);
    assert_string_equal(e->ref, "org/chat@v1:model-Q8_0.gguf");
    assert_int_equal(e->context, 512);
    assert_true(e->memory_limit == (uint64_t)2 << 30 && e->keep_alive == -1 && e->deadline == 90);
    assert_string_equal(e->fallback[0], "org/chat@v1:model-Q4_0.gguf");
    assert_string_equal(e->fallback[1], "fleet:latest");
    assert_string_equal(e->fallback[3], "claude-3.7-sonnet");
    assert_null(e->fallback[4]);
    e = find("private");
    assert_true(e->local_only && e->keep_alive == 0);
    assert_string_equal(e->fallback[0], "safe");
    assert_true(isnan(find("safe")->keep_alive));
    assert_string_equal(find("org/named")->ref, "org/named");
    e = find("fleet");
    assert_int_equal(e->kind, HG_ENTRY_CLOUD);
    assert_string_equal(e->provider, "openai");
    assert_string_equal(e->url, "https://gpu.example:8443/v1");
    assert_string_equal(e->model, "big");
    assert_string_equal(e->key_env, "FLEET_KEY");
    assert_int_equal(e->cloud_context, 32768);
    e = find("beside");
    assert_string_equal(e->model, "beside");
    assert_string_equal(e->key_env, "");
    assert_true(hg_entry_has_key(e));
    /* Over a shipped one: what was not said stays. */
    e = find("gemini-2.0-flash");
    assert_true(e->declared);
    assert_string_equal(e->model, "gemini-2.0-flash");
    assert_string_equal(e->key_env, "GEMINI_API_KEY");
    assert_int_equal(e->cloud_context, 1048576);
    char *text = hg_json_print(hg_json_root(e->extra), false);
    assert_string_equal(
        text, "{\"temperature\":0.5,\"safety_settings\":[{\"category\":\"HARM\",\"threshold\":\"NONE\"}]}");
    free(text);
    /* The provider's key is not sent to an address that somebody wrote. */
    e = find("claude-3.7-sonnet");
    assert_string_equal(e->url, "https://proxy.example");
    assert_string_equal(e->key_env, "");
    assert_string_equal(find("mine")->key_env, "ANTHROPIC_API_KEY");
    e = find("file");
    assert_string_equal(e->ref, "local/file");
    char path[1200];
    snprintf(path, sizeof path, "%s/conf/models/my.gguf", here);
    assert_string_equal(e->path, path);
}

static void test_json(void **state)
{
    (void)state;
    put("conf/models.json",
        "{\"models\":[{\"name\":\"gemini-2.0-flash\",\"model_type\":\"gemini\",\"local\":false,"
        "\"api_key_env\":\"MY_KEY\",\"context_length\":16384},"
        "{\"name\":\"mistral-7b-instruct\",\"model_type\":\"mistral\",\"local\":true,\"model_path\":\"/m/"
        "x.gguf\","
        "\"context_length\":4096,\"fallback\":[\"gemini-2.0-flash\"]},"
        "{\"name\":\"both\",\"local\":true,\"ref\":\"org/from-json\"},"
        "{\"name\":\"new-model\",\"model_type\":\"new\",\"local\":false,\"url\":\"https://"
        "x.example\",\"api_key_env\":\"N\"},"
        "{\"name\":\"typed\",\"model_type\":\"openai\"}]}");
    put("own/models.json", "{\"models\":[{\"name\":\"both\",\"local\":true,\"ref\":\"org/from-home\"},"
                           "{\"name\":\"-odd na.me--\",\"path\":\"x\"}]}");
    hangar_err err = {0};
    assert_int_equal(open_with("models: {list: {}}\n", &err), HANGAR_E_INVALID);
    assert_non_null(strstr(err.msg, "own/models.json: -odd na.me--: a model's name has no blanks"));
    put("own/models.json", "{\"models\":[{\"name\":\"both\",\"local\":true,\"ref\":\"org/from-home\"},"
                           "{\"name\":\"-odd+na.me--\",\"path\":\"x\"}]}");
    open_good("models: {list: {}}\n");
    const hg_entry *e = find("gemini-2.0-flash");
    assert_string_equal(e->key_env, "MY_KEY");
    assert_int_equal(e->cloud_context, 16384);
    assert_string_equal(e->model, "gemini-2.0-flash");
    e = find("mistral-7b-instruct");
    assert_int_equal(e->kind, HG_ENTRY_LOCAL);
    assert_string_equal(e->path, "/m/x.gguf");
    assert_string_equal(e->ref, "local/mistral-7b-instruct");
    assert_int_equal(e->context, 4096);
    assert_string_equal(find("both")->ref, "org/from-json");
    assert_string_equal(find("new-model")->provider, "openai");
    assert_string_equal(find("typed")->key_env, "OPENAI_API_KEY");
    hg_ref ref;
    assert_int_equal(hg_ref_parse(find("-odd+na.me--")->ref, &ref, &err), HANGAR_OK);
    open_good("models: {list: {both: {ref: org/from-yaml}}}\n");
    assert_string_equal(find("both")->ref, "org/from-yaml");
}

typedef struct mistake {
    const char *list; /* what stands below models.list, one line each */
    const char *words;
} mistake;

static const mistake mistakes[] = {
    {"a: {}", "line 3: models.list.a: needs a ref or path"},
    {"a: 5", "line 3: models.list.a: a map is wanted here"},
    {"'a b': {ref: o/m}", "a model's name has no blanks"},
    {"a: {reff: o/m}", "models.list.a.reff: unknown key; did you mean 'ref'?"},
    {"a: {ref: o/m, contxt_length: 5}",
     "models.list.a.contxt_length: unknown key; did you mean 'context_length'?"},
    {"a: {ref: o/m, model_type: x}", "unknown key"},
    {"a: {ref: o/m, name: x}", "unknown key"},
    {"a: {url: 'https://x', api_key: sk-canary}", "unknown key; did you mean 'api_key_env'?"},
    {"a: {ref: o/m, url: 'https://x'}", "is either on this machine"},
    {"a: {ref: '../x'}", "models.list.a.ref: the repository name"},
    {"a: {ref: 5}", "a text is wanted here, in quotes"},
    {"a: {ref: ''}", "a text of 1 to"},
    {"a: {ref: o/m, context_length: 0}", "a number of tokens"},
    {"a: {ref: o/m, context_length: many}", "a number of tokens"},
    {"a: {ref: o/m, memory_limit: lots}", "a size such as"},
    {"a: {ref: o/m, keep_alive: soon}", "a duration such as"},
    {"a: {ref: o/m, deadline: never}", "a duration such as"},
    {"a: {ref: o/m, deadline: -1}", "a duration such as"},
    {"a: {ref: o/m, pinned: 7}", "true or false"},
    {"a: {ref: o/m, provider: openai}", "is either on this machine"},
    {"a: {ref: o/m, extra: {}}",
     "models.list.a.extra: is for models in the cloud; this one is on this machine"},
    {"a: {url: 'https://x', local_only: true}", "is for models on this machine; this one is in the cloud"},
    {"a: {url: 'https://x', extra: [1]}", "a map is wanted here"},
    {"a: {provider: none}", "a provider is wanted here"},
    {"a: {model: x}", "needs a provider, or a url"},
    {"a: {url: 'http://example.com/v1'}", "models.list.a.url: "},
    {"a: {url: 'http://10.0.0.1/v1'}", "models.list.a.url: "},
    {"a: {url: 'https://u:p@example.com'}", "models.list.a.url: "},
    {"a: {url: 'file:///etc/passwd'}", "models.list.a.url: "},
    {"a: {url: 'https://x', api_key_env: sk-canary}", "the name of an environment variable is wanted"},
    {"a: {url: 'https://x', api_key_env: '${HOME}'}", "the name of an environment variable is wanted"},
    {"a: {ref: o/m, fallback: [zzz]}", "line 3: models.list.a.fallback: there is no model 'zzz'"},
    {"a: {ref: o/m, fallback: [gpt-4]}", "did you mean 'gpt-4"},
    {"a: {ref: o/m, fallback: [a]}", "'a' is this model itself"},
    {"a: {ref: o/m, fallback: [a:latest]}", "is this model itself"},
    {"a: {ref: o/m, fallback: [o/m]}", "is this model itself"},
    {"a: {ref: o/m, fallback: {b: c}}", "a text is wanted here"},
    {"a: {ref: o/m, fallback: [[b]]}", "a text is wanted here"},
    {"a: {ref: o/m, fallback: ['b c']}", "there is no model 'b c'"},
    {"a: {url: 'https://x', fallback: [':x.gguf']}", "is a file of a model's repository"},
    {"a: {ref: o/m, fallback: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]}",
     "at most 16 names"},
    {"a: {ref: o/a, fallback: [b]}\n    b: {ref: o/b, fallback: [c]}\n    c: {ref: o/c, fallback: [a]}",
     "line 3: models.list.a.fallback: the chain leads back to this model, by way of 'c'"},
    {"a: {ref: o/a, local_only: true, fallback: [gpt-4o]}", "'gpt-4o' is in the cloud"},
    {"a: {ref: o/a, local_only: true, fallback: [b]}\n    b: {ref: o/b, fallback: [claude-3.7-sonnet]}",
     "line 3: models.list.a.fallback: 'claude-3.7-sonnet' is in the cloud"},
    {"b: {ref: o/b, fallback: [c]}\n    c: {ref: o/c, fallback: [b]}\n    a: {ref: o/a, fallback: [b]}",
     "models.list.b.fallback: the chain leads back"},
};

static void test_mistakes(void **state)
{
    (void)state;
    for (size_t i = 0; i < HG_LEN(mistakes); i++) {
        hangar_err err = {0};
        char yaml[1000];
        snprintf(yaml, sizeof yaml, "models:\n  list:\n    %s\n", mistakes[i].list);
        if (open_with(yaml, &err) != HANGAR_E_INVALID) fail_msg("%s: '%s'", mistakes[i].list, err.msg);
        if (!strstr(err.msg, mistakes[i].words))
            fail_msg("'%s' does not say '%s'", err.msg, mistakes[i].words);
        if (strstr(err.msg, "canary")) fail_msg("a key is told: %s", err.msg);
        assert_null(c);
        unsigned long line = 0;
        assert_int_equal(hg_catalog_check(h->settings, &line, NULL), HANGAR_E_INVALID);
        assert_int_equal(line, 3);
    }
    static const char *const json[][2] = {
        {"[]", "{\"models\":[...]} is wanted"},
        {"{\"models\":7}", "{\"models\":[...]} is wanted"},
        {"{\"models\":[{}]}", "model 1 has no name"},
        {"{\"models\":[5]}", "model 1 has no name"},
        {"{", "models.json"},
        {"{\"models\":[{\"name\":\"a\",\"ref\":\"o/m\"},{\"name\":\"a\",\"ref\":\"o/m\"}]}",
         "a: is there twice"},
        {"{\"models\":[{\"name\":\"a\",\"model_type\":\"new\",\"local\":false}]}",
         "a.model_type: 'new' is no provider"},
        {"{\"models\":[{\"name\":\"a\",\"local\":true,\"api_key_env\":\"K\"}]}",
         "has keys of models in the cloud"},
        {"{\"models\":[{\"name\":\"a\",\"local\":\"no\"}]}", "a.local: true or false"},
        {"{\"models\":[{\"name\":\"a\",\"local\":false,\"api_key_env\":\"sk-canary\"}]}",
         "name of an environment variable"},
        {"{\"models\":[{\"name\":\"a\",\"ref\":\"o/m\",\"x\":1}]}", "a.x: unknown key"},
    };
    for (size_t i = 0; i < HG_LEN(json); i++) {
        hangar_err err = {0};
        put("own/models.json", json[i][0]);
        if (open_with("{}", &err) != HANGAR_E_INVALID) fail_msg("%s: '%s'", json[i][0], err.msg);
        if (!strstr(err.msg, json[i][1])) fail_msg("'%s' does not say '%s'", err.msg, json[i][1]);
        if (strstr(err.msg, "canary")) fail_msg("a key is told: %s", err.msg);
    }
}

/* More models than there may be, each with a full chain: refused, and one less is read in a moment. */
static void test_many(void **state)
{
    (void)state;
    hg_buf b;
    hg_buf_init(&b, HG_MIB);
    for (int more = 0; more < 2; more++) {
        hangar_err err = {0};
        hg_buf_reset(&b);
        hg_buf_puts(&b, "{\"models\":[");
        for (int i = 0; i < HG_CATALOG_MAX + more; i++) {
            hg_buf_printf(&b, "%s{\"name\":\"m%d\",\"ref\":\"o/m%d\",\"fallback\":[", i ? "," : "", i, i);
            for (int k = 1; k <= HG_FALLBACK_MAX && i + k < HG_CATALOG_MAX; k++)
                hg_buf_printf(&b, "%s\"m%d\"", k > 1 ? "," : "", i + k);
            hg_buf_puts(&b, "]}");
        }
        hg_buf_puts(&b, "]}");
        put("own/models.json", b.data);
        assert_int_equal(open_with(NULL, &err), more ? HANGAR_E_LIMIT : HANGAR_OK);
        if (more) assert_non_null(strstr(err.msg, "more than 1024 models"));
        else assert_string_equal(find("m7")->fallback[0], "m8");
    }
    hg_buf_deinit(&b);
}

/* A model in the store, made of one or two files. */
static void have(const char *repo, const char *const *files)
{
    char *json = NULL;
    hangar_err err = {0};
    hg_rm_tree("in", NULL);
    for (; *files; files++) {
        char path[300];
        snprintf(path, sizeof path, "in/%s", *files);
        put(path, *files);
    }
    if (hangar_model_add(h, "in", repo, NULL, &json, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    hangar_free(json);
}

static void test_store(void **state)
{
    (void)state;
    const hg_entry *e;
    open_good("models: {list: {kept: {path: ../in/config.json}}}\n");
    have("org/chat", (const char *const[]){"config.json", "chat-Q4_K_M.gguf", "chat-Q8_0.gguf", NULL});
    have("plain", (const char *const[]){"config.json", NULL});
    e = find("org/chat");
    assert_int_equal(e->kind, HG_ENTRY_LOCAL);
    assert_false(e->declared);
    assert_string_equal(e->name, "org/chat");
    assert_string_equal(e->ref, "org/chat");
    assert_true(isnan(e->keep_alive));
    assert_ptr_equal(find("org/chat:latest"), e);
    assert_ptr_equal(find("org/chat@main"), e);
    assert_ptr_equal(find("hf.co/org/chat"), e);
    assert_ptr_equal(find("huggingface.co/org/chat:latest"), e);
    assert_string_equal(find("plain")->ref, "plain");
    assert_string_equal(find("plain:latest")->ref, "plain");
    e = find("org/chat:chat-Q8_0.gguf");
    assert_string_equal(e->ref, "org/chat:chat-Q8_0.gguf");
    assert_ptr_equal(find("org/chat:q8_0"), e);
    assert_string_equal(find("hf.co/org/chat:Q4_K_M")->ref, "org/chat:chat-Q4_K_M.gguf");
    expect_missing("org/chat:Q5_0", "has no file Q5_0");
    expect_missing("org/chat:0", "has no file 0");
    expect_missing("org/Chat", "org/Chat is not in the store");
    expect_missing("org/chat@v9", "org/chat");
    expect_missing("org/chat:../x", "there is no model");
    /* Not here yet, for who would fetch it. */
    assert_int_equal(hg_catalog_want(c, "org/new@v1", &e, NULL), HANGAR_OK);
    assert_string_equal(e->ref, "org/new@v1");
    assert_int_equal(hg_catalog_want(c, "new", &e, NULL), HANGAR_E_NOT_FOUND);
    assert_int_equal(hg_catalog_want(c, "kept", &e, NULL), HANGAR_OK);
    assert_string_equal(e->name, "kept");
    /* Its path is taken in once, and then it is there. */
    hangar_err err = {0};
    assert_int_equal(hangar_model_exists(h, "local/kept", NULL), HANGAR_E_NOT_FOUND);
    hg_rm_tree("in", NULL);
    assert_int_equal(hg_entry_ensure(h, e, NULL, &err), HANGAR_E_NOT_FOUND);
    put("in/config.json", "{}");
    assert_int_equal(hg_write_file("in/config.json", "{}", 2, 0600, NULL), HANGAR_OK);
    put("conf/hangar.yaml", "models: {list: {kept: {path: ../in}}}\n");
    open_good("models: {list: {kept: {path: ../in}, cloud: {provider: gpt}}}\n");
    if (hg_entry_ensure(h, find("kept"), NULL, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    assert_int_equal(hangar_model_exists(h, "local/kept", NULL), HANGAR_OK);
    assert_int_equal(hangar_model_exists(h, "kept", NULL), HANGAR_OK); /* by its declared name */
    hg_rm_tree("in", NULL);
    assert_int_equal(hg_entry_ensure(h, find("kept"), NULL, NULL), HANGAR_OK);
    assert_int_equal(hg_entry_ensure(h, find("cloud"), NULL, NULL), HANGAR_OK);
    /* A removed one is not found any more, but who holds its entry may look at it. */
    e = find("plain");
    char *json = NULL;
    assert_int_equal(hangar_model_remove(h, "plain", &json, NULL), HANGAR_OK);
    hangar_free(json);
    expect_missing("plain", "there is no model 'plain'");
    assert_string_equal(e->name, "plain");
    setenv("HF_HUB_OFFLINE", "1", 1);
    open_good(NULL);
    assert_int_equal(hg_catalog_want(c, "org/new", &e, NULL), HANGAR_OK);
    assert_int_equal(hg_entry_ensure(h, e, NULL, &err), HANGAR_E_OFFLINE);
}

static void test_weights(void **state)
{
    (void)state;
    hangar_err err = {0};
    char *json = NULL;
    hangar_model *m = NULL;
    open_good("models: {list: {fleet: {url: 'https://x.example', api_key_env: FLEET_KEY}, a: {ref: o/a}}}\n");
    assert_int_equal(hangar_model_download(h, "claude-3.7-sonnet", NULL, NULL, &json, &err),
                     HANGAR_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "export ANTHROPIC_API_KEY=...; hangar run claude-3.7-sonnet"));
    assert_int_equal(hangar_model_get(h, "claude-3.7-sonnet", &json, NULL), HANGAR_E_UNSUPPORTED);
    assert_int_equal(hangar_model_get(h, "fleet", &json, &err), HANGAR_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "another server answers for it"));
    assert_int_equal(hangar_model_add(h, "claude-3.7-sonnet", NULL, NULL, &json, NULL), HANGAR_E_UNSUPPORTED);
    put("in/config.json", "{}");
    assert_int_equal(hangar_model_add(h, "in", "claude-3.7-sonnet", NULL, &json, NULL), HANGAR_E_UNSUPPORTED);
    assert_int_equal(hangar_onnx_convert(h, "claude-3.7-sonnet", NULL, NULL, &json, NULL),
                     HANGAR_E_UNSUPPORTED);
    assert_int_equal(hangar_model_load(h, "claude-3.7-sonnet", NULL, &m, NULL), HANGAR_E_UNSUPPORTED);
    assert_int_equal(hangar_model_load(h, "a", NULL, &m, &err), HANGAR_E_NOT_FOUND);
    assert_non_null(strstr(err.msg, "o/a"));
    setenv("ANTHROPIC_API_KEY", "canary", 1);
    assert_int_equal(hg_catalog_has_weights(h, "claude-3.7-sonnet", &err), HANGAR_E_UNSUPPORTED);
    assert_null(strstr(err.msg, "canary"));
    assert_null(strstr(err.msg, "export"));
    /* The shipped ones are known though the catalogue is broken. */
    put("own/models.json", "{");
    assert_int_equal(hg_catalog_has_weights(h, "claude-3.7-sonnet", &err), HANGAR_E_UNSUPPORTED);
    assert_int_equal(hg_catalog_has_weights(h, "org/x", &err), HANGAR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_shipped, begin, end),
        cmocka_unit_test_setup_teardown(test_yaml, begin, end),
        cmocka_unit_test_setup_teardown(test_json, begin, end),
        cmocka_unit_test_setup_teardown(test_mistakes, begin, end),
        cmocka_unit_test_setup_teardown(test_many, begin, end),
        cmocka_unit_test_setup_teardown(test_store, begin, end),
        cmocka_unit_test_setup_teardown(test_weights, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
