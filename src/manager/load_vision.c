/* SPDX-License-Identifier: Apache-2.0 */
/* Loader for models in safetensors that give pictures labels: ..ForImageClassification. */
#include "base/mem.h"
#include "manager/load_onnx.h"
#include "manager/see.h"

#include <stdlib.h>

static bool takes(const hg_snapshot *snap, const hg_facts *facts)
{
    if (snap->ref.file[0] || !hg_streq(facts->format, "safetensors")) return false;
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    if (hg_load_json(snap, "config.json", &doc, NULL) != HANGAR_OK) return false;
    const char *class = hg_json_text(hg_json_at(hg_json_get(hg_json_root(doc), "architectures"), 0));
    return class && hg_str_ends(hg_str_of(class), HG_STR("ForImageClassification"));
}

static void vision_free(hg_vision *v)
{
    if (!v) return;
    hg_classifier_deinit(&v->labels);
    hg_sight_deinit(&v->sight);
    free(v);
}

static hangar_code load(hangar_model *m, hangar_job *job, hangar_err *err)
{
    hg_vision *v = hg_calloc(1, sizeof *v);
    if (!v) return hg_fail_memory(err);
    hangar_code code = hg_classifier_config(m->snap, &v->labels, err);
    if (code == HANGAR_OK) code = hg_sight_read(m->snap, m->facts.architecture, &v->sight, err);
    if (code == HANGAR_OK) code = hg_load_onnx_media(m, NULL, job, err);
    if (code == HANGAR_OK) m->data = v;
    else vision_free(v);
    return code;
}

static void unload(hangar_model *m)
{
    vision_free(m->data);
}

/* One picture. */
static hangar_code probe(const hangar_model *m, char **out_call_json, hangar_err *err)
{
    return hg_probe_whole(m, "model", out_call_json, err);
}

const hg_loader hg_loader_vision = {
    .name = "vision",
    .verb = "classify --image",
    .task = "image classification",
    .takes = takes,
    .load = load,
    .unload = unload,
    .probe = probe,
};
