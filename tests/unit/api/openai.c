/* SPDX-License-Identifier: Apache-2.0 */
/* OpenAI's dialect as text to text: requests to questions, what a model says to chunks, events and documents. */
#include "api/dialect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef hangar_code read_fn(const hg_jval *body, hg_ask_spec *spec, hg_shape *f, hangar_err *err);

/* What one request became. */
static hg_json *body;
static hg_ask_spec spec;
static hg_shape shape;
static hangar_err err;
static char *question; /* spec.doc as text */

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
    assert_int_equal(hg_json_parse(hg_str_of(text), NULL, &body, &err), HANGAR_OK);
    hg_shape_init(&shape, NULL, "0123456789abcdef", 1700000000);
    hangar_code code = read(hg_json_root(body), &spec, &shape, &err);
    if (code == HANGAR_OK) question = hg_json_print(hg_json_root(spec.doc), false);
    return code;
}

static void expect(read_fn *read, const char *text, const char *doc)
{
    if (read_as(read, text) != HANGAR_OK) fail_msg("%s: %s", text, err.msg);
    assert_string_equal(question, doc);
}

/* Each is USAGE, and the message names what is wrong. */
static void refuse(read_fn *read, const char *text, const char *word)
{
    hangar_code code = read_as(read, text);
    if (code != HANGAR_E_USAGE) fail_msg("%s gave %d %s", text, code, question ? question : "");
    if (!strstr(err.msg, word)) fail_msg("%s: \"%s\" does not say %s", text, err.msg, word);
}

/* ---- chat, in ---- */

static void test_chat_reads_a_conversation(void **state)
{
    (void)state;
    expect(hg_openai_chat_read,
           "{\"model\":\"m\",\"messages\":[{\"role\":\"developer\",\"content\":\"be short\"},"
           "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":"
           "\"b\"}]},"
           "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\","
           "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":1}\"}}]},"
           "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"2\"}]}",
           "{\"messages\":[{\"role\":\"system\",\"content\":\"be "
           "short\"},{\"role\":\"user\",\"content\":\"a\\nb\"},"
           "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\","
           "\"function\":{\"name\":\"f\",\"arguments\":{\"x\":1}}}]},"
           "{\"role\":\"tool\",\"content\":\"2\",\"tool_call_id\":\"c1\",\"name\":\"f\"}]}");
    assert_string_equal(spec.model, "m");
    assert_int_equal(spec.kind, HG_ASK_GENERATE);
    assert_false(spec.streams);
    assert_false(spec.spliceable);
    assert_true(isnan(spec.keep_alive));
}

#define USER  "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define ASKED "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

static void test_chat_reads_how_to_sample(void **state)
{
    (void)state;
    expect(hg_openai_chat_read,
           "{\"model\":\"m\"," USER
           ",\"temperature\":0.5,\"top_p\":0,\"seed\":7,\"stop\":\"x\",\"max_tokens\":9,"
           "\"max_completion_tokens\":5,\"top_k\":3,\"presence_penalty\":-1.5,\"n\":1,\"user\":\"me\","
           "\"what\":{}}",
           ASKED ",\"temperature\":0.5,\"top_p\":0.000001,\"top_k\":3,\"presence_penalty\":-1.5,\"seed\":7,"
                 "\"stop\":[\"x\"],\"max_tokens\":5}");
    expect(hg_openai_chat_read, "{\"model\":\"m\"," USER ",\"stop\":[\"a\",\"b\"],\"stream\":true}",
           ASKED ",\"stop\":[\"a\",\"b\"]}");
    assert_true(spec.streams);
    assert_true(spec.spliceable);
    expect(hg_openai_chat_read,
           "{\"model\":\"m\"," USER ",\"logprobs\":true,\"top_logprobs\":2,\"stream\":true,"
           "\"stream_options\":{\"include_usage\":true},\"keep_alive\":\"1m30s\",\"stop\":null}",
           ASKED ",\"logprobs\":2}");
    assert_true(shape.usage);
    assert_true(shape.logprobs);
    assert_true(spec.keep_alive == 90);
}

static void test_chat_never_splices_json_or_tools(void **state)
{
    (void)state;
    expect(hg_openai_chat_read,
           "{\"model\":\"m\"," USER ",\"stream\":true,\"response_format\":{\"type\":\"json_object\"}}",
           ASKED ",\"json\":true}");
    assert_false(spec.spliceable);
    expect(hg_openai_chat_read,
           "{\"model\":\"m\"," USER ",\"stream\":true,\"response_format\":{\"type\":\"json_schema\","
           "\"json_schema\":{\"name\":\"n\",\"schema\":{\"type\":\"object\"}}}}",
           ASKED ",\"json_schema\":\"{\\\"type\\\":\\\"object\\\"}\"}");
    assert_false(spec.spliceable);
    expect(hg_openai_chat_read,
           "{\"model\":\"m\"," USER ",\"stream\":true,\"tools\":[{\"type\":\"function\",\"function\":"
           "{\"name\":\"f\",\"description\":\"d\"}}],\"tool_choice\":{\"type\":\"function\",\"function\":"
           "{\"name\":\"f\"}},\"parallel_tool_calls\":false}",
           ASKED
           ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\","
           "\"parameters\":{\"type\":\"object\",\"properties\":{}}}}],\"tool_choice\":{\"name\":\"f\"}}");
    assert_false(spec.spliceable);
}

