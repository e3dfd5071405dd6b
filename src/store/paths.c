/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one place where names become paths. Every function here checks again what it joins, so that a name which slipped
 * past a caller's check ends as NULL and not as a path: a repository by hg_repo_check, a digest and a commit by their
 * hex digits, a revision by hg_revision_check, a file of a repository by hg_path_check.
 */
#include "store/internal.h"

#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

#define FOLDER_MAX (HG_REPO_MAX + 16)

/* "org/name" -> "models--org--name". */
static bool folder_of(const char *repo, char out[FOLDER_MAX])
{
    hg_str name = hg_str_of(repo), org;
    if (hg_repo_check(name, NULL) != HANGAR_OK) return false;
    if (hg_str_cut(&name, '/', &org))
        snprintf(out, FOLDER_MAX, "models--%.*s--%.*s", HG_STR_ARG(org), HG_STR_ARG(name));
    else snprintf(out, FOLDER_MAX, "models--%.*s", HG_STR_ARG(org));
    return true;
}

bool hg_repo_from_folder(const char *folder, char out[HG_REPO_MAX])
{
    const char *rest = folder + sizeof "models--" - 1;
    if (strncmp(folder, "models--", sizeof "models--" - 1) != 0 || strlen(rest) >= HG_REPO_MAX) return false;
    const char *gap = strstr(rest, "--");
    if (gap) snprintf(out, HG_REPO_MAX, "%.*s/%s", (int)(gap - rest), rest, gap + 2);
    else snprintf(out, HG_REPO_MAX, "%s", rest);
    return hg_repo_check(hg_str_of(out), NULL) == HANGAR_OK;
}

static bool oid_ok(const hg_oid *oid)
{
    return oid && hg_hex_is(hg_str_of(oid->hex), oid->kind == HG_HASH_SHA256 ? 64 : 40);
}

static uint64_t random_bits(void)
{
    uint64_t bits = 0;
    if (getrandom(&bits, sizeof bits, 0) != (ssize_t)sizeof bits) bits = (uint64_t)getpid();
    return bits;
}

char *hg_repo_dir(const hg_store *s, const char *repo)
{
    char folder[FOLDER_MAX];
    return folder_of(repo, folder) ? hg_format("%s/%s", s->cache, folder) : NULL;
}

char *hg_repo_part(const hg_store *s, const char *repo, const char *part)
{
    char folder[FOLDER_MAX];
    return folder_of(repo, folder) ? hg_format("%s/%s/%s", s->cache, folder, part) : NULL;
}

char *hg_repo_locks_dir(const hg_store *s, const char *repo)
{
    char folder[FOLDER_MAX];
    return folder_of(repo, folder) ? hg_format("%s/.locks/%s", s->cache, folder) : NULL;
}

char *hg_repo_lock_path(const hg_store *s, const char *repo)
{
    char folder[FOLDER_MAX];
    return folder_of(repo, folder) ? hg_format("%s/.locks/%s/hangar.lock", s->cache, folder) : NULL;
}

char *hg_revision_path(const hg_store *s, const char *repo, const char *revision)
{
    char folder[FOLDER_MAX];
    if (!folder_of(repo, folder) || hg_revision_check(hg_str_of(revision), NULL) != HANGAR_OK) return NULL;
    return hg_format("%s/%s/refs/%s", s->cache, folder, revision);
}

char *hg_commit_dir(const hg_store *s, const char *repo, const char *commit)
{
    char folder[FOLDER_MAX];
    if (!folder_of(repo, folder) || !hg_commit_is(hg_str_of(commit))) return NULL;
    return hg_format("%s/%s/snapshots/%s", s->cache, folder, commit);
}

char *hg_commit_file(const hg_store *s, const char *repo, const char *commit, const char *path)
{
    char folder[FOLDER_MAX];
    if (!folder_of(repo, folder) || !hg_commit_is(hg_str_of(commit))) return NULL;
    if (hg_path_check(hg_str_of(path), NULL) != HANGAR_OK) return NULL;
    return hg_format("%s/%s/snapshots/%s/%s", s->cache, folder, commit, path);
}

char *hg_snapshot_file_path(const hg_snapshot *snap, const char *path)
{
    if (hg_path_check(hg_str_of(path), NULL) != HANGAR_OK) return NULL;
    return hg_path_join(snap->dir, path);
}

char *hg_blob_path(const hg_store *s, const char *repo, const hg_oid *oid)
{
    char folder[FOLDER_MAX];
    if (!folder_of(repo, folder) || !oid_ok(oid)) return NULL;
    return hg_format("%s/%s/blobs/%s", s->cache, folder, oid->hex);
}

