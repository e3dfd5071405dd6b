/* SPDX-License-Identifier: Apache-2.0 */
/* config.json of the decoders. One function per family says what it has beside the common part. */
#include "convert/check/decoder.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define LLAMA_NAMES                                                                                       \
    {                                                                                                     \
        .base = "model.", .embed = "model.embed_tokens", .layer = "model.layers.%zu.",                    \
        .final = "model.norm", .head = "lm_head", .q = "self_attn.q_proj", .k = "self_attn.k_proj",       \
        .v = "self_attn.v_proj", .o = "self_attn.o_proj", .gate = "mlp.gate_proj", .up = "mlp.up_proj",   \
        .down = "mlp.down_proj", .attention_in = "input_layernorm", .mlp_in = "post_attention_layernorm", \
    }

static const hg_plain_names llama_names = LLAMA_NAMES;

static const hg_plain_names gpt2_names = {
    .base = "transformer.",
    .embed = "transformer.wte",
    .layer = "transformer.h.%zu.",
    .final = "transformer.ln_f",
    .head = "lm_head",
    .qkv = "attn.c_attn",
    .o = "attn.c_proj",
    .up = "mlp.c_fc",
    .down = "mlp.c_proj",
    .attention_in = "ln_1",
    .mlp_in = "ln_2",
};

static const hg_plain_names neox_names = {
    .base = "gpt_neox.",
    .embed = "gpt_neox.embed_in",
    .layer = "gpt_neox.layers.%zu.",
    .final = "gpt_neox.final_layer_norm",
    .head = "embed_out",
    .qkv = "attention.query_key_value",
    .o = "attention.dense",
    .up = "mlp.dense_h_to_4h",
    .down = "mlp.dense_4h_to_h",
    .attention_in = "input_layernorm",
    .mlp_in = "post_attention_layernorm",
};

static const hg_plain_names opt_names = {
    .base = "model.",
    .embed = "model.decoder.embed_tokens",
    .layer = "model.decoder.layers.%zu.",
    .final = "model.decoder.final_layer_norm",
    .head = "lm_head",
    .q = "self_attn.q_proj",
    .k = "self_attn.k_proj",
    .v = "self_attn.v_proj",
    .o = "self_attn.out_proj",
    .up = "fc1",
    .down = "fc2",
    .attention_in = "self_attn_layer_norm",
    .mlp_in = "final_layer_norm",
};

static const hg_plain_names falcon_names = {
    .base = "transformer.",
    .embed = "transformer.word_embeddings",
    .layer = "transformer.h.%zu.",
    .final = "transformer.ln_f",
    .head = "lm_head",
    .qkv = "self_attention.query_key_value",
    .o = "self_attention.dense",
    .up = "mlp.dense_h_to_4h",
    .down = "mlp.dense_4h_to_h",
    .attention_in = "input_layernorm",
    .mlp_in = "post_attention_layernorm",
};

/* llama; the others that are like it say what they have beside. */
static void read_llama(hg_plain_state *r, hg_plain_decoder_config *c)
{
    c->qkv_bias = c->o_bias = hg_plain_flag(r, "attention_bias", false);
    c->mlp_bias = hg_plain_flag(r, "mlp_bias", false);
}

/* All layers look back `sliding_window` tokens; `def` when the file does not say, while an explicit null is no limit. */
static void read_window(hg_plain_state *r, hg_plain_decoder_config *c, int64_t def)
{
    const hg_jval *v = hg_json_get(r->config, "sliding_window");
    c->window = v && hg_json_is_null(v) ? 0 : hg_plain_int(r, "sliding_window", def, 1);
    for (size_t i = 0; i < c->layers; i++) c->layer[i].local = c->window > 0;
}

static void read_mistral(hg_plain_state *r, hg_plain_decoder_config *c)
{
    read_window(r, c, 4096);
}

static bool layer_local(hg_plain_state *r, const hg_jval *name)
{
    const char *text = hg_json_text_or(name, "");
    bool local = strcmp(text, "sliding_attention") == 0;
    if (!local && strcmp(text, "full_attention") != 0) {
        hg_plain_fail(r, HANGAR_E_UNSUPPORTED, "config.json: the reference does not know layer_types \"%s\"",
                      text);
    }
    return local;
}

