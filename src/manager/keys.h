/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys that callers of the daemon show: $HANGAR_HOME/keys.json, {"keys":[{"name","scope","sha256","created"}]}. A key is 192 random bits,
 * so its plain SHA-256 tells nothing of it; the key itself is written nowhere. The file is written whole, with mode 0600, under a lock; one that
 * others may write is refused. Making and removing keys: include/hangar/keys.h.
 *
 * A set is used by one thread. Whether a caller without a key may do something is not decided here.
 */
#ifndef HG_MANAGER_KEYS_H
#define HG_MANAGER_KEYS_H

#include "base/str.h"
#include "manager/handle.h"

#define HG_KEY_PREFIX "hgk_"
#define HG_KEY_TEXT   52   /* characters of a key */
#define HG_KEY_NAME   64   /* at most, of its name */
#define HG_KEYS_MAX   1000 /* in the file */

typedef enum hg_key_scope {
    HG_KEY_NONE,   /* no such key */
    HG_KEY_INFER,  /* may ask models */
    HG_KEY_MANAGE, /* may also load, fetch, remove, look into the machine */
} hg_key_scope;

typedef struct hg_keys hg_keys;

/* No file is a set without keys. INVALID (malformed), DENIED (others may write it, or it is another's), LIMIT. */
hangar_code hg_keys_open(hangar *h, hg_keys **out, hangar_err *err);
void hg_keys_free(hg_keys *k);
/* Reads the file anew when it has changed; one stat(2) when it has not, so it may be asked for each request. After an error the keys are as they were. */
hangar_code hg_keys_reload(hg_keys *k, hangar_err *err);
size_t hg_keys_count(const hg_keys *k);
/*
 * What the key allows. Looks at every key and every byte whatever `key` is, so that the time tells nothing. out_name (may be NULL) is the key's
 * name, for the log, borrowed until the next reload.
 */
hg_key_scope hg_keys_check(const hg_keys *k, hg_str key, const char **out_name);

#endif
