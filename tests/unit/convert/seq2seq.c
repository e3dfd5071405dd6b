/* SPDX-License-Identifier: Apache-2.0 */
/* Text to text: inputs and outputs of the graphs, other settings than the fixtures have, and what is refused. */
#include "ports.h"

#define TEXT "input_ids[batch_size,sequence_length] attention_mask[batch_size,sequence_length]"
#define PAST(n, side, what, length) \
    "past_key_values." #n "." side "." what "[batch_size,4," length "_sequence_length,16]"
#define PASTS(n)                                                                                     \
    PAST(n, "decoder", "key", "past")                                                                \
    " " PAST(n, "decoder", "value", "past") " " PAST(n, "encoder", "key",                            \
                                                     "encoder_past") " " PAST(n, "encoder", "value", \
                                                                              "encoder_past")
#define PRESENT(n, side, what, length) "present." #n "." side "." what "[batch_size,4," length ",16]"
#define PRESENTS(n)                                                                    \
    PRESENT(n, "decoder", "key", "total_sequence_length")                              \
    " " PRESENT(n, "decoder", "value", "total_sequence_length") " " PRESENT(           \
        n, "encoder", "key", "encoder_kept_length") " " PRESENT(n, "encoder", "value", \
                                                                "encoder_kept_length")
#define ENCODER "encoder_model: " TEXT " -> last_hidden_state[batch_size,sequence_length,64]\n"
#define DECODER                                                                         \
    "decoder_model_merged: input_ids[batch_size,sequence_length] "                      \
    "encoder_attention_mask[batch_size,encoder_sequence_length] "                       \
    "encoder_hidden_states[batch_size,encoder_sequence_length,64] " PASTS(0) " " PASTS( \
        1) " use_cache_branch[1] -> logits[batch_size,sequence_length,96] " PRESENTS(0) " " PRESENTS(1)

