/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libmicrohttpd, loaded when it is first needed (base/lazy.h), and what both servers tell it. Who calls it includes <microhttpd.h>;
 * api/microhttpd.c has a line for each of its functions in use.
 */
#ifndef HG_API_MICROHTTPD_H
#define HG_API_MICROHTTPD_H

#include "base/err.h"

#include <microhttpd.h>
#include <stdarg.h>

/* Loads libmicrohttpd, if that was not done yet. INTERNAL when it cannot be. Any thread. */
hangar_code hg_mhd_ready(hangar_err *err);

/* For MHD_OPTION_EXTERNAL_LOGGER: its own words, which are few; `who` is the text that our lines of the log begin with. */
void hg_mhd_log(void *who, const char *fmt, va_list args);

/* For MHD_OPTION_UNESCAPE_CALLBACK: escapes stay; who reads an address decodes them, once. */
size_t hg_mhd_keep_escapes(void *ctx, struct MHD_Connection *connection, char *text);

#endif
