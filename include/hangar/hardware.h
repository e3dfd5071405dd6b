/* SPDX-License-Identifier: Apache-2.0 */
/* What this machine has, and which profile hangar would choose for it. */
#ifndef HANGAR_HARDWARE_H
#define HANGAR_HARDWARE_H

#include "hangar/hangar.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * out_json: {"cpu":{"model","vendor","sockets","cores","threads","usable","isa":[...],"caches":[{"level",
 * "kind","bytes","count"}]},"memory":{"total","available","limit"},"gpus":[{"name","vendor","memory",
 * "driver"}],"disk":{"path","free"},"profile":{"name","why"}}. `usable` and `limit` respect affinity and
 * control groups; members that are not known are null.
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_hardware_detect(hangar *h, char **out_json, hangar_err *err);

/*
 * What is installed, what is missing, what to do. out_json: {"ok","checks":[{"name","state":"ok"|"warn"|
 * "fail","detail","advice"}]}. Something that keeps hangar from its main job is the result FAILED, with
 * out_json filled.
 */
HANGAR_API HANGAR_MUST_CHECK hangar_code hangar_doctor(hangar *h, char **out_json, hangar_err *err);

#ifdef __cplusplus
}
#endif
#endif
