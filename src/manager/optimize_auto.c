/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The profile "auto": one trial for each form. A trial makes the form unless it is there already and right, reads its report card, loads it as it
 * would be loaded to be used, and measures it. A form that cannot be made, is not proved or drifts too far is out, with the reason in the
 * table. What was made for nothing is removed, whether the whole succeeds or not.
 */
#include "manager/optimize.h"

#include "base/clock.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "convert/arch.h"
#include "hardware/hardware.h"
#include "manager/onnx_check.h"
#include "manager/onnx_time.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TRIALS_MAX 16
#define SECONDS    60.0
#define WORTH      1.1 /* times as fast as the original must be what changes the answers */
#define FILES_MAX  100000

typedef struct trial {
    const hg_profile *profile;
    char kind[HG_ARTIFACT_KIND_MAX];
    bool was_there; /* before we came */
    bool ok;
    hg_times times;
    double load_seconds;
    double drift; /* HG_REPORT_NONE = not measured: it is the original */
    uint64_t bytes, memory;
    hangar_code code; /* that put it out */
    char why[HANGAR_ERR_MAX];
} trial;

typedef struct trials {
    hg_optimizing *o;
    trial items[TRIALS_MAX];
    size_t count;
    double left; /* seconds that may still be measured */
} trials;

/* ---- what is there ---- */

static char *kind_dir(const hg_optimizing *o, const char *kind)
{
    return hg_artifact_dir(o->h->store, o->snap->ref.repo, o->snap->commit, kind);
}

static hangar_code add_size(void *ctx, const char *relative, uint64_t size, hangar_err *err)
{
    uint64_t *sum = ctx;
    (void)relative, (void)err;
    if (!hg_add(*sum, size, sum)) *sum = UINT64_MAX;
    return HANGAR_OK;
}

/* The report card in a kind's folder: whether it is good, and the drift. */
static bool read_card(const char *dir, double *drift)
{
    hg_buf text;
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    HG_AUTO(hg_auto_free) char *path = hg_path_join(dir, "report.json");
    *drift = HG_REPORT_NONE;
    if (!path || !hg_is_file(path)) return false;
    hg_buf_init(&text, HG_MIB);
    if (hg_read_file(path, &text, NULL) == HANGAR_OK)
        (void)!hg_json_parse(hg_buf_view(&text), NULL, &doc, NULL);
    hg_buf_deinit(&text);
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(hg_json_root(doc), "checks")); hg_json_next(&it);)
        if (hg_streq(hg_json_text(hg_json_get(it.val, "name")), "drift"))
            *drift = hg_json_f64_or(hg_json_get(it.val, "value"), HG_REPORT_NONE);
    return hg_json_bool_or(hg_json_get(hg_json_root(doc), "ok"), false);
}

/* Whether a kind is there as this optimization would make it. */
static bool is_made(const hg_optimizing *o, const char *dir, const char *kind)
{
    double drift;
    HG_AUTO(hg_artifact_auto_free) hg_artifact *a = NULL;
    return hg_artifact_open(o->h->store, o->snap, kind, &a, NULL) == HANGAR_OK &&
           hg_streq(hg_artifact_level(a), hg_level_name(o->level)) &&
           hg_streq(hg_json_text(hg_json_get(a->root, "style")),
                    o->level == HG_LEVEL_O2 ? "fused" : "portable") &&
           hg_streq(hg_json_text(hg_json_get(a->root, "generator")), "hangar " HANGAR_VERSION) &&
           read_card(dir, &drift);
}

/* ---- one trial ---- */

/* Trouble that concerns this form alone, and not the person, the machine or the model as such. */
static bool is_of_form(hangar_code code)
{
    return code != HANGAR_OK && code != HANGAR_E_CANCELLED && code != HANGAR_E_NO_MEMORY &&
           code != HANGAR_E_NOT_FOUND && code != HANGAR_E_USAGE;
}

