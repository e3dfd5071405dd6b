/* SPDX-License-Identifier: Apache-2.0 */
/* libcurl, loaded when it is first needed (base/lazy.h). Who calls it includes <curl/curl.h>; base/curl.c has a line for each of its functions in use. */
#ifndef HG_BASE_CURL_H
#define HG_BASE_CURL_H

#include "base/err.h"

/* Loads and starts libcurl, if that was not done yet. INTERNAL when it cannot be. Any thread. */
hangar_code hg_curl_ready(hangar_err *err);

#endif
