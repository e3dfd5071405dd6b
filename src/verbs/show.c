/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "verbs/tuning.h"
#include "verbs/verb.h"
#include "verbs/words.h"

typedef struct show_args {
    const char *ref;
    bool exists;
} show_args;

static const hg_param params[] = {{.name = "ref",
                                   .type = HG_TEXT,
                                   .at = offsetof(show_args, ref),
                                   .positional = true,
                                   .required = true,
                                   .help = "the model: ORG/NAME, ORG/NAME@REVISION, ORG/NAME:FILE"},
                                  {.name = "exists",
                                   .type = HG_FLAG,
                                   .at = offsetof(show_args, exists),
                                   .help = "only tell by the exit code whether it is here (0 yes, 3 no)"},
                                  {0}};

static const hg_example examples[] = {{"hangar show hangar-labs/tiny-chat-gguf",
                                       "files, format, size in memory, whether it fits here"},
                                      {"hangar show org/name@v1.0 --json", "the same for a program"},
                                      {"hangar show org/name --exists || hangar pull org/name",
                                       "in a script: pull what is not here"},
                                      {0}};

/* {"ref","exists"} */
static hangar_code exists(hg_call *call, char **out_json, hangar_err *err)
{
    const show_args *a = call->args;
    hangar_code code = hangar_model_exists(call->h, a->ref, err);
    if (code != HANGAR_OK && code != HANGAR_E_NOT_FOUND) return code;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w) return hg_fail_memory(err);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "ref", a->ref);
    hg_jw_bool(w, "exists", code == HANGAR_OK);
    hangar_code wrote = hg_jw_finish(w, false, out_json, code == HANGAR_OK ? err : NULL);
    call->silent = code == HANGAR_E_NOT_FOUND;
    return code != HANGAR_OK ? code : wrote;
}

static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    const show_args *a = call->args;
    return a->exists ? exists(call, out_json, err) : hangar_model_get(call->h, a->ref, out_json, err);
}

static void show_memory(const hg_jval *r, hg_view *view)
{
    const hg_jval *fits = hg_json_get(r, "fits");
    hg_words w, a;
    hg_size_words(&w, hg_json_get(r, "memory_needed"));
    if (!hg_json_is_bool(fits)) {
        hg_view_field(view, "memory", hg_json_is_null(hg_json_get(r, "memory_needed")) ? NULL : w.text);
        return;
    }
    hg_view_fieldf(view, "memory", "%s needed, %s there: %s", w.text,
                   hg_size_words(&a, hg_json_get(r, "memory_available")),
                   hg_json_bool_or(fits, false) ? "fits" : "does not fit");
}

/* Converted forms and such: texts, or objects that have a kind or a name and a path. */
static void show_artifacts(const hg_jval *artifacts, hg_view *view)
{
    for (hg_json_iter it = hg_json_iter_of(artifacts); hg_json_next(&it);) {
        const char *kind = hg_json_text(hg_json_get(it.val, "kind"));
        const char *path = hg_json_text(hg_json_get(it.val, "path"));
        if (!kind) kind = hg_json_text(hg_json_get(it.val, "name"));
        bool chosen = hg_json_bool_or(hg_json_get(it.val, "chosen"), false);
        if (kind && path) hg_view_fieldf(view, "artifact", "%s%s, %s", kind, chosen ? " (in use)" : "", path);
        else hg_view_field(view, "artifact", path ? path : kind ? kind : hg_json_text(it.val));
    }
}

static void show(const hg_jval *r, hg_view *view)
{
    const hg_jval *files = hg_json_get(r, "files"), *choice = hg_json_get(r, "choice"),
                  *table = hg_json_get(choice, "table");
    const char *profile = hg_json_text(hg_json_get(choice, "profile")),
               *why = hg_json_text(hg_json_get(choice, "why"));
    hg_words w;
    uint64_t context;
    if (!hg_json_is_null(hg_json_get(r, "exists"))) return;
    hg_view_line(view, HG_BOLD, "%s", hg_json_text_or(hg_json_get(r, "ref"), "?"));
    hg_view_field(view, "revision", hg_json_text(hg_json_get(r, "revision")));
    hg_view_field(view, "commit", hg_json_text(hg_json_get(r, "commit")));
    hg_view_field(view, "format", hg_json_text(hg_json_get(r, "format")));
    hg_view_field(view, "architecture", hg_json_text(hg_json_get(r, "architecture")));
    hg_view_field(view, "task", hg_json_text(hg_json_get(r, "task")));
    hg_view_field(view, "parameters", hg_count_words(&w, hg_json_get(r, "parameters")));
    hg_view_field(view, "type", hg_json_text(hg_json_get(r, "dtype")));
    if (hg_json_u64(hg_json_get(r, "context_length"), &context))
        hg_view_field(view, "context", hg_plural_words(&w, context, "token", "tokens"));
    hg_view_field(view, "license", hg_json_text(hg_json_get(r, "license")));
    show_memory(r, view);
    show_artifacts(hg_json_get(r, "artifacts"), view);
    if (profile) hg_view_field(view, "profile", profile);
    if (why) hg_view_field(view, "why", why);
    hg_view_field(view, "size", hg_size_words(&w, hg_json_get(r, "size")));
    hg_view_field(view, "path", hg_json_text(hg_json_get(r, "path")));
    if (hg_json_len(table)) {
        hg_view_line(view, HG_PLAIN, "%s", "");
        hg_tuning_show_table(table, profile, view);
    }
    if (hg_json_len(files) == 0) return;
    hg_view_line(view, HG_PLAIN, "%s", "");
    hg_view_table(view, "~FILE|>SIZE");
    for (hg_json_iter it = hg_json_iter_of(files); hg_json_next(&it);) {
        hg_view_cell(view, HG_PLAIN, "%s", hg_json_text_or(hg_json_get(it.val, "path"), "-"));
        hg_view_cell(view, HG_PLAIN, "%s", hg_size_words(&w, hg_json_get(it.val, "size")));
    }
    hg_view_table_end(view);
}

const hg_verb hg_verb_show = {
    .name = "show",
    .group = "Models",
    .summary = "tell what is known about one model",
    .about = "Reads the model's own files: nothing is loaded and nothing is fetched. The memory is an "
             "estimate of what running "
             "the model takes, against what this machine has free now.",
    .examples = examples,
    .params = params,
    .args_size = sizeof(show_args),
    .run = run,
    .show = show,
};
