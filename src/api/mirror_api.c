/* SPDX-License-Identifier: Apache-2.0 */
/* The Hub's API over the mirror: a model's facts, its tree, its references, the list of models. */
#include "api/mirror.h"
#include "base/clock.h"
#include "base/mem.h"
#include "hub/url.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- one model's facts ---- */

/* What `expand` may ask for, and what an answer without it has: in the info (1), in the list (2). */
static const struct {
    const char *name;
    unsigned plain;
} properties[] = {{"author", 1},   {"cardData", 0},      {"config", 0},      {"createdAt", 3},
                  {"disabled", 1}, {"downloads", 3},     {"gated", 1},       {"lastModified", 1},
                  {"likes", 3},    {"library_name", 0},  {"model-index", 0}, {"pipeline_tag", 0},
                  {"private", 3},  {"sha", 1},           {"siblings", 1},    {"spaces", 0},
                  {"tags", 3},     {"trendingScore", 0}, {"usedStorage", 1}};

/* Whether the answer has a property. */
static bool wants(const hg_target *t, const char *name, unsigned plain)
{
    bool any = false;
    for (size_t i = 0; i < t->param_count; i++) {
        if (!hg_str_eq(t->key[i], HG_STR("expand")) && !hg_str_eq(t->key[i], HG_STR("expand[]"))) continue;
        if (hg_str_eq(t->value[i], hg_str_of(name))) return true;
        any = true;
    }
    for (size_t i = 0; !any && i < HG_LEN(properties); i++)
        if (!strcmp(properties[i].name, name)) return properties[i].plain & plain;
    return false;
}

/* False when `expand` names something that there is not; the answer is queued then. */
static bool expand_known(hg_request *r, enum MHD_Result *out)
{
    const hg_target *t = &r->target;
    for (size_t i = 0; i < t->param_count; i++) {
        if (!hg_str_eq(t->key[i], HG_STR("expand")) && !hg_str_eq(t->key[i], HG_STR("expand[]"))) continue;
        bool known = false;
        for (size_t k = 0; k < HG_LEN(properties); k++)
            known |= hg_str_eq(t->value[i], hg_str_of(properties[k].name));
        if (known) continue;
        *out = hg_mirror_error(r, MHD_HTTP_BAD_REQUEST, NULL, NULL, "\"expand\" names an unknown property");
        return false;
    }
    return true;
}

/* "2026-01-31T12:00:00.000Z": some clients insist on the fraction. */
static void put_time(hg_jw *w, const char *key, int64_t when)
{
    char buf[24], text[32];
    hg_time_format(when, buf);
    snprintf(text, sizeof text, "%.19s.000Z", buf);
    hg_jw_text(w, key, text);
}

/* A stable identity of 24 digits from a text. */
static void put_id(hg_jw *w, hg_str id)
{
    char hex[65] = "";
    hg_hash *h = hg_hash_new(HG_HASH_SHA1, 0);
    if (h) {
        hg_hash_add(h, "repository", 11);
        hg_hash_add(h, id.ptr, id.len);
        if (hg_hash_finish(h, hex, NULL) != HANGAR_OK) hex[0] = '\0';
    }
    hg_hash_free(h);
    hg_jw_str(w, "_id", (hg_str){hex, strnlen(hex, 24)});
}

/* What every description of a model begins with, and what is the same for all. */
static void put_common(hg_jw *w, const hg_target *t, hg_str id, int64_t modified, unsigned plain)
{
    hg_str rest = id, author;
    hg_str_cut(&rest, '/', &author);
    put_id(w, id);
    hg_jw_str(w, "id", id);
    if (!hg_target_has(t, "expand") && !hg_target_has(t, "expand[]")) hg_jw_str(w, "modelId", id);
    if (wants(t, "author", plain)) hg_jw_str(w, "author", author);
    if (wants(t, "lastModified", plain)) put_time(w, "lastModified", modified);
    if (wants(t, "createdAt", plain)) put_time(w, "createdAt", modified);
    if (wants(t, "private", plain)) hg_jw_bool(w, "private", false);
    if (wants(t, "disabled", plain)) hg_jw_bool(w, "disabled", false);
    if (wants(t, "gated", plain)) hg_jw_bool(w, "gated", false);
    if (wants(t, "downloads", plain)) hg_jw_i64(w, "downloads", 0);
    if (wants(t, "likes", plain)) hg_jw_i64(w, "likes", 0);
}

