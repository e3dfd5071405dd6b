/* SPDX-License-Identifier: Apache-2.0 */
/* Building: errors stick and say where, names are what the scopes say, constants and weights are made once, and what is emitted passes the check. */
#include "base/mem.h"
#include "graph/check.h"
#include "graph/ops.h"
#include "graph/read.h"

#include "onnx.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static hg_value *weight(hg_graph *g, const char *name, uint64_t rows, uint64_t columns, uint64_t offset)
{
    return hg_graph_weight(g, name, HG_ONNX_FLOAT, columns ? 2 : 1, (const uint64_t[]){rows, columns}, 0,
                           offset, 4 * rows * (columns ? columns : 1));
}

/* y = relu(x W^T + b), as rows. */
static hg_graph *small(void)
{
    hg_graph *g = hg_graph_new("small", HG_ONNX_OPSET);
    assert_non_null(g);
    hg_value *x = hg_graph_input(g, "x", HG_ONNX_FLOAT, HG_SHAPE(HG_SYM("n"), HG_DIM(3)));
    hg_graph_enter(g, "block.%d", 1);
    hg_value *w = weight(g, "w", 2, 3, 0), *b = weight(g, "b", 2, 0, 24);
    hg_value *y = hg_op_linear(g, "dense", x, w, b);
    y = hg_op_act(g, "act", y, HG_ACT_RELU);
    hg_graph_leave(g);
    hg_graph_output(g, "y", y);
    return g;
}

static hangar_code emit(hg_graph *g, hg_buf *out, hangar_err *err)
{
    const char *locations[] = {"model.safetensors"};
    hg_buf_init(out, HG_MIB);
    return hg_graph_emit(g, locations, 1, NULL, out, err);
}

static hangar_code check(const hg_buf *b, hangar_err *err)
{
    const hg_onnx_file files[] = {{"model.safetensors", 32}};
    return hg_onnx_check((const uint8_t *)b->data, b->len, files, 1, NULL, err);
}

