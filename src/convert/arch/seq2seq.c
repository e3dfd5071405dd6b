/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/arch/seq2seq.h"

#include "base/mem.h"
#include "convert/arch/silence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "a.b" into out: names are the architectures' own literals, and short. */
static const char *join(char out[HG_ONNX_NAME_MAX], const char *a, const char *b)
{
    snprintf(out, HG_ONNX_NAME_MAX, "%s.%s", a, b);
    return out;
}

static hg_dim head_count(const hg_seq2seq *s)
{
    return HG_DIM(s->heads);
}

static uint64_t inner(const hg_seq2seq *s)
{
    return (uint64_t)s->heads * s->head_dim;
}

/* ---- graphs ---- */

/* Begins a text encoder. */
hangar_code hg_seq2seq_encoder(hg_seq2seq *s, hg_build *b, const char *name, hangar_err *err)
{
    hangar_code code = hg_build_begin(b, name, err);
    if (code != HANGAR_OK) return code;
    const hg_shape tokens = HG_SHAPE(HG_SYM("batch_size"), HG_SYM("sequence_length"));
    s->ids = hg_graph_input(b->g, "input_ids", HG_ONNX_INT64, tokens);
    hg_value *mask = hg_graph_input(b->g, "attention_mask", HG_ONNX_INT64, tokens);
    s->mask = hg_op_cast(b->g, "mask", mask, HG_ONNX_INT32);
    s->batch_shape = hg_block_batch_shape(b, "batch_shape", s->ids, inner(s));
    s->begin = hg_graph_ints(b->g, &(const int64_t){0}, 1);
    s->end = hg_op_shape(b->g, "length", s->ids, 1, 2);
    return HANGAR_OK;
}

static hg_value *past_input(const hg_seq2seq *s, hg_build *b, uint32_t layer, const char *side,
                            const char *what, const char *length)
{
    char name[64];
    snprintf(name, sizeof name, "past_key_values.%u.%s.%s", layer, side, what);
    return hg_graph_input(b->g, name, hg_graph_real(b->g),
                          HG_SHAPE(HG_SYM("batch_size"), head_count(s), HG_SYM(length), HG_DIM(s->head_dim)));
}

/* The list [B, T, heads, head_dim] of h [B, T, width]. */
static hg_value *heads_shape(const hg_seq2seq *s, hg_build *b, hg_value *h)
{
    const int64_t tail[] = {s->heads, s->head_dim};
    hg_value *parts[] = {hg_op_shape(b->g, "hidden_sizes", h, 0, 2), hg_graph_ints(b->g, tail, 2)};
    return hg_op_concat_ints(b->g, "heads_shape", parts, 2);
}

/* Begins a decoder. */
hangar_code hg_seq2seq_decoder(hg_seq2seq *s, hg_build *b, uint32_t layers, bool masked, hangar_err *err)
{
    hangar_code code = hg_build_begin(b, "decoder_model_merged", err);
    if (code != HANGAR_OK) return code;
    hg_graph *g = b->g;
    s->layers = hg_build_layers(b, layers);
    s->caches = hg_calloc(s->layers, sizeof *s->caches);
    if (!s->caches) return hg_fail_memory(err);
    s->ids = hg_graph_input(g, "input_ids", HG_ONNX_INT64,
                            HG_SHAPE(HG_SYM("batch_size"), HG_SYM("sequence_length")));
    s->mask = NULL;
    if (masked) {
        hg_value *mask = hg_graph_input(g, "encoder_attention_mask", HG_ONNX_INT64,
                                        HG_SHAPE(HG_SYM("batch_size"), HG_SYM("encoder_sequence_length")));
        s->mask = hg_op_cast(g, "encoder_mask", mask, HG_ONNX_INT32);
    }
    s->hidden =
        hg_block_input(b, "encoder_hidden_states",
                       HG_SHAPE(HG_SYM("batch_size"), HG_SYM("encoder_sequence_length"), HG_DIM(s->width)));
    for (uint32_t i = 0; i < s->layers; i++) {
        hg_seq2seq_cache *c = &s->caches[i];
        c->past_k = past_input(s, b, i, "decoder", "key", "past_sequence_length");
        c->past_v = past_input(s, b, i, "decoder", "value", "past_sequence_length");
        c->cross_k = past_input(s, b, i, "encoder", "key", "encoder_past_sequence_length");
        c->cross_v = past_input(s, b, i, "encoder", "value", "encoder_past_sequence_length");
    }
    s->use_cache = hg_graph_input(g, "use_cache_branch", HG_ONNX_BOOL, HG_SHAPE(HG_DIM(1)));
    s->heads_shape = heads_shape(s, b, s->hidden);
    s->batch_shape = hg_block_batch_shape(b, "batch_shape", s->ids, inner(s));
    s->begin = hg_op_shape(g, "past_length", s->caches[0].past_k, 2, 3);
    s->end = hg_op_add(g, "total_length", s->begin, hg_op_shape(g, "length", s->ids, 1, 2));
    return HANGAR_OK;
}

