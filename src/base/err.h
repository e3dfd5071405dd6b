/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors inside hangar: a code is returned, the words go to the caller's hangar_err.
 *
 *   return hg_fail(err, HANGAR_E_NOT_FOUND, "no blob %s", hex);     sets the words once, returns the code
 *   return hg_wrap(err, code, "pulling %s", repo);                  "pulling a/b: no blob 12ab"
 *
 * A message is one line without a full stop, says what is wrong and where, never "failed to", and never
 * repeats what the caller knows. Control characters in it are escaped here, so hostile names cannot forge a line.
 */
#ifndef HG_BASE_ERR_H
#define HG_BASE_ERR_H

#include "hangar/error.h"

#define HG_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* Sets code and message; returns the code. err may be NULL. */
hangar_code hg_fail(hangar_err *err, hangar_code code, const char *fmt, ...) HG_PRINTF(3, 4);
/* The same from an errno value: the code is derived from it (ENOENT is NOT_FOUND, ENOSPC is NO_SPACE, ...),
 * the system's words are appended: "opening x: Permission denied". */
hangar_code hg_fail_errno(hangar_err *err, int sys, const char *fmt, ...) HG_PRINTF(3, 4);
/* Puts context before the message and returns `code`; with code OK it does nothing. */
hangar_code hg_wrap(hangar_err *err, hangar_code code, const char *fmt, ...) HG_PRINTF(3, 4);
/* Out of memory, without words that would need some. */
hangar_code hg_fail_memory(hangar_err *err);

/* A condition that only a bug in hangar can break: aborts in a debug build, is INTERNAL in a release. */
#ifdef NDEBUG
#    define HG_BUG_ON(cond, err) \
        ((cond) ? hg_fail((err), HANGAR_E_INTERNAL, "bug: %s (%s:%d)", #cond, __FILE__, __LINE__) : HANGAR_OK)
#else
#    define HG_BUG_ON(cond, err) ((cond) ? (__builtin_trap(), HANGAR_E_INTERNAL) : HANGAR_OK)
#endif

#endif
