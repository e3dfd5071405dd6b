/* SPDX-License-Identifier: Apache-2.0 */
/* The structural check: a sound model, one thing in it made wrong, must be refused with words that name it. */
#include "base/buf.h"
#include "base/mem.h"
#include "graph/check.h"
#include "graph/graph.h"
#include "graph/ops.h"
#include "graph/read.h"

#include "onnx.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

static const hg_onnx_file files[] = {{"model.safetensors", 64}};
static hg_buf model; /* emitted once */

static int build(void **state)
{
    (void)state;
    hg_graph *g = hg_graph_new("model", 17);
    hg_value *x = hg_graph_input(g, "x", HG_ONNX_FLOAT, HG_SHAPE(HG_SYM("n"), HG_DIM(3))), *out;
    hg_value *cond = hg_graph_input(g, "cond", HG_ONNX_BOOL, HG_SHAPE(HG_DIM(1)));
    hg_value *w = hg_graph_weight(g, "w", HG_ONNX_FLOAT, 2, (const uint64_t[]){2, 3}, 0, 40, 24);
    hg_value *y = hg_op_rows(g, "rows", hg_op_linear(g, "dense", x, w, NULL));
    hg_branch *a = hg_graph_branch_begin(g, "yes");
    hg_graph_branch_output(g, hg_op_act(g, "act", y, HG_ACT_GELU));
    hg_graph_branch_end(g);
    hg_branch *b = hg_graph_branch_begin(g, "no");
    hg_graph_branch_output(g, hg_op_zeros(g, "zero", HG_ONNX_FLOAT, HG_SHAPE(HG_DIM(1), HG_DIM(2))));
    hg_graph_branch_end(g);
    const hg_shape shape = HG_SHAPE(HG_SYM("n"), HG_DIM(2));
    hg_op_if(g, "choose", cond, a, b, &shape, 1, &out);
    hg_graph_output(g, "y", out);
    const char *locations[] = {"model.safetensors"};
    hg_buf_init(&model, HG_MIB);
    hangar_code code = hg_graph_emit(g, locations, 1, NULL, &model, NULL);
    hg_graph_free(g);
    return (int)code;
}

static int drop(void **state)
{
    (void)state;
    hg_buf_deinit(&model);
    return 0;
}

static hangar_code check(const void *bytes, size_t len, hangar_err *err)
{
    return hg_onnx_check(bytes, len, files, 1, NULL, err);
}

static Onnx__ModelProto *unpack(void)
{
    Onnx__ModelProto *m = onnx__model_proto__unpack(NULL, model.len, (const uint8_t *)model.data);
    assert_non_null(m);
    return m;
}

/* Packs, frees and checks: must be refused with these words. */
static void refuse(Onnx__ModelProto *m, const char *words)
{
    hangar_err err = {0};
    size_t len = onnx__model_proto__get_packed_size(m);
    uint8_t *bytes = hg_calloc(len, 1);
    onnx__model_proto__pack(m, bytes);
    hangar_code code = check(bytes, len, &err);
    if (code == HANGAR_OK) fail_msg("accepted, \"%s\" expected", words);
    if (!strstr(err.msg, words)) fail_msg("\"%s\" expected, not \"%s\"", words, err.msg);
    free(bytes);
    onnx__model_proto__free_unpacked(m, NULL);
}

static void set(char **text, const char *value)
{
    free(*text);
    *text = hg_strdup(value);
}

static void test_sound(void **state)
{
    (void)state;
    hangar_err err = {0};
    hg_onnx_stats stats;
    if (hg_onnx_check((const uint8_t *)model.data, model.len, files, 1, &stats, &err) != HANGAR_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(stats.nodes, 5);
    assert_int_equal(stats.weights, 1);
    assert_int_equal(stats.weight_bytes, 24);
    assert_int_equal(stats.inputs, 2);
    assert_int_equal(stats.outputs, 1);
}

static void test_cut_anywhere(void **state)
{
    (void)state;
    for (size_t n = 0; n < model.len; n++) {
        hangar_err err = {0};
        uint8_t *cut = hg_calloc(n, 1);
        memcpy(cut, model.data, n);
        if (check(cut, n, &err) == HANGAR_OK) fail_msg("cut at %zu is accepted", n);
        assert_true(err.msg[0] != 0);
        free(cut);
    }
}

/* One flipped byte is either refused or still a sound graph; it never harms. */
static void test_flips(void **state)
{
    (void)state;
    uint8_t *copy = hg_calloc(model.len, 1);
    for (size_t i = 0; i < model.len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            memcpy(copy, model.data, model.len);
            copy[i] ^= (uint8_t)(1 << bit);
            (void)check(copy, model.len, NULL);
        }
    }
    free(copy);
}