/* lfs{sha256, size, pointerSize}; the tree calls the digest oid. */
static void put_lfs(hg_jw *w, const hg_mirror_file *f, const char *digest)
{
    hg_buf pointer;
    if (!f->lfs) return;
    hg_buf_init(&pointer, HG_KIB);
    hg_lfs_pointer(f, &pointer);
    hg_jw_obj(w, "lfs");
    hg_jw_text(w, digest, f->sha256);
    hg_jw_u64(w, "size", f->size);
    hg_jw_u64(w, "pointerSize", pointer.len);
    hg_jw_end(w);
    hg_buf_deinit(&pointer);
}

/* The formats that the files' names tell, as tags. */
static void put_tags(hg_jw *w, const hg_mirror_snap *snap)
{
    static const char *const formats[] = {"safetensors", "gguf", "onnx"};
    hg_jw_arr(w, "tags");
    for (size_t k = 0; k < HG_LEN(formats); k++) {
        bool found = false;
        for (size_t i = 0; i < snap->count && !found; i++) {
            const char *dot = strrchr(snap->files[i].path, '.');
            found = dot && !strcmp(dot + 1, formats[k]);
        }
        if (found) hg_jw_text(w, NULL, formats[k]);
    }
    hg_jw_end(w);
}

/* siblings[{rfilename, size?, blobId?, lfs?}] */
static void put_siblings(hg_jw *w, const hg_mirror_snap *snap, bool blobs)
{
    hg_jw_arr(w, "siblings");
    for (size_t i = 0; i < snap->count; i++) {
        const hg_mirror_file *f = &snap->files[i];
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "rfilename", f->path);
        if (blobs) {
            hg_jw_u64(w, "size", f->size);
            hg_jw_text(w, "blobId", f->oid);
            put_lfs(w, f, "sha256");
        }
        hg_jw_end(w);
    }
    hg_jw_end(w);
}

enum MHD_Result hg_route_info(hg_request *r)
{
    enum MHD_Result result;
    const hg_target *t = &r->target;
    hg_str rev = t->seg_count > 5 ? t->seg[5] : HG_STR("main");
    if (!expand_known(r, &result) || !hg_request_revision(r, t->seg[2], t->seg[3], rev, &result))
        return result;
    char id[256];
    snprintf(id, sizeof id, "%s/%s", t->seg[2].ptr, t->seg[3].ptr);
    uint64_t used = 0;
    for (size_t i = 0; i < r->snap->count; i++) used += r->snap->files[i].size;
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    put_common(w, t, hg_str_of(id), r->snap->modified, 1);
    if (wants(t, "sha", 1)) hg_jw_text(w, "sha", r->snap->commit);
    if (wants(t, "tags", 1)) put_tags(w, r->snap);
    if (wants(t, "usedStorage", 1)) hg_jw_u64(w, "usedStorage", used);
    if (wants(t, "siblings", 1)) put_siblings(w, r->snap, hg_target_flag(t, "blobs"));
    hg_jw_end(w);
    result = hg_mirror_json(r, w, NULL);
    hg_jw_free(w);
    return result;
}

/* ---- the tree ---- */

/* lastCommit and what a scanner said. */
static void put_expanded(hg_jw *w, const hg_mirror_snap *snap)
{
    hg_jw_obj(w, "lastCommit");
    hg_jw_text(w, "id", snap->commit);
    hg_jw_text(w, "title", "The folder as it is");
    put_time(w, "date", snap->modified);
    hg_jw_end(w);
    hg_jw_obj(w, "securityFileStatus");
    hg_jw_text(w, "status", "unscanned");
    hg_jw_end(w);
}

static void put_file(hg_jw *w, const hg_mirror_snap *snap, const hg_mirror_file *f, bool expand)
{
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "type", "file");
    hg_jw_text(w, "oid", f->oid);
    hg_jw_u64(w, "size", f->size);
    put_lfs(w, f, "oid");
    hg_jw_text(w, "path", f->path);
    if (expand) put_expanded(w, snap);
    hg_jw_end(w);
}

