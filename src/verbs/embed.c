/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "verbs/lines.h"

typedef struct embed_args {
    const char *ref;
    const char **texts, **images;
} embed_args;

static const hg_param params[] = {
    {.name = "ref",
     .type = HG_TEXT,
     .at = offsetof(embed_args, ref),
     .positional = true,
     .required = true,
     .help = "a model that embeds text"},
    {.name = "text",
     .type = HG_TEXTS,
     .at = offsetof(embed_args, texts),
     .positional = true,
     .help = "the texts; when left out, or for -, each line of the standard input is one"},
    {.name = "image",
     .type = HG_TEXTS,
     .at = offsetof(embed_args, images),
     .local = true,
     .metavar = "FILE",
     .help = "a picture (JPEG, PNG, WebP) in place of texts; may be given several times"},
    {0}};

static const hg_example examples[] = {
    {"hangar embed hangar-labs/tiny-embed \"a cat\" \"a dog\" --json", "two vectors"},
    {"hangar embed org/name < sentences.txt", "one line of numbers for each line of a file"},
    {"hangar embed org/clip --image cat.jpg", "a picture, by CLIP or SigLIP"},
    {0}};

static hangar_code embed_images(hg_call *call, char **out_json, hangar_err *err)
{
    const embed_args *a = call->args;
    hangar_model *model = NULL;
    size_t count = 0;
    while (a->images[count]) count++;
    if (a->texts) return hg_fail(err, HANGAR_E_USAGE, "texts and pictures at the same time");
    hangar_code code = hangar_model_load(call->h, a->ref, call->job, &model, err);
    if (code == HANGAR_OK) code = hangar_embed_images(model, a->images, count, call->job, out_json, err);
    hangar_model_unload(model);
    return code;
}

static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    const embed_args *a = call->args;
    hg_lines lines;
    hangar_model *model = NULL;
    if (a->images) return embed_images(call, out_json, err);
    hangar_code code = hg_lines_read(call, a->texts, &lines, err);
    if (code == HANGAR_OK) code = hangar_model_load(call->h, a->ref, call->job, &model, err);
    if (code == HANGAR_OK) code = hangar_embed(model, lines.texts, lines.count, call->job, out_json, err);
    if (code == HANGAR_OK) hg_lines_tell_cut(call, *out_json);
    hangar_model_unload(model);
    hg_lines_deinit(&lines);
    return code;
}

/* One line of numbers per text. */
static void show(const hg_jval *r, hg_view *view)
{
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(r, "embeddings")); hg_json_next(&it);) {
        hg_buf line;
        hg_buf_init(&line, 16 * HG_MIB);
        for (hg_json_iter number = hg_json_iter_of(it.val); hg_json_next(&number);)
            hg_buf_printf(&line, "%s%.6g", line.len ? " " : "", hg_json_f64_or(number.val, 0));
        hg_view_line(view, HG_PLAIN, "%s", hg_buf_text(&line));
        hg_buf_deinit(&line);
    }
}

const hg_verb hg_verb_embed = {
    .name = "embed",
    .group = "Use",
    .summary = "turn texts or pictures into vectors",
    .about = "Writes one line of numbers per text or picture. The pooling and normalisation are those that "
             "the model's "
             "repository declares; "
             "a text that is longer than the model can read is cut, and --json tells which were (truncated).",
    .examples = examples,
    .params = params,
    .args_size = sizeof(embed_args),
    .run = run,
    .show = show,
};