static void present_output(hg_build *b, uint32_t layer, const char *side, const char *what, hg_value *value)
{
    char name[64];
    snprintf(name, sizeof name, "present.%u.%s.%s", layer, side, what);
    hg_graph_output(b->g, name, value);
}

/* The cache, as outputs. */
void hg_seq2seq_presents(const hg_seq2seq *s, hg_build *b)
{
    for (uint32_t i = 0; i < s->layers; i++) {
        const hg_seq2seq_cache *c = &s->caches[i];
        present_output(b, i, "decoder", "key", c->present_k);
        present_output(b, i, "decoder", "value", c->present_v);
        present_output(b, i, "encoder", "key", c->made_k);
        present_output(b, i, "encoder", "value", c->made_v);
    }
}

/* Frees what a decoder kept. */
void hg_seq2seq_deinit(hg_seq2seq *s)
{
    free(s->caches);
    s->caches = NULL;
}

/* Rows as an output. */
void hg_seq2seq_output(const hg_seq2seq *s, hg_build *b, const char *name, hg_value *rows, uint64_t size)
{
    char part[HG_ONNX_NAME_MAX];
    hg_value *shape = hg_block_batch_shape(b, join(part, name, "shape"), s->ids, size);
    hg_block_output(b, name, hg_block_batch(b, join(part, name, "batch"), rows, shape, size));
}

/* ---- attention ---- */

/* q, k or v of the stack's rows, as a batch. */
static hg_value *project(const hg_seq2seq *s, hg_build *b, const char *name, hg_value *rows, bool bias)
{
    char part[HG_ONNX_NAME_MAX];
    hg_value *y = hg_block_linear(b, name, rows, s->width, inner(s), bias);
    return hg_block_batch(b, join(part, name, "view"), y, s->batch_shape, inner(s));
}

/* The way back into the stream. */
static hg_value *project_back(const hg_seq2seq *s, hg_build *b, const hg_attention_names *n, hg_value *batch)
{
    return hg_block_linear(b, n->out, hg_op_rows(b->g, "rows", batch), inner(s), s->width, n->bias);
}

/* Attention within a stack. */
hg_value *hg_seq2seq_self(const hg_seq2seq *s, hg_build *b, const hg_attention_names *n, hg_value *rows,
                          hg_value *bias, hg_seq2seq_cache *cache)
{
    hg_attention a = {.heads = s->heads, .scale = s->scale, .bias = bias};
    if (cache) {
        a.causal = true;
        a.past_k = cache->past_k;
        a.past_v = cache->past_v;
        a.present_k = &cache->present_k;
        a.present_v = &cache->present_v;
    } else {
        a.mask = s->mask;
    }
    hg_graph_enter(b->g, "%s", n->scope);
    a.q = project(s, b, n->q, rows, n->bias);
    a.k = project(s, b, n->k, rows, n->key_bias);
    a.v = project(s, b, n->v, rows, n->bias);
    hg_value *y =
        s->silence ? hg_silence_attention(b, s->silence, &a) : hg_op_attention(b->g, "attention", &a);
    y = project_back(s, b, n, y);
    hg_graph_leave(b->g);
    return y;
}

/* Keys or values of h: rows [B T, heads x head_dim] to [B, heads, T, head_dim]; of rows that repeat only the first ones are there, and
 * `shape` (the list [B, T, heads, head_dim]) says how many. */
static hg_value *split_heads(const hg_seq2seq *s, hg_build *b, const char *name, hg_value *rows,
                             hg_value *shape)
{
    const int64_t heads_first[] = {0, 2, 1, 3};
    const hg_dim length = HG_SYM("encoder_sequence_length");
    hg_graph_enter(b->g, "%s", name);
    hg_value *x = hg_op_reshape(b->g, "split", rows, shape,
                                HG_SHAPE(HG_SYM("batch_size"), length, head_count(s), HG_DIM(s->head_dim)));
    x = hg_op_transpose(b->g, "heads", x, heads_first);
    if (s->repeats) x = hg_op_gather(b->g, "repeated", x, s->repeats->of, 2);
    hg_graph_leave(b->g);
    return x;
}

