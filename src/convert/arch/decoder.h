/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What decoders of text share: one graph "model" that goes on where it was left.
 *
 *   input_ids [B, S], attention_mask [B, P + S], position_ids [B, S] (unless counted from the mask), past_key_values.N.key, .value
 *   [B, kv_heads, P, head_dim]  ->  logits [B, S, vocab], present.N.key, .value [B, kv_heads, P + S, head_dim]
 *
 *   x = embed(ids);  x = layer_n(x) for every n;  logits = head(norm(x))
 *
 * An architecture reads its configuration into hg_decoder, sets its switches, and gives hg_decoder_build the function of one layer, which
 * takes the residual stream and leaves what is to be added to it. Between the blocks there are rows [B S, width].
 */
#ifndef HG_CONVERT_ARCH_DECODER_H
#define HG_CONVERT_ARCH_DECODER_H

#include "convert/arch/blocks.h"
#include "convert/arch/rope.h"

#define HG_DECODER_LAYERS_MAX 512

/* What normalizes queries and keys before they turn. */
typedef enum hg_qk_norm {
    HG_QK_PLAIN,
    HG_QK_RMS_HEAD, /* q_norm, k_norm [head_dim]: each head by itself */
    HG_QK_RMS_ROW, /* q_norm [heads x head_dim], k_norm [kv_heads x head_dim]: all heads of a token together */
    HG_QK_LAYER    /* q_layernorm, k_layernorm [head_dim], with bias: each head by itself */
} hg_qk_norm;

/* Where modules are in the checkpoint. */
typedef struct hg_decoder_names {
    const char
        *body; /* "model", "model.decoder": without its first part where the checkpoint leaves that out */
    const char *embed; /* in the body: "embed_tokens" */
    const char *stack; /* in the body: "layers", followed by a number */
    const char *norm;  /* in the body: "norm"; NULL = there is none */
    const char *head;  /* outside: "lm_head" */
} hg_decoder_names;

typedef struct hg_decoder {
    /* sizes */
    uint32_t vocab, width, layers, heads, kv_heads, head_dim, inner, positions;
    double eps;
    hg_act act;
    bool tied;
    /* switches; 0 or false is the usual */
    bool qkv_bias, out_bias, mlp_bias, head_bias;
    bool layer_norm; /* the last norm is a LayerNorm */
    bool counted;    /* no input position_ids: positions are counted from the mask */
    hg_qk_norm qk_norm;
    double norm_plus;   /* added to the weight of RMS norms */
    double scale;       /* of the scores; 0 = 1 / sqrt(head_dim) */
    double soft_cap;    /* of the scores */
    double embed_scale; /* 0 = 1 */
    double logit_scale; /* 0 = 1 */
    double logit_cap;   /* 0 = none */
    uint32_t window;    /* of the layers that are `sliding`; a token sees itself and window - 1 before it */
    bool sliding[HG_DECODER_LAYERS_MAX];
    bool still[HG_DECODER_LAYERS_MAX]; /* layers without rotary positions */
    bool turns, turns_local;           /* there are rotary positions; sliding layers have their own */
    hg_rope rope, rope_local;
    hg_decoder_names names;
    /* the graph at work */
    const char *body;                           /* "model" or "" */
    hg_value *ids, *mask, *place;               /* place: int64 [B, S] */
    hg_value *q_shape, *kv_shape, *width_shape; /* lists [B, S, ...] */
    hg_causal causal;
    hg_rotary rotary, rotary_local;
    hg_value *past_k[HG_DECODER_LAYERS_MAX], *past_v[HG_DECODER_LAYERS_MAX];
    hg_value *present_k[HG_DECODER_LAYERS_MAX], *present_v[HG_DECODER_LAYERS_MAX];
} hg_decoder;

/* Layer i: s->x is the stream; what is to be added to it is left in s->y. */
typedef void hg_decoder_layer(hg_decoder *d, hg_build *b, uint32_t i, hg_stream *s);

/* What a family says where its config.json does not. */
typedef struct hg_decoder_defaults {
    const char *cls;      /* the class in `architectures`: "LlamaForCausalLM" */
    const char *act;      /* key of the activation; NULL = "hidden_act" */
    const char *act_name; /* NULL = "silu" */
    const char *eps_key;  /* NULL = "rms_norm_eps" */
    const char
        *own_code; /* what auto_map may name: the same code, from the time before it was in the library */
    double eps;
    double theta, partial;       /* theta 0: positions are read by the family itself */
    uint32_t kv_heads, head_dim; /* 0 = heads, width / heads */
    bool tied;
} hg_decoder_defaults;

/* ---- config.json ---- */

