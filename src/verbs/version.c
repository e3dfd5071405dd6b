/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "verbs/verb.h"

static const hg_param params[] = {{0}};

static const hg_example examples[] = {{"hangar version", "the version of the program"},
                                      {"hangar version --json", "the same for a program"},
                                      {0}};

static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    (void)call;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w) return hg_fail_memory(err);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "version", hangar_version());
    return hg_jw_finish(w, false, out_json, err);
}

static void show(const hg_jval *r, hg_view *view)
{
    hg_view_line(view, HG_PLAIN, "hangar %s", hg_json_text_or(hg_json_get(r, "version"), "?"));
}

const hg_verb hg_verb_version = {
    .name = "version",
    .group = "Machine",
    .summary = "tell the version",
    .about = "Prints the version of hangar.",
    .examples = examples,
    .params = params,
    .args_size = 1,
    .flags = HG_VERB_NO_HANDLE,
    .run = run,
    .show = show,
};