/* A folder; its identity is a digest of what lies below it. files[at] is the first file in it. */
static void put_folder(hg_jw *w, const hg_mirror_snap *snap, size_t at, size_t len, bool expand)
{
    char hex[65] = "";
    const char *path = snap->files[at].path;
    hg_hash *h = hg_hash_new(HG_HASH_SHA1, 0);
    for (size_t i = at; h && i < snap->count && !strncmp(snap->files[i].path, path, len + 1); i++) {
        const hg_mirror_file *f = &snap->files[i];
        hg_hash_add(h, f->path + len, strlen(f->path + len) + 1);
        hg_hash_add(h, f->oid, strlen(f->oid) + 1);
    }
    if (h && hg_hash_finish(h, hex, NULL) != HANGAR_OK) hex[0] = '\0';
    hg_hash_free(h);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "type", "directory");
    hg_jw_text(w, "oid", hex);
    hg_jw_u64(w, "size", 0);
    hg_jw_str(w, "path", (hg_str){path, len});
    if (expand) put_expanded(w, snap);
    hg_jw_end(w);
}

/* A page of a listing: entries are counted from the start of the whole listing. */
typedef struct page {
    hg_jw *w;
    const hg_mirror_snap *snap;
    uint64_t from, to; /* half open */
    uint64_t at;
    bool expand;
} page;

/* Counts one entry and tells whether it is in the page. */
static bool page_has(page *p)
{
    uint64_t n = p->at++;
    return n >= p->from && n < p->to;
}

/* Lists what is below the folder `dir` (empty: all); false when there is no such folder. */
static bool list_tree(page *p, const char *dir, bool recursive)
{
    size_t base = *dir ? strlen(dir) + 1 : 0;
    const char *last = "";
    bool any = base == 0;
    for (size_t i = 0; i < p->snap->count && p->at <= p->to; i++) {
        const hg_mirror_file *f = &p->snap->files[i];
        if (base > 0 && (strncmp(f->path, dir, base - 1) != 0 || f->path[base - 1] != '/')) continue;
        any = true;
        bool inner = false;
        for (const char *slash = strchr(f->path + base, '/'); slash; slash = strchr(slash + 1, '/')) {
            size_t len = (size_t)(slash - f->path);
            inner = true;
            bool seen = !strncmp(last, f->path, len + 1);
            if (!seen && page_has(p)) put_folder(p->w, p->snap, i, len, p->expand);
            if (!recursive) break;
        }
        if ((recursive || !inner) && page_has(p)) put_file(p->w, p->snap, f, p->expand);
        last = f->path;
    }
    return any;
}

/* A number from the query within 1..max; max when it is not given. False (400 queued) when it is none. */
static bool page_size(hg_request *r, uint64_t max, uint64_t *out_limit, enum MHD_Result *out)
{
    *out_limit = max;
    if (!hg_target_has(&r->target, "limit")) return true;
    if (!hg_u64_parse(hg_target_param(&r->target, "limit"), out_limit) || *out_limit == 0) {
        *out = hg_mirror_error(r, MHD_HTTP_BAD_REQUEST, NULL, NULL, "\"limit\" must be a positive number");
        return false;
    }
    if (*out_limit > max) *out_limit = max;
    return true;
}

enum MHD_Result hg_route_tree(hg_request *r)
{
    enum MHD_Result result;
    const hg_target *t = &r->target;
    char *path = NULL;
    if (!hg_request_revision(r, t->seg[2], t->seg[3], t->seg[5], &result) ||
        !hg_request_path(r, &path, &result))
        return result;
    page p = {.snap = r->snap, .expand = hg_target_flag(t, "expand")};
    bool recursive = hg_target_flag(t, "recursive");
    uint64_t limit;
    hg_str cursor = hg_target_param(t, "cursor");
    bool ok = page_size(r, p.expand ? HG_MIRROR_PAGE / 10 : HG_MIRROR_PAGE, &limit, &result);
    if (ok && cursor.len > 0 && (!hg_u64_parse(cursor, &p.from) || p.from > UINT32_MAX)) {
        result = hg_mirror_error(r, MHD_HTTP_BAD_REQUEST, NULL, NULL, "Invalid cursor");
        ok = false;
    }
    p.to = p.from + limit;
    p.w = hg_jw_new();
    hg_jw_arr(p.w, NULL);
    if (ok && !list_tree(&p, path ? path : "", recursive)) {
        result = hg_mirror_error(r, MHD_HTTP_NOT_FOUND, "EntryNotFound", r->snap->commit, "Entry not found");
        ok = false;
    }
    hg_jw_end(p.w);
    hg_buf next;
    hg_buf_init(&next, 4 * HG_MIRROR_TARGET_BYTES);
    if (ok && p.at > p.to) {
        hg_buf_printf(&next, "http://%s/api/models/%s/%s/tree/%s", r->host, t->seg[2].ptr, t->seg[3].ptr,
                      r->snap->commit);
        if (path) hg_buf_putc(&next, '/');
        if (path) hg_url_quote(&next, hg_str_of(path), false);
        hg_buf_printf(&next, "?recursive=%s&expand=%s&limit=%" PRIu64 "&cursor=%" PRIu64,
                      recursive ? "true" : "false", p.expand ? "true" : "false", limit, p.to);
    }
    if (ok) result = hg_mirror_json(r, p.w, next.len ? hg_buf_text(&next) : NULL);
    hg_buf_deinit(&next);
    hg_jw_free(p.w);
    free(path);
    return result;
}

