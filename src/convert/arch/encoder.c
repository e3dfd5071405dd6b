/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/arch/encoder.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- config.json ---- */

/* The class. */
void hg_encoder_class(hg_encoder *e, hg_build *b, const char *family)
{
    static const struct {
        const char *end;
        hg_head head;
        const char *task;
    } classes[] = {{"Model", HG_HEAD_NONE, "feature-extraction"},
                   {"ForMaskedLM", HG_HEAD_MASKED, "fill-mask"},
                   {"ForSequenceClassification", HG_HEAD_SEQUENCE, "text-classification"},
                   {"ForTokenClassification", HG_HEAD_TOKEN, "token-classification"},
                   {"ForQuestionAnswering", HG_HEAD_SPAN, "question-answering"}};
    const char *name = hg_hfconfig_class(b->config);
    size_t len = strlen(family);
    for (size_t i = 0; i < HG_LEN(classes); i++) {
        if (name && (strncmp(name, family, len) != 0 || strcmp(name + len, classes[i].end) != 0)) continue;
        e->head = classes[i].head; /* without a class: the first, the bare model */
        b->task = classes[i].task;
        return;
    }
    hg_hfconfig_wrong(b->config, HANGAR_E_UNSUPPORTED, "architectures: %s", name);
}

/* What nobody takes. */
void hg_encoder_refuse(hg_build *b)
{
    hg_hfconfig_only_bool(b->config, "is_decoder", false);
    hg_hfconfig_only_bool(b->config, "add_cross_attention", false);
    hg_hfconfig_refuse(b->config, "pruned_heads");
    hg_block_refuse_common(b->config);
}

/* The sizes. */
void hg_encoder_sizes(hg_encoder *e, hg_build *b)
{
    hg_hfconfig *c = b->config;
    e->vocab = hg_hfconfig_u32(c, "vocab_size", 0, 1, 4u << 20);
    e->width = hg_hfconfig_u32(c, "hidden_size", 0, 1, 65536);
    e->layers = hg_hfconfig_u32(c, "num_hidden_layers", 0, 1, 512);
    e->heads = hg_hfconfig_u32(c, "num_attention_heads", 0, 1, 1024);
    e->inner = hg_hfconfig_u32(c, "intermediate_size", 0, 1, 1u << 20);
    e->positions = hg_hfconfig_u32(c, "max_position_embeddings", 512, 1, 1u << 20);
    e->eps = hg_hfconfig_f64(c, "layer_norm_eps", 1e-12, 0, 1);
    e->tied = hg_hfconfig_bool(c, "tie_word_embeddings", true);
    e->act = hg_block_act(c, "hidden_act", "gelu");
    hg_encoder_refuse(b);
}

/* Absolute or relative places. */
void hg_encoder_read_places(hg_encoder *e, hg_build *b)
{
    static const char *const kinds[] = {"absolute", "relative_key", "relative_key_query"};
    const char *kind = hg_hfconfig_text(b->config, "position_embedding_type", kinds[0]);
    for (size_t i = 0; i < HG_LEN(kinds); i++) {
        if (strcmp(kind, kinds[i]) != 0) continue;
        e->places = (hg_places)i;
        if (e->places == HG_PLACES_ABSOLUTE || e->width % e->heads == 0) return;
    }
    hg_hfconfig_wrong(b->config, HANGAR_E_UNSUPPORTED, "position_embedding_type \"%s\"", kind);
}

/* ---- the graph ---- */

/* Inputs. */
hangar_code hg_encoder_begin(hg_encoder *e, hg_build *b, const char *base, const char *word, bool kinds,
                             hangar_err *err)
{
    char name[HG_ONNX_NAME_MAX];
    hangar_code code = hg_hfconfig_check(b->config, err);
    if (code == HANGAR_OK) code = hg_build_begin(b, "model", err);
    if (code != HANGAR_OK) return code;
    snprintf(name, sizeof name, "%s%s.weight", base, word);
    e->word = word;
    e->prefix = hg_checkpoint_get(b->ck, name, NULL) ? base : "";
    b->prefix = e->prefix;
    const hg_shape tokens = HG_SHAPE(HG_SYM("batch_size"), HG_SYM("sequence_length"));
    e->ids = hg_graph_input(b->g, "input_ids", HG_ONNX_INT64, tokens);
    e->attend = hg_graph_input(b->g, "attention_mask", HG_ONNX_INT64, tokens);
    if (kinds) e->kinds = hg_graph_input(b->g, "token_type_ids", HG_ONNX_INT64, tokens);
    e->mask = hg_op_cast(b->g, "mask", e->attend, HG_ONNX_INT32);
    e->batch_shape = hg_block_batch_shape(b, "batch_shape", e->ids, e->width);
    return HANGAR_OK;
}

