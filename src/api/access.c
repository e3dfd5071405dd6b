/* SPDX-License-Identifier: Apache-2.0 */
/* Who may ask: hosts, origins, secrets. Pure functions. */
#include "api/access.h"
#include "base/hash.h"
#include "base/mem.h"

#include <ctype.h>
#include <string.h>

/* SHA-256 of two pieces as bytes. */
static hangar_code sha256_pair(const void *a, size_t a_len, const void *b, size_t b_len, uint8_t out[32],
                               hangar_err *err)
{
    char hex[65];
    hg_hash *h = hg_hash_new(HG_HASH_SHA256, 0);
    if (!h) return hg_fail_memory(err);
    hg_hash_add(h, a, a_len);
    hg_hash_add(h, b, b_len);
    hangar_code code = hg_hash_finish(h, hex, err);
    hg_hash_free(h);
    if (code == HANGAR_OK && !hg_hex_decode(hg_str_of(hex), out, 32)) code = HG_BUG_ON(true, err);
    return code;
}

/* RFC 2104 over SHA-256. */
hangar_code hg_hmac(const uint8_t *key, size_t key_len, hg_str text, char out[65], hangar_err *err)
{
    uint8_t inner[64] = {0}, outer[64], digest[32];
    hangar_code code = HANGAR_OK;
    if (key_len > sizeof inner) {
        code = sha256_pair(key, key_len, "", 0, inner, err);
    } else {
        memcpy(inner, key, key_len);
    }
    for (size_t i = 0; i < sizeof inner; i++) {
        outer[i] = inner[i] ^ 0x5c;
        inner[i] ^= 0x36;
    }
    if (code == HANGAR_OK) code = sha256_pair(inner, sizeof inner, text.ptr, text.len, digest, err);
    if (code == HANGAR_OK) code = sha256_pair(outer, sizeof outer, digest, sizeof digest, digest, err);
    if (code == HANGAR_OK) hg_hex_encode(digest, sizeof digest, out);
    return code;
}

bool hg_equal_secret(hg_str a, hg_str b)
{
    uint8_t x[32], y[32];
    unsigned differ = 0;
    if (sha256_pair(a.ptr, a.len, "", 0, x, NULL) != HANGAR_OK ||
        sha256_pair(b.ptr, b.len, "", 0, y, NULL) != HANGAR_OK)
        return false;
    for (size_t i = 0; i < sizeof x; i++) differ |= (unsigned)(x[i] ^ y[i]);
    return differ == 0;
}

bool hg_host_local(const char *host, unsigned port)
{
    static const char *const names[] = {"127.0.0.1", "localhost", "[::1]"};
    if (!host) return false;
    for (size_t i = 0; i < HG_LEN(names); i++) {
        size_t len = strlen(names[i]);
        uint64_t given = 80;
        if (strncasecmp(host, names[i], len) != 0) continue;
        if (host[len] == ':' && !hg_u64_parse(hg_str_of(host + len + 1), &given)) return false;
        if (host[len] != ':' && host[len] != '\0') return false;
        return given == port;
    }
    return false;
}

bool hg_host_plain(const char *host)
{
    size_t len = host ? strlen(host) : 0;
    if (len == 0 || len > 255) return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)host[i]) && !strchr("-.:[]_", host[i])) return false;
    return true;
}

bool hg_origin_allowed(const char *origin, const char *host, const char *const *allowed, bool *out_cors)
{
    *out_cors = false;
    if (!origin) return true;
    if (strncmp(origin, "http://", 7) != 0 && strncmp(origin, "https://", 8) != 0) return false;
    for (size_t i = 0; allowed && allowed[i]; i++)
        if (!strcmp(allowed[i], origin)) *out_cors = true;
    return *out_cors || (host && !strncmp(origin, "http://", 7) && !strcasecmp(origin + 7, host));
}

bool hg_site_own(const char *site)
{
    return !site || !strcmp(site, "none") || !strcmp(site, "same-origin");
}

bool hg_bearer(const char *authorization, hg_str *out)
{
    if (!authorization || strncasecmp(authorization, "Bearer ", 7) != 0) return false;
    *out = hg_str_trim(hg_str_of(authorization + 7));
    return out->len > 0;
}
