/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/verb.h"

static const hg_verb *const verbs[] = {
#define HG_VERB(name) &hg_verb_##name,
#include "verbs/verbs.def"
#undef HG_VERB
    NULL};

const hg_verb *const *hg_verb_all(void)
{
    return verbs;
}

const hg_verb *hg_verb_get(const char *name)
{
    for (const hg_verb *const *v = verbs; *v; v++)
        if (hg_streq((*v)->name, name)) return *v;
    return NULL;
}
