/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From LOAD to READY. The order matters: the files that are needed are named by the frame, the runner locks
 * itself in with nothing but them, and only then looks at the first byte of the model. Weights that the frame
 * lists by place are handed to the engine as they lie in the mapped file (AddInitializer): mapping and values
 * live as long as the session.
 */
#include "runner.h"

#include "base/mem.h"
#include "base/sandbox.h"
#include "base/spread.h"
#include "engine/wire.h"

#include <stdio.h>
#include <stdlib.h>

hangar_code hg_onnx_check(const hg_onnx *o, OrtStatus *status, const char *what, hangar_err *err)
{
    if (!status) return HANGAR_OK;
    hangar_code code = HANGAR_E_ENGINE;
    switch (o->api->GetErrorCode(status)) {
    case ORT_NO_SUCHFILE: code = HANGAR_E_NOT_FOUND; break;
    case ORT_NO_MODEL:
    case ORT_INVALID_PROTOBUF:
    case ORT_INVALID_GRAPH: code = HANGAR_E_INVALID; break;
    case ORT_NOT_IMPLEMENTED: code = HANGAR_E_UNSUPPORTED; break;
    default: break;
    }
    hg_fail(err, code, "%s: %s", what, o->api->GetErrorMessage(status));
    o->api->ReleaseStatus(status);
    return code;
}

/* The engine's log: errors go to stderr, where hangar keeps the last of them. */
static void ORT_API_CALL on_log(void *ctx, OrtLoggingLevel level, const char *category, const char *id,
                                const char *where, const char *message)
{
    (void)ctx;
    (void)category;
    (void)id;
    (void)where;
    if (level >= ORT_LOGGING_LEVEL_ERROR) fprintf(stderr, "%s\n", message);
}

hangar_code hg_onnx_init(hg_onnx *o, hangar_err *err)
{
    o->api = OrtGetApiBase()->GetApi(ORT_API_VERSION);
    if (o->api) return HANGAR_OK;
    return hg_fail(err, HANGAR_E_ENGINE, "ONNX Runtime %s is too old: API %d is needed",
                   OrtGetApiBase()->GetVersionString(), ORT_API_VERSION);
}

/*
 * The engine with its threads, which all graphs share: with threads for each graph, those of the graph that ran last wait for its next
 * run by spinning, and take the processors from the graph that runs now.
 */
static hangar_code make_env(hg_onnx *o, hangar_err *err)
{
    const OrtApi *api = o->api;
    OrtThreadingOptions *threads = NULL;
    hangar_code code = hg_onnx_check(o, api->CreateThreadingOptions(&threads), "threads", err);
    if (code == HANGAR_OK)
        code = hg_onnx_check(o, api->SetGlobalIntraOpNumThreads(threads, o->threads), "threads", err);
    if (code == HANGAR_OK)
        code = hg_onnx_check(o, api->SetGlobalInterOpNumThreads(threads, 1), "threads", err);
    if (code == HANGAR_OK)
        code = hg_onnx_check(o,
                             api->CreateEnvWithCustomLoggerAndGlobalThreadPools(on_log, NULL,
                                                                                ORT_LOGGING_LEVEL_ERROR,
                                                                                "hangar", threads, &o->env),
                             "starting", err);
    if (threads) api->ReleaseThreadingOptions(threads);
    return code;
}

/* Starts the engine with o->threads. */
static hangar_code start_engine(hg_onnx *o, hangar_err *err)
{
    /*
     * Without this, ONNX Runtime keeps a telemetry database and logs in the user's folders and would upload them;
     * it decides that when the environment is made, so DisableTelemetryEvents alone comes too late.
     */
    if (setenv("ORT_DISABLE_TELEMETRY", "1", 1) != 0) return hg_fail_memory(err);
    hangar_code code = make_env(o, err);
    if (code == HANGAR_OK) code = hg_onnx_check(o, o->api->DisableTelemetryEvents(o->env), "starting", err);
    if (code == HANGAR_OK)
        code = hg_onnx_check(o, o->api->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &o->cpu),
                             "starting", err);
    if (code == HANGAR_OK)
        code = hg_onnx_check(o, o->api->GetAllocatorWithDefaultOptions(&o->allocator), "starting", err);
    return code;
}

hg_graph *hg_onnx_graph(hg_onnx *o, const char *name, hangar_err *err)
{
    for (size_t i = 0; i < o->graph_count; i++)
        if (hg_streq(o->graphs[i].name, name)) return &o->graphs[i];
    hg_fail(err, HANGAR_E_NOT_FOUND, "the model has no graph \"%s\"", name ? name : "");
    return NULL;
}

