/* SPDX-License-Identifier: Apache-2.0 */
/* XLM-RoBERTa: a RoBERTa of a hundred languages (Conneau et al. 2019); the equations are in roberta.c. */
#include "convert/arch/roberta.h"
#include "convert/archs.h"

static hangar_code build(hg_build *b, hangar_err *err)
{
    return hg_roberta_build(b, "XLMRoberta", err);
}

const hg_arch hg_arch_xlm_roberta = {.name = "xlm-roberta", .build = build};
