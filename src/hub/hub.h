/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Hugging Face Hub as a client: resolve a revision to one commit, list its files, plan, fetch, prove, publish. The only room that
 * knows libcurl. Everything that comes over the wire is hostile.
 */
#ifndef HG_HUB_HUB_H
#define HG_HUB_HUB_H

#include "settings/settings.h"
#include "store/store.h"
#include "hangar/model.h"

/* See hangar_model_download for events, result and errors. */
hangar_code hg_hub_pull(const hg_settings *settings, hg_store *store, const hg_ref *ref,
                        const hangar_download_options *options, hangar_job *job, char **out_json,
                        hangar_err *err);

#endif