const hg_port *hg_port_get(const hg_ports *ports, const char *name)
{
    for (size_t i = 0; i < ports->count; i++)
        if (hg_streq(ports->items[i].name, name)) return &ports->items[i];
    return NULL;
}

/* ---- inputs and outputs ---- */

/* Type and shape of a port, from what the engine knows. */
static hangar_code port_shape(const hg_onnx *o, const OrtTypeInfo *info, hg_port *port, hangar_err *err)
{
    const OrtTensorTypeAndShapeInfo *tensor = NULL;
    hangar_code code = hg_onnx_check(o, o->api->CastTypeInfoToTensorInfo(info, &tensor), port->name, err);
    if (code != HANGAR_OK) return code;
    if (!tensor) return hg_fail(err, HANGAR_E_UNSUPPORTED, "%s is not a tensor", port->name);
    code = hg_onnx_check(o, o->api->GetTensorElementType(tensor, &port->type), port->name, err);
    if (code == HANGAR_OK)
        code = hg_onnx_check(o, o->api->GetDimensionsCount(tensor, &port->rank), port->name, err);
    if (code == HANGAR_OK && port->rank > HG_ONNX_RANK_MAX)
        code = hg_fail(err, HANGAR_E_LIMIT, "%s has %zu dimensions, at most %d are read", port->name,
                       port->rank, HG_ONNX_RANK_MAX);
    if (code == HANGAR_OK)
        code = hg_onnx_check(o, o->api->GetDimensions(tensor, port->dims, port->rank), port->name, err);
    return code;
}

typedef OrtStatus *(ORT_API_CALL *name_fn)(const OrtSession *, size_t, OrtAllocator *, char **);
typedef OrtStatus *(ORT_API_CALL *info_fn)(const OrtSession *, size_t, OrtTypeInfo **);

/* All inputs or all outputs of a session. */
static hangar_code ports_read(const hg_onnx *o, const OrtSession *s, size_t count, name_fn get_name,
                              info_fn get_info, hg_ports *out, hangar_err *err)
{
    if (count > HG_ONNX_TENSORS_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "a graph with %zu inputs or outputs, at most %d are read", count,
                       HG_ONNX_TENSORS_MAX);
    out->items = hg_calloc(count, sizeof *out->items);
    if (!out->items) return hg_fail_memory(err);
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; i < count && code == HANGAR_OK; i++) {
        char *name = NULL;
        OrtTypeInfo *info = NULL;
        hg_port *port = &out->items[i];
        code = hg_onnx_check(o, get_name(s, i, o->allocator, &name), "reading the graph", err);
        if (code != HANGAR_OK) break;
        port->name = hg_strdup(name);
        o->allocator->Free(o->allocator, name);
        out->count = i + 1;
        if (!port->name) return hg_fail_memory(err);
        code = hg_onnx_check(o, get_info(s, i, &info), port->name, err);
        if (code == HANGAR_OK) code = port_shape(o, info, port, err);
        if (info) o->api->ReleaseTypeInfo(info);
    }
    return code;
}

static hangar_code graph_ports(const hg_onnx *o, hg_graph *g, hangar_err *err)
{
    size_t ins = 0, outs = 0;
    hangar_code code = hg_onnx_check(o, o->api->SessionGetInputCount(g->session, &ins), g->name, err);
    if (code == HANGAR_OK)
        code = hg_onnx_check(o, o->api->SessionGetOutputCount(g->session, &outs), g->name, err);
    if (code == HANGAR_OK)
        code = ports_read(o, g->session, ins, o->api->SessionGetInputName, o->api->SessionGetInputTypeInfo,
                          &g->ins, err);
    if (code == HANGAR_OK)
        code = ports_read(o, g->session, outs, o->api->SessionGetOutputName, o->api->SessionGetOutputTypeInfo,
                          &g->outs, err);
    return code;
}

/* ---- weights and sessions ---- */

