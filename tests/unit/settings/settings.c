/* SPDX-License-Identifier: Apache-2.0 */
/* Settings: which source wins, what a file may hold, and what its mistakes are called. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fsx.h"
#include "base/json.h"
#include "settings/inner.h"

static char here[2048];

static void put(const char *path, const char *text)
{
    hangar_err err = {0};
    if (hg_write_file(path, text, strlen(text), 0600, &err) != HANGAR_OK) fail_msg("%s", err.msg);
}

/* An environment that names nothing but a home. */
static int clean(void **state)
{
    static const char *const names[] = {"HANGAR_CONFIG",
                                        "HANGAR_HOME",
                                        "XDG_DATA_HOME",
                                        "XDG_CONFIG_HOME",
                                        "XDG_CACHE_HOME",
                                        "HF_HOME",
                                        "HF_HUB_DISABLE_IMPLICIT_TOKEN",
                                        "WORD"};
    (void)state;
    for (size_t i = 0; i < HG_LEN(names); i++) unsetenv(names[i]);
    for (size_t i = 0; i < HG_SETTING_COUNT; i++) {
        hg_str rest = hg_str_of(hg_setting_rows[i].env), word;
        bool more = rest.len != 0;
        while (more) {
            char name[64];
            more = hg_str_cut(&rest, ' ', &word);
            snprintf(name, sizeof name, "%.*s", HG_STR_ARG(word));
            unsetenv(name);
        }
    }
    assert_non_null(getcwd(here, sizeof here - 100));
    char home[2100];
    snprintf(home, sizeof home, "%s/user", here);
    setenv("HOME", home, 1);
    hg_rm_tree("user", NULL);
    return 0;
}

