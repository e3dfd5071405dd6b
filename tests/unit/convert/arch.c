/* SPDX-License-Identifier: Apache-2.0 */
/* The architectures: inputs and outputs by head, older names, and that what a builder does not know is refused by its name. */
#include "ports.h"

#include "graph/graph.h"
/* Refused with this code and these words. */
static void refuse(const char *fixture, const char *c_from, const char *c_to, const char *w_from,
                   const char *w_to, hangar_code want, const char *words)
{
    hangar_err err = {0};
    hg_snapshot *snap = kit_repo(ports_store, fixture, c_from, c_to, w_from, w_to);
    hangar_code code = kit_convert(ports_store, snap, NULL, HANGAR_PLACE_AUTO, NULL, &err);
    if (code == HANGAR_OK) fail_msg("%s is accepted", c_to ? c_to : w_to);
    if (!strstr(err.msg, words)) fail_msg("\"%s\" expected, not \"%s\"", words, err.msg);
    assert_int_equal(code, want);
    hg_snapshot_free(snap);
}

static void expect_ports(const hg_snapshot *snap, size_t graph, const char *inputs, const char *outputs)
{
    hg_artifact *a = NULL;
    hangar_err err = {0};
    hg_buf text;
    if (hg_artifact_open(ports_store, snap, NULL, &a, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    const Onnx__ModelProto *m = hg_onnx_message(a->graphs[graph].model);
    hg_buf_init(&text, HG_MIB);
    ports_text(m->graph->input, m->graph->n_input, &text);
    assert_string_equal(hg_buf_text(&text), inputs);
    hg_buf_reset(&text);
    ports_text(m->graph->output, m->graph->n_output, &text);
    assert_string_equal(hg_buf_text(&text), outputs);
    hg_buf_deinit(&text);
    hg_artifact_free(a);
}

static hg_snapshot *convert(const char *fixture, const char *c_from, const char *c_to, const char *w_from,
                            const char *w_to)
{
    hangar_err err = {0};
    hg_snapshot *snap = kit_repo(ports_store, fixture, c_from, c_to, w_from, w_to);
    if (kit_convert(ports_store, snap, NULL, HANGAR_PLACE_AUTO, NULL, &err) != HANGAR_OK)
        fail_msg("%s", err.msg);
    return snap;
}

#define TEXT                                                                            \
    "input_ids[batch_size,sequence_length] attention_mask[batch_size,sequence_length] " \
    "token_type_ids[batch_size,sequence_length]"

static void test_bert_heads(void **state)
{
    (void)state;
    static const struct {
        const char *fixture, *from, *to, *w_from, *w_to, *outputs;
    } heads[] = {
        {"bert", NULL, NULL, NULL, NULL, "last_hidden_state[batch_size,sequence_length,64]"},
        {"bert", "\"architectures\"", "\"_name_or_path\"", NULL, NULL,
         "last_hidden_state[batch_size,sequence_length,64]"},
        {"bert-mlm", NULL, NULL, NULL, NULL, "logits[batch_size,sequence_length,96]"},
        {"bert-mlm", NULL, NULL, "cls.predictions.bias", "cls.predictions.decoder.bias",
         "logits[batch_size,sequence_length,96]"},
        {"bert-cls", NULL, NULL, NULL, NULL, "logits[batch_size,3]"},
        {"bert-cls", "ForSequence", "ForToken", NULL, NULL, "logits[batch_size,sequence_length,3]"},
        {"bert", NULL, NULL, "LayerNorm.weight", "LayerNorm.gamma", NULL},
    };
    for (size_t i = 0; i < HG_LEN(heads) - 1; i++) {
        hg_snapshot *snap =
            convert(heads[i].fixture, heads[i].from, heads[i].to, heads[i].w_from, heads[i].w_to);
        expect_ports(snap, 0, TEXT, heads[i].outputs);
        hg_snapshot_free(snap);
    }
    refuse("bert-cls", "ForSequenceClassification", "ForQuestionAnswering", "classifier.", "qa_outputs.",
           HANGAR_E_INVALID, "qa_outputs.weight is [3, 64], config.json asks for [2, 64]");
}

static void test_bert_old_names(void **state)
{
    (void)state;
    hangar_err err = {0};
    hg_buf file;
    kit_weights("bert", "LayerNorm.weight", "LayerNorm.gamma", "src/model.safetensors");
    kit_read(at("src/model.safetensors"), &file);
    kit_config("bert", NULL, NULL, "src/config.json");
    uint64_t len = 0;
    for (int i = 7; i >= 0; i--) len = len << 8 | (uint8_t)file.data[i];
    hg_buf header, out;
    hg_buf_init(&header, HG_MIB);
    hg_buf_init(&out, 64 * HG_MIB);
    hg_buf_add(&header, file.data + 8, len);
    kit_replace(&header, "LayerNorm.bias", "LayerNorm.beta");
    for (int i = 0; i < 8; i++) hg_buf_putc(&out, (char)(header.len >> 8 * i));
    hg_buf_add(&out, header.data, header.len);
    hg_buf_add(&out, file.data + 8 + len, file.len - 8 - len);
    kit_write("src/model.safetensors", out.data, out.len);
    hg_snapshot *snap = kit_take(ports_store, "old");
    if (kit_convert(ports_store, snap, NULL, HANGAR_PLACE_AUTO, NULL, &err) != HANGAR_OK)
        fail_msg("%s", err.msg);
    expect_ports(snap, 0, TEXT, "last_hidden_state[batch_size,sequence_length,64]");
    hg_snapshot_free(snap);
    hg_buf_deinit(&file);
    hg_buf_deinit(&header);
    hg_buf_deinit(&out);
}

static void test_bert_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        hangar_code code;
        const char *words;
    } bad[] = {
        {"\"bert\"", "\"gpt9\"", HANGAR_E_UNSUPPORTED, "model_type gpt9 (known: "},
        {"\"model_type\"", "\"_name_or_path\"", HANGAR_E_UNSUPPORTED, "model_type is missing"},
        {"\"BertModel\"", "\"BertForMultipleChoice\"", HANGAR_E_UNSUPPORTED, "BertForMultipleChoice"},
        {"\"use_cache\"", "\"position_embedding_type\": \"rotary\", \"use_cache\"", HANGAR_E_UNSUPPORTED,
         "position_embedding_type \"rotary\""},
        {"\"use_cache\"", "\"position_embedding_type\": \"relative_key\", \"use_cache\"", HANGAR_E_INVALID,
         "distance_embedding.weight"},
        {"\"use_cache\"", "\"quantization_config\": {\"bits\": 4}, \"use_cache\"", HANGAR_E_UNSUPPORTED,
         "quantization_config"},
        {"\"use_cache\"", "\"auto_map\": {\"AutoModel\": \"x.Y\"}, \"use_cache\"", HANGAR_E_UNSUPPORTED,
         "auto_map"},
        {"\"use_cache\"", "\"pruned_heads\": {\"0\": [1]}, \"use_cache\"", HANGAR_E_UNSUPPORTED,
         "pruned_heads"},
        {"\"is_decoder\": false", "\"is_decoder\": true", HANGAR_E_UNSUPPORTED, "is_decoder"},
        {"\"add_cross_attention\": false", "\"add_cross_attention\": true", HANGAR_E_UNSUPPORTED,
         "add_cross_attention"},
        {"\"hidden_act\": \"gelu\"", "\"hidden_act\": \"mish\"", HANGAR_E_UNSUPPORTED, "hidden_act: mish"},
        {"\"hidden_size\": 64", "\"hidden_size\": \"64\"", HANGAR_E_INVALID, "hidden_size"},
        {"\"hidden_size\": 64", "\"hidden_size\": 0", HANGAR_E_INVALID, "hidden_size"},
        {"\"hidden_size\"", "\"_name_or_path\"", HANGAR_E_INVALID, "hidden_size is missing"},
        {"\"hidden_size\": 64", "\"hidden_size\": 128", HANGAR_E_INVALID,
         "[96, 64], config.json asks for [96, 128]"},
        {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", HANGAR_E_INVALID,
         "the checkpoint has no encoder.layer.2"},
        {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 4000000000", HANGAR_E_INVALID,
         "num_hidden_layers"},
        {"\"num_attention_heads\": 4", "\"num_attention_heads\": 5", HANGAR_E_INVALID,
         "64 columns for 5 heads"},
        {"\"vocab_size\": 96", "\"vocab_size\": 97", HANGAR_E_INVALID, "word_embeddings.weight"},
    };
    for (size_t i = 0; i < HG_LEN(bad); i++)
        refuse("bert", bad[i].from, bad[i].to, NULL, NULL, bad[i].code, bad[i].words);
    refuse("bert", NULL, NULL, "word_embeddings", "word_embedding", HANGAR_E_INVALID,
           "the checkpoint has no embeddings.word_embeddings.weight");
    refuse("bert", NULL, NULL, "\"F32\"", "\"I32\"", HANGAR_E_UNSUPPORTED, "is of type I32");
}

