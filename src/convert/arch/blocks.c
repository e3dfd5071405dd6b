/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/arch/blocks.h"

#include "convert/quant/quant.h"

#include <stdio.h>

/* prefix + scope (or module) + leaf: the name in the checkpoint. */
static const char *full_name(const hg_build *b, const char *leaf, char out[2 * HG_ONNX_NAME_MAX])
{
    const char *scope = b->module ? b->module : hg_graph_scope(b->g);
    snprintf(out, 2 * HG_ONNX_NAME_MAX, "%s%s%s%s", b->prefix, scope, scope[0] ? "." : "", leaf);
    return out;
}

/* "a.b" into out. */
static const char *join(char out[HG_ONNX_NAME_MAX], const char *a, const char *b)
{
    int n = snprintf(out, HG_ONNX_NAME_MAX, "%s.%s", a, b);
    return n < HG_ONNX_NAME_MAX ? out : "(too long)"; /* names are the architectures' own literals */
}

/* ---- weights ---- */

static const hg_tensor *find(hg_build *b, const char *leaf, uint32_t *file)
{
    char name[2 * HG_ONNX_NAME_MAX];
    return hg_checkpoint_get(b->ck, full_name(b, leaf, name), file);
}

/* Looks a weight up. */
bool hg_block_has(hg_build *b, const char *leaf)
{
    return find(b, leaf, NULL) != NULL;
}

/* One of its sizes. */
uint64_t hg_block_size(hg_build *b, const char *leaf, uint32_t axis)
{
    const hg_tensor *t = find(b, leaf, NULL);
    return t && axis < t->rank ? t->shape[axis] : 0;
}

static hg_onnx_type type_of(hg_dtype dtype)
{
    switch (dtype) {
    case HG_DTYPE_F32: return HG_ONNX_FLOAT;
    case HG_DTYPE_F16: return HG_ONNX_FLOAT16;
    case HG_DTYPE_BF16: return HG_ONNX_BFLOAT16;
    case HG_DTYPE_F64: return HG_ONNX_DOUBLE;
    default: return HG_ONNX_ANY;
    }
}

static bool shape_fits(const hg_tensor *t, uint32_t rank, const uint64_t *shape)
{
    if (t->rank != rank) return false;
    for (uint32_t i = 0; i < rank; i++) {
        if (shape[i] != t->shape[i]) return false;
    }
    return true;
}

/* "[2, 3]" of a shape. */
static const char *shape_text(char out[96], uint32_t rank, const uint64_t *shape)
{
    size_t n = 0;
    out[n++] = '[';
    out[n] = 0;
    for (uint32_t i = 0; i < rank && n < 64; i++) {
        n += (size_t)snprintf(out + n, 96 - n, "%s%llu", i ? ", " : "", (unsigned long long)shape[i]);
    }
    snprintf(out + n, 96 - n, "]");
    return out;
}

/* The tensor of a leaf, held to shape and type; NULL after an error. */
static const hg_tensor *tensor_of(hg_build *b, const char *leaf, uint32_t rank, const uint64_t *shape,
                                  uint32_t *file)
{
    char name[2 * HG_ONNX_NAME_MAX], want[96], have[96];
    const hg_tensor *t = find(b, leaf, file);
    full_name(b, leaf, name);
    if (!t) {
        hg_graph_fail(b->g, HANGAR_E_INVALID, "the checkpoint has no %s", name);
    } else if (!shape_fits(t, rank, shape)) {
        hg_graph_fail(b->g, HANGAR_E_INVALID, "%s is %s, config.json asks for %s", name,
                      shape_text(have, t->rank, t->shape), shape_text(want, rank, shape));
    } else if (type_of(t->dtype) == HG_ONNX_ANY) {
        hg_graph_fail(b->g, HANGAR_E_UNSUPPORTED, "%s is of type %s; F32, F16, BF16 and F64 are converted",
                      name, hg_dtype_name(t->dtype));
    } else {
        return t;
    }
    return NULL;
}

/* What stands for a weight after an error, so that building goes on. */
static hg_value *nothing(hg_build *b, const char *leaf)
{
    hg_tensor none = {.name = leaf};
    return hg_graph_weight(b->g, none.name, HG_ONNX_ANY, 0, none.shape, 0, 0, 0);
}

