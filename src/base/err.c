/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message is put together in a buffer of this function's own and then escaped into the caller's hangar_err, so
 * that the arguments may point into the very hangar_err that is written. Nothing here allocates. A message that
 * is too long loses its end, at a whole character, and shows so.
 */
#include "base/err.h"

#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

typedef struct code_row {
    const char *name;
    const char *text;
    int http;
    int exit;
} code_row;

static const code_row codes[] = {
#define HANGAR_ERROR(name, text, http, exit) {#name, text, http, exit},
#include "hangar/errors.def"
#undef HANGAR_ERROR
};

/* The row of a code; a number that is none counts as INTERNAL. */
static const code_row *row_of(hangar_code code)
{
    return &codes[(size_t)code < HG_LEN(codes) ? code : HANGAR_E_INTERNAL];
}

const char *hangar_code_text(hangar_code code)
{
    return row_of(code)->text;
}

const char *hangar_code_name(hangar_code code)
{
    return row_of(code)->name;
}

int hangar_code_exit(hangar_code code)
{
    return row_of(code)->exit;
}

int hangar_code_http(hangar_code code)
{
    return row_of(code)->http;
}

/* Longer than a message can be, so that hg_escape sees that something was cut. */
#define DRAFT_MAX (HANGAR_ERR_MAX + 8)

static void set_words(hangar_err *err, hangar_code code, int sys, const char *draft)
{
    err->code = code;
    err->sys = sys;
    hg_escape(hg_str_of(draft), err->msg, sizeof err->msg);
}

hangar_code hg_fail(hangar_err *err, hangar_code code, const char *fmt, ...)
{
    if (!err) return code;
    char draft[DRAFT_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(draft, sizeof draft, fmt, args);
    va_end(args);
    set_words(err, code, 0, draft);
    return code;
}

/* What an errno means to a caller of hangar. */
static hangar_code code_of_errno(int sys)
{
    switch (sys) {
    case ENOENT:
    case ENOTDIR: return HANGAR_E_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS: return HANGAR_E_DENIED;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return HANGAR_E_NO_SPACE;
    case ENOMEM: return HANGAR_E_NO_MEMORY;
    case EBUSY:
    case EAGAIN:
    case ETXTBSY: return HANGAR_E_BUSY;
    case ETIMEDOUT: return HANGAR_E_TIMEOUT;
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case EADDRINUSE:
    case EADDRNOTAVAIL: return HANGAR_E_NETWORK;
    case ENAMETOOLONG:
    case ELOOP: return HANGAR_E_INVALID;
    case ENOSYS:
    case EOPNOTSUPP: return HANGAR_E_UNSUPPORTED;
    case EEXIST:
    case ENOTEMPTY: return HANGAR_E_FAILED;
    default: return HANGAR_E_IO;
    }
}

hangar_code hg_fail_errno(hangar_err *err, int sys, const char *fmt, ...)
{
    hangar_code code = code_of_errno(sys);
    if (!err) return code;
    char draft[DRAFT_MAX];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(draft, sizeof draft, fmt, args);
    va_end(args);
    if (len >= 0 && (size_t)len < sizeof draft) {
        char words[128];
        snprintf(draft + len, sizeof draft - (size_t)len, ": %s", strerror_r(sys, words, sizeof words));
    }
    set_words(err, code, sys, draft);
    return code;
}

hangar_code hg_wrap(hangar_err *err, hangar_code code, const char *fmt, ...)
{
    if (code == HANGAR_OK || !err) return code;
    char draft[DRAFT_MAX];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(draft, sizeof draft, fmt, args);
    va_end(args);
    if (len >= 0 && (size_t)len < sizeof draft)
        snprintf(draft + len, sizeof draft - (size_t)len, ": %s",
                 err->msg[0] ? err->msg : hangar_code_text(code));
    set_words(err, code, err->sys, draft);
    return code;
}

hangar_code hg_fail_memory(hangar_err *err)
{
    if (err) set_words(err, HANGAR_E_NO_MEMORY, ENOMEM, hangar_code_text(HANGAR_E_NO_MEMORY));
    return HANGAR_E_NO_MEMORY;
}
