/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "verbs/verb.h"
#include "verbs/words.h"

static const hg_param params[] = {{0}};

static const hg_example examples[] = {{"hangar ls", "what is there"},
                                      {"hangar ls --json", "the same for a program"},
                                      {0}};

static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    return hangar_model_list(call->h, out_json, err);
}

static void show(const hg_jval *r, hg_view *view)
{
    const hg_jval *models = hg_json_get(r, "models");
    int64_t now = hg_wall();
    hg_words w;
    if (hg_json_len(models) == 0) {
        hg_view_line(view, HG_PLAIN, "no models in %s yet; hangar pull ORG/NAME fetches one",
                     hg_json_text_or(hg_json_get(r, "cache"), "the cache"));
        return;
    }
    hg_view_table(view, "~NAME|REVISION|>SIZE|-FORMAT|-ARCHITECTURE|-MODIFIED");
    for (hg_json_iter it = hg_json_iter_of(models); hg_json_next(&it);) {
        const hg_jval *m = it.val;
        hg_view_cell(view, HG_BOLD, "%s", hg_json_text_or(hg_json_get(m, "repo"), "-"));
        hg_view_cell(view, HG_PLAIN, "%.40s", hg_json_text_or(hg_json_get(m, "revision"), "-"));
        hg_view_cell(view, HG_PLAIN, "%s", hg_size_words(&w, hg_json_get(m, "size")));
        hg_view_cell(view, HG_PLAIN, "%s", hg_json_text_or(hg_json_get(m, "format"), "-"));
        hg_view_cell(view, HG_PLAIN, "%s", hg_json_text_or(hg_json_get(m, "architecture"), "-"));
        hg_view_cell(view, HG_DIM, "%s", hg_ago_words(&w, hg_json_get(m, "modified"), now));
    }
    hg_view_table_end(view);
}

const hg_verb hg_verb_ls = {
    .name = "ls",
    .group = "Models",
    .summary = "list the models of the store",
    .about = "One line per revision of a model, also of those that other tools put into the Hub's cache. A "
             "size counts each "
             "file once, even when several names lead to it.",
    .examples = examples,
    .params = params,
    .args_size = 1,
    .flags = 0,
    .run = run,
    .show = show,
};
