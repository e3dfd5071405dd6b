/* SPDX-License-Identifier: Apache-2.0 */
/* Memory and sizes: overflow-checked arithmetic for every size from outside, and clean-up on leaving a scope. */
#ifndef HG_BASE_MEM_H
#define HG_BASE_MEM_H

#include "hangar/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* *out = a + b (or a * b); false when it does not fit. */
static inline bool hg_add(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}
static inline bool hg_mul(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

/* The little-endian number of n bytes, at most 8. */
static inline uint64_t hg_little(const uint8_t *bytes, unsigned n)
{
    uint64_t v = 0;
    while (n-- > 0) v = v << 8 | bytes[n];
    return v;
}

/* calloc that checks count * size (as calloc does), named so that raw malloc(x * y) stands out. */
static inline void *hg_calloc(size_t count, size_t size)
{
    return calloc(count ? count : 1, size ? size : 1);
}
/* realloc to count * size bytes; NULL (old block kept) when it does not fit or there is no memory. */
void *hg_realloc_array(void *ptr, size_t count, size_t size);
/* Grows an array that has room for *cap items so that it has room for `need`; false when out of memory.
 *   if (!hg_grow((void **)&a->items, &a->cap, a->len + 1, sizeof *a->items)) return hg_fail_memory(err); */
bool hg_grow(void **items, size_t *cap, size_t need, size_t size);
char *hg_strdup(const char *text);
char *hg_strndup(const char *text, size_t len);
/* A formatted string of the caller's; NULL when out of memory. */
char *hg_format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * A caller's struct of options, whose first member is its own size, over `out`, `size` bytes that hold the defaults. An older
 * caller's struct is shorter: what it does not have stays a default. USAGE, naming `type` ("hangar_options"), when it is shorter
 * than `least` or longer than ours, for then it holds what nobody here would honour. given may be NULL.
 */
hangar_code hg_options_read(const void *given, size_t least, const char *type, void *out, size_t size,
                            hangar_err *err);

/* HG_AUTO(hg_free_text) char *s = NULL;  the function is called with &s when the scope ends. */
#define HG_AUTO(fn) __attribute__((cleanup(fn)))
/* For HG_AUTO: frees *(void **)p. */
void hg_auto_free(void *p);
/* For HG_AUTO: closes *(int *)p when it is not negative, keeping errno. */
void hg_auto_close(int *fd);

#define HG_LEN(array) (sizeof(array) / sizeof((array)[0]))

#endif
