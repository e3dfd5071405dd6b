/* SPDX-License-Identifier: Apache-2.0 */
/* Questions in each provider's words, where the official clients leave no choice to compare: defaults, limits, names, what is configured. */
#include "provider/dialect.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static hg_cloud_target target = {.name = "name", .provider = "", .url = "", .model = "m", .key_env = ""};

/* The body of a question; NULL with *out_code and *err when it is refused. */
static char *body_of(const char *provider, const char *model, const char *ask, const char *extra,
                     hangar_code *out_code, hangar_err *err)
{
    hg_json *doc = NULL, *more = NULL;
    char *url = NULL, *body = NULL;
    if (hg_json_parse(hg_str_of(ask), NULL, &doc, err) != HANGAR_OK) fail_msg("%s: %s", ask, err->msg);
    if (extra) assert_int_equal(hg_json_parse(hg_str_of(extra), NULL, &more, NULL), HANGAR_OK);
    target.provider = provider;
    target.model = model;
    target.extra = hg_json_root(more);
    hg_question q = {.target = &target, .ask = hg_json_root(doc), .begun = HG_STR(""), .own = !target.url[0]};
    *out_code = hg_provider_request(hg_provider_get(provider), &q, &url, &body, err);
    hg_json_free(doc);
    hg_json_free(more);
    free(url);
    return body;
}

#define HI "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]"

