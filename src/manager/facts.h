/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of hg_facts_read share: the shape of a model as far as its memory is concerned, and where it comes from. */
#ifndef HG_MANAGER_FACTS_H
#define HG_MANAGER_FACTS_H

#include "base/json.h"
#include "base/mem.h"
#include "manager/handle.h"

/* Numbers that decide about the cache of a running model; 0 = not known. */
typedef struct hg_shape {
    uint64_t layers;   /* of the decoder */
    uint64_t kv_heads; /* per layer */
    uint64_t head_dim;
    uint64_t cross_context; /* positions of an encoder that every decoder layer also keeps */
    uint64_t cache_bytes;   /* per number in the cache: 2 (llama.cpp) or 4 (ONNX Runtime) */
} hg_shape;

/* Keeps the first words of trouble. */
void hg_facts_trouble(hangar_err *problem, const char *file, const hangar_err *why);
/* Copies text into a fixed field, cut at a whole character. */
void hg_facts_copy(char *out, size_t cap, hg_str text);

/* facts_weights.c: parameters, dtype, weight_bytes of the file f->weights and its further shards; from GGUF also the rest. */
void hg_facts_safetensors(const hg_snapshot *snap, hg_facts *f, hangar_err *problem);
void hg_facts_gguf(const hg_snapshot *snap, hg_facts *f, hg_shape *shape, hangar_err *problem);

/* facts_text.c: config.json and README.md. */
void hg_facts_config(const hg_snapshot *snap, hg_facts *f, hg_shape *shape, hangar_err *problem);
void hg_facts_readme(const hg_snapshot *snap, hg_facts *f);

#endif
