/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing JSON: a tree in the library's memory pool, and a stack of the containers that are open. Keys and texts are
 * copied, so nothing need outlive a call. The first error sticks; what comes after it is dropped.
 */
#include "base/json_yy.h"

#include "base/buf.h"
#include "base/mem.h"

#include <math.h>

struct hg_jw {
    yyjson_mut_doc *doc;
    yyjson_mut_val **open; /* the containers that are open, the innermost last */
    size_t depth, cap;
    hangar_code state;
    const char *bug; /* what the caller did wrong, when state is INTERNAL */
};

hg_jw *hg_jw_new(void)
{
    hg_jw *w = hg_calloc(1, sizeof *w);
    if (!w) return NULL;
    w->doc = yyjson_mut_doc_new(NULL);
    if (!w->doc) {
        free(w);
        return NULL;
    }
    return w;
}

void hg_jw_free(hg_jw *w)
{
    if (!w) return;
    yyjson_mut_doc_free(w->doc);
    free(w->open);
    free(w);
}

void hg_jw_auto_free(hg_jw **w)
{
    hg_jw_free(*w);
}

static void stick(hg_jw *w, hangar_code code, const char *bug)
{
    if (w->state != HANGAR_OK) return;
    w->state = code;
    w->bug = bug;
}

/* A string value holding a copy of s, with U+FFFD for every byte that is not UTF-8; NULL when out of memory. */
static yyjson_mut_val *text_value(hg_jw *w, hg_str s)
{
    if (hg_utf8_valid(s)) return yyjson_mut_strncpy(w->doc, s.ptr ? s.ptr : "", s.len);
    hg_buf clean;
    hg_buf_init(&clean, SIZE_MAX);
    hg_buf_utf8(&clean, s);
    yyjson_mut_val *val = NULL;
    if (clean.state == HANGAR_OK) val = yyjson_mut_strncpy(w->doc, hg_buf_text(&clean), clean.len);
    hg_buf_deinit(&clean);
    return val;
}

/* Puts a new value where the writer stands; NULL stands for "out of memory". */
static void put(hg_jw *w, const char *key, yyjson_mut_val *val)
{
    if (w->state != HANGAR_OK) return;
    if (!val) {
        stick(w, HANGAR_E_NO_MEMORY, NULL);
        return;
    }
    yyjson_mut_val *in = w->depth ? w->open[w->depth - 1] : NULL;
    if (!in) {
        if (key) stick(w, HANGAR_E_INTERNAL, "a key outside of any object");
        else if (yyjson_mut_doc_get_root(w->doc)) stick(w, HANGAR_E_INTERNAL, "a second outermost value");
        else yyjson_mut_doc_set_root(w->doc, val);
    } else if (yyjson_mut_is_arr(in)) {
        if (key) stick(w, HANGAR_E_INTERNAL, "a key inside an array");
        else yyjson_mut_arr_append(in, val);
    } else if (!key) {
        stick(w, HANGAR_E_INTERNAL, "a value without a key inside an object");
    } else {
        yyjson_mut_val *name = text_value(w, hg_str_of(key));
        if (!name) stick(w, HANGAR_E_NO_MEMORY, NULL);
        else yyjson_mut_obj_add(in, name, val);
    }
}

static void open_container(hg_jw *w, const char *key, yyjson_mut_val *val)
{
    put(w, key, val);
    if (w->state != HANGAR_OK) return;
    if (!hg_grow((void **)&w->open, &w->cap, w->depth + 1, sizeof(yyjson_mut_val *))) {
        stick(w, HANGAR_E_NO_MEMORY, NULL);
        return;
    }
    w->open[w->depth++] = val;
}

void hg_jw_obj(hg_jw *w, const char *key)
{
    if (w) open_container(w, key, yyjson_mut_obj(w->doc));
}

void hg_jw_arr(hg_jw *w, const char *key)
{
    if (w) open_container(w, key, yyjson_mut_arr(w->doc));
}

void hg_jw_end(hg_jw *w)
{
    if (!w || w->state != HANGAR_OK) return;
    if (w->depth == 0) stick(w, HANGAR_E_INTERNAL, "an end without a beginning");
    else w->depth--;
}

