/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fsx.h"
#include "base/job.h"
#include "base/mem.h"
#include "verbs/chat.h"
#include "verbs/verb.h"
#include "verbs/words.h"

#include <stdio.h>

typedef struct run_args {
    const char *ref, *prompt;
    double temperature, top_p, min_p, repeat_penalty;
    int64_t top_k, max_tokens, seed, context_length;
    const char **stop;
    const char *grammar, *json_schema, *system;
    bool raw;
} run_args;

#define INT_LIMIT 2147483647.0

static const hg_param params[] = {
    {.name = "ref",
     .type = HG_TEXT,
     .at = offsetof(run_args, ref),
     .positional = true,
     .required = true,
     .help = "a model that generates text"},
    {.name = "prompt",
     .type = HG_TEXT,
     .at = offsetof(run_args, prompt),
     .positional = true,
     .help = "what to answer; when left out: the standard input, or a conversation when that is a terminal"},
    {.name = "system",
     .type = HG_TEXT,
     .at = offsetof(run_args, system),
     .help = "instructions that stand before the conversation"},
    {.name = "max-tokens",
     .letter = 'n',
     .type = HG_INT,
     .at = offsetof(run_args, max_tokens),
     .def = "512",
     .min = 1,
     .max = INT_LIMIT,
     .help = "end the answer after so many tokens"},
    {.name = "temperature",
     .letter = 't',
     .type = HG_NUMBER,
     .at = offsetof(run_args, temperature),
     .def = "0.8",
     .max = 5,
     .help = "how freely to choose among likely words; 0 always takes the likeliest"},
    {.name = "top-k",
     .type = HG_INT,
     .at = offsetof(run_args, top_k),
     .def = "40",
     .max = INT_LIMIT,
     .help = "choose among the N likeliest; 0 = no limit"},
    {.name = "top-p",
     .type = HG_NUMBER,
     .at = offsetof(run_args, top_p),
     .def = "0.95",
     .min = 1e-6,
     .max = 1,
     .help = "choose among the likeliest that make up this share"},
    {.name = "min-p",
     .type = HG_NUMBER,
     .at = offsetof(run_args, min_p),
     .def = "0.05",
     .max = 1,
     .help = "leave out what is less likely than this share of the likeliest"},
    {.name = "repeat-penalty",
     .type = HG_NUMBER,
     .at = offsetof(run_args, repeat_penalty),
     .def = "1",
     .min = 1e-3,
     .max = 10,
     .help = "above 1 makes repetition less likely"},
    {.name = "seed",
     .type = HG_INT,
     .at = offsetof(run_args, seed),
     .def = "-1",
     .help = "the same seed gives the same answer; negative = another one each time"},
    {.name = "stop",
     .type = HG_TEXTS,
     .at = offsetof(run_args, stop),
     .help = "end before this text; may be given again"},
    {.name = "grammar",
     .type = HG_TEXT,
     .at = offsetof(run_args, grammar),
     .local = true,
     .metavar = "FILE",
     .help = "a GBNF grammar that the answer must follow"},
    {.name = "json-schema",
     .type = HG_TEXT,
     .at = offsetof(run_args, json_schema),
     .local = true,
     .metavar = "FILE",
     .help = "a JSON Schema that the answer must follow"},
    {.name = "context-length",
     .type = HG_INT,
     .at = offsetof(run_args, context_length),
     .def = "0",
     .max = INT_LIMIT,
     .metavar = "N",
     .help = "tokens kept in mind; 0 = what the model was trained with, at most 8192"},
    {.name = "raw",
     .type = HG_FLAG,
     .at = offsetof(run_args, raw),
     .help = "give the prompt as it is, without the model's chat template"},
    {0}};

static const hg_example examples[] = {
    {"hangar run hangar-labs/tiny-chat-gguf \"Say hello\"", "one answer, written as it comes"},
    {"hangar run org/name", "a conversation; /bye ends it"},
    {"git diff | hangar run org/name --system \"Summarise this change\"", "the prompt from another program"},
    {"hangar run org/name \"Name a city\" --json-schema city.json --temperature 0 --json",
     "an answer for a program"},
    {0}};

#define RULES_MAX  HG_MIB        /* of a grammar or a schema */
#define PROMPT_MAX (16 * HG_MIB) /* from the standard input */

/* A whole text file, owned by the buffer. */
static hangar_code read_text(const char *path, hg_buf *out, hangar_err *err)
{
    hg_buf_init(out, RULES_MAX);
    if (!path) return HANGAR_OK;
    hangar_code code = hg_read_file(path, out, err);
    if (code != HANGAR_OK) return code;
    if (out->len == 0) return hg_fail(err, HANGAR_E_INVALID, "%s is empty", path);
    if (memchr(out->data, '\0', out->len) || !hg_utf8_valid(hg_buf_view(out)))
        return hg_fail(err, HANGAR_E_INVALID, "%s is not UTF-8 text", path);
    return HANGAR_OK;
}

/* Before a model is loaded for nothing. */
static hangar_code check_schema(const char *path, const hg_buf *schema, hangar_err *err)
{
    hg_json *doc = NULL;
    hangar_code code = hg_json_parse(hg_buf_view(schema), NULL, &doc, err);
    hg_json_free(doc);
    return hg_wrap(err, code, "%s", path);
}

