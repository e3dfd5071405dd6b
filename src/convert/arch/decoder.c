/* SPDX-License-Identifier: Apache-2.0 */
#include "convert/arch/decoder.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- config.json ---- */

/* auto_map names the code that is known under this name. */
static bool is_known_code(const hg_hfconfig *c, const char *own_code)
{
    const char *name = hg_json_text(hg_json_path(c->root, "auto_map", "AutoModelForCausalLM", NULL));
    return own_code && name && strcmp(name, own_code) == 0;
}

/* Reads the class. */
void hg_decoder_read_class(hg_decoder *d, hg_build *b, const char *cls, const char *own_code)
{
    static const char *const auto_map[] = {"auto_map", NULL};
    const char *name = hg_hfconfig_class(b->config);
    if (name && strcmp(name, cls) != 0)
        hg_hfconfig_wrong(b->config, HANGAR_E_UNSUPPORTED, "architectures: %s", name);
    hg_hfconfig_only_bool(b->config, "is_causal",
                          true); /* false: all tokens see all, as some embedders have it */
    b->task = "text-generation";
    d->names = (hg_decoder_names){"model", "embed_tokens", "layers", "norm", "lm_head"};
    if (is_known_code(b->config, own_code)) {
        hg_hfconfig_ignore(b->config, auto_map);
        hg_hfconfig_refuse(b->config, "quantization_config");
    } else {
        hg_block_refuse_common(b->config);
    }
}

/* Holds the sizes to each other. */
void hg_decoder_check(hg_decoder *d, hg_hfconfig *c)
{
    if (d->heads % d->kv_heads != 0)
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "%u heads do not divide among %u key heads", d->heads,
                          d->kv_heads);
    if (d->head_dim == 0)
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "%u columns do not divide among %u heads", d->width, d->heads);
}

/* Reads what most families share. */
void hg_decoder_read(hg_decoder *d, hg_build *b, const hg_decoder_defaults *def)
{
    hg_hfconfig *c = b->config;
    hg_decoder_read_class(d, b, def->cls, def->own_code);
    d->vocab = hg_hfconfig_u32(c, "vocab_size", 0, 1, 4u << 20);
    d->width = hg_hfconfig_u32(c, "hidden_size", 0, 1, 65536);
    d->layers = hg_hfconfig_u32(c, "num_hidden_layers", 0, 1, HG_DECODER_LAYERS_MAX);
    d->heads = hg_hfconfig_u32(c, "num_attention_heads", 0, 1, 1024);
    d->kv_heads =
        hg_hfconfig_u32(c, "num_key_value_heads", def->kv_heads ? def->kv_heads : d->heads, 1, 1024);
    uint32_t each = d->width % d->heads == 0 ? d->width / d->heads : 0;
    d->head_dim = hg_hfconfig_u32(c, "head_dim", def->head_dim ? def->head_dim : each, 0, 4096);
    d->inner = hg_hfconfig_u32(c, "intermediate_size", 0, 1, 1u << 20);
    d->positions = hg_hfconfig_u32(c, "max_position_embeddings", 2048, 1, 1u << 30);
    d->eps = hg_hfconfig_f64(c, def->eps_key ? def->eps_key : "rms_norm_eps", def->eps, 0, 1);
    d->tied = hg_hfconfig_bool(c, "tie_word_embeddings", def->tied);
    d->act = hg_block_act(c, def->act ? def->act : "hidden_act", def->act_name ? def->act_name : "silu");
    hg_decoder_check(d, c);
    d->turns = true;
    if (c->wrong.code == HANGAR_OK && def->theta > 0)
        hg_rope_read(&d->rope, c, &(hg_rope_defaults){def->theta, def->partial, d->head_dim, d->positions});
}

/* Reads a window. */
uint32_t hg_decoder_window(hg_hfconfig *c, uint32_t def)
{
    bool missing = !hg_json_get(c->root, "sliding_window");
    return hg_hfconfig_u32(c, "sliding_window", missing ? def : 0, 0, 1u << 30);
}

/* Reads the types of layers. */
bool hg_decoder_layer_types(hg_decoder *d, hg_hfconfig *c)
{
    const hg_jval *list = hg_hfconfig_value(c, "layer_types");
    if (!list) return false;
    if (!hg_json_is_array(list) || hg_json_len(list) != d->layers)
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "layer_types has not %u entries", d->layers);
    for (hg_json_iter it = hg_json_iter_of(list); hg_json_next(&it) && it.index < d->layers;) {
        const char *type = hg_json_text_or(it.val, "?");
        d->sliding[it.index] = strcmp(type, "sliding_attention") == 0;
        if (!d->sliding[it.index] && strcmp(type, "full_attention") != 0)
            hg_hfconfig_wrong(c, HANGAR_E_UNSUPPORTED, "layer_types has %s", type);
    }
    return true;
}

