/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs about the store and the machine: what they ask of the library and what they show. */
#include "fake.h"

static void test_every_verb_is_whole(void **state)
{
    (void)state;
    size_t count = 0;
    for (const hg_verb *const *v = hg_verb_all(); *v; v++, count++) {
        assert_non_null((*v)->group);
        assert_non_null((*v)->summary);
        assert_true(strlen((*v)->about) > 10);
        assert_non_null((*v)->examples[0].command);
        assert_non_null((*v)->examples[1].command);
        assert_non_null((*v)->run);
        assert_true((*v)->args_size > 0);
        assert_true(((*v)->show == NULL) == (((*v)->flags & HG_VERB_NO_JSON) != 0));
        assert_ptr_equal(hg_verb_get((*v)->name), *v);
        for (const hg_param *p = (*v)->params; p->name; p++) {
            assert_non_null(p->help);
            assert_true(p->at < (*v)->args_size);
        }
    }
    assert_true(count >= 19);
    assert_null(hg_verb_get("nothing"));
}

static void test_pull(void **state)
{
    (void)state;
    give.json = "{\"ref\":\"a/b\",\"commit\":\"0123456789abcdef\",\"path\":\"/c/"
                "s\",\"dry_run\":false,\"bytes_total\":3200000,"
                "\"bytes_fetched\":3000000,\"seconds\":0.42,\"files\":[{\"path\":\"x\",\"size\":200000,"
                "\"state\":\"have\"},"
                "{\"path\":\"y\",\"size\":3000000,\"state\":\"fetched\"}]}";
    outcome o = CALL("pull", "a/b", "--include", "*.json", "--include=*.bin", "--exclude", "x*",
                     "--limit-rate", "10M");
    assert_int_equal(o.code, HANGAR_OK);
    assert_seen("download a/b include,*.json,*.bin exclude,x* dry 0 rate 10000000\n");
    assert_string_equal(o.json, give.json);
    assert_string_equal(o.page, "✓ a/b pulled\n"
                                "  commit   0123456789ab\n"
                                "  files    2 files, 3.2 MB\n"
                                "  fetched  1 file, 3.0 MB in 420 ms\n"
                                "  path     /c/s\n");
    drop(&o);
}

static void test_pull_plan(void **state)
{
    (void)state;
    give.json =
        "{\"ref\":\"a/b\",\"dry_run\":true,\"files\":[{\"path\":\"x\",\"size\":200000,\"state\":\"have\"},"
        "{\"path\":\"y\",\"size\":3000000,\"state\":\"fetch\"}]}";
    outcome o = CALL("pull", "a/b", "--dry-run");
    assert_seen("download a/b dry 1 rate 0\n");
    assert_string_equal(o.page, "FILE      SIZE\n"
                                "x     200.0 kB  is here\n"
                                "y       3.0 MB  to fetch\n"
                                "1 file to fetch, 3.0 MB\n");
    drop(&o);
}

static void test_add(void **state)
{
    (void)state;
    give.json = "{\"ref\":\"me/x\",\"commit\":\"01\",\"path\":\"/p\",\"files\":3,\"size\":12}";
    outcome o = CALL("add", "./m", "--as", "me/x");
    assert_seen("add ./m as me/x\n");
    assert_string_equal(o.page, "✓ me/x added\n  commit  01\n  files   3 files, 12 B\n  path    /p\n");
    drop(&o);
}

static void test_ls(void **state)
{
    (void)state;
    give.json = "{\"cache\":\"/c\",\"models\":[]}";
    outcome o = CALL0("ls");
    assert_seen("list\n");
    assert_string_equal(o.page, "no models in /c yet; hangar pull ORG/NAME fetches one\n");
    drop(&o);
    /* A name from a hostile listing stays on its line. */
    give.json =
        "{\"models\":[{\"repo\":\"a/\\u001b[2Jb\\n\",\"revision\":\"main\",\"size\":1000,\"format\":\"gguf\","
        "\"architecture\":null,\"modified\":\"2001-02-03T04:05:06Z\"}]}";
    o = CALL0("ls");
    assert_string_equal(o.page, "NAME            REVISION    SIZE  FORMAT  ARCHITECTURE\n"
                                "a/\\x1b[2Jb\\x0a  main      1.0 kB  gguf    -\n");
    drop(&o);
}