static void test_chat_refuses(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"\"presence_penalty\":2.5", "presence_penalty"},
        {"\"frequency_penalty\":-2.1", "frequency_penalty"},
        {"\"logit_bias\":{\"1\":2}", "logit_bias"},
        {"\"functions\":[{}]", "tools"},
        {"\"n\":2", "\"n\""},
        {"\"n\":0", "\"n\""},
        {"\"temperature\":-1", "temperature"},
        {"\"temperature\":5.1", "temperature"},
        {"\"temperature\":\"5\"", "temperature"},
        {"\"top_p\":1.5", "top_p"},
        {"\"min_p\":2", "min_p"},
        {"\"top_k\":-1", "top_k"},
        {"\"top_k\":1.5", "top_k"},
        {"\"repeat_penalty\":0", "repeat_penalty"},
        {"\"seed\":1e30", "seed"},
        {"\"max_tokens\":0", "max_tokens"},
        {"\"max_tokens\":1048577", "max_tokens"},
        {"\"max_completion_tokens\":-1", "max_completion_tokens"},
        {"\"stop\":\"\"", "stop"},
        {"\"stop\":[1]", "stop"},
        {"\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"0\",\"1\",\"2\",\"3\",\"4\","
         "\"5\",\"6\",\"7\"]",
         "stop"},
        {"\"logprobs\":true,\"top_logprobs\":21", "top_logprobs"},
        {"\"top_logprobs\":2", "logprobs"},
        {"\"tools\":{}", "tools"},
        {"\"tools\":[{\"type\":\"web_search\"}]", "web_search"},
        {"\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a b\"}}]", "tools[0].function"},
        {"\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":[]}}]", "parameters"},
        {"\"tool_choice\":\"required\"", "tools"},
        {"\"tool_choice\":\"any\"", "tool_choice"},
        {"\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}", "\"f\""},
        {"\"response_format\":{\"type\":\"xml\"}", "response_format"},
        {"\"response_format\":{\"type\":\"json_schema\"}", "response_format.json_schema.schema"},
        {"\"modalities\":[\"audio\"]", "modalities"},
        {"\"keep_alive\":\"soon\"", "keep_alive"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[512];
        snprintf(text, sizeof text, "{\"model\":\"m\"," USER ",%s}", bad[i][0]);
        refuse(hg_openai_chat_read, text, bad[i][1]);
    }
    static const char *const messages[][2] = {
        {"[]", "messages"},
        {"{}", "messages"},
        {"[1]", "messages[0].role"},
        {"[{\"role\":\"function\",\"content\":\"x\"}]", "messages[0].role"},
        {"[{\"role\":\"user\"}]", "content"},
        {"[{\"role\":\"user\",\"content\":5}]", "messages[0].content"},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"file:///etc/"
         "passwd\"}}]}]",
         "image_url"},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]", "messages[0].content[0]"},
        {"[{\"role\":\"tool\",\"content\":\"x\"}]", "tool_call_id"},
        {"[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"1\",\"function\":{\"name\":\"f\",\"arguments\":"
         "\"[]\"}}]}]",
         "messages[0].tool_calls[0].function.arguments"},
        {"[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}]",
         "id"},
    };
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
        char text[512];
        snprintf(text, sizeof text, "{\"model\":\"m\",\"messages\":%s}", messages[i][0]);
        refuse(hg_openai_chat_read, text, messages[i][1]);
    }
    refuse(hg_openai_chat_read, "{" USER "}", "model");
    refuse(hg_openai_chat_read, "{\"model\":\"\"," USER "}", "model");
}

/* ---- the other routes, in ---- */

