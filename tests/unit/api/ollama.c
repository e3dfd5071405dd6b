/* SPDX-License-Identifier: Apache-2.0 */
/* Ollama's dialect as text to text: requests to questions, what a model says to lines. */
#include "api/dialect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static hg_json *body;
static hg_ask_spec spec;
static hg_shape shape;
static hangar_err err;
static hg_ollama_want want;
static char *question;
static hg_buf out;

typedef hangar_code read_fn(const hg_jval *body, hg_ask_spec *spec, hg_shape *f, hg_ollama_want *want,
                            hangar_err *err);

static int forget(void **state)
{
    (void)state;
    hg_json_free(body);
    hg_json_free(spec.doc);
    hg_shape_deinit(&shape);
    free(question);
    body = NULL;
    question = NULL;
    spec = (hg_ask_spec){.file = -1};
    shape = (hg_shape){0};
    return 0;
}

static hangar_code read_as(read_fn *read, const char *text)
{
    forget(NULL);
    err = (hangar_err){0};
    want = HG_OLLAMA_ASK;
    assert_int_equal(hg_json_parse(hg_str_of(text), NULL, &body, &err), HANGAR_OK);
    hg_shape_init(&shape, NULL, "0123456789abcdef", 1700000000);
    hangar_code code = read(hg_json_root(body), &spec, &shape, &want, &err);
    if (code == HANGAR_OK && spec.doc) question = hg_json_print(hg_json_root(spec.doc), false);
    return code;
}

static void expect(read_fn *read, const char *text, const char *doc)
{
    if (read_as(read, text) != HANGAR_OK) fail_msg("%s: %s", text, err.msg);
    assert_int_equal(want, HG_OLLAMA_ASK);
    assert_string_equal(question, doc);
}

static void refuse(read_fn *read, const char *text, const char *word)
{
    hangar_code code = read_as(read, text);
    if (code != HANGAR_E_USAGE) fail_msg("%s gave %d %s", text, code, question ? question : "");
    if (!strstr(err.msg, word)) fail_msg("%s: \"%s\" does not say %s", text, err.msg, word);
}

/* ---- in ---- */

static void test_generate_reads(void **state)
{
    (void)state;
    read_fn *read = hg_ollama_generate_read;
    expect(read, "{\"model\":\"m\",\"prompt\":\"hi\",\"system\":\"s\"}",
           "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"hi\"}]}");
    assert_true(spec.streams); /* this dialect streams unless it is told not to */
    assert_true(spec.spliceable);
    expect(read,
           "{\"name\":\"m\",\"prompt\":\"hi\",\"raw\":true,\"stream\":false,\"images\":[],\"context\":[],"
           "\"keep_alive\":-1,"
           "\"options\":{\"temperature\":0,\"top_k\":5,\"top_p\":0.5,\"min_p\":0.1,\"repeat_penalty\":1.1,"
           "\"seed\":-1,"
           "\"num_predict\":7,\"num_ctx\":256,\"stop\":[\"x\"],\"num_thread\":4,\"mirostat\":0,\"typical_p\":"
           "1}}",
           "{\"temperature\":0.0,\"top_p\":0.5,\"min_p\":0.1,\"top_k\":5,\"repeat_penalty\":1.1,\"seed\":-1,"
           "\"stop\":[\"x\"],\"max_tokens\":7,\"context\":256,\"prompt\":\"hi\"}");
    assert_string_equal(spec.model, "m");
    assert_true(spec.keep_alive == -1);
    assert_false(spec.streams);
    expect(read, "{\"model\":\"m\",\"prompt\":\"hi\",\"format\":\"json\",\"options\":{\"num_predict\":-2}}",
           "{\"json\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}");
    assert_false(spec.spliceable);
    expect(read,
           "{\"model\":\"m\",\"prompt\":\"hi\",\"format\":{\"type\":\"object\"},\"logprobs\":true,\"think\":"
           "false}",
           "{\"json_schema\":\"{\\\"type\\\":\\\"object\\\"}\",\"logprobs\":0,"
           "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}");
}

