/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making of a graph. Invariants: every value has a name of its own; a node's name is the name its first output was born with, so node
 * names are different, too; a node's inputs were made before it, so the lists are in an order in which they can run.
 */
#include "graph/inner.h"

#include "base/mem.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Bytes of one element. */
unsigned hg_onnx_type_bytes(hg_onnx_type type)
{
    switch (type) {
    case HG_ONNX_BOOL:
    case HG_ONNX_UINT8:
    case HG_ONNX_INT8: return 1;
    case HG_ONNX_FLOAT16:
    case HG_ONNX_BFLOAT16: return 2;
    case HG_ONNX_FLOAT:
    case HG_ONNX_INT32: return 4;
    case HG_ONNX_INT64:
    case HG_ONNX_DOUBLE: return 8;
    case HG_ONNX_ANY: break;
    }
    return 0;
}

/* The type in words. */
const char *hg_onnx_type_name(hg_onnx_type type)
{
    switch (type) {
    case HG_ONNX_BOOL: return "bool";
    case HG_ONNX_UINT8: return "uint8";
    case HG_ONNX_INT8: return "int8";
    case HG_ONNX_FLOAT16: return "float16";
    case HG_ONNX_BFLOAT16: return "bfloat16";
    case HG_ONNX_FLOAT: return "float";
    case HG_ONNX_INT32: return "int32";
    case HG_ONNX_INT64: return "int64";
    case HG_ONNX_DOUBLE: return "double";
    case HG_ONNX_ANY: break;
    }
    return "unknown";
}

/* An empty graph. */
hg_graph *hg_graph_new(const char *name, int opset)
{
    if (opset < HG_ONNX_OPSET_MIN || opset > HG_ONNX_OPSET_MAX) return NULL;
    hg_graph *g = hg_calloc(1, sizeof *g);
    if (!g) return NULL;
    g->opset = opset;
    g->real = HG_ONNX_FLOAT;
    g->current = &g->top;
    g->nothing = (hg_value){.name = "", .shape.rank = -1};
    g->top.name = hg_arena_text(&g->arena, name, strlen(name));
    if (!g->top.name) {
        hg_graph_free(g);
        return NULL;
    }
    return g;
}

/* How it is written. */
void hg_graph_set(hg_graph *g, hg_style style, hg_onnx_type real)
{
    g->style = style;
    g->real = real;
}

hg_style hg_graph_style(const hg_graph *g)
{
    return g->style;
}

int hg_graph_opset(const hg_graph *g)
{
    return g->opset;
}

hg_onnx_type hg_graph_real(const hg_graph *g)
{
    return g->real;
}

/* Frees a graph with all that was made in it. */
void hg_graph_free(hg_graph *g)
{
    if (!g) return;
    hg_arena_deinit(&g->arena);
    free((void *)g->names);
    free(g);
}

/* The first error. */
hangar_code hg_graph_state(const hg_graph *g, hangar_err *err)
{
    if (g->wrong.code != HANGAR_OK && err) *err = g->wrong;
    return g->wrong.code;
}