/* use_cache_branch true: keys and values are there already; the placeholders say so by their length of 0. */
static hg_branch *cached_branch(const hg_seq2seq *s, hg_build *b, hg_value *q, const hg_seq2seq_cache *c)
{
    hg_branch *branch = hg_graph_branch_begin(b->g, "cached");
    hg_attention a = {
        .heads = s->heads, .scale = s->scale, .mask = s->mask, .q = q, .k = c->cross_k, .v = c->cross_v};
    const hg_shape empty = HG_SHAPE(HG_DIM(1), head_count(s), HG_DIM(0), HG_DIM(s->head_dim));
    hg_graph_branch_output(b->g, hg_op_attention(b->g, "attention", &a));
    hg_graph_branch_output(b->g, hg_op_zeros(b->g, "no_key", hg_graph_real(b->g), empty));
    hg_graph_branch_output(b->g, hg_op_zeros(b->g, "no_value", hg_graph_real(b->g), empty));
    hg_graph_branch_end(b->g);
    return branch;
}

/* Keys or values of h, inside a branch. A plain weight was looked up outside (w not NULL), where a cast of it is folded. */
static hg_value *made_inside(const hg_seq2seq *s, hg_build *b, const char *name, hg_value *rows,
                             hg_value *shape, hg_value *w, hg_value *bias, bool has_bias)
{
    char part[HG_ONNX_NAME_MAX];
    hg_value *y = w ? hg_op_linear(b->g, name, rows, w, bias)
                    : hg_block_linear(b, name, rows, s->width, inner(s), has_bias);
    return split_heads(s, b, join(part, name, "split"), y, shape);
}

/* use_cache_branch false: keys and values are made from h. */
static hg_branch *first_branch(const hg_seq2seq *s, hg_build *b, const hg_attention_names *n, hg_value *q)
{
    char module[HG_ONNX_NAME_MAX], part[HG_ONNX_NAME_MAX];
    hg_value *k = NULL, *v = NULL, *k_bias = NULL, *v_bias = NULL;
    snprintf(module, sizeof module, "%s", hg_graph_scope(b->g));
    if (!b->form || b->form->linear == HG_LINEAR_PLAIN) {
        k = hg_block_matrix(b, join(part, n->k, "weight"), inner(s), s->width);
        k_bias = n->key_bias ? hg_block_vector(b, join(part, n->k, "bias"), inner(s)) : NULL;
        v = hg_block_matrix(b, join(part, n->v, "weight"), inner(s), s->width);
        v_bias = n->bias ? hg_block_vector(b, join(part, n->v, "bias"), inner(s)) : NULL;
    }
    hg_branch *branch = hg_graph_branch_begin(b->g, "first");
    b->module = module;
    hg_value *h = s->hidden, *shape = s->heads_shape;
    if (s->repeats) {
        h = hg_op_gather(b->g, "differing", h, s->repeats->rows, 1);
        shape = heads_shape(s, b, h);
    }
    hg_value *rows = hg_op_rows(b->g, "rows", h);
    hg_attention a = {.heads = s->heads, .scale = s->scale, .mask = s->mask, .q = q};
    a.k = made_inside(s, b, n->k, rows, shape, k, k_bias, n->key_bias);
    a.v = made_inside(s, b, n->v, rows, shape, v, v_bias, n->bias);
    b->module = NULL;
    hg_graph_branch_output(b->g, hg_op_attention(b->g, "attention", &a));
    hg_graph_branch_output(b->g, a.k);
    hg_graph_branch_output(b->g, a.v);
    hg_graph_branch_end(b->g);
    return branch;
}

/* Attention to h. */
hg_value *hg_seq2seq_cross(const hg_seq2seq *s, hg_build *b, const hg_attention_names *n, hg_value *rows,
                           hg_seq2seq_cache *cache)
{
    hg_graph_enter(b->g, "%s", n->scope);
    hg_value *q = project(s, b, n->q, rows, n->bias);
    hg_branch *cached = cached_branch(s, b, q, cache);
    hg_branch *first = first_branch(s, b, n, q);
    const hg_shape kept =
        HG_SHAPE(HG_SYM("batch_size"), head_count(s), HG_SYM("encoder_kept_length"), HG_DIM(s->head_dim));
    const hg_shape shapes[] = {q->shape, kept, kept};
    hg_value *out[3];
    hg_op_if(b->g, "attend", s->use_cache, cached, first, shapes, 3, out);
    cache->made_k = out[1];
    cache->made_v = out[2];
    hg_value *y = project_back(s, b, n, out[0]);
    hg_graph_leave(b->g);
    return y;
}