/* Places that skip padding. */
hg_value *hg_encoder_places(hg_encoder *e, hg_build *b, const char *name, uint32_t pad)
{
    hg_graph_enter(b->g, "%s", name);
    hg_value *first = hg_graph_int(b->g, pad);
    hg_value *gap = hg_op_compare(b->g, "Equal", "is_pad", e->ids, first);
    hg_value *token =
        hg_op_cast(b->g, "is_token", hg_op_unary(b->g, "Not", "is_not_pad", gap), HG_ONNX_INT64);
    hg_value *count = hg_op_mul(b->g, "places", hg_op_cumsum(b->g, "count", token, 1), token);
    count = hg_op_add(b->g, "ids", count, first);
    hg_graph_leave(b->g);
    return count;
}

/* table[0 .. S). */
static hg_value *places_from_0(hg_encoder *e, hg_build *b, const char *name, uint32_t size)
{
    const int64_t zero = 0;
    hg_value *length = hg_op_shape(b->g, "length", e->ids, 1, 2);
    return hg_block_positions(b, name, hg_graph_ints(b->g, &zero, 1), length, e->positions, size);
}

/* What goes into the first layer. */
hg_value *hg_encoder_embed(hg_encoder *e, hg_build *b, hg_value *places, uint32_t size)
{
    const char *table = "position_embeddings";
    hg_graph_enter(b->g, "embeddings");
    hg_value *x = hg_block_embed(b, "word_embeddings", e->ids, e->vocab, size);
    if (e->types) {
        hg_value *type = e->kinds ? hg_block_embed(b, "token_type_embeddings", e->kinds, e->types, size)
                                  : hg_block_row(b, "token_type_embeddings.weight", 0, e->types, size);
        x = hg_op_add(b->g, "add_types", x, type);
    }
    if (e->places == HG_PLACES_ABSOLUTE) {
        hg_value *position =
            places ? hg_block_embed(b, table, places, e->positions, size) : places_from_0(e, b, table, size);
        x = hg_op_add(b->g, "add_positions", x, position);
    } else if (e->places != HG_PLACES_NONE) {
        e->far =
            hg_encoder_far_of(e, b, "distances", hg_encoder_apart(e, b, "distance", NULL, e->positions - 1),
                              2 * (uint64_t)e->positions - 1);
    }
    x = hg_op_rows(b->g, "rows", hg_block_norm(b, "LayerNorm", x, size, e->eps));
    hg_graph_leave(b->g);
    return x;
}

/* ---- distances ---- */

/* i - j as a row of a table. */
hg_value *hg_encoder_apart(hg_encoder *e, hg_build *b, const char *name, const int64_t *rows, uint32_t reach)
{
    hg_graph *g = b->g;
    hg_graph_enter(g, "%s", name);
    hg_value *length = hg_op_size(g, "length", e->ids, 1);
    hg_value *places = hg_op_range(g, "places", hg_graph_int(g, 0), length, "sequence_length");
    hg_value *query = hg_op_unsqueeze(g, "query", places, 1), *key = hg_op_unsqueeze(g, "key", places, 0);
    hg_value *apart = hg_op_sub(g, "apart", query, key);
    if (rows) {
        const hg_shape all = HG_SHAPE(HG_DIM(2 * (int64_t)reach + 1));
        hg_value *table = hg_graph_inline(g, "of_distance", HG_ONNX_INT64, all, rows,
                                          (2 * (size_t)reach + 1) * sizeof *rows);
        apart = hg_op_binary(g, "Min", "not_beyond", apart, hg_graph_int(g, reach));
        apart = hg_op_binary(g, "Max", "within", apart, hg_graph_int(g, -(int64_t)reach));
        apart = hg_op_add(g, "from_0", apart, hg_graph_int(g, reach));
        apart = hg_op_gather(g, "row", table, apart, 0);
    } else {
        apart = hg_op_add(g, "from_0", apart, hg_graph_int(g, reach));
    }
    hg_graph_leave(g);
    return apart;
}