/* All layers slide. */
void hg_decoder_slide_all(hg_decoder *d, hg_hfconfig *c, uint32_t def)
{
    d->window = hg_decoder_window(c, def);
    if (hg_decoder_layer_types(d, c)) return;
    for (uint32_t i = 0; i < d->layers; i++) d->sliding[i] = true;
}

/* The layers from max_window_layers on slide, if any do. */
void hg_decoder_slide_late(hg_decoder *d, hg_hfconfig *c)
{
    bool use = hg_hfconfig_bool(c, "use_sliding_window", false);
    uint32_t first = hg_hfconfig_u32(c, "max_window_layers", 28, 0, 1u << 20),
             window = hg_decoder_window(c, 4096);
    d->window = use ? window : 0;
    if (hg_decoder_layer_types(d, c)) return;
    for (uint32_t i = 0; i < d->layers; i++) d->sliding[i] = i >= first;
}

/* Reads a soft cap. */
double hg_decoder_cap(hg_hfconfig *c, const char *key, double def)
{
    bool missing = !hg_json_get(c->root, key);
    return hg_hfconfig_f64(c, key, missing ? def : 0, 0, 1e6);
}

/* Reads what Gemma 2 and 3 share. */
void hg_decoder_read_gemma(hg_decoder *d, hg_hfconfig *c)
{
    static const char *const others[] = {"cache_implementation", "hidden_act",
                                         NULL}; /* hidden_activation holds */
    d->embed_scale = sqrt(d->width);
    d->scale = 1 / sqrt(hg_hfconfig_f64(c, "query_pre_attn_scalar", 256, 1e-6, 1e6));
    d->qkv_bias = d->out_bias = hg_hfconfig_bool(c, "attention_bias", false);
    hg_hfconfig_only_bool(c, "use_bidirectional_attention", false);
    hg_hfconfig_ignore(c, others);
}

/* ---- inputs ---- */

/* cumsum(mask) - 1, at least 0, of the last S columns. */
static hg_value *counted_positions(hg_decoder *d, hg_build *b)
{
    static const int64_t list[] = {1};
    hg_graph_enter(b->g, "positions");
    hg_value *p = hg_op_cumsum(b->g, "count", d->mask, 1);
    p = hg_op_sub(b->g, "from_zero", p, hg_graph_int(b->g, 1));
    p = hg_op_binary(b->g, "Max", "not_negative", p, hg_graph_int(b->g, 0));
    hg_value *ones = hg_graph_ints(b->g, list, 1);
    hg_value *start = hg_op_reshape(b->g, "start", d->causal.past, ones, HG_SHAPE(HG_DIM(1)));
    hg_value *end = hg_op_shape(b->g, "end", d->mask, 1, 2);
    p = hg_op_slice_axis(b->g, "last", p, 1, start, end, HG_SYM("sequence_length"));
    hg_graph_leave(b->g);
    return p;
}

static hg_value *past_input(const hg_decoder *d, hg_build *b, uint32_t i, const char *what)
{
    char name[64];
    snprintf(name, sizeof name, "past_key_values.%u.%s", i, what);
    return hg_graph_input(b->g, name, hg_graph_real(b->g),
                          HG_SHAPE(HG_SYM("batch_size"), HG_DIM(d->kv_heads), HG_SYM("past_sequence_length"),
                                   HG_DIM(d->head_dim)));
}

/* The list [B, S, width]. */
static hg_value *shape_of(hg_build *b, const char *name, hg_value *sizes, uint64_t width)
{
    const int64_t last = (int64_t)width;
    hg_value *parts[] = {sizes, hg_graph_ints(b->g, &last, 1)};
    return hg_op_concat_ints(b->g, name, parts, 2);
}

