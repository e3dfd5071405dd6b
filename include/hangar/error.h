/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How hangar calls end.
 *
 * Every fallible function returns a hangar_code. The words for people go into a hangar_err that the
 * caller owns (usually on its stack) and may leave out (NULL). The message is one line, says what is
 * wrong and where, and gains context on the way up: "pulling a/b: config.json: no space left". It is
 * thread-safe, allocates nothing, and can be copied across threads and processes as it is.
 */
#ifndef HANGAR_ERROR_H
#define HANGAR_ERROR_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#    define HANGAR_API        __attribute__((visibility("default")))
#    define HANGAR_MUST_CHECK __attribute__((warn_unused_result))
#else
#    define HANGAR_API
#    define HANGAR_MUST_CHECK
#endif

/* HANGAR_OK is 0; the others are HANGAR_E_NAME, one for each line of errors.def. */
typedef enum hangar_code {
#define HANGAR_ERROR(name, text, http, exit) HANGAR_E_##name,
#include "hangar/errors.def"
#undef HANGAR_ERROR
    HANGAR_E_COUNT
} hangar_code;
#define HANGAR_OK HANGAR_E_OK

#define HANGAR_ERR_MAX 512

/* The words that go with a code. Zero-initialise it: hangar_err err = {0}. */
typedef struct hangar_err {
    hangar_code code;
    int sys; /* the errno behind it, or 0 */
    char msg[HANGAR_ERR_MAX];
} hangar_err;

/* The text of a code ("not found"); never NULL. */
HANGAR_API const char *hangar_code_text(hangar_code code);
/* The stable name of a code for programs ("NOT_FOUND"); never NULL. */
HANGAR_API const char *hangar_code_name(hangar_code code);
/* The exit code a command ends with, and the HTTP status a server answers with. */
HANGAR_API int hangar_code_exit(hangar_code code);
HANGAR_API int hangar_code_http(hangar_code code);

#ifdef __cplusplus
}
#endif
#endif
