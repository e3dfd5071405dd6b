/* SPDX-License-Identifier: Apache-2.0 */
/* What Unicode knows of characters, for rooms above (tok_uni.c). */
#ifndef HG_FORMAT_UNI_H
#define HG_FORMAT_UNI_H

#include "base/buf.h"

/* Character by character, as Rust does it: no final sigma. */
void hg_uni_lower(hg_str text, hg_buf *out);

#endif
