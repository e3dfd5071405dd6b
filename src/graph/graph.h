/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ONNX model in memory, built node by node and then emitted once.
 *
 * A graph owns all that is made in it; pointers to values and nodes live as long as the graph. Building never stops in the middle: the
 * first error sticks in the graph, every call returns something usable, and the builder asks once at the end (hg_graph_state), so that the
 * code of a model reads like its equations. Each value knows its element type and, where it can, its shape; the operators (ops.h) hold
 * their inputs to each other, so that a checkpoint whose tensors do not fit its config.json is refused here.
 *
 * Names: a node is called after the module it comes from. hg_graph_enter("layers.%u", 3) ... hg_graph_leave() put a prefix before
 * the names of what is made between them; the first output of a node has the node's name, further ones ".1", ".2" behind.
 */
#ifndef HG_GRAPH_GRAPH_H
#define HG_GRAPH_GRAPH_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define HG_ONNX_OPSET      17 /* default; HG_ONNX_OPSET_MIN .. _MAX may be asked for */
#define HG_ONNX_OPSET_MIN  17
#define HG_ONNX_OPSET_MAX  21
#define HG_ONNX_MICROSOFT  "com.microsoft"
#define HG_ONNX_RANK_MAX   8
#define HG_ONNX_EMIT_MAX   ((size_t)64 << 20) /* bytes of one emitted graph */
#define HG_ONNX_NAME_MAX   512
#define HG_ONNX_SCOPES_MAX 16
#define HG_ONNX_INLINE_MAX ((size_t)256 << 10) /* bytes of one constant inside a graph */

typedef enum hg_onnx_type { /* the numbers of the file */
                            HG_ONNX_ANY = 0,
                            HG_ONNX_FLOAT = 1,
                            HG_ONNX_UINT8 = 2,
                            HG_ONNX_INT8 = 3,
                            HG_ONNX_INT32 = 6,
                            HG_ONNX_INT64 = 7,
                            HG_ONNX_BOOL = 9,
                            HG_ONNX_FLOAT16 = 10,
                            HG_ONNX_DOUBLE = 11,
                            HG_ONNX_BFLOAT16 = 16,
} hg_onnx_type;
/* Bytes of one element; 0 when the type is not one of these. */
unsigned hg_onnx_type_bytes(hg_onnx_type type);
const char *hg_onnx_type_name(hg_onnx_type type);

typedef struct hg_dim {
    int64_t size;    /* -1 = not known */
    const char *sym; /* then its symbol, or NULL; borrowed: a literal */
} hg_dim;
typedef struct hg_shape {
    int rank; /* -1 = not known */
    hg_dim dims[HG_ONNX_RANK_MAX];
} hg_shape;
#define HG_DIM(n)    ((hg_dim){(int64_t)(n), NULL})
#define HG_SYM(name) ((hg_dim){-1, (name)})
/* HG_SHAPE(HG_SYM("batch_size"), HG_DIM(64)) */
#define HG_SHAPE(...) ((hg_shape){(int)(sizeof((hg_dim[]){__VA_ARGS__}) / sizeof(hg_dim)), {__VA_ARGS__}})
#define HG_SCALAR     ((hg_shape){.rank = 0})

/* One edge of the graph. Read only for all but the graph room. */
typedef struct hg_value {
    const char *name;
    hg_onnx_type type;
    hg_shape shape;
    enum { HG_VALUE_NODE, HG_VALUE_INPUT, HG_VALUE_WEIGHT, HG_VALUE_CONST, HG_VALUE_OUTPUT } kind;
} hg_value;

typedef struct hg_graph hg_graph;
typedef struct hg_node hg_node;

/* A weight that stays where it is: bytes [offset, offset + bytes) of weight file number `file`; HG_WEIGHT_MADE = of the graph's own data file. */
#define HG_WEIGHT_MADE UINT32_MAX
typedef struct hg_weight {
    const hg_value *value;
    uint32_t file;
    uint64_t offset, bytes;
} hg_weight;

/* Which operators a graph is written in. */
typedef enum hg_style {
    HG_STYLE_FUSED,    /* com.microsoft's, which do in one node what ONNX Runtime has one fast kernel for */
    HG_STYLE_PORTABLE, /* those of ai.onnx alone: any ONNX engine runs it */
} hg_style;

/* NULL when out of memory or when the opset is out of range. */
hg_graph *hg_graph_new(const char *name, int opset);
/* Before the first node; a new graph is FUSED, its real numbers FLOAT. FLOAT16 makes all activations half precision. */
void hg_graph_set(hg_graph *g, hg_style style, hg_onnx_type real);
hg_style hg_graph_style(const hg_graph *g);
int hg_graph_opset(const hg_graph *g);
hg_onnx_type hg_graph_real(const hg_graph *g);
void hg_graph_free(hg_graph *g);
/* The first error, with words; OK when there was none. */
hangar_code hg_graph_state(const hg_graph *g, hangar_err *err);
/* Makes an error stick; words begin with the present scope. */
void hg_graph_fail(hg_graph *g, hangar_code code, const char *fmt, ...) HG_PRINTF(3, 4);

