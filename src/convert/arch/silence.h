/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The silence behind a sound, sampled. Whisper hears windows of half a minute; a shorter sound is filled up with silence, and attention from
 * every position to every other costs the same. But behind the sound all frames are one and the same, and what the positions there hold differs
 * only by their places. So of each `every` of them the one in the middle is computed and stands for all: to its score the logarithm
 * of their number is added, which is that softmax over as many equal keys,
 *
 *   every exp(q k) v / (every exp(q k) + ..) = exp(q k + log every) v / (exp(q k + log every) + ..)
 *
 * and the sum over the silence becomes a sum over samples of it. At the end each position gets the state of the one that stood for it, so
 * that the graph's inputs and outputs are what they were. The sound itself and some positions behind it are computed as ever; so is the whole window when
 * the silence is less than about two fifths of it.
 *
 * Where the sound ends is found by the graph: behind it every frame equals the last one, bit by bit, as features of zeros do. In a batch the longest
 * counts.
 */
#ifndef HG_CONVERT_ARCH_SILENCE_H
#define HG_CONVERT_ARCH_SILENCE_H

#include "convert/arch/blocks.h"

typedef struct hg_silence {
    hg_value *mel;     /* [B, mels, F]: the frames that are needed */
    hg_value *dense;   /* int64 scalar: how many positions are computed as ever; samples are behind them */
    hg_value *kept;    /* int64 [K]: the positions that are computed */
    hg_value *weights; /* real [1, 1, 1, K]: the logarithm of how many positions each stands for */
    hg_value *sampled; /* bool [1]: there are samples */
    hg_value *spread;  /* int64 [positions]: the place of each position among the kept ones */
} hg_silence;

/* mel is [B, mels, 2 positions]; two convolutions of 3 frames follow, the second of which makes one position of two. `every` > 1. */
hg_silence hg_silence_find(hg_build *b, hg_value *mel, int64_t positions, int64_t every);
/* What the convolutions made of hg_silence.mel, [B, F / 2, width], at the kept positions: [B, K, width]. */
hg_value *hg_silence_keep(hg_build *b, const hg_silence *s, hg_value *x);
/* Attention of the kept positions to each other. */
hg_value *hg_silence_attention(hg_build *b, const hg_silence *s, const hg_attention *a);
/* [B, K, width] as [B, positions, width]. */
hg_value *hg_silence_spread(hg_build *b, const hg_silence *s, hg_value *x);

/*
 * The other side: of such states, the decoder's keys and values are the same for as many positions. So they are made of rows that differ from the
 * one before, and copied: the same numbers in less time. Found anew by comparing, so that states from elsewhere are right, too.
 */
typedef struct hg_repeats {
    hg_value *rows; /* int64 [K]: the rows that differ from the one before, in any of a batch */
    hg_value *of;   /* int64 [T]: for each row its place among those */
} hg_repeats;
/* h is [B, T, width]; `cached` (bool [1]) says that nobody will ask: both are empty then. */
hg_repeats hg_repeats_find(hg_build *b, hg_value *h, hg_value *cached);

#endif
