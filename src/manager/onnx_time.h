/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast a loaded model is at what it is for (the operation "time" of engine/onnx_ops.h). What is measured, where the model's own positions
 * are fewer with as many as it has:
 *
 *   model                              prefill             batch       step                       score
 *   text encoders                      1 x 128 tokens      8 x 32                                 prefill + batch
 *   pictures (and text with them)      1 picture                                                  prefill
 *   sound to text at once (CTC)        10 s                                                       prefill
 *   text decoders                      1 x 128 tokens                  1 token behind 128         prefill + 64 steps
 *   encoder and decoder of text        1 x 128 and the first token     1 token behind 64          prefill + 64 steps
 *   Whisper                            5 s in a window and a prompt    1 token behind 64          prefill + 16 steps
 *
 * The prefill of the last two is the encoder, and the decoder's first call with what the encoder gave.
 *
 * Each number is the median of up to HG_TIME_REPEATS runs behind HG_TIME_WARM others.
 */
#ifndef HG_MANAGER_ONNX_TIME_H
#define HG_MANAGER_ONNX_TIME_H

#include "manager/proof.h"

#define HG_TIME_WARM    2
#define HG_TIME_REPEATS 15
#define HG_TIME_TOKENS  128
#define HG_TIME_BATCH   8
#define HG_TIME_SHORT   32
#define HG_TIME_PAST    64 /* of a decoder beside an encoder */
#define HG_TIME_STEPS   64
#define HG_TIME_SAMPLES 160000
/* A sentence that somebody says to Whisper: frames of 10 ms in a window that is filled up with silence, and about as many tokens as it has. */
#define HG_TIME_SOUND  500
#define HG_TIME_SAID   16
#define HG_TIME_PROMPT 4 /* tokens: start, language, task, no times */

/* Seconds; 0 = the model has no such thing. */
typedef struct hg_times {
    double prefill, batch, step;
    double steps; /* that count */
    double score;
} hg_times;
/* The middle one of n numbers, which are sorted for it (the mean of two when n is even); 0 for none. */
double hg_median(double *numbers, size_t n);
/* What a form costs at the model's main use, from the other members. */
double hg_times_score(const hg_times *t);

/* One run: `rows` sequences of `length` tokens behind `past` others, beside an encoder's `source` positions; or so much sound, or a picture. */
typedef struct hg_time_shape {
    const char *graph;
    int64_t rows, length, past, source;
    int64_t samples; /* 0 = HG_TIME_SAMPLES */
    const char *
        encoder; /* of a decoder's first call: the graph that gives it the states of `source` tokens; NULL = it is none */
} hg_time_shape;
/*
 * The call "time" for such runs of a graph, told by what its READY says of its inputs. Token ids are below facts->vocab; the size of a picture is
 * the graph's own where it has one, else that of the facts. UNSUPPORTED when it wants an input that is not known.
 */
hangar_code hg_time_call(const hg_or_session *s, const hg_proof_facts *facts, const hg_time_shape *shape,
                         int warm, int repeats, double seconds, char **out, hangar_err *err);

/*
 * Measures for at most `seconds` (each number takes two runs at least). UNSUPPORTED when the graph wants an input that is not known.
 */
hangar_code hg_onnx_measure(hg_or_session *s, const hg_snapshot *snap, double seconds, hg_times *out,
                            hangar_err *err);

#endif
