/* SPDX-License-Identifier: Apache-2.0 */
/* RoBERTa's graph, for the models that are RoBERTas by another name: their classes begin with `family`. */
#ifndef HG_CONVERT_ARCH_ROBERTA_H
#define HG_CONVERT_ARCH_ROBERTA_H

#include "convert/arch/encoder.h"

hangar_code hg_roberta_build(hg_build *b, const char *family, hangar_err *err);
/* The heads behind its layers, which MPNet has, too: lm_head for masked words, classifier for the rest. */
void hg_roberta_head(hg_encoder *m, hg_build *b, hg_value *x);

#endif
