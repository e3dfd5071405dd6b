/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors between frames and the engine, and the op that runs a graph on them. */
#include "runner.h"

#include "base/clock.h"
#include "base/mem.h"
#include "engine/wire.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    ONNXTensorElementDataType type;
    size_t size;
} types[] = {
    {"F32", ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, 4},  {"F16", ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16, 2},
    {"F64", ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE, 8}, {"I8", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8, 1},
    {"U8", ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, 1},   {"I16", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16, 2},
    {"I32", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32, 4},  {"I64", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, 8},
    {"BOOL", ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL, 1},
};

size_t hg_type_size(ONNXTensorElementDataType type)
{
    for (size_t i = 0; i < HG_LEN(types); i++)
        if (types[i].type == type) return types[i].size;
    return 0;
}

const char *hg_type_name(ONNXTensorElementDataType type)
{
    for (size_t i = 0; i < HG_LEN(types); i++)
        if (types[i].type == type) return types[i].name;
    return "?";
}

bool hg_type_parse(const char *name, ONNXTensorElementDataType *out)
{
    for (size_t i = 0; i < HG_LEN(types); i++)
        if (hg_streq(types[i].name, name)) {
            *out = types[i].type;
            return true;
        }
    return false;
}

bool hg_tensor_bytes(ONNXTensorElementDataType type, const int64_t *dims, size_t rank, uint64_t max,
                     uint64_t *out)
{
    uint64_t bytes = hg_type_size(type);
    bool empty = bytes == 0;
    for (size_t i = 0; i < rank; i++) {
        if (dims[i] < 0) return false;
        empty = empty || dims[i] == 0;
    }
    for (size_t i = 0; i < rank && !empty; i++)
        if (!hg_mul(bytes, (uint64_t)dims[i], &bytes)) return false;
    *out = empty ? 0 : bytes;
    return *out <= max;
}

hangar_code hg_tensor_over(const hg_onnx *o, const void *data, uint64_t bytes, const int64_t *dims,
                           size_t rank, ONNXTensorElementDataType type, OrtValue **out, hangar_err *err)
{
    static max_align_t nothing;
    void *at = bytes ? (void *)(uintptr_t)data : (void *)&nothing;
    return hg_onnx_check(o,
                         o->api->CreateTensorWithDataAsOrtValue(o->cpu, at, (size_t)bytes, dims, rank, type,
                                                                out),
                         "tensor", err);
}

void hg_value_free(const hg_onnx *o, OrtValue **value)
{
    if (*value) o->api->ReleaseValue(*value);
    *value = NULL;
}

/* Type and shape of a value. */
static hangar_code value_shape(const hg_onnx *o, const OrtValue *value, ONNXTensorElementDataType *type,
                               int64_t *dims, size_t *rank, hangar_err *err)
{
    OrtTensorTypeAndShapeInfo *info = NULL;
    hangar_code code = hg_onnx_check(o, o->api->GetTensorTypeAndShape(value, &info), "tensor", err);
    if (code == HANGAR_OK) code = hg_onnx_check(o, o->api->GetTensorElementType(info, type), "tensor", err);
    if (code == HANGAR_OK) code = hg_onnx_check(o, o->api->GetDimensionsCount(info, rank), "tensor", err);
    if (code == HANGAR_OK && *rank > HG_ONNX_RANK_MAX)
        code = hg_fail(err, HANGAR_E_LIMIT, "a tensor of %zu dimensions, at most %d are read", *rank,
                       HG_ONNX_RANK_MAX);
    if (code == HANGAR_OK) code = hg_onnx_check(o, o->api->GetDimensions(info, dims, *rank), "tensor", err);
    if (info) o->api->ReleaseTensorTypeAndShapeInfo(info);
    return code;
}

