/* SPDX-License-Identifier: Apache-2.0 */
/* The Hub's JSON interface: one question with its retries; a revision resolved to a commit; its list of files. */
#ifndef HG_HUB_API_H
#define HG_HUB_API_H

#include "base/json.h"
#include "hub/listing.h"
#include "hub/net.h"
#include "store/store.h"

/* The commit that a revision means now. */
hangar_code hg_api_resolve(hg_net *net, const hg_ref *ref, char commit[41], hangar_err *err);
/* All files of a commit, checked (see listing.h). */
hangar_code hg_api_list(hg_net *net, const hg_ref *ref, const char *commit, hg_listing *out, hangar_err *err);

#endif