static void test_completions_read(void **state)
{
    (void)state;
    read_fn *read = hg_openai_completion_read;
    expect(read, "{\"model\":\"m\",\"prompt\":\"once\"}", "{\"prompt\":\"once\",\"max_tokens\":16}");
    expect(read,
           "{\"model\":\"m\",\"prompt\":[\"once\"],\"max_tokens\":3,\"logprobs\":0,\"echo\":false,\"stream\":"
           "true}",
           "{\"prompt\":\"once\",\"max_tokens\":3,\"logprobs\":0}");
    assert_true(shape.logprobs);
    assert_true(spec.spliceable);
    refuse(read, "{\"model\":\"m\"}", "prompt");
    refuse(read, "{\"model\":\"m\",\"prompt\":[\"a\",\"b\"]}", "2");
    refuse(read, "{\"model\":\"m\",\"prompt\":[]}", "prompt");
    refuse(read, "{\"model\":\"m\",\"prompt\":[1,2]}", "tokens");
    refuse(read, "{\"model\":\"m\",\"prompt\":\"a\",\"echo\":true}", "echo");
    refuse(read, "{\"model\":\"m\",\"prompt\":\"a\",\"suffix\":\"b\"}", "suffix");
    refuse(read, "{\"model\":\"m\",\"prompt\":\"a\",\"best_of\":3}", "best_of");
}

static void test_embeddings_read(void **state)
{
    (void)state;
    read_fn *read = hg_openai_embeddings_read;
    expect(read, "{\"model\":\"m\",\"input\":\"a\",\"encoding_format\":\"base64\"}", "{\"input\":[\"a\"]}");
    assert_true(shape.base64);
    expect(read, "{\"model\":\"m\",\"input\":[\"a\",\"\"],\"dimensions\":8}", "{\"input\":[\"a\",\"\"]}");
    assert_int_equal(shape.dimensions, 8);
    refuse(read, "{\"model\":\"m\",\"input\":[]}", "input");
    refuse(read, "{\"model\":\"m\"}", "input");
    refuse(read, "{\"model\":\"m\",\"input\":[1,2]}", "tokens");
    refuse(read, "{\"model\":\"m\",\"input\":[[1,2]]}", "tokens");
    refuse(read, "{\"model\":\"m\",\"input\":[\"a\",null]}", "input[1]");
    refuse(read, "{\"model\":\"m\",\"input\":\"a\",\"encoding_format\":\"int8\"}", "encoding_format");
    refuse(read, "{\"model\":\"m\",\"input\":\"a\",\"dimensions\":0}", "dimensions");
}

static void test_responses_read(void **state)
{
    (void)state;
    read_fn *read = hg_openai_response_read;
    expect(read,
           "{\"model\":\"m\",\"input\":\"hi\",\"instructions\":\"be "
           "short\",\"max_output_tokens\":4,\"stream\":true}",
           "{\"messages\":[{\"role\":\"system\",\"content\":\"be "
           "short\"},{\"role\":\"user\",\"content\":\"hi\"}],"
           "\"max_tokens\":4}");
    assert_true(spec.streams);
    assert_false(spec.spliceable);
    expect(read,
           "{\"model\":\"m\",\"store\":true,\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_"
           "text\",\"text\":\"hi\"}]},"
           "{\"type\":\"reasoning\",\"id\":\"r\",\"summary\":[]},"
           "{\"type\":\"function_call\",\"call_id\":\"a\",\"name\":\"f\",\"arguments\":\"{}\"},"
           "{\"type\":\"function_call\",\"call_id\":\"b\",\"name\":\"g\",\"arguments\":\"{}\"},"
           "{\"type\":\"function_call_output\",\"call_id\":\"a\",\"output\":\"1\"},"
           "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":"
           "\"ok\"}]}],"
           "\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"parameters\":{\"type\":\"object\"},\"strict\":"
           "true}],"
           "\"tool_choice\":{\"type\":\"function\",\"name\":\"f\"},"
           "\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"n\",\"schema\":{}}}}",
           "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},{\"role\":\"assistant\",\"content\":\"\","
           "\"tool_calls\":["
           "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":{}}},"
           "{\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":{}}}]},"
           "{\"role\":\"tool\",\"content\":\"1\",\"tool_call_id\":\"a\",\"name\":\"f\"},{\"role\":"
           "\"assistant\",\"content\":"
           "\"ok\"}],"
           "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":"
           "\"object\"},\"strict\":true}}],"
           "\"tool_choice\":{\"name\":\"f\"},\"json_schema\":\"{}\"}");
    static const char *const bad[][2] = {
        {"\"input\":\"a\",\"previous_response_id\":\"resp_1\"", "previous_response_id"},
        {"\"input\":\"a\",\"conversation\":\"c\"", "conversation"},
        {"\"input\":\"a\",\"background\":true", "background"},
        {"\"input\":\"a\",\"prompt\":{\"id\":\"p\"}", "prompt"},
        {"\"input\":\"a\",\"top_logprobs\":1", "top_logprobs"},
        {"\"input\":\"a\",\"tools\":[{\"type\":\"web_search\"}]", "web_search"},
        {"\"input\":\"a\",\"text\":{\"format\":{\"type\":\"grammar\"}}", "text.format"},
        {"\"input\":\"a\",\"instructions\":[1]", "instructions"},
        {"\"input\":[]", "input"},
        {"\"input\":5", "input"},
        {"\"input\":[{\"type\":\"item_reference\",\"id\":\"x\"}]", "input[0]"},
        {"\"input\":[{\"type\":\"computer_call\"}]", "computer_call"},
        {"\"input\":[{\"role\":\"tool\",\"content\":\"x\"}]", "input[0].role"},
        {"\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_image\"}]}]", "input_image"},
        {"\"input\":[{\"type\":\"function_call\",\"name\":\"f\",\"arguments\":\"{}\"}]", "call_id"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[512];
        snprintf(text, sizeof text, "{\"model\":\"m\",%s}", bad[i][0]);
        refuse(read, text, bad[i][1]);
    }
}

