/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "verbs/verb.h"
#include "verbs/words.h"

typedef struct why_args {
    const char *model;
    const char *kind;
    int64_t limit;
} why_args;

static const hg_param params[] = {{.name = "model",
                                   .type = HG_TEXT,
                                   .at = offsetof(why_args, model),
                                   .positional = true,
                                   .help = "of this one alone, by the name that hangar ps shows"},
                                  {.name = "kind",
                                   .type = HG_CHOICE,
                                   .at = offsetof(why_args, kind),
                                   .metavar = "KIND",
                                   .choices =
                                       "eviction|unload|refusal|restart|quarantine|fallback|breaker|probe",
                                   .help = "of this kind alone"},
                                  {.name = "limit",
                                   .letter = 'n',
                                   .type = HG_INT,
                                   .at = offsetof(why_args, limit),
                                   .def = "20",
                                   .min = 1,
                                   .max = 256,
                                   .help = "so many, the latest first"},
                                  {0}};

static const hg_example examples[] = {{"hangar why", "the latest decisions of the daemon"},
                                      {"hangar why helper --kind fallback -n 1",
                                       "why another model answered last"},
                                      {0}};

static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    const why_args *a = call->args;
    return hangar_daemon_why(call->h, a->model, a->kind, (int)a->limit, out_json, err);
}

static void show(const hg_jval *r, hg_view *view)
{
    const hg_jval *reasons = hg_json_get(r, "reasons");
    hg_words w;
    if (hg_json_len(reasons) == 0) {
        hg_view_line(view, HG_DIM, "nothing was decided that needs a reason");
        return;
    }
    hg_view_table(view, "WHEN|KIND|MODEL|=WHY");
    for (hg_json_iter it = hg_json_iter_of(reasons); hg_json_next(&it);) {
        hg_view_cell(view, HG_DIM, "%s", hg_ago_words(&w, hg_json_get(it.val, "time"), hg_wall()));
        hg_view_cell(view, HG_PLAIN, "%s", hg_json_text_or(hg_json_get(it.val, "kind"), "-"));
        hg_view_cell(view, HG_BOLD, "%s", hg_json_text_or(hg_json_get(it.val, "model"), "-"));
        hg_view_cell(view, HG_PLAIN, "%s", hg_json_text_or(hg_json_get(it.val, "text"), "-"));
    }
    hg_view_table_end(view);
}

const hg_verb hg_verb_why = {
    .name = "why",
    .group = "Serve",
    .summary = "tell why the daemon decided what it decided",
    .about = "One line for each eviction, refusal, restart and fallback: which model, when, and what the "
             "reason was. The "
             "daemon keeps the last 256.",
    .examples = examples,
    .params = params,
    .args_size = sizeof(why_args),
    .run = run,
    .show = show,
};
