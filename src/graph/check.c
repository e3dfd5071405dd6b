/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariant of the walk: `names` holds every name made so far, in any branch, so that a name is never made twice; an entry whose branch has
 * ended is closed, so that nobody outside can use it. Recursion follows branches only, whose depth hg_onnx_read has bounded.
 */
#include "graph/check.h"

#include "base/mem.h"
#include "base/str.h"
#include "graph/inner.h"
#include "graph/read.h"

#include "onnx.pb-c.h"

#include <string.h>

typedef struct op_rule {
    const char *domain, *name;
    size_t in_min, in_max, out_max;
    const char *in_types, *out_types;
} op_rule;

static const op_rule op_rules[] = {
#define HG_OP(domain, name, in_min, in_max, out_max, in_types, out_types) \
    {domain, #name, in_min, in_max, out_max, in_types, out_types},
#include "graph/ops.def"
#undef HG_OP
};

typedef struct entry {
    const char *name;
    int32_t type;
    bool closed;
} entry;

typedef struct checker {
    const hg_onnx_file *files;
    size_t file_count;
    entry *entries;
    size_t count, cap;
    size_t *table; /* entry number + 1, open addressing, `table_cap` a power of two */
    size_t table_cap;
    hg_onnx_stats stats;
    unsigned domains; /* that are imported: 1 the standard one, 2 Microsoft's */
    hangar_err *err;
} checker;

#define ATTRIBUTES_MAX 64
#define OR_EMPTY(text) ((text) ? (text) : "")

/* ---- names ---- */

static size_t slot(const checker *c, const char *name)
{
    size_t at = hg_name_hash(name) & (c->table_cap - 1);
    while (c->table[at] && strcmp(c->entries[c->table[at] - 1].name, name) != 0)
        at = (at + 1) & (c->table_cap - 1);
    return at;
}

static bool grow_table(checker *c)
{
    size_t cap = c->table_cap ? 2 * c->table_cap : 1024;
    size_t *table = hg_calloc(cap, sizeof *table);
    if (!table) return false;
    free(c->table);
    c->table = table;
    c->table_cap = cap;
    for (size_t i = 0; i < c->count; i++) c->table[slot(c, c->entries[i].name)] = i + 1;
    return true;
}

static hangar_code define(checker *c, const char *name, int32_t type)
{
    if (!name || !name[0]) return hg_fail(c->err, HANGAR_E_INVALID, "a value has no name");
    if (strlen(name) > HG_ONNX_NAME_MAX)
        return hg_fail(c->err, HANGAR_E_LIMIT, "the name %.64s... is too long", name);
    if (2 * (c->count + 1) > c->table_cap && !grow_table(c)) return hg_fail_memory(c->err);
    size_t at = slot(c, name);
    if (c->table[at]) return hg_fail(c->err, HANGAR_E_INVALID, "%s is made twice", name);
    if (!hg_grow((void **)&c->entries, &c->cap, c->count + 1, sizeof *c->entries))
        return hg_fail_memory(c->err);
    c->entries[c->count] = (entry){name, type, false};
    c->table[at] = ++c->count;
    return HANGAR_OK;
}

static const entry *lookup(const checker *c, const char *name)
{
    size_t at = c->table_cap ? slot(c, name) : 0;
    if (!c->table_cap || !c->table[at] || c->entries[c->table[at] - 1].closed) return NULL;
    return &c->entries[c->table[at] - 1];
}

/* ---- tensors ---- */

/* The bytes that type and dims ask for. */
static hangar_code tensor_bytes(checker *c, const Onnx__TensorProto *t, uint64_t *elements, uint64_t *bytes)
{
    *elements = 1;
    *bytes = hg_onnx_type_bytes((hg_onnx_type)t->data_type);
    if (!t->has_data_type || *bytes == 0)
        return hg_fail(c->err, HANGAR_E_INVALID, "%s has type %d", OR_EMPTY(t->name), t->data_type);
    bool fits = true;
    for (size_t i = 0; i < t->n_dims; i++)
        fits = fits && t->dims[i] >= 0 && hg_mul(*elements, (uint64_t)t->dims[i], elements);
    if (!fits || t->n_dims > HG_ONNX_RANK_MAX || !hg_mul(*elements, *bytes, bytes)) {
        return hg_fail(c->err, HANGAR_E_INVALID, "%s has an impossible shape", OR_EMPTY(t->name));
    }
    return HANGAR_OK;
}

/* Reads the three known keys, each once. */
static hangar_code external_keys(checker *c, const Onnx__TensorProto *t, const char **location,
                                 uint64_t *offset, uint64_t *length)
{
    unsigned seen = 0;
    for (size_t i = 0; i < t->n_external_data; i++) {
        const char *key = OR_EMPTY(t->external_data[i]->key), *value = OR_EMPTY(t->external_data[i]->value);
        unsigned bit = strcmp(key, "location") == 0 ? 1
                       : strcmp(key, "offset") == 0 ? 2
                       : strcmp(key, "length") == 0 ? 4
                                                    : 0;
        bool ok = bit && !(seen & bit);
        if (bit == 1) *location = value;
        if (bit == 2) ok = ok && hg_u64_parse(hg_str_of(value), offset);
        if (bit == 4) ok = ok && hg_u64_parse(hg_str_of(value), length);
        if (!ok) return hg_fail(c->err, HANGAR_E_INVALID, "%s: external_data has %.64s", t->name, key);
        seen |= bit;
    }
    return seen == 7 ? HANGAR_OK
                     : hg_fail(c->err, HANGAR_E_INVALID, "%s: external_data lacks a key", t->name);
}

static hangar_code check_external(checker *c, const Onnx__TensorProto *t, uint64_t bytes)
{
    const char *location = "";
    uint64_t offset = 0, length = 0, end = 0;
    hangar_code code = external_keys(c, t, &location, &offset, &length);
    if (code != HANGAR_OK) return code;
    const hg_onnx_file *file = NULL;
    for (size_t i = 0; i < c->file_count && !file; i++) {
        if (strcmp(c->files[i].location, location) == 0) file = &c->files[i];
    }
    if (!file)
        return hg_fail(c->err, HANGAR_E_INVALID, "%s lies in %.128s, which is not one of this model's files",
                       t->name, location);
    if (length != bytes) {
        return hg_fail(c->err, HANGAR_E_INVALID, "%s: length %llu where its shape asks for %llu", t->name,
                       (unsigned long long)length, (unsigned long long)bytes);
    }
    if (!hg_add(offset, length, &end) || end > file->size) {
        return hg_fail(c->err, HANGAR_E_INVALID, "%s ends behind the end of %s", t->name, location);
    }
    c->stats.weights++;
    c->stats.weight_bytes += length;
    return HANGAR_OK;
}

/* One initializer or constant: its data are as long as its shape says. */
static hangar_code check_tensor(checker *c, const Onnx__TensorProto *t, bool may_be_external)
{
    uint64_t elements = 0, bytes = 0;
    hangar_code code = tensor_bytes(c, t, &elements, &bytes);
    if (code != HANGAR_OK) return code;
    bool external = t->has_data_location && t->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    size_t typed = t->n_float_data + t->n_int32_data + t->n_string_data + t->n_double_data + t->n_uint64_data;
    if (external && may_be_external && typed + t->n_int64_data == 0 && !t->has_raw_data)
        return check_external(c, t, bytes);
    bool ok = !external && t->n_external_data == 0 && typed == 0;
    if (t->has_raw_data) ok = ok && t->n_int64_data == 0 && t->raw_data.len == bytes;
    else ok = ok && t->data_type == HG_ONNX_INT64 && t->n_int64_data == elements;
    return ok ? HANGAR_OK
              : hg_fail(c->err, HANGAR_E_INVALID, "%s: its data do not fit its shape", OR_EMPTY(t->name));
}

/* ---- nodes ---- */

static const op_rule *rule_of(const Onnx__NodeProto *n)
{
    for (size_t i = 0; i < HG_LEN(op_rules); i++) {
        if (strcmp(op_rules[i].name, OR_EMPTY(n->op_type)) == 0 &&
            strcmp(op_rules[i].domain, OR_EMPTY(n->domain)) == 0) {
            return &op_rules[i];
        }
    }
    return NULL;
}

/* The letter for place i; the last one repeats. */
static char letter(const char *types, size_t i)
{
    size_t n = strlen(types);
    return n == 0 ? '*' : types[i < n ? i : n - 1];
}

/* The type a letter stands for; 0 = any. */
static int32_t letter_type(char l, int32_t bound)
{
    switch (l) {
    case 'T': return bound;
    case 'f': return HG_ONNX_FLOAT;
    case 'i': return HG_ONNX_INT64;
    case 'I': return HG_ONNX_INT32;
    case 'b': return HG_ONNX_BOOL;
    case 'u': return HG_ONNX_UINT8;
    default: return 0;
    }
}

/* Inputs exist and agree with the rule; *bound is the type of all T. */
static hangar_code check_inputs(checker *c, const Onnx__NodeProto *n, const op_rule *rule, int32_t *bound)
{
    for (size_t i = 0; i < n->n_input; i++) {
        if (n->input[i][0] == 0) {
            if (i < rule->in_min)
                return hg_fail(c->err, HANGAR_E_INVALID, "%s: input %zu is left out", n->name, i);
            continue;
        }
        const entry *e = lookup(c, n->input[i]);
        if (!e)
            return hg_fail(c->err, HANGAR_E_INVALID, "%s: nobody makes its input %.128s", n->name,
                           n->input[i]);
        char l = letter(rule->in_types, i);
        int32_t want = letter_type(l, *bound);
        if (l == 'T' && *bound == 0) *bound = e->type;
        else if (want != 0 && e->type != want) {
            return hg_fail(c->err, HANGAR_E_INVALID, "%s: input %s is %s, not %s", n->name, n->input[i],
                           hg_onnx_type_name((hg_onnx_type)e->type), hg_onnx_type_name((hg_onnx_type)want));
        }
    }
    return HANGAR_OK;
}

static hangar_code check_graph(checker *c, const Onnx__GraphProto *g, bool branch);

/* Numbers, lists of numbers; a tensor of a Constant; a branch of an If. Nothing else, and nothing beside it. */
static bool attribute_allowed(const Onnx__NodeProto *n, const Onnx__AttributeProto *a, bool *tensor,
                              bool *graph)
{
    bool plain = a->type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT ||
                 a->type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS ||
                 a->type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT;
    *tensor =
        a->type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR && a->t && !strcmp(n->op_type, "Constant");
    *graph = a->type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH && a->g && !strcmp(n->op_type, "If");
    if ((a->t && !*tensor) || (a->g && !*graph)) return false;
    if (a->has_s || a->n_strings || a->ref_attr_name) return false;
    if (a->n_graphs || a->n_tensors || a->sparse_tensor || a->n_sparse_tensors) return false;
    return plain || *tensor || *graph;
}

static hangar_code check_attribute(checker *c, const Onnx__NodeProto *n, size_t i)
{
    const Onnx__AttributeProto *a = n->attribute[i];
    bool tensor = false, graph = false;
    if (!a->name || !a->name[0])
        return hg_fail(c->err, HANGAR_E_INVALID, "%s: an attribute has no name", n->name);
    for (size_t j = 0; j < i; j++) {
        if (strcmp(n->attribute[j]->name, a->name) == 0)
            return hg_fail(c->err, HANGAR_E_INVALID, "%s: %.64s is there twice", n->name, a->name);
    }
    if (!attribute_allowed(n, a, &tensor, &graph))
        return hg_fail(c->err, HANGAR_E_UNSUPPORTED, "%s: attribute %.64s is of a kind that is not allowed",
                       n->name, a->name);
    if (tensor) return check_tensor(c, a->t, false);
    return graph ? check_graph(c, a->g, true) : HANGAR_OK;
}

static hangar_code check_attributes(checker *c, const Onnx__NodeProto *n)
{
    hangar_code code = HANGAR_OK;
    if (n->n_attribute > ATTRIBUTES_MAX)
        return hg_fail(c->err, HANGAR_E_LIMIT, "%s has %zu attributes, at most %d are read", n->name,
                       n->n_attribute, ATTRIBUTES_MAX);
    for (size_t i = 0; code == HANGAR_OK && i < n->n_attribute; i++) code = check_attribute(c, n, i);
    return code;
}

static const Onnx__AttributeProto *attribute(const Onnx__NodeProto *n, const char *name)
{
    for (size_t i = 0; i < n->n_attribute; i++) {
        if (strcmp(n->attribute[i]->name, name) == 0) return n->attribute[i];
    }
    return NULL;
}

static int32_t output_type(const Onnx__GraphProto *g, size_t i)
{
    const Onnx__TypeProto *t = g->output[i]->type;
    return t && t->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE && t->tensor_type
               ? t->tensor_type->elem_type
               : 0;
}

/* The type of output i of a node whose type comes from an attribute; 0 = it is wrong. */
static int32_t attribute_type(const Onnx__NodeProto *n, size_t i)
{
    if (strcmp(n->op_type, "Cast") == 0) {
        const Onnx__AttributeProto *to = attribute(n, "to");
        return to && hg_onnx_type_bytes((hg_onnx_type)to->i) ? (int32_t)to->i : 0;
    }
    if (strcmp(n->op_type, "Constant") == 0) {
        const Onnx__AttributeProto *value = attribute(n, "value");
        return value && value->t ? value->t->data_type : 0;
    }
    const Onnx__AttributeProto *a = attribute(n, "then_branch"), *b = attribute(n, "else_branch");
    bool both = a && b && a->g && b->g && a->g->n_output == n->n_output && b->g->n_output == n->n_output;
    return both && output_type(a->g, i) == output_type(b->g, i) ? output_type(a->g, i) : 0;
}

static hangar_code check_node(checker *c, const Onnx__NodeProto *n)
{
    if (!n->name || !n->name[0]) return hg_fail(c->err, HANGAR_E_INVALID, "a node has no name");
    const op_rule *rule = rule_of(n);
    if (!rule) {
        return hg_fail(c->err, HANGAR_E_UNSUPPORTED,
                       "%.128s: operator %.64s of domain '%.64s' is not allowed", n->name,
                       OR_EMPTY(n->op_type), OR_EMPTY(n->domain));
    }
    if (n->n_input < rule->in_min || n->n_input > rule->in_max || n->n_output < 1 ||
        n->n_output > rule->out_max) {
        return hg_fail(c->err, HANGAR_E_INVALID, "%.128s: %s with %zu inputs and %zu outputs", n->name,
                       rule->name, n->n_input, n->n_output);
    }
    if (!(c->domains & (rule->domain[0] ? 2u : 1u)))
        return hg_fail(c->err, HANGAR_E_INVALID, "%.128s: the domain '%s' is not imported", n->name,
                       rule->domain);
    c->stats.nodes++;
    int32_t bound = 0;
    hangar_code code = check_inputs(c, n, rule, &bound);
    if (code == HANGAR_OK) code = check_attributes(c, n);
    for (size_t i = 0; code == HANGAR_OK && i < n->n_output; i++) {
        if (i > 0 && n->output[i][0] == 0) continue;
        char l = letter(rule->out_types, i);
        int32_t type = l == 'a' ? attribute_type(n, i) : letter_type(l, bound);
        if (type == 0)
            return hg_fail(c->err, HANGAR_E_INVALID, "%s: the type of output %zu is not known", n->name, i);
        code = define(c, n->output[i], type);
    }
    return code;
}

/* ---- graphs ---- */

static hangar_code check_inputs_of_model(checker *c, const Onnx__GraphProto *g)
{
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; code == HANGAR_OK && i < g->n_input; i++) {
        const Onnx__TypeProto *t = g->input[i]->type;
        bool ok = t && t->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE && t->tensor_type &&
                  hg_onnx_type_bytes((hg_onnx_type)t->tensor_type->elem_type);
        if (!ok)
            return hg_fail(c->err, HANGAR_E_INVALID, "input %.128s is no tensor of a known type",
                           OR_EMPTY(g->input[i]->name));
        code = define(c, g->input[i]->name, t->tensor_type->elem_type);
    }
    for (size_t i = 0; code == HANGAR_OK && i < g->n_initializer; i++) {
        code = define(c, g->initializer[i]->name, g->initializer[i]->data_type);
        if (code == HANGAR_OK) code = check_tensor(c, g->initializer[i], true);
    }
    return code;
}

