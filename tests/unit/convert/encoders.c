/* SPDX-License-Identifier: Apache-2.0 */
/* Text encoders but BERT: inputs and outputs by head, names with and without the base's prefix, and that what a builder does not know is refused by its
 * name. */
#include "ports.h"

#include "graph/graph.h"
/* A fixture with one thing changed in its configuration and one in the names of its weights; NULL = nothing. */
typedef struct change {
    const char *fixture, *c_from, *c_to, *w_from, *w_to;
} change;

static hangar_code convert(const change *c, hg_snapshot **snap, hangar_err *err)
{
    *snap = kit_repo(ports_store, c->fixture, c->c_from, c->c_to, c->w_from, c->w_to);
    return kit_convert(ports_store, *snap, NULL, HANGAR_PLACE_AUTO, NULL, err);
}

static void refuse(const change *c, hangar_code want, const char *words)
{
    hangar_err err = {0};
    hg_snapshot *snap = NULL;
    hangar_code code = convert(c, &snap, &err);
    if (code == HANGAR_OK) fail_msg("%s: %s is accepted", c->fixture, c->c_to ? c->c_to : c->w_to);
    if (!strstr(err.msg, words)) fail_msg("\"%s\" expected, not \"%s\"", words, err.msg);
    assert_int_equal(code, want);
    hg_snapshot_free(snap);
}

static void expect(const change *c, const char *inputs, const char *outputs)
{
    hg_snapshot *snap = NULL;
    hg_artifact *a = NULL;
    hangar_err err = {0};
    hg_buf text;
    if (convert(c, &snap, &err) != HANGAR_OK) fail_msg("%s: %s", c->fixture, err.msg);
    if (hg_artifact_open(ports_store, snap, NULL, &a, &err) != HANGAR_OK) fail_msg("%s", err.msg);
    const Onnx__ModelProto *m = hg_onnx_message(a->graphs[0].model);
    hg_buf_init(&text, HG_MIB);
    ports_text(m->graph->input, m->graph->n_input, &text);
    assert_string_equal(hg_buf_text(&text), inputs);
    hg_buf_reset(&text);
    ports_text(m->graph->output, m->graph->n_output, &text);
    assert_string_equal(hg_buf_text(&text), outputs);
    hg_buf_deinit(&text);
    hg_artifact_free(a);
    hg_snapshot_free(snap);
}

#define TEXT   "input_ids[batch_size,sequence_length] attention_mask[batch_size,sequence_length]"
#define KINDS  TEXT " token_type_ids[batch_size,sequence_length]"
#define HIDDEN "last_hidden_state[batch_size,sequence_length,64]"

static void test_ports(void **state)
{
    (void)state;
    static const struct {
        change change;
        const char *inputs, *outputs;
    } good[] = {
        {{"roberta", NULL, NULL, NULL, NULL}, TEXT, HIDDEN},
        {{"roberta", "\"architectures\"", "\"_name_or_path\"", NULL, NULL}, TEXT, HIDDEN},
        {{"roberta", NULL, NULL, "\"e", "\"roberta.e"}, TEXT, HIDDEN},
        {{"roberta", "\"roberta\"", "\"camembert\"", NULL, NULL}, NULL, "architectures: RobertaModel"},
        {{"xlm-roberta", NULL, NULL, NULL, NULL}, TEXT, "logits[batch_size,2]"},
        {{"xlm-roberta", NULL, NULL, "\"roberta.", "\""}, TEXT, "logits[batch_size,2]"},
        {{"xlm-roberta", "ForSequence", "ForToken", "classifier.out_proj.", "classifier."},
         TEXT,
         "logits[batch_size,sequence_length,2]"},
        {{"xlm-roberta", "ForSequenceClassification", "ForQuestionAnswering", "classifier.out_proj.",
          "qa_outputs."},
         TEXT,
         "start_logits[batch_size,sequence_length] end_logits[batch_size,sequence_length]"},
        {{"distilbert", NULL, NULL, NULL, NULL}, TEXT, HIDDEN},
        {{"distilbert", "\"model_type\"", "\"tie_weights_\": true, \"model_type\"", "\"", "\""},
         TEXT,
         HIDDEN},
        {{"mpnet", NULL, NULL, NULL, NULL}, TEXT, HIDDEN},
        /* embedders of which only the class says that they once had a head */
        {{"mpnet", "MPNetModel", "MPNetForMaskedLM", NULL, NULL}, TEXT, HIDDEN},
        {{"roberta", "RobertaModel", "RobertaForMaskedLM", NULL, NULL}, TEXT, HIDDEN},
        {{"modernbert", "ModernBertModel", "ModernBertForMaskedLM", NULL, NULL}, TEXT, HIDDEN},
        {{"bert", "BertModel", "BertForPreTraining", NULL, NULL}, KINDS, HIDDEN},
        {{"modernbert", NULL, NULL, NULL, NULL}, TEXT, HIDDEN},
        {{"modernbert", "\"model_type\"", "\"reference_compile\": true, \"model_type\"", "\"", "\""},
         TEXT,
         HIDDEN},
        {{"deberta-v2", NULL, NULL, NULL, NULL}, TEXT, HIDDEN},
        {{"deberta-v2", "\"max_relative_positions\": -1", "\"max_relative_positions\": 64", NULL, NULL},
         TEXT,
         HIDDEN},
        {{"bert", "\"model_type\": \"bert\"",
          "\"model_type\": \"electra\", \"embedding_size\": 64, \"summary_type\": \"first\"", NULL, NULL},
         NULL,
         "architectures: BertModel"},
    };
    for (size_t i = 0; i < HG_LEN(good); i++) {
        if (good[i].inputs) expect(&good[i].change, good[i].inputs, good[i].outputs);
        else refuse(&good[i].change, HANGAR_E_UNSUPPORTED, good[i].outputs);
    }
}

