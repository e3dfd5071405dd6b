/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Libraries that are loaded when they are first needed. Some bring dozens of others with them, which cost each start of a program
 * milliseconds and megabytes (libcurl 17, libav 125), while most verbs and most models need none of it.
 *
 * A file has the library's functions under their own names, each a line that hands the call on, so that callers include the library's
 * header and write what its manual says:
 *
 *   static hg_lazy lib = {.file = "libz.so.1", .package = "zlib1g"};
 *   HG_LAZY(lib, uLong, crc32, (uLong crc, const Bytef *bytes, uInt len), (crc, bytes, len))
 *
 * The compiler holds each line to the header's declaration. The program does not link the library.
 */
#ifndef HG_BASE_LAZY_H
#define HG_BASE_LAZY_H

#include "base/err.h"

#include <stdatomic.h>

typedef struct hg_lazy {
    const char *file;    /* the name that the linker would have noted, as "libz.so.1" */
    const char *package; /* Debian's, for the message when it is not there            */
    _Atomic(void *) handle;
} hg_lazy;

/*
 * Loads it, if that was not done yet. INTERNAL when it cannot be: the message names file and package. What opens a room to the library
 * calls this first, as the functions cannot say it. Any thread.
 */
hangar_code hg_lazy_load(hg_lazy *lib, hangar_err *err);

/* The address of a function; the program ends with a message when there is no such library or function. Any thread. */
void *hg_lazy_find(hg_lazy *lib, const char *function);

/* The same; *found keeps it for the next time. */
static inline void *hg_lazy_at(hg_lazy *lib, const char *function, _Atomic(void *) *found)
{
    void *at = atomic_load_explicit(found, memory_order_acquire);
    if (!at) atomic_store_explicit(found, at = hg_lazy_find(lib, function), memory_order_release);
    return at;
}

/* The function `name` of a library: it loads the library at the first call, and hands the call on. */
#define HG_LAZY(lib, type, name, params, args)                        \
    type name params                                                  \
    {                                                                 \
        static _Atomic(void *) found;                                 \
        return ((type(*) params)hg_lazy_at(&lib, #name, &found))args; \
    }

#endif
