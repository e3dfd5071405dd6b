/* SPDX-License-Identifier: Apache-2.0 */
/* What a request asks for, parsed once: whoever decides about it looks at the same parts. */
#ifndef HG_API_TARGET_H
#define HG_API_TARGET_H

#include "base/buf.h"

#define HG_TARGET_BYTES    (8 * HG_KIB) /* of path and query, else 414 */
#define HG_TARGET_SEGMENTS 48
#define HG_TARGET_PARAMS   64

/* The path cut at its slashes and the query, each part percent-decoded once. */
typedef struct hg_target {
    hg_str *seg; /* one block holds all; each part is NUL-terminated */
    size_t seg_count;
    hg_str *key;
    hg_str *value;
    size_t param_count;
} hg_target;

/* INVALID for a target that does not begin with a slash, has a broken escape, a NUL, or too many parts; LIMIT. */
hangar_code hg_target_parse(hg_str raw, hg_target *out, hangar_err *err);
void hg_target_deinit(hg_target *t);
/* The first value of a key (empty when missing); hg_target_has tells whether it is there. */
hg_str hg_target_param(const hg_target *t, const char *key);
bool hg_target_has(const hg_target *t, const char *key);
/* "true", "1" or an empty value ("?recursive"). */
bool hg_target_flag(const hg_target *t, const char *key);
/* Matches "api/models/:/:/tree/:/" + "*" (any rest, also none): ':' is one segment, a word itself. *out_rest is the index where the
 * rest begins. */
bool hg_target_match(const hg_target *t, const char *pattern, size_t *out_rest);
/* Segments from `first` on, joined by slashes, into `out`. */
void hg_target_join(const hg_target *t, size_t first, hg_buf *out);

/* Decodes %XX (and + as a space, when asked for) from s to *at, which has room for s.len + 1, ends it with NUL and moves *at behind that. False
 * for a malformed escape or a NUL. */
bool hg_url_decode(hg_str s, bool plus, char **at, hg_str *out);

#endif
