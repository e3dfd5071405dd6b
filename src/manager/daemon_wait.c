/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for models that a daemon is to hold. The daemon may come later, go, and come again: it is asked anew until the time is over. What it has
 * given up is an error at once, for nothing but a hand makes that ready again.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "manager/catalog.h"
#include "manager/daemon_client.h"

#include <stdio.h>

#define DEFAULT_SECONDS 180.0
#define LOOK_EVERY      0.2 /* seconds */
#define ASK_SECONDS     10.0

/* One model that is waited for. */
typedef struct awaited {
    hangar *h;
    const char *name;
    const hg_entry *entry; /* NULL: the catalogue does not know it */
    hangar_job *job;
    double begun, end;
    char last[HANGAR_ERR_MAX]; /* why it was not ready the last time */
} awaited;

static bool same_name(const char *asked, const hg_entry *e, const hg_jval *slot)
{
    const char *name = hg_json_text(hg_json_get(slot, "name")), *ref = hg_json_text(hg_json_get(slot, "ref"));
    return hg_streq(name, asked) || (e && (hg_streq(name, e->name) || hg_streq(ref, e->ref)));
}

hangar_code hg_daemon_ready(hangar *h, const char *name, const hg_entry *entry, hangar_job *job,
                            double timeout, bool *held, char why[HANGAR_ERR_MAX], hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *json = NULL;
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hangar_err told = {0};
    const hg_daemon_call call = {.method = "GET", .path = "/hangar/v1/ps", .job = job, .timeout = timeout};
    *held = false;
    hangar_code code = hg_daemon_ask(h, &call, &json, &told);
    if (code == HANGAR_OK) code = hg_json_parse(hg_str_of(json), NULL, &doc, &told);
    if (code == HANGAR_E_NETWORK || code == HANGAR_E_TIMEOUT || code == HANGAR_E_OVERLOADED) {
        snprintf(why, HANGAR_ERR_MAX, "%s", told.msg);
        return HANGAR_E_BUSY;
    }
    if (code != HANGAR_OK) {
        if (err) *err = told;
        return code;
    }
    snprintf(why, HANGAR_ERR_MAX,
             "the daemon does not hold it: `hangar load %s` brings it there, models.preload does each time",
             name);
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(hg_json_root(doc), "models")); hg_json_next(&it);) {
        if (!same_name(name, entry, it.val)) continue;
        const char *state = hg_json_text_or(hg_json_get(it.val, "state"), "?");
        const char *error = hg_json_text_or(hg_json_get(it.val, "error"), "");
        *held = true;
        if (hg_streq(state, "ready") || hg_streq(state, "busy")) return HANGAR_OK;
        if (hg_streq(state, "quarantined"))
            return hg_fail(err, HANGAR_E_ENGINE,
                           "the daemon has given %s up: %s; `hangar load %s` tries again", name, error, name);
        snprintf(why, HANGAR_ERR_MAX, "it is %s%s%s", state, *error ? ": " : "", error);
    }
    return HANGAR_E_BUSY;
}

/* By the daemon. TIMEOUT. */
static hangar_code by_daemon(awaited *a, hangar_err *err)
{
    bool told = false, held;
    for (;;) {
        hangar_code code = hg_daemon_ready(a->h, a->name, a->entry, a->job, ASK_SECONDS, &held, a->last, err);
        if (code != HANGAR_E_BUSY) return code;
        code = hg_job_check(a->job, err);
        if (code != HANGAR_OK) return code;
        double left = a->end - hg_now();
        if (left <= 0)
            return hg_fail(err, HANGAR_E_TIMEOUT, "%s is not ready after %.3g s: %s", a->name,
                           hg_now() - a->begun, a->last);
        if (!told) hg_job_note(a->job, "waiting for %s: %s", a->name, a->last);
        told = true;
        hg_sleep(left < LOOK_EVERY ? left : LOOK_EVERY);
    }
}

/* Proves that it loads here. */
static hangar_code here(awaited *a, hangar_err *err)
{
    hangar_model *model = NULL;
    hg_job_note(a->job, "no daemon holds %s; loading it here to see that it can be used", a->name);
    hangar_code code = a->entry ? hg_entry_ensure(a->h, a->entry, a->job, err) : HANGAR_OK;
    if (code == HANGAR_OK)
        code = hangar_model_load(a->h, a->entry ? a->entry->ref : a->name, a->job, &model, err);
    hangar_model_unload(model);
    if (code == HANGAR_OK) hg_job_note(a->job, "%s loads here", a->name);
    return code;
}

/* Waits for one, and writes how it went. */
static hangar_code wait_one(awaited *a, bool or_load, bool running, hg_jw *w, hangar_err *err)
{
    const char *by = "daemon";
    hangar_code code = HANGAR_OK;
    double begun = hg_now();
    if (a->entry && a->entry->kind == HG_ENTRY_CLOUD) {
        by = "cloud";
    } else if (or_load && !running) {
        by = "here";
        code = here(a, err);
    } else {
        code = by_daemon(a, err);
        if (or_load && code == HANGAR_E_TIMEOUT) {
            by = "here";
            code = here(a, err);
        }
    }
    if (code != HANGAR_OK) return code;
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "name", a->name);
    hg_jw_text(w, "by", by);
    hg_jw_f64(w, "seconds", hg_now() - begun);
    hg_jw_end(w);
    return HANGAR_OK;
}

/* What the catalogue knows of the name; a cloud model needs its key. What it does not know the daemon may. */
static hangar_code look_up(awaited *a, hg_catalog *c, hangar_err *err)
{
    if (hg_catalog_want(c, a->name, &a->entry, NULL) != HANGAR_OK) return HANGAR_OK;
    if (a->entry->kind != HG_ENTRY_CLOUD || hg_entry_has_key(a->entry)) return HANGAR_OK;
    return hg_fail(err, HANGAR_E_UNAUTHORIZED, "%s is a cloud model, and its key is not set: export %s=...",
                   a->name, a->entry->key_env);
}

hangar_code hangar_daemon_wait(hangar *h, const char *const *models, const hangar_wait_options *options,
                               hangar_job *job, char **out_json, hangar_err *err)
{
    hangar_wait_options known = {0};
    hg_catalog *c = NULL;
    if (out_json) *out_json = NULL;
    hangar_code code =
        hg_options_read(options, sizeof options->size, "hangar_wait_options", &known, sizeof known, err);
    if (code == HANGAR_OK && (!models || !models[0]))
        code = hg_fail(err, HANGAR_E_USAGE, "no model was named");
    if (code == HANGAR_OK) code = hg_catalog_open(h, &c, err);
    if (code != HANGAR_OK) return code;
    double begun = hg_now(), end = begun + (known.timeout > 0 ? known.timeout : DEFAULT_SECONDS);
    bool running = hangar_daemon_running(h);
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_arr(w, "models");
    for (size_t i = 0; code == HANGAR_OK && models[i]; i++) {
        awaited a = {.h = h, .name = models[i], .job = job, .begun = begun, .end = end};
        code = look_up(&a, c, err);
        if (code == HANGAR_OK) code = wait_one(&a, known.or_load, running, w, err);
    }
    hg_catalog_free(c);
    return code == HANGAR_OK && out_json ? hg_jw_finish(w, false, out_json, err) : code;
}