static void test_kinds(void **state)
{
    (void)state;
    static const change electra = {"bert-cls", "\"model_type\": \"bert\"",
                                   "\"model_type\": \"electra\", \"embedding_size\": 64", NULL, NULL};
    refuse(&electra, HANGAR_E_UNSUPPORTED, "architectures: BertForSequenceClassification");
    static const change bert = {"bert", "\"type_vocab_size\": 2", "\"type_vocab_size\": 3", NULL, NULL};
    refuse(&bert, HANGAR_E_INVALID, "token_type_embeddings.weight is [2, 64]");
    static const change deberta = {"deberta-v2", "\"type_vocab_size\": 0", "\"type_vocab_size\": 2", NULL,
                                   NULL};
    refuse(&deberta, HANGAR_E_INVALID, "no embeddings.token_type_embeddings.weight");
    static const change plain = {"bert", NULL, NULL, NULL, NULL};
    expect(&plain, KINDS, HIDDEN);
}

/* Every fixture without its multiple choice, and with a class that nobody knows. */
static void test_classes(void **state)
{
    (void)state;
    static const char *const families[][2] = {
        {"roberta", "RobertaModel"},       {"distilbert", "DistilBertModel"}, {"mpnet", "MPNetModel"},
        {"modernbert", "ModernBertModel"}, {"deberta-v2", "DebertaV2Model"},
    };
    for (size_t i = 0; i < HG_LEN(families); i++) {
        char from[64], to[96], words[96];
        snprintf(from, sizeof from, "\"%s\"", families[i][1]);
        snprintf(to, sizeof to, "\"%.*sForMultipleChoice\"", (int)strlen(families[i][1]) - 5, families[i][1]);
        snprintf(words, sizeof words, "architectures: %.*sForMultipleChoice", (int)strlen(families[i][1]) - 5,
                 families[i][1]);
        refuse(&(change){families[i][0], from, to, NULL, NULL}, HANGAR_E_UNSUPPORTED, words);
        refuse(&(change){families[i][0], "\"model_type\"", "\"new_trick\": 3, \"model_type\"", NULL, NULL},
               HANGAR_E_UNSUPPORTED, "new_trick 3");
        refuse(&(change){families[i][0], "\"model_type\"",
                         "\"quantization_config\": {\"bits\": 4}, \"model_type\"", NULL, NULL},
               HANGAR_E_UNSUPPORTED, "quantization_config");
        refuse(&(change){families[i][0], "\"vocab_size\": 96", "\"vocab_size\": 97", NULL, NULL},
               HANGAR_E_INVALID, "[96, 64], config.json asks for [97, 64]");
    }
}

