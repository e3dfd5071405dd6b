/* SPDX-License-Identifier: Apache-2.0 */
/* Norms and convolutions. */
#include "graph/ops_inner.h"

static void need_norm(hg_graph *g, const char *name, const hg_value *x, const hg_value *scale,
                      const hg_value *shift)
{
    hg_op_need_real(g, name, x);
    hg_op_need_rank(g, name, scale, 1);
    if (hg_op_differ(hg_op_dim(x, -1), hg_op_dim(scale, 0))) hg_op_misfit(g, name, scale, x);
    if (!shift) return;
    hg_op_need_rank(g, name, shift, 1);
    if (hg_op_differ(hg_op_dim(x, -1), hg_op_dim(shift, 0))) hg_op_misfit(g, name, shift, x);
}

static bool fused(const hg_graph *g)
{
    return hg_graph_style(g) == HG_STYLE_FUSED;
}

/* LayerNormalization. */
hg_value *hg_op_layer_norm(hg_graph *g, const char *name, hg_value *x, hg_value *scale, hg_value *shift,
                           double eps)
{
    need_norm(g, name, x, scale, shift);
    hg_value *in[] = {x, scale, shift};
    hg_node *n = hg_graph_node(g, HG_OP_STANDARD, "LayerNormalization", name, in, shift ? 3 : 2, 1);
    hg_node_float(g, n, "epsilon", (float)eps);
    return hg_node_out(g, n, 0, x->type, x->shape);
}

/* A node of com.microsoft that adds and normalizes; its outputs 1 and 2 (mean, deviation) are for training and left out. */
static hg_value *skip_norm(hg_graph *g, const char *op, const char *name, hg_value *const *in, size_t count,
                           double eps, hg_value **sum)
{
    const hg_value *x = in[0];
    hg_node *n = hg_graph_node(g, HG_ONNX_MICROSOFT, op, name, in, count, sum ? 4 : 1);
    hg_node_float(g, n, "epsilon", (float)eps);
    if (sum) {
        hg_node_skip_out(g, n, 1);
        hg_node_skip_out(g, n, 2);
        *sum = hg_node_out(g, n, 3, x->type, x->shape);
    }
    return hg_node_out(g, n, 0, x->type, x->shape);
}

static void need_same(hg_graph *g, const char *name, const hg_value *x, const hg_value *y)
{
    hg_op_need_rank(g, name, x, 2);
    if (hg_op_differ(hg_op_dim(x, 1), hg_op_dim(y, 1)) || hg_op_differ(hg_op_dim(x, 0), hg_op_dim(y, 0)))
        hg_op_misfit(g, name, x, y);
}

static hg_value *add_first(hg_graph *g, const char *name, hg_value *x, hg_value *y, hg_value **sum)
{
    char part[HG_ONNX_NAME_MAX];
    hg_value *s = hg_op_add(g, hg_op_join(part, name, "sum"), x, y);
    if (sum) *sum = s;
    return s;
}

/* On a CPU ONNX Runtime 1.30 takes five times as long for SkipLayerNormalization as for both apart (128 rows of 768: 460 and 90 us), so only
 * graphs in half precision, which are meant for GPUs, have it. */
hg_value *hg_op_add_layer_norm(hg_graph *g, const char *name, hg_value *x, hg_value *y, hg_value *scale,
                               hg_value *shift, double eps, hg_value **sum)
{
    need_norm(g, name, x, scale, shift);
    need_same(g, name, x, y);
    if (!fused(g) || hg_graph_real(g) == HG_ONNX_FLOAT)
        return hg_op_layer_norm(g, name, add_first(g, name, x, y, sum), scale, shift, eps);
    hg_value *in[] = {x, y, scale, shift};
    return skip_norm(g, "SkipLayerNormalization", name, in, shift ? 4 : 3, eps, sum);
}

