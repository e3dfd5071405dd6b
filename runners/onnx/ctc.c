/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Speech to one id per frame (wav2vec 2.0, HuBERT). A sound of one window goes through at once; a longer one in windows that overlap, of
 * which the frames at the seams, that know only one side of what is around them, are left out: the cut of transformers' pipeline with
 * chunk_length_s. Which ids are letters is hangar's business. Memory is bounded by a window and its logits.
 */
#include "runner.h"

#include "base/clock.h"
#include "base/mem.h"
#include "engine/wire.h"

#include <math.h>
#include <stdlib.h>

#define F32 ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT

typedef struct call {
    hg_onnx *o;
    hg_graph *graph;
    hg_stream sound;
    size_t window, stride, ratio, least; /* samples */
    bool normalize;
    float *input; /* [window] */
    size_t windows;
} call;

static hangar_code read_call(const hg_jval *doc, call *c, hangar_err *err)
{
    const struct {
        const char *key;
        uint64_t min;
        size_t *to;
    } numbers[] = {{"window", 1, &c->window},
                   {"stride", 0, &c->stride},
                   {"ratio", 1, &c->ratio},
                   {"least", 1, &c->least}};
    for (size_t i = 0; i < HG_LEN(numbers); i++) {
        uint64_t n = 0;
        if (!hg_json_u64(hg_json_get(doc, numbers[i].key), &n) || n < numbers[i].min ||
            n > HG_ONNX_CTC_WINDOW_MAX)
            return hg_fail(err, HANGAR_E_INVALID, "%s must be a number from %llu to %d", numbers[i].key,
                           (unsigned long long)numbers[i].min, HG_ONNX_CTC_WINDOW_MAX);
        *numbers[i].to = (size_t)n;
    }
    c->normalize = hg_json_bool_or(hg_json_get(doc, "normalize"), false);
    if (2 * c->stride < c->window && c->window % c->ratio == 0 && c->stride % c->ratio == 0) return HANGAR_OK;
    return hg_fail(err, HANGAR_E_INVALID, "window, stride and ratio do not fit");
}

/* The samples that the graph sees. The variance has 1e-7 added, as in Wav2Vec2FeatureExtractor. */
static void make_input(call *c, size_t count)
{
    double sum = 0, squares = 0;
    const float *x = c->sound.samples;
    for (size_t i = 0; i < count; i++) sum += x[i];
    double mean = c->normalize ? sum / (double)count : 0;
    for (size_t i = 0; i < count; i++) squares += (x[i] - mean) * (x[i] - mean);
    double scale = c->normalize ? 1 / sqrt(squares / (double)count + 1e-7) : 1;
    for (size_t i = 0; i < count; i++) c->input[i] = (float)((x[i] - mean) * scale);
}

/* Logits of the first `count` samples. */
static hangar_code run_graph(call *c, size_t count, OrtValue **out, hangar_err *err)
{
    int64_t dims[2] = {1, (int64_t)count};
    OrtValue *in = NULL;
    const char *in_name = "input_values", *out_name = "logits";
    if (!hg_port_get(&c->graph->ins, in_name) || !hg_port_get(&c->graph->outs, out_name))
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "graph %s has no %s or no %s", c->graph->name, in_name,
                       out_name);
    make_input(c, count);
    hangar_code code = hg_tensor_over(c->o, c->input, count * sizeof *c->input, dims, 2, F32, &in, err);
    if (code == HANGAR_OK)
        code = hg_onnx_check(c->o,
                             c->o->api->Run(c->graph->session, NULL, &in_name, (const OrtValue *const *)&in,
                                            1, &out_name, 1, out),
                             c->graph->name, err);
    hg_value_free(c->o, &in);
    return code;
}

/* The first of the largest numbers; `width` when one is not a number or none is finite. */
static size_t largest(const float *x, size_t width)
{
    size_t best = 0;
    for (size_t i = 0; i < width; i++) {
        if (isnan(x[i])) return width;
        if (x[i] > x[best]) best = i;
    }
    return width > 0 && isfinite(x[best]) ? best : width;
}