/* ---- layers ---- */

static hg_value *feed_forward(const hg_seq2seq *s, hg_build *b, const hg_seq2seq_stack *t, hg_value *x)
{
    hg_value *y = hg_block_linear(b, "fc1", x, s->width, t->inner, true);
    return hg_block_linear(b, "fc2", hg_op_act(b->g, "act", y, t->act), t->inner, s->width, true);
}

/* What stands before a part of a layer: its norm, or nothing. */
static hg_value *before(const hg_seq2seq *s, hg_build *b, const hg_seq2seq_stack *t, const char *norm,
                        hg_stream *x)
{
    return t->pre_norm ? hg_block_stream_norm(b, norm, x, s->width, t->eps, false) : x->x;
}

/* What stands behind it. */
static void after(const hg_seq2seq *s, hg_build *b, const hg_seq2seq_stack *t, const char *norm, hg_stream *x,
                  hg_value *y)
{
    x->y = y;
    if (t->pre_norm) return;
    x->x = hg_block_add_norm(b, norm, y, x->x, s->width, t->eps, NULL);
    x->y = NULL;
}

static void layer(const hg_seq2seq *s, hg_build *b, const hg_seq2seq_stack *t, hg_stream *x,
                  hg_seq2seq_cache *cache)
{
    const hg_attention_names own = {"self_attn", "q_proj", "k_proj", "v_proj", "out_proj", true, t->key_bias};
    hg_attention_names cross = own;
    cross.scope = "encoder_attn";
    hg_value *n = before(s, b, t, "self_attn_layer_norm", x);
    after(s, b, t, "self_attn_layer_norm", x, hg_seq2seq_self(s, b, &own, n, NULL, cache));
    if (cache) {
        n = before(s, b, t, "encoder_attn_layer_norm", x);
        after(s, b, t, "encoder_attn_layer_norm", x, hg_seq2seq_cross(s, b, &cross, n, cache));
    }
    n = before(s, b, t, "final_layer_norm", x);
    after(s, b, t, "final_layer_norm", x, feed_forward(s, b, t, n));
}

/* All layers. */
hg_stream hg_seq2seq_layers(const hg_seq2seq *s, hg_build *b, const hg_seq2seq_stack *t, hg_value *rows)
{
    hg_stream x = {.x = rows};
    for (uint32_t i = 0; i < hg_build_layers(b, t->layers); i++) {
        hg_graph_enter(b->g, "layers.%u", i);
        layer(s, b, t, &x, s->caches ? &s->caches[i] : NULL);
        hg_graph_leave(b->g);
    }
    return x;
}

/* ---- the ends ---- */

/* Files that were written without repeating a weight name it in one of several ways. */
const char *hg_seq2seq_table(hg_build *b, const char *side)
{
    bool encoder = strcmp(side, "encoder") == 0;
    const char *const names[] = {"shared", encoder ? "encoder.embed_tokens" : "decoder.embed_tokens",
                                 encoder ? "decoder.embed_tokens" : "encoder.embed_tokens"};
    char leaf[64];
    for (size_t i = 0; i < HG_LEN(names); i++) {
        snprintf(leaf, sizeof leaf, "%s.weight", names[i]);
        if (hg_block_has(b, leaf)) return names[i];
    }
    if (!hg_checkpoint_get(b->ck, "lm_head.weight", NULL)) return names[0];
    b->prefix = "";
    return "lm_head";
}

/* A node that looks up in the table of lm_head is not called lm_head, for the last Linear is. */
hg_value *hg_seq2seq_tokens(const hg_seq2seq *s, hg_build *b, const char *side, uint64_t vocab,
                            const char *prefix)
{
    b->prefix = prefix;
    const char *table = hg_seq2seq_table(b, side);
    bool of_head = strcmp(table, "lm_head") == 0;
    if (of_head) hg_graph_enter(b->g, "embed_tokens");
    b->module = "";
    hg_value *x = hg_block_embed(b, table, s->ids, vocab, s->width);
    b->module = NULL;
    if (of_head) hg_graph_leave(b->g);
    b->prefix = prefix;
    return x;
}