/* The weight as it lies, or as the form has it. */
hg_value *hg_block_raw(hg_build *b, const char *leaf, uint32_t rank, const uint64_t *shape)
{
    uint32_t file = 0;
    const hg_tensor *t = tensor_of(b, leaf, rank, shape, &file);
    if (!t) return nothing(b, leaf);
    hg_value *made = hg_quant_param(b, t->name, t, file, 0, t->rank ? t->shape[0] : 1);
    if (made) return made;
    return hg_graph_weight(b->g, t->name, type_of(t->dtype), t->rank, t->shape, file, t->offset, t->bytes);
}

/* A weight that two nodes take is cast once. */
static hg_value *as_real(hg_build *b, const char *leaf, hg_value *x)
{
    char name[HG_ONNX_NAME_MAX];
    hg_onnx_type real = hg_graph_real(b->g);
    if (x->type == real || x->type == HG_ONNX_ANY) return x;
    join(name, leaf, real == HG_ONNX_FLOAT ? "f32" : "f16");
    hg_value *made = x->kind == HG_VALUE_WEIGHT ? hg_graph_made(b->g, name) : NULL;
    return made ? made : hg_op_cast(b->g, name, x, real);
}

/* The weight as reals. */
hg_value *hg_block_param(hg_build *b, const char *leaf, uint32_t rank, const uint64_t *shape)
{
    uint32_t file = 0;
    const hg_tensor *t = tensor_of(b, leaf, rank, shape, &file);
    if (!t) return nothing(b, leaf);
    hg_value *made = hg_quant_param(b, t->name, t, file, 0, t->rank ? t->shape[0] : 1);
    return made ? made : as_real(b, leaf, hg_block_raw(b, leaf, rank, shape));
}

/* One dimension. */
hg_value *hg_block_vector(hg_build *b, const char *leaf, uint64_t size)
{
    return hg_block_param(b, leaf, 1, &size);
}

/* Two dimensions. */
hg_value *hg_block_matrix(hg_build *b, const char *leaf, uint64_t rows, uint64_t columns)
{
    return hg_block_param(b, leaf, 2, (const uint64_t[]){rows, columns});
}

/* ---- linear ---- */

/* Rows [first, first + rows) of a tensor, as a weight of its own that points into the same bytes. */
static hg_value *some_rows(hg_build *b, const char *leaf, const hg_tensor *t, uint32_t file, uint64_t first,
                           uint64_t rows)
{
    char name[HG_ONNX_NAME_MAX], part[HG_ONNX_NAME_MAX];
    uint64_t each = t->bytes / t->shape[0];
    uint64_t shape[2] = {rows, t->rank > 1 ? t->shape[1] : 1};
    snprintf(name, sizeof name, "%s.rows_%llu_%llu", t->name, (unsigned long long)first,
             (unsigned long long)(first + rows));
    hg_value *made = hg_quant_param(b, name, t, file, first, rows);
    if (made) return made;
    hg_value *w = hg_graph_weight(b->g, name, type_of(t->dtype), t->rank, shape, file,
                                  t->offset + first * each, rows * each);
    snprintf(part, sizeof part, "%s.rows_%llu", leaf, (unsigned long long)first);
    return as_real(b, part, w);
}

/* One row. */
hg_value *hg_block_row(hg_build *b, const char *leaf, uint64_t row, uint64_t rows, uint64_t columns)
{
    uint32_t file = 0;
    const hg_tensor *t = tensor_of(b, leaf, 2, (const uint64_t[]){rows, columns}, &file);
    if (!t) return nothing(b, leaf);
    if (row >= rows) hg_graph_fail(b->g, HANGAR_E_INTERNAL, "%s: no such row", leaf);
    return some_rows(b, leaf, t, file, row < rows ? row : 0, 1);
}

/* The bias of a linear, or the part of it that belongs to its rows. */
static hg_value *bias_of(hg_build *b, const hg_linear *how)
{
    uint32_t file = 0;
    if (!how->bias) return NULL;
    if (!how->total) return hg_block_vector(b, how->bias, how->out);
    const hg_tensor *t = tensor_of(b, how->bias, 1, &how->total, &file);
    return t ? some_rows(b, how->bias, t, file, how->first, how->out) : nothing(b, how->bias);
}

