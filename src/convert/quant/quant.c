/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/quant/quant.h"

#include <stdio.h>
#include <string.h>

/* Plans what is wanted; NULL after an error, which sticks in the graph. */
static const hg_make *plan(hg_build *b, const hg_make *want)
{
    const hg_make *made = NULL;
    hangar_err err = {0};
    hangar_code code = hg_make_add(hg_build_makes(b), want, &made, &err);
    if (code == HANGAR_OK) return made;
    hg_graph_fail(b->g, code, "%s", err.msg);
    return NULL;
}

/* A tensor of the data file as an initializer "tensor.suffix". */
static hg_value *made_weight(hg_build *b, const char *tensor, const char *suffix, hg_onnx_type type,
                             uint32_t rank, const uint64_t *shape, const hg_make *m, int part)
{
    char name[2 * HG_ONNX_NAME_MAX];
    snprintf(name, sizeof name, "%s%s%s", tensor, suffix[0] ? "." : "", suffix);
    return hg_graph_weight(b->g, name, type, rank, shape, HG_WEIGHT_MADE, m->offset[part], m->bytes[part]);
}

/* "name", or "name.rows_8_16" for a part of a packed weight: what is made of it is called after it. */
static const char *part_name(const hg_matrix *w, char out[HG_ONNX_NAME_MAX])
{
    uint64_t all = w->turned ? w->tensor->shape[1] : w->tensor->shape[0];
    if (w->first == 0 && w->out == all) return w->name;
    snprintf(out, HG_ONNX_NAME_MAX, "%s.rows_%llu_%llu", w->name, (unsigned long long)w->first,
             (unsigned long long)(w->first + w->out));
    return out;
}

static hg_make make_of(const hg_matrix *w, hg_make_kind kind)
{
    return (hg_make){.kind = kind, .source = {w->tensor, w->file, w->out, w->in, w->first, w->turned}};
}

static const hg_make *plan_blocks(hg_build *b, const hg_matrix *w)
{
    hg_make want = make_of(w, HG_MAKE_BLOCKS);
    want.bits = b->form->bits;
    want.block = b->form->block;
    want.half = hg_graph_real(b->g) == HG_ONNX_FLOAT16;
    return plan(b, &want);
}

/* ---- linear ---- */

/*
 * MatMulNBits: A, B, scales, zero points (none: the middle), g_idx (never), bias. accuracy_level 4 lets the kernel quantize the input to 8 bits,
 * without which it is 3 (4 bits) to 40 (8 bits) times slower.
 */
static hg_value *linear_blocks(hg_build *b, const char *name, hg_value *x, const hg_matrix *w, hg_value *bias)
{
    char part[HG_ONNX_NAME_MAX], suffix[16];
    const hg_make *m = plan_blocks(b, w);
    if (!m) return x;
    const uint64_t blocks = (w->in + m->block - 1) / m->block;
    const uint64_t codes[] = {w->out, blocks, m->block * m->bits / 8}, scales[] = {w->out * blocks};
    snprintf(suffix, sizeof suffix, "q%u", m->bits);
    hg_value *in[] = {x,
                      made_weight(b, part_name(w, part), suffix, HG_ONNX_UINT8, 3, codes, m, 0),
                      made_weight(b, part_name(w, part), "scales", hg_graph_real(b->g), 1, scales, m, 1),
                      NULL,
                      NULL,
                      bias};
    hg_node *n = hg_graph_node(b->g, HG_ONNX_MICROSOFT, "MatMulNBits", name, in, bias ? 6 : 3, 1);
    hg_node_int(b->g, n, "K", (int64_t)w->in);
    hg_node_int(b->g, n, "N", (int64_t)w->out);
    hg_node_int(b->g, n, "bits", m->bits);
    hg_node_int(b->g, n, "block_size", m->block);
    hg_node_int(b->g, n, "accuracy_level", 4);
    return hg_node_out(b->g, n, 0, x->type, HG_SHAPE(x->shape.dims[0], HG_DIM(w->out)));
}

/* x to 8 bits, times W, back to reals: DynamicQuantizeLinear, MatMulInteger, Cast, Mul, Add. */
static hg_value *dynamic_written_out(hg_build *b, const char *name, hg_value *x, hg_value *codes,
                                     hg_value *scales, hg_value *bias, hg_shape shape)
{
    char part[HG_ONNX_NAME_MAX];
    hg_graph *g = b->g;
    snprintf(part, sizeof part, "%s.quantize", name);
    hg_node *n = hg_graph_node(g, "", "DynamicQuantizeLinear", part, &x, 1, 3);
    hg_value *q[] = {hg_node_out(g, n, 0, HG_ONNX_UINT8, x->shape), codes,
                     hg_node_out(g, n, 2, HG_ONNX_UINT8, HG_SCALAR)};
    hg_value *scale = hg_node_out(g, n, 1, HG_ONNX_FLOAT, HG_SCALAR);
    snprintf(part, sizeof part, "%s.product", name);
    n = hg_graph_node(g, "", "MatMulInteger", part, q, 3, 1);
    hg_value *y = hg_node_out(g, n, 0, HG_ONNX_INT32, shape);
    snprintf(part, sizeof part, "%s.real", name);
    y = hg_op_cast(g, part, y, HG_ONNX_FLOAT);
    snprintf(part, sizeof part, "%s.scales", name);
    scale = hg_op_mul(g, part, scales, scale);
    snprintf(part, sizeof part, "%s.scaled", name);
    y = hg_op_mul(g, bias ? part : name, y, scale);
    return bias ? hg_op_add(g, name, y, bias) : y;
}

