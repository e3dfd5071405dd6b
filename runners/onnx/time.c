/* SPDX-License-Identifier: Apache-2.0 */
/* The op "time": how long a graph takes. Inputs are made here and outputs are dropped here, so that the socket has no part in it. */
#include "runner.h"

#include "base/clock.h"
#include "base/mem.h"
#include "engine/wire.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct timing {
    hg_onnx *o;
    hg_graph *graph;
    OrtValue *ins[HG_ONNX_TENSORS_MAX];
    const char *in_names[HG_ONNX_TENSORS_MAX], *out_names[HG_ONNX_TENSORS_MAX];
    size_t in_count, out_count;
    uint64_t bytes; /* of the inputs so far */
    uint64_t state; /* of the random numbers */
    bool of_other;  /* it is run for an input of another graph */
    double seconds[HG_ONNX_REPEATS_MAX];
    size_t count;
} timing;

/* A number of [0, 1). */
static double next_random(timing *t)
{
    t->state = t->state * 6364136223846793005u + 1442695040888963407u;
    return (double)(t->state >> 11) / 9007199254740992.0;
}

/* A finite number as 16 bits, cut towards zero; those below 2^-14 become 0. */
static uint16_t narrow(double x)
{
    int exponent = 0;
    double fraction = frexp(fabs(x), &exponent); /* [0.5, 1) x 2^exponent */
    uint16_t sign = x < 0 ? 0x8000 : 0;
    if (fraction == 0 || exponent < -13) return sign;
    if (exponent > 16) return sign | 0x7bff;
    return (uint16_t)(sign | (uint16_t)((exponent + 14) << 10) | (uint16_t)((fraction * 2 - 1) * 1024));
}

static void put(void *to, size_t i, ONNXTensorElementDataType type, double x)
{
    switch (type) {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT: ((float *)to)[i] = (float)x; break;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE: ((double *)to)[i] = x; break;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16: ((uint16_t *)to)[i] = narrow(x); break;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64: ((int64_t *)to)[i] = (int64_t)x; break;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32: ((int32_t *)to)[i] = (int32_t)x; break;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16: ((int16_t *)to)[i] = (int16_t)x; break;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL: ((uint8_t *)to)[i] = x != 0; break;
    default: ((uint8_t *)to)[i] = (uint8_t)x; break; /* one byte: those of hg_type_parse are all there */
    }
}

static bool is_real(ONNXTensorElementDataType type)
{
    return type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT || type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16 ||
           type == ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE;
}

/* What is to be filled in; false when the type cannot hold it. */
static bool read_fill(const hg_jval *doc, ONNXTensorElementDataType type, double *fill, double *random)
{
    double most = 9007199254740992.0; /* 2^53 */
    if (type == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32) most = INT32_MAX;
    else if (hg_type_size(type) == 2) most = INT16_MAX;
    else if (hg_type_size(type) == 1) most = INT8_MAX;
    *fill = 0;
    *random = 0;
    const hg_jval *below = hg_json_get(doc, "random");
    if (below) return hg_json_f64(below, random) && *random > 0 && *random <= most;
    return hg_json_f64(hg_json_get(doc, "fill"), fill) && fabs(*fill) <= most && (*fill >= 0 || most > 127);
}