static void test_show(void **state)
{
    (void)state;
    give.json =
        "{\"ref\":\"a/b\",\"revision\":\"main\",\"commit\":\"01\",\"path\":\"/"
        "p\",\"size\":1000,\"format\":\"gguf\","
        "\"architecture\":\"llama\",\"parameters\":1230000000,\"dtype\":\"Q8_0\",\"context_length\":2048,"
        "\"license\":null,"
        "\"task\":null,\"artifacts\":[],\"memory_needed\":2000,\"memory_available\":1000,\"fits\":false,"
        "\"files\":[{\"path\":\"m.gguf\",\"size\":1000,\"blob\":\"x\"}]}";
    outcome o = CALL("show", "a/b");
    assert_seen("get a/b\n");
    assert_string_equal(o.page, "a/b\n"
                                "  revision      main\n"
                                "  commit        01\n"
                                "  format        gguf\n"
                                "  architecture  llama\n"
                                "  task          -\n"
                                "  parameters    1.2 billion\n"
                                "  type          Q8_0\n"
                                "  context       2048 tokens\n"
                                "  license       -\n"
                                "  memory        2.0 kB needed, 1.0 kB there: does not fit\n"
                                "  size          1.0 kB\n"
                                "  path          /p\n"
                                "\n"
                                "FILE      SIZE\n"
                                "m.gguf  1.0 kB\n");
    drop(&o);
}

static void test_show_exists(void **state)
{
    (void)state;
    outcome o = CALL("show", "a/b", "--exists");
    assert_int_equal(o.code, HANGAR_OK);
    assert_seen("exists a/b\n");
    assert_string_equal(o.json, "{\"ref\":\"a/b\",\"exists\":true}");
    assert_string_equal(o.page, "");
    drop(&o);
    give.exists = HANGAR_E_NOT_FOUND;
    o = CALL("show", "a/b", "--exists");
    assert_int_equal(o.code, HANGAR_E_NOT_FOUND);
    assert_string_equal(o.json, "{\"ref\":\"a/b\",\"exists\":false}");
    drop(&o);
}

static void test_verify(void **state)
{
    (void)state;
    give.json = "{\"models\":1,\"files\":2,\"bytes\":1000,\"ok\":2,\"damaged\":[],\"unverifiable\":[]}";
    outcome o = CALL("verify", "a/b");
    assert_seen("verify a/b\n");
    assert_string_equal(o.page, "✓ 2 files of 1 model intact (1.0 kB read)\n");
    drop(&o);
    give.code = HANGAR_E_INTEGRITY;
    give.json = "{\"models\":1,\"files\":2,\"bytes\":1000,\"ok\":0,\"damaged\":[{\"ref\":\"a/"
                "b\",\"path\":\"x\",\"expected\":\"aa\","
                "\"actual\":\"bb\",\"problem\":\"hash\"},{\"ref\":\"a/"
                "b\",\"path\":\"y\",\"problem\":\"missing\"}],\"unverifiable\":[]}";
    o = CALL("verify", "--all");
    assert_int_equal(o.code, HANGAR_E_INTEGRITY);
    assert_seen("verify all\n");
    assert_string_equal(o.page, "✗ a/b: x is damaged: its hash is bb, not aa\n"
                                "✗ a/b: y is missing\n"
                                "2 of 2 files of 1 model damaged (1.0 kB read)\n");
    drop(&o);
    o = CALL0("verify");
    assert_int_equal(o.code, HANGAR_E_INTEGRITY);
    assert_seen("verify all\n");
    drop(&o);
    o = CALL("verify", "a/b", "--all");
    assert_int_equal(o.code, HANGAR_E_USAGE);
    assert_seen("");
    drop(&o);
}

