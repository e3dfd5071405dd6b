/* SPDX-License-Identifier: Apache-2.0 */
/* The safetensors files of one snapshot seen as one set of tensors. Only headers are read. */
#ifndef HG_CONVERT_CHECKPOINT_H
#define HG_CONVERT_CHECKPOINT_H

#include "format/safetensors.h"
#include "store/store.h"

typedef struct hg_checkpoint_file {
    char *path; /* in the repository */
    char *real; /* absolute path, links resolved */
    uint64_t bytes;
    hg_safetensors *st;
} hg_checkpoint_file;

typedef struct hg_checkpoint {
    hg_checkpoint_file *files;
    size_t count;
} hg_checkpoint;

/*
 * The file that the reference names (:FILE), else model.safetensors, else the files of model.safetensors.index.json, each of which must be a
 * member of the snapshot. UNSUPPORTED when there are no safetensors files (it names what is there instead); INVALID when the
 * index does not agree with the files or two files have a tensor of the same name.
 */
hangar_code hg_checkpoint_open(const hg_snapshot *snap, hg_checkpoint *out, hangar_err *err);
/* There is model.safetensors or its index. */
bool hg_checkpoint_there(const hg_snapshot *snap);
/* UNSUPPORTED: what a repository without them has instead (GGUF, pickles, ONNX, ..), and what to do. */
hangar_code hg_checkpoint_missing(const hg_snapshot *snap, hangar_err *err);
void hg_checkpoint_deinit(hg_checkpoint *ck);
/* A tensor and (file may be NULL) the number of its file; NULL when there is none. */
const hg_tensor *hg_checkpoint_get(const hg_checkpoint *ck, const char *name, uint32_t *file);

#endif
