/* SPDX-License-Identifier: Apache-2.0 */
/* What a graph is made of; for the graph room's own files only. Everything lives in the graph's arena. */
#ifndef HG_GRAPH_INNER_H
#define HG_GRAPH_INNER_H

#include "graph/arena.h"
#include "graph/graph.h"

/* Of a value's name, for tables with open addressing: FNV-1a, its upper half folded in. */
static inline size_t hg_name_hash(const char *name)
{
    uint64_t h = 1469598103934665603u;
    for (; *name; name++) h = (h ^ (unsigned char)*name) * 1099511628211u;
    return (size_t)(h ^ h >> 29);
}

/* A growing array of pointers; old storage stays in the arena. */
typedef struct hg_list {
    void **items;
    size_t count, cap;
} hg_list;

typedef enum hg_attr_kind {
    HG_ATTR_INT,
    HG_ATTR_FLOAT,
    HG_ATTR_INTS,
    HG_ATTR_ZEROS,
    HG_ATTR_BRANCH
} hg_attr_kind;
typedef struct hg_attr {
    const char *name;
    hg_attr_kind kind;
    int64_t i;
    float f;
    int64_t *ints;
    size_t int_count;
    hg_onnx_type type; /* ZEROS */
    hg_shape shape;
    struct hg_branch *branch;
} hg_attr;

struct hg_node {
    const char *name, *op, *domain;
    hg_value **inputs; /* NULL = left out */
    size_t in_count;
    hg_value **outputs;
    size_t out_count;
    hg_list attrs; /* hg_attr */
};

/* The graph itself is the outermost branch. */
struct hg_branch {
    const char *name;
    hg_branch *parent;
    hg_list nodes;   /* hg_node */
    hg_list outputs; /* hg_value */
};

typedef struct hg_const {
    hg_value *value;
    void *data; /* as the file has it: little-endian */
    size_t bytes;
} hg_const;

struct hg_graph {
    hg_arena arena;
    hg_branch top, *current;
    int opset;
    hg_style style;
    hg_onnx_type real;
    bool microsoft;  /* the domain is used */
    hg_list inputs;  /* hg_value */
    hg_list weights; /* hg_weight */
    hg_list consts;  /* hg_const */
    size_t node_count;
    char scope[HG_ONNX_NAME_MAX];
    size_t scope_len, scopes[HG_ONNX_SCOPES_MAX], scope_count;
    hg_value **names; /* all values by name, open addressing; a node's name is that of its first output */
    size_t name_count, name_cap;
    hangar_err wrong;
    hg_value nothing; /* returned when there is no memory */
    hg_node no_node;
};

#endif