static hangar_code audio(hg_audio_form given)
{
    forget(NULL);
    err = (hangar_err){0};
    hg_shape_init(&shape, NULL, "0123456789abcdef", 1700000000);
    hangar_code code = hg_openai_audio_read(&given, &spec, &shape, &err);
    if (code == HANGAR_OK) question = hg_json_print(hg_json_root(spec.doc), false);
    return code;
}

static void test_audio_read(void **state)
{
    (void)state;
    assert_int_equal(audio((hg_audio_form){.model = "w", .language = "en", .temperature = "0.0"}), HANGAR_OK);
    assert_string_equal(question,
                        "{\"language\":\"en\",\"task\":\"transcribe\",\"timestamps\":false,\"beams\":1}");
    assert_null(shape.type);
    assert_int_equal(audio((hg_audio_form){.model = "w", .response_format = "vtt", .translate = true}),
                     HANGAR_OK);
    assert_string_equal(question, "{\"task\":\"translate\",\"timestamps\":true,\"beams\":1}");
    assert_string_equal(shape.type, "text/vtt; charset=utf-8");
    assert_int_equal(audio((hg_audio_form){.model = "w", .stream = "true", .granularities = "segment"}),
                     HANGAR_OK);
    assert_true(spec.streams);
    assert_int_equal(audio((hg_audio_form){0}), HANGAR_E_USAGE);
    assert_int_equal(audio((hg_audio_form){.model = "w", .response_format = "ass"}), HANGAR_E_USAGE);
    assert_int_equal(audio((hg_audio_form){.model = "w", .temperature = "0.2"}), HANGAR_E_USAGE);
    assert_int_equal(audio((hg_audio_form){.model = "w", .temperature = "0x"}), HANGAR_E_USAGE);
    assert_int_equal(audio((hg_audio_form){.model = "w", .granularities = "word"}), HANGAR_E_USAGE);
    assert_int_equal(audio((hg_audio_form){.model = "w", .stream = "true", .response_format = "srt"}),
                     HANGAR_E_USAGE);
    assert_int_equal(audio((hg_audio_form){.model = "w", .stream = "yes"}), HANGAR_E_USAGE);
    assert_int_equal(audio((hg_audio_form){.model = "w", .stream = "true", .translate = true}),
                     HANGAR_E_USAGE);
}

/* ---- out ---- */

static hg_buf out;

/* Begins an answer; when it streams its first bytes are in \"out\". */
static void answer(const hg_shape_fns *fns, bool streams)
{
    forget(NULL);
    hg_shape_init(&shape, fns, "0123456789abcdef", 1700000000);
    shape.streaming = streams;
    hg_buf_deinit(&out);
    hg_buf_init(&out, HG_MIB);
    const hg_ask_head head = {.asked = "m", .model = "a/\"b\""};
    assert_int_equal(hg_shape_head(&shape, &head, &err), HANGAR_OK);
    if (streams && fns->begin) fns->begin(&shape, &out);
}

static void say(const char *literal, const hg_jval *probs)
{
    if (shape.streaming) shape.fns->text(&shape, hg_str_of(literal), probs, &out);
    else assert_int_equal(hg_shape_keep(&shape, hg_str_of(literal), probs, &err), HANGAR_OK);
}

static void call_tool(const char *id, const char *name, const char *arguments)
{
    const hg_said_tool *t = NULL;
    assert_int_equal(hg_shape_keep_tool(&shape, id, name, hg_str_of(arguments), &t, &err), HANGAR_OK);
    if (shape.streaming) assert_int_equal(shape.fns->tool(&shape, t, &out, &err), HANGAR_OK);
}

static void finish(const char *how, const hg_jval *doc)
{
    const hg_ask_end end = {
        .finish = how, .prompt_tokens = 3, .prompt_reused = 1, .generated_tokens = 2, .doc = doc};
    if (shape.streaming) shape.fns->end(&shape, &end, &out);
    else assert_int_equal(shape.fns->whole(&shape, &end, &out, &err), HANGAR_OK);
    assert_int_equal(out.state, HANGAR_OK);
}

