/* SPDX-License-Identifier: Apache-2.0 */
/*
 * multipart/form-data with exactly one file, read as it comes. Time is linear in the bytes, memory bounded by the limits; the file goes to a
 * temporary one that has no name. Everything that leaves room for a second reading is refused.
 */
#ifndef HG_API_FORM_H
#define HG_API_FORM_H

#include "base/buf.h"

#define HG_FORM_BOUNDARY 70u           /* bytes, as the standard has it            */
#define HG_FORM_PARTS    32u           /* the file among them                      */
#define HG_FORM_HEAD     (8 * HG_KIB)  /* of the header of a part                  */
#define HG_FORM_FIELD    (64 * HG_KIB) /* of a text field                          */
#define HG_FORM_OVERHEAD (HG_FORM_PARTS * (HG_FORM_HEAD + HG_FORM_FIELD)) /* all but the file */

typedef struct hg_form hg_form;

/* content_type is the whole header. USAGE: no boundary or a malformed one. */
hangar_code hg_form_new(hg_str content_type, uint64_t max_file, hg_form **out, hangar_err *err);
void hg_form_free(hg_form *f);
/* Any piece of the body. USAGE (malformed), LIMIT (names which), IO, NO_SPACE; after an error nothing more may be added. */
hangar_code hg_form_add(hg_form *f, hg_str bytes, hangar_err *err);
/* USAGE when the end or the file is missing. */
hangar_code hg_form_finish(hg_form *f, hangar_err *err);
/* A text field; NULL = not there. Names that end in "[]" may come more than once: their values are joined by commas. */
const char *hg_form_field(const hg_form *f, const char *name);
/* The file at its start, and the name that the client gave it (borrowed; "" = none). The caller closes; -1 when it was taken. */
int hg_form_take_file(hg_form *f, const char **out_name);

#endif
