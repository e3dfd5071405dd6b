/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the report card of a converted model is made of: fixed inputs for any kind of model, and its graphs run on them. The inputs are
 * those of the independent reference (convert/check/reference.h), so that both are asked the same.
 */
#ifndef HG_MANAGER_PROOF_H
#define HG_MANAGER_PROOF_H

#include "convert/check/reference.h"
#include "manager/onnx_run.h"

/* Tokens of a test sequence, and of a source: so many that far relative positions differ from near ones; and of the second sequence of a padded
 * batch. A model of very few positions gets the lesser ones, and one whose angles change
 * with the length of what is beside a text. */
#define HG_PROOF_TOKENS      20
#define HG_PROOF_SHORT       13
#define HG_PROOF_TOKENS_LESS 8
#define HG_PROOF_SHORT_LESS  5
#define HG_PROOF_POSITIONS   32 /* that a model must have for the greater ones */
#define HG_PROOF_PIECES      8

/* How the graphs of a model are run. */
typedef enum hg_proof_kind {
    HG_PROOF_WHOLE,   /* "model": everything at once (encoders, vision, CTC) */
    HG_PROOF_DECODER, /* "model" with a cache: text that goes on */
    HG_PROOF_ENCDEC,  /* "encoder_model" and "decoder_model_merged" */
} hg_proof_kind;
hg_proof_kind hg_proof_kind_of(const hg_or_session *s);

/* An output; numbers of its own. */
typedef struct hg_proof_array {
    char name[64];
    float *data;
    size_t rank, count;
    int64_t shape[HG_OR_RANK_MAX];
} hg_proof_array;
#define HG_PROOF_ARRAYS_MAX 16
typedef struct hg_proof_output {
    hg_proof_array items[HG_PROOF_ARRAYS_MAX];
    size_t count;
} hg_proof_output;
void hg_proof_output_deinit(hg_proof_output *o);
const hg_proof_array *hg_proof_output_get(const hg_proof_output *o,
                                          const char *name); /* NULL: none of that name */

/*
 * Runs a model. Decoders are fed in pieces of these lengths, each with the cache of those before (NULL: all at once); their logits come out
 * as one array [batch, length, vocab]. Positions follow from the mask unless they are given. An encoder whose states are given is not run. Outputs that
 * are no F32 are left out.
 */
hangar_code hg_proof_run(hg_or_session *s, const hg_ref_input *in, const size_t *pieces, hg_proof_output *out,
                         hangar_err *err);

/* Makes what an encoder gave in `have` an input, borrowed, so that it need not run again; nothing where there is no encoder. */
void hg_proof_give_states(hg_ref_input *in, const hg_proof_output *have);

/* Positions [batch][length] as transformers makes them for a decoder: the number of real tokens before; 1 where there is padding. The caller's. */
int64_t *hg_proof_positions(const hg_ref_input *in);

/* What config.json says of a model's inputs. */
typedef struct hg_proof_facts {
    uint64_t vocab, pad, start; /* start: the decoder's first token */
    uint64_t layers;            /* of the longest stack; 0 = not known */
    uint64_t end[8];            /* end tokens */
    size_t end_count;
    size_t tokens, brief;           /* HG_PROOF_TOKENS and HG_PROOF_SHORT, or the lesser ones */
    uint64_t types;                 /* of tokens; 0 = there are none */
    size_t channels, height, width; /* of a picture */
    bool left;                      /* padding belongs left of the text */
} hg_proof_facts;
hangar_code hg_proof_facts_read(const hg_snapshot *snap, const hg_or_session *s, hg_proof_facts *out,
                                hangar_err *err);

/* Inputs with their memory. */
typedef struct hg_proof_input {
    hg_ref_input in;
    void *owned[12];
    size_t owned_count;
    size_t real
        [2]; /* tokens (of the padded side: those of the decoder, or of the source) that are no padding, by row */
    bool masked;  /* row 1 is padded */
    size_t sound; /* frames of a window that are no silence, of its last row; 0 = there is no window */
} hg_proof_input;
/*
 * Fixed inputs, neither all alike nor in order: `rows` (1 or 2) rows from row `first` on. With `padded`, row 1 is facts->brief long and
 * padded to the others' length where the model takes a mask; without, it is that short alone. Of a window of sound row 0 is full, row 1 is
 * a third of sound and silence behind it.
 */
hangar_code hg_proof_input_make(const hg_or_session *s, const hg_proof_facts *facts, size_t first,
                                size_t rows, bool padded, hg_proof_input *out, hangar_err *err);
/* Takes memory over, to be freed with the input; NULL (and freed) when there is no room. */
void *hg_proof_input_own(hg_proof_input *i, void *memory);
void hg_proof_input_deinit(hg_proof_input *i);

#endif
