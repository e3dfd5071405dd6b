/* SPDX-License-Identifier: Apache-2.0 */
/* What a conversion makes of the weights: one line each in forms.def. */
#ifndef HG_CONVERT_FORM_H
#define HG_CONVERT_FORM_H

#include "graph/graph.h"

typedef enum hg_form_linear {
    HG_LINEAR_PLAIN,   /* the weights as they are */
    HG_LINEAR_DYNAMIC, /* 8 bits, one scale per output; the input is quantized to 8 bits at each run */
    HG_LINEAR_BLOCKS,  /* 4 or 8 bits, one scale per block of a row (MatMulNBits) */
} hg_form_linear;

typedef struct hg_form {
    const char *name;      /* "f32", "int8", ...: as a person says it, and the end of the artifact's name */
    const char *suffix;    /* of the file names for other tools: "", "_int8", "_q4", "_fp16" */
    const char *dtype;     /* what transformers.js calls it: "fp32", "int8", "q4", "fp16" */
    hg_onnx_type real;     /* of the activations */
    hg_form_linear linear; /* what becomes of a Linear's matrix */
    unsigned bits, block;  /* BLOCKS: of one number; numbers of one block */
    double drift;          /* how far answers may be from those of the weights as they were: relative L2 */
    double
        wobble; /* how far answers to the same may be apart (alone, in a batch, in steps), to their scale */
    bool
        rewrite; /* every other weight is written anew in the real type; else it stays where it is and 16 bits are cast at load */
    unsigned
        silence; /* of a sound in a longer window: so many positions of the silence behind it are computed as one; 0 = all are */
    const char *words; /* one line for people */
} hg_form;

/* How far the graphs, and the engine that loads them, are optimized. */
typedef enum hg_level {
    HG_LEVEL_O2, /* fused graphs, and whatever the engine knows: the default */
    HG_LEVEL_O0, /* the operators of the standard alone, run as they stand */
    HG_LEVEL_O1, /* the same, and what the engine simplifies without operators of its own */
} hg_level;
bool hg_level_get(const char *name, hg_level *out); /* "O0", ...; false when there is none of that name */
const char *hg_level_name(hg_level level);

/* By name; NULL when there is none. The first line of forms.def is the default. */
const hg_form *hg_form_get(const char *name);
const hg_form *hg_form_at(size_t index); /* NULL behind the last */

#endif