static void said(const char *text)
{
    assert_string_equal(hg_buf_text(&out), text);
    hg_buf_reset(&out);
}

static hg_json *parse(const char *text)
{
    hg_json *doc = NULL;
    if (hg_json_parse(hg_str_of(text), NULL, &doc, &err) != HANGAR_OK) fail_msg("%s: %s", err.msg, text);
    return doc;
}

#define CHUNK                                                                                            \
    "data: "                                                                                             \
    "{\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":1700000000," \
    "\"model\":\"a/\\\"b\\\"\",\"choices\":["

static void test_chat_streams(void **state)
{
    (void)state;
    answer(&hg_shape_openai_chat, true);
    said(
        CHUNK
        "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null},\"logprobs\":null,"
        "\"finish_reason\":null}]}\n\n");
    say("\"h\\u00e9 \\\"\"", NULL);
    said(CHUNK "{\"index\":0,\"delta\":{\"content\":\"h\\u00e9 "
               "\\\"\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n");
    finish("stop", NULL);
    said(CHUNK
         "{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
}

static void test_chat_streams_usage_and_logprobs(void **state)
{
    (void)state;
    answer(&hg_shape_openai_chat, true);
    shape.usage = shape.logprobs = true;
    hg_buf_reset(&out);
    hg_json *probs = parse("[{\"token\":\"a\",\"logprob\":-0.5,\"top\":[{\"token\":\"b\","
                           "\"logprob\":-2,\"bytes\":[98]}]}]");
    say("\"a\"", hg_json_root(probs));
    said(CHUNK "{\"index\":0,\"delta\":{\"content\":\"a\"},\"logprobs\":{\"content\":[{\"token\":\"a\","
               "\"logprob\":-0.5,"
               "\"bytes\":[97],\"top_logprobs\":[{\"token\":\"b\",\"logprob\":-2,\"bytes\":[98]}]}],"
               "\"refusal\":null},"
               "\"finish_reason\":null}],\"usage\":null}\n\n");
    hg_json_free(probs);
    finish("length", NULL);
    said(
        CHUNK
        "{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"length\"}],\"usage\":null}\n\n" CHUNK
        "],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5,"
        "\"prompt_tokens_details\":{\"cached_tokens\":1}}}\n\ndata: [DONE]\n\n");
}

static void test_chat_names_who_goes_on(void **state)
{
    (void)state;
    answer(&hg_shape_openai_chat, true);
    hg_buf_reset(&out);
    const hg_ask_head other = {.asked = "m", .model = "other", .fell_back = true};
    assert_int_equal(hg_shape_head(&shape, &other, &err), HANGAR_OK);
    assert_true(shape.fell_back);
    say("\"x\"", NULL);
    assert_non_null(strstr(hg_buf_text(&out), "\"model\":\"other\""));
}

static void test_chat_calls_tools(void **state)
{
    (void)state;
    answer(&hg_shape_openai_chat, true);
    hg_buf_reset(&out);
    call_tool("c1", "f", "{\"x\":\"\\\"\"}");
    said(CHUNK "{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c1\",\"type\":\"function\","
               "\"function\":"
               "{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":\\\"\\\\\\\"\\\"}\"}}]},\"logprobs\":null,"
               "\"finish_reason\":null}]}\n\n");
    call_tool("", "g", "{}");
    assert_non_null(strstr(hg_buf_text(&out), "\"index\":1,\"id\":\"call_0123456789abcdef01\""));
    answer(&hg_shape_openai_chat, false);
    call_tool("c1", "f", "{}");
    call_tool("c2", "g", "{}");
    finish("tool_calls", NULL);
    said("{\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion\",\"created\":1700000000,"
         "\"model\":\"a/\\\"b\\\"\","
         "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":null,\"refusal\":null,"
         "\"tool_calls\":["
         "{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},"
         "{\"id\":\"c2\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]},"
         "\"logprobs\":null,"
         "\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_"
         "tokens\":5,"
         "\"prompt_tokens_details\":{\"cached_tokens\":1}}}");
}

static void test_tool_calls_have_a_limit(void **state)
{
    (void)state;
    answer(&hg_shape_openai_chat, false);
    const hg_said_tool *t = NULL;
    for (int i = 0; i < HG_TOOL_CALLS_MAX; i++) call_tool("", "f", "{}");
    assert_int_equal(hg_shape_keep_tool(&shape, "", "f", HG_STR("{}"), &t, &err), HANGAR_E_LIMIT);
}

static void test_chat_answers_whole(void **state)
{
    (void)state;
    answer(&hg_shape_openai_chat, false);
    shape.logprobs = true;
    hg_json *probs = parse("[{\"token\":\"a\",\"logprob\":-0.5}]");
    say("\"a\\n\"", hg_json_root(probs));
    say("\"b\"", hg_json_root(probs));
    hg_json_free(probs);
    finish("stop", NULL);
    hg_json *doc = parse(hg_buf_text(&out));
    const hg_jval *choice = hg_json_at(hg_json_get(hg_json_root(doc), "choices"), 0);
    assert_string_equal(hg_json_text(hg_json_path(choice, "message", "content", NULL)), "a\nb");
    assert_int_equal(hg_json_len(hg_json_path(choice, "logprobs", "content", NULL)), 2);
    hg_json_free(doc);
}

static void test_completions_answer(void **state)
{
    (void)state;
    answer(&hg_shape_openai_completion, true);
    shape.logprobs = true;
    said("");
    hg_json *probs =
        parse("[{\"token\":\"\xc3\xa9\",\"logprob\":-1,\"top\":[{\"token\":\"b\",\"logprob\":-2}]}]");
    say("\"x\"", hg_json_root(probs));
    hg_buf_reset(&out);
    say("\"\xc3\xa9\"", hg_json_root(probs));
    said(
        "data: {\"id\":\"cmpl-0123456789abcdef\",\"object\":\"text_completion\",\"created\":1700000000,"
        "\"model\":\"a/"
        "\\\"b\\\"\",\"choices\":[{\"index\":0,\"text\":\"\xc3\xa9\",\"logprobs\":{\"tokens\":[\"\xc3\xa9\"],"
        "\"token_logprobs\":[-1],\"top_logprobs\":[{\"b\":-2}],\"text_offset\":[1]},\"finish_reason\":null}]}"
        "\n\n");
    finish("stop", NULL);
    assert_non_null(strstr(hg_buf_text(&out), "\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"));
    answer(&hg_shape_openai_completion, false);
    shape.logprobs = true;
    say("\"\xc3\xa9\"", hg_json_root(probs));
    finish("stop", NULL);
    hg_json *doc = parse(hg_buf_text(&out));
    const hg_jval *choice = hg_json_at(hg_json_get(hg_json_root(doc), "choices"), 0);
    assert_string_equal(hg_json_text(hg_json_get(choice, "text")), "\xc3\xa9");
    assert_int_equal(hg_json_len(hg_json_path(choice, "logprobs", "tokens", NULL)), 1);
    hg_json_free(doc);
    hg_json_free(probs);
}

static void test_embeddings_answer(void **state)
{
    (void)state;
    hg_json *doc =
        parse("{\"dimensions\":2,\"embeddings\":[[0.5,-0.25],[1,0]],\"tokens\":[2,3],\"truncated\":[]}");
    answer(&hg_shape_openai_embeddings, false);
    finish("stop", hg_json_root(doc));
    said("{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":[0.5,-0.25]},"
         "{\"object\":\"embedding\",\"index\":1,\"embedding\":[1,0]}],\"model\":\"a/\\\"b\\\"\",\"usage\":"
         "{\"prompt_tokens\":5,\"total_tokens\":5}}");
    shape.base64 = true;
    finish("stop", hg_json_root(doc));
    assert_non_null(strstr(hg_buf_text(&out), "\"embedding\":\"AAAAPwAAgL4=\""));
    shape.dimensions = 3;
    const hg_ask_end end = {.doc = hg_json_root(doc)};
    assert_int_equal(shape.fns->whole(&shape, &end, &out, &err), HANGAR_E_USAGE);
    assert_non_null(strstr(err.msg, "2"));
    hg_json_free(doc);
}

