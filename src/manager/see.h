/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures to a model: how its repository wants them, and one file through a graph of the runner. For the manager's own files only. */
#ifndef HG_MANAGER_SEE_H
#define HG_MANAGER_SEE_H

#include "manager/dense.h"
#include "manager/load_classifier.h"
#include "manager/load_encoder.h"
#include "manager/loaded.h"

#define HG_SEE_WIDTH_MAX 1000000 /* numbers that a graph gives for one picture */

/* The steps of preprocessor_config.json, as the "prepare" of engine/onnx_ops.h (JSON). */
typedef struct hg_sight {
    char *prepare;
} hg_sight;

/*
 * Reads preprocessor_config.json; what it leaves out is what the class that it names (ViT, CLIP, SigLIP), else `type` (model_type), is made
 * with. NOT_FOUND without the file; UNSUPPORTED, named, for another class, way of resampling or kind of size.
 */
hangar_code hg_sight_read(const hg_snapshot *snap, const char *type, hg_sight *out, hangar_err *err);
void hg_sight_deinit(hg_sight *s);
/* A file through a graph: *out (the caller's) are the numbers of its output, *width of them. Errors begin with the file. */
hangar_code hg_see(hangar_model *m, const hg_sight *sight, const char *graph, const char *output,
                   const char *file, hangar_job *job, float **out, size_t *width, hangar_err *err);

/* A loaded model of texts and pictures (load_pair.c): CLIP, SigLIP. */
typedef struct hg_pair {
    hg_encoder text;
    hg_sight sight;
    const char *picture_output; /* of the graph vision_model */
    double scale, bias;         /* scores are scale * cosine + bias */
    hg_score score;             /* softmax over the labels, or a sigmoid each */
} hg_pair;

/* A loaded model that gives pictures labels (load_vision.c): ViT. */
typedef struct hg_vision {
    hg_classifier labels; /* without a tokenizer */
    hg_sight sight;
} hg_vision;

#endif
