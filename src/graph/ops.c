/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/ops.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define STANDARD ""

/* "[batch_size, 3, ?]" into out. */
static const char *shape_text(const hg_shape *s, char out[128])
{
    size_t n = 0;
    if (s->rank < 0) return "of unknown shape";
    out[n++] = '[';
    for (int i = 0; i < s->rank && n < 100; i++) {
        const hg_dim *d = &s->dims[i];
        const char *sep = i ? ", " : "";
        if (d->size >= 0) n += (size_t)snprintf(out + n, 128 - n, "%s%lld", sep, (long long)d->size);
        else n += (size_t)snprintf(out + n, 128 - n, "%s%.20s", sep, d->sym ? d->sym : "?");
    }
    snprintf(out + n, 128 - n, "]");
    return out;
}

/* The two cannot be the same size. */
static bool differ(hg_dim a, hg_dim b)
{
    return a.size >= 0 && b.size >= 0 && a.size != b.size;
}

/* What is known of a size that both describe. */
static hg_dim either(hg_dim a, hg_dim b)
{
    if (a.size >= 0) return a;
    if (b.size >= 0) return b;
    return a.sym ? a : b;
}

static void misfit(hg_graph *g, const char *name, const hg_value *a, const hg_value *b)
{
    char left[128], right[128];
    hg_graph_fail(g, HANGAR_E_INVALID, "%s: %s %s does not fit %s %s", name, a->name,
                  shape_text(&a->shape, left), b->name, shape_text(&b->shape, right));
}

static void need_type(hg_graph *g, const char *name, const hg_value *x, hg_onnx_type type)
{
    if (x->type != type && x->type != HG_ONNX_ANY) {
        hg_graph_fail(g, HANGAR_E_INVALID, "%s: %s is %s where %s is needed", name, x->name,
                      hg_onnx_type_name(x->type), hg_onnx_type_name(type));
    }
}

static void need_rank(hg_graph *g, const char *name, const hg_value *x, int rank)
{
    char shape[128];
    if (x->shape.rank >= 0 && x->shape.rank != rank) {
        hg_graph_fail(g, HANGAR_E_INVALID, "%s: %s %s where %d dimensions are needed", name, x->name,
                      shape_text(&x->shape, shape), rank);
    }
}

static hg_dim dim_of(const hg_value *x, int axis)
{
    return axis < x->shape.rank ? x->shape.dims[axis] : (hg_dim){-1, NULL};
}

static hg_dim last_of(const hg_value *x)
{
    return x->shape.rank > 0 ? x->shape.dims[x->shape.rank - 1] : (hg_dim){-1, NULL};
}

/* A node with one output. */
static hg_value *single(hg_graph *g, const char *domain, const char *op, const char *name,
                        hg_value *const *in, size_t count, hg_onnx_type type, hg_shape shape)
{
    return hg_node_out(g, hg_graph_node(g, domain, op, name, in, count, 1), 0, type, shape);
}

/* Reads the name of an activation as config.json spells it. */
bool hg_act_parse(const char *name, hg_act *out)
{
    static const struct {
        const char *name;
        hg_act act;
    } known[] = {{"gelu", HG_ACT_GELU},
                 {"gelu_new", HG_ACT_GELU_NEW},
                 {"gelu_pytorch_tanh", HG_ACT_GELU_NEW},
                 {"gelu_fast", HG_ACT_GELU_NEW},
                 {"quick_gelu", HG_ACT_QUICK_GELU},
                 {"relu", HG_ACT_RELU},
                 {"silu", HG_ACT_SILU},
                 {"swish", HG_ACT_SILU},
                 {"tanh", HG_ACT_TANH}};
    for (size_t i = 0; name && i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i].name, name) == 0) {
            *out = known[i].act;
            return true;
        }
    }
    return false;
}

/* Cast. */
hg_value *hg_op_cast(hg_graph *g, const char *name, hg_value *x, hg_onnx_type type)
{
    hg_node *n = hg_graph_node(g, STANDARD, "Cast", name, &x, 1, 1);
    hg_node_int(g, n, "to", type);
    return hg_node_out(g, n, 0, type, x->shape);
}

/* Gemm with transB: the weight stays as it lies. */
hg_value *hg_op_linear(hg_graph *g, const char *name, hg_value *x, hg_value *w, hg_value *b)
{
    need_type(g, name, x, HG_ONNX_FLOAT);
    need_type(g, name, w, HG_ONNX_FLOAT);
    need_rank(g, name, x, 2);
    need_rank(g, name, w, 2);
    if (differ(dim_of(x, 1), dim_of(w, 1))) misfit(g, name, w, x);
    if (b) {
        need_rank(g, name, b, 1);
        if (differ(dim_of(b, 0), dim_of(w, 0))) misfit(g, name, b, w);
    }
    hg_value *in[] = {x, w, b};
    hg_node *n = hg_graph_node(g, STANDARD, "Gemm", name, in, b ? 3 : 2, 1);
    hg_node_int(g, n, "transB", 1);
    return hg_node_out(g, n, 0, HG_ONNX_FLOAT, HG_SHAPE(dim_of(x, 0), dim_of(w, 0)));
}

