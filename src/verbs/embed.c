/* SPDX-License-Identifier: Apache-2.0 */
#include "base/job.h"
#include "base/mem.h"
#include "verbs/verb.h"
#include "verbs/words.h"

#include <stdio.h>

typedef struct embed_args {
    const char *ref;
    const char **texts;
} embed_args;

static const hg_param params[] = {
    {.name = "ref",
     .type = HG_TEXT,
     .at = offsetof(embed_args, ref),
     .positional = true,
     .required = true,
     .help = "a model that embeds text"},
    {.name = "text",
     .type = HG_TEXTS,
     .at = offsetof(embed_args, texts),
     .positional = true,
     .help = "the texts; when left out, or for -, each line of the standard input is one"},
    {0}};

static const hg_example examples[] = {{"hangar embed hangar-labs/tiny-embed \"a cat\" \"a dog\" --json",
                                       "two vectors"},
                                      {"hangar embed org/name < sentences.txt",
                                       "one line of numbers for each line of a file"},
                                      {0}};

#define LINE_MAX_BYTES HG_MIB
#define LINES_MAX      1000000

typedef struct text_list {
    char **lines;
    size_t count, cap;
} text_list;

static void drop(text_list *list)
{
    for (size_t i = 0; i < list->count; i++) free(list->lines[i]);
    free((void *)list->lines);
}

/* The lines of the standard input, without the empty ones. */
static hangar_code read_lines(hg_call *call, text_list *list, hangar_err *err)
{
    hg_buf line;
    hg_buf_init(&line, LINE_MAX_BYTES);
    hangar_code code = HANGAR_OK;
    while (code == HANGAR_OK && call->ask(call->face, "", &line)) {
        hg_str s = hg_buf_view(&line);
        code = hg_buf_check(&line, err);
        if (code == HANGAR_OK && (memchr(s.ptr, '\0', s.len) || !hg_utf8_valid(s)))
            code = hg_fail(err, HANGAR_E_INVALID, "not UTF-8 text");
        if (code == HANGAR_OK && list->count == LINES_MAX)
            code = hg_fail(err, HANGAR_E_LIMIT, "more than %d lines", LINES_MAX);
        if (code == HANGAR_OK && hg_str_trim(s).len) {
            char *copy = hg_strndup(s.ptr, s.len);
            if (copy && hg_grow((void **)&list->lines, &list->cap, list->count + 1, sizeof *list->lines)) {
                list->lines[list->count++] = copy;
            } else {
                free(copy);
                code = hg_fail_memory(err);
            }
        }
        code = hg_wrap(err, code, "the standard input, text %zu", list->count + 1);
        hg_buf_reset(&line);
    }
    hg_buf_deinit(&line);
    if (code == HANGAR_OK) code = hg_job_check(call->job, err);
    if (code == HANGAR_OK && list->count == 0)
        code = hg_fail(err, HANGAR_E_USAGE, "the standard input has no text");
    return code;
}

/* Tells the person of texts that the model could not read to their end. */
static void tell_cut(hg_call *call, const char *text)
{
    hg_json *doc = NULL;
    hg_json_limits limits = {.bytes = 4 * HG_GIB};
    if (call->json || !text || hg_json_parse(hg_str_of(text), &limits, &doc, NULL) != HANGAR_OK) return;
    size_t cut = hg_json_len(hg_json_get(hg_json_root(doc), "truncated"));
    if (cut) {
        hg_words w;
        char line[128];
        snprintf(line, sizeof line, "%s cut: longer than the model can read; --json tells which",
                 hg_plural_words(&w, cut, "text was", "texts were"));
        call->say(call->face, line);
    }
    hg_json_free(doc);
}

static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    const embed_args *a = call->args;
    text_list list = {0};
    const char *const *texts = a->texts;
    size_t count = 0;
    bool from_input = !texts || (hg_streq(texts[0], "-") && !texts[1]);
    hangar_code code = HANGAR_OK;
    if (from_input) {
        code = read_lines(call, &list, err);
        texts = (const char *const *)list.lines;
        count = list.count;
    } else {
        while (texts[count]) count++;
    }
    hangar_model *model = NULL;
    if (code == HANGAR_OK) code = hangar_model_load(call->h, a->ref, call->job, &model, err);
    if (code == HANGAR_OK) code = hangar_embed(model, texts, count, call->job, out_json, err);
    if (code == HANGAR_OK) tell_cut(call, *out_json);
    hangar_model_unload(model);
    drop(&list);
    return code;
}

/* One line of numbers per text. */
static void show(const hg_jval *r, hg_view *view)
{
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(r, "embeddings")); hg_json_next(&it);) {
        hg_buf line;
        hg_buf_init(&line, 16 * HG_MIB);
        for (hg_json_iter number = hg_json_iter_of(it.val); hg_json_next(&number);)
            hg_buf_printf(&line, "%s%.6g", line.len ? " " : "", hg_json_f64_or(number.val, 0));
        hg_view_line(view, HG_PLAIN, "%s", hg_buf_text(&line));
        hg_buf_deinit(&line);
    }
}

const hg_verb hg_verb_embed = {
    .name = "embed",
    .group = "Use",
    .summary = "turn texts into vectors",
    .about = "Writes one line of numbers per text. The pooling and normalisation are those that the model's "
             "repository declares; "
             "a text that is longer than the model can read is cut, and --json tells which were (truncated).",
    .examples = examples,
    .params = params,
    .args_size = sizeof(embed_args),
    .run = run,
    .show = show,
};