void hg_jw_text(hg_jw *w, const char *key, const char *text)
{
    if (text) hg_jw_str(w, key, hg_str_of(text));
    else hg_jw_null(w, key);
}

void hg_jw_str(hg_jw *w, const char *key, hg_str s)
{
    if (w) put(w, key, text_value(w, s));
}

void hg_jw_i64(hg_jw *w, const char *key, int64_t n)
{
    if (w) put(w, key, yyjson_mut_sint(w->doc, n));
}

void hg_jw_u64(hg_jw *w, const char *key, uint64_t n)
{
    if (w) put(w, key, yyjson_mut_uint(w->doc, n));
}

void hg_jw_f64(hg_jw *w, const char *key, double n)
{
    if (w) put(w, key, isfinite(n) ? yyjson_mut_real(w->doc, n) : yyjson_mut_null(w->doc));
}

void hg_jw_bool(hg_jw *w, const char *key, bool b)
{
    if (w) put(w, key, yyjson_mut_bool(w->doc, b));
}

void hg_jw_null(hg_jw *w, const char *key)
{
    if (w) put(w, key, yyjson_mut_null(w->doc));
}

void hg_jw_val(hg_jw *w, const char *key, const hg_jval *v)
{
    if (!w) return;
    if (v) put(w, key, yyjson_val_mut_copy(w->doc, hg_json_yy(v)));
    else hg_jw_null(w, key);
}

void hg_jw_members(hg_jw *w, const hg_jval *obj, const char *const *skip)
{
    if (!w || !hg_json_is_object(obj)) return;
    for (hg_json_iter it = hg_json_iter_of(obj); hg_json_next(&it);) {
        bool wanted = true;
        for (const char *const *s = skip; s && *s && wanted; s++) wanted = !hg_str_eq(it.key, hg_str_of(*s));
        if (!wanted) continue;
        char *key = hg_strndup(it.key.ptr, it.key.len);
        if (key) hg_jw_val(w, key, it.val);
        else stick(w, HANGAR_E_NO_MEMORY, NULL);
        free(key);
    }
}

/* Begins again; a writer that has no memory for that stays broken. */
static void start_over(hg_jw *w)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    w->depth = 0;
    w->state = HANGAR_OK;
    w->bug = NULL;
    if (doc) {
        yyjson_mut_doc_free(w->doc);
        w->doc = doc;
    } else {
        w->state = HANGAR_E_NO_MEMORY;
    }
}

hangar_code hg_jw_finish(hg_jw *w, bool pretty, char **out, hangar_err *err)
{
    if (!w) return hg_fail_memory(err); /* hg_jw_new() found none */
    hangar_code code = w->state;
    const char *bug = w->bug;
    if (code == HANGAR_OK && !yyjson_mut_doc_get_root(w->doc)) {
        code = HANGAR_E_INTERNAL;
        bug = "nothing was written";
    }
    if (code == HANGAR_OK) {
        yyjson_write_err why = {0};
        yyjson_write_flag flags = pretty ? YYJSON_WRITE_PRETTY_TWO_SPACES : YYJSON_WRITE_NOFLAG;
        char *text = yyjson_mut_write_opts(w->doc, flags, NULL, NULL, &why);
        if (text) *out = text;
        else if (why.code == YYJSON_WRITE_ERROR_MEMORY_ALLOCATION) code = HANGAR_E_NO_MEMORY;
        else code = HANGAR_E_INTERNAL;
        bug = why.msg;
    }
    start_over(w);
    if (code == HANGAR_E_NO_MEMORY) return hg_fail_memory(err);
    return code == HANGAR_OK ? code
                             : hg_fail(err, code, "bug: a JSON text with %s", bug ? bug : "an unknown fault");
}

char *hg_json_print(const hg_jval *v, bool pretty)
{
    yyjson_write_flag flags = pretty ? YYJSON_WRITE_PRETTY_TWO_SPACES : YYJSON_WRITE_NOFLAG;
    return v ? yyjson_val_write_opts(hg_json_yy(v), flags, NULL, NULL, NULL) : hg_strdup("null");
}
