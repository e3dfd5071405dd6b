/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration: one YAML file, the environment, and what they add up to. docs/formats/config.md lists all keys. */
#ifndef HANGAR_CONFIG_H
#define HANGAR_CONFIG_H

#include "hangar/hangar.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Every setting with its value and where it came from: {"file","settings":[{"key","value","default",
 * "source":"default"|"file"|"environment"|"option","help","type","allowed","environment"}]}: sizes in bytes, durations
 * in seconds. Secrets are shown as "(set)".
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_config_show(hangar *h, char **out_json, hangar_err *err);

/*
 * Reads a configuration file (NULL: the one that would be used) and names what is wrong, each with its
 * line: {"file","ok","problems":[{"line","column","key","message"}]}. Problems are the result INVALID, with
 * out_json filled. The models that it declares are looked at too, those of models.json
 * beside it among them (line 0 then). Needs no opened hangar.
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_config_check(const char *file, char **out_json,
                                                             hangar_err *err);

#ifdef __cplusplus
}
#endif
#endif