/* One initializer of the frame: a view on the mapped file, given to the session's options under its name. */
static hangar_code add_weight(const hg_onnx *o, hg_graph *g, OrtSessionOptions *options, const hg_jval *doc,
                              hangar_err *err)
{
    const char *name = hg_json_text_or(hg_json_get(doc, "name"), "");
    const char *dtype = hg_json_text_or(hg_json_get(doc, "dtype"), "");
    uint64_t file = 0, offset = 0, bytes = 0, want = 0, end = 0;
    ONNXTensorElementDataType type;
    int64_t dims[HG_ONNX_RANK_MAX];
    const hg_jval *shape = hg_json_get(doc, "shape");
    size_t rank = hg_json_len(shape);
    bool ok = *name && hg_type_parse(dtype, &type) && hg_json_u64(hg_json_get(doc, "file"), &file) &&
              file < o->map_count && hg_json_u64(hg_json_get(doc, "offset"), &offset) &&
              hg_json_u64(hg_json_get(doc, "bytes"), &bytes) && hg_json_is_array(shape) &&
              rank <= HG_ONNX_RANK_MAX;
    for (hg_json_iter it = hg_json_iter_of(shape); ok && hg_json_next(&it);)
        ok = hg_json_i64(it.val, &dims[it.index]);
    ok = ok && hg_add(offset, bytes, &end) && end <= o->maps[file].len &&
         hg_tensor_bytes(type, dims, rank, bytes, &want) && want == bytes && bytes > 0;
    if (!ok)
        return hg_fail(err, HANGAR_E_INVALID, "graph %s: the place of the weight \"%s\" is wrong", g->name,
                       name);
    OrtValue *value = NULL;
    hangar_code code = hg_tensor_over(o, o->maps[file].data + offset, bytes, dims, rank, type, &value, err);
    if (code != HANGAR_OK) return code;
    g->weights[g->weight_count++] = value;
    return hg_onnx_check(o, o->api->AddInitializer(options, name, value), name, err);
}

static hangar_code add_weights(const hg_onnx *o, hg_graph *g, OrtSessionOptions *options, const hg_jval *list,
                               hangar_err *err)
{
    size_t count = hg_json_len(list);
    if (count > HG_ONNX_INITIALIZERS_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "graph %s has %zu weights, at most %d are read", g->name, count,
                       HG_ONNX_INITIALIZERS_MAX);
    g->weights = hg_calloc(count, sizeof(OrtValue *));
    if (!g->weights) return hg_fail_memory(err);
    hangar_code code = HANGAR_OK;
    for (hg_json_iter it = hg_json_iter_of(list); code == HANGAR_OK && hg_json_next(&it);)
        code = add_weight(o, g, options, it.val, err);
    return code;
}

static hangar_code make_options(const hg_onnx *o, OrtSessionOptions **out, hangar_err *err)
{
    const OrtApi *api = o->api;
    hangar_code code = hg_onnx_check(o, api->CreateSessionOptions(out), "options", err);
    if (code == HANGAR_OK) code = hg_onnx_check(o, api->DisablePerSessionThreads(*out), "threads", err);
    if (code == HANGAR_OK)
        code = hg_onnx_check(o, api->SetSessionExecutionMode(*out, ORT_SEQUENTIAL), "options", err);
    if (code == HANGAR_OK)
        code =
            hg_onnx_check(o, api->SetSessionLogSeverityLevel(*out, ORT_LOGGING_LEVEL_ERROR), "options", err);
    if (code == HANGAR_OK)
        code = hg_onnx_check(o, api->SetSessionGraphOptimizationLevel(*out, o->level), "options", err);
    if (code == HANGAR_OK && !o->prepack)
        code = hg_onnx_check(o, api->AddSessionConfigEntry(*out, "session.disable_prepacking", "1"),
                             "options", err);
    return code;
}

/* Makes the session of one graph of the frame. */
static hangar_code graph_load(hg_onnx *o, const hg_jval *doc, hangar_err *err)
{
    const char *name = hg_json_text(hg_json_get(doc, "name")), *path = hg_json_text(hg_json_get(doc, "path"));
    if (!name || !path) return hg_fail(err, HANGAR_E_INVALID, "a graph without a name or a path");
    hg_graph *g = &o->graphs[o->graph_count++];
    g->name = hg_strdup(name);
    if (!g->name) return hg_fail_memory(err);
    OrtSessionOptions *options = NULL;
    hangar_code code = make_options(o, &options, err);
    if (code == HANGAR_OK) code = add_weights(o, g, options, hg_json_get(doc, "initializers"), err);
    if (code == HANGAR_OK)
        code = hg_onnx_check(o, o->api->CreateSession(o->env, path, options, &g->session), name, err);
    if (options) o->api->ReleaseSessionOptions(options);
    if (code == HANGAR_OK) code = graph_ports(o, g, err);
    return code;
}

/* ---- LOAD ---- */

/* Maps the weight files of the frame. */
static hangar_code map_files(hg_onnx *o, const hg_jval *files, hangar_err *err)
{
    o->maps = hg_calloc(hg_json_len(files), sizeof *o->maps);
    if (!o->maps) return hg_fail_memory(err);
    hangar_code code = HANGAR_OK;
    for (hg_json_iter it = hg_json_iter_of(files); code == HANGAR_OK && hg_json_next(&it);) {
        code = hg_map_open(hg_json_text_or(it.val, ""), &o->maps[o->map_count], err);
        if (code == HANGAR_OK) o->map_count++;
    }
    return code;
}

