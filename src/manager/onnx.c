/* SPDX-License-Identifier: Apache-2.0 */
/* hangar/onnx.h: a reference becomes a snapshot, and the snapshot goes to the rooms that convert and check. */
#include "hangar/onnx.h"

#include "base/mem.h"
#include "convert/artifact.h"
#include "convert/convert.h"
#include "hardware/hardware.h"
#include "manager/catalog.h"
#include "manager/convert.h"
#include "manager/journal.h"
#include "manager/onnx_check.h"

/* For hangar itself: in the form that was named, else in the one that fits. */
static hangar_code make_own(hangar *h, const hg_snapshot *snap, const char *ref,
                            hangar_convert_options *options, hangar_job *job, char **out_json,
                            hangar_err *err)
{
    hg_facts facts;
    char why[HG_PROFILE_WHY_MAX] = "";
    if (options->form) return hg_onnx_make(h, snap, ref, options, NULL, NULL, job, out_json, err);
    hg_facts_read(snap, &facts, NULL);
    const hg_profile *profile = hg_profile_default(h->settings, &facts, hg_usable_memory(), why);
    options->form = profile->form;
    if (*why) hg_job_note(job, "%s", why);
    return hg_onnx_make(h, snap, ref, options, profile, why, job, out_json, err);
}

/* Converts one model. */
hangar_code hangar_onnx_convert(hangar *h, const char *ref, const hangar_convert_options *options,
                                hangar_job *job, char **out_json, hangar_err *err)
{
    hangar_convert_options known = {0};
    HG_AUTO(hg_snapshot_auto_free) hg_snapshot *snap = NULL;
    if (out_json) *out_json = NULL;
    hangar_code code =
        hg_options_read(options, sizeof options->size, "hangar_convert_options", &known, sizeof known, err);
    if (code == HANGAR_OK) code = hg_catalog_snapshot(h, ref, &snap, err);
    if (code != HANGAR_OK) return hg_wrap(err, code, "converting %s", ref);
    int64_t id = hg_journal_begin(h, "convert", ref);
    code = known.out ? hg_onnx_convert(h, snap, ref, &known, job, out_json, err)
                     : make_own(h, snap, ref, &known, job, out_json, err);
    return hg_journal_end(h, id, hg_wrap(err, code, "converting %s", ref), err);
}

/* Tunes one model. */
hangar_code hangar_onnx_optimize(hangar *h, const char *ref, const hangar_optimize_options *options,
                                 hangar_job *job, char **out_json, hangar_err *err)
{
    hangar_optimize_options known = {0};
    HG_AUTO(hg_snapshot_auto_free) hg_snapshot *snap = NULL;
    if (out_json) *out_json = NULL;
    hangar_code code =
        hg_options_read(options, sizeof options->size, "hangar_optimize_options", &known, sizeof known, err);
    if (code == HANGAR_OK) code = hg_catalog_snapshot(h, ref, &snap, err);
    if (code != HANGAR_OK) return hg_wrap(err, code, "optimizing %s", ref);
    int64_t id = hg_journal_begin(h, "optimize", ref);
    code = hg_onnx_optimize(h, snap, ref, &known, job, out_json, err);
    return hg_journal_end(h, id, hg_wrap(err, code, "optimizing %s", ref), err);
}

/* All profiles. */
hangar_code hangar_onnx_profiles(char **out_json, hangar_err *err)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    const hg_profile *profile;
    if (!w) return hg_fail_memory(err);
    hg_jw_arr(w, NULL);
    for (size_t i = 0; (profile = hg_profile_at(i)); i++) {
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "name", profile->name);
        hg_jw_text(w, "form", profile->form);
        hg_jw_text(w, "words", profile->words);
        hg_jw_end(w);
    }
    return hg_jw_finish(w, false, out_json, err);
}

/* All forms. */
hangar_code hangar_onnx_forms(char **out_json, hangar_err *err)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    const hg_form *form;
    if (!w) return hg_fail_memory(err);
    hg_jw_arr(w, NULL);
    for (size_t i = 0; (form = hg_form_at(i)); i++) {
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "name", form->name);
        hg_jw_text(w, "words", form->words);
        hg_jw_end(w);
    }
    return hg_jw_finish(w, false, out_json, err);
}

/* Is there a converted form? */
hangar_code hangar_onnx_exists(hangar *h, const char *ref, hangar_err *err)
{
    HG_AUTO(hg_snapshot_auto_free) hg_snapshot *snap = NULL;
    HG_AUTO(hg_artifact_auto_free) hg_artifact *artifact = NULL;
    hangar_code code = hg_catalog_snapshot(h, ref, &snap, err);
    if (code == HANGAR_OK) code = hg_artifact_open(h->store, snap, NULL, &artifact, err);
    /* One that is damaged, or stands on files that are gone, is as good as none: the words still say why. */
    if (code == HANGAR_E_INVALID && err) err->code = HANGAR_E_NOT_FOUND;
    return code == HANGAR_E_INVALID ? HANGAR_E_NOT_FOUND : code;
}

/* Checks a converted model. */
hangar_code hangar_onnx_validate(hangar *h, const char *ref, const hangar_validate_options *options,
                                 hangar_job *job, char **out_json, hangar_err *err)
{
    char kind[HG_ARTIFACT_KIND_MAX];
    hangar_validate_options known = {0};
    HG_AUTO(hg_snapshot_auto_free) hg_snapshot *snap = NULL;
    HG_AUTO(hg_artifact_auto_free) hg_artifact *artifact = NULL;
    if (out_json) *out_json = NULL;
    hangar_code code =
        hg_options_read(options, sizeof options->size, "hangar_validate_options", &known, sizeof known, err);
    if (code == HANGAR_OK && known.form && !hg_form_get(known.form))
        code = hg_fail(err, HANGAR_E_USAGE, "no form is called %.32s", known.form);
    if (code == HANGAR_OK) code = hg_catalog_snapshot(h, ref, &snap, err);
    if (code == HANGAR_OK) {
        hg_artifact_kind(known.form, kind);
        code = hg_artifact_open(h->store, snap, known.form ? kind : NULL, &artifact, err);
    }
    if (code == HANGAR_OK) code = hg_onnx_report(h, snap, artifact, ref, known.layers, job, out_json, err);
    return hg_wrap(err, code, "validating %s", ref);
}