/* layer_types where the file has it; true when it has. */
static bool read_layer_types(hg_plain_state *r, hg_plain_decoder_config *c)
{
    const hg_jval *list = hg_plain_key(r, "layer_types");
    if (!list) return false;
    if (!hg_json_is_array(list) || hg_json_len(list) < c->layers) {
        hg_plain_fail(r, HANGAR_E_INVALID, "config.json: layer_types is shorter than num_hidden_layers");
        return true;
    }
    for (hg_json_iter it = hg_json_iter_of(list); hg_json_next(&it) && it.index < c->layers;) {
        c->layer[it.index].local = layer_local(r, it.val);
    }
    return true;
}

/* Only with use_sliding_window, and then from layer max_window_layers on, or where layer_types says so. */
static void read_qwen_window(hg_plain_state *r, hg_plain_decoder_config *c)
{
    size_t from = hg_plain_int(r, "max_window_layers", 28, 0);
    bool use = hg_plain_flag(r, "use_sliding_window", false);
    if (use) c->window = hg_plain_int(r, "sliding_window", 4096, 1);
    if (!read_layer_types(r, c)) {
        for (size_t i = 0; i < c->layers; i++) c->layer[i].local = use && i >= from;
    }
    for (size_t i = 0; i < c->layers; i++) {
        if (c->layer[i].local && !use) {
            hg_plain_fail(r, HANGAR_E_UNSUPPORTED,
                          "config.json: layer_types slide, but use_sliding_window is false");
        }
    }
}

static void read_qwen2(hg_plain_state *r, hg_plain_decoder_config *c)
{
    c->qkv_bias = true;
    read_qwen_window(r, c);
}

static void qwen3_norms(hg_plain_state *r, hg_plain_decoder_config *c)
{
    c->qkv_bias = c->o_bias = hg_plain_flag(r, "attention_bias", false);
    c->names.q_norm = "self_attn.q_norm";
    c->names.k_norm = "self_attn.k_norm";
}

static void read_qwen3(hg_plain_state *r, hg_plain_decoder_config *c)
{
    qwen3_norms(r, c);
    read_qwen_window(r, c);
}

static void read_experts(hg_plain_state *r, hg_plain_decoder_config *c, const char *key)
{
    c->moe.experts = hg_plain_int(r, key, hg_plain_key(r, "num_local_experts") ? 8 : HG_REF_NEEDED, 1);
    if (hg_plain_key(r, "num_local_experts")) c->moe.experts = hg_plain_int(r, "num_local_experts", 8, 1);
    c->moe.chosen = hg_plain_int(r, "num_experts_per_tok", HG_REF_NEEDED, 1);
    c->moe.act = c->act;
    if (c->moe.chosen > c->moe.experts || c->moe.experts > 4096) {
        hg_plain_fail(r, HANGAR_E_INVALID, "config.json: num_experts_per_tok is over the number of experts");
    }
    for (size_t i = 0; i < c->layers; i++) c->layer[i].experts = true;
}

static void read_qwen3_moe(hg_plain_state *r, hg_plain_decoder_config *c)
{
    qwen3_norms(r, c);
    size_t step = hg_plain_int(r, "decoder_sparse_step", 1, 1);
    hg_plain_refuse(r, "use_sliding_window");
    read_experts(r, c, "num_experts");
    c->moe.inner = hg_plain_int(r, "moe_intermediate_size", HG_REF_NEEDED, 1);
    c->moe.renormalize = hg_plain_flag(r, "norm_topk_prob", false);
    c->moe.router = "mlp.gate";
    c->moe.expert = "mlp.experts.%zu.";
    c->moe.gate = "gate_proj";
    c->moe.up = "up_proj";
    c->moe.down = "down_proj";
    for (size_t i = 0; i < c->layers; i++) c->layer[i].experts = (i + 1) % step == 0;
    for (hg_json_iter it = hg_json_iter_of(hg_plain_key(r, "mlp_only_layers")); hg_json_next(&it);) {
        uint64_t i = UINT64_MAX;
        if (hg_json_u64(it.val, &i) && i < c->layers) c->layer[i].experts = false;
    }
}

