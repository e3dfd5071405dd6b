/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listing. What takes time (looking at every file, reading headers of weights) is remembered in the index under a
 * stamp made of the times of the folders involved, so that a listing of a thousand models looks at folders only. What was
 * newly found out is put into the index in batches, after it was found out: nobody waits for it. The index is read whole
 * and at once: a transaction for each model would cost more than all the rest.
 */
#include "base/clock.h"
#include "hangar/hangar.h"
#include "store/internal.h"

#include <stdio.h>
#include <stdlib.h>

/* Goes up whenever the meaning of the remembered facts changes. */
#define FACTS_REVISION "1"
/* A snapshot with more folders is not remembered. */
#define FACTS_DIRS_MAX 64
/* So many new facts are held back before they are written. */
#define PENDING_MAX 256

typedef struct pending {
    char repo[HG_REPO_MAX];
    char commit[41];
    char *stamp, *dirs, *facts;
} pending;

/* One line of the index. */
typedef struct row {
    char *text; /* holds all of them */
    const char *repo, *commit, *stamp, *dirs, *facts;
} row;

typedef struct listing {
    hg_store *s;
    hg_db *db;
    hg_describe_fn *describe;
    void *ctx;
    hg_jw *w;
    hg_jw *bad; /* repositories that could not be read */
    row *rows;  /* sorted by repo and commit */
    size_t row_len, row_cap;
    pending *news;
    size_t news_len, news_cap;
} listing;

static void flush(listing *l)
{
    if (l->news_len) hg_db_begin(l->db);
    for (size_t i = 0; i < l->news_len; i++) {
        pending *p = &l->news[i];
        hg_db_facts_put(l->db, p->repo, p->commit, p->stamp, hg_str_of(p->dirs), hg_str_of(p->facts));
        free(p->stamp);
        free(p->dirs);
        free(p->facts);
    }
    if (l->news_len) hg_db_commit(l->db);
    l->news_len = 0;
}

/* The times, then the version of who described. False when it must not be remembered. */
static bool make_stamp(const hg_repo *repo, const char *commit, hg_str dirs, hg_buf *out, int64_t *modified)
{
    hg_buf_init(out, 64 * HG_KIB);
    bool settled = hg_snapshot_stamp(repo, commit, dirs, out, modified);
    hg_buf_puts(out, HANGAR_VERSION "/" FACTS_REVISION);
    return settled && hg_buf_check(out, NULL) == HANGAR_OK;
}

/* Takes over facts. Whatever goes wrong here only costs time later. */
static void remember(listing *l, const char *repo, const char *commit, hg_str dirs, const hg_buf *stamp,
                     char *facts)
{
    if (!l->db || !hg_grow((void **)&l->news, &l->news_cap, l->news_len + 1, sizeof *l->news)) {
        free(facts);
        return;
    }
    pending *p = &l->news[l->news_len];
    *p = (pending){.stamp = hg_strdup(hg_buf_text(stamp)),
                   .dirs = hg_strndup(dirs.ptr, dirs.len),
                   .facts = facts};
    memcpy(p->repo, repo, strlen(repo) + 1);
    memcpy(p->commit, commit, sizeof p->commit);
    if (!p->stamp || !p->dirs) {
        free(p->stamp);
        free(p->dirs);
        free(p->facts);
        return;
    }
    l->news_len++;
    if (l->news_len == PENDING_MAX) flush(l);
}

/* Copies the members of a document into the open object. */
static void write_members(hg_jw *w, hg_str text)
{
    hg_json *doc = NULL;
    if (hg_json_parse(text, NULL, &doc, NULL) != HANGAR_OK) return;
    for (hg_json_iter it = hg_json_iter_of(hg_json_root(doc)); hg_json_next(&it);) {
        char key[64];
        snprintf(key, sizeof key, "%.*s", HG_STR_ARG(it.key));
        hg_jw_val(w, key, it.val);
    }
    hg_json_free(doc);
}

/* ---- what the index knew when the listing began ---- */

