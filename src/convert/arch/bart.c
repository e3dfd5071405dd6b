/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BART: text to text with an encoder and a decoder of post-norm layers (Lewis et al. 2019); mBART has the norms before each part and one more
 * behind each stack (Liu et al. 2020); Marian: marian.c.
 *
 *   x = norm(scale token[ids] + position[places + 2])
 *   encoder, each layer:  x = norm(x + attention(x));  x = norm(x + W_2 act(W_1 x));   h = x
 *   decoder, each layer:  x = norm(x + causal attention(x));  x = norm(x + attention(x, h));  x = norm(x + W_2 act(W_1 x))
 *   logits = x token^T + final_logits_bias
 */
#include "convert/arch/bart.h"
#include "base/mem.h"
#include "convert/archs.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define EPS    1e-5 /* of every norm; not in config.json */
#define OFFSET 2    /* rows of a position table before the first place */

typedef struct bart {
    const hg_bart_kind *kind;
    hg_seq2seq s;
    hg_seq2seq_stack encoder, decoder;
    uint32_t encoder_heads, decoder_heads;
    uint32_t vocab, decoder_vocab, positions;
    bool scaled, tied;
    const char *prefix;
} bart;

/* Names of the first releases for what the class says by now, of other heads, of how text is generated, and of how a student was made. */
static const char *const other[] = {"add_bias_logits",
                                    "classif_dropout",
                                    "do_blenderbot_90_layernorm",
                                    "force_bos_token_to_be_generated",
                                    "num_hidden_layers",
                                    "replacing_rate",
                                    "save_step",
                                    "student_decoder_layers",
                                    "student_encoder_layers",
                                    NULL};

static hg_seq2seq_stack read_stack(const bart *m, hg_hfconfig *c, const char *layers, const char *inner)
{
    return (hg_seq2seq_stack){.layers = hg_hfconfig_u32(c, layers, 0, 1, 512),
                              .inner = hg_hfconfig_u32(c, inner, 0, 1, 1u << 20),
                              .eps = EPS,
                              .act = hg_block_act(c, "activation_function", m->kind->act),
                              .pre_norm = m->kind->pre_norm,
                              .key_bias = true};
}

static void read_class(bart *m, hg_build *b)
{
    const char *name = hg_hfconfig_class(b->config);
    const char *const *known = m->kind->classes;
    b->task = "text2text-generation";
    while (name && *known && strcmp(*known, name) != 0) known++;
    if (!*known) hg_hfconfig_wrong(b->config, HANGAR_E_UNSUPPORTED, "architectures: %s", name);
}

static void read_config(bart *m, hg_build *b)
{
    hg_hfconfig *c = b->config;
    const hg_bart_kind *kind = m->kind;
    read_class(m, b);
    m->s.width = hg_hfconfig_u32(c, "d_model", 0, 1, 65536);
    m->encoder = read_stack(m, c, "encoder_layers", "encoder_ffn_dim");
    m->decoder = read_stack(m, c, "decoder_layers", "decoder_ffn_dim");
    m->encoder_heads = hg_hfconfig_u32(c, "encoder_attention_heads", 0, 1, 1024);
    m->decoder_heads = hg_hfconfig_u32(c, "decoder_attention_heads", 0, 1, 1024);
    m->vocab = hg_hfconfig_u32(c, "vocab_size", 0, 1, 4u << 20);
    m->positions = hg_hfconfig_u32(c, "max_position_embeddings", kind->positions, 1, 1u << 20);
    m->scaled = hg_hfconfig_bool(c, "scale_embedding", false);
    m->tied = hg_hfconfig_bool(c, "tie_word_embeddings", true);
    m->decoder_vocab = m->vocab;
    if (kind->two_tables) {
        bool shared = hg_hfconfig_bool(c, "share_encoder_decoder_embeddings", true);
        uint32_t count = hg_hfconfig_u32(c, "decoder_vocab_size", m->vocab, 1, 4u << 20);
        if (!shared) m->decoder_vocab = count;
    }
    if (m->s.width % m->encoder_heads != 0 || m->s.width % m->decoder_heads != 0 || m->s.width % 2 != 0) {
        hg_hfconfig_wrong(c, HANGAR_E_INVALID, "d_model %u does not divide among %u and %u heads", m->s.width,
                          m->encoder_heads, m->decoder_heads);
    }
    hg_hfconfig_only_bool(c, "normalize_before", kind->pre_norm);
    hg_hfconfig_only_bool(c, "add_final_layer_norm", kind->pre_norm);
    hg_hfconfig_only_bool(c, "normalize_embedding", kind->embedding_norm);
    hg_hfconfig_only_bool(c, "static_position_embeddings", kind->sinusoids);
    (void)hg_hfconfig_u32(c, "extra_pos_embeddings", OFFSET, OFFSET, OFFSET);
    hg_block_refuse_common(c);
    hg_hfconfig_ignore(c, other);
}