static void test_rm_asks(void **state)
{
    (void)state;
    give.json = "{\"ref\":\"a/b\",\"size\":1000,\"freed\":900}";
    outcome o = CALL("rm", "a/b"); /* nobody to ask */
    assert_int_equal(o.code, HANGAR_OK);
    assert_seen("remove a/b\n");
    assert_string_equal(o.page, "✓ a/b removed, 900 B freed\n");
    drop(&o);
    person = true;
    const char *const no[] = {"", NULL}, *const yes[] = {"y", NULL};
    typed = no;
    o = CALL("rm", "a/b");
    assert_int_equal(o.code, HANGAR_E_CANCELLED);
    assert_seen("get a/b\n");
    assert_told("remove a/b (1.0 kB)? [y/N] ");
    drop(&o);
    typed = yes;
    o = CALL("rm", "a/b");
    assert_int_equal(o.code, HANGAR_OK);
    assert_seen("get a/b\nremove a/b\n");
    drop(&o);
    typed = NULL; /* the end of input is no "yes" */
    o = CALL("rm", "a/b");
    assert_int_equal(o.code, HANGAR_E_CANCELLED);
    drop(&o);
    o = CALL("rm", "a/b", "-y");
    assert_seen("remove a/b\n");
    drop(&o);
}

static void test_quantize(void **state)
{
    (void)state;
    give.json = "{\"ref\":\"a/b\",\"form\":\"int4\",\"level\":\"O2\",\"path\":\"/p\",\"bytes_written\":5000,"
                "\"proof\":{\"checks\":[{\"name\":\"drift\",\"value\":0.12345,\"limit\":0.35}],\"ok\":true},"
                "\"asked\":\"small\",\"profile\":\"cpu-int4\",\"why\":\"cpu-int4 for text-generation\","
                "\"table\":null,\"seconds\":1.5}";
    outcome o = CALL("quantize", "a/b");
    assert_seen("optimize a/b profile small level - out - place 0 seconds 0 keep 0\n");
    assert_string_equal(o.page, "✓ a/b is cpu-int4 now (1.5 s)\n"
                                "  why    cpu-int4 for text-generation\n"
                                "  form   int4\n"
                                "  level  O2\n"
                                "  size   5.0 kB\n"
                                "  drift  0.1235, limit 0.35\n"
                                "  path   /p\n");
    drop(&o);
    give.code = HANGAR_E_INTEGRITY;
    give.json = "{\"ref\":\"a/b\",\"profile\":\"cpu-int4\",\"proof\":{\"ok\":false}}";
    o = CALL("quantize", "a/b", "--profile", "cpu-int4", "--out", "d", "--reflink", "--level", "O1");
    assert_int_equal(o.code, HANGAR_E_INTEGRITY);
    assert_seen("optimize a/b profile cpu-int4 level O1 out d place 2 seconds 0 keep 0\n");
    assert_string_equal(o.page, "✗ a/b: cpu-int4 is not right and was not kept\n");
    drop(&o);
    give.code = HANGAR_OK;
    give.json = "[{\"name\":\"auto\",\"form\":null,\"words\":\"tries\"},{\"name\":\"cpu\",\"form\":\"f32\","
                "\"words\":\"plain\"}]";
    o = CALL("quantize", "--list");
    assert_seen("profiles\n");
    assert_string_equal(o.page, "PROFILE  FORM  WHAT FOR\n"
                                "auto           tries\n"
                                "cpu      f32   plain\n");
    drop(&o);
    o = CALL0("quantize");
    assert_int_equal(o.code, HANGAR_E_USAGE);
    assert_seen("");
    drop(&o);
    o = CALL("quantize", "a/b", "--copy");
    assert_int_equal(o.code, HANGAR_E_USAGE);
    drop(&o);
    o = CALL("quantize", "a/b", "--out", "d", "--copy", "--link");
    assert_int_equal(o.code, HANGAR_E_USAGE);
    assert_seen("");
    drop(&o);
}

