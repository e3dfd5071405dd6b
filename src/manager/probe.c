/* SPDX-License-Identifier: Apache-2.0 */
/* Small inferences for the loaders of the ONNX engine, from what the runner said of its graphs: the op "time", run once on inputs of its own. */
#include "manager/load_onnx.h"

#define PROBE_TOKENS 4

hangar_code hg_probe_graph(const hangar_model *m, const hg_time_shape *shape, char **out, hangar_err *err)
{
    const hg_or_session s = {.ready = m->ready};
    /* Every model knows two tokens; all graphs of pictures name their size. */
    const hg_proof_facts facts = {.vocab = 2, .channels = 3, .height = 224, .width = 224};
    if (!hg_or_name(&s, shape->graph, "inputs", 0))
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "the runner has no graph %s to try", shape->graph);
    return hg_time_call(&s, &facts, shape, 0, 1, 0, out, err);
}

hangar_code hg_probe_whole(const hangar_model *m, const char *graph, char **out, hangar_err *err)
{
    return hg_probe_graph(m, &(hg_time_shape){.graph = graph, .rows = 1, .length = PROBE_TOKENS}, out, err);
}
