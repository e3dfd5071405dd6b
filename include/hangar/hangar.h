/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hangar: keeps AI models on a machine. This header pulls in all others, one per noun.
 *
 *   hangar *h = NULL;
 *   hangar_err err = {0};
 *   if (hangar_open(NULL, &h, &err) != HANGAR_OK) { puts(err.msg); return hangar_code_exit(err.code); }
 *   hangar_model_download(h, "org/name", NULL, NULL, NULL, &err);
 *   hangar_close(h);
 *
 * Ownership: a function whose last word is _free, _close or _deinit ends what _new, _open or _init
 * began. `const T *` that is returned is borrowed from its owner. A `char **out` is the caller's, to be
 * given back with hangar_free. Order of arguments: self, inputs, outputs, err.
 * Strings are UTF-8. Sizes are bytes unless named otherwise.
 *
 * Results that are documents (a listing, a report) are JSON text: the same bytes that the command
 * prints with --json. Their shape is described beside each function.
 */
#ifndef HANGAR_HANGAR_H
#define HANGAR_HANGAR_H

#include "hangar/error.h"
#include "hangar/job.h"

#ifdef __cplusplus
extern "C" {
#endif

#define HANGAR_VERSION "0.1.0"

/* One opened hangar: its settings, its store, its index. Usable from several threads at once. */
typedef struct hangar hangar;

/*
 * How to open. All members may be NULL or 0: the environment and the configuration file decide then.
 * Set `size` to sizeof(hangar_options), or start from HANGAR_OPTIONS_INIT.
 */
typedef struct hangar_options {
    size_t size;
    const char
        *config;      /* configuration file; else $HANGAR_CONFIG, else $XDG_CONFIG_HOME/hangar/hangar.yaml */
    const char *home; /* hangar's own data;   else $HANGAR_HOME, else $XDG_DATA_HOME/hangar                */
    const char
        *cache; /* the Hub cache;       else $HF_HUB_CACHE, the file's models.cache.path, $HF_HOME/hub */
    const char
        *endpoint;     /* the Hub;             else $HF_ENDPOINT, else https://huggingface.co               */
    const char *token; /* the Hub's token;     else $HF_TOKEN, else the token file                          */
} hangar_options;
#define HANGAR_OPTIONS_INIT            \
    {                                  \
        .size = sizeof(hangar_options) \
    }

HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_open(const hangar_options *options, hangar **out,
                                                     hangar_err *err);
HANGAR_API void hangar_close(hangar *h);
/* Gives back text that a hangar call handed out. NULL is fine. */
HANGAR_API void hangar_free(void *text);
/* "0.1.0" of the library that runs. */
HANGAR_API const char *hangar_version(void);

#ifdef __cplusplus
}
#endif

#include "hangar/config.h"
#include "hangar/daemon.h"
#include "hangar/engine.h"
#include "hangar/hardware.h"
#include "hangar/keys.h"
#include "hangar/mirror.h"
#include "hangar/model.h"
#include "hangar/onnx.h"
#include "hangar/programs.h"
#include "hangar/serve.h"

#endif
