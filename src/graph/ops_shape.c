/* SPDX-License-Identifier: Apache-2.0 */
/* Operators that move numbers and change none, and those that count. */
#include "graph/ops_inner.h"

/* Gather. */
hg_value *hg_op_gather(hg_graph *g, const char *name, hg_value *data, hg_value *indices, int axis)
{
    hg_shape out = {.rank = -1};
    hg_op_need_type(g, name, indices, HG_ONNX_INT64);
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
    hg_node *n = hg_graph_node(g, HG_OP_STANDARD, "Gather", name, in, 2, 1);
    if (axis) hg_node_int(g, n, "axis", axis);
    return hg_node_out(g, n, 0, data->type, out);
}

hg_value *hg_op_gather_last(hg_graph *g, const char *name, hg_value *data, hg_value *indices)
{
    hg_op_need_type(g, name, indices, HG_ONNX_INT64);
    hg_op_need_rank(g, name, indices, data->shape.rank);
    hg_value *in[] = {data, indices};
    hg_node *n = hg_graph_node(g, HG_OP_STANDARD, "GatherElements", name, in, 2, 1);
    hg_node_int(g, n, "axis", -1);
    return hg_node_out(g, n, 0, data->type, indices->shape);
}

/* Reshape. */
hg_value *hg_op_reshape(hg_graph *g, const char *name, hg_value *x, hg_value *shape, hg_shape result)
{
    hg_op_need_type(g, name, shape, HG_ONNX_INT64);
    hg_value *in[] = {x, shape};
    return hg_op_single(g, HG_OP_STANDARD, "Reshape", name, in, 2, x->type, result);
}

/* What a -1 stands for, when all of x is known and the rest of the shape is. */
static int64_t what_is_left(const hg_value *x, const hg_shape *out)
{
    int64_t all = 1, have = 1;
    for (int i = 0; i < x->shape.rank; i++) {
        if (x->shape.dims[i].size < 0) return -1;
        all *= x->shape.dims[i].size;
    }
    for (int i = 0; i < out->rank; i++)
        if (out->dims[i].size >= 0) have *= out->dims[i].size;
    return have > 0 ? all / have : -1;
}

hg_value *hg_op_view(hg_graph *g, const char *name, hg_value *x, const int64_t *shape, size_t count)
{
    hg_shape out = {.rank = (int)count};
    int left = -1;
    if (count > HG_ONNX_RANK_MAX) {
        hg_graph_fail(g, HANGAR_E_INTERNAL, "%s: %zu axes", name, count);
        return x;
    }
    for (size_t i = 0; i < count; i++) {
        if (shape[i] < 0) left = (int)i;
        out.dims[i] = shape[i] == 0  ? hg_op_dim(x, (int)i)
                      : shape[i] > 0 ? HG_DIM(shape[i])
                                     : (hg_dim){-1, NULL};
    }
    bool open = false; /* another size than the one that is left is not known, either */
    for (int i = 0; i < out.rank; i++) open = open || (i != left && out.dims[i].size < 0);
    if (left >= 0 && !open && x->shape.rank >= 0) out.dims[left].size = what_is_left(x, &out);
    return hg_op_reshape(g, name, x, hg_graph_ints(g, shape, count), out);
}

/* Reshape to rows. */
hg_value *hg_op_rows(hg_graph *g, const char *name, hg_value *x)
{
    hg_dim last = hg_op_dim(x, -1);
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
    hg_node *n = hg_graph_node(g, HG_OP_STANDARD, "Transpose", name, &x, 1, 1);
    hg_node_ints(g, n, "perm", perm, out.rank > 0 ? (size_t)out.rank : 0);
    return hg_node_out(g, n, 0, x->type, out);
}

hg_value *hg_op_unsqueeze(hg_graph *g, const char *name, hg_value *x, int axis)
{
    const int64_t axes = axis;
    hg_shape out = x->shape;
    if (out.rank < 0 || out.rank == HG_ONNX_RANK_MAX || axis < 0 || axis > out.rank) {
        hg_graph_fail(g, HANGAR_E_INTERNAL, "%s: axis %d of %s", name, axis, x->name);
        return x;
    }
    for (int i = out.rank++; i > axis; i--) out.dims[i] = out.dims[i - 1];
    out.dims[axis] = HG_DIM(1);
    hg_value *in[] = {x, hg_graph_ints(g, &axes, 1)};
    return hg_op_single(g, HG_OP_STANDARD, "Unsqueeze", name, in, 2, x->type, out);
}