static void test_optimize(void **state)
{
    (void)state;
    give.json = "{\"ref\":\"a/b\",\"form\":\"int8\",\"level\":\"O2\",\"path\":\"/p\",\"bytes_written\":5000,"
                "\"asked\":\"auto\",\"profile\":\"cpu-int8\",\"why\":\"faster\",\"seconds\":20,\"table\":["
                "{\"profile\":\"cpu\",\"ok\":true,\"prefill_ms\":303.4,\"step_ms\":30.66,\"score\":2265.5,"
                "\"bytes\":61700,"
                "\"memory\":549300000,\"drift\":null},"
                "{\"profile\":\"cpu-int8\",\"ok\":true,\"prefill_ms\":64.71,\"step_ms\":7.219,\"score\":527,"
                "\"bytes\":137800000,\"memory\":233000000,\"drift\":0.0521},"
                "{\"profile\":\"cpu-int4\",\"ok\":false,\"bytes\":0,\"memory\":0,\"drift\":null,\"why\":"
                "\"too far\"}]}";
    outcome o = CALL("optimize", "a/b", "--seconds", "2m", "--keep");
    assert_seen("optimize a/b profile auto level - out - place 0 seconds 120 keep 1\n");
    assert_string_equal(o.page, "✓ a/b is cpu-int8 now (20 s)\n"
                                "  why    faster\n"
                                "  form   int8\n"
                                "  level  O2\n"
                                "  size   5.0 kB\n"
                                "  path   /p\n"
                                "\n"
                                "   PROFILE   PREFILL  BATCH  STEP  SCORE  DRIFT  NOTE\n"
                                "   cpu           303         30.7   2266\n"
                                "✓  cpu-int8     64.7         7.22    527  0.052\n"
                                "✗  cpu-int4                                      too far\n"
                                "times in ms; score: the main use, lower is better\n");
    drop(&o);
}

static void test_convert(void **state)
{
    (void)state;
    give.json = "{\"ref\":\"a/b\",\"architecture\":\"bert\",\"path\":\"/"
                "p\",\"graphs\":[{\"file\":\"model.onnx\",\"nodes\":100,"
                "\"bytes\":5000}],\"weights\":{\"placed\":\"link\",\"bytes\":1000000},\"bytes_written\":"
                "5000,\"proof\":{\"checks\":[1,2],\"ok\":true,\"seconds\":1.5},\"seconds\":0.021}";
    outcome o = CALL("convert", "a/b", "--out", "d", "--copy", "--opset", "18");
    assert_seen("convert a/b out d place 3 opset 18\n");
    assert_string_equal(o.page, "✓ a/b converted in 21 ms\n"
                                "  architecture  bert\n"
                                "  written       5.0 kB\n"
                                "  weights       1.0 MB hard-linked\n"
                                "  path          /p\n"
                                "\n"
                                "GRAPH       NODES    SIZE\n"
                                "model.onnx    100  5.0 kB\n"
                                "\n"
                                "✓ proved: 2 checks passed (1.5 s)\n");
    drop(&o);
    give.json = "{\"ref\":\"a/b\",\"weights\":{\"placed\":null,\"bytes\":0},\"seconds\":0.021}";
    o = CALL("convert", "a/b");
    assert_null(strstr(o.page, "proved"));
    assert_seen("convert a/b out - place 0 opset 0\n");
    drop(&o);
    o = CALL("convert", "a/b", "--out", "d", "--link");
    assert_seen("convert a/b out d place 1 opset 0\n");
    drop(&o);
    o = CALL("convert", "a/b", "--out", "d", "--reflink");
    assert_seen("convert a/b out d place 2 opset 0\n");
    drop(&o);
    o = CALL("convert", "a/b", "--out", "d", "--link", "--copy");
    assert_int_equal(o.code, HANGAR_E_USAGE);
    drop(&o);
    o = CALL("convert", "a/b", "--link");
    assert_int_equal(o.code, HANGAR_E_USAGE);
    assert_seen("");
    drop(&o);
    o = CALL("convert", "a/b", "--to", "gguf");
    assert_int_equal(o.code, HANGAR_E_USAGE);
    drop(&o);
    o = CALL("convert", "a/b", "--style", "plain");
    assert_int_equal(o.code, HANGAR_E_USAGE);
    assert_seen("");
    drop(&o);
}