static void read_mixtral(hg_plain_state *r, hg_plain_decoder_config *c)
{
    read_window(r, c, 0);
    read_experts(r, c, "num_local_experts");
    c->moe.inner = c->inner;
    c->moe.renormalize = true;
    c->moe.router = "block_sparse_moe.gate";
    c->moe.expert = "block_sparse_moe.experts.%zu.";
    c->moe.gate = "w1";
    c->moe.up = "w3";
    c->moe.down = "w2";
}

static void read_phi(hg_plain_state *r, hg_plain_decoder_config *c)
{
    c->names.o = "self_attn.dense";
    c->names.gate = NULL;
    c->names.up = "mlp.fc1";
    c->names.down = "mlp.fc2";
    c->names.final = "model.final_layernorm";
    c->qkv_bias = c->o_bias = c->mlp_bias = c->head_bias = c->parallel = true;
    c->norm = (hg_plain_norm){.bias = true, .eps = hg_plain_real(r, "layer_norm_eps", 1e-5)};
    if (hg_plain_flag(r, "qk_layernorm", false)) {
        c->names.q_norm = "self_attn.q_layernorm";
        c->names.k_norm = "self_attn.k_layernorm";
    }
}

static void read_phi3(hg_plain_state *r, hg_plain_decoder_config *c)
{
    c->names.q = c->names.k = c->names.v = c->names.gate = c->names.up = NULL;
    c->names.qkv = "self_attn.qkv_proj";
    c->names.gate_up = "mlp.gate_up_proj";
    read_window(r, c, 0);
}

static void read_gemma(hg_plain_state *r, hg_plain_decoder_config *c)
{
    const char *act = hg_plain_text(r, "hidden_activation", NULL);
    hg_plain_refuse(r, "use_bidirectional_attention");
    /* The first files say "gelu" and mean the one by tanh; a file that names it in hidden_activation is taken at its word. */
    if (!act) act = hg_plain_text(r, "hidden_act", "gelu_pytorch_tanh");
    if (!hg_plain_key(r, "hidden_activation") && strcmp(act, "gelu") == 0) act = "gelu_pytorch_tanh";
    c->act = hg_plain_act_named(r, "hidden_activation", act);
    c->norm.plus_one = true;
    c->embed_scale = sqrt((double)c->hidden);
    c->qkv_bias = c->o_bias = hg_plain_flag(r, "attention_bias", false);
}

static void read_gemma2(hg_plain_state *r, hg_plain_decoder_config *c)
{
    read_gemma(r, c);
    c->names.attention_out = "post_attention_layernorm";
    c->names.mlp_in = "pre_feedforward_layernorm";
    c->names.mlp_out = "post_feedforward_layernorm";
    c->scale = 1 / sqrt(hg_plain_real(r, "query_pre_attn_scalar", 256));
    const hg_jval *score = hg_json_get(r->config, "attn_logit_softcapping");
    const hg_jval *logit = hg_json_get(r->config, "final_logit_softcapping");
    c->score_cap = score && hg_json_is_null(score) ? 0 : hg_plain_real(r, "attn_logit_softcapping", 50);
    c->logits_cap = logit && hg_json_is_null(logit) ? 0 : hg_plain_real(r, "final_logit_softcapping", 30);
    c->window = hg_plain_int(r, "sliding_window", 4096, 1);
    if (read_layer_types(r, c)) return;
    for (size_t i = 0; i < c->layers; i++) c->layer[i].local = i % 2 == 0;
}

static void read_gemma3(hg_plain_state *r, hg_plain_decoder_config *c)
{
    read_gemma2(r, c);
    c->score_cap = hg_plain_real(r, "attn_logit_softcapping", 0);
    c->logits_cap = hg_plain_real(r, "final_logit_softcapping", 0);
    c->names.q_norm = "self_attn.q_norm";
    c->names.k_norm = "self_attn.k_norm";
    c->two_ropes = true;
    if (hg_plain_key(r, "layer_types")) return;
    const char *key =
        hg_plain_key(r, "_sliding_window_pattern") ? "_sliding_window_pattern" : "sliding_window_pattern";
    size_t every = hg_plain_int(r, key, 6, 1);
    for (size_t i = 0; i < c->layers; i++) c->layer[i].local = (i + 1) % every != 0;
}

