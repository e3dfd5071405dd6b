/* SPDX-License-Identifier: Apache-2.0 */
/* Fixtures with one thing changed: what their graphs take and give, or the words that refuse them. */
#ifndef HG_TEST_CONVERT_PORTS_H
#define HG_TEST_CONVERT_PORTS_H

#include "kit.h"

#include "graph/read.h"

#include "onnx.pb-c.h"

static hg_store *ports_store;

static inline int ports_open(void **state)
{
    (void)state;
    ports_store = kit_store();
    return 0;
}

static inline int ports_close(void **state)
{
    (void)state;
    hg_store_close(ports_store);
    assert_int_equal(hg_rm_tree(at("cache"), NULL), HANGAR_OK);
    return hg_rm_tree(at("home"), NULL);
}

/* One change: of config.json, or of the header of the weights (NULL = none). */
typedef struct ports_change {
    const char *fixture, *from, *to, *w_from, *w_to;
} ports_change;

/* Refused with this code and these words. */
static inline void ports_refuse(const ports_change *c, hangar_code want, const char *words)
{
    hangar_err err = {0};
    hg_snapshot *snap = kit_repo(ports_store, c->fixture, c->from, c->to, c->w_from, c->w_to);
    hangar_code code = kit_convert(ports_store, snap, NULL, HANGAR_PLACE_AUTO, NULL, &err);
    if (code == HANGAR_OK) fail_msg("%s: %s is accepted", c->fixture, c->to ? c->to : c->w_to);
    if (!strstr(err.msg, words)) fail_msg("\"%s\" expected, not \"%s\"", words, err.msg);
    assert_int_equal(code, want);
    hg_snapshot_free(snap);
}

/* "x[batch_size,3] y[...]" of inputs or outputs. */
static inline void ports_text(Onnx__ValueInfoProto **list, size_t count, hg_buf *out)
{
    for (size_t i = 0; i < count; i++) {
        const Onnx__TensorShapeProto *s = list[i]->type->tensor_type->shape;
        hg_buf_printf(out, "%s%s[", i ? " " : "", list[i]->name);
        for (size_t j = 0; j < s->n_dim; j++) {
            if (j) hg_buf_putc(out, ',');
            if (s->dim[j]->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE)
                hg_buf_printf(out, "%lld", (long long)s->dim[j]->dim_value);
            else hg_buf_puts(out, s->dim[j]->dim_param);
        }
        hg_buf_putc(out, ']');
    }
}

/* "NAME: inputs -> outputs" of all graphs, a line each. */
static inline void ports_expect(const ports_change *c, const char *want)
{
    hg_artifact *a = NULL;
    hangar_err err = {0};
    hg_buf text;
    hg_snapshot *snap = kit_repo(ports_store, c->fixture, c->from, c->to, c->w_from, c->w_to);
    if (kit_convert(ports_store, snap, NULL, HANGAR_PLACE_AUTO, NULL, &err) != HANGAR_OK)
        fail_msg("%s", err.msg);
    if (hg_artifact_open(ports_store, snap, NULL, &a, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    hg_buf_init(&text, HG_MIB);
    for (size_t i = 0; i < a->graph_count; i++) {
        const Onnx__ModelProto *m = hg_onnx_message(a->graphs[i].model);
        hg_buf_printf(&text, "%s%s: ", i ? "\n" : "", a->graphs[i].name);
        ports_text(m->graph->input, m->graph->n_input, &text);
        hg_buf_puts(&text, " -> ");
        ports_text(m->graph->output, m->graph->n_output, &text);
    }
    assert_string_equal(hg_buf_text(&text), want);
    hg_buf_deinit(&text);
    hg_artifact_free(a);
    hg_snapshot_free(snap);
}

/* Whether the weights of a fixture are mapped from where they lie, or placed beside the graphs for the engine to work on. */
static inline void ports_mapped(const char *fixture, bool mapped)
{
    hg_artifact *a = NULL;
    hangar_err err = {0};
    hg_snapshot *snap = kit_repo(ports_store, fixture, NULL, NULL, NULL, NULL);
    if (kit_convert(ports_store, snap, NULL, HANGAR_PLACE_AUTO, NULL, &err) != HANGAR_OK)
        fail_msg("%s", err.msg);
    if (hg_artifact_open(ports_store, snap, NULL, &a, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    if (a->mapped != mapped) fail_msg("%s is %smapped", fixture, mapped ? "not " : "");
    hg_artifact_free(a);
    hg_snapshot_free(snap);
}

#endif