static hg_settings *load(const hangar_options *options)
{
    hg_settings *s = NULL;
    hangar_err err = {0};
    if (hg_settings_load(options, &s, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    return s;
}

static void expect_path(const char *got, const char *below)
{
    char want[2200];
    snprintf(want, sizeof want, "%s/%s", here, below);
    assert_string_equal(got, want);
}

static hangar_code load_error(const hangar_options *options, const char *words)
{
    hg_settings *s = NULL;
    hangar_err err = {0};
    hangar_code code = hg_settings_load(options, &s, &err);
    assert_null(s);
    if (!strstr(err.msg, words)) fail_msg("'%s' does not say '%s'", err.msg, words);
    return code;
}

static void test_defaults(void **state)
{
    (void)state;
    hg_settings *s = load(NULL);
    assert_string_equal(s->file, "");
    expect_path(s->home, "user/.local/share/hangar");
    expect_path(s->cache, "user/.cache/huggingface/hub");
    expect_path(s->token_file, "user/.cache/huggingface/token");
    assert_string_equal(s->endpoint, "https://huggingface.co");
    assert_string_equal(s->token, "");
    assert_false(s->offline);
    assert_int_equal(s->concurrent, 8);
    assert_true(s->timeout == 0 && s->stall_timeout == 30 && s->connect_timeout == 10);
    assert_int_equal(s->retries, 5);
    assert_int_equal(s->range_size, 64 << 20);
    assert_int_equal(s->limit_rate, 0);
    assert_string_equal(s->optimization_level, "O2");
    assert_string_equal(s->target_platform, "auto");
    assert_true(s->load_timeout == 180 && s->step_timeout == 120);
    hg_settings_free(s);
    hg_settings_free(NULL);
}

/* The first configuration that was ever written down for this program. */
static const char first_yaml[] = "models:\n"
                                 "  cache:\n"
                                 "    path: \"./models/cache\"\n"
                                 "    max_size: \"10GB\"\n"
                                 "    retention: \"30d\"\n"
                                 "  download:\n"
                                 "    concurrent: 2\n"
                                 "    timeout: \"1h\"\n"
                                 "    retries: 3\n"
                                 "  conversion:\n"
                                 "    optimization_level: \"O2\"\n"
                                 "    enable_quantization: true\n"
                                 "    target_platform: \"cpu\" # ou \"gpu\"\n";

static void test_file(void **state)
{
    (void)state;
    put("conf/hangar.yaml", first_yaml);
    const hangar_options options = {.size = sizeof options, .config = "conf/hangar.yaml"};
    hg_settings *s = load(&options);
    expect_path(s->file, "conf/hangar.yaml");
    expect_path(s->cache, "conf/models/cache"); /* beside the file, wherever hangar is called */
    assert_int_equal(s->cache_max_size, 10000000000);
    assert_true(s->cache_retention == 30 * 86400.0);
    assert_int_equal(s->concurrent, 2);
    assert_true(s->timeout == 3600);
    assert_int_equal(s->retries, 3);
    assert_string_equal(s->optimization_level, "O2");
    assert_true(s->enable_quantization);
    assert_string_equal(s->target_platform, "cpu");
    hg_settings_free(s);

    put("conf/all.yaml", "# every kind of value\n"
                         "home: ~/data\n"
                         "hub: {endpoint: \"http://127.0.0.1:80/hf/\", token_file: $WORD/tok, offline: YES}\n"
                         "models:\n"
                         "  cache:\n"
                         "    path: ${WORD}/${NOWORD}/x//y/./\n"
                         "    max_size:\n" /* nothing: the default */
                         "    retention: ~\n"
                         "  download: {range_size: 1MiB, limit_rate: 1.5M, stall_timeout: 250ms}\n"
                         "  conversion:\n"
                         "engine:\n"
                         "  threads: 4\n");
    setenv("WORD", "/w", 1);
    setenv("HANGAR_CONFIG", "conf/all.yaml", 1);
    s = load(NULL);
    expect_path(s->home, "user/data");
    assert_string_equal(s->endpoint, "http://127.0.0.1:80/hf");
    assert_string_equal(s->token_file, "/w/tok");
    assert_true(s->offline);
    assert_string_equal(s->cache, "/w/${NOWORD}/x/y");
    assert_int_equal(s->range_size, 1 << 20);
    assert_int_equal(s->limit_rate, 1500000);
    assert_true(s->stall_timeout == 0.25);
    assert_int_equal(s->threads, 4);
    hg_settings_free(s);
}

static void expect_texts(char **got, const char *const *want)
{
    size_t i = 0;
    for (; got[i] && want[i]; i++) assert_string_equal(got[i], want[i]);
    assert_null(got[i]);
    assert_null(want[i]);
}

static void test_serve(void **state)
{
    (void)state;
    hg_settings *s = load(NULL);
    assert_string_equal(s->serve_listen, "127.0.0.1:4264");
    expect_path(s->serve_socket, "user/.local/share/hangar/hangar.sock");
    assert_string_equal(s->serve_status_file, "");
    assert_true(s->serve_keep_alive == 300 && s->serve_first_timeout == 60);
    assert_int_equal(s->serve_max_body, 16 << 20);
    expect_texts(s->serve_cors, (const char *const[]){NULL});
    expect_texts(s->models_preload, (const char *const[]){NULL});
    assert_null(s->models_list);
    assert_null(s->programs);
    hg_settings_free(s);

    put("conf/s.yaml", "home: data\n"
                       "serve:\n"
                       "  listen: \"\"\n"
                       "  status_file: run/status.json\n"
                       "  keep_alive: never\n"
                       "  cors: https://a.example, , https://b.example\n"
                       "models: {preload: [a/b, 'c, d', \"5\"]}\n");
    setenv("HANGAR_CONFIG", "conf/s.yaml", 1);
    s = load(NULL);
    assert_string_equal(s->serve_listen, "");
    expect_path(s->serve_socket, "conf/data/hangar.sock"); /* beside the home, wherever that comes from */
    expect_path(s->serve_status_file, "conf/run/status.json");
    assert_true(s->serve_keep_alive == -1);
    expect_texts(s->serve_cors, (const char *const[]){"https://a.example", "https://b.example", NULL});
    expect_texts(s->models_preload, (const char *const[]){"a/b", "c, d", "5", NULL});
    hg_settings_free(s);
    setenv("HANGAR_LISTEN", "127.0.0.1:1", 1);
    setenv("HANGAR_SOCKET", "x.sock", 1);
    s = load(&(hangar_options){.size = sizeof(hangar_options), .home = "/other"});
    assert_string_equal(s->serve_listen, "127.0.0.1:1");
    expect_path(s->serve_socket, "x.sock");
    hg_settings_free(s);
    unsetenv("HANGAR_SOCKET");
    s = load(&(hangar_options){.size = sizeof(hangar_options), .home = "/other"});
    assert_string_equal(s->serve_socket, "/other/hangar.sock");
    hg_settings_free(s);
}

static void test_trees(void **state)
{
    (void)state;
    put("t.yaml", "models:\n"
                  "  list:\n"
                  "    claude-3.7-sonnet:\n"
                  "      context_length: 4096\n"
                  "      local_only: true\n"
                  "      ref: '12'\n"
                  "      memory_limit: 4GiB\n"
                  "      fallback:\n"
                  "        - a/b\n"
                  "        - c:latest\n"
                  "      extra: {top: [0.10, -3, {x: ~}], word: yes, odd: 010}\n"
                  "programs:\n"
                  "  - name: api\n"
                  "    command: [run, 010, true, 1.50]\n"
                  "    env: {PORT: 80, EMPTY: \"\"}\n");
    setenv("HANGAR_CONFIG", "t.yaml", 1);
    hg_settings *s = load(NULL);
    char *text = hg_json_print(hg_json_root(s->models_list), false);
    assert_string_equal(text,
                        "{\"claude-3.7-sonnet\":{\"context_length\":4096,\"local_only\":true,\"ref\":\"12\","
                        "\"memory_limit\":\"4GiB\",\"fallback\":[\"a/b\",\"c:latest\"],"
                        "\"extra\":{\"top\":[0.1,-3,{\"x\":null}],\"word\":\"yes\",\"odd\":\"010\"}}}");
    free(text);
    text = hg_json_print(hg_json_root(s->programs), false);
    assert_string_equal(text, "[{\"name\":\"api\",\"command\":[\"run\",\"010\",\"true\",\"1.50\"],"
                              "\"env\":{\"PORT\":\"80\",\"EMPTY\":\"\"}}]");
    free(text);
    assert_int_equal(hg_settings_line(s, "models.list", "claude-3.7-sonnet", "ref", NULL), 6);
    assert_int_equal(hg_settings_line(s, "models.list", "claude-3.7-sonnet", "fallback", "1", NULL), 10);
    assert_int_equal(hg_settings_line(s, "models.list", "claude-3.7-sonnet", "none", NULL), 3);
    assert_int_equal(hg_settings_line(s, "models.list", "none", "ref", NULL), 0);
    assert_int_equal(hg_settings_line(s, "programs", "0", "env", "PORT", NULL), 15);
    hg_settings_free(s);

    /* More of it than anybody writes by hand. */
    hg_buf b;
    hg_buf_init(&b, HG_CONFIG_BYTES);
    hg_buf_puts(&b, "models:\n  list:\n");
    for (int i = 0; i < HG_CONFIG_MEMBERS + 1; i++) hg_buf_printf(&b, "    k%d: 1\n", i);
    put("t.yaml", b.data);
    assert_int_equal(load_error(NULL, "t.yaml: line 16387, column 5: models.list: more than 16384"),
                     HANGAR_E_INVALID);
    hg_buf_reset(&b);
    hg_buf_puts(&b, "models:\n  preload:\n");
    for (int i = 0; i < HG_CONFIG_TEXTS + 1; i++) hg_buf_puts(&b, "    - k\n");
    put("t.yaml", b.data);
    assert_int_equal(load_error(NULL, "line 3, column 5: models.preload: more than 256 texts"),
                     HANGAR_E_INVALID);
    hg_buf_deinit(&b);
}

static void test_which_file(void **state)
{
    (void)state;
    put("user/.config/hangar/hangar.yaml", "engine: {threads: 1}");
    hg_settings *s = load(NULL);
    assert_int_equal(s->threads, 1);
    expect_path(s->file, "user/.config/hangar/hangar.yaml");
    hg_settings_free(s);
    char xdg[2100];
    snprintf(xdg, sizeof xdg, "%s/xdg", here);
    put("xdg/hangar/hangar.yaml", "engine: {threads: 2}");
    setenv("XDG_CONFIG_HOME", "not/absolute", 1);
    s = load(NULL);
    assert_int_equal(s->threads, 1);
    hg_settings_free(s);
    setenv("XDG_CONFIG_HOME", xdg, 1);
    s = load(NULL);
    assert_int_equal(s->threads, 2);
    hg_settings_free(s);
    put("env.yaml", "engine: {threads: 3}");
    setenv("HANGAR_CONFIG", "env.yaml", 1);
    s = load(NULL);
    assert_int_equal(s->threads, 3);
    hg_settings_free(s);
    put("option.yaml", "");
    s = load(&(hangar_options){.size = sizeof(hangar_options), .config = "option.yaml"});
    assert_int_equal(s->threads, 0);
    hg_settings_free(s);
    /* One that was named has to be there. */
    const hangar_options missing = {.size = sizeof missing, .config = "missing.yaml"};
    assert_int_equal(load_error(&missing, "missing.yaml"), HANGAR_E_NOT_FOUND);
    setenv("HANGAR_CONFIG", "gone.yaml", 1);
    assert_int_equal(load_error(NULL, "gone.yaml"), HANGAR_E_NOT_FOUND);
    setenv("HANGAR_CONFIG", ".", 1);
    assert_int_equal(load_error(NULL, "is a folder"), HANGAR_E_INVALID);
}

static void test_environment(void **state)
{
    (void)state;
    put("c.yaml", "hub: {endpoint: https://file, offline: true}\nmodels: {cache: {path: /file}}\n");
    setenv("HANGAR_CONFIG", "c.yaml", 1);
    setenv("HF_HOME", "/hf", 1);
    hg_settings *s = load(NULL);
    assert_string_equal(s->cache, "/file"); /* HF_HOME only moves a default */
    assert_string_equal(s->token_file, "/hf/token");
    assert_true(s->offline);
    hg_settings_free(s);
    setenv("HUGGINGFACE_HUB_CACHE", "/legacy", 1);
    setenv("HF_ENDPOINT", "https://env/", 1);
    setenv("HF_HUB_OFFLINE", "0", 1);
    setenv("TRANSFORMERS_OFFLINE", "1", 1);
    setenv("HF_HUB_ETAG_TIMEOUT", "3", 1);
    setenv("HF_HUB_DOWNLOAD_TIMEOUT", " 7 ", 1);
    setenv("HF_TOKEN_PATH", "~/tok", 1);
    s = load(NULL);
    assert_string_equal(s->cache, "/legacy");
    assert_string_equal(s->endpoint, "https://env");
    assert_false(s->offline);
    assert_true(s->connect_timeout == 3 && s->stall_timeout == 7);
    expect_path(s->token_file, "user/tok");
    hg_settings_free(s);
    setenv("HF_HUB_CACHE", "$HF_HOME/x/", 1);
    setenv("HF_HUB_OFFLINE", "", 1); /* empty is not set */
    setenv("HANGAR_HOME", "relative", 1);
    s = load(NULL);
    assert_string_equal(s->cache, "/hf/x");
    assert_true(s->offline);
    expect_path(s->home, "relative");
    hg_settings_free(s);
    static const char *const yes[] = {"1", "on", "Yes", "TRUE"}, *const no[] = {"0", "false", "2", "y",
                                                                                "enabled"};
    for (size_t i = 0; i < HG_LEN(yes); i++) {
        setenv("HF_HUB_OFFLINE", yes[i], 1);
        s = load(NULL);
        assert_true(s->offline);
        hg_settings_free(s);
    }
    for (size_t i = 0; i < HG_LEN(no); i++) {
        setenv("HF_HUB_OFFLINE", no[i], 1);
        s = load(NULL);
        assert_false(s->offline);
        hg_settings_free(s);
    }
    /* The caller's options win over all. */
    const hangar_options options = {
        .size = sizeof options, .home = "/h", .cache = "/c", .endpoint = "http://o", .token = "t"};
    s = load(&options);
    assert_string_equal(s->home, "/h");
    assert_string_equal(s->cache, "/c");
    assert_string_equal(s->endpoint, "http://o");
    assert_string_equal(s->token, "t");
    hg_settings_free(s);
    /* A caller that was built with a shorter struct. */
    hangar_options shorter = options;
    shorter.size = offsetof(hangar_options, cache);
    s = load(&shorter);
    assert_string_equal(s->home, "/h");
    assert_string_equal(s->cache, "/hf/x");
    hg_settings_free(s);
    assert_int_equal(load_error(&(hangar_options){0}, "size"), HANGAR_E_USAGE);
    assert_int_equal(load_error(&(hangar_options){.size = sizeof options + 1}, "size"), HANGAR_E_USAGE);
    setenv("HF_HUB_ETAG_TIMEOUT", "soon", 1);
    assert_int_equal(load_error(NULL, "HF_HUB_ETAG_TIMEOUT: 'soon'"), HANGAR_E_INVALID);
}

static void test_expansion(void **state)
{
    (void)state;
    struct passwd *root = getpwnam("root");
    char by_user[300];
    snprintf(by_user, sizeof by_user, "%s/x", root ? root->pw_dir : "?");
    setenv("WORD", "value", 1);
    setenv("HOME", "/home/$WORD", 1);
    const struct {
        const char *text, *want;
    } cases[] = {{"a", "a"},
                 {"~", "/home/value"},
                 {"~/a", "/home/value/a"},
                 {"a/~", "a/~"},
                 {"$WORD/a", "value/a"},
                 {"x${WORD}y", "xvaluey"},
                 {"$WORDy", "$WORDy"},
                 {"$NOWORD", "$NOWORD"},
                 {"${NOWORD}", "${NOWORD}"},
                 {"$", "$"},
                 {"$$WORD", "$value"},
                 {"${WORD", "${WORD"},
                 {"${}", "${}"},
                 {"a$WORD-b", "avalue-b"},
                 {"~nosuchuser/x", "~nosuchuser/x"},
                 {"", ""},
                 {"~root/x", root ? by_user : "~root/x"}};
    for (size_t i = 0; i < HG_LEN(cases); i++) {
        char *out = NULL;
        assert_int_equal(hg_place_expand(hg_str_of(cases[i].text), &out, NULL), HANGAR_OK);
        assert_string_equal(out, cases[i].want);
        free(out);
    }
    char *out = NULL, *longer = malloc(10001);
    memset(longer, 'x', 10000);
    longer[10000] = '\0';
    assert_int_equal(hg_place_expand(hg_str_of(longer), &out, NULL), HANGAR_E_LIMIT);
    assert_int_equal(hg_place_absolute(longer, "/a", &out, NULL), HANGAR_E_LIMIT);
    free(longer);
    assert_int_equal(hg_place_absolute("/", NULL, &out, NULL), HANGAR_OK);
    assert_string_equal(out, "/");
    free(out);
    assert_int_equal(hg_place_absolute("../a/./b//", "/x/y/", &out, NULL), HANGAR_OK);
    assert_string_equal(out, "/x/y/../a/b");
    free(out);
}

static void expect_token(const char *want)
{
    hg_settings *s = load(NULL);
    assert_string_equal(s->token, want);
    hg_settings_free(s);
}

static void test_token(void **state)
{
    (void)state;
    put("user/.cache/huggingface/token", " hf_file\r\n\n");
    expect_token("hf_file");
    setenv("HUGGING_FACE_HUB_TOKEN", "hf_legacy", 1);
    expect_token("hf_legacy");
    setenv("HF_TOKEN", " hf_env\n", 1);
    expect_token("hf_env");
    setenv("HF_TOKEN", "", 1);
    expect_token("hf_legacy");
    unsetenv("HUGGING_FACE_HUB_TOKEN");
    setenv("HF_TOKEN", " \n", 1);
    expect_token("hf_file");
    setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1", 1);
    expect_token("");
    hg_settings *s = load(&(hangar_options){.size = sizeof(hangar_options), .token = "hf_given"});
    assert_string_equal(s->token, "hf_given");
    hg_settings_free(s);
    unsetenv("HF_HUB_DISABLE_IMPLICIT_TOKEN");
    /* A header must not be forged by a token. */
    setenv("HF_TOKEN", "a b", 1);
    assert_int_equal(load_error(NULL, "HF_TOKEN: the token has a character"), HANGAR_E_INVALID);
    unsetenv("HF_TOKEN");
    /* A file that is no good means no token, and is remembered. */
    put("user/.cache/huggingface/token", "bad token");
    s = load(NULL);
    assert_string_equal(s->token, "");
    assert_non_null(strstr(s->token_problem, "cannot be sent"));
    assert_null(strstr(s->token_problem, "bad token"));
    hg_settings_free(s);
    setenv("HF_TOKEN_PATH", "user", 1);
    s = load(NULL);
    assert_non_null(strstr(s->token_problem, "is a folder"));
    hg_settings_free(s);
}

typedef struct mistake {
    const char *yaml;
    unsigned line, column;
    const char *key, *words;
} mistake;

static const mistake mistakes[] = {
    {"models:\n  download:\n    concurent: 3\n", 3, 5, "models.download.concurent",
     "did you mean 'concurrent'?"},
    {"model: {}\n", 1, 1, "model", "did you mean 'models'?"},
    {"retries: 3\n", 1, 1, "retries", "did you mean 'models.download.retries'?"},
    {"zzz: 3\n", 1, 1, "zzz", "unknown key"},
    {"models:\n  download:\n    concurrent: 0\n", 3, 17, "models.download.concurrent", "not within 1..64"},
    {"models: {download: {concurrent: 65}}", 1, 33, "models.download.concurrent", "not within 1..64"},
    {"models: {download: {concurrent: -1}}", 1, 33, "models.download.concurrent", "not a whole number"},
    {"models: {download: {concurrent: 2.5}}", 1, 33, "models.download.concurrent", "not a whole number"},
    {"models: {download: {concurrent: many}}", 1, 33, "models.download.concurrent", "not a whole number"},
    {"models: {download: {retries: 99999999999999999999}}", 1, 30, "models.download.retries",
     "not a whole number"},
    {"models: {cache: {max_size: 10XB}}", 1, 28, "models.cache.max_size", "not a size"},
    {"models: {cache: {retention: forever}}", 1, 29, "models.cache.retention", "not a duration"},
    {"models: {download: {stall_timeout: 0}}", 1, 36, "models.download.stall_timeout",
     "not within 100ms..1d"},
    {"models: {download: {range_size: 1KB}}", 1, 33, "models.download.range_size", "not within"},
    {"models: {conversion: {optimization_level: O9}}", 1, 43, "models.conversion.optimization_level",
     "none of O0|O1"},
    {"models: {conversion: {enable_quantization: maybe}}", 1, 44, "models.conversion.enable_quantization",
     "neither true nor false"},
    {"hub: {endpoint: ftp://x}", 1, 17, "hub.endpoint", "does not begin with https://"},
    {"hub: {endpoint: 'https://'}", 1, 17, "hub.endpoint", "does not begin"},
    {"hub: {endpoint: 'https://:80'}", 1, 17, "hub.endpoint", "names no host"},
    {"hub: {endpoint: 'https://user:pw@host'}", 1, 17, "hub.endpoint", "character"},
    {"hub: {endpoint: \"https://a\\nb\"}", 1, 17, "hub.endpoint", "character"},
    {"hub: {token: hf_x}", 1, 14, "hub.token", "a secret does not belong here"},
    {"home: \"\"", 1, 7, "home", "empty path"},
    {"home: \"a\\0b\"", 1, 7, "home", "NUL"},
    {"home: [a]", 1, 7, "home", "a list is not wanted"},
    {"home: {a: b}", 1, 7, "home", "a value is wanted"},
    {"home: x\nhome: y\n", 2, 1, "home", "there twice, first in line 1"},
    {"models: 5", 1, 9, "models", "settings are wanted here"},
    {"models: [a, {b: c}]", 1, 9, "models", "a list is not wanted"},
    {"models: &a {}", 1, 9, "models", "anchors"},
    {"home: *a", 1, 7, "home", "aliases"},
    {"home: !!str x", 1, 7, "home", "tags"},
    {"[a]: b", 1, 1, "", "a list is not wanted"},
    {"{a: b}: c", 1, 1, "", "a key must be a plain word"},
    {"- a", 1, 1, "", "each with a key"},
    {"just text", 1, 1, "", "each with a key"},
    {"--- {}\n--- {}\n", 2, 1, "", "more than one document"},
    {"home: x\n y: z", 2, 3, "", "not YAML"},
    {"home: \"x", 1, 9, "", "not YAML"},
    {"models: {", 2, 1, "", "not YAML"},
    {"serve: {keep_alive: ever}", 1, 21, "serve.keep_alive", "not a duration"},
    {"serve: {queue_timeout: never}", 1, 24, "serve.queue_timeout", "not a duration"},
    {"serve: {listen: [a]}", 1, 17, "serve.listen", "a list is not wanted"},
    {"serve: {cors: {a: b}}", 1, 15, "serve.cors", "a value is wanted"},
    {"serve: {cors: [a, [b]]}", 1, 19, "serve.cors", "a list is not wanted"},
    {"serve: {cors: [a, {b: c}]}", 1, 19, "serve.cors", "a text is wanted"},
    {"serve: {cors: [a, ~]}", 1, 19, "serve.cors", "a text is wanted"},
    {"serve: {cors: [\"a\\0\"]}", 1, 16, "serve.cors", "NUL"},
    {"serve: {cors: &x [a]}", 1, 15, "serve.cors", "anchors"},
    {"serve: {cors: [a]}\nmodels: {preload: [b], preload: [c]}", 2, 24, "models.preload", "there twice"},
    {"models: {list: [a]}", 1, 16, "models.list", "a map is wanted"},
    {"models: {list: a}", 1, 16, "models.list", "a map is wanted"},
    {"programs: {a: b}", 1, 11, "programs", "a list is wanted"},
    {"models: {list: {a: {b: c, d: 1, b: 2}}}", 1, 33, "models.list.a.b", "there twice, first in line 1"},
    {"models: {list: {a: *b}}", 1, 20, "models.list", "aliases"},
    {"models: {list: {a: !!int 3}}", 1, 20, "models.list", "tags"},
    {"models: {list: {[a]: b}}", 1, 17, "models.list", "a list is not wanted"},
    {"models: {list: {{a: b}: b}}", 1, 17, "models.list", "plain word"},
    {"models: {list: {\"a\\nb\": b}}", 1, 17, "models.list", "plain word"},
    {"models: {list: {\"\": b}}", 1, 17, "models.list", "1 to 128 bytes"},
    {"models: {list: {a: {b: [[[[[[[[[[[[[[c]]]]]]]]]]]]]]}}}", 1, 37, "", "nested deeper"},
    {"\thome: x", 1, 1, "", "not YAML"},
    {"home: \xff", 1, 1, "", "not YAML"},
    {"home: \x01", 1, 1, "", "not YAML"},
};

static void test_mistakes(void **state)
{
    (void)state;
    for (size_t i = 0; i < HG_LEN(mistakes); i++) {
        const mistake *m = &mistakes[i];
        hg_loaded *l = NULL;
        hg_problems problems = {0};
        assert_int_equal(hg_loaded_new(&l, NULL), HANGAR_OK);
        assert_int_equal(hg_config_read(hg_str_of(m->yaml), "/d", l, &problems, NULL), HANGAR_OK);
        if (problems.len < 1) fail_msg("no mistake was found in: %s", m->yaml);
        const hg_problem *p = &problems.items[0];
        if (!strstr(p->message, m->words))
            fail_msg("'%s' does not say '%s': %s", p->message, m->words, m->yaml);
        assert_string_equal(p->key, m->key);
        if (p->line != m->line || (p->column != m->column && *m->key))
            fail_msg("line %lu, column %lu instead of %u, %u: %s", p->line, p->column, m->line, m->column,
                     m->yaml);
        free(problems.items);
        hg_settings_free(&l->s);
    }
}

/* Reading goes on behind a mistake, and ends when there are too many. */
static void test_many_mistakes(void **state)
{
    (void)state;
    put("many.yaml", "a: [1, [2, {x: y}]]\nb: {c: {d: e}}\nengine: {threads: 3, thread: 4}\nhome: [1]\n");
    char *json = NULL;
    hangar_err err = {0};
    hg_json *doc;
    assert_int_equal(hg_settings_check("many.yaml", &json, &err), HANGAR_E_INVALID);
    assert_non_null(strstr(err.msg, "4 mistakes, the first in line 1"));
    assert_int_equal(hg_json_parse(hg_str_of(json), NULL, &doc, NULL), HANGAR_OK);
    const hg_jval *list = hg_json_get(hg_json_root(doc), "problems");
    assert_int_equal(hg_json_len(list), 4);
    assert_false(hg_json_bool_or(hg_json_get(hg_json_root(doc), "ok"), true));
    assert_int_equal(hg_json_i64_or(hg_json_get(hg_json_at(list, 2), "line"), 0), 3);
    assert_int_equal(hg_json_i64_or(hg_json_get(hg_json_at(list, 2), "column"), 0), 22);
    assert_string_equal(hg_json_text(hg_json_get(hg_json_at(list, 2), "key")), "engine.thread");
    hg_json_free(doc);
    free(json);
    setenv("HANGAR_CONFIG", "many.yaml", 1);
    assert_int_equal(load_error(NULL, "many.yaml: line 1, column 1: a: unknown key"), HANGAR_E_INVALID);

    hg_buf b;
    hg_buf_init(&b, HG_CONFIG_BYTES + 1);
    for (int i = 0; i < 30000; i++) hg_buf_printf(&b, "k%d: v\n", i);
    assert_int_equal(hg_write_file("many.yaml", b.data, b.len, 0600, NULL), HANGAR_OK);
    json = NULL;
    assert_int_equal(hg_settings_check("many.yaml", &json, &err), HANGAR_E_INVALID);
    assert_non_null(strstr(err.msg, "50 mistakes"));
    free(json);
    hg_buf_deinit(&b);
}

static void test_limits(void **state)
{
    (void)state;
    char *json = NULL;
    hangar_err err = {0};
    char *big = malloc(HG_CONFIG_BYTES + 1);
    memset(big, '#', HG_CONFIG_BYTES + 1);
    assert_int_equal(hg_write_file("big.yaml", big, HG_CONFIG_BYTES + 1, 0600, NULL), HANGAR_OK);
    assert_int_equal(hg_settings_check("big.yaml", &json, &err), HANGAR_E_LIMIT);
    assert_null(json);
    assert_int_equal(hg_write_file("big.yaml", big, HG_CONFIG_BYTES, 0600, NULL), HANGAR_OK);
    assert_int_equal(hg_settings_check("big.yaml", &json, &err), HANGAR_OK);
    free(json);
    json = NULL;
    /* Nesting without end, in both ways to write it. */
    double begun = hg_now();
    memset(big, '[', HG_CONFIG_BYTES);
    assert_int_equal(hg_write_file("big.yaml", big, HG_CONFIG_BYTES, 0600, NULL), HANGAR_OK);
    assert_int_equal(hg_settings_check("big.yaml", &json, &err), HANGAR_E_INVALID);
    free(json);
    json = NULL;
    size_t len = 0;
    for (size_t depth = 0; depth < 500; depth++) {
        memset(big + len, ' ', depth);
        len += depth;
        memcpy(big + len, "a:\n", 3);
        len += 3;
    }
    assert_int_equal(hg_write_file("big.yaml", big, len, 0600, NULL), HANGAR_OK);
    assert_int_equal(hg_settings_check("big.yaml", &json, &err), HANGAR_E_INVALID);
    assert_non_null(strstr(json, "nested deeper than 16 levels"));
    assert_true(hg_now() - begun < 5);
    free(json);
    free(big);
}

static const hg_jval *row_of(const hg_json *doc, const char *key)
{
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(hg_json_root(doc), "settings")); hg_json_next(&it);)
        if (hg_streq(hg_json_text(hg_json_get(it.val, "key")), key)) return it.val;
    return NULL;
}