/* An input that is made here. */
static hangar_code fill_input(timing *t, const char *name, const hg_jval *doc, hangar_err *err)
{
    const hg_jval *shape = hg_json_get(doc, "shape");
    size_t rank = hg_json_len(shape);
    int64_t dims[HG_ONNX_RANK_MAX];
    ONNXTensorElementDataType type;
    uint64_t bytes = 0;
    double fill, random;
    int64_t sound = hg_json_i64_or(hg_json_get(doc, "sound"), INT64_MAX);
    void *data = NULL;
    bool ok = hg_type_parse(hg_json_text_or(hg_json_get(doc, "dtype"), ""), &type) &&
              hg_json_is_array(shape) && rank <= HG_ONNX_RANK_MAX && read_fill(doc, type, &fill, &random) &&
              sound >= 0;
    for (hg_json_iter it = hg_json_iter_of(shape); ok && hg_json_next(&it);)
        ok = hg_json_i64(it.val, &dims[it.index]);
    if (!ok || !hg_tensor_bytes(type, dims, rank, HG_ONNX_FILLED_MAX - t->bytes, &bytes))
        return hg_fail(err, HANGAR_E_INVALID, "input \"%s\": type, shape and fill do not fit", name);
    t->bytes += bytes;
    t->in_names[t->in_count] = name;
    hangar_code code = hg_onnx_check(t->o,
                                     t->o->api->CreateTensorAsOrtValue(t->o->allocator, dims, rank, type,
                                                                       &t->ins[t->in_count]),
                                     name, err);
    if (code != HANGAR_OK) return code;
    code = hg_onnx_check(t->o, t->o->api->GetTensorMutableData(t->ins[t->in_count++], &data), name, err);
    size_t row = rank ? (size_t)dims[rank - 1] : 1;
    for (size_t i = 0; code == HANGAR_OK && i < bytes / hg_type_size(type); i++) {
        double x = random == 0                   ? fill
                   : (int64_t)(i % row) >= sound ? (is_real(type) ? -random : 0)
                   : is_real(type)               ? (2 * next_random(t) - 1) * random
                                                 : floor(next_random(t) * random);
        put(data, i, type, x);
    }
    return code;
}

static hangar_code make_input(timing *t, const hg_jval *doc, hangar_err *err);

static hangar_code make_inputs(timing *t, const hg_jval *list, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    if (hg_json_len(list) > HG_ONNX_TENSORS_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "a timing with more inputs than %d", HG_ONNX_TENSORS_MAX);
    for (hg_json_iter it = hg_json_iter_of(list); code == HANGAR_OK && hg_json_next(&it);)
        code = make_input(t, it.val, err);
    return code;
}

static void drop_inputs(timing *t)
{
    for (size_t i = 0; i < t->in_count; i++) hg_value_free(t->o, &t->ins[i]);
    t->in_count = 0;
}

/* An input that is the output of another graph, which is run for it once. */
static hangar_code run_input(timing *t, const char *name, const hg_jval *doc, hangar_err *err)
{
    const char *output = hg_json_text_or(hg_json_get(doc, "of"), "");
    hg_graph *graph = hg_onnx_graph(t->o, hg_json_text(hg_json_get(doc, "graph")), err);
    if (!graph) return HANGAR_E_NOT_FOUND;
    if (t->of_other || !hg_port_get(&graph->outs, output))
        return hg_fail(err, HANGAR_E_INVALID, "input \"%s\": graph %s cannot give \"%s\"", name, graph->name,
                       output);
    HG_AUTO(hg_auto_free) timing *other = hg_calloc(1, sizeof *other);
    if (!other) return hg_fail_memory(err);
    *other = (timing){.o = t->o, .graph = graph, .bytes = t->bytes, .of_other = true};
    hangar_code code = make_inputs(other, hg_json_get(doc, "inputs"), err);
    if (code == HANGAR_OK)
        code = hg_onnx_check(t->o,
                             t->o->api->Run(graph->session, NULL, other->in_names,
                                            (const OrtValue *const *)other->ins, other->in_count, &output, 1,
                                            &t->ins[t->in_count]),
                             graph->name, err);
    drop_inputs(other);
    if (code == HANGAR_OK) t->in_names[t->in_count++] = name;
    return code;
}

/* Makes one input. */
static hangar_code make_input(timing *t, const hg_jval *doc, hangar_err *err)
{
    const char *name = hg_json_text_or(hg_json_get(doc, "name"), "");
    if (!hg_port_get(&t->graph->ins, name))
        return hg_fail(err, HANGAR_E_INVALID, "graph %s has no input \"%s\"", t->graph->name, name);
    return hg_json_get(doc, "of") ? run_input(t, name, doc, err) : fill_input(t, name, doc, err);
}

