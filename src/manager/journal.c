/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/journal.h"

#include "manager/metrics.h"

int64_t hg_journal_begin(hangar *h, const char *kind, const char *ref)
{
    int64_t id = 0;
    hg_metric_add(HG_M_JOBS_BEGUN, (const char *const[]){kind}, 1);
    hg_db *db = hg_store_db(h->store);
    if (!db || hg_db_job_begin(db, kind, ref ? ref : "", &id, NULL) != HANGAR_OK) return 0;
    return id;
}

hangar_code hg_journal_end(hangar *h, int64_t id, hangar_code result, const hangar_err *err)
{
    hg_metric_add(HG_M_JOBS_ENDED, (const char *const[]){hangar_code_name(result)}, 1);
    hg_db *db = id ? hg_store_db(h->store) : NULL;
    if (!db) return result;
    /* What cannot be noted is found "lost" later: the work itself has its own result. */
    hangar_code noted = hg_db_job_end(db, id, result, err, NULL);
    if (noted == HANGAR_OK) noted = hg_db_job_trim(db, HG_JOURNAL_KEEP, NULL);
    return result;
}

void hg_journal_each(hangar *h, size_t max, hg_db_job_fn *fn, void *ctx)
{
    hg_db *db = hg_store_db(h->store);
    if (db) (void)hg_db_job_list(db, max, fn, ctx, NULL);
}