static void read_smollm3(hg_plain_state *r, hg_plain_decoder_config *c)
{
    const hg_jval *list = hg_plain_key(r, "no_rope_layers");
    size_t every = hg_plain_int(r, "no_rope_layer_interval", 4, 1);
    read_llama(r, c);
    for (size_t i = 0; i < c->layers; i++) c->layer[i].rotary = (i + 1) % every != 0;
    if (list && hg_json_len(list) < c->layers) {
        hg_plain_fail(r, HANGAR_E_INVALID, "config.json: no_rope_layers is shorter than num_hidden_layers");
    }
    for (hg_json_iter it = hg_json_iter_of(list); hg_json_next(&it) && it.index < c->layers;) {
        c->layer[it.index].rotary = hg_json_i64_or(it.val, 1) != 0; /* 1 = this layer turns */
    }
    bool use = hg_plain_flag(r, "use_sliding_window", false) && hg_plain_key(r, "sliding_window");
    if (use) c->window = hg_plain_int(r, "sliding_window", 4096, 1);
    if (!read_layer_types(r, c)) {
        for (size_t i = 0; i < c->layers; i++) c->layer[i].local = use && !c->layer[i].rotary;
    }
    for (size_t i = 0; i < c->layers; i++) {
        if (c->layer[i].local && !c->window) {
            hg_plain_fail(r, HANGAR_E_UNSUPPORTED,
                          "config.json: layer_types slide, but sliding_window is not in use");
        }
    }
}

static void read_granite(hg_plain_state *r, hg_plain_decoder_config *c)
{
    read_llama(r, c);
    c->embed_scale = hg_plain_real(r, "embedding_multiplier", 1);
    c->scale = hg_plain_real(r, "attention_multiplier", 1);
    c->residual = hg_plain_real(r, "residual_multiplier", 1);
    c->logits_divisor = hg_plain_real(r, "logits_scaling", 1);
}

static void read_olmo2(hg_plain_state *r, hg_plain_decoder_config *c)
{
    c->qkv_bias = c->o_bias = hg_plain_flag(r, "attention_bias", false);
    c->names.attention_in = c->names.mlp_in = NULL;
    c->names.attention_out = "post_attention_layernorm";
    c->names.mlp_out = "post_feedforward_layernorm";
    c->names.q_norm = "self_attn.q_norm";
    c->names.k_norm = "self_attn.k_norm";
    c->qk_whole = true;
}

static void no_rotation(hg_plain_decoder_config *c)
{
    for (size_t i = 0; i < c->layers; i++) c->layer[i].rotary = false;
}

static void read_gpt2(hg_plain_state *r, hg_plain_decoder_config *c)
{
    c->names = gpt2_names;
    c->norm = (hg_plain_norm){.bias = true, .eps = hg_plain_real(r, "layer_norm_epsilon", 1e-5)};
    c->qkv_bias = c->o_bias = c->mlp_bias = c->turned = c->position_table = true;
    if (!hg_plain_flag(r, "scale_attn_weights", true)) c->scale = 1;
    c->scale_by_layer = hg_plain_flag(r, "scale_attn_by_inverse_layer_idx", false);
    hg_plain_refuse(r, "add_cross_attention");
    no_rotation(c);
}

static void read_neox(hg_plain_state *r, hg_plain_decoder_config *c)
{
    c->names = neox_names;
    c->norm = (hg_plain_norm){.bias = true, .eps = hg_plain_real(r, "layer_norm_eps", 1e-5)};
    c->qkv_bias = c->o_bias = hg_plain_flag(r, "attention_bias", true);
    c->mlp_bias = true;
    c->pack = HG_REF_GROUPS;
    c->parallel = c->own_mlp_norm = hg_plain_flag(r, "use_parallel_residual", true);
}

static void read_opt(hg_plain_state *r, hg_plain_decoder_config *c)
{
    bool before = hg_plain_flag(r, "do_layer_norm_before", true);
    c->names = opt_names;
    c->norm = (hg_plain_norm){.bias = true, .eps = 1e-5};
    c->norm.plain = !hg_plain_flag(r, "layer_norm_elementwise_affine", true);
    c->qkv_bias = c->o_bias = c->mlp_bias = hg_plain_flag(r, "enable_bias", true);
    c->norm_behind = !before;
    c->final_missing = !before || hg_plain_flag(r, "_remove_final_layer_norm", false);
    c->embed_width = hg_plain_int(r, "word_embed_proj_dim", (int64_t)c->hidden, 1);
    c->position_table = c->position_masked = true;
    c->position_add = 2;
    no_rotation(c);
}