/* The list [B, heads, S, last]; `last` 0 = S. */
static hg_value *scores_shape(hg_encoder *e, hg_build *b, const char *name, uint64_t last)
{
    const int64_t heads = e->heads, columns = (int64_t)last;
    hg_graph_enter(b->g, "%s", name);
    hg_value *length = hg_op_shape(b->g, "length", e->ids, 1, 2);
    hg_value *parts[] = {hg_op_shape(b->g, "batch", e->ids, 0, 1), hg_graph_ints(b->g, &heads, 1), length,
                         last ? hg_graph_ints(b->g, &columns, 1) : length};
    hg_value *shape = hg_op_concat_ints(b->g, "sizes", parts, 4);
    hg_graph_leave(b->g);
    return shape;
}

/* GatherElements wants an index for every score. */
hg_encoder_far hg_encoder_far_of(hg_encoder *e, hg_build *b, const char *name, hg_value *apart, uint64_t rows)
{
    static const int64_t perm[] = {1, 0};
    const hg_shape all = HG_SHAPE(HG_SYM("batch_size"), HG_DIM(e->heads), HG_SYM("sequence_length"),
                                  HG_SYM("sequence_length"));
    hg_encoder_far f = {.rows = rows};
    hg_graph_enter(b->g, "%s", name);
    hg_value *shape = scores_shape(e, b, "shape", 0);
    f.apart = hg_op_expand(b->g, "apart", apart, shape, all);
    f.turned = hg_op_expand(b->g, "turned", hg_op_transpose(b->g, "transposed", apart, perm), shape, all);
    f.tables = scores_shape(e, b, "tables_shape", rows);
    hg_graph_leave(b->g);
    return f;
}

/* x [B, S, width] by a table: [B, heads, S, rows], of which the index takes [B, heads, S, S]. */
static hg_value *far_part(hg_encoder *e, hg_build *b, const char *name, const hg_encoder_far *f, hg_value *x,
                          hg_value *table, hg_value *index)
{
    static const int64_t perm[] = {0, 2, 1, 3};
    const int64_t split[] = {0, 0, e->heads, e->width / e->heads};
    hg_graph_enter(b->g, "%s", name);
    x = hg_op_transpose(b->g, "heads", hg_op_view(b->g, "split", x, split, 4), perm);
    if (table->shape.rank == 3) {
        x = hg_op_matmul(b->g, "by_row", x, table);
    } else {
        x = hg_op_linear(b->g, "by_row", hg_op_rows(b->g, "rows", x), table, NULL);
        x = hg_op_reshape(b->g, "by_head", x, f->tables,
                          HG_SHAPE(HG_SYM("batch_size"), HG_DIM(e->heads), HG_SYM("sequence_length"),
                                   HG_DIM(f->rows)));
    }
    x = hg_op_gather_last(b->g, "by_distance", x, index);
    hg_graph_leave(b->g);
    return x;
}

/* What distances add. */
hg_value *hg_encoder_far_scores(hg_encoder *e, hg_build *b, const char *name, const hg_encoder_far *f,
                                hg_value *q, hg_value *query_table, hg_value *k, hg_value *key_table)
{
    static const int64_t perm[] = {0, 1, 3, 2};
    hg_value *of_q = NULL, *of_k = NULL;
    hg_graph_enter(b->g, "%s", name);
    if (query_table) of_q = far_part(e, b, "of_query", f, q, query_table, f->apart);
    if (key_table) {
        of_k = far_part(e, b, "of_key", f, k, key_table, f->turned); /* of (j, i) */
        of_k = hg_op_transpose(b->g, "of_key.turned_back", of_k, perm);
    }
    hg_value *sum = of_q && of_k ? hg_op_add(b->g, "sum", of_q, of_k) : of_q ? of_q : of_k;
    hg_graph_leave(b->g);
    return sum;
}

/* ---- layers ---- */

const hg_encoder_names hg_encoder_bert = {.attention = "attention.self",
                                          .query = "attention.self.query",
                                          .key = "attention.self.key",
                                          .value = "attention.self.value",
                                          .mixed = "attention.output.dense",
                                          .mixed_norm = "attention.output.LayerNorm",
                                          .up = "intermediate.dense",
                                          .act = "intermediate.act",
                                          .down = "output.dense",
                                          .norm = "output.LayerNorm"};

