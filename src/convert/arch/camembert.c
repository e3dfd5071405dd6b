/* SPDX-License-Identifier: Apache-2.0 */
/* CamemBERT: a RoBERTa of French texts (Martin et al. 2019); the equations are in roberta.c. */
#include "convert/arch/roberta.h"
#include "convert/archs.h"

static hangar_code build(hg_build *b, hangar_err *err)
{
    return hg_roberta_build(b, "Camembert", err);
}

const hg_arch hg_arch_camembert = {.name = "camembert", .build = build};