static void test_emits(void **state)
{
    (void)state;
    hg_graph *g = small();
    hg_buf b;
    hangar_err err = {0};
    assert_int_equal(emit(g, &b, &err), HANGAR_OK);
    if (check(&b, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    Onnx__ModelProto *m = onnx__model_proto__unpack(NULL, b.len, (const uint8_t *)b.data);
    assert_non_null(m);
    assert_int_equal(m->ir_version, 8);
    assert_int_equal(m->n_opset_import, 1); /* only what is used */
    assert_int_equal(m->opset_import[0]->version, 17);
    assert_int_equal(m->graph->n_node, 2);
    const Onnx__NodeProto *n = m->graph->node[0];
    assert_string_equal(n->name, "block.1.dense");
    assert_string_equal(n->op_type, "Gemm");
    assert_string_equal(n->input[1], "w");
    assert_string_equal(n->output[0], "block.1.dense");
    assert_int_equal(n->attribute[0]->i, 1);
    assert_string_equal(m->graph->node[1]->name, "block.1.act");
    assert_string_equal(m->graph->node[1]->output[0], "y");
    const Onnx__TensorProto *w = m->graph->initializer[0];
    assert_string_equal(w->external_data[0]->value, "model.safetensors");
    assert_string_equal(w->external_data[1]->value, "0");
    assert_string_equal(w->external_data[2]->value, "24");
    const Onnx__TypeProto__Tensor *t = m->graph->input[0]->type->tensor_type;
    assert_string_equal(t->shape->dim[0]->dim_param, "n");
    assert_int_equal(t->shape->dim[1]->dim_value, 3);
    onnx__model_proto__free_unpacked(m, NULL);
    hg_buf_deinit(&b);
    hg_graph_free(g);
}

static void test_versions(void **state)
{
    (void)state;
    static const struct {
        int opset, ir;
    } known[] = {{17, 8}, {18, 8}, {19, 9}, {20, 9}, {21, 10}};
    for (size_t i = 0; i < HG_LEN(known); i++) {
        hg_graph *g = hg_graph_new("v", known[i].opset);
        hg_value *x = hg_graph_input(g, "x", HG_ONNX_FLOAT, HG_SHAPE(HG_DIM(1)));
        hg_graph_output(g, "y", hg_op_act(g, "act", x, HG_ACT_GELU));
        hg_buf b;
        assert_int_equal(emit(g, &b, NULL), HANGAR_OK);
        Onnx__ModelProto *m = onnx__model_proto__unpack(NULL, b.len, (const uint8_t *)b.data);
        assert_int_equal(m->ir_version, known[i].ir);
        assert_int_equal(m->n_opset_import, 2);
        assert_string_equal(m->opset_import[1]->domain, "com.microsoft");
        onnx__model_proto__free_unpacked(m, NULL);
        hg_buf_deinit(&b);
        hg_graph_free(g);
    }
    assert_null(hg_graph_new("v", 16));
    assert_null(hg_graph_new("v", 22));
}

/* The first error sticks, has the scope in it, and nothing is emitted. */
static void expect(hg_graph *g, hangar_code code, const char *words)
{
    hangar_err err = {0};
    hg_buf b;
    assert_int_equal(hg_graph_state(g, &err), code);
    if (!strstr(err.msg, words)) fail_msg("%s", err.msg);
    assert_int_equal(emit(g, &b, NULL), code);
    assert_int_equal(b.len, 0);
    hg_buf_deinit(&b);
    hg_graph_free(g);
}

static void test_misfits(void **state)
{
    (void)state;
    hg_graph *g = hg_graph_new("m", 17);
    hg_value *x = hg_graph_input(g, "x", HG_ONNX_FLOAT, HG_SHAPE(HG_SYM("n"), HG_DIM(3)));
    hg_graph_enter(g, "encoder");
    hg_value *y = hg_op_linear(g, "dense", x, weight(g, "w", 2, 4, 0), NULL);
    y = hg_op_linear(g, "other", y, weight(g, "v", 5, 7, 0), NULL); /* a later one is not heard of */
    hg_graph_leave(g);
    hg_graph_output(g, "y", y);
    expect(g, HANGAR_E_INVALID, "encoder: dense: w [2, 4] does not fit x [n, 3]");

    g = small();
    hg_graph_input(g, "x", HG_ONNX_FLOAT, HG_SCALAR);
    expect(g, HANGAR_E_INTERNAL, "two values are called x");

    g = small();
    hg_op_layer_norm(g, "norm", hg_graph_input(g, "z", HG_ONNX_FLOAT, HG_SHAPE(HG_DIM(4))),
                     weight(g, "s", 3, 0, 0), weight(g, "t", 3, 0, 0), 0);
    expect(g, HANGAR_E_INVALID, "norm: s [3] does not fit z [4]");

    g = small();
    hg_op_linear(g, "ids", hg_graph_input(g, "i", HG_ONNX_INT64, HG_SHAPE(HG_SYM("n"), HG_DIM(3))),
                 weight(g, "w", 2, 3, 0), NULL);
    expect(g, HANGAR_E_INVALID, "ids: i is int64 where float is needed");

    g = small();
    hg_graph_weight(g, "short", HG_ONNX_FLOAT, 1, (const uint64_t[]){3}, 0, 0, 11);
    expect(g, HANGAR_E_INVALID, "short: its bytes do not fit");

    g = small();
    hg_graph_weight(g, "huge", HG_ONNX_FLOAT, 2, (const uint64_t[]){UINT64_MAX, 2}, 0, 0, 8);
    expect(g, HANGAR_E_INVALID, "huge");

    g = small();
    hg_value *q = hg_graph_input(g, "q", HG_ONNX_FLOAT, HG_SHAPE(HG_SYM("b"), HG_SYM("s"), HG_DIM(10)));
    hg_op_attention(g, "attn", &(hg_attention){.heads = 3, .q = q, .k = q, .v = q});
    expect(g, HANGAR_E_INVALID, "10 columns for 3 heads");

    g = small();
    hg_op_add(g, "sum", q = hg_graph_input(g, "q", HG_ONNX_FLOAT, HG_SHAPE(HG_DIM(2), HG_DIM(3))),
              hg_graph_input(g, "p", HG_ONNX_FLOAT, HG_SHAPE(HG_DIM(4), HG_DIM(3))));
    expect(g, HANGAR_E_INVALID, "sum: q [2, 3] does not fit p [4, 3]");

    g = small();
    hg_graph_output(g, "again", hg_graph_input(g, "p", HG_ONNX_FLOAT, HG_SCALAR));
    expect(g, HANGAR_E_INTERNAL, "output again");

    g = small();
    hg_graph_leave(g);
    expect(g, HANGAR_E_INTERNAL, "scope");

    g = small();
    for (int i = 0; i <= HG_ONNX_SCOPES_MAX; i++) hg_graph_enter(g, "deep");
    expect(g, HANGAR_E_LIMIT, "deep");
}

static void test_shapes(void **state)
{
    (void)state;
    hg_graph *g = hg_graph_new("s", 17);
    hg_value *ids = hg_graph_input(g, "ids", HG_ONNX_INT64, HG_SHAPE(HG_SYM("b"), HG_SYM("s")));
    hg_value *table = weight(g, "table", 10, 4, 0);
    hg_value *x = hg_op_gather(g, "embed", table, ids, 0);
    assert_int_equal(x->shape.rank, 3);
    assert_string_equal(x->shape.dims[0].sym, "b");
    assert_int_equal(x->shape.dims[2].size, 4);
    assert_int_equal(hg_op_rows(g, "rows", x)->shape.dims[1].size, 4);
    assert_int_equal(hg_op_gather(g, "first", x, hg_graph_int(g, 0), 1)->shape.rank, 2);
    hg_value *mel = hg_graph_input(g, "mel", HG_ONNX_FLOAT, HG_SHAPE(HG_SYM("b"), HG_DIM(8), HG_DIM(100)));
    hg_value *w =
        hg_graph_weight(g, "conv", HG_ONNX_FLOAT, 3, (const uint64_t[]){6, 8, 3}, 0, 0, 6 * 8 * 3 * 4);
    hg_value *c =
        hg_op_conv(g, "conv2", mel, w, weight(g, "bias", 6, 0, 0), (hg_conv){.stride = 2, .pad = 1});
    assert_int_equal(c->shape.dims[1].size, 6);
    assert_int_equal(c->shape.dims[2].size, 50);
    c = hg_op_transpose(g, "last", c, (const int64_t[]){0, 2, 1});
    assert_int_equal(c->shape.dims[1].size, 50);
    hg_value *sum = hg_op_add(g, "add", c, weight(g, "pos", 50, 6, 0));
    assert_int_equal(sum->shape.dims[2].size, 6);
    const int64_t numbers[] = {-1, 4};
    assert_ptr_equal(hg_graph_ints(g, numbers, 2), hg_graph_ints(g, numbers, 2));
    assert_ptr_equal(weight(g, "table", 10, 4, 0), table);
    assert_int_equal(hg_graph_state(g, NULL), HANGAR_OK);
    assert_int_equal(hg_graph_weight_count(g), 4);
    hg_graph_free(g);
}

static hg_graph *branched(bool outside)
{
    hg_graph *g = hg_graph_new("branches", 17);
    hg_value *x = hg_graph_input(g, "x", HG_ONNX_FLOAT, HG_SHAPE(HG_DIM(2))), *out;
    hg_value *cond = hg_graph_input(g, "cond", HG_ONNX_BOOL, HG_SHAPE(HG_DIM(1)));
    hg_branch *a = hg_graph_branch_begin(g, "yes");
    hg_value *inner = hg_op_add(g, "twice", x, x);
    hg_graph_branch_output(g, inner);
    hg_graph_branch_end(g);
    hg_branch *b = hg_graph_branch_begin(g, "no");
    hg_graph_branch_output(g, hg_op_zeros(g, "zero", HG_ONNX_FLOAT, HG_SHAPE(HG_DIM(2))));
    hg_graph_branch_end(g);
    const hg_shape shape = HG_SHAPE(HG_DIM(2));
    hg_op_if(g, "choose", cond, a, b, &shape, 1, &out);
    if (outside) out = hg_op_add(g, "leak", out, inner); /* a value of a branch, used outside of it */
    hg_graph_output(g, "y", out);
    return g;
}

static void test_branches(void **state)
{
    (void)state;
    hg_buf b;
    hangar_err err = {0};
    hg_graph *g = branched(false);
    assert_int_equal(hg_graph_node_count(g), 3);
    assert_int_equal(emit(g, &b, &err), HANGAR_OK);
    if (check(&b, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    hg_buf_deinit(&b);
    hg_graph_free(g);
    g = branched(true);
    assert_int_equal(emit(g, &b, &err), HANGAR_OK);
    assert_int_equal(check(&b, &err), HANGAR_E_INVALID);
    assert_non_null(strstr(err.msg, "nobody makes its input yes.twice"));
    hg_buf_deinit(&b);
    hg_graph_free(g);
}

static void test_weights_again(void **state)
{
    (void)state;
    hg_graph *g = small();
    hg_buf b;
    hg_onnx_model *m;
    hg_onnx_weight w;
    size_t at = 0;
    assert_int_equal(emit(g, &b, NULL), HANGAR_OK);
    assert_int_equal(hg_onnx_read((const uint8_t *)b.data, b.len, &m, NULL), HANGAR_OK);
    assert_int_equal(hg_onnx_weight_count(m), 2);
    assert_true(hg_onnx_weight_next(m, &at, &w));
    assert_string_equal(w.name, "w");
    assert_int_equal(w.rank, 2);
    assert_int_equal(w.dims[1], 3);
    assert_true(hg_onnx_weight_next(m, &at, &w));
    assert_string_equal(w.name, "b");
    assert_int_equal(w.offset, 24);
    assert_int_equal(w.length, 8);
    assert_false(hg_onnx_weight_next(m, &at, &w));
    hg_onnx_free(m);
    hg_buf_deinit(&b);
    hg_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_emits),  cmocka_unit_test(test_versions), cmocka_unit_test(test_misfits),
        cmocka_unit_test(test_shapes), cmocka_unit_test(test_branches), cmocka_unit_test(test_weights_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
