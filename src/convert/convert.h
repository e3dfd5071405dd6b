/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversion: snapshot -> config.json -> architecture -> graphs -> checked -> written. Weights are never read, only the headers of their files.
 *
 * What is made appears under its name by one rename of a finished folder. For hangar itself (out NULL) that is the artifact of artifact.h,
 * which takes the place of an older one; for other tools it is `out`, which must be missing or an empty folder.
 */
#ifndef HG_CONVERT_CONVERT_H
#define HG_CONVERT_CONVERT_H

#include "base/job.h"
#include "hangar/onnx.h"
#include "store/store.h"

/* snap is of `store`; ref is only shown. The document of hangar_onnx_convert goes to *out_json (the caller's). */
hangar_code hg_convert(const hg_store *store, const hg_snapshot *snap, const char *ref,
                       const hangar_convert_options *options, hangar_job *job, char **out_json,
                       hangar_err *err);

#endif
