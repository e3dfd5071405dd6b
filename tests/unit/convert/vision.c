/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures and sounds: inputs and outputs of the graphs, other settings than the fixtures have, and what is refused. */
#include "ports.h"

#define PIXELS(batch) "pixel_values[" batch ",3,32,32]"
#define IDS           "input_ids[text_batch_size,sequence_length]"
#define MASK          "attention_mask[text_batch_size,sequence_length]"
#define HIDDEN(t, i, text_first, image_first)                                                     \
    "\ntext_model: " t " -> " text_first "last_hidden_state[text_batch_size,sequence_length,64] " \
    "pooler_output[text_batch_size,64]\nvision_model: " PIXELS(                                   \
        "image_batch_size") " -> " image_first "last_hidden_state[image_batch_size," i            \
                            ",64] pooler_output[image_batch_size,64]"
#define PAIRS(width)                                                                                        \
    "logits_per_image[image_batch_size,text_batch_size] logits_per_text[text_batch_size,image_batch_size] " \
    "text_embeds[text_batch_size," width "] image_embeds[image_batch_size," width "]"

static void test_ports(void **state)
{
    (void)state;
    static const struct {
        ports_change change;
        const char *want;
    } good[] = {
        {{"vit", NULL, NULL, NULL, NULL}, "model: " PIXELS("batch_size") " -> logits[batch_size,2]"},
        {{"vit", "\"patch_size\": 8", "\"patch_size\": [8, 8]", NULL, NULL},
         "model: " PIXELS("batch_size") " -> logits[batch_size,2]"},
        {{"vit", "ViTForImageClassification", "ViTModel", NULL, NULL},
         "model: " PIXELS("batch_size") " -> last_hidden_state[batch_size,17,64]"},
        {{"vit", "ViTForImageClassification", "ViTModel", "\"vit.", "\""},
         "model: " PIXELS("batch_size") " -> last_hidden_state[batch_size,17,64]"},
        {{"clip", NULL, NULL, NULL, NULL},
         "model: " IDS " " MASK " " PIXELS("image_batch_size") " -> " PAIRS("32")
             HIDDEN(IDS " " MASK, "17", "text_embeds[text_batch_size,32] ",
                    "image_embeds[image_batch_size,32] ")},
        {{"clip", "\"text_config\"", "\"text_config\": {\"hidden_size\": 7}, \"text_config_dict\"", NULL,
          NULL},
         "model: " IDS " " MASK " " PIXELS("image_batch_size") " -> " PAIRS("32")
             HIDDEN(IDS " " MASK, "17", "text_embeds[text_batch_size,32] ",
                    "image_embeds[image_batch_size,32] ")},
        {{"siglip", NULL, NULL, NULL, NULL},
         "model: " IDS " " PIXELS("image_batch_size") " -> " PAIRS("64") HIDDEN(IDS, "16", "", "")},
        {{"wav2vec2", NULL, NULL, NULL, NULL},
         "model: input_values[batch_size,sequence_length] -> logits[batch_size,frames,32]"},
        {{"wav2vec2", "Wav2Vec2ForCTC", "Wav2Vec2Model", NULL, NULL},
         "model: input_values[batch_size,sequence_length] -> last_hidden_state[batch_size,frames,64]"},
        {{"wav2vec2", "Wav2Vec2ForCTC", "Wav2Vec2ForPreTraining", "\"wav2vec2.", "\""},
         "model: input_values[batch_size,sequence_length] -> last_hidden_state[batch_size,frames,64]"},
        {{"wav2vec2", "\"do_stable_layer_norm\": false", "\"do_stable_layer_norm\": true", NULL, NULL},
         "model: input_values[batch_size,sequence_length] -> logits[batch_size,frames,32]"},
    };
    for (size_t i = 0; i < HG_LEN(good); i++) ports_expect(&good[i].change, good[i].want);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        ports_change change;
        hangar_code code;
        const char *words;
    } bad[] = {
        {{"vit", "ForImageClassification", "ForMaskedImageModeling", NULL, NULL},
         HANGAR_E_UNSUPPORTED,
         "architectures: ViTForMaskedImageModeling"},
        {{"vit", "\"patch_size\": 8", "\"patch_size\": [8, 8, 8]", NULL, NULL},
         HANGAR_E_INVALID,
         "patch_size"},
        {{"vit", "\"patch_size\": 8", "\"patch_size\": [8, 16]", NULL, NULL},
         HANGAR_E_INVALID,
         "projection.weight is [64, 3, 8, 8], config.json asks for [64, 3, 8, 16]"},
        {{"vit", "\"patch_size\": 8", "\"patch_size\": 33", NULL, NULL}, HANGAR_E_INVALID, "patch_size"},
        {{"vit", "\"image_size\": 32", "\"image_size\": [40, 32]", NULL, NULL},
         HANGAR_E_INVALID,
         "position_embeddings is [1, 17, 64], config.json asks for [1, 21, 64]"},
        {{"vit", "\"num_attention_heads\": 4", "\"num_attention_heads\": 5", NULL, NULL},
         HANGAR_E_INVALID,
         "hidden_size 64 does not divide among 5 heads"},
        {{"vit", NULL, NULL, "classifier.weight", "classifier.weihgt"},
         HANGAR_E_INVALID,
         "classifier.weight"},
        {{"clip", "\"text_config\"", "\"text_confiq\"", NULL, NULL}, HANGAR_E_INVALID, "text_config"},
        {{"clip", "\"quick_gelu\"", "\"spiral\"", NULL, NULL},
         HANGAR_E_UNSUPPORTED,
         "text_config.hidden_act: spiral"},
        {{"clip", "\"bos_token_id\": 1", "\"odd_setting\": 1", NULL, NULL},
         HANGAR_E_UNSUPPORTED,
         "text_config.odd_setting"},
        {{"clip", "CLIPModel", "CLIPForImageClassification", NULL, NULL},
         HANGAR_E_UNSUPPORTED,
         "architectures: CLIPForImageClassification"},
        {{"siglip", "\"projection_size\": 64", "\"projection_size\": 32", NULL, NULL},
         HANGAR_E_INVALID,
         "text_config.projection_size 32 is not the width 64"},
        {{"siglip", "\"patch_size\": 8", "\"vision_use_head\": false, \"patch_size\": 8", NULL, NULL},
         HANGAR_E_UNSUPPORTED,
         "vision_config.vision_use_head"},
        {{"siglip", NULL, NULL, "in_proj_weight", "in_proj_weihgt"},
         HANGAR_E_INVALID,
         "attention.in_proj_weight"},
        {{"wav2vec2", "ForCTC", "ForXVector", NULL, NULL},
         HANGAR_E_UNSUPPORTED,
         "architectures: Wav2Vec2ForXVector"},
        {{"wav2vec2", "ForCTC", "ForSequenceClassification", NULL, NULL},
         HANGAR_E_INVALID,
         "projector.weight"},
        {{"wav2vec2", "\"add_adapter\": false", "\"add_adapter\": true", NULL, NULL},
         HANGAR_E_UNSUPPORTED,
         "add_adapter true"},
        {{"wav2vec2", "\"adapter_attn_dim\": null", "\"adapter_attn_dim\": 16", NULL, NULL},
         HANGAR_E_UNSUPPORTED,
         "adapter_attn_dim 16"},
        {{"wav2vec2", "\"feat_extract_norm\": \"group\"", "\"feat_extract_norm\": \"layer\"", NULL, NULL},
         HANGAR_E_INVALID,
         "conv_layers.1.layer_norm.weight"},
        {{"wav2vec2", "\"conv_bias\": false", "\"conv_bias\": true", NULL, NULL},
         HANGAR_E_INVALID,
         "conv_layers.0.conv.bias"},
        {{"wav2vec2", "\"num_feat_extract_layers\": 7", "\"num_feat_extract_layers\": 6", NULL, NULL},
         HANGAR_E_INVALID,
         "conv_dim is not a list of 6 numbers"},
        {{"wav2vec2", "\"num_conv_pos_embedding_groups\": 4", "\"num_conv_pos_embedding_groups\": 5", NULL,
          NULL},
         HANGAR_E_INVALID,
         "hidden_size 64 does not divide among 5 groups"},
        {{"wav2vec2", "\"num_conv_pos_embeddings\": 16", "\"num_conv_pos_embeddings\": 15", NULL, NULL},
         HANGAR_E_INVALID,
         "original0 is [1, 1, 16], config.json asks for [1, 1, 15]"},
    };
    for (size_t i = 0; i < HG_LEN(bad); i++) ports_refuse(&bad[i].change, bad[i].code, bad[i].words);
}

/* The engine reorders the weights of convolutions over pictures, and makes that of the positions of sounds. */
static void test_weights(void **state)
{
    (void)state;
    ports_mapped("vit", false);
    ports_mapped("clip", false);
    ports_mapped("siglip", false);
    ports_mapped("wav2vec2", false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ports), cmocka_unit_test(test_refusals),
                                       cmocka_unit_test(test_weights)};
    return cmocka_run_group_tests(tests, ports_open, ports_close);
}
