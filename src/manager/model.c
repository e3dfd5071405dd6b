/* SPDX-License-Identifier: Apache-2.0 */
/* The calls of hangar/model.h but the download: a REF is parsed, the store does the work, describe.c adds what it can tell. */
#include "hangar/model.h"

#include "base/fsx.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "hardware/hardware.h"
#include "manager/catalog.h"
#include "manager/journal.h"
#include "manager/profile.h"

#include <unistd.h>

#define REPORT_MAX         HG_MIB
#define ARTIFACT_FILES_MAX 100000

hangar_code hangar_model_exists(hangar *h, const char *ref, hangar_err *err)
{
    hg_snapshot *snap = NULL;
    hangar_code code = hg_catalog_snapshot(h, ref, &snap, err);
    hg_snapshot_free(snap);
    return code;
}

/* ---- listing ---- */

/* NULL instead of "". */
static const char *known(const char *text)
{
    return text[0] ? text : NULL;
}

static void number_or_null(hg_jw *w, const char *key, uint64_t n)
{
    if (n) hg_jw_u64(w, key, n);
    else hg_jw_null(w, key);
}

/* What a listing says beyond sizes. The index keeps it: change FACTS_REVISION in store/list.c along with it. */
static void describe(void *ctx, const hg_snapshot *snap, hg_jw *w)
{
    hg_facts f;
    hangar_err problem = {0};
    (void)ctx;
    hg_facts_read(snap, &f, &problem);
    if (problem.code != HANGAR_OK) hg_log(HG_LOG_WARN, "manager", "%s: %s", snap->ref.repo, problem.msg);
    hg_jw_text(w, "format", f.format);
    hg_jw_text(w, "architecture", known(f.architecture));
}

hangar_code hangar_model_list(hangar *h, char **out_json, hangar_err *err)
{
    return hg_store_list(h->store, describe, NULL, out_json, err);
}

/* ---- one model ---- */

static void write_files(const hg_snapshot *snap, hg_jw *w)
{
    hg_jw_arr(w, "files");
    for (size_t i = 0; i < snap->count; i++) {
        const hg_snapshot_file *f = &snap->files[i];
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "path", f->path);
        hg_jw_u64(w, "size", f->size);
        hg_jw_text(w, "blob", known(f->oid.hex));
        hg_jw_end(w);
    }
    hg_jw_end(w);
}

static hangar_code add_size(void *ctx, const char *relative, uint64_t size, hangar_err *err)
{
    uint64_t *sum = ctx;
    (void)relative, (void)err;
    if (!hg_add(*sum, size, sum)) *sum = UINT64_MAX;
    return HANGAR_OK;
}

/* The report card that a validation left in the folder, or null. */
static void write_report(const char *dir, hg_jw *w)
{
    hg_buf text;
    hg_json *doc = NULL;
    HG_AUTO(hg_auto_free) char *path = hg_path_join(dir, "report.json");
    hg_buf_init(&text, REPORT_MAX);
    if (path && hg_is_file(path) && hg_read_file(path, &text, NULL) == HANGAR_OK)
        (void)!hg_json_parse(hg_buf_view(&text), NULL, &doc, NULL);
    if (doc) hg_jw_val(w, "report", hg_json_root(doc));
    else hg_jw_null(w, "report");
    hg_json_free(doc);
    hg_buf_deinit(&text);
}

/* The list that is being written, and the kind that is loaded. */
typedef struct artifacts {
    hg_jw *w;
    hg_artifact_choice choice;
} artifacts;

static hangar_code artifact_entry(void *ctx, const char *dir, const char *name, hangar_err *err)
{
    const artifacts *a = ctx;
    hg_jw *w = a->w;
    uint64_t bytes = 0;
    HG_AUTO(hg_auto_free) char *path = hg_path_join(dir, name);
    if (!path) return hg_fail_memory(err);
    if (name[0] == '.' || !hg_is_dir(path)) return HANGAR_OK; /* one that is being made */
    (void)!hg_walk(path, ARTIFACT_FILES_MAX, add_size, &bytes, NULL);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "kind", name);
    hg_jw_bool(w, "chosen", hg_streq(name, a->choice.kind));
    hg_jw_text(w, "path", path);
    hg_jw_u64(w, "bytes", bytes);
    write_report(path, w);
    hg_jw_end(w);
    return HANGAR_OK;
}