static void test_parts_of_bodies(void **state)
{
    (void)state;
    static const struct {
        const char *provider, *model, *ask, *extra, *has, *lacks;
    } cases[] = {
        /* OpenAI itself has its own name for the limit. */
        {"openai", "gpt-5", "{" HI ",\"max_tokens\":5}", NULL, "\"max_completion_tokens\":5",
         "\"max_tokens\""},
        {"openai", "gpt-5", "{" HI ",\"max_tokens\":0,\"seed\":-1,\"stop\":[]}", NULL, HI, "seed"},
        {"openai", "gpt-5",
         "{\"prompt\":\"Once\",\"top_k\":5,\"min_p\":0.1,\"repeat_penalty\":1.2,\"logprobs\":2}", NULL,
         "[{\"role\":\"user\",\"content\":\"Once\"}],\"stream\":true", "top_k"},
        {"openai", "gpt-5",
         "{\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"1\",\"function\":"
         "{\"name\":\"f\"}}]},"
         "{\"role\":\"tool\",\"tool_call_id\":\"1\",\"content\":\"x\"}]}",
         NULL,
         "\"content\":null,\"tool_calls\":[{\"id\":\"1\",\"type\":\"function\",\"function\":{\"name\":\"f\","
         "\"arguments\":\"{}\"}}]",
         NULL},
        {"openai", "gpt-5", "{" HI ",\"tools\":[],\"tool_choice\":\"required\"}", NULL, HI, "tool"},
        {"openai", "gpt-5", "{" HI ",\"stop\":\"END\"}", NULL, "\"stop\":\"END\"", NULL},
        /* extra: under the question, objects member by member, null adds nothing. */
        {"openai", "gpt-5", "{" HI ",\"temperature\":0.5}",
         "{\"temperature\":1,\"user\":\"u\",\"metadata\":{\"a\":[1]},\"seed\":null}", "\"temperature\":0.5",
         "seed"},
        {"openai", "gpt-5", "{" HI "}", "{\"metadata\":{\"a\":[1]},\"user\":\"u\"}",
         "\"metadata\":{\"a\":[1]},\"user\":\"u\"}", NULL},
        {"gemini", "gemini-2.5-flash", "{" HI ",\"temperature\":0.5}",
         "{\"generation_config\":{\"temperature\":1,\"candidateCount\":1},\"safety_settings\":[{\"category\":"
         "\"C\"}]}",
         "\"generationConfig\":{\"temperature\":0.5,\"candidateCount\":1},\"safetySettings\":[{\"category\":"
         "\"C\"}]}",
         "safety_"},
        /* Gemini: a call in the history needs a signature from 3 on, the first of a turn. */
        {"gemini", "gemini-3-pro",
         "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":"
         "\"{\\\"a\\\":1}\"}},"
         "{\"function\":{\"name\":\"g\"}}]}]}",
         NULL,
         "\"parts\":[{\"functionCall\":{\"name\":\"f\",\"args\":{\"a\":1}},\"thoughtSignature\":"
         "\"skip_thought_signature_validator\"},{\"functionCall\":{\"name\":\"g\",\"args\":{}}}]",
         NULL},
        {"gemini", "gemini-2.5-pro",
         "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\"}}]}]}", NULL,
         "\"functionCall\"", "thoughtSignature"},
        {"gemini", "gemini-2.5-pro", "{\"prompt\":\"x\",\"seed\":4294967301,\"stop\":\"END\",\"top_k\":0}",
         NULL, "\"generationConfig\":{\"seed\":5,\"stopSequences\":[\"END\"]}", "topK"},
        {"gemini", "gemini-2.5-pro",
         "{\"messages\":[{\"role\":\"tool\",\"name\":\"f\",\"content\":\"[1]\"}]}", NULL,
         "{\"functionResponse\":{\"name\":\"f\",\"response\":{\"output\":\"[1]\"}}}", NULL},
        {"gemini", "gemini-2.5-pro",
         "{" HI ",\"tools\":[{\"function\":{\"name\":\"f\"}}],\"tool_choice\":\"required\"}", NULL,
         "\"functionDeclarations\":[{\"name\":\"f\"}]}],\"toolConfig\":{\"functionCallingConfig\":{\"mode\":"
         "\"ANY\"}}",
         NULL},
        /* Anthropic: what a model can do. */
        {"anthropic", "claude-3-opus-20240229", "{" HI "}", NULL, "\"max_tokens\":4096", NULL},
        {"anthropic", "claude-3-5-sonnet-latest", "{" HI "}", NULL, "\"max_tokens\":8192", NULL},
        {"anthropic", "claude-3-7-sonnet-latest", "{" HI "}", "{\"max_tokens\":32000}",
         "\"max_tokens\":32000", NULL},
        {"anthropic", "claude-3-7-sonnet-latest", "{" HI ",\"max_tokens\":7}", "{\"max_tokens\":32000}",
         "\"max_tokens\":7,", NULL},
        {"anthropic", "claude-3-7-sonnet-latest", "{" HI ",\"temperature\":1.7,\"top_p\":0.5,\"seed\":3}",
         NULL, "\"temperature\":1,\"top_p\":0.5", "seed"},
        {"anthropic", "claude-opus-4-1", "{" HI ",\"temperature\":0.7,\"top_p\":0.5}", NULL,
         "\"temperature\":0.7,\"stream\"", "top_p"},
        {"anthropic", "claude-opus-4-1", "{" HI ",\"top_p\":0.5}", NULL, "\"top_p\":0.5", "temperature"},
        {"anthropic", "claude-opus-4-7", "{" HI ",\"temperature\":0.7,\"top_p\":0.5,\"top_k\":3}", NULL,
         HI ",\"stream\":true}", "top_"},
        {"anthropic", "claude-mythos", "{" HI ",\"json_schema\":\"{}\"}", NULL,
         "\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":{}}}", NULL},
        {"anthropic", "other", "{" HI ",\"temperature\":0.7,\"json_schema\":\"{}\"}", NULL,
         "\"temperature\":0.7,\"output_config\"", NULL},
        {"anthropic", "claude-3-7-sonnet",
         "{\"messages\":[{\"role\":\"system\",\"content\":\"A\"},{\"role\":\"user\",\"content\":\"B\"},"
         "{\"role\":\"system\",\"content\":\"C\"}]}",
         NULL, "\"system\":\"A\\n\\nC\",\"messages\":[{\"role\":\"user\",\"content\":\"B\"}]", NULL},
        {"anthropic", "claude-3-7-sonnet",
         "{" HI ",\"tools\":[{\"function\":{\"name\":\"f\"}}],\"tool_choice\":\"none\"}", NULL,
         "\"tools\":[{\"name\":\"f\",\"input_schema\":{\"type\":\"object\"}}],\"tool_choice\":{\"type\":"
         "\"none\"}",
         NULL},
        {"anthropic", "claude-3-7-sonnet", "{\"prompt\":\"x\",\"stop\":\"END\"}", NULL,
         "\"stop_sequences\":[\"END\"]", NULL},
    };
    for (size_t i = 0; i < HG_LEN(cases); i++) {
        hangar_code code;
        hangar_err err = {0};
        char *body = body_of(cases[i].provider, cases[i].model, cases[i].ask, cases[i].extra, &code, &err);
        if (code != HANGAR_OK) fail_msg("case %zu: %s", i, err.msg);
        if (!strstr(body, cases[i].has)) fail_msg("case %zu has not %s: %s", i, cases[i].has, body);
        if (cases[i].lacks && strstr(body, cases[i].lacks))
            fail_msg("case %zu has %s: %s", i, cases[i].lacks, body);
        free(body);
    }
}

