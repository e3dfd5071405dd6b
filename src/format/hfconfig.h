/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.json of a Hugging Face repository, read key by key with type and range.
 *
 *   hg_hfconfig c;
 *   code = hg_hfconfig_parse(text, &c, err);
 *   uint32_t d = hg_hfconfig_u32(&c, "d_model", 0, 1, 65536);      def 0 outside the range: the key is needed
 *   hg_hfconfig_only(&c, "position_embedding_type", "absolute");   any other value is refused by name
 *   if ((code = hg_hfconfig_check(&c, err)) != HANGAR_OK) ...      the first thing that was wrong
 *
 * A builder reads all it honours through here, and names what it cannot honour by hg_hfconfig_only or hg_hfconfig_refuse. What nobody read is
 * remembered: hg_hfconfig_all_known refuses the first key that was not, unless it says nothing (null, false, 0, "", []) or is known to change
 * no answer (dropouts, initializers, names). So a setting is never dropped in silence. The first error sticks.
 */
#ifndef HG_FORMAT_HFCONFIG_H
#define HG_FORMAT_HFCONFIG_H

#include "base/err.h"
#include "base/json.h"

#define HG_HFCONFIG_MAX      ((size_t)4 << 20) /* bytes of config.json */
#define HG_HFCONFIG_READ_MAX 256               /* different keys that a builder may read */

typedef struct hg_hfconfig {
    hg_json *doc;
    const hg_jval *root;
    const char *where;                      /* the key of the object this is; NULL = the whole file */
    hangar_err wrong;                       /* the first thing that was wrong; code OK = nothing so far */
    const char *read[HG_HFCONFIG_READ_MAX]; /* keys that were asked for; borrowed: literals */
    size_t read_count;
} hg_hfconfig;

hangar_code hg_hfconfig_parse(hg_str json, hg_hfconfig *out, hangar_err *err);
hangar_code hg_hfconfig_open(const char *path, hg_hfconfig *out, hangar_err *err);
void hg_hfconfig_deinit(hg_hfconfig *c);
hangar_code hg_hfconfig_check(const hg_hfconfig *c, hangar_err *err);

/* The key is there and not null. */
bool hg_hfconfig_has(hg_hfconfig *c, const char *key);
/* The value itself, for lists and objects; NULL when the key is missing or null. */
const hg_jval *hg_hfconfig_value(hg_hfconfig *c, const char *key);
/* An object of the file ("text_config") as a configuration of its own, empty when it is missing; borrows from c, and is given back by _leave, which checks
 * that all of it was known and takes its error over. */
void hg_hfconfig_enter(hg_hfconfig *c, const char *key, hg_hfconfig *out);
void hg_hfconfig_leave(hg_hfconfig *c, hg_hfconfig *sub);
/* A whole number in [min, max]; `def` when the key is missing or null. A def outside [min, max] makes the key needed. On error: min. */
uint32_t hg_hfconfig_u32(hg_hfconfig *c, const char *key, uint32_t def, uint32_t min, uint32_t max);
/* A finite number in [min, max]; `def` when missing or null. */
double hg_hfconfig_f64(hg_hfconfig *c, const char *key, double def, double min, double max);
bool hg_hfconfig_bool(hg_hfconfig *c, const char *key, bool def);
/* A text, borrowed; `def` (may be NULL) when missing or null. */
const char *hg_hfconfig_text(hg_hfconfig *c, const char *key, const char *def);
/* The first entry of "architectures" ("BertForMaskedLM"); NULL when there is none, or when it is no list of names (then INVALID sticks). */
const char *hg_hfconfig_class(hg_hfconfig *c);
/* Keys that this architecture keeps for training or for another task: NULL-terminated literals. */
void hg_hfconfig_ignore(hg_hfconfig *c, const char *const *keys);
/* UNSUPPORTED, naming the first key that was not read and says something. Called by the driver when everything was built. */
void hg_hfconfig_all_known(hg_hfconfig *c);

/* UNSUPPORTED, naming key and value, unless the key is missing, null, or this text / this truth value. */
void hg_hfconfig_only(hg_hfconfig *c, const char *key, const char *value);
void hg_hfconfig_only_bool(hg_hfconfig *c, const char *key, bool value);
/* UNSUPPORTED, naming the key, when it is there with a value other than null, false, 0, "", [] and {}. */
void hg_hfconfig_refuse(hg_hfconfig *c, const char *key);
/* UNSUPPORTED or another code in the builder's own words; the first one sticks. */
void hg_hfconfig_wrong(hg_hfconfig *c, hangar_code code, const char *fmt, ...) HG_PRINTF(3, 4);

#endif
