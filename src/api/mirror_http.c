/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what clients send: targets, ranges, entity tags, hosts; and signing addresses. Pure functions. */
#include "api/mirror.h"
#include "base/mem.h"
#include "store/store.h"

#include <ctype.h>

/* One hex digit's value, or -1. */
static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool hg_url_decode(hg_str s, bool plus, char **at, hg_str *out)
{
    char *w = *at;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '%') {
            int high = s.len - i > 2 ? hex_value(s.ptr[i + 1]) : -1;
            int low = high < 0 ? -1 : hex_value(s.ptr[i + 2]);
            if (low < 0) return false;
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        if (c == '\0') return false;
        *w++ = c;
    }
    *out = (hg_str){*at, (size_t)(w - *at)};
    *w++ = '\0';
    *at = w;
    return true;
}

/* The query's pairs. */
static hangar_code parse_query(hg_str query, char **at, hg_target *out, hangar_err *err)
{
    while (query.len > 0) {
        hg_str pair, key;
        hg_str_cut(&query, '&', &pair);
        if (pair.len == 0) continue;
        if (out->param_count == HG_TARGET_PARAMS)
            return hg_fail(err, HANGAR_E_INVALID, "more than %d parameters", HG_TARGET_PARAMS);
        hg_str value = pair;
        hg_str_cut(&value, '=', &key);
        size_t n = out->param_count;
        if (!hg_url_decode(key, true, at, &out->key[n]) || !hg_url_decode(value, true, at, &out->value[n]))
            return hg_fail(err, HANGAR_E_INVALID, "malformed escape in the query");
        out->param_count++;
    }
    return HANGAR_OK;
}

hangar_code hg_target_parse(hg_str raw, hg_target *out, hangar_err *err)
{
    memset(out, 0, sizeof *out);
    if (raw.len > HG_MIRROR_TARGET_BYTES) return hg_fail(err, HANGAR_E_LIMIT, "the address is too long");
    if (raw.len == 0 || raw.ptr[0] != '/') return hg_fail(err, HANGAR_E_INVALID, "the address is not a path");
    /* Decoding only shrinks, and each part gets a NUL: at most two for each byte ("a&" is a key and an empty value). */
    out->text = malloc(2 * raw.len + 8);
    if (!out->text) return hg_fail_memory(err);
    char *at = out->text;
    hg_str path, query = raw;
    hg_str_cut(&query, '?', &path);
    path = (hg_str){path.ptr + 1, path.len - 1};
    for (bool more = true; more;) {
        hg_str segment;
        more = hg_str_cut(&path, '/', &segment);
        if (!more && segment.len == 0 && out->seg_count > 0) break; /* one slash at the end is nothing */
        if (out->seg_count == HG_TARGET_SEGMENTS)
            return hg_fail(err, HANGAR_E_INVALID, "more than %d parts in the path", HG_TARGET_SEGMENTS);
        if (!hg_url_decode(segment, false, &at, &out->seg[out->seg_count]))
            return hg_fail(err, HANGAR_E_INVALID, "malformed escape in the path");
        out->seg_count++;
    }
    return parse_query(query, &at, out, err);
}

void hg_target_deinit(hg_target *t)
{
    free(t->text);
    memset(t, 0, sizeof *t);
}

/* The index of a key, or the number of parameters. */
static size_t find_param(const hg_target *t, const char *key)
{
    size_t i = 0;
    while (i < t->param_count && !hg_str_eq(t->key[i], hg_str_of(key))) i++;
    return i;
}

hg_str hg_target_param(const hg_target *t, const char *key)
{
    size_t i = find_param(t, key);
    return i < t->param_count ? t->value[i] : HG_STR("");
}

bool hg_target_has(const hg_target *t, const char *key)
{
    return find_param(t, key) < t->param_count;
}

bool hg_target_flag(const hg_target *t, const char *key)
{
    size_t i = find_param(t, key);
    if (i == t->param_count) return false;
    hg_str v = t->value[i];
    return v.len == 0 || hg_str_eq(v, HG_STR("true")) || hg_str_eq(v, HG_STR("True")) ||
           hg_str_eq(v, HG_STR("1"));
}

bool hg_target_match(const hg_target *t, const char *pattern, size_t *out_rest)
{
    hg_str rest = hg_str_of(pattern);
    size_t i = 0;
    for (bool more = true; more; i++) {
        hg_str word;
        more = hg_str_cut(&rest, '/', &word);
        if (hg_str_eq(word, HG_STR("*"))) {
            *out_rest = i;
            return true;
        }
        if (i >= t->seg_count) return false;
        if (!hg_str_eq(word, HG_STR(":")) && !hg_str_eq(word, t->seg[i])) return false;
    }
    *out_rest = i;
    return i == t->seg_count;
}

void hg_target_join(const hg_target *t, size_t first, hg_buf *out)
{
    for (size_t i = first; i < t->seg_count; i++) {
        if (i > first) hg_buf_putc(out, '/');
        hg_buf_str(out, t->seg[i]);
    }
}

hg_range_kind hg_range_parse(const char *header, uint64_t size, uint64_t *out_first, uint64_t *out_length)
{
    hg_str s = hg_str_of(header), first;
    if (!header || size == 0 || !hg_str_starts(s, HG_STR("bytes="))) return HG_RANGE_NONE;
    s = hg_str_trim((hg_str){s.ptr + 6, s.len - 6});
    if (!hg_str_cut(&s, '-', &first)) return HG_RANGE_NONE;
    uint64_t a = 0, b = size - 1;
    if (first.len == 0) {
        uint64_t tail;
        if (!hg_u64_parse(s, &tail)) return HG_RANGE_NONE;
        if (tail == 0) return HG_RANGE_BAD;
        a = tail < size ? size - tail : 0;
    } else {
        if (!hg_u64_parse(first, &a) || (s.len > 0 && !hg_u64_parse(s, &b))) return HG_RANGE_NONE;
        if (s.len > 0 && b < a) return HG_RANGE_NONE;
        if (a >= size) return HG_RANGE_BAD;
        if (b >= size) b = size - 1;
    }
    *out_first = a;
    *out_length = b - a + 1;
    return HG_RANGE_PART;
}

bool hg_etag_listed(const char *header, const char *tag, bool weak)
{
    hg_str rest = hg_str_of(header);
    if (!header) return false;
    for (bool more = true; more;) {
        hg_str item;
        more = hg_str_cut(&rest, ',', &item);
        item = hg_str_trim(item);
        if (hg_str_eq(item, HG_STR("*"))) return true;
        if (hg_str_starts(item, HG_STR("W/"))) {
            if (!weak) continue;
            item = (hg_str){item.ptr + 2, item.len - 2};
        }
        if (item.len >= 2 && item.ptr[0] == '"' && item.ptr[item.len - 1] == '"' &&
            hg_str_eq((hg_str){item.ptr + 1, item.len - 2}, hg_str_of(tag)))
            return true;
    }
    return false;
}

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

bool hg_repo_word(hg_str s)
{
    return (s.len == 0 || !memchr(s.ptr, '/', s.len)) && hg_repo_check(s, NULL) == HANGAR_OK;
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
