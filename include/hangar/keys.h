/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys for callers of the daemon. Kept as hashes in keys.json in hangar's own folder; a running daemon sees a change at once.
 */
#ifndef HANGAR_KEYS_H
#define HANGAR_KEYS_H

#include "hangar/hangar.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Makes a key. name: 1 to 64 letters, digits, '.', '_', '-', the first a letter or digit. scope: "infer" (ask models) or "manage" (also load,
 * fetch, remove, look into the machine); NULL = "infer". out_json: {"name","scope","created","key"}, the only time that the key is told.
 * Errors: USAGE, BUSY (there is one of that name), LIMIT, INVALID and DENIED (the file is malformed, others may write it), NO_SPACE.
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_key_create(hangar *h, const char *name, const char *scope,
                                                           char **out_json, hangar_err *err);
/* {"file","keys":[{"name","scope","created"}]}, in the order in which they were made; created in unix seconds. */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_key_list(hangar *h, char **out_json, hangar_err *err);
/* {"name","scope","created"} of the key that is gone. NOT_FOUND. */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_key_remove(hangar *h, const char *name, char **out_json,
                                                           hangar_err *err);

#ifdef __cplusplus
}
#endif
#endif
