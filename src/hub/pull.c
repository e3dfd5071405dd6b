/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pull from its beginning to its end: resolve, list, plan, fetch, link, and last of all the ref, so that a ref that
 * hangar wrote means that everything was there. When the Hub turns out to serve something else than it listed (somebody
 * changed the revision meanwhile), all is asked once more.
 */
#include "hub/hub.h"

#include "base/clock.h"
#include "base/fsx.h"
#include "base/json.h"
#include "base/mem.h"
#include "hub/api.h"
#include "hub/fetch.h"
#include "hub/partial.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct pull {
    const hg_settings *settings;
    hg_store *store;
    const hg_ref *ref;
    const hangar_download_options *options; /* may be NULL */
    hangar_job *job;
    bool dry_run;
    double began;
    char commit[41];
    hg_listing listing;
    hg_plan plan;
    uint64_t received;
} pull;

/* ---- the result ---- */

/* The REF as one would write it. */
static char *ref_text(const hg_ref *ref)
{
    return hg_format("%s%s%s%s%s", ref->repo, ref->explicit_revision ? "@" : "",
                     ref->explicit_revision ? ref->revision : "", ref->file[0] ? ":" : "", ref->file);
}

/* The snapshot's folder, or NULL when there is none. */
static char *snapshot_dir(const pull *p)
{
    hg_ref ref = *p->ref;
    HG_AUTO(hg_snapshot_auto_free) hg_snapshot *snap = NULL;
    snprintf(ref.revision, sizeof ref.revision, "%s", p->commit);
    if (hg_snapshot_open(p->store, &ref, &snap, NULL) != HANGAR_OK) return NULL;
    return hg_strdup(snap->dir);
}

static void write_head(const pull *p, hg_jw *w, const char *dir)
{
    HG_AUTO(hg_auto_free) char *ref = ref_text(p->ref);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "ref", ref);
    hg_jw_text(w, "repo", p->ref->repo);
    hg_jw_text(w, "revision", p->ref->revision);
    hg_jw_text(w, "commit", p->commit);
    hg_jw_text(w, "path", dir);
    hg_jw_bool(w, "dry_run", p->dry_run);
    hg_jw_arr(w, "files");
}

static void write_file(hg_jw *w, const char *path, uint64_t size, const char *state)
{
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "path", path);
    hg_jw_u64(w, "size", size);
    hg_jw_text(w, "state", state);
    hg_jw_end(w);
}

static hangar_code write_tail(const pull *p, hg_jw *w, uint64_t total, char **out, hangar_err *err)
{
    hg_jw_end(w);
    hg_jw_u64(w, "bytes_total", total);
    hg_jw_u64(w, "bytes_fetched", p->received);
    hg_jw_f64(w, "seconds", hg_now() - p->began);
    return hg_jw_finish(w, false, out, err);
}

static hangar_code result(const pull *p, char **out, hangar_err *err)
{
    if (!out) return HANGAR_OK;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    HG_AUTO(hg_auto_free) char *dir = snapshot_dir(p);
    if (!w) return hg_fail_memory(err);
    write_head(p, w, dir);
    for (size_t i = 0; i < p->plan.pick_count; i++) {
        const hg_pick *pick = &p->plan.picks[i];
        const hg_want *want = &p->plan.wants[pick->want];
        write_file(w, pick->entry->path, want->size,
                   want->fetched ? "fetched"
                   : want->have  ? "have"
                                 : "fetch");
    }
    return write_tail(p, w, p->plan.size, out, err);
}

/* ---- without the network ---- */

/* What there is counts as the whole when HF_HUB_OFFLINE forbids to look. */
static hangar_code pull_offline(pull *p, char **out, hangar_err *err)
{
    HG_AUTO(hg_snapshot_auto_free) hg_snapshot *snap = NULL;
    hangar_code code = hg_snapshot_open(p->store, p->ref, &snap, err);
    if (code == HANGAR_E_NOT_FOUND)
        return hg_fail(err, HANGAR_E_OFFLINE,
                       "%s is not in the store, and HF_HUB_OFFLINE forbids to fetch it", p->ref->repo);
    if (code != HANGAR_OK) return code;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w) return hg_fail_memory(err);
    uint64_t total = 0;
    size_t count = 0;
    snprintf(p->commit, sizeof p->commit, "%s", snap->commit);
    write_head(p, w, snap->dir);
    for (size_t i = 0; i < snap->count; i++) {
        const hg_snapshot_file *file = &snap->files[i];
        if (!hg_path_wanted(file->path, p->ref->file, p->options)) continue;
        hg_job_plan(p->job, file->path, file->size, "have");
        write_file(w, file->path, file->size, "have");
        total += file->size;
        count++;
    }
    if (count == 0)
        return hg_fail(err, HANGAR_E_OFFLINE,
                       "no such file of %s is in the store, and HF_HUB_OFFLINE forbids to fetch it",
                       p->ref->repo);
    hg_job_note(p->job, "offline: %zu files of %s are in the store", count, p->ref->repo);
    return out ? write_tail(p, w, total, out, err) : HANGAR_OK;
}

