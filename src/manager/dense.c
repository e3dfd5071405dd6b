/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/dense.h"

#include "base/fsx.h"
#include "base/mem.h"
#include "format/safetensors.h"
#include "manager/load_onnx.h"

#include <math.h>
#include <stdlib.h>

#define WIDTH_MAX 65536
#define BYTES_MAX (256 * HG_MIB) /* of the weights, as floats */

struct hg_dense {
    size_t in, out;
    float *weight, *bias; /* [out][in]; [out] or NULL */
    double (*act)(double x);
};

static double identity(double x)
{
    return x;
}

static double relu(double x)
{
    return x > 0 ? x : 0;
}

static double gelu(double x)
{
    return x * 0.5 * (1 + erf(x / sqrt(2)));
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double silu(double x)
{
    return x * sigmoid(x);
}

static const struct {
    const char *name; /* the last word of "torch.nn.modules.activation.Tanh" */
    double (*fn)(double x);
} acts[] = {{"Identity", identity}, {"Tanh", tanh},       {"ReLU", relu},
            {"GELU", gelu},         {"Sigmoid", sigmoid}, {"SiLU", silu}};

/* ---- weights ---- */

/* A number of 16 bits with five of exponent (IEEE 754 binary16). */
static float from_half(uint16_t h)
{
    int exponent = h >> 10 & 31;
    double fraction = h & 1023, value = exponent == 31  ? (fraction > 0 ? NAN : INFINITY)
                                        : exponent == 0 ? ldexp(fraction, -24)
                                                        : ldexp(1024 + fraction, exponent - 25);
    return (float)(h & 0x8000 ? -value : value);
}

float hg_dense_number(const uint8_t *bytes, hg_dtype dtype, size_t i)
{
    uint32_t bits =
        dtype == HG_DTYPE_F32 ? (uint32_t)hg_little(bytes + 4 * i, 4) : (uint32_t)hg_little(bytes + 2 * i, 2);
    if (dtype == HG_DTYPE_F16) return from_half((uint16_t)bits);
    if (dtype == HG_DTYPE_BF16) bits <<= 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* A tensor [rows][columns], or [rows] when columns is 0, as floats of the caller's. */
static hangar_code read_tensor(const hg_map *map, const hg_safetensors *st, const char *name, size_t rows,
                               size_t columns, float **out, hangar_err *err)
{
    const hg_tensor *t = hg_safetensors_get(st, name);
    uint64_t count = (uint64_t)rows * (columns ? columns : 1), end = 0;
    bool ok =
        t && t->rank == (columns ? 2 : 1) && t->shape[0] == rows && (!columns || t->shape[1] == columns);
    if (!ok) return hg_fail(err, HANGAR_E_INVALID, "%s is missing or has another shape", name);
    if (t->dtype != HG_DTYPE_F32 && t->dtype != HG_DTYPE_F16 && t->dtype != HG_DTYPE_BF16)
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "%s is of type %s", name, hg_dtype_name(t->dtype));
    if (!hg_add(t->offset, t->bytes, &end) || end > map->len ||
        t->bytes != count * hg_dtype_bits(t->dtype) / 8)
        return hg_fail(err, HANGAR_E_INVALID, "%s does not lie in the file", name);
    *out = hg_calloc((size_t)count, sizeof **out);
    if (!*out) return hg_fail_memory(err);
    for (size_t i = 0; i < count; i++)
        (*out)[i] = hg_dense_number((const uint8_t *)map->data + t->offset, t->dtype, i);
    return HANGAR_OK;
}

static hangar_code read_weights(const char *path, bool bias, hg_dense *d, hangar_err *err)
{
    HG_AUTO(hg_safetensors_auto_free) hg_safetensors *st = NULL;
    hg_map map = {0};
    hangar_code code = hg_map_open(path, &map, err);
    if (code != HANGAR_OK) return code;
    code = hg_safetensors_parse((const uint8_t *)map.data, map.len, map.len, &st, err);
    if (code == HANGAR_OK) code = read_tensor(&map, st, "linear.weight", d->out, d->in, &d->weight, err);
    if (code == HANGAR_OK && bias) code = read_tensor(&map, st, "linear.bias", d->out, 0, &d->bias, err);
    hg_map_close(&map);
    return code;
}

/* ---- the module ---- */

static hangar_code read_config(const hg_jval *root, hg_dense *d, bool *bias, hangar_err *err)
{
    uint64_t in = 0, out = 0;
    const char *act = hg_json_text_or(hg_json_get(root, "activation_function"),
                                      "torch.nn.modules.activation.Tanh"); /* as there */
    const char *dot = strrchr(act, '.'), *name = dot ? dot + 1 : act;
    if (!hg_json_u64(hg_json_get(root, "in_features"), &in) ||
        !hg_json_u64(hg_json_get(root, "out_features"), &out) || in < 1 || in > WIDTH_MAX || out < 1 ||
        out > WIDTH_MAX || in * out * sizeof(float) > BYTES_MAX)
        return hg_fail(err, HANGAR_E_INVALID,
                       "in_features and out_features are not from 1 to %d, or too large", WIDTH_MAX);
    d->in = (size_t)in;
    d->out = (size_t)out;
    *bias = hg_json_bool_or(hg_json_get(root, "bias"), true);
    for (size_t i = 0; i < HG_LEN(acts); i++)
        if (hg_streq(name, acts[i].name)) d->act = acts[i].fn;
    return d->act ? HANGAR_OK : hg_fail(err, HANGAR_E_UNSUPPORTED, "activation_function \"%s\"", act);
}

static hangar_code read_all(const hg_snapshot *snap, const char *folder, hg_dense *d, hangar_err *err)
{
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    HG_AUTO(hg_auto_free) char *config = hg_path_join(folder, "config.json");
    HG_AUTO(hg_auto_free) char *weights = hg_path_join(folder, "model.safetensors");
    bool bias = false;
    if (!config || !weights) return hg_fail_memory(err);
    hangar_code code = hg_load_json(snap, config, &doc, err);
    if (code == HANGAR_OK && !doc) code = hg_fail(err, HANGAR_E_INVALID, "%s is missing", config);
    if (code == HANGAR_OK) code = hg_wrap(err, read_config(hg_json_root(doc), d, &bias, err), "%s", config);
    if (code != HANGAR_OK) return code;
    if (!hg_snapshot_file_get(snap, weights))
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "%s is missing; its weights are read from no other file",
                       weights);
    HG_AUTO(hg_auto_free) char *path = hg_snapshot_file_path(snap, weights);
    if (!path) return hg_fail_memory(err);
    return hg_wrap(err, read_weights(path, bias, d, err), "%s", weights);
}

hangar_code hg_dense_open(const hg_snapshot *snap, const char *folder, hg_dense **out, hangar_err *err)
{
    *out = NULL;
    hg_dense *d = hg_calloc(1, sizeof *d);
    if (!d) return hg_fail_memory(err);
    hangar_code code = read_all(snap, folder, d, err);
    if (code == HANGAR_OK) *out = d;
    else hg_dense_free(d);
    return code;
}

void hg_dense_free(hg_dense *d)
{
    if (!d) return;
    free(d->weight);
    free(d->bias);
    free(d);
}

size_t hg_dense_in(const hg_dense *d)
{
    return d->in;
}

size_t hg_dense_out(const hg_dense *d)
{
    return d->out;
}

void hg_dense_run(const hg_dense *d, const float *x, float *y)
{
    for (size_t o = 0; o < d->out; o++) {
        double sum = d->bias ? (double)d->bias[o] : 0;
        for (size_t i = 0; i < d->in; i++) sum += (double)d->weight[o * d->in + i] * x[i];
        y[o] = (float)d->act(sum);
    }
}
