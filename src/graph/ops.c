/* SPDX-License-Identifier: Apache-2.0 */
/* What all operators share, and those that work element by element, with products and sums. */
#include "graph/ops.h"

#include "base/mem.h"
#include "graph/ops_inner.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- shared ---- */

const char *hg_op_shape_text(const hg_shape *s, char out[128])
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

bool hg_op_differ(hg_dim a, hg_dim b)
{
    return a.size >= 0 && b.size >= 0 && a.size != b.size;
}

hg_dim hg_op_either(hg_dim a, hg_dim b)
{
    if (a.size >= 0) return a;
    if (b.size >= 0) return b;
    return a.sym ? a : b;
}

hg_dim hg_op_dim(const hg_value *x, int axis)
{
    if (axis < 0) axis += x->shape.rank;
    return axis >= 0 && axis < x->shape.rank ? x->shape.dims[axis] : (hg_dim){-1, NULL};
}

void hg_op_misfit(hg_graph *g, const char *name, const hg_value *a, const hg_value *b)
{
    char left[128], right[128];
    hg_graph_fail(g, HANGAR_E_INVALID, "%s: %s %s does not fit %s %s", name, a->name,
                  hg_op_shape_text(&a->shape, left), b->name, hg_op_shape_text(&b->shape, right));
}

void hg_op_need_type(hg_graph *g, const char *name, const hg_value *x, hg_onnx_type type)
{
    if (x->type != type && x->type != HG_ONNX_ANY) {
        hg_graph_fail(g, HANGAR_E_INVALID, "%s: %s is %s where %s is needed", name, x->name,
                      hg_onnx_type_name(x->type), hg_onnx_type_name(type));
    }
}

void hg_op_need_real(hg_graph *g, const char *name, const hg_value *x)
{
    hg_op_need_type(g, name, x, hg_graph_real(g));
}

void hg_op_need_rank(hg_graph *g, const char *name, const hg_value *x, int rank)
{
    char shape[128];
    if (x->shape.rank >= 0 && x->shape.rank != rank) {
        hg_graph_fail(g, HANGAR_E_INVALID, "%s: %s %s where %d dimensions are needed", name, x->name,
                      hg_op_shape_text(&x->shape, shape), rank);
    }
}

hg_value *hg_op_single(hg_graph *g, const char *domain, const char *op, const char *name, hg_value *const *in,
                       size_t count, hg_onnx_type type, hg_shape shape)
{
    return hg_node_out(g, hg_graph_node(g, domain, op, name, in, count, 1), 0, type, shape);
}

const char *hg_op_join(char out[HG_ONNX_NAME_MAX], const char *a, const char *b)
{
    int n = snprintf(out, HG_ONNX_NAME_MAX, "%s.%s", a, b);
    return n < HG_ONNX_NAME_MAX ? out : "(too long)"; /* names are the architectures' own literals */
}

hg_shape hg_op_broadcast(hg_graph *g, const char *name, const hg_value *a, const hg_value *b)
{
    if (a->shape.rank < 0 || b->shape.rank < 0) return (hg_shape){.rank = -1};
    const hg_shape *l = a->shape.rank >= b->shape.rank ? &a->shape : &b->shape;
    const hg_shape *s = l == &a->shape ? &b->shape : &a->shape;
    hg_shape out = *l;
    int lead = l->rank - s->rank;
    for (int i = 0; i < s->rank; i++) {
        hg_dim x = l->dims[lead + i], y = s->dims[i];
        if (x.size == 1) out.dims[lead + i] = y;
        else if (y.size != 1 && hg_op_differ(x, y)) hg_op_misfit(g, name, a, b);
        else if (y.size != 1) out.dims[lead + i] = hg_op_either(x, y);
    }
    return out;
}

double hg_op_lowest(const hg_graph *g)
{
    return hg_graph_real(g) == HG_ONNX_FLOAT16 ? -32752.0 : -3.4028234663852886e38;
}

/* ---- element by element ---- */

static hg_value *two(hg_graph *g, const char *op, const char *name, hg_value *a, hg_value *b)
{
    hg_value *in[] = {a, b};
    hg_op_need_type(g, name, b, a->type);
    return hg_op_single(g, HG_OP_STANDARD, op, name, in, 2, a->type, hg_op_broadcast(g, name, a, b));
}

hg_value *hg_op_add(hg_graph *g, const char *name, hg_value *a, hg_value *b)
{
    return two(g, "Add", name, a, b);
}