/* ---- with the network ---- */

/* Asks the Hub what the revision is and what is missing of it. */
static hangar_code prepare(pull *p, hg_net *net, hangar_err *err)
{
    hg_plan_deinit(&p->plan);
    hg_listing_deinit(&p->listing);
    hg_job_phase(p->job, "resolving");
    hangar_code code = hg_api_resolve(net, p->ref, p->commit, err);
    if (code != HANGAR_OK) return code;
    hg_job_phase(p->job, "listing");
    code = hg_api_list(net, p->ref, p->commit, &p->listing, err);
    if (code == HANGAR_OK) code = hg_plan_make(&p->listing, p->store, p->ref, p->options, &p->plan, err);
    if (code != HANGAR_OK) return code;
    for (size_t i = 0; i < p->plan.pick_count; i++) {
        const hg_pick *pick = &p->plan.picks[i];
        const hg_want *want = &p->plan.wants[pick->want];
        hg_job_plan(p->job, pick->entry->path, want->size, want->have ? "have" : "fetch");
    }
    return HANGAR_OK;
}

/* Brings the missing blobs into the store. */
static hangar_code fetch(pull *p, hg_net *net, bool *changed, hangar_err *err)
{
    uint64_t limit = p->options && p->options->limit_rate ? p->options->limit_rate : p->settings->limit_rate;
    hangar_code code = hg_store_prepare(p->store, p->ref->repo, err);
    if (code == HANGAR_OK) code = hg_plan_space(&p->plan, p->store, p->ref, err);
    if (code != HANGAR_OK) return code;
    for (size_t i = 0; i < p->plan.want_count; i++)
        if (p->plan.wants[i].have) hg_partial_sweep(p->store, p->ref->repo, &p->plan.wants[i].oid);
    if (p->plan.missing == 0) {
        bool all = true;
        for (size_t i = 0; i < p->plan.want_count; i++) all = all && p->plan.wants[i].have;
        if (all) return HANGAR_OK;
    }
    hg_job_phase(p->job, "downloading");
    return hg_fetch_run(net, p->store, p->ref, p->commit, &p->plan, limit, &p->received, changed, err);
}

/* Makes what was fetched visible under its names. */
static hangar_code publish(pull *p, hangar_err *err)
{
    hg_job_phase(p->job, "linking");
    for (size_t i = 0; i < p->plan.pick_count; i++) {
        const hg_pick *pick = &p->plan.picks[i];
        hangar_code code =
            hg_snapshot_link(p->store, p->ref->repo, p->commit, pick->entry->path, &pick->entry->oid, err);
        if (code == HANGAR_OK) code = hg_job_check(p->job, err);
        if (code != HANGAR_OK) return hg_wrap(err, code, "%s", pick->entry->path);
    }
    return hg_revision_write(p->store, p->ref->repo, p->ref->revision, p->commit, err);
}

static hangar_code pull_online(pull *p, char **out, hangar_err *err)
{
    HG_AUTO(hg_net_auto_close) hg_net *net = NULL;
    hangar_code code = hg_net_open(p->settings, p->job, &net, err);
    for (int round = 0; code == HANGAR_OK; round++) {
        bool changed = false;
        code = prepare(p, net, err);
        if (code != HANGAR_OK || p->dry_run) break;
        code = fetch(p, net, &changed, err);
        if (code == HANGAR_OK) code = publish(p, err);
        if (!changed || round > 0) break;
        hg_job_note(p->job, "%s; asking the Hub once more", err->msg);
        code = HANGAR_OK;
    }
    if (code == HANGAR_OK) code = result(p, out, err);
    return code;
}

hangar_code hg_hub_pull(const hg_settings *settings, hg_store *store, const hg_ref *ref,
                        const hangar_download_options *options, hangar_job *job, char **out_json,
                        hangar_err *err)
{
    hangar_err here = {0};
    if (!err) err = &here; /* the words are wanted for notes */
    pull p = {.settings = settings,
              .store = store,
              .ref = ref,
              .options = options,
              .job = job,
              .dry_run = options && options->dry_run,
              .began = hg_now()};
    char *json = NULL;
    hangar_code code = settings->offline ? pull_offline(&p, &json, err) : pull_online(&p, &json, err);
    hg_plan_deinit(&p.plan);
    hg_listing_deinit(&p.listing);
    if (out_json) *out_json = json;
    else free(json);
    return code == HANGAR_OK ? code : hg_wrap(err, code, "pulling %s", ref->repo);
}