hangar_code hg_tensor_view(const hg_onnx *o, const OrtValue *value, ONNXTensorElementDataType type,
                           size_t rank, const void **out_data, int64_t *out_dims, hangar_err *err)
{
    ONNXTensorElementDataType got;
    size_t got_rank = 0;
    hangar_code code = value_shape(o, value, &got, out_dims, &got_rank, err);
    if (code != HANGAR_OK) return code;
    if (got != type || got_rank != rank)
        return hg_fail(err, HANGAR_E_INVALID, "a graph gave %s of %zu dimensions, wanted %s of %zu",
                       hg_type_name(got), got_rank, hg_type_name(type), rank);
    void *data = NULL;
    code = hg_onnx_check(o, o->api->GetTensorMutableData((OrtValue *)(uintptr_t)value, &data), "tensor", err);
    *out_data = data;
    return code;
}

/* The first `kept` outputs stay here, those behind them are sent. */
typedef struct run {
    OrtValue *ins[HG_ONNX_TENSORS_MAX], *outs[HG_ONNX_TENSORS_MAX];
    const char *in_names[HG_ONNX_TENSORS_MAX], *out_names[HG_ONNX_TENSORS_MAX];
    bool lent[HG_ONNX_TENSORS_MAX]; /* an input that is kept */
    size_t in_count, out_count, kept;
} run;

/* ---- outputs that are kept ---- */

static hg_kept *kept_of(hg_onnx *o, const char *name)
{
    for (size_t i = 0; i < o->kept_count; i++)
        if (strcmp(o->kept[i].name, name) == 0) return &o->kept[i];
    return NULL;
}

/* Takes the value over, in the place of the one of that name. */
static hangar_code keep(hg_onnx *o, const char *name, OrtValue **value, hangar_err *err)
{
    hg_kept *k = kept_of(o, name);
    if (!k && o->kept_count == HG_ONNX_TENSORS_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "more than %d outputs are kept", HG_ONNX_TENSORS_MAX);
    if (!k) {
        char *copy = hg_strdup(name);
        if (!copy) return hg_fail_memory(err);
        k = &o->kept[o->kept_count++];
        *k = (hg_kept){.name = copy};
    }
    hg_value_free(o, &k->value);
    k->value = *value;
    *value = NULL;
    return HANGAR_OK;
}

/* ---- run ---- */

/* One input of the call: what is kept, or the frame's bytes. */
static hangar_code read_input(hg_onnx *o, const hg_graph *g, const hg_jval *doc, const char *bin,
                              size_t bin_len, run *r, hangar_err *err)
{
    const char *name = hg_json_text_or(hg_json_get(doc, "name"), "");
    const char *kept = hg_json_text(hg_json_get(doc, "kept"));
    if (!hg_port_get(&g->ins, name))
        return hg_fail(err, HANGAR_E_INVALID, "graph %s has no input \"%s\"", g->name, name);
    r->in_names[r->in_count] = name;
    if (kept) {
        const hg_kept *k = kept_of(o, kept);
        if (!k) return hg_fail(err, HANGAR_E_INVALID, "input \"%s\": no output \"%s\" is kept", name, kept);
        r->ins[r->in_count] = k->value;
        r->lent[r->in_count++] = true;
        return HANGAR_OK;
    }
    ONNXTensorElementDataType type;
    int64_t dims[HG_ONNX_RANK_MAX];
    uint64_t offset = 0, bytes = 0, want = 0, end = 0;
    const hg_jval *shape = hg_json_get(doc, "shape");
    size_t rank = hg_json_len(shape);
    bool ok = hg_type_parse(hg_json_text_or(hg_json_get(doc, "dtype"), ""), &type) &&
              hg_json_is_array(shape) && rank <= HG_ONNX_RANK_MAX &&
              hg_json_u64(hg_json_get(doc, "bytes"), &bytes);
    for (hg_json_iter it = hg_json_iter_of(shape); ok && hg_json_next(&it);)
        ok = hg_json_i64(it.val, &dims[it.index]);
    ok = ok && hg_tensor_bytes(type, dims, rank, bytes, &want) && want == bytes;
    if (ok && bytes > 0)
        ok = hg_json_u64(hg_json_get(doc, "offset"), &offset) && hg_add(offset, bytes, &end) &&
             end <= bin_len && offset % hg_type_size(type) == 0;
    if (!ok) return hg_fail(err, HANGAR_E_INVALID, "input \"%s\": type, shape and place do not fit", name);
    hangar_code code = hg_tensor_over(o, bin + offset, bytes, dims, rank, type, &r->ins[r->in_count], err);
    if (code == HANGAR_OK) r->in_count++;
    return code;
}