/* ONNX Runtime has SimplifiedLayerNormalization in the standard domain, where ONNX itself does not know it. */
hg_value *hg_op_rms_norm(hg_graph *g, const char *name, hg_value *x, hg_value *scale, double eps)
{
    char part[HG_ONNX_NAME_MAX];
    need_norm(g, name, x, scale, NULL);
    if (fused(g)) {
        hg_value *in[] = {x, scale};
        hg_node *n = hg_graph_node(g, HG_OP_STANDARD, "SimplifiedLayerNormalization", name, in, 2, 1);
        hg_node_int(g, n, "axis", -1);
        hg_node_float(g, n, "epsilon", (float)eps);
        return hg_node_out(g, n, 0, x->type, x->shape);
    }
    hg_value *y = hg_op_mul(g, hg_op_join(part, name, "square"), x, x);
    y = hg_op_reduce(g, "ReduceMean", hg_op_join(part, name, "mean"), y, -1, true);
    y = hg_op_shift(g, hg_op_join(part, name, "eps"), y, eps);
    y = hg_op_unary(g, "Sqrt", hg_op_join(part, name, "root"), y);
    y = hg_op_div(g, hg_op_join(part, name, "normalized"), x, y);
    return hg_op_mul(g, name, y, scale);
}

hg_value *hg_op_add_rms_norm(hg_graph *g, const char *name, hg_value *x, hg_value *y, hg_value *scale,
                             double eps, hg_value **sum)
{
    need_norm(g, name, x, scale, NULL);
    need_same(g, name, x, y);
    if (!fused(g)) return hg_op_rms_norm(g, name, add_first(g, name, x, y, sum), scale, eps);
    hg_value *in[] = {x, y, scale};
    return skip_norm(g, "SkipSimplifiedLayerNormalization", name, in, 3, eps, sum);
}

hg_value *hg_op_instance_norm(hg_graph *g, const char *name, hg_value *x, hg_value *scale, hg_value *shift,
                              double eps)
{
    hg_op_need_real(g, name, x);
    if (hg_op_differ(hg_op_dim(x, 1), hg_op_dim(scale, 0))) hg_op_misfit(g, name, scale, x);
    if (hg_op_differ(hg_op_dim(x, 1), hg_op_dim(shift, 0))) hg_op_misfit(g, name, shift, x);
    hg_value *in[] = {x, scale, shift};
    hg_node *n = hg_graph_node(g, HG_OP_STANDARD, "InstanceNormalization", name, in, 3, 1);
    hg_node_float(g, n, "epsilon", (float)eps);
    return hg_node_out(g, n, 0, x->type, x->shape);
}

/* Conv. */
hg_value *hg_op_conv(hg_graph *g, const char *name, hg_value *x, hg_value *w, hg_value *b, hg_conv how)
{
    int axes = x->shape.rank - 2;
    int64_t groups = how.groups ? how.groups : 1, stride = how.stride ? how.stride : 1;
    if (axes < 1 || axes > 2) {
        hg_graph_fail(g, HANGAR_E_INTERNAL, "%s: %s has %d axes", name, x->name, x->shape.rank);
        return x;
    }
    hg_op_need_real(g, name, x);
    hg_op_need_rank(g, name, w, axes + 2);
    hg_dim channels = hg_op_dim(x, 1);
    if (channels.size >= 0 && hg_op_differ(HG_DIM(channels.size / groups), hg_op_dim(w, 1)))
        hg_op_misfit(g, name, w, x);
    if (b && hg_op_differ(hg_op_dim(b, 0), hg_op_dim(w, 0))) hg_op_misfit(g, name, b, w);
    hg_shape out = {axes + 2, {hg_op_dim(x, 0), hg_op_dim(w, 0)}};
    int64_t kernels[2], strides[] = {stride, how.last_stride ? how.last_stride : stride},
                        pads[] = {how.pad, how.pad, how.pad, how.pad};
    for (int i = 0; i < axes; i++) {
        hg_dim length = hg_op_dim(x, 2 + i);
        kernels[i] = hg_op_dim(w, 2 + i).size;
        out.dims[2 + i] = (hg_dim){-1, NULL};
        if (length.size >= 0 && kernels[i] > 0 && length.size + 2 * how.pad >= kernels[i])
            out.dims[2 + i].size = (length.size + 2 * how.pad - kernels[i]) / strides[i] + 1;
    }
    hg_value *in[] = {x, w, b};
    hg_node *n = hg_graph_node(g, HG_OP_STANDARD, "Conv", name, in, b ? 3 : 2, 1);
    hg_node_ints(g, n, "kernel_shape", kernels, (size_t)axes);
    hg_node_ints(g, n, "strides", strides, (size_t)axes);
    hg_node_ints(g, n, "pads", pads, 2 * (size_t)axes);
    if (groups != 1) hg_node_int(g, n, "group", groups);
    return hg_node_out(g, n, 0, x->type, out);
}
