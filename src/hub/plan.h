/* SPDX-License-Identifier: Apache-2.0 */
/* What a pull has to do: which files of the listing are wanted, which blobs they are, and which of those are there. */
#ifndef HG_HUB_PLAN_H
#define HG_HUB_PLAN_H

#include "hangar/model.h"
#include "hub/listing.h"
#include "store/store.h"

/* One content; several paths may name it. */
typedef struct hg_want {
    hg_oid oid;
    uint64_t size;
    const char *path; /* the first path that names it, borrowed from the listing */
    bool have;        /* was in the store before */
    bool fetched;     /* is there now, by this pull */
} hg_want;

/* One wanted path. */
typedef struct hg_pick {
    const hg_entry *entry; /* borrowed from the listing */
    size_t want;
} hg_pick;

typedef struct hg_plan {
    hg_pick *picks; /* in the listing's order */
    size_t pick_count;
    hg_want *wants; /* each blob once, the small ones first */
    size_t want_count;
    uint64_t size;    /* of all wants */
    uint64_t missing; /* of those that are not there */
} hg_plan;

/* Whether a path is wanted: the ref's :FILE or an include pattern (everything when there is neither), no exclude. */
bool hg_path_wanted(const char *path, const char *file, const hangar_download_options *options);
/* NOT_FOUND when nothing is wanted. options may be NULL. */
hangar_code hg_plan_make(const hg_listing *listing, hg_store *store, const hg_ref *ref,
                         const hangar_download_options *options, hg_plan *out, hangar_err *err);
/* NO_SPACE, with both figures, when what is missing (less what partial files hold already) is more than is free. */
hangar_code hg_plan_space(const hg_plan *plan, hg_store *store, const hg_ref *ref, hangar_err *err);
void hg_plan_deinit(hg_plan *plan);

#endif
