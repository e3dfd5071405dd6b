/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mixture of experts (Shazeer et al. 2017): each token goes through `chosen` of `count` gated MLPs.
 *
 *   p = softmax(router x);  y = sum over the largest p_e of p_e expert_e(x), p_e perhaps divided by their sum
 *
 * No weight is copied: every expert is a gated MLP over the tensors of the checkpoint. Tokens are sorted by expert, cut into one piece for
 * each (which may be empty), and taken back to their places: an expert works on the tokens that chose it and on no others.
 */
#ifndef HG_CONVERT_ARCH_EXPERTS_H
#define HG_CONVERT_ARCH_EXPERTS_H

#include "convert/arch/blocks.h"

#define HG_EXPERTS_MAX 512

typedef struct hg_experts {
    uint32_t count, chosen;
    uint64_t width, inner;
    hg_act act;
    bool normalized;              /* the chosen p_e are divided by their sum */
    const char *router, *stack;   /* modules in the present scope: "gate", "experts" */
    const char *gate, *up, *down; /* of an expert: down(act(gate x) * up x) */
} hg_experts;

/* Rows x [N, width] to rows y [N, width]. */
hg_value *hg_block_experts(hg_build *b, const hg_experts *e, hg_value *x);

#endif