/* ---- questions for single paths ---- */

/* The entry of one path, when there is one. */
static void put_entry(hg_jw *w, const hg_mirror_snap *snap, const char *path, bool expand)
{
    const hg_mirror_file *f = hg_snap_find(snap, path);
    size_t len = strlen(path);
    if (f) {
        put_file(w, snap, f, expand);
        return;
    }
    for (size_t i = 0; len > 0 && i < snap->count; i++) {
        if (strncmp(snap->files[i].path, path, len) != 0 || snap->files[i].path[len] != '/') continue;
        put_folder(w, snap, i, len, expand);
        return;
    }
}

/* {"paths": [...], "expand": bool}; false when it is not that. */
static bool paths_from_json(hg_request *r, hg_jw *w)
{
    hg_json *doc = NULL;
    if (hg_json_parse(hg_buf_view(&r->body), &(hg_json_limits){.depth = 4}, &doc, NULL) != HANGAR_OK)
        return false;
    const hg_jval *root = hg_json_root(doc), *paths = hg_json_get(root, "paths");
    bool expand = hg_json_bool_or(hg_json_get(root, "expand"), false);
    const char *one = hg_json_text(paths);
    bool ok = one || (hg_json_is_array(paths) && hg_json_len(paths) <= HG_MIRROR_PATHS);
    if (ok && one) put_entry(w, r->snap, one, expand);
    if (ok && !one)
        for (hg_json_iter it = hg_json_iter_of(paths); hg_json_next(&it);)
            if (hg_json_text(it.val)) put_entry(w, r->snap, hg_json_text(it.val), expand);
    hg_json_free(doc);
    return ok;
}

/* paths=a&paths=b&expand=True, as forms send it. */
static bool paths_from_form(hg_request *r, hg_jw *w)
{
    bool expand = false, ok = true;
    unsigned count = 0;
    char *text = malloc(2 * r->body.len + 2);
    for (int pass = 0; text && ok && pass < 2; pass++) { /* expand may come last */
        hg_str rest = hg_buf_view(&r->body);
        while (ok && rest.len > 0) {
            char *at = text;
            hg_str pair, raw, key, value;
            hg_str_cut(&rest, '&', &pair);
            hg_str_cut(&pair, '=', &raw);
            ok = hg_url_decode(raw, true, &at, &key) && hg_url_decode(pair, true, &at, &value);
            if (!ok) break;
            if (pass == 0 && hg_str_eq(key, HG_STR("expand")))
                expand = hg_str_eq(value, HG_STR("true")) || hg_str_eq(value, HG_STR("True"));
            if (pass == 1 && hg_str_eq(key, HG_STR("paths"))) {
                ok = ++count <= HG_MIRROR_PATHS;
                if (ok) put_entry(w, r->snap, value.ptr, expand);
            }
        }
    }
    ok = ok && text;
    free(text);
    return ok;
}

enum MHD_Result hg_route_paths(hg_request *r)
{
    enum MHD_Result result;
    const hg_target *t = &r->target;
    if (!hg_request_revision(r, t->seg[2], t->seg[3], t->seg[5], &result)) return result;
    const char *type =
        MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_TYPE);
    bool form = type && !strncasecmp(type, "application/x-www-form-urlencoded", 33);
    hg_jw *w = hg_jw_new();
    hg_jw_arr(w, NULL);
    bool ok = form ? paths_from_form(r, w) : paths_from_json(r, w);
    hg_jw_end(w);
    if (ok) {
        result = hg_mirror_json(r, w, NULL);
    } else {
        result = hg_mirror_error(r, MHD_HTTP_BAD_REQUEST, NULL, NULL,
                                 "\"paths\" must be a list of at most 2000 paths");
    }
    hg_jw_free(w);
    return result;
}

