/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests: SHA-256 (LFS files, blobs of 64 digits) and git's SHA-1 over "blob SIZE\0" + content (all other
 * files, blobs of 40 digits). The only file pair that knows the digest library (libcrypto).
 */
#ifndef HG_BASE_HASH_H
#define HG_BASE_HASH_H

#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

typedef enum hg_hash_kind { HG_HASH_SHA256, HG_HASH_GIT_SHA1, HG_HASH_SHA1 } hg_hash_kind;

/* A parsed digest. A digest becomes a file name only by way of this struct. */
typedef struct hg_oid {
    hg_hash_kind kind; /* SHA256 or GIT_SHA1 */
    char hex[65];      /* lower case, 64 or 40 digits, NUL-terminated */
} hg_oid;

/* Exactly 64 or 40 lower-case hex digits; INVALID for everything else (asterisks, prefixes, upper case, ...). */
hangar_code hg_oid_parse(hg_str text, hg_oid *out, hangar_err *err);
bool hg_oid_eq(const hg_oid *a, const hg_oid *b);

typedef struct hg_hash hg_hash;
/* `size` is the content's whole length; only GIT_SHA1 looks at it. NULL when out of memory. */
hg_hash *hg_hash_new(hg_hash_kind kind, uint64_t size);
void hg_hash_free(hg_hash *h);
void hg_hash_auto_free(hg_hash **h); /* for HG_AUTO */
void hg_hash_add(hg_hash *h, const void *bytes, size_t len);
/* Ends the hash; out gets 64 or 40 hex digits and NUL. May be called once. */
hangar_code hg_hash_finish(hg_hash *h, char out[65], hangar_err *err);

#endif