static void test_bert_like(void **state)
{
    (void)state;
    static const struct {
        change change;
        hangar_code code;
        const char *words;
    } bad[] = {
        {{"roberta", "\"pad_token_id\": 1", "\"pad_token_id\": 96", NULL, NULL},
         HANGAR_E_INVALID,
         "pad_token_id"},
        {{"roberta", "\"is_decoder\": false", "\"is_decoder\": true", NULL, NULL},
         HANGAR_E_UNSUPPORTED,
         "is_decoder true"},
        {{"roberta", "\"use_cache\"", "\"position_embedding_type\": \"relative_key\", \"use_cache\"", NULL,
          NULL},
         HANGAR_E_INVALID,
         "attention.self.distance_embedding.weight"},
        {{"bert-mlm", "\"model_type\"", "\"_name_or_path\": \"\", \"model_type\"",
          "cls.predictions.transform.dense", "unused"},
         HANGAR_E_INVALID,
         "no cls.predictions.transform.dense"},
        {{"roberta", "RobertaModel", "RobertaForQuestionAnswering", NULL, NULL},
         HANGAR_E_INVALID,
         "no qa_outputs.weight"},
        {{"xlm-roberta", "ForSequence", "ForToken", NULL, NULL}, HANGAR_E_INVALID, "no classifier.weight"},
        {{"distilbert", "\"dim\": 64", "\"dim\": 128", NULL, NULL},
         HANGAR_E_INVALID,
         "config.json asks for [96, 128]"},
        {{"distilbert", "\"activation\": \"gelu\"", "\"activation\": \"mish\"", NULL, NULL},
         HANGAR_E_UNSUPPORTED,
         "activation: mish"},
        {{"distilbert", "\"n_heads\": 4", "\"n_heads\": 5", NULL, NULL},
         HANGAR_E_INVALID,
         "64 columns for 5 heads"},
        {{"mpnet", "\"relative_attention_num_buckets\": 32", "\"relative_attention_num_buckets\": 16", NULL,
          NULL},
         HANGAR_E_INVALID,
         "relative_attention_num_buckets"},
        {{"mpnet", NULL, NULL, "relative_attention_bias", "relative_attention_bais"},
         HANGAR_E_INVALID,
         "no encoder.relative_attention_bias.weight"},
    };
    for (size_t i = 0; i < HG_LEN(bad); i++) refuse(&bad[i].change, bad[i].code, bad[i].words);
}

static void test_modernbert(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        hangar_code code;
        const char *words;
    } bad[] = {
        {"\"rope_type\": \"default\"", "\"rope_type\": \"yarn\"", HANGAR_E_UNSUPPORTED,
         "full_attention.rope_type \"yarn\""},
        {"\"rope_theta\": 10000.0", "\"rope_theta\": -1", HANGAR_E_INVALID, "rope_theta"},
        {"\"rope_theta\": 10000.0", "\"rope_theta\": 10000.0, \"factor\": 2", HANGAR_E_UNSUPPORTED,
         "factor 2"},
        {"\"norm_bias\": false", "\"norm_bias\": true", HANGAR_E_INVALID,
         "norm_bias is true, but there is no final_norm.bias"},
        {"\"attention_bias\": false", "\"attention_bias\": true", HANGAR_E_INVALID, "attn.Wqkv.bias"},
        {"\"mlp_bias\": false", "\"mlp_bias\": true", HANGAR_E_INVALID, "mlp.Wi.bias"},
        {"\"classifier_pooling\": \"cls\"", "\"classifier_pooling\": \"max\"", HANGAR_E_UNSUPPORTED,
         "classifier_pooling: max"},
        {"\"hidden_activation\": \"gelu\"", "\"hidden_activation\": \"mish\"", HANGAR_E_UNSUPPORTED,
         "hidden_activation: mish"},
        {"\"layer_types\"", "\"layer_types\": [\"full_attention\"], \"_name_or_path\"", HANGAR_E_INVALID,
         "layer_types"},
        {"\"layer_types\": [", "\"layer_types\": [\"chunked_attention\",", HANGAR_E_INVALID, "layer_types"},
        {"sliding_attention\",", "chunked_attention\",", HANGAR_E_UNSUPPORTED,
         "layer_types: chunked_attention"},
        {"\"num_attention_heads\": 4", "\"num_attention_heads\": 3", HANGAR_E_INVALID,
         "num_attention_heads 3"},
        {"\"num_attention_heads\": 4", "\"num_attention_heads\": 64", HANGAR_E_INVALID,
         "num_attention_heads 64"},
        {"\"local_attention\": 8", "\"local_attention\": -1", HANGAR_E_INVALID, "local_attention"},
        {"\"model_type\"", "\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 2}, \"model_type\"",
         HANGAR_E_UNSUPPORTED, "rope_scaling"},
    };
    for (size_t i = 0; i < HG_LEN(bad); i++)
        refuse(&(change){"modernbert", bad[i].from, bad[i].to, NULL, NULL}, bad[i].code, bad[i].words);
    refuse(&(change){"modernbert", NULL, NULL, "layers.1.attn_norm", "layers.1.attn_nrom"}, HANGAR_E_INVALID,
           "layers.1.attn_norm.weight");
}

