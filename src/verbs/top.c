/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/verb.h"
#include "verbs/words.h"

#include <stdio.h>

typedef struct top_args {
    bool once;
    double every;
} top_args;

static const hg_param params[] = {{.name = "once",
                                   .type = HG_FLAG,
                                   .at = offsetof(top_args, once),
                                   .help = "one table, as without a terminal"},
                                  {.name = "every",
                                   .type = HG_DURATION,
                                   .at = offsetof(top_args, every),
                                   .def = "1s",
                                   .min = 0.1,
                                   .max = 3600,
                                   .help = "time between two looks"},
                                  {0}};

static const hg_example examples[] = {{"hangar top", "watch the daemon; Ctrl-C ends it"},
                                      {"hangar top --once --json", "the figures for a program"},
                                      {0}};

static void number_cell(hg_view *view, const hg_jval *v, const char *fmt)
{
    double n;
    char text[32] = "-";
    if (hg_json_f64(v, &n)) snprintf(text, sizeof text, fmt, n);
    hg_view_cell(view, HG_PLAIN, "%s", text);
}

static void show_models(const hg_jval *models, hg_view *view)
{
    hg_words w;
    hg_view_table(view, "~MODEL|STATE|>MEMORY|>TOK/S|>SPEED|>FIRST|>WAIT|>ASKS");
    for (hg_json_iter it = hg_json_iter_of(models); hg_json_next(&it);) {
        const char *state = hg_json_text_or(hg_json_get(it.val, "state"), "?");
        bool bad = hg_streq(state, "failed") || hg_streq(state, "quarantined");
        hg_view_cell(view, HG_BOLD, "%s", hg_json_text_or(hg_json_get(it.val, "name"), "-"));
        hg_view_cell(view, bad ? HG_BAD : hg_streq(state, "busy") ? HG_GOOD : HG_PLAIN, "%s", state);
        hg_view_cell(view, HG_PLAIN, "%s", hg_size_words(&w, hg_json_get(it.val, "memory")));
        number_cell(view, hg_json_get(it.val, "tokens_per_second"), "%.1f");
        number_cell(view, hg_json_get(it.val, "speed"), "%.1f");
        hg_view_cell(view, HG_PLAIN, "%s", hg_seconds_words(&w, hg_json_get(it.val, "first_token_seconds")));
        hg_view_cell(view, HG_PLAIN, "%lld", (long long)hg_json_i64_or(hg_json_get(it.val, "waiting"), 0));
        hg_view_cell(view, HG_PLAIN, "%lld", (long long)hg_json_i64_or(hg_json_get(it.val, "asks"), 0));
    }
    hg_view_table_end(view);
}

static void show(const hg_jval *r, hg_view *view)
{
    const hg_jval *memory = hg_json_get(r, "memory"), *http = hg_json_get(r, "http"),
                  *process = hg_json_get(r, "process");
    double rate, cpu;
    hg_words a, b, c;
    char requests[48] = "", load[48] = "";
    if (hg_json_f64(hg_json_get(http, "requests_per_second"), &rate))
        snprintf(requests, sizeof requests, ", %.1f a second", rate);
    if (hg_json_f64(hg_json_get(process, "cpu"), &cpu))
        snprintf(load, sizeof load, ", %.0f%% of a processor", cpu * 100);
    hg_view_line(view, HG_PLAIN, "models   %s of %s", hg_size_words(&a, hg_json_get(memory, "used")),
                 hg_size_words(&b, hg_json_get(memory, "budget")));
    hg_view_line(view, HG_PLAIN, "daemon   %s%s", hg_size_words(&c, hg_json_get(process, "resident")), load);
    hg_view_line(view, HG_PLAIN, "http     %lld connections, %lld streams, %lld requests%s",
                 (long long)hg_json_i64_or(hg_json_get(http, "connections"), 0),
                 (long long)hg_json_i64_or(hg_json_get(http, "streams"), 0),
                 (long long)hg_json_i64_or(hg_json_get(http, "requests"), 0), requests);
    hg_view_line(view, HG_PLAIN, "%s", "");
    if (hg_json_len(hg_json_get(r, "models"))) show_models(hg_json_get(r, "models"), view);
    else hg_view_line(view, HG_DIM, "the daemon holds no model");
}

/* On a terminal page after page, until the person ends it; the last one stays there and is not printed again. */
static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    const top_args *a = call->args;
    hangar_code code = hangar_daemon_top(call->h, NULL, out_json, err);
    if (a->once || call->json || !call->page) return code;
    while (code == HANGAR_OK) {
        hg_json *doc = NULL;
        char *before = *out_json;
        *out_json = NULL;
        code = hg_json_parse(hg_str_of(before), NULL, &doc, err);
        bool on = code == HANGAR_OK && call->page(call->face, show, hg_json_root(doc), a->every);
        hg_json_free(doc);
        if (on) code = hangar_daemon_top(call->h, before, out_json, err);
        hangar_free(before);
        if (!on) break;
    }
    return code;
}

const hg_verb hg_verb_top = {
    .name = "top",
    .group = "Serve",
    .summary = "watch the daemon at work",
    .about = "Shows what the running daemon holds and does, anew each second: states, memory, tokens a "
             "second over all (TOK/S) and while "
             "one is generated (SPEED), the time to the first token, who waits. Without a terminal, and with "
             "--once, one "
             "table.",
    .examples = examples,
    .params = params,
    .args_size = sizeof(top_args),
    .run = run,
    .show = show,
};