/* ---- references ---- */

typedef struct refs {
    hg_request *r;
    hg_jw *w;
    const char *prefix; /* only names that begin so; NULL = all that are no special ones */
    const char *ref;    /* how a name is written in full */
    bool ended;
    enum MHD_Result result;
} refs;

/* One revision as {name, ref, targetCommit}. */
static hangar_code put_ref(void *ctx, const char *rev, const char *folder, hangar_err *err)
{
    refs *x = ctx;
    (void)err;
    hg_str name = hg_str_of(rev);
    bool special = hg_str_starts(name, HG_STR("refs/"));
    if (x->ended || (x->prefix ? !hg_str_starts(name, hg_str_of(x->prefix)) : special)) return HANGAR_OK;
    if (!hg_request_folder(x->r, folder, &x->result)) {
        x->ended = true;
        return HANGAR_OK;
    }
    char *full = hg_format("%s%s", x->ref, rev);
    hg_jw_obj(x->w, NULL);
    hg_jw_text(x->w, "name", x->prefix ? rev + strlen(x->prefix) : rev);
    hg_jw_text(x->w, "ref", full);
    hg_jw_text(x->w, "targetCommit", x->r->snap->commit);
    hg_jw_end(x->w);
    free(full);
    return HANGAR_OK;
}

enum MHD_Result hg_route_refs(hg_request *r)
{
    static const struct {
        const char *list, *prefix, *ref;
    } kinds[] = {{"branches", NULL, "refs/heads/"},
                 {"converts", "refs/convert/", ""},
                 {"pullRequests", "refs/pr/", ""}};
    hangar_err err = {0};
    const hg_target *t = &r->target;
    refs x = {.r = r, .w = hg_jw_new()};
    hangar_code code = HANGAR_OK;
    hg_jw_obj(x.w, NULL);
    hg_jw_arr(x.w, "tags");
    hg_jw_end(x.w);
    for (size_t i = 0; i < HG_LEN(kinds) && code == HANGAR_OK && !x.ended; i++) {
        if (i == 2 && !hg_target_flag(t, "include_prs")) break;
        x.prefix = kinds[i].prefix;
        x.ref = kinds[i].ref;
        hg_jw_arr(x.w, kinds[i].list);
        code = hg_repo_revisions(r->m->root, t->seg[2], t->seg[3], put_ref, &x, &err);
        hg_jw_end(x.w);
    }
    hg_jw_end(x.w);
    if (!x.ended && (code == HANGAR_E_NOT_FOUND || (code == HANGAR_OK && !r->snap))) {
        x.result = hg_mirror_error(r, MHD_HTTP_NOT_FOUND, "RepoNotFound", NULL, "Repository not found");
    } else if (!x.ended && code != HANGAR_OK) {
        x.result = hg_mirror_failure(r, &err);
    } else if (!x.ended) {
        hg_snap_drop(&r->m->work, r->snap);
        r->snap = NULL; /* the answer is about no single commit */
        x.result = hg_mirror_json(r, x.w, NULL);
    }
    hg_jw_free(x.w);
    return x.result;
}

enum MHD_Result hg_route_commits(hg_request *r)
{
    enum MHD_Result result;
    const hg_target *t = &r->target;
    if (!hg_request_revision(r, t->seg[2], t->seg[3], t->seg[5], &result)) return result;
    hg_jw *w = hg_jw_new();
    hg_jw_arr(w, NULL);
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "id", r->snap->commit);
    hg_jw_text(w, "title", "The folder as it is");
    hg_jw_text(w, "message", "");
    hg_jw_arr(w, "authors");
    hg_jw_end(w);
    put_time(w, "date", r->snap->modified);
    hg_jw_end(w);
    hg_jw_end(w);
    result = hg_mirror_json(r, w, NULL);
    hg_jw_free(w);
    return result;
}

/* ---- the list of models ---- */

typedef struct model {
    char *id;
    int64_t modified;
} model;

typedef struct models {
    const hg_target *t;
    model *items;
    size_t count, cap;
} models;