static void test_base64_of_every_length(void **state)
{
    (void)state;
    static const char *const expected[] = {"\"\"", "\"AACAPw==\"", "\"AACAPwAAAEA=\"",
                                           "\"AACAPwAAAEAAAEBA\""};
    static const char *const vectors[] = {"[]", "[1]", "[1,2]", "[1,2,3]"};
    for (size_t i = 0; i < 4; i++) {
        hg_json *doc = parse(vectors[i]);
        hg_buf_deinit(&out);
        hg_buf_init(&out, HG_MIB);
        hg_put_base64_floats(&out, hg_json_root(doc));
        said(expected[i]);
        hg_json_free(doc);
    }
}

/* Reads the events in \"out\": types and numbers must be those expected, and each data line JSON. */
static void expect_events(const char *const *types)
{
    char *at = out.data;
    for (int64_t n = 0; types[n]; n++) {
        char line[128];
        snprintf(line, sizeof line, "event: %s\ndata: ", types[n]);
        if (!at || strncmp(at, line, strlen(line)) != 0)
            fail_msg("event %d: %s, not %s", (int)n, at, types[n]);
        at += strlen(line);
        char *end = strstr(at, "\n\n");
        assert_non_null(end);
        *end = '\0';
        hg_json *doc = parse(at);
        assert_string_equal(hg_json_text(hg_json_get(hg_json_root(doc), "type")), types[n]);
        assert_int_equal(hg_json_i64_or(hg_json_get(hg_json_root(doc), "sequence_number"), -1), n);
        hg_json_free(doc);
        *end = '\n';
        at = end + 2;
    }
    assert_string_equal(at, "");
}

