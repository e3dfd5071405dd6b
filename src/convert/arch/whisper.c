/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whisper: speech to text with an encoder and a decoder of pre-norm layers (Radford et al. 2022).
 *
 *   encoder:  x = gelu(conv2(gelu(conv1(mel)))) + position              [of the silence behind the sound only samples: silence.h]
 *             each layer:  x += attention(norm(x));  x += W_2 act(W_1 norm(x))
 *             h = norm(x)
 *   decoder:  x = token[ids] + position[past .. past + S)
 *             each layer:  x += causal attention(norm(x));  x += attention(norm(x), h);  x += W_2 act(W_1 norm(x))
 *             logits = norm(x) token^T
 *
 * The decoder is one graph for the prompt and for every step, with a cache (seq2seq.h). Keys have no bias.
 */
#include "convert/arch/seq2seq.h"
#include "convert/arch/silence.h"
#include "convert/archs.h"

#include <string.h>

#define EPS 1e-5 /* of every norm; not in config.json */

typedef struct whisper {
    hg_seq2seq s;
    uint32_t mels, vocab, source, target;
    uint32_t encoder_heads, decoder_heads;
    hg_seq2seq_stack encoder, decoder;
    bool tied;
    const char *prefix;
} whisper;

/* Of the training, of other heads, and of how text is generated. */
static const char *const training[] = {"alignment_heads",
                                       "classifier_proj_size",
                                       "lang_ids",
                                       "lang_to_id",
                                       "mask_feature_length",
                                       "mask_feature_min_masks",
                                       "mask_feature_prob",
                                       "mask_time_length",
                                       "mask_time_min_masks",
                                       "mask_time_prob",
                                       "max_initial_timestamp_index",
                                       "median_filter_width",
                                       "no_timestamps_token_id",
                                       "num_hidden_layers",
                                       "prev_sot_token_id",
                                       "return_timestamps",
                                       "task_ids",
                                       "task_to_id",
                                       "use_weighted_layer_sum",
                                       NULL};

static void read_config(whisper *m, hg_build *b)
{
    hg_hfconfig *c = b->config;
    const char *name = hg_hfconfig_class(c);
    if (name && strcmp(name, "WhisperForConditionalGeneration") != 0 && strcmp(name, "WhisperModel") != 0) {
        hg_hfconfig_wrong(c, HANGAR_E_UNSUPPORTED, "architectures: %s", name);
    }
    b->task = "automatic-speech-recognition";
    m->s.width = hg_hfconfig_u32(c, "d_model", 0, 1, 65536);
    m->mels = hg_hfconfig_u32(c, "num_mel_bins", 80, 1, 1024);
    m->vocab = hg_hfconfig_u32(c, "vocab_size", 0, 1, 4u << 20);
    m->source = hg_hfconfig_u32(c, "max_source_positions", 1500, 1, 1u << 20);
    m->target = hg_hfconfig_u32(c, "max_target_positions", 448, 1, 1u << 20);
    m->encoder_heads = hg_hfconfig_u32(c, "encoder_attention_heads", 0, 1, 1024);
    m->decoder_heads = hg_hfconfig_u32(c, "decoder_attention_heads", 0, 1, 1024);
    m->encoder = (hg_seq2seq_stack){.layers = hg_hfconfig_u32(c, "encoder_layers", 0, 1, 512),
                                    .inner = hg_hfconfig_u32(c, "encoder_ffn_dim", 0, 1, 1u << 20),
                                    .eps = EPS,
                                    .act = hg_block_act(c, "activation_function", "gelu"),
                                    .pre_norm = true};
    m->decoder = m->encoder;
    m->decoder.layers = hg_hfconfig_u32(c, "decoder_layers", 0, 1, 512);
    m->decoder.inner = hg_hfconfig_u32(c, "decoder_ffn_dim", 0, 1, 1u << 20);
    m->tied = hg_hfconfig_bool(c, "tie_word_embeddings", true);
    if (m->s.width % m->encoder_heads != 0 || m->s.width % m->decoder_heads != 0) {
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "d_model %u does not divide among %u and %u heads", m->s.width,
                          m->encoder_heads, m->decoder_heads);
    }
    hg_hfconfig_only_bool(c, "scale_embedding",
                          false); /* read, but used nowhere, in the reference implementation */
    hg_block_refuse_common(c);
    hg_hfconfig_ignore(c, training);
}

/* ---- encoder ---- */

/* gelu(conv2(gelu(conv1(mel)))): [B, frames / 2, width]. */
static hg_value *convolutions(const whisper *m, hg_build *b, hg_value *mel)
{
    const int64_t channels_last[] = {0, 2, 1};
    const uint32_t width = m->s.width;
    hg_graph *g = b->g;
    hg_value *x = hg_block_conv3(b, "conv1", mel, m->mels, width, 1);
    x = hg_block_conv3(b, "conv2", hg_op_act(g, "conv1.act", x, m->encoder.act), width, width, 2);
    return hg_op_transpose(g, "channels_last", hg_op_act(g, "conv2.act", x, m->encoder.act), channels_last);
}

