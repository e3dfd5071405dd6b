/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of files of one revision, read from the Hub's JSON and checked. It is all or nothing: one path that is not
 * clean, one path twice, a file that another path uses as a folder, one digest that is none, sizes that do not add up,
 * and the whole revision is refused. Digests that the Hub masks (asterisks) mean that access must be asked for.
 */
#ifndef HG_HUB_LISTING_H
#define HG_HUB_LISTING_H

#include "base/hash.h"
#include "base/json.h"

#include <stdint.h>

#define HG_FILES_MAX      100000u             /* files of a revision */
#define HG_PAGES_MAX      1000u               /* pages of its list */
#define HG_LIST_BYTES_MAX (64u << 20)         /* JSON of all pages together */
#define HG_FILE_SIZE_MAX  ((uint64_t)1 << 46) /* one file: 64 TiB */

typedef struct hg_entry {
    char *path; /* passed hg_path_check; owned */
    uint64_t size;
    hg_oid oid; /* SHA-256 of an LFS file, git's SHA-1 of another */
} hg_entry;

typedef struct hg_listing {
    hg_entry *items;
    size_t count, cap;
    uint64_t size;    /* of all files together */
    unsigned skipped; /* entries that are neither file nor folder (links, submodules) */
} hg_listing;

void hg_listing_deinit(hg_listing *l);
/* Adds one page of the tree interface (an array), or the `siblings` of an info answer. GATED for masked digests. */
hangar_code hg_listing_add_tree(hg_listing *l, const hg_jval *page, hangar_err *err);
hangar_code hg_listing_add_siblings(hg_listing *l, const hg_jval *siblings, hangar_err *err);
/* After the last page: sorts by path and looks for paths that are there twice or stand in each other's way. */
hangar_code hg_listing_finish(hg_listing *l, hangar_err *err);
/* The `sha` of an info answer. */
hangar_code hg_info_commit(const hg_jval *info, char commit[41], hangar_err *err);

#endif
