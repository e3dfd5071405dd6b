/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/folder.h"

/* How weights come into DIR. */
hangar_code hg_folder_place(const hg_folder_args *a, hangar_place *out, hangar_err *err)
{
    if (a->link + a->reflink + a->copy > 1)
        return hg_fail(err, HANGAR_E_USAGE, "--link, --reflink and --copy exclude each other");
    if ((a->link || a->reflink || a->copy) && !a->out)
        return hg_fail(
            err, HANGAR_E_USAGE,
            "--link, --reflink and --copy say how the weights come into --out DIR, which is missing");
    if (a->link) *out = HANGAR_PLACE_LINK;
    if (a->reflink) *out = HANGAR_PLACE_REFLINK;
    if (a->copy) *out = HANGAR_PLACE_COPY;
    return HANGAR_OK;
}
