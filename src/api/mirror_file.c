/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file's bytes, by the two ways of the Hub. Files that git keeps: resolve answers 307 to a relative address that names the commit. LFS files:
 * 302 to an absolute, signed address that is good for an hour; the signature covers the digest, the place and the time, and is all that
 * one needs to read there. Bytes go out by sendfile. A file that is no longer what was hashed is never sent: the revision is read again.
 */
#include "api/mirror.h"
#include "base/clock.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "hub/url.h"

#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

/* Text is shown by browsers, everything else is just bytes. */
static const char *type_of(const hg_mirror_file *f)
{
    static const char *const ends[] = {".md",  ".txt", ".json",          ".jinja", ".yaml",
                                       ".yml", ".py",  ".gitattributes", ".csv"};
    for (size_t i = 0; i < HG_LEN(ends) && !f->lfs; i++)
        if (hg_str_ends(hg_str_of(f->path), hg_str_of(ends[i]))) return "text/plain; charset=utf-8";
    return "application/octet-stream";
}

/* inline; filename*=UTF-8''a%20b; filename="a b"; */
static void add_disposition(struct MHD_Response *a, const char *path)
{
    hg_buf b;
    const char *base = hg_path_base(path);
    hg_buf_init(&b, 8 * HG_KIB);
    hg_buf_puts(&b, "inline; filename*=UTF-8''");
    hg_url_quote(&b, hg_str_of(base), false);
    hg_buf_puts(&b, "; filename=\"");
    for (const char *c = base; *c; c++)
        hg_buf_putc(&b, *c < 0x20 || *c > 0x7e || *c == '"' || *c == '\\' ? '_' : *c);
    hg_buf_puts(&b, "\";");
    if (hg_buf_check(&b, NULL) == HANGAR_OK)
        hg_mirror_header(a, MHD_HTTP_HEADER_CONTENT_DISPOSITION, hg_buf_text(&b));
    hg_buf_deinit(&b);
}