/* One run; what comes out is dropped, behind the clock. */
static hangar_code run_once(timing *t, double *seconds, hangar_err *err)
{
    OrtValue *outs[HG_ONNX_TENSORS_MAX] = {0};
    double from = hg_now();
    hangar_code code =
        hg_onnx_check(t->o,
                      t->o->api->Run(t->graph->session, NULL, t->in_names, (const OrtValue *const *)t->ins,
                                     t->in_count, t->out_names, t->out_count, outs),
                      t->graph->name, err);
    *seconds = hg_now() - from;
    for (size_t i = 0; i < t->out_count; i++) hg_value_free(t->o, &outs[i]);
    return code;
}

static hangar_code send_tick(const timing *t, size_t done, size_t total, hangar_err *err)
{
    char text[64];
    int len = snprintf(text, sizeof text, "{\"done\":%zu,\"total\":%zu}", done, total);
    return hg_wire_send(t->o->fd, HG_WIRE_TICK, (hg_str){text, (size_t)len}, NULL, 0, err);
}

static hangar_code run_all(timing *t, size_t warm, size_t repeats, double limit, hangar_err *err)
{
    double from = hg_now(), last = 0;
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; i < warm + repeats && code == HANGAR_OK; i++) {
        if (i > 0 && hg_now() - from >= limit) break;
        code = run_once(t, &last, err);
        if (code == HANGAR_OK && i >= warm) t->seconds[t->count++] = last;
        if (code == HANGAR_OK && hg_wire_pending(t->o->fd))
            code = hg_fail(err, HANGAR_E_CANCELLED, "cancelled");
        if (code == HANGAR_OK) code = send_tick(t, i + 1, warm + repeats, err);
    }
    if (code == HANGAR_OK && t->count == 0) t->seconds[t->count++] = last;
    return code;
}

static hg_jw *done_frame(const timing *t)
{
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_arr(w, "seconds");
    for (size_t i = 0; i < t->count; i++) hg_jw_f64(w, NULL, t->seconds[i]);
    hg_jw_end(w);
    hg_jw_end(w);
    return w;
}

hangar_code hg_onnx_time(hg_onnx *o, const hg_jval *call, hg_jw **out_done, hangar_err *err)
{
    int64_t warm = hg_json_i64_or(hg_json_get(call, "warm"), 1),
            repeats = hg_json_i64_or(hg_json_get(call, "repeats"), 1);
    double limit = hg_json_f64_or(hg_json_get(call, "seconds"), 1);
    hg_graph *graph = hg_onnx_graph(o, hg_json_text(hg_json_get(call, "graph")), err);
    if (!graph) return HANGAR_E_NOT_FOUND;
    if (warm < 0 || warm > HG_ONNX_REPEATS_MAX || repeats < 1 || repeats > HG_ONNX_REPEATS_MAX || limit < 0)
        return hg_fail(err, HANGAR_E_LIMIT, "a timing with more runs than %d", HG_ONNX_REPEATS_MAX);
    HG_AUTO(hg_auto_free) timing *t = hg_calloc(1, sizeof *t);
    if (!t) return hg_fail_memory(err);
    t->o = o;
    t->graph = graph;
    hangar_code code = make_inputs(t, hg_json_get(call, "inputs"), err);
    for (size_t i = 0; i < graph->outs.count; i++) t->out_names[t->out_count++] = graph->outs.items[i].name;
    if (code == HANGAR_OK) code = run_all(t, (size_t)warm, (size_t)repeats, limit, err);
    drop_inputs(t);
    if (code == HANGAR_OK && !(*out_done = done_frame(t))) code = hg_fail_memory(err);
    return code;
}