static void response(bool streams)
{
    answer(&hg_shape_openai_response, false);
    shape.echo = strdup("{\"tools\":[]}");
    shape.streaming = streams;
    if (streams) shape.fns->begin(&shape, &out);
}

static void test_responses_stream(void **state)
{
    (void)state;
    response(true);
    say("\"a\"", NULL);
    say("\"\\n\"", NULL);
    call_tool("c1", "f", "{}");
    finish("tool_calls", NULL);
    static const char *const types[] = {"response.created",
                                        "response.in_progress",
                                        "response.output_item.added",
                                        "response.content_part.added",
                                        "response.output_text.delta",
                                        "response.output_text.delta",
                                        "response.output_text.done",
                                        "response.content_part.done",
                                        "response.output_item.done",
                                        "response.output_item.added",
                                        "response.function_call_arguments.delta",
                                        "response.function_call_arguments.done",
                                        "response.output_item.done",
                                        "response.completed",
                                        NULL};
    expect_events(types);
    hg_json *doc = parse(strstr(strstr(hg_buf_text(&out), "event: response.completed"), "data: ") + 6);
    const hg_jval *output = hg_json_path(hg_json_root(doc), "response", "output", NULL);
    assert_int_equal(hg_json_len(output), 2);
    const hg_jval *part = hg_json_at(hg_json_get(hg_json_at(output, 0), "content"), 0);
    assert_string_equal(hg_json_text(hg_json_get(part, "text")), "a\n");
    assert_string_equal(hg_json_text(hg_json_get(hg_json_at(output, 1), "call_id")), "c1");
    assert_int_equal(
        hg_json_i64_or(hg_json_path(hg_json_root(doc), "response", "usage", "total_tokens", NULL), 0), 5);
    hg_json_free(doc);
}

static void test_responses_that_say_nothing_or_too_much(void **state)
{
    (void)state;
    response(true);
    finish("length", NULL);
    static const char *const types[] = {"response.created",
                                        "response.in_progress",
                                        "response.output_item.added",
                                        "response.content_part.added",
                                        "response.output_text.done",
                                        "response.content_part.done",
                                        "response.output_item.done",
                                        "response.incomplete",
                                        NULL};
    expect_events(types);
    assert_non_null(strstr(hg_buf_text(&out), "\"incomplete_details\":{\"reason\":\"max_output_tokens\"}"));
}

static void test_responses_fail(void **state)
{
    (void)state;
    response(true);
    say("\"a\"", NULL);
    hg_buf_reset(&out);
    hg_fail(&err, HANGAR_E_ENGINE, "the runner \"died\"");
    (shape.fns->fail)(&shape, &err, &out);
    assert_non_null(strstr(hg_buf_text(&out), "event: response.failed\n"));
    hg_json *doc = parse(strstr(hg_buf_text(&out), "data: ") + 6);
    const hg_jval *r = hg_json_get(hg_json_root(doc), "response");
    assert_string_equal(hg_json_text(hg_json_get(r, "status")), "failed");
    assert_string_equal(hg_json_text(hg_json_path(r, "error", "message", NULL)), "the runner \"died\"");
    assert_int_equal(hg_json_len(hg_json_get(r, "output")), 1);
    hg_json_free(doc);
}

static void test_responses_whole(void **state)
{
    (void)state;
    assert_int_equal(read_as(hg_openai_response_read,
                             "{\"model\":\"m\",\"input\":\"x\",\"instructions\":\"i\",\"store\":true}"),
                     HANGAR_OK);
    char *echo = shape.echo;
    shape.echo = NULL;
    answer(&hg_shape_openai_response, false);
    shape.echo = echo;
    say("\"a\"", NULL);
    finish("stop", NULL);
    hg_json *doc = parse(hg_buf_text(&out));
    const hg_jval *r = hg_json_root(doc);
    assert_string_equal(hg_json_text(hg_json_get(r, "id")), "resp_0123456789abcdef");
    assert_string_equal(hg_json_text(hg_json_get(r, "status")), "completed");
    assert_string_equal(hg_json_text(hg_json_get(r, "instructions")), "i");
    assert_false(hg_json_bool_or(hg_json_get(r, "store"), true));
    assert_string_equal(hg_json_text(hg_json_path(r, "text", "format", "type", NULL)), "text");
    hg_json_free(doc);
}