hg_value *hg_op_squeeze(hg_graph *g, const char *name, hg_value *x, int axis)
{
    const int64_t axes = axis;
    hg_shape out = x->shape;
    if (axis < 0 || axis >= out.rank || (out.dims[axis].size >= 0 && out.dims[axis].size != 1)) {
        hg_graph_fail(g, HANGAR_E_INTERNAL, "%s: axis %d of %s", name, axis, x->name);
        return x;
    }
    out.rank--;
    for (int i = axis; i < out.rank; i++) out.dims[i] = out.dims[i + 1];
    hg_value *in[] = {x, hg_graph_ints(g, &axes, 1)};
    return hg_op_single(g, HG_OP_STANDARD, "Squeeze", name, in, 2, x->type, out);
}

hg_value *hg_op_expand(hg_graph *g, const char *name, hg_value *x, hg_value *shape, hg_shape result)
{
    hg_op_need_type(g, name, shape, HG_ONNX_INT64);
    hg_value *in[] = {x, shape};
    return hg_op_single(g, HG_OP_STANDARD, "Expand", name, in, 2, x->type, result);
}

hg_value *hg_op_concat(hg_graph *g, const char *name, hg_value *const *parts, size_t count, int axis)
{
    hg_shape out = parts[0]->shape;
    for (size_t i = 1; i < count; i++) {
        hg_op_need_type(g, name, parts[i], parts[0]->type);
        hg_op_need_rank(g, name, parts[i], out.rank);
        for (int j = 0; j < out.rank; j++) {
            hg_dim *d = &out.dims[j], e = hg_op_dim(parts[i], j);
            if (j == axis) *d = d->size >= 0 && e.size >= 0 ? HG_DIM(d->size + e.size) : (hg_dim){-1, NULL};
            else if (hg_op_differ(*d, e)) hg_op_misfit(g, name, parts[i], parts[0]);
            else *d = hg_op_either(*d, e);
        }
    }
    hg_node *n = hg_graph_node(g, HG_OP_STANDARD, "Concat", name, parts, count, 1);
    hg_node_int(g, n, "axis", axis);
    return hg_node_out(g, n, 0, parts[0]->type, out);
}

hg_value *hg_op_concat_ints(hg_graph *g, const char *name, hg_value *const *parts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        hg_op_need_type(g, name, parts[i], HG_ONNX_INT64);
        hg_op_need_rank(g, name, parts[i], 1);
    }
    return hg_op_concat(g, name, parts, count, 0);
}

void hg_op_split(hg_graph *g, const char *name, hg_value *x, int axis, const int64_t *sizes, size_t count,
                 hg_value **out)
{
    int64_t all = 0;
    if (axis < 0) axis += x->shape.rank;
    for (size_t i = 0; i < count; i++) all += sizes[i];
    if (hg_op_differ(hg_op_dim(x, axis), HG_DIM(all)))
        hg_graph_fail(g, HANGAR_E_INVALID, "%s: %s is not cut into %lld", name, x->name, (long long)all);
    hg_value *in[] = {x, hg_graph_ints(g, sizes, count)};
    hg_node *n = hg_graph_node(g, HG_OP_STANDARD, "Split", name, in, 2, count);
    hg_node_int(g, n, "axis", axis);
    for (size_t i = 0; i < count; i++) {
        hg_shape shape = x->shape;
        if (axis >= 0 && axis < shape.rank) shape.dims[axis] = HG_DIM(sizes[i]);
        out[i] = hg_node_out(g, n, i, x->type, shape);
    }
}