static void test_nothing_to_ask_loads_or_unloads(void **state)
{
    (void)state;
    assert_int_equal(read_as(hg_ollama_generate_read, "{\"model\":\"m\"}"), HANGAR_OK);
    assert_int_equal(want, HG_OLLAMA_LOAD);
    assert_null(spec.doc);
    assert_int_equal(read_as(hg_ollama_generate_read, "{\"model\":\"m\",\"prompt\":\"\",\"keep_alive\":0}"),
                     HANGAR_OK);
    assert_int_equal(want, HG_OLLAMA_UNLOAD);
    assert_int_equal(read_as(hg_ollama_chat_read, "{\"model\":\"m\",\"messages\":[],\"keep_alive\":\"10m\"}"),
                     HANGAR_OK);
    assert_int_equal(want, HG_OLLAMA_LOAD);
    assert_true(spec.keep_alive == 600);
    assert_int_equal(read_as(hg_ollama_chat_read, "{\"model\":\"m\",\"keep_alive\":\"0s\"}"), HANGAR_OK);
    assert_int_equal(want, HG_OLLAMA_UNLOAD);
}

static void test_generate_refuses(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"\"images\":[\"aGk=\"]", "images"},
        {"\"template\":\"{{ .Prompt }}\"", "template"},
        {"\"suffix\":\"x\"", "suffix"},
        {"\"context\":[1,2]", "context"},
        {"\"think\":true", "think"},
        {"\"think\":\"high\"", "think"},
        {"\"system\":5", "system"},
        {"\"raw\":true,\"system\":\"s\"", "system"},
        {"\"format\":\"xml\"", "format"},
        {"\"format\":[]", "format"},
        {"\"options\":[]", "options"},
        {"\"options\":{\"temperature\":9}", "temperature"},
        {"\"options\":{\"mirostat\":1}", "mirostat"},
        {"\"options\":{\"presence_penalty\":3}", "presence_penalty"},
        {"\"options\":{\"num_predict\":-3}", "num_predict"},
        {"\"options\":{\"num_predict\":\"5\"}", "num_predict"},
        {"\"options\":{\"num_ctx\":99999999}", "num_ctx"},
        {"\"options\":{\"stop\":[1]}", "stop"},
        {"\"keep_alive\":\"5 minutes\"", "keep_alive"},
        {"\"keep_alive\":true", "keep_alive"},
        {"\"logprobs\":true,\"top_logprobs\":99", "top_logprobs"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[512];
        snprintf(text, sizeof text, "{\"model\":\"m\",\"prompt\":\"hi\",%s}", bad[i][0]);
        refuse(hg_ollama_generate_read, text, bad[i][1]);
    }
    refuse(hg_ollama_generate_read, "{\"prompt\":\"hi\"}", "model");
    refuse(hg_ollama_generate_read, "{\"model\":\"m\",\"prompt\":5}", "prompt");
}

#define CALL(id, name) "{" id "\"function\":{\"name\":\"" name "\",\"arguments\":{}}}"
#define ASKED(id, name) \
    "{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"" name "\",\"arguments\":{}}}"