/* Scopes of names, see above. */
void hg_graph_enter(hg_graph *g, const char *fmt, ...) HG_PRINTF(2, 3);
void hg_graph_leave(hg_graph *g);
/* "encoder.layers.0", "" outside of all scopes; borrowed until the next enter or leave. */
const char *hg_graph_scope(const hg_graph *g);

/* Inputs and outputs are named as they are, without scope. An output takes its name over to the value. */
hg_value *hg_graph_input(hg_graph *g, const char *name, hg_onnx_type type, hg_shape shape);
void hg_graph_output(hg_graph *g, const char *name, hg_value *value);
/* The same weight twice is the same value. `rank` dimensions; bytes must be their product times the type's size. */
hg_value *hg_graph_weight(hg_graph *g, const char *name, hg_onnx_type type, uint32_t rank,
                          const uint64_t *shape, uint32_t file, uint64_t offset, uint64_t bytes);
/* Constants inside the graph, the same numbers once: a list (rank 1) and a single number (rank 0). */
hg_value *hg_graph_ints(hg_graph *g, const int64_t *numbers, size_t count);
hg_value *hg_graph_int(hg_graph *g, int64_t number);
/* A single number of the graph's real type, rounded to it. NaN and infinities are INTERNAL. */
hg_value *hg_graph_real_of(hg_graph *g, double number);
/* A tensor that is written into the graph itself, called scope + name; `bytes` as the type lays them out, HG_ONNX_INLINE_MAX at most; copied. */
hg_value *hg_graph_inline(hg_graph *g, const char *name, hg_onnx_type type, hg_shape shape, const void *data,
                          size_t bytes);

/* One node with `out_count` outputs whose types are not known yet; NULL inputs are left out (""). NULL only after an error. */
hg_node *hg_graph_node(hg_graph *g, const char *domain, const char *op, const char *name,
                       hg_value *const *inputs, size_t in_count, size_t out_count);
/* The first output of the node of that name behind the present scope, for what several nodes take and is made once; NULL: there is none yet. */
hg_value *hg_graph_made(hg_graph *g, const char *name);
hg_value *hg_node_out(hg_graph *g, hg_node *node, size_t index, hg_onnx_type type, hg_shape shape);
/* An output that nobody wants: it is written as "". Not the first one. */
void hg_node_skip_out(hg_graph *g, hg_node *node, size_t index);
void hg_node_int(hg_graph *g, hg_node *node, const char *name, int64_t number);
void hg_node_float(hg_graph *g, hg_node *node, const char *name, float number);
void hg_node_ints(hg_graph *g, hg_node *node, const char *name, const int64_t *numbers, size_t count);
/* An attribute `value`: a tensor of zeros of that type and shape (all sizes known). */
void hg_node_zeros(hg_graph *g, hg_node *node, hg_onnx_type type, hg_shape shape);

/* What is made between begin and end goes into a branch (a subgraph without inputs), which may use all values of the graph around it; its
 * outputs must be made inside it. hg_node_branch hangs it to a node as an attribute. Begin also enters the scope `name`. */
typedef struct hg_branch hg_branch;
hg_branch *hg_graph_branch_begin(hg_graph *g, const char *name);
void hg_graph_branch_output(hg_graph *g, hg_value *value);
void hg_graph_branch_end(hg_graph *g);
/* The type of an output; ANY when there are not so many. */
hg_onnx_type hg_branch_type(const hg_branch *branch, size_t index);
void hg_node_branch(hg_graph *g, hg_node *node, const char *name, hg_branch *branch);

/* All nodes, those of branches counted, too. */
size_t hg_graph_node_count(const hg_graph *g);
/* The weights in the order of their first use. */
size_t hg_graph_weight_count(const hg_graph *g);
const hg_weight *hg_graph_weight_at(const hg_graph *g, size_t index);

/*
 * A node takes weights and constants alone, so that an engine computes it when it loads the graph, for which it reads the weights from their
 * files, or is a convolution over two axes, whose weight ONNX Runtime reorders then: such a graph cannot be given its weights from memory.
 * Shape takes none of a weight's bytes and does not count.
 */
bool hg_graph_folds(const hg_graph *g);

/*
 * The model as ONNX protobuf, appended to `out`. locations[file] is the external location written for weight file number `file`, `made` that
 * of HG_WEIGHT_MADE (NULL: the graph has none). IR version 8, 9 or 10 by the opset; only the domains that are used are imported.
 */
hangar_code hg_graph_emit(hg_graph *g, const char *const *locations, size_t location_count, const char *made,
                          hg_buf *out, hangar_err *err);

#endif
