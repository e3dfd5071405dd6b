/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What models of an encoder and a decoder share: the graphs' inputs and outputs, attention within a stack, and attention of the decoder to
 * what the encoder gave.
 *
 * The decoder is one graph for the prompt and for every step. Its own keys and values are always joined to past_key_values.N.decoder.*, which
 * may be empty. Keys and values of the encoder's h are made once: each layer's cross attention is an If on use_cache_branch, whose one side
 * makes them and whose other side takes them from past_key_values.N.encoder.*. The attention itself stands inside both sides, for an If
 * that only passes the past through would copy it at each step.
 */
#ifndef HG_CONVERT_ARCH_SEQ2SEQ_H
#define HG_CONVERT_ARCH_SEQ2SEQ_H

#include "convert/arch/blocks.h"

/* How an attention's parts are called: Linears q, k, v, out below `scope`, itself below the layer. */
typedef struct hg_attention_names {
    const char *scope, *q, *k, *v, *out;
    bool bias, key_bias; /* q, v and out have one; k has one */
} hg_attention_names;

/* The past of one layer and what becomes of it. */
typedef struct hg_seq2seq_cache {
    hg_value *past_k, *past_v;       /* past_key_values.N.decoder.* */
    hg_value *cross_k, *cross_v;     /* past_key_values.N.encoder.* */
    hg_value *present_k, *present_v; /* present.N.decoder.* */
    hg_value *made_k, *made_v;       /* present.N.encoder.* */
} hg_seq2seq_cache;

/* The stack at work. */
typedef struct hg_seq2seq {
    /* what the architecture says */
    uint32_t width;           /* of the residual stream, and of the encoder's h */
    uint32_t heads, head_dim; /* their product may be another number than width */
    double scale;             /* of the scores; 0 = 1 / sqrt(head_dim) */
    /* of the graph at work */
    hg_value *ids;  /* [B, S] */
    hg_value *mask; /* int32 [B, T]: 0 where a token of the encoder is padding; NULL = there is no padding */
    hg_value *batch_shape; /* [B, S, heads x head_dim] */
    hg_value *begin, *end; /* the places of the tokens: lists of one number */
    uint32_t layers;       /* of the decoder, as many as are built */
    hg_seq2seq_cache *caches;
    hg_value *hidden;      /* h: [B, T, width] */
    hg_value *heads_shape; /* [B, T, heads, head_dim] */
    hg_value *use_cache;
    /* of sound whose silence is sampled (silence.h); NULL = it is not */
    const struct hg_silence *silence; /* of an encoder: its positions are the kept ones */
    const struct hg_repeats *repeats; /* of a decoder: the rows of h that have to be looked at */
} hg_seq2seq;

/* Begins a text encoder: inputs input_ids and attention_mask. */
hangar_code hg_seq2seq_encoder(hg_seq2seq *s, hg_build *b, const char *name, hangar_err *err);
/* Begins decoder_model_merged: input_ids, encoder_attention_mask (if masked), encoder_hidden_states, past_key_values.*, use_cache_branch.
 * `layers` as config.json has them. */
hangar_code hg_seq2seq_decoder(hg_seq2seq *s, hg_build *b, uint32_t layers, bool masked, hangar_err *err);
/* present.*, in the order of the layers. */
void hg_seq2seq_presents(const hg_seq2seq *s, hg_build *b);
void hg_seq2seq_deinit(hg_seq2seq *s);

/* Attention of rows to themselves, with its last Linear: rows. `bias` is added to the scores (NULL = none). In an encoder `cache` is
 * NULL and padding is not seen; in a decoder no later token is. */
hg_value *hg_seq2seq_self(const hg_seq2seq *s, hg_build *b, const hg_attention_names *n, hg_value *rows,
                          hg_value *bias, hg_seq2seq_cache *cache);
/* Attention of rows to h. */
hg_value *hg_seq2seq_cross(const hg_seq2seq *s, hg_build *b, const hg_attention_names *n, hg_value *rows,
                           hg_seq2seq_cache *cache);

/* ---- layers with biases and LayerNorm: BART's, and Whisper's ---- */

/* pre-norm:   x += attention(norm(x));  [decoder: x += attention(norm(x), h)];  x += fc2 act(fc1 norm(x))
 * post-norm:  x = norm(x + attention(x)), and so on. */
typedef struct hg_seq2seq_stack {
    uint32_t layers, inner;
    double eps;
    hg_act act;
    bool pre_norm, key_bias;
} hg_seq2seq_stack;
/* All layers (as many as are built) over rows; in the decoder of `s`, if a decoder is at work. The stream before a last norm. */
hg_stream hg_seq2seq_layers(const hg_seq2seq *s, hg_build *b, const hg_seq2seq_stack *t, hg_value *rows);

/* ---- the ends ---- */

/* The token table of `side` ("encoder", "decoder") as it is called behind the prefix: "shared", the side's embed_tokens, the other one's. The
 * table of lm_head is not behind a prefix, so that looking there may set b->prefix to "". */
const char *hg_seq2seq_table(hg_build *b, const char *side);
/* Rows of that table [B, S, width] for the tokens. The prefix is `prefix` afterwards. */
hg_value *hg_seq2seq_tokens(const hg_seq2seq *s, hg_build *b, const char *side, uint64_t vocab,
                            const char *prefix);
/* Rows [B S, size] of the stack as the output `name` [B, S, size]. */
void hg_seq2seq_output(const hg_seq2seq *s, hg_build *b, const char *name, hg_value *rows, uint64_t size);

#endif