/* The second half of a layer. */
hg_value *hg_encoder_after(hg_encoder *e, hg_build *b, const hg_encoder_names *n, hg_value *x, hg_value *y)
{
    char part[HG_ONNX_NAME_MAX];
    snprintf(part, sizeof part, "%s.rows", n->attention);
    y = hg_block_linear(b, n->mixed, hg_op_rows(b->g, part, y), e->width, e->width, true);
    x = hg_block_add_norm(b, n->mixed_norm, y, x, e->width, e->eps, NULL);
    y = hg_block_linear(b, n->up, x, e->width, e->inner, true);
    y = hg_op_act(b->g, n->act, y, e->act);
    y = hg_block_linear(b, n->down, y, e->inner, e->width, true);
    return hg_block_add_norm(b, n->norm, y, x, e->width, e->eps, NULL);
}

/* What relative places add to a layer's scores, which are divided afterwards in the papers and before here. */
static hg_value *relative_bias(hg_encoder *e, hg_build *b, const char *module, hg_value *q, hg_value *k)
{
    char name[HG_ONNX_NAME_MAX];
    uint64_t head_dim = e->width / e->heads;
    snprintf(name, sizeof name, "%s.distance_embedding.weight", module);
    hg_value *table = hg_block_matrix(b, name, e->far.rows, head_dim);
    snprintf(name, sizeof name, "%s.distance_embedding", module);
    hg_value *bias =
        hg_encoder_far_scores(e, b, name, &e->far, q, table, k, e->places == HG_PLACES_BOTH ? table : NULL);
    snprintf(name, sizeof name, "%s.distance_scaled", module);
    return hg_op_scale(b->g, name, bias, 1 / sqrt((double)head_dim));
}

/* A layer. */
hg_value *hg_encoder_layer(hg_encoder *e, hg_build *b, const hg_encoder_names *n, hg_value *x)
{
    hg_attention a = {.heads = e->heads, .mask = e->mask, .bias = e->bias};
    a.q = hg_block_batch_linear(b, n->query, x, e->batch_shape, e->width, true);
    a.k = hg_block_batch_linear(b, n->key, x, e->batch_shape, e->width, true);
    a.v = hg_block_batch_linear(b, n->value, x, e->batch_shape, e->width, true);
    if (e->places == HG_PLACES_KEY || e->places == HG_PLACES_BOTH)
        a.bias = relative_bias(e, b, n->attention, a.q, a.k);
    return hg_encoder_after(e, b, n, x, hg_op_attention(b->g, n->attention, &a));
}

/* All of them. */
hg_value *hg_encoder_stack(hg_encoder *e, hg_build *b, const char *scope, const hg_encoder_names *n,
                           hg_value *x)
{
    for (uint32_t i = 0; i < hg_build_layers(b, e->layers); i++) {
        hg_graph_enter(b->g, "%s.%u", scope, i);
        x = hg_encoder_layer(e, b, n, x);
        hg_graph_leave(b->g);
    }
    return x;
}

/* ---- heads ---- */

/* An output for each token. */
void hg_encoder_output(hg_encoder *e, hg_build *b, const char *name, hg_value *rows, uint64_t width)
{
    hg_value *shape =
        width == e->width ? e->batch_shape : hg_block_batch_shape(b, "logits_shape", e->ids, width);
    hg_block_output(b, name, hg_block_batch(b, "as_batch", rows, shape, width));
}

/* Scores for each word. A tied decoder is the table of words; its bias has two names, of which the decoder's own counts when it is not tied. */
void hg_encoder_masked(hg_encoder *e, hg_build *b, const hg_encoder_words *n, hg_value *x)
{
    char weight[HG_ONNX_NAME_MAX], bias[HG_ONNX_NAME_MAX];
    b->prefix = "";
    uint32_t size = n->size ? n->size : e->width;
    hg_linear dense = {.in = e->width, .out = size};
    snprintf(bias, sizeof bias, "%s.bias", n->dense);
    if (!n->bare) dense.bias = bias;
    hg_value *y = hg_block_linear_of(b, n->dense, x, &dense);
    y = hg_op_act(b->g, n->act, y, e->act);
    y = hg_block_norm(b, n->norm, y, size, e->eps);
    hg_linear last = {.in = size, .out = e->vocab, .weight = weight};
    snprintf(weight, sizeof weight, "%s%s.weight", e->tied ? e->prefix : "", e->tied ? e->word : n->decoder);
    snprintf(bias, sizeof bias, "%s.bias", n->decoder);
    if (!n->no_bias) last.bias = bias;
    if (!n->no_bias && n->bias && hg_block_has(b, n->bias) && (e->tied || !hg_block_has(b, bias)))
        last.bias = n->bias;
    hg_encoder_output(e, b, "logits", hg_block_linear_of(b, n->decoder, y, &last), e->vocab);
}

