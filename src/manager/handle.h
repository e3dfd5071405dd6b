/* SPDX-License-Identifier: Apache-2.0 */
/* What an opened hangar is made of; for the manager's own files only. */
#ifndef HG_MANAGER_HANDLE_H
#define HG_MANAGER_HANDLE_H

#include "hangar/hangar.h"
#include "settings/settings.h"
#include "store/store.h"

struct hangar {
    hg_settings *settings;
    hg_store *store;
};

/* What one can tell of a model from its files, without loading it (describe.c). Strings are owned; "" = not known. */
typedef struct hg_facts {
    char format[16];       /* "safetensors", "gguf", "onnx", "other" */
    char architecture[64]; /* model_type or general.architecture */
    char dtype[16];        /* the type most parameters have */
    char task[32];         /* "text-generation", "automatic-speech-recognition", "feature-extraction", ... */
    char license[64];
    uint64_t parameters; /* 0 = not known */
    uint64_t context_length;
    uint64_t weight_bytes;
    uint64_t memory_needed; /* estimate: weights + cache + working space */
    char weights[1025];     /* the file (first shard) that would be loaded, path in the repository */
} hg_facts;
/* Reads config.json and the headers of the weight files of a snapshot; what is malformed is left out, with a note in `problem` (may be NULL). */
void hg_facts_read(const hg_snapshot *snap, hg_facts *out, hangar_err *problem);

#endif
