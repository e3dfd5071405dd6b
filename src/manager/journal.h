/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Long work is noted in the index when it begins and when it ends, so that whoever comes later (the doctor, another process) sees what was cut
 * short by a kill. The journal is a help, never a condition: without an index the work goes on unnoted.
 */
#ifndef HG_MANAGER_JOURNAL_H
#define HG_MANAGER_JOURNAL_H

#include "db/db.h"
#include "manager/handle.h"

#define HG_JOURNAL_KEEP 200 /* ended jobs that are remembered */

/* kind: "pull", "add", "verify", "convert". ref NULL = all models. Returns the number of the job, 0 when it could not be noted. */
int64_t hg_journal_begin(hangar *h, const char *kind, const char *ref);
/* Returns `result`, so that the last line of a call can be `return hg_journal_end(...)`. */
hangar_code hg_journal_end(hangar *h, int64_t id, hangar_code result, const hangar_err *err);
/* The newest `max` jobs, newest first, as hg_db_job_list; none without an index. */
void hg_journal_each(hangar *h, size_t max, hg_db_job_fn *fn, void *ctx);

#endif
