/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "verbs/verb.h"
#include "verbs/words.h"

typedef struct key_args {
    const char *what;
    const char *name;
    const char *scope;
} key_args;

static const hg_param params[] = {
    {.name = "what",
     .type = HG_CHOICE,
     .at = offsetof(key_args, what),
     .positional = true,
     .required = true,
     .choices = "create|ls|rm",
     .help = "create: make a key and print it, this once; ls: the keys there are; rm: remove one"},
    {.name = "name",
     .type = HG_TEXT,
     .at = offsetof(key_args, name),
     .positional = true,
     .help = "what the key is called: letters, digits, '.', '_', '-'"},
    {.name = "scope",
     .type = HG_CHOICE,
     .at = offsetof(key_args, scope),
     .def = "infer",
     .choices = "infer|manage",
     .help = "infer: ask models; manage: also load, fetch and remove them"},
    {0}};

static const hg_example examples[] = {{"hangar key create laptop", "a key for a program on another machine"},
                                      {"hangar key create deploy --scope manage",
                                       "one that may load and remove"},
                                      {"hangar key rm laptop", "it is refused from now on"},
                                      {0}};

static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    const key_args *a = call->args;
    if (hg_streq(a->what, "ls")) {
        if (a->name) return hg_fail(err, HANGAR_E_USAGE, "ls takes no NAME");
        return hangar_key_list(call->h, out_json, err);
    }
    if (!a->name) return hg_fail(err, HANGAR_E_USAGE, "%s needs the NAME of the key", a->what);
    if (hg_streq(a->what, "rm")) return hangar_key_remove(call->h, a->name, out_json, err);
    return hangar_key_create(call->h, a->name, a->scope, out_json, err);
}

static void show_all(const hg_jval *keys, hg_view *view)
{
    if (hg_json_len(keys) == 0) {
        hg_view_line(view, HG_DIM, "there are no keys; hangar key create NAME makes one");
        return;
    }
    hg_words w;
    hg_view_table(view, "NAME|SCOPE|CREATED");
    for (hg_json_iter it = hg_json_iter_of(keys); hg_json_next(&it);) {
        hg_view_cell(view, HG_PLAIN, "%s", hg_json_text_or(hg_json_get(it.val, "name"), "-"));
        hg_view_cell(view, HG_PLAIN, "%s", hg_json_text_or(hg_json_get(it.val, "scope"), "-"));
        hg_view_cell(view, HG_PLAIN, "%s", hg_ago_words(&w, hg_json_get(it.val, "created"), hg_wall()));
    }
    hg_view_table_end(view);
}

static void show(const hg_jval *r, hg_view *view)
{
    const char *key = hg_json_text(hg_json_get(r, "key")),
               *name = hg_json_text_or(hg_json_get(r, "name"), "?");
    if (hg_json_get(r, "keys")) {
        show_all(hg_json_get(r, "keys"), view);
    } else if (key) {
        hg_view_line(view, HG_BOLD, "%s", key);
        hg_view_line(view, HG_DIM, "the key %s (%s); it is not kept and not shown again", name,
                     hg_json_text_or(hg_json_get(r, "scope"), "?"));
    } else {
        hg_view_line(view, HG_GOOD, "✓ the key %s is gone", name);
    }
}

const hg_verb hg_verb_key = {
    .name = "key",
    .group = "Serve",
    .summary = "make, list and remove the keys of the daemon's callers",
    .about =
        "A daemon that listens on an address other machines reach answers only callers with a key: "
        "\"Authorization: Bearer KEY\". Keys are kept as hashes; a running daemon sees a change at once.",
    .examples = examples,
    .params = params,
    .args_size = sizeof(key_args),
    .run = run,
    .show = show,
};
