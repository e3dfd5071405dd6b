/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A graph as ONNX protobuf. The messages are built in the graph's arena, with pointers into the graph itself, and packed once; nothing but the
 * output buffer is copied. What an emitted file holds is checked by reading it again (check.h), not here.
 */
#include "base/mem.h"
#include "graph/inner.h"
#include "hangar/hangar.h"

#include "onnx.pb-c.h"

#include <stdio.h>
#include <string.h>

typedef struct emitter {
    hg_graph *g;
    const char *const *locations;
    size_t location_count;
    const char *made;
    bool failed; /* out of memory */
} emitter;

/* Strings in protobuf-c's structs are not const, but packing only reads them. */
static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static void *make(emitter *e, size_t count, size_t size)
{
    void *p = hg_arena_new(&e->g->arena, count, size);
    if (!p) e->failed = true;
    return p;
}

/* NEW(name, Type, init): a message of that type in the arena, or a return of NULL. */
#define NEW(var, type, init)             \
    type *var = make(e, 1, sizeof *var); \
    if (!(var)) return NULL;             \
    init(var)

static Onnx__StringStringEntryProto *entry(emitter *e, const char *key, const char *value)
{
    NEW(p, Onnx__StringStringEntryProto, onnx__string_string_entry_proto__init);
    p->key = text(key);
    p->value = text(value);
    return p;
}

static Onnx__StringStringEntryProto *number_entry(emitter *e, const char *key, uint64_t number)
{
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
    char *copy = hg_arena_text(&e->g->arena, digits, (size_t)n);
    if (!copy) e->failed = true;
    return copy ? entry(e, key, copy) : NULL;
}

static void dims_of(emitter *e, const hg_shape *shape, Onnx__TensorProto *t)
{
    t->n_dims = (size_t)shape->rank;
    t->dims = make(e, t->n_dims, sizeof *t->dims);
    for (int i = 0; t->dims && i < shape->rank; i++) t->dims[i] = shape->dims[i].size;
}

static Onnx__TensorProto *tensor(emitter *e, const char *name, hg_onnx_type type, const hg_shape *shape)
{
    NEW(t, Onnx__TensorProto, onnx__tensor_proto__init);
    t->name = text(name);
    t->has_data_type = 1;
    t->data_type = (int32_t)type;
    dims_of(e, shape, t);
    return t;
}

static Onnx__TensorProto *weight(emitter *e, const hg_weight *w)
{
    Onnx__TensorProto *t = tensor(e, w->value->name, w->value->type, &w->value->shape);
    if (!t) return NULL;
    t->has_data_location = 1;
    t->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    t->external_data = make(e, 3, sizeof(Onnx__StringStringEntryProto *));
    if (!t->external_data) return NULL;
    t->n_external_data = 3;
    t->external_data[0] = entry(e, "location", w->file == HG_WEIGHT_MADE ? e->made : e->locations[w->file]);
    t->external_data[1] = number_entry(e, "offset", w->offset);
    t->external_data[2] = number_entry(e, "length", w->bytes);
    return t;
}

static Onnx__TensorProto *constant(emitter *e, const hg_const *c)
{
    Onnx__TensorProto *t = tensor(e, c->value->name, c->value->type, &c->value->shape);
    if (!t) return NULL;
    t->has_raw_data = 1;
    t->raw_data.len = c->bytes;
    t->raw_data.data = c->data;
    return t;
}

static Onnx__TensorProto *zeros(emitter *e, const hg_attr *a)
{
    uint64_t bytes = hg_onnx_type_bytes(a->type);
    for (int i = 0; i < a->shape.rank; i++) {
        if (a->shape.dims[i].size < 0 || !hg_mul(bytes, (uint64_t)a->shape.dims[i].size, &bytes))
            bytes = SIZE_MAX;
    }
    Onnx__TensorProto *t = bytes < HG_MIB ? tensor(e, "", a->type, &a->shape) : NULL;
    if (!t) {
        hg_graph_fail(e->g, HANGAR_E_INTERNAL, "a constant is too large");
        return NULL;
    }
    t->has_raw_data = 1;
    t->raw_data.len = (size_t)bytes;
    t->raw_data.data = make(e, (size_t)bytes, 1);
    return t;
}

