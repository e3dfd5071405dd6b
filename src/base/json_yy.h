/* SPDX-License-Identifier: Apache-2.0 */
/* What json.c and json_write.c share: the JSON library and the way from a value to the library's. For them alone. */
#ifndef HG_BASE_JSON_YY_H
#define HG_BASE_JSON_YY_H

#include "base/json.h"

#include <stdio.h>
#include <yyjson.h>

/* The library's value behind ours; its functions take no const but change nothing. */
static inline yyjson_val *hg_json_yy(const hg_jval *v)
{
    return (yyjson_val *)(uintptr_t)v;
}

#endif
