/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Declared parameters: one table row per parameter, from which the command line, the help text, and later HTTP bodies and web
 * forms are read into a plain struct.
 *
 *   typedef struct pull_args { const char *ref; const char **include; bool dry_run; uint64_t limit_rate; } pull_args;
 *   static const hg_param pull_params[] = {
 *       {.name = "ref", .type = HG_TEXT, .at = offsetof(pull_args, ref), .positional = true, .required = true, .help = "..."},
 *       {.name = "dry-run", .type = HG_FLAG, .at = offsetof(pull_args, dry_run), .help = "..."},
 *       {0}};
 */
#ifndef HG_BASE_TABLE_H
#define HG_BASE_TABLE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum hg_param_type {
    HG_TEXT = 1, /* const char *                                             */
    HG_TEXTS,    /* const char **, NULL-terminated; may be given many times  */
    HG_FLAG,     /* bool                                                     */
    HG_INT,      /* int64_t within min..max                                  */
    HG_NUMBER,   /* double within min..max, finite                           */
    HG_SIZE,     /* uint64_t: "10M"                                          */
    HG_DURATION, /* double seconds: "30s"                                    */
    HG_CHOICE,   /* const char *, one of the words in `choices` ("a|b|c")    */
    HG_REST, /* const char **, NULL-terminated, NULL = none: all behind "--"; positional and local, at most one */
} hg_param_type;

typedef struct hg_param {
    const char *name; /* long name without dashes; NULL ends the table */
    char letter;      /* short name, 0 = none */
    hg_param_type type;
    size_t at; /* offsetof in the arguments' struct */
    bool positional;
    bool required;
    bool
        local; /* of the command line alone (a path of the caller's machine, a question): refused by hg_args_from_json */
    const char *def;     /* default as it would be typed; NULL = zero */
    const char *metavar; /* in the help: --limit-rate RATE */
    const char *choices;
    double min, max; /* both 0 = any */
    const char *help;
} hg_param;

/* Parsed arguments; the strings are borrowed from argv or the JSON document, arrays are owned here. */
typedef struct hg_args {
    void *values; /* the verb's own struct, zeroed, defaults filled in */
    const char ***lists;
    size_t list_count;
} hg_args;

/*
 * Reads argv[0..argc) into a new struct of `size` bytes. Long options take --name=value and --name value; flags also --no-name;
 * letters may be bundled (-qn); "--" ends options, and with an HG_REST row
 * everything behind it is that row's. USAGE with a hint ("did you mean --include?") on a mistake.
 */
hangar_code hg_args_parse(const hg_param *params, size_t size, int argc, char *const *argv, hg_args *out,
                          hangar_err *err);
/*
 * The same from a JSON object (NULL = {}), which must outlive the arguments: texts are borrowed from it. A member is called as its row with
 * _ for - (dry_run). Lists are arrays of texts, flags true or false; sizes and durations are numbers (bytes, seconds) or texts with a unit. null
 * and an empty list count as left out. USAGE for a member that no row has (with a hint), one that is `local`, or a value of another type.
 */
hangar_code hg_args_from_json(const hg_param *params, size_t size, const hg_jval *obj, hg_args *out,
                              hangar_err *err);
void hg_args_deinit(hg_args *args);
/* What a row is called in JSON: "dry_run" for "dry-run". Returns buf. */
const char *hg_param_member(const hg_param *p, char buf[64]);
/* The table of options for a help page, wrapped at `columns`. */
void hg_params_help(const hg_param *params, size_t columns, hg_buf *out);
/* "REF [PROMPT] [--temperature T]..." */
void hg_params_usage(const hg_param *params, hg_buf *out);
/* The name in `names` (NULL-terminated) nearest to `word`, or NULL when none is near. */
const char *hg_nearest(const char *word, const char *const *names);

#endif
