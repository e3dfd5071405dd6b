/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/folder.h"
#include "verbs/words.h"

typedef struct convert_args {
    const char *ref;
    hg_folder_args folder;
    int64_t opset;
    const char *to, *style, *form;
} convert_args;

static const hg_param params[] = {
    {.name = "ref",
     .type = HG_TEXT,
     .at = offsetof(convert_args, ref),
     .positional = true,
     .required = true,
     .help = "the model, with its weights as safetensors"},
    {.name = "out",
     .type = HG_TEXT,
     .at = offsetof(convert_args, folder.out),
     .local = true,
     .metavar = "DIR",
     .help = "write a folder for other tools; when left out the result is kept for hangar itself"},
    {.name = "link",
     .type = HG_FLAG,
     .at = offsetof(convert_args, folder.link),
     .local = true,
     .help = "in DIR: hard-link the weights (no space; some tools refuse linked files)"},
    {.name = "reflink",
     .type = HG_FLAG,
     .at = offsetof(convert_args, folder.reflink),
     .local = true,
     .help = "in DIR: share the weights' blocks (no space; needs btrfs, xfs or the like)"},
    {.name = "copy",
     .type = HG_FLAG,
     .at = offsetof(convert_args, folder.copy),
     .local = true,
     .help = "in DIR: copy the weights"},
    {.name = "opset",
     .type = HG_INT,
     .at = offsetof(convert_args, opset),
     .min = 1,
     .max = 1000,
     .help = "the ONNX operator set to write for (17 when left out)"},
    {.name = "to",
     .type = HG_TEXT,
     .at = offsetof(convert_args, to),
     .metavar = "FORMAT",
     .help = "what to convert to: onnx, the only one and the default"},
    {.name = "style",
     .type = HG_TEXT,
     .at = offsetof(convert_args, style),
     .metavar = "STYLE",
     .help =
         "fused: ONNX Runtime's own operators, fastest (the default); portable: those of the standard alone"},
    {.name = "form",
     .type = HG_TEXT,
     .at = offsetof(convert_args, form),
     .metavar = "FORM",
     .help = "what becomes of the weights: f32 (the default), ...; hangar quantize --list names them"},
    {0}};

static const hg_example examples[] = {{"hangar convert hangar-labs/whisper-digits",
                                       "make the ONNX graphs that hangar runs itself"},
                                      {"hangar convert org/name --out ./name-onnx --copy",
                                       "a folder that transformers.js loads"},
                                      {0}};

static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    const convert_args *a = call->args;
    hangar_convert_options options = HANGAR_CONVERT_OPTIONS_INIT;
    hangar_code code = hg_folder_place(&a->folder, &options.place, err);
    if (code != HANGAR_OK) return code;
    if (a->to && !hg_streq(a->to, "onnx"))
        return hg_fail(err, HANGAR_E_USAGE, "--to %s: models are converted to onnx alone", a->to);
    if (a->style && !hg_streq(a->style, "fused") && !hg_streq(a->style, "portable"))
        return hg_fail(err, HANGAR_E_USAGE, "--style %s: fused and portable are known", a->style);
    if (hg_streq(a->style, "portable")) options.style = HANGAR_STYLE_PORTABLE;
    options.form = a->form;
    options.out = a->folder.out;
    options.opset = (int)a->opset;
    return hangar_onnx_convert(call->h, a->ref, &options, call->job, out_json, err);
}

/* How the weights came into the folder. */
static const char *placed_words(const char *placed)
{
    if (hg_streq(placed, "link")) return "hard-linked";
    if (hg_streq(placed, "reflink")) return "reflinked";
    return hg_streq(placed, "copy") ? "copied" : placed;
}

static void show(const hg_jval *r, hg_view *view)
{
    const char *ref = hg_json_text_or(hg_json_get(r, "ref"), "?");
    const char *placed = hg_json_text(hg_json_path(r, "weights", "placed", NULL));
    const hg_jval *built = hg_json_path(r, "build", "seconds", NULL); /* the proof has a time of its own */
    hg_words w, t;
    hg_seconds_words(&t, built ? built : hg_json_get(r, "seconds"));
    hg_view_line(view, HG_GOOD, "✓ %s converted in %s", ref, t.text);
    const char *why = hg_json_text(hg_json_get(r, "why"));
    if (why) hg_view_field(view, "why", why);
    hg_view_field(view, "architecture", hg_json_text(hg_json_get(r, "architecture")));
    hg_view_field(view, "written", hg_size_words(&w, hg_json_get(r, "bytes_written")));
    if (placed)
        hg_view_fieldf(view, "weights", "%s %s", hg_size_words(&w, hg_json_path(r, "weights", "bytes", NULL)),
                       placed_words(placed));
    hg_view_field(view, "path", hg_json_text(hg_json_get(r, "path")));
    hg_view_line(view, HG_PLAIN, "%s", "");
    hg_view_table(view, "~GRAPH|>NODES|>SIZE");
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(r, "graphs")); hg_json_next(&it);) {
        hg_view_cell(view, HG_PLAIN, "%s", hg_json_text_or(hg_json_get(it.val, "file"), "-"));
        hg_view_cell(view, HG_PLAIN, "%s", hg_count_words(&t, hg_json_get(it.val, "nodes")));
        hg_view_cell(view, HG_PLAIN, "%s", hg_size_words(&w, hg_json_get(it.val, "bytes")));
    }
    hg_view_table_end(view);
    const hg_jval *proof = hg_json_get(r, "proof");
    hg_plural_words(&t, hg_json_len(hg_json_get(proof, "checks")), "check", "checks");
    hg_seconds_words(&w, hg_json_get(proof, "seconds"));
    hg_view_line(view, HG_PLAIN, "%s", "");
    if (hg_json_bool_or(hg_json_get(proof, "ok"), false))
        hg_view_line(view, HG_GOOD, "✓ proved: %s passed (%s)", t.text, w.text);
}

const hg_verb hg_verb_convert = {
    .name = "convert",
    .group = "Convert",
    .summary = "turn a safetensors checkpoint into ONNX",
    .about =
        "Builds the ONNX graphs of the model. The weights are not rewritten: the graphs refer to them where "
        "they lie in the "
        "safetensors file, so a conversion takes milliseconds and kilobytes whatever the size of the model. "
        "The result is proved "
        "before it becomes visible (hangar validate makes the same report again).\n"
        "\n"
        "With --out the result is a folder of its own: configuration and tokenizer on top, graphs in onnx/ "
        "under the "
        "names that transformers.js expects, the weights placed beside them (reflinked where the file system "
        "can, else "
        "hard-linked, else copied, unless an option says how).",
    .examples = examples,
    .params = params,
    .args_size = sizeof(convert_args),
    .flags = HG_VERB_PROGRESS,
    .run = run,
    .show = show,
};
