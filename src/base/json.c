/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading JSON. Before the parser sees a text, one pass over its bytes, without memory, measures how deep it nests; a
 * text that is too long or too deep never costs more than that pass. An hg_json is the parser's document and an
 * hg_jval its value under another name: only this file and json_write.c convert between them.
 */
#include "base/json_yy.h"

#include "base/mem.h"

#include <math.h>
#include <stdarg.h>

#define DEFAULT_BYTES ((size_t)64 << 20)
#define DEFAULT_DEPTH 64u

/* ---- limits and places ---- */

/* "line 3, column 7" of a byte position; columns count characters. */
static void place_of(hg_str text, size_t pos, unsigned long *line, unsigned long *column)
{
    *line = 1;
    *column = 1;
    for (size_t i = 0; i < pos && i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c == '\n') {
            ++*line;
            *column = 1;
        } else if ((c & 0xc0) != 0x80) {
            ++*column;
        }
    }
}

static hangar_code fail_at(hg_str text, size_t pos, hangar_code code, const char *words, hangar_err *err)
{
    unsigned long line, column;
    if (!err) return code;
    place_of(text, pos, &line, &column);
    return hg_fail(err, code, "line %lu, column %lu: %s", line, column, words);
}

/* Where the nesting first goes over `max`; text.len when it never does. Brackets inside strings do not count. */
static size_t too_deep_at(hg_str text, unsigned max)
{
    const char *p = text.ptr, *end = text.ptr + text.len;
    size_t depth = 0;
    for (; p < end; p++) {
        if (*p == '"') {
            for (p++; p < end && *p != '"'; p++)
                if (*p == '\\') p++;
        } else if (*p == '[' || *p == '{') {
            if (++depth > max) return (size_t)(p - text.ptr);
        } else if ((*p == ']' || *p == '}') && depth) {
            depth--;
        }
    }
    return text.len;
}

/* ---- repeated keys ---- */

static int by_key(const void *a, const void *b)
{
    yyjson_val *x = *(yyjson_val *const *)a, *y = *(yyjson_val *const *)b;
    size_t xl = unsafe_yyjson_get_len(x), yl = unsafe_yyjson_get_len(y);
    if (xl != yl) return xl < yl ? -1 : 1;
    return memcmp(unsafe_yyjson_get_str(x), unsafe_yyjson_get_str(y), xl);
}

/* INVALID, naming it, when an object has a key twice. */
static hangar_code check_object(yyjson_val *obj, hangar_err *err)
{
    size_t count = unsafe_yyjson_get_len(obj), n = 0;
    if (count < 2) return HANGAR_OK;
    HG_AUTO(hg_auto_free) yyjson_val **keys = hg_calloc(count, sizeof(yyjson_val *));
    if (!keys) return hg_fail_memory(err);
    yyjson_obj_iter it = yyjson_obj_iter_with(obj);
    for (yyjson_val *key; n < count && (key = yyjson_obj_iter_next(&it)) != NULL;) keys[n++] = key;
    qsort(keys, n, sizeof(yyjson_val *), by_key);
    for (size_t i = 1; i < n; i++) {
        if (by_key(&keys[i - 1], &keys[i]) != 0) continue;
        char shown[64];
        hg_escape((hg_str){unsafe_yyjson_get_str(keys[i]), unsafe_yyjson_get_len(keys[i])}, shown,
                  sizeof shown);
        return hg_fail(err, HANGAR_E_INVALID, "the key '%s' is there twice", shown);
    }
    return HANGAR_OK;
}

/* All values of a document lie one behind the other: no recursion is needed to see every object. */
static hangar_code check_keys(yyjson_doc *doc, hangar_err *err)
{
    yyjson_val *first = yyjson_doc_get_root(doc);
    size_t count = yyjson_doc_get_val_count(doc);
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; code == HANGAR_OK && i < count; i++)
        if (unsafe_yyjson_is_obj(first + i)) code = check_object(first + i, err);
    return code;
}

/* ---- documents ---- */

hangar_code hg_json_parse(hg_str text, const hg_json_limits *limits, hg_json **out, hangar_err *err)
{
    size_t bytes = limits && limits->bytes ? limits->bytes : DEFAULT_BYTES;
    unsigned depth = limits && limits->depth ? limits->depth : DEFAULT_DEPTH;
    if (text.len > bytes)
        return hg_fail(err, HANGAR_E_LIMIT, "JSON of %zu bytes is over the limit of %zu bytes", text.len,
                       bytes);
    if (text.len == 0) return hg_fail(err, HANGAR_E_INVALID, "no JSON: empty");
    size_t deep = too_deep_at(text, depth);
    if (deep < text.len) {
        char words[64];
        snprintf(words, sizeof words, "JSON nested deeper than %u levels", depth);
        return fail_at(text, deep, HANGAR_E_LIMIT, words, err);
    }
    yyjson_read_err why = {0};
    yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)text.ptr, text.len, YYJSON_READ_NOFLAG, NULL, &why);
    if (!doc && why.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION) return hg_fail_memory(err);
    if (!doc) return fail_at(text, why.pos, HANGAR_E_INVALID, why.msg ? why.msg : "not JSON", err);
    hangar_code code = limits && limits->unique_keys ? check_keys(doc, err) : HANGAR_OK;
    if (code != HANGAR_OK) {
        yyjson_doc_free(doc);
        return code;
    }
    *out = (hg_json *)doc;
    return HANGAR_OK;
}

void hg_json_free(hg_json *doc)
{
    yyjson_doc_free((yyjson_doc *)doc);
}

void hg_json_auto_free(hg_json **doc)
{
    hg_json_free(*doc);
}