/* Keeps the repositories that the query means. */
static hangar_code note_model(void *ctx, const char *id, int64_t modified, hangar_err *err)
{
    models *m = ctx;
    hg_str search = hg_target_param(m->t, "search"), author = hg_target_param(m->t, "author");
    hg_str rest = hg_str_of(id), owner;
    hg_str_cut(&rest, '/', &owner);
    if (search.len > 0 && !strcasestr(id, search.ptr)) return HANGAR_OK;
    if (author.len > 0 && !hg_str_eq(author, owner)) return HANGAR_OK;
    if (!hg_grow((void **)&m->items, &m->cap, m->count + 1, sizeof *m->items)) return hg_fail_memory(err);
    m->items[m->count] = (model){.id = hg_strdup(id), .modified = modified};
    if (!m->items[m->count].id) return hg_fail_memory(err);
    m->count++;
    return HANGAR_OK;
}

static int by_id(const void *a, const void *b)
{
    return strcmp(((const model *)a)->id, ((const model *)b)->id);
}

/* The address of the page behind `last`. */
static void next_models(hg_request *r, uint64_t limit, const char *last, hg_buf *out)
{
    hg_buf_printf(out, "http://%s/api/models?limit=%" PRIu64, r->host, limit);
    for (size_t i = 0; i < r->target.param_count; i++) {
        hg_str key = r->target.key[i];
        if (hg_str_eq(key, HG_STR("limit")) || hg_str_eq(key, HG_STR("cursor"))) continue;
        hg_buf_putc(out, '&');
        hg_url_quote(out, key, false);
        hg_buf_putc(out, '=');
        hg_url_quote(out, r->target.value[i], false);
    }
    hg_buf_puts(out, "&cursor=");
    hg_url_quote(out, hg_str_of(last), false);
}

enum MHD_Result hg_route_models(hg_request *r)
{
    enum MHD_Result result;
    hangar_err err = {0};
    models m = {.t = &r->target};
    uint64_t limit;
    if (!expand_known(r, &result) || !page_size(r, HG_MIRROR_PAGE, &limit, &result)) return result;
    hangar_code code = hg_repo_all(r->m->root, note_model, &m, &err);
    if (m.count > 0) qsort(m.items, m.count, sizeof *m.items, by_id);
    hg_str cursor = hg_target_param(&r->target, "cursor");
    size_t i = 0;
    while (i < m.count && cursor.len > 0 && strcmp(m.items[i].id, cursor.ptr) <= 0) i++;
    unsigned plain = hg_target_flag(&r->target, "full") ? 1 : 2;
    hg_jw *w = hg_jw_new();
    hg_jw_arr(w, NULL);
    uint64_t shown = 0;
    for (; i < m.count && shown < limit; i++, shown++) {
        hg_jw_obj(w, NULL);
        put_common(w, &r->target, hg_str_of(m.items[i].id), m.items[i].modified, plain);
        if (wants(&r->target, "tags", plain)) {
            hg_jw_arr(w, "tags");
            hg_jw_end(w);
        }
        hg_jw_end(w);
    }
    hg_jw_end(w);
    hg_buf next;
    hg_buf_init(&next, 4 * HG_MIRROR_TARGET_BYTES);
    if (i < m.count) next_models(r, limit, m.items[i - 1].id, &next);
    if (code == HANGAR_OK) result = hg_mirror_json(r, w, next.len ? hg_buf_text(&next) : NULL);
    if (code != HANGAR_OK) result = hg_mirror_failure(r, &err);
    hg_buf_deinit(&next);
    hg_jw_free(w);
    for (size_t k = 0; k < m.count; k++) free(m.items[k].id);
    free(m.items);
    return result;
}

/* ---- who asks ---- */

enum MHD_Result hg_route_whoami(hg_request *r)
{
    if (!r->m->token)
        return hg_mirror_error(r, MHD_HTTP_UNAUTHORIZED, NULL, NULL, "Invalid username or password.");
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "type", "user");
    put_id(w, HG_STR("mirror"));
    hg_jw_text(w, "name", "mirror");
    hg_jw_text(w, "fullname", "mirror");
    hg_jw_arr(w, "orgs");
    hg_jw_end(w);
    hg_jw_obj(w, "auth");
    hg_jw_text(w, "type", "access_token");
    hg_jw_obj(w, "accessToken");
    hg_jw_text(w, "displayName", "mirror");
    hg_jw_text(w, "role", "read");
    hg_jw_end(w);
    hg_jw_end(w);
    hg_jw_end(w);
    enum MHD_Result result = hg_mirror_json(r, w, NULL);
    hg_jw_free(w);
    return result;
}
