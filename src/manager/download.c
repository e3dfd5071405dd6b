/* SPDX-License-Identifier: Apache-2.0 */
#include "hangar/model.h"

#include "base/mem.h"
#include "hub/hub.h"
#include "manager/catalog.h"
#include "manager/journal.h"
#include "manager/metrics.h"

hangar_code hangar_model_download(hangar *h, const char *ref, const hangar_download_options *options,
                                  hangar_job *job, char **out_json, hangar_err *err)
{
    hangar_download_options known = {0};
    hg_ref parsed;
    if (out_json) *out_json = NULL;
    hangar_code code =
        hg_options_read(options, sizeof options->size, "hangar_download_options", &known, sizeof known, err);
    if (code == HANGAR_OK) code = hg_catalog_has_weights(h, ref, err);
    if (code == HANGAR_OK) code = hg_ref_parse(ref, &parsed, err);
    if (code != HANGAR_OK) return code;
    int64_t id = known.dry_run ? 0 : hg_journal_begin(h, "pull", ref);
    HG_AUTO(hg_auto_free) char *json = NULL;
    code = hg_hub_pull(h->settings, h->store, &parsed, &known, job, &json, err);
    if (!known.dry_run) hg_metric_pull(parsed.repo, code, json);
    if (out_json) {
        *out_json = json;
        json = NULL;
    }
    return known.dry_run ? code : hg_journal_end(h, id, code, err);
}