static void test_locations(void **state)
{
    (void)state;
    static const char *const bad[] = {"../model.safetensors",
                                      "a/../../model.safetensors",
                                      "./model.safetensors",
                                      "/model.safetensors",
                                      "",
                                      ".",
                                      "..",
                                      "model.safetensors/",
                                      "sub/model.safetensors",
                                      "sub\\model.safetensors",
                                      "sub//model.safetensors",
                                      "MODEL.safetensors",
                                      "model.safetensors ",
                                      "\xef\xbc\x8e\xef\xbc\x8e/x",
                                      "*/_ORT_MEM_ADDR_/*",
                                      "other.safetensors"};
    for (size_t i = 0; i < HG_LEN(bad); i++) {
        Onnx__ModelProto *m = unpack();
        set(&m->graph->initializer[0]->external_data[0]->value, bad[i]);
        refuse(m, "w lies in");
    }
    char *huge = hg_calloc(4097, 1);
    memset(huge, 'a', 4096);
    Onnx__ModelProto *m = unpack();
    set(&m->graph->initializer[0]->external_data[0]->value, huge);
    refuse(m, "w lies in");
    free(huge);
}

static void test_ranges(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "-1", "41",  "64",  "9223372036854775808", "18446744073709551615", "18446744073709551616", "x",
        "",   " 40", "0x28"};
    for (size_t i = 0; i < HG_LEN(bad); i++) {
        Onnx__ModelProto *m = unpack();
        set(&m->graph->initializer[0]->external_data[1]->value, bad[i]);
        refuse(m, "w");
        if (strcmp(bad[i], "41") == 0 || strcmp(bad[i], "64") == 0) continue;
        m = unpack();
        set(&m->graph->initializer[0]->external_data[2]->value, bad[i]);
        refuse(m, "w");
    }
    static const char *const keys[] = {"checksum", "__class__", "basepath", "location", ""};
    for (size_t i = 0; i < HG_LEN(keys); i++) {
        Onnx__ModelProto *m = unpack();
        set(&m->graph->initializer[0]->external_data[2]->key, keys[i]);
        refuse(m, "external_data");
    }
    Onnx__ModelProto *m = unpack();
    m->graph->initializer[0]->dims[0] = 3;
    refuse(m, "length 24 where its shape asks for 36");
    m = unpack();
    m->graph->initializer[0]->dims[0] = -2;
    refuse(m, "impossible shape");
    m = unpack();
    m->graph->initializer[0]->data_type = 8; /* texts */
    refuse(m, "w");
    m = unpack();
    m->graph->initializer[1]->dims[0] = 3; /* an inline list of two */
    refuse(m, "do not fit its shape");
}

static void test_nodes(void **state)
{
    (void)state;
    static const char *const ops[] = {"EPContext", "Loop", "Scan", "PyOp", "gemm", ""};
    for (size_t i = 0; i < HG_LEN(ops); i++) {
        Onnx__ModelProto *m = unpack();
        set(&m->graph->node[0]->op_type, ops[i]);
        refuse(m, "is not allowed");
    }
    Onnx__ModelProto *m = unpack();
    m->graph->node[0]->domain = hg_strdup("ai.custom");
    refuse(m, "'ai.custom' is not allowed");
    m = unpack();
    set(&m->graph->node[0]->input[0], "z");
    refuse(m, "nobody makes its input z");
    m = unpack();
    set(&m->graph->node[0]->input[0], "y"); /* made later */
    refuse(m, "nobody makes its input y");
    m = unpack();
    set(&m->graph->node[0]->input[0], "");
    refuse(m, "left out");
    m = unpack();
    set(&m->graph->node[0]->input[0], "cond");
    refuse(m, "is float, not bool");
    m = unpack();
    set(&m->graph->node[1]->output[0], "w");
    refuse(m, "w is made twice");
    m = unpack();
    set(&m->graph->node[1]->name, "");
    refuse(m, "no name");
    m = unpack();
    set(&m->graph->node[0]->attribute[0]->name, "");
    refuse(m, "no name");
    m = unpack();
    m->graph->node[0]->attribute[0]->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING;
    refuse(m, "not allowed");
    m = unpack();
    set(&m->graph->output[0]->name, "x"); /* an input is no output */
    m->graph->output[0]->type->tensor_type->elem_type = HG_ONNX_INT64;
    refuse(m, "x");
    m = unpack();
    m->graph->output[0]->type->tensor_type->elem_type = HG_ONNX_INT64;
    refuse(m, "another type than it says");
    m = unpack();
    m->graph->node[2]->attribute[0]->g->output[0]->type->tensor_type->elem_type = HG_ONNX_INT64;
    refuse(m, "another type than it says");
}