/* All of the standard input, without the newline at its end. */
static hangar_code read_prompt(hg_call *call, hg_buf *out, hangar_err *err)
{
    hg_buf line;
    hg_buf_init(&line, PROMPT_MAX);
    hangar_code code = HANGAR_OK;
    while (code == HANGAR_OK && call->ask(call->face, "", &line)) {
        code = hg_wrap(err, hg_buf_check(&line, err), "the standard input");
        if (out->len) hg_buf_putc(out, '\n');
        hg_buf_str(out, hg_buf_view(&line));
        hg_buf_reset(&line);
        if (code == HANGAR_OK) code = hg_wrap(err, hg_buf_check(out, err), "the standard input");
    }
    hg_buf_deinit(&line);
    if (code != HANGAR_OK) return code;
    if (hg_str_trim(hg_buf_view(out)).len == 0)
        return hg_fail(err, HANGAR_E_USAGE, "the standard input is empty; give a PROMPT");
    if (memchr(out->data, '\0', out->len) || !hg_utf8_valid(hg_buf_view(out)))
        return hg_fail(err, HANGAR_E_INVALID, "the standard input is not UTF-8 text");
    return HANGAR_OK;
}

/* Tells the person when the answer was cut off, on a line of its own. */
static void tell_cut(hg_call *call, const char *text)
{
    const run_args *a = call->args;
    hg_json *doc = NULL;
    hg_str answer = {0};
    if (call->json || !text || hg_json_parse(hg_str_of(text), NULL, &doc, NULL) != HANGAR_OK) return;
    (void)hg_json_str(hg_json_get(hg_json_root(doc), "text"), &answer);
    hg_chat_tell_cut(call, call->job, hg_json_root(doc), a->max_tokens, !hg_str_ends(answer, HG_STR("\n")));
    hg_json_free(doc);
}

static hangar_code generate(hg_call *call, hangar_generate_options *options, const char *prompt,
                            char **out_json, hangar_err *err)
{
    const run_args *a = call->args;
    hangar_where where = hangar_model_where(call->h, a->ref);
    hg_asked asked = {.h = call->h, .name = a->ref, .daemon = where == HANGAR_WHERE_DAEMON};
    hangar_code code = HANGAR_OK;
    if (where == HANGAR_WHERE_HERE) code = hangar_model_load(call->h, a->ref, call->job, &asked.model, err);
    if (code != HANGAR_OK) return code;
    if (!prompt) {
        code = hg_chat(call, &asked, options, a->system, err);
    } else {
        hangar_message turns[2] = {{"system", a->system}, {"user", prompt}};
        size_t from = a->system ? 0 : 1;
        code = hg_asked_answer(&asked, turns + from, 2 - from, options, call->job, out_json, err);
        if (code == HANGAR_OK) tell_cut(call, *out_json);
    }
    hangar_model_unload(asked.model);
    return code;
}

static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    const run_args *a = call->args;
    hangar_generate_options options = HANGAR_GENERATE_OPTIONS_INIT;
    if (a->grammar && a->json_schema)
        return hg_fail(err, HANGAR_E_USAGE, "--grammar and --json-schema exclude each other");
    if (!a->prompt && call->interactive && call->json)
        return hg_fail(err, HANGAR_E_USAGE, "a conversation has no document; give a PROMPT with --json");
    if (a->raw && a->system)
        return hg_fail(err, HANGAR_E_USAGE,
                       "--raw gives the prompt as it is, so --system has no place; write it into the prompt");
    if (a->raw && !a->prompt && call->interactive)
        return hg_fail(err, HANGAR_E_USAGE,
                       "a conversation needs the chat template; give a PROMPT with --raw");
    options.temperature = a->temperature;
    options.top_p = a->top_p;
    options.min_p = a->min_p;
    options.top_k = (int)a->top_k;
    options.repeat_penalty = a->repeat_penalty;
    options.max_tokens = (int)a->max_tokens;
    options.seed = a->seed;
    options.stop = a->stop;
    options.context_length = (int)a->context_length;
    options.raw = a->raw;
    hg_buf grammar, schema, input;
    hg_buf_init(&schema, RULES_MAX);
    hg_buf_init(&input, PROMPT_MAX);
    hangar_code code = read_text(a->grammar, &grammar, err);
    if (code == HANGAR_OK) code = read_text(a->json_schema, &schema, err);
    const char *prompt = a->prompt;
    if (code == HANGAR_OK && !prompt && !call->interactive) {
        code = read_prompt(call, &input, err);
        prompt = hg_buf_text(&input);
    }
    if (code == HANGAR_OK && a->json_schema) code = check_schema(a->json_schema, &schema, err);
    if (a->grammar) options.grammar = hg_buf_text(&grammar);
    if (a->json_schema) options.json_schema = hg_buf_text(&schema);
    if (code == HANGAR_OK) code = generate(call, &options, prompt, out_json, err);
    hg_buf_deinit(&input);
    hg_buf_deinit(&schema);
    hg_buf_deinit(&grammar);
    return code;
}

/* One view line per line of a text that may have several. */
static void show(const hg_jval *r, hg_view *view)
{
    hg_str text = {0}, line;
    (void)hg_json_str(hg_json_get(r, "text"), &text);
    while (text.len) {
        hg_str_cut(&text, '\n', &line);
        hg_view_line(view, HG_PLAIN, "%.*s", HG_STR_ARG(line));
    }
}

const hg_verb hg_verb_run = {
    .name = "run",
    .group = "Use",
    .summary = "answer a prompt, or hold a conversation",
    .about = "Writes the model's answer as it comes: from the daemon, when one runs (it keeps the model for "
             "the next time), else from a "
             "child process that is loaded for this. A cloud model is asked over the network, with the key "
             "in its variable. Without a PROMPT the "
             "standard input is the "
             "prompt; on a terminal it is a conversation that remembers what was said (/help lists its "
             "commands).\n"
             "\n"
             "With --json the answer is a document: text, token ids, how it ended, counts and times.",
    .examples = examples,
    .params = params,
    .args_size = sizeof(run_args),
    .flags = HG_VERB_STREAMS,
    .run = run,
    .show = show,
};
