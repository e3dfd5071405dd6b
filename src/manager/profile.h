/* SPDX-License-Identifier: Apache-2.0 */
/* What a model can be tuned for: one line each in profiles.def. And which of them it is when nobody says. */
#ifndef HG_MANAGER_PROFILE_H
#define HG_MANAGER_PROFILE_H

#include "base/json.h"
#include "convert/artifact.h"
#include "manager/handle.h"

typedef struct hg_profile {
    const char *name;
    const char *form; /* NULL: found out (auto, small) */
    bool pack;
    int tried; /* by auto: 0 never, 1 always, 2 where a GPU is */
    const char *words;
} hg_profile;
const hg_profile *hg_profile_get(const char *name); /* NULL when there is none of that name */
const hg_profile *hg_profile_at(size_t index);      /* NULL behind the last */

#define HG_PROFILE_WHY_MAX 224
/* Bytes of memory that the 32-bit form of a model takes when it runs; 0 = not known. */
uint64_t hg_profile_memory(const hg_facts *facts);
/* The profile that "small" stands for: by the model's task, or gpu-fp16 where the settings say that GPUs are the target. */
const hg_profile *hg_profile_small(const hg_settings *settings, const hg_facts *facts);
/*
 * What a conversion makes when nobody names a form: 32 bits, unless the settings ask for quantization or that does not fit into `have` bytes of
 * memory (0 = not known). `why` is one line when it is not the first, else "".
 */
const hg_profile *hg_profile_default(const hg_settings *settings, const hg_facts *facts, uint64_t have,
                                     char why[HG_PROFILE_WHY_MAX]);

/*
 * Keeps choice.json: from now on the model is loaded in the form of that profile. `why` and `table` (a list that goes along, for `show`) may be NULL.
 */
hangar_code hg_choice_write(hangar *h, const hg_snapshot *snap, const hg_profile *profile, const char *why,
                            const hg_jval *table, hangar_err *err);
/* choice.json as it lies, NULL when there is none that can be read; free it. */
hg_json *hg_choice_read(hangar *h, const hg_snapshot *snap);

#endif