static void test_transcripts(void **state)
{
    (void)state;
    hg_json *doc = parse(
        "{\"model\":\"w\",\"file\":\"f\",\"text\":\"a --> b\",\"language\":\"en\",\"duration\":3661.5,"
        "\"segments\":[{\"start\":0,\"end\":1.25,\"text\":\" a --> \\n b\",\"tokens\":[1]},"
        "{\"start\":3600,\"end\":3661.4999,\"text\":\"c\",\"tokens\":[]}],\"tokens\":[1],\"seconds\":1}");
    static const char *const expected[][2] = {
        {"json", "{\"text\":\"a --> b\",\"usage\":{\"type\":\"duration\",\"seconds\":3662}}"},
        {"text", "a --> b\n"},
        {"srt", "1\n00:00:00,000 --> 00:00:01,250\na -- >   b\n\n2\n01:00:00,000 --> 01:01:01,500\nc\n\n"},
        {"vtt",
         "WEBVTT\n\n00:00:00.000 --> 00:00:01.250\na -- >   b\n\n01:00:00.000 --> 01:01:01.500\nc\n\n"},
        {"verbose_json",
         "{\"task\":\"transcribe\",\"language\":\"en\",\"duration\":3661.5,\"text\":\"a --> "
         "b\",\"segments\":["
         "{\"id\":0,\"start\":0,\"end\":1.25,\"text\":\" a --> \\n b\",\"tokens\":[1],\"temperature\":0.0},"
         "{\"id\":1,\"start\":3600,\"end\":3661.4999,\"text\":\"c\",\"tokens\":[],\"temperature\":0.0}],"
         "\"usage\":{\"type\":\"duration\",\"seconds\":3662}}"},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        answer(&hg_shape_openai_transcript, false);
        shape.layout = expected[i][0];
        shape.task = "transcribe";
        finish(NULL, hg_json_root(doc));
        said(expected[i][1]);
    }
    answer(&hg_shape_openai_transcript, true);
    say("\"a\"", NULL);
    said("data: {\"type\":\"transcript.text.delta\",\"delta\":\"a\"}\n\n");
    finish(NULL, hg_json_root(doc));
    said("data: {\"type\":\"transcript.text.done\",\"text\":\"a --> b\"}\n\n");
    hg_json_free(doc);
}

static void test_json_text_is_escaped(void **state)
{
    (void)state;
    hg_buf_deinit(&out);
    hg_buf_init(&out, HG_MIB);
    hg_put_json(&out, HG_STR("a\"\\\n\x01\x7f\xc3\xa9"));
    said("\"a\\\"\\\\\\n\\u0001\x7f\xc3\xa9\"");
    hg_put_json(&out, HG_STR("x\xff\"y"));
    said("\"x\xef\xbf\xbd\\\"y\"");
    hg_put_json(&out, (hg_str){"a\0b", 3});
    said("\"a\\u0000b\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_chat_reads_a_conversation, forget),
        cmocka_unit_test_teardown(test_chat_reads_how_to_sample, forget),
        cmocka_unit_test_teardown(test_chat_never_splices_json_or_tools, forget),
        cmocka_unit_test_teardown(test_chat_refuses, forget),
        cmocka_unit_test_teardown(test_completions_read, forget),
        cmocka_unit_test_teardown(test_embeddings_read, forget),
        cmocka_unit_test_teardown(test_responses_read, forget),
        cmocka_unit_test_teardown(test_audio_read, forget),
        cmocka_unit_test_teardown(test_chat_streams, forget),
        cmocka_unit_test_teardown(test_chat_streams_usage_and_logprobs, forget),
        cmocka_unit_test_teardown(test_chat_names_who_goes_on, forget),
        cmocka_unit_test_teardown(test_chat_calls_tools, forget),
        cmocka_unit_test_teardown(test_tool_calls_have_a_limit, forget),
        cmocka_unit_test_teardown(test_chat_answers_whole, forget),
        cmocka_unit_test_teardown(test_completions_answer, forget),
        cmocka_unit_test_teardown(test_embeddings_answer, forget),
        cmocka_unit_test_teardown(test_base64_of_every_length, forget),
        cmocka_unit_test_teardown(test_responses_stream, forget),
        cmocka_unit_test_teardown(test_responses_that_say_nothing_or_too_much, forget),
        cmocka_unit_test_teardown(test_responses_fail, forget),
        cmocka_unit_test_teardown(test_responses_whole, forget),
        cmocka_unit_test_teardown(test_transcripts, forget),
        cmocka_unit_test_teardown(test_json_text_is_escaped, forget),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    hg_buf_deinit(&out);
    return failed;
}