static hangar_code make_form(trials *t, trial *k, const char *dir, hangar_err *err)
{
    hg_optimizing *o = t->o;
    hangar_convert_options options = HANGAR_CONVERT_OPTIONS_INIT;
    options.form = k->profile->form;
    options.level = o->options->level;
    hangar_code code = is_made(o, dir, k->kind)
                           ? HANGAR_OK
                           : hg_onnx_convert(o->h, o->snap, o->ref, &options, o->job, NULL, err);
    if (code != HANGAR_OK) return code;
    (void)!read_card(dir, &k->drift);
    (void)!hg_walk(dir, FILES_MAX, add_size, &k->bytes, NULL);
    return HANGAR_OK;
}

static hangar_code measure_form(trials *t, trial *k, double seconds, hangar_err *err)
{
    hg_optimizing *o = t->o;
    hg_or_session session;
    HG_AUTO(hg_artifact_auto_free) hg_artifact *a = NULL;
    hangar_code code = hg_artifact_open(o->h->store, o->snap, k->kind, &a, err);
    if (code != HANGAR_OK) return code;
    a->pack = a->pack || k->profile->pack;
    hg_job_phase(o->job, "measuring");
    double from = hg_now();
    code = hg_or_open(o->h, a, o->job, &session, err);
    if (code != HANGAR_OK) return code;
    k->load_seconds = hg_now() - from;
    from = hg_now();
    code = hg_onnx_measure(&session, o->snap, seconds, &k->times, err);
    t->left -= hg_now() - from;
    k->memory = hg_runner_memory(session.runner);
    hg_or_close(&session);
    k->ok = code == HANGAR_OK;
    return code;
}

/* Whether the form has a chance at all; why not, in words. */
static bool has_chance(const trials *t, trial *k)
{
    char needs[16], there[16];
    uint64_t need = hg_profile_memory(&t->o->facts), have = hg_usable_memory();
    const hg_form *form = hg_form_get(k->profile->form);
    if (t->left <= 0) {
        snprintf(k->why, sizeof k->why, "not tried: the time was up");
    } else if (form->linear == HG_LINEAR_PLAIN && form->real == HG_ONNX_FLOAT && have && need > have) {
        snprintf(k->why, sizeof k->why, "needs %s of memory, %s are free", hg_size_format(need, needs),
                 hg_size_format(have, there));
    } else {
        return true;
    }
    return false;
}

/* Makes and measures one form. `after`: how many come behind it. */
static hangar_code run_trial(trials *t, trial *k, size_t after, hangar_err *err)
{
    hangar_err why = {0};
    HG_AUTO(hg_auto_free) char *dir = kind_dir(t->o, k->kind);
    if (!dir) return hg_fail_memory(err);
    if (!has_chance(t, k)) return HANGAR_OK;
    hangar_code code = make_form(t, k, dir, &why);
    if (code == HANGAR_OK) code = measure_form(t, k, t->left / (double)(after + 1), &why);
    if (is_of_form(code)) {
        k->code = code;
        snprintf(k->why, sizeof k->why, "%s", why.msg);
        return HANGAR_OK;
    }
    if (code != HANGAR_OK && err) *err = why;
    return code;
}

/* ---- all of them ---- */

static void list_trials(trials *t)
{
    hg_optimizing *o = t->o;
    const hg_profile *p;
    const hg_arch *arch = hg_arch_get(o->facts.architecture);
    HG_AUTO(hg_auto_free) hg_hardware *hw = hg_calloc(1, sizeof *hw);
    bool gpu = false;
    if (hw && !hg_streq(o->h->settings->target_platform, "cpu")) {
        hg_hardware_read(NULL, hw);
        gpu = hw->gpu_count > 0;
    }
    for (size_t i = 0; (p = hg_profile_at(i)) && t->count < TRIALS_MAX; i++) {
        if (p->tried == 0 || (p->tried == 2 && !gpu)) continue;
        if (hg_form_get(p->form)->silence && !(arch && arch->hears_windows)) continue;
        trial *k = &t->items[t->count++];
        *k = (trial){.profile = p, .drift = HG_REPORT_NONE};
        hg_artifact_kind(p->form, k->kind);
        HG_AUTO(hg_auto_free) char *dir = kind_dir(o, k->kind);
        k->was_there = dir && hg_is_dir(dir);
    }
}

/* The faster of two; NULL is none. `worth`: how many times as fast as a the other must be. */
static const trial *faster(const trial *a, const trial *b, double worth)
{
    if (!b->ok) return a;
    return !a || b->times.score * worth < a->times.score ? b : a;
}