static void test_ports(void **state)
{
    (void)state;
    static const ports_change same[] = {
        {"t5", NULL, NULL, NULL, NULL},
        {"t5", "\"model_type\": \"t5\"", "\"model_type\": \"mt5\"", NULL, NULL},
        {"t5", "T5ForConditionalGeneration", "T5WithLMHeadModel", NULL, NULL},
        {"t5", "\"dense_act_fn\": \"relu\"", "\"dense_act_fn\": null", NULL, NULL},
        {"t5", "\"relative_attention_max_distance\": 128", "\"relative_attention_max_distance\": 16384", NULL,
         NULL},
        {"t5", "\"num_decoder_layers\": 2,", "", NULL, NULL},
        {"t5", NULL, NULL, "\"shared.weight\"", "\"lm_head.weight\""},
        {"t5", NULL, NULL, "\"shared.weight\"", "\"decoder.embed_tokens.weight\""},
        {"bart", NULL, NULL, NULL, NULL},
        {"bart", "\"scale_embedding\": false", "\"scale_embedding\": true", NULL, NULL},
        {"bart", "BartForConditionalGeneration", "BartModel", "\"model.", "\""},
        {"bart", NULL, NULL, "final_logits_bias", "nobody_knows_this"},
        {"bart", NULL, NULL, "\"model.shared.weight\"", "\"lm_head.weight\""},
        {"marian", NULL, NULL, NULL, NULL},
        {"marian", "\"share_encoder_decoder_embeddings\": true",
         "\"share_encoder_decoder_embeddings\": false", NULL, NULL},
        {"marian", "\"scale_embedding\": false",
         "\"static_position_embeddings\": true, \"scale_embedding\": true", NULL, NULL},
    };
    for (size_t i = 0; i < HG_LEN(same); i++) ports_expect(&same[i], ENCODER DECODER);
    ports_expect(&(ports_change){"t5", "T5ForConditionalGeneration", "T5EncoderModel", NULL, NULL},
                 "model: " TEXT " -> last_hidden_state[batch_size,sequence_length,64]");
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        ports_change change;
        hangar_code code;
        const char *words;
    } bad[] = {
        {{"t5", "T5ForConditionalGeneration", "T5ForQuestionAnswering", NULL, NULL},
         HANGAR_E_UNSUPPORTED,
         "architectures: T5ForQuestionAnswering"},
        {{"t5", "\"relu\"", "\"gated-spiral\"", NULL, NULL}, HANGAR_E_UNSUPPORTED, "feed_forward_proj"},
        {{"t5", "\"relative_attention_max_distance\": 128", "\"relative_attention_max_distance\": 16", NULL,
          NULL},
         HANGAR_E_UNSUPPORTED,
         "relative_attention_num_buckets 32 with relative_attention_max_distance 16"},
        {{"t5", "\"relative_attention_max_distance\": 128", "\"relative_attention_max_distance\": 16385",
          NULL, NULL},
         HANGAR_E_INVALID,
         "relative_attention_max_distance"},
        {{"t5", "\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false", NULL, NULL},
         HANGAR_E_INVALID,
         "there is no lm_head.weight"},
        {{"t5", "\"is_gated_act\": false", "\"is_gated_act\": true", NULL, NULL},
         HANGAR_E_UNSUPPORTED,
         "is_gated_act true"},
        {{"t5", "\"dense_act_fn\": \"relu\"", "\"dense_act_fn\": \"silu\"", NULL, NULL},
         HANGAR_E_UNSUPPORTED,
         "dense_act_fn"},
        {{"t5", "\"dense_act_fn\": \"relu\",", "", "DenseReluDense.wi.weight", "DenseReluDense.wo_.weight"},
         HANGAR_E_INVALID,
         "wi.weight"},
        {{"t5", "\"model_type\": \"t5\"", "\"model_type\": \"umt5\"", NULL, NULL},
         HANGAR_E_INVALID,
         "block.1.layer.0.SelfAttention.relative_attention_bias.weight"},
        {{"t5", NULL, NULL, "shared.weight", "shraed.weight"}, HANGAR_E_INVALID, "shared.weight"},
        {{"t5", "\"use_cache\"", "\"odd_setting\"", NULL, NULL}, HANGAR_E_UNSUPPORTED, "odd_setting"},
        {{"bart", "BartForConditionalGeneration", "BartForSequenceClassification", NULL, NULL},
         HANGAR_E_UNSUPPORTED,
         "architectures: BartForSequenceClassification"},
        {{"bart", "\"use_cache\"", "\"normalize_before\"", NULL, NULL},
         HANGAR_E_UNSUPPORTED,
         "normalize_before"},
        {{"bart", "\"use_cache\"", "\"static_position_embeddings\"", NULL, NULL},
         HANGAR_E_UNSUPPORTED,
         "static_position_embeddings"},
        {{"bart", "\"model_type\": \"bart\"", "\"model_type\": \"mbart\"", NULL, NULL},
         HANGAR_E_UNSUPPORTED,
         "architectures: BartForConditionalGeneration"},
        {{"bart", "\"decoder_attention_heads\": 4", "\"decoder_attention_heads\": 5", NULL, NULL},
         HANGAR_E_INVALID,
         "d_model 64 does not divide among 4 and 5 heads"},
        {{"bart", "\"max_position_embeddings\": 128", "\"max_position_embeddings\": 130", NULL, NULL},
         HANGAR_E_INVALID,
         "embed_positions.weight is [130, 64], config.json asks for [132, 64]"},
        {{"bart", "\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false", NULL, NULL},
         HANGAR_E_INVALID,
         "lm_head.weight"},
        {{"marian", "\"vocab_size\": 96", "\"vocab_size\": 95", NULL, NULL},
         HANGAR_E_INVALID,
         "shared.weight"},
    };
    for (size_t i = 0; i < HG_LEN(bad); i++) ports_refuse(&bad[i].change, bad[i].code, bad[i].words);
}

/* Nothing in these graphs is computed from weights alone. */
static void test_weights(void **state)
{
    (void)state;
    ports_mapped("t5", true);
    ports_mapped("bart", true);
    ports_mapped("marian", true);
    ports_mapped("whisper", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ports), cmocka_unit_test(test_refusals),
                                       cmocka_unit_test(test_weights)};
    return cmocka_run_group_tests(tests, ports_open, ports_close);
}
