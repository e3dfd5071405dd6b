/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/read.h"

#include "base/mem.h"
#include "base/str.h"
#include "graph/graph.h"

#include "onnx.pb-c.h"

#include <string.h>

struct hg_onnx_model {
    Onnx__ModelProto *message;
    ProtobufCAllocator allocator;
    uint64_t budget; /* bytes that may still be taken */
};

/* ---- nesting ---- */

typedef enum kind { MODEL, GRAPH, NODE, ATTRIBUTE, VALUE, TYPE, SEQUENCE, MAP, TRAINING, FUNCTION } kind;

/* Which fields hold messages that can lead back to themselves; all others are as deep as the schema. */
static const struct {
    kind in;
    uint32_t field;
    kind child;
} nesting[] = {
    {MODEL, 7, GRAPH},      {MODEL, 20, TRAINING}, {MODEL, 25, FUNCTION}, {TRAINING, 1, GRAPH},
    {TRAINING, 2, GRAPH},   {FUNCTION, 7, NODE},   {GRAPH, 1, NODE},      {GRAPH, 11, VALUE},
    {GRAPH, 12, VALUE},     {GRAPH, 13, VALUE},    {NODE, 5, ATTRIBUTE},  {ATTRIBUTE, 6, GRAPH},
    {ATTRIBUTE, 11, GRAPH}, {ATTRIBUTE, 14, TYPE}, {ATTRIBUTE, 15, TYPE}, {VALUE, 2, TYPE},
    {TYPE, 4, SEQUENCE},    {TYPE, 5, MAP},        {TYPE, 9, SEQUENCE},   {SEQUENCE, 1, TYPE},
    {MAP, 2, TYPE},
};

/* A varint of at most ten bytes; false at a cut or overlong one. */
static bool varint(const uint8_t *bytes, uint64_t end, uint64_t *at, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 70 && *at < end; shift += 7) {
        uint8_t b = bytes[(*at)++];
        if (shift < 64) *out |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) return true;
    }
    return false;
}

/* Steps over one field; *child_len is the length of a message to enter (at = its first byte), or UINT64_MAX. */
static bool step(const uint8_t *bytes, uint64_t end, kind in, uint64_t *at, kind *child, uint64_t *child_len)
{
    uint64_t tag, length = 0;
    *child_len = UINT64_MAX;
    if (!varint(bytes, end, at, &tag)) return false;
    switch (tag & 7) {
    case 0: return varint(bytes, end, at, &length);
    case 1: length = 8; break;
    case 5: length = 4; break;
    case 2:
        if (!varint(bytes, end, at, &length)) return false;
        break;
    default: return false;
    }
    if (length > end - *at) return false;
    for (size_t i = 0; (tag & 7) == 2 && i < HG_LEN(nesting); i++) {
        if (nesting[i].in == in && nesting[i].field == tag >> 3) {
            *child = nesting[i].child;
            *child_len = length;
            return true;
        }
    }
    *at += length;
    return true;
}

static hangar_code check_depth(const uint8_t *bytes, uint64_t len, hangar_err *err)
{
    struct {
        uint64_t end;
        kind in;
    } stack[HG_ONNX_DEPTH_MAX] = {{len, MODEL}};
    unsigned depth = 1;
    for (uint64_t at = 0; depth > 0;) {
        if (at == stack[depth - 1].end) {
            depth--;
            continue;
        }
        kind child = MODEL;
        uint64_t child_len;
        if (!step(bytes, stack[depth - 1].end, stack[depth - 1].in, &at, &child, &child_len)) {
            return hg_fail(err, HANGAR_E_INVALID, "no ONNX model: malformed at byte %llu",
                           (unsigned long long)at);
        }
        if (child_len == UINT64_MAX) continue;
        if (depth == HG_ONNX_DEPTH_MAX) {
            return hg_fail(err, HANGAR_E_LIMIT, "graphs nest deeper than %d messages", HG_ONNX_DEPTH_MAX);
        }
        stack[depth].end = at + child_len; /* inside the message around it, see step */
        stack[depth++].in = child;
    }
    return HANGAR_OK;
}

/* ---- reading ---- */

static void *budget_alloc(void *ctx, size_t size)
{
    hg_onnx_model *m = ctx;
    uint64_t cost = (uint64_t)size + 32;
    if (cost > m->budget) return NULL;
    m->budget -= cost;
    return hg_calloc(1, size);
}

static void budget_free(void *ctx, void *p)
{
    (void)ctx;
    free(p);
}

/* Reads a model. */
hangar_code hg_onnx_read(const uint8_t *bytes, uint64_t len, hg_onnx_model **out, hangar_err *err)
{
    *out = NULL;
    if (len > HG_ONNX_EMIT_MAX) {
        return hg_fail(err, HANGAR_E_LIMIT, "a graph of %llu bytes is over the limit of %zu",
                       (unsigned long long)len, HG_ONNX_EMIT_MAX);
    }
    hangar_code code = check_depth(bytes, len, err);
    if (code != HANGAR_OK) return code;
    hg_onnx_model *m = hg_calloc(1, sizeof *m);
    if (!m) return hg_fail_memory(err);
    m->allocator = (ProtobufCAllocator){budget_alloc, budget_free, m};
    m->budget = HG_MIB + 32 * len;
    m->message = onnx__model_proto__unpack(&m->allocator, (size_t)len, bytes);
    if (!m->message || !m->message->graph) {
        hg_onnx_free(m);
        return hg_fail(err, HANGAR_E_INVALID, "no ONNX model");
    }
    *out = m;
    return HANGAR_OK;
}

/* Frees a model. */
void hg_onnx_free(hg_onnx_model *m)
{
    if (!m) return;
    if (m->message) onnx__model_proto__free_unpacked(m->message, &m->allocator);
    free(m);
}

/* For HG_AUTO. */
void hg_onnx_auto_free(hg_onnx_model **m)
{
    hg_onnx_free(*m);
}

/* The three keys of external_data; false when one is missing or malformed. */
static bool external(const Onnx__TensorProto *t, hg_onnx_weight *out)
{
    unsigned seen = 0;
    if (!t->name || !t->has_data_location || t->data_location != ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL)
        return false;
    for (size_t i = 0; i < t->n_external_data; i++) {
        const char *key = t->external_data[i]->key, *value = t->external_data[i]->value;
        if (!key || !value) return false;
        if (strcmp(key, "location") == 0) out->location = value, seen |= 1;
        else if (strcmp(key, "offset") == 0 && hg_u64_parse(hg_str_of(value), &out->offset)) seen |= 2;
        else if (strcmp(key, "length") == 0 && hg_u64_parse(hg_str_of(value), &out->length)) seen |= 4;
    }
    out->name = t->name;
    out->type = t->data_type;
    out->rank = t->n_dims;
    out->dims = t->dims;
    return seen == 7;
}

/* The next external initializer. */
bool hg_onnx_weight_next(const hg_onnx_model *m, size_t *at, hg_onnx_weight *out)
{
    const Onnx__GraphProto *g = m->message->graph;
    while (*at < g->n_initializer) {
        if (external(g->initializer[(*at)++], out)) return true;
    }
    return false;
}

/* How many external initializers there are. */
size_t hg_onnx_weight_count(const hg_onnx_model *m)
{
    hg_onnx_weight w;
    size_t count = 0, at = 0;
    while (hg_onnx_weight_next(m, &at, &w)) count++;
    return count;
}

/* The protobuf message. */
const struct Onnx__ModelProto *hg_onnx_message(const hg_onnx_model *m)
{
    return m->message;
}