static void test_deberta(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        hangar_code code;
        const char *words;
    } bad[] = {
        {"\"p2c\"", "\"p2p\"", HANGAR_E_UNSUPPORTED, "pos_att_type \"p2p\""},
        {"\"pos_att_type\"", "\"pos_att_type\": 3, \"_name_or_path\"", HANGAR_E_INVALID, "pos_att_type"},
        {"\"pos_att_type\"", "\"pos_att_type\": \"p2c|c2c\", \"_name_or_path\"", HANGAR_E_UNSUPPORTED,
         "pos_att_type \"c2c\""},
        {"\"norm_rel_ebd\": \"layer_norm\"", "\"norm_rel_ebd\": \"batch_norm\"", HANGAR_E_UNSUPPORTED,
         "norm_rel_ebd: batch_norm"},
        {"\"position_buckets\": 16", "\"position_buckets\": 3", HANGAR_E_UNSUPPORTED, "position_buckets 3"},
        {"\"position_buckets\": 16", "\"position_buckets\": 1.5", HANGAR_E_INVALID, "position_buckets"},
        {"\"position_buckets\": 16", "\"position_buckets\": 32", HANGAR_E_INVALID,
         "rel_embeddings.weight is [32, 64], config.json asks for [64, 64]"},
        {"\"max_relative_positions\": -1", "\"max_relative_positions\": 8", HANGAR_E_UNSUPPORTED,
         "position_buckets 16 with max_relative_positions 8"},
        {"\"max_relative_positions\": -1", "\"max_relative_positions\": 1000000", HANGAR_E_UNSUPPORTED,
         "max_relative_positions 1000000"},
        {"\"max_relative_positions\": -1", "\"max_relative_positions\": -2", HANGAR_E_INVALID,
         "max_relative_positions"},
        {"\"share_att_key\": true", "\"share_att_key\": false", HANGAR_E_INVALID, "pos_key_proj.weight"},
        {"\"position_biased_input\": false", "\"position_biased_input\": true", HANGAR_E_INVALID,
         "no embeddings.position_embeddings.weight"},
        {"\"model_type\"", "\"conv_kernel_size\": 4, \"model_type\"", HANGAR_E_UNSUPPORTED,
         "conv_kernel_size 4"},
        {"\"model_type\"", "\"conv_kernel_size\": 3, \"model_type\"", HANGAR_E_INVALID,
         "no encoder.conv.conv.weight"},
        {"\"model_type\"", "\"conv_groups\": 5, \"model_type\"", HANGAR_E_INVALID, "conv_groups 5"},
        {"\"model_type\"", "\"embedding_size\": 32, \"model_type\"", HANGAR_E_UNSUPPORTED,
         "embedding_size 32"},
        {"\"model_type\"", "\"attention_head_size\": 32, \"model_type\"", HANGAR_E_UNSUPPORTED,
         "attention_head_size 32"},
        {"\"pooler_hidden_size\": 64", "\"pooler_hidden_size\": 65", HANGAR_E_UNSUPPORTED,
         "pooler_hidden_size 65"},
        {"\"num_attention_heads\": 4", "\"num_attention_heads\": 5", HANGAR_E_INVALID,
         "num_attention_heads 5"},
        {"DebertaV2Model", "DebertaV2ForSequenceClassification", HANGAR_E_INVALID, "no pooler.dense.weight"},
    };
    for (size_t i = 0; i < HG_LEN(bad); i++)
        refuse(&(change){"deberta-v2", bad[i].from, bad[i].to, NULL, NULL}, bad[i].code, bad[i].words);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, ports_open, ports_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ports),     TEST(test_kinds),      TEST(test_classes),
        TEST(test_bert_like), TEST(test_modernbert), TEST(test_deberta),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