hg_value *hg_op_sub(hg_graph *g, const char *name, hg_value *a, hg_value *b)
{
    return two(g, "Sub", name, a, b);
}

hg_value *hg_op_mul(hg_graph *g, const char *name, hg_value *a, hg_value *b)
{
    return two(g, "Mul", name, a, b);
}

hg_value *hg_op_div(hg_graph *g, const char *name, hg_value *a, hg_value *b)
{
    return two(g, "Div", name, a, b);
}

hg_value *hg_op_scale(hg_graph *g, const char *name, hg_value *x, double number)
{
    return hg_op_mul(g, name, x, hg_graph_real_of(g, number));
}

hg_value *hg_op_shift(hg_graph *g, const char *name, hg_value *x, double number)
{
    return hg_op_add(g, name, x, hg_graph_real_of(g, number));
}

hg_value *hg_op_soft_cap(hg_graph *g, const char *name, hg_value *x, double cap)
{
    char part[HG_ONNX_NAME_MAX];
    hg_value *y = hg_op_scale(g, hg_op_join(part, name, "down"), x, 1 / cap);
    y = hg_op_unary(g, "Tanh", hg_op_join(part, name, "tanh"), y);
    return hg_op_scale(g, name, y, cap);
}

hg_value *hg_op_unary(hg_graph *g, const char *op, const char *name, hg_value *x)
{
    return hg_op_single(g, HG_OP_STANDARD, op, name, &x, 1, x->type, x->shape);
}

hg_value *hg_op_binary(hg_graph *g, const char *op, const char *name, hg_value *a, hg_value *b)
{
    return two(g, op, name, a, b);
}

hg_value *hg_op_compare(hg_graph *g, const char *op, const char *name, hg_value *a, hg_value *b)
{
    hg_value *in[] = {a, b};
    hg_op_need_type(g, name, b, a->type);
    return hg_op_single(g, HG_OP_STANDARD, op, name, in, 2, HG_ONNX_BOOL, hg_op_broadcast(g, name, a, b));
}

hg_value *hg_op_where(hg_graph *g, const char *name, hg_value *cond, hg_value *yes, hg_value *no)
{
    hg_value *in[] = {cond, yes, no};
    hg_op_need_type(g, name, cond, HG_ONNX_BOOL);
    hg_op_need_type(g, name, no, yes->type);
    hg_value both = {.name = name, .shape = hg_op_broadcast(g, name, yes, no)};
    return hg_op_single(g, HG_OP_STANDARD, "Where", name, in, 3, yes->type,
                        hg_op_broadcast(g, name, cond, &both));
}

hg_value *hg_op_cast(hg_graph *g, const char *name, hg_value *x, hg_onnx_type type)
{
    if (x->type == type) return x;
    hg_node *n = hg_graph_node(g, HG_OP_STANDARD, "Cast", name, &x, 1, 1);
    hg_node_int(g, n, "to", type);
    return hg_node_out(g, n, 0, type, x->shape);
}

/* ---- activations ---- */

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
                 {"tanh", HG_ACT_TANH},
                 {"sigmoid", HG_ACT_SIGMOID}};
    for (size_t i = 0; name && i < HG_LEN(known); i++) {
        if (strcmp(known[i].name, name) == 0) {
            *out = known[i].act;
            return true;
        }
    }
    return false;
}

/* x sigmoid(slope x). */
static hg_value *gated(hg_graph *g, const char *name, hg_value *x, double slope)
{
    char part[HG_ONNX_NAME_MAX];
    hg_value *y = slope == 1 ? x : hg_op_scale(g, hg_op_join(part, name, "slope"), x, slope);
    y = hg_op_unary(g, "Sigmoid", hg_op_join(part, name, "sigmoid"), y);
    return hg_op_mul(g, name, x, y);
}

/* x / 2 (1 + f(..)): both forms of gelu, written out. */
static hg_value *gelu_of(hg_graph *g, const char *name, hg_value *x, hg_value *f)
{
    char part[HG_ONNX_NAME_MAX];
    hg_value *one = hg_op_shift(g, hg_op_join(part, name, "plus_one"), f, 1);
    hg_value *half = hg_op_scale(g, hg_op_join(part, name, "half"), x, 0.5);
    return hg_op_mul(g, name, half, one);
}

