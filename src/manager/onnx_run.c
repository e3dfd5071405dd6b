/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/onnx_run.h"

#include "base/mem.h"
#include "convert/form.h"

#include <string.h>

#define ALIGN 64

static const struct {
    const char *name;
    size_t bytes;
} types[] = {
    [HG_OR_F32] = {"F32", 4}, [HG_OR_I64] = {"I64", 8}, [HG_OR_BOOL] = {"BOOL", 1}, [HG_OR_F16] = {"F16", 2}};

/* Bytes of one number. */
size_t hg_or_type_size(hg_or_type type)
{
    return types[type].bytes;
}

/* How many numbers a tensor has. */
size_t hg_or_count(const hg_or_tensor *t)
{
    uint64_t n = 1;
    for (size_t i = 0; i < t->rank; i++) {
        if (t->shape[i] < 0 || !hg_mul(n, (uint64_t)t->shape[i], &n)) return 0;
    }
    return (size_t)n;
}

/* Starts a runner with all graphs of an artifact. */
hangar_code hg_or_open(hangar *h, const hg_artifact *a, hangar_job *job, hg_or_session *out, hangar_err *err)
{
    *out = (hg_or_session){.job = job};
    HG_AUTO(hg_auto_free) char *load = NULL;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    if (!w) return hg_fail_memory(err);
    hg_jw_obj(w, NULL);
    hg_artifact_load_members(a, w);
    hg_jw_i64(w, "threads", h->settings->threads);
    hangar_code code = hg_jw_finish(w, false, &load, err);
    if (code != HANGAR_OK) return code;
    hg_runner_options options = {h->settings->load_timeout, h->settings->step_timeout};
    return hg_runner_start(hg_engine_get("onnx"), &options, hg_str_of(load), job, &out->runner, &out->ready,
                           err);
}

/* Ends it. */
void hg_or_close(hg_or_session *s)
{
    hg_runner_end(s->runner);
    hg_frame_deinit(&s->ready);
    *s = (hg_or_session){0};
}

/* The member of a list of objects that has this name. */
static const hg_jval *named(const hg_jval *list, const char *name)
{
    for (hg_json_iter it = hg_json_iter_of(list); hg_json_next(&it);) {
        if (hg_streq(hg_json_text(hg_json_get(it.val, "name")), name)) return it.val;
    }
    return NULL;
}

static const hg_jval *graph_of(const hg_or_session *s, const char *graph)
{
    return named(hg_json_get(hg_json_root(s->ready.doc), "graphs"), graph);
}

/* Reads "shape" of a port or an output; negative sizes are kept. */
static bool read_shape(const hg_jval *v, hg_or_tensor *out)
{
    const hg_jval *shape = hg_json_get(v, "shape");
    out->rank = hg_json_len(shape);
    if (!hg_json_is_array(shape) || out->rank > HG_OR_RANK_MAX) return false;
    for (hg_json_iter it = hg_json_iter_of(shape); hg_json_next(&it);) {
        if (!hg_json_i64(it.val, &out->shape[it.index])) return false;
    }
    return true;
}

static bool read_type(const hg_jval *v, hg_or_type *out)
{
    const char *dtype = hg_json_text_or(hg_json_get(v, "dtype"), "");
    for (size_t i = 0; i < HG_LEN(types); i++) {
        if (strcmp(types[i].name, dtype) != 0) continue;
        *out = (hg_or_type)i;
        return true;
    }
    return false;
}

/* What a graph says of an input or output. */
bool hg_or_port(const hg_or_session *s, const char *graph, const char *side, const char *name,
                hg_or_tensor *out)
{
    const hg_jval *port = named(hg_json_get(graph_of(s, graph), side), name);
    *out = (hg_or_tensor){.name = name};
    return port && read_type(port, &out->type) && read_shape(port, out);
}

/* The name of one input or output. */
const char *hg_or_name(const hg_or_session *s, const char *graph, const char *side, size_t index)
{
    return hg_json_text(hg_json_get(hg_json_at(hg_json_get(graph_of(s, graph), side), index), "name"));
}

static void describe(hg_jw *w, const hg_or_tensor *t, size_t offset)
{
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "name", t->name);
    if (t->kept) {
        hg_jw_text(w, "kept", t->kept);
    } else {
        hg_jw_text(w, "dtype", types[t->type].name);
        hg_jw_arr(w, "shape");
        for (size_t i = 0; i < t->rank; i++) hg_jw_i64(w, NULL, t->shape[i]);
        hg_jw_end(w);
        hg_jw_u64(w, "offset", offset);
        hg_jw_u64(w, "bytes", t->bytes);
    }
    hg_jw_end(w);
}

/* Runs a graph. */
hangar_code hg_or_run(hg_or_session *s, const hg_or_call *call, hg_frame *answer, hangar_err *err)
{
    static const char zeros[ALIGN];
    HG_AUTO(hg_auto_free) char *text = NULL;
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    hg_buf bin;
    if (!w) return hg_fail_memory(err);
    hg_buf_init(&bin, HG_WIRE_BIN_MAX);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "op", "run");
    hg_jw_text(w, "graph", call->graph);
    hg_jw_arr(w, "inputs");
    for (size_t i = 0; i < call->count; i++) {
        const hg_or_tensor *t = &call->inputs[i];
        hg_buf_add(&bin, zeros, (ALIGN - bin.len % ALIGN) % ALIGN);
        describe(w, t, bin.len);
        if (t->bytes) hg_buf_add(&bin, t->data, t->bytes);
    }
    hg_jw_end(w);
    hg_jw_arr(w, "outputs");
    if (call->output) hg_jw_text(w, NULL, call->output);
    hg_jw_end(w);
    hg_jw_arr(w, "keep");
    for (size_t i = 0; i < call->keep_count; i++) hg_jw_text(w, NULL, call->keep[i]);
    hangar_code code = hg_buf_check(&bin, err);
    if (code == HANGAR_OK) code = hg_jw_finish(w, false, &text, err);
    if (code == HANGAR_OK)
        code = hg_runner_call(s->runner, hg_str_of(text), bin.data, bin.len, NULL, NULL, s->job, answer, err);
    hg_buf_deinit(&bin);
    return code;
}

/* Finds an output. */
hangar_code hg_or_output(const hg_frame *answer, const char *name, hg_or_tensor *out, hangar_err *err)
{
    const hg_jval *v = named(hg_json_get(hg_json_root(answer->doc), "outputs"), name);
    uint64_t offset = 0, bytes = 0, end = 0, need = 0;
    *out = (hg_or_tensor){.name = name};
    bool ok = v && read_type(v, &out->type) && out->type == HG_OR_F32 && read_shape(v, out) &&
              hg_json_u64(hg_json_get(v, "offset"), &offset) &&
              hg_json_u64(hg_json_get(v, "bytes"), &bytes) && hg_add(offset, bytes, &end) &&
              end <= answer->bin_len && hg_mul(hg_or_count(out), sizeof(float), &need) && need == bytes &&
              offset % 4 == 0;
    if (!ok) return hg_fail(err, HANGAR_E_ENGINE, "the runner's answer has no proper output %s", name);
    out->data = bytes ? answer->bin + offset : NULL;
    out->bytes = (size_t)bytes;
    return HANGAR_OK;
}