static bool is_wanted(const run *r, const char *name)
{
    for (size_t i = 0; i < r->out_count; i++)
        if (strcmp(r->out_names[i], name) == 0) return true;
    return false;
}

/* Outputs of the graph by name, each once. */
static hangar_code read_names(const hg_graph *g, const hg_jval *list, run *r, hangar_err *err)
{
    for (hg_json_iter it = hg_json_iter_of(list); hg_json_next(&it);) {
        const char *name = hg_json_text_or(it.val, "");
        const hg_port *port = hg_port_get(&g->outs, name);
        if (!port) return hg_fail(err, HANGAR_E_INVALID, "graph %s has no output \"%s\"", g->name, name);
        if (is_wanted(r, name))
            return hg_fail(err, HANGAR_E_INVALID, "output \"%s\" is asked for twice", name);
        r->out_names[r->out_count++] = port->name;
    }
    return HANGAR_OK;
}

/* The outputs that are kept, then those that are sent: all others when none is named. A graph has no more than there is room for. */
static hangar_code read_outputs(const hg_graph *g, const hg_jval *sent, const hg_jval *kept, run *r,
                                hangar_err *err)
{
    hangar_code code = read_names(g, kept, r, err);
    size_t count = r->out_count;
    if (code == HANGAR_OK) code = read_names(g, sent, r, err);
    for (size_t i = 0; code == HANGAR_OK && i < g->outs.count && hg_json_len(sent) == 0; i++)
        if (!is_wanted(r, g->outs.items[i].name)) r->out_names[r->out_count++] = g->outs.items[i].name;
    r->kept = count;
    return code;
}

#define ALIGN 64

/* Places the values one behind the other: their bytes, their offsets and the sum. */
static hangar_code plan(const hg_onnx *o, OrtValue *const *values, const char *const *names, size_t count,
                        hg_jw *w, uint64_t *bytes, uint64_t *offsets, uint64_t *total, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    *total = 0;
    hg_jw_arr(w, "outputs");
    for (size_t i = 0; i < count && code == HANGAR_OK; i++) {
        ONNXTensorElementDataType type;
        int64_t dims[HG_ONNX_RANK_MAX];
        size_t rank = 0;
        code = value_shape(o, values[i], &type, dims, &rank, err);
        if (code != HANGAR_OK) break;
        if (hg_type_size(type) == 0)
            return hg_fail(err, HANGAR_E_UNSUPPORTED, "output \"%s\" has a type that does not travel",
                           names[i]);
        offsets[i] = (*total + ALIGN - 1) / ALIGN * ALIGN;
        if (!hg_tensor_bytes(type, dims, rank, HG_WIRE_BIN_MAX, &bytes[i]) ||
            offsets[i] + bytes[i] > HG_WIRE_BIN_MAX)
            return hg_fail(err, HANGAR_E_LIMIT, "the outputs are over the limit of %zu bytes",
                           HG_WIRE_BIN_MAX);
        *total = offsets[i] + bytes[i];
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "name", names[i]);
        hg_jw_text(w, "dtype", hg_type_name(type));
        hg_jw_arr(w, "shape");
        for (size_t d = 0; d < rank; d++) hg_jw_i64(w, NULL, dims[d]);
        hg_jw_end(w);
        hg_jw_u64(w, "offset", offsets[i]);
        hg_jw_u64(w, "bytes", bytes[i]);
        hg_jw_end(w);
    }
    hg_jw_end(w);
    return code;
}