static void shared(hg_decoder *d, hg_build *b)
{
    hg_value *sizes = hg_op_shape(b->g, "sizes", d->ids, 0, 2);
    d->q_shape = shape_of(b, "query_shape", sizes, (uint64_t)d->heads * d->head_dim);
    d->kv_shape = d->kv_heads == d->heads
                      ? d->q_shape
                      : shape_of(b, "key_shape", sizes, (uint64_t)d->kv_heads * d->head_dim);
    d->causal = hg_op_causal(b->g, "causal", d->ids, d->mask);
    if (d->counted) d->place = counted_positions(d, b);
    if (d->turns) d->rotary = hg_rope_make(b, "rotary", &d->rope, d->place);
    if (d->turns_local) d->rotary_local = hg_rope_make(b, "rotary_local", &d->rope_local, d->place);
}

/* Begins the graph. */
hangar_code hg_decoder_begin(hg_decoder *d, hg_build *b, hangar_err *err)
{
    char name[128];
    hangar_code code = hg_hfconfig_check(b->config, err);
    if (code == HANGAR_OK) code = hg_build_begin(b, "model", err);
    if (code != HANGAR_OK) return code;
    const hg_shape tokens = HG_SHAPE(HG_SYM("batch_size"), HG_SYM("sequence_length"));
    d->ids = hg_graph_input(b->g, "input_ids", HG_ONNX_INT64, tokens);
    d->mask = hg_graph_input(b->g, "attention_mask", HG_ONNX_INT64,
                             HG_SHAPE(HG_SYM("batch_size"), HG_SYM("total_sequence_length")));
    if (!d->counted) d->place = hg_graph_input(b->g, "position_ids", HG_ONNX_INT64, tokens);
    for (uint32_t i = 0; i < hg_build_layers(b, d->layers); i++) {
        d->past_k[i] = past_input(d, b, i, "key");
        d->past_v[i] = past_input(d, b, i, "value");
    }
    d->body = d->names.body; /* a checkpoint of the bare model leaves out the outermost name */
    snprintf(name, sizeof name, "%s.%s.weight", d->body, d->names.embed);
    if (!hg_block_has(b, name)) {
        const char *dot = strchr(d->body, '.');
        d->body = dot ? dot + 1 : "";
    }
    shared(d, b);
    return HANGAR_OK;
}

/* ---- from ids to logits ---- */

/* "model.norm", or "norm". */
const char *hg_decoder_in_body(const hg_decoder *d, const char *name, char out[160])
{
    snprintf(out, 128, "%s%s%s", d->body, d->body[0] ? "." : "", name);
    return out;
}

/* Looks the tokens up. */
hg_value *hg_decoder_embed(hg_decoder *d, hg_build *b)
{
    char name[160];
    hg_value *x = hg_block_embed(b, hg_decoder_in_body(d, d->names.embed, name), d->ids, d->vocab, d->width);
    if (d->embed_scale != 0) x = hg_op_scale(b->g, "embed_scaled", x, d->embed_scale);
    return hg_op_rows(b->g, "rows", x);
}

/* Learned positions. */
hg_value *hg_decoder_places(hg_decoder *d, hg_build *b, const char *name, hg_value *place, uint32_t rows)
{
    char full[160], part[192];
    hg_value *x = hg_block_embed(b, hg_decoder_in_body(d, name, full), place, rows, d->width);
    snprintf(part, sizeof part, "%s.rows", full);
    return hg_op_rows(b->g, part, x);
}

/* All layers. */
void hg_decoder_layers(hg_decoder *d, hg_build *b, hg_decoder_layer *layer, hg_stream *s)
{
    char name[160];
    for (uint32_t i = 0; i < hg_build_layers(b, d->layers); i++) {
        hg_graph_enter(b->g, "%s.%u", hg_decoder_in_body(d, d->names.stack, name), i);
        layer(d, b, i, s);
        hg_graph_leave(b->g);
    }
}

/* The last norm. */
hg_value *hg_decoder_last_norm(hg_decoder *d, hg_build *b, hg_stream *s)
{
    char name[160];
    if (!d->names.norm) return s->y ? hg_op_add(b->g, "sum", s->x, s->y) : s->x;
    hg_decoder_in_body(d, d->names.norm, name);
    if (d->layer_norm) return hg_block_stream_norm(b, name, s, d->width, d->eps, true);
    return hg_block_stream_rms_norm(b, name, s, d->width, d->eps, d->norm_plus, true);
}

static void present_output(hg_build *b, uint32_t i, const char *what, hg_value *value)
{
    char name[64];
    snprintf(name, sizeof name, "present.%u.%s", i, what);
    hg_graph_output(b->g, name, value);
}

