/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays a Hugging Face Hub over a folder: DIR/ORG/NAME/ is a repository's branch main, DIR/ORG/NAME@REV/
 * its revision REV. Clients reach it by HF_ENDPOINT=http://127.0.0.1:PORT. Read only.
 *
 * A revision's commit is a digest of its files, so it changes exactly when they do. Files of 10 MiB and
 * more, and all *.safetensors, *.gguf, *.onnx, *.bin, are served as LFS (a redirect to a signed address).
 */
#ifndef HANGAR_MIRROR_H
#define HANGAR_MIRROR_H

#include "hangar/hangar.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hangar_mirror hangar_mirror;

typedef struct hangar_mirror_options {
    size_t size;
    const char
        *listen; /* "ADDR:PORT"; port 0 = any free one; NULL = 127.0.0.1:0; only loopback without a token */
    const char
        *token; /* clients must send it; NULL = open                                                     */
} hangar_mirror_options;
#define HANGAR_MIRROR_OPTIONS_INIT            \
    {                                         \
        .size = sizeof(hangar_mirror_options) \
    }

/* Starts serving on threads of its own. Errors: USAGE (listen, token), NOT_FOUND or DENIED (dir), BUSY (the port is in use). */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_mirror_start(const char *dir,
                                                             const hangar_mirror_options *options,
                                                             hangar_mirror **out, hangar_err *err);
/* "http://127.0.0.1:4711"; lives as long as the mirror. */
HANGAR_API const char *hangar_mirror_url(const hangar_mirror *mirror);
/* Ends it; running answers are cut. */
HANGAR_API void hangar_mirror_stop(hangar_mirror *mirror);

#ifdef __cplusplus
}
#endif
#endif