/* ---- embeddings ---- */

/* sin(p f_j) in the first half of a row, cos(p f_j) in the second, f_j = 10000^(-2 j / width): [S, width] for the places p. */
static hg_value *sinusoids(const bart *m, hg_build *b)
{
    hg_graph *g = b->g;
    const uint32_t half = m->s.width / 2;
    hg_graph_enter(g, "embed_positions");
    hg_value *begin = hg_op_squeeze(g, "begin", m->s.begin, 0), *end = hg_op_squeeze(g, "end", m->s.end, 0);
    hg_value *p = hg_op_range(g, "places", begin, end, "sequence_length");
    p = hg_op_unsqueeze(g, "column", hg_op_cast(g, "places_real", p, HG_ONNX_FLOAT), 1);
    HG_AUTO(hg_auto_free) float *f = hg_calloc(half, sizeof *f);
    if (!f) hg_graph_fail(g, HANGAR_E_NO_MEMORY, "out of memory");
    for (uint32_t j = 0; f && j < half; j++) f[j] = (float)pow(10000, -2.0 * j / m->s.width);
    if (!f) return p;
    hg_value *freq =
        hg_graph_inline(g, "frequencies", HG_ONNX_FLOAT, HG_SHAPE(HG_DIM(half)), f, half * sizeof *f);
    hg_value *angle = hg_op_mul(g, "angles", p, freq);
    hg_value *both[] = {hg_op_unary(g, "Sin", "sin", angle), hg_op_unary(g, "Cos", "cos", angle)};
    hg_value *x = hg_op_cast(g, "real", hg_op_concat(g, "table", both, 2, 1), hg_graph_real(g));
    hg_graph_leave(g);
    return x;
}

/* Position rows [S, width]. */
static hg_value *positions(const bart *m, hg_build *b)
{
    const int64_t offset = OFFSET;
    if (m->kind->sinusoids && !hg_block_has(b, "embed_positions.weight")) return sinusoids(m, b);
    hg_value *begin = m->s.begin, *end = m->s.end;
    uint64_t rows = m->positions;
    if (!m->kind->sinusoids) {
        hg_value *skip = hg_graph_ints(b->g, &offset, 1);
        begin = hg_op_add(b->g, "first_row", begin, skip);
        end = hg_op_add(b->g, "last_row", end, skip);
        rows += OFFSET;
    }
    return hg_block_positions(b, "embed_positions", begin, end, rows, m->s.width);
}

/* What a stack begins with, as rows. The scope is the stack's, `token` its tokens' rows. */
static hg_value *embeddings(const bart *m, hg_build *b, hg_value *token)
{
    if (m->scaled) token = hg_op_scale(b->g, "embed_scale", token, sqrt((double)m->s.width));
    hg_value *x = hg_op_add(b->g, "add_positions", token, positions(m, b));
    if (m->kind->embedding_norm) x = hg_block_norm(b, "layernorm_embedding", x, m->s.width, EPS);
    return hg_op_rows(b->g, "rows", x);
}

/* ---- stacks ---- */