const hg_jval *hg_json_root(const hg_json *doc)
{
    return (const hg_jval *)yyjson_doc_get_root((yyjson_doc *)(uintptr_t)doc);
}

/* ---- values ---- */

const hg_jval *hg_json_get(const hg_jval *obj, const char *key)
{
    return (const hg_jval *)yyjson_obj_get(hg_json_yy(obj), key);
}

const hg_jval *hg_json_path(const hg_jval *obj, ...)
{
    va_list keys;
    va_start(keys, obj);
    for (const char *key; obj && (key = va_arg(keys, const char *)) != NULL;) obj = hg_json_get(obj, key);
    va_end(keys);
    return obj;
}

const hg_jval *hg_json_at(const hg_jval *arr, size_t index)
{
    return (const hg_jval *)yyjson_arr_get(hg_json_yy(arr), index);
}

size_t hg_json_len(const hg_jval *v)
{
    yyjson_val *val = hg_json_yy(v);
    return yyjson_is_ctn(val) ? unsafe_yyjson_get_len(val) : 0;
}

bool hg_json_is_object(const hg_jval *v)
{
    return yyjson_is_obj(hg_json_yy(v));
}

bool hg_json_is_array(const hg_jval *v)
{
    return yyjson_is_arr(hg_json_yy(v));
}

bool hg_json_is_string(const hg_jval *v)
{
    return yyjson_is_str(hg_json_yy(v));
}

bool hg_json_is_number(const hg_jval *v)
{
    return yyjson_is_num(hg_json_yy(v));
}

bool hg_json_is_real(const hg_jval *v)
{
    return yyjson_is_real(hg_json_yy(v));
}

bool hg_json_is_null(const hg_jval *v)
{
    return !v || yyjson_is_null(hg_json_yy(v));
}

bool hg_json_is_bool(const hg_jval *v)
{
    return yyjson_is_bool(hg_json_yy(v));
}

bool hg_json_bool(const hg_jval *v, bool *out)
{
    if (!hg_json_is_bool(v)) return false;
    *out = yyjson_get_bool(hg_json_yy(v));
    return true;
}

/* A real number that is an integer which a double holds exactly ("1e3", "2.0"). */
static bool whole_real(yyjson_val *val, int64_t *out)
{
    if (!yyjson_is_real(val)) return false;
    double d = yyjson_get_real(val);
    if (!(fabs(d) <= 0x1p53) || d != trunc(d)) return false;
    *out = (int64_t)d;
    return true;
}

bool hg_json_u64(const hg_jval *v, uint64_t *out)
{
    yyjson_val *val = hg_json_yy(v);
    int64_t whole;
    if (yyjson_is_uint(val)) *out = yyjson_get_uint(val);
    else if (yyjson_is_sint(val) && yyjson_get_sint(val) >= 0)
        *out = (uint64_t)yyjson_get_sint(val); /* "-0" */
    else if (whole_real(val, &whole) && whole >= 0) *out = (uint64_t)whole;
    else return false;
    return true;
}

bool hg_json_i64(const hg_jval *v, int64_t *out)
{
    yyjson_val *val = hg_json_yy(v);
    int64_t whole;
    if (yyjson_is_uint(val) && yyjson_get_uint(val) <= INT64_MAX) *out = (int64_t)yyjson_get_uint(val);
    else if (yyjson_is_sint(val)) *out = yyjson_get_sint(val);
    else if (whole_real(val, &whole)) *out = whole;
    else return false;
    return true;
}

bool hg_json_f64(const hg_jval *v, double *out)
{
    yyjson_val *val = hg_json_yy(v);
    if (!yyjson_is_num(val) || !isfinite(yyjson_get_num(val))) return false;
    *out = yyjson_get_num(val);
    return true;
}

bool hg_json_str(const hg_jval *v, hg_str *out)
{
    yyjson_val *val = hg_json_yy(v);
    if (!yyjson_is_str(val)) return false;
    *out = (hg_str){unsafe_yyjson_get_str(val), unsafe_yyjson_get_len(val)};
    return true;
}

const char *hg_json_text(const hg_jval *v)
{
    hg_str s;
    if (!hg_json_str(v, &s) || memchr(s.ptr, '\0', s.len)) return NULL;
    return s.ptr;
}

const char *hg_json_text_or(const hg_jval *v, const char *def)
{
    const char *text = hg_json_text(v);
    return text ? text : def;
}

int64_t hg_json_i64_or(const hg_jval *v, int64_t def)
{
    hg_json_i64(v, &def);
    return def;
}

double hg_json_f64_or(const hg_jval *v, double def)
{
    hg_json_f64(v, &def);
    return def;
}

bool hg_json_bool_or(const hg_jval *v, bool def)
{
    hg_json_bool(v, &def);
    return def;
}

/* ---- iteration ---- */

hg_json_iter hg_json_iter_of(const hg_jval *v)
{
    yyjson_val *val = hg_json_yy(v);
    hg_json_iter it = {.key = HG_STR(""), .left = hg_json_len(v), .object = yyjson_is_obj(val)};
    if (it.left) it.next = unsafe_yyjson_get_first(val);
    return it;
}

bool hg_json_next(hg_json_iter *it)
{
    if (it->left == 0) {
        it->val = NULL;
        return false;
    }
    /* The first value has index 0: nothing has been handed out when val is still NULL. */
    it->index = it->val ? it->index + 1 : 0;
    yyjson_val *at = (yyjson_val *)(uintptr_t)it->next;
    if (it->object) {
        it->key = (hg_str){unsafe_yyjson_get_str(at), unsafe_yyjson_get_len(at)};
        at++;
    }
    it->val = (const hg_jval *)at;
    if (--it->left) it->next = unsafe_yyjson_get_next(at);
    return true;
}
