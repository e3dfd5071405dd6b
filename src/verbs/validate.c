/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/verb.h"
#include "verbs/words.h"

#include <stdio.h>

typedef struct validate_args {
    const char *ref, *form;
    bool layers;
} validate_args;

static const hg_param params[] = {
    {.name = "ref",
     .type = HG_TEXT,
     .at = offsetof(validate_args, ref),
     .positional = true,
     .required = true,
     .help = "a model that was converted"},
    {.name = "form",
     .type = HG_TEXT,
     .at = offsetof(validate_args, form),
     .metavar = "FORM",
     .help = "which form of it: f32, int8, ... (the one that is used)"},
    {.name = "layers",
     .type = HG_FLAG,
     .at = offsetof(validate_args, layers),
     .help = "also compare the model cut after its first layer, its first two, ..."},
    {0}};

static const hg_example examples[] = {{"hangar validate hangar-labs/whisper-digits",
                                       "the report card of a conversion"},
                                      {"hangar validate org/name --json", "the same for a program"},
                                      {"hangar validate org/name --form int4 --layers",
                                       "which layer a quantized form drifts in"},
                                      {0}};

static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    const validate_args *a = call->args;
    hangar_validate_options options = HANGAR_VALIDATE_OPTIONS_INIT;
    options.form = a->form;
    options.layers = a->layers;
    return hangar_onnx_validate(call->h, a->ref, &options, call->job, out_json, err);
}

/* A number or a text of the report; "" when there is none. */
static const char *value_words(hg_words *w, const hg_jval *v)
{
    double n;
    if (hg_json_f64(v, &n)) {
        snprintf(w->text, sizeof w->text, "%.3g", n);
        return w->text;
    }
    return hg_json_text_or(v, "");
}

static void show(const hg_jval *r, hg_view *view)
{
    const hg_jval *checks = hg_json_get(r, "checks");
    size_t failed = 0, made = 0;
    hg_words w, l, n;
    hg_view_table(view, "|CHECK|>VALUE|>LIMIT|=DETAIL");
    for (hg_json_iter it = hg_json_iter_of(checks); hg_json_next(&it);) {
        bool good = hg_json_bool_or(hg_json_get(it.val, "ok"), false);
        failed += !good;
        made += !hg_json_bool_or(hg_json_get(it.val, "skipped"), false);
        bool skipped = hg_json_bool_or(hg_json_get(it.val, "skipped"), false);
        hg_view_cell(view,
                     skipped ? HG_DIM
                     : good  ? HG_GOOD
                             : HG_BAD,
                     "%s",
                     skipped ? "-"
                     : good  ? "✓"
                             : "✗");
        hg_view_cell(view, good ? HG_PLAIN : HG_BAD, "%s", hg_json_text_or(hg_json_get(it.val, "name"), "-"));
        hg_view_cell(view, HG_PLAIN, "%s", value_words(&w, hg_json_get(it.val, "value")));
        hg_view_cell(view, HG_DIM, "%s", value_words(&l, hg_json_get(it.val, "limit")));
        hg_view_cell(view, HG_DIM, "%s", hg_json_text_or(hg_json_get(it.val, "detail"), ""));
    }
    hg_view_table_end(view);
    hg_view_line(view, HG_PLAIN, "%s", "");
    hg_plural_words(&n, made, "check", "checks");
    hg_seconds_words(&w, hg_json_get(r, "seconds"));
    if (failed || !hg_json_bool_or(hg_json_get(r, "ok"), false))
        hg_view_line(view, HG_BAD, "✗ %s: %zu of %s failed (%s)", hg_json_text_or(hg_json_get(r, "ref"), "?"),
                     failed, n.text, w.text);
    else
        hg_view_line(view, HG_GOOD, "✓ %s: %s passed (%s)", hg_json_text_or(hg_json_get(r, "ref"), "?"),
                     n.text, w.text);
}

const hg_verb hg_verb_validate = {
    .name = "validate",
    .group = "Convert",
    .summary = "prove that a converted model is right",
    .about =
        "Checks the structure of each graph, loads it in ONNX Runtime in a child process, looks for values "
        "that are not finite, compares an input alone with the same one in a batch, with padding and step by "
        "step, compares "
        "the answers with those of the source architecture, computed anew in double precision, those of a "
        "quantized form with "
        "those of the weights as they were, and, when the repository brings a reference.json, with that. A "
        "failed check "
        "ends with exit code 6.",
    .examples = examples,
    .params = params,
    .args_size = sizeof(validate_args),
    .flags = HG_VERB_PROGRESS,
    .run = run,
    .show = show,
};