static Onnx__ValueInfoProto *value_info(emitter *e, const hg_value *v)
{
    NEW(info, Onnx__ValueInfoProto, onnx__value_info_proto__init);
    NEW(type, Onnx__TypeProto, onnx__type_proto__init);
    NEW(tensor_type, Onnx__TypeProto__Tensor, onnx__type_proto__tensor__init);
    info->name = text(v->name);
    info->type = type;
    type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    type->tensor_type = tensor_type;
    tensor_type->has_elem_type = 1;
    tensor_type->elem_type = (int32_t)v->type;
    if (v->shape.rank < 0) return info;
    NEW(shape, Onnx__TensorShapeProto, onnx__tensor_shape_proto__init);
    tensor_type->shape = shape;
    shape->n_dim = (size_t)v->shape.rank;
    shape->dim = make(e, shape->n_dim, sizeof(Onnx__TensorShapeProto__Dimension *));
    if (!shape->dim) return NULL;
    for (size_t i = 0; i < shape->n_dim; i++) {
        NEW(dim, Onnx__TensorShapeProto__Dimension, onnx__tensor_shape_proto__dimension__init);
        const hg_dim *d = &v->shape.dims[i];
        if (d->size >= 0) {
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            dim->dim_value = d->size;
        } else if (d->sym) {
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            dim->dim_param = text(d->sym);
        }
        shape->dim[i] = dim;
    }
    return info;
}

static Onnx__GraphProto *graph(emitter *e, const hg_branch *b);

static Onnx__AttributeProto *attribute(emitter *e, const hg_attr *a)
{
    NEW(p, Onnx__AttributeProto, onnx__attribute_proto__init);
    p->name = text(a->name);
    p->has_type = 1;
    switch (a->kind) {
    case HG_ATTR_INT:
        p->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
        p->has_i = 1;
        p->i = a->i;
        break;
    case HG_ATTR_FLOAT:
        p->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT;
        p->has_f = 1;
        p->f = a->f;
        break;
    case HG_ATTR_INTS:
        p->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
        p->n_ints = a->int_count;
        p->ints = a->ints;
        break;
    case HG_ATTR_ZEROS:
        p->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR;
        p->t = zeros(e, a);
        break;
    case HG_ATTR_BRANCH:
        p->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH;
        p->g =
            graph(e,
                  a->branch); /* as deep as branches were nested by the builder: HG_ONNX_SCOPES_MAX at most */
        break;
    }
    return p;
}

static Onnx__NodeProto *node(emitter *e, const hg_node *n)
{
    NEW(p, Onnx__NodeProto, onnx__node_proto__init);
    p->name = text(n->name);
    p->op_type = text(n->op);
    if (n->domain[0]) p->domain = text(n->domain);
    p->n_input = n->in_count;
    p->n_output = n->out_count;
    p->n_attribute = n->attrs.count;
    p->input = make(e, n->in_count, sizeof(char *));
    p->output = make(e, n->out_count, sizeof(char *));
    p->attribute = make(e, n->attrs.count, sizeof(Onnx__AttributeProto *));
    if (e->failed) return NULL;
    for (size_t i = 0; i < n->in_count; i++) p->input[i] = text(n->inputs[i] ? n->inputs[i]->name : "");
    for (size_t i = 0; i < n->out_count; i++) p->output[i] = text(n->outputs[i] ? n->outputs[i]->name : "");
    for (size_t i = 0; i < n->attrs.count; i++) p->attribute[i] = attribute(e, n->attrs.items[i]);
    return p;
}

