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
    const char *
        form; /* what becomes of the weights: "f32", "int8", ...: hangar_onnx_forms; NULL: "f32", but see below */
    const char
        *level; /* "O0", "O1", "O2": hangar_onnx_optimize; NULL: models.conversion.optimization_level */
} hangar_convert_options;
#define HANGAR_CONVERT_OPTIONS_INIT            \
    {                                          \
        .size = sizeof(hangar_convert_options) \
    }

/*
 * Converts one model, in a child process with limits, and proves the result before it becomes visible: a bad
 * one never does. The result appears whole or not at all. One that is kept for hangar itself is from then on the form
 * that is loaded. Without `form` (and `out`) it is 32-bit, unless that does not fit into memory or
 * models.conversion.enable_quantization is on: then it is smaller, and "why" says so. out_json: {"ref","commit","architecture","task",
 * "form","style","path","graphs":[{"file","nodes","bytes"}],"weights":{"placed","bytes"},"bytes_written",
 * "build":{"seconds","peak_bytes"},"proof":the report card of hangar_onnx_validate without its "ref" and
 * "commit","seconds"} and perhaps "profile","why". When the proof fails the result is INTEGRITY, with out_json filled.
 * Errors: NOT_FOUND, UNSUPPORTED (an architecture or a setting that the builder does not know; the
 * message names the key), INVALID, INTEGRITY, NO_SPACE, CANCELLED.
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_onnx_convert(hangar *h, const char *ref,
                                                             const hangar_convert_options *options,
                                                             hangar_job *job, char **out_json,
                                                             hangar_err *err);

/* All forms that weights can take: [{"name","words"}], the default first. */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_onnx_forms(char **out_json, hangar_err *err);

/* How a model is tuned. */
typedef struct hangar_optimize_options {
    size_t size;
    const char *profile; /* of hangar_onnx_profiles; NULL = "auto" */
    /*
     * "O0": the operators of the ONNX standard alone, run as they stand; "O1": the same, and what the engine simplifies without operators of
     * its own; "O2": fused operators and everything that the engine knows. NULL: models.conversion.optimization_level
     */
    const char *level;
    const char *out; /* as in hangar_convert_options */
    hangar_place place;
    double seconds; /* that "auto" may measure in all; 0 = 60 */
    bool keep;      /* "auto" keeps also what it did not choose */
} hangar_optimize_options;
#define HANGAR_OPTIMIZE_OPTIONS_INIT            \
    {                                           \
        .size = sizeof(hangar_optimize_options) \
    }

/*
 * Makes the form of a model that a profile names, proves it as a conversion is proved, and has the model loaded in it from then on (without
 * `out`). With "auto" every form that fits is made, proved, loaded and timed on this machine at sizes of the model's own kind; the fastest whose
 * report card is good stays. out_json: that of hangar_onnx_convert with "asked" (the profile that was named), "profile" (the one it became),
 * "why" (one line) and "table": null, or one entry for each form tried: {"profile","form","ok","load_seconds","prefill_ms","batch_ms","step_ms",
 * "score","bytes","memory","drift","why"}, score = milliseconds of the model's main use (docs/verbs/optimize.md).
 * Errors as hangar_onnx_convert; UNSUPPORTED for a level that is not to be had; LIMIT when the time was too short for any form.
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_onnx_optimize(hangar *h, const char *ref,
                                                              const hangar_optimize_options *options,
                                                              hangar_job *job, char **out_json,
                                                              hangar_err *err);

/* All profiles: [{"name","form","words"}]; form is null where it is found out. */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_onnx_profiles(char **out_json, hangar_err *err);

/* HANGAR_OK when a converted form of the model is there, else NOT_FOUND. */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_onnx_exists(hangar *h, const char *ref, hangar_err *err);

typedef struct hangar_validate_options {
    size_t size;
    const char *form; /* which form of the model; NULL: the one that is used */
    bool layers; /* also compare the model cut after its first layer, its first two, ...: which one drifts */
} hangar_validate_options;
#define HANGAR_VALIDATE_OPTIONS_INIT            \
    {                                           \
        .size = sizeof(hangar_validate_options) \
    }

/*
 * Checks a converted model: the structure of each graph, that it loads in ONNX Runtime (in a child), that
 * its outputs are finite, that an input gives the same alone, in a batch, with padding and step by step, that
 * the answers are those of the source architecture computed anew in double precision, those of a form
 * near those of the weights as they were, and, when the repository has a reference.json, that the values agree.
 * out_json: the report card {"ref","commit","form","ok","checks":[{"name","ok","value","limit","detail",
 * "skipped"}],"seconds"}. A failed check is the result INTEGRITY, with out_json filled.
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_onnx_validate(hangar *h, const char *ref,
                                                              const hangar_validate_options *options,
                                                              hangar_job *job, char **out_json,
                                                              hangar_err *err);

#ifdef __cplusplus
}
#endif
#endif