char *hg_blob_partial_path(const hg_store *s, const char *repo, const hg_oid *oid)
{
    char folder[FOLDER_MAX];
    if (!folder_of(repo, folder) || !oid_ok(oid)) return NULL;
    return hg_format("%s/%s/blobs/%s%s", s->cache, folder, oid->hex, HG_PARTIAL_SUFFIX);
}

char *hg_blob_lock_path(const hg_store *s, const char *repo, const hg_oid *oid)
{
    char folder[FOLDER_MAX];
    if (!folder_of(repo, folder) || !oid_ok(oid)) return NULL;
    return hg_format("%s/.locks/%s/%s.lock", s->cache, folder, oid->hex);
}

char *hg_blob_mark_path(const hg_store *s, const char *repo, const hg_oid *oid)
{
    char folder[FOLDER_MAX];
    if (!folder_of(repo, folder) || !oid_ok(oid)) return NULL;
    return hg_format("%s/.locks/%s/%s.damaged", s->cache, folder, oid->hex);
}

char *hg_blob_temp_path(const hg_store *s, const char *repo)
{
    char folder[FOLDER_MAX];
    if (!folder_of(repo, folder)) return NULL;
    return hg_format("%s/%s/blobs/%016llx%s", s->cache, folder, (unsigned long long)random_bits(),
                     HG_PARTIAL_SUFFIX);
}

char *hg_blob_link(const char *path, const hg_oid *oid)
{
    if (!oid_ok(oid) || hg_path_check(hg_str_of(path), NULL) != HANGAR_OK) return NULL;
    hg_buf b;
    hg_buf_init(&b, HG_KIB);
    for (const char *at = strchr(path, '/'); at; at = strchr(at + 1, '/')) hg_buf_puts(&b, "../");
    hg_buf_printf(&b, "../../blobs/%s", oid->hex);
    char *text = hg_buf_take(&b);
    hg_buf_deinit(&b);
    return text;
}

char *hg_stage_path(const hg_store *s, const char *repo)
{
    char folder[FOLDER_MAX];
    if (!folder_of(repo, folder)) return NULL;
    return hg_format("%s/.locks/%s/%s%016llx", s->cache, folder, HG_TMP_PREFIX,
                     (unsigned long long)random_bits());
}

char *hg_remove_plan_path(const hg_store *s, const char *repo, const char *commit)
{
    char folder[FOLDER_MAX];
    if (!folder_of(repo, folder) || !hg_commit_is(hg_str_of(commit))) return NULL;
    return hg_format("%s/.locks/%s/hangar-remove-%s", s->cache, folder, commit);
}

char *hg_remove_aside_path(const hg_store *s, const char *repo, const char *commit)
{
    char folder[FOLDER_MAX];
    if (!folder_of(repo, folder) || !hg_commit_is(hg_str_of(commit))) return NULL;
    return hg_format("%s/.locks/%s/hangar-removed-%s", s->cache, folder, commit);
}

char *hg_artifact_root(const hg_store *s, const char *repo, const char *commit)
{
    char folder[FOLDER_MAX];
    if (!folder_of(repo, folder) || (commit && !hg_commit_is(hg_str_of(commit)))) return NULL;
    return hg_format("%s/artifacts/%s%s%s", s->home, folder, commit ? "/" : "", commit ? commit : "");
}

char *hg_artifact_dir(const hg_store *s, const char *repo, const char *commit, const char *kind)
{
    char folder[FOLDER_MAX];
    if (!folder_of(repo, folder) || !hg_commit_is(hg_str_of(commit))) return NULL;
    if (hg_path_check(hg_str_of(kind), NULL) != HANGAR_OK || strchr(kind, '/')) return NULL;
    return hg_format("%s/artifacts/%s/%s/%s", s->home, folder, commit, kind);
}

char *hg_store_index_path(const hg_store *s)
{
    return hg_path_join(s->home, "index.db");
}

char *hg_store_tag_path(const hg_store *s)
{
    return hg_path_join(s->cache, "CACHEDIR.TAG");
}

bool hg_blob_name_parse(const char *name, hg_oid *out, bool *partial)
{
    hg_str rest = hg_str_of(name), head;
    *partial = hg_str_cut(&rest, '.', &head);
    if (*partial && !hg_str_eq(rest, HG_STR("incomplete")) && !hg_str_ends(rest, HG_STR(".incomplete")))
        return false;
    return hg_oid_parse(head, out, NULL) == HANGAR_OK;
}
