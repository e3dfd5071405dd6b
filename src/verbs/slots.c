/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/slots.h"

#include "verbs/words.h"

#include <stdio.h>

static hg_tone tone_of(const char *state)
{
    if (hg_streq(state, "ready") || hg_streq(state, "busy")) return HG_GOOD;
    if (hg_streq(state, "failed") || hg_streq(state, "quarantined")) return HG_BAD;
    return HG_DIM;
}

/* "loading 42%", "busy, 3 wait" */
static void state_cell(const hg_jval *m, hg_view *view)
{
    const char *state = hg_json_text_or(hg_json_get(m, "state"), "?"),
               *phase = hg_json_text(hg_json_get(m, "phase"));
    double progress = hg_json_f64_or(hg_json_get(m, "progress"), -1);
    int64_t waiting = hg_json_i64_or(hg_json_get(m, "waiting"), 0);
    char more[64] = "";
    if (progress >= 0) snprintf(more, sizeof more, " %d%%", (int)(progress * 100));
    else if (waiting > 0) snprintf(more, sizeof more, ", %lld wait", (long long)waiting);
    hg_view_cell(view, tone_of(state), "%s%s", hg_streq(state, "loading") && phase ? phase : state, more);
}

/* When it leaves: in a while, or never. */
static void leave_cell(const hg_jval *m, hg_view *view)
{
    const hg_jval *in = hg_json_get(m, "expires_in");
    const char *state = hg_json_text_or(hg_json_get(m, "state"), "");
    hg_words w;
    if (hg_json_bool_or(hg_json_get(m, "wanted"), false)) hg_view_cell(view, HG_PLAIN, "for good");
    else if (!hg_json_is_null(in)) hg_view_cell(view, HG_PLAIN, "in %s", hg_seconds_words(&w, in));
    else hg_view_cell(view, HG_PLAIN, "%s", hg_streq(state, "ready") ? "never" : "-");
}

void hg_slots_show(const hg_jval *r, hg_view *view)
{
    const hg_jval *models = hg_json_get(r, "models"), *memory = hg_json_get(r, "memory");
    hg_words w, all;
    if (hg_json_len(models) == 0) {
        hg_view_line(view, HG_DIM, "the daemon holds no model");
    } else {
        hg_view_table(view, "~MODEL|STATE|-TASK|>MEMORY|>USES|LEAVES");
        for (hg_json_iter it = hg_json_iter_of(models); hg_json_next(&it);) {
            hg_view_cell(view, HG_BOLD, "%s", hg_json_text_or(hg_json_get(it.val, "name"), "-"));
            state_cell(it.val, view);
            hg_view_cell(view, HG_PLAIN, "%s", hg_json_text_or(hg_json_get(it.val, "task"), "-"));
            hg_view_cell(view, HG_PLAIN, "%s", hg_size_words(&w, hg_json_get(it.val, "memory")));
            hg_view_cell(view, HG_PLAIN, "%lld", (long long)hg_json_i64_or(hg_json_get(it.val, "uses"), 0));
            leave_cell(it.val, view);
        }
        hg_view_table_end(view);
        for (hg_json_iter it = hg_json_iter_of(models); hg_json_next(&it);) {
            const char *error = hg_json_text(hg_json_get(it.val, "error"));
            if (error && *error)
                hg_view_line(view, HG_BAD, "✗ %s: %s", hg_json_text_or(hg_json_get(it.val, "name"), "-"),
                             error);
        }
    }
    if (memory)
        hg_view_line(view, HG_DIM, "memory: %s of %s", hg_size_words(&w, hg_json_get(memory, "used")),
                     hg_size_words(&all, hg_json_get(memory, "budget")));
}
