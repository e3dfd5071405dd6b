/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/tuning.h"

static const hg_param params[] = {
    {.name = "ref",
     .type = HG_TEXT,
     .at = offsetof(hg_tuning_args, ref),
     .positional = true,
     .help = "the model, with its weights as safetensors"},
    {.name = "profile",
     .type = HG_TEXT,
     .at = offsetof(hg_tuning_args, profile),
     .metavar = "NAME",
     .help = "what to tune for: auto, small, cpu, cpu-int8, cpu-int4, ...; --list names them all"},
    {.name = "level",
     .type = HG_TEXT,
     .at = offsetof(hg_tuning_args, level),
     .metavar = "LEVEL",
     .help = "O0 to O2: how far graphs and engine are optimized (O2 unless the settings say otherwise)"},
    {.name = "seconds",
     .type = HG_DURATION,
     .at = offsetof(hg_tuning_args, seconds),
     .metavar = "TIME",
     .max = 86400,
     .help = "how long auto may measure in all (60s when left out)"},
    {.name = "keep",
     .type = HG_FLAG,
     .at = offsetof(hg_tuning_args, keep),
     .help = "keep also the forms that auto did not choose"},
    {.name = "out",
     .type = HG_TEXT,
     .at = offsetof(hg_tuning_args, folder.out),
     .local = true,
     .metavar = "DIR",
     .help = "write a folder for other tools; when left out the result is kept for hangar itself"},
    {.name = "link",
     .type = HG_FLAG,
     .at = offsetof(hg_tuning_args, folder.link),
     .local = true,
     .help = "in DIR: hard-link weights that stay as they are"},
    {.name = "reflink",
     .type = HG_FLAG,
     .at = offsetof(hg_tuning_args, folder.reflink),
     .local = true,
     .help = "in DIR: share the blocks of weights that stay as they are"},
    {.name = "copy",
     .type = HG_FLAG,
     .at = offsetof(hg_tuning_args, folder.copy),
     .local = true,
     .help = "in DIR: copy weights that stay as they are"},
    {.name = "list", .type = HG_FLAG, .at = offsetof(hg_tuning_args, list), .help = "name the profiles"},
    {0}};

static const hg_example examples[] = {
    {"hangar optimize hangar-labs/whisper-digits", "measure every form on this machine, keep the fastest"},
    {"hangar optimize org/name --seconds 5m --keep", "measure longer, keep the others too"},
    {"hangar optimize org/name --profile cpu --level O0", "the plain graph, run as it stands"},
    {0}};

static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    return hg_tuning_run(call, "auto", out_json, err);
}

const hg_verb hg_verb_optimize = {
    .name = "optimize",
    .group = "Convert",
    .summary = "find the form in which a model runs fastest here",
    .about =
        "Makes the model in 32, 8 and 4 bits, proves each form, loads it and times it on this machine at "
        "sizes of the model's own "
        "kind. The fastest whose answers stay close to the original is kept and used from then on; the "
        "others "
        "are removed. "
        "What was measured is kept, too: hangar show prints it.\n"
        "\n"
        "With --profile nothing is measured: that profile is made, proved and used. hangar optimize --list "
        "names "
        "them.",
    .examples = examples,
    .params = params,
    .args_size = sizeof(hg_tuning_args),
    .flags = HG_VERB_PROGRESS,
    .run = run,
    .show = hg_tuning_show,
};
