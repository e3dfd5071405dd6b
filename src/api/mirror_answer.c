/* SPDX-License-Identifier: Apache-2.0 */
/* What goes back: responses, their headers, errors as the Hub words them, and the revision a request is about. */
#include "api/mirror.h"
#include "base/clock.h"
#include "base/fsx.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>

struct MHD_Response *hg_mirror_text(char *text, size_t len, const char *type)
{
    if (!text) return NULL;
    struct MHD_Response *a = MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
    if (!a) {
        free(text);
        return NULL;
    }
    hg_mirror_header(a, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    return a;
}

void hg_mirror_header(struct MHD_Response *a, const char *name, const char *value)
{
    char *clean = a ? hg_strdup(value) : NULL;
    if (!clean) return;
    for (char *c = clean; *c; c++)
        if (*c < 0x20 || *c > 0x7e) *c = '?';
    MHD_add_response_header(a, name, clean);
    free(clean);
}

void hg_mirror_headerf(struct MHD_Response *a, const char *name, const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    if (vasprintf(&text, fmt, args) < 0) text = NULL;
    va_end(args);
    if (text) hg_mirror_header(a, name, text);
    free(text);
}

enum MHD_Result hg_mirror_send(hg_request *r, unsigned status, struct MHD_Response *a)
{
    if (!a) return MHD_NO; /* out of memory: the connection ends */
    hg_mirror_header(a, "X-Content-Type-Options", "nosniff");
    enum MHD_Result result = MHD_queue_response(r->connection, status, a);
    MHD_destroy_response(a);
    hg_log(HG_LOG_INFO, "mirror", "%s %u %s %.2f s", r->method, status, r->shown, hg_now() - r->arrived);
    return result;
}

enum MHD_Result hg_mirror_error(hg_request *r, unsigned status, const char *code, const char *commit,
                                const char *message)
{
    char *text = NULL;
    bool json = !r->route || r->route->api;
    if (json) {
        hg_jw *w = hg_jw_new();
        hg_jw_obj(w, NULL);
        hg_jw_text(w, "error", message);
        hg_jw_end(w);
        if (!w || hg_jw_finish(w, false, &text, NULL) != HANGAR_OK) text = NULL;
        hg_jw_free(w);
    } else {
        text = hg_strdup(message);
    }
    struct MHD_Response *a =
        hg_mirror_text(text, text ? strlen(text) : 0,
                       json ? "application/json; charset=utf-8" : "text/plain; charset=utf-8");
    if (code) hg_mirror_header(a, "X-Error-Code", code);
    if (commit) hg_mirror_header(a, "X-Repo-Commit", commit);
    hg_mirror_header(a, "X-Error-Message", message);
    if (status == MHD_HTTP_UNAUTHORIZED)
        hg_mirror_header(a, MHD_HTTP_HEADER_WWW_AUTHENTICATE,
                         "Bearer realm=\"Authentication required\", charset=\"UTF-8\"");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        hg_mirror_header(a, MHD_HTTP_HEADER_ALLOW,
                         r->route && !strcmp(r->route->method, "POST") ? "POST" : "GET, HEAD");
    if (status == MHD_HTTP_SERVICE_UNAVAILABLE) hg_mirror_header(a, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    return hg_mirror_send(r, status, a);
}

enum MHD_Result hg_mirror_failure(hg_request *r, const hangar_err *err)
{
    switch (err->code) {
    case HANGAR_E_NOT_FOUND: return hg_mirror_error(r, MHD_HTTP_NOT_FOUND, NULL, NULL, "Not found");
    case HANGAR_E_INVALID: return hg_mirror_error(r, MHD_HTTP_BAD_REQUEST, NULL, NULL, err->msg);
    case HANGAR_E_BUSY:
    case HANGAR_E_LIMIT:
    case HANGAR_E_NO_MEMORY:
    case HANGAR_E_CANCELLED: return hg_mirror_error(r, MHD_HTTP_SERVICE_UNAVAILABLE, NULL, NULL, err->msg);
    default: break;
    }
    hg_log(HG_LOG_ERROR, "mirror", "%s", err->msg);
    return hg_mirror_error(r, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL, NULL, hangar_code_text(err->code));
}

enum MHD_Result hg_mirror_json(hg_request *r, hg_jw *w, const char *link)
{
    char *text = NULL;
    if (!w || hg_jw_finish(w, false, &text, NULL) != HANGAR_OK) text = NULL;
    struct MHD_Response *a = hg_mirror_text(text, text ? strlen(text) : 0, "application/json; charset=utf-8");
    if (link) hg_mirror_headerf(a, "Link", "<%s>; rel=\"next\"", link);
    if (r->snap) hg_mirror_header(a, "X-Repo-Commit", r->snap->commit);
    return hg_mirror_send(r, MHD_HTTP_OK, a);
}

/* ---- the revision a request is about ---- */

/* Holds the revision of one folder in r, or tells why not. */
static hg_taken take_folder(hg_request *r, const char *folder, hangar_err *err)
{
    hg_snap_drop(&r->m->work, r->snap);
    r->snap = NULL;
    return hg_snap_take(&r->m->work, folder, r->since, r, &r->snap, err);
}

bool hg_request_folder(hg_request *r, const char *folder, enum MHD_Result *out)
{
    hangar_err err = {0};
    hg_taken taken = take_folder(r, folder, &err);
    if (taken == HG_TAKEN) return true;
    *out = taken == HG_TAKEN_WAIT ? MHD_YES : hg_mirror_failure(r, &err);
    return false;
}

typedef struct find_commit {
    hg_request *r;
    hg_str commit; /* empty: only whether there is such a repository */
    bool any;      /* the repository exists */
    bool found;
    bool waits;
    hangar_err failure; /* of a revision that could not be read */
} find_commit;

/* Looks whether one revision's commit is the wanted one. */
static hangar_code try_revision(void *ctx, const char *rev, const char *folder, hangar_err *err)
{
    find_commit *find = ctx;
    (void)rev, (void)err;
    find->any = true;
    if (find->commit.len == 0 || find->found || find->waits || strlen(folder) >= sizeof find->r->folder)
        return HANGAR_OK;
    hg_taken taken = take_folder(find->r, folder, &find->failure);
    find->waits = taken == HG_TAKEN_WAIT;
    find->found = taken == HG_TAKEN && hg_str_eq(hg_str_of(find->r->snap->commit), find->commit);
    if (find->found) strcpy(find->r->folder, folder);
    return HANGAR_OK;
}

/* "ORG/NAME" or "ORG/NAME@REV" with the revision's slashes escaped; false when it does not fit. */
static bool folder_name(hg_request *r, hg_str org, hg_str name, hg_str rev)
{
    hg_buf b;
    hg_buf_init(&b, sizeof r->folder - 1);
    hg_buf_printf(&b, "%.*s/%.*s", HG_STR_ARG(org), HG_STR_ARG(name));
    if (!hg_str_eq(rev, HG_STR("main")) && !hg_str_eq(rev, HG_STR("HEAD"))) {
        hg_buf_putc(&b, '@');
        for (size_t i = 0; i < rev.len; i++)
            hg_buf_puts(&b, rev.ptr[i] == '/' ? "%2F" : (char[2]){rev.ptr[i], '\0'});
    }
    bool ok = hg_buf_check(&b, NULL) == HANGAR_OK && hg_path_check(hg_buf_view(&b), NULL) == HANGAR_OK;
    if (ok) memcpy(r->folder, b.data, b.len + 1);
    hg_buf_deinit(&b);
    return ok;
}

/* The revision by the commit it has now. */
static bool find_by_commit(hg_request *r, hg_str org, hg_str name, hg_str commit, enum MHD_Result *out)
{
    hangar_err err = {0};
    find_commit find = {.r = r, .commit = commit};
    if (commit.len > 0)
        r->snap = hg_snap_by_commit(&r->m->work, org, name, commit, r->since, r->folder, sizeof r->folder);
    if (r->snap) return true;
    hangar_code code = hg_repo_revisions(r->m->root, org, name, try_revision, &find, &err);
    if (find.found) return true;
    *out = MHD_YES;
    if (find.waits) return false;
    hg_snap_drop(&r->m->work, r->snap);
    r->snap = NULL;
    if (code != HANGAR_OK && code != HANGAR_E_NOT_FOUND) {
        *out = hg_mirror_failure(r, &err);
    } else if (find.failure.code != HANGAR_OK && find.failure.code != HANGAR_E_NOT_FOUND) {
        *out = hg_mirror_failure(r, &find.failure);
    } else if (!find.any) {
        *out = hg_mirror_error(r, MHD_HTTP_NOT_FOUND, "RepoNotFound", NULL, "Repository not found");
    } else {
        *out = hg_mirror_error(r, MHD_HTTP_NOT_FOUND, "RevisionNotFound", NULL, "Invalid rev id");
    }
    return false;
}

bool hg_request_revision(hg_request *r, hg_str org, hg_str name, hg_str rev, enum MHD_Result *out)
{
    hangar_err err = {0};
    if (r->snap) return true; /* called again after a wait that a later step asked for */
    if (!hg_repo_word(org) || !hg_repo_word(name)) {
        *out = hg_mirror_error(r, MHD_HTTP_NOT_FOUND, "RepoNotFound", NULL, "Repository not found");
        return false;
    }
    if (hg_hex_is(rev, 40)) return find_by_commit(r, org, name, rev, out);
    if (folder_name(r, org, name, rev)) {
        hg_taken taken = take_folder(r, r->folder, &err);
        if (taken == HG_TAKEN) return true;
        if (taken == HG_TAKEN_WAIT) return *out = MHD_YES, false;
        if (err.code != HANGAR_E_NOT_FOUND) return *out = hg_mirror_failure(r, &err), false;
    }
    return find_by_commit(r, org, name, HG_STR(""), out);
}

bool hg_request_path(hg_request *r, char **out_path, enum MHD_Result *out)
{
    hg_buf b;
    *out_path = NULL;
    if (r->rest >= r->target.seg_count) return true;
    hg_buf_init(&b, HG_MIRROR_TARGET_BYTES);
    hg_target_join(&r->target, r->rest, &b);
    if (hg_buf_check(&b, NULL) == HANGAR_OK && hg_path_check(hg_buf_view(&b), NULL) == HANGAR_OK)
        *out_path = hg_buf_take(&b);
    hg_buf_deinit(&b);
    if (*out_path) return true;
    *out = hg_mirror_error(r, MHD_HTTP_NOT_FOUND, "EntryNotFound", r->snap ? r->snap->commit : NULL,
                           "Entry not found");
    return false;
}
