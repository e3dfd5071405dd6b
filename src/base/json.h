/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON in and out; the only file pair that knows the JSON library (yyjson).
 *
 * In: a text is parsed whole, under limits, into a document; values are borrowed from it. All getters take
 * NULL and values of the wrong type and answer "not there", so a path into hostile JSON needs no checks
 * between the steps. Out: a writer with nesting; the first error sticks.
 */
#ifndef HG_BASE_JSON_H
#define HG_BASE_JSON_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct hg_json hg_json;     /* a parsed document */
typedef struct hg_json_val hg_jval; /* a value inside it, borrowed */

/* What a text may be at most. 0 = the default in brackets. */
typedef struct hg_json_limits {
    size_t bytes;     /* length of the text [64 MiB]                              */
    unsigned depth;   /* nesting of arrays and objects [64]                       */
    bool unique_keys; /* refuse an object that names a key twice                  */
} hg_json_limits;

/* INVALID (with line and column) when it is not JSON or not UTF-8; LIMIT when it is over a limit. limits may be NULL.
 * Depth is checked before the parser allocates anything. */
hangar_code hg_json_parse(hg_str text, const hg_json_limits *limits, hg_json **out, hangar_err *err);
void hg_json_free(hg_json *doc);
void hg_json_auto_free(hg_json **doc); /* for HG_AUTO */
const hg_jval *hg_json_root(const hg_json *doc);

const hg_jval *hg_json_get(const hg_jval *obj, const char *key);
/* hg_json_path(v, "a", "b", NULL) = v.a.b */
const hg_jval *hg_json_path(const hg_jval *obj, ...) __attribute__((sentinel));
const hg_jval *hg_json_at(const hg_jval *arr, size_t index); /* linear: iterate long arrays */
/* Members of an object, items of an array, 0 for everything else. */
size_t hg_json_len(const hg_jval *v);

bool hg_json_is_object(const hg_jval *v);
bool hg_json_is_array(const hg_jval *v);
bool hg_json_is_string(const hg_jval *v);
bool hg_json_is_number(const hg_jval *v);
bool hg_json_is_real(const hg_jval *v); /* a number written with a point or an exponent, whole or not */
bool hg_json_is_null(const hg_jval *v); /* an explicit null, or nothing there (NULL) */
bool hg_json_is_bool(const hg_jval *v);

/* Each: false and *out untouched when it is not there, of another type, out of range, or (integers) has a fraction. */
bool hg_json_bool(const hg_jval *v, bool *out);
bool hg_json_u64(const hg_jval *v, uint64_t *out);
bool hg_json_i64(const hg_jval *v, int64_t *out);
bool hg_json_f64(const hg_jval *v, double *out); /* any number, finite */
/* The text, or NULL. A string with an embedded NUL counts as not there here; use hg_json_str for such. */
const char *hg_json_text(const hg_jval *v);
bool hg_json_str(const hg_jval *v, hg_str *out);
/* Short forms with a default: hg_json_text_or(hg_json_get(o, "k"), ""). */
const char *hg_json_text_or(const hg_jval *v, const char *def);
int64_t hg_json_i64_or(const hg_jval *v, int64_t def);
double hg_json_f64_or(const hg_jval *v, double def);
bool hg_json_bool_or(const hg_jval *v, bool def);

/* for (hg_json_iter it = hg_json_iter_of(v); hg_json_next(&it);) use it.key (objects), it.val, it.index */
typedef struct hg_json_iter {
    hg_str key; /* empty for arrays */
    const hg_jval *val;
    size_t index;
    const void *next; /* the rest is the iterator's own */
    size_t left;
    bool object;
} hg_json_iter;
hg_json_iter hg_json_iter_of(const hg_jval *v);
bool hg_json_next(hg_json_iter *it);

/* The writer. `key` is NULL inside arrays and for the outermost value. Invalid UTF-8 is replaced by U+FFFD;
 * numbers that are not finite become null. All functions do nothing on a NULL writer. */
typedef struct hg_jw hg_jw;
hg_jw *hg_jw_new(void);
void hg_jw_free(hg_jw *w);
void hg_jw_auto_free(hg_jw **w); /* for HG_AUTO */
void hg_jw_obj(hg_jw *w, const char *key);
void hg_jw_arr(hg_jw *w, const char *key);
void hg_jw_end(hg_jw *w);                                     /* the innermost object or array */
void hg_jw_text(hg_jw *w, const char *key, const char *text); /* NULL text = null */
void hg_jw_str(hg_jw *w, const char *key, hg_str s);
void hg_jw_i64(hg_jw *w, const char *key, int64_t n);
void hg_jw_u64(hg_jw *w, const char *key, uint64_t n);
void hg_jw_f64(hg_jw *w, const char *key, double n);
void hg_jw_bool(hg_jw *w, const char *key, bool b);
void hg_jw_null(hg_jw *w, const char *key);
/* A copy of a parsed value. */
void hg_jw_val(hg_jw *w, const char *key, const hg_jval *v);
/* Copies of all members of a parsed object into the open one, but for the keys in `skip` (NULL-terminated; NULL = none). */
void hg_jw_members(hg_jw *w, const hg_jval *obj, const char *const *skip);
/* Ends all that is open and gives the text to the caller (free it); the writer is empty then. */
hangar_code hg_jw_finish(hg_jw *w, bool pretty, char **out, hangar_err *err);
/* A parsed value as text of the caller's; NULL when out of memory. */
char *hg_json_print(const hg_jval *v, bool pretty);

#endif