static const char *request_header(hg_request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

/* An answer without a body for If-None-Match and If-Match; true when one was sent. */
static bool answered_by_tag(hg_request *r, const char *tag, enum MHD_Result *out)
{
    unsigned status = 0;
    const char *must = request_header(r, MHD_HTTP_HEADER_IF_MATCH);
    if (hg_etag_listed(request_header(r, MHD_HTTP_HEADER_IF_NONE_MATCH), tag, true))
        status = MHD_HTTP_NOT_MODIFIED;
    if (must && !hg_etag_listed(must, tag, false)) status = MHD_HTTP_PRECONDITION_FAILED;
    if (!status) return false;
    struct MHD_Response *a = MHD_create_response_from_buffer(0, (char[1]){0}, MHD_RESPMEM_MUST_COPY);
    hg_mirror_headerf(a, MHD_HTTP_HEADER_ETAG, "\"%s\"", tag);
    if (r->snap) hg_mirror_header(a, "X-Repo-Commit", r->snap->commit);
    *out = hg_mirror_send(r, status, a);
    return true;
}

/* The file of r->folder as it was hashed; false when it is another one now. */
static bool open_same(hg_request *r, const hg_mirror_file *f, int *out_fd)
{
    struct stat st;
    char *full = hg_path_join(r->folder, f->path);
    bool ok = full && hg_below_open(r->m->root, full, O_RDONLY, out_fd, &st, NULL) == HANGAR_OK;
    free(full);
    if (ok && hg_mirror_same(f, &st)) return true;
    if (ok) close(*out_fd);
    return false;
}

/* All or a part of an open file, which is taken over. */
static enum MHD_Result send_file(hg_request *r, const hg_mirror_file *f, int fd, const char *tag)
{
    enum MHD_Result result;
    uint64_t first = 0, length = f->size;
    if (answered_by_tag(r, tag, &result)) {
        close(fd);
        return result;
    }
    const char *unless = request_header(r, MHD_HTTP_HEADER_IF_RANGE);
    const char *wanted = request_header(r, MHD_HTTP_HEADER_RANGE);
    hg_range_kind kind = HG_RANGE_NONE;
    if (!unless || (*unless == '"' && hg_etag_listed(unless, tag, false)))
        kind = hg_range_parse(wanted, f->size, &first, &length);
    struct MHD_Response *a = NULL;
    if (kind == HG_RANGE_BAD) {
        close(fd);
        a = MHD_create_response_from_buffer(0, (char[1]){0}, MHD_RESPMEM_MUST_COPY);
        hg_mirror_headerf(a, MHD_HTTP_HEADER_CONTENT_RANGE, "bytes */%" PRIu64, f->size);
        return hg_mirror_send(r, MHD_HTTP_RANGE_NOT_SATISFIABLE, a);
    }
    a = MHD_create_response_from_fd_at_offset64(length, fd, first);
    if (!a) close(fd);
    if (kind == HG_RANGE_PART)
        hg_mirror_headerf(a, MHD_HTTP_HEADER_CONTENT_RANGE, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, first,
                          first + length - 1, f->size);
    if (f->size == 0 && wanted)
        hg_mirror_header(a, MHD_HTTP_HEADER_CONTENT_RANGE,
                         "bytes */0"); /* the npm client asks so for a size */
    hg_mirror_header(a, MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes");
    hg_mirror_headerf(a, MHD_HTTP_HEADER_ETAG, "\"%s\"", tag);
    hg_mirror_header(a, MHD_HTTP_HEADER_CONTENT_TYPE, type_of(f));
    add_disposition(a, f->path);
    if (r->snap && !f->lfs) hg_mirror_header(a, "X-Repo-Commit", r->snap->commit);
    return hg_mirror_send(r, kind == HG_RANGE_PART ? MHD_HTTP_PARTIAL_CONTENT : MHD_HTTP_OK, a);
}

/* ---- signed addresses ---- */

/* What the signature covers. */
static hangar_code sign(const hangar_mirror *m, const char *sha256, hg_str key, int64_t expires, char out[65],
                        hangar_err *err)
{
    char *text = hg_format("%s\n%.*s\n%" PRId64, sha256, HG_STR_ARG(key), expires);
    if (!text) return hg_fail_memory(err);
    hangar_code code = hg_hmac(m->secret, sizeof m->secret, hg_str_of(text), out, err);
    free(text);
    return code;
}

/* "http://HOST/lfs/SHA256?Key=ORG/NAME@REV/PATH&Expires=...&Signature=..." into b. */
static hangar_code signed_address(hg_request *r, const hg_mirror_file *f, hg_buf *b, hangar_err *err)
{
    char signature[65];
    int64_t expires = hg_wall() + HG_MIRROR_URL_SECONDS;
    char *key = hg_path_join(r->folder, f->path);
    if (!key) return hg_fail_memory(err);
    hangar_code code = sign(r->m, f->sha256, hg_str_of(key), expires, signature, err);
    hg_buf_printf(b, "http://%s/lfs/%s?Key=", r->host, f->sha256);
    hg_url_quote(b, hg_str_of(key), true);
    hg_buf_printf(b, "&Expires=%" PRId64 "&Signature=%s", expires, code == HANGAR_OK ? signature : "");
    free(key);
    return code != HANGAR_OK ? code : hg_buf_check(b, err);
}

/* The storage's own way of saying no. */
static enum MHD_Result refuse_address(hg_request *r, const char *why)
{
    char *text =
        hg_format("<?xml version=\"1.0\" "
                  "encoding=\"UTF-8\"?>\n<Error><Code>AccessDenied</Code><Message>%s</Message></Error>",
                  why);
    return hg_mirror_send(r, MHD_HTTP_FORBIDDEN,
                          hg_mirror_text(text, text ? strlen(text) : 0, "application/xml"));
}

enum MHD_Result hg_route_lfs(hg_request *r)
{
    char signature[65];
    uint64_t expires;
    hangar_err err = {0};
    hg_str sha = r->target.seg[1], key = hg_target_param(&r->target, "Key");
    if (!hg_hex_is(sha, 64) || !hg_u64_parse(hg_target_param(&r->target, "Expires"), &expires) ||
        expires > INT64_MAX)
        return refuse_address(r, "Access Denied");
    if (sign(r->m, sha.ptr, key, (int64_t)expires, signature, &err) != HANGAR_OK)
        return hg_mirror_failure(r, &err);
    if (!hg_equal_secret(hg_str_of(signature), hg_target_param(&r->target, "Signature")))
        return refuse_address(r, "Access Denied");
    if ((int64_t)expires < hg_wall()) return refuse_address(r, "Request has expired");
    /* The key was ours, so it has the form that we gave it. */
    hg_str rest = key, org, name;
    hg_str_cut(&rest, '/', &org);
    hg_str_cut(&rest, '/', &name);
    size_t len = org.len + 1 + name.len;
    if (len >= sizeof r->folder || rest.len == 0) return refuse_address(r, "Access Denied");
    memcpy(r->folder, key.ptr, len);
    r->folder[len] = '\0';
    hg_snap_drop(&r->m->work, r->snap);
    r->snap = hg_snap_peek(&r->m->work, r->folder);
    const hg_mirror_file *f = r->snap ? hg_snap_find(r->snap, rest.ptr) : NULL;
    int fd = -1;
    if (!f || !hg_str_eq(hg_str_of(f->sha256), sha) || !open_same(r, f, &fd))
        return refuse_address(r, "The file is no longer what was signed");
    return send_file(r, f, fd, f->sha256);
}

/* ---- resolve, resolve-cache, raw ---- */

/*
 * Finds the route's file in its revision. False when there is nothing more to do. A path that is missing makes a revision that was read a
 * moment ago be read again before the answer is "not found".
 */
static bool find_file(hg_request *r, size_t first, const hg_mirror_file **out_file, enum MHD_Result *out)
{
    const hg_str *seg = r->target.seg + first;
    char *path = NULL;
    for (;;) {
        if (!hg_request_revision(r, seg[0], seg[1], seg[first == 0 ? 3 : 2], out)) return false;
        if (!hg_request_path(r, &path, out)) return false;
        *out_file = path ? hg_snap_find(r->snap, path) : NULL;
        free(path);
        if (*out_file) return true;
        if (r->snap->walked >= r->arrived) break;
        r->since = r->arrived;
        hg_snap_drop(&r->m->work, r->snap);
        r->snap = NULL;
    }
    *out = hg_mirror_error(r, MHD_HTTP_NOT_FOUND, "EntryNotFound", r->snap->commit, "Entry not found");
    return false;
}

/* The same and opens it, reading the revision again when the file changed. */
static bool find_open(hg_request *r, size_t first, const hg_mirror_file **out_file, int *out_fd,
                      enum MHD_Result *out)
{
    while (find_file(r, first, out_file, out)) {
        if (open_same(r, *out_file, out_fd)) return true;
        r->since = hg_now();
        hg_snap_drop(&r->m->work, r->snap);
        r->snap = NULL;
    }
    return false;
}

enum MHD_Result hg_route_resolve(hg_request *r)
{
    enum MHD_Result result;
    const hg_mirror_file *f;
    int fd = -1;
    if (!find_open(r, 0, &f, &fd, &result)) return result;
    close(fd);
    const char *tag = f->lfs ? f->sha256 : f->oid;
    if (answered_by_tag(r, tag, &result)) return result;
    hangar_err err = {0};
    hg_buf b;
    hg_buf_init(&b, 4 * HG_MIRROR_TARGET_BYTES);
    if (f->lfs) {
        if (signed_address(r, f, &b, &err) != HANGAR_OK) {
            hg_buf_deinit(&b);
            return hg_mirror_failure(r, &err);
        }
    } else {
        hg_buf_printf(&b, "/api/resolve-cache/models/%s/%s/%s/", r->target.seg[0].ptr, r->target.seg[1].ptr,
                      r->snap->commit);
        hg_url_quote(&b, hg_str_of(f->path), true);
        hg_buf_printf(&b, "?etag=%%22%s%%22", f->oid);
    }
    char *text = hg_format("%s. Redirecting to %s", f->lfs ? "Found" : "Temporary Redirect", hg_buf_text(&b));
    struct MHD_Response *a = hg_mirror_text(text, text ? strlen(text) : 0, "text/plain; charset=utf-8");
    hg_mirror_header(a, MHD_HTTP_HEADER_LOCATION, hg_buf_text(&b));
    hg_buf_deinit(&b);
    hg_mirror_header(a, "X-Repo-Commit", r->snap->commit);
    hg_mirror_header(a, MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes");
    if (f->lfs) {
        hg_mirror_headerf(a, "X-Linked-Size", "%" PRIu64, f->size);
        hg_mirror_headerf(a, "X-Linked-ETag", "\"%s\"", tag);
    }
    hg_mirror_headerf(a, MHD_HTTP_HEADER_ETAG, "\"%s\"", tag);
    add_disposition(a, f->path);
    return hg_mirror_send(r, f->lfs ? MHD_HTTP_FOUND : MHD_HTTP_TEMPORARY_REDIRECT, a);
}

enum MHD_Result hg_route_cached(hg_request *r)
{
    enum MHD_Result result;
    const hg_mirror_file *f;
    int fd = -1;
    if (!find_open(r, 3, &f, &fd, &result)) return result;
    return send_file(r, f, fd, f->lfs ? f->sha256 : f->oid);
}

enum MHD_Result hg_route_raw(hg_request *r)
{
    enum MHD_Result result;
    const hg_mirror_file *f;
    int fd = -1;
    if (!find_open(r, 0, &f, &fd, &result)) return result;
    if (!f->lfs) return send_file(r, f, fd, f->oid);
    close(fd);
    if (answered_by_tag(r, f->oid, &result)) return result;
    hg_buf b;
    hg_buf_init(&b, HG_KIB);
    hg_lfs_pointer(f, &b);
    size_t len = b.len;
    struct MHD_Response *a = hg_mirror_text(hg_buf_take(&b), len, "text/plain; charset=utf-8");
    hg_mirror_headerf(a, MHD_HTTP_HEADER_ETAG, "\"%s\"", f->oid);
    hg_mirror_header(a, "X-Repo-Commit", r->snap->commit);
    return hg_mirror_send(r, MHD_HTTP_OK, a);
}
