/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "verbs/lines.h"

typedef struct classify_args {
    const char *ref;
    const char **texts, **images, **labels;
    const char *template;
    int64_t top;
} classify_args;

static const hg_param params[] = {
    {.name = "ref",
     .type = HG_TEXT,
     .at = offsetof(classify_args, ref),
     .positional = true,
     .required = true,
     .help = "a model that gives texts, or their tokens, labels"},
    {.name = "text",
     .type = HG_TEXTS,
     .at = offsetof(classify_args, texts),
     .positional = true,
     .help = "the texts; when left out, or for -, each line of the standard input is one"},
    {.name = "top",
     .type = HG_INT,
     .at = offsetof(classify_args, top),
     .def = "5",
     .max = 65536,
     .metavar = "N",
     .help = "labels told of each text, the likeliest first; 0 = all"},
    {.name = "image",
     .type = HG_TEXTS,
     .at = offsetof(classify_args, images),
     .local = true,
     .metavar = "FILE",
     .help = "a picture (JPEG, PNG, WebP) in place of texts; may be given several times"},
    {.name = "label",
     .type = HG_TEXTS,
     .at = offsetof(classify_args, labels),
     .metavar = "TEXT",
     .help = "a label for pictures, for CLIP and SigLIP, which know none; may be given several times"},
    {.name = "template",
     .type = HG_TEXT,
     .at = offsetof(classify_args, template),
     .metavar = "TEXT",
     .help = "the sentence around a label, with {} in its place; \"This is a photo of {}.\" when left out"},
    {0}};

static const hg_example examples[] = {{"hangar classify org/name \"What a day!\"",
                                       "the labels that fit best, with their scores"},
                                      {"hangar classify org/name --top 1 --json < reviews.txt",
                                       "one label for each line of a file, for a program"},
                                      {"hangar classify org/clip --image pet.jpg --label cat --label dog",
                                       "which of the two the picture shows"},
                                      {0}};

static hangar_code classify_images(hg_call *call, char **out_json, hangar_err *err)
{
    const classify_args *a = call->args;
    hangar_classify_options options = HANGAR_CLASSIFY_OPTIONS_INIT;
    hangar_model *model = NULL;
    size_t count = 0;
    while (a->images[count]) count++;
    options.top = (int)a->top;
    options.labels = a->labels;
    options.sentence = a->template;
    if (a->texts) return hg_fail(err, HANGAR_E_USAGE, "texts and pictures at the same time");
    hangar_code code = hangar_model_load(call->h, a->ref, call->job, &model, err);
    if (code == HANGAR_OK)
        code = hangar_classify_images(model, a->images, count, &options, call->job, out_json, err);
    hangar_model_unload(model);
    return code;
}

static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    const classify_args *a = call->args;
    hangar_classify_options options = HANGAR_CLASSIFY_OPTIONS_INIT;
    hg_lines lines;
    hangar_model *model = NULL;
    options.top = (int)a->top;
    if (a->images) return classify_images(call, out_json, err);
    if (a->labels || a->template)
        return hg_fail(err, HANGAR_E_USAGE, "--label and --template are for --image");
    hangar_code code = hg_lines_read(call, a->texts, &lines, err);
    if (code == HANGAR_OK) code = hangar_model_load(call->h, a->ref, call->job, &model, err);
    if (code == HANGAR_OK)
        code = hangar_classify(model, lines.texts, lines.count, &options, call->job, out_json, err);
    if (code == HANGAR_OK) hg_lines_tell_cut(call, *out_json);
    hangar_model_unload(model);
    hg_lines_deinit(&lines);
    return code;
}

/* The rows of one text: what it says stands in the first of them only. */
static void show_rows(const hg_jval *result, const char *member, hg_view *view)
{
    const char *file = hg_json_text(hg_json_get(result, "file"));
    const char *text = file ? file : hg_json_text_or(hg_json_get(result, "text"), "");
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(result, member)); hg_json_next(&it);) {
        const char *token = hg_json_text(hg_json_get(it.val, "token"));
        hg_view_cell(view, HG_PLAIN, "%s", token ? token : it.index ? "" : text);
        hg_view_cell(view, HG_PLAIN, "%s", hg_json_text_or(hg_json_get(it.val, "label"), "-"));
        hg_view_cell(view, HG_PLAIN, "%.4f", hg_json_f64_or(hg_json_get(it.val, "score"), 0));
    }
}

/* A table of texts, or one of tokens for each text. */
static void show(const hg_jval *r, hg_view *view)
{
    bool tokens = hg_streq(hg_json_text(hg_json_get(r, "task")), "token-classification");
    bool images =
        hg_str_ends(hg_str_of(hg_json_text_or(hg_json_get(r, "task"), "")), HG_STR("image-classification"));
    if (!tokens) hg_view_table(view, images ? "~file|label|>score" : "~text|label|>score");
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(r, "results")); hg_json_next(&it);) {
        if (tokens) hg_view_table(view, "~token|label|>score");
        show_rows(it.val, tokens ? "tokens" : "labels", view);
        if (tokens) hg_view_table_end(view);
    }
    if (!tokens) hg_view_table_end(view);
}

const hg_verb hg_verb_classify = {
    .name = "classify",
    .group = "Use",
    .summary = "give texts or pictures labels",
    .about = "Tells which of its labels a model gives each text, with a score, the likeliest first; a model "
             "for tokens "
             "gives each token its likeliest label. What the scores are, the model's repository declares: "
             "shares of 1, each "
             "by itself from 0 to 1, or the model's own numbers. A text that is longer than the model can "
             "read is cut.",
    .examples = examples,
    .params = params,
    .args_size = sizeof(classify_args),
    .run = run,
    .show = show,
};
