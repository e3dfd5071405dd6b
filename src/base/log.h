/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A log for those who look for a fault: off unless HANGAR_LOG names components ("hub,store" or "all", each
 * optionally =error|warn|info|debug). Lines go to stderr of the process, or to the sink that is set. Values are
 * escaped; secrets never reach it.
 */
#ifndef HG_BASE_LOG_H
#define HG_BASE_LOG_H

#include "base/err.h"

typedef enum hg_log_level { HG_LOG_ERROR, HG_LOG_WARN, HG_LOG_INFO, HG_LOG_DEBUG } hg_log_level;

typedef void hg_log_fn(void *ctx, hg_log_level level, const char *component, const char *line);
void hg_log_sink(hg_log_fn *fn, void *ctx);
/* hg_log(HG_LOG_INFO, "hub", "range %d done", 3) */
void hg_log(hg_log_level level, const char *component, const char *fmt, ...) HG_PRINTF(3, 4);

#endif