static hg_value *stack(bart *m, hg_build *b, const char *side, const hg_seq2seq_stack *t, uint32_t vocab)
{
    hg_value *token = hg_seq2seq_tokens(&m->s, b, side, vocab, m->prefix);
    hg_graph_enter(b->g, "%s", side);
    hg_stream x = hg_seq2seq_layers(&m->s, b, t, embeddings(m, b, token));
    if (m->kind->pre_norm) x.x = hg_block_stream_norm(b, "layer_norm", &x, m->s.width, EPS, true);
    hg_graph_leave(b->g);
    return x.x;
}

static hangar_code build_encoder(bart *m, hg_build *b, hangar_err *err)
{
    m->s.heads = m->encoder_heads;
    m->s.head_dim = m->s.width / m->s.heads;
    hangar_code code = hg_seq2seq_encoder(&m->s, b, "encoder_model", err);
    if (code != HANGAR_OK) return code;
    hg_seq2seq_output(&m->s, b, "last_hidden_state", stack(m, b, "encoder", &m->encoder, m->vocab),
                      m->s.width);
    return HANGAR_OK;
}

/* x token^T + final_logits_bias. */
static hg_value *head(const bart *m, hg_build *b, hg_value *x)
{
    char leaf[64];
    const char *table = m->tied ? hg_seq2seq_table(b, "decoder") : "lm_head";
    if (!m->tied) b->prefix = "";
    snprintf(leaf, sizeof leaf, "%s.weight", table);
    const hg_linear how = {.in = m->s.width, .out = m->decoder_vocab, .weight = leaf};
    x = hg_block_linear_of(b, "lm_head", x, &how);
    b->prefix = "";
    if (!hg_block_has(b, "final_logits_bias")) return x;
    const uint64_t shape[] = {1, m->decoder_vocab};
    return hg_op_add(b->g, "add_final_logits_bias", x, hg_block_param(b, "final_logits_bias", 2, shape));
}

static hangar_code build_decoder(bart *m, hg_build *b, hangar_err *err)
{
    m->s.heads = m->decoder_heads;
    m->s.head_dim = m->s.width / m->s.heads;
    hangar_code code = hg_seq2seq_decoder(&m->s, b, m->decoder.layers, true, err);
    if (code != HANGAR_OK) return code;
    hg_value *x = stack(m, b, "decoder", &m->decoder, m->decoder_vocab);
    hg_seq2seq_output(&m->s, b, "logits", head(m, b, x), m->decoder_vocab);
    hg_seq2seq_presents(&m->s, b);
    return HANGAR_OK;
}

/* Builds a model of the family. */
hangar_code hg_bart_build(const hg_bart_kind *kind, hg_build *b, hangar_err *err)
{
    bart m = {.kind = kind};
    read_config(&m, b);
    hangar_code code = hg_hfconfig_check(b->config, err);
    if (code != HANGAR_OK) return code;
    bool deep = hg_checkpoint_get(b->ck, "model.encoder.layers.0.fc1.weight", NULL) != NULL;
    m.prefix = deep ? "model." : "";
    code = build_encoder(&m, b, err);
    if (code == HANGAR_OK) code = build_decoder(&m, b, err);
    hg_seq2seq_deinit(&m.s);
    return code;
}

static hangar_code build(hg_build *b, hangar_err *err)
{
    static const char *const classes[] = {"BartForConditionalGeneration", "BartModel", NULL};
    static const hg_bart_kind kind = {.classes = classes,
                                      .embedding_norm = true,
                                      .act = "gelu",
                                      .positions = 1024};
    return hg_bart_build(&kind, b, err);
}

static hangar_code build_mbart(hg_build *b, hangar_err *err)
{
    static const char *const classes[] = {"MBartForConditionalGeneration", "MBartModel", NULL};
    static const hg_bart_kind kind = {
        .classes = classes, .pre_norm = true, .embedding_norm = true, .act = "gelu", .positions = 1024};
    return hg_bart_build(&kind, b, err);
}

const hg_arch hg_arch_bart = {.name = "bart", .build = build};
const hg_arch hg_arch_mbart = {.name = "mbart", .build = build_mbart};
