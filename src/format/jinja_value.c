/* SPDX-License-Identifier: Apache-2.0 */
/* The arena, failures, lists and dicts, and values from JSON. */
#include "format/jinja_inner.h"

#include <stdarg.h>
#include <stdio.h>

#define CHUNK_MIN  ((size_t)16 << 10)
#define CHUNK_MAX  ((size_t)1 << 20)
#define DICT_SMALL 8 /* members up to which a dict is searched from end to end */

struct jj_chunk {
    jj_chunk *next;
    size_t size;
};

void *hg_jj_arena_take(jj_arena *a, size_t size)
{
    if (size > a->max) return NULL;
    size = (size + 15) & ~(size_t)15;
    /* Text that was extended in place may have left the top anywhere. */
    size_t skew = (size_t)(-(uintptr_t)a->top & 15);
    if (!a->top || (size_t)(a->end - a->top) < size + skew) {
        size_t head = (sizeof(jj_chunk) + 15) & ~(size_t)15;
        size_t grown = a->used < CHUNK_MIN ? CHUNK_MIN : a->used < CHUNK_MAX ? a->used : CHUNK_MAX;
        if (grown < size + head) grown = size + head;
        if (grown > a->max - a->used) grown = size + head;
        if (a->used > a->max || grown > a->max - a->used) return NULL;
        jj_chunk *c = malloc(grown);
        if (!c) return NULL;
        *c = (jj_chunk){a->chunks, grown};
        a->chunks = c;
        a->used += grown;
        a->top = (char *)c + head;
        a->end = (char *)c + grown;
        skew = 0;
    }
    void *p = a->top + skew;
    a->top += skew + size;
    return p;
}

