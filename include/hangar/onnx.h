/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversion of safetensors checkpoints to ONNX, and the proof that the result is right.
 *
 * The graphs that are written hold no weights: their initializers point into the safetensors file as it
 * lies, so that a conversion takes milliseconds and kilobytes. A converted model kept for hangar itself
 * (no `out`) lives under $HANGAR_HOME and needs no copy of the weights; a folder for other tools (`out`)
 * gets the weights placed beside the graphs.
 */
#ifndef HANGAR_ONNX_H
#define HANGAR_ONNX_H

#include "hangar/hangar.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How the weights come into an output folder. */
typedef enum hangar_place {
    HANGAR_PLACE_AUTO,    /* reflink, else hard link, else copy                                         */
    HANGAR_PLACE_LINK,    /* hard link; onnx >= 1.21 (Python) refuses to load files with several links  */
    HANGAR_PLACE_REFLINK, /* shared blocks, needs btrfs, xfs, ...                                       */
    HANGAR_PLACE_COPY,
} hangar_place;

/* Which operators the graphs are written in. */
typedef enum hangar_style {
    HANGAR_STYLE_FUSED,    /* ONNX Runtime's own, which do in one node what it has one fast kernel for */
    HANGAR_STYLE_PORTABLE, /* those of the ONNX standard alone: any engine runs them */
} hangar_style;

typedef struct hangar_convert_options {
    size_t size;
    const char *out; /* folder for other tools (transformers.js, Optimum); NULL: for hangar itself */
    hangar_place place;
    int opset; /* 0 = the default, 17 */
    hangar_style style;
    const char *form; /* what becomes of the weights: "f32" (NULL), "int8", ...: hangar_onnx_forms */
} hangar_convert_options;
#define HANGAR_CONVERT_OPTIONS_INIT            \
    {                                          \
        .size = sizeof(hangar_convert_options) \
    }

/*
 * Converts one model, in a child process with limits, and proves the result before it becomes visible: a bad
 * one never does. The result appears whole or not at all. out_json: {"ref","commit","architecture","task",
 * "form","style","path","graphs":[{"file","nodes","bytes"}],"weights":{"placed","bytes"},"bytes_written",
 * "build":{"seconds","peak_bytes"},"proof":the report card of hangar_onnx_validate without its "ref" and
 * "commit","seconds"}. When the proof fails the result is INTEGRITY, with out_json filled.
 * Errors: NOT_FOUND, UNSUPPORTED (an architecture or a setting that the builder does not know; the
 * message names the key), INVALID, INTEGRITY, NO_SPACE, CANCELLED.
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_onnx_convert(hangar *h, const char *ref,
                                                             const hangar_convert_options *options,
                                                             hangar_job *job, char **out_json,
                                                             hangar_err *err);

/* All forms that weights can take: [{"name","words"}], the default first. */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_onnx_forms(char **out_json, hangar_err *err);

/* HANGAR_OK when a converted form of the model is there, else NOT_FOUND. */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_onnx_exists(hangar *h, const char *ref, hangar_err *err);

/*
 * Checks a converted model: the structure of each graph, that it loads in ONNX Runtime (in a child), that
 * its outputs are finite, that step by step equals all at once, and, when the repository has a
 * reference.json, that the values agree. out_json: the report card {"ref","ok","checks":[{"name","ok",
 * "value","limit","detail"}],"seconds"}. A failed check is the result INTEGRITY, with out_json filled.
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_onnx_validate(hangar *h, const char *ref, hangar_job *job,
                                                              char **out_json, hangar_err *err);

#ifdef __cplusplus
}
#endif
#endif
