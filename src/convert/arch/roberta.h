/* SPDX-License-Identifier: Apache-2.0 */
/* RoBERTa's graph, for the models that are RoBERTas by another name: their classes begin with `family`. */
#ifndef HG_CONVERT_ARCH_ROBERTA_H
#define HG_CONVERT_ARCH_ROBERTA_H

#include "convert/arch.h"

hangar_code hg_roberta_build(hg_build *b, const char *family, hangar_err *err);

#endif