static void test_validate(void **state)
{
    (void)state;
    give.code = HANGAR_E_INTEGRITY;
    give.json = "{\"ref\":\"a/"
                "b\",\"ok\":false,\"seconds\":1.5,\"checks\":[{\"name\":\"structure\",\"ok\":true,\"value\":"
                "null,\"limit\":"
                "null,\"detail\":\"fine\"},{\"name\":\"reference\",\"ok\":false,\"value\":0.01,\"limit\":0."
                "001,\"detail\":\"mel\"}]}";
    outcome o = CALL("validate", "a/b");
    assert_seen("validate a/b\n");
    assert_string_equal(o.page, "   CHECK      VALUE  LIMIT  DETAIL\n"
                                "✓  structure                fine\n"
                                "✗  reference   0.01  0.001  mel\n"
                                "\n"
                                "✗ a/b: 1 of 2 checks failed (1.5 s)\n");
    drop(&o);
    o = CALL("validate", "a/b", "--form", "int4", "--layers");
    assert_seen("validate a/b form int4 layers\n");
    drop(&o);
}

static void test_serve(void **state)
{
    (void)state;
    outcome o =
        CALL("serve", "--listen", "127.0.0.1:0", "--preload", "a/b", "--preload", "c", "--grace", "2s");
    assert_int_equal(o.code, HANGAR_OK);
    assert_seen("serve at 127.0.0.1:0 with a/b with c\nwait\nserve ends within 2 s\n");
    drop(&o);
    give.code = HANGAR_E_BUSY;
    o = CALL0("serve");
    assert_int_equal(o.code, HANGAR_E_BUSY);
    assert_seen("serve at ?\n");
    drop(&o);
}

static void test_mirror(void **state)
{
    (void)state;
    outcome o = CALL("mirror", "dir", "--listen", "127.0.0.1:4711");
    assert_int_equal(o.code, HANGAR_OK);
    assert_seen("mirror dir at 127.0.0.1:4711\nwait\nmirror ends\n");
    assert_string_equal(hg_buf_text(&o.text), "http://127.0.0.1:4711\n");
    assert_told("HF_ENDPOINT=http://127.0.0.1:4711 hangar pull ORG/NAME pulls from it; Ctrl-C ends it\n");
    drop(&o);
    give.code = HANGAR_E_BUSY;
    o = CALL("mirror", "dir");
    assert_int_equal(o.code, HANGAR_E_BUSY);
    assert_seen("mirror dir at 127.0.0.1:0\n");
    drop(&o);
}

static void test_machine(void **state)
{
    (void)state;
    give.json = "{\"cpu\":{\"model\":\"X\",\"sockets\":1,\"cores\":2,\"threads\":4,\"usable\":1,\"isa\":["
                "\"avx\",\"fma\"],\"caches\":["
                "{\"level\":1,\"kind\":\"data\",\"bytes\":49152,\"count\":2}]},\"memory\":{\"total\":"
                "1000000000,\"available\":"
                "500000000,\"limit\":null},\"gpus\":[],\"disk\":{\"path\":\"/"
                "c\",\"free\":1000},\"profile\":{\"name\":\"cpu\",\"why\":"
                "\"no GPU\"}}";
    outcome o = CALL0("hardware");
    assert_seen("hardware\n");
    assert_string_equal(o.page, "  processor     X\n"
                                "  cores         1 socket, 2 cores, 4 threads; 1 usable here\n"
                                "  instructions  avx fma\n"
                                "  L1 data       2 × 48 KiB\n"
                                "  memory        1.0 GB, 500.0 MB free\n"
                                "  GPU           none\n"
                                "  disk          1.0 kB free at /c\n"
                                "  profile       cpu: no GPU\n");
    drop(&o);
    give.json = NULL;
    o = CALL0("version");
    assert_string_equal(o.json, "{\"version\":\"1.2.3\"}");
    assert_string_equal(o.page, "hangar 1.2.3\n");
    drop(&o);
}

