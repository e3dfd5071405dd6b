/* SPDX-License-Identifier: Apache-2.0 */
/* Loader for GGUF models: llama.cpp in its runner. */
#include "manager/loaded.h"

#include "base/mem.h"

static bool takes(const hg_snapshot *snap, const hg_facts *facts)
{
    hg_str file = hg_str_of(snap->ref.file);
    return file.len ? hg_str_ends(file, HG_STR(".gguf")) : hg_streq(facts->format, "gguf");
}

/* The LOAD frame. */
static hangar_code load_frame(const hangar_model *m, char **out, hangar_err *err)
{
    const char *file = m->snap->ref.file[0] ? m->snap->ref.file : m->facts.weights;
    if (!hg_snapshot_file_get(m->snap, file))
        return hg_fail(err, HANGAR_E_NOT_FOUND, "%s has no file %s; `hangar show %s` lists them",
                       m->snap->ref.repo, file, m->snap->ref.repo);
    HG_AUTO(hg_auto_free) char *path = hg_snapshot_file_path(m->snap, file);
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!path || !w) return hg_fail_memory(err);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "model", path);
    hg_jw_i64(w, "threads", m->h->settings->threads);
    return hg_jw_finish(w, false, out, err);
}

static hangar_code load(hangar_model *m, hangar_job *job, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *frame = NULL;
    hangar_code code = load_frame(m, &frame, err);
    if (code != HANGAR_OK) return code;
    hg_runner_options options = {m->h->settings->load_timeout, m->h->settings->step_timeout};
    return hg_runner_start(hg_engine_get("llama"), &options, hg_str_of(frame), job, &m->runner, NULL, err);
}

/* One token (engine/llama_ops.h). */
static hangar_code probe(const hangar_model *m, char **out_call_json, hangar_err *err)
{
    (void)m;
    *out_call_json = hg_strdup("{\"op\":\"probe\"}");
    return *out_call_json ? HANGAR_OK : hg_fail_memory(err);
}

const hg_loader hg_loader_llama = {
    .name = "llama",
    .task = "text generation",
    .verb = "run",
    .takes = takes,
    .load = load,
    .probe = probe,
};