static hangar_code check_graph(checker *c, const Onnx__GraphProto *g, bool branch)
{
    if (g->n_sparse_initializer || (branch && (g->n_input || g->n_initializer))) {
        return hg_fail(c->err, HANGAR_E_UNSUPPORTED, "%.128s has parts that are not allowed",
                       OR_EMPTY(g->name));
    }
    size_t first = c->count;
    hangar_code code = check_inputs_of_model(c, g);
    for (size_t i = 0; code == HANGAR_OK && i < g->n_node; i++) code = check_node(c, g->node[i]);
    if (code == HANGAR_OK && g->n_output == 0)
        return hg_fail(c->err, HANGAR_E_INVALID, "%.128s has no output", OR_EMPTY(g->name));
    for (size_t i = 0; code == HANGAR_OK && i < g->n_output; i++) {
        const char *name = OR_EMPTY(g->output[i]->name);
        const entry *e = lookup(c, name);
        if (!e || (size_t)(e - c->entries) < first)
            return hg_fail(c->err, HANGAR_E_INVALID, "nobody makes the output %.128s", name);
        if (e->type != output_type(g, i))
            return hg_fail(c->err, HANGAR_E_INVALID, "output %s is of another type than it says", name);
    }
    for (size_t i = first; branch && i < c->count; i++) c->entries[i].closed = true;
    return code;
}

