/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/verb.h"
#include "verbs/words.h"

typedef struct rm_args {
    const char *ref;
    bool yes;
} rm_args;

static const hg_param params[] = {{.name = "ref",
                                   .type = HG_TEXT,
                                   .at = offsetof(rm_args, ref),
                                   .positional = true,
                                   .required = true,
                                   .help = "the model: ORG/NAME (its revision main) or ORG/NAME@REVISION"},
                                  {.name = "yes",
                                   .letter = 'y',
                                   .type = HG_FLAG,
                                   .at = offsetof(rm_args, yes),
                                   .local = true,
                                   .help = "do not ask"},
                                  {0}};

static const hg_example examples[] = {{"hangar rm org/name", "remove a model; asks first on a terminal"},
                                      {"hangar rm org/name@v1.0 --yes", "one revision, without a question"},
                                      {0}};

#define ANSWER_MAX 1024

/* Whether the person wants it. A model that cannot be described is not asked for: removing it will tell why. */
static hangar_code ask(hg_call *call, const char *ref, hangar_err *err)
{
    char *text = NULL;
    hg_json *doc = NULL;
    hg_words w;
    hangar_code code = hangar_model_get(call->h, ref, &text, err);
    if (code == HANGAR_OK) code = hg_json_parse(hg_str_of(text), NULL, &doc, err);
    hangar_free(text);
    if (code != HANGAR_OK) return code == HANGAR_E_NOT_FOUND ? code : HANGAR_OK;
    hg_buf prompt, line;
    hg_buf_init(&prompt, 4 * ANSWER_MAX);
    hg_buf_init(&line, ANSWER_MAX);
    hg_buf_printf(&prompt, "remove %s (%s)? [y/N] ", ref,
                  hg_size_words(&w, hg_json_get(hg_json_root(doc), "size")));
    bool yes = call->ask(call->face, hg_buf_text(&prompt), &line);
    yes = yes && (hg_streq(hg_buf_text(&line), "y") || hg_streq(hg_buf_text(&line), "yes"));
    hg_buf_deinit(&line);
    hg_buf_deinit(&prompt);
    hg_json_free(doc);
    return yes ? HANGAR_OK : hg_fail(err, HANGAR_E_CANCELLED, "nothing was removed");
}

static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    const rm_args *a = call->args;
    if (call->interactive && !a->yes) {
        hangar_code code = ask(call, a->ref, err);
        if (code != HANGAR_OK) return code;
    }
    return hangar_model_remove(call->h, a->ref, out_json, err);
}

static void show(const hg_jval *r, hg_view *view)
{
    hg_words w;
    hg_view_line(view, HG_GOOD, "✓ %s removed, %s freed", hg_json_text_or(hg_json_get(r, "ref"), "?"),
                 hg_size_words(&w, hg_json_get(r, "freed")));
}

const hg_verb hg_verb_rm = {
    .name = "rm",
    .group = "Models",
    .summary = "remove a model from the store",
    .about = "Removes one revision, the files that no other revision uses, and what hangar made from it. "
             "Other revisions stay. "
             "The last one takes the model's folder along.",
    .examples = examples,
    .params = params,
    .args_size = sizeof(rm_args),
    .run = run,
    .show = show,
};