/* Nodes and outputs of the model or of a branch. */
static Onnx__GraphProto *graph(emitter *e, const hg_branch *b)
{
    NEW(p, Onnx__GraphProto, onnx__graph_proto__init);
    p->name = text(b->name);
    p->n_node = b->nodes.count;
    p->n_output = b->outputs.count;
    p->node = make(e, p->n_node, sizeof(Onnx__NodeProto *));
    p->output = make(e, p->n_output, sizeof(Onnx__ValueInfoProto *));
    if (e->failed) return NULL;
    for (size_t i = 0; i < p->n_node; i++) p->node[i] = node(e, b->nodes.items[i]);
    for (size_t i = 0; i < p->n_output; i++) p->output[i] = value_info(e, b->outputs.items[i]);
    return p;
}

/* Inputs, weights and constants, which only the outermost graph has. */
static bool fill_top(emitter *e, Onnx__GraphProto *p)
{
    hg_graph *g = e->g;
    p->n_input = g->inputs.count;
    p->n_initializer = g->weights.count + g->consts.count;
    p->input = make(e, p->n_input, sizeof(Onnx__ValueInfoProto *));
    p->initializer = make(e, p->n_initializer, sizeof(Onnx__TensorProto *));
    if (e->failed) return false;
    for (size_t i = 0; i < p->n_input; i++) p->input[i] = value_info(e, g->inputs.items[i]);
    Onnx__TensorProto **next = p->initializer;
    for (size_t i = 0; i < g->weights.count; i++) {
        const hg_weight *w = g->weights.items[i];
        if (w->file == HG_WEIGHT_MADE ? !e->made : w->file >= e->location_count) {
            hg_graph_fail(g, HANGAR_E_INTERNAL, "%s lies in a file without a location", w->value->name);
            return false;
        }
        *next++ = weight(e, w);
    }
    for (size_t i = 0; i < g->consts.count; i++) *next++ = constant(e, g->consts.items[i]);
    return !e->failed;
}

static Onnx__OperatorSetIdProto *opset(emitter *e, const char *domain, int64_t version)
{
    NEW(p, Onnx__OperatorSetIdProto, onnx__operator_set_id_proto__init);
    p->domain = text(domain);
    p->has_version = 1;
    p->version = version;
    return p;
}

static Onnx__ModelProto *model(emitter *e)
{
    hg_graph *g = e->g;
    NEW(p, Onnx__ModelProto, onnx__model_proto__init);
    p->has_ir_version = 1;
    p->ir_version = g->opset <= 18 ? 8 : g->opset <= 20 ? 9 : 10;
    p->producer_name = text("hangar");
    p->producer_version = text(HANGAR_VERSION);
    p->n_opset_import = g->microsoft ? 2 : 1;
    p->opset_import = make(e, 2, sizeof(Onnx__OperatorSetIdProto *));
    p->graph = graph(e, &g->top);
    if (e->failed || !p->graph || !fill_top(e, p->graph)) return NULL;
    p->opset_import[0] = opset(e, "", g->opset);
    if (g->microsoft) p->opset_import[1] = opset(e, HG_ONNX_MICROSOFT, 1);
    return p;
}

/* Packs the model into `out`. */
hangar_code hg_graph_emit(hg_graph *g, const char *const *locations, size_t location_count, const char *made,
                          hg_buf *out, hangar_err *err)
{
    emitter e = {.g = g, .locations = locations, .location_count = location_count, .made = made};
    hangar_code code = hg_graph_state(g, err);
    if (code != HANGAR_OK) return code;
    if (g->current != &g->top || g->scope_count)
        return hg_fail(err, HANGAR_E_INTERNAL, "a branch or scope is still open");
    Onnx__ModelProto *m = model(&e);
    code = hg_graph_state(g, err);
    if (code != HANGAR_OK) return code;
    if (e.failed || !m) return hg_fail_memory(err);
    size_t size = onnx__model_proto__get_packed_size(m);
    if (size > HG_ONNX_EMIT_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "a graph of %zu bytes is over the limit of %zu", size,
                       HG_ONNX_EMIT_MAX);
    void *room = hg_buf_reserve(out, size);
    if (room) out->len += onnx__model_proto__pack(m, room);
    return hg_buf_check(out, err);
}