void hg_jj_arena_free(jj_arena *a)
{
    for (jj_chunk *c = a->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    *a = (jj_arena){.max = a->max};
}

bool hg_jj_fail(jj_run *r, hangar_code code, const char *fmt, ...)
{
    if (r->code != HANGAR_OK) return false;
    char words[HANGAR_ERR_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(words, sizeof words, fmt, ap);
    va_end(ap);
    r->code = hg_fail(r->err, code, "line %u: %s", r->line, words);
    return false;
}

bool hg_jj_fail_memory(jj_run *r)
{
    return hg_jj_fail(r, HANGAR_E_LIMIT, "the template's values need more than %zu bytes", r->arena.max);
}

bool hg_jj_steps(jj_run *r, uint64_t n)
{
    if (n > r->steps) {
        r->steps = 0;
        return hg_jj_fail(r, HANGAR_E_LIMIT, "the template runs for too many steps");
    }
    r->steps -= n;
    return true;
}

bool hg_jj_bytes(jj_run *r, size_t bytes)
{
    return hg_jj_steps(r, bytes / 64);
}

/* Memory of the rendering, not cleared; NULL with a failure when the budget is spent. */
void *hg_jj_take(jj_run *r, size_t count, size_t size)
{
    uint64_t bytes;
    void *p = hg_mul(count, size, &bytes) ? hg_jj_arena_take(&r->arena, bytes) : NULL;
    if (!p) hg_jj_fail_memory(r);
    return p;
}

const char *hg_jj_type_name(jj_type t)
{
    static const char *const names[] = {
        [JJ_ABSENT] = "nothing", [JJ_UNDEF] = "Undefined", [JJ_NONE] = "NoneType",    [JJ_BOOL] = "bool",
        [JJ_INT] = "int",        [JJ_FLOAT] = "float",     [JJ_STR] = "str",          [JJ_LIST] = "list",
        [JJ_TUPLE] = "tuple",    [JJ_RANGE] = "range",     [JJ_VIEW] = "dict view",   [JJ_GEN] = "generator",
        [JJ_DICT] = "dict",      [JJ_SPACE] = "Namespace", [JJ_LOOP] = "LoopContext", [JJ_MACRO] = "Macro",
        [JJ_FUNC] = "function",  [JJ_METHOD] = "method",
    };
    return names[t];
}

/* bool(v) */
bool hg_jj_true(const jj_val *v)
{
    switch (v->type) {
    case JJ_ABSENT:
    case JJ_UNDEF:
    case JJ_NONE: return false;
    case JJ_BOOL: return v->as.b;
    case JJ_INT: return v->as.i != 0;
    case JJ_FLOAT: return v->as.f != 0;
    case JJ_STR: return v->as.s.len != 0;
    case JJ_LIST:
    case JJ_TUPLE:
    case JJ_RANGE:
    case JJ_VIEW: return v->as.list->len != 0;
    case JJ_DICT: return v->as.dict->len != 0;
    default: return true;
    }
}

bool hg_jj_list_new(jj_run *r, jj_type type, size_t cap, jj_val *out)
{
    jj_list *l = hg_jj_take(r, 1, sizeof *l);
    if (!l) return false;
    *l = (jj_list){0};
    if (cap && !(l->items = hg_jj_take(r, cap, sizeof *l->items))) return false;
    *out = (jj_val){.type = type, .as.list = l};
    return true;
}

bool hg_jj_list_push(jj_run *r, jj_list *l, size_t *cap, const jj_val *v)
{
    if (l->len == *cap) {
        size_t more = *cap ? *cap * 2 : 4;
        jj_val *items = hg_jj_take(r, more, sizeof *items);
        if (!items) return false;
        if (l->len) memcpy(items, l->items, l->len * sizeof *items);
        l->items = items;
        *cap = more;
    }
    l->items[l->len++] = *v;
    return true;
}

bool hg_jj_dict_new(jj_run *r, jj_type type, size_t cap, jj_val *out)
{
    jj_dict *d = hg_jj_take(r, 1, sizeof *d);
    if (!d) return false;
    *d = (jj_dict){.cap = cap};
    if (cap && !(d->pairs = hg_jj_take(r, cap, sizeof *d->pairs))) return false;
    *out = (jj_val){.type = type, .as.dict = d};
    return true;
}

/* Whether two keys are the same: equal, which 1, 1.0 and true are. */
static bool same_key(jj_run *r, const jj_pair *p, uint64_t hash, const jj_val *key)
{
    if (p->hash != hash) return false;
    if (p->key.type == JJ_STR && key->type == JJ_STR) return hg_str_eq(p->key.as.s, key->as.s);
    bool same;
    return hg_jj_equal(r, &p->key, key, 0, &same) && same;
}

/* The slot of a key: its position's, or the free one where it belongs. */
static size_t slot_of(jj_run *r, const jj_dict *d, uint64_t hash, const jj_val *key)
{
    size_t mask = d->slot_count - 1, i = hash & mask, seen = 0;
    while (d->slots[i] && !(key && same_key(r, &d->pairs[d->slots[i] - 1], hash, key))) {
        i = (i + 1) & mask;
        seen++;
    }
    hg_jj_steps(r, seen / 4);
    return i;
}

static jj_val *find_hashed(jj_run *r, const jj_dict *d, uint64_t hash, const jj_val *key)
{
    if (d->slots) {
        size_t i = slot_of(r, d, hash, key);
        return d->slots[i] ? &d->pairs[d->slots[i] - 1].val : NULL;
    }
    for (size_t i = 0; i < d->len; i++)
        if (same_key(r, &d->pairs[i], hash, key)) return &d->pairs[i].val;
    return NULL;
}

jj_val *hg_jj_dict_find(jj_run *r, const jj_dict *d, const jj_val *key)
{
    uint64_t hash;
    return hg_jj_hash(r, key, 0, &hash) && d->len ? find_hashed(r, d, hash, key) : NULL;
}

jj_val *hg_jj_dict_get(jj_run *r, const jj_dict *d, hg_str key)
{
    jj_val k = hg_jj_str(key);
    return hg_jj_dict_find(r, d, &k);
}

/* A table of positions with room for all of d->cap. */
static bool index_dict(jj_run *r, jj_dict *d)
{
    size_t n = 32;
    while (n < d->cap * 2) n *= 2;
    if (!(d->slots = hg_jj_take(r, n, sizeof *d->slots))) return false;
    memset(d->slots, 0, n * sizeof *d->slots);
    d->slot_count = n;
    for (size_t i = 0; i < d->len; i++) d->slots[slot_of(r, d, d->pairs[i].hash, NULL)] = (uint32_t)(i + 1);
    return r->code == HANGAR_OK;
}

bool hg_jj_dict_set(jj_run *r, jj_dict *d, const jj_val *key, const jj_val *v)
{
    uint64_t hash;
    if (!hg_jj_hash(r, key, 0, &hash)) return false;
    jj_val *old = d->len ? find_hashed(r, d, hash, key) : NULL;
    if (r->code != HANGAR_OK) return false;
    if (old) {
        *old = *v;
        return true;
    }
    if (d->len == d->cap) {
        size_t cap = d->cap ? d->cap * 2 : 4;
        jj_pair *pairs = cap < UINT32_MAX ? hg_jj_take(r, cap, sizeof *pairs) : NULL;
        if (!pairs) return hg_jj_fail_memory(r);
        if (d->len) memcpy(pairs, d->pairs, d->len * sizeof *pairs);
        d->pairs = pairs;
        d->cap = cap;
        d->slots = NULL;
    }
    d->pairs[d->len++] = (jj_pair){*key, *v, hash};
    if (d->len <= DICT_SMALL) return true;
    if (!d->slots) return index_dict(r, d);
    d->slots[slot_of(r, d, hash, NULL)] = (uint32_t)d->len;
    return r->code == HANGAR_OK;
}

bool hg_jj_copy(jj_run *r, hg_str s, hg_str *out)
{
    char *copy = hg_jj_take(r, s.len, 1);
    if (!copy || !hg_jj_bytes(r, s.len)) return false;
    if (s.len) memcpy(copy, s.ptr, s.len);
    r->arena.top = copy + s.len; /* open at its end: see hg_jj_join */
    *out = (hg_str){copy, s.len};
    return true;
}

bool hg_jj_join(jj_run *r, hg_str a, hg_str b, hg_str *out)
{
    jj_arena *m = &r->arena;
    if (b.len == 0 || a.len == 0) {
        *out = a.len ? a : b;
        return true;
    }
    if (a.ptr + a.len == m->top && b.len <= (size_t)(m->end - m->top)) {
        if (!hg_jj_bytes(r, b.len)) return false;
        memmove(m->top, b.ptr, b.len);
        m->top += b.len;
        *out = (hg_str){a.ptr, a.len + b.len};
        return true;
    }
    /* Twice the room, for what may be added next. */
    if (a.len > m->max || b.len > m->max) return hg_jj_fail_memory(r);
    size_t len = a.len + b.len;
    char *both = hg_jj_arena_take(m, len * 2);
    if (!both) both = hg_jj_take(r, len, 1);
    if (!both || !hg_jj_bytes(r, len)) return false;
    memcpy(both, a.ptr, a.len);
    memcpy(both + a.len, b.ptr, b.len);
    m->top = both + len;
    *out = (hg_str){both, len};
    return true;
}

void hg_jj_buf(jj_run *r, hg_buf *b)
{
    hg_buf_init(b, r->arena.max - (r->arena.used < r->arena.max ? r->arena.used : r->arena.max));
}

bool hg_jj_buf_done(jj_run *r, hg_buf *b, jj_val *out)
{
    *out = hg_jj_str((hg_str){0});
    bool ok = b->state == HANGAR_OK ? hg_jj_copy(r, hg_buf_view(b), &out->as.s) : hg_jj_fail_memory(r);
    hg_buf_deinit(b);
    return ok && r->code == HANGAR_OK;
}

/* The characters of a text, each a text of its own. */
static bool characters(jj_run *r, hg_str s, jj_val *out)
{
    size_t n = hg_jj_chars(s);
    uint32_t c;
    if (!hg_jj_steps(r, n / 8) || !hg_jj_list_new(r, JJ_LIST, n, out)) return false;
    for (size_t k; (k = hg_utf8_next(s, &c)) != 0; s = (hg_str){s.ptr + k, s.len - k})
        out->as.list->items[out->as.list->len++] = hg_jj_str((hg_str){s.ptr, k});
    return true;
}

bool hg_jj_iterate(jj_run *r, const jj_val *v, const jj_list **out)
{
    static const jj_list empty;
    jj_val made;
    switch (v->type) {
    case JJ_LIST:
    case JJ_TUPLE:
    case JJ_RANGE:
    case JJ_VIEW: *out = v->as.list; return true;
    case JJ_UNDEF: *out = &empty; return true;
    case JJ_STR:
        if (!characters(r, v->as.s, &made)) return false;
        break;
    case JJ_GEN: {
        jj_list *l = v->as.list;
        if (!hg_jj_list_new(r, JJ_LIST, 0, &made)) return false;
        made.as.list->items = l->items ? l->items + l->pos : NULL;
        made.as.list->len = l->len - l->pos;
        l->pos = l->len;
        break;
    }
    case JJ_DICT: {
        const jj_dict *d = v->as.dict;
        if (!hg_jj_steps(r, d->len / 8) || !hg_jj_list_new(r, JJ_LIST, d->len, &made)) return false;
        for (size_t i = 0; i < d->len; i++) made.as.list->items[made.as.list->len++] = d->pairs[i].key;
        break;
    }
    default: return hg_jj_fail(r, HANGAR_E_INVALID, "'%s' object is not iterable", hg_jj_type_name(v->type));
    }
    *out = made.as.list;
    return true;
}

static bool number_from_json(jj_run *r, const hg_jval *j, jj_val *out)
{
    uint64_t u;
    *out = hg_jj_int(0);
    if (!hg_json_is_real(j) && hg_json_i64(j, &out->as.i)) return true;
    if (!hg_json_is_real(j) && hg_json_u64(j, &u))
        return hg_jj_fail(r, HANGAR_E_LIMIT, "a whole number in the context is beyond 64 bits");
    *out = hg_jj_float(0);
    hg_json_f64(j, &out->as.f);
    return true;
}

/* A JSON value as a value of the template; texts are borrowed. */
bool hg_jj_from_json(jj_run *r, const hg_jval *j, unsigned depth, jj_val *out)
{
    if (depth > HG_JINJA_VALUE_DEPTH)
        return hg_jj_fail(r, HANGAR_E_LIMIT, "the context is nested more than %d deep", HG_JINJA_VALUE_DEPTH);
    bool b;
    hg_str s;
    jj_val v;
    *out = hg_jj_none();
    if (hg_json_bool(j, &b)) {
        *out = hg_jj_bool(b);
    } else if (hg_json_str(j, &s)) {
        *out = hg_jj_str(s);
    } else if (hg_json_is_number(j)) {
        return number_from_json(r, j, out);
    } else if (hg_json_is_array(j)) {
        if (!hg_jj_list_new(r, JJ_LIST, hg_json_len(j), out)) return false;
        for (hg_json_iter it = hg_json_iter_of(j); hg_json_next(&it);) {
            if (!hg_jj_from_json(r, it.val, depth + 1, &v)) return false;
            out->as.list->items[out->as.list->len++] = v;
        }
    } else if (hg_json_is_object(j)) {
        if (!hg_jj_dict_new(r, JJ_DICT, hg_json_len(j), out)) return false;
        for (hg_json_iter it = hg_json_iter_of(j); hg_json_next(&it);) {
            jj_val key = hg_jj_str(it.key);
            if (!hg_jj_from_json(r, it.val, depth + 1, &v) || !hg_jj_dict_set(r, out->as.dict, &key, &v))
                return false;
        }
    }
    return true;
}
