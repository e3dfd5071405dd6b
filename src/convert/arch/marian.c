/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Marian: translation with an encoder and a decoder of post-norm layers (Junczys-Dowmunt et al. 2018, after Vaswani et al. 2017).
 *
 *   x = scale token[ids] + [sin(p f_0) .. sin(p f_d/2), cos(p f_0) .. cos(p f_d/2)],  f_j = 10000^(-2 j / d)
 *   layers and logits as BART has them (bart.c)
 */
#include "convert/arch/bart.h"
#include "convert/archs.h"

static hangar_code build(hg_build *b, hangar_err *err)
{
    static const char *const classes[] = {"MarianMTModel", "MarianModel", NULL};
    static const hg_bart_kind kind = {
        .classes = classes, .sinusoids = true, .two_tables = true, .act = "gelu", .positions = 1024};
    return hg_bart_build(&kind, b, err);
}

const hg_arch hg_arch_marian = {.name = "marian", .build = build};