/* The fastest; NULL when there is none. The forms that leave the weights as they are come first, and the others must be worth it. */
static const trial *best_of(const trials *t)
{
    const trial *best = NULL;
    const trial *other = NULL;
    for (size_t i = 0; i < t->count; i++) {
        bool plain = hg_streq(t->items[i].profile->form, hg_form_at(0)->name);
        if (plain) best = faster(best, &t->items[i], 1);
        else other = faster(other, &t->items[i], 1);
    }
    return other ? faster(best, other, WORTH) : best;
}

/* Removes what was made and is not wanted. best NULL: everything. */
static void clean(const trials *t, const trial *best)
{
    for (size_t i = 0; i < t->count; i++) {
        const trial *k = &t->items[i];
        if (k->was_there || (best && (t->o->options->keep || strcmp(best->kind, k->kind) == 0))) continue;
        HG_AUTO(hg_auto_free) char *dir = kind_dir(t->o, k->kind);
        if (dir && hg_is_dir(dir)) (void)hg_rm_tree(dir, NULL);
    }
    HG_AUTO(hg_auto_free) char *one = kind_dir(t->o, "onnx");
    HG_AUTO(hg_auto_free) char *commit = one ? hg_path_dir(one) : NULL;
    HG_AUTO(hg_auto_free) char *repo = commit ? hg_path_dir(commit) : NULL;
    if (repo && rmdir(commit) == 0) (void)rmdir(repo);
}

/* ---- the table ---- */

static void milliseconds(hg_jw *w, const char *key, double seconds)
{
    if (seconds > 0) hg_jw_f64(w, key, seconds * 1000);
    else hg_jw_null(w, key);
}

static void write_row(const trial *k, hg_jw *w)
{
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "profile", k->profile->name);
    hg_jw_text(w, "form", k->profile->form);
    hg_jw_bool(w, "ok", k->ok);
    if (k->load_seconds > 0) hg_jw_f64(w, "load_seconds", k->load_seconds);
    else hg_jw_null(w, "load_seconds");
    milliseconds(w, "prefill_ms", k->times.prefill);
    milliseconds(w, "batch_ms", k->times.batch);
    milliseconds(w, "step_ms", k->times.step);
    milliseconds(w, "score", k->ok ? k->times.score : 0);
    hg_jw_u64(w, "bytes", k->bytes);
    hg_jw_u64(w, "memory", k->memory);
    if (k->drift == HG_REPORT_NONE) hg_jw_null(w, "drift");
    else hg_jw_f64(w, "drift", k->drift);
    hg_jw_text(w, "why", *k->why ? k->why : NULL);
    hg_jw_end(w);
}

static hangar_code make_table(const trials *t, hg_json **out, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *text = NULL;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w) return hg_fail_memory(err);
    hg_jw_arr(w, NULL);
    for (size_t i = 0; i < t->count; i++) write_row(&t->items[i], w);
    hangar_code code = hg_jw_finish(w, false, &text, err);
    return code == HANGAR_OK ? hg_json_parse(hg_str_of(text), NULL, out, err) : code;
}

/* ---- the answer ---- */

/* Why it is this one. */
static void explain(const trials *t, const trial *best, char why[HG_PROFILE_WHY_MAX])
{
    const trial *base = &t->items[0]; /* the form that a model begins with */
    if (base->ok && best != base)
        snprintf(why, HG_PROFILE_WHY_MAX, "%s is %.1f times as fast as %s here", best->profile->name,
                 base->times.score / best->times.score, base->profile->name);
    else if (base->ok)
        snprintf(why, HG_PROFILE_WHY_MAX, "nothing is faster than %s here", best->profile->name);
    else
        snprintf(why, HG_PROFILE_WHY_MAX, "%s %.150s: %s was chosen", base->profile->name, base->why,
                 best->profile->name);
}