static bool keep_row(void *ctx, const hg_db_fact *f)
{
    listing *l = ctx;
    const hg_str parts[] = {f->repo, f->commit, f->stamp, f->dirs, f->facts};
    size_t need = HG_LEN(parts);
    for (size_t i = 0; i < HG_LEN(parts); i++) need += parts[i].len;
    if (!hg_grow((void **)&l->rows, &l->row_cap, l->row_len + 1, sizeof *l->rows)) return false;
    row *r = &l->rows[l->row_len];
    char *at = r->text = malloc(need);
    if (!at) return false;
    const char **fields[] = {&r->repo, &r->commit, &r->stamp, &r->dirs, &r->facts};
    for (size_t i = 0; i < HG_LEN(parts); i++) {
        *fields[i] = at;
        if (parts[i].len) memcpy(at, parts[i].ptr, parts[i].len);
        at[parts[i].len] = '\0';
        at += parts[i].len + 1;
    }
    l->row_len++;
    return true;
}

static int row_order(const void *key, const void *item)
{
    const char *const *names = key;
    const row *r = item;
    int c = strcmp(names[0], r->repo);
    return c ? c : strcmp(names[1], r->commit);
}

/* The remembered facts of a snapshot, if they still hold; NULL otherwise. */
static const char *recall(const listing *l, const hg_repo *repo, const char *commit, int64_t *modified)
{
    const char *names[] = {repo->name, commit};
    const row *r = l->row_len ? bsearch(names, l->rows, l->row_len, sizeof *l->rows, row_order) : NULL;
    hg_buf stamp;
    if (!r) return NULL;
    bool same = make_stamp(repo, commit, hg_str_of(r->dirs), &stamp, modified) &&
                hg_streq(hg_buf_text(&stamp), r->stamp);
    hg_buf_deinit(&stamp);
    return same ? r->facts : NULL;
}

/* The folders below a snapshot, a line each; false when there are too many to remember. */
static bool snapshot_dirs(const hg_snapshot *snap, hg_buf *out)
{
    hg_entries all;
    if (hg_entries_read(snap->dir, &all, NULL) != HANGAR_OK) return false;
    size_t count = all.dir_len;
    for (size_t i = 0; i < count && count <= FACTS_DIRS_MAX; i++) {
        if (i) hg_buf_putc(out, '\n');
        hg_buf_puts(out, all.dirs[i]);
        if (strchr(all.dirs[i], '\n')) count = SIZE_MAX;
    }
    hg_entries_deinit(&all);
    return count <= FACTS_DIRS_MAX;
}

/* Looks at the snapshot itself. The stamp is taken before, so that a change meanwhile makes it stale at once. */
static hangar_code find_out(listing *l, const hg_repo *repo, const char *commit, char **out,
                            int64_t *modified, hangar_err *err)
{
    hg_ref ref = {0};
    HG_AUTO(hg_snapshot_auto_free) hg_snapshot *snap = NULL;
    snprintf(ref.repo, sizeof ref.repo, "%s", repo->name);
    const char *rev = hg_repo_rev_of(repo, commit);
    snprintf(ref.revision, sizeof ref.revision, "%s", commit);
    hangar_code code = hg_snapshot_open(l->s, &ref, &snap, err);
    if (code != HANGAR_OK) return code;
    if (rev) snprintf(snap->ref.revision, sizeof snap->ref.revision, "%s", rev);
    hg_buf dirs, stamp;
    hg_buf_init(&dirs, HG_DB_TEXT_MAX);
    bool few = snapshot_dirs(snap, &dirs);
    bool settled = make_stamp(repo, commit, hg_buf_view(&dirs), &stamp, modified);
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_u64(w, "size", snap->size);
    hg_jw_u64(w, "files", snap->count);
    if (w && l->describe) l->describe(l->ctx, snap, w);
    code = w ? hg_jw_finish(w, false, out, err) : hg_fail_memory(err);
    char *facts = code == HANGAR_OK && few && settled ? hg_strdup(*out) : NULL;
    if (facts) remember(l, repo->name, commit, hg_buf_view(&dirs), &stamp, facts);
    hg_buf_deinit(&dirs);
    hg_buf_deinit(&stamp);
    return code;
}

