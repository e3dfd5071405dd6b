/* SPDX-License-Identifier: Apache-2.0 */
/* What the readers of declared parameters share: table.c reads a command line, table_json.c an object. */
#ifndef HG_BASE_TABLE_INNER_H
#define HG_BASE_TABLE_INNER_H

#include "base/table.h"

/* One list that grows: the array is always NULL-terminated. */
typedef struct hg_text_list {
    size_t len, cap;
    bool given; /* by the caller: what stood there was the default */
} hg_text_list;

/* One reading: the values go into one zeroed block laid out by the caller's struct; a list (HG_TEXTS) is an array of ours. */
typedef struct hg_reading {
    const hg_param *params;
    size_t count;
    hg_args *out;
    hg_text_list *lists; /* beside out->lists: one per row */
    bool *given;         /* one per row */
    bool members;        /* rows are called as JSON has them: dry_run, not --dry-run */
    int argc;            /* of a command line */
    char *const *argv;
    int at; /* the argument that is read next */
    hangar_err *err;
} hg_reading;

/* With the defaults in place. hg_reading_end must follow in any case. */
hangar_code hg_reading_begin(hg_reading *r, const hg_param *params, size_t size, hg_args *out,
                             hangar_err *err);
/* Puts `text` as the value of a row into the struct. The text is borrowed where the row keeps texts. */
hangar_code hg_reading_set(hg_reading *r, size_t row, const char *text, bool by_default);
/* USAGE: "NAME needs WANTED, not 'TEXT'". */
hangar_code hg_reading_malformed(const hg_reading *r, size_t row, const char *text, const char *wanted);
/* Refuses what lacks a required row; what failed leaves an empty `out`. */
hangar_code hg_reading_end(hg_reading *r, hangar_code code);

#endif