/* Keeps the first error, with the scope before its words. */
void hg_graph_fail(hg_graph *g, hangar_code code, const char *fmt, ...)
{
    if (g->wrong.code != HANGAR_OK) return;
    char words[HANGAR_ERR_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(words, sizeof words, fmt, args);
    va_end(args);
    if (g->scope_len) (void)hg_fail(&g->wrong, code, "%s: %s", g->scope, words);
    else (void)hg_fail(&g->wrong, code, "%s", words);
}

static void fail_memory(hg_graph *g)
{
    if (g->wrong.code == HANGAR_OK) (void)hg_fail_memory(&g->wrong);
}

static void *make(hg_graph *g, size_t count, size_t size)
{
    void *p = hg_arena_new(&g->arena, count, size);
    if (!p) fail_memory(g);
    return p;
}

static bool push(hg_graph *g, hg_list *list, void *item)
{
    if (list->count == list->cap) {
        size_t cap = list->cap ? 2 * list->cap : 8;
        void **items = make(g, cap, sizeof *items);
        if (!items) return false;
        if (list->count) memcpy(items, list->items, list->count * sizeof *items);
        list->items = items;
        list->cap = cap;
    }
    list->items[list->count++] = item;
    return true;
}

/* ---- names ---- */

/* Puts a name behind the present scope. */
void hg_graph_enter(hg_graph *g, const char *fmt, ...)
{
    char leaf[HG_ONNX_NAME_MAX];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(leaf, sizeof leaf, fmt, args);
    va_end(args);
    size_t len = g->scope_len;
    if (n < 0 || g->scope_count == HG_ONNX_SCOPES_MAX || len + (size_t)n + 2 > sizeof g->scope) {
        hg_graph_fail(g, HANGAR_E_LIMIT, "names are nested too deep");
        n = -1;
    }
    if (g->scope_count < HG_ONNX_SCOPES_MAX) g->scopes[g->scope_count] = len;
    g->scope_count++;
    if (n < 0) return;
    if (len) g->scope[len++] = '.';
    memcpy(g->scope + len, leaf, (size_t)n + 1);
    g->scope_len = len + (size_t)n;
}

/* Takes the last name off the scope. */
void hg_graph_leave(hg_graph *g)
{
    if (g->scope_count == 0) {
        hg_graph_fail(g, HANGAR_E_INTERNAL, "a scope is left that was not entered");
        return;
    }
    g->scope_count--;
    if (g->scope_count < HG_ONNX_SCOPES_MAX) g->scope_len = g->scopes[g->scope_count];
    g->scope[g->scope_len] = 0;
}

/* The present scope. */
const char *hg_graph_scope(const hg_graph *g)
{
    return g->scope;
}

/* The place of a name in the table: that of the value, or an empty one. The table is never full. */
static size_t name_slot(hg_value *const *names, size_t cap, const char *name)
{
    size_t at = hg_name_hash(name) & (cap - 1);
    while (names[at] && strcmp(names[at]->name, name) != 0) at = (at + 1) & (cap - 1);
    return at;
}

static hg_value *find(const hg_graph *g, const char *name)
{
    return g->name_cap ? g->names[name_slot(g->names, g->name_cap, name)] : NULL;
}

static bool grow_names(hg_graph *g)
{
    size_t cap = g->name_cap ? 2 * g->name_cap : 256;
    hg_value **names = (hg_value **)hg_calloc(cap, sizeof *names);
    if (!names) {
        fail_memory(g);
        return false;
    }
    for (size_t i = 0; i < g->name_cap; i++) {
        if (g->names[i]) names[name_slot(names, cap, g->names[i]->name)] = g->names[i];
    }
    free((void *)g->names);
    g->names = names;
    g->name_cap = cap;
    return true;
}

/* Makes a value with a name of its own. */
static hg_value *new_value(hg_graph *g, const char *name, int kind)
{
    if (2 * (g->name_count + 1) > g->name_cap && !grow_names(g)) return &g->nothing;
    size_t at = name_slot(g->names, g->name_cap, name);
    if (g->names[at]) {
        hg_graph_fail(g, HANGAR_E_INTERNAL, "two values are called %s", name);
        return &g->nothing;
    }
    hg_value *v = make(g, 1, sizeof *v);
    if (!v) return &g->nothing;
    v->name = hg_arena_text(&g->arena, name, strlen(name));
    if (!v->name) {
        fail_memory(g);
        return &g->nothing;
    }
    v->kind = kind;
    v->shape.rank = -1;
    g->names[at] = v;
    g->name_count++;
    return v;
}

/* "scope.leaf", with ".index" behind when index is not 0. */
static const char *full_name(hg_graph *g, const char *leaf, size_t index, char out[2 * HG_ONNX_NAME_MAX])
{
    char suffix[24] = "";
    if (index) snprintf(suffix, sizeof suffix, ".%zu", index);
    int n = snprintf(out, 2 * HG_ONNX_NAME_MAX, "%s%s%s%s", g->scope, g->scope_len ? "." : "", leaf, suffix);
    if (n < 0 || n >= 2 * HG_ONNX_NAME_MAX)
        hg_graph_fail(g, HANGAR_E_LIMIT, "the name %.64s is too long", leaf);
    return out;
}

/* What was made under a name. */
hg_value *hg_graph_made(hg_graph *g, const char *name)
{
    char full[2 * HG_ONNX_NAME_MAX];
    hg_value *v = find(g, full_name(g, name, 0, full));
    return v && v->kind == HG_VALUE_NODE ? v : NULL;
}

/* ---- inputs, outputs, weights, constants ---- */

/* An input of the model. */
hg_value *hg_graph_input(hg_graph *g, const char *name, hg_onnx_type type, hg_shape shape)
{
    hg_value *v = new_value(g, name, HG_VALUE_INPUT);
    if (v == &g->nothing) return v;
    v->type = type;
    v->shape = shape;
    push(g, &g->inputs, v);
    return v;
}

/* An output of the model: the value is called so from now on. */
void hg_graph_output(hg_graph *g, const char *name, hg_value *value)
{
    if (g->wrong.code != HANGAR_OK || value == &g->nothing) return;
    if (value->kind != HG_VALUE_NODE) {
        hg_graph_fail(g, HANGAR_E_INTERNAL, "output %s is not made by a node of its own", name);
        return;
    }
    hg_value *held = new_value(g, name, HG_VALUE_OUTPUT); /* keeps the name */
    if (held == &g->nothing) return;
    value->kind = HG_VALUE_OUTPUT;
    /* The old name stays taken: the table looks values up by name, so the old entry gets a value of its own. */
    size_t at = name_slot(g->names, g->name_cap, value->name);
    hg_value *ghost = make(g, 1, sizeof *ghost);
    if (!ghost) return;
    *ghost = (hg_value){.name = value->name, .kind = HG_VALUE_OUTPUT, .shape.rank = -1};
    g->names[at] = ghost;
    g->names[name_slot(g->names, g->name_cap, name)] = value;
    value->name = held->name;
    push(g, &g->top.outputs, value);
}

/* A weight, once. */
hg_value *hg_graph_weight(hg_graph *g, const char *name, hg_onnx_type type, uint32_t rank,
                          const uint64_t *shape, uint32_t file, uint64_t offset, uint64_t bytes)
{
    hg_value *v = find(g, name);
    if (v && v->kind == HG_VALUE_WEIGHT) return v;
    if (rank > HG_ONNX_RANK_MAX) {
        hg_graph_fail(g, HANGAR_E_UNSUPPORTED, "%s has %u dimensions", name, rank);
        return &g->nothing;
    }
    uint64_t need = hg_onnx_type_bytes(type);
    bool fits = need != 0;
    v = new_value(g, name, HG_VALUE_WEIGHT);
    hg_weight *w = make(g, 1, sizeof *w);
    if (v == &g->nothing || !w) return &g->nothing;
    v->type = type;
    v->shape.rank = (int)rank;
    for (uint32_t i = 0; i < rank; i++) {
        fits = fits && shape[i] <= INT64_MAX && hg_mul(need, shape[i], &need);
        v->shape.dims[i] = HG_DIM(fits ? shape[i] : 0);
    }
    if (!fits || need != bytes)
        hg_graph_fail(g, HANGAR_E_INVALID, "%s: its bytes do not fit its shape", name);
    *w = (hg_weight){v, file, offset, bytes};
    push(g, &g->weights, w);
    return v;
}

/* A constant called `name`: the one that is there, or a new one. */
static hg_value *constant(hg_graph *g, const char *name, hg_onnx_type type, hg_shape shape, const void *data,
                          size_t bytes)
{
    hg_value *v = find(g, name);
    if (v && v->kind == HG_VALUE_CONST) return v;
    v = new_value(g, name, HG_VALUE_CONST);
    hg_const *c = make(g, 1, sizeof *c);
    void *copy = make(g, bytes ? bytes : 1, 1);
    if (v == &g->nothing || !c || !copy) return &g->nothing;
    if (bytes) memcpy(copy, data, bytes);
    v->type = type;
    v->shape = shape;
    *c = (hg_const){v, copy, bytes};
    push(g, &g->consts, c);
    return v;
}

/* A list of whole numbers. */
hg_value *hg_graph_ints(hg_graph *g, const int64_t *numbers, size_t count)
{
    char name[HG_ONNX_NAME_MAX] = "const";
    size_t len = 5;
    for (size_t i = 0; i < count && len < sizeof name - 24; i++) {
        len +=
            (size_t)snprintf(name + len, sizeof name - len, "%c%lld", i ? '_' : '.', (long long)numbers[i]);
    }
    return constant(g, name, HG_ONNX_INT64, HG_SHAPE(HG_DIM(count)), numbers, count * sizeof *numbers);
}

/* One whole number. */
hg_value *hg_graph_int(hg_graph *g, int64_t number)
{
    char name[48];
    snprintf(name, sizeof name, "scalar.%lld", (long long)number);
    return constant(g, name, HG_ONNX_INT64, HG_SCALAR, &number, sizeof number);
}

/* A double as a half, rounded to the nearest, ties to even; too large becomes the largest. */
static uint16_t half_of(double number)
{
    uint16_t sign = number < 0 ? 0x8000 : 0;
    double x = fabs(number);
    if (x > 65504) x = 65504;
    if (x < 0x1p-24 / 2) return sign;
    int exponent;
    (void)frexp(x, &exponent); /* x in [2^(e-1), 2^e) */
    if (exponent - 1 < -14) return (uint16_t)(sign | (uint16_t)rint(ldexp(x, 24)));
    double mantissa = rint(ldexp(x, 11 - exponent)); /* in [1024, 2048] */
    uint32_t bits = (uint32_t)(exponent + 14) << 10;
    return (uint16_t)(sign | (bits + (uint32_t)mantissa - 1024));
}

/* One real number. */
hg_value *hg_graph_real_of(hg_graph *g, double number)
{
    char name[64];
    const float single = (float)number;
    const uint16_t half = half_of(isfinite(number) ? number : 0);
    bool narrow = g->real == HG_ONNX_FLOAT16;
    if (!isfinite(number)) hg_graph_fail(g, HANGAR_E_INTERNAL, "a constant that is not finite");
    snprintf(name, sizeof name, "real.%.9g", number);
    return constant(g, name, g->real, HG_SCALAR, narrow ? (const void *)&half : &single,
                    hg_onnx_type_bytes(g->real));
}

/* A tensor inside the graph. */
hg_value *hg_graph_inline(hg_graph *g, const char *name, hg_onnx_type type, hg_shape shape, const void *data,
                          size_t bytes)
{
    char full[2 * HG_ONNX_NAME_MAX];
    uint64_t need = hg_onnx_type_bytes(type);
    for (int i = 0; i < shape.rank; i++) {
        if (shape.dims[i].size < 0 || !hg_mul(need, (uint64_t)shape.dims[i].size, &need)) need = UINT64_MAX;
    }
    if (need != bytes || bytes > HG_ONNX_INLINE_MAX) {
        hg_graph_fail(g, HANGAR_E_INTERNAL, "%s: %zu bytes for a constant", name, bytes);
        return &g->nothing;
    }
    return constant(g, full_name(g, name, 0, full), type, shape, data, bytes);
}

/* ---- nodes ---- */

/* A node with its outputs, which are any type until hg_node_out. */
hg_node *hg_graph_node(hg_graph *g, const char *domain, const char *op, const char *name,
                       hg_value *const *inputs, size_t in_count, size_t out_count)
{
    char full[2 * HG_ONNX_NAME_MAX];
    if (g->wrong.code != HANGAR_OK) return NULL;
    hg_node *n = make(g, 1, sizeof *n);
    if (!n) return NULL;
    n->op = op;
    n->domain = domain;
    n->in_count = in_count;
    n->out_count = out_count;
    n->inputs = (hg_value **)make(g, in_count, sizeof *n->inputs);
    n->outputs = (hg_value **)make(g, out_count, sizeof *n->outputs);
    if (!n->inputs || !n->outputs) return NULL;
    for (size_t i = 0; i < in_count; i++) n->inputs[i] = inputs[i];
    for (size_t i = 0; i < out_count; i++)
        n->outputs[i] = new_value(g, full_name(g, name, i, full), HG_VALUE_NODE);
    if (g->wrong.code != HANGAR_OK) return NULL;
    n->name = n->outputs[0]->name;
    if (strcmp(domain, HG_ONNX_MICROSOFT) == 0) g->microsoft = true;
    g->node_count++;
    return push(g, &g->current->nodes, n) ? n : NULL;
}

/* An output of a node, now with its type and shape. */
hg_value *hg_node_out(hg_graph *g, hg_node *node, size_t index, hg_onnx_type type, hg_shape shape)
{
    if (!node || index >= node->out_count) return &g->nothing;
    hg_value *v = node->outputs[index];
    if (!v) return &g->nothing;
    v->type = type;
    v->shape = shape;
    return v;
}

/* Leaves an output out. */
void hg_node_skip_out(hg_graph *g, hg_node *node, size_t index)
{
    (void)g;
    if (node && index > 0 && index < node->out_count) node->outputs[index] = NULL;
}

static hg_attr *attribute(hg_graph *g, hg_node *node, const char *name, hg_attr_kind kind)
{
    if (!node) return NULL;
    hg_attr *a = make(g, 1, sizeof *a);
    if (!a) return NULL;
    a->name = name;
    a->kind = kind;
    push(g, &node->attrs, a);
    return a;
}

/* A whole number as attribute. */
void hg_node_int(hg_graph *g, hg_node *node, const char *name, int64_t number)
{
    hg_attr *a = attribute(g, node, name, HG_ATTR_INT);
    if (a) a->i = number;
}

/* A number as attribute. */
void hg_node_float(hg_graph *g, hg_node *node, const char *name, float number)
{
    hg_attr *a = attribute(g, node, name, HG_ATTR_FLOAT);
    if (a) a->f = number;
}

/* A list of whole numbers as attribute. */
void hg_node_ints(hg_graph *g, hg_node *node, const char *name, const int64_t *numbers, size_t count)
{
    hg_attr *a = attribute(g, node, name, HG_ATTR_INTS);
    int64_t *copy = a ? make(g, count, sizeof *copy) : NULL;
    if (!copy) return;
    if (count) memcpy(copy, numbers, count * sizeof *copy);
    a->ints = copy;
    a->int_count = count;
}

/* A tensor of zeros as attribute `value`. */
void hg_node_zeros(hg_graph *g, hg_node *node, hg_onnx_type type, hg_shape shape)
{
    hg_attr *a = attribute(g, node, "value", HG_ATTR_ZEROS);
    if (!a) return;
    a->type = type;
    a->shape = shape;
}

/* ---- branches ---- */

/* Begins a branch inside the present one. */
hg_branch *hg_graph_branch_begin(hg_graph *g, const char *name)
{
    hg_graph_enter(g, "%s", name);
    hg_branch *b = make(g, 1, sizeof *b);
    if (!b) return NULL;
    b->parent = g->current;
    b->name = hg_arena_text(&g->arena, g->scope, g->scope_len);
    if (!b->name) fail_memory(g);
    g->current = b;
    return b;
}

/* An output of the branch. */
void hg_graph_branch_output(hg_graph *g, hg_value *value)
{
    if (value != &g->nothing && g->current != &g->top) push(g, &g->current->outputs, value);
}

/* Ends the present branch. */
void hg_graph_branch_end(hg_graph *g)
{
    hg_graph_leave(g);
    if (g->current->parent) g->current = g->current->parent;
}

/* What an output is made of. */
hg_onnx_type hg_branch_type(const hg_branch *branch, size_t index)
{
    if (!branch || index >= branch->outputs.count) return HG_ONNX_ANY;
    return ((const hg_value *)branch->outputs.items[index])->type;
}

/* A branch as attribute. */
void hg_node_branch(hg_graph *g, hg_node *node, const char *name, hg_branch *branch)
{
    hg_attr *a = attribute(g, node, name, HG_ATTR_BRANCH);
    if (a) a->branch = branch;
}

/* All of a node's inputs are there before the first run, and a weight is among them; or it is a convolution over pictures, whose weight ONNX Runtime
 * lays out anew for the processor. */
static bool node_folds(const hg_node *n)
{
    bool weight = false;
    if (strcmp(n->op, "Shape") == 0) return false;
    if (strcmp(n->op, "Conv") == 0 && n->in_count > 1 && n->inputs[1]->kind == HG_VALUE_WEIGHT &&
        n->inputs[1]->shape.rank == 4) {
        return true;
    }
    for (size_t i = 0; i < n->in_count; i++) {
        const hg_value *v = n->inputs[i];
        if (v && v->kind != HG_VALUE_WEIGHT && v->kind != HG_VALUE_CONST) return false;
        weight = weight || (v && v->kind == HG_VALUE_WEIGHT);
    }
    return weight;
}

static bool branch_folds(const hg_branch *b)
{
    for (size_t i = 0; i < b->nodes.count; i++) {
        const hg_node *n = b->nodes.items[i];
        if (node_folds(n)) return true;
        for (size_t j = 0; j < n->attrs.count; j++) {
            const hg_attr *a = n->attrs.items[j];
            if (a->kind == HG_ATTR_BRANCH && a->branch && branch_folds(a->branch)) return true;
        }
    }
    return false;
}

/* Is there a node that an engine computes at load? */
bool hg_graph_folds(const hg_graph *g)
{
    return branch_folds(&g->top);
}

/* Nodes of the graph and its branches. */
size_t hg_graph_node_count(const hg_graph *g)
{
    return g->node_count;
}

/* Weights that are used. */
size_t hg_graph_weight_count(const hg_graph *g)
{
    return g->weights.count;
}

/* One of them. */
const hg_weight *hg_graph_weight_at(const hg_graph *g, size_t index)
{
    return index < g->weights.count ? g->weights.items[index] : NULL;
}
