/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a conversion leaves for hangar itself: HOME/artifacts/models--ORG--NAME/{commit}/onnx/ (onnx-int8/, ...) with
 *
 *   hangar.json                                    the manifest, see docs/formats/onnx.md
 *   model.onnx | encoder_model.onnx, decoder_model_merged.onnx
 *   *.safetensors                                  only when the weights are of 16 bits ("placed")
 *
 *   *.onnx_data                                    weights that were made anew, one file for each graph
 *
 * The folder appears whole (a rename) or not at all. A graph finds its other weights in one of two ways:
 * - mapped (all used weights are F32): nothing is placed. Each weight's external location is the graph's own file name, its offset is that in the
 *   snapshot's safetensors file: whoever loads the graph maps that file and hands the weight over by name (AddInitializer).
 * - placed: the safetensors file lies beside the graph under the external location, and the engine reads it itself.
 */
#ifndef HG_CONVERT_ARTIFACT_H
#define HG_CONVERT_ARTIFACT_H

#include "base/json.h"
#include "convert/form.h"
#include "graph/read.h"
#include "store/store.h"

#define HG_ARTIFACT_KIND_MAX 64
#define HG_ARTIFACT_MANIFEST "hangar.json"
#define HG_ARTIFACT_CHOICE   "choice.json" /* beside the kinds: which of them is loaded; docs/formats/onnx.md */
#define HG_ARTIFACT_FORMAT   2

typedef struct hg_artifact_graph {
    char *path; /* absolute */
    const char *name;
    const char *data; /* name of its own data file; NULL = none */
    uint64_t data_bytes;
    hg_onnx_model *model; /* for its list of weights */
    const hg_jval *files; /* weight_files of the manifest; NULL = all weights are in file 0 */
} hg_artifact_graph;

typedef struct hg_artifact {
    char *dir;           /* absolute */
    hg_json *doc;        /* hangar.json */
    const hg_jval *root; /* its outermost object */
    char **
        files; /* for each entry of "weights": the absolute real path of the file (snapshot's, or the placed one) */
    uint64_t *sizes;
    size_t file_count;
    bool mapped;
    bool pack; /* the engine makes its own, faster copy of the weights at load */
    hg_artifact_graph *graphs;
    size_t graph_count;
} hg_artifact;

/* The folder's name for a form: "onnx" for the first of forms.def, "onnx-int8", ... */
void hg_artifact_kind(const char *form, char out[HG_ARTIFACT_KIND_MAX]);
/* The form whose folder has that name; NULL when there is none. */
const hg_form *hg_artifact_kind_form(const char *kind);
/* Which kind is loaded when nobody says. */
typedef struct hg_artifact_choice {
    char kind[HG_ARTIFACT_KIND_MAX]; /* that of choice.json, else "onnx" */
    bool found;                      /* choice.json says so */
    bool pack, pack_said;
    bool damaged; /* there is a choice.json, but it names no kind that is known: "onnx" then */
} hg_artifact_choice;
void hg_artifact_chosen(const hg_store *s, const hg_snapshot *snap, hg_artifact_choice *out);
/* Where choice.json is or will be; the caller's. */
char *hg_artifact_choice_path(const hg_store *s, const hg_snapshot *snap);

/*
 * Opens an artifact of a snapshot and holds it to the files it stands on: every weight file is there with the size it had, every weight of
 * every graph is, when it is mapped, F32, as long as its shape says, and inside its file (the engine checks a placed one). kind NULL = the
 * chosen one. NOT_FOUND when nothing was converted; INVALID when it is damaged (convert again).
 */
hangar_code hg_artifact_open(const hg_store *s, const hg_snapshot *snap, const char *kind, hg_artifact **out,
                             hangar_err *err);
/* The same of any folder, one that is not visible yet among them. */
hangar_code hg_artifact_open_at(const char *dir, const hg_snapshot *snap, hg_artifact **out, hangar_err *err);
void hg_artifact_free(hg_artifact *a);
void hg_artifact_auto_free(hg_artifact **a); /* for HG_AUTO */
/* "whisper", "bert". */
const char *hg_artifact_architecture(const hg_artifact *a);
/* "f32", ... */
const char *hg_artifact_form(const hg_artifact *a);
/* "O0", ... */
const char *hg_artifact_level(const hg_artifact *a);
/*
 * Writes into the open object of a LOAD frame:
 *   "folder": "/abs/.../onnx"              where the graphs (and placed weights) lie
 *   "files": ["/abs/real/path", ...]       to be mapped read-only; empty when the weights are placed
 *   "graphs": [{"name": "encoder_model", "path": "/abs/.../encoder_model.onnx", "initializers": [
 *       {"name": "model.encoder.conv1.weight", "file": 0, "offset": 81920, "bytes": 3072, "dtype": "F32", "shape": [64, 4, 3]}]}]
 *   "prepack": a->pack, "optimize": what the level asks of the engine
 * `file` counts in "files"; `offset` is from the start of that file; dtype is always F32.
 */
void hg_artifact_load_members(const hg_artifact *a, hg_jw *w);

#endif
