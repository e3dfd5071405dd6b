/* SPDX-License-Identifier: Apache-2.0 */
/* How long a text may be for an encoder, and what pads it. For the manager's own files only. */
#ifndef HG_MANAGER_TEXT_LIMITS_H
#define HG_MANAGER_TEXT_LIMITS_H

#include "format/tokenizer.h"
#include "manager/loaded.h"

/* Lowers *limit to a number of a file from 1 on; anything else ("no limit" is written as 1e30) leaves it. */
void hg_limit_lower(const hg_jval *number, size_t *limit);
/*
 * The shortest of what the table of positions (config: config.json, or its part on text), of which RoBERTa's kind leaves the first ones out,
 * and tokenizer_config.json allow; in tokens, special ones included. *pad is the configuration's, else the tokenizer's, else 0.
 */
hangar_code hg_text_limits(const hg_snapshot *snap, const hg_jval *config, const hg_tokenizer *tokenizer,
                           size_t *max_tokens, int64_t *pad, hangar_err *err);

#endif
