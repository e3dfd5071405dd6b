/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing buffer of bytes or text with a ceiling given at the start. The first error (out of memory,
 * ceiling reached) sticks: further appends do nothing, and the caller checks once at the end.
 * A NUL always follows the data.
 *
 *   hg_buf b;
 *   hg_buf_init(&b, HG_MIB);
 *   hg_buf_puts(&b, "a"); hg_buf_printf(&b, "%d", 1);
 *   if ((code = hg_buf_check(&b, err)) != HANGAR_OK) { hg_buf_deinit(&b); return code; }
 *   *out = hg_buf_take(&b);
 */
#ifndef HG_BASE_BUF_H
#define HG_BASE_BUF_H

#include "base/err.h"
#include "base/str.h"

#define HG_KIB ((size_t)1 << 10)
#define HG_MIB ((size_t)1 << 20)
#define HG_GIB ((size_t)1 << 30)

typedef struct hg_buf {
    char *data; /* NULL until the first append */
    size_t len;
    size_t cap;
    size_t max;        /* ceiling on len */
    hangar_code state; /* OK, NO_MEMORY or LIMIT */
} hg_buf;

void hg_buf_init(hg_buf *b, size_t max);
void hg_buf_deinit(hg_buf *b);
void hg_buf_add(hg_buf *b, const void *bytes, size_t len);
void hg_buf_puts(hg_buf *b, const char *text);
void hg_buf_str(hg_buf *b, hg_str s);
/* Text that may be none: U+FFFD stands for every byte that is not UTF-8. */
void hg_buf_utf8(hg_buf *b, hg_str s);
void hg_buf_putc(hg_buf *b, char c);
void hg_buf_printf(hg_buf *b, const char *fmt, ...) HG_PRINTF(2, 3);
/* Room for `len` more bytes at the end, to be filled by the caller, who then adds to b->len; NULL on error. */
void *hg_buf_reserve(hg_buf *b, size_t len);
/* Empty again, memory kept, error forgotten. */
void hg_buf_reset(hg_buf *b);
/* Removes the first n bytes. */
void hg_buf_drop(hg_buf *b, size_t n);
/* The sticky state as an error with words ("over the limit of N bytes"). */
hangar_code hg_buf_check(const hg_buf *b, hangar_err *err);
/* Hands the memory to the caller (free it), "" when empty; NULL when a state stuck. The buffer is empty then. */
char *hg_buf_take(hg_buf *b);
/* The text so far, never NULL. */
static inline const char *hg_buf_text(const hg_buf *b)
{
    return b->data ? b->data : "";
}
static inline hg_str hg_buf_view(const hg_buf *b)
{
    return (hg_str){hg_buf_text(b), b->len};
}

#endif
