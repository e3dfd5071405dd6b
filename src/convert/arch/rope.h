/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rotary positions (Su et al. 2021) as config.json describes them: position p turns pair j of a head's first `dim` numbers by the angle
 * p f(j), f(j) = theta^(-2j / dim), in one of these kinds:
 *
 *   linear    f / factor
 *   dynamic   theta grows with the length, beyond max_position_embeddings (NTK-aware)
 *   llama3    slow angles / factor, fast ones as they are, a smooth blend between
 *   yarn      the same with a ramp over j, and cos and sin times a factor (Peng et al. 2023)
 *   longrope  f / short_factor[j], or / long_factor[j] for texts longer than the original length (Ding et al. 2024)
 *
 * The old spelling is rope_theta and rope_scaling {type or rope_type, ...}, the new one rope_parameters {rope_theta, rope_type, ...}.
 */
#ifndef HG_CONVERT_ARCH_ROPE_H
#define HG_CONVERT_ARCH_ROPE_H

#include "convert/arch.h"
#include "graph/ops.h"

typedef enum hg_rope_kind {
    HG_ROPE_DEFAULT,
    HG_ROPE_LINEAR,
    HG_ROPE_DYNAMIC,
    HG_ROPE_LLAMA3,
    HG_ROPE_YARN,
    HG_ROPE_LONG
} hg_rope_kind;

#define HG_ROPE_DIM_MAX 4096

typedef struct hg_rope {
    hg_rope_kind kind;
    uint32_t dim;      /* how many of a head's numbers turn */
    uint32_t head_dim; /* of all */
    double theta, partial, factor;
    double trained; /* original_max_position_embeddings, else max_position_embeddings */
    double outer; /* what the file says of `trained` beside the dictionary, which counts more; 0 = nothing */
    double most;  /* max_position_embeddings */
    double low, high;            /* llama3 */
    double fast, slow;           /* yarn */
    double scale;                /* of cos and sin */
    bool truncate;               /* yarn */
    const hg_jval *brief, *wide; /* longrope's factors: dim / 2 numbers each */
} hg_rope;

/* What holds where config.json says nothing. */
typedef struct hg_rope_defaults {
    double theta, partial;
    uint32_t head_dim, positions; /* a head's width, max_position_embeddings */
} hg_rope_defaults;

/* Reads the rotary positions; errors are left in c. */
void hg_rope_read(hg_rope *r, hg_hfconfig *c, const hg_rope_defaults *def);
/* The same for models with one kind for each type of layer: `type` is the entry of rope_parameters. Where there is no rope_parameters the
 * old spelling holds if `scaled`, else the defaults. */
void hg_rope_read_of(hg_rope *r, hg_hfconfig *c, const char *type, const hg_rope_defaults *def, bool scaled);
/* cos and sin for these positions (int64 [B, S]), made once under the scope `name`. */
hg_rotary hg_rope_make(hg_build *b, const char *name, const hg_rope *r, hg_value *positions);

#endif