static hg_value *broadcast(hg_graph *g, const char *op, const char *name, hg_value *a, hg_value *b)
{
    hg_shape out = {.rank = -1};
    need_type(g, name, b, a->type);
    if (a->shape.rank >= 0 && b->shape.rank >= 0) {
        const hg_shape *l = a->shape.rank >= b->shape.rank ? &a->shape : &b->shape;
        const hg_shape *s = l == &a->shape ? &b->shape : &a->shape;
        out = *l;
        int lead = l->rank - s->rank;
        for (int i = 0; i < s->rank; i++) {
            hg_dim x = l->dims[lead + i], y = s->dims[i];
            if (x.size == 1) out.dims[lead + i] = y;
            else if (y.size != 1 && differ(x, y)) misfit(g, name, a, b);
            else if (y.size != 1) out.dims[lead + i] = either(x, y);
        }
    }
    hg_value *in[] = {a, b};
    return single(g, STANDARD, op, name, in, 2, a->type, out);
}

/* Add. */
hg_value *hg_op_add(hg_graph *g, const char *name, hg_value *a, hg_value *b)
{
    return broadcast(g, "Add", name, a, b);
}

/* Mul. */
hg_value *hg_op_mul(hg_graph *g, const char *name, hg_value *a, hg_value *b)
{
    return broadcast(g, "Mul", name, a, b);
}

/* An activation. */
hg_value *hg_op_act(hg_graph *g, const char *name, hg_value *x, hg_act act)
{
    static const struct {
        const char *domain, *op;
    } ops[] = {[HG_ACT_GELU] = {HG_ONNX_MICROSOFT, "Gelu"},
               [HG_ACT_GELU_NEW] = {HG_ONNX_MICROSOFT, "FastGelu"},
               [HG_ACT_QUICK_GELU] = {HG_ONNX_MICROSOFT, "QuickGelu"},
               [HG_ACT_RELU] = {STANDARD, "Relu"},
               [HG_ACT_SILU] = {STANDARD, "Sigmoid"},
               [HG_ACT_TANH] = {STANDARD, "Tanh"}};
    need_type(g, name, x, HG_ONNX_FLOAT);
    if (act != HG_ACT_SILU) return single(g, ops[act].domain, ops[act].op, name, &x, 1, x->type, x->shape);
    char gate[HG_ONNX_NAME_MAX];
    snprintf(gate, sizeof gate, "%s.sigmoid", name);
    hg_value *y = single(g, STANDARD, ops[act].op, gate, &x, 1, x->type, x->shape);
    return hg_op_mul(g, name, x, y);
}

static void need_norm(hg_graph *g, const char *name, const hg_value *x, const hg_value *scale,
                      const hg_value *shift)
{
    need_type(g, name, x, HG_ONNX_FLOAT);
    need_rank(g, name, scale, 1);
    need_rank(g, name, shift, 1);
    if (differ(last_of(x), dim_of(scale, 0))) misfit(g, name, scale, x);
    if (differ(last_of(x), dim_of(shift, 0))) misfit(g, name, shift, x);
}

/* LayerNormalization. */
hg_value *hg_op_layer_norm(hg_graph *g, const char *name, hg_value *x, hg_value *scale, hg_value *shift,
                           float eps)
{
    need_norm(g, name, x, scale, shift);
    hg_value *in[] = {x, scale, shift};
    hg_node *n = hg_graph_node(g, STANDARD, "LayerNormalization", name, in, 3, 1);
    hg_node_float(g, n, "epsilon", eps);
    return hg_node_out(g, n, 0, x->type, x->shape);
}

/* SkipLayerNormalization; its outputs 1 and 2 (mean, deviation) are for training and left out. */
hg_value *hg_op_add_layer_norm(hg_graph *g, const char *name, hg_value *x, hg_value *y, hg_value *scale,
                               hg_value *shift, float eps, hg_value **sum)
{
    need_norm(g, name, x, scale, shift);
    need_rank(g, name, x, 2);
    if (differ(last_of(x), last_of(y)) || differ(dim_of(x, 0), dim_of(y, 0))) misfit(g, name, x, y);
    hg_value *in[] = {x, y, scale, shift};
    hg_node *n = hg_graph_node(g, HG_ONNX_MICROSOFT, "SkipLayerNormalization", name, in, 4, sum ? 4 : 1);
    hg_node_float(g, n, "epsilon", eps);
    if (sum) {
        hg_node_skip_out(g, n, 1);
        hg_node_skip_out(g, n, 2);
        *sum = hg_node_out(g, n, 3, x->type, x->shape);
    }
    return hg_node_out(g, n, 0, x->type, x->shape);
}

