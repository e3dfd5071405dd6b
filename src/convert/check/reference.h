/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The independent reference: a plain forward pass of the source architecture, from its equations, in double precision.
 *
 * It shares no code with the graph builders (nothing of arch/ or graph/) and reads config.json by a small reader of its own, so that an
 * error in a builder is not repeated here. No cache of keys and values, no fused steps: everything at once over the whole sequence.
 * A configuration that changes the mathematics and is not known here is UNSUPPORTED, and the message names the key: then
 * a conversion is "not proved" instead of guessed at. docs/internals/proof.md says what is covered.
 */
#ifndef HG_CONVERT_CHECK_REFERENCE_H
#define HG_CONVERT_CHECK_REFERENCE_H

#include "base/job.h"
#include "base/json.h"
#include "convert/checkpoint.h"

#include <stddef.h>

#define HG_REF_ARRAYS_MAX 8
#define HG_REF_RANK_MAX   4
#define HG_REF_BYTES_MAX  ((uint64_t)3 << 30) /* of activations held at a time; more is LIMIT */
#define HG_REF_LENGTH_MAX \
    ((size_t)65536) /* batch * length, also of the other inputs' positions; more is LIMIT */
/* Multiply-adds per second that one core of a small machine does at least; the estimate of a time is work / this. */
#define HG_REF_SPEED 1.5e9

/* What a model is run on. All arrays are borrowed, row-major, and may be NULL where a model has no use for them. */
typedef struct hg_ref_input {
    size_t batch;             /* of everything below; 0 is taken as 1 */
    size_t length;            /* tokens per row; for encoder-decoders those of the decoder */
    const int64_t *ids;       /* [batch][length] */
    const int64_t *mask;      /* [batch][length]: 1 a token, 0 padding, left or right; NULL = all tokens */
    const int64_t *positions; /* [batch][length]; NULL = as the model makes them */
    const int64_t *types;     /* [batch][length] token types; NULL = all 0 */

    /* Encoder-decoders of text: the encoder's tokens, [batch][source_length]. */
    const int64_t *source, *source_mask;
    size_t source_length;
    /* Encoder-decoders: what the encoder gave, [batch][states_length][states_width = d_model]; then no encoder
     * is run. source_mask is its mask, if source_length = states_length. */
    const float *states;
    size_t states_length, states_width;
    /* Whisper: [batch][mels][frames], frames = 2 * max_source_positions. */
    const float *features;
    size_t mels, frames;
    /* Whisper: which positions of the encoder to answer; NULL = all. Only these need what the last layer does
     * behind its keys and values, as long as no ids ask for the decoder: 1500 positions are costly. */
    const size_t *rows;
    size_t row_count;
    /* Vision: [batch][channels][height][width]. */
    const float *pixels;
    size_t channels, height, width;
    /* wav2vec2: [batch][sample_count]. */
    const float *samples;
    size_t sample_count;

    /* Only the first n layers of each stack; 0 = all. Embeddings, the final norm and the head always. */
    uint32_t layers;
    double seconds;   /* TIMEOUT beyond; 0 = as long as it takes */
    unsigned threads; /* that it may use; 0 = one for each core. The numbers are the same with any */
} hg_ref_input;

typedef struct hg_ref_array {
    const char *name; /* as the graphs name it: "logits", "last_hidden_state", "start_logits", ... */
    double *data;
    size_t shape[HG_REF_RANK_MAX];
    size_t rank, count; /* count = product of the shape */
} hg_ref_array;

typedef struct hg_ref_output {
    hg_ref_array arrays[HG_REF_ARRAYS_MAX];
    size_t count;
    double work;    /* multiply-adds done */
    double seconds; /* that it took */
} hg_ref_output;

/* Whether the reference knows the architecture at all (a configuration of it may still be UNSUPPORTED). */
bool hg_ref_knows(const char *model_type);
/*
 * Runs the model; `config` is the root of config.json. What comes out, by kind:
 *   decoders            logits [b][t][vocab] (class ...ForCausalLM), last_hidden_state [b][t][d] (behind the final norm)
 *   encoders            last_hidden_state and, where the checkpoint has a pooler, pooler_output; with a head instead: logits, or
 *                       start_logits and end_logits
 *   whisper             last_hidden_state [b][rows][d] when features are given; logits when ids are given too
 *   t5, bart, marian    last_hidden_state of the encoder when source is given; logits when ids are given
 *   vit                 last_hidden_state or logits;  clip, siglip: text_embeds and/or image_embeds
 *   wav2vec2            logits or last_hidden_state
 * Values at padded positions mean nothing. UNSUPPORTED names the key; INVALID: a missing or misshapen tensor, a value out of range;
 * USAGE: an input that is missing or does not fit; TIMEOUT; LIMIT; CANCELLED by the job (may be NULL).
 * On failure `out` is empty.
 */
hangar_code hg_ref_run(const hg_checkpoint *ck, const hg_jval *config, const hg_ref_input *in,
                       hangar_job *job, hg_ref_output *out, hangar_err *err);
/* The multiply-adds that hg_ref_run would do, found by going through the same steps without data; errors as of hg_ref_run. */
hangar_code hg_ref_work(const hg_checkpoint *ck, const hg_jval *config, const hg_ref_input *in, double *out,
                        hangar_err *err);
/* The most layers (for hg_ref_input.layers; 0 = all) that fit into `seconds` on one core; at least 1, whatever it takes.
 * *out_seconds (may be NULL) is the time to expect. in->layers is not looked at. */
hangar_code hg_ref_layers(const hg_checkpoint *ck, const hg_jval *config, const hg_ref_input *in,
                          double seconds, uint32_t *out, double *out_seconds, hangar_err *err);
void hg_ref_output_deinit(hg_ref_output *out);
/* NULL when there is none of that name. */
const hg_ref_array *hg_ref_output_get(const hg_ref_output *out, const char *name);

#endif
