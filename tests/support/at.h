/* SPDX-License-Identifier: Apache-2.0 */
/* Paths in the empty directory that a test runs in. */
#ifndef HG_TEST_AT_H
#define HG_TEST_AT_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* An absolute path below the test's directory; one of a few static ones. */
static inline const char *at(const char *relative)
{
    static char paths[8][4096];
    static unsigned next;
    char *out = paths[next++ % 8], cwd[2048];
    if (!getcwd(cwd, sizeof cwd)) abort();
    snprintf(out, sizeof paths[0], "%s/%s", cwd, relative);
    return out;
}

#endif