/* Locks the process in with the folder and the files of the frame. */
static hangar_code enter_cage(hg_onnx *o, const char *folder, const hg_jval *files, hangar_err *err)
{
    HG_AUTO(hg_auto_free) const char **paths = hg_calloc(hg_json_len(files) + 2, sizeof *paths);
    if (!paths) return hg_fail_memory(err);
    size_t count = 0;
    paths[count++] = folder;
    for (hg_json_iter it = hg_json_iter_of(files); hg_json_next(&it);)
        if (hg_json_text(it.val)) paths[count++] = hg_json_text(it.val);
    return hg_sandbox_enter(&(hg_sandbox){.read_only = paths}, &o->sandbox, err);
}

static void tell_progress(const hg_onnx *o, size_t done, size_t total)
{
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_u64(w, "done", done);
    hg_jw_u64(w, "total", total);
    /* A hangar that is gone is noticed at the next read. */
    hangar_code code = hg_wire_send_doc(o->fd, HG_WIRE_TICK, w, NULL, 0, NULL);
    (void)code;
}

static bool read_level(const hg_jval *v, GraphOptimizationLevel *out)
{
    static const struct {
        const char *name;
        GraphOptimizationLevel level;
    } levels[] = {{"all", ORT_ENABLE_ALL}, {"basic", ORT_ENABLE_BASIC}, {"off", ORT_DISABLE_ALL}};
    const char *name = hg_json_text_or(v, v ? "?" : levels[0].name);
    for (size_t i = 0; i < HG_LEN(levels); i++) {
        if (strcmp(levels[i].name, name) != 0) continue;
        *out = levels[i].level;
        return true;
    }
    return false;
}

hangar_code hg_onnx_load(hg_onnx *o, const hg_jval *load, const char *bin, size_t bin_len, hangar_err *err)
{
    const hg_jval *files = hg_json_get(load, "files"), *graphs = hg_json_get(load, "graphs");
    const char *folder = hg_json_text(hg_json_get(load, "folder"));
    size_t count = hg_json_len(graphs);
    int64_t threads = hg_json_i64_or(hg_json_get(load, "threads"), 0);
    if (!folder || !hg_json_is_array(graphs) || count < 1 || count > HG_ONNX_GRAPHS_MAX ||
        hg_json_len(files) > HG_ONNX_FILES_MAX || threads < 0 || threads > 1024)
        return hg_fail(err, HANGAR_E_INVALID, "a LOAD without folder and graphs, or with too many");
    o->threads = threads > 0 ? (int)threads : (int)hg_usable_cores();
    o->prepack = hg_json_bool_or(hg_json_get(load, "prepack"), true);
    if (!read_level(hg_json_get(load, "optimize"), &o->level))
        return hg_fail(err, HANGAR_E_INVALID, "a LOAD with an unknown \"optimize\"");
    o->media = hg_json_bool_or(hg_json_get(load, "media"), false);
    hangar_code code = start_engine(o, err);
    if (code == HANGAR_OK && o->media) code = hg_libav_ready(err);
    if (code == HANGAR_OK) code = enter_cage(o, folder, files, err);
    if (code == HANGAR_OK) code = hg_text_new(hg_json_get(load, "texts"), bin, bin_len, &o->text, err);
    if (code == HANGAR_OK) code = map_files(o, files, err);
    for (hg_json_iter it = hg_json_iter_of(graphs); code == HANGAR_OK && hg_json_next(&it);) {
        code = graph_load(o, it.val, err);
        tell_progress(o, it.index + 1, count);
    }
    o->loaded = code == HANGAR_OK;
    return code;
}

static void ports_write(const hg_ports *ports, const char *key, hg_jw *w)
{
    hg_jw_arr(w, key);
    for (size_t i = 0; i < ports->count; i++) {
        const hg_port *p = &ports->items[i];
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "name", p->name);
        hg_jw_text(w, "dtype", hg_type_name(p->type));
        hg_jw_arr(w, "shape");
        for (size_t d = 0; d < p->rank; d++) hg_jw_i64(w, NULL, p->dims[d]);
        hg_jw_end(w);
        hg_jw_end(w);
    }
    hg_jw_end(w);
}

hg_jw *hg_onnx_ready(const hg_onnx *o)
{
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "version", OrtGetApiBase()->GetVersionString());
    hg_jw_i64(w, "sandbox", o->sandbox);
    hg_jw_arr(w, "graphs");
    for (size_t i = 0; i < o->graph_count; i++) {
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "name", o->graphs[i].name);
        ports_write(&o->graphs[i].ins, "inputs", w);
        ports_write(&o->graphs[i].outs, "outputs", w);
        hg_jw_end(w);
    }
    hg_jw_end(w);
    return w;
}
