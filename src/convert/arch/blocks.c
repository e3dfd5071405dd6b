/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/arch/blocks.h"

#include <stdio.h>

/* prefix + scope + leaf: the name in the checkpoint. */
static const char *full_name(const hg_build *b, const char *leaf, char out[2 * HG_ONNX_NAME_MAX])
{
    const char *scope = hg_graph_scope(b->g);
    snprintf(out, 2 * HG_ONNX_NAME_MAX, "%s%s%s%s", b->prefix, scope, scope[0] ? "." : "", leaf);
    return out;
}

/* "a.b" into out. */
static const char *join(char out[HG_ONNX_NAME_MAX], const char *a, const char *b)
{
    int n = snprintf(out, HG_ONNX_NAME_MAX, "%s.%s", a, b);
    return n < HG_ONNX_NAME_MAX ? out : "(too long)"; /* names are the architectures' own literals */
}

/* Looks a weight up. */
bool hg_block_has(hg_build *b, const char *leaf)
{
    char name[2 * HG_ONNX_NAME_MAX];
    return hg_checkpoint_get(b->ck, full_name(b, leaf, name), NULL) != NULL;
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

/* The weight as it lies. */
hg_value *hg_block_raw(hg_build *b, const char *leaf, uint32_t rank, const uint64_t *shape)
{
    char name[2 * HG_ONNX_NAME_MAX], want[96], have[96];
    uint32_t file = 0;
    const hg_tensor *t = hg_checkpoint_get(b->ck, full_name(b, leaf, name), &file);
    hg_tensor none = {.name = name};
    if (!t) {
        hg_graph_fail(b->g, HANGAR_E_INVALID, "the checkpoint has no %s", name);
        t = &none;
    } else if (!shape_fits(t, rank, shape)) {
        hg_graph_fail(b->g, HANGAR_E_INVALID, "%s is %s, config.json asks for %s", name,
                      shape_text(have, t->rank, t->shape), shape_text(want, rank, shape));
    } else if (type_of(t->dtype) == HG_ONNX_ANY) {
        hg_graph_fail(b->g, HANGAR_E_UNSUPPORTED, "%s is of type %s; F32, F16, BF16 and F64 are converted",
                      name, hg_dtype_name(t->dtype));
    }
    return hg_graph_weight(b->g, name, type_of(t->dtype), t->rank, t->shape, file, t->offset, t->bytes);
}

static hg_value *as_float(hg_build *b, const char *leaf, hg_value *x)
{
    char name[HG_ONNX_NAME_MAX];
    if (x->type == HG_ONNX_FLOAT || x->type == HG_ONNX_ANY) return x;
    return hg_op_cast(b->g, join(name, leaf, "f32"), x, HG_ONNX_FLOAT);
}

/* The weight as F32. */
hg_value *hg_block_param(hg_build *b, const char *leaf, uint32_t rank, const uint64_t *shape)
{
    return as_float(b, leaf, hg_block_raw(b, leaf, rank, shape));
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

/* A Linear. */
hg_value *hg_block_linear(hg_build *b, const char *name, hg_value *x, uint64_t in, uint64_t out, bool bias)
{
    char leaf[HG_ONNX_NAME_MAX];
    hg_value *w = hg_block_matrix(b, join(leaf, name, "weight"), out, in);
    hg_value *c = bias ? hg_block_vector(b, join(leaf, name, "bias"), out) : NULL;
    return hg_op_linear(b->g, name, x, w, c);
}

static void norm_weights(hg_build *b, const char *name, uint64_t size, hg_value **scale, hg_value **shift)
{
    char leaf[HG_ONNX_NAME_MAX];
    bool old = hg_block_has(b, join(leaf, name, "gamma"));
    *scale = hg_block_vector(b, join(leaf, name, old ? "gamma" : "weight"), size);
    *shift = hg_block_vector(b, join(leaf, name, old ? "beta" : "bias"), size);
}

/* A LayerNorm. */
hg_value *hg_block_norm(hg_build *b, const char *name, hg_value *x, uint64_t size, double eps)
{
    hg_value *scale, *shift;
    norm_weights(b, name, size, &scale, &shift);
    return hg_op_layer_norm(b->g, name, x, scale, shift, (float)eps);
}

/* A LayerNorm of a sum. */
hg_value *hg_block_add_norm(hg_build *b, const char *name, hg_value *x, hg_value *y, uint64_t size,
                            double eps, hg_value **sum)
{
    hg_value *scale, *shift;
    norm_weights(b, name, size, &scale, &shift);
    return hg_op_add_layer_norm(b->g, name, x, y, scale, shift, (float)eps, sum);
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

/* A lookup; of a 16-bit table only the rows that are used become F32. */
hg_value *hg_block_embed(hg_build *b, const char *name, hg_value *ids, uint64_t rows, uint64_t width)
{
    char leaf[HG_ONNX_NAME_MAX];
    hg_value *table = hg_block_raw(b, join(leaf, name, "weight"), 2, (const uint64_t[]){rows, width});
    return as_float(b, name, hg_op_gather(b->g, name, table, ids, 0));
}

/* Some rows of a table. */
hg_value *hg_block_positions(hg_build *b, const char *name, hg_value *start, hg_value *end, uint64_t rows,
                             uint64_t width)
{
    char leaf[HG_ONNX_NAME_MAX];
    hg_value *table = hg_block_raw(b, join(leaf, name, "weight"), 2, (const uint64_t[]){rows, width});
    return as_float(b, name, hg_op_slice(b->g, name, table, start, end, HG_SYM("sequence_length")));
}

/* A convolution. */
hg_value *hg_block_conv3(hg_build *b, const char *name, hg_value *x, uint64_t in, uint64_t out, int stride)
{
    char leaf[HG_ONNX_NAME_MAX];
    hg_value *w = hg_block_param(b, join(leaf, name, "weight"), 3, (const uint64_t[]){out, in, 3});
    return hg_op_conv1d(b->g, name, x, w, hg_block_vector(b, join(leaf, name, "bias"), out), stride, 1);
}

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