/* Gather. */
hg_value *hg_op_gather(hg_graph *g, const char *name, hg_value *data, hg_value *indices, int axis)
{
    hg_shape out = {.rank = -1};
    need_type(g, name, indices, HG_ONNX_INT64);
    int rank = data->shape.rank - 1 + indices->shape.rank;
    if (data->shape.rank > axis && indices->shape.rank >= 0 && rank <= HG_ONNX_RANK_MAX) {
        out.rank = 0;
        for (int i = 0; i < axis; i++) out.dims[out.rank++] = data->shape.dims[i];
        for (int i = 0; i < indices->shape.rank; i++) out.dims[out.rank++] = indices->shape.dims[i];
        for (int i = axis + 1; i < data->shape.rank; i++) out.dims[out.rank++] = data->shape.dims[i];
    } else {
        hg_graph_fail(g, HANGAR_E_INTERNAL, "%s: axis %d of %s", name, axis, data->name);
    }
    hg_value *in[] = {data, indices};
    hg_node *n = hg_graph_node(g, STANDARD, "Gather", name, in, 2, 1);
    if (axis) hg_node_int(g, n, "axis", axis);
    return hg_node_out(g, n, 0, data->type, out);
}

/* Reshape. */
hg_value *hg_op_reshape(hg_graph *g, const char *name, hg_value *x, hg_value *shape, hg_shape result)
{
    need_type(g, name, shape, HG_ONNX_INT64);
    hg_value *in[] = {x, shape};
    return single(g, STANDARD, "Reshape", name, in, 2, x->type, result);
}

/* Reshape to rows. */
hg_value *hg_op_rows(hg_graph *g, const char *name, hg_value *x)
{
    hg_dim last = last_of(x);
    if (last.size < 0)
        hg_graph_fail(g, HANGAR_E_INTERNAL, "%s: the last size of %s is not known", name, x->name);
    const int64_t numbers[] = {-1, last.size};
    return hg_op_reshape(g, name, x, hg_graph_ints(g, numbers, 2), HG_SHAPE(HG_SYM("rows"), last));
}

/* Transpose. */
hg_value *hg_op_transpose(hg_graph *g, const char *name, hg_value *x, const int64_t *perm)
{
    hg_shape out = x->shape;
    if (out.rank < 0) hg_graph_fail(g, HANGAR_E_INTERNAL, "%s: the rank of %s is not known", name, x->name);
    for (int i = 0; i < out.rank; i++) {
        if (perm[i] >= 0 && perm[i] < out.rank) out.dims[i] = x->shape.dims[perm[i]];
    }
    hg_node *n = hg_graph_node(g, STANDARD, "Transpose", name, &x, 1, 1);
    hg_node_ints(g, n, "perm", perm, out.rank > 0 ? (size_t)out.rank : 0);
    return hg_node_out(g, n, 0, x->type, out);
}

/* Concat of lists. */
hg_value *hg_op_concat_ints(hg_graph *g, const char *name, hg_value *const *parts, size_t count)
{
    int64_t size = 0;
    for (size_t i = 0; i < count; i++) {
        need_type(g, name, parts[i], HG_ONNX_INT64);
        need_rank(g, name, parts[i], 1);
        int64_t more = dim_of(parts[i], 0).size;
        size = size < 0 || more < 0 ? -1 : size + more;
    }
    hg_node *n = hg_graph_node(g, STANDARD, "Concat", name, parts, count, 1);
    hg_node_int(g, n, "axis", 0);
    return hg_node_out(g, n, 0, HG_ONNX_INT64, HG_SHAPE(HG_DIM(size)));
}

/* Shape. */
hg_value *hg_op_shape(hg_graph *g, const char *name, hg_value *x, int start, int end)
{
    hg_node *n = hg_graph_node(g, STANDARD, "Shape", name, &x, 1, 1);
    if (start) hg_node_int(g, n, "start", start);
    hg_node_int(g, n, "end", end);
    return hg_node_out(g, n, 0, HG_ONNX_INT64, HG_SHAPE(HG_DIM(end - start)));
}

/* Slice along axis 0. */
hg_value *hg_op_slice(hg_graph *g, const char *name, hg_value *x, hg_value *start, hg_value *end, hg_dim size)
{
    const int64_t zero = 0;
    hg_shape out = x->shape;
    if (out.rank > 0) out.dims[0] = size;
    hg_value *in[] = {x, start, end, hg_graph_ints(g, &zero, 1)};
    return single(g, STANDARD, "Slice", name, in, 4, x->type, out);
}