/* What hangar made from the model: one folder per kind; and which of them is loaded, why. */
static hangar_code write_artifacts(hangar *h, const hg_snapshot *snap, hg_jw *w, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *one = hg_artifact_dir(h->store, snap->ref.repo, snap->commit, "onnx");
    HG_AUTO(hg_auto_free) char *root = one ? hg_path_dir(one) : NULL;
    if (!root) return hg_fail_memory(err);
    artifacts a = {.w = w};
    hg_artifact_chosen(h->store, snap, &a.choice);
    hg_jw_arr(w, "artifacts");
    hangar_code code = hg_is_dir(root) ? hg_list_dir(root, artifact_entry, &a, err) : HANGAR_OK;
    hg_jw_end(w);
    HG_AUTO(hg_json_auto_free) hg_json *choice = hg_choice_read(h, snap);
    if (choice) hg_jw_val(w, "choice", hg_json_root(choice));
    else hg_jw_null(w, "choice");
    return code;
}

static void write_facts(const hg_facts *f, hg_jw *w)
{
    hg_jw_text(w, "format", f->format);
    hg_jw_text(w, "architecture", known(f->architecture));
    number_or_null(w, "parameters", f->parameters);
    hg_jw_text(w, "dtype", known(f->dtype));
    number_or_null(w, "context_length", f->context_length);
    hg_jw_text(w, "license", known(f->license));
    hg_jw_text(w, "task", known(f->task));
    hg_jw_text(w, "weights", known(f->weights));
}

static void write_memory(const hg_facts *f, hg_jw *w)
{
    uint64_t available = hg_usable_memory();
    number_or_null(w, "memory_needed", f->memory_needed);
    number_or_null(w, "memory_available", available);
    if (f->memory_needed && available) hg_jw_bool(w, "fits", f->memory_needed <= available);
    else hg_jw_null(w, "fits");
}

hangar_code hangar_model_get(hangar *h, const char *ref, char **out_json, hangar_err *err)
{
    hg_facts facts;
    hangar_err problem = {0};
    HG_AUTO(hg_snapshot_auto_free) hg_snapshot *snap = NULL;
    hangar_code code = hg_catalog_snapshot(h, ref, &snap, err);
    if (code != HANGAR_OK) return code;
    hg_facts_read(snap, &facts, &problem);
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w) return hg_fail_memory(err);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "ref", ref);
    hg_jw_text(w, "repo", snap->ref.repo);
    hg_jw_text(w, "revision", snap->ref.revision);
    hg_jw_text(w, "commit", snap->commit);
    hg_jw_text(w, "path", snap->dir);
    hg_jw_u64(w, "size", snap->size);
    write_files(snap, w);
    write_facts(&facts, w);
    code = write_artifacts(h, snap, w, err);
    if (code != HANGAR_OK) return code;
    write_memory(&facts, w);
    hg_jw_text(w, "problem", known(problem.msg));
    return hg_jw_finish(w, false, out_json, err);
}

/* ---- changing and checking ---- */

hangar_code hangar_model_add(hangar *h, const char *path, const char *name, hangar_job *job, char **out_json,
                             hangar_err *err)
{
    if (out_json) *out_json = NULL;
    if (!path || !*path) return hg_fail(err, HANGAR_E_USAGE, "which folder or file shall be added?");
    hangar_code code = HANGAR_OK;
    if (name || access(path, F_OK) != 0) code = hg_catalog_has_weights(h, name ? name : path, err);
    if (code != HANGAR_OK) return code;
    int64_t id = hg_journal_begin(h, "add", name ? name : path);
    return hg_journal_end(h, id, hg_store_add(h->store, path, name, job, out_json, err), err);
}

hangar_code hangar_model_remove(hangar *h, const char *ref, char **out_json, hangar_err *err)
{
    hg_ref parsed;
    if (out_json) *out_json = NULL;
    hangar_code code = hg_ref_parse(ref, &parsed, err);
    return code == HANGAR_OK ? hg_store_remove(h->store, &parsed, out_json, err) : code;
}

hangar_code hangar_model_verify(hangar *h, const char *ref, hangar_job *job, char **out_json, hangar_err *err)
{
    hg_ref parsed;
    if (out_json) *out_json = NULL;
    hangar_code code = ref ? hg_ref_parse(ref, &parsed, err) : HANGAR_OK;
    if (code != HANGAR_OK) return code;
    int64_t id = hg_journal_begin(h, "verify", ref);
    code = hg_store_verify(h->store, ref ? &parsed : NULL, job, out_json, err);
    return hg_journal_end(h, id, code, err);
}
