/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BERT: a bidirectional encoder of post-norm layers over token, position and segment embeddings (Devlin et al. 2018).
 *
 *   x = norm(word[ids] + type[types] + position[0..S))
 *   each layer:  x = norm(x + W_o attention(W_q x, W_k x, W_v x));  x = norm(x + W_2 act(W_1 x))
 *
 * and one head by the class in `architectures`. Whether the names begin with "bert." is seen from the checkpoint.
 */
#include "convert/arch/blocks.h"
#include "convert/archs.h"

#include <stdio.h>
#include <string.h>

typedef enum head { HEAD_NONE, HEAD_MASKED, HEAD_SEQUENCE, HEAD_TOKEN, HEAD_SPAN } head;

typedef struct bert {
    uint32_t vocab, width, layers, heads, inner, positions, types;
    double eps;
    hg_act act;
    head head;
    bool tied;
    const char *prefix;
    hg_value *batch_shape; /* [B, S, width] */
    hg_value *mask;        /* int32 [B, S] */
} bert;

static void read_class(bert *m, hg_build *b)
{
    static const struct {
        const char *name;
        head head;
        const char *task;
    } classes[] = {{"BertModel", HEAD_NONE, "feature-extraction"},
                   {"BertForMaskedLM", HEAD_MASKED, "fill-mask"},
                   {"BertForPreTraining", HEAD_MASKED, "fill-mask"},
                   {"BertForSequenceClassification", HEAD_SEQUENCE, "text-classification"},
                   {"BertForTokenClassification", HEAD_TOKEN, "token-classification"},
                   {"BertForQuestionAnswering", HEAD_SPAN, "question-answering"}};
    const char *name = hg_hfconfig_class(b->config);
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        if (name && strcmp(name, classes[i].name) != 0) continue;
        m->head = classes[i].head; /* without a class: the first, the bare model */
        b->task = classes[i].task;
        return;
    }
    hg_hfconfig_wrong(b->config, HANGAR_E_UNSUPPORTED, "architectures: %s", name);
}

static void read_config(bert *m, hg_build *b)
{
    hg_hfconfig *c = b->config;
    read_class(m, b);
    m->vocab = hg_hfconfig_u32(c, "vocab_size", 0, 1, 4u << 20);
    m->width = hg_hfconfig_u32(c, "hidden_size", 0, 1, 65536);
    m->layers = hg_hfconfig_u32(c, "num_hidden_layers", 0, 1, 512);
    m->heads = hg_hfconfig_u32(c, "num_attention_heads", 0, 1, 1024);
    m->inner = hg_hfconfig_u32(c, "intermediate_size", 0, 1, 1u << 20);
    m->positions = hg_hfconfig_u32(c, "max_position_embeddings", 512, 1, 1u << 20);
    m->types = hg_hfconfig_u32(c, "type_vocab_size", 2, 1, 65536);
    m->eps = hg_hfconfig_f64(c, "layer_norm_eps", 1e-12, 0, 1);
    m->tied = hg_hfconfig_bool(c, "tie_word_embeddings", true);
    m->act = hg_block_act(c, "hidden_act", "gelu");
    hg_hfconfig_only(c, "position_embedding_type", "absolute");
    hg_hfconfig_only(c, "feed_forward_type", "original");
    hg_hfconfig_only_bool(c, "is_decoder", false);
    hg_hfconfig_only_bool(c, "add_cross_attention", false);
    hg_hfconfig_refuse(c, "pruned_heads");
    hg_block_refuse_common(c);
}

/* norm(word[ids] + type[types] + position[0..S)), as rows. */
static hg_value *embeddings(bert *m, hg_build *b, hg_value *ids, hg_value *types)
{
    const int64_t zero = 0;
    hg_graph_enter(b->g, "embeddings");
    hg_value *word = hg_block_embed(b, "word_embeddings", ids, m->vocab, m->width);
    hg_value *type = hg_block_embed(b, "token_type_embeddings", types, m->types, m->width);
    hg_value *length = hg_op_shape(b->g, "length", ids, 1, 2);
    hg_value *position = hg_block_positions(b, "position_embeddings", hg_graph_ints(b->g, &zero, 1), length,
                                            m->positions, m->width);
    hg_value *x = hg_op_add(b->g, "add_positions", hg_op_add(b->g, "add_types", word, type), position);
    x = hg_block_norm(b, "LayerNorm", x, m->width, m->eps);
    x = hg_op_rows(b->g, "rows", x);
    hg_graph_leave(b->g);
    return x;
}

static hg_value *layer(const bert *m, hg_build *b, hg_value *x)
{
    hg_attention a = {.heads = m->heads, .mask = m->mask};
    a.q = hg_block_batch_linear(b, "attention.self.query", x, m->batch_shape, m->width, true);
    a.k = hg_block_batch_linear(b, "attention.self.key", x, m->batch_shape, m->width, true);
    a.v = hg_block_batch_linear(b, "attention.self.value", x, m->batch_shape, m->width, true);
    hg_value *y = hg_op_rows(b->g, "attention.self.rows", hg_op_attention(b->g, "attention.self", &a));
    y = hg_block_linear(b, "attention.output.dense", y, m->width, m->width, true);
    x = hg_block_add_norm(b, "attention.output.LayerNorm", y, x, m->width, m->eps, NULL);
    y = hg_block_linear(b, "intermediate.dense", x, m->width, m->inner, true);
    y = hg_op_act(b->g, "intermediate.act", y, m->act);
    y = hg_block_linear(b, "output.dense", y, m->inner, m->width, true);
    return hg_block_add_norm(b, "output.LayerNorm", y, x, m->width, m->eps, NULL);
}