/* A Linear in all its variants. */
hg_value *hg_block_linear_of(hg_build *b, const char *name, hg_value *x, const hg_linear *how)
{
    char leaf[HG_ONNX_NAME_MAX];
    const char *weight = how->weight ? how->weight : join(leaf, name, "weight");
    uint64_t rows = how->total ? how->total : how->out;
    uint64_t shape[] = {how->turned ? how->in : rows, how->turned ? rows : how->in};
    uint32_t file = 0;
    if (how->total && (how->first > how->total || how->out > how->total - how->first || how->turned)) {
        hg_graph_fail(b->g, HANGAR_E_INTERNAL, "%s: no such rows", name);
        return x;
    }
    const hg_tensor *t = tensor_of(b, weight, 2, shape, &file);
    hg_value *bias = bias_of(b, how);
    if (!t) return hg_op_linear(b->g, name, x, nothing(b, weight), bias);
    hg_matrix m = {t->name, t, file, how->in, how->out, how->first, how->turned};
    hg_value *y = how->exact ? NULL : hg_quant_linear(b, name, x, &m, bias);
    if (y) return y;
    if (how->turned) return hg_op_linear_turned(b->g, name, x, hg_block_param(b, weight, 2, shape), bias);
    hg_value *w = how->total ? some_rows(b, weight, t, file, how->first, how->out)
                             : hg_block_param(b, weight, 2, shape);
    return hg_op_linear(b->g, name, x, w, bias);
}

/* A Linear. */
hg_value *hg_block_linear(hg_build *b, const char *name, hg_value *x, uint64_t in, uint64_t out, bool bias)
{
    char leaf[HG_ONNX_NAME_MAX];
    return hg_block_linear_of(
        b, name, x, &(hg_linear){.in = in, .out = out, .bias = bias ? join(leaf, name, "bias") : NULL});
}

/* ---- norms ---- */

static void norm_weights(hg_build *b, const char *name, uint64_t size, hg_value **scale, hg_value **shift)
{
    char leaf[HG_ONNX_NAME_MAX];
    bool old = hg_block_has(b, join(leaf, name, "gamma"));
    *scale = hg_block_vector(b, join(leaf, name, old ? "gamma" : "weight"), size);
    bool shifted = hg_block_has(b, join(leaf, name, old ? "beta" : "bias"));
    *shift = shifted ? hg_block_vector(b, leaf, size) : NULL;
}

/* A LayerNorm. */
hg_value *hg_block_norm(hg_build *b, const char *name, hg_value *x, uint64_t size, double eps)
{
    hg_value *scale, *shift;
    norm_weights(b, name, size, &scale, &shift);
    return hg_op_layer_norm(b->g, name, x, scale, shift, eps);
}

/* A LayerNorm of a sum. */
hg_value *hg_block_add_norm(hg_build *b, const char *name, hg_value *x, hg_value *y, uint64_t size,
                            double eps, hg_value **sum)
{
    hg_value *scale, *shift;
    norm_weights(b, name, size, &scale, &shift);
    return hg_op_add_layer_norm(b->g, name, x, y, scale, shift, eps, sum);
}

/* weight + plus; the engine folds the sum. */
static hg_value *rms_weight(hg_build *b, const char *name, uint64_t size, double plus)
{
    char leaf[HG_ONNX_NAME_MAX], part[HG_ONNX_NAME_MAX];
    hg_value *w = hg_block_vector(b, join(leaf, name, "weight"), size);
    return plus == 0 ? w : hg_op_shift(b->g, join(part, name, "scale"), w, plus);
}

/* An RMSNorm. */
hg_value *hg_block_rms_norm(hg_build *b, const char *name, hg_value *x, uint64_t size, double eps,
                            double plus)
{
    return hg_op_rms_norm(b->g, name, x, rms_weight(b, name, size, plus), eps);
}

/* An RMSNorm of a sum. */
hg_value *hg_block_add_rms_norm(hg_build *b, const char *name, hg_value *x, hg_value *y, uint64_t size,
                                double eps, double plus, hg_value **sum)
{
    return hg_op_add_rms_norm(b->g, name, x, y, rms_weight(b, name, size, plus), eps, sum);
}

/* A LayerNorm of a stream. */
hg_value *hg_block_stream_norm(hg_build *b, const char *name, hg_stream *s, uint64_t size, double eps,
                               bool last)
{
    if (!s->y) return hg_block_norm(b, name, s->x, size, eps);
    hg_value *n = hg_block_add_norm(b, name, s->x, s->y, size, eps, last ? NULL : &s->x);
    s->y = NULL;
    return n;
}

/* An RMSNorm of a stream. */
hg_value *hg_block_stream_rms_norm(hg_build *b, const char *name, hg_stream *s, uint64_t size, double eps,
                                   double plus, bool last)
{
    if (!s->y) return hg_block_rms_norm(b, name, s->x, size, eps, plus);
    hg_value *n = hg_block_add_rms_norm(b, name, s->x, s->y, size, eps, plus, last ? NULL : &s->x);
    s->y = NULL;
    return n;
}