static hangar_code build_encoder(whisper *m, hg_build *b, hangar_err *err)
{
    hangar_code code = hg_build_begin(b, "encoder_model", err);
    if (code != HANGAR_OK) return code;
    hg_graph *g = b->g;
    const uint32_t width = m->s.width;
    const int64_t every = b->form ? b->form->silence : 0;
    hg_silence silence = {0};
    b->prefix = m->prefix;
    m->s.heads = m->encoder_heads;
    m->s.head_dim = width / m->s.heads;
    hg_value *mel =
        hg_block_input(b, "input_features",
                       HG_SHAPE(HG_SYM("batch_size"), HG_DIM(m->mels), HG_DIM((int64_t)m->source * 2)));
    hg_graph_enter(g, "encoder");
    if (every) {
        silence = hg_silence_find(b, mel, m->source, every);
        m->s.silence = &silence;
        mel = silence.mel;
    }
    hg_value *x = convolutions(m, b, mel);
    hg_value *places = hg_block_matrix(b, "embed_positions.weight", m->source, width);
    if (every) {
        x = hg_silence_keep(b, &silence, x);
        places = hg_op_gather(g, "embed_positions.kept", places, silence.kept, 0);
    }
    x = hg_op_add(g, "add_positions", x, places);
    m->s.batch_shape = hg_block_batch_shape(b, "batch_shape", x, width);
    hg_stream s = hg_seq2seq_layers(&m->s, b, &m->encoder, hg_op_rows(g, "rows", x));
    hg_value *h = hg_block_stream_norm(b, "layer_norm", &s, width, EPS, true);
    h = hg_op_reshape(g, "as_batch", h, m->s.batch_shape,
                      HG_SHAPE(HG_SYM("batch_size"), x->shape.dims[1], HG_DIM(width)));
    if (every) h = hg_silence_spread(b, &silence, h);
    m->s.silence = NULL;
    hg_graph_leave(g);
    hg_block_output(b, "last_hidden_state", h);
    return HANGAR_OK;
}

/* ---- decoder ---- */

/* token[ids] + position[past .. past + S), as rows. */
static hg_value *decoder_embeddings(whisper *m, hg_build *b)
{
    hg_value *token = hg_block_embed(b, "embed_tokens", m->s.ids, m->vocab, m->s.width);
    hg_value *position =
        hg_block_positions(b, "embed_positions", m->s.begin, m->s.end, m->target, m->s.width);
    return hg_op_rows(b->g, "rows", hg_op_add(b->g, "add_positions", token, position));
}

/* The last Linear: its weight is the token table, unless the checkpoint says otherwise. */
static hg_value *output(const whisper *m, hg_build *b, hg_value *x)
{
    const hg_linear how = {.in = m->s.width,
                           .out = m->vocab,
                           .weight = m->tied ? "decoder.embed_tokens.weight" : "proj_out.weight"};
    b->prefix = m->tied ? m->prefix : "";
    return hg_block_linear_of(b, "proj_out", x, &how);
}

static hangar_code build_decoder(whisper *m, hg_build *b, hangar_err *err)
{
    m->s.heads = m->decoder_heads;
    m->s.head_dim = m->s.width / m->s.heads;
    hangar_code code = hg_seq2seq_decoder(&m->s, b, m->decoder.layers, false, err);
    if (code != HANGAR_OK) return code;
    hg_repeats repeats = {0};
    if (b->form && b->form->silence) {
        repeats = hg_repeats_find(b, m->s.hidden, m->s.use_cache);
        m->s.repeats = &repeats;
    }
    b->prefix = m->prefix;
    hg_graph_enter(b->g, "decoder");
    hg_stream s = hg_seq2seq_layers(&m->s, b, &m->decoder, decoder_embeddings(m, b));
    hg_value *y = hg_block_stream_norm(b, "layer_norm", &s, m->s.width, EPS, true);
    m->s.repeats = NULL;
    hg_graph_leave(b->g);
    hg_seq2seq_output(&m->s, b, "logits", output(m, b, y), m->vocab);
    hg_seq2seq_presents(&m->s, b);
    return HANGAR_OK;
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    whisper m = {0};
    read_config(&m, b);
    hangar_code code = hg_hfconfig_check(b->config, err);
    if (code != HANGAR_OK) return code;
    m.prefix = hg_checkpoint_get(b->ck, "model.encoder.conv1.weight", NULL) ? "model." : "";
    code = build_encoder(&m, b, err);
    if (code == HANGAR_OK) code = build_decoder(&m, b, err);
    hg_seq2seq_deinit(&m.s);
    return code;
}

const hg_arch hg_arch_whisper = {.name = "whisper", .build = build, .hears_windows = true};
