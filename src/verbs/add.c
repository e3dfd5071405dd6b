/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/verb.h"
#include "verbs/words.h"

typedef struct add_args {
    const char *path;
    const char *as;
} add_args;

static const hg_param params[] = {{.name = "path",
                                   .type = HG_TEXT,
                                   .at = offsetof(add_args, path),
                                   .local = true,
                                   .positional = true,
                                   .required = true,
                                   .help = "a folder with a model, a GGUF file or an ONNX file"},
                                  {.name = "as",
                                   .type = HG_TEXT,
                                   .at = offsetof(add_args, as),
                                   .metavar = "ORG/NAME",
                                   .help = "its name in the store; local/ and the file's name when left out"},
                                  {0}};

static const hg_example examples[] = {{"hangar add ./my-model.gguf", "keep a GGUF file as local/my-model"},
                                      {"hangar add ~/checkpoints/final --as me/whisper-pt",
                                       "keep a folder under a name of one's own"},
                                      {0}};

static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    const add_args *a = call->args;
    return hangar_model_add(call->h, a->path, a->as, call->job, out_json, err);
}

static void show(const hg_jval *r, hg_view *view)
{
    const hg_jval *files = hg_json_get(r, "files");
    uint64_t count = hg_json_len(files);
    hg_words w, n;
    (void)hg_json_u64(files, &count);
    hg_view_line(view, HG_GOOD, "✓ %s added", hg_json_text_or(hg_json_get(r, "ref"), "?"));
    hg_view_field(view, "commit", hg_commit_words(&w, hg_json_get(r, "commit")));
    hg_view_fieldf(view, "files", "%s, %s", hg_plural_words(&n, count, "file", "files"),
                   hg_size_words(&w, hg_json_get(r, "size")));
    hg_view_field(view, "path", hg_json_text(hg_json_get(r, "path")));
}

const hg_verb hg_verb_add = {
    .name = "add",
    .group = "Models",
    .summary = "take a model of one's own into the store",
    .about = "Copies a folder or a file into the store under a name, as revision main, so that every other "
             "verb can use it. "
             "The copy shares its blocks with the source where the file system can do that; the source is "
             "left alone.\n"
             "\n"
             "Adding again under the same name keeps what did not change and makes a new commit.",
    .examples = examples,
    .params = params,
    .args_size = sizeof(add_args),
    .flags = HG_VERB_PROGRESS | HG_VERB_BYTES,
    .run = run,
    .show = show,
};
