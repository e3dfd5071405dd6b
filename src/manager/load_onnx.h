/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the loaders of the ONNX engine share: from a snapshot to a runner that holds its graphs. For the
 * manager's own files only.
 */
#ifndef HG_MANAGER_LOAD_ONNX_H
#define HG_MANAGER_LOAD_ONNX_H

#include "base/json.h"
#include "format/tokenizer.h"
#include "manager/loaded.h"
#include "manager/onnx_time.h"

/*
 * Opens the converted form of m->snap, converting first when there is none or it is damaged, and starts
 * m->runner with it; m->ready is what it said.
 */
hangar_code hg_load_onnx(hangar_model *m, hangar_job *job, hangar_err *err);
/* The same for a model that will be given sound or pictures; of its graphs only those that are named (NULL-terminated; each must be there), NULL = all. */
hangar_code hg_load_onnx_media(hangar_model *m, const char *const *graphs, hangar_job *job, hangar_err *err);
/* The same, sending along the files of the snapshot that are there, of a NULL-terminated list: the "texts" of engine/onnx_ops.h. */
hangar_code hg_load_onnx_texts(hangar_model *m, const char *const *texts, hangar_job *job, hangar_err *err);
/* The probe of a loader (manager/loaded.h) of the ONNX engine: one run of a graph on inputs that the runner makes. `source` of a decoder beside an encoder
 * is what the encoder always gives, where it does. */
hangar_code hg_probe_graph(const hangar_model *m, const hg_time_shape *shape, char **out, hangar_err *err);
/* The same of a graph that takes a few tokens, a picture, or a window of features. */
hangar_code hg_probe_whole(const hangar_model *m, const char *graph, char **out, hangar_err *err);
/* Opens a file for a runner: never as one of the standard streams, should those be closed (a descriptor 0 does not travel). */
hangar_code hg_open_regular_high(const char *file, int *out_fd, hangar_err *err);
/* A JSON file of the snapshot. OK with *out NULL when it has no such file. */
hangar_code hg_load_json(const hg_snapshot *snap, const char *path, hg_json **out, hangar_err *err);
/* The tokenizer of a snapshot: tokenizer.json, else the older files of its kind. */
hangar_code hg_load_tokenizer(const hg_snapshot *snap, hg_tokenizer **out, hangar_err *err);

#endif
