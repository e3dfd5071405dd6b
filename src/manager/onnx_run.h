/* SPDX-License-Identifier: Apache-2.0 */
/* A converted model in an ONNX runner, and graphs of it run with tensors (the operation "run" of engine/onnx_ops.h). For validation. */
#ifndef HG_MANAGER_ONNX_RUN_H
#define HG_MANAGER_ONNX_RUN_H

#include "convert/artifact.h"
#include "engine/runner.h"
#include "manager/handle.h"

#define HG_OR_RANK_MAX   8
#define HG_OR_INPUTS_MAX 256

typedef enum hg_or_type { HG_OR_F32, HG_OR_I64, HG_OR_BOOL, HG_OR_F16 } hg_or_type;
/* Bytes of one number. */
size_t hg_or_type_size(hg_or_type type);

/* Numbers with a shape. An output's data are the answer's own. */
typedef struct hg_or_tensor {
    const char *name;
    hg_or_type type;
    size_t rank;
    int64_t shape[HG_OR_RANK_MAX];
    const void *data;
    size_t bytes;
    const char
        *kept; /* an input: the output that the runner has kept, in place of all but the name; NULL = none */
} hg_or_tensor;
#define HG_OR_FLOATS(t) ((const float *)(t)->data)
/* The product of the shape; 0 when it is negative or overflows. */
size_t hg_or_count(const hg_or_tensor *t);

typedef struct hg_or_session {
    hg_runner *runner;
    hg_frame ready; /* the READY frame: inputs and outputs of each graph */
    hangar_job *job;
} hg_or_session;

hangar_code hg_or_open(hangar *h, const hg_artifact *a, hangar_job *job, hg_or_session *out, hangar_err *err);
void hg_or_close(hg_or_session *s);
/* The shape that a graph's input ("inputs") or output ("outputs") declares, -1 for any length; false when there is none of that name. */
bool hg_or_port(const hg_or_session *s, const char *graph, const char *side, const char *name,
                hg_or_tensor *out);
/* The names of a graph's inputs or outputs, one by one; NULL at the end. */
const char *hg_or_name(const hg_or_session *s, const char *graph, const char *side, size_t index);
/* One run of a graph. All names and data are borrowed. */
typedef struct hg_or_call {
    const char *graph;
    hg_or_tensor inputs[HG_OR_INPUTS_MAX];
    size_t count;
    const char *output;                 /* the only one that is sent; NULL = all that are not kept */
    const char *keep[HG_OR_INPUTS_MAX]; /* outputs that the runner keeps, each until the next of its name */
    size_t keep_count;
} hg_or_call;
/* Runs it; the answer holds the outputs that are sent. Deinit it with hg_frame_deinit. */
hangar_code hg_or_run(hg_or_session *s, const hg_or_call *call, hg_frame *answer, hangar_err *err);
/* An output of the answer; ENGINE when it is missing, not of type F32, or does not fit the answer's bytes. */
hangar_code hg_or_output(const hg_frame *answer, const char *name, hg_or_tensor *out, hangar_err *err);

#endif
