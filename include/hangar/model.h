/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Models in the store: fetch, list, look at, add, remove, re-check.
 *
 * A REF names a model: ORG/NAME or NAME, then optionally @REVISION (a branch, a tag, a ref such as
 * refs/pr/1, or a 40-digit commit; default main), then optionally :FILE, a file of the repository that
 * picks one of several (org/name:model-Q8_0.gguf). Whatever it holds, a name never reaches the file
 * system before it was checked.
 *
 * The store is the Hugging Face cache in its own layout: what Python tools fetched is found in place.
 */
#ifndef HANGAR_MODEL_H
#define HANGAR_MODEL_H

#include "hangar/hangar.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What to fetch and how. Zero means: as configured. */
typedef struct hangar_download_options {
    size_t size;
    const char *const *include; /* shell patterns on the path, NULL-terminated; NULL = everything          */
    const char *const *exclude; /* the same; wins over include                                             */
    bool dry_run;               /* resolve and plan, fetch nothing                                         */
    uint64_t limit_rate;        /* bytes per second over all streams; 0 = no limit                         */
} hangar_download_options;
#define HANGAR_DOWNLOAD_OPTIONS_INIT            \
    {                                           \
        .size = sizeof(hangar_download_options) \
    }

/*
 * Fetches one revision: resolves it to a commit, lists it, checks the room, fetches what is missing (in
 * parallel, in ranges, resuming), and shows a file only after its hash was proved. Events: PHASE, PLAN
 * per file, ITEM, TOTAL, NOTE.
 * out_json (may be NULL): {"ref","repo","revision","commit","path","dry_run","files":[{"path","size",
 * "state":"fetched"|"have"|"fetch"}],"bytes_total","bytes_fetched","seconds"}.
 * Errors: NOT_FOUND, GATED, DENIED, NETWORK, TIMEOUT, RATE_LIMITED, OFFLINE, INTEGRITY, INVALID (a
 * listing that cannot be trusted), LIMIT, NO_SPACE, CANCELLED.
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_model_download(hangar *h, const char *ref,
                                                               const hangar_download_options *options,
                                                               hangar_job *job, char **out_json,
                                                               hangar_err *err);

/* HANGAR_OK when the revision is in the store (at least one file of it), else NOT_FOUND. */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_model_exists(hangar *h, const char *ref, hangar_err *err);

/*
 * All models of the store: {"cache","models":[{"ref","repo","revision","commit","size","files",
 * "format","architecture","modified"}],"problems":[{"repo","message"}]}, sorted by name; size counts each
 * blob once; revision is null for a commit that no name leads to; problems names repositories that cannot be
 * read.
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_model_list(hangar *h, char **out_json, hangar_err *err);

/*
 * One model: {"ref","repo","revision","commit","path","size","files":[{"path","size","blob"}],"format",
 * "architecture","parameters","dtype","context_length","license","task","artifacts":[...],
 * "memory_needed","memory_available","fits":true|false,"weights","problem"}. Members that are not known are
 * null. weights is the file that would be loaded; problem tells of a config or weights that could not be read;
 * an artifact is {"kind","path","bytes","report"}.
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_model_get(hangar *h, const char *ref, char **out_json,
                                                          hangar_err *err);

/*
 * Takes a folder, a GGUF or an ONNX file of one's own into the store as repository `name` (NULL: local/
 * and the file's or folder's name), revision main; the source is copied (reflinked where the file
 * system can) and left alone. out_json: {"ref","commit","path","files","size"}.
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_model_add(hangar *h, const char *path, const char *name,
                                                          hangar_job *job, char **out_json, hangar_err *err);

/*
 * Removes a model's revision, the blobs that nothing else uses, and what was made from it; the last
 * revision takes the folder along. A name whose commit has another name goes alone. out_json:
 * {"ref","removed":[...],"freed","kept":[...]}; kept are files of others, which stay.
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_model_remove(hangar *h, const char *ref, char **out_json,
                                                             hangar_err *err);

/*
 * Hashes again what lies on disk, one model or all (ref NULL), without the network. out_json:
 * {"models","files","bytes","ok","damaged":[{"ref","path","expected","actual","problem":"hash"|"missing"|
 * "unreadable"}],"unverifiable":[{"ref","path"}]}. ok counts the files that were proved; unverifiable are those
 * that no digest names. Damage is the result INTEGRITY, with out_json filled; the next download repairs it.
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_model_verify(hangar *h, const char *ref, hangar_job *job,
                                                             char **out_json, hangar_err *err);

#ifdef __cplusplus
}
#endif
#endif
