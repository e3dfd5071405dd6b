/* SPDX-License-Identifier: Apache-2.0 */
/* Folders that appear whole, and the ways a weight file comes into one. */
#ifndef HG_CONVERT_PLACE_H
#define HG_CONVERT_PLACE_H

#include "base/err.h"
#include "base/job.h"
#include "hangar/onnx.h"

#include <stdbool.h>

/* A new, empty folder beside `target` under a temporary name; makes missing parents. The caller's path. */
hangar_code hg_stage_begin(const char *target, char **out_stage, hangar_err *err);
/* A new file in a stage, its folder made when missing. Not synced: the commit does that for all files at once, which costs one wait for the
 * disk and not one for each. */
hangar_code hg_stage_write(const char *path, const void *bytes, size_t len, hangar_err *err);
/* The same with the bytes of another file; told to the job under `item`, can be cancelled, NO_SPACE before the first byte. */
hangar_code hg_stage_copy(const char *from, const char *path, const char *item, hangar_job *job,
                          hangar_err *err);
/* Syncs every file and folder of the stage; then the finished folder takes its name. With `replace` it takes the place of an older one, else the target must be missing or empty. */
hangar_code hg_stage_commit(const char *stage, const char *target, bool replace, hangar_err *err);

/*
 * Puts the file `from` (a real file) at `to` (missing). AUTO tries reflink, then hard link, then copy. *out_way says what it became: "reflink",
 * "link" or "copy". A copy tells its progress to the job under `item`, can be cancelled, and is NO_SPACE before the first byte.
 */
hangar_code hg_place_weights(const char *from, const char *to, hangar_place place, const char *item,
                             hangar_job *job, const char **out_way, hangar_err *err);

#endif