/* Which schemas OpenAI is asked to follow to the letter. */
static void test_strict(void **state)
{
    (void)state;
#define OBJECT(properties, required)                                               \
    "{\"type\":\"object\",\"properties\":{" properties "},\"required\":[" required \
    "],\"additionalProperties\":false}"
    static const struct {
        const char *schema;
        bool strict;
    } cases[] = {
        {OBJECT("\"a\":{\"type\":\"string\"}", "\"a\""), true},
        {OBJECT("\"a\":" OBJECT("\"b\":{\"enum\":[1]}", "\"b\""), "\"a\""), true},
        {OBJECT("\"a\":{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}}", "\"a\""), true},
        {OBJECT("\"a\":{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"string\"}]}", "\"a\""), true},
        {OBJECT("", ""), true},
        {OBJECT("\"a\":{\"type\":\"string\"}", ""), false},
        {OBJECT("\"a\":{\"type\":\"string\",\"minLength\":3}", "\"a\""), false},
        {OBJECT("\"a\":{\"type\":\"object\"}", "\"a\""), false},
        {OBJECT("\"a\":{\"anyOf\":[{\"oneOf\":[]}]}", "\"a\""), false},
        {OBJECT("\"a\":true", "\"a\""), false},
        {"{\"type\":\"object\",\"properties\":{}}", false},
        {"{\"type\":\"object\",\"properties\":{},\"additionalProperties\":true}", false},
        {"{\"type\":\"array\",\"items\":{\"type\":\"string\"}}", false},
        {"{}", false},
        {OBJECT("\"a\":" OBJECT(
                    "\"a\":" OBJECT(
                        "\"a\":" OBJECT("\"a\":" OBJECT("\"a\":" OBJECT("", ""), "\"a\""), "\"a\""), "\"a\""),
                    "\"a\""),
                "\"a\""),
         false},
    };
    for (size_t i = 0; i < HG_LEN(cases); i++) {
        hangar_code code;
        hangar_err err = {0};
        char *ask = NULL;
        hg_jw *w = hg_jw_new();
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "prompt", "x");
        hg_jw_text(w, "json_schema", cases[i].schema);
        assert_int_equal(hg_jw_finish(w, false, &ask, NULL), HANGAR_OK);
        hg_jw_free(w);
        char *body = body_of("openai", "m", ask, NULL, &code, &err);
        if (!body) fail_msg("case %zu: %s", i, err.msg);
        if ((strstr(body, "\"strict\":true") != NULL) != cases[i].strict) fail_msg("case %zu: %s", i, body);
        free(body);
        free(ask);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *provider, *model, *ask, *words;
    } cases[] = {
        {"openai", "m", "{" HI ",\"grammar\":\"root ::= x\"}", "grammar cannot be asked of name (openai, m)"},
        {"openai", "m", "{}", "neither messages nor a prompt"},
        {"openai", "m", "{\"messages\":{}}", "messages"},
        {"openai", "m", "{\"messages\":[1]}", "messages[0]: no role"},
        {"openai", "m", "{\"messages\":[{\"role\":\"user\",\"content\":7}]}", "neither text nor a list"},
        {"openai", "m", "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]}",
         "a part of type image_url"},
        {"openai", "m", "{" HI ",\"json_schema\":7}", "json_schema"},
        {"openai", "m", "{" HI ",\"json_schema\":\"[\"}", "json_schema: "},
        {"gemini", "m", "{" HI ",\"json_schema\":\"7\"}", "json_schema: not a JSON object"},
        {"gemini", "m", "{\"messages\":[{\"role\":\"system\",\"content\":\"x\"}]}",
         "nothing but system messages"},
        {"gemini", "m",
         "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":"
         "\"[1]\"}}]}]}",
         "no JSON object"},
        {"gemini", "m", "{" HI ",\"tool_choice\":7}", "tool_choice"},
        {"anthropic", "claude-3-7-sonnet", "{" HI ",\"json\":true}", "json cannot be asked"},
        {"anthropic", "claude-3-7-sonnet", "{" HI ",\"json_schema\":\"{}\"}", "json_schema cannot be asked"},
        {"anthropic", "m",
         "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"arguments\":\"x\"}}]}]}",
         "no JSON object"},
    };
    for (size_t i = 0; i < HG_LEN(cases); i++) {
        hangar_code code;
        hangar_err err = {0};
        char *body = body_of(cases[i].provider, cases[i].model, cases[i].ask, NULL, &code, &err);
        if (code != HANGAR_E_USAGE || body || !strstr(err.msg, cases[i].words))
            fail_msg("case %zu: %d, %s", i, (int)code, err.msg);
    }
}

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *provider, *url, *model, *full;
    } cases[] = {
        {"openai", "", "m", "https://api.openai.com/v1/chat/completions"},
        {"openai", "http://127.0.0.1:8000", "m", "http://127.0.0.1:8000/v1/chat/completions"},
        {"openai", "http://127.0.0.1:8000/", "m", "http://127.0.0.1:8000/v1/chat/completions"},
        {"openai", "http://127.0.0.1:8000/v1", "m", "http://127.0.0.1:8000/v1/chat/completions"},
        {"openai", "https://gpu.example/api/v2/", "m", "https://gpu.example/api/v2/chat/completions"},
        {"openai", "http://[::1]:4264", "m", "http://[::1]:4264/v1/chat/completions"},
        {"anthropic", "", "m", "https://api.anthropic.com/v1/messages"},
        {"anthropic", "http://localhost:1/proxy", "m", "http://localhost:1/proxy/messages"},
        {"gemini", "", "gemini-2.5-pro",
         "https://generativelanguage.googleapis.com/v1beta/models/"
         "gemini-2.5-pro:streamGenerateContent?alt=sse"},
        {"gemini", "", "tunedModels/x",
         "https://generativelanguage.googleapis.com/v1beta/tunedModels/x:streamGenerateContent?alt=sse"},
        {"gemini", "", "a?b#c d%",
         "https://generativelanguage.googleapis.com/v1beta/models/"
         "a%3Fb%23c%20d%25:streamGenerateContent?alt=sse"},
    };
    hg_json *doc = NULL;
    assert_int_equal(hg_json_parse(HG_STR("{" HI "}"), NULL, &doc, NULL), HANGAR_OK);
    for (size_t i = 0; i < HG_LEN(cases); i++) {
        char *url = NULL, *body = NULL;
        hangar_err err = {0};
        hg_cloud_target t = {.name = "n",
                             .provider = cases[i].provider,
                             .url = cases[i].url,
                             .model = cases[i].model};
        hg_question q = {.target = &t,
                         .ask = hg_json_root(doc),
                         .begun = HG_STR(""),
                         .own = !cases[i].url[0]};
        assert_int_equal(hg_provider_request(hg_provider_get(t.provider), &q, &url, &body, &err), HANGAR_OK);
        assert_string_equal(url, cases[i].full);
        free(url);
        free(body);
    }
    hg_json_free(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_of_bodies),
        cmocka_unit_test(test_strict),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