static hg_value *linear_dynamic(hg_build *b, const char *name, hg_value *x, const hg_matrix *w,
                                hg_value *bias)
{
    char part[HG_ONNX_NAME_MAX];
    hg_make want = make_of(w, HG_MAKE_INT8);
    const hg_make *m = plan(b, &want);
    if (!m) return x;
    const uint64_t shape[] = {w->in, w->out};
    hg_value *codes = made_weight(b, part_name(w, part), "q8", HG_ONNX_INT8, 2, shape, m, 0);
    hg_value *scales = made_weight(b, part_name(w, part), "scales", HG_ONNX_FLOAT, 1, &w->out, m, 1);
    hg_shape out = HG_SHAPE(x->shape.dims[0], HG_DIM(w->out));
    if (hg_graph_style(b->g) == HG_STYLE_PORTABLE)
        return dynamic_written_out(b, name, x, codes, scales, bias, out);
    hg_value *in[] = {x, codes, scales, NULL, bias};
    hg_node *n = hg_graph_node(b->g, HG_ONNX_MICROSOFT, "DynamicQuantizeMatMul", name, in, bias ? 5 : 3, 1);
    return hg_node_out(b->g, n, 0, x->type, out);
}

hg_value *hg_quant_linear(hg_build *b, const char *name, hg_value *x, const hg_matrix *w, hg_value *bias)
{
    switch (b->form->linear) {
    case HG_LINEAR_PLAIN: break;
    case HG_LINEAR_DYNAMIC: return linear_dynamic(b, name, x, w, bias);
    case HG_LINEAR_BLOCKS: return linear_blocks(b, name, x, w, bias);
    }
    return NULL;
}

/* ---- tables and the rest ---- */

/*
 * GatherBlockQuantized reads the very bytes of MatMulNBits: a table that is also the last Linear is stored once. 8 bits have a table in any
 * form but this one, too: its rows are looked up, not multiplied, so that codes of blocks are the best there is.
 */
hg_value *hg_quant_embed(hg_build *b, const char *name, hg_value *ids, const hg_matrix *table)
{
    char suffix[24];
    hg_form form = *b->form;
    if (form.linear == HG_LINEAR_PLAIN || hg_graph_style(b->g) == HG_STYLE_PORTABLE) return NULL;
    hg_make want = make_of(table, HG_MAKE_BLOCKS);
    want.bits = form.bits;
    want.block = form.linear == HG_LINEAR_BLOCKS ? form.block : 32;
    want.half = hg_graph_real(b->g) == HG_ONNX_FLOAT16;
    if (table->in % want.block != 0) return NULL;
    const hg_make *m = plan(b, &want);
    if (!m) return ids;
    const uint64_t codes[] = {table->out, table->in * m->bits / 8},
                   scales[] = {table->out, table->in / m->block};
    snprintf(suffix, sizeof suffix, "table_q%u", m->bits);
    hg_value *in[] = {made_weight(b, table->name, suffix, HG_ONNX_UINT8, 2, codes, m, 0), ids,
                      made_weight(b, table->name, "table_scales", hg_graph_real(b->g), 2, scales, m, 1)};
    hg_node *n = hg_graph_node(b->g, HG_ONNX_MICROSOFT, "GatherBlockQuantized", name, in, 3, 1);
    hg_node_int(b->g, n, "bits", m->bits);
    hg_node_int(b->g, n, "block_size", m->block);
    hg_node_int(b->g, n, "gather_axis", 0);
    hg_node_int(b->g, n, "quantize_axis", 1);
    hg_shape out = ids->shape;
    if (out.rank >= 0 && out.rank < HG_ONNX_RANK_MAX) out.dims[out.rank++] = HG_DIM(table->in);
    return hg_node_out(b->g, n, 0, hg_graph_real(b->g), out);
}

hg_value *hg_quant_param(hg_build *b, const char *name, const hg_tensor *t, uint32_t file, uint64_t first,
                         uint64_t rows)
{
    if (!b->form->rewrite) return NULL;
    uint64_t count = 1, shape[HG_ONNX_RANK_MAX];
    if (t->rank > HG_ONNX_RANK_MAX) return NULL;
    for (uint32_t i = 0; i < t->rank; i++) {
        shape[i] = i == 0 ? rows : t->shape[i];
        if (i > 0) count *= t->shape[i]; /* cannot overflow: the tensor's bytes are in a file */
    }
    bool half = hg_graph_real(b->g) == HG_ONNX_FLOAT16;
    hg_make want = {.kind = half ? HG_MAKE_F16 : HG_MAKE_F32,
                    .source = {.tensor = t, .file = file, .outputs = rows, .inputs = count, .first = first}};
    const hg_make *m = plan(b, &want);
    if (!m) return NULL;
    return made_weight(b, name, "", hg_graph_real(b->g), t->rank, shape, m, 0);
}
