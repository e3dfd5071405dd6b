/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/verb.h"
#include "verbs/words.h"

typedef struct pull_args {
    const char *ref;
    const char **include, **exclude;
    bool dry_run;
    uint64_t limit_rate;
} pull_args;

static const hg_param params[] = {
    {.name = "ref",
     .type = HG_TEXT,
     .at = offsetof(pull_args, ref),
     .positional = true,
     .required = true,
     .metavar = "ORG/NAME[@REV]",
     .help = "the repository; REV is a branch, a tag or a commit (main when left out); with :FILE behind it, "
             "that file alone"},
    {.name = "include",
     .type = HG_TEXTS,
     .at = offsetof(pull_args, include),
     .metavar = "GLOB",
     .help = "only files that match; may be given again"},
    {.name = "exclude",
     .type = HG_TEXTS,
     .at = offsetof(pull_args, exclude),
     .metavar = "GLOB",
     .help = "no files that match; wins over --include"},
    {.name = "dry-run",
     .type = HG_FLAG,
     .at = offsetof(pull_args, dry_run),
     .help = "show what would be fetched, fetch nothing"},
    {.name = "limit-rate",
     .type = HG_SIZE,
     .at = offsetof(pull_args, limit_rate),
     .metavar = "RATE",
     .help = "bytes per second over all streams, such as 10M"},
    {0}};

static const hg_example examples[] = {{"hangar pull hangar-labs/whisper-digits",
                                       "fetch a model, or what is missing of it"},
                                      {"hangar pull org/name@v1.0 --include '*.gguf' --limit-rate 10M",
                                       "only the GGUF files of a tag, at 10 MB/s"},
                                      {"hangar pull org/name:model-Q4_K_M.gguf", "one file alone"},
                                      {"hangar pull org/name --dry-run",
                                       "see the files and their sizes first"},
                                      {0}};

static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    const pull_args *a = call->args;
    if (strstr(a->ref, "://"))
        return hg_fail(err, HANGAR_E_USAGE,
                       "'%s' is an address; give the repository's name, ORG/NAME[@REV] (HF_ENDPOINT names "
                       "another Hub)",
                       a->ref);
    hangar_download_options options = HANGAR_DOWNLOAD_OPTIONS_INIT;
    options.include = a->include;
    options.exclude = a->exclude;
    options.dry_run = a->dry_run;
    options.limit_rate = a->limit_rate;
    return hangar_model_download(call->h, a->ref, &options, call->job, out_json, err);
}

static bool in_state(const hg_jval *file, const char *state)
{
    return hg_streq(hg_json_text(hg_json_get(file, "state")), state);
}

/* The plan: what is there and what would come. */
static void show_plan(const hg_jval *r, hg_view *view)
{
    const hg_jval *files = hg_json_get(r, "files");
    uint64_t missing = 0, count = 0;
    hg_words w, n;
    char buf[16];
    hg_view_table(view, "~FILE|>SIZE|");
    for (hg_json_iter it = hg_json_iter_of(files); hg_json_next(&it);) {
        uint64_t size = 0;
        bool have = in_state(it.val, "have");
        if (!have && hg_json_u64(hg_json_get(it.val, "size"), &size)) missing += size;
        count += !have;
        hg_view_cell(view, HG_PLAIN, "%s", hg_json_text_or(hg_json_get(it.val, "path"), "-"));
        hg_view_cell(view, HG_PLAIN, "%s", hg_size_words(&w, hg_json_get(it.val, "size")));
        hg_view_cell(view, have ? HG_DIM : HG_GOOD, "%s", have ? "is here" : "to fetch");
    }
    hg_view_table_end(view);
    hg_plural_words(&n, count, "file", "files");
    if (count) hg_view_line(view, HG_PLAIN, "%s to fetch, %s", n.text, hg_size_format(missing, buf));
    else hg_view_line(view, HG_PLAIN, "nothing to fetch");
}

static void show(const hg_jval *r, hg_view *view)
{
    const hg_jval *files = hg_json_get(r, "files");
    hg_words w, n, t;
    if (hg_json_bool_or(hg_json_get(r, "dry_run"), false)) {
        show_plan(r, view);
        return;
    }
    uint64_t fetched = 0;
    for (hg_json_iter it = hg_json_iter_of(files); hg_json_next(&it);) fetched += in_state(it.val, "fetched");
    hg_plural_words(&n, hg_json_len(files), "file", "files");
    if (fetched == 0)
        hg_view_line(view, HG_GOOD, "✓ %s is here, nothing to fetch",
                     hg_json_text_or(hg_json_get(r, "ref"), "?"));
    else hg_view_line(view, HG_GOOD, "✓ %s pulled", hg_json_text_or(hg_json_get(r, "ref"), "?"));
    hg_view_field(view, "commit", hg_commit_words(&w, hg_json_get(r, "commit")));
    hg_view_fieldf(view, "files", "%s, %s", n.text, hg_size_words(&w, hg_json_get(r, "bytes_total")));
    if (fetched) {
        hg_view_fieldf(view, "fetched", "%s, %s in %s", hg_plural_words(&n, fetched, "file", "files"),
                       hg_size_words(&w, hg_json_get(r, "bytes_fetched")),
                       hg_seconds_words(&t, hg_json_get(r, "seconds")));
    }
    hg_view_field(view, "path", hg_json_text(hg_json_get(r, "path")));
}

const hg_verb hg_verb_pull = {
    .name = "pull",
    .group = "Models",
    .summary = "fetch a model from the Hugging Face Hub",
    .about =
        "Resolves the revision to one commit and fetches everything at that commit, files and parts of files "
        "in parallel. "
        "What is already in the cache is not fetched again; what was interrupted goes on where it ended.\n"
        "\n"
        "Each file is hashed while it comes in and becomes visible only when its hash is right. The cache is "
        "the Hub's own "
        "(HF_HUB_CACHE, HF_HOME): Python tools find what hangar pulls, and the other way round. HF_ENDPOINT, "
        "HF_TOKEN and "
        "HF_HUB_OFFLINE mean what they mean there.\n"
        "\n"
        "In a GLOB * stands for any run of characters, / included. Ctrl-C ends the pull and keeps what it "
        "has.",
    .examples = examples,
    .params = params,
    .args_size = sizeof(pull_args),
    .flags = HG_VERB_PROGRESS | HG_VERB_BYTES | HG_VERB_EVENTS,
    .run = run,
    .show = show,
};