static hangar_code check_model(checker *c, const Onnx__ModelProto *m)
{
    unsigned seen = 0;
    if (m->ir_version < 8 || m->ir_version > 10)
        return hg_fail(c->err, HANGAR_E_UNSUPPORTED, "IR version %lld", (long long)m->ir_version);
    for (size_t i = 0; i < m->n_opset_import; i++) {
        const Onnx__OperatorSetIdProto *o = m->opset_import[i];
        const char *domain = OR_EMPTY(o->domain);
        unsigned bit = domain[0] == 0 ? 1 : strcmp(domain, HG_ONNX_MICROSOFT) == 0 ? 2 : 0;
        bool known = bit == 1 ? o->version >= HG_ONNX_OPSET_MIN && o->version <= HG_ONNX_OPSET_MAX
                              : bit == 2 && o->version == 1;
        if (!known || (seen & bit)) {
            return hg_fail(c->err, HANGAR_E_UNSUPPORTED, "version %lld of the operators '%.64s'",
                           (long long)o->version, domain);
        }
        seen |= bit;
    }
    if (!(seen & 1)) return hg_fail(c->err, HANGAR_E_INVALID, "no version of the operators is named");
    if (m->n_functions || m->n_training_info)
        return hg_fail(c->err, HANGAR_E_UNSUPPORTED, "functions or training parts");
    c->domains = seen;
    c->stats.inputs = m->graph->n_input;
    c->stats.outputs = m->graph->n_output;
    return check_graph(c, m->graph, false);
}

/* Checks a graph. */
hangar_code hg_onnx_check(const uint8_t *bytes, uint64_t len, const hg_onnx_file *files, size_t file_count,
                          hg_onnx_stats *out, hangar_err *err)
{
    HG_AUTO(hg_onnx_auto_free) hg_onnx_model *m = NULL;
    hangar_code code = hg_onnx_read(bytes, len, &m, err);
    if (code != HANGAR_OK) return code;
    checker c = {.files = files, .file_count = file_count, .err = err};
    code = check_model(&c, hg_onnx_message(m));
    if (code == HANGAR_OK && out) *out = c.stats;
    free(c.entries);
    free(c.table);
    return code;
}
