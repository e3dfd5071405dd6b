/* SPDX-License-Identifier: Apache-2.0 */
/* Decoders: inputs and outputs, settings that have no fixture, in both styles, and that what is not known is refused by its name. */
#include "ports.h"

#include "graph/graph.h"
static hangar_code make(const hg_snapshot *snap, hangar_style style, hangar_err *err)
{
    hangar_convert_options options = {.size = sizeof options, .style = style};
    return kit_run(ports_store, snap, &options, NULL, NULL, err);
}

static void list_ports(Onnx__ValueInfoProto **list, size_t count, hg_buf *out)
{
    for (size_t i = 0; i < count; i++) {
        const Onnx__TensorShapeProto *s = list[i]->type->tensor_type->shape;
        hg_buf_printf(out, "%s%s[", i ? " " : "", list[i]->name);
        for (size_t j = 0; j < s->n_dim; j++) {
            if (s->dim[j]->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE)
                hg_buf_printf(out, "%s%lld", j ? "," : "", (long long)s->dim[j]->dim_value);
            else hg_buf_printf(out, "%s%s", j ? "," : "", s->dim[j]->dim_param);
        }
        hg_buf_putc(out, ']');
    }
}

/* Inputs and outputs of the model that was made last. */
static void expect_ports(const hg_snapshot *snap, const char *inputs, const char *outputs)
{
    hg_artifact *a = NULL;
    hangar_err err = {0};
    hg_buf text;
    if (hg_artifact_open(ports_store, snap, NULL, &a, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    const Onnx__ModelProto *m = hg_onnx_message(a->graphs[0].model);
    hg_buf_init(&text, HG_MIB);
    list_ports(m->graph->input, m->graph->n_input, &text);
    assert_string_equal(hg_buf_text(&text), inputs);
    hg_buf_reset(&text);
    list_ports(m->graph->output, m->graph->n_output, &text);
    assert_string_equal(hg_buf_text(&text), outputs);
    hg_buf_deinit(&text);
    hg_artifact_free(a);
}

#define TOKENS "input_ids[batch_size,sequence_length] attention_mask[batch_size,total_sequence_length] "
#define PLACES "position_ids[batch_size,sequence_length] "
#define PAST(n, sizes) \
    "past_key_values." n ".key[batch_size," sizes "] past_key_values." n ".value[batch_size," sizes "]"
#define NOW(n, sizes)    "present." n ".key[batch_size," sizes "] present." n ".value[batch_size," sizes "]"
#define OLD(heads, size) heads ",past_sequence_length," size
#define ALL(heads, size) heads ",total_sequence_length," size
#define LOGITS           "logits[batch_size,sequence_length,96] "

static void test_ports(void **state)
{
    (void)state;
    static const struct {
        const char *fixture, *inputs, *outputs;
    } known[] = {
        {"llama", TOKENS PLACES PAST("0", OLD("2", "16")) " " PAST("1", OLD("2", "16")),
         LOGITS NOW("0", ALL("2", "16")) " " NOW("1", ALL("2", "16"))},
        {"gemma2", TOKENS PAST("0", OLD("2", "32")) " " PAST("1", OLD("2", "32")),
         LOGITS NOW("0", ALL("2", "32")) " " NOW("1", ALL("2", "32"))},
        {"falcon", TOKENS PLACES PAST("0", OLD("1", "16")) " " PAST("1", OLD("1", "16")),
         LOGITS NOW("0", ALL("1", "16")) " " NOW("1", ALL("1", "16"))},
        {"gpt2", TOKENS PLACES PAST("0", OLD("4", "16")) " " PAST("1", OLD("4", "16")),
         LOGITS NOW("0", ALL("4", "16")) " " NOW("1", ALL("4", "16"))},
    };
    for (size_t i = 0; i < HG_LEN(known); i++) {
        for (int style = HANGAR_STYLE_FUSED; style <= HANGAR_STYLE_PORTABLE; style++) {
            hangar_err err = {0};
            hg_snapshot *snap = kit_repo(ports_store, known[i].fixture, NULL, NULL, NULL, NULL);
            if (make(snap, style, &err) != HANGAR_OK) fail_msg("%s: %s", known[i].fixture, err.msg);
            expect_ports(snap, known[i].inputs, known[i].outputs);
            hg_snapshot_free(snap);
        }
    }
}

/* One thing changed in config.json; the shapes of the weights stay. */
typedef struct change {
    const char *fixture, *from, *to;
    hangar_code code;
    const char *words;
} change;

static void expect(const change *c)
{
    for (int style = HANGAR_STYLE_FUSED; style <= HANGAR_STYLE_PORTABLE; style++) {
        hangar_err err = {0};
        hg_snapshot *snap = kit_repo(ports_store, c->fixture, c->from, c->to, NULL, NULL);
        hangar_code code = make(snap, style, &err);
        if (code != c->code || !strstr(err.msg, c->words))
            fail_msg("%s with %s: %d %s instead of %d %s", c->fixture, c->to, code, err.msg, c->code,
                     c->words);
        hg_snapshot_free(snap);
    }
}

#define ROPE      "\"rope_theta\": 10000.0,\n    \"rope_type\": \"default\""
#define KIND(...) "\"rope_theta\": 10000.0, \"rope_type\": " __VA_ARGS__
#define EIGHT     "[1, 1.5, 2, 2.5, 3, 4, 5, 6]"
#define ADD(text) "\"use_cache\"", text ", \"use_cache\""

static void test_settings(void **state)
{
    (void)state;
    static const change good[] = {
        {"llama", ROPE, KIND("\"linear\", \"factor\": 2"), HANGAR_OK, ""},
        {"llama", ROPE, KIND("\"dynamic\", \"factor\": 2"), HANGAR_OK, ""},
        {"llama", ROPE, KIND("\"yarn\", \"factor\": 4, \"original_max_position_embeddings\": 32"), HANGAR_OK,
         ""},
        {"llama", ROPE,
         KIND("\"llama3\", \"factor\": 8, \"low_freq_factor\": 1, \"high_freq_factor\": 4, "
              "\"original_max_position_embeddings\": 64"),
         HANGAR_OK, ""},
        {"llama", ROPE,
         KIND("\"longrope\", \"factor\": 4, \"short_factor\": " EIGHT ", \"long_factor\": " EIGHT), HANGAR_OK,
         ""},
        {"llama", "\"rope_parameters\": {\n    " ROPE "\n  }",
         "\"rope_theta\": 500000, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.0}", HANGAR_OK, ""},
        {"llama", ROPE, KIND("\"default\", \"partial_rotary_factor\": 0.5"), HANGAR_OK, ""},
        {"llama", "\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true", HANGAR_OK, ""},
        {"mistral", "\"sliding_window\": null", "\"sliding_window\": 4", HANGAR_OK, ""},
        {"qwen2", "\"use_sliding_window\": false", "\"use_sliding_window\": true", HANGAR_OK, ""},
        {"phi3", ADD("\"auto_map\": {\"AutoModelForCausalLM\": \"modeling_phi3.Phi3ForCausalLM\"}"),
         HANGAR_OK, ""},
        {"gpt2", "\"scale_attn_by_inverse_layer_idx\": false", "\"scale_attn_by_inverse_layer_idx\": true",
         HANGAR_OK, ""},
        {"llama", ADD("\"is_causal\": true"), HANGAR_OK, ""},
        {"smollm3", "\"use_sliding_window\": false", "\"use_sliding_window\": true", HANGAR_OK, ""},
        {"opt", "\"activation_function\": \"relu\"", "\"activation_function\": \"gelu\"", HANGAR_OK, ""},
        {"mixtral", "\"num_experts_per_tok\": 2", "\"num_experts_per_tok\": 4", HANGAR_OK, ""},
        {"qwen3_moe", "\"norm_topk_prob\": false", "\"norm_topk_prob\": true", HANGAR_OK, ""},
    };
    for (size_t i = 0; i < HG_LEN(good); i++) expect(&good[i]);
}

static void test_refusals(void **state)
{
    (void)state;
    static const change bad[] = {
        {"llama", "LlamaForCausalLM", "LlamaForSequenceClassification", HANGAR_E_UNSUPPORTED,
         "architectures: LlamaForSequenceClassification"},
        {"llama", ROPE, KIND("\"spiral\""), HANGAR_E_UNSUPPORTED, "rope_type spiral"},
        {"llama", ROPE, KIND("\"linear\""), HANGAR_E_INVALID, "factor"},
        {"llama", ROPE, KIND("\"default\", \"bent\": 3"), HANGAR_E_UNSUPPORTED, "bent 3"},
        {"llama", ROPE, KIND("\"default\", \"partial_rotary_factor\": 0.2"), HANGAR_E_UNSUPPORTED,
         "3 numbers turn"},
        {"llama", ROPE, KIND("\"longrope\", \"factor\": 4, \"long_factor\": " EIGHT), HANGAR_E_INVALID,
         "short_factor does not have 8 numbers"},
        {"llama", ROPE, KIND("\"longrope\", \"short_factor\": [1,1,1,1,1,1,1,0], \"long_factor\": " EIGHT),
         HANGAR_E_INVALID, "short_factor"},
        {"llama", ROPE,
         KIND("\"llama3\", \"factor\": 8, \"original_max_position_embeddings\": 64, \"low_freq_factor\": 4, "
              "\"high_freq_factor\": 1"),
         HANGAR_E_INVALID, "high_freq_factor"},
        {"llama", "\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3", HANGAR_E_INVALID,
         "4 heads do not divide among 3 key heads"},
        {"llama", "\"attention_bias\": false", "\"attention_bias\": true", HANGAR_E_INVALID, "q_proj.bias"},
        {"llama", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 513", HANGAR_E_INVALID,
         "num_hidden_layers"},
        {"llama", ADD("\"auto_map\": {\"AutoModelForCausalLM\": \"modeling_llama.LlamaForCausalLM\"}"),
         HANGAR_E_UNSUPPORTED, "auto_map"},
        {"llama", ADD("\"quantization_config\": {\"bits\": 4}"), HANGAR_E_UNSUPPORTED, "quantization_config"},
        {"llama", ADD("\"is_causal\": false"), HANGAR_E_UNSUPPORTED, "is_causal false"},
        {"opt", ADD("\"is_causal\": false"), HANGAR_E_UNSUPPORTED, "is_causal false"},
        {"llama", ADD("\"attention_sink\": 4"), HANGAR_E_UNSUPPORTED, "attention_sink 4"},
        {"phi3", ADD("\"auto_map\": {\"AutoModelForCausalLM\": \"modeling_other.Phi3ForCausalLM\"}"),
         HANGAR_E_UNSUPPORTED, "auto_map"},
        {"phi3", ADD("\"mlp_bias\": true"), HANGAR_E_UNSUPPORTED, "mlp_bias true"},
        {"qwen2", "\"full_attention\",", "\"chunked_attention\",", HANGAR_E_UNSUPPORTED,
         "layer_types has chunked_attention"},
        {"gemma3_text", "\"use_bidirectional_attention\": false", "\"use_bidirectional_attention\": true",
         HANGAR_E_UNSUPPORTED, "use_bidirectional_attention"},
        {"gemma3_text", "\"sliding_attention\": {", "\"other_attention\": {", HANGAR_E_UNSUPPORTED,
         "rope_parameters.other_attention"},
        {"gpt2", "\"add_cross_attention\": false", "\"add_cross_attention\": true", HANGAR_E_UNSUPPORTED,
         "add_cross_attention"},
        {"gpt_neox", ADD("\"num_key_value_heads\": 2"), HANGAR_E_UNSUPPORTED, "num_key_value_heads"},
        {"opt", "\"layer_norm_elementwise_affine\": true", "\"layer_norm_elementwise_affine\": false",
         HANGAR_E_UNSUPPORTED, "layer_norm_elementwise_affine"},
        {"opt", "\"word_embed_proj_dim\": 64", "\"word_embed_proj_dim\": 32", HANGAR_E_INVALID,
         "embed_tokens.weight"},
        {"falcon", "\"new_decoder_architecture\": false", "\"new_decoder_architecture\": true",
         HANGAR_E_INVALID, "ln_attn.weight"},
        {"mixtral", "\"num_experts_per_tok\": 2", "\"num_experts_per_tok\": 5", HANGAR_E_UNSUPPORTED,
         "5 of 4 experts"},
        {"mixtral", "\"num_local_experts\": 4", "\"num_local_experts\": 5", HANGAR_E_INVALID, "gate.weight"},
        {"qwen3_moe", "\"mlp_only_layers\": []", "\"mlp_only_layers\": [0]", HANGAR_E_INVALID,
         "the checkpoint has no model.layers.0.mlp.gate_proj.weight"},
    };
    for (size_t i = 0; i < HG_LEN(bad); i++) expect(&bad[i]);
}

/* Saved without the outer module, and without an output matrix. */
static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *fixture, *from, *to;
    } names[] = {{"gpt2", "\"transformer.", "\""},
                 {"opt", "\"model.", "\""}, /* as the released ones are */
                 {"llama", "lm_head", "unused"}};
    for (size_t i = 0; i < HG_LEN(names); i++) {
        hangar_err err = {0};
        hg_snapshot *snap = kit_repo(ports_store, names[i].fixture, NULL, NULL, names[i].from, names[i].to);
        if (make(snap, HANGAR_STYLE_FUSED, &err) != HANGAR_OK) fail_msg("%s: %s", names[i].fixture, err.msg);
        hg_snapshot_free(snap);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ports, ports_open, ports_close),
        cmocka_unit_test_setup_teardown(test_settings, ports_open, ports_close),
        cmocka_unit_test_setup_teardown(test_refusals, ports_open, ports_close),
        cmocka_unit_test_setup_teardown(test_names, ports_open, ports_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