void hg_op_split_by(hg_graph *g, const char *name, hg_value *x, int axis, hg_value *sizes, size_t count,
                    const char *symbol, hg_value **out)
{
    hg_op_need_type(g, name, sizes, HG_ONNX_INT64);
    hg_op_need_rank(g, name, sizes, 1);
    if (hg_op_differ(hg_op_dim(sizes, 0), HG_DIM(count)))
        hg_graph_fail(g, HANGAR_E_INTERNAL, "%s: %s is not %zu sizes", name, sizes->name, count);
    hg_value *in[] = {x, sizes};
    hg_node *n = hg_graph_node(g, HG_OP_STANDARD, "Split", name, in, 2, count);
    hg_node_int(g, n, "axis", axis);
    for (size_t i = 0; i < count; i++) {
        hg_shape shape = x->shape;
        if (axis >= 0 && axis < shape.rank) shape.dims[axis] = HG_SYM(symbol);
        out[i] = hg_node_out(g, n, i, x->type, shape);
    }
}

/* Shape. */
hg_value *hg_op_shape(hg_graph *g, const char *name, hg_value *x, int start, int end)
{
    hg_node *n = hg_graph_node(g, HG_OP_STANDARD, "Shape", name, &x, 1, 1);
    if (start) hg_node_int(g, n, "start", start);
    hg_node_int(g, n, "end", end);
    return hg_node_out(g, n, 0, HG_ONNX_INT64, HG_SHAPE(HG_DIM(end - start)));
}

hg_value *hg_op_size(hg_graph *g, const char *name, hg_value *x, int axis)
{
    char part[HG_ONNX_NAME_MAX];
    return hg_op_squeeze(g, name, hg_op_shape(g, hg_op_join(part, name, "list"), x, axis, axis + 1), 0);
}

hg_value *hg_op_slice_axis(hg_graph *g, const char *name, hg_value *x, int axis, hg_value *start,
                           hg_value *end, hg_dim size)
{
    const int64_t axes = axis;
    hg_shape out = x->shape;
    if (axis >= 0 && axis < out.rank) out.dims[axis] = size;
    hg_value *in[] = {x, start, end, hg_graph_ints(g, &axes, 1)};
    return hg_op_single(g, HG_OP_STANDARD, "Slice", name, in, 4, x->type, out);
}

hg_value *hg_op_slice(hg_graph *g, const char *name, hg_value *x, hg_value *start, hg_value *end, hg_dim size)
{
    return hg_op_slice_axis(g, name, x, 0, start, end, size);
}

hg_value *hg_op_range(hg_graph *g, const char *name, hg_value *from, hg_value *below, const char *symbol)
{
    hg_op_need_type(g, name, from, HG_ONNX_INT64);
    hg_op_need_type(g, name, below, HG_ONNX_INT64);
    hg_value *in[] = {from, below, hg_graph_int(g, 1)};
    return hg_op_single(g, HG_OP_STANDARD, "Range", name, in, 3, HG_ONNX_INT64, HG_SHAPE(HG_SYM(symbol)));
}

/* Constant. */
hg_value *hg_op_zeros(hg_graph *g, const char *name, hg_onnx_type type, hg_shape shape)
{
    hg_node *n = hg_graph_node(g, HG_OP_STANDARD, "Constant", name, NULL, 0, 1);
    hg_node_zeros(g, n, type, shape);
    return hg_node_out(g, n, 0, type, shape);
}

/* NonZero gives [rank, N], sorted by the first axis, then by the second. */
hg_value *hg_op_where_true(hg_graph *g, const char *name, hg_value *x)
{
    char part[HG_ONNX_NAME_MAX];
    hg_op_need_type(g, name, x, HG_ONNX_BOOL);
    if (x->shape.rank != 2) hg_op_need_rank(g, name, x, 1);
    hg_value *all =
        hg_op_single(g, HG_OP_STANDARD, "NonZero", hg_op_join(part, name, "list"), &x, 1, HG_ONNX_INT64,
                     HG_SHAPE(HG_DIM(x->shape.rank == 2 ? 2 : 1), HG_SYM("chosen")));
    if (x->shape.rank == 2) return hg_op_gather(g, name, all, hg_graph_int(g, 1), 0);
    return hg_op_squeeze(g, name, all, 0);
}