/* The class, the task, and what no architecture takes. own_code as in hg_decoder_defaults. */
void hg_decoder_read_class(hg_decoder *d, hg_build *b, const char *cls, const char *own_code);
/* The keys that most families share, with rotary positions in all layers, and the names of Llama's modules. */
void hg_decoder_read(hg_decoder *d, hg_build *b, const hg_decoder_defaults *def);
/* heads, kv_heads, head_dim and width fit each other; called by hg_decoder_read. */
void hg_decoder_check(hg_decoder *d, hg_hfconfig *c);
/* sliding_window: `def` when the key is missing, 0 when it is null. */
uint32_t hg_decoder_window(hg_hfconfig *c, uint32_t def);
/* layer_types into d->sliding; false when the key is missing. */
bool hg_decoder_layer_types(hg_decoder *d, hg_hfconfig *c);
/* sliding_window for all layers. */
void hg_decoder_slide_all(hg_decoder *d, hg_hfconfig *c, uint32_t def);
/* use_sliding_window with layer_types or max_window_layers, as Qwen has it. */
void hg_decoder_slide_late(hg_decoder *d, hg_hfconfig *c);
/* A soft cap: `def` when the key is missing, 0 when it is null. */
double hg_decoder_cap(hg_hfconfig *c, const char *key, double def);
/* What Gemma 2 and 3 share: the scale of embeddings and of scores, biases. */
void hg_decoder_read_gemma(hg_decoder *d, hg_hfconfig *c);

/* ---- the graph ---- */

/* The whole graph. */
hangar_code hg_decoder_build(hg_decoder *d, hg_build *b, hg_decoder_layer *layer, hangar_err *err);
/* The same in pieces: inputs and what all layers share; x = embed(ids) as rows; the layers; norm, head and outputs. */
hangar_code hg_decoder_begin(hg_decoder *d, hg_build *b, hangar_err *err);
hg_value *hg_decoder_embed(hg_decoder *d, hg_build *b);
/* Learned positions: the rows `place` (int64 [B, S]) of a table in the body, as rows. */
hg_value *hg_decoder_places(hg_decoder *d, hg_build *b, const char *name, hg_value *place, uint32_t rows);
/* "model.norm" of "norm", or "norm" where the checkpoint leaves the body out; at most 127 characters. */
const char *hg_decoder_in_body(const hg_decoder *d, const char *name, char out[160]);
void hg_decoder_layers(hg_decoder *d, hg_build *b, hg_decoder_layer *layer, hg_stream *s);
void hg_decoder_head(hg_decoder *d, hg_build *b, hg_value *x);
hg_value *hg_decoder_last_norm(hg_decoder *d, hg_build *b, hg_stream *s);

/* ---- what layers are made of ---- */

/* norm(stream), an RMSNorm with the family's eps and plus. */
hg_value *hg_decoder_norm(hg_decoder *d, hg_build *b, const char *name, hg_stream *s);
/* Attention of layer i over rows q [.., heads x head_dim], k, v [.., kv_heads x head_dim], turned by their positions, with its cache: rows. */
hg_value *hg_decoder_attend(hg_decoder *d, hg_build *b, uint32_t i, hg_value *q, hg_value *k, hg_value *v);
/* Rows in which q (`each` heads), k and v (one head) lie side by side for each of `groups` groups, taken apart. */
void hg_decoder_unpack(hg_decoder *d, hg_build *b, const char *name, hg_value *x, uint32_t groups,
                       uint32_t each, hg_value *out[3]);
/* Queries and keys normalized as d->qk_norm says, inside the scope of their module. */
hg_value *hg_decoder_qk_norm(hg_decoder *d, hg_build *b, const char *name, hg_value *x, uint32_t heads);
/* The module self_attn: o_proj(attend(q_proj x, k_proj x, v_proj x)). */
hg_value *hg_decoder_self_attn(hg_decoder *d, hg_build *b, uint32_t i, hg_value *x);
/* The module `name`: down_proj(act(gate_proj x) * up_proj x). */
hg_value *hg_decoder_gated_mlp(hg_decoder *d, hg_build *b, const char *name, hg_value *x, uint32_t inner);
/* second(act(first x)). */
hg_value *hg_decoder_plain_mlp(hg_decoder *d, hg_build *b, const char *first, const char *second,
                               hg_value *x);
/* Llama's layer: x = x + self_attn(input_layernorm x);  x = x + mlp(post_attention_layernorm x). */
hg_decoder_layer hg_decoder_llama_layer;
/* Gemma's from 2 on: x = x + post_attention_layernorm(self_attn(input_layernorm x));
 * x = x + post_feedforward_layernorm(mlp(pre_feedforward_layernorm x)). */
hg_decoder_layer hg_decoder_sandwich_layer;

#endif
