/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversion in two steps, because the first reads files that cannot be trusted and is done in a child process:
 *
 *   build    snapshot -> config.json -> architecture -> graphs -> checked -> written into a stage, with the data that the form makes anew.
 *            Of weights that stay as they are only the headers of their files are read.
 *   finish   the weights that a graph wants beside it are placed; for other tools the configuration and tokenizer, too.
 *
 * The stage is a folder that becomes visible by one rename (place.h): for hangar itself the artifact of artifact.h, for other tools the folder
 * they were promised.
 */
#ifndef HG_CONVERT_CONVERT_H
#define HG_CONVERT_CONVERT_H

#include "base/job.h"
#include "base/json.h"
#include "convert/form.h"
#include "hangar/onnx.h"
#include "store/store.h"

/* What is to be built. */
typedef struct hg_convert_spec {
    const hg_snapshot *snap;
    const hg_form *form;
    hg_style style;
    hg_level level;  /* kept in the manifest for those who load the graphs */
    int opset;       /* 0 = the default */
    uint32_t layers; /* only the first ones of each stack; 0 = all */
    bool for_others; /* graphs in stage/onnx, named as transformers.js wants them; else beside hangar.json */
} hg_convert_spec;

/* A spec as JSON members for the child, and back: the snapshot there has no more of the real one than building needs. */
void hg_convert_spec_write(const hg_convert_spec *spec, hg_jw *w);
hangar_code hg_convert_spec_read(const hg_jval *v, hg_convert_spec *out, hg_snapshot **out_snap,
                                 hangar_err *err);
/* The files that building reads, links resolved: the caller's array of the caller's paths, NULL at the end. */
hangar_code hg_convert_sources(const hg_snapshot *snap, char ***out_paths, hangar_err *err);
void hg_convert_sources_free(char **paths);

/*
 * Builds into the empty folder `stage`. *out_json is the manifest (docs/formats/onnx.md), which for hangar itself also lies in the stage as
 * hangar.json. Tells the job of the bytes that are made. Errors as hangar_onnx_convert.
 */
hangar_code hg_convert_build(const hg_convert_spec *spec, const char *stage, hangar_job *job, char **out_json,
                             hangar_err *err);

/* The folder that the result becomes: `out`, which must be missing or empty (USAGE), or the artifact's (out NULL). The caller's. */
hangar_code hg_convert_target(const hg_store *store, const hg_convert_spec *spec, const char *out,
                              char **out_target, hangar_err *err);

/* What finishing did. */
typedef struct hg_convert_finished {
    const char *way; /* how the weights came there: "reflink", "link", "copy"; NULL = none were placed */
    uint64_t weight_bytes; /* of the placed files */
    uint64_t written;      /* bytes that were copied */
} hg_convert_finished;
/* Finishes a stage of which `manifest` was built. The manifest comes from a child: its names are checked. */
hangar_code hg_convert_finish(const hg_convert_spec *spec, const char *stage, const hg_jval *manifest,
                              hangar_place place, hangar_job *job, hg_convert_finished *out, hangar_err *err);

#endif
