/* SPDX-License-Identifier: Apache-2.0 */
#include "hangar/model.h"

#include "hub/hub.h"
#include "manager/journal.h"

#include <stddef.h>
#include <string.h>

hangar_code hangar_model_download(hangar *h, const char *ref, const hangar_download_options *options,
                                  hangar_job *job, char **out_json, hangar_err *err)
{
    /* An older caller's struct is shorter: what it does not have is zero. */
    hangar_download_options known = {0};
    hg_ref parsed;
    if (out_json) *out_json = NULL;
    if (options) {
        size_t size = options->size < sizeof known ? options->size : sizeof known;
        if (size < sizeof options->size)
            return hg_fail(err, HANGAR_E_USAGE, "hangar_download_options: size is not set");
        memcpy(&known, options, size);
    }
    hangar_code code = hg_ref_parse(ref, &parsed, err);
    if (code != HANGAR_OK) return code;
    int64_t id = known.dry_run ? 0 : hg_journal_begin(h, "pull", ref);
    code = hg_hub_pull(h->settings, h->store, &parsed, &known, job, out_json, err);
    return hg_journal_end(h, id, code, err);
}
