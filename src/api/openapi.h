/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HG_API_OPENAPI_H
#define HG_API_OPENAPI_H

#include "api/http.h"

/* The document of these tables (NULL-terminated, each ends with {0}); the caller's. */
hangar_code hg_openapi_write(const hg_endpoint *const *lists, char **out, hangar_err *err);

#endif
