/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/profile.h"

#include "base/clock.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "hardware/hardware.h"

#include <stdio.h>
#include <string.h>

static const hg_profile profiles[] = {
#define HG_PROFILE(name, form, pack, tried, words) {name, form, pack, tried, words},
#include "manager/profiles.def"
#undef HG_PROFILE
};

/* Finds a profile. */
const hg_profile *hg_profile_get(const char *name)
{
    for (size_t i = 0; name && i < HG_LEN(profiles); i++) {
        if (strcmp(profiles[i].name, name) == 0) return &profiles[i];
    }
    return NULL;
}

/* One after the other. */
const hg_profile *hg_profile_at(size_t index)
{
    return index < HG_LEN(profiles) ? &profiles[index] : NULL;
}

/* 16-bit weights become 32-bit ones at load. */
uint64_t hg_profile_memory(const hg_facts *facts)
{
    uint64_t need = facts->memory_needed;
    bool half = hg_streq(facts->dtype, "F16") || hg_streq(facts->dtype, "BF16");
    if (need && half && !hg_add(need, facts->weight_bytes, &need)) need = UINT64_MAX;
    return need;
}

/* Text is written token by token, where 4 bits are fastest; everything else sees many tokens at once. */
const hg_profile *hg_profile_small(const hg_settings *settings, const hg_facts *facts)
{
    if (hg_streq(settings->target_platform, "gpu")) return hg_profile_get("gpu-fp16");
    return hg_profile_get(hg_streq(facts->task, "text-generation") ? "cpu-int4" : "cpu-int8");
}

/* When nobody says. */
const hg_profile *hg_profile_default(const hg_settings *settings, const hg_facts *facts, uint64_t have,
                                     char why[HG_PROFILE_WHY_MAX])
{
    char needs[16], there[16];
    uint64_t need = hg_profile_memory(facts);
    why[0] = '\0';
    if (settings->enable_quantization) {
        snprintf(why, HG_PROFILE_WHY_MAX, "models.conversion.enable_quantization is on");
        return hg_profile_small(settings, facts);
    }
    if (!have || need <= have) return hg_profile_get("cpu");
    const hg_profile *small = hg_profile_small(settings, facts);
    snprintf(why, HG_PROFILE_WHY_MAX, "in 32 bits it needs %s of memory and %s are free: %s is made instead",
             hg_size_format(need, needs), hg_size_format(have, there), small->form);
    return small;
}

/* ---- choice.json ---- */

/* Which machine it was chosen for. */
static void write_machine(hg_jw *w)
{
    HG_AUTO(hg_auto_free) hg_hardware *hw = hg_calloc(1, sizeof *hw);
    if (!hw) return;
    hg_hardware_read(NULL, hw);
    hg_jw_obj(w, "machine");
    hg_jw_text(w, "cpu", hw->cpu_model);
    hg_jw_u64(w, "threads", hw->usable);
    hg_jw_end(w);
}

/* Keeps the choice. */
hangar_code hg_choice_write(hangar *h, const hg_snapshot *snap, const hg_profile *profile, const char *why,
                            const hg_jval *table, hangar_err *err)
{
    char kind[HG_ARTIFACT_KIND_MAX], time[24];
    HG_AUTO(hg_auto_free) char *text = NULL;
    HG_AUTO(hg_auto_free) char *path = hg_artifact_choice_path(h->store, snap);
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w || !path) return hg_fail_memory(err);
    hg_artifact_kind(profile->form, kind);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "kind", kind);
    if (profile->pack) hg_jw_bool(w, "pack", true);
    hg_jw_text(w, "profile", profile->name);
    hg_jw_text(w, "time", hg_time_format(hg_wall(), time));
    if (why && *why) hg_jw_text(w, "why", why);
    if (table) {
        write_machine(w);
        hg_jw_val(w, "table", table);
    }
    hangar_code code = hg_jw_finish(w, false, &text, err);
    return code == HANGAR_OK ? hg_write_file(path, text, strlen(text), 0666, err) : code;
}

/* Reads it. */
hg_json *hg_choice_read(hangar *h, const hg_snapshot *snap)
{
    hg_buf text;
    hg_json *doc = NULL;
    HG_AUTO(hg_auto_free) char *path = hg_artifact_choice_path(h->store, snap);
    if (!path || !hg_is_file(path)) return NULL;
    hg_buf_init(&text, HG_MIB);
    if (hg_read_file(path, &text, NULL) == HANGAR_OK)
        (void)!hg_json_parse(hg_buf_view(&text), NULL, &doc, NULL);
    hg_buf_deinit(&text);
    if (doc && !hg_artifact_kind_form(hg_json_text(hg_json_get(hg_json_root(doc), "kind")))) {
        hg_json_free(doc);
        doc = NULL;
    }
    return doc;
}
