/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/verb.h"
#include "verbs/words.h"

typedef struct verify_args {
    const char *ref;
    bool all;
} verify_args;

static const hg_param params[] = {{.name = "ref",
                                   .type = HG_TEXT,
                                   .at = offsetof(verify_args, ref),
                                   .positional = true,
                                   .help = "the model"},
                                  {.name = "all",
                                   .type = HG_FLAG,
                                   .at = offsetof(verify_args, all),
                                   .help = "every model of the store; so without a REF"},
                                  {0}};

static const hg_example examples[] = {{"hangar verify hangar-labs/whisper-digits",
                                       "hash the files of one model again"},
                                      {"hangar verify --all", "the whole store"},
                                      {0}};

static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    const verify_args *a = call->args;
    if (a->ref && a->all) return hg_fail(err, HANGAR_E_USAGE, "REF and --all exclude each other");
    return hangar_model_verify(call->h, a->ref, call->job, out_json, err);
}

static void show_damaged(const hg_jval *d, hg_view *view)
{
    const char *problem = hg_json_text_or(hg_json_get(d, "problem"), "");
    hg_words expected, actual;
    const char *ref = hg_json_text_or(hg_json_get(d, "ref"), "?"),
               *path = hg_json_text_or(hg_json_get(d, "path"), "?");
    if (hg_streq(problem, "hash"))
        hg_view_line(view, HG_BAD, "✗ %s: %s is damaged: its hash is %s, not %s", ref, path,
                     hg_commit_words(&actual, hg_json_get(d, "actual")),
                     hg_commit_words(&expected, hg_json_get(d, "expected")));
    else hg_view_line(view, HG_BAD, "✗ %s: %s is %s", ref, path, problem);
}

static void show(const hg_jval *r, hg_view *view)
{
    const hg_jval *damaged = hg_json_get(r, "damaged"), *unsure = hg_json_get(r, "unverifiable");
    uint64_t models = 0, files = 0, good = 0;
    hg_words m, f, w;
    (void)hg_json_u64(hg_json_get(r, "models"), &models);
    (void)hg_json_u64(hg_json_get(r, "files"), &files);
    (void)hg_json_u64(hg_json_get(r, "ok"), &good);
    for (hg_json_iter it = hg_json_iter_of(damaged); hg_json_next(&it);) show_damaged(it.val, view);
    for (hg_json_iter it = hg_json_iter_of(unsure); hg_json_next(&it);) {
        const char *text = hg_json_text(it.val);
        if (text) hg_view_line(view, HG_WARN, "! %s has no hash to check against", text);
        else
            hg_view_line(view, HG_WARN, "! %s: %s has no hash to check against",
                         hg_json_text_or(hg_json_get(it.val, "ref"), "?"),
                         hg_json_text_or(hg_json_get(it.val, "path"), "?"));
    }
    hg_plural_words(&f, files, "file", "files");
    hg_plural_words(&m, models, "model", "models");
    hg_size_words(&w, hg_json_get(r, "bytes"));
    if (hg_json_len(damaged))
        hg_view_line(view, HG_BAD, "%zu of %s of %s damaged (%s read)", hg_json_len(damaged), f.text, m.text,
                     w.text);
    else if (hg_json_len(unsure))
        hg_view_line(view, HG_WARN, "nothing is damaged; %llu of %s of %s proved (%s read)",
                     (unsigned long long)good, f.text, m.text, w.text);
    else hg_view_line(view, HG_GOOD, "✓ %s of %s intact (%s read)", f.text, m.text, w.text);
}

const hg_verb hg_verb_verify = {
    .name = "verify",
    .group = "Models",
    .summary = "hash what is on disk again and name what is damaged",
    .about = "Reads every file of the model and compares its hash with the one that the Hub gave. Needs no "
             "network. Damage ends "
             "with exit code 6; hangar pull fetches damaged and missing files again.",
    .examples = examples,
    .params = params,
    .args_size = sizeof(verify_args),
    .flags = HG_VERB_PROGRESS | HG_VERB_BYTES,
    .run = run,
    .show = show,
};