/* Sends the ids of the frames [from, to) of a window. */
static hangar_code send_piece(call *c, const OrtValue *logits, size_t from, size_t to, hangar_err *err)
{
    const void *data = NULL;
    int64_t dims[3];
    hangar_code code = hg_tensor_view(c->o, logits, F32, 3, &data, dims, err);
    if (code != HANGAR_OK) return code;
    if (dims[0] != 1 || dims[1] < 0 || dims[2] < 1)
        return hg_fail(err, HANGAR_E_INVALID, "graph %s gave logits of a shape that is none", c->graph->name);
    if (to > (size_t)dims[1]) to = (size_t)dims[1];
    size_t width = (size_t)dims[2];
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_u64(w, "window", c->windows);
    hg_jw_u64(w, "from", c->sound.offset / c->ratio + from);
    hg_jw_arr(w, "ids");
    for (size_t i = from; i < to; i++) {
        size_t id = largest((const float *)data + i * width, width);
        if (id == width)
            return hg_fail(err, HANGAR_E_ENGINE, "the model's numbers are not finite in frame %zu", i);
        hg_jw_u64(w, NULL, id);
    }
    hg_jw_end(w);
    hg_jw *done = w;
    w = NULL;
    return hg_wire_send_doc(c->o->fd, HG_WIRE_PIECE, done, NULL, 0, err);
}

/* One window of `count` samples; the last one when nothing follows. */
static hangar_code one_window(call *c, size_t count, bool last, hangar_err *err)
{
    if (count < c->least) return HANGAR_OK; /* too short for a single frame */
    OrtValue *logits = NULL;
    size_t frames = c->window / c->ratio, edge = c->stride / c->ratio;
    hangar_code code = run_graph(c, count, &logits, err);
    if (code == HANGAR_OK)
        code = send_piece(c, logits, c->windows ? edge : 0, last ? SIZE_MAX : frames - edge, err);
    hg_value_free(c->o, &logits);
    c->windows++;
    return code == HANGAR_OK ? hg_stream_between(&c->sound, err) : code;
}

static hangar_code all_windows(call *c, hangar_err *err)
{
    hangar_code code = hg_stream_fill(&c->sound, err);
    if (code == HANGAR_OK && c->sound.filled == 0)
        return hg_fail(err, HANGAR_E_INVALID, "there is no sound in the file");
    for (bool last = false; code == HANGAR_OK && !last;) {
        last = c->sound.filled <= c->window;
        size_t count = last ? c->sound.filled : c->window;
        code = one_window(c, count, last, err);
        hg_stream_drop(&c->sound, last ? count : c->window - 2 * c->stride);
        if (code == HANGAR_OK) code = hg_stream_fill(&c->sound, err);
    }
    return code;
}

hangar_code hg_onnx_ctc(hg_onnx *o, const hg_jval *doc, int audio, hg_jw **out_done, hangar_err *err)
{
    double from = hg_now();
    call c = {.o = o};
    hangar_code code = read_call(doc, &c, err);
    if (code == HANGAR_OK && !(c.graph = hg_onnx_graph(o, "model", err))) code = HANGAR_E_NOT_FOUND;
    if (code == HANGAR_OK && !(c.input = hg_calloc(c.window, sizeof *c.input))) code = hg_fail_memory(err);
    if (code == HANGAR_OK) code = hg_stream_open(&c.sound, o, audio, c.window, err);
    if (code == HANGAR_OK) code = all_windows(&c, err);
    if (code == HANGAR_OK) {
        hg_jw *w = hg_jw_new();
        hg_jw_obj(w, NULL);
        hg_jw_f64(w, "duration", (double)c.sound.offset / HG_MEL_RATE);
        hg_jw_u64(w, "windows", c.windows);
        hg_jw_f64(w, "seconds", hg_now() - from);
        *out_done = w;
    }
    hg_stream_close(&c.sound);
    free(c.input);
    return code;
}
