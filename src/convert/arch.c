/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/arch.h"

#include "base/mem.h"
#include "convert/archs.h"

#include <stdio.h>
#include <string.h>

static const hg_arch *const archs[] = {
#define HG_ARCH(name) &hg_arch_##name,
#include "convert/archs.def"
#undef HG_ARCH
};

/* Finds an architecture. */
const hg_arch *hg_arch_get(const char *model_type)
{
    for (size_t i = 0; model_type && i < HG_LEN(archs); i++) {
        if (strcmp(archs[i]->name, model_type) == 0) return archs[i];
    }
    return NULL;
}

/* All names, for messages. */
const char *hg_arch_names(char out[HG_ARCH_NAMES_MAX])
{
    size_t n = 0;
    out[0] = 0;
    for (size_t i = 0; i < HG_LEN(archs) && n < HG_ARCH_NAMES_MAX - 64; i++) {
        n += (size_t)snprintf(out + n, HG_ARCH_NAMES_MAX - n, "%s%.48s", i ? ", " : "", archs[i]->name);
    }
    return out;
}

/* Begins a graph. */
hangar_code hg_build_begin(hg_build *b, const char *name, hangar_err *err)
{
    if (b->opset < HG_ONNX_OPSET_MIN || b->opset > HG_ONNX_OPSET_MAX) {
        return hg_fail(err, HANGAR_E_USAGE, "opset %d: %d to %d are written", b->opset, HG_ONNX_OPSET_MIN,
                       HG_ONNX_OPSET_MAX);
    }
    if (b->count == HG_BUILD_GRAPHS_MAX)
        return hg_fail(err, HANGAR_E_INTERNAL, "more than %d graphs", HG_BUILD_GRAPHS_MAX);
    b->g = hg_graph_new(name, b->opset);
    if (!b->g) return hg_fail_memory(err);
    hg_graph_set(b->g, b->style, b->form ? b->form->real : HG_ONNX_FLOAT);
    b->names[b->count] = name;
    b->graphs[b->count++] = b->g;
    b->prefix = "";
    b->module = NULL;
    return HANGAR_OK;
}

/* Frees all graphs. */
void hg_build_deinit(hg_build *b)
{
    for (size_t i = 0; i < b->count; i++) {
        hg_graph_free(b->graphs[i]);
        hg_make_plan_deinit(&b->makes[i]);
    }
    b->count = 0;
    b->g = NULL;
}

/* What the graph at work has to be written anew. */
hg_make_plan *hg_build_makes(hg_build *b)
{
    return &b->makes[b->count ? b->count - 1 : 0];
}

/* All layers of a stack, or the first ones. */
uint32_t hg_build_layers(const hg_build *b, uint32_t all)
{
    return b->layers && b->layers < all ? b->layers : all;
}
