/* SPDX-License-Identifier: Apache-2.0 */
/* The algorithms are looked up once and kept until the process ends; a digest after that costs one context. */
#include "base/hash.h"

#include "base/mem.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>

struct hg_hash {
    EVP_MD_CTX *ctx;
    bool broken; /* libcrypto said no, or the hash has ended */
};

static EVP_MD *sha256_md, *sha1_md;
static pthread_once_t md_once = PTHREAD_ONCE_INIT;

static void fetch_mds(void)
{
    sha256_md = EVP_MD_fetch(NULL, "SHA256", NULL);
    sha1_md = EVP_MD_fetch(NULL, "SHA1", NULL);
}

hangar_code hg_oid_parse(hg_str text, hg_oid *out, hangar_err *err)
{
    if (!hg_hex_is(text, 64) && !hg_hex_is(text, 40)) {
        char shown[80];
        hg_escape(text, shown, sizeof shown);
        return hg_fail(err, HANGAR_E_INVALID, "'%s' is no digest of 64 or 40 lower-case hex digits", shown);
    }
    *out = (hg_oid){.kind = text.len == 64 ? HG_HASH_SHA256 : HG_HASH_GIT_SHA1};
    memcpy(out->hex, text.ptr, text.len);
    return HANGAR_OK;
}

bool hg_oid_eq(const hg_oid *a, const hg_oid *b)
{
    return a->kind == b->kind && strcmp(a->hex, b->hex) == 0;
}

hg_hash *hg_hash_new(hg_hash_kind kind, uint64_t size)
{
    pthread_once(&md_once, fetch_mds);
    const EVP_MD *md = kind == HG_HASH_SHA256 ? sha256_md : sha1_md;
    hg_hash *h = hg_calloc(1, sizeof *h);
    if (!h) return NULL;
    h->ctx = EVP_MD_CTX_new();
    if (!h->ctx || !md || EVP_DigestInit_ex2(h->ctx, md, NULL) != 1) {
        hg_hash_free(h);
        return NULL;
    }
    if (kind == HG_HASH_GIT_SHA1) {
        char head[32];
        int len = snprintf(head, sizeof head, "blob %" PRIu64, size);
        hg_hash_add(h, head, (size_t)len + 1); /* git hashes the NUL too */
    }
    return h;
}

void hg_hash_free(hg_hash *h)
{
    if (!h) return;
    EVP_MD_CTX_free(h->ctx);
    free(h);
}

void hg_hash_auto_free(hg_hash **h)
{
    hg_hash_free(*h);
}

void hg_hash_add(hg_hash *h, const void *bytes, size_t len)
{
    if (h->broken || len == 0) return;
    h->broken = EVP_DigestUpdate(h->ctx, bytes, len) != 1;
}

hangar_code hg_hash_finish(hg_hash *h, char out[65], hangar_err *err)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (h->broken || EVP_DigestFinal_ex(h->ctx, digest, &len) != 1 || len > 32)
        return hg_fail(err, HANGAR_E_INTERNAL, "libcrypto could not compute a digest");
    h->broken = true;
    hg_hex_encode(digest, len, out);
    return HANGAR_OK;
}