static void test_chat_reads(void **state)
{
    (void)state;
    read_fn *read = hg_ollama_chat_read;
    expect(read,
           "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\","
           "\"content\":\"hi\"}]}",
           "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"hi\"}]}");
    assert_true(spec.spliceable);
    /* Answers of tools find their calls: by id, by the tool's name, by order. */
    expect(read,
           "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[" CALL("", "f") "," CALL(
               "",
               "g") "," CALL("\"id\":\"mine\",",
                             "f") "]},"
                                  "{\"role\":\"tool\",\"tool_name\":\"g\",\"content\":\"1\"},"
                                  "{\"role\":\"tool\",\"tool_call_id\":\"mine\",\"content\":\"2\"},"
                                  "{\"role\":\"tool\",\"content\":\"3\"}],\"tools\":[{\"type\":\"function\","
                                  "\"function\":{\"name\":\"f\"}}]}",
           "{\"messages\":[{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[" ASKED(
               "call_0", "f") "," ASKED("call_1",
                                        "g") "," ASKED("mine",
                                                       "f") "]},"
                                                            "{\"role\":\"tool\",\"content\":\"1\",\"tool_"
                                                            "call_id\":\"call_1\",\"name\":\"g\"},"
                                                            "{\"role\":\"tool\",\"content\":\"2\",\"tool_"
                                                            "call_id\":\"mine\",\"name\":\"f\"},"
                                                            "{\"role\":\"tool\",\"content\":\"3\",\"tool_"
                                                            "call_id\":\"call_0\",\"name\":\"f\"}],"
                                                            "\"tools\":[{\"type\":\"function\",\"function\":"
                                                            "{\"name\":\"f\",\"parameters\":{\"type\":"
                                                            "\"object\",\"properties\":{}}}}]}");
    assert_false(spec.spliceable);
    static const char *const bad[][2] = {
        {"[{\"role\":\"bot\",\"content\":\"x\"}]", "role"},
        {"[{\"role\":\"user\",\"content\":[]}]", "content"},
        {"[{\"role\":\"user\",\"content\":\"x\",\"images\":[\"a\"]}]", "images"},
        {"[{\"role\":\"tool\",\"content\":\"x\"}]", "messages[0]"},
        {"[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":5}}]}]",
         "arguments"},
        {"[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":"
         "\"0123456789012345678901234567890123456789012345678901234567890123\","
         "\"function\":{\"name\":\"f\",\"arguments\":{}}}]}]",
         "id"},
        {"{}", "messages"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[512];
        snprintf(text, sizeof text, "{\"model\":\"m\",\"messages\":%s}", bad[i][0]);
        refuse(read, text, bad[i][1]);
    }
}

static hangar_code embed(const hg_jval *b, hg_ask_spec *s, hg_shape *f, hg_ollama_want *w, hangar_err *e)
{
    (void)w;
    return hg_ollama_embed_read(b, s, f, e);
}

static hangar_code embeddings(const hg_jval *b, hg_ask_spec *s, hg_shape *f, hg_ollama_want *w, hangar_err *e)
{
    (void)w;
    return hg_ollama_embeddings_read(b, s, f, e);
}

static void test_embed_reads(void **state)
{
    (void)state;
    expect(embed, "{\"model\":\"m\",\"input\":[\"a\",\"b\"],\"truncate\":false}",
           "{\"input\":[\"a\",\"b\"]}");
    assert_true(shape.no_cut);
    assert_int_equal(spec.kind, HG_ASK_EMBED);
    expect(embeddings, "{\"model\":\"m\",\"prompt\":\"a\"}", "{\"input\":[\"a\"]}");
    assert_true(shape.single);
    refuse(embed, "{\"model\":\"m\",\"input\":[]}", "input");
    refuse(embed, "{\"model\":\"m\",\"input\":5}", "input");
    refuse(embed, "{\"model\":\"m\",\"input\":\"a\",\"dimensions\":-1}", "dimensions");
    refuse(embeddings, "{\"model\":\"m\"}", "prompt");
}

static void test_keep_alive(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        double seconds;
    } good[] = {{"\"5m\"", 300}, {"\"1h30m\"", 5400}, {"\"1.5h\"", 5400}, {"\"500ms\"", 0.5}, {"\"-1s\"", -1},
                {"\"-1\"", -1},  {"300", 300},        {"0", 0},           {"-1", -1},         {"\"0\"", 0},
                {"2.5", 2.5},    {"\"1d\"", 86400},   {"\"10us\"", 1e-5}};
    static const char *const bad[] = {"\"m\"",      "\"5x\"",   "\"-\"",
                                      "\"1.2.3s\"", "\"5m \"",  "[]",
                                      "true",       "\"1e3s\"", "\"000000000000000000000000000000001s\""};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        double got = NAN;
        hg_json *doc = NULL;
        assert_int_equal(hg_json_parse(hg_str_of(good[i].json), NULL, &doc, &err), HANGAR_OK);
        assert_int_equal(hg_read_keep_alive(hg_json_root(doc), &got, &err), HANGAR_OK);
        if (!(fabs(got - good[i].seconds) < 1e-9)) fail_msg("%s is %g", good[i].json, got);
        hg_json_free(doc);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        double got = 0;
        hg_json *doc = NULL;
        assert_int_equal(hg_json_parse(hg_str_of(bad[i]), NULL, &doc, &err), HANGAR_OK);
        if (hg_read_keep_alive(hg_json_root(doc), &got, &err) != HANGAR_E_USAGE)
            fail_msg("%s is %g", bad[i], got);
        hg_json_free(doc);
    }
}