static hg_value *gelu_erf(hg_graph *g, const char *name, hg_value *x)
{
    char part[HG_ONNX_NAME_MAX];
    hg_value *y = hg_op_scale(g, hg_op_join(part, name, "scaled"), x, sqrt(0.5));
    return gelu_of(g, name, x, hg_op_unary(g, "Erf", hg_op_join(part, name, "erf"), y));
}

/* tanh(sqrt(2 / pi) (x + 0.044715 x^3)). */
static hg_value *gelu_tanh(hg_graph *g, const char *name, hg_value *x)
{
    char part[HG_ONNX_NAME_MAX];
    hg_value *y = hg_op_mul(g, hg_op_join(part, name, "square"), x, x);
    y = hg_op_mul(g, hg_op_join(part, name, "cube"), y, x);
    y = hg_op_scale(g, hg_op_join(part, name, "small"), y, 0.044715);
    y = hg_op_add(g, hg_op_join(part, name, "inner"), x, y);
    y = hg_op_scale(g, hg_op_join(part, name, "scaled"), y, sqrt(2 / 3.14159265358979323846));
    return gelu_of(g, name, x, hg_op_unary(g, "Tanh", hg_op_join(part, name, "tanh"), y));
}

hg_value *hg_op_act(hg_graph *g, const char *name, hg_value *x, hg_act act)
{
    bool fused = hg_graph_style(g) == HG_STYLE_FUSED;
    hg_op_need_real(g, name, x);
    switch (act) {
    case HG_ACT_GELU:
        if (!fused) return gelu_erf(g, name, x);
        return hg_op_single(g, HG_ONNX_MICROSOFT, "Gelu", name, &x, 1, x->type, x->shape);
    case HG_ACT_GELU_NEW:
        if (!fused) return gelu_tanh(g, name, x);
        return hg_op_single(g, HG_ONNX_MICROSOFT, "FastGelu", name, &x, 1, x->type, x->shape);
    case HG_ACT_QUICK_GELU:
        if (!fused) return gated(g, name, x, 1.702);
        return hg_op_single(g, HG_ONNX_MICROSOFT, "QuickGelu", name, &x, 1, x->type, x->shape);
    case HG_ACT_SILU: return gated(g, name, x, 1);
    case HG_ACT_RELU: return hg_op_unary(g, "Relu", name, x);
    case HG_ACT_TANH: return hg_op_unary(g, "Tanh", name, x);
    case HG_ACT_SIGMOID: break;
    }
    return hg_op_unary(g, "Sigmoid", name, x);
}

/* ---- products and sums ---- */

static hg_value *gemm(hg_graph *g, const char *name, hg_value *x, hg_value *w, hg_value *b, bool turned)
{
    hg_op_need_real(g, name, x);
    hg_op_need_real(g, name, w);
    hg_op_need_rank(g, name, x, 2);
    hg_op_need_rank(g, name, w, 2);
    hg_dim out = hg_op_dim(w, turned ? 1 : 0);
    if (hg_op_differ(hg_op_dim(x, 1), hg_op_dim(w, turned ? 0 : 1))) hg_op_misfit(g, name, w, x);
    if (b) {
        hg_op_need_rank(g, name, b, 1);
        if (hg_op_differ(hg_op_dim(b, 0), out)) hg_op_misfit(g, name, b, w);
    }
    hg_value *in[] = {x, w, b};
    hg_node *n = hg_graph_node(g, HG_OP_STANDARD, "Gemm", name, in, b ? 3 : 2, 1);
    if (!turned) hg_node_int(g, n, "transB", 1);
    return hg_node_out(g, n, 0, x->type, HG_SHAPE(hg_op_dim(x, 0), out));
}

/* Gemm with transB: the weight stays as it lies. */
hg_value *hg_op_linear(hg_graph *g, const char *name, hg_value *x, hg_value *w, hg_value *b)
{
    return gemm(g, name, x, w, b, false);
}

hg_value *hg_op_linear_turned(hg_graph *g, const char *name, hg_value *x, hg_value *w, hg_value *b)
{
    return gemm(g, name, x, w, b, true);
}

