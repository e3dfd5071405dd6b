/* SPDX-License-Identifier: Apache-2.0 */
/* hangar_model_load: from a REF to a model that a runner holds, by the first loader that takes it. */
#include "base/clock.h"
#include "base/mem.h"
#include "manager/catalog.h"
#include "manager/loaded.h"

#include <stdio.h>
#include <stdlib.h>

static const hg_loader *const loaders[] = {
#define HG_LOADER(name) &hg_loader_##name,
#include "manager/loaders.def"
#undef HG_LOADER
};

static hangar_code no_loader(const hangar_model *m, hangar_err *err)
{
    const hg_facts *f = &m->facts;
    char type[96] = "of a type that is not known";
    if (f->architecture[0]) snprintf(type, sizeof type, "of type \"%s\"", f->architecture);
    return hg_fail(err, HANGAR_E_UNSUPPORTED,
                   "%s is a model %s in %s; hangar runs GGUF files, and models of text, speech and pictures "
                   "in safetensors",
                   m->name, type, f->format[0] ? f->format : "no format that is known");
}

hangar_code hg_model_need(const hangar_model *m, const hg_loader *loader, hangar_err *err)
{
    if (!m) return hg_fail(err, HANGAR_E_USAGE, "no model was given");
    if (m->loader == loader || hg_streq(m->loader->task, loader->task)) return HANGAR_OK;
    const char *verb = m->loader->verb;
    return hg_fail(err, HANGAR_E_UNSUPPORTED, "%s is a model for %s, wanted one for %s%s%s%s", m->name,
                   m->loader->task, loader->task, verb ? "; `hangar " : "", verb ? verb : "",
                   verb ? "` uses it" : "");
}

void hangar_model_unload(hangar_model *model)
{
    if (!model) return;
    hg_runner_end(model->runner);
    if (model->loader && model->loader->unload) model->loader->unload(model);
    hg_frame_deinit(&model->ready);
    hg_snapshot_free(model->snap);
    free(model->name);
    free(model);
}

/* Finds the model in the store and reads what it is. */
static hangar_code find(hangar_model *m, hangar_err *err)
{
    hangar_code code = hg_catalog_snapshot(m->h, m->name, &m->snap, err);
    if (code != HANGAR_OK) return code;
    hg_facts_read(m->snap, &m->facts, NULL);
    return HANGAR_OK;
}

hangar_code hangar_model_load(hangar *h, const char *ref, hangar_job *job, hangar_model **out,
                              hangar_err *err)
{
    *out = NULL;
    double from = hg_now();
    if (!ref) return hg_fail(err, HANGAR_E_USAGE, "no model was named");
    hangar_model *m = hg_calloc(1, sizeof *m);
    if (!m) return hg_fail_memory(err);
    m->h = h;
    m->name = hg_strdup(ref);
    hangar_code code = m->name ? find(m, err) : hg_fail_memory(err);
    const hg_loader *loader = NULL;
    for (size_t i = 0; code == HANGAR_OK && i < HG_LEN(loaders) && !loader; i++)
        if (loaders[i]->takes(m->snap, &m->facts)) loader = loaders[i];
    if (code == HANGAR_OK) {
        hg_job_phase(job, "loading");
        code = loader ? hg_wrap(err, loader->load(m, job, err), "%s", m->name) : no_loader(m, err);
    }
    if (code == HANGAR_OK) {
        m->loader = loader;
        m->load_seconds = hg_now() - from;
        *out = m;
    } else {
        hangar_model_unload(m);
    }
    return code;
}
