/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page for people: lines, fields and tables laid out for a width, with colour only when asked for. Knows no
 * terminal: it fills a buffer that whoever called prints. Control characters in values are shown escaped.
 */
#ifndef HG_BASE_VIEW_H
#define HG_BASE_VIEW_H

#include "base/buf.h"

#include <stdbool.h>

typedef enum hg_tone { HG_PLAIN, HG_BOLD, HG_DIM, HG_GOOD, HG_WARN, HG_BAD } hg_tone;

typedef struct hg_view hg_view;
/* columns 0 = not a terminal: tables are not cut. NULL when out of memory. */
hg_view *hg_view_new(size_t columns, bool colour);
void hg_view_free(hg_view *v);
/* For a terminal that shows ASCII alone: the marks of our own (✓ ✗ … → ·) become letters. Values stay as they are. */
void hg_view_set_ascii(hg_view *v, bool ascii);
/* One line of text; when it is too long it goes on below, under its first letter (behind a mark such as "✓ "). */
void hg_view_line(hg_view *v, hg_tone tone, const char *fmt, ...) HG_PRINTF(3, 4);
/* "  label      value"; consecutive fields line up. A NULL value is shown as "-". */
void hg_view_field(hg_view *v, const char *label, const char *value);
void hg_view_fieldf(hg_view *v, const char *label, const char *fmt, ...) HG_PRINTF(3, 4);
/*
 * A table: headings separated by '|', then rows of as many cells, then end. What stands before a heading: '>' aligns right;
 * '-' is left out when there is no room; '~' gives way when it is too wide (cut with an ellipsis); '=' (the last column) goes
 * on below itself. When even that is too wide each row becomes a block: a title (the first cell that has a heading, with the
 * marks before it) and one line per further cell.
 */
void hg_view_table(hg_view *v, const char *headings);
void hg_view_cell(hg_view *v, hg_tone tone, const char *fmt, ...) HG_PRINTF(3, 4);
void hg_view_table_end(hg_view *v);
/* The page so far, with NUL; borrowed. */
const char *hg_view_text(hg_view *v);
/* NO_MEMORY or LIMIT when the page is not whole. */
hangar_code hg_view_check(hg_view *v, hangar_err *err);

/* Appends text word by word so that no line passes `columns` (0 = never broken): the cursor is at column `at`, further
 * lines begin at `indent`. Words longer than a line stay whole. No newline at the end. */
void hg_wrap_words(hg_buf *out, hg_str text, size_t at, size_t indent, size_t columns);

#endif