static hangar_code list_commit(listing *l, const hg_repo *repo, const char *commit, hangar_err *err)
{
    char text[HG_REPO_MAX + HG_REVISION_MAX], time[24];
    HG_AUTO(hg_auto_free) char *found = NULL;
    hangar_code code = HANGAR_OK;
    int64_t modified = 0;
    const char *known = recall(l, repo, commit, &modified);
    if (!known) code = find_out(l, repo, commit, &found, &modified, err);
    if (code == HANGAR_OK) {
        const char *rev = hg_repo_rev_of(repo, commit);
        hg_ref_text(repo->name, rev, commit, text);
        hg_jw_obj(l->w, NULL);
        hg_jw_text(l->w, "ref", text);
        hg_jw_text(l->w, "repo", repo->name);
        hg_jw_text(l->w, "revision", rev);
        hg_jw_text(l->w, "commit", commit);
        write_members(l->w, hg_str_of(known ? known : found));
        hg_jw_text(l->w, "modified", modified ? hg_time_format(modified, time) : NULL);
        hg_jw_end(l->w);
    }
    /* Empty, or removed while it was looked at. */
    return code == HANGAR_E_NOT_FOUND ? HANGAR_OK : code;
}

/* Commits in the order of their names (main first), those without one last. */
static hangar_code list_repo(void *ctx, const hg_repo *repo, hangar_err *err)
{
    listing *l = ctx;
    hangar_code code = HANGAR_OK;
    HG_AUTO(hg_auto_free) bool *done = hg_calloc(repo->commit_len, sizeof *done);
    if (!done) return hg_fail_memory(err);
    for (size_t r = 0; r <= repo->rev_len; r++) {
        for (size_t c = 0; code == HANGAR_OK && c < repo->commit_len; c++) {
            if (done[c] || (r < repo->rev_len && !hg_streq(repo->revs[r].commit, repo->commits[c]))) continue;
            done[c] = true;
            code = list_commit(l, repo, repo->commits[c], err);
        }
    }
    return code;
}

static void list_bad(void *ctx, const char *repo, const hangar_err *why)
{
    listing *l = ctx;
    hg_jw_obj(l->bad, NULL);
    hg_jw_text(l->bad, "repo", repo);
    hg_jw_text(l->bad, "message", why->msg);
    hg_jw_end(l->bad);
}

/* The second list, made meanwhile, goes into the first document. */
static hangar_code write_problems(listing *l, hangar_err *err)
{
    HG_AUTO(hg_auto_free) char *text = NULL;
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hangar_code code = hg_jw_finish(l->bad, false, &text, err);
    if (code == HANGAR_OK) code = hg_json_parse(hg_str_of(text), NULL, &doc, err);
    if (code != HANGAR_OK) return code;
    hg_jw_end(l->w);
    hg_jw_val(l->w, "problems", hg_json_root(doc));
    return HANGAR_OK;
}

hangar_code hg_store_list(hg_store *s, hg_describe_fn *describe, void *ctx, char **out_json, hangar_err *err)
{
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    HG_AUTO(hg_jw_auto_free) hg_jw *bad = hg_jw_new();
    if (!w || !bad) return hg_fail_memory(err);
    hg_jw_arr(bad, NULL);
    listing l = {.s = s, .db = hg_store_db(s), .describe = describe, .ctx = ctx, .w = w, .bad = bad};
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "cache", s->cache);
    hg_jw_arr(w, "models");
    if (l.db) hg_db_facts_each(l.db, keep_row, &l);
    hangar_code code = hg_store_each(s, list_repo, list_bad, &l, err);
    flush(&l);
    free(l.news);
    for (size_t i = 0; i < l.row_len; i++) free(l.rows[i].text);
    free(l.rows);
    if (code == HANGAR_OK) code = write_problems(&l, err);
    return code == HANGAR_OK ? hg_jw_finish(w, false, out_json, err) : code;
}
