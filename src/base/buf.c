/* SPDX-License-Identifier: Apache-2.0 */
/* Invariants: len <= max; data is NULL or has cap bytes with len < cap and data[len] == 0. */
#include "base/buf.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>

#define FIRST_CAP 64

void hg_buf_init(hg_buf *b, size_t max)
{
    *b = (hg_buf){.max = max < PTRDIFF_MAX ? max : PTRDIFF_MAX - 1};
}

void hg_buf_deinit(hg_buf *b)
{
    free(b->data);
    *b = (hg_buf){.max = b->max};
}

/* Makes room for `more` bytes and the NUL behind them; false (and a sticky state) when that cannot be. */
static bool make_room(hg_buf *b, size_t more)
{
    if (b->state != HANGAR_OK) return false;
    if (more > b->max - b->len) {
        b->state = HANGAR_E_LIMIT;
        return false;
    }
    size_t need = b->len + more + 1;
    if (need <= b->cap) return true;
    size_t cap = b->cap < FIRST_CAP / 2 ? FIRST_CAP : b->cap * 2;
    if (cap > b->max + 1) cap = b->max + 1;
    if (cap < need) cap = need;
    char *grown = realloc(b->data, cap);
    if (!grown) {
        b->state = HANGAR_E_NO_MEMORY;
        return false;
    }
    if (!b->data) grown[0] = '\0';
    b->data = grown;
    b->cap = cap;
    return true;
}

void hg_buf_add(hg_buf *b, const void *bytes, size_t len)
{
    if (!make_room(b, len)) return;
    if (len) memcpy(b->data + b->len, bytes, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void hg_buf_puts(hg_buf *b, const char *text)
{
    hg_buf_add(b, text, strlen(text));
}

void hg_buf_str(hg_buf *b, hg_str s)
{
    hg_buf_add(b, s.ptr, s.len);
}

void hg_buf_utf8(hg_buf *b, hg_str s)
{
    while (s.len > 0) {
        uint32_t c;
        size_t n = hg_utf8_next(s, &c);
        if (n > 0) hg_buf_add(b, s.ptr, n);
        else hg_buf_puts(b, "\xef\xbf\xbd");
        if (n == 0) n = 1;
        s = (hg_str){s.ptr + n, s.len - n};
    }
}

void hg_buf_putc(hg_buf *b, char c)
{
    hg_buf_add(b, &c, 1);
}

void hg_buf_printf(hg_buf *b, const char *fmt, ...)
{
    char small[256];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(small, sizeof small, fmt, args);
    va_end(args);
    if (len < 0) {
        if (b->state == HANGAR_OK) b->state = HANGAR_E_INTERNAL;
        return;
    }
    if ((size_t)len < sizeof small) {
        hg_buf_add(b, small, (size_t)len);
        return;
    }
    if (!make_room(b, (size_t)len)) return;
    va_start(args, fmt);
    vsnprintf(b->data + b->len, (size_t)len + 1, fmt, args);
    va_end(args);
    b->len += (size_t)len;
}

/* The room is zeroed: whatever part of it the caller fills, a NUL follows. */
void *hg_buf_reserve(hg_buf *b, size_t len)
{
    if (!make_room(b, len)) return NULL;
    memset(b->data + b->len, 0, len + 1);
    return b->data + b->len;
}

void hg_buf_reset(hg_buf *b)
{
    b->len = 0;
    b->state = HANGAR_OK;
    if (b->data) b->data[0] = '\0';
}

void hg_buf_drop(hg_buf *b, size_t n)
{
    if (!b->data) return;
    if (n > b->len) n = b->len;
    b->len -= n;
    memmove(b->data, b->data + n, b->len + 1);
}

hangar_code hg_buf_check(const hg_buf *b, hangar_err *err)
{
    switch (b->state) {
    case HANGAR_OK: return HANGAR_OK;
    case HANGAR_E_LIMIT: return hg_fail(err, HANGAR_E_LIMIT, "over the limit of %zu bytes", b->max);
    case HANGAR_E_NO_MEMORY: return hg_fail_memory(err);
    default: return hg_fail(err, b->state, "a text could not be formatted");
    }
}

char *hg_buf_take(hg_buf *b)
{
    char *text = NULL;
    if (b->state == HANGAR_OK) text = b->data ? b->data : hg_calloc(1, 1);
    if (!text) free(b->data);
    *b = (hg_buf){.max = b->max};
    return text;
}
