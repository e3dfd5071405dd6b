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

static const hg_example examples[] = {{"hangar quantize hangar-labs/tiny-chat",
                                       "4 bits, for it writes text; it is used from now on"},
                                      {"hangar quantize org/name --profile cpu-int8 --out ./name-int8",
                                       "a folder that transformers.js loads"},
                                      {"hangar quantize --list", "the profiles that there are"},
                                      {0}};

static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    return hg_tuning_run(call, "small", out_json, err);
}

const hg_verb hg_verb_quantize = {
    .name = "quantize",
    .group = "Convert",
    .summary = "make a model smaller and faster, with fewer bits",
    .about =
        "Writes the weights anew with 8 or 4 bits (or 16, for GPUs), proves that the answers stay close to "
        "those "
        "of the original, "
        "and has the model loaded in that form from then on. Without --profile it is 4 bits for models that "
        "write text and "
        "8 bits for all others; hangar optimize finds out by measuring. hangar quantize REF --profile cpu "
        "goes "
        "back to 32 bits.\n"
        "\n"
        "With --out the result is a folder for other tools instead, with the file names that transformers.js "
        "looks for.",
    .examples = examples,
    .params = params,
    .args_size = sizeof(hg_tuning_args),
    .flags = HG_VERB_PROGRESS,
    .run = run,
    .show = hg_tuning_show,
};