/* Scores for all words, always as FLOAT, and after them the cache. */
void hg_decoder_head(hg_decoder *d, hg_build *b, hg_value *x)
{
    char own[128], table[192], body[160], bias[128];
    snprintf(own, sizeof own, "%s.weight", d->names.head);
    snprintf(bias, sizeof bias, "%s.bias", d->names.head);
    snprintf(table, sizeof table, "%s.weight", hg_decoder_in_body(d, d->names.embed, body));
    bool tied = d->tied || !hg_block_has(b, own);
    hg_linear how = {.in = (uint64_t)hg_block_size(b, table, 1),
                     .out = d->vocab,
                     .weight = tied ? table : own,
                     .bias = d->head_bias ? bias : NULL};
    hg_value *y = hg_block_linear_of(b, d->names.head, x, &how);
    if (d->logit_scale != 0) y = hg_op_scale(b->g, "logits_scaled", y, d->logit_scale);
    if (d->logit_cap > 0) y = hg_op_soft_cap(b->g, "logits_capped", y, d->logit_cap);
    y = hg_block_batch(b, "logits_batch", y,
                       shape_of(b, "logits_shape", hg_op_shape(b->g, "logits_sizes", d->ids, 0, 2), d->vocab),
                       d->vocab);
    hg_graph_output(b->g, "logits", hg_op_cast(b->g, "logits_float", y, HG_ONNX_FLOAT));
    for (uint32_t i = 0; i < hg_build_layers(b, d->layers); i++) {
        if (d->present_k[i]) present_output(b, i, "key", d->present_k[i]);
        if (d->present_v[i]) present_output(b, i, "value", d->present_v[i]);
    }
}

/* The whole graph. */
hangar_code hg_decoder_build(hg_decoder *d, hg_build *b, hg_decoder_layer *layer, hangar_err *err)
{
    hangar_code code = hg_decoder_begin(d, b, err);
    if (code != HANGAR_OK) return code;
    hg_stream s = {hg_decoder_embed(d, b), NULL};
    hg_decoder_layers(d, b, layer, &s);
    hg_decoder_head(d, b, hg_decoder_last_norm(d, b, &s));
    return HANGAR_OK;
}

/* ---- attention ---- */

/* Attention with positions and cache. */
hg_value *hg_decoder_attend(hg_decoder *d, hg_build *b, uint32_t i, hg_value *q, hg_value *k, hg_value *v)
{
    const uint64_t q_width = (uint64_t)d->heads * d->head_dim, kv_width = (uint64_t)d->kv_heads * d->head_dim;
    hg_gqa a = {.causal = &d->causal,
                .heads = d->heads,
                .kv_heads = d->kv_heads,
                .head_dim = d->head_dim,
                .scale = d->scale,
                .soft_cap = d->soft_cap,
                .window = d->sliding[i] ? d->window : 0,
                .past_k = d->past_k[i],
                .past_v = d->past_v[i],
                .present_k = &d->present_k[i],
                .present_v = &d->present_v[i]};
    a.q = hg_block_batch(b, "query", q, d->q_shape, q_width);
    a.k = hg_block_batch(b, "key", k, d->kv_shape, kv_width);
    a.v = hg_block_batch(b, "value", v, d->kv_shape, kv_width);
    if (d->turns && !d->still[i]) {
        const hg_rotary *r = d->turns_local && d->sliding[i] ? &d->rotary_local : &d->rotary;
        a.q = hg_op_rotate(b->g, "query_turned", a.q, r, d->heads, d->head_dim);
        a.k = hg_op_rotate(b->g, "key_turned", a.k, r, d->kv_heads, d->head_dim);
    }
    hg_value *y = hg_op_gqa(b->g, "attention", &a);
    return hg_op_rows(b->g, "rows", y);
}

/* Takes packed rows apart. */
void hg_decoder_unpack(hg_decoder *d, hg_build *b, const char *name, hg_value *x, uint32_t groups,
                       uint32_t each, hg_value *out[3])
{
    char part[160];
    const int64_t one = d->head_dim, queries = one * each, sizes[] = {queries, one, one};
    const int64_t shape[] = {-1, groups, queries + 2 * one};
    snprintf(part, sizeof part, "%s.groups", name);
    x = hg_op_view(b->g, part, x, shape, 3);
    snprintf(part, sizeof part, "%s.split", name);
    hg_op_split(b->g, part, x, 2, sizes, 3, out);
}