static void test_acts(void **state)
{
    (void)state;
    static const char *const acts[] = {"gelu_new", "relu", "silu", "quick_gelu", "gelu_pytorch_tanh"};
    for (size_t i = 0; i < HG_LEN(acts); i++) {
        char act[64];
        snprintf(act, sizeof act, "\"hidden_act\": \"%s\"", acts[i]);
        hg_snapshot_free(convert("bert", "\"hidden_act\": \"gelu\"", act, NULL, NULL));
    }
}

static void test_whisper(void **state)
{
    (void)state;
    hg_snapshot *snap = convert("whisper", NULL, NULL, NULL, NULL);
    expect_ports(snap, 0, "input_features[batch_size,80,200]", "last_hidden_state[batch_size,100,64]");
#define PAST(n, side, length)                                                                    \
    "past_key_values." n "." side ".key[batch_size,4," length ",16] past_key_values." n "." side \
    ".value[batch_size,4," length ",16]"
#define LAYER(n) \
    PAST(n, "decoder", "past_sequence_length") " " PAST(n, "encoder", "encoder_past_sequence_length")
#define NOW(n, side, length)                                                     \
    "present." n "." side ".key[batch_size,4," length ",16] present." n "." side \
    ".value[batch_size,4," length ",16]"
#define MADE(n) NOW(n, "decoder", "total_sequence_length") " " NOW(n, "encoder", "encoder_kept_length")
    expect_ports(snap, 1,
                 "input_ids[batch_size,sequence_length] "
                 "encoder_hidden_states[batch_size,encoder_sequence_length,64] " LAYER("0") " " LAYER(
                     "1") " use_cache_branch[1]",
                 "logits[batch_size,sequence_length,96] " MADE("0") " " MADE("1"));
    hg_snapshot_free(snap);
    snap = convert("whisper", NULL, NULL, "\"model.", "\""); /* saved without the outer module */
    hg_snapshot_free(snap);
}

