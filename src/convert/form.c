/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/form.h"

#include "base/mem.h"

#include <string.h>

static const hg_form forms[] = {
#define HG_FORM(name, suffix, dtype, real, linear, bits, block, drift, wobble, rewrite, silence, words) \
    {name, suffix, dtype, real, linear, bits, block, drift, wobble, rewrite, silence, words},
#include "convert/forms.def"
#undef HG_FORM
};

/* Finds a form. */
const hg_form *hg_form_get(const char *name)
{
    for (size_t i = 0; name && i < HG_LEN(forms); i++) {
        if (strcmp(forms[i].name, name) == 0) return &forms[i];
    }
    return NULL;
}

/* One after the other. */
const hg_form *hg_form_at(size_t index)
{
    return index < HG_LEN(forms) ? &forms[index] : NULL;
}

static const char *const levels[] = {[HG_LEVEL_O2] = "O2", [HG_LEVEL_O0] = "O0", [HG_LEVEL_O1] = "O1"};

/* Finds a level. */
bool hg_level_get(const char *name, hg_level *out)
{
    for (size_t i = 0; name && i < HG_LEN(levels); i++) {
        if (strcmp(levels[i], name) != 0) continue;
        *out = (hg_level)i;
        return true;
    }
    return false;
}

/* Its name. */
const char *hg_level_name(hg_level level)
{
    return levels[level];
}