static void test_doctor(void **state)
{
    (void)state;
    give.code = HANGAR_E_FAILED;
    give.json = "{\"ok\":false,\"checks\":[{\"name\":\"cache\",\"state\":\"ok\",\"detail\":\"fine\","
                "\"advice\":null},{\"name\":\"engine\","
                "\"state\":\"fail\",\"detail\":\"missing\",\"advice\":\"install it\"}]}";
    outcome o = CALL0("doctor");
    assert_int_equal(o.code, HANGAR_E_FAILED);
    assert_seen("doctor\n");
    assert_string_equal(o.page, "   CHECK   DETAIL\n"
                                "✓  cache   fine\n"
                                "✗  engine  missing\n"
                                "\n"
                                "→ engine: install it\n");
    drop(&o);
    give.open = HANGAR_E_INVALID; /* a broken configuration is a finding, too */
    o = CALL0("doctor");
    assert_int_equal(o.code, HANGAR_E_FAILED);
    assert_seen("");
    assert_non_null(strstr(o.page, "✗  opening  cannot be opened\n"));
    drop(&o);
}

static void test_config(void **state)
{
    (void)state;
    give.json =
        "{\"file\":\"/"
        "f\",\"settings\":[{\"key\":\"a.b\",\"value\":8,\"source\":\"file\"},{\"key\":\"c\",\"value\":\"x\","
        "\"source\":\"default\"}]}";
    outcome o = CALL("config", "show", "f.yaml");
    assert_seen("open f.yaml\nconfig show\n");
    assert_string_equal(o.page, "SETTING  SOURCE   VALUE\n"
                                "a.b      file     8\n"
                                "c        default  x\n"
                                "\n"
                                "the file is /f\n");
    drop(&o);
    give.code = HANGAR_E_INVALID;
    give.open = HANGAR_E_INVALID; /* a check does not need to open */
    give.json = "{\"file\":\"f\",\"ok\":false,\"problems\":[{\"line\":3,\"column\":5,\"key\":\"a.b\","
                "\"message\":\"no\"}]}";
    o = CALL("config", "check", "f");
    assert_int_equal(o.code, HANGAR_E_INVALID);
    assert_seen("config check f\n");
    assert_string_equal(o.page, "✗ f:3:5: a.b: no\n");
    drop(&o);
    o = CALL("config", "chek");
    assert_int_equal(o.code, HANGAR_E_USAGE);
    drop(&o);
}

/* Pages take any document: nothing there, wrong types, nonsense. */
static void test_pages_take_anything(void **state)
{
    (void)state;
    static const char *const docs[] = {
        "{}",
        "[]",
        "null",
        "3",
        "\"x\"",
        "{\"files\":7,\"models\":{\"a\":1},\"checks\":[null,1,\"x\",[]],\"damaged\":[[]],\"unverifiable\":[1]"
        ",\"settings\":[3],"
        "\"problems\":[{}],\"graphs\":[null],\"artifacts\":[1,{}],\"fits\":true,\"embeddings\":[[\"x\",{}],3]"
        ",\"results\":[{}],"
        "\"segments\":[{}],\"cpu\":[],\"memory\":3,\"gpus\":[1],\"text\":5,\"seconds\":-1}"};
    for (const hg_verb *const *v = hg_verb_all(); *v; v++) {
        for (size_t i = 0; (*v)->show && i < HG_LEN(docs); i++) {
            hg_json *doc = NULL;
            assert_int_equal(hg_json_parse(hg_str_of(docs[i]), NULL, &doc, NULL), HANGAR_OK);
            hg_view *view = hg_view_new(40, true);
            (*v)->show(hg_json_root(doc), view);
            assert_non_null(hg_view_text(view));
            hg_view_free(view);
            hg_json_free(doc);
        }
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, reset, clean)
    const struct CMUnitTest tests[] = {
        TEST(test_every_verb_is_whole),
        TEST(test_pull),
        TEST(test_pull_plan),
        TEST(test_add),
        TEST(test_ls),
        TEST(test_show),
        TEST(test_show_exists),
        TEST(test_verify),
        TEST(test_rm_asks),
        TEST(test_quantize),
        TEST(test_optimize),
        TEST(test_convert),
        TEST(test_validate),
        TEST(test_serve),
        TEST(test_mirror),
        TEST(test_machine),
        TEST(test_doctor),
        TEST(test_config),
        TEST(test_pages_take_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