static void read_falcon(hg_plain_state *r, hg_plain_decoder_config *c)
{
    bool newer = hg_plain_flag(r, "new_decoder_architecture", false);
    bool shared = hg_plain_flag(r, "multi_query", true);
    size_t groups = hg_plain_int(r, "num_kv_heads", (int64_t)c->heads, 1);
    size_t norms = hg_plain_int(r, "num_ln_in_parallel_attn", newer ? 2 : 1, 1);
    c->names = falcon_names;
    c->norm = (hg_plain_norm){.bias = true, .eps = hg_plain_real(r, "layer_norm_epsilon", 1e-5)};
    c->qkv_bias = c->o_bias = c->mlp_bias = hg_plain_flag(r, "bias", false);
    c->pack = HG_REF_GROUPS;
    c->kv_heads = newer ? groups : shared ? 1 : c->heads;
    c->parallel = newer || hg_plain_flag(r, "parallel_attn", true);
    if (newer && !hg_plain_flag(r, "parallel_attn", true)) {
        hg_plain_fail(
            r, HANGAR_E_UNSUPPORTED,
            "config.json: the reference does not know parallel_attn false with new_decoder_architecture");
    }
    if (newer && norms == 2) {
        c->own_mlp_norm = true;
        c->names.attention_in = "ln_attn";
        c->names.mlp_in = "ln_mlp";
    }
    c->alibi = hg_plain_flag(r, "alibi", false);
    if (c->alibi) no_rotation(c);
}

static const struct family {
    const char *type;
    void (*read)(hg_plain_state *, hg_plain_decoder_config *);
    bool tied;
    int64_t head_dim; /* when the file does not say; 0 = hidden / heads */
    double theta, partial;
    const char *theta_key, *partial_key, *act_key, *act;
    const char *hidden, *layers, *heads, *inner, *positions; /* older keys */
} families[] = {
    {.type = "llama", .read = read_llama, .theta = 1e4},
    {.type = "mistral", .read = read_mistral, .theta = 1e4},
    {.type = "qwen2", .read = read_qwen2, .theta = 1e4},
    {.type = "qwen3", .read = read_qwen3, .theta = 1e4, .head_dim = 128},
    {.type = "qwen3_moe", .read = read_qwen3_moe, .theta = 1e4},
    {.type = "mixtral", .read = read_mixtral, .theta = 1e6},
    {.type = "phi", .read = read_phi, .theta = 1e4, .partial = 0.5, .act = "gelu_new"},
    {.type = "phi3", .read = read_phi3, .theta = 1e4, .partial = 1},
    {.type = "gemma", .read = read_gemma, .tied = true, .head_dim = 256, .theta = 1e4},
    {.type = "gemma2", .read = read_gemma2, .tied = true, .head_dim = 256, .theta = 1e4},
    {.type = "gemma3_text", .read = read_gemma3, .tied = true, .head_dim = 256, .theta = 1e6},
    {.type = "smollm3", .read = read_smollm3, .tied = true, .theta = 2e6},
    {.type = "granite", .read = read_granite, .theta = 1e4},
    {.type = "olmo2", .read = read_olmo2, .theta = 1e4},
    {.type = "gpt2",
     .read = read_gpt2,
     .tied = true,
     .act_key = "activation_function",
     .act = "gelu_new",
     .hidden = "n_embd",
     .layers = "n_layer",
     .heads = "n_head",
     .inner = "n_inner",
     .positions = "n_positions"},
    {.type = "gpt_neox",
     .read = read_neox,
     .theta = 1e4,
     .theta_key = "rotary_emb_base",
     .partial = 0.25,
     .partial_key = "rotary_pct",
     .act = "gelu"},
    {.type = "opt",
     .read = read_opt,
     .tied = true,
     .act_key = "activation_function",
     .act = "relu",
     .inner = "ffn_dim"},
    {.type = "falcon",
     .read = read_falcon,
     .tied = true,
     .theta = 1e4,
     .act_key = "activation",
     .act = "gelu",
     .layers = "n_layer",
     .heads = "n_head",
     .inner = "ffn_hidden_size"},
};

