// SPDX-License-Identifier: Apache-2.0
// fuzz-room: api
// A client's request: the first byte says which route reads it, the rest is its JSON. Whatever it holds, the verdict is a question or an error with
// words; a question is a document with numbers in their ranges; and an answer to it, of the request's own text, is JSON in every shape.
#include "api/dialect.h"
#include "base/mem.h"
#include "format/generate.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static hg_ollama_want want;

static hangar_code generate(const hg_jval *b, hg_ask_spec *s, hg_shape *f, hangar_err *err)
{
    return hg_ollama_generate_read(b, s, f, &want, err);
}

static hangar_code chat(const hg_jval *b, hg_ask_spec *s, hg_shape *f, hangar_err *err)
{
    return hg_ollama_chat_read(b, s, f, &want, err);
}

static const struct {
    hangar_code (*read)(const hg_jval *body, hg_ask_spec *spec, hg_shape *f, hangar_err *err);
    const hg_shape_fns *fns;
} routes[] = {{hg_openai_chat_read, &hg_shape_openai_chat},
              {hg_openai_completion_read, &hg_shape_openai_completion},
              {hg_openai_response_read, &hg_shape_openai_response},
              {hg_openai_embeddings_read, &hg_shape_openai_embeddings},
              {generate, &hg_shape_ollama_generate},
              {chat, &hg_shape_ollama_chat},
              {hg_ollama_embed_read, &hg_shape_ollama_embed},
              {hg_ollama_embeddings_read, &hg_shape_ollama_embed}};

static void within(const hg_jval *doc, const char *key, double min, double max)
{
    double n = min;
    const hg_jval *v = hg_json_get(doc, key);
    if (v && (!hg_json_f64(v, &n) || !(n >= min && n <= max))) __builtin_trap();
}

static void look_at(const hg_jval *doc)
{
    if (!hg_json_is_object(doc)) __builtin_trap();
    within(doc, "temperature", 0, HG_GENERATE_TEMPERATURE_MAX);
    within(doc, "top_p", HG_GENERATE_TOP_P_MIN, 1);
    within(doc, "min_p", 0, 1);
    within(doc, "top_k", 0, HG_GENERATE_TOP_K_MAX);
    within(doc, "repeat_penalty", HG_GENERATE_PENALTY_MIN, HG_GENERATE_PENALTY_MAX);
    within(doc, "max_tokens", 1, HG_GENERATE_CONTEXT_MAX);
    within(doc, "context", 0, HG_GENERATE_CONTEXT_MAX);
    within(doc, "logprobs", 0, HG_GENERATE_LOGPROBS_MAX);
    if (hg_json_len(hg_json_get(doc, "messages")) > HG_GENERATE_MESSAGES_MAX) __builtin_trap();
    if (hg_json_len(hg_json_get(doc, "tools")) > HG_GENERATE_TOOLS_MAX) __builtin_trap();
}

/* A document that must be JSON. */
static void must_parse(const hg_buf *out)
{
    hg_json *doc = NULL;
    if (out->state == HANGAR_OK && hg_json_parse(hg_buf_view(out), NULL, &doc, NULL) != HANGAR_OK)
        __builtin_trap();
    hg_json_free(doc);
}

/* The request's own text comes back as the answer, and as a tool call. */
static void answer(hg_shape *f, const char *model, const hg_jval *body)
{
    static const char vectors[] = "{\"dimensions\":2,\"embeddings\":[[1,2]],\"tokens\":[1],\"truncated\":[]}";
    hangar_err err = {0};
    hg_buf out;
    hg_json *doc = NULL;
    const hg_said_tool *tool = NULL;
    char *text = hg_json_print(body, false);
    hg_jw *w = hg_jw_new();
    char *literal = NULL;
    hg_buf_init(&out, 16 * HG_MIB);
    hg_jw_text(w, NULL, text);
    if (!text || hg_jw_finish(w, false, &literal, NULL) != HANGAR_OK) __builtin_trap();
    if (hg_shape_head(f, &(hg_ask_head){.asked = model, .model = model}, &err) != HANGAR_OK ||
        hg_shape_keep(f, hg_str_of(literal), NULL, &err) != HANGAR_OK ||
        hg_json_parse(HG_STR(vectors), NULL, &doc, &err) != HANGAR_OK)
        __builtin_trap();
    if (f->fns->tool && hg_shape_keep_tool(f, "", "f", hg_str_of(text), &tool, &err) != HANGAR_OK)
        __builtin_trap();
    const hg_ask_end end = {.finish = "stop",
                            .prompt_tokens = 1,
                            .generated_tokens = 1,
                            .doc = hg_json_root(doc)};
    if (f->fns->whole(f, &end, &out, &err) == HANGAR_OK) must_parse(&out);
    else if (!err.msg[0]) __builtin_trap();
    hg_json_free(doc);
    hg_buf_deinit(&out);
    hg_jw_free(w);
    free(literal);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hg_json *body = NULL;
    if (size < 1 || hg_json_parse((hg_str){(const char *)data + 1, size - 1}, NULL, &body, NULL) != HANGAR_OK)
        return 0;
    size_t route = data[0] % HG_LEN(routes);
    hangar_err err = {0};
    hg_ask_spec spec = {.file = -1};
    hg_shape f;
    hg_shape_init(&f, routes[route].fns, "0123456789abcdef", 0);
    want = HG_OLLAMA_ASK;
    hangar_code code = routes[route].read(hg_json_root(body), &spec, &f, &err);
    if (code != HANGAR_OK && (!err.msg[0] || err.code != code || spec.doc)) __builtin_trap();
    if (code == HANGAR_OK && want == HG_OLLAMA_ASK) {
        look_at(hg_json_root(spec.doc));
        answer(&f, spec.model, hg_json_root(body));
    }
    hg_json_free(spec.doc);
    hg_shape_deinit(&f);
    hg_json_free(body);
    return 0;
}