/* Conv over one axis. */
hg_value *hg_op_conv1d(hg_graph *g, const char *name, hg_value *x, hg_value *w, hg_value *b, int stride,
                       int pad)
{
    need_rank(g, name, x, 3);
    need_rank(g, name, w, 3);
    need_rank(g, name, b, 1);
    if (differ(dim_of(x, 1), dim_of(w, 1))) misfit(g, name, w, x);
    if (differ(dim_of(b, 0), dim_of(w, 0))) misfit(g, name, b, w);
    hg_dim length = dim_of(x, 2), kernel = dim_of(w, 2), out = {-1, NULL};
    if (length.size >= 0 && kernel.size > 0 && length.size + 2 * pad >= kernel.size) {
        out.size = (length.size + 2 * pad - kernel.size) / stride + 1;
    }
    const int64_t kernels[] = {kernel.size}, strides[] = {stride}, pads[] = {pad, pad};
    hg_value *in[] = {x, w, b};
    hg_node *n = hg_graph_node(g, STANDARD, "Conv", name, in, 3, 1);
    hg_node_ints(g, n, "kernel_shape", kernels, 1);
    hg_node_ints(g, n, "strides", strides, 1);
    hg_node_ints(g, n, "pads", pads, 2);
    return hg_node_out(g, n, 0, HG_ONNX_FLOAT, HG_SHAPE(dim_of(x, 0), dim_of(w, 0), out));
}

/* Constant. */
hg_value *hg_op_zeros(hg_graph *g, const char *name, hg_onnx_type type, hg_shape shape)
{
    hg_node *n = hg_graph_node(g, STANDARD, "Constant", name, NULL, 0, 1);
    hg_node_zeros(g, n, type, shape);
    return hg_node_out(g, n, 0, type, shape);
}

/* MultiHeadAttention: query, key, value, bias, key_padding_mask, attention_bias, past_key, past_value. */
hg_value *hg_op_attention(hg_graph *g, const char *name, const hg_attention *a)
{
    need_rank(g, name, a->q, 3);
    hg_dim width = dim_of(a->q, 2);
    if (a->heads < 1 || width.size < 1 || width.size % a->heads != 0) {
        hg_graph_fail(g, HANGAR_E_INVALID, "%s: %lld columns for %lld heads", name, (long long)width.size,
                      (long long)a->heads);
        return a->q;
    }
    if (a->mask) need_type(g, name, a->mask, HG_ONNX_INT32);
    if (a->k->shape.rank == 3 && differ(dim_of(a->k, 2), width)) misfit(g, name, a->k, a->q);
    hg_value *in[] = {a->q, a->k, a->v, NULL, a->mask, NULL, a->past_k, a->past_v};
    size_t count = a->past_k ? 8 : a->mask ? 5 : 3;
    bool present = a->present_k && a->present_v;
    hg_node *n = hg_graph_node(g, HG_ONNX_MICROSOFT, "MultiHeadAttention", name, in, count, present ? 3 : 1);
    hg_node_int(g, n, "num_heads", a->heads);
    if (a->causal) hg_node_int(g, n, "unidirectional", 1);
    /* What a padded key's score is lowered by: it vanishes, and a row without any key stays finite, as in transformers. */
    if (a->mask) hg_node_float(g, n, "mask_filter_value", -3.4028234663852886e38f);
    if (present) {
        hg_shape kept = HG_SHAPE(dim_of(a->q, 0), HG_DIM(a->heads), HG_SYM("total_sequence_length"),
                                 HG_DIM(width.size / a->heads));
        *a->present_k = hg_node_out(g, n, 1, HG_ONNX_FLOAT, kept);
        *a->present_v = hg_node_out(g, n, 2, HG_ONNX_FLOAT, kept);
    }
    return hg_node_out(g, n, 0, HG_ONNX_FLOAT, a->q->shape);
}

/* If. */
void hg_op_if(hg_graph *g, const char *name, hg_value *cond, hg_branch *then_branch, hg_branch *else_branch,
              const hg_shape *shapes, size_t count, hg_value **outputs)
{
    need_type(g, name, cond, HG_ONNX_BOOL);
    hg_node *n = hg_graph_node(g, STANDARD, "If", name, &cond, 1, count);
    hg_node_branch(g, n, "then_branch", then_branch);
    hg_node_branch(g, n, "else_branch", else_branch);
    for (size_t i = 0; i < count; i++) outputs[i] = hg_node_out(g, n, i, HG_ONNX_FLOAT, shapes[i]);
}
