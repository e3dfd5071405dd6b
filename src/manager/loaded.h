/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model held by a runner, and the loaders that know how to bring one there. A loader is one file and one line in loaders.def: it says which
 * models it takes and writes the LOAD frame for its engine. The first line that takes a model wins.
 */
#ifndef HG_MANAGER_LOADED_H
#define HG_MANAGER_LOADED_H

#include "engine/runner.h"
#include "manager/handle.h"

typedef struct hg_loader hg_loader;

struct hangar_model {
    hangar *h;
    const hg_loader *loader;
    char *name; /* the REF as it was given */
    hg_snapshot *snap;
    hg_facts facts;
    hg_runner *runner;
    hg_frame ready; /* what the ONNX runner said of its graphs (READY); empty with others */
    double load_seconds;
    void *data; /* the loader's own (tokenizer, token tables, ...) */
};

struct hg_loader {
    const char *name; /* "whisper", "encoder", "llama" */
    const char *task; /* what it is for, in messages: "speech recognition", "embeddings", "text generation" */
    const char *verb; /* the command that uses such a model, told to who took another; NULL = none */
    bool (*takes)(const hg_snapshot *snap, const hg_facts *facts);
    /* Fills m->runner and m->data. m->h, name, snap and facts are set. On failure it leaves nothing behind. */
    hangar_code (*load)(hangar_model *m, hangar_job *job, hangar_err *err);
    void (*unload)(
        hangar_model *m); /* frees m->data; the runner is ended by the caller; NULL = nothing to free */
    /*
     * The CALL (the caller's text) of a real but small inference: one token, one vector, one window. It disturbs nothing that the runner keeps for
     * the next call, and is answered with DONE {"seconds"}. Reads no files.
     */
    hangar_code (*probe)(const hangar_model *m, char **out_call_json, hangar_err *err);
};

/* UNSUPPORTED, naming what the model is and what would fit, unless the model was loaded by `loader` or another for the same task. */
hangar_code hg_model_need(const hangar_model *m, const hg_loader *loader, hangar_err *err);

#define HG_LOADER(name) extern const hg_loader hg_loader_##name;
#include "manager/loaders.def"
#undef HG_LOADER

#endif