/* What a conversion would have answered, of what is there. */
static hangar_code describe(const hg_optimizing *o, const trial *best, char **out, hangar_err *err)
{
    HG_AUTO(hg_artifact_auto_free) hg_artifact *a = NULL;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    uint64_t bytes = 0;
    if (!w) return hg_fail_memory(err);
    hangar_code code = hg_artifact_open(o->h->store, o->snap, best->kind, &a, err);
    if (code != HANGAR_OK) return code;
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "ref", o->ref);
    hg_jw_text(w, "commit", o->snap->commit);
    hg_jw_members(w, a->root,
                  (const char *const[]){"format", "generator", "repo", "commit", "opset", "layers", "weights",
                                        "graphs", NULL});
    hg_jw_text(w, "path", a->dir);
    hg_jw_arr(w, "graphs");
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(a->root, "graphs")); hg_json_next(&it);) {
        hg_jw_obj(w, NULL);
        hg_jw_val(w, "file", hg_json_get(it.val, "file"));
        hg_jw_val(w, "nodes", hg_json_get(it.val, "nodes"));
        hg_jw_val(w, "bytes", hg_json_get(it.val, "bytes"));
        hg_jw_end(w);
    }
    hg_jw_end(w);
    (void)!hg_walk(a->dir, FILES_MAX, add_size, &bytes, NULL);
    hg_jw_u64(w, "bytes_written", bytes);
    return hg_jw_finish(w, false, out, err);
}

/* The winner takes its place, for hangar itself and, when asked for, in a folder for others. */
static hangar_code settle(trials *t, const hg_profile *asked, const trial *best, double start,
                          char **out_json, hangar_err *err)
{
    hg_optimizing *o = t->o;
    char why[HG_PROFILE_WHY_MAX];
    HG_AUTO(hg_json_auto_free) hg_json *table = NULL;
    HG_AUTO(hg_auto_free) char *text = NULL;
    explain(t, best, why);
    hangar_code code = make_table(t, &table, err);
    if (code == HANGAR_OK) code = hg_job_check(o->job, err);
    if (code == HANGAR_OK && o->options->out) {
        hangar_convert_options options = HANGAR_CONVERT_OPTIONS_INIT;
        options.form = best->profile->form;
        options.level = o->options->level;
        options.out = o->options->out;
        options.place = o->options->place;
        code = hg_onnx_convert(o->h, o->snap, o->ref, &options, o->job, &text, err);
    } else if (code == HANGAR_OK) {
        code = describe(o, best, &text, err);
    }
    if (code == HANGAR_OK)
        code = hg_choice_write(o->h, o->snap, best->profile, why, hg_json_root(table), err);
    if (code != HANGAR_OK || !out_json) return code;
    hg_optimized answer = {asked, best->profile, why, hg_json_root(table), hg_now() - start};
    return hg_optimized_write(&answer, text, out_json, err);
}

/* The first trouble of all. */
static hangar_code fail_all(const trials *t, hangar_err *err)
{
    const trial *first = &t->items[0];
    for (size_t i = 0; i < t->count && first->code == HANGAR_OK; i++) first = &t->items[i];
    if (first->code != HANGAR_OK) return hg_fail(err, first->code, "%s", first->why);
    return hg_fail(err, HANGAR_E_LIMIT, "no form could be tried: %s %s", t->items[0].profile->name,
                   t->items[0].why);
}

/* Tries all forms. */
hangar_code hg_optimize_auto(hg_optimizing *o, const hg_profile *asked, char **out_json, hangar_err *err)
{
    double start = hg_now();
    HG_AUTO(hg_auto_free) trials *t = hg_calloc(1, sizeof *t);
    if (!t) return hg_fail_memory(err);
    t->o = o;
    t->left = o->options->seconds > 0 ? o->options->seconds : SECONDS;
    list_trials(t);
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; code == HANGAR_OK && i < t->count; i++) {
        hg_job_note(o->job, "trying %s (%zu of %zu)", t->items[i].profile->name, i + 1, t->count);
        code = run_trial(t, &t->items[i], t->count - i - 1, err);
        if (code == HANGAR_OK) code = hg_job_check(o->job, err);
    }
    const trial *best = code == HANGAR_OK ? best_of(t) : NULL;
    if (code == HANGAR_OK) code = best ? settle(t, asked, best, start, out_json, err) : fail_all(t, err);
    clean(t, code == HANGAR_OK ? best : NULL);
    return code;
}