hangar_code hg_onnx_pack(const hg_onnx *o, OrtValue *const *values, const char *const *names, size_t count,
                         hg_jw *w, void **out_bin, size_t *out_len, hangar_err *err)
{
    uint64_t bytes[HG_ONNX_TENSORS_MAX], offsets[HG_ONNX_TENSORS_MAX], total = 0;
    hangar_code code = plan(o, values, names, count, w, bytes, offsets, &total, err);
    if (code != HANGAR_OK) return code;
    char *bin = calloc(1, total ? (size_t)total : 1);
    if (!bin) return hg_fail_memory(err);
    for (size_t i = 0; i < count && code == HANGAR_OK; i++) {
        void *data = NULL;
        code = hg_onnx_check(o, o->api->GetTensorMutableData(values[i], &data), names[i], err);
        if (code == HANGAR_OK && bytes[i] > 0) memcpy(bin + offsets[i], data, (size_t)bytes[i]);
    }
    if (code != HANGAR_OK) {
        free(bin);
        return code;
    }
    *out_bin = bin;
    *out_len = (size_t)total;
    return HANGAR_OK;
}

/* Runs and packs. */
static hangar_code do_run(hg_onnx *o, hg_graph *g, run *r, hg_jw *w, void **out_bin, size_t *out_len,
                          hangar_err *err)
{
    double from = hg_now();
    hangar_code code =
        hg_onnx_check(o,
                      o->api->Run(g->session, NULL, r->in_names, (const OrtValue *const *)r->ins, r->in_count,
                                  r->out_names, r->out_count, r->outs),
                      g->name, err);
    hg_jw_obj(w, NULL);
    hg_jw_f64(w, "seconds", hg_now() - from);
    if (code == HANGAR_OK)
        code = hg_onnx_pack(o, r->outs + r->kept, r->out_names + r->kept, r->out_count - r->kept, w, out_bin,
                            out_len, err);
    for (size_t i = 0; code == HANGAR_OK && i < r->kept; i++)
        code = keep(o, r->out_names[i], &r->outs[i], err);
    return code;
}

hangar_code hg_onnx_run(hg_onnx *o, const hg_jval *call, const char *bin, size_t bin_len, hg_jw **out_done,
                        void **out_bin, size_t *out_len, hangar_err *err)
{
    hg_graph *g = hg_onnx_graph(o, hg_json_text(hg_json_get(call, "graph")), err);
    if (!g) return HANGAR_E_NOT_FOUND;
    const hg_jval *inputs = hg_json_get(call, "inputs");
    if (hg_json_len(inputs) > HG_ONNX_TENSORS_MAX) return hg_fail(err, HANGAR_E_LIMIT, "too many inputs");
    HG_AUTO(hg_auto_free) run *r = hg_calloc(1, sizeof *r);
    hg_jw *w = hg_jw_new();
    hangar_code code = r && w ? HANGAR_OK : hg_fail_memory(err);
    for (hg_json_iter it = hg_json_iter_of(inputs); code == HANGAR_OK && hg_json_next(&it);)
        code = read_input(o, g, it.val, bin, bin_len, r, err);
    if (code == HANGAR_OK)
        code = read_outputs(g, hg_json_get(call, "outputs"), hg_json_get(call, "keep"), r, err);
    if (code == HANGAR_OK) code = do_run(o, g, r, w, out_bin, out_len, err);
    for (size_t i = 0; r && i < r->in_count; i++)
        if (!r->lent[i]) hg_value_free(o, &r->ins[i]);
    for (size_t i = 0; r && i < r->out_count; i++) hg_value_free(o, &r->outs[i]);
    if (code != HANGAR_OK) hg_jw_free(w);
    else *out_done = w;
    return code;
}
