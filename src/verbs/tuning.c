/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/tuning.h"

#include "verbs/words.h"

#include <stdio.h>

/* One call downward. */
hangar_code hg_tuning_run(hg_call *call, const char *profile, char **out_json, hangar_err *err)
{
    const hg_tuning_args *a = call->args;
    hangar_optimize_options options = HANGAR_OPTIMIZE_OPTIONS_INIT;
    if (a->list) return hangar_onnx_profiles(out_json, err);
    if (!a->ref) return hg_fail(err, HANGAR_E_USAGE, "which model? (--list names the profiles)");
    hangar_code code = hg_folder_place(&a->folder, &options.place, err);
    if (code != HANGAR_OK) return code;
    options.profile = a->profile ? a->profile : profile;
    options.level = a->level;
    options.out = a->folder.out;
    options.seconds = a->seconds;
    options.keep = a->keep;
    return hangar_onnx_optimize(call->h, a->ref, &options, call->job, out_json, err);
}

/* ---- pages ---- */

static void show_profiles(const hg_jval *list, hg_view *view)
{
    hg_view_table(view, "PROFILE|FORM|=WHAT FOR");
    for (hg_json_iter it = hg_json_iter_of(list); hg_json_next(&it);) {
        hg_view_cell(view, HG_BOLD, "%s", hg_json_text_or(hg_json_get(it.val, "name"), "-"));
        hg_view_cell(view, HG_PLAIN, "%s", hg_json_text_or(hg_json_get(it.val, "form"), ""));
        hg_view_cell(view, HG_PLAIN, "%s", hg_json_text_or(hg_json_get(it.val, "words"), ""));
    }
    hg_view_table_end(view);
}

/* "12.3", or nothing where nothing was measured. */
static const char *ms_words(hg_words *w, const hg_jval *v)
{
    double n;
    w->text[0] = '\0';
    if (hg_json_f64(v, &n)) snprintf(w->text, sizeof w->text, n < 10 ? "%.2f" : n < 100 ? "%.1f" : "%.0f", n);
    return w->text;
}

static void show_row(const hg_jval *row, bool chosen, hg_view *view)
{
    hg_words a, b, c, d, e, s, m;
    double drift;
    uint64_t bytes;
    bool ok = hg_json_bool_or(hg_json_get(row, "ok"), false);
    hg_tone tone = chosen ? HG_GOOD : ok ? HG_PLAIN : HG_DIM;
    if (hg_json_f64(hg_json_get(row, "drift"), &drift)) snprintf(d.text, sizeof d.text, "%.3f", drift);
    else d.text[0] = '\0';
    s.text[0] = m.text[0] = '\0';
    if (hg_json_u64(hg_json_get(row, "bytes"), &bytes) && bytes) hg_size_words(&s, hg_json_get(row, "bytes"));
    if (hg_json_u64(hg_json_get(row, "memory"), &bytes) && bytes)
        hg_size_words(&m, hg_json_get(row, "memory"));
    hg_view_cell(view, tone, "%s", chosen ? "✓" : ok ? "" : "✗");
    hg_view_cell(view, tone, "%s", hg_json_text_or(hg_json_get(row, "profile"), "-"));
    hg_view_cell(view, tone, "%s", ms_words(&a, hg_json_get(row, "prefill_ms")));
    hg_view_cell(view, tone, "%s", ms_words(&b, hg_json_get(row, "batch_ms")));
    hg_view_cell(view, tone, "%s", ms_words(&c, hg_json_get(row, "step_ms")));
    hg_view_cell(view, tone, "%s", ms_words(&e, hg_json_get(row, "score")));
    hg_view_cell(view, tone, "%s", d.text);
    hg_view_cell(view, tone, "%s", s.text);
    hg_view_cell(view, tone, "%s", m.text);
    hg_view_cell(view, HG_DIM, "%s", hg_json_text_or(hg_json_get(row, "why"), ""));
}

/* What was tried. */
void hg_tuning_show_table(const hg_jval *table, const char *chosen, hg_view *view)
{
    hg_view_table(view, "|PROFILE|>PREFILL|>BATCH|>STEP|>SCORE|>DRIFT|>-DISK|>-MEMORY|=NOTE");
    for (hg_json_iter it = hg_json_iter_of(table); hg_json_next(&it);)
        show_row(it.val, hg_streq(hg_json_text(hg_json_get(it.val, "profile")), chosen), view);
    hg_view_table_end(view);
    hg_view_line(view, HG_DIM, "times in ms; score: the main use, lower is better");
}

/* The whole answer. */
void hg_tuning_show(const hg_jval *r, hg_view *view)
{
    if (hg_json_is_array(r)) {
        show_profiles(r, view);
        return;
    }
    const hg_jval *table = hg_json_get(r, "table"), *proof = hg_json_get(r, "proof");
    const char *profile = hg_json_text_or(hg_json_get(r, "profile"), "?");
    hg_words w, t;
    if (!hg_json_is_null(proof) && !hg_json_bool_or(hg_json_get(proof, "ok"), false)) {
        hg_view_line(view, HG_BAD, "✗ %s: %s is not right and was not kept",
                     hg_json_text_or(hg_json_get(r, "ref"), "?"), profile);
        return;
    }
    hg_view_line(view, HG_GOOD, "✓ %s is %s now (%s)", hg_json_text_or(hg_json_get(r, "ref"), "?"), profile,
                 hg_seconds_words(&t, hg_json_get(r, "seconds")));
    if (hg_json_text(hg_json_get(r, "why"))) hg_view_field(view, "why", hg_json_text(hg_json_get(r, "why")));
    hg_view_field(view, "form", hg_json_text(hg_json_get(r, "form")));
    hg_view_field(view, "level", hg_json_text(hg_json_get(r, "level")));
    hg_view_field(view, "size", hg_size_words(&w, hg_json_get(r, "bytes_written")));
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(proof, "checks")); hg_json_next(&it);) {
        double drift;
        if (hg_streq(hg_json_text(hg_json_get(it.val, "name")), "drift") &&
            hg_json_f64(hg_json_get(it.val, "value"), &drift))
            hg_view_fieldf(view, "drift", "%.4f, limit %.4g", drift,
                           hg_json_f64_or(hg_json_get(it.val, "limit"), 0));
    }
    hg_view_field(view, "path", hg_json_text(hg_json_get(r, "path")));
    if (hg_json_is_null(table)) return;
    hg_view_line(view, HG_PLAIN, "%s", "");
    hg_tuning_show_table(table, profile, view);
}