/* q or k, normalized. */
hg_value *hg_decoder_qk_norm(hg_decoder *d, hg_build *b, const char *name, hg_value *x, uint32_t heads)
{
    char split[64], flat[64];
    const int64_t by_head[] = {-1, heads, d->head_dim}, rows[] = {-1, (int64_t)heads * d->head_dim};
    if (d->qk_norm == HG_QK_PLAIN) return x;
    if (d->qk_norm == HG_QK_RMS_ROW)
        return hg_block_rms_norm(b, name, x, (uint64_t)heads * d->head_dim, d->eps, d->norm_plus);
    snprintf(split, sizeof split, "%s.heads", name);
    snprintf(flat, sizeof flat, "%s.rows", name);
    x = hg_op_view(b->g, split, x, by_head, 3);
    x = d->qk_norm == HG_QK_LAYER ? hg_block_norm(b, name, x, d->head_dim, d->eps)
                                  : hg_block_rms_norm(b, name, x, d->head_dim, d->eps, d->norm_plus);
    return hg_op_view(b->g, flat, x, rows, 2);
}

/* Llama's module of attention. */
hg_value *hg_decoder_self_attn(hg_decoder *d, hg_build *b, uint32_t i, hg_value *x)
{
    const uint64_t q_width = (uint64_t)d->heads * d->head_dim, kv_width = (uint64_t)d->kv_heads * d->head_dim;
    hg_graph_enter(b->g, "self_attn");
    hg_value *q = hg_block_linear(b, "q_proj", x, d->width, q_width, d->qkv_bias);
    hg_value *k = hg_block_linear(b, "k_proj", x, d->width, kv_width, d->qkv_bias);
    hg_value *v = hg_block_linear(b, "v_proj", x, d->width, kv_width, d->qkv_bias);
    q = hg_decoder_qk_norm(d, b, "q_norm", q, d->heads);
    k = hg_decoder_qk_norm(d, b, "k_norm", k, d->kv_heads);
    x = hg_decoder_attend(d, b, i, q, k, v);
    x = hg_block_linear(b, "o_proj", x, q_width, d->width, d->out_bias);
    hg_graph_leave(b->g);
    return x;
}

/* ---- the rest of a layer ---- */

/* A norm of the stream. */
hg_value *hg_decoder_norm(hg_decoder *d, hg_build *b, const char *name, hg_stream *s)
{
    return hg_block_stream_rms_norm(b, name, s, d->width, d->eps, d->norm_plus, false);
}

/* A gated MLP. */
hg_value *hg_decoder_gated_mlp(hg_decoder *d, hg_build *b, const char *name, hg_value *x, uint32_t inner)
{
    hg_graph_enter(b->g, "%s", name);
    hg_value *gate = hg_block_linear(b, "gate_proj", x, d->width, inner, d->mlp_bias);
    hg_value *up = hg_block_linear(b, "up_proj", x, d->width, inner, d->mlp_bias);
    x = hg_op_mul(b->g, "gated", hg_op_act(b->g, "act", gate, d->act), up);
    x = hg_block_linear(b, "down_proj", x, inner, d->width, d->mlp_bias);
    hg_graph_leave(b->g);
    return x;
}

/* A plain MLP. */
hg_value *hg_decoder_plain_mlp(hg_decoder *d, hg_build *b, const char *first, const char *second, hg_value *x)
{
    x = hg_block_linear(b, first, x, d->width, d->inner, d->mlp_bias);
    return hg_block_linear(b, second, hg_op_act(b->g, "act", x, d->act), d->inner, d->width, d->mlp_bias);
}

/* Llama's layer. */
void hg_decoder_llama_layer(hg_decoder *d, hg_build *b, uint32_t i, hg_stream *s)
{
    s->y = hg_decoder_self_attn(d, b, i, hg_decoder_norm(d, b, "input_layernorm", s));
    s->y = hg_decoder_gated_mlp(d, b, "mlp", hg_decoder_norm(d, b, "post_attention_layernorm", s), d->inner);
}

/* Gemma's layer. */
void hg_decoder_sandwich_layer(hg_decoder *d, hg_build *b, uint32_t i, hg_stream *s)
{
    hg_value *y = hg_decoder_self_attn(d, b, i, hg_decoder_norm(d, b, "input_layernorm", s));
    s->y = hg_block_rms_norm(b, "post_attention_layernorm", y, d->width, d->eps, d->norm_plus);
    y = hg_decoder_gated_mlp(d, b, "mlp", hg_decoder_norm(d, b, "pre_feedforward_layernorm", s), d->inner);
    s->y = hg_block_rms_norm(b, "post_feedforward_layernorm", y, d->width, d->eps, d->norm_plus);
}