/* ---- tables, convolutions ---- */

/* A lookup; of a 16-bit table only the rows that are used change their type. */
hg_value *hg_block_embed(hg_build *b, const char *name, hg_value *ids, uint64_t rows, uint64_t width)
{
    char leaf[HG_ONNX_NAME_MAX];
    const uint64_t shape[] = {rows, width};
    uint32_t file = 0;
    const hg_tensor *t = tensor_of(b, join(leaf, name, "weight"), 2, shape, &file);
    if (!t) return hg_op_gather(b->g, name, nothing(b, leaf), ids, 0);
    hg_matrix m = {t->name, t, file, width, rows, 0, false};
    hg_value *x = hg_quant_embed(b, name, ids, &m);
    return x ? x : as_real(b, name, hg_op_gather(b->g, name, hg_block_raw(b, leaf, 2, shape), ids, 0));
}

/* Some rows of a table. */
hg_value *hg_block_positions(hg_build *b, const char *name, hg_value *start, hg_value *end, uint64_t rows,
                             uint64_t width)
{
    char leaf[HG_ONNX_NAME_MAX];
    hg_value *table = hg_block_raw(b, join(leaf, name, "weight"), 2, (const uint64_t[]){rows, width});
    return as_real(b, name, hg_op_slice(b->g, name, table, start, end, HG_SYM("sequence_length")));
}

/* A convolution. */
hg_value *hg_block_conv3(hg_build *b, const char *name, hg_value *x, uint64_t in, uint64_t out, int stride)
{
    char leaf[HG_ONNX_NAME_MAX];
    hg_value *w = hg_block_param(b, join(leaf, name, "weight"), 3, (const uint64_t[]){out, in, 3});
    return hg_op_conv(b->g, name, x, w, hg_block_vector(b, join(leaf, name, "bias"), out),
                      (hg_conv){.stride = stride, .pad = 1});
}

/* ---- batches ---- */

/* [B, S, width] as a list. */
hg_value *hg_block_batch_shape(hg_build *b, const char *name, hg_value *x, uint64_t width)
{
    char leaf[HG_ONNX_NAME_MAX];
    const int64_t last = (int64_t)width;
    hg_value *parts[] = {hg_op_shape(b->g, join(leaf, name, "sizes"), x, 0, 2),
                         hg_graph_ints(b->g, &last, 1)};
    return hg_op_concat_ints(b->g, name, parts, 2);
}

/* Rows as a batch. */
hg_value *hg_block_batch(hg_build *b, const char *name, hg_value *rows, hg_value *batch_shape, uint64_t width)
{
    return hg_op_reshape(b->g, name, rows, batch_shape,
                         HG_SHAPE(HG_SYM("batch_size"), HG_SYM("sequence_length"), HG_DIM(width)));
}

/* A Linear of rows as a batch. */
hg_value *hg_block_batch_linear(hg_build *b, const char *name, hg_value *rows, hg_value *batch_shape,
                                uint64_t width, bool bias)
{
    char leaf[HG_ONNX_NAME_MAX];
    return hg_block_batch(b, join(leaf, name, "view"), hg_block_linear(b, name, rows, width, width, bias),
                          batch_shape, width);
}

/* ---- inputs, outputs ---- */

/* Real numbers from outside. */
hg_value *hg_block_input(hg_build *b, const char *name, hg_shape shape)
{
    char part[HG_ONNX_NAME_MAX];
    hg_value *x = hg_graph_input(b->g, name, HG_ONNX_FLOAT, shape);
    return hg_op_cast(b->g, join(part, name, "real"), x, hg_graph_real(b->g));
}

/* Real numbers for outside. */
void hg_block_output(hg_build *b, const char *name, hg_value *x)
{
    char part[HG_ONNX_NAME_MAX];
    hg_graph_output(b->g, name, hg_op_cast(b->g, join(part, name, "f32"), x, HG_ONNX_FLOAT));
}

/* ---- config.json ---- */

/* Reads an activation. */
hg_act hg_block_act(hg_hfconfig *c, const char *key, const char *def)
{
    hg_act act = HG_ACT_GELU;
    const char *name = hg_hfconfig_text(c, key, def);
    if (!hg_act_parse(name, &act)) hg_hfconfig_wrong(c, HANGAR_E_UNSUPPORTED, "%s: %s", key, name);
    return act;
}

/* Refuses what nobody takes. */
void hg_block_refuse_common(hg_hfconfig *c)
{
    hg_hfconfig_refuse(c, "quantization_config");
    hg_hfconfig_refuse(c, "auto_map");
}
