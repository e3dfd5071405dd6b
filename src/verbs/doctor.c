/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "verbs/verb.h"

static const hg_param params[] = {{0}};

static const hg_example examples[] = {{"hangar doctor", "what is installed, what is missing, what to do"},
                                      {"hangar doctor --json", "the same for a program"},
                                      {0}};

/* A report of the one thing that keeps hangar from opening at all. */
static void report_closed(const hangar_err *why, char **out_json)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_bool(w, "ok", false);
    hg_jw_arr(w, "checks");
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "name", "opening");
    hg_jw_text(w, "state", "fail");
    hg_jw_text(w, "detail", why->msg);
    hg_jw_text(w, "advice", "hangar config check names what is wrong in the configuration");
    if (w && hg_jw_finish(w, false, out_json, NULL) != HANGAR_OK) *out_json = NULL;
}

/* Opens hangar itself, because that it cannot be opened is an answer here. */
static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    hangar *h = NULL;
    (void)call;
    hangar_err why = {0};
    hangar_code code = hangar_open(NULL, &h, &why);
    if (code != HANGAR_OK) {
        report_closed(&why, out_json);
        return hg_fail(err, HANGAR_E_FAILED, "hangar cannot work: %s", why.msg);
    }
    code = hangar_doctor(h, out_json, err);
    hangar_close(h);
    return code;
}

static void show(const hg_jval *r, hg_view *view)
{
    hg_view_table(view, "|CHECK|=DETAIL");
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(r, "checks")); hg_json_next(&it);) {
        const char *state = hg_json_text_or(hg_json_get(it.val, "state"), "fail");
        bool ok = hg_streq(state, "ok"), warn = hg_streq(state, "warn");
        hg_view_cell(view, ok ? HG_GOOD : warn ? HG_WARN : HG_BAD, "%s", ok ? "✓" : warn ? "!" : "✗");
        hg_view_cell(view, HG_PLAIN, "%s", hg_json_text_or(hg_json_get(it.val, "name"), "-"));
        hg_view_cell(view, HG_DIM, "%s", hg_json_text_or(hg_json_get(it.val, "detail"), ""));
    }
    hg_view_table_end(view);
    bool any = false;
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(r, "checks")); hg_json_next(&it);) {
        const char *advice = hg_json_text(hg_json_get(it.val, "advice"));
        if (!advice || !*advice || hg_streq(hg_json_text(hg_json_get(it.val, "state")), "ok")) continue;
        if (!any) hg_view_line(view, HG_PLAIN, "%s", "");
        any = true;
        hg_view_line(view, HG_PLAIN, "→ %s: %s", hg_json_text_or(hg_json_get(it.val, "name"), "-"), advice);
    }
}

const hg_verb hg_verb_doctor = {
    .name = "doctor",
    .group = "Machine",
    .summary = "find out what keeps hangar from working",
    .about = "Looks at the configuration, the cache, the space, the engines and the Hub's address, and says "
             "what to do about "
             "what is wrong. Something that keeps hangar from its main job ends with exit code 1.",
    .examples = examples,
    .params = params,
    .args_size = 1,
    .flags = HG_VERB_NO_HANDLE,
    .run = run,
    .show = show,
};
