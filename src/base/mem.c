/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"

#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void *hg_realloc_array(void *ptr, size_t count, size_t size)
{
    uint64_t bytes;
    if (!hg_mul(count, size, &bytes) || bytes > PTRDIFF_MAX) return NULL;
    return realloc(ptr, bytes ? (size_t)bytes : 1);
}

bool hg_grow(void **items, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap) return true;
    /* One and a half times, so that freed blocks can be used again; the overflow is checked when it is asked for. */
    size_t next = *cap < 8 ? 8 : *cap;
    if (next <= SIZE_MAX - next / 2) next += next / 2;
    if (next < need) next = need;
    void *grown = hg_realloc_array(*items, next, size);
    if (!grown) return false;
    *items = grown;
    *cap = next;
    return true;
}

char *hg_strdup(const char *text)
{
    return hg_strndup(text, strlen(text));
}

/* Copies len bytes (not fewer at a NUL) and ends them with one. */
char *hg_strndup(const char *text, size_t len)
{
    if (len >= PTRDIFF_MAX) return NULL;
    char *copy = malloc(len + 1);
    if (!copy) return NULL;
    if (len) memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *hg_format(const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    int len = vasprintf(&text, fmt, args);
    va_end(args);
    return len < 0 ? NULL : text;
}

hangar_code hg_options_read(const void *given, size_t least, const char *type, void *out, size_t size,
                            hangar_err *err)
{
    size_t have;
    if (!given) return HANGAR_OK;
    memcpy(&have, given, sizeof have);
    if (have < least || have < sizeof have || have > size)
        return hg_fail(err, HANGAR_E_USAGE, "%s.size is wrong; begin with its _INIT value", type);
    memcpy(out, given, have);
    memcpy(out, &size, sizeof size);
    return HANGAR_OK;
}

void hg_auto_free(void *p)
{
    free(*(void **)p);
}

void hg_auto_close(int *fd)
{
    if (*fd < 0) return;
    int keep = errno;
    close(*fd);
    errno = keep;
}