static void test_show(void **state)
{
    (void)state;
    put("show.yaml", "models: {download: {retries: 9}}\n");
    setenv("HF_TOKEN", "hf_canary", 1);
    setenv("HF_HUB_OFFLINE", "1", 1);
    const hangar_options options = {.size = sizeof options, .config = "show.yaml", .cache = "/c"};
    hg_settings *s = load(&options);
    char *json = NULL;
    hg_json *doc;
    assert_int_equal(hg_settings_show(s, &json, NULL), HANGAR_OK);
    assert_null(strstr(json, "canary"));
    assert_int_equal(hg_json_parse(hg_str_of(json), &(hg_json_limits){.unique_keys = true}, &doc, NULL),
                     HANGAR_OK);
    expect_path(hg_json_text(hg_json_get(hg_json_root(doc), "file")), "show.yaml");
    assert_int_equal(hg_json_len(hg_json_get(hg_json_root(doc), "settings")), HG_SETTING_COUNT);
    const hg_jval *row = row_of(doc, "models.download.retries");
    assert_int_equal(hg_json_i64_or(hg_json_get(row, "value"), 0), 9);
    assert_int_equal(hg_json_i64_or(hg_json_get(row, "default"), 0), 5);
    assert_string_equal(hg_json_text(hg_json_get(row, "source")), "file");
    assert_true(hg_json_text(hg_json_get(row, "help"))[0]);
    row = row_of(doc, "models.cache.path");
    assert_string_equal(hg_json_text(hg_json_get(row, "value")), "/c");
    assert_string_equal(hg_json_text(hg_json_get(row, "source")), "option");
    expect_path(hg_json_text(hg_json_get(row, "default")), "user/.cache/huggingface/hub");
    row = row_of(doc, "hub.token");
    assert_string_equal(hg_json_text(hg_json_get(row, "value")), "(set)");
    assert_string_equal(hg_json_text(hg_json_get(row, "source")), "environment");
    row = row_of(doc, "hub.offline");
    assert_true(hg_json_bool_or(hg_json_get(row, "value"), false));
    assert_string_equal(hg_json_text(hg_json_get(row_of(doc, "engine.threads"), "source")), "default");
    hg_json_free(doc);
    free(json);
    hg_settings_free(s);

    json = NULL;
    assert_int_equal(hg_settings_check("show.yaml", &json, NULL), HANGAR_OK);
    assert_non_null(strstr(json, "\"ok\":true,\"problems\":[]"));
    free(json);
    json = NULL;
    assert_int_equal(hg_settings_check(NULL, &json, NULL),
                     HANGAR_OK); /* the user's own, which is not there */
    assert_non_null(strstr(json, "\"ok\":true"));
    free(json);
    json = NULL;
    assert_int_equal(hg_settings_check("none.yaml", &json, NULL), HANGAR_E_NOT_FOUND);
    assert_null(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_defaults, clean),   cmocka_unit_test_setup(test_file, clean),
        cmocka_unit_test_setup(test_serve, clean),      cmocka_unit_test_setup(test_trees, clean),
        cmocka_unit_test_setup(test_which_file, clean), cmocka_unit_test_setup(test_environment, clean),
        cmocka_unit_test_setup(test_expansion, clean),  cmocka_unit_test_setup(test_token, clean),
        cmocka_unit_test_setup(test_mistakes, clean),   cmocka_unit_test_setup(test_many_mistakes, clean),
        cmocka_unit_test_setup(test_limits, clean),     cmocka_unit_test_setup(test_show, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
