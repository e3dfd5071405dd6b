/* SPDX-License-Identifier: Apache-2.0 */
/* A conversion from the first look to the rename: built in a child, proved, made visible. For the manager's own files only. */
#ifndef HG_MANAGER_CONVERT_H
#define HG_MANAGER_CONVERT_H

#include "convert/convert.h"
#include "manager/profile.h"

/* What the child did. */
typedef struct hg_built {
    hg_json *doc; /* the DONE frame: free it */
    const hg_jval *manifest;
    double seconds;
    uint64_t peak_bytes;
    hg_convert_finished finished;
} hg_built;
void hg_built_deinit(hg_built *b);
/* Builds and finishes the stage `stage` (an empty folder), the first half in a child. */
hangar_code hg_onnx_build(hangar *h, const hg_convert_spec *spec, const char *stage, hangar_place place,
                          hangar_job *job, hg_built *out, hangar_err *err);

/* The level of that name; NULL = that of the settings. USAGE; UNSUPPORTED for O3, which a conversion does not make. */
hangar_code hg_onnx_level(const hangar *h, const char *level, hg_level *out, hangar_err *err);
/* Converts, proves, shows; the choice of what is loaded stays as it is. */
hangar_code hg_onnx_convert(hangar *h, const hg_snapshot *snap, const char *ref,
                            const hangar_convert_options *options, hangar_job *job, char **out_json,
                            hangar_err *err);

/* The same, and what was made is loaded from now on (not with `out`). profile NULL = the first one of options->form. */
hangar_code hg_onnx_make(hangar *h, const hg_snapshot *snap, const char *ref,
                         const hangar_convert_options *options, const hg_profile *profile, const char *why,
                         hangar_job *job, char **out_json, hangar_err *err);

/* hangar_onnx_optimize without the reference's look-up. */
hangar_code hg_onnx_optimize(hangar *h, const hg_snapshot *snap, const char *ref,
                             const hangar_optimize_options *options, hangar_job *job, char **out_json,
                             hangar_err *err);

#endif