/* ---- out ---- */

static void answer(const hg_shape_fns *fns, bool streams)
{
    forget(NULL);
    hg_shape_init(&shape, fns, "0123456789abcdef", 1700000000);
    shape.streaming = streams;
    hg_buf_deinit(&out);
    hg_buf_init(&out, HG_MIB);
    const hg_ask_head head = {.asked = "m", .model = "a/b"};
    assert_int_equal(hg_shape_head(&shape, &head, &err), HANGAR_OK);
}

static const hg_ask_end done = {.finish = "stop",
                                .prompt_tokens = 3,
                                .generated_tokens = 2,
                                .prompt_seconds = 0.5,
                                .generate_seconds = 1.5,
                                .load_seconds = 0.000001,
                                .total_seconds = 2.25};

static void said(const char *text)
{
    assert_int_equal(out.state, HANGAR_OK);
    assert_string_equal(hg_buf_text(&out), text);
    hg_buf_reset(&out);
}

#define LINE "{\"model\":\"a/b\",\"created_at\":\"2023-11-14T22:13:20Z\""
#define NUMBERS                                                                                    \
    ",\"total_duration\":2250000000,\"load_duration\":1000,\"prompt_eval_count\":3,\"prompt_eval_" \
    "duration\":500000000,"                                                                        \
    "\"eval_count\":2,\"eval_duration\":1500000000}"

static void test_generate_streams(void **state)
{
    (void)state;
    answer(&hg_shape_ollama_generate, true);
    shape.fns->text(&shape, HG_STR("\"a\\n\""), NULL, &out);
    said(LINE ",\"response\":\"a\\n\",\"done\":false}\n");
    shape.fns->end(&shape, &done, &out);
    said(LINE ",\"response\":\"\",\"done\":true,\"done_reason\":\"stop\"" NUMBERS "\n");
    hg_fail(&err, HANGAR_E_ENGINE, "it died");
    (shape.fns->fail)(&shape, &err, &out);
    assert_non_null(strstr(hg_buf_text(&out), "\"error\":"));
    assert_int_equal(hg_buf_text(&out)[out.len - 1], '\n');
}

static void test_chat_streams(void **state)
{
    (void)state;
    answer(&hg_shape_ollama_chat, true);
    shape.fns->text(&shape, HG_STR("\"a\""), NULL, &out);
    said(LINE ",\"message\":{\"role\":\"assistant\",\"content\":\"a\"},\"done\":false}\n");
    const hg_said_tool *t = NULL;
    assert_int_equal(hg_shape_keep_tool(&shape, "c", "f", HG_STR("{\"x\":\n1}"), &t, &err), HANGAR_OK);
    assert_int_equal(shape.fns->tool(&shape, t, &out, &err), HANGAR_OK);
    said(LINE
         ",\"message\":{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"c\",\"function\":"
         "{\"name\":\"f\",\"arguments\":{\"x\":1}}}]},\"done\":false}\n");
    hg_ask_end end = done;
    end.finish = "tool_calls";
    end.generated_tokens = -1;
    shape.fns->end(&shape, &end, &out);
    said(LINE ",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\","
              "\"total_duration\":2250000000,\"load_duration\":1000,\"prompt_eval_count\":3,"
              "\"prompt_eval_duration\":500000000,\"eval_duration\":1500000000}\n");
    /* What is no object ends the answer. */
    assert_int_equal(hg_shape_keep_tool(&shape, "c", "f", HG_STR("[1]"), &t, &err), HANGAR_OK);
    assert_int_equal(shape.fns->tool(&shape, t, &out, &err), HANGAR_E_ENGINE);
}

