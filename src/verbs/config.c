/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "verbs/verb.h"
#include "verbs/words.h"

typedef struct config_args {
    const char *what;
    const char *file;
} config_args;

static const hg_param params[] = {
    {.name = "what",
     .type = HG_CHOICE,
     .at = offsetof(config_args, what),
     .positional = true,
     .required = true,
     .choices = "show|check",
     .help = "show: every setting, its value and where that comes from; check: what is wrong in the file"},
    {.name = "file",
     .type = HG_TEXT,
     .at = offsetof(config_args, file),
     .local = true,
     .positional = true,
     .help = "the configuration file; when left out, the one that is in use"},
    {0}};

static const hg_example examples[] = {{"hangar config show", "every setting with its value and its source"},
                                      {"hangar config check ./hangar.yaml",
                                       "look for mistakes before using a file"},
                                      {0}};

/* Opens hangar itself only for show: a file that keeps it from opening must be checkable. */
static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    const config_args *a = call->args;
    if (hg_streq(a->what, "check")) return hangar_config_check(a->file, out_json, err);
    hangar_options options = HANGAR_OPTIONS_INIT;
    hangar *h = NULL;
    options.config = a->file;
    hangar_code code = hangar_open(&options, &h, err);
    if (code == HANGAR_OK) code = hangar_config_show(h, out_json, err);
    hangar_close(h);
    return code;
}

static void show_problems(const hg_jval *r, hg_view *view)
{
    const char *file = hg_json_text_or(hg_json_get(r, "file"), "");
    const hg_jval *problems = hg_json_get(r, "problems");
    for (hg_json_iter it = hg_json_iter_of(problems); hg_json_next(&it);) {
        const char *key = hg_json_text_or(hg_json_get(it.val, "key"), "");
        hg_view_line(view, HG_BAD, "✗ %s:%lld:%lld: %s%s%s", file,
                     (long long)hg_json_i64_or(hg_json_get(it.val, "line"), 0),
                     (long long)hg_json_i64_or(hg_json_get(it.val, "column"), 0), key, *key ? ": " : "",
                     hg_json_text_or(hg_json_get(it.val, "message"), "?"));
    }
    if (hg_json_len(problems)) return;
    if (hg_json_bool_or(hg_json_get(r, "found"), true)) hg_view_line(view, HG_GOOD, "✓ %s is in order", file);
    else hg_view_line(view, HG_GOOD, "✓ there is no %s; the defaults apply", file);
}

/* A setting's value as it would be typed. */
static void show_value(const hg_jval *v, hg_view *view)
{
    const char *text = hg_json_text(v);
    char *other = text || hg_json_is_null(v) ? NULL : hg_json_print(v, false);
    hg_view_cell(view, HG_PLAIN, "%s", text ? text : other ? other : "-");
    free(other);
}

static void show(const hg_jval *r, hg_view *view)
{
    if (hg_json_get(r, "problems")) {
        show_problems(r, view);
        return;
    }
    const char *file = hg_json_text_or(hg_json_get(r, "file"), "");
    hg_view_table(view, "SETTING|SOURCE|=VALUE");
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(r, "settings")); hg_json_next(&it);) {
        const char *source = hg_json_text_or(hg_json_get(it.val, "source"), "-");
        hg_view_cell(view, HG_PLAIN, "%s", hg_json_text_or(hg_json_get(it.val, "key"), "-"));
        hg_view_cell(view, hg_streq(source, "default") ? HG_DIM : HG_BOLD, "%s", source);
        show_value(hg_json_get(it.val, "value"), view);
    }
    hg_view_table_end(view);
    hg_view_line(view, HG_PLAIN, "%s", "");
    if (*file) hg_view_line(view, HG_DIM, "the file is %s", file);
    else hg_view_line(view, HG_DIM, "no configuration file was read");
}

const hg_verb hg_verb_config = {
    .name = "config",
    .group = "Machine",
    .summary = "show the settings, or check the configuration file",
    .about = "The settings come from defaults, the configuration file and the environment, in this order; "
             "the last one wins. The "
             "file is $HANGAR_CONFIG, or hangar/hangar.yaml in the configuration folder of the user. A "
             "mistake in it ends a check "
             "with exit code 6 and is named with line and column. Secrets are not shown.",
    .examples = examples,
    .params = params,
    .args_size = sizeof(config_args),
    .flags = HG_VERB_NO_HANDLE,
    .run = run,
    .show = show,
};