static const struct family *family_of(const char *type)
{
    for (size_t i = 0; i < HG_LEN(families); i++) {
        if (strcmp(families[i].type, type) == 0) return &families[i];
    }
    return NULL;
}

/* The older key where the newer one is absent. */
static const char *either(const hg_plain_state *r, const char *key, const char *older)
{
    return older && !hg_plain_key(r, key) ? older : key;
}

static void read_rope(hg_plain_state *r, const struct family *f, hg_plain_decoder_config *c)
{
    const char *theta_key = f->theta_key && hg_plain_key(r, f->theta_key) ? f->theta_key : NULL;
    c->rope = (hg_plain_rope_ask){.theta_key = theta_key,
                                  .theta = f->theta,
                                  .scaled = true,
                                  .partial_key = f->partial_key,
                                  .partial = f->partial,
                                  .head_dim = c->head_dim};
    if (!c->two_ropes) return;
    c->local_rope = c->rope;
    c->rope.layer_type = "full_attention";
    c->local_rope.layer_type = "sliding_attention";
    c->local_rope.theta_key = "rope_local_base_freq";
    c->local_rope.theta = 1e4;
    c->local_rope.scaled = false;
}

/* Sizes fit together. */
static void check(hg_plain_state *r, const hg_plain_decoder_config *c)
{
    if (r->code != HANGAR_OK) return;
    if (c->heads % c->kv_heads) {
        hg_plain_fail(r, HANGAR_E_INVALID,
                      "config.json: num_attention_heads is no multiple of num_key_value_heads");
    }
    if (c->logits_divisor == 0) hg_plain_fail(r, HANGAR_E_INVALID, "config.json: logits_scaling is 0");
}

/* Reads all of it. */
void hg_plain_decoder_read(hg_plain_state *r, const char *model_type, hg_plain_decoder_config *c)
{
    const struct family *f = family_of(model_type);
    *c =
        (hg_plain_decoder_config){.names = llama_names, .residual = 1, .embed_scale = 1, .logits_divisor = 1};
    c->vocab = hg_plain_int(r, "vocab_size", HG_REF_NEEDED, 1);
    c->hidden = hg_plain_int(r, either(r, "hidden_size", f->hidden), HG_REF_NEEDED, 1);
    c->layers = hg_plain_int(r, either(r, "num_hidden_layers", f->layers), HG_REF_NEEDED, 1);
    c->heads = hg_plain_int(r, either(r, "num_attention_heads", f->heads), HG_REF_NEEDED, 1);
    c->kv_heads = hg_plain_int(r, "num_key_value_heads", (int64_t)c->heads, 1);
    c->inner = hg_plain_int(r, f->inner ? f->inner : "intermediate_size",
                            f->inner ? 4 * (int64_t)c->hidden : HG_REF_NEEDED, 1);
    if (c->layers > HG_REF_LAYERS_MAX) {
        hg_plain_fail(r, HANGAR_E_LIMIT, "config.json: more than %d layers", HG_REF_LAYERS_MAX);
        c->layers = 1;
    }
    bool own = f->head_dim || hg_plain_key(r, "head_dim");
    if (!own && c->hidden % c->heads) {
        hg_plain_fail(r, HANGAR_E_INVALID, "config.json: hidden_size is no multiple of num_attention_heads");
    }
    c->head_dim = hg_plain_int(r, "head_dim", f->head_dim ? f->head_dim : (int64_t)(c->hidden / c->heads), 1);
    c->norm = (hg_plain_norm){.rms = true, .eps = hg_plain_real(r, "rms_norm_eps", 1e-6)};
    c->scale = 1 / sqrt((double)c->head_dim);
    c->embed_width = c->hidden;
    c->positions = hg_plain_int(r, either(r, "max_position_embeddings", f->positions), 2048, 1);
    c->tied = f->tied;
    c->act = HG_REF_SILU;
    if (f->read != read_gemma && f->read != read_gemma2 && f->read != read_gemma3) {
        c->act = hg_plain_act_key(r, f->act_key ? f->act_key : "hidden_act", f->act ? f->act : "silu");
    }
    for (size_t i = 0; i < c->layers; i++) c->layer[i].rotary = true;
    f->read(r, c);
    c->final_norm = c->qk_norm = c->norm;
    read_rope(r, f, c);
    check(r, c);
}