static void test_whole_answers(void **state)
{
    (void)state;
    hg_json *probs = NULL;
    assert_int_equal(hg_json_parse(HG_STR("[{\"token\":\"a\",\"logprob\":-1}]"), NULL, &probs, &err),
                     HANGAR_OK);
    answer(&hg_shape_ollama_generate, false);
    shape.logprobs = true;
    assert_int_equal(hg_shape_keep(&shape, HG_STR("\"a\\n\""), hg_json_root(probs), &err), HANGAR_OK);
    assert_int_equal(shape.fns->whole(&shape, &done, &out, &err), HANGAR_OK);
    said(LINE ",\"response\":\"a\\n\",\"logprobs\":[{\"token\":\"a\",\"logprob\":-1,\"bytes\":[97],\"top_"
              "logprobs\":[]}],"
              "\"done\":true,\"done_reason\":\"stop\"" NUMBERS);
    hg_json_free(probs);
    answer(&hg_shape_ollama_chat, false);
    const hg_said_tool *t = NULL;
    assert_int_equal(hg_shape_keep_tool(&shape, "c", "f", HG_STR(""), &t, &err), HANGAR_OK);
    assert_int_equal(shape.fns->whole(&shape, &done, &out, &err), HANGAR_OK);
    said(LINE
         ",\"message\":{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"c\",\"function\":"
         "{\"name\":\"f\",\"arguments\":{}}}]},\"done\":true,\"done_reason\":\"stop\"" NUMBERS);
    hg_ollama_put_done(&shape, false, "load", &out);
    said(LINE ",\"response\":\"\",\"done\":true,\"done_reason\":\"load\"}");
    hg_ollama_put_done(&shape, true, "unload", &out);
    said(LINE
         ",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"unload\"}");
}

static void test_vectors(void **state)
{
    (void)state;
    hg_json *doc = NULL;
    assert_int_equal(
        hg_json_parse(
            HG_STR("{\"dimensions\":2,\"embeddings\":[[0.5,1],[0,2]],\"tokens\":[2,3],\"truncated\":[1]}"),
            NULL, &doc, &err),
        HANGAR_OK);
    hg_ask_end end = done;
    end.doc = hg_json_root(doc);
    answer(&hg_shape_ollama_embed, false);
    assert_int_equal(shape.fns->whole(&shape, &end, &out, &err), HANGAR_OK);
    said("{\"model\":\"a/"
         "b\",\"embeddings\":[[0.5,1],[0,2]],\"total_duration\":2250000000,\"load_duration\":1000,"
         "\"prompt_eval_count\":5}");
    shape.single = true;
    assert_int_equal(shape.fns->whole(&shape, &end, &out, &err), HANGAR_OK);
    said("{\"embedding\":[0.5,1]}");
    shape.no_cut = true;
    assert_int_equal(shape.fns->whole(&shape, &end, &out, &err), HANGAR_E_USAGE);
    shape.dimensions = 4;
    assert_int_equal(shape.fns->whole(&shape, &end, &out, &err), HANGAR_E_USAGE);
    hg_json_free(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_generate_reads, forget),
        cmocka_unit_test_teardown(test_nothing_to_ask_loads_or_unloads, forget),
        cmocka_unit_test_teardown(test_generate_refuses, forget),
        cmocka_unit_test_teardown(test_chat_reads, forget),
        cmocka_unit_test_teardown(test_embed_reads, forget),
        cmocka_unit_test_teardown(test_keep_alive, forget),
        cmocka_unit_test_teardown(test_generate_streams, forget),
        cmocka_unit_test_teardown(test_chat_streams, forget),
        cmocka_unit_test_teardown(test_whole_answers, forget),
        cmocka_unit_test_teardown(test_vectors, forget),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    hg_buf_deinit(&out);
    return failed;
}