/* The class promises a head of which the checkpoint has nothing, and the names are those of a bare model. */
void hg_encoder_headless(hg_encoder *e, hg_build *b, const hg_encoder_words *n)
{
    char leaf[HG_ONNX_NAME_MAX];
    snprintf(leaf, sizeof leaf, "%s.weight", n->dense);
    if (e->head != HG_HEAD_MASKED || e->prefix[0] || hg_checkpoint_get(b->ck, leaf, NULL)) return;
    e->head = HG_HEAD_NONE;
    b->task = "feature-extraction";
}

/* The first tokens. */
hg_value *hg_encoder_first_token(hg_encoder *e, hg_build *b, hg_value *x)
{
    hg_value *batch = hg_block_batch(b, "pooler.batch", x, e->batch_shape, e->width);
    return hg_op_gather(b->g, "pooler.first_token", batch, hg_graph_int(b->g, 0), 1);
}

/* Labels. */
hg_value *hg_encoder_labels(hg_build *b, const char *name, hg_value *x, uint64_t width, bool bias,
                            uint64_t *labels)
{
    char leaf[HG_ONNX_NAME_MAX];
    snprintf(leaf, sizeof leaf, "%s.weight", name);
    uint64_t rows = hg_block_size(b, leaf, 0);
    if (rows == 0) rows = 1; /* it is missing or empty, which the Linear says */
    if (labels) *labels = rows;
    return hg_block_linear(b, name, x, width, rows, bias);
}

/* Labels for all of a text. */
void hg_encoder_sequence(hg_encoder *e, hg_build *b, const hg_encoder_first *n, hg_value *x)
{
    b->prefix = n->base ? e->prefix : "";
    x = hg_encoder_first_token(e, b, x);
    x = hg_op_act(b->g, n->act, hg_block_linear(b, n->dense, x, e->width, e->width, true), n->how);
    b->prefix = "";
    hg_block_output(b, "logits", hg_encoder_labels(b, n->last, x, e->width, true, NULL));
}

/* Labels for each token. */
void hg_encoder_token(hg_encoder *e, hg_build *b, const char *name, hg_value *x, bool bias)
{
    uint64_t labels;
    b->prefix = "";
    x = hg_encoder_labels(b, name, x, e->width, bias, &labels);
    hg_encoder_output(e, b, "logits", x, labels);
}

/* Begin and end. */
void hg_encoder_span(hg_encoder *e, hg_build *b, const char *name, hg_value *x, bool bias)
{
    b->prefix = "";
    hg_value *shape = hg_block_batch_shape(b, "logits_shape", e->ids, 2);
    x = hg_block_batch(b, "as_batch", hg_block_linear(b, name, x, e->width, 2, bias), shape, 2);
    hg_block_output(b, "start_logits", hg_op_gather(b->g, "start", x, hg_graph_int(b->g, 0), 2));
    hg_block_output(b, "end_logits", hg_op_gather(b->g, "end", x, hg_graph_int(b->g, 1), 2));
}

/* Whichever. */
void hg_encoder_head(hg_encoder *e, hg_build *b, const hg_encoder_words *words, const hg_encoder_first *first,
                     hg_value *x)
{
    hg_encoder_headless(e, b, words);
    switch (e->head) {
    case HG_HEAD_NONE: hg_encoder_output(e, b, "last_hidden_state", x, e->width); break;
    case HG_HEAD_MASKED: hg_encoder_masked(e, b, words, x); break;
    case HG_HEAD_SEQUENCE: hg_encoder_sequence(e, b, first, x); break;
    case HG_HEAD_TOKEN: hg_encoder_token(e, b, "classifier", x, true); break;
    case HG_HEAD_SPAN: hg_encoder_span(e, b, "qa_outputs", x, true); break;
    }
}
