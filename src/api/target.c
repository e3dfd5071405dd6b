/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a request's target. Pure functions. */
#include "api/target.h"
#include "base/mem.h"

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

/* One block for the three tables and the text behind them. Decoding only shrinks, and each part gets a NUL: at most two for each byte
 * ("a&" is a key and an empty value). Returns where the text begins; NULL when out of memory. */
static char *make_room(hg_str raw, hg_target *out)
{
    size_t segments = 1, params = 1;
    for (size_t i = 0; i < raw.len; i++) {
        if (raw.ptr[i] == '/') segments++;
        if (raw.ptr[i] == '&') params++;
    }
    if (segments > HG_TARGET_SEGMENTS) segments = HG_TARGET_SEGMENTS;
    if (params > HG_TARGET_PARAMS) params = HG_TARGET_PARAMS;
    out->seg = malloc((segments + 2 * params) * sizeof *out->seg + 2 * raw.len + 8);
    if (!out->seg) return NULL;
    out->key = out->seg + segments;
    out->value = out->key + params;
    return (char *)(out->value + params);
}

hangar_code hg_target_parse(hg_str raw, hg_target *out, hangar_err *err)
{
    memset(out, 0, sizeof *out);
    if (raw.len > HG_TARGET_BYTES)
        return hg_fail(err, HANGAR_E_LIMIT, "the address is longer than %zu bytes", HG_TARGET_BYTES);
    if (raw.len == 0 || raw.ptr[0] != '/') return hg_fail(err, HANGAR_E_INVALID, "the address is not a path");
    char *at = make_room(raw, out);
    if (!at) return hg_fail_memory(err);
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
    free(t->seg);
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