static void test_whisper_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        hangar_code code;
        const char *words;
    } bad[] = {
        {"WhisperForConditionalGeneration", "WhisperForAudioClassification", HANGAR_E_UNSUPPORTED,
         "WhisperForAudioClassification"},
        {"\"scale_embedding\": false", "\"scale_embedding\": true", HANGAR_E_UNSUPPORTED,
         "scale_embedding true"},
        {"\"num_mel_bins\": 80", "\"num_mel_bins\": 128", HANGAR_E_INVALID,
         "conv1.weight is [64, 80, 3], config.json asks for [64, 128, 3]"},
        {"\"decoder_attention_heads\": 4", "\"decoder_attention_heads\": 3", HANGAR_E_INVALID, "d_model 64"},
        {"\"encoder_attention_heads\": 4", "\"encoder_attention_heads\": 3", HANGAR_E_INVALID,
         "d_model 64 does not divide"},
        {"\"max_source_positions\": 100", "\"max_source_positions\": 101", HANGAR_E_INVALID,
         "embed_positions"},
        {"\"max_target_positions\": 64", "\"max_target_positions\": 65", HANGAR_E_INVALID, "embed_positions"},
        {"\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false", HANGAR_E_INVALID,
         "no proj_out.weight"},
        {"\"activation_function\": \"gelu\"", "\"activation_function\": \"mish\"", HANGAR_E_UNSUPPORTED,
         "activation_function: mish"},
        {"\"d_model\": 64", "\"d_model\": 64.5", HANGAR_E_INVALID, "d_model"},
    };
    for (size_t i = 0; i < HG_LEN(bad); i++)
        refuse("whisper", bad[i].from, bad[i].to, NULL, NULL, bad[i].code, bad[i].words);
    refuse("whisper", NULL, NULL, "layers.1.fc2.bias", "layers.1.fc2.bais", HANGAR_E_INVALID,
           "layers.1.fc2.bias");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, ports_open, ports_close)

/* Repositories of other kinds: what there is, and what to do. */
static void test_other_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *file, *config, *words;
    } kinds[] = {
        {"pytorch_model.bin", "{}", "Python's pickles (pytorch_model.bin), which may run code"},
        {"q4.gguf", "{}", "GGUF files (q4.gguf), which are not converted: hangar run"},
        {"q4.gguf", NULL, "GGUF files (q4.gguf), which are not converted: hangar run"},
        {"onnx/model.onnx", "{}", "graphs made elsewhere (onnx/model.onnx), and no safetensors"},
        {"tf_model.h5", "{}", "weights for TensorFlow (tf_model.h5)"},
        {"adapter_model.safetensors", NULL, "an adapter (adapter_model.safetensors)"},
        {"model.fp16.safetensors", "{}", "another name (model.fp16.safetensors), which has to be named"},
        {"README.md", "{}", "no model.safetensors here; hangar pull t/kind"},
        {"model.safetensors", NULL, "no config.json"},
        {"model.safetensors.index.json", NULL, "no config.json"},
    };
    for (size_t i = 0; i < HG_LEN(kinds); i++) {
        hangar_err err = {0};
        char path[96];
        snprintf(path, sizeof path, "src/%s", kinds[i].file);
        kit_write(path, "x", 1);
        if (kinds[i].config) kit_write("src/config.json", "{\"model_type\":\"bert\"}", 21);
        hg_snapshot *snap = kit_take(ports_store, "kind");
        assert_int_equal(kit_convert(ports_store, snap, NULL, HANGAR_PLACE_AUTO, NULL, &err),
                         HANGAR_E_UNSUPPORTED);
        if (!strstr(err.msg, kinds[i].words))
            fail_msg("\"%s\" expected, not \"%s\"", kinds[i].words, err.msg);
        hg_snapshot_free(snap);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_other_kinds), TEST(test_bert_heads), TEST(test_bert_old_names),   TEST(test_bert_refusals),
        TEST(test_acts),        TEST(test_whisper),    TEST(test_whisper_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