hg_value *hg_op_matmul(hg_graph *g, const char *name, hg_value *a, hg_value *b)
{
    hg_shape out = {.rank = -1};
    hg_op_need_type(g, name, b, a->type);
    if (hg_op_differ(hg_op_dim(a, -1), hg_op_dim(b, -2))) hg_op_misfit(g, name, a, b);
    if (a->shape.rank >= 2 && b->shape.rank >= 2) {
        hg_value left = *a, right = *b; /* the axes before the last two broadcast */
        left.shape.dims[left.shape.rank - 2] = left.shape.dims[left.shape.rank - 1] = HG_DIM(1);
        right.shape.dims[right.shape.rank - 2] = right.shape.dims[right.shape.rank - 1] = HG_DIM(1);
        out = hg_op_broadcast(g, name, &left, &right);
        out.dims[out.rank - 2] = hg_op_dim(a, -2);
        out.dims[out.rank - 1] = hg_op_dim(b, -1);
    }
    hg_value *in[] = {a, b};
    return hg_op_single(g, HG_OP_STANDARD, "MatMul", name, in, 2, a->type, out);
}

hg_value *hg_op_softmax(hg_graph *g, const char *name, hg_value *x)
{
    hg_node *n = hg_graph_node(g, HG_OP_STANDARD, "Softmax", name, &x, 1, 1);
    hg_node_int(g, n, "axis", -1);
    return hg_node_out(g, n, 0, x->type, x->shape);
}

/* x's shape with an axis of size 1, or without it. */
static hg_shape without(const hg_value *x, int axis, bool keep)
{
    hg_shape out = x->shape;
    if (axis < 0) axis += out.rank;
    if (out.rank < 0 || axis < 0 || axis >= out.rank) return (hg_shape){.rank = -1};
    if (keep) {
        out.dims[axis] = HG_DIM(1);
        return out;
    }
    for (int i = axis; i + 1 < out.rank; i++) out.dims[i] = out.dims[i + 1];
    out.rank--;
    return out;
}

/* The axes were an attribute until opset 18 (ReduceSum: 13). */
hg_value *hg_op_reduce(hg_graph *g, const char *op, const char *name, hg_value *x, int axis, bool keep)
{
    const int64_t axes = axis;
    bool as_input = hg_graph_opset(g) >= 18 || strcmp(op, "ReduceSum") == 0;
    hg_value *in[] = {x, as_input ? hg_graph_ints(g, &axes, 1) : NULL};
    hg_node *n = hg_graph_node(g, HG_OP_STANDARD, op, name, in, as_input ? 2 : 1, 1);
    if (!as_input) hg_node_ints(g, n, "axes", &axes, 1);
    hg_node_int(g, n, "keepdims", keep);
    return hg_node_out(g, n, 0, x->type, without(x, axis, keep));
}

hg_value *hg_op_argmax(hg_graph *g, const char *name, hg_value *x, int axis)
{
    hg_node *n = hg_graph_node(g, HG_OP_STANDARD, "ArgMax", name, &x, 1, 1);
    hg_node_int(g, n, "axis", axis);
    hg_node_int(g, n, "keepdims", 0);
    return hg_node_out(g, n, 0, HG_ONNX_INT64, without(x, axis, false));
}

void hg_op_top_k(hg_graph *g, const char *name, hg_value *x, int64_t k, hg_value **out_values,
                 hg_value **out_places)
{
    hg_value *in[] = {x, hg_graph_ints(g, &k, 1)};
    hg_shape out = x->shape;
    if (out.rank > 0) out.dims[out.rank - 1] = HG_DIM(k);
    hg_node *n = hg_graph_node(g, HG_OP_STANDARD, "TopK", name, in, 2, 2);
    hg_node_int(g, n, "axis", -1);
    *out_values = hg_node_out(g, n, 0, x->type, out);
    *out_places = hg_node_out(g, n, 1, HG_ONNX_INT64, out);
}

hg_value *hg_op_cumsum(hg_graph *g, const char *name, hg_value *x, int axis)
{
    hg_op_need_type(g, name, x, HG_ONNX_INT64);
    hg_value *in[] = {x, hg_graph_int(g, axis)};
    return hg_op_single(g, HG_OP_STANDARD, "CumSum", name, in, 2, x->type, x->shape);
}

/* If. */
void hg_op_if(hg_graph *g, const char *name, hg_value *cond, hg_branch *then_branch, hg_branch *else_branch,
              const hg_shape *shapes, size_t count, hg_value **outputs)
{
    hg_op_need_type(g, name, cond, HG_ONNX_BOOL);
    hg_node *n = hg_graph_node(g, HG_OP_STANDARD, "If", name, &cond, 1, count);
    hg_node_branch(g, n, "then_branch", then_branch);
    hg_node_branch(g, n, "else_branch", else_branch);
    for (size_t i = 0; i < count; i++)
        outputs[i] = hg_node_out(g, n, i, hg_branch_type(then_branch, i), shapes[i]);
}
