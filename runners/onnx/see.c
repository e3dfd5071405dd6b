/* SPDX-License-Identifier: Apache-2.0 */
/* The op "picture": a file of a picture to the numbers that a graph wants, and through it. */
#include "picture.h"

#include "base/fsx.h"
#include "base/mem.h"

#include <stdlib.h>
#include <sys/stat.h>

#define F32 ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT

/* A size of the frame; 0 when it is not there. */
static hangar_code read_size(const hg_jval *doc, const char *key, size_t *out, hangar_err *err)
{
    uint64_t n = 0;
    const hg_jval *v = hg_json_get(doc, key);
    if (hg_json_is_null(v)) return HANGAR_OK;
    if (!hg_json_u64(v, &n) || n < 1 || n > HG_ONNX_PICTURE_PREPARED_MAX)
        return hg_fail(err, HANGAR_E_INVALID, "%s must be a number from 1 to %d", key,
                       HG_ONNX_PICTURE_PREPARED_MAX);
    *out = (size_t)n;
    return HANGAR_OK;
}

static hangar_code read_prepare(const hg_jval *doc, hg_prepare *how, hangar_err *err)
{
    const struct {
        const char *key;
        size_t *to;
    } sizes[] = {{"height", &how->height},           {"width", &how->width},
                 {"shortest", &how->shortest},       {"longest", &how->longest},
                 {"crop_height", &how->crop_height}, {"crop_width", &how->crop_width}};
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; i < HG_LEN(sizes) && code == HANGAR_OK; i++)
        code = read_size(doc, sizes[i].key, sizes[i].to, err);
    if (code != HANGAR_OK) return code;
    how->resample = (int)hg_json_i64_or(hg_json_get(doc, "resample"), 2);
    how->scale = hg_json_f64_or(hg_json_get(doc, "scale"), 1);
    for (size_t c = 0; c < 3; c++) {
        how->mean[c] = hg_json_f64_or(hg_json_at(hg_json_get(doc, "mean"), c), 0);
        how->std[c] = hg_json_f64_or(hg_json_at(hg_json_get(doc, "std"), c), 1);
        if (how->std[c] == 0) return hg_fail(err, HANGAR_E_INVALID, "std must not be 0");
    }
    return HANGAR_OK;
}

/* The whole file. */
static hangar_code read_file(int fd, uint8_t **out, size_t *out_len, hangar_err *err)
{
    struct stat st;
    if (fd <= 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return hg_fail(err, HANGAR_E_INVALID, "the call came without a file");
    if (st.st_size > HG_ONNX_PICTURE_BYTES_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "the file has %lld bytes, at most %d are read as a picture",
                       (long long)st.st_size, HG_ONNX_PICTURE_BYTES_MAX);
    *out_len = (size_t)st.st_size;
    *out = hg_calloc(*out_len, 1);
    if (!*out) return hg_fail_memory(err);
    return hg_pread_all(fd, *out, *out_len, 0, err);
}

/* pixel_values [1][3][height][width] of the file, over *out, which is the caller's. */
static hangar_code see(hg_onnx *o, const hg_jval *doc, int fd, float **out, OrtValue **value, hangar_err *err)
{
    hg_prepare how = {0};
    hg_picture picture = {0};
    HG_AUTO(hg_auto_free) uint8_t *bytes = NULL;
    size_t len = 0, height = 0, width = 0;
    hangar_code code = read_prepare(hg_json_get(doc, "prepare"), &how, err);
    if (code == HANGAR_OK) code = read_file(fd, &bytes, &len, err);
    if (code == HANGAR_OK) code = hg_picture_decode(bytes, len, &picture, err);
    if (code == HANGAR_OK) code = hg_picture_prepare(&picture, &how, out, &height, &width, err);
    hg_picture_deinit(&picture);
    if (code != HANGAR_OK) return code;
    const int64_t dims[] = {1, 3, (int64_t)height, (int64_t)width};
    return hg_tensor_over(o, *out, 3 * (uint64_t)height * width * sizeof **out, dims, 4, F32, value, err);
}

hangar_code hg_onnx_picture(hg_onnx *o, const hg_jval *doc, int fd, hg_jw **out_done, void **out_bin,
                            size_t *out_len, hangar_err *err)
{
    HG_AUTO(hg_auto_free) float *pixels = NULL;
    OrtValue *in = NULL, *answer = NULL;
    const char *graph = hg_json_text(hg_json_get(doc, "graph")), *in_name = "pixel_values", *name = in_name;
    hg_graph *g = graph ? hg_onnx_graph(o, graph, err) : NULL;
    if (graph && !g) return HANGAR_E_NOT_FOUND;
    if (g) {
        const hg_port *port = hg_port_get(&g->outs, hg_json_text(hg_json_get(doc, "output")));
        if (!port || !hg_port_get(&g->ins, in_name))
            return hg_fail(err, HANGAR_E_INVALID, "graph %s has no %s or no such output", graph, in_name);
        name = port->name;
    }
    hangar_code code = see(o, doc, fd, &pixels, &in, err);
    if (code == HANGAR_OK && g)
        code = hg_onnx_check(o,
                             o->api->Run(g->session, NULL, &in_name, (const OrtValue *const *)&in, 1, &name,
                                         1, &answer),
                             g->name, err);
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    if (code == HANGAR_OK) code = hg_onnx_pack(o, g ? &answer : &in, &name, 1, w, out_bin, out_len, err);
    hg_value_free(o, &in);
    hg_value_free(o, &answer);
    if (code == HANGAR_OK) *out_done = w;
    else hg_jw_free(w);
    return code;
}
