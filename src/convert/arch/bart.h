/* SPDX-License-Identifier: Apache-2.0 */
/* BART and its kin: one builder, told how they differ. */
#ifndef HG_CONVERT_ARCH_BART_H
#define HG_CONVERT_ARCH_BART_H

#include "convert/arch/seq2seq.h"

typedef struct hg_bart_kind {
    const char *const *classes; /* that make texts; NULL-terminated */
    bool pre_norm; /* norms before the parts of a layer, and one behind the last layer; else behind them */
    bool embedding_norm; /* layernorm_embedding */
    bool sinusoids;      /* positions are computed; else a table, whose rows begin with 2 unused ones */
    bool two_tables;     /* share_encoder_decoder_embeddings may be false */
    const char *act;     /* default of activation_function */
    uint32_t positions;  /* default of max_position_embeddings */
} hg_bart_kind;

/* Builds encoder_model and decoder_model_merged. */
hangar_code hg_bart_build(const hg_bart_kind *kind, hg_build *b, hangar_err *err);

#endif