/* Rows to batch, as an output of the model. */
static void batch_output(const bert *m, hg_build *b, const char *name, hg_value *rows, uint64_t width)
{
    hg_value *shape =
        width == m->width ? m->batch_shape : hg_block_batch_shape(b, "logits_shape", m->mask, width);
    hg_graph_output(b->g, name, hg_block_batch(b, "as_batch", rows, shape, width));
}

/* decoder(norm(act(dense(x)))): one score per word for each token. */
static void masked_head(const bert *m, hg_build *b, hg_value *x)
{
    b->prefix = "";
    hg_graph_enter(b->g, "cls.predictions");
    hg_value *y = hg_block_linear(b, "transform.dense", x, m->width, m->width, true);
    y = hg_op_act(b->g, "transform.act", y, m->act);
    y = hg_block_norm(b, "transform.LayerNorm", y, m->width, m->eps);
    hg_value *bias = hg_block_vector(b, hg_block_has(b, "bias") ? "bias" : "decoder.bias", m->vocab);
    hg_value *w;
    if (!m->tied) {
        w = hg_block_matrix(b, "decoder.weight", m->vocab, m->width);
        hg_graph_leave(b->g);
    } else {
        hg_graph_leave(b->g);
        b->prefix = m->prefix;
        w = hg_block_matrix(b, "embeddings.word_embeddings.weight", m->vocab, m->width);
    }
    batch_output(m, b, "logits", hg_op_linear(b->g, "cls.predictions.decoder", y, w, bias), m->vocab);
}

/* How many labels a classifier has: the rows of its weight. */
static uint64_t label_count(hg_build *b, const char *name)
{
    char full[HG_ONNX_NAME_MAX];
    snprintf(full, sizeof full, "%s.weight", name);
    const hg_tensor *t = hg_checkpoint_get(b->ck, full, NULL);
    return t && t->rank == 2 && t->shape[0] > 0 ? t->shape[0] : 1;
}

/* classifier(tanh(pooler(x[:, 0]))). */
static void sequence_head(const bert *m, hg_build *b, hg_value *x)
{
    hg_value *batch = hg_block_batch(b, "pooler.batch", x, m->batch_shape, m->width);
    hg_value *first = hg_op_gather(b->g, "pooler.first_token", batch, hg_graph_int(b->g, 0), 1);
    hg_value *y = hg_op_act(b->g, "pooler.activation",
                            hg_block_linear(b, "pooler.dense", first, m->width, m->width, true), HG_ACT_TANH);
    b->prefix = "";
    y = hg_block_linear(b, "classifier", y, m->width, label_count(b, "classifier"), true);
    hg_graph_output(b->g, "logits", y);
}

/* qa_outputs(x): where the answer begins and where it ends. */
static void span_head(const bert *m, hg_build *b, hg_value *x)
{
    b->prefix = "";
    hg_value *y = hg_block_linear(b, "qa_outputs", x, m->width, 2, true);
    hg_value *shape = hg_block_batch_shape(b, "logits_shape", m->mask, 2);
    y = hg_block_batch(b, "as_batch", y, shape, 2);
    hg_graph_output(b->g, "start_logits", hg_op_gather(b->g, "start", y, hg_graph_int(b->g, 0), 2));
    hg_graph_output(b->g, "end_logits", hg_op_gather(b->g, "end", y, hg_graph_int(b->g, 1), 2));
}

static void head_of(const bert *m, hg_build *b, hg_value *x)
{
    uint64_t labels;
    switch (m->head) {
    case HEAD_NONE: batch_output(m, b, "last_hidden_state", x, m->width); break;
    case HEAD_MASKED: masked_head(m, b, x); break;
    case HEAD_SEQUENCE: sequence_head(m, b, x); break;
    case HEAD_TOKEN:
        b->prefix = "";
        labels = label_count(b, "classifier");
        batch_output(m, b, "logits", hg_block_linear(b, "classifier", x, m->width, labels, true), labels);
        break;
    case HEAD_SPAN: span_head(m, b, x); break;
    }
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    bert m = {0};
    read_config(&m, b);
    hangar_code code = hg_hfconfig_check(b->config, err);
    if (code == HANGAR_OK) code = hg_build_begin(b, "model", err);
    if (code != HANGAR_OK) return code;
    m.prefix = hg_checkpoint_get(b->ck, "bert.embeddings.word_embeddings.weight", NULL) ? "bert." : "";
    b->prefix = m.prefix;
    const hg_shape tokens = HG_SHAPE(HG_SYM("batch_size"), HG_SYM("sequence_length"));
    hg_value *ids = hg_graph_input(b->g, "input_ids", HG_ONNX_INT64, tokens);
    hg_value *mask = hg_graph_input(b->g, "attention_mask", HG_ONNX_INT64, tokens);
    hg_value *types = hg_graph_input(b->g, "token_type_ids", HG_ONNX_INT64, tokens);
    m.mask = hg_op_cast(b->g, "mask", mask, HG_ONNX_INT32);
    m.batch_shape = hg_block_batch_shape(b, "batch_shape", ids, m.width);
    hg_value *x = embeddings(&m, b, ids, types);
    for (uint32_t i = 0; i < hg_build_layers(b, m.layers); i++) {
        hg_graph_enter(b->g, "encoder.layer.%u", i);
        x = layer(&m, b, x);
        hg_graph_leave(b->g);
    }
    head_of(&m, b, x);
    return HANGAR_OK;
}

const hg_arch hg_arch_bert = {.name = "bert", .build = build};