static void test_models(void **state)
{
    (void)state;
    Onnx__ModelProto *m = unpack();
    m->ir_version = 11;
    refuse(m, "IR version 11");
    m = unpack();
    m->opset_import[0]->version = 16;
    refuse(m, "version 16");
    m = unpack();
    set(&m->opset_import[1]->domain, "ai.custom");
    refuse(m, "ai.custom");
    m = unpack();
    set(&m->opset_import[1]->domain, "");
    m->opset_import[1]->version = 17;
    refuse(m, "version 17");
    m = unpack();
    m->functions = hg_calloc(1, sizeof(void *));
    m->functions[0] = malloc(sizeof **m->functions);
    onnx__function_proto__init(m->functions[0]);
    m->n_functions = 1;
    refuse(m, "functions");
}

/* Graphs in graphs, as deep as anyone likes, cost no stack; lists of empty messages cost no more memory than the budget. */
static void test_bombs(void **state)
{
    (void)state;
    struct rlimit old, stack;
    assert_int_equal(getrlimit(RLIMIT_STACK, &old), 0);
    stack = old;
    stack.rlim_cur = 256 << 10;
    assert_int_equal(setrlimit(RLIMIT_STACK, &stack), 0);
    /* From the inside out: attribute 6 (graph) in node 5 (attribute) in graph 1 (node) in model 7 (graph). */
    size_t levels = 100000, cap = levels * 64, at = cap;
    uint8_t *bytes = hg_calloc(cap, 1);
    static const uint8_t tags[] = {6 << 3 | 2, 5 << 3 | 2, 1 << 3 | 2};
    for (size_t i = 0; i < levels; i++) {
        uint64_t len = cap - at;
        uint8_t varint[10];
        size_t n = 0;
        do {
            varint[n++] = (uint8_t)((len & 0x7f) | (len > 0x7f ? 0x80 : 0));
            len >>= 7;
        } while (len);
        at -= n;
        memcpy(bytes + at, varint, n);
        bytes[--at] = i == levels - 1 ? 7 << 3 | 2 : tags[i % 3];
    }
    hangar_err err = {0};
    hg_onnx_model *m = NULL;
    assert_int_not_equal(hg_onnx_read(bytes + at, cap - at, &m, &err), HANGAR_OK);
    free(bytes);
    size_t count = 4 << 20; /* empty nodes of two bytes each: some 700 MB as structs */
    uint8_t *wide = hg_calloc(count * 2 + 8, 1);
    size_t len = 0, body = count * 2;
    wide[len++] = 7 << 3 | 2;
    for (size_t rest = body;; rest >>= 7) {
        wide[len++] = (uint8_t)((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
        if (rest <= 0x7f) break;
    }
    for (size_t i = 0; i < count; i++) wide[len + 2 * i] = 1 << 3 | 2;
    assert_int_not_equal(hg_onnx_read(wide, len + body, &m, &err), HANGAR_OK);
    free(wide);
    assert_int_equal(setrlimit(RLIMIT_STACK, &old), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound),     cmocka_unit_test(test_cut_anywhere), cmocka_unit_test(test_flips),
        cmocka_unit_test(test_locations), cmocka_unit_test(test_ranges),       cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_models),    cmocka_unit_test(test_bombs),
    };
    return cmocka_run_group_tests(tests, build, drop);
}
