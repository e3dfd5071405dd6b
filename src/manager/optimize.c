/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tuning a model: a profile becomes a form, the form is made and proved as any conversion is, and choice.json says that it is the one to load.
 * For "auto" see optimize_auto.c.
 */
#include "manager/optimize.h"

#include "base/fsx.h"
#include "base/mem.h"

#include <stdio.h>

/* ---- what was made is loaded ---- */

/* The first profile that stands for a form. */
static const hg_profile *profile_of(const char *form)
{
    const hg_profile *p;
    for (size_t i = 0; (p = hg_profile_at(i)); i++)
        if (hg_streq(p->form, form)) return p;
    return NULL;
}

/* choice.json, which a model in its first form needs only when another one was chosen before. */
static hangar_code choose(hangar *h, const hg_snapshot *snap, const hg_profile *profile, const char *why,
                          hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *path = hg_artifact_choice_path(h->store, snap);
    if (!path) return hg_fail_memory(err);
    if (hg_streq(profile->form, hg_form_at(0)->name) && !profile->pack && !hg_is_file(path)) return HANGAR_OK;
    return hg_choice_write(h, snap, profile, why, NULL, err);
}

/* Converts, and has the result loaded. */
hangar_code hg_onnx_make(hangar *h, const hg_snapshot *snap, const char *ref,
                         const hangar_convert_options *options, const hg_profile *profile, const char *why,
                         hangar_job *job, char **out_json, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *text = NULL;
    if (!profile) profile = profile_of(options->form ? options->form : hg_form_at(0)->name);
    if (!profile) return hg_fail(err, HANGAR_E_USAGE, "no form is called %.32s", options->form);
    hangar_code code = hg_onnx_convert(h, snap, ref, options, job, &text, err);
    if (code == HANGAR_OK && !options->out) code = choose(h, snap, profile, why, err);
    if (!text || !out_json) return code;
    if (!why || !*why) {
        *out_json = text;
        text = NULL;
        return code;
    }
    hg_optimized answer = {.profile = profile, .why = why};
    hangar_code told = hg_optimized_write(&answer, text, out_json, code == HANGAR_OK ? err : NULL);
    return code == HANGAR_OK ? told : code;
}

/* The members of a conversion's answer, and ours. */
hangar_code hg_optimized_write(const hg_optimized *o, const char *text, char **out_json, hangar_err *err)
{
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w) return hg_fail_memory(err);
    hangar_code code = hg_json_parse(hg_str_of(text), NULL, &doc, err);
    if (code != HANGAR_OK) return code;
    hg_jw_obj(w, NULL);
    hg_jw_members(w, hg_json_root(doc), (const char *const[]){"seconds", NULL});
    if (o->asked) hg_jw_text(w, "asked", o->asked->name);
    hg_jw_text(w, "profile", o->profile->name);
    hg_jw_text(w, "why", o->why && *o->why ? o->why : NULL);
    if (o->asked) {
        if (o->table) hg_jw_val(w, "table", o->table);
        else hg_jw_null(w, "table");
    }
    if (o->seconds > 0) hg_jw_f64(w, "seconds", o->seconds);
    else hg_jw_val(w, "seconds", hg_json_get(hg_json_root(doc), "seconds"));
    return hg_jw_finish(w, false, out_json, err);
}

/* ---- one profile ---- */

static hangar_code make_profile(const hg_optimizing *o, const hg_profile *asked, const hg_profile *profile,
                                const char *why, char **out_json, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *text = NULL;
    hangar_convert_options options = HANGAR_CONVERT_OPTIONS_INIT;
    options.form = profile->form;
    options.level = o->options->level;
    options.out = o->options->out;
    options.place = o->options->place;
    hangar_code code = hg_onnx_convert(o->h, o->snap, o->ref, &options, o->job, &text, err);
    if (code == HANGAR_OK && !options.out) code = choose(o->h, o->snap, profile, why, err);
    hg_optimized answer = {.asked = asked, .profile = profile, .why = why};
    if (!text || !out_json) return code;
    hangar_code told = hg_optimized_write(&answer, text, out_json, code == HANGAR_OK ? err : NULL);
    return code == HANGAR_OK ? told : code;
}

/* What the words of the profile "small" come to, with the reason. */
static const hg_profile *small_of(const hg_optimizing *o, char why[HG_PROFILE_WHY_MAX])
{
    const hg_profile *p = hg_profile_small(o->h->settings, &o->facts);
    snprintf(why, HG_PROFILE_WHY_MAX, "%s for %s", p->name,
             hg_streq(o->h->settings->target_platform, "gpu") ? "models.conversion.target_platform gpu"
             : o->facts.task[0]                               ? o->facts.task
                                                              : "a model of unknown use");
    return p;
}

/* Tunes a model. */
hangar_code hg_onnx_optimize(hangar *h, const hg_snapshot *snap, const char *ref,
                             const hangar_optimize_options *options, hangar_job *job, char **out_json,
                             hangar_err *err)
{
    char why[HG_PROFILE_WHY_MAX] = "";
    hg_optimizing o = {.h = h, .snap = snap, .ref = ref, .options = options, .job = job};
    const char *name = options->profile ? options->profile : "auto";
    const hg_profile *asked = hg_profile_get(name), *profile = asked;
    if (!asked)
        return hg_fail(err, HANGAR_E_USAGE, "no profile is called %.32s; hangar quantize --list names them",
                       name);
    hangar_code code = hg_onnx_level(h, options->level, &o.level, err);
    if (code != HANGAR_OK) return code;
    hg_facts_read(snap, &o.facts, NULL);
    if (hg_streq(name, "auto")) {
        if (!hg_streq(h->settings->target_platform, "gpu")) return hg_optimize_auto(&o, asked, out_json, err);
        profile = hg_profile_get("gpu-fp16");
        snprintf(why, sizeof why,
                 "models.conversion.target_platform is gpu, and that cannot be measured here");
    } else if (!asked->form) {
        profile = small_of(&o, why);
    }
    if (*why) hg_job_note(job, "%s", why);
    return make_profile(&o, asked, profile, why, out_json, err);
}
